// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
	at      int    // its first byte in the document
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

// decoder reads nodes.
type decoder struct {
	*json.Decoder
	doc []byte
}

// decode reads exactly one JSON value and refuses what encoding/json lets pass:
// duplicate members, invalid UTF-8, trailing data and deep nesting. at is where
// the problem is.
func decode(doc []byte) (n node, at int, err error) {
	if !utf8.Valid(doc) {
		for at < len(doc) {
			r, size := utf8.DecodeRune(doc[at:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			at += size
		}
		return node{}, at, errors.New("is not valid UTF-8")
	}
	dec := decoder{json.NewDecoder(bytes.NewReader(doc)), doc}
	dec.UseNumber()
	if n, err = dec.value(1); err != nil {
		return node{}, int(dec.InputOffset()), err
	}
	at = dec.next()
	if _, err := dec.Token(); err != io.EOF {
		return node{}, at, fmt.Errorf("has something after the closing brace, near byte %d", dec.InputOffset())
	}
	return n, 0, nil
}

// next is where the next token starts.
func (dec decoder) next() int {
	at := int(dec.InputOffset())
	for at < len(dec.doc) && strings.IndexByte(" \t\r\n:,", dec.doc[at]) >= 0 {
		at++
	}
	return at
}

func (dec decoder) value(depth int) (node, error) {
	at := dec.next()
	tok, err := dec.token()
	if err != nil {
		return node{}, err
	}
	switch t := tok.(type) {
	case string:
		return node{kind: kindString, text: t, at: at}, nil
	case json.Number:
		return node{kind: kindNumber, text: t.String(), at: at}, nil
	case bool:
		return node{kind: kindBool, text: fmt.Sprint(t), at: at}, nil
	case json.Delim:
		if depth > maxDepth {
			return node{}, fmt.Errorf("is nested deeper than %d levels", maxDepth)
		}
		if t == '{' {
			return dec.object(at, depth)
		}
		return dec.list(at, depth)
	}
	return node{kind: kindNull, at: at}, nil
}

func (dec decoder) object(at, depth int) (node, error) {
	n := node{kind: kindObject, at: at}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.token()
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
		v, err := dec.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name, v})
	}
	_, err := dec.token()
	return n, err
}

func (dec decoder) list(at, depth int) (node, error) {
	n := node{kind: kindList, at: at}
	for dec.More() {
		v, err := dec.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.list = append(n.list, v)
	}
	_, err := dec.token()
	return n, err
}

func (dec decoder) token() (json.Token, error) {
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
