// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func TestRulesForIPv6LetIPv6In(t *testing.T) {
	needRoot(t)
	i := newInstall(t)
	n := i.networkOf(i.account("owner"), "10.0.0.0/16", true)
	client := n.launch(n.addSubnet(2), n.group)
	web := n.addGroup("web")
	server := n.launch(n.subnet, web)
	four, six := server.addr+":7000", "["+server.six+"]:7000"
	i.listening(i.exec(server.id, "answer", four, six))
	for _, addr := range []string{four, six} {
		i.dropped("group-ingress", i.asks(client, "tcp", addr))
	}
	n.letIn(web, tcp(7000, client.six+"/128"))
	i.says(client.six, i.asks(client, "tcp", six))
	i.dropped("group-ingress", i.asks(client, "udp", six))
	i.dropped("group-ingress", i.asks(client, "tcp", four))

	// Neighbours find each other without the router.
	near := n.launch(n.subnet, n.group)
	i.dropped("group-ingress", i.asks(near, "tcp", six))
	n.letIn(web, tcp(7000, near.six+"/128"), tcp(7000, client.addr+"/32"))
	i.says(near.six, i.asks(near, "tcp", six))
	i.carries(near, six)
	i.carries(client, six)
	i.says(client.addr, i.asks(client, "tcp", four))
	i.dropped("group-ingress", i.asks(near, "tcp", four))
	i.says("reply", i.exec(server.id, "ping", client.six))
	i.refused(i.asks(server, "udp", "["+client.six+"]:9"))
	i.dropped("group-ingress", i.exec(client.id, "ping", server.six))
}

// A client asks for the endpoint's IPv6 address, goes there, and comes to
// targets of either family.
func TestADualStackEndpointLeadsToTargetsOfBothFamilies(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	consumer, provider := i.networkOf(i.account("consumer"), "10.0.0.0/16", true), i.networkOf(i.account("provider"), "10.0.0.0/16", true)
	client, server := consumer.launch(consumer.subnet, consumer.group), provider.launch(provider.subnet, provider.group)
	i.listening(i.exec(server.id, "answer", server.addr+":7000", "["+server.six+"]:7000"))
	i.listening(i.exec(server.id, "greet", "25"))

	a := provider.acct
	lb := got(a.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("both"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, IpAddressType: elbtypes.IpAddressTypeDualstack, Subnets: []string{provider.subnet}})).or(t).LoadBalancers[0]
	node := lb.AvailabilityZones[0].LoadBalancerAddresses[0]
	attribute := func(group *string, key, value string) {
		t.Helper()
		got(provider.acct.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: group,
			Attributes: []elbtypes.TargetGroupAttribute{{Key: &key, Value: &value}}})).or(t)
	}
	listen := func(protocol elbtypes.ProtocolEnum, port int32, family elbtypes.TargetGroupIpAddressTypeEnum, targetPort int32) (group *string) {
		t.Helper()
		kind, target := elbtypes.TargetTypeEnumInstance, server.id
		if family == elbtypes.TargetGroupIpAddressTypeEnumIpv6 {
			kind, target = elbtypes.TargetTypeEnumIp, server.six
		}
		tg := got(a.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String(fmt.Sprint(protocol, "-", port)), Protocol: protocol, Port: &targetPort,
			VpcId: &provider.vpc, TargetType: kind, IpAddressType: family})).or(t).TargetGroups[0].TargetGroupArn
		got(a.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tg, Targets: []elbtypes.TargetDescription{{Id: &target}}})).or(t)
		got(a.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb.LoadBalancerArn, Protocol: protocol, Port: &port,
			DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: tg}}})).or(t)
		eventually(t, "the target "+target+" is healthy", 15*time.Second, func() bool {
			h := got(a.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: tg})).or(t)
			return len(h.TargetHealthDescriptions) == 1 && h.TargetHealthDescriptions[0].TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy
		})
		return tg
	}
	const four, six = elbtypes.TargetGroupIpAddressTypeEnumIpv4, elbtypes.TargetGroupIpAddressTypeEnumIpv6
	listen(elbtypes.ProtocolEnumTcp, 4, four, 7000)
	to6 := listen(elbtypes.ProtocolEnumTcp, 6, six, 7000)
	listen(elbtypes.ProtocolEnumUdp, 6000, six, 7000)
	attribute(listen(elbtypes.ProtocolEnumTcp, 24, four, 25), "proxy_protocol_v2.enabled", "true")
	attribute(listen(elbtypes.ProtocolEnumTcp, 26, six, 25), "proxy_protocol_v2.enabled", "true")

	// In its own VPC first: targets by instance see the client, if that is possible.
	near := provider.launch(provider.subnet, provider.group)
	node4, node6 := *node.PrivateIPv4Address, *node.IPv6Address
	i.says(node6, i.exec(near.id, "resolve", *lb.DNSName, "10.0.0.2"))
	i.says(near.addr, i.asks(near, "tcp", node4+":4"))
	i.says(node4, i.asks(near, "tcp", "["+node6+"]:4"))
	i.says(node6, i.asks(near, "tcp", "["+node6+"]:6"))
	attribute(to6, "preserve_client_ip.enabled", "true")
	i.says(near.six, i.asks(near, "tcp", "["+node6+"]:6"))
	i.carries(near, "["+node6+"]:6")
	attribute(to6, "preserve_client_ip.enabled", "false")

	service := got(a.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{*lb.LoadBalancerArn}, AcceptanceRequired: aws.Bool(false), SupportedIpAddressTypes: []string{"ipv4", "ipv6"}})).or(t).ServiceConfiguration
	got(a.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: service.ServiceId, AddAllowedPrincipals: []string{"*"}})).or(t)
	a = consumer.acct
	group := consumer.addGroup("endpoint") // and nothing over IPv4
	for _, port := range []int32{4, 6, 24, 26} {
		consumer.letIn(group, tcp(port, client.six+"/128"))
	}
	e := got(a.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &consumer.vpc, ServiceName: service.ServiceName, VpcEndpointType: types.VpcEndpointTypeInterface,
		IpAddressType: types.IpAddressTypeDualstack, DnsOptions: &types.DnsOptionsSpecification{DnsRecordIpType: types.DnsRecordIpTypeDualstack},
		SubnetIds: []string{consumer.subnet}, SecurityGroupIds: []string{group}})).or(t).VpcEndpoint
	(&story{install: i, consumer: consumer, endpoint: *e.VpcEndpointId}).available()
	addr, addr6 := consumer.addrs(e.NetworkInterfaceIds[0])

	// The resolver says the same at both of its addresses.
	name := *e.DnsEntries[0].DnsName
	i.says(addr6+"\n"+addr6, i.exec(client.id, "resolve", name, "fd00:ec2::253", "10.0.0.2"))
	i.says(node4, i.asks(client, "tcp", "["+addr6+"]:4"))
	i.says(node6, i.asks(client, "tcp", "["+addr6+"]:6"))
	i.says(node6, i.asks(client, "tcp6", name+":6"))
	for _, port := range []string{"4", "6"} {
		i.carries(client, "["+addr6+"]:"+port)
	}
	i.dropped("group-ingress", i.asks(client, "udp", "["+addr6+"]:6000"))
	consumer.letIn(group, types.IpPermission{IpProtocol: aws.String("udp"), FromPort: aws.Int32(6000), ToPort: aws.Int32(6000), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}})
	i.says(node6, i.asks(client, "udp", "["+addr6+"]:6000"))
	i.dropped("group-ingress", i.asks(client, "tcp", addr+":4"))

	// Targets that want to know who the client is are told its IPv6 address.
	for port, asked := range map[string]string{"24": "::ffff:" + node4, "26": node6} {
		i.meets(client, "["+addr6+"]:"+port, fmt.Sprintf("[%s]:%s %s", asked, port, *e.VpcEndpointId))
	}

	// A client over IPv4 reaches targets of IPv4 only.
	consumer.letIn(group, tcp(4, client.addr+"/32"), tcp(6, client.addr+"/32"))
	i.says(node4, i.asks(client, "tcp", addr+":4"))
	i.dropped("family", i.asks(client, "tcp", addr+":6"))

	// Without IPv6 the endpoint has no such address any more, for flows that are there neither.
	c := i.talks(client, "["+addr6+"]:4", node4)
	c.goesOn(true)
	got(a.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: e.VpcEndpointId, IpAddressType: types.IpAddressTypeIpv4,
		DnsOptions: &types.DnsOptionsSpecification{DnsRecordIpType: types.DnsRecordIpTypeIpv4}})).or(t)
	c.goesOn(false)
	i.dropped("no-interface", i.asks(client, "tcp", "["+addr6+"]:4"))
	i.says(node4, i.asks(client, "tcp", addr+":4"))
}
