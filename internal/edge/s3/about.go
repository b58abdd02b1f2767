// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// Object is an object, or without a key a bucket.
type Object struct {
	Bucket  string `json:"bucket"`
	Key     string `json:"key,omitempty"`
	Version string `json:"version,omitempty"` // "" for the current one
}

// tagged are the actions for which s3:ExistingObjectTag is a condition key. Those
// on a version are true: without one in their name, backends act on the current
// version.
var tagged = map[string]bool{
	"s3:GetObject": false, "s3:GetObjectVersion": true, "s3:GetObjectAcl": false, "s3:GetObjectVersionAcl": true,
	"s3:GetObjectTagging": false, "s3:GetObjectVersionTagging": true, "s3:PutObjectTagging": false, "s3:PutObjectVersionTagging": true,
	"s3:DeleteObjectTagging": false, "s3:DeleteObjectVersionTagging": true, "s3:PutObjectAcl": false, "s3:PutObjectVersionAcl": true,
}

// About is the bucket that a check of a call is about and, if the tags of an object
// are a condition of its action, that object. ok is false for a check of all buckets.
//
// A write is about no object that is there: its tags and ACL are those of the new
// one.
func About(c *call.Call, k call.Check) (o Object, ok bool) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(k.Resource, "arn:aws:s3:::"), "/")
	if bucket == "" || bucket == "*" {
		return Object{}, false
	}
	o.Bucket = bucket
	versioned, ok := tagged[k.Action]
	if !ok || c.Checks[0].Action == "s3:PutObject" && strings.HasPrefix(k.Action, "s3:Put") {
		return o, true
	}
	o.Key = key
	if v := k.Context["s3:VersionId"]; versioned && len(v) == 1 {
		o.Version = v[0]
	}
	return o, true
}
