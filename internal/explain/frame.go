// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// sum adds 16-bit words in one's complement.
func sum(start uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		start += uint32(b[len(b)-1]) << 8
	}
	for start > 0xffff {
		start = start&0xffff + start>>16
	}
	return start
}

// amend gives a checksum after some bytes it covers have changed (RFC 1624).
func amend(check uint16, before, after []byte) uint16 {
	n := uint32(^check) + 0xffff - sum(0, before)
	n = sum(0, binary.BigEndian.AppendUint32(nil, n)) + sum(0, after)
	return ^uint16(sum(0, binary.BigEndian.AppendUint32(nil, n)))
}

// checksumAt is where a protocol's checksum is in its header, -1 for none.
func checksumAt(proto int) int {
	switch proto {
	case vpc.TCP:
		return 16
	case vpc.UDP:
		return 6
	case vpc.ICMP, vpc.ICMPv6:
		return 2
	}
	return -1
}

// change writes bytes at a place of a header that proto's checksum covers.
// UDP's checksum 0 is none, and none is not amended.
func change(l4 []byte, proto, at int, value []byte) {
	before := slices.Clone(l4[at : at+len(value)])
	copy(l4[at:], value)
	mend(l4, proto, before, value)
}

func mend(l4 []byte, proto int, before, after []byte) {
	at := checksumAt(proto)
	if at < 0 || at+2 > len(l4) {
		return
	}
	old := binary.BigEndian.Uint16(l4[at:])
	if proto == vpc.UDP && old == 0 {
		return
	}
	n := amend(old, before, after)
	if proto == vpc.UDP && n == 0 {
		n = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], n)
}

// rewrite gives the packet's frame with other ends. Everything else stays: the
// TTL too, since a VPC's router does not show as a hop.
func (p *packet) rewrite(src, dst netip.AddrPort) []byte {
	if p.is6() && src.Addr().Is4() {
		return p.rewrite6to4(src, dst)
	}
	f := slices.Clone(p.frame)
	at, size := 26, 4
	if p.is6() {
		at, size = 22, 16
	}
	before := slices.Clone(f[at : at+2*size])
	after := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	copy(f[at:], after)
	if !p.is6() {
		binary.BigEndian.PutUint16(f[24:], amend(binary.BigEndian.Uint16(f[24:]), before, after))
	}
	if p.later {
		return f
	}
	l4 := f[p.l4:p.end]
	if p.isEcho() || p.isEchoReply() { // of a NAT gateway: the id stands for a port
		id := src.Port()
		if p.isEchoReply() {
			id = dst.Port()
		}
		change(l4, p.proto, 4, binary.BigEndian.AppendUint16(nil, id))
	}
	if p.proto == vpc.ICMPv6 && p.is6() {
		mend(l4, p.proto, before, after)
	}
	if p.proto == vpc.TCP || p.proto == vpc.UDP {
		mend(l4, p.proto, before, after)
		ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src.Port()), dst.Port())
		change(l4, p.proto, 0, ports)
	}
	return f
}

// readdress gives the packet's frame with other addresses and nothing else changed.
func (p *packet) readdress(src, dst netip.Addr) []byte {
	sport, dport := p.sport, p.dport
	if p.isEcho() || p.isEchoReply() {
		sport, dport = p.id, p.id
	}
	return p.rewrite(netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport))
}

// clamp lowers the MSS that a SYN offers.
func clamp(f []byte, mss int) []byte {
	p := parse(f, 0)
	if !p.isTCP() || p.later || p.flags&flagSYN == 0 {
		return f
	}
	l4 := f[p.l4:p.end]
	for at, end := 20, int(l4[12]>>4)*4; at < end; {
		switch kind := l4[at]; {
		case kind == 0:
			return f
		case kind == 1:
			at++
		case at+2 > end || l4[at+1] < 2 || at+int(l4[at+1]) > end:
			return f // options that lie are left alone
		case kind == 2 && l4[at+1] == 4:
			if int(binary.BigEndian.Uint16(l4[at+2:])) > mss {
				changeOdd(l4, at+2, binary.BigEndian.AppendUint16(nil, uint16(mss)))
			}
			return f
		default:
			at += int(l4[at+1])
		}
	}
	return f
}

// changeOdd is change for TCP at a place that may be odd: the words that are
// covered are changed as a whole.
func changeOdd(l4 []byte, at int, value []byte) {
	lo, hi := at&^1, (at+len(value)+1)&^1
	word := slices.Clone(l4[lo:hi])
	copy(word[at-lo:], value)
	change(l4, vpc.TCP, lo, word)
}

// rewrite6to4 gives an IPv6 packet as an IPv4 one with other ends.
func (p *packet) rewrite6to4(src, dst netip.AddrPort) []byte {
	body := p.frame[p.l4:p.end]
	f := slices.Clone(p.frame[:14])
	binary.BigEndian.PutUint16(f[12:], etherIPv4)
	ip := make([]byte, 20)
	ip[0] = 0x45
	ip[1] = p.frame[14]<<4 | p.frame[15]>>4
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(body)))
	binary.BigEndian.PutUint16(ip[6:], 0x4000)
	ip[8], ip[9] = p.frame[21], byte(p.proto)
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum(0, ip)))
	return p.finishOther(append(f, ip...), src, dst)
}

// rewrite4to6 gives an IPv4 packet as an IPv6 one with other ends.
func (p *packet) rewrite4to6(src, dst netip.AddrPort) []byte {
	f := slices.Clone(p.frame[:14])
	binary.BigEndian.PutUint16(f[12:], etherIPv6)
	ip := make([]byte, 40)
	ip[0], ip[1] = 0x60|p.frame[15]>>4, p.frame[15]<<4
	binary.BigEndian.PutUint16(ip[4:], uint16(p.end-p.l4))
	ip[6], ip[7] = byte(p.proto), p.frame[22]
	copy(ip[8:], src.Addr().AsSlice())
	copy(ip[24:], dst.Addr().AsSlice())
	return p.finishOther(append(f, ip...), src, dst)
}

func (p *packet) finishOther(f []byte, src, dst netip.AddrPort) []byte {
	at := len(f)
	f = append(f, p.frame[p.l4:]...) // with what is behind the packet
	l4 := f[at : at+p.end-p.l4]
	before := append(p.src.AsSlice(), p.dst.AsSlice()...)
	after := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	mend(l4, p.proto, before, after)
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src.Port()), dst.Port())
	change(l4, p.proto, 0, ports)
	return f
}
