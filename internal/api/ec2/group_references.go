// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribeSecurityGroupReferences", false, describeSecurityGroupReferences)
	register("DescribeStaleSecurityGroups", false, describeStaleSecurityGroups)
}

// DescribeSecurityGroupReferencesInput is the input of DescribeSecurityGroupReferences.
type DescribeSecurityGroupReferencesInput struct {
	DryRun
	GroupIDs []string `query:"GroupId,required"`
}

// DescribeSecurityGroupReferencesOutput is the output of DescribeSecurityGroupReferences.
type DescribeSecurityGroupReferencesOutput struct {
	References []GroupReference `xml:"securityGroupReferenceSet>item"`
}

// GroupReference is <SecurityGroupReference>.
type GroupReference struct {
	GroupID          string `xml:"groupId"`
	ReferencingVpcID string `xml:"referencingVpcId"`
	PeeringID        string `xml:"vpcPeeringConnectionId"`
}

func describeSecurityGroupReferences(call *Call, in *DescribeSecurityGroupReferencesInput) (*DescribeSecurityGroupReferencesOutput, error) {
	ids, err := groupIDs(in.GroupIDs)
	if err != nil {
		return nil, err
	}
	refs, err := control.GroupReferences(call.View(), call.Caller, ids)
	if err != nil {
		return nil, err
	}
	out := &DescribeSecurityGroupReferencesOutput{}
	for _, r := range refs {
		out.References = append(out.References, GroupReference{string(r.Group), string(r.VPC), string(r.Peering)})
	}
	return out, nil
}

// DescribeStaleSecurityGroupsInput is the input of DescribeStaleSecurityGroups.
type DescribeStaleSecurityGroupsInput struct {
	DryRun
	Page
	VpcID string `query:"VpcId,required"`
}

// DescribeStaleSecurityGroupsOutput is the output of DescribeStaleSecurityGroups.
type DescribeStaleSecurityGroupsOutput struct {
	Groups    []StaleSecurityGroup `xml:"staleSecurityGroupSet>item"`
	NextToken string               `xml:"nextToken,omitempty"`
}

// StaleSecurityGroup is <StaleSecurityGroup>: a group with its stale rules.
type StaleSecurityGroup struct {
	Description string            `xml:"description"`
	GroupID     string            `xml:"groupId"`
	GroupName   string            `xml:"groupName"`
	VpcID       string            `xml:"vpcId"`
	Ingress     []StalePermission `xml:"staleIpPermissions>item"`
	Egress      []StalePermission `xml:"staleIpPermissionsEgress>item"`
}

// StalePermission is <StaleIpPermission>; only group peers can be stale.
type StalePermission struct {
	Protocol string      `xml:"ipProtocol"`
	FromPort *int        `xml:"fromPort"`
	ToPort   *int        `xml:"toPort"`
	Groups   []GroupPair `xml:"groups>item"`
}

// staleOf is the group with nothing but its stale rules.
func staleOf(v vpc.View, g *vpc.SecurityGroup) *vpc.SecurityGroup {
	stale := *g
	stale.Rules = nil
	for _, r := range g.Rules {
		if control.Stale(v, r) {
			stale.Rules = append(stale.Rules, r)
		}
	}
	return &stale
}

func stalePermissions(v vpc.View, g *vpc.SecurityGroup, egress bool) []StalePermission {
	var out []StalePermission
	for _, p := range permissions(v, g, egress) {
		out = append(out, StalePermission{p.Protocol, p.FromPort, p.ToPort, p.Groups})
	}
	return out
}

func describeStaleSecurityGroups(call *Call, in *DescribeStaleSecurityGroupsInput) (*DescribeStaleSecurityGroupsOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	v := call.View()
	o, err := control.Owned[vpc.VPC](v, call.Caller, in.VpcID)
	if err != nil {
		return nil, err
	}
	var list []*vpc.SecurityGroup
	for g := range vpc.By[vpc.SecurityGroup](v, vpc.IndexVPC, o.ID) {
		if g = staleOf(v, g); len(g.Rules) > 0 {
			list = append(list, g)
		}
	}
	list, next, err := paginate(list, in.Page, (*vpc.SecurityGroup).Key)
	if err != nil {
		return nil, err
	}
	out := &DescribeStaleSecurityGroupsOutput{NextToken: next}
	for _, g := range list {
		out.Groups = append(out.Groups, StaleSecurityGroup{
			Description: g.Description, GroupID: string(g.ID), GroupName: g.Name, VpcID: string(g.VPC),
			Ingress: stalePermissions(v, g, false), Egress: stalePermissions(v, g, true),
		})
	}
	return out, nil
}
