// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func peerVPC(t *testing.T, c *control.Control, caller control.Caller, cidr string) vpc.VPCID {
	t.Helper()
	id, err := c.CreateVPC(t.Context(), caller, control.CreateVPCInput{CIDR: netip.MustParsePrefix(cidr)})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Whoever asks, and however many at once: two VPCs have one live connection.
func TestOnePairOfVPCsHasOneLivePeering(t *testing.T) {
	c, _ := controltest.New(t)
	a, b := peerVPC(t, c, controltest.Consumer, "10.0.0.0/16"), peerVPC(t, c, controltest.Provider, "10.1.0.0/16")
	const tries = 8
	errs := make(chan error, tries)
	for i := range tries {
		go func() {
			caller, in := controltest.Consumer, control.CreatePeeringInput{VPC: a, PeerVPC: b, PeerOwner: controltest.Provider.Account}
			if i%2 == 0 {
				caller, in = controltest.Provider, control.CreatePeeringInput{VPC: b, PeerVPC: a, PeerOwner: controltest.Consumer.Account}
			}
			_, err := c.CreatePeering(t.Context(), caller, in)
			errs <- err
		}()
	}
	made := 0
	for range tries {
		err := <-errs
		if err == nil {
			made++
		} else if control.KindOf(err) != vpc.Duplicate {
			t.Errorf("got %v, want Duplicate", err)
		}
	}
	if made != 1 {
		t.Errorf("%d connections were made, want 1", made)
	}
}

// Peered VPCs never overlap, also when a block comes at the moment of acceptance.
func TestABlockAndAnAcceptanceDoNotBothWin(t *testing.T) {
	c, _ := controltest.New(t)
	c.Quotas.VPCs, c.Quotas.PeeringsPerVPC = 1000, 1000
	b := peerVPC(t, c, controltest.Provider, "10.1.0.0/16")
	for i := range 60 {
		a := peerVPC(t, c, controltest.Consumer, "10.0.0.0/16")
		id, err := c.CreatePeering(t.Context(), controltest.Consumer, control.CreatePeeringInput{VPC: a, PeerVPC: b, PeerOwner: controltest.Provider.Account})
		if err != nil {
			t.Fatal(err)
		}
		start, done := make(chan struct{}), make(chan error, 2)
		go func() {
			<-start
			_, err := c.AssociateCIDR(t.Context(), controltest.Consumer, a, netip.MustParsePrefix("10.1.0.0/20"))
			done <- err
		}()
		go func() { <-start; done <- c.AcceptPeering(t.Context(), controltest.Provider, id) }()
		close(start)
		first, second := <-done, <-done
		p, _ := vpc.Get[vpc.Peering](c.View(), id)
		v, _ := vpc.Get[vpc.VPC](c.View(), a)
		if p.State == vpc.PeeringActive && len(v.CIDRs) > 1 {
			t.Fatalf("try %d: an active connection of overlapping VPCs (%v, %v)", i, first, second)
		}
	}
}

// Asking and withdrawing in a loop leaves a bounded number of records.
func TestEndedPeeringsAreBounded(t *testing.T) {
	c, clock := controltest.New(t)
	a := peerVPC(t, c, controltest.Consumer, "10.0.0.0/16")
	var last vpc.PeeringID
	for i := range 210 {
		clock.Advance(time.Second)
		id, err := c.CreatePeering(t.Context(), controltest.Consumer, control.CreatePeeringInput{
			VPC: a, PeerVPC: vpc.VPCID(fmt.Sprintf("vpc-%017x", i)), PeerOwner: controltest.Provider.Account,
		})
		if err != nil {
			t.Fatal(err)
		}
		last = id
	}
	n := 0
	for range vpc.All[vpc.Peering](c.View()) {
		n++
	}
	if _, ok := vpc.Get[vpc.Peering](c.View(), last); n != 200 || !ok {
		t.Errorf("%d records, the newest there: %v; want the 200 newest", n, ok)
	}
}
