// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"reflect"
	"strings"
	"testing"
)

const (
	root    = "arn:aws:iam::123456789012:root"
	ann     = "arn:aws:iam::123456789012:user/ann"
	session = "arn:aws:sts::123456789012:assumed-role/app/i-1"
	role    = "arn:aws:iam::123456789012:role/team/app"
	other   = "arn:aws:iam::210987654321:user/ann"
)

func TestPrincipals(t *testing.T) {
	// who answers for: anybody unsigned, root, ann, session, role, other.
	callers := []string{"", root, ann, session, role, other}
	for _, c := range []struct {
		principal string
		gateway   bool
		want      string // one letter a caller: y or n
	}{
		{`"*"`, false, "yyyyyy"},
		{`"*"`, true, "yyyyyy"},
		{`{"AWS":"*"}`, false, "yyyyyy"},
		{`{"AWS":"123456789012"}`, false, "nyyyyn"},
		{`{"AWS":"123456789012"}`, true, "nynnnn"},
		{`{"AWS":"` + root + `"}`, false, "nyyyyn"},
		{`{"AWS":"` + root + `"}`, true, "nynnnn"},
		{`{"AWS":["` + ann + `"]}`, false, "nnynnn"},
		{`{"AWS":["` + ann + `"]}`, true, "nnynnn"},
		{`{"AWS":"` + role + `"}`, false, "nnnyyn"},
		{`{"AWS":"arn:aws:iam::123456789012:role/app"}`, false, "nnnynn"},
		{`{"AWS":"arn:aws:iam::123456789012:role/app/other"}`, false, "nnnnnn"},
		{`{"AWS":"arn:aws-cn:iam::123456789012:role/app"}`, false, "nnnnnn"},
		{`{"AWS":"` + session + `"}`, false, "nnnynn"},
		{`{"Service":"s3.amazonaws.com"}`, false, "nnnnnn"},
		{`{"Service":"*"}`, false, "nnnnnn"},
		{`{"Federated":"*","CanonicalUser":"abc"}`, false, "nnnnnn"},
		{`{"Service":"s3.amazonaws.com","AWS":["` + ann + `","210987654321"]}`, false, "nnynny"},
	} {
		for _, not := range []bool{false, true} {
			element := "Principal"
			if not {
				element = "NotPrincipal"
			}
			p := mustParse(t, doc(`{"Effect":"Allow","`+element+`":`+c.principal+`,"Action":"*","Resource":"*"}`))
			for i, caller := range callers {
				want := (c.want[i] == 'y') != not
				d := p.Evaluate(Request{Principal: caller, Action: "s3:GetObject", Resource: "*", GatewayEndpoint: c.gateway})
				if d.Allowed != want {
					t.Errorf("%s %s, gateway %v, caller %q: got %v", element, c.principal, c.gateway, caller, d.Allowed)
				}
			}
		}
	}
}

func TestAccountOfTheRequestCounts(t *testing.T) {
	p := mustParse(t, doc(`{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}`))
	if !p.Evaluate(Request{Principal: "AIDAEXAMPLE", Account: "123456789012", Action: "a:b", Resource: "*"}).Allowed {
		t.Error("a principal of the account was refused")
	}
	if p.Evaluate(Request{Account: "123456789012", Action: "a:b", Resource: "*"}).Allowed {
		t.Error("an unsigned request passed for the account")
	}
}

func TestActionsAndResources(t *testing.T) {
	for _, c := range []struct {
		elements, action, resource string
		want                       bool
	}{
		{`"Action":"s3:getobject","Resource":"*"`, "S3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":"s3:Get*","Resource":"*"`, "s3:GetObjectAcl", "arn:aws:s3:::b/k", true},
		{`"Action":"s3:Get?bject","Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":["sqs:*","s3:Put*"],"Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{`"Action":"s3:Get*","Resource":"*"`, "s3:PutObject", "arn:aws:s3:::b/k", false},
		{`"NotAction":"s3:Delete*","Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"NotAction":"s3:Delete*","Resource":"*"`, "s3:DeleteObject", "arn:aws:s3:::b/k", false},
		{`"Action":"*","Resource":"arn:aws:s3:::b"`, "s3:ListBucket", "arn:aws:s3:::b", true},
		{`"Action":"*","Resource":"arn:aws:s3:::b/*"`, "s3:GetObject", "arn:aws:s3:::b/x/y:z", true},
		{`"Action":"*","Resource":"arn:aws:s3:::b/*"`, "s3:GetObject", "arn:aws:s3:::b", false},
		{`"Action":"*","Resource":"arn:aws:s3:::b/*"`, "s3:GetObject", "arn:aws:s3:::B/k", false},
		{`"Action":"*","Resource":"arn:aws:*/k"`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":"*","Resource":["arn:aws:s3:::a/*","arn:aws:s3:::b/?"]`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":"*","NotResource":"arn:aws:s3:::b/*"`, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{`"Action":"*","NotResource":"arn:aws:s3:::b/*"`, "s3:GetObject", "arn:aws:s3:::c/k", true},
		{`"Action":"*","NotResource":"arn:aws:s3:::${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::c/k", false},
	} {
		p := mustParse(t, doc(`{"Effect":"Allow","Principal":"*",`+c.elements+`}`))
		if d := p.Evaluate(Request{Action: c.action, Resource: c.resource}); d.Allowed != c.want {
			t.Errorf("%s on %s %s: got %v (%s)", c.elements, c.action, c.resource, d.Allowed, d.Reason)
		}
	}
	deny := mustParse(t, doc(stmt(), `{"Effect":"Deny","Principal":"*","Action":"*","NotResource":"arn:aws:s3:::${aws:username}/*"}`))
	if deny.Evaluate(Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::c/k"}).Allowed {
		t.Error("a Deny whose NotResource has an unknown variable let the request through")
	}
}

func TestDecisionsNameStatementAndCondition(t *testing.T) {
	allowOne := `{"Sid":"one","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::one/*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"},"Bool":{"aws:SecureTransport":true}}}`
	allowList := `{"Sid":"list","Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::one"}`
	denyOther := `{"Sid":"no","Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":["123456789012","210987654321"]}}}`
	good := map[string][]string{"aws:SourceVpc": {"vpc-1"}, "aws:SecureTransport": {"true"}, "aws:PrincipalAccount": {"123456789012"}}
	with := func(k string, v ...string) map[string][]string {
		m := map[string][]string{}
		for key, values := range good {
			m[key] = values
		}
		m[k] = v
		return m
	}
	p := mustParse(t, doc(allowList, allowOne, denyOther))
	get := Request{Principal: ann, Action: "s3:GetObject", Resource: "arn:aws:s3:::one/k"}
	for _, c := range []struct {
		name    string
		request Request
		context map[string][]string
		want    Decision // Reason is what it must contain, parts separated by |
	}{
		{"allowed", get, good, Decision{true, false, 1, "one", "Bool aws:SecureTransport", `allowed by Statement[1] (Sid "one"): 2 conditions met`, nil, ""}},
		{"explicit", get, with("aws:PrincipalAccount", "999999999999"), Decision{false, true, 2, "no", "StringNotEquals aws:PrincipalAccount", `explicitly denied by Statement[2] (Sid "no"): condition met|aws:PrincipalAccount is "999999999999"|"123456789012", "210987654321"`, nil, ""}},
		{"explicit by absence", get, with("aws:PrincipalAccount"), Decision{false, true, 2, "no", "StringNotEquals aws:PrincipalAccount", "the request has no aws:PrincipalAccount", nil, ""}},
		{"condition", get, with("aws:SourceVpc", "vpc-2"), Decision{false, false, 1, "one", "StringEquals aws:SourceVpc", `implicitly denied, nearest is Statement[1] (Sid "one"): condition not met|aws:SourceVpc is "vpc-2"|"vpc-1"`, nil, ""}},
		{"second condition", get, with("aws:SecureTransport", "false"), Decision{false, false, 1, "one", "Bool aws:SecureTransport", `aws:SecureTransport is "false"`, nil, ""}},
		{"resource", Request{Principal: ann, Action: "s3:GetObject", Resource: "arn:aws:s3:::two/k"}, good, Decision{false, false, 1, "one", "", `resource "arn:aws:s3:::two/k" is not in Resource "arn:aws:s3:::one/*"`, nil, ""}},
		{"principal", Request{Principal: other, Action: "s3:ListBucket", Resource: "arn:aws:s3:::one"}, good, Decision{false, false, 0, "list", "", `principal "` + other + `" is not in Principal "123456789012"`, nil, ""}},
		{"gateway hint", Request{Principal: ann, Action: "s3:ListBucket", Resource: "arn:aws:s3:::one", GatewayEndpoint: true}, good, Decision{false, false, 0, "list", "", "root user only|aws:PrincipalArn", nil, ""}},
		{"unsigned", Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::one"}, good, Decision{false, false, 0, "list", "", "an unsigned request is not in Principal", nil, ""}},
		{"action", Request{Principal: ann, Action: "s3:PutObject", Resource: "arn:aws:s3:::one/k"}, good, Decision{false, false, 0, "list", "", `action "s3:PutObject" is not in Action "s3:ListBucket"`, nil, ""}},
	} {
		c.request.Context = c.context
		got := p.Evaluate(c.request)
		for _, part := range strings.Split(c.want.Reason, "|") {
			if !strings.Contains(got.Reason, part) {
				t.Errorf("%s: reason %q does not contain %q", c.name, got.Reason, part)
			}
		}
		c.want.Reason, c.want.Failed, c.want.Remedy = got.Reason, got.Failed, got.Remedy
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	d := mustParse(t, doc(denyOther)).Evaluate(Request{Context: good})
	if d.Allowed || d.Explicit || d.Statement != -1 || !strings.Contains(d.Reason, "no Allow statement") {
		t.Errorf("a policy of Deny alone answered %+v", d)
	}
	d = mustParse(t, doc(`{"Effect":"Allow","Principal":"*","NotAction":"s3:*","Resource":"*"}`)).Evaluate(get)
	if !strings.Contains(d.Reason, `is excluded by NotAction "s3:*"`) {
		t.Errorf("NotAction reason: %s", d.Reason)
	}
}

func TestNearestStatementMetMostConditions(t *testing.T) {
	near := `"Condition":{"StringEquals":{"a:x":"1","a:y":"2"}}`
	far := `"Condition":{"StringEquals":{"a:x":"9"}}`
	for want, text := range []string{doc(stmt(near), stmt(far)), doc(stmt(far), stmt(near))} {
		d := mustParse(t, text).Evaluate(Request{Action: "a:b", Resource: "*", Context: map[string][]string{"a:x": {"1"}}})
		if d.Statement != want || d.Condition != "StringEquals a:y" {
			t.Errorf("%s: %+v", text, d)
		}
	}
}

func TestReasonsAreOneShortLineWhateverTheRequestSays(t *testing.T) {
	evil := "x\n\x1b[31m\"" + strings.Repeat("y", 10_000)
	p := mustParse(t, doc(`{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:*","Resource":"arn:aws:s3:::b/*","Condition":{"StringEquals":{"aws:UserAgent":"z"}}}`))
	for _, r := range []Request{
		{Action: evil},
		{Action: "s3:GetObject", Resource: evil},
		{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Principal: evil},
		{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Principal: ann, Context: map[string][]string{"aws:UserAgent": {evil, evil, evil, evil, evil}}},
	} {
		d := p.Evaluate(r)
		if d.Allowed || strings.ContainsAny(d.Reason, "\n\x1b") || len(d.Reason) > 2000 {
			t.Errorf("reason of %d bytes: %.300q", len(d.Reason), d.Reason)
		}
	}
}

func TestExplicitDenyWinsWhereverItStands(t *testing.T) {
	deny := `{"Effect":"Deny","Principal":"*","Action":"s3:Delete*","Resource":"*"}`
	for _, text := range []string{doc(stmt(), deny), doc(deny, stmt()), doc(stmt(), deny, stmt())} {
		p := mustParse(t, text)
		if d := p.Evaluate(Request{Action: "s3:DeleteObject", Resource: "*"}); d.Allowed || !d.Explicit {
			t.Errorf("%s: %+v", text, d)
		}
		if d := p.Evaluate(Request{Action: "s3:GetObject", Resource: "*"}); !d.Allowed || d.Explicit {
			t.Errorf("%s: %+v", text, d)
		}
	}
}
