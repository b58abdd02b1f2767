// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
)

func (c *checker) resolverEndpoint(e *ResolverEndpoint) {
	c.inVPC(e, e.VPC)
	c.groups(e, e.VPC, e.Groups)
	prefix := PrefixResolverOutbound
	if e.Inbound {
		prefix = PrefixResolverInbound
	}
	c.must(ValidID(prefix, string(e.ID)), e, "its direction is %s", e.Direction())
	c.must(len(e.Addresses) > 0, e, "it has no address")
	c.must(len(e.Groups) > 0, e, "it has no security group")
	for _, a := range e.Addresses {
		c.part(e, PrefixResolverAddress, a.ID)
		n, ok := Get[NetworkInterface](c.v, a.Interface)
		if !ok {
			continue // named as a reference
		}
		c.must(n.Resolver == e.ID && n.VPC == e.VPC && n.Subnet == a.Subnet && n.Addr == a.Addr && n.Owner == e.Owner, e, "interface %s is not its own", n.ID)
		c.must(slices.Equal(n.Groups, e.Groups), e, "interface %s has groups %v, not %v", n.ID, n.Groups, e.Groups)
		c.must(a.Addr6.IsValid() == e.DualStack && (!e.DualStack || slices.Equal(n.IPv6, []netip.Addr{a.Addr6})), e, "interface %s has the IPv6 addresses %v", n.ID, n.IPv6)
	}
}

func (c *checker) resolverRule(r *ResolverRule) {
	c.must(ValidID(PrefixResolverRule, string(r.ID)), r, "it is no id of a rule")
	domain, ok := RuleDomain(r.Domain + ".")
	c.must(ok && domain == r.Domain, r, "its domain is %q", r.Domain)
	c.must((len(r.Targets) > 0) == r.Forwards(), r, "it has endpoint %q and the targets %v", r.Endpoint, r.Targets)
	unique(c, r, "target", r.Targets)
	for _, t := range r.Targets {
		c.must(ResolverTarget(t.Addr()) && t.Port() != 0, r, "its target %s is none", t)
	}
	if e, ok := Get[ResolverEndpoint](c.v, r.Endpoint); ok {
		c.must(!e.Inbound && e.Owner == r.Owner, r, "it forwards from %s", e.ID)
	}
}

func (c *checker) resolverAssociation(a *ResolverAssociation) {
	c.must(ValidID(PrefixResolverAssociation, string(a.ID)), a, "it is no id of an association")
	c.inVPC(a, a.VPC)
	if r, ok := Get[ResolverRule](c.v, a.Rule); ok {
		c.must(r.Owner == a.Owner && r.Domain == a.Domain, a, "its rule is for %q, of account %s", r.Domain, r.Owner)
	}
}
