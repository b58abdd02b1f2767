// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// natRequester is the account that the interfaces of NAT gateways are managed by.
const natRequester = "000000000002"

// goneTime is how long a deleted or failed NAT gateway can still be described.
const goneTime = time.Hour

// CreateNATInput are the parameters of CreateNatGateway. A public gateway has
// an Allocation, a Private one has none.
type CreateNATInput struct {
	Subnet     vpc.SubnetID
	Allocation vpc.AllocationID
	Private    bool
	Addr       netip.Addr // the zero Addr takes the next free one
	Tags       vpc.Tags
	Token      string `json:"-"`
}

// CreateNATGateway makes a NAT gateway with an interface of its own in the
// subnet. What AWS finds out only after its answer (no internet gateway, the
// address is in use, the subnet is full) makes a failed gateway, as there.
func (c *Control) CreateNATGateway(ctx context.Context, caller Caller, in CreateNATInput) (vpc.NATGatewayID, error) {
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	switch {
	case in.Private && in.Allocation != "":
		return "", vpc.Errorf(vpc.Combination, "AllocationId", string(in.Allocation), "The parameter AllocationId may not be used with the connectivity type private")
	case !in.Private && in.Allocation == "":
		return "", vpc.Errorf(vpc.Missing, "AllocationId", "", "The request must contain the parameter AllocationId")
	}
	var id vpc.NATGatewayID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := remembered(tx, caller, "CreateNatGateway", in.Token, in)
		if err != nil {
			return err
		}
		if old != "" {
			id = vpc.NATGatewayID(old)
			_, err := OwnedNATGateway(tx, caller, id)
			return err
		}
		s, err := Owned[vpc.Subnet](tx, caller, in.Subnet)
		if err != nil {
			return err
		}
		if err := c.checkNATQuota(tx, caller, s.Zone); err != nil {
			return err
		}
		fresh, err := c.newID(vpc.PrefixNATGateway)
		if err != nil {
			return err
		}
		id = vpc.NATGatewayID(fresh)
		g := &vpc.NATGateway{
			ID: id, Owner: caller.Account, VPC: s.VPC, Subnet: s.ID, Zone: s.Zone, Private: in.Private, Allocation: in.Allocation,
			State: vpc.NATAvailable, Created: c.Now(), Tags: in.Tags,
		}
		if err := c.connectNAT(tx, caller, g, s, in.Addr); err != nil {
			return err
		}
		tx.Put(g)
		c.remember(tx, caller, "CreateNatGateway", in.Token, in, fresh)
		return nil
	})
	return id, err
}

// checkNATQuota refuses one NAT gateway of a zone too many. Those that failed
// or are deleted do not count.
func (c *Control) checkNATQuota(tx *store.Tx, caller Caller, zone string) error {
	touchAccount(tx, caller.Account)
	n := 0
	for g := range vpc.By[vpc.NATGateway](tx, vpc.IndexOwner, caller.Account) {
		if g.State == vpc.NATAvailable && g.Zone == zone {
			n++
		}
	}
	if n >= c.Quotas.NATGatewaysPerZone {
		return vpc.Errorf(vpc.Limit, string(vpc.KindNATGateway), zone, "The maximum number of NAT gateways in availability zone %s has been reached: %d", zone, c.Quotas.NATGatewaysPerZone)
	}
	return nil
}

// connectNAT gives a new gateway its interface and address, or makes it a
// failed one.
func (c *Control) connectNAT(tx *store.Tx, caller Caller, g *vpc.NATGateway, s *vpc.Subnet, addr netip.Addr) error {
	fail := func(code, message string) error {
		g.State, g.FailureCode, g.FailureMessage, g.Deleted = vpc.NATFailed, code, message, c.Now()
		return nil
	}
	var e *vpc.ElasticIP
	if !g.Private {
		var err error
		if e, err = OwnedAddress(tx, caller, AddressRef{Allocation: g.Allocation}); err != nil {
			return err
		}
		g.PublicAddr = e.Addr
		if !doorOf(tx, s.VPC) {
			return fail("Gateway.NotAttached", "Network "+string(s.VPC)+" has no Internet gateway attached")
		}
		if e.Association != "" {
			return fail("Resource.AlreadyAssociated", "Elastic IP address ["+string(e.ID)+"] is already associated")
		}
	}
	n, err := c.newInterface(tx, interfaceSpec{
		Owner: caller.Account, Subnet: s, Addr: addr, Type: vpc.TypeNAT, NoSourceDestCheck: true,
		Description: "Interface for NAT Gateway " + string(g.ID), RequesterID: natRequester,
	})
	if KindOf(err) == vpc.NoAddress {
		return fail("InsufficientFreeAddressesInSubnet", "Subnet has insufficient free addresses to create this NAT gateway")
	}
	if err != nil {
		return err
	}
	g.Interface, g.Addr = n.ID, n.Addr
	if e != nil {
		g.Association, err = c.mapElasticIP(tx, e, n.ID)
	}
	return err
}

// OwnedNATGateway finds a NAT gateway of the caller's account, in any state.
func OwnedNATGateway(v vpc.View, caller Caller, id vpc.NATGatewayID) (*vpc.NATGateway, error) {
	g, err := Owned[vpc.NATGateway](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindNATGateway), string(id), "NatGateway %s was not found", id)
	}
	return g, nil
}

// DeleteNATGateway ends a NAT gateway: its interface goes, its Elastic IP stays
// allocated, routes to it become blackholes, and it can be described as deleted
// for an hour. Deleting a deleted one is no error.
func (c *Control) DeleteNATGateway(ctx context.Context, caller Caller, id vpc.NATGatewayID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := OwnedNATGateway(tx, caller, id)
		if err != nil || g.State == vpc.NATDeleted {
			return err
		}
		if n, ok := vpc.Get[vpc.NetworkInterface](tx, g.Interface); ok {
			deleteInterface(tx, n)
		}
		g = vpc.Edit(g)
		g.State, g.Deleted = vpc.NATDeleted, c.Now()
		tx.Put(g)
		return nil
	})
}

// RunGatewayLifecycle forgets NAT gateways that have been deleted or failed for
// an hour, until ctx is done; then it returns its error.
func (c *Control) RunGatewayLifecycle(ctx context.Context) error {
	return c.levelTriggered(ctx, func(ctx context.Context, snap *store.Snapshot) time.Duration {
		var next wait
		for _, state := range []vpc.NATState{vpc.NATDeleted, vpc.NATFailed} {
			for g := range vpc.By[vpc.NATGateway](snap, "state", state) {
				if left := g.Deleted.Add(goneTime).Sub(c.Now()); left > 0 {
					next.sooner(left)
					continue
				}
				_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
					if now, ok := vpc.Get[vpc.NATGateway](tx, g.ID); ok && now.State == g.State {
						tx.Delete(now)
					}
					return nil
				})
				if err != nil && ctx.Err() == nil {
					c.Log.Warn("NAT gateway not forgotten, trying again", "nat gateway", g.ID, "error", err)
					next.sooner(retryTime)
				}
			}
		}
		return time.Duration(next)
	})
}
