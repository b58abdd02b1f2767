// SPDX-License-Identifier: Apache-2.0

package awsjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern.dev/postern/internal/api/awsquery"
)

// targetHeader names the action of a request, after its service and a dot.
const targetHeader = "X-Amz-Target"

// ContentType is the type of bodies.
const ContentType = "application/x-amz-json-1.1"

// maxDepth bounds how deep a body may nest.
const maxDepth = 16

// Is reports whether a request is one of the JSON protocol.
func Is(r *http.Request) bool { return r.Header.Get(targetHeader) != "" }

// Target is what a request says its service is, "" if nothing.
func Target(r *http.Request) string {
	target, _, _ := strings.Cut(r.Header.Get(targetHeader), ".")
	return target
}

// Parse reads the parameters of a request, and the body's raw bytes, which the
// signature covers. Bounds and errors are those of awsquery.Parse.
func Parse(r *http.Request, maxBytes int64) (*awsquery.Form, []byte, error) {
	if r.Method != http.MethodPost {
		return nil, nil, &awsquery.Error{Kind: awsquery.KindMethod, Detail: "use POST"}
	}
	body, err := awsquery.ReadBody(r, maxBytes)
	if err != nil {
		return nil, nil, err
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != ContentType {
		return nil, body, malformed("the content type must be " + ContentType)
	}
	if ce := r.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return nil, body, malformed("the body must not have a content encoding")
	}
	values := url.Values{}
	if len(body) > 0 {
		if values, err = members(body); err != nil {
			return nil, body, err
		}
	}
	form, err := awsquery.FormOf(values)
	if err != nil {
		return nil, body, err
	}
	_, form.Action, _ = strings.Cut(r.Header.Get(targetHeader), ".")
	return form, body, nil
}

func malformed(detail string) error {
	return &awsquery.Error{Kind: awsquery.KindMalformed, Detail: detail}
}

// members flattens a JSON object.
func members(body []byte) (url.Values, error) {
	if !utf8.Valid(body) {
		return nil, malformed("the body is not UTF-8")
	}
	f := flattener{dec: json.NewDecoder(bytes.NewReader(body)), values: url.Values{}}
	f.dec.UseNumber()
	if t, err := f.dec.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed("the body must be a JSON object")
	}
	if _, err := f.object("", 1); err != nil {
		return nil, err
	}
	if _, err := f.dec.Token(); err != io.EOF {
		return nil, malformed("something follows the JSON object")
	}
	return f.values, nil
}

type flattener struct {
	dec    *json.Decoder
	values url.Values
}

// object reads the members of an object whose brace has been read, and answers
// whether there is a value in it.
func (f *flattener) object(prefix string, depth int) (some bool, err error) {
	seen := map[string]bool{}
	for f.dec.More() {
		t, err := f.dec.Token()
		if err != nil {
			return false, malformed("the body is not JSON")
		}
		name := t.(string) // the decoder gives no other keys
		whole := prefix + name
		// Dots are ours, and these two names are the form's own.
		if name == "" || strings.Contains(name, ".") || prefix == "" && (name == "Action" || name == "Version") {
			return false, &awsquery.Error{Kind: awsquery.KindUnknown, Parameter: whole}
		}
		if seen[name] {
			return false, &awsquery.Error{Kind: awsquery.KindDuplicate, Parameter: whole}
		}
		seen[name] = true
		sent, err := f.value(whole, depth)
		if err != nil {
			return false, err
		}
		some = some || sent
	}
	if _, err := f.dec.Token(); err != nil {
		return false, malformed("the body is not JSON")
	}
	return some, nil
}

// value reads one value, and answers whether it stands for anything.
func (f *flattener) value(name string, depth int) (bool, error) {
	if len(name) > awsquery.MaxNameLength || depth > maxDepth {
		return false, &awsquery.Error{Kind: awsquery.KindUnknown, Parameter: name, Detail: "the name is too long"}
	}
	t, err := f.dec.Token()
	if err != nil {
		return false, malformed("the body is not JSON")
	}
	switch t := t.(type) {
	case nil:
		return false, nil
	case bool:
		f.values.Add(name, strconv.FormatBool(t))
	case json.Number:
		f.values.Add(name, t.String())
	case string:
		f.values.Add(name, t)
	case json.Delim:
		if t == '{' {
			return f.object(name+".", depth+1)
		}
		return true, f.list(name, depth+1)
	}
	return true, nil
}

func (f *flattener) list(name string, depth int) error {
	n := 0
	for f.dec.More() {
		n++
		if n > awsquery.MaxIndex {
			return &awsquery.Error{Kind: awsquery.KindTooMany, Parameter: name}
		}
		at := name + ".member." + strconv.Itoa(n)
		sent, err := f.value(at, depth)
		if err != nil {
			return err
		}
		if !sent {
			return &awsquery.Error{Kind: awsquery.KindInvalid, Parameter: at, Detail: "it is empty"}
		}
	}
	if _, err := f.dec.Token(); err != nil {
		return malformed("the body is not JSON")
	}
	if n == 0 {
		f.values.Add(name, "")
	}
	return nil
}

// Write sends the successful answer of an operation. When out cannot be encoded,
// which is a mistake in its type, nothing has been written.
func Write(w http.ResponseWriter, requestID string, out any) error {
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	// A client that has gone is no mistake, and nobody can be told.
	_ = send(w, requestID, http.StatusOK, body)
	return nil
}

// WriteError sends an error.
func WriteError(w http.ResponseWriter, requestID string, status int, code, message string) error {
	if o, ok := w.(awsquery.ErrorObserver); ok {
		o.ObserveError(code, message)
	}
	body, err := json.Marshal(struct {
		Type    string `json:"__type"`
		Message string `json:"Message"`
	}{code, message})
	if err != nil {
		return fmt.Errorf("encode error: %w", err)
	}
	w.Header().Set("x-amzn-ErrorType", code)
	return send(w, requestID, status, body)
}

func send(w http.ResponseWriter, requestID string, status int, body []byte) error {
	h := w.Header()
	h.Set("x-amzn-RequestId", requestID)
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	return nil
}
