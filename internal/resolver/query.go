// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// headerBytes is the fixed part of a DNS message, optBytes an OPT record
// without options.
const (
	headerBytes = 12
	optBytes    = 11
)

// Bits of the header's third and fourth byte.
const (
	bitQR, bitAA, bitTC, bitRD = 0x80, 0x04, 0x02, 0x01
	bitRA, bitAD, bitCD        = 0x80, 0x20, 0x10
)

// udpPayload is what we offer upstreams and the most we send: it crosses every
// path without fragments.
const udpPayload = 1232

// query is one message of an asker, read. Its buffers are used again.
type query struct {
	raw    []byte
	end    int // of the question
	name   name
	lower  [maxName]byte // what name is kept in
	rrtype uint16
	opt    bool
	// options is true if the OPT record has some, none of which is answered.
	options bool
	do      bool
	size    int // of the largest answer
}

// scratch is what one goroutine answers queries with, one after the other.
type scratch struct {
	q query
	w writer
}

// read reads a query of the usual form: one question of class IN for a type of
// data, and at most an OPT record of version 0. It is false for any other
// message, good or bad.
func (q *query) read(raw []byte, tcp bool) bool {
	const counts = "\x00\x01\x00\x00\x00\x00\x00" // of all but the last byte
	if len(raw) < headerBytes+5 || raw[2]&^bitRD != 0 || raw[3]&^(bitAD|bitCD) != 0 ||
		string(raw[4:11]) != counts || raw[11] > 1 {
		return false
	}
	at := headerBytes
	for raw[at] != 0 {
		if raw[at] > 63 {
			return false
		}
		// What is left must hold the label, the root and type and class.
		if at += 1 + int(raw[at]); at+5 > len(raw) || at >= headerBytes+maxName {
			return false
		}
	}
	at++
	b := q.lower[:at-headerBytes]
	copy(b, raw[headerBytes:at])
	lower(b)
	q.name.set(b)
	q.rrtype = binary.BigEndian.Uint16(raw[at:])
	class := binary.BigEndian.Uint16(raw[at+2:])
	at += 4
	if class != dns.ClassINET || !isData(q.rrtype) && q.rrtype != dns.TypeANY {
		return false
	}
	q.raw, q.end, q.opt, q.options, q.do, q.size = raw, at, false, false, false, dns.MinMsgSize
	if raw[11] == 1 {
		o := raw[at:]
		if len(o) < optBytes || o[0] != 0 || binary.BigEndian.Uint16(o[1:]) != dns.TypeOPT || o[6] != 0 {
			return false
		}
		q.opt, q.do = true, o[7]&0x80 != 0
		q.size = min(max(q.size, int(binary.BigEndian.Uint16(o[3:]))), udpPayload)
		for options := o[optBytes : optBytes+min(len(o)-optBytes, int(binary.BigEndian.Uint16(o[9:])))]; len(options) > 0; {
			if len(options) < 4 || len(options)-4 < int(binary.BigEndian.Uint16(options[2:])) {
				return false
			}
			options = options[4+binary.BigEndian.Uint16(options[2:]):]
		}
		q.options = len(o) > optBytes
		at += optBytes + int(binary.BigEndian.Uint16(o[9:]))
	}
	if tcp {
		q.size = dns.MaxMsgSize
	}
	return at == len(raw)
}

// isData reports whether a type is one of data, not of questions alone (RFC 6895).
func isData(rrtype uint16) bool {
	return rrtype != dns.TypeNone && rrtype != dns.TypeOPT && (rrtype < 128 || rrtype > 255)
}

// begin readies a writer for the answer to the query.
func (q *query) begin(w *writer) {
	w.b = append(w.b[:0], q.raw[:q.end]...)
	w.question, w.limit = q.end, q.size
	if q.opt {
		w.limit -= optBytes
	}
	w.clear()
}

// finish completes the answer: header and OPT.
func (q *query) finish(w *writer, l local) []byte {
	h := w.b
	h[2] = bitQR | q.raw[2]&bitRD
	if l.authoritative {
		h[2] |= bitAA
	}
	if w.cut {
		h[2] |= bitTC
	}
	h[3] = bitRA | q.raw[3]&bitCD | byte(l.rcode)
	binary.BigEndian.PutUint16(h[6:], uint16(w.answers))
	binary.BigEndian.PutUint16(h[8:], uint16(w.others))
	h[10], h[11] = 0, 0
	if q.opt {
		h[11] = 1
		do := byte(0)
		if q.do {
			do = 0x80
		}
		w.b = append(w.b, 0, 0, byte(dns.TypeOPT), udpPayload>>8, udpPayload&0xff, 0, 0, do, 0, 0, 0)
	}
	return w.b
}

// usual gives a message that read does not take the form it does, or answers
// it if there is something wrong with it.
func usual(raw []byte, tcp bool) (form, reply []byte) {
	if len(raw) < headerBytes || raw[2]&bitQR != 0 {
		return nil, nil // too short to answer, or itself an answer
	}
	q := message{msg: new(dns.Msg), tcp: tcp}
	if err := q.msg.Unpack(raw); err != nil {
		return nil, formatError(raw)
	}
	q.opt = q.msg.IsEdns0()
	if rcode := q.check(); rcode != dns.RcodeSuccess {
		return nil, q.fail(rcode, 0, "")
	}
	m := &dns.Msg{Question: q.msg.Question}
	m.Id, m.RecursionDesired = q.msg.Id, q.msg.RecursionDesired
	m.AuthenticatedData, m.CheckingDisabled = q.msg.AuthenticatedData, q.msg.CheckingDisabled
	if q.opt != nil {
		m.SetEdns0(q.opt.UDPSize(), q.opt.Do())
	}
	form, err := m.Pack()
	if err != nil {
		return nil, formatError(raw)
	}
	return form, nil
}

// message is a query whose answer is not written from the view alone.
type message struct {
	msg *dns.Msg
	opt *dns.OPT
	tcp bool
}

// check says what is wrong with a well-formed message, RcodeSuccess if nothing.
func (q *message) check() int {
	m := q.msg
	switch {
	case m.Opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case len(m.Question) != 1 || len(m.Answer) > 0 || len(m.Ns) > 0 || len(m.Extra) > 2:
		return dns.RcodeFormatError
	}
	opts := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	asked := m.Question[0]
	switch {
	case opts > 1:
		return dns.RcodeFormatError
	case q.opt != nil && q.opt.Version() != 0:
		return dns.RcodeBadVers
	case asked.Qclass != dns.ClassINET:
		return dns.RcodeRefused
	case asked.Qtype == dns.TypeANY:
		return dns.RcodeSuccess
	case asked.Qtype == dns.TypeNone, asked.Qtype == dns.TypeOPT:
		return dns.RcodeFormatError
	case !isData(asked.Qtype):
		return dns.RcodeRefused // transfers and the like
	}
	return dns.RcodeSuccess
}

// reply begins an answer: the question as it came, letter case included.
func (q *message) reply() *dns.Msg {
	m := new(dns.Msg)
	m.Id, m.Response, m.Opcode = q.msg.Id, true, q.msg.Opcode
	m.RecursionDesired, m.RecursionAvailable = q.msg.RecursionDesired, true
	m.CheckingDisabled = q.msg.CheckingDisabled
	if len(q.msg.Question) == 1 {
		m.Question = q.msg.Question
	}
	m.Compress = true
	return m
}

// fail packs an answer without records. text is sent as an extended error
// (RFC 8914) to those who can read it.
func (q *message) fail(rcode int, code uint16, text string) []byte {
	m := q.reply()
	m.Rcode = rcode
	if text != "" {
		q.explain(m, code, text)
	}
	return q.pack(m)
}

// explain adds an extended error for those who can read it.
func (q *message) explain(m *dns.Msg, code uint16, text string) {
	if q.opt == nil {
		return
	}
	m.SetEdns0(udpPayload, q.opt.Do())
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
}

// pack ends an answer: our OPT if the asker sent one, and no more than it can take.
func (q *message) pack(m *dns.Msg) []byte {
	if q.opt != nil && m.IsEdns0() == nil {
		m.SetEdns0(udpPayload, q.opt.Do())
	}
	size := dns.MaxMsgSize
	if !q.tcp {
		size = dns.MinMsgSize
		if q.opt != nil {
			size = min(max(size, int(q.opt.UDPSize())), udpPayload)
		}
	}
	m.Truncate(size)
	out, err := m.Pack()
	if err != nil || len(out) > size {
		// A record that has no wire form, such as a label of 64 bytes.
		f := q.reply()
		f.Rcode = dns.RcodeServerFailure
		if out, err = f.Pack(); err != nil {
			return nil
		}
	}
	return out
}

// formatError answers a message that cannot be read with its id alone.
func formatError(raw []byte) []byte {
	m := new(dns.Msg)
	m.Id, m.Response, m.Rcode = binary.BigEndian.Uint16(raw), true, dns.RcodeFormatError
	m.Opcode = int(raw[2]>>3) & 0xf
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
