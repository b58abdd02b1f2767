// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// reasons collects why the life cycle holds endpoints back: each line is proof
// that it looked at the state of the moment and decided to wait.
type reasons struct {
	slog.Handler
	seen chan string
}

func (r reasons) Enabled(context.Context, slog.Level) bool { return true }
func (r reasons) Handle(_ context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "reason" {
			r.seen <- a.Value.String()
		}
		return true
	})
	return nil
}

func (f *endpoints) reasons() reasons {
	r := reasons{slog.DiscardHandler, make(chan string, 1000)}
	f.Log = slog.New(r)
	return r
}

func (r reasons) await(t *testing.T, part string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-r.seen:
			if strings.Contains(got, part) {
				return
			}
		case <-deadline:
			t.Fatalf("the life cycle did not say that it waits: %s", part)
		}
	}
}

// host reports that a host has applied a revision.
func (f *endpoints) host(id vpc.HostID, r vpc.Revision, errors map[string]string) {
	f.Hosts.Report(control.HostStatus{Host: id, Applied: r, Named: r, Errors: errors})
}

// follow is a host that applies everything at once until the test ends.
func (f *endpoints) follow(id vpc.HostID) {
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan struct{})
	f.host(id, f.View().Revision(), nil)
	go func() {
		defer close(done)
		for {
			snap, ch := f.Store.Changed()
			f.host(id, snap.Revision(), nil)
			select {
			case <-ch:
			case <-ctx.Done():
				return
			}
		}
	}()
	f.t.Cleanup(func() { cancel(); <-done })
}

func TestAvailableMeansThatEveryHostCarriesPacketsAndNames(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	why := f.reasons()
	s := f.service(false, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	made := f.changeOf(e.ID)
	if e.State != vpc.EndpointPending || e.Named {
		t.Fatalf("made as %s, named %v", e.State, e.Named)
	}
	f.host("one", made, nil)
	f.host("late", made-1, nil)
	f.live()
	why.await(t, "host late is at revision")
	if e = f.endpoint(e.ID); e.State != vpc.EndpointPending || e.Named {
		t.Errorf("%s, named %v before every host carries the packets", e.State, e.Named)
	}
	f.host("late", made, nil)
	f.await("the names", func(v vpc.View) bool { e, _ := vpc.Get[vpc.Endpoint](v, e.ID); return e.Named })
	named := f.changeOf(e.ID)
	f.host("one", named, nil)
	f.host("late", named, map[string]string{string(e.ID): "no room in the map"})
	why.await(t, "host late: "+string(e.ID)+": no room in the map")
	f.host("late", named, map[string]string{string(e.Nodes[0].Interface): "no such device"})
	why.await(t, "no such device")
	if e = f.endpoint(e.ID); e.State != vpc.EndpointPending {
		t.Errorf("%s before every host has the names", e.State)
	}
	f.host("late", named, map[string]string{"eni-of-somebody-else": "broken"})
	f.awaitState(e.ID, vpc.EndpointAvailable)
}

func TestAHostThatIsGoneHoldsNothingBack(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	why := f.reasons()
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}})
	f.host("dead", 1, nil)
	f.live()
	why.await(t, "host dead is at revision 1")
	f.Hosts.Gone("dead")
	f.awaitState(e.ID, vpc.EndpointAvailable)
	// A host that comes late is waited for again.
	f.host("late", 1, nil)
	g := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	why.await(t, "host late is at revision 1")
	if got := f.endpoint(g.ID); got.State != vpc.EndpointPending {
		t.Errorf("%s before the late host has it", got.State)
	}
	f.host("late", f.changeOf(g.ID), nil)
	f.awaitState(g.ID, vpc.EndpointAvailable)
}

func TestModifiedEndpointKeepsItsNamesWhileHostsCatchUp(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	why := f.reasons()
	f.live()
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA}})
	f.awaitState(e.ID, vpc.EndpointAvailable)
	f.host("slow", f.View().Revision(), nil)
	if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, AddSubnets: []vpc.SubnetID{subnetB}}); err != nil {
		t.Fatal(err)
	}
	why.await(t, "host slow is at revision")
	if got := f.endpoint(e.ID); got.State != vpc.EndpointPending || !got.Named {
		t.Errorf("%s, named %v; want pending with its names", got.State, got.Named)
	}
	if got := f.endpoint(e.ID); len(got.Coming) != 1 || got.Coming[0] != got.Nodes[1].Addr {
		t.Errorf("the names are to wait for %v, want %v", got.Coming, got.Nodes[1].Addr)
	}
	f.host("slow", f.changeOf(e.ID), nil)
	f.await("the names' new address", func(v vpc.View) bool {
		e, _ := vpc.Get[vpc.Endpoint](v, e.ID)
		return len(e.Coming) == 0 && e.State == vpc.EndpointPending
	})
	f.Hosts.Report(control.HostStatus{Host: "slow", Applied: f.changeOf(e.ID), Named: f.changeOf(e.ID) - 1})
	why.await(t, "the resolver of host slow is at revision")
	f.host("slow", f.changeOf(e.ID), nil)
	f.awaitState(e.ID, vpc.EndpointAvailable)
}

// What is taken from an endpoint carries packets until no resolver says it.
func TestARemovedSubnetsInterfaceGoesAfterItsName(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	why := f.reasons()
	f.live()
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s3Name, Subnets: []vpc.SubnetID{subnetA, subnetB}})
	f.awaitState(e.ID, vpc.EndpointAvailable)
	f.host("slow", f.View().Revision(), nil)
	if err := f.ModifyEndpoint(f.ctx, controltest.Consumer, control.ModifyEndpointInput{ID: e.ID, RemoveSubnets: []vpc.SubnetID{subnetB}}); err != nil {
		t.Fatal(err)
	}
	f.Hosts.Report(control.HostStatus{Host: "slow", Applied: f.changeOf(e.ID), Named: f.changeOf(e.ID) - 1})
	why.await(t, "the resolver of host slow is at revision")
	got := f.endpoint(e.ID)
	if _, there := vpc.Get[vpc.NetworkInterface](f.View(), e.Nodes[1].Interface); !there || len(got.Nodes) != 1 || len(got.Going) != 1 {
		t.Errorf("there %v, nodes %v, going %v", there, got.Nodes, got.Going)
	}
	f.host("slow", f.changeOf(e.ID), nil)
	f.await("the end of the interface", func(v vpc.View) bool {
		_, there := vpc.Get[vpc.NetworkInterface](v, e.Nodes[1].Interface)
		return !there
	})
	f.host("slow", f.View().Revision(), nil)
	f.awaitState(e.ID, vpc.EndpointAvailable)
}

// A resolver that is stuck does not keep a provider's no from the packets.
func TestARejectionWaitsForNamesOnlySoLong(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	why := f.reasons()
	f.live()
	s := f.service(false, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	f.awaitState(e.ID, vpc.EndpointAvailable)
	at := f.View().Revision()
	f.host("stuck", at, nil)
	f.Hosts.Report(control.HostStatus{Host: "stuck", Applied: at + 1000, Named: at})
	if failed, err := f.RejectConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID}); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	why.await(t, "the resolver of host stuck is at revision")
	if got := f.endpoint(e.ID); got.State != vpc.EndpointRejected || got.Named || !got.Passes() {
		t.Errorf("%s, named %v, passes %v; want rejected, without names, and packets that still pass", got.State, got.Named, got.Passes())
	}
	fails(t, func() error {
		f.clock.Advance(time.Second)
		_, err := f.Store.Update(f.ctx, func(tx *store.Tx) error { // its packets need it
			v, _ := vpc.Get[vpc.EndpointService](tx, s.ID)
			tx.Delete(v)
			return nil
		})
		return err
	}(), vpc.InUse, string(vpc.KindService))
	f.clock.Advance(time.Second)
	f.put(func(tx *store.Tx) {
		v, _ := vpc.Get[vpc.VPC](tx, f.vpc)
		tx.Touch(v)
	})
	f.await("the end of the packets", func(v vpc.View) bool { e, _ := vpc.Get[vpc.Endpoint](v, e.ID); return !e.Passes() })
}

func TestAcceptAnswersWhenTheEndpointIsAvailable(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.follow("host")
	f.live()
	s := f.service(true, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	if e.State != vpc.EndpointPendingAcceptance {
		t.Fatalf("made as %s", e.State)
	}
	steps := []struct {
		name string
		call func(context.Context, control.Caller, vpc.ServiceID, []vpc.EndpointID) ([]control.ItemError, error)
		ok   bool
		want vpc.EndpointState
	}{
		{"accept", f.AcceptConnections, true, vpc.EndpointAvailable},
		{"accept again", f.AcceptConnections, false, vpc.EndpointAvailable},
		{"reject what is in use", f.RejectConnections, true, vpc.EndpointRejected},
		{"reject again", f.RejectConnections, false, vpc.EndpointRejected},
		{"accept what was rejected", f.AcceptConnections, true, vpc.EndpointAvailable},
	}
	for _, st := range steps {
		failed, err := st.call(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID, e.ID})
		if err != nil || (len(failed) == 0) != st.ok {
			t.Fatalf("%s: %v %v", st.name, failed, err)
		}
		if !st.ok {
			fails(t, failed[0].Err, vpc.WrongState, "vpc-endpoint-connection")
		}
		got := f.endpoint(e.ID)
		if got.State != st.want || got.Named != (st.want == vpc.EndpointAvailable) {
			t.Errorf("%s: %s, named %v; want %s", st.name, got.State, got.Named, st.want)
		}
		if len(got.Nodes) != 1 {
			t.Errorf("%s: interfaces %v", st.name, got.Nodes)
		}
	}
	// The consumer cannot answer for the provider.
	_, err := f.AcceptConnections(f.ctx, controltest.Consumer, s.ID, []vpc.EndpointID{e.ID})
	fails(t, err, vpc.NotFound, "vpc-endpoint-service")
	other, err := f.CreateService(f.ctx, controltest.Provider, control.CreateServiceInput{Balancers: []vpc.ARN{nlbTwo}})
	if err != nil {
		t.Fatal(err)
	}
	failed, err := f.RejectConnections(f.ctx, controltest.Provider, other.ID, []vpc.EndpointID{e.ID, "vpce-00000000000000bad"})
	if err != nil || len(failed) != 2 {
		t.Fatalf("%v %v", failed, err)
	}
	for _, i := range failed {
		fails(t, i.Err, vpc.NotFound, "vpc-endpoint")
	}
	if got := f.endpoint(e.ID); got.State != vpc.EndpointAvailable {
		t.Errorf("%s after a call to another service", got.State)
	}
}

func TestOneOfTwoRacingAcceptsWins(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	s := f.service(true, "")
	for range 5 {
		e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
		won := make(chan bool, 3)
		for range cap(won) {
			go func() {
				failed, err := f.AcceptConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID})
				if err != nil {
					t.Error(err)
				}
				won <- len(failed) == 0
			}()
		}
		n := 0
		for range cap(won) {
			if <-won {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d accepts succeeded, want 1", n)
		}
		if got := f.endpoint(e.ID); got.State != vpc.EndpointAvailable {
			t.Errorf("%s after the accepts", got.State)
		}
	}
}

// A rejection and the life cycle's step to available race; whichever order
// they come in, the endpoint ends rejected and without names.
func TestRejectWinsOverTheLifeCycle(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.follow("host")
	f.live()
	s := f.service(false, "")
	for range 20 {
		e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
		if failed, err := f.RejectConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID}); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
		rev := f.changeOf(e.ID)
		f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{f.create(control.CreateEndpointInput{ServiceName: s3Name}).ID}) // passes go by
		if got := f.endpoint(e.ID); got.State != vpc.EndpointRejected || got.Named || f.changeOf(e.ID) != rev {
			t.Fatalf("%s, named %v", got.State, got.Named)
		}
	}
}

func TestDeleteRemovesTheEndpointWhenHostsHaveLetGo(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	controltest.HandMade(f.Control) // a subnet taken out of its network ACL by nobody
	why := f.reasons()
	f.live()
	s := f.service(false, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	f.awaitState(e.ID, vpc.EndpointAvailable)
	f.host("slow", f.View().Revision(), nil)
	failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID, "vpce-00000000000000bad"})
	if err != nil || len(failed) != 1 || failed[0].ID != "vpce-00000000000000bad" {
		t.Fatalf("%v %v", failed, err)
	}
	fails(t, failed[0].Err, vpc.NotFound, string(control.KindEndpointItem))
	why.await(t, "host slow is at revision")
	if got := f.endpoint(e.ID); got.State != vpc.EndpointDeleting || got.Named {
		t.Errorf("%s, named %v while a host still carries it", got.State, got.Named)
	}
	_, err = f.Store.Update(f.ctx, func(tx *store.Tx) error {
		s, _ := vpc.Get[vpc.Subnet](tx, subnetA)
		tx.Delete(s)
		return nil
	})
	fails(t, err, vpc.InUse, "subnet")
	// Names first, then packets.
	f.Hosts.Report(control.HostStatus{Host: "slow", Named: f.changeOf(e.ID)})
	f.await("the end of the packets", func(v vpc.View) bool { e, _ := vpc.Get[vpc.Endpoint](v, e.ID); return !e.Passes() })
	rev := f.changeOf(e.ID)
	go f.host("slow", rev, nil)
	if failed, err = f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID}); err != nil || len(failed) > 0 {
		t.Fatalf("deleting again: %v %v", failed, err)
	}
	f.awaitGone(e.ID)
	for n := range vpc.By[vpc.NetworkInterface](f.View(), vpc.IndexEndpoint, e.ID) {
		t.Errorf("interface %s stays", n.ID)
	}
	f.put(func(tx *store.Tx) {
		s, _ := vpc.Get[vpc.Subnet](tx, subnetA)
		tx.Delete(s)
	})
	if failed, err = f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID}); err != nil || len(failed) != 1 {
		t.Errorf("deleting what is gone: %v %v", failed, err)
	}
}

func TestForeignEndpointsAreUnknown(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	e := f.create(control.CreateEndpointInput{ServiceName: s3Name, RouteTables: []vpc.RouteTableID{f.main}})
	before := f.View().Revision()
	failed, err := f.DeleteEndpoints(f.ctx, controltest.Stranger, []vpc.EndpointID{e.ID})
	if err != nil || len(failed) != 1 {
		t.Fatalf("%v %v", failed, err)
	}
	unknown, _ := f.DeleteEndpoints(f.ctx, controltest.Stranger, []vpc.EndpointID{"vpce-00000000000000bad"})
	if a, b := failed[0].Err.Error(), unknown[0].Err.Error(); strings.ReplaceAll(a, string(e.ID), "") != strings.ReplaceAll(b, "vpce-00000000000000bad", "") {
		t.Errorf("a foreign id answers %q, an unknown one %q", a, b)
	}
	if f.View().Revision() != before {
		t.Error("a foreign call wrote something")
	}
}

func TestUnansweredRequestsExpire(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	s := f.service(true, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
	f.clock.Advance(7*24*time.Hour - time.Second)
	other := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	f.awaitState(other.ID, vpc.EndpointAvailable)
	if got := f.endpoint(e.ID); got.State != vpc.EndpointPendingAcceptance {
		t.Errorf("%s a second early", got.State)
	}
	f.clock.Advance(time.Second)
	f.awaitState(e.ID, vpc.EndpointExpired) // the alarm set a second before
	failed, err := f.AcceptConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID})
	if err != nil || len(failed) != 1 {
		t.Errorf("accepting an expired request: %v %v", failed, err)
	}
	if failed, err := f.DeleteServices(f.ctx, controltest.Provider, []vpc.ServiceID{s.ID}); err != nil || len(failed) > 0 {
		t.Errorf("deleting the service: %v %v", failed, err)
	}
}

func TestLifeCycleEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	ctx, cancel := context.WithCancel(f.ctx)
	end := make(chan error, 1)
	go func() { end <- f.RunEndpointLifecycle(ctx) }()
	cancel()
	select {
	case err := <-end:
		if err != context.Canceled {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the life cycle goes on")
	}
	// What happened without it is caught up on by the next one.
	e := f.create(control.CreateEndpointInput{ServiceName: s3Name})
	f.live()
	f.awaitState(e.ID, vpc.EndpointAvailable)
}

func TestDeletedServiceLeavesRejectedEndpoints(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	f.live()
	s := f.service(true, "")
	e := f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name, Subnets: []vpc.SubnetID{subnetA}})
	refused := func(state vpc.EndpointState) {
		t.Helper()
		if got := f.endpoint(e.ID).State; got != state {
			t.Fatalf("state %s, want %s", got, state)
		}
		failed, err := f.DeleteServices(f.ctx, controltest.Provider, []vpc.ServiceID{s.ID, "vpce-svc-00000000000000bad"})
		if err != nil || len(failed) != 2 {
			t.Fatalf("%v %v", failed, err)
		}
		fails(t, failed[0].Err, vpc.ExistingConnections, "vpc-endpoint-service")
		fails(t, failed[1].Err, vpc.NotFound, string(control.KindServiceItem))
	}
	ids := []vpc.EndpointID{e.ID}
	refused(vpc.EndpointPendingAcceptance)
	f.AcceptConnections(f.ctx, controltest.Provider, s.ID, ids)
	refused(vpc.EndpointAvailable)
	f.RejectConnections(f.ctx, controltest.Provider, s.ID, ids)
	if failed, err := f.DeleteServices(f.ctx, controltest.Provider, []vpc.ServiceID{s.ID}); err != nil || len(failed) > 0 {
		t.Fatalf("%v %v", failed, err)
	}
	if got := f.endpoint(e.ID).State; got != vpc.EndpointRejected {
		t.Errorf("state %s after the service went", got)
	}
	if slices.Collect(control.Connections(f.View(), controltest.Provider)) != nil {
		t.Error("the provider still sees the connection")
	}
	if failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, ids); err != nil || len(failed) > 0 {
		t.Fatalf("%v %v", failed, err)
	}
	f.awaitGone(e.ID)
}

// The endpoint's reference to the service decides the race: there is never an
// endpoint that may carry packets to a service that is gone.
func TestServiceDeletionRacesWithNewEndpoints(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	for range 10 {
		s := f.service(false, "")
		type result struct {
			e   *vpc.Endpoint
			err error
		}
		made := make(chan result, 1)
		go func() {
			e, err := f.CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
			made <- result{e, err}
		}()
		failed, err := f.DeleteServices(f.ctx, controltest.Provider, []vpc.ServiceID{s.ID})
		r := <-made
		switch {
		case err != nil:
			fails(t, err, vpc.InUse, "vpc-endpoint-service")
		case (len(failed) == 0) == (r.err == nil):
			t.Fatalf("service deletion %v, endpoint %v, %v", failed, r.e, r.err)
		}
		if r.err == nil {
			f.RejectConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{r.e.ID})
			if failed, err := f.DeleteServices(f.ctx, controltest.Provider, []vpc.ServiceID{s.ID}); err != nil || len(failed) > 0 {
				t.Fatal(failed, err)
			}
		}
	}
}
