// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// solicit is a neighbour solicitation of a1's device; option is the source
// link-layer address, nil for none.
func solicit(w *world, src, target netip.Addr, option net.HardwareAddr, hops byte) []byte {
	t := target.As16()
	dst := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(dst[13:], t[13:])
	b := make([]byte, 24)
	b[0] = 135
	copy(b[8:], t[:])
	if option != nil {
		b = append(append(b, 1, 1), option...)
	}
	s := sketch{src: src, dst: netip.AddrFrom16(dst), proto: "icmp"}
	binary.BigEndian.PutUint16(b[2:], ^uint16(onesSum(s.pseudo(len(b)), b)))
	f := append([]byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}, w.mac(eniA1)...)
	f = append(f, 0x86, 0xdd)
	ip := make([]byte, 40)
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[4:], uint16(len(b)))
	ip[6], ip[7] = 58, hops
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst[:])
	return append(append(f, ip...), b...)
}

func TestNeighbourSolicitationsAreAnsweredFromTheMaps(t *testing.T) {
	w := newWorld(t, dual)
	own := w.mac(eniA1)
	router := routerMAC(subnetA1)
	local := netip.MustParseAddr("fe80::5")
	for _, c := range []struct {
		target netip.Addr
		src    netip.Addr
		mac    net.HardwareAddr
		router bool
	}{
		{a2v6, a1v6, w.mac(eniA2), false},
		{epv6, local, w.mac(eniEP), false},
		{netip.MustParseAddr("fe80::1"), a1v6, router[:], true},
		{netip.MustParseAddr("2001:db8:a:1::1"), a1v6, router[:], true},
		{netip.MustParseAddr("fd00:ec2::253"), a1v6, router[:], false},
	} {
		v := w.send(packet{from: eniA1, raw: solicit(w, c.src, c.target, own, 255)})
		if v.Action != ActionAnswer || len(v.Frame) != 86 {
			t.Errorf("%v: %v, %d bytes", c.target, v, len(v.Frame))
			continue
		}
		if got, err := describe(v.Frame[14:], false); err != nil || got != c.target.String()+" > "+c.src.String()+" icmp 136/0 id="+map[bool]string{false: "24576", true: "57344"}[c.router] {
			t.Errorf("%v: %s, %v", c.target, got, err)
		}
		if mac := net.HardwareAddr(v.Frame[80:86]); mac.String() != c.mac.String() || v.Frame[78] != 2 || v.Frame[21] != 255 {
			t.Errorf("%v is said to be at %v, hop limit %d", c.target, mac, v.Frame[21])
		}
	}
	for what, c := range map[string]struct {
		frame  []byte
		reason uint32
	}{
		"another subnet's":  {solicit(w, a1v6, a3v6, own, 255), bpf.DropND},
		"its own":           {solicit(w, a1v6, a1v6, own, 255), bpf.DropND},
		"nobody's":          {solicit(w, a1v6, netip.MustParseAddr("2001:db8:a:1::99"), own, 255), bpf.DropND},
		"from afar":         {solicit(w, a1v6, a2v6, own, 64), bpf.DropND},
		"duplicate address": {solicit(w, netip.IPv6Unspecified(), a2v6, nil, 255), bpf.DropND},
		"another's source":  {solicit(w, a2v6, epv6, own, 255), bpf.DropSourceAddress},
		"another's MAC":     {solicit(w, a1v6, a2v6, w.mac(eniA2), 255), bpf.DropSourceMAC},
		"advertisement":     {func() []byte { f := solicit(w, a1v6, a2v6, own, 255); f[54] = 136; return f }(), bpf.DropND},
		"router's":          {func() []byte { f := solicit(w, a1v6, a2v6, own, 255); f[54] = 134; return f }(), bpf.DropND},
		"redirect":          {func() []byte { f := solicit(w, a1v6, a2v6, own, 255); f[54] = 137; return f }(), bpf.DropND},
		"IPv4 inside":       {solicit(w, a1v6, netip.MustParseAddr("::ffff:10.0.0.6"), own, 255), bpf.DropND},
	} {
		if v := w.send(packet{from: eniA1, raw: c.frame}); v.Action != ActionDrop || v.Reason.Code != c.reason {
			t.Errorf("%s: %v, want drop for %s", what, v, ReasonOf(c.reason).Name)
		}
	}
}

// An address without an owner is nobody's source, not even with no IPv6 address at hand.
func TestTheUnspecifiedAddressIsNoSource(t *testing.T) {
	for name, options := range map[string][]func(*world){"IPv4 alone": nil, "both": {dual}} {
		w := newWorld(t, options...)
		s := sketch{src: netip.IPv6Unspecified(), dst: a2v6, sport: 1, dport: 2, proto: "udp"}
		if v := w.send(packet{from: eniA1, raw: s.frame(w.mac(eniA1), w.mac(eniA2))}); v.Reason.Code != bpf.DropSourceAddress {
			t.Errorf("%s: %v", name, v)
		}
	}
}

// Every port from 1024 to 65535 serves a flow to the same target before one is
// refused, and one that comes free is found again.
func TestEverySourcePortIsUsed(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.MaxConnections = 1 << 18; w.cfg.QuotaPerInterface = 1 << 20 })
	const all = 65536 - 1024
	defer enter(t, lab.ns)()
	index := w.devices[eniA1].Ifindex
	used := make([]bool, 65536)
	flow := func(i int) Verdict {
		s := sketch{src: addrA1, dst: addrEP, sport: uint16(i), dport: 514, proto: "udp"}
		v, err := w.dp.Try(Workload, index, s.frame(w.mac(eniA1), w.mac(eniEP)), 0)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i := range all {
		v := flow(i + 1)
		if v.Action != ActionPeer {
			t.Fatalf("flow %d of %d: %v", i+1, all, v)
		}
		p := binary.BigEndian.Uint16(v.Frame[34:])
		if p < 1024 || used[p] {
			t.Fatalf("flow %d has port %d, which is reserved or taken", i+1, p)
		}
		used[p] = true
	}
	if v := flow(65535); v.Reason.Code != bpf.DropPortsExhausted {
		t.Fatalf("one more: %v", v)
	}
	var freed bpf.DatapathConnKey
	k, _ := connKey(vniA, vpc.UDP, netip.AddrPortFrom(addrA1, 77), netip.AddrPortFrom(addrEP, 514))
	var c bpf.DatapathConn
	if err := w.dp.objs.Conns.Lookup(&k, &c); err != nil {
		t.Fatal(err)
	}
	freed = c.Peer
	c.LastSeen = 1 // long ago
	if err := w.dp.objs.Conns.Put(&k, &c); err != nil {
		t.Fatal(err)
	}
	if v := flow(77); v.Action != ActionPeer { // expired: a new flow, with the port that this one gave back
		t.Fatalf("the flow whose port came free: %v", v)
	}
	if err := w.dp.objs.Conns.Lookup(&freed, &c); err != nil {
		t.Errorf("the port that came free was not found again: %v", err)
	}
}
