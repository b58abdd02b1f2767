// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/vpc"
)

// Filler is what concerns no packet of ours but lies in the same maps.

// fillerVNI is the first of the address spaces with filler endpoints: no
// installation's numbers go so high.
const fillerVNI vpc.VNI = 0xf00000

// fillerRoutes are n prefixes of 198.18.0.0/15 and what follows it, of lengths
// from 24 to 32, that lead nowhere. None covers another's.
func fillerRoutes(n int) []desired.Route {
	out := make([]desired.Route, n)
	for i := range out {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 198<<24|18<<16+uint32(i)<<8)
		out[i] = desired.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 24+i%9), Kind: desired.RouteBlackhole}
	}
	return out
}

// fillerRules are n different rules for other addresses and ports.
func fillerRules(n, seed int) []desired.Rule {
	out := make([]desired.Rule, n)
	for i := range out {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 172<<24|16<<16+uint32(seed*n+i)<<4)
		port := 1024 + (seed*n+i)%60000
		out[i] = desired.Rule{Protocol: vpc.TCP, From: port, To: port, Peers: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), 28)}}
	}
	return out
}

// addEndpoints adds n interface endpoints, a thousand to an address space.
func addEndpoints(h *desired.Host, n int) {
	for i := range n {
		vni := fillerVNI + vpc.VNI(i/1000)
		id := vpc.EndpointID(fmt.Sprintf("vpce-filler-%d", i))
		eni := vpc.InterfaceID(fmt.Sprintf("eni-filler-%d", i))
		h.Endpoints[id] = desired.Endpoint{ID: id, VNI: vni, Type: vpc.InterfaceEndpoint, Link: fillerVNI + 1<<16 + vpc.VNI(i)}
		h.Interfaces[eni] = desired.Interface{ID: eni, VNI: vni, Addr: netip.AddrFrom4([4]byte{10, 0, byte(i % 1000 / 250), byte(i%250 + 4)}),
			Kind: desired.KindEndpoint, Endpoint: id, Balancer: fillerNode, MAC: "02:00:00:00:00:99"}
	}
}

// fillerNode is the node behind filler endpoints; it has no listeners.
const fillerNode = "filler@zone"

// fill puts n routes into the client's own route table, n rules into rule sets
// of other interfaces, a thousand each, and n endpoints into other address
// spaces.
func (i *installation) fill(n int) error {
	if n == 0 {
		return nil
	}
	tables, err := i.consumer.ec2.DescribeRouteTables(i.lab.ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{i.consumer.vpc}}, {Name: aws.String("association.main"), Values: []string{"true"}}}})
	if err != nil {
		return err
	}
	if len(tables.RouteTables) != 1 {
		return fmt.Errorf("the client's VPC has %d main route tables", len(tables.RouteTables))
	}
	h := emptyHost()
	h.RouteTables[vpc.RouteTableID(*tables.RouteTables[0].RouteTableId)] = desired.RouteTable{Routes: fillerRoutes(n)}
	addEndpoints(&h, n)
	sets := max(1, n/1000)
	for s := range sets {
		name := fmt.Sprintf("filler-%d", s)
		h.RuleSets[name] = desired.RuleSet{Ingress: fillerRules(n/sets, s)}
		eni := vpc.InterfaceID(fmt.Sprintf("eni-filler-%d", s))
		f := h.Interfaces[eni]
		f.RuleSet = name
		h.Interfaces[eni] = f
	}
	tag, err := link.TagFor(i.dataDir)
	if err != nil {
		return err
	}
	return datapath.Fill(filepath.Join(link.DefaultRunDir(tag), "bpf"), h)
}

func emptyHost() desired.Host {
	return desired.Host{
		VPCs: map[vpc.VNI]desired.VPC{}, Subnets: map[vpc.SubnetID]desired.Subnet{}, RouteTables: map[vpc.RouteTableID]desired.RouteTable{},
		ACLs: map[vpc.ACLID]desired.ACL{}, Interfaces: map[vpc.InterfaceID]desired.Interface{}, RuleSets: map[string]desired.RuleSet{},
		Balancers: map[string]desired.Balancer{}, Endpoints: map[vpc.EndpointID]desired.Endpoint{},
	}
}
