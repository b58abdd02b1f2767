// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/tally"
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
	Judgement
	// Candidate is what the endpoint's candidate policy would have made of it.
	Candidate *Candidate `json:"candidate,omitempty"`
	// ServiceError is code and message of the service's own refusal, of what the
	// policies allowed.
	ServiceError string `json:"serviceError,omitempty"`
	// Error is what went wrong between the edge and the backend or client.
	Error string `json:"error,omitempty"`
}

// Judgement is what policies made of a request.
type Judgement struct {
	// Decision is allow, deny or invalid. Statement is the index of the policy
	// statement that decided, -1 if none did; Sid and Condition are its. For a
	// deny without Explicit it is the statement that came nearest to allowing.
	Decision  string `json:"decision"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
	Condition string `json:"condition,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// Policy is the kind of the policy that decided: endpoint, or identity for
	// one of the user's, which has no statement here.
	Policy   string `json:"policy,omitempty"`
	Explicit bool   `json:"explicit,omitempty"` // a Deny statement applied
	// Failed are the conditions for the lack of which the nearest statement did
	// not allow it, with the request's values. FailedLeftOut counts the others.
	Failed        []FailedCondition `json:"failedConditions,omitempty"`
	FailedLeftOut int               `json:"failedConditionsLeftOut,omitempty"`
	// Remedy is what would make that policy allow the request.
	Remedy string `json:"remedy,omitempty"`
}

// FailedCondition is a condition that a request did not meet.
type FailedCondition struct {
	Operator string   `json:"operator"`
	Key      string   `json:"key"`
	Want     []string `json:"want"` // the policy's values
	Have     []string `json:"have"` // the request's, none if the key is absent
}

// Candidate is a judgement that counted for nothing.
type Candidate struct {
	// Set is since when the endpoint has this candidate policy: it tells it from
	// the ones before.
	Set time.Time `json:"set"`
	// Action and Resource are what it would have denied, if not the record's.
	Action   string `json:"action,omitempty"`
	Resource string `json:"resource,omitempty"`
	Judgement
}

// Bounds of the conditions in a judgement.
const (
	maxFailed       = 8
	maxFailedValues = 5
	maxFailedValue  = 128
)

// judgement is a verdict as it is recorded.
func (v *verdict) judgement() Judgement {
	j := Judgement{
		Decision: DecisionAllow, Statement: v.Statement, Sid: v.Sid, Condition: v.Condition, Reason: v.Reason,
		Policy: string(v.by), Explicit: v.Explicit, Remedy: v.Remedy,
	}
	if v.Allowed {
		return j
	}
	j.Decision = DecisionDeny
	for i, f := range v.Failed {
		if i == maxFailed {
			j.FailedLeftOut = len(v.Failed) - maxFailed
			break
		}
		j.Failed = append(j.Failed, FailedCondition{
			f.Operator, call.Cut(strings.ToValidUTF8(f.Key, "\uFFFD"), maxFailedValue), boundedList(f.Want), boundedList(f.Have),
		})
	}
	return j
}

// boundedList cuts values, and says how many are left out in the place of the last.
func boundedList(values []string) []string {
	out := make([]string, 0, min(len(values), maxFailedValues+1))
	for i, v := range values {
		if i == maxFailedValues {
			return append(out, fmt.Sprintf("(%d more)", len(values)-maxFailedValues))
		}
		out = append(out, call.Cut(strings.ToValidUTF8(v, "\uFFFD"), maxFailedValue))
	}
	return out
}

// noteCandidate puts the verdict of a candidate policy in the record.
func (r *Record) noteCandidate(set time.Time, v verdict) {
	r.Candidate = &Candidate{Set: set, Judgement: v.judgement()}
	if !v.Allowed {
		r.Candidate.Action, r.Candidate.Resource = v.check.Action, v.resource
	}
}

// DeniedBy is the kind of the policy that denied a request, tally.ByService if the
// service itself did, and "" if nobody did.
func (r *Record) DeniedBy() string {
	switch {
	case r.Decision == DecisionDeny:
		return cmp.Or(r.Policy, tally.ByEndpoint) // records of an earlier version
	case r.Decision == DecisionAllow && r.refused():
		return tally.ByService
	}
	return ""
}

// refused reports whether the service itself denied a request. Some say so
// with a 400.
func (r *Record) refused() bool {
	code, _, _ := strings.Cut(r.ServiceError, ":")
	return r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden || r.Status == http.StatusBadRequest && DeniedCode(code)
}

// DeniedCode reports whether an error's code says that its caller may not do it.
func DeniedCode(code string) bool {
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError":
		return true
	}
	return false
}

// NewlyDenied reports whether a request was allowed, and the candidate policy would
// have denied it.
func (r *Record) NewlyDenied() bool {
	return r.Candidate != nil && r.Candidate.Decision == DecisionDeny && r.Decision == DecisionAllow
}

// Tally is what is counted of a request.
func (r *Record) Tally() tally.Request {
	t := tally.Request{
		Time: r.Time, Endpoint: r.Endpoint, VPC: r.VPC, Service: r.Service,
		Allowed: r.Decision == DecisionAllow, Invalid: r.Decision == DecisionInvalid, Error: r.Status >= http.StatusInternalServerError,
		Uploaded: r.BytesIn, Downloaded: r.BytesOut,
	}
	switch by := r.DeniedBy(); by {
	case "":
	case tally.ByService:
		t.Denied = tally.Statement{Policy: by, Statement: -1}
	default:
		t.Denied = tally.Statement{Policy: by, Statement: r.Statement, Sid: r.Sid, Explicit: r.Explicit}
	}
	if r.NewlyDenied() {
		c := r.Candidate
		t.Candidate, t.CandidateSet = tally.Statement{Policy: cmp.Or(c.Policy, tally.ByEndpoint), Statement: c.Statement, Sid: c.Sid, Explicit: c.Explicit}, c.Set
	}
	return t
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
	boundTexts(
		&r.BackendRequestID, &r.AccessKey, &r.Principal, &r.Method, &r.Host, &r.Action, &r.Resource, &r.Bucket, &r.Key,
		&r.UserAgent, &r.ServiceError, &r.Error,
	)
	r.Judgement.bound()
	if c := r.Candidate; c != nil {
		boundTexts(&c.Action, &c.Resource)
		c.Judgement.bound()
	}
}

func (j *Judgement) bound() { boundTexts(&j.Sid, &j.Condition, &j.Reason, &j.Remedy) }

func boundTexts(fields ...*string) {
	for _, f := range fields {
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
