// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreatePeeringInput are the parameters of CreateVpcPeeringConnection.
type CreatePeeringInput struct {
	VPC       vpc.VPCID
	PeerVPC   vpc.VPCID
	PeerOwner vpc.AccountID // "" is the caller
	Tags      vpc.Tags
}

// Resources of errors about how many peering connections there may be.
const (
	peeringPerVPC      = "peering-per-vpc"
	peeringOutstanding = "peering-outstanding"
)

// Peering finds a connection that the caller sees now.
func (c *Control) Peering(v vpc.View, caller Caller, id vpc.PeeringID) (*vpc.Peering, error) {
	p, ok := vpc.Get[vpc.Peering](v, id)
	if !ok || !p.VisibleTo(caller.Account, c.Now()) {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindPeering), string(id), "The vpcPeeringConnection ID '%s' does not exist", id)
	}
	return p, nil
}

// Peerings yields the connections that the caller sees now.
func (c *Control) Peerings(v vpc.View, caller Caller) iter.Seq[*vpc.Peering] {
	return func(yield func(*vpc.Peering) bool) {
		for p := range vpc.By[vpc.Peering](v, vpc.IndexOwner, caller.Account) {
			if p.VisibleTo(caller.Account, c.Now()) && !yield(p) {
				return
			}
		}
	}
}

// CreatePeering asks for a connection between a VPC of the caller and another
// one. A peer that does not exist, or whose blocks overlap, makes a failed
// connection: whether another account has a VPC cannot be told from the answer.
func (c *Control) CreatePeering(ctx context.Context, caller Caller, in CreatePeeringInput) (vpc.PeeringID, error) {
	if in.PeerOwner == "" {
		in.PeerOwner = caller.Account
	}
	if in.VPC == in.PeerVPC {
		return "", vpc.Errorf(vpc.Invalid, "peerVpcId", string(in.PeerVPC), "Value (%s) for parameter peerVpcId is invalid. A VPC cannot be peered with itself.", in.PeerVPC)
	}
	var id vpc.PeeringID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		mine, err := Owned[vpc.VPC](tx, caller, in.VPC)
		if err != nil {
			return err
		}
		peer, ok := vpc.Get[vpc.VPC](tx, in.PeerVPC)
		if ok && peer.Owner != in.PeerOwner {
			peer, ok = nil, false
		}
		if !ok && in.PeerOwner == caller.Account {
			return NotFound(vpc.KindVPC, string(in.PeerVPC))
		}
		if err := c.checkPeerings(tx, mine, in.PeerVPC); err != nil {
			return err
		}
		s, err := c.newID(vpc.PrefixPeering)
		if err != nil {
			return err
		}
		id = vpc.PeeringID(s)
		p := &vpc.Peering{
			ID: id, State: vpc.PeeringPending, Created: c.Now(),
			Requester: vpc.PeeringSide{Owner: caller.Account, VPC: mine.ID, CIDRs: mine.Prefixes(), Tags: in.Tags},
			Accepter:  vpc.PeeringSide{Owner: in.PeerOwner, VPC: in.PeerVPC},
		}
		if ok {
			p.Accepter.CIDRs = peer.Prefixes()
		}
		if !ok || overlap(mine, peer) {
			p.State, p.Ended, p.Accepter.CIDRs = vpc.PeeringFailed, c.Now(), nil
		}
		forgetOldPeerings(tx, caller)
		tx.Put(p)
		tx.Touch(mine) // the quotas count a set
		return nil
	})
	if KindOf(err) == vpc.Duplicate {
		err = peeringExists(in.VPC, in.PeerVPC)
	}
	return id, err
}

// maxEndedPeerings bounds what an account can leave behind by asking and ending
// in a loop: the oldest of more than these are forgotten early.
const maxEndedPeerings = 200

func forgetOldPeerings(tx *store.Tx, caller Caller) {
	var ended []*vpc.Peering
	for p := range vpc.By[vpc.Peering](tx, vpc.IndexOwner, caller.Account) {
		if !p.State.Live() && p.Requester.Owner == caller.Account {
			ended = append(ended, p)
		}
	}
	slices.SortFunc(ended, func(a, b *vpc.Peering) int { return a.Ended.Compare(b.Ended) })
	for i := range max(0, len(ended)-maxEndedPeerings+1) {
		tx.Delete(ended[i])
	}
}

// checkPeerings refuses a second connection between two VPCs, and one too many.
func (c *Control) checkPeerings(tx *store.Tx, mine *vpc.VPC, peer vpc.VPCID) error {
	active, asked := 0, 0
	for p := range vpc.By[vpc.Peering](tx, vpc.IndexVPC, mine.ID) {
		switch {
		case !p.State.Live():
		case p.Other(mine.ID).VPC == peer:
			return peeringExists(mine.ID, peer)
		case p.State == vpc.PeeringActive:
			active++
		case p.Requester.VPC == mine.ID:
			asked++
		}
	}
	if asked >= c.Quotas.PeeringRequests {
		return vpc.Errorf(vpc.Limit, peeringOutstanding, string(mine.ID), "The maximum number of outstanding VPC peering connection requests of VPC %s is %d", mine.ID, c.Quotas.PeeringRequests)
	}
	return c.checkActive(mine.ID, active)
}

func (c *Control) checkActive(id vpc.VPCID, active int) error {
	if active >= c.Quotas.PeeringsPerVPC {
		return vpc.Errorf(vpc.Limit, peeringPerVPC, string(id), "The maximum number of active VPC peering connections of VPC %s is %d", id, c.Quotas.PeeringsPerVPC)
	}
	return nil
}

func peeringExists(a, b vpc.VPCID) error {
	return vpc.Errorf(vpc.Duplicate, string(vpc.KindPeering), string(a), "A VPC peering connection between VPCs %s and %s already exists", a, b)
}

func overlap(a, b *vpc.VPC) bool {
	for _, x := range a.CIDRs {
		for _, y := range b.CIDRs {
			if x.CIDR.Overlaps(y.CIDR) {
				return true
			}
		}
	}
	return false
}

// changePeering runs change on a private copy of a connection that the caller sees.
func (c *Control) changePeering(ctx context.Context, caller Caller, id vpc.PeeringID, change func(tx *store.Tx, p *vpc.Peering) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		p, err := c.Peering(tx, caller, id)
		if err != nil {
			return err
		}
		p = vpc.Edit(p)
		if p.State == vpc.PeeringPending && !c.Now().Before(p.Expires()) {
			// The life cycle has not come round to it yet.
			p.State = vpc.PeeringExpired
		}
		if err := change(tx, p); err != nil {
			return err
		}
		tx.Put(p)
		return nil
	})
}

func wrongTransition(p *vpc.Peering, to vpc.PeeringState) error {
	return vpc.Errorf(vpc.WrongState, string(vpc.KindPeering), string(p.ID),
		"Invalid state transition for %s, attempted to transition from %s to %s", p.ID, p.State, to)
}

func onlyAccepter(caller Caller, p *vpc.Peering, what string) error {
	if p.Accepter.Owner == caller.Account {
		return nil
	}
	return vpc.Errorf(vpc.NotPermitted, string(vpc.KindPeering), string(p.ID), "User %s cannot %s peering %s", caller.Account, what, p.ID)
}

// AcceptPeering makes a connection active. One whose VPCs have come to overlap
// since it was asked for fails instead.
func (c *Control) AcceptPeering(ctx context.Context, caller Caller, id vpc.PeeringID) error {
	return c.changePeering(ctx, caller, id, func(tx *store.Tx, p *vpc.Peering) error {
		if err := onlyAccepter(caller, p, "accept"); err != nil {
			return err
		}
		if p.State != vpc.PeeringPending {
			return wrongTransition(p, vpc.PeeringActive)
		}
		mine, err := Owned[vpc.VPC](tx, caller, p.Accepter.VPC)
		if err != nil {
			return err
		}
		theirs, ok := vpc.Get[vpc.VPC](tx, p.Requester.VPC)
		if !ok {
			return NotFound(vpc.KindVPC, string(p.Requester.VPC))
		}
		p.Requester.CIDRs, p.Accepter.CIDRs = theirs.Prefixes(), mine.Prefixes()
		if overlap(mine, theirs) {
			p.State, p.Ended, p.EndedBy = vpc.PeeringFailed, c.Now(), caller.Account
			return nil
		}
		for _, v := range []*vpc.VPC{mine, theirs} {
			active := 0
			for o := range vpc.By[vpc.Peering](tx, vpc.IndexVPC, v.ID) {
				if o.State == vpc.PeeringActive {
					active++
				}
			}
			if err := c.checkActive(v.ID, active); err != nil {
				return err
			}
			// Neither may get an overlapping block or one connection too many meanwhile.
			tx.Touch(v)
		}
		p.State = vpc.PeeringActive
		return nil
	})
}

// RejectPeering turns a request down.
func (c *Control) RejectPeering(ctx context.Context, caller Caller, id vpc.PeeringID) error {
	return c.changePeering(ctx, caller, id, func(_ *store.Tx, p *vpc.Peering) error {
		if err := onlyAccepter(caller, p, "reject"); err != nil {
			return err
		}
		if p.State != vpc.PeeringPending {
			return wrongTransition(p, vpc.PeeringRejected)
		}
		p.State, p.Ended, p.EndedBy = vpc.PeeringRejected, c.Now(), caller.Account
		return nil
	})
}

// DeletePeering ends a connection: an active one by either side, a request by
// the account that made it. Routes over it stay as blackholes and rules that
// name a group over it become stale. Deleting a deleted one is no error.
func (c *Control) DeletePeering(ctx context.Context, caller Caller, id vpc.PeeringID) error {
	return c.changePeering(ctx, caller, id, func(_ *store.Tx, p *vpc.Peering) error {
		switch {
		case p.State == vpc.PeeringDeleted:
			return nil
		case p.State == vpc.PeeringActive, p.State == vpc.PeeringPending && p.Requester.Owner == caller.Account:
		default:
			return wrongTransition(p, vpc.PeeringDeleted)
		}
		p.State, p.Ended, p.EndedBy = vpc.PeeringDeleted, c.Now(), caller.Account
		return nil
	})
}

// PeeringOptions are the options of one side; nil leaves them.
type PeeringOptions struct {
	AllowDNS *bool
}

// ModifyPeeringOptions changes the options of an active connection. Each
// account may change those of its own VPC.
func (c *Control) ModifyPeeringOptions(ctx context.Context, caller Caller, id vpc.PeeringID, requester, accepter *PeeringOptions) error {
	return c.changePeering(ctx, caller, id, func(_ *store.Tx, p *vpc.Peering) error {
		if p.State != vpc.PeeringActive {
			return vpc.Errorf(vpc.NotPermitted, string(vpc.KindPeering), string(id),
				"Peering %s is not active. Peering options can be added only to active peerings.", id)
		}
		for _, x := range []struct {
			name string
			side *vpc.PeeringSide
			to   *PeeringOptions
		}{{"requester", &p.Requester, requester}, {"accepter", &p.Accepter, accepter}} {
			if x.to == nil {
				continue
			}
			if x.side.Owner != caller.Account {
				return vpc.Errorf(vpc.NotPermitted, string(vpc.KindPeering), string(id),
					"User %s cannot modify %s peering options on VPC Peering %s", caller.Account, x.name, id)
			}
			if x.to.AllowDNS != nil {
				x.side.AllowDNS = *x.to.AllowDNS
			}
		}
		return nil
	})
}

// peeringRoute checks a connection as the target of a route in t. One that is
// not accepted yet may be named: the route is a blackhole until then.
func (c *Control) peeringRoute(v vpc.View, caller Caller, t *vpc.RouteTable, id vpc.PeeringID) (vpc.TargetKind, string, error) {
	p, err := c.Peering(v, caller, id)
	if err != nil {
		return "", "", err
	}
	if !p.State.Live() {
		return "", "", vpc.Errorf(vpc.NotFound, string(vpc.KindPeering), string(id), "The vpcPeeringConnection ID '%s' does not exist", id)
	}
	if p.Other(t.VPC) == nil {
		return "", "", differentNetworks("VPC peering connection", t.ID, string(id))
	}
	return vpc.TargetPeering, string(id), nil
}

// checkPeeredBlock refuses a new block of a VPC that overlaps with one of a
// VPC it is peered with.
func checkPeeredBlock(tx *store.Tx, v *vpc.VPC, add vpc.CIDRAssociation) error {
	for p := range vpc.By[vpc.Peering](tx, vpc.IndexVPC, v.ID) {
		if p.State != vpc.PeeringActive {
			continue
		}
		peer, ok := vpc.Get[vpc.VPC](tx, p.Other(v.ID).VPC)
		if ok && overlap(&vpc.VPC{CIDRs: []vpc.CIDRAssociation{add}}, peer) {
			return vpc.Errorf(vpc.Conflict, string(vpc.KindVPC), add.CIDR.String(),
				"The CIDR '%s' conflicts with a CIDR block of the VPC on the other side of %s", add.CIDR, p.ID)
		}
	}
	return nil
}

// RunPeeringLifecycle brings peering connections forward until ctx is done, and
// then returns its error: a request that nobody answers for 7 days expires, and
// a connection that has ended is forgotten when nobody sees it any more. Like
// RunEndpointLifecycle it is driven by the store and the clock alone.
func (c *Control) RunPeeringLifecycle(ctx context.Context) error {
	return c.levelTriggered(ctx, c.stepPeerings)
}

func (c *Control) stepPeerings(ctx context.Context, snap *store.Snapshot) time.Duration {
	var next wait
	for p := range vpc.All[vpc.Peering](snap) {
		due := p.Expires()
		switch p.State {
		case vpc.PeeringActive:
			continue
		case vpc.PeeringPending:
		default:
			due = p.ForgottenAt()
		}
		if left := due.Sub(c.Now()); left > 0 {
			next.sooner(left)
			continue
		}
		if err := c.endPeering(ctx, p); err != nil && ctx.Err() == nil {
			c.Log.Warn("peering connection not advanced, trying again", "peering", p.ID, "state", p.State, "error", err)
			next.sooner(retryTime)
		}
	}
	return time.Duration(next)
}

// endPeering lets a request expire and forgets what has ended, if its state is
// still what was looked at.
func (c *Control) endPeering(ctx context.Context, seen *vpc.Peering) error {
	_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
		p, ok := vpc.Get[vpc.Peering](tx, seen.ID)
		switch {
		case !ok || p.State != seen.State:
		case p.State == vpc.PeeringPending:
			p = vpc.Edit(p)
			p.State, p.Ended = vpc.PeeringExpired, c.Now()
			tx.Put(p)
		default:
			tx.Delete(p)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write peering connection %s: %w", seen.ID, err)
	}
	return nil
}
