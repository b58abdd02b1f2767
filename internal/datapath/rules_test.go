// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// decide looks a packet up in a compiled list the way the kernel does: the
// longest prefix in each of the two maps.
func decide(l *ruleList, peer netip.Addr, proto int, port uint16) uint8 {
	if l == nil {
		return permit
	}
	e := newEntries(0)
	e.addRules(l)
	addr := peer.As16()
	var class uint64
	best := -1
	for k, c := range e.rulePeers[l.id] {
		bits := int(k.Prefixlen) - 64
		if k.Set == split(l.id) && bits > best && samePrefix(asAddr16(k.Addr.W), addr, bits) {
			class, best = c, bits
		}
	}
	if best < 0 {
		return deny
	}
	verdict, longest := uint8(deny), -1
	for k, v := range e.rulePorts[class] {
		if k.Class != split(class) || int(k.Prefixlen) <= longest {
			continue
		}
		if k.Prefixlen > 64 {
			bits := int(k.Prefixlen) - 80
			shift := 16 - bits
			if int(k.Proto) != proto || fromPort(k.Port)>>shift != port>>shift {
				continue
			}
		}
		verdict, longest = v, int(k.Prefixlen)
	}
	return verdict
}

func asAddr16(w [4]uint32) (out [16]byte) {
	for i, v := range w {
		binary.NativeEndian.PutUint32(out[4*i:], v)
	}
	return out
}

func samePrefix(a, b [16]byte, bits int) bool {
	for i := range bits {
		if (a[i/8]^b[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

// The naive evaluators are AWS's sentences, word by word.

func ruleMatches(proto, from, to, packetProto int, port uint16) bool {
	if proto == vpc.AllProtocols {
		return true
	}
	if proto != packetProto {
		return false
	}
	switch proto {
	case vpc.TCP, vpc.UDP:
		return from == -1 || from <= int(port) && int(port) <= to
	case vpc.ICMP:
		typ, code := int(port>>8), int(port&0xff)
		return from == -1 || from == typ && (to == -1 || to == code)
	}
	return true
}

func naiveGroups(rules []desired.Rule, peer netip.Addr, proto int, port uint16) uint8 {
	verdict := uint8(deny)
	for _, r := range rules {
		if !ruleMatches(r.Protocol, r.From, r.To, proto, port) {
			continue
		}
		for _, p := range r.Peers {
			if p.Contains(peer) && p.Bits() == 0 {
				return permitAnywhere
			}
			if p.Contains(peer) {
				verdict = permit
			}
		}
	}
	return verdict
}

func naiveACL(rules []desired.ACLRule, peer netip.Addr, proto int, port uint16) uint8 {
	for _, r := range rules {
		if r.CIDR.Contains(peer) && ruleMatches(r.Protocol, r.From, r.To, proto, port) {
			if r.Allow {
				return permit
			}
			return deny
		}
	}
	return deny
}

var (
	genAddr = rapid.Custom(func(t *rapid.T) netip.Addr { // few, so that prefixes overlap
		if rapid.IntRange(0, 4).Draw(t, "v6") == 0 {
			return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: byte(rapid.IntRange(0, 3).Draw(t, "e"))})
		}
		return netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 2).Draw(t, "b")), byte(rapid.IntRange(0, 3).Draw(t, "c")), byte(rapid.IntRange(0, 7).Draw(t, "d"))})
	})
	genPrefix = rapid.Custom(func(t *rapid.T) netip.Prefix {
		if rapid.IntRange(0, 9).Draw(t, "family") == 0 {
			return netip.PrefixFrom(netip.MustParseAddr("::ffff:0:0").Next(), rapid.SampledFrom([]int{0, 1, 80, 96}).Draw(t, "bits6")).Masked()
		}
		a := genAddr.Draw(t, "addr")
		if a.Is6() {
			return netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 3, 32, 126, 127, 128}).Draw(t, "bits6")).Masked()
		}
		return netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 8, 15, 16, 22, 23, 24, 30, 31, 32}).Draw(t, "bits")).Masked()
	})
	genProto = rapid.SampledFrom([]int{vpc.AllProtocols, vpc.TCP, vpc.UDP, vpc.ICMP, 50})
	genPort  = rapid.OneOf(rapid.IntRange(0, 65535), rapid.SampledFrom([]int{0, 1, 22, 80, 443, 1023, 1024, 32767, 32768, 65534, 65535}))
)

func genRange(t *rapid.T, proto int) (from, to int) {
	switch proto {
	case vpc.TCP, vpc.UDP:
		from, to = genPort.Draw(t, "from"), genPort.Draw(t, "to")
		return min(from, to), max(from, to)
	case vpc.ICMP:
		from = rapid.IntRange(-1, 4).Draw(t, "type")
		if from == -1 {
			return -1, -1
		}
		return from, rapid.IntRange(-1, 3).Draw(t, "code")
	}
	return -1, -1
}

// genQuery draws packets near the rules' edges.
func genQuery(t *rapid.T, edges []int) (netip.Addr, int, uint16) {
	proto := rapid.SampledFrom([]int{vpc.TCP, vpc.UDP, vpc.ICMP, 50, 47}).Draw(t, "proto")
	port := genPort.Draw(t, "port")
	if proto == vpc.ICMP {
		port = rapid.IntRange(0, 5).Draw(t, "qtype")<<8 | rapid.IntRange(0, 4).Draw(t, "qcode")
	} else if len(edges) > 0 && rapid.Bool().Draw(t, "edge") {
		port = rapid.SampledFrom(edges).Draw(t, "near") + rapid.IntRange(-1, 1).Draw(t, "off")
	}
	if proto == 50 || proto == 47 {
		port = 0
	}
	return genAddr.Draw(t, "peer"), proto, uint16(min(max(port, 0), 65535))
}

func TestCompiledGroupsDecideLikeTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []desired.Rule
		var edges []int
		for range rapid.IntRange(0, 8).Draw(t, "rules") {
			r := desired.Rule{Protocol: genProto.Draw(t, "p"), Peers: rapid.SliceOfN(genPrefix, 1, 4).Draw(t, "peers")}
			r.From, r.To = genRange(t, r.Protocol)
			edges = append(edges, r.From, r.To)
			rules = append(rules, r)
		}
		l := groupList(rules)
		for range 40 {
			peer, proto, port := genQuery(t, edges)
			if got, want := decide(l, peer, proto, port), naiveGroups(rules, peer, proto, port); got != want {
				t.Fatalf("%v protocol %d port %d: %v, want %v by %+v", peer, proto, port, got, want, rules)
			}
		}
	})
}

func TestCompiledACLsDecideByTheFirstMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []desired.ACLRule
		var edges []int
		for range rapid.IntRange(0, 10).Draw(t, "rules") {
			r := desired.ACLRule{Allow: rapid.Bool().Draw(t, "allow"), Protocol: genProto.Draw(t, "p"), CIDR: genPrefix.Draw(t, "cidr")}
			r.From, r.To = genRange(t, r.Protocol)
			edges = append(edges, r.From, r.To)
			rules = append(rules, r)
		}
		lists := [2]*ruleList{aclList(rules, false), aclList(rules, true)}
		for range 40 {
			peer, proto, port := genQuery(t, edges)
			l := lists[0]
			if peer.Is6() {
				l = lists[1]
			}
			if got, want := decide(l, peer, proto, port), naiveACL(rules, peer, proto, port); got != want {
				t.Fatalf("%v protocol %d port %d: %v, want %v by %+v", peer, proto, port, got, want, rules)
			}
		}
	})
}

func TestListsAreKnownByTheirMeaning(t *testing.T) {
	a, b := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	one := groupList([]desired.Rule{allow(vpc.TCP, 80, 80, a, b)})
	two := groupList([]desired.Rule{allow(vpc.TCP, 80, 80, b), allow(vpc.TCP, 80, 80, a)})
	if one.id != two.id {
		t.Error("the order of allowing rules makes another list")
	}
	if len(one.classes) != 1 {
		t.Errorf("two peers with the same rules have %d classes", len(one.classes))
	}
	if groupList([]desired.Rule{allow(vpc.TCP, 80, 81, a, b)}).id == one.id {
		t.Error("another port range is the same list")
	}
	if none := groupList(nil); none.id == 0 || none.id == one.id {
		t.Errorf("a list that allows nothing has number %d", none.id)
	}
	allowAll := []desired.ACLRule{{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}}
	if aclList(allowAll, false) != nil {
		t.Error("an ACL that allows all is looked up")
	}
	if aclList(allowAll, true) == nil {
		t.Error("an ACL that says nothing of IPv6 allows it")
	}
	if aclList(append([]desired.ACLRule{{Protocol: vpc.TCP, CIDR: anywhere, From: 22, To: 22}}, allowAll...), false) == nil {
		t.Error("an ACL that denies something is not looked up")
	}
}

func TestManyRulesMakeFewEntries(t *testing.T) {
	var peers []netip.Prefix
	for i := range 2000 {
		peers = append(peers, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
	}
	var rules []desired.Rule
	for port := range 50 {
		rules = append(rules, allow(vpc.TCP, port*10, port*10+5, peers...))
	}
	l := groupList(rules)
	if len(l.peers) != 2000 || len(l.classes) != 1 {
		t.Errorf("%d peers in %d classes, want 2000 in 1", len(l.peers), len(l.classes))
	}
}
