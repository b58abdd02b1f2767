// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
)

// The edge judges a request by its own reading of it, and the gateway acts on
// another program's. This test gives both the same requests, at random, and asks
// the gateway, where it asks its own policies, what it is about to do to what: that
// must be among what the edge has judged.

// asRecorder makes the test binary a gateway that says in each answer which actions
// on which resources it asked about, and denies them.
const asRecorder = "POSTERN_S3_TEST_AS_RECORDER"

// evaluated is the header with what was asked.
const evaluated = "X-Test-Evaluated"

type question struct{ Action, Resource string }

// recorder is the identity service of such a gateway.
type recorder struct {
	*fileIAM
	asked []question // of the request under way; requests come one at a time
	copy  bool       // it is a copy: let it get to its source
	setup bool       // it makes a bucket of the test's: let it
}

func (r *recorder) EvaluatePolicy(account, token string, actions []auth.Action, resources []string, ctx map[string][]string) (auth.PolicyEvaluation, error) {
	ev := auth.PolicyEvaluation{PrincipalArn: "arn:aws:iam::" + account + ":root"}
	for _, resource := range resources {
		row := make([]bool, len(actions))
		for i, a := range actions {
			r.asked = append(r.asked, question{string(a), resource})
			row[i] = r.setup || r.copy && a == auth.PutObjectAction
		}
		ev.Decisions = appendDecisions(ev.Decisions, row)
	}
	return ev, nil
}

func recorderMain() {
	dir, accounts, socket := os.Args[1], os.Args[2], os.Args[3]
	stdout := os.Stdout
	os.Stdout = os.Stderr // as in main
	fail := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	iam, err := newFileIAM(accounts)
	fail(err)
	be, _, err := openStorage(dir, "auto")
	fail(err)
	iam.bucketACL = be.GetBucketAcl
	rec := &recorder{fileIAM: iam}
	ds, err := parseDomains([]string{virtualDomain})
	fail(err)
	server, err := newServer(&policyKeeper{Backend: be}, rec, "us-east-1", ds, false,
		s3api.WithMiddleware("/", func(ctx fiber.Ctx) error {
			rec.asked, rec.copy, rec.setup = nil, ctx.Get("X-Amz-Copy-Source") != "", ctx.Get("X-Test-Setup") != ""
			err := ctx.Next()
			b, _ := json.Marshal(rec.asked)
			ctx.Response().Header.Set(evaluated, base64.StdEncoding.EncodeToString(b))
			return err
		}),
		s3api.WithOnListen(func() { stdout.WriteString("ready\n") }))
	fail(err)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fail(server.ServeMultiPort([]string{socket}))
}

// requestLine is a request of the test's.
type requestLine struct {
	Method, URI, Bucket string
	Header              http.Header
}

// randomRequest makes a request of pieces that mean something to S3, and of some
// that are read in more than one way.
func randomRequest(r *rand.Rand) requestLine {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	l := requestLine{Method: pick("GET", "GET", "HEAD", "PUT", "PUT", "POST", "DELETE"), Header: http.Header{}}
	uri := ""
	if r.IntN(4) == 0 {
		l.Bucket = pick("data", "other")
	} else {
		uri = "/" + pick("data", "data", "data", "other", "DATA", "da%74a", "..", "")
	}
	for range r.IntN(5) {
		uri += pick("/", "/", "/", "%2F", "//", "") + pick("a", "b", "c d", "secret", ".", "..", "%2e", "%2E%2e", "a%2fb", "%252e", "+", "%2B", "%", "%zz",
			"%00", "é", "%C3%A9", "%ff", "~", "a;b", "a:b", "*", "\\", "%5c", "", "?", "a.b", "...", "acl")
	}
	if uri == "" || uri[0] != '/' {
		uri = "/" + uri
	}
	uri = strings.ReplaceAll(uri, " ", "%20")
	if r.IntN(2) == 0 {
		// An operation as it should be, on whatever the path is.
		method, query, _ := strings.Cut(pick("GET acl", "GET acl&versionId=v", "PUT acl", "GET tagging", "PUT tagging", "DELETE tagging&versionId=v", "GET retention", "PUT retention",
			"GET legal-hold", "PUT legal-hold", "GET attributes", "GET attributes&versionId=v", "GET uploadId=u", "PUT partNumber=1&uploadId=u", "POST uploadId=u", "DELETE uploadId=u",
			"POST uploads", "POST restore", "POST select&select-type=2", "GET versionId=v", "DELETE versionId=v", "GET policy", "PUT policy", "DELETE policy", "GET versions", "GET uploads",
			"GET location", "GET cors", "PUT cors", "DELETE cors", "PUT versioning", "GET versioning", "GET object-lock", "PUT object-lock", "GET policyStatus", "GET lifecycle",
			"PUT lifecycle", "DELETE lifecycle", "GET encryption", "PUT encryption", "DELETE encryption", "GET replication", "GET website", "DELETE website", "PUT accelerate",
			"GET inventory", "GET inventory&id=x", "DELETE metrics&id=x", "PUT analytics&id=x", "GET publicAccessBlock", "PUT ownershipControls", "DELETE metadataTable", "PUT abac", "GET torrent"), " ")
		uri, _, _ = strings.Cut(uri, "?")
		l.Method, l.URI = method, uri+"?"+query
		if method == "PUT" && r.IntN(4) == 0 {
			l.Header.Set("X-Amz-Tagging", "a=b")
		}
		return l
	}
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	for range r.IntN(4) {
		uri += sep + pick("acl", "tagging", "policy", "versioning", "uploads", "versions", "delete", "location", "cors", "lifecycle", "encryption", "object-lock",
			"retention", "legal-hold", "attributes", "torrent", "restore", "select", "select-type=2", "uploadId=u", "partNumber=1", "versionId=v", "versionId=",
			"list-type=2", "prefix=a", "prefix=%2e%2e/", "x-id=PutObject", "acl=", "acl=1", "ACL", "metadataTable", "abac", "session", "renameObject",
			"policyStatus", "ownershipControls", "publicAccessBlock", "replication", "website", "logging", "notification", "accelerate", "requestPayment",
			"inventory&id=x", "metrics", "analytics", "intelligent-tiering", "response-content-type=x", "a;acl", "%61cl", "tagging%00", "unheard-of", "+acl", "")
		sep = pick("&", "&", "&", "&&", "?")
	}
	l.URI = uri
	if l.Method == "PUT" && r.IntN(3) == 0 {
		l.Header.Set("X-Amz-Copy-Source", pick("", "/")+pick("data", "other")+pick("/", "/", "%2F")+pick("a", "b%20c", "b+c", "secret", "../x", "a/../secret", "%2e%2e/secret")+
			pick("", "", "?versionId=v", "?versionId=null", "?x=y"))
	}
	for r.IntN(3) == 0 {
		l.Header.Set(pick("X-Amz-Meta-Acl_x", "X-Amz-Object-Ownership", "X-Amz-Object-Attributes", "X-Amz-Metadata-Directive", "X-Amz-Tagging-Directive",
			"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Website-Redirect-Location", "If-Match", "X-Amz-Storage-Class", "X-Amz-Mp-Object-Size"),
			pick("ETag", "REPLACE", "COPY", "GOVERNANCE", "2999-01-01T00:00:00Z", "*", "/x", "1"))
	}
	if r.IntN(6) == 0 {
		l.Header.Set(pick("X-Amz-Acl", "X-Amz-Tagging", "X-Amz-Object-Lock-Legal-Hold", "X-Amz-Bypass-Governance-Retention", "X-Amz-Grant-Read"), pick("private", "ON", "true", "a=b", "id=x"))
	}
	return l
}

// sign signs a request as a client does that knows S3: over the path decoded and
// encoded anew.
func sign(t *testing.T, l requestLine) *http.Request {
	t.Helper()
	path, query, _ := strings.Cut(l.URI, "?")
	host := virtualDomain
	if l.Bucket != "" {
		host = l.Bucket + "." + virtualDomain
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		decoded = path
	}
	var canonical strings.Builder
	for _, c := range []byte(decoded) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			canonical.WriteByte(c)
		} else {
			canonical.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15])))
		}
	}
	r := &http.Request{Method: l.Method, Host: host, Header: l.Header.Clone(), URL: &url.URL{Scheme: "http", Host: host, Opaque: "//" + host + canonical.String(), RawQuery: query}}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	r.Header.Set("X-Amz-Content-Sha256", empty)
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyA1.Access, SecretAccessKey: keyA1.Secret}, r, empty, "s3", "us-east-1", time.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheGatewayDoesOnlyWhatTheEdgeJudges(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g := &gateway{t: t, accounts: filepath.Join(dir, "accounts.json")}
	g.setKeys(keyA1)
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(os.Args[0], filepath.Join(dir, "data"), g.accounts, socket)
	cmd.Env, cmd.Stderr = []string{asRecorder + "=1"}, &testLog{t: t}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	const n = 6000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var in bytes.Buffer
	lines := []requestLine{{"PUT", "/data", "", http.Header{"X-Test-Setup": {"1"}}}, {"PUT", "/other", "", http.Header{"X-Test-Setup": {"1"}}}}
	for _, l := range lines {
		if err := json.NewEncoder(&in).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		l := randomRequest(random)
		lines = append(lines, l)
		if err := json.NewEncoder(&in).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	edge := exec.Command("go", "run", "./test/s3readings")
	edge.Dir, edge.Stdin, edge.Stderr = root, &in, os.Stderr
	out, err := edge.Output()
	if err != nil {
		t.Fatal(err)
	}
	readings := json.NewDecoder(bytes.NewReader(out))
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	answers := bufio.NewReader(conn)
	compared := map[string]int{}
	for i, l := range lines {
		var edge struct {
			Error   string
			Unknown bool
			Checks  []struct {
				Action    string
				Resources []string
			}
		}
		if err := readings.Decode(&edge); err != nil {
			t.Fatal(err)
		}
		if edge.Error != "" || edge.Unknown {
			continue // never sent, or only where everything is allowed
		}
		if i < len(lines)*9/10 && len(edge.Checks) > 0 && edge.Checks[0].Action == "s3:DeleteBucket" {
			continue // about nothing in it would be asked any more
		}
		signed := sign(t, l)
		var raw bytes.Buffer
		raw.WriteString(l.Method + " " + l.URI + " HTTP/1.1\r\nHost: " + signed.Host + "\r\nContent-Length: 0\r\n")
		signed.Header.Write(&raw)
		raw.WriteString("\r\n")
		if _, err := conn.Write(raw.Bytes()); err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		resp, err := http.ReadResponse(answers, signed)
		if err != nil {
			t.Fatalf("%s %s: %v", l.Method, l.URI, err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Close {
			conn.Close()
			if conn, err = net.Dial("unix", socket); err != nil {
				t.Fatal(err)
			}
			answers = bufio.NewReader(conn)
		}
		if l.Header.Get("X-Test-Setup") != "" && resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", l.URI, resp.StatusCode, body)
		}
		header, err := base64.StdEncoding.DecodeString(resp.Header.Get(evaluated))
		if err != nil {
			t.Fatal(err)
		}
		var asked []question
		if len(header) > 0 { // else it was no request to the gateway
			if err := json.Unmarshal(header, &asked); err != nil {
				t.Fatal(err)
			}
		}
		if resp.StatusCode < 300 && len(asked) == 0 {
			t.Errorf("%s %s (%s): done without a question: %d %s", l.Method, l.URI, l.Bucket, resp.StatusCode, body)
		}
		for _, q := range asked {
			// Of a copy's source the gateway takes the version for a part of the key
			// where it asks policies, and not where it copies.
			if name, version, ok := strings.Cut(q.Resource, "?versionId="); ok && l.Header.Get("X-Amz-Copy-Source") != "" && version != "" {
				q = question{"s3:GetObjectVersion", name}
			}
			found := slices.ContainsFunc(edge.Checks, func(k struct {
				Action    string
				Resources []string
			}) bool {
				// The gateway takes the slash off a key's end for its policies.
				return strings.EqualFold(k.Action, q.Action) && slices.ContainsFunc(k.Resources, func(r string) bool {
					return r == q.Resource || strings.TrimSuffix(r, "/") == q.Resource
				})
			})
			if !found {
				t.Errorf("%s %s (%s) %v: the gateway is about to do %s to %s, the edge judged %v", l.Method, l.URI, l.Bucket, l.Header, q.Action, q.Resource, edge.Checks)
			}
			compared[q.Action]++
		}
	}
	if len(compared) < 20 {
		t.Errorf("only these actions were compared: %v", compared)
	}
	t.Logf("compared: %v", compared)
}
