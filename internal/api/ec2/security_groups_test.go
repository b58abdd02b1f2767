// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"fmt"
	"strings"
	"testing"

	"postern.dev/postern/internal/control/controltest"
)

// perm is the parameters of one IpPermissions.1 with peers, each a name below it and a value.
func perm(group, protocol, from, to string, peers ...string) []string {
	p := []string{"GroupId", group, "IpPermissions.1.IpProtocol", protocol}
	if from != "" {
		p = append(p, "IpPermissions.1.FromPort", from, "IpPermissions.1.ToPort", to)
	}
	for i := 0; i+1 < len(peers); i += 2 {
		p = append(p, "IpPermissions.1."+peers[i], peers[i+1])
	}
	return p
}

func TestSecurityGroupLifeCycle(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	made := a.do("CreateSecurityGroup", "VpcId", v, "GroupName", "web", "GroupDescription", "web servers",
		"TagSpecification.1.ResourceType", "security-group", "TagSpecification.1.Tag.1.Key", "k", "TagSpecification.1.Tag.1.Value", "v")
	g := made.one("groupId")
	equal(t, "the tag", made.one("tagSet/item/value"), "v")
	equal(t, "the ARN", made.one("securityGroupArn"), "arn:aws:ec2:us-east-1:111111111111:security-group/"+g)

	d := a.do("DescribeSecurityGroups", "GroupId.1", g)
	equal(t, "the egress rule", d.one("securityGroupInfo/item/ipPermissionsEgress/item/ipRanges/item/cidrIp"), "0.0.0.0/0")
	equalLists(t, "the ports of an all-protocol rule", d.all("securityGroupInfo/item/ipPermissionsEgress/item/fromPort"), nil)
	equalLists(t, "the ingress rules", d.all("securityGroupInfo/item/ipPermissions/item"), nil)

	// What Terraform does first: ports are ignored for all protocols.
	a.do("RevokeSecurityGroupEgress", perm(g, "-1", "0", "0", "IpRanges.1.CidrIp", "0.0.0.0/0")...)
	a.refused("InvalidPermission.NotFound", "RevokeSecurityGroupEgress", perm(g, "-1", "0", "0", "Ipv6Ranges.1.CidrIpv6", "::/0")...)

	auth := a.do("AuthorizeSecurityGroupIngress", append(perm(g, "tcp", "443", "443",
		"IpRanges.1.CidrIp", "10.0.0.0/8", "IpRanges.1.Description", "inside", "IpRanges.2.CidrIp", "192.0.2.0/24",
		"Ipv6Ranges.1.CidrIpv6", "2001:db8::/32", "Groups.1.GroupId", g, "PrefixListIds.1.PrefixListId", netList),
		"TagSpecification.1.ResourceType", "security-group-rule", "TagSpecification.1.Tag.1.Key", "why", "TagSpecification.1.Tag.1.Value", "test")...)
	ids := auth.all("securityGroupRuleSet/item/securityGroupRuleId")
	equal(t, "the number of rules", len(ids), 5)
	equalLists(t, "the tags", auth.all("securityGroupRuleSet/item/tagSet/item/value"), []string{"test", "test", "test", "test", "test"})
	equal(t, "the referenced group", auth.one("securityGroupRuleSet/item/referencedGroupInfo/groupId"), g)

	d = a.do("DescribeSecurityGroups", "GroupId.1", g)
	equal(t, "the permissions' ports", d.one("securityGroupInfo/item/ipPermissions/item/fromPort"), "443")
	equalLists(t, "the CIDR peers", d.all("securityGroupInfo/item/ipPermissions/item/ipRanges/item/cidrIp"), []string{"10.0.0.0/8", "192.0.2.0/24"})
	equal(t, "the IPv6 peer", d.one("securityGroupInfo/item/ipPermissions/item/ipv6Ranges/item/cidrIpv6"), "2001:db8::/32")
	equal(t, "the group peer", d.one("securityGroupInfo/item/ipPermissions/item/groups/item/userId"), "111111111111")
	equal(t, "the prefix list peer", d.one("securityGroupInfo/item/ipPermissions/item/prefixListIds/item/prefixListId"), netList)
	rules := a.do("DescribeSecurityGroupRules", "Filter.1.Name", "group-id", "Filter.1.Value.1", g)
	equal(t, "the number of rules in the other view", len(rules.all("securityGroupRuleSet/item")), 5)
	equal(t, "rules by tag", len(a.do("DescribeSecurityGroupRules", "Filter.1.Name", "tag:why", "Filter.1.Value.1", "te*").all("securityGroupRuleSet/item")), 5)
	equal(t, "groups by a rule's CIDR", a.do("DescribeSecurityGroups", "Filter.1.Name", "ip-permission.cidr", "Filter.1.Value.1", "192.0.2.0/24").one("securityGroupInfo/item/groupId"), g)

	// Duplicates are refused, and a call with one good and one bad rule writes neither.
	m := a.refused("InvalidPermission.Duplicate", "AuthorizeSecurityGroupIngress", perm(g, "6", "443", "443", "IpRanges.1.CidrIp", "198.51.100.0/24", "IpRanges.2.CidrIp", "10.0.0.0/8")...)
	equal(t, "the text", m, `the specified rule "peer: 10.0.0.0/8, TCP, from port: 443, to port: 443, ALLOW" already exists`)
	a.refused("InvalidParameterValue", "AuthorizeSecurityGroupIngress", perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8", "IpRanges.2.CidrIp", "10.0.0.0/8")...)
	a.refused("InvalidPermission.NotFound", "RevokeSecurityGroupIngress", perm(g, "tcp", "443", "443", "IpRanges.1.CidrIp", "10.0.0.0/8", "IpRanges.2.CidrIp", "10.9.0.0/16")...)

	// A changed rule keeps its id and tags.
	a.do("ModifySecurityGroupRules", "GroupId", g, "SecurityGroupRule.1.SecurityGroupRuleId", ids[0],
		"SecurityGroupRule.1.SecurityGroupRule.IpProtocol", "udp", "SecurityGroupRule.1.SecurityGroupRule.FromPort", "53",
		"SecurityGroupRule.1.SecurityGroupRule.ToPort", "53", "SecurityGroupRule.1.SecurityGroupRule.CidrIpv4", "10.0.0.0/8")
	r := a.do("DescribeSecurityGroupRules", "SecurityGroupRuleId.1", ids[0])
	equal(t, "the changed rule", r.one("securityGroupRuleSet/item/ipProtocol")+r.one("securityGroupRuleSet/item/fromPort")+r.one("securityGroupRuleSet/item/tagSet/item/value"), "udp53test")
	a.refused("InvalidPermission.Duplicate", "ModifySecurityGroupRules", "GroupId", g, "SecurityGroupRule.1.SecurityGroupRuleId", ids[0],
		"SecurityGroupRule.1.SecurityGroupRule.IpProtocol", "tcp", "SecurityGroupRule.1.SecurityGroupRule.FromPort", "443",
		"SecurityGroupRule.1.SecurityGroupRule.ToPort", "443", "SecurityGroupRule.1.SecurityGroupRule.CidrIpv4", "192.0.2.0/24")

	a.do("UpdateSecurityGroupRuleDescriptionsIngress", perm(g, "tcp", "443", "443", "IpRanges.1.CidrIp", "192.0.2.0/24", "IpRanges.1.Description", "new")...)
	a.do("UpdateSecurityGroupRuleDescriptionsIngress", "GroupId", g, "SecurityGroupRuleDescription.1.SecurityGroupRuleId", ids[0], "SecurityGroupRuleDescription.1.Description", "other")
	equal(t, "the description by rule", a.do("DescribeSecurityGroupRules", "SecurityGroupRuleId.1", ids[1]).one("securityGroupRuleSet/item/description"), "new")
	equal(t, "the description by id", a.do("DescribeSecurityGroupRules", "SecurityGroupRuleId.1", ids[0]).one("securityGroupRuleSet/item/description"), "other")
	a.refused("InvalidParameterCombination", "UpdateSecurityGroupRuleDescriptionsIngress", "GroupId", g)
	a.refused("InvalidSecurityGroupRuleId.NotFound", "UpdateSecurityGroupRuleDescriptionsEgress", "GroupId", g, "SecurityGroupRuleDescription.1.SecurityGroupRuleId", ids[0])

	// A rule id alone is enough to revoke.
	gone := a.do("RevokeSecurityGroupIngress", "SecurityGroupRuleId.1", ids[0])
	equal(t, "the revoked rule", gone.one("revokedSecurityGroupRuleSet/item/securityGroupRuleId"), ids[0])
	a.refused("InvalidSecurityGroupRuleId.NotFound", "RevokeSecurityGroupIngress", "SecurityGroupRuleId.1", ids[0])
	a.refused("InvalidSecurityGroupRuleId.NotFound", "RevokeSecurityGroupEgress", "GroupId", g, "SecurityGroupRuleId.1", ids[1])

	// A group that refers to itself can go; one that another refers to cannot.
	ref := a.group(v, "referring")
	a.do("AuthorizeSecurityGroupEgress", perm(ref, "icmp", "8", "0", "Groups.1.GroupId", g)...)
	equal(t, "the refusal", a.refused("DependencyViolation", "DeleteSecurityGroup", "GroupId", g), "resource "+g+" has a dependent object")
	a.do("DeleteSecurityGroup", "GroupId", ref)
	a.do("DeleteSecurityGroup", "GroupId", g)
	a.refused("InvalidGroup.NotFound", "DescribeSecurityGroups", "GroupId.1", g)
}

func TestSecurityGroupErrors(t *testing.T) {
	a := newNetAPI(t)
	v, w := a.vpc("10.0.0.0/16"), a.vpc("10.0.0.0/16")
	g, far := a.group(v, "web"), a.group(w, "web")
	create := func(code string, pairs ...string) string {
		t.Helper()
		return a.refused(code, "CreateSecurityGroup", append([]string{"VpcId", v, "GroupDescription", "x"}, pairs...)...)
	}
	equal(t, "the text", create("InvalidGroup.Duplicate", "GroupName", "web"), "The security group 'web' already exists for VPC '"+v+"'")
	create("InvalidGroup.Reserved", "GroupName", "default")
	create("InvalidParameterValue", "GroupName", "sg-mine")
	create("InvalidParameterValue", "GroupName", strings.Repeat("x", 256))
	create("InvalidParameterValue", "GroupName", "snow☃")
	create("MissingParameter")
	create("MissingParameter", "GroupName", "a", "GroupDescription", "")
	create("VPCIdNotSpecified", "GroupName", "a", "VpcId", "")
	create("InvalidVpcID.NotFound", "GroupName", "a", "VpcId", "vpc-00000000000000001")

	def := a.do("DescribeSecurityGroups", "Filter.1.Name", "group-name", "Filter.1.Value.1", "default", "Filter.2.Name", "vpc-id", "Filter.2.Value.1", v).one("securityGroupInfo/item/groupId")
	a.refused("CannotDelete", "DeleteSecurityGroup", "GroupId", def)
	s := a.subnet(v, "10.0.0.0/24")
	a.do("CreateNetworkInterface", "SubnetId", s, "SecurityGroupId.1", g)
	a.refused("DependencyViolation", "DeleteSecurityGroup", "GroupId", g)

	in := func(code string, pairs []string) string {
		t.Helper()
		return a.refused(code, "AuthorizeSecurityGroupIngress", pairs...)
	}
	in("InvalidParameterValue", perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.5/16"))
	in("InvalidParameterValue", perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "::/0"))
	in("InvalidParameterValue", perm(g, "tcp", "1", "1", "Ipv6Ranges.1.CidrIpv6", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "tcp", "9", "1", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "tcp", "0", "65536", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "tcp", "", "", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "icmp", "-1", "3", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "quic", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "256", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidParameterValue", perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8", "IpRanges.1.Description", "a\nb"))
	in("MissingParameter", perm(g, "tcp", "1", "1"))
	in("MissingParameter", []string{"GroupId", g})
	in("InvalidPrefixListID.NotFound", perm(g, "tcp", "1", "1", "PrefixListIds.1.PrefixListId", "pl-00000000000000001"))
	in("InvalidPrefixListId.Malformed", perm(g, "tcp", "1", "1", "PrefixListIds.1.PrefixListId", "pl-x"))
	in("InvalidGroup.NotFound", perm(g, "tcp", "1", "1", "Groups.1.GroupId", far))
	in("InvalidGroup.NotFound", perm(g, "tcp", "1", "1", "Groups.1.GroupId", g, "Groups.1.UserId", "222222222222"))
	in("InvalidGroup.NotFound", perm(g, "tcp", "1", "1", "Groups.1.GroupId", "sg-00000000000000001"))
	in("InvalidGroupId.Malformed", perm("sg-x", "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8"))
	in("InvalidVpcPeeringConnectionId.Malformed", perm(g, "tcp", "1", "1", "Groups.1.GroupId", g, "Groups.1.VpcPeeringConnectionId", "pcx-1"))
	in("UnsupportedOperation", perm(g, "tcp", "1", "1", "Groups.1.GroupId", g, "Groups.1.PeeringStatus", "provisioning"))
	in("InvalidParameterCombination", []string{"GroupId", g, "GroupName", "web"})
	in("VPCIdNotSpecified", []string{"GroupName", "web"})
	in("InvalidParameterCombination", append(perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8"), "CidrIp", "10.0.0.0/8"))
	a.refused("InvalidParameterCombination", "RevokeSecurityGroupIngress", append(perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8"), "SecurityGroupRuleId.1", "sgr-00000000000000001")...)
	a.refused("MissingParameter", "RevokeSecurityGroupIngress")
	a.refused("UnsupportedOperation", "AuthorizeSecurityGroupEgress", "GroupId", g, "CidrIp", "10.0.0.0/8", "IpProtocol", "-1")
	a.refused("InvalidSecurityGroupRuleId.Malformed", "DescribeSecurityGroupRules", "SecurityGroupRuleId.1", "sgr-x")

	for _, action := range []string{"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress",
		"UpdateSecurityGroupRuleDescriptionsIngress"} {
		a.refusedAs(controltest.Provider, "InvalidGroup.NotFound", action, perm(g, "tcp", "1", "1", "IpRanges.1.CidrIp", "10.0.0.0/8")...)
	}
	rule := a.do("DescribeSecurityGroupRules", "Filter.1.Name", "group-id", "Filter.1.Value.1", g).one("securityGroupRuleSet/item/securityGroupRuleId")
	a.refusedAs(controltest.Provider, "InvalidSecurityGroupRuleId.NotFound", "DescribeSecurityGroupRules", "SecurityGroupRuleId.1", rule)
	a.refusedAs(controltest.Provider, "InvalidSecurityGroupRuleId.NotFound", "RevokeSecurityGroupIngress", "SecurityGroupRuleId.1", rule)
	a.refusedAs(controltest.Provider, "InvalidGroup.NotFound", "DeleteSecurityGroup", "GroupId", g)
}

func TestOldFlatIngressRule(t *testing.T) {
	a := newNetAPI(t)
	g := a.group(a.vpc("10.0.0.0/16"), "old")
	flat := []string{"GroupId", g, "IpProtocol", "tcp", "FromPort", "22", "ToPort", "22", "CidrIp", "192.0.2.7/32"}
	a.do("AuthorizeSecurityGroupIngress", flat...)
	equal(t, "the rule", a.do("DescribeSecurityGroups", "GroupId.1", g).one("securityGroupInfo/item/ipPermissions/item/ipRanges/item/cidrIp"), "192.0.2.7/32")
	a.do("RevokeSecurityGroupIngress", flat...)
	a.refused("InvalidPermission.NotFound", "RevokeSecurityGroupIngress", flat...)
	a.refused("MissingParameter", "AuthorizeSecurityGroupIngress", "GroupId", g, "IpProtocol", "tcp", "FromPort", "22", "ToPort", "22")
}

// Names are those of the default VPC, which this account does not have.
func TestSecurityGroupsByNameNeedADefaultVPC(t *testing.T) {
	a := newNetAPI(t)
	g := a.group(a.vpc("10.0.0.0/16"), "web")
	for action, pairs := range map[string][]string{
		"DescribeSecurityGroups":                     {"GroupName.1", "web"},
		"DeleteSecurityGroup":                        {"GroupName", "web"},
		"AuthorizeSecurityGroupIngress":              {"GroupName", "web", "IpProtocol", "tcp", "FromPort", "22", "ToPort", "22", "CidrIp", "192.0.2.7/32"},
		"RevokeSecurityGroupIngress":                 {"GroupId", g, "SourceSecurityGroupName", "web"},
		"UpdateSecurityGroupRuleDescriptionsIngress": {"GroupName", "web"},
		"CreateSecurityGroup":                        {"GroupName", "other", "GroupDescription", "x"},
	} {
		if m := a.refused("VPCIdNotSpecified", action, pairs...); !strings.HasPrefix(m, "No default VPC for this user") {
			t.Errorf("%s: %s", action, m)
		}
	}
	a.refused("MissingParameter", "DeleteSecurityGroup")
	a.refused("MissingParameter", "AuthorizeSecurityGroupIngress", "IpProtocol", "-1", "CidrIp", "192.0.2.7/32")
	a.refused("InvalidParameterCombination", "DeleteSecurityGroup", "GroupId", g, "GroupName", "web")
	a.refused("MissingParameter", "AuthorizeSecurityGroupIngress", "GroupId", g, "SourceSecurityGroupOwnerId", "111111111111")
	a.refused("InvalidParameterCombination", "AuthorizeSecurityGroupIngress", "GroupId", g, "SourceSecurityGroupName", "web", "IpProtocol", "-1")
}

// Every filter finds the group it should, and only it, in its own direction.
func TestSecurityGroupFilters(t *testing.T) {
	a := newNetAPI(t)
	v := a.vpc("10.0.0.0/16")
	g, peer := a.group(v, "web"), a.group(v, "clients")
	for _, egress := range []bool{false, true} {
		action, prefix := "AuthorizeSecurityGroupIngress", "ip-permission."
		if egress {
			action, prefix = "AuthorizeSecurityGroupEgress", "egress.ip-permission."
		}
		p := perm(g, "tcp", "443", "444", "IpRanges.1.CidrIp", "10.0.0.0/8", "Ipv6Ranges.1.CidrIpv6", "2001:db8::/32",
			"Groups.1.GroupId", peer, "PrefixListIds.1.PrefixListId", netList)
		for name, value := range map[string]string{
			"cidr": "10.0.0.0/8", "ipv6-cidr": "2001:db8::/32", "from-port": "443", "to-port": "444", "group-id": peer, "group-name": "clients",
			"prefix-list-id": netList, "protocol": "tcp", "user-id": "111111111111",
		} {
			find := func() []string {
				return a.do("DescribeSecurityGroups", "Filter.1.Name", prefix+name, "Filter.1.Value.1", value, "Filter.2.Name", "group-name", "Filter.2.Value.1", "web").
					all("securityGroupInfo/item/groupId")
			}
			equalLists(t, prefix+name+" before", find(), nil)
			a.do(action, p...)
			equalLists(t, prefix+name, find(), []string{g})
			a.do(strings.Replace(action, "Authorize", "Revoke", 1), p...)
		}
	}
	a.do("AuthorizeSecurityGroupIngress", perm(g, "17", "53", "53", "IpRanges.1.CidrIp", "10.0.0.0/8")...)
	for _, name := range []string{"udp", "17"} {
		equalLists(t, "the protocol "+name, a.do("DescribeSecurityGroups", "Filter.1.Name", "ip-permission.protocol", "Filter.1.Value.1", name).all("securityGroupInfo/item/groupId"), []string{g})
	}
}

func TestSecurityGroupRuleQuota(t *testing.T) {
	a := newNetAPI(t)
	g := a.group(a.vpc("10.0.0.0/16"), "full")
	var peers []string
	for i := range 60 {
		peers = append(peers, fmt.Sprintf("IpRanges.%d.CidrIp", i+1), fmt.Sprintf("10.%d.0.0/16", i))
	}
	a.do("AuthorizeSecurityGroupIngress", perm(g, "tcp", "1", "1", peers...)...)
	a.refused("RulesPerSecurityGroupLimitExceeded", "AuthorizeSecurityGroupIngress", perm(g, "tcp", "2", "2", "IpRanges.1.CidrIp", "10.0.0.0/8")...)
	a.do("AuthorizeSecurityGroupEgress", perm(g, "tcp", "2", "2", "IpRanges.1.CidrIp", "10.0.0.0/8")...)
}
