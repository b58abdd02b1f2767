// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"fmt"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// Target health states, by AWS's names.
const (
	HealthInitial           = "initial"
	HealthHealthy           = "healthy"
	HealthUnhealthy         = "unhealthy"
	HealthUnhealthyDraining = "unhealthy.draining"
	HealthDraining          = "draining"
	HealthUnused            = "unused"
)

// TargetHealth is a target's health with AWS's reason code.
type TargetHealth struct {
	State       string
	Reason      string
	Description string
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
		if !ok || g.IPv6 && len(n.IPv6) == 0 {
			return netip.Addr{}, nil, false
		}
		if g.IPv6 {
			return n.IPv6[0], n, true
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

// targetZone is the zone of an address: its interface's, or its subnet's when
// nobody has it.
func targetZone(v vpc.View, g *vpc.TargetGroup, a netip.Addr, n *vpc.NetworkInterface) string {
	if n != nil {
		return n.Zone
	}
	for s := range vpc.By[vpc.Subnet](v, vpc.IndexVPC, g.VPC) {
		if s.CIDR.Contains(a) || s.IPv6.CIDR.Contains(a) {
			return s.Zone
		}
	}
	return ""
}

// HealthAt is a target's health as a load balancer's node in a zone sees it:
// what the node knows without asking the target, and else what its checks say.
// A target that is unused or draining gets no new flows and no checks.
func HealthAt(v vpc.View, lb *vpc.LoadBalancer, g *vpc.TargetGroup, t vpc.Target, zone string) TargetHealth {
	if !t.Draining.IsZero() {
		return TargetHealth{HealthDraining, "Target.DeregistrationInProgress", "Target deregistration is in progress"}
	}
	if g.TargetType == "instance" {
		i, ok := vpc.Get[vpc.Instance](v, t.ID)
		if !ok {
			return TargetHealth{HealthUnused, "Target.InvalidState", "Target is in the terminated state"}
		}
		if i.State != vpc.InstanceRunning {
			return TargetHealth{HealthUnused, "Target.InvalidState", fmt.Sprintf("Target is in the %s state", i.State)}
		}
	}
	a, n, ok := TargetPlace(v, g, t)
	if !ok {
		return unreachable
	}
	if n != nil && n.Type != vpc.TypeInterface {
		return TargetHealth{HealthUnused, "Target.IpUnusable", "Target IP address belongs to an endpoint, a load balancer or a NAT gateway"}
	}
	if t.Zone != "all" && targetZone(v, g, a, n) != zone && !g.CrossZone(lb) {
		return TargetHealth{HealthUnused, "Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer"}
	}
	if n == nil || n.Attachment == nil {
		return unreachable
	}
	h, ok := vpc.Get[vpc.Health](v, vpc.HealthKey(g.ARN, t.ID, t.Port))
	if !ok {
		return registering
	}
	found, ok := h.In(zone)
	switch {
	case !ok:
		return registering
	case found.Healthy:
		return TargetHealth{State: HealthHealthy}
	case g.UnhealthyDraining() > 0 && !found.Drained:
		return TargetHealth{HealthUnhealthyDraining, found.Reason, found.Description}
	}
	return TargetHealth{HealthUnhealthy, found.Reason, found.Description}
}

var (
	// unreachable needs no check: no host has the address, so none could ask
	// and nothing would answer.
	unreachable = TargetHealth{HealthUnhealthy, "Target.Timeout", "Nothing in the VPC has the target's address"}
	registering = TargetHealth{HealthInitial, "Elb.RegistrationInProgress", "Target registration is in progress"}
	checking    = TargetHealth{HealthInitial, "Elb.InitialHealthChecking", "Initial health checks in progress"}
	notInUse    = TargetHealth{HealthUnused, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"}
)

// cutsUnhealthy reports whether flows to the group's targets in the state
// unhealthy are ended: at once, or after the draining interval. With neither
// they go on.
func cutsUnhealthy(g *vpc.TargetGroup) bool {
	return g.Is(vpc.AttrUnhealthyCut) || g.UnhealthyDraining() > 0
}

// HealthOf is a target's health as the API shows it: the worst that a node of
// the group's load balancer sees, of those that may send to it.
func HealthOf(v vpc.View, g *vpc.TargetGroup, t vpc.Target) TargetHealth {
	seen := map[string]TargetHealth{}
	worst := notInUse
	for l := range vpc.By[vpc.Listener](v, vpc.IndexTargetGroup, g.ARN) {
		lb, ok := vpc.Get[vpc.LoadBalancer](v, l.Balancer)
		if !ok {
			continue
		}
		for _, n := range lb.Nodes {
			worst = HealthAt(v, lb, g, t, n.Zone)
			seen[worst.State] = worst
		}
		break // a group has one load balancer
	}
	for _, state := range []string{HealthDraining, HealthUnhealthy, HealthUnhealthyDraining, HealthInitial, HealthHealthy} {
		h, ok := seen[state]
		if !ok {
			continue
		}
		if _, decided := seen[HealthHealthy]; state == HealthInitial && decided {
			return checking
		}
		return h
	}
	return worst
}

// pool is what a load balancer's node in one zone has of a target group.
type pool struct {
	registered int // that it may send to, whatever their health
	healthy    []Target
	unhealthy  []Target
	other      []Target // of unknown health, or unhealthy and draining
}

// pool is poolOf, done once: listeners, names and endpoints all ask for it.
func (b *builder) pool(lb *vpc.LoadBalancer, g *vpc.TargetGroup, zone string) pool {
	key := [2]string{string(g.ARN), zone} // a group has one load balancer
	p, done := b.pools[key]
	if !done {
		if b.pools == nil {
			b.pools = map[[2]string]pool{}
		}
		p = poolOf(b.v, lb, g, zone)
		b.pools[key] = p
	}
	return p
}

func poolOf(v vpc.View, lb *vpc.LoadBalancer, g *vpc.TargetGroup, zone string) pool {
	var p pool
	for _, t := range g.Targets {
		h := HealthAt(v, lb, g, t, zone)
		if h.State == HealthUnused || h.State == HealthDraining {
			continue
		}
		p.registered++
		a, _, ok := TargetPlace(v, g, t)
		if !ok {
			continue
		}
		at := Target{Addr: a, Port: t.Port}
		switch h.State {
		case HealthHealthy:
			p.healthy = append(p.healthy, at)
		case HealthUnhealthy:
			p.unhealthy = append(p.unhealthy, at)
		default:
			p.other = append(p.other, at)
		}
	}
	return p
}

// below reports whether fewer targets are healthy than one of two minimums of
// the group's asks for.
func (p pool) below(g *vpc.TargetGroup, count, percent string) bool {
	if n, ok := g.Minimum(count); ok && len(p.healthy) < n {
		return true
	}
	n, ok := g.Minimum(percent)
	return ok && len(p.healthy)*100 < n*p.registered
}

// failsOpen reports whether the node sends to all its targets, because too few
// are healthy.
func (p pool) failsOpen(g *vpc.TargetGroup) bool {
	return p.below(g, vpc.AttrFailoverRoutingCount, vpc.AttrFailoverRoutingPercent)
}

// serving are the targets that get new flows.
func (p pool) serving(g *vpc.TargetGroup) []Target {
	out := slices.Clone(p.healthy)
	if p.failsOpen(g) {
		out = append(append(out, p.other...), p.unhealthy...)
	}
	slices.SortFunc(out, compareTargets)
	return out
}

// cut are the targets whose flows are ended: unhealthy ones unless the node
// fails open, and those whose deregistration is over. A place that is
// registered again is none of the latter, since its new flows are not to end.
func (p pool) cut(v vpc.View, g *vpc.TargetGroup) []Target {
	var out []Target
	if cutsUnhealthy(g) && !p.failsOpen(g) {
		out = append(out, p.unhealthy...)
	}
	again := map[Target]bool{}
	if len(g.Cut) > 0 {
		for _, t := range g.Targets {
			if a, _, ok := TargetPlace(v, g, t); ok {
				again[Target{Addr: a, Port: t.Port}] = true
			}
		}
	}
	for _, c := range g.Cut {
		if gone := (Target{Addr: c.Addr, Port: c.Port}); !again[gone] {
			out = append(out, gone)
		}
	}
	slices.SortFunc(out, compareTargets)
	return slices.Compact(out)
}

func compareTargets(x, y Target) int {
	if n := x.Addr.Compare(y.Addr); n != 0 {
		return n
	}
	return x.Port - y.Port
}

// zoneHealthy reports whether a load balancer's node in a zone has as many
// healthy targets as every target group asks for. A group without targets asks
// for none: no zone is better off with it than another.
func (b *builder) zoneHealthy(lb *vpc.LoadBalancer, zone string) bool {
	for l := range vpc.By[vpc.Listener](b.v, vpc.IndexBalancer, lb.ARN) {
		g, ok := vpc.Get[vpc.TargetGroup](b.v, l.TargetGroup)
		if !ok || !slices.ContainsFunc(g.Targets, func(t vpc.Target) bool { return t.Draining.IsZero() }) {
			continue
		}
		if b.pool(lb, g, zone).below(g, vpc.AttrFailoverDNSCount, vpc.AttrFailoverDNSPercent) {
			return false
		}
	}
	return true
}

// answeringZones are the zones whose addresses a load balancer's name answers
// with: the healthy ones, or all when none is.
func (b *builder) answeringZones(lb *vpc.LoadBalancer) []string {
	var all, healthy []string
	for _, n := range lb.Nodes {
		all = append(all, n.Zone)
		if b.zoneHealthy(lb, n.Zone) {
			healthy = append(healthy, n.Zone)
		}
	}
	if len(healthy) > 0 {
		return healthy
	}
	return all
}
