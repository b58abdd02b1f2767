// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"postern.dev/postern/internal/vpc"
)

// Numbers of protocols that vpc does not name.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	hopByHop    = 0
	routing     = 43
	fragmentHdr = 44
	esp         = 50
	authHeader  = 51
	destOptions = 60
	mobility    = 135
	hip         = 139
	shim6       = 140
)

// TCP flags.
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagPSH = 8
	flagACK = 16
)

// packet is a frame that has been read once.
type packet struct {
	frame   []byte
	segment int
	by      [2]vpc.InterfaceID // see key

	etherDst, etherSrc MAC
	etherType          uint16

	src, dst     netip.Addr
	proto        int
	l3, l4, end  int // where the headers begin and the IP packet ends
	sport, dport uint16
	flags        byte // of TCP

	typ, code uint8  // of ICMP
	id        uint16 // of an ICMP echo

	// fragmented says that there is more of the packet in other frames.
	fragmented bool
	later      bool // not the first fragment: no ports in it
	known      bool // a later one that has got its first one's
	fragID     uint32
	fragOffset int

	defects []string
}

// extended reports whether there are extension headers of IPv6.
func (p *packet) extended() bool { return p.is6() && p.l4 != p.l3+40 }

func (p *packet) is6() bool   { return p.etherType == etherIPv6 }
func (p *packet) isARP() bool { return p.etherType == etherARP }
func (p *packet) isICMP() bool {
	return p.proto == vpc.ICMP && !p.is6() || p.proto == vpc.ICMPv6 && p.is6()
}
func (p *packet) payload() []byte { return p.frame[p.l4:p.end] }
func (p *packet) isTCP() bool     { return p.proto == vpc.TCP }
func (p *packet) isSYN() bool     { return p.isTCP() && p.flags&(flagSYN|flagACK) == flagSYN }

// whole reports whether ports, or ICMP's type, are known.
func (p *packet) whole() bool { return !p.later || p.known }

func (p *packet) isEcho() bool {
	return p.isICMP() && p.whole() && (p.is6() && p.typ == 128 || !p.is6() && p.typ == 8)
}

func (p *packet) isEchoReply() bool {
	return p.isICMP() && p.whole() && (p.is6() && p.typ == 129 || !p.is6() && p.typ == 0)
}

// isError reports whether it is an ICMP error, which has a packet inside.
func (p *packet) isError() bool {
	if !p.isICMP() || !p.whole() {
		return false
	}
	if p.is6() {
		return p.typ >= 1 && p.typ <= 4
	}
	return p.typ == 3 || p.typ == 11 || p.typ == 12
}

func (p *packet) source() netip.AddrPort      { return netip.AddrPortFrom(p.src, p.sport) }
func (p *packet) destination() netip.AddrPort { return netip.AddrPortFrom(p.dst, p.dport) }

// number is what rules match besides the protocol: the destination port, or
// ICMP's type and code.
func (p *packet) number() (int, int) {
	if p.isICMP() {
		return int(p.typ), int(p.code)
	}
	return int(p.dport), 0
}

func (p *packet) defect(name string) { p.defects = append(p.defects, name) }

func (p *packet) String() string {
	if p.isARP() {
		return fmt.Sprintf("ARP %x", p.frame[min(14, len(p.frame)):])
	}
	s := fmt.Sprintf("%v > %v", p.src, p.dst)
	switch {
	case !p.src.IsValid():
		return fmt.Sprintf("frame %x", p.frame)
	case p.later:
		s += fmt.Sprintf(" protocol %d later fragment", p.proto)
	case p.isTCP():
		s = fmt.Sprintf("%v > %v TCP ", p.source(), p.destination())
		for i, c := range "FSRPAUEC" {
			if p.flags>>i&1 != 0 {
				s += string(c)
			}
		}
	case p.proto == vpc.UDP:
		s = fmt.Sprintf("%v > %v UDP", p.source(), p.destination())
	case p.isEcho():
		s += fmt.Sprintf(" echo request %d", p.id)
	case p.isEchoReply():
		s += fmt.Sprintf(" echo reply %d", p.id)
	case p.isICMP():
		s += fmt.Sprintf(" ICMP %d/%d", p.typ, p.code)
	default:
		s += fmt.Sprintf(" protocol %d", p.proto)
	}
	if p.fragmented {
		s += fmt.Sprintf(" fragment %d at %d", p.fragID, p.fragOffset)
	}
	s += fmt.Sprintf(", %d bytes", len(p.frame))
	if p.segment > 0 {
		s += fmt.Sprintf(" in segments of %d", p.segment)
	}
	return s
}

// parse reads a frame. What is wrong with it is in defects.
func parse(frame []byte, segment int) *packet {
	p := &packet{frame: frame, segment: segment, l3: 14, proto: -1}
	if len(frame) < 14 {
		p.defect("too-short")
		return p
	}
	copy(p.etherDst[:], frame)
	copy(p.etherSrc[:], frame[6:])
	p.etherType = binary.BigEndian.Uint16(frame[12:])
	switch p.etherType {
	case etherARP:
		return p // judged as a question
	case etherIPv4:
		p.parse4()
	case etherIPv6:
		p.parse6()
	default:
		p.defect("ethertype")
	}
	if p.etherDst[0]&1 != 0 && !(p.is6() && p.neighbour()) {
		p.defect("multicast")
	}
	return p
}

func (p *packet) parse4() {
	f := p.frame
	if len(f) < 34 {
		p.defect("too-short")
		return
	}
	p.src, p.dst = netip.AddrFrom4([4]byte(f[26:30])), netip.AddrFrom4([4]byte(f[30:34]))
	total := int(binary.BigEndian.Uint16(f[16:]))
	p.proto, p.l4, p.end = int(f[23]), 34, 14+total
	if f[14] != 0x45 {
		if f[14]>>4 == 4 && f[14]&15 > 5 {
			p.defect("ip-options")
		} else {
			p.defect("bad-length")
		}
	}
	if f[30] >= 224 { // multicast, reserved, broadcast
		p.defect("multicast")
	}
	if total < 20 || p.end > len(f) {
		p.defect("bad-length")
		return
	}
	word := binary.BigEndian.Uint16(f[20:])
	p.fragID, p.fragOffset = uint32(binary.BigEndian.Uint16(f[18:])), int(word&0x1fff)*8
	p.fragmented, p.later = word&0x3fff != 0, p.fragOffset > 0
	p.parseL4()
}

func (p *packet) parse6() {
	f := p.frame
	if len(f) < 54 {
		p.defect("too-short")
		return
	}
	p.src, p.dst = netip.AddrFrom16([16]byte(f[22:38])), netip.AddrFrom16([16]byte(f[38:54]))
	p.end = 54 + int(binary.BigEndian.Uint16(f[18:]))
	if f[14]>>4 != 6 || p.end > len(f) {
		p.defect("bad-length")
		return
	}
	p.proto, p.l4 = int(f[20]), 54
	for n := 0; ; n++ {
		switch p.proto {
		case hopByHop, destOptions:
			if p.proto == hopByHop && n > 0 || n == 4 {
				p.defect("extension")
				return
			}
			if p.l4+8 > p.end || p.l4+8+8*int(f[p.l4+1]) > p.end {
				p.defect("bad-length")
				return
			}
			p.proto, p.l4 = int(f[p.l4]), p.l4+8+8*int(f[p.l4+1])
		case fragmentHdr:
			if n == 4 || p.fragID != 0 || p.fragmented {
				p.defect("extension")
				return
			}
			if p.l4+8 > p.end {
				p.defect("bad-length")
				return
			}
			word := binary.BigEndian.Uint16(f[p.l4+2:])
			p.fragID, p.fragOffset = binary.BigEndian.Uint32(f[p.l4+4:]), int(word&^7)
			p.fragmented, p.later = word&^6 != 0, p.fragOffset > 0
			p.proto, p.l4 = int(f[p.l4]), p.l4+8
			if p.later {
				p.afterExtensions()
				return
			}
		default:
			p.afterExtensions()
			return
		}
	}
}

// afterExtensions looks at what the extension headers led to.
func (p *packet) afterExtensions() {
	switch p.proto {
	case routing, authHeader, mobility, hip, shim6:
		p.defect("extension")
		return
	case hopByHop, destOptions, fragmentHdr:
		p.defect("extension")
		return
	}
	if p.dst.IsMulticast() && !p.neighbour() {
		p.defect("multicast")
	}
	p.parseL4()
}

// neighbour reports whether it is a neighbour solicitation, which goes to a
// multicast address by nature.
func (p *packet) neighbour() bool {
	return p.is6() && p.proto == vpc.ICMPv6 && !p.fragmented && p.l4 < len(p.frame) && p.frame[p.l4] >= 133 && p.frame[p.l4] <= 137
}

func (p *packet) parseL4() {
	b := p.frame[p.l4:p.end]
	if p.later {
		if p.proto == vpc.TCP && p.fragOffset < 60 {
			p.defect("fragment")
		}
		return
	}
	const short = "bad-length" // a first fragment has the whole header, too
	switch {
	case p.proto == vpc.TCP:
		if len(b) < 20 || int(b[12]>>4) < 5 || int(b[12]>>4)*4 > len(b) {
			p.defect(short)
			return
		}
		p.sport, p.dport, p.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[13]
		if badFlags(p.flags) {
			p.defect("bad-tcp")
		}
	case p.proto == vpc.UDP:
		if len(b) < 8 {
			p.defect(short)
			return
		}
		p.sport, p.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		if n := int(binary.BigEndian.Uint16(b[4:])); n < 8 || !p.fragmented && n > len(b) {
			p.defect("bad-length")
		}
	case p.isICMP():
		if len(b) < 8 {
			p.defect(short)
			return
		}
		p.typ, p.code = b[0], b[1]
		if p.isEcho() || p.isEchoReply() {
			p.id = binary.BigEndian.Uint16(b[4:])
		}
	}
}

// badFlags reports combinations that no connection uses: none of the four that
// mean something, a SYN that also ends, an end that acknowledges nothing.
func badFlags(f byte) bool {
	f &= flagFIN | flagSYN | flagRST | flagACK
	return f == 0 || f&flagSYN != 0 && f&(flagFIN|flagRST) != 0 || f&flagFIN != 0 && f&(flagRST|flagACK) == 0
}
