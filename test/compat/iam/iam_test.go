// SPDX-License-Identifier: Apache-2.0

// Package iam compares our policy evaluation with an evaluator that we did not
// write: @cloud-copilot/iam-simulate, from npm. It is run as a process of its
// own by this test and is no part of Postern. Cases are random; where the two
// differ on purpose, a deviation says why, and only cases that have what it is
// about may differ.
package iam

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/test/compat"
)

// A feature is what a case has that the two are known to take differently. Each
// is rare in the cases, so that most of them have to agree.
type feature string

// deviations are the features and why we do as we do.
var deviations = map[feature]string{
	"single on many": "an operator without ForAllValues or ForAnyValue on a key with several values: AWS only says not to write it. " +
		"We ask whether any value matches, theirs never matches, not even when negated: then a Deny would not apply",
	"any if exists": "ForAnyValue with IfExists on an absent key: AWS says both that ForAnyValue is then false and that IfExists is then true. We take IfExists, which the author wrote on purpose",
	"no value":      "a variable without a value under a negated operator or in NotResource: AWS calls it effectively null, which equals nothing, so that the negated operator matches; theirs never matches",
	"empty value":   "a variable whose value is empty: it is a value to us and absent to them",
	"malformed":     "a request value that is no number, date, address or ARN, under a negated operator: it equals nothing to us, so that the operator matches; theirs never matches",
	"other family":  "NotIpAddress with a single address and a request from the other family: it is not that address; theirs never matches",
	"every block":   "0.0.0.0/0 is every IPv4 address; theirs leaves the upper half of them out",
	"session":       "a resource policy of the same account that names everybody, or the session: AWS says that a session policy does not narrow what it grants; theirs does",
	"exponent":      "1e3 is a number to us, 1 to them",
	"epoch":         "a date in seconds since 1970, or a year alone: theirs are milliseconds since 1970",
	"escape":        "${*}, ${?} and ${$} under StringEquals: one character to us as in StringLike, themselves to them",
	"old version":   "${...} in a policy of 2008: plain text, as AWS says; a variable to them",
	"root":          "the root user of an account: it may do what nothing denies; theirs needs an identity policy",
	"binary":        "BinaryEquals: bytes are compared, not their base64",
}

type statement map[string]any

type document struct {
	Version   string      `json:"Version,omitempty"`
	Statement []statement `json:"Statement"`
}

// testCase is a request and the policies that have a say in it.
type testCase struct {
	Principal       string         `json:"principal,omitempty"`
	Action          string         `json:"action"`
	Resource        string         `json:"resource"`
	ResourceAccount string         `json:"resourceAccount"`
	Context         map[string]any `json:"context"` // a string, or a list of two or more
	Endpoint        *document      `json:"endpoint,omitempty"`
	Identity        []*document    `json:"identity,omitempty"`
	Boundary        *document      `json:"boundary,omitempty"`
	Session         *document      `json:"session,omitempty"`
	ResourcePolicy  *document      `json:"resourcePolicy,omitempty"`

	features map[feature]bool
	values   map[string][]string // Context for us
}

const (
	us   = "111111111111"
	them = "222222222222"
)

var (
	people = []string{
		"arn:aws:iam::" + us + ":user/ann", "arn:aws:iam::" + us + ":user/team/bob", "arn:aws:sts::" + us + ":assumed-role/app/i-1",
		"arn:aws:iam::" + them + ":user/ann", "", // and no role: its sessions make requests, not itself
	}
	names   = []string{"arn:aws:iam::" + us + ":root", us, them, "arn:aws:iam::" + us + ":user/ann", "arn:aws:iam::" + us + ":role/team/app", "arn:aws:sts::" + us + ":assumed-role/app/i-1", "*"}
	actions = []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:GetObjectAcl", "dynamodb:GetItem", "dynamodb:PutItem"}
	globs   = []string{"*", "s3:*", "s3:Get*", "s3:*Object", "s3:?etObject", "S3:getobject", "dynamodb:*", "s3:*Obj*Acl", "dynamodb:?etItem"}
	things  = []string{
		"arn:aws:s3:::data/logs/2026/a.txt", "arn:aws:s3:::data/ann/x", "arn:aws:s3:::data/bob/x", "arn:aws:s3:::data/top",
		"arn:aws:s3:::data2/logs/a:b", "arn:aws:s3:::other/(x)+[y].z", "arn:aws:dynamodb:us-east-1:" + us + ":table/orders", "arn:aws:dynamodb:eu-west-1:" + us + ":table/orders/index/by-day",
	}
	patterns = []string{
		"*", "arn:aws:s3:::data/*", "arn:aws:s3:::data*", "arn:aws:s3:::*/x", "arn:aws:s3:::data/???/x", "arn:aws:s3:::data/logs/*.txt", "arn:aws:s3:::data/*/2026/*",
		"arn:aws:s3:::other/(x)*", "arn:aws:s3:::data2/*a:b", "arn:aws:dynamodb:*:" + us + ":table/*", "arn:aws:dynamodb:us-*:*:table/orders", "arn:aws:dynamodb:us-east-1:" + us + ":table/orders",
		"arn:aws:s3:::data/${aws:username}/*", "arn:aws:s3:::data/${aws:username, 'bob'}/x", "arn:aws:s3:::data/${aws:PrincipalTag/team}/*",
	}
	vpcs   = []string{"vpc-1", "vpc-2", "vpc-12"}
	teams  = []string{"red", "blue", "Red", "re*d", ""}
	texts  = []string{"red", "blue", "RED", "r*", "*d", "?ed", "*", "", "b?u*", "${aws:username}", "${aws:username, 'red'}", "${aws:PrincipalTag/team}x", "x${*}y", "re${*}d"}
	dates  = []string{"2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2025-12-01T00:00:00Z", "2026-06-01", "2027-01-01T00:00:00Z", "1769860800", "2026", "soon"}
	counts = []string{"10", "10.0", "9", "-3", "11.5", "1000", "1e3", "many"}
	blocks = []string{"10.0.0.0/8", "10.0.0.7", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "2001:db8::7"}
	from   = []string{"10.0.0.7", "10.1.2.3", "192.0.2.9", "198.51.100.1", "2001:db8::7", "2001:db8:1::9", "nowhere"}
	arns   = []string{"arn:aws:iam::" + us + ":user/*", "arn:aws:iam::*:user/ann", "arn:aws:iam::" + us + ":role/team/app", "arn:*:iam::" + us + ":*", "arn:aws:iam::" + us + ":user/${aws:username}", "arn:aws:i?m::*:*/*"}
)

// drawing makes cases.
type drawing struct {
	*rand.Rand
	c *testCase
}

func pick[T any](d drawing, from []T) T { return from[d.IntN(len(from))] }

// chance is true n times of 100.
func (d drawing) chance(n int) bool { return d.IntN(100) < n }

func (d drawing) mark(f feature) { d.c.features[f] = true }

// some gives one value as itself or a list of some.
func (d drawing) some(from []string, usable func(string) bool) any {
	draw := func() string {
		for {
			if v := pick(d, from); usable(v) {
				return v
			}
		}
	}
	if d.chance(50) {
		return draw()
	}
	var out []string
	for range 1 + d.IntN(3) {
		out = append(out, draw())
	}
	return out
}

func always(string) bool { return true }

// rare leaves most of the values out that some deviation is about.
func (d drawing) rare(bad ...string) func(string) bool {
	return func(v string) bool {
		for _, b := range bad {
			if strings.Contains(v, b) {
				return d.chance(5)
			}
		}
		return true
	}
}

// draw makes a case: one policy for the language as a whole, or several for how
// they go together.
func draw(rng *rand.Rand, together bool) *testCase {
	c := &testCase{Context: map[string]any{}, features: map[feature]bool{}, values: map[string][]string{}}
	d := drawing{rng, c}
	c.Principal, c.Action, c.Resource = pick(d, people), pick(d, actions), pick(d, things)
	if d.chance(3) {
		c.Principal = "arn:aws:iam::" + us + ":root"
		d.mark("root")
	}
	c.ResourceAccount = us
	d.context()
	if !together {
		// Across accounts, with an identity policy that allows all, the resource's
		// policy decides, its Principal included.
		c.ResourceAccount = "333333333333"
		if c.Principal != "" {
			c.Identity = []*document{{Version: policy.Version2012, Statement: []statement{{"Effect": "Allow", "Action": "*", "Resource": "*"}}}}
		}
		c.ResourcePolicy = d.document(true, 1+d.IntN(4))
		delete(c.features, "root")
		return c
	}
	if d.chance(40) {
		c.ResourceAccount = them
	}
	// What endpoints take of Principal is everybody; theirs does not look at it.
	if d.chance(50) {
		c.Endpoint = d.document(false, 1+d.IntN(2))
		for _, s := range c.Endpoint.Statement {
			s["Principal"] = "*"
		}
	}
	if d.chance(50) {
		c.ResourcePolicy = d.document(true, 1+d.IntN(2))
	}
	if c.Principal == "" {
		return c
	}
	for range d.IntN(3) {
		c.Identity = append(c.Identity, d.document(false, 1+d.IntN(2)))
	}
	if d.chance(25) {
		c.Boundary = d.document(false, 1+d.IntN(2))
	}
	if d.chance(25) && strings.Contains(c.Principal, "assumed-role") {
		c.Session = d.document(false, 1+d.IntN(2))
		if c.ResourcePolicy != nil && c.ResourceAccount == us {
			d.mark("session")
		}
	}
	return c
}

// context is what the request says of itself.
func (d drawing) context() {
	set := func(key string, chance int, from []string, many bool, usable func(string) bool) {
		if !d.chance(chance) {
			return
		}
		v := d.some(from, usable)
		if list, ok := v.([]string); ok && (!many || len(list) == 1) {
			v = list[0]
		}
		d.c.Context[key] = v
		if s, ok := v.(string); ok {
			d.c.values[key] = []string{s}
		} else {
			d.c.values[key] = v.([]string)
		}
	}
	set("aws:username", 80, []string{"ann", "bob", "red", "a+b", ""}, false, func(v string) bool { return v != "" || d.chance(5) })
	set("aws:SourceVpc", 80, vpcs, false, always)
	set("aws:PrincipalTag/team", 60, teams, false, func(v string) bool { return v != "" || d.chance(10) })
	set("aws:TagKeys", 60, teams, true, always)
	set("aws:CurrentTime", 80, dates, false, d.rare("1769860800", "soon"))
	set("s3:max-keys", 60, counts, false, d.rare("1e3", "many"))
	set("aws:VpcSourceIp", 80, from, false, d.rare("nowhere"))
	set("aws:PrincipalArn", 80, []string{people[0], people[1], "arn:aws:iam::" + us + ":role/team/app", "ann"}, false, func(v string) bool { return v != "ann" || d.chance(5) })
	set("aws:SecureTransport", 80, []string{"true", "false", "True"}, false, always)
	set("s3:data", 40, []string{"aGVsbG8=", "aA==", "aB=="}, false, func(v string) bool { return v != "aB==" || d.chance(5) })
}

func (d drawing) document(principal bool, n int) *document {
	doc := &document{Version: policy.Version2012}
	if d.chance(3) {
		doc.Version = pick(d, []string{"", policy.Version2008})
		d.mark("old version")
	}
	for range n {
		doc.Statement = append(doc.Statement, d.statement(principal))
	}
	return doc
}

func (d drawing) statement(principal bool) statement {
	s := statement{"Effect": "Allow"}
	if d.chance(25) {
		s["Effect"] = "Deny"
	}
	not := func(element string, chance int) string {
		if d.chance(chance) {
			return "Not" + element
		}
		return element
	}
	if principal {
		element := not("Principal", 10)
		if element == "Principal" && d.chance(60) {
			s[element] = "*"
		} else {
			s[element] = map[string]any{"AWS": d.some(names, always)}
		}
	}
	switch {
	case d.chance(40):
		s[not("Action", 10)] = d.some(globs, always)
	case d.chance(60):
		s[not("Action", 10)] = d.c.Action
	default:
		s[not("Action", 10)] = d.some(actions, always)
	}
	element := not("Resource", 10)
	var resource any = d.c.Resource
	if d.chance(70) {
		resource = d.some(patterns, always)
	}
	s[element] = resource
	d.variables(resource, element == "NotResource")
	conditions := map[string]map[string]any{}
	for range []int{0, 0, 1, 1, 2}[d.IntN(5)] {
		d.condition(conditions)
	}
	if len(conditions) > 0 {
		s["Condition"] = conditions
	}
	return s
}

// variables marks what the variables of a value are about.
func (d drawing) variables(v any, negated bool) {
	for _, s := range listOf(v) {
		for _, key := range []string{"aws:username", "aws:PrincipalTag/team"} {
			if !strings.Contains(s, "${"+key) {
				continue
			}
			switch values := d.c.values[key]; {
			case len(values) == 0 && negated && !strings.Contains(s, "'"):
				d.mark("no value")
			case len(values) == 1 && values[0] == "":
				d.mark("empty value")
			}
		}
	}
}

func listOf(v any) []string {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	return v.([]string)
}

// family is a set of operators that take the same values.
var families = []struct {
	operators []string
	keys      []string
	values    []string
}{
	{[]string{"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"}, []string{"aws:PrincipalTag/team", "aws:TagKeys", "aws:username", "AWS:principaltag/Team"}, texts},
	{[]string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike"}, []string{"aws:SourceVpc", "aws:sourcevpc"}, append([]string{"vpc-*", "vpc-?"}, vpcs...)},
	{[]string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"}, []string{"s3:max-keys"}, counts[:7]},
	{[]string{"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"}, []string{"aws:CurrentTime"}, dates[:7]},
	{[]string{"Bool"}, []string{"aws:SecureTransport"}, []string{"true", "false"}},
	{[]string{"IpAddress", "NotIpAddress"}, []string{"aws:VpcSourceIp", "aws:SourceIp"}, blocks},
	{[]string{"ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"}, []string{"aws:PrincipalArn"}, arns},
	{[]string{"BinaryEquals"}, []string{"s3:data"}, []string{"aGVsbG8=", "aA=="}},
	{[]string{"Null"}, []string{"aws:TagKeys", "aws:username", "aws:SourceIp"}, []string{"true", "false"}},
}

func (d drawing) condition(conditions map[string]map[string]any) {
	f := pick(d, families)
	op, key := pick(d, f.operators), pick(d, f.keys)
	v := d.some(f.values, d.rare("1e3", "1769860800", "${*}", "0.0.0.0/0"))
	if f.operators[0] == "DateEquals" {
		for slices.Contains(listOf(v), "2026") && !d.chance(5) {
			v = d.some(f.values, d.rare("1769860800"))
		}
	}
	if op == "Null" {
		v = listOf(v)[0]
	}
	negated := strings.Contains(op, "Not")
	many := len(d.values(key)) > 1
	quantifier, ifExists := "", ""
	if op != "Null" {
		if many && !d.chance(5) || d.chance(15) {
			quantifier = pick(d, []string{"ForAllValues:", "ForAnyValue:"})
		}
		if d.chance(20) {
			ifExists = "IfExists"
		}
		if many && quantifier == "" {
			d.mark("single on many")
		}
		if quantifier == "ForAnyValue:" && ifExists != "" && len(d.values(key)) == 0 {
			d.mark("any if exists")
		}
	}
	d.variables(v, negated)
	for _, have := range d.values(key) {
		switch {
		case have == "1769860800" || key == "aws:CurrentTime" && have == "2026":
			d.mark("epoch")
		case have == "1e3":
			d.mark("exponent")
		case negated && (have == "soon" || have == "many" || have == "nowhere" || key == "aws:PrincipalArn" && have == "ann"):
			d.mark("malformed")
		case have == "aB==":
			d.mark("binary")
		}
	}
	for _, s := range listOf(v) {
		switch {
		case s == "1e3":
			d.mark("exponent")
		case s == "0.0.0.0/0":
			d.mark("every block")
		case s == "1769860800" || s == "2026":
			d.mark("epoch")
		case strings.Contains(s, "${*}") && strings.Contains(op, "Equals"):
			d.mark("escape")
		case op == "NotIpAddress" && !strings.Contains(s, "/"):
			for _, a := range d.values(key) {
				if strings.Contains(a, ":") != strings.Contains(s, ":") {
					d.mark("other family")
				}
			}
		}
	}
	name := quantifier + op + ifExists
	if conditions[name] == nil {
		conditions[name] = map[string]any{}
	}
	for k := range conditions[name] {
		if strings.EqualFold(k, key) {
			return
		}
	}
	conditions[name][key] = v
}

func (d drawing) values(key string) []string {
	for k, v := range d.c.values {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	return nil
}

// ours is our decision, in their words.
func (c *testCase) ours(t *testing.T) string {
	read := func(d *document, o policy.Options) *policy.Policy {
		if d == nil {
			return nil
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.ParseOptions(b, o)
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		return p
	}
	identity := policy.Options{Identity: true}
	s := policy.Set{Endpoint: read(c.Endpoint, policy.Options{}), Boundary: read(c.Boundary, identity), Resource: read(c.ResourcePolicy, policy.Options{}), ResourceAccount: c.ResourceAccount}
	for _, d := range c.Identity {
		s.Identity = append(s.Identity, read(d, identity))
	}
	if c.Session != nil {
		s.Session = []*policy.Policy{read(c.Session, identity)}
	}
	r := policy.Request{Principal: c.Principal, Action: c.Action, Resource: c.Resource, Context: c.values}
	for _, p := range append([]*policy.Policy{s.Endpoint, s.Boundary, s.Resource}, append(s.Identity, s.Session...)...) {
		if p == nil {
			continue
		}
		v, d := p.Decide(&r), p.Evaluate(r)
		if v.Allowed != d.Allowed || v.Explicit != d.Explicit {
			t.Fatalf("decided %+v, evaluated %+v", v, d)
		}
	}
	switch o := s.Evaluate(r); {
	case o.Allowed:
		return "Allowed"
	case o.Explicit:
		return "ExplicitlyDenied"
	}
	return "ImplicitlyDenied"
}

// theirs asks the other evaluator about all cases.
func theirs(t *testing.T, cases []*testCase) []string {
	t.Helper()
	dir := compat.NPM(t, "iam", "package.json", "package-lock.json", "simulate.mjs", ".npmrc")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, c := range cases {
		if err := enc.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	cmd := exec.Command(node, "simulate.mjs")
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, []string{"PATH=/usr/bin:/bin"}, &in, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var answers []string
	for s := bufio.NewScanner(&out); s.Scan(); {
		answers = append(answers, s.Text())
	}
	if len(answers) != len(cases) {
		t.Fatalf("%d answers to %d cases", len(answers), len(cases))
	}
	return answers
}

func TestRandomPoliciesAreDecidedAsByAnother(t *testing.T) {
	n, seed := 500, uint64(1)
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		n, seed = 20_000, rand.Uint64()
	}
	t.Logf("%d cases, seed %d", n, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var cases []*testCase
	for i := range n {
		cases = append(cases, draw(rng, i%2 == 1))
	}
	answers := theirs(t, cases)
	results, plain := map[string]int{}, 0
	differed := map[feature]int{}
	bad := 0
	for i, c := range cases {
		ours := c.ours(t)
		results[ours]++
		if len(c.features) == 0 {
			plain++
		}
		// A request that is denied twice is denied: which Deny is told is not compared
		// where several policies have a say.
		if together := i%2 == 1; ours == answers[i] || together && ours != "Allowed" && strings.HasSuffix(answers[i], "Denied") {
			continue
		}
		if len(c.features) > 0 && !strings.HasPrefix(answers[i], "failed") {
			for f := range c.features {
				differed[f]++
			}
			continue
		}
		if bad++; bad <= 5 {
			b, _ := json.MarshalIndent(c, "", " ")
			t.Errorf("case %d: we say %s, they say %s\n%s", i, ours, answers[i], b)
		}
	}
	t.Logf("decisions %v; %d cases without a deviation; differences %v", results, plain, differed)
	if bad > 5 {
		t.Errorf("%d more cases differ", bad-5)
	}
	for _, want := range []string{"Allowed", "ImplicitlyDenied", "ExplicitlyDenied"} {
		if results[want] < n/20 {
			t.Errorf("only %d of %d cases are %s: the comparison proves too little", results[want], n, want)
		}
	}
	if plain < n*2/3 {
		t.Errorf("only %d of %d cases have to agree", plain, n)
	}
	for f := range differed {
		if deviations[f] == "" {
			t.Errorf("no reason is given for the deviation %q", f)
		}
	}
}

// Each deviation is one: a policy and a request on which the two differ as it
// says. A deviation that is none any more has to go.
func TestDeviationsAreWhatTheySay(t *testing.T) {
	single := func(principal, resourceAccount string, s statement, context map[string]any) *testCase {
		c := &testCase{Principal: principal, Action: "s3:GetObject", Resource: "arn:aws:s3:::data/ann/x", ResourceAccount: resourceAccount, Context: context, values: map[string][]string{}}
		full := statement{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
		maps.Copy(full, s)
		if _, ok := s["NotResource"]; ok {
			delete(full, "Resource")
		}
		version := policy.Version2012
		if v, ok := full["Version"]; ok {
			version = v.(string)
			delete(full, "Version")
		}
		c.ResourcePolicy = &document{Version: version, Statement: []statement{full}}
		for k, v := range context {
			c.values[k] = listOf(v)
		}
		return c
	}
	condition := func(op, key string, v, have any) *testCase {
		context := map[string]any{}
		if have != nil {
			context[key] = have
		}
		return single("", us, statement{"Condition": map[string]any{op: map[string]any{key: v}}}, context)
	}
	of := map[feature]*testCase{
		"single on many": condition("StringNotEquals", "aws:TagKeys", "red", []string{"blue", "green"}),
		"any if exists":  condition("ForAnyValue:StringEqualsIfExists", "aws:TagKeys", "red", nil),
		"no value":       condition("StringNotEquals", "aws:TagKeys", "${aws:username}", "red"),
		"empty value":    condition("StringEquals", "aws:TagKeys", "${aws:username}red", "red"),
		"malformed":      condition("NumericNotEquals", "s3:max-keys", "10", "many"),
		"other family":   condition("NotIpAddress", "aws:VpcSourceIp", "10.0.0.7", "2001:db8::7"),
		"every block":    condition("IpAddress", "aws:VpcSourceIp", "0.0.0.0/0", "192.0.2.9"),
		"exponent":       condition("NumericEquals", "s3:max-keys", "1000", "1e3"),
		"epoch":          condition("DateEquals", "aws:CurrentTime", "1769860800", "2026-01-31T12:00:00Z"),
		"escape":         condition("StringEquals", "aws:TagKeys", "re${*}d", "re*d"),
		"old version":    single("", us, statement{"Version": policy.Version2008, "Resource": "arn:aws:s3:::data/${aws:username}/x"}, map[string]any{"aws:username": "ann"}),
		"root":           single("arn:aws:iam::"+us+":root", us, statement{"Action": "sqs:*"}, nil),
		"binary":         condition("BinaryEquals", "s3:data", "aA==", "aB=="),
	}
	of["session"] = single("arn:aws:sts::"+us+":assumed-role/app/i-1", us, nil, nil)
	of["session"].Session = &document{Version: policy.Version2012, Statement: []statement{{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}}
	of["empty value"].Context["aws:username"], of["empty value"].values["aws:username"] = "", []string{""}
	var features []feature
	var cases []*testCase
	for f := range deviations {
		if of[f] == nil {
			t.Errorf("%s: no case shows it", f)
			continue
		}
		features, cases = append(features, f), append(cases, of[f])
	}
	for i, answer := range theirs(t, cases) {
		if ours := cases[i].ours(t); ours == answer || strings.HasPrefix(answer, "failed") {
			t.Errorf("%s: we say %s, they say %s, and the deviation is: %s", features[i], ours, answer, deviations[features[i]])
		}
	}
}
