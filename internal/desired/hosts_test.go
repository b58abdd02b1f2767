// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

var sameAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// apart is a consumer's VPC with a workload on h1 and a provider's with one on
// h2, which is the target behind the consumer's endpoint.
func apart(state vpc.EndpointState) *vpctest.View {
	v := vpctest.Of(
		&vpc.Host{ID: "h1", Underlay: netip.MustParseAddr("192.0.2.1")},
		&vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("192.0.2.2")},
		&vpc.Host{ID: "h3", Underlay: netip.MustParseAddr("192.0.2.3")},
	)
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.0.1.6")
	move(v, "p", "h2")
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-p")
	n = vpc.Edit(n)
	n.Secondary = []netip.Addr{netip.MustParseAddr("10.0.1.7")}
	n.IPv6 = []netip.Addr{netip.MustParseAddr("2001:db8:0:1::5")}
	v.Put(n)
	service(v, state, true)
	return v
}

// move puts a space's workload on another host.
func move(v *vpctest.View, name string, to vpc.HostID) {
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-"+name)
	n = vpc.Edit(n)
	n.Attachment = &vpc.Attachment{Instance: n.Attachment.Instance, Host: to}
	v.Put(n)
	i, _ := vpc.Get[vpc.Instance](v, "i-"+name)
	i = vpc.Edit(i)
	i.Host = to
	v.Put(i)
}

// Of the provider a consumer's host learns where the targets are, and nothing
// else: no subnet, rule, route, MAC or name.
func TestAConsumersHostKnowsOnlyPlacesOfTheProvider(t *testing.T) {
	v := apart(vpc.EndpointAvailable)
	h := desired.ForHost(v, "h1")
	want := desired.Interface{
		ID: "eni-p", VNI: 0x2000, Addr: netip.MustParseAddr("10.0.1.6"), Secondary: []netip.Addr{netip.MustParseAddr("10.0.1.7")},
		IPv6: []netip.Addr{netip.MustParseAddr("2001:db8:0:1::5")}, Kind: desired.KindWorkload, Host: "h2",
	}
	if diff := cmp.Diff(want, h.Interfaces["eni-p"], sameAddrs); diff != "" {
		t.Errorf("the target's place (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[vpc.HostID]netip.Addr{"h2": netip.MustParseAddr("192.0.2.2")}, h.Hosts, sameAddrs); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	delete(h.Interfaces, "eni-p")
	delete(h.Balancers, desired.NodeName(lb, "us-east-1a"))
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"subnet-p", "rtb-p", "acl-p", "sg-p", "vpc-p", "i-p", "eni-node"} {
		if strings.Contains(string(b), leak) {
			t.Errorf("the consumer's host holds %s", leak)
		}
	}
}

// Of the consumer a provider's host learns the endpoint with its link, and
// nothing else, and only while the endpoint carries packets.
func TestAProvidersHostKnowsOnlyTheEndpointsOfItsConsumers(t *testing.T) {
	for state, carries := range map[vpc.EndpointState]bool{
		vpc.EndpointAvailable: true, vpc.EndpointPending: true, vpc.EndpointPendingAcceptance: false, vpc.EndpointRejected: false,
	} {
		v := apart(state)
		h := desired.ForHost(v, "h2")
		e, ok := h.Endpoints["vpce-1"]
		if ok != carries {
			t.Fatalf("%s: the endpoint is held: %v", state, ok)
		}
		want := desired.Endpoint{ID: "vpce-1", Owner: "c", VPC: "vpc-c", VNI: 0x1000, Type: vpc.InterfaceEndpoint, Link: 0x5000}
		if carries && e != want {
			t.Errorf("%s: the endpoint is %+v, want %+v", state, e, want)
		}
		delete(h.Endpoints, "vpce-1")
		if len(h.Hosts) != 0 {
			t.Errorf("%s: hosts %v without an interface there", state, h.Hosts)
		}
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, leak := range []string{"subnet-c", "rtb-c", "acl-c", "sg-c", "vpc-c", "i-c", "eni-c", "eni-ep", "vpce-1", "api.example.com"} {
			if strings.Contains(string(b), leak) {
				t.Errorf("%s: the provider's host holds %s", state, leak)
			}
		}
	}
}

// A host with nothing of either holds neither, and the host of both no places.
func TestOnlyHostsOfEitherSideHoldAnEndpoint(t *testing.T) {
	v := apart(vpc.EndpointAvailable)
	if h := desired.ForHost(v, "h3"); len(h.Interfaces)+len(h.Endpoints)+len(h.Hosts) != 0 {
		t.Errorf("the third host holds %+v", h)
	}
	move(v, "p", "h1")
	h := desired.ForHost(v, "h1")
	if n := h.Interfaces["eni-p"]; n.MAC == "" || n.RuleSet == "" || len(h.Hosts) != 0 {
		t.Errorf("with both here the target is %+v, hosts %v", n, h.Hosts)
	}
}

// A target that gets no new flows keeps its place, for the old ones: while it is
// deregistered, while it is ill, and while its flows are to be ended.
func TestATargetWithoutNewFlowsKeepsItsPlace(t *testing.T) {
	for name, set := range map[string]func(*vpc.TargetGroup){
		"draining": func(g *vpc.TargetGroup) { g.Targets[0].Draining = time.Now() },
		"cut": func(g *vpc.TargetGroup) {
			g.Targets, g.Cut = nil, []vpc.CutTarget{{Addr: netip.MustParseAddr("10.0.1.6"), Port: 8080}}
		},
		"gone": func(g *vpc.TargetGroup) { g.Targets = nil },
		"where nobody is": func(g *vpc.TargetGroup) {
			g.TargetType, g.Targets[0].ID = "ip", "10.0.1.77"
		},
	} {
		v := apart(vpc.EndpointAvailable)
		g, _ := vpc.Get[vpc.TargetGroup](v, tg)
		g = vpc.Edit(g)
		set(g)
		v.Put(g)
		h := desired.ForHost(v, "h1")
		if b := h.Balancers[desired.NodeName(lb, "us-east-1a")]; name != "where nobody is" && len(b.Listeners[0].Targets) > 0 {
			t.Errorf("%s: it gets new flows: %+v", name, b.Listeners)
		}
		want := name == "draining" || name == "cut"
		if _, ok := h.Interfaces["eni-p"]; ok != want {
			t.Errorf("%s: the target has a place: %v, want %v", name, ok, want)
		}
	}
}

// The workloads of one VPC on two hosts know each other whole, with groups of
// both directions, and find the way; a host without an address has none.
func TestWorkloadsOfOneVPCFindEachOtherAcrossHosts(t *testing.T) {
	v := apart(vpc.EndpointAvailable)
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-c")
	second := vpc.Edit(n)
	second.ID, second.Addr, second.MAC = "eni-c2", netip.MustParseAddr("10.0.1.8"), "02:00:00:00:00:08"
	second.Attachment = &vpc.Attachment{Instance: "i-c2", Host: "h3"}
	v.Put(second)
	v.Put(&vpc.Instance{ID: "i-c2", State: vpc.InstanceRunning, Primary: "eni-c2", Host: "h3"})
	one, three := desired.ForHost(v, "h1"), desired.ForHost(v, "h3")
	for _, table := range []func(desired.Host) any{
		func(h desired.Host) any { return h.Interfaces }, func(h desired.Host) any { return h.RuleSets },
		func(h desired.Host) any { return h.Subnets }, func(h desired.Host) any { return h.ACLs },
		func(h desired.Host) any { return h.RouteTables },
	} {
		if diff := cmp.Diff(table(one), table(three), sameAddrs); diff != "" {
			t.Errorf("the two hosts of a VPC differ (-h1 +h3):\n%s", diff)
		}
	}
	if one.Hosts["h3"] != netip.MustParseAddr("192.0.2.3") || three.Hosts["h1"] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("hosts %v and %v", one.Hosts, three.Hosts)
	}
	v.Put(&vpc.Host{ID: "h3"})
	for _, id := range []vpc.HostID{"h1", "h3"} {
		if h := desired.ForHost(v, id); h.Hosts["h3"].IsValid() || h.Hosts["h1"].IsValid() {
			t.Errorf("of a host that takes no part: %s has hosts %v", id, h.Hosts)
		}
	}
}

// Both ends of a peering connection on two hosts hold the same of both VPCs:
// each can judge both directions of a packet by itself.
func TestBothHostsOfAPeeringJudgeAlike(t *testing.T) {
	v := peered(vpc.PeeringActive)
	v.Put(&vpc.Host{ID: "h1", Underlay: netip.MustParseAddr("192.0.2.1")})
	v.Put(&vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("192.0.2.2")})
	move(v, "p", "h2")
	one, two := desired.ForHost(v, "h1"), desired.ForHost(v, "h2")
	if len(one.Workloads) != 1 || len(two.Workloads) != 1 {
		t.Fatalf("workloads %v and %v", one.Workloads, two.Workloads)
	}
	for _, table := range []func(desired.Host) any{
		func(h desired.Host) any { return h.Interfaces }, func(h desired.Host) any { return h.RuleSets },
		func(h desired.Host) any { return h.Subnets }, func(h desired.Host) any { return h.ACLs },
		func(h desired.Host) any { return h.RouteTables },
	} {
		if diff := cmp.Diff(table(one), table(two), sameAddrs); diff != "" {
			t.Errorf("the two hosts differ (-h1 +h2):\n%s", diff)
		}
	}
	if !one.Hosts["h2"].IsValid() || !two.Hosts["h1"].IsValid() {
		t.Errorf("hosts %v and %v", one.Hosts, two.Hosts)
	}
}
