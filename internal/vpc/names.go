// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
)

// EndpointName is one DNS name of an interface endpoint. Either Nodes or CNAME
// says what it resolves to.
type EndpointName struct {
	// Name is canonical; a leading "*." covers all names below.
	Name string
	// HostedZoneID is the id of the zone the name is in, as dnsEntrySet shows it.
	HostedZoneID string
	// Zone is the apex of the hidden private zone that holds the name inside
	// the endpoint's VPC; "" for the regional and zonal names.
	Zone string
	// Nodes are the interfaces whose addresses answer.
	Nodes []EndpointNode
	// CNAME is the regional name; set for a customer service's private name.
	CNAME string
}

// EndpointNames lists the names of an endpoint in the order of dnsEntrySet:
// regional, zonal, private. A gateway endpoint has none. s and c are the
// customer's or the catalogue's service the endpoint leads to; the one that
// does not apply, or no longer exists, is nil.
//
// A service with wildcard names (S3: bucket.s3...) has each regional
// and zonal name twice, the wildcard first. The private names are left out when
// the provider has turned the endpoint down or it is going away.
//
// Whether the names resolve yet is Endpoint.Named's to say.
func EndpointNames(r *Region, e *Endpoint, s *EndpointService, c *CatalogueService) []EndpointName {
	if e.Type != InterfaceEndpoint {
		return nil
	}
	suffix := "." + ServiceBaseName(r, serviceLabel(r, e, c))
	zone := hostedZoneID(r.Domain, r.Name)
	wild := c != nil && slices.ContainsFunc(c.Names(), func(n string) bool { return strings.HasPrefix(n, "*.") })
	var out []EndpointName
	add := func(name string, nodes []EndpointNode) {
		if wild {
			out = append(out, EndpointName{Name: "*." + name, HostedZoneID: zone, Nodes: nodes})
		}
		out = append(out, EndpointName{Name: name, HostedZoneID: zone, Nodes: nodes})
	}
	regional := CanonicalName(e.DNSLabel + suffix)
	add(regional, e.Nodes)
	for i, n := range e.Nodes {
		add(CanonicalName(e.DNSLabel+"-"+n.Zone+suffix), e.Nodes[i:i+1])
	}
	if !e.PrivateDNS || e.State != EndpointPendingAcceptance && !e.State.Carries() {
		return out
	}
	for _, name := range PrivateNames(s, c) {
		n := EndpointName{Name: name, Zone: strings.TrimPrefix(name, "*.")}
		n.HostedZoneID = hostedZoneID(string(e.VPC), n.Zone)
		if s != nil {
			n.CNAME = regional
		} else {
			n.Nodes = e.Nodes
		}
		out = append(out, n)
	}
	return out
}

// EndpointNamesIn is EndpointNames with the services looked up in a view.
func EndpointNamesIn(v View, e *Endpoint) []EndpointName {
	r, ok := Get[Region](v, RegionKey)
	if !ok {
		return nil
	}
	s, c := ServiceOf(v, e)
	return EndpointNames(r, e, s, c)
}

// ServiceOf finds what an endpoint leads to: exactly one of the results is not
// nil, or none when the service is gone (a rejected endpoint outlives it).
func ServiceOf(v View, e *Endpoint) (*EndpointService, *CatalogueService) {
	if e.Service != "" {
		s, _ := Get[EndpointService](v, e.Service)
		return s, nil
	}
	c, _ := First[CatalogueService](v, IndexName, e.ServiceName)
	return nil, c
}

// PrivateNames are the names a consumer may have resolved to its endpoint: the
// private DNS name of a customer's service if it was ever verified, those of a
// catalogue service, which are its public names unless it has others. Canonical. Whether an endpoint may newly ask
// for them is for DNSVerification.State to say.
func PrivateNames(s *EndpointService, c *CatalogueService) []string {
	var out []string
	switch {
	case s != nil && s.PrivateDNSName != "" && s.Verification != nil && s.Verification.Granted:
		out = append(out, CanonicalName(s.PrivateDNSName))
	case c != nil:
		names := c.PrivateNames
		if len(names) == 0 {
			names = c.PublicNames
		}
		for _, n := range names {
			out = append(out, CanonicalName(n))
		}
	}
	return out
}

// ServiceBaseName is the name all names of a service's endpoints end in:
// vpce-svc-....us-east-1.vpce.amazonaws.com. label is the service's id for a
// customer's service and CatalogueLabel for a catalogue service.
func ServiceBaseName(r *Region, label string) string {
	return CanonicalName(label + "." + r.Name + "." + r.Domain)
}

// serviceLabel is what stands for the service in the endpoint's names.
func serviceLabel(r *Region, e *Endpoint, c *CatalogueService) string {
	switch {
	case e.Service != "":
		return string(e.Service)
	case c != nil:
		return CatalogueLabel(c.Name)
	}
	return CatalogueLabel(strings.TrimPrefix(e.ServiceName, "com.amazonaws."+r.Name+"."))
}

// CatalogueLabel is what stands for a catalogue service in the names of its
// endpoints: its short name with the parts the other way round, as in its public
// name. AWS's com.amazonaws.us-east-1.ecr.api has api.ecr.us-east-1.amazonaws.com.
func CatalogueLabel(name string) string {
	parts := strings.Split(name, ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// States of DNSVerification.
const (
	DNSPendingVerification = "pendingVerification"
	DNSVerified            = "verified"
	DNSFailed              = "failed"
)

// maxVerificationDomains bounds the domains that are asked for one name.
const maxVerificationDomains = 10

// VerificationDomains are the domains whose TXT record proves the right to a
// private DNS name: the name without its wildcard and its parents of at least
// two labels, the longest first. Of a name with very many labels only the
// shortest are.
func VerificationDomains(name string) []string {
	name = strings.TrimPrefix(CanonicalName(name), "*.")
	var out []string
	for strings.Contains(name, ".") {
		out = append(out, name)
		_, name, _ = strings.Cut(name, ".")
	}
	return out[max(len(out)-maxVerificationDomains, 0):]
}

// Covers reports whether the operator's word for the domain covers a private
// DNS name: the domain itself, a name below it, or the wildcard of either.
func (d *VerifiedDomain) Covers(name string) bool {
	name = strings.TrimPrefix(CanonicalName(name), "*.")
	return name == d.Domain || d.Domain != "" && strings.HasSuffix(name, "."+d.Domain)
}

// hostedZoneID makes the id of a zone from what it is the zone of, so that it
// is the same on every server and for every reader.
func hostedZoneID(parts ...string) string {
	h := sha256.Sum256([]byte("hosted zone\x00" + strings.Join(parts, "\x00")))
	return "Z" + base32.StdEncoding.EncodeToString(h[:])[:20]
}
