// SPDX-License-Identifier: Apache-2.0

// Package policybench measures a decision of internal/policy beside cedar-go's
// and OPA's on equivalent policies, in one run. It is a module of its own, so
// that Postern does not depend on either:
//
//	cd test/policybench && go test -run . -bench .
//
// The policy has 98 statements that allow two actions in a bucket from a VPC, one
// that allows everything in a folder named after the caller, and one that
// denies what is not encrypted. Cedar and Rego have no ARNs: there a bucket is an
// entity or a field, and the comparison is as kind to them as it can be. A test
// holds all three to the same answers. What is timed is the decision alone, with
// the policy ready and the request in each engine's own form.
package policybench
