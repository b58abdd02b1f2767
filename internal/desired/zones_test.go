// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	gocmp "cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// zoned is a host with the VPCs a and b, and a zone of a with record sets.
func zoned(records ...*vpc.RecordSet) (*vpctest.View, *vpc.HostedZone) {
	v := vpctest.Of(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"})
	space(v, "a", 0x1001, "10.0.1.5")
	space(v, "b", 0x1002, "10.0.1.5")
	z := &vpc.HostedZone{ID: "Z1", Owner: "a", Name: "example.com", VPCs: []vpc.VPCID{"vpc-a"}}
	v.Put(z)
	for _, r := range append(z.ApexRecords(), records...) {
		r.Zone = z.ID
		v.Put(r)
	}
	return v, z
}

func TestHostsHoldTheZonesOfTheirVPCs(t *testing.T) {
	v, z := zoned(&vpc.RecordSet{Name: "www.example.com", Type: "A", TTL: 60, Values: []string{"10.0.1.5"}})
	zones := func(host vpc.HostID) map[string][]vpc.HostedZoneID {
		h := desired.ForHost(v, host)
		out := map[string][]vpc.HostedZoneID{}
		for _, s := range h.VPCs {
			if len(s.Zones) > 0 {
				out[string(s.ID)] = s.Zones
			}
			for _, id := range s.Zones {
				if _, ok := h.Zones[id]; !ok {
					t.Errorf("%s has the zone %s, which is not there", s.ID, id)
				}
			}
		}
		if len(out) == 0 && len(h.Zones) > 0 {
			t.Errorf("zones that no VPC has: %v", h.Zones)
		}
		return out
	}
	check := func(what string, want map[string][]vpc.HostedZoneID) {
		t.Helper()
		if d := cmp.Diff(want, zones(host), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	check("associated with a", map[string][]vpc.HostedZoneID{"vpc-a": {"Z1"}})
	if got := zones("h2"); len(got) > 0 {
		t.Errorf("a host without workloads has %v", got)
	}
	z = vpc.Edit(z)
	z.VPCs = append(z.VPCs, "vpc-b", "vpc-gone")
	v.Put(z)
	v.Put(&vpc.HostedZone{ID: "Z0", Owner: "b", Name: "example.org", VPCs: []vpc.VPCID{"vpc-b"}})
	check("with both", map[string][]vpc.HostedZoneID{"vpc-a": {"Z1"}, "vpc-b": {"Z0", "Z1"}})
	for name, change := range map[string]func(*vpc.VPC){
		"no DNS support":   func(s *vpc.VPC) { s.EnableDNSSupport = false },
		"no DNS hostnames": func(s *vpc.VPC) { s.EnableDNSHostnames = false },
	} {
		was, _ := vpc.Get[vpc.VPC](v, "vpc-a")
		s := vpc.Edit(was)
		change(s)
		v.Put(s)
		check(name, map[string][]vpc.HostedZoneID{"vpc-b": {"Z0", "Z1"}})
		v.Put(was)
	}
}

// moved is a view in which objects were last written at revisions of their own,
// as in a store.
type moved struct {
	*vpctest.View
	at map[string]vpc.Revision
}

func (m moved) Changed(kind vpc.Kind, key string) vpc.Revision { return m.at[string(kind)+key] }

func TestAZoneIsReadAgainWhenItHasChanged(t *testing.T) {
	www := func(addr string) *vpc.RecordSet {
		return &vpc.RecordSet{Zone: "Z1", Name: "www.example.com", Type: "A", TTL: 60, Values: []string{addr}}
	}
	list, _ := zoned(www("10.0.1.5"))
	v := moved{list, map[string]vpc.Revision{string(vpc.KindHostedZone) + "Z1": 1}}
	var m desired.Memory
	first := m.ForHost(v, host).Zones["Z1"]
	again := m.ForHost(v, host).Zones["Z1"]
	if len(first.Records) != 3 || &again.Records[0] != &first.Records[0] {
		t.Errorf("a zone that is as it was is read again: %v", again)
	}
	list.Put(www("10.0.1.6"))
	v.at[string(vpc.KindHostedZone)+"Z1"] = 2
	now, anew := m.ForHost(v, host), desired.ForHost(v, host)
	if d := cmp.Diff(anew.Zones, now.Zones, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if len(first.Records) != 3 || cmp.Equal(first, now.Zones["Z1"], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
		t.Error("the change is not seen")
	}
	// What no VPC of the host has is forgotten, and read when it comes back.
	z, _ := vpc.Get[vpc.HostedZone](v, "Z1")
	list.Delete(z)
	if h := m.ForHost(v, host); len(h.Zones) > 0 {
		t.Errorf("a zone that is gone: %v", h.Zones)
	}
	list.Put(z)
	if back := m.ForHost(v, host).Zones["Z1"]; len(back.Records) != 3 || &back.Records[0] == &now.Zones["Z1"].Records[0] {
		t.Errorf("a zone that came back: %v", back)
	}
}

func TestRecordSetsBecomeWhatTheResolverAnswers(t *testing.T) {
	addr := netip.MustParseAddr
	region := &vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com"}
	v, _ := zoned(
		&vpc.RecordSet{Name: "a.example.com", Type: "A", TTL: 10, Values: []string{"10.0.1.6", "10.0.1.5"}},
		&vpc.RecordSet{Name: "a.example.com", Type: "AAAA", TTL: 11, Values: []string{"2001:DB8::1"}},
		&vpc.RecordSet{Name: "b.example.com", Type: "AAAA", TTL: 12, Values: []string{"::ffff:192.0.2.1", "2001:db8::1"}},
		&vpc.RecordSet{Name: "c.example.com", Type: "CNAME", TTL: 13, Values: []string{"WWW.example.net"}},
		&vpc.RecordSet{Name: "d.example.com", Type: "MX", TTL: 14, Values: []string{"10 mail.example.net"}},
		&vpc.RecordSet{Name: `\052.e.example.com`, Type: "TXT", TTL: 15, Values: []string{`"a\101" "b"`}},
		&vpc.RecordSet{Name: `a\044.example.com`, Type: "CNAME", TTL: 16, Values: []string{"."}},
		&vpc.RecordSet{Name: "f.example.com", Type: "A", Alias: &vpc.Alias{Zone: "Z1", Name: "g.example.com"}},
		&vpc.RecordSet{Name: "g.example.com", Type: "A", Alias: &vpc.Alias{Zone: "Z1", Name: "a.example.com"}},
		&vpc.RecordSet{Name: "h.example.com", Type: "MX", Alias: &vpc.Alias{Zone: "Z1", Name: "d.example.com"}},
		&vpc.RecordSet{Name: "i.example.com", Type: "A", Alias: &vpc.Alias{Zone: "Z1", Name: "gone.example.com"}},
		&vpc.RecordSet{Name: "j.example.com", Type: "A", Alias: &vpc.Alias{Zone: "Z1", Name: "k.example.com"}},
		&vpc.RecordSet{Name: "k.example.com", Type: "A", Alias: &vpc.Alias{Zone: "Z1", Name: "j.example.com"}},
		&vpc.RecordSet{Name: "l.example.com", Type: "AAAA", Alias: &vpc.Alias{Zone: vpc.BalancerZoneID(region), Name: "dualstack.x-1.elb.us-east-1.amazonaws.com"}},
		&vpc.RecordSet{Name: "m.example.com", Type: "A", Alias: &vpc.Alias{Zone: "Z1", Name: "n.example.com"}},
		&vpc.RecordSet{Name: "n.example.com", Type: "A", Alias: &vpc.Alias{Zone: vpc.EndpointZoneID(region), Name: "vpce-1-x.s3.us-east-1.vpce.amazonaws.com"}},
	)
	z := desired.ForHost(v, host).Zones["Z1"]
	const ns = "ns-1536.awsdns-00.co.uk."
	want := desired.Zone{Name: "example.com", Records: []desired.Record{
		{Name: "example.com", Type: "NS", Values: []string{ns, "ns-0.awsdns-00.com.", "ns-1024.awsdns-00.org.", "ns-512.awsdns-00.net."}, TTL: 172800},
		{Name: "example.com", Type: "SOA", Values: []string{ns + " awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}, TTL: 900},
		{Name: "a.example.com", Addrs: []netip.Addr{addr("10.0.1.6"), addr("10.0.1.5")}, TTL: 10},
		{Name: "a.example.com", Addrs: []netip.Addr{addr("2001:db8::1")}, TTL: 11},
		{Name: "b.example.com", Type: "AAAA", Values: []string{"::ffff:192.0.2.1", "2001:db8::1"}, TTL: 12},
		{Name: "c.example.com", CNAME: "www.example.net", TTL: 13},
		{Name: "d.example.com", Type: "MX", Values: []string{"10 mail.example.net."}, TTL: 14},
		{Name: "*.e.example.com", Type: "TXT", Values: []string{`"aA" "b"`}, TTL: 15},
		{Name: `a\036.example.com`, Type: "CNAME", Values: []string{"."}, TTL: 16},
		{Name: "f.example.com", Addrs: []netip.Addr{addr("10.0.1.6"), addr("10.0.1.5")}, TTL: 10},
		{Name: "g.example.com", Addrs: []netip.Addr{addr("10.0.1.6"), addr("10.0.1.5")}, TTL: 10},
		{Name: "h.example.com", Type: "MX", Values: []string{"10 mail.example.net."}, TTL: 14},
		{Name: "i.example.com", TTL: 1<<31 - 1}, // no wildcard answers in the place of what has gone
		{Name: "j.example.com", TTL: 1<<31 - 1},
		{Name: "k.example.com", TTL: 1<<31 - 1},
		{Name: "l.example.com", Alias: "x-1.elb.us-east-1.amazonaws.com", AliasType: "AAAA", TTL: 60},
		{Name: "m.example.com", Alias: "vpce-1-x.s3.us-east-1.vpce.amazonaws.com", AliasType: "A", TTL: 60},
		{Name: "n.example.com", Alias: "vpce-1-x.s3.us-east-1.vpce.amazonaws.com", AliasType: "A", TTL: 60},
	}}
	// The store has them in the order of their keys; this view has not.
	for _, list := range [][]desired.Record{want.Records, z.Records} {
		slices.SortFunc(list, func(a, b desired.Record) int { return gocmp.Or(strings.Compare(a.Name, b.Name), int(a.TTL)-int(b.TTL)) })
	}
	if d := cmp.Diff(want, z, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// Whatever data a record set may have, a DNS library reads as one record of
// that type: what the API has taken, the resolver does not leave out.
func TestDataOfRecordSetsIsReadByADNSLibrary(t *testing.T) {
	for kind, values := range map[vpc.RecordType][]string{
		"A": {"10.0.0.1"}, "AAAA": {"2001:db8::1", "::ffff:192.0.2.1"}, "CNAME": {`a\052\056b.example`, "."}, "NS": {"a.example"}, "PTR": {"a_b.example"},
		"MX": {"0 .", "65535 a.example"}, "SRV": {"0 0 0 .", "65535 65535 65535 a.example"}, "SOA": {"a. b. 0 0 0 0 4294967295"},
		"TXT": {`""`, `"\000\011\012\015\"\\;()@$ "`, `"a" "b"`, `"` + strings.Repeat(`\377`, 255) + `"`}, "SPF": {`"v=spf1 -all"`},
		"CAA": {`0 issue ""`, `128 iodef "mailto:a@example;x"`}, "NAPTR": {`1 2 "u" "E2U+sip" "!^(.*)$!sip:\\1@a;b!" .`},
		"DS": {"65535 8 2 " + strings.Repeat("ab", 32)}, "TLSA": {"3 1 1 " + strings.Repeat("0a", 32)}, "SSHFP": {"4 2 " + strings.Repeat("ff", 32)},
		"SVCB": {"0 .", `1 . alpn=h2,h3 port=1 ipv4hint=10.0.0.1 ipv6hint=2001:db8::1 ech=AAAA`}, "HTTPS": {`65535 a.example mandatory=alpn,port alpn="h2" port=8443 no-default-alpn`},
	} {
		for _, value := range values {
			data, err := vpc.RecordData(kind, value)
			if err != nil {
				t.Errorf("%s %q: %v", kind, value, err)
				continue
			}
			p := dns.NewZoneParser(strings.NewReader(". 0 IN "+string(kind)+" "+data+"\n"), ".", "")
			rr, ok := p.Next()
			if !ok || p.Err() != nil || dns.TypeToString[rr.Header().Rrtype] != string(kind) {
				t.Errorf("%s %q: %v", kind, data, p.Err())
				continue
			}
			if _, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false); err != nil {
				t.Errorf("%s %q: %v", kind, data, err)
			}
			if _, more := p.Next(); more {
				t.Errorf("%s %q is more than one record", kind, data)
			}
		}
	}
}

func FuzzDataOfRecordSetsIsReadByADNSLibrary(f *testing.F) {
	f.Add(uint8(2), `"a;b" "c"`)
	f.Add(uint8(5), `10 a\056b.example`)
	f.Add(uint8(16), `1 . alpn=h2 port=1`)
	f.Fuzz(func(t *testing.T, n uint8, value string) {
		types := vpc.RecordTypes()
		kind := types[int(n)%len(types)]
		data, err := vpc.RecordData(kind, value)
		if err != nil {
			return
		}
		p := dns.NewZoneParser(strings.NewReader(". 0 IN "+string(kind)+" "+data+"\n"), ".", "")
		rr, ok := p.Next()
		if !ok || p.Err() != nil {
			t.Fatalf("%s %q from %q: %v", kind, data, value, p.Err())
		}
		if _, err := dns.PackRR(rr, make([]byte, dns.MaxMsgSize), 0, nil, false); err != nil {
			t.Fatalf("%s %q from %q: %v", kind, data, value, err)
		}
	})
}
