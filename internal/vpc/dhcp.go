// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"net/netip"
	"slices"
	"strings"
)

// DHCP options that workloads get, and what stands for the VPC's own resolver
// among the servers.
const (
	DHCPDomain  = "domain-name"
	DHCPServers = "domain-name-servers"
	AmazonDNS   = "AmazonProvidedDNS"
)

// DefaultDHCPOptions are those of the region's set.
func (r *Region) DefaultDHCPOptions() []DHCPOption {
	return []DHCPOption{{Key: DHCPDomain, Values: []string{r.InternalDomain()}}, {Key: DHCPServers, Values: []string{AmazonDNS}}}
}

// Resolution is what the workloads of a VPC get of its DHCP options about names:
// the servers to ask, those of IPv4 first, and the domains that names without a
// dot are tried in. What cannot be a domain is left out: the option is free text.
func Resolution(v View, p *VPC) (servers []netip.Addr, search []string) {
	r, ok := Get[Region](v, RegionKey)
	if !ok {
		return nil, nil
	}
	var options []DHCPOption
	switch id := DHCPOptionsOf(r, p); id {
	case DHCPNone:
	case DHCPOptionsID(r.DHCPOptions):
		options = r.DefaultDHCPOptions()
	default:
		if d, ok := Get[DHCPOptions](v, id); ok {
			options = d.Options
		}
	}
	for _, o := range options {
		switch o.Key {
		case DHCPDomain:
			for _, s := range strings.Fields(o.Values[0]) {
				if strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" {
					search = append(search, s)
				}
			}
		case DHCPServers:
			for _, s := range o.Values {
				if s == AmazonDNS {
					servers = append(servers, p.ResolverAddr())
				} else if a, err := netip.ParseAddr(s); err == nil {
					servers = append(servers, a)
				}
			}
		}
	}
	slices.SortStableFunc(servers, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return servers, search
}
