// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// sendSketch is what becomes of a sketch of a workload.
func (h *hosts) sendSketch(t testing.TB, from, to vpc.InterfaceID, text string) Verdict {
	t.Helper()
	s, err := parseSketch(text)
	if err != nil {
		t.Fatal(err)
	}
	index, role := h.near.drawnDevice(from)
	return h.send(from, to, role, index, s.frame(h.near.drawnMAC(from), []byte{2, 9, 9, 9, 9, 9}), s.dst)
}

// A client's host that has forgotten a flow, as after a restart with empty maps,
// begins it again, and the target's host does not keep the old one beside it.
func TestAFlowBeginsAgainWhenTheClientsHostHasForgottenIt(t *testing.T) {
	h := newHosts(t, []vpc.InterfaceID{eniB1})
	const syn, ack = "10.0.0.5:4000 > 10.0.0.100:80 tcp S seq=1", "10.0.0.5:4000 > 10.0.0.100:80 tcp A"
	passes := func(text string) {
		t.Helper()
		if v := h.sendSketch(t, eniA1, eniB1, text); v.Action != ActionPeer || v.Ifindex != h.near.devices[eniB1].Ifindex {
			t.Fatalf("%s: %v", text, v)
		}
	}
	pairs := func() (n int) {
		for k := range h.far.conns() {
			if k.Vni == uint32(vniA)|1<<30 {
				n++
			}
		}
		return n
	}
	passes(syn)
	passes(ack)
	for k := range h.near.conns() {
		if err := h.near.dp.objs.Conns.Delete(k); err != nil {
			t.Fatal(err)
		}
	}
	if v := h.sendSketch(t, eniA1, eniB1, ack); v.Action != ActionAnswer {
		t.Errorf("in the middle of a forgotten flow: %v, want a reset", v)
	}
	edit(h.near.host.Balancers, node, func(b *desired.Balancer) { b.Listeners[0].Targets = []desired.Target{{Addr: addrB1, Port: 8090}} })
	h.apply()
	passes("10.0.0.5:4000 > 10.0.0.100:80 tcp S seq=7000")
	passes(ack)
	if v := h.sendSketch(t, eniA1, eniB1, ack); binary.BigEndian.Uint16(v.Frame[36:]) != 8090 {
		t.Errorf("it goes to port %d, as the old flow did", binary.BigEndian.Uint16(v.Frame[36:]))
	}
	if n := pairs(); n != 1 {
		t.Errorf("the target's host has %d entries of the client's side, want 1", n)
	}
	for _, w := range []*world{h.near, h.far} {
		collected, err := w.dp.Collect()
		if err != nil {
			t.Fatal(err)
		}
		if collected.Consumer != 1 {
			t.Errorf("%+v", collected)
		}
	}
}

// Two hosts choose the same target for a flow, by its five ends or, with
// stickiness, by its client.
func TestTwoHostsChooseTheSameTarget(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		h := newHosts(t, []vpc.InterfaceID{eniB1})
		edit(h.near.host.Balancers, node, func(b *desired.Balancer) {
			b.Listeners[0].Sticky = sticky
			b.Listeners[0].Targets = []desired.Target{{Addr: addrB1, Port: 8080}, {Addr: addrB2, Port: 8080}}
		})
		edit(h.near.host.Interfaces, eniA1, func(i *desired.Interface) { i.SourceCheck = false })
		h.apply()
		reached := map[int]int{}
		for i := range 60 {
			v := h.sendSketch(t, eniA1, eniB1, fmt.Sprintf("10.0.0.%d:%d > 10.0.0.100:80 tcp S seq=%d", 150+i, 4000+i, i))
			if v.Action != ActionPeer {
				t.Fatalf("flow %d: %v", i, v)
			}
			reached[v.Ifindex]++
		}
		if len(reached) != 2 {
			t.Errorf("only %v were reached", reached)
		}
	}
}

// A target that is in no group any more keeps its connections, also from a host
// that is then told no longer where it is.
func TestAFlowOutlivesItsTargetsPlace(t *testing.T) {
	h := newHosts(t, []vpc.InterfaceID{eniB1})
	h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4000 > 10.0.0.100:80 tcp S")
	edit(h.near.host.Balancers, node, func(b *desired.Balancer) { b.Listeners[0].Targets = nil })
	h.apply()
	view := h.near.host
	view.Interfaces = maps.Clone(view.Interfaces)
	delete(view.Interfaces, eniB1)
	if err := h.near.dp.Apply(view, map[vpc.InterfaceID]Device{eniA1: h.near.devices[eniA1]}, h.near.doors()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v := h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4000 > 10.0.0.100:80 tcp A"); v.Action != ActionPeer {
			t.Errorf("%v, want delivery", v)
		}
	}
	if v := h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4001 > 10.0.0.100:80 tcp S"); v.Action != ActionDrop {
		t.Errorf("a new flow: %v", v)
	}
}

// What another host sends is believed as far as it fits: the sender must be on
// that host, the number be that of the sender's VPC, the link lead somewhere.
func TestFramesThatDoNotFitTheirHostAreDropped(t *testing.T) {
	h := newHosts(t, []vpc.InterfaceID{eniB1, eniA2})
	head := func(kind byte, vni vpc.VNI, number uint64) []byte {
		b := []byte{kind, byte(vni >> 16), byte(vni >> 8), byte(vni)}
		return binary.NativeEndian.AppendUint64(b, number)
	}
	plain, target := byte(bpf.DatapathOverlayKindOVERLAY_PLAIN), byte(bpf.DatapathOverlayKindOVERLAY_TO_TARGET)
	client, begins := byte(bpf.DatapathOverlayKindOVERLAY_TO_CLIENT), byte(bpf.DatapathOverlayKindOVERLAY_BEGINS)
	const fromA2, fromA1 = "10.0.0.6:7 > 10.0.0.5:80 tcp S", "10.0.0.5:4000 > 10.0.0.100:80 tcp S"
	link := vpc.VNI(0x2001)
	h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4100 > 10.0.0.100:80 tcp S")
	for _, c := range []struct {
		what   string
		at     *world
		way    Way
		head   []byte
		packet string
		want   string
	}{
		{"as it should be", h.near, Way{vniA, farAddr}, head(plain, vniA, vpc.Num(eniA2)), fromA2, ""},
		{"from a host that the sender is not on", h.near, Way{vniA, netip.MustParseAddr("192.0.2.9")}, head(plain, vniA, vpc.Num(eniA2)), fromA2, "overlay"},
		{"for a sender that is here", h.near, Way{vniA, farAddr}, head(plain, vniA, vpc.Num(eniA1)), "10.0.0.5:7 > 10.0.0.5:80 tcp S", "overlay"},
		{"for another sender", h.near, Way{vniA, farAddr}, head(plain, vniA, vpc.Num(eniA3)), fromA2, "overlay"},
		{"from another VPC than the sender's", h.near, Way{vniB, farAddr}, head(plain, vniA, vpc.Num(eniA2)), fromA2, "overlay"},
		{"a sender's VPC that is not its own", h.near, Way{vniB, farAddr}, head(plain, vniB, vpc.Num(eniA2)), fromA2, "overlay"},
		{"to the resolver", h.near, Way{vniA, farAddr}, head(plain, vniA, vpc.Num(eniA2)), "10.0.0.6:7 > 10.0.0.2:53 udp", "overlay"},
		{"to an endpoint as if it were a workload", h.near, Way{vniA, farAddr}, head(plain, vniA, vpc.Num(eniA2)), "10.0.0.6:7 > 10.0.0.100:80 tcp S", "overlay"},
		{"to a workload of its own host", h.near, Way{vniA, farAddr}, head(plain, vniA, vpc.Num(eniA2)), "10.0.0.6:7 > 10.0.0.6:80 tcp S", "source-address"},
		{"an unknown kind", h.near, Way{vniA, farAddr}, head(0x12, vniA, vpc.Num(eniA2)), fromA2, "overlay"},
		{"ARP", h.near, Way{vniA, farAddr}, append(head(plain, vniA, vpc.Num(eniA2)), 8, 6), "", "overlay"},
		{"a client's packet", h.far, Way{link, nearAddr}, head(begins, vniA, vpc.Num(node)), fromA1, ""},
		{"by a link that is none", h.far, Way{0x2999, nearAddr}, head(begins, vniA, vpc.Num(node)), "10.0.0.5:4001 > 10.0.0.100:80 tcp S", "endpoint-inactive"},
		{"to a node that is none", h.far, Way{link, nearAddr}, head(begins, vniA, 7), "10.0.0.5:4001 > 10.0.0.100:80 tcp S", "no-listener"},
		{"of a known flow from another host", h.far, Way{link, netip.MustParseAddr("192.0.2.9")}, head(target, vniA, vpc.Num(node)), "10.0.0.5:4000 > 10.0.0.100:80 tcp A", "stale"},
		{"to a target that is not here", h.near, Way{link, farAddr}, head(begins, vniA, vpc.Num(node)), fromA1, "remote-host"},
		{"to a client that has no such flow", h.near, Way{vniA, farAddr}, head(client, vniA, 0), "10.0.0.100:80 > 10.0.0.5:4009 udp", "no-connection"},
		{"to a client from another host than its target's", h.near, Way{vniA, netip.MustParseAddr("192.0.2.9")}, head(client, vniA, 0), "10.0.0.100:80 > 10.0.0.5:4100 tcp SA", "overlay"},
		{"to a client by a link's number", h.near, Way{link, farAddr}, head(client, vniA, 0), "10.0.0.100:80 > 10.0.0.5:4009 udp", "overlay"},
	} {
		frame := c.head
		if c.packet != "" {
			s, err := parseSketch(c.packet)
			if err != nil {
				t.Fatal(err)
			}
			frame = s.frame(c.head[6:], c.head[:6])
		} else {
			frame = append(frame, make([]byte, 46)...)
		}
		v, err := c.at.dp.TryOverlay(c.way, frame, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Reason.Name; c.want == "" && v.Action != ActionPeer || c.want != "" && (v.Action != ActionDrop || got != c.want) {
			t.Errorf("%s: %v, want %q", c.what, v, c.want)
		}
	}
}

// FuzzOverlay gives from_overlay frames of any bytes by any way: it never fails,
// and what it lets pass goes to a device of the host or back to where it came from.
func FuzzOverlay(f *testing.F) {
	s, _ := parseSketch("10.0.0.5:4000 > 10.0.0.100:80 tcp S")
	head := binary.NativeEndian.AppendUint64([]byte{0x0e, 0, 0x10, 1}, vpc.Num(node))
	f.Add(uint32(0x2001), true, s.frame(head[6:], head[:6]))
	s, _ = parseSketch("10.0.0.6:7 > 10.0.0.5:80 udp frag=later")
	head = binary.NativeEndian.AppendUint64([]byte{0x02, 0, 0x10, 1}, vpc.Num(eniA2))
	f.Add(uint32(vniA), true, s.frame(head[6:], head[:6]))
	f.Add(uint32(0), false, append([]byte{0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45}, make([]byte, 45)...))
	h := newHosts(f, []vpc.InterfaceID{eniB1, eniA2}, dual)
	f.Fuzz(func(t *testing.T, vni uint32, known bool, frame []byte) {
		if len(frame) < 54 || len(frame) > 3000 { // see FuzzFrames
			return
		}
		way := Way{VNI: vpc.VNI(vni & 0xffffff), Host: nearAddr}
		if !known {
			way.Host = netip.MustParseAddr("192.0.2.9")
		}
		v, err := h.far.dp.TryOverlay(way, frame, 0)
		if err != nil {
			t.Fatal(err)
		}
		switch v.Action {
		case ActionDrop:
			if v.Reason == ReasonOf(0) {
				t.Error("dropped without a reason")
			}
		case ActionOverlay:
			if v.Way.Host != way.Host {
				t.Errorf("came from %v and went to %v", way.Host, v.Way.Host)
			}
		case ActionPeer:
			for _, d := range h.far.devices {
				if d.Ifindex == v.Ifindex {
					return
				}
			}
			t.Errorf("went to device %d", v.Ifindex)
		default:
			t.Errorf("%v", v)
		}
	})
}

// A target whose client's host knows of no connection is told so by a reset, which
// crosses back to its host and reaches it there as any other.
func TestATargetLearnsThatItsClientsHostHasForgottenIt(t *testing.T) {
	h := newHosts(t, []vpc.InterfaceID{eniB1})
	v := h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4000 > 10.0.0.100:80 tcp S seq=1")
	port := binary.BigEndian.Uint16(v.Frame[34:])
	for k := range h.near.conns() {
		if err := h.near.dp.objs.Conns.Delete(k); err != nil {
			t.Fatal(err)
		}
	}
	v = h.sendSketch(t, eniB1, eniA1, fmt.Sprintf("10.0.0.5:8080 > 10.0.0.50:%d tcp SA seq=9 ack=2", port))
	got, err := describe(v.Frame[14:], false)
	if want := fmt.Sprintf("10.0.0.50:%d > 10.0.0.5:8080 tcp R", port); v.Action != ActionAnswer || v.Reason.Name != "no-connection" || err != nil || got != want {
		t.Errorf("%v, %s, %v, want %s", v, got, err, want)
	}
}
