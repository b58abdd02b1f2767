// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// Refused is the type of a field that only names a refused parameter:
//
//	_ awsquery.Refused `query:"ServiceNetworkArn,refuse"`
type Refused struct{}

var (
	timeType    = reflect.TypeFor[time.Time]()
	bytesType   = reflect.TypeFor[[]byte]()
	refusedType = reflect.TypeFor[Refused]()
)

// field is one input parameter at its level.
type field struct {
	name     string
	index    []int // path for reflect.Value.FieldByIndex; nil for refused fields
	typ      reflect.Type
	required bool
	stored   bool
	refuse   bool
	unless   []string
	enum     []string
	item     string // of a list in the REST dialect
}

// structInfo is an input struct as its tags describe it.
type structInfo struct {
	fields []field
	byName map[string]int
}

type infoResult struct {
	info *structInfo
	err  error
}

var infoCache sync.Map // reflect.Type -> infoResult; one entry per input struct type of the program

// infoOf reads the tags of struct type t and checks that its fields can be decoded.
func infoOf(t reflect.Type) (*structInfo, error) {
	if r, ok := infoCache.Load(t); ok {
		return r.(infoResult).info, r.(infoResult).err
	}
	info := &structInfo{byName: map[string]int{}}
	err := info.collect(t, nil)
	if err != nil {
		info, err = nil, fmt.Errorf("input type %s: %w", t, err)
	}
	r, _ := infoCache.LoadOrStore(t, infoResult{info, err})
	return r.(infoResult).info, r.(infoResult).err
}

func (info *structInfo) collect(t reflect.Type, at []int) error {
	if t.Kind() != reflect.Struct {
		return fmt.Errorf("is not a struct")
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("query")
		if tag == "-" {
			continue
		}
		index := append(slices.Clone(at), i)
		if sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Struct {
			if err := info.collect(sf.Type, index); err != nil {
				return err
			}
			continue
		}
		if !tagged {
			if sf.Name == "_" || !sf.IsExported() {
				continue
			}
			return fmt.Errorf("field %s has no query tag", sf.Name)
		}
		f, err := parseTag(tag)
		if err != nil {
			return fmt.Errorf("field %s: %w", sf.Name, err)
		}
		f.index, f.typ = index, sf.Type
		if f.refuse {
			f.index = nil
		} else {
			if !sf.IsExported() {
				return fmt.Errorf("field %s is not exported and not refused", sf.Name)
			}
			if err := checkType(sf.Type, true); err != nil {
				return fmt.Errorf("field %s: %w", sf.Name, err)
			}
			if f.enum != nil && scalarOf(sf.Type).Kind() != reflect.String {
				return fmt.Errorf("field %s: enum is only for strings", sf.Name)
			}
		}
		if _, dup := info.byName[f.name]; dup {
			return fmt.Errorf("field %s: parameter %s is there twice", sf.Name, f.name)
		}
		info.byName[f.name] = len(info.fields)
		info.fields = append(info.fields, f)
	}
	return nil
}

func parseTag(tag string) (field, error) {
	parts := strings.Split(tag, ",")
	f := field{name: parts[0]}
	if f.name == "" || strings.Contains(f.name, ".") {
		return f, fmt.Errorf("query tag %q needs a name without dots", tag)
	}
	for _, opt := range parts[1:] {
		key, value, _ := strings.Cut(opt, "=")
		switch key {
		case "required":
			f.required = true
		case "stored":
			f.stored = true
		case "refuse":
			f.refuse = true
		case "unless":
			f.unless = append(f.unless, value)
		case "enum":
			f.enum = strings.Split(value, "|")
		case "item":
			f.item = value
		default:
			return f, fmt.Errorf("query tag %q: unknown option %q", tag, opt)
		}
	}
	if f.refuse && (f.required || f.stored || f.enum != nil) {
		return f, fmt.Errorf("query tag %q: refuse goes only with unless", tag)
	}
	if f.unless != nil && !f.refuse {
		return f, fmt.Errorf("query tag %q: unless goes only with refuse", tag)
	}
	return f, nil
}

// checkType reports whether values of t can be decoded. Structs are checked when
// they are first used, so that a type may contain lists of itself.
func checkType(t reflect.Type, pointer bool) error {
	if isScalar(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		if pointer && (isScalar(t.Elem()) || t.Elem().Kind() == reflect.Struct) {
			return nil
		}
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Slice || t.Elem() == bytesType {
			return checkType(t.Elem(), true)
		}
	case reflect.Map:
		if t.Key().Kind() == reflect.String && (isScalar(t.Elem()) || t.Elem().Kind() == reflect.Struct) {
			return nil
		}
	case reflect.Struct:
		if t != refusedType {
			return nil
		}
	}
	return fmt.Errorf("type %s cannot be decoded", t)
}

func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return true
	}
	return t == timeType || t == bytesType
}

// scalarOf strips pointers and lists.
func scalarOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || (t.Kind() == reflect.Slice && t != bytesType) {
		t = t.Elem()
	}
	return t
}
