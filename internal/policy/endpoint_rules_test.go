// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"postern.dev/postern/internal/policy"
)

func TestEndpointPoliciesHaveRulesOfTheirOwn(t *testing.T) {
	for _, tc := range []struct {
		resource, condition string
		refused             string // what the message must hold, "" for a policy that is fine
	}{
		{"arn:aws:s3:::bucket/*", "", ""},
		{"*", `"StringEquals": {"aws:SourceVpc": "vpc-1"}`, ""},
		{"*", `"StringEquals": {"aws:SourceVpc": "vpc-*"}`, ""}, // no wildcard: StringEquals takes it literally
		{"*", `"StringLike": {"aws:SourceVpc": "vpc-0123456*"}`, "vpc-0123456*"},
		{"*", `"ForAnyValue:StringNotLikeIfExists": {"AWS:PrincipalAccount": "111122223*"}`, "AWS:PrincipalAccount"},
		{"*", `"NumericEquals": {"aws:PrincipalAccount": "111122223333"}`, "NumericEquals"},
		{"*", `"NumericLessThan": {"s3:max-keys": "10"}`, ""},
		{"*", `"StringLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}`, ""},
		{"*", `"StringLike": {"s3:prefix": "home/*"}`, "home/*"},
		{"*", `"StringLike": {"s3:prefix": "*/homes"}`, ""},
		{"*", `"StringLike": {"s3:prefix": ["abcdef*", "ab*cd?efghij"]}`, "ab*cd?efghij"},
		{"*", `"StringLike": {"s3:prefix": "*"}`, "6 characters"},
		{"*", `"StringLike": {"s3:prefix": "${aws:username}/*"}`, ""},
		{"*", `"StringLike": {"s3:prefix": "a${*}b"}`, ""}, // a literal star
		{"*", `"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::1111*:role/x"}`, "1111*"},
		{"*", `"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}`, ""},
		{"arn:aws:sqs:us-east-1:1111?:q", "", "1111?"},
		{"arn:aws:sqs:us-east-1:*:q", "", ""},
	} {
		doc := fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Sid": "one", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": %q, "Condition": {%s}}}`, tc.resource, tc.condition)
		if tc.condition == "" {
			doc = strings.Replace(doc, `, "Condition": {}`, "", 1)
		}
		p, err := policy.Parse([]byte(doc))
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		err = p.CheckEndpoint()
		var pe *policy.ParseError
		if tc.refused == "" && err != nil || tc.refused != "" && (!errors.As(err, &pe) || pe.Sid != "one" || !strings.Contains(err.Error(), tc.refused)) {
			t.Errorf("%s %s: %v, want %q", tc.resource, tc.condition, err, tc.refused)
		}
	}
}
