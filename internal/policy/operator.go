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

// operator is one base condition operator. A negated one has the kind of its
// positive form; condition.match turns the result around.
type operator struct {
	name    string
	kind    operatorKind
	order   order // of numbers and dates
	negated bool
}

type operatorKind int8

const (
	stringEquals operatorKind = iota
	stringEqualsIgnoreCase
	stringLike
	numeric
	date
	boolean
	binaryEquals
	ipAddress
	arnLike
	null
)

// order is which results of a comparison an operator takes.
type order int8

const (
	less order = 1 << iota
	equal
	greater
)

func (o order) holds(c int) bool {
	switch {
	case c < 0:
		return o&less != 0
	case c > 0:
		return o&greater != 0
	}
	return o&equal != 0
}

// operators holds every base operator by lower-case name.
var operators = func() map[string]operator {
	m := map[string]operator{}
	for _, op := range []operator{
		{name: "StringEquals", kind: stringEquals},
		{name: "StringNotEquals", kind: stringEquals, negated: true},
		{name: "StringEqualsIgnoreCase", kind: stringEqualsIgnoreCase},
		{name: "StringNotEqualsIgnoreCase", kind: stringEqualsIgnoreCase, negated: true},
		{name: "StringLike", kind: stringLike},
		{name: "StringNotLike", kind: stringLike, negated: true},
		{name: "NumericEquals", kind: numeric, order: equal},
		{name: "NumericNotEquals", kind: numeric, order: equal, negated: true},
		{name: "NumericLessThan", kind: numeric, order: less},
		{name: "NumericLessThanEquals", kind: numeric, order: less | equal},
		{name: "NumericGreaterThan", kind: numeric, order: greater},
		{name: "NumericGreaterThanEquals", kind: numeric, order: greater | equal},
		{name: "DateEquals", kind: date, order: equal},
		{name: "DateNotEquals", kind: date, order: equal, negated: true},
		{name: "DateLessThan", kind: date, order: less},
		{name: "DateLessThanEquals", kind: date, order: less | equal},
		{name: "DateGreaterThan", kind: date, order: greater},
		{name: "DateGreaterThanEquals", kind: date, order: greater | equal},
		{name: "Bool", kind: boolean},
		{name: "BinaryEquals", kind: binaryEquals},
		{name: "IpAddress", kind: ipAddress},
		{name: "NotIpAddress", kind: ipAddress, negated: true},
		// ArnEquals and ArnLike behave alike on AWS: both take wildcards.
		{name: "ArnEquals", kind: arnLike},
		{name: "ArnLike", kind: arnLike},
		{name: "ArnNotEquals", kind: arnLike, negated: true},
		{name: "ArnNotLike", kind: arnLike, negated: true},
		{name: "Null", kind: null},
	} {
		m[strings.ToLower(op.name)] = op
	}
	return m
}()

// operand is one value of the document under an operator, read once. Which
// fields are set depends on the operator's kind.
type operand struct {
	template *template   // of strings and ARNs
	text     string      // without variables: of StringEqualsIgnoreCase, of Bool, of BinaryEquals
	arn      *arnPattern // without variables
	number   float64
	time     time.Time
	prefix   netip.Prefix
	bytes    []byte
}

// newOperand reads a value. vars as in newTemplate.
func (op operator) newOperand(value string, vars bool, keys *keyTable) (operand, error) {
	var o operand
	var err error
	ok, want := true, ""
	switch op.kind {
	case stringEquals, stringEqualsIgnoreCase:
		if o.template, err = newTemplate(value, false, vars, keys); err == nil && !o.template.vars {
			o.text = o.template.joinedText(nil)
		}
	case stringLike:
		o.template, err = newTemplate(value, true, vars, keys)
	case arnLike:
		if o.template, err = newTemplate(value, true, vars, keys); err == nil && !o.template.vars {
			o.arn = newArnPattern(o.template.pieces)
			ok, want = o.arn != nil, "an ARN, write six parts separated by colons"
		}
	case numeric:
		o.number, ok = parseNumber(value)
		want = "a number"
	case date:
		o.time, ok = parseDate(value)
		want = "a date, write ISO 8601 such as 2026-01-31T12:00:00Z or seconds since 1970"
	case boolean, null:
		o.text = strings.ToLower(value)
		if o.text != "true" && o.text != "false" {
			err = fmt.Errorf("%s is neither true nor false", quote(value))
		}
	case binaryEquals:
		o.text = value
		if o.bytes, err = base64.StdEncoding.DecodeString(value); err != nil {
			err = fmt.Errorf("%s is not base64: %w", quote(value), err)
		}
	case ipAddress:
		if o.prefix, ok = parsePrefix(value); !ok {
			err = fmt.Errorf("%s is neither an IP address nor a CIDR block", quote(value))
		}
	}
	if err == nil && !ok {
		err = fmt.Errorf("%s is not %s", quote(value), want)
	}
	return o, err
}

// test reports whether one value of the request satisfies o under the positive
// form of the operator.
func (op operator) test(e *evaluation, o *operand, v string) bool {
	switch op.kind {
	case stringEquals:
		if o.template.vars {
			return o.template.match(e, v)
		}
		return o.text == v
	case stringEqualsIgnoreCase:
		if !o.template.vars {
			return strings.EqualFold(o.text, v)
		}
		return o.template.known(e) && strings.EqualFold(o.template.joinedText(e), v)
	case stringLike:
		return o.template.match(e, v)
	case arnLike:
		if o.template.vars {
			return o.template.matchArn(e, v)
		}
		return o.arn.match(v)
	case numeric:
		have, ok := parseNumber(v)
		return ok && op.order.holds(cmp.Compare(have, o.number))
	case date:
		have, ok := parseDate(v)
		return ok && op.order.holds(have.Compare(o.time))
	case boolean, null:
		return len(v) == len(o.text) && equalFold(v, o.text)
	case binaryEquals:
		if v == o.text {
			return true
		}
		if len(v) != base64.StdEncoding.EncodedLen(len(o.bytes)) {
			return false
		}
		have, err := base64.StdEncoding.DecodeString(v)
		return err == nil && bytes.Equal(have, o.bytes)
	case ipAddress:
		if len(v) > maxScalar {
			return false
		}
		have, err := netip.ParseAddr(v)
		return err == nil && o.prefix.Contains(have.Unmap().WithZone(""))
	}
	return false
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
	if strings.Trim(s, "+-0123456789") == "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0), -maxEpoch <= n && n <= maxEpoch
		}
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
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
