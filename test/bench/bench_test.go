// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/test/bench/stats"
)

func TestQuantileIsTheNearestRank(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	for _, c := range []struct {
		values []int64
		q      float64
		want   int64
	}{
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
		{hundred[:50], 0.99, 50}, {hundred[:1], 0.5, 1}, {nil, 0.5, 0},
	} {
		if got := stats.Quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile of 1..%d at %v is %d, want %d", len(c.values), c.q, got, c.want)
		}
	}
}

func TestSpreadIsMedianAndEnds(t *testing.T) {
	if got, want := stats.SpreadOf([]float64{5, 1, 3}), (stats.Spread{Median: 3, Min: 1, Max: 5}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := stats.SpreadOf([]float64{4, 1, 3, 2}), (stats.Spread{Median: 2.5, Min: 1, Max: 4}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A drift of the machine cancels only if every path stands, on average, in
// the middle of the round.
func TestEveryPathIsOnAverageInTheMiddleOfARound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	orders := map[string]bool{}
	for round := range 20 {
		const n = 5
		sum, count := [n]int{}, [n]int{}
		var order []string
		for k, s := range stats.RoundOrder(rnd, round, n) {
			if s.Position != k || s.Round != round || s.Pass != k/n {
				t.Fatalf("step %d is %+v", k, s)
			}
			sum[s.Path] += s.Position
			count[s.Path]++
			order = append(order, string(rune('A'+s.Path)))
		}
		for p := range n {
			if count[p] != 2 || sum[p] != 2*n-1 {
				t.Fatalf("round %d: path %d is measured %d times, at positions with the sum %d", round, p, count[p], sum[p])
			}
		}
		orders[strings.Join(order, "")] = true
	}
	if len(orders) < 10 {
		t.Errorf("only %d different orders in 20 rounds", len(orders))
	}
}

func streamSample(round, pass int, path string, gbit int64) sample {
	return sample{Round: round, Pass: pass, Path: path, Metric: "stream", measured: measured{Bytes: gbit * 1e9 / 8, Elapsed: 1e9}}
}

// A machine that gets slower from round to round must not change a ratio.
func TestRatiosAreTakenInsideARound(t *testing.T) {
	var samples []sample
	for round, speed := range []int64{80, 40, 20} {
		for pass := range 2 {
			samples = append(samples, streamSample(round, pass, "direct", speed), streamSample(round, pass, "postern", speed/2))
		}
	}
	tb := &table{Name: "t", Samples: samples, paths: []string{"direct", "postern"}, pairs: [][2]string{{"postern", "direct"}, {"postern", "nftables"}}}
	tb.summarise(3)
	if len(tb.Ratios) != 1 || tb.Ratios[0].Cells["1 stream"] != (stats.Spread{Median: 0.5, Min: 0.5, Max: 0.5}) {
		t.Errorf("ratios are %+v, want 0.5 in every round", tb.Ratios)
	}
	if got := tb.Medians["direct"]["1 stream"]; got != (stats.Spread{Median: 40, Min: 20, Max: 80}) {
		t.Errorf("the direct path's values are %+v", got)
	}
	var out bytes.Buffer
	tb.print(&out)
	if !strings.Contains(out.String(), "0.50 (0.50..0.50)") {
		t.Errorf("the table says\n%s", &out)
	}
}

func TestAMissingRoundGivesNoRatio(t *testing.T) {
	samples := []sample{streamSample(0, 0, "direct", 10), streamSample(1, 0, "direct", 10), streamSample(0, 0, "postern", 10)}
	if r := ratios(samples, figureNamed("1 stream"), "postern", "direct", 2); r != nil {
		t.Errorf("got %v", r)
	}
}

func TestFailedConnectionsAreReported(t *testing.T) {
	tb := &table{Samples: []sample{{Path: "postern", measured: measured{Count: 7, Failed: 3, Failure: "no answer"}}, {Path: "direct", measured: measured{Count: 5}}}}
	if f := tb.failures(); len(f) != 1 || !strings.Contains(f[0], "3 failed beside 7") {
		t.Errorf("got %q", f)
	}
}

// loopback starts a server for the generator on a port of 127.0.0.1.
func loopback(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	go serve(int(addr.Port()), false) // until the test program ends
	deadline := time.Now().Add(5 * time.Second)
	for oneConnection(addr) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the server does not answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return addr
}

func TestTheGeneratorMeasuresEveryMetric(t *testing.T) {
	addr := loopback(t)
	if err := swallow(int(addr.Port())); err != nil {
		t.Fatal(err)
	}
	for _, metric := range metrics {
		before, err := swallowed(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		m, err := ask(metric.ask, addr, wish{lasts: 100 * time.Millisecond, limit: 1000, streams: max(1, metric.streams)})
		if err != nil {
			t.Fatal(err)
		}
		if m.Failed > 0 {
			t.Errorf("%s: %d failed: %s", metric.name, m.Failed, m.Failure)
		}
		for _, f := range figures {
			if f.metric == metric.name && !(f.of(m) > 0) {
				t.Errorf("%s: %s is %v", metric.name, f.name, f.of(m))
			}
		}
		switch {
		case metric.ask == "echo" && (m.P50 > m.P99 || m.P50*m.Count > 4*m.Elapsed):
			t.Errorf("echo: %d requests in %d ns with p50 %d and p99 %d", m.Count, m.Elapsed, m.P50, m.P99)
		case metric.ask == "connect" && m.Count > 1000:
			t.Errorf("connect: %d connections, want at most 1000", m.Count)
		case metric.ask == "packets":
			after, err := swallowed(os.Getpid())
			if err != nil || lost(m, after-before) > 0 {
				t.Errorf("packets: %d and %d sent, %d arrived, %v", m.WarmUp, m.Count, after-before, err)
			}
		}
	}
	if _, err := ask("other", addr, wish{lasts: time.Millisecond}); err == nil {
		t.Error("an unknown metric was measured")
	}
}

func TestLostPacketsAreCounted(t *testing.T) {
	for _, x := range []struct{ sent, warmUp, arrived, want int64 }{
		{100_000, 10_000, 110_000, 0}, {100_000, 10_000, 109_995, 0}, {100_000, 10_000, 108_000, 2_000}, {100, 0, 95, 0}, {100, 0, 0, 100},
	} {
		if got := lost(measured{Count: x.sent, WarmUp: x.warmUp}, x.arrived); got != x.want {
			t.Errorf("%+v: %d lost", x, got)
		}
	}
	const table = "Ip: A B\nIp: 1 2\nUdp: InDatagrams RcvbufErrors More\nUdp: 5 77 1\nUdpLite: RcvbufErrors\nUdpLite: 3\n"
	if n, err := udpCounter(table, "RcvbufErrors"); n != 77 || err != nil {
		t.Errorf("the counter is %d, %v", n, err)
	}
	if _, err := udpCounter(table, "Other"); err == nil {
		t.Error("a counter that is not there was found")
	}
}

// A path that should have the PROXY protocol on and has not must not count.
func TestAProxiedServerWantsTheHeader(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	go serve(int(addr.Port()), true) // until the test program ends
	header := append(bytes.Clone(headerBegin), 0x21, 0x11, 0, 12+4)
	header = append(header, make([]byte, 12+4)...)
	answered := func(begin []byte) bool {
		var c net.Conn
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if c, err = net.Dial("tcp4", addr.String()); err == nil || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(append(bytes.Clone(begin), askConnect))
		c.(*net.TCPConn).CloseWrite()
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	if !answered(header) {
		t.Error("a connection with the header is refused")
	}
	version1 := append([]byte("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), make([]byte, 64)...)
	for _, begin := range [][]byte{nil, version1, append(bytes.Clone(headerBegin), 0x11, 0x11, 0, 0)} {
		if answered(begin) {
			t.Errorf("a connection that begins with %q is taken", begin)
		}
	}
}

func TestAimsAreJudgedByTheMedian(t *testing.T) {
	packets := func(round int, path string, ns int64) sample {
		return sample{Round: round, Path: path, Metric: "packets", measured: measured{Count: 1, Elapsed: ns}}
	}
	tb := &table{}
	for round, postern := range []int64{1100, 1200, 2000} { // adds 100, 200 and 1000 to 1000
		tb.Samples = append(tb.Samples, packets(round, "direct", 1000), packets(round, "nftables", 2000), packets(round, "postern", postern))
	}
	got := judge(tb, []aim{
		{figure: "packet", path: "postern", base: "nftables", floor: "direct", limit: 0.2, atMost: true},
		{figure: "packet", path: "postern", base: "nftables", floor: "direct", limit: 0.19, atMost: true},
		{figure: "packet", path: "postern", base: "direct", limit: 1.2},
		{figure: "packet", path: "postern", base: "direct", limit: 1.21},
		{figure: "packet", path: "postern", base: "haproxy", limit: 1},
		{figure: "requests", path: "postern", base: "direct", limit: 1},
	}, 3)
	for i, want := range []judgement{{Reached: true}, {}, {Reached: true}, {}, {Missing: true}, {Missing: true}} {
		if got[i].Reached != want.Reached || got[i].Missing != want.Missing {
			t.Errorf("%s: %+v", got[i].Aim, got[i])
		}
	}
	if want := (stats.Spread{Median: 0.2, Min: 0.1, Max: 1}); got[0].Got != want {
		t.Errorf("what is added is %+v, want %+v", got[0].Got, want)
	}
	for _, a := range append(slices.Clone(mainAims), growthAims...) {
		figureNamed(a.figure) // panics on a name that is none
	}
	var out bytes.Buffer
	printAims(&out, got, 3)
	for _, want := range []string{"proves nothing", "reached", "MISSED", "not measured", "0.20 (0.10..1.00)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

// Filler must not cover what is measured, nor be less than it says.
func TestFillerIsDistinctAndElsewhere(t *testing.T) {
	ours := netip.MustParsePrefix("10.0.0.0/8")
	seen := map[netip.Prefix]bool{}
	blocks := map[netip.Prefix]bool{}
	for _, r := range fillerRoutes(100_000) {
		block, err := r.Prefix.Addr().Prefix(24)
		if err != nil || r.Prefix != r.Prefix.Masked() || blocks[block] || r.Prefix.Overlaps(ours) {
			t.Fatalf("route %v", r.Prefix)
		}
		blocks[block] = true
	}
	for set := range 20 {
		for _, r := range fillerRules(1000, set) {
			p := r.Peers[0]
			if seen[p] || p != p.Masked() || p.Overlaps(ours) || r.From < 1024 || r.To > 65535 {
				t.Fatalf("rule %+v of set %d", r, set)
			}
			seen[p] = true
		}
	}
	h := emptyHost()
	addEndpoints(&h, 3000)
	at := map[string]bool{}
	for _, i := range h.Interfaces {
		at[fmt.Sprint(i.VNI, i.Addr)] = true
	}
	if len(h.Endpoints) != 3000 || len(at) != 3000 {
		t.Errorf("%d endpoints at %d addresses", len(h.Endpoints), len(at))
	}
}

func TestTheFrameOfAConnectionIsWhole(t *testing.T) {
	f := tcpFrame(growStrangerAddr, growSinkAddr, 0x12)
	setPorts(f, 1024, 7)
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(f[i])<<8 | uint32(f[i+1])
	}
	if len(f) != 54 || sum>>16+sum&0xffff != 0xffff || !bytes.Equal(f[34:38], []byte{4, 0, 0, 7}) || f[46] != 5<<4 || f[47] != 0x12 {
		t.Errorf("% x, sum of the header %x", f, sum)
	}
}

// A health check, which says nothing, must not end the server.
func TestTheServerOutlivesASilentConnection(t *testing.T) {
	addr := loopback(t)
	for range 3 {
		c, err := dial(addr, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(c)
	}
	if err := oneConnection(addr); err != nil {
		t.Error(err)
	}
}

// The time of the first byte counts only after the way was closed.
func TestFirstByteSeesTheWayClosedAndThenOpen(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- firstByte(addr, 10*time.Second, w); w.Close() }()
	buf := make([]byte, 64)
	n, err := r.Read(buf)
	if err != nil || string(buf[:n]) != "closed\n" {
		t.Fatalf("it said %q (%v)", buf[:n], err)
	}
	opened := time.Now()
	go serve(int(addr.Port()), false)
	n, err = r.Read(buf)
	if err != nil {
		t.Fatal(err, <-done)
	}
	var ns int64
	if err := json.Unmarshal(buf[:n-1], &ns); err != nil || time.Unix(0, ns).Before(opened) {
		t.Errorf("it said %q, opened at %d", buf[:n], opened.UnixNano())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFirstByteFailsWhenTheWayNeverCloses(t *testing.T) {
	var out bytes.Buffer
	if err := firstByte(loopback(t), 50*time.Millisecond, &out); err == nil || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, &out)
	}
}

// nameServer answers on loopback for any name: with nothing until it is told
// to be there, and then with a CNAME and an address.
func nameServer(t *testing.T) (at netip.AddrPort, there *atomic.Bool) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	there = new(atomic.Bool)
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			m := append([]byte(nil), buf[:n]...)
			m[2] |= 0x80
			if m[3] = 3; there.Load() {
				m[3], m[7] = 0, 2
				m = append(m, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6, 1, 'x', 1, 'y', 1, 'z') // no final root: only its length counts
				m = append(m, 1, 'q', 0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 1, 7)
			}
			c.WriteTo([]byte("\x00\x00 not the answer that was asked for"), from)
			c.WriteTo(m, from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), there
}

// The time of the first answer counts only after the name was absent.
func TestFirstAnswerSeesTheNameAbsentAndThenThere(t *testing.T) {
	at, there := nameServer(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- firstAnswer(at, privateName, 10*time.Second, w); w.Close() }()
	lines := bufio.NewReader(r)
	if line, err := lines.ReadString('\n'); err != nil || line != "absent\n" {
		t.Fatalf("it said %q (%v)", line, err)
	}
	came := time.Now()
	there.Store(true)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err, <-done)
	}
	var ns int64
	var addr string
	if _, err := fmt.Sscan(line, &ns, &addr); err != nil || time.Unix(0, ns).Before(came) || addr != "10.0.1.7" {
		t.Errorf("it said %q, there since %d", line, came.UnixNano())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFirstAnswerFailsWhenTheNameNeverGoesOrComes(t *testing.T) {
	at, there := nameServer(t)
	var out bytes.Buffer
	if err := firstAnswer(at, privateName, 50*time.Millisecond, &out); err == nil || out.String() != "absent\n" {
		t.Errorf("error %v, output %q", err, &out)
	}
	out.Reset()
	there.Store(true)
	if err := firstAnswer(at, privateName, 50*time.Millisecond, &out); err == nil || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, &out)
	}
}

func TestAnswersThatAreCutAreNone(t *testing.T) {
	m := append(query(1, "a.b"), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 1, 7)
	m[7] = 1
	if a, err := firstA(m); err != nil || a.String() != "10.0.1.7" {
		t.Errorf("%v %v", a, err)
	}
	for n := 12; n < len(m); n++ {
		if a, err := firstA(m[:n]); err == nil {
			t.Errorf("of %d bytes: %v", n, a)
		}
	}
}

func TestOnlyOwnNamespacesAreRemoved(t *testing.T) {
	if err := removeNamespace("postern-abcdef-i-1"); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("got %v", err)
	}
}

func TestBadParametersAreRefused(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-seconds 0", "-paths direct,direct", "-paths nothing", "-cpu 4096", "-accept -tries 0", "-resolve -tries 0", "-max-connections 1000000", "stray",
		"-paths direct,proxied", "-metrics nothing", "-growth 2", "-filler -1", "-workloads -1"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s was taken", args)
		}
	}
}

// The result names the machine's kind and not the machine.
func TestTheResultDoesNotNameTheHost(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	r := newResult(parameters{}, "/nonexistent")
	r.Tables = []*table{{Name: "One CPU"}}
	dir := t.TempDir()
	name, err := stats.Keep(dir, "", r.Date, r)
	if err != nil {
		t.Fatal(err)
	}
	if want := r.Date.Format("2006-01-02-1504") + ".json"; filepath.Base(name) != want {
		t.Errorf("the file is %s, want %s", name, want)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(host) > 4 && bytes.Contains(b, []byte(host)) { // shorter ones are part of other words
		t.Errorf("the result holds %q", host)
	}
	var back result
	if err := json.Unmarshal(b, &back); err != nil || back.Kernel == "unknown" || back.Go == "" {
		t.Errorf("the result is %s (%v)", b, err)
	}
}
