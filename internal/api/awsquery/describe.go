// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"fmt"
	"reflect"
	"slices"
)

// Mode says what happens with a parameter.
type Mode string

// The modes.
const (
	// Works: the parameter has the effect that AWS documents.
	Works Mode = "works"
	// Stored: the parameter is kept and returned, and has no other effect.
	Stored Mode = "stored"
	// IsRefused: a request with the parameter fails, naming it.
	IsRefused Mode = "refused"
)

// Structure is the Kind of a required structure or list of structures. It has no value of
// its own; its members follow it.
const Structure = "structure"

// Param is one parameter of an input struct.
type Param struct {
	// Name is the wire name with N for every list index: Tag.N.Key.
	Name string
	// Kind is string, boolean, integer, long, double, timestamp, blob, any for a
	// refused parameter declared as Refused, or Structure.
	Kind     string
	Mode     Mode
	Required bool
	// Enum holds the accepted values when only some are.
	Enum []string
	// Unless holds the values that a refused parameter may still have.
	Unless []string
}

// Describe lists the parameters of input struct type t in the order of its
// fields, nested ones with their whole names. A refused parameter is listed once,
// by the name at which it is refused. A stored structure's members are stored.
// Members of a type inside itself are left out. An error means that t's tags are wrong.
func Describe(d Dialect, t reflect.Type) ([]Param, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var out []Param
	err := describe(d, t, "", Works, nil, &out)
	return out, err
}

func describe(d Dialect, t reflect.Type, prefix string, mode Mode, within []reflect.Type, out *[]Param) error {
	if slices.Contains(within, t) {
		return nil
	}
	within = append(slices.Clone(within), t)
	info, err := infoOf(t)
	if err != nil {
		return err
	}
	for i := range info.fields {
		f := &info.fields[i]
		p := Param{Name: join(prefix, f.name), Mode: mode, Required: f.required, Enum: f.enum, Unless: f.unless}
		switch {
		case f.refuse:
			p.Mode = IsRefused
		case f.stored:
			p.Mode = Stored
		}
		ft := f.typ
		if f.refuse {
			p.Kind = "any"
			if s := scalarOf(ft); isScalar(s) {
				p.Kind = kindName(s)
			}
			*out = append(*out, p)
			continue
		}
		if err := describeValue(d, ft, f, p, within, out); err != nil {
			return err
		}
	}
	return nil
}

func describeValue(d Dialect, t reflect.Type, f *field, p Param, within []reflect.Type, out *[]Param) error {
	switch {
	case isScalar(t):
		p.Kind = kindName(t)
		*out = append(*out, p)
		return nil
	case t.Kind() == reflect.Pointer:
		return describeValue(d, t.Elem(), f, p, within, out)
	case t.Kind() == reflect.Slice:
		if d != EC2 {
			p.Name += "." + d.pieceOf(f)
		}
		p.Name += ".N"
		return describeValue(d, t.Elem(), f, p, within, out)
	case t.Kind() == reflect.Map:
		if d == EC2 {
			return fmt.Errorf("parameter %s: the %s dialect has no maps", p.Name, d)
		}
		key, value := p, p
		key.Name, value.Name = p.Name+".entry.N.key", p.Name+".entry.N.value"
		key.Enum = nil
		if err := describeValue(d, t.Key(), f, key, within, out); err != nil {
			return err
		}
		return describeValue(d, t.Elem(), f, value, within, out)
	}
	if p.Required {
		// Otherwise only its members would be listed, and whether one must be sent at all lost.
		*out = append(*out, Param{Name: p.Name, Kind: Structure, Mode: p.Mode, Required: true})
	}
	return describe(d, t, p.Name, p.Mode, within, out)
}

func kindName(t reflect.Type) string {
	switch t {
	case timeType:
		return "timestamp"
	case bytesType:
		return "blob"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "long"
	case reflect.Int32:
		return "integer"
	case reflect.Float64:
		return "double"
	}
	return "string"
}

// Element is one child element of an output struct.
type Element struct {
	// Name is the element's name. For a slice it is the wrapper, and Item the
	// name of the children.
	Name, Item string
	// Type is the field's Go type.
	Type reflect.Type
}

// Elements lists the child elements that the encoder writes for output struct
// type t, or a pointer to one, in their order. An error means that t's tags are wrong.
func Elements(d Dialect, t reflect.Type) ([]Element, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("output type %s: is not a struct", t)
	}
	fields, err := outFieldsOf(t)
	if err != nil {
		return nil, err
	}
	var out []Element
	for _, f := range fields {
		e := Element{Name: f.name, Type: t.FieldByIndex(f.index).Type}
		if e.Type.Kind() == reflect.Slice && e.Type != bytesType {
			if e.Item = f.element; e.Item == "" {
				e.Item = d.element()
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// KindOf is the kind of a scalar type, as in Param, "" for any other type.
func KindOf(t reflect.Type) string {
	if !isScalar(t) {
		return ""
	}
	return kindName(t)
}

// Coverage holds a form against an input struct without asking for values: it
// returns the names of parameters that struct type t does not have (unknown) and
// of those that it refuses, both sorted. Missing required parameters do not count.
// An error
// means a value of the wrong shape, a bad map or a wrong tag. It serves tests that compare input structs with what clients can send.
func Coverage(d Dialect, form *Form, t reflect.Type) (unknown, refused []string, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	dec := decoder{dialect: d, survey: true}
	err = dec.structure(form.tree(), reflect.New(t).Elem())
	slices.Sort(dec.unknown)
	slices.Sort(dec.refused)
	return dec.unknown, dec.refused, err
}
