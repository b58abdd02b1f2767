// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Payload hashes that are words.
const (
	// UnsignedPayload says that the signature does not cover the body.
	UnsignedPayload = "UNSIGNED-PAYLOAD"
	// StreamingPayload and StreamingPayloadTrailer: chunks signed one by one (S3).
	StreamingPayload        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamingPayloadTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	// StreamingUnsignedTrailer: unsigned chunks with a checksum after them (S3).
	StreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// DefaultMaxSkew is AWS's tolerance for clocks.
const DefaultMaxSkew = 15 * time.Minute

// Credential is an access key. SessionToken is empty for long-term keys; a zero
// Expires means that the credential does not expire.
type Credential struct {
	AccessKeyID, Secret, SessionToken string
	Expires                           time.Time
}

// Lookup finds a credential by access key id. token is the session token that
// the request came with, "" for none: credentials that are sealed into their
// token are found by it. Verify holds the token against the credential's
// whatever the Lookup did with it. It must be safe for concurrent use.
type Lookup func(accessKeyID, token string) (Credential, bool)

// UnsignedPolicy says when a body that the signature does not cover is accepted. A
// request without a body is accepted under every policy.
type UnsignedPolicy uint8

// The policies.
const (
	// UnsignedOverTLS accepts it on connections with TLS.
	UnsignedOverTLS UnsignedPolicy = iota
	// UnsignedAlways accepts it on every connection.
	UnsignedAlways
	// UnsignedNever refuses it.
	UnsignedNever
)

// Verifier verifies requests. Its fields are read only; set them before the first call.
// It is safe for concurrent use and must not be copied after the first call.
type Verifier struct {
	// Lookup finds credentials.
	Lookup Lookup
	// Services holds the accepted service names of the scope, for example ec2 and sts.
	Services []string
	// Regions holds the accepted regions of every service.
	Regions []string
	// ServiceRegions holds more accepted regions of one service, for example
	// sts: us-east-1 for clients that use its global endpoint.
	ServiceRegions map[string][]string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// MaxSkew is how far the request's time may be from Now; zero is DefaultMaxSkew.
	MaxSkew time.Duration
	// S3 selects S3's rules: the path is encoded once, x-amz-content-sha256 is required
	// in the header form, a presigned request has UNSIGNED-PAYLOAD unless it says
	// otherwise, needs X-Amz-Expires, and the STREAMING- payload hashes are accepted.
	S3 bool
	// Unsigned is the policy for bodies that the signature does not cover.
	Unsigned UnsignedPolicy

	keys keyCache
}

// Identity is what a verified signature proves.
type Identity struct {
	AccessKeyID string
	// SessionToken is the credential's, "" for one that lasts. Keep it out of logs.
	SessionToken string
	Region       string
	Service      string
	// SignedHeaders holds the lower-case names of the headers that the signature covers, sorted.
	SignedHeaders []string
	// PayloadHash is what the signature says of the body: a SHA-256 in lower-case hex, or
	// one of the words of this package.
	PayloadHash string
	// Presigned: the signature was in the query string.
	Presigned bool
	// Time is when the request says it was signed.
	Time time.Time
}

// Verify checks the request's signature. The body is the whole raw body, nil when there is
// none; it does not read r.Body. In S3 mode a nil body means that it was not read: then
// the caller must hold it against Identity.PayloadHash.
// The error, when there is one, is an *Error.
func (v *Verifier) Verify(r *http.Request, body []byte) (Identity, error) {
	id, err := v.verify(r, body)
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

func (v *Verifier) verify(r *http.Request, body []byte) (Identity, *Error) {
	c, err := parseClaim(r)
	if err != nil {
		return Identity{}, err
	}
	cred, known := Credential{}, false
	if v.Lookup != nil {
		cred, known = v.Lookup(c.accessKey, c.token)
	}
	if !known || cred.Secret == "" {
		return Identity{}, fail(UnknownKey, "there is no access key "+quote(c.accessKey))
	}
	if err := v.checkScope(c); err != nil {
		return Identity{}, err
	}
	now := time.Now()
	if v.Now != nil {
		now = v.Now()
	}
	if err := v.checkTime(c, now); err != nil {
		return Identity{}, err
	}
	hash, err := v.payloadHash(r, c, body)
	if err != nil {
		return Identity{}, err
	}
	if err := v.checkSignature(r, c, cred, hash); err != nil {
		return Identity{}, err
	}
	if !hmac.Equal([]byte(cred.SessionToken), []byte(c.token)) {
		return Identity{}, fail(BadToken, "the session token does not belong to the access key")
	}
	if !cred.Expires.IsZero() && !now.Before(cred.Expires) {
		return Identity{}, fail(ExpiredToken, "the credential expired at "+cred.Expires.UTC().Format(time.RFC3339))
	}
	if err := v.checkPayload(r, hash, body); err != nil {
		return Identity{}, err
	}
	return Identity{
		AccessKeyID: c.accessKey, SessionToken: c.token, Region: c.region, Service: c.service, SignedHeaders: c.signedHeaders,
		PayloadHash: hash, Presigned: c.presigned, Time: c.time,
	}, nil
}

func (v *Verifier) checkScope(c *claim) *Error {
	switch {
	case c.date != c.time.Format(dateFormat):
		return fail(BadScope, "the credential's date "+quote(c.date)+" is not that of the request's time "+c.time.Format(timeFormat))
	case !slices.Contains(v.Services, c.service):
		return fail(BadScope, "the credential is for the service "+quote(c.service)+", which is not offered here: sign for "+strings.Join(v.Services, ", "))
	case !slices.Contains(v.Regions, c.region) && !slices.Contains(v.ServiceRegions[c.service], c.region):
		return fail(BadScope, "the credential is for the region "+quote(c.region)+", which is not offered here: sign for "+strings.Join(v.Regions, ", "))
	}
	return nil
}

func (v *Verifier) checkTime(c *claim, now time.Time) *Error {
	skew := v.MaxSkew
	if skew <= 0 {
		skew = DefaultMaxSkew
	}
	stamp := func(t time.Time) string { return t.UTC().Format(timeFormat) }
	window := strconv.Itoa(int(skew/time.Minute)) + " min.)"
	if limit := now.Add(skew); c.time.After(limit) {
		return fail(Skew, "Signature not yet current: "+stamp(c.time)+" is still later than "+stamp(limit)+" ("+stamp(now)+" + "+window)
	}
	if !c.presigned {
		if limit := now.Add(-skew); c.time.Before(limit) {
			return fail(Skew, "Signature expired: "+stamp(c.time)+" is now earlier than "+stamp(limit)+" ("+stamp(now)+" - "+window)
		}
		return nil
	}
	life := c.expires
	if life == 0 {
		if v.S3 {
			return fail(Malformed, "the query parameter X-Amz-Expires is missing")
		}
		// SDKs leave it out for STS; such a request lives as long as a signed one.
		life = skew
	}
	if now.After(c.time.Add(life)) {
		return fail(Expired, "the request's time is "+stamp(c.time)+", the server's is "+stamp(now))
	}
	return nil
}

// payloadHash returns the last line of the canonical request.
func (v *Verifier) payloadHash(r *http.Request, c *claim, body []byte) (string, *Error) {
	given := r.Header.Values("X-Amz-Content-Sha256")
	if c.presigned && len(given) == 0 {
		for _, p := range c.query {
			if p.name == "X-Amz-Content-Sha256" {
				given = append(given, p.value)
			}
		}
	}
	switch {
	case len(given) > 1:
		return "", fail(Malformed, "x-amz-content-sha256 is there more than once")
	case len(given) == 0 && v.S3 && c.presigned:
		return UnsignedPayload, nil
	case len(given) == 0 && v.S3:
		return "", fail(Malformed, "the header x-amz-content-sha256 is missing")
	case len(given) == 0:
		return hashHex(body), nil
	}
	hash := given[0]
	switch hash {
	case UnsignedPayload:
		return hash, nil
	case StreamingPayload, StreamingPayloadTrailer, StreamingUnsignedTrailer:
		if v.S3 {
			return hash, nil
		}
	}
	if !isLowerHex(hash) {
		return "", fail(Malformed, "x-amz-content-sha256 "+quote(hash)+" is not a SHA-256 in lower-case hex or a word known here")
	}
	return hash, nil
}

func (v *Verifier) checkSignature(r *http.Request, c *claim, cred Credential, hash string) *Error {
	canonical, err := canonicalRequests(r, c, hash, v.S3)
	if err != nil {
		return err
	}
	key := v.keys.get(keyID{c.accessKey, cred.Secret, c.date, c.region, c.service})
	for _, text := range canonical {
		if hmac.Equal([]byte(hex.EncodeToString(sign(key, stringToSign(c, text)))), []byte(c.signature)) {
			return nil
		}
	}
	return fail(BadSignature, "the signature is not that of this request; check the secret key and what was signed")
}

// checkPayload holds the body against the signed hash.
func (v *Verifier) checkPayload(r *http.Request, hash string, body []byte) *Error {
	switch hash {
	case UnsignedPayload, StreamingUnsignedTrailer:
		empty := len(body) == 0 && (!v.S3 || r.ContentLength == 0)
		if !empty && (v.Unsigned == UnsignedNever || v.Unsigned != UnsignedAlways && r.TLS == nil) {
			return fail(PayloadMismatch, "a body that is not signed is not accepted on this connection")
		}
		return nil
	case StreamingPayload, StreamingPayloadTrailer:
		return nil
	}
	if v.S3 && body == nil {
		return nil
	}
	if hash != hashHex(body) {
		return fail(PayloadMismatch, "x-amz-content-sha256 is not the hash of the body")
	}
	return nil
}

func hashHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
