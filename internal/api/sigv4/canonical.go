// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonicalRequests returns the texts of which the hash of one is signed: as AWS reads the
// request first, then with the S3 path, the host and the order of the query as clients have
// them, where those differ. All of them say the same request.
func canonicalRequests(r *http.Request, c *claim, payloadHash string, s3 bool) ([]string, *Error) {
	var out []string
	signed := strings.Join(c.signedHeaders, ";")
	for _, host := range canonicalHosts(r.Host) {
		headers, err := canonicalHeaders(r, host, c.signedHeaders)
		if err != nil {
			return nil, err
		}
		for _, path := range canonicalPaths(r.URL, s3) {
			for _, query := range canonicalQueries(c.query) {
				out = append(out, strings.Join([]string{r.Method, path, query, headers, signed, payloadHash}, "\n"))
			}
		}
	}
	return out, nil
}

// canonicalHosts is the host as received and, when it ends in a default port, without it:
// SDKs leave that port out of what they sign even if the HTTP library then sends it. Whether
// the client spoke TLS may be known only to a proxy, so both default ports count.
func canonicalHosts(host string) []string {
	for _, port := range []string{":80", ":443"} {
		if short, ok := strings.CutSuffix(host, port); ok {
			return []string{host, short}
		}
	}
	return []string{host}
}

// canonicalPaths encodes the wire path: a second time for most services; for S3 once,
// which means anew, so that the client's choice of escapes does not matter.
func canonicalPaths(u *url.URL, s3 bool) []string {
	wire := u.EscapedPath()
	if wire == "" {
		wire = "/"
	}
	if !s3 {
		return []string{escape(wire, true)}
	}
	paths := []string{wire}
	// Segment by segment: an encoded slash is part of a name and stays encoded.
	segments := strings.Split(wire, "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return paths
		}
		segments[i] = escape(decoded, false)
	}
	if anew := strings.Join(segments, "/"); anew != wire {
		paths = []string{anew, wire}
	}
	return paths
}

// canonicalQueries encodes the pairs anew, sorted by name and then value: as they are
// encoded, which is AWS's rule, and as they are not, which is what the SDKs for Go do. The
// orders differ only where a name has a character that is encoded.
func canonicalQueries(query []pair) []string {
	encode := func(p pair) pair { return pair{escape(p.name, false), escape(p.value, false)} }
	encoded := make([]pair, len(query))
	for i, p := range query {
		encoded[i] = encode(p)
	}
	slices.SortFunc(encoded, comparePairs)
	out := []string{joinPairs(encoded)}
	plain := slices.Clone(query)
	slices.SortFunc(plain, comparePairs)
	for i, p := range plain {
		plain[i] = encode(p)
	}
	if !slices.Equal(plain, encoded) {
		out = append(out, joinPairs(plain))
	}
	return out
}

func comparePairs(a, b pair) int {
	if d := strings.Compare(a.name, b.name); d != 0 {
		return d
	}
	return strings.Compare(a.value, b.value)
}

func joinPairs(list []pair) string {
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// canonicalHeaders writes the signed headers, one line each, and requires that they are
// all there, that host is one of them and that no x-amz-* header is left out.
func canonicalHeaders(r *http.Request, host string, signed []string) (string, *Error) {
	if !slices.Contains(signed, "host") {
		return "", fail(BadSignature, "the host header must be signed")
	}
	values := map[string][]string{}
	for name, v := range r.Header {
		lower := strings.ToLower(name)
		values[lower] = append(values[lower], v...)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) {
			return "", fail(BadSignature, "the header "+quote(lower)+" is in the request and not signed")
		}
	}
	values["host"] = []string{host}
	// net/http keeps these outside of Header on the server or the client side.
	if _, ok := values["content-length"]; !ok && r.ContentLength >= 0 {
		values["content-length"] = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	if _, ok := values["transfer-encoding"]; !ok && len(r.TransferEncoding) > 0 {
		values["transfer-encoding"] = r.TransferEncoding
	}
	var b strings.Builder
	for _, name := range signed {
		list, ok := values[name]
		if !ok {
			return "", fail(BadSignature, "the signed header "+quote(name)+" is not in the request")
		}
		b.WriteString(name + ":")
		for i, v := range list {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(collapse(v))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// collapse trims a header value and makes every run of spaces one space. Tabs inside stay.
func collapse(s string) string {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "  ") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] != ' ' || s[i-1] != ' ' { // s does not begin with a space
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// escape is RFC 3986 percent encoding of all but the unreserved characters, and the slash
// when it is kept.
func escape(s string, keepSlash bool) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', keepSlash && c == '/':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}
