// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxGroupText is the longest group name and description.
const maxGroupText = 255

// groupText are the characters of names and descriptions besides letters and digits.
const groupText = " ._-:/()#,@[]+=&;{}!$*"

// checkGroupText refuses a group name or a description AWS would refuse.
func checkGroupText(parameter, s string) error {
	if len(s) > maxGroupText {
		return vpc.Errorf(vpc.Invalid, parameter, "", "Value for parameter %s is invalid. It has more than %d characters.", parameter, maxGroupText)
	}
	for _, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune(groupText, c) {
			return vpc.Errorf(vpc.Invalid, parameter, s,
				"Value (%.300s) for parameter %s is invalid. Character sets beyond ASCII letters, digits and %s are not supported.", s, parameter, groupText)
		}
	}
	return nil
}

// CreateGroupInput are the parameters of CreateSecurityGroup.
type CreateGroupInput struct {
	VPC         vpc.VPCID
	Name        string
	Description string
	Tags        vpc.Tags
}

// CreateGroup makes a security group with AWS's rules: all egress is allowed,
// over IPv6 too where the VPC has it.
func (c *Control) CreateGroup(ctx context.Context, caller Caller, in CreateGroupInput) (vpc.GroupID, error) {
	if err := checkGroupText("groupName", in.Name); err != nil {
		return "", err
	}
	if err := checkGroupText("groupDescription", in.Description); err != nil {
		return "", err
	}
	switch {
	case in.Name == vpc.DefaultGroupName:
		return "", vpc.Errorf(vpc.Reserved, "groupName", in.Name, "Cannot use reserved security group name: %s", in.Name)
	case strings.HasPrefix(strings.ToLower(in.Name), "sg-"):
		return "", vpc.Errorf(vpc.Invalid, "groupName", in.Name, "Value (%s) for parameter groupName is invalid. Group names may not be in the format sg-*.", in.Name)
	case strings.TrimSpace(in.Name) == "":
		return "", vpc.Errorf(vpc.Invalid, "groupName", in.Name, "Value (%s) for parameter groupName is invalid. The name is empty.", in.Name)
	}
	var id vpc.GroupID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, in.VPC)
		if err != nil {
			return err
		}
		n := 0
		for g := range vpc.By[vpc.SecurityGroup](tx, vpc.IndexVPC, v.ID) {
			if g.Name == in.Name {
				return duplicateGroup(in)
			}
			n++
		}
		if n >= c.Quotas.GroupsPerVPC {
			return vpc.Errorf(vpc.Limit, "group-count", "", "The maximum number of security groups in a VPC is %d", c.Quotas.GroupsPerVPC)
		}
		gid, err := c.newID(vpc.PrefixGroup)
		if err != nil {
			return err
		}
		rules, err := c.defaultEgress(v)
		if err != nil {
			return err
		}
		id = vpc.GroupID(gid)
		tx.Put(&vpc.SecurityGroup{
			ID: id, Owner: caller.Account, VPC: v.ID, Name: in.Name, Description: in.Description, Tags: in.Tags, Rules: rules,
		})
		return nil
	})
	if KindOf(err) == vpc.Duplicate {
		err = duplicateGroup(in)
	}
	return id, err
}

func duplicateGroup(in CreateGroupInput) error {
	return vpc.Errorf(vpc.Duplicate, string(vpc.KindGroup), in.Name, "The security group '%s' already exists for VPC '%s'", in.Name, in.VPC)
}

// ownedGroup finds a group of the caller's account.
func ownedGroup(v vpc.View, caller Caller, id vpc.GroupID) (*vpc.SecurityGroup, error) {
	g, err := Owned[vpc.SecurityGroup](v, caller, id)
	if err != nil {
		return nil, noGroup(string(id))
	}
	return g, nil
}

func noGroup(id string) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindGroup), id, "The security group '%.128s' does not exist", id)
}

// DeleteGroup removes a group no interface, endpoint, balancer or other group uses.
func (c *Control) DeleteGroup(ctx context.Context, caller Caller, id vpc.GroupID) error {
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := ownedGroup(tx, caller, id)
		if err != nil {
			return err
		}
		if g.Name == vpc.DefaultGroupName {
			return vpc.Errorf(vpc.NotPermitted, string(vpc.KindGroup), string(id), "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", id)
		}
		tx.Delete(g)
		return nil
	})
	return dependent(err, "resource %s has a dependent object", string(id))
}

// groupByRule finds the caller's group that holds a rule.
func groupByRule(v vpc.View, caller Caller, id vpc.RuleID) (*vpc.SecurityGroup, error) {
	if g, ok := vpc.First[vpc.SecurityGroup](v, vpc.IndexRule, id); ok {
		// By its key again: in a transaction only that makes the commit depend on it.
		if g, err := Owned[vpc.SecurityGroup](v, caller, g.ID); err == nil {
			return g, nil
		}
	}
	return nil, noRule(id)
}

func noRule(id vpc.RuleID) error {
	return vpc.Errorf(vpc.NotFound, "security-group-rule", string(id), "The security group rule ID '%s' does not exist", id)
}

// ruleIndex is the place of a rule of the given direction in a group, -1 if it is not there.
func ruleIndex(g *vpc.SecurityGroup, id vpc.RuleID, egress bool) int {
	return slices.IndexFunc(g.Rules, func(r vpc.GroupRule) bool { return r.ID == id && r.Egress == egress })
}
