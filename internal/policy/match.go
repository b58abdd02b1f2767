// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"unicode/utf8"
)

// pattern is a wildcard pattern taken apart at every *: a head, then zero or
// more floating segments, then a tail, with a run of any characters between
// neighbours. Text is compared byte by byte, and a ? stands for one character
// (or one byte that is not UTF-8): a document is valid UTF-8, in which no
// character is part of another, so that both come to the same.
type pattern struct {
	exact      bool // no *: head is the whole pattern
	fold       bool // letter case of ASCII means nothing, and the pattern is lower case
	head, tail []piece
	middle     []segment
}

// piece is a stretch of a pattern: literal text, one character (?), a run of
// them (*), or a variable when key is not noKey.
type piece struct {
	kind     pieceKind
	text     string // of a literal; of a variable its default
	key      keyID
	fallback bool // a variable's default is given
}

type pieceKind int8

const (
	literalPiece  pieceKind = iota
	anyCharacter            // ?
	anyRun                  // *
	variablePiece           // ${key}
)

// compile splits pieces at every run. No piece between two runs is a variable.
func compile(pieces []piece, fold bool) *pattern {
	p := &pattern{fold: fold}
	parts := splitRuns(pieces)
	p.head = parts[0]
	if len(parts) == 1 {
		p.exact = true
		return p
	}
	p.tail = parts[len(parts)-1]
	for _, m := range parts[1 : len(parts)-1] {
		if len(m) > 0 {
			p.middle = append(p.middle, newSegment(m))
		}
	}
	return p
}

func splitRuns(pieces []piece) [][]piece {
	parts := [][]piece{nil}
	for _, p := range pieces {
		if p.kind == anyRun {
			parts = append(parts, nil)
			continue
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], p)
	}
	return parts
}

// match reports whether text matches. e fills in variables and may be nil when
// there are none. steps, if not nil, counts the steps of the searches: at most
// 2 * len(text) for segments without ?, and one for each character and each 64
// characters of the segment for others.
func (p *pattern) match(e *evaluation, text string, steps *int) bool {
	text, ok := p.matchHead(e, text)
	if !ok {
		return false
	}
	if p.exact {
		return text == ""
	}
	if text, ok = p.matchTail(e, text); !ok {
		return false
	}
	// The leftmost place for each segment leaves the most room for the next,
	// so there is never a reason to come back.
	for i := range p.middle {
		end := p.middle[i].find(text, p.fold, steps)
		if end < 0 {
			return false
		}
		text = text[end:]
	}
	return true
}

// matchHead takes the head off the front of text.
func (p *pattern) matchHead(e *evaluation, text string) (rest string, ok bool) {
	for i := range p.head {
		h := &p.head[i]
		if h.kind == anyCharacter {
			if text == "" {
				return "", false
			}
			_, size := utf8.DecodeRuneInString(text)
			text = text[size:]
			continue
		}
		want := e.text(h)
		if len(text) < len(want) || !p.same(text[:len(want)], want) {
			return "", false
		}
		text = text[len(want):]
	}
	return text, true
}

// matchTail takes the tail off the end of text.
func (p *pattern) matchTail(e *evaluation, text string) (rest string, ok bool) {
	for i := len(p.tail) - 1; i >= 0; i-- {
		t := &p.tail[i]
		if t.kind == anyCharacter {
			if text == "" {
				return "", false
			}
			_, size := utf8.DecodeLastRuneInString(text)
			text = text[:len(text)-size]
			continue
		}
		want := e.text(t)
		at := len(text) - len(want)
		if at < 0 || !p.same(text[at:], want) {
			return "", false
		}
		text = text[:at]
	}
	return text, true
}

// same compares text with as long a stretch of the pattern.
func (p *pattern) same(text, want string) bool {
	return text == want || p.fold && equalFold(text, want)
}

// equalFold reports whether s is lower, which is lower case and as long, when
// the letter case of ASCII means nothing.
func equalFold(s, lower string) bool {
	for i := range len(lower) {
		if lowerByte(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// segment is a stretch of a pattern between two *, searched for in one pass.
// Without ? that is the method of Knuth, Morris and Pratt: borders[i] is the
// length of the longest start of text that also ends text[:i+1]. With ? it
// is Shift-And: bit i of masks[c] is set when the segment accepts character c at
// position i, and work per character is one operation per 64 positions.
type segment struct {
	text    string
	borders []uint16

	masks   map[rune][]uint64 // nil without ?
	other   []uint64          // the mask of a character not named in the segment: only ?
	lastBit uint64
}

func newSegment(pieces []piece) segment {
	var b strings.Builder
	wild := false
	for _, p := range pieces {
		b.WriteString(p.text)
		wild = wild || p.kind == anyCharacter
	}
	if wild {
		return newWildSegment(pieces)
	}
	s := segment{text: b.String()}
	s.borders = make([]uint16, len(s.text)) // a value is bounded far below 64 KiB
	for i, n := 1, 0; i < len(s.text); i++ {
		for n > 0 && s.text[i] != s.text[n] {
			n = int(s.borders[n-1])
		}
		if s.text[i] == s.text[n] {
			n++
		}
		s.borders[i] = uint16(n)
	}
	return s
}

func newWildSegment(pieces []piece) segment {
	const one rune = -1
	var runes []rune
	for _, p := range pieces {
		if p.kind == anyCharacter {
			runes = append(runes, one)
		} else {
			runes = append(runes, []rune(p.text)...)
		}
	}
	s := segment{
		masks:   map[rune][]uint64{},
		other:   make([]uint64, (len(runes)+63)/64),
		lastBit: 1 << ((len(runes) - 1) % 64),
	}
	for i, r := range runes {
		if r == one {
			s.other[i/64] |= 1 << (i % 64)
		}
	}
	for i, r := range runes {
		if r == one {
			continue
		}
		if s.masks[r] == nil {
			s.masks[r] = append([]uint64(nil), s.other...)
		}
		s.masks[r][i/64] |= 1 << (i % 64)
	}
	return s
}

// find returns the index just past the leftmost occurrence of s, or -1.
func (s *segment) find(text string, fold bool, steps *int) int {
	if s.masks != nil {
		return s.findWild(text, fold, steps)
	}
	n := 0
	for i := range len(text) {
		c := text[i]
		if fold {
			c = lowerByte(c)
		}
		for n > 0 && s.text[n] != c {
			n = int(s.borders[n-1])
			count(steps)
		}
		if s.text[n] == c {
			n++
		}
		count(steps)
		if n == len(s.text) {
			return i + 1
		}
	}
	return -1
}

// maxWords is enough for the longest value with its variables filled in.
const maxWords = (maxResolved + 63) / 64

func (s *segment) findWild(text string, fold bool, steps *int) int {
	var words [maxWords]uint64
	state := words[:len(s.other)]
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			r = -1 // no character of any document
		} else if fold && r < utf8.RuneSelf {
			r = rune(lowerByte(byte(r)))
		}
		i += size
		mask, ok := s.masks[r]
		if !ok {
			mask = s.other
		}
		carry := uint64(1)
		for w := range state {
			count(steps)
			out := state[w] >> 63
			state[w] = (state[w]<<1 | carry) & mask[w]
			carry = out
		}
		if state[len(state)-1]&s.lastBit != 0 {
			return i
		}
	}
	return -1
}

func count(steps *int) {
	if steps != nil {
		*steps++
	}
}

// arnParts is how many colon-separated parts an ARN has; the last, the
// resource, may hold more colons.
const arnParts = 6

// arnPattern is one pattern per part, so that unlike in Resource no wildcard
// reaches across a colon into the next part.
type arnPattern [arnParts]*pattern

// newArnPattern returns nil when pieces, none of them a variable, have less
// than six parts.
func newArnPattern(pieces []piece) *arnPattern {
	var p arnPattern
	part := 0
	var now []piece
	for _, c := range pieces {
		if c.kind != literalPiece {
			now = append(now, c)
			continue
		}
		for text := c.text; ; {
			before, after, found := strings.Cut(text, ":")
			if !found || part == arnParts-1 {
				now = append(now, piece{text: text, key: noKey})
				break
			}
			now = append(now, piece{text: before, key: noKey})
			p[part] = compile(joined(now), false)
			part, now, text = part+1, nil, after
		}
	}
	if part < arnParts-1 {
		return nil
	}
	p[part] = compile(joined(now), false)
	return &p
}

// match is false when either side has less than six parts.
func (p *arnPattern) match(text string) bool {
	if p == nil {
		return false
	}
	for i := range arnParts - 1 {
		part, rest, found := strings.Cut(text, ":")
		if !found || !p[i].match(nil, part, nil) {
			return false
		}
		text = rest
	}
	return p[arnParts-1].match(nil, text, nil)
}

// joined puts neighbouring literals together and drops empty ones.
func joined(pieces []piece) []piece {
	var out []piece
	for _, p := range pieces {
		last := len(out) - 1
		switch {
		case p.kind != literalPiece:
			out = append(out, p)
		case p.text == "":
		case last >= 0 && out[last].kind == literalPiece:
			out[last].text += p.text
		default:
			out = append(out, p)
		}
	}
	return out
}
