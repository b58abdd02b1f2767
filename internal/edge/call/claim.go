// SPDX-License-Identifier: Apache-2.0

package call

import (
	"fmt"
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
	malformed := func(why string) (Claim, *Error) {
		return Claim{}, Refuse("AuthorizationHeaderMalformed", "The authorization header is malformed; %s", why)
	}
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
		credential := q.Amz("x-amz-credential")
		if credential == "" {
			return Claim{}, Refuse("AuthorizationQueryParametersError", "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
		if why := c.Scope(credential, services...); why != "" {
			return Claim{}, Refuse("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; %s", why)
		}
		c.Signed = strings.Split(strings.ToLower(q.Amz("x-amz-signedheaders")), ";")
		return c, nil
	case presigned2: // version 2
		c := Claim{Auth: AuthQuery, Version: "AWS", KeyID: q.Plain["AWSAccessKeyId"]}
		if !ValidKeyID(c.KeyID) {
			return malformed("the AWSAccessKeyId is mal-formed.")
		}
		return c, nil
	case auth == "":
		return Claim{}, nil
	}
	scheme, rest, ok := strings.Cut(auth, " ")
	if !ok {
		return Claim{}, Refuse("InvalidArgument", "Authorization header is invalid -- one and only one ' ' (space) required.").About("Authorization", Cut(auth, 256))
	}
	c := Claim{Auth: AuthHeader, Version: scheme, Date: q.Amz("x-amz-date")}
	switch {
	case scheme == "AWS": // version 2: AWS key:signature
		c.KeyID, _, _ = strings.Cut(strings.TrimSpace(rest), ":")
		if !ValidKeyID(c.KeyID) {
			return malformed("the access key is mal-formed.")
		}
		return c, nil
	case !strings.HasPrefix(scheme, "AWS4-"):
		return Claim{}, Refuse("InvalidArgument", "Unsupported Authorization Type").About("Authorization", Cut(scheme, 256))
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; twice {
			return malformed("a component appears twice.")
		}
		fields[name] = value
	}
	credential, ok := fields["Credential"]
	if !ok {
		return malformed("missing Credential.")
	}
	if why := c.Scope(credential, services...); why != "" {
		return malformed(why)
	}
	c.Signed = strings.Split(strings.ToLower(fields["SignedHeaders"]), ";")
	return c, nil
}

// Scope reads key/date/region/service/aws4_request. It says what is wrong with it,
// "" if nothing is.
func (c *Claim) Scope(s string, services ...string) (why string) {
	parts := strings.Split(s, "/")
	switch {
	case len(parts) != 5 || !ValidKeyID(parts[0]) || len(parts[2]) > 64:
		return `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
	case !slices.Contains(services, parts[3]):
		return fmt.Sprintf("incorrect service %q. This endpoint belongs to %q.", Cut(parts[3], 64), services[0])
	}
	c.KeyID, c.Region = parts[0], parts[2]
	return ""
}

// ValidKeyID reports whether a text can be an access key's id.
func ValidKeyID(s string) bool {
	return s != "" && len(s) <= 128 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
