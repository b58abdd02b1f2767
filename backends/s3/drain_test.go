// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a refused request leaves of its body must not become the next request
// on the connection.
func TestARefusedBodyIsNotTakenForTheNextRequest(t *testing.T) {
	g := start(t, t.TempDir(), nil)
	c, err := net.Dial(g.network, g.address)
	wantOK(t, "connect", err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	body := strings.Repeat("GET /nothing HTTP/1.1\r\n\r\n", 40000) // 1 MB
	go func() {
		fmt.Fprintf(c, "PUT /bucket/key HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		fmt.Fprint(c, "GET /bucket/key HTTP/1.1\r\nHost: s3.test\r\nConnection: close\r\n\r\n")
	}()
	r := bufio.NewReader(c)
	for _, what := range []string{"the refused upload", "the request after it"} {
		res, err := http.ReadResponse(r, nil)
		wantOK(t, what, err)
		io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s, want 404", what, res.Status)
		}
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("after two answers there is more: %.200q, %v", rest, err)
	}
}
