// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// ItemError is why one item of a bulk call was not done; the others were.
type ItemError struct {
	ID  string
	Err error
}

// Resources of the errors of bulk deletions, for which AWS has spellings of
// their own.
const (
	KindEndpointItem vpc.Kind = "vpc-endpoint-item"
	KindServiceItem  vpc.Kind = "vpc-endpoint-service-item"
)

// DeleteEndpoints starts the end of endpoints: packets and names go at once,
// the life cycle removes the rest when every host has let go. The call waits a
// moment for that, so that their subnets can be deleted next. Deleting an
// endpoint that is already going is no error.
func (c *Control) DeleteEndpoints(ctx context.Context, caller Caller, ids []vpc.EndpointID) ([]ItemError, error) {
	ids = unique(ids)
	var failed []ItemError
	var going []vpc.EndpointID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		failed, going = nil, nil
		for _, id := range ids {
			e, err := OwnedEndpoint(tx, caller, id)
			if err != nil {
				failed = append(failed, ItemError{string(id), endpointNotFound(KindEndpointItem, id)})
				continue
			}
			going = append(going, id)
			if e.State == vpc.EndpointDeleting {
				continue
			}
			e = vpc.Edit(e)
			e.State, e.Named = vpc.EndpointDeleting, false
			removeRoutes(tx, e, e.RouteTables)
			if err := c.announce(tx, e, vpc.EventDelete); err != nil {
				return err
			}
			tx.Put(e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.awaitEndpoints(ctx, going, func(_ *vpc.Endpoint, exists bool) bool { return !exists })
	return failed, nil
}

// forget removes an endpoint that no host carries any more, with its
// interfaces and notifications. Its routes went when the deletion began.
func (c *Control) forget(tx *store.Tx, e *vpc.Endpoint) {
	for n := range vpc.By[vpc.NetworkInterface](tx, vpc.IndexEndpoint, e.ID) {
		tx.Delete(n)
	}
	c.closeNotifications(tx, vpc.IndexEndpoint, string(e.ID))
	tx.Delete(e)
}

// unique drops repeated ids and keeps the order.
func unique[T ~string](ids []T) []T {
	out := make([]T, 0, len(ids))
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
