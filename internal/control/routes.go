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
// target are set. Endpoint is taken only to answer it as AWS does: routes to
// endpoints are made by the endpoint's life cycle.
type RouteInput struct {
	Table      vpc.RouteTableID
	CIDR       netip.Prefix
	PrefixList vpc.PrefixListID

	Interface vpc.InterfaceID
	Instance  vpc.InstanceID
	Endpoint  vpc.EndpointID
	Internet  vpc.InternetGatewayID
	Egress    vpc.EgressOnlyGatewayID
	NAT       vpc.NATGatewayID
	// Local is the target of the routes that every table has for its VPC's blocks.
	Local   bool
	Peering vpc.PeeringID
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

// prepareRoute finds the table and checks destination and target; it answers the
// route and the place of the one there is for the destination, -1 if none.
func (c *Control) prepareRoute(tx *store.Tx, caller Caller, in RouteInput) (*vpc.RouteTable, vpc.Route, int, error) {
	t, err := Owned[vpc.RouteTable](tx, caller, in.Table)
	if err != nil {
		return nil, vpc.Route{}, 0, err
	}
	listOwner := vpc.AccountID("")
	if in.PrefixList != "" {
		if listOwner, _, err = referList(tx, caller, in.PrefixList); err != nil {
			return nil, vpc.Route{}, 0, err
		}
	}
	i := in.find(t)
	if i >= 0 && t.Routes[i].TargetKind == vpc.TargetEndpoint {
		return nil, vpc.Route{}, 0, endpointRoute(t, in.destination())
	}
	r := vpc.Route{PrefixList: in.PrefixList, Origin: "CreateRoute"}
	if in.Peering != "" {
		r.TargetKind, r.Target, err = c.peeringRoute(tx, caller, t, in.Peering)
	} else {
		r.TargetKind, r.Target, err = in.target(tx, caller, t)
	}
	if err != nil {
		return nil, vpc.Route{}, 0, err
	}
	v6 := in.CIDR.IsValid() && in.CIDR.Addr().Is6()
	if in.PrefixList == "" {
		r.CIDR = in.CIDR.Masked()
	} else if listOwner == "" {
		return nil, vpc.Route{}, 0, vpc.Errorf(vpc.Invalid, "destinationPrefixListId", string(in.PrefixList),
			"The prefix list %s is managed by AWS; only a gateway endpoint can be routed to it", in.PrefixList)
	} else {
		_, v6 = listCost(tx, in.PrefixList)
	}
	if err := checkDestination(r, v6, in.destination()); err != nil {
		return nil, vpc.Route{}, 0, err
	}
	return vpc.Edit(t), r, i, nil
}

// nat64 is the block that AWS's NAT gateways translate to IPv4.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// checkDestination refuses a destination that no route can have, or not one to
// this kind of target.
func checkDestination(r vpc.Route, v6 bool, destination string) error {
	switch {
	case r.CIDR.IsValid() && !vpc.Routable(r.CIDR):
		return vpc.Errorf(vpc.Invalid, "destination", destination, "The destination %s is reserved for AWS services and cannot be routed", destination)
	case r.TargetKind.Carries(v6):
		return nil
	case r.TargetKind == vpc.TargetNAT && r.CIDR == nat64:
		return vpc.Errorf(vpc.Unsupported, "DestinationIpv6CidrBlock", destination, "NAT64, the route for %s to a NAT gateway, is not supported", destination)
	case v6:
		return vpc.Errorf(vpc.Invalid, "destinationIpv6CidrBlock", destination, "The IPv6 destination %s cannot be routed to %s", destination, r.Target)
	}
	return vpc.Errorf(vpc.Invalid, "destinationCidrBlock", destination, "The IPv4 destination %s cannot be routed to the egress-only internet gateway %s", destination, r.Target)
}

func endpointRoute(t *vpc.RouteTable, dest string) error {
	return vpc.Errorf(vpc.Invalid, "route", dest, "cannot remove VPC endpoint route %s in route table %s", dest, t.ID)
}

// target finds what the route is to lead to: one case per kind of target.
func (in RouteInput) target(tx *store.Tx, caller Caller, t *vpc.RouteTable) (vpc.TargetKind, string, error) {
	switch {
	case in.Local:
		return vpc.TargetLocal, "", nil
	case in.Endpoint != "":
		return "", "", in.endpoint(tx, caller)
	case in.Internet != "":
		g, err := OwnedInternetGateway(tx, caller, in.Internet)
		if err != nil {
			return "", "", err
		}
		if g.VPC != t.VPC {
			return "", "", vpc.Errorf(vpc.Invalid, "gatewayId", string(g.ID), "route table %s and network gateway %s belong to different networks", t.ID, g.ID)
		}
		return vpc.TargetInternet, string(g.ID), nil
	case in.Egress != "":
		g, err := OwnedEgressOnlyGateway(tx, caller, in.Egress)
		if err != nil {
			return "", "", err
		}
		if g.VPC != t.VPC {
			return "", "", differentNetworks("egress-only internet gateway", t.ID, string(g.ID))
		}
		return vpc.TargetEgressOnly, string(g.ID), nil
	case in.NAT != "":
		g, err := OwnedNATGateway(tx, caller, in.NAT)
		if err == nil && g.State != vpc.NATAvailable {
			err = vpc.Errorf(vpc.NotFound, string(vpc.KindNATGateway), string(g.ID), "NatGateway %s is %s", g.ID, g.State)
		}
		if err != nil {
			return "", "", err
		}
		if g.VPC != t.VPC {
			return "", "", differentNetworks("nat gateway", t.ID, string(g.ID))
		}
		return vpc.TargetNAT, string(g.ID), nil
	}
	id, err := in.netInterface(tx, caller, t)
	return vpc.TargetENI, string(id), err
}

// endpoint is why an endpoint cannot be the target of a route.
func (in RouteInput) endpoint(tx *store.Tx, caller Caller) error {
	e, err := OwnedEndpoint(tx, caller, in.Endpoint)
	if err != nil {
		return err
	}
	if e.Type == vpc.GatewayEndpoint {
		return vpc.Errorf(vpc.Invalid, "gatewayId", string(e.ID),
			"The gateway endpoint %s is routed to by associating route tables with it, not by creating routes", e.ID)
	}
	return vpc.Errorf(vpc.Unsupported, "route", string(e.ID),
		"Route table contains unsupported route target: %s. VPC Endpoints of this type cannot be used as route targets.", e.ID)
}

// netInterface is the interface that is named, or the primary one of the instance.
func (in RouteInput) netInterface(tx *store.Tx, caller Caller, t *vpc.RouteTable) (vpc.InterfaceID, error) {
	id := in.Interface
	if in.Instance != "" {
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

// checkInside refuses a route for a part of the VPC that would lead out of it:
// inside, no internet gateway can be a target at all, and a NAT gateway only
// for a whole subnet.
func checkInside(tx *store.Tx, t *vpc.RouteTable, r vpc.Route) error {
	v, ok := vpc.Get[vpc.VPC](tx, t.VPC)
	if !ok || !r.TargetKind.Leaves() || !r.CIDR.IsValid() || !v.Holds(r.CIDR) {
		return nil
	}
	if r.TargetKind == vpc.TargetNAT {
		for s := range vpc.By[vpc.Subnet](tx, vpc.IndexVPC, t.VPC) {
			if s.CIDR == r.CIDR {
				return nil
			}
		}
	}
	return vpc.Errorf(vpc.Invalid, "destinationCidrBlock", r.CIDR.String(),
		"The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.", r.CIDR)
}

// CreateRoute adds a route.
func (c *Control) CreateRoute(ctx context.Context, caller Caller, in RouteInput) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, r, i, err := c.prepareRoute(tx, caller, in)
		if err != nil {
			return err
		}
		if i >= 0 {
			return vpc.Errorf(vpc.Duplicate, "route", in.destination(), "The route identified by %s already exists.", in.destination())
		}
		if in.Local {
			return vpc.Errorf(vpc.Invalid, "gatewayId", "local", "Value (local) for parameter gatewayId is invalid. Local routes exist for the VPC's CIDR blocks and cannot be created.")
		}
		if err := checkInside(tx, t, r); err != nil {
			return err
		}
		t.Routes = append(t.Routes, r)
		if err := c.checkRouteCount(tx, t); err != nil {
			return err
		}
		tx.Put(t)
		return nil
	})
}

// checkRouteCount holds a table to the quota, by family. Local routes are
// free; a customer's prefix list counts as many as it may have entries.
func (c *Control) checkRouteCount(v vpc.View, t *vpc.RouteTable) error {
	count := map[bool]int{}
	for _, r := range t.Routes {
		n, v6 := 1, r.CIDR.IsValid() && r.CIDR.Addr().Is6()
		switch {
		case r.TargetKind == vpc.TargetLocal:
			continue
		case r.PrefixList != "":
			n, v6 = listCost(v, r.PrefixList)
		}
		if count[v6] += n; count[v6] > c.Quotas.RoutesPerTable {
			return vpc.Errorf(vpc.Limit, "route", string(t.ID), "The maximum number of routes in the route table %s is %d", t.ID, c.Quotas.RoutesPerTable)
		}
	}
	return nil
}

// ReplaceRoute gives the route of a destination another target.
func (c *Control) ReplaceRoute(ctx context.Context, caller Caller, in RouteInput) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, r, i, err := c.prepareRoute(tx, caller, in)
		if err != nil {
			return err
		}
		if i < 0 {
			return vpc.Errorf(vpc.Invalid, "route", in.destination(),
				"There is no route defined for '%s' in the route table. Use CreateRoute instead.", in.destination())
		}
		local := t.Routes[i].TargetKind == vpc.TargetLocal
		switch {
		case local && in.Local:
			return nil // no local route has another target
		case in.Local:
			return vpc.Errorf(vpc.Invalid, "localTarget", in.destination(), "The route for '%s' in route table %s is not a local route", in.destination(), t.ID)
		case local:
			return vpc.Errorf(vpc.Unsupported, "DestinationCidrBlock", in.destination(), "replacing the target of the local route %s is not supported", in.destination())
		}
		if err := checkInside(tx, t, r); err != nil {
			return err
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
		case i < 0 && in.CIDR.Addr().Is6():
			return vpc.Errorf(vpc.NotFound, "route", in.destination(), "no route with destination-ipv6-cidr-block %s in route table %s", in.destination(), t.ID)
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

// RouteActive reports whether a route of a table leads anywhere; one that does
// not is a blackhole.
func RouteActive(v vpc.View, t *vpc.RouteTable, r vpc.Route) bool {
	switch r.TargetKind {
	case vpc.TargetLocal:
		return true
	case vpc.TargetEndpoint:
		e, ok := vpc.Get[vpc.Endpoint](v, r.Target)
		return ok && e.State.Carries()
	case vpc.TargetENI:
		n, ok := vpc.Get[vpc.NetworkInterface](v, r.Target)
		return ok && n.Attachment != nil
	case vpc.TargetInternet:
		g, ok := vpc.Get[vpc.InternetGateway](v, r.Target)
		return ok && g.VPC == t.VPC
	case vpc.TargetEgressOnly:
		g, ok := vpc.Get[vpc.EgressOnlyGateway](v, r.Target)
		return ok && g.VPC == t.VPC
	case vpc.TargetNAT:
		g, ok := vpc.Get[vpc.NATGateway](v, r.Target)
		return ok && g.State == vpc.NATAvailable
	case vpc.TargetPeering:
		p, ok := vpc.Get[vpc.Peering](v, r.Target)
		return ok && p.State == vpc.PeeringActive
	}
	return false
}
