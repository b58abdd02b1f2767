// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"iter"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// KindConnection is the resource of errors about an endpoint as its provider
// sees it.
const KindConnection vpc.Kind = "vpc-endpoint-connection"

// Connections yields the endpoints that asked to connect to any service of
// the caller.
func Connections(v vpc.View, caller Caller) iter.Seq[*vpc.Endpoint] {
	return func(yield func(*vpc.Endpoint) bool) {
		for s := range vpc.By[vpc.EndpointService](v, vpc.IndexOwner, caller.Account) {
			for e := range vpc.By[vpc.Endpoint](v, vpc.IndexService, s.ID) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// ownedConnection finds the endpoint behind a connection to a service of the
// caller. The consumer does not know the connection's id, and it is none of its.
func ownedConnection(v vpc.View, caller Caller, id string) (*vpc.Endpoint, error) {
	if e, ok := vpc.First[vpc.Endpoint](v, vpc.IndexConnection, id); ok {
		if e, ok = vpc.Get[vpc.Endpoint](v, e.ID); ok {
			if _, err := OwnedService(v, caller, e.Service); err == nil {
				return e, nil
			}
		}
	}
	return nil, vpc.Errorf(vpc.NotFound, string(KindConnection), id, "The vpc endpoint connection ID '%s' does not exist", id)
}

// AcceptConnections lets endpoints that wait or were turned down connect to
// the caller's service. The items that cannot be are answered, the others are
// done; the call waits a moment for those to be available.
func (c *Control) AcceptConnections(ctx context.Context, caller Caller, service vpc.ServiceID, ids []vpc.EndpointID) ([]ItemError, error) {
	failed, done, err := c.answerConnections(ctx, caller, service, ids, vpc.EventAccept, func(e *vpc.Endpoint) bool {
		if e.State != vpc.EndpointPendingAcceptance && e.State != vpc.EndpointRejected {
			return false
		}
		// Names that were going are gone once they come again.
		e.State, e.Named, e.Ending = vpc.EndpointPending, false, time.Time{}
		return true
	})
	if err != nil {
		return nil, err
	}
	c.awaitEndpoints(ctx, done, settled)
	return failed, nil
}

// RejectConnections turns endpoints down, also ones that are in use: their
// packets stop before the call returns, if every host answers in time.
func (c *Control) RejectConnections(ctx context.Context, caller Caller, service vpc.ServiceID, ids []vpc.EndpointID) ([]ItemError, error) {
	failed, done, err := c.answerConnections(ctx, caller, service, ids, vpc.EventReject, func(e *vpc.Endpoint) bool {
		if e.State != vpc.EndpointPendingAcceptance && !e.State.Carries() {
			return false
		}
		c.end(e, vpc.EndpointRejected)
		return true
	})
	if err != nil {
		return nil, err
	}
	c.awaitEndpoints(ctx, done, ended)
	c.settle(ctx, c.View().Revision())
	return failed, nil
}

// answerConnections runs change on a private copy of each endpoint; change
// answers whether the endpoint's state allows it. What is done is announced.
func (c *Control) answerConnections(ctx context.Context, caller Caller, service vpc.ServiceID, ids []vpc.EndpointID,
	event vpc.ConnectionEvent, change func(*vpc.Endpoint) bool,
) (failed []ItemError, done []vpc.EndpointID, err error) {
	ids = unique(ids)
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		failed, done = nil, nil
		s, err := OwnedService(tx, caller, service)
		if err != nil {
			return err
		}
		for _, id := range ids {
			e, ok := vpc.Get[vpc.Endpoint](tx, id)
			if !ok || e.Service != s.ID {
				failed = append(failed, ItemError{string(id), endpointNotFound(vpc.KindEndpoint, id)})
				continue
			}
			was := e.State
			e = vpc.Edit(e)
			if !change(e) {
				failed = append(failed, ItemError{string(id), vpc.Errorf(vpc.WrongState, string(KindConnection), string(id),
					"The Vpc Endpoint '%s' is in the state %s, which does not allow this", id, was)})
				continue
			}
			if err := c.announce(tx, e, event); err != nil {
				return err
			}
			tx.Put(e)
			done = append(done, id)
		}
		return nil
	})
	return failed, done, err
}
