// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"strings"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func TestUsersAreHeldToTheirOwnPoliciesToo(t *testing.T) {
	b := newBench(t, signedBackend(t).URL)
	const arn = "arn:aws:iam::" + testAccount + ":user/ann"
	user := func(policies ...string) {
		b.config.Keys = map[string]vpc.AccountID{}
		b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {
			Account: testAccount, ARN: arn, ID: "AIDAANN", Name: "ann", Tags: vpc.Tags{"team": "red"}, Policies: policies,
		}}
		b.configure()
	}
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[{` + s + `}]}` }
	read := statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/${aws:username}/*"`)
	for _, c := range []struct {
		name     string
		policies []string
		uri      string
		want     int
		piece    string
	}{
		{"no policy", nil, "/data/ann/x", 403, `User: ` + arn + ` is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::data/ann/x" because no identity-based policy allows the s3:GetObject action`},
		{"allowed", []string{read}, "/data/ann/x", 200, ""},
		{"elsewhere", []string{read}, "/data/bob/x", 403, "no identity-based policy"},
		{"a spelling that a backend tidies", []string{read}, "/data/ann/../bob/x", 403, "no identity-based policy"},
		{"another action", []string{read}, "/data", 403, "s3:ListBucket"},
		{"denied", []string{read, statement(`"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}`)}, "/data/ann/x", 403, "with an explicit deny in an identity-based policy"},
		{"unreadable", []string{read, "{"}, "/data/ann/x", 403, "no identity-based policy"},
	} {
		user(c.policies...)
		resp, got := b.do(b.request("GET", testHost, c.uri, ""))
		rec := b.last()
		if resp.StatusCode != c.want || !strings.Contains(got, strings.ReplaceAll(c.piece, `"`, "&#34;")) && !strings.Contains(got, c.piece) {
			t.Errorf("%s: %d %s", c.name, resp.StatusCode, got)
		}
		if rec.Principal != arn || (rec.Decision == DecisionDeny) != (c.want == 403) || c.want == 403 && !strings.Contains(rec.Reason, arn) {
			t.Errorf("%s: record %+v", c.name, rec)
		}
	}

	// The endpoint's policy sees the user, and narrows what the user's own allow.
	user(statement(`"Effect":"Allow","Action":"*","Resource":"*"`))
	for condition, want := range map[string]int{
		`{"ArnEquals":{"aws:PrincipalArn":"` + arn + `"},"StringEquals":{"aws:userid":"AIDAANN","aws:username":"ann","aws:PrincipalType":"User","aws:PrincipalAccount":"` + testAccount + `"}}`: 200,
		`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::` + testAccount + `:root"}}`:                                                                                                            403,
	} {
		b.policy(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":` + condition + `}]}`)
		if resp, got := b.do(b.request("GET", testHost, "/data/x", "")); resp.StatusCode != want {
			t.Errorf("%s: %d %s", condition, resp.StatusCode, got)
		}
		b.last()
	}
}
