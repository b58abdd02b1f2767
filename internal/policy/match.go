// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Patterns and texts are compared as characters, not bytes, so that ? stands
// for one character. Two values outside Unicode carry the wildcards, so that
// a literal * (from ${*} or a variable) is never mistaken for one.
const (
	anyRun  rune = -1 // *: any run of characters, also none
	anyRune rune = -2 // ?: exactly one character
)

// badByte is added to a byte that is not valid UTF-8, so that different invalid
// request texts stay different and equal no text a document can hold.
const badByte = utf8.MaxRune + 1

// pattern is a compiled wildcard pattern: head, then zero or more floating
// segments, then tail, with a run of any characters between neighbours.
type pattern struct {
	exact      bool // no *: head is the whole pattern
	head, tail []rune
	middle     []segment
}

// segment is a stretch of a pattern between two *, searched for with the
// Shift-And method: bit i of masks[c] is set when the segment accepts character
// c at position i. Work per character of text is one operation per 64 positions.
type segment struct {
	size    int
	masks   map[rune][]uint64
	other   []uint64 // the mask of a character not named in the segment: only ?
	lastBit uint64
}

// compile splits runes at every anyRun.
func compile(runes []rune) *pattern {
	first := slices.Index(runes, anyRun)
	if first < 0 {
		return &pattern{exact: true, head: runes}
	}
	p := &pattern{head: runes[:first]}
	rest := runes[first+1:]
	for {
		next := slices.Index(rest, anyRun)
		if next < 0 {
			p.tail = rest
			return p
		}
		if next > 0 {
			p.middle = append(p.middle, newSegment(rest[:next]))
		}
		rest = rest[next+1:]
	}
}

func newSegment(runes []rune) segment {
	words := (len(runes) + 63) / 64
	s := segment{
		size:    len(runes),
		masks:   map[rune][]uint64{},
		other:   make([]uint64, words),
		lastBit: 1 << ((len(runes) - 1) % 64),
	}
	for i, r := range runes {
		if r == anyRune {
			s.other[i/64] |= 1 << (i % 64)
		}
	}
	for i, r := range runes {
		if r == anyRune {
			continue
		}
		if s.masks[r] == nil {
			s.masks[r] = slices.Clone(s.other)
		}
		s.masks[r][i/64] |= 1 << (i % 64)
	}
	return s
}

// match reports whether text matches. steps, if not nil, counts elementary
// operations: at most len(text) * (1 + ceil(longest segment / 64)) + len(pattern).
func (p *pattern) match(text []rune, steps *int) bool {
	if p.exact {
		return len(text) == len(p.head) && equalRunes(p.head, text, steps)
	}
	if len(text) < len(p.head)+len(p.tail) ||
		!equalRunes(p.head, text, steps) ||
		!equalRunes(p.tail, text[len(text)-len(p.tail):], steps) {
		return false
	}
	text = text[len(p.head) : len(text)-len(p.tail)]
	// The leftmost place for each segment leaves the most room for the next,
	// so there is never a reason to come back.
	for i := range p.middle {
		end := p.middle[i].find(text, steps)
		if end < 0 {
			return false
		}
		text = text[end:]
	}
	return true
}

// find returns the index just past the leftmost occurrence of s, or -1.
func (s *segment) find(text []rune, steps *int) int {
	if len(text) < s.size {
		return -1
	}
	state := make([]uint64, len(s.other))
	for i, c := range text {
		mask, ok := s.masks[c]
		if !ok {
			mask = s.other
		}
		carry := uint64(1)
		for w := range state {
			count(steps, 1)
			out := state[w] >> 63
			state[w] = (state[w]<<1 | carry) & mask[w]
			carry = out
		}
		if state[len(state)-1]&s.lastBit != 0 {
			return i + 1
		}
	}
	return -1
}

// equalRunes reports whether text starts with want, in which ? is any character.
func equalRunes(want, text []rune, steps *int) bool {
	for i, r := range want {
		count(steps, 1)
		if r != anyRune && r != text[i] {
			return false
		}
	}
	return true
}

func count(steps *int, n int) {
	if steps != nil {
		*steps += n
	}
}

// textRunes splits request text into characters without losing invalid bytes.
func textRunes(s string) []rune {
	out := make([]rune, 0, len(s))
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			r = badByte + rune(s[i])
		}
		out = append(out, r)
		i += size
	}
	return out
}

// wildRunes is textRunes with * and ? as wildcards.
func wildRunes(s string) []rune {
	out := textRunes(s)
	for i, r := range out {
		switch r {
		case '*':
			out[i] = anyRun
		case '?':
			out[i] = anyRune
		}
	}
	return out
}

// actionPattern matches action names, in which letter case means nothing.
type actionPattern struct {
	src     string
	pattern *pattern
}

func newActionPattern(s string) actionPattern {
	return actionPattern{s, compile(wildRunes(strings.ToLower(s)))}
}

// arnParts is how many colon-separated parts an ARN has; the last, the
// resource, may hold more colons.
const arnParts = 6

// arnPattern is one pattern per part, so that unlike in Resource no wildcard
// reaches across a colon into the next part.
type arnPattern []*pattern

// newArnPattern returns nil when runes has less than six parts.
func newArnPattern(runes []rune) arnPattern {
	var p arnPattern
	for _, part := range splitArn(runes) {
		p = append(p, compile(part))
	}
	return p
}

// match is false when either side has less than six parts.
func (p arnPattern) match(text []rune) bool {
	parts := splitArn(text)
	if p == nil || parts == nil {
		return false
	}
	for i := range p {
		if !p[i].match(parts[i], nil) {
			return false
		}
	}
	return true
}

func splitArn(runes []rune) [][]rune {
	parts := make([][]rune, 0, arnParts)
	for len(parts) < arnParts-1 {
		colon := slices.Index(runes, ':')
		if colon < 0 {
			return nil
		}
		parts = append(parts, runes[:colon])
		runes = runes[colon+1:]
	}
	return append(parts, runes)
}
