// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern.dev/postern/internal/edge/call"
)

// zeroes is a body of zeroes; at every step it calls look.
type zeroes struct {
	left, step int64
	n          int64
	look       func()
}

func (z *zeroes) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	if z.n += n; z.n >= z.step {
		z.n = 0
		z.look()
	}
	return int(n), nil
}

func TestALargeBodyTakesNoMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var most, before uint64
	var size int64
	look := func() { most = max(most, heap()) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == "GET" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.Copy(w, &zeroes{left: size, step: 8 << 20, look: look})
		}
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	for _, method := range []string{"PUT", "GET"} {
		size = 64 << 20
		b.do(b.request("GET", testHost, "/data?location", "")) // what is made once is there
		b.last()
		r := rawRequest(t, method, testHost, "/data/a", "")
		r.URL.Host = b.http
		if method == "PUT" {
			r.Body, r.ContentLength = io.NopCloser(&zeroes{left: size, step: 8 << 20, look: look}), size
		}
		most, before = 0, heap()
		resp, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || method == "GET" && n != size {
			t.Fatalf("%s: %s, %d bytes: %v", method, resp.Status, n, err)
		}
		if most == 0 || most > before+2<<20 {
			t.Errorf("%s: the heap grew from %d to %d bytes", method, before, most)
		}
		if rec := b.last(); rec.BytesIn+rec.BytesOut != size {
			t.Errorf("%s: %+v", method, rec)
		}
	}
}

func TestBodiesThatAreHeldAreBounded(t *testing.T) {
	var got atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	defer srv.Close()
	b := newBench(t, srv.URL)
	s := newServer(nil, nil)
	for n := int64(0); n < maxHeldPerVNI; n += 1 << 20 {
		if !s.held.take(testIdentity.VNI, 1<<20) {
			t.Fatalf("no room after %d bytes", n)
		}
	}
	if s.held.take(testIdentity.VNI, 1) {
		t.Error("a VPC may hold more than its part")
	}
	if !s.held.take(testIdentity.VNI+1, 1) {
		t.Error("another VPC is kept out")
	}
	h := &heldBody{Reader: strings.NewReader("xx"), budget: &s.held, vni: testIdentity.VNI}
	if _, e := call.ReadAll(h, 10); e != call.ErrBusy {
		t.Errorf("%v, want %v", e, call.ErrBusy)
	}
	h.release()
	s.held.give(testIdentity.VNI, maxHeldPerVNI)
	s.held.give(testIdentity.VNI+1, 1)
	if s.held.all != 0 || len(s.held.perVNI) != 0 {
		t.Errorf("%d bytes are held for nobody: %v", s.held.all, s.held.perVNI)
	}
	if resp, body := b.do(b.request("PUT", testHost, "/data/a?tagging", strings.Repeat("x", 100<<10))); resp.StatusCode != 400 || !strings.Contains(body, "MaxMessageLengthExceeded") || got.Load() > 0 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// dial sends a text and returns the connection.
func dial(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSlowAndLargeClientsAreLeft(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/data/large" {
			io.Copy(w, &zeroes{left: 1 << 40, step: 1 << 50})
		}
	}))
	defer srv.Close()
	b := newBenchWith(t, srv.URL, limits{header: 300 * time.Millisecond, idle: 300 * time.Millisecond, stall: 300 * time.Millisecond})
	host := " HTTP/1.1\r\nHost: " + testHost + "\r\n"

	// A header that does not come, and one that is too large.
	if got, _ := io.ReadAll(dial(t, b.http, "GET /data/a"+host)); len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 408") {
		t.Errorf("a slow header: %q", got)
	}
	c := dial(t, b.http, "GET /data/a"+host)
	go io.Copy(c, &zeroes{left: maxHeaderBytes + 8<<10, step: 1 << 40})
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 431 && resp.StatusCode != 400 {
		t.Errorf("a large header: %v %v", resp, err)
	}
	// No second request.
	if got, err := io.ReadAll(dial(t, b.http, "GET /data/a"+host+"\r\n")); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("an idle client: %q %v", got, err)
	}
	b.last()
	// Half of a body: passed through, and held.
	for _, uri := range []string{"/data/a", "/data/a?tagging"} {
		got, _ := io.ReadAll(dial(t, b.http, "PUT "+uri+host+"Content-Length: 10\r\n\r\nhalf"))
		if !strings.Contains(string(got), "<Code>RequestTimeout</Code>") {
			t.Errorf("half of %s: %q", uri, got)
		}
		if rec := b.last(); rec.Status != 400 {
			t.Errorf("%+v", rec)
		}
	}
	// An answer that nobody reads: the write fails, and the request ends.
	dial(t, b.http, "GET /data/large"+host+"\r\n")
	if rec := b.last(); rec.Status != 200 || rec.BytesOut == 0 {
		t.Errorf("%+v", rec)
	}
}

func TestRangesAndKeepAlive(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", testTime, strings.NewReader("0123456789"))
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	for range 2 {
		resp, got := b.do(b.request("GET", testHost, "/data/a", "", "Range: bytes=2-4"))
		if resp.StatusCode != 206 || got != "234" || resp.Header.Get("Content-Range") != "bytes 2-4/10" {
			t.Errorf("%d %q %v", resp.StatusCode, got, resp.Header)
		}
		if resp.Header.Get("Connection") != "" || resp.Close {
			t.Error("the connection ended")
		}
	}
}

// A body in signed chunks with trailers in it is not looked into.
func TestSignedChunksPassAsTheyAre(t *testing.T) {
	const body = "5;chunk-signature=0a\r\nhello\r\n0;chunk-signature=0b\r\nx-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:0c\r\n\r\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d %s", r.Header.Get("Content-Encoding"), r.Header.Get("X-Amz-Trailer"), r.ContentLength, got)
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	r := b.request("PUT", testHost, "/data/a", body, "Content-Encoding: aws-chunked", "X-Amz-Trailer: x-amz-checksum-crc32")
	r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
	if resp, got := b.do(r); resp.StatusCode != 200 || got != fmt.Sprintf("aws-chunked x-amz-checksum-crc32 %d %s", len(body), body) {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

func TestManyRequestsShareAnHTTP2Connection(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
		if r.ProtoMajor != 1 || r.Header.Get("X-Amz-Acl") != "" || len(r.Trailer) > 0 {
			t.Errorf("%s %v %v", r.Proto, r.Header, r.Trailer)
		}
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	cert, pool := selfSigned(t, testHost, "*."+testHost)
	b.config.Certificates = map[string]Certificate{"s3": cert}
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::data/*"}]}`)
	var dials atomic.Int32
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: testHost},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, b.https)
		}}
	tr.Protocols.SetHTTP2(true)
	defer tr.CloseIdleConnections()
	const n = 50
	errs := make(chan error, n)
	put := func(i int) {
		bucket, want := "data", 200
		if i%2 == 1 {
			bucket, want = "other", 403
		}
		text := strings.Repeat(fmt.Sprint(i), 10000)
		r, _ := http.NewRequest("PUT", "https://"+testHost+"/"+bucket+"/a", strings.NewReader(text))
		if want == 200 {
			// Fields that come after everything was judged. Not for the others: Go's
			// server ends a connection that has trailers of a stream it refused.
			r.Trailer, r.ContentLength = http.Header{"X-Amz-Acl": {"public-read"}}, -1
		}
		resp, err := tr.RoundTrip(r)
		if err == nil {
			var got []byte
			got, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && (resp.StatusCode != want || resp.ProtoMajor != 2 || want == 200 && string(got) != text) {
				err = fmt.Errorf("%d: %s %s", i, resp.Proto, resp.Status)
			}
		}
		errs <- err
	}
	put(0) // makes the connection
	for i := range n - 1 {
		go put(i + 1)
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// A client may make another one before it knows how many requests one takes.
	if d := dials.Load(); d > n/5 {
		t.Errorf("%d connections", d)
	}
	for range n {
		b.last()
	}
}

func TestListenersAreHandedOverWithoutARefusal(t *testing.T) {
	hold := make(chan struct{})
	var arrived atomic.Int32
	began := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		if r.URL.Path == "/data/slow" {
			began <- struct{}{}
			<-hold
		}
		io.WriteString(w, "done")
	}))
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the agent's, which outlives the edge
	b := newBench(t, srv.URL)
	ident := identFunc(func(_, _ netip.AddrPort, _ int) (Identity, error) { return testIdentity, nil })
	// Start an edge on the agent's socket.
	start := func() (stop func()) {
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		own, err := net.FileListener(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		configs, ended := make(chan Config), make(chan error, 1)
		go func() {
			ended <- Run(ctx, Sockets{HTTP: own}, configs, func() {}, ident, func(Record) {}, func(map[string]map[string]bool) {})
		}()
		configs <- b.config
		configs <- b.config
		return func() {
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	}
	get := func(path string) (string, error) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return "", err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+testHost+"\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(c)
		return string(got), err
	}
	type result struct {
		text string
		err  error
	}
	slow, between := make(chan result, 1), make(chan result, 1)
	stop := start()
	go func() { s, err := get("/data/slow"); slow <- result{s, err} }()
	<-began
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	go func() { s, err := get("/data/a"); between <- result{s, err} }() // to the old one, the new one, or in the queue between
	stopNew := start()
	close(hold)
	for name, ch := range map[string]chan result{"under way": slow, "between": between} {
		if r := <-ch; r.err != nil || !strings.HasSuffix(r.text, "done") {
			t.Errorf("%s: %q %v", name, r.text, r.err)
		}
	}
	<-stopped
	if s, err := get("/data/b"); err != nil || !strings.HasSuffix(s, "done") {
		t.Errorf("after: %q %v", s, err)
	}
	stopNew()
	if arrived.Load() != 3 {
		t.Errorf("%d requests arrived", arrived.Load())
	}
}

// leaving is a listener that can be left.
type leaving struct {
	net.Listener
	leave func(context.Context) error
}

func (l leaving) Leave(ctx context.Context) error { return l.leave(ctx) }

// An edge that ends serves whoever still comes until its listener has been left, and
// says to all of them that it was their connection's last request.
func TestWhoHasComeIsServedBeforeTheEdgeEnds(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") }))
	defer srv.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, srv.URL)
	get := func(c net.Conn) (closes bool, err error) {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, "GET /data/key HTTP/1.1\r\nHost: "+testHost+"\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "done" {
			return false, fmt.Errorf("%s: %q %w", resp.Status, text, err)
		}
		return resp.Close, nil
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	var kept net.Conn
	left := 0
	sockets := Sockets{HTTP: leaving{l, func(context.Context) error {
		left++
		if closes, err := get(kept); err != nil || !closes {
			t.Errorf("over a connection that was kept: %v, closes %v", err, closes)
		}
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if closes, err := get(c); err != nil || !closes {
			t.Errorf("over a new connection: %v, closes %v", err, closes)
		}
		return nil
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	configs, ended := make(chan Config, 1), make(chan error, 1)
	inForce := make(chan struct{}, 1)
	go func() {
		ident := identFunc(func(_, _ netip.AddrPort, _ int) (Identity, error) { return testIdentity, nil })
		ended <- Run(ctx, sockets, configs, func() { inForce <- struct{}{} }, ident, func(Record) {}, func(map[string]map[string]bool) {})
	}()
	configs <- b.config
	<-inForce
	if kept, err = dial(); err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if closes, err := get(kept); err != nil || closes {
		t.Errorf("before the end: %v, closes %v", err, closes)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left != 1 {
		t.Errorf("the listener was left %d times", left)
	}
}
