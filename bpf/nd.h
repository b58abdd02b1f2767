// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_ND_H
#define POSTERN_ND_H

/* Answers neighbour solicitations (RFC 4861) from the maps: the router, which is
 * fe80::1 and the ::1 of each subnet's block, the resolver, and the known
 * interfaces of the same subnet. Everything else of neighbour discovery is
 * dropped: nobody can advertise, redirect or solicit for another, and addresses
 * are not made up by routers' announcements. */

#include "arp.h"
#include "reset.h"

#define ND_SOLICIT 135
#define ND_ADVERT 136
#define ND_LEN 24     /* of both, without options */
#define ND_LINK_LEN 8 /* of an option with a MAC address */
#define ND_ROUTER 0x80
#define ND_SOLICITED 0x40
#define ND_OVERRIDE 0x20

static __always_inline bool link_local(const struct addr *a)
{
	return (a->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool unspecified(const struct addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

/* nd_asked finds whose MAC address answers for the address that the interface
 * with this port asks about. */
static __always_inline bool nd_asked(struct scratch *s, struct port *port, struct addr *target, __u8 *mac, __u8 *flags)
{
	struct interface *asked;

	if (target->w[0] == bpf_htonl(0xfe800000) && !target->w[1] && !target->w[2] && target->w[3] == bpf_htonl(1)) {
		__builtin_memcpy(mac, port->self.gateway, 6);
		*flags |= ND_ROUTER;
		return true;
	}
	asked = interface_at(s, port->vni, target);
	if (!asked || asked->eni == port->self.eni) /* one of its own */
		return false;
	if (asked->kind == KIND_RESOLVER) {
		__builtin_memcpy(mac, port->self.gateway, 6);
		return true;
	}
	if (asked->subnet != port->self.subnet)
		return false;
	if (asked->kind == KIND_ROUTER)
		*flags |= ND_ROUTER;
	__builtin_memcpy(mac, asked->mac, 6);
	return true;
}

static __noinline int nd(struct __sk_buff *ctx, struct port *port)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	struct addr target;
	__u8 *b, mac[6], flags = ND_SOLICITED | ND_OVERRIDE;
	__u32 len;
	__u64 sum;

	if (!s || !port)
		return TC_ACT_SHOT;
	p = &s->packet;
	b = s->options;
	len = p->tot_len + ETH_LEN - p->l4;
	if (p->fragment || p->l4 != L4_OFF6 || len < ND_LEN || bpf_skb_load_bytes(ctx, ETH_LEN, b, 8) || b[7] != 255)
		return drop(ctx, DROP_ND);
	if (bpf_skb_load_bytes(ctx, L4_OFF6, b, ND_LEN) || b[0] != ND_SOLICIT || b[1] || b[8] == 0xff)
		return drop(ctx, DROP_ND);
	addr_v6(&target, b + 8);
	if (addr_is_v4(&target))
		return drop(ctx, DROP_ND);
	/* who only asks whether an address is taken gets no answer: whose it is, is not up to that */
	if (unspecified(&p->src))
		return drop(ctx, DROP_ND);
	if ((port->flags & PORT_SOURCE_CHECK) && !link_local(&p->src) && !owns(s, port, &p->src))
		return drop(ctx, DROP_SOURCE_ADDRESS);
	if (len >= ND_LEN + ND_LINK_LEN) {
		if (bpf_skb_load_bytes(ctx, L4_OFF6 + ND_LEN, b, ND_LINK_LEN))
			return drop(ctx, DROP_ND);
		if (b[0] == 1 && (raw32(b + 2) != raw32(p->src_mac) || raw16(b + 6) != raw16(p->src_mac + 4)))
			return drop(ctx, DROP_SOURCE_MAC);
	}
	if (!nd_asked(s, port, &target, mac, &flags))
		return drop(ctx, DROP_ND);
	if (bpf_skb_change_tail(ctx, L4_OFF6 + ND_LEN + ND_LINK_LEN, 0))
		return drop(ctx, DROP_REWRITE);
	s->new_src = target;
	s->new_dst = p->src;
	__builtin_memcpy(p->dst_mac, mac, 6);
	put_ip(s, true, IPPROTO_ICMPV6, ND_LEN + ND_LINK_LEN, 255);
	b = s->frame + L4_OFF6;
	b[0] = ND_ADVERT;
	b[4] = flags;
	put_addr(b + 8, &target);
	b[24] = 2;
	b[25] = 1;
	__builtin_memcpy(b + 26, mac, 6);
	sum = pseudo_sum(s, true, IPPROTO_ICMPV6, ND_LEN + ND_LINK_LEN);
	sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)b, ND_LEN + ND_LINK_LEN, 0);
	putraw16(b + 2, ~csum_fold32(sum));
	if (bpf_skb_store_bytes(ctx, 0, s->frame, L4_OFF6 + ND_LEN + ND_LINK_LEN, 0))
		return drop(ctx, DROP_REWRITE);
	count(COUNT_ARP, 1);
	return answer(ctx);
}

#endif
