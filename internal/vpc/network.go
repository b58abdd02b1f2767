// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
	"strings"
)

// Kinds of network objects.
const (
	KindVPC        Kind = "vpc"
	KindSubnet     Kind = "subnet"
	KindRouteTable Kind = "route-table"
)

// Indexes shared by many kinds.
const (
	IndexOwner  = "owner"  // AccountID
	IndexVPC    = "vpc"    // VPCID
	IndexSubnet = "subnet" // SubnetID
)

// VPC is one isolated address space of an account.
type VPC struct {
	ID    VPCID     `json:"id"`
	Owner AccountID `json:"owner"`
	VNI   VNI       `json:"vni"`
	// CIDRs are the IPv4 blocks; the first is the primary one.
	CIDRs []CIDRAssociation `json:"cidrs"`
	// IPv6 are its IPv6 blocks, /56 each.
	IPv6 []CIDRAssociation `json:"ipv6,omitempty"`
	// The attributes of ModifyVpcAttribute.
	EnableDNSSupport   bool `json:"enableDnsSupport"`
	EnableDNSHostnames bool `json:"enableDnsHostnames"`
	UsageMetrics       bool `json:"usageMetrics"` // stored only
	// DHCPOptions is "" for the region's default set, DHCPNone for none.
	DHCPOptions DHCPOptionsID `json:"dhcpOptions,omitempty"`
	// Tenancy is "" for default, else "dedicated". Stored only.
	Tenancy string `json:"tenancy,omitempty"`
	// Default marks the account's default VPC.
	Default bool `json:"default,omitempty"`
	Tags    Tags `json:"tags,omitempty"`
}

// CIDRAssociation is one block of a VPC, or the IPv6 block of a subnet.
type CIDRAssociation struct {
	ID   string       `json:"id"` // vpc-cidr-assoc-... or subnet-cidr-assoc-...
	CIDR netip.Prefix `json:"cidr"`
}

func (*VPC) Kind() Kind    { return KindVPC }
func (v *VPC) Key() string { return string(v.ID) }
func (v *VPC) Index(add func(index, value string)) {
	add(IndexOwner, string(v.Owner))
}
func (v *VPC) Refs(add func(Kind, string)) {
	if v.DHCPOptions != "" && v.DHCPOptions != DHCPNone {
		add(KindDHCPOptions, string(v.DHCPOptions))
	}
}
func (v *VPC) Claims(add func(string)) {
	add(VNIClaim(v.VNI))
	if v.Default {
		add("default-vpc/" + string(v.Owner))
	}
	for _, a := range v.IPv6 {
		add(IPv6BlockClaim(a.CIDR))
	}
}

// IPv6BlockClaim is the claim that makes an IPv6 block one VPC's own.
func IPv6BlockClaim(p netip.Prefix) string { return "ipv6-block/" + p.String() }

// Bits of IPv6 blocks: AWS gives a VPC a /56, and here a subnet has a /64 of it.
const (
	VPCBits6    = 56
	SubnetBits6 = 64
)

// OwnerID is the account it belongs to.
func (v *VPC) OwnerID() AccountID { return v.Owner }

// Contains reports whether a is inside one of the VPC's blocks.
func (v *VPC) Contains(a netip.Addr) bool {
	return a.IsValid() && v.Holds(netip.PrefixFrom(a, a.BitLen()))
}

// Holds reports whether a block of either family is within one of the VPC's.
func (v *VPC) Holds(p netip.Prefix) bool {
	return slices.ContainsFunc(v.Prefixes(), func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) })
}

// Prefixes are the VPC's blocks, the primary one first and those of IPv6 last.
func (v *VPC) Prefixes() []netip.Prefix {
	out := make([]netip.Prefix, 0, len(v.CIDRs)+len(v.IPv6))
	for _, list := range [][]CIDRAssociation{v.CIDRs, v.IPv6} {
		for _, a := range list {
			out = append(out, a.CIDR)
		}
	}
	return out
}

// ResolverAddr is the address of the VPC resolver: the primary block's base plus two.
func (v *VPC) ResolverAddr() netip.Addr {
	return v.CIDRs[0].CIDR.Addr().Next().Next()
}

// Subnet is a block of a VPC in one zone.
type Subnet struct {
	ID    SubnetID     `json:"id"`
	Owner AccountID    `json:"owner"`
	VPC   VPCID        `json:"vpc"`
	CIDR  netip.Prefix `json:"cidr"`
	// IPv6 is its IPv6 block, a /64 of one of the VPC's; zero for none.
	IPv6 CIDRAssociation `json:"ipv6,omitzero"`
	// AssignIPv6 is AssignIpv6AddressOnCreation.
	AssignIPv6 bool   `json:"assignIpv6,omitempty"`
	Zone       string `json:"zone"` // zone name: us-east-1a
	// DefaultForAZ marks the default subnet of its zone in the default VPC.
	DefaultForAZ        bool `json:"defaultForAz,omitempty"`
	MapPublicIPOnLaunch bool `json:"mapPublicIp"` // stored only
	// HostnameOptions are those of instances launched in it.
	HostnameOptions
	Tags Tags `json:"tags,omitempty"`
}

func (*Subnet) Kind() Kind    { return KindSubnet }
func (s *Subnet) Key() string { return string(s.ID) }
func (s *Subnet) Index(add func(index, value string)) {
	add(IndexOwner, string(s.Owner))
	add(IndexVPC, string(s.VPC))
}
func (s *Subnet) Refs(add func(Kind, string)) { add(KindVPC, string(s.VPC)) }
func (s *Subnet) Claims(add func(string)) {
	if s.DefaultForAZ {
		add("default-subnet/" + string(s.VPC) + "/" + s.Zone)
	}
	if s.HasIPv6() {
		add("subnet-ipv6-block/" + s.IPv6.CIDR.String())
	}
}

// HasIPv6 reports whether the subnet has an IPv6 block.
func (s *Subnet) HasIPv6() bool { return s.IPv6.CIDR.IsValid() }

// ReservedAddr reports whether AWS keeps an address of a subnet's block, of either
// family, for itself: the first four and the last.
func ReservedAddr(block netip.Prefix, a netip.Addr) bool {
	first := block.Masked().Addr()
	for range 4 {
		if a == first {
			return true
		}
		first = first.Next()
	}
	return !block.Contains(a.Next())
}

// OwnerID is the account it belongs to.
func (s *Subnet) OwnerID() AccountID { return s.Owner }

// RouterAddr is the subnet's router: base plus one.
func (s *Subnet) RouterAddr() netip.Addr { return s.CIDR.Addr().Next() }

// TargetKind says what a route points at.
type TargetKind string

// Route targets that exist here.
const (
	TargetLocal    TargetKind = "local"    // the VPC itself
	TargetEndpoint TargetKind = "endpoint" // a gateway endpoint; Route.Target is its EndpointID
	TargetENI      TargetKind = "eni"      // a network interface; Route.Target is its InterfaceID
	TargetInternet TargetKind = "internet" // an internet gateway; Route.Target is its InternetGatewayID
	TargetNAT      TargetKind = "nat"      // a NAT gateway; Route.Target is its NATGatewayID
	TargetPeering  TargetKind = "peering"  // a peering connection; Route.Target is its PeeringID
	// TargetEgressOnly is an egress-only internet gateway; Route.Target is its EgressOnlyGatewayID.
	TargetEgressOnly TargetKind = "egress-only"
)

// Route is one row of a route table. Exactly one destination is set.
type Route struct {
	CIDR       netip.Prefix `json:"cidr,omitzero"`
	PrefixList PrefixListID `json:"prefixList,omitempty"`
	TargetKind TargetKind   `json:"targetKind"`
	Target     string       `json:"target,omitempty"`
	// Origin is CreateRouteTable for local routes, else CreateRoute.
	Origin string `json:"origin"`
}

// NeverRouted are AWS's own addresses at which its services answer inside a
// VPC. A route for one of these blocks or a part of it cannot be made.
var NeverRouted = []netip.Prefix{netip.MustParsePrefix("169.254.168.0/22"), netip.MustParsePrefix("fd00:ec2::/32")}

// Routable reports whether a route may have the destination.
func Routable(p netip.Prefix) bool {
	return !slices.ContainsFunc(NeverRouted, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

// Carries reports whether a target of the kind takes packets of a family.
func (k TargetKind) Carries(ipv6 bool) bool {
	switch k {
	case TargetNAT:
		return !ipv6
	case TargetEgressOnly:
		return ipv6
	}
	return true
}

// Leaves reports whether a target of the kind is a gateway to the outside.
func (k TargetKind) Leaves() bool {
	return k == TargetInternet || k == TargetNAT || k == TargetEgressOnly
}

// CustomerList reports whether the destination is a customer's prefix list: a
// catalogue service's is only routed to by gateway endpoints.
func (r Route) CustomerList() bool { return r.PrefixList != "" && r.TargetKind != TargetEndpoint }

// RouteTable holds the routes of the subnets associated with it. The routes
// of gateway endpoints are rows here, written by the endpoint's life cycle.
type RouteTable struct {
	ID    RouteTableID `json:"id"`
	Owner AccountID    `json:"owner"`
	VPC   VPCID        `json:"vpc"`
	// Main is the association that makes this the VPC's main table, or "".
	Main         string             `json:"main,omitempty"` // rtbassoc-...
	Associations []RouteAssociation `json:"associations,omitempty"`
	Routes       []Route            `json:"routes"`
	Tags         Tags               `json:"tags,omitempty"`
}

// RouteAssociation ties a subnet to a table.
type RouteAssociation struct {
	ID     string   `json:"id"` // rtbassoc-...
	Subnet SubnetID `json:"subnet"`
}

// IndexAssociation finds a route table or network ACL by an association's id.
const IndexAssociation = "association"

func (*RouteTable) Kind() Kind    { return KindRouteTable }
func (t *RouteTable) Key() string { return string(t.ID) }
func (t *RouteTable) Index(add func(index, value string)) {
	add(IndexOwner, string(t.Owner))
	add(IndexVPC, string(t.VPC))
	if t.Main != "" {
		add(IndexAssociation, t.Main)
		add("main-of", string(t.VPC))
	}
	for _, a := range t.Associations {
		add(IndexAssociation, a.ID)
		add(IndexSubnet, string(a.Subnet))
	}
	for _, r := range t.Routes {
		if r.PrefixList != "" {
			add(IndexPrefixList, string(r.PrefixList))
		}
	}
}

// OwnerID is the account it belongs to.
func (t *RouteTable) OwnerID() AccountID { return t.Owner }

// Refs of a route table are its VPC and the customer's prefix lists it has
// routes for. A gateway endpoint takes its routes along when it goes; a route to
// an interface or a gateway that is gone stays, as a blackhole.
func (t *RouteTable) Refs(add func(Kind, string)) {
	add(KindVPC, string(t.VPC))
	for _, r := range t.Routes {
		if r.CustomerList() {
			add(KindPrefixList, string(r.PrefixList))
		}
	}
}
func (t *RouteTable) Claims(add func(string)) {
	if t.Main != "" {
		add("main-route-table/" + string(t.VPC))
	}
	for _, a := range t.Associations {
		add("route-table-of/" + string(a.Subnet))
	}
}

// RouteTableOf is the table a subnet uses: its explicit association, else the
// VPC's main table.
func RouteTableOf(v View, s *Subnet) (*RouteTable, bool) {
	if t, ok := First[RouteTable](v, IndexSubnet, s.ID); ok {
		return t, true
	}
	return First[RouteTable](v, "main-of", s.VPC)
}

// VNIClaim is the claim that makes a VNI one object's own.
func VNIClaim(n VNI) string {
	const digits = "0123456789abcdef"
	var b [6]byte
	for i := range b {
		b[5-i] = digits[n&15]
		n >>= 4
	}
	return "vni/" + string(b[:])
}

// CanonicalName is a DNS name in lower case without a final dot.
func CanonicalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

func init() {
	register[VPC]()
	register[Subnet]()
	register[RouteTable]()
}
