// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_FRAGMENT_H
#define POSTERN_FRAGMENT_H

/* Later fragments carry no ports. What the first one said is remembered for
 * each sender in a few slots of its own, so that one sender's fragments never
 * push out another's. A later fragment that overtakes its first one is
 * dropped, as is all of a packet whose first fragment was. */

#include "parse.h"

#define FRAGMENT_SLOTS 64

static __always_inline __u32 mix(__u32 h, __u32 v)
{
	h ^= v;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	h ^= h >> 16;
	return h;
}

static __always_inline __u32 addr_hash(__u32 h, const struct addr *a)
{
	return mix(mix(mix(mix(h, a->w[0]), a->w[1]), a->w[2]), a->w[3]);
}

/* fragment notes the ports of a first fragment, or gives a later one the ports
 * of its first. Returns a drop reason or 0. */
__noinline int fragment(void)
{
	struct scratch *s = scratch_get();
	struct fragment_key k = {};
	struct fragment_value v = {}, *have;
	struct packet *p;

	if (!s)
		return DROP_FRAGMENT;
	p = &s->packet;
	k.eni = p->eni;
	k.slot = mix(addr_hash(addr_hash(p->proto, &p->src), &p->dst), p->fragment_id) % FRAGMENT_SLOTS;
	if (p->fragment == FRAGMENT_FIRST) {
		v.seen = p->now;
		v.src = p->src;
		v.dst = p->dst;
		v.id = p->fragment_id;
		v.sport = p->sport;
		v.dport = p->dport;
		v.rule_port = p->rule_port;
		v.proto = p->proto;
		v.icmp = p->icmp;
		bpf_map_update_elem(&fragments, &k, &v, BPF_ANY);
		return 0;
	}
	have = bpf_map_lookup_elem(&fragments, &k);
	if (!have || have->id != p->fragment_id || have->proto != p->proto || p->now > have->seen + timeout_fragment ||
	    !addr_equal(&have->src, &p->src) || !addr_equal(&have->dst, &p->dst))
		return DROP_FRAGMENT;
	p->sport = have->sport;
	p->dport = have->dport;
	p->rule_port = have->rule_port;
	p->icmp = have->icmp;
	if (p->proto == IPPROTO_TCP)
		p->tcp_flags = TCP_ACK; /* it begins and ends nothing */
	return 0;
}

#endif
