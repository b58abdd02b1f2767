// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"strconv"
	"time"
)

// Attributes of load balancing objects that have an effect, by AWS's names.
const (
	AttrCrossZone              = "load_balancing.cross_zone.enabled"
	AttrDeletionProtection     = "deletion_protection.enabled"
	AttrPreserveClientIP       = "preserve_client_ip.enabled"
	AttrProxyProtocol          = "proxy_protocol_v2.enabled"
	AttrSticky                 = "stickiness.enabled"
	AttrDeregistrationDelay    = "deregistration_delay.timeout_seconds"
	AttrDeregistrationCut      = "deregistration_delay.connection_termination.enabled"
	AttrUnhealthyCut           = "target_health_state.unhealthy.connection_termination.enabled"
	AttrUnhealthyDraining      = "target_health_state.unhealthy.draining_interval_seconds"
	AttrFailoverDNSCount       = "target_group_health.dns_failover.minimum_healthy_targets.count"
	AttrFailoverDNSPercent     = "target_group_health.dns_failover.minimum_healthy_targets.percentage"
	AttrFailoverRoutingCount   = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count"
	AttrFailoverRoutingPercent = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage"
	AttrTCPIdle                = "tcp.idle_timeout.seconds"
)

// Values of attributes.
const (
	AttrOff            = "off"                             // no minimum
	AttrAsLoadBalancer = "use_load_balancer_configuration" // of AttrCrossZone on a target group
	attrTrue           = "true"
	attrFalse          = "false"
)

// udpIdle is how long a UDP flow may be silent.
const udpIdle = 120 * time.Second

// Attribute is an attribute's value: what was set, or AWS's default.
func (l *LoadBalancer) Attribute(key string) string {
	if v, ok := l.Attributes[key]; ok {
		return v
	}
	return l.AttributeDefault(key)
}

// AttributeDefault is an attribute's value while none was set.
func (l *LoadBalancer) AttributeDefault(key string) string {
	switch key {
	case "access_logs.s3.bucket", "access_logs.s3.prefix":
		return ""
	case "ipv6.deny_all_igw_traffic":
		return strconv.FormatBool(l.Scheme == "internal")
	case "dns_record.client_routing_policy":
		return "any_availability_zone"
	case "secondary_ips.auto_assigned.per_subnet":
		return "0"
	}
	return attrFalse
}

// Attribute is an attribute's value: what was set, or AWS's default.
func (g *TargetGroup) Attribute(key string) string {
	if v, ok := g.Attributes[key]; ok {
		return v
	}
	return g.AttributeDefault(key)
}

// AttributeDefault is an attribute's value while none was set.
func (g *TargetGroup) AttributeDefault(key string) string {
	switch key {
	case AttrDeregistrationDelay:
		return "300"
	case AttrDeregistrationCut:
		return strconv.FormatBool(g.Protocol != "TCP")
	case "stickiness.type":
		return "source_ip"
	case AttrCrossZone:
		return AttrAsLoadBalancer
	case AttrPreserveClientIP:
		return strconv.FormatBool(g.TargetType == "instance" || g.Protocol != "TCP")
	case AttrUnhealthyCut:
		return attrTrue
	case AttrUnhealthyDraining:
		return "0"
	case AttrFailoverDNSCount, AttrFailoverRoutingCount:
		return "1"
	case AttrFailoverDNSPercent, AttrFailoverRoutingPercent:
		return AttrOff
	}
	return attrFalse
}

// Is reports whether one of the group's switches is on.
func (g *TargetGroup) Is(key string) bool { return g.Attribute(key) == attrTrue }

// Seconds is one of the group's times.
func (g *TargetGroup) Seconds(key string) time.Duration {
	n, _ := strconv.Atoi(g.Attribute(key)) // checked when it was set
	return time.Duration(n) * time.Second
}

// UnhealthyDraining is how long flows to the group's unhealthy targets go on
// before they are ended. 0 is not at all, or for good: AttrUnhealthyCut says
// which.
func (g *TargetGroup) UnhealthyDraining() time.Duration {
	if g.Is(AttrUnhealthyCut) {
		return 0
	}
	return g.Seconds(AttrUnhealthyDraining)
}

// Minimum is one of the group's minimum counts and percentages of healthy
// targets; false is none.
func (g *TargetGroup) Minimum(key string) (int, bool) {
	n, err := strconv.Atoi(g.Attribute(key))
	return n, err == nil
}

// CrossZone is whether the nodes of a load balancer send to the group's
// targets in other zones: the group's own word, or the load balancer's.
func (g *TargetGroup) CrossZone(l *LoadBalancer) bool {
	v := g.Attribute(AttrCrossZone)
	if v == AttrAsLoadBalancer {
		v = l.Attribute(AttrCrossZone)
	}
	return v == attrTrue
}

// Attribute is an attribute's value: what was set, or AWS's default.
func (l *Listener) Attribute(key string) string {
	if v, ok := l.Attributes[key]; ok {
		return v
	}
	return l.AttributeDefault(key)
}

// AttributeDefault is an attribute's value while none was set.
func (l *Listener) AttributeDefault(key string) string {
	if key == AttrTCPIdle {
		return "350"
	}
	return attrFalse
}

// Idle is how long a flow of a protocol through the listener may be silent.
func (l *Listener) Idle(protocol int) time.Duration {
	if protocol != TCP {
		return udpIdle
	}
	n, _ := strconv.Atoi(l.Attribute(AttrTCPIdle)) // checked when it was set
	return time.Duration(n) * time.Second
}
