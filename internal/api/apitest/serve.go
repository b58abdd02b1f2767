// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
)

// Serve serves one service to one caller, whose signature it does not look at,
// until the test ends, and answers the URL. parse is how the service's requests
// are read.
func Serve(t testing.TB, table *actions.Table, parse func(*http.Request, int64) (*awsquery.Form, []byte, error), c *control.Control, caller control.Caller) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, _, err := parse(r, 1<<20)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		table.Serve(w, &actions.Call{Context: r.Context(), Control: c, Caller: caller}, form, "req-1")
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// Keys are what a client of Serve signs with.
func Keys() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", "")
}

// Code is the code of an API's error, "" of none.
func Code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// Must is the answer of a call that must not fail: Must[*Output](t)(call()).
func Must[T any](t testing.TB) func(T, error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// Refused fails the test if err is not an API's error with a code and a status,
// and with piece in its message.
func Refused(t testing.TB, what string, err error, code string, status int, piece string) {
	t.Helper()
	var e smithy.APIError
	var r interface{ HTTPStatusCode() int }
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), piece) || !errors.As(err, &r) || r.HTTPStatusCode() != status {
		t.Errorf("%s: %v, want %d %s with %q", what, err, status, code, piece)
	}
}
