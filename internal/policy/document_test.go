// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// stmt is a valid statement with changes: stmt(`"Sid":"x"`) adds members.
func stmt(extra ...string) string {
	return "{" + strings.Join(append(extra, `"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"`), ",") + "}"
}

func doc(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func mustParse(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return p
}

func TestParseAcceptsWhatAWSAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"one statement object":   `{"Statement":` + stmt() + `}`,
		"statement list":         doc(stmt(), stmt()),
		"old version":            `{"Version":"2008-10-17","Id":"x","Statement":[` + stmt() + `]}`,
		"empty Sids repeat":      doc(stmt(`"Sid":""`), stmt(`"Sid":""`)),
		"free Sid":               doc(stmt(`"Sid":"Access-to-specific bucket only"`)),
		"principal forms":        doc(`{"Effect":"Deny","Principal":{"AWS":["*","123456789012","arn:aws:iam::123456789012:root","arn:aws:iam::123456789012:role/a/b","arn:aws:sts::123456789012:assumed-role/b/s","arn:aws:iam::123456789012:user/u"],"Service":"s3.amazonaws.com"},"Action":["s3:*","s3:Get?bject"],"Resource":["arn:aws:s3:::b","*"]}`),
		"not elements":           doc(`{"Effect":"Deny","NotPrincipal":{"AWS":"123456789012"},"NotAction":"s3:*","NotResource":"arn:aws:s3:::b/*"}`),
		"scalar condition value": doc(stmt(`"Condition":{"Bool":{"aws:SecureTransport":false},"NumericLessThan":{"s3:max-keys":[10,"1.5e3"]},"Null":{"aws:x":true}}`)),
		"empty condition":        doc(stmt(`"Condition":{}`)),
		"white space":            " \n" + doc(stmt()) + "\n\t ",
		"longest":                strings.Repeat(" ", MaxBytes-len(doc(stmt()))) + doc(stmt()),
		"dollar":                 doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b/$x${$}{y}"}`),
		"2008 has no variables":  `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b/${"}}`,
	} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseErrorsNameThePlace(t *testing.T) {
	cond := func(c string) string { return doc(stmt(), stmt(`"Sid":"s1"`, `"Condition":`+c)) }
	for name, c := range map[string]struct {
		text string
		want []string // all in the error
	}{
		"empty":                 {``, []string{"not valid JSON"}},
		"no object":             {`[]`, []string{"must be an object"}},
		"trailing garbage":      {doc(stmt()) + "x", []string{"after the closing brace"}},
		"trailing value":        {doc(stmt()) + "{}", []string{"after the closing brace"}},
		"cut":                   {doc(stmt())[:40], []string{"not valid JSON"}},
		"too long":              {strings.Repeat(" ", MaxBytes) + doc(stmt()), []string{"more than 20480"}},
		"not UTF-8":             {"{\"Id\":\"\xff\"}", []string{"UTF-8"}},
		"too deep":              {doc(strings.Repeat("[", 9) + strings.Repeat("]", 9)), []string{"deeper"}},
		"unknown top field":     {`{"Foo":1,"Statement":` + stmt() + `}`, []string{`"Foo"`}},
		"bad version":           {`{"Version":"2020-01-01","Statement":` + stmt() + `}`, []string{"Version", "2020-01-01"}},
		"empty version":         {`{"Version":"","Statement":` + stmt() + `}`, []string{"Version"}},
		"version number":        {`{"Version":2012,"Statement":` + stmt() + `}`, []string{"Version", "a number"}},
		"Id not string":         {`{"Id":{},"Statement":` + stmt() + `}`, []string{"Id", "an object"}},
		"no statement":          {`{"Version":"2012-10-17"}`, []string{"Statement", "missing"}},
		"empty statements":      {doc(), []string{"Statement", "empty"}},
		"statement string":      {`{"Statement":"x"}`, []string{"Statement", "a string"}},
		"statement in list":     {doc(stmt(), `null`), []string{"Statement[1]", "null"}},
		"unknown field":         {doc(stmt(`"Sid":"a","Actions":"x"`)), []string{"Statement[0]", `Sid "a"`, `"Actions"`}},
		"wrong case":            {doc(stmt(`"resource":"*"`)), []string{`"resource"`, "did you mean Resource"}},
		"duplicate field":       {doc(stmt(`"Effect":"Deny"`)), []string{`"Effect" twice`}},
		"duplicate deep field":  {cond(`{"Bool":{"a:b":true,"a:b":false}}`), []string{`"a:b" twice`}},
		"duplicate Sid":         {doc(stmt(`"Sid":"x"`), stmt(`"Sid":"x"`)), []string{"Statement[1]", "Sid", "Statement[0]"}},
		"Sid not string":        {doc(stmt(`"Sid":1`)), []string{"Sid", "a number"}},
		"no effect":             {doc(`{"Principal":"*","Action":"*","Resource":"*"}`), []string{"Statement[0]", "Effect"}},
		"bad effect":            {doc(`{"Effect":"allow","Principal":"*","Action":"*","Resource":"*"}`), []string{"Effect"}},
		"no principal":          {doc(`{"Effect":"Allow","Action":"*","Resource":"*"}`), []string{"Principal: missing"}},
		"both principals":       {doc(stmt(`"NotPrincipal":"*"`)), []string{"Principal", "NotPrincipal"}},
		"principal word":        {doc(`{"Effect":"Allow","Principal":"me","Action":"*","Resource":"*"}`), []string{"Principal", `"me"`}},
		"principal list":        {doc(`{"Effect":"Allow","Principal":["*"],"Action":"*","Resource":"*"}`), []string{"Principal", "a list"}},
		"principal nobody":      {doc(`{"Effect":"Allow","Principal":{},"Action":"*","Resource":"*"}`), []string{"Principal", "nobody"}},
		"principal empty":       {doc(`{"Effect":"Allow","Principal":{"AWS":[]},"Action":"*","Resource":"*"}`), []string{"Principal", "AWS", "empty"}},
		"principal type":        {doc(`{"Effect":"Allow","Principal":{"Aws":"*"},"Action":"*","Resource":"*"}`), []string{"Principal", `"Aws"`}},
		"principal wildcard":    {doc(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/*"},"Action":"*","Resource":"*"}`), []string{"Principal", "role/*"}},
		"principal short id":    {doc(`{"Effect":"Allow","Principal":{"AWS":"12345"},"Action":"*","Resource":"*"}`), []string{"Principal", "12345"}},
		"service wildcard":      {doc(`{"Effect":"Allow","Principal":{"Service":"s3.*"},"Action":"*","Resource":"*"}`), []string{"Principal", "s3.*"}},
		"no action":             {doc(`{"Effect":"Allow","Principal":"*","Resource":"*"}`), []string{"Action: missing"}},
		"both actions":          {doc(stmt(`"NotAction":"*"`)), []string{"Action", "NotAction"}},
		"empty actions":         {doc(`{"Effect":"Allow","Principal":"*","Action":[],"Resource":"*"}`), []string{"Action", "empty"}},
		"action without prefix": {doc(`{"Effect":"Allow","Principal":"*","NotAction":"Get*","Resource":"*"}`), []string{"NotAction", `"Get*"`}},
		"action number":         {doc(`{"Effect":"Allow","Principal":"*","Action":["a:b",1],"Resource":"*"}`), []string{"Action", "a number"}},
		"action in action":      {doc(`{"Effect":"Allow","Principal":"*","Action":[["a:b"]],"Resource":"*"}`), []string{"Action", "a list"}},
		"no resource":           {doc(`{"Effect":"Allow","Principal":"*","Action":"*"}`), []string{"Resource: missing"}},
		"both resources":        {doc(stmt(`"NotResource":"*"`)), []string{"Resource", "NotResource"}},
		"resource name":         {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"bucket"}`), []string{"Resource", `"bucket"`}},
		"resource empty":        {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":""}`), []string{"Resource"}},
		"resource too long":     {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:` + strings.Repeat("x", maxValue) + `"}`), []string{"Resource", "more than 2048"}},
		"variable open":         {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::${aws:username"}`), []string{"Resource", "variable"}},
		"variable empty":        {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::${}"}`), []string{"variable"}},
		"variable default":      {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::${a:b, x}"}`), []string{"variable"}},
		"variable nested":       {doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::${a:${b:c}}"}`), []string{"variable"}},
		"condition list":        {cond(`[]`), []string{"Statement[1]", `Sid "s1"`, "Condition", "a list"}},
		"unknown operator":      {cond(`{"StringIs":{"a:b":"c"}}`), []string{"Condition", `"StringIs"`}},
		"unknown prefix":        {cond(`{"ForSome:StringEquals":{"a:b":"c"}}`), []string{"ForSome:StringEquals"}},
		"double suffix":         {cond(`{"StringEqualsIfExistsIfExists":{"a:b":"c"}}`), []string{"IfExistsIfExists"}},
		"bare prefix":           {cond(`{"ForAnyValue:":{"a:b":"c"}}`), []string{"ForAnyValue:"}},
		"NullIfExists":          {cond(`{"NullIfExists":{"a:b":"true"}}`), []string{"IfExists"}},
		"operator without key":  {cond(`{"StringEquals":{}}`), []string{"StringEquals", "at least one"}},
		"key without prefix":    {cond(`{"StringEquals":{"SourceVpc":"c"}}`), []string{`"SourceVpc"`}},
		"key control character": {cond(`{"StringEquals":{"aws:\n":"c"}}`), []string{`"aws:\n"`}},
		"value null":            {cond(`{"StringEquals":{"a:b":null}}`), []string{"StringEquals", `"a:b"`, "null"}},
		"value empty list":      {cond(`{"StringEquals":{"a:b":[]}}`), []string{`"a:b"`, "empty"}},
		"value object":          {cond(`{"StringEquals":{"a:b":{}}}`), []string{`"a:b"`, "an object"}},
		"not a number":          {cond(`{"NumericEquals":{"a:b":"0x10"}}`), []string{"NumericEquals", "0x10"}},
		"number too large":      {cond(`{"NumericEquals":{"a:b":1e999}}`), []string{"NumericEquals", "1e999"}},
		"not a date":            {cond(`{"DateEquals":{"a:b":"tomorrow"}}`), []string{"DateEquals", "tomorrow"}},
		"milliseconds":          {cond(`{"DateEquals":{"a:b":1700000000000}}`), []string{"DateEquals"}},
		"not a boolean":         {cond(`{"Bool":{"a:b":"yes"}}`), []string{"Bool", "yes"}},
		"not presence":          {cond(`{"Null":{"a:b":"maybe"}}`), []string{"Null", "maybe"}},
		"not base64":            {cond(`{"BinaryEquals":{"a:b":"%%%"}}`), []string{"BinaryEquals"}},
		"not an address":        {cond(`{"IpAddress":{"a:b":"192.0.2.0/33"}}`), []string{"IpAddress", "192.0.2.0/33"}},
		"address with zone":     {cond(`{"IpAddress":{"a:b":"fe80::1%eth0"}}`), []string{"IpAddress"}},
		"not an ARN":            {cond(`{"ArnLike":{"a:b":"arn:aws:iam"}}`), []string{"ArnLike", "arn:aws:iam"}},
	} {
		_, err := Parse([]byte(c.text))
		var pe *ParseError
		if !errors.As(err, &pe) {
			t.Errorf("%s: got %v, want a ParseError", name, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not contain %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
			t.Errorf("%s: error is not one short line: %q", name, err)
		}
	}
}

func TestIdentityPolicyHasNoPrincipal(t *testing.T) {
	text := []byte(doc(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`))
	p, err := ParseOptions(text, Options{Identity: true})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Evaluate(Request{Principal: "arn:aws:iam::123456789012:user/u", Action: "s3:GetObject", Resource: "*"}).Allowed {
		t.Error("an identity policy did not apply to its holder")
	}
	if _, err := Parse(text); err == nil {
		t.Error("an endpoint policy without Principal was accepted")
	}
	if _, err := ParseOptions([]byte(doc(stmt())), Options{Identity: true}); err == nil {
		t.Error("an identity policy with Principal was accepted")
	}
}

func TestDefaultTextAndParsedFormAreTheSame(t *testing.T) {
	text, got := Default()
	if want := mustParse(t, text); !reflect.DeepEqual(got, want) {
		t.Errorf("Default() = %+v, its text parses to %+v", got, want)
	}
	if d := got.Evaluate(Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}); !d.Allowed || d.Statement != 0 {
		t.Errorf("the default policy answered %+v", d)
	}
}

func TestTrustPolicyNamesPrincipalsAndNoResource(t *testing.T) {
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + ann + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}]}`
	p, err := ParseOptions([]byte(text), Options{Trust: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		principal, id string
		want          bool
	}{{ann, "x", true}, {ann, "y", false}, {other, "x", false}} {
		r := Request{Principal: c.principal, Action: "sts:AssumeRole", Resource: role, Context: map[string][]string{"sts:ExternalId": {c.id}}}
		if got := p.Evaluate(r).Allowed; got != c.want {
			t.Errorf("%s with %s: %v", c.principal, c.id, got)
		}
	}
	for field, text := range map[string]string{
		"Resource":    `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`,
		"NotResource": `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","NotResource":"*"}}`,
		"Principal":   `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`,
	} {
		var e *ParseError
		if _, err := ParseOptions([]byte(text), Options{Trust: true}); !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := Parse([]byte(text)); err == nil {
		t.Error("an endpoint policy without Resource was accepted")
	}
}
