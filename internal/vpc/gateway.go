// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"strings"
	"time"
)

// Kinds of what stands between a VPC and the outside.
const (
	KindInternetGateway Kind = "internet-gateway"
	KindNATGateway      Kind = "nat-gateway"
	KindElasticIP       Kind = "elastic-ip"
	KindEgressOnly      Kind = "egress-only-internet-gateway"
	KindDHCPOptions     Kind = "dhcp-options"
)

// InternetGateway is a VPC's door to the internet.
type InternetGateway struct {
	ID    InternetGatewayID `json:"id"`
	Owner AccountID         `json:"owner"`
	// VPC is what it is attached to, "" if nothing. A VPC has at most one.
	VPC  VPCID `json:"vpc,omitempty"`
	Tags Tags  `json:"tags,omitempty"`
}

func (*InternetGateway) Kind() Kind    { return KindInternetGateway }
func (g *InternetGateway) Key() string { return string(g.ID) }
func (g *InternetGateway) Index(add func(index, value string)) {
	add(IndexOwner, string(g.Owner))
	if g.VPC != "" {
		add(IndexVPC, string(g.VPC))
	}
}
func (g *InternetGateway) Refs(add func(Kind, string)) {
	if g.VPC != "" {
		add(KindVPC, string(g.VPC))
	}
}
func (g *InternetGateway) Claims(add func(string)) {
	if g.VPC != "" {
		add("internet-gateway-of/" + string(g.VPC))
	}
}

// OwnerID is the account it belongs to.
func (g *InternetGateway) OwnerID() AccountID { return g.Owner }

// ElasticIP is a public address an account holds, associated with at most one
// interface.
type ElasticIP struct {
	ID    AllocationID `json:"id"`
	Owner AccountID    `json:"owner"`
	Addr  netip.Addr   `json:"addr"`
	// Association and Interface are set together.
	Association string      `json:"association,omitempty"` // eipassoc-...
	Interface   InterfaceID `json:"interface,omitempty"`
	Tags        Tags        `json:"tags,omitempty"`
}

// IndexInterface finds the Elastic IP of an interface.
const IndexInterface = "interface" // InterfaceID

func (*ElasticIP) Kind() Kind    { return KindElasticIP }
func (e *ElasticIP) Key() string { return string(e.ID) }
func (e *ElasticIP) Index(add func(index, value string)) {
	add(IndexOwner, string(e.Owner))
	add(IndexAddr, e.Addr.String())
	if e.Association != "" {
		add(IndexAssociation, e.Association)
		add(IndexInterface, string(e.Interface))
	}
}
func (e *ElasticIP) Refs(add func(Kind, string)) {
	if e.Interface != "" {
		add(KindInterface, string(e.Interface))
	}
}
func (e *ElasticIP) Claims(add func(string)) {
	add(PublicAddrClaim(e.Addr))
	if e.Interface != "" {
		add("elastic-ip-of/" + string(e.Interface))
	}
}

// OwnerID is the account it belongs to.
func (e *ElasticIP) OwnerID() AccountID { return e.Owner }

// PublicAddrClaim is the claim that makes a public address one object's own.
func PublicAddrClaim(a netip.Addr) string { return "public-addr/" + a.String() }

// PublicDNSName is AWS's name of a public address.
func (r *Region) PublicDNSName(a netip.Addr) string {
	name := "ec2-" + strings.ReplaceAll(a.String(), ".", "-")
	if r.Name == "us-east-1" {
		return name + ".compute-1.amazonaws.com"
	}
	return name + "." + r.Name + ".compute.amazonaws.com"
}

// EgressOnlyGateway lets flows over IPv6 begin in a VPC, and none come in. A
// VPC has at most one.
type EgressOnlyGateway struct {
	ID    EgressOnlyGatewayID `json:"id"`
	Owner AccountID           `json:"owner"`
	VPC   VPCID               `json:"vpc"`
	Tags  Tags                `json:"tags,omitempty"`
}

// Kind and what follows make it an Object.
func (*EgressOnlyGateway) Kind() Kind    { return KindEgressOnly }
func (g *EgressOnlyGateway) Key() string { return string(g.ID) }
func (g *EgressOnlyGateway) Index(add func(index, value string)) {
	add(IndexOwner, string(g.Owner))
	add(IndexVPC, string(g.VPC))
}
func (g *EgressOnlyGateway) Refs(add func(Kind, string)) { add(KindVPC, string(g.VPC)) }
func (g *EgressOnlyGateway) Claims(add func(string))     { add("egress-only-gateway-of/" + string(g.VPC)) }

// OwnerID is the account it belongs to.
func (g *EgressOnlyGateway) OwnerID() AccountID { return g.Owner }

// NATState is a NAT gateway's state.
type NATState string

// States of a NAT gateway that occur here. There is nothing to wait for, so
// one is available when the call that made it returns, and deleted likewise.
const (
	NATAvailable NATState = "available"
	NATFailed    NATState = "failed"
	NATDeleted   NATState = "deleted"
)

// NATGateway lets the instances of a VPC reach the outside from one address of
// a subnet. A failed one, and a deleted one, has no
// interface and can be described for a while.
type NATGateway struct {
	ID      NATGatewayID `json:"id"`
	Owner   AccountID    `json:"owner"`
	VPC     VPCID        `json:"vpc"`
	Subnet  SubnetID     `json:"subnet"`
	Zone    string       `json:"zone"`
	Private bool         `json:"private,omitempty"` // ConnectivityType
	State   NATState     `json:"state"`
	// FailureCode and FailureMessage are set when State is NATFailed.
	FailureCode    string `json:"failureCode,omitempty"`
	FailureMessage string `json:"failureMessage,omitempty"`
	// Interface and Addr are its own; they stay named after the interface is gone.
	Interface InterfaceID `json:"interface,omitempty"`
	Addr      netip.Addr  `json:"addr,omitzero"`
	// Of the Elastic IP of a public one; they too stay named.
	Allocation  AllocationID `json:"allocation,omitempty"`
	Association string       `json:"association,omitempty"`
	PublicAddr  netip.Addr   `json:"publicAddr,omitzero"`
	Created     time.Time    `json:"created"`
	Deleted     time.Time    `json:"deleted,omitzero"` // or failed
	Tags        Tags         `json:"tags,omitempty"`
}

func (*NATGateway) Kind() Kind    { return KindNATGateway }
func (n *NATGateway) Key() string { return string(n.ID) }
func (n *NATGateway) Index(add func(index, value string)) {
	add(IndexOwner, string(n.Owner))
	add(IndexVPC, string(n.VPC))
	add("state", string(n.State))
}
func (n *NATGateway) Refs(add func(Kind, string)) {
	if n.State == NATAvailable {
		add(KindSubnet, string(n.Subnet))
		add(KindInterface, string(n.Interface))
	}
}
func (n *NATGateway) Claims(add func(string)) {}

// OwnerID is the account it belongs to.
func (n *NATGateway) OwnerID() AccountID { return n.Owner }

// DHCPOptions is a set of options for the hosts of a VPC. Workloads get the domain
// and the name servers; the others are stored only.
type DHCPOptions struct {
	ID      DHCPOptionsID `json:"id"`
	Owner   AccountID     `json:"owner"`
	Options []DHCPOption  `json:"options"`
	Tags    Tags          `json:"tags,omitempty"`
}

// DHCPOption is one option with its values, in order.
type DHCPOption struct {
	Key    string   `json:"key"` // AWS's name of it: domain-name, ...
	Values []string `json:"values"`
}

// DHCPNone stands for no DHCP options at all where an id of a set could be.
const DHCPNone DHCPOptionsID = "default"

func (*DHCPOptions) Kind() Kind                            { return KindDHCPOptions }
func (d *DHCPOptions) Key() string                         { return string(d.ID) }
func (d *DHCPOptions) Index(add func(index, value string)) { add(IndexOwner, string(d.Owner)) }
func (d *DHCPOptions) Refs(add func(Kind, string))         {}
func (d *DHCPOptions) Claims(add func(string))             {}

// OwnerID is the account it belongs to.
func (d *DHCPOptions) OwnerID() AccountID { return d.Owner }

// DHCPOptionsOf is the set a VPC uses: its own, the region's, or DHCPNone.
func DHCPOptionsOf(r *Region, v *VPC) DHCPOptionsID {
	if v.DHCPOptions == "" {
		return DHCPOptionsID(r.DHCPOptions)
	}
	return v.DHCPOptions
}

// DefaultVPC is an account's default VPC, if it has one.
func DefaultVPC(v View, owner AccountID) (*VPC, bool) {
	for o := range By[VPC](v, IndexOwner, owner) {
		if o.Default {
			return o, true
		}
	}
	return nil, false
}

// DefaultSubnet is the default subnet of a zone in the account's default VPC;
// zone "" is the first zone that has one.
func DefaultSubnet(v View, d *VPC, zone string) (*Subnet, bool) {
	var best *Subnet
	for s := range By[Subnet](v, IndexVPC, d.ID) {
		if s.DefaultForAZ && (zone == "" || s.Zone == zone) && (best == nil || s.Zone < best.Zone) {
			best = s
		}
	}
	return best, best != nil
}

func init() {
	register[InternetGateway]()
	register[ElasticIP]()
	register[EgressOnlyGateway]()
	register[NATGateway]()
	register[DHCPOptions]()
}
