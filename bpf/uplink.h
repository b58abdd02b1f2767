// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_UPLINK_H
#define POSTERN_UPLINK_H

/* Ways out of a VPC, to the network of the host: an internet gateway, which
 * gives a packet its interface's public address and leaves the rest (IPv6
 * needs not even that), and a NAT gateway, a translated flow whose provider's
 * side is the outside. */

#include "endpoint.h"

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

/* others says whether a flow is not, or no longer, one of these two interfaces. A
 * flow that leads nowhere for a while (to is NULL, and elsewhere false) stays its
 * sender's: its packets are dropped, and nobody else has its address. */
static __always_inline bool others(struct conn *c, struct interface *self, struct interface *to, __u32 sender,
				   bool elsewhere)
{
	struct scratch *s = scratch_get();

	if (to || elsewhere || !s || s->packet.icmp == ICMP_ERROR)
		return !between(c, self, to, sender);
	return (sender == c->initiator ? c->eni : c->target) != self->eni;
}

/* begins says whether a packet may begin a tracked flow: replies without one are
 * judged by the rules, each for itself. */
static __always_inline bool begins(const struct packet *p)
{
	if (p->fragment == FRAGMENT_LATER)
		return false;
	if (p->proto == IPPROTO_TCP)
		return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return p->icmp == ICMP_NONE || p->icmp == ICMP_REQUEST;
}

/* conn_find is the entry of the scratch key, if it is one that still counts. */
static __always_inline struct conn *conn_find(struct scratch *s)
{
	struct packet *p = &s->packet;
	struct conn *c = conn_at(&s->key);

	if (!c)
		return 0;
	if (p->icmp == ICMP_ERROR)
		return conn_expired(c, s->key.proto, p->now) ? 0 : c;
	if (conn_expired(c, p->proto, p->now) ||
	    (p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && conn_finished(c))) {
		if (c->kind == CONN_CONSUMER)
			s->port_hint = bpf_ntohs(c->peer_initiator & 1 ? c->peer.port[1] : c->peer.port[0]);
		conn_forget(&s->key);
		return 0;
	}
	return c;
}

/* judged says whether the rules of one side of a flow are to be asked: there is
 * no entry, or that side does not keep track. */
static __always_inline bool judged(const struct conn *c, bool initiator)
{
	return !c || (c->flags & (initiator ? CONN_INITIATOR_OPEN : CONN_RESPONDER_OPEN));
}

/* internet sends a packet of a workload to the host's network. out is the verdict
 * of the sender's groups. */
static __always_inline int internet(struct __sk_buff *ctx, struct scratch *s, struct port *port, struct route *r,
				    struct interface *up, struct conn *c, __u32 sender, int out)
{
	struct packet *p = &s->packet;
	int reason;

	if (!up)
		return drop(ctx, DROP_NO_UPLINK);
	if (c && c->kind != CONN_PLAIN) { /* its way led through an endpoint before */
		conn_forget(&s->key);
		return drop(ctx, DROP_STALE);
	}
	/* whatever its source check lets pass inside */
	if (p->v6 ? !owns(s, port, &p->src) : !port->self.public || !addr_equal(&p->src, &port->addr))
		return drop(ctx, DROP_NO_PUBLIC_ADDRESS);
	if (c) {
		conn_touch(c, p, sender == c->initiator);
	} else if (begins(p) && (r->kind == ROUTE_EGRESS || tracks(&port->self, p, out, INBOUND))) {
		reason = conn_new_plain(&port->self, sender, up->eni, CONN_RESPONDER_OPEN);
		if (reason)
			return drop(ctx, reason);
	}
	if (!p->v6) {
		addr_v4(&s->new_src, port->self.public);
		s->new_dst = p->dst;
		s->new_sport = p->sport;
		s->new_dport = p->dport;
		if (p->icmp == ICMP_ERROR) {
			s->inner.src = p->dst;
			addr_v4(&s->inner.dst, raw32(s->old_inner + 16));
			if (addr_equal(&s->inner.dst, &p->src))
				s->inner.dst = s->new_src;
			s->inner.sport = s->inner.old_sport;
			s->inner.dport = s->inner.old_dport;
		}
		reason = translate(ctx);
		if (reason)
			return drop(ctx, reason);
	}
	return deliver(ctx, s, up, up->gateway);
}

/* nat sends a packet of a workload to the host's network through a NAT gateway.
 * The ACL out of the sender's subnet has been asked. */
static __always_inline int nat(struct __sk_buff *ctx, struct scratch *s, struct interface *self, struct interface *gw,
			       struct conn *c, __u32 sender)
{
	struct packet *p = &s->packet;
	struct link_hop *hop = &s->hop;
	struct interface *up;
	struct conn *other = 0;
	struct addr public;
	int reason;

	if (!gw || gw->kind != KIND_NAT || !gw->public)
		return drop(ctx, DROP_BLACKHOLE);
	addr_v4(&public, gw->public);
	if (c) {
		other_side(s, c);
		other = conn_at(&s->peer);
		if (!other || c->kind != CONN_CONSUMER || !(c->flags & CONN_NAT) || c->eni != self->eni ||
		    c->via != gw->subnet || !addr_equal(&s->new_src, &public)) { /* its way was another one */
			conn_forget(&s->key);
			return drop(ctx, DROP_STALE);
		}
	}
	if (p->v6)
		return drop(ctx, DROP_PROTOCOL);
	if (gw->subnet != self->subnet && !acl_in(gw->subnet, &p->src, p->proto, p->rule_port))
		return drop(ctx, DROP_ACL_IN);
	if (!acl_out(gw->subnet, &p->dst, p->proto, p->rule_port))
		return drop(ctx, DROP_ACL_OUT);
	reason = nat_leads(s, gw->subnet, &p->dst);
	if (reason)
		return drop(ctx, reason);
	up = uplink(s);
	if (!up)
		return drop(ctx, DROP_NO_UPLINK);
	if (c) {
		conn_led(s, c, up);
		conn_touch(c, p, true);
		conn_alive(other, p, true);
	} else {
		if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && p->icmp != ICMP_REQUEST)
			return drop(ctx, DROP_PROTOCOL);
		if (p->fragment == FRAGMENT_LATER)
			return drop(ctx, DROP_FRAGMENT);
		if (p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			return reset(ctx, s, DROP_NO_CONNECTION);
		__builtin_memset(hop, 0, sizeof(*hop));
		hop->vni = UPLINK_VNI;
		hop->server_vni = p->vni;
		hop->target_eni = up->eni;
		hop->target = p->dst;
		hop->target_port = p->dport;
		hop->proto = p->proto;
		hop->flags = CONN_NAT;
		hop->via = gw->subnet;
		s->new_src = public;
		s->new_dst = p->dst;
		s->new_dport = p->dport;
		reason = conn_new_pair(up, sender);
		if (reason)
			return drop(ctx, reason);
	}
	reason = translate(ctx);
	if (reason)
		return drop(ctx, reason);
	return deliver(ctx, s, up, up->gateway);
}

/* outside takes a packet from the host's network to the interface that has its
 * destination as public address, or as IPv6 address. */
static __noinline int outside(struct __sk_buff *ctx, struct interface *self)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	struct interface *to;
	struct public *pub;
	struct conn *c;
	struct route *r;
	struct addr far;
	__u32 sender;
	__u8 asker;
	int reason, in = RULE_ALLOW;
	bool passed_on = false;

	if (!s || !self)
		return TC_ACT_SHOT;
	p = &s->packet;
	pub = bpf_map_lookup_elem(&publics, &p->dst);
	if (!pub)
		return drop(ctx, DROP_NO_INTERFACE);
	to = interface_at(s, pub->vni, &pub->addr);
	if (!to || to->kind != KIND_WORKLOAD)
		return drop(ctx, DROP_NO_INTERFACE);
	p->vni = pub->vni;
	if (p->icmp == ICMP_ERROR) { /* s->key is that of the packet inside */
		asker = s->key.asker;
		sender = s->inner.sender & 1;
		far = sender ? s->key.addr[0] : s->key.addr[1];
		if (asker) /* in terms of who sent it */
			asker = asker == 1 + sender ? ICMP_REQUEST : ICMP_REPLY;
		s->inner.sender = conn_key_set(&s->key, p->vni, s->inner.proto, &pub->addr, s->inner.old_sport, &far,
					       s->inner.old_dport);
		conn_key_icmp(&s->key, asker, s->inner.sender);
		sender = 1 - s->inner.sender;
		s->inner.src = pub->addr;
		s->inner.dst = far;
		s->inner.sport = s->inner.old_sport;
		s->inner.dport = s->inner.old_dport;
	} else {
		sender = conn_key_set(&s->key, p->vni, p->proto, &p->src, p->sport, &pub->addr, p->dport);
		conn_key_icmp(&s->key, p->icmp, sender);
	}
	/* A flow of the same ends inside, or of an interface that had the address
	 * before, is not this packet's, and nobody outside can end it. */
	c = p->icmp == ICMP_OTHER ? 0 : conn_find(s);
	if (c && (c->kind != CONN_PLAIN || !between(c, self, to, sender))) {
		passed_on = c->kind == CONN_PLAIN && c->target != to->eni && c->eni != to->eni;
		c = 0;
	}
	r = route_of(s, to->subnet, &p->src);
	if (!r || (r->kind != ROUTE_INTERNET && (r->kind != ROUTE_EGRESS || !c)))
		return drop(ctx, DROP_NO_ROUTE);
	if (!acl_in(to->subnet, &p->src, p->proto, p->rule_port))
		return drop(ctx, DROP_ACL_IN);
	if (judged(c, c && sender != c->initiator)) {
		in = groups_verdict(to, &p->src, p->proto, p->rule_port, INBOUND);
		if (!(in & RULE_ALLOW))
			return drop(ctx, DROP_GROUP_INGRESS);
	}
	if (!to->ifindex || (to->flags & INTERFACE_REMOTE))
		return drop(ctx, DROP_REMOTE_HOST);
	if (c) {
		conn_touch(c, p, sender == c->initiator);
	} else if (begins(p) && tracks(to, p, in, OUTBOUND)) {
		if (passed_on)
			conn_forget(&s->key);
		reason = conn_new_plain(self, sender, to->eni, CONN_INBOUND | CONN_INITIATOR_OPEN);
		if (reason)
			return drop(ctx, reason);
	}
	if (!p->v6) {
		s->new_src = p->src;
		s->new_dst = pub->addr;
		s->new_sport = p->sport;
		s->new_dport = p->dport;
		reason = translate(ctx);
		if (reason)
			return drop(ctx, reason);
	}
	return deliver(ctx, s, to, to->gateway);
}

#endif
