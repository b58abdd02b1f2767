// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// started is how long it took from the first call of RunInstances until every
// instance was running: its namespace, device, addresses, programs and map
// entries were there.
type started struct {
	Workloads int     `json:"workloads"`
	Seconds   float64 `json:"seconds"`
	Answered  float64 `json:"api_answered_seconds"` // when the last call had returned
	Reached   bool    `json:"reached"`
}

// aimStart is for a thousand.
const aimStart = 3 * time.Second

// instancesPerCall is what one call may ask for.
const instancesPerCall = 100

// measureStart starts n instances in a subnet of their own of the consumer's
// VPC, in as few calls as possible, one after the other.
func (i *installation) measureStart(n int, progress func(string, ...any)) (*started, error) {
	ctx, c := i.lab.ctx, i.consumer
	s, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &c.vpc, CidrBlock: aws.String("10.0.64.0/18"), AvailabilityZone: aws.String(region + "a")})
	if err != nil {
		return nil, err
	}
	subnet := *s.Subnet.SubnetId
	count := func(state string) (n int, err error) {
		pages := ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(1000), Filters: []types.Filter{
			{Name: aws.String("subnet-id"), Values: []string{subnet}}, {Name: aws.String("instance-state-name"), Values: []string{state}}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return 0, err
			}
			for _, r := range page.Reservations {
				n += len(r.Instances)
			}
		}
		return n, nil
	}
	begin := time.Now()
	for left := n; left > 0; left -= instancesPerCall {
		k := aws.Int32(int32(min(left, instancesPerCall)))
		if _, err := c.ec2.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-00000000"), MinCount: k, MaxCount: k,
			SubnetId: &subnet, SecurityGroupIds: []string{c.group}}); err != nil {
			return nil, err
		}
	}
	out := &started{Workloads: n, Answered: time.Since(begin).Seconds()}
	// Those that wait get fewer, so this is the cheaper question.
	if err := i.eventually("no instance is pending", func() (bool, error) {
		pending, err := count("pending")
		return pending == 0, err
	}); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, i.log())
	}
	out.Seconds = time.Since(begin).Seconds()
	running, err := count("running")
	if err != nil {
		return nil, err
	}
	if running != n {
		return nil, fmt.Errorf("%d of %d instances run\n%s", running, n, i.log())
	}
	out.Reached = out.Seconds <= aimStart.Seconds()
	progress("%d workloads started in %.2f s", n, out.Seconds)
	return out, nil
}

func (s *started) print(w io.Writer) {
	fmt.Fprintf(w, "\n%d workloads running %.2f s after the first call of RunInstances (the calls had returned after %.2f s)\n", s.Workloads, s.Seconds, s.Answered)
	if s.Workloads == 1000 {
		fmt.Fprintf(w, "aim: 1,000 in at most %v: %s\n", aimStart, verdict(s.Reached))
	}
}
