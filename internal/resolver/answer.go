// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	// maxChain bounds how many CNAMEs of a view are followed for one answer.
	maxChain = 8
	// negativeTTL is how long stub resolvers may remember that something is
	// missing, in seconds; short, since endpoints come and go.
	negativeTTL = 10
)

// local is what a view has to say to one question.
type local struct {
	answer []dns.RR
	ns     []dns.RR
	rcode  int
	// authoritative is true if the asked name is in a private zone.
	authoritative bool
	// forward is true if next, the asked name or the end of a chain of CNAMEs
	// in answer, is for the upstreams to resolve.
	forward bool
	next    string
}

// answer looks a name up, following CNAMEs within the view. asked is the name
// as it came, with its case and final dot.
func (s *space) answer(asked string, qtype uint16) local {
	var out local
	name, owner := canonical(asked), asked
	for hop := 0; ; hop++ {
		if hop > maxChain {
			return local{rcode: dns.RcodeServerFailure}
		}
		z := s.zoneOf(name)
		private := z.apex != ""
		if hop == 0 {
			out.authoritative = private
		}
		if private && name == z.apex && qtype == dns.TypeSOA {
			out.answer = append(out.answer, soa(z.apex))
			return out
		}
		n, exists := z.find(name)
		switch {
		case n != nil && n.cname != "":
			out.answer = append(out.answer, &dns.CNAME{Hdr: header(owner, dns.TypeCNAME, n.ttl), Target: dns.Fqdn(n.cname)})
			if qtype == dns.TypeCNAME {
				return out
			}
			name, owner = n.cname, dns.Fqdn(n.cname)
			continue
		case n != nil:
			rrs := n.records(owner, qtype)
			if len(rrs) == 0 {
				out.ns = []dns.RR{soa(negativeOwner(z, name))}
			}
			out.answer = append(out.answer, rrs...)
		case private:
			out.ns = []dns.RR{soa(z.apex)}
			if !exists {
				out.rcode = dns.RcodeNameError
			}
		case s.privateReverse(name):
			out.ns = []dns.RR{soa(name)}
			if !exists {
				out.rcode = dns.RcodeNameError
			}
		default:
			out.forward, out.next = true, name
		}
		return out
	}
}

// answerAny answers for any type (RFC 8482): with the CNAME there is, or with
// one small record, whatever there is. The upstreams are not asked. That a name
// of the view does not exist is said as for every other type.
func (s *space) answerAny(asked string) local {
	l := s.answer(asked, dns.TypeCNAME)
	if l.rcode == dns.RcodeSuccess && len(l.answer) == 0 {
		hinfo := &dns.HINFO{Hdr: header(asked, dns.TypeHINFO, 3600), Cpu: "RFC8482"}
		return local{answer: []dns.RR{hinfo}, authoritative: l.authoritative}
	}
	return l
}

// negativeOwner is whose SOA accompanies a missing type: the zone's, or for a
// record outside zones the name's own, so that caches keep it to that name.
func negativeOwner(z *zone, name string) string {
	if z.apex != "" {
		return z.apex
	}
	return name
}

// records are a node's records of one type under the name that was asked for.
// Addresses start at a random one, so that clients spread over them.
func (n *node) records(owner string, qtype uint16) []dns.RR {
	var out []dns.RR
	switch qtype {
	case dns.TypeA:
		for _, a := range rotated(n.v4) {
			out = append(out, &dns.A{Hdr: header(owner, qtype, n.ttl), A: net.IP(a.AsSlice())})
		}
	case dns.TypeAAAA:
		for _, a := range rotated(n.v6) {
			out = append(out, &dns.AAAA{Hdr: header(owner, qtype, n.ttl), AAAA: net.IP(a.AsSlice())})
		}
	case dns.TypePTR:
		for _, p := range n.ptr {
			out = append(out, &dns.PTR{Hdr: header(owner, qtype, n.ttl), Ptr: dns.Fqdn(p)})
		}
	}
	return out
}

func rotated(addrs []netip.Addr) []netip.Addr {
	if len(addrs) < 2 {
		return addrs
	}
	at := rand.IntN(len(addrs))
	return append(append(make([]netip.Addr, 0, len(addrs)), addrs[at:]...), addrs[:at]...)
}

func header(owner string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// soa says where a zone begins and how long a missing name may be remembered.
func soa(apex string) *dns.SOA {
	apex = dns.Fqdn(apex)
	return &dns.SOA{
		Hdr: header(apex, dns.TypeSOA, negativeTTL), Ns: apex, Mbox: "hostmaster." + apex,
		Serial: 1, Refresh: 7200, Retry: 900, Expire: 1209600, Minttl: negativeTTL,
	}
}
