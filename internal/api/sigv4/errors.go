// SPDX-License-Identifier: Apache-2.0

package sigv4

import "strconv"

// Kind says why a request was not accepted. The API layer turns it into the
// service's error code.
type Kind uint8

// Kinds of Error.
const (
	// MissingAuth: neither an Authorization header nor X-Amz-Signature.
	MissingAuth Kind = iota + 1
	// Malformed: the authentication fields are incomplete or cannot be read.
	Malformed
	// UnknownKey: there is no credential with this access key id.
	UnknownKey
	// BadSignature: the signature is wrong, or does not cover what it must.
	BadSignature
	// Skew: the request's time is too far from the server's.
	Skew
	// Expired: the presigned request's time is over.
	Expired
	// BadToken: the session token is missing, wrong, or not expected.
	BadToken
	// ExpiredToken: the credential itself is no longer valid.
	ExpiredToken
	// BadScope: the region or service is not one of this endpoint, or the
	// scope's date is not the request's.
	BadScope
	// PayloadMismatch: the body does not have the signed hash, or an unsigned
	// body is not accepted here.
	PayloadMismatch
)

var kindNames = [...]string{
	MissingAuth:     "missing authentication",
	Malformed:       "malformed authentication",
	UnknownKey:      "unknown access key",
	BadSignature:    "signature does not match",
	Skew:            "request time too skewed",
	Expired:         "request expired",
	BadToken:        "bad session token",
	ExpiredToken:    "expired session token",
	BadScope:        "wrong credential scope",
	PayloadMismatch: "payload hash does not match",
}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Error is every error of Verify. Reason is a short sentence that is safe to
// show to the client; it may quote a bounded part of what the client sent.
type Error struct {
	Kind   Kind
	Reason string
}

// Error returns the kind and the reason.
func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Kind.String()
	}
	return e.Kind.String() + ": " + e.Reason
}

func fail(k Kind, reason string) *Error { return &Error{Kind: k, Reason: reason} }

// quote shows a bounded piece of client input.
func quote(s string) string {
	const limit = 64
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strconv.Quote(s)
}
