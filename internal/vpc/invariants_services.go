// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"slices"
	"strings"
)

func (c *checker) endpoint(e *Endpoint) {
	c.inVPC(e, e.VPC)
	c.endpointState(e)
	c.must(strings.HasPrefix(e.DNSLabel, string(e.ID)+"-"), e, "its label %q does not begin with its id", e.DNSLabel)
	switch e.Type {
	case GatewayEndpoint:
		c.gateway(e)
	case InterfaceEndpoint:
		c.interfaceEndpoint(e)
	}
	c.must((e.Service == "") == (e.Connection == ""), e, "it leads to service %q and has the connection %q", e.Service, e.Connection)
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
		routes := 0
		for _, r := range t.Routes {
			if r.TargetKind == TargetEndpoint && r.Target == string(e.ID) {
				routes++
			}
		}
		c.must(routes == 1, e, "route table %s has %d routes to it", id, routes)
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
		c.must(i.Subnet == n.Subnet && i.Zone == n.Zone && i.Addr == n.Addr, e, "its interface %s is in %s (%s) with address %s, not in %s (%s) with %s", i.ID, i.Subnet, i.Zone, i.Addr, n.Subnet, n.Zone, n.Addr)
		c.must(slices.Equal(i.Groups, e.Groups), e, "its interface %s has the security groups %v, it has %v", i.ID, i.Groups, e.Groups)
	}
	unique(c, e, "zone", zones)
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

func (c *checker) service(s *EndpointService) {
	c.must(strings.HasSuffix(s.Name, "."+string(s.ID)), s, "its name %q does not end in its id", s.Name)
	c.must(len(s.Balancers) > 0, s, "it has no load balancer")
	unique(c, s, "load balancer", s.Balancers)
	for _, arn := range s.Balancers {
		if b, ok := Get[LoadBalancer](c.v, arn); ok {
			c.must(b.Owner == s.Owner, s, "load balancer %s belongs to account %s", arn, b.Owner)
		}
		for o := range By[EndpointService](c.v, IndexBalancer, arn) {
			c.must(o.ID == s.ID, s, "its load balancer %s is of %s too", arn, o.ID)
		}
	}
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
		c.must(i.Subnet == n.Subnet && i.Zone == n.Zone && i.Addr == n.Addr, l, "its interface %s is in %s (%s) with address %s, not in %s (%s) with %s", i.ID, i.Subnet, i.Zone, i.Addr, n.Subnet, n.Zone, n.Addr)
		c.must(len(l.Groups) == 0 || slices.Equal(i.Groups, l.Groups), l, "its interface %s has the security groups %v, it has %v", i.ID, i.Groups, l.Groups)
	}
	unique(c, l, "zone", zones)
	for i := range By[NetworkInterface](c.v, IndexBalancer, l.ARN) {
		c.must(mine[i.ID], l, "interface %s says that it is of this load balancer", i.ID)
	}
}

func (c *checker) targetGroup(g *TargetGroup) {
	c.inVPC(g, g.VPC)
	c.must(g.Port >= 1 && g.Port <= 65535, g, "its port is %d", g.Port)
	type target struct {
		id   string
		port int
	}
	var targets []target
	for _, t := range g.Targets {
		targets = append(targets, target{t.ID, t.Port})
		c.must(t.Port >= 1 && t.Port <= 65535, g, "target %s has the port %d", t.ID, t.Port)
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
