// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
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
}

type statement struct {
	sid          string
	deny         bool
	principals   *principals // nil in an identity policy
	notPrincipal bool
	actions      []actionPattern
	notAction    bool
	resources    []*template
	notResource  bool
	conditions   []condition
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
	if len(doc) > MaxBytes {
		return nil, outside("", fmt.Errorf("has %d bytes, more than %d", len(doc), MaxBytes))
	}
	root, err := decode(doc)
	if err != nil {
		return nil, outside("", err)
	}
	if root.kind != kindObject {
		return nil, outside("", fmt.Errorf("must be an object, not %s", root.kind))
	}
	if err := onlyFields(&root, "Version", "Id", "Statement"); err != nil {
		return nil, outside("", err)
	}
	p := &Policy{}
	if p.Version, err = optionalString(root.get("Version")); err != nil {
		return nil, outside("Version", err)
	}
	if v := root.get("Version"); v != nil && p.Version != Version2008 && p.Version != Version2012 {
		return nil, outside("Version", fmt.Errorf("%s is not a version, use %q", quote(p.Version), Version2012))
	}
	if p.ID, err = optionalString(root.get("Id")); err != nil {
		return nil, outside("Id", err)
	}
	list := root.get("Statement")
	if list == nil {
		return nil, outside("Statement", fmt.Errorf("missing"))
	}
	nodes := list.list
	if list.kind == kindObject {
		nodes = []node{*list}
	} else if list.kind != kindList {
		return nil, outside("Statement", fmt.Errorf("must be an object or a list, not %s", list.kind))
	}
	if len(nodes) == 0 {
		return nil, outside("Statement", fmt.Errorf("empty, write at least one statement"))
	}
	sids := map[string]int{}
	for i := range nodes {
		s, field, err := parseStatement(&nodes[i], p.Version == Version2012, o)
		if first, used := sids[s.sid]; err == nil && used && s.sid != "" {
			field, err = "Sid", fmt.Errorf("already the Sid of Statement[%d]", first)
		}
		if err != nil {
			return nil, &ParseError{Statement: i, Sid: s.sid, Field: field, Err: err}
		}
		sids[s.sid] = i
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func outside(field string, err error) error {
	return &ParseError{Statement: -1, Field: field, Err: err}
}

// parseStatement returns, with an error, the field it is about and as much
// of the statement as it knows: the Sid, so that the error can name it.
func parseStatement(n *node, vars bool, o Options) (s statement, field string, err error) {
	if n.kind != kindObject {
		return s, "", fmt.Errorf("must be an object, not %s", n.kind)
	}
	if s.sid, err = optionalString(n.get("Sid")); err != nil {
		return s, "Sid", err
	}
	err = onlyFields(n, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return s, "", err
	}
	switch e := n.get("Effect"); {
	case e == nil:
		return s, "Effect", fmt.Errorf(`missing, write "Allow" or "Deny"`)
	case e.kind != kindString || e.text != "Allow" && e.text != "Deny":
		return s, "Effect", fmt.Errorf(`must be "Allow" or "Deny"`)
	default:
		s.deny = e.text == "Deny"
	}
	if field, err = s.parsePrincipal(n, o); err != nil {
		return s, field, err
	}

	list, field, err := oneOf(n, "Action", "NotAction")
	if err != nil {
		return s, field, err
	}
	s.notAction = field == "NotAction"
	values, err := stringList(list)
	if err != nil {
		return s, field, err
	}
	for _, v := range values {
		if err := checkAction(v); err != nil {
			return s, field, err
		}
		s.actions = append(s.actions, newActionPattern(v))
	}

	if field, err = s.parseResource(n, vars, o); err != nil {
		return s, field, err
	}
	if c := n.get("Condition"); c != nil {
		if s.conditions, err = parseConditions(c, vars); err != nil {
			return s, "Condition", err
		}
	}
	return s, "", nil
}

func (s *statement) parsePrincipal(n *node, o Options) (field string, err error) {
	if o.Identity {
		for _, name := range []string{"Principal", "NotPrincipal"} {
			if n.get(name) != nil {
				return name, fmt.Errorf("not allowed in a policy attached to a user or role")
			}
		}
		return "", nil
	}
	value, field, err := oneOf(n, "Principal", "NotPrincipal")
	if err != nil {
		return field, err
	}
	s.notPrincipal = field == "NotPrincipal"
	s.principals, err = parsePrincipals(value)
	return field, err
}

func (s *statement) parseResource(n *node, vars bool, o Options) (field string, err error) {
	if o.Trust {
		for _, name := range []string{"Resource", "NotResource"} {
			if n.get(name) != nil {
				return name, fmt.Errorf("not allowed in a role's trust policy")
			}
		}
		everything, err := newTemplate("*", true, false)
		s.resources = []*template{everything}
		return "Resource", err
	}
	list, field, err := oneOf(n, "Resource", "NotResource")
	if err != nil {
		return field, err
	}
	s.notResource = field == "NotResource"
	values, err := stringList(list)
	if err != nil {
		return field, err
	}
	for _, v := range values {
		if strings.Trim(v, "*") != "" && !strings.HasPrefix(v, "arn:") || v == "" {
			return field, fmt.Errorf(`%s is not a resource, write an ARN or "*"`, quote(v))
		}
		t, err := newTemplate(v, true, vars)
		if err != nil {
			return field, err
		}
		s.resources = append(s.resources, t)
	}
	return field, nil
}

// oneOf returns the one of two exclusive fields that n has, and its name.
func oneOf(n *node, name, notName string) (*node, string, error) {
	yes, no := n.get(name), n.get(notName)
	switch {
	case yes != nil && no != nil:
		return nil, name, fmt.Errorf("cannot stand beside %s, write one of them", notName)
	case yes != nil:
		return yes, name, nil
	case no != nil:
		return no, notName, nil
	}
	return nil, name, fmt.Errorf("missing")
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
func onlyFields(n *node, known ...string) error {
next:
	for _, m := range n.members {
		hint := ""
		for _, k := range known {
			if m.name == k {
				continue next
			}
			if strings.EqualFold(m.name, k) {
				hint = ", did you mean " + k
			}
		}
		return fmt.Errorf("has the unknown field %s%s", quote(m.name), hint)
	}
	return nil
}

func optionalString(n *node) (string, error) {
	if n == nil {
		return "", nil
	}
	if n.kind != kindString {
		return "", fmt.Errorf("must be a string, not %s", n.kind)
	}
	return n.text, nil
}

// stringList reads a string or a non-empty list of strings.
func stringList(n *node) ([]string, error) {
	return valueList(n, "a string", func(k nodeKind) bool { return k == kindString })
}

// scalarList is stringList that also takes numbers and booleans, as text.
func scalarList(n *node) ([]string, error) {
	return valueList(n, "a string, number or boolean", func(k nodeKind) bool {
		return k == kindString || k == kindNumber || k == kindBool
	})
}

func valueList(n *node, want string, accept func(nodeKind) bool) ([]string, error) {
	nodes := []node{*n}
	if n.kind == kindList {
		nodes = n.list
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("empty list")
	}
	var out []string
	for i := range nodes {
		if !accept(nodes[i].kind) {
			return nil, fmt.Errorf("must be %s or a list of them, not %s", want, nodes[i].kind)
		}
		out = append(out, nodes[i].text)
	}
	return out, nil
}

// defaultDocument is what AWS attaches when the caller gives no policy.
const defaultDocument = `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`

// Default returns the policy of an endpoint created without one, as text and
// parsed: everybody may do everything, which leaves the decision to the backend.
func Default() (text string, p *Policy) {
	everything := compile([]rune{anyRun})
	return defaultDocument, &Policy{
		Version: Version2008,
		statements: []statement{{
			principals: &principals{any: true, src: []string{"*"}},
			actions:    []actionPattern{{"*", everything}},
			resources:  []*template{{src: "*", fixed: []rune{anyRun}, ready: everything}},
		}},
	}
}
