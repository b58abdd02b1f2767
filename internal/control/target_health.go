// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Target health states.
const (
	HealthInitial   = "initial"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
	HealthUnused    = "unused"
	HealthDraining  = "draining"
)

// reportedReasons are the reason codes a prober may give.
var reportedReasons = []string{
	"Elb.InitialHealthChecking", "Elb.InternalError", "Target.FailedHealthChecks", "Target.Timeout", "Target.ResponseCodeMismatch",
}

// Bounds of one health report, and of one transaction of them.
const (
	maxHealthText  = 256
	maxHealthBatch = 500
)

// HealthReport is what a prober found of one target.
type HealthReport struct {
	Group   vpc.ARN `json:"group"`
	Target  string  `json:"target"` // as registered: instance id or address
	Port    int     `json:"port"`   // as registered
	Healthy bool    `json:"healthy"`
	// Reason is AWS's reason code; Description is for people. Both are empty when healthy.
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
}

// record is the stored form of a report. A reason we do not know, which only a
// newer prober would send, becomes Target.FailedHealthChecks.
func (r HealthReport) record() *vpc.Health {
	h := &vpc.Health{TargetGroup: r.Group, Target: r.Target, Port: r.Port, Healthy: r.Healthy}
	if !r.Healthy {
		h.Reason, h.Description = r.Reason, strings.ToValidUTF8(r.Description, "?")
		if !slices.Contains(reportedReasons, h.Reason) {
			h.Reason = "Target.FailedHealthChecks"
		}
		if len(h.Description) > maxHealthText {
			h.Description = strings.ToValidUTF8(h.Description[:maxHealthText], "")
		}
	}
	return h
}

// ReportHealth keeps what a prober found. Only changes are written; reports of
// targets that are not registered, or are draining, are passed over.
func (c *Control) ReportHealth(ctx context.Context, reports []HealthReport) error {
	for batch := range slices.Chunk(reports, maxHealthBatch) {
		snap := c.Store.Snapshot()
		if !slices.ContainsFunc(batch, func(r HealthReport) bool { return newHealth(snap, r) != nil }) {
			continue
		}
		_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
			for _, r := range batch {
				if h := newHealth(tx, r); h != nil {
					h.Since = c.Now()
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
func newHealth(v vpc.View, r HealthReport) *vpc.Health {
	g, ok := vpc.Get[vpc.TargetGroup](v, r.Group)
	if !ok || !inUse(v, r.Group) || !slices.ContainsFunc(g.Targets, func(t vpc.Target) bool {
		return t.ID == r.Target && t.Port == r.Port && t.Draining.IsZero()
	}) {
		return nil
	}
	h := r.record()
	if old, ok := vpc.Get[vpc.Health](v, h.Key()); ok && old.Healthy == h.Healthy && old.Reason == h.Reason && old.Description == h.Description {
		return nil
	}
	return h
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
func DescribeTargetHealth(v vpc.View, caller Caller, arn vpc.ARN, targets []TargetInput) ([]TargetHealth, error) {
	g, err := Owned[vpc.TargetGroup](v, caller, arn)
	if err != nil {
		return nil, err
	}
	var out []TargetHealth
	if len(targets) == 0 {
		for _, t := range g.Targets {
			out = append(out, targetHealth(v, g, t))
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
			out = append(out, targetHealth(v, g, g.Targets[i]))
			continue
		}
		out = append(out, TargetHealth{Target: t, CheckPort: checkPort(g, t), State: HealthUnused,
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

func targetHealth(v vpc.View, g *vpc.TargetGroup, t vpc.Target) TargetHealth {
	out := TargetHealth{Target: t, CheckPort: checkPort(g, t)}
	is := func(state, reason, description string) TargetHealth {
		out.State, out.Reason, out.Description = state, reason, description
		return out
	}
	if !t.Draining.IsZero() {
		return is(HealthDraining, "Target.DeregistrationInProgress", "Target deregistration is in progress")
	}
	if !inUse(v, g.ARN) {
		return is(HealthUnused, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer")
	}
	if g.TargetType == "instance" {
		i, ok := vpc.Get[vpc.Instance](v, t.ID)
		if !ok {
			return is(HealthUnused, "Target.InvalidState", "Target is in the terminated state")
		}
		if i.State != vpc.InstanceRunning {
			return is(HealthUnused, "Target.InvalidState", fmt.Sprintf("Target is in the %s state", i.State))
		}
	}
	n, ok := targetPlace(v, g, t)
	switch {
	case ok && n != nil && n.Type != vpc.TypeInterface:
		return is(HealthUnused, "Target.IpUnusable", "Target IP address belongs to an endpoint or a load balancer")
	case !ok || n == nil || n.Attachment == nil:
		// No host has the address, so no prober asks; nothing would answer.
		return is(HealthUnhealthy, "Target.Timeout", "Nothing in the VPC has the target's address")
	case !zoneEnabled(v, g, t, n.Zone):
		return is(HealthUnused, "Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer")
	}
	h, ok := vpc.Get[vpc.Health](v, vpc.HealthKey(g.ARN, t.ID, t.Port))
	switch {
	case !ok:
		return is(HealthInitial, "Elb.RegistrationInProgress", "Target registration is in progress")
	case h.Healthy:
		return is(HealthHealthy, "", "")
	}
	return is(HealthUnhealthy, h.Reason, h.Description)
}

// zoneEnabled reports whether some load balancer of the group has a node that
// sends to targets in the zone.
func zoneEnabled(v vpc.View, g *vpc.TargetGroup, t vpc.Target, zone string) bool {
	for _, arn := range BalancersOf(v, g.ARN) {
		lb, ok := vpc.Get[vpc.LoadBalancer](v, arn)
		if !ok {
			continue
		}
		cross := TargetGroupAttributes.value(g, g.Attributes, AttrCrossZone)
		if cross == "use_load_balancer_configuration" {
			cross = BalancerAttributes.value(lb, lb.Attributes, AttrCrossZone)
		}
		if cross == "true" || t.Zone == "all" || slices.ContainsFunc(lb.Nodes, func(n vpc.BalancerNode) bool { return n.Zone == zone }) {
			return true
		}
	}
	return false
}
