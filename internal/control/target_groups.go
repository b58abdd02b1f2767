// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// TrafficPort is the health check port that stands for the target's own.
const TrafficPort = "traffic-port"

// CheckInput is a health check as a call gives it; nil fields were not given.
type CheckInput struct {
	Protocol, Port, Path, Matcher         *string
	Interval, Timeout, Healthy, Unhealthy *int
}

// apply changes a check to what the input says and refuses what AWS refuses.
func (in CheckInput) apply(h vpc.HealthCheck) (vpc.HealthCheck, error) {
	set(&h.Protocol, in.Protocol)
	set(&h.Port, in.Port)
	set(&h.Interval, in.Interval)
	set(&h.Healthy, in.Healthy)
	set(&h.Unhealthy, in.Unhealthy)
	switch h.Protocol {
	case "HTTP", "HTTPS":
		if h.Path == "" {
			h.Path, h.Matcher = "/", "200-399"
		}
		if in.Path != nil && *in.Path != "" {
			h.Path = *in.Path
		}
		if in.Matcher != nil && *in.Matcher != "" {
			h.Matcher = *in.Matcher
		}
	case "TCP":
		if in.Path != nil && *in.Path != "" || in.Matcher != nil && *in.Matcher != "" {
			return h, badCheck("Health check path and matcher are not supported for health checks with protocol TCP")
		}
		h.Path, h.Matcher = "", ""
	default:
		return h, badCheck("Health check protocol '%.16s' must be one of TCP, HTTP, HTTPS", h.Protocol)
	}
	switch {
	case in.Timeout != nil:
		h.Timeout = *in.Timeout
	case h.Timeout == 0 && h.Protocol == "HTTP":
		h.Timeout = min(6, h.Interval)
	case h.Timeout == 0:
		h.Timeout = min(10, h.Interval)
	}
	if h.Port != TrafficPort {
		if n, err := strconv.Atoi(h.Port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != h.Port {
			return h, badCheck("Health check port '%.16s' must be '%s' or a number from 1 to 65535", h.Port, TrafficPort)
		}
	}
	for _, r := range []struct {
		what         string
		n, low, high int
	}{
		{"interval", h.Interval, 5, 300}, {"timeout", h.Timeout, 2, 120},
		{"healthy threshold count", h.Healthy, 2, 10}, {"unhealthy threshold count", h.Unhealthy, 2, 10},
	} {
		if r.n < r.low || r.n > r.high {
			return h, badCheck("Health check %s '%d' must be from %d to %d", r.what, r.n, r.low, r.high)
		}
	}
	if h.Timeout > h.Interval {
		return h, badCheck("Health check timeout '%d' must not be greater than the interval '%d'", h.Timeout, h.Interval)
	}
	if h.Path != "" && !validPath(h.Path) {
		return h, badCheck("Health check path '%.64s' must begin with '/' and have at most 1024 printable characters without spaces", h.Path)
	}
	if h.Matcher != "" && !validMatcher(h.Matcher) {
		return h, badCheck("Health check matcher '%.64s' must be codes from 200 to 599, such as '200', '200,202' or '200-399'", h.Matcher)
	}
	return h, nil
}

func badCheck(format string, args ...any) error {
	return vpc.Errorf(vpc.Invalid, "HealthCheck", "", format, args...)
}

func set[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

func validPath(p string) bool {
	ok := strings.HasPrefix(p, "/") && len(p) <= 1024
	for _, r := range p {
		ok = ok && r > ' ' && r < 0x7f
	}
	return ok
}

func validMatcher(m string) bool {
	if len(m) > 128 {
		return false
	}
	for part := range strings.SplitSeq(m, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		a, err := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err != nil || err2 != nil || len(low) != 3 || len(high) != 3 || a < 200 || b > 599 || a > b {
			return false
		}
	}
	return true
}

// CreateTargetGroupInput are the parameters of CreateTargetGroup.
type CreateTargetGroupInput struct {
	Name       string
	Protocol   string // TCP, UDP or TCP_UDP
	Port       int
	VPC        vpc.VPCID
	TargetType string // instance (also "") or ip
	IPv6       bool   // the IP address type ipv6, which needs targets of type ip; else ipv4
	Check      CheckInput
	Tags       vpc.Tags
}

// CreateTargetGroup makes a target group. A second call with the same name and
// settings answers the first one's.
func (c *Control) CreateTargetGroup(ctx context.Context, caller Caller, in CreateTargetGroupInput) (vpc.ARN, error) {
	if err := checkELBName("target group", in.Name); err != nil {
		return "", err
	}
	if in.Port < 1 || in.Port > 65535 {
		return "", vpc.Errorf(vpc.Invalid, "Port", "", "Port '%d' must be from 1 to 65535", in.Port)
	}
	if in.TargetType == "" {
		in.TargetType = "instance"
	}
	if in.IPv6 && in.TargetType != "ip" {
		return "", vpc.Errorf(vpc.Combination, "IpAddressType", "", "The IP address type 'ipv6' is supported for targets of type 'ip' only, not '%s'", in.TargetType)
	}
	check, err := in.Check.apply(vpc.HealthCheck{Protocol: "TCP", Port: TrafficPort, Interval: 30, Healthy: 5, Unhealthy: 2})
	if err != nil {
		return "", err
	}
	var arn vpc.ARN
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, in.VPC)
		if err != nil {
			return err
		}
		if same, ok := vpc.First[vpc.TargetGroup](tx, vpc.IndexName, string(caller.Account)+"/"+in.Name); ok {
			if same.Protocol != in.Protocol || same.Port != in.Port || same.VPC != in.VPC || same.TargetType != in.TargetType || same.IPv6 != in.IPv6 || same.Check != check {
				return vpc.Errorf(vpc.Duplicate, string(vpc.KindTargetGroup), in.Name,
					"A target group with the same name '%s' exists, but with different settings", in.Name)
			}
			arn = same.ARN
			return nil
		}
		if count[vpc.TargetGroup](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.TargetGroups {
			return vpc.Errorf(vpc.Limit, string(vpc.KindTargetGroup), "", "The maximum number of target groups has been reached: %d", c.Quotas.TargetGroups)
		}
		suffix, err := c.newSuffix()
		if err != nil {
			return err
		}
		arn = vpc.ARN(RegionOf(tx).ARN(elbService, caller.Account, "targetgroup/"+in.Name+"/"+suffix))
		tx.Put(&vpc.TargetGroup{
			ARN: arn, Owner: caller.Account, Name: in.Name, Protocol: in.Protocol, Port: in.Port,
			VPC: v.ID, TargetType: in.TargetType, IPv6: in.IPv6, Check: check, Tags: in.Tags,
		})
		return nil
	})
	return arn, err
}

// editTargetGroup runs fn on a private copy of the caller's target group and
// stores it.
func (c *Control) editTargetGroup(ctx context.Context, caller Caller, arn vpc.ARN, fn func(*store.Tx, *vpc.TargetGroup) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := Owned[vpc.TargetGroup](tx, caller, arn)
		if err != nil {
			return err
		}
		g = vpc.Edit(g)
		if err := fn(tx, g); err != nil {
			return err
		}
		tx.Put(g)
		return nil
	})
}

// ModifyTargetGroup changes the health check.
func (c *Control) ModifyTargetGroup(ctx context.Context, caller Caller, arn vpc.ARN, in CheckInput) error {
	return c.editTargetGroup(ctx, caller, arn, func(_ *store.Tx, g *vpc.TargetGroup) error {
		var err error
		g.Check, err = in.apply(g.Check)
		return err
	})
}

// SetTargetGroupAttributes sets attributes; keys that are not given stay.
func (c *Control) SetTargetGroupAttributes(ctx context.Context, caller Caller, arn vpc.ARN, changes map[string]string) error {
	return c.editTargetGroup(ctx, caller, arn, func(_ *store.Tx, g *vpc.TargetGroup) error {
		var err error
		if g.Attributes, err = TargetGroupAttributes.set(g, g.Attributes, changes); err != nil {
			return err
		}
		return checkAttributesTogether(g, changes)
	})
}

// DeleteTargetGroup removes a target group no listener uses. Deleting one that
// does not exist succeeds, as in AWS.
func (c *Control) DeleteTargetGroup(ctx context.Context, caller Caller, arn vpc.ARN) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := Owned[vpc.TargetGroup](tx, caller, arn)
		if err != nil {
			return nil
		}
		if inUse(tx, arn) {
			return vpc.Errorf(vpc.InUse, string(vpc.KindTargetGroup), string(arn), "Target group '%s' is currently in use by a listener or a rule", arn)
		}
		forgetHealth(tx, arn, func(*vpc.Health) bool { return true })
		tx.Delete(g)
		return nil
	})
}

// inUse reports whether a listener forwards to the group.
func inUse(v vpc.View, arn vpc.ARN) bool {
	_, ok := vpc.First[vpc.Listener](v, vpc.IndexTargetGroup, arn)
	return ok
}

// BalancersOf lists the load balancers whose listeners forward to a group, in
// order; there is at most one.
func BalancersOf(v vpc.View, group vpc.ARN) []vpc.ARN {
	var out []vpc.ARN
	for l := range vpc.By[vpc.Listener](v, vpc.IndexTargetGroup, group) {
		out = append(out, l.Balancer)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TargetInput names a target in a call. Port 0 is the group's.
type TargetInput struct {
	ID   string // an instance id or an address, after the group's target type
	Port int
	Zone string // "", "all" or a zone's name
}

// RegisterTargets adds targets to a group, or changes the zone of those that
// are there. A target that was draining is as a new one.
func (c *Control) RegisterTargets(ctx context.Context, caller Caller, arn vpc.ARN, in []TargetInput) error {
	return c.editTargetGroup(ctx, caller, arn, func(tx *store.Tx, g *vpc.TargetGroup) error {
		v, err := Owned[vpc.VPC](tx, caller, g.VPC)
		if err != nil {
			return err
		}
		for _, t := range in {
			n := vpc.Target{ID: t.ID, Port: t.Port, Zone: t.Zone}
			if n.Port == 0 {
				n.Port = g.Port
			}
			if n.Port < 1 || n.Port > 65535 {
				return badTarget("Port '%d' of target '%.64s' must be from 1 to 65535", t.Port, t.ID)
			}
			if n.ID, err = checkTarget(tx, caller, v, g, t); err != nil {
				return err
			}
			i := slices.IndexFunc(g.Targets, func(o vpc.Target) bool { return o.ID == n.ID && o.Port == n.Port })
			switch {
			case i < 0:
				g.Targets = append(g.Targets, n)
			case !g.Targets[i].Draining.IsZero():
				forgetHealth(tx, arn, func(h *vpc.Health) bool { return h.Target == n.ID && h.Port == n.Port })
				g.Targets[i] = n
			default:
				g.Targets[i] = n
			}
		}
		if len(g.Targets) > c.Quotas.TargetsPerLoadBalancer {
			return c.tooManyTargets()
		}
		tx.Put(g)
		for _, lb := range BalancersOf(tx, arn) {
			if balancerTargets(tx, lb) > c.Quotas.TargetsPerLoadBalancer {
				return c.tooManyTargets()
			}
		}
		return nil
	})
}

func (c *Control) tooManyTargets() error {
	return vpc.Errorf(vpc.Limit, "target", "", "The maximum number of targets of a load balancer has been reached: %d", c.Quotas.TargetsPerLoadBalancer)
}

// balancerTargets counts the targets of the groups a load balancer forwards to.
func balancerTargets(v vpc.View, lb vpc.ARN) int {
	n := 0
	seen := map[vpc.ARN]bool{}
	for l := range vpc.By[vpc.Listener](v, vpc.IndexBalancer, lb) {
		if g, ok := vpc.Get[vpc.TargetGroup](v, l.TargetGroup); ok && !seen[g.ARN] {
			seen[g.ARN] = true
			n += len(g.Targets)
		}
	}
	return n
}

func badTarget(format string, args ...any) error {
	return vpc.Errorf(vpc.Invalid, "target", "", format, args...)
}

// checkTarget refuses what cannot be a target of the group and answers its id
// in canonical form.
func checkTarget(tx *store.Tx, caller Caller, v *vpc.VPC, g *vpc.TargetGroup, t TargetInput) (string, error) {
	if g.TargetType == "instance" {
		i, err := Owned[vpc.Instance](tx, caller, t.ID)
		if err != nil {
			return "", badTarget("The following targets are not valid instances: '%.64s'", t.ID)
		}
		if i.VPC != g.VPC {
			return "", badTarget("The following targets are not in the target group VPC '%s': '%s'", g.VPC, t.ID)
		}
		if i.State != vpc.InstanceRunning {
			return "", badTarget("The following targets are not in a running state and cannot be registered: '%s'", t.ID)
		}
		if t.Zone != "" {
			return "", vpc.Errorf(vpc.Invalid, "AvailabilityZone", t.Zone, "An Availability Zone cannot be specified for targets of type 'instance'")
		}
		return t.ID, nil
	}
	a, err := netip.ParseAddr(t.ID)
	family := map[bool]string{false: "IPv4", true: "IPv6"}[g.IPv6]
	if err != nil || a.Is6() != g.IPv6 || a.Is4In6() || a.Zone() != "" {
		return "", badTarget("The IP address '%.64s' is not a valid %s address", t.ID, family)
	}
	if !v.Contains(a) {
		// AWS takes private addresses outside the VPC with zone "all"; here
		// nothing leads out of a VPC, so no packet could reach them.
		return "", badTarget("The IP address '%s' is not within the target group's VPC '%s'; there is no route out of it", a, v.ID)
	}
	n, _ := vpc.First[vpc.NetworkInterface](tx, vpc.IndexAddr, string(v.ID)+"/"+a.String())
	if n != nil && n.Type != vpc.TypeInterface {
		return "", badTarget("The IP address '%s' belongs to a network interface of type '%s', which cannot be a target", a, n.Type)
	}
	if t.Zone != "" && t.Zone != "all" && (RegionOf(tx).ZoneID(t.Zone) == "" || n != nil && n.Zone != t.Zone) {
		return "", badTarget("The Availability Zone '%.64s' is not that of the IP address '%s'", t.Zone, a)
	}
	return a.String(), nil
}

// DeregisterTargets takes targets out of service. A target of a group in use
// drains for the deregistration delay and is then removed; others go at once.
// Targets that are not registered are passed over.
func (c *Control) DeregisterTargets(ctx context.Context, caller Caller, arn vpc.ARN, in []TargetInput) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		g, err := Owned[vpc.TargetGroup](tx, caller, arn)
		if err != nil {
			return err
		}
		gone := map[vpc.Target]bool{}
		for _, t := range in {
			if a, err := netip.ParseAddr(t.ID); err == nil {
				t.ID = a.String()
			}
			if t.Port == 0 {
				t.Port = g.Port
			}
			gone[vpc.Target{ID: t.ID, Port: t.Port}] = true
		}
		c.deregister(tx, arn, func(t vpc.Target) bool { return gone[vpc.Target{ID: t.ID, Port: t.Port}] })
		return nil
	})
}

// deregister is DeregisterTargets for the targets that match.
func (c *Control) deregister(tx *store.Tx, arn vpc.ARN, match func(vpc.Target) bool) {
	g, ok := vpc.Get[vpc.TargetGroup](tx, arn)
	if !ok {
		return
	}
	g = vpc.Edit(g)
	drain := inUse(tx, arn) && g.Seconds(vpc.AttrDeregistrationDelay) > 0
	for i, t := range g.Targets {
		if match(t) && t.Draining.IsZero() {
			g.Targets[i].Draining = c.Now()
			g.Targets[i].Addr, _, _ = desired.TargetPlace(tx, g, t)
		}
	}
	if !drain {
		c.removeTargets(tx, g, match)
	}
	tx.Put(g)
}

// removeTargets takes targets that drain no longer out of a private copy of
// their group, with their health. If the group says so, their flows are ended.
func (c *Control) removeTargets(tx *store.Tx, g *vpc.TargetGroup, match func(vpc.Target) bool) {
	idle := longestIdle(tx, g.ARN)
	g.Targets = slices.DeleteFunc(g.Targets, func(t vpc.Target) bool {
		if !match(t) {
			return false
		}
		forgetHealth(tx, g.ARN, func(h *vpc.Health) bool { return h.Target == t.ID && h.Port == t.Port })
		if idle > 0 && g.Is(vpc.AttrDeregistrationCut) && t.Addr.IsValid() {
			g.Cut = slices.DeleteFunc(g.Cut, func(o vpc.CutTarget) bool { return o.Addr == t.Addr && o.Port == t.Port })
			g.Cut = append(g.Cut, vpc.CutTarget{Addr: t.Addr, Port: t.Port, Until: c.Now().Add(idle)})
		}
		return true
	})
	// No more than there can be targets; the oldest are the likeliest to have
	// no flow left.
	g.Cut = slices.Clone(g.Cut[max(0, len(g.Cut)-c.Quotas.TargetsPerLoadBalancer):])
}

// longestIdle is how long a flow to one of a group's targets may be silent at
// most; 0 if no listener forwards to the group.
func longestIdle(v vpc.View, arn vpc.ARN) time.Duration {
	var longest time.Duration
	for l := range vpc.By[vpc.Listener](v, vpc.IndexTargetGroup, arn) {
		longest = max(longest, l.Idle(vpc.TCP), l.Idle(vpc.UDP))
	}
	return longest
}

// forgetHealth removes health records of a group.
func forgetHealth(tx *store.Tx, arn vpc.ARN, match func(*vpc.Health) bool) {
	for h := range vpc.By[vpc.Health](tx, vpc.IndexTargetGroup, arn) {
		if match(h) {
			tx.Delete(h)
		}
	}
}

// stepTargets does what is due in target groups: it removes targets whose
// draining is over, marks unhealthy ones whose draining interval is over, and
// forgets targets to cut whose flows would all have been idle too long.
func (c *Control) stepTargets(ctx context.Context, snap *store.Snapshot, next *wait) {
	for g := range vpc.All[vpc.TargetGroup](snap) {
		due, left := c.dueInGroup(snap, g)
		if left > 0 {
			next.sooner(left)
		}
		if !due {
			continue
		}
		_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
			if g, ok := vpc.Get[vpc.TargetGroup](tx, g.ARN); ok {
				c.advanceGroup(tx, vpc.Edit(g))
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("target group not advanced, trying again", "target group", g.ARN, "error", err)
			next.sooner(retryTime)
		}
	}
}

// timesOfGroup calls f with how long each thing of a group's that ends by
// itself still has; not above 0 is due.
func (c *Control) timesOfGroup(v vpc.View, g *vpc.TargetGroup, f func(left time.Duration)) {
	for _, t := range g.Targets {
		if !t.Draining.IsZero() {
			f(c.drainLeft(v, g, t))
		}
	}
	for _, t := range g.Cut {
		f(t.Until.Sub(c.Now()))
	}
	interval := g.UnhealthyDraining()
	if interval == 0 {
		return
	}
	for h := range vpc.By[vpc.Health](v, vpc.IndexTargetGroup, g.ARN) {
		for _, n := range h.Nodes {
			if !n.Healthy && !n.Drained {
				f(n.Since.Add(interval).Sub(c.Now()))
			}
		}
	}
}

// dueInGroup reports whether something of a group's is due, and how long it is
// until the next thing is; 0 is never.
func (c *Control) dueInGroup(v vpc.View, g *vpc.TargetGroup) (due bool, left time.Duration) {
	c.timesOfGroup(v, g, func(d time.Duration) {
		switch {
		case d <= 0:
			due = true
		case left == 0 || d < left:
			left = d
		}
	})
	return due, left
}

// advanceGroup does what is due in a private copy of a group and stores it.
func (c *Control) advanceGroup(tx *store.Tx, g *vpc.TargetGroup) {
	c.removeTargets(tx, g, func(t vpc.Target) bool { return !t.Draining.IsZero() && c.drainLeft(tx, g, t) <= 0 })
	g.Cut = slices.DeleteFunc(g.Cut, func(t vpc.CutTarget) bool { return !t.Until.After(c.Now()) })
	if interval := g.UnhealthyDraining(); interval > 0 {
		for h := range vpc.By[vpc.Health](tx, vpc.IndexTargetGroup, g.ARN) {
			h = vpc.Edit(h)
			changed := false
			for i, n := range h.Nodes {
				if !n.Healthy && !n.Drained && !n.Since.Add(interval).After(c.Now()) {
					h.Nodes[i].Drained, changed = true, true
				}
			}
			if changed {
				tx.Put(h)
			}
		}
	}
	tx.Put(g)
}

// drainLeft is how long a draining target still has. With no listener there is
// nothing to wait for.
func (c *Control) drainLeft(v vpc.View, g *vpc.TargetGroup, t vpc.Target) time.Duration {
	if !inUse(v, g.ARN) {
		return 0
	}
	return t.Draining.Add(g.Seconds(vpc.AttrDeregistrationDelay)).Sub(c.Now())
}
