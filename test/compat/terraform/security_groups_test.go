// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"
)

func (p *provider) findGroup(id string) (ec2types.SecurityGroup, error) {
	out, err := p.ec2.DescribeSecurityGroups(p.ctx(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	if err != nil {
		return ec2types.SecurityGroup{}, gone(err, "InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound")
	}
	return one(p, out.SecurityGroups, nil)
}

// An inline rule is "protocol from to description peer,peer": how Terraform
// groups them. A peer is a CIDR, a group id, pl-... or self.
func permissions(group string, rules []string) []ec2types.IpPermission {
	var out []ec2types.IpPermission
	for _, r := range rules {
		f := strings.Fields(r)
		var from, to int32
		fmt.Sscan(f[1], &from)
		fmt.Sscan(f[2], &to)
		perm := ec2types.IpPermission{IpProtocol: aws.String(f[0]), FromPort: &from, ToPort: &to}
		var text *string
		if f[3] != "-" {
			text = aws.String(f[3])
		}
		for peer := range strings.SplitSeq(f[4], ",") {
			switch {
			case peer == "self":
				perm.UserIdGroupPairs = append(perm.UserIdGroupPairs, ec2types.UserIdGroupPair{GroupId: aws.String(group), Description: text})
			case strings.HasPrefix(peer, "sg-"):
				perm.UserIdGroupPairs = append(perm.UserIdGroupPairs, ec2types.UserIdGroupPair{GroupId: aws.String(peer), Description: text})
			case strings.HasPrefix(peer, "pl-"):
				perm.PrefixListIds = append(perm.PrefixListIds, ec2types.PrefixListId{PrefixListId: aws.String(peer), Description: text})
			case strings.Contains(peer, ":"):
				perm.Ipv6Ranges = append(perm.Ipv6Ranges, ec2types.Ipv6Range{CidrIpv6: aws.String(peer), Description: text})
			default:
				perm.IpRanges = append(perm.IpRanges, ec2types.IpRange{CidrIp: aws.String(peer), Description: text})
			}
		}
		out = append(out, perm)
	}
	return out
}

// inline is the reverse: what the schema's ingress and egress sets hold.
func (p *provider) inline(group string, perms []ec2types.IpPermission) []string {
	peers := map[string][]string{}
	for _, perm := range perms {
		// Trap 4: an all-protocol rule has no ports here; Terraform then holds 0.
		if *perm.IpProtocol == "-1" && (perm.FromPort != nil || perm.ToPort != nil) {
			p.t.Errorf("an all-protocol rule of %s has ports", group)
		}
		add := func(text *string, peer string) {
			d := aws.ToString(text)
			if d == "" {
				d = "-"
			}
			key := fmt.Sprintf("%s %d %d %s", *perm.IpProtocol, aws.ToInt32(perm.FromPort), aws.ToInt32(perm.ToPort), d)
			peers[key] = append(peers[key], peer)
		}
		for _, r := range perm.IpRanges {
			add(r.Description, *r.CidrIp)
		}
		for _, r := range perm.Ipv6Ranges {
			add(r.Description, *r.CidrIpv6)
		}
		for _, l := range perm.PrefixListIds {
			add(l.Description, *l.PrefixListId)
		}
		for _, g := range perm.UserIdGroupPairs {
			// Trap 6: no name for groups of a VPC, but always the owner.
			if g.UserId == nil || g.GroupName != nil {
				p.t.Errorf("a group peer has owner %v and name %v", g.UserId, g.GroupName)
			}
			if *g.GroupId == group {
				add(g.Description, "self")
			} else {
				add(g.Description, *g.GroupId)
			}
		}
	}
	out := set()
	for key, l := range peers {
		out = append(out, key+" "+strings.Join(set(l...), ","))
	}
	return set(out...)
}

func (p *provider) authorize(id string, egress bool, rules []string) {
	p.t.Helper()
	if len(rules) == 0 {
		return
	}
	perms := permissions(id, rules)
	var err error
	if egress {
		_, err = p.ec2.AuthorizeSecurityGroupEgress(p.ctx(), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &id, IpPermissions: perms})
	} else {
		_, err = p.ec2.AuthorizeSecurityGroupIngress(p.ctx(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &id, IpPermissions: perms})
	}
	p.ok(err)
}

func (p *provider) revoke(id string, egress bool, rules []string) {
	p.t.Helper()
	if len(rules) == 0 {
		return
	}
	perms := permissions(id, rules)
	var err error
	if egress {
		_, err = p.ec2.RevokeSecurityGroupEgress(p.ctx(), &ec2.RevokeSecurityGroupEgressInput{GroupId: &id, IpPermissions: perms})
	} else {
		_, err = p.ec2.RevokeSecurityGroupIngress(p.ctx(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &id, IpPermissions: perms})
	}
	p.ok(err)
}

func (p *provider) groupResource() resource {
	return resource{
		create: func(c attrs) string {
			id := *must[*ec2.CreateSecurityGroupOutput](p)(p.ec2.CreateSecurityGroup(p.ctx(), &ec2.CreateSecurityGroupInput{
				VpcId: aws.String(c.str("vpc_id")), GroupName: aws.String(c.str("name")), Description: aws.String(c.str("description")), TagSpecifications: tagSpec(ec2types.ResourceTypeSecurityGroup, c),
			})).GroupId
			p.wait("the group", nil, []string{"created"}, 3, func() (string, error) { _, err := p.findGroup(id); return "created", err })
			// Trap 3: the rule that a new group has goes at once. The ports are 0
			// with protocol -1 and must not count; ::/0 is not there and says so.
			_, err := p.ec2.RevokeSecurityGroupEgress(p.ctx(), &ec2.RevokeSecurityGroupEgressInput{GroupId: &id, IpPermissions: permissions(id, []string{"-1 0 0 - 0.0.0.0/0"})})
			p.ok(err)
			_, err = p.ec2.RevokeSecurityGroupEgress(p.ctx(), &ec2.RevokeSecurityGroupEgressInput{GroupId: &id, IpPermissions: permissions(id, []string{"-1 0 0 - ::/0"})})
			if err != nil && !tfawserr.ErrCodeEquals(err, "InvalidPermission.NotFound") && !tfawserr.ErrMessageContains(err, "InvalidParameterValue", "remote-ipv6-range") {
				p.ok(err)
			}
			p.authorize(id, false, c.list("ingress"))
			p.authorize(id, true, c.list("egress"))
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			g, err := p.findGroup(id)
			if err != nil {
				return nil, err
			}
			return attrs{
				"arn": p.arn("ec2", "security-group/"+id), "owner_id": *g.OwnerId, "vpc_id": *g.VpcId, "name": *g.GroupName, "description": *g.Description,
				"ingress": p.inline(id, g.IpPermissions), "egress": p.inline(id, g.IpPermissionsEgress), "tags": tagMap(g.Tags),
			}, nil
		},
		update: func(id string, from, to attrs) string {
			for key, egress := range map[string]bool{"ingress": false, "egress": true} {
				p.revoke(id, egress, difference(from.list(key), to.list(key)))
				p.authorize(id, egress, difference(to.list(key), from.list(key)))
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, _ attrs) {
			must[*ec2.DescribeNetworkInterfacesOutput](p)(p.ec2.DescribeNetworkInterfaces(p.ctx(), &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{filter("group-id", id)}}))
			_, err := p.ec2.DeleteSecurityGroup(p.ctx(), &ec2.DeleteSecurityGroupInput{GroupId: &id})
			if !tfawserr.ErrCodeEquals(err, "InvalidGroup.NotFound") {
				p.ok(err)
			}
			p.wait("the group's end", nil, nil, 3, func() (string, error) { _, err := p.findGroup(id); return "created", err })
		},
	}
}

func (p *provider) group(vpc, name string) string {
	p.t.Helper()
	return p.groupResource().create(attrs{"vpc_id": vpc, "name": name, "description": "for a test"})
}

func (p *provider) s3List() string {
	p.t.Helper()
	out := must[*ec2.DescribePrefixListsOutput](p)(p.ec2.DescribePrefixLists(p.ctx(), &ec2.DescribePrefixListsInput{}))
	return *out.PrefixLists[0].PrefixListId
}

func TestSecurityGroup(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	peer, list := p.group(vpc, "peer"), p.s3List()
	p.lifecycle(p.groupResource(), attrs{
		"vpc_id": vpc, "name": "web", "description": "web servers", "tags": tagsOne,
		"ingress": set("tcp 443 443 - 10.0.0.0/16,192.0.2.0/24,198.51.100.0/24", "tcp 80 80 old 10.0.0.0/16", "icmp -1 -1 - 0.0.0.0/0"),
		"egress":  set("-1 0 0 - 0.0.0.0/0"),
	}, []change{
		{set: attrs{"ingress": set("tcp 443 443 - 10.0.0.0/16,203.0.113.0/24", "tcp 80 80 old 10.0.0.0/16", "udp 53 53 - self,"+peer)}},
		{set: attrs{"egress": set("tcp 443 443 s3 " + list), "tags": tagsTwo}},
		{set: attrs{"egress": set(), "ingress": set()}},
		{set: attrs{"ingress": set("50 0 0 - 10.0.0.0/16", "tcp 1 65535 - self")}},
	}) // a rule from itself, in the end, does not keep a group
	id := p.group(vpc, "referring")
	p.authorize(id, false, []string{"tcp 1 1 - " + peer})
	_, err := p.ec2.DeleteSecurityGroup(p.ctx(), &ec2.DeleteSecurityGroupInput{GroupId: &peer})
	p.refused(err, "DependencyViolation", "InvalidGroup.InUse")
	// Trap 15: with revoke_rules_on_delete the provider then takes the rules away.
	p.revoke(id, false, []string{"tcp 1 1 - " + peer})
	p.groupResource().remove(peer, nil)
}

// Trap 4: three networks of one permission are three rules, each with an id,
// and one permission again in the group.
func TestPermissionsAreStoredPerPeerAndShownGrouped(t *testing.T) {
	p := start(t)
	id := p.group(p.vpc("10.0.0.0/16"), "web")
	out := must[*ec2.AuthorizeSecurityGroupIngressOutput](p)(p.ec2.AuthorizeSecurityGroupIngress(p.ctx(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &id, IpPermissions: permissions(id, []string{"tcp 443 443 - 10.0.0.0/16,192.0.2.0/24,198.51.100.0/24"}),
	}))
	if len(out.SecurityGroupRules) != 3 {
		t.Fatalf("%d rules in the answer", len(out.SecurityGroupRules))
	}
	g := must[ec2types.SecurityGroup](p)(p.findGroup(id))
	if len(g.IpPermissions) != 1 || len(g.IpPermissions[0].IpRanges) != 3 {
		t.Errorf("permissions: %+v", g.IpPermissions)
	}
	rules := must[*ec2.DescribeSecurityGroupRulesOutput](p)(p.ec2.DescribeSecurityGroupRules(p.ctx(), &ec2.DescribeSecurityGroupRulesInput{Filters: []ec2types.Filter{filter("group-id", id)}}))
	if len(rules.SecurityGroupRules) != 3 {
		t.Errorf("%d rules by filter", len(rules.SecurityGroupRules))
	}
	// One of them again, together with a new one: nothing of the call is done.
	_, err := p.ec2.AuthorizeSecurityGroupIngress(p.ctx(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &id, IpPermissions: permissions(id, []string{"tcp 443 443 - 203.0.113.0/24,192.0.2.0/24"}),
	})
	p.refused(err, "InvalidPermission.Duplicate")
	if g := must[ec2types.SecurityGroup](p)(p.findGroup(id)); len(g.IpPermissions[0].IpRanges) != 3 {
		t.Errorf("after a refused call: %+v", g.IpPermissions)
	}
	_, err = p.ec2.RevokeSecurityGroupIngress(p.ctx(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &id, IpPermissions: permissions(id, []string{"tcp 444 444 - 192.0.2.0/24"})})
	p.refused(err, "InvalidPermission.NotFound")
	p.revoke(id, false, []string{"tcp 443 443 - 192.0.2.0/24"})
	if g := must[ec2types.SecurityGroup](p)(p.findGroup(id)); len(g.IpPermissions[0].IpRanges) != 2 {
		t.Errorf("after revoking one of three: %+v", g.IpPermissions)
	}
}

// aws_vpc_security_group_ingress_rule and aws_vpc_security_group_egress_rule.
func (p *provider) ruleResource(egress bool) resource {
	find := func(p *provider, id string) (ec2types.SecurityGroupRule, error) {
		out, err := p.ec2.DescribeSecurityGroupRules(p.ctx(), &ec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{id}})
		if err != nil {
			return ec2types.SecurityGroupRule{}, gone(err, "InvalidSecurityGroupRuleId.NotFound")
		}
		return one(p, out.SecurityGroupRules, nil)
	}
	num := func(a attrs, key string) *int32 {
		if v, ok := a[key].(int); ok {
			return aws.Int32(int32(v))
		}
		return nil
	}
	text := func(a attrs, key string) *string {
		if v := a.str(key); v != "" {
			return &v
		}
		return nil
	}
	return resource{
		create: func(c attrs) string {
			perm := ec2types.IpPermission{IpProtocol: text(c, "ip_protocol"), FromPort: num(c, "from_port"), ToPort: num(c, "to_port")}
			d := text(c, "description")
			switch {
			case c.str("cidr_ipv4") != "":
				perm.IpRanges = []ec2types.IpRange{{CidrIp: text(c, "cidr_ipv4"), Description: d}}
			case c.str("cidr_ipv6") != "":
				perm.Ipv6Ranges = []ec2types.Ipv6Range{{CidrIpv6: text(c, "cidr_ipv6"), Description: d}}
			case c.str("prefix_list_id") != "":
				perm.PrefixListIds = []ec2types.PrefixListId{{PrefixListId: text(c, "prefix_list_id"), Description: d}}
			default:
				perm.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: text(c, "referenced_security_group_id"), Description: d}}
			}
			// Trap 5: the answer has the rule's id, and its tags.
			var rules []ec2types.SecurityGroupRule
			var err error
			if egress {
				out, e := p.ec2.AuthorizeSecurityGroupEgress(p.ctx(), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: text(c, "security_group_id"), IpPermissions: []ec2types.IpPermission{perm}, TagSpecifications: tagSpec(ec2types.ResourceTypeSecurityGroupRule, c)})
				p.ok(e)
				rules = out.SecurityGroupRules
			} else {
				out, e := p.ec2.AuthorizeSecurityGroupIngress(p.ctx(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: text(c, "security_group_id"), IpPermissions: []ec2types.IpPermission{perm}, TagSpecifications: tagSpec(ec2types.ResourceTypeSecurityGroupRule, c)})
				p.ok(e)
				rules = out.SecurityGroupRules
			}
			r, err := one(p, rules, nil)
			p.ok(err)
			if len(r.Tags) != len(c.tags()) {
				p.t.Errorf("the new rule's answer has %d tags of %d", len(r.Tags), len(c.tags()))
			}
			return *r.SecurityGroupRuleId
		},
		read: func(p *provider, id string) (attrs, error) {
			r, err := find(p, id)
			if err != nil {
				return nil, err
			}
			if *r.IsEgress != egress {
				p.t.Errorf("rule %s: egress is %v", id, *r.IsEgress)
			}
			a := attrs{
				"security_group_id": *r.GroupId, "ip_protocol": *r.IpProtocol, "description": aws.ToString(r.Description), "tags": tagMap(r.Tags),
				"cidr_ipv4": aws.ToString(r.CidrIpv4), "cidr_ipv6": aws.ToString(r.CidrIpv6), "prefix_list_id": aws.ToString(r.PrefixListId),
				"arn": p.arn("ec2", "security-group-rule/"+id),
			}
			if got := aws.ToString(r.SecurityGroupRuleArn); got != a["arn"] {
				p.t.Errorf("the rule's ARN is %q", got)
			}
			if *r.FromPort != -1 || *r.ToPort != -1 { // -1 is "none" for all protocols
				a["from_port"], a["to_port"] = int(*r.FromPort), int(*r.ToPort)
			} else if *r.IpProtocol == "icmp" {
				a["from_port"], a["to_port"] = -1, -1
			}
			if r.ReferencedGroupInfo != nil {
				a["referenced_security_group_id"] = *r.ReferencedGroupInfo.GroupId
				if aws.ToString(r.ReferencedGroupInfo.UserId) != p.account {
					p.t.Error("the referenced group has no owner")
				}
			}
			return a, nil
		},
		update: func(id string, from, to attrs) string {
			in := &ec2types.SecurityGroupRuleRequest{
				IpProtocol: text(to, "ip_protocol"), FromPort: num(to, "from_port"), ToPort: num(to, "to_port"), Description: aws.String(to.str("description")),
				CidrIpv4: text(to, "cidr_ipv4"), CidrIpv6: text(to, "cidr_ipv6"), PrefixListId: text(to, "prefix_list_id"), ReferencedGroupId: text(to, "referenced_security_group_id"),
			}
			if !cmp.Equal(from.with(attrs{"tags": nil}), to.with(attrs{"tags": nil})) {
				_, err := p.ec2.ModifySecurityGroupRules(p.ctx(), &ec2.ModifySecurityGroupRulesInput{GroupId: text(to, "security_group_id"), SecurityGroupRules: []ec2types.SecurityGroupRuleUpdate{{SecurityGroupRuleId: &id, SecurityGroupRule: in}}})
				p.ok(err)
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, state attrs) {
			var err error
			if egress {
				_, err = p.ec2.RevokeSecurityGroupEgress(p.ctx(), &ec2.RevokeSecurityGroupEgressInput{GroupId: text(state, "security_group_id"), SecurityGroupRuleIds: []string{id}})
			} else {
				_, err = p.ec2.RevokeSecurityGroupIngress(p.ctx(), &ec2.RevokeSecurityGroupIngressInput{GroupId: text(state, "security_group_id"), SecurityGroupRuleIds: []string{id}})
			}
			if !tfawserr.ErrCodeEquals(err, "InvalidSecurityGroupRuleId.NotFound") {
				p.ok(err)
			}
		},
	}
}

func TestSecurityGroupRule(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	group, peer, list := p.group(vpc, "web"), p.group(vpc, "peer"), p.s3List()
	for _, egress := range []bool{false, true} {
		p.lifecycle(p.ruleResource(egress), attrs{"security_group_id": group, "ip_protocol": "tcp", "from_port": 80, "to_port": 81, "cidr_ipv4": "10.0.0.0/8", "description": "web", "tags": tagsOne}, []change{
			{set: attrs{"to_port": 90, "description": "more"}},
			{set: attrs{"cidr_ipv4": "192.0.2.0/24", "tags": tagsTwo}},
			{set: attrs{"ip_protocol": "udp"}},
		})
		p.lifecycle(p.ruleResource(egress), attrs{"security_group_id": group, "ip_protocol": "-1", "referenced_security_group_id": peer}, nil)
		p.lifecycle(p.ruleResource(egress), attrs{"security_group_id": group, "ip_protocol": "icmp", "from_port": -1, "to_port": -1, "cidr_ipv4": "0.0.0.0/0"}, nil)
		p.lifecycle(p.ruleResource(egress), attrs{"security_group_id": group, "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "prefix_list_id": list}, nil)
	}
}

// aws_default_security_group adopts the group and takes its rules away; trap 3's
// counterpart: the default group has a rule from itself.
func TestDefaultSecurityGroupIsAdopted(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	out := must[*ec2.DescribeSecurityGroupsOutput](p)(p.ec2.DescribeSecurityGroups(p.ctx(), &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter("group-name", "default"), filter("vpc-id", vpc)}}))
	g, err := one(p, out.SecurityGroups, nil)
	p.ok(err)
	id := *g.GroupId
	in, eg := p.inline(id, g.IpPermissions), p.inline(id, g.IpPermissionsEgress)
	if !slices.Equal(in, []string{"-1 0 0 - self"}) || !slices.Equal(eg, []string{"-1 0 0 - 0.0.0.0/0"}) {
		t.Errorf("the default group has %q and %q", in, eg)
	}
	p.revoke(id, false, in)
	p.revoke(id, true, eg)
	if g = must[ec2types.SecurityGroup](p)(p.findGroup(id)); len(g.IpPermissions)+len(g.IpPermissionsEgress) != 0 {
		t.Errorf("rules are left: %+v", g)
	}
	_, err = p.ec2.DeleteSecurityGroup(p.ctx(), &ec2.DeleteSecurityGroupInput{GroupId: &id})
	p.refused(err, "CannotDelete")
}
