// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// prepare gives a namespace of ours its settings, before any device is
// in it: a device takes its first IPv6 settings from "default".
func (s *site) prepare(service bool) error {
	const loopback = 1 // its index in every namespace
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: loopback}}
	if err := s.here.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	err := s.settings.set(
		[2]string{"ipv6/conf/default/accept_ra", "0"},
		[2]string{"ipv6/conf/default/autoconf", "0"},
		[2]string{"ipv6/conf/default/accept_dad", "0"},
		[2]string{"ipv6/conf/default/disable_ipv6", "1"},
		[2]string{"ipv4/ping_group_range", "0 2147483647"},
	)
	if err != nil || !service {
		return err
	}
	return s.settings.set(
		// Every probe and proxied connection starts here, from one address.
		[2]string{"ipv4/ip_local_port_range", "1024 65535"},
		[2]string{"ipv4/tcp_tw_reuse", "1"},
		[2]string{"ipv4/tcp_fin_timeout", "15"},
		[2]string{"ipv4/tcp_slow_start_after_idle", "0"},
		[2]string{"ipv4/tcp_mtu_probing", "1"},
		[2]string{"ipv4/tcp_max_syn_backlog", "4096"},
		[2]string{"core/somaxconn", "4096"},
		// Addresses in here are the datapath's invention; only it checks sources.
		[2]string{"ipv4/conf/all/rp_filter", "0"},
		[2]string{"ipv4/conf/default/rp_filter", "0"},
	)
}

// configure brings dev, the far end of a pair, to what in says and gives it an
// alias. It is repeatable.
func (s *site) configure(in inside, name string, dev netlink.Link) error {
	at := dev.Attrs()
	if at.Alias != name {
		if err := s.here.LinkSetAlias(dev, name); err != nil {
			return fmt.Errorf("set alias of %s: %w", at.Name, err)
		}
	}
	if err := s.prepareIPv6(in, at.Name); err != nil {
		return err
	}
	if !bytes.Equal(at.HardwareAddr, in.mac) {
		if err := s.here.LinkSetHardwareAddr(dev, in.mac); err != nil {
			return fmt.Errorf("set mac of %s: %w", at.Name, err)
		}
	}
	if at.MTU != in.mtu {
		if err := s.here.LinkSetMTU(dev, in.mtu); err != nil {
			return fmt.Errorf("set mtu of %s: %w", at.Name, err)
		}
	}
	if in.noarp && at.RawFlags&unix.IFF_NOARP == 0 {
		if err := s.here.LinkSetARPOff(dev); err != nil {
			return fmt.Errorf("turn arp off on %s: %w", at.Name, err)
		}
	}
	if err := s.here.LinkSetUp(dev); err != nil {
		return fmt.Errorf("bring %s up: %w", at.Name, err)
	}
	if err := configureFamily(s.here, dev, in, in.four()); err != nil {
		return err
	}
	if len(in.ipv6) > 0 {
		return configureFamily(s.here, dev, in, in.six())
	}
	return nil
}

// withoutIPv6 says why a device cannot have the IPv6 addresses it should have,
// if it cannot. In a namespace that is not ours IPv6 may be off; it stays off.
func (s *site) withoutIPv6(in inside) error {
	if len(in.ipv6) == 0 {
		return nil
	}
	if !s.settings.haveIPv6() {
		return errors.New("it has no IPv6 address: this kernel has no IPv6 (is it booted with ipv6.disable=1?)")
	}
	if in.own || in.owner == uplinkOwner {
		return nil
	}
	v, err := s.settings.get("ipv6/conf/default/disable_ipv6")
	if err == nil && v != "0" {
		err = fmt.Errorf("it has no IPv6 address: IPv6 is off in %s; set net.ipv6.conf.default.disable_ipv6 to 0 there", s.ns.Name())
	}
	return err
}

// prepareIPv6 gives a device its IPv6 settings. Addresses are given to it like
// IPv4's and nobody else has them: no router advertisement is believed, no
// address made up from one, and none waits for others to object. A device
// without any has no IPv6 at all.
func (s *site) prepareIPv6(in inside, name string) error {
	conf := "ipv6/conf/" + name + "/"
	off, mode := "0", "0" // a link-local address made from the MAC: neighbours are looked for from it
	if len(in.ipv6) == 0 {
		off = "1"
	}
	if len(in.ipv6) == 0 || in.noarp { // nobody is looked for; none also if IPv6 is turned on later
		mode = "1"
	}
	return s.settings.set(
		[2]string{conf + "accept_ra", "0"},
		[2]string{conf + "autoconf", "0"},
		[2]string{conf + "accept_dad", "0"},
		[2]string{conf + "addr_gen_mode", mode},
		[2]string{conf + "disable_ipv6", off},
	)
}

// family is what a device has of one address family.
type family struct {
	number int // unix.AF_INET or AF_INET6
	// addrs are its addresses, the one to send from first, bits the length of
	// the subnet's prefix.
	addrs []netip.Addr
	bits  int
	// router is the default route's next hop; invalid for none.
	router netip.Addr
	// resolver is the VPC's, for namespaces with another default route.
	resolver netip.Addr
}

// configureFamily brings the addresses and routes of dev to what f says.
func configureFamily(h *netlink.Handle, dev netlink.Link, in inside, f family) error {
	if err := setAddresses(h, dev, f); err != nil {
		return err
	}
	if in.own && in.several {
		if err := setWayOut(h, dev, firstTable+in.index, f); err != nil {
			return err
		}
	}
	if in.own && in.index > 0 {
		return nil // eth0 leads out
	}
	return setRoutes(h, dev, f)
}

// setAddresses makes f's addresses the device's only ones of that family, but
// for IPv6's link-local ones, which are the kernel's. They are added before
// others go, so there is no moment without one. The first is the one that the
// kernel sends from over IPv4.
func setAddresses(h *netlink.Handle, dev netlink.Link, f family) error {
	name := dev.Attrs().Name
	have, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(dev, f.number) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	found := map[string]bool{}
	for _, a := range have {
		found[a.IPNet.String()] = true
	}
	wanted := map[string]bool{}
	add := func(a netip.Addr, call func(netlink.Link, *netlink.Addr) error) error {
		n := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(f.bits, a.BitLen())}}
		wanted[n.IPNet.String()] = true
		if a.Is6() {
			n.Flags = unix.IFA_F_NODAD
		}
		if found[n.IPNet.String()] {
			return nil
		}
		if err := call(dev, n); err != nil {
			return fmt.Errorf("add address %s to %s: %w", n.IPNet, name, err)
		}
		return nil
	}
	for _, a := range f.addrs {
		if err := add(a, h.AddrAdd); err != nil {
			return err
		}
	}
	removed := false
	for _, a := range have {
		if wanted[a.IPNet.String()] || f.number == unix.AF_INET6 && a.IP.IsLinkLocalUnicast() {
			continue
		}
		removed = true
		if err := h.AddrDel(dev, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", a.IPNet, name, err)
		}
	}
	if !removed || f.number == unix.AF_INET6 {
		return nil
	}
	// Where promote_secondaries is off, removing the first address of a
	// subnet takes the others of that subnet with it.
	clear(found)
	for _, a := range f.addrs {
		if err := add(a, h.AddrReplace); err != nil {
			return err
		}
	}
	return nil
}

// setRoutes makes f's router the namespace's default, unless another device
// already has the default: a container keeps the way out it came with, and an
// instance's first interface stays the one that leads out. Then only the
// VPC's resolver is led through this device; further routes are its owner's.
func setRoutes(h *netlink.Handle, dev netlink.Link, f family) error {
	if !f.router.IsValid() {
		return nil
	}
	routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(nil, f.number) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	dst := f.everything()
	for _, r := range routes {
		isDefault := r.Dst == nil || r.Dst.IP.IsUnspecified() && isZeroMask(r.Dst.Mask)
		if isDefault && r.LinkIndex != dev.Attrs().Index {
			if !f.resolver.IsValid() {
				return nil
			}
			dst = single(f.resolver)
			break
		}
	}
	err = h.RouteReplace(&netlink.Route{
		LinkIndex: dev.Attrs().Index, Dst: dst, Gw: f.router.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	})
	if err != nil {
		return fmt.Errorf("set route to %s via %s: %w", dst, f.router, err)
	}
	return nil
}

// everything is the prefix of a default route.
func (f family) everything() *net.IPNet {
	if f.number == unix.AF_INET6 {
		return &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
}

// single is the prefix of one address.
func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func isZeroMask(m net.IPMask) bool {
	ones, _ := m.Size()
	return ones == 0
}

// freeName finds the first of prefix<first>, prefix<first+1>, ... that none of
// links has.
func freeName(links []netlink.Link, prefix string, first int) string {
	used := map[string]bool{}
	for _, l := range links {
		used[l.Attrs().Name] = true
		for _, alt := range l.Attrs().AltNames {
			used[alt] = true
		}
	}
	for used[prefix+strconv.Itoa(first)] {
		first++
	}
	return prefix + strconv.Itoa(first)
}
