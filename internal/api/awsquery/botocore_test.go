// SPDX-License-Identifier: Apache-2.0

package awsquery_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/sigv4"
)

// script drives botocore, whose parsers, unlike the Go SDK's, mind the case of element names.
const script = `
import json, sys, urllib.request, botocore.session
from botocore.config import Config
api, s3url = sys.argv[1], sys.argv[2]
s = botocore.session.get_session()
conf = Config(retries={'total_max_attempts': 1}, s3={'addressing_style': 'path'}, signature_version='v4')
ec2 = s.create_client('ec2', endpoint_url=api, config=conf)
out = {}
r = ec2.describe_vpc_endpoints(VpcEndpointIds=['vpce-1'], Filters=[{'Name': 'tag:a b+c', 'Values': ['', 'x=y&z']}])
e = r['VpcEndpoints'][0]
out['endpoint'] = [e['VpcEndpointId'], e['State'], e['SubnetIds'], e['RouteTableIds'], e['Groups'], e['PolicyDocument'], e['CreationTimestamp'].isoformat(), 'RequesterManaged' in e]
out['id'] = r['ResponseMetadata']['RequestId']
try:
    ec2.describe_vpcs(VpcIds=['vpc-1'])
except ec2.exceptions.ClientError as x:
    out['error'] = [x.response['Error']['Code'], x.response['Error']['Message'], x.response['ResponseMetadata']['RequestId']]
with urllib.request.urlopen(ec2.generate_presigned_url('describe_vpc_endpoints', Params={'VpcEndpointIds': ['vpce-1'], 'Filters': [{'Name': 'tag:a b+c', 'Values': ['', 'x=y&z']}]}, HttpMethod='GET')) as f:
    out['presigned'] = f.status
s3conf = Config(retries={'total_max_attempts': 1}, s3={'addressing_style': 'path'}, signature_version='s3v4', request_checksum_calculation='when_required')
s3 = s.create_client('s3', endpoint_url=s3url, config=s3conf)
s3.put_object(Bucket='b', Key="a b/+c//%2F~(é)", Body=b'data', Metadata={'k': 'a   b'})
with urllib.request.urlopen(s3.generate_presigned_url('get_object', Params={'Bucket': 'b', 'Key': "a b/+c//%2F~(é)", 'ResponseContentType': 'text/x; a=b+c'})) as f:
    out['s3 presigned'] = f.status
print(json.dumps(out))
`

// TestBotocoreAgrees runs where a Python with botocore is installed.
func TestBotocoreAgrees(t *testing.T) {
	where, err := exec.Command("python3", "-c", "import botocore, sys; print(sys.executable)").Output()
	if err != nil {
		t.Skip("no python3 with botocore")
	}
	created := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	api := server(t, awsquery.ServiceEC2, func(f *awsquery.Form) (any, error) {
		if f.Action == "DescribeVpcs" {
			var none struct{}
			return nil, awsquery.Decode(awsquery.EC2, f, &none)
		}
		var in describeInput
		if err := awsquery.Decode(awsquery.EC2, f, &in); err != nil {
			return nil, err
		}
		if len(in.IDs) != 1 || len(in.Filters) != 1 || in.Filters[0].Name != "tag:a b+c" || strings.Join(in.Filters[0].Values, "|") != "|x=y&z" {
			t.Errorf("request %+v", in)
		}
		return describeOutput{Endpoints: []endpoint{{ID: "vpce-1", State: "available", Policy: "<é+&>\r\n", Subnets: []string{"subnet-1"}, Groups: []group{{"sg-1", "n"}}, Created: created}}}, nil
	})
	v := &sigv4.Verifier{
		Lookup: func(id, _ string) (sigv4.Credential, bool) {
			return sigv4.Credential{AccessKeyID: id, Secret: "secret", SessionToken: "token"}, true
		},
		Services: []string{"s3"}, Regions: []string{"eu-central-1"}, S3: true, Unsigned: sigv4.UnsignedAlways,
	}
	objects := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.Verify(r, nil)
		if err != nil {
			t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("body: %v", err)
		}
		if id.Presigned != (r.Method == "GET") {
			t.Errorf("%s: presigned %v", r.Method, id.Presigned)
		}
	}))
	defer objects.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, strings.TrimSpace(string(where)), "-c", script, api, objects.URL)
	cmd.Env = []string{
		"HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=ASIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=token",
		"AWS_DEFAULT_REGION=eu-central-1", "AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=*", "PYTHONIOENCODING=utf-8",
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	const id = `"11112222-3333-4444-5555-666677778888"`
	want := `{"endpoint":["vpce-1","available",["subnet-1"],[],[{"GroupId":"sg-1","GroupName":"n"}],"<é+&>\r\n","2026-01-02T03:04:05.678000+00:00",false],` +
		`"error":["UnknownParameter","The parameter VpcId.1 is not recognized.",` + id + `],"id":` + id + `,"presigned":200,"s3 presigned":200}`
	var got, expected any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(expected)
	if string(g) != string(w) {
		t.Errorf("\n got %s\nwant %s", g, w)
	}
}
