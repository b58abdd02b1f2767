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
	operator
	quantifier
	ifExists bool
	spelling string // canonical, with prefix and suffix, for explanations
	key      string // as written
	id       keyID
	operands []operand // one per value of the document
	src      []string
	at       []int // where each value is in the document
}

// String is the short form used in decisions: "StringEquals aws:SourceVpc".
func (c *condition) String() string { return c.spelling + " " + c.key }

// maxKey bounds a condition key in bytes. The longest are tags: a prefix and at
// most 128 characters.
const maxKey = 640

// notPrintable keeps control characters out of reasons. Tag keys may hold spaces.
func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

// parseConditions reads a Condition element.
func (p *parser) parseConditions(n *node) []condition {
	if n.kind != kindObject {
		p.fail("Condition", n, "must be an object of operators, not %s", n.kind)
		return nil
	}
	var out []condition
	for i := range n.members {
		op := &n.members[i]
		base, err := parseOperator(op.name)
		if err != nil {
			p.fail("Condition", &op.value, "%w", err)
			continue
		}
		if op.value.kind != kindObject || len(op.value.members) == 0 {
			p.fail("Condition", &op.value, "%s: must be an object with at least one condition key", base.spelling)
			continue
		}
		for j := range op.value.members {
			if c, ok := p.parseCondition(base, &op.value.members[j]); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// parseCondition reads one key of an operator.
func (p *parser) parseCondition(c condition, m *member) (condition, bool) {
	c.key = m.name
	if prefix, name, found := strings.Cut(m.name, ":"); !found || prefix == "" || name == "" ||
		len(m.name) > maxKey || strings.ContainsFunc(m.name, notPrintable) {
		p.fail("Condition", &m.value, "%s: %s is not a condition key, write prefix:name", c.spelling, quote(m.name))
		return c, false
	}
	c.id = p.keys.id(m.name)
	values, err := scalarList(&m.value)
	if err != nil {
		p.fail("Condition", &m.value, "%s: %s: %w", c.spelling, quote(m.name), err)
		return c, false
	}
	good := true
	for _, v := range values {
		o, err := c.newOperand(v.text, p.vars, p.keys)
		if err != nil {
			p.fail("Condition", v, "%s: %s: %w", c.spelling, quote(m.name), err)
			good = false
			continue
		}
		c.operands, c.src, c.at = append(c.operands, o), append(c.src, v.text), append(c.at, v.at)
	}
	return c, good
}

// parseOperator takes an operator name apart: [ForAllValues:|ForAnyValue:]Base[IfExists].
func parseOperator(name string) (condition, error) {
	var c condition
	base := strings.ToLower(name)
	prefix, suffix := "", ""
	if rest, found := strings.CutPrefix(base, "forallvalues:"); found {
		base, prefix, c.quantifier = rest, "ForAllValues:", forAllValues
	} else if rest, found := strings.CutPrefix(base, "foranyvalue:"); found {
		base, prefix, c.quantifier = rest, "ForAnyValue:", forAnyValue
	}
	if rest, found := strings.CutSuffix(base, "ifexists"); found {
		base, suffix, c.ifExists = rest, "IfExists", true
	}
	op, known := operators[base]
	if !known {
		return c, fmt.Errorf("unknown condition operator %s", quote(name))
	}
	if op.kind == null && c.ifExists {
		return c, fmt.Errorf("condition operator %s: Null takes no IfExists", quote(name))
	}
	c.operator, c.spelling = op, prefix+op.name+suffix
	return c, nil
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
	for i := range c.operands {
		if t := c.operands[i].template; t != nil {
			t.admit(e)
		}
	}
	values := e.values[c.id]
	if c.kind == null {
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
	for i := range c.operands {
		if c.test(e, &c.operands[i], value) {
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
	if values := e.values[c.id]; len(values) > 0 {
		have = c.key + " is " + quoteList(values)
	}
	return fmt.Sprintf("%s (%s %s)", have, c.spelling, quoteList(c.src))
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
