// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	dateFormat = "20060102"
	// timeFormat is that of X-Amz-Date.
	timeFormat = "20060102T150405Z"
	// maxAuthLength bounds the Authorization header and the presigned fields.
	maxAuthLength = 8 << 10
	// maxExpires is AWS's longest life of a presigned request.
	maxExpires = 7 * 24 * time.Hour
)

// claim is what a request says about its own signature; nothing of it is verified.
type claim struct {
	accessKey, date, region, service string
	signedHeaders                    []string
	signature                        string
	time                             time.Time
	token                            string
	presigned                        bool
	expires                          time.Duration // presigned: 0 when not given
	query                            []pair
}

func (c *claim) scope() string {
	return c.date + "/" + c.region + "/" + c.service + "/" + terminator
}

// pair is one decoded pair of the query string.
type pair struct{ name, value string }

// AccessKeyFromRequest reads the access key id, service and region that a request
// claims, in either form. It verifies nothing: use it only to choose who verifies.
func AccessKeyFromRequest(r *http.Request) (accessKeyID, service, region string, ok bool) {
	c, err := parseClaim(r)
	if err != nil {
		return "", "", "", false
	}
	return c.accessKey, c.service, c.region, true
}

func parseClaim(r *http.Request) (*claim, *Error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	auth := r.Header.Values("Authorization")
	presigned := false
	for _, p := range query {
		switch p.name {
		case "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Algorithm":
			presigned = true
		}
	}
	switch {
	case len(auth) > 0 && presigned:
		return nil, fail(Malformed, "authentication is in both the Authorization header and the query string")
	case presigned:
		return presignedClaim(query)
	case len(auth) == 0:
		return nil, fail(MissingAuth, "the request is not signed")
	case len(auth) > 1:
		return nil, fail(Malformed, "there is more than one Authorization header")
	}
	return headerClaim(r.Header, auth[0], query)
}

func headerClaim(h http.Header, auth string, query []pair) (*claim, *Error) {
	if len(auth) > maxAuthLength {
		return nil, fail(Malformed, "the Authorization header is too long")
	}
	alg, rest, _ := strings.Cut(strings.TrimSpace(auth), " ")
	if alg != algorithm {
		return nil, fail(Malformed, "the authorization algorithm must be "+algorithm)
	}
	fields := map[string]string{}
	for _, item := range strings.Split(rest, ",") {
		key, value, found := strings.Cut(strings.Trim(item, " \t"), "=")
		if _, dup := fields[key]; dup || !found || value == "" {
			return nil, fail(Malformed, "the Authorization header must have Credential, SignedHeaders and Signature, once each")
		}
		fields[key] = value
	}
	if len(fields) != 3 {
		return nil, fail(Malformed, "the Authorization header must have Credential, SignedHeaders and Signature, and nothing else")
	}
	c := &claim{query: query}
	if err := c.set(fields["Credential"], fields["SignedHeaders"], fields["Signature"]); err != nil {
		return nil, err
	}
	if err := c.setTime(h); err != nil {
		return nil, err
	}
	switch tokens := h.Values("X-Amz-Security-Token"); len(tokens) {
	case 0:
	case 1:
		c.token = tokens[0]
	default:
		return nil, fail(Malformed, "there is more than one X-Amz-Security-Token header")
	}
	return c, nil
}

// setTime takes X-Amz-Date, else Date.
func (c *claim) setTime(h http.Header) *Error {
	dates := h.Values("X-Amz-Date")
	if len(dates) == 0 {
		if dates = h.Values("Date"); len(dates) == 1 {
			if ts, err := http.ParseTime(dates[0]); err == nil {
				c.time = ts.UTC()
				return nil
			}
		}
	}
	if len(dates) != 1 {
		return fail(Malformed, "the request must have one X-Amz-Date or Date header")
	}
	// A date in Date may also have the form of X-Amz-Date.
	return c.parseTime(dates[0])
}

func (c *claim) parseTime(s string) *Error {
	ts, err := time.Parse(timeFormat, s)
	if err != nil || len(s) != len(timeFormat) {
		return fail(Malformed, "the date "+quote(s)+" must have the form "+timeFormat)
	}
	c.time = ts
	return nil
}

func presignedClaim(query []pair) (*claim, *Error) {
	fields := map[string]string{}
	c := &claim{presigned: true}
	for _, p := range query {
		switch p.name {
		case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
			"X-Amz-Security-Token", "X-Amz-Signature", "X-Amz-Content-Sha256":
			if _, dup := fields[p.name]; dup {
				return nil, fail(Malformed, "the query parameter "+p.name+" is there twice")
			}
			if len(p.value) > maxAuthLength {
				return nil, fail(Malformed, "the query parameter "+p.name+" is too long")
			}
			fields[p.name] = p.value
		}
		if p.name != "X-Amz-Signature" {
			c.query = append(c.query, p)
		}
	}
	if fields["X-Amz-Algorithm"] != algorithm {
		return nil, fail(Malformed, "X-Amz-Algorithm must be "+algorithm)
	}
	for _, name := range []string{"X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if fields[name] == "" {
			return nil, fail(Malformed, "the query parameter "+name+" is missing")
		}
	}
	if err := c.set(fields["X-Amz-Credential"], fields["X-Amz-SignedHeaders"], fields["X-Amz-Signature"]); err != nil {
		return nil, err
	}
	if err := c.parseTime(fields["X-Amz-Date"]); err != nil {
		return nil, err
	}
	if s, given := fields["X-Amz-Expires"]; given {
		seconds, err := strconv.ParseUint(s, 10, 32)
		c.expires = time.Duration(seconds) * time.Second
		if err != nil || c.expires < time.Second || c.expires > maxExpires {
			return nil, fail(Malformed, "X-Amz-Expires must be a number of seconds from 1 to 604800")
		}
	}
	c.token = fields["X-Amz-Security-Token"]
	return c, nil
}

func (c *claim) set(credential, signedHeaders, signature string) *Error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != terminator {
		return fail(Malformed, "the credential must be key/date/region/service/"+terminator)
	}
	for _, p := range parts {
		if p == "" || len(p) > 128 {
			return fail(Malformed, "a part of the credential is empty or too long")
		}
	}
	c.accessKey, c.date, c.region, c.service = parts[0], parts[1], parts[2], parts[3]
	if !isLowerHex(signature) {
		return fail(Malformed, "the signature must be 64 lower-case hex digits")
	}
	c.signature = signature
	c.signedHeaders = strings.Split(signedHeaders, ";")
	last := ""
	for _, name := range c.signedHeaders {
		if !isHeaderName(name) || name <= last {
			return fail(Malformed, "the signed headers must be lower-case header names in order, once each")
		}
		last = name
	}
	return nil
}

// isHeaderName accepts lower-case HTTP tokens.
func isHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// isLowerHex reports whether s is a SHA-256 in lower-case hex.
func isLowerHex(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// parseQuery splits a query string. "+" is a space and ";" an ordinary character, as
// for the parameters of the operation, so that both readings agree.
func parseQuery(raw string) ([]pair, *Error) {
	var out []pair
	for raw != "" {
		var item string
		item, raw, _ = strings.Cut(raw, "&")
		if item == "" {
			continue
		}
		name, value, _ := strings.Cut(item, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, fail(Malformed, "the query string has a bad percent escape")
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, fail(Malformed, "the query string has a bad percent escape")
		}
		out = append(out, pair{n, v})
	}
	return out, nil
}
