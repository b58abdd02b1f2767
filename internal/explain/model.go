// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Ports that are no interface's.
const (
	ServicePort vpc.InterfaceID = "service" // the service namespace: edge, resolver, prober
	UplinkPort  vpc.InterfaceID = "uplink"  // the host's own network
)

// MAC is an Ethernet address.
type MAC [6]byte

// Facts are what the domain does not say about one host.
type Facts struct {
	// Devices are the Ethernet addresses of the workloads whose devices exist
	// here; those of ServicePort and UplinkPort are among them.
	Devices map[vpc.InterfaceID]MAC
	// Router is the Ethernet address of a subnet's router as workloads see it,
	// Gateway what the service namespace and the host's network see.
	Router  func(vpc.SubnetID) MAC
	Gateway func(port vpc.InterfaceID) MAC
	// Edge is the edge's address (IPv4: so is what it serves) in the service namespace, Clients the range of
	// addresses that stand for its clients.
	Edge    netip.Addr
	Edge6   netip.Addr // of health checks over IPv6
	Clients netip.Prefix
	// Probes are the health checks that run here, by the address in the
	// service namespace that stands for one.
	Probes map[netip.Addr]Probe
	// MSS is the largest TCP segment through an endpoint over IPv4; over IPv6
	// it is 20 less.
	MSS int
	// Quota is how many flows an interface may begin.
	Quota int
	// FirstPort and LastPort bound the source ports of translated flows.
	FirstPort, LastPort int
}

// Probe is one health check: from a balancer's node to a target.
type Probe struct {
	VPC          vpc.VPCID
	Node, Target netip.Addr
}

// Action is where a frame ends up.
type Action string

// Actions.
const (
	Drop    Action = "drop"
	Deliver Action = "deliver" // to the port Outcome.To
	Answer  Action = "answer"  // back to the port it came from
)

// Choice is a source that the datapath may choose for a translated flow.
type Choice struct {
	Addrs  netip.Prefix // a single address when there is no choice
	Lo, Hi int          // ports
	Free   func(netip.AddrPort) error
	frame  func(netip.AddrPort) []byte
}

// Outcome is one thing that may become of a frame.
type Outcome struct {
	Action Action
	// Reason is why it is dropped, or answered by a reset; "" if neither.
	Reason string
	// Also are further reasons that are as good: a frame may have several defects.
	Also   []string
	To     vpc.InterfaceID
	Frame  []byte // as it leaves; with a Choice, before that is made
	Choice *Choice
	Steps  []string

	forgets []*conn // whatever else happens
	commit  func(source netip.AddrPort)
}

// Seen is what the datapath did with a frame.
type Seen struct {
	Action Action
	Reason string
	To     vpc.InterfaceID
	Frame  []byte
}

// Decision is everything that may become of a frame.
type Decision struct {
	Outcomes []Outcome
	packet   *packet
	journey  *journey
}

// Model is what one host's datapath should do. It is for one goroutine.
type Model struct {
	facts Facts
	net   *network
	now   time.Duration

	conns     map[key]*conn
	flows     map[vpc.InterfaceID]int // how many each interface has
	fragments map[fragmentKey]*fragment
	fragSeen  map[vpc.InterfaceID]int // how many each interface has begun
	standIns  map[client]netip.Addr   // towards the edge
	sticky    map[stickyKey]vpc.Target
}

// New makes a model without connections.
func New(v vpc.View, facts Facts) *Model {
	m := &Model{
		facts: facts, conns: map[key]*conn{}, flows: map[vpc.InterfaceID]int{}, fragments: map[fragmentKey]*fragment{},
		fragSeen: map[vpc.InterfaceID]int{}, standIns: map[client]netip.Addr{}, sticky: map[stickyKey]vpc.Target{},
	}
	m.Change(v, facts)
	return m
}

// Change makes the model judge by another view and other facts from now on.
// Connections stay.
func (m *Model) Change(v vpc.View, facts Facts) {
	m.facts = facts
	m.net = newNetwork(v)
}

// Pass lets time go by.
func (m *Model) Pass(d time.Duration) { m.now += d }

// Decide says what may become of a frame that came from a port. segment is the
// size of a large packet's segments, or 0. Nothing is remembered before Observe.
func (m *Model) Decide(from vpc.InterfaceID, frame []byte, segment int) Decision {
	j := &journey{m: m, from: from, p: parse(frame, segment)}
	return Decision{Outcomes: j.begin(), packet: j.p, journey: j}
}

// Observe checks what the datapath did against a decision, and remembers it.
func (m *Model) Observe(d Decision, seen Seen) error {
	var errs []string
	for _, o := range d.Outcomes {
		source, err := o.fits(seen)
		if err == nil {
			if d.journey.piece {
				d.journey.begun()
			}
			for _, c := range o.forgets {
				m.forget(c)
			}
			if o.commit != nil {
				o.commit(source)
			}
			return nil
		}
		errs = append(errs, err.Error())
	}
	return fmt.Errorf("%s", strings.Join(errs, "; or "))
}

func (o Outcome) fits(seen Seen) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	if o.Action != seen.Action || o.Reason != seen.Reason && !slices.Contains(o.Also, seen.Reason) || o.To != seen.To {
		return none, fmt.Errorf("want %s, got %s", sentence(o.Action, o.Reason, o.To), sentence(seen.Action, seen.Reason, seen.To))
	}
	if o.Action == Drop {
		return none, nil
	}
	want, source := o.Frame, none
	if c := o.Choice; c != nil {
		source = flowKey(outside, parse(seen.Frame, 0)).initiator
		if !c.Addrs.Contains(source.Addr()) || int(source.Port()) < c.Lo || int(source.Port()) > c.Hi {
			return none, fmt.Errorf("source %v is not of %v ports %d-%d", source, c.Addrs, c.Lo, c.Hi)
		}
		if err := c.Free(source); err != nil {
			return none, err
		}
		want = c.frame(source)
	}
	if !bytes.Equal(want, seen.Frame) {
		return none, fmt.Errorf("the frame should be\n  %x, is\n  %x (%s)", want, seen.Frame, difference(want, seen.Frame))
	}
	return source, nil
}

func difference(want, got []byte) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
	}
	var at []string
	for i := range want {
		if want[i] != got[i] {
			at = append(at, fmt.Sprintf("byte %d is %02x, want %02x", i, got[i], want[i]))
		}
	}
	if len(at) > 12 {
		at = append(at[:12], "...")
	}
	return strings.Join(at, ", ")
}

func sentence(a Action, reason string, to vpc.InterfaceID) string {
	s := string(a)
	if to != "" {
		s += " to " + string(to)
	}
	if reason != "" {
		s += " (" + reason + ")"
	}
	return s
}

// String draws the packet and what the model says about it.
func (d Decision) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.packet)
	for i, o := range d.Outcomes {
		if i > 0 {
			fmt.Fprintf(&b, "  or\n")
		}
		for _, s := range o.Steps {
			fmt.Fprintf(&b, "  %s\n", s)
		}
		fmt.Fprintf(&b, "  => %s\n", sentence(o.Action, o.Reason, o.To))
	}
	return b.String()
}
