// SPDX-License-Identifier: Apache-2.0

package call

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Bounds of a request line.
const (
	MaxURI    = 16 << 10
	maxParams = 100
)

// ErrURI is a request line that cannot be read, or in two ways.
var ErrURI = &Error{Status: http.StatusBadRequest, Code: "InvalidURI", Message: "Couldn't parse the specified URI."}

// Overriding are headers by which some servers let a client replace the
// request's host, path or method. They are none of AWS's: unsigned ones are
// dropped, signed ones cannot be and are refused.
var Overriding = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
	"X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Scheme", "X-Forwarded-Protocol",
	"X-Real-Ip", "X-Original-Url", "X-Original-Host", "X-Rewrite-Url", "X-Url-Scheme",
	"X-Host", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	HeaderContext, HeaderIdentity,
}

// DropOverriding takes all of them out, and those that servers which read "_" as
// "-" would take for one.
func DropOverriding(h http.Header) {
	for _, name := range Overriding {
		h.Del(name)
	}
	for name := range h {
		if strings.Contains(name, "_") && slices.Contains(Overriding, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(h, name)
		}
	}
}

// HeaderContext is where the edge tells a backend of this machine what it knows
// of a request's origin. Nobody else may say it.
const HeaderContext = "X-Postern-Context"

// lists are x-amz- headers of which every line adds to a list. Nothing is decided
// by them.
var lists = map[string]bool{"X-Amz-Object-Attributes": true, "X-Amz-Optional-Object-Attributes": true}

// HeaderIdentity is where the edge tells a backend who calls, signed.
const HeaderIdentity = "Postern-Identity"

// CheckHeaders refuses headers that could be read in two ways, and what would
// make a proxy change the request: an upgrade, and a Connection header that has
// other headers taken out. A policy could have asked for one of them.
func CheckHeaders(h http.Header) *Error {
	if h.Get("Upgrade") != "" {
		return Refuse(InvalidRequest, "The connection cannot be upgraded to another protocol.")
	}
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.TrimSpace(token)) {
			case "", "close", "keep-alive", "te":
			default:
				return Refuse(InvalidRequest, "The Connection header names a header that must be passed on.")
			}
		}
	}
	if len(h["Host"]) > 0 {
		// HTTP/2 only: HTTP/1 has the name nowhere else.
		return Refuse(InvalidRequest, "The request names its host twice.")
	}
	for name, values := range h {
		// Metadata is the object's own business, however it is called.
		meta := strings.HasPrefix(name, "X-Amz-Meta-")
		if !meta && strings.Contains(name, "_") && strings.HasPrefix(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "x-amz") {
			return Refuse(InvalidRequest, "The header %s could be taken for another.", Cut(name, 64))
		}
		if len(values) > 1 && (strings.HasPrefix(name, "X-Amz-") && !meta && !lists[name] ||
			name == "Authorization" || name == "User-Agent" || name == "Referer" || name == "Content-Type" || name == "If-Match" || name == "If-None-Match") {
			return Refuse(InvalidRequest, "The header %s appears twice.", Cut(name, 64))
		}
	}
	return nil
}

// CheckOverriding refuses signed headers that will not be passed on.
func (c Claim) CheckOverriding(h http.Header) *Error {
	for _, name := range Overriding {
		if len(h[name]) > 0 && c.Signs(name) {
			return Refuse(InvalidRequest, "The header %s is not passed on, send the request without it.", name)
		}
	}
	return nil
}

// SplitURI cuts a request line's URI. Bytes that end a URI for some servers and
// not for others are refused.
func SplitURI(uri string) (rawPath, rawQuery string, err *Error) {
	if len(uri) > MaxURI || !strings.HasPrefix(uri, "/") {
		return "", "", ErrURI
	}
	for _, c := range []byte(uri) {
		if c <= ' ' || c == 0x7f || c == '#' || c == '\\' {
			return "", "", ErrURI
		}
	}
	rawPath, rawQuery, _ = strings.Cut(uri, "?")
	return rawPath, rawQuery, nil
}

// Query holds parameters, decoded once.
type Query struct {
	Plain map[string]string // by name, all but those that start with x-amz-
	// amz are x-amz- headers and parameters by lower-case name: a presigned URL
	// has in its query what is a header otherwise.
	amz     map[string]string
	InQuery map[string]bool // which of them came as parameters
}

// Amz is the value of an x-amz- header or parameter, by its lower-case name.
func (q *Query) Amz(name string) string { return q.amz[name] }

// HasAmz reports whether there is an x-amz- header or parameter that starts so.
func (q *Query) HasAmz(prefix string) bool {
	if _, ok := q.amz[prefix]; ok {
		return true
	}
	for name := range q.amz {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// ParseQuery reads a query and the x-amz- headers. What could be read in two
// ways, such as a parameter that appears twice, is refused.
func ParseQuery(raw string, h http.Header) (*Query, *Error) {
	q := &Query{Plain: map[string]string{}, amz: map[string]string{}, InQuery: map[string]bool{}}
	for name, values := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && len(values) > 0 {
			q.amz[lower] = values[0]
		}
	}
	if strings.Contains(raw, ";") {
		return nil, ErrURI // a separator for some servers
	}
	err := eachParam(raw, maxParams, func(name, value string) *Error {
		table := q.Plain
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			name, table = lower, q.amz
			q.InQuery[lower] = true
		}
		if _, twice := table[name]; twice {
			return Refuse("InvalidArgument", "The parameter %q appears twice.", Cut(name, 64))
		}
		table[name] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// eachParam calls f for the parameters of a query or form, in order.
func eachParam(raw string, max int, f func(name, value string) *Error) *Error {
	n := 0
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if n++; n > max {
			return ErrURI
		}
		name, value, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || !Text(name) || !Text(value) {
			return ErrURI
		}
		if e := f(name, value); e != nil {
			return e
		}
	}
	return nil
}
