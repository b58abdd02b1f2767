// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"container/list"
	"math"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of the cache.
const (
	// maxCacheBytes is shared evenly by the VPCs that ask, none of which gets
	// more than maxTenantBytes.
	maxCacheBytes  = 64 << 20
	maxTenantBytes = 4 << 20
	maxTTL         = 24 * 60 * 60
	maxNegative    = 15 * 60
	failureTTL     = 1 // seconds a failure is remembered, so that it is not asked again at once (RFC 9520)
)

// Serving answers whose time is over while no upstream gives new ones (RFC 8767).
const (
	maxStale = 24 * time.Hour
	staleTTL = 30 // seconds that askers may keep such an answer
	// staleRetry is how long the upstreams are left alone after they failed.
	staleRetry = 10 * time.Second
	// staleAfter is how long an asker waits for them.
	staleAfter = 1800 * time.Millisecond
)

// question is what an upstream is asked, and for whom. What one VPC learnt says
// nothing to another: neither an answer nor how fast it came.
type question struct {
	tenant tenant
	// upstream names the targets of a forward rule, "" the host's resolvers:
	// another rule's answers are not this one's.
	upstream string
	name     string // canonical
	qtype    uint16
	do       bool // DNSSEC records wanted
	cd       bool // checking disabled
}

// entry is an upstream's answer: a message without header flags, OPT and
// question. The message is shared and never changed.
type entry struct {
	question question
	msg      *dns.Msg
	stored   time.Time
	expires  time.Time
	retry    time.Time // when the upstreams may be asked anew
	size     int
}

// shelf is one VPC's answers, the least recently used go first.
type shelf struct {
	items map[question]*list.Element
	order *list.List // of *entry; front is the most recently used
	bytes int
}

// cache keeps upstream answers, each VPC's apart.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	shelves map[tenant]*shelf
	bytes   int
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, shelves: map[tenant]*shelf{}}
}

// freshness is what can be done with a cached answer.
type freshness int

const (
	missing freshness = iota
	stale             // it may be given if no upstream answers
	retired           // the same, and the upstreams are not to be asked now
	fresh
)

// get returns a copy of an answer with its TTLs reduced by its age.
func (c *cache) get(q question) (*dns.Msg, freshness) {
	c.mu.Lock()
	s := c.shelves[q.tenant]
	if s == nil {
		c.mu.Unlock()
		return nil, missing
	}
	e := s.items[q]
	if e == nil {
		c.mu.Unlock()
		return nil, missing
	}
	found, now := e.Value.(*entry), c.now()
	state := fresh
	if !now.Before(found.expires) {
		if failed(found.msg) || now.Sub(found.expires) >= maxStale {
			c.remove(s, e)
			c.mu.Unlock()
			return nil, missing
		}
		state = stale
		if now.Before(found.retry) {
			state = retired
		}
	}
	s.order.MoveToFront(e)
	c.mu.Unlock()

	m := found.msg.Copy()
	age := uint32(now.Sub(found.stored) / time.Second)
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			h := rr.Header()
			if h.Ttl -= min(age, h.Ttl); state != fresh {
				h.Ttl = staleTTL
			}
		}
	}
	return m, state
}

// put remembers an answer for as long as it may be; the caller does not change
// m afterwards.
func (c *cache) put(q question, m *dns.Msg) {
	ttl := lifetime(m, q.qtype)
	now := c.now()
	e := &entry{question: q, msg: m, stored: now, expires: now.Add(time.Duration(ttl) * time.Second), size: m.Len() + len(q.name) + 512}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shelves[q.tenant]
	if s == nil {
		s = &shelf{items: map[question]*list.Element{}, order: list.New()}
	}
	if old := s.items[q]; old != nil {
		c.remove(s, old)
	}
	if ttl == 0 {
		return
	}
	c.shelves[q.tenant] = s
	s.items[q] = s.order.PushFront(e)
	s.bytes += e.size
	c.bytes += e.size
	c.shrink(s, min(maxTenantBytes, maxCacheBytes/len(c.shelves)))
	for c.bytes > maxCacheBytes {
		largest := s
		for _, other := range c.shelves {
			if other.bytes > largest.bytes {
				largest = other
			}
		}
		c.shrink(largest, largest.bytes/2)
	}
}

// shrink drops a shelf's oldest answers; the caller holds mu.
func (c *cache) shrink(s *shelf, limit int) {
	for s.bytes > limit {
		c.remove(s, s.order.Back())
	}
}

// failed notes that no upstream answered: what is there is given for a while
// before they are asked again. Without anything, the failure is remembered.
func (c *cache) failed(q question) {
	c.mu.Lock()
	if s := c.shelves[q.tenant]; s != nil {
		if e := s.items[q]; e != nil && !failed(e.Value.(*entry).msg) {
			e.Value.(*entry).retry = c.now().Add(staleRetry)
			c.mu.Unlock()
			return
		}
	}
	c.mu.Unlock()
	c.put(q, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}})
}

// keep forgets the answers of the VPCs that are no longer there.
func (c *cache) keep(v *View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, s := range c.shelves {
		if at := v.spaces[t.vni]; at == nil || at.owner != t {
			c.bytes -= s.bytes
			delete(c.shelves, t)
		}
	}
}

// remove drops an answer; the caller holds mu.
func (c *cache) remove(s *shelf, e *list.Element) {
	item := e.Value.(*entry)
	s.order.Remove(e)
	delete(s.items, item.question)
	s.bytes -= item.size
	c.bytes -= item.size
	if len(s.items) == 0 {
		delete(c.shelves, item.question.tenant)
	}
}

func failed(m *dns.Msg) bool {
	return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
}

// lifetime is how many seconds an answer may be kept, 0 for not at all.
func lifetime(m *dns.Msg, qtype uint16) uint32 {
	switch {
	case failed(m):
		return failureTTL
	case m.Rcode == dns.RcodeNameError || noData(m, qtype):
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				return min(soa.Hdr.Ttl, soa.Minttl, maxNegative, lowest(m.Answer))
			}
		}
		return 0 // RFC 2308: without SOA, not cached
	}
	return min(maxTTL, lowest(m.Answer))
}

// noData reports whether an answer has nothing of the type asked for, though
// perhaps the aliases that lead to where it is missing.
func noData(m *dns.Msg, qtype uint16) bool {
	for _, rr := range m.Answer {
		if t := rr.Header().Rrtype; t != dns.TypeCNAME && t != dns.TypeDNAME && t != dns.TypeRRSIG {
			return false
		}
	}
	return len(m.Answer) == 0 || qtype != dns.TypeCNAME && qtype != dns.TypeDNAME && qtype != dns.TypeRRSIG && qtype != dns.TypeANY
}

// lowest is the shortest time to live among records.
func lowest(rrs []dns.RR) uint32 {
	ttl := uint32(math.MaxUint32)
	for _, rr := range rrs {
		ttl = min(ttl, rr.Header().Ttl)
	}
	return ttl
}
