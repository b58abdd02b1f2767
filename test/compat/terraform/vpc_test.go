// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"
)

func (p *provider) findVPC(id string) (ec2types.Vpc, error) {
	out, err := p.ec2.DescribeVpcs(p.ctx(), &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	if err != nil {
		return ec2types.Vpc{}, gone(err, "InvalidVpcID.NotFound")
	}
	return one(p, out.Vpcs, nil)
}

// vpcAttribute reads one attribute; there is one call per attribute.
func (p *provider) vpcAttribute(id string, name ec2types.VpcAttributeName) (bool, error) {
	out, err := p.ec2.DescribeVpcAttribute(p.ctx(), &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: name})
	if err != nil {
		return false, gone(err, "InvalidVpcID.NotFound")
	}
	v := map[ec2types.VpcAttributeName]*ec2types.AttributeBooleanValue{
		ec2types.VpcAttributeNameEnableDnsSupport: out.EnableDnsSupport, ec2types.VpcAttributeNameEnableDnsHostnames: out.EnableDnsHostnames,
		ec2types.VpcAttributeNameEnableNetworkAddressUsageMetrics: out.EnableNetworkAddressUsageMetrics,
	}[name]
	if v == nil || v.Value == nil {
		return false, errGone
	}
	return *v.Value, nil
}

var vpcAttributes = map[string]ec2types.VpcAttributeName{
	"enable_dns_support":                   ec2types.VpcAttributeNameEnableDnsSupport,
	"enable_dns_hostnames":                 ec2types.VpcAttributeNameEnableDnsHostnames,
	"enable_network_address_usage_metrics": ec2types.VpcAttributeNameEnableNetworkAddressUsageMetrics,
}

// setVPCAttribute sends one attribute and polls until it shows.
func (p *provider) setVPCAttribute(id, key string, value bool) {
	p.t.Helper()
	in := &ec2.ModifyVpcAttributeInput{VpcId: &id}
	v := &ec2types.AttributeBooleanValue{Value: &value}
	switch key {
	case "enable_dns_support":
		in.EnableDnsSupport = v
	case "enable_dns_hostnames":
		in.EnableDnsHostnames = v
	case "enable_network_address_usage_metrics":
		in.EnableNetworkAddressUsageMetrics = v
	}
	_, err := p.ec2.ModifyVpcAttribute(p.ctx(), in)
	p.ok(err)
	want := strconv.FormatBool(value)
	p.wait(key, []string{strconv.FormatBool(!value)}, []string{want}, 2, func() (string, error) {
		b, err := p.vpcAttribute(id, vpcAttributes[key])
		return strconv.FormatBool(b), err
	})
}

func (p *provider) vpcResource() resource {
	return resource{
		create: func(c attrs) string {
			out := must[*ec2.CreateVpcOutput](p)(p.ec2.CreateVpc(p.ctx(), &ec2.CreateVpcInput{
				CidrBlock: aws.String(c.str("cidr_block")), AmazonProvidedIpv6CidrBlock: aws.Bool(false),
				InstanceTenancy: ec2types.TenancyDefault, TagSpecifications: tagSpec(ec2types.ResourceTypeVpc, c),
			}))
			id := *out.Vpc.VpcId
			p.wait("the VPC", []string{"pending"}, []string{"available"}, 1, func() (string, error) {
				v, err := p.findVPC(id)
				return string(v.State), err
			})
			for key, name := range vpcAttributes {
				if have := must[bool](p)(p.vpcAttribute(id, name)); c[key] != nil && have != c[key] {
					p.setVPCAttribute(id, key, c[key].(bool))
				}
			}
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			v, err := p.findVPC(id)
			if err != nil {
				return nil, err
			}
			a := attrs{
				"arn": p.arn("ec2", "vpc/"+*v.VpcId), "owner_id": *v.OwnerId, "cidr_block": *v.CidrBlock, "dhcp_options_id": *v.DhcpOptionsId,
				"instance_tenancy": string(v.InstanceTenancy), "is_default": *v.IsDefault, "ipv6_associations": len(v.Ipv6CidrBlockAssociationSet),
				"tags": tagMap(v.Tags),
			}
			for key, name := range vpcAttributes {
				if a[key], err = p.vpcAttribute(id, name); err != nil {
					return nil, err
				}
			}
			// Trap 8: the default ACL, main table and default group are found by filters.
			acls, err := p.ec2.DescribeNetworkAcls(p.ctx(), &ec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{filter("default", "true"), filter("vpc-id", id)}})
			p.ok(err)
			acl, err := one(p, acls.NetworkAcls, nil)
			p.ok(err)
			a["default_network_acl_id"] = *acl.NetworkAclId
			// Trap 1: exactly one table has the main association, which has no subnet.
			tables, err := p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("association.main", "true"), filter("vpc-id", id)}})
			p.ok(err)
			table, err := one(p, tables.RouteTables, nil)
			p.ok(err)
			main := 0
			for _, s := range table.Associations {
				if *s.Main {
					main++
					if s.SubnetId != nil {
						p.t.Errorf("the main association names the subnet %s", *s.SubnetId)
					}
				}
			}
			if main != 1 {
				p.t.Errorf("%d main associations", main)
			}
			a["main_route_table_id"] = *table.RouteTableId
			groups, err := p.ec2.DescribeSecurityGroups(p.ctx(), &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter("group-name", "default"), filter("vpc-id", id)}})
			p.ok(err)
			group, err := one(p, groups.SecurityGroups, nil)
			p.ok(err)
			a["default_security_group_id"] = *group.GroupId
			return a, nil
		},
		update: func(id string, from, to attrs) string {
			// Host names need DNS support: the provider turns support on first and off last.
			for _, key := range []string{"enable_dns_hostnames", "enable_dns_support", "enable_network_address_usage_metrics"} {
				if from.changed(to, key) {
					p.setVPCAttribute(id, key, to[key].(bool))
				}
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			_, err := p.ec2.DeleteVpc(p.ctx(), &ec2.DeleteVpcInput{VpcId: &id})
			if !tfawserr.ErrCodeEquals(err, "InvalidVpcID.NotFound") {
				p.ok(err)
			}
			p.wait("the VPC's end", nil, nil, 1, func() (string, error) {
				v, err := p.findVPC(id)
				return string(v.State), err
			})
		},
	}
}

// vpc is a VPC that tests put things in.
func (p *provider) vpc(cidr string) string {
	p.t.Helper()
	return p.vpcResource().create(attrs{"cidr_block": cidr, "enable_dns_hostnames": true})
}

func TestVPC(t *testing.T) {
	p := start(t)
	p.lifecycle(p.vpcResource(), attrs{"cidr_block": "10.0.0.0/16", "enable_dns_support": true, "enable_dns_hostnames": false, "instance_tenancy": "default", "tags": tagsOne}, []change{
		{set: attrs{"enable_dns_hostnames": true}},
		{set: attrs{"enable_network_address_usage_metrics": true, "tags": tagsTwo}},
		{set: attrs{"enable_dns_hostnames": false, "enable_dns_support": false}},
		{set: attrs{"tags": map[string]string{}}},
	}, func(id string, state attrs) {
		// Trap 9: two attributes in one call are refused.
		yes := &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}
		_, err := p.ec2.ModifyVpcAttribute(p.ctx(), &ec2.ModifyVpcAttributeInput{VpcId: &id, EnableDnsSupport: yes, EnableDnsHostnames: yes})
		if text := p.refused(err, "InvalidParameterCombination"); !strings.HasPrefix(text, "Fields for multiple attribute types specified: ") {
			t.Errorf("text %q", text)
		}
		// Deletion with something in it: the provider retries this code for minutes.
		subnet := p.subnet(id, "10.0.0.0/24", "us-east-1a")
		_, err = p.ec2.DeleteVpc(p.ctx(), &ec2.DeleteVpcInput{VpcId: &id})
		p.refused(err, "DependencyViolation")
		p.subnetResource().remove(subnet, nil)
	})
}

// aws_vpc_ipv4_cidr_block_association
func TestVPCCIDRAssociation(t *testing.T) {
	p := start(t)
	id := p.vpc("10.0.0.0/16")
	find := func(p *provider, assoc string) (ec2types.VpcCidrBlockAssociation, string, error) {
		out, err := p.ec2.DescribeVpcs(p.ctx(), &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("cidr-block-association.association-id", assoc)}})
		if err != nil {
			return ec2types.VpcCidrBlockAssociation{}, "", err
		}
		v, err := one(p, out.Vpcs, nil)
		for _, a := range v.CidrBlockAssociationSet {
			if *a.AssociationId == assoc && a.CidrBlockState.State != ec2types.VpcCidrBlockStateCodeDisassociated {
				return a, *v.VpcId, nil
			}
		}
		if err == nil {
			err = errGone
		}
		return ec2types.VpcCidrBlockAssociation{}, "", err
	}
	state := func(assoc string) func() (string, error) {
		return func() (string, error) {
			a, _, err := find(p, assoc)
			if err != nil {
				return "", err
			}
			return string(a.CidrBlockState.State), nil
		}
	}
	p.lifecycle(resource{
		create: func(c attrs) string {
			out := must[*ec2.AssociateVpcCidrBlockOutput](p)(p.ec2.AssociateVpcCidrBlock(p.ctx(), &ec2.AssociateVpcCidrBlockInput{VpcId: &id, CidrBlock: aws.String(c.str("cidr_block"))}))
			assoc := *out.CidrBlockAssociation.AssociationId
			p.wait("the association", []string{"associating", "disassociated", "failing"}, []string{"associated"}, 1, state(assoc))
			return assoc
		},
		read: func(p *provider, assoc string) (attrs, error) {
			a, v, err := find(p, assoc)
			if err != nil {
				return nil, err
			}
			return attrs{"cidr_block": *a.CidrBlock, "vpc_id": v}, nil
		},
		remove: func(assoc string, _ attrs) {
			_, err := p.ec2.DisassociateVpcCidrBlock(p.ctx(), &ec2.DisassociateVpcCidrBlockInput{AssociationId: &assoc})
			if !tfawserr.ErrCodeEquals(err, "InvalidVpcCidrBlockAssociationID.NotFound") {
				p.ok(err)
			}
			p.wait("the association's end", []string{"associated", "disassociating", "failing"}, nil, 1, state(assoc))
		},
	}, attrs{"cidr_block": "10.1.0.0/16", "vpc_id": id}, nil)
	// The first block cannot go.
	v := must[ec2types.Vpc](p)(p.findVPC(id))
	_, err := p.ec2.DisassociateVpcCidrBlock(p.ctx(), &ec2.DisassociateVpcCidrBlockInput{AssociationId: v.CidrBlockAssociationSet[0].AssociationId})
	p.refused(err, "OperationNotPermitted")
}

func (p *provider) findSubnet(id string) (ec2types.Subnet, error) {
	out, err := p.ec2.DescribeSubnets(p.ctx(), &ec2.DescribeSubnetsInput{SubnetIds: []string{id}})
	if err != nil {
		return ec2types.Subnet{}, gone(err, "InvalidSubnetID.NotFound")
	}
	return one(p, out.Subnets, nil)
}

func (p *provider) subnetResource() resource {
	setPublic := func(id string, v bool) {
		p.t.Helper()
		_, err := p.ec2.ModifySubnetAttribute(p.ctx(), &ec2.ModifySubnetAttributeInput{SubnetId: &id, MapPublicIpOnLaunch: &ec2types.AttributeBooleanValue{Value: &v}})
		p.ok(err)
		p.wait("map_public_ip_on_launch", []string{strconv.FormatBool(!v)}, []string{strconv.FormatBool(v)}, 1, func() (string, error) {
			s, err := p.findSubnet(id)
			if err != nil {
				return "", err
			}
			return strconv.FormatBool(*s.MapPublicIpOnLaunch), nil
		})
	}
	return resource{
		create: func(c attrs) string {
			in := &ec2.CreateSubnetInput{VpcId: aws.String(c.str("vpc_id")), CidrBlock: aws.String(c.str("cidr_block")), TagSpecifications: tagSpec(ec2types.ResourceTypeSubnet, c)}
			if z := c.str("availability_zone"); z != "" {
				in.AvailabilityZone = &z
			}
			if z := c.str("availability_zone_id"); z != "" {
				in.AvailabilityZoneId = &z
			}
			id := *must[*ec2.CreateSubnetOutput](p)(p.ec2.CreateSubnet(p.ctx(), in)).Subnet.SubnetId
			p.wait("the subnet", []string{"pending"}, []string{"available"}, 1, func() (string, error) {
				s, err := p.findSubnet(id)
				return string(s.State), err
			})
			if c["map_public_ip_on_launch"] == true {
				setPublic(id, true)
			}
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			s, err := p.findSubnet(id)
			if err != nil {
				return nil, err
			}
			// Trap 10: Terraform compares these booleans, so each has to be there.
			return attrs{
				"arn": *s.SubnetArn, "owner_id": *s.OwnerId, "vpc_id": *s.VpcId, "cidr_block": *s.CidrBlock,
				"availability_zone": *s.AvailabilityZone, "availability_zone_id": *s.AvailabilityZoneId,
				"map_public_ip_on_launch": *s.MapPublicIpOnLaunch, "assign_ipv6_address_on_creation": *s.AssignIpv6AddressOnCreation,
				"default_for_az": *s.DefaultForAz, "enable_dns64": *s.EnableDns64, "ipv6_native": *s.Ipv6Native,
				"private_dns_hostname_type_on_launch":            string(s.PrivateDnsNameOptionsOnLaunch.HostnameType),
				"enable_resource_name_dns_a_record_on_launch":    *s.PrivateDnsNameOptionsOnLaunch.EnableResourceNameDnsARecord,
				"enable_resource_name_dns_aaaa_record_on_launch": *s.PrivateDnsNameOptionsOnLaunch.EnableResourceNameDnsAAAARecord,
				"tags": tagMap(s.Tags),
			}, nil
		},
		update: func(id string, from, to attrs) string {
			if from.changed(to, "map_public_ip_on_launch") {
				setPublic(id, to["map_public_ip_on_launch"].(bool))
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			// Trap 15: leftover interfaces are looked for first.
			must[*ec2.DescribeNetworkInterfacesOutput](p)(p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{filter("subnet-id", id)}}))
			_, err := p.ec2.DeleteSubnet(p.ctx(), &ec2.DeleteSubnetInput{SubnetId: &id})
			if !tfawserr.ErrCodeEquals(err, "InvalidSubnetID.NotFound") {
				p.ok(err)
			}
			p.wait("the subnet's end", nil, nil, 1, func() (string, error) {
				s, err := p.findSubnet(id)
				return string(s.State), err
			})
		},
	}
}

func (p *provider) subnet(vpc, cidr, zone string) string {
	p.t.Helper()
	return p.subnetResource().create(attrs{"vpc_id": vpc, "cidr_block": cidr, "availability_zone": zone})
}

func TestSubnet(t *testing.T) {
	p := start(t)
	id := p.vpc("10.0.0.0/16")
	p.lifecycle(p.subnetResource(), attrs{
		"vpc_id": id, "cidr_block": "10.0.1.0/24", "availability_zone": "us-east-1b", "map_public_ip_on_launch": false,
		"assign_ipv6_address_on_creation": false, "enable_dns64": false, "private_dns_hostname_type_on_launch": "ip-name", "tags": tagsOne,
	}, []change{
		{set: attrs{"map_public_ip_on_launch": true, "tags": tagsTwo}},
		{set: attrs{"map_public_ip_on_launch": false}},
	}, func(subnet string, state attrs) {
		if want := p.arn("ec2", "subnet/"+subnet); state["arn"] != want || state["availability_zone_id"] != "use1-az2" {
			t.Errorf("ARN %v, want %s; zone %v", state["arn"], want, state["availability_zone_id"])
		}
		// Trap 15: with an interface in it, DependencyViolation, and then the
		// provider asks for leftover endpoints by a tag.
		eni := must[*ec2.CreateNetworkInterfaceOutput](p)(p.ec2.CreateNetworkInterface(p.ctx(), &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet})).NetworkInterface.NetworkInterfaceId
		_, err := p.ec2.DeleteSubnet(p.ctx(), &ec2.DeleteSubnetInput{SubnetId: &subnet})
		p.refused(err, "DependencyViolation")
		left := must[*ec2.DescribeVpcEndpointsOutput](p)(p.ec2.DescribeVpcEndpoints(p.ctx(), &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{filter("vpc-id", id), filter("tag:GuardDutyManaged", "true")}}))
		if len(left.VpcEndpoints) != 0 {
			t.Errorf("%d endpoints of nobody", len(left.VpcEndpoints))
		}
		found := must[*ec2.DescribeNetworkInterfacesOutput](p)(p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{filter("subnet-id", subnet)}}))
		if len(found.NetworkInterfaces) != 1 || *found.NetworkInterfaces[0].NetworkInterfaceId != *eni {
			t.Errorf("%d interfaces in the subnet", len(found.NetworkInterfaces))
		}
		_, err = p.ec2.DeleteNetworkInterface(p.ctx(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: eni})
		p.ok(err)
	})
}
