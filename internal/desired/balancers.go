// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"postern.dev/postern/internal/vpc"
)

// balancer adds every node of a load balancer with its listeners and targets.
func (b *builder) balancer(lb *vpc.LoadBalancer) {
	v, ok := vpc.Get[vpc.VPC](b.v, lb.VPC)
	if !ok {
		return
	}
	b.used[lb.ARN] = lb
	for _, n := range lb.Nodes {
		name := NodeName(lb.ARN, n.Zone)
		if _, done := b.h.Balancers[name]; done {
			continue
		}
		out := Balancer{
			VNI: v.VNI, Interface: n.Interface, Addr: n.Addr, Addr6: n.Addr6, Zone: n.Zone,
			SkipEndpointIngress: len(lb.Groups) > 0 && lb.EnforceOnPrivateLink == "off",
		}
		for l := range vpc.By[vpc.Listener](b.v, vpc.IndexBalancer, lb.ARN) {
			if g, ok := vpc.Get[vpc.TargetGroup](b.v, l.TargetGroup); ok {
				out.Listeners = append(out.Listeners, b.listeners(lb, l, g, n.Zone)...)
			}
		}
		b.h.Balancers[name] = out
	}
}

// listeners are what a listener is on the node in a zone, one per protocol.
func (b *builder) listeners(lb *vpc.LoadBalancer, l *vpc.Listener, g *vpc.TargetGroup, zone string) []Listener {
	p := b.pool(lb, g, zone)
	targets, cut := p.serving(g), p.cut(b.v, g)
	var out []Listener
	for _, proto := range protocols(l.Protocol) {
		o := Listener{
			Protocol: proto, Port: l.Port, Targets: targets, PreserveClientIP: g.Is(vpc.AttrPreserveClientIP),
			Group: g.ARN, Cut: cut, Sticky: g.Is(vpc.AttrSticky),
		}
		if proto == vpc.TCP {
			if _, set := l.Attributes[vpc.AttrTCPIdle]; set {
				o.Idle = int(l.Idle(proto) / time.Second)
			}
			o.ProxyProtocol = b.proxyLayout(g)
		}
		out = append(out, o)
	}
	return out
}

// proxyLayout is the layout of the PROXY protocol header that a group's
// targets get, "" for no header.
func (b *builder) proxyLayout(g *vpc.TargetGroup) ProxyLayout {
	if !g.Is(vpc.AttrProxyProtocol) {
		return ""
	}
	if r, ok := vpc.Get[vpc.Region](b.v, vpc.RegionKey); ok && r.ProxyLayout != "" {
		return ProxyLayout(r.ProxyLayout)
	}
	return ProxyAWS
}

func protocols(listener string) []int {
	switch listener {
	case "TCP":
		return []int{vpc.TCP}
	case "UDP":
		return []int{vpc.UDP}
	case "TCP_UDP":
		return []int{vpc.TCP, vpc.UDP}
	}
	return nil
}

// ProbeName is the key of a target's probe from the node in a zone.
func ProbeName(group vpc.ARN, target string, port int, zone string) string {
	return vpc.HealthKey(group, target, port) + "@" + zone
}

// probes adds the health checks this host runs: those of the targets on it,
// from every node that may send to them.
func (b *builder) probes() {
	taken := map[netip.Addr]bool{}
	for _, n := range sortedInterfaces(b.h) {
		if n.Kind != KindWorkload || n.Host != b.host {
			continue
		}
		eni, ok := vpc.Get[vpc.NetworkInterface](b.v, n.ID)
		if !ok {
			continue
		}
		var ids []string
		for _, a := range append(eni.Addrs(), eni.IPv6...) {
			ids = append(ids, a.String())
		}
		if eni.Attachment != nil && eni.Attachment.Instance != "" {
			ids = append(ids, string(eni.Attachment.Instance))
		}
		for _, id := range ids {
			for g := range vpc.By[vpc.TargetGroup](b.v, "target", id) {
				if g.VPC != eni.VPC {
					continue
				}
				for _, t := range g.Targets {
					if t.ID == id {
						b.probe(taken, eni, n.VNI, g, t)
					}
				}
			}
		}
	}
}

// probe adds the checks of one target, unless no node may send to it.
func (b *builder) probe(taken map[netip.Addr]bool, eni *vpc.NetworkInterface, vni vpc.VNI, g *vpc.TargetGroup, t vpc.Target) {
	addr, place, ok := TargetPlace(b.v, g, t)
	if !ok || place == nil || place.ID != eni.ID {
		return
	}
	lb, listenerPort, ok := b.user(g)
	if !ok {
		return
	}
	p := Probe{
		Group: g.ARN, TargetID: t.ID, TargetPort: t.Port, VNI: vni, Target: addr, Port: t.Port, Check: g.Check,
		ListenerPort: listenerPort, ProxyProtocol: g.Is(vpc.AttrProxyProtocol),
	}
	if n, err := strconv.Atoi(g.Check.Port); err == nil {
		p.Port = n
	}
	for _, n := range lb.Nodes {
		p.Zone, p.Node = n.Zone, n.Addr
		if addr.Is6() {
			p.Node = n.Addr6
		}
		if s := HealthAt(b.v, lb, g, t, n.Zone).State; s == HealthUnused || s == HealthDraining || !p.Node.IsValid() {
			continue
		}
		name := ProbeName(g.ARN, t.ID, t.Port, n.Zone)
		if _, done := b.h.Probes[name]; done {
			continue
		}
		p.Via = viaAddr(taken, name, addr.Is6())
		b.h.Probes[name] = p
	}
}

// user is the load balancer that forwards to a group, with the lowest port it
// does so from; there is at most one.
func (b *builder) user(g *vpc.TargetGroup) (*vpc.LoadBalancer, int, bool) {
	var lb *vpc.LoadBalancer
	port := 0
	for l := range vpc.By[vpc.Listener](b.v, vpc.IndexTargetGroup, g.ARN) {
		if o, ok := vpc.Get[vpc.LoadBalancer](b.v, l.Balancer); ok && (port == 0 || l.Port < port) {
			lb, port = o, l.Port
		}
	}
	return lb, port, lb != nil
}

// viaAddr picks the probe's address in ProbePrefix, or ProbePrefix6, by its
// name; names that fall together take the next one.
func viaAddr(taken map[netip.Addr]bool, name string, ipv6 bool) netip.Addr {
	prefix := ProbePrefix
	if ipv6 {
		prefix = ProbePrefix6
	}
	size := uint64(1) << min(32, prefix.Addr().BitLen()-prefix.Bits())
	for n := uint64(uint32(vpc.Num(name))); ; n++ {
		b := prefix.Addr().AsSlice()
		low := b[len(b)-4:]
		binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+uint32(n%size))
		if addr, _ := netip.AddrFromSlice(b); !taken[addr] {
			taken[addr] = true
			return addr
		}
	}
}

func sortedInterfaces(h Host) []Interface {
	var out []Interface
	for _, n := range h.Interfaces {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, c Interface) int {
		if a.ID < c.ID {
			return -1
		}
		return 1
	})
	return out
}
