// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// upstream is a resolver of the outside on loopback, UDP and TCP on one port.
type upstream struct {
	addr    string
	queries atomic.Int64
	overTCP atomic.Int64
}

// bothOnLoopback are a UDP and a TCP socket with one port. What is free of the
// one kind may be in use of the other.
func bothOnLoopback(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var failed error
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		pc.Close()
		failed = err
	}
	t.Fatal(failed)
	return nil, nil
}

func newUpstream(t *testing.T, answer func(q *dns.Msg, tcp bool) *dns.Msg) *upstream {
	t.Helper()
	pc, l := bothOnLoopback(t)
	u := &upstream{addr: pc.LocalAddr().String()}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_, tcp := w.RemoteAddr().(*net.TCPAddr)
		u.queries.Add(1)
		if tcp {
			u.overTCP.Add(1)
		}
		if m := answer(q, tcp); m != nil {
			w.WriteMsg(m)
		}
	})
	var ready, done sync.WaitGroup
	t.Cleanup(done.Wait) // runs after the cleanups below
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		ready.Add(1)
		s.NotifyStartedFunc = ready.Done
		done.Go(func() { s.ActivateAndServe() })
		t.Cleanup(func() { s.Shutdown() })
	}
	ready.Wait()
	return u
}

// record answers with one record in zone file form, or NXDOMAIN for "".
func record(text string) func(*dns.Msg, bool) *dns.Msg {
	return func(q *dns.Msg, _ bool) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if text == "" {
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{mustRR("test. 300 IN SOA ns.test. host.test. 1 1 1 1 30")}
			return m
		}
		m.Answer = []dns.RR{mustRR(strings.ReplaceAll(text, "@", q.Question[0].Name))}
		return m
	}
}

func mustRR(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		panic(err)
	}
	return rr
}

func TestForwardedAnswersAreCachedForTheirTTL(t *testing.T) {
	u := newUpstream(t, record("@ 100 IN A 203.0.113.9"))
	b := newBench(t, u.addr)
	var ahead atomic.Int64
	b.r.forwarder.cache.now = func() time.Time { return time.Unix(1000+ahead.Load(), 0) }
	ttl := func(name string) uint32 {
		t.Helper()
		m := b.ask(name, dns.TypeA)
		if len(m.Answer) != 1 || m.Answer[0].Header().Name != dns.Fqdn(name) {
			t.Fatalf("%v", m)
		}
		return m.Answer[0].Header().Ttl
	}
	if got := ttl("www.outside.test"); got != 100 {
		t.Errorf("TTL %d, want 100", got)
	}
	ahead.Store(40)
	if got := ttl("WWW.outside.test"); got != 60 || u.queries.Load() != 1 {
		t.Errorf("TTL %d after %d upstream queries, want 60 after 1", got, u.queries.Load())
	}
	b.vni.Store(uint32(vniB))
	if got := ttl("www.outside.test"); got != 100 || u.queries.Load() != 2 {
		t.Errorf("another VPC got a TTL of %d after %d upstream queries: what one learnt says nothing to another", got, u.queries.Load())
	}
	ahead.Store(100)
	b.vni.Store(uint32(vniA))
	if got := ttl("www.outside.test"); got != 100 || u.queries.Load() != 3 {
		t.Errorf("TTL %d after %d upstream queries, want 100 after 3", got, u.queries.Load())
	}
}

func TestMissingNamesAreCachedForTheSOAsTime(t *testing.T) {
	u := newUpstream(t, record(""))
	b := newBench(t, u.addr)
	var ahead atomic.Int64
	b.r.forwarder.cache.now = func() time.Time { return time.Unix(1000+ahead.Load(), 0) }
	for _, step := range []struct{ at, queries int64 }{{0, 1}, {29, 1}, {30, 2}} {
		ahead.Store(step.at)
		if m := b.ask("no.outside.test", dns.TypeA); m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 {
			t.Fatalf("%v", m)
		}
		if n := u.queries.Load(); n != step.queries {
			t.Errorf("%d upstream queries at %d s, want %d", n, step.at, step.queries)
		}
	}
}

func TestNamesOfTheViewAreNeverForwarded(t *testing.T) {
	u := newUpstream(t, record("@ 100 IN A 203.0.113.9"))
	b := newBench(t, u.addr)
	for _, name := range []string{"no.corp.example", "s3.us-east-1.amazonaws.com", "1.0.0.10.in-addr.arpa", "vpce-1.svc.us-east-1.vpce.amazonaws.com"} {
		b.ask(name, dns.TypeTXT)
	}
	if n := u.queries.Load(); n != 0 {
		t.Errorf("%d queries left the VPC", n)
	}
	if got := show(b.ask("out.corp.example", dns.TypeA)); got != "NOERROR CNAME www.outside.test., A 203.0.113.9" {
		t.Errorf("a CNAME to the outside: %s", got)
	}
}

func TestNextUpstreamIsAsked(t *testing.T) {
	broken := newUpstream(t, func(q *dns.Msg, _ bool) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) })
	forged := newUpstream(t, func(q *dns.Msg, _ bool) *dns.Msg {
		m := record("@ 100 IN A 192.0.2.66")(q, false)
		m.Question[0].Name = "other.test."
		return m
	})
	good := newUpstream(t, record("@ 100 IN A 203.0.113.9"))
	b := newBench(t, broken.addr, forged.addr, good.addr)
	if got := show(b.ask("www.outside.test", dns.TypeA)); got != "NOERROR A 203.0.113.9" {
		t.Error(got)
	}
	if broken.queries.Load() != 1 || forged.queries.Load() != 2 || forged.overTCP.Load() != 1 {
		t.Errorf("%d and %d queries, %d over TCP", broken.queries.Load(), forged.queries.Load(), forged.overTCP.Load())
	}
}

func TestTruncatedAnswerIsAskedAgainOverTCP(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		m := record("@ 100 IN A 203.0.113.9")(q, tcp)
		if !tcp {
			m.Truncated, m.Answer = true, nil
		}
		return m
	})
	b := newBench(t, u.addr)
	if got := show(b.ask("www.outside.test", dns.TypeA)); got != "NOERROR A 203.0.113.9" || u.overTCP.Load() != 1 {
		t.Errorf("%s, %d over TCP", got, u.overTCP.Load())
	}
}

func TestSameQuestionsShareOneUpstreamQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		release := make(chan struct{})
		f := &forwarder{
			dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if network != "udp" || address != "192.0.2.53:53" {
					t.Errorf("dial %s %s", network, address)
				}
				dials.Add(1)
				<-release
				return nil, errors.New("unreachable")
			},
			cache: newCache(time.Now), spawn: func(f func()) bool { go f(); return true }, calls: map[question]*call{},
		}
		const askers = 8
		failed := make(chan error, askers)
		ask := func(name string) {
			_, _, err := f.resolve(context.Background(), []string{"192.0.2.53"}, question{name: name, qtype: dns.TypeA})
			failed <- err
		}
		for range askers - 1 {
			go ask("www.outside.test")
		}
		go ask("other.outside.test")
		synctest.Wait()
		if n := dials.Load(); n != 2 {
			t.Errorf("%d questions on their way, want one for each name", n)
		}
		close(release)
		for range askers {
			if err := <-failed; err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Errorf("got %v", err)
			}
		}
		if len(f.calls) != 0 {
			t.Errorf("%d calls are left over", len(f.calls))
		}
	})
}

func TestFailureIsExplainedAndRememberedForASecond(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, _ bool) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeRefused) })
	b := newBench(t, u.addr)
	now := time.Unix(1000, 0)
	b.r.forwarder.cache.now = func() time.Time { return now }
	q := new(dns.Msg).SetQuestion("www.outside.test.", dns.TypeA)
	q.SetEdns0(1232, false)
	m := b.exchange("udp", q)
	opt := m.IsEdns0()
	if m.Rcode != dns.RcodeServerFailure || opt == nil || len(opt.Option) != 1 || opt.Option[0].Option() != dns.EDNS0EDE {
		t.Fatalf("%v", m)
	}
	asked := u.queries.Load()
	if m := b.exchange("udp", q); m.Rcode != dns.RcodeServerFailure || u.queries.Load() != asked {
		t.Errorf("asked again at once: %v", m)
	}

	none := newBench(t)
	if m := none.exchange("udp", q); m.Rcode != dns.RcodeServerFailure || !strings.Contains(m.String(), errNoUpstream.Error()) {
		t.Errorf("without upstreams: %v", m)
	}
}

func TestSlowUpstreamDelaysOnlyItsOwnQuestions(t *testing.T) {
	release := make(chan struct{})
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg { <-release; return record("@ 9 IN A 203.0.113.9")(q, tcp) })
	b := newBench(t, u.addr)
	defer close(release)
	c, err := dns.Dial("udp", b.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 2 * forwardsPerAsker {
		c.WriteMsg(new(dns.Msg).SetQuestion(fmt.Sprintf("slow%d.outside.test.", i), dns.TypeA))
	}
	if got := show(b.ask("exact.wild.corp.example", dns.TypeA)); got != "NOERROR A 10.0.0.3" {
		t.Error(got)
	}
	b.r.limiter.mu.Lock()
	defer b.r.limiter.mu.Unlock()
	if n := b.r.limiter.forwards.all; n != forwardsPerAsker {
		t.Errorf("%d questions wait for an upstream, want %d", n, forwardsPerAsker)
	}
}

// filler is a large answer.
func filler() *dns.Msg {
	return &dns.Msg{Answer: []dns.RR{mustRR("x.test. 100 IN TXT " + strings.Repeat(`"`+strings.Repeat("y", 200)+`" `, 20))}}
}

func TestCacheOfAVPCIsBounded(t *testing.T) {
	c, filler := newCache(time.Now), filler()
	quiet := question{tenant: tenant{vni: vniB}, name: "quiet.test", qtype: dns.TypeTXT}
	c.put(quiet, filler)
	last := question{}
	for i := range 6000 {
		last = question{tenant: tenant{vni: vniA}, name: fmt.Sprintf("n%d.test", i), qtype: dns.TypeTXT}
		c.put(last, filler)
	}
	s := c.shelves[last.tenant]
	if s.bytes > maxTenantBytes || s.bytes < maxTenantBytes/2 || len(s.items) != s.order.Len() {
		t.Errorf("%d bytes in %d items", s.bytes, len(s.items))
	}
	if _, state := c.get(last); state != fresh {
		t.Error("the newest is gone")
	}
	first := last
	first.name = "n0.test"
	if _, state := c.get(first); state != missing {
		t.Error("the oldest did not go first")
	}
	if _, state := c.get(quiet); state != fresh {
		t.Error("one VPC's answers drove out another's")
	}
}

func TestCacheIsBoundedForAllVPCs(t *testing.T) {
	c, filler := newCache(time.Now), filler()
	const busy = 64 // that would fill it four times
	for i := range busy * 1000 {
		q := question{tenant: tenant{vni: vpc.VNI(i % busy)}, name: fmt.Sprintf("n%d.test", i), qtype: dns.TypeTXT}
		c.put(q, filler)
		if c.bytes > maxCacheBytes {
			t.Fatalf("%d bytes after %d answers", c.bytes, i)
		}
	}
	sum := 0
	for _, s := range c.shelves {
		if s.bytes < maxCacheBytes/busy/2 {
			t.Errorf("a VPC has %d bytes", s.bytes)
		}
		sum += s.bytes
	}
	if sum != c.bytes || len(c.shelves) != busy {
		t.Errorf("%d bytes are counted as %d, in %d shelves", sum, c.bytes, len(c.shelves))
	}
	c.keep(compiled(t, map[vpc.VNI]desired.VPC{3: {DNS: true}, 4: {ID: "vpc-other", DNS: true}}))
	if c.shelves[tenant{vni: 3}] == nil || len(c.shelves) != 1 || c.bytes != c.shelves[tenant{vni: 3}].bytes {
		t.Errorf("what is kept of VPCs that are gone: %d shelves, %d bytes", len(c.shelves), c.bytes)
	}
}
