// SPDX-License-Identifier: Apache-2.0

package elbv2_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/elbv2"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

const (
	subnetA = string(controltest.SubnetA)
	subnetB = string(controltest.SubnetB)
)

type server struct {
	*awselb.Client
	control *control.Control
	vpc     string
	group   string
}

// newServer is the SDK's client of a server with a VPC and two subnets.
func newServer(t *testing.T) server {
	t.Helper()
	c, _ := controltest.New(t)
	id, group := controltest.Network(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.RunBalancerLifecycle(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	url := apitest.Serve(t, &elbv2.Actions, awsquery.Parse, c, controltest.Consumer)
	return server{control: c, vpc: string(id), group: string(group), Client: awselb.New(awselb.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(), RetryMaxAttempts: 1, Credentials: apitest.Keys(),
	})}
}

func TestSDKClientBuildsAndTearsDownABalancer(t *testing.T) {
	s, ctx := newServer(t), t.Context()
	made, err := s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{
		Name: aws.String("web"), Type: types.LoadBalancerTypeEnumNetwork, Scheme: types.LoadBalancerSchemeEnumInternal,
		SubnetMappings: []types.SubnetMapping{{SubnetId: aws.String(subnetA), PrivateIPv4Address: aws.String("10.0.1.77")}, {SubnetId: aws.String(subnetB)}},
		SecurityGroups: []string{s.group}, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := made.LoadBalancers[0].LoadBalancerArn
	if code := made.LoadBalancers[0].State.Code; code != types.LoadBalancerStateEnumActive {
		t.Errorf("a load balancer that every host carries is %s", code)
	}
	if err := awselb.NewLoadBalancerAvailableWaiter(s.Client, func(o *awselb.LoadBalancerAvailableWaiterOptions) { o.MinDelay = 10 * time.Millisecond }).
		Wait(ctx, &awselb.DescribeLoadBalancersInput{Names: []string{"web"}}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	got, err := s.DescribeLoadBalancers(ctx, &awselb.DescribeLoadBalancersInput{LoadBalancerArns: []string{*arn}})
	if err != nil {
		t.Fatal(err)
	}
	lb := got.LoadBalancers[0]
	suffix := (*arn)[strings.LastIndex(*arn, "/")+1:]
	if lb.Type != types.LoadBalancerTypeEnumNetwork || lb.Scheme != types.LoadBalancerSchemeEnumInternal || *lb.VpcId != s.vpc ||
		*lb.DNSName != "web-"+suffix+".elb.us-east-1.amazonaws.com" || len(lb.AvailabilityZones) != 2 || lb.CreatedTime == nil ||
		*lb.AvailabilityZones[0].LoadBalancerAddresses[0].PrivateIPv4Address != "10.0.1.77" ||
		*lb.EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic != "on" || lb.IpAddressType != types.IpAddressTypeIpv4 {
		t.Errorf("%+v", lb)
	}
	group, err := s.CreateTargetGroup(ctx, &awselb.CreateTargetGroupInput{
		Name: aws.String("g"), Protocol: types.ProtocolEnumTcp, Port: aws.Int32(80), VpcId: aws.String(s.vpc), TargetType: types.TargetTypeEnumIp,
		HealthCheckProtocol: types.ProtocolEnumHttp, HealthCheckPath: aws.String("/up"), HealthCheckEnabled: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	g := group.TargetGroups[0].TargetGroupArn
	listener, err := s.CreateListener(ctx, &awselb.CreateListenerInput{
		LoadBalancerArn: arn, Protocol: types.ProtocolEnumTcp, Port: aws.Int32(443),
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: &types.ForwardActionConfig{
			TargetGroups: []types.TargetGroupTuple{{TargetGroupArn: g, Weight: aws.Int32(1)}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := listener.Listeners[0]
	if *l.DefaultActions[0].TargetGroupArn != *g || !strings.HasPrefix(*l.ListenerArn, strings.Replace(*arn, "loadbalancer/", "listener/", 1)+"/") {
		t.Errorf("%+v", l)
	}
	groups, err := s.DescribeTargetGroups(ctx, &awselb.DescribeTargetGroupsInput{LoadBalancerArn: arn})
	if err != nil || len(groups.TargetGroups) != 1 || groups.TargetGroups[0].LoadBalancerArns[0] != *arn || *groups.TargetGroups[0].HealthCheckPath != "/up" {
		t.Errorf("target groups: %+v %v", groups, err)
	}
	if _, err := s.RegisterTargets(ctx, &awselb.RegisterTargetsInput{TargetGroupArn: g, Targets: []types.TargetDescription{{Id: aws.String("10.0.1.9")}}}); err != nil {
		t.Fatal(err)
	}
	health, err := s.DescribeTargetHealth(ctx, &awselb.DescribeTargetHealthInput{TargetGroupArn: g})
	if err != nil || len(health.TargetHealthDescriptions) != 1 || *health.TargetHealthDescriptions[0].HealthCheckPort != "80" ||
		health.TargetHealthDescriptions[0].TargetHealth.State != types.TargetHealthStateEnumUnhealthy {
		t.Errorf("health: %+v %v", health, err)
	}
	for what, target := range map[string]types.TargetDescription{
		"never registered": {Id: aws.String("10.0.1.200")}, "registered on another port": {Id: aws.String("10.0.1.9"), Port: aws.Int32(81)},
	} {
		h, err := s.DescribeTargetHealth(ctx, &awselb.DescribeTargetHealthInput{TargetGroupArn: g, Targets: []types.TargetDescription{target}})
		if err != nil || len(h.TargetHealthDescriptions) != 1 || h.TargetHealthDescriptions[0].TargetHealth.State != types.TargetHealthStateEnumUnused ||
			h.TargetHealthDescriptions[0].TargetHealth.Reason != types.TargetHealthReasonEnumNotRegistered {
			t.Errorf("a target that is %s: %+v %v", what, h, err)
		}
	}
	attributes, err := s.ModifyTargetGroupAttributes(ctx, &awselb.ModifyTargetGroupAttributesInput{TargetGroupArn: g,
		Attributes: []types.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("0")}}})
	if err != nil || len(attributes.Attributes) != 13 || *attributes.Attributes[0].Value != "0" {
		t.Errorf("attributes: %+v %v", attributes, err)
	}
	tags, err := s.DescribeTags(ctx, &awselb.DescribeTagsInput{ResourceArns: []string{*arn, *g, *l.ListenerArn}})
	if err != nil || len(tags.TagDescriptions) != 3 || len(tags.TagDescriptions[0].Tags) != 1 {
		t.Errorf("tags: %+v %v", tags, err)
	}
	if _, err := s.DeleteTargetGroup(ctx, &awselb.DeleteTargetGroupInput{TargetGroupArn: g}); apitest.Code(err) != "ResourceInUse" {
		t.Errorf("a group in use: %v", err)
	}
	for range 2 {
		if _, err := s.DeleteLoadBalancer(ctx, &awselb.DeleteLoadBalancerInput{LoadBalancerArn: arn}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.DescribeLoadBalancers(ctx, &awselb.DescribeLoadBalancersInput{LoadBalancerArns: []string{*arn}}); apitest.Code(err) != "LoadBalancerNotFound" {
		t.Errorf("a deleted balancer: %v", err)
	}
	// Clients that delete the subnets next look for what is in them.
	for n := range vpc.All[vpc.NetworkInterface](s.control.View()) {
		t.Errorf("network interface %s of a deleted balancer is still there", n.ID)
	}
	if _, err := s.DescribeListeners(ctx, &awselb.DescribeListenersInput{ListenerArns: []string{*l.ListenerArn}}); apitest.Code(err) != "ListenerNotFound" {
		t.Errorf("its listener: %v", err)
	}
	if _, err := s.DeleteTargetGroup(ctx, &awselb.DeleteTargetGroupInput{TargetGroupArn: g}); err != nil {
		t.Error(err)
	}
}

func TestRefusalsHaveAWSsCodes(t *testing.T) {
	s, ctx := newServer(t), t.Context()
	create := func(change func(*awselb.CreateLoadBalancerInput)) string {
		in := &awselb.CreateLoadBalancerInput{Name: aws.String("x"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnetA}}
		change(in)
		_, err := s.CreateLoadBalancer(ctx, in)
		return apitest.Code(err)
	}
	if got := create(func(*awselb.CreateLoadBalancerInput) {}); got != "" {
		t.Fatal(got)
	}
	all, err := s.DescribeLoadBalancers(ctx, &awselb.DescribeLoadBalancersInput{})
	if err != nil {
		t.Fatal(err)
	}
	arn := all.LoadBalancers[0].LoadBalancerArn
	other := strings.Replace(*arn, "111111111111", "222222222222", 1)
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("default type", create(func(in *awselb.CreateLoadBalancerInput) { in.Name, in.Type = aws.String("y"), "" }), "InvalidConfigurationRequest")
	check("gateway", create(func(in *awselb.CreateLoadBalancerInput) { in.Type = types.LoadBalancerTypeEnumGateway }), "ValidationError")
	check("dualstack without blocks", create(func(in *awselb.CreateLoadBalancerInput) {
		in.Name, in.IpAddressType = aws.String("y"), types.IpAddressTypeDualstack
	}), "InvalidSubnet")
	check("an application's address type", create(func(in *awselb.CreateLoadBalancerInput) {
		in.Name, in.IpAddressType = aws.String("y"), types.IpAddressTypeDualstackWithoutPublicIpv4
	}), "ValidationError")
	check("same name", create(func(in *awselb.CreateLoadBalancerInput) { in.Subnets = []string{subnetB} }), "DuplicateLoadBalancerName")
	check("bad name", create(func(in *awselb.CreateLoadBalancerInput) { in.Name = aws.String("-x") }), "ValidationError")
	check("unknown subnet", create(func(in *awselb.CreateLoadBalancerInput) {
		in.Name, in.Subnets = aws.String("y"), []string{"subnet-12345678"}
	}), "SubnetNotFound")
	check("unknown group", create(func(in *awselb.CreateLoadBalancerInput) {
		in.Name, in.SecurityGroups = aws.String("y"), []string{"sg-12345678"}
	}), "InvalidSecurityGroup")
	_, err = s.DescribeLoadBalancers(ctx, &awselb.DescribeLoadBalancersInput{LoadBalancerArns: []string{other}})
	check("another account's", apitest.Code(err), "LoadBalancerNotFound")
	_, err = s.DescribeLoadBalancers(ctx, &awselb.DescribeLoadBalancersInput{LoadBalancerArns: []string{"arn:aws:s3:::x"}})
	check("no such ARN", apitest.Code(err), "ValidationError")
	_, err = s.ModifyLoadBalancerAttributes(ctx, &awselb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: arn,
		Attributes: []types.LoadBalancerAttribute{{Key: aws.String("idle_timeout.timeout_seconds"), Value: aws.String("60")}}})
	check("another type's attribute", apitest.Code(err), "ValidationError")
	_, err = s.SetSecurityGroups(ctx, &awselb.SetSecurityGroupsInput{LoadBalancerArn: arn, SecurityGroups: []string{s.group}})
	check("groups too late", apitest.Code(err), "InvalidConfigurationRequest")
	none, err := s.DescribeCapacityReservation(ctx, &awselb.DescribeCapacityReservationInput{LoadBalancerArn: arn})
	if err != nil || none.MinimumLoadBalancerCapacity != nil || len(none.CapacityReservationState) != 0 {
		t.Errorf("capacity reserved: %+v %v", none, err)
	}
	_, err = s.DescribeCapacityReservation(ctx, &awselb.DescribeCapacityReservationInput{LoadBalancerArn: aws.String(other)})
	check("another account's capacity", apitest.Code(err), "LoadBalancerNotFound")
	_, err = s.ModifyCapacityReservation(ctx, &awselb.ModifyCapacityReservationInput{LoadBalancerArn: arn})
	check("what is not there", apitest.Code(err), "InvalidAction")
	check("scheme", create(func(in *awselb.CreateLoadBalancerInput) { in.Scheme = "sideways" }), "InvalidScheme")
	check("two subnets of one zone", create(func(in *awselb.CreateLoadBalancerInput) {
		in.Name, in.Subnets = aws.String("y"), []string{subnetA, subnetA}
	}), "InvalidConfigurationRequest")
	check("no subnet", create(func(in *awselb.CreateLoadBalancerInput) { in.Name, in.Subnets = aws.String("y"), nil }), "ValidationError")
	// The same again is the same.
	check("same settings", create(func(*awselb.CreateLoadBalancerInput) {}), "")
	_, err = s.CreateListener(ctx, &awselb.CreateListenerInput{LoadBalancerArn: arn, Protocol: types.ProtocolEnumTls, Port: aws.Int32(443),
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: aws.String("x")}}})
	check("TLS", apitest.Code(err), "UnsupportedProtocol")
	_, err = s.CreateListener(ctx, &awselb.CreateListenerInput{LoadBalancerArn: arn, Protocol: "SCTP", Port: aws.Int32(443),
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: aws.String("x")}}})
	check("no protocol", apitest.Code(err), "ValidationError")
	if _, err = s.ModifyLoadBalancerAttributes(ctx, &awselb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: arn,
		Attributes: []types.LoadBalancerAttribute{{Key: aws.String("no.such"), Value: aws.String("60")}}}); err == nil || !strings.Contains(err.Error(), "attribute key 'no.such' is not recognized") {
		t.Errorf("an unknown attribute: %v", err)
	}
	_, err = s.DescribeListeners(ctx, &awselb.DescribeListenersInput{})
	check("no listener named", apitest.Code(err), "ValidationError")
	_, err = s.AddTags(ctx, &awselb.AddTagsInput{ResourceArns: []string{*arn}, Tags: []types.Tag{{Key: aws.String("a")}, {Key: aws.String("a")}}})
	check("a tag twice", apitest.Code(err), "DuplicateTagKeys")
	_, err = s.AddTags(ctx, &awselb.AddTagsInput{ResourceArns: []string{other}, Tags: []types.Tag{{Key: aws.String("a")}}})
	check("another account's tags", apitest.Code(err), "LoadBalancerNotFound")
}

func TestPagesAreWholeAndMarkersAreOurs(t *testing.T) {
	s, ctx := newServer(t), t.Context()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if _, err := s.CreateTargetGroup(ctx, &awselb.CreateTargetGroupInput{Name: aws.String(name), Protocol: types.ProtocolEnumTcp, Port: aws.Int32(80), VpcId: aws.String(s.vpc)}); err != nil {
			t.Fatal(err)
		}
	}
	var names string
	pages := awselb.NewDescribeTargetGroupsPaginator(s.Client, &awselb.DescribeTargetGroupsInput{PageSize: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.TargetGroups) > 2 {
			t.Errorf("a page of %d", len(page.TargetGroups))
		}
		for _, g := range page.TargetGroups {
			names += *g.TargetGroupName
		}
	}
	if names != "abcde" {
		t.Errorf("pages hold %s", names)
	}
	for what, in := range map[string]*awselb.DescribeTargetGroupsInput{
		"a marker of somebody else": {Marker: aws.String("bm90IG91cnM")}, "page size 0": {PageSize: aws.Int32(0)}, "page size 401": {PageSize: aws.Int32(401)},
	} {
		if _, err := s.DescribeTargetGroups(ctx, in); apitest.Code(err) != "ValidationError" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
