// SPDX-License-Identifier: Apache-2.0

package control

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// attributed is a load balancing object. It knows what an attribute is while
// none was set.
type attributed interface{ AttributeDefault(key string) string }

// AttributeSpec is one attribute of a load balancing object and what a value
// must be.
type AttributeSpec[T attributed] struct {
	Key string
	// Works is whether the value has an effect; a value that does not is kept
	// and shown only.
	Works bool
	// Check says what is wrong with a value, "" if nothing is.
	Check func(o T, value string) string
	// Applies is whether the object has the attribute; nil is always.
	Applies func(T) bool
}

// AttributeTable are the attributes of a kind of object, in the order in which
// they are described.
type AttributeTable[T attributed] struct {
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
	return o.AttributeDefault(key)
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

// BalancerAttributes are the attributes of a network load balancer.
var BalancerAttributes = AttributeTable[*vpc.LoadBalancer]{Noun: "Load balancer", Specs: []AttributeSpec[*vpc.LoadBalancer]{
	{Key: vpc.AttrDeletionProtection, Works: true, Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: vpc.AttrCrossZone, Works: true, Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "access_logs.s3.enabled", Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "access_logs.s3.bucket", Check: atMost[*vpc.LoadBalancer](255)},
	{Key: "access_logs.s3.prefix", Check: atMost[*vpc.LoadBalancer](1024)},
	{Key: "ipv6.deny_all_igw_traffic", Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "zonal_shift.config.enabled", Check: oneOf[*vpc.LoadBalancer]("true", "false")},
	{Key: "dns_record.client_routing_policy",
		Check: oneOf[*vpc.LoadBalancer]("any_availability_zone", "availability_zone_affinity", "partial_availability_zone_affinity")},
	{Key: "secondary_ips.auto_assigned.per_subnet", Check: between[*vpc.LoadBalancer](0, 7)},
}}

// TargetGroupAttributes are the attributes of a network load balancer's target group.
var TargetGroupAttributes = AttributeTable[*vpc.TargetGroup]{Noun: "Target group", Specs: []AttributeSpec[*vpc.TargetGroup]{
	{Key: vpc.AttrDeregistrationDelay, Works: true, Check: between[*vpc.TargetGroup](0, 3600)},
	{Key: vpc.AttrDeregistrationCut, Works: true, Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: vpc.AttrSticky, Works: true, Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: "stickiness.type", Works: true, Check: oneOf[*vpc.TargetGroup]("source_ip")},
	{Key: vpc.AttrCrossZone, Works: true, Check: oneOf[*vpc.TargetGroup]("true", "false", vpc.AttrAsLoadBalancer)},
	{Key: vpc.AttrPreserveClientIP, Works: true, Check: func(g *vpc.TargetGroup, v string) string {
		if v == "false" && g.Protocol != "TCP" {
			return "client IP preservation cannot be disabled for UDP and TCP_UDP"
		}
		return oneOf[*vpc.TargetGroup]("true", "false")(g, v)
	}},
	{Key: vpc.AttrProxyProtocol, Works: true, Check: func(g *vpc.TargetGroup, v string) string {
		if v == "true" && g.Protocol != "TCP" {
			return "the PROXY protocol is supported for TCP only"
		}
		return oneOf[*vpc.TargetGroup]("true", "false")(g, v)
	}},
	{Key: vpc.AttrUnhealthyCut, Works: true, Check: oneOf[*vpc.TargetGroup]("true", "false")},
	{Key: vpc.AttrUnhealthyDraining, Works: true, Check: between[*vpc.TargetGroup](0, 360000)},
	{Key: vpc.AttrFailoverDNSCount, Works: true, Check: offOr[*vpc.TargetGroup](1, DefaultQuotas.TargetsPerLoadBalancer)},
	{Key: vpc.AttrFailoverDNSPercent, Works: true, Check: offOr[*vpc.TargetGroup](1, 100)},
	{Key: vpc.AttrFailoverRoutingCount, Works: true, Check: between[*vpc.TargetGroup](1, DefaultQuotas.TargetsPerLoadBalancer)},
	{Key: vpc.AttrFailoverRoutingPercent, Works: true, Check: offOr[*vpc.TargetGroup](1, 100)},
}}

// checkAttributesTogether refuses changes that made a group's attributes
// exclude one another. A draining interval may stay when cutting is switched
// on, and has no effect then.
func checkAttributesTogether(g *vpc.TargetGroup, changes map[string]string) error {
	if v, set := changes[vpc.AttrUnhealthyDraining]; set && v != "0" && g.Is(vpc.AttrUnhealthyCut) {
		return vpc.Errorf(vpc.Combination, "Attributes", vpc.AttrUnhealthyDraining,
			"Target group attribute '%s' can be specified only if '%s' is false", vpc.AttrUnhealthyDraining, vpc.AttrUnhealthyCut)
	}
	for _, pair := range [][2]string{
		{vpc.AttrFailoverDNSCount, vpc.AttrFailoverRoutingCount}, {vpc.AttrFailoverDNSPercent, vpc.AttrFailoverRoutingPercent},
	} {
		dns, ok := g.Minimum(pair[0])
		routing, ok2 := g.Minimum(pair[1])
		if ok && ok2 && dns < routing {
			return vpc.Errorf(vpc.Combination, "Attributes", pair[0],
				"Target group attribute '%s' must be greater than or equal to '%s'", pair[0], pair[1])
		}
	}
	return nil
}

// ListenerAttributes are the attributes of a network load balancer's listener.
var ListenerAttributes = AttributeTable[*vpc.Listener]{Noun: "Listener", Specs: []AttributeSpec[*vpc.Listener]{
	{Key: vpc.AttrTCPIdle, Works: true, Check: between[*vpc.Listener](60, 6000),
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
