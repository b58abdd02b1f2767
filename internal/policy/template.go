// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// maxValue bounds one value of a document, in characters. AWS bounds an
	// ARN to the same length.
	maxValue = 2048
	// maxResolved bounds a value after its variables are filled in, and
	// maxFilled what all variables together bring into one Evaluate. The work and
	// memory of matching grow with both, and what is filled in is the tenant's.
	maxResolved = 2 * maxValue
	maxFilled   = 16 * maxValue
)

// template is a value of a document in which variables may wait to be filled.
type template struct {
	src   string
	parts []part
	// fixed and ready are set when nothing depends on the request.
	fixed []rune
	ready *pattern
}

// part is literal characters, or a variable when key is not empty.
type part struct {
	literal  []rune // the default of a variable that has one
	key      string // lower case
	fallback bool   // literal holds a default
}

// newTemplate parses s. wild makes * and ? wildcards, vars gives ${...} meaning:
// a condition key, optionally with a default as in ${aws:username, 'nobody'},
// or an escape ${*}, ${?}, ${$}.
func newTemplate(s string, wild, vars bool) (*template, error) {
	if n := len([]rune(s)); n > maxValue {
		return nil, fmt.Errorf("%s has %d characters, more than %d", quote(s), n, maxValue)
	}
	toRunes := textRunes
	if wild {
		toRunes = wildRunes
	}
	t := &template{src: s}
	var pending []rune
	rest := s
	for vars {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			break
		}
		pending = append(pending, toRunes(before)...)
		if len(after) >= 2 && after[1] == '}' && strings.IndexByte("*?$", after[0]) >= 0 {
			pending = append(pending, rune(after[0]))
			rest = after[2:]
			continue
		}
		v, tail, err := parseVariable(after)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote(s), err)
		}
		if len(pending) > 0 {
			t.parts = append(t.parts, part{literal: pending})
			pending = nil
		}
		t.parts = append(t.parts, v)
		rest = tail
	}
	pending = append(pending, toRunes(rest)...)
	if t.parts == nil {
		t.fixed = pending
		t.ready = compile(pending)
		return t, nil
	}
	t.parts = append(t.parts, part{literal: pending})
	return t, nil
}

var errVariable = errors.New(`malformed variable, write ${key}, ${key, 'default'} or ${$} for a dollar sign`)

// parseVariable reads what follows "${" up to and including the closing brace.
func parseVariable(s string) (part, string, error) {
	end := strings.IndexAny(s, ",}")
	if end < 0 {
		return part{}, "", errVariable
	}
	v := part{key: strings.ToLower(strings.TrimSpace(s[:end]))}
	if v.key == "" || strings.ContainsAny(v.key, "\t\r\n'\"{$*?") {
		return part{}, "", errVariable
	}
	if s[end] == '}' {
		return v, s[end+1:], nil
	}
	open, s, found := strings.Cut(s[end+1:], "'")
	if !found || strings.TrimSpace(open) != "" {
		return part{}, "", errVariable
	}
	text, s, found := strings.Cut(s, "'")
	if !found {
		return part{}, "", errVariable
	}
	space, s, found := strings.Cut(s, "}")
	if !found || strings.TrimSpace(space) != "" {
		return part{}, "", errVariable
	}
	v.literal, v.fallback = textRunes(text), true
	return v, s, nil
}

// filled is a template with its variables filled in for one evaluation.
type filled struct {
	runes   []rune
	known   bool
	pattern *pattern   // made when first asked for
	arn     arnPattern // likewise
}

// resolve fills in the variables, once for each evaluation. The result is not
// known when a variable has no value: its key is absent and has no default, or
// has several values. Text that grows past the limits marks the evaluation as
// failed, because an answer that depends on it could not be trusted.
func (t *template) resolve(e *evaluation) *filled {
	f := e.filled[t]
	if f == nil {
		f = &filled{}
		f.runes, f.known = t.fill(e)
		e.filled[t] = f
	}
	return f
}

func (t *template) fill(e *evaluation) ([]rune, bool) {
	var out []rune
	for _, p := range t.parts {
		text := p.literal
		if p.key != "" {
			values := e.context[p.key]
			switch {
			case len(values) == 1:
				text = e.runes(values[0])
				e.fillSize += len(text)
			case len(values) > 1 || !p.fallback:
				return nil, false
			}
		}
		if len(out)+len(text) > maxResolved || e.fillSize > maxFilled {
			e.failed = true
			return nil, false
		}
		out = append(out, text...)
	}
	return out, true
}

// matchText reports whether the wildcard template covers the whole text, and
// whether that could be decided at all (see resolve).
func (t *template) matchText(e *evaluation, text string) (matched, known bool) {
	p := t.ready
	if p == nil {
		f := t.resolve(e)
		if !f.known {
			return false, false
		}
		if f.pattern == nil {
			f.pattern = compile(f.runes)
		}
		p = f.pattern
	}
	return p.match(e.runes(text), nil), true
}
