// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
)

// block notes a CIDR block that no VPC and no subnet can have.
func (c *checker) block(o Object, p netip.Prefix) {
	ok := p.IsValid() && p.Addr().Is4() && p == p.Masked() && p.Bits() >= 16 && p.Bits() <= 28
	c.must(ok, o, "block %s is not an IPv4 network of /16 to /28", p)
}

// block6 notes a block that is not an IPv6 network of the size.
func (c *checker) block6(o Object, p netip.Prefix, bits int) {
	ok := p.IsValid() && p.Addr().Is6() && !p.Addr().Is4In6() && p == p.Masked() && p.Bits() == bits
	c.must(ok, o, "block %s is not an IPv6 network of /%d", p, bits)
}

func (c *checker) vpc(v *VPC) {
	c.must(v.VNI >= FirstVNI && v.VNI <= LastVNI, v, "VNI %#x is not one that can be given out", v.VNI)
	c.must(len(v.CIDRs) > 0, v, "it has no block")
	for i, a := range v.CIDRs {
		c.part(v, PrefixCIDRAssoc, a.ID)
		c.block(v, a.CIDR)
		for _, b := range v.CIDRs[:i] {
			c.must(!a.CIDR.Overlaps(b.CIDR), v, "its blocks %s and %s overlap", b.CIDR, a.CIDR)
		}
	}
	for _, a := range v.IPv6 {
		c.part(v, PrefixCIDRAssoc, a.ID)
		c.block6(v, a.CIDR, VPCBits6) // that no two are the same is a claim's to say
	}
	main, acls, groups := 0, 0, 0
	for t := range By[RouteTable](c.v, IndexVPC, v.ID) {
		if t.Main != "" {
			main++
		}
	}
	for a := range By[NetworkACL](c.v, IndexVPC, v.ID) {
		if a.Default {
			acls++
		}
	}
	for g := range By[SecurityGroup](c.v, IndexVPC, v.ID) {
		if g.Name == DefaultGroupName {
			groups++
		}
	}
	c.must(main == 1, v, "it has %d main route tables", main)
	c.must(acls == 1, v, "it has %d default network ACLs", acls)
	c.must(groups == 1, v, "it has %d default security groups", groups)
	siblings := slices.Collect(By[Subnet](c.v, IndexVPC, v.ID))
	for i, a := range siblings {
		for _, b := range siblings[:i] {
			c.must(!a.CIDR.Overlaps(b.CIDR), a, "its block %s overlaps %s of subnet %s", a.CIDR, b.CIDR, b.ID)
		}
	}
}

func (c *checker) subnet(s *Subnet) {
	if v, ok := Get[VPC](c.v, s.VPC); ok {
		c.must(!s.DefaultForAZ || v.Default, s, "it is a default subnet and %s is not the default VPC", s.VPC)
	}
	c.block(s, s.CIDR)
	c.inVPC(s, s.VPC)
	if v, ok := Get[VPC](c.v, s.VPC); ok {
		c.must(v.Holds(s.CIDR), s, "its block %s is in none of its VPC's", s.CIDR)
		c.must(!s.HasIPv6() || v.Holds(s.IPv6.CIDR), s, "its block %s is in none of its VPC's", s.IPv6.CIDR)
	}
	if s.HasIPv6() {
		c.part(s, PrefixSubnetCIDRAssoc, s.IPv6.ID)
		c.block6(s, s.IPv6.CIDR, SubnetBits6)
	}
	c.must(s.HasIPv6() || !s.AssignIPv6 && s.IPv6.ID == "", s, "it assigns IPv6 addresses or has the association %q, and no block of them", s.IPv6.ID)
	if r, ok := Get[Region](c.v, RegionKey); ok {
		c.must(r.ZoneID(s.Zone) != "", s, "it is in %q, which is no zone of the region", s.Zone)
	}
	acls, tables := 0, 0
	for range By[NetworkACL](c.v, IndexSubnet, s.ID) {
		acls++
	}
	for range By[RouteTable](c.v, IndexSubnet, s.ID) {
		tables++
	}
	c.must(acls == 1, s, "it is in %d network ACLs, must be in one", acls)
	c.must(tables <= 1, s, "it is associated with %d route tables, at most one is allowed", tables)
}

// subnets notes associations with what is no subnet of the VPC.
func (c *checker) subnets(o Object, in VPCID, list []SubnetID) {
	unique(c, o, "subnet", list)
	for _, id := range list {
		s, ok := Get[Subnet](c.v, id)
		c.must(ok, o, "it is associated with subnet %s, which does not exist", id)
		c.must(!ok || s.VPC == in, o, "it is in %s and associated with subnet %s, which is not", in, id)
	}
}

func (c *checker) routeTable(t *RouteTable) {
	c.inVPC(t, t.VPC)
	if t.Main != "" {
		c.part(t, PrefixRouteAssoc, t.Main)
	}
	var subnets []SubnetID
	for _, a := range t.Associations {
		c.part(t, PrefixRouteAssoc, a.ID)
		subnets = append(subnets, a.Subnet)
	}
	c.subnets(t, t.VPC, subnets)
	local := map[netip.Prefix]bool{}
	destinations := map[string]bool{}
	for _, r := range t.Routes {
		to := string(r.PrefixList)
		if r.CIDR.IsValid() {
			c.must(to == "", t, "a route has two destinations, %s and %s", r.CIDR, to)
			c.must(r.CIDR == r.CIDR.Masked(), t, "the route to %s has bits behind its mask", r.CIDR)
			c.must(r.TargetKind.Carries(r.CIDR.Addr().Is6()), t, "the route to %s leads to a target of the kind %s, which does not carry it", r.CIDR, r.TargetKind)
			c.must(Routable(r.CIDR), t, "there is a route to %s", r.CIDR)
			to = r.CIDR.String()
		}
		c.must(to != "", t, "a route has no destination")
		c.must(!destinations[to], t, "there are two routes to %s", to)
		destinations[to] = true
		switch r.TargetKind {
		case TargetLocal:
			local[r.CIDR] = true
		case TargetEndpoint:
			c.endpointRoute(t, r)
		}
		if r.CustomerList() {
			c.list(t, r.PrefixList, true)
		}
	}
	v, ok := Get[VPC](c.v, t.VPC)
	if !ok {
		return
	}
	for _, p := range v.Prefixes() {
		c.must(local[p], t, "there is no local route to %s of its VPC", p)
		delete(local, p)
	}
	for p := range local {
		c.bad(t, "there is a local route to %s, which is no block of its VPC", p)
	}
}

// endpointRoute notes a gateway endpoint's route that the endpoint does not know of.
func (c *checker) endpointRoute(t *RouteTable, r Route) {
	e, ok := Get[Endpoint](c.v, r.Target)
	if !ok {
		c.bad(t, "a route leads to endpoint %s, which does not exist", r.Target)
		return
	}
	c.must(e.Type == GatewayEndpoint && slices.Contains(e.RouteTables, t.ID), t, "a route leads to %s, which is not associated with the table", e.ID)
	if _, s := ServiceOf(c.v, e); s != nil {
		c.must(slices.Contains(s.ListsOf(e), r.PrefixList), t, "the route to %s is for %q, its service has %q for it", e.ID, r.PrefixList, s.ListsOf(e))
	}
}

func (c *checker) acl(a *NetworkACL) {
	c.inVPC(a, a.VPC)
	var subnets []SubnetID
	for _, s := range a.Associations {
		c.part(a, PrefixACLAssoc, s.ID)
		subnets = append(subnets, s.Subnet)
	}
	c.subnets(a, a.VPC, subnets)
	type place struct {
		number int
		egress bool
	}
	var places []place
	for _, e := range a.Entries {
		places = append(places, place{e.Number, e.Egress})
		c.must(e.Number >= 1 && e.Number <= 32766, a, "entry number %d is not from 1 to 32766", e.Number)
		c.must(e.CIDR.IsValid() && e.CIDR == e.CIDR.Masked(), a, "entry %d has the block %s", e.Number, e.CIDR)
		c.must(e.Protocol >= AllProtocols && e.Protocol <= 255, a, "entry %d has the protocol %d", e.Number, e.Protocol)
		if e.Protocol == TCP || e.Protocol == UDP {
			c.must(0 <= e.From && e.From <= e.To && e.To <= 65535, a, "entry %d has the ports %d to %d", e.Number, e.From, e.To)
		}
	}
	unique(c, a, "entry", places)
}

func (c *checker) group(g *SecurityGroup) {
	c.inVPC(g, g.VPC)
	c.must(g.Name != "" && len(g.Name) <= 255 && len(g.Description) <= 255, g, "its name or description has an impossible length")
	for _, r := range g.Rules {
		c.part(g, PrefixRule, string(r.ID))
		peers := 0
		for _, set := range []bool{r.CIDR.IsValid(), r.Group != "", r.PrefixList != ""} {
			if set {
				peers++
			}
		}
		c.must(peers == 1, g, "rule %s has %d peers", r.ID, peers)
		c.must(!r.CIDR.IsValid() || r.CIDR == r.CIDR.Masked(), g, "rule %s has the block %s", r.ID, r.CIDR)
		c.must(r.Protocol >= AllProtocols && r.Protocol <= 255, g, "rule %s has the protocol %d", r.ID, r.Protocol)
		if r.Protocol == TCP || r.Protocol == UDP {
			c.must(0 <= r.From && r.From <= r.To && r.To <= 65535, g, "rule %s has the ports %d to %d", r.ID, r.From, r.To)
		}
		if r.PrefixList != "" {
			c.list(g, r.PrefixList, r.PrefixListOwner != "")
			c.must(r.PrefixListOwner == "" || r.PrefixListService == "", g, "rule %s has a prefix list of account %s and of service %s", r.ID, r.PrefixListOwner, r.PrefixListService)
		}
		if p, ok := Get[SecurityGroup](c.v, r.Group); ok {
			c.must(r.Peering == "" && p.VPC == g.VPC || r.Peering != "" && p.VPC == r.GroupVPC && p.VPC != g.VPC, g,
				"rule %s names %s of %s, reached by %q", r.ID, r.Group, p.VPC, r.Peering)
			c.must(p.Owner == r.GroupOwner, g, "rule %s says that %s is of account %q", r.ID, r.Group, r.GroupOwner)
		}
	}
}

func (c *checker) peering(p *Peering) {
	c.must(ValidID(PrefixPeering, string(p.ID)), p, "%q is no id of the form %s-...", p.ID, PrefixPeering)
	c.must(p.Requester.VPC != p.Accepter.VPC, p, "it joins %s with itself", p.Requester.VPC)
	c.must(p.State.Live() == p.Ended.IsZero(), p, "it is %s and ended at %s", p.State, p.Ended)
	if p.State != PeeringActive {
		return
	}
	a, ok := Get[VPC](c.v, p.Requester.VPC)
	b, ok2 := Get[VPC](c.v, p.Accepter.VPC)
	if !ok || !ok2 {
		return // named as a reference
	}
	c.must(a.Owner == p.Requester.Owner && b.Owner == p.Accepter.Owner, p, "a VPC is not its side's")
	for _, x := range a.Prefixes() {
		for _, y := range b.Prefixes() {
			c.must(!x.Overlaps(y), p, "its VPCs overlap in %s and %s", x, y)
		}
	}
}

// freeable reports whether an address of a subnet's block can be given out.
func freeable(block netip.Prefix, a netip.Addr) bool {
	return block.IsValid() && block.Contains(a) && !ReservedAddr(block, a)
}

// ourMAC reports whether s has the form of an interface's address: 02:xx:xx:xx:xx:xx.
func ourMAC(s string) bool {
	ok := len(s) == 17 && s[:3] == "02:"
	for i := 0; i < len(s) && ok; i++ {
		if i%3 == 2 {
			ok = s[i] == ':'
		} else {
			ok = '0' <= s[i] && s[i] <= '9' || 'a' <= s[i] && s[i] <= 'f'
		}
	}
	return ok
}

func (c *checker) networkInterface(n *NetworkInterface) {
	c.inVPC(n, n.VPC)
	if s, ok := Get[Subnet](c.v, n.Subnet); ok {
		c.must(s.VPC == n.VPC, n, "it is in %s, its subnet in %s", n.VPC, s.VPC)
		c.must(s.Zone == n.Zone, n, "it is in zone %s, its subnet in %s", n.Zone, s.Zone)
		for _, a := range n.Addrs() {
			c.must(freeable(s.CIDR, a), n, "its address %s cannot be given out in %s", a, s.CIDR)
		}
		for _, a := range n.IPv6 {
			c.must(freeable(s.IPv6.CIDR, a), n, "its address %s cannot be given out in %s", a, s.IPv6.CIDR)
		}
	}
	unique(c, n, "address", n.AllAddrs())
	for _, x := range []struct {
		seconds int
		in      TrackingRange
	}{{n.Tracking.TCPEstablished, TCPEstablishedRange}, {n.Tracking.UDP, UDPRange}, {n.Tracking.UDPStream, UDPStreamRange}} {
		c.must(x.seconds == 0 || x.in.Holds(x.seconds), n, "it tracks idle connections for %d s, %d to %d s are allowed", x.seconds, x.in.Min, x.in.Max)
	}
	c.must(ourMAC(n.MAC), n, "%q is no MAC address for it", n.MAC)
	c.groups(n, n.VPC, n.Groups)
	c.must((n.Endpoint == "") || n.Type == TypeEndpoint, n, "it is of type %s and belongs to endpoint %s", n.Type, n.Endpoint)
	c.must((n.Balancer == "") || n.Type == TypeBalancer, n, "it is of type %s and belongs to load balancer %s", n.Type, n.Balancer)
	c.must((n.Resolver == "") || n.Type == TypeResolver, n, "it is of type %s and belongs to resolver endpoint %s", n.Type, n.Resolver)
	switch n.Type {
	case TypeInterface:
		c.must(!n.RequesterManaged, n, "it is a plain interface and managed by %q", n.RequesterID)
	case TypeEndpoint:
		e, ok := Get[Endpoint](c.v, n.Endpoint)
		c.must(ok && slices.ContainsFunc(e.Nodes, func(x EndpointNode) bool { return x.Interface == n.ID }), n, "endpoint %q does not know it", n.Endpoint)
		c.must(n.RequesterManaged && n.Attachment == nil, n, "it is not managed, or attached")
	case TypeBalancer:
		l, ok := Get[LoadBalancer](c.v, n.Balancer)
		c.must(ok && slices.ContainsFunc(l.Nodes, func(x BalancerNode) bool { return x.Interface == n.ID }), n, "load balancer %q does not know it", n.Balancer)
		c.must(n.RequesterManaged && n.Attachment == nil, n, "it is not managed, or attached")
	case TypeResolver:
		e, ok := Get[ResolverEndpoint](c.v, n.Resolver)
		c.must(ok && slices.ContainsFunc(e.Addresses, func(a ResolverAddress) bool { return a.Interface == n.ID }), n, "resolver endpoint %q does not know it", n.Resolver)
		c.must(n.RequesterManaged && n.Attachment == nil, n, "it is not managed, or attached")
	case TypeNAT:
		c.natInterface(n)
		c.must(n.RequesterManaged && n.Attachment == nil, n, "it is not managed, or attached")
	}
	if n.Attachment != nil {
		c.attachment(n, n.Attachment)
	}
}

func (c *checker) host(h *Host) {
	c.must(ValidHostID(h.ID), h, "its name is no machine's")
	c.must(!h.Underlay.IsValid() || ValidUnderlay(h.Underlay), h, "its underlay address is %s", h.Underlay)
}

func (c *checker) attachment(n *NetworkInterface, a *Attachment) {
	c.part(n, PrefixAttachment, a.ID)
	if x := a.External; x != nil {
		ways := 0
		for _, set := range []bool{x.Netns != "", x.PID != 0, x.Ifname != ""} {
			if set {
				ways++
			}
		}
		c.must(ways == 1 && a.Instance == "" && a.Host != "", n, "its attachment %s names %d workloads on host %q, and instance %q", a.ID, ways, a.Host, a.Instance)
		return
	}
	i, ok := Get[Instance](c.v, a.Instance)
	if !ok {
		c.bad(n, "it is attached to instance %q, which does not exist", a.Instance)
		return
	}
	c.must(i.State != InstanceTerminated, n, "it is attached to %s, which is terminated", i.ID)
	for o := range By[NetworkInterface](c.v, IndexInstance, i.ID) {
		c.must(o.ID == n.ID || o.Attachment.DeviceIndex != a.DeviceIndex, n, "it and %s have the device index %d of %s", o.ID, a.DeviceIndex, i.ID)
	}
	c.must(i.Owner == n.Owner && i.VPC == n.VPC && i.Host == a.Host, n, "it is attached to %s of another account, VPC or host", i.ID)
}

func (c *checker) instance(i *Instance) {
	switch i.State {
	case InstancePending, InstanceRunning, InstanceShuttingDown:
		c.inVPC(i, i.VPC)
		s, ok := Get[Subnet](c.v, i.Subnet)
		c.must(!ok || s.VPC == i.VPC && s.Zone == i.Zone, i, "it is in %s and %s, its subnet is not", i.VPC, i.Zone)
		n, ok := Get[NetworkInterface](c.v, i.Primary)
		c.must(ok && n.Attachment != nil && n.Attachment.Instance == i.ID && n.Attachment.DeviceIndex == 0, i, "its primary interface %s is not attached to it", i.Primary)
		c.must(!ok || n.Addr == i.Addr, i, "it has the address %s, its primary interface another", i.Addr)
		c.must(i.Terminated.IsZero(), i, "it is %s and says when it was terminated", i.State)
	case InstanceTerminated:
		for n := range By[NetworkInterface](c.v, IndexInstance, i.ID) {
			c.bad(i, "it is terminated and interface %s is attached to it", n.ID)
		}
		c.must(!i.Terminated.IsZero(), i, "it does not say when it was terminated")
	default:
		c.bad(i, "it has the state %q", i.State)
	}
}
