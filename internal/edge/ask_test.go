// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/s3"
	"postern.dev/postern/internal/vpc"
)

// oracle answers the edge's questions about a few objects.
type oracle struct {
	path string
	mu   sync.Mutex
	// asked are the questions so far.
	asked [][]s3.Object
	// instead answers in the place of what is known.
	instead http.HandlerFunc
}

func newOracle(t *testing.T) *oracle {
	o := &oracle{path: filepath.Join(t.TempDir(), "questions.sock")}
	l, err := net.Listen("unix", o.path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		instead := o.instead
		o.mu.Unlock()
		if instead != nil {
			io.Copy(io.Discard, r.Body)
			instead(w, r)
			return
		}
		var q struct{ Objects []s3.Object }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != http.MethodPost {
			t.Errorf("a question: %s %v", r.Method, err)
		}
		o.mu.Lock()
		o.asked = append(o.asked, q.Objects)
		o.mu.Unlock()
		var out struct {
			Objects []known `json:"objects"`
		}
		for _, about := range q.Objects {
			k := known{Owner: map[string]string{"data": testAccount, "theirs": "222222222222"}[about.Bucket]}
			if k.Owner != "" && about.Key != "" && about.Key != "missing" {
				k.Tags = map[string]string{"Team": about.Key + about.Version}
			}
			out.Objects = append(out.Objects, k)
		}
		json.NewEncoder(w).Encode(out)
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return o
}

// questions are those since they were asked for last.
func (o *oracle) questions() [][]s3.Object {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.asked
	o.asked = nil
	return out
}

func (o *oracle) say(f http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.instead = f
}

// newAskingBench is a bench whose backend can be asked.
func newAskingBench(t *testing.T) (*bench, *oracle) {
	o := newOracle(t)
	b := newBench(t, signedBackend(t).URL)
	b.config.Questions = map[string]string{"s3": "unix:" + o.path}
	b.configure()
	return b, o
}

const allowed = `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`

// statements are a policy.
func statements(s ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(s, ",") + `]}`
}

// under is a statement with a condition.
func under(effect, condition string) string {
	return `{"Effect":"` + effect + `","Principal":"*","Action":"*","Resource":"*","Condition":` + condition + `}`
}

func TestTagsAndOwnersDecide(t *testing.T) {
	b, o := newAskingBench(t)
	type objects = []s3.Object
	k, one := s3.Object{Bucket: "data", Key: "k"}, s3.Object{Bucket: "data"}
	denyTag := statements(allowed, under("Deny", `{"StringEquals":{"s3:ExistingObjectTag/team":"k"}}`))
	allowTag := statements(under("Allow", `{"StringEquals":{"s3:ExistingObjectTag/Team":["k","kv"]}}`))
	denyOthers := statements(allowed, under("Deny", `{"StringNotEquals":{"aws:ResourceAccount":"`+testAccount+`"}}`))
	allowOurs := statements(under("Allow", `{"StringEquals":{"s3:ResourceAccount":"`+testAccount+`"}}`))
	for _, tc := range []struct {
		policy, method, uri, source string
		want                        int
		asked                       objects // nil for no question
	}{
		{denyTag, "GET", "/data/k", "", 403, objects{k}},
		{denyTag, "HEAD", "/data/k", "", 403, objects{k}},
		{denyTag, "GET", "/data/other", "", 200, objects{{Bucket: "data", Key: "other"}}},
		{denyTag, "GET", "/data/missing", "", 200, objects{{Bucket: "data", Key: "missing"}}},
		{denyTag, "GET", "/data/k?tagging", "", 403, objects{k}},
		{denyTag, "GET", "/data/k?attributes", "", 403, objects{k}},
		{denyTag, "GET", "/data/k?acl", "", 403, objects{k}},
		{denyTag, "DELETE", "/data/k?tagging", "", 403, objects{k}},
		{denyTag, "GET", "/data/k?versionId=v", "", 200, objects{{Bucket: "data", Key: "k", Version: "v"}}},
		{denyTag, "PUT", "/data/new", "/data/k", 403, objects{k}},
		{denyTag, "PUT", "/data/new", "/data/other", 200, objects{{Bucket: "data", Key: "other"}}},
		{denyTag, "PUT", "/data/new?uploadId=u&partNumber=1", "/data/k", 403, objects{k}},
		{denyTag, "PUT", "/data/k", "", 200, nil},
		{denyTag, "DELETE", "/data/k", "", 200, nil},
		{denyTag, "GET", "/data", "", 200, nil},
		{allowTag, "GET", "/data/k", "", 200, objects{k}},
		{allowTag, "GET", "/data/k?versionId=v", "", 200, objects{{Bucket: "data", Key: "k", Version: "v"}}},
		{allowTag, "GET", "/data/missing", "", 403, objects{{Bucket: "data", Key: "missing"}}},
		{allowTag, "PUT", "/data/k", "", 403, nil},
		{statements(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::data/${s3:ExistingObjectTag/team}"}`), "GET", "/data/k", "", 200, objects{k}},
		{denyOthers, "GET", "/data/k", "", 200, objects{one}},
		{denyOthers, "GET", "/theirs/k", "", 403, objects{{Bucket: "theirs"}}},
		{denyOthers, "GET", "/theirs", "", 403, objects{{Bucket: "theirs"}}},
		{denyOthers, "PUT", "/data/new", "/theirs/k", 403, objects{one, {Bucket: "theirs"}}},
		{denyOthers, "PUT", "/nobodys", "", 200, objects{{Bucket: "nobodys"}}},
		{denyOthers, "PUT", "/theirs", "", 403, objects{{Bucket: "theirs"}}},
		{denyOthers, "DELETE", "/nobodys", "", 403, objects{{Bucket: "nobodys"}}},
		{denyOthers, "GET", "/", "", 403, nil},
		{allowOurs, "GET", "/data/k", "", 200, objects{one}},
		{allowOurs, "GET", "/theirs/k", "", 403, objects{{Bucket: "theirs"}}},
		{statements(allowed, under("Deny", `{"StringEquals":{"s3:ExistingObjectTag/team":"k","s3:ResourceAccount":"`+testAccount+`"}}`)), "GET", "/data/k", "", 403, objects{k}},
		// No question without need.
		{allowAll, "GET", "/data/k", "", 200, nil},
		{statements(allowed, under("Deny", `{"StringEquals":{"s3:RequestObjectTag/team":"k"}}`)), "GET", "/data/k", "", 200, nil},
		// What nobody knows is not asked about: no policy allows all of the service.
		{denyTag, "GET", "/data/k?unheard=of", "", 403, nil},
		{statements(under("Allow", `{"StringNotEquals":{"s3:ExistingObjectTag/team":"k"}}`)), "GET", "/data/k?unheard=of", "", 403, nil},
		{statements(under("Allow", `{"StringNotEquals":{"aws:ResourceAccount":"222222222222"}}`)), "GET", "/theirs/k?unheard=of", "", 403, nil},
	} {
		b.policy(tc.policy)
		r := b.request(tc.method, testHost, tc.uri, "")
		if tc.source != "" {
			r = b.request(tc.method, testHost, tc.uri, "", "X-Amz-Copy-Source: "+tc.source)
		}
		resp, got := b.do(r)
		rec := b.last()
		if resp.StatusCode != tc.want || (rec.Decision == DecisionAllow) != (tc.want == 200) || rec.Error != "" {
			t.Errorf("%s %s %s %s: %d %s %+v", tc.policy, tc.method, tc.uri, tc.source, resp.StatusCode, got, rec)
		}
		var want [][]s3.Object
		if tc.asked != nil {
			want = [][]s3.Object{tc.asked}
		}
		if asked := o.questions(); !slices.EqualFunc(asked, want, slices.Equal) {
			t.Errorf("%s %s %s: asked %v, want %v", tc.policy, tc.method, tc.uri, asked, want)
		}
	}

	// A thousand keys of a bucket are one question.
	b.policy(denyOthers)
	var keys strings.Builder
	for range 1000 {
		keys.WriteString("<Object><Key>k</Key></Object>")
	}
	if resp, got := b.do(b.request("POST", testHost, "/data?delete", "<Delete>"+keys.String()+"</Delete>")); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	b.last()
	if asked := o.questions(); len(asked) != 1 || !slices.Equal(asked[0], objects{one}) {
		t.Errorf("asked %v", asked)
	}

	// A user's own policies ask too.
	user := func(doc string) {
		b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {Account: testAccount, ARN: "arn:aws:iam::" + testAccount + ":user/ann", ID: "AIDAANN", Name: "ann", Policies: []string{doc}}}
		b.policy(allowAll)
	}
	for doc, want := range map[string]int{denyTag: 403, allowTag: 200, allowOurs: 200} {
		for range 2 { // also with what was compiled before
			user(strings.ReplaceAll(doc, `"Principal":"*",`, ""))
			if resp, got := b.do(b.request("GET", testHost, "/data/k", "")); resp.StatusCode != want || len(o.questions()) != 1 {
				t.Errorf("%s: %d %s", doc, resp.StatusCode, got)
			}
			b.last()
		}
	}
	b.config.Users = nil

	// The candidate asks, and changes nothing.
	b.candidate(allowAll, denyTag)
	if resp, got := b.do(b.request("GET", testHost, "/data/k", "")); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	if rec := b.last(); rec.Candidate == nil || rec.Candidate.Decision != DecisionDeny || !rec.Candidate.Explicit || len(o.questions()) != 1 {
		t.Errorf("record %+v", rec)
	}
}

// Nobody guesses what a backend does not say: a Deny may be about it.
func TestWhatABackendDoesNotSayIsRefused(t *testing.T) {
	b, o := newAskingBench(t)
	reached := b.config.Services["s3"]
	reached.Backends = []string{(func() string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Amz-Request-Id", "REACHED") }))
		t.Cleanup(srv.Close)
		return srv.URL
	})()}
	b.service("s3", reached)
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	deny := statements(allowed, under("Deny", `{"StringEquals":{"s3:ExistingObjectTag/team":"k"}}`))
	for name, tc := range map[string]struct {
		say   http.HandlerFunc
		piece string
	}{
		"an error":       {answer(500, "the storage does not say"), "status 500"},
		"another answer": {answer(200, "<html>"), "invalid character"},
		"one too many":   {answer(200, `{"objects":[{},{}]}`), "2 answers to 1 questions"},
		"too long":       {answer(200, `{"objects":[{"owner":"`+strings.Repeat("1", maxKnowing)+`"}]}`), "more than"},
		"too late":       {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
	} {
		o.say(tc.say)
		b.policy(deny)
		began := time.Now()
		resp, got := b.do(b.request("GET", testHost, "/data/k", ""))
		rec := b.last()
		if resp.StatusCode != 503 || !strings.Contains(got, "<Code>ServiceUnavailable</Code>") || rec.BackendRequestID != "" || rec.Decision != DecisionInvalid ||
			!strings.Contains(rec.Error, "the backend does not say what policies ask: ") || !strings.Contains(rec.Error, tc.piece) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %d %s %+v", name, resp.StatusCode, got, rec)
		}
		// Other requests are not held up, and the candidate's questions hold up none.
		if resp, got := b.do(b.request("PUT", testHost, "/data/k", "x")); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, got)
		}
		b.last()
		if name == "too late" {
			continue
		}
		b.candidate(allowAll, deny)
		resp, got = b.do(b.request("GET", testHost, "/data/k", ""))
		if rec := b.last(); resp.StatusCode != 200 || rec.Candidate != nil || !strings.Contains(rec.Error, tc.piece) || rec.Decision != DecisionAllow {
			t.Errorf("%s, the candidate: %d %s %+v", name, resp.StatusCode, got, rec)
		}
	}
	// Nobody at the socket.
	b.config.Questions = map[string]string{"s3": "unix:" + filepath.Join(t.TempDir(), "none.sock")}
	b.policy(deny)
	if resp, got := b.do(b.request("GET", testHost, "/data/k", "")); resp.StatusCode != 503 {
		t.Errorf("no socket: %d %s", resp.StatusCode, got)
	}
	b.last()
	// Who is nowhere to be asked is not: the key is absent.
	b.config.Questions = nil
	b.policy(deny)
	if resp, got := b.do(b.request("GET", testHost, "/data/k", "")); resp.StatusCode != 200 {
		t.Errorf("another's backend: %d %s", resp.StatusCode, got)
	}
	b.last()
}

// Other services' resources have their account in their ARN.
func TestAccountsOfOtherServicesResources(t *testing.T) {
	backend := newRecordingTable(t)
	b := newTableBench(t, backend.URL)
	b.policy(statements(allowed, under("Deny", `{"StringNotEqualsIfExists":{"aws:ResourceAccount":"`+testAccount+`"}}`)))
	for body, want := range map[string]int{
		`{"TableName":"Mine"}`: 200,
		`{"TableName":"arn:aws:dynamodb:us-east-1:111111111111:table/Mine"}`: 200,
		`{"TableName":"arn:aws:dynamodb:us-east-1:222222222222:table/Mine"}`: 400,
	} {
		if resp, got := b.do(b.tableRequest("DescribeTable", body)); resp.StatusCode != want {
			t.Errorf("%s: %d %s", body, resp.StatusCode, got)
		}
		b.last()
	}
	for arn, want := range map[string]string{
		"arn:aws:sqs:us-east-1:222222222222:q": "222222222222", "arn:aws:sqs:us-east-1::q": "", "arn:aws:sns:us-east-1:aws:t": "", "*": "",
	} {
		c := call.New()
		c.Add("sqs:SendMessage", arn)
		nameOwners(c)
		if got := c.Checks[0].Context["aws:ResourceAccount"]; want == "" && got != nil || want != "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v", arn, got)
		}
	}
	// A VPC of EC2's may be another's.
	if protocols["ec2"].owned || protocols["s3"].owned || !protocols["sqs"].owned {
		t.Error("who owns what")
	}
	x := &exchange{ep: &endpoint{service: &service{protocol: protocols["ec2"]}, document: document{wants: wants{owner: true}}}, state: &state{}}
	c := call.New()
	c.Add("ec2:DescribeVpcs", "arn:aws:ec2:us-east-1:111111111111:vpc/vpc-0a")
	if ok, e := x.learn(t.Context(), c, signer{account: vpc.AccountID(testAccount)}); !ok || e != nil || c.Checks[0].Context != nil {
		t.Errorf("%v %v %v", ok, e, c.Checks)
	}
}

// Connections for questions stay as long as the service has somebody to ask.
func TestTheAskedStayConnected(t *testing.T) {
	c := Config{Services: map[string]desired.Service{"s3": {Name: "s3", Protocol: "s3", Backends: []string{"unix:/s3"}}}, Questions: map[string]string{"s3": "unix:/questions"}}
	bs := &backends{}
	log := slog.New(slog.DiscardHandler)
	first := compile(c, &state{}, bs, func() {}, log)
	if again := compile(c, first, bs, func() {}, log); first.services["s3"].asked == nil || again.services["s3"].asked != first.services["s3"].asked {
		t.Error("the same socket is another backend")
	}
	c.Questions = nil
	if last := compile(c, first, bs, func() {}, log); last.services["s3"].asked != nil || len(bs.byKey) != 1 {
		t.Errorf("nobody to ask: %v", bs.byKey)
	}
}
