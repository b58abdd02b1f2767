// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// pass lets time go by and makes the life cycles look.
func (w *workloads) pass(d time.Duration) {
	w.clock.Advance(d)
	w.Hosts.Report(control.HostStatus{Host: "other", Applied: 1 << 40})
}

// rounds returns when the life cycle has looked at everything at the present
// time: it makes a load balancer active at the beginning of a round, so a second
// one is active after the first one's round.
func (w *workloads) rounds(name string) {
	w.t.Helper()
	for _, name := range []string{name + "-1", name + "-2"} {
		lb := w.balancer(name, w.a)
		w.eventually("another round", func(v vpc.View) bool { b, ok := vpc.Get[vpc.LoadBalancer](v, lb); return ok && b.Active })
	}
}

func (w *workloads) attributes(group vpc.ARN, changes map[string]string) {
	w.t.Helper()
	w.wants("set attributes", w.SetTargetGroupAttributes(w.ctx, me, group, changes), "")
}

// cut are the places to which flows of a group are ended.
func cut(v vpc.View, group vpc.ARN) (out []netip.AddrPort) {
	g, _ := vpc.Get[vpc.TargetGroup](v, group)
	for _, t := range g.Cut {
		out = append(out, netip.AddrPortFrom(t.Addr, uint16(t.Port)))
	}
	return out
}

func TestFlowsToADeregisteredTargetEndIfTheGroupSaysSo(t *testing.T) {
	w := newWorkloads(t)
	i := w.run(w.a)
	lb := w.balancer("one", w.a)
	kept, ended := w.targetGroup("kept", "instance"), w.targetGroup("ended", "instance")
	w.listener(lb, kept, 80)
	l := w.listener(lb, ended, 81)
	w.wants("idle time", w.SetListenerAttributes(w.ctx, me, l, map[string]string{vpc.AttrTCPIdle: "600"}), "")
	w.attributes(kept, map[string]string{vpc.AttrDeregistrationDelay: "60"})
	w.attributes(ended, map[string]string{vpc.AttrDeregistrationDelay: "60", vpc.AttrDeregistrationCut: "true"})
	for _, g := range []vpc.ARN{kept, ended} {
		w.wants("register", w.RegisterTargets(w.ctx, me, g, []control.TargetInput{{ID: string(i.ID)}}), "")
	}
	w.start(w.RunBalancerLifecycle)
	w.start(w.RunInstanceLifecycle)
	_, err := w.TerminateInstances(w.ctx, me, []vpc.InstanceID{i.ID})
	w.wants("terminate", err, "")
	w.eventually("terminated", func(v vpc.View) bool { return w.state(i.ID)(v) == vpc.InstanceTerminated })
	w.pass(59 * time.Second)
	w.rounds("delay")
	if got := cut(w.View(), ended); got != nil {
		t.Fatalf("cut %v while the delay goes on", got)
	}
	w.pass(time.Second)
	place := netip.AddrPortFrom(i.Addr, 80)
	gone := func(group vpc.ARN) func(vpc.View) bool {
		return func(v vpc.View) bool { g, _ := vpc.Get[vpc.TargetGroup](v, group); return len(g.Targets) == 0 }
	}
	w.eventually("the targets are gone", func(v vpc.View) bool { return gone(kept)(v) && gone(ended)(v) })
	if got := cut(w.View(), kept); got != nil {
		t.Errorf("a group that keeps its flows cuts %v", got)
	}
	if got := cut(w.View(), ended); !slices.Equal(got, []netip.AddrPort{place}) {
		t.Errorf("cut %v, want %v although the instance is gone", got, place)
	}
	w.pass(599 * time.Second)
	w.rounds("idle")
	if got := cut(w.View(), ended); len(got) != 1 {
		t.Errorf("cut %v before the longest idle time", got)
	}
	w.pass(time.Second)
	w.eventually("forgotten", func(v vpc.View) bool { return cut(v, ended) == nil })
}

func TestWithoutADelayFlowsEndAtOnceAndFewAreKept(t *testing.T) {
	w := newWorkloads(t)
	w.Quotas.TargetsPerLoadBalancer = 3
	g := w.targetGroup("g", "ip")
	w.attributes(g, map[string]string{vpc.AttrDeregistrationDelay: "0", vpc.AttrDeregistrationCut: "true"})
	churn := func(ports ...int) {
		for _, p := range ports {
			target := []control.TargetInput{{ID: "10.0.1.9", Port: p}}
			w.wants("register", w.RegisterTargets(w.ctx, me, g, target), "")
			w.wants("deregister", w.DeregisterTargets(w.ctx, me, g, target), "")
		}
	}
	churn(1)
	if got := cut(w.View(), g); got != nil {
		t.Errorf("nobody used the group and it cuts %v", got)
	}
	l := w.listener(w.balancer("one", w.a), g, 80)
	churn(1, 2, 3, 4, 5, 5)
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.1.9:3"), netip.MustParseAddrPort("10.0.1.9:4"), netip.MustParseAddrPort("10.0.1.9:5")}
	if got := cut(w.View(), g); !slices.Equal(got, want) {
		t.Errorf("cut %v, want %v", got, want)
	}
	w.wants("delete the listener", w.DeleteListener(w.ctx, me, l), "")
	if got := cut(w.View(), g); got != nil {
		t.Errorf("cut %v without a listener", got)
	}
}

func TestAnUnhealthyTargetDrainsForItsInterval(t *testing.T) {
	w := newWorkloads(t)
	i := w.run(w.a)
	g := w.targetGroup("g", "instance")
	w.wants("register", w.RegisterTargets(w.ctx, me, g, []control.TargetInput{{ID: string(i.ID)}}), "")
	w.listener(w.balancer("one", w.a), g, 80)
	w.attributes(g, map[string]string{vpc.AttrUnhealthyCut: "false", vpc.AttrUnhealthyDraining: "60"})
	w.start(w.RunBalancerLifecycle)
	report := func(healthy bool, reason string) {
		t.Helper()
		w.wants("report", w.ReportHealth(w.ctx, []control.HealthReport{{Group: g, Target: string(i.ID), Port: 80, Zone: "us-east-1a", Healthy: healthy, Reason: reason}}), "")
	}
	is := func(want string) {
		t.Helper()
		w.eventually(want, func(vpc.View) bool { return w.health(g) == want })
	}
	for round := range 2 {
		report(true, "")
		is("healthy")
		report(false, "Target.Timeout")
		is("unhealthy.draining/Target.Timeout")
		w.pass(59 * time.Second)
		report(false, "Target.FailedHealthChecks") // another reason does not begin another interval
		is("unhealthy.draining/Target.FailedHealthChecks")
		w.pass(time.Second)
		is("unhealthy/Target.FailedHealthChecks")
		report(false, "Target.Timeout")
		is("unhealthy/Target.Timeout")
		if round == 0 {
			continue
		}
		w.attributes(g, map[string]string{vpc.AttrUnhealthyDraining: "0"})
		is("unhealthy/Target.Timeout")
	}
}

func TestANodeThatGoesTakesItsResultsAlong(t *testing.T) {
	w := newWorkloads(t)
	i := w.run(w.a)
	g, lb := w.targetGroup("g", "instance"), w.balancer("one", w.a, w.b)
	w.wants("register", w.RegisterTargets(w.ctx, me, g, []control.TargetInput{{ID: string(i.ID)}}), "")
	w.listener(lb, g, 80)
	w.listener(lb, g, 81)
	w.attributes(g, map[string]string{vpc.AttrCrossZone: "true"})
	var reports []control.HealthReport
	for _, zone := range []string{"us-east-1b", "us-east-1a", "us-east-1c"} {
		reports = append(reports, control.HealthReport{Group: g, Target: string(i.ID), Port: 80, Zone: zone, Healthy: zone == "us-east-1a", Reason: "Target.Timeout"})
	}
	w.wants("report", w.ReportHealth(w.ctx, reports), "")
	zones := func() (out []string) {
		h, _ := vpc.Get[vpc.Health](w.View(), vpc.HealthKey(g, string(i.ID), 80))
		for _, n := range h.Nodes {
			out = append(out, fmt.Sprint(n.Zone, n.Healthy))
		}
		return out
	}
	if got := zones(); !slices.Equal(got, []string{"us-east-1atrue", "us-east-1bfalse"}) {
		t.Errorf("kept %v", got)
	}
	if got := w.health(g); got != "unhealthy/Target.Timeout" {
		t.Errorf("one of two nodes reaches it: %s", got)
	}
	w.wants("leave zone b", w.SetBalancerSubnets(w.ctx, me, lb, []control.BalancerSubnet{{Subnet: w.a}}, nil), "")
	if got := zones(); !slices.Equal(got, []string{"us-east-1atrue"}) {
		t.Errorf("after the node is gone: %v", got)
	}
	w.wants("another node in zone b", w.SetBalancerSubnets(w.ctx, me, lb, []control.BalancerSubnet{{Subnet: w.a}, {Subnet: w.b}}, nil), "")
	if got := w.health(g); got != "initial/Elb.InitialHealthChecking" {
		t.Errorf("with a new node: %s", got)
	}
}

func TestHealthIsUnavailableWhileTheHostIsAway(t *testing.T) {
	w := newWorkloads(t)
	w.LocalHost = "h1"
	w.Hosts.Report(control.HostStatus{Host: "h1", Applied: 1 << 40})
	i := w.run(w.a)
	g := w.targetGroup("g", "instance")
	w.wants("register", w.RegisterTargets(w.ctx, me, g, []control.TargetInput{{ID: string(i.ID)}}), "")
	w.Hosts.Gone("h1")
	if got := w.health(g); got != "unused/Target.NotInUse" {
		t.Errorf("no checks are wanted: %s", got)
	}
	w.listener(w.balancer("one", w.a), g, 80)
	if got := w.health(g); got != "unavailable/Elb.InternalError" {
		t.Errorf("without its host: %s", got)
	}
	w.Hosts.Report(control.HostStatus{Host: "h1", Applied: 1 << 40})
	if got := w.health(g); got != "initial/Elb.RegistrationInProgress" {
		t.Errorf("with its host: %s", got)
	}
}

func TestAttributesThatExcludeOneAnotherAreRefused(t *testing.T) {
	for what, c := range map[string]struct {
		protocol string
		set      map[string]string
		want     vpc.ErrorKind
	}{
		"a draining interval and cutting":       {"TCP", map[string]string{vpc.AttrUnhealthyDraining: "60"}, vpc.Combination},
		"a draining interval without cutting":   {"TCP", map[string]string{vpc.AttrUnhealthyDraining: "60", vpc.AttrUnhealthyCut: "false"}, ""},
		"routing gives up before DNS":           {"TCP", map[string]string{vpc.AttrFailoverRoutingCount: "2"}, vpc.Combination},
		"DNS gives up first":                    {"TCP", map[string]string{vpc.AttrFailoverRoutingCount: "2", vpc.AttrFailoverDNSCount: "3"}, ""},
		"DNS does not count":                    {"TCP", map[string]string{vpc.AttrFailoverRoutingCount: "2", vpc.AttrFailoverDNSCount: "off"}, ""},
		"percentages the wrong way":             {"TCP", map[string]string{vpc.AttrFailoverRoutingPercent: "50", vpc.AttrFailoverDNSPercent: "49"}, vpc.Combination},
		"a PROXY header on TCP":                 {"TCP", map[string]string{vpc.AttrProxyProtocol: "true"}, ""},
		"a PROXY header on UDP":                 {"UDP", map[string]string{vpc.AttrProxyProtocol: "true"}, vpc.Invalid},
		"a PROXY header on both":                {"TCP_UDP", map[string]string{vpc.AttrProxyProtocol: "true"}, vpc.Invalid},
		"UDP without the client's address":      {"UDP", map[string]string{vpc.AttrPreserveClientIP: "false"}, vpc.Invalid},
		"UDP whose flows go on after the delay": {"UDP", map[string]string{vpc.AttrDeregistrationCut: "false"}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorkloads(t)
			g, err := w.CreateTargetGroup(w.ctx, me, control.CreateTargetGroupInput{Name: "g", Protocol: c.protocol, Port: 80, VPC: w.vpc, TargetType: "ip"})
			w.wants("create", err, "")
			w.wants("set", w.SetTargetGroupAttributes(w.ctx, me, g, c.set), c.want)
			if _, ok := c.set[vpc.AttrUnhealthyDraining]; ok && c.want == "" {
				w.wants("cut again", w.SetTargetGroupAttributes(w.ctx, me, g, map[string]string{vpc.AttrUnhealthyCut: "true"}), "")
			}
			o, _ := vpc.Get[vpc.TargetGroup](w.View(), g)
			if (len(o.Attributes) > 0) != (c.want == "") {
				t.Errorf("kept: %v", o.Attributes)
			}
		})
	}
}

func TestNobodyWaitsForABalancerThatNoHostCarries(t *testing.T) {
	w := newWorkloads(t)
	w.LocalHost = "h1" // not connected
	arn := w.balancer("one", w.a)
	start := time.Now()
	w.AwaitBalancer(w.ctx, arn)
	w.AwaitBalancer(w.ctx, "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/net/none/0")
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("waited %s", d)
	}
	w.Hosts.Report(control.HostStatus{Host: "h1", Applied: w.View().Revision()})
	w.start(w.RunBalancerLifecycle)
	w.AwaitBalancer(w.ctx, arn)
	if lb, _ := vpc.Get[vpc.LoadBalancer](w.View(), arn); !lb.Active {
		t.Error("not active although the host carries it")
	}
}
