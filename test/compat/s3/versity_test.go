// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/test/compat/through"
)

// suiteLine is a line of the suite's output, without its colours.
var (
	suiteLine = regexp.MustCompile(`^(PASS|FAIL|SKIP) +([A-Za-z0-9_-]+)(: .*)?$`)
	colours   = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// suiteDiffers are tests of the suite that must not come to the same, and why.
var suiteDiffers = map[string]string{
	"IAM_CreateBucket_success":            noS3,
	"IAM_CreateBucket_non_existing_user":  noS3,
	"IAM_CreateBucket_empty_owner_header": noS3,
	"Server_large_http_header":            "its path is //bucket/object, a bucket without a name; the edge refuses that before anybody looks at the headers",
	"UploadPartCopy_non_existing_bucket":  "its copy source has no key, so nobody could say what is read; the edge refuses that before anybody looks for the bucket",
}

const noS3 = "a call of the gateway's administrator, no S3"

// The gateway's own suite passes through the edge as it passes directly. It takes
// minutes, with the program to build, so it is one of the long tests.
func TestVersitysSuitePassesThroughTheEdge(t *testing.T) {
	if os.Getenv("POSTERN_LONG_TESTS") == "" {
		t.Log("not asked for with POSTERN_LONG_TESTS")
		return
	}
	program := build(t, "versitygw", "github.com/versity/versitygw/cmd/versitygw", "versitygw")
	suite := func(t *testing.T, edge bool) (through.Result, *through.Edge) {
		dir := t.TempDir()
		for _, d := range []string{"data", "versions", "iam", "run"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		backend := freePort(t)
		through.Start(t, dir, program, "--access", through.KeyID, "--secret", through.Secret, "--region", through.Region, "--port", backend, "--iam-dir", filepath.Join(dir, "iam"), "--quiet",
			"posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data"))
		waitFor(t, backend)
		// The suite makes users with the gateway's own command, which is no S3
		// and goes to the gateway both ways.
		script := fmt.Sprintf("#!/bin/sh\n[ \"$1 $2 $4 $6\" = 'admin -a -s -er' ] || exit 1\na=$3 s=$5\nshift 7\nexec %s admin -a \"$a\" -s \"$s\" -er http://%s \"$@\"\n", program, backend)
		if err := os.WriteFile(filepath.Join(dir, "run", "versitygw"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		address := backend
		var e *through.Edge
		if edge {
			e = newEdge(t, backend, "127.0.0.1")
			address = e.Address
		}
		out, errs, err := through.Run(t, filepath.Join(dir, "run"), through.Env("HOME="+dir, "AWS_EC2_METADATA_DISABLED=true"),
			program, "test", "-a", through.KeyID, "-s", through.Secret, "-e", "http://"+address, "full-flow", "--versioning-enabled", "--parallel")
		r := through.Result{}
		for line := range strings.Lines(colours.ReplaceAllString(out, "")) {
			if m := suiteLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
				r[m[2]] = m[1]
				if m[1] == "FAIL" {
					t.Log(m[2], m[3])
				}
			}
		}
		if len(r) < 600 {
			t.Fatalf("%d tests, %v: %s", len(r), err, through.Tail(out+errs, 4000))
		}
		return r, e
	}
	directly, _ := suite(t, false)
	around, e := suite(t, true)
	e.Explain(t)
	through.Same(t, directly, around, suiteDiffers)
	if n := len(directly.Passes()); n < 750 {
		t.Errorf("only %d tests passed directly", n)
	}
}

// freePort is an address on which nobody listens yet: the gateway says nowhere
// which port it got.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitFor waits until somebody listens.
func waitFor(t *testing.T, address string) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens on %s: %v", address, err)
		}
		time.Sleep(20 * time.Millisecond) // sleep: no event tells that another process listens
	}
}

// The suite is that of the gateway which the backend is made of.
func TestTheSuiteIsOfTheBackendsGateway(t *testing.T) {
	version := regexp.MustCompile(`(?m)^\s*github.com/versity/versitygw (v\S+)`)
	var found []string
	for _, path := range []string{"versitygw/go.mod", "../../../backends/s3/go.mod"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := version.FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s does not name the gateway", path)
		}
		found = append(found, string(m[1]))
	}
	if found[0] != found[1] {
		t.Errorf("the suite is of %s, the backend is made of %s: go get it in test/compat/s3/versitygw", found[0], found[1])
	}
}
