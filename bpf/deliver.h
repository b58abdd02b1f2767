// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_DELIVER_H
#define POSTERN_DELIVER_H

/* The last step: into the namespace behind a veth at once, skipping a second
 * pass of the backlog, or out of a tap, which has no peer. The packet type was
 * set for the host's MAC; without resetting it the namespace would ignore the
 * packet as somebody else's. */

#include "nat.h"

/* address writes the MAC addresses of a frame for an interface. */
static __always_inline int address(struct __sk_buff *ctx, const __u8 *mac, const __u8 *source_mac)
{
	__u8 macs[12];

	__builtin_memcpy(macs, mac, 6);
	__builtin_memcpy(macs + 6, source_mac, 6);
	return bpf_skb_store_bytes(ctx, 0, macs, sizeof(macs), 0) || bpf_skb_change_type(ctx, 0 /* PACKET_HOST */);
}

/* hand gives a finished frame to an interface of this host. */
static __always_inline int hand(struct __sk_buff *ctx, struct scratch *s, __u32 ifindex, __u32 flags)
{
	count(COUNT_DELIVERED, 1);
	count(COUNT_DELIVERED_BYTES, s->packet.len);
	ctx->cb[1] = ifindex;
	if (flags & INTERFACE_TAP) {
		ctx->cb[0] = ACTION_REDIRECT;
		return bpf_redirect(ifindex, 0);
	}
	ctx->cb[0] = ACTION_PEER;
	return bpf_redirect_peer(ifindex, 0);
}

static __always_inline int deliver(struct __sk_buff *ctx, struct scratch *s, struct interface *to,
				   const __u8 *source_mac)
{
	if (!to->ifindex)
		return drop(ctx, DROP_REMOTE_HOST);
	if (address(ctx, to->mac, source_mac))
		return drop(ctx, DROP_REWRITE);
	return hand(ctx, s, to->ifindex, to->flags);
}

/* answer sends the frame, already turned into an answer, back out of the
 * device that it came in by. */
static __always_inline int answer(struct __sk_buff *ctx)
{
	ctx->cb[0] = ACTION_ANSWER;
	ctx->cb[1] = ctx->ifindex;
	return bpf_redirect(ctx->ifindex, 0);
}

#endif
