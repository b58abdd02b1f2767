// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/caller"
	"postern.dev/postern/internal/vpc"
)

// identify has the bench's backend told who calls.
func (b *bench) identify(how vpc.BackendIdentity) {
	s := b.config.Services["s3"]
	s.Identity = how
	b.config.Services = map[string]desired.Service{"s3": s}
	b.configure()
}

// seenHeads is what came at the head of each of a backend's connections, and
// the request lines that came over it.
type seenHeads struct {
	mu    sync.Mutex
	heads []string
	lines map[string][]string // by head and connection
}

// headed is a backend that wants a header of the PROXY protocol.
func headed(t *testing.T, secure bool) (*seenHeads, *httptest.Server) {
	seen := &seenHeads{lines: map[string][]string{}}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c net.Conn = r.Context().Value(headKey{}).(net.Conn)
		if s, ok := c.(*tls.Conn); ok {
			c = s.NetConn()
		}
		head := c.(*headConn).head
		seen.mu.Lock()
		defer seen.mu.Unlock()
		key := fmt.Sprintf("%s %s", head, c.RemoteAddr())
		if len(seen.lines[key]) == 0 {
			seen.heads = append(seen.heads, head)
		}
		seen.lines[key] = append(seen.lines[key], r.RequestURI)
		io.WriteString(w, head)
	}))
	srv.Listener = headListener{srv.Listener}
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, headKey{}, c) }
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return seen, srv
}

type headKey struct{}

type headListener struct{ net.Listener }

// headConn is a connection whose header was read.
type headConn struct {
	net.Conn
	in   *bufio.Reader
	head string
}

func (c *headConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (l headListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	start, err := in.Peek(16)
	if err != nil || !bytes.HasPrefix(start, []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11")) {
		c.Close()
		return l.Accept()
	}
	h := make([]byte, 16+(int(start[14])<<8|int(start[15])))
	if _, err := io.ReadFull(in, h); err != nil {
		c.Close()
		return l.Accept()
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(h[16:20])), uint16(h[24])<<8|uint16(h[25]))
	return &headConn{c, in, fmt.Sprintf("%s %s", from, h[32:])}, nil
}

func TestABackendsConnectionsAreOneClientsAlone(t *testing.T) {
	seen, srv := headed(t, false)
	b := newBench(t, srv.URL)
	b.identify(vpc.IdentityProxy)
	const want = "10.0.1.5:40000 " + string(testEndpoint)
	for range 3 {
		if resp, got := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 200 || got != want {
			t.Errorf("%d, the backend was told %q, want %q", resp.StatusCode, got, want)
		}
	}
	if len(seen.heads) != 1 {
		t.Errorf("three requests of one connection came over %q", seen.heads)
	}
	// The same client through a new connection of its own, and another one.
	for _, client := range []string{"10.0.1.5:40001", "10.0.1.6:40000"} {
		b.mu.Lock()
		b.identity.Client = netip.MustParseAddrPort(client)
		b.mu.Unlock()
		b.client.CloseIdleConnections()
		if _, got := b.do(b.request("GET", testHost, "/data/a", "")); got != client+" "+string(testEndpoint) {
			t.Errorf("the backend was told %q of %s", got, client)
		}
	}
	if len(seen.heads) != 3 {
		t.Errorf("three clients came over %q", seen.heads)
	}
	// Without, the connections are everybody's again.
	b.identify(vpc.IdentityNone)
	if resp, _ := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 503 {
		t.Errorf("a backend that wants a header was not refused by: %d", resp.StatusCode)
	}
}

func TestAConnectionsHeaderComesBeforeTLS(t *testing.T) {
	_, srv := headed(t, true)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	o := &ownBackend{}
	defer o.close()
	be, err := new(backends).get(srv.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	be.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	tr := o.to(be, caller.Proxy(testIdentity.Client, netip.MustParseAddrPort("100.64.0.1:443"), string(testEndpoint)))
	resp, err := (&http.Client{Transport: tr}).Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "10.0.1.5:40000 "+string(testEndpoint) {
		t.Errorf("the backend was told %q (%v)", got, err)
	}
}

func TestAClientsConnectionsEndWithIt(t *testing.T) {
	closed := make(chan struct{}, 1)
	_, srv := headed(t, false)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	b := newBench(t, srv.URL)
	b.identify(vpc.IdentityProxy)
	b.do(b.request("GET", testHost, "/data/a", ""))
	b.client.CloseIdleConnections()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the backend's connection outlives its client's")
	}
}

func TestARequestSaysWhoItIsFrom(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.Header }))
	defer srv.Close()
	b := newBench(t, srv.URL)
	// What a client says itself is taken out, in any spelling and whether the
	// backend is told who calls or not.
	said := func() http.Header {
		conn := dial(t, b.http, "GET /data/a?x=%20 HTTP/1.1\r\nHost: "+testHost+"\r\nConnection: close\r\nPostern-Identity: v=1;endpoint=vpce-0f\r\n"+
			"POSTERN-IDENTITY: b\r\npostern-identity: c\r\nPostern_Identity: d\r\npostern_IDENTITY: e\r\n\r\n")
		if answer, _ := io.ReadAll(conn); !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
			t.Fatalf("%s", answer)
		}
		b.last()
		return <-got
	}
	names := func(h http.Header) (out []string) {
		for name, v := range h {
			if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), call.HeaderIdentity) {
				out = append(out, v...)
			}
		}
		return out
	}
	if v := names(said()); len(v) != 0 {
		t.Errorf("the backend was told %q", v)
	}
	b.config.IdentityKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	b.identify(vpc.IdentityHeader)
	v := names(said())
	if len(v) != 1 {
		t.Fatalf("the backend was told %q", v)
	}
	signed, signature, _ := strings.Cut(v[0], ";signature=")
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	text := signed + "\nGET\n" + testHost + "\n/data/a?x=%20"
	if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey), []byte(text), sig) {
		t.Errorf("%q is not signed", v[0])
	}
	b.mu.Lock()
	id := b.records[len(b.records)-1].RequestID
	b.mu.Unlock()
	want := "v=1;service=s3;endpoint=" + string(testEndpoint) + ";vpc=vpc-0a;account=" + testAccount + ";interface=eni-0b;client=10.0.1.5:40000;request=" + id + ";time="
	if !strings.HasPrefix(signed, want) {
		t.Errorf("the backend was told %q, want %q...", signed, want)
	}
	// A signed one cannot be replaced, so it is refused.
	r := b.request("GET", testHost, "/data/a", "", "Postern-Identity: mine")
	if !strings.Contains(r.Header.Get("Authorization"), "postern-identity") {
		t.Fatal("the test's header is not signed")
	}
	if resp, _ := b.do(r); resp.StatusCode != 400 {
		t.Errorf("a signed one is answered with %d", resp.StatusCode)
	}
	b.last()
	// Without a key nothing is passed on.
	b.config.IdentityKey = "none"
	b.configure()
	if resp, _ := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 503 || len(got) != 0 {
		t.Errorf("without a key: %d", resp.StatusCode)
	}
	b.last()
}
