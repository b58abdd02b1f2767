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

/* A change here, or in the meaning of a field, needs a new layout number: a
 * loader refuses to reuse maps that were pinned with another one. */
enum layout {
	LAYOUT = 3,
};

struct addr {
	__u32 w[4];
};

enum port_flag {
	PORT_SOURCE_CHECK = 1,
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
};

enum interface_flag {
	INTERFACE_SOURCE_CHECK = 1,
	INTERFACE_TAP = 2, /* no peer device: deliver by bpf_redirect */
};

struct interface {
	__u64 eni;
	__u64 subnet;   /* 0: in no subnet, no ACL applies */
	__u64 sg_in;    /* rule set; 0: no groups, everything passes */
	__u64 sg_out;
	__u64 endpoint; /* of an endpoint interface */
	__u64 node;     /* whose listeners answer here; 0: none */
	__u32 ifindex;  /* 0: not on this host */
	__u16 flags;    /* INTERFACE_* */
	__u8 kind;      /* enum interface_kind */
	__u8 pad;
	__u8 mac[6];
	__u8 gateway[6]; /* the subnet's router as this interface sees it */
	__u8 pad2[4];
};

/* ports: what the packets of a device are, and what "interfaces" says of the
 * one they come from, so that the sender costs one lookup. */
struct port {
	struct interface self;
	struct addr addr; /* the interface's first address; others are in interfaces only */
	__u32 vni;
	__u32 flags; /* PORT_* */
};

/* subnets: by number. */
struct subnet {
	__u64 table;
	__u64 acl_in; /* rule set; 0: allow all */
	__u64 acl_out;
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
	ROUTE_UPLINK = 5, /* out of the VPC through an internet or NAT gateway */
};

struct route {
	__u64 endpoint;
	struct addr addr; /* of the interface, for ROUTE_INTERFACE */
	__u32 kind;
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
};

struct listener {
	__u64 table;
	__u32 size;
	__u32 flags;
	__u32 vni; /* of the provider */
	struct addr node;
	struct addr target;
	__be16 target_port;
	__u16 pad;
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
	__u8 pad[2];
	struct addr addr[2];
	__be16 port[2]; /* ICMP: the echo id, twice */
};

enum conn_kind {
	CONN_PLAIN = 1,    /* the whole flow, nothing translated */
	CONN_CONSUMER = 2, /* client <-> endpoint, as the client sees it */
	CONN_PROVIDER = 3, /* node <-> target, as the target sees it */
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
};

struct conn {
	__u64 eni;    /* of the initiator; eni_quota counts its plain and consumer entries */
	__u64 target; /* interface of the responder: of a provider's target for both halves */
	__u64 endpoint;
	__u64 created;
	__u64 last_seen;
	__u64 packets[2]; /* [0] by the initiator, [1] by the responder */
	__u64 bytes[2];
	/* The generation of the facts under which a packet by this half's sender
	 * last passed every check; while it is the current one, the checks need
	 * not be made again. One word, so that it can never be half old. */
	__u64 generation;
	struct conn_key peer; /* the other half */
	__u32 link;
	__u32 seen;
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

enum counter {
	COUNT_DELIVERED = 0,
	COUNT_DELIVERED_BYTES = 1,
	COUNT_TRANSLATED = 2,
	COUNT_CONNECTIONS = 3,
	COUNT_RESETS = 4,
	COUNT_ARP = 5,
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

/* One packet, parsed. */
struct packet {
	__u64 now;
	__u64 eni;
	__u32 vni;
	__u32 len; /* of the frame */
	__u32 seq;
	__u32 ack;
	__u32 payload; /* bytes after the TCP header */
	__u16 tot_len;
	__u16 ip_check; /* as it lies in the header */
	__be16 sport;
	__be16 dport;
	__be16 rule_port; /* what rules match: destination port, or ICMP type and code */
	struct addr src;
	struct addr dst;
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp;  /* enum icmp_role */
	__u8 arp;
	__u8 src_mac[6];
	__u8 dst_mac[6];
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
};

/* Where a packet ended up. A program leaves it in the packet's control buffer
 * (cb[0] action, cb[1] device, cb[2] drop reason), which a test run hands back. */
enum action {
	ACTION_DROP = 1,
	ACTION_PEER = 2,     /* into the namespace behind ifindex */
	ACTION_REDIRECT = 3, /* out of ifindex */
	ACTION_ANSWER = 4,   /* back to where it came from, answered */
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
	struct addr new_src, new_dst;
	__be16 new_sport, new_dport;
	__u32 pad;
	__u8 frame[64];
	__u8 options[68]; /* 40 at most; more for the verifier */
	struct names names;
};

struct collected {
	__u64 expired;
	__u64 plain;
	__u64 consumer;
	__u64 provider;
};

#endif
