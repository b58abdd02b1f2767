// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"net/http/httptest"
	"strings"
	"testing"

	"postern.dev/postern/internal/edge/call"
)

// What the edge refuses it refuses as S3 does: code, text and what it is about.
func TestRefusalsAreS3s(t *testing.T) {
	const sign = "Authorization: "
	for _, tc := range []struct{ uri, header, want string }{
		{"/data/a", sign + "nonsense", "<Code>InvalidArgument</Code><Message>Authorization header is invalid -- one and only one &#39; &#39; (space) required.</Message><ArgumentName>Authorization</ArgumentName><ArgumentValue>nonsense</ArgumentValue>"},
		{"/data/a", sign + "AWS2-HMAC x=y", "<Message>Unsupported Authorization Type</Message><ArgumentName>Authorization</ArgumentName><ArgumentValue>AWS2-HMAC</ArgumentValue>"},
		{"/data/a", sign + "AWS4-HMAC-SHA256 SignedHeaders=host", "<Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; missing Credential.</Message>"},
		{"/data/a", sign + "AWS4-HMAC-SHA256 Credential=AK/1/r/sns/aws4_request", "malformed; incorrect service &#34;sns&#34;. This endpoint belongs to &#34;s3&#34;."},
		{"/data/a", sign + "AWS4-HMAC-SHA256 Credential=AK/1", "malformed; the Credential is mal-formed; expecting"},
		{"/data/a?X-Amz-Algorithm=AWS4-HMAC-SHA256", "A: b", "requires the X-Amz-Algorithm, X-Amz-Credential, "},
		{"/data/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK", "A: b", "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed;"},
		{"/data/a", "X-Amz-Copy-Source: data/%zz", "<Message>Invalid copy source encoding</Message><ArgumentName>x-amz-copy-source</ArgumentName><ArgumentValue>data/%zz</ArgumentValue>"},
		{"/data/a", "X-Amz-Copy-Source: data/../b", "<Message>Invalid copy source object key</Message><ArgumentName>x-amz-copy-source</ArgumentName><ArgumentValue>../b</ArgumentValue>"},
		{"/data/a", "X-Amz-Copy-Source: d@/b", "<Message>Invalid copy source bucket name</Message>"},
		{"/data/..", "A: b", "<Code>400</Code><Message>Bad Request</Message>"},
	} {
		_, e := Read(call.Request{Method: "PUT", URI: tc.uri, Header: headers(tc.header)})
		if e == nil {
			t.Errorf("%s %s is taken", tc.uri, tc.header)
			continue
		}
		w := httptest.NewRecorder()
		WriteError(w, httptest.NewRequest("PUT", "/data/a", nil), e, "id", "host")
		if got := w.Body.String(); w.Code != 400 || !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %d %s\nwant %s", tc.uri, tc.header, w.Code, got, tc.want)
		}
	}
}
