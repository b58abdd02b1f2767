// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxValue bounds one value of a document, in characters. AWS bounds an
	// ARN to the same length.
	maxValue = 2048
	// maxResolved bounds a value after its variables are filled in, and
	// maxFilled what all variables together bring into one decision. The work and
	// memory of matching grow with both, and what is filled in is the tenant's.
	maxResolved = 2 * maxValue
	maxFilled   = 16 * maxValue
)

// template is a value of a document in which variables may wait to be filled.
type template struct {
	src    string
	pieces []piece
	vars   bool // some piece is a variable
	size   int  // characters without the variables
	// pattern is pieces ready to match. It is nil when a variable stands
	// between two wildcards: then it is made for each request.
	pattern *pattern
}

// newTemplate parses s. wild makes * and ? wildcards, vars gives ${...} meaning:
// a condition key, optionally with a default as in ${aws:username, 'nobody'},
// or an escape ${*}, ${?}, ${$}.
func newTemplate(s string, wild, vars bool, keys *keyTable) (*template, error) {
	if n := utf8.RuneCountInString(s); n > maxValue {
		return nil, fmt.Errorf("%s has %d characters, more than %d", quote(s), n, maxValue)
	}
	t := &template{src: s}
	literal := func(text string, wild bool) {
		for text != "" {
			i := -1
			if wild {
				i = strings.IndexAny(text, "*?")
			}
			if i < 0 {
				i = len(text)
			}
			t.pieces = append(t.pieces, piece{text: text[:i], key: noKey})
			t.size += utf8.RuneCountInString(text[:i])
			if text = text[i:]; text != "" {
				kind := anyRun
				if text[0] == '?' {
					kind = anyCharacter
				}
				t.pieces = append(t.pieces, piece{kind: kind, key: noKey})
				t.size++
				text = text[1:]
			}
		}
	}
	rest := s
	for vars {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			break
		}
		literal(before, wild)
		if len(after) >= 2 && after[1] == '}' && strings.IndexByte("*?$", after[0]) >= 0 {
			literal(after[:1], false)
			rest = after[2:]
			continue
		}
		v, tail, err := parseVariable(after, keys)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote(s), err)
		}
		t.pieces, t.vars, rest = append(t.pieces, v), true, tail
	}
	literal(rest, wild)
	t.pieces = joined(t.pieces)
	if !t.floats() {
		t.pattern = compile(t.pieces, false)
	}
	return t, nil
}

// floats reports whether a variable stands between two runs, where it has to be
// searched for.
func (t *template) floats() bool {
	parts := splitRuns(t.pieces)
	for i := 1; i < len(parts)-1; i++ {
		for _, p := range parts[i] {
			if p.kind == variablePiece {
				return true
			}
		}
	}
	return false
}

var errVariable = errors.New(`malformed variable, write ${key}, ${key, 'default'} or ${$} for a dollar sign`)

// parseVariable reads what follows "${" up to and including the closing brace.
func parseVariable(s string, keys *keyTable) (piece, string, error) {
	end := strings.IndexAny(s, ",}")
	if end < 0 {
		return piece{}, "", errVariable
	}
	key := strings.TrimSpace(s[:end])
	if key == "" || strings.ContainsAny(key, "\t\r\n'\"{$*?") {
		return piece{}, "", errVariable
	}
	v := piece{kind: variablePiece, key: keys.id(key)}
	if s[end] == '}' {
		return v, s[end+1:], nil
	}
	open, s, found := strings.Cut(s[end+1:], "'")
	if !found || strings.TrimSpace(open) != "" {
		return piece{}, "", errVariable
	}
	text, s, found := strings.Cut(s, "'")
	if !found {
		return piece{}, "", errVariable
	}
	space, s, found := strings.Cut(s, "}")
	if !found || strings.TrimSpace(space) != "" {
		return piece{}, "", errVariable
	}
	v.text, v.fallback = text, true
	return v, s, nil
}

// admit counts what t's variables bring into the decision. Text that grows past
// the limits, or is no text, marks the evaluation as failed, because an answer
// that depends on it could not be trusted.
func (t *template) admit(e *evaluation) {
	if !t.vars {
		return
	}
	size := t.size
	for i := range t.pieces {
		p := &t.pieces[i]
		if p.kind != variablePiece {
			continue
		}
		switch values := e.values[p.key]; len(values) {
		case 0:
			size += utf8.RuneCountInString(p.text)
		case 1:
			n := utf8.RuneCountInString(values[0])
			size += n
			e.fillSize += n
			if !utf8.ValidString(values[0]) {
				e.failed = failedText
			}
		}
	}
	if size > maxResolved || e.fillSize > maxFilled {
		e.failed = failedSize
	}
}

// known reports whether every variable has a value. One has none when its key
// is absent and it has no default, or when the key has several values.
func (t *template) known(e *evaluation) bool {
	if !t.vars {
		return true
	}
	for i := range t.pieces {
		if p := &t.pieces[i]; p.kind == variablePiece {
			if n := len(e.values[p.key]); n > 1 || n == 0 && !p.fallback {
				return false
			}
		}
	}
	return true
}

// match reports whether t covers the whole text. It is false for a template
// that is not known.
func (t *template) match(e *evaluation, text string) bool {
	if !t.known(e) {
		return false
	}
	p := t.pattern
	if p == nil {
		m := e.made[t]
		if m.pattern == nil {
			m.pattern = compile(t.filled(e), false)
			e.keep(t, m)
		}
		p = m.pattern
	}
	return p.match(e, text, nil)
}

// matchArn is match for an ARN, of which a variable may be any number of parts.
func (t *template) matchArn(e *evaluation, text string) bool {
	if !t.known(e) {
		return false
	}
	m := e.made[t]
	if !m.arnMade {
		m.arn, m.arnMade = newArnPattern(t.filled(e)), true
		e.keep(t, m)
	}
	return m.arn.match(text)
}

// made is what one evaluation worked out for a template.
type made struct {
	pattern *pattern
	arn     *arnPattern // nil for what is no ARN
	arnMade bool
}

func (e *evaluation) keep(t *template, m made) {
	if e.made == nil {
		e.made = map[*template]made{}
	}
	e.made[t] = m
}

// filled is t's pieces with text for variables. What a variable brings is literal.
func (t *template) filled(e *evaluation) []piece {
	out := make([]piece, 0, len(t.pieces))
	for i := range t.pieces {
		p := t.pieces[i]
		if p.kind == variablePiece {
			p = piece{text: e.text(&p), key: noKey}
		}
		out = append(out, p)
	}
	return joined(out)
}

// joinedText is the text of a template without wildcards.
func (t *template) joinedText(e *evaluation) string {
	var b strings.Builder
	for i := range t.pieces {
		b.WriteString(e.text(&t.pieces[i]))
	}
	return b.String()
}

// text is what a literal or a variable with a value stands for.
func (e *evaluation) text(p *piece) string {
	if p.kind == variablePiece {
		if values := e.values[p.key]; len(values) == 1 {
			return values[0]
		}
	}
	return p.text
}
