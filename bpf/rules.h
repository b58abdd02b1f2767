// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#ifndef POSTERN_RULES_H
#define POSTERN_RULES_H

/* Security groups and network ACLs. Both are compiled by the agent into the
 * same two longest-prefix maps; what a list means (union of allows, or first
 * match) is decided there, so the cost here is two lookups whatever a tenant
 * writes. */

#include "parse.h"

/* Verdicts of rule_ports. */
#define RULE_DENY 0
#define RULE_ALLOW 1
#define RULE_ANYWHERE 3 /* by a rule whose peer is all of the family */

/* rules_verdict says whether a rule set lets a packet to or from peer pass. */
__noinline int rules_verdict(__u64 set, struct addr *peer, __u32 proto, __u32 port)
{
	struct rule_peer_key pk = {};
	struct rule_port_key rk = {};
	__u64 *class;
	__u8 *verdict;

	if (!set)
		return RULE_ANYWHERE;
	if (!peer)
		return RULE_DENY;
	pk.prefixlen = 192;
	pk.set[0] = (__u32)set;
	pk.set[1] = set >> 32;
	pk.addr = *peer;
	class = bpf_map_lookup_elem(&rule_peers, &pk);
	if (!class)
		return RULE_DENY;
	rk.prefixlen = 96;
	rk.class[0] = (__u32)*class;
	rk.class[1] = *class >> 32;
	rk.proto = proto;
	rk.port = port;
	verdict = bpf_map_lookup_elem(&rule_ports, &rk);
	return verdict ? *verdict : RULE_DENY;
}

static __always_inline bool rules_allow(__u64 set, struct addr *peer, __u32 proto, __u32 port)
{
	return rules_verdict(set, peer, proto, port) & RULE_ALLOW;
}

#define OUTBOUND 4

/* tracks says whether one side keeps track of a flow that begins with this
 * packet and was let through by verdict: not if the rule is for anywhere and
 * the other direction (way: OUTBOUND or 0) is open to anywhere for all ports,
 * since then no reply needs it. Source: EC2 User Guide, "Security group
 * connection tracking". */
static __always_inline bool tracks(const struct interface *i, const struct packet *p, int verdict, __u32 way)
{
	__u32 bit = way;

	if (verdict != RULE_ANYWHERE || (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP))
		return true;
	if (p->proto == IPPROTO_UDP)
		bit += 2;
	if (p->v6)
		bit += 1;
	return !(i->flags & (INTERFACE_OPEN << bit));
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
	return n && rules_allow(n->acl_out[!addr_is_v4(dst)], dst, proto, port);
}

static __always_inline bool acl_in(__u64 subnet, struct addr *src, __u32 proto, __u32 port)
{
	struct subnet *n;

	if (!subnet)
		return true;
	n = bpf_map_lookup_elem(&subnets, &subnet);
	return n && rules_allow(n->acl_in[!addr_is_v4(src)], src, proto, port);
}

#endif
