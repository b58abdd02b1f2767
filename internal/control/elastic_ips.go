// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// DefaultPublicPool is where Elastic IPs come from unless the operator names
// other blocks: a range for documentation, which reaches nobody by accident.
var DefaultPublicPool = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}

// AllocateAddress gives the account a public address of the pool: the lowest
// free one, or the one that is asked for. Why that one cannot be had is not
// told, since others' addresses are none of the caller's business.
func (c *Control) AllocateAddress(ctx context.Context, caller Caller, want netip.Addr, tags vpc.Tags) (vpc.AllocationID, error) {
	var id vpc.AllocationID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		touchAccount(tx, caller.Account)
		if count[vpc.ElasticIP](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.ElasticIPs {
			return vpc.Errorf(vpc.Limit, string(vpc.KindElasticIP), "", "The maximum number of addresses has been reached.")
		}
		addr, err := c.publicAddress(tx, want)
		if err != nil {
			return err
		}
		s, err := c.newID(vpc.PrefixAllocation)
		if err != nil {
			return err
		}
		id = vpc.AllocationID(s)
		tx.Put(&vpc.ElasticIP{ID: id, Owner: caller.Account, Addr: addr, Tags: tags})
		return nil
	})
	return id, err
}

// publicAddress finds a free address of the pool. The claim of the object that
// gets it decides between transactions that race for it.
func (c *Control) publicAddress(tx *store.Tx, want netip.Addr) (netip.Addr, error) {
	for _, p := range c.PublicPool {
		first, a := p.Masked().Addr(), p.Masked().Addr()
		if want.IsValid() {
			a = want
		}
		for ; p.Contains(a); a = a.Next() {
			// A block's own address and its last one are not for hosts.
			ends := p.Bits() < 31 && (a == first || !p.Contains(a.Next()))
			if !ends && !tx.Claimed(vpc.PublicAddrClaim(a)) {
				return a, nil
			}
			if want.IsValid() {
				break
			}
		}
	}
	if want.IsValid() {
		return want, vpc.Errorf(vpc.NotFound, "public-address", want.String(), "Address '%s' not found.", want)
	}
	return want, vpc.Errorf(vpc.NoAddress, string(vpc.KindElasticIP), "", "There are no free public addresses in this installation.")
}

// AddressRef names an Elastic IP: by its allocation, else by the address.
type AddressRef struct {
	Allocation vpc.AllocationID
	Public     netip.Addr
}

// OwnedAddress finds an Elastic IP of the caller's account.
func OwnedAddress(v vpc.View, caller Caller, ref AddressRef) (*vpc.ElasticIP, error) {
	if ref.Allocation == "" {
		if e, ok := vpc.First[vpc.ElasticIP](v, vpc.IndexAddr, ref.Public.String()); ok {
			// By its key again: in a transaction only that makes the commit depend on it.
			if e, err := Owned[vpc.ElasticIP](v, caller, e.ID); err == nil {
				return e, nil
			}
		}
		return nil, vpc.Errorf(vpc.NotFound, "public-address", ref.Public.String(), "Address '%s' not found.", ref.Public)
	}
	e, err := Owned[vpc.ElasticIP](v, caller, ref.Allocation)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindElasticIP), string(ref.Allocation), "The allocation ID '%s' does not exist", ref.Allocation)
	}
	return e, nil
}

// ReleaseAddress gives an address that is associated with nothing back.
func (c *Control) ReleaseAddress(ctx context.Context, caller Caller, id vpc.AllocationID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		e, err := OwnedAddress(tx, caller, AddressRef{Allocation: id})
		if err != nil {
			return err
		}
		if e.Association != "" {
			return vpc.Errorf(vpc.InUse, string(vpc.KindElasticIP), string(id), "Address %s is in use.", e.Addr)
		}
		tx.Delete(e)
		return nil
	})
}

// AssociateAddressInput are the parameters of AssociateAddress. Exactly one of
// Instance and Interface is set.
type AssociateAddressInput struct {
	Address   AddressRef
	Instance  vpc.InstanceID
	Interface vpc.InterfaceID
	Private   netip.Addr // must be the interface's if it is set
	// Exclusive refuses to take an address, or an interface, from another.
	Exclusive bool
}

// AssociateAddress maps an Elastic IP to the address of an interface, which
// must be in a VPC with an internet gateway. Both leave what they were
// associated with before. The same association again is no change.
func (c *Control) AssociateAddress(ctx context.Context, caller Caller, in AssociateAddressInput) (string, error) {
	var id string
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		e, err := OwnedAddress(tx, caller, in.Address)
		if err != nil {
			return err
		}
		n, err := in.target(tx, caller)
		if err != nil {
			return err
		}
		if in.Private.IsValid() && in.Private != n.Addr {
			return vpc.Errorf(vpc.Invalid, "privateIpAddress", in.Private.String(), "Private IP %s is not assigned to interface %s", in.Private, n.ID)
		}
		if e.Interface == n.ID {
			id = e.Association
			return nil
		}
		if !doorOf(tx, n.VPC) {
			return vpc.Errorf(vpc.WrongState, "gateway-attachment", string(n.VPC), "Network %s is not attached to any internet gateway", n.VPC)
		}
		if err := checkUnmanaged(tx, e); err != nil {
			return err
		}
		before, taken := vpc.First[vpc.ElasticIP](tx, vpc.IndexInterface, n.ID)
		switch {
		case in.Exclusive && e.Association != "":
			return vpc.Errorf(vpc.AlreadyAssociated, string(vpc.KindElasticIP), string(e.ID), "resource %s is already associated with associate-id %s", e.ID, e.Association)
		case in.Exclusive && taken:
			return vpc.Errorf(vpc.AlreadyAssociated, string(vpc.KindInterface), string(n.ID), "resource %s is already associated with associate-id %s", n.ID, before.Association)
		case taken:
			freeElasticIP(tx, before)
		}
		id, err = c.mapElasticIP(tx, e, n.ID)
		return err
	})
	return id, err
}

// target finds the interface that the address is to lead to.
func (in AssociateAddressInput) target(tx *store.Tx, caller Caller) (*vpc.NetworkInterface, error) {
	id := in.Interface
	if in.Instance != "" {
		i, err := Owned[vpc.Instance](tx, caller, in.Instance)
		if err != nil || i.State == vpc.InstanceTerminated {
			return nil, NotFound(vpc.KindInstance, string(in.Instance))
		}
		if i.State == vpc.InstanceShuttingDown {
			return nil, vpc.Errorf(vpc.WrongState, string(vpc.KindInstance), string(i.ID), "The instance '%s' is %s.", i.ID, i.State)
		}
		id = i.Primary
	}
	n, err := Owned[vpc.NetworkInterface](tx, caller, id)
	if err != nil {
		return nil, err
	}
	if n.RequesterManaged {
		return nil, notYours()
	}
	return n, nil
}

func notYours() error {
	return vpc.Errorf(vpc.NotPermitted, string(vpc.KindElasticIP), "", "You do not have permission to access the specified resource.")
}

// checkUnmanaged refuses to take an address away from a NAT gateway.
func checkUnmanaged(v vpc.View, e *vpc.ElasticIP) error {
	if e.Interface == "" {
		return nil
	}
	if n, ok := vpc.Get[vpc.NetworkInterface](v, e.Interface); ok && n.RequesterManaged {
		return notYours()
	}
	return nil
}

// mapElasticIP associates an address with an interface and answers the association's id.
func (c *Control) mapElasticIP(tx *store.Tx, e *vpc.ElasticIP, to vpc.InterfaceID) (string, error) {
	id, err := c.newID(vpc.PrefixAddressAssoc)
	if err != nil {
		return "", err
	}
	e = vpc.Edit(e)
	e.Association, e.Interface = id, to
	tx.Put(e)
	return id, nil
}

func freeElasticIP(tx *store.Tx, e *vpc.ElasticIP) {
	e = vpc.Edit(e)
	e.Association, e.Interface = "", ""
	tx.Put(e)
}

// deleteInterface removes an interface; its Elastic IP stays allocated.
func deleteInterface(tx *store.Tx, n *vpc.NetworkInterface) {
	if e, ok := vpc.First[vpc.ElasticIP](tx, vpc.IndexInterface, n.ID); ok {
		freeElasticIP(tx, e)
	}
	tx.Delete(n)
}

// DisassociateAddress ends an association.
func (c *Control) DisassociateAddress(ctx context.Context, caller Caller, association string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		if e, ok := vpc.First[vpc.ElasticIP](tx, vpc.IndexAssociation, association); ok {
			if e, err := Owned[vpc.ElasticIP](tx, caller, e.ID); err == nil {
				if err := checkUnmanaged(tx, e); err != nil {
					return err
				}
				freeElasticIP(tx, e)
				return nil
			}
		}
		return vpc.Errorf(vpc.NotFound, "association", association, "The association ID '%s' does not exist", association)
	})
}
