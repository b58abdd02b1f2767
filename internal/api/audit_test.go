// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/vpc"
)

func TestEveryCallIsRecorded(t *testing.T) {
	d := newDoor(t)
	me := &signers[0]
	agent := http.Header{"User-Agent": {"aws-cli/2"}, "Amz-Sdk-Invocation-Id": {"inv-1"}, "Amz-Sdk-Request": {"attempt=2; max=3"}}
	signed := audit.Record{
		Account: "111111111111", AccountName: "consumer", Principal: "arn:aws:iam::111111111111:root", AccessKey: me.key.ID, Source: "192.0.2.1:1234",
		UserAgent: "aws-cli/2", InvocationID: "inv-1", Attempt: "attempt=2; max=3", Service: "ec2", Region: "us-east-1", Status: 200,
	}
	with := func(f func(*audit.Record)) audit.Record { r := signed; f(&r); return r }
	for name, c := range map[string]struct {
		q    request
		want audit.Record
	}{
		"a write": {request{signer: me, body: "Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0%2F16"}, with(func(r *audit.Record) {
			r.Action, r.Write, r.Parameters = "CreateVpc", true, map[string]string{"CidrBlock": "10.0.0.0/16"}
		})},
		"a read": {request{signer: me, body: "Action=DescribeVpcs&Version=2016-11-15"}, with(func(r *audit.Record) { r.Action = "DescribeVpcs" })},
		"another service": {request{signer: me, service: "sts", body: "Action=GetCallerIdentity&Version=2011-06-15"}, with(func(r *audit.Record) {
			r.Action, r.Service = "GetCallerIdentity", "sts"
		})},
		"a dry run": {request{signer: me, body: "Action=CreateVpc&DryRun=true&CidrBlock=10.1.0.0/16"}, with(func(r *audit.Record) {
			r.Action, r.Write, r.DryRun, r.Status, r.ErrorCode = "CreateVpc", true, true, 412, "DryRunOperation"
			r.Parameters = map[string]string{"CidrBlock": "10.1.0.0/16", "DryRun": "true"}
		})},
		"a refusal": {request{signer: me, body: "Action=DeleteVpc&VpcId=vpc-00000000000000000"}, with(func(r *audit.Record) {
			r.Action, r.Write, r.Status, r.ErrorCode, r.Parameters = "DeleteVpc", true, 400, "InvalidVpcID.NotFound", map[string]string{"VpcId": "vpc-00000000000000000"}
		})},
		"user data": {request{signer: me, body: "Action=RunInstances&UserData=c2VjcmV0"}, with(func(r *audit.Record) {
			r.Action, r.Write, r.Status, r.ErrorCode, r.Parameters = "RunInstances", true, 400, "MissingParameter", map[string]string{"UserData": "(8 bytes)"}
		})},
		"a wrong secret": {request{signer: &signer{me.caller, vpc.AccessKey{ID: me.key.ID, Secret: "wrong"}}, body: "Action=DeleteVpc&VpcId=vpc-00000000000000000"}, audit.Record{
			ClaimedAccessKey: me.key.ID, Source: "192.0.2.1:1234", UserAgent: "aws-cli/2", InvocationID: "inv-1", Attempt: "attempt=2; max=3",
			Service: "ec2", Region: "us-east-1", Action: "DeleteVpc", Write: true, Status: 401, ErrorCode: "AuthFailure", ParametersLeftOut: 1,
		}},
		"no signature": {request{body: "Action=DeleteVpc&VpcId=x"}, audit.Record{
			Source: "192.0.2.1:1234", UserAgent: "aws-cli/2", InvocationID: "inv-1", Attempt: "attempt=2; max=3",
			Service: "ec2", Action: "DeleteVpc", Write: true, Status: 403, ErrorCode: "MissingAuthenticationToken", ParametersLeftOut: 1,
		}},
		"what cannot be read": {request{signer: me, body: "%zz"}, audit.Record{
			ClaimedAccessKey: me.key.ID, Source: "192.0.2.1:1234", UserAgent: "aws-cli/2", InvocationID: "inv-1", Attempt: "attempt=2; max=3",
			Service: "ec2", Region: "us-east-1", Write: true, Status: 400, ErrorCode: "MalformedQueryString",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.q.header = agent
			a := d.do(c.q)
			r := d.lastRecord()
			if r.RequestID != a.requestID || r.Time.IsZero() || r.ErrorMessage != a.message || r.DurationMS < 0 {
				t.Errorf("record %+v of request %s: %s", r, a.requestID, a.message)
			}
			if d := cmp.Diff(c.want, *r, cmpopts.IgnoreFields(audit.Record{}, "RequestID", "Time", "ErrorMessage", "DurationMS", "Resources")); d != "" {
				t.Errorf("record (-want +got):\n%s", d)
			}
			if made := r.Action == "CreateVpc" && r.Status == 200; made != slices.ContainsFunc(r.Resources, func(id string) bool { return strings.HasPrefix(id, "vpc-") }) {
				t.Errorf("resources %q", r.Resources)
			}
		})
	}
}
