// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

const (
	host = vpc.HostID("h1")
	lb   = vpc.ARN("arn:lb")
	tg   = vpc.ARN("arn:tg")
)

// space adds a VPC 10.0.0.0/16 with one subnet, main table, ACL, group and
// one instance, all named after n.
func space(v *vpctest.View, n string, vni vpc.VNI, addr string) {
	id, sub := vpc.VPCID("vpc-"+n), vpc.SubnetID("subnet-"+n)
	cidr := netip.MustParsePrefix("10.0.0.0/16")
	v.Put(&vpc.VPC{ID: id, Owner: vpc.AccountID(n), VNI: vni, EnableDNSSupport: true, EnableDNSHostnames: true,
		CIDRs: []vpc.CIDRAssociation{{CIDR: cidr}}})
	v.Put(&vpc.Subnet{ID: sub, VPC: id, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
	v.Put(&vpc.RouteTable{ID: vpc.RouteTableID("rtb-" + n), VPC: id, Main: "m-" + n, Routes: []vpc.Route{{CIDR: cidr, TargetKind: vpc.TargetLocal}}})
	v.Put(&vpc.NetworkACL{ID: vpc.ACLID("acl-" + n), VPC: id, Default: true, Associations: []vpc.ACLAssociation{{ID: "x", Subnet: sub}},
		Entries: []vpc.ACLEntry{{Number: 200, Protocol: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}, {Number: 100, Allow: true, Protocol: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}}})
	v.Put(&vpc.SecurityGroup{ID: vpc.GroupID("sg-" + n), VPC: id, Rules: []vpc.GroupRule{
		{Protocol: vpc.TCP, From: 80, To: 80, Group: vpc.GroupID("sg-" + n)},
	}})
	v.Put(&vpc.Instance{ID: vpc.InstanceID("i-" + n), State: vpc.InstanceRunning, Primary: vpc.InterfaceID("eni-" + n), Host: host})
	v.Put(&vpc.NetworkInterface{ID: vpc.InterfaceID("eni-" + n), VPC: id, Subnet: sub, Zone: "us-east-1a", Type: vpc.TypeInterface,
		Addr: netip.MustParseAddr(addr), MAC: "02:00:00:00:00:01", Groups: []vpc.GroupID{vpc.GroupID("sg-" + n)}, SourceDestCheck: true,
		Attachment: &vpc.Attachment{Instance: vpc.InstanceID("i-" + n), Host: host}})
}

// service adds a load balancer with a target in the provider's space, an
// endpoint service on it and a consumer's endpoint in the state.
func service(v *vpctest.View, state vpc.EndpointState, named bool) *vpc.Endpoint {
	v.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	v.Put(&vpc.LoadBalancer{ARN: lb, VPC: "vpc-p", Name: "web", Suffix: "0011", Nodes: []vpc.BalancerNode{
		{Zone: "us-east-1a", Subnet: "subnet-p", Interface: "eni-node", Addr: netip.MustParseAddr("10.0.1.9")}}})
	v.Put(&vpc.NetworkInterface{ID: "eni-node", VPC: "vpc-p", Subnet: "subnet-p", Zone: "us-east-1a", Type: vpc.TypeBalancer,
		Addr: netip.MustParseAddr("10.0.1.9"), MAC: "02:00:00:00:00:02", Balancer: lb})
	v.Put(&vpc.TargetGroup{ARN: tg, VPC: "vpc-p", TargetType: "instance", Protocol: "TCP", Port: 8080, Targets: []vpc.Target{{ID: "i-p", Port: 8080}}})
	v.Put(&vpc.Listener{ARN: "arn:l", Balancer: lb, Protocol: "TCP", Port: 80, TargetGroup: tg})
	v.Put(&vpc.EndpointService{ID: "vpce-svc-1", Owner: "p", Balancers: []vpc.ARN{lb}, PrivateDNSName: "api.example.com",
		Verification: &vpc.DNSVerification{State: "verified", Granted: true}})
	e := &vpc.Endpoint{ID: "vpce-1", Owner: "c", VPC: "vpc-c", Type: vpc.InterfaceEndpoint, Service: "vpce-svc-1", State: state, Named: named,
		Link: 0x5000, PrivateDNS: true, DNSLabel: "vpce-1-abc", Nodes: []vpc.EndpointNode{
			{Subnet: "subnet-c", Zone: "us-east-1a", Interface: "eni-ep", Addr: netip.MustParseAddr("10.0.1.20")}}}
	v.Put(e)
	v.Put(&vpc.NetworkInterface{ID: "eni-ep", VPC: "vpc-c", Subnet: "subnet-c", Zone: "us-east-1a", Type: vpc.TypeEndpoint,
		Addr: netip.MustParseAddr("10.0.1.20"), MAC: "02:00:00:00:00:03", Endpoint: e.ID, Groups: []vpc.GroupID{"sg-c"}})
	return e
}

// found is a target's health as the nodes in some zones see it.
func found(target string, port int, healthy bool, zones ...string) *vpc.Health {
	h := &vpc.Health{TargetGroup: tg, Target: target, Port: port}
	for _, z := range zones {
		n := vpc.NodeHealth{Zone: z, Healthy: healthy}
		if !healthy {
			n.Reason = "Target.FailedHealthChecks"
		}
		h.Nodes = append(h.Nodes, n)
	}
	return h
}

func names(h desired.Host, vni vpc.VNI) map[string]string {
	out := map[string]string{}
	for _, r := range h.VPCs[vni].Records {
		out[r.Name] = fmt.Sprint(r.Addrs, r.CNAME)
	}
	return out
}

func TestAnEndpointIsHeldOnlyWhileItCarriesAndNamedOnlyWhenItMay(t *testing.T) {
	for _, c := range []struct {
		state          vpc.EndpointState
		named          bool
		carries, known bool
	}{
		{vpc.EndpointPendingAcceptance, false, false, false},
		{vpc.EndpointPending, false, true, false},
		{vpc.EndpointPending, true, true, true},
		{vpc.EndpointAvailable, true, true, true},
		{vpc.EndpointRejected, false, false, false},
		{vpc.EndpointDeleting, false, false, false},
	} {
		v := vpctest.Of()
		space(v, "c", 0x1000, "10.0.1.5")
		space(v, "p", 0x2000, "10.0.1.5")
		service(v, c.state, c.named)
		h := desired.ForHost(v, host)
		if _, ok := h.Endpoints["vpce-1"]; ok != c.carries {
			t.Errorf("%s: held %v, want %v", c.state, ok, c.carries)
		}
		got := names(h, 0x1000)["api.example.com"]
		if (got != "") != c.known {
			t.Errorf("%s named=%v: api.example.com is %q", c.state, c.named, got)
		}
		if _, leaked := names(h, 0x2000)["api.example.com"]; leaked {
			t.Errorf("%s: the provider's VPC has the consumer's private name", c.state)
		}
		if n := h.Interfaces["eni-ep"]; n.Balancer != desired.NodeName(lb, "us-east-1a") {
			t.Errorf("the endpoint's interface leads to %q", n.Balancer)
		}
	}
}

func TestRegionalNameLeavesOutZonesWithoutHealthyTargets(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.5")
	e := vpc.Edit(service(v, vpc.EndpointAvailable, true))
	e.Nodes = append(e.Nodes, vpc.EndpointNode{Subnet: "subnet-c", Zone: "us-east-1b", Interface: "eni-epb", Addr: netip.MustParseAddr("10.0.2.20")})
	v.Put(e)
	b, _ := vpc.Get[vpc.LoadBalancer](v, lb)
	b = vpc.Edit(b)
	b.Nodes = append(b.Nodes, vpc.BalancerNode{Zone: "us-east-1b", Subnet: "subnet-p", Interface: "eni-nodeb", Addr: netip.MustParseAddr("10.0.2.9")})
	v.Put(b)
	v.Put(&vpc.NetworkInterface{ID: "eni-pb", VPC: "vpc-p", Subnet: "subnet-p", Zone: "us-east-1b", Type: vpc.TypeInterface, Addr: netip.MustParseAddr("10.0.2.6"), MAC: "02:00:00:00:00:0b",
		Attachment: &vpc.Attachment{Host: host, External: &vpc.ExternalWorkload{Ifname: "tap0"}}})
	v.Put(&vpc.TargetGroup{ARN: tg, VPC: "vpc-p", TargetType: "ip", Protocol: "TCP", Port: 8080, Targets: []vpc.Target{{ID: "10.0.1.5", Port: 8080}, {ID: "10.0.2.6", Port: 8080}}})
	health := func(target string, healthy bool) {
		v.Put(found(target, 8080, healthy, "us-east-1a", "us-east-1b"))
	}
	regional := "vpce-1-abc.vpce-svc-1.us-east-1.vpce.amazonaws.com"
	want := func(what, addrs string) {
		t.Helper()
		got := names(desired.ForHost(v, host), 0x1000)
		if got[regional] != addrs {
			t.Errorf("%s: the regional name is %s, want %s", what, got[regional], addrs)
		}
		if zonal := got["vpce-1-abc-us-east-1b.vpce-svc-1.us-east-1.vpce.amazonaws.com"]; zonal != "[10.0.2.20]" {
			t.Errorf("%s: the zonal name is %s", what, zonal)
		}
	}
	want("nothing known", "[10.0.1.20 10.0.2.20]")
	health("10.0.1.5", true)
	want("one zone healthy", "[10.0.1.20]")
	health("10.0.2.6", true)
	want("both healthy", "[10.0.1.20 10.0.2.20]")
	health("10.0.1.5", false)
	want("the other zone healthy", "[10.0.2.20]")
	health("10.0.2.6", false)
	want("none healthy", "[10.0.1.20 10.0.2.20]")
}

func TestTargetsFollowHealthAndFailOpen(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.5")
	service(v, vpc.EndpointAvailable, true)
	g := &vpc.TargetGroup{ARN: tg, VPC: "vpc-p", TargetType: "ip", Protocol: "TCP", Port: 8080, Targets: []vpc.Target{
		{ID: "10.0.1.5", Port: 8080}, {ID: "10.0.1.6", Port: 8080}}}
	v.Put(g)
	count := func() int {
		return len(desired.ForHost(v, host).Balancers[desired.NodeName(lb, "us-east-1a")].Listeners[0].Targets)
	}
	if n := count(); n != 2 {
		t.Errorf("no health known: %d targets, want both (fail-open)", n)
	}
	v.Put(found("10.0.1.5", 8080, true, "us-east-1a"))
	if n := count(); n != 1 {
		t.Errorf("one healthy: %d targets, want 1", n)
	}
	v.Put(found("10.0.1.5", 8080, false, "us-east-1a"))
	if n := count(); n != 2 {
		t.Errorf("all unhealthy: %d targets, want both (fail-open)", n)
	}
}

func TestAHostHoldsNothingOfOtherTenants(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "x", 0x3000, "10.0.1.5")
	x, _ := vpc.Get[vpc.NetworkInterface](v, "eni-x")
	other := vpc.Edit(x)
	other.Attachment.Host = "h2"
	v.Put(other)
	h := desired.ForHost(v, host)
	if len(h.VPCs) != 1 || len(h.Interfaces) != 1 || len(h.Workloads) != 1 {
		t.Errorf("held: %d VPCs, %d interfaces, %d workloads; want 1 of each", len(h.VPCs), len(h.Interfaces), len(h.Workloads))
	}
	b, _ := json.Marshal(h)
	for _, s := range []string{"vpc-x", "eni-x", "sg-x"} {
		if strings.Contains(string(b), s) {
			t.Errorf("host h1 holds %s, which belongs to a tenant of h2", s)
		}
	}
}

func TestGatewayRouteExpandsThePrefixListAndLosesToAnEqualCIDR(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	p1, p2 := netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24")
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-1", Prefixes: []netip.Prefix{p1, p2}})
	v.Put(&vpc.Endpoint{ID: "vpce-g", VPC: "vpc-c", Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable})
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{
		{CIDR: p2, TargetKind: vpc.TargetENI, Target: "eni-c"},
		{PrefixList: "pl-1", TargetKind: vpc.TargetEndpoint, Target: "vpce-g"},
	}})
	got := desired.ForHost(v, host).RouteTables["rtb-c"].Routes
	want := []desired.Route{
		{Prefix: p1, Kind: desired.RouteEndpoint, Endpoint: "vpce-g"},
		{Prefix: p2, Kind: desired.RouteInterface, Interface: "eni-c"},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
}

func TestRoutesOutAreUplinksWhileTheirGatewayIsThere(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	p := netip.MustParsePrefix("198.51.100.0/24")
	v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", PrefixList: "pl-1", Prefixes: []netip.Prefix{p}})
	v.Put(&vpc.Endpoint{ID: "vpce-g", VPC: "vpc-c", Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable})
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{
		{CIDR: netip.MustParsePrefix("0.0.0.0/0"), TargetKind: vpc.TargetInternet, Target: "igw-1"},
		{CIDR: netip.MustParsePrefix("192.0.2.0/24"), TargetKind: vpc.TargetNAT, Target: "nat-1"},
		{PrefixList: "pl-1", TargetKind: vpc.TargetEndpoint, Target: "vpce-g"},
	}})
	kinds := func() (out [3]desired.RouteKind) {
		for i, r := range desired.ForHost(v, host).RouteTables["rtb-c"].Routes { // in order of their prefixes
			out[i] = r.Kind
		}
		return out
	}
	const igw, nat, endpoint, gone = desired.RouteInternet, desired.RouteNAT, desired.RouteEndpoint, desired.RouteBlackhole
	for what, c := range map[string]struct {
		igw  vpc.VPCID
		nat  vpc.NATState
		want [3]desired.RouteKind
	}{
		"both there":          {"vpc-c", vpc.NATAvailable, [3]desired.RouteKind{igw, nat, endpoint}},
		"nothing there":       {"none", "", [3]desired.RouteKind{gone, gone, endpoint}},
		"detached":            {"", vpc.NATAvailable, [3]desired.RouteKind{gone, nat, endpoint}},
		"attached elsewhere":  {"vpc-x", vpc.NATAvailable, [3]desired.RouteKind{gone, nat, endpoint}},
		"NAT gateway deleted": {"vpc-c", vpc.NATDeleted, [3]desired.RouteKind{igw, gone, endpoint}},
	} {
		gateway, natGateway := &vpc.InternetGateway{ID: "igw-1", VPC: c.igw}, &vpc.NATGateway{ID: "nat-1", VPC: "vpc-c", State: c.nat}
		v.Put(gateway)
		v.Put(natGateway)
		if c.nat == "" {
			v.Delete(gateway)
			v.Delete(natGateway)
		}
		if got := kinds(); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// A chain of deltas over random changes leads to exactly what ForHost says.
func TestDeltasLeadWhereTheWholeWould(t *testing.T) {
	v := vpctest.Of()
	held := desired.Empty()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		n := string(rune('a' + rnd.IntN(5)))
		switch rnd.IntN(4) {
		case 0, 1:
			space(v, n, vpc.VNI(0x1000+int(n[0])), fmt.Sprintf("10.0.1.%d", 5+rnd.IntN(100)))
		case 2:
			if x, ok := vpc.Get[vpc.NetworkInterface](v, "eni-"+n); ok {
				v.Delete(x)
			}
		case 3:
			space(v, "c", 0x1000, "10.0.1.5")
			space(v, "p", 0x2000, "10.0.1.5")
			service(v, []vpc.EndpointState{vpc.EndpointPending, vpc.EndpointRejected}[rnd.IntN(2)], true)
		}
		now := desired.ForHost(v, host)
		d, err := desired.Diff(held, now)
		if err != nil {
			t.Fatal(err)
		}
		// It crosses a wire.
		b, _ := json.Marshal(d)
		var got desired.Delta
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		held, err = desired.Apply(held, got)
		if err != nil {
			t.Fatal(err)
		}
		if x, y := asJSON(held), asJSON(now); x != y {
			t.Fatalf("step %d: applied\n%s\nwant\n%s", i, x, y)
		}
	}
	if _, err := desired.Apply(held, desired.Delta{Base: held.Revision + 7}); err == nil {
		t.Error("a delta from another revision was applied")
	}
}

func asJSON(h desired.Host) string { b, _ := json.Marshal(h); return string(b) }
