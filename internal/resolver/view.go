// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// View is what the VPCs of a host answer. It is immutable.
type View struct {
	spaces map[vpc.VNI]*space
}

// space is one VPC's part of a view. Names in it are canonical: lower case,
// without the final dot.
type space struct {
	dns   bool
	cidrs []netip.Prefix
	zones map[string]*zone // by apex; "" holds what is outside private zones
}

// zone holds records by name.
type zone struct {
	apex  string
	exact map[string]*node
	// wild is by the name under the star: "example.com" for "*.example.com".
	wild map[string]*node
	// exists has every name of the zone and the names between it and the apex:
	// such a name exists, without records, when only something below it has some.
	exists map[string]struct{}
}

// node is everything at one name.
type node struct {
	v4, v6 []netip.Addr
	cname  string
	ptr    []string
	ttl    uint32
}

// Compile makes a view of the VPCs. It keeps nothing of its argument.
func Compile(vpcs map[vpc.VNI]desired.VPC) *View {
	v := &View{spaces: make(map[vpc.VNI]*space, len(vpcs))}
	for vni, in := range vpcs {
		v.spaces[vni] = compileSpace(in)
	}
	return v
}

func compileSpace(in desired.VPC) *space {
	s := &space{dns: in.DNS, cidrs: slices.Clone(in.CIDRs), zones: map[string]*zone{"": newZone("")}}
	for _, apex := range in.PrivateZones {
		apex = canonical(apex)
		if apex != "" {
			z := newZone(apex)
			z.exists[apex] = struct{}{}
			s.zones[apex] = z
		}
	}
	for _, r := range in.Records {
		name := canonical(r.Name)
		under, isWild := strings.CutPrefix(name, "*.")
		z := s.zoneOf(under)
		table := z.exact
		if isWild {
			table = z.wild
		}
		n := table[under]
		if n == nil {
			n = &node{ttl: r.TTL}
			table[under] = n
		}
		n.add(r)
		for at := under; at != "" && at != z.apex; at = parent(at) {
			z.exists[at] = struct{}{}
		}
	}
	return s
}

func newZone(apex string) *zone {
	return &zone{apex: apex, exact: map[string]*node{}, wild: map[string]*node{}, exists: map[string]struct{}{}}
}

// add merges a record: a name may have its IPv4 and IPv6 addresses in two.
func (n *node) add(r desired.Record) {
	n.ttl = min(n.ttl, r.TTL)
	for _, a := range r.Addrs {
		a = a.Unmap()
		list := &n.v6
		if a.Is4() {
			list = &n.v4
		}
		if a.IsValid() && !slices.Contains(*list, a) {
			*list = append(*list, a)
		}
	}
	if r.CNAME != "" {
		n.cname = canonical(r.CNAME)
	}
	if r.PTR != "" {
		n.ptr = append(n.ptr, canonical(r.PTR))
	}
}

// canonical lowers ASCII letters and drops the final dot. DNS compares names
// byte by byte otherwise, so other letters keep their case.
func canonical(name string) string {
	name = strings.TrimSuffix(name, ".")
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}

// parent is the name without its first label, "" for a single label. Dots
// escaped with a backslash belong to their label.
func parent(name string) string {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '.':
			return name[i+1:]
		}
	}
	return ""
}

// zoneOf is the most specific zone a name is in, the outer one if none.
func (s *space) zoneOf(name string) *zone {
	for at := name; at != ""; at = parent(at) {
		if z, ok := s.zones[at]; ok {
			return z
		}
	}
	return s.zones[""]
}

// find is the node that answers for a name, nil if none does. exists is true if
// the name exists, with records or with names below it.
func (z *zone) find(name string) (n *node, exists bool) {
	if n := z.exact[name]; n != nil {
		return n, true
	}
	if _, ok := z.exists[name]; ok {
		return nil, true
	}
	// The wildcard, if any, is at the closest ancestor that exists.
	for at := parent(name); at != ""; at = parent(at) {
		if n := z.wild[at]; n != nil {
			return n, true
		}
		if _, ok := z.exists[at]; ok || at == z.apex {
			return nil, false
		}
	}
	return nil, false
}

// privateReverse reports whether a name is the reverse of an address that no
// outsider can know: one in the VPC's blocks, or in a private range.
func (s *space) privateReverse(name string) bool {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		return s.privateReverse4(rest)
	}
	if rest, ok := strings.CutSuffix(name, ".ip6.arpa"); ok {
		return s.privateReverse6(rest)
	}
	return false
}

func (s *space) privateReverse4(rest string) bool {
	labels := strings.Split(rest, ".")
	if len(labels) > 4 {
		labels = labels[len(labels)-4:]
	}
	var b [4]byte
	for i, l := range labels {
		n, err := strconv.ParseUint(l, 10, 8)
		if err != nil {
			return false
		}
		b[len(labels)-1-i] = byte(n)
	}
	return s.isPrivate(netip.PrefixFrom(netip.AddrFrom4(b), 8*len(labels)))
}

func (s *space) privateReverse6(rest string) bool {
	nibbles := strings.Split(rest, ".")
	if len(nibbles) > 32 {
		nibbles = nibbles[len(nibbles)-32:]
	}
	var b [16]byte
	for i, l := range nibbles {
		n, err := strconv.ParseUint(l, 16, 4)
		if err != nil || len(l) != 1 {
			return false
		}
		at := len(nibbles) - 1 - i
		b[at/2] |= byte(n) << (4 * (1 - at%2))
	}
	return s.isPrivate(netip.PrefixFrom(netip.AddrFrom16(b), 4*len(nibbles)))
}

// privateRanges are never delegated to the outside.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

func (s *space) isPrivate(p netip.Prefix) bool {
	within := func(outer netip.Prefix) bool { return outer.Bits() <= p.Bits() && outer.Contains(p.Addr()) }
	return slices.ContainsFunc(privateRanges, within) || slices.ContainsFunc(s.cidrs, within)
}
