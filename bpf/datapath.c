// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause

//go:build ignore

/* The programs. Every fact is looked up again as soon as the agent has changed
 * any, so a change in a map holds from the next packet on; the connection table
 * only remembers that the groups of both sides allowed a flow, how it is
 * translated, and under which generation of the facts it last passed. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"
#include "maps.h"
#include "drop.h"
#include "conn.h"
#include "parse.h"
#include "rules.h"
#include "nat.h"
#include "deliver.h"
#include "reset.h"
#include "arp.h"
#include "endpoint.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* plain delivers a packet between two workloads of one VPC. */
static __always_inline int plain(struct __sk_buff *ctx, struct scratch *s, struct interface *self,
				 struct interface *to, struct conn *c, __u32 sender)
{
	struct packet *p = &s->packet;
	int reason;

	if (!to->ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	if (c) {
		conn_touch(c, p, sender == c->initiator);
	} else if (p->icmp != ICMP_ERROR && p->icmp != ICMP_OTHER && !(p->tcp_flags & TCP_RST)) {
		reason = conn_new_plain(sender, to->eni);
		if (reason)
			return drop(ctx, reason);
	}
	return deliver(ctx, s, to, to->subnet == self->subnet ? self->mac : to->gateway);
}

/* between says whether a plain flow is between these two interfaces. An address
 * that passes to another interface does not pass its flows on with it. */
static __always_inline bool between(struct conn *c, struct interface *self, struct interface *to, __u32 sender)
{
	if (!to)
		return false;
	if (sender == c->initiator)
		return c->eni == self->eni && c->target == to->eni;
	return c->eni == to->eni && c->target == self->eni;
}

/* forward decides about a packet of a workload that is no reply of a target:
 * AWS's order of checks. c is the flow's entry or NULL; related means that an
 * ICMP error belongs to a tracked flow. */
static __always_inline int forward(struct __sk_buff *ctx, struct scratch *s, struct interface *self, struct conn *c,
				   bool related, __u32 sender)
{
	struct packet *p = &s->packet;
	struct interface_key ik = {};
	struct route_key rk = {};
	struct interface *to;
	struct endpoint *e;
	struct subnet *subnet;
	struct route *r;
	__u64 node = 0, endpoint = 0;
	__u32 link = 0;
	bool known, same, closed = false;
	__u64 owner;
	__u8 flags = 0;

	ik.vni = p->vni;
	ik.addr = p->dst;
	to = bpf_map_lookup_elem(&interfaces, &ik);
	if (to && to->kind == KIND_RESOLVER) {
		node = to->node;
		flags = CONN_EXEMPT;
		goto translated;
	}
	if (to && to->kind == KIND_ROUTER)
		return drop(ctx, DROP_ROUTER);
	subnet = bpf_map_lookup_elem(&subnets, &self->subnet);
	if (!subnet)
		return drop(ctx, DROP_NO_SUBNET);
	rk.prefixlen = 192;
	rk.table[0] = (__u32)subnet->table;
	rk.table[1] = subnet->table >> 32;
	rk.addr = p->dst;
	r = bpf_map_lookup_elem(&routes, &rk);
	owner = to ? to->eni : 0;
	if (r && r->kind == ROUTE_INTERFACE) {
		ik.addr = r->addr;
		to = bpf_map_lookup_elem(&interfaces, &ik);
	}
	if (c && c->kind == CONN_PLAIN && !between(c, self, to, sender)) {
		conn_forget(&s->key);
		c = 0;
	}
	known = c || related;
	if (!known && !rules_allow(self->sg_out, &p->dst, p->proto, p->rule_port))
		return drop(ctx, DROP_GROUP_EGRESS);
	same = r && r->kind != ROUTE_ENDPOINT && to && to->subnet == self->subnet;
	if (!same && !rules_allow(subnet->acl_out, &p->dst, p->proto, p->rule_port))
		return drop(ctx, DROP_ACL_OUT);
	if (!r)
		return drop(ctx, DROP_NO_ROUTE);
	if (r->kind >= ROUTE_BLACKHOLE) /* or ROUTE_UPLINK: neither leads anywhere */
		return drop(ctx, r->kind == ROUTE_UPLINK ? DROP_NO_UPLINK : DROP_BLACKHOLE);
	if (r->kind == ROUTE_ENDPOINT) {
		endpoint = r->endpoint;
		if (c) /* handle() has looked, and what follows compares */
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
	if (!known && !rules_allow(to->sg_in, &p->src, p->proto, p->rule_port))
		return drop(ctx, DROP_GROUP_INGRESS);
	if (r->kind == ROUTE_INTERFACE && owner != to->eni && (to->flags & INTERFACE_SOURCE_CHECK))
		return drop(ctx, DROP_DESTINATION_CHECK);

	switch (to->kind) {
	case KIND_WORKLOAD:
		if (c && c->kind != CONN_PLAIN)
			goto stale;
		return plain(ctx, s, self, to, c, sender);
	case KIND_ENDPOINT:
		endpoint = to->endpoint;
		if (c)
			break;
		if (!endpoint_carries(endpoint, p->vni, &e))
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
		if (c->kind != CONN_CONSUMER || c->endpoint != endpoint || c->eni != self->eni)
			goto stale;
		return onward(ctx, s, c);
	}
	return consumer(ctx, s, node, endpoint, link, flags, sender, closed);
stale:
	conn_forget(&s->key);
	return drop(ctx, DROP_STALE);
}

#define HOW_RELATED 1u /* an ICMP error about a tracked flow */
#define HOW_SERVICE 2u /* from the service port */

/* decide makes every check about a packet. It is a function of its own so that
 * what most packets need (handle and repeat) lies close together. */
static __noinline int decide(struct __sk_buff *ctx, struct interface *self, struct conn *c, __u32 sender, __u32 how)
{
	struct scratch *s = scratch_get();
	struct endpoint *e;

	if (!s || !self)
		return TC_ACT_SHOT;
	if (c && c->kind == CONN_PROVIDER) {
		if (sender == c->initiator)
			return drop(ctx, DROP_TUPLE_IN_USE);
		return reply(ctx, s, self, c);
	}
	if (c && c->kind == CONN_CONSUMER && sender != c->initiator)
		return drop(ctx, DROP_SOURCE_ADDRESS);
	if (c && c->endpoint && !endpoint_carries(c->endpoint, s->packet.vni, &e))
		return gone(ctx, s, c);
	if (how & HOW_SERVICE)
		return c ? onward(ctx, s, c) : probe(ctx, s, sender);
	return forward(ctx, s, self, c, how & HOW_RELATED, sender);
}

/* handle is the way of one packet, from a workload or from the service port. */
static __always_inline int handle(struct __sk_buff *ctx, bool service)
{
	struct scratch *s = scratch_get();
	struct interface *self;
	struct packet *p;
	struct port *port;
	struct conn *c = 0;
	__u32 ifindex = ctx->ifindex, sender = 0, zero = 0;
	bool related = false;
	__u64 *generation_now;
	int reason;

	if (!s)
		return TC_ACT_SHOT;
	p = &s->packet;
	__builtin_memset(p, 0, sizeof(*p));
	ctx->cb[0] = 0;
	ctx->cb[1] = 0;
	ctx->cb[2] = 0;
	p->now = bpf_ktime_get_coarse_ns(); /* a tick is fine enough for timeouts of seconds */
	generation_now = bpf_map_lookup_elem(&generation, &zero);
	s->generation = generation_now ? *(volatile __u64 *)generation_now : 0;
	port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port)
		return drop(ctx, DROP_NO_PORT);
	self = &port->self;
	p->eni = self->eni;
	p->vni = port->vni;
	reason = parse_frame(ctx);
	if (reason)
		return drop(ctx, reason);
	if (raw32(p->src_mac) != raw32(self->mac) || raw16(p->src_mac + 4) != raw16(self->mac + 4))
		return drop(ctx, DROP_SOURCE_MAC);
	if (p->arp)
		return arp(ctx, s, port, self, service);
	if ((port->flags & PORT_SOURCE_CHECK) && !owns(port, &p->src))
		return drop(ctx, DROP_SOURCE_ADDRESS);

	sender = conn_key_set(&s->key, p->vni, p->proto, &p->src, p->sport, &p->dst, p->dport);
	conn_key_icmp(&s->key, p->icmp, sender);
	if (p->icmp == ICMP_ERROR) {
		if (!parse_embedded(ctx)) {
			c = bpf_map_lookup_elem(&conns, &s->key);
			if (c && c->kind != CONN_PLAIN)
				return drop(ctx, DROP_EMBEDDED_NAT);
			related = c && !conn_expired(c, s->key.proto, p->now);
			c = 0;
		}
	} else if (p->icmp != ICMP_OTHER) {
		c = bpf_map_lookup_elem(&conns, &s->key);
		if (c && (conn_expired(c, p->proto, p->now) ||
			  (p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
			   conn_finished(c)))) {
			conn_forget(&s->key);
			c = 0;
		}
	}
	if (c && checked(s, c, sender))
		return repeat(ctx, s, c);
	return decide(ctx, self, c, sender, (related ? HOW_RELATED : 0) | (service ? HOW_SERVICE : 0));
}

SEC("tcx/ingress")
int from_workload(struct __sk_buff *ctx)
{
	return handle(ctx, false);
}

SEC("tcx/ingress")
int from_service(struct __sk_buff *ctx)
{
	return handle(ctx, true);
}

struct bpf_map;

struct collecting {
	__u64 now;
	struct collected found;
};

static long collect_one(struct bpf_map *map, struct conn_key *key, struct conn *c, struct collecting *g)
{
	__u64 eni = c->eni;
	__u8 kind = c->kind;

	if (conn_expired(c, key->proto, g->now)) {
		/* the other half is as old and goes in this round or the next;
		 * until then it finds no peer and is over */
		if (!bpf_map_delete_elem(map, key)) {
			g->found.expired++;
			if (kind != CONN_PROVIDER)
				quota_give(eni);
		}
		return 0;
	}
	if (kind == CONN_PLAIN)
		g->found.plain++;
	else if (kind == CONN_CONSUMER)
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
