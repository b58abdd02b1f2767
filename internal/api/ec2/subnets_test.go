// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func TestSubnetLifeCycle(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.do("CreateSubnet", "VpcId", v, "CidrBlock", "10.0.1.77/24", "AvailabilityZoneId", "use1-az2",
		"TagSpecification.1.ResourceType", "subnet", "TagSpecification.1.Tag.1.Key", "Name", "TagSpecification.1.Tag.1.Value", "x")
	id := s.one("subnet/subnetId")
	equal(t, "the canonical block", s.one("subnet/cidrBlock"), "10.0.1.0/24")
	equal(t, "the zone", s.one("subnet/availabilityZone"), "us-east-1b")
	equal(t, "the ARN", s.one("subnet/subnetArn"), "arn:aws:ec2:us-east-1:111111111111:subnet/"+id)
	equal(t, "the free addresses", s.one("subnet/availableIpAddressCount"), "251")
	equal(t, "the tag", s.one("subnet/tagSet/item/value"), "x")
	for _, b := range []string{"mapPublicIpOnLaunch", "assignIpv6AddressOnCreation", "defaultForAz", "enableDns64", "ipv6Native"} {
		equal(t, b, s.one("subnet/"+b), "false")
	}
	equal(t, "the host name type", s.one("subnet/privateDnsNameOptionsOnLaunch/hostnameType"), "ip-name")

	other := a.subnet(v, "10.0.2.0/24")
	equal(t, "the zone when none is named", a.do("DescribeSubnets", "SubnetId.1", other).one("subnetSet/item/availabilityZone"), "us-east-1a")
	equalLists(t, "the default ACL's subnets", a.do("DescribeNetworkAcls", "Filter.1.Name", "default", "Filter.1.Value.1", "true").all("networkAclSet/item/associationSet/item/subnetId"), []string{id, other})

	n := a.eni(id)
	equal(t, "the free addresses with an interface", a.do("DescribeSubnets", "SubnetId.1", id).one("subnetSet/item/availableIpAddressCount"), "250")
	equal(t, "the refusal", a.refused("DependencyViolation", "DeleteSubnet", "SubnetId", id), "The subnet '"+id+"' has dependencies and cannot be deleted.")
	a.refused("DependencyViolation", "DeleteSubnet", "SubnetId", id, "DryRun", "true")
	a.do("DeleteNetworkInterface", "NetworkInterfaceId", n)

	a.do("ModifySubnetAttribute", "SubnetId", id, "MapPublicIpOnLaunch.Value", "true")
	equal(t, "the attribute", a.do("DescribeSubnets", "Filter.1.Name", "map-public-ip-on-launch", "Filter.1.Value.1", "true").one("subnetSet/item/subnetId"), id)
	a.do("ModifySubnetAttribute", "SubnetId", id, "EnableDns64.Value", "false")
	a.refused("UnsupportedOperation", "ModifySubnetAttribute", "SubnetId", id, "EnableDns64.Value", "true")

	table := a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId")
	a.do("AssociateRouteTable", "RouteTableId", table, "SubnetId", id)
	a.refused("DryRunOperation", "DeleteSubnet", "SubnetId", id, "DryRun", "true")
	a.do("DeleteSubnet", "SubnetId", id)
	a.refused("InvalidSubnetID.NotFound", "DescribeSubnets", "SubnetId.1", id)
	equalLists(t, "the default ACL's subnets", a.do("DescribeNetworkAcls", "Filter.1.Name", "default", "Filter.1.Value.1", "true").all("networkAclSet/item/associationSet/item/subnetId"), []string{other})
	equalLists(t, "the table's subnets", a.do("DescribeRouteTables", "RouteTableId.1", table).all("routeTableSet/item/associationSet/item"), nil)
	a.do("DeleteRouteTable", "RouteTableId", table)
}

func TestSubnetErrors(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	create := func(code, vpcID, cidr string, more ...string) string {
		t.Helper()
		return a.refused(code, "CreateSubnet", append([]string{"VpcId", vpcID, "CidrBlock", cidr}, more...)...)
	}
	equal(t, "the text", create("InvalidSubnet.Conflict", v, "10.0.1.128/25"), "The CIDR '10.0.1.128/25' conflicts with another subnet")
	create("InvalidSubnet.Conflict", v, "10.0.0.0/16")
	create("InvalidSubnet.Range", v, "10.1.0.0/24")
	create("InvalidSubnet.Range", v, "10.0.0.0/15")
	create("InvalidSubnet.Range", v, "10.0.2.0/29")
	create("InvalidParameterValue", v, "10.0.2.0")
	create("InvalidParameterValue", v, "2001:db8::/64")
	create("InvalidVpcID.NotFound", "vpc-00000000000000001", "10.0.2.0/24")
	create("InvalidVpcID.Malformed", "vpc-xyz", "10.0.2.0/24")
	if m := create("InvalidParameterValue", v, "10.0.2.0/24", "AvailabilityZone", "us-east-1z"); !strings.Contains(m, "us-east-1a, us-east-1b, us-east-1c") {
		t.Errorf("the refusal of a zone does not name the zones: %s", m)
	}
	create("InvalidParameterCombination", v, "10.0.2.0/24", "AvailabilityZone", "us-east-1a", "AvailabilityZoneId", "use1-az1")
	create("InvalidSubnet.Range", v, "10.0.2.0/24", "Ipv6CidrBlock", "2001:db8::/64")
	create("UnsupportedOperation", v, "10.0.2.0/24", "Ipv6Native", "true")
	create("UnknownParameter", v, "10.0.2.0/24", "Nonsense", "x")
	create("MissingParameter", v, "")
	create("InvalidParameterValue", v, "10.0.2.0/24", "TagSpecification.1.ResourceType", "vpc", "TagSpecification.1.Tag.1.Key", "k")
	create("InvalidParameterValue", v, "10.0.2.0/24", "TagSpecification.1.ResourceType", "subnet", "TagSpecification.1.Tag.1.Key", "aws:k")
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "CreateSubnet", "VpcId", v, "CidrBlock", "10.0.2.0/24")
	a.refusedAs(controltest.Provider, "InvalidSubnetID.NotFound", "DeleteSubnet", "SubnetId", s)
	a.refusedAs(controltest.Provider, "InvalidSubnetID.NotFound", "ModifySubnetAttribute", "SubnetId", s, "MapPublicIpOnLaunch.Value", "true")
	a.refusedAs(controltest.Provider, "InvalidSubnetID.NotFound", "DescribeSubnets", "SubnetId.1", s)
	equalLists(t, "what another account sees", a.as(controltest.Provider, "DescribeSubnets").all("subnetSet/item"), nil)
	a.refused("InvalidParameterValue", "DescribeSubnets", "Filter.1.Name", "nonsense", "Filter.1.Value.1", "x")
}

func TestSubnetRunsOutOfAddresses(t *testing.T) {
	a := newNetAPI(t)
	s := a.subnet(a.vpc("10.0.0.0/28"), "10.0.0.0/28")
	seen := map[string]bool{}
	for range 11 {
		n := a.do("CreateNetworkInterface", "SubnetId", s)
		seen[n.one("networkInterface/privateIpAddress")] = true
	}
	equal(t, "the number of addresses", len(seen), 11)
	equal(t, "the free addresses", a.do("DescribeSubnets", "SubnetId.1", s).one("subnetSet/item/availableIpAddressCount"), "0")
	a.refused("InsufficientFreeAddressesInSubnet", "CreateNetworkInterface", "SubnetId", s)
}

// Two calls that are right alone and wrong together cannot both succeed.
func TestOverlappingSubnetsAtOnce(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		cidr, err := netipPrefix(fmt.Sprintf("10.0.0.0/%d", 20+i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			_, errs[i] = a.c.CreateSubnet(context.Background(), controltest.Consumer, control.CreateSubnetInput{VPC: vpc.VPCID(v), CIDR: cidr})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case control.KindOf(err) != vpc.Conflict:
			t.Errorf("a subnet that overlaps another was refused with %v", err)
		}
	}
	equal(t, "the number of overlapping subnets", made, 1)
}

func TestSubnetQuotaAndPages(t *testing.T) {
	a := newNetAPI(t)
	controltest.HandMade(a.c) // subnets in no network ACL
	v := a.vpc("10.0.0.0/16")
	var own []vpc.Object
	for i := range 200 {
		cidr, _ := netipPrefix(fmt.Sprintf("10.0.%d.0/28", i))
		own = append(own, &vpc.Subnet{ID: vpc.SubnetID(fmt.Sprintf("subnet-%017x", i+1)), Owner: "111111111111", VPC: vpc.VPCID(v), CIDR: cidr, Zone: "us-east-1a"})
	}
	a.put(own...)
	a.refused("SubnetLimitExceeded", "CreateSubnet", "VpcId", v, "CidrBlock", "10.0.220.0/24")
	token, n := "", 0
	for {
		pairs := []string{"MaxResults", "70"}
		if token != "" {
			pairs = append(pairs, "NextToken", token)
		}
		page := a.do("DescribeSubnets", pairs...)
		n += len(page.all("subnetSet/item"))
		if token = page.one("nextToken"); token == "" {
			break
		}
	}
	equal(t, "the number of subnets in all pages", strconv.Itoa(n), "200")
	a.refused("InvalidNextToken", "DescribeSubnets", "NextToken", "bm9uc2Vuc2U")
}
