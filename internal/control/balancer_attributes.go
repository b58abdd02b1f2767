// SPDX-License-Identifier: Apache-2.0

package control

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// Attributes that have an effect here.
const (
	AttrCrossZone           = "load_balancing.cross_zone.enabled"
	AttrDeletionProtection  = "deletion_protection.enabled"
	AttrPreserveClientIP    = "preserve_client_ip.enabled"
	AttrDeregistrationDelay = "deregistration_delay.timeout_seconds"
)

// AttributeSpec is one attribute of a load balancing object: its default and
// what a value must be.
type AttributeSpec[T any] struct {
	Key string
	// Works is whether the value has an effect; a value that does not is kept
	// and shown only.
	Works bool
	// Default is the value while none was set.
	Default func(T) string
	// Check says what is wrong with a value, "" if nothing is.
	Check func(o T, value string) string
	// Applies is whether the object has the attribute; nil is always.
	Applies func(T) bool
}

// AttributeTable are the attributes of a kind of object, in the order in which
// they are described.
type AttributeTable[T any] struct {
	// Noun names the kind in error messages, as AWS's do.
	Noun  string
	Specs []AttributeSpec[T]
}

// Attribute is an attribute's value.
type Attribute struct{ Key, Value string }

// Describe lists every attribute an object has with its value now.
func (t AttributeTable[T]) Describe(o T, set map[string]string) []Attribute {
	var out []Attribute
	for _, s := range t.Specs {
		if s.Applies == nil || s.Applies(o) {
			out = append(out, Attribute{s.Key, t.value(o, set, s.Key)})
		}
	}
	return out
}

// value is an attribute's value now.
func (t AttributeTable[T]) value(o T, set map[string]string, key string) string {
	if v, ok := set[key]; ok {
		return v
	}
	for _, s := range t.Specs {
		if s.Key == key {
			return s.Default(o)
		}
	}
	return ""
}

// set answers old with the changes made, or refuses an unknown key or a wrong value.
func (t AttributeTable[T]) set(o T, old, changes map[string]string) (map[string]string, error) {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		i := slices.IndexFunc(t.Specs, func(s AttributeSpec[T]) bool { return s.Key == key })
		if i < 0 {
			// Clients drop the key and try again when they read this.
			return nil, vpc.Errorf(vpc.Invalid, "Attributes", key, "%s attribute key '%.128s' is not recognized", t.Noun, key)
		}
		s := t.Specs[i]
		if s.Applies != nil && !s.Applies(o) {
			return nil, vpc.Errorf(vpc.Combination, "Attributes", key, "%s attribute key '%s' is not supported for this protocol", t.Noun, key)
		}
		if wrong := s.Check(o, changes[key]); wrong != "" {
			return nil, vpc.Errorf(vpc.Invalid, "Attributes", key, "%s attribute '%s' cannot be '%.64s': %s", t.Noun, key, changes[key], wrong)
		}
		out[key] = changes[key]
	}
	return out, nil
}

func always[T any](v string) func(T) string { return func(T) string { return v } }

func oneOf[T any](values ...string) func(T, string) string {
	return func(_ T, v string) string {
		if slices.Contains(values, v) {
			return ""
		}
		return "it must be one of " + strings.Join(values, ", ")
	}
}

func between[T any](low, high int) func(T, string) string {
	return func(_ T, v string) string {
		if n, err := strconv.Atoi(v); err == nil && n >= low && n <= high && strconv.Itoa(n) == v {
			return ""
		}
		return "it must be a whole number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high)
	}
}

// offOr is "off" or a whole number in a range.
func offOr[T any](low, high int) func(T, string) string {
	return func(o T, v string) string {
		if v == "off" {
			return ""
		}
		if wrong := between[T](low, high)(o, v); wrong != "" {
			return wrong + ", or off"
		}
		return ""
	}
}

func atMost[T any](n int) func(T, string) string {
	return func(_ T, v string) string {
		if len(v) <= n {
			return ""
		}
		return "it must have at most " + strconv.Itoa(n) + " characters"
	}
}

func boolText(b bool) string { return strconv.FormatBool(b) }

// BalancerAttributes are the attributes of a network load balancer.
var BalancerAttributes = AttributeTable[*vpc.LoadBalancer]{Noun: "Load balancer", Specs: []AttributeSpec[*vpc.LoadBalancer]{
	{Key: AttrDeletionProtection, Works: true, Default: always[*vpc.LoadBalancer]("false"), Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: AttrCrossZone, Works: true, Default: always[*vpc.LoadBalancer]("false"), Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "access_logs.s3.enabled", Default: always[*vpc.LoadBalancer]("false"), Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "access_logs.s3.bucket", Default: always[*vpc.LoadBalancer](""), Check: atMost[*vpc.LoadBalancer](255)},
	{Key: "access_logs.s3.prefix", Default: always[*vpc.LoadBalancer](""), Check: atMost[*vpc.LoadBalancer](1024)},
	{Key: "ipv6.deny_all_igw_traffic", Default: func(lb *vpc.LoadBalancer) string { return boolText(lb.Scheme == "internal") }, Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "zonal_shift.config.enabled", Default: always[*vpc.LoadBalancer]("false"), Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "dns_record.client_routing_policy", Default: always[*vpc.LoadBalancer]("any_availability_zone"),
		Check: oneOf[*vpc.LoadBalancer]("any_availability_zone", "availability_zone_affinity", "partial_availability_zone_affinity")},
	{Key: "secondary_ips.auto_assigned.per_subnet", Default: always[*vpc.LoadBalancer]("0"), Check: between[*vpc.LoadBalancer](0, 7)},
}}

// TargetGroupAttributes are the attributes of a network load balancer's target group.
var TargetGroupAttributes = AttributeTable[*vpc.TargetGroup]{Noun: "Target group", Specs: []AttributeSpec[*vpc.TargetGroup]{
	{Key: AttrDeregistrationDelay, Works: true, Default: always[*vpc.TargetGroup]("300"), Check: between[*vpc.TargetGroup](0, 3600)},
	{Key: "deregistration_delay.connection_termination.enabled", Default: func(g *vpc.TargetGroup) string { return boolText(g.Protocol != "TCP") }, Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: "stickiness.enabled", Default: always[*vpc.TargetGroup]("false"), Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: "stickiness.type", Default: always[*vpc.TargetGroup]("source_ip"), Check: oneOf[*vpc.TargetGroup]("source_ip")},
	{Key: AttrCrossZone, Works: true, Default: always[*vpc.TargetGroup]("use_load_balancer_configuration"),
		Check: oneOf[*vpc.TargetGroup]("true", "false", "use_load_balancer_configuration")},
	{Key: AttrPreserveClientIP, Works: true, Default: func(g *vpc.TargetGroup) string { return boolText(g.TargetType == "instance" || g.Protocol != "TCP") },
		Check: func(g *vpc.TargetGroup, v string) string {
			if v == "false" && g.Protocol != "TCP" {
				return "client IP preservation cannot be disabled for UDP and TCP_UDP"
			}
			return oneOf[*vpc.TargetGroup]("true", "false")(g, v)
		}},
	{Key: "proxy_protocol_v2.enabled", Default: always[*vpc.TargetGroup]("false"), Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: "target_health_state.unhealthy.connection_termination.enabled", Default: always[*vpc.TargetGroup]("true"), Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: "target_health_state.unhealthy.draining_interval_seconds", Default: always[*vpc.TargetGroup]("0"), Check: between[*vpc.TargetGroup](0, 360000)},
	{Key: "target_group_health.dns_failover.minimum_healthy_targets.count", Default: always[*vpc.TargetGroup]("1"), Check: offOr[*vpc.TargetGroup](1, DefaultQuotas.TargetsPerLoadBalancer)},
	{Key: "target_group_health.dns_failover.minimum_healthy_targets.percentage", Default: always[*vpc.TargetGroup]("off"), Check: offOr[*vpc.TargetGroup](1, 100)},
	{Key: "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", Default: always[*vpc.TargetGroup]("1"), Check: between[*vpc.TargetGroup](1, DefaultQuotas.TargetsPerLoadBalancer)},
	{Key: "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", Default: always[*vpc.TargetGroup]("off"), Check: offOr[*vpc.TargetGroup](1, 100)},
}}

// ListenerAttributes are the attributes of a network load balancer's listener.
var ListenerAttributes = AttributeTable[*vpc.Listener]{Noun: "Listener", Specs: []AttributeSpec[*vpc.Listener]{
	{Key: "tcp.idle_timeout.seconds", Default: always[*vpc.Listener]("350"), Check: between[*vpc.Listener](60, 6000),
		Applies: func(l *vpc.Listener) bool { return l.Protocol != "UDP" }},
}}

// AttributeSupport is one row of the documented table of attributes.
type AttributeSupport struct {
	Object string // "load balancer", "target group" or "listener"
	Key    string
	Works  bool // false: kept and shown only
}

// AttributeSupports lists every attribute of load balancing objects and
// whether its value has an effect.
func AttributeSupports() []AttributeSupport {
	var out []AttributeSupport
	for _, s := range BalancerAttributes.Specs {
		out = append(out, AttributeSupport{"load balancer", s.Key, s.Works})
	}
	for _, s := range TargetGroupAttributes.Specs {
		out = append(out, AttributeSupport{"target group", s.Key, s.Works})
	}
	for _, s := range ListenerAttributes.Specs {
		out = append(out, AttributeSupport{"listener", s.Key, s.Works})
	}
	return out
}
