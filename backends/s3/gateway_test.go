// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// asProgram makes the test binary behave as postern-s3, so that the tests run the program as its parent does.
const asProgram = "POSTERN_S3_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asProgram) != "":
		main()
		return
	case os.Getenv(asRecorder) != "":
		recorderMain()
		return
	}
	os.Exit(m.Run())
}

const (
	accountA, accountB = "111122223333", "444455556666"
	virtualDomain      = "s3.us-east-1.amazonaws.com"
	globalDomain       = "s3.amazonaws.com"
)

var (
	keyA1 = accessKey{Access: "AKIAIOSFODNN7EXAMPLA", Secret: "secret-a1", Account: accountA, Role: "user"}
	keyA2 = accessKey{Access: "AKIAIOSFODNN7EXAMPLB", Secret: "secret-a2", Account: accountA}
	keyB  = accessKey{Access: "AKIAIOSFODNN7EXAMPLC", Secret: "secret-b", Account: accountB}
)

// gateway is a running program.
type gateway struct {
	t        *testing.T
	dir      string // of the test: holds data and accounts.json
	network  string
	address  string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	exited   chan struct{} // closed when the program has ended and err is set
	err      error
	accounts string
}

// start runs the program with keys in its accounts file and waits for the ready line.
func start(t *testing.T, dir string, keys []accessKey, args ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: dir, accounts: filepath.Join(dir, "accounts.json"), exited: make(chan struct{})}
	g.setKeys(keys...)
	args = append([]string{"--dir", filepath.Join(dir, "data"), "--accounts", g.accounts, "--domain", globalDomain,
		"--domain", virtualDomain, "--lifeline"}, args...)
	if !slices.Contains(args, "--listen") {
		args = append(args, "--listen", "unix:"+filepath.Join(dir, "s3.sock"))
	}
	g.cmd = exec.Command(os.Args[0], args...)
	g.cmd.Env = []string{asProgram + "=1"}
	g.cmd.Stderr = &testLog{t: t}
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	line, readErr := out.ReadBytes('\n')
	go func() {
		rest, _ := io.ReadAll(out)
		g.err = g.cmd.Wait()
		if len(rest) > 0 && g.err == nil {
			g.err = errors.New("more than one line on stdout: " + string(rest))
		}
		close(g.exited)
	}()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.exited
	})
	if readErr != nil {
		t.Fatalf("no ready line: %v", readErr)
	}
	var ready struct {
		Ready  bool
		Listen string
	}
	if err := json.Unmarshal(line, &ready); err != nil || !ready.Ready {
		t.Fatalf("ready line %q: %v", line, err)
	}
	g.network, g.address = "tcp", ready.Listen
	if path, ok := strings.CutPrefix(ready.Listen, "unix:"); ok {
		g.network, g.address = "unix", path
	}
	return g
}

type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("postern-s3: %s", bytes.TrimSpace(p))
	return len(p), nil
}

// setKeys replaces the accounts file as the parent does.
func (g *gateway) setKeys(keys ...accessKey) {
	g.t.Helper()
	data, err := json.Marshal(map[string]any{"accounts": keys})
	if err != nil {
		g.t.Fatal(err)
	}
	g.setFile(data)
}

func (g *gateway) setFile(data []byte) {
	g.t.Helper()
	if err := os.WriteFile(g.accounts+".new", data, 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(g.accounts+".new", g.accounts); err != nil {
		g.t.Fatal(err)
	}
}

// wantExit waits for the program to end by itself, without an error.
func (g *gateway) wantExit() {
	g.t.Helper()
	select {
	case <-g.exited:
		if g.err != nil {
			g.t.Errorf("exit: %v", g.err)
		}
	case <-time.After(20 * time.Second):
		g.t.Error("still running after 20 s")
	}
}

// httpClient reaches the program whatever host a request names: nothing is ever resolved or dialled outside.
func (g *gateway) httpClient() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, g.network, g.address)
	}}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// client is an SDK client for host, with its style of address.
func (g *gateway) client(key accessKey, host string, pathStyle bool) *s3.Client {
	return s3.New(s3.Options{
		Region:           "us-east-1",
		Credentials:      credentials.NewStaticCredentialsProvider(key.Access, key.Secret, key.Token),
		BaseEndpoint:     aws.String("http://" + host),
		UsePathStyle:     pathStyle,
		HTTPClient:       g.httpClient(),
		RetryMaxAttempts: 1,
	})
}

func (g *gateway) as(key accessKey) *s3.Client { return g.client(key, virtualDomain, false) }

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Errorf("%s: %v, want %s", what, err, code)
	} else if api.ErrorCode() != code {
		t.Errorf("%s: %s (%s), want %s", what, api.ErrorCode(), api.ErrorMessage(), code)
	}
}

func wantOK(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func makeBucket(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
	wantOK(t, "create bucket "+bucket, err)
}

func put(t *testing.T, c *s3.Client, bucket, key string, body []byte) error {
	t.Helper()
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	return err
}

func get(t *testing.T, c *s3.Client, bucket, key string) ([]byte, error) {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func wantBody(t *testing.T, c *s3.Client, bucket, key string, want []byte) {
	t.Helper()
	got, err := get(t, c, bucket, key)
	wantOK(t, "get "+bucket+"/"+key, err)
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s/%s: got %d bytes that are not the %d bytes put", bucket, key, len(got), len(want))
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestObjectsSurviveInBothMetadataKindsAndAddressStyles(t *testing.T) {
	for _, kind := range []string{"auto", "sidecar"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			g := start(t, dir, []accessKey{keyA1}, "--metadata", kind)
			body, big := randomBytes(100_000), randomBytes(12<<20)
			// Names that differ between the wire, the signature and the file.
			keys := []string{"plain", "a dir/with space", "per%20cent", "plus+and&=?#", "ünïcode/日本", "dots..x/~t"}
			hosts := []struct {
				host string
				path bool
			}{{virtualDomain, false}, {virtualDomain, true}, {globalDomain, false}, {"198.51.100.7:8080", true}, {"localhost", true}}
			for i, h := range hosts {
				c := g.client(keyA1, h.host, h.path)
				bucket := "bucket.no-" + string(rune('a'+i))
				makeBucket(t, c, bucket)
				for _, key := range keys {
					wantOK(t, "put "+key, put(t, c, bucket, key, body))
				}
				for _, other := range hosts { // every style reads what each style wrote
					oc := g.client(keyA1, other.host, other.path)
					for _, key := range keys {
						wantBody(t, oc, bucket, key, body)
					}
				}
				list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
				wantOK(t, "list", err)
				var listed []string
				for _, o := range list.Contents {
					listed = append(listed, *o.Key)
				}
				slices.Sort(listed)
				want := slices.Sorted(slices.Values(keys))
				if !slices.Equal(listed, want) {
					t.Errorf("%s path=%v: listed %q, want %q", h.host, h.path, listed, want)
				}
			}
			multipart(t, g.as(keyA1), "bucket.no-a", "big", big)
			wantBody(t, g.as(keyA1), "bucket.no-a", "big", big)
			_, err := g.as(keyA1).CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("bucket.no-b"), Key: aws.String("copy"), CopySource: aws.String("bucket.no-a/big")})
			wantOK(t, "copy", err)
			wantBody(t, g.as(keyA1), "bucket.no-b", "copy", big)

			g.cmd.Process.Signal(syscall.SIGTERM)
			g.wantExit()
			if _, err := os.Stat(filepath.Join(dir, "s3.sock")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("socket left behind: %v", err)
			}
			g = start(t, dir, []accessKey{keyA2}) // another key, and metadata of whatever kind is there
			wantBody(t, g.as(keyA2), "bucket.no-a", "big", big)
		})
	}
}

func multipart(t *testing.T, c *s3.Client, bucket, key string, body []byte) {
	t.Helper()
	const part = 5 << 20
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	wantOK(t, "create multipart", err)
	var parts []types.CompletedPart
	for n := int32(1); len(body) > 0; n++ {
		size := min(part, len(body))
		out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId,
			PartNumber: &n, Body: bytes.NewReader(body[:size])})
		wantOK(t, "upload part", err)
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
		body = body[size:]
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key,
		UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	wantOK(t, "complete multipart", err)
}

func TestOnlyKnownKeysWithTheirSecretAreServed(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1})
	makeBucket(t, g.as(keyA1), "bucket-a")

	wrong := keyA1
	wrong.Secret = "not the secret"
	wantCode(t, "wrong secret", put(t, g.as(wrong), "bucket-a", "k", nil), "SignatureDoesNotMatch")
	wantCode(t, "wrong secret, path style", put(t, g.client(wrong, "localhost", true), "bucket-a", "k", nil), "SignatureDoesNotMatch")
	wantCode(t, "unknown key", put(t, g.as(keyB), "bucket-a", "k", nil), "InvalidAccessKeyId")
	// The account id is the owner's name inside the gateway; it must not be a way in.
	owner := accessKey{Access: accountA, Secret: keyA1.Secret}
	wantCode(t, "account id as key", put(t, g.as(owner), "bucket-a", "k", nil), "InvalidAccessKeyId")
	withToken := keyA1
	withToken.Token = "made up"
	wantCode(t, "token with a permanent key", put(t, g.as(withToken), "bucket-a", "k", nil), "InvalidToken")

	res, err := g.httpClient().Get("http://bucket-a." + virtualDomain + "/")
	wantOK(t, "anonymous list", err)
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("anonymous list: %s, want 403", res.Status)
	}
}

func TestPresignedURLWorksInVirtualHostedStyle(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1})
	makeBucket(t, g.as(keyA1), "bucket-a")
	body := randomBytes(1000)
	wantOK(t, "put", put(t, g.as(keyA1), "bucket-a", "a key/ü", body))
	req, err := s3.NewPresignClient(g.as(keyA1)).PresignGetObject(t.Context(), &s3.GetObjectInput{
		Bucket: aws.String("bucket-a"), Key: aws.String("a key/ü")})
	wantOK(t, "presign", err)
	for url, want := range map[string]int{req.URL: 200, req.URL + "0": 403} {
		res, err := g.httpClient().Get(url)
		wantOK(t, "get presigned", err)
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || want == 200 && !bytes.Equal(got, body) {
			t.Errorf("%s: %s with %d bytes, want %d", url, res.Status, len(got), want)
		}
	}
}

func TestAccountsFileIsFollowedWhileRunning(t *testing.T) {
	g := start(t, t.TempDir(), nil)
	list := func(key accessKey) error {
		_, err := g.as(key).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		return err
	}
	wantCode(t, "before", list(keyA1), "InvalidAccessKeyId")
	g.setKeys(keyA1)
	wantOK(t, "added", list(keyA1))
	rotated := keyA1
	rotated.Secret = "another secret"
	g.setKeys(rotated)
	wantCode(t, "old secret", list(keyA1), "SignatureDoesNotMatch")
	wantOK(t, "new secret", list(rotated))
	g.setKeys(keyB)
	wantCode(t, "removed", list(rotated), "InvalidAccessKeyId")

	session := accessKey{Access: "ASIAIOSFODNN7EXAMPLE", Secret: "temporary", Token: "the token", Account: accountA}
	g.setKeys(keyB, session)
	wantOK(t, "session", list(session))
	session.Token = "another token"
	wantCode(t, "session with a wrong token", list(session), "InvalidToken")
	session.Token = ""
	wantCode(t, "session without its token", list(session), "InvalidToken")

	g.setFile([]byte(`{"accounts":[`))
	wantCode(t, "broken file", list(keyB), "ServiceUnavailable")
	wantCode(t, "broken file, again", list(keyB), "ServiceUnavailable")
	if err := os.Remove(g.accounts); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "no file", list(keyB), "ServiceUnavailable")
	g.setKeys(keyB)
	wantOK(t, "repaired", list(keyB))
}

func TestKeysOfOneAccountShareBucketsAndOthersDoNot(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1, keyA2, keyB})
	a1, a2, b := g.as(keyA1), g.as(keyA2), g.as(keyB)
	body := []byte("shared")
	makeBucket(t, a1, "bucket-a")
	makeBucket(t, b, "bucket-b")
	wantOK(t, "put with the first key", put(t, a1, "bucket-a", "k", body))
	wantBody(t, a2, "bucket-a", "k", body)
	wantOK(t, "put with the second key", put(t, a2, "bucket-a", "k2", body))

	for key, want := range map[*s3.Client]string{a1: "bucket-a", a2: "bucket-a", b: "bucket-b"} {
		out, err := key.ListBuckets(t.Context(), &s3.ListBucketsInput{})
		wantOK(t, "list buckets", err)
		if len(out.Buckets) != 1 || *out.Buckets[0].Name != want {
			t.Errorf("list buckets: %d buckets, want only %s", len(out.Buckets), want)
		}
	}
	_, err := get(t, b, "bucket-a", "k")
	wantCode(t, "get from another account", err, "AccessDenied")
	wantCode(t, "put into another account", put(t, b, "bucket-a", "k", body), "AccessDenied")
	_, err = b.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket-a")})
	wantCode(t, "list another account's bucket", err, "AccessDenied")
	_, err = b.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("bucket-a")})
	wantCode(t, "delete another account's bucket", err, "AccessDenied")
	_, err = b.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("bucket-b"), Key: aws.String("k"), CopySource: aws.String("bucket-a/k")})
	wantCode(t, "copy from another account", err, "AccessDenied")
	_, err = b.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket-a")})
	wantCode(t, "take another account's name", err, "BucketAlreadyExists")
	_, err = get(t, b, "no-such-bucket", "k")
	wantCode(t, "no such bucket", err, "NoSuchBucket")
	_, err = a1.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket-a"), Key: aws.String("k"), ExpectedBucketOwner: aws.String(accountA)})
	wantOK(t, "expected bucket owner is the account id", err)
}

func TestBucketPolicyNamesAccountsAndLeavesTheOwnerHisAccess(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1, keyA2, keyB})
	a, b := g.as(keyA1), g.as(keyB)
	makeBucket(t, a, "bucket-a")
	wantOK(t, "put", put(t, a, "bucket-a", "k", []byte("v")))
	setPolicy := func(effect, principal string) error {
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":{"AWS":"` + principal +
			`"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket-a/*"}]}`
		_, err := a.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("bucket-a"), Policy: &policy})
		return err
	}
	for _, principal := range []string{accountB, "arn:aws:iam::" + accountB + ":root"} {
		wantOK(t, "policy for "+principal, setPolicy("Allow", principal))
		wantBody(t, b, "bucket-a", "k", []byte("v"))
		wantCode(t, "not granted", put(t, b, "bucket-a", "k", nil), "AccessDenied")
		wantBody(t, a, "bucket-a", "k", []byte("v"))
		wantOK(t, "owner put", put(t, g.as(keyA2), "bucket-a", "k", []byte("v")))
	}
	wantCode(t, "unknown account", setPolicy("Allow", "arn:aws:iam::999999999999:root"), "MalformedPolicy")
	wantCode(t, "access key as principal", setPolicy("Allow", keyB.Access), "MalformedPolicy")
	wantOK(t, "deny the owner", setPolicy("Deny", accountA))
	_, err := get(t, a, "bucket-a", "k")
	wantCode(t, "explicit deny", err, "AccessDenied")
	_, err = get(t, b, "bucket-a", "k")
	wantCode(t, "no longer granted", err, "AccessDenied")
	_, err = a.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String("bucket-a")})
	wantOK(t, "owner deletes the policy", err)
	wantBody(t, a, "bucket-a", "k", []byte("v"))
}

func TestListensOnAFreePortAndEndsWithItsParent(t *testing.T) {
	dir := t.TempDir()
	g := start(t, dir, []accessKey{keyA1}, "--listen", "127.0.0.1:0")
	host, port, err := net.SplitHostPort(g.address)
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Fatalf("listens on %q", g.address)
	}
	makeBucket(t, g.client(keyA1, g.address, true), "bucket-a")

	for path, want := range map[string]os.FileMode{"data": 0o700, "data/buckets": 0o700, "data/buckets/bucket-a": 0o700} {
		fi, err := os.Stat(filepath.Join(dir, path))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want mode %o", path, fi.Mode(), err, want)
		}
	}
	second := exec.Command(os.Args[0], "--dir", filepath.Join(dir, "data"), "--accounts", g.accounts)
	second.Env = []string{asProgram + "=1"}
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "another postern-s3") {
		t.Errorf("a second process on the directory: %v, %s", err, out)
	}
	g.stdin.Close()
	g.wantExit()
}

func TestVPCEndpointHostNamesRouteToBuckets(t *testing.T) {
	g := start(t, t.TempDir(), []accessKey{keyA1}, "--domain", "bucket.*.s3.us-east-1.vpce.amazonaws.com")
	host := "bucket.vpce-0a1b2c3d4e5f60718-abcd1234.s3.us-east-1.vpce.amazonaws.com"
	makeBucket(t, g.client(keyA1, host, true), "bucket-a")
	wantOK(t, "put", put(t, g.client(keyA1, host, false), "bucket-a", "k", []byte("v")))
	wantBody(t, g.client(keyA1, host, true), "bucket-a", "k", []byte("v"))

	req, err := http.NewRequest(http.MethodGet, "http://"+globalDomain+"/", nil)
	wantOK(t, "request", err)
	req.Host = "under_score." + globalDomain
	res, err := g.httpClient().Do(req)
	wantOK(t, "invalid bucket in the host", err)
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("InvalidBucketName")) {
		t.Errorf("invalid bucket in the host: %s %s", res.Status, body)
	}
}
