// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// groupRules are a group's rules with their peers written out.
type groupRules struct {
	group   *vpc.SecurityGroup
	in, out []rule
}

// rule is a security group rule with the blocks its peer stands for now.
type rule struct {
	vpc.GroupRule
	peers []netip.Prefix
}

func (g *groupRules) add(n *network, of *vpc.SecurityGroup, r vpc.GroupRule) {
	out := rule{GroupRule: r}
	switch {
	case r.Group != "":
		from := of.VPC
		if r.Peering != "" {
			// the group is of the VPC at the other end, while there is a way there
			i := slices.IndexFunc(n.peerings, func(p *vpc.Peering) bool { return p.ID == r.Peering })
			if i < 0 || n.peerings[i].Other(of.VPC) == nil {
				return
			}
			from = n.peerings[i].Other(of.VPC).VPC
		}
		for _, member := range n.peers[r.Group] {
			if member.vpc == from {
				out.peers = append(out.peers, netip.PrefixFrom(member.addr, member.addr.BitLen()))
			}
		}
	case r.PrefixList != "":
		out.peers = n.prefixes(r.PrefixList)
	default:
		out.peers = []netip.Prefix{r.CIDR}
	}
	if r.Egress {
		g.out = append(g.out, out)
	} else {
		g.in = append(g.in, out)
	}
}

// covers reports whether a protocol and a number (port, or ICMP's type and
// code) are a rule's.
func covers(proto, from, to, p, number, code int) bool {
	if proto == vpc.AllProtocols {
		return true
	}
	if proto != p {
		return false
	}
	switch proto {
	case vpc.TCP, vpc.UDP:
		return from < 0 || from <= number && number <= to
	case vpc.ICMP, vpc.ICMPv6:
		return from < 0 || from == number && (to < 0 || to == code)
	}
	return true
}

// sought is what a rule is asked about: the other end and what is sent.
type sought struct {
	peer         netip.Addr
	proto        int
	number, code int
}

func (r rule) allows(q sought) bool {
	if !covers(r.Protocol, r.From, r.To, q.proto, q.number, q.code) {
		return false
	}
	return slices.ContainsFunc(r.peers, func(p netip.Prefix) bool { return p.Contains(q.peer) })
}

func (r rule) String() string {
	peer := r.CIDR.String()
	if r.Group != "" {
		peer = string(r.Group)
	} else if r.PrefixList != "" {
		peer = string(r.PrefixList)
	}
	return fmt.Sprintf("%s (protocol %d, %d to %d, %s)", r.ID, r.Protocol, r.From, r.To, peer)
}

// direction is a packet's as an interface sees it.
type direction bool

const (
	ingress direction = false
	egress  direction = true
)

func (d direction) String() string {
	if d == egress {
		return "egress"
	}
	return "ingress"
}

// groupsOf are an interface's rules of one direction.
func (n *network) groupsOf(s *site, d direction) []rule {
	var out []rule
	for _, id := range s.eni.Groups {
		if g, ok := n.rules[id]; ok {
			if d == egress {
				out = append(out, g.out...)
			} else {
				out = append(out, g.in...)
			}
		}
	}
	return out
}

// groupsAllow asks an interface's security groups. An interface without groups
// allows everything.
func (j *journey) groupsAllow(s *site, d direction, q sought) bool {
	if len(s.eni.Groups) == 0 {
		j.step("security groups %s of %s: it has none", d, s.id)
		return true
	}
	for _, r := range j.m.net.groupsOf(s, d) {
		if r.allows(q) {
			j.step("security groups %s of %s: allowed by %s", d, s.id, r)
			return true
		}
	}
	j.step("security groups %s of %s: no rule allows it", d, s.id)
	return false
}

// tracks reports whether an interface tracks a flow whose first packet it
// allows in direction d. AWS does not track a TCP or UDP flow that is allowed
// from or to anywhere when everything may go the other way.
func (n *network) tracks(s *site, d direction, q sought) bool {
	if q.proto != vpc.TCP && q.proto != vpc.UDP {
		return true
	}
	if len(s.eni.Groups) == 0 {
		return false
	}
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if q.peer.Is6() {
		anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	first := slices.ContainsFunc(n.groupsOf(s, d), func(r rule) bool { return r.CIDR == anywhere && r.allows(q) })
	back := slices.ContainsFunc(n.groupsOf(s, !d), func(r rule) bool {
		all := r.Protocol == vpc.AllProtocols || r.Protocol == q.proto && (r.From < 0 || r.From == 0 && r.To == 65535)
		return r.CIDR == anywhere && all
	})
	return !first || !back
}
