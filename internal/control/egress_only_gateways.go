// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateEgressOnlyInput are the parameters of CreateEgressOnlyInternetGateway.
type CreateEgressOnlyInput struct {
	VPC   vpc.VPCID
	Tags  vpc.Tags
	Token string `json:"-"`
}

// CreateEgressOnlyGateway makes an egress-only internet gateway of a VPC, which
// may have one.
func (c *Control) CreateEgressOnlyGateway(ctx context.Context, caller Caller, in CreateEgressOnlyInput) (vpc.EgressOnlyGatewayID, error) {
	const action = "CreateEgressOnlyInternetGateway"
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	taken := vpc.Errorf(vpc.Invalid, string(vpc.KindEgressOnly), string(in.VPC), "Network %s already has an egress-only internet gateway attached", in.VPC)
	var id vpc.EgressOnlyGatewayID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := remembered(tx, caller, action, in.Token, in)
		if err != nil {
			return err
		}
		if old != "" {
			id = vpc.EgressOnlyGatewayID(old)
			_, err := OwnedEgressOnlyGateway(tx, caller, id)
			return err
		}
		if _, err := Owned[vpc.VPC](tx, caller, in.VPC); err != nil {
			return err
		}
		if _, ok := vpc.First[vpc.EgressOnlyGateway](tx, vpc.IndexVPC, in.VPC); ok {
			return taken
		}
		touchAccount(tx, caller.Account)
		if count[vpc.EgressOnlyGateway](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.EgressOnlyGateways {
			return vpc.Errorf(vpc.Limit, string(vpc.KindEgressOnly), "", "The maximum number of egress-only internet gateways has been reached: %d", c.Quotas.EgressOnlyGateways)
		}
		s, err := c.newID(vpc.PrefixEgressOnly)
		if err != nil {
			return err
		}
		id = vpc.EgressOnlyGatewayID(s)
		tx.Put(&vpc.EgressOnlyGateway{ID: id, Owner: caller.Account, VPC: in.VPC, Tags: in.Tags})
		c.remember(tx, caller, action, in.Token, in, s)
		return nil
	})
	if KindOf(err) == vpc.Duplicate {
		err = taken
	}
	return id, err
}

// OwnedEgressOnlyGateway finds an egress-only internet gateway of the caller's account.
func OwnedEgressOnlyGateway(v vpc.View, caller Caller, id vpc.EgressOnlyGatewayID) (*vpc.EgressOnlyGateway, error) {
	g, err := Owned[vpc.EgressOnlyGateway](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindEgressOnly), string(id), "The egress-only internet gateway ID '%s' does not exist", id)
	}
	return g, nil
}

// DeleteEgressOnlyGateway removes a gateway. Routes to it stay, as blackholes.
// One that does not exist is an unknown gateway of whatever kind.
func (c *Control) DeleteEgressOnlyGateway(ctx context.Context, caller Caller, id vpc.EgressOnlyGatewayID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := Owned[vpc.EgressOnlyGateway](tx, caller, id)
		if err != nil {
			return vpc.Errorf(vpc.NotFound, "gateway", string(id), "The gateway ID '%s' does not exist", id)
		}
		tx.Delete(g)
		return nil
	})
}
