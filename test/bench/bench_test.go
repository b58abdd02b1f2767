// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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
	tb := &table{Name: "t", Samples: samples}
	tb.summarise([]string{"direct", "postern"}, 3)
	if len(tb.Ratios) != 1 || tb.Ratios[0].Cells["1 stream"] != (stats.Spread{Median: 0.5, Min: 0.5, Max: 0.5}) {
		t.Errorf("ratios are %+v, want 0.5 in every round", tb.Ratios)
	}
	if got := tb.Medians["direct"]["1 stream"]; got != (stats.Spread{Median: 40, Min: 20, Max: 80}) {
		t.Errorf("the direct path's values are %+v", got)
	}
	var out bytes.Buffer
	tb.print(&out, []string{"direct", "postern"})
	if !strings.Contains(out.String(), "0.50 (0.50..0.50)") {
		t.Errorf("the table says\n%s", &out)
	}
}

func TestAMissingRoundGivesNoRatio(t *testing.T) {
	samples := []sample{streamSample(0, 0, "direct", 10), streamSample(1, 0, "direct", 10), streamSample(0, 0, "postern", 10)}
	if r := ratios(samples, figures[0], "postern", "direct", 2); r != nil {
		t.Errorf("got %v", r)
	}
}

func TestFailedConnectionsAreReported(t *testing.T) {
	tb := &table{Samples: []sample{{Path: "postern", measured: measured{Count: 7, Failed: 3, Failure: "no answer"}}, {Path: "direct", measured: measured{Count: 5}}}}
	if f := tb.failures(); len(f) != 1 || !strings.Contains(f[0], "3 of 10") {
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
	go serve(int(addr.Port())) // until the test program ends
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
	for _, metric := range metrics {
		m, err := ask(metric, addr, 100*time.Millisecond, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if m.Failed > 0 {
			t.Errorf("%s: %d failed: %s", metric, m.Failed, m.Failure)
		}
		for _, f := range figures {
			if f.metric == metric && !(f.of(m) > 0) {
				t.Errorf("%s: %s is %v", metric, f.name, f.of(m))
			}
		}
		if metric == "echo" && (m.P50 > m.P99 || m.P50*m.Count > 4*m.Elapsed) {
			t.Errorf("echo: %d requests in %d ns with p50 %d and p99 %d", m.Count, m.Elapsed, m.P50, m.P99)
		}
		if metric == "connect" && m.Count > 1000 {
			t.Errorf("connect: %d connections, want at most 1000", m.Count)
		}
	}
	if _, err := ask("other", addr, time.Millisecond, 0); err == nil {
		t.Error("an unknown metric was measured")
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
	go serve(int(addr.Port()))
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

func TestOnlyOwnNamespacesAreRemoved(t *testing.T) {
	if err := removeNamespace("postern-abcdef-i-1"); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("got %v", err)
	}
}

func TestBadParametersAreRefused(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-seconds 0", "-paths direct,direct", "-paths nothing", "-cpu 4096", "-accept -tries 0", "-max-connections 1000000", "stray"} {
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
	name, err := r.write(dir)
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
