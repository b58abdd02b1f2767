// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Times for one question to the upstreams. Stub resolvers give up after five
// seconds, so all tries together stay below that.
const (
	tryTimeout     = 1500 * time.Millisecond
	forwardTimeout = 4500 * time.Millisecond
)

// maxForgeries is how many messages that are no answer to it a question over
// UDP puts up with before it is asked over TCP.
const maxForgeries = 8

// maxLowering bounds how many upstreams that change letters are remembered.
const maxLowering = 1024

var (
	// errNoUpstream is when nobody is there to be asked.
	errNoUpstream = errors.New("no upstream resolver is configured")
	// errDoubtful is when what came over UDP may be a forgery.
	errDoubtful = errors.New("it did not answer the question that was asked")
)

// route is where the questions of a forward rule go. It does not change.
type route struct {
	targets []string
	key     string // names the targets
}

// rcodeError is an upstream's answer that it cannot tell.
type rcodeError struct {
	rcode    int
	extended *dns.EDNS0_EDE // why, nil if it did not say
}

func (e *rcodeError) Error() string { return "it answered " + dns.RcodeToString[e.rcode] }

// forwarder asks upstreams, one question at a time for all of a VPC who ask the
// same.
type forwarder struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	cache *cache
	guard *guard // of the targets of forward rules; nil lets all through
	// spawn runs something on its own, unless the resolver is ending.
	spawn func(func()) bool

	mu       sync.Mutex
	calls    map[question]*call
	lowering map[string]bool // upstreams that do not keep letters' case
}

// call is a question on its way.
type call struct {
	done chan struct{} // closed when msg and err are set
	msg  *dns.Msg
	err  error
}

// resolve answers a question from the cache or an upstream. The message is the
// caller's own; old says that its time was over. It returns when ctx ends,
// though the question goes on for others.
func (f *forwarder) resolve(ctx context.Context, upstreams []string, q question) (m *dns.Msg, old bool, err error) {
	kept, state := f.cache.get(q)
	switch state {
	case fresh:
		return kept, false, nil
	case retired:
		return kept, true, nil
	}
	f.mu.Lock()
	c := f.calls[q]
	if c == nil {
		c = &call{done: make(chan struct{})}
		f.calls[q] = c
		f.mu.Unlock()
		// It goes on when the first asker leaves, so nobody's leaving spoils the
		// answer of the others; ctx ends with the resolver.
		if !f.spawn(func() { f.call(ctx, upstreams, q, c) }) {
			f.call(ctx, upstreams, q, c)
		}
	} else {
		f.mu.Unlock()
	}
	var late <-chan time.Time
	if state == stale {
		t := time.NewTimer(staleAfter)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-c.done:
	case <-late:
		return kept, true, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	switch {
	case c.err == nil:
		return c.msg.Copy(), false, nil
	case state == stale:
		return kept, true, nil
	}
	return nil, false, c.err
}

// call asks for all who wait.
func (f *forwarder) call(ctx context.Context, upstreams []string, q question, c *call) {
	c.msg, c.err = f.ask(ctx, upstreams, q)
	if c.err == nil {
		f.cache.put(q, c.msg)
	} else if ctx.Err() == nil && !errors.Is(c.err, errNoUpstream) {
		f.cache.failed(q)
	}
	f.mu.Lock()
	delete(f.calls, q)
	f.mu.Unlock()
	close(c.done)
}

// ask tries the upstreams in order, then once more, until one gives an answer.
func (f *forwarder) ask(ctx context.Context, upstreams []string, q question) (*dns.Msg, error) {
	if len(upstreams) == 0 {
		return nil, errNoUpstream
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	var failed error
	for range 2 {
		for _, u := range upstreams {
			m, err := f.exchange(ctx, u, q)
			if err == nil {
				return m, nil
			}
			failed = fmt.Errorf("upstream %s: %w", u, err)
			if ctx.Err() != nil {
				return nil, failed
			}
		}
	}
	return nil, failed
}

// exchange asks one upstream, over TCP when its answer does not fit UDP or may
// not be its answer.
func (f *forwarder) exchange(ctx context.Context, upstream string, q question) (*dns.Msg, error) {
	if _, _, err := net.SplitHostPort(upstream); err != nil {
		upstream = net.JoinHostPort(upstream, "53")
	}
	f.mu.Lock()
	lowering := f.lowering[upstream]
	f.mu.Unlock()
	asked := dns.Fqdn(q.name)
	if !lowering {
		asked = mixed(asked)
	}
	m, err := f.exchangeOver(ctx, "udp", upstream, asked, q)
	if errors.Is(err, errDoubtful) || err == nil && m.Truncated {
		m, err = f.exchangeOver(ctx, "tcp", upstream, asked, q)
		if err == nil && m.Question[0].Name != asked {
			// Only what comes over TCP is proof that it is the upstream itself
			// that does not keep the case.
			f.mu.Lock()
			if f.lowering == nil || len(f.lowering) >= maxLowering {
				f.lowering = map[string]bool{}
			}
			f.lowering[upstream] = true
			f.mu.Unlock()
		}
	}
	if err != nil {
		return nil, err
	}
	if failed(m) {
		e := &rcodeError{rcode: m.Rcode}
		if opt := m.IsEdns0(); opt != nil {
			for _, o := range opt.Option {
				if ede, ok := o.(*dns.EDNS0_EDE); ok {
					e.extended = ede
				}
			}
		}
		return nil, e
	}
	m.Question = nil
	m.Extra = withoutOPT(m.Extra)
	for _, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if h := rr.Header(); canonical(h.Name) == q.name {
				h.Name = dns.Fqdn(q.name)
			}
		}
	}
	// The library reads some records that are cut, and writes them so that
	// nobody can read them: such an answer is none.
	m.Compress = true
	b, err := m.Pack()
	if err == nil {
		err = new(dns.Msg).Unpack(b)
	}
	if err != nil {
		return nil, fmt.Errorf("its answer cannot be passed on: %w", err)
	}
	return m, nil
}

// mixed is a name whose letters have cases of chance, which an answer repeats:
// one more thing that a forger has to guess.
func mixed(name string) string {
	b := []byte(name)
	for i, c := range b {
		if ('a' <= c && c <= 'z') && rand.Uint32()&1 == 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// exchangeOver asks once. Over UDP the answer has to have the very letters that
// were sent, over TCP only the same name.
func (f *forwarder) exchangeOver(ctx context.Context, network, upstream, asked string, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if q.upstream != "" {
		if err := f.guard.check(q.tenant, upstream); err != nil {
			return nil, err
		}
	}
	raw, err := f.dial(ctx, network, upstream)
	if err != nil {
		return nil, err
	}
	// Every question has its own socket and so its own source port: that and
	// the random id are what makes a forged answer hard to place.
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// Of the asker's options only DO goes on: no client subnet leaves the VPC.
	out := new(dns.Msg).SetQuestion(asked, q.qtype)
	out.CheckingDisabled = q.cd
	out.AuthenticatedData = true
	out.SetEdns0(udpPayload, q.do)
	conn := &dns.Conn{Conn: raw, UDPSize: udpPayload}
	if err := conn.WriteMsg(out); err != nil {
		return nil, err
	}
	for range maxForgeries {
		in, err := conn.ReadMsg()
		var netErr net.Error
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("no answer in time: %w", context.Cause(ctx))
		case err != nil && (network == "tcp" || errors.As(err, &netErr)):
			return nil, err
		case err != nil || in.Id != out.Id || !in.Response:
			// Over UDP that may be a forgery; the right answer may still come.
			if network == "tcp" {
				return nil, errors.New("it answered another question")
			}
			continue
		}
		same := len(in.Question) == 1 && in.Question[0].Qtype == q.qtype && in.Question[0].Qclass == dns.ClassINET &&
			canonical(in.Question[0].Name) == q.name
		switch {
		case network == "tcp" && same:
			return in, nil
		case network == "tcp":
			return nil, errors.New("it answered another question")
		case same && in.Question[0].Name == asked:
			return in, nil
		}
		return nil, errDoubtful
	}
	return nil, errDoubtful
}

func withoutOPT(rrs []dns.RR) []dns.RR {
	out := rrs[:0]
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, rr)
		}
	}
	return out
}
