// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"strconv"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// counted are the kinds an operator thinks in.
var counted = []vpc.Kind{
	vpc.KindAccount, vpc.KindVPC, vpc.KindSubnet, vpc.KindRouteTable, vpc.KindGroup, vpc.KindACL, vpc.KindInterface,
	vpc.KindInstance, vpc.KindEndpoint, vpc.KindService, vpc.KindBalancer, vpc.KindTargetGroup, vpc.KindListener,
}

func (h *handler) status(*http.Request) (any, error) {
	v := h.c.View()
	out := Status{Revision: v.Revision(), Hosts: h.hosts(v), Objects: map[vpc.Kind]int{}}
	for _, k := range counted {
		n := 0
		for o := range v.Objects(k) {
			if i, ok := o.(*vpc.Instance); !ok || i.State != vpc.InstanceTerminated {
				n++
			}
		}
		out.Objects[k] = n
	}
	return out, nil
}

func (h *handler) names(*http.Request) (any, error) {
	v := h.c.View()
	out := Names{Names: []Name{}, Spaces: []Space{}}
	for n := range vpc.All[vpc.NetworkInterface](v) {
		name := Name{Num: decimal(n.ID), Kind: vpc.KindInterface, ID: string(n.ID), Name: n.Tags["Name"], VPC: n.VPC, Addr: n.Addr}
		if a := n.Attachment; a != nil && a.Instance != "" {
			name.Instance = a.Instance
			if i, ok := vpc.Get[vpc.Instance](v, a.Instance); ok && i.Tags["Name"] != "" {
				name.Name = i.Tags["Name"]
			}
		}
		out.Names = append(out.Names, name)
	}
	for e := range vpc.All[vpc.Endpoint](v) {
		out.Names = append(out.Names, Name{
			Num: decimal(e.ID), Kind: vpc.KindEndpoint, ID: string(e.ID), Name: e.Tags["Name"], VPC: e.VPC,
			EndpointType: e.Type, ServiceName: e.ServiceName, Service: e.Service, Available: e.State == vpc.EndpointAvailable,
		})
		if e.Link != 0 {
			out.Spaces = append(out.Spaces, Space{VNI: e.Link, VPC: e.VPC, Endpoint: e.ID})
		}
	}
	for e := range vpc.All[vpc.ResolverEndpoint](v) {
		out.Names = append(out.Names, Name{Num: decimal(e.ID), Kind: vpc.KindResolverEndpoint, ID: string(e.ID), Name: e.Name, VPC: e.VPC})
	}
	for s := range vpc.All[vpc.Subnet](v) {
		out.Names = append(out.Names, Name{Num: decimal(s.ID), Kind: vpc.KindSubnet, ID: string(s.ID), Name: s.Tags["Name"], VPC: s.VPC})
	}
	for t := range vpc.All[vpc.RouteTable](v) {
		out.Names = append(out.Names, Name{Num: decimal(t.ID), Kind: vpc.KindRouteTable, ID: string(t.ID), Name: t.Tags["Name"], VPC: t.VPC})
	}
	for b := range vpc.All[vpc.LoadBalancer](v) {
		for _, n := range b.Nodes {
			id := desired.NodeName(b.ARN, n.Zone)
			out.Names = append(out.Names, Name{Num: decimal(id), Kind: vpc.KindBalancer, ID: id, Name: b.Name, VPC: b.VPC})
		}
	}
	for p := range vpc.All[vpc.Peering](v) {
		out.Names = append(out.Names, Name{Num: decimal(p.ID), Kind: vpc.KindPeering, ID: string(p.ID), VPC: p.Requester.VPC})
	}
	for p := range vpc.All[vpc.VPC](v) {
		out.Spaces = append(out.Spaces, Space{VNI: p.VNI, VPC: p.ID})
	}
	return out, nil
}

func decimal[T ~string](id T) string { return strconv.FormatUint(vpc.Num(id), 10) }
