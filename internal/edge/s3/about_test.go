// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/edge/call"
)

// What a check is about is what the backend acts on: the version where it is named
// and acted on, the source of a copy, and a bucket where no tags count.
func TestWhatChecksAreAbout(t *testing.T) {
	for _, tc := range []struct {
		method, uri, copySource string
		want                    []Object // of the checks, in order
	}{
		{"GET", "/data/a/b", "", []Object{{"data", "a/b", ""}}},
		{"HEAD", "/data/a%2Fb?versionId=v", "", []Object{{"data", "a/b", "v"}}},
		{"GET", "/data/a?versionId=", "", []Object{{"data", "a", ""}, {"data", "a", ""}}},
		{"GET", "/data/a?acl&versionId=v", "", []Object{{"data", "a", "v"}, {"data", "a", ""}}},
		{"PUT", "/data/a?acl", "", []Object{{"data", "a", ""}}},
		{"GET", "/data/a?tagging&versionId=v", "", []Object{{"data", "a", "v"}}},
		{"DELETE", "/data/a?tagging", "", []Object{{"data", "a", ""}}},
		{"GET", "/data/a?attributes&versionId=v", "", []Object{{"data", "", ""}, {"data", "a", "v"}}},
		{"PUT", "/data/a?tagging", "", []Object{{"data", "a", ""}}},
		{"PUT", "/data/a", "", []Object{{"data", "", ""}, {"data", "", ""}, {"data", "", ""}}},
		{"PUT", "/data/a", "/from/x%20y?versionId=v", []Object{{"data", "", ""}, {"data", "", ""}, {"data", "", ""}, {"from", "x y", "v"}}},
		{"PUT", "/data/a", "from/x+y", []Object{{"data", "", ""}, {"data", "", ""}, {"data", "", ""}, {"from", "x+y", ""}, {"from", "x y", ""}}},
		{"DELETE", "/data/a?versionId=v", "", []Object{{"data", "", ""}}},
		{"GET", "/data?list-type=2", "", []Object{{"data", "", ""}}},
		{"GET", "/", "", nil},
	} {
		h := http.Header{}
		if tc.method == "PUT" && !strings.Contains(tc.uri, "?") {
			h.Set("X-Amz-Tagging", "a=b")
			h.Set("X-Amz-Acl", "private")
		}
		if tc.copySource != "" {
			h.Set("X-Amz-Copy-Source", tc.copySource)
		}
		c, e := Read(call.Request{Method: tc.method, URI: tc.uri, Header: h})
		if e != nil {
			t.Fatalf("%s %s: %v", tc.method, tc.uri, e)
		}
		var got []Object
		for _, k := range c.Checks {
			if o, ok := About(c, k); ok {
				got = append(got, o)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s %s %s: %v, want %v", tc.method, tc.uri, tc.copySource, got, tc.want)
		}
	}
}
