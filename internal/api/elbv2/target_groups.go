// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateTargetGroup", createTargetGroup)
	register("DescribeTargetGroups", describeTargetGroups)
	register("ModifyTargetGroup", modifyTargetGroup)
	register("DeleteTargetGroup", deleteTargetGroup)
	register("DescribeTargetGroupAttributes", describeTargetGroupAttributes)
	register("ModifyTargetGroupAttributes", modifyTargetGroupAttributes)
}

// TargetGroup is <TargetGroup>.
type TargetGroup struct {
	Arn                 string   `xml:"TargetGroupArn"`
	Name                string   `xml:"TargetGroupName"`
	Protocol            string   `xml:"Protocol"`
	Port                int      `xml:"Port"`
	VpcID               string   `xml:"VpcId"`
	HealthCheckProtocol string   `xml:"HealthCheckProtocol"`
	HealthCheckPort     string   `xml:"HealthCheckPort"`
	HealthCheckEnabled  bool     `xml:"HealthCheckEnabled"`
	Interval            int      `xml:"HealthCheckIntervalSeconds"`
	Timeout             int      `xml:"HealthCheckTimeoutSeconds"`
	Healthy             int      `xml:"HealthyThresholdCount"`
	Unhealthy           int      `xml:"UnhealthyThresholdCount"`
	Path                string   `xml:"HealthCheckPath,omitempty"`
	Matcher             *HTTP    `xml:"Matcher"`
	LoadBalancerArns    []string `xml:"LoadBalancerArns"`
	TargetType          string   `xml:"TargetType"`
	IPAddressType       string   `xml:"IpAddressType"`
}

// HTTP are the status codes of a healthy answer.
type HTTP struct {
	HTTPCode string `xml:"HttpCode"`
}

func renderTargetGroup(v vpc.View, g *vpc.TargetGroup) TargetGroup {
	out := TargetGroup{
		Arn: string(g.ARN), Name: g.Name, Protocol: g.Protocol, Port: g.Port, VpcID: string(g.VPC),
		HealthCheckProtocol: g.Check.Protocol, HealthCheckPort: g.Check.Port, HealthCheckEnabled: true,
		Interval: g.Check.Interval, Timeout: g.Check.Timeout, Healthy: g.Check.Healthy, Unhealthy: g.Check.Unhealthy,
		Path: g.Check.Path, TargetType: g.TargetType, IPAddressType: g.AddressType(),
	}
	if g.Check.Matcher != "" {
		out.Matcher = &HTTP{g.Check.Matcher}
	}
	for _, arn := range control.BalancersOf(v, g.ARN) {
		out.LoadBalancerArns = append(out.LoadBalancerArns, string(arn))
	}
	return out
}

// Check are the health check parameters of CreateTargetGroup and ModifyTargetGroup.
type Check struct {
	Protocol  *string  `query:"HealthCheckProtocol,enum=TCP|HTTP|HTTPS"`
	Port      *string  `query:"HealthCheckPort"`
	Path      *string  `query:"HealthCheckPath"`
	Interval  *int     `query:"HealthCheckIntervalSeconds"`
	Timeout   *int     `query:"HealthCheckTimeoutSeconds"`
	Healthy   *int     `query:"HealthyThresholdCount"`
	Unhealthy *int     `query:"UnhealthyThresholdCount"`
	Matcher   *Matcher `query:"Matcher"`
	_         refused  `query:"HealthCheckEnabled,refuse,unless=true"`
}

// Matcher says which answers are healthy.
type Matcher struct {
	HTTPCode *string `query:"HttpCode"`
	_        refused `query:"GrpcCode,refuse"`
}

func (c Check) input() control.CheckInput {
	in := control.CheckInput{
		Protocol: c.Protocol, Port: c.Port, Path: c.Path,
		Interval: c.Interval, Timeout: c.Timeout, Healthy: c.Healthy, Unhealthy: c.Unhealthy,
	}
	if c.Matcher != nil {
		in.Matcher = c.Matcher.HTTPCode
	}
	return in
}

// CreateTargetGroupInput is the input of CreateTargetGroup.
type CreateTargetGroupInput struct {
	Check
	Name          string  `query:"Name,required"`
	Protocol      string  `query:"Protocol,required,enum=TCP|UDP|TCP_UDP"`
	Port          *int    `query:"Port,required"`
	VpcID         string  `query:"VpcId,required"`
	TargetType    string  `query:"TargetType,enum=instance|ip"`
	IPAddressType string  `query:"IpAddressType,enum=ipv4|ipv6"`
	Tags          []Tag   `query:"Tags"`
	_             refused `query:"ProtocolVersion,refuse"`
	_             refused `query:"TargetControlPort,refuse"`
}

// TargetGroupsOutput is the output of the actions that answer target groups.
type TargetGroupsOutput struct {
	TargetGroups []TargetGroup `xml:"TargetGroups"`
}

// DescribeTargetGroupsOutput is the output of DescribeTargetGroups.
type DescribeTargetGroupsOutput struct {
	TargetGroupsOutput
	NextMarker string `xml:"NextMarker,omitempty"`
}

func createTargetGroup(call *Call, in *CreateTargetGroupInput) (*TargetGroupsOutput, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	arn, err := call.Control.CreateTargetGroup(call.Context, call.Caller, control.CreateTargetGroupInput{
		Name: in.Name, Protocol: in.Protocol, Port: *in.Port, VPC: vpc.VPCID(in.VpcID), TargetType: in.TargetType,
		IPv6: in.IPAddressType == vpc.IPv6Only, Check: in.Check.input(), Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	return oneTargetGroup(call, string(arn))
}

func oneTargetGroup(call *Call, arn string) (*TargetGroupsOutput, error) {
	v := call.View()
	g, err := find[vpc.TargetGroup](call, v, arn)
	if err != nil {
		return nil, err
	}
	return &TargetGroupsOutput{TargetGroups: []TargetGroup{renderTargetGroup(v, g)}}, nil
}

// DescribeTargetGroupsInput is the input of DescribeTargetGroups: one of a
// load balancer, ARNs and names, or none for all.
type DescribeTargetGroupsInput struct {
	Page
	LoadBalancerArn string   `query:"LoadBalancerArn"`
	Arns            []string `query:"TargetGroupArns"`
	Names           []string `query:"Names"`
}

func describeTargetGroups(call *Call, in *DescribeTargetGroupsInput) (*DescribeTargetGroupsOutput, error) {
	v := call.View()
	var list []*vpc.TargetGroup
	var err error
	if in.LoadBalancerArn != "" {
		if len(in.Arns) > 0 || len(in.Names) > 0 {
			return nil, vpc.Errorf(vpc.Invalid, "LoadBalancerArn", "", "Only one of load balancer ARN, target group ARNs and names may be specified")
		}
		lb, err := find[vpc.LoadBalancer](call, v, in.LoadBalancerArn)
		if err != nil {
			return nil, err
		}
		var arns []string
		for l := range vpc.By[vpc.Listener](v, vpc.IndexBalancer, lb.ARN) {
			arns = append(arns, string(l.TargetGroup))
		}
		if len(arns) == 0 {
			return &DescribeTargetGroupsOutput{}, nil
		}
		in.Arns = arns
	}
	if list, err = pick[vpc.TargetGroup](call, v, in.Arns, in.Names); err != nil {
		return nil, err
	}
	list, next, err := paginate(list, in.Page, (*vpc.TargetGroup).Key)
	if err != nil {
		return nil, err
	}
	out := &DescribeTargetGroupsOutput{NextMarker: next}
	for _, g := range list {
		out.TargetGroups = append(out.TargetGroups, renderTargetGroup(v, g))
	}
	return out, nil
}

// GroupInput is the input of the actions that take one target group.
type GroupInput struct {
	Arn string `query:"TargetGroupArn,required"`
}

// ModifyTargetGroupInput is the input of ModifyTargetGroup.
type ModifyTargetGroupInput struct {
	GroupInput
	Check
}

func modifyTargetGroup(call *Call, in *ModifyTargetGroupInput) (*TargetGroupsOutput, error) {
	g, err := find[vpc.TargetGroup](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	if err := call.Control.ModifyTargetGroup(call.Context, call.Caller, g.ARN, in.Check.input()); err != nil {
		return nil, err
	}
	return oneTargetGroup(call, in.Arn)
}

func deleteTargetGroup(call *Call, in *GroupInput) (*void, error) {
	arn, err := checkARN(vpc.KindTargetGroup, in.Arn)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.DeleteTargetGroup(call.Context, call.Caller, arn)
}

func describeTargetGroupAttributes(call *Call, in *GroupInput) (*AttributesOutput, error) {
	g, err := find[vpc.TargetGroup](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	return renderAttributes(control.TargetGroupAttributes.Describe(g, g.Attributes)), nil
}

// ModifyTargetGroupAttributesInput is the input of ModifyTargetGroupAttributes.
type ModifyTargetGroupAttributesInput struct {
	GroupInput
	Attributes []Attribute `query:"Attributes,required"`
}

func modifyTargetGroupAttributes(call *Call, in *ModifyTargetGroupAttributesInput) (*AttributesOutput, error) {
	g, err := find[vpc.TargetGroup](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	set, err := attributesOf(in.Attributes)
	if err != nil {
		return nil, err
	}
	if err := call.Control.SetTargetGroupAttributes(call.Context, call.Caller, g.ARN, set); err != nil {
		return nil, err
	}
	return describeTargetGroupAttributes(call, &in.GroupInput)
}
