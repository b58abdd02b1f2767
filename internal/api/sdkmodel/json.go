// SPDX-License-Identifier: Apache-2.0

package sdkmodel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"postern.dev/postern/internal/api/awsquery"
)

// elementsOf are the elements that an output type can answer in a dialect. In
// JSON they are what encoding/json calls the fields.
func elementsOf(d awsquery.Dialect, t reflect.Type) ([]awsquery.Element, error) {
	if d != awsquery.JSON {
		return awsquery.Elements(d, t)
	}
	var out []awsquery.Element
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || strings.Contains(options, "string") {
			return nil, fmt.Errorf("field %s of %s: only plain exported fields are known here", f.Name, t)
		}
		if name == "" {
			name = f.Name
		}
		out = append(out, awsquery.Element{Name: name, Type: f.Type})
	}
	return out, nil
}

// Request is a request with every parameter of an operation of the JSON
// protocol set once and every list twice, by their names as a form; it is read
// from what the SDK sends.
func (m *Model) Request(op string) (url.Values, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := url.Values{}
	err := m.writes(m.prefix+"_serializeOpDocument"+op+"Input", "", out)
	return out, err
}

// writes adds what an encoder writes below a name.
func (m *Model) writes(fn, name string, out url.Values) error {
	f := m.funcs[fn]
	if f == nil {
		return fmt.Errorf("no encoder %s", fn)
	}
	if strings.Count(name, ".") > 20 {
		return fmt.Errorf("%s: %s nests without end", fn, name)
	}
	var err error
	add := func(name string, body ast.Node) {
		ast.Inspect(body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || err != nil {
				return err == nil
			}
			called := calledName(call)
			switch method := called[strings.LastIndexByte(called, '.')+1:]; {
			case strings.HasPrefix(called, m.prefix+"_serializeDocument"):
				err = m.writes(called, name, out)
				return false
			case called == "ok."+method || called == "av."+method:
				value, known := map[string]string{"String": "__" + name + "__", "Integer": "1", "Long": "1", "Boolean": "true"}[method]
				if !known {
					err = fmt.Errorf("%s: %s writes a %s, which is not known here", fn, name, method)
				}
				out.Set(name, value)
				return false
			}
			return true
		})
	}
	prefix := name
	if prefix != "" {
		prefix += "."
	}
	list := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && calledName(call) == "value.Array" {
			list = true
		}
		return true
	})
	if list {
		for i := 1; i <= 2; i++ {
			add(prefix+"member."+strconv.Itoa(i), f.Body)
		}
		return err
	}
	// Each member is written in a block that begins with its key.
	ast.Inspect(f.Body, func(n ast.Node) bool {
		b, ok := n.(*ast.BlockStmt)
		if !ok || len(b.List) == 0 {
			return true
		}
		assign, ok := b.List[0].(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 {
			return true
		}
		if call, ok := assign.Rhs[0].(*ast.CallExpr); ok && calledName(call) == "object.Key" {
			if lit, ok := call.Args[0].(*ast.BasicLit); ok {
				key, _ := strconv.Unquote(lit.Value)
				rest := &ast.BlockStmt{List: b.List[1:]}
				add(prefix+key, rest)
				return false
			}
		}
		return true
	})
	return err
}

// parseJSON reads an answer of the JSON protocol as the elements it stands for.
func parseJSON(body []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the answer is no JSON object")
	}
	return nodeOf("", object), nil
}

func nodeOf(name string, v any) *node {
	n := &node{name: name}
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			n.children = append(n.children, nodeOf(k, x))
		}
	case []any:
		for _, x := range v {
			n.children = append(n.children, nodeOf("", x))
		}
	default:
		n.text = fmt.Sprint(v)
	}
	return n
}
