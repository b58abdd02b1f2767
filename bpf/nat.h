// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_NAT_H
#define POSTERN_NAT_H

/* Rewrites of addresses, ports and MSS. Checksums are changed by difference
 * through the kernel's helpers, which know whether the packet carries a whole
 * checksum or, with offload, only that of the pseudo header: the addresses go
 * in as pseudo header, the ports as data. */

#include "fragment.h"

#define TCP_CSUM 16 /* from the L4 header on */
#define UDP_CSUM 6
#define ICMP_CSUM 2
#define IP_CSUM (ETH_LEN + 10)

static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u32)sum;
}

/* csum_add gives the checksum field that has changed by diff. RFC 1624: HC' = ~(~HC + ~m + m') */
static __always_inline __u16 csum_add(__u16 check, __u64 diff)
{
	return ~csum_fold32((__u64)(__u16)~check + (__u32)diff);
}

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

static __always_inline void putraw16(__u8 *b, __u16 v)
{
	b[0] = v;
	b[1] = v >> 8;
}

static __always_inline void putraw(__u8 *b, __u32 v)
{
	b[0] = v;
	b[1] = v >> 8;
	b[2] = v >> 16;
	b[3] = v >> 24;
}

static __always_inline void put_addr(__u8 *b, const struct addr *a)
{
	putraw(b, a->w[0]);
	putraw(b + 4, a->w[1]);
	putraw(b + 8, a->w[2]);
	putraw(b + 12, a->w[3]);
}

/* put_v4 writes the new addresses to the IPv4 header in the scratch frame. */
static __always_inline void put_v4(struct scratch *s, __u16 ip_check)
{
	putraw16(s->frame + IP_CSUM, ip_check);
	putraw(s->frame + ETH_LEN + 12, s->new_src.w[3]);
	putraw(s->frame + ETH_LEN + 16, s->new_dst.w[3]);
}

/* change_l4 makes the L4 header say the new ports (or echo id), and its checksum the
 * new ends: diff is what the addresses changed by. */
static __always_inline int change_l4(struct __sk_buff *ctx, struct scratch *s, __s64 diff, bool store)
{
	struct packet *p = &s->packet;
	__u32 old_ports, new_ports, check, flags = 0, port_bytes = 4;

	if (p->fragment == FRAGMENT_LATER)
		return 0;
	old_ports = (__u32)p->sport | (__u32)p->dport << 16;
	new_ports = (__u32)s->new_sport | (__u32)s->new_dport << 16;
	switch (p->proto) {
	case IPPROTO_TCP:
		check = p->l4 + TCP_CSUM;
		break;
	case IPPROTO_UDP:
		check = p->l4 + UDP_CSUM;
		flags = BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!p->icmp)
			return 0;
		check = p->l4 + ICMP_CSUM;
		port_bytes = 2;
		if (!p->v6)
			diff = 0;
		if (p->icmp != ICMP_REQUEST && p->icmp != ICMP_REPLY)
			new_ports = old_ports;
		break;
	default: /* carried as it is: only its IP header changes */
		return 0;
	}
	if (port_bytes == 2) {
		old_ports &= 0xffff;
		new_ports &= 0xffff;
	}
	if (diff && bpf_l4_csum_replace(ctx, check, 0, diff, BPF_F_PSEUDO_HDR | flags))
		return DROP_REWRITE;
	if (old_ports == new_ports)
		return 0;
	if (bpf_l4_csum_replace(ctx, check, old_ports, new_ports, flags | 4))
		return DROP_REWRITE;
	if (!store)
		return 0;
	if (port_bytes == 2 ? bpf_skb_store_bytes(ctx, p->l4 + 4, &s->new_sport, 2, 0)
			    : bpf_skb_store_bytes(ctx, p->l4, &s->new_sport, 4, 0))
		return DROP_REWRITE;
	return 0;
}

/* change_family makes an IPv6 packet an IPv4 one or the other way round (RFC
 * 7915, without fragments and ICMP). The payload stays. */
static __noinline int change_family(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u16 udp_check;
	__u8 *h;
	__s64 diff;
	int reason;

	if (!s)
		return DROP_REWRITE;
	p = &s->packet;
	h = s->frame;
	if (p->fragment)
		return DROP_FRAGMENT;
	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return DROP_PROTOCOL;
	if (p->v6 && p->l4 != L4_OFF6)
		return DROP_EXTENSION;
	if (p->v6)
		diff = bpf_csum_diff(p->src.w, 32, &s->new_src.w[3], 4, 0);
	else
		diff = bpf_csum_diff(&p->src.w[3], 4, s->new_src.w, 32, 0);
	if (diff < 0)
		return DROP_REWRITE;
	if (p->v6)
		diff = bpf_csum_diff(0, 0, &s->new_dst.w[3], 4, diff);
	else
		diff = bpf_csum_diff(&p->dst.w[3], 4, 0, 0, diff);
	if (diff < 0)
		return DROP_REWRITE;
	if (!p->v6 && p->proto == IPPROTO_UDP) {
		/* IPv6 wants a checksum, and here is none to change */
		if (bpf_skb_load_bytes(ctx, p->l4 + UDP_CSUM, &udp_check, 2))
			return DROP_REWRITE;
		if (!udp_check)
			return DROP_FAMILY;
	}
	reason = change_l4(ctx, s, diff, true);
	if (reason)
		return reason;
	if (bpf_skb_load_bytes(ctx, ETH_LEN, h, 8))
		return DROP_REWRITE;
	if (p->v6) {
		__u8 tos = h[0] << 4 | h[1] >> 4, ttl = h[7];
		__u16 check;

		if (bpf_skb_change_proto(ctx, bpf_htons(ETH_P_IP), 0))
			return DROP_REWRITE;
		put16(h, ETH_P_IP);
		h += 2;
		__builtin_memset(h, 0, IP_LEN);
		h[0] = 0x45;
		h[1] = tos;
		put16(h + 2, p->tot_len - IP6_LEN + IP_LEN);
		put16(h + 6, 0x4000);
		h[8] = ttl;
		h[9] = p->proto;
		putraw(h + 12, s->new_src.w[3]);
		putraw(h + 16, s->new_dst.w[3]);
		/* h is off by two in its buffer, and the helper does not care */
		check = ~csum_fold32((__u32)bpf_csum_diff(0, 0, (__be32 *)h, IP_LEN, 0));
		putraw16(h + 10, check);
		if (bpf_skb_store_bytes(ctx, ETH_LEN - 2, h - 2, 2 + IP_LEN, 0))
			return DROP_REWRITE;
	} else {
		__u8 tos = h[1];
		__u8 ttl;

		if (bpf_skb_load_bytes(ctx, ETH_LEN + 8, &ttl, 1) || bpf_skb_change_proto(ctx, bpf_htons(ETH_P_IPV6), 0))
			return DROP_REWRITE;
		put16(h, ETH_P_IPV6);
		h += 2;
		__builtin_memset(h, 0, IP6_LEN);
		h[0] = 0x60 | tos >> 4;
		h[1] = tos << 4;
		put16(h + 4, p->tot_len - IP_LEN);
		h[6] = p->proto;
		h[7] = ttl;
		put_addr(h + 8, &s->new_src);
		put_addr(h + 24, &s->new_dst);
		if (bpf_skb_store_bytes(ctx, ETH_LEN - 2, h - 2, 2 + IP6_LEN, 0))
			return DROP_REWRITE;
	}
	count(COUNT_TRANSLATED, 1);
	return 0;
}

/* change_inner copies old_inner to new_inner with the new ends, and answers how
 * the sum of these bytes changed. len is a constant, ip that of the IP header. */
static __always_inline __s64 change_inner(struct scratch *s, const __u32 ip, const __u32 len)
{
	struct inner *in = &s->inner;
	__u8 *o = s->old_inner, *n = s->new_inner, *l4 = s->new_inner + ip;
	__u32 old_port = in->old_sport + in->old_dport, new_port = in->sport + in->dport;
	__s64 addresses, ports;
	__u16 check;

	__builtin_memcpy(n, o, len);
	if (ip == IP6_LEN) {
		put_addr(n + 8, &in->src);
		put_addr(n + 24, &in->dst);
		addresses = bpf_csum_diff((__be32 *)(o + 8), 32, (__be32 *)(n + 8), 32, 0);
	} else {
		putraw(n + 12, in->src.w[3]);
		putraw(n + 16, in->dst.w[3]);
		addresses = bpf_csum_diff((__be32 *)(o + 12), 8, (__be32 *)(n + 12), 8, 0);
		putraw16(n + 10, csum_add(raw16(o + 10), addresses));
	}
	if (in->proto == IPPROTO_ICMP || in->proto == IPPROTO_ICMPV6) {
		putraw16(l4 + 4, in->sport);
		ports = csum_fold32((__u64)(__u16)~in->old_sport + in->sport);
		check = csum_add(raw16(l4 + 2), csum_fold32((ip == IP6_LEN ? (__u64)(__u32)addresses : 0) + ports));
		putraw16(l4 + 2, check);
	} else if (in->proto == IPPROTO_TCP || in->proto == IPPROTO_UDP) {
		putraw16(l4, in->sport);
		putraw16(l4 + 2, in->dport);
		ports = csum_fold32((__u64)(__u16)~csum_fold32(old_port) + csum_fold32(new_port));
		ports = csum_fold32((__u64)(__u32)addresses + ports);
		if (in->shift && in->proto == IPPROTO_TCP) {
			__s32 ahead = get32(l4 + 4) - in->first;

			if (ahead >= (__s32)in->shift)
				put32(l4 + 4, get32(l4 + 4) - in->shift);
			else if (ahead > 0)
				put32(l4 + 4, in->first);
			ports = (__u32)bpf_csum_diff((__be32 *)(o + ip + 4), 4, (__be32 *)(l4 + 4), 4, (__u32)ports);
			ports = csum_fold32((__u32)ports);
		}
		if (in->proto == IPPROTO_UDP) {
			if (raw16(l4 + UDP_CSUM)) {
				check = csum_add(raw16(l4 + UDP_CSUM), ports);
				putraw16(l4 + UDP_CSUM, check ? check : 0xffff);
			}
		} else if (len == ip + TCP_LEN) {
			putraw16(l4 + TCP_CSUM, csum_add(raw16(l4 + TCP_CSUM), ports));
		}
	}
	return bpf_csum_diff((__be32 *)o, len, (__be32 *)n, len, 0);
}

/* translate_error replaces the outer addresses of an ICMP error by s->new_*,
 * and inside it the ends of the packet that it is about by s->inner. */
static __noinline int translate_error(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__s64 diff, outer;
	__u32 off, len;

	if (!s)
		return DROP_REWRITE;
	p = &s->packet;
	if (p->v6 == addr_is_v4(&s->new_src) || p->v6 == addr_is_v4(&s->inner.src))
		return DROP_ICMP_ERROR;
	off = p->l4 + ICMP_LEN;
	if (p->v6) {
		len = s->inner.whole ? IP6_LEN + TCP_LEN : IP6_LEN + 8;
		diff = s->inner.whole ? change_inner(s, IP6_LEN, IP6_LEN + TCP_LEN) : change_inner(s, IP6_LEN, IP6_LEN + 8);
		outer = bpf_csum_diff(p->src.w, 32, s->new_src.w, 32, 0);
	} else {
		len = s->inner.whole ? IP_LEN + TCP_LEN : IP_LEN + 8;
		diff = s->inner.whole ? change_inner(s, IP_LEN, IP_LEN + TCP_LEN) : change_inner(s, IP_LEN, IP_LEN + 8);
		outer = bpf_csum_diff(p->src.w, 32, s->new_src.w, 32, 0);
	}
	if (diff < 0 || outer < 0)
		return DROP_REWRITE;
	if (bpf_l4_csum_replace(ctx, p->l4 + ICMP_CSUM, 0, diff, 0))
		return DROP_REWRITE;
	if (len > sizeof(s->new_inner) || !len || bpf_skb_store_bytes(ctx, off, s->new_inner, len, 0))
		return DROP_REWRITE;
	if (p->v6) {
		if (bpf_l4_csum_replace(ctx, p->l4 + ICMP_CSUM, 0, outer, BPF_F_PSEUDO_HDR) ||
		    bpf_skb_store_bytes(ctx, ETH_LEN + 8, &s->new_src, 32, 0))
			return DROP_REWRITE;
	} else {
		put_v4(s, csum_add(p->ip_check, outer));
		if (bpf_skb_store_bytes(ctx, IP_CSUM, s->frame + IP_CSUM, 10, 0))
			return DROP_REWRITE;
	}
	count(COUNT_TRANSLATED, 1);
	return 0;
}

/* translate replaces both ends of the scratch packet by s->new_*, and those
 * inside an ICMP error by s->inner. Of an IPv4 packet it stores all from the
 * MAC addresses in the scratch frame to the ports, which lie in a row. */
__noinline int translate(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u64 sum;
	__s64 diff;
	bool ports;
	int reason;

	if (!s)
		return DROP_REWRITE;
	p = &s->packet;
	if (p->icmp == ICMP_ERROR)
		return translate_error(ctx);
	if (p->v6 == addr_is_v4(&s->new_src))
		return change_family(ctx);
	if (p->v6) {
		diff = bpf_csum_diff(p->src.w, 32, s->new_src.w, 32, 0);
		if (diff < 0)
			return DROP_REWRITE;
		reason = change_l4(ctx, s, diff, true);
		if (reason)
			return reason;
		if (bpf_skb_store_bytes(ctx, ETH_LEN + 8, &s->new_src, 32, 0))
			return DROP_REWRITE;
		count(COUNT_TRANSLATED, 1);
		return 0;
	}
	/* what bpf_csum_diff would say, without the call */
	sum = (__u64)(__u32)~p->src.w[3] + (__u32)~p->dst.w[3] + s->new_src.w[3] + s->new_dst.w[3];
	sum = (sum & 0xffffffff) + (sum >> 32);
	diff = (sum & 0xffffffff) + (sum >> 32);
	ports = (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) && p->fragment != FRAGMENT_LATER;
	reason = change_l4(ctx, s, diff, !ports);
	if (reason)
		return reason;
	put_v4(s, csum_add(p->ip_check, diff));
	if (ports) {
		putraw16(s->frame + L4_OFF, s->new_sport);
		putraw16(s->frame + L4_OFF + 2, s->new_dport);
	}
	if (ports ? bpf_skb_store_bytes(ctx, 0, s->frame, L4_OFF + 4, 0) : bpf_skb_store_bytes(ctx, 0, s->frame, L4_OFF, 0))
		return DROP_REWRITE;
	count(COUNT_TRANSLATED, 1);
	return 0;
}

/* tells the verifier what the code already knows: i stays inside options */
#define BOUND(i) asm volatile("%0 &= 63" : "+r"(i))

/* tcp_option is where the option of a kind, of at least size bytes, begins in
 * len bytes of TCP options; -1 if there is none. */
static __always_inline int tcp_option(const __u8 *o, __u32 len, __u8 kind, __u32 size)
{
	__u32 step, i = 0;

	for (step = 0; step < 40; step++) {
		if (i + size > len)
			return -1;
		BOUND(i);
		if (o[i] == kind)
			return i;
		if (o[i] == 0)
			return -1;
		if (o[i] == 1) {
			i++;
			continue;
		}
		if (o[i + 1] < 2)
			return -1;
		i += o[i + 1];
	}
	return -1;
}

/* clamp_mss lowers the MSS option of a SYN or SYN-ACK to what an endpoint, or
 * the way to another host, carries (in IPv4; IPv6's header is longer). A packet
 * without the option is left alone: its MSS is 536. */
__noinline int clamp_mss(struct __sk_buff *ctx, __u32 most)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u8 *o;
	__u32 len, i;
	int at;
	__be16 was, now;
	__u16 from, to;

	if (!s)
		return 0;
	p = &s->packet;
	o = s->options;
	if (p->v6)
		most -= IP6_LEN - IP_LEN;
	len = p->tot_len + ETH_LEN - p->l4 - TCP_LEN - p->payload;
	if (len < 4 || len > 40)
		return 0;
	if (bpf_skb_load_bytes(ctx, p->l4 + TCP_LEN, o, len))
		return DROP_REWRITE;
	at = tcp_option(o, len, 2, 4);
	if (at < 0)
		return 0;
	i = at;
	BOUND(i);
	if (o[i + 1] != 4)
		return 0;
	was = raw16(o + i + 2);
	if (bpf_ntohs(was) <= most)
		return 0;
	now = bpf_htons(most);
	from = was;
	to = now;
	if (i & 1) { /* the value straddles two words of the checksum */
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	if (bpf_l4_csum_replace(ctx, p->l4 + TCP_CSUM, from, to, 2) ||
	    bpf_skb_store_bytes(ctx, p->l4 + TCP_LEN + i + 2, &now, 2, 0))
		return DROP_REWRITE;
	return 0;
}

#endif
