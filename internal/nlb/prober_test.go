// SPDX-License-Identifier: Apache-2.0

package nlb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errRefused = errors.New("connection refused")
	node       = netip.MustParseAddr("10.0.0.9")
)

func tcpProbe(target string) desired.Probe {
	return desired.Probe{
		Group: "tg", TargetID: target, TargetPort: 8080, Zone: "a", VNI: vpc.FirstVNI, Node: node,
		Target: netip.MustParseAddr(target), Port: 8080, Via: netip.MustParseAddr("100.80.0.1"),
		Check: vpc.HealthCheck{Protocol: "TCP", Interval: 30, Timeout: 10, Healthy: 3, Unhealthy: 2},
	}
}

// bench runs the prober in a bubble of fake time against a target that is
// switched by hand.
type bench struct {
	t       *testing.T
	in      chan map[string]desired.Probe
	up      atomic.Bool
	hang    atomic.Bool
	dials   atomic.Int64
	open    atomic.Int64
	maxOpen atomic.Int64
	mu      sync.Mutex
	results []Result
	start   time.Time
	times   []time.Duration
	stop    func()
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, in: make(chan map[string]desired.Probe), start: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, b.in, func(r Result) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.results = append(b.results, r)
			b.times = append(b.times, time.Since(b.start))
		}, Options{Dial: b.dial})
	}()
	b.stop = func() { cancel(); <-done }
	return b
}

func (b *bench) dial(ctx context.Context, network, address string) (net.Conn, error) {
	b.dials.Add(1)
	b.maxOpen.Store(max(b.maxOpen.Load(), b.open.Add(1)))
	defer b.open.Add(-1)
	if network != "tcp" || address != "100.80.0.1:8080" {
		b.t.Errorf("dial %s %s, want Via and the checked port", network, address)
	}
	if b.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !b.up.Load() {
		return nil, errRefused
	}
	c, peer := net.Pipe()
	peer.Close()
	return c, nil
}

// after lets time pass and returns the results that came meanwhile.
func (b *bench) after(d time.Duration) []Result {
	time.Sleep(d)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.results
	b.results = nil
	return out
}

func TestFirstSuccessMakesHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		b.up.Store(true)
		b.in <- map[string]desired.Probe{"a": tcpProbe("10.0.0.1")}
		got := b.after(startSpread)
		want := Result{Name: "a", Group: "tg", TargetID: "10.0.0.1", TargetPort: 8080, Zone: "a", Healthy: true}
		if len(got) != 1 || got[0] != want {
			t.Fatalf("got %+v, want %+v within the start spread", got, want)
		}
		if got := b.after(5 * time.Minute); len(got) != 0 {
			t.Errorf("a target that stays healthy gave %+v", got)
		}
	})
}

func TestInitialFailuresCountToTheThresholdAndPaceIsQuickUntilThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		p := tcpProbe("10.0.0.1")
		p.Check.Unhealthy = 4
		b.in <- map[string]desired.Probe{"a": p}
		got := b.after(startSpread + 3*initialInterval)
		if len(got) != 1 || got[0].Healthy || got[0].Reason != ReasonFailed {
			t.Fatalf("got %+v, want unhealthy after four quick failures", got)
		}
		if n := b.dials.Load(); n != 4 {
			t.Fatalf("%d checks, want 4", n)
		}
		// Known now: the interval counts, and it takes three successes.
		b.up.Store(true)
		if got := b.after(89 * time.Second); len(got) != 0 {
			t.Fatalf("got %+v before three intervals had passed", got)
		}
		if got := b.after(2 * time.Second); len(got) != 1 || !got[0].Healthy || got[0].Reason != "" {
			t.Fatalf("got %+v, want healthy after three successes", got)
		}
		// One failure is not enough.
		b.up.Store(false)
		b.after(30 * time.Second)
		b.up.Store(true)
		b.after(30 * time.Second)
		b.up.Store(false)
		if got := b.after(31 * time.Second); len(got) != 0 {
			t.Fatalf("got %+v after failures that were not in a row", got)
		}
		if got := b.after(59 * time.Second); len(got) != 0 {
			t.Fatalf("got %+v after three failures in a row", got)
		}
		if got := b.after(30 * time.Second); len(got) != 1 || got[0].Healthy {
			t.Fatalf("got %+v, want unhealthy after four failures in a row", got)
		}
	})
}

func TestTimeoutIsAReasonOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		b.hang.Store(true)
		b.in <- map[string]desired.Probe{"a": tcpProbe("10.0.0.1")}
		if got := b.after(19 * time.Second); len(got) != 0 {
			t.Fatalf("got %+v before two timeouts", got)
		}
		got := b.after(2 * time.Second)
		if len(got) != 1 || got[0].Reason != ReasonTimeout {
			t.Fatalf("got %+v, want %s", got, ReasonTimeout)
		}
		// The same state for another reason is said again.
		b.hang.Store(false)
		got = b.after(30 * time.Second)
		if len(got) != 1 || got[0].Healthy || got[0].Reason != ReasonFailed {
			t.Fatalf("got %+v, want %s", got, ReasonFailed)
		}
	})
}

func TestChangeRestartsAndRemovalStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		b.up.Store(true)
		p := tcpProbe("10.0.0.1")
		b.in <- map[string]desired.Probe{"a": p}
		b.after(startSpread)
		b.in <- map[string]desired.Probe{"a": p}
		if got := b.after(time.Second); len(got) != 0 {
			t.Errorf("the same probe again gave %+v", got)
		}
		p.Check.Interval = 10
		b.in <- map[string]desired.Probe{"a": p}
		if got := b.after(time.Second); len(got) != 1 {
			t.Errorf("a changed probe gave %+v, want one new decision", got)
		}
		b.in <- nil
		before := b.dials.Load()
		if got := b.after(time.Hour); len(got) != 0 || b.dials.Load() != before {
			t.Errorf("a removed probe gave %+v and %d checks", got, b.dials.Load()-before)
		}
	})
}

func TestHangingTargetsOfOneVPCDoNotDelayAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		in := make(chan map[string]desired.Probe)
		var open, most atomic.Int64
		var healthy atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			Run(ctx, in, func(r Result) { healthy.Store(healthy.Load() || r.Name == "other" && r.Healthy) }, Options{
				Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
					if address == "100.80.0.2:8080" {
						c, peer := net.Pipe()
						peer.Close()
						return c, nil
					}
					most.Store(max(most.Load(), open.Add(1)))
					defer open.Add(-1)
					<-ctx.Done()
					return nil, ctx.Err()
				}})
		}()
		probes := map[string]desired.Probe{}
		for i := range 300 {
			p := tcpProbe("10.0.0.1")
			p.TargetPort = i
			probes[string(rune('A'+i))] = p
		}
		other := tcpProbe("10.0.0.1")
		other.VNI, other.Via = vpc.FirstVNI+1, netip.MustParseAddr("100.80.0.2")
		probes["other"] = other
		in <- probes
		time.Sleep(startSpread)
		synctest.Wait()
		if !healthy.Load() {
			t.Error("the other VPC's target is not healthy yet")
		}
		if most.Load() != maxChecksPerVNI {
			t.Errorf("%d checks at one time, want %d", most.Load(), maxChecksPerVNI)
		}
		cancel()
		<-done
	})
}

func TestRealTargets(t *testing.T) {
	var host atomic.Value
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			host.Store(r.Host)
			if r.Method != http.MethodGet || r.RequestURI != "/health?deep=1" {
				code = http.StatusTeapot
			}
			if code == http.StatusFound {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(code)
		}
	}
	for _, tc := range []struct {
		name, matcher string
		code          int
		tls, proxy    bool
		want          outcome
	}{
		{name: "default matcher", code: 204},
		{name: "a redirect is not followed", code: 302},
		{name: "a code out of the list", code: 302, matcher: "200,204", want: outcome{ReasonMismatch, "Health checks failed with these codes: [302]"}},
		{name: "a range", code: 503, matcher: "200-299,500-599"},
		{name: "an unknown certificate", code: 200, tls: true},
		{name: "a server error", code: 500, tls: true, want: outcome{ReasonMismatch, "Health checks failed with these codes: [500]"}},
		{name: "a PROXY header", code: 200, proxy: true},
		{name: "a PROXY header before TLS", code: 200, tls: true, proxy: true},
		{name: "a PROXY header and a code out of the list", code: 404, proxy: true, want: outcome{ReasonMismatch, "Health checks failed with these codes: [404]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(status(tc.code))
			if tc.proxy {
				srv.Listener = proxied{srv.Listener}
			}
			protocol := "HTTP"
			if tc.tls {
				protocol = "HTTPS"
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			at := netip.MustParseAddrPort(srv.Listener.Addr().String())
			p := desired.Probe{Node: node, Via: at.Addr(), Port: int(at.Port()), ListenerPort: 443, ProxyProtocol: tc.proxy,
				Check: vpc.HealthCheck{Protocol: protocol, Path: "/health?deep=1", Matcher: tc.matcher}}
			c, err := newChecker(p, new(net.Dialer).DialContext)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if got := c.do(ctx); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if want := netip.AddrPortFrom(node, 443).String(); host.Load() != want {
				t.Errorf("Host %q, want %q", host.Load(), want)
			}
		})
	}
}

// proxied is a listener whose connections must begin with a PROXY protocol
// header that says LOCAL; others are closed.
type proxied struct{ net.Listener }

func (l proxied) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		// Signature, version 2 and LOCAL, no family, no addresses.
		want := []byte{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err == nil && bytes.Equal(got, want) {
			return c, nil
		}
		c.Close()
	}
}

func TestATCPCheckSendsTheProxyHeader(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	p := desired.Probe{Node: node, Via: at.Addr(), Port: int(at.Port()), ProxyProtocol: true, Check: vpc.HealthCheck{Protocol: "TCP"}}
	c, err := newChecker(p, new(net.Dialer).DialContext)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		conn, err := proxied{l}.Accept()
		if err == nil {
			var rest []byte
			if rest, err = io.ReadAll(conn); err == nil && len(rest) > 0 {
				err = fmt.Errorf("%q after the header", rest)
			}
			conn.Close()
		}
		got <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if o := c.do(ctx); o != (outcome{}) {
		t.Errorf("checked: %+v", o)
	}
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the target got no header")
		l.Close()
		<-got
	}
}

func TestClosedPortFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	p := desired.Probe{Node: node, Via: at.Addr(), Port: int(at.Port()), Check: vpc.HealthCheck{Protocol: "TCP"}}
	c, err := newChecker(p, new(net.Dialer).DialContext)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.do(t.Context()); got != (outcome{}) {
		t.Errorf("open port: %+v", got)
	}
	l.Close()
	if got := c.do(t.Context()); got.reason != ReasonFailed {
		t.Errorf("closed port: %+v, want %s", got, ReasonFailed)
	}
}

func TestBadChecksAreRefused(t *testing.T) {
	for _, check := range []vpc.HealthCheck{
		{Protocol: "UDP"}, {Protocol: "HTTP", Path: "http://192.0.2.1/"}, {Protocol: "HTTP", Path: "x"},
		{Protocol: "HTTP", Matcher: "abc"}, {Protocol: "HTTP", Matcher: "300-200"}, {Protocol: "HTTP", Matcher: "200,"},
	} {
		if _, err := newChecker(desired.Probe{Check: check}, nil); err == nil {
			t.Errorf("%+v was accepted", check)
		}
	}
}
