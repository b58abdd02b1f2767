// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/dynamodb"
	"postern.dev/postern/internal/edge/s3"
	"postern.dev/postern/internal/edge/services"
	"postern.dev/postern/internal/vpc"
)

// safeLog is a log that is read while it is written.
type safeLog struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// logged gives the edges of a test a log of errors and warnings.
func logged(t *testing.T) *safeLog {
	l, before := &safeLog{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return l
}

// panicking adds a protocol whose requests panic: when they are read or, for a
// path /late, when the answer has been sent.
func panicking(t *testing.T, writeError func(http.ResponseWriter, *http.Request, *call.Error, string, string)) {
	protocols["panicking"] = protocol{namespace: "s3", writeError: writeError, read: func(r call.Request, _ *service) (*call.Call, *call.Error) {
		if r.URI != "/late" {
			panic("not read")
		}
		c := call.New()
		c.Add("s3:GetObject", "arn:aws:s3:::data/a")
		c.Answer = func(int, []byte) { panic("not kept") }
		return c, nil
	}}
	t.Cleanup(func() { delete(protocols, "panicking") })
}

func TestAPanicIsAnsweredLoggedAndCounted(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "answer")
		w.(http.Flusher).Flush() // of no known length
	}))
	defer srv.Close()
	for name, tc := range map[string]struct {
		writeError func(http.ResponseWriter, *http.Request, *call.Error, string, string)
		want       string
	}{
		"s3":       {s3.WriteError, "<Code>InternalError</Code>"},
		"dynamodb": {dynamodb.WriteError, `"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"`},
		"sqs":      {services.SQS.WriteError, `"__type":"InternalFailure"`},
		"sts":      {services.STS.WriteError, "<Code>InternalFailure</Code>"},
		"ec2":      {services.EC2.WriteError, "<Code>InternalError</Code>"},
		"ecr.dkr":  {services.WriteRegistryError, `"code":"UNKNOWN"`},
	} {
		t.Run(name, func(t *testing.T) {
			log := logged(t)
			panicking(t, tc.writeError)
			b := newBench(t, srv.URL)
			svc := b.config.Services["s3"]
			svc.Protocol = "panicking"
			b.config.Services = map[string]desired.Service{"s3": svc}
			b.configure()
			r := b.request("GET", testHost, "/early", "")
			if name == "sqs" {
				r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
			}
			resp, got := b.do(r)
			rec := b.last()
			if resp.StatusCode != 500 || !strings.Contains(got, tc.want) || !resp.Close {
				t.Errorf("%d %q close=%v, want 500 with %s", resp.StatusCode, got, resp.Close, tc.want)
			}
			if rec.Status != 500 || rec.Error != "panic: not read" || rec.Decision != DecisionInvalid {
				t.Errorf("%+v", rec)
			}
			if l := log.String(); !strings.Contains(l, "level=ERROR") || !strings.Contains(l, rec.RequestID) || !strings.Contains(l, "panic_test.go") || !strings.Contains(l, "panics=1 ") {
				t.Errorf("logged %s", l)
			}
			// One that comes at once is in the records only.
			b.do(b.request("GET", testHost, "/early", ""))
			b.last()
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
				t.Errorf("%d errors logged", n)
			}
			// When an answer has begun, it must not look whole.
			if resp, err := b.client.Do(b.request("GET", testHost, "/late", "")); err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil {
					t.Error("an answer whose handler panicked looks whole")
				}
			}
			if rec := b.last(); rec.Error != "panic: not kept" || rec.Decision != DecisionAllow {
				t.Errorf("%+v", rec)
			}
		})
	}
}

func TestWhatClientsDoWrongIsNotLogged(t *testing.T) {
	log := logged(t)
	b := newBench(t, signedBackend(t).URL)
	for range 3 {
		io.Copy(io.Discard, dial(t, b.https, "GET / HTTP/1.1\r\n\r\n")) // no TLS
	}
	if l := log.String(); l != "" {
		t.Errorf("logged %s", l)
	}
	l := serverLog{slog.Default()}
	io.WriteString(l, "http: TLS handshake error from 10.0.1.5:40000: EOF\n")
	io.WriteString(l, "http: panic serving 10.0.1.5:40000: boom\n")
	if l := log.String(); strings.Count(l, "\n") != 1 || !strings.Contains(l, "level=ERROR") || !strings.Contains(l, "boom") {
		t.Errorf("logged %s", l)
	}
}

// A backend that hangs, clients that send half a request and handlers that
// panic keep nobody else's requests from being answered.
func TestOneServicesTroubleIsNotAnothers(t *testing.T) {
	logged(t)
	hold, arrived := make(chan struct{}), make(chan struct{}, 100)
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-hold }))
	t.Cleanup(hangs.Close) // after the clients with half a request
	works := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "works") }))
	defer works.Close()
	panicking(t, s3.WriteError)
	b := newBench(t, hangs.URL)
	const n = 40
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(hold)
	for range n {
		wg.Go(func() {
			if resp, err := b.client.Do(b.request("GET", testHost, "/data/a", "")); err == nil {
				resp.Body.Close()
			}
		})
		dial(t, b.http, "PUT /data/a HTTP/1.1\r\nHost: "+testHost+"\r\nContent-Length: 10\r\n\r\nhalf")
	}
	for range 2 * n {
		<-arrived
	}
	// Another VPC, whose services are a panicking and a good one.
	other := func(id vpc.EndpointID, service string) {
		b.config.Endpoints[id] = desired.Endpoint{ID: id, Owner: testAccount, VPC: "vpc-0c", VNI: testIdentity.VNI + 1, Type: vpc.GatewayEndpoint, Service: service, Policy: allowAll}
	}
	s := b.config.Services["s3"]
	s.Backends = []string{works.URL}
	b.service("good", s)
	s.Protocol = "panicking"
	b.service("bad", s)
	other("vpce-0a", "good")
	other("vpce-0b", "bad")
	b.configure()
	through := func(id vpc.EndpointID) {
		b.mu.Lock()
		b.identity = Identity{VNI: testIdentity.VNI + 1, Client: testIdentity.Client, Endpoint: vpc.Num(id)}
		b.mu.Unlock()
		b.client.CloseIdleConnections()
	}
	for range 3 {
		through("vpce-0b")
		if resp, _ := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 500 {
			t.Errorf("a panic is answered with %d", resp.StatusCode)
		}
		through("vpce-0a")
		if resp, got := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 200 || got != "works" {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
	}
}
