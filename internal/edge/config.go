// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/netip"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Config is everything the edge process knows of its host. The one that came
// last counts. How it comes is told by Change.
type Config struct {
	Revision vpc.Revision `json:"revision"`
	Region   string       `json:"region"`
	// VPCs, Endpoints and Services are those of desired.Host, except that
	// Service.Backends are never empty for a service that has a backend: each is
	// http://host:port, https://host:port or unix:/path, which is the only one.
	VPCs      map[vpc.VNI]desired.VPC             `json:"vpcs,omitempty"`
	Endpoints map[vpc.EndpointID]desired.Endpoint `json:"endpoints,omitempty"`
	Services  map[string]desired.Service          `json:"services,omitempty"`
	// Interfaces by vpc.Num of their ids, to name a client in the log.
	Interfaces map[uint64]Interface `json:"interfaces,omitempty"`
	// Keys are the accounts of access keys, without secrets.
	Keys map[string]vpc.AccountID `json:"keys,omitempty"`
	// Users are those of desired.Host.
	Users map[string]desired.User `json:"users,omitempty"`
	// Upstreams are DNS resolvers of the outside, "address" or "address:port".
	Upstreams []string `json:"upstreams,omitempty"`
	// Zones are those of desired.Host, DNSRate how many questions a second an
	// interface may ask the resolver; 0 is the usual number.
	Zones   map[vpc.HostedZoneID]desired.Zone `json:"zones,omitempty"`
	DNSRate int                               `json:"dnsRate,omitempty"`
	// DNSHostTargets are addresses of the host that forward rules may lead to.
	DNSHostTargets []netip.Addr `json:"dnsHostTargets,omitempty"`
	// Certificates by service short name. One covers all the service's names;
	// the key that issues them never comes here.
	Certificates map[string]Certificate `json:"certificates,omitempty"`
	// Questions are where the backends of services, by short name, answer what
	// policies need to know of a resource: unix:/path. Those of other services are
	// not asked.
	Questions map[string]string `json:"questions,omitempty"`
	// IdentityKey is the Ed25519 key, PEM, that signs for services whose backends
	// are told by a header who a request comes from.
	IdentityKey string `json:"identityKey,omitempty"`
}

// Interface is whose interface a client has.
type Interface struct {
	ID    vpc.InterfaceID `json:"id"`
	VPC   vpc.VPCID       `json:"vpc"`
	Owner vpc.AccountID   `json:"owner"`
}

// Certificate is a chain, leaf first, and the leaf's key, both PEM.
type Certificate struct {
	CertPEM string `json:"certPem"`
	KeyPEM  string `json:"keyPem"`
}

// Identity is who is at the other end of a connection, as the datapath knows it.
type Identity struct {
	VNI    vpc.VNI        // the client's VPC
	Client netip.AddrPort // the client's private address
	// Interface and Endpoint are vpc.Num of the client's interface and of the
	// endpoint the connection came through; 0 if there is none.
	Interface, Endpoint uint64
}

// Identifier names the client of a connection. proto is an IANA number. An error
// means that nobody known is there.
type Identifier interface {
	Identify(remote, local netip.AddrPort, proto int) (Identity, error)
}
