// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"postern.dev/postern/internal/control"
)

// SignatureHeader is what a webhook checks: t=<unix seconds>,v1=<hex> with the
// HMAC-SHA256 of "<unix seconds>.<body>" under the rule's secret.
const SignatureHeader = "Postern-Signature"

// webhook posts SNS's envelope to a URL.
type webhook struct {
	url    string
	secret []byte
	client *http.Client
	now    func() time.Time
}

// check asks nothing: a webhook has no question that is not a message.
func (w *webhook) check(context.Context, string) error { return nil }

func (w *webhook) publish(ctx context.Context, m message) error {
	body, err := m.envelope()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return unreached(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "postern")
	req.Header.Set("X-Amz-Sns-Message-Type", "Notification")
	req.Header.Set("X-Amz-Sns-Message-Id", m.MessageID)
	req.Header.Set("X-Amz-Sns-Topic-Arn", string(m.Topic))
	req.Header.Set(SignatureHeader, sign(w.secret, w.now(), body))
	res, err := w.client.Do(req)
	if err != nil {
		return unreached(err)
	}
	res.Body.Close() // the status says it all
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return &control.Refused{Reason: fmt.Sprintf("the webhook answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))}
	}
	if res.StatusCode/100 == 3 {
		return fmt.Errorf("answered %d: redirects are not followed", res.StatusCode)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answered %d", res.StatusCode)
	}
	return nil
}

func sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(m.Sum(nil))
}
