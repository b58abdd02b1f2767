// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// TestS3EndpointPolicies reads policies people put on S3 endpoints and asks
// the questions their authors had in mind.
func TestS3EndpointPolicies(t *testing.T) {
	type call struct {
		who, action, resource string
		context               map[string][]string
		want                  bool
	}
	ctx := func(kv ...string) map[string][]string {
		m := map[string][]string{"aws:SourceVpce": {"vpce-1a2b3c4d"}, "aws:SourceVpc": {"vpc-11111111"}, "aws:VpcSourceIp": {"198.51.100.7"}}
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == "" {
				delete(m, kv[i])
			} else {
				m[kv[i]] = []string{kv[i+1]}
			}
		}
		return m
	}
	for _, p := range []struct {
		name, text string
		calls      []call
	}{
		{"one bucket only", `{
			"Version": "2012-10-17",
			"Statement": [{
				"Sid": "Access-to-specific-bucket-only",
				"Principal": "*",
				"Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
				"Effect": "Allow",
				"Resource": ["arn:aws:s3:::bucket_name", "arn:aws:s3:::bucket_name/*"]
			}]}`, []call{
			{ann, "s3:GetObject", "arn:aws:s3:::bucket_name/a/b", ctx(), true},
			{ann, "s3:ListBucket", "arn:aws:s3:::bucket_name", ctx(), true},
			{ann, "s3:GetObject", "arn:aws:s3:::bucket_name2/a", ctx(), false},
			{ann, "s3:DeleteObject", "arn:aws:s3:::bucket_name/a", ctx(), false},
		}},
		{"one role, by aws:PrincipalArn", `{
			"Version": "2012-10-17",
			"Statement": [
				{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"},
				{"Sid": "OnlyOurRole", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
				 "Condition": {"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/team/app"}}}
			]}`, []call{
			{session, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalArn", role), true},
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalArn", ann), false},
			{"", "s3:GetObject", "arn:aws:s3:::b/k", ctx(), false},
		}},
		{"account by aws:PrincipalAccount", `{
			"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*",
				"Condition": {"StringEquals": {"aws:PrincipalAccount": 123456789012}}}}`, []call{
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalAccount", "123456789012"), true},
			{other, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalAccount", "210987654321"), false},
			{"", "s3:GetObject", "arn:aws:s3:::b/k", ctx(), false},
		}},
		{"home folders with s3:prefix", `{
			"Version": "2012-10-17",
			"Statement": [
				{"Sid": "List", "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::homes",
				 "Condition": {"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/*"]}}},
				{"Sid": "Use", "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:PutObject"],
				 "Resource": "arn:aws:s3:::homes/home/${aws:username}/*"}
			]}`, []call{
			{ann, "s3:ListBucket", "arn:aws:s3:::homes", map[string][]string{"s3:prefix": {""}, "aws:username": {"ann"}}, true},
			{ann, "s3:ListBucket", "arn:aws:s3:::homes", ctx("s3:prefix", "home/ann/x", "aws:username", "ann"), true},
			{ann, "s3:ListBucket", "arn:aws:s3:::homes", ctx("s3:prefix", "home/bob/", "aws:username", "ann"), false},
			{ann, "s3:ListBucket", "arn:aws:s3:::homes", ctx("aws:username", "ann"), false},
			{ann, "s3:GetObject", "arn:aws:s3:::homes/home/ann/x", ctx("aws:username", "ann"), true},
			{ann, "s3:GetObject", "arn:aws:s3:::homes/home/bob/x", ctx("aws:username", "ann"), false},
			{session, "s3:GetObject", "arn:aws:s3:::homes/home//x", ctx(), false},
		}},
		{"bucket closed except to one endpoint", `{
			"Version": "2012-10-17",
			"Statement": [
				{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"},
				{"Sid": "Access-to-specific-VPCE-only", "Principal": "*", "Action": "s3:*", "Effect": "Deny",
				 "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
				 "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}}
			]}`, []call{
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx(), true},
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:SourceVpce", "vpce-99999999"), false},
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:SourceVpce", ""), false},
			{ann, "s3:GetObject", "arn:aws:s3:::c/k", ctx("aws:SourceVpce", ""), true},
		}},
		{"addresses: aws:SourceIp is absent behind an endpoint", `{
			"Version": "2012-10-17",
			"Statement": [
				{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"},
				{"Effect": "Deny", "Principal": "*", "Action": "s3:Put*", "Resource": "*",
				 "Condition": {"NotIpAddress": {"aws:SourceIp": "198.51.100.0/24"}}},
				{"Effect": "Deny", "Principal": "*", "Action": "s3:Get*", "Resource": "*",
				 "Condition": {"NotIpAddress": {"aws:VpcSourceIp": ["198.51.100.0/24", "2001:db8::/64"]}}}
			]}`, []call{
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", ctx(), false},
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx(), true},
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:VpcSourceIp", "2001:db8::7"), true},
			{ann, "s3:GetObject", "arn:aws:s3:::b/k", ctx("aws:VpcSourceIp", "203.0.113.7"), false},
		}},
		{"our organisation's data only, AWS services excepted", `{
			"Version": "2012-10-17",
			"Statement": [
				{"Sid": "Perimeter", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*",
				 "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-abc", "aws:ResourceAccount": ["123456789012", "210987654321"]}}},
				{"Sid": "Repositories", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
				 "Resource": "arn:aws:s3:::packages.*.amazonaws.com/*"}
			]}`, []call{
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalOrgID", "o-abc", "aws:ResourceAccount", "210987654321"), true},
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalOrgID", "o-abc", "aws:ResourceAccount", "999999999999"), false},
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", ctx("aws:PrincipalOrgID", "o-xyz", "aws:ResourceAccount", "123456789012"), false},
			{"", "s3:GetObject", "arn:aws:s3:::packages.eu-west-1.amazonaws.com/x.rpm", ctx(), true},
		}},
		{"encrypted transport and tag keys", `{
			"Version": "2012-10-17",
			"Statement": [
				{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "*",
				 "Condition": {"Bool": {"aws:SecureTransport": "true"},
				               "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team", "env"]},
				               "Null": {"s3:RequestObjectTagKeys": false}}}
			]}`, []call{
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", map[string][]string{"aws:SecureTransport": {"true"}, "s3:RequestObjectTagKeys": {"team", "env"}}, true},
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", map[string][]string{"aws:SecureTransport": {"true"}, "s3:RequestObjectTagKeys": {"team", "x"}}, false},
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", ctx("aws:SecureTransport", "true"), false},
			{ann, "s3:PutObject", "arn:aws:s3:::b/k", ctx("aws:SecureTransport", "false", "s3:RequestObjectTagKeys", "env"), false},
		}},
	} {
		parsed := mustParse(t, p.text)
		for _, c := range p.calls {
			d := parsed.Evaluate(Request{Principal: c.who, Action: c.action, Resource: c.resource, Context: c.context, GatewayEndpoint: true})
			if d.Allowed != c.want {
				t.Errorf("%s: %s %s by %q with %v: got %v, %s", p.name, c.action, c.resource, c.who, c.context, d.Allowed, d.Reason)
			}
		}
	}
}
