// SPDX-License-Identifier: Apache-2.0

package terraform

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/aws-sdk-go-base/v2/tfawserr"
)

// The numbers of the final rules, which the provider skips.
const (
	lastIPv4 = 32767
	lastIPv6 = 32768
)

func (p *provider) findACL(id string) (ec2types.NetworkAcl, error) {
	out, err := p.ec2.DescribeNetworkAcls(p.ctx(), &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{id}})
	if err != nil {
		return ec2types.NetworkAcl{}, gone(err, "InvalidNetworkAclID.NotFound")
	}
	return one(p, out.NetworkAcls, nil)
}

// An entry is "number action protocol from to cidr type code", as the schema has it.
type entry struct {
	number         int32
	action         string
	protocol       int // a number, always (trap 7)
	from, to       int32
	cidr           string
	icmpTyp, icmpC int32
}

func parseEntry(s string) entry {
	var e entry
	fmt.Sscan(s, &e.number, &e.action, &e.protocol, &e.from, &e.to, &e.cidr, &e.icmpTyp, &e.icmpC)
	return e
}

func (p *provider) createEntries(acl string, egress bool, entries []string) {
	p.t.Helper()
	for _, s := range entries {
		e := parseEntry(s)
		in := &ec2.CreateNetworkAclEntryInput{
			NetworkAclId: &acl, Egress: &egress, RuleNumber: &e.number, RuleAction: ec2types.RuleAction(e.action), Protocol: aws.String(strconv.Itoa(e.protocol)),
			CidrBlock: &e.cidr, PortRange: &ec2types.PortRange{From: &e.from, To: &e.to}, // always sent, 0 to 0 for all protocols
		}
		if e.protocol == 1 || e.protocol == 58 {
			in.IcmpTypeCode = &ec2types.IcmpTypeCode{Type: &e.icmpTyp, Code: &e.icmpC}
		}
		_, err := p.ec2.CreateNetworkAclEntry(p.ctx(), in)
		p.ok(err)
	}
}

func (p *provider) entries(acl ec2types.NetworkAcl, egress bool) []string {
	out, last := set(), 0
	for _, e := range acl.Entries {
		if *e.Egress != egress {
			continue
		}
		number, err := strconv.Atoi(*e.Protocol)
		if err != nil {
			p.t.Errorf("the protocol %q is no number", *e.Protocol)
		}
		if *e.RuleNumber == lastIPv4 || *e.RuleNumber == lastIPv6 {
			last++
			continue
		}
		var from, to, typ, code int32
		if e.PortRange != nil {
			from, to = aws.ToInt32(e.PortRange.From), aws.ToInt32(e.PortRange.To)
		}
		if e.IcmpTypeCode != nil {
			typ, code = aws.ToInt32(e.IcmpTypeCode.Type), aws.ToInt32(e.IcmpTypeCode.Code)
		}
		out = append(out, fmt.Sprint(*e.RuleNumber, " ", e.RuleAction, " ", number, " ", from, " ", to, " ", *e.CidrBlock, " ", typ, " ", code))
	}
	if last != 1 {
		p.t.Errorf("%d final rules with egress %v, want one, for IPv4", last, egress)
	}
	return set(out...)
}

// associate gives a subnet to an ACL: its present association is found by the
// subnet, and replaced.
func (p *provider) associate(acl, subnet string) {
	p.t.Helper()
	out := must[*ec2.DescribeNetworkAclsOutput](p)(p.ec2.DescribeNetworkAcls(p.ctx(), &ec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{filter("association.subnet-id", subnet)}}))
	have, err := one(p, out.NetworkAcls, nil)
	p.ok(err)
	for _, a := range have.Associations {
		if *a.SubnetId == subnet {
			now := must[*ec2.ReplaceNetworkAclAssociationOutput](p)(p.ec2.ReplaceNetworkAclAssociation(p.ctx(), &ec2.ReplaceNetworkAclAssociationInput{AssociationId: a.NetworkAclAssociationId, NetworkAclId: &acl}))
			if aws.ToString(now.NewAssociationId) == "" || *now.NewAssociationId == *a.NetworkAclAssociationId {
				p.t.Errorf("the new association is %v, the old one %s", now.NewAssociationId, *a.NetworkAclAssociationId)
			}
		}
	}
}

func (p *provider) defaultACL(vpc string) string {
	p.t.Helper()
	out := must[*ec2.DescribeNetworkAclsOutput](p)(p.ec2.DescribeNetworkAcls(p.ctx(), &ec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{filter("default", "true"), filter("vpc-id", vpc)}}))
	acl, err := one(p, out.NetworkAcls, nil)
	p.ok(err)
	return *acl.NetworkAclId
}

func (p *provider) aclResource() resource {
	return resource{
		create: func(c attrs) string {
			id := *must[*ec2.CreateNetworkAclOutput](p)(p.ec2.CreateNetworkAcl(p.ctx(), &ec2.CreateNetworkAclInput{
				VpcId: aws.String(c.str("vpc_id")), ClientToken: p.token(), TagSpecifications: tagSpec(ec2types.ResourceTypeNetworkAcl, c),
			})).NetworkAcl.NetworkAclId
			p.createEntries(id, true, c.list("egress"))
			p.createEntries(id, false, c.list("ingress"))
			for _, s := range c.list("subnet_ids") {
				p.associate(id, s)
			}
			return id
		},
		read: func(p *provider, id string) (attrs, error) {
			acl, err := p.findACL(id)
			if err != nil {
				return nil, err
			}
			subnets := set()
			for _, a := range acl.Associations {
				subnets = append(subnets, *a.SubnetId)
			}
			return attrs{
				"arn": p.arn("ec2", "network-acl/"+id), "owner_id": *acl.OwnerId, "vpc_id": *acl.VpcId, "subnet_ids": set(subnets...),
				"ingress": p.entries(acl, false), "egress": p.entries(acl, true), "tags": tagMap(acl.Tags),
			}, nil
		},
		update: func(id string, from, to attrs) string {
			for key, egress := range map[string]bool{"ingress": false, "egress": true} {
				for _, s := range difference(from.list(key), to.list(key)) {
					_, err := p.ec2.DeleteNetworkAclEntry(p.ctx(), &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &id, Egress: aws.Bool(egress), RuleNumber: aws.Int32(parseEntry(s).number)})
					p.ok(err)
				}
				p.createEntries(id, egress, difference(to.list(key), from.list(key)))
			}
			for _, s := range difference(from.list("subnet_ids"), to.list("subnet_ids")) {
				p.associate(p.defaultACL(to.str("vpc_id")), s)
			}
			for _, s := range difference(to.list("subnet_ids"), from.list("subnet_ids")) {
				p.associate(id, s)
			}
			p.updateTags(id, from, to)
			return id
		},
		remove: func(id string, state attrs) {
			acl, err := p.findACL(id)
			if err == errGone {
				return
			}
			p.ok(err)
			for _, a := range acl.Associations {
				p.associate(p.defaultACL(state.str("vpc_id")), *a.SubnetId)
			}
			_, err = p.ec2.DeleteNetworkAcl(p.ctx(), &ec2.DeleteNetworkAclInput{NetworkAclId: &id})
			if !tfawserr.ErrCodeEquals(err, "InvalidNetworkAclID.NotFound") {
				p.ok(err)
			}
		},
	}
}

func TestNetworkACL(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	a, b := p.subnet(vpc, "10.0.0.0/24", "us-east-1a"), p.subnet(vpc, "10.0.1.0/24", "us-east-1b")
	p.lifecycle(p.aclResource(), attrs{
		"vpc_id": vpc, "subnet_ids": set(a), "tags": tagsOne,
		"ingress": set("100 allow 6 443 443 0.0.0.0/0 0 0", "200 deny 17 53 53 10.0.0.0/8 0 0", "300 allow 1 0 0 0.0.0.0/0 -1 -1"),
		"egress":  set("100 allow -1 0 0 0.0.0.0/0 0 0"),
	}, []change{
		{set: attrs{"ingress": set("100 allow 6 80 80 0.0.0.0/0 0 0", "300 allow 1 0 0 0.0.0.0/0 8 0")}},
		{set: attrs{"subnet_ids": set(a, b), "tags": tagsTwo}},
		{set: attrs{"subnet_ids": set(b), "egress": set()}},
	}, func(id string, _ attrs) {
		no := aws.Bool(false)
		_, err := p.ec2.CreateNetworkAclEntry(p.ctx(), &ec2.CreateNetworkAclEntryInput{NetworkAclId: &id, Egress: no, RuleNumber: aws.Int32(100), RuleAction: "allow", Protocol: aws.String("-1"), CidrBlock: aws.String("0.0.0.0/0")})
		p.refused(err, "NetworkAclEntryAlreadyExists")
		_, err = p.ec2.DeleteNetworkAclEntry(p.ctx(), &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &id, Egress: no, RuleNumber: aws.Int32(101)})
		p.refused(err, "InvalidNetworkAclEntry.NotFound")
		_, err = p.ec2.DeleteNetworkAcl(p.ctx(), &ec2.DeleteNetworkAclInput{NetworkAclId: &id})
		p.refused(err, "DependencyViolation")
	})
}

// aws_network_acl_rule: read by going through the entries.
func TestNetworkACLRule(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	acl := p.aclResource().create(attrs{"vpc_id": vpc})
	p.lifecycle(resource{
		create: func(c attrs) string { p.createEntries(acl, false, []string{c.str("entry")}); return c.str("entry")[:3] },
		read: func(p *provider, id string) (attrs, error) {
			found, err := p.findACL(acl)
			if err != nil {
				return nil, err
			}
			for _, e := range p.entries(found, false) {
				if e[:3] == id {
					return attrs{"entry": e}, nil
				}
			}
			return nil, errGone
		},
		remove: func(id string, _ attrs) {
			n, _ := strconv.Atoi(id)
			_, err := p.ec2.DeleteNetworkAclEntry(p.ctx(), &ec2.DeleteNetworkAclEntryInput{NetworkAclId: &acl, Egress: aws.Bool(false), RuleNumber: aws.Int32(int32(n))})
			if !tfawserr.ErrCodeEquals(err, "InvalidNetworkAclEntry.NotFound") {
				p.ok(err)
			}
		},
	}, attrs{"entry": "150 deny 6 22 22 203.0.113.0/24 0 0"}, nil)
}

// aws_default_network_acl adopts the default ACL, which has rule 100 both ways.
func TestDefaultNetworkACLIsAdopted(t *testing.T) {
	p := start(t)
	vpc := p.vpc("10.0.0.0/16")
	subnet := p.subnet(vpc, "10.0.0.0/24", "us-east-1a")
	id := p.defaultACL(vpc)
	all := set("100 allow -1 0 0 0.0.0.0/0 0 0")
	state := p.settled(p.aclResource(), id)
	p.asConfigured("at adoption", attrs{"ingress": all, "egress": all, "subnet_ids": set(subnet)}, state)
	now := state.with(attrs{"ingress": set("200 allow 6 1 65535 10.0.0.0/16 0 0"), "egress": set()})
	p.aclResource().update(id, state, now)
	p.asConfigured("after adoption", attrs{"ingress": now["ingress"], "egress": now["egress"]}, p.settled(p.aclResource(), id))
	_, err := p.ec2.DeleteNetworkAcl(p.ctx(), &ec2.DeleteNetworkAclInput{NetworkAclId: &id})
	p.refused(err, "InvalidParameterValue", "CannotDelete")
}
