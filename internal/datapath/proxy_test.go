// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
)

// asksForProxy makes every listener's targets get the header in a layout.
func asksForProxy(layout desired.ProxyLayout) func(*world) {
	return func(w *world) {
		edit(w.host.Balancers, node, func(b *desired.Balancer) {
			for i := range b.Listeners {
				b.Listeners[i].ProxyProtocol = layout
			}
		})
	}
}

// proxyHeader is the header as the specification draws it, put together by hand.
func proxyHeader(src, dst netip.AddrPort, tlvs ...byte) []byte {
	h := []byte("\r\n\r\n\x00\r\nQUIT\n\x21")
	if src.Addr().Is4() {
		h = append(h, 0x11)
	} else {
		h = append(h, 0x21)
		a := dst.Addr().As16()
		dst = netip.AddrPortFrom(netip.AddrFrom16(a), dst.Port())
	}
	var b []byte
	b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, src.Port()), dst.Port())
	b = append(b, tlvs...)
	return append(binary.BigEndian.AppendUint16(h, uint16(len(b))), b...)
}

// vpce-customer is 13 letters, which an empty TLV makes even.
var customerTLV = append(append([]byte{0xea, 0, 14, 1}, "vpce-customer"...), 4, 0, 0)

type tcpFrame struct {
	seq, ack uint32
	flags    byte
	options  []byte
	payload  []byte
}

func readTCP(t *testing.T, frame []byte) tcpFrame {
	t.Helper()
	if _, err := describe(frame[14:], false); err != nil {
		t.Fatal(err)
	}
	ip := frame[14:]
	n := int(binary.BigEndian.Uint16(ip[2:]))
	b := ip[20:n]
	off := int(b[12]>>4) * 4
	return tcpFrame{binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13], b[20:off], b[off:]}
}

func TestTheProxyHeaderIsLaidOutAsTheOperatorChose(t *testing.T) {
	src, dst := ap(addrA1, 4000), ap(addrNode, 80)
	for layout, tlv := range map[desired.ProxyLayout][]byte{
		desired.ProxyAWS:     customerTLV,
		desired.ProxyAzure:   {0xee, 0, 5, 1, 0x01, 0x20, 0, 0},
		desired.ProxyAlibaba: append(append([]byte{0xe1, 0, 14, 1}, "vpce-customer"...), 4, 0, 0),
	} {
		w := newWorld(t, asksForProxy(layout))
		w.passes(packet{from: eniA1, src: addrA1, dst: addrEP, proto: 6, sport: 4000, dport: 80, flags: "S", seq: 100}, eniB1)
		f := readTCP(t, w.send(packet{from: eniA1, src: addrA1, dst: addrEP, proto: 6, sport: 4000, dport: 80, flags: "A", seq: 101, ack: 501}).Frame)
		if want := proxyHeader(src, dst, tlv...); !bytes.Equal(f.payload, want) || f.seq != 101 || f.ack != 501 {
			t.Errorf("%s: %+v\nwant payload %x", layout, f, want)
		}
	}
	// a client of the load balancer itself has no endpoint, and one whose address is kept sees the node's own
	w := newWorld(t, asksForProxy(desired.ProxyAWS))
	w.passes(packet{from: eniB1, src: addrB1, dst: addrNode, proto: 6, sport: 4000, dport: 82, flags: "S", seq: 100}, eniB2)
	f := readTCP(t, w.send(packet{from: eniB1, src: addrB1, dst: addrNode, proto: 6, sport: 4000, dport: 82, flags: "A", seq: 101, ack: 501}).Frame)
	if want := proxyHeader(ap(addrB1, 4000), ap(addrNode, 82)); !bytes.Equal(f.payload, want) {
		t.Errorf("inside the VPC: %x, want %x", f.payload, want)
	}
}

func TestTheProxyHeaderSurvivesLoss(t *testing.T) {
	w := newWorld(t, asksForProxy(desired.ProxyAWS))
	header := proxyHeader(ap(addrA1, 4000), ap(addrNode, 80), customerTLV...)
	size := uint32(len(header))
	isn := uint32(0xfffffff0) // the numbers wrap inside the header
	first := isn + 1
	var port int
	client := func(flags string, seq, ack uint32, payload string) tcpFrame {
		t.Helper()
		v := w.send(packet{from: eniA1, src: addrA1, dst: addrEP, proto: 6, sport: 4000, dport: 80, flags: flags, seq: seq, ack: ack, payload: []byte(payload)})
		if v.Action != ActionPeer {
			t.Fatalf("client's %s: %v", flags, v)
		}
		port = int(binary.BigEndian.Uint16(v.Frame[34:]))
		return readTCP(t, v.Frame)
	}
	target := func(ack uint32, sack ...uint32) tcpFrame {
		t.Helper()
		s := sketch{src: addrB1, dst: addrNode, sport: 8080, dport: uint16(port), proto: "tcp", flags: "A", words: map[string]int{"seq": 501, "ack": int(ack)}}
		frame := s.frame(w.mac(eniB1), w.mac(eniNode))
		if len(sack) > 0 {
			opt := []byte{1, 1, 5, byte(2 + 4*len(sack))}
			for _, e := range sack {
				opt = binary.BigEndian.AppendUint32(opt, e)
			}
			frame = append(frame, opt...)
			frame[46] = byte((20 + len(opt)) / 4 << 4)
			binary.BigEndian.PutUint16(frame[16:], uint16(40+len(opt)))
			copy(frame[24:26], []byte{0, 0})
			binary.BigEndian.PutUint16(frame[24:], ^uint16(onesSum(0, frame[14:34])))
			copy(frame[50:52], []byte{0, 0})
			binary.BigEndian.PutUint16(frame[50:], ^uint16(onesSum(s.pseudo(20+len(opt)), frame[34:])))
		}
		v := w.try(Workload, w.devices[eniB1].Ifindex, frame, 0)
		if v.Action != ActionPeer || v.Ifindex != w.devices[eniA1].Ifindex {
			t.Fatalf("target's: %v", v)
		}
		return readTCP(t, v.Frame)
	}
	check := func(what string, f tcpFrame, seq uint32, payload string) {
		t.Helper()
		if f.seq != seq || string(f.payload) != payload {
			t.Errorf("%s: sequence number %d with %d bytes, want %d with %d", what, f.seq, len(f.payload), seq, len(payload))
		}
	}
	check("SYN", client("S", isn, 0, ""), isn, "")
	check("SYN again", client("S", isn, 0, ""), isn, "")
	if f := target(first); f.ack != first {
		t.Errorf("the SYN's acknowledgement became %d", f.ack)
	}
	check("first acknowledgement", client("A", first, 501, ""), first, string(header))
	check("another one, none has arrived yet", client("A", first, 510, ""), first, string(header))
	check("keep-alive before any data", client("A", isn, 510, ""), isn, "")
	check("data behind the header", client("PA", first, 510, "hello"), first+size, "hello")
	if f := target(first); f.ack != first {
		t.Errorf("the header was lost, and the client learns of %d", f.ack)
	}
	// SACK blocks behind the header are the client's own numbers, and never below its first
	if f := target(first, first+size, first+size+5, first+3, first+9); binary.BigEndian.Uint32(f.options[4:]) != first ||
		binary.BigEndian.Uint32(f.options[8:]) != first+5 || binary.BigEndian.Uint32(f.options[12:]) != first || binary.BigEndian.Uint32(f.options[16:]) != first {
		t.Errorf("selective acknowledgement %x", f.options)
	}
	check("data again: the header first", client("PA", first, 510, "hello"), first, string(header))
	check("later data meanwhile", client("PA", first+5, 510, "more"), first+size+5, "more")
	if f := target(first + 7); f.ack != first {
		t.Errorf("half the header acknowledged: %d", f.ack)
	}
	if f := target(first + size + 5); f.ack != first+5 {
		t.Errorf("acknowledgement of the data became %d, want %d", f.ack, first+5)
	}
	check("data again, the header has arrived", client("PA", first, 510, "hello"), first+size, "hello")
	check("FIN", client("FA", first+9, 510, ""), first+size+9, "")
	// The packet inside an ICMP error is one that the client sent.
	about := sketch{src: addrNode, dst: addrB1, sport: uint16(port), dport: 8080, proto: "tcp", flags: "A", words: map[string]int{"seq": int(first + size + 5)}}
	e := sketch{src: addrB1, dst: addrNode, proto: "icmp", typ: 3, code: 4, about: &about}
	v := w.try(Workload, w.devices[eniB1].Ifindex, e.frame(w.mac(eniB1), w.mac(eniNode)), 0)
	if _, err := describe(v.Frame[14:], false); err != nil || v.Action != ActionPeer {
		t.Fatalf("error: %v, %v", v, err)
	}
	if seq := binary.BigEndian.Uint32(v.Frame[14+20+8+20+4:]); seq != first+5 {
		t.Errorf("the error is about sequence number %d, want %d", seq, first+5)
	}
	// When the endpoint goes, each end is reset by its own numbers.
	edit(w.host.Endpoints, epCustomer, func(e *desired.Endpoint) { e.Link++ })
	w.apply()
	if f := client("A", first+9, 777, ""); f.flags&4 == 0 || f.seq != first+size+9 {
		t.Errorf("the target is told by %+v", f)
	}
	edit(w.host.Endpoints, epCustomer, func(e *desired.Endpoint) { e.Link-- })
	w.apply()
	// What does not fit is refused, not passed unchanged.
	w.drops(packet{from: eniA1, src: addrA1, dst: addrEP, proto: 6, sport: 4000, dport: 80, flags: "S", seq: 7, payload: []byte("data")}, bpf.DropProxy)
}

func (p place) addIPv6(t *testing.T, addr netip.Addr) {
	t.Helper()
	in, eth := p.inside(t)
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}
	if err := in.AddrAdd(eth, a); err != nil {
		t.Fatal(err)
	}
	if err := in.RouteAdd(&netlink.Route{
		LinkIndex: eth.Attrs().Index, Gw: desired.LinkLocalRouter.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
		Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}); err != nil {
		t.Fatal(err)
	}
}

// loses makes a place lose every nth of the packets that reach it, from the
// first on; never two in a row, so that nothing takes forever.
func (p place) loses(t *testing.T, n, first int32) {
	t.Helper()
	defer enter(t, p.ns)()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { count.Close() })
	const drop, pass = 1, 2 // XDP_*
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.StoreImm(asm.R10, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, count.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Add.Imm(asm.R2, 1),
		asm.StoreMem(asm.R0, 0, asm.R2, asm.DWord),
		asm.Mod.Imm(asm.R1, n),
		asm.JNE.Imm(asm.R1, first, "pass"),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, pass).WithSymbol("pass"),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	eth, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: eth.Index, Flags: link.XDPGenericMode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// Real sockets, both families and across them: who speaks first does not matter,
// and nothing but the header is added to the stream.
func TestRealTCPWithAProxyHeader(t *testing.T) {
	for _, c := range []struct {
		name        string
		target      string // what the client connects to
		network     string // of the client's side
		listen      string
		offload     bool
		serverFirst bool
		lossy       int32 // the first packet that does not reach the server
		dstNode     netip.AddrPort
	}{
		{name: "IPv4", network: "tcp4", target: "10.0.0.100:80", listen: "10.0.0.5:8080", offload: true, dstNode: ap(addrNode, 80)},
		{name: "server speaks first", network: "tcp4", target: "10.0.0.100:80", listen: "10.0.0.5:8080", offload: true, serverFirst: true, dstNode: ap(addrNode, 80)},
		{name: "without offload", network: "tcp4", target: "10.0.0.100:80", listen: "10.0.0.5:8080", serverFirst: true, dstNode: ap(addrNode, 80)},
		{name: "third packet lost", network: "tcp4", target: "10.0.0.100:80", listen: "10.0.0.5:8080", offload: true, lossy: 3, dstNode: ap(addrNode, 80)},
		{name: "fourth packet lost", network: "tcp4", target: "10.0.0.100:80", listen: "10.0.0.5:8080", offload: true, lossy: 4, dstNode: ap(addrNode, 80)},
		{name: "second packet lost", network: "tcp4", target: "10.0.0.100:80", listen: "10.0.0.5:8080", serverFirst: true, offload: true, lossy: 2, dstNode: ap(addrNode, 80)},
		{name: "IPv6", network: "tcp6", target: "[2001:db8:a:1::100]:86", listen: "[2001:db8:b:1::5]:8086", offload: true, dstNode: ap(nodev6, 86)},
		{name: "IPv6 without offload", network: "tcp6", target: "[2001:db8:a:1::100]:86", listen: "[2001:db8:b:1::5]:8086", dstNode: ap(nodev6, 86)},
		{name: "IPv6 to IPv4", network: "tcp6", target: "[2001:db8:a:1::100]:80", listen: "10.0.0.5:8080", offload: true, dstNode: ap(addrNode, 80)},
		{name: "IPv6 to IPv4 without offload", network: "tcp6", target: "[2001:db8:a:1::100]:80", listen: "10.0.0.5:8080", dstNode: ap(addrNode, 80)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, dual, asksForProxy(desired.ProxyAWS))
			client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), netip.MustParseAddr("10.0.0.1"))
			server := newPlace(t, "server", netip.PrefixFrom(addrB1, 24), netip.MustParseAddr("10.0.0.1"))
			client.addIPv6(t, a1v6)
			server.addIPv6(t, b1v6)
			if !c.offload {
				client.noChecksumOffload(t)
				server.noChecksumOffload(t)
			}
			up, down := 5<<20+3, 3<<20+1
			if c.lossy > 0 {
				client.loses(t, 9, 4)
				server.loses(t, 7, c.lossy-1)
				up, down = 100<<10, 100<<10
			}
			w.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
			w.devices[eniB1] = Device{Ifindex: server.ifindex, MAC: server.mac}
			w.apply()
			w.inLab(func() {
				if err := errors.Join(w.dp.Attach(client.host, client.ifindex, Workload), w.dp.Attach(server.host, server.ifindex, Workload)); err != nil {
					t.Fatal(err)
				}
			})
			l := server.listen(t, c.listen)
			type result struct {
				header []byte
				sum    string
				err    error
			}
			got := make(chan result, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					got <- result{err: err}
					return
				}
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				h := make([]byte, 16)
				if _, err := io.ReadFull(conn, h); err != nil {
					conn.Close()
					got <- result{err: fmt.Errorf("read the header: %w", err)}
					return
				}
				rest := make([]byte, binary.BigEndian.Uint16(h[14:]))
				if _, err := io.ReadFull(conn, rest); err != nil {
					conn.Close()
					got <- result{err: fmt.Errorf("read the header: %w", err)}
					return
				}
				got <- result{header: append(h, rest...), sum: exchange(conn, 1, down)}
			}()
			restore := enter(t, client.ns)
			conn, err := net.DialTimeout(c.network, c.target, 10*time.Second)
			restore()
			if err != nil {
				ds, _ := w.dp.Drops()
				t.Fatalf("%v; drops %+v", err, ds)
			}
			local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
			if c.serverFirst {
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				b := make([]byte, 1)
				if _, err := io.ReadFull(conn, b); err != nil {
					t.Fatalf("the server speaks first: %v", err)
				}
				first, _ := io.ReadAll(stream(1, 1))
				if b[0] != first[0] {
					t.Fatal("the first byte is another")
				}
				conn = &readFirst{conn, b}
			}
			if sum := exchange(conn, 2, up); sum != hashOf(1, down) {
				t.Errorf("the client received %s", sum)
			}
			r := <-got
			if r.err != nil || r.sum != hashOf(2, up) {
				ds, _ := w.dp.Drops()
				t.Errorf("the server received %s, %v; drops %+v", r.sum, r.err, ds)
			}
			src := netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
			if want := proxyHeader(src, c.dstNode, customerTLV...); !bytes.Equal(r.header, want) {
				t.Errorf("header %x\nwant   %x", r.header, want)
			}
			for _, p := range []place{client, server} {
				if n := p.checksumErrors(t); n != "0" {
					t.Errorf("%s segments had wrong checksums", n)
				}
			}
			if ds, err := w.dp.Drops(); err != nil || strings.Contains(fmt.Sprint(ds), "proxy") {
				t.Errorf("drops %+v, %v", ds, err)
			}
		})
	}
}

// readFirst gives back what was read ahead.
type readFirst struct {
	net.Conn
	ahead []byte
}

func (r *readFirst) CloseWrite() error { return r.Conn.(*net.TCPConn).CloseWrite() }

func (r *readFirst) Read(b []byte) (int, error) {
	if len(r.ahead) > 0 {
		n := copy(b, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}
