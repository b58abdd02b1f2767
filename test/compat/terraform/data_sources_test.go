// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"postern.dev/postern/test/compat"
)

// data aws_vpc_endpoint: found by filters, and exactly one.
func TestDataVPCEndpoint(t *testing.T) {
	p := start(t)
	v := p.vpc("10.0.0.0/16")
	gateway := p.endpointResource().create(attrs{"vpc_id": v, "service_name": compat.S3, "vpc_endpoint_type": "Gateway", "tags": tagsOne})
	p.endpointResource().create(attrs{"vpc_id": v, "service_name": compat.S3, "vpc_endpoint_type": "Interface", "tags": tagsTwo})
	for _, filters := range [][]ec2types.Filter{
		{filter("vpc-endpoint-state", "available"), filter("vpc-id", v), filter("service-name", compat.S3), filter("tag:Name", "one")},
		{filter("vpc-id", v), filter("tag:odd", tagsOne["odd"])},
		{filter("vpc-endpoint-type", "Gateway")},
		{filter("vpc-endpoint-state", "Available"), filter("tag:Name", "one")}, // as the SDK's constant spells it
		{filter("service-name", "com.amazonaws.*.s3"), filter("tag-key", "empty")},
	} {
		out := must[*ec2.DescribeVpcEndpointsOutput](p)(p.ec2.DescribeVpcEndpoints(p.ctx(), &ec2.DescribeVpcEndpointsInput{Filters: filters}))
		if len(out.VpcEndpoints) != 1 || *out.VpcEndpoints[0].VpcEndpointId != gateway {
			t.Errorf("%d endpoints by %+v", len(out.VpcEndpoints), filters)
		}
	}
	out := must[*ec2.DescribeVpcEndpointsOutput](p)(p.ec2.DescribeVpcEndpoints(p.ctx(), &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{filter("vpc-endpoint-state", "pendingAcceptance")}}))
	if len(out.VpcEndpoints) != 0 {
		t.Errorf("%d endpoints in a state that none has", len(out.VpcEndpoints))
	}
}

// data aws_vpc_endpoint_service: must match exactly one detail, so a service
// of both types needs the filter; a code says that there is none.
func TestDataVPCEndpointService(t *testing.T) {
	p := start(t)
	q := p.other("other")
	_, name := p.offer(true, "*")
	for _, kind := range []string{"Gateway", "Interface"} {
		out := must[*ec2.DescribeVpcEndpointServicesOutput](p)(p.ec2.DescribeVpcEndpointServices(p.ctx(), &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{compat.S3}, Filters: []ec2types.Filter{filter("service-type", kind)}}))
		d, err := one(p, out.ServiceDetails, nil)
		p.ok(err)
		if !slices.Equal(out.ServiceNames, []string{compat.S3}) || string(d.ServiceType[0].ServiceType) != kind || *d.Owner != "amazon" || *d.AcceptanceRequired || !*d.VpcEndpointPolicySupported || len(d.AvailabilityZones) != 3 {
			t.Errorf("%s: %q %+v", kind, out.ServiceNames, d)
		}
	}
	out := must[*ec2.DescribeVpcEndpointServicesOutput](q)(q.ec2.DescribeVpcEndpointServices(q.ctx(), &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{name}}))
	d, err := one(q, out.ServiceDetails, nil)
	q.ok(err)
	if *d.Owner != p.account || !*d.AcceptanceRequired || *d.VpcEndpointPolicySupported || aws.ToString(d.ServiceId) == "" || len(d.BaseEndpointDnsNames) != 1 {
		t.Errorf("%+v", d)
	}
	_, err = p.ec2.DescribeVpcEndpointServices(p.ctx(), &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{"com.amazonaws.us-east-1.none"}})
	p.refused(err, "InvalidServiceName")
	// data "aws_vpc_endpoint_service" { filter { name = "service-name" } }
	out = must[*ec2.DescribeVpcEndpointServicesOutput](q)(q.ec2.DescribeVpcEndpointServices(q.ctx(), &ec2.DescribeVpcEndpointServicesInput{Filters: []ec2types.Filter{filter("service-name", name)}}))
	if len(out.ServiceDetails) != 1 {
		t.Errorf("%d services by filter", len(out.ServiceDetails))
	}
}

func TestDataPrefixList(t *testing.T) {
	p := start(t)
	id := p.s3List()
	for _, f := range []ec2types.Filter{filter("prefix-list-id", id), filter("prefix-list-name", compat.S3)} {
		out := must[*ec2.DescribePrefixListsOutput](p)(p.ec2.DescribePrefixLists(p.ctx(), &ec2.DescribePrefixListsInput{Filters: []ec2types.Filter{f}}))
		l, err := one(p, out.PrefixLists, nil)
		p.ok(err)
		if *l.PrefixListId != id || *l.PrefixListName != compat.S3 || len(l.Cidrs) != 2 {
			t.Errorf("%+v", l)
		}
	}
	// data aws_ec2_managed_prefix_list
	out := must[*ec2.DescribeManagedPrefixListsOutput](p)(p.ec2.DescribeManagedPrefixLists(p.ctx(), &ec2.DescribeManagedPrefixListsInput{Filters: []ec2types.Filter{filter("prefix-list-name", compat.S3)}}))
	l, err := one(p, out.PrefixLists, nil)
	p.ok(err)
	if *l.OwnerId != "AWS" || *l.PrefixListId != id {
		t.Errorf("%+v", l)
	}
	entries := must[*ec2.GetManagedPrefixListEntriesOutput](p)(p.ec2.GetManagedPrefixListEntries(p.ctx(), &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id}))
	if len(entries.Entries) != 2 {
		t.Errorf("%d entries", len(entries.Entries))
	}
	_, err = p.ec2.DescribePrefixLists(p.ctx(), &ec2.DescribePrefixListsInput{PrefixListIds: []string{"pl-0123456789abcdef0"}})
	p.refused(err, "InvalidPrefixListID.NotFound", "InvalidPrefixListId.NotFound")
}

func TestDataZonesAndRegion(t *testing.T) {
	p := start(t)
	out := must[*ec2.DescribeAvailabilityZonesOutput](p)(p.ec2.DescribeAvailabilityZones(p.ctx(), &ec2.DescribeAvailabilityZonesInput{Filters: []ec2types.Filter{filter("state", "available"), filter("opt-in-status", "opt-in-not-required"), filter("region-name", compat.Region)}}))
	var names, ids []string
	for _, z := range out.AvailabilityZones {
		names, ids = append(names, *z.ZoneName), append(ids, *z.ZoneId)
		if z.State != "available" || z.OptInStatus != "opt-in-not-required" || *z.RegionName != compat.Region || *z.GroupName == "" || *z.NetworkBorderGroup == "" || *z.ZoneType != "availability-zone" {
			t.Errorf("zone %+v", z)
		}
	}
	if !slices.Equal(names, []string{"us-east-1a", "us-east-1b", "us-east-1c"}) || !slices.Equal(ids, []string{"use1-az1", "use1-az2", "use1-az3"}) {
		t.Errorf("zones %q, %q", names, ids)
	}
	out = must[*ec2.DescribeAvailabilityZonesOutput](p)(p.ec2.DescribeAvailabilityZones(p.ctx(), &ec2.DescribeAvailabilityZonesInput{Filters: []ec2types.Filter{filter("zone-id", "use1-az2")}}))
	if len(out.AvailabilityZones) != 1 {
		t.Errorf("%d zones by id", len(out.AvailabilityZones))
	}
	regions := must[*ec2.DescribeRegionsOutput](p)(p.ec2.DescribeRegions(p.ctx(), &ec2.DescribeRegionsInput{Filters: []ec2types.Filter{filter("region-name", compat.Region)}}))
	if len(regions.Regions) != 1 || *regions.Regions[0].RegionName != compat.Region || aws.ToString(regions.Regions[0].Endpoint) == "" {
		t.Errorf("%+v", regions.Regions)
	}
	// Older provider versions ask for this at their start.
	account := must[*ec2.DescribeAccountAttributesOutput](p)(p.ec2.DescribeAccountAttributes(p.ctx(), &ec2.DescribeAccountAttributesInput{AttributeNames: []ec2types.AccountAttributeName{"supported-platforms"}}))
	if len(account.AccountAttributes) != 1 || *account.AccountAttributes[0].AttributeValues[0].AttributeValue != "VPC" {
		t.Errorf("%+v", account.AccountAttributes)
	}
}

// The data sources of the building blocks: by filter and by tag.
func TestDataNetwork(t *testing.T) {
	p := start(t)
	v := p.vpcResource().create(attrs{"cidr_block": "10.0.0.0/16", "tags": tagsOne})
	p.vpcResource().create(attrs{"cidr_block": "10.1.0.0/16", "tags": tagsTwo})
	s := p.subnetResource().create(attrs{"vpc_id": v, "cidr_block": "10.0.1.0/24", "availability_zone": "us-east-1a", "tags": tagsOne})
	p.subnet(v, "10.0.2.0/24", "us-east-1b")
	g := p.groupResource().create(attrs{"vpc_id": v, "name": "web", "description": "x", "tags": tagsOne})
	rt := p.tableResource().create(attrs{"vpc_id": v, "tags": tagsOne})
	p.associationResource().create(attrs{"route_table_id": rt, "subnet_id": s})

	vpcs := must[*ec2.DescribeVpcsOutput](p)(p.ec2.DescribeVpcs(p.ctx(), &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("cidr", "10.0.0.0/16"), filter("is-default", "false"), filter("state", "available"), filter("tag:Name", "one")}}))
	if len(vpcs.Vpcs) != 1 || *vpcs.Vpcs[0].VpcId != v {
		t.Errorf("%d VPCs", len(vpcs.Vpcs))
	}
	dhcp := must[*ec2.DescribeDhcpOptionsOutput](p)(p.ec2.DescribeDhcpOptions(p.ctx(), &ec2.DescribeDhcpOptionsInput{DhcpOptionsIds: []string{*vpcs.Vpcs[0].DhcpOptionsId}}))
	if len(dhcp.DhcpOptions) != 1 {
		t.Errorf("%d DHCP options", len(dhcp.DhcpOptions))
	}
	for _, filters := range [][]ec2types.Filter{
		{filter("vpc-id", v), filter("availability-zone", "us-east-1a"), filter("default-for-az", "false"), filter("state", "available")},
		{filter("cidr-block", "10.0.1.0/24")}, {filter("tag:Name", "one"), filter("vpc-id", v)},
	} {
		out := must[*ec2.DescribeSubnetsOutput](p)(p.ec2.DescribeSubnets(p.ctx(), &ec2.DescribeSubnetsInput{Filters: filters}))
		if len(out.Subnets) != 1 || *out.Subnets[0].SubnetId != s {
			t.Errorf("%d subnets by %+v", len(out.Subnets), filters)
		}
	}
	groups := must[*ec2.DescribeSecurityGroupsOutput](p)(p.ec2.DescribeSecurityGroups(p.ctx(), &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter("group-name", "web"), filter("vpc-id", v), filter("tag:Name", "one")}}))
	if len(groups.SecurityGroups) != 1 || *groups.SecurityGroups[0].GroupId != g {
		t.Errorf("%d groups", len(groups.SecurityGroups))
	}
	for _, f := range []ec2types.Filter{filter("association.subnet-id", s), filter("tag:Name", "one"), filter("route-table-id", rt)} {
		out := must[*ec2.DescribeRouteTablesOutput](p)(p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{f}}))
		if len(out.RouteTables) != 1 || *out.RouteTables[0].RouteTableId != rt {
			t.Errorf("%d tables by %s", len(out.RouteTables), *f.Name)
		}
	}
	lb := p.balancerResource().create(attrs{"name": "front", "scheme": "internal", "subnets": set(s), "tags": tagsOne})
	balancers := must[*elb.DescribeLoadBalancersOutput](p)(p.elb.DescribeLoadBalancers(p.ctx(), &elb.DescribeLoadBalancersInput{Names: []string{"front"}}))
	if len(balancers.LoadBalancers) != 1 || *balancers.LoadBalancers[0].LoadBalancerArn != lb {
		t.Errorf("%d balancers by name", len(balancers.LoadBalancers))
	}
}

// Trap 11: the spelling of "not found" differs by type, and each is what the
// provider tests for.
func TestEveryTypeHasItsOwnNotFoundCode(t *testing.T) {
	p := start(t)
	v := p.vpc("10.0.0.0/16")
	table, acl := p.table(v), p.aclResource().create(attrs{"vpc_id": v})
	const n = "-0123456789abcdef0"
	for want, call := range map[string]func() error{
		"InvalidVpcID.NotFound": func() error {
			_, err := p.ec2.DescribeVpcs(p.ctx(), &ec2.DescribeVpcsInput{VpcIds: []string{"vpc" + n}})
			return err
		},
		"InvalidSubnetID.NotFound": func() error {
			_, err := p.ec2.DescribeSubnets(p.ctx(), &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet" + n}})
			return err
		},
		"InvalidRouteTableID.NotFound": func() error {
			_, err := p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{"rtb" + n}})
			return err
		},
		"InvalidGroup.NotFound": func() error {
			_, err := p.ec2.DescribeSecurityGroups(p.ctx(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{"sg" + n}})
			return err
		},
		"InvalidSecurityGroupRuleId.NotFound": func() error {
			_, err := p.ec2.DescribeSecurityGroupRules(p.ctx(), &ec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{"sgr" + n}})
			return err
		},
		"InvalidNetworkAclID.NotFound": func() error {
			_, err := p.ec2.DescribeNetworkAcls(p.ctx(), &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{"acl" + n}})
			return err
		},
		"InvalidNetworkInterfaceID.NotFound": func() error {
			_, err := p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{"eni" + n}})
			return err
		},
		"InvalidInstanceID.NotFound": func() error {
			_, err := p.ec2.DescribeInstances(p.ctx(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i" + n}})
			return err
		},
		"InvalidAssociationID.NotFound": func() error {
			_, err := p.ec2.DisassociateRouteTable(p.ctx(), &ec2.DisassociateRouteTableInput{AssociationId: aws.String("rtbassoc" + n)})
			return err
		},
		"InvalidRoute.NotFound": func() error {
			_, err := p.ec2.DeleteRoute(p.ctx(), &ec2.DeleteRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String("192.0.2.0/24")})
			return err
		},
		"InvalidNetworkAclEntry.NotFound": func() error {
			_, err := p.ec2.DeleteNetworkAclEntry(p.ctx(), &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &acl, Egress: aws.Bool(true), RuleNumber: aws.Int32(7)})
			return err
		},
		"InvalidVpcCidrBlockAssociationID.NotFound": func() error {
			_, err := p.ec2.DisassociateVpcCidrBlock(p.ctx(), &ec2.DisassociateVpcCidrBlockInput{AssociationId: aws.String("vpc-cidr-assoc" + n)})
			return err
		},
		"InvalidVpcEndpointServiceId.NotFound": func() error {
			_, err := p.ec2.DescribeVpcEndpointServicePermissions(p.ctx(), &ec2.DescribeVpcEndpointServicePermissionsInput{ServiceId: aws.String("vpce-svc" + n)})
			return err
		},
	} {
		p.refused(call(), want)
	}
}
