// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/control/controltest"
)

const instanceSubnet = string(controltest.SubnetA)

// newInstanceClient is the SDK's client of a server with two subnets, whose
// instances become running.
func newInstanceClient(t *testing.T) *awsec2.Client {
	t.Helper()
	c, _ := controltest.New(t)
	controltest.Network(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.RunInstanceLifecycle(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	url := apitest.Serve(t, &ec2.Actions, awsquery.Parse, c, controltest.Consumer)
	return awsec2.New(awsec2.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(), RetryMaxAttempts: 1, Credentials: apitest.Keys(),
	})
}

func TestSDKClientRunsDescribesAndTerminatesInstances(t *testing.T) {
	client, ctx := newInstanceClient(t), t.Context()
	run, err := client.RunInstances(ctx, &awsec2.RunInstancesInput{
		ImageId: aws.String("ami-12345678"), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(2), MaxCount: aws.Int32(2),
		SubnetId: aws.String(instanceSubnet), KeyName: aws.String("me"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Instances) != 2 || *run.OwnerId != "111111111111" || run.ReservationId == nil {
		t.Fatalf("%+v", run)
	}
	ids := []string{*run.Instances[0].InstanceId, *run.Instances[1].InstanceId}
	if err := awsec2.NewInstanceRunningWaiter(client, func(o *awsec2.InstanceRunningWaiterOptions) { o.MinDelay = 10 * time.Millisecond }).
		Wait(ctx, &awsec2.DescribeInstancesInput{InstanceIds: ids}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	status, err := client.DescribeInstanceStatus(ctx, &awsec2.DescribeInstanceStatusInput{InstanceIds: ids})
	if err != nil || len(status.InstanceStatuses) != 2 || status.InstanceStatuses[0].InstanceStatus.Status != types.SummaryStatusOk {
		t.Errorf("status: %+v %v", status, err)
	}
	filter := func(name, value string) []types.Filter {
		return []types.Filter{{Name: aws.String(name), Values: []string{value}}}
	}
	got, err := client.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{Filters: filter("private-ip-address", "10.0.1.5")})
	if err != nil || len(got.Reservations) != 1 || len(got.Reservations[0].Instances) != 1 {
		t.Fatalf("describe: %+v %v", got, err)
	}
	i := got.Reservations[0].Instances[0]
	if i.State.Name != types.InstanceStateNameRunning || *i.State.Code != 16 || *i.PrivateDnsName != "ip-10-0-1-5.ec2.internal" || *i.SubnetId != instanceSubnet ||
		i.InstanceType != types.InstanceTypeT3Micro || *i.KeyName != "me" || *i.Placement.AvailabilityZone != "us-east-1a" ||
		len(i.SecurityGroups) != 1 || *i.SecurityGroups[0].GroupName != "default" || *i.Tags[0].Value != "web" {
		t.Errorf("%+v", i)
	}
	if n := i.NetworkInterfaces; len(n) != 1 || *n[0].PrivateIpAddress != "10.0.1.5" || *n[0].Attachment.DeviceIndex != 0 || !*n[0].Attachment.DeleteOnTermination {
		t.Errorf("interfaces: %+v", n)
	}
	if _, err := client.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{Filters: filter("no-such", "x")}); apitest.Code(err) != "InvalidParameterValue" {
		t.Errorf("an unknown filter: %v", err)
	}
	end, err := client.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: ids})
	if err != nil || end.TerminatingInstances[0].CurrentState.Name != types.InstanceStateNameShuttingDown {
		t.Fatalf("terminate: %+v %v", end, err)
	}
	if err := awsec2.NewInstanceTerminatedWaiter(client, func(o *awsec2.InstanceTerminatedWaiterOptions) { o.MinDelay = 10 * time.Millisecond }).
		Wait(ctx, &awsec2.DescribeInstancesInput{InstanceIds: ids}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestRunInstancesNamesWhatItDoesNotDo(t *testing.T) {
	client, ctx := newInstanceClient(t), t.Context()
	for what, c := range map[string]struct {
		change func(*awsec2.RunInstancesInput)
		code   string
	}{
		"no subnet":      {func(in *awsec2.RunInstancesInput) { in.SubnetId = nil }, "VPCIdNotSpecified"},
		"bad subnet":     {func(in *awsec2.RunInstancesInput) { in.SubnetId = aws.String("net-1") }, "InvalidSubnetID.Malformed"},
		"unknown subnet": {func(in *awsec2.RunInstancesInput) { in.SubnetId = aws.String("subnet-12345678") }, "InvalidSubnetID.NotFound"},
		"bad image":      {func(in *awsec2.RunInstancesInput) { in.ImageId = aws.String("alpine") }, "InvalidAMIID.Malformed"},
		"user data":      {func(in *awsec2.RunInstancesInput) { in.UserData = aws.String("%") }, "InvalidUserData.Malformed"},
		"much user data": {func(in *awsec2.RunInstancesInput) { in.UserData = aws.String(strings.Repeat("AAAA", 5462)) }, "InvalidParameterValue"},
		"a behavior":     {func(in *awsec2.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = "sleep" }, "InvalidParameterValue"},
		"a group's name": {func(in *awsec2.RunInstancesInput) { in.SecurityGroups = []string{"web"} }, "InvalidParameterCombination"},
		"a disk": {func(in *awsec2.RunInstancesInput) {
			in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("sda")}}
		}, "UnsupportedOperation"},
		"dry run": {func(in *awsec2.RunInstancesInput) { in.DryRun = aws.Bool(true) }, "DryRunOperation"},
		"an interface and a subnet": {func(in *awsec2.RunInstancesInput) {
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: in.SubnetId}}
		}, "InvalidParameterCombination"},
	} {
		in := &awsec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: aws.String(instanceSubnet)}
		c.change(in)
		if _, err := client.RunInstances(ctx, in); apitest.Code(err) != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
	if _, err := client.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{"i-00000000000000001"}}); apitest.Code(err) != "InvalidInstanceID.NotFound" {
		t.Errorf("an unknown instance: %v", err)
	}
}
