// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// IPv6Request are the IPv6 addresses that an interface is to get: chosen ones,
// or a number of free ones.
type IPv6Request struct {
	Addrs []netip.Addr `json:",omitempty"`
	// Count is nil where it was not said: the subnet of a new interface may
	// assign an address then.
	Count *int `json:",omitempty"`
}

// empty reports whether nothing was asked for, not even that there be none.
func (r IPv6Request) empty() bool { return len(r.Addrs) == 0 && r.Count == nil }

// check refuses what can be refused without looking at the domain.
func (r IPv6Request) check() error {
	switch {
	case r.Count != nil && *r.Count < 0:
		return vpc.Errorf(vpc.Invalid, "ipv6AddressCount", "", "Value (%d) for parameter ipv6AddressCount is invalid. It must not be negative.", *r.Count)
	case len(r.Addrs) > 0 && r.Count != nil:
		return vpc.Errorf(vpc.Combination, "Ipv6AddressCount", "", "The parameters ipv6Addresses and ipv6AddressCount may not be specified together")
	}
	return nil
}

// orAssigned is the request, or what the subnet assigns on creation if there is none.
func (r IPv6Request) orAssigned(s *vpc.Subnet) IPv6Request {
	if r.empty() && s.AssignIPv6 {
		one := 1
		r.Count = &one
	}
	return r
}

// ipv6Addresses checks the addresses of a request and picks its free ones, for
// an interface of the subnet that has those in taken.
func (c *Control) ipv6Addresses(tx *store.Tx, s *vpc.Subnet, taken []netip.Addr, r IPv6Request) ([]netip.Addr, error) {
	count := 0
	if r.Count != nil {
		count = *r.Count
	}
	if len(r.Addrs) == 0 && count <= 0 {
		return nil, nil
	}
	if !s.HasIPv6() {
		return nil, noBlock6("subnetId", s.ID)
	}
	// Not len + count: a tenant chooses both.
	if n := len(taken) + len(r.Addrs); n > MaxAddresses || count > MaxAddresses-n {
		return nil, vpc.Errorf(vpc.Limit, "private-address", "", "Number of IPv6 addresses will exceed limit: an interface has at most %d.", MaxAddresses)
	}
	// The block must not leave the subnet meanwhile.
	tx.Touch(s)
	return pickAddresses("ipv6Addresses", taken, r.Addrs, count,
		func(a netip.Addr) error { return checkAddress6(tx, s, a) },
		func(used func(netip.Addr) bool) (netip.Addr, error) { return c.freeAddress6(tx, s, used) })
}

// checkAddress6 refuses an address that cannot be given out in the subnet.
func checkAddress6(tx *store.Tx, s *vpc.Subnet, a netip.Addr) error {
	if !s.IPv6.CIDR.Contains(a) {
		return vpc.Errorf(vpc.AddressMismatch, "ipv6Addresses", a.String(),
			"Value (%s) for parameter ipv6Addresses is invalid. Address does not fall within the subnet's address range", a)
	}
	if vpc.ReservedAddr(s.IPv6.CIDR, a) {
		return vpc.Errorf(vpc.AddressMismatch, "ipv6Addresses", a.String(),
			"Value (%s) for parameter ipv6Addresses is invalid. Address is in subnet's reserved address range", a)
	}
	if tx.Claimed(vpc.AddrClaim(s.ID, a)) {
		return vpc.Errorf(vpc.AddressInUse, "ipv6Addresses", a.String(), "Address %s is in use.", a)
	}
	return nil
}

// freeAddress6 is a free address of a subnet that is not about to be taken. It
// is drawn: of 2^64 addresses the next draw is as good as free.
func (c *Control) freeAddress6(tx *store.Tx, s *vpc.Subnet, used func(netip.Addr) bool) (netip.Addr, error) {
	b := s.IPv6.CIDR.Addr().As16()
	for range 100 {
		if _, err := io.ReadFull(c.Random, b[8:]); err != nil {
			return netip.Addr{}, fmt.Errorf("read random bytes for an IPv6 address: %w", err)
		}
		if a := netip.AddrFrom16(b); !used(a) && checkAddress6(tx, s, a) == nil {
			return a, nil
		}
	}
	return netip.Addr{}, vpc.Errorf(vpc.NoAddress, string(vpc.KindSubnet), string(s.ID), "insufficient free IPv6 addresses in subnet '%s'", s.ID)
}

// AssignIPv6 gives an interface IPv6 addresses and answers them.
func (c *Control) AssignIPv6(ctx context.Context, caller Caller, eni vpc.InterfaceID, r IPv6Request) ([]netip.Addr, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Addrs = distinct(r.Addrs)
	if len(r.Addrs) == 0 && (r.Count == nil || *r.Count == 0) {
		return nil, vpc.Errorf(vpc.Missing, "Ipv6Addresses", "", "The request must contain the parameter ipv6Addresses or ipv6AddressCount")
	}
	var made []netip.Addr
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, eni)
		if err != nil {
			return err
		}
		s, err := Owned[vpc.Subnet](tx, caller, n.Subnet)
		if err != nil {
			return err
		}
		if made, err = c.ipv6Addresses(tx, s, n.IPv6, r); err != nil {
			return err
		}
		n = vpc.Edit(n)
		n.IPv6 = append(n.IPv6, made...)
		tx.Put(n)
		return nil
	})
	return made, err
}

// UnassignIPv6 takes IPv6 addresses from an interface, all or none.
func (c *Control) UnassignIPv6(ctx context.Context, caller Caller, eni vpc.InterfaceID, addrs []netip.Addr) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, eni)
		if err != nil {
			return err
		}
		n = vpc.Edit(n)
		for _, a := range distinct(addrs) {
			i := slices.Index(n.IPv6, a)
			if i < 0 {
				return vpc.Errorf(vpc.Invalid, "ipv6Addresses", a.String(), "Some of [%s] addresses are not assigned to interface %s", a, eni)
			}
			n.IPv6 = slices.Delete(n.IPv6, i, i+1)
		}
		tx.Put(n)
		return nil
	})
}

// checkTracking refuses idle times that are out of AWS's ranges.
func checkTracking(t vpc.ConnectionTracking) error {
	for _, x := range []struct {
		name    string
		seconds int
		in      vpc.TrackingRange
	}{
		{"tcpEstablishedTimeout", t.TCPEstablished, vpc.TCPEstablishedRange}, {"udpTimeout", t.UDP, vpc.UDPRange},
		{"udpStreamTimeout", t.UDPStream, vpc.UDPStreamRange},
	} {
		if x.seconds != 0 && !x.in.Holds(x.seconds) {
			return vpc.Errorf(vpc.Invalid, x.name, "", "Value (%d) for parameter %s is invalid. It must be from %d to %d seconds.", x.seconds, x.name, x.in.Min, x.in.Max)
		}
	}
	return nil
}
