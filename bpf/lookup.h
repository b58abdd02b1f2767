// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_LOOKUP_H
#define POSTERN_LOOKUP_H

/* Lookups of what most steps ask for. Their keys are in the scratch area: on the
 * stack of functions that call one another they would be too many. */

#include "maps.h"

/* interface_at is what has an address in a space, or NULL. */
static __always_inline struct interface *interface_at(struct scratch *s, __u32 vni, const struct addr *a)
{
	s->interface_key.vni = vni;
	s->interface_key.addr = *a;
	return bpf_map_lookup_elem(&interfaces, &s->interface_key);
}

/* uplink is the way to the host's own network, or NULL. */
static __always_inline struct interface *uplink(struct scratch *s)
{
	s->interface_key.vni = UPLINK_VNI;
	__builtin_memset(&s->interface_key.addr, 0, sizeof(struct addr));
	return bpf_map_lookup_elem(&interfaces, &s->interface_key);
}

/* route_at is a table's route for an address, or NULL. */
static __always_inline struct route *route_at(struct scratch *s, __u64 table, const struct addr *dst)
{
	struct route *r;

	s->route_key.prefixlen = 192;
	s->route_key.table[0] = (__u32)table;
	s->route_key.table[1] = table >> 32;
	s->route_key.addr = *dst;
	r = bpf_map_lookup_elem(&routes, &s->route_key);
	return r && r->kind ? r : 0;
}

/* route_of is a subnet's route for an address, or NULL. */
static __always_inline struct route *route_of(struct scratch *s, __u64 number, const struct addr *dst)
{
	struct subnet *subnet = bpf_map_lookup_elem(&subnets, &number);

	return subnet ? route_at(s, subnet->table, dst) : 0;
}

#endif
