// SPDX-License-Identifier: Apache-2.0

// Package ec2 is the EC2 Query API (version 2016-11-15): one file per family
// of actions. Each action is an input struct, an output struct and a function
// between them; awsquery reads and writes the structs, control does the work.
//
// An action is registered in its file's init. What is not registered answers
// InvalidAction by name; a parameter that is known to AWS and not honoured
// here is a refused field of the input and answers UnsupportedOperation by
// name. Nothing is accepted and ignored: `stored` marks what is kept and
// shown but has no effect. docs/compatibility.md is generated from the same
// structs.
package ec2

import (
	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// Call is one authenticated request on its way through an action.
type Call = actions.Call

// DryRun is embedded by the inputs of actions that take DryRun.
type DryRun struct {
	DryRun bool `query:"DryRun"`
}

func (d DryRun) dryRun() bool { return d.DryRun }

// Page is embedded by the inputs of paginated describe actions.
type Page struct {
	MaxResults *int32 `query:"MaxResults"`
	NextToken  string `query:"NextToken"`
}

// Filter is one Filter.N.
type Filter struct {
	Name   string   `query:"Name,required"`
	Values []string `query:"Value"`
}

// void is the output of actions that answer only <return>true</return>.
type void struct {
	Return bool `xml:"return"`
}

var done = &void{Return: true}

// Actions holds the actions that exist.
var Actions = actions.Table{Service: awsquery.ServiceEC2, Code: errorCode}

// register adds an action. fn gets the decoded input; for a describe action
// (write false) DryRun is answered before fn runs.
func register[In, Out any](name string, write bool, fn func(*Call, *In) (*Out, error)) {
	actions.Add(&Actions, name, func(call *Call, in *In) (*Out, error) {
		if d, ok := any(in).(interface{ dryRun() bool }); ok && d.dryRun() {
			if !write {
				return nil, vpc.Errorf(vpc.DryRun, "", "", "Request would have succeeded, but DryRun flag is set.")
			}
			call.Caller.DryRun = true
		}
		return fn(call, in)
	})
}
