// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

const (
	akid   = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	token  = "a+session/token=="
)

var signTime = time.Date(2026, 2, 28, 23, 59, 30, 0, time.UTC)

func lookup(creds ...Credential) Lookup {
	return func(id, _ string) (Credential, bool) {
		for _, c := range creds {
			if c.AccessKeyID == id {
				return c, true
			}
		}
		return Credential{}, false
	}
}

func newVerifier(s3 bool) *Verifier {
	return &Verifier{
		Lookup:   lookup(Credential{AccessKeyID: akid, Secret: secret}, Credential{AccessKeyID: "ASIDEXAMPLE", Secret: secret, SessionToken: token}),
		Services: []string{"ec2", "sts", "s3"}, Regions: []string{"eu-central-1"}, ServiceRegions: map[string][]string{"sts": {"us-east-1"}},
		Now: func() time.Time { return signTime.Add(time.Minute) }, S3: s3,
	}
}

// call is a request before signing.
type call struct {
	method, url, body string
	header            http.Header
	key, token        string
	service, region   string
	presign, s3       bool
	hash              string // of the payload; "" is that of the body
	query             url.Values
	at                time.Time
}

// wire signs the call with the SDK and returns it as a server reads it.
func (c call) wire(t interface{ Fatalf(string, ...any) }) *http.Request {
	r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	if c.s3 {
		// As the S3 client does: every byte but the unreserved ones is escaped.
		r.URL.RawPath = escape(r.URL.Path, true)
	}
	if c.query != nil {
		r.URL.RawQuery = c.query.Encode()
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	if c.key == "" {
		c.key = akid
	}
	if c.service == "" {
		c.service = "ec2"
	}
	if c.region == "" {
		c.region = "eu-central-1"
	}
	if c.at.IsZero() {
		c.at = signTime
	}
	hash := c.hash
	if hash == "" {
		hash = hashHex([]byte(c.body))
	}
	cred := aws.Credentials{AccessKeyID: c.key, SecretAccessKey: secret, SessionToken: c.token}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = c.s3 })
	if c.presign {
		signed, headers, err := signer.PresignHTTP(context.Background(), cred, r, hash, c.service, c.region, c.at)
		if err != nil {
			t.Fatalf("presign: %v", err)
		}
		r2, err := http.NewRequest(c.method, signed, strings.NewReader(c.body))
		if err != nil {
			t.Fatalf("presigned URL: %v", err)
		}
		for k, v := range headers {
			if k != "Host" && k != "Content-Length" {
				r2.Header[k] = v
			}
		}
		r2.Host = r.Host
		r = r2
	} else if err := signer.SignHTTP(context.Background(), cred, r, hash, c.service, c.region, c.at); err != nil {
		t.Fatalf("sign: %v", err)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatalf("write: %v", err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatalf("read back: %v", err)
	}
	if got.Body, err = replay(got.Body); err != nil {
		t.Fatalf("body: %v", err)
	}
	return got
}

func replay(b io.Reader) (io.ReadCloser, error) {
	all, err := io.ReadAll(b)
	return io.NopCloser(bytes.NewReader(all)), err
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func drawCall(t *rapid.T, s3 bool) call {
	word := rapid.StringMatching(`[a-zA-Z0-9 +/%&=;:~_.*'()!@äß漢"<>\\-]{0,12}`)
	c := call{
		method: rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"),
		url:    "http://" + rapid.SampledFrom([]string{"ec2.example", "ec2.example:8080", "192.0.2.1:80", "[2001:db8::1]:4566"}).Draw(t, "host"),
		body:   rapid.StringN(0, 40, 200).Draw(t, "body"), s3: s3, header: http.Header{}, query: url.Values{},
		presign: rapid.Bool().Draw(t, "presign"),
	}
	if c.method == "GET" {
		c.body = ""
	}
	path := ""
	for range rapid.IntRange(0, 4).Draw(t, "segments") {
		path += "/" + word.Draw(t, "segment")
	}
	c.url += (&url.URL{Path: path}).EscapedPath()
	for range rapid.IntRange(0, 4).Draw(t, "queries") {
		k := "k" + word.Draw(t, "query key")
		c.query.Add(k, word.Draw(t, "query value"))
		if rapid.Bool().Draw(t, "again") {
			c.query.Add(k, word.Draw(t, "query value"))
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "headers") {
		name := http.CanonicalHeaderKey(fmt.Sprintf("%s-h%d", rapid.SampledFrom([]string{"x-amz-meta", "x-other"}).Draw(t, "header"), i))
		value := rapid.StringMatching(`[a-z] {0,3}[a-z,;="\t]{0,5} {0,3}[A-Z]`)
		c.header.Add(name, value.Draw(t, "header value"))
		if rapid.Bool().Draw(t, "header again") {
			c.header.Add(name, value.Draw(t, "header value"))
		}
	}
	if rapid.Bool().Draw(t, "temporary") {
		c.key, c.token = "ASIDEXAMPLE", token
	}
	if c.presign {
		c.query.Set("X-Amz-Expires", "120")
	}
	if s3 {
		c.service = "s3"
		c.hash = rapid.SampledFrom([]string{"", UnsignedPayload}).Draw(t, "payload")
		if c.presign {
			c.hash = UnsignedPayload
		} else {
			hash := c.hash
			if hash == "" {
				hash = hashHex([]byte(c.body))
			}
			c.header.Set("X-Amz-Content-Sha256", hash)
		}
	}
	return c
}

// mutate changes one thing that the signature covers and says which.
func mutate(t *rapid.T, r *http.Request, body []byte, c call) (string, []byte) {
	unsigned := c.hash == UnsignedPayload
	var names []string
	for name := range r.Header {
		if name != "User-Agent" && name != "Accept-Encoding" && name != "Authorization" && name != "Content-Length" {
			names = append(names, name)
		}
	}
	what := rapid.SampledFrom([]string{"method", "path", "path with a question mark", "query added", "query removed", "query changed", "host", "port", "body", "signature", "header", "header gone", "x-amz header added", "region", "service", "key", "date", "presigned fields"}).Draw(t, "mutation")
	switch what {
	case "method":
		r.Method = map[string]string{"GET": "HEAD", "POST": "PUT", "PUT": "POST", "DELETE": "GET"}[r.Method]
	case "path":
		r.URL.Path, r.URL.RawPath = r.URL.Path+"/x", ""
	case "path with a question mark":
		r.URL.Path, r.URL.RawPath = r.URL.Path+"?", ""
	case "query added":
		r.URL.RawQuery += "&zz="
	case "query removed":
		pairs := strings.Split(r.URL.RawQuery, "&")
		if r.URL.RawQuery == "" {
			return "", body
		}
		i := rapid.IntRange(0, len(pairs)-1).Draw(t, "pair")
		r.URL.RawQuery = strings.Join(append(pairs[:i:i], pairs[i+1:]...), "&")
	case "query changed":
		if r.URL.RawQuery == "" {
			return "", body
		}
		r.URL.RawQuery += "1"
	case "host":
		r.Host = "x" + r.Host
	case "port":
		r.Host += "1"
	case "body":
		if unsigned || c.s3 && len(body) == 0 {
			return "", body
		}
		body = append(bytes.Clone(body), 'x')
	case "signature", "region", "service", "key", "date":
		parts := map[string][2]string{"region": {"/eu-central-1/", "/us-east-1/"}, "service": {"/" + c.service + "/", "/sts/"}, "key": {"IDEXAMPLE/", "IDEXAMPLF/"}, "date": {"/20260228/", "/20260227/"}}
		change := func(s string) string {
			if what == "signature" {
				i := strings.LastIndex(s, "Signature=") + len("Signature=") + rapid.IntRange(0, 63).Draw(t, "digit")
				digit := byte('0')
				if s[i] == digit {
					digit = 'f'
				}
				return s[:i] + string(digit) + s[i+1:]
			}
			old, repl := parts[what][0], parts[what][1]
			if c.service == "" {
				old = strings.ReplaceAll(old, "//", "/ec2/")
			}
			if !c.presign {
				return strings.Replace(s, old, repl, 1)
			}
			return strings.Replace(s, url.QueryEscape(old), url.QueryEscape(repl), 1)
		}
		before := r.Header.Get("Authorization") + r.URL.RawQuery
		if c.presign {
			r.URL.RawQuery = change(r.URL.RawQuery)
		} else {
			r.Header.Set("Authorization", change(r.Header.Get("Authorization")))
		}
		if before == r.Header.Get("Authorization")+r.URL.RawQuery {
			t.Fatalf("%s was not changed in %s", what, before)
		}
	case "header", "header gone":
		if len(names) == 0 {
			return "", body
		}
		name := rapid.SampledFrom(names).Draw(t, "name")
		if what == "header" {
			r.Header[name] = append([]string{"y" + r.Header[name][0]}, r.Header[name][1:]...)
		} else {
			delete(r.Header, name)
		}
	case "x-amz header added":
		r.Header.Set("X-Amz-Acl", "public-read")
	case "presigned fields":
		if !c.presign {
			return "", body
		}
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=120", "X-Amz-Expires=121", 1)
	}
	return what, body
}

func TestSDKSignaturesVerifyAndNoChangeOfSignedMaterialDoes(t *testing.T) {
	for _, s3 := range []bool{false, true} {
		t.Run(fmt.Sprintf("s3=%v", s3), func(t *testing.T) {
			v := newVerifier(s3)
			v.Unsigned = UnsignedAlways
			rapid.Check(t, func(t *rapid.T) {
				c := drawCall(t, s3)
				r := c.wire(t)
				body, _ := io.ReadAll(r.Body)
				id, err := v.Verify(r, body)
				if err != nil {
					t.Fatalf("%v\n%s %s %q", err, r.Method, r.URL, r.Header)
				}
				wantKey := c.key
				if wantKey == "" {
					wantKey = akid
				}
				if id.AccessKeyID != wantKey || id.Region != "eu-central-1" || id.Presigned != c.presign || !id.Time.Equal(signTime) {
					t.Fatalf("identity %+v", id)
				}
				if key, _, region, ok := AccessKeyFromRequest(r); !ok || key != wantKey || region != id.Region {
					t.Fatalf("routing read %q %q %v", key, region, ok)
				}
				// A space may be spelt both ways, and the pairs of a query have no order.
				same := r.Clone(context.Background())
				pairs := strings.Split(strings.ReplaceAll(same.URL.RawQuery, "%20", "+"), "&")
				for i, j := 0, len(pairs)-1; i < j; i, j = i+1, j-1 {
					pairs[i], pairs[j] = pairs[j], pairs[i]
				}
				same.URL.RawQuery = strings.Join(pairs, "&")
				if _, err := v.Verify(same, body); err != nil {
					t.Fatalf("the same query in other words: %v", err)
				}
				what, changed := mutate(t, r, body, c)
				if what == "" {
					return
				}
				_, err = v.Verify(r, changed)
				if err == nil {
					t.Fatalf("verifies though changed: %s\n%s %s %q", what, r.Method, r.URL, r.Header)
				}
				if strings.Contains(err.Error(), secret) {
					t.Fatalf("the error shows the secret: %v", err)
				}
			})
		})
	}
}

func TestRefusalsHaveTheirKind(t *testing.T) {
	post := call{method: "POST", url: "http://ec2.example:8080", body: "Action=DescribeVpcs"}
	with := func(f func(*call)) call { c := post; f(&c); return c }
	query := func(kv ...string) url.Values {
		q := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			q.Set(kv[i], kv[i+1])
		}
		return q
	}
	for name, c := range map[string]struct {
		call   call
		edit   func(*http.Request)
		v      func(*Verifier)
		body   string
		kind   Kind // 0: verifies
		reason string
	}{
		"fine":                           {call: post},
		"late but allowed":               {call: with(func(c *call) { c.at = signTime.Add(-13 * time.Minute) })},
		"old":                            {call: with(func(c *call) { c.at = signTime.Add(-15 * time.Minute) }), kind: Skew},
		"from the future":                {call: with(func(c *call) { c.at = signTime.Add(17 * time.Minute) }), kind: Skew},
		"unsigned":                       {call: post, edit: func(r *http.Request) { r.Header.Del("Authorization") }, kind: MissingAuth},
		"another scheme":                 {call: post, edit: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, kind: Malformed},
		"twice":                          {call: post, edit: func(r *http.Request) { r.Header.Add("Authorization", "x") }, kind: Malformed},
		"no comma space":                 {call: post, edit: func(r *http.Request) { replaceAuth(r, ", ", ",") }},
		"upper-case signature":           {call: post, edit: func(r *http.Request) { replaceAuth(r, "Signature=", "Signature=A") }, kind: Malformed},
		"unsorted headers":               {call: post, edit: func(r *http.Request) { replaceAuth(r, "host;", "zz;host;") }, kind: Malformed},
		"upper-case headers":             {call: post, edit: func(r *http.Request) { replaceAuth(r, "host;", "Host;") }, kind: Malformed},
		"host not signed":                {call: post, edit: func(r *http.Request) { replaceAuth(r, "host;", "") }, kind: BadSignature, reason: "host"},
		"absent signed header":           {call: post, edit: func(r *http.Request) { replaceAuth(r, "host;", "host;missing;") }, kind: BadSignature, reason: "missing"},
		"wrong terminator":               {call: post, edit: func(r *http.Request) { replaceAuth(r, "aws4_request", "aws4_requesu") }, kind: Malformed},
		"unknown key":                    {call: with(func(c *call) { c.key = "AKIDOTHER" }), kind: UnknownKey},
		"no lookup":                      {call: post, v: func(v *Verifier) { v.Lookup = nil }, kind: UnknownKey},
		"zero verifier":                  {call: post, v: func(v *Verifier) { v.Services, v.Regions = nil, nil }, kind: BadScope},
		"other region":                   {call: with(func(c *call) { c.region = "us-east-1" }), kind: BadScope, reason: "us-east-1"},
		"global region of sts":           {call: with(func(c *call) { c.region, c.service = "us-east-1", "sts" })},
		"other service":                  {call: with(func(c *call) { c.service = "iam" }), kind: BadScope, reason: "iam"},
		"wrong secret":                   {call: post, v: func(v *Verifier) { v.Lookup = lookup(Credential{AccessKeyID: akid, Secret: "other"}) }, kind: BadSignature},
		"token expected":                 {call: with(func(c *call) { c.key = "ASIDEXAMPLE" }), kind: BadToken},
		"token wrong":                    {call: with(func(c *call) { c.key, c.token = "ASIDEXAMPLE", "wrong" }), kind: BadToken},
		"token not expected":             {call: with(func(c *call) { c.token = token }), kind: BadToken},
		"token right":                    {call: with(func(c *call) { c.key, c.token = "ASIDEXAMPLE", token })},
		"credential expired":             {call: post, v: func(v *Verifier) { v.Lookup = lookup(Credential{akid, secret, "", signTime}) }, kind: ExpiredToken},
		"body changed":                   {call: post, body: "Action=DeleteVpc", kind: BadSignature},
		"body changed, header":           {call: with(func(c *call) { c.header = http.Header{"X-Amz-Content-Sha256": {hashHex([]byte(c.body))}} }), body: "Action=DeleteVpc", kind: PayloadMismatch},
		"hash in the header":             {call: with(func(c *call) { c.header = http.Header{"X-Amz-Content-Sha256": {hashHex([]byte(c.body))}} })},
		"unsigned, no TLS":               {call: unsignedPayload(post), kind: PayloadMismatch},
		"unsigned, TLS":                  {call: unsignedPayload(post), edit: func(r *http.Request) { r.TLS = &tls.ConnectionState{} }},
		"unsigned, never":                {call: unsignedPayload(post), edit: func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, v: func(v *Verifier) { v.Unsigned = UnsignedNever }, kind: PayloadMismatch},
		"streaming outside S3":           {call: with(func(c *call) { c.hash = StreamingPayload; c.header = http.Header{"X-Amz-Content-Sha256": {c.hash}} }), kind: Malformed},
		"date header":                    {call: post, edit: func(r *http.Request) { r.Header.Set("Date", "Mon, 01 Jan 2001 00:00:00 GMT") }},
		"presigned":                      {call: call{method: "GET", url: "http://ec2.example", presign: true, query: query("Action", "DescribeVpcs", "X-Amz-Expires", "90")}},
		"presigned, no expires":          {call: call{method: "GET", url: "http://ec2.example", presign: true, query: query("Action", "DescribeVpcs")}},
		"presigned, over":                {call: call{method: "GET", url: "http://ec2.example", presign: true, query: query("X-Amz-Expires", "59")}, kind: Expired},
		"presigned, no expires, over":    {call: call{method: "GET", url: "http://ec2.example", presign: true, at: signTime.Add(-15 * time.Minute)}, kind: Expired},
		"presigned, too long":            {call: call{method: "GET", url: "http://ec2.example", presign: true, query: query("X-Amz-Expires", "604801")}, kind: Malformed},
		"presigned, future":              {call: call{method: "GET", url: "http://ec2.example", presign: true, at: signTime.Add(17 * time.Minute)}, kind: Skew},
		"presigned and header":           {call: call{method: "GET", url: "http://ec2.example", presign: true}, edit: func(r *http.Request) { r.Header.Set("Authorization", "x") }, kind: Malformed},
		"presigned field twice":          {call: call{method: "GET", url: "http://ec2.example", presign: true}, edit: func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Date=x" }, kind: Malformed},
		"presigned with a signed header": {call: call{method: "GET", url: "http://sts.example", presign: true, service: "sts", header: http.Header{"X-K8s-Aws-Id": {"cluster"}}}},
		"presigned, signed header changed": {call: call{method: "GET", url: "http://sts.example", presign: true, service: "sts", header: http.Header{"X-K8s-Aws-Id": {"cluster"}}},
			edit: func(r *http.Request) { r.Header.Set("X-K8s-Aws-Id", "other") }, kind: BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.call.wire(t)
			body := c.call.body
			if c.body != "" {
				body = c.body
			}
			v := newVerifier(false)
			if c.v != nil {
				c.v(v)
			}
			if c.edit != nil {
				c.edit(r)
			}
			id, err := v.Verify(r, []byte(body))
			if kindOf(err) != c.kind || (err == nil) != (c.kind == 0) {
				t.Fatalf("got %v, want %q", err, c.kind)
			}
			if err != nil && (!strings.Contains(err.Error(), c.reason) || id.AccessKeyID != "") {
				t.Errorf("got %v with %+v, want the reason to contain %q and no identity", err, id, c.reason)
			}
		})
	}
}

func replaceAuth(r *http.Request, old, repl string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, repl, -1))
}

func unsignedPayload(c call) call {
	c.hash = UnsignedPayload
	c.header = http.Header{"X-Amz-Content-Sha256": {UnsignedPayload}}
	return c
}

func TestADateHeaderStandsInForXAmzDate(t *testing.T) {
	// The signature is AWS's example of RFC 1123 dates turned into the scope's form: made
	// here from the canonical text itself, because the SDK always sends X-Amz-Date.
	r, _ := http.NewRequest("GET", "http://ec2.example/", nil)
	r.Header.Set("Date", signTime.Format(http.TimeFormat))
	canonical := "GET\n/\n\ndate:Sat, 28 Feb 2026 23:59:30 GMT\nhost:ec2.example\n\ndate;host\n" + hashHex(nil)
	scope := "20260228/eu-central-1/ec2/aws4_request"
	var keys keyCache
	sig := sign(keys.get(keyID{akid, secret, "20260228", "eu-central-1", "ec2"}), algorithm+"\n20260228T235930Z\n"+scope+"\n"+hashHex([]byte(canonical)))
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s,SignedHeaders=date;host,Signature=%x", algorithm, akid, scope, sig))
	if _, err := newVerifier(false).Verify(r, nil); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Date", signTime.Add(time.Second).Format(http.TimeFormat))
	if _, err := newVerifier(false).Verify(r, nil); kindOf(err) != BadSignature {
		t.Fatalf("another date: %v", err)
	}
}

func TestS3LeavesTheBodyToTheCaller(t *testing.T) {
	for _, hash := range []string{hashHex([]byte("data")), StreamingPayload, StreamingPayloadTrailer, UnsignedPayload, StreamingUnsignedTrailer} {
		c := call{method: "PUT", url: "http://bucket.s3.example/a%20b/c+d/%2F//e", body: "data", s3: true, service: "s3", hash: hash, header: http.Header{"X-Amz-Content-Sha256": {hash}}}
		v := newVerifier(true)
		r := c.wire(t)
		id, err := v.Verify(r, nil)
		if hash == UnsignedPayload || hash == StreamingUnsignedTrailer {
			if kindOf(err) != PayloadMismatch {
				t.Errorf("%s without TLS: %v", hash, err)
			}
			v.Unsigned = UnsignedAlways
			id, err = v.Verify(r, nil)
		}
		if err != nil || id.PayloadHash != hash {
			t.Errorf("%s: %q, %v", hash, id.PayloadHash, err)
		}
	}
	c := call{method: "GET", url: "http://bucket.s3.example/", s3: true, service: "s3"}
	if _, err := newVerifier(true).Verify(c.wire(t), nil); kindOf(err) != Malformed {
		t.Errorf("without x-amz-content-sha256: %v", err)
	}
	c.presign, c.hash = true, UnsignedPayload
	if _, err := newVerifier(true).Verify(c.wire(t), nil); kindOf(err) != Malformed {
		t.Errorf("presigned without X-Amz-Expires: %v", err)
	}
	c.query = url.Values{"X-Amz-Expires": {"604800"}}
	if _, err := newVerifier(true).Verify(c.wire(t), nil); err != nil {
		t.Errorf("presigned: %v", err)
	}
}

func TestS3PathsMayBeEscapedInTheClientsWay(t *testing.T) {
	for _, path := range []string{"/a+b", "/a%2Bb", "/(x)!*'", "/%7Eme"} {
		u := "http://bucket.s3.example" + path
		r, err := http.NewRequest("GET", u, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", UnsignedPayload)
		// Unlike the S3 client, a plain signer signs the path as it stands in the URL.
		err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(context.Background(),
			aws.Credentials{AccessKeyID: akid, SecretAccessKey: secret}, r, UnsignedPayload, "s3", "eu-central-1", signTime)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newVerifier(true).Verify(r, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSigningKeysAreBoundedAndFollowTheSecret(t *testing.T) {
	var k keyCache
	for i := range maxKeys + 50 {
		k.get(keyID{fmt.Sprint(i), "s", "20260228", "r", "ec2"})
	}
	if n := k.len(); n > maxKeys {
		t.Errorf("%d keys", n)
	}
	id := keyID{"a", "one", "20260228", "r", "ec2"}
	one := k.get(id)
	if !bytes.Equal(one, k.get(id)) {
		t.Error("the cached key differs")
	}
	id.secret = "two"
	if bytes.Equal(one, k.get(id)) {
		t.Error("the key did not follow the secret")
	}
}

func FuzzVerify(f *testing.F) {
	r := call{method: "POST", url: "http://ec2.example:8080", body: "Action=DescribeVpcs"}.wire(f)
	f.Add("POST", "/", "", r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), "", "Action=DescribeVpcs")
	p := call{method: "GET", url: "http://ec2.example", presign: true}.wire(f)
	f.Add("GET", "/", p.URL.RawQuery, "", "", "", "")
	f.Add("GET", "*", "%", algorithm+" =,=,=", "x", UnsignedPayload, "\x00")
	plain, s3 := newVerifier(false), newVerifier(true)
	f.Fuzz(func(t *testing.T, method, path, query, auth, date, hash, body string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawPath: path, RawQuery: query}, Host: "ec2.example:8080", Header: http.Header{"Content-Type": {" a  b "}}}
		for k, v := range map[string]string{"Authorization": auth, "X-Amz-Date": date, "X-Amz-Content-Sha256": hash} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		AccessKeyFromRequest(r)
		for _, v := range []*Verifier{plain, s3} {
			if _, err := v.Verify(r, []byte(body)); err != nil && (kindOf(err) == 0 || strings.Contains(err.Error(), secret)) {
				t.Fatal(err)
			}
		}
	})
}
