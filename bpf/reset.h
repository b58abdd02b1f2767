// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_RESET_H
#define POSTERN_RESET_H

/* Turns a TCP packet into a reset for its sender, so that an application
 * learns at once that a connection is over instead of waiting for a timeout. */

#include "deliver.h"

#define RESET_LEN (L4_OFF + TCP_LEN)

static __always_inline void put16(__u8 *b, __u16 v)
{
	b[0] = v >> 8;
	b[1] = v;
}

static __always_inline void put32(__u8 *b, __u32 v)
{
	put16(b, v >> 16);
	put16(b + 2, v);
}

static __always_inline void putraw(__u8 *b, __u32 v)
{
	b[0] = v;
	b[1] = v >> 8;
	b[2] = v >> 16;
	b[3] = v >> 24;
}

/* make_reset rewrites the packet in place into a reset; returns a drop reason
 * or 0. It goes back to the sender, or onward to the other end as if the sender
 * had sent it: then s->new_* say between whom. */
__noinline int make_reset(struct __sk_buff *ctx, int onward)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u8 *f, pseudo[12] = {};
	__u32 seq = 0, ack = 0, head, check;
	__u16 ip_check;
	__u8 flags = TCP_RST;
	__u64 sum;

	if (!s)
		return DROP_REWRITE;
	p = &s->packet;
	f = s->frame;
	if (!onward) {
		s->new_src = p->dst;
		s->new_dst = p->src;
		s->new_sport = p->dport;
		s->new_dport = p->sport;
	}
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
	if (bpf_skb_change_tail(ctx, RESET_LEN, 0))
		return DROP_REWRITE;
	__builtin_memset(f, 0, sizeof(s->frame));
	__builtin_memcpy(f, p->src_mac, 6);
	__builtin_memcpy(f + 6, p->dst_mac, 6);
	put16(f + 12, ETH_P_IP);
	f[14] = 0x45;
	put16(f + 16, IP_LEN + TCP_LEN);
	put16(f + 20, 0x4000);
	f[22] = 64;
	f[23] = IPPROTO_TCP;
	putraw(f + 26, s->new_src.w[3]);
	putraw(f + 30, s->new_dst.w[3]);
	ip_check = ~csum_fold32((__u32)bpf_csum_diff(0, 0, (__be32 *)(f + 14), IP_LEN, 0));
	f[24] = ip_check;
	f[25] = ip_check >> 8;

	f[34] = s->new_sport;
	f[35] = s->new_sport >> 8;
	f[36] = s->new_dport;
	f[37] = s->new_dport >> 8;
	put32(f + 38, seq);
	put32(f + 42, ack);
	f[46] = 5 << 4;
	f[47] = flags;
	putraw(pseudo, s->new_src.w[3]);
	putraw(pseudo + 4, s->new_dst.w[3]);
	pseudo[9] = IPPROTO_TCP;
	pseudo[11] = TCP_LEN;
	head = csum_fold32((__u32)bpf_csum_diff(0, 0, (__be32 *)pseudo, 12, 0));
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)(f + 34), TCP_LEN, 0);
	/* The field holds the pseudo header's sum, which is all that a packet
	 * with offloaded checksum carries; for such a packet the helper below
	 * does nothing. For any other it makes the whole checksum: it computes
	 * ~(diff + ~head), and diff = 2*head + sum gives ~(head + sum). */
	f[50] = head;
	f[51] = head >> 8;
	check = csum_fold32(sum + head + head);
	if (bpf_skb_store_bytes(ctx, 0, f, RESET_LEN, 0) || bpf_l4_csum_replace(ctx, TCP_CSUM, 0, check, 0))
		return DROP_REWRITE;
	count(COUNT_RESETS, 1);
	return 0;
}

/* reset drops the packet for reason and tells a TCP sender so. A reset is
 * never answered. */
static __always_inline int reset(struct __sk_buff *ctx, struct scratch *s, __u32 reason)
{
	note_drop(ctx, reason);
	if (s->packet.proto == IPPROTO_TCP && !(s->packet.tcp_flags & TCP_RST) && !make_reset(ctx, 0))
		return answer(ctx);
	ctx->cb[0] = ACTION_DROP;
	return TC_ACT_SHOT;
}

#endif
