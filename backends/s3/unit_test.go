// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostNamesTheBucketUnderTheLongestDomain(t *testing.T) {
	ds, err := parseDomains([]string{"s3.us-east-1.amazonaws.com", "s3.amazonaws.com", "bucket.*.s3.us-east-1.vpce.amazonaws.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, bucket string
		found        bool
	}{
		{"s3.us-east-1.amazonaws.com", "", false},
		{"s3.amazonaws.com:8080", "", false},
		{"b1.s3.us-east-1.amazonaws.com", "b1", true},
		{"b1.s3.amazonaws.com:443", "b1", true},
		{"My.Bucket.S3.Amazonaws.COM", "my.bucket", true},
		{"a.s3.amazonaws.com.s3.amazonaws.com", "a.s3.amazonaws.com", true},
		{"bucket.vpce-0a1b.s3.us-east-1.vpce.amazonaws.com", "", false},
		{"b1.bucket.vpce-0a1b.s3.us-east-1.vpce.amazonaws.com", "b1", true},
		{"b1.s3.amazonaws.com.", "b1", true},
		{"b1.s3.amazonaws.com.example", "", false},
		{"b1s3.amazonaws.com", "", false},
		{"198.51.100.7:9000", "", false},
		{"[2001:db8::1]:9000", "", false},
		{".s3.amazonaws.com", "", true},
		{"", "", false},
	} {
		if bucket, found := ds.bucket(c.host); bucket != c.bucket || found != c.found {
			t.Errorf("%q: %q %v, want %q %v", c.host, bucket, found, c.bucket, c.found)
		}
	}
	for _, bad := range []string{"", "com", "s3..com", "s3.example:80", "https://s3.example", ".s3.example"} {
		if _, err := parseDomains([]string{bad}); err == nil {
			t.Errorf("--domain %q was accepted", bad)
		}
	}
}

func TestAccountsFileIsRefusedAsAWhole(t *testing.T) {
	good := `{"access":"AKIAEXAMPLE","secret":"s","account":"111122223333"}`
	for _, c := range []struct{ file, want string }{
		{`{"accounts":[` + good + `]}`, ""},
		{`{"accounts":[]}`, ""},
		{`{"accounts":[` + good + `,` + good + `]}`, "twice"},
		{`{"accounts":[` + good + `]} {}`, "after the JSON"},
		{`{"accounts":[{"access":"A","secret":"","account":"111122223333"}]}`, "empty"},
		{`{"accounts":[{"access":"A","secret":"s","account":"1111"}]}`, "12-digit"},
		{`{"accounts":[{"access":"A","secret":"s","account":"111122223333","role":"admin"}]}`, "role"},
		{`{"accounts":[{"access":"A","secret":"s","account":"111122223333","rolle":"user"}]}`, "rolle"},
		{`[]`, "cannot unmarshal"},
		{``, "EOF"},
	} {
		_, err := parseAccounts([]byte(c.file))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.file, err, c.want)
		}
	}
}

func TestCommandLineExplainsWhatIsWrong(t *testing.T) {
	base := []string{"--dir", "d", "--accounts", "f"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--dir and --accounts"},
		{append(base, "--listen", "0.0.0.0:80"), "loopback"},
		{append(base, "--listen", "198.51.100.1:80"), "loopback"},
		{append(base, "--listen", "localhost:80"), "loopback"},
		{append(base, "--listen", "unix:/"+strings.Repeat("x", 107)), "107 bytes"},
		{append(base, "--listen", "unix:/a:b"), "colon"},
		{append(base, "--questions", "127.0.0.1:80"), "unix:PATH"},
		{append(base, "--listen", "unix:/a", "--questions", "unix:/a"), "another socket"},
		{append(base, "--metadata", "none"), "sidecar"},
		{append(base, "--region", ""), "--region"},
		{append(base, "more"), "unexpected"},
		{append(base, "--nothing"), "--help"},
	} {
		if _, err := parseFlags(c.args, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
	for _, flagName := range []string{"--help", "--version"} {
		var out bytes.Buffer
		if _, err := parseFlags([]string{flagName}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "postern-s3") {
			t.Errorf("%s: %v, %q", flagName, err, out.String())
		}
	}
}

func TestMetadataKindOfADirectoryDoesNotChange(t *testing.T) {
	dir := t.TempDir()
	buckets, sidecar := filepath.Join(dir, "buckets"), filepath.Join(dir, "sidecar")
	mkdir := func(path string) {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(buckets)
	if kind, err := metadataKind(buckets, sidecar, "sidecar"); kind != "sidecar" || err != nil {
		t.Errorf("new directory: %q %v", kind, err)
	}
	mkdir(filepath.Join(buckets, "bucket-a"))
	if _, err := metadataKind(buckets, sidecar, "sidecar"); err == nil {
		t.Error("sidecar was accepted over buckets with xattr metadata")
	}
	mkdir(sidecar)
	if kind, err := metadataKind(buckets, sidecar, "auto"); kind != "sidecar" || err != nil {
		t.Errorf("directory with a sidecar: %q %v", kind, err)
	}
	if _, err := metadataKind(buckets, sidecar, "xattr"); err == nil {
		t.Error("xattr was accepted over buckets with sidecar metadata")
	}
}
