// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/binary"
	"net/netip"

	"postern.dev/postern/internal/vpc"
)

// resetTTL is the TTL and hop limit of resets, which come from no end's stack.
const resetTTL = 64

// resetFrame is a TCP reset between two ends.
func resetFrame(etherDst, etherSrc MAC, src, dst netip.AddrPort, seq, ack uint32, flags byte) []byte {
	var f []byte
	f = append(f, etherDst[:]...)
	f = append(f, etherSrc[:]...)
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = 5<<4, flags
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, vpc.TCP, 0, byte(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum(sum(0, pseudo), tcp)))
	if src.Addr().Is4() {
		f = binary.BigEndian.AppendUint16(f, etherIPv4)
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, resetTTL, vpc.TCP
		binary.BigEndian.PutUint16(ip[2:], 40)
		binary.BigEndian.PutUint16(ip[6:], 0x4000)
		copy(ip[12:], src.Addr().AsSlice())
		copy(ip[16:], dst.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum(0, ip)))
		f = append(f, ip...)
	} else {
		f = binary.BigEndian.AppendUint16(f, etherIPv6)
		ip := make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, vpc.TCP, resetTTL
		binary.BigEndian.PutUint16(ip[4:], 20)
		copy(ip[8:], src.Addr().AsSlice())
		copy(ip[24:], dst.Addr().AsSlice())
		f = append(f, ip...)
	}
	return append(f, tcp...)
}

// reset answers a TCP packet with a reset (RFC 9293, 3.10.7.1): one that has an
// acknowledgement is answered by the number it names, another acknowledges all
// it takes. A reset is never answered.
func (j *journey) reset(reason string) Outcome {
	p := j.p
	if !p.isTCP() || p.fragmented || p.extended() || p.flags&flagRST != 0 {
		return j.drop(reason)
	}
	l4 := p.payload()
	var seq, ack uint32
	flags := byte(flagRST)
	if p.flags&flagACK != 0 {
		seq = binary.BigEndian.Uint32(l4[8:])
	} else {
		flags |= flagACK
		ack = binary.BigEndian.Uint32(l4[4:]) + uint32(len(l4)-int(l4[12]>>4)*4)
		if p.flags&flagSYN != 0 {
			ack++
		}
		if p.flags&flagFIN != 0 {
			ack++
		}
	}
	j.step("the sender gets a reset")
	f := resetFrame(p.etherSrc, p.etherDst, p.destination(), p.source(), seq, ack, flags)
	return Outcome{Action: Answer, Reason: reason, To: j.from, Frame: f, Steps: j.steps, forgets: j.old}
}

// tell ends a connection whose way is gone. The first packet after that reaches
// its other end as a reset in the place of the packet, so that an end that only
// waits learns of it; from then on senders are answered.
func (j *journey) tell(h heading, reason string, src, dst netip.AddrPort, to vpc.InterfaceID) Outcome {
	c, p := h.c, j.p
	// A flow that was idle for long stays for as long as any that has ended, so
	// that its other end hears of it too.
	ended := func(netip.AddrPort) { c.told, c.rst, c.last = true, true, j.m.now }
	if !p.isTCP() {
		o := j.drop(reason)
		o.commit = ended
		return o
	}
	// Who opens a connection waits for an answer to that, and a packet cannot
	// become one of the other family.
	if c.told || p.fragmented || p.flags&flagSYN != 0 || src.Addr().Is6() != p.is6() {
		o := j.reset(reason)
		o.commit = ended
		return o
	}
	l4 := p.payload()
	f := resetFrame(MAC{}, MAC{}, src, dst, binary.BigEndian.Uint32(l4[4:]), binary.BigEndian.Uint32(l4[8:]), flagRST|p.flags&flagACK)
	o := j.drop(reason)
	if j.m.homeOf(c, to) == to && !p.extended() { // else its address has passed on
		j.step("the other end gets a reset")
		if told := j.deliver(to, f); told.Action != Drop {
			o = told
		}
	}
	o.commit = ended
	return o
}

// homeOf is what has the address that one end of a flow had, "" for nothing.
func (m *Model) homeOf(c *conn, end vpc.InterfaceID) vpc.InterfaceID {
	if end == ServicePort || end == UplinkPort {
		return end
	}
	at := place{c.home, c.client.initiator.Addr()}
	if end == c.target {
		at = place{vpc.VPCID(c.server.space), c.server.responder.Addr()}
	}
	if s := m.net.at[at]; s != nil {
		return s.id
	}
	return ""
}
