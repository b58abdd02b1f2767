// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_PARSE_H
#define POSTERN_PARSE_H

/* Reads a frame into struct packet once, so that nothing later touches the
 * tenant's bytes again except to rewrite them. Everything odd is dropped here:
 * fragments and IP options hide ports, and nothing that a VPC carries needs
 * them. TTL is left alone: a VPC's router does not show as a hop. */

#include "conn.h"
#include "drop.h"

#define ETH_LEN 14
#define IP_LEN 20
#define L4_OFF (ETH_LEN + IP_LEN)
#define TCP_LEN 20

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

static __always_inline bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static __always_inline __u8 icmp_role(__u8 type)
{
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

/* parse_l4 reads ports or their stand-ins of the header at off. */
static __always_inline int parse_l4(struct __sk_buff *ctx, struct scratch *s, bool whole)
{
	struct packet *p = &s->packet;
	__u8 *h = s->frame + L4_OFF;
	__u32 l4_len = p->tot_len - IP_LEN, doff;
	__u8 flags;

	switch (p->proto) {
	case IPPROTO_TCP:
		if (l4_len < TCP_LEN || (!whole && bpf_skb_load_bytes(ctx, L4_OFF, h, TCP_LEN)))
			return DROP_BAD_LENGTH;
		doff = (h[12] >> 4) * 4;
		if (doff < TCP_LEN || doff > l4_len)
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
		p->payload = l4_len - doff;
		break;
	case IPPROTO_UDP:
		if (l4_len < 8 || (!whole && bpf_skb_load_bytes(ctx, L4_OFF, h, 8)))
			return DROP_BAD_LENGTH;
		if (get16(h + 4) < 8 || get16(h + 4) > l4_len)
			return DROP_BAD_LENGTH;
		break;
	case IPPROTO_ICMP:
		if (l4_len < 8 || (!whole && bpf_skb_load_bytes(ctx, L4_OFF, h, 8)))
			return DROP_BAD_LENGTH;
		p->rule_port = raw16(h);
		p->icmp = icmp_role(h[0]);
		if (p->icmp == ICMP_REQUEST || p->icmp == ICMP_REPLY) {
			p->sport = raw16(h + 4);
			p->dport = p->sport;
		}
		return 0;
	default:
		return 0;
	}
	p->sport = raw16(h);
	p->dport = raw16(h + 2);
	p->rule_port = p->dport;
	return 0;
}

/* parse_frame fills the scratch packet; returns a drop reason or 0. An ARP
 * frame sets packet.arp and is not read further. */
__noinline int parse_frame(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u8 *h;
	__u16 type;
	bool whole;

	if (!s)
		return DROP_TOO_SHORT;
	p = &s->packet;
	h = s->frame;
	p->len = ctx->len;
	if (ctx->vlan_present)
		return DROP_ETHERTYPE;
	/* one copy for all headers of most packets; short ones piece by piece */
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
		return DROP_IPV6;
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
	addr_v4(&p->src, raw32(h + 12));
	addr_v4(&p->dst, raw32(h + 16));
	if (p->tot_len < IP_LEN || p->tot_len > ctx->len - ETH_LEN)
		return DROP_BAD_LENGTH;
	if (get16(h + 6) & 0x3fff)
		return DROP_FRAGMENT;
	if ((p->dst_mac[0] & 1) || h[16] >= 224)
		return DROP_MULTICAST;
	return parse_l4(ctx, s, whole);
}

/* parse_embedded replaces the scratch key's ends by those of the packet that
 * an ICMP error is about. Returns 0 when it is a plain IPv4 header that the
 * receiver of the error sent. */
__noinline int parse_embedded(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct addr src, dst;
	__be16 sport = 0, dport = 0;
	__u8 *h, proto, end, role = ICMP_NONE;

	if (!s)
		return -1;
	h = s->frame;
	if (bpf_skb_load_bytes(ctx, L4_OFF + 8, h, IP_LEN + 8))
		return -1;
	if (h[0] != 0x45)
		return -1;
	proto = h[9];
	addr_v4(&src, raw32(h + 12));
	addr_v4(&dst, raw32(h + 16));
	if (!addr_equal(&src, &s->packet.dst))
		return -1;
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP) {
		sport = raw16(h + 20);
		dport = raw16(h + 22);
	} else if (proto == IPPROTO_ICMP) {
		role = icmp_role(h[20]);
		if (role != ICMP_REQUEST && role != ICMP_REPLY)
			return -1;
		sport = raw16(h + 24);
		dport = sport;
	}
	end = conn_key_set(&s->key, s->packet.vni, proto, &src, sport, &dst, dport);
	conn_key_icmp(&s->key, role, end);
	return 0;
}

#endif
