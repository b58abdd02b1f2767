// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/test/compat"
)

// The SDK's waiters poll with delays of 15 s and more; here with this. Which
// state ends them well, badly or not yet is the SDK's.
const (
	poll    = 5 * time.Millisecond
	patient = 10 * time.Second
)

func (c *clients) run(subnet string) string {
	c.t.Helper()
	out := must(c.ec2.RunInstances(c.ctx(), &ec2.RunInstancesInput{ImageId: aws.String("ami-00000000000000001"), InstanceType: "t3.micro", SubnetId: &subnet, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}))(c.t)
	return *out.Instances[0].InstanceId
}

func TestWaitersOfTheNetwork(t *testing.T) {
	c := start(t, compat.Options{})
	ctx := t.Context()
	v := c.vpc("10.0.0.0/16")
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	ids := &ec2.DescribeVpcsInput{VpcIds: []string{v}}
	ok("VpcAvailable", ec2.NewVpcAvailableWaiter(c.ec2).Wait(ctx, ids, patient, func(o *ec2.VpcAvailableWaiterOptions) { o.MinDelay = poll }))
	ok("VpcExists", ec2.NewVpcExistsWaiter(c.ec2).Wait(ctx, ids, patient, func(o *ec2.VpcExistsWaiterOptions) { o.MinDelay = poll }))
	s := c.subnet(v, "10.0.0.0/24", "us-east-1a")
	ok("SubnetAvailable", ec2.NewSubnetAvailableWaiter(c.ec2).Wait(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{s}}, patient, func(o *ec2.SubnetAvailableWaiterOptions) { o.MinDelay = poll }))
	g := *must(c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &v, GroupName: aws.String("g"), Description: aws.String("g")}))(t).GroupId
	ok("SecurityGroupExists", ec2.NewSecurityGroupExistsWaiter(c.ec2).Wait(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{g}}, patient, func(o *ec2.SecurityGroupExistsWaiterOptions) { o.MinDelay = poll }))
	n := *must(c.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: &s}))(t).NetworkInterface.NetworkInterfaceId
	in := &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{n}}
	available := ec2.NewNetworkInterfaceAvailableWaiter(c.ec2)
	fast := func(o *ec2.NetworkInterfaceAvailableWaiterOptions) { o.MinDelay = poll }
	ok("NetworkInterfaceAvailable", available.Wait(ctx, in, patient, fast))
	must(c.ec2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &n}))(t)
	// This waiter gives up at once on exactly one code.
	before := time.Now()
	if err := available.Wait(ctx, in, patient, fast); err == nil || time.Since(before) > patient/2 {
		t.Errorf("an interface that is gone: %v after %v", err, time.Since(before))
	}
	// And this one goes on, until somebody makes it.
	missing := &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0123456789abcdef0"}}
	if err := ec2.NewVpcExistsWaiter(c.ec2).Wait(ctx, missing, 20*poll, func(o *ec2.VpcExistsWaiterOptions) { o.MinDelay, o.MaxDelay = poll, poll }); err == nil {
		t.Error("a VPC that is not there exists")
	}
	if calls := c.srv.Calls(); calls[len(calls)-2].Code != "InvalidVpcID.NotFound" {
		t.Errorf("the waiter did not try again: %+v", calls[len(calls)-2:])
	}
}

func TestWaitersOfInstances(t *testing.T) {
	c := start(t, compat.Options{})
	ctx := t.Context()
	id := c.run(c.subnet(c.vpc("10.0.0.0/16"), "10.0.0.0/24", "us-east-1a"))
	in, status := &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}}
	running := ec2.NewInstanceRunningWaiter(c.ec2)
	for what, err := range map[string]error{
		"InstanceExists":   ec2.NewInstanceExistsWaiter(c.ec2).Wait(ctx, in, patient, func(o *ec2.InstanceExistsWaiterOptions) { o.MinDelay = poll }),
		"InstanceRunning":  running.Wait(ctx, in, patient, func(o *ec2.InstanceRunningWaiterOptions) { o.MinDelay = poll }),
		"InstanceStatusOk": ec2.NewInstanceStatusOkWaiter(c.ec2).Wait(ctx, status, patient, func(o *ec2.InstanceStatusOkWaiterOptions) { o.MinDelay = poll }),
		"SystemStatusOk":   ec2.NewSystemStatusOkWaiter(c.ec2).Wait(ctx, status, patient, func(o *ec2.SystemStatusOkWaiterOptions) { o.MinDelay = poll }),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}))(t)
	if err := ec2.NewInstanceTerminatedWaiter(c.ec2).Wait(ctx, in, patient, func(o *ec2.InstanceTerminatedWaiterOptions) { o.MinDelay = poll }); err != nil {
		t.Errorf("InstanceTerminated: %v", err)
	}
	before := time.Now()
	if err := running.Wait(ctx, in, patient, func(o *ec2.InstanceRunningWaiterOptions) { o.MinDelay = poll }); err == nil || time.Since(before) > patient/2 {
		t.Errorf("InstanceRunning of a terminated one: %v after %v", err, time.Since(before))
	}
}

func TestWaitersOfLoadBalancing(t *testing.T) {
	c := start(t, compat.Options{})
	ctx := t.Context()
	v := c.vpc("10.0.0.0/16")
	s := c.subnet(v, "10.0.0.0/24", "us-east-1a")
	lb := *must(c.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("front"), Type: "network", Scheme: "internal", Subnets: []string{s}}))(t).LoadBalancers[0].LoadBalancerArn
	in := &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{lb}}
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok("LoadBalancerExists", elb.NewLoadBalancerExistsWaiter(c.elb).Wait(ctx, in, patient, func(o *elb.LoadBalancerExistsWaiterOptions) { o.MinDelay = poll }))
	ok("LoadBalancerAvailable", elb.NewLoadBalancerAvailableWaiter(c.elb).Wait(ctx, in, patient, func(o *elb.LoadBalancerAvailableWaiterOptions) { o.MinDelay = poll }))
	g := *must(c.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String("back"), Protocol: "TCP", Port: aws.Int32(80), TargetType: "instance", VpcId: &v}))(t).TargetGroups[0].TargetGroupArn
	must(c.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: &lb, Protocol: "TCP", Port: aws.Int32(80), DefaultActions: []elbtypes.Action{{Type: "forward", TargetGroupArn: &g}}}))(t)
	must(c.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &g, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("0")}}}))(t)
	instance := c.run(s)
	ok("InstanceRunning", ec2.NewInstanceRunningWaiter(c.ec2).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instance}}, patient, func(o *ec2.InstanceRunningWaiterOptions) { o.MinDelay = poll }))
	targets := []elbtypes.TargetDescription{{Id: &instance, Port: aws.Int32(8080)}}
	must(c.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &g, Targets: targets}))(t)
	health := &elb.DescribeTargetHealthInput{TargetGroupArn: &g, Targets: targets}
	// There is no prober: what it would report.
	if err := c.srv.Control.ReportHealth(ctx, []control.HealthReport{{Group: vpc.ARN(g), Target: instance, Port: 8080, Zone: "us-east-1a", Healthy: true}}); err != nil {
		t.Fatal(err)
	}
	ok("TargetInService", elb.NewTargetInServiceWaiter(c.elb).Wait(ctx, health, patient, func(o *elb.TargetInServiceWaiterOptions) { o.MinDelay = poll }))
	must(c.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &g, Targets: targets}))(t)
	ok("TargetDeregistered", elb.NewTargetDeregisteredWaiter(c.elb).Wait(ctx, health, patient, func(o *elb.TargetDeregisteredWaiterOptions) { o.MinDelay = poll }))
	must(c.elb.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: &lb}))(t)
	ok("LoadBalancersDeleted", elb.NewLoadBalancersDeletedWaiter(c.elb).Wait(ctx, in, patient, func(o *elb.LoadBalancersDeletedWaiterOptions) { o.MinDelay = poll }))
}
