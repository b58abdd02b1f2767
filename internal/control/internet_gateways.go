// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// touchAccount makes the commit conflict with every other that touches the
// account: a quota counts a set, which reading alone does not guard.
func touchAccount(tx *store.Tx, id vpc.AccountID) {
	if a, ok := vpc.Get[vpc.Account](tx, id); ok {
		tx.Touch(a)
	}
}

// CreateInternetGateway makes an internet gateway that is attached to nothing.
func (c *Control) CreateInternetGateway(ctx context.Context, caller Caller, tags vpc.Tags) (vpc.InternetGatewayID, error) {
	var id vpc.InternetGatewayID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := c.newInternetGateway(tx, caller, "", tags)
		if err != nil {
			return err
		}
		id = g.ID
		return nil
	})
	return id, err
}

func (c *Control) newInternetGateway(tx *store.Tx, caller Caller, attach vpc.VPCID, tags vpc.Tags) (*vpc.InternetGateway, error) {
	touchAccount(tx, caller.Account)
	if count[vpc.InternetGateway](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.InternetGateways {
		return nil, vpc.Errorf(vpc.Limit, string(vpc.KindInternetGateway), "", "The maximum number of internet gateways has been reached: %d", c.Quotas.InternetGateways)
	}
	id, err := c.newID(vpc.PrefixInternetGateway)
	if err != nil {
		return nil, err
	}
	g := &vpc.InternetGateway{ID: vpc.InternetGatewayID(id), Owner: caller.Account, VPC: attach, Tags: tags}
	tx.Put(g)
	return g, nil
}

// OwnedInternetGateway finds an internet gateway of the caller's account.
func OwnedInternetGateway(v vpc.View, caller Caller, id vpc.InternetGatewayID) (*vpc.InternetGateway, error) {
	g, err := Owned[vpc.InternetGateway](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindInternetGateway), string(id), "The internetGateway ID '%s' does not exist", id)
	}
	return g, nil
}

// AttachInternetGateway attaches a gateway to a VPC. Neither may have another.
func (c *Control) AttachInternetGateway(ctx context.Context, caller Caller, id vpc.InternetGatewayID, to vpc.VPCID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := OwnedInternetGateway(tx, caller, id)
		if err != nil {
			return err
		}
		if _, err := Owned[vpc.VPC](tx, caller, to); err != nil {
			return err
		}
		if g.VPC != "" {
			return vpc.Errorf(vpc.AlreadyAssociated, string(vpc.KindInternetGateway), string(id), "resource %s is already attached to network %s", id, g.VPC)
		}
		if _, ok := vpc.First[vpc.InternetGateway](tx, vpc.IndexVPC, to); ok {
			return vpc.Errorf(vpc.Invalid, string(vpc.KindInternetGateway), string(to), "Network %s already has an internet gateway attached", to)
		}
		g = vpc.Edit(g)
		g.VPC = to
		tx.Put(g)
		return nil
	})
}

// DetachInternetGateway detaches a gateway from the VPC it is attached to. No
// interface of the VPC may have a public address. Routes to it stay, as
// blackholes.
func (c *Control) DetachInternetGateway(ctx context.Context, caller Caller, id vpc.InternetGatewayID, from vpc.VPCID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := OwnedInternetGateway(tx, caller, id)
		if err != nil {
			return err
		}
		if _, err := Owned[vpc.VPC](tx, caller, from); err != nil {
			return err
		}
		if g.VPC != from {
			return vpc.Errorf(vpc.WrongState, "gateway-attachment", string(id), "resource %s is not attached to network %s", id, from)
		}
		for e := range vpc.By[vpc.ElasticIP](tx, vpc.IndexOwner, caller.Account) {
			if e.Interface == "" {
				continue
			}
			if n, ok := vpc.Get[vpc.NetworkInterface](tx, e.Interface); ok && n.VPC == from {
				return vpc.Errorf(vpc.InUse, string(vpc.KindInternetGateway), string(id),
					"Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", from)
			}
		}
		g = vpc.Edit(g)
		g.VPC = ""
		tx.Put(g)
		return nil
	})
}

// DeleteInternetGateway removes a gateway that is attached to nothing.
func (c *Control) DeleteInternetGateway(ctx context.Context, caller Caller, id vpc.InternetGatewayID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := OwnedInternetGateway(tx, caller, id)
		if err != nil {
			return err
		}
		if g.VPC != "" {
			return vpc.Errorf(vpc.InUse, string(vpc.KindInternetGateway), string(id), "The internetGateway '%s' has dependencies and cannot be deleted.", id)
		}
		tx.Delete(g)
		return nil
	})
}

// doorOf is the internet gateway attached to a VPC. The transaction writes it,
// so that it cannot be detached by another one that does not see the address
// which this one is about to map.
func doorOf(tx *store.Tx, id vpc.VPCID) bool {
	g, ok := vpc.First[vpc.InternetGateway](tx, vpc.IndexVPC, id)
	if ok {
		tx.Touch(g)
	}
	return ok
}
