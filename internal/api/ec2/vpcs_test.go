// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"testing"

	"postern.dev/postern/internal/control/controltest"
)

func TestVPCLifeCycle(t *testing.T) {
	a := newNetAPI(t)
	made := a.do("CreateVpc", "CidrBlock", "10.0.0.5/16")
	v := made.one("vpc/vpcId")
	equal(t, "the canonical block", made.one("vpc/cidrBlock"), "10.0.0.0/16")
	attribute := func(name string) string {
		t.Helper()
		return a.do("DescribeVpcAttribute", "VpcId", v, "Attribute", name).one(name + "/value")
	}
	equal(t, "enableDnsSupport", attribute("enableDnsSupport"), "true")
	for _, name := range []string{"EnableDnsHostnames", "EnableNetworkAddressUsageMetrics"} {
		lower := "e" + name[1:]
		equal(t, lower, attribute(lower), "false")
		a.do("ModifyVpcAttribute", "VpcId", v, name+".Value", "true")
		equal(t, lower, attribute(lower), "true")
	}
	a.do("ModifyVpcAttribute", "VpcId", v, "EnableDnsSupport.Value", "false")
	equal(t, "enableDnsSupport", attribute("enableDnsSupport"), "false")
	equal(t, "the text", a.refused("InvalidParameterCombination", "ModifyVpcAttribute", "VpcId", v, "EnableDnsSupport.Value", "true", "EnableDnsHostnames.Value", "true"),
		"Fields for multiple attribute types specified: enableDnsHostnames, enableDnsSupport")
	a.refused("InvalidParameterValue", "DescribeVpcAttribute", "VpcId", v, "Attribute", "nonsense")

	for filter, value := range map[string]string{"vpc-id": v, "cidr": "10.0.*", "cidr-block": "10.0.0.0/16", "is-default": "false", "dhcp-options-id": "dopt-00000000000000001",
		"cidr-block-association.cidr-block": "10.0.0.0/16", "cidr-block-association.state": "associated", "owner-id": "111111111111", "state": "available"} {
		equal(t, "the VPC by "+filter, a.do("DescribeVpcs", "Filter.1.Name", filter, "Filter.1.Value.1", value).one("vpcSet/item/vpcId"), v)
	}

	text := "The vpc '" + v + "' has dependencies and cannot be deleted."
	for _, x := range []struct{ create, delete, id string }{
		{"CreateSubnet", "DeleteSubnet", "SubnetId"}, {"CreateRouteTable", "DeleteRouteTable", "RouteTableId"},
		{"CreateNetworkAcl", "DeleteNetworkAcl", "NetworkAclId"}, {"CreateSecurityGroup", "DeleteSecurityGroup", "GroupId"},
	} {
		pairs := []string{"VpcId", v}
		path := map[string]string{"CreateSubnet": "subnet/subnetId", "CreateRouteTable": "routeTable/routeTableId", "CreateNetworkAcl": "networkAcl/networkAclId", "CreateSecurityGroup": "groupId"}[x.create]
		switch x.create {
		case "CreateSubnet":
			pairs = append(pairs, "CidrBlock", "10.0.1.0/24")
		case "CreateSecurityGroup":
			pairs = append(pairs, "GroupName", "a", "GroupDescription", "b")
		}
		id := a.do(x.create, pairs...).one(path)
		equal(t, "the refusal with what "+x.create+" made", a.refused("DependencyViolation", "DeleteVpc", "VpcId", v), text)
		a.do(x.delete, x.id, id)
	}
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "DeleteVpc", "VpcId", v)
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "ModifyVpcAttribute", "VpcId", v, "EnableDnsSupport.Value", "true")
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "DescribeVpcAttribute", "VpcId", v, "Attribute", "enableDnsSupport")
	a.refused("DryRunOperation", "DeleteVpc", "VpcId", v, "DryRun", "true")
	a.do("DeleteVpc", "VpcId", v)
	a.refused("InvalidVpcID.NotFound", "DescribeVpcs", "VpcId.1", v)
	for action, list := range map[string]string{"DescribeSecurityGroups": "securityGroupInfo/item", "DescribeNetworkAcls": "networkAclSet/item", "DescribeRouteTables": "routeTableSet/item"} {
		equalLists(t, "what is left to "+action, a.do(action).all(list), nil)
	}
	a.refused("InvalidVpc.Range", "CreateVpc", "CidrBlock", "10.0.0.0/8")
	a.refused("InvalidVpc.Range", "CreateVpc", "CidrBlock", "10.0.0.0/29")
	a.refused("InvalidParameterValue", "CreateVpc", "CidrBlock", "x")
}

func TestVPCSecondaryBlocks(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	table := a.do("CreateRouteTable", "VpcId", v).one("routeTable/routeTableId")
	added := a.do("AssociateVpcCidrBlock", "VpcId", v, "CidrBlock", "10.1.0.0/16")
	id := added.one("cidrBlockAssociation/associationId")
	equal(t, "the state", added.one("cidrBlockAssociation/cidrBlockState/state"), "associated")
	equalLists(t, "the local routes", a.do("DescribeRouteTables", "RouteTableId.1", table).all("routeTableSet/item/routeSet/item/destinationCidrBlock"), []string{"10.0.0.0/16", "10.1.0.0/16"})
	s := a.subnet(v, "10.1.1.0/24")
	a.refused("InvalidCidrBlock.InUse", "DisassociateVpcCidrBlock", "AssociationId", id)
	a.do("DeleteSubnet", "SubnetId", s)
	a.refused("InvalidVpc.Conflict", "AssociateVpcCidrBlock", "VpcId", v, "CidrBlock", "10.1.128.0/17")
	a.refused("InvalidVpc.Range", "AssociateVpcCidrBlock", "VpcId", v, "CidrBlock", "11.0.0.0/8")
	primary := a.do("DescribeVpcs", "VpcId.1", v).all("vpcSet/item/cidrBlockAssociationSet/item/associationId")[0]
	a.refused("OperationNotPermitted", "DisassociateVpcCidrBlock", "AssociationId", primary)
	a.refusedAs(controltest.Provider, "InvalidVpcCidrBlockAssociationID.NotFound", "DisassociateVpcCidrBlock", "AssociationId", id)
	equal(t, "the state", a.do("DisassociateVpcCidrBlock", "AssociationId", id).one("cidrBlockAssociation/cidrBlockState/state"), "disassociated")
	equalLists(t, "the local routes", a.do("DescribeRouteTables", "RouteTableId.1", table).all("routeTableSet/item/routeSet/item/destinationCidrBlock"), []string{"10.0.0.0/16"})
	a.refused("InvalidSubnet.Range", "CreateSubnet", "VpcId", v, "CidrBlock", "10.1.1.0/24")
	a.refused("InvalidVpcCidrBlockAssociationID.NotFound", "DisassociateVpcCidrBlock", "AssociationId", id)
}

// Ansible reads the code of the one and the message of the other.
func TestThereIsNoClassicLink(t *testing.T) {
	a := newNetAPI(t)
	said := a.refused("UnsupportedOperation", "DescribeVpcClassicLink", "VpcId.1", "vpc-0123456789abcdef0")
	equal(t, "the message", said, "The functionality you requested is not available in this region.")
	a.refused("UnsupportedOperation", "DescribeVpcClassicLinkDnsSupport", "VpcIds.1", "vpc-0123456789abcdef0")
}
