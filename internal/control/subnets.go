// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateSubnetInput are the parameters of CreateSubnet that have an effect.
// At most one of Zone and ZoneID is given; neither means the first zone.
type CreateSubnetInput struct {
	VPC    vpc.VPCID
	CIDR   netip.Prefix
	IPv6   netip.Prefix // a /64 of one of the VPC's IPv6 blocks, or the zero Prefix
	Zone   string
	ZoneID string
	Tags   vpc.Tags
}

// CreateSubnet makes a subnet, associated with the VPC's default network ACL
// and, by having no association of its own, with the main route table.
func (c *Control) CreateSubnet(ctx context.Context, caller Caller, in CreateSubnetInput) (vpc.SubnetID, error) {
	cidr := in.CIDR.Masked()
	if !cidr.Addr().Is4() {
		return "", vpc.Errorf(vpc.Invalid, "cidrBlock", in.CIDR.String(), "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", in.CIDR)
	}
	if cidr.Bits() < 16 || cidr.Bits() > 28 {
		return "", vpc.Errorf(vpc.OutOfRange, string(vpc.KindSubnet), in.CIDR.String(), "The CIDR '%s' is invalid.", in.CIDR)
	}
	var id vpc.SubnetID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, in.VPC)
		if err != nil {
			return err
		}
		zone, err := zoneFor(RegionOf(tx), in.Zone, in.ZoneID)
		if err != nil {
			return err
		}
		s := &vpc.Subnet{Owner: caller.Account, CIDR: cidr, Zone: zone, Tags: in.Tags}
		if in.IPv6.IsValid() {
			if s.IPv6, err = c.subnetBlock6(tx, v, in.IPv6); err != nil {
				return err
			}
		}
		id, err = c.newSubnet(tx, v, s)
		return err
	})
	if KindOf(err) == vpc.Duplicate {
		err = blockTaken(in.IPv6)
	}
	return id, err
}

// newSubnet writes a subnet whose ID and VPC are not set yet, if its block is
// inside the VPC and free.
func (c *Control) newSubnet(tx *store.Tx, v *vpc.VPC, fresh *vpc.Subnet) (vpc.SubnetID, error) {
	cidr := fresh.CIDR
	if !v.Holds(cidr) {
		return "", vpc.Errorf(vpc.OutOfRange, string(vpc.KindSubnet), cidr.String(), "The CIDR '%s' is invalid.", cidr)
	}
	n := 0
	for s := range vpc.By[vpc.Subnet](tx, vpc.IndexVPC, v.ID) {
		if s.CIDR.Overlaps(cidr) {
			return "", vpc.Errorf(vpc.Conflict, string(vpc.KindSubnet), cidr.String(), "The CIDR '%s' conflicts with another subnet", cidr)
		}
		n++
	}
	if n >= c.Quotas.SubnetsPerVPC {
		return "", vpc.Errorf(vpc.Limit, string(vpc.KindSubnet), "", "The maximum number of subnets in a VPC is %d", c.Quotas.SubnetsPerVPC)
	}
	sid, err := c.newID(vpc.PrefixSubnet)
	if err != nil {
		return "", err
	}
	assoc, err := c.newID(vpc.PrefixACLAssoc)
	if err != nil {
		return "", err
	}
	fresh.ID, fresh.VPC = vpc.SubnetID(sid), v.ID
	tx.Put(fresh)
	// Every new subnet writes the default ACL, so two that overlap
	// cannot both commit on one snapshot.
	acl, ok := vpc.First[vpc.NetworkACL](tx, "default-of", v.ID)
	if !ok {
		return "", NotFound(vpc.KindACL, "default of "+string(v.ID))
	}
	acl = vpc.Edit(acl)
	acl.Associations = append(acl.Associations, vpc.ACLAssociation{ID: assoc, Subnet: fresh.ID})
	tx.Put(acl)
	// The set of the VPC's blocks must not shrink meanwhile.
	tx.Touch(v)
	return fresh.ID, nil
}

// zoneFor finds a zone by name or id and answers its name.
func zoneFor(r *vpc.Region, name, id string) (string, error) {
	if name != "" && id != "" {
		return "", vpc.Errorf(vpc.Combination, "AvailabilityZone", name, "Only one of AvailabilityZone and AvailabilityZoneId may be specified")
	}
	var names []string
	for _, z := range r.Zones {
		if name == "" && id == "" || z.Name == name || id != "" && z.ID == id {
			return z.Name, nil
		}
		names = append(names, z.Name)
	}
	param, value := "availabilityZone", name
	if id != "" {
		param, value = "availabilityZoneId", id
	}
	return "", vpc.Errorf(vpc.Invalid, param, value,
		"Value (%.64s) for parameter %s is invalid. Subnets can currently only be created in the following availability zones: %s.",
		value, param, strings.Join(names, ", "))
}

// DeleteSubnet removes a subnet nothing is in, and its associations.
func (c *Control) DeleteSubnet(ctx context.Context, caller Caller, id vpc.SubnetID) error {
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		s, err := Owned[vpc.Subnet](tx, caller, id)
		if err != nil {
			return err
		}
		for a := range vpc.By[vpc.NetworkACL](tx, vpc.IndexSubnet, id) {
			a = vpc.Edit(a)
			a.Associations = slices.DeleteFunc(a.Associations, func(x vpc.ACLAssociation) bool { return x.Subnet == id })
			tx.Put(a)
		}
		for t := range vpc.By[vpc.RouteTable](tx, vpc.IndexSubnet, id) {
			t = vpc.Edit(t)
			t.Associations = slices.DeleteFunc(t.Associations, func(x vpc.RouteAssociation) bool { return x.Subnet == id })
			tx.Put(t)
		}
		tx.Delete(s)
		return nil
	})
	return dependent(err, "The subnet '%s' has dependencies and cannot be deleted.", string(id))
}

// SubnetChange is a change of one attribute; the others are nil.
type SubnetChange struct {
	AssignIPv6  *bool          // to interfaces that are made from now on
	MapPublicIP *bool          // kept and shown only
	Hostname    HostnameChange // of instances that are launched from now on
}

// ModifySubnet changes an attribute of a subnet.
func (c *Control) ModifySubnet(ctx context.Context, caller Caller, id vpc.SubnetID, ch SubnetChange) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		s, err := Owned[vpc.Subnet](tx, caller, id)
		if err != nil {
			return err
		}
		s = vpc.Edit(s)
		if ch.AssignIPv6 != nil {
			if *ch.AssignIPv6 && !s.HasIPv6() {
				return noBlock6("assignIpv6AddressOnCreation", s.ID)
			}
			s.AssignIPv6 = *ch.AssignIPv6
		}
		if ch.MapPublicIP != nil {
			s.MapPublicIPOnLaunch = *ch.MapPublicIP
		}
		ch.Hostname.apply(&s.HostnameOptions)
		tx.Put(s)
		return nil
	})
}

// dependent gives the store's "still referenced" the text AWS has for a
// delete of the kind. format takes the id.
func dependent(err error, format, id string) error {
	if KindOf(err) == vpc.InUse {
		return vpc.Errorf(vpc.InUse, "dependency", id, format, id)
	}
	return err
}
