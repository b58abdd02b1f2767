// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// siteKind says what is at an address.
type siteKind string

const (
	atWorkload siteKind = "workload"
	atEndpoint siteKind = "endpoint"
	atBalancer siteKind = "load balancer node"
	atNAT      siteKind = "NAT gateway"
	atRouter   siteKind = "router"
	atResolver siteKind = "resolver"
)

// site is what is at an address of a VPC.
type site struct {
	kind   siteKind
	id     vpc.InterfaceID // "" for router and resolver
	eni    *vpc.NetworkInterface
	vpc    *vpc.VPC
	subnet *vpc.Subnet
	public netip.Addr // what its primary address is outside
}

// network is a view of the domain, arranged for questions about packets.
type network struct {
	view      vpc.View
	at        map[place]*site
	byID      map[vpc.InterfaceID]*site
	publicOf  map[netip.Addr]*site // by Elastic IP
	subnets   map[vpc.SubnetID]*subnet
	rules     map[vpc.GroupID]*groupRules
	peers     map[vpc.GroupID][]groupMember
	balancers map[vpc.ARN]*vpc.LoadBalancer
	listeners map[vpc.ARN][]*vpc.Listener
	peerings  []*vpc.Peering
}

// place is an address of a VPC.
type place struct {
	vpc  vpc.VPCID
	addr netip.Addr
}

// subnet is a subnet with what judges its packets.
type subnet struct {
	*vpc.Subnet
	vpc    *vpc.VPC
	routes []route
	in     []vpc.ACLEntry
	out    []vpc.ACLEntry
}

// groupMember is a private address of an interface that carries a group.
type groupMember struct {
	vpc  vpc.VPCID
	addr netip.Addr
}

func addrsOf(n *vpc.NetworkInterface) []netip.Addr {
	var out []netip.Addr
	for _, a := range slices.Concat([]netip.Addr{n.Addr}, n.Secondary, n.IPv6) {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

func newNetwork(v vpc.View) *network {
	n := &network{
		view: v, at: map[place]*site{}, byID: map[vpc.InterfaceID]*site{}, publicOf: map[netip.Addr]*site{},
		subnets: map[vpc.SubnetID]*subnet{}, rules: map[vpc.GroupID]*groupRules{},
		peers: map[vpc.GroupID][]groupMember{}, balancers: map[vpc.ARN]*vpc.LoadBalancer{}, listeners: map[vpc.ARN][]*vpc.Listener{},
	}
	vpcs := map[vpc.VPCID]*vpc.VPC{}
	for o := range vpc.All[vpc.VPC](v) {
		vpcs[o.ID] = o
	}
	tables := map[vpc.SubnetID]*vpc.RouteTable{}
	mains := map[vpc.VPCID]*vpc.RouteTable{}
	for t := range vpc.All[vpc.RouteTable](v) {
		for _, a := range t.Associations {
			tables[a.Subnet] = t
		}
		if t.Main != "" {
			mains[t.VPC] = t
		}
	}
	for p := range vpc.All[vpc.Peering](v) {
		if p.State == vpc.PeeringActive {
			n.peerings = append(n.peerings, p)
		}
	}
	acls := map[vpc.SubnetID]*vpc.NetworkACL{}
	for a := range vpc.All[vpc.NetworkACL](v) {
		for _, s := range a.Associations {
			acls[s.Subnet] = a
		}
	}
	expanded := map[vpc.RouteTableID][]route{}
	for s := range vpc.All[vpc.Subnet](v) {
		out := &subnet{Subnet: s, vpc: vpcs[s.VPC]}
		t := tables[s.ID]
		if t == nil {
			t = mains[s.VPC]
		}
		if t != nil {
			if _, done := expanded[t.ID]; !done {
				expanded[t.ID] = n.expand(t, vpcs)
			}
			out.routes = expanded[t.ID]
		}
		if a := acls[s.ID]; a != nil {
			out.in, out.out = inOrder(a.Entries, false), inOrder(a.Entries, true)
		}
		n.subnets[s.ID] = out
		n.at[place{s.VPC, s.RouterAddr()}] = &site{kind: atRouter, vpc: vpcs[s.VPC], subnet: s}
		if s.IPv6.CIDR.IsValid() {
			n.at[place{s.VPC, s.IPv6.CIDR.Addr().Next()}] = &site{kind: atRouter, vpc: vpcs[s.VPC], subnet: s}
		}
	}
	for i := range vpc.All[vpc.NetworkInterface](v) {
		n.add(i, vpcs[i.VPC])
	}
	for id, o := range vpcs {
		if !o.EnableDNSSupport {
			continue
		}
		r := &site{kind: atResolver, vpc: o}
		n.at[place{id, o.ResolverAddr()}] = r
		n.at[place{id, resolver4}] = r
		if len(o.IPv6) > 0 {
			n.at[place{id, resolver6}] = r
		}
	}
	for e := range vpc.All[vpc.ElasticIP](v) {
		if s := n.byID[e.Interface]; e.Interface != "" && s != nil {
			s.public = e.Addr
			n.publicOf[e.Addr] = s
		}
	}
	for lb := range vpc.All[vpc.LoadBalancer](v) {
		n.balancers[lb.ARN] = lb
	}
	for l := range vpc.All[vpc.Listener](v) {
		n.listeners[l.Balancer] = append(n.listeners[l.Balancer], l)
	}
	for g := range vpc.All[vpc.SecurityGroup](v) {
		n.rules[g.ID] = &groupRules{group: g}
		for _, r := range g.Rules {
			n.rules[g.ID].add(n, g, r)
		}
	}
	return n
}

// The resolver's addresses that are the same in every VPC.
var (
	resolver4 = netip.MustParseAddr("169.254.169.253")
	resolver6 = netip.MustParseAddr("fd00:ec2::253")
)

func (n *network) add(i *vpc.NetworkInterface, v *vpc.VPC) {
	for _, a := range addrsOf(i) {
		for _, g := range i.Groups {
			n.peers[g] = append(n.peers[g], groupMember{i.VPC, a})
		}
	}
	s := &site{id: i.ID, eni: i, vpc: v}
	if sub, ok := n.subnets[i.Subnet]; ok {
		s.subnet = sub.Subnet
	}
	switch i.Type {
	case vpc.TypeEndpoint, vpc.TypeResolver:
		s.kind = atEndpoint
	case vpc.TypeBalancer:
		s.kind = atBalancer
	case vpc.TypeNAT:
		s.kind = atNAT
	default:
		if !n.runs(i) {
			return // nobody is there
		}
		s.kind = atWorkload
	}
	n.byID[i.ID] = s
	for _, a := range addrsOf(i) {
		n.at[place{i.VPC, a}] = s
	}
}

// runs reports whether something is behind an interface.
func (n *network) runs(i *vpc.NetworkInterface) bool { return i.Attachment != nil }

// find is what is at an address of a VPC, nil for nothing.
func (n *network) find(v *vpc.VPC, a netip.Addr) *site { return n.at[place{v.ID, a}] }

// subnetOf is the subnet of a site with its routes and ACL.
func (n *network) subnetOf(s *site) *subnet {
	if s == nil || s.subnet == nil {
		return nil
	}
	return n.subnets[s.subnet.ID]
}

// prefixes are the current blocks of a list, a catalogue service's or a customer's.
func (n *network) prefixes(id vpc.PrefixListID) []netip.Prefix {
	for s := range vpc.All[vpc.CatalogueService](n.view) {
		if s.PrefixList == id {
			return s.Prefixes
		}
		if s.PrefixList6 == id {
			return s.Prefixes6
		}
	}
	l, ok := vpc.Get[vpc.PrefixList](n.view, id)
	if !ok {
		return nil
	}
	var out []netip.Prefix
	for _, e := range vpc.ListEntries(n.view, l) {
		out = append(out, e.CIDR)
	}
	return out
}
