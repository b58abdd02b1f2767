// SPDX-License-Identifier: Apache-2.0

package control

import (
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// Offer is a service an account may make endpoints to. Exactly one field is set.
type Offer struct {
	Service   *vpc.EndpointService
	Catalogue *vpc.CatalogueService
}

// OfferNamed finds a service by its name. A service the caller is not allowed
// to use answers exactly as one that does not exist.
func OfferNamed(v vpc.View, caller Caller, name string) (Offer, error) {
	// By its key again: in a transaction only that makes the commit depend on it.
	if s, ok := vpc.First[vpc.EndpointService](v, vpc.IndexName, name); ok {
		if s, ok = vpc.Get[vpc.EndpointService](v, s.ID); ok && Allowed(s, caller) {
			return Offer{Service: s}, nil
		}
	}
	if c, ok := vpc.First[vpc.CatalogueService](v, vpc.IndexName, name); ok {
		if c, ok = vpc.Get[vpc.CatalogueService](v, c.Name); ok {
			return Offer{Catalogue: c}, nil
		}
	}
	return Offer{}, vpc.Errorf(vpc.NotFound, "service-name", name, "The Vpc Endpoint Service '%.256s' does not exist", name)
}

// Offers lists the services the caller may use: the catalogue, its own and
// those that allow it.
func Offers(v vpc.View, caller Caller) []Offer {
	var out []Offer
	for c := range vpc.All[vpc.CatalogueService](v) {
		out = append(out, Offer{Catalogue: c})
	}
	for s := range vpc.All[vpc.EndpointService](v) {
		if Allowed(s, caller) {
			out = append(out, Offer{Service: s})
		}
	}
	return out
}

// Name is the service name, com.amazonaws....
func (o Offer) Name() string {
	if o.Service != nil {
		return o.Service.Name
	}
	return o.Catalogue.ServiceName
}

// Types are the endpoint types the service can be reached by.
func (o Offer) Types() []vpc.EndpointType {
	if o.Service != nil {
		return []vpc.EndpointType{vpc.InterfaceEndpoint}
	}
	return o.Catalogue.Types
}

// AddressTypes are the families the service can be reached by: ipv4, ipv6.
func (o Offer) AddressTypes() []string {
	if o.Service != nil {
		return o.Service.AddressTypes()
	}
	return o.Catalogue.AddressTypes()
}

// Zones are the names of the zones an interface endpoint can be in, sorted.
func (o Offer) Zones(r *vpc.Region) []string {
	if o.Service != nil {
		return o.Service.Zones
	}
	var out []string
	for _, z := range r.Zones {
		out = append(out, z.Name)
	}
	slices.Sort(out)
	return out
}

// PolicySupported reports whether endpoint policies have an effect.
func (o Offer) PolicySupported() bool { return o.Catalogue != nil && o.Catalogue.PolicySupported }

// PrivateNames are the names an endpoint may newly ask for.
func (o Offer) PrivateNames() []string {
	if s := o.Service; s != nil && (s.Verification == nil || s.Verification.State != vpc.DNSVerified) {
		return nil
	}
	return vpc.PrivateNames(o.Service, o.Catalogue)
}

// Allowed reports whether a caller may find a service and ask to connect: its
// owner always, anybody else when a permission names the caller, the caller's
// account or everybody.
func Allowed(s *vpc.EndpointService, caller Caller) bool {
	if caller.Account == s.Owner {
		return true
	}
	for _, p := range s.Permissions {
		switch p.Principal {
		case "*", caller.Account.RootARN(), principalOf(caller.ARN):
			return true
		}
	}
	return false
}

// principalOf is the form in which permissions name a caller: a user or role
// without its path, and the role behind an assumed one.
//
//	arn:aws:iam::111111111111:user/team/ann           arn:aws:iam::111111111111:user/ann
//	arn:aws:sts::111111111111:assumed-role/build/job  arn:aws:iam::111111111111:role/build
func principalOf(arn string) string {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 {
		return arn
	}
	name := strings.Split(part[5], "/")
	switch {
	case part[2] == "sts" && name[0] == "assumed-role" && len(name) == 3:
		return "arn:" + part[1] + ":iam::" + part[4] + ":role/" + name[1]
	case part[2] == "iam" && (name[0] == "user" || name[0] == "role") && len(name) > 2:
		return "arn:" + part[1] + ":iam::" + part[4] + ":" + name[0] + "/" + name[len(name)-1]
	}
	return arn
}
