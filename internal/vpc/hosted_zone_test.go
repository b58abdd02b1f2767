// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"crypto/rand"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestDomainNamesAreReadAndShownAsRoute53Does(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM.":          "example.com",
		"example.com":           "example.com",
		"*.example.com":         `\052.example.com`,
		`\052.example.com`:      `\052.example.com`,
		"a*b._c-d.example":      `a\052b._c-d.example`,
		`a\101b.example`:        "aab.example",
		`a\056b.example`:        `a\056b.example`,
		"a$.example":            `a\044.example`,
		".":                     "",
		strings.Repeat("a", 63): strings.Repeat("a", 63),
	} {
		got, err := vpc.ParseDomainName(in)
		if err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
		if again, err := vpc.ParseDomainName(got); got != "" && (err != nil || again != got) {
			t.Errorf("%q is read again as %q, %v", got, again, err)
		}
	}
	for in, symbol := range map[string]string{
		"":                              "DomainLabelEmpty",
		"a..b":                          "DomainLabelEmpty",
		".a":                            "DomainLabelEmpty",
		"a b":                           "UnsupportedCharacter",
		"a\x00b":                        "UnsupportedCharacter",
		"é.example":                     "UnsupportedCharacter",
		`a\05`:                          "InvalidEscapeSequence",
		`a\400`:                         "InvalidEscapeSequence",
		`a\.b`:                          "InvalidEscapeSequence",
		strings.Repeat("a", 64):         "DomainLabelTooLong",
		strings.Repeat("a.", 127) + "a": "DomainNameTooLong",
		strings.Repeat("a", 5000):       "DomainNameTooLong",
	} {
		_, err := vpc.ParseDomainName(in)
		if err == nil || !strings.Contains(err.Error(), symbol) || len(err.Error()) > 500 {
			t.Errorf("%.40q: %v, want %s", in, err, symbol)
		}
	}
	for in, want := range map[string]string{`\052.a\044.example`: `*.a\036.example`, `a.\052.example`: `a.\042.example`, "a.example": "a.example"} {
		if got := vpc.ZoneFileName(in); got != want {
			t.Errorf("%q is %q in a zone file, want %q", in, got, want)
		}
	}
}

func TestRecordValuesAreJudgedByType(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tc := range []struct{ t, in, want string }{ // want "" is refused
		{"A", "192.0.2.1", "192.0.2.1"}, {"A", "192.0.2.01", ""}, {"A", "192.0.2", ""}, {"A", "2001:db8::1", ""}, {"A", " 192.0.2.1", ""},
		{"AAAA", "2001:DB8::1", "2001:db8::1"}, {"AAAA", "192.0.2.1", ""}, {"AAAA", "fe80::1%eth0", ""}, {"AAAA", "::ffff:192.0.2.1", "::ffff:192.0.2.1"},
		{"CNAME", "WWW.example.com", "www.example.com."}, {"CNAME", "www.example.com.", "www.example.com."}, {"CNAME", "a b", ""}, {"CNAME", "", ""},
		{"NS", "a..b", ""}, {"PTR", "host.example", "host.example."},
		{"MX", "10 mail.example", "10 mail.example."}, {"MX", "mail.example", ""}, {"MX", "65536 mail.example", ""}, {"MX", "-1 mail.example", ""}, {"MX", "+1 mail.example", ""}, {"MX", "0 .", "0 ."},
		{"SRV", "1 2 3 a.example", "1 2 3 a.example."}, {"SRV", "1 2 a.example", ""},
		{"SOA", "a.example b.example 1 2 3 4 5", "a.example. b.example. 1 2 3 4 5"}, {"SOA", "a.example b.example 1 2 3 4", ""}, {"SOA", "a b 1 2 3 4 4294967296", ""},
		{"TXT", `"a" "b c"`, `"a" "b c"`}, {"TXT", `"a\"b\\c\101"`, `"a\"b\\cA"`}, {"TXT", `"\001\377"`, `"\001\255"`}, {"TXT", `a`, ""}, {"TXT", `"a`, ""}, {"TXT", `"a"b"`, ""}, {"TXT", `"a""b"`, ""},
		{"TXT", `"é"`, ""}, {"TXT", `""`, `""`}, {"TXT", "\"a\nb\"", ""}, {"TXT", `"\9"`, ""}, {"TXT", `"a\"`, ""}, {"TXT", "", ""},
		{"TXT", `"` + long + `"`, `"` + long + `"`}, {"TXT", `"` + long + `x"`, ""}, {"TXT", strings.Repeat(`"`+long+`" `, 16), ""}, {"SPF", `"v=spf1 -all"`, `"v=spf1 -all"`},
		{"CAA", `0 issue "ca.example"`, `0 issue "ca.example"`}, {"CAA", `0 is-sue "x"`, ""}, {"CAA", `256 issue "x"`, ""}, {"CAA", `0 issue x`, ""},
		{"NAPTR", `1 2 "u" "s" "!^.*$!x!" .`, `1 2 "u" "s" "!^.*$!x!" .`}, {"NAPTR", `1 2 u s r .`, ""},
		{"DS", "1 8 2 0aFF", "1 8 2 0aff"}, {"DS", "1 8 2 0aF", ""}, {"SSHFP", "1 1 00", "1 1 00"}, {"TLSA", "3 1 1 zz", ""},
		{"HTTPS", `1 . alpn="h2,h3" port=8443`, `1 . alpn="h2,h3" port="8443"`}, {"HTTPS", `0 a.example`, "0 a.example."}, {"HTTPS", `0 a.example port=1`, ""}, {"HTTPS", `1 . port=65536`, ""},
		{"SVCB", `1 a.example ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1`, `1 a.example. ipv4hint="192.0.2.1,192.0.2.2" ipv6hint="2001:db8::1"`}, {"SVCB", `1 . ipv4hint=2001:db8::1`, ""},
		{"SVCB", `1 . mandatory=alpn alpn=h2`, `1 . mandatory="alpn" alpn="h2"`}, {"SVCB", `1 . mandatory=port alpn=h2`, ""}, {"SVCB", `1 . alpn=h2 alpn=h3`, ""}, {"SVCB", `1 . no-default-alpn`, ""}, {"SVCB", `1 . key65=x`, ""},
		{"LOC", "x", ""}, {"TXT", `"` + strings.Repeat("x", 5000) + `"`, ""},
	} {
		got, err := vpc.RecordData(vpc.RecordType(tc.t), tc.in)
		if tc.want == "" && err == nil || tc.want != "" && (err != nil || got != tc.want) {
			t.Errorf("%s %.60q is %.60q, %v; want %.60q", tc.t, tc.in, got, err, tc.want)
		}
		if err != nil && (len(err.Error()) > 500 || !strings.HasPrefix(err.Error(), "FATAL problem: ")) {
			t.Errorf("%s %.60q: %v", tc.t, tc.in, err)
		}
	}
}

// Keys sort as the names with their labels reversed do, label by label with a
// dot after each; whatever the names have in them.
func TestKeysOfRecordSetsAreInTheOrderOfReversedNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.Custom(func(t *rapid.T) string {
			labels := rapid.SliceOfN(rapid.StringMatching(`[-_a-z0-9*$]{1,4}`), 1, 4).Draw(t, "labels")
			n, err := vpc.ParseDomainName(strings.Join(labels, "."))
			if err != nil {
				t.Fatal(err)
			}
			return n
		})
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		want := strings.Compare(vpc.ReversedName(a), vpc.ReversedName(b))
		if got := strings.Compare(vpc.RecordSetKey("Z1", a, "TXT"), vpc.RecordSetKey("Z1", b, "A")); a != b && got != want {
			t.Errorf("%q against %q: %d, want %d", a, b, got, want)
		}
	})
	if got := vpc.ReversedName("www.example.com"); got != "com.example.www." {
		t.Errorf("reversed: %s", got)
	}
	if vpc.RecordSetKey("Z1", "a.example", "A") >= vpc.RecordSetKey("Z1", "a.example", "TXT") {
		t.Error("types are in order")
	}
}

func TestHostedZoneIDsAreOfRoute53sForm(t *testing.T) {
	id, err := vpc.NewHostedZoneID(rand.Reader)
	if err != nil || !regexp.MustCompile(`^Z[A-Z2-7]{20}$`).MatchString(string(id)) {
		t.Errorf("%q, %v", id, err)
	}
	other, _ := vpc.NewHostedZoneID(rand.Reader)
	if id == other {
		t.Error("two ids are the same")
	}
	if _, err := vpc.NewHostedZoneID(strings.NewReader("x")); err == nil {
		t.Error("an id without dice")
	}
}

func TestInvariantsOfHostedZonesAreSeenToBeBroken(t *testing.T) {
	base := func() (*vpc.HostedZone, []*vpc.RecordSet) {
		z := &vpc.HostedZone{ID: "Z1", Owner: "111111111111", Name: "example.com", CallerReference: "r", VPCs: []vpc.VPCID{"vpc-00000001"}, Records: 2}
		return z, z.ApexRecords()
	}
	for want, spoil := range map[string]func(z *vpc.HostedZone, r *[]*vpc.RecordSet){
		"":                       func(*vpc.HostedZone, *[]*vpc.RecordSet) {},
		"its name is":            func(z *vpc.HostedZone, _ *[]*vpc.RecordSet) { z.Name = "Example.com" },
		"associated with no VPC": func(z *vpc.HostedZone, _ *[]*vpc.RecordSet) { z.VPCs = nil },
		"counts 2 record sets": func(_ *vpc.HostedZone, r *[]*vpc.RecordSet) {
			*r = append(*r, &vpc.RecordSet{Zone: "Z1", Name: "a.example.com", Type: "A", Values: []string{"10.0.0.1"}})
		},
		"no SOA or NS":           func(z *vpc.HostedZone, r *[]*vpc.RecordSet) { *r, z.Records = (*r)[:1], 1 },
		"outside of the zone":    func(_ *vpc.HostedZone, r *[]*vpc.RecordSet) { (*r)[0].Name = "example.org" },
		"cannot be":              func(_ *vpc.HostedZone, r *[]*vpc.RecordSet) { (*r)[0].Values = []string{"a b"} },
		"0 values and the alias": func(_ *vpc.HostedZone, r *[]*vpc.RecordSet) { (*r)[0].Values = nil },
		"its type is":            func(_ *vpc.HostedZone, r *[]*vpc.RecordSet) { (*r)[0].Type = "LOC" },
		"beside the CNAME": func(z *vpc.HostedZone, r *[]*vpc.RecordSet) {
			*r, z.Records = append(*r, &vpc.RecordSet{Zone: "Z1", Name: "a.example.com", Type: "CNAME", Values: []string{"b"}}, &vpc.RecordSet{Zone: "Z1", Name: "a.example.com", Type: "A", Values: []string{"10.0.0.1"}}), 4
		},
		"its hosted zone does not": func(_ *vpc.HostedZone, r *[]*vpc.RecordSet) { (*r)[0].Zone = "Z2" },
	} {
		z, records := base()
		spoil(z, &records)
		v := vpctest.Of(&vpc.Account{ID: "111111111111"}, z)
		for _, r := range records {
			v.Put(r)
		}
		errs := vpc.Invariants(v)
		if want == "" && len(errs) > 0 || want != "" && !slices.ContainsFunc(errs, func(e error) bool { return strings.Contains(e.Error(), want) }) {
			t.Errorf("want %q, got %v", want, errs)
		}
	}
}

func FuzzRecordData(f *testing.F) {
	for i, v := range []string{`"a" "b\""`, "10 mail.example", "1 . alpn=h2", "a b 1 2 3 4 5", `\052.x`, "\"\\"} {
		f.Add(uint8(i), v)
	}
	f.Fuzz(func(t *testing.T, n uint8, v string) {
		types := vpc.RecordTypes()
		kind := types[int(n)%len(types)]
		data, err := vpc.RecordData(kind, v)
		if err == nil && strings.ContainsAny(data, "\r\n;") && !strings.Contains(data, `"`) {
			t.Errorf("%s %q is %q", kind, v, data)
		}
		if name, err := vpc.ParseDomainName(v); err == nil {
			if again, err := vpc.ParseDomainName(name + "."); err != nil || again != name {
				t.Errorf("%q is %q and then %q, %v", v, name, again, err)
			}
		}
	})
}
