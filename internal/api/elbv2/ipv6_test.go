// SPDX-License-Identifier: Apache-2.0

package elbv2_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// subnetC is a subnet without IPv6.
const subnetC = "subnet-000000000000000cc"

// newServer6 is newServer with IPv6 blocks: 2001:db8:1::/64 in subnet A and
// 2001:db8:1:1::/64 in subnet B.
func newServer6(t *testing.T) server {
	t.Helper()
	s := newServer(t)
	if _, err := s.control.Store.Update(t.Context(), func(tx *store.Tx) error {
		controltest.GiveIPv6(tx, vpc.VPCID(s.vpc), netip.MustParsePrefix("2001:db8:1::/56"))
		controltest.PutSubnet(tx, &vpc.Subnet{ID: subnetC, Owner: controltest.Consumer.Account, VPC: vpc.VPCID(s.vpc), CIDR: netip.MustParsePrefix("10.0.3.0/24"), Zone: "us-east-1c"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// addresses are a load balancer's IPv6 addresses by subnet.
func (s server) addresses(t *testing.T, arn *string) map[string]string {
	t.Helper()
	got, err := s.DescribeLoadBalancers(t.Context(), &awselb.DescribeLoadBalancersInput{LoadBalancerArns: []string{*arn}})
	if err != nil {
		t.Fatal(err)
	}
	lb := got.LoadBalancers[0]
	out := map[string]string{"type": string(lb.IpAddressType)}
	stored, _ := vpc.Get[vpc.LoadBalancer](s.control.View(), vpc.ARN(*arn))
	for i, z := range lb.AvailabilityZones {
		a := aws.ToString(z.LoadBalancerAddresses[0].IPv6Address)
		out[*z.SubnetId] = a
		n, _ := vpc.Get[vpc.NetworkInterface](s.control.View(), stored.Nodes[i].Interface)
		if (a == "") != (len(n.IPv6) == 0) || a != "" && n.IPv6[0].String() != a {
			t.Errorf("the node in %s shows %q, its interface has %v", *z.SubnetId, a, n.IPv6)
		}
	}
	return out
}

func TestADualStackBalancerHasIPv6AddressesInItsSubnets(t *testing.T) {
	s, ctx := newServer6(t), t.Context()
	made, err := s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{
		Name: aws.String("six"), Type: types.LoadBalancerTypeEnumNetwork, IpAddressType: types.IpAddressTypeDualstack,
		SubnetMappings: []types.SubnetMapping{{SubnetId: aws.String(subnetA), IPv6Address: aws.String("2001:db8:1::77")}, {SubnetId: aws.String(subnetB)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := made.LoadBalancers[0].LoadBalancerArn
	first := s.addresses(t, arn)
	if first["type"] != "dualstack" || first[subnetA] != "2001:db8:1::77" || !strings.HasPrefix(first[subnetB], "2001:db8:1:1:") {
		t.Errorf("made: %v", first)
	}
	again, err := s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{
		Name: aws.String("six"), Type: types.LoadBalancerTypeEnumNetwork, IpAddressType: types.IpAddressTypeDualstack, Subnets: []string{subnetB, subnetA},
	})
	if err != nil || *again.LoadBalancers[0].LoadBalancerArn != *arn {
		t.Errorf("the same again: %v", err)
	}
	_, err = s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{Name: aws.String("six"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnetB, subnetA}})
	if apitest.Code(err) != "DuplicateLoadBalancerName" {
		t.Errorf("the same with ipv4: %v", err)
	}

	set := func(kind types.IpAddressType) error {
		_, err := s.SetIpAddressType(ctx, &awselb.SetIpAddressTypeInput{LoadBalancerArn: arn, IpAddressType: kind})
		return err
	}
	if err := set(types.IpAddressTypeIpv4); err != nil {
		t.Fatal(err)
	}
	if got := s.addresses(t, arn); got["type"] != "ipv4" || got[subnetA] != "" || got[subnetB] != "" {
		t.Errorf("ipv4: %v", got)
	}
	// With the subnets the type can change too, and an address be chosen.
	out, err := s.SetSubnets(ctx, &awselb.SetSubnetsInput{LoadBalancerArn: arn, IpAddressType: types.IpAddressTypeDualstack,
		SubnetMappings: []types.SubnetMapping{{SubnetId: aws.String(subnetA), IPv6Address: aws.String("2001:db8:1::78")}}})
	if err != nil || out.IpAddressType != types.IpAddressTypeDualstack || aws.ToString(out.AvailabilityZones[0].LoadBalancerAddresses[0].IPv6Address) != "2001:db8:1::78" {
		t.Fatalf("%+v %v", out, err)
	}
	// Without it, it stays, and a new node has an address too.
	if _, err := s.SetSubnets(ctx, &awselb.SetSubnetsInput{LoadBalancerArn: arn, Subnets: []string{subnetA, subnetB}}); err != nil {
		t.Fatal(err)
	}
	if got := s.addresses(t, arn); got["type"] != "dualstack" || got[subnetA] != "2001:db8:1::78" || got[subnetB] == "" {
		t.Errorf("subnets: %v", got)
	}
	subnets := func(m ...types.SubnetMapping) error {
		_, err := s.SetSubnets(ctx, &awselb.SetSubnetsInput{LoadBalancerArn: arn, SubnetMappings: m})
		return err
	}
	for what, c := range map[string]struct {
		err  error
		want string
	}{
		"a subnet without IPv6":  {subnets(types.SubnetMapping{SubnetId: aws.String(subnetC)}), "InvalidSubnet"},
		"another address":        {subnets(types.SubnetMapping{SubnetId: aws.String(subnetA), IPv6Address: aws.String("2001:db8:1::79")}), "InvalidConfigurationRequest"},
		"an address elsewhere":   {subnets(types.SubnetMapping{SubnetId: aws.String(subnetB), IPv6Address: aws.String("2001:db8:1::79")}), "InvalidConfigurationRequest"},
		"no address":             {subnets(types.SubnetMapping{SubnetId: aws.String(subnetA), IPv6Address: aws.String("10.0.1.1")}), "ValidationError"},
		"a zone":                 {subnets(types.SubnetMapping{SubnetId: aws.String(subnetA), IPv6Address: aws.String("fe80::1%eth0")}), "ValidationError"},
		"a source NAT prefix":    {subnets(types.SubnetMapping{SubnetId: aws.String(subnetA), SourceNatIpv6Prefix: aws.String("2001:db8:1::/80")}), "ValidationError"},
		"a type of applications": {set(types.IpAddressTypeDualstackWithoutPublicIpv4), "ValidationError"},
	} {
		if apitest.Code(c.err) != c.want {
			t.Errorf("%s: %v, want %s", what, c.err, c.want)
		}
	}
	if got := s.addresses(t, arn); got[subnetA] != "2001:db8:1::78" || len(got) != 3 {
		t.Errorf("after what was refused: %v", got)
	}
	old, err := s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{Name: aws.String("four"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnetC}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.SetIpAddressType(ctx, &awselb.SetIpAddressTypeInput{LoadBalancerArn: old.LoadBalancers[0].LoadBalancerArn, IpAddressType: types.IpAddressTypeDualstack})
	if apitest.Code(err) != "InvalidSubnet" || s.addresses(t, old.LoadBalancers[0].LoadBalancerArn)["type"] != "ipv4" {
		t.Errorf("dualstack without blocks: %v", err)
	}
	_, err = s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{Name: aws.String("bad"), Type: types.LoadBalancerTypeEnumNetwork,
		SubnetMappings: []types.SubnetMapping{{SubnetId: aws.String(subnetA), IPv6Address: aws.String("2001:db8:1::99")}}})
	if apitest.Code(err) != "InvalidConfigurationRequest" {
		t.Errorf("an IPv6 address of an ipv4 load balancer: %v", err)
	}
}

func TestIPv6TargetsAreOfADualStackBalancer(t *testing.T) {
	s, ctx := newServer6(t), t.Context()
	lb, err := s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{Name: aws.String("lb"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnetA}})
	if err != nil {
		t.Fatal(err)
	}
	arn := lb.LoadBalancers[0].LoadBalancerArn
	group := func(name string, kind types.TargetTypeEnum, family types.TargetGroupIpAddressTypeEnum) (*string, error) {
		out, err := s.CreateTargetGroup(ctx, &awselb.CreateTargetGroupInput{
			Name: &name, Protocol: types.ProtocolEnumTcp, Port: aws.Int32(80), VpcId: &s.vpc, TargetType: kind, IpAddressType: family,
		})
		if err != nil {
			return nil, err
		}
		if g := out.TargetGroups[0]; g.IpAddressType != family {
			t.Errorf("%s: address type %s", name, g.IpAddressType)
		}
		return out.TargetGroups[0].TargetGroupArn, nil
	}
	six, err := group("six", types.TargetTypeEnumIp, types.TargetGroupIpAddressTypeEnumIpv6)
	if err != nil {
		t.Fatal(err)
	}
	four, err := group("four", types.TargetTypeEnumIp, types.TargetGroupIpAddressTypeEnumIpv4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := group("instances", types.TargetTypeEnumInstance, types.TargetGroupIpAddressTypeEnumIpv6); apitest.Code(err) != "InvalidConfigurationRequest" {
		t.Errorf("instances: %v", err)
	}
	if _, err := group("six", types.TargetTypeEnumIp, types.TargetGroupIpAddressTypeEnumIpv4); apitest.Code(err) != "DuplicateTargetGroupName" {
		t.Errorf("the same name with another family: %v", err)
	}
	register := func(g *string, id string) error {
		_, err := s.RegisterTargets(ctx, &awselb.RegisterTargetsInput{TargetGroupArn: g, Targets: []types.TargetDescription{{Id: &id}}})
		return err
	}
	for id, want := range map[string]string{
		"2001:DB8:1:0:0:0:0:9": "", "10.0.1.9": "InvalidTarget", "2001:db8:9::9": "InvalidTarget", "::ffff:10.0.1.9": "InvalidTarget", "fe80::1%eth0": "InvalidTarget",
	} {
		if got := apitest.Code(register(six, id)); got != want {
			t.Errorf("%s as an IPv6 target: %q, want %q", id, got, want)
		}
	}
	if got := apitest.Code(register(four, "2001:db8:1::9")); got != "InvalidTarget" {
		t.Errorf("an IPv6 target of an IPv4 group: %q", got)
	}
	health, err := s.DescribeTargetHealth(ctx, &awselb.DescribeTargetHealthInput{TargetGroupArn: six})
	if err != nil || len(health.TargetHealthDescriptions) != 1 || *health.TargetHealthDescriptions[0].Target.Id != "2001:db8:1::9" {
		t.Errorf("%+v %v", health, err)
	}
	listen := func(g *string, port int32) error {
		_, err := s.CreateListener(ctx, &awselb.CreateListenerInput{LoadBalancerArn: arn, Protocol: types.ProtocolEnumTcp, Port: &port,
			DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: g}}})
		return err
	}
	set := func(kind types.IpAddressType) error {
		_, err := s.SetIpAddressType(ctx, &awselb.SetIpAddressTypeInput{LoadBalancerArn: arn, IpAddressType: kind})
		return err
	}
	if err := listen(six, 80); apitest.Code(err) != "InvalidConfigurationRequest" {
		t.Errorf("IPv6 targets of an ipv4 load balancer: %v", err)
	}
	if err := set(types.IpAddressTypeDualstack); err != nil {
		t.Fatal(err)
	}
	if err := listen(six, 80); err != nil {
		t.Error(err)
	}
	if err := listen(four, 81); err != nil {
		t.Error(err)
	}
	// UDP is forwarded within IPv6 alone.
	datagrams := func(name string, family types.TargetGroupIpAddressTypeEnum) error {
		out, err := s.CreateTargetGroup(ctx, &awselb.CreateTargetGroupInput{
			Name: &name, Protocol: types.ProtocolEnumUdp, Port: aws.Int32(53), VpcId: &s.vpc, TargetType: types.TargetTypeEnumIp, IpAddressType: family,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.CreateListener(ctx, &awselb.CreateListenerInput{LoadBalancerArn: arn, Protocol: types.ProtocolEnumUdp, Port: aws.Int32(53),
			DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: out.TargetGroups[0].TargetGroupArn}}})
		return err
	}
	if err := datagrams("udp4", types.TargetGroupIpAddressTypeEnumIpv4); apitest.Code(err) != "InvalidConfigurationRequest" {
		t.Errorf("UDP to IPv4 targets of a dualstack load balancer: %v", err)
	}
	if err := datagrams("udp6", types.TargetGroupIpAddressTypeEnumIpv6); err != nil {
		t.Error(err)
	}
	// And it does not become a dualstack load balancer's either.
	old, err := s.CreateLoadBalancer(ctx, &awselb.CreateLoadBalancerInput{Name: aws.String("old"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnetA}})
	if err != nil {
		t.Fatal(err)
	}
	made := arn
	arn = old.LoadBalancers[0].LoadBalancerArn
	if err := datagrams("udp4-old", types.TargetGroupIpAddressTypeEnumIpv4); err != nil {
		t.Error(err)
	}
	if err := set(types.IpAddressTypeDualstack); apitest.Code(err) != "InvalidConfigurationRequest" {
		t.Errorf("dualstack above UDP to IPv4 targets: %v", err)
	}
	arn = made
	node := s.addresses(t, arn)[subnetA]
	if err := register(six, node); apitest.Code(err) != "InvalidTarget" || !strings.Contains(err.Error(), "network_load_balancer") {
		t.Errorf("the load balancer's own address: %v", err)
	}
	if err := set(types.IpAddressTypeIpv4); apitest.Code(err) != "InvalidConfigurationRequest" {
		t.Errorf("ipv4 below IPv6 targets: %v", err)
	}
}
