// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_NAT_H
#define POSTERN_NAT_H

/* Rewrites of addresses, ports and MSS. Checksums are changed by difference
 * through the kernel's helpers, which know whether the packet carries a whole
 * checksum or, with offload, only that of the pseudo header: the addresses go
 * in as pseudo header, the ports as data. */

#include "parse.h"

#define TCP_CSUM (L4_OFF + 16)
#define UDP_CSUM (L4_OFF + 6)
#define IP_CSUM (ETH_LEN + 10)

static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u32)sum;
}

/* What translate writes: the last 14 bytes before the L4 header's own fields
 * lie in a row, so one store does. */
struct rewritten {
	__u16 ip_check;
	__u16 addresses[4]; /* both, in halves: the whole is not aligned */
	__be16 ports[2];
};

/* translate replaces both ends of the scratch packet by s->new_*. */
__noinline int translate(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct rewritten w;
	__be32 from[2], to[2];
	__u32 old_ports, new_ports, off, mangled = 0;
	__s64 diff;

	if (!s)
		return DROP_REWRITE;
	from[0] = s->packet.src.w[3];
	from[1] = s->packet.dst.w[3];
	to[0] = s->new_src.w[3];
	to[1] = s->new_dst.w[3];
	diff = bpf_csum_diff(from, 8, to, 8, 0);
	if (diff < 0)
		return DROP_REWRITE;
	old_ports = (__u32)s->packet.sport | (__u32)s->packet.dport << 16;
	new_ports = (__u32)s->new_sport | (__u32)s->new_dport << 16;
	off = TCP_CSUM;
	if (s->packet.proto == IPPROTO_UDP) {
		off = UDP_CSUM;
		mangled = BPF_F_MARK_MANGLED_0;
	}
	if (bpf_l4_csum_replace(ctx, off, 0, diff, BPF_F_PSEUDO_HDR | mangled))
		return DROP_REWRITE;
	if (old_ports != new_ports && bpf_l4_csum_replace(ctx, off, old_ports, new_ports, mangled | 4))
		return DROP_REWRITE;
	/* RFC 1624: HC' = ~(~HC + ~m + m') */
	w.ip_check = ~csum_fold32((__u64)(__u16)~s->packet.ip_check + (__u32)diff);
	w.addresses[0] = to[0];
	w.addresses[1] = to[0] >> 16;
	w.addresses[2] = to[1];
	w.addresses[3] = to[1] >> 16;
	w.ports[0] = s->new_sport;
	w.ports[1] = s->new_dport;
	if (bpf_skb_store_bytes(ctx, IP_CSUM, &w, sizeof(w), 0))
		return DROP_REWRITE;
	count(COUNT_TRANSLATED, 1);
	return 0;
}

/* tells the verifier what the code already knows: i stays inside options */
#define BOUND(i) asm volatile("%0 &= 63" : "+r"(i))

/* clamp_mss lowers the MSS option of a SYN or SYN-ACK to what an endpoint
 * carries. A packet without the option is left alone: its MSS is 536. */
__noinline int clamp_mss(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	__u8 *o;
	__u32 len, step, i = 0;
	__be16 was, now;
	__u16 from, to;

	if (!s)
		return 0;
	o = s->options;
	len = s->packet.tot_len - IP_LEN - TCP_LEN - s->packet.payload;
	if (len < 4 || len > 40)
		return 0;
	if (bpf_skb_load_bytes(ctx, L4_OFF + TCP_LEN, o, len))
		return DROP_REWRITE;
	for (step = 0; step < 40; step++) {
		if (i + 4 > len)
			return 0;
		BOUND(i);
		if (o[i] == 0)
			return 0;
		if (o[i] == 1) {
			i++;
			continue;
		}
		if (o[i] == 2)
			break;
		if (o[i + 1] < 2)
			return 0;
		i += o[i + 1];
	}
	BOUND(i);
	if (o[i] != 2 || o[i + 1] != 4)
		return 0;
	was = raw16(o + i + 2);
	if (bpf_ntohs(was) <= mss)
		return 0;
	now = bpf_htons(mss);
	from = was;
	to = now;
	if (i & 1) { /* the value straddles two words of the checksum */
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	if (bpf_l4_csum_replace(ctx, TCP_CSUM, from, to, 2) ||
	    bpf_skb_store_bytes(ctx, L4_OFF + TCP_LEN + i + 2, &now, 2, 0))
		return DROP_REWRITE;
	return 0;
}

#endif
