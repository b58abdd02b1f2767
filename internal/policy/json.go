// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a document. A real policy needs six levels:
// document, Statement, statement, Condition, operator, list of values.
const maxDepth = 8

type nodeKind int

const (
	kindNull nodeKind = iota
	kindString
	kindNumber
	kindBool
	kindList
	kindObject
)

func (k nodeKind) String() string {
	return [...]string{"null", "a string", "a number", "a boolean", "a list", "an object"}[k]
}

// node is one JSON value that remembers the order of object members, which
// encoding/json's maps and structs do not, and whose numbers are still text.
type node struct {
	kind    nodeKind
	text    string // of a string, number or boolean
	list    []node
	members []member
}

type member struct {
	name  string
	value node
}

func (n *node) get(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].value
		}
	}
	return nil
}

// decode reads exactly one JSON value and refuses what encoding/json lets pass:
// duplicate members, invalid UTF-8, trailing data and deep nesting.
func decode(doc []byte) (node, error) {
	if !utf8.Valid(doc) {
		return node{}, errors.New("is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	n, err := decodeValue(dec, 1)
	if err != nil {
		return node{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return node{}, fmt.Errorf("has something after the closing brace, near byte %d", dec.InputOffset())
	}
	return n, nil
}

func decodeValue(dec *json.Decoder, depth int) (node, error) {
	tok, err := nextToken(dec)
	if err != nil {
		return node{}, err
	}
	switch t := tok.(type) {
	case string:
		return node{kind: kindString, text: t}, nil
	case json.Number:
		return node{kind: kindNumber, text: t.String()}, nil
	case bool:
		return node{kind: kindBool, text: fmt.Sprint(t)}, nil
	case json.Delim:
		if depth > maxDepth {
			return node{}, fmt.Errorf("is nested deeper than %d levels", maxDepth)
		}
		if t == '{' {
			return decodeObject(dec, depth)
		}
		return decodeList(dec, depth)
	}
	return node{kind: kindNull}, nil
}

func decodeObject(dec *json.Decoder, depth int) (node, error) {
	n := node{kind: kindObject}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := nextToken(dec)
		if err != nil {
			return node{}, err
		}
		name, ok := tok.(string)
		if !ok {
			return node{}, fmt.Errorf("is not valid JSON near byte %d", dec.InputOffset())
		}
		if seen[name] {
			return node{}, fmt.Errorf("has the field %s twice in one object, near byte %d", quote(name), dec.InputOffset())
		}
		seen[name] = true
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name, v})
	}
	_, err := nextToken(dec)
	return n, err
}

func decodeList(dec *json.Decoder, depth int) (node, error) {
	n := node{kind: kindList}
	for dec.More() {
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return node{}, err
		}
		n.list = append(n.list, v)
	}
	_, err := nextToken(dec)
	return n, err
}

func nextToken(dec *json.Decoder) (json.Token, error) {
	tok, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("is not valid JSON near byte %d: %w", dec.InputOffset(), err)
	}
	return tok, nil
}

// maxQuoted bounds how much of a hostile value enters an error or a reason.
const maxQuoted = 200

// quote makes s safe for a one-line message: quoted, escaped and cut.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return fmt.Sprintf("%q", s)
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q...", s[:cut])
}
