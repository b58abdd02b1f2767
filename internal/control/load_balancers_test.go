// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

var me = controltest.Consumer

func (w *workloads) balancer(name string, subnets ...vpc.SubnetID) vpc.ARN {
	w.t.Helper()
	in := control.CreateBalancerInput{Name: name, Scheme: "internal"}
	for _, s := range subnets {
		in.Subnets = append(in.Subnets, control.BalancerSubnet{Subnet: s})
	}
	arn, err := w.CreateBalancer(w.ctx, me, in)
	if err != nil {
		w.t.Fatal(err)
	}
	return arn
}

func (w *workloads) targetGroup(name, kind string) vpc.ARN {
	w.t.Helper()
	arn, err := w.CreateTargetGroup(w.ctx, me, control.CreateTargetGroupInput{Name: name, Protocol: "TCP", Port: 80, VPC: w.vpc, TargetType: kind})
	if err != nil {
		w.t.Fatal(err)
	}
	return arn
}

func (w *workloads) listener(lb, group vpc.ARN, port int) vpc.ARN {
	w.t.Helper()
	arn, err := w.CreateListener(w.ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "TCP", Port: port, TargetGroup: group})
	if err != nil {
		w.t.Fatal(err)
	}
	return arn
}

func (w *workloads) health(group vpc.ARN) string {
	w.t.Helper()
	list, err := w.DescribeTargetHealth(me, group, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, h := range list {
		out = append(out, strings.TrimSuffix(h.State+"/"+h.Reason, "/"))
	}
	return strings.Join(out, " ")
}

func TestABalancerHasOneManagedInterfacePerZone(t *testing.T) {
	w := newWorkloads(t)
	arn := w.balancer("one", w.b, w.a)
	lb, _ := vpc.Get[vpc.LoadBalancer](w.View(), arn)
	if len(lb.Nodes) != 2 || lb.Nodes[0].Zone != "us-east-1a" || lb.Nodes[0].Addr.String() != "10.0.1.4" || lb.Active {
		t.Fatalf("%+v", lb)
	}
	n, _ := vpc.Get[vpc.NetworkInterface](w.View(), lb.Nodes[1].Interface)
	if n.Description != "ELB net/one/"+lb.Suffix || !n.RequesterManaged || n.Type != vpc.TypeBalancer || n.Balancer != arn || len(n.Groups) != 0 {
		t.Errorf("%+v", n)
	}
	if again := w.balancer("one", w.a, w.b); again != arn || w.interfaces() != 2 {
		t.Errorf("the same again: %s, %d interfaces", again, w.interfaces())
	}
	_, err := w.CreateBalancer(w.ctx, me, control.CreateBalancerInput{Name: "one", Subnets: []control.BalancerSubnet{{Subnet: w.a}}})
	w.wants("same name, other settings", err, vpc.Duplicate)
	_, err = w.CreateBalancer(w.ctx, me, control.CreateBalancerInput{Name: "two", Subnets: []control.BalancerSubnet{{Subnet: w.a}, {Subnet: w.small}}})
	w.wants("two subnets of a zone", err, vpc.Combination)
	_, err = w.CreateBalancer(w.ctx, me, control.CreateBalancerInput{Name: "two", Subnets: []control.BalancerSubnet{{Subnet: w.provider}}})
	w.wants("a foreign subnet", err, vpc.NotFound)
	w.wants("a foreign delete", w.DeleteBalancer(w.ctx, controltest.Provider, arn), "")
	if _, ok := vpc.Get[vpc.LoadBalancer](w.View(), arn); !ok {
		t.Error("another account deleted it")
	}
}

func TestDeletingABalancerTakesItsListenersAndInterfaces(t *testing.T) {
	w := newWorkloads(t)
	controltest.HandMade(w.Control) // a service that loses its load balancer
	lb, g := w.balancer("one", w.a, w.b), w.targetGroup("g", "ip")
	l := w.listener(lb, g, 80)
	w.wants("a group in use", w.DeleteTargetGroup(w.ctx, me, g), vpc.InUse)
	w.wants("protect", w.SetBalancerAttributes(w.ctx, me, lb, map[string]string{vpc.AttrDeletionProtection: "true"}), "")
	w.wants("protected", w.DeleteBalancer(w.ctx, me, lb), vpc.NotPermitted)
	w.wants("unprotect", w.SetBalancerAttributes(w.ctx, me, lb, map[string]string{vpc.AttrDeletionProtection: "false"}), "")
	service := &vpc.EndpointService{ID: "vpce-svc-00000000000000001", Owner: me.Account, Balancers: []vpc.ARN{lb}}
	w.put(service)
	w.wants("used by a service", w.DeleteBalancer(w.ctx, me, lb), vpc.InUse)
	w.wants("leave a zone of a service", w.SetBalancerSubnets(w.ctx, me, lb, []control.BalancerSubnet{{Subnet: w.a}}, nil), vpc.InUse)
	service = vpc.Edit(service)
	service.Balancers = nil
	w.put(service)
	w.wants("delete", w.DeleteBalancer(w.ctx, me, lb), "")
	if _, ok := vpc.Get[vpc.Listener](w.View(), l); ok || w.interfaces() != 0 {
		t.Errorf("listener left: %v, interfaces left: %d", ok, w.interfaces())
	}
	w.wants("again", w.DeleteBalancer(w.ctx, me, lb), "")
	w.wants("the group, unused now", w.DeleteTargetGroup(w.ctx, me, g), "")
}

func TestSecurityGroupsOfABalancerAreThoseOfItsInterfaces(t *testing.T) {
	w := newWorkloads(t)
	bare := w.balancer("bare", w.a)
	w.wants("none at creation", w.SetBalancerGroups(w.ctx, me, bare, []vpc.GroupID{w.group}, ""), vpc.Combination)
	arn, err := w.CreateBalancer(w.ctx, me, control.CreateBalancerInput{Name: "two", Subnets: []control.BalancerSubnet{{Subnet: w.a}}, Groups: []vpc.GroupID{w.group}})
	if err != nil {
		t.Fatal(err)
	}
	other := vpc.GroupID("sg-00000000000000009")
	w.put(&vpc.SecurityGroup{ID: other, Owner: me.Account, VPC: w.vpc, Name: "other"})
	w.wants("none", w.SetBalancerGroups(w.ctx, me, arn, nil, ""), vpc.Combination)
	w.wants("another", w.SetBalancerGroups(w.ctx, me, arn, []vpc.GroupID{other}, "off"), "")
	lb, _ := vpc.Get[vpc.LoadBalancer](w.View(), arn)
	n, _ := vpc.Get[vpc.NetworkInterface](w.View(), lb.Nodes[0].Interface)
	if !slices.Equal(lb.Groups, n.Groups) || !slices.Equal(n.Groups, []vpc.GroupID{other}) || lb.EnforceOnPrivateLink != "off" {
		t.Errorf("balancer %v, interface %v, enforce %s", lb.Groups, n.Groups, lb.EnforceOnPrivateLink)
	}
}

func TestSetSubnetsKeepsTheNodesThatStay(t *testing.T) {
	w := newWorkloads(t)
	arn := w.balancer("one", w.a)
	before, _ := vpc.Get[vpc.LoadBalancer](w.View(), arn)
	w.wants("add b", w.SetBalancerSubnets(w.ctx, me, arn, []control.BalancerSubnet{{Subnet: w.b}, {Subnet: w.a}}, nil), "")
	lb, _ := vpc.Get[vpc.LoadBalancer](w.View(), arn)
	if len(lb.Nodes) != 2 || lb.Nodes[0] != before.Nodes[0] {
		t.Errorf("%+v, before %+v", lb.Nodes, before.Nodes)
	}
	w.wants("drop a", w.SetBalancerSubnets(w.ctx, me, arn, []control.BalancerSubnet{{Subnet: w.b}}, nil), "")
	if _, ok := vpc.Get[vpc.NetworkInterface](w.View(), before.Nodes[0].Interface); ok || w.interfaces() != 1 {
		t.Error("the dropped node's interface is still there")
	}
}

func TestABalancerIsActiveWhenItsHostCarriesIt(t *testing.T) {
	w := newWorkloads(t)
	w.LocalHost = "h1"
	w.start(w.RunBalancerLifecycle)
	arn := w.balancer("one", w.a)
	active := func(v vpc.View) bool {
		lb, _ := vpc.Get[vpc.LoadBalancer](v, arn)
		return lb.Active
	}
	w.Hosts.Report(control.HostStatus{Host: "h1", Applied: 1})
	time.Sleep(50 * time.Millisecond) // time in which it would wrongly move
	if active(w.View()) {
		t.Fatal("active while the host is behind")
	}
	w.Hosts.Report(control.HostStatus{Host: "h1", Applied: w.View().Revision()})
	w.eventually("active", active)
}

func TestATargetGroupServesOneBalancer(t *testing.T) {
	w := newWorkloads(t)
	g := w.targetGroup("g", "ip")
	lbs := []vpc.ARN{w.balancer("one", w.a), w.balancer("two", w.b)}
	errs := make([]error, len(lbs))
	var wg sync.WaitGroup
	for i, lb := range lbs {
		wg.Go(func() {
			_, errs[i] = w.CreateListener(w.ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "TCP", Port: 80, TargetGroup: g})
		})
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || len(control.BalancersOf(w.View(), g)) != 1 {
		t.Errorf("two at once: %v, %v", errs[0], errs[1])
	}
}

func TestListenersFitTheirPortAndGroup(t *testing.T) {
	w := newWorkloads(t)
	lb, g := w.balancer("one", w.a), w.targetGroup("g", "ip")
	l := w.listener(lb, g, 80)
	_, err := w.CreateListener(w.ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "TCP", Port: 80, TargetGroup: g})
	w.wants("a taken port", err, vpc.Duplicate)
	_, err = w.CreateListener(w.ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "UDP", Port: 81, TargetGroup: g})
	w.wants("another protocol", err, vpc.Combination)
	_, err = w.CreateListener(w.ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "TCP", Port: 70000, TargetGroup: g})
	w.wants("no port", err, vpc.Invalid)
	w.wants("move", w.ModifyListener(w.ctx, me, l, control.ModifyListenerInput{Port: 8080}), "")
	w.listener(lb, g, 80)
	w.wants("move back", w.ModifyListener(w.ctx, me, l, control.ModifyListenerInput{Port: 80}), vpc.Duplicate)
	w.wants("a foreign change", w.ModifyListener(w.ctx, controltest.Provider, l, control.ModifyListenerInput{Port: 90}), vpc.NotFound)
}

func TestTargetHealthFollowsTheProberAndTheListeners(t *testing.T) {
	w := newWorkloads(t)
	i := w.run(w.a)
	g := w.targetGroup("g", "instance")
	w.wants("register", w.RegisterTargets(w.ctx, me, g, []control.TargetInput{{ID: string(i.ID)}}), "")
	is := func(want string) {
		t.Helper()
		if got := w.health(g); got != want {
			t.Fatalf("health %s, want %s", got, want)
		}
	}
	report := control.HealthReport{Group: g, Target: string(i.ID), Port: 80, Zone: "us-east-1b", Healthy: true}
	is("unused/Target.NotInUse")
	w.wants("a report for a group nobody uses", w.ReportHealth(w.ctx, []control.HealthReport{report}), "")
	lb := w.balancer("one", w.b)
	l := w.listener(lb, g, 80)
	is("unused/Target.NotInUse") // its zone has no node
	w.wants("cross-zone", w.SetBalancerAttributes(w.ctx, me, lb, map[string]string{vpc.AttrCrossZone: "true"}), "")
	is("initial/Elb.RegistrationInProgress")
	w.wants("report", w.ReportHealth(w.ctx, []control.HealthReport{report}), "")
	is("healthy")
	before := w.View().Revision()
	unknown, elsewhere, another := report, report, report
	unknown.Port = 81
	another.Host, another.Healthy = "h9", false // the target is not there
	elsewhere.Zone = "us-east-1a"               // there is no node
	w.wants("the same, and what there is not", w.ReportHealth(w.ctx, []control.HealthReport{report, unknown, elsewhere, another}), "")
	if now := w.View().Revision(); now != before {
		t.Errorf("wrote revision %d after %d for no change", now, before)
	}
	report.Healthy, report.Reason, report.Description = false, "Target.Timeout", strings.Repeat("x", 1000)
	w.wants("unhealthy", w.ReportHealth(w.ctx, []control.HealthReport{report}), "")
	is("unhealthy/Target.Timeout")
	h, _ := vpc.Get[vpc.Health](w.View(), vpc.HealthKey(g, string(i.ID), 80))
	if len(h.Nodes) != 1 || len(h.Nodes[0].Description) != 256 {
		t.Errorf("kept: %+v", h.Nodes)
	}
	w.wants("delete the listener", w.DeleteListener(w.ctx, me, l), "")
	is("unused/Target.NotInUse")
	w.listener(lb, g, 80)
	is("initial/Elb.RegistrationInProgress") // nothing old is believed
	list, err := w.DescribeTargetHealth(me, g, []control.TargetInput{{ID: "i-0000000000000beef"}})
	if err != nil || len(list) != 1 || list[0].Reason != "Target.NotRegistered" {
		t.Errorf("a stranger: %+v %v", list, err)
	}
}

func TestADeregisteredTargetDrainsAndGoesWithItsHealth(t *testing.T) {
	w := newWorkloads(t)
	i := w.run(w.a)
	g, lb := w.targetGroup("g", "instance"), w.balancer("one", w.a)
	w.listener(lb, g, 80)
	w.wants("delay", w.SetTargetGroupAttributes(w.ctx, me, g, map[string]string{vpc.AttrDeregistrationDelay: "60"}), "")
	target := []control.TargetInput{{ID: string(i.ID)}}
	healthy := []control.HealthReport{{Group: g, Target: string(i.ID), Port: 80, Zone: "us-east-1a", Healthy: true}}
	w.wants("register", w.RegisterTargets(w.ctx, me, g, target), "")
	w.wants("report", w.ReportHealth(w.ctx, healthy), "")
	w.start(w.RunBalancerLifecycle)
	w.wants("deregister", w.DeregisterTargets(w.ctx, me, g, target), "")
	if got := w.health(g); got != "draining/Target.DeregistrationInProgress" {
		t.Fatal(got)
	}
	w.wants("register again", w.RegisterTargets(w.ctx, me, g, target), "")
	if got := w.health(g); got != "initial/Elb.RegistrationInProgress" {
		t.Fatal(got)
	}
	w.wants("report", w.ReportHealth(w.ctx, healthy), "")
	w.wants("deregister by the instance's end", func() error {
		_, err := w.TerminateInstances(w.ctx, me, []vpc.InstanceID{i.ID})
		return err
	}(), "")
	w.clock.Advance(59 * time.Second)
	w.Hosts.Report(control.HostStatus{Host: "other", Applied: w.View().Revision()})
	if got := w.health(g); got != "draining/Target.DeregistrationInProgress" {
		t.Fatal(got)
	}
	w.clock.Advance(time.Second)
	w.Hosts.Report(control.HostStatus{Host: "other", Applied: w.View().Revision()})
	w.eventually("removed with its health", func(v vpc.View) bool {
		o, _ := vpc.Get[vpc.TargetGroup](v, g)
		_, ok := vpc.Get[vpc.Health](v, vpc.HealthKey(g, string(i.ID), 80))
		return len(o.Targets) == 0 && !ok
	})
	w.wants("deregister what is gone", w.DeregisterTargets(w.ctx, me, g, target), "")
}

func TestWhatCannotBeATarget(t *testing.T) {
	w := newWorkloads(t)
	instances, ips := w.targetGroup("i", "instance"), w.targetGroup("p", "ip")
	w.balancer("one", w.a) // 10.0.1.4
	_, pending, err := w.RunInstances(w.ctx, me, control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: w.a})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		group  vpc.ARN
		target control.TargetInput
		want   vpc.ErrorKind
	}{
		"an unknown instance":     {instances, control.TargetInput{ID: "i-0000000000000beef"}, vpc.Invalid},
		"one that does not run":   {instances, control.TargetInput{ID: string(pending[0])}, vpc.Invalid},
		"an address for instance": {instances, control.TargetInput{ID: "10.0.1.9"}, vpc.Invalid},
		"no address":              {ips, control.TargetInput{ID: "ten"}, vpc.Invalid},
		"outside the VPC":         {ips, control.TargetInput{ID: "192.168.0.1", Zone: "all"}, vpc.Invalid},
		"a balancer's node":       {ips, control.TargetInput{ID: "10.0.1.4"}, vpc.Invalid},
		"an unknown zone":         {ips, control.TargetInput{ID: "10.0.1.9", Zone: "eu-1"}, vpc.Invalid},
		"an address of the VPC":   {ips, control.TargetInput{ID: "10.0.1.9", Port: 8080}, ""},
	} {
		w.wants(what, w.RegisterTargets(w.ctx, me, c.group, []control.TargetInput{c.target}), c.want)
	}
	w.wants("somebody else", w.RegisterTargets(w.ctx, controltest.Provider, ips, []control.TargetInput{{ID: "10.0.1.9"}}), vpc.NotFound)
	w.listener(w.balancer("two", w.a), ips, 80)
	if got := w.health(ips); got != "unhealthy/Target.Timeout" {
		t.Errorf("an address nobody has: %s", got)
	}
}

func TestHealthChecksAreValidated(t *testing.T) {
	w := newWorkloads(t)
	make := func(name string, in control.CheckInput) (vpc.HealthCheck, error) {
		arn, err := w.CreateTargetGroup(w.ctx, me, control.CreateTargetGroupInput{Name: name, Protocol: "TCP", Port: 80, VPC: w.vpc, Check: in})
		if err != nil {
			return vpc.HealthCheck{}, err
		}
		g, _ := vpc.Get[vpc.TargetGroup](w.View(), arn)
		return g.Check, nil
	}
	got, err := make("tcp", control.CheckInput{})
	if want := (vpc.HealthCheck{Protocol: "TCP", Port: "traffic-port", Interval: 30, Timeout: 10, Healthy: 5, Unhealthy: 2}); err != nil || got != want {
		t.Errorf("default: %+v %v", got, err)
	}
	got, err = make("http", control.CheckInput{Protocol: new("HTTP"), Port: new("8080"), Matcher: new("200,204")})
	if want := (vpc.HealthCheck{Protocol: "HTTP", Port: "8080", Path: "/", Matcher: "200,204", Interval: 30, Timeout: 6, Healthy: 5, Unhealthy: 2}); err != nil || got != want {
		t.Errorf("http: %+v %v", got, err)
	}
	for what, in := range map[string]control.CheckInput{
		"a path for TCP":      {Path: new("/")},
		"port 0":              {Port: new("0")},
		"interval 4":          {Interval: new(4)},
		"timeout over":        {Interval: new(5), Timeout: new(6)},
		"healthy 1":           {Healthy: new(1)},
		"a path with newline": {Protocol: new("HTTP"), Path: new("/\r\nX: y")},
		"matcher 100":         {Protocol: new("HTTP"), Matcher: new("100-200")},
		"protocol UDP":        {Protocol: new("UDP")},
	} {
		_, err := make("bad", in)
		w.wants(what, err, vpc.Invalid)
	}
}

func TestAttributesHaveValidDefaultsAndRefuseTheRest(t *testing.T) {
	w := newWorkloads(t)
	lb, g := w.balancer("one", w.a), w.targetGroup("g", "ip")
	l := w.listener(lb, g, 80)
	for _, c := range []struct{ protocol, kind, preserve, cut string }{
		{"TCP", "instance", "true", "false"}, {"TCP", "ip", "false", "false"}, {"UDP", "instance", "true", "true"},
		{"UDP", "ip", "true", "true"}, {"TCP_UDP", "instance", "true", "true"}, {"TCP_UDP", "ip", "true", "true"},
	} {
		values := map[string]string{}
		for _, a := range control.TargetGroupAttributes.Describe(&vpc.TargetGroup{Protocol: c.protocol, TargetType: c.kind}, nil) {
			values[a.Key] = a.Value
		}
		if p, cut := values[vpc.AttrPreserveClientIP], values[vpc.AttrDeregistrationCut]; p != c.preserve || cut != c.cut {
			t.Errorf("%s %s: client IP preservation %s, connection termination %s by default", c.protocol, c.kind, p, cut)
		}
	}
	all := func(list []control.Attribute) map[string]string {
		m := map[string]string{}
		for _, a := range list {
			m[a.Key] = a.Value
		}
		return m
	}
	o, _ := vpc.Get[vpc.LoadBalancer](w.View(), lb)
	og, _ := vpc.Get[vpc.TargetGroup](w.View(), g)
	ol, _ := vpc.Get[vpc.Listener](w.View(), l)
	w.wants("balancer defaults", w.SetBalancerAttributes(w.ctx, me, lb, all(control.BalancerAttributes.Describe(o, nil))), "")
	w.wants("group defaults", w.SetTargetGroupAttributes(w.ctx, me, g, all(control.TargetGroupAttributes.Describe(og, nil))), "")
	w.wants("listener defaults", w.SetListenerAttributes(w.ctx, me, l, all(control.ListenerAttributes.Describe(ol, nil))), "")
	err := w.SetTargetGroupAttributes(w.ctx, me, g, map[string]string{"no.such": "1"})
	w.wants("unknown key", err, vpc.Invalid)
	if !strings.Contains(err.Error(), "attribute key 'no.such' is not recognized") {
		t.Errorf("clients look for other words than %q", err)
	}
	for key, value := range map[string]string{
		vpc.AttrDeregistrationDelay: "3601", vpc.AttrPreserveClientIP: "yes", vpc.AttrCrossZone: "on", "stickiness.type": "lb_cookie",
	} {
		w.wants(key+"="+value, w.SetTargetGroupAttributes(w.ctx, me, g, map[string]string{key: value}), vpc.Invalid)
	}
	var works []string
	for _, s := range control.AttributeSupports() {
		if s.Works {
			works = append(works, s.Object+" "+s.Key)
		}
	}
	slices.Sort(works)
	if want := []string{
		"listener tcp.idle_timeout.seconds",
		"load balancer deletion_protection.enabled", "load balancer load_balancing.cross_zone.enabled",
		"target group deregistration_delay.connection_termination.enabled", "target group deregistration_delay.timeout_seconds",
		"target group load_balancing.cross_zone.enabled", "target group preserve_client_ip.enabled", "target group proxy_protocol_v2.enabled",
		"target group stickiness.enabled", "target group stickiness.type",
		"target group target_group_health.dns_failover.minimum_healthy_targets.count", "target group target_group_health.dns_failover.minimum_healthy_targets.percentage",
		"target group target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "target group target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
		"target group target_health_state.unhealthy.connection_termination.enabled", "target group target_health_state.unhealthy.draining_interval_seconds",
	}; !slices.Equal(works, want) {
		t.Errorf("attributes with an effect: %v", works)
	}
}

func TestELBTagsAreAddedAndRemovedTogether(t *testing.T) {
	w := newWorkloads(t)
	lb, g := w.balancer("one", w.a), w.targetGroup("g", "ip")
	l := w.listener(lb, g, 80)
	arns := []vpc.ARN{lb, g, l}
	w.wants("add", w.SetELBTags(w.ctx, me, arns, vpc.Tags{"a": "1", "b": "2"}, nil), "")
	w.wants("remove", w.SetELBTags(w.ctx, me, arns, nil, []string{"a"}), "")
	w.wants("somebody else", w.SetELBTags(w.ctx, controltest.Provider, arns, vpc.Tags{"c": "3"}, nil), vpc.NotFound)
	w.wants("reserved", w.SetELBTags(w.ctx, me, arns, vpc.Tags{"aws:x": "3"}, nil), vpc.Invalid)
	for _, arn := range arns {
		if tags, err := control.ELBTags(w.View(), me, arn); err != nil || !maps.Equal(tags, vpc.Tags{"b": "2"}) {
			t.Errorf("%s: %v %v", arn, tags, err)
		}
	}
}

func TestABalancerHasSoManyTargetsThatItCanBeDeleted(t *testing.T) {
	w := newWorkloads(t)
	lb := w.balancer("one", w.a)
	full := w.targetGroup("full", "ip")
	var targets []control.TargetInput
	var reports []control.HealthReport
	for port := 1; port <= control.DefaultQuotas.TargetsPerLoadBalancer; port++ {
		targets = append(targets, control.TargetInput{ID: "10.0.1.9", Port: port})
		reports = append(reports, control.HealthReport{Group: full, Target: "10.0.1.9", Port: port, Zone: "us-east-1a", Healthy: true})
	}
	w.wants("one too many", w.RegisterTargets(w.ctx, me, full, append(slices.Clone(targets), control.TargetInput{ID: "10.0.1.10"})), vpc.Limit)
	w.wants("as many as there may be", w.RegisterTargets(w.ctx, me, full, targets), "")
	w.listener(lb, full, 80)
	w.wants("their health", w.ReportHealth(w.ctx, reports), "")
	more := w.targetGroup("more", "ip")
	l := w.listener(lb, more, 81)
	w.wants("more by another group", w.RegisterTargets(w.ctx, me, more, targets[:1]), vpc.Limit)
	w.wants("the listener goes", w.DeleteListener(w.ctx, me, l), "")
	w.wants("more in an unused group", w.RegisterTargets(w.ctx, me, more, targets[:1]), "")
	_, err := w.CreateListener(w.ctx, me, control.CreateListenerInput{Balancer: lb, Protocol: "TCP", Port: 81, TargetGroup: more})
	w.wants("more by a listener", err, vpc.Limit)
	w.wants("delete", w.DeleteBalancer(w.ctx, me, lb), "")
	for range vpc.All[vpc.Health](w.View()) {
		t.Fatal("health of nobody's targets is left")
	}
}
