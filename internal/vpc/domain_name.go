// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"strings"
)

// Bounds of domain names (RFC 1035, 2.3.4), and of what may be sent as one:
// every byte can be an escape code.
const (
	maxDomainName  = 255 // octets on the wire, with lengths and the root
	maxDomainLabel = 63
	maxDomainText  = 4 * maxDomainName
)

// NameProblem says what is wrong with a domain name or a record's value, in
// Route 53's words: a symbol and a sentence.
type NameProblem struct{ Symbol, Text, Value string }

func (p *NameProblem) Error() string {
	return fmt.Sprintf("FATAL problem: %s (%s) encountered with '%s'", p.Symbol, p.Text, bounded(p.Value))
}

// bounded is as much of a text as a message shows.
func bounded(s string) string {
	if len(s) > maxShown {
		return shorten(s)
	}
	return s
}

// ParseDomainName reads a domain name as Route 53 takes it and answers it as
// Route 53 shows it, without the dot at the end: lower case, and an escape code
// of three octal digits for all but letters, digits, hyphens and underscores.
// The dot at the end may be left out; a name is always a whole one.
func ParseDomainName(s string) (string, error) {
	labels, err := domainLabels(s)
	if err != nil {
		return "", err
	}
	return joinLabels(labels, "\\%03o"), nil
}

// ZoneFileName is a name as ParseDomainName has it in the words of a zone file
// (RFC 1035, 5.1), where escape codes are decimal. The label * keeps its look.
func ZoneFileName(name string) string {
	labels, err := domainLabels(name)
	if err != nil {
		return name
	}
	out := joinLabels(labels, "\\%03d")
	if len(labels) > 0 && string(labels[0]) == "*" {
		out = "*" + strings.TrimPrefix(out, "\\042")
	}
	return out
}

// WildcardName reports whether a name as ParseDomainName has it stands for all
// names below another.
func WildcardName(name string) bool { return strings.HasPrefix(name, "\\052.") }

// WithinDomain reports whether a name is another one or below it; both as
// ParseDomainName has them.
func WithinDomain(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func joinLabels(labels [][]byte, escape string) string {
	var b strings.Builder
	for i, l := range labels {
		if i > 0 {
			b.WriteByte('.')
		}
		for _, c := range l {
			if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, escape, c)
			}
		}
	}
	return b.String()
}

// domainLabels reads a name's labels, in lower case. The root has none.
func domainLabels(s string) ([][]byte, error) {
	if s == "" {
		return nil, &NameProblem{"DomainLabelEmpty", "Domain label is empty", s}
	}
	if len(s) > maxDomainText {
		return nil, &NameProblem{"DomainNameTooLong", "Domain name is too long", s}
	}
	if s == "." {
		return nil, nil
	}
	var out [][]byte
	size := 1
	var label []byte
	end := func() error {
		switch {
		case len(label) == 0:
			return &NameProblem{"DomainLabelEmpty", "Domain label is empty", s}
		case len(label) > maxDomainLabel:
			return &NameProblem{"DomainLabelTooLong", "Domain label is too long", string(label)}
		}
		if size += 1 + len(label); size > maxDomainName {
			return &NameProblem{"DomainNameTooLong", "Domain name is too long", s}
		}
		out, label = append(out, label), nil
		return nil
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if err := end(); err != nil {
				return nil, err
			}
			continue
		case c == '\\':
			n, ok := octal(s[i+1:])
			if !ok {
				return nil, &NameProblem{"InvalidEscapeSequence", "Value contains an invalid escape sequence: write three octal digits", s}
			}
			c, i = n, i+3
		case c <= ' ' || c >= 0x7f:
			return nil, &NameProblem{"UnsupportedCharacter", "Value contains unsupported characters", s}
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		label = append(label, c)
	}
	if !strings.HasSuffix(s, ".") {
		if err := end(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// octal reads three octal digits of a byte.
func octal(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '7' {
			return 0, false
		}
		n = n*8 + int(c-'0')
	}
	return byte(n), n < 256
}
