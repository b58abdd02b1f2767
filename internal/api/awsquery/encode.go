// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// timeFormat is AWS's: UTC with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

// maxOutputDepth bounds nesting, so that a value that contains itself is an error.
const maxOutputDepth = 32

// outField is one child element of an output struct.
type outField struct {
	name, element string
	index         []int
	omitEmpty     bool
}

type outResult struct {
	fields []outField
	err    error
}

var outCache sync.Map // reflect.Type -> outResult

func outFieldsOf(t reflect.Type) ([]outField, error) {
	if r, ok := outCache.Load(t); ok {
		return r.(outResult).fields, r.(outResult).err
	}
	fields, err := collectOut(t, nil)
	seen := map[string]bool{}
	for _, f := range fields {
		if err == nil && seen[f.name] {
			err = fmt.Errorf("element %s is there twice", f.name)
		}
		seen[f.name] = true
	}
	if err != nil {
		fields, err = nil, fmt.Errorf("output type %s: %w", t, err)
	}
	r, _ := outCache.LoadOrStore(t, outResult{fields, err})
	return r.(outResult).fields, r.(outResult).err
}

func collectOut(t reflect.Type, at []int) ([]outField, error) {
	var out []outField
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("xml")
		index := append(slices.Clone(at), i)
		if sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Struct {
			inner, err := collectOut(sf.Type, index)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
			continue
		}
		if tag == "-" || !sf.IsExported() {
			continue
		}
		path, options, _ := strings.Cut(tag, ",")
		f := outField{index: index}
		f.name, f.element, _ = strings.Cut(path, ">")
		switch options {
		case "":
		case "omitempty":
			f.omitEmpty = true
		default:
			return nil, fmt.Errorf("field %s: unknown xml option %q", sf.Name, options)
		}
		if !isElementName(f.name) || (f.element != "" && !isElementName(f.element)) {
			return nil, fmt.Errorf("field %s: xml tag %q needs an element name", sf.Name, tag)
		}
		if scalar := scalarOf(sf.Type); !isScalar(scalar) && scalar.Kind() != reflect.Struct && scalar.Kind() != reflect.Map {
			return nil, fmt.Errorf("field %s: type %s cannot be encoded", sf.Name, sf.Type)
		}
		out = append(out, f)
	}
	return out, nil
}

// isElementName accepts the names AWS uses: a letter, then letters, digits, "_", "-" and ".".
func isElementName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '_' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

type encoder struct {
	dialect Dialect
	buf     bytes.Buffer
}

func (enc *encoder) open(name string)  { enc.buf.WriteString("<" + name + ">") }
func (enc *encoder) close(name string) { enc.buf.WriteString("</" + name + ">") }

// text writes s escaped. xml.EscapeText replaces what XML 1.0 cannot hold by U+FFFD;
// writing to a bytes.Buffer cannot fail.
func (enc *encoder) text(s string) { _ = xml.EscapeText(&enc.buf, []byte(s)) }

func (enc *encoder) leaf(name, value string) {
	enc.open(name)
	enc.text(value)
	enc.close(name)
}

// members writes the children of a struct, or of a pointer to one; nil writes nothing.
func (enc *encoder) members(out any) error {
	if out == nil {
		return nil
	}
	v := reflect.ValueOf(out)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return fmt.Errorf("an answer is a struct, not %T", out)
	}
	return enc.structure(v, 0)
}

func (enc *encoder) structure(v reflect.Value, depth int) error {
	if depth > maxOutputDepth {
		return fmt.Errorf("output type %s: nested deeper than %d", v.Type(), maxOutputDepth)
	}
	fields, err := outFieldsOf(v.Type())
	if err != nil {
		return err
	}
	for i := range fields {
		f := &fields[i]
		if err := enc.field(f, v.FieldByIndex(f.index), depth); err != nil {
			return err
		}
	}
	return nil
}

func (enc *encoder) field(f *outField, v reflect.Value, depth int) error {
	if f.omitEmpty && (v.IsZero() || hasLen(v) && v.Len() == 0) {
		return nil
	}
	if ts, ok := v.Interface().(time.Time); ok && ts.IsZero() {
		return nil
	}
	if v.Kind() != reflect.Slice || v.Type() == bytesType {
		return enc.value(f.name, v, depth)
	}
	element := f.element
	if element == "" {
		element = enc.dialect.element()
	}
	enc.open(f.name)
	for i := range v.Len() {
		if err := enc.value(element, v.Index(i), depth); err != nil {
			return err
		}
	}
	enc.close(f.name)
	return nil
}

func hasLen(v reflect.Value) bool {
	return v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.String
}

func (enc *encoder) value(name string, v reflect.Value, depth int) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	t := v.Type()
	if isScalar(t) {
		enc.leaf(name, scalarText(v))
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		enc.open(name)
		if err := enc.structure(v, depth+1); err != nil {
			return err
		}
		enc.close(name)
		return nil
	case reflect.Map:
		return enc.mapping(name, v, depth)
	}
	return fmt.Errorf("element %s: type %s cannot be encoded", name, t)
}

// mapping writes <entry><key/><value/></entry> in key order, so that answers are stable.
func (enc *encoder) mapping(name string, v reflect.Value, depth int) error {
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("element %s: map keys must be strings", name)
	}
	byKey := map[string]reflect.Value{}
	for it := v.MapRange(); it.Next(); {
		byKey[it.Key().String()] = it.Value()
	}
	enc.open(name)
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		enc.open("entry")
		enc.leaf("key", k)
		if err := enc.value("value", byKey[k], depth); err != nil {
			return err
		}
		enc.close("entry")
	}
	enc.close(name)
	return nil
}

func scalarText(v reflect.Value) string {
	switch v.Type() {
	case timeType:
		return v.Interface().(time.Time).UTC().Format(timeFormat)
	case bytesType:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return strconv.FormatInt(v.Int(), 10)
}
