// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// characters splits text into characters; a byte that is no UTF-8 is one too,
// unlike any other.
func characters(s string) []rune {
	var out []rune
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			r = utf8.MaxRune + 1 + rune(s[i])
		}
		out = append(out, r)
		i += size
	}
	return out
}

// naiveMatch is the definition of the wildcards, exponential and plainly right.
func naiveMatch(p, s []rune) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	if p[0] == '*' {
		return naiveMatch(p[1:], s) || len(s) > 0 && naiveMatch(p, s[1:])
	}
	return len(s) > 0 && (p[0] == '?' || p[0] == s[0]) && naiveMatch(p[1:], s[1:])
}

func wild(t *testing.T, p string) *pattern {
	t.Helper()
	v, err := newTemplate(p, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.pattern
}

func TestWildcardsAgreeWithTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(letters []string, n int) string {
		var b strings.Builder
		for range rng.IntN(n + 1) {
			b.WriteString(letters[rng.IntN(len(letters))])
		}
		return b.String()
	}
	matched := 0
	for range 200_000 {
		p, s := word([]string{"a", "b", "€", "*", "?", "*"}, 8), word([]string{"a", "b", "€", "a", "b", "€", "\xe2", "\x82"}, 10)
		want := naiveMatch(characters(p), characters(s))
		if got := wild(t, p).match(nil, s, nil); got != want {
			t.Fatalf("pattern %q text %q: got %v, want %v", p, s, got, want)
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
			seg[rng.IntN(size)] = '?'
		}
		if rng.IntN(2) == 0 {
			if i := rng.IntN(size); seg[i] != '?' {
				seg[i] = 'a' + 'b' - seg[i]
			}
		}
		p := "*" + string(seg) + "*"
		if got, want := wild(t, p).match(nil, string(text), nil), naiveMatch([]rune(p), text); got != want {
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
			text := strings.Repeat(long, times)
			c := wild(t, p)
			words := 1
			for _, s := range c.middle {
				words = max(words, len(s.other))
			}
			steps := 0
			c.match(nil, text, &steps)
			if limit := len(text) * (1 + words); steps > limit {
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
		{"*\uFFFD?*", "\xffa", false},
		{"*é", "caf\xe9", false},
		{"*é", "café", true},
		{"", "", true},
		{"*", "", true},
		{"a*a", "a", false},
		{"**", "x", true},
		{"*?", "é", true},
		{"?*?", "é", false},
	} {
		if got := wild(t, c.pattern).match(nil, c.text, nil); got != c.want {
			t.Errorf("pattern %q text %q: got %v", c.pattern, c.text, got)
		}
	}
}

func TestTheCaseOfActionsMeansNothing(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"s3:GetObject", "S3:getobjecT", true},
		{"S3:get*", "s3:GETOBJECT", true},
		{"*:*object*", "s3:GetObJectAcl", true},
		{"s3:*B?ect*", "s3:GetObJectAcl", true},
		{"s3:*B?ect", "s3:GetObJectAcl", false},
		{"*ACL", "s3:GetObjectAcl", true},
		{"s3:get[bject", "s3:get{bject", false},
	} {
		a, err := newAction(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.pattern.match(nil, c.name, nil); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.name, got)
		}
	}
}
