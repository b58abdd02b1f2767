// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"unicode/utf8"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// resolverRequester is the account that resolver endpoints' interfaces are managed by.
const resolverRequester = "000000000003"

// minResolverAddresses is how many addresses an endpoint has at least.
const minResolverAddresses = 2

// KindResolverAddress names an address of a resolver endpoint in errors.
const KindResolverAddress vpc.Kind = "resolver-endpoint-address"

// ResolverAddressInput is one address of a resolver endpoint: a subnet, and
// which of its addresses; the zero Addr takes a free one.
type ResolverAddressInput struct {
	Subnet vpc.SubnetID
	Addr   netip.Addr `json:",omitzero"`
	Addr6  netip.Addr `json:",omitzero"` // of a dual-stack endpoint
}

// CreateResolverEndpointInput are the parameters of CreateResolverEndpoint.
type CreateResolverEndpointInput struct {
	Request   string `json:"-"` // CreatorRequestId
	Name      string
	Inbound   bool
	DualStack bool
	Groups    []vpc.GroupID
	Addresses []ResolverAddressInput
	Tags      vpc.Tags
}

var (
	resolverName  = regexp.MustCompile(`^[a-zA-Z0-9\-_' ]+$`)
	onlyDecimals  = regexp.MustCompile(`^[0-9]+$`)
	errNoInternet = vpc.Errorf(vpc.NotPermitted, string(vpc.KindResolverRule), string(vpc.InternetResolverRule), "The rule '%s' is auto-defined and cannot be changed", vpc.InternetResolverRule)
)

// checkResolverName refuses names that nothing of the resolver can have.
func checkResolverName(name string) error {
	if name != "" && (len(name) > 64 || !resolverName.MatchString(name) || onlyDecimals.MatchString(name)) {
		return vpc.Errorf(vpc.Invalid, "Name", name, "The name '%s' must have at most 64 letters, digits, hyphens, underscores, apostrophes and spaces, and not digits alone", name)
	}
	return nil
}

// checkRequest refuses what cannot be a CreatorRequestId.
func checkRequest(id string) error {
	if n := utf8.RuneCountInString(id); n < 1 || n > 255 {
		return vpc.Errorf(vpc.Invalid, "CreatorRequestId", "", "The CreatorRequestId must have 1 to 255 characters")
	}
	return nil
}

// made looks up what a request made before: nothing, or an error if that was
// another one.
func made[T any, P object[T]](tx *store.Tx, caller Caller, request string, hash string, of func(P) vpc.CreatorRequest) (P, error) {
	o, ok := vpc.First[T, P](tx, vpc.IndexRequest, vpc.RequestKey(caller.Account, request))
	if !ok {
		return nil, nil
	}
	if of(o).Hash != hash {
		return nil, vpc.Errorf(vpc.TokenMismatch, string(o.Kind()), o.Key(), "A %s with the CreatorRequestId '%s' and other settings exists: '%s'", o.Kind(), request, o.Key())
	}
	return o, nil
}

// CreateResolverEndpoint makes an endpoint with its interfaces. A call with the
// CreatorRequestId of one that exists answers that one.
func (c *Control) CreateResolverEndpoint(ctx context.Context, caller Caller, in CreateResolverEndpointInput) (*vpc.ResolverEndpoint, error) {
	if err := checkRequest(in.Request); err != nil {
		return nil, err
	}
	if err := checkResolverName(in.Name); err != nil {
		return nil, err
	}
	if err := CheckTags(in.Tags); err != nil {
		return nil, err
	}
	switch {
	case len(in.Groups) == 0:
		return nil, vpc.Errorf(vpc.Missing, "SecurityGroupIds", "", "At least one security group must be specified")
	case len(in.Addresses) < minResolverAddresses:
		return nil, tooFewAddresses()
	case len(in.Addresses) > c.Quotas.AddressesPerResolver:
		return nil, c.tooManyAddresses()
	}
	var out *vpc.ResolverEndpoint
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		hash := hashOf(in)
		old, err := made(tx, caller, in.Request, hash, func(e *vpc.ResolverEndpoint) vpc.CreatorRequest { return e.Request })
		if err != nil || old != nil {
			out = old
			return err
		}
		touchAccount(tx, caller.Account)
		if count[vpc.ResolverEndpoint](tx, vpc.IndexOwner, caller.Account) >= c.Quotas.ResolverEndpoints {
			return vpc.Errorf(vpc.Limit, string(vpc.KindResolverEndpoint), "", "The maximum number of resolver endpoints, %d, has been reached", c.Quotas.ResolverEndpoints)
		}
		first, err := Owned[vpc.Subnet](tx, caller, in.Addresses[0].Subnet)
		if err != nil {
			return err
		}
		prefix := vpc.PrefixResolverOutbound
		if in.Inbound {
			prefix = vpc.PrefixResolverInbound
		}
		id, err := c.newID(prefix)
		if err != nil {
			return err
		}
		e := &vpc.ResolverEndpoint{
			ID: vpc.ResolverEndpointID(id), Owner: caller.Account, VPC: first.VPC, Inbound: in.Inbound, Name: in.Name, DualStack: in.DualStack,
			Request: vpc.CreatorRequest{ID: in.Request, Hash: hash}, Created: c.Now(), Modified: c.Now(), Tags: in.Tags,
		}
		if e.Groups, err = c.groupsFor(tx, caller, e.VPC, in.Groups); err != nil {
			return err
		}
		for _, a := range in.Addresses {
			if err := c.addResolverAddress(tx, caller, e, a); err != nil {
				return err
			}
		}
		tx.Put(e)
		out = e
		return nil
	})
	return out, err
}

func tooFewAddresses() error {
	return vpc.Errorf(vpc.Combination, "IpAddresses", "", "A resolver endpoint needs to have at least %d IP addresses", minResolverAddresses)
}

func (c *Control) tooManyAddresses() error {
	return vpc.Errorf(vpc.Limit, string(KindResolverAddress), "", "A resolver endpoint can have at most %d IP addresses", c.Quotas.AddressesPerResolver)
}

// addResolverAddress gives an endpoint one more interface.
func (c *Control) addResolverAddress(tx *store.Tx, caller Caller, e *vpc.ResolverEndpoint, in ResolverAddressInput) error {
	s, err := Owned[vpc.Subnet](tx, caller, in.Subnet)
	if err != nil {
		return err
	}
	switch {
	case s.VPC != e.VPC:
		return vpc.Errorf(vpc.Combination, "IpAddresses", string(s.ID), "The subnet '%s' is not in the VPC '%s': all IP addresses of a resolver endpoint must be in one VPC", s.ID, e.VPC)
	case in.Addr6.IsValid() && !e.DualStack:
		return vpc.Errorf(vpc.Combination, "Ipv6", in.Addr6.String(), "The IPv6 address '%s' does not go with the resolver endpoint type IPV4", in.Addr6)
	}
	rni, err := c.newID(vpc.PrefixResolverAddress)
	if err != nil {
		return err
	}
	n, err := c.newInterface(tx, interfaceSpec{
		Owner: e.Owner, Subnet: s, Addr: in.Addr, Type: vpc.TypeResolver, Groups: e.Groups,
		Description: "Route 53 Resolver: " + string(e.ID) + ":" + rni, RequesterID: resolverRequester, Resolver: e.ID,
	})
	if err != nil {
		return err
	}
	a := vpc.ResolverAddress{ID: rni, Subnet: s.ID, Interface: n.ID, Addr: n.Addr, Created: c.Now(), Modified: c.Now()}
	if e.DualStack {
		if a.Addr6, err = c.addIPv6(tx, n.ID, s, in.Addr6); err != nil {
			return err
		}
	}
	e.Addresses = append(e.Addresses, a)
	return nil
}

// OwnedResolverEndpoint finds an endpoint of the caller's account.
func OwnedResolverEndpoint(v vpc.View, caller Caller, id vpc.ResolverEndpointID) (*vpc.ResolverEndpoint, error) {
	e, err := Owned[vpc.ResolverEndpoint](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindResolverEndpoint), string(id), "Resolver endpoint with ID '%s' does not exist.", id)
	}
	return e, nil
}

// changeEndpoint edits an endpoint of the caller's account.
func (c *Control) changeEndpoint(ctx context.Context, caller Caller, id vpc.ResolverEndpointID, change func(*store.Tx, *vpc.ResolverEndpoint) error) (*vpc.ResolverEndpoint, error) {
	var out *vpc.ResolverEndpoint
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		e, err := OwnedResolverEndpoint(tx, caller, id)
		if err != nil {
			return err
		}
		out = vpc.Edit(e)
		if err := change(tx, out); err != nil {
			return err
		}
		out.Modified = c.Now()
		tx.Put(out)
		return nil
	})
	return out, err
}

// UpdateResolverEndpointInput is a change; what is nil stays.
type UpdateResolverEndpointInput struct {
	Name      *string
	DualStack *bool
	// Addr6 are the IPv6 addresses that addresses of an endpoint that becomes a
	// dual-stack one get, by their ids; the others get free ones.
	Addr6 map[string]netip.Addr
}

// UpdateResolverEndpoint changes an endpoint's name and type.
func (c *Control) UpdateResolverEndpoint(ctx context.Context, caller Caller, id vpc.ResolverEndpointID, in UpdateResolverEndpointInput) (*vpc.ResolverEndpoint, error) {
	if in.Name != nil {
		if err := checkResolverName(*in.Name); err != nil {
			return nil, err
		}
	}
	return c.changeEndpoint(ctx, caller, id, func(tx *store.Tx, e *vpc.ResolverEndpoint) error {
		if in.Name != nil {
			e.Name = *in.Name
		}
		for rni := range in.Addr6 {
			if !slices.ContainsFunc(e.Addresses, func(a vpc.ResolverAddress) bool { return a.ID == rni }) {
				return noResolverAddress(rni)
			}
		}
		becomes := in.DualStack != nil && *in.DualStack && !e.DualStack
		if len(in.Addr6) > 0 && !becomes {
			return vpc.Errorf(vpc.Combination, "UpdateIpAddresses", "", "IPv6 addresses can be specified only when the endpoint type changes from IPV4 to DUALSTACK")
		}
		switch {
		case becomes:
			for i := range e.Addresses {
				a := &e.Addresses[i]
				s, err := Owned[vpc.Subnet](tx, caller, a.Subnet)
				if err != nil {
					return err
				}
				if a.Addr6, err = c.addIPv6(tx, a.Interface, s, in.Addr6[a.ID]); err != nil {
					return err
				}
				a.Modified = c.Now()
			}
			e.DualStack = true
		case in.DualStack != nil && !*in.DualStack && e.DualStack:
			for r := range vpc.By[vpc.ResolverRule](tx, vpc.IndexResolverEndpoint, e.ID) {
				if err := targetsFit(false, r.Targets); err != nil {
					return err
				}
			}
			for i := range e.Addresses {
				removeIPv6(tx, e.Addresses[i].Interface, e.Addresses[i].Addr6)
				e.Addresses[i].Addr6, e.Addresses[i].Modified = netip.Addr{}, c.Now()
			}
			e.DualStack = false
		}
		return nil
	})
}

// AddResolverAddress gives an endpoint one more address.
func (c *Control) AddResolverAddress(ctx context.Context, caller Caller, id vpc.ResolverEndpointID, in ResolverAddressInput) (*vpc.ResolverEndpoint, error) {
	return c.changeEndpoint(ctx, caller, id, func(tx *store.Tx, e *vpc.ResolverEndpoint) error {
		if len(e.Addresses) >= c.Quotas.AddressesPerResolver {
			return c.tooManyAddresses()
		}
		for _, a := range e.Addresses {
			if in.Addr.IsValid() && a.Subnet == in.Subnet && a.Addr == in.Addr {
				return vpc.Errorf(vpc.Duplicate, string(KindResolverAddress), a.ID, "The IP address '%s' in subnet '%s' is already one of '%s'", a.Addr, a.Subnet, e.ID)
			}
		}
		return c.addResolverAddress(tx, caller, e, in)
	})
}

// ResolverAddressRef names an address of an endpoint: by its id, or by its
// subnet and address.
type ResolverAddressRef struct {
	ID     string
	Subnet vpc.SubnetID
	Addr   netip.Addr
	Addr6  netip.Addr
}

// names reports whether everything of the reference is the address's.
func (r ResolverAddressRef) names(a vpc.ResolverAddress) bool {
	return (r.ID == "" || a.ID == r.ID) && (r.Subnet == "" || a.Subnet == r.Subnet) &&
		(!r.Addr.IsValid() || a.Addr == r.Addr) && (!r.Addr6.IsValid() || a.Addr6 == r.Addr6)
}

// String is what of it a message names.
func (r ResolverAddressRef) String() string {
	switch {
	case r.ID != "":
		return r.ID
	case r.Addr.IsValid():
		return r.Addr.String()
	}
	return r.Addr6.String()
}

// RemoveResolverAddress takes an address from an endpoint that has enough of them.
func (c *Control) RemoveResolverAddress(ctx context.Context, caller Caller, id vpc.ResolverEndpointID, ref ResolverAddressRef) (*vpc.ResolverEndpoint, error) {
	if ref.ID == "" && (ref.Subnet == "" || !ref.Addr.IsValid() && !ref.Addr6.IsValid()) {
		return nil, vpc.Errorf(vpc.Missing, "IpAddress", "", "The IP address to remove must be named by its IpId, or by SubnetId and Ip or Ipv6")
	}
	return c.changeEndpoint(ctx, caller, id, func(tx *store.Tx, e *vpc.ResolverEndpoint) error {
		i := slices.IndexFunc(e.Addresses, ref.names)
		if i < 0 {
			return noResolverAddress(ref.String())
		}
		if len(e.Addresses) <= minResolverAddresses {
			return tooFewAddresses()
		}
		if n, ok := vpc.Get[vpc.NetworkInterface](tx, e.Addresses[i].Interface); ok {
			deleteInterface(tx, n)
		}
		e.Addresses = slices.Delete(e.Addresses, i, i+1)
		return nil
	})
}

func noResolverAddress(name string) error {
	return vpc.Errorf(vpc.NotFound, string(KindResolverAddress), name, "The resolver endpoint has no IP address '%s'", name)
}

// DeleteResolverEndpoint ends an endpoint and its interfaces, and answers what
// it was. One that rules forward from cannot go.
func (c *Control) DeleteResolverEndpoint(ctx context.Context, caller Caller, id vpc.ResolverEndpointID) (*vpc.ResolverEndpoint, error) {
	var out *vpc.ResolverEndpoint
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		e, err := OwnedResolverEndpoint(tx, caller, id)
		if err != nil {
			return err
		}
		if r, ok := vpc.First[vpc.ResolverRule](tx, vpc.IndexResolverEndpoint, id); ok {
			return vpc.Errorf(vpc.Conflict, string(vpc.KindResolverEndpoint), string(id), "The resolver endpoint '%s' cannot be deleted: the resolver rule '%s' uses it", id, r.ID)
		}
		for _, a := range e.Addresses {
			if n, ok := vpc.Get[vpc.NetworkInterface](tx, a.Interface); ok {
				deleteInterface(tx, n)
			}
		}
		tx.Delete(e)
		out = e
		return nil
	})
	return out, err
}

// ResolverEndpointReady reports whether every live host holds an endpoint as it
// is now, and if not why.
func (c *Control) ResolverEndpointReady(v vpc.View, e *vpc.ResolverEndpoint) (bool, string) {
	objects := []string{string(e.ID)}
	for _, a := range e.Addresses {
		objects = append(objects, string(a.Interface))
	}
	return c.Hosts.AppliedByAll(v.Changed(vpc.KindResolverEndpoint, string(e.ID)), objects...)
}
