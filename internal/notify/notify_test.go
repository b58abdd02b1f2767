// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern.dev/postern/internal/api/sigv4"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

const (
	account = vpc.AccountID("222222222222")
	topic   = "arn:aws:sns:eu-central-1:222222222222:events"
	secret  = "a secret of the webhook's"
	keyID   = "AKIDEXAMPLE"
	key     = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var now = time.Date(2026, 2, 28, 23, 59, 30, 123456789, time.UTC)

func delivery() control.Delivery {
	return control.Delivery{
		Topic: topic, Account: account, MessageID: "3f1b2c4d-0000-4000-8000-000000000001", Event: vpc.EventAccept, Time: now,
		Region: "us-east-1", Notification: "vpce-nfn-00000000000000001", Endpoint: "vpce-00000000000000001",
		EndpointOwner: "111111111111", Service: "vpce-svc-00000000000000001",
		ServiceName: "com.amazonaws.vpce.us-east-1.vpce-svc-00000000000000001", Sequence: 2,
	}
}

const wantBody = `{"messageId":"3f1b2c4d-0000-4000-8000-000000000001","event":"Accept","timestamp":"2026-02-28T23:59:30.123456789Z",` +
	`"region":"us-east-1","connectionNotificationId":"vpce-nfn-00000000000000001","vpcEndpointId":"vpce-00000000000000001",` +
	`"vpcEndpointOwner":"111111111111","vpcEndpointServiceId":"vpce-svc-00000000000000001",` +
	`"serviceName":"com.amazonaws.vpce.us-east-1.vpce-svc-00000000000000001","sequence":2}`

func newTopics(t *testing.T, rules ...Rule) *Topics {
	t.Helper()
	to, err := New(rules, slog.New(slog.DiscardHandler), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func snsRule(url string) Rule {
	return Rule{ARN: topic, Type: SNS, URL: url, AccessKey: keyID, SecretKey: key}
}

// serve answers every request with h, which gets the body, until the test ends.
func serve(t *testing.T, h func(w http.ResponseWriter, r *http.Request, body []byte)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h(w, r, b)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const published = `<?xml version="1.0"?><PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m-1</MessageId></PublishResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishResponse>`

func snsError(code string) string {
	return `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + key + `</Message></Error><RequestId>r</RequestId></ErrorResponse>`
}

// The request is one that AWS would take: action, version, and a signature
// over it for the topic's region.
func TestSNSGetsASignedPublish(t *testing.T) {
	var form url.Values
	v := &sigv4.Verifier{
		Lookup: func(string, string) (sigv4.Credential, bool) {
			return sigv4.Credential{AccessKeyID: keyID, Secret: key}, true
		},
		Services: []string{"sns"}, Regions: []string{"eu-central-1"}, Now: func() time.Time { return now },
	}
	u := serve(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if _, err := v.Verify(r, body); err != nil {
			t.Error(err)
		}
		form, _ = url.ParseQuery(string(body))
		io.WriteString(w, published)
	})
	if err := newTopics(t, snsRule(u)).Deliver(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {topic},
		"Subject": {"VPC endpoint vpce-00000000000000001: Accept"}, "Message": {wantBody},
	}
	if form.Encode() != want.Encode() {
		t.Errorf("sent %v\nwant %v", form, want)
	}
}

// A FIFO topic keeps the order of an endpoint's events and drops repeats.
func TestFIFOTopicsGetGroupAndDeduplication(t *testing.T) {
	var form url.Values
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, body []byte) {
		form, _ = url.ParseQuery(string(body))
		io.WriteString(w, published)
	})
	r := snsRule(u)
	r.ARN = "arn:aws:sns:eu-central-1:*"
	d := delivery()
	d.Topic += ".fifo"
	if err := newTopics(t, r).Deliver(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if form.Get("MessageGroupId") != string(d.Endpoint) || form.Get("MessageDeduplicationId") != d.MessageID {
		t.Errorf("sent %v", form)
	}
}

func TestSNSAnswersAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		ok      bool
		refused bool
		says    string
	}{
		"published":              {200, published, true, false, ""},
		"not SNS":                {200, "<html>welcome</html>", false, false, "not SNS"},
		"empty":                  {200, "", false, false, "not SNS"},
		"too large":              {200, published + strings.Repeat(" ", maxAnswer), false, false, "more than"},
		"huge error":             {500, strings.Repeat("x", 1<<20), false, false, "more than"},
		"internal error":         {500, snsError("InternalError"), false, false, "500 InternalError"},
		"throttled":              {400, snsError("Throttling"), false, false, "Throttling"},
		"wrong key":              {403, snsError("InvalidClientTokenId"), false, false, "InvalidClientTokenId"},
		"wrong signature":        {403, snsError("SignatureDoesNotMatch"), false, false, "SignatureDoesNotMatch"},
		"a proxy's 404":          {404, "<html>no such page</html>", false, false, "404"},
		"a 5xx that says denied": {503, snsError("AuthorizationError"), false, false, "503"},
		"topic gone":             {404, snsError("NotFound"), false, true, "does not exist"},
		"topic gone, exception":  {404, snsError("NotFoundException"), false, true, "does not exist"},
		"not allowed":            {403, snsError("AuthorizationError"), false, true, "not allow"},
		"invalid topic":          {400, snsError("InvalidParameter"), false, true, "not valid"},
		"redirect":               {307, "", false, false, "307"},
	} {
		t.Run(name, func(t *testing.T) {
			u := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
				if r.URL.Path != "/" {
					t.Errorf("followed to %s", r.URL.Path)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			check(t, newTopics(t, snsRule(u+"/")).Deliver(t.Context(), delivery()), c.ok, c.refused, c.says)
		})
	}
}

func check(t *testing.T, err error, ok, refused bool, says string) {
	t.Helper()
	var r *control.Refused
	switch {
	case (err == nil) != ok:
		t.Errorf("error %v, want none %v", err, ok)
	case err != nil && (errors.As(err, &r) != refused || !strings.Contains(err.Error(), says)):
		t.Errorf("error %q, want %q, refused %v", err, says, refused)
	case err != nil && (strings.Contains(err.Error(), key) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "http")):
		t.Errorf("error %q holds a secret or a URL", err)
	}
}

// A server that is slow, or not there, costs an attempt and no more.
func TestServersThatDoNotAnswerAreGivenUp(t *testing.T) {
	block := make(chan struct{})
	for name, h := range map[string]func(w http.ResponseWriter){
		"no answer": func(http.ResponseWriter) { <-block },
		"an answer that does not end": func(w http.ResponseWriter) {
			io.WriteString(w, "<PublishResponse>")
			w.(http.Flusher).Flush()
			<-block
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { h(w) })
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			defer func() { block <- struct{}{} }()
			check(t, newTopics(t, snsRule(u)).Deliver(ctx, delivery()), false, false, "")
		})
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, r := range []Rule{snsRule(gone.URL + "/t0p-secret"), {ARN: topic, Type: Webhook, URL: gone.URL + "/t0p-secret", Secret: secret}} {
		err := newTopics(t, r).Deliver(t.Context(), delivery())
		check(t, err, false, false, "refused")
		if strings.Contains(err.Error(), "t0p") {
			t.Errorf("%s: the URL is in %q", r.Type, err)
		}
	}
}

func TestWebhooksGetASignedEnvelope(t *testing.T) {
	var got envelope
	u := serve(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		// As docs/operations.md says to verify it.
		stamp, mac, _ := strings.Cut(r.Header.Get("Postern-Signature"), ",v1=")
		stamp = strings.TrimPrefix(stamp, "t=")
		m := hmac.New(sha256.New, []byte(secret))
		m.Write(append([]byte(stamp+"."), body...))
		if mac != hex.EncodeToString(m.Sum(nil)) || stamp != strconv.FormatInt(now.Unix(), 10) {
			t.Errorf("signature %q", r.Header.Get("Postern-Signature"))
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		if r.Method != "POST" || r.URL.String() != "/hook?x=1" || r.Header.Get("X-Amz-Sns-Message-Type") != "Notification" || r.Header.Get("X-Amz-Sns-Topic-Arn") != topic {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := newTopics(t, Rule{ARN: topic, Type: Webhook, URL: u + "/hook?x=1", Secret: secret}).Deliver(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	if want := (envelope{"Notification", delivery().MessageID, topic, "VPC endpoint vpce-00000000000000001: Accept", wantBody, "2026-02-28T23:59:30.123Z"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWebhookAnswersAreToldApart(t *testing.T) {
	for status, c := range map[int]struct{ ok, refused bool }{
		200: {true, false}, 202: {true, false}, 204: {true, false},
		301: {}, 302: {}, 307: {}, 400: {}, 408: {}, 429: {}, 500: {}, 502: {}, 503: {},
		401: {false, true}, 403: {false, true}, 404: {false, true}, 410: {false, true},
	} {
		u := serve(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
			if r.URL.Path != "/" {
				t.Errorf("%d: followed to %s", status, r.URL.Path)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			if status != 204 {
				w.Write(bytes.Repeat([]byte("x"), 1<<20))
			}
		})
		check(t, newTopics(t, Rule{ARN: topic, Type: Webhook, URL: u + "/", Secret: secret}).Deliver(t.Context(), delivery()), c.ok, c.refused, strconv.Itoa(status))
	}
}

// What failed once is taken the next time.
func TestA500AndThenA200IsDelivered(t *testing.T) {
	n := 0
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		if n++; n == 1 {
			w.WriteHeader(500)
			return
		}
		io.WriteString(w, published)
	})
	to := newTopics(t, snsRule(u))
	check(t, to.Deliver(t.Context(), delivery()), false, false, "500")
	check(t, to.Deliver(t.Context(), delivery()), true, false, "")
}

func TestFilesGetOneLineEach(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	to := newTopics(t, Rule{ARN: topic, Type: File, Path: path}, Rule{ARN: topic + "2", Type: File, Path: path})
	if err := to.Check(t.Context(), account, topic); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 || st.Size() != 0 {
		t.Fatalf("after the check: %v, %v", st, err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			d := delivery()
			d.Sequence = int64(i)
			if i%2 == 0 {
				d.Topic += "2"
			}
			if err := to.Deliver(context.Background(), d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[int64]bool{}
	for _, l := range lines(t, path) {
		var e envelope
		var m control.Delivery
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		if err := json.Unmarshal([]byte(e.Message), &m); err != nil {
			t.Fatal(err)
		}
		seen[m.Sequence] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d of 20 events are in the file", len(seen))
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func TestALineThatWasCutShortSpoilsNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte(`{"Type":"Notif`), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newTopics(t, Rule{ARN: topic, Type: File, Path: path})
	if err := to.Deliver(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, path); len(got) != 2 || !json.Valid([]byte(got[1])) {
		t.Errorf("the file has %q", got)
	}
}

// Renaming the file away, as log rotation does, needs no signal.
func TestAFileMayBeRenamedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	to := newTopics(t, Rule{ARN: topic, Type: File, Path: path})
	for range 2 {
		if err := to.Deliver(t.Context(), delivery()); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
	}
	if got := lines(t, path+".1"); len(got) != 1 {
		t.Errorf("the second file has %q", got)
	}
}

func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{pipe, link, dir, filepath.Join(dir, "missing", "file")} {
		to := newTopics(t, Rule{ARN: topic, Type: File, Path: p})
		check(t, to.Deliver(t.Context(), delivery()), false, false, "")
		var e *vpc.Error
		if err := to.Check(t.Context(), account, topic); !errors.As(err, &e) || e.Kind != vpc.Unavailable || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the account is told %v", p, err)
		}
	}
}

// Without a list a topic is for the account that its ARN names.
func TestTopicsAreForTheirAccounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	to := newTopics(t,
		Rule{ARN: topic, Type: File, Path: path},
		Rule{ARN: "arn:aws:sns:us-east-1:333333333333:shared-*", Type: File, Path: path, Accounts: []string{"111111111111", "222222222222"}},
		Rule{ARN: "arn:aws:sns:us-east-1:333333333333:all", Type: File, Path: path, Accounts: []string{"*"}},
		Rule{ARN: "arn:aws:sns:us-east-1:*", Type: File, Path: path},
	)
	for _, c := range []struct {
		account vpc.AccountID
		topic   vpc.ARN
		ok      bool
	}{
		{"222222222222", topic, true},
		{"111111111111", topic, false},
		{"222222222222", topic + "x", false},
		{"111111111111", "arn:aws:sns:us-east-1:333333333333:shared-1", true},
		{"222222222222", "arn:aws:sns:us-east-1:333333333333:shared-2", true},
		{"333333333333", "arn:aws:sns:us-east-1:333333333333:shared-2", false}, // the first rule that fits decides
		{"444444444444", "arn:aws:sns:us-east-1:333333333333:all", true},
		{"333333333333", "arn:aws:sns:us-east-1:333333333333:other", true},
		{"444444444444", "arn:aws:sns:us-east-1:333333333333:other", false},
		{"444444444444", "arn:aws:sns:us-west-2:444444444444:other", false},
	} {
		err := to.Check(t.Context(), c.account, c.topic)
		if (err == nil) != c.ok {
			t.Errorf("%s using %s: %v, want allowed %v", c.account, c.topic, err, c.ok)
		}
		if err != nil && (err.Error() != control.NoSuchTopic(c.account, c.topic).Error() || !strings.Contains(err.Error(), string(c.topic))) {
			t.Errorf("%s using %s: %v", c.account, c.topic, err)
		}
		d := delivery()
		d.Account, d.Topic = c.account, c.topic
		if err := to.Deliver(t.Context(), d); (err == nil) != c.ok {
			t.Errorf("%s sending to %s: %v, want allowed %v", c.account, c.topic, err, c.ok)
		}
	}
}

// The answer to a check is for the account: it says what the topic said, and
// nothing of what is behind it.
func TestCheckAsksTheTopic(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kind   vpc.ErrorKind
		says   string
	}{
		"exists":      {200, `<GetTopicAttributesResponse/>`, "", ""},
		"gone":        {404, snsError("NotFound"), vpc.Invalid, "does not exist"},
		"not allowed": {403, snsError("AuthorizationError"), vpc.Invalid, "does not allow"},
		"wrong key":   {403, snsError("InvalidClientTokenId"), vpc.Unavailable, "later"},
		"broken":      {500, "", vpc.Unavailable, "later"},
	} {
		t.Run(name, func(t *testing.T) {
			u := serve(t, func(w http.ResponseWriter, _ *http.Request, body []byte) {
				f, _ := url.ParseQuery(string(body))
				if f.Get("Action") != "GetTopicAttributes" || f.Get("TopicArn") != topic {
					t.Errorf("asked %v", f)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			var log bytes.Buffer
			to, err := New([]Rule{snsRule(u + "/path")}, slog.New(slog.NewTextHandler(&log, nil)), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			err = to.Check(t.Context(), account, topic)
			if control.KindOf(err) != c.kind || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), topic)) {
				t.Errorf("error %v, want %s: %s", err, c.kind, c.says)
			}
			if text := log.String(); (err != nil) != (text != "") || strings.Contains(text, key) || strings.Contains(text, "/path") {
				t.Errorf("logged %q", text)
			}
		})
	}
}

func TestRulesThatCannotBeAreRefused(t *testing.T) {
	good := snsRule("https://sns.example.com")
	hook := Rule{ARN: topic, Type: Webhook, URL: "https://example.com", Secret: secret}
	for name, r := range map[string]Rule{
		"no ARN":            {Type: File, Path: "/f"},
		"not SNS's":         {ARN: "arn:aws:sqs:*", Type: File, Path: "/f"},
		"star in between":   {ARN: "arn:aws:sns:*:222222222222:x", Type: File, Path: "/f"},
		"everything":        {ARN: "*", Type: File, Path: "/f"},
		"bad account":       {ARN: topic, Type: File, Path: "/f", Accounts: []string{"consumer"}},
		"no type":           {ARN: topic, URL: "https://example.com"},
		"unknown type":      {ARN: topic, Type: "sqs"},
		"relative path":     {ARN: topic, Type: File, Path: "f"},
		"no path":           {ARN: topic, Type: File},
		"path and URL":      {ARN: topic, Type: File, Path: "/f", URL: "https://example.com"},
		"no key":            {ARN: topic, Type: SNS, URL: "https://example.com"},
		"secret for SNS":    with(good, func(r *Rule) { r.Secret = secret }),
		"no scheme":         with(good, func(r *Rule) { r.URL = "sns.example.com" }),
		"another scheme":    with(good, func(r *Rule) { r.URL = "file:///etc/passwd" }),
		"user in URL":       with(good, func(r *Rule) { r.URL = "https://u:" + secret[:8] + "@example.com" }),
		"no host":           with(good, func(r *Rule) { r.URL = "http://:80/" }),
		"short secret":      with(hook, func(r *Rule) { r.Secret = "short" }),
		"no secret":         with(hook, func(r *Rule) { r.Secret = "" }),
		"key for a webhook": with(hook, func(r *Rule) { r.AccessKey = keyID }),
	} {
		if _, err := New([]Rule{good, hook, r}, slog.New(slog.DiscardHandler), time.Now); err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), secret[:8]) || strings.Contains(err.Error(), key) {
			t.Errorf("%s: the secret is in %q", name, err)
		}
	}
}

func with(r Rule, change func(*Rule)) Rule { change(&r); return r }
