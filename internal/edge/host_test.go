// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"strings"
	"testing"
)

func TestHostNamesTheBucket(t *testing.T) {
	names := []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com", "*.amazonaws.com", "S3.example."}
	const ep = "vpce-0123456789abcdef0"
	for host, want := range map[string]string{
		"s3.us-east-1.amazonaws.com":                                       "",
		"S3.US-east-1.amazonaws.com.:8080":                                 "",
		"data.s3.us-east-1.amazonaws.com":                                  "data",
		"a.b.c.s3.us-east-1.amazonaws.com:443":                             "a.b.c",
		"s3.example":                                                       "",
		ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":                  "",
		ep + "-abcdefgh-us-east-1a.s3.us-east-1.vpce.amazonaws.test":       "",
		"bucket." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":      "",
		"data.bucket." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test": "data",
		"my.data." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":     "my.data",
		"control." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":     "refused",
		ep + "-abcdefgh.sqs.us-east-1.vpce.amazonaws.test":                 "refused",
		"vpce-0123456789abcdef1-abcdefgh.s3.us-east-1.vpce.amazonaws.test": "refused",
		"data.s3.example": "refused", "": "refused", "192.0.2.1": "refused", "[2001:db8::1]:80": "refused",
		"s3.example:80x": "refused", "a..s3.us-east-1.amazonaws.com": "refused", "a b.s3.us-east-1.amazonaws.com": "refused",
		".s3.us-east-1.amazonaws.com": "refused",
	} {
		got, ok := hostLabel(host, names, ep, "s3", "us-east-1")
		if !ok {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// What is below a registry's name is the account whose registry it is, through the
// public name and through the endpoint's own.
func TestHostNamesTheRegistry(t *testing.T) {
	const ep = "vpce-0123456789abcdef0"
	names := []string{"*.dkr.ecr.us-east-1.amazonaws.com"}
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":                                      "123456789012",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com:443":                                  "123456789012",
		"123456789012." + ep + "-abcdefgh.dkr.ecr.us-east-1.vpce.amazonaws.com":             "123456789012",
		"123456789012." + ep + "-abcdefgh-us-east-1a.dkr.ecr.us-east-1.vpce.amazonaws.com":  "123456789012",
		ep + "-abcdefgh.dkr.ecr.us-east-1.vpce.amazonaws.com":                               "",
		"123456789012." + ep + "-abcdefgh.ecr.dkr.us-east-1.vpce.amazonaws.com":             "refused",
		"123456789012." + ep + "-abcdefgh.dkr.us-east-1.vpce.amazonaws.com":                 "refused",
		"123456789012." + ep + "-abcdefgh.dkr.ecr.us-east-1":                                "refused",
		"123456789012.dkr.ecr.us-east-2.amazonaws.com":                                      "refused",
		"123456789012.vpce-0123456789abcdef1-abcdefgh.dkr.ecr.us-east-1.vpce.amazonaws.com": "refused",
		"dkr.ecr.us-east-1.amazonaws.com":                                                   "refused",
	} {
		got, ok := hostLabel(host, names, ep, "ecr.dkr", "us-east-1")
		if !ok {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

func FuzzHost(f *testing.F) {
	f.Add("a.s3.us-east-1.amazonaws.com:80")
	f.Add("x.bucket.vpce-0-a.s3.us-east-1.vpce.test")
	f.Fuzz(func(t *testing.T, host string) {
		names := []string{"*.s3.us-east-1.amazonaws.com"}
		a, ok := hostLabel(host, names, "vpce-0", "s3", "us-east-1")
		b, ok2 := hostLabel(strings.ToUpper(host), names, "vpce-0", "s3", "us-east-1")
		if ok && strings.EqualFold(host, strings.ToUpper(host)) && (a != b || ok != ok2) {
			t.Fatalf("%q: %q and %q", host, a, b)
		}
	})
}
