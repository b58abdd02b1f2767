// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// Types of rules.
const (
	SNS     = "sns"
	Webhook = "webhook"
	File    = "file"
)

// Rule is one entry of the operator's list of topics.
type Rule struct {
	// ARN is a topic's, or the start of several topics' with a * at the end.
	ARN string
	// Accounts may use the topics; "*" is every account. Empty: the account
	// that the topic's ARN names.
	Accounts []string
	Type     string
	// URL is where SNS or the webhook is, http or https.
	URL string
	// Region, for SNS, is what requests are signed for; "" is the topic's.
	Region string
	// AccessKey and SecretKey, for SNS, sign requests.
	AccessKey string
	SecretKey string
	// Secret, for webhooks, signs requests; at least 16 characters.
	Secret string
	// Path, for files, is absolute.
	Path string
}

// sink publishes for one rule.
type sink interface {
	// check asks whether a topic can be published to.
	check(ctx context.Context, topic string) error
	publish(ctx context.Context, m message) error
}

// Topics implements control.Topics by rules.
type Topics struct {
	rules []Rule
	sinks []sink // one for each rule
	log   *slog.Logger
}

var _ control.Topics = (*Topics)(nil)

// New makes topics of rules; it refuses rules that cannot be.
func New(rules []Rule, log *slog.Logger, now func() time.Time) (*Topics, error) {
	t := &Topics{rules: slices.Clone(rules), log: log}
	client := newClient()
	files := map[string]*file{}
	for _, r := range rules {
		s, err := newSink(r, client, files, now)
		if err != nil {
			return nil, fmt.Errorf("topic %q: %w", r.ARN, err)
		}
		t.sinks = append(t.sinks, s)
	}
	return t, nil
}

var (
	arnPattern = regexp.MustCompile(`^arn:aws:sns:[A-Za-z0-9:_-]*(\.fifo|\*)?$`)
	accountID  = regexp.MustCompile(`^(\*|[0-9]{12})$`)
)

func newSink(r Rule, client *http.Client, files map[string]*file, now func() time.Time) (sink, error) {
	if !arnPattern.MatchString(r.ARN) {
		return nil, errors.New("want the ARN of an SNS topic, or the start of one from arn:aws:sns: on and a * at its end")
	}
	for _, a := range r.Accounts {
		if !accountID.MatchString(a) {
			return nil, fmt.Errorf("account %q: want an account id of 12 digits, or *", a)
		}
	}
	// What belongs to another type would have no effect: it is a mistake.
	for _, f := range []struct {
		name, value string
		types       []string
	}{
		{"url", r.URL, []string{SNS, Webhook}}, {"region", r.Region, []string{SNS}},
		{"accessKey", r.AccessKey, []string{SNS}}, {"secretKey", r.SecretKey, []string{SNS}},
		{"secret", r.Secret, []string{Webhook}}, {"path", r.Path, []string{File}},
	} {
		belongs := slices.Contains(f.types, r.Type)
		if f.value != "" && !belongs {
			return nil, fmt.Errorf("%s does not belong to a topic of type %q", f.name, r.Type)
		}
		if f.value == "" && belongs && f.name != "region" {
			return nil, fmt.Errorf("a topic of type %s needs %s", r.Type, f.name)
		}
	}
	switch r.Type {
	case SNS:
		if err := checkURL(r.URL); err != nil {
			return nil, err
		}
		return &snsSink{rule: r, client: client, now: now}, nil
	case Webhook:
		if err := checkURL(r.URL); err != nil {
			return nil, err
		}
		if len(r.Secret) < 16 {
			return nil, errors.New("the webhook's secret needs at least 16 characters")
		}
		return &webhook{url: r.URL, secret: []byte(r.Secret), client: client, now: now}, nil
	case File:
		if !filepath.IsAbs(r.Path) {
			return nil, fmt.Errorf("path %q: want an absolute path", r.Path)
		}
		p := filepath.Clean(r.Path)
		if files[p] == nil {
			files[p] = &file{path: p}
		}
		return files[p], nil
	}
	return nil, fmt.Errorf("type %q: want sns, webhook or file", r.Type)
}

// checkURL refuses what is no address. It does not repeat the URL, which may
// hold a secret.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("url: want http:// or https:// and a host, without a user and without #")
	}
	return nil
}

// newClient makes the client of all sinks: bounded in time and size, and
// nobody but the operator says where it goes.
func newClient() *http.Client {
	d := net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         d.DialContext, // and no proxy: the URL is where it goes
			TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       15 * time.Second,
	}
}

// find answers the sink of a topic, nil if the account may not use it.
func (t *Topics) find(account vpc.AccountID, topic vpc.ARN) sink {
	for i, r := range t.rules {
		if start, many := strings.CutSuffix(r.ARN, "*"); string(topic) != r.ARN && !(many && strings.HasPrefix(string(topic), start)) {
			continue
		}
		if slices.Contains(r.Accounts, "*") || slices.Contains(r.Accounts, string(account)) {
			return t.sinks[i]
		}
		// arn:aws:sns:region:account:name
		if p := strings.Split(string(topic), ":"); len(r.Accounts) == 0 && len(p) == 6 && p[4] == string(account) {
			return t.sinks[i]
		}
		return nil
	}
	return nil
}

// Check implements control.Topics.
func (t *Topics) Check(ctx context.Context, account vpc.AccountID, topic vpc.ARN) error {
	s := t.find(account, topic)
	if s == nil {
		return control.NoSuchTopic(account, topic)
	}
	err := s.check(ctx, string(topic))
	if err == nil {
		return nil
	}
	t.log.Warn("topic cannot be used for connection notifications", "topic", topic, "account", account, "error", err)
	var refused *control.Refused
	if errors.As(err, &refused) {
		return vpc.Errorf(vpc.Invalid, "endpoint-parameter", string(topic), "The topic '%s' cannot be published to: %s", topic, refused.Reason)
	}
	// The reason is the operator's to know.
	return vpc.Errorf(vpc.Unavailable, "topic", string(topic), "The topic '%s' could not be asked whether it can be published to; try again later", topic)
}

// Deliver implements control.Topics.
func (t *Topics) Deliver(ctx context.Context, d control.Delivery) error {
	s := t.find(d.Account, d.Topic)
	if s == nil {
		return fmt.Errorf("the configuration has no topic %s for account %s any more", d.Topic, d.Account)
	}
	m, err := newMessage(d)
	if err != nil {
		return err
	}
	return s.publish(ctx, m)
}

// unreached is the error of a request without its URL.
func unreached(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return errors.New("no answer in time")
		}
		err = u.Err
	}
	return fmt.Errorf("not reached: %w", err)
}
