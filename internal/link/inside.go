// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// errNoPeer says that the far end of a pair is not in the expected namespace.
var errNoPeer = errors.New("the far end is in another namespace")

// prepareInside gives a namespace of ours its settings, before any device is
// in it: a device takes its first IPv6 settings from "default".
func prepareInside(service bool) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	err = sysctls(
		[2]string{"net/ipv6/conf/default/accept_ra", "0"},
		[2]string{"net/ipv6/conf/default/disable_ipv6", "1"},
		[2]string{"net/ipv4/ping_group_range", "0 2147483647"},
	)
	if err != nil || !service {
		return err
	}
	return sysctls(
		// Every probe and proxied connection starts here, from one address.
		[2]string{"net/ipv4/ip_local_port_range", "1024 65535"},
		[2]string{"net/ipv4/tcp_tw_reuse", "1"},
		[2]string{"net/ipv4/tcp_fin_timeout", "15"},
		[2]string{"net/ipv4/tcp_slow_start_after_idle", "0"},
		[2]string{"net/ipv4/tcp_mtu_probing", "1"},
		[2]string{"net/ipv4/tcp_max_syn_backlog", "4096"},
		[2]string{"net/core/somaxconn", "4096"},
		// Addresses in here are the datapath's invention; only it checks sources.
		[2]string{"net/ipv4/conf/all/rp_filter", "0"},
		[2]string{"net/ipv4/conf/default/rp_filter", "0"},
	)
}

// configureInside brings the far end of the pair whose host side has index
// hostIndex to what in says. It runs inside the namespace and is repeatable.
func configureInside(in inside, tag string, hostIndex int) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	links, err := dump(h.LinkList)
	if err != nil {
		return fmt.Errorf("list links inside: %w", err)
	}
	want := alias{tag: tag, owner: in.owner}
	var dev netlink.Link
	for _, l := range links {
		a, named := parseAlias(l.Attrs().Alias)
		if l.Type() != "veth" || l.Attrs().ParentIndex != hostIndex {
			continue
		}
		// Index numbers repeat between namespaces: without an alias only the
		// address that the pair was created with tells it is ours.
		if named && a == want || l.Attrs().Alias == "" && bytes.Equal(l.Attrs().HardwareAddr, in.mac) {
			dev = l
			break
		}
	}
	if dev == nil {
		return errNoPeer
	}
	at := dev.Attrs()
	if at.Alias != want.String() {
		if err := h.LinkSetAlias(dev, want.String()); err != nil {
			return fmt.Errorf("set alias of %s: %w", at.Name, err)
		}
	}
	if haveIPv6() {
		conf := "net/ipv6/conf/" + at.Name + "/"
		if err := sysctls([2]string{conf + "accept_ra", "0"}, [2]string{conf + "disable_ipv6", "1"}); err != nil {
			return err
		}
		// 1 is none: no link-local address even if IPv6 is turned on later.
		if err := h.LinkSetIP6AddrGenMode(dev, 1); err != nil {
			return fmt.Errorf("set addr_gen_mode of %s: %w", at.Name, err)
		}
	}
	if !bytes.Equal(at.HardwareAddr, in.mac) {
		if err := h.LinkSetHardwareAddr(dev, in.mac); err != nil {
			return fmt.Errorf("set mac of %s: %w", at.Name, err)
		}
	}
	if at.MTU != in.mtu {
		if err := h.LinkSetMTU(dev, in.mtu); err != nil {
			return fmt.Errorf("set mtu of %s: %w", at.Name, err)
		}
	}
	if in.noarp && at.RawFlags&unix.IFF_NOARP == 0 {
		if err := h.LinkSetARPOff(dev); err != nil {
			return fmt.Errorf("turn arp off on %s: %w", at.Name, err)
		}
	}
	if err := h.LinkSetUp(dev); err != nil {
		return fmt.Errorf("bring %s up: %w", at.Name, err)
	}
	if err := setAddresses(h, dev, in.addr, in.secondary); err != nil {
		return err
	}
	if in.own && in.several {
		if err := setWayOut(h, dev, in); err != nil {
			return err
		}
	}
	if in.own && in.index > 0 {
		return nil // eth0 leads out
	}
	return setRoutes(h, dev, in.router, in.resolver)
}

// setAddresses makes first and others, which share its prefix length, the
// device's only IPv4 addresses. They are added before others go, so there is no
// moment without one. The first is the one that the kernel sends from.
func setAddresses(h *netlink.Handle, dev netlink.Link, first netip.Prefix, others []netip.Addr) error {
	name := dev.Attrs().Name
	have, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(dev, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	found := map[string]bool{}
	for _, a := range have {
		found[a.IPNet.String()] = true
	}
	want := []*net.IPNet{{IP: first.Addr().AsSlice(), Mask: net.CIDRMask(first.Bits(), 32)}}
	for _, a := range others {
		want = append(want, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(first.Bits(), 32)})
	}
	wanted := map[string]bool{}
	for _, a := range want {
		wanted[a.String()] = true
		if found[a.String()] {
			continue
		}
		if err := h.AddrAdd(dev, &netlink.Addr{IPNet: a}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a, name, err)
		}
	}
	removed := false
	for _, a := range have {
		if wanted[a.IPNet.String()] {
			continue
		}
		removed = true
		if err := h.AddrDel(dev, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", a.IPNet, name, err)
		}
	}
	if !removed {
		return nil
	}
	// Where promote_secondaries is off, removing the first address of a
	// subnet takes the others of that subnet with it.
	for _, a := range want {
		if err := h.AddrReplace(dev, &netlink.Addr{IPNet: a}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a, name, err)
		}
	}
	return nil
}

// setRoutes makes router the namespace's default, unless another device
// already has the default: a container keeps the way out it came with, and an
// instance's first interface stays the one that leads out. Then only the
// VPC's resolver is led through this device; further routes are its owner's.
func setRoutes(h *netlink.Handle, dev netlink.Link, router, resolver netip.Addr) error {
	if !router.IsValid() {
		return nil
	}
	routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	dst := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	for _, r := range routes {
		isDefault := r.Dst == nil || r.Dst.IP.IsUnspecified() && isZeroMask(r.Dst.Mask)
		if isDefault && r.LinkIndex != dev.Attrs().Index {
			if !resolver.Is4() {
				return nil
			}
			dst = &net.IPNet{IP: resolver.AsSlice(), Mask: net.CIDRMask(32, 32)}
			break
		}
	}
	err = h.RouteReplace(&netlink.Route{
		LinkIndex: dev.Attrs().Index, Dst: dst, Gw: router.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	})
	if err != nil {
		return fmt.Errorf("set route to %s via %s: %w", dst, router, err)
	}
	return nil
}

func isZeroMask(m net.IPMask) bool {
	ones, _ := m.Size()
	return ones == 0
}

// freeName finds the first of prefix<first>, prefix<first+1>, ... that no
// device in the current namespace has.
func freeName(prefix string, first int) (string, error) {
	h, links, err := hostLinks()
	if err != nil {
		return "", err
	}
	h.Close()
	used := map[string]bool{}
	for _, l := range links {
		used[l.Attrs().Name] = true
		for _, alt := range l.Attrs().AltNames {
			used[alt] = true
		}
	}
	for i := range len(links) + 1 {
		if n := prefix + strconv.Itoa(first+i); !used[n] {
			return n, nil
		}
	}
	return "", fmt.Errorf("no free device name %s<n>: %w", prefix, os.ErrExist)
}
