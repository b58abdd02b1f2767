// SPDX-License-Identifier: Apache-2.0

package call

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Values of s3:authType.
const (
	AuthHeader = "REST-HEADER"
	AuthQuery  = "REST-QUERY-STRING"
	AuthForm   = "POST"
)

// Claim is what a request says of who signed it. The backend verifies it; the
// edge takes it for true, since a false one gets nothing there.
type Claim struct {
	KeyID  string // "" for an unsigned request
	Region string // of the signature's scope
	// Auth is s3:authType and Version s3:signatureversion.
	Auth, Version string
	Signed        []string // lower-case names of the signed headers
	Date          string   // x-amz-date, as written
}

// Signs reports whether a header is part of the signature. Version 2 signatures
// do not say; they cover x-amz- headers.
func (c Claim) Signs(header string) bool {
	return slices.Contains(c.Signed, strings.ToLower(header))
}

// Age is the signature's age in milliseconds, "" if it does not say when it was
// made.
func (c Claim) Age(now time.Time) string {
	at, err := time.Parse("20060102T150405Z", c.Date)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(now.Sub(at).Milliseconds(), 10)
}

// ReadClaim reads the Authorization header or a presigned query, made for one of
// the services. A request with both has two signers and is refused.
func ReadClaim(h http.Header, q *Query, services ...string) (Claim, *Error) {
	bad := Refuse("AuthorizationHeaderMalformed", "The authorization header is malformed.")
	auth := h.Get("Authorization")
	presigned := q.InQuery["x-amz-signature"] || q.InQuery["x-amz-credential"] || q.InQuery["x-amz-algorithm"]
	_, id2 := q.Plain["AWSAccessKeyId"]
	_, sig2 := q.Plain["Signature"]
	presigned2 := id2 && sig2
	if len(q.InQuery) > 0 && !presigned {
		// Only presigning moves headers to the query; elsewhere servers differ
		// in whether they look there.
		return Claim{}, Refuse(InvalidRequest, "x-amz- parameters belong to presigned requests only")
	}
	switch {
	case auth != "" && (presigned || presigned2) || presigned && presigned2:
		return Claim{}, Refuse("InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case presigned:
		c := Claim{Auth: AuthQuery, Version: q.Amz("x-amz-algorithm"), Date: q.Amz("x-amz-date")}
		if !strings.HasPrefix(c.Version, "AWS4-") {
			return Claim{}, Refuse("AuthorizationQueryParametersError", "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
		}
		if !c.Scope(q.Amz("x-amz-credential"), services...) {
			return Claim{}, Refuse("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter.")
		}
		c.Signed = strings.Split(strings.ToLower(q.Amz("x-amz-signedheaders")), ";")
		return c, nil
	case presigned2: // version 2
		c := Claim{Auth: AuthQuery, Version: "AWS", KeyID: q.Plain["AWSAccessKeyId"]}
		if !ValidKeyID(c.KeyID) {
			return Claim{}, bad
		}
		return c, nil
	case auth == "":
		return Claim{}, nil
	}
	scheme, rest, _ := strings.Cut(auth, " ")
	c := Claim{Auth: AuthHeader, Version: scheme, Date: q.Amz("x-amz-date")}
	switch {
	case scheme == "AWS": // version 2: AWS key:signature
		c.KeyID, _, _ = strings.Cut(strings.TrimSpace(rest), ":")
		if !ValidKeyID(c.KeyID) {
			return Claim{}, bad
		}
		return c, nil
	case !strings.HasPrefix(scheme, "AWS4-"):
		return Claim{}, Refuse("InvalidArgument", "Unsupported Authorization Type")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; twice {
			return Claim{}, bad
		}
		fields[name] = value
	}
	if !c.Scope(fields["Credential"], services...) {
		return Claim{}, bad
	}
	c.Signed = strings.Split(strings.ToLower(fields["SignedHeaders"]), ";")
	return c, nil
}

// Scope reads key/date/region/service/aws4_request.
func (c *Claim) Scope(s string, services ...string) bool {
	parts := strings.Split(s, "/")
	if len(parts) != 5 || !ValidKeyID(parts[0]) || !slices.Contains(services, parts[3]) || len(parts[2]) > 64 {
		return false
	}
	c.KeyID, c.Region = parts[0], parts[2]
	return true
}

// ValidKeyID reports whether a text can be an access key's id.
func ValidKeyID(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
