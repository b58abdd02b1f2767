// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
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

// udpPayload is what we offer upstreams and the most we send: it crosses every
// path without fragments.
const udpPayload = 1232

// errNoUpstream is when nobody is there to be asked.
var errNoUpstream = errors.New("no upstream resolver is configured")

// forwarder asks upstreams, one question at a time for all who ask the same.
type forwarder struct {
	upstreams func() []string
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	cache     *cache

	mu    sync.Mutex
	calls map[question]*call
}

// call is a question on its way.
type call struct {
	done chan struct{} // closed when msg and err are set
	msg  *dns.Msg
	err  error
}

// resolve answers a question from the cache or an upstream. The message is the
// caller's own. It returns when ctx ends, though the question goes on for others.
func (f *forwarder) resolve(ctx context.Context, q question) (*dns.Msg, error) {
	if m := f.cache.get(q); m != nil {
		return m, nil
	}
	f.mu.Lock()
	c := f.calls[q]
	if c == nil {
		c = &call{done: make(chan struct{})}
		f.calls[q] = c
		f.mu.Unlock()
		// The first asker asks for all; ctx ends with the resolver, not with
		// one asker, so nobody's leaving spoils the answer of the others.
		c.msg, c.err = f.ask(ctx, q)
		if c.err == nil {
			f.cache.put(q, c.msg)
		} else if ctx.Err() == nil && !errors.Is(c.err, errNoUpstream) {
			f.cache.put(q, &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}})
		}
		f.mu.Lock()
		delete(f.calls, q)
		f.mu.Unlock()
		close(c.done)
	} else {
		f.mu.Unlock()
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	return c.msg.Copy(), nil
}

// ask tries the upstreams in order, then once more, until one gives an answer.
func (f *forwarder) ask(ctx context.Context, q question) (*dns.Msg, error) {
	upstreams := f.upstreams()
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

// exchange asks one upstream, over TCP when its answer does not fit UDP.
func (f *forwarder) exchange(ctx context.Context, upstream string, q question) (*dns.Msg, error) {
	if _, _, err := net.SplitHostPort(upstream); err != nil {
		upstream = net.JoinHostPort(upstream, "53")
	}
	m, err := f.exchangeOver(ctx, "udp", upstream, q)
	if err == nil && m.Truncated {
		m, err = f.exchangeOver(ctx, "tcp", upstream, q)
	}
	if err != nil {
		return nil, err
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return nil, fmt.Errorf("it answered %s", dns.RcodeToString[m.Rcode])
	}
	m.Question = nil
	m.Extra = withoutOPT(m.Extra)
	return m, nil
}

func (f *forwarder) exchangeOver(ctx context.Context, network, upstream string, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	raw, err := f.dial(ctx, network, upstream)
	if err != nil {
		return nil, err
	}
	// Every question has its own socket and so its own source port: that and
	// the random id are what makes a forged answer hard to place.
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	out := new(dns.Msg).SetQuestion(dns.Fqdn(q.name), q.qtype)
	out.CheckingDisabled = q.cd
	out.AuthenticatedData = true
	out.SetEdns0(udpPayload, q.do)
	conn := &dns.Conn{Conn: raw, UDPSize: udpPayload}
	if err := conn.WriteMsg(out); err != nil {
		return nil, err
	}
	for {
		in, err := conn.ReadMsg()
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("no answer in time: %w", context.Cause(ctx))
			}
			return nil, err
		}
		if in.Id == out.Id && in.Response && len(in.Question) == 1 &&
			canonical(in.Question[0].Name) == q.name && in.Question[0].Qtype == q.qtype && in.Question[0].Qclass == dns.ClassINET {
			return in, nil
		}
		if network == "tcp" {
			return nil, errors.New("it answered another question")
		}
		// Over UDP it may be somebody else's forgery; the right answer may still come.
	}
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
