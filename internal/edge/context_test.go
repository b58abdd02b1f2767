// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"maps"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/vpc"
)

// Who is there comes from the datapath and from the access key; a request cannot
// say otherwise.
func TestContextKeysOfARequest(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	u := &user{User: desired.User{ID: "AIDA1", Name: "ann", ARN: "arn:aws:iam::111111111111:user/ann", Account: testAccount, Tags: map[string]string{"Team": "blue"}}}
	x := &exchange{
		id:    testIdentity,
		state: &state{region: "us-east-1", vpcOwners: map[vpc.VNI]vpc.AccountID{testIdentity.VNI: "222222222222"}},
		ep:    &endpoint{Endpoint: desired.Endpoint{ID: testEndpoint, Owner: testAccount, VPC: "vpc-0a", VNI: testIdentity.VNI}, service: &service{protocol: protocols["s3"]}},
	}
	r := httptest.NewRequest("GET", "/data/a", nil)
	for _, claim := range []string{"X-Forwarded-For", "X-Amz-Source-Vpce", "X-Postern-Context", "X-Amz-Principal"} {
		r.Header.Set(claim, "forged")
	}
	r.Header.Set("User-Agent", "agent")
	r.Header.Set("Referer", "referer")
	where := map[string][]string{
		"aws:SourceVpce": {string(testEndpoint)}, "aws:SourceVpc": {"vpc-0a"}, "aws:VpcSourceIp": {"10.0.1.5"}, "aws:VpceAccount": {testAccount},
		"aws:SourceVpcArn": {"arn:aws:ec2:us-east-1:222222222222:vpc/vpc-0a"}, "aws:SecureTransport": {"false"}, "aws:CurrentTime": {"2026-01-02T03:04:05Z"},
		"aws:EpochTime": {"1767323045"}, "aws:RequestedRegion": {"us-east-1"}, "aws:ViaAWSService": {"false"}, "aws:PrincipalIsAWSService": {"false"},
		"aws:UserAgent": {"agent"}, "aws:Referer": {"referer"},
	}
	account := map[string][]string{"aws:PrincipalArn": {"arn:aws:iam::111111111111:root"}, "aws:PrincipalAccount": {testAccount}, "aws:PrincipalType": {"Account"}, "aws:userid": {testAccount}}
	for name, tc := range map[string]struct {
		arn     string
		account vpc.AccountID
		user    *user
		want    map[string][]string
	}{
		"an account": {"arn:aws:iam::111111111111:root", testAccount, nil, account},
		"a user": {u.ARN, testAccount, u, map[string][]string{
			"aws:PrincipalArn": {u.ARN}, "aws:PrincipalAccount": {testAccount}, "aws:PrincipalType": {"User"}, "aws:userid": {"AIDA1"}, "aws:username": {"ann"}, "aws:PrincipalTag/Team": {"blue"},
		}},
		"nobody": {"", "", nil, map[string][]string{"aws:PrincipalType": {"Anonymous"}, "aws:userid": {"anonymous"}}},
	} {
		c, e := x.ep.service.protocol.read(call.Request{Method: "GET", URI: "/data/a", Header: r.Header}, x.ep.service)
		if e != nil {
			t.Fatal(e)
		}
		x.context(c, tc.account, tc.arn, tc.user, r, now)
		want := maps.Clone(where)
		maps.Copy(want, tc.want)
		if !reflect.DeepEqual(c.Context, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, c.Context, want)
		}
		for k := range c.Context { // there is no public address behind an endpoint
			if strings.EqualFold(k, "aws:SourceIp") {
				t.Errorf("%s: %s", name, k)
			}
		}
	}
}
