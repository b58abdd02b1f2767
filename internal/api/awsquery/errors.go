// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind says what is wrong with a request.
type Kind uint8

// Kinds of Error.
const (
	// KindMalformed: the query string or body cannot be read as parameters.
	KindMalformed Kind = iota + 1
	// KindMethod: the HTTP method is neither GET nor POST.
	KindMethod
	// KindTooLarge: the body is larger than the limit given to Parse.
	KindTooLarge
	// KindTooMany: too many parameters, or a list index above MaxIndex.
	KindTooMany
	// KindDuplicate: one parameter name, or one map key, was sent twice.
	KindDuplicate
	// KindMissing: a required parameter was not sent or is empty.
	KindMissing
	// KindInvalid: the value does not fit the parameter's type or enum.
	KindInvalid
	// KindUnknown: the operation has no such parameter.
	KindUnknown
	// KindUnsupported: the parameter exists in AWS and is refused here.
	KindUnsupported
)

var kindNames = [...]string{
	KindMalformed:   "malformed request",
	KindMethod:      "method not allowed",
	KindTooLarge:    "request too large",
	KindTooMany:     "too many parameters",
	KindDuplicate:   "duplicate parameter",
	KindMissing:     "missing parameter",
	KindInvalid:     "invalid parameter value",
	KindUnknown:     "unknown parameter",
	KindUnsupported: "unsupported parameter",
}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Error is what Parse and Decode return for a bad request. A bad struct type,
// which is a mistake in the program and not in the request, is another type of error.
type Error struct {
	Kind Kind
	// Parameter is the whole wire name, for example IpPermissions.1.FromPort;
	// empty when the error is about the request as a whole.
	Parameter string
	// Value is what was sent, whole; messages show a bounded part of it.
	Value string
	// Detail says what would be right; may be empty.
	Detail string
}

// Error returns one line with bounded, quoted pieces of the request.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Parameter != "" {
		b.WriteString(" " + strconv.Quote(clip(e.Parameter)))
	}
	if e.Value != "" {
		b.WriteString(" value " + strconv.Quote(clip(e.Value)))
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

// Code returns AWS's error code and HTTP status for the error. A service with
// its own codes (SNS says InvalidParameter) maps from Kind instead.
func (e *Error) Code(d Dialect) (code string, status int) {
	if d == JSON {
		switch e.Kind {
		case KindTooLarge:
			return "RequestEntityTooLargeException", http.StatusRequestEntityTooLarge
		case KindMethod:
			return "UnknownOperationException", http.StatusMethodNotAllowed
		case KindMalformed, KindDuplicate:
			return "SerializationException", http.StatusBadRequest
		}
		return "ValidationException", http.StatusBadRequest
	}
	switch e.Kind {
	case KindTooLarge:
		return "RequestEntityTooLarge", http.StatusRequestEntityTooLarge
	case KindMethod:
		return "MethodNotAllowed", http.StatusMethodNotAllowed
	case KindMalformed, KindDuplicate:
		if d == REST {
			return "MalformedInput", http.StatusBadRequest
		}
		return "MalformedQueryString", http.StatusBadRequest
	}
	if d == REST {
		return "InvalidInput", http.StatusBadRequest
	}
	if d == Query {
		if e.Kind == KindMissing {
			return "MissingParameter", http.StatusBadRequest
		}
		return "ValidationError", http.StatusBadRequest
	}
	switch e.Kind {
	case KindMissing:
		return "MissingParameter", http.StatusBadRequest
	case KindUnknown:
		return "UnknownParameter", http.StatusBadRequest
	case KindUnsupported:
		return "UnsupportedOperation", http.StatusBadRequest
	}
	return "InvalidParameterValue", http.StatusBadRequest
}

// Message returns the sentence for the client. It shows at most 64 bytes of
// what the client sent.
func (e *Error) Message() string {
	name := clip(e.Parameter)
	detail := ""
	if e.Detail != "" {
		detail = " " + capitalise(e.Detail) + "."
	}
	switch e.Kind {
	case KindMissing:
		return "The request must contain the parameter " + name
	case KindInvalid:
		return "Value (" + clip(e.Value) + ") for parameter " + name + " is invalid." + detail
	case KindUnknown:
		return "The parameter " + name + " is not recognized." + detail
	case KindUnsupported:
		return "The parameter " + name + " is not supported by this endpoint." + detail
	case KindDuplicate:
		return "The parameter " + name + " was sent more than once." + detail
	case KindTooMany:
		if name == "" {
			return "The request has too many parameters." + detail
		}
		return "The parameter " + name + " exceeds a limit." + detail
	case KindTooLarge:
		return "The request is too large." + detail
	case KindMethod:
		return "The request must use the method GET or POST."
	}
	return "The request could not be read." + detail
}

// clip bounds a piece of a request for a message, at a rune boundary.
func clip(s string) string {
	const limit = 64
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

func capitalise(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
