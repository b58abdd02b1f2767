// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxBytes is the longest document in bytes, white space included. AWS says
// 20480 characters; the two differ only for text outside ASCII.
const MaxBytes = 20480

// The versions of the language. Without a Version a document is [Version2008],
// in which ${...} is plain text.
const (
	Version2008 = "2008-10-17"
	Version2012 = "2012-10-17"
)

// Policy is a parsed document. It is immutable; make one with [Parse].
type Policy struct {
	// Version is the document's Version, empty if it has none.
	Version string
	// ID is the document's Id, empty if it has none.
	ID string

	statements []statement
	keys       keyTable
	// exact is the statements whose every Action is a whole name, by that name in
	// lower case; wild is the others. Both are in order.
	exact map[string]candidates
	wild  candidates
}

// candidates are statements by their Effect.
type candidates struct{ deny, allow []candidate }

// candidate is what most often tells without a look at a statement that it does
// not apply. Policies are long because they name many resources.
type candidate struct {
	start string // what every resource that it can apply to starts with
	end   uint64 // the last eight bytes of start, where names differ most, if it has them
	index int
}

// fits is false when a resource cannot start as c wants. Statements compare it
// whole.
func (c *candidate) fits(resource string) bool {
	n := len(c.start)
	return n <= len(resource) && (n < 8 || eight(resource[n-8:n]) == c.end)
}

// eight is the first eight bytes of s as a number.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

type statement struct {
	sid          string
	deny         bool
	principals   *principals // nil in an identity policy
	notPrincipal bool
	actions      []action
	notAction    bool
	resources    []*template
	notResource  bool
	conditions   []condition
	at           []int // where each of resources is in the document
}

// action is one value of Action or NotAction. Its letter case means nothing.
type action struct {
	src     string
	exact   bool // holds no wildcard
	pattern *pattern
}

func newAction(s string) (action, error) {
	t, err := newTemplate(strings.ToLower(s), true, false, nil)
	if err != nil {
		return action{}, err
	}
	return action{s, !strings.ContainsAny(s, "*?"), compile(t.pieces, true)}, nil
}

// Options changes what Parse expects.
type Options struct {
	// Identity is for policies attached to a user or role: Principal and
	// NotPrincipal are errors instead of required, and the statements apply
	// to whoever makes the request.
	Identity bool
	// Trust is for a role's trust policy, which is attached to what it is
	// about: Resource and NotResource are errors, and the statements apply to
	// that role.
	Trust bool
}

// ParseError says where in a document the first problem is.
type ParseError struct {
	Statement int    // from 0, or -1 when the problem is outside the statements
	Sid       string // of the statement, if it has one
	Field     string // such as "Action", empty when the document is no JSON
	Offset    int    // in bytes, of the value that the problem is with
	Err       error
}

func (e *ParseError) Error() string {
	var b strings.Builder
	b.WriteString("policy document")
	if e.Statement >= 0 {
		fmt.Fprintf(&b, ": %s", statementName(e.Statement, e.Sid))
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ": %s:", e.Field)
	}
	return b.String() + " " + e.Err.Error()
}

func (e *ParseError) Unwrap() error { return e.Err }

// statementName is how errors and reasons call a statement: Statement[0] (Sid "x").
func statementName(index int, sid string) string {
	if sid == "" {
		return fmt.Sprintf("Statement[%d]", index)
	}
	return fmt.Sprintf("Statement[%d] (Sid %s)", index, quote(sid))
}

// Parse reads an endpoint policy, a resource policy whose every statement
// names a Principal. Errors are of type *[ParseError].
func Parse(doc []byte) (*Policy, error) { return ParseOptions(doc, Options{}) }

// ParseOptions is [Parse] with options.
func ParseOptions(doc []byte, o Options) (*Policy, error) {
	p, problems := parse(doc, o)
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return p, nil
}

// Check finds every problem of a document, in its order. endpoint adds the rules
// of [Policy.CheckEndpoint].
func Check(doc []byte, o Options, endpoint bool) []*ParseError {
	p, problems := parse(doc, o)
	if endpoint && p != nil {
		problems = append(problems, p.checkEndpoint()...)
		slices.SortStableFunc(problems, func(a, b *ParseError) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return problems
}

// Position is the line and column, both from 1, of an offset into a document.
// The column counts characters.
func Position(doc []byte, offset int) (line, column int) {
	before := doc[:min(max(offset, 0), len(doc))]
	last := bytes.LastIndexByte(before, '\n')
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[last+1:]) + 1
}

// parser collects what is wrong with a document.
type parser struct {
	Options
	vars      bool // ${...} means something
	keys      *keyTable
	problems  []*ParseError
	statement int // the one that is read, or -1
	sid       string
}

// fail records a problem with n, which may be nil.
func (p *parser) fail(field string, n *node, format string, args ...any) {
	e := &ParseError{Statement: p.statement, Sid: p.sid, Field: field, Err: fmt.Errorf(format, args...)}
	if n != nil {
		e.Offset = n.at
	}
	p.problems = append(p.problems, e)
}

// parse reads what it can: the policy lacks what there are problems with, and is
// nil when the document has no statements at all.
func parse(doc []byte, o Options) (*Policy, []*ParseError) {
	made := &Policy{exact: map[string]candidates{}}
	p := &parser{Options: o, keys: &made.keys, statement: -1}
	if len(doc) > MaxBytes {
		p.fail("", nil, "has %d bytes, more than %d", len(doc), MaxBytes)
		return nil, p.problems
	}
	root, at, err := decode(doc)
	if err != nil {
		p.fail("", &node{at: at}, "%w", err)
		return nil, p.problems
	}
	if root.kind != kindObject {
		p.fail("", &root, "must be an object, not %s", root.kind)
		return nil, p.problems
	}
	p.onlyFields(&root, "Version", "Id", "Statement")
	version := root.get("Version")
	made.Version = p.optionalString("Version", version)
	if version != nil && version.kind == kindString && made.Version != Version2008 && made.Version != Version2012 {
		p.fail("Version", version, "%s is not a version, use %q", quote(made.Version), Version2012)
	}
	p.vars = made.Version == Version2012
	made.ID = p.optionalString("Id", root.get("Id"))
	list := root.get("Statement")
	switch {
	case list == nil:
		p.fail("Statement", &root, "missing")
		return nil, p.problems
	case list.kind == kindObject:
		list = &node{kind: kindList, list: []node{*list}, at: list.at}
	case list.kind != kindList:
		p.fail("Statement", list, "must be an object or a list, not %s", list.kind)
		return nil, p.problems
	}
	if len(list.list) == 0 {
		p.fail("Statement", list, "empty, write at least one statement")
		return nil, p.problems
	}
	sids := map[string]int{}
	for i := range list.list {
		p.statement, p.sid = i, ""
		made.add(p.parseStatement(&list.list[i]))
		if first, used := sids[p.sid]; used && p.sid != "" {
			p.fail("Sid", list.list[i].get("Sid"), "already the Sid of Statement[%d]", first)
		} else {
			sids[p.sid] = i
		}
	}
	return made, p.problems
}

// add puts a statement last.
func (p *Policy) add(s statement) {
	c := candidate{start: s.start(), index: len(p.statements)}
	if n := len(c.start); n >= 8 {
		c.end = eight(c.start[n-8:])
	}
	p.statements = append(p.statements, s)
	if s.notAction || slices.ContainsFunc(s.actions, func(a action) bool { return !a.exact }) {
		*p.wild.of(s.deny) = append(*p.wild.of(s.deny), c)
		return
	}
	for _, a := range s.actions {
		name := strings.ToLower(a.src)
		named := p.exact[name]
		if l := named.of(s.deny); len(*l) == 0 || (*l)[len(*l)-1].index != c.index {
			*l = append(*l, c)
		}
		p.exact[name] = named
	}
}

func (c *candidates) of(deny bool) *[]candidate {
	if deny {
		return &c.deny
	}
	return &c.allow
}

// start is the longest text that all resources of s start with.
func (s *statement) start() string {
	if s.notResource || len(s.resources) == 0 {
		return ""
	}
	var start string
	for i, r := range s.resources {
		var literal string
		if len(r.pieces) > 0 && r.pieces[0].kind == literalPiece {
			literal = r.pieces[0].text
		}
		if r.vars {
			literal = "" // what it fills counts against the limits also when the start differs
		}
		if i == 0 {
			start = literal
		}
		n := 0
		for n < len(start) && n < len(literal) && start[n] == literal[n] {
			n++
		}
		start = start[:n]
	}
	return start
}

// parseStatement reads one statement. It sets p.sid first, so that problems can
// name it.
func (p *parser) parseStatement(n *node) (s statement) {
	if n.kind != kindObject {
		p.fail("", n, "must be an object, not %s", n.kind)
		return s
	}
	if sid := n.get("Sid"); sid != nil && sid.kind == kindString {
		p.sid = sid.text
	}
	s.sid = p.optionalString("Sid", n.get("Sid"))
	p.onlyFields(n, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	switch e := n.get("Effect"); {
	case e == nil:
		p.fail("Effect", n, `missing, write "Allow" or "Deny"`)
	case e.kind != kindString || e.text != "Allow" && e.text != "Deny":
		p.fail("Effect", e, `must be "Allow" or "Deny"`)
	default:
		s.deny = e.text == "Deny"
	}
	p.parsePrincipal(n, &s)
	if list, field, ok := p.oneOf(n, "Action", "NotAction"); ok {
		s.notAction = field == "NotAction"
		for _, v := range p.strings(field, list) {
			err := checkAction(v.text)
			if err == nil {
				var a action
				a, err = newAction(v.text)
				s.actions = append(s.actions, a)
			}
			if err != nil {
				p.fail(field, v, "%w", err)
			}
		}
	}
	p.parseResource(n, &s)
	if c := n.get("Condition"); c != nil {
		s.conditions = p.parseConditions(c)
	}
	return s
}

func (p *parser) parsePrincipal(n *node, s *statement) {
	if p.Identity {
		for _, name := range []string{"Principal", "NotPrincipal"} {
			if v := n.get(name); v != nil {
				p.fail(name, v, "not allowed in a policy attached to a user or role")
			}
		}
		return
	}
	value, field, ok := p.oneOf(n, "Principal", "NotPrincipal")
	if !ok {
		return
	}
	s.notPrincipal = field == "NotPrincipal"
	s.principals = p.parsePrincipals(field, value)
}

func (p *parser) parseResource(n *node, s *statement) {
	if p.Trust {
		for _, name := range []string{"Resource", "NotResource"} {
			if v := n.get(name); v != nil {
				p.fail(name, v, "not allowed in a role's trust policy")
			}
		}
		s.resources, s.at = []*template{everything()}, []int{0}
		return
	}
	list, field, ok := p.oneOf(n, "Resource", "NotResource")
	if !ok {
		return
	}
	s.notResource = field == "NotResource"
	for _, v := range p.strings(field, list) {
		if strings.Trim(v.text, "*") != "" && !strings.HasPrefix(v.text, "arn:") || v.text == "" {
			p.fail(field, v, `%s is not a resource, write an ARN or "*"`, quote(v.text))
			continue
		}
		t, err := newTemplate(v.text, true, p.vars, p.keys)
		if err != nil {
			p.fail(field, v, "%w", err)
			continue
		}
		s.resources, s.at = append(s.resources, t), append(s.at, v.at)
	}
}

// everything is the resource "*".
func everything() *template {
	pieces := []piece{{kind: anyRun, key: noKey}}
	return &template{src: "*", pieces: pieces, size: 1, pattern: compile(pieces, false)}
}

// oneOf returns the one of two exclusive fields that n has, and its name.
func (p *parser) oneOf(n *node, name, notName string) (*node, string, bool) {
	yes, no := n.get(name), n.get(notName)
	switch {
	case yes != nil && no != nil:
		p.fail(name, yes, "cannot stand beside %s, write one of them", notName)
		return nil, name, false
	case yes != nil:
		return yes, name, true
	case no != nil:
		return no, notName, true
	}
	p.fail(name, n, "missing")
	return nil, name, false
}

// checkAction wants "*" or service:name in the characters AWS uses for them.
func checkAction(s string) error {
	const name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*?"
	service, action, found := strings.Cut(s, ":")
	if s == "*" || found && service != "" && action != "" && strings.Trim(service+action, name) == "" && len(s) <= maxValue {
		return nil
	}
	return fmt.Errorf(`%s is not an action, write service:Name such as "s3:GetObject", or "*"`, quote(s))
}

// onlyFields refuses fields that would otherwise be silently without effect.
func (p *parser) onlyFields(n *node, known ...string) {
next:
	for i := range n.members {
		m := &n.members[i]
		hint := ""
		for _, k := range known {
			if m.name == k {
				continue next
			}
			if strings.EqualFold(m.name, k) {
				hint = ", did you mean " + k
			}
		}
		p.fail("", &m.value, "has the unknown field %s%s", quote(m.name), hint)
	}
}

func (p *parser) optionalString(field string, n *node) string {
	if n == nil {
		return ""
	}
	if n.kind != kindString {
		p.fail(field, n, "must be a string, not %s", n.kind)
		return ""
	}
	return n.text
}

// strings reads a string or a non-empty list of strings.
func (p *parser) strings(field string, n *node) []*node {
	list, err := stringList(n)
	if err != nil {
		p.fail(field, n, "%w", err)
	}
	return list
}

func stringList(n *node) ([]*node, error) {
	return valueList(n, "a string", func(k nodeKind) bool { return k == kindString })
}

// scalarList is stringList that also takes numbers and booleans, as text.
func scalarList(n *node) ([]*node, error) {
	return valueList(n, "a string, number or boolean", func(k nodeKind) bool {
		return k == kindString || k == kindNumber || k == kindBool
	})
}

func valueList(n *node, want string, accept func(nodeKind) bool) ([]*node, error) {
	var out []*node
	if n.kind != kindList {
		out = []*node{n}
	}
	for i := range n.list {
		out = append(out, &n.list[i])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("empty list")
	}
	for _, v := range out {
		if !accept(v.kind) {
			return nil, fmt.Errorf("must be %s or a list of them, not %s", want, v.kind)
		}
	}
	return out, nil
}

// defaultDocument is what AWS attaches when the caller gives no policy.
const defaultDocument = `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`

// Default returns the policy of an endpoint created without one, as text and
// parsed: everybody may do everything, which leaves the decision to the backend.
func Default() (text string, p *Policy) {
	p = &Policy{Version: Version2008, exact: map[string]candidates{}}
	all := everything()
	p.add(statement{
		principals: &principals{any: true, src: []string{"*"}},
		actions:    []action{{"*", false, compile(all.pieces, true)}},
		resources:  []*template{all},
		at:         []int{strings.Index(defaultDocument, `"*"}]`)},
	})
	return defaultDocument, p
}
