// SPDX-License-Identifier: Apache-2.0

// Package awsjson is AWS's JSON protocol, version 1.1: the action is named by
// the header X-Amz-Target, parameters are the members of a JSON object, and so
// are answers.
//
// Parameters become a form with the names that they would have in the Query
// protocol (Tags.member.1.Key): input structs, authorisation and the record of
// calls are the same for both, and are described in package awsquery. A null is
// a parameter that was not sent, as is a structure without members; an empty
// list is one that was sent empty.
//
// An output struct is what encoding/json makes of it.
//
// A request is hostile: its nesting, its names, their number and its size are
// bounded, and a member that is there twice is refused.
package awsjson
