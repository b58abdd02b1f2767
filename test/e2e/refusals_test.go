// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"postern.dev/postern/internal/api/apitest"
)

// revision is the store's, as `postern status` says it.
func (i *install) revision() int64 {
	i.t.Helper()
	var st struct {
		Revision int64 `json:"revision"`
	}
	if err := json.Unmarshal([]byte(i.must("status", "--json")), &st); err != nil {
		i.t.Fatal(err)
	}
	if st.Revision == 0 {
		i.t.Fatal("status has no revision")
	}
	return st.Revision
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	if err == nil {
		return "success"
	}
	return err.Error()
}

// Each bad call gets the code of AWS and writes nothing.
func TestBadInputIsRefusedByItsCodeAndWritesNothing(t *testing.T) {
	i := newInstall(t, "--datapath=none")
	a, stranger := i.account("consumer"), i.account("stranger")
	n := i.network(a)
	ctx := context.Background()
	small := got(a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.0.9.0/28")})).or(t).Subnet.SubnetId
	for range 11 {
		got(a.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: small})).or(t)
	}
	table := *got(a.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})).or(t).RouteTables[0].RouteTableId
	s3 := "com.amazonaws.us-east-1.s3"
	wrong := ec2.New(ec2.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &i.endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.key, "not the secret", "")})
	nobody := ec2.New(ec2.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &i.endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAAAAAAAAAAAAAAAAA", a.secret, "")})
	before := i.revision()
	call := func(_ any, err error) error { return err }
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"wrong secret", "AuthFailure", call(wrong.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{}))},
		{"unknown key", "AuthFailure", call(nobody.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{}))},
		{"unknown VPC", "InvalidVpcID.NotFound", call(a.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-00000000000000000"}}))},
		{"malformed VPC id", "InvalidVpcID.Malformed", call(a.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-'; drop"}}))},
		{"a foreign account's VPC", "InvalidVpcID.NotFound", call(stranger.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{n.vpc}}))},
		{"a subnet in a foreign VPC", "InvalidVpcID.NotFound", call(stranger.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.0.7.0/24")}))},
		{"a foreign group", "InvalidGroup.NotFound", call(stranger.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &n.group}))},
		{"overlapping subnet", "InvalidSubnet.Conflict", call(a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.0.1.128/25")}))},
		{"subnet outside the VPC", "InvalidSubnet.Range", call(a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.1.0.0/24")}))},
		{"exhausted subnet", "InsufficientFreeAddressesInSubnet", call(a.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: small}))},
		{"exhausted subnet for instances", "InsufficientFreeAddressesInSubnet", call(a.ec2.RunInstances(ctx, &ec2.RunInstancesInput{
			ImageId: aws.String("ami-00000000"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: small}))},
		{"VPC too large", "InvalidVpc.Range", call(a.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/8")}))},
		{"a VPC in use", "DependencyViolation", call(a.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &n.vpc}))},
		{"policy that is no JSON", "InvalidPolicyDocument", call(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: &s3,
			RouteTableIds: []string{table}, PolicyDocument: aws.String("{")}))},
		{"policy with an unknown operator", "InvalidPolicyDocument", call(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: &s3,
			PolicyDocument: aws.String(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Nope":{"a":"b"}}}]}`)}))},
		{"unknown service", "InvalidServiceName", call(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.nope")}))},
		{"an interface endpoint to a gateway service", "InvalidParameter", call(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: &s3,
			VpcEndpointType: types.VpcEndpointTypeInterface}))},
		{"endpoint type that is not done here", "UnsupportedOperation", call(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc,
			ResourceConfigurationArn: aws.String("arn:aws:vpc-lattice:us-east-1:111122223333:resourceconfiguration/rcfg-1"), VpcEndpointType: types.VpcEndpointTypeResource}))},
		{"action that is not done here", "InvalidAction", call(a.ec2.CreateTransitGateway(ctx, &ec2.CreateTransitGatewayInput{}))},
		{"dry run", "DryRunOperation", call(a.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: aws.Bool(true)}))},
	} {
		if got := code(c.err); got != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.name, got, c.err, c.want)
		}
	}
	if after := i.revision(); after != before {
		t.Errorf("refused calls wrote: revision %d before, %d after", before, after)
	}
}

// raw sends a signed form and answers status and body.
func (i *install) raw(a *account, body string, when time.Time, change func(*http.Request)) (int, string) {
	i.t.Helper()
	r, err := http.NewRequest(http.MethodPost, i.endpoint+"/", strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: a.key, SecretAccessKey: a.secret}, r,
		hex.EncodeToString(sum[:]), "ec2", "us-east-1", when)
	if err != nil {
		i.t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestOnlyFreshWellSignedRequestsOfBoundedSizeAreRead(t *testing.T) {
	i := newInstall(t, "--datapath=none")
	a := i.account("consumer")
	const list = "Action=DescribeVpcs&Version=2016-11-15"
	now := time.Now()
	for _, c := range []struct {
		name, body string
		when       time.Time
		change     func(*http.Request)
		status     int
		want       string
	}{
		{"as it should be", list, now, nil, 200, "<DescribeVpcsResponse"},
		{"a clock 16 minutes behind", list, now.Add(-16 * time.Minute), nil, 401, "<Code>AuthFailure</Code><Message>AWS was not able to validate the provided access credentials: Signature expired: "},
		{"a clock 16 minutes ahead", list, now.Add(16 * time.Minute), nil, 401, "<Code>AuthFailure</Code><Message>AWS was not able to validate the provided access credentials: Signature not yet current: "},
		{"no signature", list, now, func(r *http.Request) { r.Header.Del("Authorization") }, 403, "<Code>MissingAuthenticationToken</Code>"},
		{"another body", list, now, func(r *http.Request) {
			b := strings.Replace(list, "DescribeVpcs", "DeleteVpc", 1)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(b)), int64(len(b))
		}, 401, "<Code>AuthFailure</Code>"},
		{"another port in Host", list, now, func(r *http.Request) { r.Host = "127.0.0.1:1" }, 401, "<Code>AuthFailure</Code>"},
		{"an unknown parameter", list + "&Nope=1", now, nil, 400, "<Code>UnknownParameter</Code>"},
		{"another version", "Action=DescribeVpcs&Version=2009-01-01", now, nil, 400, "<Code>NoSuchVersion</Code>"},
		{"no action", "Version=2016-11-15", now, nil, 400, "<Code>MissingAction</Code>"},
		{"a body of 2 MiB", list + "&X=" + strings.Repeat("x", 2<<20), now, nil, 413, "<Code>RequestEntityTooLarge</Code>"},
		{"ten thousand parameters", list + strings.Repeat("&A=1", 10000), now, nil, 400, "<Code>"},
	} {
		before := i.revision()
		status, body := i.raw(a, c.body, c.when, c.change)
		if status != c.status || !bytes.Contains([]byte(body), []byte(c.want)) {
			t.Errorf("%s: %d %.300s\nwant %d with %s", c.name, status, body, c.status, c.want)
		}
		if i.revision() != before {
			t.Errorf("%s: it wrote", c.name)
		}
	}
}
