// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"net/netip"
	"slices"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestAnEndpointsNamesAnswerWithTheFamiliesOfItsRecordType(t *testing.T) {
	const (
		regional = "vpce-1-abc.vpce-svc-1.us-east-1.vpce.amazonaws.com"
		zonal    = "vpce-1-abc-us-east-1a.vpce-svc-1.us-east-1.vpce.amazonaws.com"
		private  = "api.example.com"
		cname    = "[]" + regional
	)
	for _, c := range []struct {
		kind, record               string
		regional, zonal, private   string
		catalogue, catalogueRegion string // an AWS service's private and regional name
	}{
		{"", "", "[10.0.1.20]", "[10.0.1.20]", cname, "[10.0.1.20]", "[10.0.1.20]"},
		{"dualstack", "", "[10.0.1.20 2001:db8:1::20]", "[10.0.1.20 2001:db8:1::20]", cname, "[10.0.1.20 2001:db8:1::20]", "[10.0.1.20 2001:db8:1::20]"},
		{"dualstack", "ipv4", "[10.0.1.20]", "[10.0.1.20]", cname, "[10.0.1.20]", "[10.0.1.20]"},
		{"dualstack", "ipv6", "[2001:db8:1::20]", "[2001:db8:1::20]", cname, "[2001:db8:1::20]", "[2001:db8:1::20]"},
		// Private names of this type have no AAAA record, the others do.
		{"dualstack", "service-defined", "[10.0.1.20 2001:db8:1::20]", "[10.0.1.20 2001:db8:1::20]", "[10.0.1.20]", "[10.0.1.20]", "[10.0.1.20 2001:db8:1::20]"},
		{"ipv6", "", "[2001:db8:1::20]", "[2001:db8:1::20]", cname, "[2001:db8:1::20]", "[2001:db8:1::20]"},
	} {
		v := vpctest.Of()
		space(v, "c", 0x1000, "10.0.1.5")
		space(v, "p", 0x2000, "10.0.1.5")
		e := vpc.Edit(service(v, vpc.EndpointAvailable, true))
		e.IPAddressType, e.RecordType = c.kind, c.record
		if c.kind != "" {
			e.Nodes[0].Addr6 = netip.MustParseAddr("2001:db8:1::20")
		}
		if c.kind == "ipv6" {
			e.Nodes[0].Addr = netip.Addr{}
		}
		v.Put(e)
		got := names(desired.ForHost(v, host), 0x1000)
		for name, want := range map[string]string{regional: c.regional, zonal: c.zonal, private: c.private} {
			if got[name] != want {
				t.Errorf("%s, records %s: %s is %q, want %q", e.AddressType(), e.DNSRecordType(), name, got[name], want)
			}
		}
		// The same endpoint to a service of the catalogue.
		v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PublicNames: []string{"s3.us-east-1.amazonaws.com"},
			Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.10")}})
		e = vpc.Edit(e)
		e.Service, e.ServiceName = "", "com.amazonaws.us-east-1.s3"
		v.Put(e)
		got = names(desired.ForHost(v, host), 0x1000)
		for name, want := range map[string]string{"s3.us-east-1.amazonaws.com": c.catalogue, "vpce-1-abc.s3.us-east-1.vpce.amazonaws.com": c.catalogueRegion} {
			if got[name] != want {
				t.Errorf("%s, records %s: %s is %q, want %q", e.AddressType(), e.DNSRecordType(), name, got[name], want)
			}
		}
	}
}

// Of a zone without healthy targets neither address is answered.
func TestARegionalNameLeavesOutBothAddressesOfAZone(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.5")
	e := vpc.Edit(service(v, vpc.EndpointAvailable, true))
	e.IPAddressType = vpc.DualStack
	e.Nodes[0].Addr6 = netip.MustParseAddr("2001:db8:1::20")
	e.Nodes = append(e.Nodes, vpc.EndpointNode{Subnet: "subnet-c", Zone: "us-east-1b", Interface: "eni-epb",
		Addr: netip.MustParseAddr("10.0.2.20"), Addr6: netip.MustParseAddr("2001:db8:2::20")})
	v.Put(e)
	v.Put(&vpc.Health{TargetGroup: tg, Target: "i-p", Port: 8080, Nodes: []vpc.NodeHealth{{Zone: "us-east-1a", Healthy: true}}}) // only zone a has a load balancer's node
	got := names(desired.ForHost(v, host), 0x1000)
	if name := "vpce-1-abc.vpce-svc-1.us-east-1.vpce.amazonaws.com"; got[name] != "[10.0.1.20 2001:db8:1::20]" {
		t.Errorf("%s is %s", name, got[name])
	}
}

func TestABalancersNamesHaveItsIPv6Addresses(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.5")
	service(v, vpc.EndpointAvailable, true)
	b, _ := vpc.Get[vpc.LoadBalancer](v, lb)
	b = vpc.Edit(b)
	b.DualStack, b.Nodes[0].Addr6 = true, netip.MustParseAddr("2001:db8:2::9")
	b.Nodes = append(b.Nodes, vpc.BalancerNode{Zone: "us-east-1b", Subnet: "subnet-p", Interface: "eni-nodeb", Addr: netip.MustParseAddr("10.0.2.9"), Addr6: netip.MustParseAddr("2001:db8:2:1::9")})
	v.Put(b)
	got := names(desired.ForHost(v, host), 0x2000)
	for name, want := range map[string]string{
		"web-0011.elb.us-east-1.amazonaws.com":            "[10.0.1.9 2001:db8:2::9 10.0.2.9 2001:db8:2:1::9]",
		"us-east-1b.web-0011.elb.us-east-1.amazonaws.com": "[10.0.2.9 2001:db8:2:1::9]",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}

// AWS's names of load balancers and of endpoints live for a minute, also those of a
// peered VPC: so long does a client keep the addresses of a zone that has failed.
func TestBalancersAndEndpointsNamesLiveForAMinute(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.5")
	space(v, "o", 0x3000, "10.0.1.5")
	service(v, vpc.EndpointAvailable, true)
	v.Put(&vpc.Peering{ID: "pcx-1", State: vpc.PeeringActive, Requester: vpc.PeeringSide{VPC: "vpc-c"}, Accepter: vpc.PeeringSide{VPC: "vpc-o"}})
	v.Put(&vpc.Peering{ID: "pcx-2", State: vpc.PeeringActive, Requester: vpc.PeeringSide{VPC: "vpc-p"}, Accepter: vpc.PeeringSide{VPC: "vpc-o"}})
	balancer := []string{"web-0011.elb.us-east-1.amazonaws.com", "us-east-1a.web-0011.elb.us-east-1.amazonaws.com"}
	endpoint := []string{"vpce-1-abc.vpce-svc-1.us-east-1.vpce.amazonaws.com", "vpce-1-abc-us-east-1a.vpce-svc-1.us-east-1.vpce.amazonaws.com"}
	h := desired.ForHost(v, host)
	for vni, want := range map[vpc.VNI][]string{
		0x1000: append([]string{"api.example.com"}, endpoint...), // private DNS
		0x2000: balancer,
		0x3000: slices.Concat(balancer, endpoint),
	} {
		for _, name := range want {
			i := slices.IndexFunc(h.VPCs[vni].Records, func(r desired.Record) bool { return r.Name == name })
			if i < 0 {
				t.Errorf("%d: there is no %s", vni, name)
			} else if ttl := h.VPCs[vni].Records[i].TTL; ttl != 60 {
				t.Errorf("%d: %s lives for %d s, want 60", vni, name, ttl)
			}
		}
	}
}

func TestAServicesPublicNamesAnswerWithTheFamiliesItsGatewayEndpointsChose(t *testing.T) {
	const v4, v6, both = "[198.51.100.10]", "[2001:db8:53::10]", "[198.51.100.10 2001:db8:53::10]"
	type chosen struct {
		record string
		state  vpc.EndpointState
	}
	for what, c := range map[string]struct {
		gateways  []chosen
		hostnames bool
		plain     string
		dual      string
	}{
		"no endpoint":           {nil, true, v4, both},
		"service-defined":       {[]chosen{{"", vpc.EndpointAvailable}}, true, v4, both},
		"ipv4":                  {[]chosen{{"ipv4", vpc.EndpointAvailable}}, true, v4, v4},
		"ipv6":                  {[]chosen{{"ipv6", vpc.EndpointAvailable}}, true, v6, v6},
		"dualstack":             {[]chosen{{"dualstack", vpc.EndpointPending}}, true, both, both},
		"two together":          {[]chosen{{"ipv4", vpc.EndpointAvailable}, {"ipv6", vpc.EndpointAvailable}}, true, both, both},
		"one that is going":     {[]chosen{{"ipv6", vpc.EndpointDeleting}}, true, v4, both},
		"without DNS hostnames": {[]chosen{{"ipv6", vpc.EndpointAvailable}}, false, v4, both},
	} {
		v := vpctest.Of()
		space(v, "c", 0x1000, "10.0.1.5")
		space(v, "x", 0x2000, "10.0.1.5")
		v.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
		n, _ := vpc.Get[vpc.VPC](v, "vpc-c")
		n = vpc.Edit(n)
		n.EnableDNSHostnames = c.hostnames
		v.Put(n)
		v.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-4", PrefixList6: "pl-6",
			Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Prefixes6: []netip.Prefix{netip.MustParsePrefix("2001:db8:53::/48")},
			Addresses:   []netip.Addr{netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("2001:db8:53::10")},
			PublicNames: []string{"s3.us-east-1.amazonaws.com", "*.s3.dualstack.us-east-1.amazonaws.com"},
		})
		for i, g := range c.gateways {
			v.Put(&vpc.Endpoint{ID: vpc.EndpointID("vpce-g" + string(rune('0'+i))), VPC: "vpc-c", Type: vpc.GatewayEndpoint,
				ServiceName: "com.amazonaws.us-east-1.s3", State: g.state, IPAddressType: vpc.DualStack, RecordType: g.record})
		}
		h := desired.ForHost(v, host)
		got := names(h, 0x1000)
		if got["s3.us-east-1.amazonaws.com"] != c.plain || got["*.s3.dualstack.us-east-1.amazonaws.com"] != c.dual {
			t.Errorf("%s: %s and %s, want %s and %s", what, got["s3.us-east-1.amazonaws.com"], got["*.s3.dualstack.us-east-1.amazonaws.com"], c.plain, c.dual)
		}
		if other := names(h, 0x2000); other["s3.us-east-1.amazonaws.com"] != v4 {
			t.Errorf("%s: in another VPC the name is %s", what, other["s3.us-east-1.amazonaws.com"])
		}
	}
}

func TestAGatewayEndpointRoutesTheServicesIPv6Prefixes(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	p4, p6 := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:53::/48")
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-4", PrefixList6: "pl-6",
		Prefixes: []netip.Prefix{p4}, Prefixes6: []netip.Prefix{p6}})
	v.Put(&vpc.Endpoint{ID: "vpce-g", VPC: "vpc-c", Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable, IPAddressType: vpc.DualStack})
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{
		{PrefixList: "pl-4", TargetKind: vpc.TargetEndpoint, Target: "vpce-g"}, {PrefixList: "pl-6", TargetKind: vpc.TargetEndpoint, Target: "vpce-g"},
	}})
	v.Put(&vpc.SecurityGroup{ID: "sg-c", VPC: "vpc-c", Rules: []vpc.GroupRule{{Protocol: vpc.TCP, From: 443, To: 443, PrefixList: "pl-6", Egress: true}}})
	h := desired.ForHost(v, host)
	want := []desired.Route{{Prefix: p4, Kind: desired.RouteEndpoint, Endpoint: "vpce-g"}, {Prefix: p6, Kind: desired.RouteEndpoint, Endpoint: "vpce-g"}}
	if got := h.RouteTables["rtb-c"].Routes; !slices.Equal(got, want) {
		t.Errorf("routes %+v, want %+v", got, want)
	}
	if got := h.RuleSets["sg-c"].Egress; len(got) != 1 || !slices.Equal(got[0].Peers, []netip.Prefix{p6}) {
		t.Errorf("the rule for the list is %+v", got)
	}
	if got := h.Services["s3"].Prefixes; !slices.Equal(got, []netip.Prefix{p4, p6}) {
		t.Errorf("the service has %v", got)
	}
}
