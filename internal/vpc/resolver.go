// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kinds of what configures the VPCs' resolver.
const (
	KindResolverEndpoint    Kind = "resolver-endpoint"
	KindResolverRule        Kind = "resolver-rule"
	KindResolverAssociation Kind = "resolver-rule-association"
)

// Ids of Route 53 Resolver.
type (
	ResolverEndpointID    string // rslvr-in-... or rslvr-out-...
	ResolverRuleID        string // rslvr-rr-..., or InternetResolverRule
	ResolverAssociationID string // rslvr-rrassoc-...
)

// Prefixes of those ids, and of the address of an endpoint.
const (
	PrefixResolverInbound     = "rslvr-in"
	PrefixResolverOutbound    = "rslvr-out"
	PrefixResolverRule        = "rslvr-rr"
	PrefixResolverAssociation = "rslvr-rrassoc"
	PrefixResolverAddress     = "rni"
)

// InternetResolverRule is the rule of every VPC for all names that no other
// rule holds: they go to the host's resolvers. It is no object.
const InternetResolverRule ResolverRuleID = "rslvr-autodefined-rr-internet-resolver"

// IndexRequest finds an object by its owner and CreatorRequestId.
const IndexRequest = "request" // "account/request"

// ResolverEndpoint is addresses in a VPC: inbound ones answer DNS with the
// VPC's view, outbound ones stand for where questions leave it.
type ResolverEndpoint struct {
	ID        ResolverEndpointID `json:"id"`
	Owner     AccountID          `json:"owner"`
	VPC       VPCID              `json:"vpc"`
	Inbound   bool               `json:"inbound,omitempty"`
	Name      string             `json:"name,omitempty"`
	Groups    []GroupID          `json:"groups"`
	DualStack bool               `json:"dualStack,omitempty"`
	Addresses []ResolverAddress  `json:"addresses"`
	Request   CreatorRequest     `json:"request"`
	Created   time.Time          `json:"created"`
	Modified  time.Time          `json:"modified"`
	Tags      Tags               `json:"tags,omitempty"`
}

// ResolverAddress is one interface of an endpoint.
type ResolverAddress struct {
	ID        string      `json:"id"` // rni-...
	Subnet    SubnetID    `json:"subnet"`
	Interface InterfaceID `json:"interface"`
	Addr      netip.Addr  `json:"addr"`
	Addr6     netip.Addr  `json:"addr6,omitzero"`
	Created   time.Time   `json:"created"`
	Modified  time.Time   `json:"modified"`
}

// CreatorRequest is what a caller called its request to make something, and a
// hash of the rest of the request: asked again, it is not made again.
type CreatorRequest struct {
	ID   string `json:"id"`
	Hash string `json:"hash"`
}

// RequestKey is a CreatorRequestId's value of IndexRequest.
func RequestKey(owner AccountID, request string) string { return string(owner) + "/" + request }

func (*ResolverEndpoint) Kind() Kind    { return KindResolverEndpoint }
func (e *ResolverEndpoint) Key() string { return string(e.ID) }
func (e *ResolverEndpoint) Index(add func(index, value string)) {
	add(IndexOwner, string(e.Owner))
	add(IndexVPC, string(e.VPC))
	add(IndexRequest, RequestKey(e.Owner, e.Request.ID))
}
func (e *ResolverEndpoint) Refs(add func(Kind, string)) {
	add(KindVPC, string(e.VPC))
	for _, a := range e.Addresses {
		add(KindInterface, string(a.Interface))
	}
}
func (e *ResolverEndpoint) Claims(add func(string)) {
	add("resolver-endpoint-request/" + RequestKey(e.Owner, e.Request.ID))
}

// OwnerID is the account it belongs to.
func (e *ResolverEndpoint) OwnerID() AccountID { return e.Owner }

// Direction is INBOUND or OUTBOUND.
func (e *ResolverEndpoint) Direction() string {
	if e.Inbound {
		return "INBOUND"
	}
	return "OUTBOUND"
}

// IsResolverEndpointID reports whether s has the form of an endpoint's id.
func IsResolverEndpointID(s string) bool {
	return ValidID(PrefixResolverInbound, s) || ValidID(PrefixResolverOutbound, s)
}

// ResolverRule says where questions for a domain go in the VPCs that it is
// associated with.
type ResolverRule struct {
	ID    ResolverRuleID `json:"id"`
	Owner AccountID      `json:"owner"`
	Name  string         `json:"name,omitempty"`
	// Domain is canonical, "" for all names.
	Domain string `json:"domain"`
	// Endpoint and Targets are set of a rule that forwards, and not of one that
	// sends names to the VPC's own resolver again (SYSTEM).
	Endpoint ResolverEndpointID `json:"endpoint,omitempty"`
	Targets  []netip.AddrPort   `json:"targets,omitempty"`
	Request  CreatorRequest     `json:"request"`
	Created  time.Time          `json:"created"`
	Modified time.Time          `json:"modified"`
	Tags     Tags               `json:"tags,omitempty"`
}

// IndexResolverEndpoint finds the rules, and the interfaces, of an endpoint.
const IndexResolverEndpoint = "resolver-endpoint"

func (*ResolverRule) Kind() Kind    { return KindResolverRule }
func (r *ResolverRule) Key() string { return string(r.ID) }
func (r *ResolverRule) Index(add func(index, value string)) {
	add(IndexOwner, string(r.Owner))
	add(IndexRequest, RequestKey(r.Owner, r.Request.ID))
	if r.Endpoint != "" {
		add(IndexResolverEndpoint, string(r.Endpoint))
	}
}
func (r *ResolverRule) Refs(add func(Kind, string)) {
	if r.Endpoint != "" {
		add(KindResolverEndpoint, string(r.Endpoint))
	}
}
func (r *ResolverRule) Claims(add func(string)) {
	add("resolver-rule-request/" + RequestKey(r.Owner, r.Request.ID))
}

// OwnerID is the account it belongs to.
func (r *ResolverRule) OwnerID() AccountID { return r.Owner }

// Forwards reports whether the rule's type is FORWARD; else it is SYSTEM.
func (r *ResolverRule) Forwards() bool { return r.Endpoint != "" }

// ResolverAssociation puts a rule into force in a VPC.
type ResolverAssociation struct {
	ID    ResolverAssociationID `json:"id"`
	Owner AccountID             `json:"owner"`
	Name  string                `json:"name,omitempty"`
	Rule  ResolverRuleID        `json:"rule"`
	VPC   VPCID                 `json:"vpc"`
	// Domain is the rule's, which never changes: a VPC has one rule for a domain.
	Domain string `json:"domain"`
}

// IndexResolverRule finds the associations of a rule.
const IndexResolverRule = "resolver-rule"

func (*ResolverAssociation) Kind() Kind    { return KindResolverAssociation }
func (a *ResolverAssociation) Key() string { return string(a.ID) }
func (a *ResolverAssociation) Index(add func(index, value string)) {
	add(IndexOwner, string(a.Owner))
	add(IndexVPC, string(a.VPC))
	add(IndexResolverRule, string(a.Rule))
}
func (a *ResolverAssociation) Refs(add func(Kind, string)) {
	add(KindResolverRule, string(a.Rule))
	add(KindVPC, string(a.VPC))
}
func (a *ResolverAssociation) Claims(add func(string)) {
	add("resolver-rule-of/" + string(a.VPC) + "/" + a.Domain)
}

// OwnerID is the account it belongs to.
func (a *ResolverAssociation) OwnerID() AccountID { return a.Owner }

// neverTargets are blocks where no resolver outside can be: the host itself,
// its link, what is for groups, and what nothing has.
var neverTargets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"), netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("fd00:ec2::/32"),
}

// ResolverTarget reports whether questions may be forwarded to an address. They
// leave from the host's network, where some addresses are the host's own.
func ResolverTarget(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" &&
		!slices.ContainsFunc(neverTargets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// RuleDomain is the canonical domain of a rule as it was sent, "" for the dot
// that stands for all names; false if it cannot be one.
func RuleDomain(s string) (string, bool) {
	if s == "." {
		return "", true
	}
	name := CanonicalName(s)
	if name == "" || len(name) > 253 || strings.HasSuffix(name, ".") {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return name, true
}

func init() {
	register[ResolverEndpoint]()
	register[ResolverRule]()
	register[ResolverAssociation]()
}
