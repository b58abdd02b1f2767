// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of the cache.
const (
	maxCacheBytes = 16 << 20
	maxTTL        = 24 * 60 * 60
	maxNegative   = 15 * 60
	failureTTL    = 1 // seconds a failure is remembered, so that it is not asked again at once (RFC 9520)
)

// question is what an upstream is asked. Answers of the outside are the same
// for every VPC, so the asker is no part of it.
type question struct {
	name  string // canonical
	qtype uint16
	do    bool // DNSSEC records wanted
	cd    bool // checking disabled
}

// entry is an upstream's answer: a message without header flags, OPT and
// question. It is shared and never changed.
type entry struct {
	msg     *dns.Msg
	stored  time.Time
	expires time.Time
	size    int
}

type cacheItem struct {
	question question
	entry    *entry
}

// cache keeps upstream answers, the least recently used go first.
type cache struct {
	now func() time.Time

	mu    sync.Mutex
	items map[question]*list.Element
	order *list.List // front is the most recently used
	bytes int
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, items: map[question]*list.Element{}, order: list.New()}
}

// get returns a copy of a live answer with its TTLs reduced by its age, or nil.
func (c *cache) get(q question) *dns.Msg {
	c.mu.Lock()
	e := c.items[q]
	if e == nil {
		c.mu.Unlock()
		return nil
	}
	found := e.Value.(*cacheItem).entry
	now := c.now()
	if !now.Before(found.expires) {
		c.remove(e)
		c.mu.Unlock()
		return nil
	}
	c.order.MoveToFront(e)
	c.mu.Unlock()

	m := found.msg.Copy()
	age := uint32(now.Sub(found.stored) / time.Second)
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			h := rr.Header()
			h.Ttl -= min(age, h.Ttl)
		}
	}
	return m
}

// put remembers an answer for as long as it may be; the caller does not change
// m afterwards.
func (c *cache) put(q question, m *dns.Msg) {
	ttl := lifetime(m)
	if ttl == 0 {
		return
	}
	now := c.now()
	e := &entry{msg: m, stored: now, expires: now.Add(time.Duration(ttl) * time.Second), size: m.Len() + len(q.name) + 256}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.items[q]; old != nil {
		c.remove(old)
	}
	c.items[q] = c.order.PushFront(&cacheItem{q, e})
	c.bytes += e.size
	for c.bytes > maxCacheBytes {
		c.remove(c.order.Back())
	}
}

// remove drops an element; the caller holds mu.
func (c *cache) remove(e *list.Element) {
	item := e.Value.(*cacheItem)
	c.order.Remove(e)
	delete(c.items, item.question)
	c.bytes -= item.entry.size
}

// lifetime is how many seconds an answer may be kept, 0 for not at all.
func lifetime(m *dns.Msg) uint32 {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return failureTTL
	case m.Rcode == dns.RcodeNameError || len(m.Answer) == 0:
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				return min(soa.Hdr.Ttl, soa.Minttl, maxNegative)
			}
		}
		return 0 // RFC 2308: without SOA, not cached
	}
	ttl := uint32(maxTTL)
	for _, rr := range m.Answer {
		ttl = min(ttl, rr.Header().Ttl)
	}
	return ttl
}
