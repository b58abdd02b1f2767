// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_OVERLAY_H
#define POSTERN_OVERLAY_H

/* Between hosts: VXLAN (RFC 7348), one device in external mode, the number and
 * the other host's IPv4 address with each packet. Hosts trust one another, and
 * what is between them is theirs alone.
 *
 * A packet between two workloads is judged on both hosts in the same way, each
 * of which tracks its flow. A flow to a load balancer's target is judged, as far
 * as the consumer's side goes, on the client's host, which chooses the target to
 * know its host; the packets cross as the client sent them, and the target's
 * host takes them as if they came from the endpoint: it chooses the same target,
 * translates, and turns replies back before they cross. */

#include "deliver.h"
#include "lookup.h"

/* struct bpf_tunnel_key's beginning, which the kernel takes for the whole where
 * the rest is left to the device. */
struct tunnel_key {
	__u32 id;
	__u32 remote; /* host byte order */
};

static __always_inline void head_set(struct overlay_head *h, __u8 kind, __u32 vni, __u64 number)
{
	h->kind = kind;
	h->vni[0] = vni >> 16;
	h->vni[1] = vni >> 8;
	h->vni[2] = vni;
	__builtin_memcpy(h->number, &number, 8);
}

static __always_inline void head_to_target(struct overlay_head *h, __u32 vni, __u16 by, __u64 number)
{
	if (by)
		head_set(h, OVERLAY_TO_TARGET | OVERLAY_BY, by, number);
	else
		head_set(h, OVERLAY_TO_TARGET, vni, number);
}

static __always_inline __u32 head_vni(const struct overlay_head *h)
{
	return (__u32)h->vni[0] << 16 | (__u32)h->vni[1] << 8 | h->vni[2];
}

/* overlay_clamp lowers the MSS of a SYN or SYN-ACK, not translated yet, to what
 * the overlay carries; a drop reason or 0. crosses says that what answers it is
 * of the longer family there. */
static __always_inline int overlay_clamp(struct __sk_buff *ctx, struct scratch *s, bool crosses)
{
	struct packet *p = &s->packet;
	struct overlay *o;
	__u32 zero = 0, head = (crosses ? IP6_LEN : IP_LEN) + TCP_LEN;

	if (p->proto != IPPROTO_TCP || !(p->tcp_flags & TCP_SYN))
		return 0;
	o = bpf_map_lookup_elem(&overlay, &zero);
	return o && o->mtu > 2 * head ? clamp_mss(ctx, o->mtu - head) : 0;
}

/* tunnel sends a finished frame on s->way. */
static __always_inline int tunnel(struct __sk_buff *ctx, struct scratch *s)
{
	struct packet *p = &s->packet;
	struct overlay_way *way = &s->way;
	struct tunnel_key key = {.id = way->vni, .remote = bpf_ntohl(way->host)};
	struct overlay *o;
	__u32 zero = 0;

	o = bpf_map_lookup_elem(&overlay, &zero);
	if (!o || !o->ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	if (p->fragment == FRAGMENT_LATER && way->head.kind != OVERLAY_PLAIN) {
		/* the one end at which they are known */
		__builtin_memcpy(way->head.number, &s->new_sport, 2);
		__builtin_memcpy(way->head.number + 2, &s->new_dport, 2);
	}
	if (bpf_skb_store_bytes(ctx, 0, &way->head, sizeof(way->head), 0) ||
	    bpf_skb_set_tunnel_key(ctx, (void *)&key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return drop(ctx, DROP_REWRITE);
	count(COUNT_DELIVERED, 1);
	count(COUNT_DELIVERED_BYTES, p->len);
	ctx->cb[0] = ACTION_OVERLAY;
	ctx->cb[1] = o->ifindex;
	ctx->cb[3] = way->vni;
	ctx->cb[4] = way->host;
	return bpf_redirect(o->ifindex, 0);
}

/* to_host sends a packet between workloads to the host of the one it is for. */
static __always_inline int to_host(struct __sk_buff *ctx, struct scratch *s, __be32 host)
{
	int reason = overlay_clamp(ctx, s, false);

	if (reason)
		return drop(ctx, reason);
	s->way.vni = s->packet.vni;
	s->way.host = host;
	head_set(&s->way.head, OVERLAY_PLAIN, s->packet.vni, s->packet.eni);
	return tunnel(ctx, s);
}

/* to_client sends what a target has sent, turned back already, to its client's host. */
static __always_inline int to_client(struct __sk_buff *ctx, struct scratch *s, __u32 vni, __u16 by, __be32 host)
{
	vni &= 0xffffff;
	s->way.vni = vni;
	s->way.host = host;
	head_set(&s->way.head, OVERLAY_TO_CLIENT, vni, (__u64)by << 32);
	return tunnel(ctx, s);
}

/* to_target sends what a client has sent to its target's host. */
static __always_inline int to_target(struct __sk_buff *ctx, struct scratch *s, struct conn *c)
{
	struct packet *p = &s->packet;
	int reason = overlay_clamp(ctx, s, false);

	if (reason)
		return drop(ctx, reason);
	s->new_sport = p->sport;
	s->new_dport = p->dport;
	s->way.vni = c->link ? c->link : s->key.vni;
	s->way.host = c->to_ifindex;
	__builtin_memcpy(&s->way.head, c->to_mac, 6);
	__builtin_memcpy((__u8 *)&s->way.head + 6, c->to_gateway, 6);
	return tunnel(ctx, s);
}

/* overlay_answer sends a frame that has become an answer back to the host that
 * it came from. */
static __always_inline int overlay_answer(struct __sk_buff *ctx, struct scratch *s)
{
	__u32 vni = head_vni(&s->way.head);

	if (s->packet.overlay == OVERLAY_TO_TARGET)
		return to_client(ctx, s, vni, s->packet.by, s->way.host);
	if (s->packet.overlay != OVERLAY_TO_CLIENT) {
		ctx->cb[0] = ACTION_DROP;
		return TC_ACT_SHOT;
	}
	head_to_target(&s->way.head, vni, s->packet.by, 0); /* no flow begins with it */
	return tunnel(ctx, s);
}

/* arrives reads what a frame from another host says of itself and makes its
 * sender a port here; a drop reason or 0. */
static __always_inline int arrives(struct __sk_buff *ctx, struct scratch *s)
{
	struct packet *p = &s->packet;
	struct overlay_way *way = &s->way;
	struct port *port = &s->far;
	struct interface *self;
	struct public *place;
	struct endpoint *e;
	__u64 number, *endpoint;

	__builtin_memcpy(&way->head, p->dst_mac, 6);
	__builtin_memcpy((__u8 *)&way->head + 6, p->src_mac, 6);
	__builtin_memcpy(&number, way->head.number, 8);
	if (p->arp || p->nd)
		return DROP_OVERLAY;
	__builtin_memset(port, 0, sizeof(*port));
	port->flags = PORT_OVERLAY;
	p->overlay = way->head.kind;
	p->vni = head_vni(&way->head);
	if (p->overlay == (OVERLAY_TO_TARGET | OVERLAY_BY) || p->overlay == (OVERLAY_BEGINS | OVERLAY_BY)) {
		p->by = p->vni;
		p->vni = way->vni;
		endpoint = bpf_map_lookup_elem(&links, &way->vni);
		if (endpoint) {
			e = bpf_map_lookup_elem(&endpoints, endpoint);
			if (!e)
				return DROP_ENDPOINT_INACTIVE;
			p->vni = e->vni;
		}
		p->overlay &= ~OVERLAY_BY;
		head_set(&way->head, p->overlay, p->vni, number);
	}
	switch (p->overlay) {
	case OVERLAY_PLAIN:
		p->eni = number;
		self = interface_at(s, p->vni, &p->src);
		if (!self || self->eni != number) { /* it forwards for another */
			place = bpf_map_lookup_elem(&places, &number);
			if (!place || place->vni != p->vni)
				return DROP_OVERLAY;
			self = interface_at(s, place->vni, &place->addr);
		}
		if (!self || self->eni != number || !(self->flags & INTERFACE_REMOTE) || self->ifindex != way->host ||
		    way->vni != p->vni)
			return DROP_OVERLAY;
		port->self = *self;
		port->vni = p->vni;
		return p->fragment ? fragment() : 0;
	case OVERLAY_BEGINS:
	case OVERLAY_TO_TARGET:
		p->overlay = OVERLAY_TO_TARGET;
		p->eni = OVERLAY_ENI | way->vni;
		p->vni |= OVERLAY_KEY;
		break;
	case OVERLAY_TO_CLIENT:
		if (way->vni != p->vni)
			return DROP_OVERLAY;
		p->by = number >> 32;
		p->eni = OVERLAY_ENI | way->vni;
		break;
	default:
		return DROP_OVERLAY;
	}
	port->self.eni = p->eni;
	port->vni = p->vni;
	if (p->fragment == FRAGMENT_LATER) {
		__builtin_memcpy(&p->sport, way->head.number, 2);
		__builtin_memcpy(&p->dport, way->head.number + 2, 2);
		p->rule_port = p->dport;
		if (p->proto == IPPROTO_TCP)
			p->tcp_flags = TCP_ACK; /* it begins and ends nothing */
	}
	return 0;
}

#endif
