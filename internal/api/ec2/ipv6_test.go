// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control/controltest"
)

// vpc6 makes a VPC with an IPv6 block and answers both.
func (a *netAPI) vpc6(cidr string) (id, block string) {
	a.t.Helper()
	v := a.do("CreateVpc", "CidrBlock", cidr, "AmazonProvidedIpv6CidrBlock", "true")
	return v.one("vpc/vpcId"), v.one("vpc/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock")
}

// part is the n-th /64 of a VPC's block.
func part(block string, n byte) string {
	b := netip.MustParsePrefix(block).Addr().As16()
	b[7] |= n
	return netip.PrefixFrom(netip.AddrFrom16(b), 64).String()
}

// at is the address of a subnet's block with the number.
func at(block string, n byte) string {
	b := netip.MustParsePrefix(block).Addr().As16()
	b[15] = n
	return netip.AddrFrom16(b).String()
}

// subnet6 makes a subnet with the n-th /64.
func (a *netAPI) subnet6(vpcID, cidr, block string, n byte) (id, six string) {
	a.t.Helper()
	six = part(block, n)
	return a.do("CreateSubnet", "VpcId", vpcID, "CidrBlock", cidr, "Ipv6CidrBlock", six).one("subnet/subnetId"), six
}

// The rules that AWS makes for a VPC: everything of IPv6 goes where everything
// of IPv4 does.
func (a *netAPI) wantsIPv6Rules(v string, groups int, entries []string) {
	a.t.Helper()
	d := a.do("DescribeSecurityGroups", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", v)
	equal(a.t, "groups with egress to ::/0", len(d.all("securityGroupInfo/item/ipPermissionsEgress/item/ipv6Ranges/item/cidrIpv6")), groups)
	d = a.do("DescribeNetworkAcls", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", v, "Filter.2.Name", "default", "Filter.2.Value.1", "true")
	equalLists(a.t, "the entries", d.all("networkAclSet/item/entrySet/item/ruleNumber"), entries)
}

func TestVPCsGetIPv6Blocks(t *testing.T) {
	a := newNetAPI(t)
	d := a.do("CreateVpc", "CidrBlock", "10.0.0.0/16", "AmazonProvidedIpv6CidrBlock", "true")
	v, assoc := d.one("vpc/vpcId"), d.one("vpc/ipv6CidrBlockAssociationSet/item/associationId")
	for path, want := range map[string]string{
		"ipv6CidrBlock": "2001:db8:8000::/56", "ipv6CidrBlockState/state": "associated", "networkBorderGroup": "us-east-1",
		"ipv6Pool": "Amazon", "ipv6AddressAttribute": "public", "ipSource": "amazon",
	} {
		equal(t, path, d.one("vpc/ipv6CidrBlockAssociationSet/item/"+path), want)
	}
	a.wantsIPv6Rules(v, 1, []string{"100", "101", "32767", "32768", "100", "101", "32767", "32768"})
	a.group(v, "six")
	a.wantsIPv6Rules(v, 2, []string{"100", "101", "32767", "32768", "100", "101", "32767", "32768"})

	// Another VPC has another block, and is found by it.
	w := a.vpc("10.1.0.0/16")
	g, g2, g3 := a.group(w, "plain"), a.group(w, "changed"), a.group(w, "more")
	a.do("RevokeSecurityGroupEgress", perm(g2, "-1", "0", "0", "IpRanges.1.CidrIp", "0.0.0.0/0")...)
	a.do("AuthorizeSecurityGroupEgress", perm(g3, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8")...)
	acl := a.do("DescribeNetworkAcls", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", w).one("networkAclSet/item/networkAclId")
	a.do("CreateNetworkAclEntry", entry(acl, "50", "-1", "false", "CidrBlock", "192.0.2.0/24")...)
	a.wantsIPv6Rules(w, 0, []string{"100", "32767", "50", "100", "32767"})
	d = a.do("AssociateVpcCidrBlock", "VpcId", w, "AmazonProvidedIpv6CidrBlock", "true")
	equal(t, "the second block", d.one("ipv6CidrBlockAssociation/ipv6CidrBlock"), "2001:db8:8000:100::/56")
	equal(t, "an IPv4 block", d.one("cidrBlockAssociation/cidrBlock"), "")
	second := d.one("ipv6CidrBlockAssociation/associationId")
	// Only what nobody changed was completed: the default group and "plain", and the ACL's way out.
	a.wantsIPv6Rules(w, 2, []string{"100", "101", "32767", "32768", "50", "100", "32767", "32768"})
	d = a.do("DescribeSecurityGroups", "GroupId.1", g)
	equal(t, "plain's way out", d.one("securityGroupInfo/item/ipPermissionsEgress/item/ipv6Ranges/item/cidrIpv6"), "::/0")
	for filter, value := range map[string]string{
		"ipv6-cidr-block-association.ipv6-cidr-block": "2001:db8:8000:100::/56", "ipv6-cidr-block-association.association-id": second,
	} {
		equalLists(t, filter, a.do("DescribeVpcs", "Filter.1.Name", filter, "Filter.1.Value.1", value).all("vpcSet/item/vpcId"), []string{w})
	}
	for filter, value := range map[string]string{"ipv6-cidr-block-association.ipv6-pool": "Amazon", "ipv6-cidr-block-association.state": "associated"} {
		equal(t, filter, len(a.do("DescribeVpcs", "Filter.1.Name", filter, "Filter.1.Value.1", value).all("vpcSet/item/vpcId")), 2)
	}

	// Every table has its local route, new and old, until the block goes.
	table := a.do("CreateRouteTable", "VpcId", w).one("routeTable/routeTableId")
	local := func() []string {
		return a.do("DescribeRouteTables", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", w).all("routeTableSet/item/routeSet/item/destinationIpv6CidrBlock")
	}
	equalLists(t, "the local routes", local(), []string{"2001:db8:8000:100::/56", "2001:db8:8000:100::/56"})
	a.refused("InvalidParameterValue", "DeleteRoute", "RouteTableId", table, "DestinationIpv6CidrBlock", "2001:db8:8000:100::/56")
	s, _ := a.subnet6(w, "10.1.1.0/24", "2001:db8:8000:100::/56", 1)
	a.refused("InvalidCidrBlock.InUse", "DisassociateVpcCidrBlock", "AssociationId", second)
	a.refusedAs(controltest.Provider, "InvalidVpcCidrBlockAssociationID.NotFound", "DisassociateVpcCidrBlock", "AssociationId", second)
	a.do("DeleteSubnet", "SubnetId", s)
	d = a.do("DisassociateVpcCidrBlock", "AssociationId", second)
	equal(t, "the state", d.one("ipv6CidrBlockAssociation/ipv6CidrBlockState/state"), "disassociated")
	equalLists(t, "the local routes", local(), nil)

	a.refused("InvalidParameterCombination", "AssociateVpcCidrBlock", "VpcId", w, "CidrBlock", "10.2.0.0/16", "AmazonProvidedIpv6CidrBlock", "true")
	a.refused("MissingParameter", "AssociateVpcCidrBlock", "VpcId", w)
	for _, p := range []string{"Ipv6Pool", "Ipv6CidrBlock", "Ipv6IpamPoolId"} {
		a.refused("UnsupportedOperation", "CreateVpc", "CidrBlock", "10.0.0.0/16", p, "x")
		a.refused("UnsupportedOperation", "AssociateVpcCidrBlock", "VpcId", w, p, "x")
	}
	for range 4 {
		a.do("AssociateVpcCidrBlock", "VpcId", v, "AmazonProvidedIpv6CidrBlock", "true")
	}
	a.refused("ResourceLimitExceeded", "AssociateVpcCidrBlock", "VpcId", v, "AmazonProvidedIpv6CidrBlock", "true")
	// Nothing was made twice.
	a.wantsIPv6Rules(v, 2, []string{"100", "101", "32767", "32768", "100", "101", "32767", "32768"})
	a.do("DisassociateVpcCidrBlock", "AssociationId", assoc)
}

func TestIPv6PoolRunsOut(t *testing.T) {
	a := newNetAPI(t)
	a.c.IPv6Pool = []netip.Prefix{netip.MustParsePrefix("2001:db8:0:ff00::/56"), netip.MustParsePrefix("2001:db8:1::/55")}
	for i, want := range []string{"2001:db8:0:ff00::/56", "2001:db8:1::/56", "2001:db8:1:100::/56"} {
		_, got := a.vpc6([]string{"10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"}[i])
		equal(t, "the block", got, want)
	}
	a.refused("InsufficientAddressCapacity", "CreateVpc", "CidrBlock", "10.3.0.0/16", "AmazonProvidedIpv6CidrBlock", "true")
}

func TestSubnetsGetIPv6Blocks(t *testing.T) {
	a := newNetAPI(t)
	v, block := a.vpc6("10.0.0.0/16")
	s, six := a.subnet6(v, "10.0.1.0/24", block, 1)
	d := a.do("DescribeSubnets", "SubnetId.1", s)
	assoc := d.one("subnetSet/item/ipv6CidrBlockAssociationSet/item/associationId")
	equal(t, "the block", d.one("subnetSet/item/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock"), six)
	equal(t, "the state", d.one("subnetSet/item/ipv6CidrBlockAssociationSet/item/ipv6CidrBlockState/state"), "associated")
	for filter, value := range map[string]string{
		"ipv6-cidr-block-association.ipv6-cidr-block": six, "ipv6-cidr-block-association.association-id": assoc, "ipv6-cidr-block-association.state": "associated",
	} {
		equalLists(t, filter, a.do("DescribeSubnets", "Filter.1.Name", filter, "Filter.1.Value.1", value).all("subnetSet/item/subnetId"), []string{s})
	}

	plain := a.subnet(v, "10.0.2.0/24")
	associate := func(code, p string) {
		t.Helper()
		a.refused(code, "AssociateSubnetCidrBlock", "SubnetId", plain, "Ipv6CidrBlock", p)
		a.refused(code, "CreateSubnet", "VpcId", v, "CidrBlock", "10.0.3.0/24", "Ipv6CidrBlock", p)
	}
	associate("InvalidSubnet.Conflict", six)
	associate("InvalidSubnet.Range", block) // a /56
	associate("InvalidSubnet.Range", "2001:db8::/64")
	associate("InvalidParameterValue", "10.0.3.0/24")
	associate("InvalidParameterValue", "::ffff:10.0.0.0/112")
	associate("InvalidParameterValue", "x")
	assign := []string{"SubnetId", plain, "AssignIpv6AddressOnCreation.Value", "true"}
	a.refused("InvalidParameterValue", "ModifySubnetAttribute", assign...)
	// Host bits are cleared, as for IPv4.
	d = a.do("AssociateSubnetCidrBlock", "SubnetId", plain, "Ipv6CidrBlock", at(part(block, 2), 9)+"/64")
	equal(t, "the block", d.one("ipv6CidrBlockAssociation/ipv6CidrBlock"), part(block, 2))
	equal(t, "the subnet", d.one("subnetId"), plain)
	second := d.one("ipv6CidrBlockAssociation/associationId")
	a.refused("ResourceLimitExceeded", "AssociateSubnetCidrBlock", "SubnetId", plain, "Ipv6CidrBlock", part(block, 3))
	a.refusedAs(controltest.Provider, "InvalidSubnetID.NotFound", "AssociateSubnetCidrBlock", "SubnetId", plain, "Ipv6CidrBlock", part(block, 3))

	a.do("ModifySubnetAttribute", assign...)
	equal(t, "what was set", a.do("DescribeSubnets", "SubnetId.1", plain).one("subnetSet/item/assignIpv6AddressOnCreation"), "true")
	eni := a.eni(plain)
	a.refused("InvalidCidrBlock.InUse", "DisassociateSubnetCidrBlock", "AssociationId", second)
	a.do("DeleteNetworkInterface", "NetworkInterfaceId", eni)
	a.refused("InvalidSubnetCidrBlockAssociationID.Malformed", "DisassociateSubnetCidrBlock", "AssociationId", "x")
	a.refusedAs(controltest.Provider, "InvalidSubnetCidrBlockAssociationID.NotFound", "DisassociateSubnetCidrBlock", "AssociationId", second)
	d = a.do("DisassociateSubnetCidrBlock", "AssociationId", second)
	equal(t, "the state", d.one("ipv6CidrBlockAssociation/ipv6CidrBlockState/state"), "disassociated")
	a.refused("InvalidSubnetCidrBlockAssociationID.NotFound", "DisassociateSubnetCidrBlock", "AssociationId", second)
	equal(t, "what was set", a.do("DescribeSubnets", "SubnetId.1", plain).one("subnetSet/item/assignIpv6AddressOnCreation"), "false")
}

func TestInterfacesGetIPv6Addresses(t *testing.T) {
	a := newNetAPI(t)
	v, block := a.vpc6("10.0.0.0/16")
	s, six := a.subnet6(v, "10.0.1.0/24", block, 1)
	bare := a.subnet(v, "10.0.2.0/24")
	const set = "networkInterface/ipv6AddressesSet/item/ipv6Address"
	equalLists(t, "nothing asked for", a.do("CreateNetworkInterface", "SubnetId", s).all(set), nil)
	d := a.do("CreateNetworkInterface", "SubnetId", s, "Ipv6AddressCount", "2")
	drawn := d.all(set)
	if len(drawn) != 2 || drawn[0] == drawn[1] || !inside(six, drawn...) {
		t.Errorf("two addresses of %s: %q", six, drawn)
	}
	equal(t, "the first address", d.one("networkInterface/ipv6Address"), drawn[0])
	id := d.one("networkInterface/networkInterfaceId")
	chosen := at(six, 4)
	d = a.do("CreateNetworkInterface", "SubnetId", s, "Ipv6Addresses.1.Ipv6Address", chosen)
	other := d.one("networkInterface/networkInterfaceId")
	equalLists(t, "the chosen address", d.all(set), []string{chosen})
	equalLists(t, "who has it", a.do("DescribeNetworkInterfaces", "Filter.1.Name", "ipv6-addresses.ipv6-address", "Filter.1.Value.1", chosen).
		all("networkInterfaceSet/item/networkInterfaceId"), []string{other})

	create := func(code, subnet string, pairs ...string) {
		t.Helper()
		a.refused(code, "CreateNetworkInterface", append([]string{"SubnetId", subnet}, pairs...)...)
	}
	create("InvalidIPAddress.InUse", s, "Ipv6Addresses.1.Ipv6Address", chosen)
	for _, n := range []byte{0, 1, 2, 3} {
		create("InvalidParameterValue", s, "Ipv6Addresses.1.Ipv6Address", at(six, n))
	}
	create("InvalidParameterValue", s, "Ipv6Addresses.1.Ipv6Address", last(six))
	create("InvalidParameterValue", s, "Ipv6Addresses.1.Ipv6Address", at(part(block, 2), 9))
	create("InvalidParameterValue", s, "Ipv6Addresses.1.Ipv6Address", "10.0.1.9")
	create("InvalidParameterValue", s, "Ipv6Addresses.1.Ipv6Address", chosen+"%eth0")
	create("InvalidParameterValue", s, "Ipv6Addresses.1.Ipv6Address", at(six, 8), "Ipv6Addresses.2.Ipv6Address", at(six, 8))
	create("InvalidParameterCombination", s, "Ipv6Addresses.1.Ipv6Address", at(six, 8), "Ipv6AddressCount", "1")
	create("InvalidParameterValue", s, "Ipv6AddressCount", "-1")
	create("PrivateIpAddressLimitExceeded", s, "Ipv6AddressCount", "51")
	create("PrivateIpAddressLimitExceeded", s, "Ipv6AddressCount", "9223372036854775807")
	create("InvalidParameterValue", bare, "Ipv6AddressCount", "1")
	create("InvalidParameterValue", bare, "Ipv6Addresses.1.Ipv6Address", at(six, 8))
	create("UnsupportedOperation", s, "EnablePrimaryIpv6", "true")
	create("UnsupportedOperation", s, "Ipv6PrefixCount", "1")
	a.do("CreateNetworkInterface", "SubnetId", bare, "Ipv6AddressCount", "0")

	d = a.do("AssignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6AddressCount", "1")
	equal(t, "the interface", d.one("networkInterfaceId"), id)
	more := d.all("assignedIpv6Addresses/item")
	if len(more) != 1 || slices.Contains(drawn, more[0]) || !inside(six, more...) {
		t.Errorf("assigned %q beside %q", more, drawn)
	}
	equalLists(t, "the chosen one", a.do("AssignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6Addresses.1", at(six, 9)).all("assignedIpv6Addresses/item"), []string{at(six, 9)})
	a.refused("InvalidIPAddress.InUse", "AssignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6Addresses.1", chosen)
	a.refused("InvalidParameterValue", "AssignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6Addresses.1", at(six, 9))
	a.refused("MissingParameter", "AssignIpv6Addresses", "NetworkInterfaceId", id)
	a.refused("PrivateIpAddressLimitExceeded", "AssignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6AddressCount", "47")
	a.refused("InvalidParameterValue", "AssignIpv6Addresses", "NetworkInterfaceId", a.eni(bare), "Ipv6AddressCount", "1")
	a.refusedAs(controltest.Provider, "InvalidNetworkInterfaceID.NotFound", "AssignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6AddressCount", "1")
	a.refused("InvalidParameterValue", "UnassignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6Addresses.1", drawn[0], "Ipv6Addresses.2", chosen)
	d = a.do("UnassignIpv6Addresses", "NetworkInterfaceId", id, "Ipv6Addresses.1", drawn[0], "Ipv6Addresses.2", more[0])
	equalLists(t, "unassigned", d.all("unassignedIpv6Addresses/item"), []string{drawn[0], more[0]})
	equalLists(t, "what is left", a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", id).
		all("networkInterfaceSet/item/ipv6AddressesSet/item/ipv6Address"), []string{drawn[1], at(six, 9)})
	equal(t, "IPv4 addresses left", a.do("DescribeSubnets", "SubnetId.1", s).one("subnetSet/item/availableIpAddressCount"), "248")

	// A subnet that assigns gives one to whoever says nothing.
	a.do("ModifySubnetAttribute", "SubnetId", s, "AssignIpv6AddressOnCreation.Value", "true")
	equal(t, "assigned", len(a.do("CreateNetworkInterface", "SubnetId", s).all(set)), 1)
	equalLists(t, "none wanted", a.do("CreateNetworkInterface", "SubnetId", s, "Ipv6AddressCount", "0").all(set), nil)
	equalLists(t, "the chosen one alone", a.do("CreateNetworkInterface", "SubnetId", s, "Ipv6Addresses.1.Ipv6Address", at(six, 20)).all(set), []string{at(six, 20)})
}

func inside(block string, addrs ...string) bool {
	return !slices.ContainsFunc(addrs, func(s string) bool { return !netip.MustParsePrefix(block).Contains(netip.MustParseAddr(s)) })
}

func last(block string) string {
	b := netip.MustParsePrefix(block).Addr().As16()
	for i := 8; i < 16; i++ {
		b[i] = 0xff
	}
	return netip.AddrFrom16(b).String()
}

func TestInstancesGetIPv6Addresses(t *testing.T) {
	a := newNetAPI(t)
	v, block := a.vpc6("10.0.0.0/16")
	s, six := a.subnet6(v, "10.0.1.0/24", block, 1)
	run := func(n string, pairs ...string) []string {
		return append([]string{"ImageId", "ami-1", "MinCount", n, "MaxCount", n}, pairs...)
	}
	const set = "instancesSet/item/networkInterfaceSet/item/ipv6AddressesSet/item/ipv6Address"
	d := a.do("RunInstances", run("1", "SubnetId", s, "Ipv6Address.1.Ipv6Address", at(six, 5))...)
	equal(t, "the instance's address", d.one("instancesSet/item/ipv6Address"), at(six, 5))
	equalLists(t, "its interface's", d.all(set), []string{at(six, 5)})
	id := d.one("instancesSet/item/instanceId")
	for _, filter := range []string{"ipv6-address", "network-interface.ipv6-addresses.ipv6-address"} {
		equalLists(t, filter, a.do("DescribeInstances", "Filter.1.Name", filter, "Filter.1.Value.1", at(six, 5)).all("reservationSet/item/instancesSet/item/instanceId"), []string{id})
	}
	d = a.do("RunInstances", run("2", "SubnetId", s, "Ipv6AddressCount", "2")...)
	if got := d.all(set); len(got) != 4 || !inside(six, got...) {
		t.Errorf("two of each instance: %q", got)
	}
	nic := func(pairs ...string) []string {
		return append([]string{"NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.SubnetId", s}, pairs...)
	}
	d = a.do("RunInstances", run("1", nic("NetworkInterface.1.Ipv6Addresses.1.Ipv6Address", at(six, 6),
		"NetworkInterface.1.ConnectionTrackingSpecification.UdpTimeout", "45",
		"NetworkInterface.2.DeviceIndex", "1", "NetworkInterface.2.SubnetId", s, "NetworkInterface.2.Ipv6Addresses.1.Ipv6Address", at(six, 7),
		"NetworkInterface.2.ConnectionTrackingSpecification.TcpEstablishedTimeout", "60")...)...)
	equalLists(t, "of each interface", d.all(set), []string{at(six, 6), at(six, 7)})
	const tracking = "instancesSet/item/networkInterfaceSet/item/connectionTrackingConfiguration/"
	equal(t, "the first's idle time", d.one(tracking+"udpTimeout"), "45")
	equal(t, "the second's idle time", d.one(tracking+"tcpEstablishedTimeout"), "60")

	refused := func(code, n string, pairs ...string) {
		t.Helper()
		a.refused(code, "RunInstances", run(n, pairs...)...)
	}
	refused("InvalidParameterCombination", "2", "SubnetId", s, "Ipv6Address.1.Ipv6Address", at(six, 8))
	refused("InvalidParameterCombination", "2", nic("NetworkInterface.2.DeviceIndex", "1", "NetworkInterface.2.SubnetId", s, "NetworkInterface.2.Ipv6Addresses.1.Ipv6Address", at(six, 8))...)
	refused("InvalidParameterCombination", "1", append(nic(), "Ipv6AddressCount", "1")...)
	refused("InvalidParameterValue", "1", nic("NetworkInterface.1.ConnectionTrackingSpecification.UdpTimeout", "0")...)
	refused("InvalidIPAddress.InUse", "1", nic("NetworkInterface.1.Ipv6Addresses.1.Ipv6Address", at(six, 5))...)
	have := a.eni(s)
	for _, pairs := range [][]string{{"NetworkInterface.1.Ipv6AddressCount", "1"}, {"NetworkInterface.1.ConnectionTrackingSpecification.UdpTimeout", "30"}} {
		refused("InvalidParameterCombination", "1", append([]string{"NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.NetworkInterfaceId", have}, pairs...)...)
	}
	a.do("ModifySubnetAttribute", "SubnetId", s, "AssignIpv6AddressOnCreation.Value", "true")
	d = a.do("RunInstances", run("1", nic("NetworkInterface.2.DeviceIndex", "1", "NetworkInterface.2.SubnetId", s)...)...)
	equal(t, "assigned to both", len(d.all(set)), 2)
	equal(t, "none wanted", len(a.do("RunInstances", run("1", "SubnetId", s, "Ipv6AddressCount", "0")...).all(set)), 0)
}

func TestConnectionTracking(t *testing.T) {
	a := newNetAPI(t)
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	const spec, shown = "ConnectionTrackingSpecification.", "networkInterfaceSet/item/connectionTrackingConfiguration"
	for name, r := range map[string][2]string{"TcpEstablishedTimeout": {"59", "432001"}, "UdpTimeout": {"29", "61"}, "UdpStreamTimeout": {"59", "181"}} {
		for _, bad := range append(r[:], "0", "-1") {
			a.refused("InvalidParameterValue", "CreateNetworkInterface", "SubnetId", s, spec+name, bad)
		}
	}
	id := a.do("CreateNetworkInterface", "SubnetId", s, spec+"TcpEstablishedTimeout", "432000", spec+"UdpTimeout", "30").one("networkInterface/networkInterfaceId")
	a.do("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, spec+"UdpTimeout", "60", spec+"UdpStreamTimeout", "180")
	a.refused("InvalidParameterValue", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, spec+"UdpTimeout", "61")
	a.refused("InvalidParameterCombination", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", id, spec+"UdpTimeout", "60", "Description.Value", "x")
	d := a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", id)
	for name, want := range map[string]string{"tcpEstablishedTimeout": "432000", "udpTimeout": "60", "udpStreamTimeout": "180"} {
		equal(t, name, d.one(shown+"/"+name), want)
	}
	equalLists(t, "when nothing was asked for", a.do("DescribeNetworkInterfaces", "NetworkInterfaceId.1", a.eni(s)).all(shown), nil)
}

func TestIPv6RoutesAndEgressOnlyGateways(t *testing.T) {
	a := newNetAPI(t)
	v, block := a.vpc6("10.0.0.0/16")
	s, six := a.subnet6(v, "10.0.1.0/24", block, 1)
	d := a.do("CreateEgressOnlyInternetGateway", "VpcId", v, "ClientToken", "once", "TagSpecification.1.ResourceType", "egress-only-internet-gateway",
		"TagSpecification.1.Tag.1.Key", "k", "TagSpecification.1.Tag.1.Value", "v")
	g := d.one("egressOnlyInternetGateway/egressOnlyInternetGatewayId")
	equal(t, "the state", d.one("egressOnlyInternetGateway/attachmentSet/item/state"), "attached")
	equal(t, "the same call again", a.do("CreateEgressOnlyInternetGateway", "VpcId", v, "ClientToken", "once", "TagSpecification.1.ResourceType", "egress-only-internet-gateway",
		"TagSpecification.1.Tag.1.Key", "k", "TagSpecification.1.Tag.1.Value", "v").one("egressOnlyInternetGateway/egressOnlyInternetGatewayId"), g)
	a.refused("InvalidParameterValue", "CreateEgressOnlyInternetGateway", "VpcId", v)
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "CreateEgressOnlyInternetGateway", "VpcId", v)
	w := a.vpc("10.1.0.0/16")
	g2 := a.do("CreateEgressOnlyInternetGateway", "VpcId", w).one("egressOnlyInternetGateway/egressOnlyInternetGatewayId")
	const list = "egressOnlyInternetGatewaySet/item/egressOnlyInternetGatewayId"
	equal(t, "all", len(a.do("DescribeEgressOnlyInternetGateways").all(list)), 2)
	equalLists(t, "one", a.do("DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGatewayId.1", g2).all(list), []string{g2})
	equalLists(t, "by tag", a.do("DescribeEgressOnlyInternetGateways", "Filter.1.Name", "tag:k", "Filter.1.Value.1", "v").all(list), []string{g})
	equalLists(t, "another account's", a.as(controltest.Provider, "DescribeEgressOnlyInternetGateways").all(list), nil)
	equalLists(t, "another account's by id", a.as(controltest.Provider, "DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGatewayId.1", g).all(list), nil)
	equalLists(t, "one of two", a.do("DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGatewayId.1", "eigw-00000000000000001", "EgressOnlyInternetGatewayId.2", g2).all(list), []string{g2})
	a.refused("InvalidEgressOnlyInternetGatewayId.Malformed", "DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGatewayId.1", "eigw-x")
	a.refused("InvalidParameterValue", "DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGatewayId.1", "eigw-00000000000000001", "Filter.1.Name", "nonsense", "Filter.1.Value.1", "x")
	a.refusedAs(controltest.Provider, "InvalidGatewayID.NotFound", "DeleteEgressOnlyInternetGateway", "EgressOnlyInternetGatewayId", g)
	a.refused("InvalidEgressOnlyInternetGatewayId.Malformed", "DeleteEgressOnlyInternetGateway", "EgressOnlyInternetGatewayId", "eigw-x")
	a.do("CreateTags", "ResourceId.1", g2, "Tag.1.Key", "k2")
	equalLists(t, "the tag's type", a.do("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", g2).all("tagSet/item/resourceType"), []string{"egress-only-internet-gateway"})
	a.refused("DependencyViolation", "DeleteVpc", "VpcId", w)

	table := a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId")
	to := func(dest string, pairs ...string) []string {
		return append([]string{"RouteTableId", table, "DestinationIpv6CidrBlock", dest}, pairs...)
	}
	egress := []string{"EgressOnlyInternetGatewayId", g}
	a.do("CreateRoute", to("::/0", egress...)...)
	d = a.do("DescribeRouteTables", "Filter.1.Name", "route.egress-only-internet-gateway-id", "Filter.1.Value.1", g)
	equalLists(t, "the destinations", d.all("routeTableSet/item/routeSet/item/destinationIpv6CidrBlock"), []string{block, "::/0"})
	equal(t, "the target", d.one("routeTableSet/item/routeSet/item/egressOnlyInternetGatewayId"), g)
	equalLists(t, "the states", d.all("routeTableSet/item/routeSet/item/state"), []string{"active", "active", "active"})
	equalLists(t, "found by destination", a.do("DescribeRouteTables", "Filter.1.Name", "route.destination-ipv6-cidr-block", "Filter.1.Value.1", "::/0").
		all("routeTableSet/item/routeTableId"), []string{table})
	a.refused("RouteAlreadyExists", "CreateRoute", to("::/0", egress...)...)

	igw, eni := a.igw(v), a.eni(s)
	nat := a.do("CreateNatGateway", "SubnetId", s, "ConnectivityType", "private").one("natGateway/natGatewayId")
	a.do("ReplaceRoute", to("::/0", "GatewayId", igw)...)
	a.do("CreateRoute", to("2001:db8:1::/48", "NetworkInterfaceId", eni)...)
	a.do("CreateRoute", to(six, "NetworkInterfaceId", eni)...)
	peer := a.do("CreateVpcPeeringConnection", "VpcId", v, "PeerVpcId", w).one("vpcPeeringConnection/vpcPeeringConnectionId")
	a.do("CreateRoute", to("2001:db8:2::/56", "VpcPeeringConnectionId", peer)...)
	for _, r := range [][]string{
		{"InvalidParameterValue", "2001:db8:3::/48", "NatGatewayId", nat},
		{"UnsupportedOperation", "64:ff9b::/96", "NatGatewayId", nat},
		{"InvalidParameterValue", "fd00:ec2::/32", "EgressOnlyInternetGatewayId", g},
		{"InvalidParameterValue", "fd00:ec2::253/128", "NetworkInterfaceId", eni},
		{"InvalidParameterValue", part(block, 7), "EgressOnlyInternetGatewayId", g}, // inside the VPC
		{"InvalidParameterValue", block, "GatewayId", igw},
		{"InvalidParameterValue", "2001:db8:3::/48", "EgressOnlyInternetGatewayId", g2}, // of another VPC
		{"InvalidEgressOnlyInternetGatewayId.NotFound", "2001:db8:3::/48", "EgressOnlyInternetGatewayId", "eigw-00000000000000001"},
		{"InvalidParameterCombination", "2001:db8:3::/48", "EgressOnlyInternetGatewayId", g, "GatewayId", igw},
		{"InvalidParameterCombination", "2001:db8:3::/48", "EgressOnlyInternetGatewayId", g, "DestinationCidrBlock", "192.0.2.0/24"},
		{"InvalidParameterValue", "10.0.0.0/8", "EgressOnlyInternetGatewayId", g},
		{"InvalidParameterValue", "::ffff:10.0.0.0/104", "EgressOnlyInternetGatewayId", g},
		{"RouteAlreadyExists", block, "GatewayId", "local"},
	} {
		if r[0] == "RouteAlreadyExists" || r[1] != block {
			a.refused(r[0], "CreateRoute", to(r[1], r[2:]...)...)
		} else {
			a.refused("UnsupportedOperation", "ReplaceRoute", to(r[1], r[2:]...)...) // a local route
		}
	}
	v4 := func(dest string, pairs ...string) []string {
		return append([]string{"RouteTableId", table, "DestinationCidrBlock", dest}, pairs...)
	}
	a.refused("InvalidParameterValue", "CreateRoute", v4("0.0.0.0/0", egress...)...)
	a.refused("InvalidParameterValue", "CreateRoute", v4("169.254.169.254/32", "NetworkInterfaceId", eni)...)
	a.refused("InvalidParameterValue", "CreateRoute", v4("2001:db8:3::/48", egress...)...)
	lists := map[string]string{}
	for family, cidr := range map[string]string{"IPv4": "192.0.2.0/24", "IPv6": "2001:db8:9::/48"} {
		lists[family] = a.do("CreateManagedPrefixList", "PrefixListName", family, "MaxEntries", "1", "AddressFamily", family, "Entry.1.Cidr", cidr).one("prefixList/prefixListId")
	}
	a.refused("InvalidParameterValue", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", lists["IPv4"], "EgressOnlyInternetGatewayId", g)
	a.refused("InvalidParameterValue", "CreateRoute", "RouteTableId", table, "DestinationPrefixListId", lists["IPv6"], "NatGatewayId", nat)
	a.do("CreateRoute", "RouteTableId", table, "DestinationPrefixListId", lists["IPv6"], "EgressOnlyInternetGatewayId", g)

	a.do("ReplaceRoute", to("::/0", egress...)...)
	equal(t, "the answer", a.do("DeleteEgressOnlyInternetGateway", "EgressOnlyInternetGatewayId", g).one("returnCode"), "true")
	d = a.do("DescribeRouteTables", "RouteTableId.1", table)
	states := d.all("routeTableSet/item/routeSet/item/state")
	if i := slices.Index(d.all("routeTableSet/item/routeSet/item/origin"), "CreateRoute"); i < 0 || states[i] != "blackhole" {
		t.Errorf("the states without the gateway: %q", states)
	}
	equal(t, "the text", a.refused("InvalidRoute.NotFound", "DeleteRoute", to("2001:db8:77::/48")...), "no route with destination-ipv6-cidr-block 2001:db8:77::/48 in route table "+table)
	a.do("DeleteRoute", to("::/0")...)
	a.do("CreateEgressOnlyInternetGateway", "VpcId", v) // there is room again
}

// A peer's IPv6 blocks are shown beside its others.
func TestPeersShowTheirIPv6Blocks(t *testing.T) {
	a := newNetAPI(t)
	v, block := a.vpc6("10.0.0.0/16")
	d := a.do("CreateVpcPeeringConnection", "VpcId", v, "PeerVpcId", a.vpc("10.1.0.0/16"))
	equalLists(t, "IPv6", d.all("vpcPeeringConnection/requesterVpcInfo/ipv6CidrBlockSet/item/ipv6CidrBlock"), []string{block})
	equalLists(t, "IPv4", d.all("vpcPeeringConnection/requesterVpcInfo/cidrBlockSet/item/cidrBlock"), []string{"10.0.0.0/16"})
	equal(t, "the first", d.one("vpcPeeringConnection/requesterVpcInfo/cidrBlock"), "10.0.0.0/16")
}

func TestIPv6ThroughTheSDK(t *testing.T) {
	a := newEndpointAPI(t)
	c, ctx := a.client(controltest.Consumer), context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v, err := c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	must(err)
	block := aws.ToString(v.Vpc.Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock)
	s, err := c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: v.Vpc.VpcId, CidrBlock: aws.String("10.9.1.0/24"), Ipv6CidrBlock: aws.String(part(block, 1))})
	must(err)
	if st := s.Subnet.Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlockState.State; st != types.SubnetCidrBlockStateCodeAssociated {
		t.Errorf("the subnet's block is %q", st)
	}
	_, err = c.ModifySubnetAttribute(ctx, &sdk.ModifySubnetAttributeInput{SubnetId: s.Subnet.SubnetId, AssignIpv6AddressOnCreation: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	must(err)
	n, err := c.CreateNetworkInterface(ctx, &sdk.CreateNetworkInterfaceInput{
		SubnetId: s.Subnet.SubnetId, ConnectionTrackingSpecification: &types.ConnectionTrackingSpecificationRequest{UdpTimeout: aws.Int32(40)},
	})
	must(err)
	if len(n.NetworkInterface.Ipv6Addresses) != 1 || aws.ToInt32(n.NetworkInterface.ConnectionTrackingConfiguration.UdpTimeout) != 40 {
		t.Errorf("the interface is %+v", n.NetworkInterface)
	}
	got, err := c.AssignIpv6Addresses(ctx, &sdk.AssignIpv6AddressesInput{NetworkInterfaceId: n.NetworkInterface.NetworkInterfaceId, Ipv6AddressCount: aws.Int32(1)})
	must(err)
	gone, err := c.UnassignIpv6Addresses(ctx, &sdk.UnassignIpv6AddressesInput{NetworkInterfaceId: n.NetworkInterface.NetworkInterfaceId, Ipv6Addresses: got.AssignedIpv6Addresses})
	must(err)
	if !slices.Equal(gone.UnassignedIpv6Addresses, got.AssignedIpv6Addresses) || len(gone.UnassignedIpv6Addresses) != 1 {
		t.Errorf("assigned %q, unassigned %q", got.AssignedIpv6Addresses, gone.UnassignedIpv6Addresses)
	}
	run, err := c.RunInstances(ctx, &sdk.RunInstancesInput{
		ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: s.Subnet.SubnetId,
		Ipv6Addresses: []types.InstanceIpv6Address{{Ipv6Address: aws.String(at(part(block, 1), 77))}},
	})
	must(err)
	if got := aws.ToString(run.Instances[0].Ipv6Address); got != at(part(block, 1), 77) {
		t.Errorf("the instance's address is %s", got)
	}
	g, err := c.CreateEgressOnlyInternetGateway(ctx, &sdk.CreateEgressOnlyInternetGatewayInput{VpcId: v.Vpc.VpcId})
	must(err)
	tables, err := c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{*v.Vpc.VpcId}}}})
	must(err)
	_, err = c.CreateRoute(ctx, &sdk.CreateRouteInput{
		RouteTableId: tables.RouteTables[0].RouteTableId, DestinationIpv6CidrBlock: aws.String("::/0"),
		EgressOnlyInternetGatewayId: g.EgressOnlyInternetGateway.EgressOnlyInternetGatewayId,
	})
	must(err)
	del, err := c.DeleteEgressOnlyInternetGateway(ctx, &sdk.DeleteEgressOnlyInternetGatewayInput{EgressOnlyInternetGatewayId: g.EgressOnlyInternetGateway.EgressOnlyInternetGatewayId})
	must(err)
	if !aws.ToBool(del.ReturnCode) {
		t.Error("the deletion was not said")
	}
	more, err := c.AssociateVpcCidrBlock(ctx, &sdk.AssociateVpcCidrBlockInput{VpcId: v.Vpc.VpcId, AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	must(err)
	_, err = c.DisassociateVpcCidrBlock(ctx, &sdk.DisassociateVpcCidrBlockInput{AssociationId: more.Ipv6CidrBlockAssociation.AssociationId})
	must(err)
}
