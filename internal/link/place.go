// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// maxIndex bounds device indexes, and with them the routing tables we use.
const maxIndex = 255

func isInterrupted(err error) bool { return errors.Is(err, netlink.ErrDumpInterrupted) }

// inside is what the far end of a pair must look like.
type inside struct {
	owner string // interface id, serviceOwner or uplinkOwner
	mac   net.HardwareAddr
	addr  netip.Prefix // with the subnet's length
	// secondary are further addresses, all with that length.
	secondary []netip.Addr
	// ipv6 are addresses, all with the length of subnet6.
	ipv6    []netip.Addr
	subnet6 netip.Prefix
	// router is the default route's next hop; invalid for none.
	router netip.Addr
	// resolver is the VPC's, for namespaces with another default route.
	resolver netip.Addr
	// own is set when the namespace is ours: then its own settings are ours too.
	own    bool
	noarp  bool
	prefix string // device name without its number; "eth"
	name   string // device name, if it is not to be chosen
	mtu    int
	// index is the device index in an instance; several that the instance has
	// more interfaces, so that each needs a way out of its own.
	index   int
	several bool
}

// digest names the configuration together with the namespace it is in, so
// that a namespace made anew under the old name is noticed.
func (in inside) digest(namespace string) string {
	text := fmt.Appendf(nil, "1|%s|%s|%s|%s|%s|%t|%t|%s|%d|%s",
		in.owner, in.mac, in.addr, in.router, in.resolver, in.own, in.noarp, in.prefix, in.mtu, namespace)
	if len(in.secondary) > 0 {
		text = fmt.Appendf(text, "|%s", in.secondary)
	}
	if len(in.ipv6) > 0 {
		text = fmt.Appendf(text, "|6|%s|%s", in.ipv6, in.subnet6)
	}
	if in.several {
		text = fmt.Appendf(text, "|%d", in.index)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// four and six are what the device has of each family.
func (in inside) four() family {
	return family{unix.AF_INET, append([]netip.Addr{in.addr.Addr()}, in.secondary...), in.addr.Bits(), in.router, in.resolver}
}

func (in inside) six() family {
	f := family{number: unix.AF_INET6, addrs: in.ipv6, bits: in.subnet6.Bits()}
	if in.router.IsValid() {
		f.router, f.resolver = desired.LinkLocalRouter, desired.Resolver6
	}
	return f
}

// check turns a workload into what is to be configured.
func (l *Links) check(id vpc.InterfaceID, w desired.Workload) (inside, error) {
	mac, err := net.ParseMAC(w.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return inside{}, fmt.Errorf("interface %s: mac %q is not a unicast Ethernet address", id, w.MAC)
	}
	addr := w.Addr.Unmap()
	if !addr.Is4() || !w.Subnet.IsValid() || !w.Subnet.Contains(addr) {
		return inside{}, fmt.Errorf("interface %s: address %s is not an IPv4 address of subnet %s", id, w.Addr, w.Subnet)
	}
	if !w.Router.IsValid() || !w.Subnet.Contains(w.Router) || w.Router == addr {
		return inside{}, fmt.Errorf("interface %s: router %s is not another address of subnet %s", id, w.Router, w.Subnet)
	}
	for _, a := range w.Secondary {
		if !w.Subnet.Contains(a) || a == addr || a == w.Router {
			return inside{}, fmt.Errorf("interface %s: address %s is not another address of subnet %s", id, a, w.Subnet)
		}
	}
	for _, a := range w.IPv6 {
		if !a.Is6() || a.Is4In6() || a.Zone() != "" || !w.Subnet6.IsValid() || !w.Subnet6.Contains(a) {
			return inside{}, fmt.Errorf("interface %s: address %s is not an IPv6 address of subnet %s", id, a, w.Subnet6)
		}
	}
	if !vpc.ValidID(vpc.PrefixInterface, string(id)) {
		return inside{}, fmt.Errorf("%q is not an interface id", id)
	}
	if w.Index < 0 || w.Index > maxIndex {
		return inside{}, fmt.Errorf("interface %s: device index %d is not between 0 and %d", id, w.Index, maxIndex)
	}
	places := 0
	if w.Instance != "" {
		places++
		if !vpc.ValidID(vpc.PrefixInstance, string(w.Instance)) {
			return inside{}, fmt.Errorf("interface %s: %q is not an instance id", id, w.Instance)
		}
	}
	if e := w.External; e != nil {
		if e.Netns != "" && !filepath.IsAbs(e.Netns) || e.PID < 0 {
			return inside{}, fmt.Errorf("interface %s: network namespace %q, process %d: give an absolute path or a process id", id, e.Netns, e.PID)
		}
		for _, set := range []bool{e.Netns != "", e.PID != 0, e.Ifname != ""} {
			if set {
				places++
			}
		}
	}
	if places != 1 {
		return inside{}, fmt.Errorf("interface %s: exactly one of instance, netns, pid and ifname must say where it is, not %d", id, places)
	}
	return inside{
		owner: string(id), mac: mac, addr: netip.PrefixFrom(addr, w.Subnet.Bits()), secondary: w.Secondary, router: w.Router, resolver: w.Resolver.Unmap(),
		ipv6: w.IPv6, subnet6: w.Subnet6,
		own: w.Instance != "", prefix: "eth", mtu: l.cfg.MTU, index: w.Index,
	}, nil
}

// externalNamespace is the namespace that `postern attach` named, and its
// inode number.
func (l *Links) externalNamespace(e *vpc.ExternalWorkload) (path, inode string, err error) {
	path = e.Netns
	if e.PID != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", e.PID)
	}
	id, err := nsIDOf(path)
	if err != nil {
		return "", "", fmt.Errorf("network namespace of the workload: %w", err)
	}
	if isHostNamespace(id) {
		return "", "", fmt.Errorf("%s is the host's own network namespace: a workload needs one of its own", path)
	}
	return path, strconv.FormatUint(id.ino, 10), nil
}

// foreignDevice finds the host-side device that `postern attach` named.
func foreignDevice(byName map[string]netlink.Link, name string) (netlink.Link, error) {
	l := byName[name]
	if l == nil {
		return nil, fmt.Errorf("device %s does not exist on this host", name)
	}
	if _, ours := claimed(l, ""); ours {
		return nil, fmt.Errorf("device %s is made by Postern: name a veth or tap of your own", name)
	}
	switch t := l.(type) {
	case *netlink.Veth:
		return l, nil
	case *netlink.Tuntap:
		if t.Mode == netlink.TUNTAP_MODE_TAP {
			return l, nil
		}
	}
	return nil, fmt.Errorf("device %s is a %s: only a veth or a tap has a workload behind it", name, l.Type())
}
