// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// route is a row of a table for one block, with its target looked up.
type route struct {
	prefix   netip.Prefix
	kind     vpc.TargetKind
	gone     bool // its target is: a blackhole
	endpoint *vpc.Endpoint
	eni      vpc.InterfaceID
	nat      *vpc.NATGateway
	peer     *vpc.VPC
	peering  *vpc.Peering
}

func (r *route) String() string {
	s := r.prefix.String() + " to " + string(r.kind)
	if r.gone {
		s += " (blackhole)"
	}
	return s
}

// expand gives the rows of a table, prefix lists written out, the preferred
// first: a longer prefix before a shorter one, a row's own block before an
// equal one of a list, and of two lists the one with the lower id.
func (n *network) expand(t *vpc.RouteTable, vpcs map[vpc.VPCID]*vpc.VPC) []route {
	rows := slices.Clone(t.Routes)
	slices.SortStableFunc(rows, func(a, b vpc.Route) int { return strings.Compare(string(a.PrefixList), string(b.PrefixList)) })
	var out []route
	for _, r := range rows {
		if r.PrefixList == "" {
			out = append(out, n.resolve(t, r, r.CIDR, vpcs))
			continue
		}
		for _, p := range n.prefixes(r.PrefixList) {
			if r.CustomerList() && r.TargetKind != vpc.TargetENI && n.inside(vpcs[t.VPC], p) {
				continue // as a row of its own it would have been refused
			}
			out = append(out, n.resolve(t, r, p, vpcs))
		}
	}
	slices.SortStableFunc(out, func(a, b route) int { return b.prefix.Bits() - a.prefix.Bits() })
	return out
}

// inside reports whether a block is within one of a VPC's.
func (n *network) inside(v *vpc.VPC, p netip.Prefix) bool {
	return v != nil && slices.ContainsFunc(slices.Concat(v.CIDRs, v.IPv6), func(a vpc.CIDRAssociation) bool {
		return a.CIDR.Bits() <= p.Bits() && a.CIDR.Contains(p.Addr())
	})
}

func (n *network) resolve(t *vpc.RouteTable, r vpc.Route, p netip.Prefix, vpcs map[vpc.VPCID]*vpc.VPC) route {
	out := route{prefix: p, kind: r.TargetKind, gone: true}
	switch r.TargetKind {
	case vpc.TargetLocal:
		out.gone = false
	case vpc.TargetEndpoint:
		if e, ok := vpc.Get[vpc.Endpoint](n.view, r.Target); ok && e.State.Carries() {
			out.endpoint, out.gone = e, false
		}
	case vpc.TargetENI:
		if i, ok := vpc.Get[vpc.NetworkInterface](n.view, r.Target); ok && n.runs(i) {
			out.eni, out.gone = i.ID, false
		}
	case vpc.TargetInternet:
		if g, ok := vpc.Get[vpc.InternetGateway](n.view, r.Target); ok && g.VPC == t.VPC {
			out.gone = false
		}
	case vpc.TargetEgressOnly:
		if g, ok := vpc.Get[vpc.EgressOnlyGateway](n.view, r.Target); ok && g.VPC == t.VPC {
			out.gone = false
		}
	case vpc.TargetPeering:
		if x, ok := vpc.Get[vpc.Peering](n.view, r.Target); ok && x.State == vpc.PeeringActive {
			if other := vpcs[x.Other(t.VPC).VPC]; other != nil {
				out.peer, out.peering, out.gone = other, x, false
			}
		}
	case vpc.TargetNAT:
		if g, ok := vpc.Get[vpc.NATGateway](n.view, r.Target); ok && g.State == vpc.NATAvailable {
			out.nat, out.gone = g, false
		}
	}
	return out
}

// reserved are the addresses of AWS's own services in every VPC, which no route
// leads to.
var reserved = []netip.Prefix{netip.MustParsePrefix("169.254.168.0/22"), netip.MustParsePrefix("fd00:ec2::/32")}

// routeTo is the row of a subnet's table that a destination takes, nil for none.
func (s *subnet) routeTo(a netip.Addr) *route {
	for _, p := range reserved {
		if p.Contains(a) {
			return nil
		}
	}
	for i, r := range s.routes {
		if r.prefix.Contains(a) {
			return &s.routes[i]
		}
	}
	return nil
}
