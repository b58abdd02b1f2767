// SPDX-License-Identifier: Apache-2.0

package vpc

import "net/netip"

// Kinds of security objects.
const (
	KindGroup Kind = "security-group"
	KindACL   Kind = "network-acl"
)

// IANA protocol numbers the domain names; AllProtocols is AWS's -1.
const (
	AllProtocols = -1
	ICMP         = 1
	TCP          = 6
	UDP          = 17
	ICMPv6       = 58
)

// GroupRule is one security group rule: a protocol, a range and one peer.
// For TCP and UDP From and To are ports; for ICMP From is the type and To the
// code, -1 for all; for AllProtocols both are -1.
type GroupRule struct {
	ID       RuleID `json:"id"`
	Egress   bool   `json:"egress"`
	Protocol int    `json:"protocol"` // IANA number or AllProtocols
	From     int    `json:"from"`
	To       int    `json:"to"`
	// Exactly one peer is set.
	CIDR       netip.Prefix `json:"cidr,omitzero"` // IPv4 or IPv6
	Group      GroupID      `json:"group,omitempty"`
	GroupOwner AccountID    `json:"groupOwner,omitempty"`
	// GroupVPC and Peering are set when the peer group is of another VPC, over
	// a peering connection. Such a group may be gone: the rule is stale then.
	GroupVPC   VPCID        `json:"groupVpc,omitempty"`
	Peering    PeeringID    `json:"peering,omitempty"`
	PrefixList PrefixListID `json:"prefixList,omitempty"`
	// PrefixListOwner is set for a customer's list and "" for a catalogue service's.
	PrefixListOwner AccountID `json:"prefixListOwner,omitempty"`
	// PrefixListService is the short name of the catalogue service whose list it is,
	// "" also in what an older version wrote.
	PrefixListService string `json:"prefixListService,omitempty"`
	Description       string `json:"description,omitempty"`
	Tags              Tags   `json:"tags,omitempty"`
}

// SecurityGroup is a named set of allow rules.
type SecurityGroup struct {
	ID          GroupID     `json:"id"`
	Owner       AccountID   `json:"owner"`
	VPC         VPCID       `json:"vpc"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Rules       []GroupRule `json:"rules,omitempty"`
	Tags        Tags        `json:"tags,omitempty"`
}

// DefaultGroupName is the name of the group every VPC has.
const DefaultGroupName = "default"

// Indexes of groups and of what uses them.
const (
	IndexName  = "name"  // the object's name
	IndexRule  = "rule"  // RuleID
	IndexGroup = "group" // GroupID an interface or balancer carries, or a rule refers to
)

func (*SecurityGroup) Kind() Kind    { return KindGroup }
func (g *SecurityGroup) Key() string { return string(g.ID) }
func (g *SecurityGroup) Index(add func(index, value string)) {
	add(IndexOwner, string(g.Owner))
	add(IndexVPC, string(g.VPC))
	add(IndexName, g.Name)
	for _, r := range g.Rules {
		add(IndexRule, string(r.ID))
		if r.Group != "" {
			add(IndexGroup, string(r.Group))
		}
		if r.PrefixList != "" {
			add(IndexPrefixList, string(r.PrefixList))
		}
	}
}

// OwnerID is the account it belongs to.
func (g *SecurityGroup) OwnerID() AccountID { return g.Owner }

func (g *SecurityGroup) Refs(add func(Kind, string)) {
	add(KindVPC, string(g.VPC))
	for _, r := range g.Rules {
		if r.Group != "" && r.Group != g.ID && r.Peering == "" {
			add(KindGroup, string(r.Group))
		}
		if r.PrefixListOwner != "" {
			add(KindPrefixList, string(r.PrefixList))
		}
		if r.PrefixListService != "" {
			add(KindCatalogue, r.PrefixListService)
		}
	}
}

func (g *SecurityGroup) Claims(add func(string)) {
	add("group-name/" + string(g.VPC) + "/" + g.Name)
}

// ACLEntry is one numbered rule of a network ACL. Egress entries match the
// destination, the others the source; ports are always destination ports.
type ACLEntry struct {
	Number   int          `json:"number"` // 1..32766
	Egress   bool         `json:"egress"`
	Allow    bool         `json:"allow"`
	Protocol int          `json:"protocol"` // IANA number or AllProtocols
	CIDR     netip.Prefix `json:"cidr"`     // IPv4 or IPv6
	// From and To are ports for TCP and UDP, type and code (-1 all) for ICMP.
	From int `json:"from"`
	To   int `json:"to"`
}

// NetworkACL is the stateless ordered filter at a subnet's edge. The final
// deny (number 32767) is implied and not stored.
type NetworkACL struct {
	ID           ACLID            `json:"id"`
	Owner        AccountID        `json:"owner"`
	VPC          VPCID            `json:"vpc"`
	Default      bool             `json:"default"`
	Entries      []ACLEntry       `json:"entries,omitempty"`
	Associations []ACLAssociation `json:"associations,omitempty"`
	Tags         Tags             `json:"tags,omitempty"`
}

// ACLAssociation ties a subnet to an ACL; every subnet has exactly one.
type ACLAssociation struct {
	ID     string   `json:"id"` // aclassoc-...
	Subnet SubnetID `json:"subnet"`
}

func (*NetworkACL) Kind() Kind    { return KindACL }
func (a *NetworkACL) Key() string { return string(a.ID) }
func (a *NetworkACL) Index(add func(index, value string)) {
	add(IndexOwner, string(a.Owner))
	add(IndexVPC, string(a.VPC))
	if a.Default {
		add("default-of", string(a.VPC))
	}
	for _, s := range a.Associations {
		add(IndexAssociation, s.ID)
		add(IndexSubnet, string(s.Subnet))
	}
}
func (a *NetworkACL) Refs(add func(Kind, string)) { add(KindVPC, string(a.VPC)) }
func (a *NetworkACL) Claims(add func(string)) {
	if a.Default {
		add("default-acl/" + string(a.VPC))
	}
	for _, s := range a.Associations {
		add("acl-of/" + string(s.Subnet))
	}
}

// OwnerID is the account it belongs to.
func (a *NetworkACL) OwnerID() AccountID { return a.Owner }

func init() {
	register[SecurityGroup]()
	register[NetworkACL]()
}
