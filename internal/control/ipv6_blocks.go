// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// DefaultIPv6Pool is where the IPv6 blocks of VPCs come from unless the operator
// names others: a quarter of the range for documentation, which reaches
// nobody by accident.
var DefaultIPv6Pool = []netip.Prefix{netip.MustParsePrefix("2001:db8:8000::/34")}

// newBlock6 takes the lowest free block for a VPC from the pool. The VPC's claim
// on it decides between transactions that race for one.
func (c *Control) newBlock6(tx *store.Tx) (vpc.CIDRAssociation, error) {
	for _, pool := range c.IPv6Pool {
		p := netip.PrefixFrom(pool.Masked().Addr(), vpc.VPCBits6)
		for ; pool.Contains(p.Addr()); p = nextBlock6(p) {
			if tx.Claimed(vpc.IPv6BlockClaim(p)) {
				continue
			}
			id, err := c.newID(vpc.PrefixCIDRAssoc)
			return vpc.CIDRAssociation{ID: id, CIDR: p}, err
		}
	}
	return vpc.CIDRAssociation{}, vpc.Errorf(vpc.NoAddress, "ipv6-pool", "", "There are no free IPv6 CIDR blocks in this installation.")
}

// nextBlock6 is the IPv6 block after p, of the same size; the first one after the last.
func nextBlock6(p netip.Prefix) netip.Prefix {
	b := p.Addr().As16()
	step := 1 << ((128 - p.Bits()) % 8)
	for i := (p.Bits() - 1) / 8; i >= 0 && step > 0; i-- {
		step += int(b[i])
		b[i], step = byte(step), step>>8
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), p.Bits())
}

// AssociateIPv6 gives a VPC an IPv6 block of the pool. What lets everything of
// IPv4 out, or through, as AWS made it and as nobody has changed it, does so for
// IPv6 from then on: security groups' egress and the default network ACL.
func (c *Control) AssociateIPv6(ctx context.Context, caller Caller, id vpc.VPCID) (vpc.CIDRAssociation, error) {
	var made vpc.CIDRAssociation
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, id)
		if err != nil {
			return err
		}
		if len(v.IPv6) >= c.Quotas.IPv6CIDRsPerVPC {
			return vpc.Errorf(vpc.Limit, "cidr-block", string(id), "This network '%s' has met its maximum number of allowed IPv6 CIDRs: %d", id, c.Quotas.IPv6CIDRsPerVPC)
		}
		if made, err = c.newBlock6(tx); err != nil {
			return err
		}
		first := len(v.IPv6) == 0
		v = vpc.Edit(v)
		v.IPv6 = append(v.IPv6, made)
		tx.Put(v)
		if err := addLocalRoutes(tx, v, made.CIDR); err != nil || !first {
			return err
		}
		allowIPv6Through(tx, v)
		return c.allowIPv6Out(tx, v)
	})
	return made, err
}

// allowIPv6Through completes the directions of a VPC's default network ACL that
// have the one entry they were made with.
func allowIPv6Through(tx *store.Tx, v *vpc.VPC) {
	a, ok := vpc.First[vpc.NetworkACL](tx, "default-of", v.ID)
	if !ok {
		return
	}
	changed := vpc.Edit(a)
	for _, egress := range []bool{true, false} {
		of := slices.DeleteFunc(slices.Clone(a.Entries), func(e vpc.ACLEntry) bool { return e.Egress != egress })
		if slices.Equal(of, []vpc.ACLEntry{allowAllEntry(100, egress, anyIPv4)}) {
			changed.Entries = append(changed.Entries, allowAllEntry(101, egress, anyIPv6))
		}
	}
	tx.Put(changed)
}

// allowIPv6Out completes the security groups of a VPC that have the one egress
// rule they were made with.
func (c *Control) allowIPv6Out(tx *store.Tx, v *vpc.VPC) error {
	for g := range vpc.By[vpc.SecurityGroup](tx, vpc.IndexVPC, v.ID) {
		out := slices.DeleteFunc(slices.Clone(g.Rules), func(r vpc.GroupRule) bool { return !r.Egress })
		if len(out) != 1 || !sameRule(out[0], allowAllEgress("", anyIPv4)) {
			continue
		}
		id, err := c.newID(vpc.PrefixRule)
		if err != nil {
			return err
		}
		g = vpc.Edit(g)
		g.Rules = append(g.Rules, allowAllEgress(vpc.RuleID(id), anyIPv6))
		tx.Put(g)
	}
	return nil
}

// subnetBlock6 makes an association of a block with a subnet of v, if it can be
// one. That no other subnet has it is the claim's to say.
func (c *Control) subnetBlock6(tx *store.Tx, v *vpc.VPC, p netip.Prefix) (vpc.CIDRAssociation, error) {
	if !p.Addr().Is6() || p.Addr().Is4In6() {
		return vpc.CIDRAssociation{}, vpc.Errorf(vpc.Invalid, "ipv6CidrBlock", p.String(), "Value (%s) for parameter ipv6CidrBlock is invalid. This is not a valid CIDR block.", p)
	}
	p = p.Masked()
	if p.Bits() != vpc.SubnetBits6 || !v.Holds(p) {
		return vpc.CIDRAssociation{}, vpc.Errorf(vpc.OutOfRange, string(vpc.KindSubnet), p.String(), "The CIDR '%s' is invalid.", p)
	}
	id, err := c.newID(vpc.PrefixSubnetCIDRAssoc)
	if err != nil {
		return vpc.CIDRAssociation{}, err
	}
	// The block must not leave the VPC meanwhile.
	tx.Touch(v)
	return vpc.CIDRAssociation{ID: id, CIDR: p}, nil
}

func blockTaken(p netip.Prefix) error {
	return vpc.Errorf(vpc.Conflict, string(vpc.KindSubnet), p.String(), "The CIDR '%s' conflicts with another subnet", p.Masked())
}

func noBlock6(parameter string, id vpc.SubnetID) error {
	return vpc.Errorf(vpc.Invalid, parameter, string(id), "Subnet does not contain any IPv6 CIDR block ranges (%s)", id)
}

// AssociateSubnetIPv6 gives a subnet its IPv6 block.
func (c *Control) AssociateSubnetIPv6(ctx context.Context, caller Caller, id vpc.SubnetID, p netip.Prefix) (vpc.CIDRAssociation, error) {
	var made vpc.CIDRAssociation
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		s, err := Owned[vpc.Subnet](tx, caller, id)
		if err != nil {
			return err
		}
		v, err := Owned[vpc.VPC](tx, caller, s.VPC)
		if err != nil {
			return err
		}
		if s.HasIPv6() {
			return vpc.Errorf(vpc.Limit, "subnet-cidr-block", string(id), "The subnet '%s' has met its maximum number of allowed IPv6 CIDRs: 1", id)
		}
		if made, err = c.subnetBlock6(tx, v, p); err != nil {
			return err
		}
		s = vpc.Edit(s)
		s.IPv6 = made
		tx.Put(s)
		return nil
	})
	if KindOf(err) == vpc.Duplicate {
		err = blockTaken(p)
	}
	return made, err
}

// DisassociateSubnetIPv6 takes its IPv6 block from a subnet in which no
// interface has an IPv6 address.
func (c *Control) DisassociateSubnetIPv6(ctx context.Context, caller Caller, assoc string) (vpc.SubnetID, vpc.CIDRAssociation, error) {
	var id vpc.SubnetID
	var gone vpc.CIDRAssociation
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		for s := range vpc.By[vpc.Subnet](tx, vpc.IndexOwner, caller.Account) {
			if !s.HasIPv6() || s.IPv6.ID != assoc {
				continue
			}
			id, gone = s.ID, s.IPv6
			for n := range vpc.By[vpc.NetworkInterface](tx, vpc.IndexSubnet, id) {
				if len(n.IPv6) > 0 {
					return vpc.Errorf(vpc.InUse, "cidr-block", assoc, "The subnet CIDR block with association ID %s may not be disassociated. Network interface %s has an address in it", assoc, n.ID)
				}
			}
			s = vpc.Edit(s)
			s.IPv6, s.AssignIPv6 = vpc.CIDRAssociation{}, false
			tx.Put(s)
			return nil
		}
		return vpc.Errorf(vpc.NotFound, "subnet-cidr-block", assoc, "The subnet CIDR block association ID '%s' does not exist", assoc)
	})
	return id, gone, err
}
