// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"postern.dev/postern/internal/vpc"
)

// places adds where the targets are of the balancers that this host sends to
// and whose VPCs it does not hold: their addresses and hosts. Those that get no
// new flows have places too, since they may have old ones.
func (b *builder) places() {
	for _, lb := range b.used {
		v, ok := vpc.Get[vpc.VPC](b.v, lb.VPC)
		if !ok {
			continue
		}
		if _, held := b.h.VPCs[v.VNI]; held {
			continue
		}
		for l := range vpc.By[vpc.Listener](b.v, vpc.IndexBalancer, lb.ARN) {
			g, ok := vpc.Get[vpc.TargetGroup](b.v, l.TargetGroup)
			if !ok {
				continue
			}
			for _, t := range g.Targets {
				if _, n, ok := TargetPlace(b.v, g, t); ok && n != nil {
					b.place(v.VNI, n)
				}
			}
			for _, t := range g.Cut {
				if n, ok := vpc.First[vpc.NetworkInterface](b.v, vpc.IndexAddr, string(lb.VPC)+"/"+t.Addr.String()); ok {
					b.place(v.VNI, n)
				}
			}
		}
	}
}

// place adds where a workload's interface is, if it is somewhere.
func (b *builder) place(vni vpc.VNI, n *vpc.NetworkInterface) {
	if n.Type == vpc.TypeInterface && n.Attachment != nil {
		b.h.Interfaces[n.ID] = Interface{
			ID: n.ID, VNI: vni, Addr: n.Addr, Secondary: n.Secondary, IPv6: n.IPv6, Kind: KindWorkload, Host: n.Attachment.Host,
		}
	}
}

// hosts adds the other hosts that interfaces are on, if this one takes part.
func (b *builder) hosts() {
	if h, ok := vpc.Get[vpc.Host](b.v, b.host); !ok || !h.Underlay.IsValid() {
		return
	}
	for _, n := range b.h.Interfaces {
		if n.Host == "" || n.Host == b.host {
			continue
		}
		if h, ok := vpc.Get[vpc.Host](b.v, n.Host); ok && h.Underlay.IsValid() {
			b.h.Hosts[n.Host] = h.Underlay
		}
	}
}

// foreignEndpoints adds the endpoints of other VPCs that lead to balancers of
// VPCs with a workload here, where targets may be: their clients' packets come
// in by the number of their link.
func (b *builder) foreignEndpoints(spaces map[vpc.VPCID]bool) {
	for id := range spaces {
		for lb := range vpc.By[vpc.LoadBalancer](b.v, vpc.IndexVPC, id) {
			for s := range vpc.By[vpc.EndpointService](b.v, vpc.IndexBalancer, lb.ARN) {
				for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexService, s.ID) {
					if v, ok := vpc.Get[vpc.VPC](b.v, e.VPC); ok {
						b.endpoint(v, e)
					}
				}
			}
		}
	}
}
