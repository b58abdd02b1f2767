// SPDX-License-Identifier: Apache-2.0

// Package yamlfile reads YAML that a person wrote into structs with JSON names,
// strictly: a name that a struct does not have, a name that is there twice and a
// value of another kind are problems, and each is told with its line. All of them
// are told, not only the first.
//
// What a struct's fields mean is for others to check; Lines says where they stand.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is something that cannot stay as it is. Line 0 is no line of the file.
type Problem struct {
	Line int
	Text string
}

// Problems are all of a file.
type Problems struct {
	File string
	List []Problem
}

// Error is a line for each problem: file:line: text.
func (p *Problems) Error() string {
	list := slices.Clone(p.List)
	slices.SortStableFunc(list, func(a, b Problem) int { return a.Line - b.Line })
	var out []string
	for _, o := range list {
		at := p.File
		if o.Line > 0 {
			at += ":" + strconv.Itoa(o.Line)
		}
		out = append(out, at+": "+o.Text)
	}
	return strings.Join(out, "\n")
}

// Lines are the lines of a file's values by their path: services[0].name.
type Lines map[string]int

// Of is the line of a value, or that of the nearest around it that is written; 0
// if there is none.
func (l Lines) Of(path string) int {
	for {
		if n, ok := l[path]; ok {
			return n
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return l[""]
		}
		path = path[:i]
	}
}

// Bounds of a file: names within names, and values with those that aliases repeat.
const (
	maxDepth  = 32
	maxValues = 100_000
)

// Decode reads one document over what v, a pointer to a struct, holds. file is its
// name in problems. An error is *Problems.
func Decode(file string, b []byte, v any) (Lines, error) {
	d := &decoder{problems: Problems{File: file}, lines: Lines{}, left: maxValues}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return d.lines, nil // nothing but comments
	case err != nil:
		d.syntax(err)
		return nil, &d.problems
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		d.bad(second.Content[0].Line, "a second document: a file holds one")
	case !errors.Is(err, io.EOF):
		d.syntax(err)
	}
	d.value(doc.Content[0], reflect.ValueOf(v).Elem(), "", 0)
	if len(d.problems.List) > 0 {
		return nil, &d.problems
	}
	return d.lines, nil
}

type decoder struct {
	problems Problems
	lines    Lines
	left     int
}

func (d *decoder) bad(line int, format string, args ...any) {
	d.problems.List = append(d.problems.List, Problem{line, fmt.Sprintf(format, args...)})
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (d *decoder) syntax(err error) {
	text, line := err.Error(), 0
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = strings.TrimPrefix(text, m[0])
	}
	d.bad(line, "%s", strings.TrimPrefix(text, "yaml: "))
}

// value reads a node into v, which is at path.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, depth int) {
	line := n.Line // where it is used, not where an alias leads
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.left--; d.left < 0 || depth > maxDepth {
		if d.left == -1 || depth > maxDepth {
			d.bad(line, "too much, or too deep within one another")
		}
		d.left = -2
		return
	}
	if _, seen := d.lines[path]; !seen {
		d.lines[path] = line
	}
	if n.Tag == "!!null" {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, depth)
	case reflect.Struct:
		d.fields(n, v, path, depth)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.bad(line, "%s: want a list", last(path))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, e := range n.Content {
			d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	default:
		// A float would be cut to a whole number.
		if n.Kind != yaml.ScalarNode || v.CanInt() && n.ShortTag() != "!!int" || n.Decode(v.Addr().Interface()) != nil {
			d.bad(line, "%s: want %s", last(path), wanted(v.Kind()))
		}
	}
}

func (d *decoder) fields(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		what := last(path)
		if what == "" {
			what = "the file"
		}
		d.bad(n.Line, "%s: want names with values", what)
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = v.Field(i)
			names = append(names, name)
		}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		f, ok := fields[key.Value]
		first, twice := seen[key.Value]
		switch {
		case !ok:
			d.bad(key.Line, "unknown field %q: there are %s", key.Value, strings.Join(names, ", "))
			continue
		case twice:
			d.bad(key.Line, "%s is there twice, first in line %d", key.Value, first)
			continue
		}
		seen[key.Value] = key.Line
		at := key.Value
		if path != "" {
			at = path + "." + at
		}
		d.lines[at] = key.Line
		d.value(n.Content[i+1], f, at, depth+1)
	}
}

// last is the last name of a path.
func last(path string) string { return path[strings.LastIndex(path, ".")+1:] }

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	}
	return "a whole number"
}
