// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// RouteInput is a route as a caller writes it. Exactly one destination and one
// target are set. Gateway names a vpce- id only to answer it as AWS does:
// routes to endpoints are made by the endpoint's life cycle.
type RouteInput struct {
	Table      vpc.RouteTableID
	CIDR       netip.Prefix
	PrefixList vpc.PrefixListID

	Interface vpc.InterfaceID
	Instance  vpc.InstanceID
	Endpoint  vpc.EndpointID
}

func (in RouteInput) destination() string {
	if in.PrefixList != "" {
		return string(in.PrefixList)
	}
	return in.CIDR.Masked().String()
}

func (in RouteInput) find(t *vpc.RouteTable) int {
	return slices.IndexFunc(t.Routes, func(r vpc.Route) bool {
		if in.PrefixList != "" {
			return r.PrefixList == in.PrefixList
		}
		return r.CIDR == in.CIDR.Masked()
	})
}

// prepare finds the table and checks destination and target; it answers the
// route and the place of the one there is for the destination, -1 if none.
func (in RouteInput) prepare(tx *store.Tx, caller Caller) (*vpc.RouteTable, vpc.Route, int, error) {
	t, err := Owned[vpc.RouteTable](tx, caller, in.Table)
	if err != nil {
		return nil, vpc.Route{}, 0, err
	}
	if in.PrefixList != "" {
		if err := checkPrefixList(tx, in.PrefixList); err != nil {
			return nil, vpc.Route{}, 0, err
		}
	}
	i := in.find(t)
	if i >= 0 && t.Routes[i].TargetKind == vpc.TargetEndpoint {
		return nil, vpc.Route{}, 0, endpointRoute(t, in.destination())
	}
	target, err := in.target(tx, caller, t)
	if err != nil {
		return nil, vpc.Route{}, 0, err
	}
	if in.PrefixList != "" {
		return nil, vpc.Route{}, 0, vpc.Errorf(vpc.Invalid, "destinationPrefixListId", string(in.PrefixList),
			"The prefix list %s is managed by AWS; only a gateway endpoint can be routed to it", in.PrefixList)
	}
	return vpc.Edit(t), vpc.Route{CIDR: in.CIDR.Masked(), TargetKind: vpc.TargetENI, Target: string(target), Origin: "CreateRoute"}, i, nil
}

func endpointRoute(t *vpc.RouteTable, dest string) error {
	return vpc.Errorf(vpc.Invalid, "route", dest, "cannot remove VPC endpoint route %s in route table %s", dest, t.ID)
}

func (in RouteInput) target(tx *store.Tx, caller Caller, t *vpc.RouteTable) (vpc.InterfaceID, error) {
	id := in.Interface
	switch {
	case in.Endpoint != "":
		e, err := OwnedEndpoint(tx, caller, in.Endpoint)
		if err != nil {
			return "", err
		}
		if e.Type == vpc.GatewayEndpoint {
			return "", vpc.Errorf(vpc.Invalid, "gatewayId", string(e.ID),
				"The gateway endpoint %s is routed to by associating route tables with it, not by creating routes", e.ID)
		}
		return "", vpc.Errorf(vpc.Unsupported, "route", string(e.ID),
			"Route table contains unsupported route target: %s. VPC Endpoints of this type cannot be used as route targets.", e.ID)
	case in.Instance != "":
		i, err := Owned[vpc.Instance](tx, caller, in.Instance)
		if err != nil || i.State == vpc.InstanceTerminated {
			return "", NotFound(vpc.KindInstance, string(in.Instance))
		}
		id = i.Primary
	}
	n, err := Owned[vpc.NetworkInterface](tx, caller, id)
	if err != nil {
		return "", err
	}
	if n.VPC != t.VPC {
		return "", differentNetworks("interface", t.ID, string(id))
	}
	if n.RequesterManaged {
		return "", vpc.Errorf(vpc.Invalid, "networkInterfaceId", string(id), "Interface %s is managed by AWS and cannot be used as a route target", id)
	}
	return id, nil
}

// CreateRoute adds a route.
func (c *Control) CreateRoute(ctx context.Context, caller Caller, in RouteInput) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, r, i, err := in.prepare(tx, caller)
		if err != nil {
			return err
		}
		if i >= 0 {
			return vpc.Errorf(vpc.Duplicate, "route", in.destination(), "The route identified by %s already exists.", in.destination())
		}
		n := 0
		for _, x := range t.Routes {
			if x.TargetKind != vpc.TargetLocal {
				n++
			}
		}
		if n >= c.Quotas.RoutesPerTable {
			return vpc.Errorf(vpc.Limit, "route", string(t.ID), "The maximum number of routes in a route table is %d", c.Quotas.RoutesPerTable)
		}
		t.Routes = append(t.Routes, r)
		tx.Put(t)
		return nil
	})
}

// ReplaceRoute gives the route of a destination another target.
func (c *Control) ReplaceRoute(ctx context.Context, caller Caller, in RouteInput) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, r, i, err := in.prepare(tx, caller)
		if err != nil {
			return err
		}
		if i < 0 {
			return vpc.Errorf(vpc.Invalid, "route", in.destination(),
				"There is no route defined for '%s' in the route table. Use CreateRoute instead.", in.destination())
		}
		if t.Routes[i].TargetKind == vpc.TargetLocal {
			return vpc.Errorf(vpc.Unsupported, "DestinationCidrBlock", in.destination(), "replacing the target of the local route %s is not supported", in.destination())
		}
		t.Routes[i] = r
		tx.Put(t)
		return nil
	})
}

// DeleteRoute removes the route of a destination; targets are not looked at.
func (c *Control) DeleteRoute(ctx context.Context, caller Caller, in RouteInput) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, err := Owned[vpc.RouteTable](tx, caller, in.Table)
		if err != nil {
			return err
		}
		i := in.find(t)
		switch {
		case i < 0 && in.PrefixList != "":
			return vpc.Errorf(vpc.NotFound, "route", in.destination(), "no route with destination-prefix-list-id %s in route table %s", in.destination(), t.ID)
		case i < 0:
			return vpc.Errorf(vpc.NotFound, "route", in.destination(), "no route with destination-cidr-block %s in route table %s", in.destination(), t.ID)
		case t.Routes[i].TargetKind == vpc.TargetEndpoint:
			return endpointRoute(t, in.destination())
		case t.Routes[i].TargetKind == vpc.TargetLocal:
			return vpc.Errorf(vpc.Invalid, "route", in.destination(), "cannot remove local route %s in route table %s", in.destination(), t.ID)
		}
		t = vpc.Edit(t)
		t.Routes = slices.Delete(t.Routes, i, i+1)
		tx.Put(t)
		return nil
	})
}

// RouteActive reports whether a route leads anywhere; one that does not is a blackhole.
func RouteActive(v vpc.View, r vpc.Route) bool {
	switch r.TargetKind {
	case vpc.TargetLocal:
		return true
	case vpc.TargetEndpoint:
		e, ok := vpc.Get[vpc.Endpoint](v, r.Target)
		return ok && e.State.Carries()
	case vpc.TargetENI:
		n, ok := vpc.Get[vpc.NetworkInterface](v, r.Target)
		return ok && n.Attachment != nil
	}
	return false
}
