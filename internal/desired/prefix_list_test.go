// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// list writes a customer's list whose current version has the blocks.
func list(v *vpctest.View, id vpc.PrefixListID, version int64, cidrs ...string) {
	l := &vpc.PrefixList{ID: id, Owner: "c", MaxEntries: 10, Version: version}
	n := &vpc.PrefixListVersion{List: id, Number: version}
	for _, c := range cidrs {
		p := netip.MustParsePrefix(c)
		l.IPv6 = p.Addr().Is6()
		n.Entries = append(n.Entries, vpc.ListEntry{CIDR: p})
	}
	v.Put(l)
	v.Put(n)
}

func TestCustomersPrefixListsAreExpandedToTheirCurrentVersion(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	v.Put(&vpc.SecurityGroup{ID: "sg-c", Owner: "c", VPC: "vpc-c", Rules: []vpc.GroupRule{
		{Protocol: vpc.TCP, From: 80, To: 80, PrefixList: "pl-1", PrefixListOwner: "c"},
		{Protocol: vpc.TCP, From: 81, To: 81, PrefixList: "pl-6", PrefixListOwner: "c"},
	}})
	v.Put(&vpc.RouteTable{ID: "rtb-c", Owner: "c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{
		{PrefixList: "pl-1", TargetKind: vpc.TargetENI, Target: "eni-c"},
		{PrefixList: "pl-6", TargetKind: vpc.TargetENI, Target: "eni-c"},
	}})
	list(v, "pl-1", 1, "192.0.2.0/24", "198.51.100.0/24")
	list(v, "pl-6", 1, "2001:db8::/32")
	six := netip.MustParsePrefix("2001:db8::/32")
	for _, want := range [][]string{{"192.0.2.0/24", "198.51.100.0/24"}, {"203.0.113.0/24"}, nil} {
		var rules []desired.Rule
		var routes []desired.Route
		if want != nil {
			rules = []desired.Rule{{Protocol: vpc.TCP, From: 80, To: 80}}
		}
		for _, c := range want {
			p := netip.MustParsePrefix(c)
			rules[0].Peers = append(rules[0].Peers, p)
			routes = append(routes, desired.Route{Prefix: p, Kind: desired.RouteInterface, Interface: "eni-c"})
		}
		rules = append(rules, desired.Rule{Protocol: vpc.TCP, From: 81, To: 81, Peers: []netip.Prefix{six}})
		routes = append(routes, desired.Route{Prefix: six, Kind: desired.RouteInterface, Interface: "eni-c"})
		h := desired.ForHost(v, host)
		if d := cmp.Diff(rules, h.RuleSets["sg-c"].Ingress, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
			t.Error("rules:", d)
		}
		if d := cmp.Diff(routes, h.RouteTables["rtb-c"].Routes, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
			t.Error("routes:", d)
		}
		// The next version, and then one without entries.
		l, _ := vpc.Get[vpc.PrefixList](v, "pl-1")
		if l.Version == 1 {
			list(v, "pl-1", 2, "203.0.113.0/24")
		} else {
			list(v, "pl-1", 3)
		}
	}
}

func TestPrecedenceOfRoutesWithPrefixLists(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	x, _ := vpc.Get[vpc.NetworkInterface](v, "eni-c")
	for _, id := range []vpc.InterfaceID{"eni-1", "eni-2"} {
		n := vpc.Edit(x)
		n.ID, n.Addr = id, x.Addr.Next()
		v.Put(n)
	}
	list(v, "pl-1", 1, "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/25")
	list(v, "pl-2", 1, "192.0.2.0/24", "203.0.113.0/24")
	routes := []vpc.Route{
		{PrefixList: "pl-2", TargetKind: vpc.TargetENI, Target: "eni-2"},
		{PrefixList: "pl-1", TargetKind: vpc.TargetENI, Target: "eni-1"},
		{CIDR: netip.MustParsePrefix("198.51.100.0/24"), TargetKind: vpc.TargetENI, Target: "eni-c"},
	}
	to := func(cidr string, id vpc.InterfaceID) desired.Route {
		return desired.Route{Prefix: netip.MustParsePrefix(cidr), Kind: desired.RouteInterface, Interface: id}
	}
	want := []desired.Route{
		to("192.0.2.0/24", "eni-1"),    // two lists: the lower id, however the routes are ordered
		to("198.51.100.0/24", "eni-c"), // a CIDR of its own beats a list
		to("203.0.113.0/24", "eni-2"),  // and of different lengths there are both
		to("203.0.113.0/25", "eni-1"),
	}
	for range 2 {
		v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: routes})
		if d := cmp.Diff(want, desired.ForHost(v, host).RouteTables["rtb-c"].Routes, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
			t.Error(d)
		}
		routes = []vpc.Route{routes[2], routes[1], routes[0]}
	}
}

// The entries of a list change after the route was made: none of them takes
// the VPC's own addresses to a gateway.
func TestAListLeadsNoAddressOfTheVPCToAGateway(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	list(v, "pl-1", 1, "10.0.1.0/24", "192.0.2.0/24")
	v.Put(&vpc.InternetGateway{ID: "igw-1", VPC: "vpc-c"})
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{{PrefixList: "pl-1", TargetKind: vpc.TargetInternet, Target: "igw-1"}}})
	want := []desired.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Kind: desired.RouteInternet}}
	if d := cmp.Diff(want, desired.ForHost(v, host).RouteTables["rtb-c"].Routes, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
}
