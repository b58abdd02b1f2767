// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// notSigned are headers that something on the way may add or change.
var notSigned = []string{"authorization", "connection", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}

// Sign signs a request that is about to be sent, in the header form and by the
// rules of every service but S3: it sets X-Amz-Date, X-Amz-Security-Token if
// the credential has one, and Authorization. Every header that is in the
// request by then is signed, so nothing may be changed afterwards. body is the
// whole body, whose length r.ContentLength has to be.
//
// A default port is taken out of the host, as clients do.
func Sign(r *http.Request, body []byte, cred Credential, service, region string, at time.Time) error {
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	if port := map[string]string{"http": ":80", "https": ":443"}[r.URL.Scheme]; port != "" {
		r.Host = strings.TrimSuffix(r.Host, port)
	}
	at = at.UTC()
	r.Header.Set("X-Amz-Date", at.Format(timeFormat))
	r.Header.Del("Authorization")
	r.Header.Del("X-Amz-Security-Token")
	if cred.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", cred.SessionToken)
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	c := &claim{
		accessKey: cred.AccessKeyID, date: at.Format(dateFormat), region: region, service: service,
		time: at, query: query, signedHeaders: []string{"host"},
	}
	if r.ContentLength > 0 {
		c.signedHeaders = append(c.signedHeaders, "content-length")
	}
	for name := range r.Header {
		if name = strings.ToLower(name); !slices.Contains(notSigned, name) {
			c.signedHeaders = append(c.signedHeaders, name)
		}
	}
	slices.Sort(c.signedHeaders)
	c.signedHeaders = slices.Compact(c.signedHeaders)
	headers, err := canonicalHeaders(r, r.Host, c.signedHeaders)
	if err != nil {
		return err
	}
	signed := strings.Join(c.signedHeaders, ";")
	text := strings.Join([]string{
		r.Method, canonicalPaths(r.URL, false)[0], canonicalQueries(query)[0], headers, signed, hashHex(body),
	}, "\n")
	var keys keyCache
	key := keys.get(keyID{c.accessKey, cred.Secret, c.date, region, service})
	r.Header.Set("Authorization", algorithm+" Credential="+cred.AccessKeyID+"/"+c.scope()+", SignedHeaders="+signed+
		", Signature="+hex.EncodeToString(sign(key, stringToSign(c, text))))
	return nil
}

// stringToSign is what the key signs, for a canonical request.
func stringToSign(c *claim, canonical string) string {
	return algorithm + "\n" + c.time.Format(timeFormat) + "\n" + c.scope() + "\n" + hashHex([]byte(canonical))
}
