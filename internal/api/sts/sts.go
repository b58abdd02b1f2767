// SPDX-License-Identifier: Apache-2.0

// Package sts is the part of the STS Query API (version 2011-06-15) that
// clients of the other services need: GetCallerIdentity. There are no roles
// and no temporary credentials; every other action answers InvalidAction by
// name. It needs no permission: who has signed may learn who they are.
package sts

import (
	"fmt"
	"net/http"
	"reflect"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
)

// GetCallerIdentityInput is the input of GetCallerIdentity: nothing.
type GetCallerIdentityInput struct{}

// GetCallerIdentityOutput is the output of GetCallerIdentity. Callers are the
// roots of their accounts, whose user id is the account.
type GetCallerIdentityOutput struct {
	UserID  string `xml:"UserId"`
	Account string `xml:"Account"`
	Arn     string `xml:"Arn"`
}

// Actions lists the names of the actions that exist.
func Actions() []string { return []string{"GetCallerIdentity"} }

// Input is the type of an action's input struct, nil if there is no such action.
func Input(name string) reflect.Type {
	if name != "GetCallerIdentity" {
		return nil
	}
	return reflect.TypeFor[GetCallerIdentityInput]()
}

// Output is the type of an action's output struct, nil if there is no such action.
func Output(name string) reflect.Type {
	if name != "GetCallerIdentity" {
		return nil
	}
	return reflect.TypeFor[GetCallerIdentityOutput]()
}

// Serve runs one request whose signature has been verified.
func Serve(w http.ResponseWriter, caller control.Caller, form *awsquery.Form, requestID string) {
	fail := func(status int, code, message string) {
		_ = awsquery.WriteQueryError(w, awsquery.ServiceSTS, requestID, status, code, message)
	}
	if form.Action != "GetCallerIdentity" {
		fail(http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %.128s for version %.32s", form.Action, form.Version))
		return
	}
	var in GetCallerIdentityInput
	if err := awsquery.Decode(awsquery.Query, form, &in); err != nil {
		code, status, message := "InternalFailure", http.StatusInternalServerError, "An internal error has occurred"
		if q, ok := err.(*awsquery.Error); ok {
			code, status = q.Code(awsquery.Query)
			message = q.Message()
		}
		fail(status, code, message)
		return
	}
	arn := caller.ARN
	if arn == "" {
		arn = caller.Account.RootARN()
	}
	_ = awsquery.WriteQuery(w, awsquery.ServiceSTS, requestID, form.Action,
		&GetCallerIdentityOutput{UserID: string(caller.Account), Account: string(caller.Account), Arn: arn})
}
