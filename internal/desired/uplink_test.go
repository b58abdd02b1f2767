// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestUplinkLeadsToWhatIsReachedHere(t *testing.T) {
	const (
		mine, peer = vpc.VNI(100), vpc.VNI(200)
		internet   = vpc.InternetGatewayID("igw-1")
		egress     = vpc.EgressOnlyGatewayID("eigw-1")
	)
	addr := netip.MustParseAddr
	for _, c := range []struct {
		name     string
		gateways []vpc.Object
		want     []string
	}{
		{"no gateway", nil, []string{"192.0.2.1/32", "192.0.2.9/32"}},
		{"internet gateway", []vpc.Object{&vpc.InternetGateway{ID: internet, VPC: "vpc-1"}}, []string{"192.0.2.1/32", "192.0.2.9/32", "2001:db8:1::/64"}},
		{"egress-only gateway", []vpc.Object{&vpc.EgressOnlyGateway{ID: egress, VPC: "vpc-1"}}, []string{"192.0.2.1/32", "192.0.2.9/32", "2001:db8:1::/64"}},
		{"gateways of others", []vpc.Object{&vpc.InternetGateway{ID: internet, VPC: "vpc-2"}, &vpc.InternetGateway{ID: "igw-2"}}, []string{"192.0.2.1/32", "192.0.2.9/32"}},
	} {
		b := &builder{v: vpctest.Of(c.gateways...), host: "h1", h: Empty()}
		b.h.VPCs[mine], b.h.VPCs[peer] = VPC{ID: "vpc-1", VNI: mine}, VPC{ID: "vpc-2", VNI: peer}
		b.h.Subnets["subnet-1"] = Subnet{ID: "subnet-1", VNI: mine, IPv6: netip.MustParsePrefix("2001:db8:1::/64")}
		b.h.Subnets["subnet-2"] = Subnet{ID: "subnet-2", VNI: mine} // IPv4 only
		b.h.Subnets["subnet-3"] = Subnet{ID: "subnet-3", VNI: peer, IPv6: netip.MustParsePrefix("2001:db8:2::/64")}
		b.h.Workloads["eni-here"] = Workload{Interface: "eni-here"}
		b.h.Workloads["eni-private"] = Workload{Interface: "eni-private"}
		for id, n := range map[vpc.InterfaceID]Interface{
			"eni-here":    {VNI: mine, Kind: KindWorkload, Public: addr("192.0.2.1")},
			"eni-private": {VNI: mine, Kind: KindWorkload},
			"eni-there":   {VNI: mine, Kind: KindWorkload, Public: addr("192.0.2.2"), Host: "h2"},
			"eni-nat":     {VNI: mine, Kind: KindNAT, Public: addr("192.0.2.9")},
			"eni-nat2":    {VNI: mine, Kind: KindNAT}, // a private one
			"eni-nat3":    {VNI: peer, Kind: KindNAT, Public: addr("192.0.2.10")},
		} {
			b.h.Interfaces[id] = n
		}
		b.uplink()
		if got := slices.Sorted(maps.Keys(b.h.Uplink)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		for text, p := range b.h.Uplink {
			if p.String() != text {
				t.Errorf("%s: %s is under the name %s", c.name, p, text)
			}
		}
	}
}

func TestUplinkTravelsAsAChange(t *testing.T) {
	a, b := Empty(), Empty()
	a.Revision, b.Revision = 1, 2
	gone, stays, comes := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("2001:db8:1::/64")
	a.Uplink = map[string]netip.Prefix{gone.String(): gone, stays.String(): stays}
	b.Uplink = map[string]netip.Prefix{stays.String(): stays, comes.String(): comes}
	d, err := Diff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Set["uplink"]) != 1 || len(d.Delete["uplink"]) != 1 {
		t.Errorf("the change is %+v", d)
	}
	got, err := Apply(a, d)
	if err != nil || !maps.Equal(got.Uplink, b.Uplink) {
		t.Errorf("%v, %v", got.Uplink, err)
	}
}
