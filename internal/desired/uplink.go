// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"net/netip"

	"postern.dev/postern/internal/vpc"
)

// uplink adds what the network outside reaches through this host's uplink: the
// public addresses of workloads here, those of NAT gateways of VPCs with
// workloads here, and the IPv6 blocks of such VPCs if they have an internet or
// an egress-only gateway. It comes after the tables it reads.
func (b *builder) uplink() {
	home := map[vpc.VNI]bool{}
	for id := range b.h.Workloads {
		if n, ok := b.h.Interfaces[id]; ok {
			home[n.VNI] = true
		}
	}
	add := func(p netip.Prefix) { b.h.Uplink[p.String()] = p }
	for id, n := range b.h.Interfaces {
		_, here := b.h.Workloads[id]
		if n.Public.IsValid() && (here || n.Kind == KindNAT && home[n.VNI]) {
			add(netip.PrefixFrom(n.Public, n.Public.BitLen()))
		}
	}
	ways := map[vpc.VNI]bool{}
	for vni := range home {
		ways[vni] = b.wayOut6(b.h.VPCs[vni].ID)
	}
	for _, s := range b.h.Subnets {
		if s.IPv6.IsValid() && ways[s.VNI] {
			add(s.IPv6)
		}
	}
}

// wayOut6 reports whether a VPC has a gateway that IPv6 passes.
func (b *builder) wayOut6(id vpc.VPCID) bool {
	if _, ok := vpc.First[vpc.InternetGateway](b.v, vpc.IndexVPC, id); ok {
		return true
	}
	_, ok := vpc.First[vpc.EgressOnlyGateway](b.v, vpc.IndexVPC, id)
	return ok
}
