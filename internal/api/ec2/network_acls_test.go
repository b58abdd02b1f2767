// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"testing"

	"postern.dev/postern/internal/control/controltest"
)

func entry(acl, number, protocol, egress string, more ...string) []string {
	return append([]string{"NetworkAclId", acl, "RuleNumber", number, "Protocol", protocol, "RuleAction", "allow", "Egress", egress}, more...)
}

func TestNetworkACLLifeCycle(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	def := a.do("DescribeNetworkAcls", "Filter.1.Name", "default", "Filter.1.Value.1", "true", "Filter.2.Name", "vpc-id", "Filter.2.Value.1", v)
	equalLists(t, "the default ACL's numbers", def.all("networkAclSet/item/entrySet/item/ruleNumber"), []string{"100", "32767", "100", "32767"})
	equalLists(t, "its actions", def.all("networkAclSet/item/entrySet/item/ruleAction"), []string{"allow", "deny", "allow", "deny"})
	equalLists(t, "its protocols", def.all("networkAclSet/item/entrySet/item/protocol"), []string{"-1", "-1", "-1", "-1"})
	defID, assoc := def.one("networkAclSet/item/networkAclId"), def.one("networkAclSet/item/associationSet/item/networkAclAssociationId")

	made := a.do("CreateNetworkAcl", "VpcId", v, "ClientToken", "t")
	acl := made.one("networkAcl/networkAclId")
	equal(t, "default", made.one("networkAcl/default"), "false")
	equalLists(t, "a new ACL's numbers", made.all("networkAcl/entrySet/item/ruleNumber"), []string{"32767", "32767"})
	equal(t, "the ACL of the same call", a.do("CreateNetworkAcl", "VpcId", v, "ClientToken", "t").one("networkAcl/networkAclId"), acl)

	a.do("CreateNetworkAclEntry", entry(acl, "20", "6", "false", "CidrBlock", "10.0.0.9/8", "PortRange.From", "80", "PortRange.To", "81")...)
	a.do("CreateNetworkAclEntry", entry(acl, "10", "icmp", "false", "CidrBlock", "0.0.0.0/0", "Icmp.Type", "8", "Icmp.Code", "-1")...)
	a.do("CreateNetworkAclEntry", entry(acl, "20", "-1", "true", "Ipv6CidrBlock", "::/0")...)
	d := a.do("DescribeNetworkAcls", "NetworkAclId.1", acl)
	equalLists(t, "the numbers, egress first", d.all("networkAclSet/item/entrySet/item/ruleNumber"), []string{"20", "32767", "32768", "10", "20", "32767", "32768"})
	equalLists(t, "the protocols", d.all("networkAclSet/item/entrySet/item/protocol"), []string{"-1", "-1", "-1", "1", "6", "-1", "-1"})
	equal(t, "the ports", d.one("networkAclSet/item/entrySet/item/portRange/from")+"-"+d.one("networkAclSet/item/entrySet/item/portRange/to"), "80-81")
	equal(t, "the type", d.one("networkAclSet/item/entrySet/item/icmpTypeCode/type"), "8")
	equal(t, "the ACL by entry", a.do("DescribeNetworkAcls", "Filter.1.Name", "entry.port-range.to", "Filter.1.Value.1", "81").one("networkAclSet/item/networkAclId"), acl)
	equalLists(t, "the canonical block", a.do("DescribeNetworkAcls", "Filter.1.Name", "entry.cidr", "Filter.1.Value.1", "10.0.0.0/8").all("networkAclSet/item/networkAclId"), []string{acl})

	equal(t, "the text", a.refused("NetworkAclEntryAlreadyExists", "CreateNetworkAclEntry", entry(acl, "20", "-1", "true", "CidrBlock", "0.0.0.0/0")...), "The network acl entry identified by 20 already exists.")
	a.do("ReplaceNetworkAclEntry", entry(acl, "20", "17", "false", "CidrBlock", "10.0.0.0/8", "PortRange.From", "53", "PortRange.To", "53")...)
	a.refused("InvalidNetworkAclEntry.NotFound", "ReplaceNetworkAclEntry", entry(acl, "21", "-1", "false", "CidrBlock", "10.0.0.0/8")...)
	a.do("DeleteNetworkAclEntry", "NetworkAclId", acl, "RuleNumber", "10", "Egress", "false")
	a.refused("InvalidNetworkAclEntry.NotFound", "DeleteNetworkAclEntry", "NetworkAclId", acl, "RuleNumber", "10", "Egress", "false")

	moved := a.do("ReplaceNetworkAclAssociation", "AssociationId", assoc, "NetworkAclId", acl).one("newAssociationId")
	equal(t, "the subnet's ACL", a.do("DescribeNetworkAcls", "Filter.1.Name", "association.subnet-id", "Filter.1.Value.1", s).one("networkAclSet/item/networkAclId"), acl)
	a.refused("DependencyViolation", "DeleteNetworkAcl", "NetworkAclId", acl)
	a.refused("InvalidAssociationID.NotFound", "ReplaceNetworkAclAssociation", "AssociationId", assoc, "NetworkAclId", defID)
	a.do("ReplaceNetworkAclAssociation", "AssociationId", moved, "NetworkAclId", defID)
	a.do("DeleteNetworkAcl", "NetworkAclId", acl)
	a.refused("InvalidNetworkAclID.NotFound", "DescribeNetworkAcls", "NetworkAclId.1", acl)
	a.refused("InvalidParameterValue", "DeleteNetworkAcl", "NetworkAclId", defID)
}

func TestNetworkACLErrors(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	a.subnet(v, "10.0.1.0/24")
	acl := a.do("CreateNetworkAcl", "VpcId", v).one("networkAcl/networkAclId")
	create := func(code string, pairs []string) {
		t.Helper()
		a.refused(code, "CreateNetworkAclEntry", pairs...)
	}
	create("InvalidParameterValue", entry(acl, "0", "-1", "false", "CidrBlock", "0.0.0.0/0"))
	create("InvalidParameterValue", entry(acl, "32767", "-1", "false", "CidrBlock", "0.0.0.0/0"))
	create("InvalidParameterValue", entry(acl, "1", "6", "false", "CidrBlock", "0.0.0.0/0", "PortRange.From", "9", "PortRange.To", "1"))
	create("InvalidParameterValue", entry(acl, "1", "1", "false", "CidrBlock", "0.0.0.0/0", "Icmp.Type", "999", "Icmp.Code", "0"))
	create("InvalidParameterValue", entry(acl, "1", "1", "false", "CidrBlock", "0.0.0.0/0", "Icmp.Type", "-1", "Icmp.Code", "0"))
	create("InvalidParameterValue", entry(acl, "1", "-1", "false", "CidrBlock", "here"))
	create("InvalidParameterValue", entry(acl, "1", "-1", "false", "Ipv6CidrBlock", "0.0.0.0/0"))
	create("MissingParameter", entry(acl, "1", "6", "false", "CidrBlock", "0.0.0.0/0"))
	create("MissingParameter", entry(acl, "1", "1", "false", "CidrBlock", "0.0.0.0/0"))
	create("MissingParameter", entry(acl, "1", "-1", "false"))
	create("InvalidParameterCombination", entry(acl, "1", "-1", "false", "CidrBlock", "0.0.0.0/0", "Ipv6CidrBlock", "::/0"))
	create("InvalidNetworkAclId.Malformed", entry("acl-x", "1", "-1", "false", "CidrBlock", "0.0.0.0/0"))
	a.refusedAs(controltest.Provider, "InvalidNetworkAclID.NotFound", "CreateNetworkAclEntry", entry(acl, "1", "-1", "false", "CidrBlock", "0.0.0.0/0")...)
	a.refusedAs(controltest.Provider, "InvalidNetworkAclID.NotFound", "DeleteNetworkAcl", "NetworkAclId", acl)
	a.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "CreateNetworkAcl", "VpcId", v)
	assoc := a.do("DescribeNetworkAcls", "Filter.1.Name", "default", "Filter.1.Value.1", "true").one("networkAclSet/item/associationSet/item/networkAclAssociationId")
	a.refusedAs(controltest.Provider, "InvalidAssociationID.NotFound", "ReplaceNetworkAclAssociation", "AssociationId", assoc, "NetworkAclId", acl)
	far := a.do("CreateNetworkAcl", "VpcId", a.vpc("10.1.0.0/16")).one("networkAcl/networkAclId")
	a.refused("InvalidParameterValue", "ReplaceNetworkAclAssociation", "AssociationId", assoc, "NetworkAclId", far)
}

// Every filter finds the ACL that has such an entry, and not the other one.
func TestNetworkACLFilters(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	s := a.subnet(v, "10.0.1.0/24")
	acl := a.do("CreateNetworkAcl", "VpcId", v).one("networkAcl/networkAclId")
	a.do("CreateNetworkAcl", "VpcId", v) // finds nothing
	def := a.do("DescribeNetworkAcls", "Filter.1.Name", "default", "Filter.1.Value.1", "true")
	a.do("ReplaceNetworkAclAssociation", "AssociationId", def.one("networkAclSet/item/associationSet/item/networkAclAssociationId"), "NetworkAclId", acl)
	assoc := a.do("DescribeNetworkAcls", "NetworkAclId.1", acl).one("networkAclSet/item/associationSet/item/networkAclAssociationId")
	a.do("CreateNetworkAclEntry", entry(acl, "20", "6", "false", "CidrBlock", "10.0.0.0/8", "PortRange.From", "80", "PortRange.To", "81")...)
	a.do("CreateNetworkAclEntry", entry(acl, "30", "1", "true", "CidrBlock", "10.0.0.0/8", "Icmp.Type", "8", "Icmp.Code", "3")...)
	a.do("CreateNetworkAclEntry", entry(acl, "40", "50", "true", "Ipv6CidrBlock", "2001:db8::/32")...)
	for name, value := range map[string]string{
		"association.association-id": assoc, "association.network-acl-id": acl, "association.subnet-id": s, "network-acl-id": acl,
		"entry.cidr": "10.0.0.0/8", "entry.icmp.code": "3", "entry.icmp.type": "8", "entry.ipv6-cidr": "2001:db8::/32", "entry.port-range.from": "80",
		"entry.port-range.to": "81", "entry.protocol": "6", "entry.rule-number": "32768",
	} {
		equalLists(t, name, a.do("DescribeNetworkAcls", "Filter.1.Name", name, "Filter.1.Value.1", value).all("networkAclSet/item/networkAclId"), []string{acl})
	}
	for _, protocol := range []string{"tcp", "icmp", "50"} {
		equalLists(t, protocol, a.do("DescribeNetworkAcls", "Filter.1.Name", "entry.protocol", "Filter.1.Value.1", protocol).all("networkAclSet/item/networkAclId"), []string{acl})
	}
	for name, want := range map[string]int{"entry.egress": 3, "entry.rule-action": 2, "owner-id": 3, "vpc-id": 3} {
		value := map[string]string{"entry.egress": "true", "entry.rule-action": "allow", "owner-id": "111111111111", "vpc-id": v}[name]
		equal(t, name, len(a.do("DescribeNetworkAcls", "Filter.1.Name", name, "Filter.1.Value.1", value).all("networkAclSet/item")), want)
	}
}
