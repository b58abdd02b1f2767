// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// naiveMatch is the definition of the wildcards, exponential and plainly right.
func naiveMatch(p, s []rune) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	if p[0] == anyRun {
		return naiveMatch(p[1:], s) || len(s) > 0 && naiveMatch(p, s[1:])
	}
	return len(s) > 0 && (p[0] == anyRune || p[0] == s[0]) && naiveMatch(p[1:], s[1:])
}

func TestWildcardsAgreeWithTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(letters string, n int) string {
		runes := []rune(letters)
		var b strings.Builder
		for range rng.IntN(n + 1) {
			b.WriteRune(runes[rng.IntN(len(runes))])
		}
		return b.String()
	}
	matched := 0
	for range 200_000 {
		p, s := wildRunes(word("ab€*?*", 8)), textRunes(word("ab€", 10))
		want := naiveMatch(p, s)
		if got := compile(p).match(s, nil); got != want {
			t.Fatalf("pattern %q text %q: got %v, want %v", p, string(s), got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 10_000 {
		t.Errorf("only %d of the random cases matched, the test proves too little", matched)
	}
}

func TestLongSegmentsAgreeWithTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2_000 {
		// Segments over 64 characters need more than one word of state.
		text := make([]rune, 300)
		for i := range text {
			text[i] = 'a' + rune(rng.IntN(2))
		}
		size := 60 + rng.IntN(140)
		from := rng.IntN(len(text) - size)
		seg := append([]rune(nil), text[from:from+size]...)
		for range rng.IntN(5) {
			seg[rng.IntN(size)] = anyRune
		}
		if rng.IntN(2) == 0 {
			i := rng.IntN(size)
			if seg[i] != anyRune {
				seg[i] = 'a' + 'b' - seg[i]
			}
		}
		p := append(append([]rune{anyRun}, seg...), anyRun)
		if got, want := compile(p).match(text, nil), naiveMatch(p, text); got != want {
			t.Fatalf("pattern %q: got %v, want %v", p, got, want)
		}
	}
}

func TestHostilePatternsTakeLinearSteps(t *testing.T) {
	long := strings.Repeat("a", 1000)
	for _, p := range []string{
		strings.Repeat("a*", 500) + "b",
		strings.Repeat("*a", 500) + "*b",
		strings.Repeat("?*", 500) + "b*b",
		"*" + strings.Repeat("a", 500) + "b*",
		"*" + strings.Repeat("a?", 300) + "b*c",
		strings.Repeat("*", 1000) + "b",
		strings.Repeat("*a?a", 400),
	} {
		for _, times := range []int{1, 10, 100} {
			text := textRunes(strings.Repeat(long, times))
			c := compile(wildRunes(p))
			words := 1
			for _, s := range c.middle {
				words = max(words, len(s.other))
			}
			steps := 0
			c.match(text, &steps)
			if limit := len(text)*(1+words) + len(p); steps > limit {
				t.Errorf("pattern %.20q... on %d characters took %d steps, want at most %d", p, len(text), steps, limit)
			}
		}
	}
}

func TestQuestionMarkIsOneCharacter(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"?", "é", true},
		{"??", "é", false},
		{"a?c", "a\xffc", true},
		{"\uFFFD", "\xff", false},
		{"*é", "caf\xe9", false},
		{"*é", "café", true},
		{"", "", true},
		{"*", "", true},
		{"a*a", "a", false},
		{"**", "x", true},
	} {
		if got := compile(wildRunes(c.pattern)).match(textRunes(c.text), nil); got != c.want {
			t.Errorf("pattern %q text %q: got %v", c.pattern, c.text, got)
		}
	}
	if a, b := textRunes("\xfe"), textRunes("\xff"); a[0] == b[0] {
		t.Error("different invalid bytes became the same character")
	}
	if s := "a\xffé\xe9"; runesText(textRunes(s)) != s {
		t.Error("characters do not turn back into the text they came from")
	}
}
