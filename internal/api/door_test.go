// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const (
	testHost   = "127.0.0.1:8420"
	testRegion = "us-east-1"
)

// signer is an account of the tests with its key.
type signer struct {
	caller control.Caller
	key    vpc.AccessKey
}

var signers = []signer{
	{controltest.Consumer, vpc.AccessKey{ID: "AKIACONSUMER00000001", Secret: "consumers/secret+of=forty=characters0000"}},
	{controltest.Provider, vpc.AccessKey{ID: "AKIAPROVIDER00000001", Secret: "providers/secret+of=forty=characters0000"}},
	{controltest.Stranger, vpc.AccessKey{ID: "AKIASTRANGER00000001", Secret: "strangers/secret+of=forty=characters0000"}},
}

// versions are what clients of the services send, by signing name.
var versions = func() map[string]string {
	out := map[string]string{}
	for _, s := range api.Services() {
		out[s.Name] = s.Version
	}
	return out
}()

// door is the whole API in front of a control plane whose life cycles run,
// with three accounts and the service S3.
type door struct {
	t       testing.TB
	c       *control.Control
	clock   *controltest.Clock
	handler http.Handler
	log     *logBuffer
	mu      sync.Mutex
	records []*audit.Record
}

// logBuffer keeps the end of what the server logs, and looks for secrets in it.
type logBuffer struct {
	mu     sync.Mutex
	b      []byte
	secret string // a line with a secret in it
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range signers {
		if bytes.Contains(b, []byte(s.key.Secret)) {
			l.secret = string(b)
		}
	}
	if l.b = append(l.b, b...); len(l.b) > 1<<20 {
		l.b = append([]byte(nil), l.b[len(l.b)-64<<10:]...)
	}
	return len(b), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b[max(0, len(l.b)-16<<10):])
}

// noSecret fails the test if a secret was ever logged.
func (d *door) noSecret() {
	d.t.Helper()
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	if d.log.secret != "" {
		d.t.Errorf("a secret is in the log: %q", d.log.secret)
	}
	if len(d.log.b) == 0 {
		d.t.Error("nothing was logged at all")
	}
}

// dice are random bytes that a seed repeats.
type dice struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (d *dice) Read(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Read(b)
}

func newDoor(t testing.TB) *door {
	t.Helper()
	c, clock := controltest.New(t)
	d := &door{t: t, c: c, clock: clock, log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Log = log
	_, err := c.Store.Update(context.Background(), func(tx *store.Tx) error {
		for _, s := range signers {
			a, _ := vpc.Get[vpc.Account](tx, s.caller.Account)
			a = vpc.Edit(a)
			a.Keys = []vpc.AccessKey{s.key}
			tx.Put(a)
		}
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3", ID: "vpce-svc-0000000000000005a",
			Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint}, PrefixList: "pl-0000000000000000a",
			Prefixes:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			PublicNames: []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"}, Protocol: "s3", PolicySupported: true,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := api.New(c, log)
	h.Audit = func(r *audit.Record) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.records = append(d.records, r)
	}
	d.handler = h
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{c.RunEndpointLifecycle, c.RunInstanceLifecycle, c.RunBalancerLifecycle} {
		wg.Go(func() { _ = run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return d
}

// request is one call before it is signed.
type request struct {
	signer  *signer // nil: not signed
	service string
	method  string // POST if empty
	path    string
	query   string
	body    string
	header  http.Header // beside Content-Type, which is a form's if it is not here
	host    string      // testHost if empty
	region  string      // testRegion if empty
	age     time.Duration
	presign bool
}

// sign makes the request as it arrives.
func (d *door) sign(q request) *http.Request {
	d.t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	if q.host == "" {
		q.host = testHost
	}
	if q.region == "" {
		q.region = testRegion
	}
	if q.service == "" {
		q.service = "ec2"
	}
	if jsonTargets[q.service] != "" && q.header.Get("X-Amz-Target") == "" {
		q = asJSON(q)
	}
	r := httptest.NewRequest(q.method, "http://"+q.host+"/", strings.NewReader(q.body))
	if q.body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if q.path != "" {
		r.URL.Path = q.path
	}
	r.URL.RawQuery = q.query
	r.Host = q.host
	r.RequestURI = ""
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	for k, v := range q.header {
		r.Header[k] = v
	}
	if q.signer == nil {
		return r
	}
	sum := sha256.Sum256([]byte(q.body))
	cred := aws.Credentials{AccessKeyID: q.signer.key.ID, SecretAccessKey: q.signer.key.Secret}
	at := d.c.Now().Add(-q.age)
	s := v4.NewSigner()
	if q.presign {
		u, headers, err := s.PresignHTTP(context.Background(), cred, r, hex.EncodeToString(sum[:]), q.service, q.region, at)
		if err != nil {
			d.t.Fatal(err)
		}
		_, r.URL.RawQuery, _ = strings.Cut(u, "?")
		for k, v := range headers {
			if k != "Host" {
				r.Header[k] = v
			}
		}
		return r
	}
	if err := s.SignHTTP(context.Background(), cred, r, hex.EncodeToString(sum[:]), q.service, q.region, at); err != nil {
		d.t.Fatal(err)
	}
	return r
}

// answer is what a client sees.
type answer struct {
	status        int
	header        http.Header
	body          []byte
	code, message string
	requestID     string // in the body
	took          time.Duration
}

// do sends a request and reads the answer as an XML 1.0 document.
func (d *door) do(q request) answer {
	d.t.Helper()
	return d.serve(d.sign(q))
}

func (d *door) serve(r *http.Request) answer {
	d.t.Helper()
	w := httptest.NewRecorder()
	begun := time.Now()
	d.handler.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), body: w.Body.Bytes(), took: time.Since(begun)}
	if err := a.parse(); err != nil {
		d.t.Errorf("the answer to %s is no XML 1.0: %v\n%.2000q", r.URL, err, a.body)
	}
	return a
}

// parse reads code, message and request id of any protocol's answers.
func (a *answer) parse() error {
	if a.header.Get("Content-Type") == "application/x-amz-json-1.1" {
		return a.parseJSON()
	}
	dec := xml.NewDecoder(bytes.NewReader(a.body))
	var path []string
	roots := 0
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			if roots != 1 {
				return fmt.Errorf("%d roots", roots)
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if len(path) == 0 {
				roots++
			}
			path = append(path, tok.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) == 0 {
				continue
			}
			switch p := strings.Join(path[1:], "/"); p {
			case "Errors/Error/Code", "Error/Code":
				a.code += string(tok)
			case "Errors/Error/Message", "Error/Message":
				a.message += string(tok)
			case "RequestID", "RequestId", "requestId", "ResponseMetadata/RequestId":
				a.requestID += string(tok)
			}
		}
	}
}

// lastRecord is the audit record of the last call.
func (d *door) lastRecord() *audit.Record {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.records) == 0 {
		d.t.Fatal("no call was recorded")
	}
	return d.records[len(d.records)-1]
}
