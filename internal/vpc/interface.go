// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"time"
)

// Kinds of what lives on addresses.
const (
	KindInterface Kind = "network-interface"
	KindInstance  Kind = "instance"
)

// InterfaceType is AWS's interfaceType.
type InterfaceType string

// Interface types that exist here.
const (
	TypeInterface InterfaceType = "interface"
	TypeEndpoint  InterfaceType = "vpc_endpoint"
	TypeBalancer  InterfaceType = "network_load_balancer"
	TypeNAT       InterfaceType = "nat_gateway"
	// TypeResolver is the type of a resolver endpoint's; AWS shows it as a
	// plain one (see Shown).
	TypeResolver InterfaceType = "resolver_endpoint"
)

// Shown is the type as AWS's API shows it.
func (t InterfaceType) Shown() string {
	if t == TypeResolver {
		t = TypeInterface
	}
	return string(t)
}

// NetworkInterface (ENI) is an address in a subnet with its security groups.
type NetworkInterface struct {
	ID              InterfaceID   `json:"id"`
	Owner           AccountID     `json:"owner"`
	VPC             VPCID         `json:"vpc"`
	Subnet          SubnetID      `json:"subnet"`
	Zone            string        `json:"zone"`
	Type            InterfaceType `json:"type"`
	Addr            netip.Addr    `json:"addr"`
	Secondary       []netip.Addr  `json:"secondary,omitempty"` // further addresses of the subnet
	IPv6            []netip.Addr  `json:"ipv6,omitempty"`      // of the subnet's IPv6 block
	MAC             string        `json:"mac"`                 // 02:xx:xx:xx:xx:xx
	Groups          []GroupID     `json:"groups,omitempty"`
	SourceDestCheck bool          `json:"sourceDestCheck"`
	Description     string        `json:"description,omitempty"`
	// RequesterManaged interfaces belong to an endpoint, a load balancer, a NAT gateway or
	// a resolver endpoint; their owner may only tag them.
	RequesterManaged bool        `json:"requesterManaged,omitempty"`
	RequesterID      string      `json:"requesterId,omitempty"`
	Attachment       *Attachment `json:"attachment,omitempty"`
	// Tracking is what was asked for as ConnectionTrackingSpecification.
	Tracking ConnectionTracking `json:"tracking,omitzero"`
	// Endpoint, Balancer or Resolver names the object a requester-managed interface
	// belongs to.
	Endpoint EndpointID         `json:"endpoint,omitempty"`
	Balancer ARN                `json:"balancer,omitempty"`
	Resolver ResolverEndpointID `json:"resolver,omitempty"`
	Created  time.Time          `json:"created"`
	Tags     Tags               `json:"tags,omitempty"`
}

// ConnectionTracking are idle times of tracked connections in seconds; 0 is
// AWS's default. Source: ConnectionTrackingSpecificationRequest of EC2.
type ConnectionTracking struct {
	TCPEstablished int `json:"tcpEstablished,omitempty"` // 60 to 432000
	UDP            int `json:"udp,omitempty"`            // 30 to 60
	UDPStream      int `json:"udpStream,omitempty"`      // 60 to 180
}

// TrackingRange is what an idle time may be.
type TrackingRange struct{ Min, Max int }

// Ranges of ConnectionTracking's fields.
var (
	TCPEstablishedRange = TrackingRange{60, 432000}
	UDPRange            = TrackingRange{30, 60}
	UDPStreamRange      = TrackingRange{60, 180}
)

// Holds reports whether an idle time is in the range.
func (r TrackingRange) Holds(seconds int) bool { return r.Min <= seconds && seconds <= r.Max }

// Attachment puts an interface behind an instance or, by `postern attach`,
// behind something that already exists on a host.
type Attachment struct {
	ID                  string     `json:"id"` // eni-attach-...
	Instance            InstanceID `json:"instance,omitempty"`
	DeviceIndex         int        `json:"deviceIndex"`
	DeleteOnTermination bool       `json:"deleteOnTermination"`
	Time                time.Time  `json:"time"`
	// Host runs the workload.
	Host HostID `json:"host"`
	// External is set when the workload is not an instance of ours.
	External *ExternalWorkload `json:"external,omitempty"`
}

// ExternalWorkload is an existing namespace, container or tap on a host.
// Exactly one of the three is set.
type ExternalWorkload struct {
	Netns  string `json:"netns,omitempty"`  // path of a network namespace
	PID    int    `json:"pid,omitempty"`    // a process whose network namespace is meant
	Ifname string `json:"ifname,omitempty"` // a host-side device (veth or tap) that exists
}

// Indexes of interfaces.
const (
	IndexInstance = "instance" // InstanceID
	IndexHost     = "host"     // HostID
	IndexEndpoint = "endpoint" // EndpointID
	IndexBalancer = "balancer" // ARN of a load balancer
	IndexAddr     = "addr"     // "vpc-.../10.0.0.5"
)

func (*NetworkInterface) Kind() Kind    { return KindInterface }
func (n *NetworkInterface) Key() string { return string(n.ID) }
func (n *NetworkInterface) Index(add func(index, value string)) {
	add(IndexOwner, string(n.Owner))
	add(IndexVPC, string(n.VPC))
	add(IndexSubnet, string(n.Subnet))
	for _, a := range n.AllAddrs() {
		add(IndexAddr, string(n.VPC)+"/"+a.String())
	}
	for _, g := range n.Groups {
		add(IndexGroup, string(g))
	}
	if n.Endpoint != "" {
		add(IndexEndpoint, string(n.Endpoint))
	}
	if n.Balancer != "" {
		add(IndexBalancer, string(n.Balancer))
	}
	if n.Resolver != "" {
		add(IndexResolverEndpoint, string(n.Resolver))
	}
	if a := n.Attachment; a != nil {
		add("attachment", a.ID)
		if a.Instance != "" {
			add(IndexInstance, string(a.Instance))
		}
		if a.Host != "" {
			add(IndexHost, string(a.Host))
		}
	}
}

// Addrs are its IPv4 addresses, the primary one first.
func (n *NetworkInterface) Addrs() []netip.Addr {
	return append([]netip.Addr{n.Addr}, n.Secondary...)
}

// AllAddrs are its addresses of both families, those of IPv6 last.
func (n *NetworkInterface) AllAddrs() []netip.Addr { return append(n.Addrs(), n.IPv6...) }

// OwnerID is the account it belongs to.
func (n *NetworkInterface) OwnerID() AccountID { return n.Owner }

func (n *NetworkInterface) Refs(add func(Kind, string)) {
	add(KindVPC, string(n.VPC))
	add(KindSubnet, string(n.Subnet))
	for _, g := range n.Groups {
		add(KindGroup, string(g))
	}
}

func (n *NetworkInterface) Claims(add func(string)) {
	for _, a := range n.AllAddrs() {
		add(AddrClaim(n.Subnet, a))
	}
	add("mac/" + n.MAC)
}

// AddrClaim is the claim that makes an address of a subnet one interface's own.
func AddrClaim(s SubnetID, a netip.Addr) string { return "addr/" + string(s) + "/" + a.String() }

// InstanceState is an instance's state name.
type InstanceState string

// Instance states; Code gives AWS's number.
const (
	InstancePending      InstanceState = "pending"
	InstanceRunning      InstanceState = "running"
	InstanceShuttingDown InstanceState = "shutting-down"
	InstanceTerminated   InstanceState = "terminated"
)

// Code is the numeric state code of the EC2 API.
func (s InstanceState) Code() int {
	switch s {
	case InstanceRunning:
		return 16
	case InstanceShuttingDown:
		return 32
	case InstanceTerminated:
		return 48
	}
	return 0
}

// Instance is a workload Postern made: a network namespace with an interface.
type Instance struct {
	ID           InstanceID    `json:"id"`
	Owner        AccountID     `json:"owner"`
	Reservation  string        `json:"reservation"` // r-...
	VPC          VPCID         `json:"vpc"`
	Subnet       SubnetID      `json:"subnet"`
	Zone         string        `json:"zone"`
	Host         HostID        `json:"host"`              // "" with no datapath
	ImageID      string        `json:"imageId"`           // stored only
	InstanceType string        `json:"instanceType"`      // stored only
	KeyName      string        `json:"keyName,omitempty"` // stored only
	State        InstanceState `json:"state"`
	Launched     time.Time     `json:"launched"`
	Terminated   time.Time     `json:"terminated,omitzero"`
	// Primary is the interface with device index 0; it stays named after
	// termination although the interface is gone.
	Primary InterfaceID `json:"primary"`
	Addr    netip.Addr  `json:"addr"`
	Tenancy string      `json:"tenancy,omitempty"` // of the VPC at launch; "" is default. Stored only
	// HostnameOptions are the subnet's at launch, or what was asked for.
	HostnameOptions
	// KeepRunning is disableApiTermination: TerminateInstances refuses it.
	KeepRunning bool `json:"keepRunning,omitempty"`
	// Kept and shown only: nothing stops an instance or runs its user data.
	DisableAPIStop   bool   `json:"disableApiStop,omitempty"`
	ShutdownBehavior string `json:"shutdownBehavior,omitempty"` // "" is stop
	UserData         []byte `json:"userData,omitempty"`
	Tags             Tags   `json:"tags,omitempty"`
}

func (*Instance) Kind() Kind    { return KindInstance }
func (i *Instance) Key() string { return string(i.ID) }
func (i *Instance) Index(add func(index, value string)) {
	add(IndexOwner, string(i.Owner))
	add(IndexVPC, string(i.VPC))
	add(IndexSubnet, string(i.Subnet))
	if i.Host != "" {
		add(IndexHost, string(i.Host))
	}
	add("state", string(i.State))
}
func (i *Instance) Refs(add func(Kind, string)) {
	if i.State != InstanceTerminated {
		add(KindSubnet, string(i.Subnet))
	}
}
func (i *Instance) Claims(add func(string)) {}

// OwnerID is the account it belongs to.
func (i *Instance) OwnerID() AccountID { return i.Owner }

func init() {
	register[NetworkInterface]()
	register[Instance]()
}
