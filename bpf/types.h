// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_TYPES_H
#define POSTERN_TYPES_H

/* Shapes of the maps and of one packet on its way. The Go bindings are
 * generated from these, so there is one definition. No struct has implicit
 * padding: map keys are compared as bytes.
 *
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. Addresses and ports are in
 * network byte order everywhere; everything else is in the host's. Numbers
 * (u64) are vpc.Num of the resource's id. */

#include <linux/types.h>
#include <stdbool.h>

/* A change here, or in the meaning of a field, needs a new layout number, and a
 * way for connections from the one before (migrate.h). */
enum layout {
	LAYOUT = 4,
};

struct addr {
	__u32 w[4];
};

/* vpc.UplinkVNI: the space of the host's own network. */
#define UPLINK_VNI 2

/* In the key of a flow whose client is on another host: the client's space, and
 * this, which is in no VPC's number (24 bits). The other end of the same key
 * without it is the client's own. PEERING_KEY is another such bit. */
#define OVERLAY_KEY 0x40000000u

/* In the place of an interface's number: this with a link's or a VPC's, for what
 * comes by the overlay from clients whose interfaces this host need not know. */
#define OVERLAY_ENI 0xffffffffff000000ull

enum port_flag {
	PORT_SOURCE_CHECK = 1,
	PORT_OVERLAY = 2, /* its packets come from another host */
};

/* interfaces: what is at an address. */
struct interface_key {
	__u32 vni;
	struct addr addr;
};

enum interface_kind {
	KIND_WORKLOAD = 1,
	KIND_ENDPOINT = 2,
	KIND_BALANCER = 3,
	KIND_RESOLVER = 4,
	KIND_ROUTER = 5,
	KIND_NAT = 6,
	KIND_UPLINK = 7, /* at the zero address of UPLINK_VNI */
};

enum interface_flag {
	INTERFACE_SOURCE_CHECK = 1,
	INTERFACE_TAP = 2, /* no peer device: deliver by bpf_redirect */
	INTERFACE_REMOTE = 4, /* on another host, and ifindex is that host's address */
	/* From here on, bit by bit: one rule allows all ports to or from anywhere.
	 * The bit is INTERFACE_OPEN << (4 if outbound) + (2 if UDP) + (1 if IPv6). */
	INTERFACE_OPEN = 16,
	INTERFACE_OPEN_ALL = 0xff0,
};

struct interface {
	__u64 eni;
	__u64 subnet;   /* 0: in no subnet, no ACL applies */
	__u64 sg_in;    /* rule set; 0: no groups, everything passes */
	__u64 sg_out;
	__u64 endpoint; /* of an endpoint interface */
	__u64 node;     /* whose listeners answer here; 0: none */
	__u32 ifindex;  /* 0: not on this host; see INTERFACE_REMOTE */
	__u16 flags;    /* INTERFACE_* */
	__u8 kind;      /* enum interface_kind */
	__u8 pad;
	__u8 mac[6];
	__u8 gateway[6]; /* the subnet's router as this interface sees it */
	/* Idle times of the flows that begin here, in seconds; 0: the defaults. */
	__u32 idle_tcp;
	__u16 idle_udp;
	__u16 idle_udp_stream;
	__be32 public; /* its IPv4 address outside of the VPC; 0: none */
};

/* ports: what the packets of a device are, and what "interfaces" says of the
 * one they come from, so that the sender costs one lookup. */
struct port {
	struct interface self;
	struct addr addr; /* the interface's first addresses; others are in interfaces only */
	struct addr addr6;
	__u32 vni;
	__u32 flags; /* PORT_* */
};

/* subnets: by number. */
struct subnet {
	__u64 table;
	__u64 acl_in[2]; /* rule set of IPv4, of IPv6; 0: allow all */
	__u64 acl_out[2];
};

/* routes: longest prefix of (table, address). */
struct route_key {
	__u32 prefixlen; /* 64 + bits of the address */
	__u32 table[2];
	struct addr addr;
};

enum route_kind {
	ROUTE_LOCAL = 1,
	ROUTE_ENDPOINT = 2,
	ROUTE_INTERFACE = 3,
	ROUTE_BLACKHOLE = 4,
	ROUTE_PEERING = 5,
	ROUTE_INTERNET = 6, /* to the host's network, with the interface's public address */
	ROUTE_EGRESS = 7,   /* likewise, IPv6, only for flows that begin here */
	ROUTE_NAT = 8,
};

/* A route of kind 0 is none: it keeps short IPv6 prefixes from covering the
 * place that IPv4 has among 128-bit addresses. */
struct route {
	__u64 id;         /* of the endpoint, or of the peering */
	struct addr addr; /* of the interface or NAT gateway that it leads to */
	__u32 kind;
	__u32 vni; /* of the peer */
};

/* publics: what is behind an address of the host's network; places: where an
 * interface of another host is. */
struct public {
	struct addr addr;
	__u32 vni;
	__u32 pad;
};

/* rule_peers: (rule set, peer address) -> class of peers with equal rules.
 * rule_ports: (class, protocol, port) -> verdict. Two lookups decide any
 * number of rules. */
struct rule_peer_key {
	__u32 prefixlen; /* 64 + bits of the address */
	__u32 set[2];
	struct addr addr;
};

struct rule_port_key {
	__u32 prefixlen; /* 64: all protocols; 80: one protocol; + bits of port */
	__u32 class[2];
	__u8 proto;
	__u8 pad;
	__be16 port; /* ICMP: type << 8 | code */
};

/* endpoints: those that exist here; absent carries nothing. */
struct endpoint {
	__u64 node; /* whose listeners answer for a gateway endpoint */
	__u32 vni;
	__u32 link;
	__u8 active;
	__u8 gateway;
	__u8 pad[6];
	__u8 name[24]; /* its id, as text */
};

/* listeners: a port of a node. A listener with a table has size slots in
 * maglev; a direct one names its only target. */
struct listener_key {
	__u64 node;
	__be16 port;
	__u8 proto;
	__u8 pad[5];
};

enum listener_flag {
	LISTENER_DIRECT = 1,          /* target is in the listener itself */
	LISTENER_PRESERVE_CLIENT = 2, /* clients of the node's VPC keep their address */
	LISTENER_HASH_SOURCE = 4,     /* node is a /16 from which the client's hash picks a source */
	LISTENER_STICKY = 8,          /* a client's address alone chooses the target */
	LISTENER_SKIP_INGRESS = 16,   /* the node's groups do not judge what comes through endpoints */
};

struct listener {
	__u64 table;
	__u64 group; /* whose targets they are; see struct cut_key */
	__u32 size;
	__u32 flags;
	__u32 vni;  /* of the provider */
	__u32 idle; /* of TCP, in seconds; 0: the default */
	struct addr node;
	struct addr node6;
	struct addr target;
	__be16 target_port;
	__u8 proxy; /* enum proxy_layout; 0: targets get no PROXY protocol header */
	__u8 pad[5];
};

/* cuts: targets whose connections are ended. */
struct cut_key {
	__u64 group;
	struct addr target;
	__be16 port;
	__u8 proto;
	__u8 pad[5];
};

/* How a PROXY protocol header tells the endpoint's id. */
enum proxy_layout {
	PROXY_NONE = 0,
	PROXY_AWS = 1,     /* TLV 0xEA, subtype 1, the id as text */
	PROXY_AZURE = 2,   /* TLV 0xEE, subtype 1, the link's number, little endian */
	PROXY_ALIBABA = 3, /* TLV 0xE1, subtype 1, the id as text */
};

struct slot_key {
	__u64 table;
	__u32 slot;
	__u32 pad;
};

struct backend {
	struct addr addr;
	__be16 port;
	__u16 pad;
};

/* probes: what an address in the service namespace stands for. */
struct probe {
	struct addr node;
	struct addr target;
	__u32 vni;
};

/* conns: one flow, or one half of a translated one. The two ends are sorted,
 * so that either direction finds the same entry. */
struct conn_key {
	__u32 vni;
	__u8 proto;
	__u8 asker; /* ICMP echo: 1 + the end that asks, so that pings both ways are two flows */
	__u16 by; /* of interfaces that forward for an end whose address they do not have; 0: none */
	struct addr addr[2];
	__be16 port[2]; /* ICMP: the echo id, twice */
};

enum conn_kind {
	CONN_PLAIN = 1,    /* the whole flow, nothing translated */
	CONN_CONSUMER = 2, /* client <-> endpoint, as the client sees it */
	CONN_PROVIDER = 3, /* node <-> target, as the target sees it */
	CONN_FAR = 4, /* client <-> endpoint, on the client's host; both halves are on the target's */
};

/* How far the PROXY protocol header of a flow has come. */
enum proxy_state {
	PROXY_SENT = 1,
	PROXY_ACKED = 2,
};

/* What has been seen of a flow; its timeout follows from it. */
enum seen {
	SEEN_REPLY = 1,
	SEEN_FIN_INITIATOR = 2,
	SEEN_FIN_RESPONDER = 4,
	SEEN_RST = 8,
	SEEN_TOLD = 16, /* the other end has been sent a reset */
};

enum conn_flag {
	CONN_EXEMPT = 1,    /* groups and ACLs do not apply (the resolver) */
	CONN_PRESERVED = 2, /* the target sees the client's address */
	CONN_INITIATOR_OPEN = 4, /* this side does not track the flow: its rules are asked each time */
	CONN_RESPONDER_OPEN = 8,
	CONN_INBOUND = 16, /* begun outside of the VPC: the responder's quota counts it */
	CONN_NAT = 32,     /* through a NAT gateway */
};

struct conn {
	__u64 eni;    /* of the initiator; eni_quota counts its plain and consumer entries */
	__u64 target; /* interface of the responder: of a provider's target for both halves */
	__u64 endpoint;
	__u64 created;
	__u64 last_seen;
	__u64 packets[2]; /* [0] by the initiator, [1] by the responder; of a half: by its own sender only */
	__u64 bytes[2];
	__u64 refreshed; /* when the other half was last kept alive */
	/* The generation of the facts under which a packet by this half's sender
	 * last passed every check; while it is the current one, the checks need
	 * not be made again. One word, so that it can never be half old. */
	__u64 generation;
	/* Where they led then. */
	__u32 to_ifindex;
	__u16 to_flags; /* INTERFACE_* */
	__u8 to_mac[6];
	__u8 to_gateway[6];
	__u8 pad2[2];
	__u32 counted; /* of its bytes, in USAGE_UNIT, how many are in its endpoint's usage */
	__u64 group;          /* of the target */
	__u64 via;            /* subnet of the NAT gateway */
	struct conn_key peer; /* the other half; of a CONN_FAR the target, as its first end */
	__u32 link;
	__u32 seen;
	__u32 server_vni; /* where the address is that the client sends to: another space across a peering */
	__u32 idle_tcp;   /* seconds; 0: the default */
	__u16 idle_udp;
	__u16 idle_udp_stream;
	/* Of a flow whose target gets a PROXY protocol header (proxy.h). */
	__u32 proxy_isn;
	__u32 proxy_high;
	__u16 proxy_len;
	__u8 proxy;       /* enum proxy_layout */
	__u8 proxy_state; /* enum proxy_state */
	__be32 host;      /* of the client of a pair, where that is another host */
	__u8 kind;           /* enum conn_kind */
	__u8 flags;          /* CONN_* */
	__u8 initiator;      /* which end of the key */
	__u8 peer_initiator; /* which end of peer */
};

/* drops: why packets of an interface did not pass. */
struct drop_key {
	__u64 eni;
	__u32 reason;
	__u32 pad;
};

struct drop_value {
	__u64 packets;
	__u64 bytes;
	__u64 last; /* CLOCK_MONOTONIC, ns */
	__u32 vni;
	struct addr src;
	struct addr dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[7];
};

/* usages: what has gone through each endpoint since this host has had it, told
 * apart by which ends of a flow are here. An endpoint's usage is what its clients'
 * hosts counted, its service's what the targets' hosts did. */
enum usage_place {
	USAGE_BOTH = 0,
	USAGE_CLIENT = 1,
	USAGE_TARGET = 2,
	USAGE_PLACES = 3,
};

#define USAGE_UNIT 64

struct usage_count {
	__u64 connections; /* begun */
	__u64 bytes;       /* of IP packets, both ways */
	__u64 resets;      /* TCP resets to clients */
	__u64 dropped;     /* packets, from where the endpoint's own checks begin */
};

struct usage {
	struct usage_count at[USAGE_PLACES];
};

enum counter {
	COUNT_DELIVERED = 0,
	COUNT_DELIVERED_BYTES = 1,
	COUNT_TRANSLATED = 2,
	COUNT_CONNECTIONS = 3,
	COUNT_RESETS = 4,
	COUNT_ARP = 5, /* and neighbour discovery */
	COUNT_MAX = 6,
};

/* What an ICMP packet is to the connection table. */
enum icmp_role {
	ICMP_NONE = 0,    /* not ICMP */
	ICMP_REQUEST = 1, /* echo, tracked by its id */
	ICMP_REPLY = 2,
	ICMP_ERROR = 3, /* belongs to the flow of the packet inside */
	ICMP_OTHER = 4, /* not tracked: the rules decide about each */
};

enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2, /* has no ports of its own */
};

/* fragments: what the first fragment of a packet said, in one of a few slots
 * that each interface has. */
struct fragment_key {
	__u64 eni;
	__u32 slot;
	__u32 pad;
};

struct fragment_value {
	__u64 seen;
	struct addr src;
	struct addr dst;
	__u32 id;
	__be16 sport;
	__be16 dport;
	__be16 rule_port;
	__u8 proto;
	__u8 icmp;
	__u32 pad;
};

/* crowds: ends of a balancer node and a target with so many flows between them
 * that a free source port was once hard to find. */
struct crowd_key {
	struct addr node;
	struct addr target;
	__u32 vni;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct crowd {
	__u64 full; /* until when there is no free port */
	__u32 hint; /* a port that became free; 0: none known */
	__u32 pad;
};

/* dns_answers: what the resolver has answered from what a VPC has itself. */
#define DNS_NAME_MAX 128
#define DNS_BODY_MAX 256

/* A space's number stands for one state of a VPC's names and is never given
 * again, so an entry is right for as long as its number is the VPC's in
 * dns_spaces. Whose VPC that is, is in the key too: what is read of another's
 * number, as from an entry that has just been freed, finds nothing. */
struct dns_key {
	__u64 space;
	__u32 vni;
	__u16 type;
	__u16 pad;
	__u8 name[DNS_NAME_MAX]; /* in wire form and lower case, and zeros */
};

struct dns_answer {
	__u8 flags; /* of the header's third byte: AA */
	__u8 rcode;
	__u16 answers; /* how many records of that section */
	__u16 others;  /* and of the authority section */
	__u16 len;     /* of body */
	__u16 sum;     /* of body, as ones' complement words from its first byte */
	/* So many records of one length, from here to the end, are in no order: a
	 * random one comes first. */
	__u16 at;
	__u8 count;
	__u8 size;
	__u8 pad[2];
	__u8 body[DNS_BODY_MAX] __attribute__((aligned(8))); /* what comes after the question */
};

/* One packet, parsed. src and dst lie in a row, see translate(). */
struct packet {
	__u64 now;
	__u64 eni;
	__u32 vni;
	__u32 len; /* of the frame */
	__u32 seq;
	__u32 ack;
	__u32 payload; /* bytes after the TCP header */
	__u32 fragment_id;
	__u16 tot_len;
	__u16 ip_check; /* as it lies in the header */
	__u16 l4;       /* where the TCP, UDP or ICMP header begins in the frame */
	__be16 sport;
	__be16 dport;
	__be16 rule_port; /* what rules match: destination port, or ICMP type and code */
	struct addr src;
	struct addr dst;
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp; /* enum icmp_role */
	__u8 arp;
	__u8 v6;
	__u8 nd;       /* neighbour discovery */
	__u8 fragment; /* enum fragment */
	__u8 overlay;  /* enum overlay_kind */
	__u8 src_mac[6];
	__u8 dst_mac[6];
	__u16 by;      /* of the key of its flow, as another host says */
	__u8 place;    /* enum usage_place */
	__u8 by_client;
	__u64 endpoint; /* in whose usage it counts; 0: none, or not yet */
};

/* The packet inside an ICMP error, and what its ends become. */
struct inner {
	struct addr src, dst; /* new ones */
	__be16 sport, dport;
	__be16 old_sport, old_dport;
	__u8 proto;
	__u8 sender; /* which end of its key sent it */
	__u8 whole;  /* 20 bytes of its payload are there, not only 8 */
	__u8 pad;
	__u32 shift; /* what its TCP sequence number is to be lowered by */
	__u32 first; /* the first number that is */
};

/* What one half of the path hands to the other about a new flow: everything
 * that the provider's side may know of the consumer's. An overlay carries
 * exactly this between two hosts. */
struct link_hop {
	__u64 endpoint;
	__u64 target_eni; /* filled in by the provider's side */
	__u32 link;
	__u32 vni; /* of the provider */
	struct addr client;
	struct addr node;
	struct addr target;
	__be16 client_port;
	__be16 node_port; /* the listener's */
	__be16 target_port;
	__u8 proto;
	__u8 flags; /* CONN_* of both halves */
	__u64 group;
	__u64 via;
	__u32 server_vni;
	__u32 idle_tcp;
	__u8 proxy;
	__u8 skip_ingress; /* the node's groups are not asked */
	__u8 pad[6];
	__u64 node_id; /* whose listeners it is */
};

/* overlay: the device that leads to the other hosts. */
struct overlay {
	__u32 ifindex; /* 0: none */
	__u32 mtu;     /* of the packets that it carries */
};

/* What a frame on its way between two hosts says in the place of its MAC
 * addresses: nobody there needs them, and so the frame stays as long as it was.
 * The first byte looks like a local unicast address's. */
enum overlay_kind {
	OVERLAY_NONE = 0,
	OVERLAY_PLAIN = 0x02,     /* to an interface; number is the sender's */
	OVERLAY_TO_TARGET = 0x06, /* as the client sent it; number is the node's */
	OVERLAY_TO_CLIENT = 0x0a, /* as the client is to get it */
	OVERLAY_BEGINS = 0x0e,    /* as OVERLAY_TO_TARGET; the client's host knew of no such flow */
	OVERLAY_BY = 0x10,        /* with the last two: of a flow that has forwarders in its key */
};

struct overlay_head {
	__u8 kind;
	__u8 vni[3];     /* the client's; of OVERLAY_PLAIN the sender's; with OVERLAY_BY the key's by */
	__u8 number[8];  /* where there is a later fragment to a target or client: its ports; to a client, then the key's by */
};

/* The way of a packet to or from another host. */
struct overlay_way {
	__u32 vni;   /* of the tunnel */
	__be32 host;
	struct overlay_head head;
};

/* Where a packet ended up. A program leaves it in the packet's control buffer
 * (cb[0] action, cb[1] device, cb[2] drop reason), which a test run hands back. */
enum action {
	ACTION_DROP = 1,
	ACTION_PEER = 2,     /* into the namespace behind ifindex */
	ACTION_REDIRECT = 3, /* out of ifindex */
	ACTION_ANSWER = 4,   /* back to where it came from, answered */
	ACTION_OVERLAY = 5,  /* to another host: cb[3] says with which number, cb[4] to which address */
};

/* Enumerations that live in a byte elsewhere; named here so that they reach
 * the object's type information and with it the Go bindings. */
struct names {
	enum action action;
	enum interface_kind interface_kind;
	enum route_kind route_kind;
	enum conn_kind conn_kind;
	enum counter counter;
	enum layout layout;
	enum port_flag port_flag;
	enum interface_flag interface_flag;
	enum listener_flag listener_flag;
	enum seen seen;
	enum conn_flag conn_flag;
	enum proxy_layout proxy_layout;
	enum proxy_state proxy_state;
	enum overlay_kind overlay_kind;
	enum usage_place usage_place;
};

/* What does not fit on the 512 bytes of stack. Per CPU: a tc program is never
 * interrupted by another packet on its CPU. */
struct scratch {
	__u64 generation; /* read before any fact is */
	struct packet packet;
	struct conn_key key;      /* of the packet's own flow */
	struct conn_key peer;     /* of the other half */
	struct conn half[2];      /* entries being made */
	struct link_hop hop;
	struct addr new_src, new_dst; /* in a row, see translate() */
	__be16 new_sport, new_dport;
	__u32 port_hint; /* source port of the same ends' last flow; 0: none */
	struct inner inner;
	struct interface_key interface_key; /* see lookup.h */
	struct route_key route_key;
	struct overlay_way way; /* how the packet came, or is to go */
	struct port far;        /* who sent it, as if that were a device here */
	__u8 frame[96];
	__u8 old_inner[60], new_inner[60];
	__u8 options[104]; /* 60 at most; more for the verifier */
	__u8 proxy[128];   /* header, and zeros */
	/* Of a question to the resolver (dns.h): from the UDP header on, what it is
	 * looked for by, and an answer whose records change places. The last is longer
	 * than it can be, for the verifier. */
	__u8 query[192];
	struct dns_key dns_key;
	__u8 body[3 * DNS_BODY_MAX] __attribute__((aligned(8)));
	struct names names;
};

struct collected {
	__u64 expired;
	__u64 plain;
	__u64 consumer; /* and CONN_FAR */
	__u64 provider;
};

#endif
