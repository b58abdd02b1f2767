// SPDX-License-Identifier: Apache-2.0

package control

import (
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// addIPv6 gives an endpoint's or a load balancer's interface its address in the
// subnet's IPv6 block: the chosen one, or a free one if that is the zero Addr.
func (c *Control) addIPv6(tx *store.Tx, id vpc.InterfaceID, s *vpc.Subnet, chosen netip.Addr) (netip.Addr, error) {
	n, ok := vpc.Get[vpc.NetworkInterface](tx, id)
	if !ok {
		return netip.Addr{}, NotFound(vpc.KindInterface, string(id))
	}
	one := 1
	request := IPv6Request{Count: &one}
	if chosen.IsValid() {
		request = IPv6Request{Addrs: []netip.Addr{chosen}}
	}
	addrs, err := c.ipv6Addresses(tx, s, nil, request)
	if err != nil {
		return netip.Addr{}, err
	}
	n = vpc.Edit(n)
	n.IPv6 = append(addrs, n.IPv6...) // one that is going is the last
	tx.Put(n)
	return addrs[0], nil
}

// removeIPv6 takes an IPv6 address from an endpoint's or a load balancer's interface.
func removeIPv6(tx *store.Tx, id vpc.InterfaceID, a netip.Addr) {
	if n, ok := vpc.Get[vpc.NetworkInterface](tx, id); ok {
		n = vpc.Edit(n)
		n.IPv6 = slices.DeleteFunc(n.IPv6, func(o netip.Addr) bool { return o == a })
		tx.Put(n)
	}
}
