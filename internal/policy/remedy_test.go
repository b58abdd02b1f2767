// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// A remedy is true: done, it makes the policy allow the request.
func TestRemedies(t *testing.T) {
	in := func(vpc string) map[string][]string { return map[string][]string{"aws:SourceVpc": {vpc}} }
	put := Request{Principal: ann, Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k*", Context: in("vpc-1")}
	outside := put
	outside.Context = in("vpc-9")
	const vpcOnly = `"Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}`
	statement := func(sid, action, resource, more string) string {
		if more != "" {
			more = "," + more
		}
		return `{"Sid":"` + sid + `","Effect":"Allow","Principal":"*","Action":` + action + `,"Resource":` + resource + more + `}`
	}
	const add = `add an Allow statement with Action "s3:PutObject" and Resource "arn:aws:s3:::b/k${*}" for "` + ann + `"`
	whole := statement("w", `"s3:PutObject"`, `"arn:aws:s3:::b/k${*}"`, "")
	for _, c := range []struct {
		name, policy string
		request      Request
		want         string
		mended       string // the policy with that done
	}{
		{"action", doc(statement("a", `"s3:GetObject"`, `"*"`, vpcOnly)), put, `add Action "s3:PutObject" to Statement[0] (Sid "a")`,
			doc(statement("a", `["s3:GetObject","s3:PutObject"]`, `"*"`, vpcOnly))},
		{"action is not all", doc(statement("a", `"s3:GetObject"`, `"*"`, vpcOnly)), outside, add, doc(statement("a", `"s3:GetObject"`, `"*"`, vpcOnly), whole)},
		{"resource", doc(statement("a", `"s3:*"`, `"arn:aws:s3:::c/*"`, vpcOnly)), put, `add Resource "arn:aws:s3:::b/k${*}" to Statement[0] (Sid "a")`,
			doc(statement("a", `"s3:*"`, `["arn:aws:s3:::c/*","arn:aws:s3:::b/k${*}"]`, vpcOnly))},
		{"resource is not all", doc(statement("a", `"s3:*"`, `"arn:aws:s3:::c/*"`, vpcOnly)), outside, add, doc(statement("a", `"s3:*"`, `"arn:aws:s3:::c/*"`, vpcOnly), whole)},
		{"not this resource", doc(`{"Effect":"Allow","Principal":"*","Action":"s3:*","NotResource":"arn:aws:s3:::b/*"}`), put, add,
			doc(`{"Effect":"Allow","Principal":"*","Action":"s3:*","NotResource":"arn:aws:s3:::b/*"}`, whole)},
		{"conditions", doc(statement("a", `"s3:*"`, `"*"`, `"Condition":{"StringEquals":{"aws:SourceVpc":["vpc-9","vpc-1"],"a:b":"c"},"Bool":{"a:d":"true"}}`)), put,
			`Statement[0] (Sid "a") allows it with a:b StringEquals "c" and a:d Bool "true"`,
			doc(statement("a", `"s3:*"`, `"*"`, vpcOnly))},
		{"principal", doc(`{"Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":"s3:*","Resource":"*"}`), put, add,
			doc(`{"Effect":"Allow","Principal":{"AWS":"`+other+`"},"Action":"s3:*","Resource":"*"}`, whole)},
		{"no Allow", doc(`{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"}`), put, add, doc(whole)},
		{"Deny", doc(whole, `{"Sid":"no","Effect":"Deny","Principal":"*","Action":"s3:P*","Resource":"*"}`), put, `Statement[1] (Sid "no") must not apply: no Allow overrides it`, doc(whole)},
	} {
		d := mustParse(t, c.policy).Evaluate(c.request)
		if d.Allowed || d.Remedy != c.want {
			t.Errorf("%s: %v, %s\nwant %s", c.name, d.Allowed, d.Remedy, c.want)
		}
		if d := mustParse(t, c.mended).Evaluate(c.request); !d.Allowed || d.Remedy != "" {
			t.Errorf("%s: the remedy does not help: %s", c.name, d.Reason)
		}
	}
}
