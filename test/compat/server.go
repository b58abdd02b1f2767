// SPDX-License-Identifier: Apache-2.0

// Package compat runs the API for clients that we did not write: a whole
// control plane on an embedded store behind a loopback port, with its life
// cycles running and signatures checked, but without hosts and packets.
//
// Every answer that leaves it is held against AWS's published model on its way
// out, names, case, place, types and enum values, so each test of a client is a
// sample of answers too.
package compat

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/awsjson"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/route53"
	"postern.dev/postern/internal/api/sdkmodel"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Region is the region of every server, S3 the name of its only service of
// AWS's, offered by gateway and interface endpoints.
const (
	Region = "us-east-1"
	S3     = "com.amazonaws." + Region + ".s3"
)

// Account is an account with its key.
type Account struct {
	ID, Name          string
	AccessKey, Secret string
}

// Options are what a test may want otherwise.
type Options struct {
	// Quotas are the installation's.
	Quotas control.Quotas
	// ClockOff is how far the server's clock is from the clients'.
	ClockOff time.Duration
}

// Server is one running API.
type Server struct {
	URL     string
	Control *control.Control

	t      testing.TB
	mu     sync.Mutex
	calls  []Call
	faults map[string]bool
}

// Call is one request as it came in, and how it was answered.
type Call struct {
	Service, Action string
	Form            url.Values
	Status          int
	Code            string // of an error
}

// Main runs the tests of a package that uses servers, with an environment in
// which no client finds credentials, a proxy or a configuration of the machine's.
func Main(m *testing.M) {
	for _, s := range api.Services() { // the go command needs the environment
		if _, err := sdkmodel.Load(s.Module); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	home, err := os.MkdirTemp("", "compat")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Clearenv()
	for name, value := range map[string]string{
		"HOME": home, "TMPDIR": home, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": home + "/none", "AWS_SHARED_CREDENTIALS_FILE": home + "/none",
	} {
		os.Setenv(name, value)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// New starts a server that ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.OpenEmbedded(context.Background(), t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	now := func() time.Time { return time.Now().Add(o.ClockOff) }
	c := control.New(control.Config{Store: st, Hosts: control.NewHosts(), Now: now, Random: rand.Reader, Log: log, Quotas: o.Quotas})
	operator, err := c.NewAccessKey()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Seed(context.Background(), vpc.Region{
		Name: Region, Domain: "vpce.amazonaws.com",
		Zones: []vpc.Zone{{Name: Region + "a", ID: "use1-az1"}, {Name: Region + "b", ID: "use1-az2"}, {Name: Region + "c", ID: "use1-az3"}},
	}, []vpc.CatalogueService{{
		Name: "s3", ServiceName: S3, Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint},
		Prefixes:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("192.0.2.128/25")},
		PublicNames: []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"}, Protocol: "s3", PolicySupported: true,
	}}, nil, operator)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{c.RunEndpointLifecycle, c.RunInstanceLifecycle, c.RunBalancerLifecycle} {
		wg.Go(func() { run(ctx) })
	}
	s := &Server{Control: c, t: t, faults: map[string]bool{}}
	srv := httptest.NewServer(s.watch(api.New(c, log)))
	s.URL = srv.URL
	t.Cleanup(func() { srv.Close(); cancel(); wg.Wait() })
	return s
}

// Account makes an account.
func (s *Server) Account(name string) Account {
	s.t.Helper()
	a, err := s.Control.CreateAccount(context.Background(), name, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return Account{ID: string(a.ID), Name: name, AccessKey: a.Keys[0].ID, Secret: a.Keys[0].Secret}
}

// Calls are the calls since the last time it was asked, in their order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// watch records calls and checks what is answered.
func (s *Server) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		form := parameters(r, body)
		call := Call{Action: form.Get("Action"), Form: form, Status: answer.Code}
		s.check(&call, answer)
		s.mu.Lock()
		s.calls = append(s.calls, call)
		s.mu.Unlock()
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// parameters are those of a request, with Action and Version, of whichever protocol.
func parameters(r *http.Request, body []byte) url.Values {
	parse, version := awsjson.Parse, ""
	switch {
	case strings.HasPrefix(r.URL.Path, "/"+awsquery.ServiceRoute53.Version+"/"):
		parse, version = route53.Parse, awsquery.ServiceRoute53.Version
	case awsjson.Is(r):
		for _, s := range api.Services() {
			if s.Dialect == awsquery.JSON && s.Namespace == awsjson.Target(r) {
				version = s.Version
			}
		}
	default:
		form, _ := url.ParseQuery(string(body))
		return form
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _, err := parse(r, int64(len(body)))
	if err != nil {
		return url.Values{"Version": {version}}
	}
	out := url.Values{"Action": {form.Action}, "Version": {version}}
	for _, name := range form.Names() {
		out.Set(name, form.Get(name))
	}
	return out
}

func (s *Server) check(call *Call, answer *httptest.ResponseRecorder) {
	for _, svc := range api.Services() {
		if call.Form.Get("Version") != svc.Version {
			continue
		}
		call.Service = svc.Module
		if call.Status >= http.StatusMultipleChoices {
			call.Code = errorCode(answer.Body.Bytes())
			if call.Code == "" || call.Status >= 500 {
				s.fault(call, fmt.Sprintf("answered %d %s", call.Status, answer.Body))
			}
			return
		}
		model, err := sdkmodel.Load(svc.Module)
		if err != nil {
			s.fault(call, err.Error())
			return
		}
		shape, err := model.Operation(call.Action)
		if err != nil {
			s.fault(call, err.Error())
			return
		}
		for _, p := range sdkmodel.CheckAnswer(svc.Service, call.Action, answer.Body.Bytes(), shape, accepted) {
			s.fault(call, p)
		}
		return
	}
	// Clients ask for services that are not here: Ansible for IAM's aliases of
	// the account. They have to be told so.
	if call.Code = errorCode(answer.Body.Bytes()); call.Code == "" || call.Status >= 500 {
		s.fault(call, fmt.Sprintf("is of no service, and is answered %d %s", call.Status, answer.Body))
	}
}

// accepted are the values that AWS sends although its published enum has them
// otherwise: the states of an endpoint begin with a small letter on the wire.
func accepted(path, value string) bool {
	name := path[strings.LastIndex(path, "/")+1:]
	switch {
	case name == "vpcEndpointState", name == "state" && strings.HasPrefix(path, "vpcEndpoint"):
		switch value {
		case "pendingAcceptance", "pending", "available", "rejected", "expired", "failed", "deleting", "deleted":
			return true
		}
	}
	return false
}

// fault reports what is wrong with an answer, once per test.
func (s *Server) fault(call *Call, what string) {
	what = call.Action + ": " + what
	s.mu.Lock()
	seen := s.faults[what]
	s.faults[what] = true
	s.mu.Unlock()
	if !seen {
		s.t.Errorf("the answer is not in AWS's published model: %s", what)
	}
}

// errorCode reads the code of an error answer of any protocol.
func errorCode(body []byte) string {
	var j struct {
		Type    string `json:"__type"`
		Message string
	}
	if json.Unmarshal(body, &j) == nil && j.Message != "" {
		return j.Type
	}
	var e struct {
		XMLName xml.Name
		EC2     string `xml:"Errors>Error>Code"`
		EC2ID   string `xml:"RequestID"`
		Query   string `xml:"Error>Code"`
		QueryID string `xml:"RequestId"`
	}
	if xml.Unmarshal(body, &e) != nil {
		return ""
	}
	switch {
	case e.XMLName.Local == "Response" && e.EC2ID != "":
		return e.EC2
	case e.XMLName.Local == "ErrorResponse" && e.QueryID != "":
		return e.Query
	}
	return ""
}
