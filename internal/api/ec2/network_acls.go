// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"slices"
	"sort"
	"strconv"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateNetworkAcl", true, createNetworkACL)
	register("DescribeNetworkAcls", false, describeNetworkACLs)
	register("DeleteNetworkAcl", true, deleteNetworkACL)
	register("CreateNetworkAclEntry", true, createNetworkACLEntry)
	register("ReplaceNetworkAclEntry", true, replaceNetworkACLEntry)
	register("DeleteNetworkAclEntry", true, deleteNetworkACLEntry)
	register("ReplaceNetworkAclAssociation", true, replaceNetworkACLAssociation)
}

// CreateNetworkACLInput is the input of CreateNetworkAcl.
type CreateNetworkACLInput struct {
	DryRun
	VpcID             string             `query:"VpcId,required"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// CreateNetworkACLOutput is the output of CreateNetworkAcl.
type CreateNetworkACLOutput struct {
	ACL         NetworkACL `xml:"networkAcl"`
	ClientToken string     `xml:"clientToken,omitempty"`
}

// NetworkACL is <NetworkAcl>.
type NetworkACL struct {
	ID           string           `xml:"networkAclId"`
	VpcID        string           `xml:"vpcId"`
	OwnerID      string           `xml:"ownerId"`
	Default      bool             `xml:"default"`
	Entries      []ACLEntry       `xml:"entrySet>item"`
	Associations []ACLAssociation `xml:"associationSet>item"`
	Tags         []Tag            `xml:"tagSet>item"`
}

// ACLEntry is <NetworkAclEntry>; the protocol is a number.
type ACLEntry struct {
	RuleNumber int        `xml:"ruleNumber"`
	Protocol   string     `xml:"protocol"`
	RuleAction string     `xml:"ruleAction"`
	Egress     bool       `xml:"egress"`
	CIDR       string     `xml:"cidrBlock,omitempty"`
	IPv6CIDR   string     `xml:"ipv6CidrBlock,omitempty"`
	ICMP       *ICMPType  `xml:"icmpTypeCode"`
	PortRange  *PortRange `xml:"portRange"`
}

// ICMPType is a type and code, -1 for all.
type ICMPType struct {
	Code *int `query:"Code" xml:"code"`
	Type *int `query:"Type" xml:"type"`
}

// PortRange is a range of destination ports.
type PortRange struct {
	From *int `query:"From" xml:"from"`
	To   *int `query:"To" xml:"to"`
}

// ACLAssociation is one subnet of an ACL.
type ACLAssociation struct {
	ID       string `xml:"networkAclAssociationId"`
	ACLID    string `xml:"networkAclId"`
	SubnetID string `xml:"subnetId"`
}

func createNetworkACL(call *Call, in *CreateNetworkACLInput) (*CreateNetworkACLOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.TagSpecifications, "network-acl")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateACL(call.Context, call.Caller, control.CreateACLInput{
		VPC: vpc.VPCID(in.VpcID), Tags: tags["network-acl"], Token: in.ClientToken,
	})
	if err != nil {
		return nil, err
	}
	v := call.View()
	a, err := control.Owned[vpc.NetworkACL](v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateNetworkACLOutput{renderACL(v, a), in.ClientToken}, nil
}

func renderACL(v vpc.View, a *vpc.NetworkACL) NetworkACL {
	out := NetworkACL{
		ID: string(a.ID), VpcID: string(a.VPC), OwnerID: string(a.Owner), Default: a.Default,
		Entries: renderEntries(v, a), Tags: tagList(a.Tags),
	}
	for _, s := range a.Associations {
		out.Associations = append(out.Associations, ACLAssociation{s.ID, string(a.ID), string(s.Subnet)})
	}
	return out
}

// renderEntries lists an ACL's entries by direction and number, each
// direction ending in the implied deny of everything; that of IPv6 is there
// when the VPC has IPv6 or the ACL has IPv6 entries.
func renderEntries(v vpc.View, a *vpc.NetworkACL) []ACLEntry {
	entries := slices.Clone(a.Entries)
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Number < entries[j].Number })
	ipv6 := slices.ContainsFunc(entries, func(e vpc.ACLEntry) bool { return e.CIDR.Addr().Is6() })
	if o, ok := vpc.Get[vpc.VPC](v, a.VPC); ok && len(o.IPv6) > 0 {
		ipv6 = true
	}
	var out []ACLEntry
	for _, egress := range []bool{true, false} {
		for _, e := range entries {
			if e.Egress == egress {
				out = append(out, renderEntry(e))
			}
		}
		out = append(out, ACLEntry{RuleNumber: 32767, Protocol: "-1", RuleAction: "deny", Egress: egress, CIDR: "0.0.0.0/0"})
		if ipv6 {
			out = append(out, ACLEntry{RuleNumber: 32768, Protocol: "-1", RuleAction: "deny", Egress: egress, IPv6CIDR: "::/0"})
		}
	}
	return out
}

func renderEntry(e vpc.ACLEntry) ACLEntry {
	x := ACLEntry{RuleNumber: e.Number, Protocol: strconv.Itoa(e.Protocol), RuleAction: "deny", Egress: e.Egress}
	if e.Allow {
		x.RuleAction = "allow"
	}
	if e.CIDR.Addr().Is6() {
		x.IPv6CIDR = e.CIDR.String()
	} else {
		x.CIDR = e.CIDR.String()
	}
	switch e.Protocol {
	case vpc.TCP, vpc.UDP:
		x.PortRange = &PortRange{&e.From, &e.To}
	case vpc.ICMP, vpc.ICMPv6:
		x.ICMP = &ICMPType{Type: &e.From, Code: &e.To}
	}
	return x
}

// DescribeNetworkACLsInput is the input of DescribeNetworkAcls.
type DescribeNetworkACLsInput struct {
	DryRun
	Page
	IDs     []string `query:"NetworkAclId"`
	Filters []Filter `query:"Filter"`
}

// DescribeNetworkACLsOutput is the output of DescribeNetworkAcls.
type DescribeNetworkACLsOutput struct {
	ACLs      []NetworkACL `xml:"networkAclSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

// entryFilter makes a filter of one property of an ACL's entries.
func entryFilter(f func(ACLEntry) string) func(vpc.View, *vpc.NetworkACL) []string {
	return func(v vpc.View, a *vpc.NetworkACL) []string {
		var out []string
		for _, e := range renderEntries(v, a) {
			if s := f(e); s != "" {
				out = append(out, s)
			}
		}
		return out
	}
}

// entryProtocols are the numbers of an ACL's protocols and the names of those
// that have one: the filter takes either.
func entryProtocols(_ vpc.View, a *vpc.NetworkACL) []string {
	out := []string{"-1"} // of the implied deny
	for _, e := range a.Entries {
		out = append(out, strconv.Itoa(e.Protocol), protocolName(e.Protocol))
	}
	return out
}

func aclAssociationFilter(f func(vpc.ACLAssociation) string) func(vpc.View, *vpc.NetworkACL) []string {
	return func(_ vpc.View, a *vpc.NetworkACL) []string {
		var out []string
		for _, s := range a.Associations {
			out = append(out, f(s))
		}
		return out
	}
}

// number is an optional number as text, "" if it is not there.
func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func (e ACLEntry) ports() PortRange {
	if e.PortRange == nil {
		return PortRange{}
	}
	return *e.PortRange
}

func (e ACLEntry) icmp() ICMPType {
	if e.ICMP == nil {
		return ICMPType{}
	}
	return *e.ICMP
}

var aclResource = resource[*vpc.NetworkACL]{
	prefix: vpc.PrefixACL,
	tags:   func(a *vpc.NetworkACL) vpc.Tags { return a.Tags },
	filters: filterSet[*vpc.NetworkACL]{
		"association.association-id": aclAssociationFilter(func(a vpc.ACLAssociation) string { return a.ID }),
		"association.network-acl-id": func(_ vpc.View, a *vpc.NetworkACL) []string {
			if len(a.Associations) == 0 {
				return nil
			}
			return []string{string(a.ID)}
		},
		"association.subnet-id": aclAssociationFilter(func(a vpc.ACLAssociation) string { return string(a.Subnet) }),
		"default":               truth(func(a *vpc.NetworkACL) bool { return a.Default }),
		"entry.cidr":            entryFilter(func(e ACLEntry) string { return e.CIDR }),
		"entry.icmp.code":       entryFilter(func(e ACLEntry) string { return number(e.icmp().Code) }),
		"entry.icmp.type":       entryFilter(func(e ACLEntry) string { return number(e.icmp().Type) }),
		"entry.ipv6-cidr":       entryFilter(func(e ACLEntry) string { return e.IPv6CIDR }),
		"entry.port-range.from": entryFilter(func(e ACLEntry) string { return number(e.ports().From) }),
		"entry.port-range.to":   entryFilter(func(e ACLEntry) string { return number(e.ports().To) }),
		"entry.protocol":        entryProtocols,
		"entry.rule-action":     entryFilter(func(e ACLEntry) string { return e.RuleAction }),
		"entry.egress":          entryFilter(func(e ACLEntry) string { return strconv.FormatBool(e.Egress) }),
		"entry.rule-number":     entryFilter(func(e ACLEntry) string { return strconv.Itoa(e.RuleNumber) }),
		"network-acl-id":        one(func(a *vpc.NetworkACL) vpc.ACLID { return a.ID }),
		"owner-id":              one(func(a *vpc.NetworkACL) vpc.AccountID { return a.Owner }),
		"vpc-id":                one(func(a *vpc.NetworkACL) vpc.VPCID { return a.VPC }),
	},
}

func describeNetworkACLs(call *Call, in *DescribeNetworkACLsInput) (*DescribeNetworkACLsOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, aclResource, in.IDs, in.Filters, in.Page, nil)
	if err != nil {
		return nil, err
	}
	out := &DescribeNetworkACLsOutput{NextToken: next}
	for _, a := range list {
		out.ACLs = append(out.ACLs, renderACL(v, a))
	}
	return out, nil
}

// DeleteNetworkACLInput is the input of DeleteNetworkAcl.
type DeleteNetworkACLInput struct {
	DryRun
	ID string `query:"NetworkAclId,required"`
}

func deleteNetworkACL(call *Call, in *DeleteNetworkACLInput) (*void, error) {
	if err := checkACLID(in.ID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteACL(call.Context, call.Caller, vpc.ACLID(in.ID))
}

func checkACLID(id string) error { return checkID(vpc.KindACL, vpc.PrefixACL, id) }

// NetworkACLEntryInput is the input of CreateNetworkAclEntry and ReplaceNetworkAclEntry.
type NetworkACLEntryInput struct {
	DryRun
	ID         string     `query:"NetworkAclId,required"`
	RuleNumber *int       `query:"RuleNumber,required"`
	Protocol   string     `query:"Protocol,required"`
	RuleAction string     `query:"RuleAction,required,enum=allow|deny"`
	Egress     *bool      `query:"Egress,required"`
	CIDR       string     `query:"CidrBlock"`
	IPv6CIDR   string     `query:"Ipv6CidrBlock"`
	ICMP       *ICMPType  `query:"Icmp"`
	PortRange  *PortRange `query:"PortRange"`
}

// read makes an entry of the parameters.
func (in *NetworkACLEntryInput) read() (e vpc.ACLEntry, err error) {
	if err := checkACLID(in.ID); err != nil {
		return e, err
	}
	e = vpc.ACLEntry{Number: *in.RuleNumber, Egress: *in.Egress, Allow: in.RuleAction == "allow", From: -1, To: -1}
	if e.Protocol, err = parseProtocol(in.Protocol); err != nil {
		return e, err
	}
	if err := exactlyOne("CIDR block: cidrBlock or ipv6CidrBlock", in.CIDR, in.IPv6CIDR); err != nil {
		return e, err
	}
	if e.CIDR, err = rulePrefix(in.CIDR+in.IPv6CIDR, in.CIDR == ""); err != nil {
		return e, err
	}
	switch e.Protocol {
	case vpc.TCP, vpc.UDP:
		if in.PortRange == nil || in.PortRange.From == nil || in.PortRange.To == nil {
			return e, vpc.Errorf(vpc.Missing, "PortRange", "", "The request must contain the parameter portRange")
		}
		e.From, e.To = *in.PortRange.From, *in.PortRange.To
	case vpc.ICMP, vpc.ICMPv6:
		if in.ICMP == nil || in.ICMP.Type == nil || in.ICMP.Code == nil {
			return e, vpc.Errorf(vpc.Missing, "Icmp", "", "The request must contain the parameter icmpTypeCode")
		}
		e.From, e.To = *in.ICMP.Type, *in.ICMP.Code
	}
	return e, nil
}

func createNetworkACLEntry(call *Call, in *NetworkACLEntryInput) (*void, error) {
	e, err := in.read()
	if err != nil {
		return nil, err
	}
	return done, call.Control.CreateACLEntry(call.Context, call.Caller, vpc.ACLID(in.ID), e)
}

func replaceNetworkACLEntry(call *Call, in *NetworkACLEntryInput) (*void, error) {
	e, err := in.read()
	if err != nil {
		return nil, err
	}
	return done, call.Control.ReplaceACLEntry(call.Context, call.Caller, vpc.ACLID(in.ID), e)
}

// DeleteNetworkACLEntryInput is the input of DeleteNetworkAclEntry.
type DeleteNetworkACLEntryInput struct {
	DryRun
	ID         string `query:"NetworkAclId,required"`
	RuleNumber *int   `query:"RuleNumber,required"`
	Egress     *bool  `query:"Egress,required"`
}

func deleteNetworkACLEntry(call *Call, in *DeleteNetworkACLEntryInput) (*void, error) {
	if err := checkACLID(in.ID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteACLEntry(call.Context, call.Caller, vpc.ACLID(in.ID), *in.RuleNumber, *in.Egress)
}

// ReplaceNetworkACLAssociationInput is the input of ReplaceNetworkAclAssociation.
type ReplaceNetworkACLAssociationInput struct {
	DryRun
	AssociationID string `query:"AssociationId,required"`
	ID            string `query:"NetworkAclId,required"`
}

// ReplaceNetworkACLAssociationOutput is the output of ReplaceNetworkAclAssociation.
type ReplaceNetworkACLAssociationOutput struct {
	NewAssociationID string `xml:"newAssociationId"`
}

func replaceNetworkACLAssociation(call *Call, in *ReplaceNetworkACLAssociationInput) (*ReplaceNetworkACLAssociationOutput, error) {
	if err := checkID("association", vpc.PrefixACLAssoc, in.AssociationID); err != nil {
		return nil, err
	}
	if err := checkACLID(in.ID); err != nil {
		return nil, err
	}
	id, err := call.Control.ReplaceACLAssociation(call.Context, call.Caller, in.AssociationID, vpc.ACLID(in.ID))
	return &ReplaceNetworkACLAssociationOutput{id}, err
}
