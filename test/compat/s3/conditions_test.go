// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/test/compat/through"
)

// other has a bucket of its own; ann, bob and eve are users of account.
const (
	account                          = through.Account
	other                            = "444455556666"
	keyID                            = through.KeyID
	otherKey, annKey, bobKey, eveKey = "AKIAIOSFODNN7EXAMOTH", "AKIAIOSFODNN7EXAMANN", "AKIAIOSFODNN7EXAMBOB", "AKIAIOSFODNN7EXAMEVE"
)

// identFunc is an edge.Identifier.
type identFunc func() edge.Identity

func (f identFunc) Identify(_, _ netip.AddrPort, _ int) (edge.Identity, error) { return f(), nil }

// changingEdge starts an edge with one endpoint. set gives it a configuration with
// that endpoint's policy, and returns when it is in force.
func changingEdge(t *testing.T, base edge.Config) (address string, set func(policy string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const endpoint, vni = vpc.EndpointID("vpce-0123456789abcdef0"), vpc.FirstVNI
	id := edge.Identity{VNI: vni, Client: netip.MustParseAddrPort("10.0.1.5:40000"), Endpoint: vpc.Num(endpoint)}
	configs, served := make(chan edge.Config), make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- edge.Run(ctx, edge.Sockets{HTTP: l}, configs, func() { served <- struct{}{} }, identFunc(func() edge.Identity { return id }), func(edge.Record) {}, func(map[string]map[string]bool) {})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	base.VPCs = map[vpc.VNI]desired.VPC{vni: {ID: "vpc-0a", Owner: account, VNI: vni}}
	return l.Addr().String(), func(policy string) {
		c := base
		c.Endpoints = map[vpc.EndpointID]desired.Endpoint{endpoint: {ID: endpoint, Owner: account, VPC: "vpc-0a", VNI: vni, Type: vpc.GatewayEndpoint, Service: "s3", Policy: policy}}
		configs <- c
		<-served
	}
}

// Conditions on what only the backend knows, and a backend's own conditions on what
// only the edge knows, through both of them as they are.
func TestConditionsThatEdgeAndBackendKnowTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	questions := filepath.Join(dir, "questions.sock")
	listen := runPosternS3(t, dir, map[string]string{keyID: account, otherKey: other, annKey: account, bobKey: account, eveKey: account},
		"--listen", "unix:"+filepath.Join(dir, "s3.sock"), "--questions", "unix:"+questions)
	name := "s3." + domain
	user := func(name string, tags vpc.Tags) desired.User {
		return desired.User{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: vpc.UserID("AIDA" + strings.ToUpper(name)), Name: name, Tags: tags,
			Policies: []string{`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`}}
	}
	many := vpc.Tags{"team": "red"}
	for i := range vpc.MaxTags - 1 {
		many[fmt.Sprintf("%0*d", vpc.MaxTagKey, i)] = strings.Repeat("v", vpc.MaxTagValue)
	}
	address, policy := changingEdge(t, edge.Config{
		Region: through.Region,
		Services: map[string]desired.Service{"s3": {
			Name: "s3", ServiceName: "com.amazonaws." + through.Region + ".s3", Protocol: "s3", Backends: []string{listen}, PublicNames: []string{name, "*." + name},
		}},
		Keys:      map[string]vpc.AccountID{keyID: account, otherKey: other},
		Users:     map[string]desired.User{annKey: user("ann", vpc.Tags{"Team": "red"}), bobKey: user("bob", vpc.Tags{"Team": "blue"}), eveKey: user("eve", many)},
		Questions: map[string]string{"s3": "unix:" + questions},
	})
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	call := func(key, method, uri, body string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+name+uri, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		sum := sha256.Sum256([]byte(body))
		hash := hex.EncodeToString(sum[:])
		r.Header.Set("X-Amz-Content-Sha256", hash)
		creds := aws.Credentials{AccessKeyID: key, SecretAccessKey: through.Secret}
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hash, "s3", through.Region, time.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }); err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	want := func(status int, key, method, uri string, header ...string) {
		t.Helper()
		if got, text := call(key, method, uri, "", header...); got != status {
			t.Errorf("%s %s: %d %s, want %d", method, uri, got, text, status)
		}
	}
	const all = `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`

	policy("")
	want(200, keyID, "PUT", "/mine")
	want(200, otherKey, "PUT", "/theirs")
	want(200, keyID, "PUT", "/mine/open", "X-Amz-Tagging", "class=open")
	want(200, keyID, "PUT", "/mine/secret", "X-Amz-Tagging", "class=secret")
	want(200, otherKey, "PUT", "/theirs/k")

	// Tags of the object.
	policy(`{"Version":"2012-10-17","Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"secret"}}}]}`)
	want(200, keyID, "GET", "/mine/open")
	want(403, keyID, "GET", "/mine/secret")
	want(403, keyID, "GET", "/mine/secret?versionId=null")
	want(403, keyID, "GET", "/mine//secret")
	want(403, keyID, "GET", "/mine/%73ecret")
	want(403, keyID, "HEAD", "/mine/secret")
	want(403, keyID, "DELETE", "/mine/secret?tagging")
	want(403, keyID, "PUT", "/mine/copy", "X-Amz-Copy-Source", "/mine/secret")
	want(200, keyID, "PUT", "/mine/copy", "X-Amz-Copy-Source", "/mine/open")
	want(404, keyID, "GET", "/mine/nothing")
	want(200, keyID, "PUT", "/mine/secret", "X-Amz-Tagging", "class=open") // not a condition of this action
	want(200, keyID, "GET", "/mine/secret")

	// The owner of the bucket.
	policy(`{"Version":"2012-10-17","Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceAccount":"` + account + `"}}}]}`)
	want(200, keyID, "GET", "/mine/open")
	want(403, otherKey, "GET", "/theirs/k")
	want(403, otherKey, "PUT", "/mine/copy", "X-Amz-Copy-Source", "/theirs/k")
	want(200, keyID, "PUT", "/new")
	want(403, otherKey, "PUT", "/newer")

	// Nobody but the edge asks: what a client sends is S3, however it is written.
	policy("")
	const question = `{"objects":[{"bucket":"mine","key":"open"}]}`
	for _, raw := range []string{
		"POST / HTTP/1.1\r\nHost: " + name + "\r\n",
		"POST / HTTP/1.1\r\nHost: backend\r\n",
		"POST / HTTP/1.1\r\nHost: questions.sock." + name + "\r\n",
		"POST http://backend/ HTTP/1.1\r\nHost: " + name + "\r\n",
		"POST unix:" + questions + " HTTP/1.1\r\nHost: " + name + "\r\n",
		"POST /..%2fquestions.sock HTTP/1.1\r\nHost: " + name + "\r\n",
		"POST //" + questions + " HTTP/1.1\r\nHost: " + name + "\r\n",
		"POST /%2e%2e/questions.sock?x=1 HTTP/1.1\r\nHost: " + name + "\r\n",
		"POST /questions HTTP/1.1\r\nHost: " + name + "\r\nX-Forwarded-Host: backend\r\nX-Original-Url: /\r\n",
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", raw, len(question), question)
		answer, err := io.ReadAll(c)
		c.Close()
		if err != nil || bytes.Contains(answer, []byte(account)) || bytes.Contains(answer, []byte(`"objects"`)) || !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
			t.Errorf("%q: %v %q", raw, err, answer)
		}
	}

	// The caller's tags in another's bucket policy.
	status, text := call(otherKey, "PUT", "/theirs?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"s3:GetObject",
		"Resource":"arn:aws:s3:::theirs/*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}}]}`)
	if status != 204 && status != 200 {
		t.Errorf("%d %s", status, text)
	}
	want(200, annKey, "GET", "/theirs/k")
	want(403, bobKey, "GET", "/theirs/k")
	want(403, keyID, "GET", "/theirs/k")
	if status, text := call(eveKey, "GET", "/theirs/k", ""); status != 400 || !strings.Contains(text, "RequestHeaderSectionTooLarge") {
		t.Errorf("tags that do not fit: %d %s", status, text)
	}
	want(200, eveKey, "GET", "/mine/open")
	if status, text := call(bobKey, "GET", "/theirs/k", "", "X-Postern-Context", `{"aws:PrincipalTag/team":"red"}`); status != 400 && status != 403 {
		t.Errorf("a claim of tags: %d %s", status, text)
	}
}
