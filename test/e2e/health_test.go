// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// A load balancer with a node that reaches the target and one whose subnet's
// network ACL lets nothing through: what each node finds is its own.
func TestTargetsAreCheckedFromEachNode(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	n := i.network(i.account("owner"))
	a := n.acct
	other := got(a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.0.2.0/24"), AvailabilityZone: aws.String("us-east-1b")})).or(t).Subnet.SubnetId
	acls := func() (of string, association string) {
		list := got(a.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*other}}}})).or(t)
		for _, x := range list.NetworkAcls[0].Associations {
			if *x.SubnetId == *other {
				return *list.NetworkAcls[0].NetworkAclId, *x.NetworkAclAssociationId
			}
		}
		t.Fatal("the subnet has no network ACL")
		return "", ""
	}
	use := func(acl string) {
		t.Helper()
		_, association := acls()
		got(a.ec2.ReplaceNetworkAclAssociation(ctx, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: &association, NetworkAclId: &acl})).or(t)
	}
	open, _ := acls()
	closed := *got(a.ec2.CreateNetworkAcl(ctx, &ec2.CreateNetworkAclInput{VpcId: &n.vpc})).or(t).NetworkAcl.NetworkAclId
	use(closed)

	server, _ := n.instance()
	client, _ := n.instance()
	i.background(i.exec(server, "source", "8080"))
	lb := got(a.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("web"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: []string{n.subnet, *other}})).or(t).LoadBalancers[0]
	if lb.State.Code != elbtypes.LoadBalancerStateEnumActive {
		t.Errorf("the load balancer is made and %s", lb.State.Code)
	}
	tg := got(a.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String("web"), Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(8080), VpcId: &n.vpc,
		TargetType: elbtypes.TargetTypeEnumInstance, HealthCheckIntervalSeconds: aws.Int32(5), HealthCheckTimeoutSeconds: aws.Int32(2),
		HealthyThresholdCount: aws.Int32(2), UnhealthyThresholdCount: aws.Int32(2)})).or(t).TargetGroups[0].TargetGroupArn
	var set []elbtypes.TargetGroupAttribute
	for k, v := range map[string]string{
		"load_balancing.cross_zone.enabled": "true", "deregistration_delay.timeout_seconds": "0", "deregistration_delay.connection_termination.enabled": "true",
	} {
		set = append(set, elbtypes.TargetGroupAttribute{Key: aws.String(k), Value: aws.String(v)})
	}
	got(a.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: tg, Attributes: set})).or(t)
	got(a.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb.LoadBalancerArn, Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(80),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: tg}}})).or(t)
	targets := []elbtypes.TargetDescription{{Id: &server}}
	register := func() {
		t.Helper()
		got(a.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tg, Targets: targets})).or(t)
	}
	becomes := func(want elbtypes.TargetHealthStateEnum, within time.Duration) {
		t.Helper()
		eventually(t, "the target is "+string(want), within, func() bool {
			h := got(a.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: tg})).or(t)
			return len(h.TargetHealthDescriptions) == 1 && h.TargetHealthDescriptions[0].TargetHealth.State == want
		})
	}
	register()
	becomes(elbtypes.TargetHealthStateEnumUnhealthy, 15*time.Second)
	through := &story{install: i, client: client, addr: *lb.AvailabilityZones[0].LoadBalancerAddresses[0].PrivateIPv4Address}
	if err := through.dial("2s"); err != nil {
		t.Error("the node that reaches the target does not send to it:", err)
	}
	live := through.fetching(1<<30, 4<<20)
	use(open)
	becomes(elbtypes.TargetHealthStateEnumHealthy, 20*time.Second)
	select {
	case got := <-live:
		t.Errorf("the transfer through a healthy target ended with %q", got)
	default:
	}
	// The group ends the flows of what leaves it.
	got(a.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: tg, Targets: targets})).or(t)
	select {
	case got := <-live:
		if !strings.Contains(got, "reset") {
			t.Errorf("the transfer ended with %q, want a reset", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("the transfer goes on after the target has left the group")
	}
	register()
	becomes(elbtypes.TargetHealthStateEnumHealthy, 15*time.Second)
	// What comes back is checked anew, although its checks find what they found.
	for range 3 {
		got(a.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: tg, Targets: targets})).or(t)
		register()
		becomes(elbtypes.TargetHealthStateEnumHealthy, 15*time.Second)
	}
}
