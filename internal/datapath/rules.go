// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

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
	allow bool
}

// ruleList is a compiled list.
type ruleList struct {
	id      uint64
	peers   map[netip.Prefix]uint64 // to class
	classes map[uint64][]verdict
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
	return compile(ms)
}

// aclList compiles one direction of a network ACL. It is nil for a list that
// allows every packet.
func aclList(rules []desired.ACLRule) *ruleList {
	ms := make([]match, 0, len(rules))
	for _, r := range rules {
		if !r.CIDR.Addr().Is4() && len(ms) == 0 {
			continue // says nothing about IPv4, the only packets there are
		}
		m := match{allow: r.Allow, proto: r.Protocol, peers: []netip.Prefix{r.CIDR}}
		m.lo, m.hi = ruleRange(r.Protocol, r.From, r.To)
		if len(ms) == 0 && r.Allow && r.Protocol == anyProto && r.CIDR.Addr().Is4() && r.CIDR.Bits() == 0 {
			return nil
		}
		ms = append(ms, m)
	}
	return compile(ms)
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

func compile(ms []match) *ruleList {
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
		var covering []int
		for bits := 0; bits <= p.Bits(); bits++ {
			covering = append(covering, byPrefix[netip.PrefixFrom(p.Addr(), bits).Masked()]...)
		}
		slices.Sort(covering)
		covering = slices.Compact(covering)
		var key []byte
		for _, i := range covering {
			key = binary.AppendUvarint(key, uint64(i))
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
	return out
}

// resolve gives the verdicts of a class: the rules with these indexes, in
// order, first match decides, no match denies.
func resolve(ms []match, which []int) []verdict {
	var out []verdict
	var protos []int
	rest := false // what the all-protocols rules say
	decided := false
	for _, i := range which {
		if m := ms[i]; m.proto == anyProto {
			if !decided {
				rest, decided = m.allow, true
			}
		} else if !slices.Contains(protos, m.proto) {
			protos = append(protos, m.proto)
		}
	}
	if rest {
		out = append(out, verdict{proto: anyProto, allow: true})
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

// portRange is a range of ports with one verdict.
type portRange struct {
	lo, hi int
	allow  bool
}

func resolveProto(ms []match, which []int, proto int, rest bool) []verdict {
	// cut the ports where any rule begins or ends
	cuts := []int{0, 65536}
	var rules []match
	for _, i := range which {
		m := ms[i]
		if m.proto != proto && m.proto != anyProto {
			continue
		}
		if m.proto == anyProto {
			m.lo, m.hi = 0, 65535
		}
		if m.lo > m.hi {
			continue
		}
		rules = append(rules, m)
		cuts = append(cuts, int(m.lo), int(m.hi)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var ranges []portRange
	allowed := 0
	for i := range len(cuts) - 1 {
		r := portRange{lo: cuts[i], hi: cuts[i+1] - 1}
		for _, m := range rules {
			if int(m.lo) <= r.lo && r.hi <= int(m.hi) {
				r.allow = m.allow
				break
			}
		}
		if r.allow {
			allowed += r.hi - r.lo + 1
		}
		if n := len(ranges); n > 0 && ranges[n-1].allow == r.allow {
			ranges[n-1].hi = r.hi
		} else {
			ranges = append(ranges, r)
		}
	}
	// the more frequent verdict is the protocol's, the other one's ranges are
	// exceptions; what equals the class's own default needs no entry
	base := allowed > 32768
	var out []verdict
	if base != rest {
		out = append(out, verdict{proto: proto, allow: base})
	}
	for _, r := range ranges {
		if r.allow != base {
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
		out = append(out, verdict{proto: proto, port: uint16(lo), bits: uint8(bits), allow: r.allow})
		lo += size
	}
	return out
}

func classID(vs []verdict) uint64 {
	content := []byte("class")
	for _, v := range vs {
		content = fmt.Appendf(content, "/%d:%d:%d:%t", v.proto, v.port, v.bits, v.allow)
	}
	return contentID(content)
}
