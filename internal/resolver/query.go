// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

// query is one message of an asker, read and judged.
type query struct {
	msg *dns.Msg
	opt *dns.OPT
	tcp bool
}

// headerBytes is the fixed part of a DNS message.
const headerBytes = 12

// handle answers one message. A nil reply with a nil later is silence; a later
// is a question for the upstreams, to be called away from the reading loop.
func (r *Resolver) handle(raw []byte, who Asker, tcp bool) (reply []byte, later func(context.Context) []byte) {
	s := r.o.View().spaces[who.VNI]
	if s == nil || !s.dns {
		return nil, nil
	}
	if len(raw) < headerBytes || raw[2]&0x80 != 0 {
		return nil, nil // too short to answer, or itself an answer
	}
	q := query{msg: new(dns.Msg), tcp: tcp}
	if err := q.msg.Unpack(raw); err != nil {
		return formatError(raw), nil
	}
	q.opt = q.msg.IsEdns0()
	if rcode := q.check(); rcode != dns.RcodeSuccess {
		return q.fail(rcode, 0, ""), nil
	}
	asked := q.msg.Question[0]
	l := s.answer(asked.Name, asked.Qtype)
	if asked.Qtype == dns.TypeANY {
		l = s.answerAny(asked.Name)
	}
	if !l.forward {
		m := q.reply()
		m.Answer, m.Ns, m.Rcode, m.Authoritative = l.answer, l.ns, l.rcode, l.authoritative
		return q.pack(m), nil
	}
	if !q.msg.RecursionDesired {
		return q.fail(dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, "only recursive queries are answered for this name"), nil
	}
	if len(r.o.Upstreams()) == 0 {
		return q.fail(dns.RcodeServerFailure, dns.ExtendedErrorCodeNoReachableAuthority, errNoUpstream.Error()), nil
	}
	return nil, func(ctx context.Context) []byte { return r.forward(ctx, q, l) }
}

// forward completes an answer with what an upstream says.
func (r *Resolver) forward(ctx context.Context, q query, l local) []byte {
	asked := q.msg.Question[0]
	want := question{name: l.next, qtype: asked.Qtype, do: q.opt != nil && q.opt.Do(), cd: q.msg.CheckingDisabled}
	up, err := r.forwarder.resolve(ctx, want)
	if err != nil {
		code, text := dns.ExtendedErrorCodeNetworkError, "no upstream resolver answered"
		if errors.Is(err, errNoUpstream) {
			code, text = dns.ExtendedErrorCodeNoReachableAuthority, errNoUpstream.Error()
		}
		r.o.Log.Debug("forward a query", "type", dns.TypeToString[asked.Qtype], "error", err)
		return q.fail(dns.RcodeServerFailure, code, text)
	}
	if up.Rcode == dns.RcodeServerFailure {
		return q.fail(dns.RcodeServerFailure, dns.ExtendedErrorCodeCachedError, "no upstream resolver answered a moment ago")
	}
	m := q.reply()
	m.Rcode = up.Rcode
	m.AuthenticatedData = up.AuthenticatedData && len(l.answer) == 0 && (q.msg.AuthenticatedData || want.do)
	m.Answer = append(l.answer, up.Answer...)
	if len(l.answer) == 0 {
		// The asker may have mixed upper and lower case to recognise its answer.
		for _, rr := range m.Answer {
			if canonical(rr.Header().Name) == l.next {
				rr.Header().Name = asked.Name
			}
		}
	}
	m.Ns, m.Extra = up.Ns, up.Extra
	return q.pack(m)
}

// check says what is wrong with a well-formed message, RcodeSuccess if nothing.
func (q *query) check() int {
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
	case asked.Qtype >= 128 && asked.Qtype <= 255:
		return dns.RcodeRefused // transfers and other things that are not data (RFC 6895)
	}
	return dns.RcodeSuccess
}

// reply begins an answer: the question as it came, letter case included.
func (q *query) reply() *dns.Msg {
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
func (q *query) fail(rcode int, code uint16, text string) []byte {
	m := q.reply()
	m.Rcode = rcode
	if text != "" && q.opt != nil {
		m.SetEdns0(udpPayload, q.opt.Do())
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
	return q.pack(m)
}

// pack ends an answer: our OPT if the asker sent one, and no more than it can take.
func (q *query) pack(m *dns.Msg) []byte {
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
