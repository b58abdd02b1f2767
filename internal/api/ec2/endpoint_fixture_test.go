// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const (
	epSubnetA = "subnet-0000000000000000a"
	epSubnetB = "subnet-0000000000000000b"
	epNLB     = "arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/net/one/0000000000000001"
	epS3      = "com.amazonaws.us-east-1.s3"
)

// endpointAPI is the API in front of a consumer's VPC with two subnets, a
// provider's load balancer and the service S3, with the life cycle running.
type endpointAPI struct {
	t     testing.TB
	c     *control.Control
	vpc   string
	table string // the main route table
}

func newEndpointAPI(t testing.TB) *endpointAPI {
	t.Helper()
	c, _ := controltest.New(t)
	a := &endpointAPI{t: t, c: c}
	ctx := context.Background()
	id, err := c.CreateVPC(ctx, controltest.Consumer, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	a.vpc = string(id)
	other, err := c.CreateVPC(ctx, controltest.Provider, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Store.Update(ctx, func(tx *store.Tx) error {
		v, _ := vpc.Get[vpc.VPC](tx, id)
		v = vpc.Edit(v)
		v.EnableDNSHostnames = true
		tx.Put(v)
		controltest.PutSubnet(tx, &vpc.Subnet{ID: epSubnetA, Owner: v.Owner, VPC: id, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		controltest.PutSubnet(tx, &vpc.Subnet{ID: epSubnetB, Owner: v.Owner, VPC: id, CIDR: netip.MustParsePrefix("10.0.2.0/24"), Zone: "us-east-1b"})
		controltest.PutSubnet(tx, &vpc.Subnet{ID: "subnet-0000000000000000f", Owner: controltest.Provider.Account, VPC: other, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		controltest.PutSubnet(tx, &vpc.Subnet{ID: "subnet-000000000000000f2", Owner: controltest.Provider.Account, VPC: other, CIDR: netip.MustParsePrefix("10.0.2.0/24"), Zone: "us-east-1b"})
		lb := &vpc.LoadBalancer{ARN: epNLB, Owner: controltest.Provider.Account, Name: "one", VPC: other, Active: true}
		lb.Nodes = []vpc.BalancerNode{
			{Zone: "us-east-1a", Subnet: "subnet-0000000000000000f", Addr: netip.MustParseAddr("10.0.1.9")},
			{Zone: "us-east-1b", Subnet: "subnet-000000000000000f2", Addr: netip.MustParseAddr("10.0.2.9")},
		}
		controltest.PutBalancer(tx, lb)
		tx.Put(&vpc.CatalogueService{
			Name: "s3", ServiceName: epS3, ID: "vpce-svc-0000000000000005a", Types: []vpc.EndpointType{vpc.GatewayEndpoint, vpc.InterfaceEndpoint},
			PrefixList: "pl-0000000000000000a", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			PublicNames: []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"}, Protocol: "s3", PolicySupported: true,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for r := range vpc.By[vpc.RouteTable](c.View(), vpc.IndexVPC, id) {
		a.table = string(r.ID)
	}
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.RunEndpointLifecycle(run) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return a
}

// call runs one request and answers status and body.
func (a *endpointAPI) call(caller control.Caller, form url.Values) (int, string) {
	a.t.Helper()
	f, err := awsquery.FormOf(form)
	if err != nil {
		a.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	ec2.Actions.Serve(w, &ec2.Call{Context: context.Background(), Control: a.c, Caller: caller}, f, "11111111-2222-3333-4444-555555555555")
	return w.Code, w.Body.String()
}

// form makes a request from an action and name, value pairs.
func form(action string, pairs ...string) url.Values {
	v := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// client is the SDK's client for a caller. Its requests never leave the process.
func (a *endpointAPI) client(caller control.Caller) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://ec2.invalid"), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIATEST", SecretAccessKey: "test"}, nil
		}),
		HTTPClient: doer(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			v, err := url.ParseQuery(string(body))
			if err != nil {
				return nil, err
			}
			code, answer := a.call(caller, v)
			return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
		}),
	})
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// code is the AWS code of an SDK error.
func code(err error) string {
	var e interface{ ErrorCode() string }
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}
