// SPDX-License-Identifier: Apache-2.0

package route53resolver

import (
	"net/netip"
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateResolverRule", createResolverRule)
	register("GetResolverRule", getResolverRule)
	register("ListResolverRules", listResolverRules)
	register("UpdateResolverRule", updateResolverRule)
	register("DeleteResolverRule", deleteResolverRule)
}

// The types of rules.
const (
	forward   = "FORWARD"
	system    = "SYSTEM"
	recursive = "RECURSIVE"
)

// ResolverRule is a rule in an answer.
type ResolverRule struct {
	ID                 string `json:"Id"`
	CreatorRequestID   string `json:"CreatorRequestId"`
	Arn                string
	DomainName         string
	Status             string
	StatusMessage      string
	RuleType           string
	Name               string           `json:",omitempty"`
	TargetIPs          []TargetResponse `json:"TargetIps,omitempty"`
	ResolverEndpointID string           `json:"ResolverEndpointId,omitempty"`
	OwnerID            string           `json:"OwnerId"`
	ShareStatus        string
	CreationTime       string `json:",omitempty"`
	ModificationTime   string `json:",omitempty"`
}

// TargetResponse is a target in an answer.
type TargetResponse struct {
	IP       string `json:"Ip,omitempty"`
	IPv6     string `json:"Ipv6,omitempty"`
	Port     int32
	Protocol string
}

// RuleOutput is the output of the actions that answer one rule.
type RuleOutput struct{ ResolverRule ResolverRule }

func renderRule(v vpc.View, r *vpc.ResolverRule) ResolverRule {
	out := ResolverRule{
		ID: string(r.ID), CreatorRequestID: r.Request.ID, Arn: control.ResolverARN(control.RegionOf(v), r.Owner, vpc.KindResolverRule, string(r.ID)),
		DomainName: r.Domain + ".", Status: "COMPLETE", StatusMessage: "The Resolver Rule is in force where it is associated.", RuleType: system,
		Name: r.Name, ResolverEndpointID: string(r.Endpoint), OwnerID: string(r.Owner), ShareStatus: "NOT_SHARED",
		CreationTime: rfc3339(r.Created), ModificationTime: rfc3339(r.Modified),
	}
	if r.Forwards() {
		out.RuleType = forward
	}
	for _, t := range r.Targets {
		x := TargetResponse{IP: t.Addr().String(), Port: int32(t.Port()), Protocol: "Do53"}
		if t.Addr().Is6() {
			x.IP, x.IPv6 = "", x.IP
		}
		out.TargetIPs = append(out.TargetIPs, x)
	}
	return out
}

// internetRule is the rule that every VPC has for all other names.
func internetRule(v vpc.View) ResolverRule {
	return ResolverRule{
		ID: string(vpc.InternetResolverRule), Arn: control.RegionOf(v).ARN("route53resolver", "", "autodefined-rule/"+string(vpc.InternetResolverRule)),
		DomainName: ".", Status: "COMPLETE", RuleType: recursive, Name: "Internet Resolver", OwnerID: "Route 53 Resolver", ShareStatus: "NOT_SHARED",
	}
}

// CreateResolverRuleInput is the input of CreateResolverRule.
type CreateResolverRuleInput struct {
	CreatorRequestID   string   `query:"CreatorRequestId,required"`
	Name               string   `query:"Name"`
	RuleType           string   `query:"RuleType,required,enum=FORWARD|SYSTEM"`
	DomainName         string   `query:"DomainName"`
	TargetIPs          []Target `query:"TargetIps"`
	ResolverEndpointID string   `query:"ResolverEndpointId"`
	Tags               []Tag    `query:"Tags"`

	_ awsquery.Refused `query:"DelegationRecord,refuse"`
}

// Target is a resolver to ask, over UDP and TCP (Do53) alone.
type Target struct {
	IP       string `query:"Ip"`
	IPv6     string `query:"Ipv6"`
	Port     *int32 `query:"Port"`
	Protocol string `query:"Protocol,enum=Do53"`

	_ awsquery.Refused `query:"ServerNameIndication,refuse"`
}

// targets reads the targets of a request; the port is 53 if none is said.
func targets(list []Target) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, t := range list {
		if (t.IP == "") == (t.IPv6 == "") {
			return nil, vpc.Errorf(vpc.Invalid, "TargetIps", t.IP, "A target needs either Ip or Ipv6 (TargetIps)")
		}
		a, err := address("Ip", t.IP, false)
		if t.IPv6 != "" {
			a, err = address("Ipv6", t.IPv6, true)
		}
		if err != nil {
			return nil, err
		}
		port := int32(53)
		if t.Port != nil {
			port = *t.Port
		}
		if port < 1 || port > 65535 {
			return nil, vpc.Errorf(vpc.Invalid, "Port", "", "The port '%d' must be from 1 to 65535", port)
		}
		out = append(out, netip.AddrPortFrom(a, uint16(port)))
	}
	return out, nil
}

func answerRule(call *Call, r *vpc.ResolverRule, err error) (*RuleOutput, error) {
	if err != nil {
		return nil, err
	}
	return &RuleOutput{renderRule(call.View(), r)}, nil
}

func createResolverRule(call *Call, in *CreateResolverRuleInput) (*RuleOutput, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	to, err := targets(in.TargetIPs)
	if err != nil {
		return nil, err
	}
	r, err := call.Control.CreateResolverRule(call.Context, call.Caller, control.CreateResolverRuleInput{
		Request: in.CreatorRequestID, Name: in.Name, Forward: in.RuleType == forward, Domain: in.DomainName,
		Endpoint: vpc.ResolverEndpointID(in.ResolverEndpointID), Targets: to, Tags: tags,
	})
	return answerRule(call, r, err)
}

// RuleInput is the input of the actions that only name a rule.
type RuleInput struct {
	ResolverRuleID string `query:"ResolverRuleId,required"`
}

func getResolverRule(call *Call, in *RuleInput) (*RuleOutput, error) {
	if in.ResolverRuleID == string(vpc.InternetResolverRule) {
		return &RuleOutput{internetRule(call.View())}, nil
	}
	r, err := control.OwnedResolverRule(call.View(), call.Caller, vpc.ResolverRuleID(in.ResolverRuleID))
	return answerRule(call, r, err)
}

func deleteResolverRule(call *Call, in *RuleInput) (*RuleOutput, error) {
	r, err := call.Control.DeleteResolverRule(call.Context, call.Caller, vpc.ResolverRuleID(in.ResolverRuleID))
	out, err := answerRule(call, r, err)
	if err == nil {
		out.ResolverRule.Status, out.ResolverRule.StatusMessage = "DELETING", "Deleting the Resolver Rule."
	}
	return out, err
}

// UpdateResolverRuleInput is the input of UpdateResolverRule.
type UpdateResolverRuleInput struct {
	ResolverRuleID string     `query:"ResolverRuleId,required"`
	Config         RuleConfig `query:"Config,required"`
}

// RuleConfig is what of a rule can be changed; what is not sent stays.
type RuleConfig struct {
	Name               *string  `query:"Name"`
	TargetIPs          []Target `query:"TargetIps"`
	ResolverEndpointID string   `query:"ResolverEndpointId"`
}

func updateResolverRule(call *Call, in *UpdateResolverRuleInput) (*RuleOutput, error) {
	to, err := targets(in.Config.TargetIPs)
	if err != nil {
		return nil, err
	}
	r, err := call.Control.UpdateResolverRule(call.Context, call.Caller, vpc.ResolverRuleID(in.ResolverRuleID), control.UpdateResolverRuleInput{
		Name: in.Config.Name, Endpoint: vpc.ResolverEndpointID(in.Config.ResolverEndpointID), Targets: to,
	})
	return answerRule(call, r, err)
}

// ListResolverRulesOutput is the output of ListResolverRules.
type ListResolverRulesOutput struct {
	NextToken     *string `json:",omitempty"`
	MaxResults    int32
	ResolverRules []ResolverRule
}

var ruleFilters = filters[ResolverRule]{
	"CreatorRequestId":   func(r ResolverRule) []string { return []string{r.CreatorRequestID} },
	"DomainName":         func(r ResolverRule) []string { return []string{r.DomainName, strings.TrimSuffix(r.DomainName, ".")} },
	"Name":               func(r ResolverRule) []string { return []string{r.Name} },
	"ResolverEndpointId": func(r ResolverRule) []string { return []string{r.ResolverEndpointID} },
	"Status":             func(r ResolverRule) []string { return []string{r.Status} },
	"Type":               func(r ResolverRule) []string { return []string{r.RuleType} },
}.withOld(map[string]string{
	"CREATOR_REQUEST_ID": "CreatorRequestId", "DOMAIN_NAME": "DomainName", "NAME": "Name", "RESOLVER_ENDPOINT_ID": "ResolverEndpointId",
	"STATUS": "Status", "TYPE": "Type",
})

func listResolverRules(call *Call, in *ListInput) (*ListResolverRulesOutput, error) {
	v := call.View()
	list := []ResolverRule{internetRule(v)}
	for r := range vpc.By[vpc.ResolverRule](v, vpc.IndexOwner, call.Caller.Account) {
		list = append(list, renderRule(v, r))
	}
	list, err := ruleFilters.keep(list, in.Filters)
	if err != nil {
		return nil, err
	}
	page, next, err := paginate(list, in.Page, func(r ResolverRule) string { return r.ID })
	if err != nil {
		return nil, err
	}
	size, err := in.size()
	return &ListResolverRulesOutput{next, int32(size), page}, err
}
