// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"
)

// vpcBlock6 finds an IPv6 block of a VPC by its association, as the provider
// does while it waits for one.
func (p *provider) vpcBlock6(assoc string) (ec2types.VpcIpv6CidrBlockAssociation, error) {
	out, err := p.ec2.DescribeVpcs(p.ctx(), &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("ipv6-cidr-block-association.association-id", assoc)}})
	p.ok(err)
	v, err := one(p, out.Vpcs, nil)
	if err != nil {
		return ec2types.VpcIpv6CidrBlockAssociation{}, err
	}
	i := slices.IndexFunc(v.Ipv6CidrBlockAssociationSet, func(a ec2types.VpcIpv6CidrBlockAssociation) bool { return *a.AssociationId == assoc })
	if i < 0 {
		return ec2types.VpcIpv6CidrBlockAssociation{}, errGone
	}
	return v.Ipv6CidrBlockAssociationSet[i], nil
}

func (p *provider) awaitVPCBlock6(assoc string) {
	p.t.Helper()
	p.wait("the VPC's IPv6 block", []string{"associating", "disassociated", "failing"}, []string{"associated"}, 1, func() (string, error) {
		a, err := p.vpcBlock6(assoc)
		if err != nil {
			return "", err
		}
		return string(a.Ipv6CidrBlockState.State), nil
	})
}

// vpc6Resource is aws_vpc with assign_generated_ipv6_cidr_block.
func (p *provider) vpc6Resource() resource {
	r := p.vpcResource()
	plain := r.read
	r.create = func(c attrs) string {
		out := must[*ec2.CreateVpcOutput](p)(p.ec2.CreateVpc(p.ctx(), &ec2.CreateVpcInput{
			CidrBlock: aws.String(c.str("cidr_block")), AmazonProvidedIpv6CidrBlock: aws.Bool(c["assign_generated_ipv6_cidr_block"] == true),
			InstanceTenancy: ec2types.TenancyDefault, TagSpecifications: tagSpec(ec2types.ResourceTypeVpc, c),
		}))
		for _, a := range out.Vpc.Ipv6CidrBlockAssociationSet {
			p.awaitVPCBlock6(*a.AssociationId)
		}
		return *out.Vpc.VpcId
	}
	r.read = func(p *provider, id string) (attrs, error) {
		a, err := plain(p, id)
		if err != nil {
			return nil, err
		}
		delete(a, "ipv6_associations")
		v, err := p.findVPC(id)
		p.ok(err)
		a["assign_generated_ipv6_cidr_block"], a["ipv6_cidr_block"], a["ipv6_association_id"], a["ipv6_cidr_block_network_border_group"] = false, "", "", ""
		for _, b := range v.Ipv6CidrBlockAssociationSet {
			if b.Ipv6CidrBlockState.State == ec2types.VpcCidrBlockStateCodeAssociated {
				a["assign_generated_ipv6_cidr_block"] = *b.Ipv6Pool == "Amazon"
				a["ipv6_cidr_block"], a["ipv6_association_id"], a["ipv6_cidr_block_network_border_group"] = *b.Ipv6CidrBlock, *b.AssociationId, *b.NetworkBorderGroup
			}
		}
		return a, nil
	}
	r.update = func(id string, from, to attrs) string {
		if from["assign_generated_ipv6_cidr_block"] == true {
			assoc := from.str("ipv6_association_id")
			_, err := p.ec2.DisassociateVpcCidrBlock(p.ctx(), &ec2.DisassociateVpcCidrBlockInput{AssociationId: &assoc})
			p.ok(err)
			p.wait("the end of the VPC's IPv6 block", []string{"associated", "disassociating", "failing"}, nil, 1, func() (string, error) {
				_, err := p.vpcBlock6(assoc)
				return "associated", err
			})
		}
		if to["assign_generated_ipv6_cidr_block"] == true {
			out := must[*ec2.AssociateVpcCidrBlockOutput](p)(p.ec2.AssociateVpcCidrBlock(p.ctx(), &ec2.AssociateVpcCidrBlockInput{VpcId: &id, AmazonProvidedIpv6CidrBlock: aws.Bool(true)}))
			p.awaitVPCBlock6(*out.Ipv6CidrBlockAssociation.AssociationId)
		}
		return id
	}
	return r
}

func TestVPCWithIPv6(t *testing.T) {
	p := start(t)
	computed := []string{"ipv6_cidr_block", "ipv6_association_id", "ipv6_cidr_block_network_border_group"}
	p.lifecycle(p.vpc6Resource(), attrs{"cidr_block": "10.0.0.0/16", "assign_generated_ipv6_cidr_block": true, "tags": tagsOne}, []change{
		{set: attrs{"assign_generated_ipv6_cidr_block": false}, computed: computed},
		{set: attrs{"assign_generated_ipv6_cidr_block": true}, computed: computed},
	}, func(id string, state attrs) {
		// A new group's two rules are revoked one after the other.
		group := must[*ec2.CreateSecurityGroupOutput](p)(p.ec2.CreateSecurityGroup(p.ctx(), &ec2.CreateSecurityGroupInput{VpcId: &id, GroupName: aws.String("six"), Description: aws.String("x")})).GroupId
		for _, perm := range []ec2types.IpPermission{
			{IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}, {Ipv6Ranges: []ec2types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}},
		} {
			perm.IpProtocol, perm.FromPort, perm.ToPort = aws.String("-1"), aws.Int32(0), aws.Int32(0)
			_, err := p.ec2.RevokeSecurityGroupEgress(p.ctx(), &ec2.RevokeSecurityGroupEgressInput{GroupId: group, IpPermissions: []ec2types.IpPermission{perm}})
			p.ok(err)
		}
		_, err := p.ec2.DeleteSecurityGroup(p.ctx(), &ec2.DeleteSecurityGroupInput{GroupId: group})
		p.ok(err)
	})
}

// subnetBlock6 finds the IPv6 block of a subnet by its association.
func (p *provider) subnetBlock6(assoc string) (ec2types.SubnetIpv6CidrBlockAssociation, error) {
	out, err := p.ec2.DescribeSubnets(p.ctx(), &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{filter("ipv6-cidr-block-association.association-id", assoc)}})
	p.ok(err)
	s, err := one(p, out.Subnets, nil)
	if err != nil {
		return ec2types.SubnetIpv6CidrBlockAssociation{}, err
	}
	return s.Ipv6CidrBlockAssociationSet[0], nil
}

// subnet6Resource is aws_subnet with ipv6_cidr_block.
func (p *provider) subnet6Resource() resource {
	r := p.subnetResource()
	plain := r.read
	assign := func(id string, value bool) {
		_, err := p.ec2.ModifySubnetAttribute(p.ctx(), &ec2.ModifySubnetAttributeInput{SubnetId: &id, AssignIpv6AddressOnCreation: &ec2types.AttributeBooleanValue{Value: &value}})
		p.ok(err)
	}
	await := func(assoc string) {
		p.wait("the subnet's IPv6 block", []string{"associating", "disassociated", "failing"}, []string{"associated"}, 1, func() (string, error) {
			a, err := p.subnetBlock6(assoc)
			if err != nil {
				return "", err
			}
			return string(a.Ipv6CidrBlockState.State), nil
		})
	}
	r.create = func(c attrs) string {
		out := must[*ec2.CreateSubnetOutput](p)(p.ec2.CreateSubnet(p.ctx(), &ec2.CreateSubnetInput{
			VpcId: aws.String(c.str("vpc_id")), CidrBlock: aws.String(c.str("cidr_block")), Ipv6CidrBlock: aws.String(c.str("ipv6_cidr_block")),
			TagSpecifications: tagSpec(ec2types.ResourceTypeSubnet, c),
		}))
		await(*out.Subnet.Ipv6CidrBlockAssociationSet[0].AssociationId)
		if c["assign_ipv6_address_on_creation"] == true {
			assign(*out.Subnet.SubnetId, true)
		}
		return *out.Subnet.SubnetId
	}
	r.read = func(p *provider, id string) (attrs, error) {
		a, err := plain(p, id)
		if err != nil {
			return nil, err
		}
		s, err := p.findSubnet(id)
		p.ok(err)
		a["ipv6_cidr_block"], a["ipv6_cidr_block_association_id"] = "", ""
		for _, b := range s.Ipv6CidrBlockAssociationSet {
			if b.Ipv6CidrBlockState.State == ec2types.SubnetCidrBlockStateCodeAssociated {
				a["ipv6_cidr_block"], a["ipv6_cidr_block_association_id"] = *b.Ipv6CidrBlock, *b.AssociationId
			}
		}
		return a, nil
	}
	r.update = func(id string, from, to attrs) string {
		if from.changed(to, "ipv6_cidr_block") {
			// The provider stops the assigning before it takes the block away.
			if from["assign_ipv6_address_on_creation"] == true {
				assign(id, false)
			}
			assoc := from.str("ipv6_cidr_block_association_id")
			if assoc != "" {
				_, err := p.ec2.DisassociateSubnetCidrBlock(p.ctx(), &ec2.DisassociateSubnetCidrBlockInput{AssociationId: &assoc})
				p.ok(err)
				p.wait("the end of the subnet's IPv6 block", []string{"associated", "disassociating", "failing"}, nil, 1, func() (string, error) {
					_, err := p.subnetBlock6(assoc)
					return "associated", err
				})
			}
			if block := to.str("ipv6_cidr_block"); block != "" {
				out := must[*ec2.AssociateSubnetCidrBlockOutput](p)(p.ec2.AssociateSubnetCidrBlock(p.ctx(), &ec2.AssociateSubnetCidrBlockInput{SubnetId: &id, Ipv6CidrBlock: &block}))
				await(*out.Ipv6CidrBlockAssociation.AssociationId)
			}
		}
		if to["assign_ipv6_address_on_creation"] == true {
			assign(id, true)
		}
		return id
	}
	return r
}

func TestSubnetWithIPv6(t *testing.T) {
	p := start(t)
	out := must[*ec2.CreateVpcOutput](p)(p.ec2.CreateVpc(p.ctx(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)}))
	// As cidrsubnet(ipv6_cidr_block, 8, n) makes them.
	b := netip.MustParsePrefix(*out.Vpc.Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock).Addr().As16()
	one := netip.PrefixFrom(netip.AddrFrom16(b), 64).String()
	b[7]++
	two := netip.PrefixFrom(netip.AddrFrom16(b), 64).String()
	computed := []string{"ipv6_cidr_block_association_id"}
	p.lifecycle(p.subnet6Resource(), attrs{
		"vpc_id": *out.Vpc.VpcId, "cidr_block": "10.0.1.0/24", "ipv6_cidr_block": one, "assign_ipv6_address_on_creation": true, "tags": tagsOne,
	}, []change{
		{set: attrs{"ipv6_cidr_block": two}, computed: computed},
		{set: attrs{"ipv6_cidr_block": "", "assign_ipv6_address_on_creation": false}, computed: computed},
		{set: attrs{"ipv6_cidr_block": one, "assign_ipv6_address_on_creation": true}, computed: computed},
	})
}

// egressOnlyResource is aws_egress_only_internet_gateway.
func (p *provider) egressOnlyResource() resource {
	return resource{
		create: func(c attrs) string {
			return *must[*ec2.CreateEgressOnlyInternetGatewayOutput](p)(p.ec2.CreateEgressOnlyInternetGateway(p.ctx(), &ec2.CreateEgressOnlyInternetGatewayInput{
				ClientToken: p.token(), VpcId: aws.String(c.str("vpc_id")), TagSpecifications: tagSpec(ec2types.ResourceTypeEgressOnlyInternetGateway, c),
			})).EgressOnlyInternetGateway.EgressOnlyInternetGatewayId
		},
		// The provider knows no error of the describe that means not found.
		read: func(p *provider, id string) (attrs, error) {
			out, err := p.ec2.DescribeEgressOnlyInternetGateways(p.ctx(), &ec2.DescribeEgressOnlyInternetGatewaysInput{EgressOnlyInternetGatewayIds: []string{id}})
			p.ok(err)
			g, err := one(p, out.EgressOnlyInternetGateways, nil)
			if err != nil {
				return nil, err
			}
			a := attrs{"arn": p.arn("ec2", "egress-only-internet-gateway/"+id), "tags": tagMap(g.Tags)}
			if len(g.Attachments) == 1 && g.Attachments[0].State == ec2types.AttachmentStatusAttached {
				a["vpc_id"] = *g.Attachments[0].VpcId
			}
			return a, nil
		},
		update: func(id string, from, to attrs) string {
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			_, err := p.ec2.DeleteEgressOnlyInternetGateway(p.ctx(), &ec2.DeleteEgressOnlyInternetGatewayInput{EgressOnlyInternetGatewayId: &id})
			if !tfawserr.ErrCodeEquals(err, "InvalidGatewayID.NotFound") {
				p.ok(err)
			}
		},
	}
}

func TestEgressOnlyInternetGateway(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	p.lifecycle(p.egressOnlyResource(), attrs{"vpc_id": vpc, "tags": tagsOne}, []change{{set: attrs{"tags": tagsTwo}}}, func(id string, _ attrs) {
		// aws_route finds its route by its destination, in the spelling it has in the configuration.
		table := must[*ec2.CreateRouteTableOutput](p)(p.ec2.CreateRouteTable(p.ctx(), &ec2.CreateRouteTableInput{VpcId: &vpc})).RouteTable.RouteTableId
		_, err := p.ec2.CreateRoute(p.ctx(), &ec2.CreateRouteInput{RouteTableId: table, DestinationIpv6CidrBlock: aws.String("::/0"), EgressOnlyInternetGatewayId: &id})
		p.ok(err)
		out := must[*ec2.DescribeRouteTablesOutput](p)(p.ec2.DescribeRouteTables(p.ctx(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{*table}}))
		i := slices.IndexFunc(out.RouteTables[0].Routes, func(r ec2types.Route) bool { return aws.ToString(r.DestinationIpv6CidrBlock) == "::/0" })
		if i < 0 || aws.ToString(out.RouteTables[0].Routes[i].EgressOnlyInternetGatewayId) != id {
			t.Errorf("the routes are %+v", out.RouteTables[0].Routes)
		}
		_, err = p.ec2.DeleteRoute(p.ctx(), &ec2.DeleteRouteInput{RouteTableId: table, DestinationIpv6CidrBlock: aws.String("::/0")})
		p.ok(err)
	})
}
