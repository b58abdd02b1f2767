// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/s3"
)

// rawBackend takes requests apart itself and keeps every byte that came.
type rawBackend struct {
	net.Listener
	mu       sync.Mutex
	bytes    bytes.Buffer
	requests []string // method, URI, Host and body
	trailers []string
	wg       sync.WaitGroup
}

func newRawBackend(t *testing.T) *rawBackend {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &rawBackend{Listener: l}
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.serve(c) })
		}
	})
	return b
}

func (b *rawBackend) stop() {
	b.Close()
	b.wg.Wait()
}

func (b *rawBackend) serve(c net.Conn) {
	defer c.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		b.mu.Lock()
		b.bytes.Write(raw.Bytes())
		raw.Reset()
		b.requests = append(b.requests, strings.Join([]string{req.Method, req.RequestURI, req.Host, string(body)}, " "))
		for name := range req.Trailer {
			b.trailers = append(b.trailers, name)
		}
		b.mu.Unlock()
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

// Whatever arrives, the backend gets the requests that were judged and no other.
func TestNoRequestIsSmuggled(t *testing.T) {
	const (
		host  = "Host: " + testHost + "\r\n"
		last  = "GET /data/last HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n"
		inner = "GET /data/secret HTTP/1.1\r\n" + host + "\r\n"
	)
	for name, tc := range map[string]struct {
		raw  string
		want []string // what the backend gets; nil for refused
	}{
		"plain":             {"GET /data/a HTTP/1.1\r\n" + host + "\r\n", []string{"GET /data/a " + testHost + " "}},
		"pipelined":         {"GET /data/a HTTP/1.1\r\n" + host + "\r\n" + "GET /data/b HTTP/1.1\r\n" + host + "\r\n", []string{"GET /data/a " + testHost + " ", "GET /data/b " + testHost + " "}},
		"length and chunks": {"PUT /data/a HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []string{"PUT /data/a " + testHost + " "}},
		"length hides": {"PUT /data/a HTTP/1.1\r\n" + host + "Content-Length: " + "62" + "\r\n\r\n" + inner[:62] + inner[62:],
			[]string{"PUT /data/a " + testHost + " " + inner[:62]}},
		"two lengths":            {"PUT /data/a HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + inner, nil},
		"length with sign":       {"PUT /data/a HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\nhello", nil},
		"length list":            {"PUT /data/a HTTP/1.1\r\n" + host + "Content-Length: 5, 6\r\n\r\nhello", nil},
		"hex length":             {"PUT /data/a HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n\r\nhello", nil},
		"unknown encoding":       {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello", nil},
		"two encodings":          {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", nil},
		"encoding list":          {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", nil},
		"vertical tab":           {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", nil},
		"chunk size overflows":   {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", nil},
		"chunk too long":         {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", nil},
		"space before the colon": {"GET /data/a HTTP/1.1\r\nHost : " + testHost + "\r\n\r\n", nil},
		"two hosts":              {"GET /data/a HTTP/1.1\r\n" + host + "Host: other.s3.us-east-1.amazonaws.com\r\n\r\n", nil},
		"no host":                {"GET /data/a HTTP/1.1\r\n\r\n", nil},
		"another service's host": {"GET /data/a HTTP/1.1\r\nHost: backend.internal\r\n\r\n", nil},
		"absolute form":          {"GET http://other.s3.us-east-1.amazonaws.com/data/a HTTP/1.1\r\n" + host + "\r\n", nil},
		"authority form":         {"CONNECT data:80 HTTP/1.1\r\n" + host + "\r\n", nil},
		"folded header":          {"PUT /data/a HTTP/1.1\r\n" + host + "X-Amz-Copy-Source: data/\r\n secret\r\nContent-Length: 0\r\n\r\n", []string{"PUT /data/a " + testHost + " "}},
		"bare line feeds":        {"GET /data/a HTTP/1.1\n" + "Host: " + testHost + "\n\n", []string{"GET /data/a " + testHost + " "}},
		"underscore header":      {"PUT /data/a HTTP/1.1\r\n" + host + "X_Amz_Copy_Source: data/secret\r\nContent-Length: 0\r\n\r\n", nil},
		"NUL in a header":        {"GET /data/a HTTP/1.1\r\n" + host + "X-Amz-Acl: a\x00b\r\n\r\n", nil},
		"header named twice":     {"PUT /data/a HTTP/1.1\r\n" + host + "X-Amz-ACL: private\r\nx-amz-acl: public-read\r\nContent-Length: 0\r\n\r\n", nil},
		"header taken out":       {"PUT /data/a HTTP/1.1\r\n" + host + "Connection: x-amz-acl\r\nX-Amz-Acl: private\r\nContent-Length: 0\r\n\r\n", nil},
		"upgrade":                {"GET /data/a HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", nil},
		"HTTP/2 without TLS":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", nil},
		"encoded dots":           {"GET /data/%2e%2e/other/a HTTP/1.1\r\n" + host + "\r\n", nil},
		"encoded slash and dots": {"GET /data%2f..%2fother/a HTTP/1.1\r\n" + host + "\r\n", nil},
		"encoded twice":          {"GET /data/%252e%252e/a HTTP/1.1\r\n" + host + "\r\n", []string{"GET /data/%252e%252e/a " + testHost + " "}},
		"backslash":              {"GET /data/..\\a HTTP/1.1\r\n" + host + "\r\n", nil},
		"fragment":               {"GET /data/a#b HTTP/1.1\r\n" + host + "\r\n", nil},
		"lower-case method":      {"get /data/a HTTP/1.1\r\n" + host + "\r\n", nil},
		"method in a header":     {"GET /data/a HTTP/1.1\r\n" + host + "X-HTTP-Method-Override: DELETE\r\n\r\n", []string{"GET /data/a " + testHost + " "}},
		"trailer": {"PUT /data/a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTrailer: X-Amz-Acl\r\n\r\n1\r\nx\r\n0\r\nX-Amz-Acl: public-read\r\n\r\n",
			[]string{"PUT /data/a " + testHost + " x"}},
		"old version": {"GET /data/a HTTP/1.0\r\n" + host + "\r\n", []string{"GET /data/a " + testHost + " "}},
		"no version":  {"GET /data/a\r\n\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			backend := newRawBackend(t)
			defer backend.stop()
			b := newBench(t, "http://"+backend.Addr().String())
			c, err := net.Dial("tcp", b.http)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			// One more request follows, which must stay a request of its own.
			if _, err := io.WriteString(c, tc.raw+last); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(c)
			if tc.want == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(answer, []byte("HTTP/1.1 5")) {
				t.Errorf("answer %q", answer)
			}
			b.drop() // the edge's connections to the backend
			backend.stop()
			slices.Sort(backend.requests)
			backend.requests = slices.DeleteFunc(backend.requests, func(r string) bool { return strings.HasPrefix(r, "GET /data/last ") })
			if tc.want == nil {
				// A body that breaks off may have begun.
				if len(backend.requests) > 1 || len(backend.requests) == 1 && !strings.HasPrefix(backend.requests[0], "PUT /data/a ") {
					t.Errorf("the backend got %q", backend.requests)
				}
			} else if !slices.Equal(backend.requests, tc.want) {
				t.Errorf("the backend got %q, want %q", backend.requests, tc.want)
			}
			if len(backend.trailers) > 0 || bytes.Contains(backend.bytes.Bytes(), []byte("public-read")) {
				t.Errorf("the backend got trailers: %q", backend.bytes.String())
			}
			// What was judged is what arrived.
			b.mu.Lock()
			defer b.mu.Unlock()
			var judged []string
			for _, r := range b.records {
				if r.Decision == DecisionAllow && r.Key != "last" {
					judged = append(judged, r.Action+" "+r.Resource)
				}
			}
			slices.Sort(judged)
			var arrived []string
			for _, got := range backend.requests {
				f := strings.SplitN(got, " ", 4)
				again, e := s3.Read(call.Request{Method: f[0], URI: f[1], Header: http.Header{}})
				if e != nil {
					t.Fatalf("%q arrived: %v", got, e)
				}
				arrived = append(arrived, again.Checks[0].Action+" "+again.Checks[0].Resource)
			}
			slices.Sort(arrived)
			if tc.want != nil && !slices.Equal(judged, arrived) {
				t.Errorf("judged %q, arrived %q", judged, arrived)
			}
		})
	}
}

// A copy's source is judged as the backend gets it, however it was written.
func TestFoldedHeadersAreJudgedAsTheyAreSent(t *testing.T) {
	backend := newRawBackend(t)
	defer backend.stop()
	b := newBench(t, "http://"+backend.Addr().String())
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},
		{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/ secret"}]}`)
	c, err := net.Dial("tcp", b.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "PUT /data/a HTTP/1.1\r\nHost: "+testHost+"\r\nX-Amz-Copy-Source: data/\r\n\t secret\r\nContent-Length: 0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if rec := b.last(); resp.StatusCode != 403 || rec.Resource != "arn:aws:s3:::data/ secret" {
		t.Errorf("%d %+v", resp.StatusCode, rec)
	}
}

// drop makes the edge forget its backend.
func (b *bench) drop() {
	b.config.Services = nil
	b.configure()
}
