// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"net/netip"
	"slices"
	"sort"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// builder gathers one Host from one view.
type builder struct {
	v    vpc.View
	host vpc.HostID
	h    Host
	// used are the load balancers that are in h, by ARN.
	used map[vpc.ARN]*vpc.LoadBalancer
	// pools are those that were asked for, by target group and zone.
	pools map[[2]string]pool
	// former are the hosted zones that were computed before.
	former map[vpc.HostedZoneID]keptZone
}

// ForHost computes what host should hold at the view's revision.
func ForHost(v vpc.View, host vpc.HostID) Host { return new(Memory).ForHost(v, host) }

// Memory computes what one host should hold at one revision after the other,
// and takes over the hosted zones that are as they were: there may be a million
// records in them. Its views are of one store.
type Memory struct {
	zones map[vpc.HostedZoneID]keptZone
}

// keptZone is a hosted zone as of its last change. Whatever changes one of its
// records changes the zone.
type keptZone struct {
	changed vpc.Revision
	zone    Zone
}

// ForHost computes what host should hold at the view's revision.
func (m *Memory) ForHost(v vpc.View, host vpc.HostID) Host {
	b := &builder{v: v, host: host, h: Empty(), used: map[vpc.ARN]*vpc.LoadBalancer{}, former: m.zones}
	b.build()
	m.zones = make(map[vpc.HostedZoneID]keptZone, len(b.h.Zones))
	for id, z := range b.h.Zones {
		m.zones[id] = keptZone{v.Changed(vpc.KindHostedZone, string(id)), z}
	}
	return b.h
}

// build gathers everything.
func (b *builder) build() {
	v, host := b.v, b.host
	b.h.Revision = v.Revision()
	spaces := map[vpc.VPCID]bool{}
	for n := range vpc.By[vpc.NetworkInterface](v, vpc.IndexHost, host) {
		if w, ok := b.workload(n); ok {
			b.h.Workloads[n.ID] = w
			spaces[n.VPC] = true
		}
	}
	for id := range spaces {
		b.space(id)
	}
	for id := range spaces {
		for p := range vpc.By[vpc.Peering](v, vpc.IndexVPC, id) {
			if other := p.Other(id).VPC; p.State == vpc.PeeringActive && !spaces[other] {
				b.peerSpace(other)
			}
		}
	}
	for s := range vpc.All[vpc.CatalogueService](v) {
		b.h.Services[s.Name] = Service{
			Name: s.Name, ServiceName: s.ServiceName, Protocol: s.Protocol, Prefixes: slices.Concat(s.Prefixes, s.Prefixes6),
			PublicNames: s.Names(), Backends: s.Backends, HealthCheck: s.HealthCheck, BackendCA: s.BackendCA, Types: s.Types, Identity: s.Identity,
		}
	}
	b.places()
	b.hosts()
	b.foreignEndpoints(spaces)
	b.probes()
	b.users()
	b.uplink()
}

// users adds the users who may call a service that the edge speaks for.
func (b *builder) users() {
	judged := false
	for _, e := range b.h.Endpoints {
		_, ours := b.h.Services[e.Service] // of the catalogue
		judged = judged || ours
	}
	if !judged {
		return
	}
	for u := range vpc.All[vpc.User](b.v) {
		for _, k := range u.Keys {
			if !k.Inactive {
				b.h.Users[k.ID] = User{Account: u.Owner, ARN: u.ARN(), ID: u.ID, Name: u.Name, Tags: u.Tags, Policies: u.Policies.Documents(b.v)}
			}
		}
	}
}

// Empty is a Host that holds nothing.
func Empty() Host {
	return Host{
		VPCs:        map[vpc.VNI]VPC{},
		Subnets:     map[vpc.SubnetID]Subnet{},
		RouteTables: map[vpc.RouteTableID]RouteTable{},
		ACLs:        map[vpc.ACLID]ACL{},
		Interfaces:  map[vpc.InterfaceID]Interface{},
		Hosts:       map[vpc.HostID]netip.Addr{},
		RuleSets:    map[string]RuleSet{},
		Balancers:   map[string]Balancer{},
		Endpoints:   map[vpc.EndpointID]Endpoint{},
		Services:    map[string]Service{},
		Workloads:   map[vpc.InterfaceID]Workload{},
		Probes:      map[string]Probe{},
		Keys:        map[string]vpc.AccountID{},
		Users:       map[string]User{},
		Zones:       map[vpc.HostedZoneID]Zone{},
		Uplink:      map[string]netip.Prefix{},
	}
}

// workload is what sits behind an interface on this host, if anything does now.
func (b *builder) workload(n *vpc.NetworkInterface) (Workload, bool) {
	a := n.Attachment
	if a == nil {
		return Workload{}, false
	}
	if a.Instance != "" {
		i, ok := vpc.Get[vpc.Instance](b.v, a.Instance)
		if !ok || i.State == vpc.InstanceShuttingDown || i.State == vpc.InstanceTerminated {
			return Workload{}, false
		}
	}
	s, ok := vpc.Get[vpc.Subnet](b.v, n.Subnet)
	v, ok2 := vpc.Get[vpc.VPC](b.v, n.VPC)
	if !ok || !ok2 {
		return Workload{}, false
	}
	out := Workload{
		Interface: n.ID, Addr: n.Addr, Secondary: n.Secondary, IPv6: n.IPv6, MAC: n.MAC, Subnet: s.CIDR, Router: s.RouterAddr(),
		Resolver: v.ResolverAddr(), Instance: a.Instance, Index: a.DeviceIndex, External: a.External,
	}
	out.Servers, out.Search = vpc.Resolution(b.v, v)
	if len(n.IPv6) > 0 {
		out.Subnet6 = s.IPv6.CIDR
	}
	return out, true
}

// space adds a VPC and everything in it.
func (b *builder) space(id vpc.VPCID) {
	v, ok := vpc.Get[vpc.VPC](b.v, id)
	if !ok {
		return
	}
	b.contents(v)
	for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexVPC, id) {
		b.endpoint(v, e)
	}
	if a, ok := vpc.Get[vpc.Account](b.v, v.Owner); ok {
		for _, k := range a.Keys {
			b.h.Keys[k.ID] = a.ID
		}
	}
	b.h.VPCs[v.VNI] = b.names(v)
}

// peerSpace adds what packets from a VPC of this host can meet in one that it
// is peered with: all but its gateway endpoints and, unless it has an inbound
// resolver endpoint, its names and its resolver.
func (b *builder) peerSpace(id vpc.VPCID) {
	v, ok := vpc.Get[vpc.VPC](b.v, id)
	if !ok {
		return
	}
	b.contents(v)
	for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexVPC, id) {
		if e.Type == vpc.InterfaceEndpoint {
			b.endpoint(v, e)
		}
	}
	b.h.VPCs[v.VNI] = nameless(v)
	if b.answersOthers(v) {
		b.h.VPCs[v.VNI] = b.names(v)
	}
}

// answersOthers reports whether somebody outside of a VPC can ask its resolver.
func (b *builder) answersOthers(v *vpc.VPC) bool {
	for e := range vpc.By[vpc.ResolverEndpoint](b.v, vpc.IndexVPC, v.ID) {
		if e.Inbound {
			return true
		}
	}
	return false
}

// contents adds the subnets, interfaces and load balancers of a VPC.
func (b *builder) contents(v *vpc.VPC) {
	for s := range vpc.By[vpc.Subnet](b.v, vpc.IndexVPC, v.ID) {
		b.subnet(v, s)
	}
	for n := range vpc.By[vpc.NetworkInterface](b.v, vpc.IndexVPC, v.ID) {
		b.netInterface(v, n)
	}
	for lb := range vpc.By[vpc.LoadBalancer](b.v, vpc.IndexVPC, v.ID) {
		b.balancer(lb)
	}
	for e := range vpc.By[vpc.ResolverEndpoint](b.v, vpc.IndexVPC, v.ID) {
		if e.Inbound {
			id := vpc.EndpointID(e.ID)
			b.h.Endpoints[id] = Endpoint{ID: id, Owner: e.Owner, VPC: e.VPC, VNI: v.VNI, Type: vpc.InterfaceEndpoint, Resolver: true}
		}
	}
}

func (b *builder) subnet(v *vpc.VPC, s *vpc.Subnet) {
	t, ok := vpc.RouteTableOf(b.v, s)
	if !ok {
		return
	}
	out := Subnet{ID: s.ID, VNI: v.VNI, CIDR: s.CIDR, Router: s.RouterAddr(), IPv6: s.IPv6.CIDR, RouteTable: t.ID}
	if a, ok := vpc.First[vpc.NetworkACL](b.v, vpc.IndexSubnet, s.ID); ok {
		out.ACL = a.ID
		if _, done := b.h.ACLs[a.ID]; !done {
			b.h.ACLs[a.ID] = acl(a)
		}
	}
	b.h.Subnets[s.ID] = out
	if _, done := b.h.RouteTables[t.ID]; !done {
		b.h.RouteTables[t.ID] = b.routeTable(t)
	}
}

func acl(a *vpc.NetworkACL) ACL {
	entries := slices.Clone(a.Entries)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Number < entries[j].Number })
	var out ACL
	for _, e := range entries {
		r := ACLRule{Allow: e.Allow, Protocol: e.Protocol, CIDR: e.CIDR, From: e.From, To: e.To}
		if e.Egress {
			out.Out = append(out.Out, r)
		} else {
			out.In = append(out.In, r)
		}
	}
	return out
}

// routeTable expands prefix lists and settles equal prefixes: a route with a
// CIDR of its own beats one from a prefix list, and of two lists the one with
// the lower id wins, whatever order the routes were made in. A block of a list
// that would have been refused as a route of its own is left out.
func (b *builder) routeTable(t *vpc.RouteTable) RouteTable {
	routes := map[netip.Prefix]Route{}
	byList := slices.DeleteFunc(slices.Clone(t.Routes), func(r vpc.Route) bool { return r.PrefixList == "" })
	slices.SortFunc(byList, func(a, c vpc.Route) int { return strings.Compare(string(a.PrefixList), string(c.PrefixList)) })
	for _, r := range byList {
		for _, p := range PrefixList(b.v, r.PrefixList) {
			if r.TargetKind.Leaves() && b.inside(t.VPC, p) || !vpc.Routable(p) {
				continue
			}
			if _, taken := routes[p]; !taken {
				routes[p] = b.route(t, p, r)
			}
		}
	}
	for _, r := range t.Routes {
		if r.PrefixList == "" && r.CIDR.IsValid() {
			routes[r.CIDR] = b.route(t, r.CIDR, r)
		}
	}
	out := RouteTable{}
	for _, r := range routes {
		out.Routes = append(out.Routes, r)
	}
	sort.Slice(out.Routes, func(i, j int) bool { return comparePrefix(out.Routes[i].Prefix, out.Routes[j].Prefix) < 0 })
	return out
}

// inside reports whether a block is within one of the VPC's.
func (b *builder) inside(id vpc.VPCID, p netip.Prefix) bool {
	v, ok := vpc.Get[vpc.VPC](b.v, id)
	return ok && v.Holds(p)
}

func (b *builder) route(t *vpc.RouteTable, p netip.Prefix, r vpc.Route) Route {
	switch r.TargetKind {
	case vpc.TargetLocal:
		return Route{Prefix: p, Kind: RouteLocal}
	case vpc.TargetEndpoint:
		if e, ok := vpc.Get[vpc.Endpoint](b.v, r.Target); ok && e.State.Carries() {
			return Route{Prefix: p, Kind: RouteEndpoint, Endpoint: e.ID}
		}
	case vpc.TargetENI:
		if n, ok := vpc.Get[vpc.NetworkInterface](b.v, r.Target); ok && n.Attachment != nil {
			return Route{Prefix: p, Kind: RouteInterface, Interface: n.ID}
		}
	case vpc.TargetInternet:
		if g, ok := vpc.Get[vpc.InternetGateway](b.v, r.Target); ok && g.VPC == t.VPC {
			return Route{Prefix: p, Kind: RouteInternet}
		}
	case vpc.TargetEgressOnly:
		if g, ok := vpc.Get[vpc.EgressOnlyGateway](b.v, r.Target); ok && g.VPC == t.VPC {
			return Route{Prefix: p, Kind: RouteEgress}
		}
	case vpc.TargetPeering:
		if x, ok := vpc.Get[vpc.Peering](b.v, r.Target); ok && x.State == vpc.PeeringActive {
			if other, ok := vpc.Get[vpc.VPC](b.v, x.Other(t.VPC).VPC); ok {
				return Route{Prefix: p, Kind: RoutePeering, Peer: other.VNI, Peering: x.ID}
			}
		}
	case vpc.TargetNAT:
		if g, ok := vpc.Get[vpc.NATGateway](b.v, r.Target); ok && g.State == vpc.NATAvailable {
			return Route{Prefix: p, Kind: RouteNAT, Interface: g.Interface}
		}
	}
	return Route{Prefix: p, Kind: RouteBlackhole}
}

// PrefixList is the current prefixes of a list of either family, a catalogue
// service's or a customer's; nil if it does not exist.
func PrefixList(v vpc.View, id vpc.PrefixListID) []netip.Prefix {
	if s, ok := vpc.First[vpc.CatalogueService](v, vpc.IndexPrefixList, id); ok {
		if id == s.PrefixList6 {
			return s.Prefixes6
		}
		return s.Prefixes
	}
	l, ok := vpc.Get[vpc.PrefixList](v, id)
	if !ok {
		return nil
	}
	var out []netip.Prefix
	for _, e := range vpc.ListEntries(v, l) {
		out = append(out, e.CIDR)
	}
	slices.SortFunc(out, comparePrefix)
	return out
}

func (b *builder) netInterface(v *vpc.VPC, n *vpc.NetworkInterface) {
	out := Interface{
		ID: n.ID, VNI: v.VNI, Subnet: n.Subnet, Addr: n.Addr, Secondary: n.Secondary, IPv6: n.IPv6, MAC: n.MAC,
		Tracking: n.Tracking, SourceCheck: n.SourceDestCheck, RuleSet: b.ruleSet(v, n.Groups),
	}
	if e, ok := vpc.First[vpc.ElasticIP](b.v, vpc.IndexInterface, n.ID); ok {
		out.Public = e.Addr
	}
	switch n.Type {
	case vpc.TypeResolver: // an outbound one's endpoint carries nothing
		out.Kind, out.Endpoint = KindEndpoint, vpc.EndpointID(n.Resolver)
	case vpc.TypeEndpoint:
		out.Kind, out.Endpoint = KindEndpoint, n.Endpoint
		if e, ok := vpc.Get[vpc.Endpoint](b.v, n.Endpoint); ok && e.Service != "" {
			if lb, ok := b.balancerFor(e, n.Zone); ok {
				out.Balancer = NodeName(lb.ARN, n.Zone)
				b.balancer(lb)
			}
		}
	case vpc.TypeBalancer:
		out.Kind, out.Balancer = KindBalancer, NodeName(n.Balancer, n.Zone)
	case vpc.TypeNAT:
		out.Kind = KindNAT
	default:
		out.Kind = KindWorkload
		if n.Attachment == nil {
			return // nobody is there
		}
		out.Host = n.Attachment.Host
	}
	b.h.Interfaces[n.ID] = out
}

// balancerFor is the load balancer that an endpoint's interface in a zone
// leads to: one of the service's with a node in that zone, the same one for
// the life of the endpoint unless it goes away.
func (b *builder) balancerFor(e *vpc.Endpoint, zone string) (*vpc.LoadBalancer, bool) {
	s, ok := vpc.Get[vpc.EndpointService](b.v, e.Service)
	if !ok {
		return nil, false
	}
	var best *vpc.LoadBalancer
	var score uint64
	for _, arn := range s.Balancers {
		lb, ok := vpc.Get[vpc.LoadBalancer](b.v, arn)
		if !ok || !slices.ContainsFunc(lb.Nodes, func(n vpc.BalancerNode) bool { return n.Zone == zone }) {
			continue
		}
		// Rendezvous hashing: adding a balancer moves only what it wins.
		if n := vpc.Num(string(e.ID) + "/" + zone + "/" + string(arn)); best == nil || n > score {
			best, score = lb, n
		}
	}
	return best, best != nil
}

func (b *builder) endpoint(v *vpc.VPC, e *vpc.Endpoint) {
	if !e.Passes() {
		return
	}
	out := Endpoint{ID: e.ID, Owner: e.Owner, VPC: e.VPC, VNI: v.VNI, Type: e.Type, Link: e.Link}
	if e.Service == "" {
		s, ok := vpc.First[vpc.CatalogueService](b.v, vpc.IndexName, e.ServiceName)
		if !ok {
			return
		}
		out.Service, out.Policy, out.Candidate, out.CandidateSet = s.Name, e.Policy, e.Candidate, e.CandidateSet
	}
	b.h.Endpoints[e.ID] = out
}

// ruleSet compiles the union of groups and answers its name, "" for no groups.
func (b *builder) ruleSet(v *vpc.VPC, groups []vpc.GroupID) string {
	if len(groups) == 0 {
		return ""
	}
	ids := slices.Clone(groups)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	name := strings.Join(func() (s []string) {
		for _, id := range ids {
			s = append(s, string(id))
		}
		return
	}(), ",")
	if _, done := b.h.RuleSets[name]; done {
		return name
	}
	var set RuleSet
	for _, id := range ids {
		g, ok := vpc.Get[vpc.SecurityGroup](b.v, id)
		if !ok {
			continue
		}
		for _, r := range g.Rules {
			rule := Rule{Protocol: r.Protocol, From: r.From, To: r.To, Peers: b.peers(v, r)}
			if len(rule.Peers) == 0 {
				continue
			}
			if r.Egress {
				set.Egress = append(set.Egress, rule)
			} else {
				set.Ingress = append(set.Ingress, rule)
			}
		}
	}
	b.h.RuleSets[name] = set
	return name
}

// peers are the prefixes a rule's peer stands for now. A group stands for the
// private addresses of the interfaces that carry it; one of another VPC while
// the peering connection to it is active.
func (b *builder) peers(v *vpc.VPC, r vpc.GroupRule) []netip.Prefix {
	switch {
	case r.Group != "":
		in := v.ID
		if r.Peering != "" {
			x, ok := vpc.Get[vpc.Peering](b.v, r.Peering)
			if !ok || x.State != vpc.PeeringActive || x.Other(v.ID) == nil {
				return nil
			}
			in = x.Other(v.ID).VPC
		}
		var out []netip.Prefix
		for n := range vpc.By[vpc.NetworkInterface](b.v, vpc.IndexGroup, r.Group) {
			if n.VPC != in {
				continue
			}
			for _, a := range n.AllAddrs() {
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
			}
		}
		slices.SortFunc(out, comparePrefix)
		return out
	case r.PrefixList != "":
		return PrefixList(b.v, r.PrefixList)
	case r.CIDR.IsValid():
		return []netip.Prefix{r.CIDR}
	}
	return nil
}

func comparePrefix(a, c netip.Prefix) int {
	if n := a.Addr().Compare(c.Addr()); n != 0 {
		return n
	}
	return a.Bits() - c.Bits()
}
