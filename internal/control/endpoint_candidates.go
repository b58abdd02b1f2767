// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// SetCandidate gives an endpoint a candidate policy in place of the one it may
// have: hosts ask it about every request beside the endpoint's policy, and
// record what it would have decided. What it is held to is what a policy is
// held to. It is the operator's, who answers for every account. The endpoint's
// state does not change: nothing that carries packets does.
func (c *Control) SetCandidate(ctx context.Context, id vpc.EndpointID, doc string) (*vpc.Endpoint, error) {
	var set *vpc.Endpoint
	err := c.changeCandidate(ctx, id, func(tx *store.Tx, e *vpc.Endpoint) error {
		if e.State != vpc.EndpointPendingAcceptance && !e.State.Carries() {
			return vpc.Errorf(vpc.WrongState, string(vpc.KindEndpoint), string(id), "The Vpc Endpoint '%s' is in the state %s and cannot be modified", id, e.State)
		}
		offer, err := offerOf(tx, e)
		if err != nil {
			return err
		}
		if err := checkPolicy(offer, doc); err != nil {
			return err
		}
		e.Candidate, e.CandidateSet = doc, c.Now()
		set = e
		return nil
	})
	return set, err
}

// RemoveCandidate takes an endpoint's candidate policy away. That there is none
// is an error.
func (c *Control) RemoveCandidate(ctx context.Context, id vpc.EndpointID) error {
	return c.changeCandidate(ctx, id, func(_ *store.Tx, e *vpc.Endpoint) error {
		if e.Candidate == "" {
			return NoCandidate(id)
		}
		e.Candidate, e.CandidateSet = "", time.Time{}
		return nil
	})
}

// NoCandidate says that an endpoint has no candidate policy.
func NoCandidate(id vpc.EndpointID) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindEndpoint), string(id), "The Vpc Endpoint '%s' has no candidate policy", id)
}

func (c *Control) changeCandidate(ctx context.Context, id vpc.EndpointID, change func(*store.Tx, *vpc.Endpoint) error) error {
	return c.update(ctx, installation, func(tx *store.Tx) error {
		old, ok := vpc.Get[vpc.Endpoint](tx, id)
		if !ok {
			return endpointNotFound(vpc.KindEndpoint, id)
		}
		e := vpc.Edit(old)
		if err := change(tx, e); err != nil {
			return err
		}
		tx.Put(e)
		return nil
	})
}
