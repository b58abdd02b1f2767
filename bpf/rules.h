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

#define INBOUND 0
#define OUTBOUND 4

/* way_open says whether one rule of an interface's groups allows all ports of
 * TCP or UDP to or from anywhere in a family. */
static __always_inline bool way_open(const struct interface *i, __u32 proto, bool v6, __u32 way)
{
	return (proto == IPPROTO_TCP || proto == IPPROTO_UDP) &&
	       i->flags & (INTERFACE_OPEN << (way + (proto == IPPROTO_UDP ? 2 : 0) + v6));
}

/* groups_verdict asks an interface's groups about a packet to or from peer. What
 * is open to anywhere, as a new group's way out is, costs no lookup. */
static __always_inline int groups_verdict(const struct interface *i, struct addr *peer, __u32 proto, __u32 port, __u32 way)
{
	if (way_open(i, proto, !addr_is_v4(peer), way))
		return RULE_ANYWHERE;
	return rules_verdict(way == OUTBOUND ? i->sg_out : i->sg_in, peer, proto, port);
}

static __always_inline bool groups_allow(const struct interface *i, struct addr *peer, __u32 proto, __u32 port, __u32 way)
{
	return groups_verdict(i, peer, proto, port, way) & RULE_ALLOW;
}

/* tracks says whether one side keeps track of a flow that begins with this
 * packet and was let through by verdict: not if the rule is for anywhere and
 * the other direction (way: OUTBOUND or 0) is open to anywhere for all ports,
 * since then no reply needs it. Source: EC2 User Guide, "Security group
 * connection tracking". */
static __always_inline bool tracks(const struct interface *i, const struct packet *p, int verdict, __u32 way)
{
	return verdict != RULE_ANYWHERE || !way_open(i, p->proto, p->v6, way);
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
