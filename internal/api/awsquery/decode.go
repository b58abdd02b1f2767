// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode fills the struct that dst points to from the form's parameters, as the
// struct's query tags say (see the package comment). Action and Version are not
// parameters here. dst should be a zero value.
//
// A bad request is an *Error naming the parameter by its whole wire name: unknown
// and refused parameters first, level by level, then the fields in the order in
// which the struct declares them. After an error dst holds no useful value. Any
// other error means that dst's type or tags are wrong.
func Decode(d Dialect, form *Form, dst any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("decode needs a pointer to a struct, not %T", dst)
	}
	if d != EC2 && d != Query && d != REST && d != JSON {
		return fmt.Errorf("decode: %s", d)
	}
	dec := decoder{dialect: d}
	return dec.structure(form.tree(), v.Elem())
}

type decoder struct {
	dialect Dialect
	// survey collects the names of unknown and refused parameters instead of failing,
	// and does not look at values.
	survey           bool
	unknown, refused []string
}

func (dec *decoder) failUnknown(n *node, detail string) error {
	if dec.survey {
		dec.unknown = append(dec.unknown, n.leaves()...)
		return nil
	}
	name, value := n.first()
	return &Error{Kind: KindUnknown, Parameter: name, Value: value, Detail: detail}
}

func (dec *decoder) structure(n *node, v reflect.Value) error {
	info, err := infoOf(v.Type())
	if err != nil {
		return err
	}
	for _, child := range n.children {
		i, ok := info.byName[child.piece]
		if !ok {
			if err := dec.failUnknown(child, ""); err != nil {
				return err
			}
			continue
		}
		if f := &info.fields[i]; f.refuse {
			if err := dec.refuse(f, child); err != nil {
				return err
			}
		}
	}
	for i := range info.fields {
		f := &info.fields[i]
		if f.refuse {
			continue
		}
		child := n.child(f.name)
		if child == nil {
			if f.required && !dec.survey {
				return &Error{Kind: KindMissing, Parameter: join(n.name, f.name)}
			}
			continue
		}
		if err := dec.value(child, v.FieldByIndex(f.index), f); err != nil {
			return err
		}
		if f.required && !dec.survey && isEmpty(v.FieldByIndex(f.index)) {
			return &Error{Kind: KindMissing, Parameter: join(n.name, f.name)}
		}
	}
	return nil
}

func (dec *decoder) refuse(f *field, n *node) error {
	if !dec.survey && n.sent && len(n.children) == 0 && slices.Contains(f.unless, n.value) {
		return nil
	}
	if dec.survey {
		dec.refused = append(dec.refused, n.leaves()...)
		return nil
	}
	name, value := n.first()
	detail := ""
	if len(f.unless) > 0 {
		detail = "only " + strings.Join(f.unless, ", ") + " is accepted"
	}
	return &Error{Kind: KindUnsupported, Parameter: name, Value: value, Detail: detail}
}

// isEmpty reports whether a required field was sent without content.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil() || (v.Elem().Kind() == reflect.String && v.Elem().Len() == 0)
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return false
}

// value decodes the parameters at and below n into v. The field gives the enum.
func (dec *decoder) value(n *node, v reflect.Value, f *field) error {
	t := v.Type()
	switch {
	case isScalar(t):
		return dec.scalar(n, v, f)
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		if err := dec.value(n, p.Elem(), f); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case t.Kind() == reflect.Slice:
		return dec.list(n, v, f)
	case t.Kind() == reflect.Map:
		return dec.mapping(n, v, f)
	}
	if n.sent {
		return &Error{Kind: KindInvalid, Parameter: n.name, Value: n.value, Detail: "the parameter is a structure"}
	}
	return dec.structure(n, v)
}

// list decodes Name.1, Name.2 (EC2), Name.member.1 (Query, JSON) or Name.Item.1 (REST).
func (dec *decoder) list(n *node, v reflect.Value, f *field) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	if dec.dialect != EC2 {
		if n.sent && n.value != "" {
			return &Error{Kind: KindInvalid, Parameter: n.name, Value: n.value, Detail: "the parameter is a list"}
		}
		var err error
		if n, err = dec.only(n, dec.dialect.pieceOf(f)); err != nil || n == nil {
			return err
		}
	}
	if n.sent {
		return &Error{Kind: KindInvalid, Parameter: n.name, Value: n.value, Detail: "the parameter is a list"}
	}
	elements, err := dec.elements(n)
	if err != nil {
		return err
	}
	s := reflect.MakeSlice(v.Type(), len(elements), len(elements))
	for i, e := range elements {
		if err := dec.value(e, s.Index(i), f); err != nil {
			return err
		}
	}
	v.Set(s)
	return nil
}

// pieceOf is what stands between the name of a list and an index.
func (d Dialect) pieceOf(f *field) string {
	if d == REST && f.item != "" {
		return f.item
	}
	return "member"
}

// only returns the child called piece; any other child is an unknown parameter.
func (dec *decoder) only(n *node, piece string) (*node, error) {
	for _, c := range n.children {
		if c.piece != piece {
			if err := dec.failUnknown(c, "it is sent as ."+piece+".N"); err != nil {
				return nil, err
			}
		}
	}
	return n.child(piece), nil
}

// elements returns the numbered children in the order of their numbers.
func (dec *decoder) elements(n *node) ([]*node, error) {
	type numbered struct {
		i int
		n *node
	}
	var list []numbered
	for _, child := range n.children {
		i, ok := parseIndex(child.piece)
		if !ok {
			if err := dec.failUnknown(child, "list indices are 1, 2, 3 and so on"); err != nil {
				return nil, err
			}
			continue
		}
		if i > MaxIndex {
			name, value := child.first()
			return nil, &Error{Kind: KindTooMany, Parameter: name, Value: value, Detail: fmt.Sprintf("list indices end at %d", MaxIndex)}
		}
		list = append(list, numbered{i, child})
	}
	slices.SortFunc(list, func(a, b numbered) int { return a.i - b.i })
	out := make([]*node, len(list))
	for k, e := range list {
		out[k] = e.n
	}
	return out, nil
}

// parseIndex accepts decimal numbers from 1 without sign or leading zero. Numbers too
// large for an int32 are returned as the largest one.
func parseIndex(s string) (int, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	i, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return math.MaxInt32, true
	}
	return int(i), true
}

// mapping decodes Name.entry.N.key and Name.entry.N.value.
func (dec *decoder) mapping(n *node, v reflect.Value, f *field) error {
	if dec.dialect == EC2 {
		return fmt.Errorf("parameter %s: the %s dialect has no maps", n.name, dec.dialect)
	}
	m := reflect.MakeMap(v.Type())
	v.Set(m)
	if n.sent && n.value != "" {
		return &Error{Kind: KindInvalid, Parameter: n.name, Value: n.value, Detail: "the parameter is a map"}
	}
	n, err := dec.only(n, "entry")
	if err != nil || n == nil {
		return err
	}
	if n.sent {
		return &Error{Kind: KindInvalid, Parameter: n.name, Value: n.value, Detail: "the parameter is a map"}
	}
	entries, err := dec.elements(n)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.sent {
			return &Error{Kind: KindInvalid, Parameter: e.name, Value: e.value, Detail: "a map entry has .key and .value"}
		}
		for _, c := range e.children {
			if c.piece != "key" && c.piece != "value" {
				if err := dec.failUnknown(c, "a map entry has .key and .value"); err != nil {
					return err
				}
			}
		}
		kn, vn := e.child("key"), e.child("value")
		if kn == nil || !kn.sent {
			return &Error{Kind: KindMissing, Parameter: e.name + ".key"}
		}
		if vn == nil {
			return &Error{Kind: KindMissing, Parameter: e.name + ".value"}
		}
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := dec.scalar(kn, key, &field{}); err != nil {
			return err
		}
		if !dec.survey && m.MapIndex(key).IsValid() {
			return &Error{Kind: KindDuplicate, Parameter: kn.name, Value: kn.value}
		}
		if err := dec.value(vn, elem, f); err != nil {
			return err
		}
		m.SetMapIndex(key, elem)
	}
	return nil
}

func (dec *decoder) scalar(n *node, v reflect.Value, f *field) error {
	for _, c := range n.children {
		if err := dec.failUnknown(c, n.name+" is a single value"); err != nil {
			return err
		}
	}
	if dec.survey {
		return nil
	}
	bad := func(detail string) error {
		return &Error{Kind: KindInvalid, Parameter: n.name, Value: n.value, Detail: detail}
	}
	switch v.Type() {
	case timeType:
		ts, ok := parseTime(n.value)
		if !ok {
			return bad("it must be a time such as 2006-01-02T15:04:05Z")
		}
		v.Set(reflect.ValueOf(ts))
		return nil
	case bytesType:
		b, err := base64.StdEncoding.DecodeString(n.value)
		if err != nil {
			return bad("it must be base64")
		}
		v.SetBytes(b)
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if f.enum != nil && !slices.Contains(f.enum, n.value) {
			return bad("it must be one of " + strings.Join(f.enum, ", "))
		}
		v.SetString(n.value)
	case reflect.Bool:
		if n.value != "true" && n.value != "false" {
			return bad("it must be true or false")
		}
		v.SetBool(n.value == "true")
	case reflect.Float64:
		x, err := strconv.ParseFloat(n.value, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return bad("it must be a number")
		}
		v.SetFloat(x)
	default:
		x, err := strconv.ParseInt(n.value, 10, v.Type().Bits())
		if err != nil {
			return bad(fmt.Sprintf("it must be a whole number of %d bits", v.Type().Bits()))
		}
		v.SetInt(x)
	}
	return nil
}

// parseTime accepts RFC 3339 with or without fractions, and seconds since 1970.
func parseTime(s string) (time.Time, bool) {
	if ts, err := time.Parse(time.RFC3339, s); err == nil {
		return ts.UTC(), true
	}
	// Beyond 12 digits a number of seconds is after the year 9999.
	if whole, frac, _ := strings.Cut(s, "."); len(whole) <= 12 && len(frac) <= 9 {
		sec, err := strconv.ParseUint(whole, 10, 63)
		nano, err2 := strconv.ParseUint((frac + "000000000")[:9], 10, 63)
		ts := time.Unix(int64(sec), int64(nano)).UTC()
		if err == nil && err2 == nil && ts.Year() <= 9999 {
			return ts, true
		}
	}
	return time.Time{}, false
}
