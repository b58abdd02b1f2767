// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/test/bench/stats"
)

// Packets that a kernel would throw away at sight are no flood, and neither are
// those of one flow.
func TestThePacketsOfAFloodAreWholeAndOfManyFlows(t *testing.T) {
	from, to := netip.MustParseAddr("10.0.1.7"), netip.MustParseAddrPort("10.0.1.8:83")
	for kind, fixed := range map[string]bool{floodSYN: true, floodUDP: false} {
		f, err := newFloodPacket(kind, from, to)
		if err != nil {
			t.Fatal(err)
		}
		sources, targets := map[string]bool{}, map[string]bool{}
		for range 1000 {
			f.vary()
			p := f.bytes[ipHeader:]
			if zero := []byte{0, 0}; bytes.Equal(p[:2], zero) || bytes.Equal(p[2:4], zero) {
				t.Fatalf("%s: ports % x", kind, p[:4])
			}
			sources[string(p[:2])], targets[string(p[2:4])] = true, true
			if kind == floodUDP {
				if n := int(p[4])<<8 | int(p[5]); n != len(p) {
					t.Fatalf("a datagram of %d bytes says %d", len(p), n)
				}
				continue
			}
			pseudo := append(bytes.Clone(f.bytes[12:20]), 0, 6, 0, byte(len(p)))
			sum := sum16(sum16(0, pseudo), p)
			if sum = sum>>16 + sum&0xffff; sum>>16+sum&0xffff != 0xffff || p[13] != 2 {
				t.Fatalf("not a SYN with a good checksum: % x", f.bytes)
			}
		}
		if len(sources) < 900 || fixed != (len(targets) == 1) || !fixed && len(targets) < 900 {
			t.Errorf("%s: %d source ports, %d destination ports in 1,000 packets", kind, len(sources), len(targets))
		}
	}
	if _, err := newFloodPacket("water", from, to); err == nil {
		t.Error("nobody knows what was sent")
	}
}

// apart runs f in a network namespace of its own, where there is loopback only.
func apart(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = exec.Command("ip", "link", "set", "lo", "up").Run()
		}
		if err == nil {
			f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// said is what a flood printed.
func said(t *testing.T, b []byte) flooded {
	t.Helper()
	rest, ok := bytes.CutPrefix(b, []byte("flooding\n"))
	var got flooded
	if err := json.Unmarshal(rest, &got); !ok || err != nil || got.Elapsed <= 0 {
		t.Fatalf("it said %q (%v)", b, err)
	}
	return got
}

func TestAFloodEndsWhenItIsToldOrAtItsBounds(t *testing.T) {
	here := netip.MustParseAddr("127.0.0.1")
	to := netip.AddrPortFrom(here, 83)
	apart(t, func() {
		never, _ := io.Pipe()
		var out bytes.Buffer
		if err := flood(floodUDP, here, to, bounds{time.Minute, 5000}, never, &out); err != nil {
			t.Error(err)
			return
		}
		if got := said(t, out.Bytes()); got.Packets < 5000 || got.Packets > 5100 || !got.Early {
			t.Errorf("bounded by 5,000 packets: %+v", got)
		}
		out.Reset()
		if err := flood(floodSYN, here, to, bounds{100 * time.Millisecond, 1 << 40}, never, &out); err != nil {
			t.Error(err)
			return
		}
		if got := said(t, out.Bytes()); got.Elapsed < 100e6 || !got.Early {
			t.Errorf("bounded by 100 ms: %+v", got)
		}
		// Told when it says that it has begun.
		in, stop := io.Pipe()
		lines, w := io.Pipe()
		var all bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			b := make([]byte, 64)
			n, _ := lines.Read(b)
			all.Write(b[:n])
			stop.Close()
			io.Copy(&all, lines)
		}()
		err := flood(floodUDP, here, to, bounds{time.Minute, 1 << 40}, in, w)
		w.Close()
		<-read
		if err != nil {
			t.Error(err)
			return
		}
		if got := said(t, all.Bytes()); got.Early || got.Packets < 1024 {
			t.Errorf("told to end: %+v", got)
		}
	})
}

// brief serves connections and echoes until it is told to end.
type brief struct {
	net.Listener
	ended chan struct{}
}

func newBrief(t *testing.T) *brief {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &brief{l, make(chan struct{})}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				go func() { <-b.ended; c.Close() }()
				one := make([]byte, 1)
				if _, err := io.ReadFull(c, one); err != nil {
					return
				}
				if one[0] == askEcho {
					io.Copy(c, c)
				} else {
					c.Write(one)
				}
			}()
		}
	}()
	return b
}

func (b *brief) end() error {
	close(b.ended)
	return b.Close()
}

// A sample beside a flood goes to its end and counts what fails; it begins when it
// is told to, with echoes on a connection that is there already.
func TestASampleThatIsToldToBeginBearsFailures(t *testing.T) {
	for what, failed := range map[string]int64{"connect": 2 * maxFailures, "echo": 1} {
		b := newBrief(t)
		to := b.Addr().(*net.TCPAddr).AddrPort()
		m, err := ask(what, to, wish{lasts: 200 * time.Millisecond, begin: b.end})
		if err != nil || m.Failed < failed || what == "echo" && m.Failed != 1 || m.Failure == "" || m.Elapsed <= 0 || what == "connect" && m.Count != 0 {
			t.Errorf("%s: %+v, %v", what, m, err)
		}
		b = newBrief(t)
		defer b.end()
		begun := 0
		m, err = ask(what, b.Addr().(*net.TCPAddr).AddrPort(), wish{lasts: 50 * time.Millisecond, limit: 1000, begin: func() error { begun++; return nil }})
		if err != nil || m.Failed > 0 || m.Count == 0 || begun != 1 {
			t.Errorf("%s without failures: %+v, %v, begun %d times", what, m, err, begun)
		}
		refused := errors.New("no word")
		if _, err := ask(what, b.Addr().(*net.TCPAddr).AddrPort(), wish{lasts: time.Millisecond, begin: func() error { return refused }}); !errors.Is(err, refused) {
			t.Errorf("%s that may not begin: %v", what, err)
		}
	}
	var out bytes.Buffer
	if err := awaitLine(strings.NewReader("\n"), &out); err != nil || out.String() != "ready\n" {
		t.Errorf("%q, %v", &out, err)
	}
	if err := awaitLine(strings.NewReader(""), &out); err == nil {
		t.Error("the end of the input is no word to begin")
	}
}

func TestWhatIsKeptUnderAFloodIsHeldAgainstWhatDirectKeeps(t *testing.T) {
	tb := &table{Name: "Flood"}
	add := func(round int, path, condition string, rate, failed int64) {
		s := sample{Round: round, Path: floodPath(path, condition), Metric: "connect", measured: measured{Count: rate, Elapsed: 1e9, Failed: failed}}
		if condition == floodSYN || condition == floodUDP {
			s.Flood = &flooded{Packets: 300_000, Elapsed: 2e9}
		}
		tb.Samples = append(tb.Samples, s)
	}
	for round := range 3 {
		for path, under := range map[string]int64{"direct": 900, "postern": 450} { // of 1,000 and of 500: both keep 0.9
			add(round, path, floodNone, 1000*under/900, 0)
			add(round, path, floodSYN, under, 0)
			add(round, path, floodUDP, under*int64(3-round)/3, 0)
		}
	}
	judged := func() []judgement {
		return append(judge(tb, floodAims, 3), judgeFailures(tb, "postern", 3))
	}
	got := judged()
	if len(got) != 5 || !got[0].Missing || !got[2].Missing { // there are no requests
		t.Fatalf("%+v", got)
	}
	for _, i := range []int{1, 3, 4} {
		if got[i].Missing || !got[i].Reached {
			t.Errorf("%+v", got[i])
		}
	}
	if one := (stats.Spread{Median: 1, Min: 1, Max: 1}); got[1].Got != one || got[3].Got != one {
		t.Errorf("%+v, %+v, want 1: both keep the same", got[1].Got, got[3].Got)
	}
	// One that fails is enough, and does not make the run untrue; alone it would.
	tb.Samples[len(tb.Samples)-1].Failed = 1 // of direct or of postern: made one of the latter
	tb.Samples[len(tb.Samples)-1].Path = floodPath("postern", floodUDP)
	if got := judged()[4]; got.Reached || got.Missing || got.Got.Max != 1 {
		t.Errorf("a failed connection: %+v", got)
	}
	if f := tb.failures(); len(f) != 0 {
		t.Errorf("%q", f)
	}
	tb.paths = []string{floodPath("postern", floodNone), floodPath("postern", floodUDP)}
	var out bytes.Buffer
	tb.printFloods(&out)
	if !strings.Contains(out.String(), "postern udp   150000 (150000..150000)   1\n") || strings.Contains(out.String(), "alone") {
		t.Errorf("it says\n%s", &out)
	}
	if j := judgeFailures(&table{}, "postern", 3); !j.Missing || j.Reached {
		t.Errorf("nothing was measured: %+v", j)
	}
	for _, a := range floodAims {
		figureNamed(a.figure) // panics on a name that is none
		if !strings.Contains(a.String(), "0.95 of what direct keeps") {
			t.Error(a)
		}
	}
}

// With one CPU the table would measure how that is shared.
func TestNobodyFloodsOnTheClientsCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &before)
	cpus, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	one := cpuSet(cpus[:1])
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	res := &result{Skipped: map[string]string{}}
	if err := (&lab{}).floodTable(parameters{CPU: cpus[0]}, []*path{{name: "direct"}}, nil, res, nil); err != nil || res.Skipped["flood"] == "" || len(res.Tables) > 0 {
		t.Errorf("%v, %+v", err, res)
	}
}

func TestReceivedPacketsAreThoseOfAllDevices(t *testing.T) {
	const head = "Inter-|   Receive\n face |bytes    packets errs\n"
	if n, err := receivedPackets(head + "    lo: 1 99 0\n  eth0: 500 7 0 0\nflooded:12 30 0\n"); n != 37 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := receivedPackets(head + " eth0: 5 x 0\n"); err == nil {
		t.Error("a counter that is no number was read")
	}
}

// What one flood left is not there for the next sample.
func TestConntrackIsFlushed(t *testing.T) {
	nft, err := need("nft", "")
	if err != nil {
		t.Skip(err)
	}
	apart(t, func() {
		cmd := exec.Command(nft, "-f", "-")
		cmd.Stdin = strings.NewReader("table ip t {\nchain c { type filter hook output priority filter; ct state new accept; }\n}\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
			return
		}
		held := func() string {
			b, err := os.ReadFile("/proc/thread-self/net/stat/nf_conntrack") // entries, in hexadecimal digits
			if err != nil {
				t.Error(err)
				return ""
			}
			return strings.Fields(strings.Split(string(b), "\n")[1])[0]
		}
		here := netip.MustParseAddr("127.0.0.1")
		never, _ := io.Pipe()
		if err := flood(floodUDP, here, netip.AddrPortFrom(here, 83), bounds{time.Minute, 2000}, never, io.Discard); err != nil {
			t.Error(err)
			return
		}
		before := held()
		if err := flushConntrack(); err != nil {
			t.Error(err)
			return
		}
		if after := held(); strings.TrimLeft(before, "0") == "" || strings.TrimLeft(after, "0") != "" {
			t.Errorf("entries: %s before, %s after", before, after)
		}
	})
}
