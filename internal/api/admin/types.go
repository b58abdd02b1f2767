// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/netip"
	"time"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/vpc"
)

// Info describes a running installation.
type Info struct {
	Version  string   `json:"version"`
	Endpoint string   `json:"endpoint"` // URL for AWS's clients: http://127.0.0.1:8420
	Region   string   `json:"region"`
	Zones    []string `json:"zones"`
	DataDir  string   `json:"dataDir"`  // absolute
	Datapath string   `json:"datapath"` // ebpf or none
	// CA is the file with the installation's own root certificate, WorkloadCA
	// the one with the system's roots too. Both are PEM.
	CA         string `json:"ca"`
	WorkloadCA string `json:"workloadCa"`
	// AuditLog is the file with a line for every call, "" if there is none.
	AuditLog string `json:"auditLog,omitempty"`
	// Tag marks what the installation makes in the kernel.
	Tag string `json:"tag,omitempty"`
	// Host is the machine the server runs on, "" without a datapath.
	Host vpc.HostID `json:"host,omitempty"`
	// HostsListen is where hosts on other machines connect, "" if they cannot;
	// Fingerprint is that of the authority they and the server have their
	// certificates from.
	HostsListen string `json:"hostsListen,omitempty"`
	Fingerprint string `json:"caFingerprint,omitempty"`
}

// AccessKey is one signing key. Secret is empty in lists.
type AccessKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty"`
}

// Account is an owner of resources.
type Account struct {
	ID       vpc.AccountID `json:"id"`
	Name     string        `json:"name"`
	Operator bool          `json:"operator,omitempty"`
	Keys     []AccessKey   `json:"keys"`
	Created  time.Time     `json:"created"`
}

// User is a user of an account, with the keys that are on.
type User struct {
	Name string      `json:"name"`
	ARN  string      `json:"arn"`
	Keys []AccessKey `json:"keys"`
}

// NewAccount asks for an account. Without a key, one is made.
type NewAccount struct {
	Name      string `json:"name"`
	AccessKey string `json:"accessKey,omitempty"`
	SecretKey string `json:"secretKey,omitempty"`
}

// Domain is a DNS domain whose names an account's services may use. Account
// is a name or an id when asked with and a name in answers.
type Domain struct {
	Account string `json:"account"`
	Domain  string `json:"domain"`
}

// Workload is an interface and what is behind it.
type Workload struct {
	Instance  vpc.InstanceID    `json:"instance,omitempty"`
	State     vpc.InstanceState `json:"state,omitempty"` // of the instance
	Name      string            `json:"name,omitempty"`  // the Name tag
	Owner     vpc.AccountID     `json:"owner"`
	Account   string            `json:"account"` // the owner's name
	Interface vpc.InterfaceID   `json:"interface"`
	Addr      netip.Addr        `json:"addr"`
	VPC       vpc.VPCID         `json:"vpc"`
	Subnet    vpc.SubnetID      `json:"subnet"`
	Zone      string            `json:"zone"`
	Host      vpc.HostID        `json:"host,omitempty"` // "" when it runs nowhere
	// Servers and Search are what the VPC's DHCP options say of names: whom to
	// ask, and the domains that names without a dot are tried in.
	Servers []netip.Addr `json:"servers"`
	Search  []string     `json:"search"`
	// External is set for what `postern attach` named.
	External *vpc.ExternalWorkload `json:"external,omitempty"`
}

// NewRun asks for one instance. Account is a name or id, "" for the subnet's
// owner; no groups are the VPC's default group.
type NewRun struct {
	Account string        `json:"account,omitempty"`
	Subnet  vpc.SubnetID  `json:"subnet"`
	Groups  []vpc.GroupID `json:"groups,omitempty"`
	Name    string        `json:"name,omitempty"` // the Name tag
}

// Target names what to terminate or detach.
type Target struct {
	Instance  vpc.InstanceID  `json:"instance,omitempty"`
	Interface vpc.InterfaceID `json:"interface,omitempty"`
}

// Attachment puts something that exists on a host behind an interface. Host ""
// is the server's own.
type Attachment struct {
	Interface vpc.InterfaceID      `json:"interface"`
	Workload  vpc.ExternalWorkload `json:"workload"`
	Host      vpc.HostID           `json:"host,omitempty"`
}

// NewHost registers a machine that is to run workloads.
type NewHost struct {
	ID       vpc.HostID `json:"id"`
	Zone     string     `json:"zone,omitempty"`
	Underlay netip.Addr `json:"underlay,omitzero"`
}

// Joining lets a machine become a host: the secret is good once, until Before.
type Joining struct {
	Host   vpc.HostID `json:"host"`
	Secret string     `json:"secret"`
	Before time.Time  `json:"before"`
}

// Host is one machine as the server knows it.
type Host struct {
	ID   vpc.HostID `json:"id"`
	Zone string     `json:"zone,omitempty"` // "" serves every zone
	// Underlay is its address among hosts, absent if it exchanges no packets
	// with others.
	Underlay netip.Addr `json:"underlay,omitzero"`
	// Joined says that a machine is this host; Local that it is the server's.
	Joined bool `json:"joined"`
	Local  bool `json:"local,omitempty"`
	// Interfaces counts those that are attached to something there.
	Interfaces int  `json:"interfaces"`
	Live       bool `json:"live"`
	// Applied is the revision the host holds.
	Applied vpc.Revision `json:"applied"`
	// Errors are what it could not bring about, by object.
	Errors map[string]string `json:"errors,omitempty"`
	Seen   time.Time         `json:"seen,omitzero"`
}

// Status is how the installation is doing.
type Status struct {
	Revision vpc.Revision `json:"revision"` // of the store
	Hosts    []Host       `json:"hosts"`
	// Objects counts what there is, by kind; terminated instances are not.
	Objects map[vpc.Kind]int `json:"objects"`
}

// Name says what a number of the datapath stands for.
type Name struct {
	Num      string         `json:"num"` // decimal: JSON numbers have no 64 bits
	Kind     vpc.Kind       `json:"kind"`
	ID       string         `json:"id"`
	Name     string         `json:"name,omitempty"` // the Name tag of it or of its instance
	Instance vpc.InstanceID `json:"instance,omitempty"`
	VPC      vpc.VPCID      `json:"vpc"`
	Addr     netip.Addr     `json:"addr,omitzero"`
	// Of an endpoint: what it is and leads to, and whether it is available.
	EndpointType vpc.EndpointType `json:"endpointType,omitempty"`
	ServiceName  string           `json:"serviceName,omitempty"`
	Service      vpc.ServiceID    `json:"service,omitempty"`
	Available    bool             `json:"available,omitempty"`
}

// Space is one VNI: a VPC's, or that of an endpoint's link.
type Space struct {
	VNI      vpc.VNI        `json:"vni"`
	VPC      vpc.VPCID      `json:"vpc"`
	Endpoint vpc.EndpointID `json:"endpoint,omitempty"`
}

// Names translates what the datapath counts.
type Names struct {
	Names  []Name  `json:"names"`
	Spaces []Space `json:"spaces"`
}

// Notification is a connection notification.
type Notification struct {
	ID       vpc.NotificationID    `json:"id"`
	Owner    vpc.AccountID         `json:"owner"`
	Account  string                `json:"account"` // the owner's name
	Service  vpc.ServiceID         `json:"service,omitempty"`
	Endpoint vpc.EndpointID        `json:"endpoint,omitempty"`
	Topic    vpc.ARN               `json:"topic"`
	Events   []vpc.ConnectionEvent `json:"events"`
	State    vpc.NotificationState `json:"state"`
	Reason   string                `json:"reason,omitempty"` // why it is Disabled
	// Lost counts events that will not be delivered.
	Lost int64 `json:"lost"`
	// Closing: its service or endpoint is gone, and it goes when nothing waits.
	Closing bool `json:"closing,omitempty"`
	// Waiting counts what waits to be delivered; Notices are the first hundred.
	Waiting int      `json:"waiting"`
	Notices []Notice `json:"notices"`
}

// Notice is one event that waits to be delivered.
type Notice struct {
	MessageID string              `json:"messageId"`
	Event     vpc.ConnectionEvent `json:"event"`
	Endpoint  vpc.EndpointID      `json:"endpoint"`
	Sequence  int64               `json:"sequence"`
	Time      time.Time           `json:"time"` // of the event
	// Attempts failed so far; the next is not before Next.
	Attempts  int       `json:"attempts"`
	LastError string    `json:"lastError,omitempty"`
	Next      time.Time `json:"next,omitzero"`
	UnderWay  bool      `json:"underWay,omitempty"`
}

// NewServices are entries to add to the catalogue, whose files have been read.
type NewServices struct {
	Services []catalogue.Entry `json:"services"`
	// Replace lets an entry take the place of one of its name.
	Replace bool `json:"replace,omitempty"`
}

// Service is a service of the catalogue.
type Service struct {
	Name         string             `json:"name"`
	ServiceName  string             `json:"serviceName"`
	ID           vpc.ServiceID      `json:"id"`
	Types        []vpc.EndpointType `json:"types"`
	Protocol     string             `json:"protocol"`
	Prefixes     []netip.Prefix     `json:"prefixes"` // of both families
	PrefixLists  []vpc.PrefixListID `json:"prefixLists"`
	Addresses    []netip.Addr       `json:"addresses"`
	PublicNames  []string           `json:"publicNames"`
	PrivateNames []string           `json:"privateNames"` // those that interface endpoints get
	// Backends are empty for the one that comes with Postern.
	Backends    []ServiceBackend  `json:"backends"`
	HealthCheck *vpc.BackendCheck `json:"healthCheck,omitempty"`
	// Certificate says whose certificate workloads are shown: "postern" or "operator".
	Certificate     string `json:"certificate"`
	PolicySupported bool   `json:"policySupported"`
	// From is where the entry is: "configuration", or "command".
	From string `json:"from"`
	// Endpoints counts the endpoints to it.
	Endpoints int `json:"endpoints"`
}

// ServiceBackend is one of a service's backends. Hosts are what the edges of the hosts
// say of it: "healthy" or "unhealthy"; a host that does not check it says nothing.
type ServiceBackend struct {
	URL   string                `json:"url"`
	Hosts map[vpc.HostID]string `json:"hosts,omitempty"`
}

// failure is an error on the wire.
type failure struct {
	Error string        `json:"error"`
	Kind  vpc.ErrorKind `json:"kind"`
	// Problems are what is wrong with entries of the catalogue.
	Problems catalogue.Problems `json:"problems,omitempty"`
}

// Candidate is the candidate policy of an endpoint: hosts report what it would
// have decided, and it decides nothing.
type Candidate struct {
	Endpoint vpc.EndpointID `json:"endpoint"`
	Owner    vpc.AccountID  `json:"owner"`
	Set      time.Time      `json:"set"` // since when
	Policy   string         `json:"policy"`
}

// NewCandidate is a candidate policy to be.
type NewCandidate struct {
	Policy string `json:"policy"`
}
