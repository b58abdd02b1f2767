// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateVPCInput are the parameters of CreateVpc that have an effect.
type CreateVPCInput struct {
	CIDR    netip.Prefix
	IPv6    bool   // with an IPv6 block of the installation's pool
	Tenancy string // kept only: "" (default) or "dedicated"
	Tags    vpc.Tags
}

// checkVPCQuota refuses one VPC too many. The quota counts a set: writing the
// account makes racing calls conflict.
func (c *Control) checkVPCQuota(tx *store.Tx, caller Caller) error {
	touchAccount(tx, caller.Account)
	n := 0
	for range vpc.By[vpc.VPC](tx, vpc.IndexOwner, caller.Account) {
		n++
	}
	if n >= c.Quotas.VPCs {
		return vpc.Errorf(vpc.Limit, string(vpc.KindVPC), "", "The maximum number of VPCs has been reached: %d", c.Quotas.VPCs)
	}
	return nil
}

// CreateVPC makes a VPC with its main route table, default network ACL and
// default security group.
func (c *Control) CreateVPC(ctx context.Context, caller Caller, in CreateVPCInput) (vpc.VPCID, error) {
	if !in.CIDR.Addr().Is4() {
		return "", vpc.Errorf(vpc.Invalid, "cidrBlock", in.CIDR.String(), "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", in.CIDR)
	}
	if in.CIDR.Bits() < 16 || in.CIDR.Bits() > 28 {
		return "", vpc.Errorf(vpc.OutOfRange, string(vpc.KindVPC), in.CIDR.String(), "The CIDR '%s' is invalid.", in.CIDR)
	}
	var id vpc.VPCID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		v, _, err := c.newVPC(tx, caller, in)
		if err == nil {
			id = v.ID
		}
		return err
	})
	return id, err
}

// newVPC makes a VPC with what belongs to it and answers it and its main table.
func (c *Control) newVPC(tx *store.Tx, caller Caller, in CreateVPCInput) (*vpc.VPC, *vpc.RouteTable, error) {
	if err := c.checkVPCQuota(tx, caller); err != nil {
		return nil, nil, err
	}
	ids := map[string]string{}
	for _, p := range []string{vpc.PrefixVPC, vpc.PrefixCIDRAssoc, vpc.PrefixRouteTable, vpc.PrefixRouteAssoc, vpc.PrefixACL, vpc.PrefixGroup} {
		s, err := c.newID(p)
		if err != nil {
			return nil, nil, err
		}
		ids[p] = s
	}
	vni, err := c.newVNI(tx)
	if err != nil {
		return nil, nil, err
	}
	id := vpc.VPCID(ids[vpc.PrefixVPC])
	v := &vpc.VPC{
		ID: id, Owner: caller.Account, VNI: vni,
		CIDRs:            []vpc.CIDRAssociation{{ID: ids[vpc.PrefixCIDRAssoc], CIDR: in.CIDR.Masked()}},
		EnableDNSSupport: true,
		Tenancy:          in.Tenancy,
		Tags:             in.Tags,
	}
	if in.IPv6 {
		a, err := c.newBlock6(tx)
		if err != nil {
			return nil, nil, err
		}
		v.IPv6 = append(v.IPv6, a)
	}
	tx.Put(v)
	table := &vpc.RouteTable{
		ID: vpc.RouteTableID(ids[vpc.PrefixRouteTable]), Owner: caller.Account, VPC: id,
		Main:   ids[vpc.PrefixRouteAssoc],
		Routes: localRoutes(v),
	}
	tx.Put(table)
	tx.Put(&vpc.NetworkACL{
		ID: vpc.ACLID(ids[vpc.PrefixACL]), Owner: caller.Account, VPC: id, Default: true, Entries: allowAllEntries(v),
	})
	egress, err := c.defaultEgress(v)
	if err != nil {
		return nil, nil, err
	}
	ingress, err := c.newID(vpc.PrefixRule)
	if err != nil {
		return nil, nil, err
	}
	g := vpc.GroupID(ids[vpc.PrefixGroup])
	tx.Put(&vpc.SecurityGroup{
		ID: g, Owner: caller.Account, VPC: id, Name: vpc.DefaultGroupName, Description: "default VPC security group",
		Rules: append(egress, vpc.GroupRule{ID: vpc.RuleID(ingress), Protocol: vpc.AllProtocols, From: -1, To: -1, Group: g, GroupOwner: caller.Account}),
	})
	return v, table, nil
}

var (
	anyIPv4 = netip.MustParsePrefix("0.0.0.0/0")
	anyIPv6 = netip.MustParsePrefix("::/0")
)

// everywhere are the blocks of all addresses of the families that a VPC has.
func everywhere(v *vpc.VPC) []netip.Prefix {
	if len(v.IPv6) > 0 {
		return []netip.Prefix{anyIPv4, anyIPv6}
	}
	return []netip.Prefix{anyIPv4}
}

// allowAllEntries are the entries of a VPC's default network ACL.
func allowAllEntries(v *vpc.VPC) []vpc.ACLEntry {
	var out []vpc.ACLEntry
	for i, p := range everywhere(v) {
		for _, egress := range []bool{true, false} {
			out = append(out, allowAllEntry(100+i, egress, p))
		}
	}
	return out
}

func allowAllEntry(number int, egress bool, p netip.Prefix) vpc.ACLEntry {
	return vpc.ACLEntry{Number: number, Egress: egress, Allow: true, Protocol: vpc.AllProtocols, CIDR: p}
}

// defaultEgress are the rules that a new security group of a VPC has.
func (c *Control) defaultEgress(v *vpc.VPC) ([]vpc.GroupRule, error) {
	var out []vpc.GroupRule
	for _, p := range everywhere(v) {
		id, err := c.newID(vpc.PrefixRule)
		if err != nil {
			return nil, err
		}
		out = append(out, allowAllEgress(vpc.RuleID(id), p))
	}
	return out, nil
}

func allowAllEgress(id vpc.RuleID, p netip.Prefix) vpc.GroupRule {
	return vpc.GroupRule{ID: id, Egress: true, Protocol: vpc.AllProtocols, From: -1, To: -1, CIDR: p}
}
