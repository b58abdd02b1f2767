// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"strconv"
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// IPPermission is <IpPermission>, in and out: a protocol and range with all
// the peers they are allowed for.
type IPPermission struct {
	Protocol    string        `query:"IpProtocol,required" xml:"ipProtocol"`
	FromPort    *int          `query:"FromPort" xml:"fromPort"`
	ToPort      *int          `query:"ToPort" xml:"toPort"`
	Groups      []GroupPair   `query:"Groups" xml:"groups>item"`
	IPRanges    []IPRange     `query:"IpRanges" xml:"ipRanges>item"`
	IPv6Ranges  []IPv6Range   `query:"Ipv6Ranges" xml:"ipv6Ranges>item"`
	PrefixLists []PrefixEntry `query:"PrefixListIds" xml:"prefixListIds>item"`
}

// GroupPair is <UserIdGroupPair>.
type GroupPair struct {
	UserID      string `query:"UserId" xml:"userId,omitempty"`
	GroupID     string `query:"GroupId" xml:"groupId,omitempty"`
	GroupName   string `query:"GroupName" xml:"groupName,omitempty"`
	VpcID       string `query:"VpcId" xml:"vpcId,omitempty"`
	PeeringID   string `query:"VpcPeeringConnectionId" xml:"vpcPeeringConnectionId,omitempty"`
	Description string `query:"Description" xml:"description,omitempty"`
	// PeeringStatus is an answer; clients that send back what they were told may.
	PeeringStatus string           `query:"-" xml:"peeringStatus,omitempty"`
	_             awsquery.Refused `query:"PeeringStatus,refuse,unless=active,unless=deleted"`
}

// IPRange is one IPv4 peer.
type IPRange struct {
	CIDR        string `query:"CidrIp,required" xml:"cidrIp"`
	Description string `query:"Description" xml:"description,omitempty"`
}

// IPv6Range is one IPv6 peer.
type IPv6Range struct {
	CIDR        string `query:"CidrIpv6,required" xml:"cidrIpv6"`
	Description string `query:"Description" xml:"description,omitempty"`
}

// PrefixEntry is one peer that is a prefix list.
type PrefixEntry struct {
	ID          string `query:"PrefixListId,required" xml:"prefixListId"`
	Description string `query:"Description" xml:"description,omitempty"`
}

var protocolNames = map[int]string{vpc.AllProtocols: "-1", vpc.TCP: "tcp", vpc.UDP: "udp", vpc.ICMP: "icmp", vpc.ICMPv6: "icmpv6"}

// protocolName is AWS's name of a protocol in security groups: a name for the
// four it names, else the number.
func protocolName(p int) string {
	if s, ok := protocolNames[p]; ok {
		return s
	}
	return strconv.Itoa(p)
}

// parseProtocol reads a name or an IANA number; -1 is all.
func parseProtocol(s string) (int, error) {
	for p, name := range protocolNames {
		if strings.EqualFold(s, name) {
			return p, nil
		}
	}
	if n, err := strconv.Atoi(s); err == nil && n >= -1 && n <= 255 {
		return n, nil
	}
	return 0, vpc.Errorf(vpc.Invalid, "ipProtocol", s, "Invalid value '%.32s' for IP protocol. Unknown protocol.", s)
}

// hasRange reports whether From and To of a rule mean anything.
func hasRange(protocol int) bool {
	switch protocol {
	case vpc.TCP, vpc.UDP, vpc.ICMP, vpc.ICMPv6:
		return true
	}
	return false
}

// cidrs splits a rule's CIDR into the IPv4 and the IPv6 one; one or both are "".
func cidrs(r vpc.GroupRule) (v4, v6 string) {
	switch {
	case !r.CIDR.IsValid():
	case r.CIDR.Addr().Is4():
		v4 = r.CIDR.String()
	default:
		v6 = r.CIDR.String()
	}
	return
}

// rulePrefix reads a peer's CIDR of one family.
func rulePrefix(s string, ipv6 bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is6() != ipv6 {
		return p, vpc.Errorf(vpc.Invalid, "cidrIp", s, "CIDR block %.64s is malformed", s)
	}
	return p, nil
}

// ruleSpecs takes permissions apart into one rule per peer.
func ruleSpecs(list []IPPermission) ([]control.RuleSpec, error) {
	var out []control.RuleSpec
	for _, p := range list {
		proto, err := parseProtocol(p.Protocol)
		if err != nil {
			return nil, err
		}
		from, to, err := control.NormalRange(proto, p.FromPort, p.ToPort)
		if err != nil {
			return nil, err
		}
		base := control.RuleSpec{Protocol: proto, From: from, To: to}
		n := len(out)
		add := func(description string, peer func(*control.RuleSpec)) {
			s := base
			s.Description = description
			peer(&s)
			out = append(out, s)
		}
		for _, r := range p.IPRanges {
			cidr, err := rulePrefix(r.CIDR, false)
			if err != nil {
				return nil, err
			}
			add(r.Description, func(s *control.RuleSpec) { s.CIDR = cidr })
		}
		for _, r := range p.IPv6Ranges {
			cidr, err := rulePrefix(r.CIDR, true)
			if err != nil {
				return nil, err
			}
			add(r.Description, func(s *control.RuleSpec) { s.CIDR = cidr })
		}
		for _, g := range p.Groups {
			if g.GroupID != "" {
				if err := checkID(vpc.KindGroup, vpc.PrefixGroup, g.GroupID); err != nil {
					return nil, err
				}
			} else if g.GroupName == "" {
				return nil, vpc.Errorf(vpc.Missing, "GroupId", "", "The request must contain the parameter groupId")
			}
			if g.PeeringID != "" {
				if err := checkID(vpc.KindPeering, vpc.PrefixPeering, g.PeeringID); err != nil {
					return nil, err
				}
			}
			add(g.Description, func(s *control.RuleSpec) {
				s.Group, s.GroupName = vpc.GroupID(g.GroupID), g.GroupName
				s.GroupOwner, s.GroupVPC, s.Peering = vpc.AccountID(g.UserID), vpc.VPCID(g.VpcID), vpc.PeeringID(g.PeeringID)
			})
		}
		for _, l := range p.PrefixLists {
			if err := checkID("prefix-list", vpc.PrefixManagedList, l.ID); err != nil {
				return nil, err
			}
			add(l.Description, func(s *control.RuleSpec) { s.PrefixList = vpc.PrefixListID(l.ID) })
		}
		if len(out) == n {
			return nil, vpc.Errorf(vpc.Missing, "IpPermissions", "", "The request must contain a source or destination for every permission: a CIDR block, a security group or a prefix list")
		}
	}
	return out, nil
}

// groupPair is a rule's peer group; of another VPC also how it is reached.
func groupPair(v vpc.View, r vpc.GroupRule) GroupPair {
	return GroupPair{
		UserID: string(r.GroupOwner), GroupID: string(r.Group), Description: r.Description,
		VpcID: string(r.GroupVPC), PeeringID: string(r.Peering), PeeringStatus: string(control.PeeringStatus(v, r)),
	}
}

// permissions groups a group's rules of one direction by protocol and range,
// in the order in which they were added.
func permissions(v vpc.View, g *vpc.SecurityGroup, egress bool) []IPPermission {
	type key struct{ protocol, from, to int }
	var out []IPPermission
	at := map[key]int{}
	for _, r := range g.Rules {
		if r.Egress != egress {
			continue
		}
		k := key{r.Protocol, r.From, r.To}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			p := IPPermission{Protocol: protocolName(r.Protocol)}
			if hasRange(r.Protocol) {
				p.FromPort, p.ToPort = &r.From, &r.To
			}
			out = append(out, p)
		}
		p := &out[i]
		v4, v6 := cidrs(r)
		switch {
		case v4 != "":
			p.IPRanges = append(p.IPRanges, IPRange{v4, r.Description})
		case v6 != "":
			p.IPv6Ranges = append(p.IPv6Ranges, IPv6Range{v6, r.Description})
		case r.Group != "":
			p.Groups = append(p.Groups, groupPair(v, r))
		default:
			p.PrefixLists = append(p.PrefixLists, PrefixEntry{string(r.PrefixList), r.Description})
		}
	}
	return out
}
