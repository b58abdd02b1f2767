// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// neighbour answers ARP and neighbour solicitation, for the router, the
// resolver and the interfaces of the same subnet. Nothing is flooded.
func (j *journey) neighbour() Outcome {
	if j.p.isARP() {
		return j.arp(func(sender, target netip.Addr) (MAC, bool) { return j.whose(target) },
			func(sender netip.Addr) bool {
				return !j.self.eni.SourceDestCheck || slices.Contains(addrsOf(j.self.eni), sender)
			})
	}
	return j.solicitation()
}

// whose is the Ethernet address that an address of the sender's subnet has.
func (j *journey) whose(a netip.Addr) (MAC, bool) {
	sub := j.m.net.subnetOf(j.self)
	s := j.m.net.find(j.self.vpc, a)
	if sub == nil || s == nil || s.id == j.self.id {
		return MAC{}, false
	}
	switch s.kind {
	case atRouter:
		return j.m.facts.Router(sub.ID), s.subnet.ID == sub.ID
	case atResolver:
		return j.m.facts.Router(sub.ID), true
	}
	if s.subnet == nil || s.subnet.ID != sub.ID {
		return MAC{}, false
	}
	if mac, ok := j.m.facts.Devices[s.id]; ok {
		return mac, true
	}
	return parseMAC(s.eni.MAC), true
}

func parseMAC(s string) (m MAC) {
	for i := range m {
		for _, c := range []byte(s[3*i : 3*i+2]) {
			n := c - '0'
			if c >= 'a' {
				n = c - 'a' + 10
			}
			m[i] = m[i]<<4 | n
		}
	}
	return m
}

// arp answers a question in ARP.
func (j *journey) arp(answer func(sender, target netip.Addr) (MAC, bool), may func(sender netip.Addr) bool) Outcome {
	f := j.p.frame
	if len(f) < 42 {
		return j.drop("too-short")
	}
	b := f[14:42]
	if string(b[:8]) != "\x00\x01\x08\x00\x06\x04\x00\x01" {
		return j.drop("arp")
	}
	var sender, target = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	if MAC(b[8:14]) != j.p.etherSrc {
		return j.drop("source-mac")
	}
	// 0.0.0.0 asks whether an address is taken, and claims none (RFC 5227, 2.1.1)
	if !sender.IsUnspecified() && !may(sender) {
		return j.drop("source-address", "arp")
	}
	mac, ok := answer(sender, target)
	if !ok {
		return j.drop("arp")
	}
	out := slices.Clone(f)
	copy(out, j.p.etherSrc[:])
	copy(out[6:], mac[:])
	a := out[14:]
	a[7] = 2
	copy(a[8:], mac[:])
	copy(a[14:], b[24:28])
	copy(a[18:], b[8:18])
	return Outcome{Action: Answer, To: j.from, Frame: out, Steps: j.steps}
}

// linkLocalRouter is the router of every subnet's IPv6 block.
var linkLocalRouter = netip.MustParseAddr("fe80::1")

// solicitation answers a neighbour solicitation (RFC 4861, 7.2.4).
func (j *journey) solicitation() Outcome {
	p := j.p
	b := p.frame[p.l4:p.end]
	if len(b) < 24 || b[0] != 135 || b[1] != 0 || p.l4 != 54 || p.frame[21] != 255 {
		return j.drop("nd")
	}
	target := netip.AddrFrom16([16]byte(b[8:24]))
	if !p.src.IsLinkLocalUnicast() && !slices.Contains(addrsOf(j.self.eni), p.src) {
		return j.drop("source-address", "nd")
	}
	var mac MAC
	ok := false
	if sub := j.m.net.subnetOf(j.self); target == linkLocalRouter && sub != nil {
		mac, ok = j.m.facts.Router(sub.ID), true
	} else {
		mac, ok = j.whose(target)
	}
	if !ok {
		return j.drop("nd")
	}
	na := make([]byte, 32)
	na[0] = 136
	na[4] = 0x60 // solicited, override
	if s := j.m.net.find(j.self.vpc, target); target == linkLocalRouter || s != nil && s.kind == atRouter {
		na[4] |= 0x80
	}
	copy(na[8:], target.AsSlice())
	na[24], na[25] = 2, 1 // the target's link-layer address
	copy(na[26:], mac[:])
	pseudo := slices.Concat(target.AsSlice(), p.src.AsSlice(), []byte{0, 0, 0, byte(len(na)), 0, 0, 0, vpc.ICMPv6})
	binary.BigEndian.PutUint16(na[2:], ^uint16(sum(sum(0, pseudo), na)))
	var f []byte
	f = append(f, p.etherSrc[:]...)
	f = append(f, mac[:]...)
	f = binary.BigEndian.AppendUint16(f, etherIPv6)
	f = append(f, 0x60, 0, 0, 0, 0, byte(len(na)), vpc.ICMPv6, 255)
	f = append(f, target.AsSlice()...)
	f = append(f, p.src.AsSlice()...)
	return Outcome{Action: Answer, To: j.from, Frame: append(f, na...), Steps: j.steps}
}
