// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// asking is a resolver without sockets.
type asking struct {
	t    *testing.T
	r    *Resolver
	view *View
}

func newAsking(t *testing.T, view *View, o Options) *asking {
	a := &asking{t: t, view: view}
	o.View = func() *View { return a.view }
	a.r = New(o)
	t.Cleanup(func() { a.r.Shutdown(context.Background()) })
	return a
}

// ask is the answer to somebody in one line.
func (a *asking) ask(who Asker, name string, rrtype uint16) string {
	a.t.Helper()
	return show(a.message(who, new(dns.Msg).SetQuestion(dns.Fqdn(name), rrtype)))
}

func (a *asking) message(who Asker, q *dns.Msg) *dns.Msg {
	a.t.Helper()
	raw, err := q.Pack()
	if err != nil {
		a.t.Fatal(err)
	}
	reply, later := a.r.handle(new(scratch), raw, who, true)
	if later != nil {
		reply = later(context.Background())
	}
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		a.t.Fatalf("%v: %v", q.Question, err)
	}
	return m
}

func TestCompileTakesOverWhatDidNotChange(t *testing.T) {
	vpcs := map[vpc.VNI]desired.VPC{}
	for i := range 100 {
		v := realistic(i, 40)
		v.Zones = []vpc.HostedZoneID{vpc.HostedZoneID(fmt.Sprint("Z", i%10))}
		vpcs[vpc.VNI(i)] = v
	}
	zones := map[vpc.HostedZoneID]desired.Zone{}
	for i := range 10 {
		zones[vpc.HostedZoneID(fmt.Sprint("Z", i))] = desired.Zone{Name: "hosted.example", Records: []desired.Record{{Name: "www.hosted.example", Addrs: addrs("10.1.1.1"), TTL: 60}}}
	}
	first := Compile(nil, vpcs, zones, loud(t))
	if again := Compile(first, nil, nil, loud(t)); !maps.Equal(again.spaces, first.spaces) {
		t.Error("without a change the view is another")
	}
	changed := vpcs[7]
	changed.Records = append([]desired.Record{{Name: "new.corp.example", Addrs: addrs("10.9.9.9"), TTL: 60}}, changed.Records...)
	second := Compile(first, map[vpc.VNI]desired.VPC{7: changed}, nil, loud(t))
	for vni, s := range second.spaces {
		if (s == first.spaces[vni]) == (vni == 7) {
			t.Errorf("VPC %d: made anew is %t", vni, s != first.spaces[vni])
		}
	}
	z3 := desired.Zone{Name: "hosted.example", Records: []desired.Record{{Name: "www.hosted.example", Addrs: addrs("10.3.3.3"), TTL: 60}}}
	third := Compile(second, nil, map[vpc.HostedZoneID]desired.Zone{"Z3": z3}, loud(t))
	for vni, s := range third.spaces {
		if (s == second.spaces[vni]) == (vni%10 == 3) || s.outer != second.spaces[vni].outer {
			t.Errorf("VPC %d: made anew is %t, its own names %t", vni, s != second.spaces[vni], s.outer != second.spaces[vni].outer)
		}
	}
	if len(second.spaces) != 100 || len(third.spaces) != 100 {
		t.Errorf("%d and %d VPCs", len(second.spaces), len(third.spaces))
	}
	if third.spaces[3].hosted[0] != third.spaces[13].hosted[0] {
		t.Error("two VPCs do not share a hosted zone")
	}
	a := newAsking(t, third, Options{})
	for vni, want := range map[vpc.VNI]string{3: "NOERROR A 10.3.3.3", 13: "NOERROR A 10.3.3.3", 4: "NOERROR A 10.1.1.1"} {
		if got := a.ask(Asker{VNI: vni}, "www.hosted.example", dns.TypeA); got != want {
			t.Errorf("VPC %d: %s, want %s", vni, got, want)
		}
	}
	if got := a.ask(Asker{VNI: 7}, "new.corp.example", dns.TypeA); got != "NOERROR A 10.9.9.9" {
		t.Error(got)
	}
	// What goes goes, and the views before are as they were.
	a.view = third.Without([]vpc.VNI{7}, []vpc.HostedZoneID{"Z3"})
	if got := a.ask(Asker{VNI: 3}, "www.hosted.example", dns.TypeA); got != "SERVFAIL" || a.view.spaces[7] != nil || a.view.spaces[4] != third.spaces[4] {
		t.Errorf("a zone that is gone: %s", got)
	}
	a.view = third
	if got := a.ask(Asker{VNI: 3}, "www.hosted.example", dns.TypeA); got != "NOERROR A 10.3.3.3" || len(first.spaces) != 100 {
		t.Errorf("the view before: %s", got)
	}
	// A zone whose name became one that cannot be used is gone too.
	a.view = Compile(third, nil, map[vpc.HostedZoneID]desired.Zone{"Z3": {Name: "a..b"}}, loggerTo(io.Discard))
	if got := a.ask(Asker{VNI: 3}, "www.hosted.example", dns.TypeA); got != "SERVFAIL" {
		t.Errorf("a zone whose name cannot be used: %s", got)
	}
	var none *View
	if v := Compile(none.Without(nil, nil), nil, nil, loud(t)); len(v.spaces) != 0 {
		t.Errorf("of nothing: %v", v.spaces)
	}
}

func TestAliasIsWhatTheAskersVPCSays(t *testing.T) {
	const endpoint = "vpce-1.svc.us-east-1.vpce.amazonaws.com"
	zone := map[vpc.HostedZoneID]desired.Zone{"Z1": {Name: "corp.example", Records: []desired.Record{
		{Name: "pay.corp.example", Alias: endpoint, AliasType: "A", TTL: 300},
		{Name: "pay.corp.example", Alias: endpoint, AliasType: "AAAA", TTL: 300},
		{Name: "*.any.corp.example", Alias: "pay.corp.example", AliasType: "A", TTL: 300},
		{Name: "via.corp.example", Alias: "cname.corp.example", AliasType: "A", TTL: 300},
		{Name: "cname.corp.example", CNAME: "pay.corp.example", TTL: 300},
		{Name: "loop.corp.example", Alias: "loop.corp.example", AliasType: "A", TTL: 300},
		{Name: "out.corp.example", Alias: "www.outside.test", AliasType: "A", TTL: 300},
	}}}
	vpcs := map[vpc.VNI]desired.VPC{
		vniA: {DNS: true, Zones: []vpc.HostedZoneID{"Z1"}, Records: []desired.Record{{Name: endpoint, Addrs: addrs("10.0.1.1", "10.0.1.2"), TTL: 60}}},
		vniB: {DNS: true, Zones: []vpc.HostedZoneID{"Z1"}, Records: []desired.Record{{Name: endpoint, Addrs: addrs("10.0.2.1", "2001:db8::2"), TTL: 60}}},
		vniC: {DNS: true, Zones: []vpc.HostedZoneID{"Z1"}},
	}
	a := newAsking(t, Compile(nil, vpcs, zone, loud(t)), Options{})
	for _, tc := range []struct {
		vni  vpc.VNI
		name string
		typ  uint16
		want string
	}{
		{vniB, "pay.corp.example", dns.TypeA, "NOERROR A 10.0.2.1"},
		{vniB, "pay.corp.example", dns.TypeAAAA, "NOERROR AAAA 2001:db8::2"},
		{vniA, "pay.corp.example", dns.TypeAAAA, "NOERROR soa corp.example."},
		{vniC, "pay.corp.example", dns.TypeA, "NOERROR soa corp.example."},
		{vniB, "x.any.corp.example", dns.TypeA, "NOERROR A 10.0.2.1"},
		{vniB, "x.any.corp.example", dns.TypeAAAA, "NOERROR soa corp.example."},
		{vniB, "via.corp.example", dns.TypeA, "NOERROR A 10.0.2.1"},
		{vniB, "loop.corp.example", dns.TypeA, "NOERROR soa corp.example."},
		{vniB, "out.corp.example", dns.TypeA, "NOERROR soa corp.example."},
	} {
		if got := a.ask(Asker{VNI: tc.vni}, tc.name, tc.typ); got != tc.want {
			t.Errorf("%s %s in %d: %s, want %s", tc.name, dns.TypeToString[tc.typ], tc.vni, got, tc.want)
		}
	}
	m := a.message(Asker{VNI: vniA}, new(dns.Msg).SetQuestion("PAY.corp.example.", dns.TypeA))
	if len(m.Answer) != 2 || m.Answer[0].Header().Name != "PAY.corp.example." || m.Answer[0].Header().Ttl != 60 {
		t.Errorf("an alias has its own name and its target's TTL: %v", m)
	}
}

func TestWhatCannotBeReadIsLeftOutAndSaid(t *testing.T) {
	var said bytes.Buffer
	long := strings.Repeat("a", 64)
	zone := desired.Zone{Name: "corp.example", Records: []desired.Record{
		{Name: "two.corp.example", Type: "TXT", Values: []string{"\"good\"", "\"bad\"\nwww 60 IN A 192.0.2.66", "\"cut"}, TTL: 60},
		{Name: "mx.corp.example", Type: "MX", Values: []string{"mail.corp.example"}, TTL: 60},
		{Name: "any.corp.example", Type: "ANY", Values: []string{"x"}, TTL: 60},
		{Name: "no.corp.example", Type: "NONSENSE", Values: []string{"x"}, TTL: 60},
		{Name: long + ".corp.example", Addrs: addrs("10.0.0.1"), TTL: 60},
		{Name: "to.corp.example", CNAME: long + ".corp.example", TTL: 60},
		{Name: "alias.corp.example", Alias: "two.corp.example", AliasType: "TXT", TTL: 60},
		{Name: "www.other.example", Addrs: addrs("10.0.0.1"), TTL: 60},
		{Name: "srv.corp.example", Type: "SRV", Values: []string{"1 2 3 $INCLUDE /etc/hostname"}, TTL: 60},
	}}
	vpcs := map[vpc.VNI]desired.VPC{vniA: {
		DNS: true, Zones: []vpc.HostedZoneID{"Z1", "Z2"}, PrivateZones: []string{long + ".example", "."},
		Forwards: []desired.Forward{{Domain: long + ".example"}},
	}}
	view := Compile(nil, vpcs, map[vpc.HostedZoneID]desired.Zone{"Z1": zone, "Z2": {Name: long}}, loggerTo(&said))
	a := newAsking(t, view, Options{})
	if got := a.ask(Asker{VNI: vniA}, "two.corp.example", dns.TypeTXT); got != `NOERROR TXT "good"` {
		t.Error(got)
	}
	for _, name := range []string{"mx", "any", "no", "to", "alias", "srv"} {
		if got := a.ask(Asker{VNI: vniA}, name+".corp.example", dns.TypeMX); got != "NXDOMAIN soa corp.example." {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := a.ask(Asker{VNI: vniA}, "www.other.example", dns.TypeA); got != "SERVFAIL" {
		t.Errorf("a record outside of its zone: %s", got)
	}
	if n := strings.Count(said.String(), "level=WARN"); n != 2+8+2+1+1 {
		t.Errorf("%d things were said:\n%s", n, said.String())
	}
}

func TestInboundEndpointsSeeTheirRecords(t *testing.T) {
	vpcs := map[vpc.VNI]desired.VPC{vniA: {
		DNS: true, InboundZones: []string{"s3.us-east-1.amazonaws.com"}, Zones: []vpc.HostedZoneID{"Z1"},
		Records: []desired.Record{
			{Name: "s3.us-east-1.amazonaws.com", Addrs: addrs("192.0.2.1"), TTL: 60},
			{Name: "s3.us-east-1.amazonaws.com", Addrs: addrs("10.0.0.1"), TTL: 60, InboundOnly: true},
			{Name: "*.s3.us-east-1.amazonaws.com", Addrs: addrs("10.0.0.1"), TTL: 60, InboundOnly: true},
			{Name: "both.test", Addrs: addrs("10.0.0.2"), TTL: 60},
		},
	}}
	zones := map[vpc.HostedZoneID]desired.Zone{"Z1": {Name: "corp.example", Records: []desired.Record{
		{Name: "in.corp.example", Addrs: addrs("10.0.0.3"), TTL: 60, InboundOnly: true},
		{Name: "both.corp.example", Addrs: addrs("10.0.0.4"), TTL: 60},
	}}}
	first := Compile(nil, vpcs, zones, loud(t))
	a := newAsking(t, first, Options{})
	check := func() {
		t.Helper()
		for _, tc := range []struct{ name, inside, inbound string }{
			{"s3.us-east-1.amazonaws.com", "NOERROR A 192.0.2.1", "NOERROR A 10.0.0.1"},
			{"b.s3.us-east-1.amazonaws.com", "SERVFAIL", "NOERROR A 10.0.0.1"},
			{"both.test", "NOERROR A 10.0.0.2", "NOERROR A 10.0.0.2"},
			{"in.corp.example", "NXDOMAIN soa corp.example.", "NOERROR A 10.0.0.3"},
			{"both.corp.example", "NOERROR A 10.0.0.4", "NOERROR A 10.0.0.4"},
		} {
			if got := a.ask(Asker{VNI: vniA}, tc.name, dns.TypeA); got != tc.inside {
				t.Errorf("%s inside: %s, want %s", tc.name, got, tc.inside)
			}
			if got := a.ask(Asker{VNI: vniA, Inbound: true}, tc.name, dns.TypeA); got != tc.inbound {
				t.Errorf("%s inbound: %s, want %s", tc.name, got, tc.inbound)
			}
		}
	}
	check()
	z := zones["Z1"]
	z.Records = append([]desired.Record{{Name: "new.corp.example", Addrs: addrs("10.0.0.5"), TTL: 60}}, z.Records...)
	zones["Z1"] = z
	a.view = Compile(first, vpcs, zones, loud(t)) // the VPC itself is taken over
	check()
	for _, inbound := range []bool{false, true} {
		if got := a.ask(Asker{VNI: vniA, Inbound: inbound}, "new.corp.example", dns.TypeA); got != "NOERROR A 10.0.0.5" {
			t.Errorf("inbound %t: %s", inbound, got)
		}
	}
}

func TestChainsHaveAnEnd(t *testing.T) {
	v := desired.VPC{DNS: true, PrivateZones: []string{"corp.example"}}
	for i := range maxChain + 1 {
		v.Records = append(v.Records, desired.Record{Name: fmt.Sprintf("c%d.corp.example", i), CNAME: fmt.Sprintf("c%d.corp.example", i+1), TTL: 60})
	}
	v.Records = append(v.Records, desired.Record{Name: fmt.Sprintf("c%d.corp.example", maxChain+1), Addrs: addrs("10.0.0.1"), TTL: 60})
	a := newAsking(t, compiled(t, map[vpc.VNI]desired.VPC{vniA: v}), Options{})
	if got := a.ask(Asker{VNI: vniA}, "c1.corp.example", dns.TypeA); !strings.HasSuffix(got, "A 10.0.0.1") || strings.Count(got, "CNAME") != maxChain {
		t.Errorf("%d CNAMEs: %s", maxChain, got)
	}
	if got := a.ask(Asker{VNI: vniA}, "c0.corp.example", dns.TypeA); got != "SERVFAIL" {
		t.Errorf("one more: %s", got)
	}
}

// A VPC whose answers may have changed has a number that nothing had before; one
// that is as it was keeps its own.
func TestEachStateOfAVPCsNamesHasItsNumber(t *testing.T) {
	one := func(addr string) []desired.Record {
		return []desired.Record{{Name: "a.hosted.example", TTL: 60, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}}
	}
	vpcs := map[vpc.VNI]desired.VPC{
		vniA: {ID: "vpc-a", VNI: vniA, DNS: true, Zones: []vpc.HostedZoneID{"Z1"}},
		vniB: {ID: "vpc-b", VNI: vniB, DNS: true},
		vniC: {ID: "vpc-c", VNI: vniC, Zones: []vpc.HostedZoneID{"Z1"}}, // without DNS
	}
	zones := map[vpc.HostedZoneID]desired.Zone{"Z1": {Name: "hosted.example", Records: one("10.0.0.1")}}
	var v *View
	had := map[uint64]bool{}
	var gone []vpc.HostedZoneID
	step := func(what string, changed ...vpc.VNI) {
		t.Helper()
		before := map[vpc.VNI]uint64{}
		if v != nil {
			before = v.Spaces()
		}
		v = Compile(v.Without(nil, gone), vpcs, zones, loud(t))
		vpcs, zones, gone = map[vpc.VNI]desired.VPC{}, map[vpc.HostedZoneID]desired.Zone{}, nil // what changes next
		now := v.Spaces()
		if len(now) != 2 || now[vniA] == 0 || now[vniB] == 0 || now[vniA] == now[vniB] {
			t.Errorf("%s: the numbers are %v", what, now)
		}
		for vni, n := range now {
			if n != before[vni] && had[n] {
				t.Errorf("%s: the number of %d has been another's", what, vni)
			}
			if (n != before[vni]) != slices.Contains(changed, vni) {
				t.Errorf("%s: the number of %d was %d and is %d", what, vni, before[vni], n)
			}
			had[n] = true
		}
	}
	step("the first", vniA, vniB)
	step("nothing changes")
	zones["Z1"] = desired.Zone{Name: "hosted.example", Records: one("10.0.0.2")}
	step("a hosted zone changes", vniA)
	zones["Z1"] = desired.Zone{Name: "hosted.example", Records: one("10.0.0.1")}
	step("and is as it was", vniA)
	b := desired.VPC{ID: "vpc-b", VNI: vniB, DNS: true, Zones: []vpc.HostedZoneID{"Z1"}}
	vpcs[vniB] = b
	step("an association", vniB)
	b.Records = []desired.Record{{Name: "x.example", CNAME: "y.example"}}
	vpcs[vniB] = b
	step("a record", vniB)
	gone = []vpc.HostedZoneID{"Z1"}
	step("the hosted zone is deleted", vniA, vniB)
}
