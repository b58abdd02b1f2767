// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kinds of the endpoint family.
const (
	KindEndpoint  Kind = "vpc-endpoint"
	KindService   Kind = "vpc-endpoint-service"
	KindCatalogue Kind = "catalogue-service"
)

// EndpointType is AWS's endpoint type.
type EndpointType string

// Endpoint types that exist here; the others are refused by name.
const (
	InterfaceEndpoint EndpointType = "Interface"
	GatewayEndpoint   EndpointType = "Gateway"
)

// EndpointState is an endpoint's state as it appears on the wire.
type EndpointState string

// Endpoint states.
const (
	EndpointPendingAcceptance EndpointState = "pendingAcceptance"
	EndpointPending           EndpointState = "pending"
	EndpointAvailable         EndpointState = "available"
	EndpointDeleting          EndpointState = "deleting"
	EndpointRejected          EndpointState = "rejected"
	EndpointFailed            EndpointState = "failed"
	EndpointExpired           EndpointState = "expired"
)

// EndpointNode is an interface endpoint's network interface in one subnet.
type EndpointNode struct {
	Subnet    SubnetID    `json:"subnet"`
	Zone      string      `json:"zone"`
	Interface InterfaceID `json:"interface"`
	Addr      netip.Addr  `json:"addr"`           // zero for an endpoint of IPv6 alone
	Addr6     netip.Addr  `json:"addr6,omitzero"` // of a dualstack or ipv6 endpoint
}

// Endpoint is a VPC endpoint.
type Endpoint struct {
	ID    EndpointID   `json:"id"`
	Owner AccountID    `json:"owner"`
	VPC   VPCID        `json:"vpc"`
	Type  EndpointType `json:"type"`
	// ServiceName is com.amazonaws.<region>.<name> for a catalogue service,
	// com.amazonaws.vpce.<region>.<service id> for a customer's.
	ServiceName string `json:"serviceName"`
	// Service is the customer's service, Catalogue the catalogue service's short
	// name; the other one is "". Catalogue is "" also in what an older version wrote.
	Service   ServiceID     `json:"service,omitempty"`
	Catalogue string        `json:"catalogue,omitempty"`
	State     EndpointState `json:"state"`
	// Named is set once the hosts carry the endpoint's packets: from then on
	// its DNS names exist, and when the hosts carry those too the state
	// becomes available. So "available" always means that the name resolves
	// and the first packet passes.
	Named bool `json:"named,omitempty"`
	// Coming are addresses that packets do not reach everywhere yet: no name
	// answers with one of them. Going are interfaces, or an interface's IPv6
	// address alone, that were taken from a named endpoint: they carry packets
	// until no host's resolver answers with their addresses.
	Coming []netip.Addr   `json:"coming,omitempty"`
	Going  []EndpointNode `json:"going,omitempty"`
	// Ending is when an endpoint that had names was turned down or deleted:
	// it carries packets until no host's resolver has its names, and is zero
	// from then on.
	Ending time.Time `json:"ending,omitzero"`
	// IPAddressType is DualStack or IPv6Only, "" for IPv4Only.
	IPAddressType string `json:"ipAddressType,omitempty"`
	// Link is the VNI of the private wire to the service; 0 for gateway endpoints.
	Link   VNI            `json:"link,omitempty"`
	Nodes  []EndpointNode `json:"nodes,omitempty"`
	Groups []GroupID      `json:"groups,omitempty"`
	// RouteTables carry the route of a gateway endpoint.
	RouteTables []RouteTableID `json:"routeTables,omitempty"`
	// Policy is the document as it was given, "" for the default one.
	Policy string `json:"policy,omitempty"`
	// Candidate is a policy that is asked about every request beside Policy and
	// changes no answer, "" for none; CandidateSet is since when. They are the
	// operator's, and no answer of the API shows them.
	Candidate    string    `json:"candidate,omitempty"`
	CandidateSet time.Time `json:"candidateSet,omitzero"`
	PrivateDNS   bool      `json:"privateDns,omitempty"`
	// InboundOnly is PrivateDnsOnlyForInboundResolverEndpoint: in the VPC the
	// service's names keep their public addresses, for the gateway endpoint
	// beside this one; who asks through an inbound resolver endpoint gets this
	// one's.
	InboundOnly bool `json:"inboundOnly,omitempty"`
	// RecordType is DnsRecordIpType if it was chosen, "" for the type's default.
	RecordType string `json:"recordType,omitempty"`
	// DNSLabel is the endpoint's id, a dash and 8 letters or digits: the first
	// label of its names, stable for its life.
	DNSLabel string `json:"dnsLabel"`
	// Connection is the vpce-con- id the provider sees; "" for catalogue services.
	Connection string `json:"connection,omitempty"`
	// Events counts what has happened to the connection, see ConnectionEvent.
	Events         int64     `json:"events,omitempty"`
	Created        time.Time `json:"created"`
	FailureReason  string    `json:"failureReason,omitempty"`
	Tags           Tags      `json:"tags,omitempty"`
	ConnectionTags Tags      `json:"connectionTags,omitempty"` // the provider's, never shown to the consumer
}

// IP address types of endpoints, as they appear on the wire. DNS record types
// have these and RecordServiceDefined.
const (
	IPv4Only  = "ipv4"
	IPv6Only  = "ipv6"
	DualStack = "dualstack"
	// RecordServiceDefined leaves the families of records to the service.
	RecordServiceDefined = "service-defined"
)

// AddressType is the endpoint's IP address type as it appears on the wire.
func (e *Endpoint) AddressType() string {
	if e.IPAddressType == "" {
		return IPv4Only
	}
	return e.IPAddressType
}

// HasIPv4 reports whether the endpoint is there for IPv4 packets.
func (e *Endpoint) HasIPv4() bool { return e.IPAddressType != IPv6Only }

// HasIPv6 reports whether the endpoint is there for IPv6 packets.
func (e *Endpoint) HasIPv6() bool { return e.IPAddressType != "" }

// DNSRecordType is the endpoint's DnsRecordIpType: the chosen one, else that of
// the endpoint's type and addresses.
func (e *Endpoint) DNSRecordType() string {
	switch {
	case e.RecordType != "":
		return e.RecordType
	case e.Type == GatewayEndpoint:
		return RecordServiceDefined
	}
	return e.AddressType()
}

// Passes reports whether the endpoint's packets pass: in the states that carry
// them, and while its names go.
func (e *Endpoint) Passes() bool { return e.State.Carries() || !e.Ending.IsZero() }

// Carries reports whether packets pass in this state: from the moment the
// provider agreed until it no longer does. A pending endpoint already carries
// packets, since it must before it may be called available.
func (s EndpointState) Carries() bool {
	return s == EndpointPending || s == EndpointAvailable
}

// IndexServiceName finds endpoints by ServiceName; IndexService by Service;
// IndexConnection by Connection; IndexGatewaysOf an account's gateway endpoints.
const (
	IndexServiceName = "service-name"
	IndexService     = "service"
	IndexConnection  = "connection"
	IndexGatewaysOf  = "gateways-of"
)

func (*Endpoint) Kind() Kind    { return KindEndpoint }
func (e *Endpoint) Key() string { return string(e.ID) }
func (e *Endpoint) Index(add func(index, value string)) {
	add(IndexOwner, string(e.Owner))
	add(IndexVPC, string(e.VPC))
	add(IndexServiceName, e.ServiceName)
	add("state", string(e.State))
	if e.Service != "" {
		add(IndexService, string(e.Service))
		add(IndexConnection, e.Connection)
	}
	if e.Type == GatewayEndpoint {
		add(IndexGatewaysOf, string(e.Owner))
	}
	for _, t := range e.RouteTables {
		add("route-table", string(t))
	}
	for _, g := range e.Groups {
		add(IndexGroup, string(g))
	}
}
func (e *Endpoint) Refs(add func(Kind, string)) {
	add(KindVPC, string(e.VPC))
	for _, n := range e.Nodes {
		add(KindSubnet, string(n.Subnet))
	}
	for _, g := range e.Groups {
		add(KindGroup, string(g))
	}
	// A service cannot go while it is asked for or used. A rejected endpoint
	// outlives it.
	if e.Service != "" && (e.State == EndpointPendingAcceptance || e.Passes()) {
		add(KindService, string(e.Service))
	}
	if e.Catalogue != "" {
		add(KindCatalogue, e.Catalogue)
	}
}
func (e *Endpoint) Claims(add func(string)) {
	if e.Link != 0 {
		add(VNIClaim(e.Link))
	}
}

// OwnerID is the account it belongs to.
func (e *Endpoint) OwnerID() AccountID { return e.Owner }

// Permission lets a principal find and connect to a service.
type Permission struct {
	ID        string `json:"id"`        // vpce-svc-perm-...
	Principal string `json:"principal"` // ARN or *
	Type      string `json:"type"`      // All, Account, User, Role, ...
	Tags      Tags   `json:"tags,omitempty"`
}

// DNSVerification is the state of a service's private DNS name.
type DNSVerification struct {
	Name  string `json:"name"`  // _xxxxxxxxxxxxxxxxxxxx
	Value string `json:"value"` // vpce:....
	State string `json:"state"` // pendingVerification, verified, failed
	// Granted is set when State was verified once: endpoints that have the
	// name keep it when a later check fails.
	Granted bool `json:"granted,omitempty"`
	// Since is when the wait for the TXT record began, Due when it is looked
	// for next (the zero time is never). When the provider Asked for that, not
	// finding it is a failure; else there is time left to publish it.
	Since time.Time `json:"since,omitzero"`
	Due   time.Time `json:"due,omitzero"`
	Asked bool      `json:"asked,omitempty"`
}

// PayerServiceOwner is the one value of EndpointService.Payer besides "",
// which means that each endpoint's owner pays.
const PayerServiceOwner = "ServiceOwner"

// EndpointService is a customer's own service behind network load balancers.
type EndpointService struct {
	ID                 ServiceID `json:"id"`
	Owner              AccountID `json:"owner"`
	Name               string    `json:"name"` // com.amazonaws.vpce.<region>.<id>
	Balancers          []ARN     `json:"balancers"`
	AcceptanceRequired bool      `json:"acceptanceRequired"`
	// IPv6 says that ipv6 is among the SupportedIpAddressTypes, NoIPv4 that ipv4 is not.
	IPv6           bool             `json:"ipv6,omitempty"`
	NoIPv4         bool             `json:"noIpv4,omitempty"`
	PrivateDNSName string           `json:"privateDnsName,omitempty"`
	Verification   *DNSVerification `json:"verification,omitempty"`
	Permissions    []Permission     `json:"permissions,omitempty"`
	// Zones are the zone names of the balancers when the service was made or
	// last modified.
	Zones   []string  `json:"zones"`
	Payer   string    `json:"payer,omitempty"` // kept and shown only
	Created time.Time `json:"created"`
	Tags    Tags      `json:"tags,omitempty"`
}

// IndexNamed finds the services with a private DNS name, all by the value "yes".
const IndexNamed = "named"

func (*EndpointService) Kind() Kind    { return KindService }
func (s *EndpointService) Key() string { return string(s.ID) }
func (s *EndpointService) Index(add func(index, value string)) {
	add(IndexOwner, string(s.Owner))
	add(IndexName, s.Name)
	if s.Verification != nil {
		add(IndexNamed, "yes")
	}
	for _, b := range s.Balancers {
		add(IndexBalancer, string(b))
	}
}
func (s *EndpointService) Refs(add func(Kind, string)) {
	for _, b := range s.Balancers {
		add(KindBalancer, string(b))
	}
}
func (s *EndpointService) Claims(add func(string)) {
	for _, b := range s.Balancers {
		add("service-of/" + string(b))
	}
}

// OwnerID is the account it belongs to.
func (s *EndpointService) OwnerID() AccountID { return s.Owner }

// AddressTypes are the service's SupportedIpAddressTypes.
func (s *EndpointService) AddressTypes() []string { return addressTypes(!s.NoIPv4, s.IPv6) }

func addressTypes(ipv4, ipv6 bool) []string {
	var out []string
	if ipv4 {
		out = append(out, IPv4Only)
	}
	if ipv6 {
		out = append(out, IPv6Only)
	}
	return out
}

// CatalogueService is a service the operator offers, such as S3. It is
// Postern's stand-in for the services AWS runs itself.
type CatalogueService struct {
	// Name is the short name, "s3".
	Name        string         `json:"name"`
	ServiceName string         `json:"serviceName"` // com.amazonaws.<region>.s3
	ID          ServiceID      `json:"id"`          // vpce-svc-... shown by DescribeVpcEndpointServices
	Types       []EndpointType `json:"types"`
	PrefixList  PrefixListID   `json:"prefixList,omitempty"`
	Prefixes    []netip.Prefix `json:"prefixes,omitempty"` // the service's public addresses
	// PrefixList6 and Prefixes6 are the IPv6 ones; none if the service has no IPv6.
	PrefixList6 PrefixListID   `json:"prefixList6,omitempty"`
	Prefixes6   []netip.Prefix `json:"prefixes6,omitempty"`
	// Addresses answer for PublicNames; they are inside Prefixes or Prefixes6.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// PublicNames are the names clients use; a leading "*." covers one or more labels.
	PublicNames []string `json:"publicNames,omitempty"`
	// PrivateNames are the private DNS names of interface endpoints; none means
	// the public names.
	PrivateNames []string `json:"privateNames,omitempty"`
	// Protocol selects how the edge reads requests and policies: "s3".
	Protocol string `json:"protocol"`
	// Backends are the URLs requests go to; none means the backend this server
	// starts itself, BackendSelf the server's own API.
	Backends []string `json:"backends,omitempty"`
	// HealthCheck says how to find out which backends answer; nil for not at all.
	HealthCheck *BackendCheck `json:"healthCheck,omitempty"`
	// TLSCertificate and TLSKey are what the edge shows workloads, PEM; none means one
	// of the installation's own authority. BackendCA is whom https backends must
	// have their certificates from; "" means the edge's system roots.
	TLSCertificate string `json:"tlsCertificate,omitempty"`
	TLSKey         string `json:"tlsKey,omitempty"`
	BackendCA      string `json:"backendCa,omitempty"`
	// PolicySupported is false for a service whose endpoints allow everything.
	PolicySupported bool `json:"policySupported"`
	// Identity is how the backend is told who a request comes from.
	Identity BackendIdentity `json:"identity,omitempty"`
	// Added says that the operator added the service while the server ran. Others
	// are the configuration's, and go when they are no longer there.
	Added bool `json:"added,omitempty"`
}

// BackendSelf stands in Backends for the server's own API.
const BackendSelf = "self"

// BackendCheck is how a service's backends are checked.
type BackendCheck struct {
	Path      string `json:"path,omitempty"` // of a GET that a healthy one answers with 200 to 399; "" for a connection alone
	Interval  int    `json:"interval"`       // seconds
	Timeout   int    `json:"timeout"`        // seconds
	Healthy   int    `json:"healthy"`        // how many good checks in a row bring a backend back
	Unhealthy int    `json:"unhealthy"`      // how many bad ones take it out
}

// Names are all names that clients may call the service by, each once.
func (s *CatalogueService) Names() []string {
	out := slices.Clone(s.PublicNames)
	for _, n := range s.PrivateNames {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// BackendIdentity is how a catalogue service's backend is told who a request
// comes from.
type BackendIdentity string

// How a backend is told.
const (
	IdentityNone   BackendIdentity = ""       // not at all
	IdentityProxy  BackendIdentity = "proxy"  // by a header of the PROXY protocol in front of each connection
	IdentityHeader BackendIdentity = "header" // by a signed header of each request
)

func (*CatalogueService) Kind() Kind    { return KindCatalogue }
func (s *CatalogueService) Key() string { return s.Name }
func (s *CatalogueService) Index(add func(index, value string)) {
	add(IndexName, s.ServiceName)
	for _, id := range []PrefixListID{s.PrefixList, s.PrefixList6} {
		if id != "" {
			add(IndexPrefixList, string(id))
		}
	}
}
func (s *CatalogueService) Refs(add func(Kind, string)) {}
func (s *CatalogueService) Claims(add func(string))     { add("service-name/" + s.ServiceName) }

// AddressTypes are the families the service can be reached by: IPv6 if it has
// prefixes of it.
func (s *CatalogueService) AddressTypes() []string { return addressTypes(true, len(s.Prefixes6) > 0) }

// Lists are the service's prefix lists, the IPv4 one first.
func (s *CatalogueService) Lists() []PrefixListID {
	var out []PrefixListID
	for _, id := range []PrefixListID{s.PrefixList, s.PrefixList6} {
		if id != "" {
			out = append(out, id)
		}
	}
	return out
}

// ListsOf are the prefix lists that a gateway endpoint to the service routes.
func (s *CatalogueService) ListsOf(e *Endpoint) []PrefixListID {
	return slices.DeleteFunc(s.Lists(), func(id PrefixListID) bool {
		return id == s.PrefixList && !e.HasIPv4() || id == s.PrefixList6 && !e.HasIPv6()
	})
}

// List answers the name and the prefixes of one of the service's prefix lists.
// An IPv6 list has AWS's form of name: com.amazonaws.us-east-1.ipv6.s3.
func (s *CatalogueService) List(id PrefixListID) (name string, prefixes []netip.Prefix) {
	if id != s.PrefixList6 {
		return s.ServiceName, s.Prefixes
	}
	return strings.TrimSuffix(s.ServiceName, s.Name) + "ipv6." + s.Name, s.Prefixes6
}

// DualStackName reports whether a public name answers with addresses of both
// families of its own accord, as those of AWS with the label "dualstack" do
// (s3.dualstack.us-east-1.amazonaws.com). Others do when a gateway endpoint's
// DNS record type asks for it.
func (s *CatalogueService) DualStackName(name string) bool {
	return slices.Contains(strings.Split(CanonicalName(name), "."), DualStack)
}

func init() {
	register[Endpoint]()
	register[EndpointService]()
	register[CatalogueService]()
}
