// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// Peering carries no packets yet: a route over an active connection drops, and
// a rule that names the peer's group opens nothing.
func TestPacketsForAPeerAreDropped(t *testing.T) {
	v := vpctest.Of()
	space(v, "c", 0x1000, "10.0.1.5")
	space(v, "p", 0x2000, "10.1.1.5")
	v.Put(&vpc.Peering{
		ID: "pcx-1", State: vpc.PeeringActive,
		Requester: vpc.PeeringSide{Owner: "c", VPC: "vpc-c"}, Accepter: vpc.PeeringSide{Owner: "p", VPC: "vpc-p"},
	})
	peer := netip.MustParsePrefix("10.1.0.0/16")
	v.Put(&vpc.RouteTable{ID: "rtb-c", VPC: "vpc-c", Main: "m-c", Routes: []vpc.Route{
		{CIDR: peer, TargetKind: vpc.TargetPeering, Target: "pcx-1"},
	}})
	g, _ := vpc.Get[vpc.SecurityGroup](v, "sg-c")
	g = vpc.Edit(g)
	g.Rules = []vpc.GroupRule{{Protocol: vpc.AllProtocols, Group: "sg-p", GroupVPC: "vpc-p", Peering: "pcx-1"}}
	v.Put(g)
	h := desired.ForHost(v, host)
	for _, r := range h.RouteTables["rtb-c"].Routes {
		if r.Prefix == peer && (r.Kind != desired.RoutePeering || r.Peer != 0x2000 || r.Peering != "pcx-1") {
			t.Errorf("the route to the peer is %+v, want one to the peer", r)
		}
	}
	if len(h.RouteTables["rtb-c"].Routes) != 1 {
		t.Errorf("routes: %+v", h.RouteTables["rtb-c"].Routes)
	}
	v.Put(&vpc.Peering{ID: "pcx-1", State: vpc.PeeringDeleted})
	if r := desired.ForHost(v, host).RouteTables["rtb-c"].Routes; len(r) != 1 || r[0].Kind != desired.RouteBlackhole {
		t.Errorf("the route over a deleted connection is %+v, want a blackhole", r)
	}
	b, _ := json.Marshal(h.RuleSets["sg-c"])
	if strings.Contains(string(b), "10.1.1.5") || h.RuleSets["sg-c"].Ingress != nil {
		t.Errorf("the rule about the peer's group opens %s", b)
	}
}
