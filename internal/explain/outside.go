// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// toOutside is a packet that an internet gateway or an egress-only one takes to
// the host's network, as far as its sender's side has allowed it.
func (j *journey) toOutside(w way, c *conn, forward bool, related *conn) []Outcome {
	m, p := j.m, j.p
	if !m.hasUplink() {
		return one(j.drop("no-uplink"))
	}
	frame := slices.Clone(p.frame)
	if p.is6() {
		if !slices.Contains(j.self.eni.IPv6, p.src) { // whatever passes inside
			j.step("%v is no address of %s", p.src, j.self.id)
			return one(j.drop("no-public-address"))
		}
	} else {
		if p.src != j.self.eni.Addr || !j.self.public.IsValid() {
			j.step("%v has no public address", p.src)
			return one(j.drop("no-public-address"))
		}
		j.step("outside it is %v", j.self.public)
		// the address inside is the sender's own, or one of others that it complains about
		if inner := p.inside(); inner != nil && inner.dst == p.src {
			k := flowKey(outside, inner)
			frame = p.rewriteError(j.self.public, p.dst, inner, k.initiator, netip.AddrPortFrom(j.self.public, k.responder.Port()))
		} else {
			frame = p.readdress(j.self.public, p.dst)
		}
	}
	return one(j.remembering(j.deliver(UplinkPort, frame), c, forward, related, UplinkPort, w.route.kind == vpc.TargetEgressOnly))
}

// hasUplink reports whether there is a way to the host's network.
func (m *Model) hasUplink() bool {
	_, ok := m.facts.Devices[UplinkPort]
	return ok
}

// toNAT is a packet without a connection that a route gives to a NAT gateway.
func (j *journey) toNAT(w way) []Outcome {
	m, p := j.m, j.p
	g := w.route.nat
	nat := m.net.byID[g.Interface]
	if nat == nil {
		return one(j.drop("no-interface"))
	}
	if o, ok := j.throughNAT(w.sub, nat, p.src, p.dst); !ok {
		return one(o)
	}
	switch {
	case p.proto != vpc.TCP && p.proto != vpc.UDP && !p.isEcho() || p.is6():
		return one(j.drop("protocol"))
	case p.later:
		return one(j.drop("fragment"))
	}
	if p.isTCP() && !p.isSYN() {
		return one(j.reset("no-connection"))
	}
	if !m.hasUplink() {
		return one(j.drop("no-uplink"))
	}
	if !g.PublicAddr.IsValid() {
		return one(j.drop("no-public-address"))
	}
	k := flowKey(space(j.self.vpc.ID), p)
	c := &conn{home: j.self.vpc.ID, client: k, server: key{space: outside, proto: p.proto, responder: k.responder}, initiator: j.self.id, target: UplinkPort,
		nat: g.ID, via: nat.id, trackedByInitiator: true, trackedByTarget: true}
	return one(j.beginTranslated(c, netip.PrefixFrom(g.PublicAddr, 32), false))
}

// throughNAT asks what lies between a client and the outside by way of a NAT
// gateway: the ACL into its subnet and out of it, and its own route.
func (j *journey) throughNAT(from *subnet, nat *site, client, remote netip.Addr) (Outcome, bool) {
	sub := j.m.net.subnetOf(nat)
	out := j.asks(remote, j.p.dport)
	if from.ID != sub.ID && !j.aclAllows(sub, ingress, j.asks(client, j.p.dport)) {
		return j.drop("acl-in"), false
	}
	if !j.aclAllows(sub, egress, out) {
		return j.drop("acl-out"), false
	}
	return j.natRoute(sub, remote)
}

// natRoute asks whether a NAT gateway's subnet leads to the internet.
func (j *journey) natRoute(sub *subnet, remote netip.Addr) (Outcome, bool) {
	r := sub.routeTo(remote)
	switch {
	case r == nil:
		return j.drop("no-route"), false
	case r.gone:
		return j.drop("blackhole"), false
	case r.kind != vpc.TargetInternet:
		return j.drop("no-route"), false
	}
	return Outcome{}, true
}

// fromOutside is a packet of the host's network: for a public address, or for an
// interface's IPv6 address.
func (j *journey) fromOutside() []Outcome {
	m, p := j.m, j.p
	if p.isARP() || p.neighbour() {
		return one(j.drop(map[bool]string{true: "arp", false: "nd"}[p.isARP()]))
	}
	j.piece = true
	if known, uncertain := j.pieces(); !known {
		return one(j.drop("fragment"))
	} else if uncertain {
		return append(j.fork().inward(), j.drop("fragment"))
	}
	if o, ok := j.aboutTranslated(outside); ok {
		return o
	}
	if h := m.lookup(outside, p); h.c != nil && !h.forward {
		if !(h.c.finished() && p.isSYN()) {
			return j.translated(h)
		}
		j.step("a SYN on a connection that has ended")
		j.old = append(j.old, h.c)
	}
	return j.inward()
}

// inward is a packet for an interface that the outside can reach.
func (j *journey) inward() []Outcome {
	m, p := j.m, j.p
	frame := slices.Clone(p.frame)
	dest := m.net.publicOf[p.dst]
	if p.is6() {
		dest = nil
		for at, s := range m.net.at {
			if at.addr == p.dst && s.kind == atWorkload {
				dest = s
			}
		}
	}
	if dest == nil || dest.kind != atWorkload {
		return one(j.drop("no-interface"))
	}
	inner := p.inside()
	if !p.is6() {
		j.step("%v is %v of %s", p.dst, dest.eni.Addr, dest.id)
		if inner != nil {
			k := flowKey(outside, inner)
			frame = p.rewriteError(p.src, dest.eni.Addr, inner, netip.AddrPortFrom(dest.eni.Addr, k.initiator.Port()), k.responder)
		} else {
			frame = p.readdress(p.src, dest.eni.Addr)
		}
	}
	q := *p
	q.dst = dest.eni.Addr
	if p.is6() {
		q.dst = p.dst
	}
	own := space(dest.vpc.ID)
	h := m.lookup(own, &q)
	c := h.c
	var before *conn // of an interface that had the address
	switch {
	case c == nil:
	case c.finished() && p.isSYN():
		j.old, c = append(j.old, c), nil
	case !c.plain || !bound(c, h.forward, UplinkPort, dest.id):
		// a flow of the same ends inside is not this packet's, and nobody
		// outside can end it
		if c.plain && c.initiator != dest.id && c.target != dest.id {
			before = c
		}
		c = nil
	}
	var related *conn
	if inner != nil {
		in := *inner
		in.src = q.dst
		if rh := m.lookup(own, &in); rh.c != nil && rh.c.plain && bound(rh.c, rh.forward, dest.id, UplinkPort) {
			related = rh.c
		}
	}
	sub := m.net.subnetOf(dest)
	r := sub.routeTo(p.src)
	switch {
	case r == nil || r.gone:
		return one(j.drop("no-route"))
	case r.kind == vpc.TargetInternet:
	case r.kind == vpc.TargetEgressOnly && (c != nil || related != nil):
	default:
		return one(j.drop("no-route"))
	}
	if !j.aclAllows(sub, ingress, j.asks(p.src, p.dport)) {
		return one(j.drop("acl-in"))
	}
	tracked := false
	if known := cmp.Or(c, related); known != nil {
		tracked = known.trackedByTarget && known.target == dest.id || known.trackedByInitiator && known.initiator == dest.id
	}
	if !tracked && !j.groupsAllow(dest, ingress, j.asks(p.src, p.dport)) {
		return one(j.drop("group-ingress"))
	}
	o := j.deliver(dest.id, frame)
	if c != nil {
		return one(o.then(func() { m.touch(c, h.forward, p) }))
	}
	if o.Action == Drop || related != nil || !p.begins() || !m.net.tracks(dest, ingress, j.asks(p.src, p.dport)) {
		return one(o)
	}
	k := flowKey(own, &q)
	fresh := &conn{client: k, server: k, plain: true, initiator: UplinkPort, target: dest.id, trackedByTarget: true}
	if j.full(dest.id) {
		return one(j.drop("quota"))
	}
	if h.c != nil && j.old == nil && before == nil {
		return one(o) // the other flow has the place
	}
	return one(o.then(func() {
		if before != nil {
			m.forget(before)
		}
		m.remember(fresh)
		m.touch(fresh, true, p)
	}))
}

// bound reports whether a packet of a plain flow is between its two ports.
func bound(c *conn, forward bool, from, to vpc.InterfaceID) bool {
	return forward && c.initiator == from && c.target == to || !forward && c.target == from && c.initiator == to
}
