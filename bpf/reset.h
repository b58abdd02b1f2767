// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_RESET_H
#define POSTERN_RESET_H

/* Turns a TCP packet into a reset for its sender, so that an application
 * learns at once that a connection is over instead of waiting for a timeout. */

#include "overlay.h"

/* pseudo_sum is the sum of the pseudo header of len bytes of proto between
 * the scratch packet's new ends, which lie in a row. */
static __always_inline __u32 pseudo_sum(struct scratch *s, bool v6, __u32 proto, __u32 len)
{
	__be32 rest = bpf_htonl(proto + len);
	__s64 sum;

	if (v6)
		sum = bpf_csum_diff(0, 0, s->new_src.w, 32, 0);
	else
		sum = bpf_csum_diff(0, 0, &s->new_src.w[3], 4, bpf_csum_diff(0, 0, &s->new_dst.w[3], 4, 0));
	return csum_fold32((__u64)(__u32)sum + rest);
}

/* put_ip writes an Ethernet and an IP header between the new ends to the
 * scratch frame, as if from the packet's receiver to its sender. */
static __always_inline void put_ip(struct scratch *s, const bool v6, __u8 proto, __u32 len, __u8 ttl)
{
	struct packet *p = &s->packet;
	__u8 *f = s->frame;

	__builtin_memset(f, 0, sizeof(s->frame));
	__builtin_memcpy(f, p->src_mac, 6);
	__builtin_memcpy(f + 6, p->dst_mac, 6);
	if (v6) {
		put16(f + 12, ETH_P_IPV6);
		f[14] = 0x60;
		put16(f + 18, len);
		f[20] = proto;
		f[21] = ttl;
		put_addr(f + 22, &s->new_src);
		put_addr(f + 38, &s->new_dst);
	} else {
		put16(f + 12, ETH_P_IP);
		f[14] = 0x45;
		put16(f + 16, IP_LEN + len);
		put16(f + 20, 0x4000);
		f[22] = ttl;
		f[23] = proto;
		putraw(f + 26, s->new_src.w[3]);
		putraw(f + 30, s->new_dst.w[3]);
		putraw16(f + 24, ~csum_fold32((__u32)bpf_csum_diff(0, 0, (__be32 *)(f + 14), IP_LEN, 0)));
	}
}

/* put_reset writes the reset's frame at a constant place and stores it. */
static __always_inline int put_reset(struct __sk_buff *ctx, struct scratch *s, const bool v6, __u32 seq, __u32 ack,
				     __u8 flags)
{
	const __u32 l4 = v6 ? L4_OFF6 : L4_OFF;
	__u8 *t = s->frame + l4;
	__u32 head, check;
	__u64 sum;

	if (bpf_skb_change_tail(ctx, l4 + TCP_LEN, 0))
		return DROP_REWRITE;
	put_ip(s, v6, IPPROTO_TCP, TCP_LEN, 64);
	putraw16(t, s->new_sport);
	putraw16(t + 2, s->new_dport);
	put32(t + 4, seq);
	put32(t + 8, ack);
	t[12] = 5 << 4;
	t[13] = flags;
	head = pseudo_sum(s, v6, IPPROTO_TCP, TCP_LEN);
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)t, TCP_LEN, 0);
	/* The field holds the pseudo header's sum, which is all that a packet
	 * with offloaded checksum carries; for such a packet the helper below
	 * does nothing. For any other it makes the whole checksum: it computes
	 * ~(diff + ~head), and diff = 2*head + sum gives ~(head + sum). */
	putraw16(t + TCP_CSUM, head);
	check = csum_fold32(sum + head + head);
	if (bpf_skb_store_bytes(ctx, 0, s->frame, l4 + TCP_LEN, 0) ||
	    bpf_l4_csum_replace(ctx, l4 + TCP_CSUM, 0, check, 0))
		return DROP_REWRITE;
	return 0;
}

/* make_reset rewrites the packet in place into a reset; returns a drop reason
 * or 0. It goes back to the sender, or onward to the other end as if the sender
 * had sent it: then s->new_* say between whom. */
__noinline int make_reset(struct __sk_buff *ctx, int onward)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u32 seq = 0, ack = 0;
	__u8 flags = TCP_RST;
	int reason;

	if (!s)
		return DROP_REWRITE;
	p = &s->packet;
	/* what has an offloaded checksum has it at a place that cannot be moved */
	if (p->l4 != (p->v6 ? L4_OFF6 : L4_OFF) || p->fragment)
		return DROP_REWRITE;
	if (!onward) {
		s->new_src = p->dst;
		s->new_dst = p->src;
		s->new_sport = p->dport;
		s->new_dport = p->sport;
	}
	if (p->v6 == addr_is_v4(&s->new_src))
		return DROP_FAMILY;
	if (onward) {
		seq = p->seq;
		ack = p->ack;
		flags |= p->tcp_flags & TCP_ACK;
	} else if (p->tcp_flags & TCP_ACK) { /* RFC 9293 3.10.7.1 */
		seq = p->ack;
	} else {
		ack = p->seq + p->payload + !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
		flags |= TCP_ACK;
	}
	reason = p->v6 ? put_reset(ctx, s, true, seq, ack, flags) : put_reset(ctx, s, false, seq, ack, flags);
	if (reason)
		return reason;
	count(COUNT_RESETS, 1);
	return 0;
}

/* reset drops the packet for reason and tells a TCP sender so. A reset is
 * never answered. */
static __always_inline int reset(struct __sk_buff *ctx, struct scratch *s, __u32 reason)
{
	note_drop(ctx, reason);
	if (s->packet.proto == IPPROTO_TCP && !(s->packet.tcp_flags & TCP_RST) && !make_reset(ctx, 0)) {
		if (s->packet.by_client)
			usage_reset(s->packet.endpoint, s->packet.place);
		return s->packet.overlay ? overlay_answer(ctx, s) : answer(ctx);
	}
	ctx->cb[0] = ACTION_DROP;
	return TC_ACT_SHOT;
}

#endif
