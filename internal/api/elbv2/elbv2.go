// SPDX-License-Identifier: Apache-2.0

// Package elbv2 is the Elastic Load Balancing v2 Query API (version
// 2015-12-01) for network load balancers: one file per family of actions.
// Each action is an input struct, an output struct and a function between
// them; awsquery reads and writes the structs, control does the work.
//
// An action is registered in its file's init. What is not registered answers
// InvalidAction by name; a parameter that is known to AWS and not honoured
// here is a refused field of the input and fails by name. Nothing is accepted
// and ignored: `stored` marks what is kept and shown but has no effect. Which
// attributes have an effect is control.AttributeSupports' to say.
package elbv2

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sort"

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

// view is the newest state; taken after an operation it shows its writes.
func (c *Call) view() vpc.View { return c.Control.View() }

// void is the output of actions that answer nothing.
type void struct{}

// action is one entry of the table.
type action struct {
	in, out reflect.Type
	run     func(call *Call, form *awsquery.Form) (any, error)
}

var actions = map[string]action{}

// register adds an action. fn gets the decoded input.
func register[In, Out any](name string, fn func(*Call, *In) (*Out, error)) {
	if _, dup := actions[name]; dup {
		panic("elbv2: action " + name + " registered twice")
	}
	actions[name] = action{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), run: func(call *Call, form *awsquery.Form) (any, error) {
		in := new(In)
		if err := awsquery.Decode(awsquery.Query, form, in); err != nil {
			return nil, err
		}
		return fn(call, in)
	}}
}

// Actions lists the names of the actions that exist, sorted.
func Actions() []string {
	names := make([]string, 0, len(actions))
	for n := range actions {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Input is the type of an action's input struct, for the generated documents
// and the golden tests; nil if there is no such action.
func Input(name string) reflect.Type { return actions[name].in }

// Output is the type of an action's output struct, for the same.
func Output(name string) reflect.Type { return actions[name].out }

// Serve runs one request whose signature has been verified. A failure to send
// the answer is the connection's and has nobody to be told.
func Serve(w http.ResponseWriter, call *Call, form *awsquery.Form, requestID string) {
	a, ok := actions[form.Action]
	if !ok {
		_ = awsquery.WriteQueryError(w, awsquery.ServiceELBv2, requestID, http.StatusBadRequest, "InvalidAction",
			fmt.Sprintf("Could not find operation %.128s for version %.32s", form.Action, form.Version))
		return
	}
	out, err := a.run(call, form)
	if err != nil {
		code, status, msg := errorCode(err)
		if status == http.StatusInternalServerError {
			call.Control.Log.Error("internal error", "request", requestID, "action", form.Action, "error", err)
		}
		_ = awsquery.WriteQueryError(w, awsquery.ServiceELBv2, requestID, status, code, msg)
		return
	}
	if err := awsquery.WriteQuery(w, awsquery.ServiceELBv2, requestID, form.Action, out); err != nil {
		call.Control.Log.Error("answer cannot be written", "request", requestID, "action", form.Action, "error", err)
		_ = awsquery.WriteQueryError(w, awsquery.ServiceELBv2, requestID, http.StatusInternalServerError, "InternalFailure", "An internal error has occurred")
	}
}
