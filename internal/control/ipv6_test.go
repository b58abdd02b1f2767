// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"sync"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// A block never leaves its subnet while an address in it is given out, and
// never its VPC while a subnet gets a part of it, whichever servers are asked.
// The fixture looks for that too when the test is over.
func TestIPv6BlocksAreNotTakenFromUnderTheirUsers(t *testing.T) {
	t.Parallel()
	c, two, _ := controltest.NewCluster(t)
	ctx, me := t.Context(), controltest.Consumer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// race runs both at once, each on its own server, and answers whether the
	// first one succeeded. Exactly one of them can.
	race := func(use, take func(*control.Control) error) bool {
		t.Helper()
		_, err := two.Store.WaitFor(ctx, c.View().Revision())
		must(err)
		var used, taken error
		var wg sync.WaitGroup
		wg.Go(func() { used = use(c) })
		wg.Go(func() { taken = take(two) })
		wg.Wait()
		_, err = c.Store.WaitFor(ctx, two.View().Revision())
		must(err)
		if (used == nil) == (taken == nil) {
			t.Fatalf("using: %v; taking: %v; one of them must fail", used, taken)
		}
		return used == nil
	}
	v, err := c.CreateVPC(ctx, me, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	must(err)
	s, err := c.CreateSubnet(ctx, me, control.CreateSubnetInput{VPC: v, CIDR: netip.MustParsePrefix("10.0.1.0/24")})
	must(err)
	eni, err := c.CreateInterface(ctx, me, control.CreateInterfaceInput{Subnet: s})
	must(err)
	one := 1
	for range 10 {
		block, err := c.AssociateIPv6(ctx, me, v)
		must(err)
		part := netip.PrefixFrom(block.CIDR.Addr(), vpc.SubnetBits6)
		if !race(func(c *control.Control) error {
			_, err := c.AssociateSubnetIPv6(ctx, me, s, part)
			return err
		}, func(c *control.Control) error {
			_, _, err := c.DisassociateCIDR(ctx, me, block.ID)
			return err
		}) {
			block, err = c.AssociateIPv6(ctx, me, v)
			must(err)
			_, err = c.AssociateSubnetIPv6(ctx, me, s, part)
			must(err)
		}
		subnet, _ := vpc.Get[vpc.Subnet](c.View(), s)
		if race(func(c *control.Control) error {
			_, err := c.AssignIPv6(ctx, me, eni, control.IPv6Request{Count: &one})
			return err
		}, func(c *control.Control) error {
			_, _, err := c.DisassociateSubnetIPv6(ctx, me, subnet.IPv6.ID)
			return err
		}) {
			n, _ := vpc.Get[vpc.NetworkInterface](c.View(), eni)
			must(c.UnassignIPv6(ctx, me, eni, n.IPv6))
			_, _, err = c.DisassociateSubnetIPv6(ctx, me, subnet.IPv6.ID)
			must(err)
		}
		_, _, err = c.DisassociateCIDR(ctx, me, block.ID)
		must(err)
	}
}

// Two VPCs that are made at once have different blocks, and two subnets of one
// VPC cannot have the same.
func TestIPv6BlocksAreOnesOwn(t *testing.T) {
	t.Parallel()
	c, _ := controltest.New(t)
	c.Quotas.VPCs = changers
	ctx, me := t.Context(), controltest.Consumer
	ids := make([]vpc.VPCID, changers)
	together(t, func(i int) (err error) {
		ids[i], err = c.CreateVPC(ctx, me, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16"), IPv6: true})
		return err
	})
	blocks := map[netip.Prefix]bool{}
	for v := range vpc.All[vpc.VPC](c.View()) {
		blocks[v.IPv6[0].CIDR] = true
	}
	if len(blocks) != changers {
		t.Errorf("%d VPCs have %d blocks", changers, len(blocks))
	}
	v, _ := vpc.Get[vpc.VPC](c.View(), ids[0])
	part := netip.PrefixFrom(v.IPv6[0].CIDR.Addr(), vpc.SubnetBits6)
	var mu sync.Mutex
	made := 0
	together(t, func(i int) error {
		_, err := c.CreateSubnet(ctx, me, control.CreateSubnetInput{VPC: v.ID, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), IPv6: part})
		if control.KindOf(err) == vpc.Conflict {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		made++
		return err
	})
	if made != 1 {
		t.Errorf("%d subnets have the block %s", made, part)
	}
}

func TestQuotaOfEgressOnlyGateways(t *testing.T) {
	t.Parallel()
	c, _ := controltest.New(t)
	c.Quotas.EgressOnlyGateways = 1
	ctx, me := t.Context(), controltest.Consumer
	for i, cidr := range []string{"10.0.0.0/16", "10.1.0.0/16"} {
		v, err := c.CreateVPC(ctx, me, control.CreateVPCInput{CIDR: netip.MustParsePrefix(cidr)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.CreateEgressOnlyGateway(ctx, me, control.CreateEgressOnlyInput{VPC: v})
		if want := []vpc.ErrorKind{"", vpc.Limit}[i]; control.KindOf(err) != want {
			t.Errorf("gateway %d: %v, want %q", i, err, want)
		}
	}
}
