// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// node is a load balancer's node with the listener a packet is for.
type node struct {
	*vpc.BalancerNode
	balancer *vpc.LoadBalancer
	site     *site
}

// nodesBehind are the nodes an endpoint's interface may lead to: those of the
// service's load balancers in its zone.
func (n *network) nodesBehind(e *vpc.Endpoint, zone string) []node {
	s, ok := vpc.Get[vpc.EndpointService](n.view, e.Service)
	if !ok {
		return nil
	}
	var out []node
	for _, arn := range s.Balancers {
		lb := n.balancers[arn]
		if lb == nil {
			continue
		}
		for i := range lb.Nodes {
			if lb.Nodes[i].Zone == zone && n.byID[lb.Nodes[i].Interface] != nil {
				out = append(out, node{&lb.Nodes[i], lb, n.byID[lb.Nodes[i].Interface]})
			}
		}
	}
	return out
}

func (n *network) nodeAt(s *site) (node, bool) {
	lb := n.balancers[s.eni.Balancer]
	if lb == nil {
		return node{}, false
	}
	i := slices.IndexFunc(lb.Nodes, func(x vpc.BalancerNode) bool { return x.Interface == s.id })
	if i < 0 {
		return node{}, false
	}
	return node{&lb.Nodes[i], lb, s}, true
}

// listener finds what listens on a port of a balancer.
func (n *network) listener(lb *vpc.LoadBalancer, proto, port int) *vpc.Listener {
	name := map[int]string{vpc.TCP: "TCP", vpc.UDP: "UDP"}[proto]
	for _, l := range n.listeners[lb.ARN] {
		if l.Port == port && (l.Protocol == name || l.Protocol == "TCP_UDP") {
			return l
		}
	}
	return nil
}

// target is a registered target with its place.
type target struct {
	vpc.Target
	addr netip.Addr
	site *site // nil outside of the VPC
}

func (n *network) targetOf(g *vpc.TargetGroup, t vpc.Target) (target, bool) {
	if g.TargetType == "instance" {
		i, ok := vpc.Get[vpc.Instance](n.view, t.ID)
		if !ok {
			return target{}, false
		}
		eni, ok := vpc.Get[vpc.NetworkInterface](n.view, i.Primary)
		if !ok || g.IPv6 && len(eni.IPv6) == 0 {
			return target{}, false
		}
		if g.IPv6 {
			return target{t, eni.IPv6[0], n.byID[eni.ID]}, true
		}
		return target{t, eni.Addr, n.byID[eni.ID]}, true
	}
	a, err := netip.ParseAddr(t.ID)
	return target{t, a, n.at[place{g.VPC, a}]}, err == nil
}

// pool is what a node has of a target group.
type pool struct {
	inScope, healthy, unhealthy []target
	failsOpen                   bool
}

// pool sorts the targets that a node may send to by their health as it finds
// it. When fewer are healthy than the group asks for, it fails open: all get
// traffic.
func (n *network) pool(x node, g *vpc.TargetGroup) pool {
	var out pool
	for _, t := range g.Targets {
		if !t.Draining.IsZero() {
			continue
		}
		to, ok := n.targetOf(g, t)
		if !ok || to.site != nil && to.site.kind != atWorkload {
			continue
		}
		if !g.CrossZone(x.balancer) && t.Zone != "all" && n.zoneOf(g, to) != x.Zone {
			continue
		}
		out.inScope = append(out.inScope, to)
		h, _ := vpc.Get[vpc.Health](n.view, vpc.HealthKey(g.ARN, t.ID, t.Port))
		switch {
		case to.site == nil:
			out.unhealthy = append(out.unhealthy, to) // nothing is there that could answer a check
		case h == nil:
		default:
			found, decided := h.In(x.Zone)
			switch {
			case decided && found.Healthy:
				out.healthy = append(out.healthy, to)
			case decided && (found.Drained || g.UnhealthyDraining() == 0):
				out.unhealthy = append(out.unhealthy, to)
			}
		}
	}
	if least, ok := g.Minimum(vpc.AttrFailoverRoutingCount); ok && len(out.healthy) < least {
		out.failsOpen = true
	}
	if least, ok := g.Minimum(vpc.AttrFailoverRoutingPercent); ok && len(out.healthy)*100 < least*len(out.inScope) {
		out.failsOpen = true
	}
	return out
}

// zoneOf is a target's zone: its interface's, or its subnet's.
func (n *network) zoneOf(g *vpc.TargetGroup, t target) string {
	if t.site != nil {
		return t.site.eni.Zone
	}
	for _, s := range n.subnets {
		if s.VPC == g.VPC && (s.CIDR.Contains(t.addr) || s.IPv6.CIDR.Contains(t.addr)) {
			return s.Zone
		}
	}
	return ""
}

// inService are the targets that a node sends new flows to.
func (n *network) inService(x node, g *vpc.TargetGroup) []target {
	p := n.pool(x, g)
	if p.failsOpen {
		return p.inScope
	}
	return p.healthy
}

// cut reports whether a flow's target has been taken out of service with its
// flows: it is unhealthy and the group ends connections then, unless the node
// fails open, or its deregistration is over and ends them.
func (m *Model) cut(c *conn) bool {
	if c.node == "" || c.client.space == serviceSpace {
		return false
	}
	at := m.net.byID[c.node]
	if at == nil {
		return false
	}
	x, ok := m.net.nodeAt(at)
	if !ok {
		return false
	}
	l := m.net.listener(x.balancer, c.client.proto, int(c.client.responder.Port()))
	if l == nil {
		return false
	}
	g, ok := vpc.Get[vpc.TargetGroup](m.net.view, l.TargetGroup)
	if !ok {
		return false
	}
	is := func(t target) bool { return netip.AddrPortFrom(t.addr, uint16(t.Port)) == c.server.responder }
	p := m.net.pool(x, g)
	if !p.failsOpen && (g.Is(vpc.AttrUnhealthyCut) || g.UnhealthyDraining() > 0) && slices.ContainsFunc(p.unhealthy, is) {
		return true
	}
	again := slices.ContainsFunc(g.Targets, func(t vpc.Target) bool {
		to, ok := m.net.targetOf(g, t)
		return ok && is(to)
	})
	return !again && slices.ContainsFunc(g.Cut, func(t vpc.CutTarget) bool { return netip.AddrPortFrom(t.Addr, uint16(t.Port)) == c.server.responder })
}

// preserves is a group's preserve_client_ip.enabled with AWS's default.
func preserves(g *vpc.TargetGroup) bool {
	return g.Is(vpc.AttrPreserveClientIP)
}

// stickyKey is a client whose flows all go to one target, while the same
// targets are in service.
type stickyKey struct {
	group   vpc.ARN
	client  netip.Addr
	targets string
}

// toNode is a packet without a connection for an endpoint's or a balancer's
// interface that the rules have let through.
func (j *journey) toNode(dest *site, in space) []Outcome {
	m, p := j.m, j.p
	if dest.kind == atEndpoint && dest.eni.Resolver != "" {
		return j.toInbound(dest, in)
	}
	var e *vpc.Endpoint
	if dest.kind == atEndpoint {
		var ok bool
		if e, ok = vpc.Get[vpc.Endpoint](m.net.view, dest.eni.Endpoint); !ok || !e.Passes() {
			return one(j.drop("endpoint-inactive"))
		}
	}
	if p.proto != vpc.TCP && p.proto != vpc.UDP {
		return one(j.drop("protocol"))
	}
	if p.later {
		return one(j.drop("fragment"))
	}
	if e == nil {
		x, ok := m.net.nodeAt(dest)
		if p.isTCP() && !p.isSYN() {
			// also a target's packet of a connection that is no more
			return one(j.reset("no-connection"))
		}
		if !ok {
			return one(j.drop("no-listener"))
		}
		return j.toListener(dest, nil, x, in)
	}
	if e.Service == "" {
		if !edgePort(p) {
			return one(j.drop("no-listener"))
		}
		return j.toEdge(dest, e.ID, in)
	}
	nodes := m.net.nodesBehind(e, dest.eni.Zone)
	if len(nodes) == 0 {
		return one(j.drop("no-listener"))
	}
	var out []Outcome
	for _, x := range nodes {
		out = append(out, j.fork().toListener(dest, e, x, in)...)
	}
	return out
}

// toListener is a packet for a port of a node, straight or through an endpoint.
func (j *journey) toListener(dest *site, e *vpc.Endpoint, x node, in space) []Outcome {
	m, p := j.m, j.p
	l := m.net.listener(x.balancer, p.proto, int(p.dport))
	if l == nil {
		j.step("load balancer %s: nothing listens on protocol %d port %d", x.balancer.Name, p.proto, p.dport)
		return one(j.drop("no-listener"))
	}
	if p.isTCP() && !p.isSYN() {
		return one(j.reset("no-connection"))
	}
	g, ok := vpc.Get[vpc.TargetGroup](m.net.view, l.TargetGroup)
	if !ok {
		return one(j.drop("no-listener"))
	}
	targets := m.net.inService(x, g)
	if len(targets) == 0 {
		return one(j.drop("no-target"))
	}
	sticky := stickyKey{group: g.ARN, client: p.src}
	if g.Is(vpc.AttrSticky) {
		var ids []string
		for _, t := range targets {
			ids = append(ids, vpc.HealthKey(g.ARN, t.ID, t.Port))
		}
		slices.Sort(ids)
		sticky.targets = strings.Join(ids, " ")
		if bound, ok := m.sticky[sticky]; ok {
			targets = slices.DeleteFunc(targets, func(t target) bool { return t.Target != bound })
		}
	}
	var out []Outcome
	for _, t := range targets {
		for _, o := range j.fork().toTarget(dest, e, x, l, g, t, in) {
			if sticky.targets != "" && o.commit != nil {
				o = o.then(func() { m.sticky[sticky] = t.Target })
			}
			out = append(out, o)
		}
	}
	return out
}

// toTarget begins a flow to a target.
func (j *journey) toTarget(dest *site, e *vpc.Endpoint, x node, l *vpc.Listener, g *vpc.TargetGroup, t target, in space) []Outcome {
	m, p := j.m, j.p
	j.step("load balancer %s: listener %d sends it to %s port %d", x.balancer.Name, l.Port, t.ID, t.Port)
	node := x.Addr
	if t.addr.Is6() {
		if !p.is6() {
			return one(j.drop("family"))
		}
		node = x.Addr6
	}
	to := netip.AddrPortFrom(t.addr, uint16(t.Port))
	if o, ok := j.crosses(to); !ok {
		return one(o)
	}
	if e != nil && m.tooBig(e.ID, p) {
		return one(j.drop("too-big"))
	}
	enforced := e == nil || x.balancer.EnforceOnPrivateLink != "off"
	if e != nil && enforced && !j.groupsAllow(x.site, ingress, j.asks(p.src, p.dport)) {
		return one(j.drop("node-ingress"))
	}
	if !j.groupsAllow(x.site, egress, j.asks(t.addr, to.Port())) {
		return one(j.drop("node-egress"))
	}
	source := netip.AddrPortFrom(node, 0)
	preserved := e == nil && in == space(x.site.vpc.ID) && preserves(g) && p.is6() == t.addr.Is6()
	if preserved {
		source = p.source()
	}
	c := &conn{
		home: j.self.vpc.ID, client: flowKey(in, p), server: key{space: space(x.site.vpc.ID), proto: p.proto, initiator: source, responder: to},
		initiator: j.self.id, via: dest.id, node: x.site.id, trackedByInitiator: true, trackedByTarget: true,
	}
	if e != nil {
		c.endpoint = e.ID
	}
	c.idle = l.Idle(p.proto)
	if t.site == nil {
		return one(j.drop("no-interface"))
	}
	if o, ok := j.cross(m.net.subnetOf(x.site), m.net.subnetOf(t.site), j.asks(t.addr, to.Port()), j.asks(source.Addr(), to.Port())); !ok {
		return one(o)
	}
	if !j.groupsAllow(t.site, ingress, j.asks(source.Addr(), to.Port())) {
		return one(j.drop("group-ingress"))
	}
	c.target = t.site.id
	return one(j.beginTranslated(c, netip.PrefixFrom(source.Addr(), source.Addr().BitLen()), preserved))
}

// beginTranslated makes the connection of a flow that everything has allowed,
// with a source for the target to see: the client's own when fixed, else one
// of the addresses with a port that is free.
func (j *journey) beginTranslated(c *conn, sources netip.Prefix, fixed bool) Outcome {
	m, p := j.m, j.p
	if o, ok := j.crosses(c.server.responder); !ok {
		return o
	}
	if m.tooBig(c.endpoint, p) {
		return j.drop("too-big")
	}
	if j.full(j.from) {
		return j.drop("quota")
	}
	taken := func(s netip.AddrPort) error {
		k := c.server
		k.initiator = s
		for _, k := range []key{k, k.turned()} {
			if other := m.conns[k]; other != nil && !m.expired(other) && !slices.Contains(j.old, other) {
				return errTaken{s}
			}
		}
		return nil
	}
	if fixed && taken(c.server.initiator) != nil {
		return j.drop("tuple-in-use")
	}
	if c.client.space == c.server.space && c.client == c.server {
		return j.drop("tuple-in-use")
	}
	if !fixed && sources.IsSingleIP() && !m.portLeft(c.server, sources.Addr(), j.old) {
		return j.drop("ports-exhausted")
	}
	build := func(s netip.AddrPort) []byte { return m.clampFor(c, p.rewrite(s, c.server.responder), p) }
	o := j.deliver(c.target, build(netip.AddrPortFrom(sources.Addr(), c.server.initiator.Port())))
	if !fixed && o.Action == Deliver {
		shape := o.Frame
		o.Choice = &Choice{Addrs: sources, Lo: m.facts.FirstPort, Hi: m.facts.LastPort, Free: taken, frame: func(s netip.AddrPort) []byte {
			f := build(s)
			copy(f[:12], shape[:12])
			return f
		}}
	}
	o.commit = func(s netip.AddrPort) {
		if !fixed {
			c.server.initiator = s
		}
		m.remember(c)
		m.touch(c, true, p)
	}
	if o.Action == Drop {
		o.commit = nil
	}
	return o
}

// crosses asks whether a packet can become one of the other family, if its new
// destination is of that: pieces and options cannot.
func (j *journey) crosses(dst netip.AddrPort) (Outcome, bool) {
	p := j.p
	switch {
	case dst.Addr().Is6() == p.is6():
	case p.fragmented:
		return j.drop("fragment"), false
	case p.extended():
		return j.drop("extension"), false
	}
	return Outcome{}, true
}

// portLeft reports whether a source port towards a target is free, or comes free
// with a connection that is over.
func (m *Model) portLeft(k key, source netip.Addr, over []*conn) bool {
	taken := 0
	for other, c := range m.conns {
		if other == c.server && !c.plain && other.space == k.space && other.proto == k.proto && other.responder == k.responder &&
			other.initiator.Addr() == source && !m.expired(c) && !slices.Contains(over, c) {
			taken++
		}
	}
	return taken < m.facts.LastPort-m.facts.FirstPort+1
}

// errTaken says that a source is another flow's.
type errTaken struct{ source netip.AddrPort }

func (e errTaken) Error() string {
	return "the source " + e.source.String() + " is another connection's"
}

// tooBig reports whether a packet is larger than what goes through endpoints.
func (m *Model) tooBig(through vpc.EndpointID, p *packet) bool {
	return through != "" && p.limit(p.end-p.l3) > m.facts.MSS+40
}

// limit is the size of the packets that a large one will be cut into.
func (p *packet) limit(size int) int {
	if p.segment == 0 {
		return size
	}
	header := p.l4 - p.l3 + 8
	if p.isTCP() {
		header = p.l4 - p.l3 + int(p.frame[p.l4+12]>>4)*4
	}
	return header + p.segment
}

// clampFor lowers the MSS of both SYNs of a flow that is translated, except by a
// NAT gateway: the host's network has its own.
func (m *Model) clampFor(c *conn, f []byte, p *packet) []byte {
	mss := m.facts.MSS
	if p.is6() {
		mss -= 20
	}
	if c.nat != "" {
		return f
	}
	return clamp(f, mss)
}

// translated is a packet of a flow that has two halves.
func (j *journey) translated(h heading) []Outcome {
	m, p, c := j.m, j.p, h.c
	if h.forward == h.serverEnd {
		j.step("the addresses and ports are those of a translated connection")
		return one(j.drop("tuple-in-use"))
	}
	stale := func() []Outcome {
		j.old = append(j.old, c)
		return one(j.drop("stale"))
	}
	me, they := c.initiator, c.target
	src, dst := c.server.initiator, c.server.responder
	if !h.forward {
		me, they = they, me
		src, dst = c.client.responder, c.client.initiator
	}
	j.step("connection: %v to %v, seen by the target as %v to %v", c.client.initiator, c.client.responder, c.server.initiator, c.server.responder)
	if me != j.from {
		j.step("the address was another interface's")
		return stale()
	}
	if c.endpoint != "" {
		if !m.carries(c.endpoint) {
			j.step("endpoint %s carries nothing any more", c.endpoint)
			return one(j.tell(h, "endpoint-gone", src, dst, they))
		}
	}
	if m.cut(c) {
		j.step("the target %v has been taken out of service", c.server.responder)
		return one(j.tell(h, "target-gone", src, dst, they))
	}
	if m.tooBig(c.endpoint, p) {
		return one(j.drop("too-big"))
	}
	if o, ok := j.halves(h, stale); !ok {
		return o
	}
	if o, ok := j.crosses(dst); !ok {
		return one(o)
	}
	f := p.rewrite(src, dst)
	if !p.is6() && src.Addr().Is6() {
		f = p.rewrite4to6(src, dst)
	}
	o := j.deliver(they, m.clampFor(c, f, p))
	return one(o.then(func() { m.touch(c, h.forward, p) }))
}

// carries reports whether an endpoint's packets pass.
func (m *Model) carries(id vpc.EndpointID) bool {
	if r, ok := vpc.Get[vpc.ResolverEndpoint](m.net.view, id); ok {
		return r.Inbound
	}
	e, ok := vpc.Get[vpc.Endpoint](m.net.view, id)
	return ok && e.Passes()
}

// halves asks what lies on both sides of a translation, in the packet's order.
func (j *journey) halves(h heading, stale func() []Outcome) ([]Outcome, bool) {
	first, second := j.clientHalf, j.serverHalf
	if !h.forward {
		first, second = second, first
	}
	if o, ok := first(h, stale); !ok {
		return o, false
	}
	return second(h, stale)
}

// clientHalf asks what lies between the client and the endpoint or the node.
func (j *journey) clientHalf(h heading, stale func() []Outcome) ([]Outcome, bool) {
	m, c := j.m, h.c
	if c.client.space == serviceSpace {
		return nil, true // a health check
	}
	out, in := j.asks(c.client.responder.Addr(), c.client.responder.Port()), j.asks(c.client.initiator.Addr(), c.client.responder.Port())
	if h.forward {
		w := j.findWay()
		switch {
		case w.resolver:
			if c.via != "" || c.endpoint != "" {
				return stale(), false
			}
			return nil, true // neither groups nor ACLs
		case w.router:
			return one(j.drop("router")), false
		case w.sub == nil:
			return one(j.drop("no-subnet")), false
		}
		if o, ok := j.leave(w, out); !ok {
			return one(o), false
		}
		switch w.route.kind {
		case vpc.TargetNAT:
			if c.nat != "" && w.route.nat.ID == c.nat {
				o, ok := j.throughNAT(w.sub, m.net.byID[c.via], c.client.initiator.Addr(), c.client.responder.Addr())
				return one(o), ok
			}
			return stale(), false
		case vpc.TargetInternet, vpc.TargetEgressOnly:
			if !m.hasUplink() {
				return one(j.drop("no-uplink")), false
			}
			return stale(), false
		}
		if w.route.kind == vpc.TargetEndpoint {
			if c.via != "" || w.route.endpoint.ID != c.endpoint {
				return stale(), false
			}
			return nil, true
		}
		if w.dest == nil {
			return one(j.drop("no-interface")), false
		}
		if to := m.net.subnetOf(w.dest); w.leaves && !j.aclAllows(to, ingress, in) {
			return one(j.drop("acl-in")), false
		}
		if w.dest.id != c.via {
			return stale(), false
		}
		return nil, true
	}
	client := m.net.at[place{c.home, c.client.initiator.Addr()}]
	if client == nil {
		return one(j.drop("no-interface")), false
	}
	if client.id != c.initiator {
		return stale(), false
	}
	back, home := j.asks(c.client.initiator.Addr(), c.client.initiator.Port()), j.asks(c.client.responder.Addr(), c.client.initiator.Port())
	if c.via == "" && c.endpoint == "" {
		return nil, true // the resolver's answer
	}
	if c.nat != "" {
		nat := m.net.byID[c.via]
		if nat == nil {
			return stale(), false
		}
		a, b := m.net.subnetOf(nat), m.net.subnetOf(client)
		if o, ok := j.natRoute(a, c.client.responder.Addr()); !ok {
			return one(o), false
		}
		if !j.aclAllows(a, ingress, j.asks(c.client.responder.Addr(), c.server.initiator.Port())) {
			return one(j.drop("acl-in")), false
		}
		o, ok := j.cross(a, b, back, home)
		return one(o), ok
	}
	sub := m.net.subnetOf(client)
	if c.via == "" { // a gateway endpoint: there is nothing at the far end
		if !j.aclAllows(sub, ingress, home) {
			return one(j.drop("acl-in")), false
		}
		return nil, true
	}
	via := m.net.byID[c.via]
	if via == nil || !slices.Contains(addrsOf(via.eni), c.client.responder.Addr()) {
		return stale(), false
	}
	if via.vpc.ID != client.vpc.ID {
		r := m.net.subnetOf(via).routeTo(c.client.initiator.Addr())
		if r == nil || r.gone || r.peer == nil || r.peer.ID != client.vpc.ID {
			return one(j.drop("no-route")), false
		}
	}
	o, ok := j.cross(m.net.subnetOf(via), sub, back, home)
	return one(o), ok
}

// serverHalf asks what lies between the node and the target.
func (j *journey) serverHalf(h heading, stale func() []Outcome) ([]Outcome, bool) {
	m, c := j.m, h.c
	if c.server.space == serviceSpace || c.server.space == outside {
		return nil, true // the edge, or the outside
	}
	target, node := m.net.byID[c.target], m.net.byID[c.node]
	if target == nil || m.net.find(target.vpc, c.server.responder.Addr()) != target || node == nil {
		return stale(), false
	}
	stand := c.server.initiator.Addr() // the node's, or the client's own where it is kept
	a, b := m.net.subnetOf(node), m.net.subnetOf(target)
	if h.forward {
		o, ok := j.cross(a, b, j.asks(c.server.responder.Addr(), c.server.responder.Port()), j.asks(stand, c.server.responder.Port()))
		return one(o), ok
	}
	o, ok := j.cross(b, a, j.asks(stand, c.server.initiator.Port()), j.asks(c.server.responder.Addr(), c.server.initiator.Port()))
	return one(o), ok
}
