// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_PARSE_H
#define POSTERN_PARSE_H

/* Reads a frame into struct packet once, so that nothing later touches the
 * tenant's bytes again except to rewrite them. Everything odd is dropped here:
 * what hides the ports (IPv4 options, most IPv6 extension headers) is not
 * needed by anything that a VPC carries. TTL and hop limit are left alone: a
 * VPC's router does not show as a hop. */

#include "conn.h"
#include "drop.h"

#define ETH_LEN 14
#define IP_LEN 20
#define IP6_LEN 40
#define L4_OFF (ETH_LEN + IP_LEN) /* IPv4's; an IPv6 packet's is in packet.l4 */
#define L4_OFF6 (ETH_LEN + IP6_LEN)
#define TCP_LEN 20
#define ICMP_LEN 8

#define EXTENSIONS_MAX 4
/* protocol numbers that <linux/in6.h> does not name */
#define IPPROTO_HIP 139
#define IPPROTO_SHIM6 140

static __always_inline __u16 get16(const __u8 *b)
{
	return ((__u16)b[0] << 8) | b[1];
}

static __always_inline __u32 get32(const __u8 *b)
{
	return ((__u32)b[0] << 24) | ((__u32)b[1] << 16) | ((__u32)b[2] << 8) | b[3];
}

/* raw copies: the value as it lies in memory, network order kept */
static __always_inline __u16 raw16(const __u8 *b)
{
	return (__u16)b[0] | (__u16)b[1] << 8;
}

static __always_inline __u32 raw32(const __u8 *b)
{
	return (__u32)b[0] | (__u32)b[1] << 8 | (__u32)b[2] << 16 | (__u32)b[3] << 24;
}

static __always_inline void addr_v4(struct addr *a, __u32 raw)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = raw;
}

static __always_inline void addr_v6(struct addr *a, const __u8 *b)
{
	a->w[0] = raw32(b);
	a->w[1] = raw32(b + 4);
	a->w[2] = raw32(b + 8);
	a->w[3] = raw32(b + 12);
}

static __always_inline bool addr_is_v4(const struct addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == bpf_htonl(0xffff);
}

static __always_inline __u8 icmp_role(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMP) {
		switch (type) {
		case 8:
			return ICMP_REQUEST;
		case 0:
			return ICMP_REPLY;
		case 3: /* unreachable */
		case 11: /* time exceeded */
		case 12: /* parameter problem */
			return ICMP_ERROR;
		}
		return ICMP_OTHER;
	}
	switch (type) {
	case 128:
		return ICMP_REQUEST;
	case 129:
		return ICMP_REPLY;
	case 1: /* unreachable */
	case 2: /* packet too big */
	case 3: /* time exceeded */
	case 4: /* parameter problem */
		return ICMP_ERROR;
	}
	return ICMP_OTHER;
}

/* parse_l4 reads ports or their stand-ins from the header at p->l4 of which
 * TCP_LEN bytes are at h if whole; len is what the packet has from there on. */
static __always_inline int parse_l4(struct __sk_buff *ctx, struct packet *p, __u8 *h, __u32 len, bool whole)
{
	__u32 doff;
	__u8 flags;

	switch (p->proto) {
	case IPPROTO_TCP:
		if (len < TCP_LEN || (!whole && bpf_skb_load_bytes(ctx, p->l4, h, TCP_LEN)))
			return DROP_BAD_LENGTH;
		doff = (h[12] >> 4) * 4;
		if (doff < TCP_LEN || doff > len)
			return DROP_BAD_LENGTH;
		flags = h[13];
		/* SYN with FIN or RST, or none of the flags that begin, carry or end a connection */
		if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
			return DROP_BAD_TCP;
		if (!(flags & (TCP_SYN | TCP_ACK | TCP_RST)))
			return DROP_BAD_TCP;
		p->tcp_flags = flags;
		p->seq = get32(h + 4);
		p->ack = get32(h + 8);
		p->payload = len - doff;
		break;
	case IPPROTO_UDP:
		if (len < 8 || (!whole && bpf_skb_load_bytes(ctx, p->l4, h, 8)))
			return DROP_BAD_LENGTH;
		if (get16(h + 4) < 8 || (!p->fragment && get16(h + 4) > len))
			return DROP_BAD_LENGTH;
		p->payload = len - 8;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* the other family's ICMP is a protocol like any other */
		if ((p->proto == IPPROTO_ICMPV6) != p->v6)
			return 0;
		if (len < ICMP_LEN || (!whole && bpf_skb_load_bytes(ctx, p->l4, h, ICMP_LEN)))
			return DROP_BAD_LENGTH;
		p->rule_port = raw16(h);
		p->icmp = icmp_role(p->proto, h[0]);
		if (p->icmp == ICMP_REQUEST || p->icmp == ICMP_REPLY) {
			p->sport = raw16(h + 4);
			p->dport = p->sport;
		}
		if (p->fragment && p->icmp == ICMP_ERROR) /* its later fragments show no packet inside */
			p->icmp = ICMP_OTHER;
		p->nd = p->v6 && h[0] >= 133 && h[0] <= 137;
		return 0;
	default:
		return 0;
	}
	p->sport = raw16(h);
	p->dport = raw16(h + 2);
	p->rule_port = p->dport;
	return 0;
}

/* parse_v6 reads an IPv6 header and what follows. Extension headers are
 * stepped over as far as packet.l4. */
__noinline int parse_v6(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u8 *h, *ext, next;
	__u32 off = L4_OFF6, i, offset = 0, len;
	bool whole;
	int reason;

	if (!s)
		return DROP_TOO_SHORT;
	p = &s->packet;
	h = s->frame + ETH_LEN;
	ext = s->options;
	p->v6 = 1;
	whole = !bpf_skb_load_bytes(ctx, ETH_LEN, h, IP6_LEN + TCP_LEN);
	if (!whole && bpf_skb_load_bytes(ctx, ETH_LEN, h, IP6_LEN))
		return DROP_TOO_SHORT;
	if (h[0] >> 4 != 6)
		return DROP_BAD_LENGTH;
	len = (__u32)get16(h + 4) + IP6_LEN;
	next = h[6];
	addr_v6(&p->src, h + 8);
	addr_v6(&p->dst, h + 24);
	if (len > 65535 || len > p->len - ETH_LEN)
		return DROP_BAD_LENGTH;
	p->tot_len = len;
	/* an IPv4 address in IPv6's form would pass for IPv4 further on */
	if (addr_is_v4(&p->src) || addr_is_v4(&p->dst))
		return DROP_BAD_LENGTH;
	for (i = 0; i <= EXTENSIONS_MAX; i++) {
		if (next == IPPROTO_ROUTING || next == IPPROTO_AH || next == IPPROTO_MH || next == IPPROTO_HIP ||
		    next == IPPROTO_SHIM6 || (next == IPPROTO_HOPOPTS && i))
			return DROP_EXTENSION;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (i == EXTENSIONS_MAX)
			return DROP_EXTENSION;
		whole = false;
		if (bpf_skb_load_bytes(ctx, off, ext, 8))
			return DROP_BAD_LENGTH;
		if (next == IPPROTO_FRAGMENT) {
			if (p->fragment)
				return DROP_EXTENSION;
			offset = get16(ext + 2) & 0xfff8;
			p->fragment_id = raw32(ext + 4);
			if (offset)
				p->fragment = FRAGMENT_LATER;
			else if (ext[3] & 1)
				p->fragment = FRAGMENT_FIRST;
			off += 8;
		} else {
			off += 8 + (__u32)ext[1] * 8;
		}
		next = ext[0];
		if (offset)
			break;
	}
	if (off > ETH_LEN + len)
		return DROP_BAD_LENGTH;
	p->proto = next;
	p->l4 = off;
	if (offset && next == IPPROTO_TCP && offset < 60)
		return DROP_FRAGMENT;
	reason = offset ? 0 : parse_l4(ctx, p, h + IP6_LEN, ETH_LEN + len - off, whole);
	if (reason)
		return reason;
	if (!p->nd && ((p->dst_mac[0] & 1) || (h[24] == 0xff)))
		return DROP_MULTICAST;
	return 0;
}

/* parse_frame fills the scratch packet; returns a drop reason or 0. An ARP
 * frame sets packet.arp and is not read further. */
__noinline int parse_frame(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	void *data = (void *)(long)ctx->data;
	__u8 *h;
	__u16 type, fragment;
	bool whole;

	if (!s)
		return DROP_TOO_SHORT;
	p = &s->packet;
	h = s->frame;
	p->len = ctx->len;
	if (ctx->vlan_present)
		return DROP_ETHERTYPE;
	/* one copy for all headers of most packets; short ones piece by piece */
	whole = data + L4_OFF + TCP_LEN <= (void *)(long)ctx->data_end;
	if (whole)
		__builtin_memcpy(h, data, L4_OFF + TCP_LEN);
	else
		whole = !bpf_skb_load_bytes(ctx, 0, h, L4_OFF + TCP_LEN);
	if (!whole && bpf_skb_load_bytes(ctx, 0, h, ETH_LEN))
		return DROP_TOO_SHORT;
	__builtin_memcpy(p->dst_mac, h, 6);
	__builtin_memcpy(p->src_mac, h + 6, 6);
	type = get16(h + 12);
	if (type == ETH_P_ARP) {
		p->arp = 1;
		return 0;
	}
	if (type == ETH_P_IPV6)
		return parse_v6(ctx);
	if (type != ETH_P_IP)
		return DROP_ETHERTYPE;
	h += ETH_LEN;
	if (!whole && bpf_skb_load_bytes(ctx, ETH_LEN, h, IP_LEN))
		return DROP_TOO_SHORT;
	if (h[0] != 0x45)
		return (h[0] >> 4) == 4 && (h[0] & 15) > 5 ? DROP_IP_OPTIONS : DROP_BAD_LENGTH;
	p->tot_len = get16(h + 2);
	p->ip_check = raw16(h + 10);
	p->proto = h[9];
	p->l4 = L4_OFF;
	addr_v4(&p->src, raw32(h + 12));
	addr_v4(&p->dst, raw32(h + 16));
	if (p->tot_len < IP_LEN || p->tot_len > ctx->len - ETH_LEN)
		return DROP_BAD_LENGTH;
	if ((p->dst_mac[0] & 1) || h[16] >= 224)
		return DROP_MULTICAST;
	fragment = get16(h + 6) & 0x3fff;
	if (fragment) {
		p->fragment_id = raw16(h + 4);
		p->fragment = fragment & 0x1fff ? FRAGMENT_LATER : FRAGMENT_FIRST;
		if (p->fragment == FRAGMENT_LATER)
			return p->proto == IPPROTO_TCP && (fragment & 0x1fff) * 8 < 60 ? DROP_FRAGMENT : 0;
	}
	return parse_l4(ctx, p, h + IP_LEN, p->tot_len - IP_LEN, whole);
}

/* parse_embedded replaces the scratch key's ends by those of the packet that
 * an ICMP error is about and fills scratch.inner. Returns 0 when it is a whole
 * header, without options or extensions, of a packet that the receiver of the
 * error sent. */
__noinline int parse_embedded(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	struct inner *in;
	struct addr src, dst;
	__u8 *h, *l4, role = ICMP_NONE;
	__u32 off;

	if (!s)
		return -1;
	p = &s->packet;
	in = &s->inner;
	__builtin_memset(in, 0, sizeof(*in));
	h = s->old_inner;
	off = p->l4 + ICMP_LEN;
	if (p->v6) {
		in->whole = !bpf_skb_load_bytes(ctx, off, h, IP6_LEN + TCP_LEN);
		if (!in->whole && bpf_skb_load_bytes(ctx, off, h, IP6_LEN + 8))
			return -1;
		if (h[0] >> 4 != 6)
			return -1;
		in->proto = h[6];
		addr_v6(&src, h + 8);
		addr_v6(&dst, h + 24);
		l4 = h + IP6_LEN;
	} else {
		in->whole = !bpf_skb_load_bytes(ctx, off, h, IP_LEN + TCP_LEN);
		if (!in->whole && bpf_skb_load_bytes(ctx, off, h, IP_LEN + 8))
			return -1;
		if (h[0] != 0x45 || (get16(h + 6) & 0x1fff))
			return -1;
		in->proto = h[9];
		addr_v4(&src, raw32(h + 12));
		addr_v4(&dst, raw32(h + 16));
		l4 = h + IP_LEN;
	}
	if (!addr_equal(&src, &p->dst))
		return -1;
	if (in->proto == IPPROTO_TCP || in->proto == IPPROTO_UDP) {
		in->old_sport = raw16(l4);
		in->old_dport = raw16(l4 + 2);
	} else if (in->proto == (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		role = icmp_role(in->proto, l4[0]);
		if (role != ICMP_REQUEST && role != ICMP_REPLY)
			return -1;
		in->old_sport = raw16(l4 + 4);
		in->old_dport = in->old_sport;
	} else if (p->v6 && (in->proto == IPPROTO_HOPOPTS || in->proto == IPPROTO_DSTOPTS || in->proto == IPPROTO_FRAGMENT)) {
		return -1;
	}
	in->sender = conn_key_set(&s->key, p->vni, in->proto, &src, in->old_sport, &dst, in->old_dport);
	conn_key_icmp(&s->key, role, in->sender);
	return 0;
}

#endif
