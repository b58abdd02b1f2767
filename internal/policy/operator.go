// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// operator is one base condition operator. A negated one compiles the test of
// its positive form; condition.match turns the result around.
type operator struct {
	name    string
	negated bool
	null    bool
	compile func(value string, vars bool) (test, error)
}

// operators holds every base operator by lower-case name.
var operators = func() map[string]operator {
	less := func(c int) bool { return c < 0 }
	lessEqual := func(c int) bool { return c <= 0 }
	equal := func(c int) bool { return c == 0 }
	greater := func(c int) bool { return c > 0 }
	greaterEqual := func(c int) bool { return c >= 0 }
	m := map[string]operator{}
	for _, op := range []operator{
		{name: "StringEquals", compile: stringEquals},
		{name: "StringNotEquals", negated: true, compile: stringEquals},
		{name: "StringEqualsIgnoreCase", compile: stringEqualsIgnoreCase},
		{name: "StringNotEqualsIgnoreCase", negated: true, compile: stringEqualsIgnoreCase},
		{name: "StringLike", compile: stringLike},
		{name: "StringNotLike", negated: true, compile: stringLike},
		{name: "NumericEquals", compile: numeric(equal)},
		{name: "NumericNotEquals", negated: true, compile: numeric(equal)},
		{name: "NumericLessThan", compile: numeric(less)},
		{name: "NumericLessThanEquals", compile: numeric(lessEqual)},
		{name: "NumericGreaterThan", compile: numeric(greater)},
		{name: "NumericGreaterThanEquals", compile: numeric(greaterEqual)},
		{name: "DateEquals", compile: date(equal)},
		{name: "DateNotEquals", negated: true, compile: date(equal)},
		{name: "DateLessThan", compile: date(less)},
		{name: "DateLessThanEquals", compile: date(lessEqual)},
		{name: "DateGreaterThan", compile: date(greater)},
		{name: "DateGreaterThanEquals", compile: date(greaterEqual)},
		{name: "Bool", compile: boolean},
		{name: "BinaryEquals", compile: binaryEquals},
		{name: "IpAddress", compile: ipAddress},
		{name: "NotIpAddress", negated: true, compile: ipAddress},
		// ArnEquals and ArnLike behave alike on AWS: both take wildcards.
		{name: "ArnEquals", compile: arnLike},
		{name: "ArnLike", compile: arnLike},
		{name: "ArnNotEquals", negated: true, compile: arnLike},
		{name: "ArnNotLike", negated: true, compile: arnLike},
		{name: "Null", null: true, compile: boolean},
	} {
		m[strings.ToLower(op.name)] = op
	}
	return m
}()

func stringEquals(value string, vars bool) (test, error) {
	return literalTest(value, vars, func(a, b string) bool { return a == b })
}

func stringEqualsIgnoreCase(value string, vars bool) (test, error) {
	return literalTest(value, vars, strings.EqualFold)
}

// literalTest compares whole strings in which * and ? mean themselves.
func literalTest(value string, vars bool, same func(a, b string) bool) (test, error) {
	t, err := newTemplate(value, false, vars)
	if err != nil {
		return nil, err
	}
	if t.parts == nil {
		want := runesText(t.fixed)
		return func(_ *evaluation, v string) bool { return same(want, v) }, nil
	}
	return func(e *evaluation, v string) bool {
		want := t.resolve(e)
		return want.known && same(runesText(want.runes), v)
	}, nil
}

// runesText undoes textRunes.
func runesText(runes []rune) string {
	var b strings.Builder
	for _, r := range runes {
		if r >= badByte {
			b.WriteByte(byte(r - badByte))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func stringLike(value string, vars bool) (test, error) {
	t, err := newTemplate(value, true, vars)
	if err != nil {
		return nil, err
	}
	return func(e *evaluation, v string) bool {
		matched, _ := t.matchText(e, v)
		return matched
	}, nil
}

func arnLike(value string, vars bool) (test, error) {
	t, err := newTemplate(value, true, vars)
	if err != nil {
		return nil, err
	}
	if t.parts == nil {
		want := newArnPattern(t.fixed)
		if want == nil {
			return nil, fmt.Errorf("%s is not an ARN, write six parts separated by colons", quote(value))
		}
		return func(e *evaluation, v string) bool { return want.match(e.runes(v)) }, nil
	}
	return func(e *evaluation, v string) bool {
		want := t.resolve(e)
		if want.known && want.arn == nil {
			want.arn = newArnPattern(want.runes)
		}
		return want.arn.match(e.runes(v))
	}, nil
}

func numeric(holds func(int) bool) func(string, bool) (test, error) {
	return func(value string, _ bool) (test, error) {
		want, ok := parseNumber(value)
		if !ok {
			return nil, fmt.Errorf("%s is not a number", quote(value))
		}
		return func(_ *evaluation, v string) bool {
			have, ok := parseNumber(v)
			return ok && holds(cmp.Compare(have, want))
		}, nil
	}
}

// maxScalar bounds the text of a number, date or address, so that a long request
// value costs nothing however many document values it meets.
const maxScalar = 64

// parseNumber takes decimal numbers only, not Go's hexadecimal, Inf or NaN.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > maxScalar || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

func date(holds func(int) bool) func(string, bool) (test, error) {
	return func(value string, _ bool) (test, error) {
		want, ok := parseDate(value)
		if !ok {
			return nil, fmt.Errorf("%s is not a date, write ISO 8601 such as 2026-01-31T12:00:00Z or seconds since 1970", quote(value))
		}
		return func(_ *evaluation, v string) bool {
			have, ok := parseDate(v)
			return ok && holds(have.Compare(want))
		}, nil
	}
}

// dateLayouts are the W3C profile of ISO 8601 and the compact form of AWS
// signatures. Without a zone a date is UTC.
var dateLayouts = []string{
	time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01", "20060102T150405Z",
}

// maxEpoch is the last second of the year 9999. More digits are milliseconds.
const maxEpoch = 253402300799

func parseDate(s string) (time.Time, bool) {
	if len(s) > maxScalar {
		return time.Time{}, false
	}
	// Four digits are a year, anything else in digits counts seconds.
	if len(s) == 4 && strings.Trim(s, "0123456789") == "" {
		t, err := time.Parse("2006", s)
		return t, err == nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), -maxEpoch <= n && n <= maxEpoch
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func boolean(value string, _ bool) (test, error) {
	want := strings.ToLower(value)
	if want != "true" && want != "false" {
		return nil, fmt.Errorf("%s is neither true nor false", quote(value))
	}
	return func(_ *evaluation, v string) bool { return len(v) == len(want) && strings.ToLower(v) == want }, nil
}

func binaryEquals(value string, _ bool) (test, error) {
	want, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64: %w", quote(value), err)
	}
	return func(_ *evaluation, v string) bool {
		if len(v) != base64.StdEncoding.EncodedLen(len(want)) {
			return false
		}
		have, err := base64.StdEncoding.DecodeString(v)
		return err == nil && bytes.Equal(have, want)
	}, nil
}

func ipAddress(value string, _ bool) (test, error) {
	want, ok := parsePrefix(value)
	if !ok {
		return nil, fmt.Errorf("%s is neither an IP address nor a CIDR block", quote(value))
	}
	return func(_ *evaluation, v string) bool {
		if len(v) > maxScalar {
			return false
		}
		have, err := netip.ParseAddr(v)
		return err == nil && want.Contains(have.Unmap().WithZone(""))
	}, nil
}

// parsePrefix takes an address or a block of either family. An IPv4 address
// written as IPv6 (::ffff:192.0.2.1) is the IPv4 address, as in requests.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, true
}
