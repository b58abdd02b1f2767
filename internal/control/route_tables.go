// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateRouteTableInput are the parameters of CreateRouteTable.
type CreateRouteTableInput struct {
	VPC   vpc.VPCID
	Tags  vpc.Tags
	Token string `json:"-"`
}

// CreateRouteTable makes a table with the VPC's local routes only.
func (c *Control) CreateRouteTable(ctx context.Context, caller Caller, in CreateRouteTableInput) (vpc.RouteTableID, error) {
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	var id vpc.RouteTableID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := remembered(tx, caller, "CreateRouteTable", in.Token, in)
		if err != nil {
			return err
		}
		if old != "" {
			id = vpc.RouteTableID(old)
			_, err := Owned[vpc.RouteTable](tx, caller, id)
			return err
		}
		v, err := Owned[vpc.VPC](tx, caller, in.VPC)
		if err != nil {
			return err
		}
		n := 0
		for range vpc.By[vpc.RouteTable](tx, vpc.IndexVPC, v.ID) {
			n++
		}
		if n >= c.Quotas.RouteTablesPerVPC {
			return vpc.Errorf(vpc.Limit, string(vpc.KindRouteTable), "", "The maximum number of route tables in a VPC is %d", c.Quotas.RouteTablesPerVPC)
		}
		s, err := c.newID(vpc.PrefixRouteTable)
		if err != nil {
			return err
		}
		id = vpc.RouteTableID(s)
		tx.Put(&vpc.RouteTable{ID: id, Owner: caller.Account, VPC: v.ID, Routes: localRoutes(v), Tags: in.Tags})
		// A block must not be added to the VPC meanwhile: it would lack its
		// local route here.
		tx.Touch(v)
		c.remember(tx, caller, "CreateRouteTable", in.Token, in, s)
		return nil
	})
	return id, err
}

// localRoutes are the routes that every table of a VPC has.
func localRoutes(v *vpc.VPC) []vpc.Route {
	var out []vpc.Route
	for _, p := range v.Prefixes() {
		out = append(out, localRoute(p))
	}
	return out
}

func localRoute(p netip.Prefix) vpc.Route {
	return vpc.Route{CIDR: p, TargetKind: vpc.TargetLocal, Origin: "CreateRouteTable"}
}

// DeleteRouteTable removes a table no subnet is associated with. Gateway
// endpoints lose their association with it.
func (c *Control) DeleteRouteTable(ctx context.Context, caller Caller, id vpc.RouteTableID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, err := Owned[vpc.RouteTable](tx, caller, id)
		if err != nil {
			return err
		}
		if t.Main != "" || len(t.Associations) > 0 {
			return vpc.Errorf(vpc.InUse, string(vpc.KindRouteTable), string(id), "The routeTable '%s' has dependencies and cannot be deleted.", id)
		}
		dropFromEndpoints(tx, id)
		tx.Delete(t)
		return nil
	})
}

// dropFromEndpoints takes a table that goes away from the gateway endpoints routed in it.
func dropFromEndpoints(tx *store.Tx, id vpc.RouteTableID) {
	for e := range vpc.By[vpc.Endpoint](tx, "route-table", id) {
		e = vpc.Edit(e)
		e.RouteTables = slices.DeleteFunc(e.RouteTables, func(x vpc.RouteTableID) bool { return x == id })
		tx.Put(e)
	}
}

// AssociateRouteTable gives a subnet a table of its own and answers the association's id.
func (c *Control) AssociateRouteTable(ctx context.Context, caller Caller, table vpc.RouteTableID, subnet vpc.SubnetID) (string, error) {
	var id string
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		t, err := Owned[vpc.RouteTable](tx, caller, table)
		if err != nil {
			return err
		}
		s, err := Owned[vpc.Subnet](tx, caller, subnet)
		if err != nil {
			return err
		}
		if s.VPC != t.VPC {
			return differentNetworks("subnet", table, string(subnet))
		}
		for other := range vpc.By[vpc.RouteTable](tx, vpc.IndexSubnet, subnet) {
			for _, a := range other.Associations {
				if a.Subnet != subnet {
					continue
				}
				if other.ID == table {
					id = a.ID // the same association again is no change
					return nil
				}
				return vpc.Errorf(vpc.AlreadyAssociated, "subnet", string(subnet),
					"the specified association for route table %s conflicts with an existing association", table)
			}
		}
		if id, err = c.newID(vpc.PrefixRouteAssoc); err != nil {
			return err
		}
		t = vpc.Edit(t)
		t.Associations = append(t.Associations, vpc.RouteAssociation{ID: id, Subnet: subnet})
		tx.Put(t)
		return nil
	})
	if KindOf(err) == vpc.Duplicate {
		err = vpc.Errorf(vpc.AlreadyAssociated, "subnet", string(subnet), "the specified association for route table %s conflicts with an existing association", table)
	}
	return id, err
}

func differentNetworks(kind string, table vpc.RouteTableID, id string) error {
	return vpc.Errorf(vpc.Invalid, kind, id, "route table %s and %s %s belong to different networks", table, kind, id)
}

// tableOf finds the caller's table that holds an association.
func tableOf(tx *store.Tx, caller Caller, assoc string) (*vpc.RouteTable, error) {
	t, ok := vpc.First[vpc.RouteTable](tx, vpc.IndexAssociation, assoc)
	if ok {
		if t, err := Owned[vpc.RouteTable](tx, caller, t.ID); err == nil {
			return t, nil
		}
	}
	return nil, vpc.Errorf(vpc.NotFound, "association", assoc, "The association ID '%s' does not exist", assoc)
}

// DisassociateRouteTable makes a subnet use the main table again.
func (c *Control) DisassociateRouteTable(ctx context.Context, caller Caller, assoc string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		t, err := tableOf(tx, caller, assoc)
		if err != nil {
			return err
		}
		if t.Main == assoc {
			return vpc.Errorf(vpc.Invalid, "association", assoc, "cannot disassociate the main route table association %s", assoc)
		}
		t = vpc.Edit(t)
		t.Associations = slices.DeleteFunc(t.Associations, func(a vpc.RouteAssociation) bool { return a.ID == assoc })
		tx.Put(t)
		return nil
	})
}

// ReplaceRouteTableAssociation moves an association, the main one too, to
// another table of the VPC. The association gets a new id.
func (c *Control) ReplaceRouteTableAssociation(ctx context.Context, caller Caller, assoc string, table vpc.RouteTableID) (string, error) {
	var id string
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		from, err := tableOf(tx, caller, assoc)
		if err != nil {
			return err
		}
		to, err := Owned[vpc.RouteTable](tx, caller, table)
		if err != nil {
			return err
		}
		if from.VPC != to.VPC {
			return vpc.Errorf(vpc.Invalid, "routeTableId", string(table), "route tables %s and %s belong to different networks", from.ID, to.ID)
		}
		if id, err = c.newID(vpc.PrefixRouteAssoc); err != nil {
			return err
		}
		from = vpc.Edit(from)
		if to.ID == from.ID {
			to = from
		} else {
			to = vpc.Edit(to)
		}
		if from.Main == assoc {
			from.Main = ""
			to.Main = id
		} else {
			i := slices.IndexFunc(from.Associations, func(a vpc.RouteAssociation) bool { return a.ID == assoc })
			subnet := from.Associations[i].Subnet
			from.Associations = slices.Delete(from.Associations, i, i+1)
			to.Associations = append(to.Associations, vpc.RouteAssociation{ID: id, Subnet: subnet})
		}
		tx.Put(from) // gives its claim up before to takes it
		tx.Put(to)
		return nil
	})
	return id, err
}
