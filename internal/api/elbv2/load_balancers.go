// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// refused is awsquery.Refused, shorter for the many that are needed.
type refused = awsquery.Refused

func init() {
	register("CreateLoadBalancer", createLoadBalancer)
	register("DescribeLoadBalancers", describeLoadBalancers)
	register("DeleteLoadBalancer", deleteLoadBalancer)
	register("DescribeLoadBalancerAttributes", describeLoadBalancerAttributes)
	register("ModifyLoadBalancerAttributes", modifyLoadBalancerAttributes)
	register("SetSecurityGroups", setSecurityGroups)
	register("SetSubnets", setSubnets)
	register("SetIpAddressType", setIPAddressType)
	register("DescribeCapacityReservation", describeCapacityReservation)
}

// LoadBalancer is <LoadBalancer>.
type LoadBalancer struct {
	Arn                   string             `xml:"LoadBalancerArn"`
	DNSName               string             `xml:"DNSName"`
	CanonicalHostedZoneID string             `xml:"CanonicalHostedZoneId"`
	CreatedTime           time.Time          `xml:"CreatedTime"`
	Name                  string             `xml:"LoadBalancerName"`
	Scheme                string             `xml:"Scheme"`
	VpcID                 string             `xml:"VpcId"`
	State                 State              `xml:"State"`
	Type                  string             `xml:"Type"`
	AvailabilityZones     []AvailabilityZone `xml:"AvailabilityZones"`
	SecurityGroups        []string           `xml:"SecurityGroups"`
	IPAddressType         string             `xml:"IpAddressType"`
	// Enforce is present only with security groups.
	Enforce                      string `xml:"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic,omitempty"`
	EnablePrefixForIpv6SourceNat string `xml:"EnablePrefixForIpv6SourceNat"`
}

// State is a load balancer's state: provisioning or active.
type State struct {
	Code string `xml:"Code"`
}

// AvailabilityZone is a load balancer's node in one zone.
type AvailabilityZone struct {
	ZoneName  string    `xml:"ZoneName"`
	SubnetID  string    `xml:"SubnetId"`
	Addresses []Address `xml:"LoadBalancerAddresses"`
}

// Address are a node's addresses; an internet-facing load balancer would have a
// public one too, which there is none of here.
type Address struct {
	PrivateIPv4Address string `xml:"PrivateIPv4Address"`
	IPv6Address        string `xml:"IPv6Address,omitempty"`
}

func renderBalancer(v vpc.View, lb *vpc.LoadBalancer) LoadBalancer {
	r := control.RegionOf(v)
	out := LoadBalancer{
		Arn: string(lb.ARN), DNSName: lb.Name + "-" + lb.Suffix + ".elb." + r.Name + ".amazonaws.com",
		CanonicalHostedZoneID: string(vpc.BalancerZoneID(r)), CreatedTime: lb.Created, Name: lb.Name, Scheme: lb.Scheme, VpcID: string(lb.VPC),
		State: State{"provisioning"}, Type: "network", IPAddressType: lb.AddressType(), EnablePrefixForIpv6SourceNat: "off",
		AvailabilityZones: renderZones(lb),
	}
	if lb.Active {
		out.State.Code = "active"
	}
	for _, g := range lb.Groups {
		out.SecurityGroups = append(out.SecurityGroups, string(g))
	}
	if len(lb.Groups) > 0 {
		out.Enforce = lb.EnforceOnPrivateLink
	}
	return out
}

func renderZones(lb *vpc.LoadBalancer) []AvailabilityZone {
	var out []AvailabilityZone
	for _, n := range lb.Nodes {
		a := Address{PrivateIPv4Address: n.Addr.String()}
		if n.Addr6.IsValid() {
			a.IPv6Address = n.Addr6.String()
		}
		out = append(out, AvailabilityZone{ZoneName: n.Zone, SubnetID: string(n.Subnet), Addresses: []Address{a}})
	}
	return out
}

// CreateLoadBalancerInput is the input of CreateLoadBalancer. The scheme is
// kept and shown only: there is no internet gateway.
type CreateLoadBalancerInput struct {
	Name           string          `query:"Name,required"`
	Type           string          `query:"Type,enum=network"`
	Scheme         string          `query:"Scheme,stored"`
	Subnets        []string        `query:"Subnets"`
	SubnetMappings []SubnetMapping `query:"SubnetMappings"`
	SecurityGroups []string        `query:"SecurityGroups"`
	IPAddressType  string          `query:"IpAddressType,enum=ipv4|dualstack"`
	Tags           []Tag           `query:"Tags"`
	_              refused         `query:"CustomerOwnedIpv4Pool,refuse"`
	_              refused         `query:"EnablePrefixForIpv6SourceNat,refuse,unless=off"`
	_              refused         `query:"IpamPools,refuse"`
}

// LoadBalancersOutput is the output of CreateLoadBalancer.
type LoadBalancersOutput struct {
	LoadBalancers []LoadBalancer `xml:"LoadBalancers"`
}

// DescribeLoadBalancersOutput is the output of DescribeLoadBalancers.
type DescribeLoadBalancersOutput struct {
	LoadBalancersOutput
	NextMarker string `xml:"NextMarker,omitempty"`
}

func createLoadBalancer(call *Call, in *CreateLoadBalancerInput) (*LoadBalancersOutput, error) {
	if in.Type == "" {
		return nil, vpc.Errorf(vpc.Unsupported, "Type", "", "Load balancers of type 'application', the default, are not supported; specify the type 'network'")
	}
	if in.Scheme != "" && in.Scheme != "internet-facing" && in.Scheme != "internal" {
		return nil, vpc.Errorf(vpc.Invalid, "scheme", in.Scheme, "Scheme '%.64s' must be one of 'internal', 'internet-facing'", in.Scheme)
	}
	subnets, err := subnetsOf(in.Subnets, in.SubnetMappings)
	if err != nil {
		return nil, err
	}
	groups, err := groupIDs(in.SecurityGroups)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	arn, err := call.Control.CreateBalancer(call.Context, call.Caller, control.CreateBalancerInput{
		Name: in.Name, Scheme: in.Scheme, Subnets: subnets, DualStack: in.IPAddressType == vpc.DualStack, Groups: groups, Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	call.Control.AwaitBalancer(call.Context, arn)
	v := call.View()
	lb, err := find[vpc.LoadBalancer](call, v, string(arn))
	if err != nil {
		return nil, err
	}
	return &LoadBalancersOutput{LoadBalancers: []LoadBalancer{renderBalancer(v, lb)}}, nil
}

// DescribeLoadBalancersInput is the input of DescribeLoadBalancers.
type DescribeLoadBalancersInput struct {
	Page
	Arns  []string `query:"LoadBalancerArns"`
	Names []string `query:"Names"`
}

func describeLoadBalancers(call *Call, in *DescribeLoadBalancersInput) (*DescribeLoadBalancersOutput, error) {
	v := call.View()
	list, err := pick[vpc.LoadBalancer](call, v, in.Arns, in.Names)
	if err != nil {
		return nil, err
	}
	list, next, err := paginate(list, in.Page, (*vpc.LoadBalancer).Key)
	if err != nil {
		return nil, err
	}
	out := &DescribeLoadBalancersOutput{NextMarker: next}
	for _, lb := range list {
		out.LoadBalancers = append(out.LoadBalancers, renderBalancer(v, lb))
	}
	return out, nil
}

// BalancerInput is the input of the actions that take one load balancer.
type BalancerInput struct {
	Arn string `query:"LoadBalancerArn,required"`
}

func deleteLoadBalancer(call *Call, in *BalancerInput) (*void, error) {
	arn, err := checkARN(vpc.KindBalancer, in.Arn)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.DeleteBalancer(call.Context, call.Caller, arn)
}

func describeLoadBalancerAttributes(call *Call, in *BalancerInput) (*AttributesOutput, error) {
	lb, err := find[vpc.LoadBalancer](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	return renderAttributes(control.BalancerAttributes.Describe(lb, lb.Attributes)), nil
}

// ModifyLoadBalancerAttributesInput is the input of ModifyLoadBalancerAttributes.
type ModifyLoadBalancerAttributesInput struct {
	BalancerInput
	Attributes []Attribute `query:"Attributes,required"`
}

func modifyLoadBalancerAttributes(call *Call, in *ModifyLoadBalancerAttributesInput) (*AttributesOutput, error) {
	lb, err := find[vpc.LoadBalancer](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	set, err := attributesOf(in.Attributes)
	if err != nil {
		return nil, err
	}
	if err := call.Control.SetBalancerAttributes(call.Context, call.Caller, lb.ARN, set); err != nil {
		return nil, err
	}
	return describeLoadBalancerAttributes(call, &in.BalancerInput)
}

// SetSecurityGroupsInput is the input of SetSecurityGroups.
type SetSecurityGroupsInput struct {
	BalancerInput
	SecurityGroups []string `query:"SecurityGroups,required"`
	Enforce        string   `query:"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic,enum=on|off"`
}

// SetSecurityGroupsOutput is the output of SetSecurityGroups.
type SetSecurityGroupsOutput struct {
	SecurityGroupIDs []string `xml:"SecurityGroupIds"`
	Enforce          string   `xml:"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"`
}

func setSecurityGroups(call *Call, in *SetSecurityGroupsInput) (*SetSecurityGroupsOutput, error) {
	lb, err := find[vpc.LoadBalancer](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	groups, err := groupIDs(in.SecurityGroups)
	if err != nil {
		return nil, err
	}
	if err := call.Control.SetBalancerGroups(call.Context, call.Caller, lb.ARN, groups, in.Enforce); err != nil {
		return nil, err
	}
	v := call.View()
	if lb, err = find[vpc.LoadBalancer](call, v, in.Arn); err != nil {
		return nil, err
	}
	r := renderBalancer(v, lb)
	return &SetSecurityGroupsOutput{SecurityGroupIDs: r.SecurityGroups, Enforce: r.Enforce}, nil
}

// SetSubnetsInput is the input of SetSubnets.
type SetSubnetsInput struct {
	BalancerInput
	Subnets        []string        `query:"Subnets"`
	SubnetMappings []SubnetMapping `query:"SubnetMappings"`
	IPAddressType  string          `query:"IpAddressType,enum=ipv4|dualstack"`
	_              refused         `query:"EnablePrefixForIpv6SourceNat,refuse,unless=off"`
}

// SetSubnetsOutput is the output of SetSubnets.
type SetSubnetsOutput struct {
	AvailabilityZones            []AvailabilityZone `xml:"AvailabilityZones"`
	IPAddressType                string             `xml:"IpAddressType"`
	EnablePrefixForIpv6SourceNat string             `xml:"EnablePrefixForIpv6SourceNat"`
}

func setSubnets(call *Call, in *SetSubnetsInput) (*SetSubnetsOutput, error) {
	lb, err := find[vpc.LoadBalancer](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	subnets, err := subnetsOf(in.Subnets, in.SubnetMappings)
	if err != nil {
		return nil, err
	}
	var dualStack *bool
	if in.IPAddressType != "" {
		dual := in.IPAddressType == vpc.DualStack
		dualStack = &dual
	}
	if err := call.Control.SetBalancerSubnets(call.Context, call.Caller, lb.ARN, subnets, dualStack); err != nil {
		return nil, err
	}
	if lb, err = find[vpc.LoadBalancer](call, call.View(), in.Arn); err != nil {
		return nil, err
	}
	return &SetSubnetsOutput{AvailabilityZones: renderZones(lb), IPAddressType: lb.AddressType(), EnablePrefixForIpv6SourceNat: "off"}, nil
}

// SetIPAddressTypeInput is the input of SetIpAddressType.
type SetIPAddressTypeInput struct {
	BalancerInput
	IPAddressType string `query:"IpAddressType,required,enum=ipv4|dualstack"`
}

// SetIPAddressTypeOutput is the output of SetIpAddressType.
type SetIPAddressTypeOutput struct {
	IPAddressType string `xml:"IpAddressType"`
}

func setIPAddressType(call *Call, in *SetIPAddressTypeInput) (*SetIPAddressTypeOutput, error) {
	lb, err := find[vpc.LoadBalancer](call, call.View(), in.Arn)
	if err != nil {
		return nil, err
	}
	if err := call.Control.SetBalancerAddressType(call.Context, call.Caller, lb.ARN, in.IPAddressType == vpc.DualStack); err != nil {
		return nil, err
	}
	return &SetIPAddressTypeOutput{IPAddressType: in.IPAddressType}, nil
}

// DescribeCapacityReservationOutput is the output of
// DescribeCapacityReservation: none can be made, so nothing is reserved.
type DescribeCapacityReservationOutput struct {
	States []struct{} `xml:"CapacityReservationState"`
}

func describeCapacityReservation(call *Call, in *BalancerInput) (*DescribeCapacityReservationOutput, error) {
	if _, err := find[vpc.LoadBalancer](call, call.View(), in.Arn); err != nil {
		return nil, err
	}
	return &DescribeCapacityReservationOutput{}, nil
}
