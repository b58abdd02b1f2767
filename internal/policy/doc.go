// SPDX-License-Identifier: Apache-2.0

// Package policy is the IAM policy language as VPC endpoints use it: parse,
// validate, evaluate, explain. It is pure: no clock, no network, no state.
//
// # Words
//
// A document is the JSON text. A policy is a parsed document: a list of
// statements, each an Effect (Allow or Deny) with the elements Principal,
// Action, Resource and Condition. A request is one call as the edge saw it: who
// (principal), what (action), on what (resource) and the context, a map of
// condition keys such as aws:SourceVpce. A decision is the answer and its
// reason. Statements are counted from 0, as in "Statement[0]".
//
// # Evaluation
//
// A statement applies when its principal, action, resource and every condition
// match. An applying Deny wins (explicit deny), else an applying Allow allows,
// else the request is denied (implicit deny). [Policy.Decide] says which and
// allocates nothing; [Policy.Evaluate] also says why. An endpoint policy only
// narrows: how it meets the caller's own policies and the resource's is [Set].
//
// The evaluator adds nothing to the context. Whoever builds a [Request] puts
// aws:PrincipalArn, aws:SourceVpc and the like there, and leaves aws:SourceIp
// out for calls that came through an endpoint, as AWS does.
//
// # Choices where AWS is silent or surprising
//
//   - An account as Principal (its id or its root ARN) means every principal of
//     the account, except on a gateway endpoint, where AWS matches the root user
//     only. See [Request.GatewayEndpoint].
//   - Service, Federated and CanonicalUser principals never match: a request
//     through an endpoint is made by an AWS principal or by nobody.
//   - NotPrincipal is the plain complement of Principal. AWS also wants the
//     account and the role session listed there; we do not.
//   - A variable without a value equals nothing, so a positive operator does not
//     match it and a negated operator does (AWS calls it "effectively null").
//     In NotResource an unknown value counts against the caller: the statement
//     applies if it is a Deny and does not if it is an Allow.
//   - A multi-valued key never fills a variable. What a variable brings in is
//     literal text: a user named "*" is no wildcard.
//   - An operator without ForAllValues or ForAnyValue on a key that has several
//     values in the request asks whether any value (negated: no value) matches.
//   - IfExists makes a condition true when the key is absent, also under
//     ForAnyValue. A key with zero values is absent; an empty string is a value.
//   - Operator names are accepted in any letter case; element names are not.
//
// # Promises
//
// Documents and requests are hostile. A document is bounded in size, depth and
// length of one value; unknown or duplicate fields are errors, never ignored;
// anything [Parse] accepts evaluates without panic. Matching a wildcard
// pattern takes time linear in the text, whatever the pattern. A request whose
// values would grow the policy's variables past a limit, or would fill bytes that
// are not UTF-8 into one, is denied, not judged on half of them. Values from a request are quoted and cut before they enter a reason, which is always one
// line. A [Policy] is immutable and safe for concurrent use.
package policy
