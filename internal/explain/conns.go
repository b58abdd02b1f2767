// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/netip"
	"slices"
	"time"

	"postern.dev/postern/internal/vpc"
)

// space is where an address means something: a VPC's or a peering connection's
// id, or one of the two below.
type space string

const (
	serviceSpace space = "service namespace"
	outside      space = "outside"
)

// key is one flow as one side sees it: from its initiator to its responder.
// Ports of an ICMP echo are its id and 0, those of other protocols 0.
type key struct {
	space     space
	proto     int
	initiator netip.AddrPort
	responder netip.AddrPort
	// by are the interfaces that stand for an end whose address they do not
	// have: what forwards for others has flows of its own.
	by [2]vpc.InterfaceID
}

// conn is what is remembered of a flow.
type conn struct {
	client key       // as its initiator sees it
	server key       // as the target sees it; the same as client when plain
	home   vpc.VPCID // of the initiator, for a translated flow
	// plain flows are not translated.
	plain bool
	// The flow is bound to these interfaces.
	initiator, target vpc.InterfaceID
	// tracked says which side's security groups remember it.
	trackedByInitiator, trackedByTarget bool

	// What a translated flow goes through.
	endpoint vpc.EndpointID
	via      vpc.InterfaceID // the endpoint's or the node's interface it was sent to
	node     vpc.InterfaceID // the balancer's node that stands before the target
	nat      vpc.NATGatewayID

	replied bool
	fin     [2]bool // from the initiator, from the target
	rst     bool
	told    bool          // the other end knows that the way is gone
	idle    time.Duration // of an established TCP flow through a listener
	last    time.Duration
}

func (c *conn) finished() bool { return c.rst || c.fin[0] && c.fin[1] }

// Idle times, in AWS's words: a TCP connection that nobody answered yet or that
// is closing, an established one, a UDP flow in one direction and a stream.
const (
	idleOpening     = 30 * time.Second
	idleEstablished = 432000 * time.Second
	idleTranslated  = 350 * time.Second
	idleUDP         = 30 * time.Second
	idleUDPStream   = 180 * time.Second
	idleUDPNAT      = 120 * time.Second
	idleICMP        = 30 * time.Second
	idleOther       = 600 * time.Second
)

// timeout is how long a flow may be idle. Its initiator's interface may say so.
func (m *Model) timeout(c *conn) time.Duration {
	var own vpc.ConnectionTracking
	if s := m.net.byID[c.initiator]; s != nil {
		own = s.eni.Tracking
	}
	chosen := func(seconds int, otherwise time.Duration) time.Duration {
		if seconds > 0 {
			return time.Duration(seconds) * time.Second
		}
		return otherwise
	}
	switch c.client.proto {
	case vpc.TCP:
		switch {
		case c.finished() || !c.replied:
			return idleOpening
		case c.idle > 0:
			return c.idle
		case !c.plain:
			return idleTranslated
		}
		return chosen(own.TCPEstablished, idleEstablished)
	case vpc.UDP:
		switch {
		case !c.plain:
			return idleUDPNAT
		case c.replied:
			return chosen(own.UDPStream, idleUDPStream)
		}
		return chosen(own.UDP, idleUDP)
	case vpc.ICMP, vpc.ICMPv6:
		return idleICMP
	}
	return idleOther
}

func (m *Model) expired(c *conn) bool { return m.now-c.last > m.timeout(c) }

// Expire forgets the connections that have been idle too long, as the
// collector does. They carried nothing before, but still counted.
func (m *Model) Expire() {
	for _, c := range m.conns {
		if m.expired(c) {
			m.forget(c)
		}
	}
}

func (m *Model) forget(c *conn) {
	if m.conns[c.client] != c {
		return // forgotten before
	}
	delete(m.conns, c.client)
	delete(m.conns, c.server)
	m.flows[c.payer()]--
}

func (m *Model) remember(c *conn) {
	for _, k := range []key{c.client, c.server, c.client.turned(), c.server.turned()} {
		if old := m.conns[k]; old != nil {
			m.forget(old)
		}
	}
	m.conns[c.client], m.conns[c.server] = c, c
	m.flows[c.payer()]++
	c.last = m.now
}

func (k key) turned() key {
	k.initiator, k.responder = k.responder, k.initiator
	k.by[0], k.by[1] = k.by[1], k.by[0]
	return k
}

// heading is where a packet of a flow goes.
type heading struct {
	c         *conn
	forward   bool // from the initiator
	serverEnd bool // it was found by what the target sees
}

// lookup finds the connection that a packet belongs to.
func (m *Model) lookup(in space, p *packet) heading {
	k := flowKey(in, p)
	if c := m.conns[k]; c != nil && !m.expired(c) && !p.isEchoReply() {
		return heading{c: c, forward: true, serverEnd: !c.plain && c.server == k}
	}
	if c := m.conns[k.turned()]; c != nil && !m.expired(c) && !p.isEcho() {
		return heading{c: c, serverEnd: !c.plain && c.server == k.turned()}
	}
	return heading{}
}

// flowKey is the key a packet would have if it began a flow.
func flowKey(in space, p *packet) key {
	k := key{space: in, proto: p.proto, initiator: p.source(), responder: p.destination(), by: p.by}
	if p.isEcho() {
		k.initiator = netip.AddrPortFrom(p.src, p.id)
	}
	if p.isEchoReply() { // turned, it is the request's
		k.responder = netip.AddrPortFrom(p.dst, p.id)
	}
	return k
}

// begins reports whether a packet without a connection makes one.
func (p *packet) begins() bool {
	switch {
	case p.later:
		return false
	case p.isTCP():
		return p.isSYN()
	case p.isICMP():
		return p.isEcho()
	case p.proto == vpc.ICMP || p.proto == vpc.ICMPv6:
		return true // of the other family: a protocol like any
	}
	return true
}

// touch notes a packet of a flow.
func (m *Model) touch(c *conn, forward bool, p *packet) {
	c.last = m.now
	if !forward {
		c.replied = true
	}
	if p.isTCP() && !p.later {
		if p.flags&flagRST != 0 {
			c.rst = true
		}
		if p.flags&flagFIN != 0 {
			c.fin[map[bool]int{true: 0, false: 1}[forward]] = true
		}
	}
}

// Flows is how many connections an interface has begun that are remembered.
func (m *Model) Flows(id vpc.InterfaceID) int { return m.flows[id] }

// payer is the interface that a flow counts for: its initiator's, or, since the
// outside has none, its target's.
func (c *conn) payer() vpc.InterfaceID {
	if c.initiator == UplinkPort {
		return c.target
	}
	return c.initiator
}

// full reports whether an interface may have no more flows; one that is over
// because of this packet does not count.
func (j *journey) full(payer vpc.InterfaceID) bool {
	n := j.m.flows[payer]
	for i, c := range j.old {
		if c.payer() == payer && j.m.conns[c.client] == c && !slices.Contains(j.old[:i], c) {
			n--
		}
	}
	return n >= j.m.facts.Quota
}
