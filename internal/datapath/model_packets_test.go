// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Slots that no workload has.
const (
	slotService = -1
	slotUplink  = -2
)

// template says how to make a frame. What it answers is named by the step it
// came with, so that a run can be repeated without some of its steps.
type template struct {
	from int // slot of the port
	// frame is the whole frame, unless one of the following is set.
	frame []byte
	gso   int
	// reply, about and again are one more than the step whose packet is
	// answered, complained about, or sent again.
	reply, about, again int
	flags               byte // of a TCP reply, or of one sent again
	typ, code           byte // of an ICMP error
	strange             bool // the error is from an address of the sender's own, about others
	payload             int
	patches             []patch
}

// patch is a byte that is overwritten at last.
type patch struct {
	at int
	v  byte
}

// l3 describes a packet to make.
type l3 struct {
	src, dst     netip.Addr
	proto        int
	sport, dport uint16
	flags        byte
	options      []byte // of TCP
	typ, code    byte
	id           uint16
	payload      []byte
	noChecksum   bool // of UDP
	// fragments: the part of the L4 bytes from offset on, to end.
	fragID          uint32
	offset, end     int
	more, extension bool
}

const (
	fin, syn, rst, psh, ack = 1, 2, 4, 8, 16
)

// l4bytes are the headers and payload above IP with a right checksum.
func (p l3) l4bytes() []byte {
	var b []byte
	at := -1
	switch {
	case p.proto == vpc.TCP:
		b = binary.BigEndian.AppendUint16(b, p.sport)
		b = binary.BigEndian.AppendUint16(b, p.dport)
		b = binary.BigEndian.AppendUint32(b, 1000)
		b = binary.BigEndian.AppendUint32(b, 2000)
		b = append(b, byte(5+len(p.options)/4)<<4, p.flags, 3, 0xe8, 0, 0, 0, 0)
		b = append(b, p.options...)
		at = 16
	case p.proto == vpc.UDP:
		b = binary.BigEndian.AppendUint16(b, p.sport)
		b = binary.BigEndian.AppendUint16(b, p.dport)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.payload)))
		b = append(b, 0, 0)
		at = 6
	case p.proto == vpc.ICMP || p.proto == vpc.ICMPv6:
		b = append(b, p.typ, p.code, 0, 0)
		b = binary.BigEndian.AppendUint16(b, p.id)
		b = append(b, 0, 1)
		at = 2
	}
	b = append(b, p.payload...)
	if at >= 0 && !p.noChecksum {
		var pseudo []byte
		if p.proto != vpc.ICMP {
			pseudo = slices.Concat(p.src.AsSlice(), p.dst.AsSlice(), []byte{0, byte(p.proto), byte(len(b) >> 8), byte(len(b))})
		}
		sum := ^uint16(onesSum(onesSum(0, pseudo), b))
		if sum == 0 && p.proto == vpc.UDP {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(b[at:], sum)
	}
	return b
}

// bytes is the packet from its IP header on.
func (p l3) bytes() []byte {
	b := p.l4bytes()
	if p.end > 0 {
		b = b[min(p.offset, len(b)):min(p.end, len(b))]
	}
	if p.src.Is4() {
		ip := []byte{0x45, 0x10, 0, 0, 0, 77, 0x40, 0, 64, byte(p.proto), 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(b)))
		if p.end > 0 {
			binary.BigEndian.PutUint16(ip[4:], uint16(p.fragID))
			word := uint16(p.offset / 8)
			if p.more {
				word |= 0x2000
			}
			binary.BigEndian.PutUint16(ip[6:], word)
		}
		ip = slices.Concat(ip, p.src.AsSlice(), p.dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^uint16(onesSum(0, ip)))
		return append(ip, b...)
	}
	next := byte(p.proto)
	if p.end > 0 {
		word := uint16(p.offset)
		if p.more {
			word |= 1
		}
		h := []byte{next, 0, byte(word >> 8), byte(word), 0, 0, 0, 0}
		binary.BigEndian.PutUint32(h[4:], p.fragID)
		b, next = append(h, b...), 44
	}
	if p.extension {
		b, next = append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, b...), 60
	}
	ip := []byte{0x61, 0x20, 0x12, 0x34, byte(len(b) >> 8), byte(len(b)), next, 63}
	return slices.Concat(ip, p.src.AsSlice(), p.dst.AsSlice(), b)
}

// ether puts an Ethernet header before a packet.
func ether(src []byte, ip []byte) []byte {
	f := append([]byte{2, 9, 9, 9, 9, 9}, src...)
	if ip[0]>>4 == 4 {
		f = append(f, 8, 0)
	} else {
		f = append(f, 0x86, 0xdd)
	}
	return append(f, ip...)
}

// read is a plain reading of what the programs let through: of frames without
// anything odd.
func read(frame []byte) (p l3, ok bool) {
	if len(frame) < 34 {
		return p, false
	}
	b := frame[14:]
	var l4 []byte
	switch frame[12] {
	case 8:
		if frame[13] != 0 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return p, false
		}
		p.src, p.dst, p.proto = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), int(b[9])
		l4 = b[20:min(len(b), int(binary.BigEndian.Uint16(b[2:])))]
	case 0x86:
		if len(b) < 40 {
			return p, false
		}
		p.src, p.dst, p.proto = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), int(b[6])
		l4 = b[40:min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))]
		if p.proto == 60 && len(l4) >= 8 {
			p.proto, l4 = int(l4[0]), l4[8:]
		}
		if p.proto == 44 {
			return p, false
		}
	default:
		return p, false
	}
	switch p.proto {
	case vpc.TCP:
		if len(l4) < 20 {
			return p, false
		}
		p.flags = l4[13]
		fallthrough
	case vpc.UDP:
		if len(l4) < 8 {
			return p, false
		}
		p.sport, p.dport = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case vpc.ICMP, vpc.ICMPv6:
		if len(l4) < 8 {
			return p, false
		}
		p.typ, p.code, p.id = l4[0], l4[1], binary.BigEndian.Uint16(l4[4:])
	}
	return p, true
}

// make is the frame of a template in a run.
func (x *modelRun) make(t *template) (frame []byte, ok bool) {
	mac := x.macOf(t.from)
	switch {
	case t.reply > 0:
		d, seen := x.delivered[t.reply-1]
		if !seen {
			return nil, false
		}
		p, ok := read(d.frame)
		if !ok {
			return nil, false
		}
		p.src, p.dst, p.sport, p.dport, p.flags = p.dst, p.src, p.dport, p.sport, t.flags
		switch p.typ {
		case 8:
			p.typ = 0
		case 128:
			p.typ = 129
		}
		p.payload = make([]byte, t.payload)
		frame = ether(mac, p.bytes())
	case t.about > 0:
		d, seen := x.delivered[t.about-1]
		if !seen || len(d.frame) < 34 {
			return nil, false
		}
		p, ok := read(d.frame)
		if !ok {
			return nil, false
		}
		inner := d.frame[14:min(len(d.frame), 14+60+t.payload)]
		if n, ok := vpc.Get[vpc.NetworkInterface](x.in.view, x.port(t.from)); ok && t.strange {
			if p.dst = n.Addr; p.src.Is6() {
				if len(n.IPv6) == 0 {
					return nil, false
				}
				p.dst = n.IPv6[0]
			}
		}
		e := l3{src: p.dst, dst: p.src, proto: vpc.ICMP, typ: t.typ, code: t.code, payload: inner}
		if p.src.Is6() {
			e.proto = vpc.ICMPv6
		}
		frame = ether(mac, e.bytes())
	case t.again > 0:
		s, seen := x.sent[t.again-1]
		if !seen {
			return nil, false
		}
		frame = slices.Clone(s)
		if p, ok := read(frame); ok && p.proto == vpc.TCP && t.flags != 0 {
			p.flags, p.payload = t.flags, make([]byte, t.payload)
			frame = ether(mac, p.bytes())
		}
		if t.from != x.sender[t.again-1] {
			copy(frame[6:12], mac)
		}
	default:
		frame = slices.Clone(t.frame)
	}
	for _, p := range t.patches {
		if p.at < len(frame) {
			frame[p.at] = p.v
		}
	}
	return frame, true
}

// options are TCP options of a SYN.
var synOptions = [][]byte{
	nil, nil,
	{2, 4, 0x23, 0x28}, // MSS 9000
	{2, 4, 0x05, 0x50},
	{1, 2, 4, 0x23, 0x28, 1, 1, 0},
	{3, 3, 7, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 4, 0xff, 0xff},
	{2, 3, 0x23, 0x28}, // lies
	{4, 0, 2, 4},
}

// nextTemplate is a random packet in the run's present state.
func (x *modelRun) nextTemplate(r *rand.Rand) *template {
	if len(x.recent) > 0 && chance(r, 45) {
		return x.answering(r)
	}
	t := &template{from: r.IntN(len(x.in.workloads))}
	switch {
	case chance(r, 6):
		return x.fromService(r)
	case x.in.feat.Uplink && chance(r, 12):
		return x.fromOutside(r)
	case chance(r, 3):
		t.frame = x.question(r, t.from)
		return t
	}
	n, _ := vpc.Get[vpc.NetworkInterface](x.in.view, x.in.workloads[t.from])
	p := l3{src: n.Addr}
	p.dst = x.someDestination(r, n, false)
	if len(n.IPv6) > 0 && chance(r, 40) {
		p.src, p.dst = n.IPv6[0], x.someDestination(r, n, true)
	} else if len(n.Secondary) > 0 && chance(r, 30) {
		p.src = n.Secondary[0]
	}
	if chance(r, 3) { // somebody else's
		o, _ := vpc.Get[vpc.NetworkInterface](x.in.view, pick(r, x.in.workloads))
		if p.src.Is4() {
			p.src = pick(r, append([]netip.Addr{o.Addr}, elsewhere...))
		} else if len(o.IPv6) > 0 {
			p.src = o.IPv6[0]
		}
	}
	x.above(r, &p)
	t.frame = ether(x.macOf(t.from), p.bytes())
	if p.proto == vpc.TCP && chance(r, 3) {
		t.gso = pick(r, []int{500, 1400, 8460, 8461, 9000})
	}
	x.spoil(r, t)
	return t
}

// above fills in what is above IP.
func (x *modelRun) above(r *rand.Rand, p *l3) {
	p.sport, p.dport = uint16(pick(r, []int{1025, 1026, 1027, 40000, 40001, 80, 8080})), uint16(pick(r, modelPorts))
	p.payload = make([]byte, pick(r, []int{0, 1, 7, 64, 100}))
	for i := range p.payload {
		p.payload[i] = byte(r.Uint32())
	}
	if chance(r, 2) { // around the MSS of some installations; the kernel tries nothing above 3.5 KiB
		p.payload = make([]byte, pick(r, []int{1380, 1400, 1401, 1412, 1413, 2900}))
	}
	icmp := vpc.ICMP
	if p.src.Is6() {
		icmp = vpc.ICMPv6
		p.extension = chance(r, 5)
	}
	switch k := r.IntN(20); {
	case k < 11:
		p.proto, p.flags = vpc.TCP, syn
		if chance(r, 15) {
			p.flags = pick(r, []byte{ack, syn | ack, fin | ack, rst, rst | ack, psh | ack})
		}
		if p.flags&syn != 0 {
			p.options = pick(r, synOptions)
			p.payload = p.payload[:0]
		}
	case k < 15:
		p.proto = vpc.UDP
		p.noChecksum = p.src.Is4() && chance(r, 15)
	case k < 18:
		p.proto, p.id = icmp, uint16(1+r.IntN(3))
		p.typ = 8
		if p.src.Is6() {
			p.typ = 128
		}
		if chance(r, 25) {
			p.typ, p.code = pick(r, []byte{0, 3, 11, 13, 14, 5, 129, 1, 2}), byte(r.IntN(3))
		}
	case k < 19:
		p.proto = 47
	default:
		p.proto = pick(r, []int{50, 132, 4, 59, 255})
		if p.src.Is4() && chance(r, 30) {
			p.proto = vpc.ICMPv6
		}
	}
	if p.proto == icmp && x.in.feat.Fragments == false && len(p.payload) > 64 {
		p.payload = p.payload[:64]
	}
	if x.in.feat.Fragments && chance(r, 8) {
		x.fragment(r, p)
	}
}

// fragment makes it one fragment of a packet.
func (x *modelRun) fragment(r *rand.Rand, p *l3) {
	p.payload = make([]byte, 96)
	p.fragID, p.end = uint32(1+r.IntN(4)), 64
	p.more = true
	switch r.IntN(8) {
	case 0, 1, 2:
		p.offset, p.end, p.more = 64, 4096, chance(r, 30)
	case 3:
		p.offset, p.end = 8, 64
	case 4:
		p.end = 8
	}
}

// spoil makes a few frames wrong.
func (x *modelRun) spoil(r *rand.Rand, t *template) {
	if !chance(r, 4) {
		return
	}
	at := pick(r, []int{0, 6, 12, 14, 16, 17, 19, 23, 24, 46, 47, 48, 20, 21})
	if !x.in.feat.Fragments && (at == 20 || at == 21) {
		at = 6
	}
	t.patches = append(t.patches, patch{at, byte(r.Uint32())})
	if !x.in.feat.IPv6 && at == 12 {
		t.patches[0].v = 0x81
	}
}

// someDestination is an address that an interface may send to.
func (x *modelRun) someDestination(r *rand.Rand, n *vpc.NetworkInterface, six bool) netip.Addr {
	v, _ := vpc.Get[vpc.VPC](x.in.view, n.VPC)
	var in []netip.Addr
	for _, o := range x.interfaces {
		if o.VPC != n.VPC && !chance(r, 15) || o.ID == n.ID {
			continue
		}
		if six {
			in = append(in, o.IPv6...)
			continue
		}
		in = append(append(in, o.Addr), o.Secondary...)
		if o.Type != vpc.TypeInterface {
			in = append(in, o.Addr, o.Addr)
		}
	}
	switch k := r.IntN(20); {
	case k < 14 && len(in) > 0:
		return pick(r, in)
	case six && k < 15:
		return desired.Resolver6
	case six && k < 17:
		return servicePrefix6.Addr().Next()
	case six && k < 18:
		return v.IPv6[0].CIDR.Addr().Next()
	case six:
		return pick(r, elsewhere6)
	case k < 15:
		return v.ResolverAddr()
	case k < 16:
		return desired.LinkLocalResolver
	case k < 18:
		return bucket
	case k < 19:
		a := v.CIDRs[0].CIDR.Addr().As4()
		a[2], a[3] = byte(r.IntN(4)), byte(r.IntN(60))
		return netip.AddrFrom4(a)
	}
	return pick(r, elsewhere)
}

// answering is a packet about an earlier one: the reply of who got it, the same
// again from who sent it, or an error.
func (x *modelRun) answering(r *rand.Rand) *template {
	k := x.recent[len(x.recent)-1-r.IntN(min(len(x.recent), 60))]
	flags := pick(r, []byte{syn | ack, syn | ack, ack, ack, psh | ack, fin | ack, rst, rst | ack})
	size := pick(r, []int{0, 0, 5, 100})
	if flags&syn != 0 {
		size = 0
	}
	d, was := x.delivered[k]
	switch {
	case was && chance(r, 55):
		return &template{from: d.to, reply: k + 1, flags: flags, payload: size}
	case was && x.in.feat.ICMPErrors && chance(r, 25):
		t := &template{from: d.to, about: k + 1, typ: pick(r, []byte{3, 3, 11, 12}), code: byte(r.IntN(4)), payload: r.IntN(40)}
		if len(d.frame) > 12 && d.frame[12] == 0x86 {
			t.typ = pick(r, []byte{1, 1, 2, 3, 4})
		}
		if chance(r, 25) {
			t.from, t.strange = r.IntN(len(x.in.workloads)), true
		}
		return t
	}
	t := &template{from: x.sender[k], again: k + 1, payload: size}
	if chance(r, 12) {
		t.from = x.forwarder(r, t.from)
	}
	if chance(r, 70) {
		t.flags = pick(r, []byte{syn, syn, ack, ack, psh | ack, fin | ack, rst})
	}
	if t.flags&syn != 0 {
		t.payload = 0
	}
	return t
}

// forwarder is an interface without source check, which may send what another has
// sent; of a port that is no workload, or where none is, the port itself.
func (x *modelRun) forwarder(r *rand.Rand, slot int) int {
	if slot < 0 || slot >= len(x.in.workloads) {
		return slot
	}
	own, _ := vpc.Get[vpc.NetworkInterface](x.in.view, x.in.workloads[slot])
	var can []int
	for i, id := range x.in.workloads {
		if n, ok := vpc.Get[vpc.NetworkInterface](x.in.view, id); ok && n.VPC == own.VPC && !n.SourceDestCheck {
			can = append(can, i)
		}
	}
	if len(can) == 0 {
		return slot
	}
	return pick(r, can)
}

// fromService is a packet that the service namespace begins.
func (x *modelRun) fromService(r *rand.Rand) *template {
	t := &template{from: slotService}
	p := l3{src: desired.EdgeAddr, dst: netip.MustParseAddr("100.80.0.99")}
	if len(x.probes) > 0 && chance(r, 85) {
		p.dst = pick(r, x.probes)
	}
	if p.dst.Is6() {
		p.src = desired.EdgeAddr6
	}
	if p.src.Is4() && chance(r, 5) {
		p.src = netip.MustParseAddr("100.64.0.9")
	}
	if p.src.Is4() && chance(r, 5) {
		p.dst = netip.MustParseAddr("100.65.1.2")
	}
	p.proto, p.flags, p.sport, p.dport = vpc.TCP, syn, uint16(5000+r.IntN(4)), uint16(pick(r, []int{8080, 8081, 8443, 80}))
	if chance(r, 15) {
		p.flags = ack
	}
	if chance(r, 5) {
		p.proto = vpc.UDP
	}
	t.frame = ether(x.macOf(slotService), p.bytes())
	if p.src.Is4() && chance(r, 10) {
		t.frame = x.arp(slotService, p.src, pick(r, []netip.Addr{p.dst, netip.MustParseAddr("100.65.3.4")}))
	}
	return t
}

// fromOutside is a packet of the host's network.
func (x *modelRun) fromOutside(r *rand.Rand) *template {
	t := &template{from: slotUplink}
	var publics, all6 []netip.Addr
	for o := range vpc.All[vpc.ElasticIP](x.in.view) {
		publics = append(publics, o.Addr)
	}
	for _, n := range x.interfaces {
		all6 = append(all6, n.IPv6...)
	}
	p := l3{src: pick(r, elsewhere), dst: pick(r, append(publics, netip.MustParseAddr("198.51.100.254")))}
	if len(all6) > 0 && chance(r, 40) {
		p.src, p.dst = pick(r, elsewhere6), pick(r, all6)
	}
	x.above(r, &p)
	t.frame = ether(x.macOf(slotUplink), p.bytes())
	x.spoil(r, t)
	return t
}

// question asks for a neighbour.
func (x *modelRun) question(r *rand.Rand, slot int) []byte {
	n, _ := vpc.Get[vpc.NetworkInterface](x.in.view, x.in.workloads[slot])
	sub, _ := vpc.Get[vpc.Subnet](x.in.view, n.Subnet)
	if len(n.IPv6) > 0 && chance(r, 40) {
		targets := []netip.Addr{desired.LinkLocalRouter, sub.IPv6.CIDR.Addr().Next(), n.IPv6[0], desired.Resolver6}
		for _, o := range x.interfaces {
			targets = append(targets, o.IPv6...)
		}
		return x.solicitation(r, slot, pick(r, []netip.Addr{n.IPv6[0], netip.MustParseAddr("fe80::5"), netip.IPv6Unspecified()}), pick(r, targets))
	}
	targets := []netip.Addr{sub.RouterAddr(), sub.RouterAddr().Next(), n.Addr, netip.MustParseAddr("10.0.0.200")}
	for _, o := range x.interfaces {
		if o.VPC == n.VPC {
			targets = append(targets, o.Addr)
		}
	}
	sender := n.Addr
	if chance(r, 10) {
		sender = pick(r, targets)
	}
	return x.arp(slot, sender, pick(r, targets))
}

func (x *modelRun) arp(slot int, sender, target netip.Addr) []byte {
	mac := x.macOf(slot)
	f := slices.Concat([]byte{255, 255, 255, 255, 255, 255}, mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac, sender.AsSlice(), make([]byte, 6), target.AsSlice())
	return f
}

func (x *modelRun) solicitation(r *rand.Rand, slot int, src, target netip.Addr) []byte {
	mac := x.macOf(slot)
	a := target.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
	p := l3{src: src, dst: group, proto: vpc.ICMPv6, typ: 135, payload: slices.Concat(a[:], []byte{1, 1}, mac)}
	ip := p.bytes()
	// the 8 bytes of an echo's header are not those of a solicitation
	b := slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, p.payload)
	pseudo := slices.Concat(src.AsSlice(), group.AsSlice(), []byte{0, 58, 0, byte(len(b))})
	binary.BigEndian.PutUint16(b[2:], ^uint16(onesSum(onesSum(0, pseudo), b)))
	ip = append(ip[:40], b...)
	binary.BigEndian.PutUint16(ip[4:], uint16(len(b)))
	ip[7] = 255
	f := ether(mac, ip)
	copy(f, []byte{0x33, 0x33, 0xff, a[13], a[14], a[15]})
	if chance(r, 20) {
		copy(f, []byte{2, 9, 9, 9, 9, 9})
	}
	return f
}

func (t *template) String() string {
	switch {
	case t.reply > 0:
		return fmt.Sprintf("the answer to step %d", t.reply-1)
	case t.about > 0:
		return fmt.Sprintf("an error about step %d", t.about-1)
	case t.again > 0:
		return fmt.Sprintf("step %d again", t.again-1)
	}
	return "a packet"
}
