// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

const zoneA, zoneB, zoneC = "us-east-1a", "us-east-1b", "us-east-1c"

// farm is a VPC on the host with a load balancer in zones a and b and a target
// group of addresses: 10.0.1.N is in zone a, 10.0.2.N in zone b, 10.0.3.N in
// zone c, all with a workload behind them up to N = 9.
type farm struct {
	*vpctest.View
	t  *testing.T
	lb *vpc.LoadBalancer
	g  *vpc.TargetGroup
	l  *vpc.Listener
}

func newFarm(t *testing.T, targets ...string) *farm {
	f := &farm{View: vpctest.Of(), t: t}
	f.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	f.Put(&vpc.VPC{ID: "vpc-p", Owner: "p", VNI: 0x2000, EnableDNSSupport: true, CIDRs: []vpc.CIDRAssociation{{CIDR: netip.MustParsePrefix("10.0.0.0/16")}}})
	f.lb = &vpc.LoadBalancer{ARN: lb, VPC: "vpc-p", Name: "web", Suffix: "0011", Active: true}
	for i, zone := range []string{zoneA, zoneB, zoneC} {
		subnet := vpc.SubnetID("subnet-" + zone)
		f.Put(&vpc.Subnet{ID: subnet, VPC: "vpc-p", Zone: zone, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i+1))})
		for n := range 9 {
			a := fmt.Sprintf("10.0.%d.%d", i+1, n+1)
			f.Put(&vpc.NetworkInterface{ID: vpc.InterfaceID("eni-" + a), VPC: "vpc-p", Subnet: subnet, Zone: zone, Type: vpc.TypeInterface,
				Addr: netip.MustParseAddr(a), MAC: "02:00:00:00:00:01", Attachment: &vpc.Attachment{Host: host, External: &vpc.ExternalWorkload{Ifname: a}}})
		}
		if zone != zoneC {
			f.lb.Nodes = append(f.lb.Nodes, vpc.BalancerNode{Zone: zone, Subnet: subnet, Interface: vpc.InterfaceID("eni-node-" + zone),
				Addr: netip.MustParseAddr(fmt.Sprintf("10.0.%d.100", i+1)), Addr6: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::100", i+1))})
		}
	}
	f.Put(&vpc.NetworkInterface{ID: "eni-nat", VPC: "vpc-p", Zone: zoneA, Type: vpc.TypeNAT, Addr: netip.MustParseAddr("10.0.1.200"), MAC: "02:00:00:00:00:02"})
	f.Put(f.lb)
	f.g = &vpc.TargetGroup{ARN: tg, VPC: "vpc-p", TargetType: "ip", Protocol: "TCP", Port: 80, Check: vpc.HealthCheck{Protocol: "TCP", Port: "traffic-port"},
		Attributes: map[string]string{}}
	for _, id := range targets {
		f.g.Targets = append(f.g.Targets, vpc.Target{ID: id, Port: 80})
	}
	f.Put(f.g)
	f.l = &vpc.Listener{ARN: "arn:l", Balancer: lb, Protocol: "TCP", Port: 443, TargetGroup: tg, Attributes: map[string]string{}}
	f.Put(f.l)
	return f
}

// set sets attributes of the target group, "key=value".
func (f *farm) set(attributes ...string) {
	for _, a := range attributes {
		k, v, _ := strings.Cut(a, "=")
		f.g.Attributes[k] = v
	}
}

// find puts the nodes' results: "10.0.1.1+" is healthy, "10.0.1.1-" is not,
// "10.0.1.1~" is not and its draining interval is over.
func (f *farm) find(results ...string) {
	for _, r := range results {
		h := found(r[:len(r)-1], 80, r[len(r)-1] == '+', zoneA, zoneB)
		for i := range h.Nodes {
			h.Nodes[i].Drained = r[len(r)-1] == '~'
		}
		f.Put(h)
	}
}

func addrs(list []desired.Target) string {
	var out []string
	for _, t := range list {
		out = append(out, t.Addr.String())
	}
	return strings.Join(out, " ")
}

func (f *farm) node(zone string) desired.Balancer {
	return desired.ForHost(f, host).Balancers[desired.NodeName(lb, zone)]
}

func (f *farm) answer() string {
	return names(desired.ForHost(f, host), 0x2000)["web-0011.elb.us-east-1.amazonaws.com"]
}

const (
	routingCount   = vpc.AttrFailoverRoutingCount + "="
	routingPercent = vpc.AttrFailoverRoutingPercent + "="
	dnsCount       = vpc.AttrFailoverDNSCount + "="
	dnsPercent     = vpc.AttrFailoverDNSPercent + "="
	crossZone      = vpc.AttrCrossZone + "="
	unhealthyCut   = vpc.AttrUnhealthyCut + "="
	draining       = vpc.AttrUnhealthyDraining + "="
)

// What each node sends to, whose flows it ends and which zones the name
// answers with, by what is known of the targets and what the group asks for.
func TestHealthOfAGroupDecidesTargetsCutsAndZones(t *testing.T) {
	const (
		zones = "[10.0.1.100 2001:db8:1::100 10.0.2.100 2001:db8:2::100]"
		onlyA = "[10.0.1.100 2001:db8:1::100]"
		onlyB = "[10.0.2.100 2001:db8:2::100]"
	)
	four := []string{"10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"}
	one := []string{"10.0.1.1", "10.0.2.1"}
	for _, c := range []struct {
		name        string
		targets     []string
		known       []string
		attributes  []string
		a, cutA, b  string
		cutB, names string
	}{
		{name: "nothing known: open everywhere", targets: one, a: "10.0.1.1", b: "10.0.2.1", names: zones},
		{name: "one zone healthy", targets: one, known: []string{"10.0.1.1+"}, a: "10.0.1.1", b: "10.0.2.1", names: onlyA},
		{name: "the other one fails: open there, nothing cut", targets: one, known: []string{"10.0.1.1+", "10.0.2.1-"}, a: "10.0.1.1", b: "10.0.2.1", names: onlyA},
		{name: "none healthy: open, all zones answer", targets: one, known: []string{"10.0.1.1-", "10.0.2.1-"}, a: "10.0.1.1", b: "10.0.2.1", names: zones},
		{name: "cross-zone of the group", targets: one, known: []string{"10.0.1.1+", "10.0.2.1-"}, attributes: []string{crossZone + "true"},
			a: "10.0.1.1", cutA: "10.0.2.1", b: "10.0.1.1", cutB: "10.0.2.1", names: zones},
		{name: "no targets at all: all zones answer", names: zones},
		{name: "no targets in a zone", targets: four[:1], known: []string{"10.0.1.1+"}, a: "10.0.1.1", names: onlyA},
		{name: "an unhealthy one is cut", targets: four, known: []string{"10.0.1.1+", "10.0.1.2-", "10.0.1.3+"}, a: "10.0.1.1 10.0.1.3", cutA: "10.0.1.2", names: onlyA},
		{name: "cutting is off", targets: four, known: []string{"10.0.1.1+", "10.0.1.2-"}, attributes: []string{unhealthyCut + "false"}, a: "10.0.1.1", names: onlyA},
		{name: "draining, its interval goes on", targets: four, known: []string{"10.0.1.1+", "10.0.1.2-"}, attributes: []string{unhealthyCut + "false", draining + "60"}, a: "10.0.1.1", names: onlyA},
		{name: "draining, its interval is over", targets: four, known: []string{"10.0.1.1+", "10.0.1.2~"}, attributes: []string{unhealthyCut + "false", draining + "60"}, a: "10.0.1.1", cutA: "10.0.1.2", names: onlyA},
		{name: "an interval and cutting: cut at once", targets: four, known: []string{"10.0.1.1+", "10.0.1.2-"}, attributes: []string{draining + "60"}, a: "10.0.1.1", cutA: "10.0.1.2", names: onlyA},
		{name: "too few by count: open, nothing cut, not in DNS", targets: append(four, "10.0.2.1", "10.0.2.2"), known: []string{"10.0.1.1+", "10.0.1.2-", "10.0.2.1+", "10.0.2.2+"},
			attributes: []string{routingCount + "2", dnsCount + "2"}, a: "10.0.1.1 10.0.1.2 10.0.1.3 10.0.1.4", b: "10.0.2.1 10.0.2.2", names: onlyB},
		{name: "just enough by count", targets: four, known: []string{"10.0.1.1+", "10.0.1.2+", "10.0.1.3-"}, attributes: []string{routingCount + "2"}, a: "10.0.1.1 10.0.1.2", cutA: "10.0.1.3", names: onlyA},
		{name: "too few by percentage", targets: four, known: []string{"10.0.1.1+"}, attributes: []string{routingPercent + "26"}, a: "10.0.1.1 10.0.1.2 10.0.1.3 10.0.1.4", names: onlyA},
		{name: "just enough by percentage", targets: four, known: []string{"10.0.1.1+"}, attributes: []string{routingPercent + "25"}, a: "10.0.1.1", names: onlyA},
		{name: "DNS fails over before routing", targets: append(four, "10.0.2.1"), known: []string{"10.0.1.1+", "10.0.2.1+"}, attributes: []string{dnsPercent + "50"},
			a: "10.0.1.1", b: "10.0.2.1", names: onlyB},
		{name: "all zones below what DNS asks for", targets: four, known: []string{"10.0.1.1+", "10.0.1.2-"}, attributes: []string{dnsCount + "2"}, a: "10.0.1.1", cutA: "10.0.1.2", names: zones},
		{name: "DNS asks for nothing", targets: four[:1], known: []string{"10.0.1.1+"}, attributes: []string{dnsCount + "off"}, a: "10.0.1.1", names: zones},
		{name: "an address that nobody has is unhealthy", targets: []string{"10.0.1.1", "10.0.1.50"}, known: []string{"10.0.1.1+", "10.0.1.50+"}, a: "10.0.1.1", cutA: "10.0.1.50", names: onlyA},
		{name: "an address that cannot be used is in no node's scope", targets: []string{"10.0.1.1", "10.0.1.200"}, attributes: []string{routingPercent + "100"}, known: []string{"10.0.1.1+"}, a: "10.0.1.1", names: onlyA},
		{name: "a zone that is not enabled", targets: []string{"10.0.1.1", "10.0.3.1"}, known: []string{"10.0.1.1+", "10.0.3.1+"}, a: "10.0.1.1", names: onlyA},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t, c.targets...)
			f.set(c.attributes...)
			f.find(c.known...)
			for zone, want := range map[string][2]string{zoneA: {c.a, c.cutA}, zoneB: {c.b, c.cutB}} {
				l := f.node(zone).Listeners[0]
				if got := addrs(l.Targets); got != want[0] {
					t.Errorf("%s sends to %q, want %q", zone, got, want[0])
				}
				if got := addrs(l.Cut); got != want[1] {
					t.Errorf("%s cuts %q, want %q", zone, got, want[1])
				}
			}
			if got := f.answer(); got != c.names {
				t.Errorf("the name answers with %s, want %s", got, c.names)
			}
		})
	}
}

// One node's results say nothing of another's.
func TestEachNodeGoesByItsOwnChecks(t *testing.T) {
	f := newFarm(t, "10.0.1.1", "10.0.1.2")
	f.set(crossZone + "true")
	f.Put(&vpc.Health{TargetGroup: tg, Target: "10.0.1.1", Port: 80, Nodes: []vpc.NodeHealth{{Zone: zoneA, Healthy: true}, {Zone: zoneB, Reason: "Target.Timeout"}}})
	f.Put(&vpc.Health{TargetGroup: tg, Target: "10.0.1.2", Port: 80, Nodes: []vpc.NodeHealth{{Zone: zoneA, Reason: "Target.Timeout"}, {Zone: zoneB, Healthy: true}}})
	if a, b := f.node(zoneA).Listeners[0], f.node(zoneB).Listeners[0]; addrs(a.Targets) != "10.0.1.1" || addrs(a.Cut) != "10.0.1.2" || addrs(b.Targets) != "10.0.1.2" || addrs(b.Cut) != "10.0.1.1" {
		t.Errorf("a: %+v, b: %+v", a, b)
	}
}

func TestADeregisteredTargetIsCutUntilItComesBack(t *testing.T) {
	f := newFarm(t, "10.0.1.1", "10.0.1.2")
	f.g.Targets[1].Draining = time.Now()
	f.g.Cut = []vpc.CutTarget{{Addr: netip.MustParseAddr("10.0.1.3"), Port: 80}, {Addr: netip.MustParseAddr("10.0.1.1"), Port: 80}, {Addr: netip.MustParseAddr("10.0.1.1"), Port: 81}}
	f.find("10.0.1.1-", "10.0.1.2+") // the node fails open, and still the flows of the one that is gone end
	l := f.node(zoneA).Listeners[0]
	want := []desired.Target{{Addr: netip.MustParseAddr("10.0.1.1"), Port: 81}, {Addr: netip.MustParseAddr("10.0.1.3"), Port: 80}}
	if addrs(l.Targets) != "10.0.1.1" || !slices.Equal(l.Cut, want) {
		t.Errorf("sends to %v, cuts %v, want %v", l.Targets, l.Cut, want)
	}
}

func TestCrossZoneIsSetAtBothLevels(t *testing.T) {
	for _, c := range []struct {
		balancer, group string
		want            bool
	}{
		{"", "", false}, {"true", "", true}, {"true", "use_load_balancer_configuration", true},
		{"true", "false", false}, {"false", "true", true}, {"", "true", true}, {"false", "use_load_balancer_configuration", false},
	} {
		f := newFarm(t, "10.0.2.1")
		if c.balancer != "" {
			f.lb.Attributes = map[string]string{vpc.AttrCrossZone: c.balancer}
		}
		if c.group != "" {
			f.set(crossZone + c.group)
		}
		if got := len(f.node(zoneA).Listeners[0].Targets) == 1; got != c.want {
			t.Errorf("load balancer %q, group %q: sends across zones %v, want %v", c.balancer, c.group, got, c.want)
		}
	}
	f := newFarm(t, "10.0.3.1")
	f.g.Targets[0].Zone = "all"
	if a, b := f.node(zoneA), f.node(zoneB); addrs(a.Listeners[0].Targets) != "10.0.3.1" || addrs(b.Listeners[0].Targets) != "10.0.3.1" {
		t.Errorf("a target of all zones: %+v %+v", a, b)
	}
}

func TestAListenerHasWhatItsObjectsSay(t *testing.T) {
	f := newFarm(t, "10.0.1.1")
	got := f.node(zoneA)
	if got.Addr6 != f.lb.Nodes[0].Addr6 || got.SkipEndpointIngress {
		t.Errorf("node %+v", got)
	}
	l := got.Listeners[0]
	if l.Group != tg || l.Sticky || l.Idle != 0 || l.ProxyProtocol != "" || l.PreserveClientIP {
		t.Errorf("defaults: %+v", l)
	}
	f.set(vpc.AttrSticky+"=true", vpc.AttrProxyProtocol+"=true", vpc.AttrPreserveClientIP+"=true")
	f.l.Attributes[vpc.AttrTCPIdle] = "60"
	f.lb.Groups, f.lb.EnforceOnPrivateLink = []vpc.GroupID{"sg-1"}, "off"
	got = f.node(zoneA)
	l = got.Listeners[0]
	if !got.SkipEndpointIngress || !l.Sticky || l.Idle != 60 || l.ProxyProtocol != desired.ProxyAWS || !l.PreserveClientIP {
		t.Errorf("all set: %+v", got)
	}
	f.lb.EnforceOnPrivateLink = "on"
	f.Put(&vpc.Region{Name: "us-east-1", ProxyLayout: "azure"})
	got = f.node(zoneA)
	if got.SkipEndpointIngress || got.Listeners[0].ProxyProtocol != desired.ProxyAzure {
		t.Errorf("groups enforced, the installation's layout: %+v", got)
	}
	f.l.Protocol, f.g.Protocol = "TCP_UDP", "TCP_UDP"
	got = f.node(zoneA)
	if tcp, udp := got.Listeners[0], got.Listeners[1]; tcp.Protocol != vpc.TCP || tcp.Idle != 60 || udp.Protocol != vpc.UDP || udp.Idle != 0 || udp.ProxyProtocol != "" || !udp.Sticky {
		t.Errorf("TCP_UDP: %+v", got.Listeners)
	}
}

func TestATargetIsProbedFromEveryNodeThatMaySendToIt(t *testing.T) {
	probes := func(f *farm) string {
		var out []string
		via := map[netip.Addr]bool{}
		for name, p := range desired.ForHost(f, host).Probes {
			out = append(out, fmt.Sprintf("%s>%s:%d", p.Node, p.Target, p.Port))
			if name != desired.ProbeName(p.Group, p.TargetID, p.TargetPort, p.Zone) || via[p.Via] || p.ListenerPort != 443 || p.Target.Is4() && !desired.ProbePrefix.Contains(p.Via) || p.Target.Is6() && !desired.ProbePrefix6.Contains(p.Via) {
				f.t.Errorf("%s: %+v", name, p)
			}
			via[p.Via] = true
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		name   string
		change func(*farm)
		want   string
	}{
		{"in its own zone", func(*farm) {}, "10.0.1.100>10.0.1.1:80"},
		{"across zones", func(f *farm) { f.set(crossZone + "true") }, "10.0.1.100>10.0.1.1:80 10.0.2.100>10.0.1.1:80"},
		{"of all zones", func(f *farm) { f.g.Targets[0].Zone = "all" }, "10.0.1.100>10.0.1.1:80 10.0.2.100>10.0.1.1:80"},
		{"on another port", func(f *farm) { f.g.Check.Port = "8080" }, "10.0.1.100>10.0.1.1:8080"},
		{"in a zone without a node", func(f *farm) { f.g.Targets[0].ID = "10.0.3.1" }, ""},
		{"draining", func(f *farm) { f.g.Targets[0].Draining = time.Now() }, ""},
		{"of nobody", func(f *farm) { f.g.Targets[0].ID = "10.0.1.50" }, ""},
		{"of an unused group", func(f *farm) { f.Delete(f.l) }, ""},
		{"at a secondary address", func(f *farm) {
			n, _ := vpc.Get[vpc.NetworkInterface](f, "eni-10.0.1.1")
			n.Secondary = []netip.Addr{netip.MustParseAddr("10.0.1.60")}
			f.g.Targets[0].ID = "10.0.1.60"
		}, "10.0.1.100>10.0.1.60:80"},
		{"at an instance's IPv6 address", func(f *farm) {
			n, _ := vpc.Get[vpc.NetworkInterface](f, "eni-10.0.1.1")
			n.IPv6 = []netip.Addr{netip.MustParseAddr("2001:db8:1::5")}
			n.Attachment.Instance = "i-6"
			f.Put(&vpc.Instance{ID: "i-6", State: vpc.InstanceRunning, Primary: n.ID})
			f.g.TargetType, f.g.IPv6, f.g.Targets[0].ID = "instance", true, "i-6"
		}, "2001:db8:1::100>2001:db8:1::5:80"},
		{"of an instance that does not run", func(f *farm) {
			n, _ := vpc.Get[vpc.NetworkInterface](f, "eni-10.0.1.1")
			n.Attachment.Instance = "i-6"
			f.Put(&vpc.Instance{ID: "i-6", State: vpc.InstancePending, Primary: n.ID})
			f.g.TargetType, f.g.Targets[0].ID = "instance", "i-6"
		}, ""},
		{"on another host", func(f *farm) {
			n, _ := vpc.Get[vpc.NetworkInterface](f, "eni-10.0.1.1")
			n.Attachment.Host = "h2"
		}, ""},
	} {
		f := newFarm(t, "10.0.1.1")
		c.change(f)
		if got := probes(f); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	f := newFarm(t, "10.0.1.1")
	f.set(vpc.AttrProxyProtocol + "=true")
	for _, p := range desired.ForHost(f, host).Probes {
		if !p.ProxyProtocol {
			t.Errorf("a probe without the header that its target expects: %+v", p)
		}
	}
}

func TestATargetsHealthIsTheWorstThatANodeSees(t *testing.T) {
	type results map[string]string // zone to "+", a reason, or a reason and "~"
	for _, c := range []struct {
		name       string
		target     string
		results    results
		attributes []string
		change     func(*farm)
		want       string
	}{
		{name: "unknown", want: "initial Elb.RegistrationInProgress"},
		{name: "healthy", results: results{zoneA: "+"}, want: "healthy"},
		{name: "unhealthy", results: results{zoneA: "Target.Timeout"}, want: "unhealthy Target.Timeout"},
		{name: "known to one of two nodes", attributes: []string{crossZone + "true"}, results: results{zoneA: "+"}, want: "initial Elb.InitialHealthChecking"},
		{name: "healthy to one of two nodes", attributes: []string{crossZone + "true"}, results: results{zoneA: "+", zoneB: "Target.Timeout"}, want: "unhealthy Target.Timeout"},
		{name: "unhealthy to one and unknown to the other", attributes: []string{crossZone + "true"}, results: results{zoneB: "Target.Timeout"}, want: "unhealthy Target.Timeout"},
		{name: "healthy to both", attributes: []string{crossZone + "true"}, results: results{zoneA: "+", zoneB: "+"}, want: "healthy"},
		{name: "a result of a node that does not send to it", results: results{zoneA: "+", zoneB: "Target.Timeout"}, want: "healthy"},
		{name: "unhealthy and draining", attributes: []string{unhealthyCut + "false", draining + "60"}, results: results{zoneA: "Target.Timeout"}, want: "unhealthy.draining Target.Timeout"},
		{name: "unhealthy and drained", attributes: []string{unhealthyCut + "false", draining + "60"}, results: results{zoneA: "Target.Timeout~"}, want: "unhealthy Target.Timeout"},
		{name: "no interval", attributes: []string{unhealthyCut + "false"}, results: results{zoneA: "Target.Timeout"}, want: "unhealthy Target.Timeout"},
		{name: "draining", change: func(f *farm) { f.g.Targets[0].Draining = time.Now() }, results: results{zoneA: "+"}, want: "draining Target.DeregistrationInProgress"},
		{name: "no listener", change: func(f *farm) { f.Delete(f.l) }, results: results{zoneA: "+"}, want: "unused Target.NotInUse"},
		{name: "a zone without a node", target: "10.0.3.1", results: results{zoneA: "+"}, want: "unused Target.NotInUse"},
		{name: "a NAT gateway's address", target: "10.0.1.200", results: results{zoneA: "+"}, want: "unused Target.IpUnusable"},
		{name: "nobody's address", target: "10.0.1.50", results: results{zoneA: "+"}, want: "unhealthy Target.Timeout"},
		{name: "nobody's address in a zone without a node", target: "10.0.3.50", want: "unused Target.NotInUse"},
		{name: "an instance that is gone", target: "i-1", change: func(f *farm) { f.g.TargetType = "instance" }, want: "unused Target.InvalidState"},
		{name: "an instance that starts", target: "i-1", change: func(f *farm) {
			f.g.TargetType = "instance"
			f.Put(&vpc.Instance{ID: "i-1", State: vpc.InstancePending, Primary: "eni-10.0.1.1"})
		}, want: "unused Target.InvalidState"},
		{name: "an instance that runs", target: "i-1", change: func(f *farm) {
			f.g.TargetType = "instance"
			f.Put(&vpc.Instance{ID: "i-1", State: vpc.InstanceRunning, Primary: "eni-10.0.1.1"})
		}, results: results{zoneA: "+"}, want: "healthy"},
	} {
		target := c.target
		if target == "" {
			target = "10.0.1.1"
		}
		f := newFarm(t, target)
		f.set(c.attributes...)
		h := &vpc.Health{TargetGroup: tg, Target: target, Port: 80}
		for _, zone := range slices.Sorted(maps.Keys(c.results)) {
			reason, drained := strings.CutSuffix(c.results[zone], "~")
			n := vpc.NodeHealth{Zone: zone, Healthy: reason == "+", Drained: drained}
			if !n.Healthy {
				n.Reason = reason
			}
			h.Nodes = append(h.Nodes, n)
		}
		f.Put(h)
		if c.change != nil {
			c.change(f)
		}
		got := desired.HealthOf(f, f.g, f.g.Targets[0])
		if s := strings.TrimSpace(got.State + " " + got.Reason); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

// A listener on a group without targets serves nobody in any zone, which is no
// reason to answer with a zone where another listener serves nobody.
func TestAnEmptyGroupDecidesNoZone(t *testing.T) {
	f := newFarm(t, "10.0.1.1", "10.0.2.1")
	f.find("10.0.1.1+", "10.0.2.1-")
	f.Put(&vpc.TargetGroup{ARN: "arn:empty", VPC: "vpc-p", TargetType: "ip", Protocol: "TCP", Port: 80})
	f.Put(&vpc.Listener{ARN: "arn:l2", Balancer: lb, Protocol: "TCP", Port: 81, TargetGroup: "arn:empty"})
	if got := f.answer(); got != "[10.0.1.100 2001:db8:1::100]" {
		t.Errorf("the name answers with %s", got)
	}
}
