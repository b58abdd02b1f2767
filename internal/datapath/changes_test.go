// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// crowd adds interfaces and groups to the lab's host that send nothing: what a
// full host has. Every group has ten rules, three of them for the members of others.
func crowd(h desired.Host, interfaces, groups int) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(16 + i/250), byte(1 + i%250)}) }
	members := make([][]netip.Prefix, groups)
	for i := range interfaces {
		members[i%groups] = append(members[i%groups], netip.PrefixFrom(addr(i), 32))
	}
	for g := range groups {
		set := desired.RuleSet{Egress: open.Egress}
		for r := range 7 {
			set.Ingress = append(set.Ingress, allow(vpc.TCP, 1000+100*r, 1000+100*r+g%90, netip.MustParsePrefix("10.0.0.0/16")))
		}
		for r := range 3 {
			set.Ingress = append(set.Ingress, allow(vpc.TCP, 443+r, 443+r, members[(g+r)%groups]...))
		}
		h.RuleSets[fmt.Sprintf("crowd-%d", g)] = set
	}
	for i := range interfaces {
		id := vpc.InterfaceID(fmt.Sprintf("eni-crowd-%d", i))
		h.Interfaces[id] = desired.Interface{
			ID: id, VNI: vniA, Subnet: subnetA1, Addr: addr(i), Kind: desired.KindWorkload, SourceCheck: true,
			MAC: net.HardwareAddr{2, 0, 0, 1, byte(i >> 8), byte(i)}.String(), RuleSet: fmt.Sprintf("crowd-%d", i%groups),
		}
	}
}

// flows sends numbered datagrams of many flows and sees that each arrives, and
// those of one flow in order.
type flows struct {
	*traffic
	sent, got atomic.Int64
}

// receive checks what arrives at addr.
func (f *flows) receive(p place, addr string) {
	restore := enter(f.t, p.ns)
	c, err := net.ListenPacket("udp4", addr)
	restore()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) })
	}
	if err != nil {
		f.t.Fatal(err)
	}
	go func() {
		next := map[uint32]uint32{}
		buf := make([]byte, 64)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			flow, number := binary.BigEndian.Uint32(buf), binary.BigEndian.Uint32(buf[4:])
			if n != 8 || number != next[flow] {
				f.t.Errorf("flow %d: datagram %d came when %d was next", flow, number, next[flow])
			}
			next[flow] = number + 1
			f.got.Add(1)
		}
	}()
}

// send sends rounds of one datagram for each of n flows from src to every
// destination. At most a few hundred are under way.
func (f *flows) send(p place, src netip.Addr, n int, dst ...netip.AddrPort) {
	restore := enter(f.t, p.ns)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	restore()
	if err != nil {
		f.t.Fatal(err)
	}
	f.run("flows", func() error {
		defer unix.Close(s)
		for number := uint32(0); !f.ended(); number++ {
			for flow := range n {
				to := dst[flow%len(dst)]
				err := unix.Sendto(s, datagram(ap(src, 10000+flow), to, uint32(flow), number), 0, &unix.SockaddrInet4{Addr: to.Addr().As4()})
				if err != nil {
					return err
				}
				if sent := f.sent.Add(1); sent%256 == 0 {
					for deadline := time.Now().Add(trafficTimeout); f.got.Load() < sent; time.Sleep(100 * time.Microsecond) {
						if time.Now().After(deadline) {
							return fmt.Errorf("%d of %d datagrams were lost", sent-f.got.Load(), sent)
						}
					}
				}
			}
		}
		return nil
	})
}

func datagram(src, dst netip.AddrPort, flow, number uint32) []byte {
	b := make([]byte, 20+8+8)
	b[0], b[8], b[9] = 0x45, 64, vpc.UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	u := b[20:]
	binary.BigEndian.PutUint16(u, src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	binary.BigEndian.PutUint32(u[8:], flow)
	binary.BigEndian.PutUint32(u[12:], number)
	sum := ^uint16(onesSum(onesSum(onesSum(0, b[12:20]), []byte{0, vpc.UDP, 0, byte(len(u))}), u))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:], sum)
	return b
}

// change is one change of the host and what it means for a packet of A3.
type change struct {
	set   func(w *world, on bool)
	send  func(sport int) packet
	on    uint32 // drop reason, 0: it is delivered
	off   uint32
	state bool
}

func changesOfOthers() []*change {
	blackhole := netip.MustParseAddr("192.0.2.7")
	a3 := func(dst netip.Addr, port int) func(int) packet {
		return func(sport int) packet { return tcp(eniA3, addrA3, sport, dst, port, "S") }
	}
	guest := desired.Interface{ID: "eni-guest", VNI: vniA, Subnet: subnetA1, Addr: netip.MustParseAddr("10.0.0.77"),
		Kind: desired.KindWorkload, MAC: "02:00:00:00:77:77", RuleSet: "open"}
	s3 := labHost().Endpoints[epS3]
	return []*change{
		{ // a group's rule
			set: func(w *world, on bool) {
				rules := []desired.Rule{allow(vpc.TCP, 1, 6999, anywhere), allow(vpc.TCP, 7001, 65535, anywhere)}
				if on {
					rules = append(rules, allow(vpc.TCP, 7000, 7000, anywhere))
				}
				w.rules(eniA3, desired.RuleSet{Ingress: open.Ingress, Egress: rules})
			},
			send: a3(addrA2, 7000), off: bpf.DropGroupEgress,
		},
		{ // a network ACL
			set: func(w *world, on bool) {
				out := []desired.ACLRule{{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}}
				if !on {
					out = append([]desired.ACLRule{{Protocol: vpc.TCP, CIDR: anywhere, From: 7001, To: 7001}}, out...)
				}
				edit(w.host.ACLs, "acl-a2", func(a *desired.ACL) { a.Out = out })
			},
			send: a3(addrA2, 7001), off: bpf.DropACLOut,
		},
		{ // a route
			set: func(w *world, on bool) {
				routes := labHost().RouteTables["rtb-a2"].Routes
				if on {
					routes = append(routes, desired.Route{Prefix: netip.PrefixFrom(blackhole, 32), Kind: desired.RouteBlackhole})
				}
				w.host.RouteTables["rtb-a2"] = desired.RouteTable{Routes: routes}
			},
			send: a3(blackhole, 80), on: bpf.DropBlackhole, off: bpf.DropNoRoute,
		},
		{ // a target
			set: func(w *world, on bool) {
				edit(w.host.Balancers, node, func(b *desired.Balancer) {
					b.Listeners[2].Targets = nil
					if on {
						b.Listeners[2].Targets = []desired.Target{{Addr: addrB2, Port: 8081}}
					}
				})
			},
			send: a3(addrEP, 81), off: bpf.DropNoTarget,
		},
		{ // an endpoint
			set: func(w *world, on bool) {
				delete(w.host.Endpoints, epS3)
				if on {
					w.host.Endpoints[epS3] = s3
				}
			},
			send: a3(addrS3, 443), off: bpf.DropEndpointInactive,
		},
		{ // an interface
			set: func(w *world, on bool) {
				delete(w.host.Interfaces, guest.ID)
				if on {
					w.host.Interfaces[guest.ID] = guest
				}
			},
			send: a3(guest.Addr, 80), on: bpf.DropRemoteHost, off: bpf.DropNoInterface,
		},
	}
}

// Ten thousand flows while what does not concern them changes a thousand times a
// second, every change of which holds from the first packet on.
func TestChangesUnderLoadLoseNothing(t *testing.T) {
	needRoot(t)
	length := 1500 * time.Millisecond
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		length = 20 * time.Second
	}
	router := netip.MustParseAddr("10.0.0.1")
	client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), router)
	friend := newPlace(t, "friend", netip.PrefixFrom(addrA2, 24), router)
	server := newPlace(t, "server", netip.PrefixFrom(addrB1, 24), router)
	w := newWorld(t, func(w *world) {
		w.cfg.MaxConnections = 1 << 18
		w.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
		w.devices[eniA2] = Device{Ifindex: friend.ifindex, MAC: friend.mac}
		w.devices[eniB1] = Device{Ifindex: server.ifindex, MAC: server.mac}
		crowd(w.host, 300, 60)
	})
	w.inLab(func() {
		for _, p := range []place{client, friend, server} {
			if err := w.dp.Attach(p.host, p.ifindex, Workload); err != nil {
				t.Fatal(err)
			}
		}
	})
	books := newLedger(t, client, friend, server)
	server.echo(t, "10.0.0.5:8080")
	f := &flows{traffic: newTraffic(t)}
	f.receive(friend, "10.0.0.6:5514")
	f.receive(server, "10.0.0.5:5514")
	f.send(client, addrA1, 10000, ap(addrA2, 5514), ap(addrEP, 514))
	f.stream(client, "10.0.0.100:80", 1)
	f.connections(client, "10.0.0.100:80")
	f.until(&f.sent, 10000)
	f.until(&f.dials, 1)

	kinds := changesOfOthers()
	for _, c := range kinds {
		c.set(w, false)
	}
	w.apply()
	const each = time.Second / 1000
	rnd := rand.New(rand.NewPCG(7, 7))
	sport, changes, applies := 1024, 0, 0
	begin := time.Now()
	for changes < int(length/each) && !t.Failed() {
		due := max(1, int(time.Since(begin)/each)-changes)
		changed := map[*change]bool{}
		for range due {
			changes++
			if c := kinds[rnd.IntN(len(kinds))]; !changed[c] {
				c.state = !c.state
				c.set(w, c.state)
				changed[c] = true
				continue
			}
			edit(w.host.RuleSets, fmt.Sprintf("crowd-%d", rnd.IntN(60)), func(s *desired.RuleSet) {
				s.Ingress = append([]desired.Rule{allow(vpc.TCP, 5000, 5000+rnd.IntN(1000), anywhere)}, s.Ingress[1:]...)
			})
		}
		w.apply()
		applies++
		for c := range changed {
			want := c.off
			if c.state {
				want = c.on
			}
			if sport++; sport > 65000 {
				sport = 1024
			}
			p := c.send(sport)
			if r := w.send(p); r.Reason.Code != want || (want == 0) != (r.Action == ActionPeer) {
				t.Errorf("after change %d, %+v: %v, want %s", changes, p, r, ReasonOf(want).Name)
			}
		}
		if applies%100 == 0 {
			if _, err := w.dp.Collect(); err != nil {
				t.Fatal(err)
			}
		}
	}
	took := time.Since(begin)
	f.end()
	for deadline := time.Now().Add(trafficTimeout); f.got.Load() < f.sent.Load() && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		continue
	}
	if f.got.Load() != f.sent.Load() {
		t.Errorf("%d datagrams were sent, %d arrived", f.sent.Load(), f.got.Load())
	}
	books.balanced()
	for _, d := range w.lost() {
		if d.Interface != vpc.Num(eniA3) {
			t.Errorf("drops: %+v", d)
		}
	}
	if took > 2*length {
		t.Errorf("%d changes took %v", changes, took)
	}
	t.Logf("%d changes in %d calls of Apply in %v; %d datagrams in 10000 flows, %d MB on a stream, %d connections",
		changes, applies, took.Round(time.Millisecond), f.sent.Load(), f.bytes.Load()>>20, f.dials.Load())
}
