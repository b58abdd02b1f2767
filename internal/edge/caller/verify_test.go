// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verified is docs/operations.md's, to the letter.

// verified returns the fields of Postern-Identity if public's owner made it for this request.
func verified(public ed25519.PublicKey, service string, r *http.Request) (map[string]string, error) {
	values := r.Header.Values("Postern-Identity")
	if len(values) != 1 {
		return nil, errors.New("want one Postern-Identity")
	}
	signed, signature, _ := strings.Cut(values[0], ";signature=")
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	text := signed + "\n" + r.Method + "\n" + r.Host + "\n" + r.RequestURI
	if err != nil || !ed25519.Verify(public, []byte(text), sig) {
		return nil, errors.New("the signature is not Postern's, or of another request")
	}
	id := map[string]string{}
	for field := range strings.SplitSeq(signed, ";") {
		name, value, _ := strings.Cut(field, "=")
		id[name] = value
	}
	expires, err := strconv.ParseInt(id["expires"], 10, 64)
	if err != nil || time.Now().Unix() > expires || id["v"] != "1" || id["service"] != service {
		return nil, errors.New("too late, or for another service")
	}
	return id, nil
}

func TestTheDocumentsVerifierIsTheOneTested(t *testing.T) {
	source, err := os.ReadFile("verify_test.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	from, to := bytes.Index(source, []byte("// verified returns")), bytes.Index(source, []byte("func TestThe"))
	if f := bytes.TrimSpace(source[from:to]); !bytes.Contains(doc, append([]byte("```go\n"), f...)) {
		t.Errorf("docs/operations.md does not have this verifier:\n%s", f)
	}
}

var (
	testKey    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	testCaller = Caller{Endpoint: "vpce-0123456789abcdef0", VPC: "vpc-0a", Account: "111111111111", Interface: "eni-0b", Client: netip.MustParseAddrPort("[2001:db8::5]:40000")}
)

func TestAnIdentityIsGoodForItsRequestOnly(t *testing.T) {
	public := testKey.Public().(ed25519.PublicKey)
	request := func(method, host, uri, value string) *http.Request {
		r := httptest.NewRequest(method, uri, nil)
		r.Host = host
		r.Header.Set("Postern-Identity", value)
		return r
	}
	good := Value(testKey, testCaller, Request{Service: "sqs", ID: "R1", Method: "PUT", Host: "sqs.example", URI: "/a?b=c"}, time.Now())
	id, err := verified(public, "sqs", request("PUT", "sqs.example", "/a?b=c", good))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"endpoint": "vpce-0123456789abcdef0", "vpc": "vpc-0a", "account": "111111111111",
		"interface": "eni-0b", "client": "[2001:db8::5]:40000", "request": "R1"} {
		if id[name] != want {
			t.Errorf("%s=%q, want %q", name, id[name], want)
		}
	}
	twice := request("PUT", "sqs.example", "/a?b=c", good)
	twice.Header.Add("Postern-Identity", good)
	old := Value(testKey, testCaller, Request{Service: "sqs", Method: "PUT", Host: "sqs.example", URI: "/a?b=c"}, time.Now().Add(-Lifetime-2*time.Second))
	for what, r := range map[string]*http.Request{
		"another method":         request("POST", "sqs.example", "/a?b=c", good),
		"another host":           request("PUT", "sns.example", "/a?b=c", good),
		"another line":           request("PUT", "sqs.example", "/a?b=d", good),
		"another endpoint":       request("PUT", "sqs.example", "/a?b=c", strings.Replace(good, "vpce-0", "vpce-1", 1)),
		"a field after it":       request("PUT", "sqs.example", "/a?b=c", good+";vpc=vpc-0c"),
		"no signature":           request("PUT", "sqs.example", "/a?b=c", strings.Split(good, ";signature")[0]),
		"two of them":            twice,
		"one that is too late":   request("PUT", "sqs.example", "/a?b=c", old),
		"somebody else's":        request("PUT", "sqs.example", "/a?b=c", Value(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)), testCaller, Request{Service: "sqs", Method: "PUT", Host: "sqs.example", URI: "/a?b=c"}, time.Now())),
		"one of another service": request("PUT", "sqs.example", "/a?b=c", Value(testKey, testCaller, Request{Service: "sns", Method: "PUT", Host: "sqs.example", URI: "/a?b=c"}, time.Now())),
	} {
		if id, err := verified(public, "sqs", r); err == nil {
			t.Errorf("%s: taken for %v", what, id)
		}
	}
}

func TestAKeyIsReadAsOpensslWritesIt(t *testing.T) {
	const openssl = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n"
	if k, err := ParseKey([]byte(openssl)); err != nil || !k.Equal(testKey) {
		t.Errorf("%v", err)
	}
	public, err := x509.MarshalPKIXPublicKey(testKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "secret", openssl + openssl, strings.Replace(openssl, "BwcH", "", 1),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))} {
		if _, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func TestTheProxyHeaderNamesClientAndEndpoint(t *testing.T) {
	v4 := Proxy(netip.MustParseAddrPort("10.0.1.5:40000"), netip.MustParseAddrPort("100.64.0.1:443"), "vpce-0a")
	want := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x17" + "\x0a\x00\x01\x05\x64\x40\x00\x01\x9c\x40\x01\xbb" + "\xea\x00\x08\x01vpce-0a"
	if string(v4) != want {
		t.Errorf("%q, want %q", v4, want)
	}
	v6 := Proxy(netip.MustParseAddrPort("[2001:db8::5]:40000"), netip.MustParseAddrPort("100.64.0.1:80"), "vpce-0a")
	want = "\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x2f" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x64\x40\x00\x01" + "\x9c\x40\x00\x50" + "\xea\x00\x08\x01vpce-0a"
	if string(v6) != want {
		t.Errorf("%q, want %q", v6, want)
	}
}
