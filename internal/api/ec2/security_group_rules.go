// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AuthorizeSecurityGroupIngress", true, authorizeIngress)
	register("AuthorizeSecurityGroupEgress", true, authorizeEgress)
	register("RevokeSecurityGroupIngress", true, revokeIngress)
	register("RevokeSecurityGroupEgress", true, revokeEgress)
	register("DescribeSecurityGroupRules", false, describeSecurityGroupRules)
	register("ModifySecurityGroupRules", true, modifySecurityGroupRules)
	register("UpdateSecurityGroupRuleDescriptionsIngress", true, updateDescriptionsIngress)
	register("UpdateSecurityGroupRuleDescriptionsEgress", true, updateDescriptionsEgress)
}

// flatRule is one ingress rule with a CIDR peer, or one with a group as its peer
// for every protocol: the parameters of old clients.
type flatRule struct {
	CIDR     string `query:"CidrIp"`
	Protocol string `query:"IpProtocol"`
	FromPort *int   `query:"FromPort"`
	ToPort   *int   `query:"ToPort"`
	// The old form of a group as the peer, for all of TCP, UDP and ICMP: a name
	// in the default VPC.
	SourceGroup string `query:"SourceSecurityGroupName"`
	SourceOwner string `query:"SourceSecurityGroupOwnerId"`
}

// merge answers the permissions of the call, in whichever form they are.
func (f flatRule) merge(call *Call, list []IPPermission) ([]IPPermission, error) {
	if f.SourceGroup != "" || f.SourceOwner != "" {
		return f.fromGroup(call, list)
	}
	if f.CIDR == "" && f.Protocol == "" && f.FromPort == nil && f.ToPort == nil {
		return list, nil
	}
	switch {
	case len(list) > 0:
		return nil, vpc.Errorf(vpc.Combination, "IpPermissions", "", "The parameter ipPermissions may not be used together with cidrIp, ipProtocol, fromPort or toPort")
	case f.CIDR == "":
		return nil, vpc.Errorf(vpc.Missing, "CidrIp", "", "The request must contain the parameter cidrIp")
	case f.Protocol == "":
		return nil, vpc.Errorf(vpc.Missing, "IpProtocol", "", "The request must contain the parameter ipProtocol")
	}
	return []IPPermission{{Protocol: f.Protocol, FromPort: f.FromPort, ToPort: f.ToPort, IPRanges: []IPRange{{CIDR: f.CIDR}}}}, nil
}

// fromGroup is the rule that lets everything from a group of the default VPC in.
func (f flatRule) fromGroup(call *Call, list []IPPermission) ([]IPPermission, error) {
	switch {
	case f.SourceGroup == "":
		return nil, vpc.Errorf(vpc.Missing, "SourceSecurityGroupName", "", "The request must contain the parameter sourceSecurityGroupName")
	case len(list) > 0 || f.CIDR != "" || f.Protocol != "" || f.FromPort != nil || f.ToPort != nil:
		return nil, vpc.Errorf(vpc.Combination, "SourceSecurityGroupName", "", "The parameter sourceSecurityGroupName may not be used together with ipPermissions, cidrIp, ipProtocol, fromPort or toPort")
	}
	id, err := groupOrName(call, "", f.SourceGroup)
	if err != nil {
		return nil, err
	}
	return []IPPermission{{Protocol: "-1", Groups: []GroupPair{{GroupID: id, UserID: f.SourceOwner}}}}, nil
}

// refusedFlatRule refuses what AWS does not take for egress either.
//
//lint:ignore U1000 awsquery reads it by reflection
type refusedFlatRule struct {
	_ awsquery.Refused `query:"CidrIp,refuse"`
	_ awsquery.Refused `query:"IpProtocol,refuse"`
	_ awsquery.Refused `query:"FromPort,refuse"`
	_ awsquery.Refused `query:"ToPort,refuse"`
	_ awsquery.Refused `query:"SourceSecurityGroupName,refuse"`
	_ awsquery.Refused `query:"SourceSecurityGroupOwnerId,refuse"`
}

// AuthorizeIngressInput is the input of AuthorizeSecurityGroupIngress.
type AuthorizeIngressInput struct {
	DryRun
	flatRule
	GroupID           string             `query:"GroupId"`
	GroupName         string             `query:"GroupName"` // in the default VPC
	Permissions       []IPPermission     `query:"IpPermissions"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// AuthorizeEgressInput is the input of AuthorizeSecurityGroupEgress.
type AuthorizeEgressInput struct {
	DryRun
	//lint:ignore U1000 awsquery reads it by reflection
	refusedFlatRule
	GroupID           string             `query:"GroupId,required"`
	Permissions       []IPPermission     `query:"IpPermissions"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// AuthorizeOutput is the output of both authorize actions.
type AuthorizeOutput struct {
	Return bool                `xml:"return"`
	Rules  []SecurityGroupRule `xml:"securityGroupRuleSet>item"`
}

// SecurityGroupRule is <SecurityGroupRule>.
type SecurityGroupRule struct {
	RuleID       string           `xml:"securityGroupRuleId"`
	RuleARN      string           `xml:"securityGroupRuleArn"`
	GroupID      string           `xml:"groupId"`
	GroupOwnerID string           `xml:"groupOwnerId"`
	IsEgress     bool             `xml:"isEgress"`
	Protocol     string           `xml:"ipProtocol"`
	FromPort     int              `xml:"fromPort"`
	ToPort       int              `xml:"toPort"`
	CidrIPv4     string           `xml:"cidrIpv4,omitempty"`
	CidrIPv6     string           `xml:"cidrIpv6,omitempty"`
	PrefixListID string           `xml:"prefixListId,omitempty"`
	Referenced   *ReferencedGroup `xml:"referencedGroupInfo"`
	Description  string           `xml:"description,omitempty"`
	Tags         []Tag            `xml:"tagSet>item"`
}

// ReferencedGroup is <ReferencedSecurityGroup>.
type ReferencedGroup struct {
	GroupID       string `xml:"groupId"`
	UserID        string `xml:"userId"`
	VpcID         string `xml:"vpcId,omitempty"`
	PeeringID     string `xml:"vpcPeeringConnectionId,omitempty"`
	PeeringStatus string `xml:"peeringStatus,omitempty"`
}

func renderRule(v vpc.View, owner vpc.AccountID, group vpc.GroupID, r vpc.GroupRule) SecurityGroupRule {
	out := SecurityGroupRule{
		RuleID: string(r.ID), GroupID: string(group), GroupOwnerID: string(owner), IsEgress: r.Egress,
		RuleARN:  control.RegionOf(v).ARN("ec2", owner, "security-group-rule/"+string(r.ID)),
		Protocol: protocolName(r.Protocol), FromPort: r.From, ToPort: r.To,
		PrefixListID: string(r.PrefixList), Description: r.Description, Tags: tagList(r.Tags),
	}
	out.CidrIPv4, out.CidrIPv6 = cidrs(r)
	if r.Group != "" {
		p := groupPair(v, r)
		out.Referenced = &ReferencedGroup{p.GroupID, p.UserID, p.VpcID, p.PeeringID, p.PeeringStatus}
		if g, ok := vpc.Get[vpc.SecurityGroup](v, r.Group); ok {
			out.Referenced.VpcID = string(g.VPC)
		}
	}
	return out
}

func authorizeIngress(call *Call, in *AuthorizeIngressInput) (*AuthorizeOutput, error) {
	perms, err := in.merge(call, in.Permissions)
	if err != nil {
		return nil, err
	}
	id, err := groupOrName(call, in.GroupID, in.GroupName)
	if err != nil {
		return nil, err
	}
	return authorize(call, id, false, perms, in.TagSpecifications)
}

func authorizeEgress(call *Call, in *AuthorizeEgressInput) (*AuthorizeOutput, error) {
	return authorize(call, in.GroupID, true, in.Permissions, in.TagSpecifications)
}

func authorize(call *Call, group string, egress bool, perms []IPPermission, specs []TagSpecification) (*AuthorizeOutput, error) {
	if err := checkID(vpc.KindGroup, vpc.PrefixGroup, group); err != nil {
		return nil, err
	}
	rules, err := ruleSpecs(perms)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(specs, "security-group-rule")
	if err != nil {
		return nil, err
	}
	added, err := call.Control.AuthorizeRules(call.Context, call.Caller, vpc.GroupID(group), egress, rules, tags["security-group-rule"])
	if err != nil {
		return nil, err
	}
	v := call.View()
	out := &AuthorizeOutput{Return: true}
	for _, r := range added {
		out.Rules = append(out.Rules, renderRule(v, call.Caller.Account, vpc.GroupID(group), r))
	}
	return out, nil
}

// RevokeIngressInput is the input of RevokeSecurityGroupIngress.
type RevokeIngressInput struct {
	DryRun
	flatRule
	GroupID     string         `query:"GroupId"`
	GroupName   string         `query:"GroupName"` // in the default VPC
	RuleIDs     []string       `query:"SecurityGroupRuleId"`
	Permissions []IPPermission `query:"IpPermissions"`
}

// RevokeEgressInput is the input of RevokeSecurityGroupEgress.
type RevokeEgressInput struct {
	DryRun
	//lint:ignore U1000 awsquery reads it by reflection
	refusedFlatRule
	GroupID     string         `query:"GroupId,required"`
	RuleIDs     []string       `query:"SecurityGroupRuleId"`
	Permissions []IPPermission `query:"IpPermissions"`
}

// RevokeOutput is the output of both revoke actions.
type RevokeOutput struct {
	Return  bool          `xml:"return"`
	Revoked []RevokedRule `xml:"revokedSecurityGroupRuleSet>item"`
}

// RevokedRule is <RevokedSecurityGroupRule>.
type RevokedRule struct {
	RuleID            string `xml:"securityGroupRuleId"`
	GroupID           string `xml:"groupId"`
	IsEgress          bool   `xml:"isEgress"`
	Protocol          string `xml:"ipProtocol"`
	FromPort          int    `xml:"fromPort"`
	ToPort            int    `xml:"toPort"`
	CidrIPv4          string `xml:"cidrIpv4,omitempty"`
	CidrIPv6          string `xml:"cidrIpv6,omitempty"`
	PrefixListID      string `xml:"prefixListId,omitempty"`
	ReferencedGroupID string `xml:"referencedGroupId,omitempty"`
	Description       string `xml:"description,omitempty"`
}

func revokeIngress(call *Call, in *RevokeIngressInput) (*RevokeOutput, error) {
	perms, err := in.merge(call, in.Permissions)
	if err != nil {
		return nil, err
	}
	id := in.GroupID
	if id == "" && len(in.RuleIDs) == 0 || in.GroupName != "" {
		if id, err = groupOrName(call, in.GroupID, in.GroupName); err != nil {
			return nil, err
		}
	}
	return revoke(call, id, false, in.RuleIDs, perms)
}

func revokeEgress(call *Call, in *RevokeEgressInput) (*RevokeOutput, error) {
	return revoke(call, in.GroupID, true, in.RuleIDs, in.Permissions)
}

func revoke(call *Call, group string, egress bool, ruleIDs []string, perms []IPPermission) (*RevokeOutput, error) {
	if group != "" {
		if err := checkID(vpc.KindGroup, vpc.PrefixGroup, group); err != nil {
			return nil, err
		}
	}
	ids := make([]vpc.RuleID, 0, len(ruleIDs))
	for _, id := range ruleIDs {
		if err := checkRuleID(id); err != nil {
			return nil, err
		}
		ids = append(ids, vpc.RuleID(id))
	}
	specs, err := ruleSpecs(perms)
	if err != nil {
		return nil, err
	}
	gid, removed, err := call.Control.RevokeRules(call.Context, call.Caller, vpc.GroupID(group), egress, ids, specs)
	if err != nil {
		return nil, err
	}
	out := &RevokeOutput{Return: true}
	for _, r := range removed {
		x := RevokedRule{
			RuleID: string(r.ID), GroupID: string(gid), IsEgress: r.Egress, Protocol: protocolName(r.Protocol),
			FromPort: r.From, ToPort: r.To, PrefixListID: string(r.PrefixList), ReferencedGroupID: string(r.Group), Description: r.Description,
		}
		x.CidrIPv4, x.CidrIPv6 = cidrs(r)
		out.Revoked = append(out.Revoked, x)
	}
	return out, nil
}

func checkRuleID(id string) error { return checkID("security-group-rule", vpc.PrefixRule, id) }

// groupRule is a rule as an object of its own, for describe.
type groupRule struct {
	group *vpc.SecurityGroup
	rule  vpc.GroupRule
}

func (*groupRule) Kind() vpc.Kind              { return "security-group-rule" }
func (r *groupRule) Key() string               { return string(r.rule.ID) }
func (*groupRule) Index(func(string, string))  {}
func (*groupRule) Refs(func(vpc.Kind, string)) {}
func (*groupRule) Claims(func(string))         {}

// groupRules yields every rule of an account.
func groupRules(v vpc.View, owner vpc.AccountID) iter.Seq[*groupRule] {
	return func(yield func(*groupRule) bool) {
		for g := range vpc.By[vpc.SecurityGroup](v, vpc.IndexOwner, owner) {
			for _, r := range g.Rules {
				if !yield(&groupRule{g, r}) {
					return
				}
			}
		}
	}
}

// DescribeSecurityGroupRulesInput is the input of DescribeSecurityGroupRules.
type DescribeSecurityGroupRulesInput struct {
	DryRun
	Page
	RuleIDs []string `query:"SecurityGroupRuleId"`
	Filters []Filter `query:"Filter"`
}

// DescribeSecurityGroupRulesOutput is the output of DescribeSecurityGroupRules.
type DescribeSecurityGroupRulesOutput struct {
	Rules     []SecurityGroupRule `xml:"securityGroupRuleSet>item"`
	NextToken string              `xml:"nextToken,omitempty"`
}

var groupRuleResource = resource[*groupRule]{
	prefix: vpc.PrefixRule,
	tags:   func(r *groupRule) vpc.Tags { return r.rule.Tags },
	filters: filterSet[*groupRule]{
		"group-id":               one(func(r *groupRule) vpc.GroupID { return r.group.ID }),
		"security-group-rule-id": one(func(r *groupRule) vpc.RuleID { return r.rule.ID }),
	},
}

func describeSecurityGroupRules(call *Call, in *DescribeSecurityGroupRulesInput) (*DescribeSecurityGroupRulesOutput, error) {
	v := call.View()
	get := func(id string) (*groupRule, error) {
		if g, ok := vpc.First[vpc.SecurityGroup](v, vpc.IndexRule, id); ok && g.Owner == call.Caller.Account {
			for _, r := range g.Rules {
				if string(r.ID) == id {
					return &groupRule{g, r}, nil
				}
			}
		}
		return nil, control.NotFound("security-group-rule", id)
	}
	list, next, err := describe(call, v, groupRuleResource, in.RuleIDs, in.Filters, in.Page, get, groupRules(v, call.Caller.Account))
	if err != nil {
		return nil, err
	}
	out := &DescribeSecurityGroupRulesOutput{NextToken: next}
	for _, r := range list {
		out.Rules = append(out.Rules, renderRule(v, r.group.Owner, r.group.ID, r.rule))
	}
	return out, nil
}

// ModifySecurityGroupRulesInput is the input of ModifySecurityGroupRules.
type ModifySecurityGroupRulesInput struct {
	DryRun
	GroupID string       `query:"GroupId,required"`
	Rules   []RuleUpdate `query:"SecurityGroupRule,required"`
}

// RuleUpdate is one rule's new contents.
type RuleUpdate struct {
	ID   string      `query:"SecurityGroupRuleId,required"`
	Rule RuleRequest `query:"SecurityGroupRule"`
}

// RuleRequest is <SecurityGroupRuleRequest>.
type RuleRequest struct {
	Protocol   string `query:"IpProtocol,required"`
	FromPort   *int   `query:"FromPort"`
	ToPort     *int   `query:"ToPort"`
	CidrIPv4   string `query:"CidrIpv4"`
	CidrIPv6   string `query:"CidrIpv6"`
	PrefixList string `query:"PrefixListId"`
	Group      string `query:"ReferencedGroupId"`
	// Description replaces the one there is, also when it is not given.
	Description string `query:"Description"`
}

// permission is the request as a permission, so that both are read by one function.
func (r RuleRequest) permission() IPPermission {
	p := IPPermission{Protocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort}
	if r.CidrIPv4 != "" {
		p.IPRanges = []IPRange{{r.CidrIPv4, r.Description}}
	}
	if r.CidrIPv6 != "" {
		p.IPv6Ranges = []IPv6Range{{r.CidrIPv6, r.Description}}
	}
	if r.PrefixList != "" {
		p.PrefixLists = []PrefixEntry{{r.PrefixList, r.Description}}
	}
	if r.Group != "" {
		p.Groups = []GroupPair{{GroupID: r.Group, Description: r.Description}}
	}
	return p
}

func modifySecurityGroupRules(call *Call, in *ModifySecurityGroupRulesInput) (*void, error) {
	if err := checkID(vpc.KindGroup, vpc.PrefixGroup, in.GroupID); err != nil {
		return nil, err
	}
	var changes []control.RuleChange
	for _, u := range in.Rules {
		if err := checkRuleID(u.ID); err != nil {
			return nil, err
		}
		specs, err := ruleSpecs([]IPPermission{u.Rule.permission()})
		if err != nil {
			return nil, err
		}
		if len(specs) != 1 {
			return nil, vpc.Errorf(vpc.Combination, "SecurityGroupRule", u.ID, "Only one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId may be specified for rule '%s'", u.ID)
		}
		changes = append(changes, control.RuleChange{ID: vpc.RuleID(u.ID), Spec: specs[0]})
	}
	return done, call.Control.ModifyRules(call.Context, call.Caller, vpc.GroupID(in.GroupID), changes)
}

// UpdateDescriptionsEgressInput is the input of UpdateSecurityGroupRuleDescriptionsEgress.
type UpdateDescriptionsEgressInput struct {
	DryRun
	GroupID     string            `query:"GroupId"`
	GroupName   string            `query:"GroupName"` // in the default VPC
	Permissions []IPPermission    `query:"IpPermissions"`
	ByID        []RuleDescription `query:"SecurityGroupRuleDescription"`
}

// UpdateDescriptionsIngressInput is the input of UpdateSecurityGroupRuleDescriptionsIngress.
type UpdateDescriptionsIngressInput UpdateDescriptionsEgressInput

// RuleDescription is a rule's new description.
type RuleDescription struct {
	ID          string `query:"SecurityGroupRuleId,required"`
	Description string `query:"Description"`
}

func updateDescriptionsIngress(call *Call, in *UpdateDescriptionsIngressInput) (*void, error) {
	return updateDescriptions(call, (*UpdateDescriptionsEgressInput)(in), false)
}

func updateDescriptionsEgress(call *Call, in *UpdateDescriptionsEgressInput) (*void, error) {
	return updateDescriptions(call, in, true)
}

func updateDescriptions(call *Call, in *UpdateDescriptionsEgressInput, egress bool) (*void, error) {
	id, err := groupOrName(call, in.GroupID, in.GroupName)
	if err != nil {
		return nil, err
	}
	specs, err := ruleSpecs(in.Permissions)
	if err != nil {
		return nil, err
	}
	var byID []control.RuleDescription
	for _, d := range in.ByID {
		if err := checkRuleID(d.ID); err != nil {
			return nil, err
		}
		byID = append(byID, control.RuleDescription{ID: vpc.RuleID(d.ID), Description: d.Description})
	}
	return done, call.Control.SetRuleDescriptions(call.Context, call.Caller, vpc.GroupID(id), egress, specs, byID)
}
