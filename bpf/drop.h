// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_DROP_H
#define POSTERN_DROP_H

/* The only way a packet is dropped: with a reason that somebody can read. */

#include "drop_reasons.h"
#include "maps.h"
#include "usage.h"

static __always_inline void drop_record(struct drop_value *v, struct packet *p)
{
	v->last = p->now;
	v->vni = p->vni;
	v->src = p->src;
	v->dst = p->dst;
	v->sport = p->sport;
	v->dport = p->dport;
	v->proto = p->proto;
}

/* note_drop counts a drop of the packet in the scratch area. The last tuple is
 * written without a lock: two CPUs may mix theirs, the counts stay right. */
__noinline int note_drop(struct __sk_buff *ctx, __u32 reason)
{
	struct scratch *s = scratch_get();
	struct drop_key key = {};
	struct drop_value *v;
	struct usage_count *u;

	ctx->cb[2] = reason;
	if (!s)
		return 0;
	u = usage_at(s->packet.endpoint, s->packet.place);
	if (u)
		__sync_fetch_and_add(&u->dropped, 1);
	key.eni = s->packet.eni;
	key.reason = reason;
	v = bpf_map_lookup_elem(&drops, &key);
	if (!v) {
		struct drop_value fresh = {};

		bpf_map_update_elem(&drops, &key, &fresh, BPF_NOEXIST);
		v = bpf_map_lookup_elem(&drops, &key);
		if (!v)
			return 0;
	}
	__sync_fetch_and_add(&v->packets, 1);
	__sync_fetch_and_add(&v->bytes, ctx->len);
	drop_record(v, &s->packet);
	return 0;
}

static __always_inline int drop(struct __sk_buff *ctx, __u32 reason)
{
	note_drop(ctx, reason);
	ctx->cb[0] = ACTION_DROP;
	return TC_ACT_SHOT;
}

#endif
