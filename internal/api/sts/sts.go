// SPDX-License-Identifier: Apache-2.0

// Package sts is the part of the STS Query API (version 2011-06-15) that
// makes sessions and says who calls: AssumeRole, GetSessionToken and
// GetCallerIdentity. Every other action answers InvalidAction by name.
//
// No action here asks the caller's identity policies before it runs: who has
// signed may learn who they are and have a session of themselves, and whether
// a role may be assumed is for the role to say too.
package sts

import (
	"errors"
	"net/http"
	"time"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// Call is one authenticated request on its way through an action.
type Call = actions.Call

// Actions holds the actions that exist.
var Actions = actions.Table{
	Service: awsquery.ServiceSTS,
	Code:    errorCode,
	Free:    map[string]bool{"AssumeRole": true, "GetSessionToken": true, "GetCallerIdentity": true},
}

func init() {
	actions.Add(&Actions, "AssumeRole", assumeRole)
	actions.Add(&Actions, "GetSessionToken", getSessionToken)
	actions.Add(&Actions, "GetCallerIdentity", getCallerIdentity)
}

// Credentials is <Credentials>.
type Credentials struct {
	AccessKeyID     string    `xml:"AccessKeyId"`
	SecretAccessKey string    `xml:"SecretAccessKey"`
	SessionToken    string    `xml:"SessionToken"`
	Expiration      time.Time `xml:"Expiration"`
}

func credentials(c control.Credentials) Credentials {
	return Credentials{c.KeyID, c.Secret, c.Token, c.Expires}
}

// AssumeRoleInput is the input of AssumeRole.
type AssumeRoleInput struct {
	RoleArn         string  `query:"RoleArn,required"`
	RoleSessionName string  `query:"RoleSessionName,required"`
	DurationSeconds *int32  `query:"DurationSeconds"`
	ExternalID      *string `query:"ExternalId"`
	Policy          string  `query:"Policy"`

	_ awsquery.Refused `query:"PolicyArns,refuse"`
	_ awsquery.Refused `query:"Tags,refuse"`
	_ awsquery.Refused `query:"TransitiveTagKeys,refuse"`
	_ awsquery.Refused `query:"SourceIdentity,refuse"`
	_ awsquery.Refused `query:"SerialNumber,refuse"`
	_ awsquery.Refused `query:"TokenCode,refuse"`
	_ awsquery.Refused `query:"ProvidedContexts,refuse"`
	_ awsquery.Refused `query:"MinimumSessionTokenSize,refuse"`
}

// AssumeRoleOutput is the output of AssumeRole.
type AssumeRoleOutput struct {
	AssumedRoleUser AssumedRoleUser `xml:"AssumedRoleUser"`
	Credentials     Credentials     `xml:"Credentials"`
}

// AssumedRoleUser is <AssumedRoleUser>.
type AssumedRoleUser struct {
	Arn           string `xml:"Arn"`
	AssumedRoleID string `xml:"AssumedRoleId"`
}

func assumeRole(call *Call, in *AssumeRoleInput) (*AssumeRoleOutput, error) {
	req := control.AssumeRoleInput{RoleARN: in.RoleArn, Name: in.RoleSessionName, Policy: in.Policy, ExternalID: in.ExternalID}
	if in.DurationSeconds != nil {
		if req.Duration = time.Duration(*in.DurationSeconds) * time.Second; req.Duration == 0 {
			req.Duration = time.Second // given, and refused as too short
		}
	}
	s, err := call.Control.AssumeRole(call.Context, call.Caller, req)
	if err != nil {
		return nil, err
	}
	return &AssumeRoleOutput{AssumedRoleUser{s.ARN, s.UserID}, credentials(s.Credentials)}, nil
}

// GetSessionTokenInput is the input of GetSessionToken.
type GetSessionTokenInput struct {
	DurationSeconds *int32 `query:"DurationSeconds"`

	_ awsquery.Refused `query:"SerialNumber,refuse"`
	_ awsquery.Refused `query:"TokenCode,refuse"`
	_ awsquery.Refused `query:"MinimumSessionTokenSize,refuse"`
}

// GetSessionTokenOutput is the output of GetSessionToken.
type GetSessionTokenOutput struct {
	Credentials Credentials `xml:"Credentials"`
}

func getSessionToken(call *Call, in *GetSessionTokenInput) (*GetSessionTokenOutput, error) {
	var d time.Duration
	if in.DurationSeconds != nil {
		if d = time.Duration(*in.DurationSeconds) * time.Second; d == 0 {
			d = time.Second
		}
	}
	c, err := call.Control.GetSessionToken(call.Context, call.Caller, d)
	if err != nil {
		return nil, err
	}
	return &GetSessionTokenOutput{credentials(*c)}, nil
}

// GetCallerIdentityInput is the input of GetCallerIdentity: nothing.
type GetCallerIdentityInput struct{}

// GetCallerIdentityOutput is the output of GetCallerIdentity. The user id of
// an account's root is the account.
type GetCallerIdentityOutput struct {
	UserID  string `xml:"UserId"`
	Account string `xml:"Account"`
	Arn     string `xml:"Arn"`
}

func getCallerIdentity(call *Call, _ *GetCallerIdentityInput) (*GetCallerIdentityOutput, error) {
	c := call.Caller
	out := &GetCallerIdentityOutput{UserID: c.UserID, Account: string(c.Account), Arn: c.ARN}
	if out.UserID == "" {
		out.UserID = string(c.Account)
	}
	if out.Arn == "" {
		out.Arn = c.Account.RootARN()
	}
	return out, nil
}

// errorCode turns an error into AWS's code, HTTP status and message. What is
// no error of ours is an internal error whose text stays here.
func errorCode(_ string, err error) (code string, status int, message string) {
	var q *awsquery.Error
	if errors.As(err, &q) {
		code, status := q.Code(awsquery.Query)
		return code, status, q.Message()
	}
	var e *vpc.Error
	if !errors.As(err, &e) {
		return "InternalFailure", http.StatusInternalServerError, "An internal error has occurred"
	}
	switch e.Kind {
	case vpc.Denied:
		return "AccessDenied", http.StatusForbidden, e.Error()
	case vpc.Unavailable:
		return "ServiceUnavailable", http.StatusServiceUnavailable, e.Error()
	case vpc.BadPolicy:
		return "MalformedPolicyDocument", http.StatusBadRequest, e.Error()
	case vpc.Limit:
		return "PackedPolicyTooLarge", http.StatusBadRequest, e.Error()
	}
	return "ValidationError", http.StatusBadRequest, e.Error()
}
