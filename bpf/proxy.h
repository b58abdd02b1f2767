// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_PROXY_H
#define POSTERN_PROXY_H

/* PROXY protocol version 2 for targets that ask for it, without a proxy: the
 * header goes into the TCP stream in front of the client's first byte. The
 * client's own acknowledgement of the handshake becomes the segment that
 * carries it, so a server that speaks first gets it too. From then on the
 * client's sequence numbers are raised by the header's length, and what the
 * target acknowledges is lowered by it.
 *
 * If the header is lost, the target acknowledges nothing. So until it does, every
 * acknowledgement that the client sends before its first byte carries the
 * header, and what it sends again from its first byte on is preceded by it. A
 * packet with data cannot carry it: it goes ahead as a clone, in its place
 * behind the header, and what is left of it becomes the header's segment.
 *
 * Source: "The PROXY protocol, Versions 1 & 2" (HAProxy), section 2.2. */

#include "reset.h"

#define PROXY_TLV_NOOP 0x04
#define PROXY_TLV_AWS 0xea
#define PROXY_TLV_AZURE 0xee
#define PROXY_TLV_ALIBABA 0xe1

/* l4_now is where the TCP header is after translation. */
static __always_inline __u32 l4_now(const struct scratch *s)
{
	bool v4 = addr_is_v4(&s->new_src);

	if (s->packet.v6 == !v4)
		return s->packet.l4;
	return v4 ? L4_OFF : L4_OFF6;
}

/* proxy_tlv appends the endpoint's id at offset n of the header. */
static __always_inline __u32 proxy_tlv(struct scratch *s, struct conn *c, __u32 n)
{
	__u8 *h = s->proxy;
	struct endpoint *e;
	__u64 id = c->endpoint;
	__u32 i, start = n, link;

	if (!id || n > 52)
		return n;
	if (c->proxy == PROXY_AZURE) {
		link = c->link;
		h[n] = PROXY_TLV_AZURE;
		put16(h + n + 1, 5);
		h[n + 3] = 1;
		putraw(h + n + 4, link); /* little endian, as this machine */
		return n + 8;
	}
	e = bpf_map_lookup_elem(&endpoints, &id);
	if (!e)
		return n;
	h[n] = c->proxy == PROXY_AWS ? PROXY_TLV_AWS : PROXY_TLV_ALIBABA;
	h[n + 3] = 1;
	n += 4;
	for (i = 0; i < sizeof(e->name); i++) {
		if (!e->name[i])
			break;
		h[(n + i) & 127] = e->name[i];
	}
	n += i;
	put16(h + start + 1, n - start - 3);
	return n;
}

/* proxy_header writes the header of the flow that the scratch packet, sent by
 * the client, belongs to; returns its length, an even number. */
static __always_inline __u32 proxy_header(struct scratch *s, struct conn *c)
{
	static const __u8 signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
	struct packet *p = &s->packet;
	const struct addr *node = c->flags & CONN_PRESERVED ? &p->dst : &s->new_src;
	__u8 *h = s->proxy;
	__u32 n;

	__builtin_memset(h, 0, sizeof(s->proxy));
	__builtin_memcpy(h, signature, sizeof(signature));
	h[12] = 0x21; /* version 2, PROXY */
	if (p->v6) {
		h[13] = 0x21; /* TCP over IPv6; the node's IPv4 address is mapped into it */
		put_addr(h + 16, &p->src);
		put_addr(h + 32, node);
		putraw16(h + 48, p->sport);
		putraw16(h + 50, p->dport);
		n = proxy_tlv(s, c, 52);
	} else {
		h[13] = 0x11; /* TCP over IPv4 */
		putraw(h + 16, p->src.w[3]);
		putraw(h + 20, node->w[3]);
		putraw16(h + 24, p->sport);
		putraw16(h + 26, p->dport);
		n = proxy_tlv(s, c, 28);
	}
	if (n & 1) { /* or the bytes of all that follows would change sides in the checksum */
		h[n & 127] = PROXY_TLV_NOOP;
		n += 3;
	}
	put16(h + 14, n - 16);
	return n;
}

/* change_word replaces 32 bits of the TCP header. */
static __always_inline int change_word(struct __sk_buff *ctx, __u32 l4, __u32 off, __u32 from, __u32 to)
{
	__be32 f = bpf_htonl(from), t = bpf_htonl(to);

	return bpf_l4_csum_replace(ctx, l4 + TCP_CSUM, f, t, 4) || bpf_skb_store_bytes(ctx, l4 + off, &t, 4, 0) ?
		       DROP_REWRITE : 0;
}

/* proxy_segment turns the packet into the segment that carries the header: its
 * own data is cut off. len is the header's length, l4 where TCP begins. */
static __always_inline int proxy_segment(struct __sk_buff *ctx, struct scratch *s, __u32 len, __u32 l4)
{
	struct packet *p = &s->packet;
	__u32 doff = p->tot_len + ETH_LEN - p->l4 - p->payload, head, check;
	bool v6 = !addr_is_v4(&s->new_src);
	__u8 *t = s->options;
	__u64 sum;
	__be16 was, now;

	if (doff < TCP_LEN || doff > 60 || len < 28 || len > sizeof(s->proxy))
		return DROP_PROXY;
	if (bpf_skb_load_bytes(ctx, l4, t, doff))
		return DROP_REWRITE;
	if (p->payload)
		t[13] &= ~TCP_FIN; /* it is behind the data, which has gone ahead */
	put32(t + 4, p->seq);
	put16(t + TCP_CSUM, 0);
	if (bpf_skb_change_tail(ctx, l4 + doff + len, 0))
		return DROP_REWRITE;
	head = pseudo_sum(s, v6, IPPROTO_TCP, doff + len);
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)t, doff, 0);
	sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)s->proxy, sizeof(s->proxy), 0);
	putraw16(t + TCP_CSUM, head); /* see put_reset */
	check = csum_fold32(sum + head + head);
	if (bpf_skb_store_bytes(ctx, l4, t, doff, 0) || bpf_skb_store_bytes(ctx, l4 + doff, s->proxy, len, 0) ||
	    bpf_l4_csum_replace(ctx, l4 + TCP_CSUM, 0, check, 0))
		return DROP_REWRITE;
	if (v6) {
		now = bpf_htons(l4 - L4_OFF6 + doff + len);
		return bpf_skb_store_bytes(ctx, ETH_LEN + 4, &now, 2, 0) ? DROP_REWRITE : 0;
	}
	if (bpf_skb_load_bytes(ctx, ETH_LEN + 2, &was, 2))
		return DROP_REWRITE;
	now = bpf_htons(IP_LEN + doff + len);
	if (bpf_l3_csum_replace(ctx, IP_CSUM, was, now, 2) || bpf_skb_store_bytes(ctx, ETH_LEN + 2, &now, 2, 0))
		return DROP_REWRITE;
	return 0;
}

/* proxy_out takes a translated packet of the client to a target that gets a
 * header. c is the consumer half. Only its delivery is left to do. */
static __noinline int proxy_out(struct __sk_buff *ctx, struct conn *c, __u32 ifindex)
{
	struct scratch *s = scratch_get();
	__u32 first, end, len, l4;
	struct packet *p;
	__s32 ahead;
	bool again;

	if (!s || !c)
		return DROP_PROXY;
	p = &s->packet;
	l4 = l4_now(s);
	if (p->fragment)
		return DROP_PROXY;
	if (p->tcp_flags & TCP_SYN) {
		if (p->payload)
			return DROP_PROXY;
		if (!(c->proxy_state & PROXY_SENT)) {
			c->proxy_isn = p->seq;
			c->proxy_high = p->seq + 1;
		}
		return 0;
	}
	first = c->proxy_isn + 1;
	ahead = p->seq - first;
	if (ahead < 0) /* a keep-alive before the first byte */
		return 0;
	again = p->payload && (__s32)(c->proxy_high - first) > 0;
	end = p->seq + p->payload;
	if ((__s32)(end - c->proxy_high) > 0)
		c->proxy_high = end;
	if (!ahead && !(c->proxy_state & PROXY_ACKED) && !(p->tcp_flags & TCP_RST) &&
	    (!p->payload || again || !(c->proxy_state & PROXY_SENT))) {
		len = proxy_header(s, c);
		c->proxy_len = len;
		c->proxy_state |= PROXY_SENT;
		if (p->payload) {
			if (change_word(ctx, l4, 4, p->seq, p->seq + len))
				return DROP_REWRITE;
			bpf_clone_redirect(ctx, ifindex, 0); /* if that fails, it is a packet lost */
		}
		return proxy_segment(ctx, s, len, l4);
	}
	if (!(c->proxy_state & PROXY_SENT))
		return 0;
	return change_word(ctx, l4, 4, p->seq, p->seq + c->proxy_len);
}

/* proxy_acked is what an acknowledged sequence number of the target is to the client. */
static __always_inline __u32 proxy_acked(const struct conn *c, __u32 n)
{
	__s32 ahead = n - (c->proxy_isn + 1);

	if (ahead >= (__s32)c->proxy_len)
		return n - c->proxy_len;
	return ahead > 0 ? c->proxy_isn + 1 : n;
}

/* proxy_sack lowers the edges of a selective acknowledgement, which is in the
 * options of len bytes in front of which TCP's fixed header is at l4. */
static __always_inline int proxy_sack(struct __sk_buff *ctx, struct scratch *s, struct conn *c, __u32 l4, __u32 len)
{
	__u8 *o = s->options, *old = s->proxy;
	__u32 i, size, k;
	__s64 diff;
	int at;

	if (len < 12 || len > 40)
		return 0;
	if (bpf_skb_load_bytes(ctx, l4 + TCP_LEN, o, len))
		return DROP_REWRITE;
	if (len == 12 && o[0] == 1 && o[1] == 1 && o[2] == 8) /* time stamps alone, as most packets have */
		return 0;
	at = tcp_option(o, len, 5, 10);
	if (at < 0)
		return 0;
	i = at;
	BOUND(i);
	size = o[i + 1];
	if (i + size > len)
		return 0;
	__builtin_memcpy(old, o, 40);
	for (k = 0; k < 8; k++) {
		if (2 + 4 * k + 4 > size)
			break;
		put32(o + i + 2 + 4 * k, proxy_acked(c, get32(o + i + 2 + 4 * k)));
	}
	len &= 60;
	diff = bpf_csum_diff((__be32 *)old, len, (__be32 *)o, len, 0);
	if (diff < 0 || bpf_l4_csum_replace(ctx, l4 + TCP_CSUM, 0, diff, 0))
		return DROP_REWRITE;
	if (len < 4 || len > 40 || bpf_skb_store_bytes(ctx, l4 + TCP_LEN, o, len, 0))
		return DROP_REWRITE;
	return 0;
}

/* proxy_back takes a translated packet of the target to the client; c is the
 * consumer half. */
static __noinline int proxy_back(struct __sk_buff *ctx, struct conn *c)
{
	struct scratch *s = scratch_get();
	struct packet *p;
	__u32 l4, to;

	if (!s || !c)
		return DROP_PROXY;
	p = &s->packet;
	if (p->fragment)
		return DROP_PROXY;
	if (!(c->proxy_state & PROXY_SENT) || !(p->tcp_flags & TCP_ACK))
		return 0;
	l4 = l4_now(s);
	to = proxy_acked(c, p->ack);
	if (to != p->ack) {
		if (p->ack - to == c->proxy_len && !(c->proxy_state & PROXY_ACKED))
			c->proxy_state |= PROXY_ACKED;
		if (change_word(ctx, l4, 8, p->ack, to))
			return DROP_REWRITE;
	}
	return proxy_sack(ctx, s, c, l4, p->tot_len + ETH_LEN - p->l4 - p->payload - TCP_LEN);
}

#endif
