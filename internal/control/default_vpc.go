// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// The default VPC's block, and the size of a default subnet.
var defaultVPCBlock = netip.MustParsePrefix("172.31.0.0/16")

const defaultSubnetBits = 20

// CreateDefaultVPC makes the account's default VPC as AWS does: 172.31.0.0/16
// with DNS hostnames, a /20 subnet in every zone, and an internet gateway that
// the main route table leads to.
func (c *Control) CreateDefaultVPC(ctx context.Context, caller Caller) (vpc.VPCID, error) {
	exists := vpc.Errorf(vpc.Duplicate, "default-vpc", "", "A Default VPC already exists for this account in this region.")
	var id vpc.VPCID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		if _, ok := vpc.DefaultVPC(tx, caller.Account); ok {
			return exists
		}
		v, table, err := c.newVPC(tx, caller, CreateVPCInput{CIDR: defaultVPCBlock})
		if err != nil {
			return err
		}
		id = v.ID
		v = vpc.Edit(v)
		v.Default, v.EnableDNSHostnames = true, true
		tx.Put(v)
		for _, z := range RegionOf(tx).Zones {
			if _, err := c.newDefaultSubnet(tx, caller, v, z.Name); KindOf(err) == vpc.OutOfRange {
				break // a /16 has room for 16 zones
			} else if err != nil {
				return err
			}
		}
		g, err := c.newInternetGateway(tx, caller, id, nil)
		if err != nil {
			return err
		}
		table = vpc.Edit(table)
		table.Routes = append(table.Routes, vpc.Route{CIDR: anyIPv4, TargetKind: vpc.TargetInternet, Target: string(g.ID), Origin: "CreateRoute"})
		tx.Put(table)
		return nil
	})
	if KindOf(err) == vpc.Duplicate {
		err = exists
	}
	return id, err
}

// newDefaultSubnet makes the default subnet of a zone in the first free place
// of the default VPC.
func (c *Control) newDefaultSubnet(tx *store.Tx, caller Caller, v *vpc.VPC, zone string) (vpc.SubnetID, error) {
	block := netip.PrefixFrom(v.CIDRs[0].CIDR.Addr(), defaultSubnetBits)
	for ; v.CIDRs[0].CIDR.Contains(block.Addr()); block = nextBlock(block) {
		free := true
		for s := range vpc.By[vpc.Subnet](tx, vpc.IndexVPC, v.ID) {
			free = free && !s.CIDR.Overlaps(block)
		}
		if free {
			return c.newSubnet(tx, v, &vpc.Subnet{Owner: caller.Account, CIDR: block, Zone: zone, DefaultForAZ: true, MapPublicIPOnLaunch: true})
		}
	}
	return "", vpc.Errorf(vpc.OutOfRange, string(vpc.KindSubnet), string(v.ID), "There is no free block of /%d in the default VPC %s", defaultSubnetBits, v.ID)
}

// nextBlock is the IPv4 block after p, of the same size.
func nextBlock(p netip.Prefix) netip.Prefix {
	b := p.Addr().As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n += 1 << (32 - p.Bits())
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), p.Bits())
}

// CreateDefaultSubnet makes the default subnet of a zone in the account's
// default VPC. At most one of zone and zoneID is given; neither means the first zone.
func (c *Control) CreateDefaultSubnet(ctx context.Context, caller Caller, zone, zoneID string) (vpc.SubnetID, error) {
	var id vpc.SubnetID
	exists := func(zone string) error {
		return vpc.Errorf(vpc.Duplicate, "default-subnet", zone, "A default subnet already exists in availability zone %s.", zone)
	}
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		name, err := zoneFor(RegionOf(tx), zone, zoneID)
		if err != nil {
			return err
		}
		d, ok := vpc.DefaultVPC(tx, caller.Account)
		if !ok {
			return vpc.Errorf(vpc.NotFound, "default-vpc", "", "There is no default VPC in this region.")
		}
		v, err := Owned[vpc.VPC](tx, caller, d.ID)
		if err != nil {
			return err
		}
		if _, ok := vpc.DefaultSubnet(tx, v, name); ok {
			return exists(name)
		}
		id, err = c.newDefaultSubnet(tx, caller, v, name)
		return err
	})
	if KindOf(err) == vpc.Duplicate {
		err = exists(zone + zoneID)
	}
	return id, err
}

// CallersDefaultVPC is the caller's default VPC, or AWS's refusal where a call
// names none and there is none.
func CallersDefaultVPC(v vpc.View, caller Caller) (*vpc.VPC, error) {
	d, ok := vpc.DefaultVPC(v, caller.Account)
	if !ok {
		return nil, vpc.Errorf(vpc.Missing, "default-vpc", "", "No default VPC for this user")
	}
	return d, nil
}

// DefaultGroups finds security groups of the caller's default VPC by their names.
func DefaultGroups(v vpc.View, caller Caller, names ...string) ([]vpc.GroupID, error) {
	if len(names) == 0 {
		return nil, nil
	}
	d, err := CallersDefaultVPC(v, caller)
	if err != nil {
		return nil, err
	}
	ids := map[string]vpc.GroupID{}
	for g := range vpc.By[vpc.SecurityGroup](v, vpc.IndexVPC, d.ID) {
		ids[g.Name] = g.ID
	}
	var out []vpc.GroupID
	for _, name := range names {
		id, ok := ids[name]
		if !ok {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindGroup), name, "The security group '%.128s' does not exist in default VPC '%s'", name, d.ID)
		}
		out = append(out, id)
	}
	return out, nil
}

// defaultSubnetFor is the subnet of a launch that names none: the default one
// of the zone, or of the first zone that has one.
func defaultSubnetFor(tx *store.Tx, caller Caller, zone string) (*vpc.Subnet, error) {
	if zone != "" {
		if _, err := zoneFor(RegionOf(tx), zone, ""); err != nil {
			return nil, err
		}
	}
	d, err := CallersDefaultVPC(tx, caller)
	if err != nil {
		return nil, err
	}
	s, ok := vpc.DefaultSubnet(tx, d, zone)
	if !ok {
		return nil, vpc.Errorf(vpc.Missing, "default-subnet", zone, "No subnets found for the default VPC '%s'. Please specify a subnet.", d.ID)
	}
	return s, nil
}
