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
	"log/slog"
	"net/http"
	"reflect"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/authz"
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

// Authorize implements actions.Call.
func (c *Call) Authorize(service, action string, params authz.Params) error {
	return c.Control.Authorize(c.Caller, service, action, params)
}

// Log implements actions.Call.
func (c *Call) Log() *slog.Logger { return c.Control.Log }

// void is the output of actions that answer nothing.
type void struct{}

// table holds the actions.
var table = actions.Table[*Call]{
	Service: awsquery.ServiceELBv2,
	Code:    func(_ string, err error) (string, int, string) { return errorCode(err) },
}

// register adds an action. fn gets the decoded input.
func register[In, Out any](name string, fn func(*Call, *In) (*Out, error)) {
	actions.Add(&table, name, fn)
}

// Actions lists the names of the actions that exist, sorted.
func Actions() []string { return table.Names() }

// Input is the type of an action's input struct, for the generated documents
// and the golden tests; nil if there is no such action.
func Input(name string) reflect.Type { return table.Input(name) }

// Output is the type of an action's output struct, for the same.
func Output(name string) reflect.Type { return table.Output(name) }

// Serve runs one request whose signature has been verified.
func Serve(w http.ResponseWriter, call *Call, form *awsquery.Form, requestID string) {
	table.Serve(w, call, form, requestID)
}
