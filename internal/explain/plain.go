// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// begin is the start of every packet's way.
func (j *journey) begin() []Outcome {
	p := j.p
	mac, ok := j.m.facts.Devices[j.from]
	if !ok {
		return one(j.drop("no-port"))
	}
	if len(p.defects) > 0 {
		j.step("the frame: %s", p.defects)
		return one(j.drop(p.defects[0], p.defects[1:]...))
	}
	if p.etherSrc != mac && j.from != UplinkPort {
		return one(j.drop("source-mac"))
	}
	if !p.isARP() && !p.neighbour() && p.src == p.dst {
		return one(j.drop("source-address")) // neither end could be told from the other
	}
	switch j.from {
	case ServicePort:
		return j.fromService()
	case UplinkPort:
		return j.fromOutside()
	}
	if j.self = j.m.net.byID[j.from]; j.self == nil {
		return one(j.drop("no-port"))
	}
	if p.isARP() || p.neighbour() {
		return one(j.neighbour())
	}
	if j.self.eni.SourceDestCheck && !slices.Contains(addrsOf(j.self.eni), p.src) {
		j.step("source check: %s does not have %v", j.self.id, p.src)
		return one(j.drop("source-address"))
	}
	return j.fromWorkload()
}

// fromWorkload is a sound packet's way from its interface on.
func (j *journey) fromWorkload() []Outcome {
	own := space(j.self.vpc.ID)
	j.piece = true
	if known, uncertain := j.pieces(); !known {
		return one(j.drop("fragment"))
	} else if uncertain {
		return append(j.fork().judge(own), j.drop("fragment"))
	}
	return j.judge(own)
}

// judge is fromWorkload for a packet whose ports are known.
func (j *journey) judge(own space) []Outcome {
	m, p := j.m, j.p
	p.by = [2]vpc.InterfaceID{j.forwards(), ""}
	if o, ok := j.aboutTranslated(own); ok {
		return o
	}
	h := m.lookup(own, p)
	if h.c != nil && !h.c.plain {
		if !(h.c.finished() && p.isSYN()) {
			return j.translated(h)
		}
		j.step("a SYN on a connection that has ended begins a new one")
		j.old, h = append(j.old, h.c), heading{}
	}
	w := j.findWay()
	switch {
	case w.resolver && h.c != nil && !(h.c.finished() && p.isSYN()):
		j.old = append(j.old, h.c) // it was with something outside
		return one(j.drop("stale"))
	case w.resolver:
		return j.toResolver(w.dest)
	case w.router:
		return one(j.drop("router"))
	case w.sub == nil:
		return one(j.drop("no-subnet"))
	}
	j.way = w
	sub, r, dest := w.sub, w.route, w.dest
	if r != nil && !r.gone && r.kind == vpc.TargetENI && dest != nil && dest != m.net.find(j.self.vpc, p.dst) && (h.c == nil || h.c.plain) {
		if h.c != nil && h.c.finished() && p.isSYN() {
			j.old = append(j.old, h.c)
		}
		p.by[1] = dest.id
		h = m.lookup(own, p)
	}
	if r != nil && !r.gone && r.kind == vpc.TargetPeering {
		if h.c != nil && h.c.plain && others(h.c, h.forward, j.self.id, w) {
			j.step("the connection was another interface's")
			j.over(h.c)
		}
		own = space(r.peering.ID)
		h = m.lookup(own, p)
		if h.c != nil && !h.c.plain && !(h.c.finished() && p.isSYN()) {
			return j.translated(h)
		}
	}
	c, forward := h.c, h.forward
	if c != nil && c.plain {
		switch {
		case c.finished() && p.isSYN():
			j.step("a SYN on a connection that has ended begins a new one")
			j.old, c = append(j.old, c), nil
		case others(c, forward, j.self.id, w):
			j.step("the connection was another interface's")
			j.over(c)
			c = nil
		}
	}
	if c != nil {
		j.step("connection: %v to %v, %s", c.client.initiator, c.client.responder, map[bool]string{true: "from its initiator", false: "a reply"}[forward])
	}
	out, in := j.asks(p.dst, p.dport), j.asks(p.src, p.dport)
	related := j.related(own, w.far())
	trackedHere, trackedThere := false, false
	if known := cmp.Or(c, related); known != nil {
		trackedHere, trackedThere = known.trackedByInitiator, known.trackedByTarget
		if known.initiator != j.from {
			trackedHere, trackedThere = trackedThere, trackedHere
		}
	}
	if !trackedHere && !j.groupsAllow(j.self, egress, out) {
		return one(j.drop("group-egress"))
	}
	if o, ok := j.leave(w, out); !ok {
		return one(o)
	}
	switch r.kind {
	case vpc.TargetEndpoint:
		return j.toGateway(r, sub)
	case vpc.TargetInternet, vpc.TargetEgressOnly:
		return j.toOutside(w, c, forward, related)
	case vpc.TargetNAT:
		return j.toNAT(w)
	}
	if dest == nil {
		return one(j.drop("no-interface"))
	}
	j.step("at %v: %s %s", p.dst, dest.kind, dest.id)
	to := m.net.subnetOf(dest)
	if w.leaves && to != nil && !j.aclAllows(to, ingress, in) {
		return one(j.drop("acl-in"))
	}
	if dest.kind == atNAT {
		return one(j.drop("no-interface")) // nothing listens there
	}
	if !trackedThere && !j.groupsAllow(dest, ingress, in) {
		return one(j.drop("group-ingress"))
	}
	if r.kind == vpc.TargetENI && dest.eni.SourceDestCheck && !slices.Contains(addrsOf(dest.eni), p.dst) {
		return one(j.drop("destination-check"))
	}
	if dest.kind != atWorkload {
		return j.toNode(dest, space(j.self.vpc.ID)) // in terms of the client's own VPC
	}
	j.straight = true
	return one(j.remembering(j.deliver(dest.id, slices.Clone(p.frame)), c, forward, related, dest.id, false))
}

// over notes that a plain flow is over that is not the sender's and of where its
// packet leads: the addresses have passed on. What forwards for an end that has
// them still ends only its own.
func (j *journey) over(c *conn) {
	if c.client.by == [2]vpc.InterfaceID{} || c.initiator == j.self.id || c.target == j.self.id {
		j.old = append(j.old, c)
	}
}

// forwards is the sender's own id if its own end of the flow has an address that it
// does not have, and "" otherwise.
func (j *journey) forwards() vpc.InterfaceID {
	near := j.p.src
	if inner := j.p.inside(); inner != nil {
		near = inner.dst
	}
	if j.self.eni.SourceDestCheck || slices.Contains(addrsOf(j.self.eni), near) {
		return ""
	}
	return j.self.id
}

// remembering makes or touches the connection of a plain packet that arrives,
// unless the sender may begin no more.
func (j *journey) remembering(o Outcome, c *conn, forward bool, related *conn, far vpc.InterfaceID, always bool) Outcome {
	m, p := j.m, j.p
	if c != nil {
		return o.then(func() { m.touch(c, forward, p) })
	}
	if o.Action == Drop || related != nil || !p.begins() {
		return o
	}
	own := space(j.self.vpc.ID)
	if to := m.net.byID[far]; to != nil && to.vpc.ID != j.self.vpc.ID {
		own = space(j.way.route.peering.ID)
	}
	k := flowKey(own, p)
	fresh := &conn{client: k, server: k, plain: true, initiator: j.self.id, target: far,
		trackedByInitiator: always || m.net.tracks(j.self, egress, j.asks(p.dst, p.dport))}
	if to := m.net.byID[far]; to != nil {
		fresh.trackedByTarget = m.net.tracks(to, ingress, j.asks(p.src, p.dport))
	}
	if !fresh.trackedByInitiator && !fresh.trackedByTarget {
		j.step("nobody tracks the flow")
		o.Steps = j.steps
		return o
	}
	if j.full(j.from) {
		return j.drop("quota")
	}
	for _, k := range []key{k, k.turned()} {
		if other := m.conns[k]; other != nil && !m.expired(other) && !slices.Contains(j.old, other) {
			return o // the other flow has the place
		}
	}
	return o.then(func() {
		m.remember(fresh)
		m.touch(fresh, true, p)
	})
}

// way is where the subnet's routes lead a packet.
type way struct {
	sub    *subnet
	route  *route          // nil for none
	dest   *site           // nil for nothing
	leaves bool            // the subnet
	stands vpc.InterfaceID // what has the address, when no route leads to it
	// The resolver and a router are there whatever the routes say.
	resolver, router bool
}

// far is the port at the other end of a plain flow, "" for none.
func (w way) far() vpc.InterfaceID {
	switch {
	case w.dest != nil:
		return w.dest.id
	case w.route != nil && !w.route.gone && (w.route.kind == vpc.TargetInternet || w.route.kind == vpc.TargetEgressOnly):
		return UplinkPort
	}
	return w.stands
}

// others reports whether a plain flow is not, or no longer, the one between the
// sender and where its packet leads. One that leads nowhere for a while stays
// its sender's.
func others(c *conn, forward bool, from vpc.InterfaceID, w way) bool {
	if w.far() != "" || w.route != nil && !w.route.gone && (w.route.kind == vpc.TargetEndpoint || w.route.kind == vpc.TargetNAT) {
		return !bound(c, forward, from, w.far())
	}
	return forward && c.initiator != from || !forward && c.target != from
}

// findWay looks up where a workload's packet goes.
func (j *journey) findWay() way {
	net, p := j.m.net, j.p
	w := way{sub: net.subnetOf(j.self), dest: net.find(j.self.vpc, p.dst)}
	if w.dest != nil {
		w.resolver, w.router = w.dest.kind == atResolver, w.dest.kind == atRouter
	}
	if w.resolver || w.router {
		return w
	}
	if w.sub == nil || w.sub.routes == nil {
		w.sub = nil
		return w
	}
	w.route = w.sub.routeTo(p.dst)
	switch {
	case w.route == nil || w.route.gone:
		w.dest = nil
	case w.route.kind == vpc.TargetENI:
		w.dest = net.byID[w.route.eni]
	case w.route.kind == vpc.TargetPeering:
		w.dest = net.find(w.route.peer, p.dst)
		if w.dest != nil && (w.dest.kind == atResolver || w.dest.kind == atRouter) {
			w.dest = nil
		}
	case w.route.kind != vpc.TargetLocal:
		w.dest = nil
	}
	if w.route == nil || w.route.gone {
		// what is said of a packet that goes nowhere is what its address stands for
		if s := net.find(j.self.vpc, p.dst); s != nil {
			w.stands = s.id
			if s.subnet != nil && s.subnet.ID == w.sub.ID {
				return w
			}
		}
	}
	// an address that nothing has is taken to be elsewhere
	w.leaves = w.dest == nil || w.dest.subnet == nil || w.dest.subnet.ID != w.sub.ID
	return w
}

// leave asks the subnet's ACL and whether there is a route.
func (j *journey) leave(w way, out sought) (Outcome, bool) {
	if w.leaves && !j.aclAllows(w.sub, egress, out) {
		return j.drop("acl-out"), false
	}
	if w.route == nil {
		j.step("route table of %s: no route", w.sub.ID)
		return j.drop("no-route"), false
	}
	j.step("route table of %s: %s", w.sub.ID, w.route)
	if w.route.gone {
		return j.drop("blackhole"), false
	}
	return Outcome{}, true
}

// deliver hands a frame to a port, under the Ethernet addresses that hold there.
func (j *journey) deliver(to vpc.InterfaceID, frame []byte) Outcome {
	mac, ok := j.m.facts.Devices[to]
	if !ok {
		j.step("%s is not on this host", to)
		return j.drop("remote-host")
	}
	var gateway MAC
	if s := j.m.net.byID[to]; s != nil {
		gateway = j.m.facts.Router(s.subnet.ID)
	} else {
		gateway = j.m.facts.Gateway(to)
	}
	copy(frame, mac[:])
	copy(frame[6:], gateway[:])
	if j.inSubnetOf(to) {
		copy(frame[6:], j.p.etherSrc[:]) // no router between them
	}
	return Outcome{Action: Deliver, To: to, Frame: frame, Steps: j.steps, forgets: j.old}
}

// inSubnetOf reports whether the packet goes straight to an interface of the
// sender's own subnet.
func (j *journey) inSubnetOf(to vpc.InterfaceID) bool {
	s := j.m.net.byID[to]
	return j.straight && j.self != nil && s != nil && s.subnet.ID == j.self.subnet.ID
}

// asks is what rules are asked about the packet as it is between two ends: the
// other end's address and the port it is for, or ICMP's type and code.
func (j *journey) asks(peer netip.Addr, port uint16) sought {
	q := sought{peer: peer, proto: j.p.proto, number: int(port)}
	if j.p.isICMP() {
		q.number, q.code = j.p.number()
	}
	return q
}
