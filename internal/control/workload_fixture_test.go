// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// workloads is a consumer's VPC 10.0.0.0/16 with one subnet in zone a and one
// in b, another subnet in a with eleven addresses, and a provider's
// VPC with a subnet.
type workloads struct {
	*control.Control
	t                     testing.TB
	ctx                   context.Context
	clock                 *controltest.Clock
	vpc                   vpc.VPCID
	a, b, small, provider vpc.SubnetID
	group                 vpc.GroupID // default
}

func newWorkloads(t testing.TB) *workloads {
	t.Helper()
	c, clock := controltest.New(t)
	w := &workloads{Control: c, t: t, ctx: t.Context(), clock: clock,
		a: "subnet-000000000000000aa", b: "subnet-000000000000000bb", small: "subnet-000000000000000cc", provider: "subnet-000000000000000dd"}
	mine, err := c.CreateVPC(w.ctx, controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.CreateVPC(w.ctx, controltest.Provider, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	w.vpc = mine
	w.subnets(
		&vpc.Subnet{ID: w.a, Owner: controltest.Consumer.Account, VPC: mine, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"},
		&vpc.Subnet{ID: w.b, Owner: controltest.Consumer.Account, VPC: mine, CIDR: netip.MustParsePrefix("10.0.2.0/24"), Zone: "us-east-1b"},
		&vpc.Subnet{ID: w.small, Owner: controltest.Consumer.Account, VPC: mine, CIDR: netip.MustParsePrefix("10.0.3.0/28"), Zone: "us-east-1a"},
		&vpc.Subnet{ID: w.provider, Owner: controltest.Provider.Account, VPC: other, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"},
	)
	for g := range vpc.By[vpc.SecurityGroup](c.View(), vpc.IndexVPC, mine) {
		w.group = g.ID
	}
	return w
}

func (w *workloads) subnets(list ...*vpc.Subnet) {
	w.t.Helper()
	if _, err := w.Store.Update(w.ctx, func(tx *store.Tx) error {
		for _, s := range list {
			controltest.PutSubnet(tx, s)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workloads) put(objects ...vpc.Object) {
	w.t.Helper()
	if _, err := w.Store.Update(w.ctx, func(tx *store.Tx) error {
		for _, o := range objects {
			tx.Put(o)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// start runs a life cycle until the test ends.
func (w *workloads) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

// eventually waits until the newest state satisfies ok.
func (w *workloads) eventually(what string, ok func(vpc.View) bool) {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		snap, ch := w.Store.Changed()
		if ok(snap) {
			return
		}
		select {
		case <-ch:
		case <-deadline:
			w.t.Fatalf("never happened: %s", what)
		}
	}
}

func (w *workloads) state(id vpc.InstanceID) func(vpc.View) vpc.InstanceState {
	return func(v vpc.View) vpc.InstanceState {
		i, ok := vpc.Get[vpc.Instance](v, id)
		if !ok {
			return "gone"
		}
		return i.State
	}
}

// run launches one instance in a subnet and makes it running.
func (w *workloads) run(subnet vpc.SubnetID) *vpc.Instance {
	w.t.Helper()
	_, ids, err := w.RunInstances(w.ctx, controltest.Consumer, control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: subnet})
	if err != nil {
		w.t.Fatal(err)
	}
	i, _ := vpc.Get[vpc.Instance](w.View(), ids[0])
	i = vpc.Edit(i)
	i.State = vpc.InstanceRunning
	w.put(i)
	return i
}

// wants fails unless err is a refusal of the kind; "" is success.
func (w *workloads) wants(what string, err error, kind vpc.ErrorKind) {
	w.t.Helper()
	if got := control.KindOf(err); got != kind || kind == "" && err != nil {
		w.t.Errorf("%s: got %q (%v), want %q", what, got, err, kind)
	}
}

func (w *workloads) interfaces() int {
	n := 0
	for range vpc.All[vpc.NetworkInterface](w.View()) {
		n++
	}
	return n
}
