// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause

//go:build ignore

/* The programs. Every fact is looked up again as soon as the agent has changed
 * any, so a change in a map holds from the next packet on; the connection table
 * only remembers that the groups of both sides allowed a flow, how it is
 * translated, and under which generation of the facts it last passed. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"
#include "maps.h"
#include "drop.h"
#include "conn.h"
#include "parse.h"
#include "rules.h"
#include "fragment.h"
#include "nat.h"
#include "deliver.h"
#include "reset.h"
#include "arp.h"
#include "nd.h"
#include "dns.h"
#include "endpoint.h"
#include "uplink.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Peerings have numbers of 64 bits. Their flows have keys of their own, which no
 * VPC's (24 bits) can be; should two peerings share one, between() still keeps
 * their flows apart. */
#define PEERING_KEY 0x80000000u

/* conn_key_by makes a key that of the flow in which eni stands for an end whose
 * address it does not have, as what forwards for others does. The addresses of
 * such a flow say nothing about who sends it: it is another than the one that
 * these ends have themselves, and can neither use nor end that. In whatever order
 * it is said of the two ends, the key is the same. */
static __always_inline void conn_key_by(struct conn_key *k, __u32 end, __u64 eni)
{
	k->by = (k->by ^ mix((end & 1) + 1, (__u32)eni ^ (__u32)(eni >> 32))) | 0x8000;
}

/* may_end says whether a packet of self may end a plain flow that is not one of
 * self and where it leads. Without "by" the addresses have passed on to their
 * ends; with it, another that forwards may only look like the flow's. */
static __always_inline bool may_end(struct scratch *s, const struct conn *c, const struct interface *self)
{
	return s->packet.icmp != ICMP_ERROR && (!s->key.by || c->eni == self->eni || c->target == self->eni);
}

/* plain delivers a packet between two workloads, of one VPC or of two peers. */
static __always_inline int plain(struct __sk_buff *ctx, struct scratch *s, struct interface *self,
				 struct interface *to, struct conn *c, __u32 sender, int out, int in)
{
	struct packet *p = &s->packet;
	__u32 flags = 0;
	int reason;

	if (!to->ifindex || ((to->flags & INTERFACE_REMOTE) && p->overlay))
		return drop(ctx, DROP_REMOTE_HOST);
	if (c) {
		conn_touch(c, p, sender == c->initiator);
	} else if (begins(p)) {
		if (!tracks(self, p, out, INBOUND))
			flags |= CONN_INITIATOR_OPEN;
		if (!tracks(to, p, in, OUTBOUND))
			flags |= CONN_RESPONDER_OPEN;
		if (flags != (CONN_INITIATOR_OPEN | CONN_RESPONDER_OPEN)) {
			reason = conn_new_plain(self, sender, to->eni, flags);
			if (reason)
				return drop(ctx, reason);
		}
	}
	if (to->flags & INTERFACE_REMOTE)
		return to_host(ctx, s, to->ifindex);
	return deliver(ctx, s, to, to->subnet == self->subnet ? self->mac : to->gateway);
}

/* never_routed says whether no route leads to an address, however wide: what is
 * there (metadata and its kin, of the host's own network too) is for no tenant.
 * Source: VPC User Guide, "Route tables", 169.254.168.0/22 and fd00:ec2::/32. */
static __always_inline bool never_routed(const struct addr *a)
{
	if (addr_is_v4(a))
		return (a->w[3] & bpf_htonl(0xfffffc00)) == bpf_htonl(0xa9fea800);
	return a->w[0] == bpf_htonl(0xfd000ec2);
}

/* forward decides about a packet of a workload that is no reply of a target:
 * AWS's order of checks. c is the entry of the flow that the packet belongs to
 * or, as an ICMP error, is about; or NULL. */
static __always_inline int forward(struct __sk_buff *ctx, struct scratch *s, struct port *port, struct conn *c,
				   __u32 sender)
{
	struct interface *self = &port->self, *to;
	struct packet *p = &s->packet;
	struct link_hop *hop = &s->hop;
	struct endpoint *e;
	struct subnet *subnet;
	struct route *r;
	__u64 node = 0, endpoint = 0, owner;
	__u32 link = 0, server_vni = p->vni, kind;
	bool same, closed = false;
	int out = RULE_ALLOW, in = RULE_ALLOW;
	__u8 flags = 0;

	to = interface_at(s, p->vni, &p->dst);
	if (to && to->kind == KIND_RESOLVER && !p->overlay) {
		node = to->node;
		flags = CONN_EXEMPT;
		goto translated;
	}
	if (to && to->kind == KIND_ROUTER)
		return drop(ctx, DROP_ROUTER);
	subnet = bpf_map_lookup_elem(&subnets, &self->subnet);
	if (!subnet)
		return drop(ctx, DROP_NO_SUBNET);
	r = never_routed(&p->dst) ? 0 : route_at(s, subnet->table, &p->dst);
	kind = r ? r->kind : 0;
	if (kind >= ROUTE_INTERNET && kind != ROUTE_NAT) {
		to = uplink(s);
	} else if (kind == ROUTE_PEERING) {
		server_vni = r->vni;
		to = interface_at(s, r->vni, &p->dst);
	}
	owner = to ? to->eni : 0;
	if (kind == ROUTE_INTERFACE || kind == ROUTE_NAT)
		to = interface_at(s, p->vni, &r->addr);
	if (p->overlay && ((to && to->kind != KIND_WORKLOAD) || kind == ROUTE_ENDPOINT)) /* every host has its own */
		return drop(ctx, DROP_OVERLAY);
	if (kind == ROUTE_INTERFACE && to && owner != to->eni && (!c || c->kind == CONN_PLAIN) && p->icmp != ICMP_OTHER) {
		conn_key_by(&s->key, !sender, to->eni);
		c = conn_find(s);
	}
	if (c && c->kind == CONN_PLAIN && others(c, self, to, sender, kind == ROUTE_ENDPOINT)) {
		if (may_end(s, c, self))
			conn_forget(&s->key);
		c = 0;
	}
	if (!c && kind == ROUTE_PEERING && p->icmp != ICMP_OTHER) {
		s->key.vni = PEERING_KEY | (__u32)r->id;
		c = conn_find(s);
		if (c && others(c, self, to, sender, false)) {
			if (may_end(s, c, self))
				conn_forget(&s->key);
			c = 0;
		}
		if (!c && (!to || to->kind != KIND_WORKLOAD)) /* what follows is about the sender's own space */
			s->key.vni = p->vni;
	}
	if (judged(c, c && sender == c->initiator)) {
		out = groups_verdict(self, &p->dst, p->proto, p->rule_port, OUTBOUND);
		if (!(out & RULE_ALLOW))
			return drop(ctx, DROP_GROUP_EGRESS);
	}
	same = kind && kind != ROUTE_ENDPOINT && to && to->subnet == self->subnet;
	if (!same && !rules_allow(subnet->acl_out[p->v6 & 1], &p->dst, p->proto, p->rule_port))
		return drop(ctx, DROP_ACL_OUT);
	if (!kind)
		return drop(ctx, DROP_NO_ROUTE);
	if (kind == ROUTE_BLACKHOLE)
		return drop(ctx, DROP_BLACKHOLE);
	if (kind == ROUTE_ENDPOINT)
		usage_of(p, r->id, USAGE_BOTH, true);
	else if (to && to->kind == KIND_ENDPOINT)
		usage_of(p, to->endpoint, USAGE_BOTH, true);
	if (kind == ROUTE_NAT)
		return nat(ctx, s, self, to, c, sender);
	if (kind == ROUTE_INTERNET || kind == ROUTE_EGRESS)
		return internet(ctx, s, port, r, to, c, sender, out);
	if (kind == ROUTE_ENDPOINT) {
		endpoint = r->id;
		if (c) /* decide() has looked, and what follows compares */
			goto translated;
		if (!endpoint_carries(endpoint, p->vni, &e) || !e->gateway)
			return drop(ctx, DROP_ENDPOINT_INACTIVE);
		node = e->node;
		link = e->link;
		goto translated;
	}
	if (!to)
		return drop(ctx, DROP_NO_INTERFACE);
	if (!same && !acl_in(to->subnet, &p->src, p->proto, p->rule_port))
		return drop(ctx, DROP_ACL_IN);
	if (judged(c, c && sender != c->initiator)) {
		in = groups_verdict(to, &p->src, p->proto, p->rule_port, INBOUND);
		if (!(in & RULE_ALLOW))
			return drop(ctx, DROP_GROUP_INGRESS);
	}
	if (kind == ROUTE_INTERFACE && owner != to->eni) {
		if (c && c->kind != CONN_PLAIN) /* its way led to the address itself */
			goto stale;
		if (to->flags & INTERFACE_SOURCE_CHECK)
			return drop(ctx, DROP_DESTINATION_CHECK);
	}

	switch (to->kind) {
	case KIND_WORKLOAD:
		if (c && c->kind != CONN_PLAIN)
			goto stale;
		return plain(ctx, s, self, to, c, sender, out, in);
	case KIND_ENDPOINT:
		endpoint = to->endpoint;
		if (c)
			break;
		if (!endpoint_carries(endpoint, server_vni, &e))
			return drop(ctx, DROP_ENDPOINT_INACTIVE);
		link = e->link;
		break;
	case KIND_BALANCER:
		closed = true;
		break;
	default:
		return drop(ctx, DROP_NO_INTERFACE);
	}
	node = to->node;

translated:
	if (c) {
		if ((c->kind != CONN_CONSUMER && c->kind != CONN_FAR) || c->endpoint != endpoint || c->eni != self->eni || (c->flags & CONN_NAT) ||
		    c->server_vni != server_vni)
			goto stale;
		return c->kind == CONN_FAR ? onward_far(ctx, s, c) : onward(ctx, s, c);
	}
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->endpoint = endpoint;
	hop->link = link;
	hop->flags = flags;
	hop->server_vni = server_vni;
	return consumer(ctx, s, node, sender, closed);
stale:
	if (p->icmp != ICMP_ERROR || c->kind != CONN_PLAIN)
		conn_forget(&s->key);
	return drop(ctx, DROP_STALE);
}

/* Where the packets of a program come from. */
#define FROM_WORKLOAD 0u
#define FROM_SERVICE 1u
#define FROM_UPLINK 2u
#define FROM_HOST 3u

/* The number that the loopback device has in every network namespace. */
#define LOOPBACK 1

/* decide makes every check about a packet. It is a function of its own so that
 * what most packets need (handle and repeat) lies close together. */
static __noinline int decide(struct __sk_buff *ctx, struct port *port, struct conn *c, __u32 sender, __u32 from)
{
	struct scratch *s = scratch_get();
	__u32 reason;

	if (!s || !port)
		return TC_ACT_SHOT;
	if (c && c->kind != CONN_PLAIN && from == FROM_HOST)
		return drop(ctx, DROP_TUPLE_IN_USE);
	if (c && c->kind == CONN_PROVIDER) {
		if (sender == c->initiator)
			return drop(ctx, DROP_TUPLE_IN_USE);
		return reply(ctx, s, &port->self, c);
	}
	if (c && (c->kind == CONN_CONSUMER || c->kind == CONN_FAR)) {
		if (sender != c->initiator)
			return drop(ctx, DROP_SOURCE_ADDRESS);
		if (c->eni != port->self.eni) { /* the client's address has passed on */
			if (s->packet.icmp != ICMP_ERROR && !s->key.by)
				conn_forget(&s->key);
			return drop(ctx, DROP_STALE);
		}
		reason = ended(s, c);
		if (reason)
			return gone(ctx, s, c, reason);
	}
	if (from == FROM_SERVICE)
		return c ? onward(ctx, s, c) : probe(ctx, s, sender);
	return forward(ctx, s, port, c, sender);
}

/* error_carried says whether an ICMP error about a translated flow passes: a
 * load balancer lets through "unreachable" only (and what IPv6 made a type of
 * its own of it), and only from the end of the flow that it is about. */
static __always_inline bool error_carried(const struct scratch *s, const struct conn *c, __u64 eni, __u32 sender)
{
	const struct packet *p = &s->packet;
	__u8 type = p->rule_port & 0xff;
	bool client = c->kind == CONN_CONSUMER || (c->kind == CONN_FAR && !p->overlay);

	if ((sender == c->initiator) != client)
		return false;
	if (!p->overlay && eni != (client ? c->eni : c->target))
		return false;
	/* behind a NAT gateway any router on the way may say it, else the end itself */
	if (!p->overlay && (client || !(c->flags & CONN_NAT)) && !addr_equal(&p->src, &s->key.addr[sender & 1]))
		return false;
	if (c->flags & CONN_NAT)
		return true;
	return p->v6 ? type == 1 || type == 2 : type == 3;
}

/* forwards completes the key of a packet whose sender does not have the address
 * of its own end of the flow. Only an interface without source check can; of what
 * comes from another host, that says it. */
static __always_inline void forwards(struct scratch *s, struct port *port, __u32 sender)
{
	if (s->packet.by) {
		s->key.by = s->packet.by;
		return;
	}
	if (port->self.kind != KIND_WORKLOAD || (port->self.flags & INTERFACE_SOURCE_CHECK))
		return;
	if (!owns(s, port, sender ? &s->key.addr[1] : &s->key.addr[0]))
		conn_key_by(&s->key, sender, port->self.eni);
}

/* handle is the way of one packet. */
static __always_inline int handle(struct __sk_buff *ctx, const __u32 from, __u32 vni, __be32 host)
{
	struct scratch *s = scratch_get();
	struct interface *self;
	struct packet *p;
	struct port *port;
	struct conn *c = 0;
	__u32 ifindex = ctx->ifindex, sender = 0, zero = 0;
	__u64 *generation_now;
	int reason;

	if (!s)
		return TC_ACT_SHOT;
	p = &s->packet;
	__builtin_memset(p, 0, sizeof(*p));
	s->port_hint = 0;
	ctx->cb[0] = 0;
	ctx->cb[1] = 0;
	ctx->cb[2] = 0;
	p->now = bpf_ktime_get_coarse_ns(); /* a tick is fine enough for timeouts of seconds */
	generation_now = bpf_map_lookup_elem(&generation, &zero);
	s->generation = generation_now ? *(volatile __u64 *)generation_now : 0;
	if (from == FROM_HOST) {
		port = &s->far;
		s->way.vni = vni;
		s->way.host = host;
		p->eni = OVERLAY_ENI | vni;
		p->vni = vni;
	} else {
		port = bpf_map_lookup_elem(&ports, &ifindex);
		if (!port)
			return drop(ctx, DROP_NO_PORT);
		p->eni = port->self.eni;
		p->vni = port->vni;
	}
	self = &port->self;
	reason = parse_frame(ctx);
	if (!reason && from == FROM_HOST)
		reason = arrives(ctx, s);
	if (reason)
		return drop(ctx, reason);
	if (from != FROM_UPLINK && from != FROM_HOST &&
	    (raw32(p->src_mac) != raw32(self->mac) || raw16(p->src_mac + 4) != raw16(self->mac + 4)))
		return drop(ctx, DROP_SOURCE_MAC);
	if (p->arp)
		return from == FROM_UPLINK ? drop(ctx, DROP_ARP) : arp(ctx, s, port, self, from == FROM_SERVICE);
	if (p->nd)
		return from == FROM_WORKLOAD ? nd(ctx, port) : drop(ctx, DROP_ND);
	/* from an address to itself: neither end could be told from the other */
	if (addr_equal(&p->src, &p->dst) || ((port->flags & PORT_SOURCE_CHECK) && !owns(s, port, &p->src)))
		return drop(ctx, DROP_SOURCE_ADDRESS);
	if (p->fragment && from != FROM_HOST) {
		reason = fragment();
		if (reason)
			return drop(ctx, reason);
	}
	if (from == FROM_WORKLOAD && p->dport == bpf_htons(DNS_PORT) && (p->proto == IPPROTO_UDP || p->proto == IPPROTO_TCP)) {
		reason = resolve(ctx);
		if (reason != TC_ACT_UNSPEC)
			return reason;
	}

	sender = conn_key_set(&s->key, p->vni, p->proto, &p->src, p->sport, &p->dst, p->dport);
	conn_key_icmp(&s->key, p->icmp, sender);
	if (p->icmp == ICMP_ERROR) {
		if (parse_embedded(ctx)) {
			p->icmp = ICMP_OTHER;
		} else {
			sender = 1 - (s->inner.sender & 1);
			forwards(s, port, sender);
			c = conn_find(s);
			if (c && c->kind != CONN_PLAIN && !error_carried(s, c, self->eni, sender))
				return drop(ctx, DROP_ICMP_ERROR);
		}
	} else if (p->icmp != ICMP_OTHER) {
		forwards(s, port, sender);
		c = conn_find(s);
	}
	if (from == FROM_HOST && c && p->overlay == OVERLAY_TO_TARGET && c->host != host && p->icmp != ICMP_ERROR) {
		conn_forget(&s->key); /* the client has moved */
		return drop(ctx, DROP_STALE);
	}
	if (c && checked(s, c, sender))
		return repeat(ctx, s, c);
	if (from == FROM_UPLINK && !(c && c->kind == CONN_PROVIDER))
		return outside(ctx, self);
	if (from == FROM_HOST && p->overlay != OVERLAY_PLAIN)
		return from_host(ctx, port, c, sender);
	return decide(ctx, port, c, sender, from);
}

SEC("tcx/ingress")
int from_workload(struct __sk_buff *ctx)
{
	return handle(ctx, FROM_WORKLOAD, 0, 0);
}

SEC("tcx/ingress")
int from_service(struct __sk_buff *ctx)
{
	return handle(ctx, FROM_SERVICE, 0, 0);
}

SEC("tcx/ingress")
int from_uplink(struct __sk_buff *ctx)
{
	return handle(ctx, FROM_UPLINK, 0, 0);
}

SEC("tcx/ingress")
int from_overlay(struct __sk_buff *ctx)
{
	struct tunnel_key key = {};

	if (bpf_skb_get_tunnel_key(ctx, (void *)&key, sizeof(key), 0)) {
		if (ctx->ifindex != LOOPBACK) /* came over IPv6, which is no host's */
			return TC_ACT_SHOT;
		/* a test run: it has no tunnel, and that device in its place */
		key.id = ctx->cb[3];
		key.remote = bpf_ntohl(ctx->cb[4]);
	}
	return handle(ctx, FROM_HOST, key.id & 0xffffff, bpf_htonl(key.remote));
}

struct bpf_map;

struct collecting {
	__u64 now;
	struct collected found;
};

static long collect_one(struct bpf_map *map, struct conn_key *key, struct conn *c, struct collecting *g)
{
	__u64 eni = conn_payer(c);
	__u8 kind = c->kind;
	bool expired = conn_expired(c, key->proto, g->now);

	usage_settle(c, expired);
	if (expired) {
		/* the other half is as old and goes in this round or the next;
		 * until then it finds no peer and is over */
		if (kind == CONN_PROVIDER)
			port_free(key, c);
		if (!bpf_map_delete_elem(map, key)) {
			g->found.expired++;
			if (kind != CONN_PROVIDER)
				quota_give(eni);
		}
		return 0;
	}
	if (kind == CONN_PLAIN)
		g->found.plain++;
	else if (kind == CONN_CONSUMER || kind == CONN_FAR)
		g->found.consumer++;
	else
		g->found.provider++;
	return 0;
}

/* collect empties the table of what has expired; the agent runs it. */
SEC("syscall")
int collect(void *ctx)
{
	struct collecting g = {};
	__u32 zero = 0;

	g.now = bpf_ktime_get_ns(); /* the coarse clock is not for this type of program */
	bpf_for_each_map_elem(&conns, collect_one, &g, 0);
	bpf_map_update_elem(&collections, &zero, &g.found, BPF_ANY);
	return 0;
}

static long migrate_one(struct bpf_map *map, struct conn_key *key, struct conn_3 *old, __u64 *found)
{
	struct conn_key own = *key;

	(*found)++;
	if (old->kind != CONN_PLAIN && !bpf_map_lookup_elem(&conns_3, &old->peer))
		bpf_map_delete_elem(&conns_3, &own); /* half a flow is over, or has just been moved */
	else
		migrate_flow(&own, 1);
	return 0;
}

/* migrate moves the flows of the old table that no packet has moved, and says in
 * the first of collections how many entries it met. */
SEC("syscall")
int migrate(void *ctx)
{
	struct collected g = {};
	__u32 zero = 0;

	bpf_for_each_map_elem(&conns_3, migrate_one, &g.expired, 0);
	bpf_map_update_elem(&collections, &zero, &g, BPF_ANY);
	return 0;
}
