// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"postern.dev/postern/internal/vpc"
)

// balancer adds every node of a load balancer with its listeners and targets.
func (b *builder) balancer(lb *vpc.LoadBalancer) {
	v, ok := vpc.Get[vpc.VPC](b.v, lb.VPC)
	if !ok {
		return
	}
	for _, n := range lb.Nodes {
		name := NodeName(lb.ARN, n.Zone)
		if _, done := b.h.Balancers[name]; done {
			continue
		}
		out := Balancer{VNI: v.VNI, Interface: n.Interface, Addr: n.Addr, Zone: n.Zone}
		for l := range vpc.By[vpc.Listener](b.v, vpc.IndexBalancer, lb.ARN) {
			g, ok := vpc.Get[vpc.TargetGroup](b.v, l.TargetGroup)
			if !ok {
				continue
			}
			targets := b.inService(lb, g, n.Zone)
			for _, proto := range protocols(l.Protocol) {
				out.Listeners = append(out.Listeners, Listener{
					Protocol: proto, Port: l.Port, Targets: targets, PreserveClientIP: PreservesClientIP(g),
				})
			}
		}
		b.h.Balancers[name] = out
	}
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

// PreservesClientIP is the group's preserve_client_ip.enabled, with AWS's
// default: on for instance targets and for UDP.
func PreservesClientIP(g *vpc.TargetGroup) bool {
	if s, ok := g.Attributes["preserve_client_ip.enabled"]; ok {
		return s == "true"
	}
	return g.TargetType == "instance" || g.Protocol != "TCP"
}

// crossZone is whether a node sends to targets of other zones.
func crossZone(lb *vpc.LoadBalancer, g *vpc.TargetGroup) bool {
	switch g.Attributes["load_balancing.cross_zone.enabled"] {
	case "true":
		return true
	case "false":
		return false
	}
	return lb.Attributes["load_balancing.cross_zone.enabled"] == "true"
}

// TargetPlace finds where a target is: its address, and its interface if it
// has one in the group's VPC.
func TargetPlace(v vpc.View, g *vpc.TargetGroup, t vpc.Target) (netip.Addr, *vpc.NetworkInterface, bool) {
	if g.TargetType == "instance" {
		i, ok := vpc.Get[vpc.Instance](v, t.ID)
		if !ok {
			return netip.Addr{}, nil, false
		}
		n, ok := vpc.Get[vpc.NetworkInterface](v, i.Primary)
		if !ok {
			return netip.Addr{}, nil, false
		}
		return n.Addr, n, true
	}
	a, err := netip.ParseAddr(t.ID)
	if err != nil {
		return netip.Addr{}, nil, false
	}
	n, _ := vpc.First[vpc.NetworkInterface](v, vpc.IndexAddr, string(g.VPC)+"/"+a.String())
	return a, n, true
}

// inScope are the targets a node in zone may send to, before health.
func inScope(v vpc.View, lb *vpc.LoadBalancer, g *vpc.TargetGroup, zone string) []vpc.Target {
	var out []vpc.Target
	for _, t := range g.Targets {
		if !t.Draining.IsZero() {
			continue
		}
		_, n, ok := TargetPlace(v, g, t)
		if !ok || n != nil && n.Type != vpc.TypeInterface {
			continue // gone, or the address of an endpoint or a balancer
		}
		if crossZone(lb, g) || t.Zone == "all" || n == nil || n.Zone == zone {
			out = append(out, t)
		}
	}
	return out
}

// inService are the targets in scope that get traffic: the healthy ones, or
// all of them when none is healthy (fail-open).
func (b *builder) inService(lb *vpc.LoadBalancer, g *vpc.TargetGroup, zone string) []Target {
	all := inScope(b.v, lb, g, zone)
	healthy := slices.DeleteFunc(slices.Clone(all), func(t vpc.Target) bool { return !b.healthy(g, t) })
	if len(healthy) > 0 {
		all = healthy
	}
	var out []Target
	for _, t := range all {
		a, _, _ := TargetPlace(b.v, g, t)
		out = append(out, Target{Addr: a, Port: t.Port})
	}
	slices.SortFunc(out, func(x, y Target) int {
		if n := x.Addr.Compare(y.Addr); n != 0 {
			return n
		}
		return x.Port - y.Port
	})
	return out
}

func (b *builder) healthy(g *vpc.TargetGroup, t vpc.Target) bool {
	h, ok := vpc.Get[vpc.Health](b.v, vpc.HealthKey(g.ARN, t.ID, t.Port))
	return ok && h.Healthy
}

// zoneHealthy reports whether a balancer's node in a zone has a healthy target
// for every listener.
func (b *builder) zoneHealthy(lb *vpc.LoadBalancer, zone string) bool {
	for l := range vpc.By[vpc.Listener](b.v, vpc.IndexBalancer, lb.ARN) {
		g, ok := vpc.Get[vpc.TargetGroup](b.v, l.TargetGroup)
		if !ok || !slices.ContainsFunc(inScope(b.v, lb, g, zone), func(t vpc.Target) bool { return b.healthy(g, t) }) {
			return false
		}
	}
	return true
}

// ProbeName is the key of a target's probe.
func ProbeName(group vpc.ARN, target string, port int) string {
	return vpc.HealthKey(group, target, port)
}

// probes adds the health checks this host runs: those of the targets on it.
// A target is checked from the node in its own zone, or from the first node
// that may send to it.
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
		ids := []string{n.Addr.String()}
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

func (b *builder) probe(taken map[netip.Addr]bool, eni *vpc.NetworkInterface, vni vpc.VNI, g *vpc.TargetGroup, t vpc.Target) {
	node, ok := b.probingNode(eni, g, t)
	addr, place, ok2 := TargetPlace(b.v, g, t)
	if !ok || !ok2 || place == nil || place.ID != eni.ID {
		return
	}
	port := t.Port
	if n, err := strconv.Atoi(g.Check.Port); err == nil {
		port = n
	}
	name := ProbeName(g.ARN, t.ID, t.Port)
	b.h.Probes[name] = Probe{
		Group: g.ARN, TargetID: t.ID, TargetPort: t.Port, VNI: vni, Node: node, Target: addr, Port: port,
		Check: g.Check, Via: viaAddr(taken, name),
	}
}

// probingNode is the address checks of a target come from; there is none if
// no load balancer uses the group.
func (b *builder) probingNode(eni *vpc.NetworkInterface, g *vpc.TargetGroup, t vpc.Target) (netip.Addr, bool) {
	var other netip.Addr
	for l := range vpc.By[vpc.Listener](b.v, vpc.IndexTargetGroup, g.ARN) {
		lb, ok := vpc.Get[vpc.LoadBalancer](b.v, l.Balancer)
		if !ok {
			continue
		}
		for _, n := range lb.Nodes {
			if n.Zone == eni.Zone {
				return n.Addr, true
			}
			if !other.IsValid() && (t.Zone == "all" || crossZone(lb, g)) {
				other = n.Addr
			}
		}
	}
	return other, other.IsValid()
}

// viaAddr picks the probe's address in ProbePrefix by its name; names that
// fall together take the next one.
func viaAddr(taken map[netip.Addr]bool, name string) netip.Addr {
	base := ProbePrefix.Addr().As4()
	size := uint32(1) << (32 - ProbePrefix.Bits())
	n := uint32(vpc.Num(name))
	for {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(base[:])+n%size)
		if addr := netip.AddrFrom4(a); !taken[addr] {
			taken[addr] = true
			return addr
		}
		n++
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
