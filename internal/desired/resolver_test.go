// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// resolverEndpoint adds an endpoint with one interface.
func resolverEndpoint(v *vpctest.View, id vpc.ResolverEndpointID, in string, inbound bool, addr string) {
	eni := vpc.InterfaceID("eni-" + id)
	v.Put(&vpc.NetworkInterface{ID: eni, VPC: vpc.VPCID("vpc-" + in), Subnet: vpc.SubnetID("subnet-" + in), Zone: "us-east-1a", Type: vpc.TypeResolver,
		Addr: netip.MustParseAddr(addr), MAC: "02:00:00:00:00:07", Resolver: id, Groups: []vpc.GroupID{vpc.GroupID("sg-" + in)}})
	v.Put(&vpc.ResolverEndpoint{ID: id, Owner: vpc.AccountID(in), VPC: vpc.VPCID("vpc-" + in), Inbound: inbound, Addresses: []vpc.ResolverAddress{{Interface: eni, Addr: netip.MustParseAddr(addr)}}})
}

func hasName(s desired.VPC, name string) bool {
	return slices.ContainsFunc(s.Records, func(r desired.Record) bool { return r.Name == name })
}

// A peer with an inbound endpoint can be asked by workloads here: the host holds
// the endpoint and what the peer's resolver answers. Without one it holds no
// name of the peer's, and an outbound endpoint answers nothing.
func TestAnInboundResolverEndpointBringsThePeersNames(t *testing.T) {
	for _, inbound := range []bool{true, false} {
		v := peered(vpc.PeeringActive)
		v.Put(&vpc.Region{Name: "us-east-1"})
		resolverEndpoint(v, "rslvr-1", "p", inbound, "10.1.1.53")
		h := desired.ForHost(v, host)
		e, held := h.Endpoints["rslvr-1"]
		want := desired.Endpoint{ID: "rslvr-1", Owner: "p", VPC: "vpc-p", VNI: 0x2000, Type: vpc.InterfaceEndpoint, Resolver: true}
		if held != inbound || held && e != want {
			t.Errorf("inbound %v: the endpoint is held: %v %+v", inbound, held, e)
		}
		if space := h.VPCs[0x2000]; space.DNS != inbound || hasName(space, "ip-10-1-1-5.ec2.internal") != inbound {
			t.Errorf("inbound %v: the peer's names are %+v", inbound, space)
		}
		n := h.Interfaces["eni-rslvr-1"]
		if n.Kind != desired.KindEndpoint || n.Endpoint != "rslvr-1" || n.RuleSet != "sg-p" || n.Balancer != "" {
			t.Errorf("inbound %v: interface %+v", inbound, n)
		}
	}
}

func TestRulesInForceAreWhatAVPCForwards(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "d", 0x2000, "10.0.1.5")
	to := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:5353")}
	v.Put(&vpc.ResolverRule{ID: "rslvr-rr-1", Domain: "corp.example", Endpoint: "rslvr-out-1", Targets: to})
	v.Put(&vpc.ResolverRule{ID: "rslvr-rr-2", Domain: "aws.corp.example"})
	v.Put(&vpc.ResolverRule{ID: "rslvr-rr-3", Domain: "", Endpoint: "rslvr-out-1", Targets: to[:1]})
	for i, rule := range []vpc.ResolverRuleID{"rslvr-rr-1", "rslvr-rr-2", "rslvr-rr-3"} {
		v.Put(&vpc.ResolverAssociation{ID: vpc.ResolverAssociationID(rune('a' + i)), Rule: rule, VPC: "vpc-c"})
	}
	h := desired.ForHost(v, host)
	want := []desired.Forward{{Domain: "", Targets: to[:1]}, {Domain: "aws.corp.example"}, {Domain: "corp.example", Targets: to}}
	if got := h.VPCs[0x1000].Forwards; !reflect.DeepEqual(got, want) {
		t.Errorf("forwards %+v, want %+v", got, want)
	}
	if got := h.VPCs[0x2000].Forwards; got != nil {
		t.Errorf("a VPC without rules forwards %+v", got)
	}
}
