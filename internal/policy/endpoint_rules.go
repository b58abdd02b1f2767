// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// besideWildcard is how many characters in a row a string condition needs
// before or after each wildcard in an endpoint policy.
const besideWildcard = 6

// generatedKeys are the condition keys whose values are ids that AWS makes.
var generatedKeys = []string{
	"aws:principalaccount", "aws:principalorgid", "aws:resourceaccount", "aws:resourceorgid",
	"aws:sourceaccount", "aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce", "aws:vpceaccount", "aws:vpceorgid",
}

var variable = regexp.MustCompile(`\$\{[^}]*\}`)

// CheckEndpoint refuses what AWS refuses in the policy of an endpoint although
// its grammar allows it:
//
//   - a wildcard or a numeric operator with a condition key whose values are
//     generated ids, such as aws:SourceVpc;
//   - a wildcard in a string condition with fewer than six characters in a row
//     before and after it;
//   - an account in an ARN that is partly a wildcard.
//
// Errors are of type *[ParseError].
func (p *Policy) CheckEndpoint() error {
	if problems := p.checkEndpoint(); len(problems) > 0 {
		return problems[0]
	}
	return nil
}

func (p *Policy) checkEndpoint() []*ParseError {
	var problems []*ParseError
	for i := range p.statements {
		s := &p.statements[i]
		field := "Resource"
		if s.notResource {
			field = "NotResource"
		}
		for j, r := range s.resources {
			if err := checkAccount(p.plain(r.src)); err != nil {
				problems = append(problems, &ParseError{i, s.sid, field, s.at[j], err})
			}
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			for k := range c.src {
				if err := p.checkValue(c, c.src[k]); err != nil {
					problems = append(problems, &ParseError{i, s.sid, "Condition", c.at[k], fmt.Errorf("%s: %w", c.spelling, err)})
				}
			}
		}
	}
	return problems
}

// checkValue looks at one value of a condition.
func (p *Policy) checkValue(c *condition, src string) error {
	generated := slices.Contains(generatedKeys, strings.ToLower(c.key))
	if generated && c.kind == numeric {
		return fmt.Errorf("%s holds a generated id, which no numeric operator can be used with", quote(c.key))
	}
	v := p.plain(src)
	if generated && (c.kind == stringLike || c.kind == arnLike) && strings.ContainsAny(v, "*?") {
		return fmt.Errorf("%s holds a generated id, which no wildcard can be used with: %s", quote(c.key), quote(src))
	}
	if c.kind == stringLike && !enoughBeside(v) {
		return fmt.Errorf("%s: %s needs at least %d characters in a row before or after each wildcard", quote(c.key), quote(src), besideWildcard)
	}
	if err := checkAccount(v); err != nil {
		return fmt.Errorf("%s: %w", quote(c.key), err)
	}
	return nil
}

// plain is a value with its variables replaced by as many ordinary characters
// as they are written with, so that what is left of * and ? are wildcards.
func (p *Policy) plain(value string) string {
	if p.Version != Version2012 {
		return value
	}
	return variable.ReplaceAllStringFunc(value, func(v string) string { return strings.Repeat("-", len(v)) })
}

// enoughBeside reports whether each wildcard has enough characters beside it.
func enoughBeside(v string) bool {
	parts := strings.Split(strings.ReplaceAll(v, "?", "*"), "*")
	for i := 1; i < len(parts); i++ {
		if len([]rune(parts[i-1])) < besideWildcard && len([]rune(parts[i])) < besideWildcard {
			return false
		}
	}
	return true
}

// checkAccount refuses an ARN whose account is a wildcard in part.
func checkAccount(v string) error {
	part := strings.SplitN(v, ":", 6)
	if part[0] != "arn" || len(part) < 6 {
		return nil
	}
	if a := part[4]; strings.ContainsAny(a, "*?") && strings.Trim(a, "*?") != "" {
		return fmt.Errorf("%s: the account of an ARN is an id or a wildcard, not both: %s", quote(v), quote(a))
	}
	return nil
}
