// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// authQuery is s3:authType of a presigned request.
const authQuery = "REST-QUERY-STRING"

// claim is what a request says of who signed it. The backend verifies it; the
// edge takes it for true, since a false one gets nothing there.
type claim struct {
	KeyID  string // "" for an unsigned request
	Region string // of the signature's scope
	// Auth is s3:authType and Version s3:signatureversion.
	Auth, Version string
	Signed        []string // lower-case names of the signed headers
}

// signs reports whether a header is part of the signature. Version 2 signatures
// do not say; they cover x-amz- headers.
func (c claim) signs(header string) bool {
	return slices.Contains(c.Signed, strings.ToLower(header))
}

// readClaim reads the Authorization header or a presigned query. A request with
// both has two signers and is refused.
func readClaim(h http.Header, q *query) (claim, *s3Error) {
	bad := refuse("AuthorizationHeaderMalformed", "The authorization header is malformed.")
	auth := h.Get("Authorization")
	presigned := q.inQuery["x-amz-signature"] || q.inQuery["x-amz-credential"] || q.inQuery["x-amz-algorithm"]
	switch {
	case auth != "" && presigned:
		return claim{}, refuse("InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header should be specified.")
	case presigned:
		c := claim{Auth: authQuery, Version: q.amz("x-amz-algorithm")}
		if !strings.HasPrefix(c.Version, "AWS4-") {
			return claim{}, refuse("AuthorizationQueryParametersError", "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
		}
		if !c.scope(q.amz("x-amz-credential")) {
			return claim{}, refuse("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter.")
		}
		c.Signed = strings.Split(strings.ToLower(q.amz("x-amz-signedheaders")), ";")
		return c, nil
	case auth == "":
		return claim{}, nil
	}
	scheme, rest, _ := strings.Cut(auth, " ")
	c := claim{Auth: "REST-HEADER", Version: scheme}
	switch {
	case scheme == "AWS": // version 2: AWS key:signature
		c.KeyID, _, _ = strings.Cut(strings.TrimSpace(rest), ":")
		if !validKeyID(c.KeyID) {
			return claim{}, bad
		}
		return c, nil
	case !strings.HasPrefix(scheme, "AWS4-"):
		return claim{}, refuse("InvalidArgument", "Unsupported Authorization Type")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; twice {
			return claim{}, bad
		}
		fields[name] = value
	}
	if !c.scope(fields["Credential"]) {
		return claim{}, bad
	}
	c.Signed = strings.Split(strings.ToLower(fields["SignedHeaders"]), ";")
	return c, nil
}

// scope reads key/date/region/service/aws4_request.
func (c *claim) scope(s string) bool {
	parts := strings.Split(s, "/")
	if len(parts) != 5 || !validKeyID(parts[0]) || parts[3] != "s3" || len(parts[2]) > 64 {
		return false
	}
	c.KeyID, c.Region = parts[0], parts[2]
	return true
}

func validKeyID(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// s3Keys are condition keys that are a header's (or presigned parameter's) value.
var s3Keys = []string{
	"x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read",
	"x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive",
	"x-amz-object-ownership", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
	"x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location",
}

// fillContext collects the condition keys that the request itself gives.
func (c *s3Call) fillContext(h http.Header, q *query) {
	set := func(key, value string) {
		if value != "" {
			c.Context[key] = []string{value}
		}
	}
	for _, k := range s3Keys {
		set("s3:"+k, q.amz(k))
	}
	// An empty prefix in a listing is a value: policies name it to allow the
	// listing of a bucket's top.
	for _, k := range []string{"prefix", "delimiter", "max-keys"} {
		if v, ok := q.plain[k]; ok && c.Bucket != "" && c.Key == "" {
			c.Context["s3:"+k] = []string{v}
		}
	}
	set("s3:object-lock-mode", q.amz("x-amz-object-lock-mode"))
	set("s3:object-lock-retain-until-date", q.amz("x-amz-object-lock-retain-until-date"))
	set("s3:object-lock-legal-hold", q.amz("x-amz-object-lock-legal-hold"))
	set("s3:authType", c.Claim.Auth)
	set("s3:signatureversion", c.Claim.Version)
	set("aws:UserAgent", h.Get("User-Agent"))
	set("aws:Referer", h.Get("Referer"))
	if tags, err := url.ParseQuery(q.amz("x-amz-tagging")); err == nil {
		for k, v := range tags {
			c.Context["s3:RequestObjectTag/"+k] = v
			c.Context["s3:RequestObjectTagKeys"] = append(c.Context["s3:RequestObjectTagKeys"], k)
		}
	}
}

// principal is the caller's ARN and account by the access key claimed; both are
// empty for an unsigned request or a key nobody has. u is set for a user's key.
func (c claim) principal(keys map[string]vpc.AccountID, users map[string]*user) (arn string, account vpc.AccountID, u *user) {
	if u = users[c.KeyID]; u != nil && c.KeyID != "" {
		return u.ARN, u.Account, u
	}
	account = keys[c.KeyID]
	if c.KeyID == "" || account == "" {
		return "", "", nil
	}
	return account.RootARN(), account, nil
}
