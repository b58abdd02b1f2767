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

// names is a VPC with what its resolver answers.
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
	for n := range vpc.By[vpc.NetworkInterface](b.v, vpc.IndexVPC, v.ID) {
		b.hostNames(add, region, n)
		if v.EnableDNSHostnames {
			b.elasticName(add, region, n, false)
		}
	}
	b.balancerNames(add, region, v.ID)
	for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexVPC, v.ID) {
		b.endpointNames(add, e)
		b.privateNames(&out, add, v, e)
	}
	for p := range vpc.By[vpc.Peering](b.v, vpc.IndexVPC, v.ID) {
		if p.State == vpc.PeeringActive {
			b.peerNames(add, region, v, p.Other(v.ID))
		}
	}
	slices.SortStableFunc(out.Records, func(a, c Record) int { return strings.Compare(a.Name, c.Name) })
	slices.Sort(out.PrivateZones)
	slices.Sort(out.InboundZones)
	b.hostedZones(v, &out)
	return out
}

// hostNames adds the private names of an interface's addresses, and by its id
// those of the instance it is the primary interface of: the records that the
// instance's options ask for. An address leads back to its IP name, or to the
// resource name when the instance is named so; an IPv6 address has no other.
func (b *builder) hostNames(add func(Record), r *vpc.Region, n *vpc.NetworkInterface) {
	for _, a := range n.Addrs() {
		if a.IsValid() {
			add(Record{Name: r.IPName(a), Addrs: []netip.Addr{a}})
		}
	}
	back := func(a netip.Addr) string { return r.IPName(a) }
	if i := b.instanceOf(n); i != nil {
		name := r.ResourceName(i.ID)
		var addrs []netip.Addr
		if i.ResourceNameA {
			addrs = append(addrs, n.Addr)
		}
		if i.ResourceNameAAAA {
			addrs = append(addrs, n.IPv6...)
		}
		if len(addrs) > 0 {
			add(Record{Name: name, Addrs: addrs})
		}
		back = func(a netip.Addr) string {
			if a.Is4() && (a != n.Addr || i.Hostname() == vpc.IPName || !i.ResourceNameA) {
				return r.IPName(a)
			}
			return name
		}
		if i.ResourceNameAAAA {
			for _, a := range n.IPv6 {
				add(Record{Name: vpc.ReverseName(a), PTR: name})
			}
		}
	}
	for _, a := range n.Addrs() {
		if a.IsValid() {
			add(Record{Name: vpc.ReverseName(a), PTR: back(a)})
		}
	}
}

// instanceOf is the instance that an interface is the primary one of.
func (b *builder) instanceOf(n *vpc.NetworkInterface) *vpc.Instance {
	if n.Attachment == nil || n.Attachment.Instance == "" {
		return nil
	}
	if i, ok := vpc.Get[vpc.Instance](b.v, n.Attachment.Instance); ok && i.Primary == n.ID {
		return i
	}
	return nil
}

// elasticName adds the public name of an interface's Elastic IP: inside it
// leads to the private address, seen from outside to the public one.
func (b *builder) elasticName(add func(Record), r *vpc.Region, n *vpc.NetworkInterface, outside bool) {
	e, ok := vpc.First[vpc.ElasticIP](b.v, vpc.IndexInterface, n.ID)
	if !ok {
		return
	}
	a := n.Addr
	if outside {
		a = e.Addr
	}
	add(Record{Name: r.PublicDNSName(e.Addr), Addrs: []netip.Addr{a}})
}

// balancerNames adds the names of a VPC's load balancers, for all zones and
// for each.
func (b *builder) balancerNames(add func(Record), r *vpc.Region, id vpc.VPCID) {
	for lb := range vpc.By[vpc.LoadBalancer](b.v, vpc.IndexVPC, id) {
		name := lb.Name + "-" + lb.Suffix + ".elb." + r.Name + ".amazonaws.com"
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
}

// peerNames adds the names of a peered VPC that AWS's public zones have: its
// endpoints', its load balancers' and those of its Elastic IPs, which lead to
// private addresses if that VPC allows it and both have DNS hostnames. Its
// private names stay its own.
func (b *builder) peerNames(add func(Record), r *vpc.Region, v *vpc.VPC, side *vpc.PeeringSide) {
	other, ok := vpc.Get[vpc.VPC](b.v, side.VPC)
	if !ok {
		return
	}
	b.balancerNames(add, r, other.ID)
	for e := range vpc.By[vpc.Endpoint](b.v, vpc.IndexVPC, other.ID) {
		b.endpointNames(add, e)
	}
	if !other.EnableDNSHostnames || !other.EnableDNSSupport {
		return // then they have none
	}
	private := side.AllowDNS && v.EnableDNSHostnames
	for n := range vpc.By[vpc.NetworkInterface](b.v, vpc.IndexVPC, other.ID) {
		b.elasticName(add, r, n, !private)
	}
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
	for _, n := range s.PublicNames { // a service without any is reached by endpoints alone
		f := chosen
		if f == (families{}) {
			f = families{ipv4: true, ipv6: s.DualStackName(n)}
		}
		add(Record{Name: n, Addrs: f.of(s.Addresses)})
	}
}

// named reports whether an endpoint's names resolve.
func named(e *vpc.Endpoint) bool {
	return e.State.Carries() && e.Named && e.Type == vpc.InterfaceEndpoint && len(e.Nodes) > 0
}

// endpointNames adds an interface endpoint's regional and zonal names.
func (b *builder) endpointNames(add func(Record), e *vpc.Endpoint) {
	if !named(e) {
		return
	}
	f := recordFamilies(e.DNSRecordType())
	if e.DNSRecordType() == vpc.RecordServiceDefined {
		f = families{ipv4: true, ipv6: true}
	}
	for _, n := range vpc.EndpointNamesIn(b.v, e) {
		if n.Zone != "" {
			continue
		}
		if r := (Record{Name: n.Name, Addrs: b.answer(e, n.Nodes, f)}); len(r.Addrs) > 0 {
			add(r)
		}
	}
}

// privateNames adds an interface endpoint's private names with the zones they
// are in, which need both DNS attributes of the VPC.
func (b *builder) privateNames(out *VPC, add func(Record), v *vpc.VPC, e *vpc.Endpoint) {
	if !named(e) || !v.EnableDNSHostnames {
		return
	}
	f := recordFamilies(e.DNSRecordType())
	if e.DNSRecordType() == vpc.RecordServiceDefined {
		f = families{ipv4: true}
	}
	for _, n := range vpc.EndpointNamesIn(b.v, e) {
		if n.Zone == "" {
			continue
		}
		r := Record{Name: n.Name, CNAME: n.CNAME, InboundOnly: e.InboundOnly}
		switch {
		case n.CNAME == "":
			r.Addrs = b.answer(e, n.Nodes, f)
		case e.DNSRecordType() == vpc.RecordServiceDefined:
			// It has no AAAA record then, which the regional name has.
			r.CNAME, r.Addrs = "", b.answer(e, e.Nodes, f)
		}
		if len(r.Addrs) == 0 && r.CNAME == "" {
			continue
		}
		if e.InboundOnly {
			add(r) // beside the public name, which the VPC's own go on with
			if !slices.Contains(out.InboundZones, n.Zone) {
				out.InboundZones = append(out.InboundZones, n.Zone)
			}
			continue
		}
		// A catalogue service's public name leads to the endpoint from now on.
		out.Records = slices.DeleteFunc(out.Records, func(o Record) bool { return o.Name == n.Name })
		add(r)
		if !slices.Contains(out.PrivateZones, n.Zone) {
			out.PrivateZones = append(out.PrivateZones, n.Zone)
		}
	}
}

// answer are the addresses that a name for some of an endpoint's nodes answers
// with: of the families, and none that packets do not reach yet.
func (b *builder) answer(e *vpc.Endpoint, nodes []vpc.EndpointNode, f families) []netip.Addr {
	reached := func(n vpc.EndpointNode) []netip.Addr {
		return slices.DeleteFunc(f.of(present(n.Addr, n.Addr6)), func(a netip.Addr) bool { return slices.Contains(e.Coming, a) })
	}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n vpc.EndpointNode) bool { return len(reached(n)) == 0 })
	var out []netip.Addr
	for _, n := range b.answering(e, nodes) {
		out = append(out, reached(n)...)
	}
	return out
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
