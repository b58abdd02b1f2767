// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func targets(s ...string) (out []netip.AddrPort) {
	for _, t := range s {
		out = append(out, netip.MustParseAddrPort(t))
	}
	return out
}

// dialTo leads the addresses of rules to servers on loopback.
func dialTo(servers map[string]*upstream) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		u := servers[address]
		if u == nil {
			return nil, fmt.Errorf("nobody is at %s", address)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, u.addr)
	}
}

func TestTheLongestRuleSendsAQuestion(t *testing.T) {
	servers := map[string]*upstream{}
	at := func(address, answer string) { servers[address] = newUpstream(t, record("@ 60 IN A "+answer)) }
	at("192.0.2.1:53", "203.0.113.1")
	at("192.0.2.2:5353", "203.0.113.2")
	at("192.0.2.3:53", "203.0.113.3")
	at("192.0.2.9:53", "203.0.113.9") // the host's
	vpcs := map[vpc.VNI]desired.VPC{
		vniA: {
			DNS: true, PrivateZones: []string{"zone.corp.test", "equal.test", "above.test"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
			Records: []desired.Record{
				{Name: "www.zone.corp.test", Addrs: addrs("10.0.0.1"), TTL: 60},
				{Name: "www.equal.test", Addrs: addrs("10.0.0.2"), TTL: 60},
				{Name: "vpce.amazonaws.com", Addrs: addrs("10.0.0.3"), TTL: 60},
				{Name: "to.zone.corp.test", CNAME: "x.deep.corp.test", TTL: 60},
			},
			Forwards: []desired.Forward{
				{Domain: "corp.test", Targets: targets("192.0.2.1:53")},
				{Domain: "deep.corp.test", Targets: targets("192.0.2.2:5353")},
				{Domain: "open.deep.corp.test"}, // SYSTEM
				{Domain: "equal.test", Targets: targets("192.0.2.1:53")},
				{Domain: "part.above.test", Targets: targets("192.0.2.1:53")},
				{Domain: "0.10.in-addr.arpa", Targets: targets("192.0.2.1:53")},
				{Domain: "", Targets: targets("192.0.2.3:53")},
				{Domain: "down.test", Targets: targets("192.0.2.77:53", "192.0.2.2:5353")},
				{Domain: "own.test", Targets: targets("127.0.0.1:53", "169.254.169.253:53", "[::1]:53", "224.0.0.1:53", "0.0.0.0:53", "[fe80::1]:53", "192.0.2.1:0")},
			},
		},
		vniB: {DNS: true},
	}
	var said strings.Builder
	a := newAsking(t, Compile(nil, vpcs, nil, loggerTo(&said)), Options{
		Dial: dialTo(servers), Upstreams: func() []string { return []string{"192.0.2.9"} },
	})
	for _, tc := range []struct {
		vni        vpc.VNI
		name, want string
	}{
		{vniA, "corp.test", "NOERROR A 203.0.113.1"},
		{vniA, "www.corp.test", "NOERROR A 203.0.113.1"},
		{vniA, "xcorp.test", "NOERROR A 203.0.113.3"},
		{vniA, "www.DEEP.corp.test", "NOERROR A 203.0.113.2"},
		{vniA, "www.open.deep.corp.test", "NOERROR A 203.0.113.9"},
		{vniA, "www.zone.corp.test", "NOERROR A 10.0.0.1"},          // the zone is more specific
		{vniA, "no.zone.corp.test", "NXDOMAIN soa zone.corp.test."}, // and its own
		{vniA, "www.equal.test", "NOERROR A 203.0.113.1"},           // the rule wins
		{vniA, "www.part.above.test", "NOERROR A 203.0.113.1"},
		{vniA, "www.above.test", "NXDOMAIN soa above.test."},
		{vniA, "vpce.amazonaws.com", "NOERROR A 10.0.0.3"},
		{vniA, "to.zone.corp.test", "NOERROR CNAME x.deep.corp.test., A 203.0.113.2"},
		{vniA, "1.0.0.10.in-addr.arpa", "NOERROR A 203.0.113.1"},
		{vniA, "1.0.1.10.in-addr.arpa", "NXDOMAIN soa 1.0.1.10.in-addr.arpa."},
		{vniA, "1.100.51.198.in-addr.arpa", "NXDOMAIN soa 1.100.51.198.in-addr.arpa."},
		{vniA, "www.down.test", "NOERROR A 203.0.113.2"},
		{vniA, "www.own.test", "SERVFAIL"},
		{vniA, "elsewhere.test", "NOERROR A 203.0.113.3"},
		{vniB, "www.corp.test", "NOERROR A 203.0.113.9"},
	} {
		if got := a.ask(Asker{VNI: tc.vni}, tc.name, dns.TypeA); got != tc.want {
			t.Errorf("%s in %d: %s, want %s", tc.name, tc.vni, got, tc.want)
		}
	}
	if n := strings.Count(said.String(), "is not asked"); n != 7 {
		t.Errorf("%d targets were refused:\n%s", n, said.String())
	}
	// Another rule's answers are not this one's.
	v := vpcs[vniA]
	v.Forwards = slices.Clone(v.Forwards)
	v.Forwards[0].Targets = targets("192.0.2.3:53")
	a.view = Compile(a.view, map[vpc.VNI]desired.VPC{vniA: v}, nil, loggerTo(&said))
	if got := a.ask(Asker{VNI: vniA}, "www.corp.test", dns.TypeA); got != "NOERROR A 203.0.113.3" {
		t.Errorf("after the rule was changed: %s", got)
	}
}

// asked remembers the questions an upstream got.
type asked struct {
	mu   sync.Mutex
	msgs []*dns.Msg
}

func (a *asked) add(q *dns.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.msgs = append(a.msgs, q.Copy())
}

func (a *asked) all() []*dns.Msg {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.msgs)
}

func TestOnlyTheQuestionGoesOut(t *testing.T) {
	var got asked
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		got.add(q)
		m := record("@ 60 IN A 203.0.113.1")(q, tcp)
		m.AuthenticatedData = true
		return m
	})
	b := newBench(t, u.addr)
	query := func(do, cd, ad bool) *dns.Msg {
		q := new(dns.Msg).SetQuestion("www.outside.test.", dns.TypeA)
		q.SetEdns0(4096, do)
		q.CheckingDisabled, q.AuthenticatedData = cd, ad
		opt := q.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IP{10, 0, 0, 0}},
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"})
		return q
	}
	for i, c := range []struct{ do, cd, ad bool }{{false, false, false}, {true, false, false}, {false, true, false}, {true, true, true}, {false, false, true}} {
		m := b.exchange("udp", query(c.do, c.cd, c.ad))
		if m.CheckingDisabled != c.cd || m.IsEdns0().Do() != c.do || m.AuthenticatedData != (c.do || c.ad) || len(m.IsEdns0().Option) > 0 {
			t.Errorf("%+v is answered %v", c, m)
		}
		if n := len(got.all()); n != min(i+1, 4) { // the last has the answer of the first
			t.Errorf("%+v: %d questions to the upstream", c, n)
		}
	}
	names := map[string]bool{}
	for i, c := range []struct{ do, cd bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		q := got.all()[i]
		opt := q.IsEdns0()
		if opt.Do() != c.do || q.CheckingDisabled != c.cd || !q.AuthenticatedData || len(opt.Option) > 0 || opt.UDPSize() != udpPayload {
			t.Errorf("the upstream was asked %v", q)
		}
		names[q.Question[0].Name] = true
		if !strings.EqualFold(q.Question[0].Name, "www.outside.test.") {
			t.Errorf("the upstream was asked for %s", q.Question[0].Name)
		}
	}
	if len(names) < 2 {
		t.Errorf("four questions had the same letters: %v", names)
	}
}

// What a forger would have to guess is another with each question: the port it
// comes from, its id and its letters' case.
func TestEveryQuestionHasItsOwnPortAndID(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const questions = 64
	ports, ids := map[string]int{}, map[uint16]int{}
	var mu sync.Mutex
	var done sync.WaitGroup
	defer done.Wait()
	defer pc.Close()
	done.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			mu.Lock()
			ports[from.String()]++
			ids[q.Id]++
			mu.Unlock()
			b, _ := record("@ 60 IN A 203.0.113.1")(q, false).Pack()
			pc.WriteTo(b, from)
		}
	})
	b := newBench(t, pc.LocalAddr().String())
	for i := range questions {
		if got := show(b.ask(fmt.Sprintf("www%d.outside.test", i), dns.TypeA)); got != "NOERROR A 203.0.113.1" {
			t.Fatal(got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	// A few may be the same by chance.
	if len(ports) < questions*3/4 || len(ids) < questions*3/4 {
		t.Errorf("%d questions came from %d ports with %d ids", questions, len(ports), len(ids))
	}
	var low, high int
	for p := range ports {
		n := int(netip.MustParseAddrPort(p).Port())
		if low == 0 || n < low {
			low = n
		}
		high = max(high, n)
	}
	if high-low < 1000 {
		t.Errorf("the ports are all between %d and %d", low, high)
	}
}

// What an upstream says beside its answer is passed on with it and answers no
// other question, of this VPC or another.
func TestOnlyTheAnswerToTheQuestionIsLearnt(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		m := record("@ 60 IN A 203.0.113.1")(q, tcp)
		if strings.EqualFold(q.Question[0].Name, "evil.outside.test.") {
			m.Answer = append(m.Answer, mustRR("bank.outside.test. 600 IN A 192.0.2.66"))
			m.Ns = []dns.RR{mustRR("outside.test. 600 IN NS bank.outside.test.")}
			m.Extra = []dns.RR{mustRR("bank.outside.test. 600 IN A 192.0.2.66"), mustRR("pay.corp.example. 600 IN A 192.0.2.66")}
		}
		return m
	})
	b := newBench(t, u.addr)
	b.ask("evil.outside.test", dns.TypeA)
	for _, vni := range []vpc.VNI{vniA, vniB} {
		b.vni.Store(uint32(vni))
		before := u.queries.Load()
		if got := show(b.ask("bank.outside.test", dns.TypeA)); got != "NOERROR A 203.0.113.1" || u.queries.Load() != before+1 {
			t.Errorf("VPC %d: %s after %d questions", vni, got, u.queries.Load()-before)
		}
	}
	b.vni.Store(uint32(vniA))
	if got := show(b.ask("pay.corp.example", dns.TypeA)); got != "NOERROR CNAME vpce-1.svc.us-east-1.vpce.amazonaws.com., A 10.0.9.9" {
		t.Errorf("a private name: %s", got)
	}
}

// An upstream that makes letters small is known by what it says over TCP, and
// then asked in small letters.
func TestAnUpstreamThatChangesLettersIsAskedInSmallOnes(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		q.Question[0].Name = strings.ToLower(q.Question[0].Name)
		return record("@ 60 IN A 203.0.113.1")(q, tcp)
	})
	b := newBench(t, u.addr)
	for i := range 3 {
		name := strings.Repeat("letters", 5) + fmt.Sprint(i) + ".outside.test"
		if got := show(b.ask(name, dns.TypeA)); got != "NOERROR A 203.0.113.1" || u.overTCP.Load() != 1 || u.queries.Load() != int64(i+2) {
			t.Errorf("question %d: %s, %d over TCP of %d", i, got, u.overTCP.Load(), u.queries.Load())
		}
	}
}

// A forger who guesses the port and the id and not the letters gets nowhere.
func TestAForgedAnswerIsNotBelieved(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		if tcp {
			return record("@ 60 IN A 203.0.113.1")(q, tcp)
		}
		q.Question[0].Name = strings.ToLower(q.Question[0].Name)
		return record("@ 60 IN A 192.0.2.66")(q, tcp)
	})
	b := newBench(t, u.addr)
	for i := range 2 {
		name := strings.Repeat("letters", 5) + fmt.Sprint(i) + ".outside.test"
		if got := show(b.ask(name, dns.TypeA)); got != "NOERROR A 203.0.113.1" || u.overTCP.Load() != int64(i+1) {
			t.Errorf("%s, %d over TCP", got, u.overTCP.Load())
		}
	}
}

// A flood of answers with wrong ids, before the right one, is not waited out.
func TestManyForgeriesAreAskedAboutOverTCP(t *testing.T) {
	pc, l := bothOnLoopback(t)
	var done sync.WaitGroup
	defer done.Wait()
	started := make(chan struct{})
	srv := &dns.Server{Listener: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		w.WriteMsg(record("@ 60 IN A 203.0.113.1")(q, true))
	})}
	done.Go(func() { srv.ActivateAndServe() })
	<-started
	defer srv.Shutdown()
	defer pc.Close()
	done.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			m := record("@ 60 IN A 192.0.2.66")(q, false)
			for range 2 * maxForgeries {
				m.Id++
				b, _ := m.Pack()
				pc.WriteTo(b, from)
			}
		}
	})
	b := newBench(t, pc.LocalAddr().String())
	begin := time.Now()
	if got := show(b.ask("www.outside.test", dns.TypeA)); got != "NOERROR A 203.0.113.1" || time.Since(begin) > tryTimeout {
		t.Errorf("%s after %s", got, time.Since(begin))
	}
}

func TestOldAnswersAreGivenWhileUpstreamsFail(t *testing.T) {
	var broken sync.Map
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		if _, ok := broken.Load("now"); ok {
			return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		}
		m := record("@ 60 IN A 203.0.113.1")(q, tcp)
		m.AuthenticatedData = true
		return m
	})
	b := newBench(t, u.addr)
	start := time.Unix(100_000, 0)
	var mu sync.Mutex
	now := start
	b.r.forwarder.cache.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	at := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = start.Add(d) }
	ask := func() (*dns.Msg, uint16) {
		t.Helper()
		q := new(dns.Msg).SetQuestion("www.outside.test.", dns.TypeA)
		q.SetEdns0(1232, false)
		q.AuthenticatedData = true
		m := b.exchange("udp", q)
		for _, o := range m.IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return m, e.InfoCode
			}
		}
		return m, 0xffff
	}
	if m, _ := ask(); !m.AuthenticatedData {
		t.Errorf("%v", m)
	}
	broken.Store("now", true)
	at(61 * time.Second)
	for range 2 {
		m, ede := ask()
		if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || m.Answer[0].Header().Ttl != staleTTL || ede != dns.ExtendedErrorCodeStaleAnswer || m.AuthenticatedData {
			t.Fatalf("%v", m)
		}
		if n := u.queries.Load(); n != 3 { // the first, and two tries that failed
			t.Fatalf("%d queries", n)
		}
	}
	at(61*time.Second + staleRetry)
	if _, ede := ask(); ede != dns.ExtendedErrorCodeStaleAnswer || u.queries.Load() != 5 {
		t.Errorf("asked anew after %s: %d queries", staleRetry, u.queries.Load())
	}
	at(60*time.Second + maxStale)
	if m, _ := ask(); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("after %s: %v", maxStale, m)
	}
	broken.Delete("now")
	at(61*time.Second + maxStale + failureTTL*time.Second)
	if m, ede := ask(); m.Rcode != dns.RcodeSuccess || m.Answer[0].Header().Ttl != 60 || ede != 0xffff {
		t.Errorf("when it answers again: %v", m)
	}
}

func TestOldAnswerComesBeforeASlowUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &forwarder{
			dial: func(context.Context, string, string) (net.Conn, error) {
				<-release
				return nil, errors.New("unreachable")
			},
			cache: newCache(time.Now), spawn: func(f func()) bool { go f(); return true }, calls: map[question]*call{},
		}
		q := question{name: "www.outside.test", qtype: dns.TypeA}
		f.cache.put(q, &dns.Msg{Answer: []dns.RR{mustRR("www.outside.test. 5 IN A 203.0.113.1")}})
		time.Sleep(6 * time.Second)
		begin := time.Now()
		m, old, err := f.resolve(context.Background(), []string{"192.0.2.53"}, q)
		if err != nil || !old || len(m.Answer) != 1 || time.Since(begin) != staleAfter {
			t.Errorf("%v %t %v after %s", m, old, err, time.Since(begin))
		}
		close(release)
		synctest.Wait()
	})
}

func TestWhyAnUpstreamFailedIsPassedOn(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, _ bool) *dns.Msg {
		m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "no RRSIG" + strings.Repeat("!", 500)}}
		return m
	})
	b := newBench(t, u.addr)
	q := new(dns.Msg).SetQuestion("www.outside.test.", dns.TypeA)
	q.SetEdns0(1232, false)
	m := b.exchange("udp", q)
	e, ok := m.IsEdns0().Option[0].(*dns.EDNS0_EDE)
	if m.Rcode != dns.RcodeServerFailure || !ok || e.InfoCode != dns.ExtendedErrorCodeDNSBogus || !strings.HasPrefix(e.ExtraText, "no RRSIG") || len(e.ExtraText) > 100 {
		t.Errorf("%v", m)
	}
}

func TestWhatIsOverTheRateIsDroppedAndCounted(t *testing.T) {
	b := newBench(t)
	b.r.o.Rate = func() int { return 3 }
	b.r.limiter.rate = b.r.o.Rate
	frozen := time.Unix(1000, 0)
	b.r.limiter.now = func() time.Time { return frozen }
	b.iface.Store(77)
	b.inbound.Store(true)
	b.from("10.0.0.1:1000")
	c, err := dns.Dial("udp", b.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sent = 10
	for range sent {
		before := b.r.seen.Load()
		if err := c.WriteMsg(new(dns.Msg).SetQuestion("corp.example.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		for b.r.seen.Load() == before {
			time.Sleep(time.Millisecond)
		}
	}
	drops := b.r.Drops()
	if len(drops) != 1 {
		t.Fatalf("%+v", drops)
	}
	d := drops[0]
	if d.Interface != 77 || d.Reason != OverRate || d.Packets != sent-3 || d.Bytes != 30*(sent-3) || d.VNI != vniA || d.Protocol != vpc.UDP || d.Source.String() != "10.0.0.1:1000" || d.Last.IsZero() {
		t.Errorf("%+v", d)
	}
	b.from("10.0.0.2:1000")
	if got := show(b.ask("exact.wild.corp.example", dns.TypeA)); got != "NOERROR A 10.0.0.3" {
		t.Errorf("another asker of the endpoint: %s", got)
	}
	// What comes to the VPC's own resolver, the datapath has counted; over TCP, a
	// packet may have had many questions.
	b.from("10.0.0.1:1000")
	b.inbound.Store(false)
	for range sent {
		if got := show(b.ask("exact.wild.corp.example", dns.TypeA)); got != "NOERROR A 10.0.0.3" {
			t.Errorf("the VPC's own resolver: %s", got)
		}
	}
	over := dns.Client{Net: "tcp"}
	for i := range sent {
		_, _, err := over.Exchange(new(dns.Msg).SetQuestion("corp.example.", dns.TypeA), b.tcp)
		if (err == nil) != (i < 3) {
			t.Errorf("message %d over TCP: %v", i, err)
		}
	}
	// The next start goes on from there, and the oldest make room.
	d.Interface, d.Last = 5, d.Last.Add(-time.Hour)
	more := newDrops(time.Now, append(drops, d))
	more.count(Asker{Interface: 77}, vpc.UDP, 1, OverRate)
	for i := range maxDrops - 1 {
		more.count(Asker{Interface: uint64(1000 + i)}, vpc.UDP, 1, OverStreams)
	}
	list := more.list()
	if len(list) != maxDrops || list[0].Interface != 77 || list[0].Packets != sent-3+1 {
		t.Errorf("%d, the first is %+v", len(list), list[0])
	}
}
