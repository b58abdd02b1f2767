// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Clients take what follows x-amz-meta- for keys of a map: how they are written
// counts, and S3 writes them in small letters. A small answer comes in one piece,
// so that whoever reads the header has the body.
func TestAnswersComeAsS3SendsThem(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["x-amz-meta-note_a"], h["x-amz-meta-other"] = []string{"1"}, []string{"2", "3"}
		h.Set("Content-Length", "4")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		io.WriteString(w, "body")
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	for range 20 {
		c, err := net.Dial("tcp", b.http)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "GET /data/a HTTP/1.1\r\nHost: "+testHost+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 4096)
		n, err := c.Read(piece)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(piece[:n]), "\r\n\r\n")
		if body != "body" {
			t.Fatalf("the first piece has the body %q", body)
		}
		for _, want := range []string{"\r\nx-amz-meta-note_a: 1", "\r\nx-amz-meta-other: 2", "\r\nx-amz-meta-other: 3"} {
			if !strings.Contains(head, want) {
				t.Fatalf("no %q in %q", want, head)
			}
		}
		if _, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(piece[:n]))), nil); err != nil {
			t.Fatal(err)
		}
	}
}
