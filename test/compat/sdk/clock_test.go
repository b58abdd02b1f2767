// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"postern.dev/postern/test/compat"
)

// A client whose clock is 20 minutes off is refused once, with a code that the
// SDK takes for a matter of clocks; it signs again by our Date header, and with
// the next call at once. For the client it is the same whose clock is wrong:
// here it is the server's.
func TestClientWithAWrongClockCorrectsItselfByOurDate(t *testing.T) {
	for _, off := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		srv := compat.New(t, compat.Options{ClockOff: off})
		c := connect(t, srv, srv.Account("consumer"))
		for name, call := range map[string]struct {
			code string
			do   func(context.Context) error
		}{
			"ec2": {"AuthFailure", func(ctx context.Context) error {
				_, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
				return err
			}},
			"elasticloadbalancingv2": {"SignatureDoesNotMatch", func(ctx context.Context) error {
				_, err := c.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
				return err
			}},
			"sts": {"SignatureDoesNotMatch", func(ctx context.Context) error {
				_, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
				return err
			}},
		} {
			srv.Calls()
			for i, want := range [][]string{{call.code, ""}, {""}} {
				if err := call.do(t.Context()); err != nil {
					t.Fatalf("%s, %v off: %v", name, off, err)
				}
				calls := srv.Calls()
				if len(calls) != len(want) {
					t.Fatalf("%s, %v off: call %d took %d attempts, want %d", name, off, i, len(calls), len(want))
				}
				for j, w := range want {
					if calls[j].Code != w {
						t.Errorf("%s, %v off: call %d, attempt %d: code %q, want %q", name, off, i, j, calls[j].Code, w)
					}
				}
			}
		}
	}
}

// A clock that is a little off needs no correction.
func TestClockWithinTheWindowIsAccepted(t *testing.T) {
	for _, off := range []time.Duration{-14 * time.Minute, 14 * time.Minute} {
		c := start(t, compat.Options{ClockOff: off})
		if _, err := c.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}); err != nil {
			t.Errorf("%v off: %v", off, err)
		}
		if n := len(c.srv.Calls()); n != 1 {
			t.Errorf("%v off: %d attempts", off, n)
		}
	}
}

// The same codes with a right clock are what they are: nothing is tried again.
func TestWrongSecretIsNotTriedAgain(t *testing.T) {
	c := start(t, compat.Options{})
	wrong := c.key
	wrong.Secret += "x"
	w := connect(t, c.srv, wrong)
	for want, call := range map[string]func() error{
		"AuthFailure": func() error { _, err := w.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}); return err },
		"SignatureDoesNotMatch": func() error {
			_, err := w.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			return err
		},
	} {
		if err := call(); code(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if n := len(c.srv.Calls()); n != 1 {
			t.Errorf("%s: %d attempts", want, n)
		}
	}
}
