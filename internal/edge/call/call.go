// SPDX-License-Identifier: Apache-2.0

// Package call is what the edge's protocols have in common: a request as they get
// it, the call they make of it, and how they read what all of AWS's protocols share
// (signatures, queries, JSON).
//
// # Words
//
// A request is what came over HTTP. A call is the same as the service understands
// it: one or more checks, each an action on a resource, all of which every policy
// must allow. A claim is what a signature says of who made it; the backend verifies
// it. A protocol is a pure function from request to call.
//
// # Promises
//
// Everything here is pure, except that a call may want to read its body. What two
// servers could read in two ways is refused before anything is judged, and so is
// every text that is not UTF-8. What is not in a protocol's table is an unknown
// call, which only a policy allows that allows the whole service.
package call

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is what of an HTTP request says what it does.
type Request struct {
	Method string
	// URI is the request line's, byte for byte: a path and maybe a query.
	URI string
	// Label is what the Host header has in front of the service's name, where
	// the service answers to names below its own: S3's bucket. Mostly "".
	Label  string
	Header http.Header
	// Region is the service's, and Account whose an access key is, "" if it is
	// nobody's: both go into resources' ARNs.
	Region  string
	Account func(keyID string) string
	Now     time.Time
}

// Check is one thing every policy must allow.
type Check struct {
	Action   string // service:Name
	Resource string // an ARN, "*" for none
	// Also are other readings of the resource, which a backend might act on
	// instead: they must be allowed too.
	Also []string
	// Context holds the condition keys of this check alone.
	Context map[string][]string
}

// Call is a request as its service understands it.
type Call struct {
	// Checks must all be allowed. The first is the call's own.
	Checks []Check
	// Unknown says why nobody knows what the request does, "" if somebody does.
	// Then Checks has the service's whole namespace.
	Unknown string
	// Bucket and Key are S3's, for the record.
	Bucket, Key string
	// Claim is what the signature says of the caller.
	Claim Claim
	// Context holds the condition keys of the request itself.
	Context map[string][]string
	// Body, if set, reads as much of the body as the call's meaning is in, and
	// fills in the rest of the call. It returns the body to send on.
	Body func(io.Reader) (io.Reader, *Error)
	// Answer, if set, gets the backend's status and body, unless that is large.
	Answer func(status int, body []byte)
}

// New makes a call without checks.
func New() *Call { return &Call{Context: map[string][]string{}} }

// Set sets a condition key to what is not empty.
func (c *Call) Set(key, value string) {
	if value != "" {
		c.Context[key] = []string{value}
	}
}

// Add adds a check.
func (c *Call) Add(action, resource string) {
	c.Checks = append(c.Checks, Check{Action: action, Resource: resource})
}

// MakeUnknown makes it a call that nobody knows.
func (c *Call) MakeUnknown(service, format string, args ...any) {
	c.Unknown = fmt.Sprintf(format, args...)
	c.Checks = []Check{{Action: service + ":*", Resource: "*"}}
	c.Body = nil
}

// Error is a refusal. Code is the service's word for it, or one of the common
// ones below, which protocols translate.
type Error struct {
	Status  int
	Code    string
	Message string
	// Details are what some services say besides, such as ArgumentName.
	Details []Detail
}

// Detail is one more element of an error's document.
type Detail struct{ Name, Value string }

// About returns the error with the argument that it is about.
func (e *Error) About(argument, value string) *Error {
	return e.With(Detail{"ArgumentName", argument}, Detail{"ArgumentValue", value})
}

// With returns the error with details.
func (e *Error) With(details ...Detail) *Error {
	more := *e
	more.Details = details
	return &more
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Common codes.
const (
	AccessDenied       = "AccessDenied"
	InvalidRequest     = "InvalidRequest"
	ServiceUnavailable = "ServiceUnavailable"
	RequestTimeout     = "RequestTimeout"
	TooLarge           = "MaxMessageLengthExceeded"
	SlowDown           = "SlowDown"
	InternalError      = "InternalError"
)

// Refuse is a 400.
func Refuse(code, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Errors of every protocol.
var (
	ErrUnavailable = &Error{Status: http.StatusServiceUnavailable, Code: ServiceUnavailable, Message: "Service is unable to handle request."}
	ErrTimeout     = &Error{Status: http.StatusBadRequest, Code: RequestTimeout, Message: "Your socket connection to the server was not read from or written to within the timeout period."}
	ErrTooLarge    = &Error{Status: http.StatusBadRequest, Code: TooLarge, Message: "Your request was too big."}
	ErrBusy        = &Error{Status: http.StatusServiceUnavailable, Code: SlowDown, Message: "Please reduce your request rate."}
	ErrInternal    = &Error{Status: http.StatusInternalServerError, Code: InternalError, Message: "We encountered an internal error. Please try again."}
	ErrBody        = &Error{Status: http.StatusBadRequest, Code: "IncompleteBody", Message: "The request body could not be read."}
)

// ErrNoRoom is what a reader of a body returns when there is no room for more.
var ErrNoRoom = errors.New("no room for another body")

// ReadAll reads a body that must be had whole, at most max bytes.
func ReadAll(r io.Reader, max int64) ([]byte, *Error) {
	body, err := io.ReadAll(io.LimitReader(r, max+1))
	switch {
	case errors.Is(err, ErrNoRoom):
		return nil, ErrBusy
	case err != nil:
		return nil, ErrBody
	case int64(len(body)) > max:
		return nil, ErrTooLarge
	}
	return body, nil
}

// PlainBody refuses a body that is not what its bytes say: compressed, or in
// signed chunks.
func PlainBody(h http.Header) *Error {
	if ce := h.Values("Content-Encoding"); len(ce) > 1 || len(ce) == 1 && !strings.EqualFold(ce[0], "identity") {
		return &Error{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "This operation takes a plain body, neither compressed nor aws-chunked."}
	}
	if strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return &Error{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "This operation takes a plain body, not aws-chunked."}
	}
	return nil
}

// Text reports whether a text can mean one thing only: UTF-8 without NUL.
func Text(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// Cut bounds a text for messages and logs.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
