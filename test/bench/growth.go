// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// How the cost grows with what there is, is measured on datapaths of our own:
// the programs, maps and devices that an agent makes, with a desired.Host
// written here, because an API cannot make a hundred thousand endpoints within
// a benchmark. Each has its own maps, namespaces and devices; they differ in
// one size only.

// size is one thing of which there is much.
type size struct {
	name string
	n    int
	grow func(g *growing, n int) // before the host is applied
	then func(g *growing, n int) error
}

// smallest is the path with one of each; "again" is the same once more.
const smallest = "smallest"

var sizes = []size{
	{name: "again", grow: func(*growing, int) {}},
	{name: "endpoints", n: 100_000, grow: func(g *growing, n int) { addEndpoints(&g.host, n) }},
	{name: "rules", n: 1_000, grow: (*growing).addRules},
	{name: "routes", n: 100_000, grow: func(g *growing, n int) {
		t := g.host.RouteTables[growTable]
		t.Routes = append(t.Routes, fillerRoutes(n)...)
		g.host.RouteTables[growTable] = t
	}},
	{name: "connections", n: 1_000_000, grow: (*growing).addStranger, then: (*growing).addConnections},
}

// growing is one datapath on its way.
type growing struct {
	lab     *lab
	name    string
	hostNS  string
	host    desired.Host
	devices map[vpc.InterfaceID]datapath.Device
	dp      *datapath.Datapath
}

// The names in a growing host: a client with an endpoint, whose node in the
// provider's VPC has one target. Both VPCs have the same addresses.
const (
	growTable    = vpc.RouteTableID("rtb-client")
	growClient   = vpc.InterfaceID("eni-client")
	growServer   = vpc.InterfaceID("eni-server")
	growStranger = vpc.InterfaceID("eni-stranger")
	growSink     = vpc.InterfaceID("eni-sink")
)

var (
	growClientAddr   = netip.MustParseAddr("10.0.1.2")
	growServerAddr   = netip.MustParseAddr("10.0.1.3")
	growEndpointAddr = netip.MustParseAddr("10.0.1.100")
	growStrangerAddr = netip.MustParseAddr("10.0.1.4")
	growSinkAddr     = netip.MustParseAddr("10.0.1.5")
	growSubnet       = netip.MustParsePrefix("10.0.1.0/24")
)

// growth sets up the smallest datapath and those that are larger by share of
// the full sizes. What cannot be made is skipped and named.
func (l *lab) growth(share float64, res *result, progress func(string, ...any)) (paths []*path, err error) {
	bpffs, err := l.bpffs()
	if err != nil {
		return nil, err
	}
	for _, s := range append([]size{{name: smallest, grow: func(*growing, int) {}}}, sizes...) {
		n := int(float64(s.n) * share)
		p, err := l.grown(s, n, filepath.Join(bpffs, s.name))
		if l.ctx.Err() != nil {
			return nil, l.ctx.Err()
		}
		if err != nil {
			progress("skipped growth, %s: %v", s.name, err)
			res.Skipped["growth: "+s.name] = err.Error()
			continue
		}
		progress("ready: growth, %s", p.about)
		res.Paths["growth: "+s.name] = p.about
		paths = append(paths, p)
	}
	return paths, nil
}

// grown makes one datapath and its path.
func (l *lab) grown(s size, n int, pin string) (*path, error) {
	g := &growing{lab: l, name: "g" + s.name, devices: map[vpc.InterfaceID]datapath.Device{}}
	spaces := map[string]string{}
	for _, end := range []string{"c", "h", "s"} {
		ns, err := l.namespace(g.name + "-" + end)
		if err != nil {
			return nil, err
		}
		spaces[end] = ns
	}
	g.hostNS = spaces["h"]
	C, H, S := prefix+g.name+"-c", prefix+g.name+"-h", prefix+g.name+"-s"
	if err := l.ip(fmt.Sprintf(`
link add eth0 netns %[1]s address 02:00:00:00:00:01 mtu 1500 type veth peer name client netns %[2]s mtu 1500
link add eth0 netns %[3]s address 02:00:00:00:00:02 mtu 1500 type veth peer name server netns %[2]s mtu 1500
link add stranger netns %[2]s address 02:00:00:00:00:04 type veth peer name sink netns %[2]s
-n %[1]s addr add 10.0.1.2/24 dev eth0
-n %[3]s addr add 10.0.1.3/24 dev eth0
-n %[1]s link set eth0 up
-n %[3]s link set eth0 up
-n %[2]s link set client up
-n %[2]s link set server up`, C, H, S)); err != nil {
		return nil, err
	}
	g.host = growHost()
	s.grow(g, n)
	var err error
	if g.dp, err = datapath.Open(datapath.Config{PinDir: pin, MaxConnections: 2 << 20, QuotaPerInterface: 2 << 20}); err != nil {
		return nil, err
	}
	l.undo(g.dp.Close)
	if err := l.launch.in(g.hostNS, nil, g.attach); err != nil {
		return nil, err
	}
	if err := g.dp.Apply(g.host, g.devices, datapath.Doors{}); err != nil {
		return nil, err
	}
	if s.then != nil {
		if err := s.then(g, n); err != nil {
			return nil, err
		}
	}
	p := &path{name: s.name, about: fmt.Sprintf("%s: one of each", s.name), clientNS: spaces["c"], spaces: []string{spaces["c"], spaces["s"]},
		to: netip.AddrPortFrom(growEndpointAddr, askPort), udp: netip.AddrPortFrom(growEndpointAddr, udpAskPort), before: g.collect}
	if s.n > 0 {
		p.about = fmt.Sprintf("%d %s and one of everything else", n, s.name)
	}
	if p.server, err = l.serve(spaces["s"]); err != nil {
		return nil, err
	}
	return p, l.reachable(p)
}

// attach puts the programs on the devices; it runs in the host's namespace.
func (g *growing) attach() error {
	for id, name := range map[vpc.InterfaceID]string{growClient: "client", growServer: "server", growStranger: "stranger", growSink: "sink"} {
		d, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("find device %s: %w", name, err)
		}
		g.devices[id] = datapath.Device{Ifindex: d.Index}
		if id == growClient || id == growServer {
			if err := g.dp.Attach(name, d.Index, datapath.Workload); err != nil {
				return err
			}
		}
	}
	return nil
}

func growHost() desired.Host {
	const (
		client, provider = vpc.VNI(0x1001), vpc.VNI(0x1002)
		endpoint         = vpc.EndpointID("vpce-one")
		node             = "one@zone"
	)
	h := emptyHost()
	anywhere := netip.MustParsePrefix("0.0.0.0/0")
	allowAll := []desired.ACLRule{{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}}
	h.ACLs["acl"] = desired.ACL{In: allowAll, Out: allowAll}
	within := []desired.Rule{{Protocol: vpc.AllProtocols, From: -1, To: -1, Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}}
	h.RuleSets["set"] = desired.RuleSet{Ingress: within, Egress: within}
	for vni, table := range map[vpc.VNI]vpc.RouteTableID{client: growTable, provider: "rtb-provider"} {
		h.VPCs[vni] = desired.VPC{ID: vpc.VPCID("vpc-" + table), VNI: vni}
		h.RouteTables[table] = desired.RouteTable{Routes: []desired.Route{{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Kind: desired.RouteLocal}}}
		id := vpc.SubnetID("subnet-" + table)
		h.Subnets[id] = desired.Subnet{ID: id, VNI: vni, CIDR: growSubnet, Router: growSubnet.Addr().Next(), RouteTable: table, ACL: "acl"}
	}
	for _, i := range []desired.Interface{
		{ID: growClient, VNI: client, Addr: growClientAddr, MAC: "02:00:00:00:00:01", Kind: desired.KindWorkload, SourceCheck: true},
		{ID: "eni-endpoint", VNI: client, Addr: growEndpointAddr, MAC: "02:00:00:00:00:64", Kind: desired.KindEndpoint, Endpoint: endpoint, Balancer: node},
		{ID: growServer, VNI: provider, Addr: growServerAddr, MAC: "02:00:00:00:00:02", Kind: desired.KindWorkload, SourceCheck: true},
		{ID: "eni-node", VNI: provider, Addr: netip.MustParseAddr("10.0.1.50"), MAC: "02:00:00:00:00:32", Kind: desired.KindBalancer, Balancer: node},
	} {
		i.Subnet, i.RuleSet = "subnet-"+vpc.SubnetID(growTable), "set"
		if i.VNI == provider {
			i.Subnet = "subnet-rtb-provider"
		}
		h.Interfaces[i.ID] = i
	}
	target := []desired.Target{{Addr: growServerAddr, Port: serverPort}}
	h.Balancers[node] = desired.Balancer{VNI: provider, Interface: "eni-node", Addr: netip.MustParseAddr("10.0.1.50"), Zone: "zone", Listeners: []desired.Listener{
		{Protocol: vpc.TCP, Port: askPort, Targets: target}, {Protocol: vpc.UDP, Port: udpAskPort, Targets: target}}}
	h.Endpoints[endpoint] = desired.Endpoint{ID: endpoint, VNI: client, Type: vpc.InterfaceEndpoint, Link: 0x2001}
	return h
}

// addRules puts n rules into the set that every interface here has, both ways.
func (g *growing) addRules(n int) {
	s := g.host.RuleSets["set"]
	more := fillerRules(n, 0)
	g.host.RuleSets["set"] = desired.RuleSet{Ingress: append(more, s.Ingress...), Egress: append(more, s.Egress...)}
}

// addStranger adds the two interfaces between which the other connections are.
func (g *growing) addStranger(int) {
	c := g.host.Interfaces[growClient]
	for id, a := range map[vpc.InterfaceID]netip.Addr{growStranger: growStrangerAddr, growSink: growSinkAddr} {
		i := c
		i.ID, i.Addr, i.MAC = id, a, fmt.Sprintf("02:00:00:00:00:%02x", a.As4()[3])
		g.host.Interfaces[id] = i
	}
}

// addConnections makes n flows that last, each by its first two packets, which
// are run through the program without a device.
func (g *growing) addConnections(n int) error {
	syn, ack := tcpFrame(growStrangerAddr, growSinkAddr, 0x02), tcpFrame(growSinkAddr, growStrangerAddr, 0x12)
	try := func(from vpc.InterfaceID, frame []byte) error {
		v, err := g.dp.Try(datapath.Workload, g.devices[from].Ifindex, frame, 0)
		if err == nil && v.Action == datapath.ActionDrop {
			err = fmt.Errorf("dropped: %s", v.Reason.Name)
		}
		return err
	}
	err := g.lab.launch.in(g.hostNS, nil, func() error {
		for i := range n {
			if i%10_000 == 0 && g.lab.ctx.Err() != nil {
				return g.lab.ctx.Err()
			}
			client, server := uint16(1024+i%60_000), uint16(1+i/60_000)
			setPorts(syn, client, server)
			setPorts(ack, server, client)
			if err := errors.Join(try(growStranger, syn), try(growSink, ack)); err != nil {
				return fmt.Errorf("connection %d: %w", i+1, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	left, err := g.dp.Collect()
	if err == nil && left.Plain < uint64(n) {
		err = fmt.Errorf("only %d of %d connections are remembered", left.Plain, n)
	}
	return err
}

// tcpFrame is an Ethernet frame with an empty TCP packet, without ports and
// without a checksum of TCP's own, which the datapath leaves to the receiver.
func tcpFrame(src, dst netip.Addr, flags byte) []byte {
	const ethernet, ip, tcp = 14, 20, 20
	b := make([]byte, ethernet+ip+tcp)
	s, d := src.As4(), dst.As4()
	copy(b, []byte{2, 0, 0, 0, 0, d[3], 2, 0, 0, 0, 0, s[3], 8, 0})
	h := b[ethernet:]
	h[0], h[8], h[9] = 0x45, 64, byte(vpc.TCP)
	binary.BigEndian.PutUint16(h[2:], ip+tcp)
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	var sum uint32
	for i := 0; i < ip; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum>>16+sum))
	h[ip+12], h[ip+13] = tcp/4<<4, flags
	return b
}

// setPorts sets those of tcpFrame's packet.
func setPorts(frame []byte, src, dst uint16) {
	binary.BigEndian.PutUint16(frame[34:], src)
	binary.BigEndian.PutUint16(frame[36:], dst)
}

// collect removes expired connections, as an agent does every few seconds;
// those of the last samples would use up the ports.
func (g *growing) collect() error {
	_, err := g.dp.Collect()
	return err
}
