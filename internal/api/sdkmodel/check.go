// SPDX-License-Identifier: Apache-2.0

package sdkmodel

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/internal/api/awsquery"
)

// CheckType holds an output struct type against the shape of the answer. It
// returns what an answer made from the type could have wrong: an element the
// model does not have there under exactly that name, another type, or another
// wrapping of a list. Nil means that whatever is answered, every client reads
// it; what the model has and the type has not is not a problem but Absent's.
func CheckType(d awsquery.Dialect, t reflect.Type, s *Shape) []string {
	c := checker{dialect: d}
	if d == awsquery.EC2 && len(s.Members) == 0 {
		// An operation without output answers <return>true</return>, which the model does not say.
		s = &Shape{Kind: Structure, Members: map[string]*Shape{"return": {Kind: Boolean}}}
	}
	c.structure("", t, s, nil)
	return c.problems
}

type checker struct {
	dialect  awsquery.Dialect
	problems []string
}

func (c *checker) add(path, format string, args ...any) {
	c.problems = append(c.problems, path+": "+fmt.Sprintf(format, args...))
}

func (c *checker) structure(path string, t reflect.Type, s *Shape, within []reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if slices.Contains(within, t) {
		return
	}
	within = append(slices.Clone(within), t)
	elements, err := elementsOf(c.dialect, t)
	if err != nil {
		c.add(path, "%v", err)
		return
	}
	for _, e := range elements {
		at := join(path, e.Name)
		member := s.Members[e.Name]
		if member == nil {
			c.add(at, "not in the model%s", near(e.Name, s))
			continue
		}
		c.value(at, e.Type, e.Item, member, within)
	}
}

func (c *checker) value(path string, t reflect.Type, item string, s *Shape, within []reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	kind := awsquery.KindOf(t)
	switch {
	case kind == "" && t.Kind() == reflect.Slice:
		if s.Kind != List {
			c.add(path, "is a list here and a %s in the model", s.Kind)
			return
		}
		if item != s.Item {
			c.add(path, "its children are called %q here and %q in the model", item, s.Item)
		}
		c.value(path+"/"+s.Item, t.Elem(), "", s.Elem, within)
	case kind == "" && t.Kind() == reflect.Map:
		if s.Kind != Map {
			c.add(path, "is a map here and a %s in the model", s.Kind)
			return
		}
		c.value(path+"/value", t.Elem(), "", s.Elem, within)
	case kind == "":
		if s.Kind != Structure {
			c.add(path, "is a structure here and a %s in the model", s.Kind)
			return
		}
		c.structure(path, t, s, within)
	case !compatible(Kind(kind), s.Kind):
		c.add(path, "is a %s here and a %s in the model", kind, s.Kind)
	}
}

// compatible says whether every text that we write for one kind can be read
// as the other. All integers are decimal; how large they get is not the type's to say.
func compatible(ours, model Kind) bool {
	if ours == model {
		return true
	}
	number := ours == Integer || ours == Long
	return number && (model == Integer || model == Long || model == Double)
}

// near names an element that differs only in case.
func near(name string, s *Shape) string {
	for _, n := range s.Names() {
		if strings.EqualFold(n, name) {
			return ": there it is spelled " + n
		}
	}
	return ""
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// Absent lists the elements of the model that an output type never has, as
// paths, sorted. An absent structure or list is one path, without what is in it.
func Absent(d awsquery.Dialect, t reflect.Type, s *Shape) []string {
	var out []string
	absent(d, "", t, s, nil, &out)
	slices.Sort(out)
	return out
}

func absent(d awsquery.Dialect, path string, t reflect.Type, s *Shape, within []reflect.Type, out *[]string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && awsquery.KindOf(t) == "" {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || awsquery.KindOf(t) != "" || slices.Contains(within, t) {
		return
	}
	for s.Kind == List {
		s = s.Elem
	}
	within = append(slices.Clone(within), t)
	elements, err := elementsOf(d, t)
	if err != nil || s.Kind != Structure {
		return // CheckType says so
	}
	have := map[string]awsquery.Element{}
	for _, e := range elements {
		have[e.Name] = e
	}
	for _, name := range s.Names() {
		e, ok := have[name]
		if !ok {
			*out = append(*out, join(path, name))
			continue
		}
		absent(d, join(path, name), e.Type, s.Members[name], within, out)
	}
}

// CheckAnswer holds one successful answer, as sent, against the model: names,
// case, place, the text of every scalar, and the values of enums. accept may
// allow a value that the model's enum does not have; nil allows none.
func CheckAnswer(svc awsquery.Service, action string, body []byte, s *Shape, accept func(path, value string) bool) []string {
	a := answerChecker{accept: accept}
	if svc.Dialect == awsquery.JSON {
		result, err := parseJSON(body)
		if err != nil {
			return []string{err.Error()}
		}
		a.value("", result, s)
		return a.problems
	}
	root, err := parse(body)
	if err != nil {
		return []string{err.Error()}
	}
	if want := action + "Response"; root.name != want || root.space != svc.Namespace {
		a.add("", "the root is %s in %q, want %s in %q", root.name, root.space, want, svc.Namespace)
	}
	if svc.Dialect == awsquery.REST { // the request's id is in a header
		a.value("", root, s)
		return a.problems
	}
	meta, result := "requestId", root
	if svc.Dialect == awsquery.Query {
		meta, result = "ResponseMetadata", &node{}
		for _, c := range root.children {
			switch c.name {
			case action + "Result":
				result = c
			case meta:
			default:
				a.add(c.name, "beside the result")
			}
		}
	}
	found := 0
	for _, c := range root.children {
		if c.name == meta {
			found++
		}
	}
	if found != 1 {
		a.add(meta, "is there %d times", found)
	}
	if svc.Dialect == awsquery.EC2 {
		if len(s.Members) == 0 {
			s = &Shape{Kind: Structure, Members: map[string]*Shape{"return": {Kind: Boolean}}}
		}
		result = &node{children: slices.DeleteFunc(slices.Clone(root.children), func(c *node) bool { return c.name == meta })}
	}
	a.value("", result, s)
	return a.problems
}

type answerChecker struct {
	accept   func(path, value string) bool
	problems []string
}

func (a *answerChecker) add(path, format string, args ...any) {
	a.problems = append(a.problems, path+": "+fmt.Sprintf(format, args...))
}

func (a *answerChecker) value(path string, n *node, s *Shape) {
	switch s.Kind {
	case Structure:
		seen := map[string]bool{}
		for _, c := range n.children {
			at := join(path, c.name)
			member := s.Members[c.name]
			if member == nil {
				a.add(at, "not in the model%s", near(c.name, s))
				continue
			}
			if seen[c.name] {
				a.add(at, "is there twice")
			}
			seen[c.name] = true
			a.value(at, c, member)
		}
		a.noText(path, n)
	case List:
		for _, c := range n.children {
			if c.name != s.Item {
				a.add(join(path, c.name), "is in a list of %s", s.Item)
				continue
			}
			a.value(join(path, c.name), c, s.Elem)
		}
		a.noText(path, n)
	case Map:
		for _, c := range n.children {
			if c.name != "entry" || len(c.children) != 2 || c.children[0].name != "key" || c.children[1].name != "value" {
				a.add(join(path, c.name), "is no entry of a map")
				continue
			}
			a.value(join(path, "value"), c.children[1], s.Elem)
		}
	default:
		if len(n.children) > 0 {
			a.add(path, "has elements and is a %s", s.Kind)
			return
		}
		a.scalar(path, n.text, s)
	}
}

func (a *answerChecker) noText(path string, n *node) {
	if strings.TrimSpace(n.text) != "" {
		a.add(path, "has the text %q beside elements", n.text)
	}
}

func (a *answerChecker) scalar(path, text string, s *Shape) {
	var err error
	switch s.Kind {
	case Boolean:
		if text != "true" && text != "false" {
			err = fmt.Errorf("neither true nor false")
		}
	case Integer:
		_, err = strconv.ParseInt(text, 10, 32)
	case Long:
		_, err = strconv.ParseInt(text, 10, 64)
	case Double:
		_, err = strconv.ParseFloat(text, 64)
	case Timestamp:
		_, err = time.Parse("2006-01-02T15:04:05.000Z", text)
	case Blob:
		_, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		a.add(path, "%q is no %s", text, s.Kind)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, text) && (a.accept == nil || !a.accept(path, text)) {
		a.add(path, "%q is none of %s", text, strings.Join(s.Enum, ", "))
	}
}

// node is one XML element.
type node struct {
	space, name, text string
	children          []*node
}

func parse(body []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	top := &node{}
	stack := []*node{top}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		last := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			n := &node{space: tok.Name.Space, name: tok.Name.Local}
			last.children = append(last.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			last.text += string(tok)
		}
	}
	if len(top.children) != 1 {
		return nil, fmt.Errorf("%d root elements", len(top.children))
	}
	return top.children[0], nil
}
