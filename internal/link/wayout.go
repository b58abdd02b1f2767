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

// firstTable is the routing table, and the rule's priority, of the interface
// with device index 0 in an instance that has several; the others follow.
const firstTable = 1000

// setWayOut makes what leaves from the device's address leave through the
// device: the datapath drops packets with the address of another interface,
// and the main table knows only where they go, not where they are from. The
// table and the rule are ours by their number. Those of an interface that was
// taken away stay behind, without an effect, until its index is used again.
func setWayOut(h *netlink.Handle, dev netlink.Link, in inside) error {
	table := firstTable + in.index
	subnet := in.addr.Masked()
	routes := []netlink.Route{
		{Dst: &net.IPNet{IP: subnet.Addr().AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)}, Scope: netlink.SCOPE_LINK},
		{Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Gw: in.router.AsSlice(), Flags: int(netlink.FLAG_ONLINK)},
	}
	for _, r := range routes {
		r.LinkIndex, r.Table, r.Src = dev.Attrs().Index, table, in.addr.Addr().AsSlice()
		if err := h.RouteReplace(&r); err != nil {
			return fmt.Errorf("set route to %s in table %d: %w", r.Dst, table, err)
		}
	}
	return setRules(h, table, append([]netip.Addr{in.addr.Addr()}, in.secondary...))
}

// setRules makes table the one of packets from the given addresses, and of no
// others.
func setRules(h *netlink.Handle, table int, from []netip.Addr) error {
	want := map[string]*net.IPNet{}
	for _, a := range from {
		n := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}
		want[n.String()] = n
	}
	rules, err := dump(func() ([]netlink.Rule, error) { return h.RuleList(netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	for _, r := range rules {
		if r.Priority != table {
			continue
		}
		if r.Table == table && r.Src != nil && want[r.Src.String()] != nil {
			delete(want, r.Src.String())
			continue
		}
		if err := h.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove rule %d: %w", table, err)
		}
	}
	for _, n := range want {
		rule := netlink.NewRule()
		rule.Family, rule.Priority, rule.Table, rule.Src = netlink.FAMILY_V4, table, table, n
		if err := h.RuleAdd(rule); err != nil {
			return fmt.Errorf("add rule for packets from %s: %w", n.IP, err)
		}
	}
	return nil
}
