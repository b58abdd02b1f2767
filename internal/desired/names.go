// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// recordTTL is the life of every name we answer, in seconds; AWS's endpoint
// and balancer names have 60.
const recordTTL = 60

// nameless is a VPC whose resolver does not answer.
func nameless(v *vpc.VPC) VPC {
	return VPC{ID: v.ID, Owner: v.Owner, VNI: v.VNI, CIDRs: v.Prefixes(), Resolver: v.ResolverAddr()}
}

// names is a VPC with what its resolver answers. Instances have no names for
// their IPv6 addresses: in AWS only the names by instance id can have those.
func (b *builder) names(v *vpc.VPC) VPC {
	out := nameless(v)
	out.DNS = v.EnableDNSSupport
	if !v.EnableDNSSupport {
		return out
	}
	out.Forwards = b.forwards(v)
	region, _ := vpc.Get[vpc.Region](b.v, vpc.RegionKey)
	if region == nil {
		return out
	}
	add := func(r Record) {
		r.Name = vpc.CanonicalName(r.Name)
		r.TTL = recordTTL
		out.Records = append(out.Records, r)
	}
	for s := range vpc.All[vpc.CatalogueService](b.v) {
		b.publicNames(add, v, s)
	}
	internal := "ec2.internal"
	if region.Name != "us-east-1" {
		internal = region.Name + ".compute.internal"
	}
	for n := range vpc.By[vpc.NetworkInterface](b.v, vpc.IndexVPC, v.ID) {
		for _, a := range n.Addrs() {
			name := "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "." + internal
			add(Record{Name: name, Addrs: []netip.Addr{a}})
			add(Record{Name: reverseName(a), PTR: name})
		}
	}
	for lb := range vpc.By[vpc.LoadBalancer](b.v, vpc.IndexVPC, v.ID) {
		name := lb.Name + "-" + lb.Suffix + ".elb." + region.Name + ".amazonaws.com"
		zones := b.answeringZones(lb)
		var answer []netip.Addr
		for _, n := range lb.Nodes {
			addrs := present(n.Addr, n.Addr6)
			if slices.Contains(zones, n.Zone) {
				answer = append(answer, addrs...)
			}
			add(Record{Name: n.Zone + "." + name, Addrs: addrs})
		}
		add(Record{Name: name, Addrs: answer})
	}
	for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexVPC, v.ID) {
		if e.State.Carries() && e.Named && e.Type == vpc.InterfaceEndpoint {
			b.endpointNames(&out, add, v, e)
		}
	}
	slices.SortFunc(out.Records, func(a, c Record) int { return strings.Compare(a.Name, c.Name) })
	slices.Sort(out.PrivateZones)
	return out
}

// present are the addresses that are there.
func present(addrs ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() })
}

// families are the address families that a name answers with.
type families struct{ ipv4, ipv6 bool }

// recordFamilies are those of a DNS record type that is not service-defined.
func recordFamilies(recordType string) families {
	return families{ipv4: recordType != vpc.IPv6Only, ipv6: recordType != vpc.IPv4Only}
}

// of are the addresses of the families.
func (f families) of(addrs []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		return a.Is4() && !f.ipv4 || a.Is6() && !f.ipv6
	})
}

// publicNames adds the names of a catalogue service with its public addresses.
// A gateway endpoint that chose a DNS record type says of which family they are
// in its VPC, several together; otherwise the service does.
func (b *builder) publicNames(add func(Record), v *vpc.VPC, s *vpc.CatalogueService) {
	var chosen families
	for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexVPC, v.ID) {
		if e.Type != vpc.GatewayEndpoint || e.ServiceName != s.ServiceName || !e.State.Carries() || !v.EnableDNSHostnames {
			continue
		}
		if t := e.DNSRecordType(); t != vpc.RecordServiceDefined {
			f := recordFamilies(t)
			chosen = families{chosen.ipv4 || f.ipv4, chosen.ipv6 || f.ipv6}
		}
	}
	for _, n := range s.PublicNames {
		f := chosen
		if f == (families{}) {
			f = families{ipv4: true, ipv6: s.DualStackName(n)}
		}
		add(Record{Name: n, Addrs: f.of(s.Addresses)})
	}
}

// endpointNames adds an interface endpoint's regional, zonal and private names.
func (b *builder) endpointNames(out *VPC, add func(Record), v *vpc.VPC, e *vpc.Endpoint) {
	for _, n := range vpc.EndpointNamesIn(b.v, e) {
		r := Record{Name: n.Name, CNAME: n.CNAME}
		f, nodes := recordFamilies(e.DNSRecordType()), n.Nodes
		if e.DNSRecordType() == vpc.RecordServiceDefined {
			// A private name then has no AAAA record, which the regional name has.
			f = families{ipv4: true, ipv6: n.Zone == ""}
			if n.CNAME != "" {
				r.CNAME, nodes = "", e.Nodes
			}
		}
		for _, node := range b.answering(e, nodes) {
			r.Addrs = append(r.Addrs, f.of(present(node.Addr, node.Addr6))...)
		}
		if len(r.Addrs) == 0 && r.CNAME == "" || len(e.Nodes) == 0 {
			continue
		}
		if n.Zone == "" {
			add(r)
			continue
		}
		if !v.EnableDNSHostnames || e.InboundOnly {
			continue // private zones need both attributes, and in the VPC they may be unwanted
		}
		// A catalogue service's public name leads to the endpoint from now on.
		out.Records = slices.DeleteFunc(out.Records, func(o Record) bool { return o.Name == n.Name })
		add(r)
		if !slices.Contains(out.PrivateZones, n.Zone) {
			out.PrivateZones = append(out.PrivateZones, n.Zone)
		}
	}
}

// answering are the nodes of an endpoint that a name for several of them
// answers with: those in zones where the customer's service has healthy
// targets, or all when it has none anywhere.
func (b *builder) answering(e *vpc.Endpoint, nodes []vpc.EndpointNode) []vpc.EndpointNode {
	if e.Service == "" || len(nodes) < 2 {
		return nodes
	}
	healthy := slices.DeleteFunc(slices.Clone(nodes), func(n vpc.EndpointNode) bool {
		lb, ok := b.balancerFor(e, n.Zone)
		return !ok || !b.zoneHealthy(lb, n.Zone)
	})
	if len(healthy) == 0 {
		return nodes
	}
	return healthy
}

// reverseName is the in-addr.arpa name of an IPv4 address.
func reverseName(a netip.Addr) string {
	p := strings.Split(a.String(), ".")
	slices.Reverse(p)
	return strings.Join(p, ".") + ".in-addr.arpa"
}
