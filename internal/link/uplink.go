// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Uplink is the way between VPCs and a network outside of them.
type Uplink struct {
	// Netns is the path of the namespace whose network is outside; "" is the
	// host's own.
	Netns string
	// Prefixes are what that network reaches in VPCs: public addresses and
	// IPv6 blocks.
	Prefixes []netip.Prefix
}

// What the outside's end of an uplink sends from unless a program chooses
// another address of its host. Nobody but workloads that are spoken to sees them.
var (
	UplinkAddr  = netip.MustParseAddr("169.254.254.1")
	UplinkAddr6 = netip.MustParseAddr("fd70:6f73:7465:726e::1") // fd and "postern"
)

// uplinkOwner stands in aliases for the uplink, which has no interface id.
const uplinkOwner = "uplink"

// uplinkName is the outside's end of the uplink.
func uplinkName(tag string) string { return "p" + tag + "net" }

// EnsureUplink makes or repairs the uplink: p<tag>up, which the datapath has,
// and p<tag>net in the network outside, with the addresses UplinkAddr and
// UplinkAddr6 and exactly the routes to u's prefixes. It has no ARP and no
// neighbour discovery: a frame sent on it carries its own address as
// destination, and the datapath sees to the rest. Where IPv4 comes in there, the
// sender must be one of the prefixes (rp_filter).
//
// No setting of anything but the two devices is changed: what may go on from
// there to other networks is for their owner to say. A route that somebody else
// has made to one of the prefixes stays, and is an error. The device is that of
// the datapath's side if it exists, also where something else failed.
func (l *Links) EnsureUplink(u Uplink) (Device, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, links, err := hostLinks()
	if err != nil {
		return Device{}, err
	}
	h.Close()
	in := inside{
		owner: uplinkOwner, name: uplinkName(l.cfg.Tag), mac: derivedMAC(l.cfg.Tag, uplinkName(l.cfg.Tag)), noarp: true, mtu: l.cfg.MTU,
		addr: netip.PrefixFrom(UplinkAddr, 32), ipv6: []netip.Addr{UplinkAddr6}, subnet6: netip.PrefixFrom(UplinkAddr6, 128),
	}
	j := &job{in: in}
	for _, k := range links {
		if k.Attrs().Name != hostName(l.cfg.Tag, uplinkOwner) {
			continue
		}
		j.held = k
		if a, ok := claimed(k, l.cfg.Tag); ok && (a.owner == uplinkOwner || a.owner == "") {
			j.have = k
		}
	}
	path := u.Netns
	if path == "" {
		path = "/proc/thread-self/ns/net"
	}
	w := worker{turn: new(sync.Mutex)}
	if err := w.open(l.cfg.Tag); err != nil {
		return Device{}, err
	}
	defer w.close()
	err = w.uplink(j, path, u.Prefixes)
	if j.dev == nil {
		return Device{}, fmt.Errorf("uplink: %w", err)
	}
	if err != nil {
		err = fmt.Errorf("uplink: %w", err)
	}
	return *j.dev, err
}

// uplink brings the pair of an uplink about whose outside is the namespace at path.
func (w *worker) uplink(j *job, path string, prefixes []netip.Prefix) error {
	ns, err := openNamespace(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	own, err := nsIDOf("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	s := &site{worker: w, ns: ns, inode: strconv.FormatUint(st.Ino, 10)}
	if !w.settings.haveIPv6() {
		j.in.ipv6 = nil
	}
	complete := isComplete(j.have, w.tag, j.in.digest(s.inode), j.in.mtu)
	err = inNamespace(ns, func() (err error) {
		if s.here, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open netlink socket: %w", err)
		}
		defer s.here.Close()
		if complete {
			if j.far, err = s.farEnd(j.in, j.have.Attrs().Index); err != nil {
				return err
			}
			// The far end is in other hands: also a finished one is looked at.
			complete = j.far != nil && j.far.Attrs().RawFlags&(unix.IFF_UP|unix.IFF_NOARP) == unix.IFF_UP|unix.IFF_NOARP && j.far.Attrs().MTU == j.in.mtu
		}
		j.dev = existing(j.have, j.in.mac)
		if complete {
			err = configureFamily(s.here, j.far, j.in, j.in.four())
			if err == nil && j.in.ipv6 != nil {
				err = configureFamily(s.here, j.far, j.in, j.in.six())
			}
		} else {
			s.pair(j)
			err = j.err
		}
		if err != nil {
			return err
		}
		return s.settings.set([2]string{"ipv4/conf/" + j.in.name + "/rp_filter", "1"})
	})
	if j.dev != nil {
		j.dev.Tap = own == nsID{dev: uint64(st.Dev), ino: st.Ino} // both ends in one namespace
	}
	if err == nil && !complete {
		err = w.finish(j, s.inode)
	}
	if err != nil {
		return err
	}
	// Last, since the kernel drops the routes of a device that goes down.
	return inNamespace(ns, func() error { return setUplinkRoutes(j.far, j.in, prefixes) })
}

// setUplinkRoutes makes the device's routes, but for the kernel's own, those to
// prefixes. What cannot be set does not keep the others from it.
func setUplinkRoutes(dev netlink.Link, in inside, prefixes []netip.Prefix) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	var errs []error
	for _, f := range []family{in.four(), in.six()} {
		if len(f.addrs) == 0 {
			continue
		}
		want := map[string]*net.IPNet{}
		for _, p := range prefixes {
			if p.Addr().Is4() == (f.number == unix.AF_INET) {
				n := &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
				want[n.String()] = n
			}
		}
		have, err := dump(func() ([]netlink.Route, error) { return h.RouteList(dev, f.number) })
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range have {
			switch {
			case r.Protocol == unix.RTPROT_KERNEL:
			case r.Dst != nil && want[r.Dst.String()] != nil && r.Gw == nil && r.Src.Equal(f.addrs[0].AsSlice()):
				delete(want, r.Dst.String())
			default:
				if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
					errs = append(errs, fmt.Errorf("remove route to %s: %w", r.Dst, err))
				}
			}
		}
		for _, n := range want {
			err := h.RouteAdd(&netlink.Route{
				LinkIndex: dev.Attrs().Index, Dst: n, Src: f.addrs[0].AsSlice(), Scope: netlink.SCOPE_LINK, Protocol: unix.RTPROT_STATIC,
			})
			if errors.Is(err, unix.EEXIST) {
				err = errors.New("somebody else has made a route to it: remove that, or choose other addresses for VPCs (publicPool)")
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("add route to %s: %w", n, err))
			}
		}
	}
	return errors.Join(errs...)
}

// RemoveUplink removes the uplink, wherever its far end is. One that does not
// exist is success.
func (l *Links) RemoveUplink() error { return l.removeOwned(uplinkOwner, uplinkName(l.cfg.Tag)) }

// removeOwned removes what owner has in the host's namespace. Of what was
// interrupted before it was marked as owner's that is known by its name: the
// one owner's device has, or another.
func (l *Links) removeOwned(owner string, another ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, links, err := hostLinks()
	if err != nil {
		return err
	}
	defer h.Close()
	names := append(another, hostName(l.cfg.Tag, owner))
	var errs []error
	for _, k := range links {
		if a, ok := claimed(k, l.cfg.Tag); ok && (a.owner == owner || a.owner == "" && slices.Contains(names, k.Attrs().Name)) {
			errs = append(errs, deleteLink(h, k))
		}
	}
	return errors.Join(errs...)
}

// DescribeUplink says for people what there is of the uplink. An error is what
// is wrong with it.
func (l *Links) DescribeUplink() (string, error) {
	h, links, err := hostLinks()
	if err != nil {
		return "", err
	}
	defer h.Close()
	var up, far netlink.Link
	for _, k := range links {
		switch a, ok := claimed(k, l.cfg.Tag); {
		case !ok || a.owner != uplinkOwner:
		case k.Attrs().Name == hostName(l.cfg.Tag, uplinkOwner):
			up = k
		default:
			far = k
		}
	}
	if up == nil {
		return fmt.Sprintf("none (there is no %s): internet and NAT gateways lead nowhere (the setting uplink)", hostName(l.cfg.Tag, uplinkOwner)), nil
	}
	name := up.Attrs().Name
	if a, _ := claimed(up, l.cfg.Tag); a.digest == "" {
		return "", fmt.Errorf("%s is not complete", name)
	}
	// A pair has a carrier only while both ends are up.
	if up.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
		return "", fmt.Errorf("%s has no carrier: one of its ends is down", name)
	}
	if far == nil {
		return name + " leads to another namespace", nil
	}
	n := 0
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(far, family) })
		if err != nil {
			return "", fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Protocol != unix.RTPROT_KERNEL {
				n++
			}
		}
	}
	return fmt.Sprintf("%s leads to the host's own network, which reaches %d prefixes through %s", name, n, far.Attrs().Name), nil
}
