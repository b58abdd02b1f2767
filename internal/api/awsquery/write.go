// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Write sends the successful answer of an operation in the service's dialect.
func Write(w http.ResponseWriter, s Service, requestID, op string, out any) error {
	switch s.Dialect {
	case EC2:
		return WriteEC2(w, requestID, op, out)
	case REST:
		return WriteREST(w, s, requestID, op, out)
	}
	return WriteQuery(w, s, requestID, op, out)
}

// WriteError sends an error in the service's dialect.
func WriteError(w http.ResponseWriter, s Service, requestID string, status int, code, message string) error {
	if s.Dialect == EC2 {
		return WriteEC2Error(w, requestID, status, code, message)
	}
	return WriteQueryError(w, s, requestID, status, code, message)
}

// Void is the output of an EC2 operation that answers only <return>true</return>.
type Void struct {
	Return bool `xml:"return"`
}

// WriteEC2 sends the successful answer of an EC2 operation: root <opResponse> in EC2's
// namespace, requestId first, then out's elements. out is a struct or a pointer to
// one; nil is Void{true}. When out cannot be encoded, which is a mistake in its type,
// nothing has been written and the caller should answer InternalError.
func WriteEC2(w http.ResponseWriter, requestID, op string, out any) error {
	if out == nil {
		out = Void{Return: true}
	}
	if !isElementName(op) {
		return fmt.Errorf("operation name %q cannot be an element name", clip(op))
	}
	enc := encoder{dialect: EC2}
	root := op + "Response"
	enc.root(root, ServiceEC2.Namespace)
	enc.leaf("requestId", requestID)
	if err := enc.members(out); err != nil {
		return fmt.Errorf("encode %s: %w", root, err)
	}
	enc.close(root)
	// A client that has gone is no mistake, and nobody can be told.
	_ = enc.send(w, requestID, http.StatusOK)
	return nil
}

// WriteQuery sends the successful answer of an AWS Query operation: <opResponse> in
// the service's namespace with <opResult> and <ResponseMetadata>. A nil out is an
// empty result. Errors are as for WriteEC2.
func WriteQuery(w http.ResponseWriter, s Service, requestID, op string, out any) error {
	if !isElementName(op) {
		return fmt.Errorf("operation name %q cannot be an element name", clip(op))
	}
	enc := encoder{dialect: Query}
	root, result := op+"Response", op+"Result"
	enc.root(root, s.Namespace)
	enc.open(result)
	if err := enc.members(out); err != nil {
		return fmt.Errorf("encode %s: %w", root, err)
	}
	enc.close(result)
	enc.open("ResponseMetadata")
	enc.leaf("RequestId", requestID)
	enc.close("ResponseMetadata")
	enc.close(root)
	// A client that has gone is no mistake, and nobody can be told.
	_ = enc.send(w, requestID, http.StatusOK)
	return nil
}

// ErrorObserver is a ResponseWriter that wants to know which error it carries.
type ErrorObserver interface {
	http.ResponseWriter
	// ObserveError is called once before the error is written.
	ObserveError(code, message string)
}

func observe(w http.ResponseWriter, code, message string) {
	if o, ok := w.(ErrorObserver); ok {
		o.ObserveError(code, message)
	}
}

// WriteEC2Error sends an EC2 error. The code has no Client. or Server. prefix. EC2
// spells RequestID so and uses no namespace.
func WriteEC2Error(w http.ResponseWriter, requestID string, status int, code, message string) error {
	observe(w, code, message)
	enc := encoder{dialect: EC2}
	enc.buf.WriteString(xmlHeader)
	enc.open("Response")
	enc.open("Errors")
	enc.open("Error")
	enc.leaf("Code", code)
	enc.leaf("Message", message)
	enc.close("Error")
	enc.close("Errors")
	enc.leaf("RequestID", requestID)
	enc.close("Response")
	return enc.send(w, requestID, status)
}

// WriteQueryError sends an AWS Query error; its type is Receiver for a 5xx status and
// Sender for others.
func WriteQueryError(w http.ResponseWriter, s Service, requestID string, status int, code, message string) error {
	observe(w, code, message)
	enc := encoder{dialect: Query}
	fault := "Sender"
	if status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	enc.root("ErrorResponse", s.Namespace)
	enc.open("Error")
	enc.leaf("Type", fault)
	enc.leaf("Code", code)
	enc.leaf("Message", message)
	enc.close("Error")
	enc.leaf("RequestId", requestID)
	enc.close("ErrorResponse")
	return enc.send(w, requestID, status)
}

const xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>`

func (enc *encoder) root(name, namespace string) {
	enc.buf.WriteString(xmlHeader + "<" + name + ` xmlns="`)
	_ = xml.EscapeText(&enc.buf, []byte(namespace))
	enc.buf.WriteString(`">`)
}

// send writes headers and body. A Date that the caller has set stays; SDKs correct their
// clocks by it. The error is that of the connection.
func (enc *encoder) send(w http.ResponseWriter, requestID string, status int) error {
	h := w.Header()
	h.Set("x-amzn-RequestId", requestID)
	h.Set("Content-Type", "text/xml;charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(enc.buf.Len()))
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.WriteHeader(status)
	if _, err := w.Write(enc.buf.Bytes()); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	return nil
}
