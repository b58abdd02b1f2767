// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_ENDPOINT_H
#define POSTERN_ENDPOINT_H

/* Translated flows: through interface and gateway endpoints, straight to a
 * load balancer node, to the resolver, and health checks. The consumer's side
 * and the provider's side meet only in struct link_hop, which is what crosses
 * to another host once there is an overlay. Addresses of the two sides are
 * never compared with each other. */

#include "reset.h"
#include "rules.h"

static __always_inline bool endpoint_carries(__u64 id, __u32 vni, struct endpoint **out)
{
	struct endpoint *e = bpf_map_lookup_elem(&endpoints, &id);

	*out = e;
	return e && e->active && e->vni == vni;
}

static __always_inline bool too_big(struct __sk_buff *ctx, struct scratch *s)
{
	__u32 mtu = mss + IP_LEN + TCP_LEN;

	if (ctx->gso_size)
		return ctx->gso_size > mss;
	return s->packet.tot_len > mtu;
}

static __always_inline __u32 mix(__u32 h, __u32 v)
{
	h ^= v;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	h ^= h >> 16;
	return h;
}

static __always_inline __u32 addr_hash(__u32 h, const struct addr *a)
{
	return mix(mix(mix(mix(h, a->w[0]), a->w[1]), a->w[2]), a->w[3]);
}

/* flow_hash is what a load balancer spreads flows by: the five-tuple and, for
 * TCP, the first sequence number, so that a client that reuses its port is not
 * bound to one target. */
static __always_inline __u32 flow_hash(const struct packet *p)
{
	__u32 h = mix(p->vni, p->proto);

	h = addr_hash(addr_hash(h, &p->src), &p->dst);
	h = mix(h, (__u32)p->sport << 16 | p->dport);
	return p->proto == IPPROTO_TCP ? mix(h, p->seq) : h;
}

/* choose fills the hop's node and target from a listener; a drop reason or 0. */
static __always_inline int choose(struct scratch *s, struct listener *l)
{
	struct link_hop *hop = &s->hop;
	struct slot_key sk = {};
	struct backend *b;
	__u32 h;

	hop->vni = l->vni;
	hop->node = l->node;
	if (l->flags & LISTENER_HASH_SOURCE) {
		/* the edge's sockets must see different clients as different
		 * peers; which client it is, the edge asks of conns */
		h = addr_hash(s->packet.vni, &s->packet.src);
		hop->node.w[3] = bpf_htonl((bpf_ntohl(l->node.w[3]) & 0xffff0000) | (h & 0xffff));
	}
	if (l->flags & LISTENER_DIRECT) {
		hop->target = l->target;
		hop->target_port = l->target_port;
		return 0;
	}
	if (!l->size)
		return DROP_NO_TARGET;
	sk.table = l->table;
	sk.slot = flow_hash(&s->packet) % l->size;
	b = bpf_map_lookup_elem(&maglev, &sk);
	if (!b)
		return DROP_NO_TARGET;
	hop->target = b->addr;
	hop->target_port = b->port;
	if ((l->flags & LISTENER_PRESERVE_CLIENT) && !hop->endpoint && s->packet.vni == l->vni)
		hop->flags |= CONN_PRESERVED;
	return 0;
}

/* provider takes a packet from the link to its target: the checks of the
 * node's and the target's side, the source port, the rewrite, the delivery.
 * c and other are the flow's two entries, or NULL for a new flow. */
static __always_inline int provider(struct __sk_buff *ctx, struct scratch *s, struct conn *c, struct conn *other,
				    __u32 initiator)
{
	struct link_hop *hop = &s->hop;
	struct packet *p = &s->packet;
	struct interface_key ik = {};
	struct interface *target, *node;
	int reason;

	ik.vni = hop->vni;
	ik.addr = hop->target;
	target = bpf_map_lookup_elem(&interfaces, &ik);
	if (!target || target->kind != KIND_WORKLOAD)
		return drop(ctx, DROP_NO_INTERFACE);
	if (c && c->target != target->eni) {
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	hop->target_eni = target->eni;
	ik.addr = hop->node;
	node = bpf_map_lookup_elem(&interfaces, &ik);
	s->new_dst = hop->target;
	s->new_dport = hop->target_port;
	if (node) {
		if (!c && hop->endpoint && !rules_allow(node->sg_in, &hop->client, hop->proto, hop->node_port))
			return drop(ctx, DROP_NODE_INGRESS);
		if (!c && !rules_allow(node->sg_out, &hop->target, hop->proto, hop->target_port))
			return drop(ctx, DROP_NODE_EGRESS);
		if (node->subnet != target->subnet) {
			if (!acl_out(node->subnet, &hop->target, hop->proto, hop->target_port))
				return drop(ctx, DROP_ACL_OUT);
			if (!acl_in(target->subnet, &s->new_src, hop->proto, hop->target_port))
				return drop(ctx, DROP_ACL_IN);
		}
	}
	if (!c && !rules_allow(target->sg_in, &s->new_src, hop->proto, hop->target_port))
		return drop(ctx, DROP_GROUP_INGRESS);
	if (!target->ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	if (c && other) {
		c->generation = s->generation;
		conn_touch(c, p, true);
		conn_alive(other, p, true);
	} else {
		reason = conn_new_pair(initiator);
		if (reason)
			return drop(ctx, reason);
	}
	if (p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN)) {
		reason = clamp_mss(ctx);
		if (reason)
			return drop(ctx, reason);
	}
	reason = translate(ctx);
	if (reason)
		return drop(ctx, reason);
	return deliver(ctx, s, target, target->gateway);
}

/* other_side fills s->peer and the ends a packet of this half has on the other
 * side, where the initiator stays the initiator. */
static __always_inline void other_side(struct scratch *s, struct conn *c)
{
	bool first = !(c->peer_initiator & 1) == (c->kind == CONN_CONSUMER);

	s->peer = c->peer;
	if (first) {
		s->new_src = s->peer.addr[0];
		s->new_sport = s->peer.port[0];
		s->new_dst = s->peer.addr[1];
		s->new_dport = s->peer.port[1];
	} else {
		s->new_src = s->peer.addr[1];
		s->new_sport = s->peer.port[1];
		s->new_dst = s->peer.addr[0];
		s->new_dport = s->peer.port[0];
	}
}

/* onward continues a known flow from the consumer's side. */
static __always_inline int onward(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct link_hop *hop = &s->hop;
	struct conn *other;

	other_side(s, c);
	other = bpf_map_lookup_elem(&conns, &s->peer);
	if (!other) { /* a pair without its other half is over */
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	hop->endpoint = c->endpoint;
	hop->link = c->link;
	hop->vni = s->peer.vni;
	hop->proto = s->packet.proto;
	hop->flags = c->flags;
	hop->target = s->new_dst;
	hop->target_port = s->new_dport;
	hop->node = hop->flags & CONN_PRESERVED ? s->packet.dst : s->new_src;
	if (hop->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	return provider(ctx, s, c, other, 0);
}

/* consumer starts a flow towards whatever listens on a node. The sender's own
 * checks are done. closed says that the destination is a node's own address,
 * where stray TCP is reset whatever the port. */
static __always_inline int consumer(struct __sk_buff *ctx, struct scratch *s, __u64 id, __u64 endpoint, __u32 link,
				    __u8 flags, __u32 initiator, bool closed)
{
	struct packet *p = &s->packet;
	struct link_hop *hop = &s->hop;
	struct listener_key lk = {};
	struct listener *l;
	bool stray;
	int reason;

	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return drop(ctx, DROP_PROTOCOL);
	stray = p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	lk.node = id;
	lk.port = p->dport;
	lk.proto = p->proto;
	l = bpf_map_lookup_elem(&listeners, &lk);
	if (stray && (l || closed))
		return reset(ctx, s, DROP_NO_CONNECTION);
	if (!l)
		return drop(ctx, DROP_NO_LISTENER);
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->endpoint = endpoint;
	hop->link = link;
	hop->client = p->src;
	hop->client_port = p->sport;
	hop->node_port = p->dport;
	hop->proto = p->proto;
	hop->flags = flags;
	reason = choose(s, l);
	if (reason)
		return drop(ctx, reason);
	if (endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	s->new_src = hop->flags & CONN_PRESERVED ? hop->client : hop->node;
	return provider(ctx, s, 0, 0, initiator);
}

/* probe starts a health check: from the service namespace, as the node. */
static __always_inline int probe(struct __sk_buff *ctx, struct scratch *s, __u32 initiator)
{
	struct packet *p = &s->packet;
	struct link_hop *hop = &s->hop;
	struct probe *t = bpf_map_lookup_elem(&probes, &p->dst);

	if (!t)
		return drop(ctx, DROP_NO_PROBE);
	if (p->proto != IPPROTO_TCP)
		return drop(ctx, DROP_PROTOCOL);
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return reset(ctx, s, DROP_NO_CONNECTION);
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->vni = t->vni;
	hop->client = p->src;
	hop->node = t->node;
	hop->target = t->target;
	hop->client_port = p->sport;
	hop->node_port = p->dport;
	hop->target_port = p->dport;
	hop->proto = p->proto;
	s->new_src = hop->node;
	return provider(ctx, s, 0, 0, initiator);
}

/* checked says that a packet of the same flow in the same direction has passed
 * every check since the agent last changed anything. */
static __always_inline bool checked(const struct scratch *s, const struct conn *c, __u32 sender)
{
	return c->generation == s->generation && s->generation && c->kind != CONN_PLAIN &&
	       (sender == c->initiator) == (c->kind == CONN_CONSUMER) && !(s->packet.tcp_flags & TCP_SYN);
}

/* repeat takes a packet the way the one before it went. */
static __always_inline int repeat(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct interface_key ik = {};
	struct interface *to;
	struct conn *other;
	int reason;

	other_side(s, c);
	other = bpf_map_lookup_elem(&conns, &s->peer);
	if (!other) { /* a pair without its other half is over */
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	ik.vni = s->peer.vni;
	ik.addr = s->new_dst;
	to = bpf_map_lookup_elem(&interfaces, &ik);
	if (!to)
		return drop(ctx, DROP_NO_INTERFACE);
	if (c->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);
	if (c->kind == CONN_CONSUMER) {
		conn_touch(c, &s->packet, true);
		conn_alive(other, &s->packet, true);
	} else {
		conn_alive(c, &s->packet, false);
		conn_touch(other, &s->packet, false);
	}
	reason = translate(ctx);
	if (reason)
		return drop(ctx, reason);
	return deliver(ctx, s, to, to->gateway);
}

/* tell turns a packet of an ended flow into a reset for the other end, which
 * may be waiting for data and would never send anything to be told by. */
static __always_inline int tell(struct __sk_buff *ctx, struct scratch *s)
{
	struct interface_key ik = {};
	struct interface *to;

	ik.vni = s->peer.vni;
	ik.addr = s->new_dst;
	to = bpf_map_lookup_elem(&interfaces, &ik);
	if (!to || !to->ifindex || make_reset(ctx, 1)) {
		ctx->cb[0] = ACTION_DROP;
		return TC_ACT_SHOT;
	}
	return deliver(ctx, s, to, to->gateway);
}

/* gone ends a flow whose endpoint stopped carrying it: its first late TCP
 * packet becomes a reset for the other end, the following ones are answered
 * with a reset. The entries stay for a while, so that both ends are told. */
static __always_inline int gone(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct conn *other;
	bool told = c->seen & SEEN_TOLD;

	other_side(s, c);
	conn_see(c, SEEN_RST | SEEN_TOLD);
	other = bpf_map_lookup_elem(&conns, &s->peer);
	if (other)
		conn_see(other, SEEN_RST | SEEN_TOLD);
	/* who is still opening a connection waits for an answer to that */
	if (told || s->packet.proto != IPPROTO_TCP || (s->packet.tcp_flags & TCP_SYN))
		return reset(ctx, s, DROP_ENDPOINT_GONE);
	note_drop(ctx, DROP_ENDPOINT_GONE);
	return tell(ctx, s);
}

/* reply takes a target's packet back to the client: c is the provider half. */
static __always_inline int reply(struct __sk_buff *ctx, struct scratch *s, struct interface *self, struct conn *c)
{
	struct packet *p = &s->packet;
	struct interface_key ik = {};
	struct interface *node, *client, *from;
	struct endpoint *e;
	struct conn *other;
	int reason;

	if (c->endpoint && !endpoint_carries(c->endpoint, c->peer.vni, &e))
		return gone(ctx, s, c);
	other_side(s, c);
	other = bpf_map_lookup_elem(&conns, &s->peer);
	if (!other || c->target != self->eni) {
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	if (c->endpoint && too_big(ctx, s))
		return drop(ctx, DROP_TOO_BIG);

	/* from the target to the node */
	ik.vni = p->vni;
	ik.addr = c->flags & CONN_PRESERVED ? s->new_src : p->dst;
	node = bpf_map_lookup_elem(&interfaces, &ik);
	if (node && node->subnet != self->subnet) {
		if (!acl_out(self->subnet, &p->dst, p->proto, p->dport))
			return drop(ctx, DROP_ACL_OUT);
		if (!acl_in(node->subnet, &p->src, p->proto, p->dport))
			return drop(ctx, DROP_ACL_IN);
	}
	/* from the endpoint (or node, or service) to the client */
	ik.vni = s->peer.vni;
	ik.addr = s->new_dst;
	client = bpf_map_lookup_elem(&interfaces, &ik);
	if (!client)
		return drop(ctx, DROP_NO_INTERFACE);
	if (client->eni != c->eni) {
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	if (!(c->flags & CONN_EXEMPT)) {
		ik.addr = s->new_src;
		from = bpf_map_lookup_elem(&interfaces, &ik);
		if (!from || from->subnet != client->subnet) {
			if (from && !acl_out(from->subnet, &s->new_dst, p->proto, s->new_dport))
				return drop(ctx, DROP_ACL_OUT);
			if (!acl_in(client->subnet, &s->new_src, p->proto, s->new_dport))
				return drop(ctx, DROP_ACL_IN);
		}
	}
	if (!client->ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	c->generation = s->generation;
	conn_alive(c, p, false);
	conn_touch(other, p, false);
	if (p->proto == IPPROTO_TCP && (p->tcp_flags & TCP_SYN)) {
		reason = clamp_mss(ctx);
		if (reason)
			return drop(ctx, reason);
	}
	reason = translate(ctx);
	if (reason)
		return drop(ctx, reason);
	return deliver(ctx, s, client, client->gateway);
}

#endif
