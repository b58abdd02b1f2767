// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"strconv"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateSecurityGroup", true, createSecurityGroup)
	register("DescribeSecurityGroups", false, describeSecurityGroups)
	register("DeleteSecurityGroup", true, deleteSecurityGroup)
}

// CreateSecurityGroupInput is the input of CreateSecurityGroup.
type CreateSecurityGroupInput struct {
	DryRun
	GroupName         string             `query:"GroupName,required"`
	Description       string             `query:"GroupDescription,required"`
	VpcID             string             `query:"VpcId"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
}

// CreateSecurityGroupOutput is the output of CreateSecurityGroup.
type CreateSecurityGroupOutput struct {
	GroupID  string `xml:"groupId"`
	GroupARN string `xml:"securityGroupArn"`
	Tags     []Tag  `xml:"tagSet>item"`
}

func createSecurityGroup(call *Call, in *CreateSecurityGroupInput) (*CreateSecurityGroupOutput, error) {
	if in.VpcID == "" {
		d, err := control.CallersDefaultVPC(call.View(), call.Caller)
		if err != nil {
			return nil, err
		}
		in.VpcID = string(d.ID)
	}
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.TagSpecifications, "security-group")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateGroup(call.Context, call.Caller, control.CreateGroupInput{
		VPC: vpc.VPCID(in.VpcID), Name: in.GroupName, Description: in.Description, Tags: tags["security-group"],
	})
	if err != nil {
		return nil, err
	}
	return &CreateSecurityGroupOutput{
		GroupID: string(id), Tags: tagList(tags["security-group"]),
		GroupARN: groupARN(call.View(), call.Caller.Account, id),
	}, nil
}

func groupARN(v vpc.View, owner vpc.AccountID, id vpc.GroupID) string {
	return control.RegionOf(v).ARN("ec2", owner, "security-group/"+string(id))
}

// DescribeSecurityGroupsInput is the input of DescribeSecurityGroups.
type DescribeSecurityGroupsInput struct {
	DryRun
	Page
	GroupIDs   []string `query:"GroupId"`
	GroupNames []string `query:"GroupName"` // in the default VPC
	Filters    []Filter `query:"Filter"`
}

// DescribeSecurityGroupsOutput is the output of DescribeSecurityGroups.
type DescribeSecurityGroupsOutput struct {
	Groups    []SecurityGroup `xml:"securityGroupInfo>item"`
	NextToken string          `xml:"nextToken,omitempty"`
}

// SecurityGroup is <SecurityGroup>.
type SecurityGroup struct {
	OwnerID     string         `xml:"ownerId"`
	GroupID     string         `xml:"groupId"`
	GroupName   string         `xml:"groupName"`
	Description string         `xml:"groupDescription"`
	VpcID       string         `xml:"vpcId"`
	GroupARN    string         `xml:"securityGroupArn"`
	Ingress     []IPPermission `xml:"ipPermissions>item"`
	Egress      []IPPermission `xml:"ipPermissionsEgress>item"`
	Tags        []Tag          `xml:"tagSet>item"`
}

// ruleFilter makes a filter of one property of a group's rules.
func ruleFilter(egress bool, f func(v vpc.View, r vpc.GroupRule) string) func(vpc.View, *vpc.SecurityGroup) []string {
	return func(v vpc.View, g *vpc.SecurityGroup) []string {
		var out []string
		for _, r := range g.Rules {
			if s := f(v, r); r.Egress == egress && s != "" {
				out = append(out, s)
			}
		}
		return out
	}
}

// ruleProtocols are the names of a group's protocols and their numbers: the
// filter takes either.
func ruleProtocols(egress bool) func(vpc.View, *vpc.SecurityGroup) []string {
	return func(_ vpc.View, g *vpc.SecurityGroup) []string {
		var out []string
		for _, r := range g.Rules {
			if r.Egress == egress {
				out = append(out, protocolName(r.Protocol), strconv.Itoa(r.Protocol))
			}
		}
		return out
	}
}

func rulePort(port func(vpc.GroupRule) int) func(vpc.View, vpc.GroupRule) string {
	return func(_ vpc.View, r vpc.GroupRule) string {
		if !hasRange(r.Protocol) {
			return ""
		}
		return strconv.Itoa(port(r))
	}
}

var groupResource = resource[*vpc.SecurityGroup]{
	prefix: vpc.PrefixGroup,
	tags:   func(g *vpc.SecurityGroup) vpc.Tags { return g.Tags },
	filters: filterSet[*vpc.SecurityGroup]{
		"description": one(func(g *vpc.SecurityGroup) string { return g.Description }),
		"group-id":    one(func(g *vpc.SecurityGroup) vpc.GroupID { return g.ID }),
		"group-name":  one(func(g *vpc.SecurityGroup) string { return g.Name }),
		"owner-id":    one(func(g *vpc.SecurityGroup) vpc.AccountID { return g.Owner }),
		"vpc-id":      one(func(g *vpc.SecurityGroup) vpc.VPCID { return g.VPC }),
	},
}

func init() {
	for prefix, egress := range map[string]bool{"ip-permission.": false, "egress.ip-permission.": true} {
		for name, f := range map[string]func(vpc.View, vpc.GroupRule) string{
			"cidr":           func(_ vpc.View, r vpc.GroupRule) string { s, _ := cidrs(r); return s },
			"ipv6-cidr":      func(_ vpc.View, r vpc.GroupRule) string { _, s := cidrs(r); return s },
			"from-port":      rulePort(func(r vpc.GroupRule) int { return r.From }),
			"to-port":        rulePort(func(r vpc.GroupRule) int { return r.To }),
			"group-id":       func(_ vpc.View, r vpc.GroupRule) string { return string(r.Group) },
			"group-name":     func(v vpc.View, r vpc.GroupRule) string { return groupName(v, r.Group) },
			"prefix-list-id": func(_ vpc.View, r vpc.GroupRule) string { return string(r.PrefixList) },
			"user-id":        func(_ vpc.View, r vpc.GroupRule) string { return string(r.GroupOwner) },
		} {
			groupResource.filters[prefix+name] = ruleFilter(egress, f)
		}
		groupResource.filters[prefix+"protocol"] = ruleProtocols(egress)
	}
}

// groupName is the name of a group, "" if it is gone.
func groupName(v vpc.View, id vpc.GroupID) string {
	if g, ok := vpc.Get[vpc.SecurityGroup](v, id); ok {
		return g.Name
	}
	return ""
}

// GroupRef is one group where another object lists its groups.
type GroupRef struct {
	GroupID   string `xml:"groupId"`
	GroupName string `xml:"groupName"`
}

func groupRefs(v vpc.View, ids []vpc.GroupID) []GroupRef {
	out := make([]GroupRef, 0, len(ids))
	for _, id := range ids {
		out = append(out, GroupRef{string(id), groupName(v, id)})
	}
	return out
}

func describeSecurityGroups(call *Call, in *DescribeSecurityGroupsInput) (*DescribeSecurityGroupsOutput, error) {
	v := call.View()
	get := func(id string) (*vpc.SecurityGroup, error) {
		g, err := control.Owned[vpc.SecurityGroup](v, call.Caller, id)
		if err != nil {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindGroup), id, "The security group '%s' does not exist", id)
		}
		return g, nil
	}
	named, err := control.DefaultGroups(v, call.Caller, in.GroupNames...)
	if err != nil {
		return nil, err
	}
	for _, id := range named {
		in.GroupIDs = append(in.GroupIDs, string(id))
	}
	list, next, err := describeOwned(call, v, groupResource, in.GroupIDs, in.Filters, in.Page, get)
	if err != nil {
		return nil, err
	}
	out := &DescribeSecurityGroupsOutput{NextToken: next}
	for _, g := range list {
		out.Groups = append(out.Groups, SecurityGroup{
			OwnerID: string(g.Owner), GroupID: string(g.ID), GroupName: g.Name, Description: g.Description, VpcID: string(g.VPC),
			GroupARN: groupARN(v, g.Owner, g.ID), Ingress: permissions(v, g, false), Egress: permissions(v, g, true), Tags: tagList(g.Tags),
		})
	}
	return out, nil
}

// DeleteSecurityGroupInput is the input of DeleteSecurityGroup.
type DeleteSecurityGroupInput struct {
	DryRun
	GroupID   string `query:"GroupId"`
	GroupName string `query:"GroupName"` // in the default VPC
}

// DeleteSecurityGroupOutput is the output of DeleteSecurityGroup.
type DeleteSecurityGroupOutput struct {
	Return  bool   `xml:"return"`
	GroupID string `xml:"groupId"`
}

func deleteSecurityGroup(call *Call, in *DeleteSecurityGroupInput) (*DeleteSecurityGroupOutput, error) {
	id, err := groupOrName(call, in.GroupID, in.GroupName)
	if err != nil {
		return nil, err
	}
	err = call.Control.DeleteGroup(call.Context, call.Caller, vpc.GroupID(id))
	return &DeleteSecurityGroupOutput{Return: true, GroupID: id}, err
}

// groupOrName is the id of the group that a call names: by its id or, in the
// default VPC, by its name.
func groupOrName(call *Call, id, name string) (string, error) {
	switch {
	case id != "" && name != "":
		return "", vpc.Errorf(vpc.Combination, "GroupName", name, "The parameters groupId and groupName may not be used together")
	case name != "":
		ids, err := control.DefaultGroups(call.View(), call.Caller, name)
		if err != nil {
			return "", err
		}
		return string(ids[0]), nil
	case id == "":
		return "", vpc.Errorf(vpc.Missing, "GroupId", "", "The request must contain the parameter groupName or groupId")
	}
	return id, checkID(vpc.KindGroup, vpc.PrefixGroup, id)
}
