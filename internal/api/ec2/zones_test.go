// SPDX-License-Identifier: Apache-2.0

package ec2_test

import "testing"

func TestZonesRegionsAndAccount(t *testing.T) {
	a := newNetAPI(t)
	z := a.do("DescribeAvailabilityZones", "AllAvailabilityZones", "true")
	equalLists(t, "the zones", z.all("availabilityZoneInfo/item/zoneName"), []string{"us-east-1a", "us-east-1b", "us-east-1c"})
	equalLists(t, "their states", z.all("availabilityZoneInfo/item/zoneState"), []string{"available", "available", "available"})
	z = a.do("DescribeAvailabilityZones", "ZoneId.1", "use1-az2", "Filter.1.Name", "opt-in-status", "Filter.1.Value.1", "opt-in-not-required")
	equal(t, "the zone by id", z.one("availabilityZoneInfo/item/zoneName"), "us-east-1b")
	equalLists(t, "no zone", a.do("DescribeAvailabilityZones", "Filter.1.Name", "zone-name", "Filter.1.Value.1", "x").all("availabilityZoneInfo/item"), nil)
	a.refused("InvalidParameterValue", "DescribeAvailabilityZones", "ZoneName.1", "eu-west-1a")
	a.refused("InvalidParameterValue", "DescribeAvailabilityZones", "ZoneId.1", "x")
	a.refused("InvalidParameterValue", "DescribeAvailabilityZones", "Filter.1.Name", "nonsense", "Filter.1.Value.1", "x")
	equal(t, "the region", a.do("DescribeRegions", "AllRegions", "false").one("regionInfo/item/regionName"), "us-east-1")
	equal(t, "its endpoint", a.do("DescribeRegions", "RegionName.1", "us-east-1").one("regionInfo/item/regionEndpoint"), "ec2.us-east-1.amazonaws.com")
	a.refused("InvalidParameterValue", "DescribeRegions", "RegionName.1", "eu-west-1")
	at := a.do("DescribeAccountAttributes", "AttributeName.1", "supported-platforms")
	equal(t, "the platforms", at.one("accountAttributeSet/item/attributeValueSet/item/attributeValue"), "VPC")
	at = a.do("DescribeAccountAttributes", "AttributeName.1", "vpc-max-elastic-ips")
	equal(t, "the Elastic IPs it may have", at.one("accountAttributeSet/item/attributeValueSet/item/attributeValue"), "5")
	equal(t, "the number of attributes", len(a.do("DescribeAccountAttributes").all("accountAttributeSet/item")), 6)
	a.refused("InvalidParameterValue", "DescribeAccountAttributes", "AttributeName.1", "x")
	d := a.do("DescribeDhcpOptions", "DhcpOptionsId.1", "dopt-00000000000000001")
	equalLists(t, "the options", d.all("dhcpOptionsSet/item/dhcpConfigurationSet/item/valueSet/item/value"), []string{"ec2.internal", "AmazonProvidedDNS"})
	a.refused("InvalidDhcpOptionID.NotFound", "DescribeDhcpOptions", "DhcpOptionsId.1", "dopt-00000000000000002")
	a.refused("InvalidDhcpOptionsId.Malformed", "DescribeDhcpOptions", "DhcpOptionsId.1", "x")
}

func TestPrefixLists(t *testing.T) {
	a := newNetAPI(t)
	p := a.do("DescribePrefixLists", "Filter.1.Name", "prefix-list-name", "Filter.1.Value.1", "com.amazonaws.us-east-1.s3")
	equal(t, "the list", p.one("prefixListSet/item/prefixListId"), netList)
	equalLists(t, "its blocks", p.all("prefixListSet/item/cidrSet/item"), []string{"192.0.2.0/25", "192.0.2.128/25"})
	// A service without a list: none, and no error.
	equalLists(t, "no list", a.do("DescribePrefixLists", "Filter.1.Name", "prefix-list-name", "Filter.1.Value.1", "com.amazonaws.vpce.us-east-1.vpce-svc-1").all("prefixListSet/item"), nil)
	a.refused("InvalidPrefixListID.NotFound", "DescribePrefixLists", "PrefixListId.1", "pl-00000000000000001")
	a.refused("InvalidPrefixListId.Malformed", "DescribePrefixLists", "PrefixListId.1", "x")
	m := a.do("DescribeManagedPrefixLists", "Filter.1.Name", "owner-id", "Filter.1.Value.1", "AWS")
	equal(t, "the managed list", m.one("prefixListSet/item/prefixListName")+" "+m.one("prefixListSet/item/addressFamily")+" "+m.one("prefixListSet/item/ownerId"), "com.amazonaws.us-east-1.s3 IPv4 AWS")
	equalLists(t, "its version", m.all("prefixListSet/item/version"), nil)
	first := a.do("GetManagedPrefixListEntries", "PrefixListId", netList, "MaxResults", "1")
	second := a.do("GetManagedPrefixListEntries", "PrefixListId", netList, "MaxResults", "1", "NextToken", first.one("nextToken"))
	equal(t, "the pages", first.one("entrySet/item/cidr")+" "+second.one("entrySet/item/cidr")+second.one("nextToken"), "192.0.2.0/25 192.0.2.128/25")
	a.refused("InvalidParameterValue", "GetManagedPrefixListEntries", "PrefixListId", netList, "TargetVersion", "2")
	a.refused("InvalidPrefixListID.NotFound", "GetManagedPrefixListEntries", "PrefixListId", "pl-00000000000000001")
}
