// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// inside reads the packet inside an ICMP error: its addresses, protocol and
// what identifies its flow; nil if too little of it is there. It must be one
// that the error's receiver has sent.
func (p *packet) inside() *packet {
	if !p.isError() || p.later {
		return nil
	}
	b := p.frame[p.l4+8 : p.end]
	in := &packet{etherType: p.etherType, frame: p.frame, l3: p.l4 + 8, end: p.end, proto: -1}
	if p.is6() {
		if len(b) < 40 || b[0]>>4 != 6 {
			return nil
		}
		in.src, in.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		in.proto, in.l4 = int(b[6]), in.l3+40
	} else {
		if len(b) < 20 || b[0] != 0x45 {
			return nil
		}
		in.src, in.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		in.proto, in.l4 = int(b[9]), in.l3+20
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return nil // a later fragment says nothing of its flow
		}
	}
	if in.src != p.dst {
		return nil
	}
	in.by = [2]vpc.InterfaceID{p.by[1], p.by[0]}
	l4 := p.frame[in.l4:p.end]
	if len(l4) < 8 {
		return nil // less than an error has of a packet
	}
	switch {
	case in.proto == vpc.TCP || in.proto == vpc.UDP:
		in.sport, in.dport = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case in.isICMP():
		in.typ, in.code, in.id = l4[0], l4[1], binary.BigEndian.Uint16(l4[4:])
		if !in.isEcho() && !in.isEchoReply() {
			return nil // errors about others belong to no flow
		}
	}
	return in
}

// related reports whether the packet is an ICMP error about a plain flow, sent
// by the end that the packet inside was for.
func (j *journey) related(in space, receiver vpc.InterfaceID) *conn {
	inner := j.p.inside()
	if inner == nil {
		return nil
	}
	h := j.m.lookup(in, inner)
	if h.c == nil || !h.c.plain {
		return nil
	}
	sender, end := h.c.initiator, h.c.target
	if !h.forward {
		sender, end = end, sender
	}
	if end != j.from || sender != receiver {
		j.step("an error about a connection of others")
		return nil
	}
	j.step("an error about the connection %v to %v", h.c.client.initiator, h.c.client.responder)
	return h.c
}

// aboutTranslated is the way of an ICMP error about a translated flow; ok is
// false for any other packet.
func (j *journey) aboutTranslated(in space) (out []Outcome, ok bool) {
	m, p := j.m, j.p
	inner := p.inside()
	if inner == nil {
		return nil, false
	}
	h := m.lookup(in, inner)
	if h.c == nil || h.c.plain {
		return nil, false
	}
	c := h.c
	j.step("an error about the translated connection %v to %v", c.client.initiator, c.client.responder)
	if h.forward != h.serverEnd {
		return one(j.drop("icmp-error")), true
	}
	// what was sent to the target goes back to the client, and the other way round
	toClient := h.forward
	sender, receiver := c.initiator, c.target
	src, dst := c.server.initiator, c.server.responder
	if toClient {
		sender, receiver = receiver, sender
		src, dst = c.client.responder, c.client.initiator
	}
	foreign := c.nat != "" && toClient && p.src != inner.dst // of a router on the way
	unreachable := !p.is6() && p.typ == 3 || p.is6() && (p.typ == 1 || p.typ == 2)
	if c.nat != "" {
		unreachable = true // a NAT gateway takes every error
	}
	if !unreachable || j.from != sender || p.src != inner.dst && !foreign {
		return one(j.drop("icmp-error")), true
	}
	if c.endpoint != "" && !m.carries(c.endpoint) {
		return one(j.drop("endpoint-gone")), true
	}
	back := heading{c: c, forward: !toClient}
	stale := func() []Outcome {
		j.old = append(j.old, c)
		return one(j.drop("stale"))
	}
	if o, ok := j.halves(back, stale); !ok {
		return o, true
	}
	if src.Addr().Is6() != p.is6() {
		return one(j.drop("icmp-error")), true // errors do not cross families
	}
	outer := src.Addr()
	if foreign {
		outer = p.src
	}
	return one(j.deliver(receiver, p.rewriteError(outer, dst.Addr(), inner, dst, src))), true
}

// rewriteError gives an ICMP error with other addresses, and with other ends of
// the packet inside.
func (p *packet) rewriteError(src, dst netip.Addr, inner *packet, innerSrc, innerDst netip.AddrPort) []byte {
	f := slices.Clone(p.frame)
	body := slices.Clone(f[p.l4:p.end])
	at, size := 12, 4
	if p.is6() {
		at, size = 8, 16
	}
	// the packet inside: addresses, ports or the echo's id, checksums
	ends := append(innerSrc.Addr().AsSlice(), innerDst.Addr().AsSlice()...)
	ip := f[inner.l3:]
	old := slices.Clone(ip[at : at+2*size])
	copy(ip[at:], ends)
	if !p.is6() {
		binary.BigEndian.PutUint16(ip[10:], amend(binary.BigEndian.Uint16(ip[10:]), old, ends))
	}
	l4 := f[inner.l4:p.end]
	switch {
	case inner.proto == vpc.TCP || inner.proto == vpc.UDP:
		mend(l4, inner.proto, old, ends)
		change(l4, inner.proto, 0, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, innerSrc.Port()), innerDst.Port()))
	case inner.isEcho():
		if p.is6() {
			mend(l4, inner.proto, old, ends)
		}
		change(l4, inner.proto, 4, binary.BigEndian.AppendUint16(nil, innerSrc.Port()))
	case inner.isEchoReply():
		if p.is6() {
			mend(l4, inner.proto, old, ends)
		}
		change(l4, inner.proto, 4, binary.BigEndian.AppendUint16(nil, innerDst.Port()))
	}
	// the error itself
	icmp := f[p.l4:p.end]
	before, after := clearSum(body), clearSum(icmp)
	outer := append(src.AsSlice(), dst.AsSlice()...)
	was := slices.Clone(f[14+at : 14+at+2*size])
	if p.is6() {
		before, after = slices.Concat(was, before), slices.Concat(outer, after)
	}
	binary.BigEndian.PutUint16(icmp[2:], amend(binary.BigEndian.Uint16(icmp[2:]), before, after))
	copy(f[14+at:], outer)
	if !p.is6() {
		binary.BigEndian.PutUint16(f[24:], amend(binary.BigEndian.Uint16(f[24:]), was, outer))
	}
	return f
}

// clearSum is an ICMP message without its checksum.
func clearSum(b []byte) []byte {
	b = slices.Clone(b)
	b[2], b[3] = 0, 0
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	return b
}
