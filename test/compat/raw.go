// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/awsjson"
	"postern.dev/postern/internal/api/awsquery"
)

// Raw sends a form that no client would, signed for a service, and answers the
// status, the error's code and the body. For a service of the JSON protocol it
// is a JSON object of the form's parameters, which must not be nested.
func (s *Server) Raw(a Account, service string, form url.Values) (status int, code, body string) {
	s.t.Helper()
	text, header := form.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for _, svc := range api.Services() {
		if svc.Name == service && svc.Dialect == awsquery.JSON {
			members := map[string]string{}
			for name := range form {
				if name != "Action" && name != "Version" {
					members[name] = form.Get(name)
				}
			}
			b, err := json.Marshal(members)
			if err != nil {
				s.t.Fatal(err)
			}
			text, header = string(b), http.Header{"Content-Type": {awsjson.ContentType}, "X-Amz-Target": {svc.Namespace + "." + form.Get("Action")}}
		}
	}
	r, err := http.NewRequest(http.MethodPost, s.URL+"/", strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = header
	sum := sha256.Sum256([]byte(text))
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: a.AccessKey, SecretAccessKey: a.Secret}, r, hex.EncodeToString(sum[:]), service, Region, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, errorCode(b), string(b)
}
