// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_DNS_H
#define POSTERN_DNS_H

/* Answers questions to the VPC's resolver that the resolver itself has answered
 * before, from what the VPC has: then no process is woken and no flow is
 * remembered. The answer is the resolver's, byte for byte. A question that is
 * not found, or of another form than most have, goes on to the resolver. Also
 * counts what an interface sends to it, answered here or there. */

#include "lookup.h"
#include "reset.h"

#define DNS_PORT 53
#define UDP_LEN 8
#define DNS_LEN 12 /* of a message's header */
#define DNS_TYPE_LEN 4 /* type and class, behind the name */
#define DNS_OPT_LEN 11 /* of an OPT record without options */
#define DNS_QUERY_MAX (DNS_LEN + DNS_NAME_MAX + DNS_TYPE_LEN + DNS_OPT_LEN)
#define DNS_LABELS_MAX 32
#define DNS_PLAIN_MAX 512 /* largest answer to who says nothing of it */
#define DNS_SIZE_MAX 1232 /* and to anyone: internal/resolver, udpPayload */
#define DNS_OPT 41
#define DNS_IN 1
/* of the third and the fourth byte of the header */
#define DNS_QR 0x80
#define DNS_RD 0x01
#define DNS_RA 0x80
#define DNS_AD 0x20
#define DNS_CD 0x10
#define DNS_DO 0x80 /* of the seventh byte of an OPT record */

#define SECOND 1000000000ull
#define DNS_COST (SECOND / 1024) /* AWS's limit for one interface */

/* A question as it was read. Offsets and lengths are from the message's header. */
struct question {
	__u32 end;   /* of the question */
	__u32 limit; /* of the answer */
	bool opt;
	bool dnssec;
};

/* over_rate counts the packet and says whether it is one too many. An entry of
 * dns_askers is the time at which what was sent is paid for; it may lie a
 * second ahead. */
static __always_inline bool over_rate(struct __sk_buff *ctx, struct packet *p)
{
	__u32 zero = 0;
	__u64 *rate = bpf_map_lookup_elem(&dns_rate, &zero), *paid, cost, seen;

	cost = (rate && *rate ? *rate : DNS_COST) * (ctx->gso_segs ? ctx->gso_segs : 1);
	paid = bpf_map_lookup_elem(&dns_askers, &p->eni);
	if (!paid) {
		bpf_map_update_elem(&dns_askers, &p->eni, &p->now, BPF_NOEXIST);
		paid = bpf_map_lookup_elem(&dns_askers, &p->eni);
		if (!paid)
			return true;
	}
	seen = *(volatile __u64 *)paid;
	if (seen < p->now)
		__sync_val_compare_and_swap(paid, seen, p->now); /* another CPU's now is as good */
	if (__sync_fetch_and_add(paid, cost) + cost <= p->now + SECOND)
		return false;
	__sync_fetch_and_add(paid, -cost);
	return true;
}

/* lower8 lowers the ASCII letters among eight bytes. */
static __always_inline __u64 lower8(__u64 x)
{
	const __u64 ones = 0x0101010101010101ull;
	__u64 low = x & (0x7f * ones);
	__u64 from_a = low + (0x80 - 'A') * ones, after_z = low + (0x7f - 'Z') * ones;

	return x | ((~x & (from_a ^ after_z) & (0x80 * ones)) >> 2);
}

/* read_question reads the packet as internal/resolver's query.read does, and sets
 * the scratch area's query and dns_key but for the space. Options are for the
 * resolver, and so are names of many labels. */
static __always_inline bool read_question(struct __sk_buff *ctx, struct scratch *s, struct question *q)
{
	struct packet *p = &s->packet;
	__u8 *d = s->query + UDP_LEN, *o;
	__u64 *words = (__u64 *)s->dns_key.name;
	__u32 len = p->payload, at = DNS_LEN, size, i;

	if (len <= DNS_LEN + DNS_TYPE_LEN || len > DNS_QUERY_MAX)
		return false;
	if (bpf_skb_load_bytes(ctx, p->l4, s->query, UDP_LEN + len) || get16(s->query + 4) != UDP_LEN + len)
		return false;
	if ((d[2] & ~DNS_RD) || (d[3] & ~(DNS_AD | DNS_CD)) || get32(d + 4) != 0x10000 || get16(d + 8) || d[10] || d[11] > 1)
		return false;
	for (i = 0; i < DNS_LABELS_MAX; i++) {
		if (at >= DNS_LEN + DNS_NAME_MAX || d[at] > 63)
			return false;
		if (!d[at])
			break;
		at += 1 + d[at];
	}
	/* bytes behind the message may have been taken for labels: then this is too much */
	at++;
	q->opt = d[11];
	if (at > DNS_LEN + DNS_NAME_MAX || i == DNS_LABELS_MAX || at + DNS_TYPE_LEN + (q->opt ? DNS_OPT_LEN : 0) != len)
		return false;
	if (get16(d + at + 2) != DNS_IN)
		return false;
	q->end = at + DNS_TYPE_LEN;
	q->limit = DNS_PLAIN_MAX;
	q->dnssec = false;
	if (q->opt) {
		o = d + q->end;
		if (o[0] || get16(o + 1) != DNS_OPT || o[6] || get16(o + 9))
			return false;
		size = get16(o + 3);
		if (size > DNS_PLAIN_MAX)
			q->limit = size < DNS_SIZE_MAX ? size : DNS_SIZE_MAX;
		q->dnssec = o[7] & DNS_DO;
	}
	s->dns_key.vni = p->vni;
	s->dns_key.type = get16(d + at);
	s->dns_key.pad = 0;
	__builtin_memset(s->dns_key.name, 0, DNS_NAME_MAX);
	len = at - DNS_LEN;
	if (!len || len > DNS_NAME_MAX || bpf_skb_load_bytes(ctx, p->l4 + UDP_LEN + DNS_LEN, s->dns_key.name, len))
		return false;
	for (i = 0; i < DNS_NAME_MAX / 8; i++)
		words[i] = lower8(words[i]); /* the lengths of labels are no letters */
	return true;
}

/* swapped is a folded sum of bytes that begin at an odd place. */
static __always_inline __u16 swapped(__u16 sum)
{
	return sum << 8 | sum >> 8;
}

/* rotate lets a random one of an answer's last records come first. The body is in
 * the packet at off already. */
static __always_inline int rotate(struct __sk_buff *ctx, struct scratch *s, struct dns_answer *a, __u32 off)
{
	__u32 at = a->at, first, rest;

	if (a->count < 2)
		return 0;
	first = bpf_get_prandom_u32() % a->count * a->size;
	if (!first || at >= DNS_BODY_MAX || first >= DNS_BODY_MAX || at + first >= a->len)
		return 0;
	rest = a->len - at - first;
	if (rest > DNS_BODY_MAX)
		return 0;
	asm volatile("" : "+r"(rest)); /* the verifier does not see that it is no 0 */
	rest = ((rest - 1) & (DNS_BODY_MAX - 1)) + 1;
	__builtin_memcpy(s->body, a->body, DNS_BODY_MAX);
	return bpf_skb_store_bytes(ctx, off + at, s->body + at + first, rest, 0) ||
	       bpf_skb_store_bytes(ctx, off + at + rest, s->body + at, first, 0);
}

/* put_answer turns the question into its answer, for a constant place. */
static __always_inline int put_answer(struct __sk_buff *ctx, struct scratch *s, const bool v6, struct question *q,
				      struct dns_answer *a)
{
	const __u32 l4 = v6 ? L4_OFF6 : L4_OFF;
	__u32 end = q->end, len = a->len, total, head, check;
	__u8 *u = s->query, *d = u + UDP_LEN, *o = s->options;
	__u64 sum;

	if (end > DNS_LEN + DNS_NAME_MAX + DNS_TYPE_LEN || len > DNS_BODY_MAX)
		return TC_ACT_UNSPEC;
	total = end + len + (q->opt ? DNS_OPT_LEN : 0);
	if (total > q->limit || bpf_skb_change_tail(ctx, l4 + UDP_LEN + total, 0))
		return TC_ACT_UNSPEC;
	putraw16(u, s->new_sport);
	putraw16(u + 2, s->new_dport);
	put16(u + 4, UDP_LEN + total);
	putraw16(u + 6, 0);
	d[2] = DNS_QR | (d[2] & DNS_RD) | a->flags;
	d[3] = DNS_RA | (d[3] & DNS_CD) | a->rcode;
	put16(d + 6, a->answers);
	put16(d + 8, a->others);
	d[end] = 0;
	d[end + 1] = 0;
	d[end + 2] = 0;
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)u, (UDP_LEN + end + 3) & ~3u, 0);
	sum += end & 1 ? swapped(a->sum) : a->sum;
	if (q->opt) {
		__builtin_memset(o, 0, 12);
		o[2] = DNS_OPT;
		put16(o + 3, DNS_SIZE_MAX);
		o[7] = q->dnssec ? DNS_DO : 0;
		check = csum_fold32((__u32)bpf_csum_diff(0, 0, (__be32 *)o, 12, 0));
		sum += (end + len) & 1 ? swapped(check) : check;
	}
	put_ip(s, v6, IPPROTO_UDP, UDP_LEN + total, 64);
	__builtin_memcpy(s->frame + l4, u, UDP_LEN + DNS_LEN);
	head = pseudo_sum(s, v6, IPPROTO_UDP, UDP_LEN + total);
	putraw16(s->frame + l4 + 6, head); /* as in put_reset */
	check = csum_fold32(sum + head + head);
	if (bpf_skb_store_bytes(ctx, 0, s->frame, l4 + UDP_LEN + DNS_LEN, 0) ||
	    (len && bpf_skb_store_bytes(ctx, l4 + UDP_LEN + end, a->body, len, 0)) ||
	    rotate(ctx, s, a, l4 + UDP_LEN + end) ||
	    (q->opt && bpf_skb_store_bytes(ctx, l4 + UDP_LEN + end + len, o, DNS_OPT_LEN, 0)) ||
	    bpf_l4_csum_replace(ctx, l4 + 6, 0, check, BPF_F_MARK_MANGLED_0))
		return drop(ctx, DROP_REWRITE);
	return answer(ctx);
}

/* resolve counts the packet if it is for the VPC's resolver and answers it if it
 * can; TC_ACT_UNSPEC leaves it to what comes after. */
static __noinline int resolve(struct __sk_buff *ctx)
{
	struct scratch *s = scratch_get();
	struct interface *to;
	struct dns_answer *a;
	struct question q = {};
	struct packet *p;
	__u32 zero = 0;
	__u64 *n;
	int code;

	if (!s)
		return TC_ACT_SHOT;
	p = &s->packet;
	to = interface_at(s, p->vni, &p->dst);
	if (!to || to->kind != KIND_RESOLVER)
		return TC_ACT_UNSPEC;
	if (over_rate(ctx, p))
		return drop(ctx, DROP_RESOLVER_RATE);
	if (p->proto != IPPROTO_UDP || p->fragment || p->l4 != (p->v6 ? L4_OFF6 : L4_OFF) || ctx->gso_size)
		return TC_ACT_UNSPEC;
	n = bpf_map_lookup_elem(&dns_spaces, &p->vni);
	if (!n)
		return TC_ACT_UNSPEC;
	s->dns_key.space = *n;
	if (!read_question(ctx, s, &q))
		return TC_ACT_UNSPEC;
	a = bpf_map_lookup_elem(&dns_answers, &s->dns_key);
	if (!a)
		return TC_ACT_UNSPEC;
	s->new_src = p->dst;
	s->new_dst = p->src;
	s->new_sport = p->dport;
	s->new_dport = p->sport;
	code = p->v6 ? put_answer(ctx, s, true, &q, a) : put_answer(ctx, s, false, &q, a);
	if (code == TC_ACT_UNSPEC || ctx->cb[0] == ACTION_DROP)
		return code;
	n = bpf_map_lookup_elem(&dns_answered, &zero);
	if (n)
		*n += 1;
	return code;
}

#endif
