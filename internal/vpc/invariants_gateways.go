// SPDX-License-Identifier: Apache-2.0

package vpc

func (c *checker) internetGateway(g *InternetGateway) {
	if g.VPC != "" {
		c.inVPC(g, g.VPC)
	}
}

func (c *checker) egressOnly(g *EgressOnlyGateway) { c.inVPC(g, g.VPC) }

func (c *checker) elasticIP(e *ElasticIP) {
	c.must(e.Addr.Is4(), e, "its address is %s", e.Addr)
	c.must((e.Association == "") == (e.Interface == ""), e, "it has association %q and interface %q", e.Association, e.Interface)
	if e.Association == "" {
		return
	}
	c.part(e, PrefixAddressAssoc, e.Association)
	if n, ok := Get[NetworkInterface](c.v, e.Interface); ok {
		c.must(n.Owner == e.Owner, e, "it belongs to account %s, its interface to %s", e.Owner, n.Owner)
		_, door := First[InternetGateway](c.v, IndexVPC, n.VPC)
		c.must(door, e, "it is mapped in %s, which has no internet gateway", n.VPC)
	}
}

func (c *checker) natGateway(g *NATGateway) {
	n, ok := Get[NetworkInterface](c.v, g.Interface)
	switch g.State {
	case NATAvailable:
		c.inVPC(g, g.VPC)
		c.must(ok && n.Type == TypeNAT && n.Subnet == g.Subnet && n.Zone == g.Zone && n.Addr == g.Addr && n.Owner == g.Owner, g, "interface %q is not its own", g.Interface)
		e, ok := First[ElasticIP](c.v, IndexInterface, g.Interface)
		if g.Private {
			c.must(!ok, g, "it is private and has an Elastic IP")
		} else {
			c.must(ok && e.ID == g.Allocation && e.Association == g.Association && e.Addr == g.PublicAddr, g, "its Elastic IP %q is not mapped to it", g.Allocation)
		}
	case NATFailed, NATDeleted:
		c.must(!ok, g, "it is %s and has interface %s", g.State, g.Interface)
		c.must(!g.Deleted.IsZero(), g, "it is %s and does not say since when", g.State)
		c.must(g.State != NATFailed || g.FailureCode != "", g, "it does not say why it failed")
	default:
		c.bad(g, "its state is %q", g.State)
	}
}

// natInterface is an interface of a NAT gateway that exists.
func (c *checker) natInterface(n *NetworkInterface) {
	for g := range By[NATGateway](c.v, IndexVPC, n.VPC) {
		if g.Interface == n.ID {
			return
		}
	}
	c.bad(n, "no NAT gateway of %s knows it", n.VPC)
}

func (c *checker) dhcpOptions(d *DHCPOptions) {
	seen := map[string]bool{}
	for _, o := range d.Options {
		c.must(len(o.Values) > 0, d, "option %q has no value", o.Key)
		c.must(!seen[o.Key], d, "option %q is there twice", o.Key)
		seen[o.Key] = true
	}
}
