// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"testing"
)

// yes evaluates a single Condition element on a statement that matches otherwise.
func yes(t *testing.T, condition string, context map[string][]string) bool {
	t.Helper()
	p := mustParse(t, doc(stmt(`"Condition":`+condition)))
	return p.Evaluate(Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: context}).Allowed
}

func TestEveryOperator(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range []struct {
		operator, value string // value is JSON
		match, differ   []string
	}{
		{"StringEquals", `"Ab*"`, []string{"Ab*"}, []string{"ab*", "Abc", ""}},
		{"StringEquals", `["a","b"]`, []string{"a", "b"}, []string{"c"}},
		{"StringEquals", `7`, []string{"7"}, []string{"7.0"}},
		{"StringEquals", `""`, []string{""}, []string{" "}},
		{"StringEqualsIgnoreCase", `"Ab"`, []string{"aB", "Ab"}, []string{"a", "abc"}},
		{"StringLike", `"a*b?"`, []string{"abc", "axxbx"}, []string{"ab", "Abc", "abcc"}},
		{"NumericEquals", `10`, []string{"10", "1e1", "10.0", "+10"}, []string{"11", "x", "", "NaN", "0xa"}},
		{"NumericLessThan", `10`, []string{"9.5", "-11"}, []string{"10", "11", "x"}},
		{"NumericLessThanEquals", `"10"`, []string{"9", "10"}, []string{"10.1"}},
		{"NumericGreaterThan", `10`, []string{"11"}, []string{"10", "9", "Inf"}},
		{"NumericGreaterThanEquals", `10`, []string{"10", "11"}, []string{"9"}},
		{"DateEquals", `"2026-01-31T12:00:00Z"`, []string{"2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "1769860800", "20260131T120000Z", "2026-01-31T12:00Z"}, []string{"2026-01-31", "x", ""}},
		{"DateEquals", `1769860800`, []string{"2026-01-31T12:00:00.000Z"}, []string{"2026-01-31T12:00:01Z"}},
		{"DateLessThan", `"2026-01-31"`, []string{"2026-01-30T23:59:59Z", "2025"}, []string{"2026-01-31", "2026-02-01", "99999999999999999"}},
		{"DateLessThanEquals", `"2026-01-31"`, []string{"2026-01-31T00:00:00Z"}, []string{"2026-01-31T00:00:01Z"}},
		{"DateGreaterThan", `"2026-01-31"`, []string{"2026-01-31T00:00:01Z"}, []string{"2026-01-31", "2026-01-30"}},
		{"DateGreaterThanEquals", `"2026-01-31"`, []string{"2026-01-31", "2027-01"}, []string{"2026-01-30"}},
		{"Bool", `true`, []string{"true", "True"}, []string{"false", "1", ""}},
		{"Bool", `"false"`, []string{"false"}, []string{"true"}},
		{"BinaryEquals", `"aGVsbG8="`, []string{"aGVsbG8="}, []string{"aGVsbG8", "hello", "aGVsbHA="}},
		{"IpAddress", `["192.0.2.0/24","2001:db8::/32"]`, []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"}, []string{"198.51.100.1", "2001:db9::1", "x", "192.0.2.0/24"}},
		{"IpAddress", `"192.0.2.77/24"`, []string{"192.0.2.1"}, []string{"192.0.3.1"}},
		{"IpAddress", `"::ffff:192.0.2.0/120"`, []string{"192.0.2.9"}, []string{"192.0.3.9"}},
		{"IpAddress", `"192.0.2.7"`, []string{"192.0.2.7"}, []string{"192.0.2.8"}},
		{"IpAddress", `"0.0.0.0/0"`, []string{"203.0.113.1"}, []string{"2001:db8::1"}},
		{"ArnLike", `"arn:aws:iam::*:role/app-?"`, []string{"arn:aws:iam::123456789012:role/app-1"}, []string{"arn:aws:iam::1:2:role/app-1", "arn:aws:iam::1:role/app-12", "arn:aws", ""}},
		{"ArnLike", `"arn:aws:*:role/x:y:z"`, []string{"arn:aws:s3:role/x:y:z"}, []string{"arn:aws:iam::123456789012:role/x:y:z"}},
		{"ArnEquals", `"arn:aws:sns:*:*:topic:*"`, []string{"arn:aws:sns:eu-west-1:123456789012:topic:a:b"}, []string{"arn:aws:sns:eu-west-1:123456789012:topic"}},
		{"Null", `false`, []string{"x", ""}, nil},
	} {
		negated := map[string]string{"IpAddress": "NotIpAddress"}[c.operator]
		for _, stem := range []string{"String", "Numeric", "Date", "Arn"} {
			if kind, ok := strings.CutPrefix(c.operator, stem); ok {
				negated = stem + "Not" + kind
			}
		}
		if _, ok := operators[strings.ToLower(negated)]; !ok {
			negated = ""
		}
		tested[strings.ToLower(c.operator)], tested[strings.ToLower(negated)] = true, true
		check := func(op, v string, want bool) {
			if got := yes(t, fmt.Sprintf(`{%q:{"aws:Key":%s}}`, op, c.value), map[string][]string{"AWS:key": {v}}); got != want {
				t.Errorf("%s %s on %q: got %v, want %v", op, c.value, v, got, want)
			}
		}
		for _, v := range c.match {
			check(c.operator, v, true)
			if c.operator != "Null" {
				check(strings.ToUpper(c.operator)+"ifexists", v, true)
			}
			if negated != "" {
				check(negated, v, false)
			}
		}
		for _, v := range c.differ {
			check(c.operator, v, false)
			if negated != "" {
				check(negated, v, true)
			}
		}
	}
	for name := range operators {
		if !tested[name] {
			t.Errorf("operator %s is not tested", name)
		}
	}
}

func TestAbsentAndManyValues(t *testing.T) {
	absent, a, c, ac, ab, abc := []string{}, []string{"a"}, []string{"c"}, []string{"a", "c"}, []string{"a", "b"}, []string{"a", "b", "c"}
	// The document always wants a or b.
	for _, x := range []struct {
		operator string
		values   []string
		want     bool
	}{
		{"StringEquals", absent, false},
		{"StringNotEquals", absent, true},
		{"StringEqualsIfExists", absent, true},
		{"StringNotEqualsIfExists", absent, true},
		{"StringEqualsIfExists", c, false},
		{"StringNotEqualsIfExists", a, false},
		{"StringEquals", ac, true},
		{"StringNotEquals", ac, false},
		{"StringNotEquals", c, true},
		{"ForAllValues:StringEquals", absent, true},
		{"ForAllValues:StringEquals", ab, true},
		{"ForAllValues:StringEquals", abc, false},
		{"ForAllValues:StringNotEquals", absent, true},
		{"ForAllValues:StringNotEquals", c, true},
		{"ForAllValues:StringNotEquals", ac, false},
		{"ForAllValues:StringEqualsIfExists", absent, true},
		{"ForAnyValue:StringEquals", absent, false},
		{"ForAnyValue:StringEquals", ac, true},
		{"ForAnyValue:StringEquals", c, false},
		{"ForAnyValue:StringNotEquals", absent, false},
		{"ForAnyValue:StringNotEquals", ac, true},
		{"ForAnyValue:StringNotEquals", ab, false},
		{"ForAnyValue:StringNotLike", c, true},
		{"ForAnyValue:StringEqualsIfExists", absent, true},
		{"ForAnyValue:StringEqualsIfExists", c, false},
		{"forallvalues:stringlike", ab, true},
	} {
		if got := yes(t, `{"`+x.operator+`":{"aws:TagKeys":["a","b"]}}`, map[string][]string{"aws:tagkeys": x.values}); got != x.want {
			t.Errorf("%s on %q: got %v, want %v", x.operator, x.values, got, x.want)
		}
	}
	for _, x := range []struct {
		value   string
		context map[string][]string
		want    bool
	}{
		{`"true"`, nil, true},
		{`"false"`, nil, false},
		{`true`, map[string][]string{"a:b": {}}, true},
		{`"true"`, map[string][]string{"A:B": {"x"}}, false},
		{`"false"`, map[string][]string{"a:b": {""}}, true},
		{`["true","false"]`, nil, true},
	} {
		for _, op := range []string{"Null", "ForAllValues:Null", "ForAnyValue:Null"} {
			if got := yes(t, `{"`+op+`":{"a:b":`+x.value+`}}`, x.context); got != x.want {
				t.Errorf("%s %s on %v: got %v, want %v", op, x.value, x.context, got, x.want)
			}
		}
	}
}

func TestKeysAndOperatorsAreAllNeeded(t *testing.T) {
	condition := `{"StringEquals":{"a:x":"1","a:y":"2"},"Bool":{"a:z":true}}`
	full := map[string][]string{"a:x": {"1"}, "a:y": {"2"}, "a:z": {"true"}}
	if !yes(t, condition, full) {
		t.Fatal("all conditions hold, but the statement did not apply")
	}
	for k := range full {
		some := map[string][]string{}
		for other, v := range full {
			if other != k {
				some[other] = v
			}
		}
		if yes(t, condition, some) {
			t.Errorf("the statement applied without %s", k)
		}
	}
}

func TestKeysThatDifferInCaseAreOneKey(t *testing.T) {
	ctx := map[string][]string{"aws:TagKeys": {"a"}, "AWS:TAGKEYS": {"b"}}
	if !yes(t, `{"ForAnyValue:StringEquals":{"aws:tagkeys":"a"}}`, ctx) || !yes(t, `{"ForAnyValue:StringEquals":{"aws:tagkeys":"b"}}`, ctx) || yes(t, `{"ForAllValues:StringEquals":{"aws:tagkeys":"a"}}`, ctx) {
		t.Error("both spellings should give their values to one key")
	}
	if len(ctx["aws:TagKeys"]) != 1 || len(ctx["AWS:TAGKEYS"]) != 1 {
		t.Error("evaluation changed the caller's context")
	}
}

func TestVariables(t *testing.T) {
	with := func(version, resource string) string {
		return fmt.Sprintf(`{"Version":%q,"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":%q}}`, version, "arn:aws:s3:::b/"+resource)
	}
	user := func(names ...string) map[string][]string { return map[string][]string{"aws:username": names} }
	for _, c := range []struct {
		name, text, key string
		context         map[string][]string
		want            bool
	}{
		{"filled", with(Version2012, "${aws:username}/*"), "ann/x", user("ann"), true},
		{"filled, other user", with(Version2012, "${aws:username}/*"), "bob/x", user("ann"), false},
		{"key in any case, with spaces", with(Version2012, "${ AWS:UserName }/*"), "ann/x", user("ann"), true},
		{"twice", with(Version2012, "${aws:username}-${aws:username}"), "a-a", user("a"), true},
		{"absent", with(Version2012, "${aws:username}/*"), "/x", nil, false},
		{"absent is not its own text", with(Version2012, "${aws:username}"), "${aws:username}", nil, false},
		{"several values", with(Version2012, "${aws:username}/*"), "a/x", user("a", "b"), false},
		{"several values, default", with(Version2012, "${aws:username, 'd'}/*"), "d/x", user("a", "b"), false},
		{"empty value", with(Version2012, "${aws:username}/*"), "/x", user(""), true},
		{"default", with(Version2012, "${aws:username, 'no one}*'}/*"), "no one}*/x", nil, true},
		{"default is literal", with(Version2012, "${aws:username, '*'}/*"), "ann/x", nil, false},
		{"default not needed", with(Version2012, "${aws:username, 'nobody'}/*"), "ann/x", user("ann"), true},
		{"value is literal", with(Version2012, "${aws:username}/*"), "ann/x", user("*"), false},
		{"value is not expanded again", with(Version2012, "${aws:username}"), "ann", map[string][]string{"aws:username": {"${aws:userid}"}, "aws:userid": {"ann"}}, false},
		{"invalid bytes stay themselves", with(Version2012, "${aws:username}"), "\xff", user("\xfe"), false},
		{"value too long", with(Version2012, "${aws:username}*"), strings.Repeat("x", maxResolved+1), user(strings.Repeat("x", maxResolved+1)), false},
		{"escapes", with(Version2012, "${*}${?}${$}{x}"), "*?${x}", nil, true},
		{"escapes are literal", with(Version2012, "${*}"), "abc", nil, false},
		{"a lone dollar", with(Version2012, "$x$"), "$x$", nil, true},
		{"no variables in 2008", with(Version2008, "${aws:username}"), "ann", user("ann"), false},
		{"literal in 2008", with(Version2008, "${aws:username}"), "${aws:username}", user("ann"), true},
		{"wildcard in 2008", with(Version2008, "${*}"), "${abc}", nil, true},
	} {
		p := mustParse(t, c.text)
		if got := p.Evaluate(Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/" + c.key, Context: c.context}); got.Allowed != c.want {
			t.Errorf("%s: got %v (%s)", c.name, got.Allowed, got.Reason)
		}
	}
}

func TestVariablesInConditions(t *testing.T) {
	ctx := map[string][]string{"aws:username": {"Ann*"}, "s3:prefix": {"home/Ann*/x"}, "a:arn": {"arn:aws:iam::123456789012:user/Ann*"}, "a:name": {"ann*"}, "a:whole": {"arn:aws:iam::123456789012:user/Ann*"}}
	for condition, want := range map[string]bool{
		`{"StringLike":{"s3:prefix":"home/${aws:username}/*"}}`:                     true,
		`{"StringNotLike":{"s3:prefix":"home/${aws:username}/*"}}`:                  false,
		`{"StringEquals":{"aws:username":"Ann${*}"}}`:                               true,
		`{"StringEquals":{"s3:prefix":"home/${aws:username}/x"}}`:                   true,
		`{"StringEqualsIgnoreCase":{"a:name":"${aws:username}"}}`:                   true,
		`{"ArnLike":{"a:arn":"arn:aws:iam::*:user/${aws:username}"}}`:               true,
		`{"ArnEquals":{"a:arn":"${a:whole}"}}`:                                      true,
		`{"ArnNotEquals":{"a:arn":"${a:whole}"}}`:                                   false,
		`{"ArnLike":{"a:arn":"${aws:username}"}}`:                                   false,
		`{"StringLike":{"s3:prefix":"${aws:absent}*"}}`:                             false,
		`{"StringNotLike":{"s3:prefix":"${aws:absent}*"}}`:                          true,
		`{"StringEquals":{"s3:prefix":["${aws:absent}","home/${aws:username}/x"]}}`: true,
		`{"StringEquals":{"s3:prefix":"${aws:absent, 'home/Ann*/x'}"}}`:             true,
	} {
		if got := yes(t, condition, ctx); got != want {
			t.Errorf("%s: got %v", condition, got)
		}
	}
}

func TestTooMuchForTheVariablesIsDenied(t *testing.T) {
	// If the value were only taken as unknown, the Deny would not apply.
	deny := `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringLike":{"a:b":%s}}}`
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"${aws:UserAgent}%d*"`, i))
	}
	for name, c := range map[string]struct {
		values string
		size   int
		denied bool
	}{
		"one value in bounds":     {`"${aws:UserAgent}*"`, maxResolved - 1, false},
		"one value out of bounds": {`"${aws:UserAgent}*"`, maxResolved + 1, true},
		"all in bounds":           {"[" + strings.Join(many, ",") + "]", maxFilled / 40, false},
		"all out of bounds":       {"[" + strings.Join(many, ",") + "]", maxFilled/40 + 1, true},
	} {
		p := mustParse(t, doc(stmt(), fmt.Sprintf(deny, c.values)))
		context := map[string][]string{"aws:useragent": {strings.Repeat("x", c.size)}, "a:b": {"p", "q", "r"}}
		if d := p.Evaluate(Request{Action: "a:b", Resource: "*", Context: context}); d.Allowed == c.denied || d.Explicit {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
