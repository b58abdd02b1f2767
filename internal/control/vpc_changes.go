// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// DeleteVPC removes a VPC that holds nothing but what it was made with: its
// main route table, default network ACL and default security group go with it.
func (c *Control) DeleteVPC(ctx context.Context, caller Caller, id vpc.VPCID) error {
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, id)
		if err != nil {
			return err
		}
		for g := range vpc.By[vpc.SecurityGroup](tx, vpc.IndexVPC, id) {
			if g.Name == vpc.DefaultGroupName {
				tx.Delete(g)
			}
		}
		for a := range vpc.By[vpc.NetworkACL](tx, vpc.IndexVPC, id) {
			if a.Default {
				tx.Delete(a)
			}
		}
		for t := range vpc.By[vpc.RouteTable](tx, vpc.IndexVPC, id) {
			if t.Main != "" {
				tx.Delete(t)
			}
		}
		tx.Delete(v) // the store refuses it while anything else refers to it
		return nil
	})
	return dependent(err, "The vpc '%s' has dependencies and cannot be deleted.", string(id))
}

// VPCChange is a change of one attribute; the others are nil.
type VPCChange struct {
	EnableDNSSupport   *bool
	EnableDNSHostnames *bool
	UsageMetrics       *bool // kept and shown only
}

// ModifyVPC changes an attribute of a VPC.
func (c *Control) ModifyVPC(ctx context.Context, caller Caller, id vpc.VPCID, ch VPCChange) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, id)
		if err != nil {
			return err
		}
		v = vpc.Edit(v)
		for _, set := range []struct{ to, from *bool }{
			{&v.EnableDNSSupport, ch.EnableDNSSupport}, {&v.EnableDNSHostnames, ch.EnableDNSHostnames}, {&v.UsageMetrics, ch.UsageMetrics},
		} {
			if set.from != nil {
				*set.to = *set.from
			}
		}
		tx.Put(v)
		return nil
	})
}

// SetDefaultTenancy takes a VPC's dedicated tenancy from it, for launches from
// now on. It is kept and shown only.
func (c *Control) SetDefaultTenancy(ctx context.Context, caller Caller, id vpc.VPCID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, id)
		if err != nil {
			return err
		}
		if v.Tenancy == "" {
			return vpc.Errorf(vpc.WrongState, "tenancy", string(id), "The tenancy of the VPC '%s' is default and cannot be modified", id)
		}
		v = vpc.Edit(v)
		v.Tenancy = ""
		tx.Put(v)
		return nil
	})
}

// AssociateCIDR adds an IPv4 block to a VPC, with a local route in each of its tables.
func (c *Control) AssociateCIDR(ctx context.Context, caller Caller, id vpc.VPCID, cidr netip.Prefix) (vpc.CIDRAssociation, error) {
	var made vpc.CIDRAssociation
	cidr = cidr.Masked()
	if !cidr.Addr().Is4() || cidr.Bits() < 16 || cidr.Bits() > 28 {
		return made, vpc.Errorf(vpc.OutOfRange, string(vpc.KindVPC), cidr.String(), "The CIDR '%s' is invalid.", cidr)
	}
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, id)
		if err != nil {
			return err
		}
		for _, a := range v.CIDRs {
			if a.CIDR.Overlaps(cidr) {
				return vpc.Errorf(vpc.Conflict, string(vpc.KindVPC), cidr.String(), "The CIDR '%s' conflicts with another CIDR block of the VPC, '%s'", cidr, a.CIDR)
			}
		}
		if len(v.CIDRs) >= c.Quotas.CIDRsPerVPC {
			return vpc.Errorf(vpc.Limit, "cidr-block", string(id), "This network '%s' has met its maximum number of allowed CIDRs: %d", id, c.Quotas.CIDRsPerVPC)
		}
		if err := checkPeeredBlock(tx, v, vpc.CIDRAssociation{CIDR: cidr}); err != nil {
			return err
		}
		aid, err := c.newID(vpc.PrefixCIDRAssoc)
		if err != nil {
			return err
		}
		made = vpc.CIDRAssociation{ID: aid, CIDR: cidr}
		v = vpc.Edit(v)
		v.CIDRs = append(v.CIDRs, made)
		tx.Put(v)
		return addLocalRoutes(tx, v, cidr)
	})
	return made, err
}

// addLocalRoutes gives every table of a VPC the route to a new block of it.
func addLocalRoutes(tx *store.Tx, v *vpc.VPC, block netip.Prefix) error {
	for t := range vpc.By[vpc.RouteTable](tx, vpc.IndexVPC, v.ID) {
		for _, r := range t.Routes {
			if r.CIDR == block {
				return vpc.Errorf(vpc.Conflict, string(vpc.KindVPC), block.String(), "The CIDR '%s' has a route in route table %s", block, t.ID)
			}
		}
		t = vpc.Edit(t)
		t.Routes = append(t.Routes, localRoute(block))
		tx.Put(t)
	}
	return nil
}

// DisassociateCIDR takes a block of either family, other than the primary one,
// from its VPC. No subnet may be in it.
func (c *Control) DisassociateCIDR(ctx context.Context, caller Caller, assoc string) (vpc.VPCID, vpc.CIDRAssociation, error) {
	var id vpc.VPCID
	var gone vpc.CIDRAssociation
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		for v := range vpc.By[vpc.VPC](tx, vpc.IndexOwner, caller.Account) {
			all := slices.Concat(v.CIDRs, v.IPv6)
			i := slices.IndexFunc(all, func(a vpc.CIDRAssociation) bool { return a.ID == assoc })
			if i < 0 {
				continue
			}
			id, gone = v.ID, all[i]
			if i == 0 {
				return vpc.Errorf(vpc.NotPermitted, "cidr-block", assoc, "The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", assoc)
			}
			for s := range vpc.By[vpc.Subnet](tx, vpc.IndexVPC, id) {
				if gone.CIDR.Overlaps(s.CIDR) || s.HasIPv6() && gone.CIDR.Overlaps(s.IPv6.CIDR) {
					return vpc.Errorf(vpc.InUse, "cidr-block", assoc, "The vpc CIDR block with association ID %s may not be disassociated. Subnet %s is in it", assoc, s.ID)
				}
			}
			v = vpc.Edit(v)
			same := func(a vpc.CIDRAssociation) bool { return a.ID == assoc }
			v.CIDRs, v.IPv6 = slices.DeleteFunc(v.CIDRs, same), slices.DeleteFunc(v.IPv6, same)
			tx.Put(v)
			for t := range vpc.By[vpc.RouteTable](tx, vpc.IndexVPC, id) {
				t = vpc.Edit(t)
				t.Routes = slices.DeleteFunc(t.Routes, func(r vpc.Route) bool { return r.TargetKind == vpc.TargetLocal && r.CIDR == gone.CIDR })
				tx.Put(t)
			}
			return nil
		}
		return vpc.Errorf(vpc.NotFound, "cidr-block", assoc, "The vpc CIDR block association ID '%s' does not exist", assoc)
	})
	return id, gone, err
}
