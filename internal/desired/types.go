// SPDX-License-Identifier: Apache-2.0

// Package desired computes, from a view of the domain, what one host should
// hold: devices, addresses, rules, routes, endpoints, targets, names and
// probes. It is pure: the same view gives the same value, and applying it
// twice changes nothing.
//
// A Host is a set of tables: maps from a name to a plain value. Values never
// refer to a revision, so an unrelated write changes no entry and Diff of two
// Hosts is small. A Host holds only what the host's own workloads need: VPCs
// with a workload here, the services they are linked to, and nothing of any
// other tenant.
package desired

import (
	"net/netip"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Host is everything one host should hold.
type Host struct {
	Revision vpc.Revision `json:"revision"`
	// VPCs by VNI are the spaces with something on this host.
	VPCs map[vpc.VNI]VPC `json:"vpcs"`
	// Subnets of those VPCs, by id.
	Subnets map[vpc.SubnetID]Subnet `json:"subnets"`
	// RouteTables used by those subnets.
	RouteTables map[vpc.RouteTableID]RouteTable `json:"routeTables"`
	// ACLs used by those subnets.
	ACLs map[vpc.ACLID]ACL `json:"acls"`
	// Interfaces are the addresses of those VPCs: workloads here and on other
	// hosts, endpoint interfaces and balancer nodes. Of the targets of other
	// VPCs' balancers, on other hosts, they are places: see Interface.
	Interfaces map[vpc.InterfaceID]Interface `json:"interfaces"`
	// Hosts are the underlay addresses of the other hosts that Interfaces are
	// on. An interface on a host that is not here cannot be reached.
	Hosts map[vpc.HostID]netip.Addr `json:"hosts"`
	// RuleSets are the unions of groups that interfaces carry, by name.
	RuleSets map[string]RuleSet `json:"ruleSets"`
	// Balancers are load balancer nodes reachable from here, by NodeName.
	Balancers map[string]Balancer `json:"balancers"`
	// Endpoints that carry packets, by id: those of these VPCs, and those of
	// others' that lead to balancers of the VPCs with a workload here. An
	// endpoint that is absent carries none.
	Endpoints map[vpc.EndpointID]Endpoint `json:"endpoints"`
	// Services of the catalogue, by short name.
	Services map[string]Service `json:"services"`
	// Workloads on this host, by the interface they are behind.
	Workloads map[vpc.InterfaceID]Workload `json:"workloads"`
	// Probes this host's prober runs, by ProbeName.
	Probes map[string]Probe `json:"probes"`
	// Keys are the access keys of the accounts with workloads here, for the
	// edge to name a signer; without their secrets.
	Keys map[string]vpc.AccountID `json:"keys"`
	// Users are the users behind access keys, by key id and of every account:
	// the edge asks their policies before a request goes on to a service that
	// would take any key for its account's. There are none without an endpoint
	// to such a service.
	Users map[string]User `json:"users"`
	// Zones are the private hosted zones of those VPCs, by id.
	Zones map[vpc.HostedZoneID]Zone `json:"zones"`
	// Uplink are the prefixes that the network outside reaches here, by their
	// text: public addresses, and the IPv6 blocks of VPCs with a way out.
	Uplink map[string]netip.Prefix `json:"uplink"`
}

// User is who signs with a user's access key.
type User struct {
	Account  vpc.AccountID `json:"account"`
	ARN      string        `json:"arn"`
	ID       vpc.UserID    `json:"id"`
	Name     string        `json:"name"`
	Tags     vpc.Tags      `json:"tags,omitempty"`
	Policies []string      `json:"policies,omitempty"` // documents
}

// VPC is one isolated space and what its resolver answers.
type VPC struct {
	ID       vpc.VPCID      `json:"id"`
	Owner    vpc.AccountID  `json:"owner"`
	VNI      vpc.VNI        `json:"vni"`
	CIDRs    []netip.Prefix `json:"cidrs"`    // of both families
	Resolver netip.Addr     `json:"resolver"` // base plus two
	// DNS is enableDnsSupport: without it the resolver does not answer.
	DNS bool `json:"dns"`
	// PrivateZones are names this VPC answers itself, and all names below
	// them: a missing name there is NXDOMAIN, never forwarded.
	PrivateZones []string `json:"privateZones,omitempty"`
	// InboundZones are private zones for questions through an inbound resolver
	// endpoint alone.
	InboundZones []string `json:"inboundZones,omitempty"`
	// Records are the names of this VPC's endpoints, balancers and instances
	// and the public names of the catalogue. Canonical names.
	Records []Record `json:"records,omitempty"`
	// Zones are the private hosted zones associated with this VPC, keys of
	// Host.Zones. They are private zones too.
	Zones []vpc.HostedZoneID `json:"zones,omitempty"`
	// Forwards are the names whose questions go to other resolvers than the
	// host's; the longest domain that holds a name wins. One without targets
	// sends its names to the host's again (a SYSTEM rule).
	Forwards []Forward `json:"forwards,omitempty"`
}

// Zone is a private hosted zone.
type Zone struct {
	Name    string   `json:"name"` // canonical
	Records []Record `json:"records,omitempty"`
}

// Forward is a resolver rule.
type Forward struct {
	Domain  string           `json:"domain"` // canonical, "" for all names
	Targets []netip.AddrPort `json:"targets,omitempty"`
}

// Record is one DNS answer. Name may start with "*." to stand for all names
// below; an exact name wins. Exactly one of Addrs, CNAME, PTR, Alias and Type
// is set.
type Record struct {
	Name  string       `json:"name"`
	Addrs []netip.Addr `json:"addrs,omitempty"`
	CNAME string       `json:"cname,omitempty"`
	PTR   string       `json:"ptr,omitempty"`
	// Alias is a canonical name whose addresses of the family AliasType ("A" or
	// "AAAA"), as the asker's VPC has them, are the answer.
	Alias     string `json:"alias,omitempty"`
	AliasType string `json:"aliasType,omitempty"`
	// Type is a record type of a hosted zone ("TXT", "MX", ...; addresses and
	// CNAMEs are above), Values its data as a zone file has it (RFC 1035, 5.1).
	Type   string   `json:"type,omitempty"`
	Values []string `json:"values,omitempty"`
	TTL    uint32   `json:"ttl"`
	// InboundOnly hides the record from the VPC: only questions through an
	// inbound resolver endpoint see it, and they see it instead of the name's
	// other records.
	InboundOnly bool `json:"inboundOnly,omitempty"`
}

// Subnet is what the datapath needs of a subnet.
type Subnet struct {
	ID         vpc.SubnetID     `json:"id"`
	VNI        vpc.VNI          `json:"vni"`
	CIDR       netip.Prefix     `json:"cidr"`
	Router     netip.Addr       `json:"router"`        // base plus one
	IPv6       netip.Prefix     `json:"ipv6,omitzero"` // its router is LinkLocalRouter
	RouteTable vpc.RouteTableID `json:"routeTable"`
	ACL        vpc.ACLID        `json:"acl"`
}

// RouteKind says what happens to a packet that takes a route.
type RouteKind string

// Kinds of routes.
const (
	RouteLocal     RouteKind = "local"     // deliver inside the VPC
	RouteEndpoint  RouteKind = "endpoint"  // to the gateway endpoint Route.Endpoint
	RouteInterface RouteKind = "interface" // to the interface Route.Interface
	RouteInternet  RouteKind = "internet"  // to the host's network, as the interface's public address; IPv6 as it is
	RouteEgress    RouteKind = "egress"    // IPv6 to the host's network, only for flows that begin here
	RouteNAT       RouteKind = "nat"       // to the host's network, as the NAT gateway whose interface is Route.Interface
	RoutePeering   RouteKind = "peering"   // to an address of the VPC Route.Peer
	RouteBlackhole RouteKind = "blackhole" // drop
)

// Route is one prefix of a table; prefix lists are expanded and precedence
// between equal prefixes is already decided.
type Route struct {
	Prefix    netip.Prefix    `json:"prefix"`
	Kind      RouteKind       `json:"kind"`
	Endpoint  vpc.EndpointID  `json:"endpoint,omitempty"`
	Interface vpc.InterfaceID `json:"interface,omitempty"`
	// Peer is the VPC at the other end of Peering.
	Peer    vpc.VNI       `json:"peer,omitempty"`
	Peering vpc.PeeringID `json:"peering,omitempty"`
}

// RouteTable is a subnet's routes, longest prefix wins.
type RouteTable struct {
	Routes []Route `json:"routes"`
}

// InterfaceKind says what is at an address.
type InterfaceKind string

// Kinds of interfaces.
const (
	KindWorkload InterfaceKind = "workload"
	KindEndpoint InterfaceKind = "endpoint"
	KindBalancer InterfaceKind = "balancer"
	KindNAT      InterfaceKind = "nat" // of a NAT gateway; on every host
)

// Interface is an address of a VPC. A place is a target of another VPC's
// balancer: ID, VNI, Kind, its addresses and Host, and nothing else of it.
type Interface struct {
	ID     vpc.InterfaceID `json:"id"`
	VNI    vpc.VNI         `json:"vni"`
	Subnet vpc.SubnetID    `json:"subnet"`
	Addr   netip.Addr      `json:"addr"`
	// Secondary are further addresses of the same interface.
	Secondary []netip.Addr  `json:"secondary,omitempty"`
	IPv6      []netip.Addr  `json:"ipv6,omitempty"`
	MAC       string        `json:"mac"`
	Kind      InterfaceKind `json:"kind"`
	// Public is the address that Addr has outside of the VPC: an Elastic IP.
	Public netip.Addr `json:"public,omitzero"`
	// Tracking are the idle times of flows that this interface begins.
	Tracking vpc.ConnectionTracking `json:"tracking,omitzero"`
	// RuleSet names the interface's groups in Host.RuleSets; "" means that no
	// groups apply (a balancer node without groups) and everything passes.
	RuleSet     string `json:"ruleSet,omitempty"`
	SourceCheck bool   `json:"sourceCheck"`
	// Host runs the workload; "" for endpoints and balancer nodes, which are
	// on every host.
	Host vpc.HostID `json:"host,omitempty"`
	// Endpoint and Balancer: for an endpoint interface, the endpoint and the
	// provider's node it leads to (a key of Host.Balancers, "" for a
	// catalogue service); for a balancer node, its own key.
	Endpoint vpc.EndpointID `json:"endpoint,omitempty"`
	Balancer string         `json:"balancer,omitempty"`
}

// Addrs are all its addresses, the first one first.
func (i Interface) Addrs() []netip.Addr {
	var out []netip.Addr
	if i.Addr.IsValid() {
		out = append(out, i.Addr)
	}
	return append(append(out, i.Secondary...), i.IPv6...)
}

// Rule allows packets of one protocol to or from its peers.
type Rule struct {
	Protocol int `json:"protocol"` // IANA number or vpc.AllProtocols
	// From and To are ports for TCP and UDP; type and code for ICMP, -1 for
	// all; ignored for other protocols.
	From int `json:"from"`
	To   int `json:"to"`
	// Peers are sorted prefixes; group references are expanded to the
	// members' addresses.
	Peers []netip.Prefix `json:"peers"`
}

// RuleSet is the union of the groups on an interface.
type RuleSet struct {
	Ingress []Rule `json:"ingress,omitempty"`
	Egress  []Rule `json:"egress,omitempty"`
}

// ACLRule is one row of a network ACL; rows are in order, the first match
// decides, no match denies.
type ACLRule struct {
	Allow    bool         `json:"allow"`
	Protocol int          `json:"protocol"`
	CIDR     netip.Prefix `json:"cidr"` // source for In, destination for Out
	From     int          `json:"from"` // as in Rule; ports are destination ports
	To       int          `json:"to"`
}

// ACL is a subnet's network ACL.
type ACL struct {
	In  []ACLRule `json:"in,omitempty"`
	Out []ACLRule `json:"out,omitempty"`
}

// Endpoint is an endpoint that carries packets.
type Endpoint struct {
	ID    vpc.EndpointID   `json:"id"`
	Owner vpc.AccountID    `json:"owner"`
	VPC   vpc.VPCID        `json:"vpc"`
	VNI   vpc.VNI          `json:"vni"`
	Type  vpc.EndpointType `json:"type"`
	Link  vpc.VNI          `json:"link,omitempty"`
	// Service is the catalogue service's short name; "" for a customer's.
	Service string `json:"service,omitempty"`
	// Resolver says that it is an inbound resolver endpoint, with its id in ID:
	// what is behind it is the resolver, which answers as its VPC's.
	Resolver bool `json:"resolver,omitempty"`
	// Policy is the document the edge enforces; "" for customer services.
	Policy string `json:"policy,omitempty"`
	// Candidate is the document the edge only reports on, "" for none;
	// CandidateSet is since when.
	Candidate    string    `json:"candidate,omitempty"`
	CandidateSet time.Time `json:"candidateSet,omitzero"`
}

// Balancer is a load balancer node: one address in one zone of the
// provider's VPC, with the targets in its scope already chosen.
type Balancer struct {
	VNI       vpc.VNI         `json:"vni"`
	Interface vpc.InterfaceID `json:"interface"`
	Addr      netip.Addr      `json:"addr"`
	Zone      string          `json:"zone"`
	// Addr6 is its IPv6 address, if it has one.
	Addr6 netip.Addr `json:"addr6,omitzero"`
	// SkipEndpointIngress says that the node's groups do not judge what comes
	// through endpoints (EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic off).
	SkipEndpointIngress bool       `json:"skipEndpointIngress,omitempty"`
	Listeners           []Listener `json:"listeners,omitempty"`
}

// NodeName is the key of a load balancer's node in a zone.
func NodeName(lb vpc.ARN, zone string) string { return string(lb) + "@" + zone }

// Listener is one port of a node. Targets are those that get traffic now:
// the healthy ones in scope, or all when too few are healthy (fail-open).
type Listener struct {
	// Protocol is vpc.TCP or vpc.UDP; a TCP_UDP listener is two.
	Protocol int      `json:"protocol"`
	Port     int      `json:"port"`
	Targets  []Target `json:"targets,omitempty"`
	// PreserveClientIP keeps the client's address for clients of the same
	// VPC; it never applies to traffic from an endpoint.
	PreserveClientIP bool `json:"preserveClientIp,omitempty"`
	// Group is the target group; flows to a target in Cut are ended with a reset.
	Group vpc.ARN  `json:"group,omitempty"`
	Cut   []Target `json:"cut,omitempty"`
	// Sticky binds a client's address to a target (source_ip).
	Sticky bool `json:"sticky,omitempty"`
	// Idle is tcp.idle_timeout.seconds; 0 is 350.
	Idle int `json:"idle,omitempty"`
	// ProxyProtocol is the layout of the version 2 header that targets get, "" for none.
	ProxyProtocol ProxyLayout `json:"proxyProtocol,omitempty"`
}

// ProxyLayout says whose layout of the endpoint's id in a PROXY protocol
// version 2 header is used.
type ProxyLayout string

// Layouts.
const (
	ProxyAWS     ProxyLayout = "aws"     // TLV 0xEA, subtype 1, the endpoint's id as text
	ProxyAzure   ProxyLayout = "azure"   // TLV 0xEE, subtype 1, the link's number, little endian
	ProxyAlibaba ProxyLayout = "alibaba" // TLV 0xE1, subtype 1, the endpoint's id as text
)

// Target is where a listener sends a connection.
type Target struct {
	Addr netip.Addr `json:"addr"`
	Port int        `json:"port"`
}

// Service is a catalogue service as the edge serves it.
type Service struct {
	Name        string         `json:"name"`
	ServiceName string         `json:"serviceName"`
	Protocol    string         `json:"protocol"`
	Prefixes    []netip.Prefix `json:"prefixes,omitempty"`
	// PublicNames are all names that clients may use, private ones too.
	PublicNames []string `json:"publicNames,omitempty"`
	// Backends are URLs, or vpc.BackendSelf; none is the backend this installation
	// starts. HealthCheck and BackendCA are those of vpc.CatalogueService.
	Backends    []string           `json:"backends,omitempty"`
	HealthCheck *vpc.BackendCheck  `json:"healthCheck,omitempty"`
	BackendCA   string             `json:"backendCa,omitempty"`
	Types       []vpc.EndpointType `json:"types,omitempty"`
	// Identity is how the backend is told who a request comes from.
	Identity vpc.BackendIdentity `json:"identity,omitempty"`
}

// Workload is what sits behind an interface on this host.
type Workload struct {
	Interface vpc.InterfaceID `json:"interface"`
	Addr      netip.Addr      `json:"addr"`
	Secondary []netip.Addr    `json:"secondary,omitempty"` // of the same subnet
	// IPv6 are its addresses in Subnet6; the router is LinkLocalRouter.
	IPv6    []netip.Addr `json:"ipv6,omitempty"`
	Subnet6 netip.Prefix `json:"subnet6,omitzero"`
	MAC     string       `json:"mac"`
	// Subnet's block and router, for the address and the default route.
	Subnet   netip.Prefix `json:"subnet"`
	Router   netip.Addr   `json:"router"`
	Resolver netip.Addr   `json:"resolver"`
	// Servers and Search are what the VPC's DHCP options say of names.
	Servers []netip.Addr `json:"servers,omitempty"`
	Search  []string     `json:"search,omitempty"`
	// Instance is set for instances: the agent makes their namespace. Index is
	// the interface's device index there; 0 is the one that leads out.
	Instance vpc.InstanceID `json:"instance,omitempty"`
	Index    int            `json:"index,omitempty"`
	// External is set for what `postern attach` named.
	External *vpc.ExternalWorkload `json:"external,omitempty"`
}

// Probe is one target's health check from one node.
type Probe struct {
	Group    vpc.ARN `json:"group"`
	TargetID string  `json:"targetId"` // as registered: instance id or address
	// TargetPort is the registered port; Port the one that is checked.
	TargetPort int             `json:"targetPort"`
	VNI        vpc.VNI         `json:"vni"`
	Zone       string          `json:"zone"` // the node's
	Node       netip.Addr      `json:"node"` // source of the check
	Target     netip.Addr      `json:"target"`
	Port       int             `json:"port"`
	Check      vpc.HealthCheck `json:"check"`
	// ListenerPort is the load balancer's, which checks with HTTP name as
	// their host's.
	ListenerPort int `json:"listenerPort"`
	// ProxyProtocol says that the target expects a PROXY protocol header.
	ProxyProtocol bool `json:"proxyProtocol,omitempty"`
	// Via is the address the prober connects to inside the service
	// namespace; the datapath turns it into Target (see ProbeAddrs).
	Via netip.Addr `json:"via"`
}

// Addresses inside the service namespace, the private side of a host's
// service port. They are never visible to a workload and may overlap with
// anything outside.
var (
	// ServicePrefix is the whole range, on-link on the service port.
	ServicePrefix = netip.MustParsePrefix("100.64.0.0/10")
	// EdgeAddr is where the edge's sockets listen.
	EdgeAddr = netip.MustParseAddr("100.64.0.1")
	// ClientPrefix holds the source addresses that stand for clients.
	ClientPrefix = netip.MustParsePrefix("100.65.0.0/16")
	// ProbePrefix holds Probe.Via of IPv4 targets.
	ProbePrefix = netip.MustParsePrefix("100.80.0.0/12")

	// ServicePrefix6 is the same for IPv6, EdgeAddr6 where probes of IPv6
	// targets come from and ProbePrefix6 their Probe.Via.
	ServicePrefix6 = netip.MustParsePrefix("fd70:6f73:7465:726e::/64")
	EdgeAddr6      = netip.MustParseAddr("fd70:6f73:7465:726e::1")
	ProbePrefix6   = netip.MustParsePrefix("fd70:6f73:7465:726e:1::/80")
)

// Ports of the edge in the service namespace.
const (
	EdgeDNSPort   = 53
	EdgeHTTPPort  = 80
	EdgeHTTPSPort = 443
)

// LinkLocalRouter is the router of every subnet's IPv6 block.
var LinkLocalRouter = netip.MustParseAddr("fe80::1")

// Resolver6 is the resolver's IPv6 address, the same in every VPC.
var Resolver6 = netip.MustParseAddr("fd00:ec2::253")

// LinkLocalResolver is the resolver's address that is the same in every VPC.
var LinkLocalResolver = netip.MustParseAddr("169.254.169.253")
