// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/goleak"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/tally"
	"postern.dev/postern/internal/vpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testEndpoint = vpc.EndpointID("vpce-0123456789abcdef0")
	testHost     = "s3.us-east-1.amazonaws.com"
	testAccount  = "111111111111"
	allowAll     = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`
)

var (
	testCreds    = aws.Credentials{AccessKeyID: "AKIATEST", SecretAccessKey: "not-a-real-secret"}
	testIdentity = Identity{VNI: vpc.FirstVNI, Client: netip.MustParseAddrPort("10.0.1.5:40000"), Interface: 7, Endpoint: vpc.Num(testEndpoint)}
	testTime     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// identFunc is an Identifier.
type identFunc func(remote, local netip.AddrPort, proto int) (Identity, error)

func (f identFunc) Identify(remote, local netip.AddrPort, proto int) (Identity, error) {
	return f(remote, local, proto)
}

// bench is a running edge with a backend of the test's.
type bench struct {
	t        *testing.T
	http     string // addresses
	https    string
	configs  chan Config
	served   chan map[string]*service // of each configuration in force
	config   Config
	client   *http.Client
	mu       sync.Mutex
	records  []Record
	totals   *tally.Counter
	recorded chan struct{}
	unknown  bool // nobody is identified
	identity Identity
}

func newBench(t *testing.T, backend string) *bench { return newBenchWith(t, backend, defaultLimits) }

func newBenchWith(t *testing.T, backend string, l limits) *bench {
	b := &bench{t: t, identity: testIdentity, configs: make(chan Config), served: make(chan map[string]*service), recorded: make(chan struct{}, 1000), totals: tally.New(testTime)}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	sockets := Sockets{HTTP: listen(), HTTPS: listen()}
	b.http, b.https = sockets.HTTP.Addr().String(), sockets.HTTPS.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		s := newServer(identFunc(func(_, _ netip.AddrPort, proto int) (Identity, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.unknown || proto != 6 {
				return Identity{}, errors.New("nobody")
			}
			return b.identity, nil
		}), func(r Record) {
			b.totals.Count(r.Tally())
			b.mu.Lock()
			b.records = append(b.records, r)
			b.mu.Unlock()
			b.recorded <- struct{}{}
		})
		s.limits = l
		s.served = func() { b.served <- s.state.Load().services }
		done <- s.run(ctx, sockets, b.configs)
	}()
	b.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, ExpectContinueTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	b.config = Config{
		Region: "us-east-1",
		VPCs:   map[vpc.VNI]desired.VPC{testIdentity.VNI: {ID: "vpc-0a", Owner: testAccount, VNI: testIdentity.VNI}},
		Services: map[string]desired.Service{"s3": {
			Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", Protocol: "s3", Backends: []string{backend},
			PublicNames: []string{testHost, "*." + testHost},
		}},
		Interfaces: map[uint64]Interface{7: {ID: "eni-0b", VPC: "vpc-0a", Owner: testAccount}},
		Keys:       map[string]vpc.AccountID{testCreds.AccessKeyID: testAccount},
	}
	b.policy(allowAll)
	return b
}

// service puts a service in the next configuration; the server has the last one.
func (b *bench) service(name string, s desired.Service) {
	b.config.Services = maps.Clone(b.config.Services)
	b.config.Services[name] = s
}

// policy gives the endpoint a policy; "gone" removes the endpoint.
func (b *bench) policy(doc string) {
	b.config.Endpoints = map[vpc.EndpointID]desired.Endpoint{testEndpoint: {
		ID: testEndpoint, Owner: testAccount, VPC: "vpc-0a", VNI: testIdentity.VNI, Type: vpc.GatewayEndpoint, Service: "s3", Policy: doc,
	}}
	if doc == "gone" {
		b.config.Endpoints = nil
	}
	b.configure()
}

// configure returns when the config is in force.
func (b *bench) configure() {
	b.configs <- b.config
	if got := <-b.served; len(got) != len(b.config.Services) {
		b.t.Errorf("a configuration with %d services is said to be in force, and %d are served", len(b.config.Services), len(got))
	}
}

// last waits for a record and returns it.
func (b *bench) last() Record {
	b.t.Helper()
	select {
	case <-b.recorded:
	case <-time.After(10 * time.Second):
		b.t.Fatal("no record")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records[len(b.records)-1]
}

// request makes a signed request with this very URI.
func (b *bench) request(method, host, uri, body string, header ...string) *http.Request {
	b.t.Helper()
	r := rawRequest(b.t, method, host, uri, body)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	sum := sha256.Sum256([]byte(body))
	r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	signed := r.Clone(context.Background())
	path, _, _ := strings.Cut(uri, "?")
	signed.URL.Opaque = "//" + host + path
	if err := v4.NewSigner().SignHTTP(context.Background(), testCreds, signed, hex.EncodeToString(sum[:]), "s3", "us-east-1", testTime, s3Signing); err != nil {
		b.t.Fatal(err)
	}
	r.Header = signed.Header
	r.URL.Host = b.http
	return r
}

func s3Signing(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }

// rawRequest makes a request whose line has this very URI.
func rawRequest(t *testing.T, method, host, uri, body string) *http.Request {
	t.Helper()
	path, query, _ := strings.Cut(uri, "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "http", Host: host, Path: decoded, RawPath: path, RawQuery: query}
	if u.EscapedPath() != path {
		u.Opaque = path
	}
	r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{}}
	if body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	return r
}

func (b *bench) do(r *http.Request) (*http.Response, string) {
	b.t.Helper()
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return resp, string(body)
}

// verify checks a signature as S3 does: from the request as it arrived.
func verify(r *http.Request, body []byte) error {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	path, query, _ := strings.Cut(r.RequestURI, "?")
	again := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}, URL: &url.URL{Scheme: "http", Host: r.Host, Opaque: "//" + r.Host + path, RawQuery: query}}
	_, list, ok := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	if !ok {
		return errors.New("no signature")
	}
	list, _, _ = strings.Cut(list, ",")
	for name := range strings.SplitSeq(list, ";") {
		switch name {
		case "content-length":
			again.ContentLength = r.ContentLength
		case "host":
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	if err := v4.NewSigner().SignHTTP(context.Background(), testCreds, again, hash, "s3", "us-east-1", testTime, s3Signing); err != nil {
		return err
	}
	if got, want := r.Header.Get("Authorization"), again.Header.Get("Authorization"); got != want {
		return errors.New("SignatureDoesNotMatch: " + got + " is not " + want)
	}
	return nil
}

// signedBackend answers what it got if the signature is right.
func signedBackend(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Amz-Request-Id", "BACKEND")
		if err := verify(r, body); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestSignaturesSurviveWithAnyKey(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	for _, key := range []string{
		"plain", "a%20b", "a+b", "%E2%82%AC/%C3%A9", "a%2Fb", "a//b", "/a", "a/../b", "./a", "a%252Fb", "x%3Fy%23z", "tr/ailing/",
		"a!'()*b", "a%21%27%28%29%2A", "a:b@c=d,e&f$g", "%7Etilde~", "%5Bx%5D", "[x]", "€", "%22quote%22", "a;b", "%5Cback",
		"%0Aline", "a%2fb", "..a", strings.Repeat("k", 1024),
	} {
		for _, style := range []struct{ host, uri string }{{testHost, "/data/" + key}, {"data." + testHost, "/" + key}} {
			uri := style.uri + "?x-id=PutObject"
			resp, got := b.do(b.request("PUT", style.host, uri, "body", "X-Amz-Meta-Note: hello   world"))
			if want := "PUT " + uri + " body"; resp.StatusCode != 200 || got != want {
				t.Errorf("%s %s: %d %s", style.host, uri, resp.StatusCode, got)
			}
			if rec := b.last(); rec.Decision != DecisionAllow || rec.Bucket != "data" || rec.Status != resp.StatusCode || rec.BytesIn != 4 {
				t.Errorf("%s: record %+v", uri, rec)
			}
		}
	}
	// Query values keep their spelling too.
	uri := "/data?list-type=2&prefix=a%20b%2F+c&delimiter=/"
	if resp, got := b.do(b.request("GET", testHost, uri, "")); resp.StatusCode != 200 || got != "GET "+uri+" " {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
}

func TestDenialIsS3sAndNamesTheStatement(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	b.policy(`{"Statement":[
		{"Sid":"Read","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/*",
		 "Condition":{"StringEquals":{"aws:SourceVpce":"` + string(testEndpoint) + `","aws:SourceVpc":"vpc-0a","aws:PrincipalAccount":"` + testAccount + `"},
		              "IpAddress":{"aws:VpcSourceIp":"10.0.1.0/24"}}},
		{"Sid":"NoSecrets","Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::data/secret/*"}]}`)
	if resp, got := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, got)
	}
	rec := b.last()
	if rec.Sid != "Read" || rec.Statement != 0 || rec.BackendRequestID != "BACKEND" || rec.Client != "10.0.1.5:40000" || rec.Interface != "eni-0b" ||
		rec.Endpoint != string(testEndpoint) || rec.VPC != "vpc-0a" || rec.Principal != "arn:aws:iam::111111111111:root" {
		t.Errorf("record %+v", rec)
	}

	resp, got := b.do(b.request("PUT", testHost, "/data/a", "x"))
	var e struct{ Code, Message, RequestId, HostId string }
	if err := xml.Unmarshal([]byte(got), &e); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	want := `User: arn:aws:iam::111111111111:root is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::data/a" because no VPC endpoint policy allows the s3:PutObject action`
	rec = b.last()
	if resp.StatusCode != 403 || e.Code != "AccessDenied" || e.Message != want || e.RequestId != resp.Header.Get("X-Amz-Request-Id") || e.RequestId != rec.RequestID || e.HostId == "" {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	if rec.Decision != DecisionDeny || rec.Action != "s3:PutObject" || rec.Status != 403 || rec.Reason == "" {
		t.Errorf("record %+v", rec)
	}

	// Spellings that a backend might tidy up do not get around the Deny.
	for _, key := range []string{"secret/x", "/secret/x", "a/../secret/x", "./secret/x", "secret//x", "%73ecret/x"} {
		resp, got = b.do(b.request("GET", testHost, "/data/"+key, ""))
		if rec := b.last(); resp.StatusCode != 403 || !strings.Contains(got, "explicit deny in a VPC endpoint policy") || rec.Sid != "NoSecrets" || rec.Statement != 1 {
			t.Errorf("%s: %d %s", key, resp.StatusCode, got)
		}
	}

	if resp, got = b.do(b.request("HEAD", testHost, "/data/secret/x", "")); resp.StatusCode != 403 || got != "" || resp.Header.Get("X-Amz-Request-Id") == "" {
		t.Errorf("HEAD: %d %q %v", resp.StatusCode, got, resp.Header)
	}
	b.last()

	// An unsigned request, and a key nobody has, have no account.
	r := rawRequest(t, "GET", testHost, "/data/a", "")
	r.URL.Host = b.http
	if resp, got := b.do(r); resp.StatusCode != 403 || !strings.Contains(got, "User: anonymous") {
		t.Errorf("unsigned: %d %s", resp.StatusCode, got)
	}
	if rec := b.last(); rec.Condition == "" || rec.Sid != "Read" {
		t.Errorf("record %+v", rec)
	}
}

func TestWrongHostIsRefused(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	resp, got := b.do(b.request("GET", "other.example", "/data/a", ""))
	if rec := b.last(); resp.StatusCode != 400 || !strings.Contains(got, "<Code>InvalidRequest</Code>") || rec.Decision != DecisionInvalid {
		t.Errorf("%d %s %+v", resp.StatusCode, got, rec)
	}
}

func TestPolicyChangeCountsForOpenConnectionsAndRemovalClosesThem(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	c, err := net.Dial("tcp", b.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	br := bufio.NewReader(c)
	status := func() int {
		r := b.request("GET", testHost, "/data/a", "")
		if err := r.Write(c); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if got := status(); got != 200 {
		t.Errorf("allowed: %d", got)
	}
	b.policy(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`)
	if got := status(); got != 403 {
		t.Errorf("denied: %d", got)
	}
	b.policy(`not a policy`)
	if got := status(); got != 403 {
		t.Errorf("unreadable policy: %d", got)
	}
	b.policy("")
	if got := status(); got != 200 {
		t.Errorf("default policy: %d", got)
	}
	b.policy("gone")
	if n, err := br.ReadByte(); err == nil {
		t.Errorf("the connection still gives %d after its endpoint went", n)
	}
	if c2, err := net.Dial("tcp", b.http); err == nil {
		c2.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c2.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a new connection to a removed endpoint is open: %v", err)
		}
		c2.Close()
	}
}

func TestUnknownClientIsClosed(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	b.mu.Lock()
	b.unknown = true
	b.mu.Unlock()
	c, err := net.Dial("tcp", b.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the connection closed", err)
	}
}

func TestOneVPCCannotTakeAllConnections(t *testing.T) {
	s := newServer(identFunc(func(netip.AddrPort, netip.AddrPort, int) (Identity, error) { return testIdentity, nil }), nil)
	s.configure(Config{
		Services:  map[string]desired.Service{"s3": {Name: "s3"}},
		Endpoints: map[vpc.EndpointID]desired.Endpoint{testEndpoint: {ID: testEndpoint, VNI: testIdentity.VNI, Service: "s3"}},
	})
	var open []*conn
	for range maxConnsPerVNI {
		a, z := net.Pipe()
		z.Close()
		c := s.admit(a)
		if c == nil {
			t.Fatalf("refused after %d", len(open))
		}
		open = append(open, c)
	}
	a, z := net.Pipe()
	defer a.Close()
	defer z.Close()
	if s.admit(a) != nil {
		t.Error("one more than the limit was admitted")
	}
	open[0].Close()
	open[0].Close() // counted once
	if s.admit(a) == nil {
		t.Error("refused though one was closed")
	}
	if s.admit(z) != nil {
		t.Error("closing twice made two places")
	}
}

func TestBackendDownIs503(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	b := newBench(t, "http://"+l.Addr().String())
	resp, got := b.do(b.request("GET", testHost, "/data/a", ""))
	if resp.StatusCode != 503 || !strings.Contains(got, "<Code>ServiceUnavailable</Code>") {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	if rec := b.last(); rec.Error == "" || rec.Decision != DecisionAllow || rec.Status != 503 {
		t.Errorf("record %+v", rec)
	}
}

func TestBackendOnUnixSocketAndForwardedHeadersDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s3.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range append([]string{"Accept-Encoding", "Via"}, call.Overriding...) {
			if r.Header.Get(h) != "" && h != call.HeaderContext {
				t.Errorf("the backend got %s: %s", h, r.Header.Get(h))
			}
		}
		// A backend of this machine is told who is there, and by us alone.
		if got := r.Header[call.HeaderContext]; len(got) != 1 || !strings.Contains(got[0], `"aws:SourceVpce":"`+string(testEndpoint)+`"`) || !strings.Contains(got[0], `"aws:PrincipalArn":"arn:aws:iam::111111111111:root"`) {
			t.Errorf("%s: %v", call.HeaderContext, got)
		}
		io.WriteString(w, r.Host)
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	b := newBench(t, "unix:"+path)
	r := b.request("GET", "data."+testHost, "/a", "")
	for _, h := range call.Overriding {
		r.Header.Set(h, "192.0.2.1")
	}
	if resp, got := b.do(r); resp.StatusCode != 200 || got != "data."+testHost {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
}

func TestAnswerThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	resp, err := b.client.Do(b.request("GET", testHost, "/data/a", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client read %q as if it were all", got)
	}
	if rec := b.last(); rec.Status != 200 || rec.BytesOut != 4 {
		t.Errorf("record %+v", rec)
	}
}

func TestBulkDeleteIsJudgedKeyByKeyAndSentUnchanged(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::data/tmp/*"}]}`)
	body := func(keys ...string) string {
		var s bytes.Buffer
		s.WriteString(`<Delete>`)
		for _, k := range keys {
			s.WriteString("<Object><Key>" + k + "</Key></Object>")
		}
		return s.String() + `</Delete>`
	}
	want := body("tmp/a", "tmp/b &amp; c")
	if resp, got := b.do(b.request("POST", testHost, "/data?delete", want)); resp.StatusCode != 200 || got != "POST /data?delete "+want {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	if rec := b.last(); rec.Resource != "arn:aws:s3:::data/tmp/a" || !slices.Equal(rec.Further, []Asked{{"s3:DeleteObject", "arn:aws:s3:::data/tmp/b & c"}}) {
		t.Errorf("%+v", rec)
	}
	resp, got := b.do(b.request("POST", testHost, "/data?delete=", body("tmp/a", "keep/b")))
	if rec := b.last(); resp.StatusCode != 403 || rec.Resource != "arn:aws:s3:::data/keep/b" {
		t.Errorf("%d %s %+v", resp.StatusCode, got, rec)
	}
	if resp, got := b.do(b.request("POST", testHost, "/data?delete", strings.Repeat(" ", 2<<20+1))); resp.StatusCode != 400 {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
}

func TestPresignedRequestPasses(t *testing.T) {
	var uri string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { uri = r.RequestURI }))
	defer srv.Close()
	b := newBench(t, srv.URL)
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"s3:authType":"REST-QUERY-STRING","aws:PrincipalArn":"arn:aws:iam::111111111111:root"}}}]}`)
	r := rawRequest(t, "GET", testHost, "/data/a%20b?X-Amz-Expires=60", "")
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), testCreds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", testTime, s3Signing)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(signed, "http://"+testHost)
	r = rawRequest(t, "GET", testHost, want, "")
	r.URL.Host = b.http
	if resp, got := b.do(r); resp.StatusCode != 200 || uri != want {
		t.Errorf("%d %s\n got %s\nwant %s", resp.StatusCode, got, uri, want)
	}
}

func TestTLSServesTheServicesNamesOnly(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	cert, pool := selfSigned(t, testHost, "*."+testHost)
	b.config.Certificates = map[string]Certificate{"s3": cert}
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}`)
	for name, version := range map[string]int{testHost: 2, "data." + testHost: 1} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name}, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(version == 1)
		tr.Protocols.SetHTTP2(version == 2)
		r := b.request("GET", name, "/data/a", "")
		r.URL.Scheme, r.URL.Host = "https", b.https
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.ProtoMajor != version {
			t.Errorf("%s: %s %s", name, resp.Proto, resp.Status)
		}
		tr.CloseIdleConnections()
		if rec := b.last(); !rec.Secure {
			t.Errorf("record %+v", rec)
		}
	}
	if _, err := tls.Dial("tcp", b.https, &tls.Config{InsecureSkipVerify: true, ServerName: "other.example"}); err == nil {
		t.Error("a TLS client got a certificate for a name that is not the service's")
	}
	if resp, _ := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 403 {
		t.Errorf("plain HTTP: %s, the policy wants TLS", resp.Status)
	}
}

func selfSigned(t *testing.T, names ...string) (Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return Certificate{
		CertPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		KeyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}, pool
}
