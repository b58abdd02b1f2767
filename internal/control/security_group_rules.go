// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// RuleSpec is a rule as a caller writes it. Exactly one peer is set: CIDR,
// Group or GroupName, or PrefixList.
type RuleSpec struct {
	Protocol int // IANA number or vpc.AllProtocols
	From     int // see vpc.GroupRule
	To       int

	CIDR       netip.Prefix
	Group      vpc.GroupID
	GroupName  string // a group of the same VPC
	GroupOwner vpc.AccountID
	GroupVPC   vpc.VPCID
	Peering    vpc.PeeringID // over which a group of another VPC is reached
	PrefixList vpc.PrefixListID

	Description string
}

// NormalRange checks and completes the range of a protocol: ports for TCP and
// UDP, type and code for ICMP, all for every other protocol, where AWS ignores
// what is given. nil means not given.
func NormalRange(protocol int, from, to *int) (int, int, error) {
	bad := func(why string) (int, int, error) {
		return 0, 0, vpc.Errorf(vpc.Invalid, "portRange", "", "%s", why)
	}
	switch protocol {
	case vpc.TCP, vpc.UDP:
		switch {
		case from == nil || to == nil:
			return bad("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		case *from == -1 && *to == -1:
			return 0, 65535, nil
		case *from < 0 || *from > 65535 || *to < 0 || *to > 65535:
			return bad(fmt.Sprintf("Invalid value '%d-%d' for portRange. Ports are from 0 to 65535.", *from, *to))
		case *from > *to:
			return bad(fmt.Sprintf("Invalid TCP/UDP port range (%d:%d)", *from, *to))
		}
		return *from, *to, nil
	case vpc.ICMP, vpc.ICMPv6:
		typ, code := -1, -1
		if from != nil {
			typ = *from
		}
		if to != nil {
			code = *to
		}
		if typ < -1 || typ > 255 || code < -1 || code > 255 {
			return bad(fmt.Sprintf("ICMP type (%d) and code (%d) must be from -1 to 255", typ, code))
		}
		if typ == -1 && code != -1 {
			return bad("ICMP code must be -1 (all codes) when the type is -1 (all types)")
		}
		return typ, code, nil
	}
	return -1, -1, nil
}

// sameRule reports whether two rules allow the same: direction, protocol, range and peer.
func sameRule(a, b vpc.GroupRule) bool {
	return a.Egress == b.Egress && a.Protocol == b.Protocol && a.From == b.From && a.To == b.To &&
		a.CIDR == b.CIDR && a.Group == b.Group && a.PrefixList == b.PrefixList
}

// resolveRule checks a spec's peer and makes a rule of it, without an id.
// For a revocation (exists false) a peer group need not exist any more.
func resolveRule(tx *store.Tx, caller Caller, g *vpc.SecurityGroup, egress bool, s RuleSpec, exists bool) (vpc.GroupRule, error) {
	r := vpc.GroupRule{Egress: egress, Protocol: s.Protocol, From: s.From, To: s.To, Description: s.Description}
	if err := checkGroupText("description", s.Description); err != nil {
		return r, err
	}
	peers := 0
	if s.CIDR.IsValid() {
		peers++
		if s.CIDR != s.CIDR.Masked() || s.CIDR.Addr().Is4In6() {
			return r, vpc.Errorf(vpc.Invalid, "cidrIp", s.CIDR.String(), "CIDR block %s is malformed", s.CIDR)
		}
		r.CIDR = s.CIDR
	}
	if s.PrefixList != "" {
		peers++
		r.PrefixList = s.PrefixList
		if exists {
			var err error
			if r.PrefixListOwner, r.PrefixListService, err = referList(tx, caller, s.PrefixList); err != nil {
				return r, err
			}
		}
	}
	if s.Group != "" || s.GroupName != "" {
		peers++
		if err := peerGroup(tx, caller, g, s, exists, &r); err != nil {
			return r, err
		}
	}
	if peers != 1 {
		return r, vpc.Errorf(vpc.Combination, "IpPermissions", "", "A security group rule needs exactly one of a CIDR block, a security group and a prefix list")
	}
	return r, nil
}

// resolveRules resolves every spec and refuses one that is there twice.
func (c *Control) resolveRules(tx *store.Tx, caller Caller, g *vpc.SecurityGroup, egress bool, specs []RuleSpec, exists bool) ([]vpc.GroupRule, error) {
	if len(specs) > 2*c.Quotas.RulesPerGroup {
		return nil, vpc.Errorf(vpc.Limit, "permission", "", "The maximum number of rules per security group has been reached.")
	}
	out := make([]vpc.GroupRule, 0, len(specs))
	for _, s := range specs {
		r, err := resolveRule(tx, caller, g, egress, s, exists)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(x vpc.GroupRule) bool { return sameRule(x, r) }) {
			return nil, vpc.Errorf(vpc.Invalid, "IpPermissions", "", "The same permission must not appear multiple times")
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, vpc.Errorf(vpc.Missing, "IpPermissions", "", "The request must contain the parameter ipPermissions")
	}
	return out, nil
}

// AuthorizeRules adds rules to a group, all or none, and answers them with
// their ids. Every rule gets the tags.
func (c *Control) AuthorizeRules(ctx context.Context, caller Caller, id vpc.GroupID, egress bool, specs []RuleSpec, tags vpc.Tags) ([]vpc.GroupRule, error) {
	var added []vpc.GroupRule
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		added = nil
		g, err := ownedGroup(tx, caller, id)
		if err != nil {
			return err
		}
		rules, err := c.resolveRules(tx, caller, g, egress, specs, true)
		if err != nil {
			return err
		}
		g = vpc.Edit(g)
		for _, r := range rules {
			if slices.ContainsFunc(g.Rules, func(x vpc.GroupRule) bool { return sameRule(x, r) }) {
				return duplicateRule(r)
			}
			rid, err := c.newID(vpc.PrefixRule)
			if err != nil {
				return err
			}
			r.ID, r.Tags = vpc.RuleID(rid), tags
			g.Rules = append(g.Rules, r)
			added = append(added, r)
		}
		if err := c.checkRuleCount(tx, g); err != nil {
			return err
		}
		tx.Put(g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// checkRuleCount holds a group to the quota, by direction and family. A rule
// for a prefix list counts as many as the list may have entries.
func (c *Control) checkRuleCount(v vpc.View, g *vpc.SecurityGroup) error {
	count := map[[2]bool]int{}
	for _, r := range g.Rules {
		n, v6 := 1, r.CIDR.IsValid() && r.CIDR.Addr().Is6()
		if r.PrefixList != "" {
			n, v6 = listCost(v, r.PrefixList)
		}
		k := [2]bool{r.Egress, v6}
		if count[k] += n; count[k] > c.Quotas.RulesPerGroup {
			return vpc.Errorf(vpc.Limit, "permission", string(g.ID), "The maximum number of rules per security group has been reached: %d in %s", c.Quotas.RulesPerGroup, g.ID)
		}
	}
	return nil
}

func duplicateRule(r vpc.GroupRule) error {
	peer := string(r.Group) + string(r.PrefixList)
	if r.CIDR.IsValid() {
		peer = r.CIDR.String()
	}
	what := "ALL"
	switch r.Protocol {
	case vpc.TCP, vpc.UDP:
		what = fmt.Sprintf("%s, from port: %d, to port: %d", map[int]string{vpc.TCP: "TCP", vpc.UDP: "UDP"}[r.Protocol], r.From, r.To)
	case vpc.ICMP, vpc.ICMPv6:
		what = fmt.Sprintf("%s, type: %d, code: %d", map[int]string{vpc.ICMP: "ICMP", vpc.ICMPv6: "ICMPv6"}[r.Protocol], r.From, r.To)
	case vpc.AllProtocols:
	default:
		what = fmt.Sprintf("protocol %d", r.Protocol)
	}
	return vpc.Errorf(vpc.Duplicate, "permission", string(r.ID), "the specified rule \"peer: %s, %s, ALLOW\" already exists", peer, what)
}

// RevokeRules removes rules from a group, by ids or by what they allow, all or
// none, and answers what was removed. With ids the group may be "".
func (c *Control) RevokeRules(ctx context.Context, caller Caller, id vpc.GroupID, egress bool, ids []vpc.RuleID, specs []RuleSpec) (vpc.GroupID, []vpc.GroupRule, error) {
	switch {
	case len(ids) > 0 && len(specs) > 0:
		return "", nil, vpc.Errorf(vpc.Combination, "SecurityGroupRuleIds", "", "The parameters securityGroupRuleIds and ipPermissions may not be specified together")
	case id == "" && len(ids) == 0:
		return "", nil, vpc.Errorf(vpc.Missing, "GroupId", "", "The request must contain the parameter groupId")
	}
	var removed []vpc.GroupRule
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		removed = nil
		var g *vpc.SecurityGroup
		var err error
		if id == "" {
			g, err = groupByRule(tx, caller, ids[0])
		} else {
			g, err = ownedGroup(tx, caller, id)
		}
		if err != nil {
			return err
		}
		id = g.ID
		old := g
		g = vpc.Edit(g)
		for _, rid := range ids {
			i := ruleIndex(g, rid, egress)
			if i < 0 {
				if ruleIndex(old, rid, egress) >= 0 {
					continue // named twice
				}
				return noRule(rid)
			}
			removed = append(removed, g.Rules[i])
			g.Rules = slices.Delete(g.Rules, i, i+1)
		}
		if len(ids) == 0 {
			rules, err := c.resolveRules(tx, caller, g, egress, specs, false)
			if err != nil {
				return err
			}
			for _, r := range rules {
				i := slices.IndexFunc(g.Rules, func(x vpc.GroupRule) bool { return sameRule(x, r) })
				if i < 0 {
					return vpc.Errorf(vpc.NotFound, "permission", string(id), "The specified rule does not exist in this security group.")
				}
				removed = append(removed, g.Rules[i])
				g.Rules = slices.Delete(g.Rules, i, i+1)
			}
		}
		tx.Put(g)
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	return id, removed, nil
}

// RuleChange gives a rule, which keeps its id, direction and tags, new contents.
type RuleChange struct {
	ID   vpc.RuleID
	Spec RuleSpec
}

// ModifyRules replaces what rules of a group allow, all or none.
func (c *Control) ModifyRules(ctx context.Context, caller Caller, id vpc.GroupID, changes []RuleChange) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := ownedGroup(tx, caller, id)
		if err != nil {
			return err
		}
		g = vpc.Edit(g)
		changed := map[int]bool{}
		for _, ch := range changes {
			i := slices.IndexFunc(g.Rules, func(r vpc.GroupRule) bool { return r.ID == ch.ID })
			if i < 0 {
				return noRule(ch.ID)
			}
			if changed[i] {
				return vpc.Errorf(vpc.Invalid, "SecurityGroupRule", string(ch.ID), "The security group rule '%s' must not appear multiple times", ch.ID)
			}
			changed[i] = true
			if ch.Spec.Group == g.Rules[i].Group {
				ch.Spec.GroupOwner = g.Rules[i].GroupOwner // the request has no place for it
			}
			r, err := resolveRule(tx, caller, g, g.Rules[i].Egress, ch.Spec, true)
			if err != nil {
				return err
			}
			r.ID, r.Tags = ch.ID, g.Rules[i].Tags
			g.Rules[i] = r
		}
		for i := range changed {
			for j := range g.Rules {
				if i != j && sameRule(g.Rules[i], g.Rules[j]) {
					return duplicateRule(g.Rules[i])
				}
			}
		}
		if err := c.checkRuleCount(tx, g); err != nil {
			return err
		}
		tx.Put(g)
		return nil
	})
}

// RuleDescription is a rule's new description.
type RuleDescription struct {
	ID          vpc.RuleID
	Description string
}

// SetRuleDescriptions sets descriptions of rules, found by what they allow (specs)
// or by id, all or none.
func (c *Control) SetRuleDescriptions(ctx context.Context, caller Caller, id vpc.GroupID, egress bool, specs []RuleSpec, byID []RuleDescription) error {
	if (len(specs) > 0) == (len(byID) > 0) {
		return vpc.Errorf(vpc.Combination, "IpPermissions", "", "Exactly one of ipPermissions and securityGroupRuleDescriptions must be specified")
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := ownedGroup(tx, caller, id)
		if err != nil {
			return err
		}
		g = vpc.Edit(g)
		for _, d := range byID {
			i := ruleIndex(g, d.ID, egress)
			if i < 0 {
				return noRule(d.ID)
			}
			if err := checkGroupText("description", d.Description); err != nil {
				return err
			}
			g.Rules[i].Description = d.Description
		}
		if len(specs) > 0 {
			rules, err := c.resolveRules(tx, caller, g, egress, specs, false)
			if err != nil {
				return err
			}
			for _, r := range rules {
				i := slices.IndexFunc(g.Rules, func(x vpc.GroupRule) bool { return sameRule(x, r) })
				if i < 0 {
					return vpc.Errorf(vpc.NotFound, "permission", string(id), "The specified rule does not exist in this security group.")
				}
				g.Rules[i].Description = r.Description
			}
		}
		tx.Put(g)
		return nil
	})
}
