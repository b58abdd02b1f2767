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

// DeleteEndpoints starts the end of endpoints: names go at once, packets when no
// host's resolver has them any more, and the life cycle removes the rest when
// every host has let go. The call waits a
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
			if err := checkNotBeside(tx, e, ids); err != nil {
				going = going[:len(going)-1]
				failed = append(failed, ItemError{string(id), err})
				continue
			}
			e = vpc.Edit(e)
			c.end(e, vpc.EndpointDeleting)
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

// checkNotBeside refuses to delete the last gateway endpoint that an interface
// endpoint's PrivateDnsOnlyForInboundResolverEndpoint relies on: in its VPC the
// service's names would lead nowhere. Writing the VPC makes it conflict with
// setting that.
func checkNotBeside(tx *store.Tx, e *vpc.Endpoint, also []vpc.EndpointID) error {
	if e.Type != vpc.GatewayEndpoint {
		return nil
	}
	if v, ok := vpc.Get[vpc.VPC](tx, e.VPC); ok {
		tx.Touch(v)
	}
	var inbound vpc.EndpointID
	for o := range vpc.By[vpc.Endpoint](tx, vpc.IndexVPC, e.VPC) {
		if o.ServiceName != e.ServiceName || o.ID == e.ID {
			continue
		}
		if o.Type == vpc.GatewayEndpoint && o.State.Carries() {
			return nil
		}
		if o.InboundOnly && o.State.Carries() && !slices.Contains(also, o.ID) {
			inbound = o.ID
		}
	}
	if inbound == "" {
		return nil
	}
	return vpc.Errorf(vpc.InUse, string(vpc.KindEndpoint), string(e.ID),
		"The Vpc Endpoint '%s' cannot be deleted: PrivateDnsOnlyForInboundResolverEndpoint of %s requires a Gateway endpoint for the service.", e.ID, inbound)
}

// end takes an endpoint's names away; what leads to it goes after them.
func (c *Control) end(e *vpc.Endpoint, to vpc.EndpointState) {
	if e.Named && e.State.Carries() && e.Type == vpc.InterfaceEndpoint {
		e.Ending = c.Now()
	}
	e.State, e.Named, e.Coming = to, false, nil
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
