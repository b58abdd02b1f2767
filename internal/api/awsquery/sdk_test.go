// SPDX-License-Identifier: Apache-2.0

package awsquery_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/sigv4"
)

type filter struct {
	Name   string   `query:"Name,required"`
	Values []string `query:"Value"`
}

type describeInput struct {
	DryRun     *bool    `query:"DryRun"`
	IDs        []string `query:"VpcEndpointId"`
	Filters    []filter `query:"Filter"`
	MaxResults *int32   `query:"MaxResults"`
	NextToken  *string  `query:"NextToken"`
}

type describeOutput struct {
	Endpoints []endpoint `xml:"vpcEndpointSet"`
	NextToken *string    `xml:"nextToken"`
}

type endpoint struct {
	ID      string    `xml:"vpcEndpointId"`
	State   string    `xml:"state"`
	Policy  string    `xml:"policyDocument"`
	Subnets []string  `xml:"subnetIdSet"`
	Routes  []string  `xml:"routeTableIdSet"`
	Groups  []group   `xml:"groupSet"`
	Private *bool     `xml:"privateDnsEnabled"`
	Manager *bool     `xml:"requesterManaged"`
	Created time.Time `xml:"creationTimestamp"`
	DNS     *dns      `xml:"dnsOptions"`
}

type group struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type dns struct {
	RecordType string `xml:"dnsRecordIpType"`
}

// server answers every request through the codec, after the signature check, with what handle returns.
func server(t *testing.T, svc awsquery.Service, handle func(f *awsquery.Form) (any, error)) string {
	v := &sigv4.Verifier{
		Lookup: func(id, _ string) (sigv4.Credential, bool) {
			return sigv4.Credential{AccessKeyID: id, Secret: "secret", SessionToken: "token"}, id == "ASIAEXAMPLE"
		},
		Services: []string{svc.Name}, Regions: []string{"eu-central-1"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const id = "11112222-3333-4444-5555-666677778888"
		refuse := awsquery.WriteEC2Error
		if svc.Dialect == awsquery.Query {
			refuse = func(w http.ResponseWriter, id string, status int, code, message string) error {
				return awsquery.WriteQueryError(w, svc, id, status, code, message)
			}
		}
		form, body, err := awsquery.Parse(r, 1<<20)
		if err == nil {
			if _, err := v.Verify(r, body); err != nil {
				t.Errorf("signature: %v", err)
			}
			var out any
			if out, err = handle(form); err == nil {
				if svc.Dialect == awsquery.Query {
					err = awsquery.WriteQuery(w, svc, id, form.Action, out)
				} else {
					err = awsquery.WriteEC2(w, id, form.Action, out)
				}
				if err != nil {
					t.Errorf("write: %v", err)
				}
				return
			}
		}
		var e *awsquery.Error
		if !errors.As(err, &e) {
			t.Errorf("request: %v", err)
			return
		}
		code, status := e.Code(svc.Dialect)
		if err := refuse(w, id, status, code, e.Message()); err != nil {
			t.Errorf("write: %v", err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var static = credentials.NewStaticCredentialsProvider("ASIAEXAMPLE", "secret", "token")

func TestTheSDKReadsDescribeVpcEndpoints(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	policy := "{\"Statement\":[{\"Effect\":\"Allow\",\"Resource\":\"arn:aws:s3:::a&b<c>\\u0000 é+\"}]}\r\n"
	yes := true
	url := server(t, awsquery.ServiceEC2, func(f *awsquery.Form) (any, error) {
		var in describeInput
		if err := awsquery.Decode(awsquery.EC2, f, &in); err != nil {
			return nil, err
		}
		want := describeInput{IDs: []string{"vpce-1", "vpce-2"}, Filters: []filter{{"tag:a b+c", []string{"", "x=y&z"}}}, MaxResults: aws.Int32(7)}
		if diff := cmp.Diff(want, in); diff != "" {
			t.Errorf("request: %s", diff)
		}
		return describeOutput{NextToken: aws.String("more"), Endpoints: []endpoint{
			{ID: "vpce-1", State: "pendingAcceptance", Policy: policy, Subnets: []string{"subnet-1", "subnet-2"}, Groups: []group{{"sg-1", "default"}}, Private: &yes, Created: created, DNS: &dns{"ipv4"}},
			{ID: "vpce-2"},
		}}, nil
	})
	client := ec2.New(ec2.Options{Region: "eu-central-1", Credentials: static, HTTPClient: apitest.Client(), BaseEndpoint: &url, RetryMaxAttempts: 1})
	got, err := client.DescribeVpcEndpoints(context.Background(), &ec2.DescribeVpcEndpointsInput{
		VpcEndpointIds: []string{"vpce-1", "vpce-2"}, Filters: []types.Filter{{Name: aws.String("tag:a b+c"), Values: []string{"", "x=y&z"}}}, MaxResults: aws.Int32(7),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.VpcEndpoints) != 2 || aws.ToString(got.NextToken) != "more" {
		t.Fatalf("got %+v", got)
	}
	e := got.VpcEndpoints[0]
	if aws.ToString(e.VpcEndpointId) != "vpce-1" || e.State != "pendingAcceptance" || aws.ToString(e.PolicyDocument) != policy || len(e.SubnetIds) != 2 || e.RouteTableIds == nil || len(e.RouteTableIds) != 0 ||
		aws.ToString(e.Groups[0].GroupName) != "default" || !aws.ToBool(e.PrivateDnsEnabled) || e.RequesterManaged != nil || !e.CreationTimestamp.Equal(created) || e.DnsOptions.DnsRecordIpType != "ipv4" {
		t.Errorf("got %+v", e)
	}
	if e := got.VpcEndpoints[1]; e.DnsOptions != nil || e.CreationTimestamp != nil || len(e.SubnetIds) != 0 {
		t.Errorf("got %+v", e)
	}
}

func TestTheSDKReadsErrors(t *testing.T) {
	for _, c := range []struct {
		svc     awsquery.Service
		code    string
		message string
		call    func(url string) error
	}{
		{awsquery.ServiceEC2, "UnknownParameter", "The parameter VpcEndpointId.1 is not recognized.", func(url string) error {
			client := ec2.New(ec2.Options{Region: "eu-central-1", Credentials: static, HTTPClient: apitest.Client(), BaseEndpoint: &url, RetryMaxAttempts: 1})
			_, err := client.DescribeVpcEndpoints(context.Background(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{"vpce-1"}})
			return err
		}},
		{awsquery.ServiceELBv2, "ValidationError", "The parameter Names.member.1 is not recognized.", func(url string) error {
			client := elasticloadbalancingv2.New(elasticloadbalancingv2.Options{Region: "eu-central-1", Credentials: static, HTTPClient: apitest.Client(), BaseEndpoint: &url, RetryMaxAttempts: 1})
			_, err := client.DescribeLoadBalancers(context.Background(), &elasticloadbalancingv2.DescribeLoadBalancersInput{Names: []string{"a"}})
			return err
		}},
	} {
		var none struct{}
		url := server(t, c.svc, func(f *awsquery.Form) (any, error) { return nil, awsquery.Decode(c.svc.Dialect, f, &none) })
		var api interface {
			error
			ErrorCode() string
			ErrorMessage() string
		}
		if err := c.call(url); !errors.As(err, &api) || api.ErrorCode() != c.code || api.ErrorMessage() != c.message {
			t.Errorf("got %v, want %s: %s", err, c.code, c.message)
		}
	}
}

func TestTheSDKSendsAndReadsQueryLists(t *testing.T) {
	type balancer struct {
		ARN     string    `xml:"LoadBalancerArn"`
		Created time.Time `xml:"CreatedTime"`
		Groups  []string  `xml:"SecurityGroups"`
	}
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	url := server(t, awsquery.ServiceELBv2, func(f *awsquery.Form) (any, error) {
		var in struct {
			ARNs  []string `query:"LoadBalancerArns"`
			Names []string `query:"Names"`
		}
		if err := awsquery.Decode(awsquery.Query, f, &in); err != nil {
			return nil, err
		}
		if in.ARNs == nil || len(in.ARNs) != 0 || len(in.Names) != 2 || in.Names[1] != "b c" {
			t.Errorf("request %q", f.Names())
		}
		return struct {
			Balancers []balancer `xml:"LoadBalancers"`
		}{[]balancer{{"arn:a", created, []string{"sg-1"}}}}, nil
	})
	client := elasticloadbalancingv2.New(elasticloadbalancingv2.Options{Region: "eu-central-1", Credentials: static, HTTPClient: apitest.Client(), BaseEndpoint: &url, RetryMaxAttempts: 1})
	got, err := client.DescribeLoadBalancers(context.Background(), &elasticloadbalancingv2.DescribeLoadBalancersInput{LoadBalancerArns: []string{}, Names: []string{"a", "b c"}})
	if err != nil {
		t.Fatal(err)
	}
	if b := got.LoadBalancers; len(b) != 1 || aws.ToString(b[0].LoadBalancerArn) != "arn:a" || !b[0].CreatedTime.Equal(created) || len(b[0].SecurityGroups) != 1 {
		t.Errorf("got %+v", got)
	}
}
