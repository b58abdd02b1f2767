// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// HealthUnavailable is the health of a target whose host cannot check it now;
// the other states are desired's.
const HealthUnavailable = "unavailable"

// reportedReasons are the reason codes a prober may give.
var reportedReasons = []string{
	"Elb.InitialHealthChecking", "Elb.InternalError", "Target.FailedHealthChecks", "Target.Timeout", "Target.ResponseCodeMismatch",
}

// Bounds of one health report, and of one transaction of them.
const (
	maxHealthText  = 256
	maxHealthBatch = 500
)

// HealthReport is what a prober found of one target, as the load balancer's
// node in one zone.
type HealthReport struct {
	// Host says so. It can only speak of targets that are on it; "" is not asked.
	Host    vpc.HostID `json:"host,omitempty"`
	Group   vpc.ARN    `json:"group"`
	Target  string     `json:"target"` // as registered: instance id or address
	Port    int        `json:"port"`   // as registered
	Zone    string     `json:"zone"`
	Healthy bool       `json:"healthy"`
	// Reason is AWS's reason code; Description is for people. Both are empty when healthy.
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
}

// result is what a report says, in stored form. A reason we do not know, which
// only a newer prober would send, becomes Target.FailedHealthChecks.
func (r HealthReport) result() vpc.NodeHealth {
	n := vpc.NodeHealth{Zone: r.Zone, Healthy: r.Healthy}
	if !r.Healthy {
		n.Reason, n.Description = r.Reason, strings.ToValidUTF8(r.Description, "?")
		if !slices.Contains(reportedReasons, n.Reason) {
			n.Reason = "Target.FailedHealthChecks"
		}
		if len(n.Description) > maxHealthText {
			n.Description = strings.ToValidUTF8(n.Description[:maxHealthText], "")
		}
	}
	return n
}

// ReportHealth keeps what probers found. Only changes are written; reports of
// targets that are not registered, are draining or are on another host than the
// one that reports, and those of nodes that the group's load balancer does not
// have are passed over.
func (c *Control) ReportHealth(ctx context.Context, reports []HealthReport) error {
	for batch := range slices.Chunk(reports, maxHealthBatch) {
		snap := c.Store.Snapshot()
		if !slices.ContainsFunc(batch, func(r HealthReport) bool { return c.newHealth(snap, r) != nil }) {
			continue
		}
		_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
			for _, r := range batch {
				if h := c.newHealth(tx, r); h != nil {
					tx.Put(h)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write target health: %w", err)
		}
	}
	return nil
}

// newHealth is the record to write for a report, nil if there is nothing to write.
func (c *Control) newHealth(v vpc.View, r HealthReport) *vpc.Health {
	g, ok := vpc.Get[vpc.TargetGroup](v, r.Group)
	if !ok || !hasNode(v, r.Group, r.Zone) || !slices.ContainsFunc(g.Targets, func(t vpc.Target) bool {
		return t.ID == r.Target && t.Port == r.Port && t.Draining.IsZero()
	}) {
		return nil
	}
	if r.Host != "" && !targetOn(v, g, r) {
		return nil
	}
	h := &vpc.Health{TargetGroup: r.Group, Target: r.Target, Port: r.Port}
	if old, ok := vpc.Get[vpc.Health](v, h.Key()); ok {
		h = vpc.Edit(old)
	}
	now := r.result()
	now.Since = c.Now()
	i, there := slices.BinarySearchFunc(h.Nodes, r.Zone, func(n vpc.NodeHealth, zone string) int { return strings.Compare(n.Zone, zone) })
	if !there {
		h.Nodes = slices.Insert(h.Nodes, i, now)
		return h
	}
	old := h.Nodes[i]
	if old.Healthy == now.Healthy { // unhealthy for another reason is unhealthy for as long
		now.Since, now.Drained = old.Since, old.Drained
	}
	if old == now {
		return nil
	}
	h.Nodes[i] = now
	return h
}

// targetOn reports whether the target of a report is on the host that made it.
func targetOn(v vpc.View, g *vpc.TargetGroup, r HealthReport) bool {
	_, n, ok := desired.TargetPlace(v, g, vpc.Target{ID: r.Target, Port: r.Port})
	return ok && n != nil && n.Attachment != nil && n.Attachment.Host == r.Host
}

// hasNode reports whether the load balancer that forwards to a group has a
// node in a zone.
func hasNode(v vpc.View, group vpc.ARN, zone string) bool {
	for _, arn := range BalancersOf(v, group) {
		lb, ok := vpc.Get[vpc.LoadBalancer](v, arn)
		if ok && slices.ContainsFunc(lb.Nodes, func(n vpc.BalancerNode) bool { return n.Zone == zone }) {
			return true
		}
	}
	return false
}

// forgetNode drops what a load balancer's node in a zone found.
func forgetNode(tx *store.Tx, lb vpc.ARN, zone string) {
	seen := map[vpc.ARN]bool{}
	for l := range vpc.By[vpc.Listener](tx, vpc.IndexBalancer, lb) {
		if seen[l.TargetGroup] {
			continue
		}
		seen[l.TargetGroup] = true
		for h := range vpc.By[vpc.Health](tx, vpc.IndexTargetGroup, l.TargetGroup) {
			if _, there := h.In(zone); !there {
				continue
			}
			h = vpc.Edit(h)
			h.Nodes = slices.DeleteFunc(h.Nodes, func(n vpc.NodeHealth) bool { return n.Zone == zone })
			tx.Put(h)
		}
	}
}

// TargetHealth is one target with its health as the API shows it.
type TargetHealth struct {
	Target      vpc.Target
	CheckPort   string // the port that is checked
	State       string
	Reason      string // AWS's reason code, "" when healthy
	Description string
}

// DescribeTargetHealth answers the health of the given targets of a group, or
// of all in registration order when none is given.
func (c *Control) DescribeTargetHealth(caller Caller, arn vpc.ARN, targets []TargetInput) ([]TargetHealth, error) {
	v := c.View()
	g, err := Owned[vpc.TargetGroup](v, caller, arn)
	if err != nil {
		return nil, err
	}
	var out []TargetHealth
	if len(targets) == 0 {
		for _, t := range g.Targets {
			out = append(out, c.targetHealth(v, g, t))
		}
		return out, nil
	}
	for _, in := range targets {
		t := vpc.Target{ID: in.ID, Port: in.Port}
		if a, err := netip.ParseAddr(t.ID); err == nil {
			t.ID = a.String()
		}
		if t.Port == 0 {
			t.Port = g.Port
		}
		if i := slices.IndexFunc(g.Targets, func(o vpc.Target) bool { return o.ID == t.ID && o.Port == t.Port }); i >= 0 {
			out = append(out, c.targetHealth(v, g, g.Targets[i]))
			continue
		}
		out = append(out, TargetHealth{Target: t, CheckPort: checkPort(g, t), State: desired.HealthUnused,
			Reason: "Target.NotRegistered", Description: "Target is not registered to the target group"})
	}
	return out, nil
}

func checkPort(g *vpc.TargetGroup, t vpc.Target) string {
	if g.Check.Port == TrafficPort {
		return fmt.Sprint(t.Port)
	}
	return g.Check.Port
}

// targetHealth is a registered target's health: what its load balancer's nodes
// see, unless it should be checked and its host is known not to be there.
func (c *Control) targetHealth(v vpc.View, g *vpc.TargetGroup, t vpc.Target) TargetHealth {
	h := desired.HealthOf(v, g, t)
	out := TargetHealth{Target: t, CheckPort: checkPort(g, t), State: h.State, Reason: h.Reason, Description: h.Description}
	if h.State == desired.HealthUnused || h.State == desired.HealthDraining {
		return out
	}
	if _, n, ok := desired.TargetPlace(v, g, t); ok && n != nil && n.Attachment != nil {
		status, _ := c.Hosts.Status()
		if s, known := status[n.Attachment.Host]; known && !s.Live {
			out.State, out.Reason = HealthUnavailable, "Elb.InternalError"
			out.Description = "The host of the target is not connected, so its health is not known"
		}
	}
	return out
}
