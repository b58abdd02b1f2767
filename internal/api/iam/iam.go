// SPDX-License-Identifier: Apache-2.0

// Package iam is the part of the IAM Query API (version 2010-05-08) that is
// needed to have users, roles and managed policies: what Terraform's resources
// for them call. Each action is an input struct, an output struct and a
// function between them; awsquery reads and writes the structs, control does
// the work.
//
// There are no groups, instance profiles, login profiles, MFA devices,
// certificates or permissions boundaries: lists of what a user could have of
// them are empty, and what would make one answers InvalidAction by name, or
// ValidationError for a parameter.
package iam

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// Call is one authenticated request on its way through an action.
type Call = actions.Call

// Actions holds the actions that exist.
var Actions = actions.Table{Service: awsquery.ServiceIAM, Code: errorCode}

// register adds an action. fn gets the decoded input, whose page is one that
// can be: also a list that is always empty refuses a marker that is not ours.
func register[In, Out any](name string, fn func(*Call, *In) (*Out, error)) {
	actions.Add(&Actions, name, func(c *Call, in *In) (*Out, error) {
		if p, ok := any(in).(interface{ check() error }); ok {
			if err := p.check(); err != nil {
				return nil, err
			}
		}
		return fn(c, in)
	})
}

// void is the output of actions that answer nothing.
type void struct{}

// Paging is embedded by the inputs of lists.
type Paging struct {
	Marker   string `query:"Marker"`
	MaxItems *int32 `query:"MaxItems"`
}

// Page is embedded by the outputs of lists.
type Page struct {
	IsTruncated bool   `xml:"IsTruncated"`
	Marker      string `xml:"Marker,omitempty"`
}

const (
	defaultItems = 100
	maxItems     = 1000
	markerStart  = "after:" // what a marker is, before the last key shown
)

func (p Paging) check() error {
	if n := p.items(); n < 1 || n > maxItems {
		return vpc.Errorf(vpc.Invalid, "maxItems", "", "1 validation error detected: Value '%d' at 'maxItems' failed to satisfy constraint: must be from 1 to %d", n, maxItems)
	}
	if _, ok := p.after(); p.Marker != "" && !ok {
		return vpc.Errorf(vpc.BadToken, "Marker", "", "Invalid Marker: %.64s", p.Marker)
	}
	return nil
}

func (p Paging) items() int {
	if p.MaxItems == nil {
		return defaultItems
	}
	return int(*p.MaxItems)
}

// after is the last key of the page before, false if there is none.
func (p Paging) after() (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(p.Marker)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(raw), markerStart)
}

// page cuts a list to what was asked for; register has checked p. The list is
// put in the order of its keys, and a marker is the last key shown, so that
// what is made or deleted between two calls moves nothing else.
func page[T any](p Paging, list []T, key func(T) string) ([]T, Page, error) {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if after, ok := p.after(); ok {
		i, found := slices.BinarySearchFunc(list, after, func(x T, k string) int { return cmp.Compare(key(x), k) })
		if found {
			i++
		}
		list = list[i:]
	}
	n := p.items()
	if len(list) <= n {
		return list, Page{}, nil
	}
	list = list[:n]
	return list, Page{true, base64.RawURLEncoding.EncodeToString([]byte(markerStart + key(list[n-1])))}, nil
}

// Tag is one tag.
type Tag struct {
	Key   string `query:"Key,required" xml:"Key"`
	Value string `query:"Value" xml:"Value"`
}

// tagsOf reads tags; a key must not be there twice.
func tagsOf(list []Tag) (vpc.Tags, error) {
	tags := vpc.Tags{}
	for _, t := range list {
		if _, dup := tags[t.Key]; dup {
			return nil, vpc.Errorf(vpc.Invalid, "Tag", t.Key, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// tagList is tags as they are answered.
func tagList(tags vpc.Tags) []Tag {
	out := []Tag{}
	for k, v := range tags {
		out = append(out, Tag{k, v})
	}
	slices.SortFunc(out, func(a, b Tag) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// escaped is a policy document as IAM answers it: percent-encoded by RFC 3986.
func escaped(doc string) string { return strings.ReplaceAll(url.QueryEscape(doc), "+", "%20") }

// errorCode turns an error into AWS's code, HTTP status and message. What is
// no error of ours is an internal error whose text stays here.
func errorCode(_ string, err error) (code string, status int, message string) {
	var q *awsquery.Error
	if errors.As(err, &q) {
		code, status := q.Code(awsquery.Query)
		if q.Kind == awsquery.KindMissing {
			code = "ValidationError" // this service's spelling
		}
		return code, status, q.Message()
	}
	var e *vpc.Error
	if !errors.As(err, &e) {
		return "ServiceFailure", http.StatusInternalServerError, "An internal error has occurred"
	}
	message = e.Error()
	switch e.Kind {
	case vpc.NotFound:
		return "NoSuchEntity", http.StatusNotFound, message
	case vpc.Duplicate:
		return "EntityAlreadyExists", http.StatusConflict, message
	case vpc.InUse:
		return "DeleteConflict", http.StatusConflict, message
	case vpc.Limit:
		return "LimitExceeded", http.StatusConflict, message
	case vpc.BadPolicy:
		return "MalformedPolicyDocument", http.StatusBadRequest, message
	case vpc.Denied, vpc.NotPermitted:
		return "AccessDenied", http.StatusForbidden, message
	case vpc.Unavailable:
		return "ServiceUnavailable", http.StatusServiceUnavailable, message
	case vpc.Invalid:
		if e.Resource == "Tag" {
			return "InvalidInput", http.StatusBadRequest, message
		}
	}
	return "ValidationError", http.StatusBadRequest, message
}
