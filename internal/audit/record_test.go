// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func parametersOf(m map[string]string) (map[string]string, int) {
	return Parameters(slices.Sorted(maps.Keys(m)), func(n string) string { return m[n] })
}

func TestNoSecretIsInARecord(t *testing.T) {
	const secret = "s3cr3t-value"
	for _, name := range []string{
		"SecretAccessKey", "secretKey", "Password", "NewPassword", "MasterUserPassword", "SessionToken", "TokenCode",
		"X-Amz-Security-Token", "WebIdentityToken", "SAMLAssertion", "UserData", "UserData.Value", "Launch.UserData.Value",
		"PrivateKey", "Credentials.member.1.Value", "AuthenticationCode1", "Item.1.ClientSecret",
	} {
		got, _ := parametersOf(map[string]string{name: secret})
		if got[name] == "" || strings.Contains(got[name], secret) {
			t.Errorf("%s is shown as %q", name, got[name])
		}
	}
	if got, _ := parametersOf(map[string]string{"UserData": "12345"}); got["UserData"] != "(5 bytes)" {
		t.Errorf("user data is shown as %q, want its size", got["UserData"])
	}
	for _, name := range []string{"ClientToken", "NextToken", "VpcId", "PolicyDocument", "Tag.1.Value", "KeyName", "AccessKeyId"} {
		if got, _ := parametersOf(map[string]string{name: secret}); got[name] != secret {
			t.Errorf("%s is shown as %q, want its value", name, got[name])
		}
	}
}

func TestParametersAreBounded(t *testing.T) {
	many := map[string]string{}
	for i := range 5000 {
		many[fmt.Sprintf("SubnetId.%d", i)] = "subnet-1"
	}
	got, left := parametersOf(many)
	if len(got) != maxParameters || left != 5000-maxParameters {
		t.Errorf("%d parameters and %d left out", len(got), left)
	}
	got, left = parametersOf(map[string]string{"A": strings.Repeat("ä", 1<<19), "B": "b"})
	if len(got["A"]) > maxValue+40 || !strings.HasSuffix(got["A"], "bytes more)") || got["B"] != "b" || left != 0 {
		t.Errorf("a long value has %d bytes, %d left out", len(got["A"]), left)
	}
}

func TestTheWorstRecordIsNotLongerThanALineMayBe(t *testing.T) {
	bad := strings.Repeat("\x01", 1<<20)
	p := map[string]string{}
	for i := range 1000 {
		p[fmt.Sprintf("%s%d", bad[:200], i)] = bad
	}
	r := &Record{RequestID: bad, Account: bad, AccountName: bad, Principal: bad, AccessKey: bad, ClaimedAccessKey: bad, Source: bad,
		UserAgent: bad, Service: bad, Action: bad, Region: bad, ErrorCode: bad, ErrorMessage: bad, InvocationID: bad, Attempt: bad}
	r.Parameters, r.ParametersLeftOut = parametersOf(p)
	for range 100 {
		r.Resources = append(r.Resources, "arn:aws:iam::1:"+strings.Repeat("x", 1<<20))
	}
	line, err := r.line()
	if err != nil || len(line) > MaxLine || strings.Count(string(line), "\n") != 1 {
		t.Errorf("a line of %d bytes, %v", len(line), err)
	}
}

func TestResourcesAreFoundInAnswers(t *testing.T) {
	got := ResourcesIn([]byte(`<vpcEndpointId>vpce-0123456789abcdef0</vpcEndpointId><x>vpce-svc-0123456789abcdef1</x><x>vpce-0123456789abcdef0</x>
<a>vpc-cidr-assoc-0123456789abcdef2</a><LoadBalancerArn>arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/n/0123456789abcdef</LoadBalancerArn>
<requestId>01234567-89ab-cdef-0123-456789abcdef</requestId><s>wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY</s>`))
	want := []string{"vpce-0123456789abcdef0", "vpce-svc-0123456789abcdef1", "vpc-cidr-assoc-0123456789abcdef2",
		"arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/n/0123456789abcdef"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestActionsThatOnlyReadAreKnown(t *testing.T) {
	for action, read := range map[string]bool{"DescribeVpcs": true, "GetCallerIdentity": true, "ListUsers": true, "CreateVpc": false, "ModifyVpcEndpoint": false, "": false} {
		if IsRead(action) != read {
			t.Errorf("%q: read %v", action, !read)
		}
	}
}
