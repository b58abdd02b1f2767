// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern.dev/postern/internal/vpc"
)

// answers is a backend that says its name and counts what it got.
func answers(t *testing.T, name string) (srv *httptest.Server, got *atomic.Int64) {
	got = &atomic.Int64{}
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		got.Add(1)
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, name+string(b))
	}))
	t.Cleanup(srv.Close)
	return srv, got
}

// closed is the URL of a port where nobody listens.
func closed(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func testPool(t *testing.T, check *vpc.BackendCheck, urls ...string) *balanced {
	var b backends
	p := newPool(poolSpec{backends: urls, check: check}, nil, &b, func() {}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		p.close()
		b.keep(nil)
	})
	return &balanced{pool: p, via: func(b *backend) http.RoundTripper { return b.transport }}
}

// ask sends a request and answers what came.
func ask(t *testing.T, to http.RoundTripper, method, body string) (string, error) {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://any.example/x", in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := to.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

// never is a check that does not come again in a test.
var never = &vpc.BackendCheck{Interval: 300, Timeout: 5, Healthy: 2, Unhealthy: 3}

func TestIdleBackendsTakeTurnsAndABusyOneIsPassedOver(t *testing.T) {
	a, gotA := answers(t, "a")
	b, gotB := answers(t, "b")
	p := testPool(t, never, a.URL, b.URL)
	for range 10 {
		if _, err := ask(t, p, "GET", ""); err != nil {
			t.Fatal(err)
		}
	}
	if gotA.Load() != 5 || gotB.Load() != 5 {
		t.Errorf("10 requests went %d to a, %d to b", gotA.Load(), gotB.Load())
	}
	// An answer that is not read to its end keeps its backend busy.
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://any.example/x", nil)
	res, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	first := gotA.Load() > 5
	for range 4 {
		ask(t, p, "GET", "")
	}
	if busy, other := gotA.Load()-5, gotB.Load()-5; first && (busy != 1 || other != 4) || !first && (busy != 4 || other != 1) {
		t.Errorf("beside a request at a (%v), 4 went so that a has %d and b %d", first, busy, other)
	}
	res.Body.Close()
	for _, m := range p.pool.members {
		if n := m.busy.Load(); n != 0 {
			t.Errorf("%s has %d requests at the end", m.key.url, n)
		}
	}
}

// The one after a backend that is out does not get what that would have got.
func TestTheOthersShareWhatABackendThatIsOutWouldGet(t *testing.T) {
	p := testPool(t, nil, "http://192.0.2.1", "http://192.0.2.2", "http://192.0.2.3", "http://192.0.2.4").pool
	got := map[int]int{}
	p.members[1].down.Store(true)
	for range 30 {
		got[p.pick(nil)]++
	}
	if got[0] != 10 || got[1] != 0 || got[2] != 10 || got[3] != 10 {
		t.Errorf("30 requests: %v", got)
	}
	clear(got)
	p.members[0].busy.Add(1)
	for range 20 {
		got[p.pick(nil)]++
	}
	if got[2] != 10 || got[3] != 10 {
		t.Errorf("20 requests beside a busy one: %v", got)
	}
	p.members[2].down.Store(true)
	if i := p.pick(map[int]bool{3: true}); i != 0 {
		t.Errorf("with one busy and the others out or tried: %d", i)
	}
	if i := p.pick(map[int]bool{0: true, 3: true}); i != -1 {
		t.Errorf("with all out or tried: %d", i)
	}
}

func TestWhatWasNotSentGoesToAnother(t *testing.T) {
	b, got := answers(t, "b")
	p := testPool(t, never, closed(t), b.URL)
	for i := range 8 {
		method, body := "GET", ""
		if i%2 == 0 {
			method, body = "POST", "!"
		}
		if out, err := ask(t, p, method, body); err != nil || out != "b"+body {
			t.Fatalf("%s: %q, %v", method, out, err)
		}
	}
	if got.Load() != 8 {
		t.Errorf("b got %d", got.Load())
	}
	// What began to be sent is nobody else's: it may have been done.
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer half.Close()
	p = testPool(t, never, half.URL)
	p.pool.members = append(p.pool.members, testPool(t, never, b.URL).pool.members...)
	errs := 0
	for range 4 {
		if _, err := ask(t, p, "POST", "!"); err != nil {
			errs++
		}
	}
	if errs != 2 || got.Load() != 10 {
		t.Errorf("%d of 4 failed, b got %d", errs, got.Load()-8)
	}
}

func TestHealthTurnsAfterAsManyResultsInARow(t *testing.T) {
	p := testPool(t, nil, "http://192.0.2.1:1")
	p.pool.spec.check = never
	m := p.pool.members[0]
	for i, c := range []struct{ ok, down bool }{
		{false, false}, {false, false}, {true, false}, {false, false}, {false, false}, {false, true},
		{true, true}, {false, true}, {true, true}, {true, false},
	} {
		was := m.down.Load()
		if changed := p.pool.note(m, c.ok); m.down.Load() != c.down || changed != (was != c.down) {
			t.Fatalf("after result %d: down %v, changed %v", i, m.down.Load(), changed)
		}
	}
}

func TestABackendComesBackWhenItsCheckPasses(t *testing.T) {
	var sick atomic.Bool
	sick.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() && r.URL.Path == "/health" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	p := testPool(t, &vpc.BackendCheck{Path: "/health", Interval: 1, Timeout: 1, Healthy: 1, Unhealthy: 1}, srv.URL)
	await := func(down bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); p.pool.members[0].down.Load() != down; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the backend does not become down=%v", down)
			}
		}
	}
	await(true)
	if _, err := ask(t, p, "GET", ""); err != errAllDown {
		t.Errorf("a request while all are down: %v", err)
	}
	sick.Store(false)
	await(false)
	if _, err := ask(t, p, "GET", ""); err != nil {
		t.Error(err)
	}
}

func TestAllDownIs503WithRetryAfter(t *testing.T) {
	b := newBench(t, closed(t))
	s := b.config.Services["s3"]
	s.Backends, s.HealthCheck = []string{closed(t), closed(t)}, &vpc.BackendCheck{Interval: 7, Timeout: 1, Healthy: 1, Unhealthy: 1}
	b.service("s3", s)
	b.configure()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res, _ := b.do(b.request("GET", testHost, "/data/a", ""))
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("answered %s", res.Status)
		}
		if res.Header.Get("Retry-After") == "7" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no Retry-After")
		}
	}
}

func TestHTTPSBackendsNeedTheNamedAuthority(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	for _, ca := range []string{"", ca} {
		p := newPool(poolSpec{backends: []string{srv.URL}, ca: ca}, nil, &backends{}, func() {}, slog.New(slog.DiscardHandler))
		_, err := ask(t, &balanced{pool: p, via: func(b *backend) http.RoundTripper { return b.transport }}, "GET", "")
		if (err == nil) != (ca != "") {
			t.Errorf("with authority %v: %v", ca != "", err)
		}
		p.members[0].transport.CloseIdleConnections()
	}
}

func TestAPoolStaysUntilItIsAnother(t *testing.T) {
	var from backends
	log := slog.New(slog.DiscardHandler)
	spec := poolSpec{backends: []string{"http://192.0.2.1:1", "http://192.0.2.2:1"}, check: never}
	p := newPool(poolSpec{backends: spec.backends}, nil, &from, func() {}, log)
	p.members[1].down.Store(true)
	if newPool(poolSpec{backends: spec.backends}, p, &from, func() {}, log) != p {
		t.Error("the same backends made another pool")
	}
	q := newPool(poolSpec{backends: spec.backends[1:], check: spec.check}, p, &from, func() {}, log)
	q.close()
	if q == p || !q.members[0].down.Load() {
		t.Error("the backend that stayed lost its health")
	}
}

// A backend that expects a PROXY protocol header gets one with each check too, which
// says that nobody is behind it.
func TestChecksOfABackendThatIsToldByConnection(t *testing.T) {
	const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for _, path := range []string{"", "/health"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			b := make([]byte, len(local)+len("GET "+path))
			if path == "" {
				b = b[:len(local)]
			}
			io.ReadFull(c, b)
			got <- string(b)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}()
		be, err := new(backends).get("http://"+l.Addr().String(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := (&member{backend: be}).checker(path, vpc.IdentityProxy)(t.Context()); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		want := local
		if path != "" {
			want += "GET " + path
		}
		if s := <-got; s != want {
			t.Errorf("%q: the backend got %q", path, s)
		}
		l.Close()
	}
}

// One client's connections go to every backend of a pool, each with its header.
func TestOneClientsConnectionsToSeveralBackends(t *testing.T) {
	_, one := headed(t, false)
	_, two := headed(t, false)
	b := newBench(t, one.URL)
	s := b.config.Services["s3"]
	s.Backends, s.HealthCheck = []string{one.URL, two.URL}, never
	b.service("s3", s)
	b.identify(vpc.IdentityProxy)
	for range 6 {
		if resp, got := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 200 || got != testIdentity.Client.String()+" "+string(testEndpoint) {
			t.Fatalf("%d, the backend was told %q", resp.StatusCode, got)
		}
	}
}
