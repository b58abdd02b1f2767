// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	rslvrtypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"postern.dev/postern/internal/api/apitest"
)

// resolver is the account's client for Route 53 Resolver.
func (n *network) resolver() *route53resolver.Client {
	return route53resolver.New(route53resolver.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &n.i.endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(n.acct.key, n.acct.secret, "")})
}

func TestAnInboundResolverEndpointAnswersAsItsVPCWhomItsGroupLetsIn(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	left := i.networkOf(i.account("left"), "10.1.0.0/16", false)
	right := i.networkOf(i.account("right"), "10.2.0.0/16", false)
	client := left.launch(left.subnet, left.group)
	// Nothing runs in the other VPC: all that a host holds of it is for whoever asks.
	named := *got(right.acct.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: &right.subnet, PrivateIpAddress: aws.String("10.2.1.77")})).or(t).NetworkInterface.PrivateIpAddress
	const name = "ip-10-2-1-77.ec2.internal"
	group := right.addGroup("dns")
	api := right.resolver()
	e := got(api.CreateResolverEndpoint(ctx, &route53resolver.CreateResolverEndpointInput{
		CreatorRequestId: aws.String("one"), Direction: rslvrtypes.ResolverEndpointDirectionInbound, SecurityGroupIds: []string{group},
		IpAddresses: []rslvrtypes.IpAddressRequest{{SubnetId: &right.subnet, Ip: aws.String("10.2.1.53")}, {SubnetId: &right.subnet}},
	})).or(t).ResolverEndpoint
	eventually(t, "the endpoint is operational", 10*time.Second, func() bool {
		now := got(api.GetResolverEndpoint(ctx, &route53resolver.GetResolverEndpointInput{ResolverEndpointId: e.Id})).or(t).ResolverEndpoint
		return now.Status == rslvrtypes.ResolverEndpointStatusOperational
	})
	addrs := got(api.ListResolverEndpointIpAddresses(ctx, &route53resolver.ListResolverEndpointIpAddressesInput{ResolverEndpointId: e.Id})).or(t).IpAddresses
	if len(addrs) != 2 {
		t.Fatalf("addresses %v", addrs)
	}
	first, second := *addrs[0].Ip, *addrs[1].Ip

	asks := func(network, server string) {
		t.Helper()
		i.says(named, i.exec(client.id, "lookup", network, name, server))
	}
	closed := func(reason, network, server string) {
		t.Helper()
		i.dropped(reason, i.exec(client.id, "lookup", network, name, server))
	}
	closed("no-route", "udp", first)
	left.peer(right)
	closed("group-ingress", "udp", first)
	port, from := int32(53), []types.IpRange{{CidrIp: aws.String(left.cidr.String())}}
	right.letIn(group, types.IpPermission{IpProtocol: aws.String("udp"), FromPort: &port, ToPort: &port, IpRanges: from})
	asks("udp", first)
	asks("udp", second)
	closed("group-ingress", "tcp", first)
	right.letIn(group, tcp(53, left.cidr.String()), tcp(80, left.cidr.String()))
	asks("tcp", first)
	asks("tcp", second)
	// It is a resolver and nothing else, and the peer's own resolver stays the peer's.
	i.dropped("no-listener", i.asks(client, "tcp", first+":80"))
	if out, err := i.exec(client.id, "lookup", "udp", name, "10.1.0.2").CombinedOutput(); err == nil {
		t.Errorf("the VPC's own resolver knows a name of the other's: %s", out)
	}
	i.dropped("no-interface", i.exec(client.id, "lookup", "udp", name, "10.2.0.2"))

	// From the VPC itself, and as soon as it is gone no more.
	inside := right.launch(right.subnet, right.group)
	i.dropped("group-ingress", i.exec(inside.id, "lookup", "udp", name, first))
	right.letIn(group, types.IpPermission{IpProtocol: aws.String("udp"), FromPort: &port, ToPort: &port, IpRanges: []types.IpRange{{CidrIp: aws.String(right.cidr.String())}}})
	i.says(named, i.exec(inside.id, "lookup", "udp", name, first))
	got(api.DeleteResolverEndpoint(ctx, &route53resolver.DeleteResolverEndpointInput{ResolverEndpointId: e.Id})).or(t)
	closed("no-interface", "udp", first)
	i.dropped("no-interface", i.exec(inside.id, "lookup", "udp", name, first))
}
