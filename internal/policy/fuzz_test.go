// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
	"time"
)

// FuzzParse holds the package to its promise about hostile input: Parse answers
// with a policy or a one-line error, and what parses judges any request.
func FuzzParse(f *testing.F) {
	text, _ := Default()
	for _, seed := range []string{
		text,
		doc(stmt(`"Sid":"a"`, `"Condition":{"ForAnyValue:StringLikeIfExists":{"aws:TagKeys":["a*?","${aws:username, 'x'}"]}}`)),
		doc(`{"Effect":"Deny","NotPrincipal":{"AWS":["` + role + `","` + session + `"],"Service":"s3.amazonaws.com"},"NotAction":"s3:*","NotResource":"arn:aws:s3:::${aws:username}/${*}*"}`),
		doc(stmt(`"Condition":{"DateLessThan":{"a:b":"2026-01-31"},"NumericEquals":{"a:b":1e3},"IpAddress":{"a:b":["192.0.2.0/24","2001:db8::1"]},"ArnLike":{"a:b":"arn:*:*:*:*:${a:b}"},"Null":{"a:c":true},"Bool":{"a:b":false},"BinaryEquals":{"a:b":"aA=="}}`)),
		`{"Statement":[{"Effect":"Allow","Effect":"Deny"}]}`,
		`{"Version":"2012-10-17","Statement":{"Resource":"${"}}`,
		strings.Repeat("[", 100),
		"",
	} {
		f.Add([]byte(seed), "s3:GetObject", "arn:aws:s3:::b/k", role, "ann")
	}
	f.Add([]byte(text), "", "\xff", "arn:aws:sts::123456789012:assumed-role/", "\x00*")
	f.Fuzz(func(t *testing.T, document []byte, action, resource, principal, value string) {
		for _, o := range []Options{{}, {Identity: true}, {Trust: true}} {
			p, err := ParseOptions(document, o)
			problems := Check(document, o, false)
			if (err != nil) != (len(problems) > 0) {
				t.Errorf("error %v, problems %v", err, problems)
			}
			for _, problem := range Check(document, o, true) {
				if problem.Offset < 0 || problem.Offset > len(document) {
					t.Errorf("%v is at %d of %d", problem, problem.Offset, len(document))
				}
			}
			if err != nil {
				if p != nil || strings.ContainsAny(err.Error(), "\n\r") {
					t.Errorf("policy %v, error %q", p, err)
				}
				continue
			}
			start := time.Now()
			for _, gateway := range []bool{false, true} {
				r := Request{
					Principal: principal, Action: action, Resource: resource, GatewayEndpoint: gateway,
					Context: map[string][]string{"aws:username": {value}, "a:b": {value, action}, "A:B": {resource}, "aws:TagKeys": {}},
				}
				d := p.Evaluate(r)
				if v := p.Decide(&r); v.Allowed != d.Allowed || v.Explicit != d.Explicit || v.Statement >= 0 && v.Statement != d.Statement {
					t.Errorf("decided %+v, evaluated %+v", v, d)
				}
				s := Set{Endpoint: p, Resource: p, ResourceAccount: value}
				if o := s.Evaluate(r); o.Allowed && !d.Allowed {
					t.Errorf("together %+v, alone %+v", o, d)
				}
				if d.Allowed && d.Explicit || d.Reason == "" || strings.ContainsAny(d.Reason, "\n\r") ||
					d.Statement < -1 || d.Statement >= len(p.statements) {
					t.Errorf("decision %+v", d)
				}
			}
			if took := time.Since(start); took > 10*time.Second { // they take microseconds
				t.Errorf("the decisions took %v", took)
			}
		}
	})
}
