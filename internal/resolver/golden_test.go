// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

var update = flag.Bool("update", false, "write the golden answers anew")

// zoneFile is a zone file's records as the desired state has them.
func zoneFile(t *testing.T, file, apex string) desired.Zone {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := desired.Zone{Name: apex}
	p := dns.NewZoneParser(f, "", file)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		r := desired.Record{Name: h.Name, TTL: h.Ttl}
		switch rr := rr.(type) {
		case *dns.A:
			a, _ := netip.AddrFromSlice(rr.A)
			r.Addrs = []netip.Addr{a.Unmap()}
		case *dns.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA)
			r.Addrs = []netip.Addr{a.Unmap()}
		case *dns.CNAME:
			r.CNAME = rr.Target
		case *dns.RFC3597:
			r.Type, r.Values = dns.Type(h.Rrtype).String(), []string{fmt.Sprintf(`\# %d %s`, len(rr.Rdata)/2, rr.Rdata)}
		default:
			r.Type, r.Values = dns.Type(h.Rrtype).String(), []string{strings.TrimPrefix(rr.String(), h.String())}
		}
		out.Records = append(out.Records, r)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAnswersOfAHostedZone asks for all there is in testdata/corp.zone, and for
// some that is not. The answers are in testdata/corp.answers in a zone file's
// words; `go test -run HostedZone -update ./internal/resolver` writes them anew,
// to be read before they are committed.
func TestAnswersOfAHostedZone(t *testing.T) {
	z := zoneFile(t, "testdata/corp.zone", "corp.example")
	view := Compile(nil, map[vpc.VNI]desired.VPC{vniA: {DNS: true, Zones: []vpc.HostedZoneID{"Z1"}}},
		map[vpc.HostedZoneID]desired.Zone{"Z1": z}, loud(t))
	r := New(Options{View: func() *View { return view }})
	defer r.Shutdown(context.Background())
	type asked struct{ name, rrtype string }
	var questions []asked
	for _, rec := range z.Records {
		rrtype := rec.Type
		switch {
		case rec.CNAME != "":
			rrtype = "CNAME"
		case rec.Addrs != nil && rec.Addrs[0].Is4():
			rrtype = "A"
		case rec.Addrs != nil:
			rrtype = "AAAA"
		}
		if q := (asked{rec.Name, rrtype}); !slices.Contains(questions, q) {
			questions = append(questions, q)
		}
	}
	for _, q := range []string{
		"corp.example A", "www.corp.example TXT", "no.corp.example A", "no.corp.example SOA", "b.c.corp.example A", "c.corp.example TXT", "x.b.c.corp.example A",
		"alias.corp.example A", "alias.corp.example AAAA", "alias.corp.example MX", "out.corp.example CNAME", "out.corp.example A", "loop.corp.example A",
		"any.wild.corp.example A", "two.labels.wild.corp.example TXT", "any.wild.corp.example AAAA", "x.wild.corp.example A", "y.x.wild.corp.example A",
		"wild.corp.example A", "y.sub.wild.corp.example A", "sub.any.wild.corp.example A", "z.chain.corp.example A", "z.chain.corp.example MX",
		"deleg.corp.example A", "host.deleg.corp.example A", "ns.deleg.corp.example AAAA", "corp.example ANY", "alias.corp.example ANY", "no.corp.example ANY",
		"WWW.Corp.EXAMPLE A", "corp.example.corp.example A", "xcorp.example A", "example A",
	} {
		name, rrtype, _ := strings.Cut(q, " ")
		questions = append(questions, asked{dns.Fqdn(name), rrtype})
	}
	var got strings.Builder
	got.WriteString("; Answers of testdata/corp.zone. Written by the test with -update.\n")
	var sc scratch
	for _, q := range questions {
		raw, err := new(dns.Msg).SetQuestion(q.name, typeNumber(q.rrtype)).Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply, _ := r.handle(&sc, raw, Asker{VNI: vniA}, true)
		m := new(dns.Msg)
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("%v: %v", q, err)
		}
		aa := ""
		if m.Authoritative {
			aa = " aa"
		}
		fmt.Fprintf(&got, "\n;%s %s %s%s\n", q.name, q.rrtype, dns.RcodeToString[m.Rcode], aa)
		for _, rr := range m.Answer {
			fmt.Fprintln(&got, strings.ReplaceAll(rr.String(), "\t", " "))
		}
		for _, rr := range m.Ns {
			fmt.Fprintln(&got, "; authority "+strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	const file = "testdata/corp.answers"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() == string(want) {
		return
	}
	g, w := strings.Split(got.String(), "\n\n"), strings.Split(string(want), "\n\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("answer %d:\n%s\nwant\n%s", i, at(g, i), at(w, i))
		}
	}
}

func at(of []string, i int) string {
	if i < len(of) {
		return of[i]
	}
	return "nothing"
}
