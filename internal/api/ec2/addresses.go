// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AllocateAddress", true, allocateAddress)
	register("DescribeAddresses", false, describeAddresses)
	register("AssociateAddress", true, associateAddress)
	register("DisassociateAddress", true, disassociateAddress)
	register("ReleaseAddress", true, releaseAddress)
	register("DescribeAddressesAttribute", false, describeAddressesAttribute)
}

// amazonPool is the name of the pool that is not a customer's own.
const amazonPool = "amazon"

// AllocateAddressInput is the input of AllocateAddress. Address asks for one
// address of the pool.
type AllocateAddressInput struct {
	DryRun
	Domain             string             `query:"Domain,enum=vpc"`
	Address            string             `query:"Address"`
	NetworkBorderGroup string             `query:"NetworkBorderGroup"`
	TagSpecifications  []TagSpecification `query:"TagSpecification"`
	_                  awsquery.Refused   `query:"PublicIpv4Pool,refuse,unless=amazon"`
	_                  awsquery.Refused   `query:"CustomerOwnedIpv4Pool,refuse"`
	_                  awsquery.Refused   `query:"IpamPoolId,refuse"`
}

// AllocateAddressOutput is the output of AllocateAddress.
type AllocateAddressOutput struct {
	AllocationID       string `xml:"allocationId"`
	PublicIP           string `xml:"publicIp"`
	PublicIPv4Pool     string `xml:"publicIpv4Pool"`
	NetworkBorderGroup string `xml:"networkBorderGroup"`
	Domain             string `xml:"domain"`
}

// Address is <Address>.
type Address struct {
	AllocationID       string `xml:"allocationId"`
	PublicIP           string `xml:"publicIp"`
	Domain             string `xml:"domain"`
	AssociationID      string `xml:"associationId,omitempty"`
	InstanceID         string `xml:"instanceId,omitempty"`
	NetworkInterfaceID string `xml:"networkInterfaceId,omitempty"`
	InterfaceOwnerID   string `xml:"networkInterfaceOwnerId,omitempty"`
	PrivateIP          string `xml:"privateIpAddress,omitempty"`
	PublicIPv4Pool     string `xml:"publicIpv4Pool"`
	NetworkBorderGroup string `xml:"networkBorderGroup"`
	Tags               []Tag  `xml:"tagSet>item"`
}

// publicIP reads a parameter that is a public address.
func publicIP(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, vpc.Errorf(vpc.Malformed, "public-address", s, "Invalid IP address: '%.64s'", s)
	}
	return a, nil
}

func checkAllocationID(id string) error {
	return checkID(vpc.KindElasticIP, vpc.PrefixAllocation, id)
}

func checkBorderGroup(call *Call, group string) error {
	if region := call.Control.Region().Name; group != "" && group != region {
		return vpc.Errorf(vpc.Invalid, "networkBorderGroup", group,
			"Value (%.64s) for parameter networkBorderGroup is invalid. The only network border group is the region, %s.", group, region)
	}
	return nil
}

func allocateAddress(call *Call, in *AllocateAddressInput) (*AllocateAddressOutput, error) {
	if err := checkBorderGroup(call, in.NetworkBorderGroup); err != nil {
		return nil, err
	}
	var want netip.Addr
	var err error
	if in.Address != "" {
		if want, err = publicIP(in.Address); err != nil {
			return nil, err
		}
	}
	tags, err := tagsFor(in.TagSpecifications, "elastic-ip")
	if err != nil {
		return nil, err
	}
	id, err := call.Control.AllocateAddress(call.Context, call.Caller, want, tags["elastic-ip"])
	if err != nil {
		return nil, err
	}
	e, err := control.OwnedAddress(call.View(), call.Caller, control.AddressRef{Allocation: id})
	if err != nil {
		return nil, err
	}
	return &AllocateAddressOutput{string(id), e.Addr.String(), amazonPool, call.Control.Region().Name, "vpc"}, nil
}

func renderAddress(v vpc.View, e *vpc.ElasticIP) Address {
	out := Address{
		AllocationID: string(e.ID), PublicIP: e.Addr.String(), Domain: "vpc", AssociationID: e.Association,
		PublicIPv4Pool: amazonPool, NetworkBorderGroup: control.RegionOf(v).Name, Tags: tagList(e.Tags),
	}
	if n, ok := vpc.Get[vpc.NetworkInterface](v, e.Interface); ok {
		out.NetworkInterfaceID, out.InterfaceOwnerID, out.PrivateIP = string(n.ID), string(n.Owner), n.Addr.String()
		if n.Attachment != nil {
			out.InstanceID = string(n.Attachment.Instance)
		}
	}
	return out
}

// DescribeAddressesInput is the input of DescribeAddresses, which has no pages.
type DescribeAddressesInput struct {
	DryRun
	AllocationIDs []string `query:"AllocationId"`
	PublicIPs     []string `query:"PublicIp"`
	Filters       []Filter `query:"Filter"`
}

// DescribeAddressesOutput is the output of DescribeAddresses.
type DescribeAddressesOutput struct {
	Addresses []Address `xml:"addressesSet>item"`
}

// addressFilter makes a filter of what is shown of an address.
func addressFilter(f func(Address) string) func(vpc.View, *vpc.ElasticIP) []string {
	return func(v vpc.View, e *vpc.ElasticIP) []string {
		if s := f(renderAddress(v, e)); s != "" {
			return []string{s}
		}
		return nil
	}
}

var addressResource = resource[*vpc.ElasticIP]{
	prefix: vpc.PrefixAllocation,
	tags:   func(e *vpc.ElasticIP) vpc.Tags { return e.Tags },
	filters: filterSet[*vpc.ElasticIP]{
		"allocation-id":              one(func(e *vpc.ElasticIP) vpc.AllocationID { return e.ID }),
		"association-id":             optional(func(e *vpc.ElasticIP) string { return e.Association }),
		"domain":                     always[*vpc.ElasticIP]("vpc"),
		"instance-id":                addressFilter(func(a Address) string { return a.InstanceID }),
		"network-border-group":       addressFilter(func(a Address) string { return a.NetworkBorderGroup }),
		"network-interface-id":       addressFilter(func(a Address) string { return a.NetworkInterfaceID }),
		"network-interface-owner-id": addressFilter(func(a Address) string { return a.InterfaceOwnerID }),
		"private-ip-address":         addressFilter(func(a Address) string { return a.PrivateIP }),
		"public-ip":                  one(func(e *vpc.ElasticIP) string { return e.Addr.String() }),
	},
}

// ownedAddress is describe's look-up of an allocation.
func ownedAddress(call *Call, v vpc.View) func(string) (*vpc.ElasticIP, error) {
	return func(id string) (*vpc.ElasticIP, error) {
		return control.OwnedAddress(v, call.Caller, control.AddressRef{Allocation: vpc.AllocationID(id)})
	}
}

func describeAddresses(call *Call, in *DescribeAddressesInput) (*DescribeAddressesOutput, error) {
	v := call.View()
	ids := in.AllocationIDs
	for _, s := range in.PublicIPs {
		a, err := publicIP(s)
		if err != nil {
			return nil, err
		}
		e, err := control.OwnedAddress(v, call.Caller, control.AddressRef{Public: a})
		if err != nil {
			return nil, err
		}
		ids = append(ids, string(e.ID))
	}
	out := &DescribeAddressesOutput{}
	for page := (Page{}); ; {
		list, next, err := describeOwned(call, v, addressResource, ids, in.Filters, page, ownedAddress(call, v))
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			out.Addresses = append(out.Addresses, renderAddress(v, e))
		}
		if page.NextToken = next; next == "" {
			return out, nil
		}
	}
}

// AssociateAddressInput is the input of AssociateAddress.
type AssociateAddressInput struct {
	DryRun
	AllocationID       string `query:"AllocationId"`
	PublicIP           string `query:"PublicIp"`
	InstanceID         string `query:"InstanceId"`
	NetworkInterfaceID string `query:"NetworkInterfaceId"`
	PrivateIP          string `query:"PrivateIpAddress"`
	AllowReassociation *bool  `query:"AllowReassociation"`
}

// AssociateAddressOutput is the output of AssociateAddress.
type AssociateAddressOutput struct {
	AssociationID string `xml:"associationId"`
}

func associateAddress(call *Call, in *AssociateAddressInput) (*AssociateAddressOutput, error) {
	if err := exactlyOne("address: allocationId or publicIp", in.AllocationID, in.PublicIP); err != nil {
		return nil, err
	}
	if err := exactlyOne("target: instanceId or networkInterfaceId", in.InstanceID, in.NetworkInterfaceID); err != nil {
		return nil, err
	}
	req := control.AssociateAddressInput{
		Address:  control.AddressRef{Allocation: vpc.AllocationID(in.AllocationID)},
		Instance: vpc.InstanceID(in.InstanceID), Interface: vpc.InterfaceID(in.NetworkInterfaceID),
		Exclusive: in.AllowReassociation != nil && !*in.AllowReassociation,
	}
	var err error
	if in.AllocationID != "" {
		err = checkAllocationID(in.AllocationID)
	} else {
		req.Address.Public, err = publicIP(in.PublicIP)
	}
	if err != nil {
		return nil, err
	}
	if in.InstanceID != "" {
		err = checkID(vpc.KindInstance, vpc.PrefixInstance, in.InstanceID)
	} else {
		err = checkID(vpc.KindInterface, vpc.PrefixInterface, in.NetworkInterfaceID)
	}
	if err != nil {
		return nil, err
	}
	if in.PrivateIP != "" {
		if req.Private, err = netip.ParseAddr(in.PrivateIP); err != nil {
			return nil, vpc.Errorf(vpc.Invalid, "privateIpAddress", in.PrivateIP, "Value (%.64s) for parameter privateIpAddress is invalid. Invalid IPv4 address.", in.PrivateIP)
		}
	}
	id, err := call.Control.AssociateAddress(call.Context, call.Caller, req)
	return &AssociateAddressOutput{id}, err
}

// DisassociateAddressInput is the input of DisassociateAddress. PublicIP is
// taken to be answered as AWS does: it named addresses outside of VPCs.
type DisassociateAddressInput struct {
	DryRun
	AssociationID string `query:"AssociationId"`
	PublicIP      string `query:"PublicIp"`
}

// classicAddress is the answer to a call that names an address as it was done
// outside of VPCs.
func classicAddress(call *Call, ip, needs string) error {
	a, err := publicIP(ip)
	if err != nil {
		return err
	}
	if _, err := control.OwnedAddress(call.View(), call.Caller, control.AddressRef{Public: a}); err != nil {
		return err
	}
	return vpc.Errorf(vpc.Invalid, "publicIp", ip, "You must specify an %s for the VPC address %s", needs, ip)
}

func disassociateAddress(call *Call, in *DisassociateAddressInput) (*void, error) {
	if err := exactlyOne("address: associationId or publicIp", in.AssociationID, in.PublicIP); err != nil {
		return nil, err
	}
	if in.PublicIP != "" {
		return nil, classicAddress(call, in.PublicIP, "association id")
	}
	if err := checkID("association", vpc.PrefixAddressAssoc, in.AssociationID); err != nil {
		return nil, err
	}
	return done, call.Control.DisassociateAddress(call.Context, call.Caller, in.AssociationID)
}

// ReleaseAddressInput is the input of ReleaseAddress; PublicIP is as for
// DisassociateAddress.
type ReleaseAddressInput struct {
	DryRun
	AllocationID       string `query:"AllocationId"`
	PublicIP           string `query:"PublicIp"`
	NetworkBorderGroup string `query:"NetworkBorderGroup"`
}

func releaseAddress(call *Call, in *ReleaseAddressInput) (*void, error) {
	if err := exactlyOne("address: allocationId or publicIp", in.AllocationID, in.PublicIP); err != nil {
		return nil, err
	}
	if err := checkBorderGroup(call, in.NetworkBorderGroup); err != nil {
		return nil, err
	}
	if in.PublicIP != "" {
		return nil, classicAddress(call, in.PublicIP, "allocation id")
	}
	if err := checkAllocationID(in.AllocationID); err != nil {
		return nil, err
	}
	return done, call.Control.ReleaseAddress(call.Context, call.Caller, vpc.AllocationID(in.AllocationID))
}

// DescribeAddressesAttributeInput is the input of DescribeAddressesAttribute.
type DescribeAddressesAttributeInput struct {
	DryRun
	Page
	AllocationIDs []string `query:"AllocationId"`
	Attribute     string   `query:"Attribute,enum=domain-name"`
}

// DescribeAddressesAttributeOutput is the output of DescribeAddressesAttribute.
type DescribeAddressesAttributeOutput struct {
	Addresses []AddressAttribute `xml:"addressSet>item"`
	NextToken string             `xml:"nextToken,omitempty"`
}

// AddressAttribute is <AddressAttribute>: no address has a reverse name of its own.
type AddressAttribute struct {
	AllocationID string `xml:"allocationId"`
	PublicIP     string `xml:"publicIp"`
}

func describeAddressesAttribute(call *Call, in *DescribeAddressesAttributeInput) (*DescribeAddressesAttributeOutput, error) {
	v := call.View()
	list, next, err := describeOwned(call, v, addressResource, in.AllocationIDs, nil, in.Page, ownedAddress(call, v))
	if err != nil {
		return nil, err
	}
	out := &DescribeAddressesAttributeOutput{NextToken: next}
	for _, e := range list {
		out.Addresses = append(out.Addresses, AddressAttribute{string(e.ID), e.Addr.String()})
	}
	return out, nil
}
