// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A sketch is a packet in words:
//
//	10.0.0.5:4000 > 10.0.0.100:80 tcp S
//	[2001:db8:a:1::5]:7 > [2001:db8:a:1::6]:53 udp
//	10.0.0.5 > 10.0.0.6 icmp 8/0 id=7
//	10.0.0.6 > 10.0.0.5 icmp 3/4 about( 10.0.0.5:4000 > 10.0.0.6:80 tcp )
//	10.0.0.5:7 > 10.0.0.6:53 udp frag=first     (frag=later has no ports)
//
// Further words: seq=, ack=, mss=, len= (bytes of payload), and in IPv6 ext=
// with the numbers of extension headers, "0,60".
type sketch struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        string // tcp, udp, icmp, or a number
	flags        string
	typ, code    byte
	words        map[string]int
	frag         string
	ext          []int
	about        *sketch
}

const fragID = 0x1234

func parseSketch(s string) (sketch, error) {
	out := sketch{words: map[string]int{}}
	if head, inside, ok := strings.Cut(s, "about("); ok {
		about, err := parseSketch(strings.TrimSuffix(strings.TrimSpace(inside), ")"))
		if err != nil {
			return out, err
		}
		out.about, s = &about, head
	}
	f := strings.Fields(s)
	if len(f) < 4 || f[1] != ">" {
		return out, fmt.Errorf("%q: want FROM > TO PROTOCOL", s)
	}
	var err error
	if out.src, out.sport, err = parseEnd(f[0]); err != nil {
		return out, err
	}
	if out.dst, out.dport, err = parseEnd(f[2]); err != nil {
		return out, err
	}
	out.proto = f[3]
	for _, w := range f[4:] {
		name, value, ok := strings.Cut(w, "=")
		typ, code, icmp := strings.Cut(w, "/")
		switch {
		case ok && name == "frag":
			out.frag = value
		case ok && name == "ext":
			for _, n := range strings.Split(value, ",") {
				v, err := strconv.Atoi(n)
				if err != nil {
					return out, err
				}
				out.ext = append(out.ext, v)
			}
		case ok:
			if out.words[name], err = strconv.Atoi(value); err != nil {
				return out, fmt.Errorf("%q: %w", w, err)
			}
		case icmp:
			t, err := strconv.Atoi(typ)
			c, err2 := strconv.Atoi(code)
			if err != nil || err2 != nil {
				return out, fmt.Errorf("%q: want TYPE/CODE", w)
			}
			out.typ, out.code = byte(t), byte(c)
		default:
			out.flags = w
		}
	}
	return out, nil
}

func parseEnd(s string) (netip.Addr, uint16, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), ap.Port(), nil
	}
	a, err := netip.ParseAddr(s)
	return a, 0, err
}

var protoNumbers = map[string]byte{"tcp": 6, "udp": 17}

func (s sketch) number() byte {
	if n, ok := protoNumbers[s.proto]; ok {
		return n
	}
	if s.proto == "icmp" {
		if s.src.Is6() {
			return 58
		}
		return 1
	}
	n, _ := strconv.Atoi(s.proto)
	return byte(n)
}

var flagBits = map[rune]byte{'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 16}

// transport gives the packet after its IP header, with its checksum.
func (s sketch) transport() []byte {
	var b []byte
	payload := make([]byte, s.words["len"])
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	check := -1
	switch s.proto {
	case "tcp":
		b = make([]byte, 20)
		binary.BigEndian.PutUint16(b, s.sport)
		binary.BigEndian.PutUint16(b[2:], s.dport)
		binary.BigEndian.PutUint32(b[4:], uint32(s.words["seq"]))
		binary.BigEndian.PutUint32(b[8:], uint32(s.words["ack"]))
		if m := s.words["mss"]; m != 0 {
			b = append(b, 2, 4, byte(m>>8), byte(m))
		}
		b[12] = byte(len(b) / 4 << 4)
		for _, f := range s.flags {
			b[13] |= flagBits[f]
		}
		check = 16
	case "udp":
		b = make([]byte, 8)
		binary.BigEndian.PutUint16(b, s.sport)
		binary.BigEndian.PutUint16(b[2:], s.dport)
		binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
		check = 6
	case "icmp":
		b = make([]byte, 8)
		b[0], b[1] = s.typ, s.code
		binary.BigEndian.PutUint16(b[4:], uint16(s.words["id"]))
		if s.about != nil {
			payload = s.about.packet()
		}
		check = 2
	}
	b = append(b, payload...)
	if check < 0 {
		return b
	}
	if sum := ^uint16(onesSum(s.pseudo(len(b)), b)); sum != 0 || s.proto != "udp" {
		binary.BigEndian.PutUint16(b[check:], sum)
	} else {
		binary.BigEndian.PutUint16(b[check:], 0xffff)
	}
	return b
}

// pseudo is the sum of the pseudo header of n bytes; ICMP of IPv4 has none.
func (s sketch) pseudo(n int) uint32 {
	if s.number() == 1 {
		return 0
	}
	sum := onesSum(onesSum(0, s.src.AsSlice()), s.dst.AsSlice())
	return onesSum(sum, []byte{0, s.number(), byte(n >> 8), byte(n)})
}

// packet gives the IP packet.
func (s sketch) packet() []byte {
	body := s.transport()
	if s.frag == "later" {
		body = []byte("the rest of something")
	}
	next, offset, more := s.number(), 0, s.frag == "first"
	if s.frag == "later" {
		offset = 64
	}
	if s.src.Is4() {
		b := make([]byte, 20)
		b[0] = 0x45
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
		binary.BigEndian.PutUint16(b[4:], fragID)
		word := uint16(offset / 8)
		if more {
			word |= 0x2000
		}
		if s.frag == "" {
			word |= 0x4000
		}
		binary.BigEndian.PutUint16(b[6:], word)
		b[8], b[9] = 64, next
		copy(b[12:], s.src.AsSlice())
		copy(b[16:], s.dst.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^uint16(onesSum(0, b)))
		return append(b, body...)
	}
	exts := s.ext
	if s.frag != "" {
		exts = append(exts, 44)
	}
	var chain []byte
	first := next
	for i := len(exts) - 1; i >= 0; i-- {
		h := []byte{first, 0, 1, 4, 0, 0, 0, 0} // padding
		if exts[i] == 44 {
			word := uint16(offset)
			if more {
				word |= 1
			}
			h = []byte{first, 0, byte(word >> 8), byte(word), 0, 0, fragID >> 8, fragID & 0xff}
		}
		chain = append(h, chain...)
		first = byte(exts[i])
	}
	b := make([]byte, 40)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(chain)+len(body)))
	b[6], b[7] = first, 64
	copy(b[8:], s.src.AsSlice())
	copy(b[24:], s.dst.AsSlice())
	return append(append(b, chain...), body...)
}

func (s sketch) frame(src, dst []byte) []byte {
	typ := []byte{8, 0}
	if s.src.Is6() {
		typ = []byte{0x86, 0xdd}
	}
	return append(append(append(append([]byte{}, dst...), src...), typ...), s.packet()...)
}

// describe gives a packet as a sketch's words (seq and what follows only where
// it is interesting) and checks every checksum in it. Inside an ICMP error
// nothing but the header is whole.
func describe(b []byte, inside bool) (string, error) {
	if len(b) < 20 {
		return "", fmt.Errorf("%d bytes are no packet", len(b))
	}
	var s sketch
	var l4 []byte
	var next byte
	note := ""
	switch b[0] >> 4 {
	case 4:
		if sum := onesSum(0, b[:20]); sum != 0xffff {
			return "", fmt.Errorf("IPv4 header sums to %#x", sum)
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if !inside && n > len(b) {
			return "", fmt.Errorf("IPv4 length %d of %d", n, len(b))
		}
		s.src, s.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		next, l4 = b[9], b[20:min(n, len(b))]
		if w := binary.BigEndian.Uint16(b[6:]); w&0x1fff != 0 {
			note = " frag=later"
		} else if w&0x2000 != 0 {
			note = " frag=first"
		}
	case 6:
		n := 40 + int(binary.BigEndian.Uint16(b[4:]))
		if !inside && n > len(b) {
			return "", fmt.Errorf("IPv6 length %d of %d", n, len(b))
		}
		s.src, s.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		next, l4 = b[6], b[40:min(n, len(b))]
		for next == 0 || next == 60 || next == 44 {
			if next == 44 {
				if w := binary.BigEndian.Uint16(l4[2:]); w&0xfff8 != 0 {
					note = " frag=later"
				} else if w&1 != 0 {
					note = " frag=first"
				}
				next, l4 = l4[0], l4[8:]
				if note == " frag=later" {
					break
				}
				continue
			}
			next, l4 = l4[0], l4[8+8*int(l4[1]):]
		}
	default:
		return "", fmt.Errorf("IP version %d", b[0]>>4)
	}
	s.proto = strconv.Itoa(int(next))
	switch {
	case next == 6:
		s.proto = "tcp"
	case next == 17:
		s.proto = "udp"
	case next == 1 && s.src.Is4(), next == 58 && s.src.Is6():
		s.proto = "icmp"
	}
	if note == " frag=later" {
		return fmt.Sprintf("%v > %v %s%s", s.src, s.dst, s.proto, note), nil
	}
	if !inside && note == "" && (s.proto == "tcp" || s.proto == "icmp" || s.proto == "udp" && binary.BigEndian.Uint16(l4[6:]) != 0) {
		if sum := onesSum(s.pseudo(len(l4)), l4); sum != 0xffff {
			return "", fmt.Errorf("%s sums to %#x", s.proto, sum)
		}
	}
	end := func(a netip.Addr, off int) string {
		if s.proto != "tcp" && s.proto != "udp" {
			return a.String()
		}
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(l4[off:])).String()
	}
	out := fmt.Sprintf("%s > %s %s", end(s.src, 0), end(s.dst, 2), s.proto)
	switch s.proto {
	case "tcp":
		if inside {
			return out, nil
		}
		flags := ""
		for _, f := range "SFRPA" {
			if l4[13]&flagBits[f] != 0 {
				flags += string(f)
			}
		}
		out += " " + flags
		if l4[12]>>4 > 5 && l4[20] == 2 {
			out += fmt.Sprintf(" mss=%d", binary.BigEndian.Uint16(l4[22:]))
		}
	case "icmp":
		if inside {
			out += fmt.Sprintf(" %d/%d", l4[0], l4[1])
		} else {
			out += fmt.Sprintf(" %d/%d", l4[0], l4[1])
		}
		errors := map[byte]bool{3: true, 11: true, 12: true}
		if s.src.Is6() {
			errors = map[byte]bool{1: true, 2: true, 3: true, 4: true}
		}
		if !errors[l4[0]] {
			return out + fmt.Sprintf(" id=%d", binary.BigEndian.Uint16(l4[4:])), nil
		}
		about, err := describe(l4[8:], true)
		if err != nil {
			return out, err
		}
		// a whole transport header inside must be one that the receiver sent
		if err := wholeInside(l4[8:]); err != nil {
			return out, err
		}
		out += " about( " + about + " )"
	}
	return out + note, nil
}

// wholeInside checks the transport checksum of a packet that is whole inside an
// ICMP error.
func wholeInside(b []byte) error {
	var s sketch
	var l4 []byte
	if b[0]>>4 == 4 {
		if int(binary.BigEndian.Uint16(b[2:])) != len(b) {
			return nil
		}
		s.src, s.dst, l4, s.proto = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[20:], strconv.Itoa(int(b[9]))
	} else {
		if 40+int(binary.BigEndian.Uint16(b[4:])) != len(b) {
			return nil
		}
		s.src, s.dst, l4, s.proto = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[40:], strconv.Itoa(int(b[6]))
	}
	if n := s.number(); n != 6 && n != 17 && n != 1 && n != 58 {
		return nil
	}
	if sum := onesSum(s.pseudo(len(l4)), l4); sum != 0xffff {
		return fmt.Errorf("the packet inside sums to %#x", sum)
	}
	return nil
}
