// SPDX-License-Identifier: Apache-2.0

package vpc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestBrokenPeeringsAreNamed(t *testing.T) {
	for want, change := range map[string]func(p *vpc.Peering, theirs *vpc.VPC){
		"":                       func(*vpc.Peering, *vpc.VPC) {},
		"is no id of the form":   func(p *vpc.Peering, _ *vpc.VPC) { p.ID = "pcx-1" },
		"joins vpc-a with":       func(p *vpc.Peering, _ *vpc.VPC) { p.Accepter.VPC = "vpc-a" },
		"and ended at":           func(p *vpc.Peering, _ *vpc.VPC) { p.Ended = time.Unix(1, 0) },
		"is not its side's":      func(p *vpc.Peering, _ *vpc.VPC) { p.Accepter.Owner = "a" },
		"overlap in 10.0.0.0/16": func(_ *vpc.Peering, v *vpc.VPC) { v.CIDRs[0].CIDR = netip.MustParsePrefix("10.0.8.0/24") },
	} {
		mine := &vpc.VPC{ID: "vpc-a", Owner: "a", VNI: 0x1000, CIDRs: []vpc.CIDRAssociation{{CIDR: netip.MustParsePrefix("10.0.0.0/16")}}}
		theirs := &vpc.VPC{ID: "vpc-b", Owner: "b", VNI: 0x1001, CIDRs: []vpc.CIDRAssociation{{CIDR: netip.MustParsePrefix("10.1.0.0/16")}}}
		p := &vpc.Peering{ID: "pcx-00000000000000001", State: vpc.PeeringActive,
			Requester: vpc.PeeringSide{Owner: "a", VPC: "vpc-a"}, Accepter: vpc.PeeringSide{Owner: "b", VPC: "vpc-b"}}
		change(p, theirs)
		var about []string
		for _, err := range vpc.Invariants(vpctest.Of(mine, theirs, p)) {
			if s := err.Error(); strings.HasPrefix(s, string(vpc.KindPeering)) {
				about = append(about, s)
			}
		}
		if got := fmt.Sprint(about); want == "" && len(about) > 0 || !strings.Contains(got, want) {
			t.Errorf("broken invariants %s, want one with %q", got, want)
		}
	}
}
