// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control/controltest"
)

// panicking runs a handler as ServeHTTP runs the services.
func panicking(t *testing.T, serve func(*call)) (*httptest.ResponseRecorder, *audit.Record, string) {
	t.Helper()
	var log bytes.Buffer
	var got *audit.Record
	c, _ := controltest.New(t)
	s := New(c, slog.New(slog.NewTextHandler(&log, nil)))
	s.Audit = func(r *audit.Record) { got = r }
	w := httptest.NewRecorder()
	func() {
		k := s.begin(w, httptest.NewRequest("POST", "/", nil))
		defer s.end(k)
		serve(k)
	}()
	return w, got, log.String()
}

func TestAPanicIsAnInternalErrorWithItsRequestIDAndItsStackInTheLog(t *testing.T) {
	for service, code := range map[string]string{awsquery.ServiceEC2.Name: "InternalError", awsquery.ServiceELBv2.Name: "InternalFailure", awsquery.ServiceSTS.Name: "InternalFailure", "": "InternalError"} {
		w, r, log := panicking(t, func(k *call) {
			k.service = service
			_ = strings.Repeat("x", len(k.id))[len(k.id)+1]
		})
		id := w.Header().Get("x-amzn-RequestId")
		if w.Code != http.StatusInternalServerError || id == "" || !strings.Contains(w.Body.String(), "<Code>"+code+"</Code>") || !strings.Contains(w.Body.String(), id) {
			t.Errorf("%s: %d %q %s", service, w.Code, id, w.Body)
		}
		if !strings.Contains(log, id) || !strings.Contains(log, "out of range") || !strings.Contains(log, "record_test.go") {
			t.Errorf("%s: the log lacks the request, the reason or the stack: %s", service, log)
		}
		if strings.Contains(w.Body.String(), "out of range") {
			t.Errorf("%s: the client sees why: %s", service, w.Body)
		}
		if r == nil || r.RequestID != id || r.Status != 500 || r.ErrorCode != code {
			t.Errorf("%s: record %+v", service, r)
		}
	}
}

func TestAPanicAfterTheAnswerBeganBreaksTheConnection(t *testing.T) {
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panicked with %v, want http.ErrAbortHandler", p)
		}
	}()
	panicking(t, func(k *call) {
		k.WriteHeader(http.StatusOK)
		panic("half an answer")
	})
}

func TestAServerThatPanickedGoesOn(t *testing.T) {
	c, _ := controltest.New(t)
	s := New(c, slog.New(slog.DiscardHandler))
	broken := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !broken {
			s.ServeHTTP(w, r)
			return
		}
		k := s.begin(w, r)
		defer s.end(k)
		panic("on purpose")
	}))
	defer srv.Close()
	for _, want := range []int{http.StatusInternalServerError, http.StatusForbidden} {
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("status %d, want %d", resp.StatusCode, want)
		}
		broken = false
	}
}
