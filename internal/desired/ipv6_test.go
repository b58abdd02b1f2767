// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// dual adds IPv6 to the space c: a block of the VPC and of the subnet, and an
// address.
func dual(v *vpctest.View) (block, subnet netip.Prefix, addr netip.Addr) {
	block, subnet, addr = netip.MustParsePrefix("2001:db8::/56"), netip.MustParsePrefix("2001:db8:0:1::/64"), netip.MustParseAddr("2001:db8:0:1::5")
	o, _ := vpc.Get[vpc.VPC](v, "vpc-c")
	o = vpc.Edit(o)
	o.IPv6 = []vpc.CIDRAssociation{{CIDR: block}}
	v.Put(o)
	s, _ := vpc.Get[vpc.Subnet](v, "subnet-c")
	s = vpc.Edit(s)
	s.IPv6 = vpc.CIDRAssociation{CIDR: subnet}
	v.Put(s)
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-c")
	n = vpc.Edit(n)
	n.IPv6 = []netip.Addr{addr}
	n.Tracking = vpc.ConnectionTracking{TCPEstablished: 60}
	v.Put(n)
	return
}

// An IPv6 address is in every place where an interface's address is, but for
// names: AWS has none by default.
func TestIPv6AddressesAreEverywhere(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	v.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	if w := desired.ForHost(v, host).Workloads["eni-c"]; w.IPv6 != nil || w.Subnet6.IsValid() {
		t.Errorf("without IPv6 the workload is %+v", w)
	}
	block, subnet, addr := dual(v)
	h := desired.ForHost(v, host)
	if w := h.Workloads["eni-c"]; !slices.Equal(w.IPv6, []netip.Addr{addr}) || w.Subnet6 != subnet {
		t.Errorf("workload: %+v", w)
	}
	if i := h.Interfaces["eni-c"]; !slices.Equal(i.IPv6, []netip.Addr{addr}) || i.Tracking.TCPEstablished != 60 {
		t.Errorf("interface: %+v", i)
	}
	if s := h.Subnets["subnet-c"]; s.IPv6 != subnet {
		t.Errorf("subnet: %+v", s)
	}
	if s := h.VPCs[0x1000]; !slices.Equal(s.CIDRs, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), block}) {
		t.Errorf("blocks: %v", s.CIDRs)
	}
	if p := h.RuleSets["sg-c"].Ingress[0].Peers; !slices.Equal(p, []netip.Prefix{netip.MustParsePrefix("10.0.1.5/32"), netip.PrefixFrom(addr, 128)}) {
		t.Errorf("members of the group: %v", p)
	}
	for _, r := range h.VPCs[0x1000].Records {
		if slices.Contains(r.Addrs, addr) {
			t.Errorf("a name for the address: %+v", r)
		}
	}
}

func TestIPv6RulesAndRoutes(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	dual(v)
	any6, some6 := netip.MustParsePrefix("::/0"), netip.MustParsePrefix("2001:db8:ffff::/48")
	v.Put(&vpc.SecurityGroup{ID: "sg-c", VPC: "vpc-c", Rules: []vpc.GroupRule{{Egress: true, Protocol: vpc.AllProtocols, From: -1, To: -1, CIDR: any6}}})
	a, _ := vpc.Get[vpc.NetworkACL](v, "acl-c")
	a = vpc.Edit(a)
	a.Entries = []vpc.ACLEntry{{Number: 101, Egress: true, Allow: true, Protocol: vpc.AllProtocols, CIDR: any6}}
	v.Put(a)
	v.Put(&vpc.EgressOnlyGateway{ID: "eigw-1", VPC: "vpc-c"})
	v.Put(&vpc.InternetGateway{ID: "igw-1", VPC: "vpc-c"})
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-4", PrefixList6: "pl-6", Prefixes6: []netip.Prefix{some6}})
	// Blocks inside the VPC and AWS's own are in the list and never routed.
	list(v, "pl-1", 1, "2001:db8:0:1::/64", "2001:db8:1::/48", "fd00:ec2::254/128")
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{
		{CIDR: any6, TargetKind: vpc.TargetEgressOnly, Target: "eigw-1"},
		{PrefixList: "pl-1", TargetKind: vpc.TargetInternet, Target: "igw-1"},
		{PrefixList: "pl-6", TargetKind: vpc.TargetENI, Target: "eni-c"},
	}})
	h := desired.ForHost(v, host)
	want := []desired.Route{
		{Prefix: any6, Kind: desired.RouteEgress},
		{Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Kind: desired.RouteInternet},
		{Prefix: some6, Kind: desired.RouteInterface, Interface: "eni-c"},
	}
	if d := cmp.Diff(want, h.RouteTables["rtb-c"].Routes, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error("routes:", d)
	}
	if r := h.RuleSets["sg-c"].Egress; len(r) != 1 || !slices.Equal(r[0].Peers, []netip.Prefix{any6}) {
		t.Errorf("rules: %+v", r)
	}
	if r := h.ACLs["acl-c"].Out; len(r) != 1 || r[0].CIDR != any6 {
		t.Errorf("entries: %+v", r)
	}
	g, _ := vpc.Get[vpc.EgressOnlyGateway](v, "eigw-1")
	v.Delete(g)
	if r := desired.ForHost(v, host).RouteTables["rtb-c"].Routes[0]; r.Kind != desired.RouteBlackhole {
		t.Errorf("the route to a gateway that is gone: %+v", r)
	}
}

// An Elastic IP is its interface's public address, a NAT gateway's too; the
// interface of a NAT gateway is on every host.
func TestPublicAddressesAndNATGateways(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	nat, public := netip.MustParseAddr("10.0.1.9"), netip.MustParseAddr("192.0.2.9")
	v.Put(&vpc.NetworkInterface{ID: "eni-nat", VPC: "vpc-c", Subnet: "subnet-c", Zone: "us-east-1a", Type: vpc.TypeNAT, Addr: nat, MAC: "02:00:00:00:00:09"})
	v.Put(&vpc.NATGateway{ID: "nat-1", VPC: "vpc-c", State: vpc.NATAvailable, Interface: "eni-nat"})
	v.Put(&vpc.ElasticIP{ID: "eipalloc-1", Addr: public, Association: "eipassoc-1", Interface: "eni-nat"})
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{{CIDR: netip.MustParsePrefix("0.0.0.0/0"), TargetKind: vpc.TargetNAT, Target: "nat-1"}}})
	h := desired.ForHost(v, host)
	if i := h.Interfaces["eni-nat"]; i.Kind != desired.KindNAT || i.Public != public || i.Addr != nat || i.Host != "" {
		t.Errorf("the gateway's interface is %+v", i)
	}
	if r := h.RouteTables["rtb-c"].Routes; len(r) != 1 || r[0].Kind != desired.RouteNAT || r[0].Interface != "eni-nat" {
		t.Errorf("routes: %+v", r)
	}
	if i := h.Interfaces["eni-c"]; i.Public.IsValid() {
		t.Errorf("the workload's public address is %s", i.Public)
	}
}
