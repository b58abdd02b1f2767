// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"unicode/utf16"

	"postern.dev/postern/internal/edge/call"
)

// originKeys are the condition keys that a backend cannot find out itself. The tags
// of the principal are among them, too.
var originKeys = []string{
	"aws:SourceVpce", "aws:SourceVpc", "aws:SourceVpcArn", "aws:VpcSourceIp", "aws:VpceAccount", "aws:SecureTransport", "aws:RequestedRegion",
	"aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalType", "aws:PrincipalIsAWSService", "aws:ViaAWSService", "aws:userid", "aws:username",
}

const principalTag = "aws:PrincipalTag/"

// tagsLeftOut is what the backend is told in the place of tags for which there is
// no room. It refuses to judge by them, then.
const tagsLeftOut = "postern:PrincipalTagsLeftOut"

// maxHeader is what the backend that we bring along reads of a request line and
// headers. A principal may have more tags than that: 50, of 384 characters each.
// transportHeaders is what is added on the way.
const (
	maxHeader        = 8 << 10
	transportHeaders = 256
)

// setOrigin tells a backend of this machine where a request comes from, as
// condition keys. A backend that keeps policies of its own can ask them with these.
func setOrigin(out *http.Request, c *call.Call) {
	keys := map[string]string{}
	for _, k := range originKeys {
		if v := c.Context[k]; len(v) == 1 {
			keys[k] = v[0]
		}
	}
	tagged := maps.Clone(keys)
	for k, v := range c.Context {
		if strings.HasPrefix(k, principalTag) && len(v) == 1 {
			tagged[k] = v[0]
		}
	}
	text := asciiJSON(tagged)
	if len(tagged) > len(keys) && headerSize(out)+len(call.HeaderContext)+len(text)+transportHeaders > maxHeader {
		keys[tagsLeftOut] = "true"
		text = asciiJSON(keys)
	}
	out.Header.Set(call.HeaderContext, text)
}

// headerSize is how long a request's line and headers are.
func headerSize(r *http.Request) int {
	n := len(r.Method) + len(r.URL.RequestURI()) + len(" HTTP/1.1\r\n") + len("Host: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}

// asciiJSON is a JSON object that can be a header's value, whatever is in it.
func asciiJSON(keys map[string]string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(keys) != nil {
		return "{}" // strings always encode
	}
	text := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	for _, r := range text {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
