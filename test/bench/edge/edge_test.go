// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseHead(t *testing.T) {
	m, err := parseHead([]byte("HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 12 \r\n\r\n"))
	if err != nil || m.first != "HTTP/1.1 200 OK" || m.length != 12 {
		t.Errorf("%+v %v", m, err)
	}
	for _, bad := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
	} {
		if m, err := parseHead([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, m)
		}
	}
}

// All operations get through client and backend, and what is sent is what
// net/http reads.
func TestClientAndBackend(t *testing.T) {
	address := "unix:" + filepath.Join(t.TempDir(), "socket")
	const large = 300_000
	go func() {
		if err := backend(address, large); err != nil {
			t.Error(err)
		}
	}()
	deadline := time.Now().Add(10 * time.Second)
	for _, o := range operations {
		w := wish{To: address, Operation: o.name, Conns: 2, Large: large}
		m, err := ask(w)
		for err != nil && time.Now().Before(deadline) {
			m, err = ask(w) // until it listens
		}
		want := int64(2 * smallSize)
		if o.large {
			want = 2 * large
		}
		if err != nil || m.Requests != 2 || m.Bytes != want || m.P99 <= 0 {
			t.Errorf("%s: %+v %v", o.name, m, err)
		}
		head, body, err := o.head(0, large)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil || r.Host != s3Host || !strings.Contains(r.Header.Get("Authorization"), "Credential="+accessKey) {
			t.Errorf("%s: %q %v", o.name, head, err)
		}
		if o.up && !o.large && r.ContentLength != int64(len(body)) {
			t.Errorf("%s: %d bytes of body, %d are told", o.name, len(body), r.ContentLength)
		}
	}
}

// The policy is one that the edge takes, and its last statement decides.
func TestDecision(t *testing.T) {
	if ns, err := decision(); err != nil || ns <= 0 {
		t.Errorf("%v %v", ns, err)
	}
	if n := len(policyDocument()); n > 20480 {
		t.Errorf("the policy has %d bytes, more than AWS takes", n)
	}
}

// TestSummarise has a drift in it that is larger than the difference, which
// ratios inside rounds do not see.
func TestSummarise(t *testing.T) {
	r := &result{Parameters: parameters{Rounds: 2}, Decisions: []float64{500, 500}, Memory: []memory{{Path: "postern", Upload: 3 << 20, PerBody: 10 << 10}}}
	for _, round := range []int{0, 1} {
		for path, rate := range map[string]int64{"direct": 3000, "nginx": 1000, "postern": 1100} {
			r.Samples = append(r.Samples, sample{
				Round: round, Backend: "plain", Path: path, Operation: "get", CPUs: 1,
				measured: measured{Requests: rate * int64(1+9*round), Elapsed: 1e9, P99: 1000}, CPU: rate * int64(1+9*round) * 110_000,
			})
		}
	}
	r.summarise()
	want := map[string]struct {
		got     float64
		reached bool
	}{
		"plain backend, get, 1 CPU: rate at least 1.0 of nginx":  {1.1, true},
		"decision: at most 0.01 of the CPU time of a get":        {0.005, true},
		"memory: an upload of 0 MiB adds at most 2048 KiB":       {3 << 10, false},
		"memory: a body of 0 MiB on its way adds at most 64 KiB": {10, true},
	}
	if len(r.Aims) != len(want) {
		t.Errorf("%d aims", len(r.Aims))
	}
	for _, j := range r.Aims {
		w := want[j.Aim]
		if d := j.Got.Median - w.got; d < -1e-9 || d > 1e-9 || j.Reached != w.reached {
			t.Errorf("%s: %+v, want %+v", j.Aim, j, w)
		}
	}
	var out bytes.Buffer
	r.print(&out)
	if !strings.Contains(out.String(), "1.10 (1.10..1.10)") {
		t.Errorf("it does not say how much faster:\n%s", out.String())
	}
}
