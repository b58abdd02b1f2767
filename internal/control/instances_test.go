// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func TestAnInstanceLivesAndIsForgottenAnHourAfterItsEnd(t *testing.T) {
	w := newWorkloads(t)
	w.start(w.RunInstanceLifecycle)
	_, ids, err := w.RunInstances(w.ctx, controltest.Consumer, control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: w.a})
	if err != nil {
		t.Fatal(err)
	}
	state := w.state(ids[0])
	w.eventually("running without a datapath", func(v vpc.View) bool { return state(v) == vpc.InstanceRunning })
	if _, n, err := control.Workload(w.View(), controltest.Consumer, ids[0]); err != nil || n.Addr.String() != "10.0.1.4" {
		t.Errorf("workload: %v %v", n, err)
	}
	changes, err := w.TerminateInstances(w.ctx, controltest.Consumer, ids)
	if err != nil || len(changes) != 1 || changes[0].Previous != vpc.InstanceRunning || changes[0].Current != vpc.InstanceShuttingDown {
		t.Fatalf("terminate: %v %v", changes, err)
	}
	w.eventually("terminated", func(v vpc.View) bool { return state(v) == vpc.InstanceTerminated })
	if n := w.interfaces(); n != 0 {
		t.Errorf("%d interfaces left", n)
	}
	_, _, err = control.Workload(w.View(), controltest.Consumer, ids[0])
	w.wants("a terminated workload", err, vpc.WrongState)
	w.clock.Advance(59 * time.Minute)
	w.Hosts.Report(control.HostStatus{Host: "other", Applied: w.View().Revision()})
	if s := state(w.View()); s != vpc.InstanceTerminated {
		t.Errorf("after 59 minutes: %s", s)
	}
	w.clock.Advance(time.Minute)
	w.Hosts.Report(control.HostStatus{Host: "other", Applied: w.View().Revision()})
	w.eventually("forgotten", func(v vpc.View) bool { return state(v) == "gone" })
}

func TestAnInstanceRunsOnlyWhenItsHostHasItsInterface(t *testing.T) {
	w := newWorkloads(t)
	w.LocalHost = "h1"
	w.start(w.RunInstanceLifecycle)
	_, ids, err := w.RunInstances(w.ctx, controltest.Consumer, control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: w.a})
	if err != nil {
		t.Fatal(err)
	}
	i, _ := vpc.Get[vpc.Instance](w.View(), ids[0])
	state := w.state(i.ID)
	pending := func(why string) {
		t.Helper()
		time.Sleep(50 * time.Millisecond) // time in which it would wrongly move
		if s := state(w.View()); s != vpc.InstancePending {
			t.Fatalf("%s: %s", why, s)
		}
	}
	pending("host not connected")
	report := func(at vpc.Revision, errs map[string]string) {
		w.Hosts.Report(control.HostStatus{Host: "h1", Applied: at, Errors: errs})
	}
	report(1, nil)
	pending("host behind")
	report(w.View().Revision(), map[string]string{string(i.Primary): "no such device"})
	pending("interface in error")
	report(w.View().Revision(), nil)
	w.eventually("running", func(v vpc.View) bool { return state(v) == vpc.InstanceRunning })
	if !w.InstanceReachable(w.View(), i) {
		t.Error("not reachable while running on a connected host")
	}

	if _, err := w.TerminateInstances(w.ctx, controltest.Consumer, ids); err != nil {
		t.Fatal(err)
	}
	w.Hosts.Gone("h1")
	time.Sleep(50 * time.Millisecond)
	if s := state(w.View()); s != vpc.InstanceShuttingDown || w.interfaces() != 1 {
		t.Fatalf("before the host let go: %s with %d interfaces", s, w.interfaces())
	}
	report(w.View().Revision(), nil)
	w.eventually("terminated", func(v vpc.View) bool { return state(v) == vpc.InstanceTerminated })
	if w.interfaces() != 0 {
		t.Error("the interface is still there")
	}
}

func TestAnInterfaceThatExistedOutlivesTheInstance(t *testing.T) {
	w := newWorkloads(t)
	w.start(w.RunInstanceLifecycle)
	eni, err := w.CreateInterface(w.ctx, controltest.Consumer, control.CreateInterfaceInput{Subnet: w.a})
	if err != nil {
		t.Fatal(err)
	}
	in := control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Interface: eni, KeepInterface: true}
	_, ids, err := w.RunInstances(w.ctx, controltest.Consumer, in)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.RunInstances(w.ctx, controltest.Consumer, in)
	w.wants("an interface in use", err, vpc.InUse)
	if _, err := w.TerminateInstances(w.ctx, controltest.Consumer, ids); err != nil {
		t.Fatal(err)
	}
	w.eventually("terminated", func(v vpc.View) bool { return w.state(ids[0])(v) == vpc.InstanceTerminated })
	n, ok := vpc.Get[vpc.NetworkInterface](w.View(), eni)
	if !ok || n.Attachment != nil {
		t.Errorf("the interface: %v %+v", ok, n)
	}
}

func TestRunInstancesMakesAsManyAsFitOrNone(t *testing.T) {
	w := newWorkloads(t)
	in := control.RunInstancesInput{Min: 12, Max: 20, ImageID: "ami-1", Subnet: w.small}
	_, _, err := w.RunInstances(w.ctx, controltest.Consumer, in)
	w.wants("twelve where eleven fit", err, vpc.NoAddress)
	if w.interfaces() != 0 {
		t.Fatal("a refused launch left interfaces")
	}
	in.Min = 2
	_, ids, err := w.RunInstances(w.ctx, controltest.Consumer, in)
	if err != nil || len(ids) != 11 {
		t.Errorf("two to twenty where eleven fit: %v %v", ids, err)
	}
}

func TestRunInstancesRefusals(t *testing.T) {
	w := newWorkloads(t)
	ok := control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: w.a}
	for what, c := range map[string]struct {
		change func(*control.RunInstancesInput)
		want   vpc.ErrorKind
	}{
		"no subnet":         {func(in *control.RunInstancesInput) { in.Subnet = "" }, vpc.Missing},
		"a foreign subnet":  {func(in *control.RunInstancesInput) { in.Subnet = w.provider }, vpc.NotFound},
		"no image":          {func(in *control.RunInstancesInput) { in.ImageID = "x" }, vpc.Malformed},
		"none":              {func(in *control.RunInstancesInput) { in.Min = 0 }, vpc.Invalid},
		"max below min":     {func(in *control.RunInstancesInput) { in.Min = 2 }, vpc.Invalid},
		"too many":          {func(in *control.RunInstancesInput) { in.Max = 101 }, vpc.Limit},
		"another zone":      {func(in *control.RunInstancesInput) { in.Zone = "us-east-1b" }, vpc.Combination},
		"an unknown group":  {func(in *control.RunInstancesInput) { in.Groups = []vpc.GroupID{"sg-1"} }, vpc.NotFound},
		"two for one ENI":   {func(in *control.RunInstancesInput) { in.Subnet, in.Interface, in.Max = "", "eni-1", 2 }, vpc.Combination},
		"an ENI and subnet": {func(in *control.RunInstancesInput) { in.Interface = "eni-1" }, vpc.Combination},
	} {
		in := ok
		c.change(&in)
		_, _, err := w.RunInstances(w.ctx, controltest.Consumer, in)
		w.wants(what, err, c.want)
	}
	dry := controltest.Consumer
	dry.DryRun = true
	_, _, err := w.RunInstances(w.ctx, dry, ok)
	w.wants("dry run", err, vpc.DryRun)
	if w.interfaces() != 0 {
		t.Error("refused launches left interfaces")
	}
}

func TestTheSameTokenLaunchesOnce(t *testing.T) {
	w := newWorkloads(t)
	in := control.RunInstancesInput{Min: 1, Max: 1, ImageID: "ami-1", Subnet: w.a, Token: "t"}
	r1, ids1, err := w.RunInstances(w.ctx, controltest.Consumer, in)
	if err != nil {
		t.Fatal(err)
	}
	r2, ids2, err := w.RunInstances(w.ctx, controltest.Consumer, in)
	if err != nil || r1 != r2 || len(ids2) != 1 || ids1[0] != ids2[0] {
		t.Errorf("second call: %s %v %v, first %s %v", r2, ids2, err, r1, ids1)
	}
	in.InstanceType = "t3.micro"
	_, _, err = w.RunInstances(w.ctx, controltest.Consumer, in)
	w.wants("other parameters", err, vpc.TokenMismatch)
}

func TestAnotherAccountsInstanceDoesNotExist(t *testing.T) {
	w := newWorkloads(t)
	i := w.run(w.a)
	_, err := w.TerminateInstances(w.ctx, controltest.Provider, []vpc.InstanceID{i.ID})
	w.wants("terminate", err, vpc.NotFound)
	_, _, err = control.Workload(w.View(), controltest.Provider, i.ID)
	w.wants("workload", err, vpc.NotFound)
	operator := controltest.Provider
	operator.Operator = true
	_, _, err = control.Workload(w.View(), operator, i.ID)
	w.wants("an operator's", err, "")
}
