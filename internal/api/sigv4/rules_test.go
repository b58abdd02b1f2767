// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Each rule of signature version 4, in the order of a verification, with a
// request that keeps it and one that does not.
func TestEachRuleOfSignatureVersion4(t *testing.T) {
	post := call{method: "POST", url: "http://ec2.example:8080/", body: "Action=DescribeVpcs"}
	presigned := call{method: "GET", url: "http://ec2.example/", presign: true, query: url.Values{"Action": {"DescribeVpcs"}, "X-Amz-Expires": {"90"}}}
	get := func() *http.Request { return must(http.NewRequest("GET", "http://ec2.example/", nil)) }
	byHand := func(r *http.Request, query, headers, hash string) *http.Request {
		sign4(r, query, headers, hash)
		return r
	}
	edited := func(c call, f func(*http.Request)) *http.Request { r := c.wire(t); f(r); return r }
	with := func(c call, f func(*call)) call { f(&c); return c }
	amzHeader := func(h http.Header) *http.Request { r := get(); r.Header = h; return r }
	for _, c := range []struct {
		rule   string
		r      *http.Request
		body   string
		v      func(*Verifier)
		kind   Kind // 0: verifies
		reason string
	}{
		// 1. Parse, and find the key.
		{"the comma may lack its space", edited(post, func(r *http.Request) { replaceAuth(r, ", ", ",") }), post.body, nil, 0, ""},
		{"a field is there once", edited(post, func(r *http.Request) { replaceAuth(r, "Signature=", "Credential=x, Signature=") }), post.body, nil, Malformed, "once"},
		{"no field is missing", edited(post, func(r *http.Request) { replaceAuth(r, "SignedHeaders=", "x=") }), post.body, nil, Malformed, "signed headers"},
		{"the key is known", with(post, func(c *call) { c.key = "AKIDNOBODY" }).wire(t), post.body, nil, UnknownKey, "AKIDNOBODY"},
		// 2. Time.
		{"Date stands in for X-Amz-Date", dated(signTime), "", nil, 0, ""},
		{"the scope's date is the request's", edited(post, func(r *http.Request) { replaceAuth(r, "/20260228/", "/20260227/") }), post.body, nil, BadScope, "20260227"},
		{"fifteen minutes early are allowed", with(post, func(c *call) { c.at = signTime.Add(-14 * time.Minute) }).wire(t), post.body, nil, 0, ""},
		{"sixteen are not", with(post, func(c *call) { c.at = signTime.Add(-15 * time.Minute) }).wire(t), post.body, nil, Skew, "20260228T234430Z"},
		{"nor sixteen late", with(post, func(c *call) { c.at = signTime.Add(17 * time.Minute) }).wire(t), post.body, nil, Skew, "20260301T001630Z"},
		// 3. Scope.
		{"the service is one that is called", with(post, func(c *call) { c.service = "lambda" }).wire(t), post.body, nil, BadScope, "ec2, sts"},
		{"the region is ours", with(post, func(c *call) { c.region = "us-west-2" }).wire(t), post.body, nil, BadScope, "sign for eu-central-1"},
		{"the global STS is us-east-1", with(post, func(c *call) { c.region, c.service = "us-east-1", "sts" }).wire(t), post.body, nil, 0, ""},
		{"but not the others", with(post, func(c *call) { c.region = "us-east-1" }).wire(t), post.body, nil, BadScope, "us-east-1"},
		{"a scope ends in aws4_request", edited(post, func(r *http.Request) { replaceAuth(r, "/aws4_request", "/aws5_request") }), post.body, nil, Malformed, "aws4_request"},
		// 4. The canonical request.
		{"an empty path is a slash", byHand(must(http.NewRequest("GET", "http://ec2.example", nil)), "", "host;x-amz-date", ""), "", nil, 0, ""},
		{"a path is encoded twice", with(post, func(c *call) { c.url = "http://ec2.example/a%20b/c%2Fd" }).wire(t), post.body, nil, 0, ""},
		{"a query is sorted as encoded", byHand(query("b=1&a%20=2&a-=3&B=4&a=&a=1"), "B=4&a=&a=1&a%20=2&a-=3&b=1", "host;x-amz-date", ""), "", nil, 0, ""},
		{"a plus is a space", byHand(query("a=x+y"), "a=x%20y", "host;x-amz-date", ""), "", nil, 0, ""},
		{"a tilde stays and a star does not", byHand(query("a=~*"), "a=~%2A", "host;x-amz-date", ""), "", nil, 0, ""},
		{"runs of spaces in a header are one", spaced(), "", nil, 0, ""},
		{"the method is signed", edited(post, func(r *http.Request) { r.Method = "PUT" }), post.body, nil, BadSignature, ""},
		// 5. Headers.
		{"the host is signed", edited(post, func(r *http.Request) { replaceAuth(r, ";host;", ";") }), post.body, nil, BadSignature, "host header must be signed"},
		{"x-amz-date is signed", edited(post, func(r *http.Request) { replaceAuth(r, ";x-amz-date", "") }), post.body, nil, BadSignature, "x-amz-date"},
		{"every x-amz header is signed", edited(post, func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") }), post.body, nil, BadSignature, "x-amz-target"},
		{"the host has its port", edited(post, func(r *http.Request) { r.Host = "ec2.example:8081" }), post.body, nil, BadSignature, ""},
		{"and not another one", edited(post, func(r *http.Request) { r.Host = "ec2.example" }), post.body, nil, BadSignature, ""},
		{"apart from a default one", edited(with(post, func(c *call) { c.url = "http://ec2.example/" }), func(r *http.Request) { r.Host += ":443" }), post.body, nil, 0, ""},
		// 6. The payload.
		{"the body is hashed as it came", post.wire(t), "Action=Describe%56pcs", nil, BadSignature, ""},
		{"a hash in a header is used", amz(hashHex([]byte("x"))), "x", nil, 0, ""},
		{"and held against the body", amz(hashHex([]byte("x"))), "y", nil, PayloadMismatch, "hash of the body"},
		{"an unsigned body needs TLS", amz(UnsignedPayload), "x", nil, PayloadMismatch, "connection"},
		{"and has it", tlsOf(amz(UnsignedPayload)), "x", nil, 0, ""},
		{"no body needs no TLS", amz(UnsignedPayload), "", nil, 0, ""},
		// 7. The signature.
		{"a digit is wrong", edited(post, func(r *http.Request) { flip(r) }), post.body, nil, BadSignature, "secret key"},
		{"the secret is another", post.wire(t), post.body, func(v *Verifier) { v.Lookup = lookup(Credential{AccessKeyID: akid, Secret: "x"}) }, BadSignature, ""},
		// 8. The session token.
		{"a token belongs to its key", with(post, func(c *call) { c.key, c.token = "ASIDEXAMPLE", token }).wire(t), post.body, nil, 0, ""},
		{"it is not missing", with(post, func(c *call) { c.key = "ASIDEXAMPLE" }).wire(t), post.body, nil, BadToken, ""},
		{"it is not wrong", with(post, func(c *call) { c.key, c.token = "ASIDEXAMPLE", token+"x" }).wire(t), post.body, nil, BadToken, ""},
		{"it has not expired", with(post, func(c *call) { c.key, c.token = "ASIDEXAMPLE", token }).wire(t), post.body,
			func(v *Verifier) { v.Lookup = lookup(Credential{"ASIDEXAMPLE", secret, token, signTime}) }, ExpiredToken, "expired at"},
		// 9. What these services' clients do not use.
		{"chunks are not signed one by one", amz(StreamingPayload), "x", nil, Malformed, "STREAMING"},
		{"version 4a is refused by name", amzHeader(http.Header{"Authorization": {"AWS4-ECDSA-P256-SHA256 Credential=x"}}), "", nil, Malformed, "AWS4-HMAC-SHA256"},
		// Presigned.
		{"a presigned request", presigned.wire(t), "", nil, 0, ""},
		{"of STS with one more header", with(presigned, func(c *call) { c.service, c.header = "sts", http.Header{"X-K8s-Aws-Id": {"c"}} }).wire(t), "", nil, 0, ""},
		{"the life is from one second", with(presigned, func(c *call) { c.query = url.Values{"X-Amz-Expires": {"0"}} }).wire(t), "", nil, Malformed, "1 to 604800"},
		{"to a week", with(presigned, func(c *call) { c.query = url.Values{"X-Amz-Expires": {"604801"}} }).wire(t), "", nil, Malformed, "1 to 604800"},
		{"a week is allowed", with(presigned, func(c *call) {
			c.query = url.Values{"X-Amz-Expires": {"604800"}}
			c.at = signTime.Add(-6 * 24 * time.Hour)
		}).wire(t), "", nil, 0, ""},
		{"its life ends", with(presigned, func(c *call) { c.at = signTime.Add(-time.Minute) }).wire(t), "", nil, Expired, ""},
		{"another pair breaks it", edited(presigned, func(r *http.Request) { r.URL.RawQuery += "&a=b" }), "", nil, BadSignature, ""},
		{"its token is in the query", with(presigned, func(c *call) { c.key, c.token = "ASIDEXAMPLE", token }).wire(t), "", nil, 0, ""},
		{"and is checked there", with(presigned, func(c *call) { c.key, c.token = "ASIDEXAMPLE", "no" }).wire(t), "", nil, BadToken, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			v := newVerifier(false)
			if c.v != nil {
				c.v(v)
			}
			for range 2 { // a replay within the time is no error
				_, err := v.Verify(c.r, []byte(c.body))
				if kindOf(err) != c.kind || (err == nil) != (c.kind == 0) {
					t.Fatalf("got %v, want %q", err, c.kind)
				}
				if err != nil && !strings.Contains(err.Error(), c.reason) {
					t.Errorf("got %v, want it to say %q", err, c.reason)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the secret is in %v", err)
				}
			}
		})
	}
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

func query(q string) *http.Request {
	return must(http.NewRequest("GET", "http://ec2.example/?"+q, nil))
}

// amz is a signed POST whose X-Amz-Content-Sha256 says this.
func amz(hash string) *http.Request {
	r := must(http.NewRequest("POST", "http://ec2.example/", nil))
	r.Header.Set("X-Amz-Content-Sha256", hash)
	sign4(r, "", "host;x-amz-content-sha256;x-amz-date", hash)
	return r
}

func tlsOf(r *http.Request) *http.Request {
	r.TLS = &tls.ConnectionState{}
	return r
}

// dated is signed over the Date header, as old clients do.
func dated(at time.Time) *http.Request {
	r := must(http.NewRequest("GET", "http://ec2.example/", nil))
	r.Header.Set("Date", at.Format(http.TimeFormat))
	canonical := "GET\n/\n\ndate:" + r.Header.Get("Date") + "\nhost:ec2.example\n\ndate;host\n" + hashHex(nil)
	scope := at.Format(dateFormat) + "/eu-central-1/ec2/aws4_request"
	var keys keyCache
	sig := sign(keys.get(keyID{akid, secret, at.Format(dateFormat), "eu-central-1", "ec2"}), algorithm+"\n"+at.Format(timeFormat)+"\n"+scope+"\n"+hashHex([]byte(canonical)))
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s,SignedHeaders=date;host,Signature=%x", algorithm, akid, scope, sig))
	return r
}

// spaced sends a header with runs of spaces and signs it with single ones.
func spaced() *http.Request {
	r := must(http.NewRequest("GET", "http://ec2.example/", nil))
	r.Header.Set("X-Other", "a b c")
	sign4(r, "", "host;x-amz-date;x-other", "")
	r.Header.Set("X-Other", "  a   b  c ")
	return r
}

// flip changes a digit of the signature.
func flip(r *http.Request) {
	auth := []byte(r.Header.Get("Authorization"))
	last := &auth[len(auth)-1]
	if *last == '0' {
		*last = '1'
	} else {
		*last = '0'
	}
	r.Header.Set("Authorization", string(auth))
}
