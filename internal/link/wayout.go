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

// setWayOut makes what leaves from the device's addresses leave through the
// device: the datapath drops packets with the address of another interface,
// and the main table knows only where they go, not where they are from. The
// table and the rules are ours by their number. Those of an interface that was
// taken away stay behind, without an effect, until its index is used again.
func setWayOut(h *netlink.Handle, dev netlink.Link, table int, f family) error {
	first := f.addrs[0]
	subnet := netip.PrefixFrom(first, f.bits).Masked()
	routes := []netlink.Route{
		{Dst: &net.IPNet{IP: subnet.Addr().AsSlice(), Mask: net.CIDRMask(subnet.Bits(), first.BitLen())}, Scope: netlink.SCOPE_LINK},
		{Dst: f.everything(), Gw: f.router.AsSlice(), Flags: int(netlink.FLAG_ONLINK)},
	}
	for _, r := range routes {
		r.LinkIndex, r.Table = dev.Attrs().Index, table
		if f.number == unix.AF_INET {
			r.Src = first.AsSlice()
		}
		if err := h.RouteReplace(&r); err != nil {
			return fmt.Errorf("set route to %s in table %d: %w", r.Dst, table, err)
		}
	}
	return setRules(h, table, f.number, f.addrs)
}

// setRules makes table the one of packets from the given addresses, and of no
// others of that family.
func setRules(h *netlink.Handle, table, number int, from []netip.Addr) error {
	want := map[string]*net.IPNet{}
	for _, a := range from {
		n := single(a)
		want[n.String()] = n
	}
	rules, err := dump(func() ([]netlink.Rule, error) { return h.RuleList(number) })
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
		rule.Family, rule.Priority, rule.Table, rule.Src = number, table, table, n
		if err := h.RuleAdd(rule); err != nil {
			return fmt.Errorf("add rule for packets from %s: %w", n.IP, err)
		}
	}
	return nil
}
