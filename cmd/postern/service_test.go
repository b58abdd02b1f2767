// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
)

func TestEveryProtocolOfTheEdgeCanBeInTheCatalogue(t *testing.T) {
	if got, want := catalogue.Protocols(), edge.Protocols(); !slices.Equal(got, want) {
		t.Errorf("the catalogue takes %q, the edge serves %q", got, want)
	}
}

// Each file of examples/services is one that a server starts with.
func TestExampleServicesLoad(t *testing.T) {
	files, err := filepath.Glob("../../examples/services/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	readme, err := os.ReadFile("../../examples/services/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for _, region := range []string{"us-east-1", "eu-central-2"} {
			cfg := defaultConfig()
			cfg.DataDir, cfg.ServicesFile, cfg.Region = t.TempDir(), f, region
			if err := cfg.addServicesFile(); err != nil {
				t.Fatal(err)
			}
			// Beside S3 as it is there in s3.yaml, or alone.
			if filepath.Base(f) != "s3.yaml" {
				s3, err := readServicesFile("../../examples/services/s3.yaml")
				if err != nil {
					t.Fatal(err)
				}
				cfg.Services, cfg.written = append(cfg.Services, s3.Services...), append(cfg.written, s3.written...)
			}
			if err := cfg.check(); err != nil {
				t.Errorf("%s: %v", region, err)
			}
		}
		if !bytes.Contains(readme, []byte("("+filepath.Base(f)+")")) {
			t.Errorf("the README does not name %s", f)
		}
	}
}

func TestBadServicesAreToldWithFileAndLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	cfg := defaultConfig()
	cfg.DataDir = dir
	conf := write("postern.yaml", `region: us-east-1
services:
  - name: sqs
    backend: http://192.0.2.1/q
servicesFile: `+dir+`/more.yaml
`)
	more := write("more.yaml", `services:
  - name: sns
    backend: http://192.0.2.1:80
    privateNames:
      - sns.example.com
      - sns
  - name: sqs
    backend: http://192.0.2.2
`)
	if err := loadConfig(conf, &cfg); err != nil {
		t.Fatal(err)
	}
	if err := cfg.addServicesFile(); err != nil {
		t.Fatal(err)
	}
	err := cfg.check()
	want := conf + `:4: service "sqs": backend: "http://192.0.2.1/q": a path or query is not possible: requests keep their own
` + more + `:6: service "sns": privateNames[1]: "sns" is no DNS name of two or more labels; a wildcard is its first
` + more + `:7: service "sqs": name: there is a service sqs already`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for text, want := range map[string]string{
		"services:\n  - name: a\n    tls: {certificate: none.pem}\n": "f.yaml:3: service \"a\": tls.certificate: stat ",
		"service: []\n": "f.yaml:1: unknown field \"service\"",
		"services: []":  "no entry",
	} {
		if _, err := readServicesFile(write("f.yaml", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestBackendURLsAreWhereTheSettingsSay(t *testing.T) {
	at := hostsync.Settings{Backends: map[string]string{"s3": "unix:/s3"}, Questions: map[string]string{"s3": "unix:/questions"}, Self: "http://127.0.0.1:8420"}
	for _, c := range []struct {
		name     string
		backends []string
		want     []string
	}{
		{"s3", nil, []string{"unix:/s3"}},
		{"ec2", []string{"self"}, []string{"http://127.0.0.1:8420"}},
		{"sqs", []string{"http://a", "http://b"}, []string{"http://a", "http://b"}},
	} {
		if got := backendURLs(desired.Service{Name: c.name, Backends: c.backends}, at); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	// On another machine the server's socket and loopback address are somebody else's.
	there := at.Elsewhere()
	if there.Self != "" || len(there.Backends) != 0 || len(there.Questions) != 0 || at.Self == "" || len(at.Questions) == 0 {
		t.Errorf("elsewhere %+v", there)
	}
	at.Self = "http://192.0.2.1:8420"
	if there := at.Elsewhere(); there.Self != at.Self {
		t.Errorf("elsewhere %+v", there)
	}
	for addr, want := range map[string]string{"0.0.0.0:1": "127.0.0.1:1", "[::]:2": "[::1]:2", "192.0.2.1:3": "192.0.2.1:3"} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(a); got != want {
			t.Errorf("%s is reached at %s, want %s", addr, got, want)
		}
	}
}

// Certificates follow the catalogue: a new one for a new service, the same while its
// names are, none when it is gone.
func TestCertificatesFollowTheCatalogue(t *testing.T) {
	c, _ := controltest.New(t)
	p := paths{t.TempDir()}
	authority, err := pki.Open(p.dir, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	cfg.DNSUpstreams = []string{"none"}
	s, err := newHostSettings(cfg, p, authority, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8420})
	if err != nil {
		t.Fatal(err)
	}
	update := func() (hostsync.Settings, bool) {
		t.Helper()
		_, ch := s.get()
		if err := s.update(c.View()); err != nil {
			t.Fatal(err)
		}
		now, _ := s.get()
		select {
		case <-ch:
			return now, true
		default:
			return now, false
		}
	}
	update()
	add := func(replace bool, e catalogue.Entry) {
		t.Helper()
		if _, err := c.AddServices(t.Context(), []catalogue.Entry{e}, replace); err != nil {
			t.Fatal(err)
		}
	}
	add(false, catalogue.Entry{Name: "sqs", Backend: "http://192.0.2.1"})
	first, changed := update()
	if !changed || first.Certificates["sqs"].Key == "" {
		t.Fatal("a new service has no certificate")
	}
	pair, err := tls.X509KeyPair([]byte(first.Certificates["sqs"].Chain), []byte(first.Certificates["sqs"].Key))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sqs.us-east-1.amazonaws.com", "vpce-0123456789abcdef0-abcdefgh.sqs.us-east-1.vpce.amazonaws.com", "vpce-0123456789abcdef0-abcdefgh-us-east-1a.sqs.us-east-1.vpce.amazonaws.com"} {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	add(true, catalogue.Entry{Name: "sqs", Backend: "http://192.0.2.2"})
	if _, changed := update(); changed {
		t.Error("another backend made another certificate")
	}
	add(true, catalogue.Entry{Name: "sqs", Backend: "http://192.0.2.2", PrivateNames: []string{"q.example.com"}})
	second, changed := update()
	if !changed || second.Certificates["sqs"] == first.Certificates["sqs"] {
		t.Error("another name did not make another certificate")
	}
	chain, key, err := authority.Leaf([]string{"q.example.com"}, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	add(true, catalogue.Entry{Name: "sqs", Backend: "http://192.0.2.2", PrivateNames: []string{"q.example.com"}, TLS: &catalogue.TLS{Certificate: string(chain), PrivateKey: string(key)}})
	if own, _ := update(); own.Certificates["sqs"].Key != string(key) {
		t.Error("the operator's certificate is not used")
	}
	if err := c.RemoveService(t.Context(), "sqs"); err != nil {
		t.Fatal(err)
	}
	if gone, changed := update(); !changed || gone.Certificates["sqs"].Key != "" {
		t.Error("a service that is gone has a certificate")
	}
}

// What hosts get has a certificate for each service, however late those are made.
func TestHostsGetNoServiceBeforeItsCertificate(t *testing.T) {
	c, _ := controltest.New(t)
	p := paths{t.TempDir()}
	authority, err := pki.Open(p.dir, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	cfg.DNSUpstreams = []string{"none"}
	s, err := newHostSettings(cfg, p, authority, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8420})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.update(c.View()); err != nil {
		t.Fatal(err)
	}
	has := func() bool {
		t.Helper()
		v, _ := s.state()
		settings, _ := s.get()
		for n := range vpc.All[vpc.CatalogueService](v) {
			if settings.Certificates[n.Name].Key == "" {
				t.Errorf("revision %d has the service %s and no certificate for it", v.Revision(), n.Name)
			}
		}
		_, ok := vpc.Get[vpc.CatalogueService](v, "sqs")
		return ok
	}
	has()
	_, newer := s.state()
	if _, err := c.AddServices(t.Context(), []catalogue.Entry{{Name: "sqs", Backend: "http://192.0.2.1"}}, false); err != nil {
		t.Fatal(err)
	}
	if has() {
		t.Error("hosts get a service that has no certificate")
	}
	// And what wakes the streams comes with it.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.follow(ctx, c.Store) }()
	for !has() {
		<-newer
		_, newer = s.state()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHealthOfBackendsInATable(t *testing.T) {
	got := backendTexts([]admin.ServiceBackend{
		{URL: "http://a"}, {URL: "http://b", Hosts: map[vpc.HostID]string{"h1": "healthy", "h2": "healthy"}},
		{URL: "http://c", Hosts: map[vpc.HostID]string{"h1": "healthy", "h2": "unhealthy"}},
	})
	if want := "http://a,http://b (healthy),http://c (healthy on 1 of 2 hosts)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What the command adds is in the API's answers when it returns, and out of them
// when it is removed. The API answers at its own name,
// as the edge brings it there for the backend self.
func TestAServiceComesAndGoesWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	var dir string
	region, endpoint, keys, client := serveAPI(t, func(c *Config) { dir, c.DNSUpstreams = c.DataDir, []string{"none"} })
	ctx := t.Context()
	at := strings.TrimPrefix(*endpoint, "http://")
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}
	c := ec2.New(ec2.Options{Region: region, BaseEndpoint: aws.String("http://ec2.us-east-1.amazonaws.com"), Credentials: keys, HTTPClient: client})
	seen := func() (services, lists []string) {
		t.Helper()
		s, err := c.DescribeVpcEndpointServices(ctx, &ec2.DescribeVpcEndpointServicesInput{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.DescribePrefixLists(ctx, &ec2.DescribePrefixListsInput{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l.PrefixLists {
			lists = append(lists, *p.PrefixListName)
		}
		return s.ServiceNames, lists
	}
	cl := admin.NewClient(paths{dir}.adminSocket())
	defer cl.Close()
	const name = "com.amazonaws.us-east-1.sqs"
	if _, err := cl.AddServices(ctx, admin.NewServices{Services: []catalogue.Entry{{
		Name: "sqs", Backend: "http://192.0.2.80:9324", Prefixes: []string{"198.18.7.0/24"}, Addresses: []string{"198.18.7.1"}}}}); err != nil {
		t.Fatal(err)
	}
	if services, lists := seen(); !slices.Contains(services, name) || !slices.Contains(lists, name) {
		t.Errorf("added: %q, %q", services, lists)
	}
	var problems catalogue.Problems
	if _, err := cl.AddServices(ctx, admin.NewServices{Services: []catalogue.Entry{{Name: "sns", Backend: "x"}}}); !errors.As(err, &problems) || problems[0].Field != "backend" {
		t.Errorf("a bad entry: %v", err)
	}
	if err := cl.RemoveService(ctx, "sqs"); err != nil {
		t.Fatal(err)
	}
	if services, lists := seen(); slices.Contains(services, name) || slices.Contains(lists, name) {
		t.Errorf("removed: %q, %q", services, lists)
	}
	// The record of the calls has no key in it.
	const secret = "not-to-be-written"
	cl.AddServices(ctx, admin.NewServices{Services: []catalogue.Entry{{Name: "sns", Backend: "http://a", TLS: &catalogue.TLS{Certificate: "c", PrivateKey: secret}}}})
	var log []byte
	for end := time.Now().Add(10 * time.Second); bytes.Count(log, []byte("AddServices")) < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the calls are not in the record:\n%s", log)
		}
		log, _ = os.ReadFile(filepath.Join(dir, "audit", "audit.jsonl"))
	}
	if bytes.Contains(log, []byte(secret)) {
		t.Error("a private key is in the record of calls")
	}
}
