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
	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
)

// Call is one authenticated request on its way through an action.
type Call = actions.Call

// void is the output of actions that answer nothing.
type void struct{}

// Actions holds the actions that exist.
var Actions = actions.Table{Service: awsquery.ServiceELBv2, Code: errorCode}

// register adds an action. fn gets the decoded input.
func register[In, Out any](name string, fn func(*Call, *In) (*Out, error)) {
	actions.Add(&Actions, name, fn)
}
