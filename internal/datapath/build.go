// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Device is where the packets of an interface come from and go to.
type Device struct {
	// Ifindex is the host's device; 0 if there is none yet.
	Ifindex int
	// MAC is the workload's address, on the far side of the device. If it is
	// nil the interface's own is used.
	MAC net.HardwareAddr
	// Tap marks a device without a peer in another namespace.
	Tap bool
	// MTU is how large a packet the device carries; only asked of Doors.Overlay.
	MTU int
}

// Doors are the devices of a host that lead to no workload of a tenant. Without
// an uplink there is no way out of a VPC, without an overlay none to a workload
// of another host.
type Doors struct {
	Service, Uplink, Overlay Device
}

// builder turns a desired.Host into entries. It keeps what was compiled for
// the last one: most lists do not change from one to the next.
type builder struct {
	sets     map[string]compiledSet
	acls     map[vpc.ACLID]compiledACL
	balances map[uint64]map[bpf.DatapathSlotKey]bpf.DatapathBackend // Maglev tables by maglevID
}

type compiledSet struct {
	source  desired.RuleSet
	in, out *ruleList
	open    uint16 // openWays
}

type compiledACL struct {
	source  desired.ACL
	in, out [2]*ruleList // of IPv4 and IPv6; nil allows all
}

// build gives the entries for a host. It fails on values that no desired.Host
// should have (a MAC or port that is none), naming them.
func (b *builder) build(host desired.Host, devices map[vpc.InterfaceID]Device, doors Doors) (*entries, error) {
	e := newEntries(len(host.Interfaces))
	sets, acls := b.compileLists(host)

	addList := func(l *ruleList) uint64 {
		if l == nil {
			return 0
		}
		e.addRules(l)
		return l.id
	}
	for id, s := range host.Subnets {
		n := bpf.DatapathSubnet{Table: vpc.Num(s.RouteTable)}
		a, known := acls[s.ACL]
		for family := range n.AclIn {
			if known {
				n.AclIn[family], n.AclOut[family] = addList(a.in[family]), addList(a.out[family])
			} else { // an ACL that is not known lets nothing pass
				n.AclIn[family] = addList(compile(nil, false))
				n.AclOut[family] = n.AclIn[family]
			}
		}
		e.subnets[vpc.Num(id)] = n
		routers := []netip.Addr{s.Router}
		if s.IPv6.IsValid() {
			routers = append(routers, s.IPv6.Addr().Next())
		}
		for _, a := range routers {
			e.interfaces[bpf.DatapathInterfaceKey{Vni: uint32(s.VNI), Addr: toAddr(a)}] = bpf.DatapathInterface{
				Kind: uint8(bpf.DatapathInterfaceKindKIND_ROUTER), Subnet: vpc.Num(id), Mac: routerMAC(id), Gateway: routerMAC(id),
			}
		}
	}
	for vni, v := range host.VPCs {
		if !v.DNS {
			continue
		}
		resolvers := []netip.Addr{v.Resolver, desired.LinkLocalResolver}
		if slices.ContainsFunc(v.CIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
			resolvers = append(resolvers, desired.Resolver6)
		}
		for _, a := range resolvers {
			e.interfaces[bpf.DatapathInterfaceKey{Vni: uint32(vni), Addr: toAddr(a)}] = bpf.DatapathInterface{
				Kind: uint8(bpf.DatapathInterfaceKindKIND_RESOLVER), Node: nodeResolver,
			}
		}
	}
	for id, t := range host.RouteTables {
		for _, r := range t.Routes {
			k, v, err := route(host, id, r)
			if err != nil {
				return nil, err
			}
			e.routes[k] = v
			if over := v4Mapped(k); over != k {
				if _, ok := e.routes[over]; !ok {
					e.routes[over] = bpf.DatapathRoute{}
				}
			}
		}
	}
	for id, i := range host.Interfaces {
		var set compiledSet
		if i.RuleSet != "" {
			var ok bool
			if set, ok = sets[i.RuleSet]; !ok {
				set = compiledSet{in: compile(nil, true), out: compile(nil, true)}
			}
		} else {
			set.open = uint16(bpf.DatapathInterfaceFlagINTERFACE_OPEN_ALL)
		}
		if err := e.addInterface(host, id, i, devices[id], addList(set.in), addList(set.out), set.open); err != nil {
			return nil, err
		}
	}
	for id, ep := range host.Endpoints {
		v := bpf.DatapathEndpoint{Vni: uint32(ep.VNI), Link: uint32(ep.Link), Active: 1}
		copy(v.Name[:], id)
		if ep.Type == vpc.GatewayEndpoint {
			v.Gateway, v.Node = 1, nodeEdge
		}
		e.endpoints[vpc.Num(id)] = v
		if ep.Link != 0 {
			e.links[uint32(ep.Link)] = vpc.Num(id)
		}
	}
	for name, n := range host.Balancers {
		if err := e.addBalancer(name, n, b.balances); err != nil {
			return nil, err
		}
	}
	b.balances = e.maglev
	e.overlay = bpf.DatapathOverlay{Ifindex: uint32(doors.Overlay.Ifindex), Mtu: uint32(doors.Overlay.MTU)}
	for _, p := range host.Probes {
		e.probes[toAddr(p.Via)] = bpf.DatapathProbe{Vni: uint32(p.VNI), Node: toAddr(p.Node), Target: toAddr(p.Target)}
	}
	e.addService(doors.Service)
	e.addUplink(doors.Uplink)
	return e, nil
}

// compileLists compiles the rule sets and ACLs that changed since last time.
func (b *builder) compileLists(host desired.Host) (map[string]compiledSet, map[vpc.ACLID]compiledACL) {
	sets := make(map[string]compiledSet, len(host.RuleSets))
	for name, s := range host.RuleSets {
		if c, ok := b.sets[name]; ok && reflect.DeepEqual(c.source, s) {
			sets[name] = c
			continue
		}
		sets[name] = compiledSet{source: s, in: groupList(s.Ingress), out: groupList(s.Egress), open: openWays(s)}
	}
	acls := make(map[vpc.ACLID]compiledACL, len(host.ACLs))
	for id, a := range host.ACLs {
		if c, ok := b.acls[id]; ok && reflect.DeepEqual(c.source, a) {
			acls[id] = c
			continue
		}
		acls[id] = compiledACL{
			source: a, in: [2]*ruleList{aclList(a.In, false), aclList(a.In, true)},
			out: [2]*ruleList{aclList(a.Out, false), aclList(a.Out, true)},
		}
	}
	b.sets, b.acls = sets, acls
	return sets, acls
}

func (e *entries) addRules(l *ruleList) {
	if _, done := e.rulePeers[l.id]; done {
		return
	}
	e.rulePeers[l.id] = l.peerEntries
	for class, ports := range l.portEntries {
		e.rulePorts[class] = ports
	}
}

// v4Mapped gives, for a route of IPv6 that is so short that it would cover the
// place of IPv4 among 128-bit addresses, the key of all of IPv4 in its table; for
// any other route its own key.
func v4Mapped(k bpf.DatapathRouteKey) bpf.DatapathRouteKey {
	bits := int(k.Prefixlen) - 64
	if bits >= addrBits(v4) || !netip.PrefixFrom(netip.AddrFrom16(fromAddr(k.Addr).As16()), bits).Contains(netip.AddrFrom16(v4.Addr().As16())) {
		return k
	}
	return bpf.DatapathRouteKey{Prefixlen: uint32(64 + addrBits(v4)), Table: k.Table, Addr: toAddr(v4.Addr())}
}

func route(host desired.Host, table vpc.RouteTableID, r desired.Route) (bpf.DatapathRouteKey, bpf.DatapathRoute, error) {
	k := bpf.DatapathRouteKey{
		Prefixlen: uint32(64 + addrBits(r.Prefix)), Table: split(vpc.Num(table)), Addr: toAddr(r.Prefix.Masked().Addr()),
	}
	var v bpf.DatapathRoute
	switch r.Kind {
	case desired.RouteLocal:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_LOCAL)
	case desired.RouteEndpoint:
		v.Kind, v.Id = uint32(bpf.DatapathRouteKindROUTE_ENDPOINT), vpc.Num(r.Endpoint)
	case desired.RouteInterface, desired.RouteNAT:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_BLACKHOLE)
		if i, ok := host.Interfaces[r.Interface]; ok {
			v.Kind, v.Addr = uint32(bpf.DatapathRouteKindROUTE_INTERFACE), toAddr(i.Addr)
			if r.Kind == desired.RouteNAT {
				v.Kind = uint32(bpf.DatapathRouteKindROUTE_NAT)
			}
		}
	case desired.RouteInternet:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_INTERNET)
	case desired.RouteEgress:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_EGRESS)
	case desired.RoutePeering:
		v.Kind, v.Id, v.Vni = uint32(bpf.DatapathRouteKindROUTE_PEERING), vpc.Num(r.Peering), uint32(r.Peer)
	case desired.RouteBlackhole:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_BLACKHOLE)
	default:
		return k, v, fmt.Errorf("route table %s: route %s has unknown kind %q", table, r.Prefix, r.Kind)
	}
	return k, v, nil
}

func (e *entries) addInterface(host desired.Host, id vpc.InterfaceID, i desired.Interface, dev Device, in, out uint64, open uint16) error {
	v := bpf.DatapathInterface{
		Eni: vpc.Num(id), Subnet: vpc.Num(i.Subnet), SgIn: in, SgOut: out, Gateway: routerMAC(i.Subnet), Flags: open,
		IdleTcp: uint32(i.Tracking.TCPEstablished), IdleUdp: uint16(i.Tracking.UDP), IdleUdpStream: uint16(i.Tracking.UDPStream),
	}
	if i.Public.IsValid() {
		v.Public = toAddr(i.Public).W[3]
	}
	switch i.Kind {
	case desired.KindWorkload:
		v.Kind, v.Ifindex = uint8(bpf.DatapathInterfaceKindKIND_WORKLOAD), uint32(dev.Ifindex)
	case desired.KindEndpoint:
		v.Kind, v.Endpoint = uint8(bpf.DatapathInterfaceKindKIND_ENDPOINT), vpc.Num(i.Endpoint)
		if i.Balancer != "" {
			v.Node = vpc.Num(i.Balancer)
		} else if e := host.Endpoints[i.Endpoint]; e.Resolver {
			v.Node = nodeResolver
		} else if e.Service != "" {
			v.Node = nodeEdge
		}
	case desired.KindBalancer:
		v.Kind, v.Node = uint8(bpf.DatapathInterfaceKindKIND_BALANCER), vpc.Num(i.Balancer)
	case desired.KindNAT:
		v.Kind = uint8(bpf.DatapathInterfaceKindKIND_NAT)
	default:
		return fmt.Errorf("interface %s has unknown kind %q", id, i.Kind)
	}
	mac := dev.MAC
	if to, ok := host.Hosts[i.Host]; ok && v.Kind == uint8(bpf.DatapathInterfaceKindKIND_WORKLOAD) && dev.Ifindex == 0 {
		v.Flags |= uint16(bpf.DatapathInterfaceFlagINTERFACE_REMOTE)
		v.Ifindex = toAddr(to).W[3]
		e.places[v.Eni] = bpf.DatapathPublic{Vni: uint32(i.VNI), Addr: toAddr(i.Addrs()[0])}
		if i.MAC == "" { // all that this host may know of it is where it is
			mac = make(net.HardwareAddr, 6)
		}
	}
	if mac == nil {
		var err error
		if mac, err = net.ParseMAC(i.MAC); err != nil {
			return fmt.Errorf("interface %s: %w", id, err)
		}
	}
	if len(mac) != 6 {
		return fmt.Errorf("interface %s: %s is not an Ethernet address", id, mac)
	}
	copy(v.Mac[:], mac)
	if i.SourceCheck {
		v.Flags |= uint16(bpf.DatapathInterfaceFlagINTERFACE_SOURCE_CHECK)
	}
	if dev.Tap {
		v.Flags |= uint16(bpf.DatapathInterfaceFlagINTERFACE_TAP)
	}
	for _, a := range i.Addrs() {
		e.interfaces[bpf.DatapathInterfaceKey{Vni: uint32(i.VNI), Addr: toAddr(a)}] = v
	}
	if i.Kind == desired.KindWorkload && v.Flags&uint16(bpf.DatapathInterfaceFlagINTERFACE_REMOTE) == 0 {
		if i.Public.IsValid() {
			e.publics[toAddr(i.Public)] = bpf.DatapathPublic{Vni: uint32(i.VNI), Addr: toAddr(i.Addr)}
		}
		for _, a := range i.IPv6 {
			e.publics[toAddr(a)] = bpf.DatapathPublic{Vni: uint32(i.VNI), Addr: toAddr(a)}
		}
	}
	if i.Kind == desired.KindWorkload && dev.Ifindex != 0 {
		first := i.Addrs()[0]
		p := bpf.DatapathPort{Self: v, Vni: uint32(i.VNI), Addr: toAddr(first), Addr6: toAddr(first)}
		if len(i.IPv6) > 0 {
			p.Addr6 = toAddr(i.IPv6[0])
		}
		if i.SourceCheck {
			p.Flags = uint32(bpf.DatapathPortFlagPORT_SOURCE_CHECK)
		}
		e.ports[uint32(dev.Ifindex)] = p
	}
	return nil
}

// addBalancer adds a node's listeners and their Maglev tables. old are the tables
// of the last build.
func (e *entries) addBalancer(name string, n desired.Balancer, old map[uint64]map[bpf.DatapathSlotKey]bpf.DatapathBackend) error {
	for _, l := range n.Listeners {
		if l.Port < 1 || l.Port > 65535 || l.Protocol != vpc.TCP && l.Protocol != vpc.UDP {
			return fmt.Errorf("load balancer node %s: protocol %d port %d cannot be listened on", name, l.Protocol, l.Port)
		}
		v := bpf.DatapathListener{
			Vni: uint32(n.VNI), Node: toAddr(n.Addr), Node6: toAddr(n.Addr6), Idle: uint32(l.Idle), Proxy: proxyLayouts[l.ProxyProtocol],
		}
		for flag, set := range map[bpf.DatapathListenerFlag]bool{
			bpf.DatapathListenerFlagLISTENER_PRESERVE_CLIENT: l.PreserveClientIP,
			bpf.DatapathListenerFlagLISTENER_STICKY:          l.Sticky,
			bpf.DatapathListenerFlagLISTENER_SKIP_INGRESS:    n.SkipEndpointIngress,
		} {
			if set {
				v.Flags |= uint32(flag)
			}
		}
		if l.Group != "" {
			v.Group = vpc.Num(name + "/" + string(l.Group))
			for _, t := range l.Cut {
				e.cuts[bpf.DatapathCutKey{Group: v.Group, Target: toAddr(t.Addr), Port: toPort(uint16(t.Port)), Proto: uint8(l.Protocol)}] = 1
			}
		}
		if len(l.Targets) > 0 {
			id := maglevID(l.Targets)
			slots, ok := old[id]
			if !ok {
				slots = map[bpf.DatapathSlotKey]bpf.DatapathBackend{}
				for slot, i := range maglevTable(l.Targets) {
					t := l.Targets[i]
					slots[bpf.DatapathSlotKey{Table: id, Slot: uint32(slot)}] = bpf.DatapathBackend{
						Addr: toAddr(t.Addr), Port: toPort(uint16(t.Port)),
					}
				}
			}
			e.maglev[id] = slots
			v.Table, v.Size = id, uint32(len(slots))
		}
		e.listeners[listenerKey(vpc.Num(name), l.Protocol, l.Port)] = v
	}
	return nil
}

var proxyLayouts = map[desired.ProxyLayout]uint8{
	desired.ProxyAWS:     uint8(bpf.DatapathProxyLayoutPROXY_AWS),
	desired.ProxyAzure:   uint8(bpf.DatapathProxyLayoutPROXY_AZURE),
	desired.ProxyAlibaba: uint8(bpf.DatapathProxyLayoutPROXY_ALIBABA),
}

// addUplink adds the device that leads to the host's own network, if there is one.
func (e *entries) addUplink(dev Device) {
	if dev.Ifindex == 0 || len(dev.MAC) != 6 {
		return
	}
	i := bpf.DatapathInterface{
		Eni: UplinkInterface, Kind: uint8(bpf.DatapathInterfaceKindKIND_UPLINK), Ifindex: uint32(dev.Ifindex),
		Flags: uint16(bpf.DatapathInterfaceFlagINTERFACE_OPEN_ALL), Mac: [6]uint8(dev.MAC), Gateway: serviceGateway,
	}
	if dev.Tap {
		i.Flags |= uint16(bpf.DatapathInterfaceFlagINTERFACE_TAP)
	}
	vni := uint32(vpc.UplinkVNI)
	e.interfaces[bpf.DatapathInterfaceKey{Vni: vni}] = i
	e.ports[uint32(dev.Ifindex)] = bpf.DatapathPort{Self: i, Vni: vni}
}

func listenerKey(node uint64, proto, port int) bpf.DatapathListenerKey {
	return bpf.DatapathListenerKey{Node: node, Proto: uint8(proto), Port: toPort(uint16(port))}
}

// addService adds the host's own service port: the device, and what the edge
// listens on for flows that end there.
func (e *entries) addService(dev Device) {
	edge := toAddr(desired.EdgeAddr)
	vni := uint32(vpc.ServiceVNI)
	if dev.Ifindex != 0 && len(dev.MAC) == 6 {
		i := bpf.DatapathInterface{
			Eni: ServiceInterface, Kind: uint8(bpf.DatapathInterfaceKindKIND_WORKLOAD), Ifindex: uint32(dev.Ifindex),
			Flags: uint16(bpf.DatapathInterfaceFlagINTERFACE_SOURCE_CHECK), Mac: [6]uint8(dev.MAC), Gateway: serviceGateway,
		}
		if dev.Tap {
			i.Flags |= uint16(bpf.DatapathInterfaceFlagINTERFACE_TAP)
		}
		edge6 := toAddr(desired.EdgeAddr6)
		e.interfaces[bpf.DatapathInterfaceKey{Vni: vni, Addr: edge}] = i
		e.interfaces[bpf.DatapathInterfaceKey{Vni: vni, Addr: edge6}] = i
		e.ports[uint32(dev.Ifindex)] = bpf.DatapathPort{Self: i, Vni: vni, Addr: edge, Addr6: edge6, Flags: uint32(bpf.DatapathPortFlagPORT_SOURCE_CHECK)}
	}
	for _, l := range []struct {
		node        uint64
		proto, port int
	}{
		{nodeResolver, vpc.UDP, desired.EdgeDNSPort},
		{nodeResolver, vpc.TCP, desired.EdgeDNSPort},
		{nodeEdge, vpc.TCP, desired.EdgeHTTPPort},
		{nodeEdge, vpc.TCP, desired.EdgeHTTPSPort},
	} {
		e.listeners[listenerKey(l.node, l.proto, l.port)] = bpf.DatapathListener{
			Vni: vni, Node: toAddr(desired.ClientPrefix.Addr()), Target: edge, TargetPort: toPort(uint16(l.port)),
			Flags: uint32(bpf.DatapathListenerFlagLISTENER_DIRECT | bpf.DatapathListenerFlagLISTENER_HASH_SOURCE),
		}
	}
}
