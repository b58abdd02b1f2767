// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"unicode"
)

// quantifier says how the values of a multi-valued key combine.
type quantifier int

const (
	plain quantifier = iota
	forAllValues
	forAnyValue
)

// condition is one operator on one key: "StringEquals": {"aws:SourceVpc": ...}.
type condition struct {
	operator string // canonical spelling with prefix and suffix, for explanations
	key      string // as written
	lowerKey string
	quantifier
	ifExists bool
	negated  bool
	null     bool   // Null: about presence, not values
	tests    []test // one per value of the document
	src      []string
}

// test reports whether one value of the request satisfies one value of the
// document under the positive form of an operator.
type test func(e *evaluation, value string) bool

// String is the short form used in decisions: "StringEquals aws:SourceVpc".
func (c *condition) String() string { return c.operator + " " + c.key }

// maxKey bounds a condition key in bytes. The longest are tags: a prefix and at
// most 128 characters.
const maxKey = 640

// notPrintable keeps control characters out of reasons. Tag keys may hold spaces.
func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

// parseConditions reads a Condition element. vars as in newTemplate.
func parseConditions(n *node, vars bool) ([]condition, error) {
	if n.kind != kindObject {
		return nil, fmt.Errorf("must be an object of operators, not %s", n.kind)
	}
	var out []condition
	for _, op := range n.members {
		base, err := parseOperator(op.name)
		if err != nil {
			return nil, err
		}
		if op.value.kind != kindObject || len(op.value.members) == 0 {
			return nil, fmt.Errorf("%s: must be an object with at least one condition key", base.operator)
		}
		for _, m := range op.value.members {
			c := base.condition
			c.key, c.lowerKey = m.name, strings.ToLower(m.name)
			if prefix, name, found := strings.Cut(m.name, ":"); !found || prefix == "" || name == "" ||
				len(m.name) > maxKey || strings.ContainsFunc(m.name, notPrintable) {
				return nil, fmt.Errorf("%s: %s is not a condition key, write prefix:name", c.operator, quote(m.name))
			}
			if c.src, err = scalarList(&m.value); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", c.operator, quote(m.name), err)
			}
			for _, v := range c.src {
				t, err := base.compile(v, vars)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", c.operator, quote(m.name), err)
				}
				c.tests = append(c.tests, t)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

type parsedOperator struct {
	condition
	compile func(value string, vars bool) (test, error)
}

// parseOperator takes an operator name apart: [ForAllValues:|ForAnyValue:]Base[IfExists].
func parseOperator(name string) (parsedOperator, error) {
	var p parsedOperator
	base := strings.ToLower(name)
	prefix, suffix := "", ""
	if rest, found := strings.CutPrefix(base, "forallvalues:"); found {
		base, prefix, p.quantifier = rest, "ForAllValues:", forAllValues
	} else if rest, found := strings.CutPrefix(base, "foranyvalue:"); found {
		base, prefix, p.quantifier = rest, "ForAnyValue:", forAnyValue
	}
	if rest, found := strings.CutSuffix(base, "ifexists"); found {
		base, suffix, p.ifExists = rest, "IfExists", true
	}
	op, known := operators[base]
	if !known {
		return p, fmt.Errorf("unknown condition operator %s", quote(name))
	}
	if op.null && p.ifExists {
		return p, fmt.Errorf("condition operator %s: Null takes no IfExists", quote(name))
	}
	p.operator = prefix + op.name + suffix
	p.negated, p.null, p.compile = op.negated, op.null, op.compile
	return p, nil
}

// match evaluates c against the request.
//
//	key            positive   negated   IfExists   ForAllValues   ForAnyValue
//	absent         false      true      true       true           false
//	present        any value  no value  as without every value    any value
//
// "value" is a value of the request that equals one of the document's values;
// under a quantifier and a negated operator, one that equals none of them.
func (c *condition) match(e *evaluation) bool {
	values := e.context[c.lowerKey]
	if c.null {
		return c.anyTest(e, presence(len(values) > 0))
	}
	if len(values) == 0 {
		switch {
		case c.ifExists || c.quantifier == forAllValues:
			return true
		case c.quantifier == forAnyValue:
			return false
		}
		return c.negated
	}
	switch c.quantifier {
	case forAllValues:
		for _, v := range values {
			if c.anyTest(e, v) == c.negated {
				return false
			}
		}
		return true
	case forAnyValue:
		for _, v := range values {
			if c.anyTest(e, v) != c.negated {
				return true
			}
		}
		return false
	}
	for _, v := range values {
		if c.anyTest(e, v) {
			return !c.negated
		}
	}
	return c.negated
}

func (c *condition) anyTest(e *evaluation, value string) bool {
	for _, t := range c.tests {
		if t(e, value) {
			return true
		}
	}
	return false
}

// presence is what a Null test sees: "true" says the key is absent.
func presence(present bool) string {
	if present {
		return "false"
	}
	return "true"
}

// explain says in one line what the request had and the document wanted.
func (c *condition) explain(e *evaluation) string {
	have := "the request has no " + c.key
	if values := e.context[c.lowerKey]; len(values) > 0 {
		have = c.key + " is " + quoteList(values)
	}
	return fmt.Sprintf("%s (%s %s)", have, c.operator, quoteList(c.src))
}

// quoteList shows at most three values.
func quoteList(values []string) string {
	const shown = 3
	var b strings.Builder
	for i, v := range values {
		if i == shown {
			fmt.Fprintf(&b, " and %d more", len(values)-shown)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(v))
	}
	return b.String()
}
