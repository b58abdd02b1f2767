// SPDX-License-Identifier: Apache-2.0

// Package actions is the table of a service's actions: what each is called,
// what its input is, and the way of a call through it, which is the same for
// all: decode the form, ask whether the caller may, run, encode.
//
// A caller that may not make a call learns so after its parameters were read
// and before anything was looked up for it.
package actions

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sort"

	"postern.dev/postern/internal/api/awsjson"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// Call is one authenticated request on its way through an action.
type Call struct {
	Context context.Context
	Control *control.Control
	Caller  control.Caller
}

// View is the newest state; taken after an operation it shows its writes.
func (c *Call) View() vpc.View { return c.Control.View() }

// Table is the actions of a service. The zero value lacks Service and Code.
type Table struct {
	// Service says how answers are written.
	Service awsquery.Service
	// Code turns an error into AWS's code, HTTP status and message.
	Code func(action string, err error) (code string, status int, message string)
	// Free are the actions that need no permission.
	Free map[string]bool

	entries map[string]entry
}

type entry struct {
	in, out reflect.Type
	run     func(call *Call, form *awsquery.Form) (any, error)
}

// Add adds an action; fn gets the decoded input. It is for init functions and
// panics when the name is taken.
func Add[In, Out any](t *Table, name string, fn func(*Call, *In) (*Out, error)) {
	if _, dup := t.entries[name]; dup {
		panic(t.Service.Name + ": action " + name + " registered twice")
	}
	if t.entries == nil {
		t.entries = map[string]entry{}
	}
	t.entries[name] = entry{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), run: func(call *Call, form *awsquery.Form) (any, error) {
		in := new(In)
		if err := awsquery.Decode(t.Service.Dialect, form, in); err != nil {
			return nil, err
		}
		if !t.Free[name] {
			if err := call.Control.Authorize(call.Caller, t.Service.Name, name, form); err != nil {
				return nil, err
			}
		}
		return fn(call, in)
	}}
}

// Names lists the actions that exist, sorted.
func (t *Table) Names() []string {
	names := make([]string, 0, len(t.entries))
	for n := range t.entries {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Input is the type of an action's input struct, for the generated documents
// and the golden tests; nil if there is no such action.
func (t *Table) Input(name string) reflect.Type { return t.entries[name].in }

// Output is the type of an action's output struct, for the same.
func (t *Table) Output(name string) reflect.Type { return t.entries[name].out }

// Serve runs one request whose signature has been verified. A failure to send
// the answer is the connection's and has nobody to be told.
func (t *Table) Serve(w http.ResponseWriter, call *Call, form *awsquery.Form, requestID string) {
	a, ok := t.entries[form.Action]
	if !ok && t.Service.Dialect == awsquery.JSON {
		_ = awsjson.WriteError(w, requestID, http.StatusBadRequest, "UnknownOperationException", fmt.Sprintf("Could not find operation %.128s", form.Action))
		return
	}
	if !ok {
		message := fmt.Sprintf("Could not find operation %.128s for version %.32s", form.Action, form.Version)
		if t.Service.Dialect == awsquery.EC2 {
			message = fmt.Sprintf("The action %.128s is not valid for this web service.", form.Action)
		}
		_ = awsquery.WriteError(w, t.Service, requestID, http.StatusBadRequest, "InvalidAction", message)
		return
	}
	out, err := a.run(call, form)
	if err != nil {
		code, status, message := t.Code(form.Action, err)
		if status == http.StatusInternalServerError {
			call.Control.Log.Error("internal error", "request", requestID, "service", t.Service.Name, "action", form.Action, "error", err)
		}
		_ = WriteError(w, t.Service, requestID, status, code, message)
		return
	}
	if err := write(w, t.Service, requestID, form.Action, out); err != nil {
		call.Control.Log.Error("answer cannot be written", "request", requestID, "service", t.Service.Name, "action", form.Action, "error", err)
		code := "InternalFailure"
		if t.Service.Dialect == awsquery.EC2 {
			code = "InternalError"
		}
		_ = WriteError(w, t.Service, requestID, http.StatusInternalServerError, code, "An internal error has occurred")
	}
}

// WriteError sends an error in the service's protocol.
func WriteError(w http.ResponseWriter, s awsquery.Service, requestID string, status int, code, message string) error {
	if s.Dialect == awsquery.JSON {
		return awsjson.WriteError(w, requestID, status, code, message)
	}
	return awsquery.WriteError(w, s, requestID, status, code, message)
}

func write(w http.ResponseWriter, s awsquery.Service, requestID, action string, out any) error {
	if s.Dialect == awsquery.JSON {
		return awsjson.Write(w, requestID, out)
	}
	return awsquery.Write(w, s, requestID, action, out)
}
