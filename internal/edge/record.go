// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"postern.dev/postern/internal/edge/call"
)

// Decisions in a record.
const (
	DecisionAllow   = "allow"   // the policy allows it; the backend had the last word
	DecisionDeny    = "deny"    // the policy, or the lack of one that fits
	DecisionInvalid = "invalid" // refused before any policy was asked
)

// Record is one request in the access log, one JSON object on a line. Values
// that a client chose are bounded.
type Record struct {
	Time      time.Time `json:"time"` // when the request's header was read
	RequestID string    `json:"requestId"`
	// BackendRequestID is the x-amz-request-id the backend answered with.
	BackendRequestID string `json:"backendRequestId,omitempty"`
	Endpoint         string `json:"endpoint"`
	VPC              string `json:"vpc"`
	Service          string `json:"service"`
	Client           string `json:"client"` // private address:port
	Interface        string `json:"interface,omitempty"`
	InterfaceOwner   string `json:"interfaceOwner,omitempty"`
	// AccessKey and Principal are what the signature claims.
	AccessKey string `json:"accessKey,omitempty"`
	Principal string `json:"principal,omitempty"`
	Method    string `json:"method"`
	Host      string `json:"host"`
	Action    string `json:"action,omitempty"`
	Resource  string `json:"resource,omitempty"`
	// Further is what the policy was asked about beside Action on Resource, each
	// once: the source of a copy, the objects of a batch, the tables of a
	// transaction. FurtherLeftOut counts what is not named here.
	Further        []Asked `json:"further,omitempty"`
	FurtherLeftOut int     `json:"furtherLeftOut,omitempty"`
	Bucket         string  `json:"bucket,omitempty"`
	Key            string  `json:"key,omitempty"`
	UserAgent      string  `json:"userAgent,omitempty"`
	Secure         bool    `json:"secure"` // TLS
	Status         int     `json:"status"` // 0 if the connection ended before an answer
	// BytesIn and BytesOut count bodies.
	BytesIn    int64 `json:"bytesIn"`
	BytesOut   int64 `json:"bytesOut"`
	DurationMS int64 `json:"durationMs"`
	// Decision is allow, deny or invalid. Statement is the index of the policy
	// statement that decided, -1 if none did; Sid and Condition are its.
	Decision  string `json:"decision"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
	Condition string `json:"condition,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// Error is what went wrong between the edge and the backend or client.
	Error string `json:"error,omitempty"`
}

// Asked is one action on one resource that a request needs.
type Asked struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// maxFurther bounds what a record names.
const maxFurther = 100

// noteFurther puts a call's checks beside its own in the record.
func (r *Record) noteFurther(checks []call.Check) {
	if len(checks) == 1 {
		return
	}
	seen := map[Asked]bool{}
	for _, c := range checks[1:] {
		a := Asked{call.Cut(c.Action, maxField), call.Cut(strings.ToValidUTF8(c.Resource, "\uFFFD"), maxField)}
		if seen[a] || a.Action == r.Action && a.Resource == r.Resource {
			continue
		}
		seen[a] = true
		if len(r.Further) < maxFurther {
			r.Further = append(r.Further, a)
		} else {
			r.FurtherLeftOut++
		}
	}
}

// maxField bounds a value in a record; a key fits.
const maxField = 1100

func (r *Record) bound() {
	for _, f := range []*string{
		&r.BackendRequestID, &r.AccessKey, &r.Principal, &r.Method, &r.Host, &r.Action, &r.Resource, &r.Bucket, &r.Key,
		&r.UserAgent, &r.Sid, &r.Condition, &r.Reason, &r.Error,
	} {
		*f = call.Cut(strings.ToValidUTF8(*f, "\uFFFD"), maxField)
	}
}

// newRequestID makes an id that looks like S3's.
func newRequestID() (requestID, hostID string) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	text := strings.ToUpper(hex.EncodeToString(b[:]))
	return text[:16], text[16:]
}
