// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"strconv"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateSubnet", true, createSubnet)
	register("DescribeSubnets", false, describeSubnets)
	register("DeleteSubnet", true, deleteSubnet)
	register("ModifySubnetAttribute", true, modifySubnetAttribute)
	register("AssociateSubnetCidrBlock", true, associateSubnetCidrBlock)
	register("DisassociateSubnetCidrBlock", true, disassociateSubnetCidrBlock)
}

// CreateSubnetInput is the input of CreateSubnet.
type CreateSubnetInput struct {
	DryRun
	VpcID              string             `query:"VpcId,required"`
	CidrBlock          string             `query:"CidrBlock,required"`
	IPv6CidrBlock      string             `query:"Ipv6CidrBlock"`
	AvailabilityZone   string             `query:"AvailabilityZone"`
	AvailabilityZoneID string             `query:"AvailabilityZoneId"`
	TagSpecifications  []TagSpecification `query:"TagSpecification"`
	_                  awsquery.Refused   `query:"Ipv6Native,refuse,unless=false"`
	_                  awsquery.Refused   `query:"Ipv4IpamPoolId,refuse"`
	_                  awsquery.Refused   `query:"Ipv4NetmaskLength,refuse"`
	_                  awsquery.Refused   `query:"Ipv6IpamPoolId,refuse"`
	_                  awsquery.Refused   `query:"Ipv6NetmaskLength,refuse"`
	_                  awsquery.Refused   `query:"OutpostArn,refuse"`
}

// Subnet is <Subnet>.
type Subnet struct {
	SubnetID            string           `xml:"subnetId"`
	SubnetARN           string           `xml:"subnetArn"`
	State               string           `xml:"state"`
	OwnerID             string           `xml:"ownerId"`
	VpcID               string           `xml:"vpcId"`
	CidrBlock           string           `xml:"cidrBlock"`
	IPv6Cidrs           []SubnetIPv6Cidr `xml:"ipv6CidrBlockAssociationSet>item"`
	AvailableAddresses  int              `xml:"availableIpAddressCount"`
	AvailabilityZone    string           `xml:"availabilityZone"`
	AvailabilityZoneID  string           `xml:"availabilityZoneId"`
	DefaultForAz        bool             `xml:"defaultForAz"`
	MapPublicIPOnLaunch bool             `xml:"mapPublicIpOnLaunch"`
	AssignIPv6          bool             `xml:"assignIpv6AddressOnCreation"`
	EnableDNS64         bool             `xml:"enableDns64"`
	IPv6Native          bool             `xml:"ipv6Native"`
	PrivateDNSName      HostnameOptions  `xml:"privateDnsNameOptionsOnLaunch"`
	Tags                []Tag            `xml:"tagSet>item"`
}

// SubnetIPv6Cidr is the IPv6 block of a subnet.
type SubnetIPv6Cidr struct {
	AssociationID string    `xml:"associationId"`
	CidrBlock     string    `xml:"ipv6CidrBlock"`
	State         CidrState `xml:"ipv6CidrBlockState"`
	Attribute     string    `xml:"ipv6AddressAttribute"`
	Source        string    `xml:"ipSource"`
}

func subnetIPv6Cidr(a vpc.CIDRAssociation, state string) SubnetIPv6Cidr {
	return SubnetIPv6Cidr{AssociationID: a.ID, CidrBlock: a.CIDR.String(), State: CidrState{state}, Attribute: "public", Source: "amazon"}
}

// HostnameOptions is how an instance is named, or those of a subnet.
type HostnameOptions struct {
	HostnameType string `xml:"hostnameType"`
	A            bool   `xml:"enableResourceNameDnsARecord"`
	AAAA         bool   `xml:"enableResourceNameDnsAAAARecord"`
}

// CreateSubnetOutput is the output of CreateSubnet.
type CreateSubnetOutput struct {
	Subnet Subnet `xml:"subnet"`
}

// parseCIDR reads a parameter that is an IPv4 or IPv6 block.
func parseCIDR(parameter, value string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return p, vpc.Errorf(vpc.Invalid, parameter, value, "Value (%.64s) for parameter %s is invalid. This is not a valid CIDR block.", value, parameter)
	}
	return p, nil
}

func createSubnet(call *Call, in *CreateSubnetInput) (*CreateSubnetOutput, error) {
	if err := checkID(vpc.KindVPC, vpc.PrefixVPC, in.VpcID); err != nil {
		return nil, err
	}
	cidr, err := parseCIDR("cidrBlock", in.CidrBlock)
	if err != nil {
		return nil, err
	}
	var ipv6 netip.Prefix
	if in.IPv6CidrBlock != "" {
		if ipv6, err = parseCIDR("ipv6CidrBlock", in.IPv6CidrBlock); err != nil {
			return nil, err
		}
	}
	tags, err := tagsFor(in.TagSpecifications, "subnet")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.CreateSubnet(call.Context, call.Caller, control.CreateSubnetInput{
		VPC: vpc.VPCID(in.VpcID), CIDR: cidr, IPv6: ipv6, Zone: in.AvailabilityZone, ZoneID: in.AvailabilityZoneID, Tags: tags["subnet"],
	})
	return subnetMade(call, id, err)
}

// subnetMade answers a subnet that was made, or why it was not.
func subnetMade(call *Call, id vpc.SubnetID, err error) (*CreateSubnetOutput, error) {
	if err != nil {
		return nil, err
	}
	v := call.View()
	s, err := control.Owned[vpc.Subnet](v, call.Caller, id)
	if err != nil {
		return nil, err
	}
	return &CreateSubnetOutput{renderSubnet(v, s)}, nil
}

// DescribeSubnetsInput is the input of DescribeSubnets.
type DescribeSubnetsInput struct {
	DryRun
	Page
	SubnetIDs []string `query:"SubnetId"`
	Filters   []Filter `query:"Filter"`
}

// DescribeSubnetsOutput is the output of DescribeSubnets.
type DescribeSubnetsOutput struct {
	Subnets   []Subnet `xml:"subnetSet>item"`
	NextToken string   `xml:"nextToken,omitempty"`
}

// Filters whose answer is the same for every object, and none at all.
func always[T any](s string) func(vpc.View, T) []string {
	one := []string{s}
	return func(vpc.View, T) []string { return one }
}

func never[T any](vpc.View, T) []string { return nil }

// one makes a filter of a function without a view.
func one[T any, S ~string](f func(T) S) func(vpc.View, T) []string {
	return func(_ vpc.View, o T) []string { return []string{string(f(o))} }
}

// truth makes a filter of a boolean.
func truth[T any](f func(T) bool) func(vpc.View, T) []string {
	return func(_ vpc.View, o T) []string { return []string{strconv.FormatBool(f(o))} }
}

func subnetARN(v vpc.View, s *vpc.Subnet) string {
	return control.RegionOf(v).ARN("ec2", s.Owner, "subnet/"+string(s.ID))
}

func availabilityZoneID(v vpc.View, s *vpc.Subnet) []string {
	return []string{control.RegionOf(v).ZoneID(s.Zone)}
}

func freeAddressCount(v vpc.View, s *vpc.Subnet) []string {
	return []string{strconv.Itoa(control.FreeAddresses(v, s))}
}

// ipv6BlockFilter makes a filter of a subnet's IPv6 block.
func ipv6BlockFilter(f func(SubnetIPv6Cidr) string) func(vpc.View, *vpc.Subnet) []string {
	return func(_ vpc.View, s *vpc.Subnet) []string {
		if !s.HasIPv6() {
			return nil
		}
		return []string{f(subnetIPv6Cidr(s.IPv6, "associated"))}
	}
}

var subnetResource = resource[*vpc.Subnet]{
	prefix: vpc.PrefixSubnet,
	tags:   func(s *vpc.Subnet) vpc.Tags { return s.Tags },
	filters: filterSet[*vpc.Subnet]{
		"availability-zone":          one(func(s *vpc.Subnet) string { return s.Zone }),
		"availabilityZone":           one(func(s *vpc.Subnet) string { return s.Zone }),
		"availability-zone-id":       availabilityZoneID,
		"availabilityZoneId":         availabilityZoneID,
		"available-ip-address-count": freeAddressCount,
		"cidr":                       one(func(s *vpc.Subnet) string { return s.CIDR.String() }),
		"cidrBlock":                  one(func(s *vpc.Subnet) string { return s.CIDR.String() }),
		"cidr-block":                 one(func(s *vpc.Subnet) string { return s.CIDR.String() }),
		"customer-owned-ipv4-pool":   never[*vpc.Subnet],
		"default-for-az":             truth(func(s *vpc.Subnet) bool { return s.DefaultForAZ }),
		"defaultForAz":               truth(func(s *vpc.Subnet) bool { return s.DefaultForAZ }),
		"enable-dns64":               always[*vpc.Subnet]("false"),
		"enable-lni-at-device-index": never[*vpc.Subnet],
		"ipv6-cidr-block-association.ipv6-cidr-block":      ipv6BlockFilter(func(a SubnetIPv6Cidr) string { return a.CidrBlock }),
		"ipv6-cidr-block-association.association-id":       ipv6BlockFilter(func(a SubnetIPv6Cidr) string { return a.AssociationID }),
		"ipv6-cidr-block-association.state":                ipv6BlockFilter(func(a SubnetIPv6Cidr) string { return a.State.State }),
		"ipv6-native":                                      always[*vpc.Subnet]("false"),
		"map-customer-owned-ip-on-launch":                  always[*vpc.Subnet]("false"),
		"map-public-ip-on-launch":                          truth(func(s *vpc.Subnet) bool { return s.MapPublicIPOnLaunch }),
		"outpost-arn":                                      never[*vpc.Subnet],
		"owner-id":                                         one(func(s *vpc.Subnet) vpc.AccountID { return s.Owner }),
		"private-dns-name-options-on-launch.hostname-type": one(func(s *vpc.Subnet) string { return s.Hostname() }),
		"private-dns-name-options-on-launch.enable-resource-name-dns-a-record":    truth(func(s *vpc.Subnet) bool { return s.ResourceNameA }),
		"private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": truth(func(s *vpc.Subnet) bool { return s.ResourceNameAAAA }),
		"state":      always[*vpc.Subnet]("available"),
		"subnet-arn": func(v vpc.View, s *vpc.Subnet) []string { return []string{subnetARN(v, s)} },
		"subnet-id":  one(func(s *vpc.Subnet) vpc.SubnetID { return s.ID }),
		"vpc-id":     one(func(s *vpc.Subnet) vpc.VPCID { return s.VPC }),
	},
}

func describeSubnets(call *Call, in *DescribeSubnetsInput) (*DescribeSubnetsOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, subnetResource, in.SubnetIDs, in.Filters, in.Page, nil)
	if err != nil {
		return nil, err
	}
	out := &DescribeSubnetsOutput{NextToken: next}
	for _, s := range list {
		out.Subnets = append(out.Subnets, renderSubnet(v, s))
	}
	return out, nil
}

func renderSubnet(v vpc.View, s *vpc.Subnet) Subnet {
	out := Subnet{
		SubnetID: string(s.ID), SubnetARN: subnetARN(v, s), State: "available", OwnerID: string(s.Owner), VpcID: string(s.VPC),
		CidrBlock: s.CIDR.String(), AvailableAddresses: control.FreeAddresses(v, s),
		AvailabilityZone: s.Zone, AvailabilityZoneID: control.RegionOf(v).ZoneID(s.Zone),
		DefaultForAz: s.DefaultForAZ, MapPublicIPOnLaunch: s.MapPublicIPOnLaunch, AssignIPv6: s.AssignIPv6,
		PrivateDNSName: renderHostname(s.HostnameOptions), Tags: tagList(s.Tags),
	}
	if s.HasIPv6() {
		out.IPv6Cidrs = []SubnetIPv6Cidr{subnetIPv6Cidr(s.IPv6, "associated")}
	}
	return out
}

func renderHostname(o vpc.HostnameOptions) HostnameOptions {
	return HostnameOptions{HostnameType: o.Hostname(), A: o.ResourceNameA, AAAA: o.ResourceNameAAAA}
}

// DeleteSubnetInput is the input of DeleteSubnet.
type DeleteSubnetInput struct {
	DryRun
	SubnetID string `query:"SubnetId,required"`
}

func deleteSubnet(call *Call, in *DeleteSubnetInput) (*void, error) {
	if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetID); err != nil {
		return nil, err
	}
	return done, call.Control.DeleteSubnet(call.Context, call.Caller, vpc.SubnetID(in.SubnetID))
}

// Boolean is an attribute's new value.
type Boolean struct {
	Value bool `query:"Value"`
}

// refusedUnlessFalse refuses an attribute unless it is set to what it is anyway.
type refusedUnlessFalse struct {
	_ awsquery.Refused `query:"Value,refuse,unless=false"`
}

// ModifySubnetAttributeInput is the input of ModifySubnetAttribute: one attribute per call.
type ModifySubnetAttributeInput struct {
	SubnetID            string              `query:"SubnetId,required"`
	MapPublicIPOnLaunch *Boolean            `query:"MapPublicIpOnLaunch,stored"`
	A                   *Boolean            `query:"EnableResourceNameDnsARecordOnLaunch"`
	HostnameType        *string             `query:"PrivateDnsHostnameTypeOnLaunch,enum=ip-name|resource-name"`
	AssignIPv6          *Boolean            `query:"AssignIpv6AddressOnCreation"`
	EnableDNS64         *refusedUnlessFalse `query:"EnableDns64"`
	AAAA                *Boolean            `query:"EnableResourceNameDnsAAAARecordOnLaunch"`
	MapCustomerOwned    *refusedUnlessFalse `query:"MapCustomerOwnedIpOnLaunch"`
	DisableLni          *refusedUnlessFalse `query:"DisableLniAtDeviceIndex"`
	_                   awsquery.Refused    `query:"CustomerOwnedIpv4Pool,refuse"`
	_                   awsquery.Refused    `query:"EnableLniAtDeviceIndex,refuse"`
}

func modifySubnetAttribute(call *Call, in *ModifySubnetAttributeInput) (*void, error) {
	if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetID); err != nil {
		return nil, err
	}
	err := oneAttribute(map[string]bool{
		"assignIpv6AddressOnCreation": in.AssignIPv6 != nil, "disableLniAtDeviceIndex": in.DisableLni != nil, "enableDns64": in.EnableDNS64 != nil,
		"enableResourceNameDnsAAAARecordOnLaunch": in.AAAA != nil, "enableResourceNameDnsARecordOnLaunch": in.A != nil,
		"mapCustomerOwnedIpOnLaunch": in.MapCustomerOwned != nil, "mapPublicIpOnLaunch": in.MapPublicIPOnLaunch != nil,
		"privateDnsHostnameTypeOnLaunch": in.HostnameType != nil,
	}, "assignIpv6AddressOnCreation", "disableLniAtDeviceIndex", "enableDns64", "enableResourceNameDnsAAAARecordOnLaunch",
		"enableResourceNameDnsARecordOnLaunch", "mapCustomerOwnedIpOnLaunch", "mapPublicIpOnLaunch", "privateDnsHostnameTypeOnLaunch")
	if err != nil {
		return nil, err
	}
	// What was refused unless it is false is false anyway: nothing changes.
	ch := control.SubnetChange{Hostname: control.HostnameChange{Type: in.HostnameType}}
	if in.AssignIPv6 != nil {
		ch.AssignIPv6 = &in.AssignIPv6.Value
	}
	if in.MapPublicIPOnLaunch != nil {
		ch.MapPublicIP = &in.MapPublicIPOnLaunch.Value
	}
	if in.A != nil {
		ch.Hostname.A = &in.A.Value
	}
	if in.AAAA != nil {
		ch.Hostname.AAAA = &in.AAAA.Value
	}
	return done, call.Control.ModifySubnet(call.Context, call.Caller, vpc.SubnetID(in.SubnetID), ch)
}

// AssociateSubnetCidrBlockInput is the input of AssociateSubnetCidrBlock.
type AssociateSubnetCidrBlockInput struct {
	SubnetID      string           `query:"SubnetId,required"`
	IPv6CidrBlock string           `query:"Ipv6CidrBlock,required"`
	_             awsquery.Refused `query:"Ipv6IpamPoolId,refuse"`
	_             awsquery.Refused `query:"Ipv6NetmaskLength,refuse"`
}

// SubnetCidrBlockOutput is the output of AssociateSubnetCidrBlock and
// DisassociateSubnetCidrBlock.
type SubnetCidrBlockOutput struct {
	SubnetID string         `xml:"subnetId"`
	Block    SubnetIPv6Cidr `xml:"ipv6CidrBlockAssociation"`
}

func associateSubnetCidrBlock(call *Call, in *AssociateSubnetCidrBlockInput) (*SubnetCidrBlockOutput, error) {
	if err := checkID(vpc.KindSubnet, vpc.PrefixSubnet, in.SubnetID); err != nil {
		return nil, err
	}
	p, err := parseCIDR("ipv6CidrBlock", in.IPv6CidrBlock)
	if err != nil {
		return nil, err
	}
	a, err := call.Control.AssociateSubnetIPv6(call.Context, call.Caller, vpc.SubnetID(in.SubnetID), p)
	if err != nil {
		return nil, err
	}
	return &SubnetCidrBlockOutput{in.SubnetID, subnetIPv6Cidr(a, "associated")}, nil
}

// DisassociateSubnetCidrBlockInput is the input of DisassociateSubnetCidrBlock.
type DisassociateSubnetCidrBlockInput struct {
	AssociationID string `query:"AssociationId,required"`
}

func disassociateSubnetCidrBlock(call *Call, in *DisassociateSubnetCidrBlockInput) (*SubnetCidrBlockOutput, error) {
	if err := checkID("subnet-cidr-block", vpc.PrefixSubnetCIDRAssoc, in.AssociationID); err != nil {
		return nil, err
	}
	id, a, err := call.Control.DisassociateSubnetIPv6(call.Context, call.Caller, in.AssociationID)
	if err != nil {
		return nil, err
	}
	return &SubnetCidrBlockOutput{string(id), subnetIPv6Cidr(a, "disassociated")}, nil
}
