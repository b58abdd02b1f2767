// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/vpc"
)

// A backend of this machine is told the caller's tags, all of them or that they are
// left out, and gets no more of a header than it reads.
func TestABackendIsToldTheCallersTags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s3.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan http.Header, 10)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { told <- r.Header; io.WriteString(w, r.RequestURI) }))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	b := newBench(t, "unix:"+path)
	long := func(n, size int) vpc.Tags {
		tags := vpc.Tags{}
		for i := range n {
			tags[fmt.Sprintf("key-%02d", i)] = strings.Repeat("v", size)
		}
		return tags
	}
	for name, tc := range map[string]struct {
		tags vpc.Tags
		uri  string
		more int // bytes of another header
		left bool
	}{
		"none":               {nil, "/data/a", 0, false},
		"a few":              {vpc.Tags{"Team": "red", "cost <&>": "\"é\u2028\U0001F600\x7f\n\\"}, "/data/a", 0, false},
		"many":               {long(20, 256), "/data/a", 0, false},
		"as many as can be":  {long(50, 256), "/data/a", 0, true},
		"beside a long key":  {long(20, 256), "/data/" + strings.Repeat("k", 1000), 1500, true},
		"beside much header": {long(3, 100), "/data/a", 6000, false},
		"and beside more":    {long(3, 100), "/data/a", 6700, true},
	} {
		b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {
			Account: testAccount, ARN: "arn:aws:iam::" + testAccount + ":user/ann", ID: "AIDAANN", Name: "ann", Tags: tc.tags, Policies: []string{`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`},
		}}
		b.configure()
		var header []string
		if tc.more > 0 {
			header = []string{"X-Amz-Meta-Note: " + strings.Repeat("n", tc.more)}
		}
		if resp, got := b.do(b.request("GET", testHost, tc.uri, "", header...)); resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", name, resp.StatusCode, got)
		}
		b.last()
		h := <-told
		size := len("GET  HTTP/1.1\r\n\r\n") + len(tc.uri) + len("Host: \r\n") + len(testHost)
		for n, values := range h {
			for _, v := range values {
				size += len(n) + len(v) + len(": \r\n")
			}
		}
		if size > maxHeader {
			t.Errorf("%s: a header of %d bytes", name, size)
		}
		text := h.Get(call.HeaderContext)
		if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
			t.Errorf("%s: %q", name, text[i:])
		}
		var keys map[string]string
		if err := json.Unmarshal([]byte(text), &keys); err != nil {
			t.Fatalf("%s: %v in %s", name, err, text)
		}
		got := vpc.Tags{}
		for k, v := range keys {
			if tag, ok := strings.CutPrefix(k, principalTag); ok {
				got[tag] = v
			}
		}
		want := tc.tags
		if tc.left {
			want = nil
		}
		if !maps.Equal(got, want) || (keys[tagsLeftOut] == "true") != tc.left || keys["aws:username"] != "ann" {
			t.Errorf("%s: told %s", name, text)
		}
	}
}
