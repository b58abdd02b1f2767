// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// RecordType is a DNS record type that a hosted zone can have.
type RecordType string

// RecordTypes are all of them.
func RecordTypes() []RecordType {
	return []RecordType{
		"SOA", "A", "TXT", "NS", "CNAME", "MX", "NAPTR", "PTR", "SRV", "SPF", "AAAA", "CAA", "DS", "TLSA", "SSHFP", "SVCB", "HTTPS",
	}
}

// Bounds of one value: AWS's of texts, and what any other can need.
const (
	MaxTextValue = 4000 // characters of a TXT or SPF value
	maxValueText = 4096
	maxString    = 255 // octets of a character string
)

// RecordData reads the value of a record as Route 53 takes it and answers its
// data in the words of a zone file, in one line: names whole, with a dot at the
// end, and escape codes decimal. Two values are the same record if their data
// are. The error is a *NameProblem.
func RecordData(t RecordType, value string) (string, error) {
	if len(value) > maxValueText {
		return "", &NameProblem{"ValueTooLong", "Value is too long", value}
	}
	f := &fields{t: t, value: value}
	read, ok := readers[t]
	if !ok {
		return "", f.bad("UnsupportedType", "Type is not supported")
	}
	if err := f.split(); err != nil {
		return "", err
	}
	return read(f)
}

var readers map[RecordType]func(*fields) (string, error)

func init() {
	name := func(f *fields) (string, error) { return f.list("domain", f.name) }
	text := func(f *fields) (string, error) { return f.text() }
	u8, u16, u32 := number(8), number(16), number(32)
	binding := func(f *fields) (string, error) { return f.binding() }
	fixed := func(readers ...func(*fields, string) (string, error)) func(*fields) (string, error) {
		return func(f *fields) (string, error) {
			bound := make([]func(string) (string, error), len(readers))
			for i, r := range readers {
				bound[i] = func(s string) (string, error) { return r(f, s) }
			}
			return f.list(counts[len(bound)], bound...)
		}
	}
	domain := (*fields).name
	readers = map[RecordType]func(*fields) (string, error){
		"A": func(f *fields) (string, error) {
			a, err := netip.ParseAddr(f.value)
			if err != nil || !a.Is4() {
				return "", f.bad("ARRDATAIllegalIPv4Address", "Value is not a valid IPv4 address")
			}
			return a.String(), nil
		},
		"AAAA": func(f *fields) (string, error) {
			a, err := netip.ParseAddr(f.value)
			if err != nil || !a.Is6() || a.Zone() != "" {
				return "", f.bad("AAAARRDATAIllegalIPv6Address", "Value is not a valid IPv6 address")
			}
			return a.String(), nil
		},
		"CNAME": name, "NS": name, "PTR": name, "TXT": text, "SPF": text,
		"MX":    fixed(u16, domain),
		"SRV":   fixed(u16, u16, u16, domain),
		"SOA":   fixed(domain, domain, u32, u32, u32, u32, u32),
		"CAA":   fixed(u8, (*fields).caaTag, (*fields).quoted),
		"NAPTR": fixed(u16, u16, (*fields).quoted, (*fields).quoted, (*fields).quoted, domain),
		"DS":    fixed(u16, u8, u8, (*fields).hexadecimal),
		"SSHFP": fixed(u8, u8, (*fields).hexadecimal),
		"TLSA":  fixed(u8, u8, u8, (*fields).hexadecimal),
		"SVCB":  binding, "HTTPS": binding,
	}
}

var counts = [...]string{1: "One", 2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six", 7: "Seven"}

// fields is one value and the words in it.
type fields struct {
	t     RecordType
	value string
	words []string // quoted ones with their quotation marks
}

func (f *fields) bad(symbol, text string) error { return &NameProblem{symbol, text, f.value} }

// split finds the words: a quoted one ends at a quotation mark without a
// backslash before it.
func (f *fields) split() error {
	s := f.value
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" {
			return nil
		}
		end := strings.IndexAny(s, " \t")
		if s[0] == '"' {
			end = 1
			for end < len(s) && s[end] != '"' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			if end++; end > len(s) {
				return f.bad("InvalidCharacterString", "Value should be enclosed in quotation marks")
			}
			if end < len(s) && s[end] != ' ' && s[end] != '\t' {
				return f.bad("InvalidCharacterString", "Quoted strings are separated by spaces")
			}
		}
		if end < 0 {
			end = len(s)
		}
		f.words, s = append(f.words, s[:end]), s[end:]
	}
}

// list reads as many words as there are readers.
func (f *fields) list(count string, readers ...func(string) (string, error)) (string, error) {
	if len(f.words) != len(readers) {
		if len(readers) == 1 {
			return "", f.bad(string(f.t)+"RRDATANotADomainName", "Value is not a domain name")
		}
		return "", f.bad(fmt.Sprintf("%sRRDATANot%sFields", f.t, count), fmt.Sprintf("%s record doesn't have %d fields", f.t, len(readers)))
	}
	out := make([]string, len(readers))
	for i, read := range readers {
		var err error
		if out[i], err = read(f.words[i]); err != nil {
			return "", err
		}
	}
	return strings.Join(out, " "), nil
}

// name reads a domain name.
func (f *fields) name(s string) (string, error) {
	labels, err := domainLabels(s)
	if err != nil {
		return "", err
	}
	return joinLabels(labels, "\\%03d") + ".", nil
}

// number reads whole numbers of as many bits.
func number(bits int) func(*fields, string) (string, error) {
	return func(f *fields, s string) (string, error) {
		n, err := strconv.ParseUint(s, 10, bits)
		if err != nil || s[0] == '+' {
			return "", f.bad(string(f.t)+"RRDATAIllegalNumber", fmt.Sprintf("'%s' is not a number from 0 to %d", bounded(s), uint64(1)<<bits-1))
		}
		return strconv.FormatUint(n, 10), nil
	}
}

func (f *fields) hexadecimal(s string) (string, error) {
	if b, err := hex.DecodeString(s); err != nil || len(b) == 0 {
		return "", f.bad(string(f.t)+"RRDATAIllegalHex", "The last field is not an even number of hexadecimal digits")
	}
	return strings.ToLower(s), nil
}

func (f *fields) caaTag(s string) (string, error) {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return "", f.bad("CAARRDATAIllegalTag", "The tag has characters other than letters and digits")
		}
	}
	if len(s) > 15 {
		return "", f.bad("CAARRDATAIllegalTag", "The tag has more than 15 characters")
	}
	return strings.ToLower(s), nil
}

// text reads the strings of a TXT record.
func (f *fields) text() (string, error) {
	if len(f.value) > MaxTextValue {
		return "", f.bad("TXTRRDATATooLong", fmt.Sprintf("Value is longer than %d characters", MaxTextValue))
	}
	if len(f.words) == 0 {
		return "", f.bad("InvalidCharacterString", "Value should be enclosed in quotation marks")
	}
	out := make([]string, len(f.words))
	for i, w := range f.words {
		var err error
		if out[i], err = f.quoted(w); err != nil {
			return "", err
		}
	}
	return strings.Join(out, " "), nil
}

// quoted reads a character string in quotation marks: backslashes stand before
// quotation marks, backslashes and three octal digits.
func (f *fields) quoted(w string) (string, error) {
	if len(w) < 2 || w[0] != '"' || w[len(w)-1] != '"' {
		return "", f.bad("InvalidCharacterString", "Value should be enclosed in quotation marks")
	}
	b, err := f.unescape(w[1 : len(w)-1])
	if err != nil {
		return "", err
	}
	return quote(b), nil
}

func (f *fields) unescape(s string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			c = s[i]
		case c == '\\':
			n, ok := octal(s[i+1:])
			if !ok {
				return nil, f.bad("InvalidEscapeSequence", "Value contains an invalid escape sequence: write three octal digits")
			}
			c, i = n, i+3
		case c < ' ' || c >= 0x7f:
			return nil, f.bad("UnsupportedCharacter", "Value contains unsupported characters: write three octal digits after a backslash")
		}
		out = append(out, c)
	}
	if len(out) > maxString {
		return nil, f.bad("CharacterStringTooLong", fmt.Sprintf("Value is too long: a string has at most %d characters", maxString))
	}
	return out, nil
}

// quote writes a character string as a zone file has it.
func quote(b []byte) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&out, "\\%03d", c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// binding reads SVCB and HTTPS records (RFC 9460): a priority, a name, and
// parameters key=value, each once.
func (f *fields) binding() (string, error) {
	if len(f.words) < 2 {
		return "", f.bad(string(f.t)+"RRDATANotTwoFields", string(f.t)+" record doesn't have a priority and a target name")
	}
	priority, err := number(16)(f, f.words[0])
	if err != nil {
		return "", err
	}
	target, err := f.name(f.words[1])
	if err != nil {
		return "", err
	}
	out := []string{priority, target}
	if priority == "0" && len(f.words) > 2 {
		return "", f.bad(string(f.t)+"RRDATAIllegalParameter", "A record with the priority 0 has no parameters")
	}
	seen := map[string]string{}
	for _, w := range f.words[2:] {
		key, value, _ := strings.Cut(w, "=")
		value = strings.TrimSuffix(strings.TrimPrefix(value, "\""), "\"")
		if _, dup := seen[key]; dup || !legalParameter(key, value, strings.Contains(w, "=")) {
			return "", f.bad(string(f.t)+"RRDATAIllegalParameter", fmt.Sprintf("'%s' is not a parameter, or there twice", bounded(w)))
		}
		seen[key] = value
		if value != "" {
			value = "=\"" + value + "\""
		}
		out = append(out, key+value)
	}
	for key := range strings.SplitSeq(seen["mandatory"], ",") {
		if _, ok := seen[key]; key != "" && !ok {
			return "", f.bad(string(f.t)+"RRDATAIllegalParameter", fmt.Sprintf("'%s' is mandatory and not there", bounded(key)))
		}
	}
	if _, alone := seen["no-default-alpn"]; alone && seen["alpn"] == "" {
		return "", f.bad(string(f.t)+"RRDATAIllegalParameter", "'no-default-alpn' needs 'alpn'")
	}
	return strings.Join(out, " "), nil
}

// legalParameter judges one parameter of a service binding. Keys that have no
// name are not taken.
func legalParameter(key, value string, hasValue bool) bool {
	if key == "no-default-alpn" {
		return !hasValue
	}
	if value == "" || strings.ContainsAny(value, "\"\\ \t;()") {
		return false
	}
	for _, c := range []byte(value) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	parts := strings.Split(value, ",")
	switch key {
	case "mandatory":
		known := []string{"alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"}
		slices.Sort(parts)
		return len(slices.Compact(parts)) == len(strings.Split(value, ",")) &&
			!slices.ContainsFunc(parts, func(p string) bool { return !slices.Contains(known, p) })
	case "alpn":
		return !slices.ContainsFunc(parts, func(p string) bool { return p == "" || len(p) > maxString })
	case "port":
		_, err := strconv.ParseUint(value, 10, 16)
		return err == nil && value[0] != '+'
	case "ech":
		_, err := base64.StdEncoding.DecodeString(value)
		return err == nil
	case "ipv4hint", "ipv6hint":
		return !slices.ContainsFunc(parts, func(p string) bool {
			a, err := netip.ParseAddr(p)
			return err != nil || a.Zone() != "" || a.Is4In6() || a.Is4() != (key == "ipv4hint")
		})
	}
	return false
}
