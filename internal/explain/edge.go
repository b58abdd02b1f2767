// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"

	"postern.dev/postern/internal/vpc"
)

// client is who a stand-in address towards the edge stands for.
type client struct {
	vpc  vpc.VPCID
	addr netip.Addr
}

// edgePort reports whether the edge listens for services on the packet's port.
func edgePort(p *packet) bool { return p.isTCP() && (p.dport == 80 || p.dport == 443) }

// toResolver is a new packet for the VPC's resolver, which no group and no ACL judges.
func (j *journey) toResolver(dest *site) []Outcome {
	p := j.p
	j.step("the resolver of %s", dest.vpc.ID)
	if p.proto != vpc.TCP && p.proto != vpc.UDP {
		return one(j.drop("protocol"))
	}
	if p.later {
		return one(j.drop("fragment"))
	}
	if p.dport != 53 {
		return one(j.drop("no-listener"))
	}
	return j.toEdge(nil, "", space(j.self.vpc.ID))
}

// toInbound is a new packet for an address of a resolver endpoint that the
// rules have let through. One that is not inbound answers nothing.
func (j *journey) toInbound(dest *site, in space) []Outcome {
	p := j.p
	e, ok := vpc.Get[vpc.ResolverEndpoint](j.m.net.view, dest.eni.Resolver)
	switch {
	case !ok || !e.Inbound:
		return one(j.drop("endpoint-inactive"))
	case p.proto != vpc.TCP && p.proto != vpc.UDP:
		return one(j.drop("protocol"))
	case p.later:
		return one(j.drop("fragment"))
	case p.dport != 53:
		return one(j.drop("no-listener"))
	}
	j.step("the resolver of %s", dest.vpc.ID)
	return j.toEdge(dest, vpc.EndpointID(e.ID), in)
}

// toGateway is a new packet that a route gives to a gateway endpoint.
func (j *journey) toGateway(r *route, sub *subnet) []Outcome {
	p := j.p
	if p.proto != vpc.TCP && p.proto != vpc.UDP {
		return one(j.drop("protocol"))
	}
	if p.later {
		return one(j.drop("fragment"))
	}
	if !edgePort(p) {
		return one(j.drop("no-listener"))
	}
	return j.toEdge(nil, r.endpoint.ID, space(j.self.vpc.ID))
}

// toEdge begins a flow to the edge. The source stands for the client and says
// nothing about it.
func (j *journey) toEdge(via *site, e vpc.EndpointID, in space) []Outcome {
	m, p := j.m, j.p
	if p.isTCP() && !p.isSYN() {
		return one(j.reset("no-connection"))
	}
	c := &conn{
		home: j.self.vpc.ID, client: flowKey(in, p), initiator: j.self.id, target: ServicePort, endpoint: e, trackedByInitiator: true, trackedByTarget: true,
		server: key{space: serviceSpace, proto: p.proto, responder: netip.AddrPortFrom(m.facts.Edge, p.dport)},
	}
	if via != nil {
		c.via = via.id
	}
	who := client{j.self.vpc.ID, p.src}
	sources := m.facts.Clients
	if a, ok := m.standIns[who]; ok {
		sources = netip.PrefixFrom(a, a.BitLen())
	}
	o := j.beginTranslated(c, sources, false)
	if o.commit != nil {
		o = o.then(func() { m.standIns[who] = c.server.initiator.Addr() })
	}
	return one(o)
}

// serviceAddresses are on-link in the service namespace, and nothing else is.
var serviceAddresses = netip.MustParsePrefix("100.64.0.0/10")

// fromService is a packet of the service namespace: the edge's or the resolver's
// answer, or a health check.
func (j *journey) fromService() []Outcome {
	m, p := j.m, j.p
	if p.isARP() {
		return one(j.arp(func(sender, target netip.Addr) (MAC, bool) {
			return m.facts.Gateway(ServicePort), serviceAddresses.Contains(target) && target != m.facts.Edge
		}, func(sender netip.Addr) bool { return sender == m.facts.Edge }))
	}
	if p.src != m.facts.Edge && p.src != m.facts.Edge6 {
		return one(j.drop("source-address"))
	}
	j.piece = true
	if known, uncertain := j.pieces(); !known {
		return one(j.drop("fragment"))
	} else if uncertain {
		return append(j.fork().served(), j.drop("fragment"))
	}
	return j.served()
}

// served is fromService for a packet whose ports are known.
func (j *journey) served() []Outcome {
	m, p := j.m, j.p
	if o, ok := j.aboutTranslated(serviceSpace); ok {
		return o
	}
	if h := m.lookup(serviceSpace, p); h.c != nil {
		if !(h.c.finished() && p.isSYN()) {
			return j.translated(h)
		}
		j.old = append(j.old, h.c)
	}
	probe, ok := m.facts.Probes[p.dst]
	if !ok {
		return one(j.drop("no-probe"))
	}
	if !p.isTCP() { // no check is UDP
		return one(j.drop("protocol"))
	}
	if !p.isSYN() {
		return one(j.reset("no-connection"))
	}
	return j.toProbed(probe)
}

// toProbed begins a health check: from the node, to the target.
func (j *journey) toProbed(probe Probe) []Outcome {
	m, p := j.m, j.p
	node, target := m.net.at[place{probe.VPC, probe.Node}], m.net.at[place{probe.VPC, probe.Target}]
	to := netip.AddrPortFrom(probe.Target, p.dport)
	if node == nil || node.kind != atBalancer {
		return one(j.drop("no-interface"))
	}
	j.step("a health check from %v to %v", probe.Node, to)
	if !j.groupsAllow(node, egress, j.asks(probe.Target, to.Port())) {
		return one(j.drop("node-egress"))
	}
	if target == nil || target.kind != atWorkload {
		return one(j.drop("no-interface"))
	}
	if o, ok := j.cross(m.net.subnetOf(node), m.net.subnetOf(target), j.asks(probe.Target, to.Port()), j.asks(probe.Node, to.Port())); !ok {
		return one(o)
	}
	if !j.groupsAllow(target, ingress, j.asks(probe.Node, to.Port())) {
		return one(j.drop("group-ingress"))
	}
	c := &conn{
		client: flowKey(serviceSpace, p), initiator: ServicePort, target: target.id, node: node.id, trackedByInitiator: true, trackedByTarget: true,
		server: key{space: space(probe.VPC), proto: p.proto, responder: to},
	}
	return one(j.beginTranslated(c, netip.PrefixFrom(probe.Node, probe.Node.BitLen()), false))
}
