// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// hundred is a policy of 100 statements: 98 that allow a team reading and
// writing in its bucket from its VPC, one that allows everybody a home folder,
// and one that denies what is not encrypted.
func hundred() string {
	var s []string
	for i := range 98 {
		s = append(s, fmt.Sprintf(`{"Sid":"Team%03d","Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],`+
			`"Resource":"arn:aws:s3:::team-%03d-data/*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-%017d"}}}`, i, i, i))
	}
	s = append(s, `{"Sid":"Home","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::homes/${aws:username}/*"}`,
		`{"Sid":"TLS","Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(s, ",") + `]}`
}

// inContext is what the edge knows of a request, as it spells it.
func inContext(vpcID string) map[string][]string {
	return map[string][]string{
		"aws:PrincipalArn": {ann}, "aws:PrincipalAccount": {"123456789012"}, "aws:PrincipalType": {"User"}, "aws:userid": {"AIDAEXAMPLE"},
		"aws:username": {"ann"}, "aws:SourceVpc": {vpcID}, "aws:SourceVpce": {"vpce-00000000000000001"}, "aws:VpcSourceIp": {"10.0.0.7"},
		"aws:VpceAccount": {"123456789012"}, "aws:RequestedRegion": {"eu-west-1"}, "aws:SecureTransport": {"true"},
		"aws:CurrentTime": {"2026-11-25T12:00:00Z"}, "aws:EpochTime": {"1795608000"}, "aws:UserAgent": {"aws-cli/2.31"},
		"s3:authType": {"REST-HEADER"}, "s3:signatureversion": {"AWS4-HMAC-SHA256"},
	}
}

// hundredCalls are requests that the first and the last statements allow, and
// one that none does.
func hundredCalls() map[string]Request {
	call := func(action, resource string, n int) Request {
		return Request{Principal: ann, Account: "123456789012", Action: action, Resource: resource,
			Context: inContext(fmt.Sprintf("vpc-%017d", n)), GatewayEndpoint: true}
	}
	return map[string]Request{
		"first": call("s3:GetObject", "arn:aws:s3:::team-000-data/2026/11/report.parquet", 0),
		"last":  call("s3:PutObject", "arn:aws:s3:::team-097-data/2026/11/report.parquet", 97),
		"home":  call("s3:DeleteObject", "arn:aws:s3:::homes/ann/notes.txt", 3),
		"none":  call("s3:GetObject", "arn:aws:s3:::team-050-data/2026/11/report.parquet", 51),
	}
}

func TestADecisionAllocatesNothing(t *testing.T) {
	p := mustParse(t, hundred())
	for name, r := range hundredCalls() {
		v := p.Decide(&r)
		if v.Allowed != (name != "none") {
			t.Errorf("%s: %+v", name, v)
		}
		if n := testing.AllocsPerRun(200, func() { v = p.Decide(&r) }); n != 0 {
			t.Errorf("%s: %v allocations in a decision", name, n)
		}
	}
	// Every operator, on what it is meant for.
	every := mustParse(t, doc(stmt(`"Condition":{"StringEquals":{"a:s":"x"},"StringNotLike":{"a:s":"*y${aws:username}"},"StringEqualsIgnoreCase":{"a:s":"X"},`+
		`"NumericLessThan":{"a:n":5},"DateLessThan":{"a:d":"2030-01-01"},"Bool":{"a:b":true},"BinaryEquals":{"a:y":"aA=="},"IpAddress":{"a:i":"10.0.0.0/8"},`+
		`"ArnLike":{"a:a":"arn:aws:iam::*:user/a?n"},"Null":{"a:z":true},"ForAllValues:StringLike":{"a:m":["a*b*c","d??*f"]}}`)))
	r := Request{Action: "s3:GetObject", Resource: "*", Context: map[string][]string{
		"a:s": {"x"}, "a:n": {"4"}, "a:d": {"2026-01-01T00:00:00Z"}, "a:b": {"true"}, "a:y": {"aA=="}, "a:i": {"10.1.2.3"},
		"a:a": {ann}, "a:m": {"axbxc", "dxxyf"}, "aws:username": {"ann"},
	}}
	if !every.Decide(&r).Allowed {
		t.Fatal(every.Evaluate(r).Reason)
	}
	if n := testing.AllocsPerRun(200, func() { every.Decide(&r) }); n != 0 {
		t.Errorf("every operator: %v allocations in a decision", n)
	}
}

// Decide has an index and Evaluate goes through every statement.
func TestDecideAndEvaluateAgree(t *testing.T) {
	p := mustParse(t, doc(
		`{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","S3:getobject","s3:PutObject"],"Resource":"arn:aws:s3:::a/*"}`,
		`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}`,
		`{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::*/secret"}`,
		`{"Effect":"Deny","Principal":"*","NotAction":"s3:Get*","Resource":"arn:aws:s3:::b/fixed"}`,
		`{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}`,
		`{"Effect":"Allow","Principal":"*","Action":"s3:`+strings.Repeat("x", 70)+`","Resource":"*"}`,
	))
	want := map[string]Verdict{
		"s3:GetObject a/k": {true, false, 0}, "S3:GETOBJECT a/k": {true, false, 0}, "s3:GetObject b/k": {true, false, 1},
		"s3:PutObject a/secret": {false, true, 2}, "s3:PutObject b/secret": {false, true, 2}, "s3:PutObject b/fixed": {false, true, 3},
		"s3:GetObject b/fixed": {true, false, 1}, "sqs:sendmessage q": {true, false, 4}, "s3:GetObject c/k": {false, false, -1},
		"s3:" + strings.Repeat("X", 70) + " q": {true, false, 5}, " ": {false, false, -1},
	}
	for call, want := range want {
		action, resource, _ := strings.Cut(call, " ")
		r := Request{Action: action, Resource: "arn:aws:s3:::" + resource}
		got, d := p.Decide(&r), p.Evaluate(r)
		if got != want {
			t.Errorf("%s: decided %+v, want %+v", call, got, want)
		}
		if got.Allowed != d.Allowed || got.Explicit != d.Explicit || got.Statement >= 0 && got.Statement != d.Statement {
			t.Errorf("%s: decided %+v, evaluated %+v", call, got, d)
		}
	}
}

// What is filled into a policy counts also in a statement about other resources.
func TestTooMuchToFillIsDeniedByBoth(t *testing.T) {
	p := mustParse(t, doc(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/${a:v}"}`, stmt()))
	for size, allowed := range map[int]bool{10: true, maxResolved: false} {
		r := Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::mine/k", Context: map[string][]string{"a:v": {strings.Repeat("x", size)}}}
		if v, d := p.Decide(&r), p.Evaluate(r); v.Allowed != allowed || d.Allowed != allowed {
			t.Errorf("%d characters: decided %+v, evaluated %+v", size, v, d)
		}
	}
}

func TestAnImplicitDenyListsEveryConditionThatFailed(t *testing.T) {
	p := mustParse(t, doc(stmt(`"Condition":{"StringEquals":{"aws:SourceVpc":["vpc-1","vpc-2"],"aws:x":"1"},"Bool":{"aws:SecureTransport":true}}`)))
	d := p.Evaluate(Request{Action: "s3:GetObject", Resource: "*", Context: map[string][]string{"AWS:sourcevpc": {"vpc-9"}, "aws:x": {"1"}}})
	want := []FailedCondition{
		{"StringEquals", "aws:SourceVpc", []string{"vpc-1", "vpc-2"}, []string{"vpc-9"}},
		{"Bool", "aws:SecureTransport", []string{"true"}, nil},
	}
	if !slices.EqualFunc(d.Failed, want, func(a, b FailedCondition) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("failed: %+v", d.Failed)
	}
}

// A hostile policy and a hostile request at their limits together.
func TestTheWorstDecisionIsBounded(t *testing.T) {
	var values []string
	for size := 0; size < 17_000; size += 35 {
		values = append(values, `"*`+strings.Repeat("a?", 12)+`${a:v}*b"`)
	}
	text := doc(stmt(`"Condition":{"StringLike":{"a:k":[` + strings.Join(values, ",") + `]}}`))
	p := mustParse(t, text)
	var many []string
	for range 50 {
		many = append(many, strings.Repeat("a", 8<<10))
	}
	r := Request{Action: "a:b", Resource: "*", Context: map[string][]string{"a:k": many, "a:v": {strings.Repeat("a", maxFilled/len(values))}}}
	start := time.Now()
	if v := p.Decide(&r); v.Allowed {
		t.Error("what does not match was allowed")
	}
	// Quadratic work would be some hours.
	if took := time.Since(start); took > time.Minute {
		t.Errorf("a decision took %v", took)
	}
}

func BenchmarkDecide(b *testing.B) {
	p, err := Parse([]byte(hundred()))
	if err != nil {
		b.Fatal(err)
	}
	for name, r := range hundredCalls() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(&r)
			}
		})
	}
}
