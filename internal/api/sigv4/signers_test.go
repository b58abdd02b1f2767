// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/smithy-go/aws-http-auth/credentials"
	smithy "github.com/aws/smithy-go/aws-http-auth/sigv4"
	smithyv4 "github.com/aws/smithy-go/aws-http-auth/v4"
	"pgregory.net/rapid"
)

// signsAll makes smithy's signer sign every header that net/http does not add later.
type signsAll struct{}

func (signsAll) IsSigned(h string) bool {
	return h != "authorization" && h != "user-agent" && h != "content-length" && h != "accept-encoding"
}

// wireSmithy is wire with the signer of smithy-go, which shares no code with the SDK's.
func (c call) wireSmithy(t interface{ Fatalf(string, ...any) }, hashHeader bool) *http.Request {
	r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	if c.query != nil {
		r.URL.RawQuery = c.query.Encode()
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	key := c.key
	if key == "" {
		key = akid
	}
	service := c.service
	if service == "" {
		service = "ec2"
	}
	kind := smithyv4.SignatureTypeHeader
	if c.presign {
		kind = smithyv4.SignatureTypeQueryString
	}
	sum := sha256.Sum256([]byte(c.body))
	s := smithy.New(func(o *smithyv4.SignerOptions) {
		o.HeaderRules, o.AddPayloadHashHeader = signsAll{}, hashHeader
	})
	err = s.SignRequest(&smithy.SignRequestInput{
		Request: r, PayloadHash: sum[:], Service: service, Region: "eu-central-1", Time: signTime, SignatureType: kind,
		Credentials: credentials.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: c.token},
	})
	if err != nil {
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

func TestSmithysSignaturesVerifyAndNoChangeOfSignedMaterialDoes(t *testing.T) {
	v := newVerifier(false)
	rapid.Check(t, func(t *rapid.T) {
		c := drawCall(t, false)
		for name, values := range c.header {
			for i, s := range values {
				// This signer leaves runs of spaces in, which AWS's rules do not.
				for strings.Contains(s, "  ") {
					s = strings.ReplaceAll(s, "  ", " ")
				}
				c.header[name][i] = s
			}
		}
		r := c.wireSmithy(t, rapid.Bool().Draw(t, "hash in a header"))
		body, _ := io.ReadAll(r.Body)
		id, err := v.Verify(r, body)
		if err != nil {
			t.Fatalf("%v\n%s %s %q", err, r.Method, r.URL, r.Header)
		}
		if id.Presigned != c.presign || !id.Time.Equal(signTime) {
			t.Fatalf("identity %+v", id)
		}
		what, changed := mutate(t, r, body, c)
		if what == "" {
			return
		}
		if _, err = v.Verify(r, changed); err == nil {
			t.Fatalf("verifies though changed: %s\n%s %s %q", what, r.Method, r.URL, r.Header)
		}
	})
}

// The SDKs for Go sort the pairs of a query before they encode them, AWS's
// rules and botocore after. Names that tell the two apart are not AWS's, but
// a client may send them.
func TestTheQueryMayBeSortedBeforeOrAfterItIsEncoded(t *testing.T) {
	v := newVerifier(false)
	rapid.Check(t, func(t *rapid.T) {
		c := call{method: "GET", url: "http://ec2.example/", query: url.Values{}, presign: rapid.Bool().Draw(t, "presign")}
		word := rapid.StringMatching(`[a%/+~ \-.é]{0,3}`)
		for range rapid.IntRange(2, 5).Draw(t, "pairs") {
			c.query.Add(word.Draw(t, "name")+"k", word.Draw(t, "value"))
		}
		if c.presign {
			c.query.Set("X-Amz-Expires", "120")
		}
		for name, r := range map[string]*http.Request{"the SDK": c.wire(t), "smithy": c.wireSmithy(t, false)} {
			if _, err := v.Verify(r, nil); err != nil {
				t.Fatalf("%s: %v for %s", name, err, r.URL)
			}
		}
		// As botocore does: the signature is made here, from the other order.
		r, err := http.NewRequest("GET", c.url+"?"+c.query.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		pairs, perr := parseQuery(r.URL.RawQuery)
		if perr != nil {
			t.Fatal(perr)
		}
		sign4(r, canonicalQueries(pairs)[0], "host;x-amz-date", "")
		if _, err := v.Verify(r, nil); err != nil {
			t.Fatalf("sorted after encoding: %v for %s", err, r.URL)
		}
	})
}

// sign4 signs by hand: what is in the canonical request is the caller's choice.
func sign4(r *http.Request, query, headers, hash string) {
	date := signTime.Format(timeFormat)
	r.Header.Set("X-Amz-Date", date)
	if hash == "" {
		hash = hashHex(nil)
	}
	lines := ""
	for _, h := range strings.Split(headers, ";") {
		value := r.Header.Get(h)
		if h == "host" {
			value = r.Host
		}
		lines += h + ":" + value + "\n"
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	canonical := strings.Join([]string{r.Method, escape(path, true), query, lines, headers, hash}, "\n")
	scope := "20260228/eu-central-1/ec2/aws4_request"
	var keys keyCache
	key := keys.get(keyID{akid, secret, "20260228", "eu-central-1", "ec2"})
	sig := sign(key, algorithm+"\n"+date+"\n"+scope+"\n"+hashHex([]byte(canonical)))
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%x", algorithm, akid, scope, headers, sig))
}
