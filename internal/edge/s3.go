// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// s3Request is what of an HTTP request decides what it is.
type s3Request struct {
	Method string
	// URI is the request line's, byte for byte: a path and maybe a query.
	URI string
	// Bucket is the one that Host names, "" for path style.
	Bucket string
	Header http.Header
}

// s3Check is one thing the policy must allow.
type s3Check struct {
	Action      string // s3:...
	Bucket, Key string // both "" for all buckets
	VersionID   string
}

// resource is the check's ARN.
func (c s3Check) resource() string {
	switch {
	case c.Bucket == "":
		return "*"
	case c.Key == "":
		return "arn:aws:s3:::" + c.Bucket
	}
	return "arn:aws:s3:::" + c.Bucket + "/" + c.Key
}

// s3Call is a request as S3 understands it.
type s3Call struct {
	// Bucket and Key of the request line; Key is verbatim, decoded once.
	Bucket, Key string
	// Checks must all be allowed. The first is the call's own.
	Checks []s3Check
	// Bulk is DeleteObjects: the keys to check are in the body.
	Bulk bool
	// Claim is what the signature says of the caller.
	Claim claim
	// Context holds the condition keys of the request itself.
	Context map[string][]string
}

// Bounds of a request line.
const (
	maxURI    = 16 << 10
	maxParams = 100
	maxKey    = 1024 // bytes, S3's
)

// overriding are headers by which some servers let a client replace the
// request's host, path or method. They are none of S3's: unsigned ones are
// dropped, signed ones cannot be and are refused.
var overriding = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
	"X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Scheme", "X-Forwarded-Protocol",
	"X-Real-Ip", "X-Original-Url", "X-Original-Host", "X-Rewrite-Url", "X-Url-Scheme",
	"X-Host", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
}

// classifyS3 says what a request does. Everything it does not know is refused.
func classifyS3(r s3Request) (*s3Call, *s3Error) {
	rawPath, rawQuery, err := splitURI(r.URI)
	if err != nil {
		return nil, err
	}
	if e := checkHops(r.Header); e != nil {
		return nil, e
	}
	for name, values := range r.Header {
		if len(values) > 1 && (strings.HasPrefix(name, "X-Amz-") && !strings.HasPrefix(name, "X-Amz-Meta-") ||
			name == "Authorization" || name == "User-Agent" || name == "Referer") {
			return nil, refuse("InvalidRequest", "The header %s appears twice.", name)
		}
	}
	q, err := parseQuery(rawQuery, r.Header)
	if err != nil {
		return nil, err
	}
	call := &s3Call{Context: map[string][]string{}}
	if call.Bucket, call.Key, err = splitPath(rawPath, r.Bucket); err != nil {
		return nil, err
	}
	if call.Claim, err = readClaim(r.Header, q); err != nil {
		return nil, err
	}
	if len(q.inQuery) > 0 && call.Claim.Auth != authQuery {
		// Only presigning moves headers to the query; elsewhere servers differ
		// in whether they look there.
		return nil, denied("x-amz- parameters belong to presigned requests only")
	}
	for _, name := range overriding {
		if r.Header.Get(name) != "" && call.Claim.signs(name) {
			return nil, refuse("InvalidRequest", "The header %s is not passed on, send the request without it.", name)
		}
	}
	o, sub, err := findOperation(r.Method, call, q)
	if err != nil {
		return nil, err
	}
	call.Bulk = o.bulk
	action, version := o.action, q.plain["versionId"]
	if version != "" {
		action = o.versioned
	}
	call.Checks = []s3Check{{action, call.Bucket, call.Key, version}}
	if sub == "attributes" {
		// GetObjectAttributes also needs what reading the object needs.
		also := "s3:GetObject"
		if version != "" {
			also = "s3:GetObjectVersion"
		}
		call.Checks = append(call.Checks, s3Check{also, call.Bucket, call.Key, version})
	}
	call.addWriteChecks(o, q)
	if err := call.addCopySource(r.Method, sub, q); err != nil {
		return nil, err
	}
	call.fillContext(r.Header, q)
	return call, nil
}

// checkHops refuses what would make a proxy change the request: an upgrade, and
// a Connection header that has other headers taken out. A policy could have
// asked for one of them.
func checkHops(h http.Header) *s3Error {
	if h.Get("Upgrade") != "" {
		return refuse("InvalidRequest", "The connection cannot be upgraded to another protocol.")
	}
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.TrimSpace(token)) {
			case "", "close", "keep-alive", "te":
			default:
				return refuse("InvalidRequest", "The Connection header names a header that must be passed on.")
			}
		}
	}
	return nil
}

// splitURI cuts a request line's URI. Bytes that end a URI for some servers and
// not for others are refused.
func splitURI(uri string) (rawPath, rawQuery string, err *s3Error) {
	if len(uri) > maxURI || !strings.HasPrefix(uri, "/") {
		return "", "", errS3URI
	}
	for _, c := range []byte(uri) {
		if c <= ' ' || c == 0x7f || c == '#' || c == '\\' {
			return "", "", errS3URI
		}
	}
	rawPath, rawQuery, _ = strings.Cut(uri, "?")
	return rawPath, rawQuery, nil
}

// splitPath decodes a path, once, and takes bucket and key from it. fromHost is
// the bucket that Host names.
func splitPath(rawPath, fromHost string) (bucket, key string, _ *s3Error) {
	decoded, err := url.PathUnescape(rawPath)
	if err != nil || !validText(decoded) {
		return "", "", errS3URI
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

func validText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// checkName refuses buckets and keys that S3 refuses, and keys that a backend
// which tidies paths up would take for the bucket itself.
func checkName(bucket, key string) *s3Error {
	if len(bucket) < 3 || len(bucket) > 255 || bucket[0] == '.' || bucket[0] == '-' {
		return refuse("InvalidBucketName", "The specified bucket is not valid.")
	}
	for _, c := range []byte(bucket) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return refuse("InvalidBucketName", "The specified bucket is not valid.")
		}
	}
	if key == "" {
		return nil
	}
	if len(key) > maxKey {
		return errS3KeyTooLong
	}
	if !validText(key) {
		return errS3URI
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
			return refuse("InvalidURI", "The key has more \"..\" than names to go back from.")
		}
	}
	if tidied(key) == "" {
		return refuse("InvalidURI", "The key names the bucket itself.")
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

// query holds parameters, decoded once.
type query struct {
	plain map[string]string // by name, all but those that start with x-amz-
	// amzValues are x-amz- headers and parameters by lower-case name: a presigned URL
	// has in its query what is a header otherwise.
	amzValues map[string]string
	inQuery   map[string]bool // which of them came as parameters
}

func (q *query) amz(name string) string { return q.amzValues[name] }

// parseQuery reads a query and the x-amz- headers. What could be read in two
// ways, such as a parameter that appears twice, is refused.
func parseQuery(raw string, h http.Header) (*query, *s3Error) {
	q := &query{plain: map[string]string{}, amzValues: map[string]string{}, inQuery: map[string]bool{}}
	for name, values := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && len(values) > 0 {
			q.amzValues[lower] = values[0]
		}
	}
	if strings.Contains(raw, ";") {
		return nil, errS3URI // a separator for some servers
	}
	n := 0
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if n++; n > maxParams {
			return nil, errS3URI
		}
		name, value, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || !validText(name) || !validText(value) {
			return nil, errS3URI
		}
		table := q.plain
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			name, table = lower, q.amzValues
			q.inQuery[lower] = true
		}
		if _, twice := table[name]; twice {
			return nil, refuse("InvalidArgument", "The parameter %q appears twice.", cut(name, 64))
		}
		table[name] = value
	}
	return q, nil
}

// findOperation looks up what a request does, and refuses parameters that do not
// belong to it.
func findOperation(method string, c *s3Call, q *query) (operation, string, *s3Error) {
	s := onObject
	switch {
	case c.Bucket == "":
		s = onService
	case c.Key == "":
		s = onBucket
	}
	sub := ""
	for name, value := range q.plain {
		if !subresources[s][name] {
			continue
		}
		if sub != "" {
			return operation{}, "", refuse("InvalidRequest", "The subresources %s and %s exclude each other.", min(sub, name), max(sub, name))
		}
		sub = name
		if (name == "uploadId") == (value == "") {
			// "?acl=x" and "?uploadId=" are read as a plain request by some.
			return operation{}, "", refuse("InvalidArgument", "The parameter %s has a value that it cannot have.", name)
		}
	}
	o, ok := operations[opKey{s, method, sub}]
	if !ok {
		if method != http.MethodGet && method != http.MethodHead && method != http.MethodPut && method != http.MethodPost && method != http.MethodDelete {
			return operation{}, "", &s3Error{http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource."}
		}
		return operation{}, "", denied("no action is known for %s with subresource %q", method, sub)
	}
	for name, value := range q.plain {
		switch {
		case name == sub || name == "x-id": // x-id is a remark of the SDKs
		case !slices.Contains(o.params, name):
			return operation{}, "", denied("no action is known for %s with parameter %q", method, cut(name, 64))
		case name == "versionId" && value == "":
			return operation{}, "", refuse("InvalidArgument", "Version id cannot be the empty string")
		}
	}
	return o, sub, nil
}

// addWriteChecks adds what the headers of a write also do: set an ACL, tags, a
// lock. S3 asks for these actions besides the write's own.
func (c *s3Call) addWriteChecks(o operation, q *query) {
	add := func(action string) {
		c.Checks = append(c.Checks, s3Check{action, c.Bucket, c.Key, ""})
	}
	has := func(prefix string) bool {
		for name := range q.amzValues {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
	if q.amz("x-amz-bypass-governance-retention") != "" {
		add("s3:BypassGovernanceRetention")
	}
	if !o.writes {
		return
	}
	acl, lock := "s3:PutObjectAcl", false
	if c.Key == "" {
		acl = "s3:PutBucketAcl"
		if has("x-amz-object-ownership") {
			add("s3:PutBucketOwnershipControls")
		}
		lock = has("x-amz-bucket-object-lock-enabled")
	}
	if has("x-amz-acl") || has("x-amz-grant-") {
		add(acl)
	}
	if lock {
		add("s3:PutBucketObjectLockConfiguration")
		add("s3:PutBucketVersioning")
	}
	if c.Key == "" {
		return
	}
	if q.amz("x-amz-tagging") != "" {
		add("s3:PutObjectTagging")
	}
	if has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date") {
		add("s3:PutObjectRetention")
	}
	if has("x-amz-object-lock-legal-hold") {
		add("s3:PutObjectLegalHold")
	}
}

// addCopySource adds the read that a copy is.
func (c *s3Call) addCopySource(method, sub string, q *query) *s3Error {
	_, present := q.amzValues["x-amz-copy-source"]
	if !present {
		return nil
	}
	if method != http.MethodPut || c.Key == "" || sub != "" && sub != "uploadId" {
		return denied("a copy source belongs to PUT of an object only")
	}
	sources, err := parseCopySource(q.amz("x-amz-copy-source"))
	if err != nil {
		return err
	}
	c.Checks = append(c.Checks, sources...)
	return nil
}

// parseCopySource reads "bucket/key" or "/bucket/key", URL-encoded, with an
// optional "?versionId=". A "+" is a space to some servers and itself to others:
// then both readings must be allowed.
func parseCopySource(raw string) ([]s3Check, *s3Error) {
	bad := refuse("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	if len(raw) > maxURI {
		return nil, bad
	}
	name, versionID, versioned := strings.Cut(raw, "?")
	if versioned {
		v, ok := strings.CutPrefix(versionID, "versionId=")
		if !ok || v == "" || strings.ContainsAny(v, "?&;#") {
			return nil, bad
		}
		decoded, err := url.QueryUnescape(v)
		if err != nil || !validText(decoded) {
			return nil, bad
		}
		versionID = decoded
	}
	name = strings.TrimPrefix(name, "/")
	readings := []string{name}
	if strings.Contains(name, "+") {
		readings = append(readings, strings.ReplaceAll(name, "+", "%20"))
	}
	var out []s3Check
	for _, n := range readings {
		decoded, err := url.PathUnescape(n)
		if err != nil || !validText(decoded) {
			return nil, bad
		}
		bucket, key, _ := strings.Cut(decoded, "/")
		if key == "" {
			return nil, bad
		}
		if e := checkName(bucket, key); e != nil {
			return nil, e
		}
		action := "s3:GetObject"
		if versioned {
			action = "s3:GetObjectVersion"
		}
		out = append(out, s3Check{action, bucket, key, versionID})
	}
	return out, nil
}

// cut bounds a text for messages and logs.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
