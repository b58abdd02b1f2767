// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of one request, besides its size in bytes.
const (
	// MaxParameters is the largest number of parameters.
	MaxParameters = 8192
	// MaxIndex is the largest list index.
	MaxIndex = 2000
	// MaxNameLength is the longest wire name, in bytes.
	MaxNameLength = 255
	// MaxNameDepth is the largest number of dot-separated pieces of a wire name.
	MaxNameDepth = 12
)

// Form is the parameters of one request, each with one value.
type Form struct {
	// Action and Version are the parameters of those names; empty when not sent.
	Action, Version string

	params map[string]string
}

// Parse reads the parameters of a request: those of the query string and, for
// a POST, those of the form-encoded body, together. It returns the body's raw
// bytes too, because the signature covers them. Both "+" and "%20" are a space
// and ";" is an ordinary character.
//
// Query-string names that begin with X-Amz- belong to a presigned URL's
// signature, not to the operation, and are left out.
//
// A body of more than maxBytes is KindTooLarge, and at most maxBytes+1 bytes of
// it are read. The other kinds are KindMalformed, KindMethod, KindDuplicate and
// KindTooMany; all errors are *Error.
func Parse(r *http.Request, maxBytes int64) (*Form, []byte, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, nil, &Error{Kind: KindMethod, Detail: "use GET or POST"}
	}
	body, err := ReadBody(r, maxBytes)
	if err != nil {
		return nil, nil, err
	}
	f := &Form{params: map[string]string{}}
	if err := f.addPairs(r.URL.RawQuery, true); err != nil {
		return nil, body, err
	}
	if r.Method == http.MethodPost && len(body) > 0 {
		if err := checkContent(r.Header); err != nil {
			return nil, body, err
		}
		if err := f.addPairs(string(body), false); err != nil {
			return nil, body, err
		}
	} else if len(body) > 0 {
		return nil, body, &Error{Kind: KindMalformed, Detail: "a GET request must not have a body"}
	}
	return f, body, nil
}

// FormOf makes a Form of values that are already decoded. The bounds and the
// rule of one value per name are those of Parse.
func FormOf(values url.Values) (*Form, error) {
	f := &Form{params: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[name] {
			if err := f.add(name, v); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// Has reports whether the parameter with this whole wire name was sent.
func (f *Form) Has(name string) bool { _, ok := f.params[name]; return ok }

// Get returns the value of the parameter with this whole wire name, or "".
func (f *Form) Get(name string) string { return f.params[name] }

// Len returns the number of parameters, without Action and Version.
func (f *Form) Len() int { return len(f.params) }

// Names returns the wire names of all parameters, sorted, without Action and Version.
func (f *Form) Names() []string { return slices.Sorted(maps.Keys(f.params)) }

// ReadBody reads a body of at most maxBytes; a longer one is KindTooLarge, and
// at most maxBytes+1 bytes of it are read.
func ReadBody(r *http.Request, maxBytes int64) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	if r.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBytes+1))
	if err != nil {
		// The connection broke, or the body's chunks are not what they say.
		return nil, &Error{Kind: KindMalformed, Detail: "the body could not be read to its end"}
	}
	if int64(len(body)) > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	return body, nil
}

func tooLarge(maxBytes int64) error {
	return &Error{Kind: KindTooLarge, Detail: fmt.Sprintf("at most %d bytes are accepted", maxBytes)}
}

// checkContent refuses bodies that are not a plain form. No content type at all is
// accepted: the protocols have no other kind of body.
func checkContent(h http.Header) error {
	if ce := h.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return &Error{Kind: KindMalformed, Detail: "the body must not have a content encoding"}
	}
	ct := h.Get("Content-Type")
	if ct == "" {
		return nil
	}
	if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != "application/x-www-form-urlencoded" {
		return &Error{Kind: KindMalformed, Detail: "the content type must be application/x-www-form-urlencoded"}
	}
	return nil
}

// addPairs adds the pairs of an encoded form. url.ParseQuery is not used because it refuses
// ";" and would let repeated names pile up.
func (f *Form) addPairs(raw string, queryString bool) error {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return &Error{Kind: KindMalformed, Parameter: rawName, Detail: "the name has a bad percent escape"}
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return &Error{Kind: KindMalformed, Parameter: name, Detail: "the value has a bad percent escape"}
		}
		if queryString && strings.HasPrefix(name, "X-Amz-") {
			continue
		}
		if err := f.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (f *Form) add(name, value string) error {
	switch {
	case name == "":
		return &Error{Kind: KindMalformed, Detail: "a parameter has no name"}
	case len(name) > MaxNameLength || strings.Count(name, ".") >= MaxNameDepth:
		return &Error{Kind: KindUnknown, Parameter: name, Detail: "the name is too long"}
	case !utf8.ValidString(name):
		return &Error{Kind: KindMalformed, Parameter: name, Detail: "the name is not UTF-8"}
	case !utf8.ValidString(value):
		return &Error{Kind: KindMalformed, Parameter: name, Detail: "the value is not UTF-8"}
	}
	var head *string
	switch name {
	case "Action":
		head = &f.Action
	case "Version":
		head = &f.Version
	}
	if head != nil {
		if *head != "" {
			return &Error{Kind: KindDuplicate, Parameter: name}
		}
		*head = value
		return nil
	}
	if _, dup := f.params[name]; dup {
		return &Error{Kind: KindDuplicate, Parameter: name}
	}
	if len(f.params) >= MaxParameters {
		return &Error{Kind: KindTooMany, Detail: fmt.Sprintf("at most %d are accepted", MaxParameters)}
	}
	f.params[name] = value
	return nil
}

// node is one piece of the wire names: a tree of the form's parameters.
type node struct {
	name     string // whole wire name up to here
	piece    string // the last piece of it
	value    string
	sent     bool    // a parameter has exactly this name
	children []*node // sorted by piece
}

// tree arranges the parameters by the pieces of their names. Its size is at most
// MaxParameters times MaxNameDepth small nodes, which share the names' bytes.
func (f *Form) tree() *node {
	names := make([]string, 0, len(f.params))
	for name := range f.params {
		names = append(names, name)
	}
	slices.SortFunc(names, comparePieces)
	root := &node{}
	for _, name := range names {
		n := root
		for at, more := 0, true; more; {
			var piece string
			piece, _, more = strings.Cut(name[at:], ".")
			at += len(piece)
			// The names are sorted by pieces, so equal pieces follow one another.
			if last := len(n.children) - 1; last >= 0 && n.children[last].piece == piece {
				n = n.children[last]
			} else {
				child := &node{name: name[:at], piece: piece}
				n.children = append(n.children, child)
				n = child
			}
			at++
		}
		n.value, n.sent = f.params[name], true
	}
	return root
}

// comparePieces orders names piece by piece: the dot sorts before all other bytes.
func comparePieces(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '.':
			return -1
		case b[i] == '.':
			return 1
		default:
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}

func join(prefix, piece string) string {
	if prefix == "" {
		return piece
	}
	return prefix + "." + piece
}

// child returns the child called piece, or nil.
func (n *node) child(piece string) *node {
	i, ok := slices.BinarySearchFunc(n.children, piece, func(c *node, p string) int { return strings.Compare(c.piece, p) })
	if !ok {
		return nil
	}
	return n.children[i]
}

// first returns the smallest whole name of a parameter at or below n, with its value.
func (n *node) first() (name, value string) {
	for !n.sent && len(n.children) > 0 {
		n = n.children[0]
	}
	return n.name, n.value
}

// leaves returns the whole names of the parameters at and below n.
func (n *node) leaves() []string {
	var out []string
	if n.sent {
		out = append(out, n.name)
	}
	for _, c := range n.children {
		out = append(out, c.leaves()...)
	}
	return out
}
