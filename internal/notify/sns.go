// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern.dev/postern/internal/api/sigv4"
	"postern.dev/postern/internal/control"
)

// maxAnswer bounds what is read of SNS's answers.
const maxAnswer = 64 << 10

// snsSink calls a server that speaks SNS's API (AWS Query, 2010-03-31).
type snsSink struct {
	rule   Rule
	client *http.Client
	now    func() time.Time
}

// refusals are SNS's codes for a topic that will take nothing more, with what
// its owner is told. A wrong key or signature is not among them: that is the
// operator's to mend, and nobody's notification ends for it.
var refusals = map[string]string{
	"NotFound":           "the topic does not exist",
	"AuthorizationError": "the topic does not allow it",
	"AccessDenied":       "the topic does not allow it",
	"InvalidParameter":   "the topic's ARN is not valid there",
	"KMSAccessDenied":    "the topic's key does not allow it",
	"KMSNotFound":        "the topic's key does not exist",
}

func (s *snsSink) check(ctx context.Context, topic string) error {
	_, err := s.call(ctx, topic, url.Values{"Action": {"GetTopicAttributes"}, "TopicArn": {topic}})
	return err
}

func (s *snsSink) publish(ctx context.Context, m message) error {
	form := url.Values{
		"Action": {"Publish"}, "TopicArn": {string(m.Topic)}, "Subject": {m.subject}, "Message": {m.body},
	}
	if strings.HasSuffix(string(m.Topic), ".fifo") {
		// So that the topic keeps our order and drops our repeats.
		form.Set("MessageGroupId", string(m.Endpoint))
		form.Set("MessageDeduplicationId", m.MessageID)
	}
	body, err := s.call(ctx, string(m.Topic), form)
	if err != nil {
		return err
	}
	// Anything may answer 200; only SNS gives the message an id.
	var answer struct {
		ID string `xml:"PublishResult>MessageId"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil || answer.ID == "" {
		return errors.New("answered 200 without a message id, so it is not SNS")
	}
	return nil
}

// call makes one request and answers the body of a 200.
func (s *snsSink) call(ctx context.Context, topic string, form url.Values) ([]byte, error) {
	form.Set("Version", "2010-03-31")
	sent := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.rule.URL, strings.NewReader(sent))
	if err != nil {
		return nil, unreached(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.Header.Set("User-Agent", "postern")
	region := s.rule.Region
	if p := strings.Split(topic, ":"); region == "" && len(p) == 6 {
		region = p[3]
	}
	cred := sigv4.Credential{AccessKeyID: s.rule.AccessKey, Secret: s.rule.SecretKey}
	if err := sigv4.Sign(req, []byte(sent), cred, "sns", region, s.now()); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, unreached(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("answered %d with more than %d bytes", res.StatusCode, maxAnswer)
	}
	if res.StatusCode == http.StatusOK {
		return body, nil
	}
	var answer struct {
		Code string `xml:"Error>Code"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil || answer.Code == "" {
		return nil, fmt.Errorf("answered %d without an error of SNS", res.StatusCode)
	}
	// Some servers name the exception, not the code.
	if why, ok := refusals[strings.TrimSuffix(answer.Code, "Exception")]; ok && res.StatusCode/100 == 4 {
		return nil, &control.Refused{Reason: fmt.Sprintf("%.64s: %s", answer.Code, why)}
	}
	return nil, fmt.Errorf("answered %d %.64s", res.StatusCode, answer.Code)
}
