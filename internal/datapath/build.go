// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"

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
}

// builder turns a desired.Host into entries. It keeps what was compiled for
// the last one: most lists do not change from one to the next.
type builder struct {
	sets     map[string]compiledSet
	acls     map[vpc.ACLID]compiledACL
	balances map[uint64][]int // Maglev tables by maglevID
}

type compiledSet struct {
	source  desired.RuleSet
	in, out *ruleList
}

type compiledACL struct {
	source  desired.ACL
	in, out *ruleList // nil allows all
}

// build gives the entries for a host. It fails on values that no desired.Host
// should have (a MAC or port that is none), naming them.
func (b *builder) build(host desired.Host, devices map[vpc.InterfaceID]Device, service Device) (*entries, error) {
	e := newEntries()
	sets, acls := b.compileLists(host)
	balances := map[uint64][]int{}

	addList := func(l *ruleList) uint64 {
		if l == nil {
			return 0
		}
		e.addRules(l)
		return l.id
	}
	for id, s := range host.Subnets {
		n := bpf.DatapathSubnet{Table: vpc.Num(s.RouteTable)}
		if a, ok := acls[s.ACL]; ok {
			n.AclIn, n.AclOut = addList(a.in), addList(a.out)
		} else { // an ACL that is not known lets nothing pass
			none := addList(compile(nil))
			n.AclIn, n.AclOut = none, none
		}
		e.subnets[vpc.Num(id)] = n
		e.interfaces[bpf.DatapathInterfaceKey{Vni: uint32(s.VNI), Addr: toAddr(s.Router)}] = bpf.DatapathInterface{
			Kind: uint8(bpf.DatapathInterfaceKindKIND_ROUTER), Subnet: vpc.Num(id), Mac: routerMAC(id), Gateway: routerMAC(id),
		}
	}
	for vni, v := range host.VPCs {
		if !v.DNS {
			continue
		}
		for _, a := range []netip.Addr{v.Resolver, desired.LinkLocalResolver} {
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
		}
	}
	for id, i := range host.Interfaces {
		var set compiledSet
		if i.RuleSet != "" {
			var ok bool
			if set, ok = sets[i.RuleSet]; !ok {
				set = compiledSet{in: compile(nil), out: compile(nil)}
			}
		}
		if err := e.addInterface(host, id, i, devices[id], addList(set.in), addList(set.out)); err != nil {
			return nil, err
		}
	}
	for id, ep := range host.Endpoints {
		v := bpf.DatapathEndpoint{Vni: uint32(ep.VNI), Link: uint32(ep.Link), Active: 1}
		if ep.Type == vpc.GatewayEndpoint {
			v.Gateway, v.Node = 1, nodeEdge
		}
		e.endpoints[vpc.Num(id)] = v
	}
	for name, n := range host.Balancers {
		if err := e.addBalancer(name, n, b.balances, balances); err != nil {
			return nil, err
		}
	}
	b.balances = balances
	for _, p := range host.Probes {
		e.probes[toAddr(p.Via)] = bpf.DatapathProbe{Vni: uint32(p.VNI), Node: toAddr(p.Node), Target: toAddr(p.Target)}
	}
	e.addService(service)
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
		sets[name] = compiledSet{source: s, in: groupList(s.Ingress), out: groupList(s.Egress)}
	}
	acls := make(map[vpc.ACLID]compiledACL, len(host.ACLs))
	for id, a := range host.ACLs {
		if c, ok := b.acls[id]; ok && reflect.DeepEqual(c.source, a) {
			acls[id] = c
			continue
		}
		acls[id] = compiledACL{source: a, in: aclList(a.In), out: aclList(a.Out)}
	}
	b.sets, b.acls = sets, acls
	return sets, acls
}

func (e *entries) addRules(l *ruleList) {
	for p, class := range l.peers {
		e.rulePeers[bpf.DatapathRulePeerKey{
			Prefixlen: uint32(64 + addrBits(p)), Set: split(l.id), Addr: toAddr(p.Addr()),
		}] = class
	}
	for class, vs := range l.classes {
		for _, v := range vs {
			k := bpf.DatapathRulePortKey{Prefixlen: 64, Class: split(class)}
			if v.proto != anyProto {
				k.Prefixlen, k.Proto, k.Port = 80+uint32(v.bits), uint8(v.proto), toPort(v.port)
			}
			if v.allow {
				e.rulePorts[k] = 1
			} else {
				e.rulePorts[k] = 0
			}
		}
	}
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
		v.Kind, v.Endpoint = uint32(bpf.DatapathRouteKindROUTE_ENDPOINT), vpc.Num(r.Endpoint)
	case desired.RouteInterface:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_BLACKHOLE)
		if i, ok := host.Interfaces[r.Interface]; ok {
			v.Kind, v.Addr = uint32(bpf.DatapathRouteKindROUTE_INTERFACE), toAddr(i.Addr)
		}
	case desired.RouteInternet, desired.RouteEgress, desired.RouteNAT, desired.RoutePeering:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_UPLINK)
	case desired.RouteBlackhole:
		v.Kind = uint32(bpf.DatapathRouteKindROUTE_BLACKHOLE)
	default:
		return k, v, fmt.Errorf("route table %s: route %s has unknown kind %q", table, r.Prefix, r.Kind)
	}
	return k, v, nil
}

func (e *entries) addInterface(host desired.Host, id vpc.InterfaceID, i desired.Interface, dev Device, in, out uint64) error {
	v := bpf.DatapathInterface{
		Eni: vpc.Num(id), Subnet: vpc.Num(i.Subnet), SgIn: in, SgOut: out, Gateway: routerMAC(i.Subnet),
	}
	switch i.Kind {
	case desired.KindWorkload:
		v.Kind, v.Ifindex = uint8(bpf.DatapathInterfaceKindKIND_WORKLOAD), uint32(dev.Ifindex)
	case desired.KindEndpoint:
		v.Kind, v.Endpoint = uint8(bpf.DatapathInterfaceKindKIND_ENDPOINT), vpc.Num(i.Endpoint)
		if i.Balancer != "" {
			v.Node = vpc.Num(i.Balancer)
		} else if host.Endpoints[i.Endpoint].Service != "" {
			v.Node = nodeEdge
		}
	case desired.KindBalancer:
		v.Kind, v.Node = uint8(bpf.DatapathInterfaceKindKIND_BALANCER), vpc.Num(i.Balancer)
	default:
		return fmt.Errorf("interface %s has unknown kind %q", id, i.Kind)
	}
	mac := dev.MAC
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
	e.interfaces[bpf.DatapathInterfaceKey{Vni: uint32(i.VNI), Addr: toAddr(i.Addr)}] = v
	for _, a := range i.Secondary {
		e.interfaces[bpf.DatapathInterfaceKey{Vni: uint32(i.VNI), Addr: toAddr(a)}] = v
	}
	if i.Kind == desired.KindWorkload && dev.Ifindex != 0 {
		p := bpf.DatapathPort{Self: v, Vni: uint32(i.VNI), Addr: toAddr(i.Addr)}
		if i.SourceCheck {
			p.Flags = uint32(bpf.DatapathPortFlagPORT_SOURCE_CHECK)
		}
		e.ports[uint32(dev.Ifindex)] = p
	}
	return nil
}

// addBalancer adds a node's listeners and their Maglev tables. old and fresh
// are the tables of the last and of this build.
func (e *entries) addBalancer(name string, n desired.Balancer, old, fresh map[uint64][]int) error {
	for _, l := range n.Listeners {
		if l.Port < 1 || l.Port > 65535 || l.Protocol != vpc.TCP && l.Protocol != vpc.UDP {
			return fmt.Errorf("load balancer node %s: protocol %d port %d cannot be listened on", name, l.Protocol, l.Port)
		}
		v := bpf.DatapathListener{Vni: uint32(n.VNI), Node: toAddr(n.Addr)}
		if l.PreserveClientIP {
			v.Flags |= uint32(bpf.DatapathListenerFlagLISTENER_PRESERVE_CLIENT)
		}
		if len(l.Targets) > 0 {
			id := maglevID(l.Targets)
			slots, ok := old[id]
			if !ok {
				slots = maglevTable(l.Targets)
			}
			v.Table, v.Size = id, uint32(len(slots))
			if _, done := fresh[id]; !done {
				fresh[id] = slots
				for slot, i := range slots {
					t := l.Targets[i]
					e.maglev[bpf.DatapathSlotKey{Table: id, Slot: uint32(slot)}] = bpf.DatapathBackend{
						Addr: toAddr(t.Addr), Port: toPort(uint16(t.Port)),
					}
				}
			}
		}
		e.listeners[listenerKey(vpc.Num(name), l.Protocol, l.Port)] = v
	}
	return nil
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
		e.interfaces[bpf.DatapathInterfaceKey{Vni: vni, Addr: edge}] = i
		e.ports[uint32(dev.Ifindex)] = bpf.DatapathPort{Self: i, Vni: vni, Addr: edge, Flags: uint32(bpf.DatapathPortFlagPORT_SOURCE_CHECK)}
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
