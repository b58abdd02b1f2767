// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Raw sends a form that no client would, signed for a service, and answers the
// status, the error's code and the body.
func (s *Server) Raw(a Account, service string, form url.Values) (status int, code, body string) {
	s.t.Helper()
	text := form.Encode()
	r, err := http.NewRequest(http.MethodPost, s.URL+"/", strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
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
