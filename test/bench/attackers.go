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
	"github.com/vishvananda/netlink"
)

// attacker makes the one beside a path, and whom it floods.
func (l *lab) attacker(x *path, inst *installation) (a *attacker, err error) {
	nft, err := need("nft", "install the package nftables")
	if err != nil {
		return nil, err
	}
	switch x.name {
	case "direct":
		a, err = l.attackDirect()
	case "nftables":
		a, err = l.attackRouter(x, nft)
	default:
		a, err = inst.attack()
	}
	if err != nil {
		return nil, err
	}
	return a, l.run(a.ns, quietRules, nft, "-f", "-")
}

// quietRules keep an attacker's kernel from ending the connections that it begins.
const quietRules = `
table ip quiet {
	chain out { type filter hook output priority filter; tcp flags rst drop; }
}
`

// attackDirect is a veth pair that has nothing to do with the one that is measured.
func (l *lab) attackDirect() (*attacker, error) {
	a, err := l.namespace("direct-a")
	if err != nil {
		return nil, err
	}
	f, err := l.namespace("direct-f")
	if err != nil {
		return nil, err
	}
	A, F, mtu := prefix+"direct-a", prefix+"direct-f", strconv.Itoa(l.mtu)
	if err := l.ip(`
link add eth0 netns ` + A + ` mtu ` + mtu + ` type veth peer name eth0 netns ` + F + ` mtu ` + mtu + `
-n ` + A + ` addr add 10.0.3.2/24 dev eth0
-n ` + F + ` addr add 10.0.3.3/24 dev eth0
-n ` + A + ` link set eth0 up
-n ` + F + ` link set eth0 up`); err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("10.0.3.3"), floodPort)
	_, err = l.serve(f, "-port", strconv.Itoa(floodPort))
	return &attacker{ns: a, addr: netip.MustParseAddr("10.0.3.2"), syn: to, udp: to, synNS: f, udpNS: f}, err
}

// floodRules are for the attacker what nftRules are for the client. Those of the
// filter come after them, so the client does not pay for them.
const floodRules = `
table ip pbench {
	chain to { iifname "attacker" ip daddr 10.0.3.1 tcp dport 83 dnat to 10.0.2.2:8082; }
	chain pass {
		iifname "attacker" ip saddr 10.0.0.0/16 ip daddr 10.0.2.2 tcp dport 8082 accept
		iifname "attacker" ip saddr 10.0.0.0/16 oifname "flooded" meta l4proto udp accept
	}
}
`

// attackRouter joins the attacker and another workload to the router.
func (l *lab) attackRouter(x *path, nft string) (*attacker, error) {
	a, err := l.namespace("nftables-a")
	if err != nil {
		return nil, err
	}
	f, err := l.namespace("nftables-f")
	if err != nil {
		return nil, err
	}
	A, R, F, mtu := prefix+"nftables-a", prefix+"nftables-r", prefix+"nftables-f", strconv.Itoa(l.mtu)
	if err := l.ip(`
link add eth0 netns ` + A + ` mtu ` + mtu + ` type veth peer name attacker netns ` + R + ` mtu ` + mtu + `
link add eth0 netns ` + F + ` mtu ` + mtu + ` type veth peer name flooded netns ` + R + ` mtu ` + mtu + `
-n ` + A + ` addr add 10.0.3.2/24 dev eth0
-n ` + R + ` addr add 10.0.3.1/24 dev attacker
-n ` + R + ` addr add 10.0.4.1/24 dev flooded
-n ` + F + ` addr add 10.0.4.2/24 dev eth0
-n ` + A + ` link set eth0 up
-n ` + R + ` link set attacker up
-n ` + R + ` link set flooded up
-n ` + F + ` link set eth0 up
-n ` + A + ` route add default via 10.0.3.1
-n ` + F + ` route add default via 10.0.4.1`); err != nil {
		return nil, err
	}
	router, server := x.spaces[1], x.spaces[2] // as routed has them
	if err := l.run(router, floodRules, nft, "-f", "-"); err != nil {
		return nil, err
	}
	if _, err := l.serve(server, "-port", strconv.Itoa(floodPort)); err != nil {
		return nil, err
	}
	return &attacker{
		ns: a, addr: netip.MustParseAddr("10.0.3.2"),
		syn: netip.AddrPortFrom(netip.MustParseAddr("10.0.3.1"), floodAskPort), udp: netip.AddrPortFrom(netip.MustParseAddr("10.0.4.2"), floodPort),
		synNS: server, udpNS: f,
		// What is left of the flood before is part of no other sample.
		before: func() error { return l.launch.in(router, nil, flushConntrack) },
	}, nil
}

// flushConntrack empties the connection table of the namespace.
func flushConntrack() error {
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("flush conntrack: %w", err)
	}
	return nil
}

// attack starts two more workloads in the client's subnet, the attacker and one
// that takes UDP on all ports, and gives the load balancer another listener.
func (i *installation) attack() (*attacker, error) {
	ctx, p, c := i.lab.ctx, i.provider, i.consumer
	open := func(a *account, group *string, protocol string, from, to int32) error {
		_, err := a.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group, IpPermissions: []types.IpPermission{
			{IpProtocol: &protocol, FromPort: &from, ToPort: &to, IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}}}}})
		return err
	}
	if err := open(p, &p.group, "tcp", floodPort, floodPort); err != nil {
		return nil, err
	}
	if err := open(c, &c.group, "tcp", floodAskPort, floodAskPort); err != nil {
		return nil, err
	}
	g, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &c.vpc, GroupName: aws.String("flooded"), Description: aws.String("the VPC to all ports")})
	if err != nil {
		return nil, err
	}
	if err := open(c, g.GroupId, "udp", 0, 65535); err != nil {
		return nil, err
	}
	serverNS, err := i.namespace(p.instanceID)
	if err != nil {
		return nil, err
	}
	if _, err := i.lab.serve(serverNS, "-port", strconv.Itoa(floodPort)); err != nil {
		return nil, err
	}
	lbs, err := p.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{balancerName}})
	if err != nil {
		return nil, err
	}
	group, err := i.listen(lbs.LoadBalancers[0].LoadBalancerArn, "flood", elbtypes.ProtocolEnumTcp, floodAskPort, floodPort, false)
	if err != nil {
		return nil, err
	}
	if err := i.healthy(group); err != nil {
		return nil, err
	}
	id, addr, err := i.runInstance(c, c.group)
	if err != nil {
		return nil, err
	}
	flooded, floodedAddr, err := i.runInstance(c, *g.GroupId)
	if err != nil {
		return nil, err
	}
	a := &attacker{addr: addr, syn: netip.AddrPortFrom(i.addr, floodAskPort), udp: netip.AddrPortFrom(floodedAddr, floodPort), synNS: serverNS}
	if a.ns, err = i.namespace(id); err != nil {
		return nil, err
	}
	a.udpNS, err = i.namespace(flooded)
	return a, err
}
