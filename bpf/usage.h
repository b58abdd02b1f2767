// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_USAGE_H
#define POSTERN_USAGE_H

/* What goes through each endpoint, for metrics. Flows are counted when they
 * begin, and what is rare (drops, resets) when it happens. Bytes are only counted
 * in the flow's own entry as it is; the collector, and whoever forgets the flow,
 * adds to the endpoint's what has come since the last time, so that no packet
 * pays for it. */

#include "maps.h"

/* usage_at is what is counted of an endpoint at one place; NULL if nothing is. */
static __always_inline struct usage_count *usage_at(__u64 endpoint, __u32 place)
{
	struct usage *u;

	if (!endpoint || place >= USAGE_PLACES)
		return 0;
	u = bpf_map_lookup_elem(&usages, &endpoint);
	return u ? &u->at[place] : 0;
}

/* usage_place says which ends of an entry's flow are on this host. */
static __always_inline __u32 usage_place(const struct conn *c)
{
	if (c->kind == CONN_FAR)
		return USAGE_CLIENT;
	return c->host ? USAGE_TARGET : USAGE_BOTH;
}

/* usage_of makes what becomes of a packet from here on, sent by the client or to
 * it, part of an endpoint's usage. */
static __always_inline void usage_of(struct packet *p, __u64 endpoint, __u32 place, bool by_client)
{
	p->endpoint = endpoint;
	p->place = place;
	p->by_client = by_client;
}

static __always_inline void usage_began(const struct conn *c)
{
	struct usage_count *u = usage_at(c->endpoint, usage_place(c));

	if (u)
		__sync_fetch_and_add(&u->connections, 1);
}

static __always_inline void usage_reset(__u64 endpoint, __u32 place)
{
	struct usage_count *u = usage_at(endpoint, place);

	if (u)
		__sync_fetch_and_add(&u->resets, 1);
}

/* usage_settle adds the bytes of an entry that have not been. Two that do so at
 * once may each see another total; their differences are signed and add up. */
__noinline int usage_settle(struct conn *c, int last)
{
	struct usage_count *u;
	__u32 units, before;
	__u64 total, add;

	if (!c || !c->endpoint)
		return 0;
	total = c->bytes[0] + c->bytes[1];
	units = total / USAGE_UNIT;
	if (!last && units == c->counted) /* as most are when the collector comes by */
		return 0;
	u = usage_at(c->endpoint, usage_place(c));
	if (!u)
		return 0;
	before = __sync_lock_test_and_set(&c->counted, units);
	add = (__u64)(__s64)(__s32)(units - before) * USAGE_UNIT;
	if (last)
		add += total % USAGE_UNIT;
	if (add)
		__sync_fetch_and_add(&u->bytes, add);
	return 0;
}

#endif
