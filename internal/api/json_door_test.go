// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/api"
	"postern.dev/postern/internal/api/awsquery"
)

// jsonTargets are the services of the JSON protocol, by signing name, with what
// their X-Amz-Target begins with.
var jsonTargets = func() map[string]string {
	out := map[string]string{}
	for _, s := range api.Services() {
		if s.Dialect == awsquery.JSON {
			out[s.Name] = s.Namespace
		}
	}
	return out
}()

// asJSON makes the form of a request for a service of the JSON protocol one of
// that protocol. What is no form is sent as it is.
func asJSON(q request) request {
	q.header = maps.Clone(q.header)
	if q.header == nil {
		q.header = http.Header{}
	}
	q.header.Set("Content-Type", "application/x-amz-json-1.1")
	form, err := url.ParseQuery(q.query + "&" + q.body)
	if err != nil || form.Get("Action") == "" {
		q.header.Set("X-Amz-Target", jsonTargets[q.service]+".ListResolverRules")
		return q
	}
	q.header.Set("X-Amz-Target", jsonTargets[q.service]+"."+strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?' // no client can send it in a header
		}
		return r
	}, form.Get("Action")))
	form.Del("Action")
	form.Del("Version")
	top := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		at := top
		pieces := strings.Split(name, ".")
		for _, p := range pieces[:len(pieces)-1] {
			below, ok := at[p].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[p] = below
			}
			at = below
		}
		if _, taken := at[pieces[len(pieces)-1]]; !taken {
			at[pieces[len(pieces)-1]] = scalar(form.Get(name))
		}
	}
	body, err := json.Marshal(lists(top))
	if err != nil {
		panic(err)
	}
	q.query, q.body, q.method = "", string(body), http.MethodPost
	return q
}

var number = regexp.MustCompile(`^-?[1-9][0-9]{0,18}$`)

func scalar(s string) any {
	switch {
	case s == "true" || s == "false":
		return s == "true"
	case number.MatchString(s):
		return json.Number(s)
	}
	return s
}

// lists makes lists of what is only called member.
func lists(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if inner, ok := m["member"].(map[string]any); ok && len(m) == 1 {
		keys := slices.SortedFunc(maps.Keys(inner), func(a, b string) int {
			x, _ := strconv.Atoi(a)
			y, _ := strconv.Atoi(b)
			if x != y {
				return x - y
			}
			return strings.Compare(a, b)
		})
		out := []any{}
		for _, k := range keys {
			out = append(out, lists(inner[k]))
		}
		return out
	}
	for k := range m {
		m[k] = lists(m[k])
	}
	return m
}

// parseJSON reads an answer of the JSON protocol.
func (a *answer) parseJSON() error {
	var e struct {
		Type    string `json:"__type"`
		Message string
	}
	if err := json.Unmarshal(a.body, &e); err != nil {
		return err
	}
	a.code, a.message, a.requestID = e.Type, e.Message, a.header.Get("x-amzn-RequestId")
	return nil
}

// What is wrong with a request as such is said in the protocol's own codes,
// which clients act on.
func TestTheJSONProtocolRefusesInItsOwnCodes(t *testing.T) {
	d := newDoor(t)
	target := func(s string) http.Header {
		return http.Header{"X-Amz-Target": {s}, "Content-Type": {"application/x-amz-json-1.1"}}
	}
	good := request{signer: &signers[0], service: "route53resolver", body: "{}", header: target("Route53Resolver.ListResolverRules")}
	change := func(f func(*request)) request {
		q := good
		q.header = maps.Clone(q.header)
		f(&q)
		return q
	}
	for what, c := range map[string]struct {
		q    request
		code string
	}{
		"nothing wrong":            {good, ""},
		"no body":                  {change(func(q *request) { q.body = "" }), ""},
		"no signature":             {change(func(q *request) { q.signer = nil }), "MissingAuthenticationTokenException"},
		"an unknown key":           {change(func(q *request) { q.signer = &signer{key: signers[0].key}; q.signer.key.ID = "AKIANOBODY0000000001" }), "UnrecognizedClientException"},
		"another secret":           {change(func(q *request) { q.signer = &signer{key: signers[0].key}; q.signer.key.Secret = "x" }), "InvalidSignatureException"},
		"an old signature":         {change(func(q *request) { q.age = time.Hour }), "InvalidSignatureException"},
		"an unknown operation":     {change(func(q *request) { q.header = target("Route53Resolver.ListFirewallRules") }), "UnknownOperationException"},
		"no operation":             {change(func(q *request) { q.header = target("Route53Resolver") }), "UnknownOperationException"},
		"another service's target": {change(func(q *request) { q.header = target("DynamoDB_20120810.ListResolverRules") }), "UnknownOperationException"},
		"signed for another":       {change(func(q *request) { q.service = "ec2" }), "InvalidAction"},
		"a form": {change(func(q *request) {
			q.body, q.header["Content-Type"] = "Action=ListResolverRules", []string{"application/x-www-form-urlencoded"}
		}), "SerializationException"},
		"no JSON":                  {change(func(q *request) { q.body = "{" }), "SerializationException"},
		"a list":                   {change(func(q *request) { q.body = "[]" }), "SerializationException"},
		"a member twice":           {change(func(q *request) { q.body = `{"MaxResults":1,"MaxResults":2}` }), "SerializationException"},
		"an unknown member":        {change(func(q *request) { q.body = `{"Max":1}` }), "InvalidParameterException"},
		"a member of another type": {change(func(q *request) { q.body = `{"MaxResults":"many"}` }), "InvalidParameterException"},
		"a token of nobody's":      {change(func(q *request) { q.body = `{"NextToken":"x"}` }), "InvalidNextTokenException"},
	} {
		a := d.do(c.q)
		if a.code != c.code || (a.status == http.StatusOK) != (c.code == "") || a.status >= 500 {
			t.Errorf("%s: %d %q %q, want %q", what, a.status, a.code, a.message, c.code)
		}
	}
	if d.do(good); d.lastRecord().Service != "route53resolver" || d.lastRecord().Action != "ListResolverRules" || d.lastRecord().Write {
		t.Errorf("the record is %+v", d.lastRecord())
	}
}
