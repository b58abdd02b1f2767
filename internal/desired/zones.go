// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// maxAliases bounds the aliases of a hosted zone that lead to one another.
const maxAliases = 16

// hostedZones adds the private hosted zones associated with a VPC. They need
// both of its DNS attributes, as on AWS.
func (b *builder) hostedZones(v *vpc.VPC, out *VPC) {
	if !v.EnableDNSSupport || !v.EnableDNSHostnames {
		return
	}
	for z := range vpc.By[vpc.HostedZone](b.v, vpc.IndexVPC, v.ID) {
		out.Zones = append(out.Zones, z.ID)
		if _, done := b.h.Zones[z.ID]; !done {
			if k, ok := b.former[z.ID]; ok && k.changed == b.v.Changed(vpc.KindHostedZone, string(z.ID)) {
				b.h.Zones[z.ID] = k.zone
			} else {
				b.h.Zones[z.ID] = b.zone(z)
			}
		}
	}
	slices.Sort(out.Zones)
}

// zone is a hosted zone with all its records, in the order of their keys.
func (b *builder) zone(z *vpc.HostedZone) Zone {
	out := Zone{Name: vpc.ZoneFileName(z.Name)}
	for r := range vpc.By[vpc.RecordSet](b.v, vpc.IndexZone, z.ID) {
		record := b.record(r)
		record.Name = vpc.ZoneFileName(r.Name)
		out.Records = append(out.Records, record)
	}
	return out
}

// nothing is the answer of an alias whose target is no longer there: the name
// exists, so that no wildcard answers in its place, and has no such records. The
// TTL is the longest, which leaves those of the name's other record sets as they are.
var nothing = Record{TTL: math.MaxInt32}

// record is what a record set answers, without its name.
func (b *builder) record(r *vpc.RecordSet) Record {
	for hops := 0; r.Alias != nil; hops++ {
		if r.Alias.Zone != r.Zone {
			name := strings.TrimPrefix(vpc.ZoneFileName(r.Alias.Name), vpc.DualStackPrefix)
			return Record{Alias: name, AliasType: string(r.Type), TTL: recordTTL}
		}
		// An alias has the records and the TTL of what it leads to.
		next, ok := vpc.Get[vpc.RecordSet](b.v, vpc.RecordSetKey(r.Zone, r.Alias.Name, r.Type))
		if !ok || hops == maxAliases {
			return nothing
		}
		r = next
	}
	out := Record{TTL: r.TTL}
	var data []string
	for _, v := range r.Values {
		d, err := vpc.RecordData(r.Type, v)
		if err != nil {
			continue // no record set has such a value
		}
		data = append(data, d)
		// What looks like IPv4 inside of IPv6 stays text: an Addr would be taken for IPv4.
		if a, err := netip.ParseAddr(d); err == nil && (r.Type == "A" || r.Type == "AAAA") && !a.Is4In6() {
			out.Addrs = append(out.Addrs, a)
		}
	}
	switch {
	case len(data) == 0:
		return nothing
	case r.Type == "CNAME" && data[0] != ".":
		out.CNAME = strings.TrimSuffix(data[0], ".")
	case len(out.Addrs) < len(data):
		out.Addrs, out.Type, out.Values = nil, string(r.Type), data
	}
	return out
}
