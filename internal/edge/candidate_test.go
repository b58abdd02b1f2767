// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/vpc"
)

var candidateSet = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// candidate gives the endpoint a policy and a candidate beside it.
func (b *bench) candidate(own, doc string) {
	b.config.Endpoints = map[vpc.EndpointID]desired.Endpoint{testEndpoint: {
		ID: testEndpoint, Owner: testAccount, VPC: "vpc-0a", VNI: testIdentity.VNI, Type: vpc.GatewayEndpoint, Service: "s3",
		Policy: own, Candidate: doc, CandidateSet: candidateSet,
	}}
	b.configure()
}

const (
	readOnly = `{"Statement":[{"Sid":"Read","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}]}`
	inVPC    = `{"Statement":[{"Sid":"Here","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0b"}}}]}`
	noReads  = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Sid":"NoReads","Effect":"Deny","Principal":"*","Action":"s3:Get*","Resource":"*"}]}`
)

// Answers are the same with any candidate; records say what it would have done.
func TestACandidateChangesNoAnswer(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	type result struct {
		Status    int
		Code      string
		Judgement Judgement
	}
	ask := func(method, uri string) (result, *Candidate) {
		resp, got := b.do(b.request(method, testHost, uri, ""))
		rec := b.last()
		_, message, _ := strings.Cut(got, "<Message>")
		message, _, _ = strings.Cut(message, "</Message>")
		return result{resp.StatusCode, message, rec.Judgement}, rec.Candidate
	}
	for _, own := range []string{"", readOnly, inVPC, noReads} {
		for _, uri := range []string{"GET /data/a", "PUT /data/a", "GET /data?frobnicate", "POST /data?delete"} {
			method, uri, _ := strings.Cut(uri, " ")
			b.candidate(own, "")
			want, none := ask(method, uri)
			if none != nil {
				t.Errorf("without a candidate: %+v", none)
			}
			for _, doc := range []string{readOnly, inVPC, noReads, allowAll, "{"} {
				b.candidate(own, doc)
				got, c := ask(method, uri)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s %s, policy %s, candidate %s (-without +with):\n%s", method, uri, own, doc, d)
				}
				if want.Judgement.Decision == DecisionInvalid {
					if c != nil {
						t.Errorf("%s %s: judged by a candidate: %+v", method, uri, c)
					}
					continue
				}
				if c == nil || !c.Set.Equal(candidateSet) {
					t.Fatalf("%s %s, candidate %s: recorded %+v", method, uri, doc, c)
				}
				// What it says is what it does as the endpoint's policy.
				b.candidate(doc, "")
				if as, _ := ask(method, uri); cmp.Diff(as.Judgement, c.Judgement) != "" {
					t.Errorf("%s %s, candidate %s (-as the policy +as the candidate):\n%s", method, uri, doc, cmp.Diff(as.Judgement, c.Judgement))
				}
			}
		}
	}
}

// The candidate stands in the place of the endpoint's policy, and a user's own
// policies have their say beside both.
func TestACandidateDoesNotAllowWhatTheUserMayNot(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	b.config.Keys = nil
	b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {Account: testAccount, ARN: "arn:aws:iam::" + testAccount + ":user/ann", ID: "AIDAANN", Name: "ann",
		Policies: []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0b"}}}]}`}}}
	b.candidate(noReads, allowAll)
	if resp, _ := b.do(b.request("GET", testHost, "/data/a", "")); resp.StatusCode != 403 {
		t.Fatal(resp.StatusCode)
	}
	rec := b.last()
	if !rec.Explicit || rec.Policy != "endpoint" || rec.Statement != 1 || rec.Sid != "NoReads" {
		t.Errorf("record %+v", rec.Judgement)
	}
	c := rec.Candidate
	want := []FailedCondition{{"StringEquals", "aws:SourceVpc", []string{"vpc-0b"}, []string{"vpc-0a"}}}
	if c.Decision != DecisionDeny || c.Policy != "identity" || c.Explicit || !strings.Contains(c.Remedy, `aws:SourceVpc StringEquals "vpc-0b"`) || cmp.Diff(want, c.Failed) != "" {
		t.Errorf("candidate %+v", c)
	}
}

// A denial's record has what somebody needs to mend it, and no more than fits.
func TestADenialsRecordIsBounded(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	var conditions []string
	for _, k := range strings.Split("abcdefghijkl", "") {
		conditions = append(conditions, `"aws:RequestTag/`+k+`":["`+strings.Repeat("v", 500)+`","1","2","3","4","5","6"]`)
	}
	doc := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:UserAgent":"other",` + strings.Join(conditions, ",") + `}}}]}`
	b.candidate(doc, doc)
	b.do(b.request("GET", testHost, "/data/"+strings.Repeat("k", 900), "", "User-Agent: "+strings.Repeat("\"", 3000)))
	rec := b.last()
	if len(rec.Failed) != maxFailed || rec.FailedLeftOut != 13-maxFailed || rec.Remedy == "" {
		t.Fatalf("%d conditions and %d more: %+v", len(rec.Failed), rec.FailedLeftOut, rec)
	}
	if have := rec.Failed[0].Have; len(have) != 1 || len(have[0]) > maxFailedValue+8 {
		t.Errorf("have %q", have)
	}
	if want := rec.Failed[1].Want; len(want) != maxFailedValues+1 || len(want[0]) > maxFailedValue+8 || want[maxFailedValues] != "(2 more)" {
		t.Errorf("want %q", want)
	}
	line, err := json.Marshal(rec)
	if err != nil || len(line) > 64<<10 {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}

// Without a candidate a request costs what asking the one policy costs.
func TestNoCandidateCostsNoAllocation(t *testing.T) {
	exchangeWith := func(candidate string) (*exchange, *call.Call, *http.Request) {
		s := compile(Config{
			Region:   "us-east-1",
			Services: map[string]desired.Service{"s3": {Name: "s3", Protocol: "s3", PublicNames: []string{testHost}}},
			Endpoints: map[vpc.EndpointID]desired.Endpoint{testEndpoint: {
				ID: testEndpoint, VNI: 1, Service: "s3", Candidate: candidate, CandidateSet: candidateSet,
			}},
		}, &state{}, &backends{}, func() {}, slog.New(slog.DiscardHandler))
		r := httptest.NewRequest("GET", "http://"+testHost+"/data/a", nil)
		ep := s.endpoints[vpc.Num(testEndpoint)]
		c, e := ep.service.protocol.read(call.Request{
			Method: r.Method, URI: "/data/a", Header: r.Header, Region: s.region, Now: candidateSet, Account: func(string) string { return "" },
		}, ep.service)
		if e != nil {
			t.Fatal(e)
		}
		return &exchange{state: s, ep: ep, id: testIdentity}, c, r
	}
	x, c, r := exchangeWith("")
	least := testing.AllocsPerRun(100, func() {
		x.context(c, "", "", nil, r, candidateSet)
		v := x.decide(c, signer{}, &x.ep.document)
		x.rec.Judgement = v.judgement()
	})
	if n := testing.AllocsPerRun(100, func() { x.judge(c, r, candidateSet) }); n != least {
		t.Errorf("%v allocations without a candidate, want %v", n, least)
	}
	x, c, r = exchangeWith(allowAll)
	if n := testing.AllocsPerRun(100, func() { x.judge(c, r, candidateSet) }); n <= least {
		t.Errorf("%v allocations with a candidate, %v without: nothing was measured", n, least)
	}
}

// What the service itself refuses is in the record, and passes as it came.
func TestTheServicesOwnRefusalIsRecorded(t *testing.T) {
	var status int
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{403, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>by the bucket policy</Message></Error>`, "AccessDenied: by the bucket policy"},
		{403, `<ErrorResponse xmlns="x"><Error><Type>Sender</Type><Code>AuthorizationError</Code></Error></ErrorResponse>`, "AuthorizationError"},
		{403, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>`, "UnauthorizedOperation: no"},
		{400, `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"no"}`, "AccessDeniedException: no"},
		{401, `{"__type":"X"}`, "X"},
		{403, `<Error><Code>` + strings.Repeat("c", 5000) + `</Code></Error>`, strings.Repeat("c", 100)},
		{403, `Forbidden`, ""},
		{403, ``, ""},
		{404, `<Error><Code>NoSuchKey</Code></Error>`, ""},
		{200, `<Error><Code>AccessDenied</Code></Error>`, ""},
	} {
		status, body = c.status, c.body
		resp, got := b.do(b.request("GET", testHost, "/data/a", ""))
		rec := b.last()
		if resp.StatusCode != c.status || got != c.body || rec.Decision != DecisionAllow || rec.Policy != "endpoint" {
			t.Errorf("%d %s: %d %s, %+v", c.status, c.body, resp.StatusCode, got, rec)
		}
		if c.want == "" && rec.ServiceError != "" || !strings.HasPrefix(rec.ServiceError, c.want) || len(rec.ServiceError) > maxField+8 {
			t.Errorf("%s: recorded %q", c.body, rec.ServiceError)
		}
	}
}

// Denials are in AWS's words in every format.
func TestDenialsAreInAWSsWords(t *testing.T) {
	const publish = "Action=Publish&TopicArn=arn:aws:sns:us-east-1:111111111111:t"
	b := newBench(t, signedBackend(t).URL)
	for _, c := range []struct {
		protocol, host, target, body string
		action, resource             string
	}{
		{"dynamodb", "dynamodb.us-east-1.amazonaws.com", "DynamoDB_20120810.GetItem", `{"TableName":"T","Key":{"k":{"S":"1"}}}`, "dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:111111111111:table/T"},
		{"sqs", "sqs.us-east-1.amazonaws.com", "AmazonSQS.DeleteQueue", `{"QueueUrl":"http://x/111111111111/q"}`, "sqs:DeleteQueue", "arn:aws:sqs:us-east-1:111111111111:q"},
		{"sns", "sns.us-east-1.amazonaws.com", "", publish, "sns:Publish", "arn:aws:sns:us-east-1:111111111111:t"},
		{"ec2", "ec2.us-east-1.amazonaws.com", "", "Action=DescribeVpcs", "ec2:DescribeVpcs", "*"},
	} {
		b.config.Services = map[string]desired.Service{"s3": {Name: c.protocol, ServiceName: c.protocol, Protocol: c.protocol, PublicNames: []string{c.host}}}
		for policy, why := range map[string]string{
			`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"x:y","Resource":"*"}]}`:                                                             "because no VPC endpoint policy allows the " + c.action + " action",
			`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`: "with an explicit deny in a VPC endpoint policy",
		} {
			b.policy(policy)
			r := rawRequest(t, "POST", c.host, "/", c.body)
			r.URL.Host = b.http
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if c.target != "" {
				r.Header.Set("X-Amz-Target", c.target)
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+testCreds.AccessKeyID+"/20260102/us-east-1/"+c.protocol+"/aws4_request, SignedHeaders=host, Signature=00")
			resp, got := b.do(r)
			text := strings.NewReplacer("&#34;", `"`, `\"`, `"`, "&quot;", `"`).Replace(got)
			want := "User: arn:aws:iam::111111111111:root is not authorized to perform: " + c.action + ` on resource: "` + c.resource + `" ` + why
			if !strings.Contains(text, want) {
				t.Errorf("%s: %d %s\nwant %s", c.protocol, resp.StatusCode, text, want)
			}
			if rec := b.last(); rec.Policy != "endpoint" || rec.Remedy == "" || rec.Reason == "" || rec.Explicit != strings.Contains(why, "explicit") {
				t.Errorf("%s: %+v", c.protocol, rec.Judgement)
			}
		}
	}
}
