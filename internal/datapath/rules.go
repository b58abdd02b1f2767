// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Rules are compiled so that a packet costs two longest-prefix lookups
// whatever the lists say: (set, address) gives a class, and (class, protocol,
// port) gives a verdict. A class is what all rules that cover an address say
// together; addresses with the same rules share it. Security groups are a list
// in which everything allows, network ACLs one in which the first match
// decides, so both go through the same compiler.

// match is one rule of a list in order.
type match struct {
	allow  bool
	proto  int // IANA number or vpc.AllProtocols
	lo, hi uint16
	peers  []netip.Prefix
}

// verdict is one entry of a class: all protocols when proto is anyProto, else
// the ports whose first bits are port's.
type verdict struct {
	proto int
	port  uint16
	bits  uint8 // of port, 0 to 16
	says  uint8 // deny, permit or permitAnywhere
}

// What verdicts say; see bpf/rules.h.
const (
	deny           = 0
	permit         = 1
	permitAnywhere = 3 // by a security group's rule whose peer is the whole family
)

// ruleList is a compiled list.
type ruleList struct {
	id      uint64
	peers   map[netip.Prefix]uint64 // to class
	classes map[uint64][]verdict
	// The same as the maps hold it.
	peerEntries map[bpf.DatapathRulePeerKey]uint64
	portEntries map[uint64]map[bpf.DatapathRulePortKey]uint8 // by class
}

// encode fills in the entries of a list that is otherwise complete.
func (l *ruleList) encode() {
	l.peerEntries = make(map[bpf.DatapathRulePeerKey]uint64, len(l.peers))
	for p, class := range l.peers {
		l.peerEntries[bpf.DatapathRulePeerKey{
			Prefixlen: uint32(64 + addrBits(p)), Set: split(l.id), Addr: toAddr(p.Addr()),
		}] = class
	}
	l.portEntries = make(map[uint64]map[bpf.DatapathRulePortKey]uint8, len(l.classes))
	for class, vs := range l.classes {
		ports := make(map[bpf.DatapathRulePortKey]uint8, len(vs))
		for _, v := range vs {
			k := bpf.DatapathRulePortKey{Prefixlen: 64, Class: split(class)}
			if v.proto != anyProto {
				k.Prefixlen, k.Proto, k.Port = 80+uint32(v.bits), uint8(v.proto), toPort(v.port)
			}
			ports[k] = v.says
		}
		l.portEntries[class] = ports
	}
}

const anyProto = vpc.AllProtocols

// groupList compiles one direction of the groups on an interface.
func groupList(rules []desired.Rule) *ruleList {
	ms := make([]match, 0, len(rules))
	for _, r := range rules {
		m := match{allow: true, proto: r.Protocol, peers: r.Peers}
		m.lo, m.hi = ruleRange(r.Protocol, r.From, r.To)
		ms = append(ms, m)
	}
	return compile(ms, true)
}

// aclList compiles one direction of a network ACL for one family. It is nil for
// a list that allows every packet.
func aclList(rules []desired.ACLRule, v6 bool) *ruleList {
	ms := make([]match, 0, len(rules))
	for _, r := range rules {
		if r.CIDR.Addr().Is6() != v6 {
			continue
		}
		m := match{allow: r.Allow, proto: r.Protocol, peers: []netip.Prefix{r.CIDR}}
		m.lo, m.hi = ruleRange(r.Protocol, r.From, r.To)
		if len(ms) == 0 && r.Allow && r.Protocol == anyProto && r.CIDR.Bits() == 0 {
			return nil
		}
		ms = append(ms, m)
	}
	return compile(ms, false)
}

// openWays gives the flags of an interface with these groups: in which
// directions, for which protocols and families, one rule allows all ports to or
// from anywhere. Source: EC2 User Guide, "Untracked connections".
func openWays(s desired.RuleSet) uint16 {
	var flags uint16
	for out, rules := range [][]desired.Rule{s.Ingress, s.Egress} {
		for _, r := range rules {
			lo, hi := ruleRange(r.Protocol, r.From, r.To)
			if lo != 0 || hi != 65535 {
				continue
			}
			for udp, proto := range []int{vpc.TCP, vpc.UDP} {
				if r.Protocol != proto && r.Protocol != anyProto {
					continue
				}
				for _, p := range r.Peers {
					if p.Bits() == 0 {
						v6 := 0
						if p.Addr().Is6() {
							v6 = 1
						}
						flags |= uint16(bpf.DatapathInterfaceFlagINTERFACE_OPEN) << (4*out + 2*udp + v6)
					}
				}
			}
		}
	}
	return flags
}

// ruleRange gives the range of the 16-bit number that rules of a protocol
// match: the destination port, or ICMP's type and code.
func ruleRange(proto, from, to int) (lo, hi uint16) {
	switch proto {
	case vpc.TCP, vpc.UDP:
		if from < 0 {
			return 0, 65535
		}
		return uint16(from), uint16(to)
	case vpc.ICMP, vpc.ICMPv6:
		if from < 0 {
			return 0, 65535
		}
		if to < 0 {
			return uint16(from) << 8, uint16(from)<<8 | 0xff
		}
		v := uint16(from)<<8 | uint16(to)&0xff
		return v, v
	}
	return 0, 65535
}

// v4 is all of IPv4; among 128-bit addresses it is ::ffff:0:0/96.
var v4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// cover is a rule that covers a prefix; anywhere says that it does so because
// it is for the whole family.
type cover struct {
	rule     int
	anywhere bool
}

// compile makes a list of rules in order. With union, everything allows and the
// order does not matter: then rules for anywhere come first, since what they
// let through is what need not be tracked.
func compile(ms []match, union bool) *ruleList {
	// which rules name a prefix, in order
	byPrefix := map[netip.Prefix][]int{}
	for i, m := range ms {
		for _, p := range m.peers {
			p = p.Masked()
			if p.Addr().Is4In6() {
				continue // IPv6 in form, but the place of IPv4 among 128-bit addresses
			}
			if l := byPrefix[p]; len(l) == 0 || l[len(l)-1] != i {
				byPrefix[p] = append(l, i)
			}
		}
	}
	// A short IPv6 prefix such as ::/0 would cover IPv4's place too, and a
	// rule for one family says nothing about the other.
	for p := range byPrefix {
		if p.Addr().Is6() && p.Bits() < 96 && p.Contains(netip.AddrFrom16(v4.Addr().As16())) {
			if _, ok := byPrefix[v4]; !ok {
				byPrefix[v4] = nil
			}
			break
		}
	}
	out := &ruleList{peers: map[netip.Prefix]uint64{}, classes: map[uint64][]verdict{}}
	known := map[string]uint64{}
	for p := range byPrefix {
		var covering []cover
		for bits := 0; bits <= p.Bits(); bits++ {
			for _, i := range byPrefix[netip.PrefixFrom(p.Addr(), bits).Masked()] {
				covering = append(covering, cover{i, union && bits == 0})
			}
		}
		slices.SortFunc(covering, func(a, b cover) int {
			if a.anywhere != b.anywhere {
				if a.anywhere {
					return -1
				}
				return 1
			}
			return a.rule - b.rule
		})
		var key []byte
		for _, c := range covering {
			n := uint64(c.rule) << 1
			if c.anywhere {
				n |= 1
			}
			key = binary.AppendUvarint(key, n)
		}
		class, ok := known[string(key)]
		if !ok {
			vs := resolve(ms, covering)
			class = classID(vs)
			known[string(key)] = class
			out.classes[class] = vs
		}
		out.peers[p] = class
	}
	prefixes := make([]netip.Prefix, 0, len(out.peers))
	for p := range out.peers {
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	content := []byte("set")
	for _, p := range prefixes {
		a := p.Addr().As16()
		content = append(content, a[:]...)
		content = append(content, byte(addrBits(p)))
		content = binary.BigEndian.AppendUint64(content, out.peers[p])
	}
	out.id = contentID(content)
	out.encode()
	return out
}

// resolve gives the verdicts of a class: the rules with these indexes, in
// order, first match decides, no match denies.
func resolve(ms []match, which []cover) []verdict {
	var out []verdict
	var protos []int
	rest := uint8(deny) // what the all-protocols rules say
	decided := false
	for _, c := range which {
		if m := ms[c.rule]; m.proto == anyProto {
			if !decided {
				rest, decided = says(m, c), true
			}
		} else if !slices.Contains(protos, m.proto) {
			protos = append(protos, m.proto)
		}
	}
	if rest != deny {
		out = append(out, verdict{proto: anyProto, says: rest})
	}
	slices.Sort(protos)
	for _, proto := range protos {
		if proto < 0 || proto > 255 {
			continue
		}
		out = append(out, resolveProto(ms, which, proto, rest)...)
	}
	return out
}

func says(m match, c cover) uint8 {
	switch {
	case !m.allow:
		return deny
	case c.anywhere:
		return permitAnywhere
	}
	return permit
}

// portRange is a range of ports with one verdict.
type portRange struct {
	lo, hi int
	says   uint8
}

func resolveProto(ms []match, which []cover, proto int, rest uint8) []verdict {
	// cut the ports where any rule begins or ends
	cuts := []int{0, 65536}
	var rules []portRange
	for _, c := range which {
		m := ms[c.rule]
		if m.proto != proto && m.proto != anyProto {
			continue
		}
		if m.proto == anyProto {
			m.lo, m.hi = 0, 65535
		}
		if m.lo > m.hi {
			continue
		}
		rules = append(rules, portRange{int(m.lo), int(m.hi), says(m, c)})
		cuts = append(cuts, int(m.lo), int(m.hi)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var ranges []portRange
	count := [permitAnywhere + 1]int{} // ports with each verdict
	for i := range len(cuts) - 1 {
		r := portRange{lo: cuts[i], hi: cuts[i+1] - 1}
		for _, m := range rules {
			if m.lo <= r.lo && r.hi <= m.hi {
				r.says = m.says
				break
			}
		}
		count[r.says] += r.hi - r.lo + 1
		if n := len(ranges); n > 0 && ranges[n-1].says == r.says {
			ranges[n-1].hi = r.hi
		} else {
			ranges = append(ranges, r)
		}
	}
	// the most frequent verdict is the protocol's, the others' ranges are
	// exceptions; what equals the class's own default needs no entry
	base := uint8(deny)
	for _, s := range []uint8{permit, permitAnywhere} {
		if count[s] > count[base] {
			base = s
		}
	}
	var out []verdict
	if base != rest {
		out = append(out, verdict{proto: proto, says: base})
	}
	for _, r := range ranges {
		if r.says != base {
			out = append(out, portPrefixes(proto, r)...)
		}
	}
	return out
}

// portPrefixes splits a range into aligned blocks of powers of two.
func portPrefixes(proto int, r portRange) []verdict {
	var out []verdict
	for lo := r.lo; lo <= r.hi; {
		size := 1
		for lo%(size*2) == 0 && lo+size*2-1 <= r.hi && size < 65536 {
			size *= 2
		}
		bits := 16
		for s := size; s > 1; s /= 2 {
			bits--
		}
		out = append(out, verdict{proto: proto, port: uint16(lo), bits: uint8(bits), says: r.says})
		lo += size
	}
	return out
}

func classID(vs []verdict) uint64 {
	content := []byte("class")
	for _, v := range vs {
		content = fmt.Appendf(content, "/%d:%d:%d:%d", v.proto, v.port, v.bits, v.says)
	}
	return contentID(content)
}
