// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
)

// Operation is what a REST request asks for, by its method and path.
type Operation struct {
	Action, Version string
	// Labels are the parameters in the path.
	Labels map[string]string
	// Input is the type of the action's input struct; its tags say which
	// elements of the body are lists.
	Input reflect.Type
}

// ParseREST reads the parameters of a REST request into a form: those of the
// path and the query string and, for a POST, the elements of the XML body, which
// is called after the action with Request at its end. It returns the body's raw
// bytes too, because the signature covers them. Bounds and errors are as for
// Parse; a request without an action in op has only the bytes.
func ParseREST(r *http.Request, op Operation, maxBytes int64) (*Form, []byte, error) {
	body, err := ReadBody(r, maxBytes)
	if err != nil {
		return nil, nil, err
	}
	f := &Form{Action: op.Action, Version: op.Version, params: map[string]string{}}
	if op.Input == nil {
		return f, body, nil
	}
	for name, value := range op.Labels {
		if err := f.add(name, value); err != nil {
			return nil, body, err
		}
	}
	if err := f.addPairs(r.URL.RawQuery, true); err != nil {
		return nil, body, err
	}
	if f.Action != op.Action || f.Version != op.Version {
		return nil, body, &Error{Kind: KindDuplicate, Parameter: "Action"}
	}
	if len(body) == 0 {
		return f, body, nil
	}
	if r.Method != http.MethodPost {
		return nil, body, &Error{Kind: KindMalformed, Detail: "a " + clip(r.Method) + " request must not have a body"}
	}
	root, err := parseXML(body)
	if err != nil {
		return nil, body, err
	}
	if want := op.Action + "Request"; root.name != want {
		return nil, body, &Error{Kind: KindMalformed, Detail: "the body's root must be " + want}
	}
	return f, body, f.addElements("", root, op.Input)
}

// element is one XML element of a body.
type element struct {
	name     string
	text     []byte
	children []*element
}

// parseXML reads a body of bounded depth. Namespaces and attributes say nothing
// in these protocols.
func parseXML(body []byte) (*element, error) {
	bad := func(detail string) error { return &Error{Kind: KindMalformed, Detail: detail} }
	d := xml.NewDecoder(bytes.NewReader(body))
	top := &element{}
	stack := []*element{top}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, bad("the body is not well-formed XML")
		}
		last := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			if len(stack) > MaxNameDepth {
				return nil, bad("the body is nested too deeply")
			}
			e := &element{name: tok.Name.Local}
			last.children = append(last.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			last.text = append(last.text, tok...)
		case xml.Directive:
			return nil, bad("the body must not have a document type")
		}
	}
	if len(top.children) != 1 {
		return nil, bad("the body must have one root")
	}
	return top.children[0], nil
}

// addElements adds what is below e, which t describes if it is a struct.
func (f *Form) addElements(at string, e *element, t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var info *structInfo
	if t != nil && t.Kind() == reflect.Struct && !isScalar(t) && t != refusedType {
		var err error
		if info, err = infoOf(t); err != nil {
			return err
		}
	}
	if len(e.children) == 0 {
		if info != nil && len(bytes.TrimSpace(e.text)) == 0 {
			return nil // a structure of which nothing was sent
		}
		return f.add(at, string(e.text))
	}
	if len(bytes.TrimSpace(e.text)) > 0 {
		return &Error{Kind: KindMalformed, Parameter: at, Detail: "an element has elements and text"}
	}
	seen := map[string]bool{}
	for _, c := range e.children {
		var known *field
		if info != nil {
			if i, ok := info.byName[c.name]; ok {
				known = &info.fields[i]
			}
		}
		name := join(at, c.name)
		if seen[c.name] {
			if known == nil || known.refuse {
				continue // the first is refused
			}
			return &Error{Kind: KindDuplicate, Parameter: name}
		}
		seen[c.name] = true
		switch {
		case known == nil || known.refuse:
			if err := f.addElements(name, c, nil); err != nil {
				return err
			}
		case known.typ.Kind() == reflect.Slice && known.typ != bytesType:
			if err := f.addList(name, c, known.typ.Elem()); err != nil {
				return err
			}
		default:
			if err := f.addElements(name, c, known.typ); err != nil {
				return err
			}
		}
	}
	return nil
}

// addList adds the elements of a list, numbered in the order they have among
// those of their name; an empty list is sent as such.
func (f *Form) addList(at string, list *element, t reflect.Type) error {
	if len(list.children) == 0 {
		return f.add(at, string(bytes.TrimSpace(list.text)))
	}
	count := map[string]int{}
	for _, c := range list.children {
		count[c.name]++
		name, before := fmt.Sprintf("%s.%s.%d", at, c.name, count[c.name]), len(f.params)
		if err := f.addElements(name, c, t); err != nil {
			return err
		}
		if len(f.params) == before {
			return &Error{Kind: KindInvalid, Parameter: name, Detail: "the element is empty"}
		}
	}
	return nil
}

// Created is an output that is a new resource: the answer has the status 201
// and says where the resource is.
type Created interface{ Location() string }

// WriteREST sends the successful answer of a REST operation: <opResponse> in the
// service's namespace with out's elements. Errors are as for WriteEC2.
func WriteREST(w http.ResponseWriter, s Service, requestID, op string, out any) error {
	if !isElementName(op) {
		return fmt.Errorf("operation name %q cannot be an element name", clip(op))
	}
	enc := encoder{dialect: REST}
	root := op + "Response"
	enc.root(root, s.Namespace)
	if err := enc.members(out); err != nil {
		return fmt.Errorf("encode %s: %w", root, err)
	}
	enc.close(root)
	status := http.StatusOK
	if c, ok := out.(Created); ok {
		w.Header().Set("Location", c.Location())
		status = http.StatusCreated
	}
	// A client that has gone is no mistake, and nobody can be told.
	_ = enc.send(w, requestID, status)
	return nil
}
