// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern.dev/postern/internal/desired"
)

// Every protocol passes what its policy allows to the backend as it came, and
// answers what it does not in the service's own words.
func TestServicesOfTablesAreServed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
	}))
	defer srv.Close()
	for protocol, tc := range map[string]struct {
		host, action, good, bad string // method, URI, target, body
		status                  int
		denial                  string
	}{
		"sns":                  {"sns.us-east-1.amazonaws.com", "sns:ListTopics", "POST / - Action=ListTopics", "POST / - Action=Publish&TopicArn=arn:aws:sns:us-east-1:111111111111:t", 403, "<Code>AuthorizationError</Code>"},
		"sqs":                  {"sqs.us-east-1.amazonaws.com", "sqs:SendMessage", `POST / AmazonSQS.SendMessage {"QueueUrl":"http://x/111111111111/q"}`, `POST / AmazonSQS.DeleteQueue {"QueueUrl":"http://x/111111111111/q"}`, 400, `"__type":"AccessDeniedException"`},
		"sts":                  {"sts.us-east-1.amazonaws.com", "sts:GetCallerIdentity", "POST / - Action=GetCallerIdentity", "POST / - Action=AssumeRole&RoleArn=arn:aws:iam::111111111111:role/r", 403, "<Code>AccessDenied</Code>"},
		"ec2":                  {"ec2.us-east-1.amazonaws.com", "ec2:DescribeVpcs", "GET /?Action=DescribeVpcs - ", "POST / - Action=DeleteVpc&VpcId=vpc-0123456789abcdef0", 403, "<Errors><Error><Code>UnauthorizedOperation</Code>"},
		"elasticloadbalancing": {"elasticloadbalancing.us-east-1.amazonaws.com", "elasticloadbalancing:DescribeRules", "POST / - Action=DescribeRules", "POST / - Action=Frobnicate", 403, "<Code>AccessDenied</Code>"},
		"logs":                 {"logs.us-east-1.amazonaws.com", "logs:PutLogEvents", `POST / Logs_20140328.PutLogEvents {"logGroupName":"g","logStreamName":"s"}`, `POST / Logs_20140328.DeleteLogGroup {"logGroupName":"g"}`, 400, `"__type":"AccessDeniedException"`},
		"ecr.api":              {"api.ecr.us-east-1.amazonaws.com", "ecr:GetAuthorizationToken", "POST / AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken {}", `POST / AmazonEC2ContainerRegistry_V20150921.PutImage {"repositoryName":"a"}`, 400, `"__type":"AccessDeniedException"`},
		"ecr.dkr":              {"222222222222.dkr.ecr.us-east-1.amazonaws.com", "ecr:BatchGetImage", "GET /v2/app/manifests/v1 - ", "PUT /v2/app/manifests/v1 - {}", 403, `"code":"DENIED"`},
	} {
		b := newBench(t, srv.URL)
		name := strings.TrimPrefix(tc.host, "222222222222")
		if name != tc.host {
			name = "*" + name
		}
		b.config.Services = map[string]desired.Service{"s3": {Name: protocol, ServiceName: protocol, Protocol: protocol, Backends: []string{srv.URL}, PublicNames: []string{name}}}
		b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"` + tc.action + `","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0a"}}}]}`)
		send := func(text string) (*http.Response, string, string) {
			f := strings.SplitN(text, " ", 4)
			r := rawRequest(t, f[0], tc.host, f[1], f[3])
			r.URL.Host = b.http
			if f[2] != "-" {
				r.Header.Set("X-Amz-Target", f[2])
			} else {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			resp, got := b.do(r)
			return resp, got, f[0] + " " + f[1] + " " + f[3]
		}
		if resp, got, want := send(tc.good); resp.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", protocol, resp.StatusCode, got, want)
		}
		if rec := b.last(); rec.Decision != DecisionAllow || rec.Action != tc.action {
			t.Errorf("%s: %+v", protocol, rec)
		}
		if resp, got, _ := send(tc.bad); resp.StatusCode != tc.status || !strings.Contains(got, tc.denial) {
			t.Errorf("%s: %d %s, want %s", protocol, resp.StatusCode, got, tc.denial)
		}
		if rec := b.last(); rec.Decision != DecisionDeny {
			t.Errorf("%s: %+v", protocol, rec)
		}
	}
	if len(Protocols()) != 10 {
		t.Errorf("protocols %v: test each", Protocols())
	}
}
