// SPDX-License-Identifier: Apache-2.0

// Package tally counts what an edge judged: requests and bytes of every endpoint,
// and its denials by the statement that decided. Unlike the records the counts are
// not put aside: they go on from one edge to the next, in a file.
//
// # Bounds
//
// Tenants make endpoints and write policies, so both are bounded: beyond so many
// endpoints those that were used least recently are added up as one, the others;
// beyond so many statements the least recent of the endpoint's is added to the
// others of that endpoint. Sums stay right, and what goes on counting never falls
// but for what became one of the others.
//
// # The file
//
// A file has two slots of slotSize bytes. Each holds a line with a number, a length and
// a checksum, and then the counts as JSON. The one with the higher number is in force;
// a write goes to the other, and counts when all of it is there. So whoever dies while
// it writes leaves what was written before. One process writes at a time; anybody may
// read meanwhile.
package tally

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of policies that deny. All others are those of who signed.
const (
	ByEndpoint = "endpoint"
	ByIdentity = "identity"
	ByService  = "service" // the service behind the endpoint refused what the others allow
)

// Request is what is counted of a request.
type Request struct {
	Time                   time.Time
	Endpoint, VPC, Service string
	// Allowed says that the policies allow it; Invalid that none was asked.
	Allowed, Invalid bool
	// Error says that the answer was 500 or above, the backend's or the edge's own.
	Error                bool
	Uploaded, Downloaded int64 // bytes of the bodies
	// Denied is what denied it, with a Policy if anything did. Candidate is what the
	// endpoint's candidate policy, there since CandidateSet, would have denied instead.
	Denied, Candidate Statement
	CandidateSet      time.Time
}

// Statement names what decided a denial: which kind of policy, which of the
// statements, counted from 0 and -1 if none did, its Sid, and whether it is a Deny.
type Statement struct {
	Policy    string `json:"policy,omitempty"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
	Explicit  bool   `json:"explicit,omitempty"`
}

// Denial is how often one statement denied.
type Denial struct {
	Statement
	// Candidate says that nothing was denied: the candidate policy that was set at
	// CandidateSet would have.
	Candidate    bool      `json:"candidate,omitempty"`
	CandidateSet time.Time `json:"candidateSet,omitzero"`
	// Others says that these are several, of which each alone is not counted any more.
	Others bool      `json:"others,omitempty"`
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
}

// Endpoint is what was counted of one endpoint.
type Endpoint struct {
	Endpoint string `json:"endpoint,omitempty"`
	VPC      string `json:"vpc,omitempty"`
	Service  string `json:"service,omitempty"`
	// Others says that these are several, of which each alone is not counted any more.
	Others bool `json:"others,omitempty"`
	Counts
	Last    time.Time `json:"last"`              // request
	Denials []Denial  `json:"denials,omitempty"` // the most frequent first
}

// Counts are an endpoint's sums. Every request is one of allowed, denied by the
// endpoint's or the caller's policies, or invalid. What the service denied, and
// errors, were allowed before.
type Counts struct {
	Requests         uint64 `json:"requests"`
	Allowed          uint64 `json:"allowed"`
	Invalid          uint64 `json:"invalid"` // refused before any policy was asked
	DeniedByEndpoint uint64 `json:"deniedByEndpoint"`
	DeniedByIdentity uint64 `json:"deniedByIdentity"`
	DeniedByService  uint64 `json:"deniedByService"`
	// CandidateDenied were allowed, and a candidate policy would have denied them.
	CandidateDenied uint64 `json:"candidateDenied"`
	Errors          uint64 `json:"errors"` // answers of 500 and above
	BytesUploaded   uint64 `json:"bytesUploaded"`
	BytesDownloaded uint64 `json:"bytesDownloaded"`
}

func (c *Counts) add(d Counts) {
	c.Requests += d.Requests
	c.Allowed += d.Allowed
	c.Invalid += d.Invalid
	c.DeniedByEndpoint += d.DeniedByEndpoint
	c.DeniedByIdentity += d.DeniedByIdentity
	c.DeniedByService += d.DeniedByService
	c.CandidateDenied += d.CandidateDenied
	c.Errors += d.Errors
	c.BytesUploaded += d.BytesUploaded
	c.BytesDownloaded += d.BytesDownloaded
}

// Totals are all counts, of the time since they began.
type Totals struct {
	Since     time.Time  `json:"since"`
	Endpoints []Endpoint `json:"endpoints"` // by their ids, the others last
}

// Bounds of a Counter.
const (
	maxEndpoints = 4096
	foldAtOnce   = maxEndpoints / 8 // endpoints: finding the least recent ones takes a while
	maxGroups    = 4096             // in all, beside the others of each endpoint
	maxOwnGroups = 128              // of an endpoint: it cannot take the place of all
	maxSid       = 128
)

// Counter counts. It is safe for concurrent use.
type Counter struct {
	mu        sync.Mutex
	since     time.Time
	endpoints map[key]*endpoint // the others are at key{}
	groups    int               // in all endpoints, without the others of each
	changed   bool              // since the last take
}

// key is what endpoints are told apart by. Each has one service.
type key struct{ endpoint, service string }

type endpoint struct {
	Endpoint // without Denials
	denials  map[group]*Denial
}

// group is what denials are told apart by.
type group struct {
	Statement
	candidate, others bool
	set               int64 // the candidate's time
}

// New begins to count.
func New(since time.Time) *Counter {
	return &Counter{since: since.UTC(), endpoints: map[key]*endpoint{}, changed: true}
}

// Count counts a request.
func (c *Counter) Count(r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = true
	e := c.endpoint(key{r.Endpoint, r.Service}, r.VPC)
	e.Last = later(e.Last, r.Time)
	e.Requests++
	e.BytesUploaded += uint64(max(r.Uploaded, 0))
	e.BytesDownloaded += uint64(max(r.Downloaded, 0))
	if r.Allowed {
		e.Allowed++
	}
	if r.Invalid {
		e.Invalid++
	}
	if r.Error {
		e.Errors++
	}
	switch r.Denied.Policy {
	case "":
	case ByEndpoint:
		e.DeniedByEndpoint++
	case ByService:
		e.DeniedByService++
	default:
		e.DeniedByIdentity++
	}
	if r.Denied.Policy != "" {
		c.denied(e, group{Statement: r.Denied}, 1, r.Time)
	}
	if r.Candidate.Policy != "" {
		e.CandidateDenied++
		g := group{Statement: r.Candidate, candidate: true}
		if !r.CandidateSet.IsZero() {
			g.set = r.CandidateSet.UnixNano()
		}
		c.denied(e, g, 1, r.Time)
	}
}

// endpoint finds or makes an endpoint.
func (c *Counter) endpoint(k key, vpc string) *endpoint {
	if e := c.endpoints[k]; e != nil {
		return e
	}
	others := k == key{}
	if !others && len(c.endpoints) >= maxEndpoints {
		c.foldEndpoints()
	}
	// Clones: what they are cut from may be much larger.
	k = key{strings.Clone(k.endpoint), strings.Clone(k.service)}
	e := &endpoint{denials: map[group]*Denial{}}
	e.Endpoint.Endpoint, e.VPC, e.Service, e.Others = k.endpoint, strings.Clone(vpc), k.service, others
	c.endpoints[k] = e
	return e
}

// foldEndpoints makes those that were used least recently one of the others.
func (c *Counter) foldEndpoints() {
	var list []*endpoint
	for _, e := range c.endpoints {
		if !e.Others {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *endpoint) int { return a.Last.Compare(b.Last) })
	others := c.endpoint(key{}, "")
	for _, e := range list[:foldAtOnce] {
		delete(c.endpoints, key{e.Endpoint.Endpoint, e.Service})
		others.add(e.Counts)
		others.Last = later(others.Last, e.Last)
		for g, d := range e.denials {
			if !g.others {
				c.groups--
			}
			c.denied(others, group{candidate: g.candidate, others: true}, d.Count, d.Last)
		}
	}
}

// denied counts denials of an endpoint, as one of its others if there is no room.
func (c *Counter) denied(e *endpoint, g group, n uint64, last time.Time) {
	if len(g.Sid) > maxSid {
		g.Sid = strings.ToValidUTF8(g.Sid[:maxSid], "")
	}
	d := e.denials[g]
	if d == nil && !g.others && (c.groups >= maxGroups || len(e.denials) >= maxOwnGroups) {
		if oldest, ok := e.leastRecent(); ok {
			was := e.denials[oldest]
			delete(e.denials, oldest)
			c.groups--
			c.denied(e, group{candidate: oldest.candidate, others: true}, was.Count, was.Last)
		} else {
			g = group{candidate: g.candidate, others: true}
			d = e.denials[g]
		}
	}
	if d == nil {
		g.Policy, g.Sid = strings.Clone(g.Policy), strings.Clone(g.Sid)
		d = &Denial{Statement: g.Statement, Candidate: g.candidate, Others: g.others}
		if g.others {
			d.Statement.Statement = -1
		} else {
			c.groups++
		}
		if g.set != 0 {
			d.CandidateSet = time.Unix(0, g.set).UTC()
		}
		e.denials[g] = d
	}
	d.Count += n
	d.Last = later(d.Last, last)
}

// leastRecent is the group of an endpoint that denied least recently, without the
// others.
func (e *endpoint) leastRecent() (oldest group, ok bool) {
	for g, d := range e.denials {
		if !g.others && (!ok || d.Last.Before(e.denials[oldest].Last)) {
			oldest, ok = g, true
		}
	}
	return oldest, ok
}

// Add adds what was counted before.
func (c *Counter) Add(before Totals) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !before.Since.IsZero() && before.Since.Before(c.since) {
		c.since = before.Since
	}
	for _, b := range before.Endpoints {
		c.changed = true
		e := c.endpoint(key{b.Endpoint, b.Service}, b.VPC)
		e.add(b.Counts)
		e.Last = later(e.Last, b.Last)
		for _, d := range b.Denials {
			g := group{Statement: d.Statement, candidate: d.Candidate, others: d.Others}
			if g.others {
				g.Statement = Statement{}
			}
			if !d.CandidateSet.IsZero() {
				g.set = d.CandidateSet.UnixNano()
			}
			c.denied(e, g, d.Count, d.Last)
		}
	}
}

// Totals are the counts of now.
func (c *Counter) Totals() Totals {
	t, _ := c.copy(false)
	return t
}

// take are the counts of now, and whether they have changed since the last take.
func (c *Counter) take() (Totals, bool) { return c.copy(true) }

func (c *Counter) copy(take bool) (Totals, bool) {
	c.mu.Lock()
	if take && !c.changed {
		c.mu.Unlock()
		return Totals{}, false
	}
	c.changed = c.changed && !take
	t := Totals{Since: c.since, Endpoints: make([]Endpoint, 0, len(c.endpoints))}
	for _, e := range c.endpoints {
		out := e.Endpoint
		out.Denials = make([]Denial, 0, len(e.denials))
		for _, d := range e.denials {
			out.Denials = append(out.Denials, *d)
		}
		t.Endpoints = append(t.Endpoints, out)
	}
	c.mu.Unlock()
	slices.SortFunc(t.Endpoints, func(a, b Endpoint) int {
		if a.Others != b.Others {
			return compareBool(a.Others, b.Others)
		}
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Service, b.Service))
	})
	for _, e := range t.Endpoints {
		slices.SortFunc(e.Denials, compareDenials)
	}
	return t, true
}

// compareDenials orders by count, and then in some way that is always the same.
func compareDenials(a, b Denial) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last), compareBool(a.Others, b.Others), compareBool(a.Candidate, b.Candidate),
		a.CandidateSet.Compare(b.CandidateSet), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Statement.Statement, b.Statement.Statement),
		cmp.Compare(a.Sid, b.Sid), compareBool(a.Explicit, b.Explicit))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
