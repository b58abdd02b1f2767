// SPDX-License-Identifier: Apache-2.0

package desired

import "net/netip"

// Fit gives the lists of a Host that was decoded just the room they need, and
// answers it. A decoder leaves room for a third more; hosts keep what they
// decode, and names are most of that.
func (h Host) Fit() Host {
	for k, v := range h.VPCs {
		v.Records = fit(v.Records)
		h.VPCs[k] = v
	}
	for k, z := range h.Zones {
		z.Records = fit(z.Records)
		h.Zones[k] = z
	}
	return h
}

// fit is a list of records without room for more, nor for more addresses.
func fit(list []Record) []Record {
	if list == nil {
		return nil
	}
	out := make([]Record, len(list))
	copy(out, list)
	for i, r := range out {
		if cap(r.Addrs) > len(r.Addrs) {
			out[i].Addrs = append(make([]netip.Addr, 0, len(r.Addrs)), r.Addrs...)
		}
	}
	return out
}
