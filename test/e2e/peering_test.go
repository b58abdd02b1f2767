// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// peer connects two networks, each with a route to the other in its main table.
func (n *network) peer(with *network) (id string) {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	id = *got(n.acct.ec2.CreateVpcPeeringConnection(ctx, &ec2.CreateVpcPeeringConnectionInput{
		VpcId: &n.vpc, PeerVpcId: &with.vpc, PeerOwnerId: &with.acct.id})).or(t).VpcPeeringConnection.VpcPeeringConnectionId
	got(with.acct.ec2.AcceptVpcPeeringConnection(ctx, &ec2.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: &id})).or(t)
	n.routePeer(id, with)
	with.routePeer(id, n)
	return id
}

// routePeer sends what is for a network over a peering.
func (n *network) routePeer(id string, to *network) {
	n.i.t.Helper()
	table := n.table("")
	n.route(&ec2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: aws.String(to.cidr.String()), VpcPeeringConnectionId: &id})
	if to.six.IsValid() {
		n.route(&ec2.CreateRouteInput{RouteTableId: &table, DestinationIpv6CidrBlock: aws.String(to.six.String()), VpcPeeringConnectionId: &id})
	}
}

func TestPeeredVPCsReachEachOtherAndNoFurther(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	left := i.networkOf(i.account("left"), "10.1.0.0/16", true)
	right := i.networkOf(i.account("right"), "10.2.0.0/16", true)
	third := i.networkOf(i.account("third"), "10.3.0.0/16", true)
	clients, web := left.addGroup("clients"), right.addGroup("web")
	client, stranger := left.launch(left.subnet, clients), left.launch(left.subnet, left.addGroup("others"))
	server := right.launch(right.subnet, web)
	provider := third.launch(third.subnet, third.group)
	four, six := server.addr+":7000", "["+server.six+"]:7000"
	i.listening(i.exec(server.id, "answer", four, six))
	i.listening(i.exec(provider.id, "answer", provider.addr+":7000", "["+provider.six+"]:7000"))
	i.dropped("no-route", i.asks(client, "tcp", four))

	peering := left.peer(right)
	i.dropped("group-ingress", i.asks(client, "tcp", four))
	// The peer's group is named, not its addresses.
	port := int32(7000)
	right.letIn(web, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, UserIdGroupPairs: []types.UserIdGroupPair{
		{GroupId: &clients, UserId: &left.acct.id, VpcPeeringConnectionId: &peering}}})
	i.says(client.addr, i.asks(client, "tcp", four))
	i.says(client.six, i.asks(client, "tcp", six))
	i.dropped("group-ingress", i.asks(stranger, "tcp", four))
	i.dropped("group-ingress", i.asks(stranger, "tcp", six))

	// Beyond the peer there is no further, whatever the routes say.
	beyond := right.peer(third)
	left.routePeer(peering, third)
	third.routePeer(beyond, left)
	i.dropped("no-interface", i.asks(client, "tcp", provider.addr+":7000"))
	i.dropped("no-interface", i.asks(client, "tcp", "["+provider.six+"]:7000"))
	// An endpoint of the peer's is in the peer.
	service := third.service(provider.id, 7000, false)
	endpoint, addr := right.endpoint(service)
	(&story{install: i, consumer: right, endpoint: endpoint}).available()
	e := got(right.acct.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})).or(t).VpcEndpoints[0]
	_, addr6 := right.addrs(e.NetworkInterfaceIds[0])
	for _, to := range []string{addr + ":80", "[" + addr6 + "]:80"} {
		i.says(service.node, i.asks(client, "tcp", to))
	}

	var talks []*conversation
	for to, seen := range map[string]string{four: client.addr, six: client.six, addr + ":80": service.node, "[" + addr6 + "]:80": service.node} {
		i.carries(client, to)
		talks = append(talks, i.talks(client, to, seen))
	}
	for _, c := range talks {
		c.goesOn(true)
	}
	got(left.acct.ec2.DeleteVpcPeeringConnection(ctx, &ec2.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: &peering})).or(t)
	for _, c := range talks {
		c.goesOn(false)
	}
	for _, to := range []string{four, six, addr + ":80"} {
		i.dropped("blackhole", i.asks(client, "tcp", to))
	}
}
