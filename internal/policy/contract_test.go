// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestWhatAWSSaysOfEndpointPolicies goes through AWS's guide to endpoint
// policies, a case for each sentence that can be shown.
func TestWhatAWSSaysOfEndpointPolicies(t *testing.T) {
	through := func(more ...string) map[string][]string {
		c := map[string][]string{
			"aws:SourceVpce": {"vpce-1a2b3c4d"}, "aws:SourceVpc": {"vpc-11111111"}, "aws:VpcSourceIp": {"10.0.0.7"},
			"aws:SourceVpcArn": {"arn:aws:ec2:us-east-1:123456789012:vpc/vpc-11111111"}, "aws:VpceAccount": {"123456789012"},
			"aws:VpceOrgID": {"o-1"}, "aws:VpceOrgPaths": {"o-1/r-1/ou-1/"}, "aws:PrincipalArn": {ann}, "aws:PrincipalAccount": {"123456789012"},
			"aws:SecureTransport": {"true"}, "aws:CurrentTime": {"2026-11-25T12:00:00Z"}, "aws:EpochTime": {"1795608000"},
			"aws:CalledVia": {"athena.amazonaws.com", "glue.amazonaws.com"}, "aws:ViaAWSService": {"false"}, "aws:username": {"ann"},
			"aws:PrincipalTag/team": {"red"}, "aws:TagKeys": {"team", "env"}, "aws:Referer": {"https://example.com/a"},
		}
		for i := 0; i < len(more); i += 2 {
			c[more[i]] = []string{more[i+1]}
		}
		return c
	}
	allow := func(condition string) string { return doc(stmt(`"Condition":{` + condition + `}`)) }
	denyIf := func(condition string) string {
		return doc(stmt(), `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{`+condition+`}}`)
	}
	interfaceDefault := "{\n\t\"Statement\": [\n\t\t{\n\t\t\t\"Action\": \"*\",\n\t\t\t\"Effect\": \"Allow\",\n\t\t\t\"Principal\": \"*\",\n\t\t\t\"Resource\": \"*\"\n\t\t}\n\t]\n}"
	gatewayDefault, _ := Default()
	for _, c := range []struct {
		name, text string
		who        string
		context    map[string][]string
		allowed    bool
	}{
		{"the default of an interface endpoint", interfaceDefault, "", nil, true},
		{"the default of a gateway endpoint", gatewayDefault, "", nil, true},
		{"an account as Principal is its root user", doc(`{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}`), ann, through(), false},
		{"an account's root ARN too", doc(`{"Effect":"Allow","Principal":{"AWS":"` + root + `"},"Action":"*","Resource":"*"}`), ann, through(), false},
		{"and the root user is it", doc(`{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}`), root, through(), true},
		{"aws:PrincipalArn instead", allow(`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::123456789012:user/*"}`), ann, through(), true},
		{"a Deny wins", denyIf(`"StringEquals":{"aws:SourceVpce":"vpce-1a2b3c4d"}`), ann, through(), false},
		{"nothing allows", doc(`{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}`), ann, through(), false},
		{"aws:SourceVpce", allow(`"StringEquals":{"aws:SourceVpce":"vpce-1a2b3c4d"}`), ann, through(), true},
		{"aws:SourceVpce of another", allow(`"StringEquals":{"aws:SourceVpce":"vpce-99999999"}`), ann, through(), false},
		{"only through an endpoint: absent elsewhere", denyIf(`"Null":{"aws:SourceVpce":"true"}`), ann, map[string][]string{}, false},
		{"only through an endpoint: present here", denyIf(`"Null":{"aws:SourceVpce":"true"}`), ann, through(), true},
		{"aws:VpcSourceIp", allow(`"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/16"}`), ann, through(), true},
		{"aws:SourceIp never matches", allow(`"IpAddress":{"aws:SourceIp":["0.0.0.0/0","10.0.0.0/8"]}`), ann, through(), false},
		{"a NotIpAddress Deny on aws:SourceIp always does", denyIf(`"NotIpAddress":{"aws:SourceIp":"0.0.0.0/0"}`), ann, through(), false},
		{"unless IfExists", allow(`"IpAddressIfExists":{"aws:SourceIp":"192.0.2.0/24"}`), ann, through(), true},
		{"aws:SourceVpcArn", allow(`"ArnLike":{"aws:SourceVpcArn":"arn:aws:ec2:*:123456789012:vpc/*"}`), ann, through(), true},
		{"aws:VpceAccount and aws:VpceOrgID", allow(`"StringEquals":{"aws:VpceAccount":"123456789012","aws:VpceOrgID":"o-1"}`), ann, through(), true},
		{"aws:VpceOrgPaths", allow(`"ForAnyValue:StringLike":{"aws:VpceOrgPaths":"o-1/r-1/*"}`), ann, through(), true},
		{"aws:SecureTransport", denyIf(`"Bool":{"aws:SecureTransport":"false"}`), ann, through("aws:SecureTransport", "false"), false},
		{"aws:CurrentTime", allow(`"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"DateLessThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}`), ann, through(), true},
		{"aws:EpochTime", allow(`"NumericLessThan":{"aws:EpochTime":"1795608001"},"DateLessThan":{"aws:EpochTime":"2026-11-26T00:00:00Z"}`), ann, through(), true},
		{"aws:CalledVia", allow(`"ForAnyValue:StringEquals":{"aws:CalledVia":"athena.amazonaws.com"}`), ann, through(), true},
		{"aws:ViaAWSService", denyIf(`"BoolIfExists":{"aws:ViaAWSService":"false"}`), ann, through(), false},
		{"aws:PrincipalTag with a default", allow(`"StringEquals":{"aws:PrincipalTag/team":"${aws:RequestTag/team, 'red'}"}`), ann, through(), true},
		{"aws:TagKeys", allow(`"ForAllValues:StringEquals":{"aws:TagKeys":["team","env","cost"]}`), ann, through(), true},
		{"aws:Referer", allow(`"StringLike":{"aws:Referer":"https://example.com/*"}`), ann, through(), true},
	} {
		p := mustParse(t, c.text)
		r := Request{Principal: c.who, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: c.context, GatewayEndpoint: true}
		if d := p.Evaluate(r); d.Allowed != c.allowed || p.Decide(&r).Allowed != c.allowed {
			t.Errorf("%s: %+v", c.name, d)
		}
	}

	if _, err := Parse([]byte(interfaceDefault + strings.Repeat(" ", MaxBytes-len(interfaceDefault)))); err != nil {
		t.Errorf("20480 characters with white space: %v", err)
	}
	if _, err := Parse([]byte(interfaceDefault + strings.Repeat(" ", MaxBytes+1-len(interfaceDefault)))); err == nil {
		t.Error("20481 characters were accepted")
	}
	// EC2's own keys for who may make which endpoint are conditions of identity policies.
	ec2, err := ParseOptions([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:CreateVpcEndpoint","Resource":"*",
		"Condition":{"StringEquals":{"ec2:VpceServiceName":"com.amazonaws.us-east-1.s3","ec2:VpceServiceOwner":"amazon","ec2:VpceServiceRegion":"us-east-1"}}}}`), Options{Identity: true})
	if err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[string]bool{"amazon": true, "123456789012": false} {
		r := Request{Principal: ann, Action: "ec2:CreateVpcEndpoint", Resource: "*", Context: map[string][]string{
			"ec2:VpceServiceName": {"com.amazonaws.us-east-1.s3"}, "ec2:VpceServiceOwner": {owner}, "ec2:VpceServiceRegion": {"us-east-1"}}}
		if got := ec2.Decide(&r).Allowed; got != want {
			t.Errorf("ec2:VpceServiceOwner %s: %v", owner, got)
		}
	}
}

func TestProblemsAreAllFoundWithTheirPlace(t *testing.T) {
	text := "{\"Version\": \"2012-10-17\",\n" +
		" \"Id\": 7,\n" +
		" \"Statement\": [\n" +
		"  {\"Effect\": \"Maybe\", \"Principal\": {\"AWS\": [\"me\", \"*\"]}, \"Action\": [\"s3:*\", \"é\", 1], \"Resource\": \"*\"},\n" +
		"  {\"Sid\": \"é\", \"Effect\": \"Deny\", \"Principal\": \"*\", \"Action\": \"s3:*\", \"Resource\": [\"*\", \"x\", \"arn:aws:s3:::b/${\"],\n" +
		"   \"Condition\": {\"StringLike\": {\"aws:SourceVpc\": [\"vpc-1\", \"vpc-2*\"]}, \"Bool\": {\"a:b\": [true, \"yes\"], \"c\": true}}}\n" +
		" ]\n}"
	var got []string
	for _, p := range Check([]byte(text), Options{}, true) {
		line, column := Position([]byte(text), p.Offset)
		got = append(got, fmt.Sprintf("%d:%d %d %s", line, column, p.Statement, p.Field))
	}
	want := []string{"2:8 -1 Id", "4:14 0 Effect", "4:45 0 Principal", "4:68 0 Action", "5:88 1 Resource", "5:93 1 Resource", "6:60 1 Condition", "6:95 1 Condition", "6:108 1 Condition"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := Check([]byte(`{"Statement":`+stmt()+`}`), Options{}, true); len(got) != 0 {
		t.Errorf("a policy that is fine: %v", got)
	}
	for text, place := range map[string]string{
		"{\n \"Id\" 3}":              "2:7",
		"{\n\"Id\":\"\xff\"}":        "2:7",
		doc(stmt()) + "\n  {}":       "2:3",
		"{\n \"Version\": \"2012\"}": "1:1", // the version, and before it that there is no statement
	} {
		problems := Check([]byte(text), Options{}, false)
		if len(problems) == 0 {
			t.Errorf("%q: nothing is wrong", text)
			continue
		}
		line, column := Position([]byte(text), problems[len(problems)-1].Offset)
		if got := fmt.Sprintf("%d:%d", line, column); got != place {
			t.Errorf("%q: %v at %s, want %s", text, problems[len(problems)-1], got, place)
		}
	}
	var e *ParseError
	if _, err := Parse([]byte(text)); !errors.As(err, &e) || e.Field != "Id" {
		t.Errorf("the first problem is told: %v", err)
	}
}
