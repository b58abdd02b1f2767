// SPDX-License-Identifier: Apache-2.0

package route53resolver

import (
	"strings"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AssociateResolverRule", associateResolverRule)
	register("DisassociateResolverRule", disassociateResolverRule)
	register("GetResolverRuleAssociation", getResolverRuleAssociation)
	register("ListResolverRuleAssociations", listResolverRuleAssociations)
}

// ResolverRuleAssociation is an association in an answer.
type ResolverRuleAssociation struct {
	ID             string `json:"Id"`
	ResolverRuleID string `json:"ResolverRuleId"`
	Name           string `json:",omitempty"`
	VPCID          string `json:"VPCId"`
	Status         string
	StatusMessage  string
}

// AssociationOutput is the output of the actions that answer one association.
type AssociationOutput struct {
	ResolverRuleAssociation ResolverRuleAssociation
}

func renderAssociation(a *vpc.ResolverAssociation) ResolverRuleAssociation {
	return ResolverRuleAssociation{ID: string(a.ID), ResolverRuleID: string(a.Rule), Name: a.Name, VPCID: string(a.VPC), Status: "COMPLETE"}
}

// The ids of the associations that every VPC has with the rule for all names.
const (
	autoPrefix = "rslvr-autodefined-assoc-"
	autoSuffix = "-internet-resolver"
)

func internetAssociation(v *vpc.VPC) ResolverRuleAssociation {
	return ResolverRuleAssociation{
		ID: autoPrefix + string(v.ID) + autoSuffix, ResolverRuleID: string(vpc.InternetResolverRule), Name: "System Rule Association",
		VPCID: string(v.ID), Status: "COMPLETE",
	}
}

func answerAssociation(a *vpc.ResolverAssociation, err error) (*AssociationOutput, error) {
	if err != nil {
		return nil, err
	}
	return &AssociationOutput{renderAssociation(a)}, nil
}

// AssociateResolverRuleInput is the input of AssociateResolverRule.
type AssociateResolverRuleInput struct {
	ResolverRuleID string `query:"ResolverRuleId,required"`
	Name           string `query:"Name"`
	VPCID          string `query:"VPCId,required"`
}

func associateResolverRule(call *Call, in *AssociateResolverRuleInput) (*AssociationOutput, error) {
	return answerAssociation(call.Control.AssociateResolverRule(call.Context, call.Caller, vpc.ResolverRuleID(in.ResolverRuleID), vpc.VPCID(in.VPCID), in.Name))
}

// DisassociateResolverRuleInput is the input of DisassociateResolverRule.
type DisassociateResolverRuleInput struct {
	VPCID          string `query:"VPCId,required"`
	ResolverRuleID string `query:"ResolverRuleId,required"`
}

func disassociateResolverRule(call *Call, in *DisassociateResolverRuleInput) (*AssociationOutput, error) {
	out, err := answerAssociation(call.Control.DisassociateResolverRule(call.Context, call.Caller, vpc.ResolverRuleID(in.ResolverRuleID), vpc.VPCID(in.VPCID)))
	if err == nil {
		out.ResolverRuleAssociation.Status = "DELETING"
	}
	return out, err
}

// GetResolverRuleAssociationInput is the input of GetResolverRuleAssociation.
type GetResolverRuleAssociationInput struct {
	ResolverRuleAssociationID string `query:"ResolverRuleAssociationId,required"`
}

func getResolverRuleAssociation(call *Call, in *GetResolverRuleAssociationInput) (*AssociationOutput, error) {
	if rest, ok := strings.CutPrefix(in.ResolverRuleAssociationID, autoPrefix); ok {
		if v, err := control.Owned[vpc.VPC](call.View(), call.Caller, strings.TrimSuffix(rest, autoSuffix)); err == nil && strings.HasSuffix(rest, autoSuffix) {
			return &AssociationOutput{internetAssociation(v)}, nil
		}
	}
	return answerAssociation(control.OwnedResolverAssociation(call.View(), call.Caller, vpc.ResolverAssociationID(in.ResolverRuleAssociationID)))
}

// ListResolverRuleAssociationsOutput is the output of ListResolverRuleAssociations.
type ListResolverRuleAssociationsOutput struct {
	NextToken                *string `json:",omitempty"`
	MaxResults               int32
	ResolverRuleAssociations []ResolverRuleAssociation
}

var associationFilters = filters[ResolverRuleAssociation]{
	"Name":           func(a ResolverRuleAssociation) []string { return []string{a.Name} },
	"ResolverRuleId": func(a ResolverRuleAssociation) []string { return []string{a.ResolverRuleID} },
	"Status":         func(a ResolverRuleAssociation) []string { return []string{a.Status} },
	"VPCId":          func(a ResolverRuleAssociation) []string { return []string{a.VPCID} },
}.withOld(map[string]string{"NAME": "Name", "RESOLVER_RULE_ID": "ResolverRuleId", "STATUS": "Status", "VPC_ID": "VPCId"})

func listResolverRuleAssociations(call *Call, in *ListInput) (*ListResolverRuleAssociationsOutput, error) {
	v := call.View()
	list := []ResolverRuleAssociation{}
	for o := range vpc.By[vpc.VPC](v, vpc.IndexOwner, call.Caller.Account) {
		list = append(list, internetAssociation(o))
	}
	for a := range vpc.By[vpc.ResolverAssociation](v, vpc.IndexOwner, call.Caller.Account) {
		list = append(list, renderAssociation(a))
	}
	list, err := associationFilters.keep(list, in.Filters)
	if err != nil {
		return nil, err
	}
	page, next, err := paginate(list, in.Page, func(a ResolverRuleAssociation) string { return a.ID })
	if err != nil {
		return nil, err
	}
	size, err := in.size()
	return &ListResolverRuleAssociationsOutput{next, int32(size), page}, err
}
