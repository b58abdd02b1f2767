// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// answers is what a VPC's records say, with what sort of record says it.
func answers(h desired.Host, vni vpc.VNI) map[string]string {
	out := map[string]string{}
	for _, r := range h.VPCs[vni].Records {
		s := fmt.Sprint(r.Addrs)
		switch {
		case r.PTR != "":
			s = "PTR " + r.PTR
		case r.CNAME != "":
			s = "CNAME " + r.CNAME
		}
		if r.InboundOnly {
			s += " inbound"
		}
		if was, twice := out[r.Name]; twice {
			s = was + " and " + s
		}
		out[r.Name] = s
	}
	return out
}

func TestInstancesHaveTheNamesTheirOptionsAskFor(t *testing.T) {
	const (
		ip4, ip4b = "ip-10-0-1-5.ec2.internal", "ip-10-0-1-6.ec2.internal"
		back4     = "5.1.0.10.in-addr.arpa"
		back4b    = "6.1.0.10.in-addr.arpa"
		back6     = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
		id        = "i-c.ec2.internal"
		v4, v6    = "10.0.1.5", "2001:db8:0:1::5"
	)
	always := map[string]string{ip4: "[" + v4 + "]", ip4b: "[10.0.1.6]", back4b: "PTR " + ip4b}
	for what, c := range map[string]struct {
		options vpc.HostnameOptions
		want    map[string]string
	}{
		"ip-name":                 {vpc.HostnameOptions{}, map[string]string{back4: "PTR " + ip4}},
		"ip-name with A":          {vpc.HostnameOptions{ResourceNameA: true}, map[string]string{back4: "PTR " + ip4, id: "[" + v4 + "]"}},
		"ip-name with AAAA":       {vpc.HostnameOptions{ResourceNameAAAA: true}, map[string]string{back4: "PTR " + ip4, id: "[" + v6 + "]", back6: "PTR " + id}},
		"resource-name":           {vpc.HostnameOptions{HostnameType: "resource-name"}, map[string]string{back4: "PTR " + ip4}},
		"resource-name with A":    {vpc.HostnameOptions{HostnameType: "resource-name", ResourceNameA: true}, map[string]string{back4: "PTR " + id, id: "[" + v4 + "]"}},
		"resource-name with both": {vpc.HostnameOptions{HostnameType: "resource-name", ResourceNameA: true, ResourceNameAAAA: true}, map[string]string{back4: "PTR " + id, id: "[" + v4 + " " + v6 + "]", back6: "PTR " + id}},
	} {
		v := vpctest.Of(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
		space(v, "c", 0x1000, v4)
		i, _ := vpc.Get[vpc.Instance](v, "i-c")
		i = vpc.Edit(i)
		i.HostnameOptions = c.options
		v.Put(i)
		n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-c")
		n = vpc.Edit(n)
		n.Secondary, n.IPv6 = []netip.Addr{netip.MustParseAddr("10.0.1.6")}, []netip.Addr{netip.MustParseAddr(v6)}
		v.Put(n)
		for name, answer := range always {
			c.want[name] = answer
		}
		if d := cmp.Diff(c.want, answers(desired.ForHost(v, host), 0x1000)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	// Elsewhere the domain is the region's; a second interface has its IP name alone.
	v := vpctest.Of(&vpc.Region{Name: "eu-west-1", Domain: "vpce.amazonaws.com"})
	space(v, "c", 0x1000, v4)
	v.Put(&vpc.Instance{ID: "i-c", State: vpc.InstanceRunning, Primary: "eni-other", Host: host, HostnameOptions: vpc.HostnameOptions{ResourceNameA: true}})
	want := map[string]string{"ip-10-0-1-5.eu-west-1.compute.internal": "[" + v4 + "]", back4: "PTR ip-10-0-1-5.eu-west-1.compute.internal"}
	if d := cmp.Diff(want, answers(desired.ForHost(v, host), 0x1000)); d != "" {
		t.Errorf("another region (-want +got):\n%s", d)
	}
}

func TestPublicNamesLeadInsideToPrivateAddresses(t *testing.T) {
	const name = "ec2-192-0-2-9.compute-1.amazonaws.com"
	for what, c := range map[string]struct {
		support, hostnames, peerHostnames, allow, active bool
		own, peer                                        string
	}{
		"hostnames":                {true, true, true, false, true, "[10.0.1.5]", "[192.0.2.9]"},
		"the peer may":             {true, true, true, true, true, "[10.0.1.5]", "[10.0.1.5]"},
		"a peer without hostnames": {true, true, false, true, true, "[10.0.1.5]", "[192.0.2.9]"},
		"no hostnames":             {true, false, true, true, true, "", ""},
		"no support":               {false, true, true, true, true, "", ""},
		"not peered":               {true, true, true, true, false, "[10.0.1.5]", ""},
	} {
		v := vpctest.Of(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
		space(v, "c", 0x1000, "10.0.1.5")
		space(v, "p", 0x2000, "10.0.1.7")
		v.Put(&vpc.ElasticIP{ID: "eipalloc-1", Addr: netip.MustParseAddr("192.0.2.9"), Association: "eipassoc-1", Interface: "eni-c"})
		set := func(id vpc.VPCID, support, hostnames bool) {
			o, _ := vpc.Get[vpc.VPC](v, id)
			o = vpc.Edit(o)
			o.EnableDNSSupport, o.EnableDNSHostnames = support, hostnames
			v.Put(o)
		}
		set("vpc-c", c.support, c.hostnames)
		set("vpc-p", true, c.peerHostnames)
		p := &vpc.Peering{ID: "pcx-1", Requester: vpc.PeeringSide{VPC: "vpc-p"}, Accepter: vpc.PeeringSide{VPC: "vpc-c", AllowDNS: c.allow}, State: vpc.PeeringRejected}
		if c.active {
			p.State = vpc.PeeringActive
		}
		v.Put(p)
		h := desired.ForHost(v, host)
		if got := answers(h, 0x1000)[name]; got != c.own {
			t.Errorf("%s: inside it is %q, want %q", what, got, c.own)
		}
		if got := answers(h, 0x2000)[name]; got != c.peer {
			t.Errorf("%s: in the peer it is %q, want %q", what, got, c.peer)
		}
	}
}

// What AWS's public zones have resolves in a peered VPC; private names do not.
func TestAPeerResolvesEndpointsAndBalancersAndNothingPrivate(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.6")
	service(v, vpc.EndpointAvailable, true)
	v.Put(&vpc.Peering{ID: "pcx-1", Requester: vpc.PeeringSide{VPC: "vpc-c"}, Accepter: vpc.PeeringSide{VPC: "vpc-p"}, State: vpc.PeeringActive})
	h := desired.ForHost(v, host)
	in, peer := answers(h, 0x1000), answers(h, 0x2000)
	for name, want := range map[string]string{
		"vpce-1-abc.vpce-svc-1.us-east-1.vpce.amazonaws.com":            "[10.0.1.20]",
		"vpce-1-abc-us-east-1a.vpce-svc-1.us-east-1.vpce.amazonaws.com": "[10.0.1.20]",
		"web-0011.elb.us-east-1.amazonaws.com":                          "[10.0.1.9]",
		"us-east-1a.web-0011.elb.us-east-1.amazonaws.com":               "[10.0.1.9]",
	} {
		if in[name] != want || peer[name] != want {
			t.Errorf("%s is %q and in the peer %q, want %q", name, in[name], peer[name], want)
		}
	}
	if peer["api.example.com"] != "" || len(h.VPCs[0x2000].PrivateZones) > 0 || peer["ip-10-0-1-5.ec2.internal"] != "" {
		t.Errorf("the peer has private names: %v", peer)
	}
}

// An address that is on its way is in no name, and the others are.
func TestNamesLeaveOutWhatIsComing(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.6")
	e := vpc.Edit(service(v, vpc.EndpointPending, true))
	e.Nodes = append(e.Nodes, vpc.EndpointNode{Subnet: "subnet-c", Zone: "us-east-1b", Interface: "eni-epb", Addr: netip.MustParseAddr("10.0.2.20")})
	e.Coming = []netip.Addr{netip.MustParseAddr("10.0.2.20")}
	v.Put(e)
	got := answers(desired.ForHost(v, host), 0x1000)
	zonal := "vpce-1-abc-us-east-1b.vpce-svc-1.us-east-1.vpce.amazonaws.com"
	if r := got["vpce-1-abc.vpce-svc-1.us-east-1.vpce.amazonaws.com"]; r != "[10.0.1.20]" || got[zonal] != "" {
		t.Errorf("regional %q, zonal %q", r, got[zonal])
	}
}

func TestInboundOnlyNamesAreBesideThePublicOnes(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.6")
	e := vpc.Edit(service(v, vpc.EndpointAvailable, true))
	e.Service, e.ServiceName = "", "com.amazonaws.us-east-1.s3"
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: e.ServiceName, PublicNames: []string{"s3.us-east-1.amazonaws.com"},
		Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.10")}})
	for _, inbound := range []bool{true, false} {
		e = vpc.Edit(e)
		e.InboundOnly = inbound
		v.Put(e)
		h := desired.ForHost(v, host)
		want, zones, inboundZones := "[10.0.1.20]", []string{"s3.us-east-1.amazonaws.com"}, []string(nil)
		if inbound {
			want, zones, inboundZones = "[198.51.100.10] and [10.0.1.20] inbound", nil, zones
		}
		if got := answers(h, 0x1000)["s3.us-east-1.amazonaws.com"]; got != want {
			t.Errorf("inbound only %v: %s, want %s", inbound, got, want)
		}
		if got := h.VPCs[0x1000]; !slices.Equal(got.PrivateZones, zones) || !slices.Equal(got.InboundZones, inboundZones) {
			t.Errorf("inbound only %v: private zones %v and %v, want %v and %v", inbound, got.PrivateZones, got.InboundZones, zones, inboundZones)
		}
	}
}
