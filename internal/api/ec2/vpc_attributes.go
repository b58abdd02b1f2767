// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DeleteVpc", true, deleteVpc)
	register("ModifyVpcAttribute", true, modifyVpcAttribute)
	register("DescribeVpcAttribute", false, describeVpcAttribute)
	register("AssociateVpcCidrBlock", true, associateVpcCidrBlock)
	register("DisassociateVpcCidrBlock", true, disassociateVpcCidrBlock)
}

// DeleteVpcInput is the input of DeleteVpc.
type DeleteVpcInput struct {
	DryRun
	VpcID string `query:"VpcId,required"`
}

func deleteVpc(call *Call, in *DeleteVpcInput) (*void, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteVPC(call.Context, call.Caller, vpc.VPCID(in.VpcID))
}

// ModifyVpcAttributeInput is the input of ModifyVpcAttribute.
type ModifyVpcAttributeInput struct {
	VpcID              string   `query:"VpcId,required"`
	EnableDNSHostnames *Boolean `query:"EnableDnsHostnames"`
	EnableDNSSupport   *Boolean `query:"EnableDnsSupport"`
	UsageMetrics       *Boolean `query:"EnableNetworkAddressUsageMetrics,stored"`
}

func modifyVpcAttribute(call *Call, in *ModifyVpcAttributeInput) (*void, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	err := oneAttribute(map[string]bool{
		"enableDnsHostnames": in.EnableDNSHostnames != nil, "enableDnsSupport": in.EnableDNSSupport != nil,
		"enableNetworkAddressUsageMetrics": in.UsageMetrics != nil,
	}, "enableDnsHostnames", "enableDnsSupport", "enableNetworkAddressUsageMetrics")
	if err != nil {
		return nil, err
	}
	value := func(b *Boolean) *bool {
		if b == nil {
			return nil
		}
		return &b.Value
	}
	return done, call.Control.ModifyVPC(call.Context, call.Caller, vpc.VPCID(in.VpcID), control.VPCChange{
		EnableDNSHostnames: value(in.EnableDNSHostnames), EnableDNSSupport: value(in.EnableDNSSupport), UsageMetrics: value(in.UsageMetrics),
	})
}

// DescribeVpcAttributeInput is the input of DescribeVpcAttribute.
type DescribeVpcAttributeInput struct {
	DryRun
	VpcID     string `query:"VpcId,required"`
	Attribute string `query:"Attribute,required,enum=enableDnsSupport|enableDnsHostnames|enableNetworkAddressUsageMetrics"`
}

// DescribeVpcAttributeOutput is the output of DescribeVpcAttribute; only what
// was asked for is set.
type DescribeVpcAttributeOutput struct {
	VpcID              string        `xml:"vpcId"`
	EnableDNSHostnames *BooleanValue `xml:"enableDnsHostnames"`
	EnableDNSSupport   *BooleanValue `xml:"enableDnsSupport"`
	UsageMetrics       *BooleanValue `xml:"enableNetworkAddressUsageMetrics"`
}

func describeVpcAttribute(call *Call, in *DescribeVpcAttributeInput) (*DescribeVpcAttributeOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	o, err := control.Owned[vpc.VPC](call.View(), call.Caller, in.VpcID)
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcAttributeOutput{VpcID: in.VpcID}
	switch in.Attribute {
	case "enableDnsSupport":
		out.EnableDNSSupport = &BooleanValue{o.EnableDNSSupport}
	case "enableDnsHostnames":
		out.EnableDNSHostnames = &BooleanValue{o.EnableDNSHostnames}
	default:
		out.UsageMetrics = &BooleanValue{o.UsageMetrics}
	}
	return out, nil
}

// AssociateVpcCidrBlockInput is the input of AssociateVpcCidrBlock.
type AssociateVpcCidrBlockInput struct {
	VpcID      string           `query:"VpcId,required"`
	CidrBlock  string           `query:"CidrBlock"`
	AmazonIPv6 bool             `query:"AmazonProvidedIpv6CidrBlock"`
	_          awsquery.Refused `query:"Ipv4IpamPoolId,refuse"`
	_          awsquery.Refused `query:"Ipv4NetmaskLength,refuse"`
	_          awsquery.Refused `query:"Ipv6CidrBlock,refuse"`
	_          awsquery.Refused `query:"Ipv6CidrBlockNetworkBorderGroup,refuse"`
	_          awsquery.Refused `query:"Ipv6IpamPoolId,refuse"`
	_          awsquery.Refused `query:"Ipv6NetmaskLength,refuse"`
	_          awsquery.Refused `query:"Ipv6Pool,refuse"`
}

// VpcCidrBlockOutput is the output of AssociateVpcCidrBlock and
// DisassociateVpcCidrBlock; one of the blocks is set.
type VpcCidrBlockOutput struct {
	VpcID     string       `xml:"vpcId"`
	Block     *VpcCidr     `xml:"cidrBlockAssociation"`
	IPv6Block *VpcIPv6Cidr `xml:"ipv6CidrBlockAssociation"`
}

// cidrBlockOutput shows a block of either family.
func cidrBlockOutput(call *Call, id string, a vpc.CIDRAssociation, state string) *VpcCidrBlockOutput {
	if a.CIDR.Addr().Is6() {
		b := vpcIPv6Cidr(call.View(), a, state)
		return &VpcCidrBlockOutput{VpcID: id, IPv6Block: &b}
	}
	return &VpcCidrBlockOutput{VpcID: id, Block: &VpcCidr{a.ID, a.CIDR.String(), CidrState{state}}}
}

func associateVpcCidrBlock(call *Call, in *AssociateVpcCidrBlockInput) (*VpcCidrBlockOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	amazon := ""
	if in.AmazonIPv6 {
		amazon = amazonIPv6Pool
	}
	if err := exactlyOne("block: cidrBlock or amazonProvidedIpv6CidrBlock", in.CidrBlock, amazon); err != nil {
		return nil, err
	}
	var a vpc.CIDRAssociation
	if in.AmazonIPv6 {
		var err error
		if a, err = call.Control.AssociateIPv6(call.Context, call.Caller, vpc.VPCID(in.VpcID)); err != nil {
			return nil, err
		}
		return cidrBlockOutput(call, in.VpcID, a, "associated"), nil
	}
	cidr, err := parseCIDR("cidrBlock", in.CidrBlock)
	if err != nil {
		return nil, err
	}
	if a, err = call.Control.AssociateCIDR(call.Context, call.Caller, vpc.VPCID(in.VpcID), cidr); err != nil {
		return nil, err
	}
	return cidrBlockOutput(call, in.VpcID, a, "associated"), nil
}

// DisassociateVpcCidrBlockInput is the input of DisassociateVpcCidrBlock.
type DisassociateVpcCidrBlockInput struct {
	AssociationID string `query:"AssociationId,required"`
}

func disassociateVpcCidrBlock(call *Call, in *DisassociateVpcCidrBlockInput) (*VpcCidrBlockOutput, error) {
	if err := checkID("cidr-block", vpc.PrefixCIDRAssoc, in.AssociationID); err != nil {
		return nil, err
	}
	id, a, err := call.Control.DisassociateCIDR(call.Context, call.Caller, in.AssociationID)
	if err != nil {
		return nil, err
	}
	return cidrBlockOutput(call, string(id), a, "disassociated"), nil
}
