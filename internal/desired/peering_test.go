// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"net/netip"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// peered is a consumer's VPC with a workload here and another's without, which
// are joined by a connection in the state. Each names the other's group.
func peered(state vpc.PeeringState) *vpctest.View {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.1.1.5")
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-p")
	n = vpc.Edit(n)
	n.Attachment = &vpc.Attachment{Instance: "i-p", Host: "h2"}
	n.IPv6 = []netip.Addr{netip.MustParseAddr("2001:db8:0:1::5")}
	v.Put(n)
	v.Put(&vpc.Account{ID: "p", Keys: []vpc.AccessKey{{ID: "AKIAP"}}})
	v.Put(&vpc.Peering{
		ID: "pcx-1", State: state,
		Requester: vpc.PeeringSide{Owner: "c", VPC: "vpc-c"}, Accepter: vpc.PeeringSide{Owner: "p", VPC: "vpc-p"},
	})
	for mine, other := range map[string]string{"c": "p", "p": "c"} {
		v.Put(&vpc.RouteTable{ID: vpc.RouteTableID("rtb-" + mine), VPC: vpc.VPCID("vpc-" + mine), Main: "m-" + mine, Routes: []vpc.Route{
			{CIDR: netip.MustParsePrefix("10.1.0.0/16"), TargetKind: vpc.TargetPeering, Target: "pcx-1"},
		}})
		v.Put(&vpc.SecurityGroup{ID: vpc.GroupID("sg-" + mine), VPC: vpc.VPCID("vpc-" + mine), Rules: []vpc.GroupRule{
			{Protocol: vpc.TCP, From: 80, To: 80, Group: vpc.GroupID("sg-" + other), GroupVPC: vpc.VPCID("vpc-" + other), Peering: "pcx-1"},
		}})
	}
	return v
}

// Over an active connection a route leads to the peer, a rule that names the
// peer's group means its private addresses, and the host holds what packets
// meet over there; without one, none of it.
func TestAPeerIsReachedWhileTheConnectionIsActive(t *testing.T) {
	for state, active := range map[vpc.PeeringState]bool{
		vpc.PeeringActive: true, vpc.PeeringPending: false, vpc.PeeringDeleted: false,
	} {
		v := peered(state)
		service(v, vpc.EndpointAvailable, true) // with a load balancer in vpc-p
		v.Put(&vpc.Endpoint{ID: "vpce-g", VPC: "vpc-p", Type: vpc.GatewayEndpoint, ServiceName: "com.amazonaws.us-east-1.s3", State: vpc.EndpointAvailable})
		v.Put(&vpc.CatalogueService{Name: "s3", ServiceName: "com.amazonaws.us-east-1.s3"})
		h := desired.ForHost(v, host)
		route := desired.Route{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Kind: desired.RouteBlackhole}
		peers := ""
		if active {
			route.Kind, route.Peer, route.Peering = desired.RoutePeering, 0x2000, "pcx-1"
			peers = "10.1.1.5/32 2001:db8:0:1::5/128 "
		}
		if r := h.RouteTables["rtb-c"].Routes; len(r) != 1 || r[0] != route {
			t.Errorf("%s: routes %+v, want %+v", state, r, route)
		}
		got := ""
		for _, r := range h.RuleSets["sg-c"].Ingress {
			for _, p := range r.Peers {
				got += p.String() + " "
			}
		}
		if got != peers {
			t.Errorf("%s: the peer's group stands for %q, want %q", state, got, peers)
		}
		_, subnet := h.Subnets["subnet-p"]
		_, table := h.RouteTables["rtb-p"]
		_, acl := h.ACLs["acl-p"]
		_, rules := h.RuleSets["sg-p"]
		workload, ok := h.Interfaces["eni-p"]
		_, node := h.Interfaces["eni-node"]
		space, known := h.VPCs[0x2000]
		for what, held := range map[string]bool{
			"subnet": subnet, "route table": table, "ACL": acl, "group": rules, "interface": ok && workload.MAC != "" && workload.Host == "h2", "node": node, "space": known,
		} {
			if held != active {
				t.Errorf("%s: the peer's %s is held: %v", state, what, held)
			}
		}
		if space.DNS || len(space.Records) > 0 {
			t.Errorf("%s: names of the peer are held: %+v", state, space)
		}
		if _, ok := h.Endpoints["vpce-g"]; ok {
			t.Errorf("%s: the peer's gateway endpoint is held", state)
		}
		if _, ok := h.Workloads["eni-p"]; ok || h.Keys["AKIAP"] != "" {
			t.Errorf("%s: workloads %v, keys %v", state, h.Workloads, h.Keys)
		}
	}
}

// A peer's peer is no peer.
func TestNoTransit(t *testing.T) {
	v := peered(vpc.PeeringActive)
	space(v, "x", 0x3000, "10.2.1.5")
	n, _ := vpc.Get[vpc.NetworkInterface](v, "eni-x")
	n = vpc.Edit(n)
	n.Attachment = &vpc.Attachment{Instance: "i-x", Host: "h2"}
	v.Put(n)
	v.Put(&vpc.Peering{
		ID: "pcx-2", State: vpc.PeeringActive,
		Requester: vpc.PeeringSide{Owner: "p", VPC: "vpc-p"}, Accepter: vpc.PeeringSide{Owner: "x", VPC: "vpc-x"},
	})
	if h := desired.ForHost(v, host); len(h.Subnets) != 2 || len(h.VPCs) != 2 {
		t.Errorf("subnets %v, VPCs %v", h.Subnets, h.VPCs)
	}
}
