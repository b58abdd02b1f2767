// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// outgoing makes a request to sign, nil if it cannot be one.
func outgoing(method, target, header, body string) *http.Request {
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Hostname() == "" ||
		strings.Trim(r.URL.Host, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") != "" ||
		strings.ContainsFunc(header, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return nil // net/http does not send it
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if header != "" {
		r.Header.Set("X-Amz-Meta", header)
	}
	return r
}

// received is the request as a server reads it.
func received(r *http.Request) (*http.Request, error) {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return http.ReadRequest(bufio.NewReader(&b))
}

// FuzzSign: what we sign verifies, is what the SDK signs, and verifies for
// nothing else.
func FuzzSign(f *testing.F) {
	f.Add("http://127.0.0.1:4566/", "", "Action=Publish&Message=%7B%22a%22%3A1%7D", false)
	f.Add("https://sns.eu-central-1.amazonaws.com:443/", "a  b ", "", true)
	f.Add("http://[::1]:80/a%20b//c/?x=1&x=0&%7E=%2F+", "  ", "x", false)
	f.Add("https://example.com/%E2%82%AC?a=%zz", "\t", "x", false)
	f.Fuzz(func(t *testing.T, target, header, body string, session bool) {
		ours, theirs := outgoing("POST", target, header, body), outgoing("POST", target, header, body)
		if ours == nil || theirs == nil {
			return
		}
		cred := Credential{AccessKeyID: akid, Secret: secret}
		if session {
			cred.AccessKeyID, cred.SessionToken = "ASIDEXAMPLE", token
		}
		if err := Sign(ours, []byte(body), cred, "ec2", "eu-central-1", signTime); err != nil {
			return
		}
		auth := ours.Header.Get("Authorization")
		if strings.Contains(auth, secret) {
			t.Fatal("the secret is in the header")
		}
		got, err := received(ours)
		if err != nil {
			return // net/http does not send it either
		}
		if _, err := newVerifier(false).Verify(got, []byte(body)); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if _, err := newVerifier(false).Verify(got, []byte(body+"x")); err == nil {
			t.Fatal("another body verifies")
		}
		// The SDK reads a query as net/url does, and takes the brackets off an
		// IPv6 host together with a default port.
		if _, err := url.ParseQuery(ours.URL.RawQuery); err != nil || strings.HasPrefix(ours.Host, "[") {
			return
		}
		err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: secret, SessionToken: cred.SessionToken},
			theirs, hashHex([]byte(body)), "ec2", "eu-central-1", signTime)
		if err != nil {
			return
		}
		if want := theirs.Header.Get("Authorization"); auth != want {
			t.Errorf("%s:\n ours %s\n SDK's %s", target, auth, want)
		}
	})
}

func TestSignReplacesAnOldSignature(t *testing.T) {
	r := outgoing("POST", "http://example.com/", "", "x=1")
	cred := Credential{AccessKeyID: "ASIDEXAMPLE", Secret: secret, SessionToken: token}
	if err := Sign(r, []byte("x=1"), cred, "ec2", "eu-central-1", signTime.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	cred = Credential{AccessKeyID: akid, Secret: secret}
	if err := Sign(r, []byte("x=1"), cred, "ec2", "eu-central-1", signTime); err != nil {
		t.Fatal(err)
	}
	got, err := received(r)
	if err != nil {
		t.Fatal(err)
	}
	id, err := newVerifier(false).Verify(got, []byte("x=1"))
	if err != nil || id.AccessKeyID != akid {
		t.Errorf("%+v, %v", id, err)
	}
}
