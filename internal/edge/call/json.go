// SPDX-License-Identifier: Apache-2.0

package call

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a JSON body: how deep it may go, and how deep it is kept. What is
// deeper is checked and left out.
const (
	maxJSONDepth  = 128
	keptJSONDepth = 10
)

// ErrJSON is a body that is not JSON, or that two parsers could read in two ways.
var ErrJSON = Refuse("SerializationException", "The request body is not well-formed JSON.")

// Object is a JSON object. Its values are strings, json.Number, bool, nil, []any
// and Object, or torn.
type Object map[string]any

// torn is a text with half of a surrogate pair in it: some decoders write U+FFFD
// for it, others keep it.
type torn struct{}

// ParseJSON reads a body that is one object. A name that appears twice in an
// object is refused, and so is text after it.
func ParseJSON(body []byte) (Object, *Error) {
	if !utf8.Valid(body) {
		return nil, ErrJSON
	}
	d := jsonReader{json.NewDecoder(bytes.NewReader(body)), body}
	d.UseNumber()
	v, ok := d.value(0)
	if !ok {
		return nil, ErrJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, ErrJSON
	}
	o, ok := v.(Object)
	if !ok {
		return nil, ErrJSON
	}
	return o, nil
}

type jsonReader struct {
	*json.Decoder
	body []byte
}

func (d jsonReader) value(depth int) (any, bool) {
	from := d.InputOffset()
	t, err := d.Token()
	if err != nil || depth > maxJSONDepth {
		return nil, false
	}
	if s, ok := t.(string); ok && strings.ContainsRune(s, utf8.RuneError) && halfPair(d.body[from:d.InputOffset()]) {
		return torn{}, true
	}
	switch t {
	case json.Delim('{'):
		o := Object{}
		for d.More() {
			k, err := d.Token()
			name, ok := k.(string)
			if err != nil || !ok {
				return nil, false
			}
			if _, twice := o[name]; twice {
				return nil, false
			}
			v, ok := d.value(depth + 1)
			if !ok {
				return nil, false
			}
			if depth > keptJSONDepth {
				v = nil
			}
			o[name] = v
		}
		_, err := d.Token()
		return o, err == nil
	case json.Delim('['):
		l := []any{}
		for d.More() {
			v, ok := d.value(depth + 1)
			if !ok {
				return nil, false
			}
			if depth <= keptJSONDepth {
				l = append(l, v)
			}
		}
		_, err := d.Token()
		return l, err == nil
	}
	return t, true
}

// halfPair reports whether a JSON string escapes one half of a surrogate pair
// without the other.
func halfPair(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; raw[i] != 'u' {
			continue
		}
		switch first := escaped(raw[i-1:]); {
		case utf16.IsSurrogate(first) && utf16.DecodeRune(first, escaped(raw[i+5:])) == utf8.RuneError:
			return true
		case utf16.IsSurrogate(first):
			i += 6 // over the other half
		}
	}
	return false
}

// escaped is what begins with \uXXXX, -1 for another beginning.
func escaped(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// badMember is a member of the wrong kind, or one that some parsers take for
// another.
func badMember(name string) *Error {
	return Refuse("SerializationException", "The member %s is not as the service expects it.", Cut(name, 64))
}

// member finds a member. One whose name differs in letter case only is refused:
// some parsers would take it.
func (o Object) member(name string) (any, *Error) {
	for k := range o {
		if k != name && strings.EqualFold(k, name) {
			return nil, badMember(k)
		}
	}
	return o[name], nil
}

// plain reports whether a name can be compared: a decoder writes U+FFFD for
// what it could not read, and another may have read it.
func plain(s string) bool { return Text(s) && !strings.ContainsRune(s, utf8.RuneError) }

// String is a member that is a text, "" if it is not there.
func (o Object) String(name string) (string, *Error) {
	v, e := o.member(name)
	if e != nil || v == nil {
		return "", e
	}
	s, ok := v.(string)
	if !ok || !Text(s) {
		return "", badMember(name)
	}
	return s, nil
}

// Object is a member that is an object, nil if it is not there.
func (o Object) Object(name string) (Object, *Error) {
	v, e := o.member(name)
	if e != nil || v == nil {
		return nil, e
	}
	out, ok := v.(Object)
	if !ok {
		return nil, badMember(name)
	}
	return out, nil
}

// List is a member that is a list, nil if it is not there.
func (o Object) List(name string) ([]any, *Error) {
	v, e := o.member(name)
	if e != nil || v == nil {
		return nil, e
	}
	out, ok := v.([]any)
	if !ok {
		return nil, badMember(name)
	}
	return out, nil
}

// Objects is a member that is a list of objects.
func (o Object) Objects(name string) ([]Object, *Error) {
	list, e := o.List(name)
	if e != nil {
		return nil, e
	}
	var out []Object
	for _, v := range list {
		x, ok := v.(Object)
		if !ok {
			return nil, badMember(name)
		}
		out = append(out, x)
	}
	return out, nil
}

// Strings is a member that is a list of texts.
func (o Object) Strings(name string) ([]string, *Error) {
	list, e := o.List(name)
	if e != nil {
		return nil, e
	}
	var out []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok || !Text(s) {
			return nil, badMember(name)
		}
		out = append(out, s)
	}
	return out, nil
}

// Keys are the names of the members in order; false if one cannot be compared.
func (o Object) Keys() ([]string, bool) {
	out := make([]string, 0, len(o))
	for k := range o {
		if !plain(k) {
			return nil, false
		}
		out = append(out, k)
	}
	slices.Sort(out)
	return out, true
}

// ReadTarget reads the head of a request of AWS's JSON protocols: POST to "/" with
// the operation in X-Amz-Target. The operation is "" if the target is not the
// service's; a claim must be for one of the signing names.
func ReadTarget(r Request, prefix string, signing ...string) (c *Call, operation string, _ *Error) {
	c, path, q, e := ReadHead(r, signing...)
	if e != nil {
		return nil, "", e
	}
	if r.Method != http.MethodPost || path != "/" || len(q.Plain) > 0 {
		return c, "", nil
	}
	if e := PlainBody(r.Header); e != nil {
		return nil, "", e
	}
	operation, ok := strings.CutPrefix(q.Amz("x-amz-target"), prefix+".")
	if !ok || q.InQuery["x-amz-target"] {
		return c, "", nil
	}
	return c, operation, nil
}

// ReadHead reads what requests of all protocols have: the path, undecoded, the
// query and the claim.
func ReadHead(r Request, signing ...string) (c *Call, path string, q *Query, _ *Error) {
	path, rawQuery, e := SplitURI(r.URI)
	if e != nil {
		return nil, "", nil, e
	}
	if e := CheckHeaders(r.Header); e != nil {
		return nil, "", nil, e
	}
	c = New()
	if q, e = ParseQuery(rawQuery, r.Header); e != nil {
		return nil, "", nil, e
	}
	if c.Claim, e = ReadClaim(r.Header, q, signing...); e != nil {
		return nil, "", nil, e
	}
	if e := c.Claim.CheckOverriding(r.Header); e != nil {
		return nil, "", nil, e
	}
	c.Set("aws:UserAgent", r.Header.Get("User-Agent"))
	c.Set("aws:Referer", r.Header.Get("Referer"))
	return c, path, q, nil
}

// Whole makes f read the whole body, at most max bytes.
func (c *Call) Whole(max int64, f func(body []byte) *Error) {
	c.Body = func(r io.Reader) (io.Reader, *Error) {
		body, e := ReadAll(r, max)
		if e == nil {
			e = f(body)
		}
		return bytes.NewReader(body), e
	}
}

// SetTags sets the condition keys of tags that a request gives.
func (c *Call) SetTags(key, value string) *Error {
	name := "aws:RequestTag/" + key
	if _, twice := c.Context[name]; twice || key == "" {
		return Refuse(InvalidRequest, "The tag %q appears twice.", Cut(key, 128))
	}
	c.Context[name] = []string{value}
	c.Context["aws:TagKeys"] = append(c.Context["aws:TagKeys"], key)
	return nil
}
