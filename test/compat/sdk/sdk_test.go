// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/test/compat"
)

func TestMain(m *testing.M) { compat.Main(m) }

// clients are the SDK's clients of one account.
type clients struct {
	t   *testing.T
	srv *compat.Server
	key compat.Account
	ec2 *ec2.Client
	elb *elb.Client
	sts *sts.Client
}

func connect(t *testing.T, srv *compat.Server, key compat.Account) *clients {
	conf := aws.Config{
		Region: compat.Region, HTTPClient: apitest.Client(), BaseEndpoint: &srv.URL, Credentials: credentials.NewStaticCredentialsProvider(key.AccessKey, key.Secret, ""),
		// The SDK decides what to try again; it need not wait before.
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}
	return &clients{t: t, srv: srv, key: key, ec2: ec2.NewFromConfig(conf), elb: elb.NewFromConfig(conf), sts: sts.NewFromConfig(conf)}
}

func start(t *testing.T, o compat.Options) *clients {
	t.Helper()
	srv := compat.New(t, o)
	return connect(t, srv, srv.Account("consumer"))
}

func (c *clients) ctx() context.Context { return c.t.Context() }

// must is the result of a call that has to succeed.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func code(err error) string {
	var e interface{ ErrorCode() string }
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func (c *clients) vpc(cidr string) string {
	c.t.Helper()
	return *must(c.ec2.CreateVpc(c.ctx(), &ec2.CreateVpcInput{CidrBlock: &cidr}))(c.t).Vpc.VpcId
}

func (c *clients) subnet(vpc, cidr, zone string) string {
	c.t.Helper()
	return *must(c.ec2.CreateSubnet(c.ctx(), &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr, AvailabilityZone: &zone}))(c.t).Subnet.SubnetId
}

// many runs f n times, a few at once.
func many(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
