// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vniA = vpc.FirstVNI
	vniB = vpc.FirstVNI + 1
	vniC = vpc.FirstVNI + 2 // has DNS switched off
)

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

var testVPCs = map[vpc.VNI]desired.VPC{
	vniA: {
		DNS: true, CIDRs: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		PrivateZones: []string{"s3.us-east-1.amazonaws.com", "Corp.Example.", "deep.corp.example"},
		Records: []desired.Record{
			{Name: "s3.us-east-1.amazonaws.com", Addrs: addrs("10.0.1.10", "10.0.2.10", "10.0.3.10"), TTL: 60},
			{Name: "*.s3.us-east-1.amazonaws.com", Addrs: addrs("10.0.1.10"), TTL: 60},
			{Name: "pay.corp.example", CNAME: "vpce-1.svc.us-east-1.vpce.amazonaws.com", TTL: 60},
			{Name: "out.corp.example", CNAME: "www.outside.test", TTL: 60},
			{Name: "loop1.corp.example", CNAME: "loop2.corp.example", TTL: 60},
			{Name: "loop2.corp.example", CNAME: "loop1.corp.example", TTL: 60},
			{Name: "dangling.corp.example", CNAME: "missing.corp.example", TTL: 60},
			{Name: "a.b.c.corp.example", Addrs: addrs("10.0.0.1"), TTL: 60},
			{Name: "*.wild.corp.example", Addrs: addrs("10.0.0.2"), TTL: 60},
			{Name: "exact.wild.corp.example", Addrs: addrs("10.0.0.3"), TTL: 60},
			{Name: "x.deep.corp.example", Addrs: addrs("10.0.0.4", "2001:db8::4"), TTL: 60},
			{Name: "vpce-1.svc.us-east-1.vpce.amazonaws.com", Addrs: addrs("10.0.9.9"), TTL: 60},
			{Name: "5.0.0.10.in-addr.arpa", PTR: "ip-10-0-0-5.ec2.internal", TTL: 60},
		},
	},
	vniB: {DNS: true, Records: []desired.Record{{Name: "s3.us-east-1.amazonaws.com", Addrs: addrs("203.0.113.7"), TTL: 300}}},
	vniC: {DNS: false, Records: []desired.Record{{Name: "s3.us-east-1.amazonaws.com", Addrs: addrs("203.0.113.7"), TTL: 300}}},
}

// compiled is a view of VPCs in which nothing is left out.
func compiled(t testing.TB, vpcs map[vpc.VNI]desired.VPC) *View {
	return Compile(nil, vpcs, nil, loud(t))
}

// loud is a log in which nothing may be written.
func loud(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(failing{t}, nil)) }

type failing struct{ t testing.TB }

func (f failing) Write(b []byte) (int, error) {
	f.t.Errorf("logged: %s", b)
	return len(b), nil
}

// loggerTo writes to a buffer that one test reads.
func loggerTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// bench is a resolver on loopback whose askers are in the VPC it is told.
type bench struct {
	t        *testing.T
	r        *Resolver
	udp, tcp string
	vni      atomic.Uint32 // 0 is nobody
	iface    atomic.Uint64
	inbound  atomic.Bool
	client   atomic.Pointer[netip.AddrPort]
}

func newBench(t *testing.T, upstreams ...string) *bench {
	b := &bench{t: t}
	b.vni.Store(uint32(vniA))
	b.from("10.0.0.5:1000")
	v := compiled(t, testVPCs)
	b.r = New(Options{
		Identify: func(remote, local netip.AddrPort, proto int) (Asker, error) {
			if !remote.Addr().IsLoopback() || local.Port() == 0 || proto != 6 && proto != 17 {
				t.Errorf("identify %v %v %d", remote, local, proto)
			}
			vni := vpc.VNI(b.vni.Load())
			if vni == 0 {
				return Asker{}, errors.New("nobody")
			}
			return Asker{VNI: vni, Client: *b.client.Load(), Interface: b.iface.Load(), Inbound: b.inbound.Load()}, nil
		},
		View:      func() *View { return v },
		Upstreams: func() []string { return upstreams },
	})
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.udp, b.tcp = pc.LocalAddr().String(), l.Addr().String()
	ended := make(chan error, 2)
	go func() { ended <- b.r.ServePacket(pc) }()
	go func() { ended <- b.r.ServeListener(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.r.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return b
}

// from says which address askers have.
func (b *bench) from(client string) {
	a := netip.MustParseAddrPort(client)
	b.client.Store(&a)
}

func (b *bench) exchange(network string, q *dns.Msg) *dns.Msg {
	b.t.Helper()
	c := &dns.Client{Net: network, Timeout: 10 * time.Second}
	to := b.udp
	if network == "tcp" {
		to = b.tcp
	}
	m, _, err := c.Exchange(q, to)
	if err != nil {
		b.t.Fatalf("%v over %s: %v", q.Question, network, err)
	}
	return m
}

func (b *bench) ask(name string, qtype uint16) *dns.Msg {
	b.t.Helper()
	return b.exchange("udp", new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype))
}

// show writes an answer in one line.
func show(m *dns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		out = append(out, f[3]+" "+f[4])
	}
	s := dns.RcodeToString[m.Rcode]
	if len(out) > 0 {
		s += " " + strings.Join(out, ", ")
	}
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA {
			s += " soa " + rr.Header().Name
		}
	}
	return s
}

func TestAnswersFromTheView(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"bucket.s3.us-east-1.amazonaws.com", dns.TypeA, "NOERROR A 10.0.1.10"},
		{"a.b.S3.us-EAST-1.amazonaws.com", dns.TypeA, "NOERROR A 10.0.1.10"},
		{"s3.us-east-1.amazonaws.com", dns.TypeAAAA, "NOERROR soa s3.us-east-1.amazonaws.com."},
		{"s3.us-east-1.amazonaws.com", dns.TypeSOA, "NOERROR SOA s3.us-east-1.amazonaws.com."},
		{"nothing.corp.example", dns.TypeA, "NXDOMAIN soa corp.example."},
		{"corp.example", dns.TypeA, "NOERROR soa corp.example."},
		{"b.c.corp.example", dns.TypeA, "NOERROR soa corp.example."},
		{"x.b.c.corp.example", dns.TypeA, "NXDOMAIN soa corp.example."},
		{"y.wild.corp.example", dns.TypeA, "NOERROR A 10.0.0.2"},
		{"exact.wild.corp.example", dns.TypeA, "NOERROR A 10.0.0.3"},
		{"below.exact.wild.corp.example", dns.TypeA, "NXDOMAIN soa corp.example."},
		{"x.deep.corp.example", dns.TypeAAAA, "NOERROR AAAA 2001:db8::4"},
		{"z.deep.corp.example", dns.TypeA, "NXDOMAIN soa deep.corp.example."},
		{"pay.corp.example", dns.TypeA, "NOERROR CNAME vpce-1.svc.us-east-1.vpce.amazonaws.com., A 10.0.9.9"},
		{"pay.corp.example", dns.TypeCNAME, "NOERROR CNAME vpce-1.svc.us-east-1.vpce.amazonaws.com."},
		{"dangling.corp.example", dns.TypeA, "NXDOMAIN CNAME missing.corp.example. soa corp.example."},
		{"loop1.corp.example", dns.TypeA, "SERVFAIL"},
		{"vpce-1.svc.us-east-1.vpce.amazonaws.com", dns.TypeAAAA, "NOERROR soa vpce-1.svc.us-east-1.vpce.amazonaws.com."},
		{"5.0.0.10.in-addr.arpa", dns.TypePTR, "NOERROR PTR ip-10-0-0-5.ec2.internal."},
		{"6.0.0.10.in-addr.arpa", dns.TypePTR, "NXDOMAIN soa 6.0.0.10.in-addr.arpa."},
		{"0.0.10.in-addr.arpa", dns.TypePTR, "NOERROR soa 0.0.10.in-addr.arpa."},
		{"9.100.51.198.in-addr.arpa", dns.TypePTR, "NXDOMAIN soa 9.100.51.198.in-addr.arpa."},
		{"9.113.0.203.in-addr.arpa", dns.TypePTR, "SERVFAIL"}, // would be forwarded
		{"www.outside.test", dns.TypeA, "SERVFAIL"},
	} {
		if got := show(b.ask(tc.name, tc.qtype)); got != tc.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tc.name, dns.TypeToString[tc.qtype], got, tc.want)
		}
	}
	if m := b.ask("bucket.s3.us-east-1.amazonaws.com", dns.TypeA); !m.Authoritative || !m.RecursionAvailable {
		t.Errorf("flags %+v", m.MsgHdr)
	}
	if m := b.ask("BuCkEt.s3.us-east-1.amazonaws.com", dns.TypeA); m.Question[0].Name != "BuCkEt.s3.us-east-1.amazonaws.com." || m.Answer[0].Header().Name != m.Question[0].Name {
		t.Errorf("letter case is not kept: %v", m)
	}
	b.vni.Store(uint32(vniB))
	if got := show(b.ask("s3.us-east-1.amazonaws.com", dns.TypeA)); got != "NOERROR A 203.0.113.7" {
		t.Errorf("another VPC: %s", got)
	}
	if got := show(b.ask("pay.corp.example", dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("another VPC sees a private name: %s", got)
	}
}

func TestAnyIsAnsweredWithOneRecordOfWhatExists(t *testing.T) {
	b := newBench(t)
	for name, want := range map[string]string{
		"s3.us-east-1.amazonaws.com":              `NOERROR HINFO "RFC8482"`,
		"x.deep.corp.example":                     `NOERROR HINFO "RFC8482"`,
		"b.c.corp.example":                        `NOERROR HINFO "RFC8482"`, // there is something below it
		"pay.corp.example":                        "NOERROR CNAME vpce-1.svc.us-east-1.vpce.amazonaws.com.",
		"nothing.corp.example":                    "NXDOMAIN soa corp.example.",
		"6.0.0.10.in-addr.arpa":                   "NXDOMAIN soa 6.0.0.10.in-addr.arpa.",
		"www.outside.test":                        `NOERROR HINFO "RFC8482"`, // nobody else is asked
		"vpce-1.svc.us-east-1.vpce.amazonaws.com": `NOERROR HINFO "RFC8482"`,
	} {
		if got := show(b.ask(name, dns.TypeANY)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	if m := b.ask("s3.us-east-1.amazonaws.com", dns.TypeANY); !m.Authoritative {
		t.Errorf("flags %+v", m.MsgHdr)
	}
}

func TestAClientOverIPv6IsAnsweredAsOneOverIPv4(t *testing.T) {
	b := newBench(t)
	b.from("[2001:db8:1::5]:1000")
	for qtype, want := range map[uint16]string{dns.TypeA: "NOERROR A 10.0.0.4", dns.TypeAAAA: "NOERROR AAAA 2001:db8::4"} {
		for _, network := range []string{"udp", "tcp"} {
			q := new(dns.Msg).SetQuestion("x.deep.corp.example.", qtype)
			if got := show(b.exchange(network, q)); got != want {
				t.Errorf("over %s: %s, want %s", network, got, want)
			}
		}
	}
	b.r.limiter.mu.Lock()
	defer b.r.limiter.mu.Unlock()
	if len(b.r.limiter.askers) != 1 || b.r.limiter.askers[askerKey{vni: vniA, addr: netip.MustParseAddr("2001:db8:1::5")}] == nil {
		t.Errorf("the share of the asker is counted for %v", b.r.limiter.askers)
	}
}

func TestAddressesRotate(t *testing.T) {
	b := newBench(t)
	first := map[string]int{}
	for range 100 {
		m := b.ask("s3.us-east-1.amazonaws.com", dns.TypeA)
		if len(m.Answer) != 3 {
			t.Fatalf("%v", m)
		}
		first[m.Answer[0].(*dns.A).A.String()]++
	}
	if len(first) != 3 {
		t.Errorf("first of 100 answers: %v", first)
	}
}

func TestWhoGetsNoAnswer(t *testing.T) {
	b := newBench(t)
	marker := new(dns.Msg).SetQuestion("vpce-1.svc.us-east-1.vpce.amazonaws.com.", dns.TypeA)
	c, err := net.Dial("udp", b.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	conn := &dns.Conn{Conn: c}
	// Queries are answered in order, so the answer to a last good one shows
	// that those before it got none.
	silent := func(what string, send func()) {
		t.Helper()
		send()
		b.vni.Store(uint32(vniA))
		marker.Id = dns.Id()
		if err := conn.WriteMsg(marker); err != nil {
			t.Fatal(err)
		}
		if m, err := conn.ReadMsg(); err != nil || m.Id != marker.Id {
			t.Errorf("%s got an answer: %v %v", what, m, err)
		}
	}
	as := func(vni vpc.VNI) func() {
		return func() {
			before := b.r.seen.Load()
			b.vni.Store(uint32(vni))
			conn.WriteMsg(new(dns.Msg).SetQuestion("s3.us-east-1.amazonaws.com.", dns.TypeA))
			for b.r.seen.Load() == before {
				time.Sleep(time.Millisecond)
			}
		}
	}
	silent("an unknown asker", as(0))
	silent("a VPC without DNS", as(vniC))
	silent("a VPC that is not here", as(vpc.FirstVNI+99))
	silent("an answer", func() {
		conn.WriteMsg(new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("corp.example.", dns.TypeA)))
	})
	silent("a short packet", func() { c.Write([]byte{1, 2, 3}) })
}

func TestBadQueriesAreRefusedByCode(t *testing.T) {
	b := newBench(t)
	query := func(change func(*dns.Msg)) *dns.Msg {
		q := new(dns.Msg).SetQuestion("s3.us-east-1.amazonaws.com.", dns.TypeA)
		change(q)
		return q
	}
	for name, tc := range map[string]struct {
		q    *dns.Msg
		want int
	}{
		"update":         {query(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"chaos":          {query(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"transfer":       {query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		"two questions":  {query(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"no question":    {query(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		"EDNS version 1": {query(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"not recursive":  {query(func(m *dns.Msg) { m.Question[0].Name = "outside.test."; m.RecursionDesired = false }), dns.RcodeRefused},
	} {
		if m := b.exchange("udp", tc.q); m.Rcode != tc.want || len(m.Answer) > 0 {
			t.Errorf("%s: %v", name, m)
		}
	}
	raw, err := query(func(*dns.Msg) {}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := b.r.handle(new(scratch), raw[:len(raw)-3], Asker{VNI: vniA}, false)
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil || m.Rcode != dns.RcodeFormatError || len(reply) != headerBytes {
		t.Errorf("a cut query: %v %v", m, err)
	}
}

func TestSizeIsWhatTheAskerCanTake(t *testing.T) {
	vpcs := map[vpc.VNI]desired.VPC{vniA: {DNS: true}}
	v := vpcs[vniA]
	rec := desired.Record{Name: "many.test", TTL: 60}
	for i := range 200 {
		rec.Addrs = append(rec.Addrs, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
	}
	v.Records = []desired.Record{rec}
	vpcs[vniA] = v
	view := compiled(t, vpcs)
	r := New(Options{View: func() *View { return view }})
	defer r.Shutdown(context.Background())
	for _, tc := range []struct {
		edns  uint16
		tcp   bool
		limit int
	}{{0, false, 512}, {100, false, 512}, {900, false, 900}, {65535, false, 1232}, {0, true, 65535}} {
		q := new(dns.Msg).SetQuestion("many.test.", dns.TypeA)
		if tc.edns > 0 {
			q.SetEdns0(tc.edns, false)
		}
		raw, _ := q.Pack()
		reply, _ := r.handle(new(scratch), raw, Asker{VNI: vniA}, tc.tcp)
		m := new(dns.Msg)
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if len(reply) > tc.limit || m.Truncated == tc.tcp || tc.tcp && len(m.Answer) != 200 || !tc.tcp && len(reply) < tc.limit*3/4 {
			t.Errorf("EDNS %d, TCP %t: %d bytes, %d records, TC %t", tc.edns, tc.tcp, len(reply), len(m.Answer), m.Truncated)
		}
		if (m.IsEdns0() != nil) != (tc.edns > 0) {
			t.Errorf("EDNS %d: OPT %v", tc.edns, m.IsEdns0())
		}
	}
}

func TestStreamAnswersSeveralQueries(t *testing.T) {
	b := newBench(t)
	c, err := dns.Dial("tcp", b.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for i := range 3 {
		q := new(dns.Msg).SetQuestion("pay.corp.example.", dns.TypeA)
		if err := c.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
		if m, err := c.ReadMsg(); err != nil || m.Id != q.Id || len(m.Answer) != 2 {
			t.Fatalf("query %d: %v %v", i, m, err)
		}
	}
}

func TestRateIsLimitedPerAsker(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimiter(func() time.Time { return now }, func() int { return PacketsPerSecond })
	a := askerKey{vni: vniA, addr: netip.MustParseAddr("10.0.0.1")}
	other := askerKey{vni: vniB, addr: a.addr}
	passed := 0
	for range 5000 {
		if l.packet(a) {
			passed++
		}
	}
	if passed != PacketsPerSecond {
		t.Errorf("%d packets in no time, want %d", passed, PacketsPerSecond)
	}
	if !l.packet(other) {
		t.Error("the same address in another VPC is held back")
	}
	now = now.Add(500 * time.Millisecond)
	passed = 0
	for range 5000 {
		if l.packet(a) {
			passed++
		}
	}
	if passed != PacketsPerSecond/2 {
		t.Errorf("%d packets after half a second, want %d", passed, PacketsPerSecond/2)
	}
	for i := range forwardsPerAsker {
		if !l.forward(a) {
			t.Fatalf("forward %d refused", i)
		}
	}
	if l.forward(a) || !l.forward(other) {
		t.Error("forwards are not counted by asker")
	}
	l.forwarded(a)
	if !l.forward(a) {
		t.Error("a place that was given back is not free")
	}
	for i := range maxAskers + 10 {
		l.packet(askerKey{vni: vniA, addr: netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	if len(l.askers) > maxAskers {
		t.Errorf("%d askers are remembered", len(l.askers))
	}
}

// scripted are queries that were read at once.
type scripted struct {
	queries [][]byte
	from    []netip.AddrPort
	replies map[int]string
}

func (s *scripted) read() (int, error)                   { return len(s.queries), nil }
func (s *scripted) query(i int) ([]byte, netip.AddrPort) { return s.queries[i], s.from[i] }
func (s *scripted) flush()                               {}
func (s *scripted) send([]byte, netip.AddrPort)          {}
func (s *scripted) local() netip.AddrPort                { return netip.MustParseAddrPort("100.64.0.1:53") }
func (s *scripted) answer(i int, reply []byte) {
	m := new(dns.Msg)
	if m.Unpack(reply) == nil {
		s.replies[i] = show(m)
	}
}

// Queries of several senders come in one batch, each is its sender's.
func TestEachQueryOfABatchIsItsSenders(t *testing.T) {
	view := compiled(t, testVPCs)
	identified := 0
	r := New(Options{View: func() *View { return view }, Identify: func(remote, _ netip.AddrPort, _ int) (Asker, error) {
		identified++
		if remote.Port() == 99 {
			return Asker{}, errors.New("nobody")
		}
		return Asker{VNI: vpc.VNI(remote.Port()), Client: netip.MustParseAddrPort("10.0.0.5:1000")}, nil
	}})
	defer r.Shutdown(context.Background())
	s := &scripted{replies: map[int]string{}}
	for _, port := range []uint16{uint16(vniA), uint16(vniB), uint16(vniB), 99, 99, uint16(vniA), uint16(vniC)} {
		s.queries = append(s.queries, packed(t, "bucket.s3.us-east-1.amazonaws.com", dns.TypeA))
		s.from = append(s.from, netip.AddrPortFrom(netip.MustParseAddr("100.65.0.1"), port))
	}
	var sc scratch
	var last sender
	for i := range s.queries {
		r.packet(s, i, &sc, &last)
	}
	a, b := "NOERROR A 10.0.1.10", "SERVFAIL"
	if want := map[int]string{0: a, 1: b, 2: b, 5: a}; !maps.Equal(s.replies, want) {
		t.Errorf("%v, want %v", s.replies, want)
	}
	if identified != 5 {
		t.Errorf("asked %d times who sent something, want once for each that is another than the one before", identified)
	}
}
