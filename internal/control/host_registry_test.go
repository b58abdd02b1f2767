// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

var theOperator = control.Caller{Name: "operator", Operator: true}

// joined adds a host and lets a machine with a key join as it.
func (w *workloads) joined(h vpc.Host, key string) {
	w.t.Helper()
	secret, err := w.AddHost(w.ctx, theOperator, h)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.JoinHost(w.ctx, h.ID, secret, []byte(key)); err != nil {
		w.t.Fatal(err)
	}
}

func TestAMachineJoinsOnceWithinAnHour(t *testing.T) {
	w := newWorkloads(t)
	h := vpc.Host{ID: "h2", Zone: "us-east-1b", Underlay: netip.MustParseAddr("192.0.2.2")}
	secret, err := w.AddHost(w.ctx, theOperator, h)
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) < 22 {
		t.Errorf("the secret %q can be guessed", secret)
	}
	if got, _ := vpc.Get[vpc.Host](w.View(), "h2"); got == nil || got.Zone != h.Zone || got.Underlay != h.Underlay || string(got.Join) == secret {
		t.Errorf("the store holds %+v", got)
	}
	for what, x := range map[string]struct {
		id     vpc.HostID
		secret string
	}{"a wrong secret": {"h2", secret[1:] + "A"}, "no secret": {"h2", ""}, "another host": {"h3", secret}} {
		_, err := w.JoinHost(w.ctx, x.id, x.secret, []byte("key"))
		w.wants(what, err, vpc.Denied)
	}
	if control.IsHost(w.View(), "h2", nil) || control.IsHost(w.View(), "h2", []byte("key")) {
		t.Error("a machine that has not joined is the host")
	}
	got, err := w.JoinHost(w.ctx, "h2", secret, []byte("key"))
	if err != nil || got.Underlay != h.Underlay {
		t.Fatalf("%+v %v", got, err)
	}
	if v := w.View(); !control.IsHost(v, "h2", []byte("key")) || control.IsHost(v, "h2", []byte("other")) || control.IsHost(v, "h1", []byte("key")) {
		t.Error("who is the host is not known by its key")
	}
	_, err = w.JoinHost(w.ctx, "h2", secret, []byte("other"))
	w.wants("the same secret again", err, vpc.Denied)

	// Another machine takes its place, the first one is out. In time, that is.
	secret, err = w.NewJoinSecret(w.ctx, theOperator, "h2")
	if err != nil {
		t.Fatal(err)
	}
	if !control.IsHost(w.View(), "h2", []byte("key")) {
		t.Error("the host is out before another has joined")
	}
	w.clock.Advance(control.JoinTime)
	_, err = w.JoinHost(w.ctx, "h2", secret, []byte("other"))
	w.wants("a secret of an hour ago", err, vpc.Denied)
	if secret, err = w.NewJoinSecret(w.ctx, theOperator, "h2"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(control.JoinTime - time.Second)
	if _, err = w.JoinHost(w.ctx, "h2", secret, []byte("other")); err != nil {
		t.Error(err)
	}
	if v := w.View(); control.IsHost(v, "h2", []byte("key")) || !control.IsHost(v, "h2", []byte("other")) {
		t.Error("the machine before is still the host")
	}
}

func TestHostsThatCannotBeAreRefused(t *testing.T) {
	w := newWorkloads(t)
	w.LocalHost = "h1"
	w.put(&vpc.Host{ID: "h1", Underlay: netip.MustParseAddr("192.0.2.1")})
	for what, x := range map[string]struct {
		h    vpc.Host
		kind vpc.ErrorKind
	}{
		"no name":             {vpc.Host{}, vpc.Invalid},
		"a path":              {vpc.Host{ID: "../h2"}, vpc.Invalid},
		"an unknown zone":     {vpc.Host{ID: "h2", Zone: "us-east-1z"}, vpc.Invalid},
		"an IPv6 underlay":    {vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("2001:db8::1")}, vpc.Invalid},
		"a loopback underlay": {vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("127.0.0.1")}, vpc.Invalid},
		"another's underlay":  {vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("192.0.2.1")}, vpc.Conflict},
		"one that exists":     {vpc.Host{ID: "h1"}, vpc.Duplicate},
	} {
		_, err := w.AddHost(w.ctx, theOperator, x.h)
		w.wants(what, err, x.kind)
	}
	_, err := w.AddHost(w.ctx, theOperator, vpc.Host{ID: "h2", Underlay: netip.MustParseAddr("192.0.2.2")})
	w.wants("one that can be", err, "")
	_, err = w.AddHost(w.ctx, controltest.Consumer, vpc.Host{ID: "h3"})
	w.wants("a tenant's host", err, vpc.Denied)
	_, err = w.NewJoinSecret(w.ctx, controltest.Consumer, "h2")
	w.wants("a tenant's secret", err, vpc.Denied)
	w.wants("a tenant removes a host", w.RemoveHost(w.ctx, controltest.Consumer, "h2", true), vpc.Denied)
	_, err = w.NewJoinSecret(w.ctx, theOperator, "h1")
	w.wants("a machine in the place of the server's", err, vpc.NotPermitted)
	w.wants("the server's own is removed", w.RemoveHost(w.ctx, theOperator, "h1", true), vpc.NotPermitted)
	w.wants("what is no host is removed", w.RemoveHost(w.ctx, theOperator, "h9", false), vpc.NotFound)
}

// Instances go to their zone's hosts, spread over those that are connected.
func TestInstancesGoToTheHostsOfTheirZone(t *testing.T) {
	w := newWorkloads(t)
	w.LocalHost = "h1"
	w.put(&vpc.Host{ID: "h1"})
	w.joined(vpc.Host{ID: "b1", Zone: "us-east-1b"}, "1")
	w.joined(vpc.Host{ID: "b2", Zone: "us-east-1b"}, "2")
	w.joined(vpc.Host{ID: "b3", Zone: "us-east-1b"}, "3")
	if _, err := w.AddHost(w.ctx, theOperator, vpc.Host{ID: "b4", Zone: "us-east-1b"}); err != nil { // nobody joined
		t.Fatal(err)
	}
	for _, h := range []vpc.HostID{"h1", "b1", "b2"} {
		w.Hosts.Report(control.HostStatus{Host: h, Applied: 1 << 40})
	}
	run := func(s vpc.SubnetID, n int, on vpc.HostID) (map[vpc.HostID]int, error) {
		_, ids, err := w.RunInstances(w.ctx, controltest.Consumer, control.RunInstancesInput{Min: n, Max: n, ImageID: "ami-1", Subnet: s, Host: on})
		got := map[vpc.HostID]int{}
		for _, id := range ids {
			i, _ := vpc.Get[vpc.Instance](w.View(), id)
			eni, _ := vpc.Get[vpc.NetworkInterface](w.View(), i.Primary)
			if eni.Attachment.Host != i.Host {
				t.Errorf("%s is on %s, its interface on %s", id, i.Host, eni.Attachment.Host)
			}
			got[i.Host]++
		}
		return got, err
	}
	if got, err := run(w.b, 4, ""); err != nil || got["b1"] != 2 || got["b2"] != 2 {
		t.Errorf("in zone b: %v %v", got, err)
	}
	if got, err := run(w.a, 2, ""); err != nil || got["h1"] != 2 {
		t.Errorf("in zone a, which has no host of its own: %v %v", got, err)
	}
	if got, err := run(w.b, 1, "h1"); err != nil || got["h1"] != 1 {
		t.Errorf("on a host that was chosen: %v %v", got, err)
	}
	_, err := run(w.a, 1, "b1")
	w.wants("on a host of another zone", err, vpc.Invalid)
	_, err = run(w.a, 1, "h9")
	w.wants("on no host", err, vpc.NotFound)

	// Those that are there go elsewhere first, unless the machine is gone.
	w.wants("a host in use", w.RemoveHost(w.ctx, theOperator, "b1", false), vpc.InUse)
	w.wants("a host without anything", w.RemoveHost(w.ctx, theOperator, "b3", false), "")
	if control.IsHost(w.View(), "b3", []byte("3")) {
		t.Error("a host that was removed is one")
	}
	w.wants("a host that is gone", w.RemoveHost(w.ctx, theOperator, "b1", true), "")
	if s, _ := w.Hosts.Status(); s["b1"].Live {
		t.Error("a host that was removed is waited for")
	}
	w.start(w.RunInstanceLifecycle)
	var there []vpc.InstanceID
	for i := range vpc.All[vpc.Instance](w.View()) {
		if i.Host == "b1" {
			there = append(there, i.ID)
		}
	}
	if _, err := w.TerminateInstances(w.ctx, controltest.Consumer, there); err != nil {
		t.Fatal(err)
	}
	w.eventually("what was on a host that is gone ends", func(v vpc.View) bool {
		for _, id := range there {
			if w.state(id)(v) != vpc.InstanceTerminated {
				return false
			}
		}
		return len(there) == 2
	})
}

func TestAZoneWithoutHostsRunsNothing(t *testing.T) {
	w := newWorkloads(t)
	w.joined(vpc.Host{ID: "b1", Zone: "us-east-1b"}, "1")
	_, _, err := w.RunInstances(w.ctx, controltest.Consumer, control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: w.a})
	w.wants("an instance in zone a", err, vpc.NoCapacity)
	if w.interfaces() != 0 {
		t.Error("an interface is left")
	}
}

// After a start a server waits for the hosts it knows, for a while.
func TestHostsAreExpectedAfterAStart(t *testing.T) {
	h := control.NewHosts()
	h.GoneAfter = 50 * time.Millisecond
	h.Report(control.HostStatus{Host: "h1", Applied: 7})
	h.Expect("h1", "h2", "h3")
	if ok, why := h.AppliedByAll(7); ok {
		t.Error("hosts that were not heard are not waited for")
	} else if why == "" {
		t.Error("nobody is named")
	}
	h.Report(control.HostStatus{Host: "h2", Applied: 7, Seen: time.Unix(1, 0)})
	deadline := time.After(10 * time.Second)
	for {
		s, changed := h.Status()
		if !s["h3"].Live {
			if !s["h1"].Live || !s["h2"].Live {
				t.Errorf("those that reported: %+v", s)
			}
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("a host that does not come is waited for")
		}
	}
	if ok, why := h.AppliedByAll(7); !ok {
		t.Error(why)
	}
}
