// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/vpc"
)

const (
	// maxChain bounds how many CNAMEs or aliases of a view are followed for one answer.
	maxChain = 8
	// negativeTTL is how long stub resolvers may remember that something is
	// missing, in seconds; short, since endpoints come and go.
	negativeTTL = 10
)

// local is what a view has to say to one question, beside the records.
type local struct {
	rcode int
	// authoritative is true if the asked name is in a private zone.
	authoritative bool
	// forward is true if next, the asked name or the end of a chain of CNAMEs
	// in the answer, is for route to resolve; nil are the host's resolvers.
	forward bool
	next    []byte
	route   *route
}

// Answer is the resolver's answer to a question as far as the question does not
// say it: whoever has it can answer in the same words as long as the VPC's names
// are in the same state, whose number is Space (View.Spaces).
type Answer struct {
	VNI   vpc.VNI
	Space uint64
	Name  []byte // in wire form and lower case
	Type  uint16

	Authoritative   bool
	Rcode           int
	Answers, Others int // records of the answer and of the authority section
	// Body is what comes after the question, without an OPT record; it is good
	// until the call returns. The last Rotated of its records, of Record bytes
	// each, are one set of addresses, any of which may come first; 0 is none.
	Body            []byte
	Rotated, Record int
}

// keptLabels are more than the names of kept answers have: the datapath's
// programs look at no more.
const keptLabels = 32

// answer looks a question up and writes its records, following CNAMEs within
// the view.
func (s *space) answer(q *query, w *writer) (out local) {
	rrtype := q.rrtype
	if rrtype == dns.TypeANY {
		rrtype = dns.TypeCNAME
	}
	n, at := &q.name, headerBytes // where the message has the name
	var target name
	for hop := 0; ; hop++ {
		if hop > maxChain {
			w.clear()
			return local{rcode: dns.RcodeServerFailure}
		}
		z, inZone := s.zoneOf(n)
		u, inRule := s.ruleOf(n)
		private := z.apex != ""
		if private && u != nil && inRule >= inZone {
			// A rule for the zone's own name, or for one in it, is the more
			// specific one.
			out.forward, out.next, out.route = true, n.b, u
			return out
		}
		if hop == 0 {
			out.authoritative = private
		}
		found, exists := z.find(n)
		cname, chained := found.set(dns.TypeCNAME)
		switch {
		case chained:
			w.set(at, dns.TypeCNAME, cname)
			if rrtype == dns.TypeCNAME || w.cut { // asked again over TCP, the chain is whole
				return out
			}
			target.set(cname.first())
			n, at = &target, len(w.b)-len(target.b)
			continue
		case found.count > 0 || private && exists:
			if !s.records(w, at, found, rrtype) && !(rrtype == dns.TypeSOA && len(n.b) == len(z.apex) && w.soa(false, at, n, z)) {
				w.soa(true, at, n, z)
			}
		case private:
			w.soa(true, at, n, z)
			out.rcode = dns.RcodeNameError
		case u != nil && (!s.privateReverse(n) || s.privateReverse(domainOf(n, inRule))):
			out.forward, out.next, out.route = true, n.b, u
		case s.privateReverse(n):
			w.soa(true, at, n, z)
			if !exists {
				out.rcode = dns.RcodeNameError
			}
		default:
			out.forward, out.next, out.route = true, n.b, u
		}
		return out
	}
}

// domainOf is the domain with so many labels that a name is in.
func domainOf(n *name, labels int) *name {
	var d name
	d.set(n.from(n.n - labels))
	return &d
}

// answerAny answers for any type (RFC 8482): with the CNAME there is, or with
// one small record, whatever there is. The upstreams are not asked. That a name
// of the view does not exist is said as for every other type.
func (s *space) answerAny(q *query, w *writer) local {
	l := s.answer(q, w)
	if l.rcode == dns.RcodeSuccess && w.answers == 0 {
		w.clear()
		w.record(headerBytes, dns.TypeHINFO, 3600, "\x07RFC8482\x00")
		return local{authoritative: l.authoritative}
	}
	return l
}

// records writes a node's records of a type and reports whether there are any.
func (s *space) records(w *writer, at int, n node, rrtype uint16) bool {
	found, ok := n.set(rrtype)
	if ok && found.alias {
		found, ok = s.follow(found, rrtype)
	}
	if !ok || found.count == 0 {
		return false
	}
	w.set(at, rrtype, found)
	return true
}

// follow is the set of records that an alias leads to in this VPC.
func (s *space) follow(alias set, rrtype uint16) (set, bool) {
	var n name
	for to, hop := alias.first(), 0; hop < maxChain; hop++ {
		n.set(to)
		z, _ := s.zoneOf(&n)
		at, _ := z.find(&n)
		found, ok := at.set(rrtype)
		if ok && !found.alias {
			return found, true
		}
		if !ok {
			if found, ok = at.set(dns.TypeCNAME); !ok {
				break
			}
		}
		to = found.first()
	}
	return set{}, false
}

// writer writes the records of one answer, no further than limit.
type writer struct {
	b        []byte
	question int // where the question ends
	limit    int
	cut      bool // not everything fitted
	answers  int
	others   int // records of the authority section
	// The last records, and how long each is, if any of them may come first.
	rotated, each int
}

// clear takes everything back but the question.
func (w *writer) clear() {
	w.b, w.cut, w.answers, w.others, w.rotated, w.each = w.b[:w.question], false, 0, 0, 0, 0
}

// pointer is a name that the message has elsewhere (RFC 1035, 4.1.4).
func pointer(at int) uint16 { return 0xc000 | uint16(at) }

// record writes one record of the answer; false if it does not fit.
func (w *writer) record(owner int, rrtype uint16, ttl uint32, data string) bool {
	if !w.header(owner, rrtype, ttl, len(data)) {
		return false
	}
	w.b = append(w.b, data...)
	w.answers++
	return true
}

func (w *writer) header(owner int, rrtype uint16, ttl uint32, size int) bool {
	if w.cut || len(w.b)+12+size > w.limit {
		w.cut = true
		return false
	}
	w.b = binary.BigEndian.AppendUint16(w.b, pointer(owner))
	w.b = binary.BigEndian.AppendUint16(w.b, rrtype)
	w.b = binary.BigEndian.AppendUint16(w.b, dns.ClassINET)
	w.b = binary.BigEndian.AppendUint32(w.b, ttl)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(size))
	return true
}

// set writes a set of records. Addresses start at a random one, so that clients
// spread over them.
func (w *writer) set(owner int, rrtype uint16, s set) {
	d, first := s.records, 0
	if s.count > 1 && (rrtype == dns.TypeA || rrtype == dns.TypeAAAA) {
		size := len(d) / s.count // all of one length
		first = rand.IntN(s.count) * size
		w.rotated, w.each = s.count, 12-2+size // its length is in both
	}
	at := first
	for range s.count {
		size := int(binary.BigEndian.Uint16(d[at:]))
		if !w.header(owner, rrtype, s.ttl, size) {
			return
		}
		w.b = append(w.b, d[at+2:at+2+size]...)
		w.answers++
		if at += 2 + size; at == len(d) {
			at = 0
		}
	}
}

// soa writes where the zone of a name begins: as the answer, or in the
// authority section with the time a missing name may be remembered. Outside
// zones that is for the name alone.
func (w *writer) soa(authority bool, at int, n *name, z *zone) bool {
	if z.apex != "" {
		at += len(n.b) - len(z.apex)
		if apex, ok := z.table.find([]byte(z.apex)); ok {
			if own, ok := apex.set(dns.TypeSOA); ok && own.count > 0 {
				data := own.first()
				ttl := own.ttl
				if authority {
					ttl = min(ttl, binary.BigEndian.Uint32(data[len(data)-4:]))
				}
				if w.header(at, dns.TypeSOA, ttl, len(data)) {
					w.b = append(w.b, data...)
					w.count(authority)
				}
				return true
			}
		}
	}
	const size = 2 + 13 + 20
	if !w.header(at, dns.TypeSOA, negativeTTL, size) {
		return true
	}
	w.b = binary.BigEndian.AppendUint16(w.b, pointer(at))
	w.b = append(w.b, "\x0ahostmaster"...)
	w.b = binary.BigEndian.AppendUint16(w.b, pointer(at))
	for _, v := range [...]uint32{1, 7200, 900, 1209600, negativeTTL} { // serial, refresh, retry, expire, minimum
		w.b = binary.BigEndian.AppendUint32(w.b, v)
	}
	w.count(authority)
	return true
}

func (w *writer) count(authority bool) {
	if authority {
		w.others++
	} else {
		w.answers++
	}
}
