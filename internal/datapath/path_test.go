// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func TestGroupsAllowByPrefixAndByMember(t *testing.T) {
	w := newWorld(t)
	w.rules(eniA2, desired.RuleSet{Ingress: []desired.Rule{
		allow(vpc.TCP, 80, 90, netip.MustParsePrefix("10.0.1.0/24")), // by CIDR
		allow(vpc.TCP, 443, 443, netip.PrefixFrom(addrA1, 32)),       // by group member
		allow(vpc.ICMP, 8, -1, anywhere),
	}})
	w.apply()
	w.passes(tcp(eniA3, addrA3, 1000, addrA2, 85, "S"), eniA2)
	w.drops(tcp(eniA3, addrA3, 1001, addrA2, 91, "S"), bpf.DropGroupIngress)
	w.drops(tcp(eniA3, addrA3, 1002, addrA2, 443, "S"), bpf.DropGroupIngress)
	w.passes(tcp(eniA1, addrA1, 1003, addrA2, 443, "S"), eniA2)
	w.drops(udp(eniA1, addrA1, 1004, addrA2, 443), bpf.DropGroupIngress)
	w.passes(ping(eniA1, addrA1, addrA2, 8, 5), eniA2)
	w.drops(ping(eniA1, addrA1, addrA2, 13, 5), bpf.DropGroupIngress)
	// the member leaves the group: the next flow does not pass
	w.rules(eniA2, desired.RuleSet{})
	w.apply()
	w.drops(tcp(eniA1, addrA1, 1005, addrA2, 443, "S"), bpf.DropGroupIngress)
	w.rules(eniA1, desired.RuleSet{})
	w.apply()
	w.drops(tcp(eniA1, addrA1, 1006, addrA2, 443, "S"), bpf.DropGroupEgress)
}

func TestReplyPassesWithoutARule(t *testing.T) {
	w := newWorld(t)
	w.rules(eniA1, desired.RuleSet{Egress: open.Egress})
	w.rules(eniA2, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.TCP, 80, 80, anywhere)}})
	w.apply()
	w.drops(tcp(eniA2, addrA2, 80, addrA1, 5000, "SA"), bpf.DropGroupEgress)
	out := w.passes(tcp(eniA1, addrA1, 5000, addrA2, 80, "S"), eniA2)
	if got, want := endsOf(t, out), (ends5{ap(addrA1, 5000), ap(addrA2, 80)}); got != want {
		t.Errorf("a plain packet became %v, want %v", got, want)
	}
	w.passes(tcp(eniA2, addrA2, 80, addrA1, 5000, "SA"), eniA1)
	// a tracked flow survives the removal of its rule
	w.rules(eniA2, desired.RuleSet{})
	w.apply()
	w.passes(tcp(eniA1, addrA1, 5000, addrA2, 80, "A"), eniA2)
	w.drops(tcp(eniA1, addrA1, 5001, addrA2, 80, "S"), bpf.DropGroupIngress)
}

func TestPingReplyAndErrorsBelongToTheirFlow(t *testing.T) {
	w := newWorld(t)
	w.rules(eniA1, desired.RuleSet{Egress: open.Egress})
	w.rules(eniA2, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.ICMP, 8, 0, anywhere), allow(vpc.UDP, 9, 9, anywhere)}})
	w.apply()
	w.drops(ping(eniA2, addrA2, addrA1, 0, 9), bpf.DropGroupEgress)
	w.passes(ping(eniA1, addrA1, addrA2, 8, 9), eniA2)
	w.passes(ping(eniA2, addrA2, addrA1, 0, 9), eniA1)
	w.drops(ping(eniA2, addrA2, addrA1, 0, 10), bpf.DropGroupEgress)
	w.drops(ping(eniA2, addrA2, addrA1, 8, 9), bpf.DropGroupEgress) // the other way is another flow
	w.drops(ping(eniA1, addrA1, addrA2, 0, 9), bpf.DropGroupIngress)

	about := func(p packet) packet {
		return packet{from: eniA2, src: addrA2, dst: addrA1, proto: vpc.ICMP,
			icmp: layers.CreateICMPv4TypeCode(3, 3), payload: w.frame(p)[14:]}
	}
	flow := udp(eniA1, addrA1, 700, addrA2, 9)
	w.drops(about(flow), bpf.DropGroupEgress)
	w.passes(flow, eniA2)
	w.passes(about(flow), eniA1)
}

func TestSourceCheckRefusesOtherAddresses(t *testing.T) {
	w := newWorld(t)
	w.drops(tcp(eniA1, addrA2, 1, addrA3, 80, "S"), bpf.DropSourceAddress)
	p := tcp(eniA1, addrA1, 1, addrA3, 80, "S")
	p.srcMAC = w.mac(eniA2)
	w.drops(p, bpf.DropSourceMAC)
	edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.SourceCheck = false })
	w.apply()
	w.passes(tcp(eniA1, netip.MustParseAddr("192.0.2.1"), 1, addrA3, 80, "S"), eniA3)
	w.drops(p, bpf.DropSourceMAC)
}

func TestRouteToAnInterfaceNeedsItsDestinationCheckOff(t *testing.T) {
	w := newWorld(t)
	edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) {
		r.Routes = append(r.Routes, desired.Route{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Kind: desired.RouteInterface, Interface: eniA3})
	})
	w.apply()
	p := tcp(eniA1, addrA1, 1, netip.MustParseAddr("192.0.2.9"), 80, "S")
	w.drops(p, bpf.DropDestinationCheck)
	edit(w.host.Interfaces, eniA3, func(i *desired.Interface) { i.SourceCheck = false })
	w.apply()
	w.passes(p, eniA3)
}

func TestRoutes(t *testing.T) {
	w := newWorld(t)
	w.drops(tcp(eniA1, addrA1, 1, netip.MustParseAddr("192.0.2.1"), 80, "S"), bpf.DropNoRoute)
	w.drops(tcp(eniA3, addrA3, 1, netip.MustParseAddr("198.51.100.1"), 80, "S"), bpf.DropBlackhole)
	w.drops(tcp(eniA1, addrA1, 1, netip.MustParseAddr("10.0.0.77"), 80, "S"), bpf.DropNoInterface)
	w.drops(tcp(eniA1, addrA1, 1, netip.MustParseAddr("10.0.0.1"), 80, "S"), bpf.DropRouter)
	// the gateway endpoint is for the subnet whose table leads to it
	w.passes(tcp(eniA1, addrA1, 2, bucket, 443, "S"), "")
	w.drops(tcp(eniA3, addrA3, 2, bucket, 443, "S"), bpf.DropNoRoute)
	w.drops(tcp(eniA1, addrA1, 3, bucket, 8443, "S"), bpf.DropNoListener)
}

// 0.0.0.0/0 -> igw wins where nothing longer does, and only there.
func TestRoutesOutOfTheVPCDropForWantOfAnUplink(t *testing.T) {
	w := newWorld(t)
	out := tcp(eniA1, addrA1, 1, netip.MustParseAddr("192.0.2.1"), 80, "S")
	w.drops(out, bpf.DropNoRoute)
	edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) {
		r.Routes = append(r.Routes, desired.Route{Prefix: anywhere, Kind: desired.RouteInternet})
	})
	w.apply()
	w.drops(out, bpf.DropNoUplink)
	w.passes(tcp(eniA1, addrA1, 2, addrA3, 80, "S"), eniA3) // the local route
	w.passes(tcp(eniA1, addrA1, 3, bucket, 443, "S"), "")   // the gateway endpoint's prefix list
	w.drops(tcp(eniA1, addrA1, 4, netip.MustParseAddr("10.0.0.77"), 80, "S"), bpf.DropNoInterface)
	// what the sender's own side forbids is still what is reported
	w.rules(eniA1, desired.RuleSet{})
	w.apply()
	w.drops(tcp(eniA1, addrA1, 5, netip.MustParseAddr("192.0.2.1"), 80, "S"), bpf.DropGroupEgress)
	// the gateway goes
	w.rules(eniA1, open)
	edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) { r.Routes[len(r.Routes)-1].Kind = desired.RouteBlackhole })
	w.apply()
	w.drops(out, bpf.DropBlackhole)
}

func TestACLsApplyOnlyBetweenSubnets(t *testing.T) {
	w := newWorld(t)
	w.host.ACLs["acl-a1"] = desired.ACL{
		Out: []desired.ACLRule{
			{Allow: false, Protocol: vpc.TCP, CIDR: netip.MustParsePrefix("10.0.1.0/24"), From: 81, To: 81},
			{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere},
		},
		In: []desired.ACLRule{{Allow: true, Protocol: vpc.TCP, CIDR: anywhere, From: 1024, To: 65535}},
	}
	w.host.ACLs["acl-a2"] = desired.ACL{
		In:  []desired.ACLRule{{Allow: true, Protocol: vpc.TCP, CIDR: anywhere, From: 80, To: 82}},
		Out: []desired.ACLRule{{Allow: true, Protocol: vpc.TCP, CIDR: anywhere, From: 32768, To: 60999}},
	}
	w.apply()
	w.passes(tcp(eniA1, addrA1, 1, addrA2, 81, "S"), eniA2) // same subnet
	w.passes(tcp(eniA1, addrA1, 40000, addrA3, 80, "S"), eniA3)
	w.passes(tcp(eniA3, addrA3, 80, addrA1, 40000, "SA"), eniA1)
	w.drops(tcp(eniA1, addrA1, 2, addrA3, 81, "S"), bpf.DropACLOut)
	w.drops(tcp(eniA1, addrA1, 2, addrA3, 83, "S"), bpf.DropACLIn)
	// no state: the reply to an ephemeral port that is not open is lost
	w.passes(tcp(eniA1, addrA1, 2000, addrA3, 80, "S"), eniA3)
	w.drops(tcp(eniA3, addrA3, 80, addrA1, 2000, "SA"), bpf.DropACLOut)
	// and a change holds for flows that exist
	edit(w.host.ACLs, "acl-a2", func(a *desired.ACL) { a.In = nil })
	w.apply()
	w.drops(tcp(eniA1, addrA1, 40000, addrA3, 80, "A"), bpf.DropACLIn)
}

func TestARPIsAnsweredForTheSubnetOnly(t *testing.T) {
	w := newWorld(t)
	ask := func(from vpc.InterfaceID, sender, target netip.Addr) packet {
		eth := &layers.Ethernet{SrcMAC: w.mac(from), DstMAC: net.HardwareAddr{255, 255, 255, 255, 255, 255}, EthernetType: layers.EthernetTypeARP}
		arp := &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
			SourceHwAddress: w.mac(from), SourceProtAddress: sender.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice()}
		return packet{from: from, raw: serialize(t, eth, arp)}
	}
	router := routerMAC(subnetA1)
	for target, want := range map[netip.Addr]net.HardwareAddr{
		netip.MustParseAddr("10.0.0.1"): router[:], // router
		netip.MustParseAddr("10.0.0.2"): router[:], // resolver
		addrA2:                          w.mac(eniA2),
		addrEP:                          w.mac(eniEP),
	} {
		r := w.send(ask(eniA1, addrA1, target))
		if r.Action != ActionAnswer || r.Ifindex != w.devices[eniA1].Ifindex {
			t.Fatalf("question for %s: %v, want an answer", target, r)
		}
		p := gopacket.NewPacket(r.Frame, layers.LayerTypeEthernet, gopacket.Default)
		eth, a := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if a.Operation != 2 || net.HardwareAddr(a.SourceHwAddress).String() != want.String() || eth.SrcMAC.String() != want.String() ||
			eth.DstMAC.String() != w.mac(eniA1).String() || net.HardwareAddr(a.DstHwAddress).String() != w.mac(eniA1).String() ||
			!net.IP(a.SourceProtAddress).Equal(target.AsSlice()) || !net.IP(a.DstProtAddress).Equal(addrA1.AsSlice()) {
			t.Errorf("question for %s answered with %v", target, p)
		}
	}
	w.drops(ask(eniA1, addrA1, addrA3), bpf.DropARP)                           // other subnet
	w.drops(ask(eniA1, addrA1, netip.MustParseAddr("10.0.0.77")), bpf.DropARP) // nobody
	w.drops(ask(eniA1, addrA1, addrA1), bpf.DropARP)                           // announcement
	w.drops(ask(eniA1, addrA2, addrEP), bpf.DropSourceAddress)
	mine, theirs := netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("10.0.0.78")
	edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.Secondary = []netip.Addr{mine} })
	edit(w.host.Interfaces, eniA2, func(i *desired.Interface) { i.Secondary = []netip.Addr{theirs} })
	w.apply()
	for _, sender := range []netip.Addr{addrA1, mine} {
		if r := w.send(ask(eniA1, sender, theirs)); r.Action != ActionAnswer {
			t.Errorf("%s's question for a secondary address got %v, want an answer", sender, r)
		}
		w.drops(ask(eniA1, sender, mine), bpf.DropARP) // announcement
	}
	w.drops(ask(eniA1, theirs, addrEP), bpf.DropSourceAddress)
	if r := w.send(ask("", desired.EdgeAddr, netip.MustParseAddr("100.65.3.4"))); r.Action != ActionAnswer {
		t.Errorf("service namespace got %v, want an answer", r)
	}
}

func TestMalformedFramesAreDroppedWithTheirReason(t *testing.T) {
	w := newWorld(t)
	good := func() []byte { return w.frame(tcp(eniA1, addrA1, 1, addrA2, 80, "S")) }
	for name, c := range map[string]struct {
		change func([]byte) []byte
		reason uint32
	}{
		"IPv4 as IPv6":     {func(b []byte) []byte { b[12], b[13] = 0x86, 0xdd; return b }, bpf.DropBadLength},
		"VLAN":             {func(b []byte) []byte { b[12], b[13] = 0x81, 0x00; return b }, bpf.DropEthertype},
		"later fragment":   {func(b []byte) []byte { b[20], b[21] = 0, 9; return b }, bpf.DropFragment},
		"over the header":  {func(b []byte) []byte { b[20], b[21] = 0, 1; return b }, bpf.DropFragment},
		"options":          {func(b []byte) []byte { b[14] = 0x46; return b }, bpf.DropIPOptions},
		"longer than real": {func(b []byte) []byte { b[16], b[17] = 5, 0; return b }, bpf.DropBadLength},
		"short IP":         {func(b []byte) []byte { b[16], b[17] = 0, 19; return b }, bpf.DropBadLength},
		"short TCP":        {func(b []byte) []byte { b[16], b[17] = 0, 39; return b }, bpf.DropBadLength},
		"long TCP header":  {func(b []byte) []byte { b[46] = 0xf0; return b }, bpf.DropBadLength},
		"SYN and FIN":      {func(b []byte) []byte { b[47] = 3; return b }, bpf.DropBadTCP},
		"no flags":         {func(b []byte) []byte { b[47] = 0; return b }, bpf.DropBadTCP},
		"multicast MAC":    {func(b []byte) []byte { b[0] = 1; return b }, bpf.DropMulticast},
		"multicast":        {func(b []byte) []byte { b[30] = 224; return b }, bpf.DropMulticast},
		"broadcast":        {func(b []byte) []byte { copy(b[30:], []byte{255, 255, 255, 255}); return b }, bpf.DropMulticast},
		"truncated ARP":    {func(b []byte) []byte { b[12], b[13] = 8, 6; return b[:30] }, bpf.DropTooShort},
	} {
		if r := w.send(packet{from: eniA1, raw: c.change(good())}); r.Action != ActionDrop || r.Reason.Code != c.reason {
			t.Errorf("%s: %v, want drop for %s", name, r, ReasonOf(c.reason).Name)
		}
	}
	if r := w.try(Workload, lab.devices[9], good(), 0); r.Reason.Code != bpf.DropNoPort {
		t.Errorf("unknown device: %v", r)
	}
}

func TestTapsAndRemoteHosts(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.devices[eniA2] = Device{Ifindex: lab.devices[1], Tap: true}
		delete(w.devices, eniA3)
	})
	w.passes(tcp(eniA1, addrA1, 1, addrA2, 80, "S"), eniA2)
	w.drops(tcp(eniA1, addrA1, 1, addrA3, 80, "S"), bpf.DropRemoteHost)
}

func TestDropsAreCountedByInterfaceAndReason(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.drops(tcp(eniA1, addrA1, 7, netip.MustParseAddr("192.0.2.1"), 80, "S"), bpf.DropNoRoute)
	}
	ds, err := w.dp.Drops()
	if err != nil || len(ds) != 1 {
		t.Fatalf("drops %v, %v", ds, err)
	}
	d := ds[0]
	if d.Interface != vpc.Num(eniA1) || d.Reason.Name != "no-route" || d.Packets != 3 || d.Bytes != 3*60 || d.VNI != vniA ||
		d.Source != ap(addrA1, 7) || d.Dest != netip.MustParseAddrPort("192.0.2.1:80") {
		t.Errorf("drop %+v", d)
	}
	delete(w.host.Interfaces, eniA1)
	delete(w.devices, eniA1)
	w.apply()
	if _, err := w.dp.Collect(); err != nil {
		t.Fatal(err)
	}
	if ds, err := w.dp.Drops(); err != nil || len(ds) != 0 {
		t.Errorf("drops of a deleted interface remain: %v, %v", ds, err)
	}
}
