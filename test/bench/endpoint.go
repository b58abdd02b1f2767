// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// build makes the two sides and joins them; when it returns, a byte has passed.
func (i *installation) build() (err error) {
	ctx := i.lab.ctx
	if i.provider, err = i.newAccount("provider"); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	if i.consumer, err = i.newAccount("consumer"); err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	serverNS, err := i.namespace(i.provider.instanceID)
	if err != nil {
		return err
	}
	clientNS, err := i.namespace(i.consumer.instanceID)
	if err != nil {
		return err
	}
	i.path = &path{name: "postern", about: "interface endpoint of another account's service: two VPCs with the same addresses, load balancer, security groups",
		clientNS: clientNS, spaces: []string{clientNS, serverNS}}
	for _, ns := range []string{serverNS, clientNS} {
		if err := i.lab.tune(ns); err != nil {
			return err
		}
	}
	if i.path.server, err = i.lab.serve(serverNS); err != nil {
		return err
	}
	if i.proxiedServer, err = i.lab.serve(serverNS, "-port", strconv.Itoa(proxiedPort), "-proxied"); err != nil {
		return err
	}
	if err := i.offer(); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	name, err := i.provider.ec2.DescribeVpcEndpointServiceConfigurations(ctx, &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{i.service}})
	if err != nil {
		return err
	}
	c := i.consumer
	e, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &c.vpc, ServiceName: name.ServiceConfigurations[0].ServiceName,
		VpcEndpointType: types.VpcEndpointTypeInterface, SubnetIds: []string{c.subnet}, SecurityGroupIds: []string{c.group}, PrivateDnsEnabled: aws.Bool(false)})
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	i.endpoint = *e.VpcEndpoint.VpcEndpointId
	eni, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: e.VpcEndpoint.NetworkInterfaceIds})
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	if i.addr, err = netip.ParseAddr(*eni.NetworkInterfaces[0].PrivateIpAddress); err != nil {
		return fmt.Errorf("address of the endpoint: %w", err)
	}
	i.path.to, i.path.udp = netip.AddrPortFrom(i.addr, askPort), netip.AddrPortFrom(i.addr, udpAskPort)
	if err := i.accept(); err != nil {
		return err
	}
	return i.lab.reachable(i.path)
}

// proxied is the same endpoint's port whose target group has the PROXY
// protocol on. Its server takes no connection without a header.
func (i *installation) proxied() (*path, error) {
	p := *i.path
	p.name, p.about, p.proxied = "proxied", "postern with the PROXY protocol, version 2", true
	p.to, p.udp, p.server = netip.AddrPortFrom(i.addr, proxiedAskPort), netip.AddrPort{}, i.proxiedServer
	if err := i.lab.reachable(&p); err != nil {
		return nil, missing{"no connection with a PROXY protocol header reaches the server: " + err.Error()}
	}
	return &p, nil
}

const balancerName = "bench"

// offer puts a load balancer in front of the server and offers it as an
// endpoint service to everybody, with acceptance.
func (i *installation) offer() error {
	ctx, p := i.lab.ctx, i.provider
	lbs, err := p.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String(balancerName), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: []string{p.subnet}})
	if err != nil {
		return err
	}
	lb := lbs.LoadBalancers[0].LoadBalancerArn
	var groups []string
	for _, l := range []struct {
		name         string
		protocol     elbtypes.ProtocolEnum
		port, target int32
		proxied      bool
	}{
		{"tcp", elbtypes.ProtocolEnumTcp, askPort, serverPort, false},
		{"udp", elbtypes.ProtocolEnumUdp, udpAskPort, serverPort, false},
		{"proxied", elbtypes.ProtocolEnumTcp, proxiedAskPort, proxiedPort, true},
	} {
		tg, err := i.listen(lb, l.name, l.protocol, l.port, l.target, l.proxied)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.name, err)
		}
		groups = append(groups, tg)
	}
	for _, tg := range groups {
		if err := i.healthy(tg); err != nil {
			return err
		}
	}
	s, err := p.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{*lb}, AcceptanceRequired: aws.Bool(true)})
	if err != nil {
		return err
	}
	i.service = *s.ServiceConfiguration.ServiceId
	_, err = p.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &i.service, AddAllowedPrincipals: []string{"*"}})
	return err
}

// healthy waits until the one target of a group is.
func (i *installation) healthy(group string) error {
	return i.eventually("the target is healthy", func() (bool, error) {
		h, err := i.provider.elb.DescribeTargetHealth(i.lab.ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
		if err != nil {
			return false, err
		}
		d := h.TargetHealthDescriptions
		return len(d) == 1 && d[0].TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy, nil
	})
}

// listen makes a listener and its target group with the one server in it.
func (i *installation) listen(lb *string, name string, protocol elbtypes.ProtocolEnum, port, target int32, proxied bool) (group string, err error) {
	ctx, p := i.lab.ctx, i.provider
	tgs, err := p.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: &name, Protocol: protocol, Port: &target, VpcId: &p.vpc,
		TargetType: elbtypes.TargetTypeEnumInstance, HealthCheckProtocol: elbtypes.ProtocolEnumTcp})
	if err != nil {
		return "", err
	}
	tg := tgs.TargetGroups[0].TargetGroupArn
	if proxied {
		if _, err := p.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: tg,
			Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("proxy_protocol_v2.enabled"), Value: aws.String("true")}}}); err != nil {
			return "", err
		}
	}
	if _, err := p.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tg, Targets: []elbtypes.TargetDescription{{Id: &p.instanceID}}}); err != nil {
		return "", err
	}
	_, err = p.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb, Protocol: protocol, Port: &port,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: tg}}})
	return *tg, err
}

func (i *installation) accept() error {
	out, err := i.provider.ec2.AcceptVpcEndpointConnections(i.lab.ctx, &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &i.service, VpcEndpointIds: []string{i.endpoint}})
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return refused("accept", out.Unsuccessful)
}

func (i *installation) reject() error {
	out, err := i.provider.ec2.RejectVpcEndpointConnections(i.lab.ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: &i.service, VpcEndpointIds: []string{i.endpoint}})
	if err != nil {
		return fmt.Errorf("reject: %w", err)
	}
	return refused("reject", out.Unsuccessful)
}

func refused(what string, items []types.UnsuccessfulItem) error {
	for _, u := range items {
		return fmt.Errorf("%s %s: %s", what, aws.ToString(u.ResourceId), aws.ToString(u.Error.Message))
	}
	return nil
}
