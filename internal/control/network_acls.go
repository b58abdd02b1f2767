// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxACLEntries is the quota of entries per direction, the most AWS raises it to.
const maxACLEntries = 40

// CreateACLInput are the parameters of CreateNetworkAcl.
type CreateACLInput struct {
	VPC   vpc.VPCID
	Tags  vpc.Tags
	Token string `json:"-"`
}

// CreateACL makes a network ACL without entries, which denies everything.
func (c *Control) CreateACL(ctx context.Context, caller Caller, in CreateACLInput) (vpc.ACLID, error) {
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	var id vpc.ACLID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := remembered(tx, caller, "CreateNetworkAcl", in.Token, in)
		if err != nil {
			return err
		}
		if old != "" {
			id = vpc.ACLID(old)
			_, err := Owned[vpc.NetworkACL](tx, caller, id)
			return err
		}
		v, err := Owned[vpc.VPC](tx, caller, in.VPC)
		if err != nil {
			return err
		}
		n := 0
		for range vpc.By[vpc.NetworkACL](tx, vpc.IndexVPC, v.ID) {
			n++
		}
		if n >= c.Quotas.ACLsPerVPC {
			return vpc.Errorf(vpc.Limit, string(vpc.KindACL), "", "The maximum number of network ACLs in a VPC is %d", c.Quotas.ACLsPerVPC)
		}
		s, err := c.newID(vpc.PrefixACL)
		if err != nil {
			return err
		}
		id = vpc.ACLID(s)
		tx.Put(&vpc.NetworkACL{ID: id, Owner: caller.Account, VPC: v.ID, Tags: in.Tags})
		c.remember(tx, caller, "CreateNetworkAcl", in.Token, in, s)
		return nil
	})
	return id, err
}

// DeleteACL removes an ACL no subnet uses. The default one stays.
func (c *Control) DeleteACL(ctx context.Context, caller Caller, id vpc.ACLID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		a, err := Owned[vpc.NetworkACL](tx, caller, id)
		if err != nil {
			return err
		}
		if a.Default {
			return vpc.Errorf(vpc.Invalid, "networkAclId", string(id), "Cannot delete default network ACL %s", id)
		}
		if len(a.Associations) > 0 {
			return vpc.Errorf(vpc.InUse, string(vpc.KindACL), string(id), "The networkAcl '%s' has dependencies and cannot be deleted.", id)
		}
		tx.Delete(a)
		return nil
	})
}

// checkEntry refuses an entry that cannot be one.
func checkEntry(e vpc.ACLEntry) error {
	bad := func(format string, args ...any) error {
		return vpc.Errorf(vpc.Invalid, "network-acl-entry", fmt.Sprint(e.Number), format, args...)
	}
	switch {
	case e.Number < 1 || e.Number > 32766:
		return bad("Value (%d) for parameter ruleNumber is invalid. Rule numbers are from 1 to 32766.", e.Number)
	case !e.CIDR.IsValid() || e.CIDR.Addr().Is4In6():
		return bad("An entry needs a CIDR block.")
	case e.Protocol == vpc.TCP || e.Protocol == vpc.UDP:
		if e.From < 0 || e.To > 65535 || e.From > e.To {
			return bad("Invalid TCP/UDP port range (%d:%d)", e.From, e.To)
		}
	case e.Protocol == vpc.ICMP || e.Protocol == vpc.ICMPv6:
		if e.From < -1 || e.From > 255 || e.To < -1 || e.To > 255 {
			return bad("ICMP type (%d) and code (%d) must be from -1 to 255", e.From, e.To)
		}
		if e.From == -1 && e.To != -1 {
			return bad("ICMP code (%d) must be -1 (all codes) when the type is -1 (all types)", e.To)
		}
	}
	return nil
}

func entryIndex(a *vpc.NetworkACL, number int, egress bool) int {
	return slices.IndexFunc(a.Entries, func(e vpc.ACLEntry) bool { return e.Number == number && e.Egress == egress })
}

// CreateACLEntry adds an entry under a number that is free in its direction.
func (c *Control) CreateACLEntry(ctx context.Context, caller Caller, id vpc.ACLID, e vpc.ACLEntry) error {
	return c.putEntry(ctx, caller, id, e, false)
}

// ReplaceACLEntry replaces the entry of a number.
func (c *Control) ReplaceACLEntry(ctx context.Context, caller Caller, id vpc.ACLID, e vpc.ACLEntry) error {
	return c.putEntry(ctx, caller, id, e, true)
}

func (c *Control) putEntry(ctx context.Context, caller Caller, id vpc.ACLID, e vpc.ACLEntry, replace bool) error {
	if err := checkEntry(e); err != nil {
		return err
	}
	e.CIDR = e.CIDR.Masked()
	return c.update(ctx, caller, func(tx *store.Tx) error {
		a, err := Owned[vpc.NetworkACL](tx, caller, id)
		if err != nil {
			return err
		}
		a = vpc.Edit(a)
		i := entryIndex(a, e.Number, e.Egress)
		switch {
		case replace && i < 0:
			return noEntry(id, e.Number)
		case replace:
			a.Entries[i] = e
		case i >= 0:
			return vpc.Errorf(vpc.Duplicate, "network-acl-entry", fmt.Sprint(e.Number), "The network acl entry identified by %d already exists.", e.Number)
		default:
			n := 0
			for _, x := range a.Entries {
				if x.Egress == e.Egress {
					n++
				}
			}
			if n >= maxACLEntries {
				return vpc.Errorf(vpc.Limit, "network-acl-entry", string(id), "The maximum number of entries per direction of a network ACL is %d", maxACLEntries)
			}
			a.Entries = append(a.Entries, e)
		}
		tx.Put(a)
		return nil
	})
}

func noEntry(id vpc.ACLID, number int) error {
	return vpc.Errorf(vpc.NotFound, "network-acl-entry", fmt.Sprint(number), "The network acl entry identified by %d does not exist in network ACL %s.", number, id)
}

// DeleteACLEntry removes an entry.
func (c *Control) DeleteACLEntry(ctx context.Context, caller Caller, id vpc.ACLID, number int, egress bool) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		a, err := Owned[vpc.NetworkACL](tx, caller, id)
		if err != nil {
			return err
		}
		a = vpc.Edit(a)
		i := entryIndex(a, number, egress)
		if i < 0 {
			return noEntry(id, number)
		}
		a.Entries = slices.Delete(a.Entries, i, i+1)
		tx.Put(a)
		return nil
	})
}

// ReplaceACLAssociation moves a subnet to another ACL of its VPC. The
// association gets a new id.
func (c *Control) ReplaceACLAssociation(ctx context.Context, caller Caller, assoc string, id vpc.ACLID) (string, error) {
	var made string
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		missing := vpc.Errorf(vpc.NotFound, "association", assoc, "The association ID '%s' does not exist", assoc)
		found, ok := vpc.First[vpc.NetworkACL](tx, vpc.IndexAssociation, assoc)
		if !ok {
			return missing
		}
		from, err := Owned[vpc.NetworkACL](tx, caller, found.ID)
		if err != nil {
			return missing
		}
		to, err := Owned[vpc.NetworkACL](tx, caller, id)
		if err != nil {
			return err
		}
		if from.VPC != to.VPC {
			return vpc.Errorf(vpc.Invalid, "networkAclId", string(id), "network ACLs %s and %s belong to different networks", from.ID, to.ID)
		}
		if made, err = c.newID(vpc.PrefixACLAssoc); err != nil {
			return err
		}
		from = vpc.Edit(from)
		if to.ID == from.ID {
			to = from
		} else {
			to = vpc.Edit(to)
		}
		i := slices.IndexFunc(from.Associations, func(x vpc.ACLAssociation) bool { return x.ID == assoc })
		subnet := from.Associations[i].Subnet
		from.Associations = slices.Delete(from.Associations, i, i+1)
		to.Associations = append(to.Associations, vpc.ACLAssociation{ID: made, Subnet: subnet})
		tx.Put(from) // gives its claim up before to takes it
		tx.Put(to)
		return nil
	})
	return made, err
}
