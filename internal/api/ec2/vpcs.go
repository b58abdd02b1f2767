// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateVpc", true, createVpc)
	register("DescribeVpcs", false, describeVpcs)
}

// CreateVpcInput is the input of CreateVpc.
type CreateVpcInput struct {
	DryRun
	CidrBlock         string             `query:"CidrBlock,required"`
	InstanceTenancy   string             `query:"InstanceTenancy,stored,enum=default|dedicated"`
	AmazonIPv6        bool               `query:"AmazonProvidedIpv6CidrBlock"`
	TagSpecifications []TagSpecification `query:"TagSpecification"`
	_                 awsquery.Refused   `query:"Ipv6CidrBlock,refuse"`
	_                 awsquery.Refused   `query:"Ipv6Pool,refuse"`
	_                 awsquery.Refused   `query:"Ipv6CidrBlockNetworkBorderGroup,refuse"`
	_                 awsquery.Refused   `query:"Ipv4IpamPoolId,refuse"`
	_                 awsquery.Refused   `query:"Ipv4NetmaskLength,refuse"`
	_                 awsquery.Refused   `query:"Ipv6IpamPoolId,refuse"`
	_                 awsquery.Refused   `query:"Ipv6NetmaskLength,refuse"`
	_                 awsquery.Refused   `query:"VpcEncryptionControl,refuse"`
}

// Vpc is <Vpc>.
type Vpc struct {
	VpcID           string        `xml:"vpcId"`
	OwnerID         string        `xml:"ownerId"`
	State           string        `xml:"state"`
	CidrBlock       string        `xml:"cidrBlock"`
	Cidrs           []VpcCidr     `xml:"cidrBlockAssociationSet>item"`
	IPv6Cidrs       []VpcIPv6Cidr `xml:"ipv6CidrBlockAssociationSet>item"`
	DhcpOptionsID   string        `xml:"dhcpOptionsId"`
	InstanceTenancy string        `xml:"instanceTenancy"`
	IsDefault       bool          `xml:"isDefault"`
	Tags            []Tag         `xml:"tagSet>item"`
}

// VpcIPv6Cidr is one IPv6 block of a VPC.
type VpcIPv6Cidr struct {
	AssociationID string    `xml:"associationId"`
	CidrBlock     string    `xml:"ipv6CidrBlock"`
	State         CidrState `xml:"ipv6CidrBlockState"`
	BorderGroup   string    `xml:"networkBorderGroup"`
	Pool          string    `xml:"ipv6Pool"`
	Attribute     string    `xml:"ipv6AddressAttribute"`
	Source        string    `xml:"ipSource"`
}

// amazonIPv6Pool is AWS's name of the pool that blocks come from unless one has
// brought one's own.
const amazonIPv6Pool = "Amazon"

func vpcIPv6Cidr(v vpc.View, a vpc.CIDRAssociation, state string) VpcIPv6Cidr {
	return VpcIPv6Cidr{
		AssociationID: a.ID, CidrBlock: a.CIDR.String(), State: CidrState{state}, BorderGroup: control.RegionOf(v).Name,
		Pool: amazonIPv6Pool, Attribute: "public", Source: "amazon",
	}
}

// VpcCidr is one IPv4 block of a VPC.
type VpcCidr struct {
	AssociationID string    `xml:"associationId"`
	CidrBlock     string    `xml:"cidrBlock"`
	State         CidrState `xml:"cidrBlockState"`
}

// CidrState is the state of a block.
type CidrState struct {
	State string `xml:"state"`
}

// defaultTenancy is the tenancy that is stored as "".
const defaultTenancy = "default"

func tenancyName(stored string) string {
	if stored == "" {
		return defaultTenancy
	}
	return stored
}

// CreateVpcOutput is the output of CreateVpc.
type CreateVpcOutput struct {
	Vpc Vpc `xml:"vpc"`
}

func createVpc(call *Call, in *CreateVpcInput) (*CreateVpcOutput, error) {
	cidr, err := netip.ParsePrefix(in.CidrBlock)
	if err != nil {
		return nil, vpc.Errorf(vpc.Invalid, "cidrBlock", in.CidrBlock, "Value (%.64s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", in.CidrBlock)
	}
	tags, err := tagsFor(in.TagSpecifications, "vpc")
	if err != nil {
		return nil, err
	}
	tenancy := in.InstanceTenancy
	if tenancy == defaultTenancy {
		tenancy = ""
	}
	id, err := call.Control.CreateVPC(call.Context, call.Caller, control.CreateVPCInput{CIDR: cidr, IPv6: in.AmazonIPv6, Tenancy: tenancy, Tags: tags["vpc"]})
	if err != nil {
		return nil, err
	}
	v := call.View()
	o, err := control.Owned[vpc.VPC](v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateVpcOutput{Vpc: renderVpc(v, o)}, nil
}

// DescribeVpcsInput is the input of DescribeVpcs.
type DescribeVpcsInput struct {
	DryRun
	Page
	VpcIDs  []string `query:"VpcId"`
	Filters []Filter `query:"Filter"`
}

// DescribeVpcsOutput is the output of DescribeVpcs.
type DescribeVpcsOutput struct {
	Vpcs      []Vpc  `xml:"vpcSet>item"`
	NextToken string `xml:"nextToken,omitempty"`
}

var vpcResource = resource[*vpc.VPC]{
	prefix: vpc.PrefixVPC,
	tags:   func(o *vpc.VPC) vpc.Tags { return o.Tags },
	filters: filterSet[*vpc.VPC]{
		"vpc-id":                                one(func(o *vpc.VPC) vpc.VPCID { return o.ID }),
		"owner-id":                              one(func(o *vpc.VPC) vpc.AccountID { return o.Owner }),
		"state":                                 always[*vpc.VPC]("available"),
		"cidr":                                  one(func(o *vpc.VPC) string { return o.CIDRs[0].CIDR.String() }),
		"cidrBlock":                             one(func(o *vpc.VPC) string { return o.CIDRs[0].CIDR.String() }),
		"cidr-block":                            one(func(o *vpc.VPC) string { return o.CIDRs[0].CIDR.String() }), // what Ansible sends
		"cidr-block-association.cidr-block":     cidrFilter(ipv4Blocks, func(a vpc.CIDRAssociation) string { return a.CIDR.String() }),
		"cidr-block-association.association-id": cidrFilter(ipv4Blocks, func(a vpc.CIDRAssociation) string { return a.ID }),
		"cidr-block-association.state":          always[*vpc.VPC]("associated"),
		"dhcp-options-id":                       vpcDHCPOptions,
		"dhcpOptionsId":                         vpcDHCPOptions,
		"ipv6-cidr-block-association.ipv6-cidr-block": cidrFilter(ipv6Blocks, func(a vpc.CIDRAssociation) string { return a.CIDR.String() }),
		"ipv6-cidr-block-association.ipv6-pool":       cidrFilter(ipv6Blocks, func(vpc.CIDRAssociation) string { return amazonIPv6Pool }),
		"ipv6-cidr-block-association.association-id":  cidrFilter(ipv6Blocks, func(a vpc.CIDRAssociation) string { return a.ID }),
		"ipv6-cidr-block-association.state":           cidrFilter(ipv6Blocks, func(vpc.CIDRAssociation) string { return "associated" }),
		"is-default":                                  truth(func(o *vpc.VPC) bool { return o.Default }),
		"isDefault":                                   truth(func(o *vpc.VPC) bool { return o.Default }),
	},
}

func ipv4Blocks(o *vpc.VPC) []vpc.CIDRAssociation { return o.CIDRs }
func ipv6Blocks(o *vpc.VPC) []vpc.CIDRAssociation { return o.IPv6 }

// cidrFilter makes a filter of one property of a VPC's blocks of a family.
func cidrFilter(blocks func(*vpc.VPC) []vpc.CIDRAssociation, f func(vpc.CIDRAssociation) string) func(vpc.View, *vpc.VPC) []string {
	return func(_ vpc.View, o *vpc.VPC) []string {
		var out []string
		for _, a := range blocks(o) {
			out = append(out, f(a))
		}
		return out
	}
}

func vpcDHCPOptions(v vpc.View, o *vpc.VPC) []string {
	return []string{string(vpc.DHCPOptionsOf(control.RegionOf(v), o))}
}

func describeVpcs(call *Call, in *DescribeVpcsInput) (*DescribeVpcsOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, vpcResource, in.VpcIDs, in.Filters, in.Page, nil)
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcsOutput{NextToken: next}
	for _, o := range list {
		out.Vpcs = append(out.Vpcs, renderVpc(v, o))
	}
	return out, nil
}

func renderVpc(v vpc.View, o *vpc.VPC) Vpc {
	r := Vpc{
		VpcID: string(o.ID), OwnerID: string(o.Owner), State: "available",
		CidrBlock: o.CIDRs[0].CIDR.String(), DhcpOptionsID: string(vpc.DHCPOptionsOf(control.RegionOf(v), o)),
		InstanceTenancy: tenancyName(o.Tenancy), IsDefault: o.Default, Tags: tagList(o.Tags),
	}
	for _, c := range o.CIDRs {
		r.Cidrs = append(r.Cidrs, VpcCidr{c.ID, c.CIDR.String(), CidrState{"associated"}})
	}
	for _, c := range o.IPv6 {
		r.IPv6Cidrs = append(r.IPv6Cidrs, vpcIPv6Cidr(v, c, "associated"))
	}
	return r
}
