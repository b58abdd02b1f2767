// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_RULES_H
#define POSTERN_RULES_H

/* Security groups and network ACLs. Both are compiled by the agent into the
 * same two longest-prefix maps; what a list means (union of allows, or first
 * match) is decided there, so the cost here is two lookups whatever a tenant
 * writes. */

#include "maps.h"

/* rules_allow says whether a rule set lets a packet to or from peer pass. */
__noinline int rules_allow(__u64 set, struct addr *peer, __u32 proto, __u32 port)
{
	struct rule_peer_key pk = {};
	struct rule_port_key rk = {};
	__u64 *class;
	__u8 *verdict;

	if (!set)
		return 1;
	if (!peer)
		return 0;
	pk.prefixlen = 192;
	pk.set[0] = (__u32)set;
	pk.set[1] = set >> 32;
	pk.addr = *peer;
	class = bpf_map_lookup_elem(&rule_peers, &pk);
	if (!class)
		return 0;
	rk.prefixlen = 96;
	rk.class[0] = (__u32)*class;
	rk.class[1] = *class >> 32;
	rk.proto = proto;
	rk.port = port;
	verdict = bpf_map_lookup_elem(&rule_ports, &rk);
	return verdict && *verdict == 1;
}

/* acl_out and acl_in: the ACL of a subnet by number. Number 0 is the service
 * port's, which is in no subnet; a subnet that should be known and is not lets
 * nothing pass. */
static __always_inline bool acl_out(__u64 subnet, struct addr *dst, __u32 proto, __u32 port)
{
	struct subnet *n;

	if (!subnet)
		return true;
	n = bpf_map_lookup_elem(&subnets, &subnet);
	return n && rules_allow(n->acl_out, dst, proto, port);
}

static __always_inline bool acl_in(__u64 subnet, struct addr *src, __u32 proto, __u32 port)
{
	struct subnet *n;

	if (!subnet)
		return true;
	n = bpf_map_lookup_elem(&subnets, &subnet);
	return n && rules_allow(n->acl_in, src, proto, port);
}

#endif
