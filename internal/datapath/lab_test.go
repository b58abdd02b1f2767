// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// The lab: a namespace with devices to name as a packet's origin, a bpf file
// system of its own, and a domain of two VPCs with the same addresses. Packets
// are run through the real programs by BPF_PROG_TEST_RUN.
var lab struct {
	ns      netns.NsHandle
	devices []int // indexes
	bpffs   string
	runs    atomic.Int32
}

const labDevices = 10

func TestMain(m *testing.M) {
	if os.Getenv(identifyHelper) != "" {
		os.Exit(identifyMain())
	}
	report := os.Getenv("POSTERN_COVERAGE")
	if report != "" {
		var err error
		if coverage, err = newMarks(); err != nil {
			fmt.Fprintln(os.Stderr, "coverage:", err)
			os.Exit(1)
		}
	}
	code, err := withLab(m.Run)
	if report != "" && err == nil {
		err = coverage.report(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		code = 1
	}
	os.Exit(code)
}

func withLab(run func() int) (code int, err error) {
	if os.Geteuid() != 0 {
		return run(), nil
	}
	dir, err := os.MkdirTemp("", "datapath-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		return 1, fmt.Errorf("mount a bpf file system: %w", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	lab.bpffs = dir

	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		return 1, err
	}
	defer here.Close()
	if lab.ns, err = netns.New(); err != nil {
		return 1, err
	}
	defer lab.ns.Close()
	for i := range labDevices {
		name := fmt.Sprintf("lab%d", i)
		err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"})
		if err == nil {
			var l netlink.Link
			if l, err = netlink.LinkByName(name); err == nil {
				lab.devices = append(lab.devices, l.Attrs().Index)
			}
		}
		if err != nil {
			return 1, fmt.Errorf("make device %s: %w", name, err)
		}
	}
	if err := netns.Set(here); err != nil {
		return 1, err
	}
	runtime.UnlockOSThread()
	return run(), nil
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: loads eBPF programs and makes network devices")
	}
}

// The domain of the lab.
const (
	vniA vpc.VNI = 0x1001
	vniB vpc.VNI = 0x1002

	subnetA1 vpc.SubnetID = "subnet-a1"
	subnetA2 vpc.SubnetID = "subnet-a2"
	subnetB1 vpc.SubnetID = "subnet-b1"
	subnetB2 vpc.SubnetID = "subnet-b2"

	eniA1   vpc.InterfaceID = "eni-a1" // 10.0.0.5 in A1
	eniA2   vpc.InterfaceID = "eni-a2" // 10.0.0.6 in A1
	eniA3   vpc.InterfaceID = "eni-a3" // 10.0.1.7 in A2
	eniEP   vpc.InterfaceID = "eni-ep" // 10.0.0.100 in A1: endpoint to the node in B
	eniS3   vpc.InterfaceID = "eni-s3" // 10.0.0.101 in A1: endpoint to a catalogue service
	eniB1   vpc.InterfaceID = "eni-b1" // 10.0.0.5 in B1, the same address as A1's
	eniB2   vpc.InterfaceID = "eni-b2" // 10.0.1.9 in B2
	eniNode vpc.InterfaceID = "eni-nb" // 10.0.0.50 in B1: the node

	epCustomer vpc.EndpointID = "vpce-customer"
	epS3       vpc.EndpointID = "vpce-s3"
	epGateway  vpc.EndpointID = "vpce-gateway"

	node = "arn:lb@zone-a"
)

var (
	addrA1   = netip.MustParseAddr("10.0.0.5")
	addrA2   = netip.MustParseAddr("10.0.0.6")
	addrA3   = netip.MustParseAddr("10.0.1.7")
	addrEP   = netip.MustParseAddr("10.0.0.100")
	addrS3   = netip.MustParseAddr("10.0.0.101")
	addrB1   = netip.MustParseAddr("10.0.0.5")
	addrB2   = netip.MustParseAddr("10.0.1.9")
	addrNode = netip.MustParseAddr("10.0.0.50")
	anywhere = netip.MustParsePrefix("0.0.0.0/0")
	bucket   = netip.MustParseAddr("203.0.113.10") // a public service address
)

type world struct {
	t       testing.TB
	dp      *Datapath
	cfg     Config
	host    desired.Host
	devices map[vpc.InterfaceID]Device
	service Device
	uplink  Device
	overlay Device
}

func (w *world) doors() Doors { return Doors{Service: w.service, Uplink: w.uplink, Overlay: w.overlay} }

func allow(proto, from, to int, peers ...netip.Prefix) desired.Rule {
	return desired.Rule{Protocol: proto, From: from, To: to, Peers: peers}
}

// open lets everything pass, by rules that keep every flow tracked: none of the
// inbound ones alone is for anywhere.
var open = desired.RuleSet{
	Ingress: []desired.Rule{allow(vpc.AllProtocols, -1, -1, netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1"))},
	Egress:  []desired.Rule{allow(vpc.AllProtocols, -1, -1, anywhere)},
}

// newWorld opens a datapath and applies the lab's domain. Options change the
// configuration or the domain first.
func newWorld(t testing.TB, options ...func(*world)) *world {
	t.Helper()
	needRoot(t)
	w := &world{t: t, devices: map[vpc.InterfaceID]Device{}}
	w.cfg = Config{
		PinDir: filepath.Join(lab.bpffs, fmt.Sprintf("w%d", lab.runs.Add(1))), MaxConnections: 8192,
		instrument: coverage.instrument,
	}
	w.host = labHost()
	for i, id := range []vpc.InterfaceID{eniA1, eniA2, eniA3, eniB1, eniB2} {
		w.devices[id] = Device{Ifindex: lab.devices[i]}
	}
	w.service = Device{Ifindex: lab.devices[5], MAC: net.HardwareAddr{2, 0, 0, 0, 1, 1}}
	for _, o := range options {
		o(w)
	}
	w.open()
	t.Cleanup(func() {
		w.dp.Close()
		if err := Remove(w.cfg.PinDir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	w.apply()
	return w
}

func (w *world) open() {
	w.t.Helper()
	dp, err := Open(w.cfg)
	if err != nil {
		w.t.Fatalf("open: %+v", err)
	}
	w.dp = dp
}

func (w *world) apply() {
	w.t.Helper()
	if err := w.dp.Apply(w.host, w.devices, w.doors()); err != nil {
		w.t.Fatalf("apply: %v", err)
	}
}

func labHost() desired.Host {
	local := desired.Route{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Kind: desired.RouteLocal}
	allowAll := desired.ACL{
		In:  []desired.ACLRule{{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}},
		Out: []desired.ACLRule{{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}},
	}
	h := desired.Host{
		VPCs: map[vpc.VNI]desired.VPC{
			vniA: {ID: "vpc-a", VNI: vniA, Resolver: netip.MustParseAddr("10.0.0.2"), DNS: true},
			vniB: {ID: "vpc-b", VNI: vniB, Resolver: netip.MustParseAddr("10.0.0.2"), DNS: false},
		},
		Subnets: map[vpc.SubnetID]desired.Subnet{},
		RouteTables: map[vpc.RouteTableID]desired.RouteTable{
			"rtb-a1": {Routes: []desired.Route{local, {Prefix: netip.MustParsePrefix("203.0.113.0/24"), Kind: desired.RouteEndpoint, Endpoint: epGateway}}},
			"rtb-a2": {Routes: []desired.Route{local, {Prefix: netip.MustParsePrefix("198.51.100.0/24"), Kind: desired.RouteBlackhole}}},
			"rtb-b":  {Routes: []desired.Route{local}},
		},
		ACLs:       map[vpc.ACLID]desired.ACL{"acl-a1": allowAll, "acl-a2": allowAll, "acl-b1": allowAll, "acl-b2": allowAll},
		Interfaces: map[vpc.InterfaceID]desired.Interface{},
		RuleSets:   map[string]desired.RuleSet{"open": open, "closed": {}},
		Balancers: map[string]desired.Balancer{node: {VNI: vniB, Interface: eniNode, Addr: addrNode, Listeners: []desired.Listener{
			{Protocol: vpc.TCP, Port: 80, Targets: []desired.Target{{Addr: addrB1, Port: 8080}}},
			{Protocol: vpc.UDP, Port: 514, Targets: []desired.Target{{Addr: addrB1, Port: 5514}}},
			{Protocol: vpc.TCP, Port: 81},
			{Protocol: vpc.TCP, Port: 82, Targets: []desired.Target{{Addr: addrB2, Port: 8082}}, PreserveClientIP: true},
		}}},
		Endpoints: map[vpc.EndpointID]desired.Endpoint{
			epCustomer: {ID: epCustomer, VNI: vniA, Type: vpc.InterfaceEndpoint, Link: 0x2001},
			epS3:       {ID: epS3, VNI: vniA, Type: vpc.InterfaceEndpoint, Link: 0x2002, Service: "s3"},
			epGateway:  {ID: epGateway, VNI: vniA, Type: vpc.GatewayEndpoint, Link: 0x2003, Service: "s3"},
		},
		Probes: map[string]desired.Probe{"p": {VNI: vniB, Node: addrNode, Target: addrB1, Port: 8080, Via: netip.MustParseAddr("100.80.0.7")}},
	}
	for id, s := range map[vpc.SubnetID]desired.Subnet{
		subnetA1: {VNI: vniA, CIDR: netip.MustParsePrefix("10.0.0.0/24"), RouteTable: "rtb-a1", ACL: "acl-a1"},
		subnetA2: {VNI: vniA, CIDR: netip.MustParsePrefix("10.0.1.0/24"), RouteTable: "rtb-a2", ACL: "acl-a2"},
		subnetB1: {VNI: vniB, CIDR: netip.MustParsePrefix("10.0.0.0/24"), RouteTable: "rtb-b", ACL: "acl-b1"},
		subnetB2: {VNI: vniB, CIDR: netip.MustParsePrefix("10.0.1.0/24"), RouteTable: "rtb-b", ACL: "acl-b2"},
	} {
		s.ID, s.Router = id, s.CIDR.Addr().Next()
		h.Subnets[id] = s
	}
	for i, n := range []desired.Interface{
		{ID: eniA1, VNI: vniA, Subnet: subnetA1, Addr: addrA1, Kind: desired.KindWorkload, SourceCheck: true},
		{ID: eniA2, VNI: vniA, Subnet: subnetA1, Addr: addrA2, Kind: desired.KindWorkload, SourceCheck: true},
		{ID: eniA3, VNI: vniA, Subnet: subnetA2, Addr: addrA3, Kind: desired.KindWorkload, SourceCheck: true},
		{ID: eniEP, VNI: vniA, Subnet: subnetA1, Addr: addrEP, Kind: desired.KindEndpoint, Endpoint: epCustomer, Balancer: node},
		{ID: eniS3, VNI: vniA, Subnet: subnetA1, Addr: addrS3, Kind: desired.KindEndpoint, Endpoint: epS3},
		{ID: eniB1, VNI: vniB, Subnet: subnetB1, Addr: addrB1, Kind: desired.KindWorkload, SourceCheck: true},
		{ID: eniB2, VNI: vniB, Subnet: subnetB2, Addr: addrB2, Kind: desired.KindWorkload, SourceCheck: true},
		{ID: eniNode, VNI: vniB, Subnet: subnetB1, Addr: addrNode, Kind: desired.KindBalancer, Balancer: node},
	} {
		n.MAC = fmt.Sprintf("02:00:00:00:00:%02x", i+1)
		if n.Kind != desired.KindBalancer {
			n.RuleSet = "open"
		}
		h.Interfaces[n.ID] = n
	}
	return h
}

// edit changes one entry of a table of the host.
func edit[K comparable, V any](m map[K]V, k K, change func(*V)) {
	v := m[k]
	change(&v)
	m[k] = v
}

func (w *world) rules(id vpc.InterfaceID, set desired.RuleSet) {
	name := "of-" + string(id)
	w.host.RuleSets[name] = set
	edit(w.host.Interfaces, id, func(i *desired.Interface) { i.RuleSet = name })
}

// packet describes a frame to send.
type packet struct {
	from     vpc.InterfaceID // "" is the service namespace
	srcMAC   net.HardwareAddr
	src, dst netip.Addr
	proto    int
	sport    int
	dport    int
	flags    string // of TCP: S, A, F, R, P
	seq, ack uint32
	options  []layers.TCPOption
	icmp     layers.ICMPv4TypeCode
	id       uint16
	payload  []byte
	raw      []byte // the whole frame instead
	gso      int    // size of segments
}

func tcp(from vpc.InterfaceID, src netip.Addr, sport int, dst netip.Addr, dport int, flags string) packet {
	return packet{from: from, src: src, dst: dst, proto: vpc.TCP, sport: sport, dport: dport, flags: flags, seq: 1000, ack: 2000}
}

func udp(from vpc.InterfaceID, src netip.Addr, sport int, dst netip.Addr, dport int) packet {
	return packet{from: from, src: src, dst: dst, proto: vpc.UDP, sport: sport, dport: dport, payload: []byte("hello")}
}

func ping(from vpc.InterfaceID, src, dst netip.Addr, typ uint8, id uint16) packet {
	return packet{from: from, src: src, dst: dst, proto: vpc.ICMP, icmp: layers.CreateICMPv4TypeCode(typ, 0), id: id}
}

func (w *world) mac(id vpc.InterfaceID) net.HardwareAddr {
	if id == "" {
		return w.service.MAC
	}
	m, err := net.ParseMAC(w.host.Interfaces[id].MAC)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) frame(p packet) []byte {
	w.t.Helper()
	if p.raw != nil {
		return p.raw
	}
	mac := p.srcMAC
	if mac == nil {
		mac = w.mac(p.from)
	}
	eth := &layers.Ethernet{SrcMAC: mac, DstMAC: net.HardwareAddr{2, 9, 9, 9, 9, 9}, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: 77, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocol(p.proto), SrcIP: p.src.AsSlice(), DstIP: p.dst.AsSlice()}
	all := []gopacket.SerializableLayer{eth, ip}
	switch p.proto {
	case vpc.TCP:
		t := &layers.TCP{
			SrcPort: layers.TCPPort(p.sport), DstPort: layers.TCPPort(p.dport), Seq: p.seq, Window: 1000, Options: p.options,
			SYN: strings.Contains(p.flags, "S"), ACK: strings.Contains(p.flags, "A"), FIN: strings.Contains(p.flags, "F"),
			RST: strings.Contains(p.flags, "R"), PSH: strings.Contains(p.flags, "P"),
		}
		if t.ACK {
			t.Ack = p.ack
		}
		t.SetNetworkLayerForChecksum(ip)
		all = append(all, t)
	case vpc.UDP:
		u := &layers.UDP{SrcPort: layers.UDPPort(p.sport), DstPort: layers.UDPPort(p.dport)}
		u.SetNetworkLayerForChecksum(ip)
		all = append(all, u)
	case vpc.ICMP:
		all = append(all, &layers.ICMPv4{TypeCode: p.icmp, Id: p.id, Seq: 1})
	}
	return serialize(w.t, append(all, gopacket.Payload(p.payload))...)
}

func serialize(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) send(p packet) Verdict {
	w.t.Helper()
	index, role := w.devices[p.from].Ifindex, Workload
	if p.from == "" {
		index, role = w.service.Ifindex, Service
	}
	return w.try(role, index, w.frame(p), p.gso)
}

// enter moves the calling goroutine into a namespace until restore is called.
func enter(t testing.TB, ns netns.NsHandle) (restore func()) {
	t.Helper()
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	return func() {
		// a thread that cannot go back stays locked and dies with its goroutine
		if err := netns.Set(here); err != nil {
			t.Error(err)
			return
		}
		here.Close()
		runtime.UnlockOSThread()
	}
}

func (w *world) try(role Role, index int, frame []byte, gso int) Verdict {
	w.t.Helper()
	defer enter(w.t, lab.ns)()
	v, err := w.dp.Try(role, index, frame, gso)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// passes sends a packet that must reach the device of an interface ("" is the
// service namespace) and returns its frame, whose checksums have been verified.
func (w *world) passes(p packet, to vpc.InterfaceID) gopacket.Packet {
	w.t.Helper()
	r := w.send(p)
	dev, ok := w.devices[to]
	if to == "" {
		dev, ok = w.service, true
	}
	want := ActionPeer
	if dev.Tap {
		want = ActionRedirect
	}
	if !ok || r.Action != want || r.Ifindex != dev.Ifindex {
		w.t.Fatalf("%+v: %v, want delivery to %q at %d", p, r, to, dev.Ifindex)
	}
	out := decode(w.t, r.Frame)
	eth := out.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if want := w.mac(to); eth.DstMAC.String() != want.String() {
		w.t.Errorf("%+v: destination MAC %s, want %s", p, eth.DstMAC, want)
	}
	if eth.SrcMAC[0]&1 != 0 || eth.SrcMAC.String() == eth.DstMAC.String() {
		w.t.Errorf("%+v: source MAC %s", p, eth.SrcMAC)
	}
	return out
}

func (w *world) drops(p packet, reason uint32) {
	w.t.Helper()
	if r := w.send(p); r.Action != ActionDrop || r.Reason.Code != reason {
		w.t.Fatalf("%+v: %v, want drop for %s", p, r, ReasonOf(reason).Name)
	}
}

// resets sends a packet that must be answered with a TCP reset.
func (w *world) resets(p packet, reason uint32) *layers.TCP {
	w.t.Helper()
	r := w.send(p)
	index := w.devices[p.from].Ifindex
	if p.from == "" {
		index = w.service.Ifindex
	}
	if r.Action != ActionAnswer || r.Reason.Code != reason || r.Ifindex != index {
		w.t.Fatalf("%+v: %v, want a reset for %s", p, r, ReasonOf(reason).Name)
	}
	out := decode(w.t, r.Frame)
	ip := out.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ip.SrcIP.Equal(p.dst.AsSlice()) || !ip.DstIP.Equal(p.src.AsSlice()) || ip.Length != 40 {
		w.t.Errorf("%+v: reset is %s to %s, length %d", p, ip.SrcIP, ip.DstIP, ip.Length)
	}
	eth := out.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if eth.DstMAC.String() != w.mac(p.from).String() {
		w.t.Errorf("%+v: reset goes to %s", p, eth.DstMAC)
	}
	t := out.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !t.RST || int(t.SrcPort) != p.dport || int(t.DstPort) != p.sport {
		w.t.Errorf("%+v: reset is %+v", p, t)
	}
	return t
}

// decode parses a frame and recomputes every checksum in it.
func decode(t testing.TB, frame []byte) gopacket.Packet {
	t.Helper()
	out := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	ip, ok := out.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		t.Fatalf("not IPv4: %v", out)
	}
	if sum := onesSum(0, ip.Contents); sum != 0xffff {
		t.Errorf("IPv4 header sums to %#x", sum)
	}
	if ip.Protocol != layers.IPProtocolTCP && ip.Protocol != layers.IPProtocolUDP {
		return out
	}
	if u, ok := out.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && u.Checksum == 0 {
		return out // none
	}
	l4 := ip.Payload
	pseudo := append(append([]byte{}, ip.SrcIP.To4()...), ip.DstIP.To4()...)
	pseudo = append(pseudo, 0, byte(ip.Protocol), byte(len(l4)>>8), byte(len(l4)))
	if sum := onesSum(onesSum(0, pseudo), l4); sum != 0xffff {
		t.Errorf("%s segment sums to %#x", ip.Protocol, sum)
	}
	return out
}

func onesSum(start uint32, b []byte) uint32 {
	sum := start
	for i, v := range b {
		if i%2 == 0 {
			sum += uint32(v) << 8
		} else {
			sum += uint32(v)
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum
}

// ends5 is a packet's addresses and ports.
type ends5 struct{ src, dst netip.AddrPort }

func endsOf(t testing.TB, p gopacket.Packet) ends5 {
	t.Helper()
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	src, _ := netip.AddrFromSlice(ip.SrcIP.To4())
	dst, _ := netip.AddrFromSlice(ip.DstIP.To4())
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		return ends5{netip.AddrPortFrom(src, uint16(l.SrcPort)), netip.AddrPortFrom(dst, uint16(l.DstPort))}
	case *layers.UDP:
		return ends5{netip.AddrPortFrom(src, uint16(l.SrcPort)), netip.AddrPortFrom(dst, uint16(l.DstPort))}
	}
	t.Fatalf("no transport in %v", p)
	return ends5{}
}

func ap(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }
