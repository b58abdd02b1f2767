// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/internal/desired"
)

const tableHost = "dynamodb.us-east-1.amazonaws.com"

// recordingTable is a backend that notes what it is asked and knows one table.
type recordingTable struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newRecordingTable(t *testing.T) *recordingTable {
	b := &recordingTable{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		b.mu.Lock()
		b.got = append(b.got, op+" "+string(body))
		b.mu.Unlock()
		w.Header().Set("X-Amzn-Requestid", "TABLE")
		if op == "DescribeTable" {
			io.WriteString(w, `{"Table":{"KeySchema":[{"AttributeName":"user","KeyType":"HASH"},{"AttributeName":"at","KeyType":"RANGE"}]}}`)
			return
		}
		io.WriteString(w, `{}`)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *recordingTable) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

func newTableBench(t *testing.T, backend string) *bench {
	b := newBench(t, backend)
	b.config.Services = map[string]desired.Service{"s3": {
		Name: "dynamodb", ServiceName: "com.amazonaws.us-east-1.dynamodb", Protocol: "dynamodb", Backends: []string{backend}, PublicNames: []string{tableHost},
	}}
	return b
}

// tableRequest makes a request of DynamoDB's.
func (b *bench) tableRequest(op, body string) *http.Request {
	r := rawRequest(b.t, "POST", tableHost, "/", body)
	r.URL.Host = b.http
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+testCreds.AccessKeyID+"/20260102/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-target, Signature=00")
	return r
}

func TestTablesAreReachedAsThePolicySays(t *testing.T) {
	backend := newRecordingTable(t)
	b := newTableBench(t, backend.URL)
	b.policy(`{"Statement":[
		{"Effect":"Allow","Principal":"*","Action":["dynamodb:GetItem","dynamodb:DescribeTable","dynamodb:BatchWriteItem"],"Resource":"arn:aws:dynamodb:us-east-1:111111111111:table/Mine"},
		{"Sid":"Own","Effect":"Allow","Principal":"*","Action":["dynamodb:Query","dynamodb:PartiQLSelect"],"Resource":"arn:aws:dynamodb:us-east-1:111111111111:table/Shared",
		 "Condition":{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["ann"],"dynamodb:Attributes":["user","at","text"]},"StringEqualsIfExists":{"dynamodb:Select":"SPECIFIC_ATTRIBUTES"}}},
		{"Effect":"Allow","Principal":"*","Action":"dynamodb:DescribeTable","Resource":"*"}]}`)
	for _, tc := range []struct {
		op, body string
		resource string // of the denial, "" for allowed
	}{
		{"GetItem", `{"TableName":"Mine","Key":{"k":{"S":"1"}}}`, ""},
		{"GetItem", `{"TableName":"Theirs","Key":{"k":{"S":"1"}}}`, "table/Theirs"},
		{"BatchWriteItem", `{"RequestItems":{"Mine":[{"PutRequest":{"Item":{"k":{"S":"1"}}}}]}}`, ""},
		{"BatchWriteItem", `{"RequestItems":{"Mine":[{"PutRequest":{"Item":{"k":{"S":"1"}}}}],"Theirs":[{"DeleteRequest":{"Key":{"k":{"S":"1"}}}}]}}`, "table/Theirs"},
		{"ExecuteStatement", `{"Statement":"SELECT text FROM Shared WHERE \"user\"='ann'"}`, ""},
		{"ExecuteStatement", `{"Statement":"SELECT text FROM Shared WHERE \"user\"='bob'"}`, "table/Shared"},
		{"ExecuteStatement", `{"Statement":"SELECT * FROM Shared WHERE \"user\"='ann'"}`, "table/Shared"},
		{"ExecuteStatement", `{"Statement":"DELETE FROM Shared WHERE \"user\"='ann'"}`, "table/Shared"},
		// Which of the two is the partition key is not known, so both must do.
		{"Query", `{"TableName":"Shared","ProjectionExpression":"#t","ExpressionAttributeNames":{"#t":"text","#u":"user"},"KeyConditionExpression":"#u = :u AND at = :a","ExpressionAttributeValues":{":u":{"S":"ann"},":a":{"N":"7"}}}`, "table/Shared"},
		{"DescribeTable", `{"TableName":"Shared"}`, ""},
		{"Query", `{"TableName":"Shared","ProjectionExpression":"#t","ExpressionAttributeNames":{"#t":"text","#u":"user"},"KeyConditionExpression":"#u = :u AND at = :a","ExpressionAttributeValues":{":u":{"S":"ann"},":a":{"N":"7"}}}`, ""},
		{"Query", `{"TableName":"Shared","ProjectionExpression":"#t","ExpressionAttributeNames":{"#t":"text","#u":"user"},"KeyConditionExpression":"#u = :u AND at = :a","ExpressionAttributeValues":{":u":{"S":"bob"},":a":{"S":"ann"}}}`, "table/Shared"},
		{"Query", `{"TableName":"Shared","KeyConditionExpression":"at = :a","ExpressionAttributeValues":{":a":{"N":"7"}}}`, "table/Shared"},
		{"Frobnicate", `{}`, "*"},
	} {
		before := backend.count()
		resp, got := b.do(b.tableRequest(tc.op, tc.body))
		rec := b.last()
		if tc.resource == "" {
			if resp.StatusCode != 200 || backend.count() != before+1 || backend.got[before] != tc.op+" "+tc.body || rec.BackendRequestID != "TABLE" {
				t.Errorf("%s %s: %d %s %+v", tc.op, tc.body, resp.StatusCode, got, rec)
			}
			continue
		}
		if resp.StatusCode != 400 || !strings.Contains(got, `"__type":"com.amazon.coral.service#AccessDeniedException"`) || !strings.HasSuffix(rec.Resource, tc.resource) ||
			rec.Decision != DecisionDeny || backend.count() != before || resp.Header.Get("Content-Type") != "application/x-amz-json-1.0" {
			t.Errorf("%s %s: %d %s %+v", tc.op, tc.body, resp.StatusCode, got, rec)
		}
	}
	if resp, got := b.do(b.tableRequest("GetItem", `{"TableName":`)); resp.StatusCode != 400 || !strings.Contains(got, "SerializationException") {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	r := b.tableRequest("GetItem", `{}`)
	r.Host = "111111111111." + tableHost
	if resp, got := b.do(r); resp.StatusCode != 400 || !strings.Contains(got, "Host header") {
		t.Errorf("another name: %d %s", resp.StatusCode, got)
	}
}

func TestUnknownRequestsNeedTheWholeService(t *testing.T) {
	backend := newRecordingTable(t)
	b := newTableBench(t, backend.URL)
	const all = `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`
	for _, tc := range []struct {
		policy string
		want   int
	}{
		{"", 200},
		{`{"Statement":` + all + `}`, 200},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:Get*","DynamoDB:*"],"Resource":["arn:aws:s3:::x","*"]}]}`, 200},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"dynamodb:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0a"}}}]}`, 200},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"dynamodb:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0b"}}}]}`, 400},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"dynamodb:*","Resource":"arn:aws:dynamodb:*:*:table/*"}]}`, 400},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"dynamodb:*","Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceAccount":"222222222222"}}}]}`, 400},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"dynamodb:*","Resource":"*","Condition":{"StringNotEquals":{"dynamodb:LeadingKeys":"x"}}}]}`, 400},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":["dynamodb:?*","dynamodb:F*"],"Resource":"*"}]}`, 400},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","NotAction":"dynamodb:DeleteTable","Resource":"*"}]}`, 400},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","NotResource":"arn:aws:s3:::x"}]}`, 400},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"dynamodb:DeleteTable","Resource":"arn:aws:dynamodb:*:*:table/x"}]}`, 400},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","NotAction":"dynamodb:GetItem","Resource":"*"}]}`, 400},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"*","NotResource":"*"}]}`, 400},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}]}`, 200},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"dyn*:Get","Resource":"*"}]}`, 400},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-0a"}}}]}`, 200},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0a"}}}]}`, 400},
		// What an unknown request would do to a table cannot be told.
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"dynamodb:LeadingKeys":"x"}}}]}`, 400},
		{`{"Statement":[` + all + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/x":"y"}}}]}`, 400},
		{`no policy`, 400},
	} {
		b.policy(tc.policy)
		resp, got := b.do(b.tableRequest("Frobnicate", `{}`))
		if rec := b.last(); resp.StatusCode != tc.want || (rec.Decision == DecisionAllow) != (tc.want == 200) || rec.Action != "dynamodb:*" {
			t.Errorf("%s: %d %s %+v", tc.policy, resp.StatusCode, got, rec)
		}
	}
	// A user's own policies count too.
	b.policy(allowAll)
	for doc, want := range map[string]int{
		`{"Statement":[{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"}]}`:                                                                                   200,
		`{"Statement":[{"Effect":"Allow","Action":"dynamodb:Get*","Resource":"*"}]}`:                                                                                400,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"dynamodb:PutItem","Resource":"*"}]}`:                               400,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:username":"ann"}}}]}`:                                        200,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue","aws:VpcSourceIp":"10.0.1.5"}}}]}`: 200,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}}]}`:                               400,
	} {
		b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {
			ID: "AIDA1", Name: "ann", ARN: "arn:aws:iam::111111111111:user/ann", Account: testAccount, Policies: []string{doc}, Tags: map[string]string{"team": "blue"},
		}}
		b.configure()
		if resp, got := b.do(b.tableRequest("Frobnicate", `{}`)); resp.StatusCode != want {
			t.Errorf("%s: %d %s", doc, resp.StatusCode, got)
		}
		b.last()
	}
	// A Deny counts in whichever of them it is.
	b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {
		ID: "AIDA1", Name: "ann", ARN: "arn:aws:iam::111111111111:user/ann", Account: testAccount,
		Policies: []string{`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, `{"Statement":[{"Effect":"Deny","Action":"dynamodb:PutItem","Resource":"*"}]}`},
	}}
	b.configure()
	if resp, got := b.do(b.tableRequest("Frobnicate", `{}`)); resp.StatusCode != 400 {
		t.Errorf("a Deny of its own: %d %s", resp.StatusCode, got)
	}
	b.last()
}
