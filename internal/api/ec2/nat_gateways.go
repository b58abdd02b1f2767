// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateNatGateway", true, createNatGateway)
	register("DescribeNatGateways", false, describeNatGateways)
	register("DeleteNatGateway", true, deleteNatGateway)
}

// CreateNatGatewayInput is the input of CreateNatGateway: a zonal gateway with
// one address.
type CreateNatGatewayInput struct {
	DryRun
	SubnetID          string             `query:"SubnetId,required"`
	AllocationID      string             `query:"AllocationId"`
	ConnectivityType  string             `query:"ConnectivityType,enum=public|private"`
	PrivateIP         string             `query:"PrivateIpAddress"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
	_                 awsquery.Refused   `query:"AvailabilityMode,refuse,unless=zonal"`
	_                 awsquery.Refused   `query:"AvailabilityZoneAddress,refuse"`
	_                 awsquery.Refused   `query:"VpcId,refuse"` // of a regional one
	_                 awsquery.Refused   `query:"SecondaryAllocationId,refuse"`
	_                 awsquery.Refused   `query:"SecondaryPrivateIpAddress,refuse"`
	_                 awsquery.Refused   `query:"SecondaryPrivateIpAddressCount,refuse,unless=0"`
}

// CreateNatGatewayOutput is the output of CreateNatGateway.
type CreateNatGatewayOutput struct {
	ClientToken string     `xml:"clientToken,omitempty"`
	NatGateway  NatGateway `xml:"natGateway"`
}

// NatGateway is <NatGateway>.
type NatGateway struct {
	ID               string              `xml:"natGatewayId"`
	SubnetID         string              `xml:"subnetId"`
	VpcID            string              `xml:"vpcId"`
	State            string              `xml:"state"`
	ConnectivityType string              `xml:"connectivityType"`
	AvailabilityMode string              `xml:"availabilityMode"`
	CreateTime       time.Time           `xml:"createTime"`
	DeleteTime       time.Time           `xml:"deleteTime"`
	FailureCode      string              `xml:"failureCode,omitempty"`
	FailureMessage   string              `xml:"failureMessage,omitempty"`
	Addresses        []NatGatewayAddress `xml:"natGatewayAddressSet>item"`
	Tags             []Tag               `xml:"tagSet>item"`
}

// NatGatewayAddress is <NatGatewayAddress>.
type NatGatewayAddress struct {
	AllocationID       string `xml:"allocationId,omitempty"`
	AssociationID      string `xml:"associationId,omitempty"`
	NetworkInterfaceID string `xml:"networkInterfaceId,omitempty"`
	PrivateIP          string `xml:"privateIp,omitempty"`
	PublicIP           string `xml:"publicIp,omitempty"`
	IsPrimary          bool   `xml:"isPrimary"`
	Status             string `xml:"status"`
}

func renderNatGateway(g *vpc.NATGateway) NatGateway {
	out := NatGateway{
		ID: string(g.ID), SubnetID: string(g.Subnet), VpcID: string(g.VPC), State: string(g.State), ConnectivityType: "public",
		AvailabilityMode: "zonal", CreateTime: g.Created, FailureCode: g.FailureCode, FailureMessage: g.FailureMessage, Tags: tagList(g.Tags),
	}
	if g.Private {
		out.ConnectivityType = "private"
	}
	if g.State == vpc.NATDeleted {
		out.DeleteTime = g.Deleted
	}
	a := NatGatewayAddress{
		AllocationID: string(g.Allocation), AssociationID: g.Association, NetworkInterfaceID: string(g.Interface), IsPrimary: true, Status: "succeeded",
	}
	if g.FailureCode != "" {
		a.Status = "failed"
	}
	if g.Addr.IsValid() {
		a.PrivateIP = g.Addr.String()
	}
	if g.PublicAddr.IsValid() {
		a.PublicIP = g.PublicAddr.String()
	}
	out.Addresses = []NatGatewayAddress{a}
	return out
}

func createNatGateway(call *Call, in *CreateNatGatewayInput) (*CreateNatGatewayOutput, error) {
	if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetID); err != nil {
		return nil, err
	}
	if in.AllocationID != "" {
		if err := checkAllocationID(in.AllocationID); err != nil {
			return nil, err
		}
	}
	tags, err := tagsFor(in.TagSpecifications, "natgateway")
	if err != nil {
		return nil, err
	}
	req := control.CreateNATInput{
		Subnet: vpc.SubnetID(in.SubnetID), Allocation: vpc.AllocationID(in.AllocationID), Private: in.ConnectivityType == "private",
		Tags: tags["natgateway"], Token: in.ClientToken,
	}
	if in.PrivateIP != "" {
		if req.Addr, err = netip.ParseAddr(in.PrivateIP); err != nil {
			return nil, vpc.Errorf(vpc.Invalid, "privateIpAddress", in.PrivateIP, "Value (%.64s) for parameter privateIpAddress is invalid. Invalid IPv4 address.", in.PrivateIP)
		}
	}
	id, err := call.Control.CreateNATGateway(call.Context, call.Caller, req)
	if err != nil {
		return nil, err
	}
	g, err := control.OwnedNATGateway(call.View(), call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateNatGatewayOutput{in.ClientToken, renderNatGateway(g)}, nil
}

// DescribeNatGatewaysInput is the input of DescribeNatGateways.
type DescribeNatGatewaysInput struct {
	DryRun
	Page
	IDs     []string `query:"NatGatewayId"`
	Filters []Filter `query:"Filter"`
}

// DescribeNatGatewaysOutput is the output of DescribeNatGateways.
type DescribeNatGatewaysOutput struct {
	NatGateways []NatGateway `xml:"natGatewaySet>item"`
	NextToken   string       `xml:"nextToken,omitempty"`
}

var natGatewayResource = resource[*vpc.NATGateway]{
	prefix: vpc.PrefixNATGateway,
	tags:   func(g *vpc.NATGateway) vpc.Tags { return g.Tags },
	filters: filterSet[*vpc.NATGateway]{
		"nat-gateway-id": one(func(g *vpc.NATGateway) vpc.NATGatewayID { return g.ID }),
		"state":          one(func(g *vpc.NATGateway) vpc.NATState { return g.State }),
		"subnet-id":      one(func(g *vpc.NATGateway) vpc.SubnetID { return g.Subnet }),
		"vpc-id":         one(func(g *vpc.NATGateway) vpc.VPCID { return g.VPC }),
	},
}

func describeNatGateways(call *Call, in *DescribeNatGatewaysInput) (*DescribeNatGatewaysOutput, error) {
	v := call.View()
	get := func(id string) (*vpc.NATGateway, error) {
		return control.OwnedNATGateway(v, call.Caller, vpc.NATGatewayID(id))
	}
	list, next, err := describeOwned(call, v, natGatewayResource, in.IDs, in.Filters, in.Page, get)
	if err != nil {
		return nil, err
	}
	out := &DescribeNatGatewaysOutput{NextToken: next}
	for _, g := range list {
		out.NatGateways = append(out.NatGateways, renderNatGateway(g))
	}
	return out, nil
}

// DeleteNatGatewayInput is the input of DeleteNatGateway.
type DeleteNatGatewayInput struct {
	DryRun
	ID string `query:"NatGatewayId,required"`
}

// DeleteNatGatewayOutput is the output of DeleteNatGateway.
type DeleteNatGatewayOutput struct {
	ID string `xml:"natGatewayId"`
}

func deleteNatGateway(call *Call, in *DeleteNatGatewayInput) (*DeleteNatGatewayOutput, error) {
	if err := checkID(vpc.KindNATGateway, vpc.PrefixNATGateway, in.ID); err != nil {
		return nil, err
	}
	return &DeleteNatGatewayOutput{in.ID}, call.Control.DeleteNATGateway(call.Context, call.Caller, vpc.NATGatewayID(in.ID))
}
