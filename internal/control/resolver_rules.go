// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateResolverRuleInput are the parameters of CreateResolverRule. A rule with
// Forward has an Endpoint and Targets, a SYSTEM rule neither.
type CreateResolverRuleInput struct {
	Request  string `json:"-"` // CreatorRequestId
	Name     string
	Forward  bool
	Domain   string
	Endpoint vpc.ResolverEndpointID
	Targets  []netip.AddrPort
	Tags     vpc.Tags
}

// CreateResolverRule makes a rule that is in force nowhere yet. A call with the
// CreatorRequestId of one that exists answers that one.
func (c *Control) CreateResolverRule(ctx context.Context, caller Caller, in CreateResolverRuleInput) (*vpc.ResolverRule, error) {
	if err := checkRequest(in.Request); err != nil {
		return nil, err
	}
	if err := checkResolverName(in.Name); err != nil {
		return nil, err
	}
	if err := CheckTags(in.Tags); err != nil {
		return nil, err
	}
	domain, ok := vpc.RuleDomain(in.Domain)
	switch {
	case in.Domain == "":
		return nil, vpc.Errorf(vpc.Missing, "DomainName", "", "The DomainName must be specified")
	case !ok:
		return nil, vpc.Errorf(vpc.Invalid, "DomainName", in.Domain, "Invalid domain name '%s'", in.Domain)
	case !in.Forward && (in.Endpoint != "" || len(in.Targets) > 0):
		return nil, vpc.Errorf(vpc.Combination, "RuleType", "SYSTEM", "A SYSTEM rule has neither TargetIps nor a ResolverEndpointId")
	case in.Forward && in.Endpoint == "":
		return nil, vpc.Errorf(vpc.Missing, "ResolverEndpointId", "", "A FORWARD rule needs the ResolverEndpointId of an outbound resolver endpoint")
	}
	var out *vpc.ResolverRule
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		hash := hashOf(in)
		old, err := made(tx, caller, in.Request, hash, func(r *vpc.ResolverRule) vpc.CreatorRequest { return r.Request })
		if err != nil || old != nil {
			out = old
			return err
		}
		touchAccount(tx, caller.Account)
		if count[vpc.ResolverRule](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.ResolverRules {
			return vpc.Errorf(vpc.Limit, string(vpc.KindResolverRule), "", "The maximum number of resolver rules, %d, has been reached", c.Quotas.ResolverRules)
		}
		id, err := c.newID(vpc.PrefixResolverRule)
		if err != nil {
			return err
		}
		r := &vpc.ResolverRule{
			ID: vpc.ResolverRuleID(id), Owner: caller.Account, Name: in.Name, Domain: domain, Endpoint: in.Endpoint, Targets: in.Targets,
			Request: vpc.CreatorRequest{ID: in.Request, Hash: hash}, Created: c.Now(), Modified: c.Now(), Tags: in.Tags,
		}
		if in.Forward {
			if err := c.checkForward(tx, caller, r); err != nil {
				return err
			}
		}
		tx.Put(r)
		out = r
		return nil
	})
	return out, err
}

// checkForward refuses an endpoint or targets that a rule cannot have.
func (c *Control) checkForward(tx *store.Tx, caller Caller, r *vpc.ResolverRule) error {
	e, err := OwnedResolverEndpoint(tx, caller, r.Endpoint)
	if err != nil {
		return err
	}
	if e.Inbound {
		return vpc.Errorf(vpc.Combination, "ResolverEndpointId", string(e.ID), "The resolver endpoint '%s' is an inbound one: rules forward from outbound ones", e.ID)
	}
	switch n := len(r.Targets); {
	case n == 0:
		return vpc.Errorf(vpc.Missing, "TargetIps", "", "A FORWARD rule needs at least one of TargetIps")
	case n > c.Quotas.TargetsPerResolverRule:
		return vpc.Errorf(vpc.Limit, "resolver-rule-target", "", "A resolver rule can have at most %d target IP addresses", c.Quotas.TargetsPerResolverRule)
	}
	for i, t := range r.Targets {
		if t.Port() == 0 || !vpc.ResolverTarget(t.Addr()) {
			return vpc.Errorf(vpc.Invalid, "TargetIps", t.String(), "The target '%s' is no address and port that a resolver outside can have", t)
		}
		if slices.Contains(r.Targets[:i], t) {
			return vpc.Errorf(vpc.Invalid, "TargetIps", t.String(), "The target '%s' is there twice", t)
		}
	}
	if err := targetsFit(e.DualStack, r.Targets); err != nil {
		return err
	}
	// A change of the endpoint's type makes racing calls conflict.
	tx.Touch(e)
	if err := targetsOutside(tx, e.VPC, r.Targets); err != nil {
		return err
	}
	for a := range vpc.By[vpc.ResolverAssociation](tx, vpc.IndexResolverRule, r.ID) {
		if err := targetsOutside(tx, a.VPC, r.Targets); err != nil {
			return err
		}
	}
	return nil
}

// targetsFit refuses targets of a family that the endpoint has no address of.
func targetsFit(dualStack bool, targets []netip.AddrPort) error {
	for _, t := range targets {
		if t.Addr().Is6() && !dualStack {
			return vpc.Errorf(vpc.Combination, "TargetIps", t.String(), "The target '%s' cannot be reached from a resolver endpoint of the type IPV4", t)
		}
	}
	return nil
}

// targetsOutside refuses targets in a VPC or in one that it is peered with.
// Questions leave from the host's network, which leads to no VPC; and a rule
// that asked an inbound endpoint of its own VPC would go round for ever, which
// AWS refuses as well.
func targetsOutside(tx *store.Tx, id vpc.VPCID, targets []netip.AddrPort) error {
	in := []vpc.VPCID{id}
	for p := range vpc.By[vpc.Peering](tx, vpc.IndexVPC, id) {
		if p.State == vpc.PeeringActive {
			in = append(in, p.Other(id).VPC)
		}
	}
	for _, id := range in {
		v, ok := vpc.Get[vpc.VPC](tx, id)
		if !ok {
			continue
		}
		for _, t := range targets {
			if v.Contains(t.Addr()) {
				return vpc.Errorf(vpc.Combination, "TargetIps", t.String(), "The target '%s' is in the VPC '%s': questions are forwarded from the host's network, which does not lead there", t, v.ID)
			}
		}
	}
	return nil
}

// OwnedResolverRule finds a rule of the caller's account.
func OwnedResolverRule(v vpc.View, caller Caller, id vpc.ResolverRuleID) (*vpc.ResolverRule, error) {
	r, err := Owned[vpc.ResolverRule](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindResolverRule), string(id), "Resolver rule with ID '%s' does not exist.", id)
	}
	return r, nil
}

// UpdateResolverRuleInput is a change; what is nil or empty stays.
type UpdateResolverRuleInput struct {
	Name     *string
	Endpoint vpc.ResolverEndpointID
	Targets  []netip.AddrPort
}

// UpdateResolverRule changes a rule, where it is in force from the next
// question on.
func (c *Control) UpdateResolverRule(ctx context.Context, caller Caller, id vpc.ResolverRuleID, in UpdateResolverRuleInput) (*vpc.ResolverRule, error) {
	if id == vpc.InternetResolverRule {
		return nil, errNoInternet
	}
	if in.Name != nil {
		if err := checkResolverName(*in.Name); err != nil {
			return nil, err
		}
	}
	var out *vpc.ResolverRule
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		old, err := OwnedResolverRule(tx, caller, id)
		if err != nil {
			return err
		}
		r := vpc.Edit(old)
		if in.Name != nil {
			r.Name = *in.Name
		}
		if in.Endpoint != "" || len(in.Targets) > 0 {
			if !r.Forwards() {
				return vpc.Errorf(vpc.Combination, "RuleType", "SYSTEM", "A SYSTEM rule has neither TargetIps nor a ResolverEndpointId")
			}
			if in.Endpoint != "" {
				r.Endpoint = in.Endpoint
			}
			if len(in.Targets) > 0 {
				r.Targets = in.Targets
			}
			if err := c.checkForward(tx, caller, r); err != nil {
				return err
			}
		}
		r.Modified = c.Now()
		tx.Put(r)
		out = r
		return nil
	})
	return out, err
}

// DeleteResolverRule removes a rule that is in force nowhere, and answers what
// it was.
func (c *Control) DeleteResolverRule(ctx context.Context, caller Caller, id vpc.ResolverRuleID) (*vpc.ResolverRule, error) {
	if id == vpc.InternetResolverRule {
		return nil, errNoInternet
	}
	var out *vpc.ResolverRule
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		r, err := OwnedResolverRule(tx, caller, id)
		if err != nil {
			return err
		}
		if a, ok := vpc.First[vpc.ResolverAssociation](tx, vpc.IndexResolverRule, id); ok {
			return vpc.Errorf(vpc.InUse, string(vpc.KindResolverRule), string(id), "Please disassociate this resolver rule from VPC first before deleting: it is associated with '%s'", a.VPC)
		}
		tx.Delete(r)
		out = r
		return nil
	})
	return out, err
}

// AssociateResolverRule puts a rule into force in a VPC, which has at most one
// for a domain.
func (c *Control) AssociateResolverRule(ctx context.Context, caller Caller, id vpc.ResolverRuleID, in vpc.VPCID, name string) (*vpc.ResolverAssociation, error) {
	if id == vpc.InternetResolverRule {
		return nil, errNoInternet
	}
	if err := checkResolverName(name); err != nil {
		return nil, err
	}
	var out *vpc.ResolverAssociation
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		r, err := OwnedResolverRule(tx, caller, id)
		if err != nil {
			return err
		}
		v, err := Owned[vpc.VPC](tx, caller, in)
		if err != nil {
			return err
		}
		for a := range vpc.By[vpc.ResolverAssociation](tx, vpc.IndexVPC, v.ID) {
			if a.Domain == r.Domain {
				return vpc.Errorf(vpc.Conflict, string(vpc.KindResolverAssociation), string(a.ID), "Cannot associate rules with same domain name with same VPC. Conflict with resolver rule '%s'", a.Rule)
			}
		}
		if err := targetsOutside(tx, v.ID, r.Targets); err != nil {
			return err
		}
		touchAccount(tx, caller.Account)
		if count[vpc.ResolverAssociation](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.ResolverAssociations {
			return vpc.Errorf(vpc.Limit, string(vpc.KindResolverAssociation), "", "The maximum number of resolver rule associations, %d, has been reached", c.Quotas.ResolverAssociations)
		}
		fresh, err := c.newID(vpc.PrefixResolverAssociation)
		if err != nil {
			return err
		}
		// A change of the targets makes racing calls conflict.
		tx.Touch(r)
		out = &vpc.ResolverAssociation{ID: vpc.ResolverAssociationID(fresh), Owner: caller.Account, Name: name, Rule: r.ID, VPC: v.ID, Domain: r.Domain}
		tx.Put(out)
		return nil
	})
	return out, err
}

// DisassociateResolverRule ends a rule's force in a VPC, and answers what it was.
func (c *Control) DisassociateResolverRule(ctx context.Context, caller Caller, id vpc.ResolverRuleID, in vpc.VPCID) (*vpc.ResolverAssociation, error) {
	if id == vpc.InternetResolverRule {
		return nil, errNoInternet
	}
	var out *vpc.ResolverAssociation
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		if _, err := OwnedResolverRule(tx, caller, id); err != nil {
			return err
		}
		for a := range vpc.By[vpc.ResolverAssociation](tx, vpc.IndexResolverRule, id) {
			if a.VPC == in {
				tx.Delete(a)
				out = a
				return nil
			}
		}
		return vpc.Errorf(vpc.NotFound, string(vpc.KindResolverAssociation), string(in), "Resolver rule association between resolver rule '%s' and VPC '%s' does not exist", id, in)
	})
	return out, err
}

// OwnedResolverAssociation finds an association of the caller's account.
func OwnedResolverAssociation(v vpc.View, caller Caller, id vpc.ResolverAssociationID) (*vpc.ResolverAssociation, error) {
	a, err := Owned[vpc.ResolverAssociation](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindResolverAssociation), string(id), "Resolver rule association with ID '%s' does not exist.", id)
	}
	return a, nil
}
