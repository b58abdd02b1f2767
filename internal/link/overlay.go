// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// OverlayPort is the UDP port of VXLAN, RFC 7348.
const OverlayPort = 4789

// OverlayOverhead is what VXLAN over IPv4 adds to a workload's packet: 14 bytes
// of Ethernet, 8 of VXLAN, 8 of UDP and 20 of IPv4.
const OverlayOverhead = 50

// overlayOwner stands in aliases for the overlay, which has no interface id.
const overlayOwner = "overlay"

// EnsureOverlay makes or repairs the overlay: the VXLAN device p<tag>vx, by
// which the datapath sends frames to other hosts and gets theirs. The frames say
// by themselves where they go and came from (collect metadata): the device
// learns nothing, has no address and answers no question.
//
// Attach puts the datapath's program on the device. It is called before the
// device goes up: without the program the host itself would take what comes in.
// Underlay is the host's address among hosts; the device's MTU is what the one
// that has the address leaves.
func (l *Links) EnsureOverlay(underlay netip.Addr, attach func(Device) error) (Device, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, links, err := hostLinks()
	if err != nil {
		return Device{}, err
	}
	defer h.Close()
	d, err := l.ensureOverlay(h, links, underlay, attach)
	if err != nil {
		return Device{}, fmt.Errorf("overlay: %w", err)
	}
	return d, nil
}

func (l *Links) ensureOverlay(h *netlink.Handle, links []netlink.Link, underlay netip.Addr, attach func(Device) error) (Device, error) {
	mtu, err := underlayMTU(h, links, underlay)
	if err != nil {
		return Device{}, err
	}
	name := hostName(l.cfg.Tag, overlayOwner)
	var have *netlink.Vxlan
	for _, k := range links {
		if k.Attrs().Name != name {
			continue
		}
		a, ours := claimed(k, l.cfg.Tag)
		if !ours || a.owner != overlayOwner && a.owner != "" {
			return Device{}, fmt.Errorf("device %s exists and is not ours (its alias is %q): rename or remove it", name, k.Attrs().Alias)
		}
		if v, ok := k.(*netlink.Vxlan); ok && v.FlowBased && !v.Learning && v.Port == OverlayPort {
			have = v
		} else if err := deleteLink(h, k); err != nil {
			return Device{}, err
		}
	}
	if have == nil {
		if have, err = l.makeOverlay(h, name, mtu); err != nil {
			return Device{}, err
		}
	}
	mark := alias{tag: l.cfg.Tag, owner: overlayOwner}.String()
	if have.Attrs().Alias != mark {
		if err := h.LinkSetAlias(have, mark); err != nil {
			return Device{}, fmt.Errorf("set alias of %s: %w", name, err)
		}
	}
	if have.Attrs().MTU != mtu {
		if err := h.LinkSetMTU(have, mtu); err != nil {
			return Device{}, fmt.Errorf("set mtu of %s: %w", name, err)
		}
		have.Attrs().MTU = mtu
	}
	s, err := openSettings()
	if err != nil {
		return Device{}, err
	}
	defer s.close()
	if err := s.set(
		[2]string{"ipv6/conf/" + name + "/disable_ipv6", "1"},
		[2]string{"ipv4/conf/" + name + "/arp_ignore", "8"},
	); err != nil {
		return Device{}, err
	}
	d := deviceOf(have, nil)
	if err := attach(d); err != nil {
		return Device{}, err
	}
	if have.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := h.LinkSetUp(have); err != nil {
			return Device{}, fmt.Errorf("bring %s up: %w", name, err)
		}
	}
	return d, nil
}

// makeOverlay makes the device, down.
func (l *Links) makeOverlay(h *netlink.Handle, name string, mtu int) (*netlink.Vxlan, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, mtu, derivedMAC(l.cfg.Tag, name)
	err := h.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, FlowBased: true, Learning: false, Port: OverlayPort})
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("make device %s: another device or program of this host has VXLAN's port %d: %w", name, OverlayPort, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make device %s: %w", name, err)
	}
	made, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find device %s just made: %w", name, err)
	}
	v, ok := made.(*netlink.Vxlan)
	if !ok {
		return nil, fmt.Errorf("device %s just made is a %s", name, made.Type())
	}
	return v, nil
}

// underlayMTU is what the device with an address leaves of its MTU for frames
// inside of packets.
func underlayMTU(h *netlink.Handle, links []netlink.Link, underlay netip.Addr) (int, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, unix.AF_INET) })
	if err != nil {
		return 0, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if got, ok := netip.AddrFromSlice(a.IP.To4()); !ok || got != underlay {
			continue
		}
		for _, k := range links {
			if k.Attrs().Index == a.LinkIndex {
				return min(k.Attrs().MTU, maxUnderlayMTU) - OverlayOverhead, nil
			}
		}
	}
	return 0, fmt.Errorf("no device of this host has the underlay address %s", underlay)
}

// maxUnderlayMTU is the longest IPv4 packet; loopback's MTU is one more.
const maxUnderlayMTU = 65535

// DescribeOverlay says for people what there is of the overlay of a host with
// the address underlay. An error is what is wrong with it.
func (l *Links) DescribeOverlay(underlay netip.Addr) (string, error) {
	h, links, err := hostLinks()
	if err != nil {
		return "", err
	}
	defer h.Close()
	mtu, err := underlayMTU(h, links, underlay)
	if err != nil {
		return "", err
	}
	name := hostName(l.cfg.Tag, overlayOwner)
	for _, k := range links {
		if a, ok := claimed(k, l.cfg.Tag); !ok || a.owner != overlayOwner {
			continue
		}
		if k.Attrs().RawFlags&unix.IFF_UP == 0 {
			return "", fmt.Errorf("%s is down", name)
		}
		return fmt.Sprintf("%s leads to other hosts from %s; workloads' packets of up to %d bytes pass whole", name, underlay, mtu), nil
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: OverlayPort})
	if errors.Is(err, unix.EADDRINUSE) {
		return "", fmt.Errorf("there is no %s, and another device or program of this host has VXLAN's port %d", name, OverlayPort)
	}
	if err == nil {
		c.Close()
	}
	return "", fmt.Errorf("there is no %s", name)
}

// RemoveOverlay removes the overlay. One that does not exist is success.
func (l *Links) RemoveOverlay() error { return l.removeOwned(overlayOwner) }
