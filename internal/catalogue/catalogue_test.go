// SPDX-License-Identifier: Apache-2.0

package catalogue_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func place() catalogue.Place { return catalogue.Place{Region: "us-east-1", Now: now} }

// entry is one with nothing wrong.
func entry() catalogue.Entry {
	return catalogue.Entry{
		Name: "db", Protocol: "dynamodb", Types: []string{"Gateway", "Interface"}, Prefixes: []string{"198.51.100.0/24"},
		Addresses: []string{"198.51.100.10"}, PublicNames: []string{"db.us-east-1.example.com"}, Backend: "http://192.0.2.80:8000",
	}
}

func TestWhatAnEntryLeavesOut(t *testing.T) {
	made, err := catalogue.Check([]catalogue.Entry{
		{Name: "ec2", Backend: "self"},
		{Name: "dynamodb", Backends: []string{"https://192.0.2.80", "http://192.0.2.81:8000/"}, Prefixes: []string{"203.0.113.0/24"}, Addresses: []string{"203.0.113.10"}},
		{Name: "s3-b", Protocol: "s3", Backend: "http://192.0.2.90:9000", PolicySupported: new(bool), HealthCheck: &catalogue.HealthCheck{Path: "/h", IntervalSeconds: 3}},
	}, place())
	if err != nil {
		t.Fatal(err)
	}
	type kept struct {
		Service, Protocol string
		Types             []vpc.EndpointType
		Public, Private   []string
		Backends          []string
		Check             *vpc.BackendCheck
		Policy, List      bool
	}
	s3 := []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com", "s3.amazonaws.com", "*.s3.amazonaws.com",
		"s3.dualstack.us-east-1.amazonaws.com", "*.s3.dualstack.us-east-1.amazonaws.com"}
	want := []kept{
		{"com.amazonaws.us-east-1.ec2", "ec2", []vpc.EndpointType{"Interface"}, nil, []string{"ec2.us-east-1.amazonaws.com"}, []string{"self"}, nil, true, false},
		{"com.amazonaws.us-east-1.dynamodb", "dynamodb", []vpc.EndpointType{"Gateway"}, []string{"dynamodb.us-east-1.amazonaws.com"}, nil,
			[]string{"https://192.0.2.80", "http://192.0.2.81:8000/"}, &vpc.BackendCheck{Interval: 10, Timeout: 5, Healthy: 2, Unhealthy: 2}, true, true},
		{"com.amazonaws.us-east-1.s3-b", "s3", []vpc.EndpointType{"Interface"}, nil, s3, []string{"http://192.0.2.90:9000"},
			&vpc.BackendCheck{Path: "/h", Interval: 3, Timeout: 3, Healthy: 2, Unhealthy: 2}, false, false},
	}
	for i, s := range made {
		got := kept{s.ServiceName, s.Protocol, s.Types, s.PublicNames, s.PrivateNames, s.Backends, s.HealthCheck, s.PolicySupported, s.PrefixList != ""}
		if d := cmp.Diff(want[i], got); d != "" {
			t.Error(d)
		}
	}
}

// Entries that name no names have AWS's: the service's, the private ones that an
// interface endpoint's private DNS takes over, and those of the endpoint itself.
func TestEntriesHaveAWSsNames(t *testing.T) {
	region := &vpc.Region{Name: "eu-west-1", Domain: "vpce.amazonaws.com"}
	cases := []struct{ name, private, own string }{
		{"dynamodb", "dynamodb.eu-west-1.amazonaws.com", "dynamodb"},
		{"ec2", "ec2.eu-west-1.amazonaws.com", "ec2"},
		{"ecr.api", "api.ecr.eu-west-1.amazonaws.com", "api.ecr"},
		{"ecr.dkr", "*.dkr.ecr.eu-west-1.amazonaws.com", "dkr.ecr"},
		{"elasticloadbalancing", "elasticloadbalancing.eu-west-1.amazonaws.com", "elasticloadbalancing"},
		{"logs", "logs.eu-west-1.amazonaws.com", "logs"},
		{"sns", "sns.eu-west-1.amazonaws.com", "sns"},
		{"sqs", "sqs.eu-west-1.amazonaws.com", "sqs"},
		{"sts", "sts.eu-west-1.amazonaws.com", "sts"},
	}
	var entries []catalogue.Entry
	for _, c := range cases {
		entries = append(entries, catalogue.Entry{Name: c.name, Backend: "http://192.0.2.80"})
	}
	made, err := catalogue.Check(entries, catalogue.Place{Region: region.Name, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		s := made[i]
		if s.ServiceName != "com.amazonaws.eu-west-1."+c.name || s.Protocol != c.name || !slices.Equal(s.Types, []vpc.EndpointType{vpc.InterfaceEndpoint}) {
			t.Errorf("%s is %s, protocol %s, of types %s", c.name, s.ServiceName, s.Protocol, s.Types)
		}
		var got []string
		for _, n := range vpc.EndpointNames(region, &vpc.Endpoint{VPC: "vpc-1", Type: vpc.InterfaceEndpoint, ServiceName: s.ServiceName,
			State: vpc.EndpointAvailable, DNSLabel: "vpce-1-abcdefgh", PrivateDNS: true}, nil, s) {
			got = append(got, n.Name)
		}
		own := "vpce-1-abcdefgh." + c.own + ".eu-west-1.vpce.amazonaws.com"
		want := []string{own, c.private}
		if strings.HasPrefix(c.private, "*.") {
			want = []string{"*." + own, own, c.private}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: an endpoint has the names %q, want %q", c.name, got, want)
		}
	}
	if len(cases)+1 != len(catalogue.Protocols()) { // S3 has a test of its own
		t.Errorf("protocols %v: test each", catalogue.Protocols())
	}
}

func TestTheDefaultFits(t *testing.T) {
	made, err := catalogue.Check(catalogue.Default(), place())
	if err != nil || len(made) != 1 || len(made[0].PublicNames) != 6 || made[0].PrefixList == made[0].PrefixList6 || made[0].PrefixList6 == "" {
		t.Fatalf("%+v, %v", made, err)
	}
}

// Each case spoils one entry, and is told with its field.
func TestBadEntries(t *testing.T) {
	twice := func(s string) []string { return []string{s, s} }
	for _, c := range []struct {
		spoil       func(*catalogue.Entry)
		field, text string
	}{
		{func(e *catalogue.Entry) { e.Name = "" }, "name", "is no short name"},
		{func(e *catalogue.Entry) { e.Name = "A b" }, "name", "is no short name"},
		{func(e *catalogue.Entry) { e.Protocol = "ftp" }, "protocol", "want one of dynamodb, ec2"},
		{func(e *catalogue.Entry) { e.Protocol = "" }, "protocol", `""`},
		{func(e *catalogue.Entry) { e.Types = []string{"Gateway", "gateway"} }, "types[1]", "want Gateway or Interface"},
		{func(e *catalogue.Entry) { e.Types = twice("Gateway") }, "types[1]", "twice"},
		{func(e *catalogue.Entry) { e.Prefixes, e.Addresses, e.PublicNames = nil, nil, nil }, "prefixes", "needs IPv4 prefixes"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "198.51.100.1/25") }, "prefixes[1]", "want an IPv4 network"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "2001:db8::/32") }, "prefixes[1]", "want an IPv4 network"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "0.0.0.0/0") }, "prefixes[1]", "want an IPv4 network"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "198.51.100.128/25") }, "prefixes[1]", "overlaps 198.51.100.0/24 of the same service"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "169.254.169.0/24") }, "prefixes[1]", "a VPC reserves"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "192.0.2.128/25") }, "prefixes[1]", "overlaps 192.0.2.0/24, the publicPool"},
		{func(e *catalogue.Entry) { e.Prefixes = append(e.Prefixes, "203.0.112.0/22") }, "prefixes[1]", "overlaps 203.0.113.0/24 of service s3"},
		{func(e *catalogue.Entry) { e.Prefixes6 = []string{"2001:db8::/32"} }, "prefixes6", "need IPv6 addresses"},
		{func(e *catalogue.Entry) { e.Prefixes6 = []string{"::ffff:198.51.100.0/120"} }, "prefixes6[0]", "want an IPv6 network"},
		{func(e *catalogue.Entry) { e.Addresses = append(e.Addresses, "2001:db8::1") }, "addresses[1]", "not inside"},
		{func(e *catalogue.Entry) { e.Addresses = append(e.Addresses, "x") }, "addresses[1]", "is no address"},
		{func(e *catalogue.Entry) { e.Addresses = twice("198.51.100.10") }, "addresses[1]", "twice"},
		{func(e *catalogue.Entry) { e.Addresses = nil }, "addresses", "IPv4 addresses must not be empty"},
		{func(e *catalogue.Entry) {
			e.Prefixes6, e.Addresses = []string{"2001:db8:1::/48"}, []string{"2001:db8:1::10"}
		}, "addresses", "IPv4 addresses must not be empty"},
		{func(e *catalogue.Entry) { e.PublicNames = []string{"localhost"} }, "publicNames[0]", "is no DNS name"},
		{func(e *catalogue.Entry) { e.PublicNames = []string{"a.*.example.com"} }, "publicNames[0]", "is no DNS name"},
		{func(e *catalogue.Entry) { e.PublicNames = []string{"db.example.com", "DB.example.com."} }, "publicNames[1]", "twice"},
		{func(e *catalogue.Entry) { e.PublicNames = []string{"s3.us-east-1.amazonaws.com"} }, "publicNames[0]", "service s3 has the name"},
		{func(e *catalogue.Entry) { e.PublicNames = []string{"a.s3.us-east-1.amazonaws.com"} }, "publicNames[0]", "*.s3.us-east-1.amazonaws.com of service s3 covers"},
		{func(e *catalogue.Entry) { e.PublicNames = []string{"*.amazonaws.com"} }, "publicNames[0]", "covers s3.us-east-1.amazonaws.com of service s3"},
		{func(e *catalogue.Entry) { e.PrivateNames = []string{"bad name.example.com"} }, "privateNames[0]", "is no DNS name"},
		{func(e *catalogue.Entry) {
			e.Types, e.Prefixes, e.Addresses = []string{"Interface"}, nil, nil
		}, "publicNames", "need addresses"},
		{func(e *catalogue.Entry) { e.Backend = "" }, "", "needs a backend"},
		{func(e *catalogue.Entry) { e.Backends = []string{"http://192.0.2.1"} }, "backend", "not both"},
		{func(e *catalogue.Entry) { e.Backend = "ftp://192.0.2.1" }, "backend", "want http://"},
		{func(e *catalogue.Entry) { e.Backend = "192.0.2.1:80" }, "backend", "want http://"},
		{func(e *catalogue.Entry) { e.Backend = "http://:80" }, "backend", "names no host"},
		{func(e *catalogue.Entry) { e.Backend = "http://a:0" }, "backend", "port"},
		{func(e *catalogue.Entry) { e.Backend = "http://a:" }, "backend", "port"},
		{func(e *catalogue.Entry) { e.Backend = "http://a:65536" }, "backend", "port"},
		{func(e *catalogue.Entry) { e.Backend = "http://a/b" }, "backend", "path"},
		{func(e *catalogue.Entry) { e.Backend = "http://a?b" }, "backend", "path"},
		{func(e *catalogue.Entry) { e.Backend = "http://u@a" }, "backend", "password"},
		{func(e *catalogue.Entry) { e.Backend = "self" }, "backend", "own API speaks"},
		{func(e *catalogue.Entry) { e.Backend, e.Backends = "", twice("http://a") }, "backends[1]", "twice"},
		{func(e *catalogue.Entry) { e.Backend, e.Backends = "", []string{"http://a", "unix:/s"} }, "backends[1]", "one of several"},
		{func(e *catalogue.Entry) { e.Identity = "PROXY" }, "identity", "want none, proxy or header"},
		{func(e *catalogue.Entry) { e.Identity = "header" }, "identity", "set identityKeyFile"},
		{func(e *catalogue.Entry) { e.HealthCheck = &catalogue.HealthCheck{Path: "h"} }, "healthCheck.path", "is no path"},
		{func(e *catalogue.Entry) { e.HealthCheck = &catalogue.HealthCheck{IntervalSeconds: 301} }, "healthCheck.intervalSeconds", "1 to 300"},
		{func(e *catalogue.Entry) { e.HealthCheck = &catalogue.HealthCheck{HealthyThreshold: -1} }, "healthCheck.healthyThreshold", "1 to 10"},
		{func(e *catalogue.Entry) {
			e.HealthCheck = &catalogue.HealthCheck{IntervalSeconds: 2, TimeoutSeconds: 3}
		}, "healthCheck.timeoutSeconds", "more than the interval"},
		{func(e *catalogue.Entry) {
			e.Name, e.Protocol, e.Backend, e.HealthCheck = "sts", "sts", "self", &catalogue.HealthCheck{}
		}, "healthCheck", "not checked"},
		{func(e *catalogue.Entry) { e.TLS = &catalogue.TLS{Certificate: "x"} }, "tls.certificate", "needs its key"},
		{func(e *catalogue.Entry) { e.TLS = &catalogue.TLS{PrivateKey: "x"} }, "tls.privateKey", "needs its certificate"},
		{func(e *catalogue.Entry) { e.TLS = &catalogue.TLS{Certificate: "x", PrivateKey: "x"} }, "tls.certificate", "failed to find"},
		{func(e *catalogue.Entry) { e.TLS = &catalogue.TLS{BackendCA: "x"} }, "tls.backendCa", "no certificate in PEM"},
	} {
		others, err := catalogue.Check(catalogue.Default(), place())
		if err != nil {
			t.Fatal(err)
		}
		at := place()
		at.Others = others
		at.Reserved = []catalogue.Reserved{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), What: "the publicPool"}}
		at.Others[0].Prefixes = at.Others[0].Prefixes[1:] // leaves one for the entry
		bad := entry()
		c.spoil(&bad)
		good := entry()
		good.Name, good.Types, good.Prefixes, good.Addresses, good.PublicNames, good.PrivateNames = "good", nil, nil, nil, nil, []string{"good.example.com"}
		_, err = catalogue.Check([]catalogue.Entry{good, bad}, at)
		var problems catalogue.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s %q: %v", c.field, c.text, err)
			continue
		}
		if !slices.ContainsFunc(problems, func(p catalogue.Problem) bool {
			return p.Entry == 1 && p.Field == c.field && strings.Contains(p.Text, c.text)
		}) {
			t.Errorf("want %s: %s; got\n%v", c.field, c.text, err)
		}
	}
}

func TestAllProblemsAreTold(t *testing.T) {
	a, b := entry(), entry()
	a.Protocol, a.Backend = "ftp", "http://a/b"
	b.Addresses = []string{"x"}
	_, err := catalogue.Check([]catalogue.Entry{a, b}, place())
	var problems catalogue.Problems
	errors.As(err, &problems)
	var got []string
	for _, p := range problems {
		got = append(got, string(rune('0'+p.Entry))+" "+p.Field)
	}
	// The second has the first's name, which is told instead of what else they share.
	if want := []string{"0 protocol", "0 backend", "1 addresses[0]", "1 addresses", "1 name"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%v", got, want, err)
	}
}

func TestCertificatesOfTheOperator(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := authority.Leaf([]string{"db.us-east-1.example.com", "*.db.example.com"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"cert.pem": chain, "key.pem": key, "ca.pem": authority.PEM} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := entry()
	e.TLS = &catalogue.TLS{Certificate: "cert.pem", PrivateKey: filepath.Join(dir, "key.pem"), BackendCA: "ca.pem"}
	e.PrivateNames, e.Backend = []string{"*.db.example.com"}, "https://192.0.2.80"
	if p := e.ReadFiles(dir); len(p) > 0 {
		t.Fatal(p)
	}
	made, err := catalogue.Check([]catalogue.Entry{e}, place())
	if err != nil || made[0].TLSCertificate != string(chain) || made[0].TLSKey != string(key) || made[0].BackendCA != string(authority.PEM) {
		t.Fatalf("%v", err)
	}
	wants := func(text string, e catalogue.Entry, at catalogue.Place) {
		t.Helper()
		if _, err := catalogue.Check([]catalogue.Entry{e}, at); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	late := place()
	late.Now = now.AddDate(100, 0, 0)
	wants("it is valid from 2026-01-0", e, late)
	other := e
	other.PublicNames = []string{"other.example.com"}
	wants("does not cover the service's name other.example.com", other, place())
	other = e
	other.Backend = "http://192.0.2.80"
	wants("no backend is https", other, place())
	other = entry()
	other.TLS = &catalogue.TLS{Certificate: "none.pem", PrivateKey: "."}
	p := other.ReadFiles(dir)
	if len(p) != 2 || !strings.Contains(catalogue.Problems(p).Error(), "none.pem") {
		t.Errorf("%v", p)
	}
}
