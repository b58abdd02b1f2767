// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"strconv"
	"time"
)

// Kinds of load balancing objects.
const (
	KindBalancer    Kind = "load-balancer"
	KindTargetGroup Kind = "target-group"
	KindListener    Kind = "listener"
	KindHealth      Kind = "target-health"
)

// BalancerNode is a load balancer's interface in one zone.
type BalancerNode struct {
	Zone      string      `json:"zone"`
	Subnet    SubnetID    `json:"subnet"`
	Interface InterfaceID `json:"interface"`
	Addr      netip.Addr  `json:"addr"`
	Addr6     netip.Addr  `json:"addr6,omitzero"` // of a dualstack load balancer
}

// LoadBalancer is a network load balancer (NLB).
type LoadBalancer struct {
	ARN    ARN            `json:"arn"`
	Owner  AccountID      `json:"owner"`
	Name   string         `json:"name"`
	Suffix string         `json:"suffix"` // the 16 hex digits at the ARN's end
	VPC    VPCID          `json:"vpc"`
	Scheme string         `json:"scheme"` // internal or internet-facing (stored only)
	Nodes  []BalancerNode `json:"nodes"`
	// DualStack is the IpAddressType dualstack; else it is ipv4.
	DualStack bool      `json:"dualStack,omitempty"`
	Groups    []GroupID `json:"groups,omitempty"`
	Created   time.Time `json:"created"`
	// Active is false until every live host carries the nodes.
	Active bool `json:"active"`
	// Attributes holds what was set by ModifyLoadBalancerAttributes; absent
	// keys have AWS's default.
	Attributes map[string]string `json:"attributes,omitempty"`
	// EnforceOnPrivateLink is the EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic
	// setting, "on" by default and meaningful only with groups.
	EnforceOnPrivateLink string `json:"enforceOnPrivateLink,omitempty"`
	Tags                 Tags   `json:"tags,omitempty"`
}

// IndexDNSLabel finds load balancers by the first label of their DNS name.
const IndexDNSLabel = "dns-label"

// DNSLabel is the first label of its DNS name.
func (l *LoadBalancer) DNSLabel() string { return CanonicalName(l.Name + "-" + l.Suffix) }

// IndexTargetGroup finds listeners and health records by target group ARN.
const IndexTargetGroup = "target-group"

func (*LoadBalancer) Kind() Kind    { return KindBalancer }
func (l *LoadBalancer) Key() string { return string(l.ARN) }
func (l *LoadBalancer) Index(add func(index, value string)) {
	add(IndexOwner, string(l.Owner))
	add(IndexVPC, string(l.VPC))
	add(IndexName, string(l.Owner)+"/"+l.Name)
	add(IndexDNSLabel, l.DNSLabel())
	for _, g := range l.Groups {
		add(IndexGroup, string(g))
	}
}
func (l *LoadBalancer) Refs(add func(Kind, string)) {
	add(KindVPC, string(l.VPC))
	for _, g := range l.Groups {
		add(KindGroup, string(g))
	}
	for _, n := range l.Nodes {
		add(KindSubnet, string(n.Subnet))
	}
}
func (l *LoadBalancer) Claims(add func(string)) {
	add("lb-name/" + string(l.Owner) + "/" + l.Name)
}

// OwnerID is the account it belongs to.
func (l *LoadBalancer) OwnerID() AccountID { return l.Owner }

// AddressType is the load balancer's IpAddressType.
func (l *LoadBalancer) AddressType() string {
	if l.DualStack {
		return DualStack
	}
	return IPv4Only
}

// Target is one registration in a target group. Port is never 0: the group's
// port is filled in when none is given.
type Target struct {
	// ID is an instance id or an address, after the group's target type.
	ID   string `json:"id"`
	Port int    `json:"port"`
	// Zone is set for targets outside the VPC ("all") and stored for others.
	Zone string `json:"zone,omitempty"`
	// Draining is when the target was deregistered; zero if it is not. Addr is
	// the address it had then: an instance may be gone before its flows are.
	Draining time.Time  `json:"draining,omitzero"`
	Addr     netip.Addr `json:"addr,omitzero"`
}

// CutTarget is where a target was whose flows are ended because it was
// deregistered. It is kept until the last of them would have been idle too long.
type CutTarget struct {
	Addr  netip.Addr `json:"addr"`
	Port  int        `json:"port"`
	Until time.Time  `json:"until"`
}

// HealthCheck is a target group's check. Durations are whole seconds.
type HealthCheck struct {
	Protocol  string `json:"protocol"` // TCP, HTTP, HTTPS
	Port      string `json:"port"`     // "traffic-port" or a number
	Path      string `json:"path,omitempty"`
	Interval  int    `json:"interval"`
	Timeout   int    `json:"timeout"`
	Healthy   int    `json:"healthy"`
	Unhealthy int    `json:"unhealthy"`
	Matcher   string `json:"matcher,omitempty"` // "200-399"
}

// TargetGroup is a set of targets with one health check.
type TargetGroup struct {
	ARN        ARN               `json:"arn"`
	Owner      AccountID         `json:"owner"`
	Name       string            `json:"name"`
	Protocol   string            `json:"protocol"` // TCP, UDP, TCP_UDP
	Port       int               `json:"port"`
	VPC        VPCID             `json:"vpc"`
	TargetType string            `json:"targetType"`     // instance or ip
	IPv6       bool              `json:"ipv6,omitempty"` // IpAddressType ipv6; else ipv4
	Check      HealthCheck       `json:"check"`
	Targets    []Target          `json:"targets,omitempty"`
	Cut        []CutTarget       `json:"cut,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"` // absent keys have AWS's default
	Tags       Tags              `json:"tags,omitempty"`
}

func (*TargetGroup) Kind() Kind    { return KindTargetGroup }
func (g *TargetGroup) Key() string { return string(g.ARN) }
func (g *TargetGroup) Index(add func(index, value string)) {
	add(IndexOwner, string(g.Owner))
	add(IndexVPC, string(g.VPC))
	add(IndexName, string(g.Owner)+"/"+g.Name)
	for _, t := range g.Targets {
		add("target", t.ID)
	}
}
func (g *TargetGroup) Refs(add func(Kind, string)) { add(KindVPC, string(g.VPC)) }
func (g *TargetGroup) Claims(add func(string)) {
	add("tg-name/" + string(g.Owner) + "/" + g.Name)
}

// OwnerID is the account it belongs to.
func (g *TargetGroup) OwnerID() AccountID { return g.Owner }

// AddressType is the IpAddressType of the group's targets.
func (g *TargetGroup) AddressType() string {
	if g.IPv6 {
		return IPv6Only
	}
	return IPv4Only
}

// Listener forwards one port of a load balancer to one target group.
type Listener struct {
	ARN         ARN               `json:"arn"`
	Owner       AccountID         `json:"owner"`
	Balancer    ARN               `json:"balancer"`
	Protocol    string            `json:"protocol"` // TCP, UDP, TCP_UDP
	Port        int               `json:"port"`
	TargetGroup ARN               `json:"targetGroup"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Tags        Tags              `json:"tags,omitempty"`
}

func (*Listener) Kind() Kind    { return KindListener }
func (l *Listener) Key() string { return string(l.ARN) }
func (l *Listener) Index(add func(index, value string)) {
	add(IndexOwner, string(l.Owner))
	add(IndexBalancer, string(l.Balancer))
	add(IndexTargetGroup, string(l.TargetGroup))
}
func (l *Listener) Refs(add func(Kind, string)) {
	add(KindBalancer, string(l.Balancer))
	add(KindTargetGroup, string(l.TargetGroup))
}
func (l *Listener) Claims(add func(string)) {
	add("listener/" + string(l.Balancer) + "/" + strconv.Itoa(l.Port))
}

// OwnerID is the account it belongs to.
func (l *Listener) OwnerID() AccountID { return l.Owner }

// Health is what the probers last said of one target, per group and for each
// node of the load balancer. It is written only when it changes.
type Health struct {
	TargetGroup ARN    `json:"targetGroup"`
	Target      string `json:"target"` // Target.ID
	Port        int    `json:"port"`   // Target.Port
	// Nodes are the nodes that have decided, in order of their zones.
	Nodes []NodeHealth `json:"nodes,omitempty"`
}

// NodeHealth is a target's health as the node in one zone finds it.
type NodeHealth struct {
	Zone    string `json:"zone"`
	Healthy bool   `json:"healthy"`
	// Reason is AWS's reason code, "" when healthy; Description is for people.
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
	// Since is when it became healthy or unhealthy.
	Since time.Time `json:"since"`
	// Drained says that the group's draining interval for unhealthy targets
	// has passed since then.
	Drained bool `json:"drained,omitempty"`
}

// In is what the node in a zone found, false if it has not decided.
func (h *Health) In(zone string) (NodeHealth, bool) {
	for _, n := range h.Nodes {
		if n.Zone == zone {
			return n, true
		}
	}
	return NodeHealth{}, false
}

// HealthKey is the key of a target's health record.
func HealthKey(group ARN, target string, port int) string {
	return string(group) + "/" + target + "/" + strconv.Itoa(port)
}

func (*Health) Kind() Kind    { return KindHealth }
func (h *Health) Key() string { return HealthKey(h.TargetGroup, h.Target, h.Port) }
func (h *Health) Index(add func(index, value string)) {
	add(IndexTargetGroup, string(h.TargetGroup))
}

// Refs of a health record are none: it is removed with its target or group.
func (h *Health) Refs(add func(Kind, string)) {}
func (h *Health) Claims(add func(string))     {}

func init() {
	register[LoadBalancer]()
	register[TargetGroup]()
	register[Listener]()
	register[Health]()
}
