// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/control/controltest"
)

// client is the SDK's client of a server for the consumer.
func (a *netAPI) client() *awsec2.Client {
	a.t.Helper()
	url := apitest.Serve(a.t, &ec2.Actions, awsquery.Parse, a.c, controltest.Consumer)
	return awsec2.New(awsec2.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(), RetryMaxAttempts: 1, Credentials: apitest.Keys(),
	})
}

func (a *netAPI) igw(vpcID string) string {
	a.t.Helper()
	id := a.do("CreateInternetGateway").one("internetGateway/internetGatewayId")
	if vpcID != "" {
		a.do("AttachInternetGateway", "InternetGatewayId", id, "VpcId", vpcID)
	}
	return id
}

func (a *netAPI) eip() (id, addr string) {
	a.t.Helper()
	x := a.do("AllocateAddress", "Domain", "vpc")
	return x.one("allocationId"), x.one("publicIp")
}

// tagSpec is a TagSpecification with one tag.
func tagSpec(resource, key, value string) []string {
	const p = "TagSpecification.1."
	return []string{p + "ResourceType", resource, p + "Tag.1.Key", key, p + "Tag.1.Value", value}
}

func TestInternetGateways(t *testing.T) {
	a := newNetAPI(t)
	v, w := a.vpc("10.0.0.0/16"), a.vpc("10.1.0.0/16")
	made := a.do("CreateInternetGateway", tagSpec("internet-gateway", "Name", "door")...)
	id := made.one("internetGateway/internetGatewayId")
	equal(t, "the owner and tag", made.one("internetGateway/ownerId")+made.one("internetGateway/tagSet/item/value"), "111111111111door")
	a.refused("InvalidParameterValue", "CreateInternetGateway", tagSpec("vpc", "a", "b")...)
	a.refused("DryRunOperation", "CreateInternetGateway", "DryRun", "true")

	both := []string{"InternetGatewayId", id, "VpcId", v}
	a.refused("DryRunOperation", "AttachInternetGateway", append(both, "DryRun", "true")...)
	equal(t, "the text", a.refused("Gateway.NotAttached", "DetachInternetGateway", both...), "resource "+id+" is not attached to network "+v)
	a.do("AttachInternetGateway", both...)
	d := a.do("DescribeInternetGateways", "InternetGatewayId.1", id)
	equal(t, "the attachment", d.one("internetGatewaySet/item/attachmentSet/item/vpcId")+d.one("internetGatewaySet/item/attachmentSet/item/state"), v+"available")
	equal(t, "the text", a.refused("Resource.AlreadyAssociated", "AttachInternetGateway", "InternetGatewayId", id, "VpcId", w), "resource "+id+" is already attached to network "+v)
	a.refused("Resource.AlreadyAssociated", "AttachInternetGateway", both...)
	other := a.igw("")
	equal(t, "the text", a.refused("InvalidParameterValue", "AttachInternetGateway", "InternetGatewayId", other, "VpcId", v), "Network "+v+" already has an internet gateway attached")
	a.refused("Gateway.NotAttached", "DetachInternetGateway", "InternetGatewayId", id, "VpcId", w)
	equal(t, "the text", a.refused("DependencyViolation", "DeleteInternetGateway", "InternetGatewayId", id), "The internetGateway '"+id+"' has dependencies and cannot be deleted.")
	equal(t, "the text", a.refused("DependencyViolation", "DeleteVpc", "VpcId", v), "The vpc '"+v+"' has dependencies and cannot be deleted.")

	// A mapped public address holds it.
	alloc, _ := a.eip()
	assoc := a.do("AssociateAddress", "AllocationId", alloc, "NetworkInterfaceId", a.eni(a.subnet(v, "10.0.1.0/24"))).one("associationId")
	equal(t, "the text", a.refused("DependencyViolation", "DetachInternetGateway", both...),
		"Network "+v+" has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.")
	a.do("DisassociateAddress", "AssociationId", assoc)
	a.do("DetachInternetGateway", both...)
	equalLists(t, "the attachments", a.do("DescribeInternetGateways", "InternetGatewayId.1", id).all("internetGatewaySet/item/attachmentSet/item"), nil)
	a.do("DeleteInternetGateway", "InternetGatewayId", id)

	for action, more := range map[string][]string{"AttachInternetGateway": {"VpcId", v}, "DetachInternetGateway": {"VpcId", v}, "DeleteInternetGateway": nil} {
		a.refused("InvalidInternetGatewayID.NotFound", action, append([]string{"InternetGatewayId", id}, more...)...)
		a.refused("InvalidInternetGatewayId.Malformed", action, append([]string{"InternetGatewayId", "igw-x"}, more...)...)
		a.refusedAs(controltest.Provider, "InvalidInternetGatewayID.NotFound", action, append([]string{"InternetGatewayId", other}, more...)...)
	}
	a.refused("InvalidVpcID.NotFound", "AttachInternetGateway", "InternetGatewayId", other, "VpcId", "vpc-00000000000000001")
	a.refused("InvalidVpcID.Malformed", "AttachInternetGateway", "InternetGatewayId", other, "VpcId", "v")
	a.refused("InvalidInternetGatewayID.NotFound", "DescribeInternetGateways", "InternetGatewayId.1", id)
	a.refused("InvalidInternetGatewayId.Malformed", "DescribeInternetGateways", "InternetGatewayId.1", "x")
	a.refusedAs(controltest.Provider, "InvalidInternetGatewayID.NotFound", "DescribeInternetGateways", "InternetGatewayId.1", other)
	for range 4 {
		a.igw("")
	}
	a.refused("InternetGatewayLimitExceeded", "CreateInternetGateway")
}

func TestElasticIPs(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	n, m := a.eni(s), a.eni(s)
	x := a.do("AllocateAddress", append(tagSpec("elastic-ip", "Name", "nat"), "NetworkBorderGroup", "us-east-1", "PublicIpv4Pool", "amazon")...)
	alloc, addr := x.one("allocationId"), x.one("publicIp")
	equal(t, "the rest", x.one("publicIpv4Pool")+x.one("networkBorderGroup")+x.one("domain"), "amazonus-east-1vpc")
	equal(t, "the address", addr, "192.0.2.1")
	d := a.do("DescribeAddresses", "PublicIp.1", addr)
	equal(t, "the address described", d.one("addressesSet/item/allocationId")+d.one("addressesSet/item/tagSet/item/value")+d.one("addressesSet/item/associationId"), alloc+"nat")
	at := a.do("DescribeAddressesAttribute", "AllocationId.1", alloc, "Attribute", "domain-name")
	equal(t, "its attribute", at.one("addressSet/item/publicIp")+at.one("addressSet/item/allocationId"), addr+alloc)

	to := []string{"AllocationId", alloc, "NetworkInterfaceId", n}
	equal(t, "the text", a.refused("Gateway.NotAttached", "AssociateAddress", to...), "Network "+v+" is not attached to any internet gateway")
	a.igw(v)
	a.refused("DryRunOperation", "AssociateAddress", append(to, "DryRun", "true")...)
	assoc := a.do("AssociateAddress", to...).one("associationId")
	equal(t, "the same association again", a.do("AssociateAddress", append(to, "AllowReassociation", "false")...).one("associationId"), assoc)

	// Seen from everywhere.
	d = a.do("DescribeAddresses", "AllocationId.1", alloc)
	equal(t, "the association", strings.Join([]string{d.one("addressesSet/item/associationId"), d.one("addressesSet/item/networkInterfaceId"),
		d.one("addressesSet/item/networkInterfaceOwnerId"), d.one("addressesSet/item/privateIpAddress")}, " "), assoc+" "+n+" 111111111111 10.0.1.4")
	i := a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", n)
	for _, p := range []string{"networkInterfaceSet/item/association/", "networkInterfaceSet/item/privateIpAddressesSet/item/association/"} {
		equal(t, p, strings.Join([]string{i.one(p + "allocationId"), i.one(p + "associationId"), i.one(p + "ipOwnerId"), i.one(p + "publicIp"), i.one(p + "publicDnsName")}, " "),
			alloc+" "+assoc+" 111111111111 "+addr+" ")
	}
	a.do("ModifyVpcAttribute", "VpcId", v, "EnableDnsHostnames.Value", "true")
	i = a.do("DescribeNetworkInterfaces", "Filter.1.Name", "association.public-dns-name", "Filter.1.Value.1", "ec2-192-0-2-1.*")
	equal(t, "the public name", i.one("networkInterfaceSet/item/publicDnsName"), "ec2-192-0-2-1.compute-1.amazonaws.com")

	// From one to another, and back by the address.
	other, _ := a.eip()
	equal(t, "the text", a.refused("Resource.AlreadyAssociated", "AssociateAddress", "AllocationId", alloc, "NetworkInterfaceId", m, "AllowReassociation", "false"),
		"resource "+alloc+" is already associated with associate-id "+assoc)
	a.refused("Resource.AlreadyAssociated", "AssociateAddress", "AllocationId", other, "NetworkInterfaceId", n, "AllowReassociation", "false")
	moved := a.do("AssociateAddress", "PublicIp", addr, "NetworkInterfaceId", m).one("associationId")
	if moved == assoc || moved == "" {
		t.Errorf("the association of another interface is %q, before it was %q", moved, assoc)
	}
	a.refused("InvalidAssociationID.NotFound", "DisassociateAddress", "AssociationId", assoc)
	equal(t, "the text", a.refused("InvalidIPAddress.InUse", "ReleaseAddress", "AllocationId", alloc), "Address "+addr+" is in use.")
	// An interface has one address: the new one drives the old one out.
	a.do("AssociateAddress", "AllocationId", other, "NetworkInterfaceId", m)
	equal(t, "what was driven out", a.do("DescribeAddresses", "AllocationId.1", alloc).one("addressesSet/item/associationId"), "")
	a.do("ReleaseAddress", "AllocationId", alloc)

	a.refused("InvalidParameterValue", "AssociateAddress", "AllocationId", other, "NetworkInterfaceId", m, "PrivateIpAddress", "10.0.1.99")
	a.refused("InvalidParameterValue", "AssociateAddress", "AllocationId", other, "NetworkInterfaceId", m, "PrivateIpAddress", "x")
	a.refused("MissingParameter", "AssociateAddress", "AllocationId", other)
	a.refused("InvalidParameterCombination", "AssociateAddress", "AllocationId", other, "NetworkInterfaceId", m, "InstanceId", "i-00000000000000001")
	a.refused("MissingParameter", "AssociateAddress", "NetworkInterfaceId", m)
	a.refused("InvalidNetworkInterfaceID.NotFound", "AssociateAddress", "AllocationId", other, "NetworkInterfaceId", "eni-00000000000000001")
	a.refused("InvalidInstanceID.NotFound", "AssociateAddress", "AllocationId", other, "InstanceId", "i-00000000000000001")
	a.refused("InvalidInstanceID.Malformed", "AssociateAddress", "AllocationId", other, "InstanceId", "x")
	managed := a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private").one("natGateway/natGatewayAddressSet/item/networkInterfaceId")
	equal(t, "the text", a.refused("AuthFailure", "AssociateAddress", "AllocationId", other, "NetworkInterfaceId", managed), "You do not have permission to access the specified resource.")

	for _, action := range []string{"AssociateAddress", "ReleaseAddress", "DescribeAddresses", "DescribeAddressesAttribute"} {
		p := "AllocationId"
		if strings.HasPrefix(action, "Describe") {
			p += ".1"
		}
		more := []string{}
		if action == "AssociateAddress" {
			more = []string{"NetworkInterfaceId", n}
		}
		a.refused("InvalidAllocationID.NotFound", action, append([]string{p, alloc}, more...)...)
		a.refused("InvalidAllocationID.NotFound", action, append([]string{p, "x"}, more...)...)
		a.refusedAs(controltest.Provider, "InvalidAllocationID.NotFound", action, append([]string{p, other}, more...)...)
	}
	a.refused("InvalidAddress.NotFound", "DescribeAddresses", "PublicIp.1", "192.0.2.200")
	a.refused("InvalidAddress.Malformed", "DescribeAddresses", "PublicIp.1", "2001:db8::1")
	a.refused("InvalidAssociationID.Malformed", "DisassociateAddress", "AssociationId", "x")
	a.refused("MissingParameter", "DisassociateAddress")
	a.refused("InvalidParameterCombination", "ReleaseAddress", "AllocationId", other, "PublicIp", "192.0.2.2")
	// The way of EC2-Classic is answered as AWS does.
	a.refused("InvalidParameterValue", "ReleaseAddress", "PublicIp", "192.0.2.2")
	a.refused("InvalidParameterValue", "DisassociateAddress", "PublicIp", "192.0.2.2")
	a.refusedAs(controltest.Provider, "InvalidAddress.NotFound", "ReleaseAddress", "PublicIp", "192.0.2.2")
	for _, pairs := range [][]string{{"Domain", "standard"}, {"NetworkBorderGroup", "us-east-1-wl1"}} {
		a.refused("InvalidParameterValue", "AllocateAddress", pairs...)
	}
	a.refused("UnsupportedOperation", "AllocateAddress", "PublicIpv4Pool", "ipv4pool-ec2-1")
	equal(t, "the address asked for", a.do("AllocateAddress", "Address", "192.0.2.77").one("publicIp"), "192.0.2.77")
	a.refusedAs(controltest.Provider, "InvalidAddress.NotFound", "AllocateAddress", "Address", "192.0.2.77")
	for range 3 {
		a.eip()
	}
	a.refused("AddressLimitExceeded", "AllocateAddress")
}

func TestAnInstanceShowsItsElasticIP(t *testing.T) {
	a := newNetAPI(t)
	v := a.do("CreateDefaultVpc").one("vpc/vpcId")
	alloc, addr := a.eip()
	run := a.do("RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "Placement.AvailabilityZone", "us-east-1b", "SecurityGroup.1", "default")
	id := run.one("instancesSet/item/instanceId")
	equal(t, "the VPC and zone of a launch without a subnet", run.one("instancesSet/item/vpcId")+run.one("instancesSet/item/placement/availabilityZone"), v+"us-east-1b")
	assoc := a.do("AssociateAddress", "AllocationId", alloc, "InstanceId", id).one("associationId")
	for name, value := range map[string]string{
		"ip-address": addr, "dns-name": "ec2-192-0-2-1.compute-1.amazonaws.com", "network-interface.association.public-ip": addr,
		"network-interface.association.allocation-id": alloc, "network-interface.association.association-id": assoc,
		"network-interface.association.ip-owner-id": "111111111111", "network-interface.addresses.association.public-ip": addr,
	} {
		d := a.do("DescribeInstances", "Filter.1.Name", name, "Filter.1.Value.1", value)
		const i = "reservationSet/item/instancesSet/item/"
		equal(t, "the addresses by "+name, d.one(i+"ipAddress")+" "+d.one(i+"dnsName")+" "+d.one(i+"networkInterfaceSet/item/association/publicIp"),
			addr+" ec2-192-0-2-1.compute-1.amazonaws.com "+addr)
	}
	equal(t, "the instance of the address", a.do("DescribeAddresses", "Filter.1.Name", "instance-id", "Filter.1.Value.1", id).one("addressesSet/item/instanceId"), id)
	a.do("DisassociateAddress", "AssociationId", assoc)
	equalLists(t, "instances with the address", a.do("DescribeInstances", "Filter.1.Name", "ip-address", "Filter.1.Value.1", addr).all("reservationSet/item"), nil)
}

func TestNatGateways(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	alloc, addr := a.eip()
	create := append(tagSpec("natgateway", "Name", "out"), "SubnetId", s, "AllocationId", alloc, "ClientToken", "one")

	// What AWS finds out after its answer makes a failed gateway, here too.
	failed := a.do("CreateNatGateway", "SubnetId", s, "AllocationId", alloc)
	equal(t, "the failure", failed.one("natGateway/state")+" "+failed.one("natGateway/failureCode")+" "+failed.one("natGateway/failureMessage"),
		"failed Gateway.NotAttached Network "+v+" has no Internet gateway attached")
	gw := a.igw(v)
	made := a.do("CreateNatGateway", create...)
	id := made.one("natGateway/natGatewayId")
	const addrs = "natGateway/natGatewayAddressSet/item/"
	eni := made.one(addrs + "networkInterfaceId")
	equal(t, "the gateway", strings.Join([]string{made.one("clientToken"), made.one("natGateway/state"), made.one("natGateway/connectivityType"), made.one("natGateway/vpcId"),
		made.one("natGateway/subnetId"), made.one("natGateway/availabilityMode"), made.one("natGateway/createTime"), made.one("natGateway/deleteTime"), made.one("natGateway/tagSet/item/value")}, " "),
		"one available public "+v+" "+s+" zonal 2026-01-02T03:04:05.000Z  out")
	equal(t, "its address", strings.Join([]string{made.one(addrs + "allocationId"), made.one(addrs + "publicIp"), made.one(addrs + "privateIp"), made.one(addrs + "isPrimary"), made.one(addrs + "status")}, " "),
		alloc+" "+addr+" 10.0.1.4 true succeeded")
	equal(t, "the gateway of the same call", a.do("CreateNatGateway", create...).one("natGateway/natGatewayId"), id)
	a.refused("IdempotentParameterMismatch", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private", "ClientToken", "one")
	equal(t, "the failure of a second one", a.do("CreateNatGateway", "SubnetId", s, "AllocationId", alloc).one("natGateway/failureCode"), "Resource.AlreadyAssociated")

	n := a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", eni)
	const i = "networkInterfaceSet/item/"
	equal(t, "its interface", strings.Join([]string{n.one(i + "interfaceType"), n.one(i + "description"), n.one(i + "requesterManaged"), n.one(i + "status"),
		n.one(i + "sourceDestCheck"), n.one(i + "association/publicIp"), n.one(i + "attachment/instanceOwnerId")}, "|"),
		"nat_gateway|Interface for NAT Gateway "+id+"|true|in-use|false|"+addr+"|amazon-aws")
	a.refused("OperationNotPermitted", "DeleteNetworkInterface", "NetworkInterfaceId", eni)
	equal(t, "the text", a.refused("DependencyViolation", "DeleteSubnet", "SubnetId", s), "The subnet '"+s+"' has dependencies and cannot be deleted.")
	a.refused("DependencyViolation", "DetachInternetGateway", "InternetGatewayId", gw, "VpcId", v)
	a.refused("InvalidIPAddress.InUse", "ReleaseAddress", "AllocationId", alloc)
	a.refused("AuthFailure", "DisassociateAddress", "AssociationId", made.one(addrs+"associationId"))
	a.refused("AuthFailure", "AssociateAddress", "AllocationId", alloc, "NetworkInterfaceId", a.eni(s))

	private := a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private", "PrivateIpAddress", "10.0.1.9")
	equal(t, "a private one", private.one("natGateway/state")+private.one("natGateway/connectivityType")+private.one(addrs+"privateIp")+private.one(addrs+"publicIp"), "availableprivate10.0.1.9")
	a.refused("InvalidIPAddress.InUse", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private", "PrivateIpAddress", "10.0.1.9")
	a.refused("InvalidParameterValue", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private", "PrivateIpAddress", "10.0.9.9")
	a.refused("MissingParameter", "CreateNatGateway", "SubnetId", s)
	a.refused("MissingParameter", "CreateNatGateway", "AllocationId", alloc)
	a.refused("InvalidParameterCombination", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private", "AllocationId", alloc)
	a.refused("InvalidParameterValue", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "both")
	a.refused("InvalidSubnetID.NotFound", "CreateNatGateway", "SubnetId", "subnet-00000000000000001", "ConnectivityType", "private")
	a.refused("InvalidAllocationID.NotFound", "CreateNatGateway", "SubnetId", s, "AllocationId", "eipalloc-00000000000000001")
	for _, p := range [][]string{{"AvailabilityMode", "regional"}, {"VpcId", v}, {"SecondaryAllocationId.1", alloc}, {"SecondaryPrivateIpAddressCount", "1"},
		{"SecondaryPrivateIpAddress.1", "10.0.1.20"}, {"AvailabilityZoneAddress.1.AvailabilityZone", "us-east-1a"}} {
		if m := a.refused("UnsupportedOperation", "CreateNatGateway", append([]string{"SubnetId", s, "ConnectivityType", "private"}, p...)...); !strings.Contains(m, strings.Split(p[0], ".")[0]) {
			t.Errorf("the refusal of %s does not name it: %s", p[0], m)
		}
	}
	a.refusedAs(controltest.Provider, "InvalidSubnetID.NotFound", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private")
	a.refused("DryRunOperation", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private", "DryRun", "true")
	full := a.subnet(v, "10.0.2.0/28")
	for range 11 {
		a.eni(full)
	}
	equal(t, "the failure in a full subnet", a.do("CreateNatGateway", "SubnetId", full, "ConnectivityType", "private").one("natGateway/failureCode"), "InsufficientFreeAddressesInSubnet")

	for _, x := range []struct{ code, id string }{{"NatGatewayNotFound", "nat-00000000000000001"}, {"NatGatewayMalformed", "x"}} {
		a.refused(x.code, "DeleteNatGateway", "NatGatewayId", x.id)
		a.refused(x.code, "DescribeNatGateways", "NatGatewayId.1", x.id)
	}
	a.refusedAs(controltest.Provider, "NatGatewayNotFound", "DeleteNatGateway", "NatGatewayId", id)
	a.refusedAs(controltest.Provider, "NatGatewayNotFound", "DescribeNatGateways", "NatGatewayId.1", id)
	a.refused("DryRunOperation", "DeleteNatGateway", "NatGatewayId", id, "DryRun", "true")
	equal(t, "the id of what was deleted", a.do("DeleteNatGateway", "NatGatewayId", id).one("natGatewayId"), id)
	d := a.do("DescribeNatGateways", "NatGatewayId.1", id)
	equal(t, "the deleted one", d.one("natGatewaySet/item/state")+" "+d.one("natGatewaySet/item/deleteTime"), "deleted 2026-01-02T03:04:05.000Z")
	a.do("ReleaseAddress", "AllocationId", alloc)
	for range 4 {
		a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private")
	}
	a.refused("NatGatewayLimitExceeded", "CreateNatGateway", "SubnetId", s, "ConnectivityType", "private")
}

func TestGatewayRoutes(t *testing.T) {
	a := newNetAPI(t)
	v, far := a.vpc("10.0.0.0/16"), a.vpc("10.1.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	table, _ := a.mainTable(v)
	g, foreign := a.igw(v), a.igw(far)
	n := a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private").one("natGateway/natGatewayId")
	to := func(dest string, pairs ...string) []string {
		return append([]string{"RouteTableId", table, "DestinationCidrBlock", dest}, pairs...)
	}
	route := func(filter, value string) string {
		t.Helper()
		d := a.do("DescribeRouteTables", "RouteTableId.1", table, "Filter.1.Name", filter, "Filter.1.Value.1", value)
		const r = "routeTableSet/item/routeSet/item/"
		return strings.Join(slices.Concat(d.all(r+"destinationCidrBlock"), d.all(r+"gatewayId"), d.all(r+"natGatewayId"), d.all(r+"origin"), d.all(r+"state")), " ")
	}
	a.refused("DryRunOperation", "CreateRoute", to("0.0.0.0/0", "GatewayId", g, "DryRun", "true")...)
	a.do("CreateRoute", to("0.0.0.0/0", "GatewayId", g)...)
	equal(t, "the routes", route("route.gateway-id", g), "10.0.0.0/16 0.0.0.0/0 local "+g+" CreateRouteTable CreateRoute active active")
	equal(t, "the text", a.refused("RouteAlreadyExists", "CreateRoute", to("0.0.0.0/0", "NatGatewayId", n)...), "The route identified by 0.0.0.0/0 already exists.")
	a.do("ReplaceRoute", to("0.0.0.0/0", "NatGatewayId", n)...)
	equal(t, "the replaced route", route("route.nat-gateway-id", n), "10.0.0.0/16 0.0.0.0/0 local "+n+" CreateRouteTable CreateRoute active active")
	equal(t, "no other table has it", route("route.nat-gateway-id", "nat-00000000000000001"), "")

	// What goes leaves a blackhole, what comes back revives it.
	a.do("DeleteNatGateway", "NatGatewayId", n)
	equal(t, "without the NAT gateway", route("route.state", "blackhole"), "10.0.0.0/16 0.0.0.0/0 local "+n+" CreateRouteTable CreateRoute active blackhole")
	a.refused("NatGatewayNotFound", "CreateRoute", to("198.51.100.0/24", "NatGatewayId", n)...)
	a.do("ReplaceRoute", to("0.0.0.0/0", "GatewayId", g)...)
	a.do("DetachInternetGateway", "InternetGatewayId", g, "VpcId", v)
	equal(t, "without the attachment", route("route.state", "blackhole"), "10.0.0.0/16 0.0.0.0/0 local "+g+" CreateRouteTable CreateRoute active blackhole")
	third := a.vpc("10.2.0.0/16")
	a.do("AttachInternetGateway", "InternetGatewayId", g, "VpcId", third)
	equal(t, "attached elsewhere", route("route.state", "active"), "10.0.0.0/16 0.0.0.0/0 local "+g+" CreateRouteTable CreateRoute active blackhole")
	a.do("DetachInternetGateway", "InternetGatewayId", g, "VpcId", third)
	a.do("AttachInternetGateway", "InternetGatewayId", g, "VpcId", v)
	equal(t, "attached again", route("route.state", "blackhole"), "")

	equal(t, "the text", a.refused("InvalidParameterValue", "CreateRoute", to("198.51.100.0/24", "GatewayId", foreign)...),
		"route table "+table+" and network gateway "+foreign+" belong to different networks")
	fn := a.do("CreateNatGateway", "SubnetId", a.subnet(far, "10.1.1.0/24"), "ConnectivityType", "private").one("natGateway/natGatewayId")
	a.refused("InvalidParameterValue", "CreateRoute", to("198.51.100.0/24", "NatGatewayId", fn)...)
	for code, pairs := range map[string][]string{
		"InvalidInternetGatewayID.NotFound":  {"GatewayId", "igw-00000000000000001"},
		"InvalidInternetGatewayId.Malformed": {"GatewayId", "igw-x"},
		"InvalidGatewayID.NotFound":          {"GatewayId", "vgw-00000000000000001"},
		"NatGatewayNotFound":                 {"NatGatewayId", "nat-00000000000000001"},
		"NatGatewayMalformed":                {"NatGatewayId", "nat-x"},
		"InvalidParameterCombination":        {"GatewayId", g, "NatGatewayId", n},
		"InvalidParameterValue":              {"GatewayId", "local"},
		"UnsupportedOperation":               {"TransitGatewayId", "tgw-00000000000000001"},
	} {
		a.refused(code, "CreateRoute", to("198.51.100.0/24", pairs...)...)
	}
	a.refusedAs(controltest.Provider, "InvalidRouteTableID.NotFound", "CreateRoute", to("198.51.100.0/24", "GatewayId", g)...)
	theirs := a.as(controltest.Provider, "CreateVpc", "CidrBlock", "10.0.0.0/16").one("vpc/vpcId")
	their := a.as(controltest.Provider, "DescribeRouteTables", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", theirs).one("routeTableSet/item/routeTableId")
	a.refusedAs(controltest.Provider, "InvalidInternetGatewayID.NotFound", "CreateRoute", "RouteTableId", their, "DestinationCidrBlock", "0.0.0.0/0", "GatewayId", g)

	// Inside the VPC only a whole subnet can be led to a NAT gateway.
	n = a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private").one("natGateway/natGatewayId")
	a.refused("InvalidParameterValue", "CreateRoute", to("10.0.1.0/24", "GatewayId", g)...)
	a.refused("InvalidParameterValue", "CreateRoute", to("10.0.1.0/25", "NatGatewayId", n)...)
	a.do("CreateRoute", to("10.0.1.0/24", "NatGatewayId", n)...)
	a.refused("InvalidParameterValue", "ReplaceRoute", to("10.0.1.0/24", "GatewayId", g)...)
	a.do("CreateRoute", to("10.0.0.0/8", "GatewayId", g)...)

	// Local routes stay what they are.
	a.do("ReplaceRoute", to("10.0.0.0/16", "LocalTarget", "true")...)
	a.do("ReplaceRoute", to("10.0.0.0/16", "GatewayId", "local")...)
	a.refused("UnsupportedOperation", "ReplaceRoute", to("10.0.0.0/16", "NatGatewayId", n)...)
	a.refused("InvalidParameterValue", "ReplaceRoute", to("0.0.0.0/0", "LocalTarget", "true")...)
	a.refused("InvalidParameterValue", "ReplaceRoute", to("198.51.100.0/24", "LocalTarget", "true")...)
	a.refused("InvalidParameterCombination", "ReplaceRoute", to("10.0.0.0/16", "LocalTarget", "true", "GatewayId", g)...)
	a.refused("MissingParameter", "ReplaceRoute", to("10.0.0.0/16", "LocalTarget", "false")...)
	a.refused("RouteAlreadyExists", "CreateRoute", to("10.0.0.0/16", "GatewayId", "local")...)
	a.do("DeleteRoute", to("0.0.0.0/0")...)
}

// Every filter of the five describe actions finds what it should and nothing else.
func TestFiltersOfGatewaysAndAddresses(t *testing.T) {
	a := newNetAPI(t)
	v, w := a.vpc("10.0.0.0/16"), a.vpc("10.1.0.0/16")
	s, x := a.subnet(v, "10.0.1.0/24"), a.subnet(w, "10.1.1.0/24")
	g, g2 := a.igw(v), a.igw("")
	e, addr := a.eip()
	e2, addr2 := a.eip()
	eni := a.eni(s)
	assoc := a.do("AssociateAddress", "AllocationId", e, "NetworkInterfaceId", eni).one("associationId")
	nat := a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private").one("natGateway/natGatewayId")
	nat2 := a.do("CreateNatGateway", "SubnetId", x, "AllocationId", e2).one("natGateway/natGatewayId") // failed
	d := a.do("CreateDhcpOptions", "DhcpConfiguration.1.Key", "ntp-servers", "DhcpConfiguration.1.Value.1", "10.0.0.1", "DhcpConfiguration.1.Value.2", "10.0.0.2").one("dhcpOptions/dhcpOptionsId")
	const region, me = "dopt-00000000000000001", "111111111111"
	for _, id := range []string{g, e, nat, d} {
		a.do("CreateTags", "ResourceId.1", id, "Tag.1.Key", "Name", "Tag.1.Value", "first")
	}
	tags := a.do("DescribeTags", "Filter.1.Name", "key", "Filter.1.Value.1", "Name")
	types := tags.all("tagSet/item/resourceType")
	slices.Sort(types)
	equalLists(t, "the types of what is tagged", types, []string{"dhcp-options", "elastic-ip", "internet-gateway", "natgateway"})

	for action, c := range map[string]struct {
		path string
		rows [][3]string // filter, value, ids
	}{
		"DescribeInternetGateways": {"internetGatewaySet/item/internetGatewayId", [][3]string{
			{"attachment.state", "available", g}, {"attachment.state", "attached", ""}, {"attachment.vpc-id", v, g}, {"attachment.vpc-id", w, ""},
			{"internet-gateway-id", g2, g2}, {"owner-id", me, g + " " + g2}, {"owner-id", "222222222222", ""},
		}},
		"DescribeNatGateways": {"natGatewaySet/item/natGatewayId", [][3]string{
			{"nat-gateway-id", nat2, nat2}, {"state", "available", nat}, {"state", "failed", nat2}, {"state", "deleted", ""},
			{"subnet-id", s, nat}, {"subnet-id", x, nat2}, {"vpc-id", w, nat2}, {"vpc-id", "vpc-*", nat + " " + nat2},
		}},
		"DescribeAddresses": {"addressesSet/item/allocationId", [][3]string{
			{"allocation-id", e2, e2}, {"association-id", assoc, e}, {"domain", "vpc", e + " " + e2}, {"domain", "standard", ""},
			{"instance-id", "*", ""}, {"network-border-group", "us-east-1", e + " " + e2}, {"network-interface-id", eni, e},
			{"network-interface-owner-id", me, e}, {"private-ip-address", "10.0.1.4", e}, {"private-ip-address", "10.0.1.5", ""},
			{"public-ip", addr2, e2}, {"public-ip", addr, e},
		}},
		"DescribeDhcpOptions": {"dhcpOptionsSet/item/dhcpOptionsId", [][3]string{
			{"dhcp-options-id", d, d}, {"key", "ntp-servers", d}, {"key", "domain-name", region}, {"value", "10.0.0.2", d}, {"value", "AmazonProvidedDNS", region},
			{"owner-id", me, d + " " + region},
		}},
		"DescribeNetworkInterfaces": {"networkInterfaceSet/item/networkInterfaceId", [][3]string{
			{"association.allocation-id", e, eni}, {"association.association-id", assoc, eni}, {"association.ip-owner-id", me, eni},
			{"association.public-ip", addr, eni}, {"association.public-ip", addr2, ""}, {"association.public-dns-name", "*", ""},
			{"addresses.association.owner-id", me, eni}, {"addresses.association.public-ip", addr, eni},
		}},
	} {
		if action != "DescribeNetworkInterfaces" {
			first := map[string]string{"DescribeInternetGateways": g, "DescribeNatGateways": nat, "DescribeAddresses": e, "DescribeDhcpOptions": d}[action]
			c.rows = append(c.rows, [3]string{"tag:Name", "first", first}, [3]string{"tag-key", "Name", first}, [3]string{"tag:Name", "x", ""})
		}
		for _, r := range c.rows {
			got := a.do(action, "Filter.1.Name", r[0], "Filter.1.Value.1", r[1]).all(c.path)
			want := strings.Fields(r[2])
			slices.Sort(got)
			slices.Sort(want)
			equalLists(t, action+" by "+r[0]+"="+r[1], got, want)
		}
		a.refused("InvalidParameterValue", action, "Filter.1.Name", "nonsense", "Filter.1.Value.1", "x")
		equalLists(t, action+" by two filters that exclude each other",
			a.do(action, "Filter.1.Name", "tag-key", "Filter.1.Value.1", "Name", "Filter.2.Name", "tag-key", "Filter.2.Value.1", "x").all(c.path), nil)
	}
	a.refusedAs(controltest.Provider, "InvalidInternetGatewayID.NotFound", "CreateTags", "ResourceId.1", g, "Tag.1.Key", "a")
	a.refusedAs(controltest.Provider, "NatGatewayNotFound", "CreateTags", "ResourceId.1", nat, "Tag.1.Key", "a")
	a.refusedAs(controltest.Provider, "InvalidAllocationID.NotFound", "CreateTags", "ResourceId.1", e, "Tag.1.Key", "a")
	a.refusedAs(controltest.Provider, "InvalidDhcpOptionID.NotFound", "CreateTags", "ResourceId.1", d, "Tag.1.Key", "a")
}

func TestPagesOfGatewaysAndAddresses(t *testing.T) {
	a := newNetAPI(t)
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	for range 5 {
		a.igw("")
		a.eip()
		a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private")
		a.do("CreateDhcpOptions", "DhcpConfiguration.1.Key", "domain-name", "DhcpConfiguration.1.Value.1", "x")
	}
	for action, path := range map[string]string{
		"DescribeInternetGateways": "internetGatewaySet/item/internetGatewayId", "DescribeNatGateways": "natGatewaySet/item/natGatewayId",
		"DescribeDhcpOptions": "dhcpOptionsSet/item/dhcpOptionsId", "DescribeAddressesAttribute": "addressSet/item/allocationId",
	} {
		var paged []string
		token, pages := "", 0
		for {
			pairs := []string{"MaxResults", "2"}
			if token != "" {
				pairs = append(pairs, "NextToken", token)
			}
			d := a.do(action, pairs...)
			paged = append(paged, d.all(path)...)
			pages++
			if token = d.one("nextToken"); token == "" {
				break
			}
		}
		equal(t, action+"'s pages", pages, 3)
		equalLists(t, action+" in pages", paged, a.do(action).all(path))
		a.refused("InvalidNextToken", action, "NextToken", "x")
		a.refused("DryRunOperation", action, "DryRun", "true")
	}
	// DescribeAddresses has no pages: everything is in its answer.
	equal(t, "the addresses", len(a.do("DescribeAddresses").all("addressesSet/item")), 5)
	a.refused("UnknownParameter", "DescribeAddresses", "MaxResults", "5")
}

// What Terraform's modules for VPCs do, with the SDK's own waiters.
func TestSDKBuildsAndRemovesAPublicAndAPrivateSubnet(t *testing.T) {
	a := newNetAPI(t)
	c, ctx := a.client(), t.Context()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	v, public, private := a.vpc("10.0.0.0/16"), "", ""
	public, private = a.subnet(v, "10.0.0.0/24"), a.subnet(v, "10.0.1.0/24")
	g, err := c.CreateInternetGateway(ctx, &awsec2.CreateInternetGatewayInput{TagSpecifications: []types.TagSpecification{{
		ResourceType: types.ResourceTypeInternetGateway, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("main")}}}}})
	must("create the internet gateway", err)
	igw := g.InternetGateway.InternetGatewayId
	_, err = c.AttachInternetGateway(ctx, &awsec2.AttachInternetGatewayInput{InternetGatewayId: igw, VpcId: &v})
	must("attach it", err)
	must("wait for it", awsec2.NewInternetGatewayExistsWaiter(c).Wait(ctx, &awsec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{*igw}}, time.Second))
	ig, err := c.DescribeInternetGateways(ctx, &awsec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{*igw}})
	must("describe it", err)
	if x := ig.InternetGateways[0]; len(x.Attachments) != 1 || *x.Attachments[0].VpcId != v || x.Attachments[0].State != "available" || *x.Tags[0].Value != "main" {
		t.Errorf("the internet gateway: %+v", x)
	}
	e, err := c.AllocateAddress(ctx, &awsec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	must("allocate", err)
	n, err := c.CreateNatGateway(ctx, &awsec2.CreateNatGatewayInput{SubnetId: &public, AllocationId: e.AllocationId})
	must("create the NAT gateway", err)
	nat := n.NatGateway.NatGatewayId
	describe := &awsec2.DescribeNatGatewaysInput{NatGatewayIds: []string{*nat}}
	must("wait for it", awsec2.NewNatGatewayAvailableWaiter(c).Wait(ctx, describe, time.Second))
	ng, err := c.DescribeNatGateways(ctx, describe)
	must("describe it", err)
	if x := ng.NatGateways[0]; x.ConnectivityType != types.ConnectivityTypePublic || x.CreateTime == nil || x.DeleteTime != nil || len(x.NatGatewayAddresses) != 1 ||
		*x.NatGatewayAddresses[0].PublicIp != *e.PublicIp || !*x.NatGatewayAddresses[0].IsPrimary || x.NatGatewayAddresses[0].NetworkInterfaceId == nil {
		t.Errorf("the NAT gateway: %+v", x)
	}
	ad, err := c.DescribeAddresses(ctx, &awsec2.DescribeAddressesInput{AllocationIds: []string{*e.AllocationId}})
	must("describe the address", err)
	if x := ad.Addresses[0]; x.AssociationId == nil || *x.NetworkInterfaceId != *ng.NatGateways[0].NatGatewayAddresses[0].NetworkInterfaceId || x.Domain != types.DomainTypeVpc {
		t.Errorf("the address: %+v", x)
	}
	aa, err := c.DescribeAddressesAttribute(ctx, &awsec2.DescribeAddressesAttributeInput{AllocationIds: []string{*e.AllocationId}, Attribute: types.AddressAttributeNameDomainName})
	if must("describe its attribute", err); len(aa.Addresses) != 1 || aa.Addresses[0].PtrRecord != nil {
		t.Errorf("its attribute: %+v", aa.Addresses)
	}
	table := a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId")
	a.do("AssociateRouteTable", "RouteTableId", table, "SubnetId", private)
	_, err = c.CreateRoute(ctx, &awsec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: nat})
	must("route to the NAT gateway", err)
	main, _ := a.mainTable(v)
	_, err = c.CreateRoute(ctx, &awsec2.CreateRouteInput{RouteTableId: &main, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: igw})
	must("route to the internet gateway", err)
	rt, err := c.DescribeRouteTables(ctx, &awsec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	if must("describe the table", err); *rt.RouteTables[0].Routes[1].NatGatewayId != *nat || rt.RouteTables[0].Routes[1].State != types.RouteStateActive {
		t.Errorf("the routes: %+v", rt.RouteTables[0].Routes)
	}
	o, err := c.CreateDhcpOptions(ctx, &awsec2.CreateDhcpOptionsInput{DhcpConfigurations: []types.NewDhcpConfiguration{{Key: aws.String("domain-name"), Values: []string{"corp.example"}}}})
	must("create DHCP options", err)
	_, err = c.AssociateDhcpOptions(ctx, &awsec2.AssociateDhcpOptionsInput{DhcpOptionsId: o.DhcpOptions.DhcpOptionsId, VpcId: &v})
	must("associate them", err)

	// And all of it away, in the order in which it works.
	if _, err := c.DetachInternetGateway(ctx, &awsec2.DetachInternetGatewayInput{InternetGatewayId: igw, VpcId: &v}); apitest.Code(err) != "DependencyViolation" {
		t.Errorf("detach while the NAT gateway's address is mapped: %v", err)
	}
	_, err = c.DeleteNatGateway(ctx, &awsec2.DeleteNatGatewayInput{NatGatewayId: nat})
	must("delete the NAT gateway", err)
	must("wait for that", awsec2.NewNatGatewayDeletedWaiter(c).Wait(ctx, describe, time.Second))
	_, err = c.ReleaseAddress(ctx, &awsec2.ReleaseAddressInput{AllocationId: e.AllocationId})
	must("release", err)
	_, err = c.DetachInternetGateway(ctx, &awsec2.DetachInternetGatewayInput{InternetGatewayId: igw, VpcId: &v})
	must("detach", err)
	_, err = c.DeleteInternetGateway(ctx, &awsec2.DeleteInternetGatewayInput{InternetGatewayId: igw})
	must("delete the internet gateway", err)
	a.do("DeleteSubnet", "SubnetId", public)
	a.do("DeleteSubnet", "SubnetId", private)
	a.do("DeleteRouteTable", "RouteTableId", table)
	a.do("DeleteVpc", "VpcId", v)
	_, err = c.DeleteDhcpOptions(ctx, &awsec2.DeleteDhcpOptionsInput{DhcpOptionsId: o.DhcpOptions.DhcpOptionsId})
	must("delete the DHCP options", err)
	if _, err := c.CreateDefaultVpc(ctx, &awsec2.CreateDefaultVpcInput{}); err != nil {
		t.Error(err)
	}
}
