// SPDX-License-Identifier: Apache-2.0

// Package s3 reads requests as Amazon S3 does: which operations they are, on which
// buckets and keys, with which condition keys.
//
// What is judged is what is sent, and a key such as "a//b" or "a/../b" is also
// judged as a backend would read it that tidies paths up. A subresource that not
// every backend knows is also judged as the request without it.
//
// Only small bodies are read whole, those that the meaning of a call is in:
// DeleteObjects, tags, locks, a bucket's location. Of a posted form the fields in
// front of the file are read, and what comes after the file is looked at in
// passing.
package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

const maxKey = 1024 // bytes, S3's

// s3call is a call in the making.
type s3call struct {
	*call.Call
	operation operation
	query     *call.Query
	request   call.Request
}

// Read says what a request does.
func Read(r call.Request) (*call.Call, *call.Error) {
	rawPath, rawQuery, err := call.SplitURI(r.URI)
	if err != nil {
		return nil, err
	}
	if err := call.CheckHeaders(r.Header); err != nil {
		return nil, err
	}
	c := &s3call{Call: call.New(), request: r}
	if c.query, err = call.ParseQuery(rawQuery, r.Header); err != nil {
		return nil, err
	}
	if c.Bucket, c.Key, err = splitPath(rawPath, r.Label); err != nil {
		return nil, err
	}
	if c.Claim, err = call.ReadClaim(r.Header, c.query, "s3"); err != nil {
		return nil, err
	}
	if err := c.Claim.CheckOverriding(r.Header); err != nil {
		return nil, err
	}
	sub, err := c.findOperation()
	if err != nil {
		return nil, err
	}
	if c.Unknown == "" && c.operation.form {
		if c.Claim.KeyID != "" {
			return nil, call.Refuse("InvalidArgument", "A form is signed in its fields.")
		}
		return c.Call, c.readForm()
	}
	if c.Unknown == "" {
		if media := r.Header.Get("Content-Type"); c.operation.also != "" && r.Method == http.MethodPost && strings.HasPrefix(strings.ToLower(strings.TrimSpace(media)), "multipart/") {
			// Without the subresource it would be a form, whose key is in the body.
			return nil, call.Refuse("InvalidArgument", "A configuration is no form.")
		}
		c.addChecks(sub)
		if err := c.addCopySource(sub); err != nil {
			return nil, err
		}
	}
	if err := c.fillContext(); err != nil {
		return nil, err
	}
	return c.Call, nil
}

// check makes a check of an object or, without a key, of a bucket.
func check(action, bucket, key, version string) call.Check {
	k := call.Check{Action: action, Resource: arn(bucket, key)}
	if t := tidied(key); key != "" && t != key {
		k.Also = []string{arn(bucket, t)}
	}
	if version != "" {
		k.Context = map[string][]string{"s3:VersionId": {version}}
	}
	return k
}

func arn(bucket, key string) string {
	switch {
	case bucket == "":
		return "arn:aws:s3:::*" // as policies name all buckets
	case key == "":
		return "arn:aws:s3:::" + bucket
	}
	return "arn:aws:s3:::" + bucket + "/" + key
}

// splitPath decodes a path, once, and takes bucket and key from it. fromHost is
// the bucket that Host names.
func splitPath(rawPath, fromHost string) (bucket, key string, _ *call.Error) {
	decoded, err := url.PathUnescape(rawPath)
	if err != nil || !call.Text(decoded) {
		return "", "", call.ErrURI
	}
	bucket, key = fromHost, decoded[1:]
	if fromHost == "" {
		bucket, key, _ = strings.Cut(decoded[1:], "/")
		if bucket == "" && key == "" {
			return "", "", nil
		}
	}
	if e := checkName(bucket, key); e != nil {
		return "", "", e
	}
	return bucket, key, nil
}

// checkName refuses buckets and keys that S3 refuses, and keys that a backend
// which tidies paths up would take for the bucket itself.
func checkName(bucket, key string) *call.Error {
	if len(bucket) < 3 || len(bucket) > 255 || bucket[0] == '.' || bucket[0] == '-' {
		return call.Refuse("InvalidBucketName", "The specified bucket is not valid.")
	}
	for _, c := range []byte(bucket) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return call.Refuse("InvalidBucketName", "The specified bucket is not valid.")
		}
	}
	if key == "" {
		return nil
	}
	if len(key) > maxKey {
		return errKeyTooLong
	}
	if !call.Text(key) {
		return call.ErrURI
	}
	// S3's rule for "..": read from the left, they never outnumber the names.
	depth := 0
	for seg := range strings.SplitSeq(key, "/") {
		switch seg {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return errKey
		}
	}
	if tidied(key) == "" {
		return errKey
	}
	return nil
}

// tidied is a key as a backend may read it that treats keys as paths.
func tidied(key string) string {
	out := path.Clean("/" + key)[1:]
	if out != "" && strings.HasSuffix(key, "/") {
		out += "/"
	}
	return out
}

// findOperation looks up what a request does. Parameters that do not belong to it
// make it unknown.
func (c *s3call) findOperation() (string, *call.Error) {
	s := onObject
	switch {
	case c.Bucket == "":
		s = onService
	case c.Key == "":
		s = onBucket
	}
	method := c.request.Method
	sub := ""
	for name, value := range c.query.Plain {
		if !subresources[s][name] {
			continue
		}
		if sub != "" {
			return "", call.Refuse(call.InvalidRequest, "The subresources %s and %s exclude each other.", min(sub, name), max(sub, name))
		}
		sub = name
		if (name == "uploadId") == (value == "") {
			// "?acl=x" and "?uploadId=" are read as a plain request by some.
			return "", call.Refuse("InvalidArgument", "The parameter %s has a value that it cannot have.", name)
		}
	}
	o, ok := operations[opKey{s, method, sub}]
	if !ok {
		switch method {
		case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions:
		default:
			return "", &call.Error{Status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed", Message: "The specified method is not allowed against this resource."}
		}
		c.MakeUnknown("s3", "no action is known for %s with subresource %q", method, sub)
		return sub, nil
	}
	for name := range c.query.Plain {
		switch {
		case name == sub || name == "x-id": // x-id is a remark of the SDKs
		case c.Claim.Version == "AWS" && (name == "AWSAccessKeyId" || name == "Signature" || name == "Expires"):
		case !slices.Contains(o.params, name):
			c.MakeUnknown("s3", "no action is known for %s with parameter %q", method, call.Cut(name, 64))
			return sub, nil
		}
	}
	c.operation = o
	return sub, nil
}

// addChecks adds what the operation needs and what the headers of a write also do:
// set an ACL, tags, a lock. S3 asks for these actions besides the write's own.
func (c *s3call) addChecks(sub string) {
	o, q := c.operation, c.query
	version, named := q.Plain["versionId"]
	add := func(action string) {
		c.Checks = append(c.Checks, check(action, c.Bucket, c.Key, version))
	}
	if version == "" {
		add(o.action)
	}
	if named && (version != "" || o.versioned != o.action) {
		// An empty version is none to some backends, and one to others.
		add(o.versioned)
	}
	if o.also != "" {
		add(o.also)
	}
	switch {
	case sub == "acl" && version != "":
		add(o.action) // not every backend keeps ACLs by version
	case sub == "attributes":
		// GetObjectAttributes also needs what reading the object needs.
		if version == "" {
			add("s3:GetObject")
		}
		if named {
			add("s3:GetObjectVersion")
		}
	}
	if q.Amz("x-amz-bypass-governance-retention") != "" {
		add("s3:BypassGovernanceRetention")
	}
	if max := int64(maxSmallBody); o.body != nil {
		if sub == "delete" {
			max = maxBulkBody
		}
		c.Body = func(r io.Reader) (io.Reader, *call.Error) {
			if e := call.PlainBody(c.request.Header); e != nil {
				return nil, e
			}
			body, e := call.ReadAll(r, max)
			if e != nil {
				return nil, e
			}
			if e = o.body(c, body); e != nil {
				// A body that is not the one that was signed comes first.
				if wrong := c.checkHash(body); wrong != nil {
					e = wrong
				}
			}
			return bytes.NewReader(body), e
		}
	}
	if o.writes {
		c.addWriteChecks(add)
	}
}

// checkHash compares a body with the hash of it that the request gives.
func (c *s3call) checkHash(body []byte) *call.Error {
	claimed := c.request.Header.Get("X-Amz-Content-Sha256")
	if len(claimed) != hex.EncodedLen(sha256.Size) {
		return nil
	}
	sum := sha256.Sum256(body)
	if have := hex.EncodeToString(sum[:]); !strings.EqualFold(have, claimed) {
		return call.Refuse("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.").With(
			call.Detail{Name: "ClientComputedContentSHA256", Value: claimed}, call.Detail{Name: "S3ComputedContentSHA256", Value: have})
	}
	return nil
}

func (c *s3call) addWriteChecks(add func(action string)) {
	q := c.query
	acl := "s3:PutObjectAcl"
	if c.Key == "" {
		acl = "s3:PutBucketAcl"
		if q.HasAmz("x-amz-object-ownership") {
			add("s3:PutBucketOwnershipControls")
		}
	}
	if q.HasAmz("x-amz-acl") || q.HasAmz("x-amz-grant-") {
		add(acl)
	}
	if c.Key == "" {
		if q.HasAmz("x-amz-bucket-object-lock-enabled") {
			add("s3:PutBucketObjectLockConfiguration")
			add("s3:PutBucketVersioning")
		}
		return
	}
	if q.Amz("x-amz-tagging") != "" {
		add("s3:PutObjectTagging")
	}
	if q.HasAmz("x-amz-object-lock-mode") || q.HasAmz("x-amz-object-lock-retain-until-date") {
		add("s3:PutObjectRetention")
	}
	if q.HasAmz("x-amz-object-lock-legal-hold") {
		add("s3:PutObjectLegalHold")
	}
}

// addCopySource adds the read that a copy is.
func (c *s3call) addCopySource(sub string) *call.Error {
	if _, present := c.request.Header["X-Amz-Copy-Source"]; !present && !c.query.InQuery["x-amz-copy-source"] {
		return nil
	}
	if c.request.Method != http.MethodPut || c.Key == "" || sub != "" && sub != "uploadId" {
		return badCopySource("You can only specify a copy source header for copy requests.", c.query.Amz("x-amz-copy-source"))
	}
	sources, err := parseCopySource(c.query.Amz("x-amz-copy-source"))
	if err != nil {
		return err
	}
	c.Checks = append(c.Checks, sources...)
	return nil
}

func badCopySource(why, value string) *call.Error {
	return call.Refuse("InvalidArgument", "%s", why).About("x-amz-copy-source", call.Cut(value, maxKey))
}

// parseCopySource reads "bucket/key" or "/bucket/key", URL-encoded, with an
// optional "?versionId=". A "+" is a space to some servers and itself to others:
// then both readings must be allowed.
func parseCopySource(raw string) ([]call.Check, *call.Error) {
	bad := badCopySource("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", raw)
	if len(raw) > call.MaxURI {
		return nil, bad
	}
	name, versionID, versioned := strings.Cut(raw, "?")
	if versioned {
		v, ok := strings.CutPrefix(versionID, "versionId=")
		if !ok || v == "" || strings.ContainsAny(v, "?&;#") {
			return nil, bad
		}
		decoded, err := url.QueryUnescape(v)
		if err != nil || !call.Text(decoded) {
			return nil, bad
		}
		versionID = decoded
	}
	name = strings.TrimPrefix(name, "/")
	readings := []string{name}
	if strings.Contains(name, "+") {
		readings = append(readings, strings.ReplaceAll(name, "+", "%20"))
	}
	var out []call.Check
	for _, n := range readings {
		decoded, err := url.PathUnescape(n)
		if err != nil || !call.Text(decoded) {
			return nil, badCopySource("Invalid copy source encoding", raw)
		}
		bucket, key, _ := strings.Cut(decoded, "/")
		if checkName(bucket, "") != nil {
			return nil, badCopySource("Invalid copy source bucket name", raw)
		}
		if key == "" || checkName(bucket, key) != nil {
			return nil, badCopySource("Invalid copy source object key", key)
		}
		action := "s3:GetObject"
		if versioned {
			action = "s3:GetObjectVersion"
		}
		out = append(out, check(action, bucket, key, versionID))
	}
	return out, nil
}
