// SPDX-License-Identifier: Apache-2.0

package call

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestJSONIsReadStrictly(t *testing.T) {
	o, e := ParseJSON([]byte(`{"a":"b","n":1.50,"l":["x",{"y":null}],"o":{"p":true}} `))
	if e != nil {
		t.Fatal(e)
	}
	if s, e := o.String("a"); s != "b" || e != nil {
		t.Errorf("%q %v", s, e)
	}
	if s, e := o.String("absent"); s != "" || e != nil {
		t.Errorf("%q %v", s, e)
	}
	for _, bad := range []string{``, `[]`, `{"a":1}{"a":1}`, `{"a":1,"a":1}`, `{"o":{"a":1,"a":1}}`, `{"a":}`, "{\"a\":\"\xff\"}", `{'a':1}`, `{"a":1,}`, strings.Repeat(`{"a":`, 150) + `1` + strings.Repeat(`}`, 150)} {
		if _, e := ParseJSON([]byte(bad)); e == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
	// What is deep is checked and left out.
	deep, e := ParseJSON([]byte(strings.Repeat(`{"a":`, 50) + `1` + strings.Repeat(`}`, 50)))
	for depth := 0; e == nil && deep != nil; depth++ {
		if depth > keptJSONDepth+1 {
			t.Fatal("all of it is kept")
		}
		deep, e = deep.Object("a")
	}
	o, _ = ParseJSON([]byte(`{"Name":"x","s":1,"r":"a\ud800b","r2":"\udc00\ud800","r3":"x\ud83d\\ude00","r4":"\ud83d\u0041","z":"a\u0000","l":["x",1]}`))
	for what, e := range map[string]*Error{
		"another letter case": second(o.String("name")), "a number": second(o.String("s")), "half of a pair": second(o.String("r")), "two halves the other way round": second(o.String("r2")),
		"half of a pair and what looks like the other": second(o.String("r3")), "half of a pair and a letter": second(o.String("r4")), "NUL": second(o.String("z")), "a mixed list": second(o.Strings("l")),
		"no list": second(o.List("s")), "no object": second(o.Object("s")), "no objects": second(o.Objects("l")),
	} {
		if e == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// What is no pair's half is what it looks like, however it is written.
func TestEveryRuneOfAJSONTextIsTaken(t *testing.T) {
	o, e := ParseJSON([]byte(`{"a":"\ufffd","b":"\ud83d\ude00\uD83D\uDE00","c":"\\ud800","d":"` + "\ufffd\U0001f600" + `","e":"\ufffd\ud83d\ude00\\"}`))
	if e != nil {
		t.Fatal(e)
	}
	for name, want := range map[string]string{"a": "\ufffd", "b": "\U0001f600\U0001f600", "c": `\ud800`, "d": "\ufffd\U0001f600", "e": "\ufffd\U0001f600\\"} {
		if got, e := o.String(name); e != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, e, want)
		}
	}
}

func second[T any](_ T, e *Error) *Error { return e }

func TestClaimsSayWhoSigned(t *testing.T) {
	const scope = "AK/20260101/us-east-1/s3/aws4_request"
	for _, tc := range []struct {
		query, auth string
		want        Claim
		code        string
	}{
		{"", "", Claim{}, ""},
		{"", "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host;x-amz-date, Signature=0", Claim{KeyID: "AK", Region: "us-east-1", Auth: AuthHeader, Version: "AWS4-HMAC-SHA256", Signed: []string{"host", "x-amz-date"}, Date: "20260102T030405Z"}, ""},
		{"", "AWS AK:sig", Claim{KeyID: "AK", Auth: AuthHeader, Version: "AWS", Date: "20260102T030405Z"}, ""},
		{"AWSAccessKeyId=AK&Signature=s&Expires=1", "", Claim{KeyID: "AK", Auth: AuthQuery, Version: "AWS"}, ""},
		{"AWSAccessKeyId=AK&Signature=s&Expires=1", "AWS BK:sig", Claim{}, "InvalidArgument"},
		{"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + scope + "&X-Amz-SignedHeaders=host&X-Amz-Signature=0", "", Claim{KeyID: "AK", Region: "us-east-1", Auth: AuthQuery, Version: "AWS4-HMAC-SHA256", Signed: []string{"host"}, Date: "20260102T030405Z"}, ""},
		{"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + scope, "AWS AK:sig", Claim{}, "InvalidArgument"},
		{"x-amz-acl=private", "", Claim{}, "InvalidRequest"},
		{"", "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0", Claim{}, "AuthorizationHeaderMalformed"},
		{"", "AWS4-HMAC-SHA256 Credential=" + scope + ", Credential=BK" + scope[2:] + ", Signature=0", Claim{}, "AuthorizationHeaderMalformed"},
		{"", "Basic eDp5", Claim{}, "InvalidArgument"},
		{"", "AWS A K:sig", Claim{}, "AuthorizationHeaderMalformed"},
	} {
		h := http.Header{}
		if tc.auth != "" {
			h.Set("Authorization", tc.auth)
		}
		if tc.query == "" || strings.HasPrefix(tc.query, "X-Amz-Alg") {
			h.Set("X-Amz-Date", "20260102T030405Z")
		}
		q, e := ParseQuery(tc.query, h)
		if e != nil {
			t.Fatal(e)
		}
		got, e := ReadClaim(h, q, "s3")
		if tc.code != "" {
			if e == nil || e.Code != tc.code {
				t.Errorf("%s %s: %v, want %s", tc.query, tc.auth, e, tc.code)
			}
			continue
		}
		if tc.auth == "" && tc.query == "" {
			tc.want.Date = ""
		}
		if e != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s %s:\n got %+v %v\nwant %+v", tc.query, tc.auth, got, e, tc.want)
		}
	}
	if age := (Claim{Date: "20260102T030405Z"}).Age(time.Date(2026, 1, 2, 3, 4, 6, 5e8, time.UTC)); age != "1500" {
		t.Errorf("age %s", age)
	}
}

func TestHeadersThatCouldBeOthersAreRefused(t *testing.T) {
	for name, h := range map[string]http.Header{
		"upgrade": {"Upgrade": {"h2c"}}, "connection": {"Connection": {"close, X-Amz-Acl"}}, "host": {"Host": {"other"}}, "underscore": {"X_amz_acl": {"x"}},
		"twice": {"X-Amz-Acl": {"a", "b"}}, "two agents": {"User-Agent": {"a", "b"}}, "two types": {"Content-Type": {"a", "b"}},
	} {
		if CheckHeaders(h) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if e := CheckHeaders(http.Header{"Connection": {"keep-alive, TE"}, "X-Amz-Meta-A": {"a", "b"}, "Accept": {"a", "b"}}); e != nil {
		t.Error(e)
	}
	for _, name := range Overriding {
		h := http.Header{name: {"x"}}
		if (Claim{Signed: []string{strings.ToLower(name)}}).CheckOverriding(h) == nil {
			t.Errorf("a signed %s is taken", name)
		}
		if e := (Claim{}).CheckOverriding(h); e != nil {
			t.Error(e)
		}
	}
}
