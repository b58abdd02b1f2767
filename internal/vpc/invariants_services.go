// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
	"strings"
)

func (c *checker) endpoint(e *Endpoint) {
	c.inVPC(e, e.VPC)
	c.endpointState(e)
	c.addressType(e)
	c.must(strings.HasPrefix(e.DNSLabel, string(e.ID)+"-"), e, "its label %q does not begin with its id", e.DNSLabel)
	switch e.Type {
	case GatewayEndpoint:
		c.gateway(e)
	case InterfaceEndpoint:
		c.interfaceEndpoint(e)
	}
	c.must(e.Named || len(e.Coming) == 0, e, "it has no names and addresses that wait for them: %v", e.Coming)
	c.must(e.Passes() || len(e.Going) == 0, e, "it carries no packets and has interfaces that still do: %v", e.Going)
	c.must(e.Ending.IsZero() || e.State == EndpointRejected || e.State == EndpointDeleting, e, "it is %s and its names are going", e.State)
	c.must((e.Service == "") == (e.Connection == ""), e, "it leads to service %q and has the connection %q", e.Service, e.Connection)
	if e.Catalogue != "" {
		c.must(e.Service == "", e, "it leads to service %s and to the catalogue's %s", e.Service, e.Catalogue)
		s, ok := Get[CatalogueService](c.v, e.Catalogue)
		c.must(!ok || s.ServiceName == e.ServiceName, e, "it leads to the catalogue's %s, whose name is not %s", e.Catalogue, e.ServiceName)
	}
	if e.Service == "" {
		return
	}
	c.part(e, PrefixConnection, e.Connection)
	if s, ok := Get[EndpointService](c.v, e.Service); ok {
		c.must(s.Name == e.ServiceName, e, "it leads to %s, whose name is not %s", s.ID, e.ServiceName)
	}
}

// endpointState notes a state and fields that do not go together.
func (c *checker) endpointState(e *Endpoint) {
	switch e.State {
	case EndpointPending:
	case EndpointAvailable:
		c.must(e.Named, e, "it is available and has no names yet")
	case EndpointPendingAcceptance, EndpointRejected, EndpointExpired:
		c.must(e.Service != "", e, "it is %s, which only an endpoint to a customer's service can be", e.State)
		c.must(!e.Named, e, "it is %s and has its names", e.State)
	case EndpointDeleting, EndpointFailed:
		c.must(!e.Named, e, "it is %s and has its names", e.State)
	default:
		c.bad(e, "it has the state %q", e.State)
	}
	if e.State == EndpointExpired || e.State == EndpointFailed {
		c.must(e.FailureReason != "", e, "it is %s and does not say why", e.State)
	}
}

// addressType notes an IP address type or a DNS record type that the endpoint
// cannot have.
func (c *checker) addressType(e *Endpoint) {
	switch e.IPAddressType {
	case "", IPv6Only, DualStack:
	default:
		c.bad(e, "it has the IP address type %q", e.IPAddressType)
	}
	record := e.DNSRecordType()
	ok := record == e.AddressType() || e.AddressType() == DualStack && (record == IPv4Only || record == IPv6Only)
	if record == RecordServiceDefined {
		ok = e.Type == GatewayEndpoint || e.AddressType() == DualStack
	}
	c.must(ok, e, "it has the IP address type %s and the DNS record type %q", e.AddressType(), record)
}

// nodeAddrs notes addresses of a node that are not its interface's, or of a
// family that it cannot have.
func (c *checker) nodeAddrs(o Object, i *NetworkInterface, addr, addr6 netip.Addr, ipv4, ipv6 bool) {
	c.must(addr == i.Addr, o, "its interface %s has the address %s, not %s", i.ID, i.Addr, addr)
	c.must(addr.IsValid() == ipv4, o, "its node in %s has the IPv4 address %s, its IP address type does not go with that", i.Subnet, addr)
	var have netip.Addr
	if len(i.IPv6) > 0 {
		have = i.IPv6[0]
	}
	c.must(len(i.IPv6) <= 1 && have == addr6, o, "its interface %s has the addresses %v, not %s", i.ID, i.IPv6, addr6)
	c.must(addr6.IsValid() == ipv6, o, "its node in %s has the IPv6 address %s, its IP address type does not go with that", i.Subnet, addr6)
	if s, ok := Get[Subnet](c.v, i.Subnet); ok && addr6.IsValid() {
		c.must(s.IPv6.CIDR.IsValid() && s.IPv6.CIDR.Contains(addr6), o, "its address %s is not of the block %s of %s", addr6, s.IPv6.CIDR, s.ID)
	}
}

func (c *checker) gateway(e *Endpoint) {
	c.must(e.Link == 0 && len(e.Nodes) == 0 && len(e.Groups) == 0 && !e.PrivateDNS && e.Service == "", e, "it is a gateway endpoint and has what only an interface endpoint has")
	c.must(e.State != EndpointDeleting || len(e.RouteTables) == 0, e, "it is deleting and still in route tables")
	unique(c, e, "route table", e.RouteTables)
	for _, id := range e.RouteTables {
		t, ok := Get[RouteTable](c.v, id)
		if !ok {
			c.bad(e, "it is in route table %s, which does not exist", id)
			continue
		}
		c.must(t.VPC == e.VPC, e, "it is in %s, its route table %s in %s", e.VPC, id, t.VPC)
		routes := map[PrefixListID]bool{}
		for _, r := range t.Routes {
			if r.TargetKind == TargetEndpoint && r.Target == string(e.ID) {
				routes[r.PrefixList] = true
			}
		}
		_, s := ServiceOf(c.v, e)
		if s == nil {
			c.bad(e, "it leads to %s, which is no catalogue service", e.ServiceName)
			continue
		}
		want := s.ListsOf(e)
		for _, list := range want {
			c.must(routes[list], e, "route table %s has no route to it for %s", id, list)
		}
		c.must(len(routes) == len(want), e, "route table %s has %d routes to it, want %d for the IP address type %s", id, len(routes), len(want), e.AddressType())
	}
}

func (c *checker) interfaceEndpoint(e *Endpoint) {
	c.must(e.Link >= FirstVNI && e.Link <= LastVNI, e, "its link %#x is no number that can be given out", e.Link)
	c.must(len(e.RouteTables) == 0, e, "it is an interface endpoint and in route tables")
	c.must(len(e.Groups) > 0, e, "it has no security group")
	c.groups(e, e.VPC, e.Groups)
	var zones []string
	mine := map[InterfaceID]bool{}
	for _, n := range e.Nodes {
		zones = append(zones, n.Zone)
		mine[n.Interface] = true
		i, ok := Get[NetworkInterface](c.v, n.Interface)
		if !ok {
			c.bad(e, "its interface %s in %s does not exist", n.Interface, n.Subnet)
			continue
		}
		c.must(i.Endpoint == e.ID && i.Owner == e.Owner && i.VPC == e.VPC, e, "its interface %s is not its own", n.Interface)
		c.must(i.Subnet == n.Subnet && i.Zone == n.Zone, e, "its interface %s is in %s (%s), not in %s (%s)", i.ID, i.Subnet, i.Zone, n.Subnet, n.Zone)
		if going := goingOf(e, i.ID); len(going) > 0 {
			i = Edit(i)
			i.IPv6 = slices.DeleteFunc(i.IPv6, func(a netip.Addr) bool { return slices.Contains(going, a) })
		}
		c.nodeAddrs(e, i, n.Addr, n.Addr6, e.HasIPv4(), e.HasIPv6())
		c.must(slices.Equal(i.Groups, e.Groups), e, "its interface %s has the security groups %v, it has %v", i.ID, i.Groups, e.Groups)
	}
	unique(c, e, "zone", zones)
	for _, n := range e.Going {
		_, ok := Get[NetworkInterface](c.v, n.Interface)
		c.must(ok, e, "its interface %s, which is going, does not exist", n.Interface)
		mine[n.Interface] = true
	}
	for i := range By[NetworkInterface](c.v, IndexEndpoint, e.ID) {
		c.must(mine[i.ID], e, "interface %s says that it is of this endpoint", i.ID)
	}
	if !e.PrivateDNS {
		return
	}
	for o := range By[Endpoint](c.v, IndexVPC, e.VPC) {
		if !o.PrivateDNS || o.ID >= e.ID { // each pair once
			continue
		}
		theirs := PrivateNames(ServiceOf(c.v, o))
		for _, n := range PrivateNames(ServiceOf(c.v, e)) {
			c.must(!slices.Contains(theirs, n), e, "its private name %s is that of %s too", n, o.ID)
		}
	}
}

// goingOf are the IPv6 addresses that an interface of the endpoint is about to lose.
func goingOf(e *Endpoint, id InterfaceID) []netip.Addr {
	var out []netip.Addr
	for _, n := range e.Going {
		if n.Interface == id {
			out = append(out, n.Addr6)
		}
	}
	return out
}

func (c *checker) service(s *EndpointService) {
	c.must(strings.HasSuffix(s.Name, "."+string(s.ID)), s, "its name %q does not end in its id", s.Name)
	c.must(len(s.Balancers) > 0, s, "it has no load balancer")
	unique(c, s, "load balancer", s.Balancers)
	for _, arn := range s.Balancers {
		if b, ok := Get[LoadBalancer](c.v, arn); ok {
			c.must(b.Owner == s.Owner, s, "load balancer %s belongs to account %s", arn, b.Owner)
			c.must(!s.IPv6 || b.DualStack, s, "it supports ipv6 and its load balancer %s is not dualstack", arn)
		}
		for o := range By[EndpointService](c.v, IndexBalancer, arn) {
			c.must(o.ID == s.ID, s, "its load balancer %s is of %s too", arn, o.ID)
		}
	}
	c.must(len(s.AddressTypes()) > 0, s, "it supports no IP address type")
	c.must(slices.IsSorted(s.Zones), s, "its zones %v are not sorted", s.Zones)
	unique(c, s, "zone", s.Zones)
	c.must((s.PrivateDNSName == "") == (s.Verification == nil), s, "it has the private name %q and the verification %v", s.PrivateDNSName, s.Verification)
	if v := s.Verification; v != nil {
		c.must(v.State == DNSPendingVerification || v.State == DNSVerified || v.State == DNSFailed, s, "its name has the state %q", v.State)
		c.must(v.State != DNSVerified || v.Granted, s, "its name is verified and was never granted")
	}
	var principals []string
	for _, p := range s.Permissions {
		c.part(s, PrefixPermission, p.ID)
		principals = append(principals, p.Principal)
	}
	unique(c, s, "principal", principals)
}

func (c *checker) balancer(l *LoadBalancer) {
	c.inVPC(l, l.VPC)
	c.must(len(l.Nodes) > 0, l, "it has no node")
	c.groups(l, l.VPC, l.Groups)
	var zones []string
	mine := map[InterfaceID]bool{}
	for _, n := range l.Nodes {
		zones = append(zones, n.Zone)
		mine[n.Interface] = true
		i, ok := Get[NetworkInterface](c.v, n.Interface)
		if !ok {
			c.bad(l, "its interface %s in %s does not exist", n.Interface, n.Subnet)
			continue
		}
		c.must(i.Balancer == l.ARN && i.Owner == l.Owner && i.VPC == l.VPC, l, "its interface %s is not its own", n.Interface)
		c.must(i.Subnet == n.Subnet && i.Zone == n.Zone, l, "its interface %s is in %s (%s), not in %s (%s)", i.ID, i.Subnet, i.Zone, n.Subnet, n.Zone)
		c.nodeAddrs(l, i, n.Addr, n.Addr6, true, l.DualStack)
		c.must(len(l.Groups) == 0 || slices.Equal(i.Groups, l.Groups), l, "its interface %s has the security groups %v, it has %v", i.ID, i.Groups, l.Groups)
	}
	unique(c, l, "zone", zones)
	for i := range By[NetworkInterface](c.v, IndexBalancer, l.ARN) {
		c.must(mine[i.ID], l, "interface %s says that it is of this load balancer", i.ID)
	}
}

func (c *checker) targetGroup(g *TargetGroup) {
	c.inVPC(g, g.VPC)
	c.must(!g.IPv6 || g.TargetType == "ip", g, "its targets have the family IPv6 and the type %s", g.TargetType)
	c.must(g.Port >= 1 && g.Port <= 65535, g, "its port is %d", g.Port)
	type target struct {
		id   string
		port int
	}
	var targets []target
	for _, t := range g.Targets {
		targets = append(targets, target{t.ID, t.Port})
		c.must(t.Port >= 1 && t.Port <= 65535, g, "target %s has the port %d", t.ID, t.Port)
		if a, err := netip.ParseAddr(t.ID); g.TargetType == "ip" {
			c.must(err == nil && a.Is6() == g.IPv6, g, "target %s is no address of the family %s", t.ID, g.AddressType())
		}
	}
	unique(c, g, "target", targets)
	for _, t := range g.Cut {
		c.must(t.Addr.IsValid() && t.Port >= 1 && t.Port <= 65535, g, "it cuts flows to %s port %d", t.Addr, t.Port)
	}
	balancers := map[ARN]bool{}
	for l := range By[Listener](c.v, IndexTargetGroup, g.ARN) {
		balancers[l.Balancer] = true
	}
	c.must(len(balancers) <= 1, g, "it is used by %d load balancers, at most one is allowed", len(balancers))
}

func (c *checker) listener(l *Listener) {
	c.must(l.Port >= 1 && l.Port <= 65535, l, "its port is %d", l.Port)
	b, ok := Get[LoadBalancer](c.v, l.Balancer)
	g, ok2 := Get[TargetGroup](c.v, l.TargetGroup)
	if !ok || !ok2 {
		return // a reference's to say
	}
	c.must(b.Owner == l.Owner && g.Owner == l.Owner, l, "it is not of the account of its load balancer and target group")
	c.must(b.VPC == g.VPC, l, "its load balancer is in %s, its target group in %s", b.VPC, g.VPC)
	c.must(b.DualStack || !g.IPv6, l, "its load balancer has the IP address type %s, its target group %s", b.AddressType(), g.AddressType())
	c.must(!b.DualStack || g.IPv6 || l.Protocol == "TCP", l, "its load balancer is dualstack, its protocol %s and its target group of IPv4", l.Protocol)
	c.must(g.Protocol == l.Protocol, l, "its protocol is %s, its target group's %s", l.Protocol, g.Protocol)
}

func (c *checker) health(h *Health) {
	g, ok := Get[TargetGroup](c.v, h.TargetGroup)
	if !ok {
		c.bad(h, "its target group does not exist")
		return
	}
	c.must(slices.ContainsFunc(g.Targets, func(t Target) bool { return t.ID == h.Target && t.Port == h.Port }), h, "its target is not registered")
	var zones []string
	for _, n := range h.Nodes {
		zones = append(zones, n.Zone)
		c.must(!n.Healthy || n.Reason == "" && !n.Drained, h, "in zone %s it is healthy and has the reason %q", n.Zone, n.Reason)
	}
	c.must(slices.IsSorted(zones), h, "its nodes are not in order of their zones: %v", zones)
	unique(c, h, "zone", zones)
}
