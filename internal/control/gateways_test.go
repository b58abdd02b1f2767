// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// atOnce runs n calls at the same time and answers how many succeeded; the
// others must have been refused for want of one of the kinds.
func atOnce(t *testing.T, n int, call func(i int) error, kinds ...vpc.ErrorKind) int {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
			continue
		}
		known := false
		for _, k := range kinds {
			known = known || control.KindOf(err) == k
		}
		if !known {
			t.Errorf("refused with %v, want one of %v", err, kinds)
		}
	}
	return made
}

func TestGatewaysAndAddressesBeyondTheirQuotasAreRefusedAlsoInARace(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	nat := func(s vpc.SubnetID) func(int) error {
		return func(int) error {
			_, err := w.CreateNATGateway(w.ctx, me, control.CreateNATInput{Subnet: s, Private: true})
			return err
		}
	}
	for what, c := range map[string]struct {
		call func(int) error
		want int
	}{
		"internet gateways":      {func(int) error { _, err := w.CreateInternetGateway(w.ctx, me, nil); return err }, control.DefaultQuotas.InternetGateways},
		"Elastic IPs":            {func(int) error { _, err := w.AllocateAddress(w.ctx, me, netip.Addr{}, nil); return err }, control.DefaultQuotas.ElasticIPs},
		"NAT gateways of zone a": {nat(w.a), control.DefaultQuotas.NATGatewaysPerZone},
		"NAT gateways of zone b": {nat(w.b), control.DefaultQuotas.NATGatewaysPerZone},
	} {
		if made := atOnce(t, 8, c.call, vpc.Limit); made != c.want {
			t.Errorf("%d %s were made, the quota is %d", made, what, c.want)
		}
	}
	for g := range vpc.All[vpc.NATGateway](w.View()) {
		if err := w.DeleteNATGateway(w.ctx, me, g.ID); err != nil {
			t.Fatal(err)
		}
		break
	}
	n := 0
	for g := range vpc.All[vpc.NATGateway](w.View()) {
		if g.State == vpc.NATAvailable {
			n++
		}
	}
	if n != 9 {
		t.Fatalf("%d NAT gateways are available after one was deleted, want 9", n)
	}
	// One of the two zones has room again, and one alone.
	if made := atOnce(t, 2, func(i int) error { return nat([]vpc.SubnetID{w.a, w.b}[i])(i) }, vpc.Limit); made != 1 {
		t.Errorf("%d NAT gateways were made in place of one", made)
	}
}

func TestNoTwoAccountsGetOneAddress(t *testing.T) {
	c, _ := controltest.New(t)
	// Two blocks: seven addresses for hosts, the last block's being all of it.
	c.PublicPool = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/29"), netip.MustParsePrefix("198.51.100.7/32")}
	callers := []control.Caller{controltest.Consumer, controltest.Provider, controltest.Stranger}
	made := atOnce(t, 12, func(i int) error {
		_, err := c.AllocateAddress(t.Context(), callers[i%3], netip.Addr{}, nil)
		return err
	}, vpc.NoAddress)
	seen := map[netip.Addr]bool{}
	for e := range vpc.All[vpc.ElasticIP](c.View()) {
		seen[e.Addr] = true
	}
	if made != 7 || len(seen) != 7 || seen[netip.MustParseAddr("192.0.2.0")] || seen[netip.MustParseAddr("192.0.2.7")] {
		t.Errorf("%d calls got addresses %v, want 192.0.2.1 to .6 and 198.51.100.7", made, seen)
	}
	// Which addresses others hold cannot be found out by asking for them.
	for e := range vpc.All[vpc.ElasticIP](c.View()) {
		if e.Owner != controltest.Consumer.Account {
			continue
		}
		_, err := c.AllocateAddress(t.Context(), controltest.Provider, e.Addr, nil)
		_, unknown := c.AllocateAddress(t.Context(), controltest.Provider, netip.MustParseAddr("203.0.113.9"), nil)
		if control.KindOf(err) != vpc.NotFound || control.KindOf(unknown) != vpc.NotFound {
			t.Errorf("a held address: %v, one that is not in the pool: %v", err, unknown)
		}
		if err := c.ReleaseAddress(t.Context(), controltest.Consumer, e.ID); err != nil {
			t.Fatal(err)
		}
		id, err := c.AllocateAddress(t.Context(), controltest.Provider, e.Addr, nil)
		if got, ok := vpc.Get[vpc.ElasticIP](c.View(), id); err != nil || !ok || got.Addr != e.Addr {
			t.Errorf("a released address that is asked for: %v %+v", err, got)
		}
		return
	}
}

// publicPlace is an internet gateway on the fixture's VPC and an Elastic IP.
func (w *workloads) publicPlace() (vpc.InternetGatewayID, vpc.AllocationID) {
	w.t.Helper()
	g, err := w.CreateInternetGateway(w.ctx, controltest.Consumer, nil)
	if err == nil {
		err = w.AttachInternetGateway(w.ctx, controltest.Consumer, g, w.vpc)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := w.AllocateAddress(w.ctx, controltest.Consumer, netip.Addr{}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return g, e
}

func (w *workloads) elasticIP(id vpc.AllocationID) *vpc.ElasticIP {
	w.t.Helper()
	e, ok := vpc.Get[vpc.ElasticIP](w.View(), id)
	if !ok {
		w.t.Fatalf("Elastic IP %s is gone", id)
	}
	return e
}

func TestAnAddressIsMappedOrItsGatewayDetachedNeverBoth(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	g, e := w.publicPlace()
	n, err := w.CreateInterface(w.ctx, me, control.CreateInterfaceInput{Subnet: w.a})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		made := atOnce(t, 2, func(i int) error {
			if i == 0 {
				_, err := w.AssociateAddress(w.ctx, me, control.AssociateAddressInput{Address: control.AddressRef{Allocation: e}, Interface: n})
				return err
			}
			return w.DetachInternetGateway(w.ctx, me, g, w.vpc)
		}, vpc.InUse, vpc.WrongState)
		now, _ := vpc.Get[vpc.InternetGateway](w.View(), g)
		mapped := w.elasticIP(e).Association != ""
		if made != 1 || mapped == (now.VPC == "") {
			t.Fatalf("%d of two calls succeeded; mapped %t, attached to %q", made, mapped, now.VPC)
		}
		if mapped {
			err = w.DisassociateAddress(w.ctx, me, w.elasticIP(e).Association)
		} else {
			err = w.AttachInternetGateway(w.ctx, me, g, w.vpc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnInterfaceThatGoesLeavesItsAddressAllocated(t *testing.T) {
	w := newWorkloads(t)
	w.start(w.RunInstanceLifecycle)
	me := controltest.Consumer
	_, e := w.publicPlace()
	associate := func(in control.AssociateAddressInput) {
		t.Helper()
		in.Address.Allocation = e
		if id, err := w.AssociateAddress(w.ctx, me, in); err != nil || w.elasticIP(e).Association != id {
			t.Fatalf("associate: %q %v", id, err)
		}
	}
	n, err := w.CreateInterface(w.ctx, me, control.CreateInterfaceInput{Subnet: w.a})
	if err != nil {
		t.Fatal(err)
	}
	associate(control.AssociateAddressInput{Interface: n})
	if err := w.DeleteInterface(w.ctx, me, n); err != nil || w.elasticIP(e).Association != "" {
		t.Errorf("delete the interface: %v, %+v", err, w.elasticIP(e))
	}
	i := w.run(w.a)
	associate(control.AssociateAddressInput{Instance: i.ID, Private: i.Addr})
	w.wants("release while in use", w.ReleaseAddress(w.ctx, me, e), vpc.InUse)
	if _, err := w.TerminateInstances(w.ctx, me, []vpc.InstanceID{i.ID}); err != nil {
		t.Fatal(err)
	}
	w.eventually("terminated", func(v vpc.View) bool { return w.state(i.ID)(v) == vpc.InstanceTerminated })
	if w.elasticIP(e).Association != "" || w.elasticIP(e).Interface != "" {
		t.Errorf("after the end of its instance: %+v", w.elasticIP(e))
	}
	_, err = w.AssociateAddress(w.ctx, me, control.AssociateAddressInput{Address: control.AddressRef{Allocation: e}, Instance: i.ID})
	w.wants("a terminated instance", err, vpc.NotFound)
	w.wants("release", w.ReleaseAddress(w.ctx, me, e), "")
}

func TestADeletedNATGatewayIsForgottenAfterAnHour(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	_, e := w.publicPlace()
	make := func() vpc.NATGatewayID {
		t.Helper()
		id, err := w.CreateNATGateway(w.ctx, me, control.CreateNATInput{Subnet: w.a, Allocation: e})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	good, bad := make(), make() // the second one finds its address in use
	for id, want := range map[vpc.NATGatewayID]vpc.NATState{good: vpc.NATAvailable, bad: vpc.NATFailed} {
		if g, _ := vpc.Get[vpc.NATGateway](w.View(), id); g.State != want {
			t.Fatalf("%+v, want it %s", g, want)
		}
	}
	w.wants("delete its subnet", w.DeleteSubnet(w.ctx, me, w.a), vpc.InUse)
	w.wants("take its address", w.DisassociateAddress(w.ctx, me, w.elasticIP(e).Association), vpc.NotPermitted)
	if err := w.DeleteNATGateway(w.ctx, me, good); err != nil {
		t.Fatal(err)
	}
	w.wants("delete it again", w.DeleteNATGateway(w.ctx, me, good), "")
	if w.interfaces() != 0 || w.elasticIP(e).Association != "" {
		t.Errorf("%d interfaces, address %+v", w.interfaces(), w.elasticIP(e))
	}
	w.wants("delete its subnet", w.DeleteSubnet(w.ctx, me, w.a), "")

	left := func(v vpc.View) (n int) {
		for range vpc.All[vpc.NATGateway](v) {
			n++
		}
		return n
	}
	w.clock.Advance(time.Hour - time.Second)
	w.start(w.RunGatewayLifecycle)
	w.clock.Advance(time.Second)
	// The life cycle looks at its next chance, which is any write.
	w.put(&vpc.Host{ID: "h"})
	w.eventually("both are forgotten", func(v vpc.View) bool { return left(v) == 0 })
}

func TestANATGatewayStaysForTheHour(t *testing.T) {
	w := newWorkloads(t)
	id, err := w.CreateNATGateway(w.ctx, controltest.Consumer, control.CreateNATInput{Subnet: w.a, Private: true})
	if err == nil {
		err = w.DeleteNATGateway(w.ctx, controltest.Consumer, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	old := &vpc.NATGateway{ID: "nat-00000000000000001", State: vpc.NATFailed, Deleted: w.clock.Now().Add(-time.Second)}
	w.put(old)
	w.clock.Advance(time.Hour - time.Second)
	w.start(w.RunGatewayLifecycle)
	w.eventually("the older one is forgotten", func(v vpc.View) bool {
		_, there := vpc.Get[vpc.NATGateway](v, old.ID)
		return !there
	})
	if g, ok := vpc.Get[vpc.NATGateway](w.View(), id); !ok || g.State != vpc.NATDeleted {
		t.Errorf("within the hour: %v %+v", ok, g)
	}
}

func TestTheDefaultVPCIsMadeOnceAlsoInARace(t *testing.T) {
	c, _ := controltest.New(t)
	me := controltest.Consumer
	if made := atOnce(t, 5, func(int) error { _, err := c.CreateDefaultVPC(t.Context(), me); return err }, vpc.Duplicate); made != 1 {
		t.Errorf("%d default VPCs were made", made)
	}
	d, ok := vpc.DefaultVPC(c.View(), me.Account)
	if !ok || !d.EnableDNSHostnames || !d.EnableDNSSupport || d.CIDRs[0].CIDR.String() != "172.31.0.0/16" {
		t.Fatalf("the default VPC: %+v", d)
	}
	var blocks []string
	for _, z := range c.Region().Zones {
		s, ok := vpc.DefaultSubnet(c.View(), d, z.Name)
		if !ok || !s.MapPublicIPOnLaunch {
			t.Fatalf("the default subnet of %s: %+v", z.Name, s)
		}
		blocks = append(blocks, s.CIDR.String())
	}
	if blocks[0] != "172.31.0.0/20" || blocks[1] != "172.31.16.0/20" || blocks[2] != "172.31.32.0/20" {
		t.Errorf("the default subnets are %v", blocks)
	}
	s, _ := vpc.DefaultSubnet(c.View(), d, "us-east-1b")
	table, _ := vpc.RouteTableOf(c.View(), s)
	if len(table.Routes) != 2 || table.Routes[1].TargetKind != vpc.TargetInternet || !control.RouteActive(c.View(), table, table.Routes[1]) {
		t.Errorf("its routes: %+v", table.Routes)
	}
	// A default subnet that is gone is made again, in the same place, once.
	if err := c.DeleteSubnet(t.Context(), me, s.ID); err != nil {
		t.Fatal(err)
	}
	if made := atOnce(t, 4, func(int) error { _, err := c.CreateDefaultSubnet(t.Context(), me, "us-east-1b", ""); return err }, vpc.Duplicate); made != 1 {
		t.Errorf("%d default subnets were made", made)
	}
	if s, ok = vpc.DefaultSubnet(c.View(), d, "us-east-1b"); !ok || s.CIDR.String() != blocks[1] {
		t.Errorf("the new default subnet: %+v", s)
	}
}

// An installation with more zones than a /16 has room for still gets its VPC.
func TestADefaultVPCHasNoMoreSubnetsThanFit(t *testing.T) {
	c, _ := controltest.New(t)
	if _, err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		r := vpc.Edit(control.RegionOf(tx))
		r.Zones = nil
		for z := 'a'; z <= 'z'; z++ {
			r.Zones = append(r.Zones, vpc.Zone{Name: "us-east-1" + string(z), ID: "use1-" + string(z)})
		}
		tx.Put(r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	id, err := c.CreateDefaultVPC(t.Context(), controltest.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range vpc.By[vpc.Subnet](c.View(), vpc.IndexVPC, id) {
		n++
	}
	_, err = c.CreateDefaultSubnet(t.Context(), controltest.Consumer, "us-east-1z", "")
	if n != 16 || control.KindOf(err) != vpc.OutOfRange {
		t.Errorf("%d subnets; one more: %v", n, err)
	}
}
