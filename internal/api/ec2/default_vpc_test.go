// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern.dev/postern/internal/control/controltest"
)

func TestDhcpOptions(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	option := func(n int, key string, values ...string) []string {
		p := "DhcpConfiguration." + strconv.Itoa(n) + "."
		out := []string{p + "Key", key}
		for i, s := range values {
			out = append(out, p+"Value."+strconv.Itoa(i+1), s)
		}
		return out
	}
	all := slices.Concat(option(1, "domain-name", "corp.example"), option(2, "domain-name-servers", "10.0.0.2", "192.0.2.53"),
		option(3, "ntp-servers", "10.0.0.3"), option(4, "netbios-name-servers", "10.0.0.4"), option(5, "netbios-node-type", "2"))
	made := a.do("CreateDhcpOptions", append(tagSpec("dhcp-options", "Name", "corp"), all...)...)
	id := made.one("dhcpOptions/dhcpOptionsId")
	equal(t, "the owner and tag", made.one("dhcpOptions/ownerId")+made.one("dhcpOptions/tagSet/item/value"), "111111111111corp")
	d := a.do("DescribeDhcpOptions", "DhcpOptionsId.1", id)
	const c = "dhcpOptionsSet/item/dhcpConfigurationSet/item/"
	equalLists(t, "the keys", d.all(c+"key"), []string{"domain-name", "domain-name-servers", "ntp-servers", "netbios-name-servers", "netbios-node-type"})
	equalLists(t, "the values", d.all(c+"valueSet/item/value"), []string{"corp.example", "10.0.0.2", "192.0.2.53", "10.0.0.3", "10.0.0.4", "2"})
	a.refused("DryRunOperation", "CreateDhcpOptions", append(all, "DryRun", "true")...)
	for what, pairs := range map[string][]string{
		"an unknown key":          option(1, "domain", "x"),
		"IPv6":                    option(1, "ipv6-address-preferred-lease-time", "140"),
		"no value":                option(1, "ntp-servers"),
		"five servers":            option(1, "domain-name-servers", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"),
		"five IPv6 servers":       option(1, "ntp-servers", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"),
		"IPv6 for NetBIOS":        option(1, "netbios-name-servers", "2001:db8::1"),
		"IPv4 in IPv6":            option(1, "domain-name-servers", "::ffff:10.0.0.2"),
		"a name for a server":     option(1, "ntp-servers", "time.example"),
		"two domains":             option(1, "domain-name", "a", "b"),
		"a node type":             option(1, "netbios-node-type", "3"),
		"Amazon's among others":   option(1, "domain-name-servers", "AmazonProvidedDNS", "10.0.0.2"),
		"a key twice":             append(option(1, "ntp-servers", "10.0.0.1"), option(2, "ntp-servers", "10.0.0.2")...),
		"an endless domain name":  option(1, "domain-name", strings.Repeat("x", 256)),
		"another resource's tags": append(tagSpec("vpc", "a", "b"), option(1, "domain-name", "a")...),
	} {
		if m := a.refused("InvalidParameterValue", "CreateDhcpOptions", pairs...); m == "" {
			t.Errorf("%s: no message", what)
		}
	}
	a.refused("MissingParameter", "CreateDhcpOptions")
	six := a.do("CreateDhcpOptions", option(1, "domain-name-servers", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4")...)
	a.do("DeleteDhcpOptions", "DhcpOptionsId", six.one("dhcpOptions/dhcpOptionsId"))

	const region = "dopt-00000000000000001"
	used := func() string { t.Helper(); return a.do("DescribeVpcs", "VpcId.1", v).one("vpcSet/item/dhcpOptionsId") }
	equal(t, "the set of a new VPC", used(), region)
	a.do("AssociateDhcpOptions", "DhcpOptionsId", id, "VpcId", v)
	equal(t, "the set", used(), id)
	equal(t, "the VPC by its set", a.do("DescribeVpcs", "Filter.1.Name", "dhcp-options-id", "Filter.1.Value.1", id).one("vpcSet/item/vpcId"), v)
	equal(t, "the text", a.refused("DependencyViolation", "DeleteDhcpOptions", "DhcpOptionsId", id), "The dhcpOptions '"+id+"' has dependencies and cannot be deleted.")
	a.do("AssociateDhcpOptions", "DhcpOptionsId", "default", "VpcId", v)
	equal(t, "no set", used(), "default")
	a.do("DeleteDhcpOptions", "DhcpOptionsId", id)
	a.do("AssociateDhcpOptions", "DhcpOptionsId", region, "VpcId", v)
	equal(t, "the region's set", used(), region)
	a.refused("OperationNotPermitted", "DeleteDhcpOptions", "DhcpOptionsId", region)
	a.refused("UnsupportedOperation", "CreateTags", "ResourceId.1", region, "Tag.1.Key", "a")

	mine := a.do("CreateDhcpOptions", option(1, "domain-name", "a.example")...).one("dhcpOptions/dhcpOptionsId")
	for _, action := range []string{"AssociateDhcpOptions", "DeleteDhcpOptions"} {
		more := []string{}
		if action == "AssociateDhcpOptions" {
			more = []string{"VpcId", v}
		}
		a.refused("InvalidDhcpOptionID.NotFound", action, append(more, "DhcpOptionsId", id)...)
		a.refused("InvalidDhcpOptionsId.Malformed", action, append(more, "DhcpOptionsId", "x")...)
	}
	theirs := a.as(controltest.Provider, "CreateVpc", "CidrBlock", "10.0.0.0/16").one("vpc/vpcId")
	a.refusedAs(controltest.Provider, "InvalidDhcpOptionID.NotFound", "AssociateDhcpOptions", "DhcpOptionsId", mine, "VpcId", theirs)
	a.refused("InvalidVpcID.NotFound", "AssociateDhcpOptions", "DhcpOptionsId", mine, "VpcId", theirs)
	a.refusedAs(controltest.Provider, "InvalidDhcpOptionID.NotFound", "DescribeDhcpOptions", "DhcpOptionsId.1", mine)
	equalLists(t, "what another account sees", a.as(controltest.Provider, "DescribeDhcpOptions").all("dhcpOptionsSet/item/dhcpOptionsId"), []string{region})
}

func TestDefaultVpc(t *testing.T) {
	a := newNetAPI(t)
	def := func() string {
		return a.do("DescribeAccountAttributes", "AttributeName.1", "default-vpc").one("accountAttributeSet/item/attributeValueSet/item/attributeValue")
	}
	equal(t, "the default VPC before", def(), "none")
	a.refused("DefaultVpcDoesNotExist", "CreateDefaultSubnet", "AvailabilityZone", "us-east-1a")
	a.refused("VPCIdNotSpecified", "CreateSecurityGroup", "GroupName", "web", "GroupDescription", "d")
	a.refused("VPCIdNotSpecified", "DescribeSecurityGroups", "GroupName.1", "default")
	a.refused("DryRunOperation", "CreateDefaultVpc", "DryRun", "true")
	made := a.do("CreateDefaultVpc")
	v := made.one("vpc/vpcId")
	equal(t, "the VPC", made.one("vpc/cidrBlock")+made.one("vpc/isDefault"), "172.31.0.0/16true")
	equal(t, "the default VPC", def(), v)
	equal(t, "DNS hostnames", a.do("DescribeVpcAttribute", "VpcId", v, "Attribute", "enableDnsHostnames").one("enableDnsHostnames/value"), "true")
	equal(t, "found by is-default", a.do("DescribeVpcs", "Filter.1.Name", "is-default", "Filter.1.Value.1", "true").one("vpcSet/item/vpcId"), v)
	d := a.do("DescribeSubnets", "Filter.1.Name", "default-for-az", "Filter.1.Value.1", "true", "Filter.2.Name", "map-public-ip-on-launch", "Filter.2.Value.1", "true")
	equal(t, "the default subnets", len(d.all("subnetSet/item")), 3)
	equalLists(t, "their marks", d.all("subnetSet/item/defaultForAz"), []string{"true", "true", "true"})
	g := a.do("DescribeInternetGateways", "Filter.1.Name", "attachment.vpc-id", "Filter.1.Value.1", v).one("internetGatewaySet/item/internetGatewayId")
	r := a.do("DescribeRouteTables", "Filter.1.Name", "route.gateway-id", "Filter.1.Value.1", g)
	equalLists(t, "the routes", r.all("routeTableSet/item/routeSet/item/destinationCidrBlock"), []string{"172.31.0.0/16", "0.0.0.0/0"})
	equalLists(t, "their states", r.all("routeTableSet/item/routeSet/item/state"), []string{"active", "active"})
	a.refused("DefaultVpcAlreadyExists", "CreateDefaultVpc")
	a.refused("DefaultSubnetAlreadyExistsInAvailabilityZone", "CreateDefaultSubnet", "AvailabilityZone", "us-east-1a")
	a.refused("InvalidParameterValue", "CreateDefaultSubnet", "AvailabilityZone", "us-east-1z")
	a.refused("MissingParameter", "CreateDefaultSubnet")
	a.refused("UnsupportedOperation", "CreateDefaultSubnet", "AvailabilityZone", "us-east-1a", "Ipv6Native", "true")

	// What names neither VPC nor subnet is in it, and its groups have names.
	web := a.do("CreateSecurityGroup", "GroupName", "web", "GroupDescription", "d").one("groupId")
	a.group(a.vpc("10.0.0.0/16"), "elsewhere")
	equal(t, "the group's VPC", a.do("DescribeSecurityGroups", "GroupName.1", "web").one("securityGroupInfo/item/vpcId"), v)
	a.refused("InvalidGroup.NotFound", "DescribeSecurityGroups", "GroupName.1", "elsewhere")
	a.do("AuthorizeSecurityGroupIngress", "GroupName", "web", "CidrIp", "10.0.0.0/8", "IpProtocol", "tcp", "FromPort", "80", "ToPort", "80")
	a.do("UpdateSecurityGroupRuleDescriptionsIngress", "GroupName", "web", "IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "80", "IpPermissions.1.ToPort", "80",
		"IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8", "IpPermissions.1.IpRanges.1.Description", "x")
	a.do("RevokeSecurityGroupIngress", "GroupName", "web", "CidrIp", "10.0.0.0/8", "IpProtocol", "tcp", "FromPort", "80", "ToPort", "80")
	launch := []string{"ImageId", "ami-1", "MinCount", "1", "MaxCount", "1"}
	with := func(pairs ...string) []string { return append(slices.Clone(launch), pairs...) }
	run := a.do("RunInstances", with("SecurityGroup.1", "web")...)
	equal(t, "the instance's group and zone", run.one("instancesSet/item/groupSet/item/groupId")+run.one("instancesSet/item/placement/availabilityZone"), web+"us-east-1a")
	a.refused("InvalidGroup.NotFound", "RunInstances", with("SecurityGroup.1", "elsewhere")...)
	a.refused("InvalidParameterCombination", "RunInstances", with("SecurityGroup.1", "web", "SubnetId", "subnet-00000000000000001")...)
	a.refused("InvalidParameterValue", "RunInstances", with("Placement.AvailabilityZone", "us-east-1z")...)
	a.refused("DependencyViolation", "DeleteSecurityGroup", "GroupName", "web")
	a.refused("DependencyViolation", "DeleteVpc", "VpcId", v)

	// A zone without its default subnet.
	b := a.do("DescribeSubnets", "Filter.1.Name", "availability-zone", "Filter.1.Value.1", "us-east-1b").one("subnetSet/item/subnetId")
	a.do("DeleteSubnet", "SubnetId", b)
	equal(t, "the text", a.refused("MissingInput", "RunInstances", with("Placement.AvailabilityZone", "us-east-1b")...), "No subnets found for the default VPC '"+v+"'. Please specify a subnet.")
	s := a.do("CreateDefaultSubnet", "AvailabilityZoneId", "use1-az2")
	equal(t, "the new one", s.one("subnet/cidrBlock")+s.one("subnet/availabilityZone")+s.one("subnet/defaultForAz"), "172.31.16.0/20us-east-1btrue")
	a.refusedAs(controltest.Provider, "VPCIdNotSpecified", "RunInstances", launch...)
}

func TestTenancyAndLaunchAttributesAreKept(t *testing.T) {
	a := newNetAPI(t)
	made := a.do("CreateVpc", "CidrBlock", "10.0.0.0/16", "InstanceTenancy", "dedicated")
	v := made.one("vpc/vpcId")
	equal(t, "the tenancy", made.one("vpc/instanceTenancy"), "dedicated")
	a.refused("InvalidParameterValue", "CreateVpc", "CidrBlock", "10.0.0.0/16", "InstanceTenancy", "host")
	s := a.subnet(v, "10.0.1.0/24")
	launch := func() string {
		return a.do("RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "SubnetId", s).one("instancesSet/item/placement/tenancy")
	}
	equal(t, "an instance's tenancy", launch(), "dedicated")
	a.refused("InvalidParameterValue", "ModifyVpcTenancy", "VpcId", v, "InstanceTenancy", "dedicated")
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "ModifyVpcTenancy", "VpcId", v, "InstanceTenancy", "default")
	a.refused("DryRunOperation", "ModifyVpcTenancy", "VpcId", v, "InstanceTenancy", "default", "DryRun", "true")
	equal(t, "the answer", a.do("ModifyVpcTenancy", "VpcId", v, "InstanceTenancy", "default").one("return"), "true")
	equal(t, "the tenancy after", a.do("DescribeVpcs", "VpcId.1", v).one("vpcSet/item/instanceTenancy"), "default")
	a.refused("InvalidTenancy", "ModifyVpcTenancy", "VpcId", v, "InstanceTenancy", "default")
	equal(t, "a later instance's tenancy", launch(), "default")
	equal(t, "instances by tenancy", len(a.do("DescribeInstances", "Filter.1.Name", "tenancy", "Filter.1.Value.1", "dedicated").all("reservationSet/item")), 1)

	modify := func(pairs ...string) []string { return append([]string{"SubnetId", s}, pairs...) }
	a.do("ModifySubnetAttribute", modify("PrivateDnsHostnameTypeOnLaunch", "resource-name")...)
	a.do("ModifySubnetAttribute", modify("EnableResourceNameDnsARecordOnLaunch.Value", "true")...)
	a.do("ModifySubnetAttribute", modify("EnableResourceNameDnsAAAARecordOnLaunch.Value", "false")...)
	d := a.do("DescribeSubnets", "Filter.1.Name", "private-dns-name-options-on-launch.hostname-type", "Filter.1.Value.1", "resource-name",
		"Filter.2.Name", "private-dns-name-options-on-launch.enable-resource-name-dns-a-record", "Filter.2.Value.1", "true")
	const o = "subnetSet/item/privateDnsNameOptionsOnLaunch/"
	equal(t, "the options", d.one(o+"hostnameType")+d.one(o+"enableResourceNameDnsARecord")+d.one(o+"enableResourceNameDnsAAAARecord"), "resource-nametruefalse")
	equal(t, "the text", a.refused("InvalidParameterCombination", "ModifySubnetAttribute", modify("MapPublicIpOnLaunch.Value", "true", "EnableDns64.Value", "false")...),
		"Fields for multiple attribute types specified: enableDns64, mapPublicIpOnLaunch")
	a.refused("InvalidParameterCombination", "ModifySubnetAttribute", modify()...)
	a.refused("InvalidParameterValue", "ModifySubnetAttribute", modify("PrivateDnsHostnameTypeOnLaunch", "x")...)
}

// AWS's spelling differs by type, and between the malformed and the unknown.
func TestMalformedIDsAreSpelledAsInTheListOfCodes(t *testing.T) {
	a := newNetAPI(t)
	for code, c := range map[string][]string{
		"InvalidRouteTableId.Malformed":       {"DescribeRouteTables", "RouteTableId.1"},
		"InvalidNetworkAclId.Malformed":       {"DescribeNetworkAcls", "NetworkAclId.1"},
		"InvalidNetworkInterfaceId.Malformed": {"DescribeNetworkInterfaces", "NetworkInterfaceId.1"},
		"InvalidGroupId.Malformed":            {"DescribeSecurityGroups", "GroupId.1"},
		"InvalidVpcID.Malformed":              {"DescribeVpcs", "VpcId.1"},
		"InvalidSubnetID.Malformed":           {"DescribeSubnets", "SubnetId.1"},
		"InvalidInternetGatewayId.Malformed":  {"DescribeInternetGateways", "InternetGatewayId.1"},
		"NatGatewayMalformed":                 {"DescribeNatGateways", "NatGatewayId.1"},
		"InvalidDhcpOptionsId.Malformed":      {"DescribeDhcpOptions", "DhcpOptionsId.1"},
	} {
		a.refused(code, c[0], c[1], "x")
	}
}
