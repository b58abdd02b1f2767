// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// untouched compares everything of two frames that a translation must keep.
func untouched(t *testing.T, before, after []byte) {
	t.Helper()
	mask := func(b []byte) []byte {
		b = bytes.Clone(b)
		clear(b[:12])   // MACs
		clear(b[24:26]) // IPv4 checksum
		clear(b[26:38]) // addresses and ports
		switch b[23] {
		case vpc.TCP:
			clear(b[50:52])
		case vpc.UDP:
			clear(b[40:42])
		}
		return b
	}
	if x, y := mask(before), mask(after); !bytes.Equal(x, y) {
		t.Errorf("translation changed more than addresses, ports and checksums:\n%x\n%x", x, y)
	}
}

func TestEndpointTranslatesBothDirectionsWithEqualAddresses(t *testing.T) {
	w := newWorld(t)
	// the consumer 10.0.0.5 reaches, in another VPC, a target that is 10.0.0.5 too
	for _, c := range []struct {
		name       string
		ask, reply func(node netip.AddrPort) packet
		want       netip.AddrPort
	}{
		{"TCP", func(netip.AddrPort) packet { return tcp(eniA1, addrA1, 40000, addrEP, 80, "S") },
			func(n netip.AddrPort) packet { return tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), "SA") }, ap(addrB1, 8080)},
		{"UDP", func(netip.AddrPort) packet { return udp(eniA1, addrA1, 40000, addrEP, 514) },
			func(n netip.AddrPort) packet { return udp(eniB1, addrB1, 5514, n.Addr(), int(n.Port())) }, ap(addrB1, 5514)},
	} {
		ask := c.ask(netip.AddrPort{})
		ask.payload = []byte("odd payload") // 11 bytes
		out := w.passes(ask, eniB1)
		there := endsOf(t, out)
		if there.src.Addr() != addrNode || there.src.Port() < 1024 || there.dst != c.want {
			t.Errorf("%s: target sees %v, want %s:1024.. to %s", c.name, there, addrNode, c.want)
		}
		untouched(t, w.frame(ask), out.Data())
		reply := c.reply(there.src)
		reply.payload = []byte("answer")
		back := w.passes(reply, eniA1)
		if got := endsOf(t, back); got.src != ap(addrEP, ask.dport) || got.dst != ap(addrA1, 40000) {
			t.Errorf("%s: client sees %v", c.name, got)
		}
		untouched(t, w.frame(reply), back.Data())
		// the flow goes on with the same port
		ask.flags = "A"
		if again := endsOf(t, w.passes(ask, eniB1)); again != there {
			t.Errorf("%s: second packet is %v, the first was %v", c.name, again, there)
		}
	}
	// a client with the same port and another address is another flow
	one := endsOf(t, w.passes(tcp(eniA2, addrA2, 40000, addrEP, 80, "S"), eniB1))
	two := endsOf(t, w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "A"), eniB1))
	if one.src == two.src {
		t.Errorf("two flows have the source %v", one.src)
	}
	// and the provider cannot open flows back
	w.drops(tcp(eniB1, addrB1, 1, addrEP, 80, "S"), bpf.DropNoInterface)
	w.drops(tcp(eniB1, addrB1, 8080, addrNode, 9, "S"), bpf.DropNoListener)
}

func TestUDPWithoutChecksumStaysWithout(t *testing.T) {
	w := newWorld(t)
	f := w.frame(udp(eniA1, addrA1, 40000, addrEP, 514))
	f[40], f[41] = 0, 0
	out := w.passes(packet{from: eniA1, raw: f}, eniB1)
	if u := out.Layer(layers.LayerTypeUDP).(*layers.UDP); u.Checksum != 0 {
		t.Errorf("checksum became %#x", u.Checksum)
	}
}

func TestEndpointPathChecksBothSidesGroups(t *testing.T) {
	w := newWorld(t)
	flow := func(port int) packet { return tcp(eniA1, addrA1, port, addrEP, 80, "S") }
	w.passes(flow(1), eniB1)

	w.rules(eniEP, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.TCP, 80, 80, netip.PrefixFrom(addrA2, 32))}})
	w.apply()
	w.drops(flow(2), bpf.DropGroupIngress)
	w.passes(tcp(eniA2, addrA2, 2, addrEP, 80, "S"), eniB1)
	w.rules(eniEP, open)

	// the target must allow the node, not the client
	w.rules(eniB1, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.TCP, 8080, 8080, netip.PrefixFrom(addrNode, 32))}})
	w.apply()
	w.passes(flow(3), eniB1)
	w.rules(eniB1, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.TCP, 8080, 8080, netip.PrefixFrom(addrA1, 32))}})
	w.apply()
	w.drops(flow(4), bpf.DropGroupIngress)
	w.passes(tcp(eniA1, addrA1, 3, addrEP, 80, "A"), eniB1) // tracked
	w.rules(eniB1, open)

	// a node with groups: inbound by client and listener port, outbound by target
	w.rules(eniNode, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.TCP, 80, 80, netip.PrefixFrom(addrA1, 32))},
		Egress: []desired.Rule{allow(vpc.TCP, 8080, 8080, anywhere)}})
	w.apply()
	w.passes(flow(5), eniB1)
	w.drops(tcp(eniA2, addrA2, 5, addrEP, 80, "S"), bpf.DropNodeIngress)
	w.rules(eniNode, desired.RuleSet{Ingress: open.Ingress})
	w.apply()
	w.drops(flow(6), bpf.DropNodeEgress)
}

func TestEndpointPathChecksACLsOfBothSides(t *testing.T) {
	w := newWorld(t)
	edit(w.host.Balancers, node, func(b *desired.Balancer) { b.Listeners[0].Targets[0] = desired.Target{Addr: addrB2, Port: 8080} })
	w.apply()
	ask := tcp(eniA3, addrA3, 40000, addrEP, 80, "S") // from A2 to A1, and from B1 to B2
	n := endsOf(t, w.passes(ask, eniB2)).src
	reply := tcp(eniB2, addrB2, 8080, n.Addr(), int(n.Port()), "A")
	w.passes(reply, eniA3)
	ask.flags = "A"
	deny := desired.ACL{In: []desired.ACLRule{{Allow: true, Protocol: vpc.UDP, CIDR: anywhere, To: 65535}}, Out: []desired.ACLRule{{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}}}
	for _, acl := range []vpc.ACLID{"acl-a1", "acl-b2"} { // those that the request enters
		was := w.host.ACLs[acl]
		w.host.ACLs[acl] = deny
		w.apply()
		w.drops(ask, bpf.DropACLIn)
		w.passes(reply, eniA3)
		w.host.ACLs[acl] = was
	}
	for _, acl := range []vpc.ACLID{"acl-a2", "acl-b1"} { // those that the reply enters
		was := w.host.ACLs[acl]
		w.host.ACLs[acl] = deny
		w.apply()
		w.passes(ask, eniB2)
		w.drops(reply, bpf.DropACLIn)
		w.host.ACLs[acl] = was
	}
}

func TestEndpointTakesOnlyItsPortsAndProtocols(t *testing.T) {
	w := newWorld(t)
	w.drops(tcp(eniA1, addrA1, 1, addrEP, 8080, "S"), bpf.DropNoListener) // silently
	w.drops(tcp(eniA1, addrA1, 1, addrEP, 8080, "A"), bpf.DropNoListener)
	w.drops(udp(eniA1, addrA1, 1, addrEP, 80), bpf.DropNoListener)
	w.drops(ping(eniA1, addrA1, addrEP, 8, 1), bpf.DropProtocol)
	w.drops(tcp(eniA1, addrA1, 1, addrEP, 81, "S"), bpf.DropNoTarget)
	// data outside a connection on a configured port is reset
	p := tcp(eniA1, addrA1, 1, addrEP, 80, "PA")
	p.payload = []byte("data")
	if r := w.resets(p, bpf.DropNoConnection); r.Seq != p.ack || r.ACK {
		t.Errorf("reset of data is %+v", r)
	}
	p.flags = "R"
	w.drops(p, bpf.DropNoConnection)
}

// tells sends the first late packet of a flow that has ended: it must reach the
// other end as a reset that continues the sender's sequence.
func (w *world) tells(p packet, to vpc.InterfaceID, src, dst netip.AddrPort) {
	w.t.Helper()
	out := w.passes(p, to)
	got := endsOf(w.t, out)
	r := out.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if got.src != src || got.dst != dst || !r.RST || r.SYN || r.Seq != p.seq || len(r.Payload) > 0 {
		w.t.Errorf("%+v: told by %v %+v, want a reset from %v to %v", p, got, r, src, dst)
	}
}

func TestInactiveEndpointResetsItsFlowsInBothDirections(t *testing.T) {
	w := newWorld(t)
	ask := tcp(eniA1, addrA1, 40000, addrEP, 80, "S")
	n := endsOf(t, w.passes(ask, eniB1)).src
	w.passes(udp(eniA1, addrA1, 40000, addrEP, 514), eniB1)
	reply := tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), "SA")
	w.passes(reply, eniA1)

	delete(w.host.Endpoints, epCustomer)
	w.apply()
	// The client may only be waiting: the target's data tells it.
	reply.flags, reply.payload = "PA", []byte("data")
	w.tells(reply, eniA1, ap(addrEP, 80), ap(addrA1, 40000))
	ask.flags, ask.payload = "PA", []byte("more")
	if r := w.resets(ask, bpf.DropEndpointGone); r.Seq != ask.ack || r.ACK {
		t.Errorf("reset is %+v", r)
	}
	if r := w.resets(reply, bpf.DropEndpointGone); r.Seq != reply.ack {
		t.Errorf("reset is %+v", r)
	}
	w.drops(udp(eniA1, addrA1, 40000, addrEP, 514), bpf.DropEndpointGone)
	w.drops(tcp(eniA1, addrA1, 40001, addrEP, 80, "S"), bpf.DropEndpointInactive)
	// also once its interface is gone from the VPC
	delete(w.host.Interfaces, eniEP)
	w.apply()
	w.resets(ask, bpf.DropEndpointGone)
	// a SYN without ACK is acknowledged, data and all
	w.host = labHost()
	w.apply()
	w.passes(tcp(eniA1, addrA1, 40002, addrEP, 80, "S"), eniB1)
	n = endsOf(t, w.passes(tcp(eniA1, addrA1, 40003, addrEP, 80, "S"), eniB1)).src
	delete(w.host.Endpoints, epCustomer)
	w.apply()
	w.tells(tcp(eniA1, addrA1, 40003, addrEP, 80, "PA"), eniB1, n, ap(addrB1, 8080))
	if r := w.resets(tcp(eniA1, addrA1, 40002, addrEP, 80, "S"), bpf.DropEndpointGone); !r.ACK || r.Ack != 1001 || r.Seq != 0 {
		t.Errorf("reset of a SYN is %+v", r)
	}
}

func TestClientOfTheBalancersOwnVPC(t *testing.T) {
	w := newWorld(t)
	// the source becomes the node's
	ask := tcp(eniB2, addrB2, 40000, addrNode, 80, "S")
	there := endsOf(t, w.passes(ask, eniB1))
	if there.src.Addr() != addrNode || there.dst != ap(addrB1, 8080) {
		t.Errorf("target sees %v", there)
	}
	back := endsOf(t, w.passes(tcp(eniB1, addrB1, 8080, addrNode, int(there.src.Port()), "SA"), eniB2))
	if back.src != ap(addrNode, 80) || back.dst != ap(addrB2, 40000) {
		t.Errorf("client sees %v", back)
	}
	// with preserve_client_ip it stays the client's
	there = endsOf(t, w.passes(tcp(eniB1, addrB1, 40001, addrNode, 82, "S"), eniB2))
	if there.src != ap(addrB1, 40001) || there.dst != ap(addrB2, 8082) {
		t.Errorf("target sees %v", there)
	}
	back = endsOf(t, w.passes(tcp(eniB2, addrB2, 8082, addrB1, 40001, "SA"), eniB1))
	if back.src != ap(addrNode, 82) || back.dst != ap(addrB1, 40001) {
		t.Errorf("client sees %v", back)
	}
	// which never holds for endpoints
	there = endsOf(t, w.passes(tcp(eniA1, addrA1, 40001, addrEP, 82, "S"), eniB2))
	if there.src.Addr() != addrNode {
		t.Errorf("through an endpoint the target sees %v", there)
	}
	// the same addresses and ports cannot be two flows
	w.drops(tcp(eniB1, addrB1, 40001, addrB2, 8082, "S"), bpf.DropTupleInUse)
	w.drops(ping(eniB1, addrB1, addrNode, 8, 1), bpf.DropProtocol)
	w.resets(tcp(eniB1, addrB1, 5, addrNode, 4444, "A"), bpf.DropNoConnection)
	w.drops(tcp(eniB1, addrB1, 5, addrNode, 4444, "S"), bpf.DropNoListener)
}

func TestMSSIsClampedOnBothSYNs(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.MSS = 1400 })
	opt := func(kind layers.TCPOptionKind, data ...byte) layers.TCPOption {
		return layers.TCPOption{OptionType: kind, OptionLength: uint8(2 + len(data)), OptionData: data}
	}
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
	mssOf := func(n uint16) layers.TCPOption {
		return opt(layers.TCPOptionKindMSS, binary.BigEndian.AppendUint16(nil, n)...)
	}
	got := func(l *layers.TCP) int {
		for _, o := range l.Options {
			if o.OptionType == layers.TCPOptionKindMSS {
				return int(binary.BigEndian.Uint16(o.OptionData))
			}
		}
		return 0
	}
	for i, c := range []struct {
		options []layers.TCPOption
		want    int
	}{
		{[]layers.TCPOption{mssOf(8960)}, 1400},
		{[]layers.TCPOption{mssOf(1360)}, 1360},
		{[]layers.TCPOption{nop, mssOf(8960), nop, nop, nop}, 1400}, // at an odd place
		{[]layers.TCPOption{opt(layers.TCPOptionKindWindowScale, 7), nop, opt(layers.TCPOptionKindTimestamps, make([]byte, 8)...), nop, nop, mssOf(9000)}, 1400},
		{nil, 0},
		{[]layers.TCPOption{opt(layers.TCPOptionKindWindowScale, 7), nop}, 0},
	} {
		p := tcp(eniA1, addrA1, 41000+i, addrEP, 80, "S")
		p.options = c.options
		out := w.passes(p, eniB1)
		if n := got(out.Layer(layers.LayerTypeTCP).(*layers.TCP)); n != c.want {
			t.Errorf("SYN %d: MSS %d, want %d", i, n, c.want)
		}
		n := endsOf(t, out).src
		r := tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), "SA")
		r.options = c.options
		if n := got(w.passes(r, eniA1).Layer(layers.LayerTypeTCP).(*layers.TCP)); n != c.want {
			t.Errorf("SYN-ACK %d: MSS %d, want %d", i, n, c.want)
		}
	}
	// options that lie about their length are left alone
	f := w.frame(packet{from: eniA1, src: addrA1, dst: addrEP, proto: vpc.TCP, sport: 41100, dport: 80, flags: "S",
		options: []layers.TCPOption{mssOf(9000)}})
	f[55] = 1
	if r := w.send(packet{from: eniA1, raw: f}); r.Action != ActionPeer {
		t.Errorf("SYN with a broken option: %v", r)
	}
	// larger packets than the MSS allows are not carried
	p := tcp(eniA1, addrA1, 41000, addrEP, 80, "A")
	p.payload = make([]byte, 1401)
	w.drops(p, bpf.DropTooBig)
	p.payload = p.payload[:1400]
	w.passes(p, eniB1)
	// what counts of a large packet is the size of its segments
	p.payload = make([]byte, 2800)
	p.gso = 1400
	w.passes(p, eniB1)
	p.gso = 1401
	w.drops(p, bpf.DropTooBig)
}

func TestQuotaBoundsOneInterfaceAndNotAnother(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.QuotaPerInterface = 3 })
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1)
	w.passes(tcp(eniA1, addrA1, 2, addrA2, 80, "S"), eniA2)
	w.passes(udp(eniA1, addrA1, 3, addrA2, 80), eniA2)
	w.drops(udp(eniA1, addrA1, 4, addrA2, 80), bpf.DropQuota)
	w.drops(tcp(eniA1, addrA1, 4, addrEP, 80, "S"), bpf.DropQuota)
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "A"), eniB1) // those that exist go on
	w.passes(tcp(eniA2, addrA2, 1, addrEP, 80, "S"), eniB1)
	// a flow that ends gives its place back
	w.passes(tcp(eniA1, addrA1, 2, addrA2, 80, "R"), eniA2)
	w.passes(tcp(eniA1, addrA1, 2, addrA2, 80, "S"), eniA2)
	w.drops(tcp(eniA1, addrA1, 4, addrEP, 80, "S"), bpf.DropQuota)
}

func TestPortsTowardsATargetRunOutWithTheirOwnReason(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.ports = [2]uint32{2000, 2003} })
	seen := map[netip.AddrPort]bool{}
	for i := range 4 {
		n := endsOf(t, w.passes(tcp(eniA1, addrA1, 1+i, addrEP, 80, "S"), eniB1)).src
		if n.Port() < 2000 || n.Port() > 2003 || seen[n] {
			t.Errorf("flow %d has source %v after %v", i, n, seen)
		}
		seen[n] = true
	}
	w.drops(tcp(eniA1, addrA1, 9, addrEP, 80, "S"), bpf.DropPortsExhausted)
	// another target has its own ports
	w.passes(udp(eniA1, addrA1, 9, addrEP, 514), eniB1)
	// the failed flow cost nothing: a port that comes free serves it
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "R"), eniB1)
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1)
	if c := w.entries(); c.Consumer != 5 || c.Provider != 5 {
		t.Errorf("entries %+v, want 5 pairs", c)
	}
}

func (w *world) entries() Collected {
	w.t.Helper()
	c, err := w.dp.Collect()
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestExpiredConnectionsAreAbsentAndThenCollected(t *testing.T) {
	short := 50 * time.Millisecond
	w := newWorld(t, func(w *world) {
		w.cfg.timeouts = map[string]time.Duration{"timeout_tcp_nat": short, "timeout_syn": short, "timeout_closing": short}
		w.cfg.QuotaPerInterface = 2
	})
	n := endsOf(t, w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1)).src
	w.passes(tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), "SA"), eniA1)
	w.passes(udp(eniA1, addrA1, 1, addrEP, 514), eniB1)
	w.drops(udp(eniA1, addrA1, 2, addrEP, 514), bpf.DropQuota)
	if c := w.entries(); c.Expired != 0 || c.Consumer != 2 || c.Provider != 2 {
		t.Fatalf("before the timeout: %+v", c)
	}
	w.idle(short)
	// idle TCP is reset from either side before any collector came by
	w.resets(tcp(eniA1, addrA1, 1, addrEP, 80, "A"), bpf.DropNoConnection)
	w.resets(tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), "A"), bpf.DropNoConnection)
	// and its place is free, the UDP flow lives
	w.passes(tcp(eniA1, addrA1, 3, addrEP, 80, "S"), eniB1)
	w.idle(short)
	if c := w.entries(); c.Expired != 2 || c.Consumer != 1 || c.Provider != 1 {
		t.Errorf("after the timeout: %+v", c)
	}
	w.passes(udp(eniA1, addrA1, 1, addrEP, 514), eniB1)
	w.passes(tcp(eniA1, addrA1, 4, addrEP, 80, "S"), eniB1)
	w.drops(tcp(eniA1, addrA1, 5, addrEP, 80, "S"), bpf.DropQuota)
}

// tick is the longest step of the clock that packets read: one of CONFIG_HZ=100.
const tick = 10 * time.Millisecond

// idle returns when the datapath's clock has gone on by more than d.
func (w *world) idle(d time.Duration) {
	for until := monotonic() + int64(d+tick) + 1; monotonic() <= until; {
		time.Sleep(time.Duration(until - monotonic()))
	}
}

func TestFinishedConnectionIsRestartedByASYN(t *testing.T) {
	w := newWorld(t)
	ask := tcp(eniA1, addrA1, 1, addrEP, 80, "S")
	n := endsOf(t, w.passes(ask, eniB1)).src
	end := func(flags string) packet { return tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), flags) }
	w.passes(end("SA"), eniA1)
	ask.flags = "FA"
	w.passes(ask, eniB1)
	ask.flags = "S" // only half closed: still the old connection
	if got := endsOf(t, w.passes(ask, eniB1)).src; got != n {
		t.Errorf("SYN in a half closed connection moved to %v", got)
	}
	w.passes(end("FA"), eniA1)
	ask.flags = "A" // the last acknowledgement
	w.passes(ask, eniB1)
	ask.flags = "S"
	// with the source port it had, which the target may still remember
	if got := endsOf(t, w.passes(ask, eniB1)).src; got != n {
		t.Errorf("the new connection comes from %v, the old one came from %v", got, n)
	}
	for c, err := range w.dp.Connections() {
		if err != nil {
			t.Fatal(err)
		}
		if c.Replied || c.Finished || c.Packets != [2]uint64{1, 0} {
			t.Errorf("after the new SYN: %+v", c)
		}
	}
	if c := w.entries(); c.Consumer != 1 || c.Provider != 1 {
		t.Errorf("entries %+v, want one pair", c)
	}
}

func TestConnectionOfAnotherKindIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1)
	// the address passes from the endpoint to a workload
	edit(w.host.Interfaces, eniEP, func(i *desired.Interface) { i.Kind = desired.KindWorkload })
	w.devices[eniEP] = Device{Ifindex: lab.devices[6]}
	w.apply()
	w.drops(tcp(eniA1, addrA1, 1, addrEP, 80, "A"), bpf.DropStale)
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniEP)
	if c := w.entries(); c.Consumer+c.Provider != 0 || c.Plain != 1 {
		t.Errorf("entries %+v", c)
	}
}

func TestTargetsShareAListenersFlows(t *testing.T) {
	w := newWorld(t)
	edit(w.host.Balancers, node, func(b *desired.Balancer) {
		b.Listeners[0].Targets = []desired.Target{{Addr: addrB1, Port: 8080}, {Addr: addrB2, Port: 8080}}
	})
	w.apply()
	hits := map[int]int{}
	for i := range 200 {
		p := tcp(eniA1, addrA1, 10000+i, addrEP, 80, "S")
		r := w.send(p)
		hits[r.Ifindex]++
		p.flags = "A"
		if again := w.send(p); again.Ifindex != r.Ifindex {
			t.Fatalf("flow %d moved from %v to %v", i, r, again)
		}
	}
	for _, id := range []vpc.InterfaceID{eniB1, eniB2} {
		if n := hits[w.devices[id].Ifindex]; n < 60 || n > 140 {
			t.Errorf("%s has %d of 200 flows", id, n)
		}
	}
	// a target that leaves keeps its flows and gets no new ones
	edit(w.host.Balancers, node, func(b *desired.Balancer) { b.Listeners[0].Targets = b.Listeners[0].Targets[:1] })
	w.apply()
	kept := 0
	for i := range 200 {
		if w.send(tcp(eniA1, addrA1, 10000+i, addrEP, 80, "A")).Ifindex == w.devices[eniB2].Ifindex {
			kept++
		}
	}
	if kept != hits[w.devices[eniB2].Ifindex] {
		t.Errorf("%d flows stayed, want %d", kept, hits[w.devices[eniB2].Ifindex])
	}
	for i := range 50 {
		w.passes(tcp(eniA1, addrA1, 20000+i, addrEP, 80, "S"), eniB1)
	}
}

func TestAnAddressDoesNotPassItsFlowsOn(t *testing.T) {
	w := newWorld(t)
	plain := tcp(eniA1, addrA1, 1, addrA2, 80, "S")
	w.passes(plain, eniA2)
	through := tcp(eniA1, addrA1, 2, addrEP, 80, "S")
	n := endsOf(t, w.passes(through, eniB1)).src
	// both targets are replaced by interfaces that let nobody in
	swap := func(old, fresh vpc.InterfaceID) {
		i, d := w.host.Interfaces[old], w.devices[old]
		delete(w.host.Interfaces, old)
		delete(w.devices, old)
		i.ID, i.RuleSet = fresh, "closed"
		w.host.Interfaces[fresh], w.devices[fresh] = i, d
	}
	swap(eniA2, "eni-new-a")
	swap(eniB1, "eni-new-b")
	w.apply()
	plain.flags, through.flags = "A", "A"
	w.drops(plain, bpf.DropGroupIngress)
	w.drops(tcp("eni-new-a", addrA2, 80, addrA1, 1, "A"), bpf.DropGroupEgress)
	w.drops(tcp("eni-new-b", addrB1, 8080, n.Addr(), int(n.Port()), "A"), bpf.DropStale)
	w.resets(through, bpf.DropNoConnection)
	through.flags = "S"
	w.drops(through, bpf.DropGroupIngress)
	if c := w.entries(); c.Plain+c.Consumer+c.Provider != 0 {
		t.Errorf("entries remain: %+v", c)
	}
	// a client that is replaced loses its flows too
	w.host = labHost()
	w.devices[eniB1], w.devices[eniA2] = Device{Ifindex: lab.devices[3]}, Device{Ifindex: lab.devices[1]}
	w.apply()
	through.flags = "S"
	n = endsOf(t, w.passes(through, eniB1)).src
	swap(eniA1, "eni-new-c")
	w.apply()
	w.drops(tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), "SA"), bpf.DropStale)
}

// An interface that may send from any address does not get into the flow of the
// one that has it, also not while nothing has changed since the flow was judged.
func TestOnlyItsOwnInterfaceContinuesAFlow(t *testing.T) {
	w := newWorld(t, func(w *world) {
		edit(w.host.Interfaces, eniA2, func(i *desired.Interface) { i.SourceCheck = false })
	})
	w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "S"), eniB1)
	w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "A"), eniB1)
	w.resets(tcp(eniA2, addrA1, 40000, addrEP, 80, "A"), bpf.DropNoConnection)
	w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "A"), eniB1)
}
