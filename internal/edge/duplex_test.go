// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"postern.dev/postern/internal/edge/tally"
)

func TestBodiesStreamBothWaysAfter100Continue(t *testing.T) {
	got := make(chan string)
	finish := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 5)
		io.ReadFull(r.Body, buf)
		got <- string(buf)
		rest, _ := io.ReadAll(r.Body)
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-finish
		w.Write(rest)
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	pr, pw := io.Pipe()
	r := rawRequest(t, "PUT", testHost, "/data/a", "")
	r.URL.Host, r.Body, r.ContentLength = b.http, pr, 10
	r.Header.Set("Expect", "100-continue")
	type answer struct {
		resp *http.Response
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, err := b.client.Do(r)
		answered <- answer{resp, err}
	}()
	// The client waits a minute for "100 Continue" before it sends anyway.
	io.WriteString(pw, "hello")
	select {
	case s := <-got: // the backend has the first half while the second is not written
		if s != "hello" {
			t.Errorf("got %q", s)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("the first half of the body did not arrive")
	}
	io.WriteString(pw, "world")
	pw.Close()
	a := <-answered
	if a.err != nil {
		t.Fatal(a.err)
	}
	defer a.resp.Body.Close()
	buf := make([]byte, 5)
	if _, err := io.ReadFull(a.resp.Body, buf); err != nil || string(buf) != "first" {
		t.Errorf("%q %v", buf, err)
	}
	close(finish)
	if rest, err := io.ReadAll(a.resp.Body); err != nil || string(rest) != "world" {
		t.Errorf("%q %v", rest, err)
	}
	if rec := b.last(); rec.BytesIn != 10 || rec.BytesOut != 10 || rec.Status != 200 {
		t.Errorf("record %+v", rec)
	}
}

// A backend may answer while the body still comes: all of it is the backend's.
func TestAnswerThatBeginsBeforeTheBodyHasCome(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	for _, body := range []struct{ header, half, rest string }{
		{"Content-Length: 10", "hello", "world"},
		{"Transfer-Encoding: chunked", "5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n"},
	} {
		c := dial(t, b.http, "PUT /data/a HTTP/1.1\r\nHost: "+testHost+"\r\n"+body.header+"\r\n\r\n"+body.half)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: no answer before the body is whole: %v", body.header, err)
		}
		buf := make([]byte, len("first "))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "first " {
			t.Errorf("%s: %q %v", body.header, buf, err)
		}
		io.WriteString(c, body.rest)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "helloworld" {
			t.Errorf("%s: the backend got %q, %v", body.header, rest, err)
		}
		if rec := b.last(); rec.BytesIn != 10 || rec.BytesOut != 16 || rec.Status != 200 {
			t.Errorf("%s: record %+v", body.header, rec)
		}
	}
}

// A connection ends after an answer that came before its request's body was whole,
// and only then.
func TestAConnectionEndsWithABodyThatNobodyWanted(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/data/early" {
			http.NewResponseController(w).EnableFullDuplex() // or it would read the rest first
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.Copy(w, r.Body)
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	c := dial(t, b.http, "PUT /data/a HTTP/1.1\r\nHost: "+testHost+"\r\nContent-Length: 10\r\n\r\nhelloworld")
	in := bufio.NewReader(c)
	for _, next := range []string{
		"PUT /data/a HTTP/1.1\r\nHost: " + testHost + "\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhelloworld\r\n0\r\n\r\n",
		"PUT /data/early HTTP/1.1\r\nHost: " + testHost + "\r\nContent-Length: 10\r\n\r\nhello",
	} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "helloworld" || resp.Close {
			t.Fatalf("%q, %v, the connection ends: %v", body, err, resp.Close)
		}
		io.WriteString(c, next)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 403 || !resp.Close {
		t.Errorf("%s, the connection ends: %v", resp.Status, resp.Close)
	}
	// The rest, and another request, as of a client that has not looked yet.
	io.WriteString(c, "world"+"GET /data/b HTTP/1.1\r\nHost: "+testHost+"\r\n\r\n")
	if more, err := io.ReadAll(in); len(more) != 0 {
		t.Errorf("after it: %q, %v", more, err)
	}
}

// A client that asks before it sends a body has its refusal without sending it.
func TestRefusalInsteadOf100Continue(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::data/*"}]}`)
	for uri, by := range map[string]string{"/data/a": tally.ByService, "/other/a": tally.ByEndpoint} {
		c := dial(t, b.http, "PUT "+uri+" HTTP/1.1\r\nHost: "+testHost+"\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: no answer before the body: %v", uri, err)
		}
		if resp.StatusCode != 403 || !resp.Close {
			t.Errorf("%s: %s, and the connection ends: %v", uri, resp.Status, resp.Close)
		}
		c.Close()
		if rec := b.last(); rec.DeniedBy() != by || rec.BytesIn != 0 {
			t.Errorf("%s: record %+v", uri, rec)
		}
	}
}
