// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"reflect"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// ModifyEndpointInput are the parameters of ModifyVpcEndpoint that have an
// effect. Nil pointers are parameters that were not sent.
type ModifyEndpointInput struct {
	ID                vpc.EndpointID
	Policy            *string
	ResetPolicy       bool
	PrivateDNS        *bool
	AddRouteTables    []vpc.RouteTableID
	RemoveRouteTables []vpc.RouteTableID
	AddSubnets        []vpc.SubnetID
	RemoveSubnets     []vpc.SubnetID
	AddGroups         []vpc.GroupID
	RemoveGroups      []vpc.GroupID
	Addresses         []SubnetAddress
	IPAddressType     string // "" leaves it
	DNS               EndpointDNS
}

// ModifyEndpoint changes an endpoint. Adding what is there and removing what
// is not are no errors. An available endpoint goes through pending, without
// losing its names or a packet of what does not change; the call waits a
// moment for it to be available again. Its names answer with new addresses
// once packets reach them, and with old ones no longer before packets stop.
func (c *Control) ModifyEndpoint(ctx context.Context, caller Caller, in ModifyEndpointInput) error {
	if in.Policy != nil && in.ResetPolicy {
		return vpc.Errorf(vpc.Combination, "PolicyDocument", "", "The parameters PolicyDocument and ResetPolicy (true) cannot be used together")
	}
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := OwnedEndpoint(tx, caller, in.ID)
		if err != nil {
			return err
		}
		if old.State != vpc.EndpointPendingAcceptance && !old.State.Carries() {
			return vpc.Errorf(vpc.WrongState, string(vpc.KindEndpoint), string(in.ID), "The Vpc Endpoint '%s' is in the state %s and cannot be modified", in.ID, old.State)
		}
		offer, err := offerOf(tx, old)
		if err != nil {
			return err
		}
		v, ok := vpc.Get[vpc.VPC](tx, old.VPC)
		if !ok {
			return NotFound(vpc.KindVPC, string(old.VPC))
		}
		e := vpc.Edit(old)
		if in.IPAddressType != "" {
			if err := setAddressType(e, offer, in.IPAddressType); err != nil {
				return err
			}
		}
		if err := setRecordType(v, e, offer, in.DNS.RecordType); err != nil {
			return err
		}
		if e.Type == vpc.GatewayEndpoint {
			err = c.modifyGateway(tx, caller, e, offer, in)
		} else {
			err = c.modifyInterface(tx, caller, v, e, offer, in)
		}
		if err != nil {
			return err
		}
		switch {
		case in.ResetPolicy:
			e.Policy = ""
		case in.Policy != nil:
			if err := setPolicy(e, offer, *in.Policy); err != nil {
				return err
			}
		}
		if reflect.DeepEqual(e, vpc.Edit(old)) {
			return nil
		}
		if e.State == vpc.EndpointAvailable {
			e.State = vpc.EndpointPending
		}
		tx.Put(e)
		return nil
	})
	if err != nil {
		return err
	}
	c.awaitEndpoints(ctx, []vpc.EndpointID{in.ID}, settled)
	return nil
}

// offerOf is the service behind an endpoint that has one still. It does not
// ask whether the caller would be allowed to connect today.
func offerOf(v vpc.View, e *vpc.Endpoint) (Offer, error) {
	s, c := vpc.ServiceOf(v, e)
	if s == nil && c == nil {
		return Offer{}, vpc.Errorf(vpc.NotFound, "service-name", e.ServiceName, "The Vpc Endpoint Service '%s' does not exist", e.ServiceName)
	}
	return Offer{Service: s, Catalogue: c}, nil
}

func (c *Control) modifyGateway(tx *store.Tx, caller Caller, e *vpc.Endpoint, offer Offer, in ModifyEndpointInput) error {
	switch {
	case len(in.AddSubnets) > 0:
		return wrongType(e.Type, "AddSubnetId", in.AddSubnets[0])
	case len(in.RemoveSubnets) > 0:
		return wrongType(e.Type, "RemoveSubnetId", in.RemoveSubnets[0])
	case len(in.AddGroups) > 0:
		return wrongType(e.Type, "AddSecurityGroupId", in.AddGroups[0])
	case len(in.RemoveGroups) > 0:
		return wrongType(e.Type, "RemoveSecurityGroupId", in.RemoveGroups[0])
	case len(in.Addresses) > 0:
		return wrongType(e.Type, "SubnetConfiguration", in.Addresses[0].Subnet)
	case in.PrivateDNS != nil && *in.PrivateDNS:
		return wrongType(e.Type, "PrivateDnsEnabled", "true")
	case in.DNS.InboundOnly != nil && *in.DNS.InboundOnly:
		return wrongType(e.Type, "PrivateDnsOnlyForInboundResolverEndpoint", "true")
	}
	for _, id := range in.AddRouteTables {
		if slices.Contains(in.RemoveRouteTables, id) {
			return vpc.Errorf(vpc.Combination, "AddRouteTableId", string(id), "The route table %s (AddRouteTableId) cannot be added and removed at once", id)
		}
	}
	for _, id := range in.RemoveRouteTables {
		if slices.Contains(e.RouteTables, id) {
			continue
		}
		if _, err := Owned[vpc.RouteTable](tx, caller, id); err != nil {
			return vpc.Errorf(vpc.NotFound, string(vpc.KindRouteTable), string(id), "The routeTable ID '%s' does not exist", id)
		}
	}
	removeRoutes(tx, e, in.RemoveRouteTables)
	if in.IPAddressType != "" {
		for _, id := range e.RouteTables {
			t, ok := vpc.Get[vpc.RouteTable](tx, id)
			if !ok {
				return NotFound(vpc.KindRouteTable, string(id))
			}
			if err := c.routeTo(tx, t, e, offer.Catalogue); err != nil {
				return err
			}
		}
	}
	return c.addRoutes(tx, caller, e, offer.Catalogue, in.AddRouteTables)
}

func (c *Control) modifyInterface(tx *store.Tx, caller Caller, v *vpc.VPC, e *vpc.Endpoint, offer Offer, in ModifyEndpointInput) error {
	if len(in.AddRouteTables) > 0 {
		return wrongType(e.Type, "AddRouteTableId", in.AddRouteTables[0])
	}
	if len(in.RemoveRouteTables) > 0 {
		return wrongType(e.Type, "RemoveRouteTableId", in.RemoveRouteTables[0])
	}
	for _, id := range in.RemoveSubnets {
		if slices.Contains(in.AddSubnets, id) {
			return vpc.Errorf(vpc.Combination, "AddSubnetId", string(id), "The subnet %s (AddSubnetId) cannot be added and removed at once", id)
		}
		if !slices.ContainsFunc(e.Nodes, func(n vpc.EndpointNode) bool { return n.Subnet == id }) {
			if _, err := Owned[vpc.Subnet](tx, caller, id); err != nil {
				return vpc.Errorf(vpc.NotFound, string(vpc.KindSubnet), string(id), "The subnet ID '%s' does not exist", id)
			}
			continue
		}
		dropNode(tx, e, id, e.Named)
	}
	subnets, err := c.endpointSubnets(tx, caller, e, offer, in.AddSubnets)
	if err != nil {
		return err
	}
	if in.PrivateDNS != nil {
		if *in.PrivateDNS && !e.PrivateDNS {
			if err := checkPrivateDNS(tx, v, e, offer); err != nil {
				return err
			}
			tx.Touch(v)
		}
		e.PrivateDNS = *in.PrivateDNS
		e.InboundOnly = e.InboundOnly && e.PrivateDNS
	}
	if err := setInboundOnly(tx, e, offer, in.DNS.InboundOnly); err != nil {
		return err
	}
	if in.DNS.InboundOnly != nil {
		tx.Touch(v) // its gateway endpoint must not go meanwhile
	}
	if err := c.modifyGroups(tx, caller, e, in); err != nil {
		return err
	}
	return c.modifyAddresses(tx, e, subnets, in.Addresses)
}

// modifyAddresses makes the interfaces in new subnets, gives those there are
// the families of the endpoint's IP address type, and replaces the ones whose
// address was chosen anew: an address belongs to an interface for life.
func (c *Control) modifyAddresses(tx *store.Tx, e *vpc.Endpoint, added []*vpc.Subnet, list []SubnetAddress) error {
	all := make([]vpc.SubnetID, 0, len(e.Nodes)+len(added))
	for _, n := range e.Nodes {
		all = append(all, n.Subnet)
	}
	for _, s := range added {
		all = append(all, s.ID)
	}
	chosen, err := chosenAddresses(e, list, all)
	if err != nil {
		return err
	}
	for _, n := range slices.Clone(e.Nodes) {
		if err := c.modifyNode(tx, e, n, chosen[n.Subnet]); err != nil {
			return err
		}
	}
	for _, s := range added {
		if err := c.addNode(tx, e, s, chosen[s.ID]); err != nil {
			return err
		}
	}
	return nil
}

// modifyNode is modifyAddresses for one of the nodes there are.
func (c *Control) modifyNode(tx *store.Tx, e *vpc.Endpoint, n vpc.EndpointNode, chosen SubnetAddress) error {
	other := func(now, want netip.Addr) bool { return now.IsValid() && want.IsValid() && now != want }
	replace := other(n.Addr, chosen.Addr) || other(n.Addr6, chosen.Addr6)
	if !replace && n.Addr.IsValid() == e.HasIPv4() && n.Addr6.IsValid() == e.HasIPv6() {
		return nil
	}
	s, ok := vpc.Get[vpc.Subnet](tx, n.Subnet)
	if !ok {
		return NotFound(vpc.KindSubnet, string(n.Subnet))
	}
	if err := fitsSubnet(e, s); err != nil {
		return err
	}
	if replace {
		// The new interface keeps the address that was not chosen anew.
		if !chosen.Addr.IsValid() {
			chosen.Addr = n.Addr
		}
		if !chosen.Addr6.IsValid() {
			chosen.Addr6 = n.Addr6
		}
		// Then both cannot be there at once.
		keeps := chosen.Addr == n.Addr || n.Addr6.IsValid() && chosen.Addr6 == n.Addr6
		dropNode(tx, e, n.Subnet, e.Named && !keeps)
		return c.addNode(tx, e, s, chosen)
	}
	var err error
	switch {
	case e.HasIPv6():
		if n.Addr6, err = c.addIPv6(tx, n.Interface, s, chosen.Addr6); e.Named {
			e.Coming = append(e.Coming, n.Addr6)
		}
	case e.Named:
		e.Going = append(e.Going, vpc.EndpointNode{Subnet: n.Subnet, Zone: n.Zone, Interface: n.Interface, Addr6: n.Addr6})
		n.Addr6 = netip.Addr{}
	default:
		removeIPv6(tx, n.Interface, n.Addr6)
		n.Addr6 = netip.Addr{}
	}
	e.Nodes[slices.IndexFunc(e.Nodes, func(o vpc.EndpointNode) bool { return o.Interface == n.Interface })] = n
	return err
}

// dropNode removes the endpoint's interface in a subnet, or leaves that to the
// life cycle, until names no longer lead to it.
func dropNode(tx *store.Tx, e *vpc.Endpoint, id vpc.SubnetID, later bool) {
	e.Nodes = slices.DeleteFunc(e.Nodes, func(n vpc.EndpointNode) bool {
		if n.Subnet != id {
			return false
		}
		if later {
			e.Going = append(e.Going, n)
		} else {
			deleteNode(tx, e, n)
		}
		return true
	})
}

// removeGoing removes what has been taken from an endpoint.
func removeGoing(tx *store.Tx, e *vpc.Endpoint) {
	for _, n := range e.Going {
		if slices.ContainsFunc(e.Nodes, func(o vpc.EndpointNode) bool { return o.Interface == n.Interface }) {
			removeIPv6(tx, n.Interface, n.Addr6)
		} else {
			deleteNode(tx, e, n)
		}
	}
}

// deleteNode deletes an interface of the endpoint.
func deleteNode(tx *store.Tx, e *vpc.Endpoint, n vpc.EndpointNode) {
	if o, ok := vpc.Get[vpc.NetworkInterface](tx, n.Interface); ok && o.Endpoint == e.ID {
		tx.Delete(o)
	}
}

// modifyGroups changes the groups of the endpoint and of its interfaces.
func (c *Control) modifyGroups(tx *store.Tx, caller Caller, e *vpc.Endpoint, in ModifyEndpointInput) error {
	if len(in.AddGroups) == 0 && len(in.RemoveGroups) == 0 {
		return nil
	}
	groups := slices.Clone(e.Groups)
	for _, id := range in.RemoveGroups {
		if slices.Contains(in.AddGroups, id) {
			return vpc.Errorf(vpc.Combination, "AddSecurityGroupId", string(id), "The security group %s (AddSecurityGroupId) cannot be added and removed at once", id)
		}
		if !slices.Contains(groups, id) {
			if _, err := Owned[vpc.SecurityGroup](tx, caller, id); err != nil {
				return vpc.Errorf(vpc.NotFound, string(vpc.KindGroup), string(id), "The security group '%s' does not exist", id)
			}
		}
		groups = slices.DeleteFunc(groups, func(g vpc.GroupID) bool { return g == id })
	}
	for _, id := range in.AddGroups {
		if !slices.Contains(groups, id) {
			groups = append(groups, id)
		}
	}
	if len(groups) == 0 {
		return badEndpoint("An endpoint of type %s needs at least one security group: %s (RemoveSecurityGroupId) is the last", e.Type, in.RemoveGroups[len(in.RemoveGroups)-1])
	}
	groups, err := c.groupsFor(tx, caller, e.VPC, groups)
	if err != nil {
		return err
	}
	if slices.Equal(groups, e.Groups) {
		return nil
	}
	e.Groups = groups
	for _, n := range e.Nodes {
		if o, ok := vpc.Get[vpc.NetworkInterface](tx, n.Interface); ok {
			o = vpc.Edit(o)
			o.Groups = groups
			tx.Put(o)
		}
	}
	return nil
}
