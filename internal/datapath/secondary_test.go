// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
)

// A secondary address is the interface's own: packets for it arrive, packets
// from it pass the source check, others' still do not, and it goes when it is
// unassigned.
func TestSecondaryAddressesAreTheInterfacesOwn(t *testing.T) {
	w := newWorld(t)
	extra, others := netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("10.0.1.78")
	w.drops(tcp(eniA3, addrA3, 1, extra, 80, "S"), bpf.DropNoInterface)
	edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.Secondary = []netip.Addr{extra} })
	edit(w.host.Interfaces, eniA3, func(i *desired.Interface) { i.Secondary = []netip.Addr{others} })
	w.apply()
	w.passes(tcp(eniA3, addrA3, 1, extra, 80, "S"), eniA1)
	w.passes(tcp(eniA1, extra, 80, addrA3, 1, "SA"), eniA3)
	w.passes(tcp(eniA1, extra, 2, others, 80, "S"), eniA3)
	w.passes(tcp(eniA2, addrA2, 3, extra, 80, "S"), eniA1)
	w.drops(tcp(eniA1, others, 4, addrA3, 80, "S"), bpf.DropSourceAddress)
	w.drops(tcp(eniA1, addrA2, 4, addrA3, 80, "S"), bpf.DropSourceAddress)
	w.drops(tcp(eniA2, extra, 4, addrA3, 80, "S"), bpf.DropSourceAddress)
	w.drops(tcp(eniB1, extra, 4, addrB2, 80, "S"), bpf.DropSourceAddress) // another VPC's has no such address
	w.drops(tcp(eniA1, netip.MustParseAddr("10.0.0.2"), 4, addrA3, 80, "S"), bpf.DropSourceAddress)
	w.drops(tcp(eniA1, netip.MustParseAddr("10.0.0.1"), 4, addrA3, 80, "S"), bpf.DropSourceAddress)

	// A rule for the address alone, as a group's member is.
	w.rules(eniA3, desired.RuleSet{Ingress: []desired.Rule{allow(6, 443, 443, netip.PrefixFrom(extra, 32))}, Egress: open.Egress})
	w.apply()
	w.passes(tcp(eniA1, extra, 5, addrA3, 443, "S"), eniA3)
	w.drops(tcp(eniA1, addrA1, 5, addrA3, 443, "S"), bpf.DropGroupIngress)
	w.rules(eniA3, open)

	// The flows of an address that is unassigned end with it.
	edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.Secondary = nil })
	w.apply()
	w.drops(tcp(eniA3, addrA3, 1, extra, 80, "A"), bpf.DropNoInterface)
	w.drops(tcp(eniA1, extra, 80, addrA3, 1, "A"), bpf.DropSourceAddress)
	// Nor do they pass on with it.
	edit(w.host.Interfaces, eniA2, func(i *desired.Interface) { i.Secondary = []netip.Addr{extra} })
	w.rules(eniA2, desired.RuleSet{})
	w.apply()
	w.drops(tcp(eniA2, extra, 80, addrA3, 1, "A"), bpf.DropGroupEgress)
}

// A route to an interface needs no open destination check for what is the
// interface's own address.
func TestRouteToAnInterfaceReachesItsSecondaryAddress(t *testing.T) {
	w := newWorld(t)
	extra := netip.MustParseAddr("10.0.1.77")
	route := desired.Route{Prefix: netip.PrefixFrom(extra, 32), Kind: desired.RouteInterface, Interface: eniA3}
	edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) { r.Routes = append(r.Routes, route) })
	w.apply()
	p := tcp(eniA1, addrA1, 1, extra, 80, "S")
	w.drops(p, bpf.DropDestinationCheck)
	edit(w.host.Interfaces, eniA3, func(i *desired.Interface) { i.Secondary = []netip.Addr{extra} })
	w.apply()
	w.passes(p, eniA3)
}
