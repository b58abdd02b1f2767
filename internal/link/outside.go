// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LeadsOut says why packets to an address do not leave the host for one other
// machine, nil if they do. It asks the routes as they are now: of the host's own
// addresses they know those of all devices, also ones that were added a moment
// ago, and whole blocks that are local by a route alone.
func LeadsOut(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return fmt.Errorf("%s is no address", a)
	}
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil {
		return fmt.Errorf("find the route to %s: %w", a, err)
	}
	for _, r := range routes {
		switch r.Type {
		case unix.RTN_UNICAST:
		case unix.RTN_LOCAL:
			return fmt.Errorf("%s is an address of this host", a)
		default:
			return fmt.Errorf("%s is not the address of one machine", a)
		}
	}
	return nil
}
