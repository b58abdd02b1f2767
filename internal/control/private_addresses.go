// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// MaxAddresses bounds the private addresses of an interface, the primary one
// included: the largest of AWS's instance types have 50.
const MaxAddresses = 50

func tooManyAddresses(n int) error {
	return vpc.Errorf(vpc.Limit, "private-address", "", "Number of private addresses (%d) will exceed limit: an interface has at most %d.", n, MaxAddresses)
}

// checkSecondary refuses further addresses of a new interface that are given in
// both ways.
func checkSecondary(addrs []netip.Addr, count int) error {
	switch {
	case count < 0:
		return vpc.Errorf(vpc.Invalid, "secondaryPrivateIpAddressCount", "", "Value (%d) for parameter secondaryPrivateIpAddressCount is invalid. It must not be negative.", count)
	case len(addrs) > 0 && count > 0:
		return vpc.Errorf(vpc.Combination, "SecondaryPrivateIpAddressCount", "", "The parameters privateIpAddresses with secondary addresses and secondaryPrivateIpAddressCount may not be specified together")
	}
	return nil
}

// secondaryAddresses checks the addresses that are chosen and picks count free
// ones besides them and besides taken.
func secondaryAddresses(tx *store.Tx, s *vpc.Subnet, taken, chosen []netip.Addr, count int) ([]netip.Addr, error) {
	if n := len(taken) + len(chosen) + max(count, 0); n > MaxAddresses {
		return nil, tooManyAddresses(n)
	}
	return pickAddresses("privateIpAddress", taken, chosen, count,
		func(a netip.Addr) error { return checkAddress(tx, s, a) },
		func(used func(netip.Addr) bool) (netip.Addr, error) { return freeAddress(tx, s, used) })
}

// pickAddresses are the addresses that are chosen in a parameter, each checked
// and none twice, and count free ones besides them and besides taken.
func pickAddresses(parameter string, taken, chosen []netip.Addr, count int,
	check func(netip.Addr) error, free func(used func(netip.Addr) bool) (netip.Addr, error)) ([]netip.Addr, error) {
	var out []netip.Addr
	used := func(a netip.Addr) bool { return slices.Contains(taken, a) || slices.Contains(out, a) }
	for _, a := range chosen {
		if used(a) {
			return nil, vpc.Errorf(vpc.Invalid, parameter, a.String(), "Value (%s) for parameter %s is invalid. The address appears multiple times.", a, parameter)
		}
		if err := check(a); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	for range count {
		a, err := free(used)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// AssignInput are the parameters of AssignPrivateIpAddresses: addresses or a
// number of free ones.
type AssignInput struct {
	Interface vpc.InterfaceID
	Addrs     []netip.Addr
	Count     int
	// Move takes an address from another interface that has it as a secondary one.
	Move bool
}

// AssignAddresses gives an interface secondary addresses and answers them.
func (c *Control) AssignAddresses(ctx context.Context, caller Caller, in AssignInput) ([]netip.Addr, error) {
	switch {
	case len(in.Addrs) > 0 && in.Count != 0:
		return nil, vpc.Errorf(vpc.Combination, "SecondaryPrivateIpAddressCount", "", "The parameters privateIpAddress and secondaryPrivateIpAddressCount may not be specified together")
	case len(in.Addrs) == 0 && in.Count == 0:
		return nil, vpc.Errorf(vpc.Missing, "PrivateIpAddress", "", "The request must contain the parameter privateIpAddress or secondaryPrivateIpAddressCount")
	case in.Count < 0:
		return nil, vpc.Errorf(vpc.Invalid, "secondaryPrivateIpAddressCount", "", "Value (%d) for parameter secondaryPrivateIpAddressCount is invalid. It must be at least 1.", in.Count)
	}
	var made []netip.Addr
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, in.Interface)
		if err != nil {
			return err
		}
		s, err := Owned[vpc.Subnet](tx, caller, n.Subnet)
		if err != nil {
			return err
		}
		n = vpc.Edit(n)
		chosen := distinct(in.Addrs)
		if in.Move {
			chosen = slices.DeleteFunc(chosen, func(a netip.Addr) bool { return slices.Contains(n.Secondary, a) })
		}
		for _, a := range chosen {
			if err := c.releaseAddress(tx, caller, s, n, a, in.Move); err != nil {
				return err
			}
		}
		if made, err = secondaryAddresses(tx, s, n.Addrs(), chosen, in.Count); err != nil {
			return err
		}
		n.Secondary = append(n.Secondary, made...)
		tx.Put(n)
		return nil
	})
	return made, err
}

// releaseAddress takes an address away from the interface that has it, if it
// may be moved to n.
func (c *Control) releaseAddress(tx *store.Tx, caller Caller, s *vpc.Subnet, n *vpc.NetworkInterface, a netip.Addr, move bool) error {
	o, ok := vpc.First[vpc.NetworkInterface](tx, vpc.IndexAddr, string(s.VPC)+"/"+a.String())
	if !ok {
		return nil
	}
	i := slices.Index(o.Secondary, a)
	if !move || i < 0 || o.ID == n.ID || o.Owner != caller.Account || o.RequesterManaged || o.Subnet != s.ID {
		return vpc.Errorf(vpc.Invalid, "privateIpAddress", a.String(), "Some of [%s] addresses are assigned, but move is not allowed.", a)
	}
	o, err := Owned[vpc.NetworkInterface](tx, caller, o.ID) // so that the commit depends on it
	if err != nil {
		return err
	}
	o = vpc.Edit(o)
	o.Secondary = slices.Delete(o.Secondary, i, i+1)
	tx.Put(o)
	return nil
}

// UnassignAddresses takes secondary addresses from an interface, all or none.
func (c *Control) UnassignAddresses(ctx context.Context, caller Caller, eni vpc.InterfaceID, addrs []netip.Addr) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		n, err := ownInterface(tx, caller, eni)
		if err != nil {
			return err
		}
		n = vpc.Edit(n)
		for _, a := range distinct(addrs) {
			i := slices.Index(n.Secondary, a)
			switch {
			case a == n.Addr:
				return vpc.Errorf(vpc.Invalid, "privateIpAddress", a.String(), "The primary address %s of interface %s cannot be unassigned", a, eni)
			case i < 0:
				return vpc.Errorf(vpc.Invalid, "privateIpAddress", a.String(), "Some of [%s] addresses are not assigned to interface %s", a, eni)
			}
			n.Secondary = slices.Delete(n.Secondary, i, i+1)
		}
		tx.Put(n)
		return nil
	})
}

// distinct drops repeated addresses and keeps the order.
func distinct(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
