// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// View is what the VPCs of a host answer. It is immutable.
type View struct {
	spaces map[vpc.VNI]*space
	hosted map[vpc.HostedZoneID]*hosted
}

// space is one VPC's part of a view.
type space struct {
	number uint64 // of no other space that there was in this process
	owner  tenant
	dns    bool
	cidrs  []netip.Prefix
	own    []*zone            // the VPC's own private zones
	outer  *zone              // the VPC's records outside private zones
	ids    []vpc.HostedZoneID // the hosted zones associated with it,
	hosted []*hosted          // as they are now
	zones  map[string]*zone   // all private zones by apex in wire form
	rules  map[string]*route  // by domain in wire form
	// depths are the numbers of labels that apexes of zones and domains of
	// rules have: only there is one to be looked for.
	zoneDepths, ruleDepths depths
	// inbound is the space as inbound resolver endpoints see it.
	inbound *space
}

// tenant is whose answers of the outside are kept apart from all others'. A
// number that goes to another VPC later is another tenant.
type tenant struct {
	vni vpc.VNI
	vpc vpc.VPCID
}

// zone is a private zone, or with apex "" all that is outside of them.
type zone struct {
	apex  string // wire form
	table table
}

// hosted is a private hosted zone, one for all VPCs it is associated with.
type hosted struct {
	zone, inbound *zone
}

// depths is a set of numbers of labels.
type depths [2]uint64

func (d *depths) add(n int)      { d[n/64] |= 1 << (n % 64) }
func (d *depths) has(n int) bool { return d[n/64]&(1<<(n%64)) != 0 }

// Compile makes a view of a former one, nil for none: with these VPCs and hosted
// zones instead of those it had by the same keys, and all its others. So a
// change costs what has changed. It keeps nothing of its arguments but what it
// takes over. What cannot be read is left out and logged.
func Compile(former *View, vpcs map[vpc.VNI]desired.VPC, zones map[vpc.HostedZoneID]desired.Zone, log *slog.Logger) *View {
	v := former.clone()
	for id, z := range zones {
		delete(v.hosted, id)
		if h := compileHosted(z, log.With("hostedZone", id)); h != nil {
			v.hosted[id] = h
		}
	}
	for vni, in := range vpcs {
		v.spaces[vni] = compileSpace(vni, in, log.With("vpc", in.ID)).with(v.hosted)
	}
	if len(zones) > 0 {
		v.join()
	}
	return v
}

// Without is a view that no longer has these VPCs and hosted zones.
func (v *View) Without(vpcs []vpc.VNI, zones []vpc.HostedZoneID) *View {
	if len(vpcs)+len(zones) == 0 {
		return v
	}
	out := v.clone()
	for _, vni := range vpcs {
		delete(out.spaces, vni)
	}
	for _, id := range zones {
		delete(out.hosted, id)
	}
	if len(zones) > 0 {
		out.join()
	}
	return out
}

// clone is a view that may be changed until it is given away.
func (v *View) clone() *View {
	if v == nil {
		return &View{spaces: map[vpc.VNI]*space{}, hosted: map[vpc.HostedZoneID]*hosted{}}
	}
	return &View{spaces: maps.Clone(v.spaces), hosted: maps.Clone(v.hosted)}
}

// join gives each VPC the hosted zones as they are.
func (v *View) join() {
	for vni, s := range v.spaces {
		v.spaces[vni] = s.with(v.hosted)
	}
}

func compileHosted(in desired.Zone, log *slog.Logger) *hosted {
	apex, err := wire(in.Name)
	if err != nil || apex == "\x00" {
		log.Warn("a hosted zone is not answered: its name cannot be used", "name", in.Name, "error", err)
		return nil
	}
	compile := func(records []desired.Record) *zone {
		b := newTableBuilder(apex)
		for _, r := range records {
			name, ok := ownerOf(r, log)
			if ok && !isWithin(name, apex) {
				log.Warn("a DNS record is left out: it is outside of its zone", "name", r.Name)
				continue
			}
			if ok {
				b.addRecord(name, r, log)
			}
		}
		return &zone{apex, b.table()}
	}
	h := &hosted{}
	h.zone = compile(visible(in.Records, false))
	h.inbound = h.zone
	if hasInbound(in.Records) {
		h.inbound = compile(visible(in.Records, true))
	}
	return h
}

func hasInbound(records []desired.Record) bool {
	return slices.ContainsFunc(records, func(r desired.Record) bool { return r.InboundOnly })
}

// visible are the records that those inside or those who come through an
// inbound endpoint see.
func visible(records []desired.Record, inbound bool) []desired.Record {
	if !hasInbound(records) {
		return records
	}
	replaced := map[string]bool{}
	if inbound {
		for _, r := range records {
			if r.InboundOnly {
				replaced[canonical(r.Name)] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(records), func(r desired.Record) bool {
		if r.InboundOnly {
			return !inbound
		}
		return replaced[canonical(r.Name)]
	})
}

// compileSpace makes a VPC's space; hosted zones come in with the method with.
func compileSpace(vni vpc.VNI, in desired.VPC, log *slog.Logger) *space {
	s := compileSide(vni, in, in.PrivateZones, visible(in.Records, false), log)
	s.inbound = s
	if len(in.InboundZones) > 0 || hasInbound(in.Records) {
		s.inbound = compileSide(vni, in, slices.Concat(in.PrivateZones, in.InboundZones), visible(in.Records, true), log)
	}
	return s
}

func compileSide(vni vpc.VNI, in desired.VPC, apexes []string, records []desired.Record, log *slog.Logger) *space {
	s := &space{
		owner: tenant{vni, in.ID}, dns: in.DNS, cidrs: slices.Clone(in.CIDRs), ids: slices.Clone(in.Zones),
		rules: make(map[string]*route, len(in.Forwards)),
	}
	builders := map[string]*tableBuilder{"": newTableBuilder("")}
	order := []string{""}
	for _, a := range apexes {
		apex, err := wire(a)
		if err != nil || apex == "\x00" {
			log.Warn("a private zone is not answered: its name cannot be used", "name", a, "error", err)
			continue
		}
		if builders[apex] == nil {
			builders[apex] = newTableBuilder(apex)
			order = append(order, apex)
		}
	}
	for _, r := range records {
		if owner, ok := ownerOf(r, log); ok {
			at := owner
			for ; at != "\x00" && builders[at] == nil; at = at[1+at[0]:] {
			}
			if at == "\x00" {
				at = ""
			}
			builders[at].addRecord(owner, r, log)
		}
	}
	for _, apex := range order {
		z := &zone{apex, builders[apex].table()}
		if apex == "" {
			s.outer = z
		} else {
			s.own = append(s.own, z)
		}
	}
	for _, f := range in.Forwards {
		domain, err := wire(f.Domain)
		if err != nil {
			log.Warn("a forward rule is left out: its domain cannot be read", "domain", f.Domain, "error", err)
			continue
		}
		s.rules[domain] = routeOf(f, log)
		s.ruleDepths.add(depth(domain))
	}
	return s
}

// routeOf is where the questions of a rule go; nil to the host's resolvers.
func routeOf(f desired.Forward, log *slog.Logger) *route {
	if len(f.Targets) == 0 {
		return nil
	}
	u := &route{}
	for _, t := range f.Targets {
		// The host's own addresses and its neighbours are nobody's business.
		if a := t.Addr().Unmap(); !a.IsValid() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
			t.Port() == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			log.Warn("a target of a forward rule is not asked", "domain", f.Domain, "target", t)
			continue
		}
		u.targets = append(u.targets, t.String())
	}
	u.key = strings.Join(u.targets, " ")
	return u
}

// with is the space with the hosted zones that its VPC is associated with, as
// they are: itself if they are what it has. The VPC's own zones are the
// endpoints' and come first where two have one name; then the lowest id.
func (s *space) with(zones map[vpc.HostedZoneID]*hosted) *space {
	now := make([]*hosted, 0, len(s.ids))
	for _, id := range slices.Sorted(slices.Values(s.ids)) {
		if h := zones[id]; h != nil {
			now = append(now, h)
		}
	}
	if s.zones != nil && slices.Equal(s.hosted, now) {
		return s
	}
	out := s.joined(now, false)
	out.inbound = out
	if s.inbound != s || slices.ContainsFunc(now, func(h *hosted) bool { return h.inbound != h.zone }) {
		out.inbound = s.inbound.joined(now, true)
	}
	return out
}

// spacesMade counts spaces: what was answered from one is never said to be another's.
var spacesMade atomic.Uint64

// Spaces are the numbers that Answers of this view have, by VPC. One that is as
// it was in the view before has the same number in both, and a number of a VPC
// that has changed in any way has never been another's.
func (v *View) Spaces() map[vpc.VNI]uint64 {
	out := make(map[vpc.VNI]uint64, len(v.spaces))
	for vni, s := range v.spaces {
		if s.dns {
			out[vni] = s.number
		}
	}
	return out
}

func (s *space) joined(now []*hosted, inbound bool) *space {
	out := *s
	out.number = spacesMade.Add(1)
	out.hosted, out.zones, out.zoneDepths = now, make(map[string]*zone, len(s.own)+len(now)), depths{}
	for _, z := range s.own {
		out.zones[z.apex] = z
		out.zoneDepths.add(depth(z.apex))
	}
	for _, h := range now {
		z := h.zone
		if inbound {
			z = h.inbound
		}
		if out.zones[z.apex] == nil {
			out.zones[z.apex] = z
			out.zoneDepths.add(depth(z.apex))
		}
	}
	return &out
}

// depth is how many labels a name in wire form has.
func depth(name string) int {
	n := 0
	for ; name[0] != 0; name = name[1+name[0]:] {
		n++
	}
	return n
}

// isWithin reports whether a name in wire form is another one or below it.
func isWithin(name, apex string) bool {
	for ; len(name) > len(apex); name = name[1+name[0]:] {
	}
	return name == apex
}

func ownerOf(r desired.Record, log *slog.Logger) (string, bool) {
	name, err := wire(r.Name)
	if err != nil || name == "\x00" {
		log.Warn("a DNS record is left out: its name cannot be used", "name", r.Name, "error", err)
		return "", false
	}
	return name, true
}

// addRecord adds a record; what of it cannot be read is left out and logged.
func (b *tableBuilder) addRecord(name string, r desired.Record, log *slog.Logger) {
	add := func(rrtype uint16, alias bool, records ...string) {
		if len(records) > 0 && !b.add(name, rrtype, alias, r.TTL, records...) {
			log.Warn("a DNS record is left out: the name has another of its type", "name", r.Name, "type", dns.Type(rrtype))
		}
	}
	target := func(rrtype uint16, alias bool, to string) {
		w, err := wire(to)
		if err != nil {
			log.Warn("a DNS record is left out: its target cannot be used", "name", r.Name, "target", to, "error", err)
			return
		}
		add(rrtype, alias, w)
	}
	var v4, v6 []string
	for _, a := range r.Addrs {
		switch a = a.Unmap(); {
		case a.Is4():
			v4 = append(v4, string(a.AsSlice()))
		case a.Is6():
			v6 = append(v6, string(a.AsSlice()))
		}
	}
	if len(r.Addrs) > 0 {
		add(dns.TypeA, false, v4...)
		add(dns.TypeAAAA, false, v6...)
	}
	switch {
	case r.CNAME != "":
		target(dns.TypeCNAME, false, r.CNAME)
	case r.PTR != "":
		target(dns.TypePTR, false, r.PTR)
	case r.Alias != "":
		switch r.AliasType {
		case "A":
			target(dns.TypeA, true, r.Alias)
		case "AAAA":
			target(dns.TypeAAAA, true, r.Alias)
		default:
			log.Warn("a DNS record is left out: an alias is of type A or AAAA", "name", r.Name, "type", r.AliasType)
		}
	case r.Type != "":
		var data []string
		var rrtype uint16
		for _, v := range r.Values {
			t, d, err := recordData(r.Type, v)
			if err != nil {
				log.Warn("a DNS record is left out: its value cannot be read", "name", r.Name, "type", r.Type, "error", err)
				continue
			}
			rrtype, data = t, append(data, d)
		}
		add(rrtype, false, data...)
	case len(r.Addrs) == 0:
		// One all of whose addresses have left: it has none, and nobody else
		// is asked for them.
		b.add(name, dns.TypeA, false, r.TTL)
	}
}

// typeNumber is the number of a type by its name, or as TYPE123 (RFC 3597); 0 for
// one that is none.
func typeNumber(name string) uint16 {
	name = strings.ToUpper(name)
	if t, ok := dns.StringToType[name]; ok {
		return t
	}
	if digits, ok := strings.CutPrefix(name, "TYPE"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 0
}

// recordData reads a record's data in a zone file's words.
func recordData(rrtype, value string) (uint16, string, error) {
	t := typeNumber(rrtype)
	if !isData(t) {
		return 0, "", fmt.Errorf("%q is no type of data", rrtype)
	}
	// One record is one line: nothing in a value may begin another.
	if strings.ContainsAny(value, "\r\n") {
		return 0, "", fmt.Errorf("%q has more than one line", value)
	}
	p := dns.NewZoneParser(strings.NewReader(". 0 IN "+dns.Type(t).String()+" "+value+"\n"), ".", "")
	rr, ok := p.Next()
	if err := p.Err(); err != nil {
		return 0, "", err
	}
	if !ok || rr.Header().Rrtype != t {
		return 0, "", fmt.Errorf("%q is no data of a %s record", value, rrtype)
	}
	buf := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return 0, "", err
	}
	const header = 1 + 10 // the root's name, type, class, TTL and length
	data := buf[header:n]
	if t == dns.TypeCNAME {
		lower(data)
	}
	return t, string(data), nil
}

// zoneOf is the most specific private zone a name is in, and how many labels
// its apex has; the outer one and 0 if none.
func (s *space) zoneOf(n *name) (*zone, int) {
	for i := range n.n {
		if s.zoneDepths.has(n.n - i) {
			if z := s.zones[string(n.from(i))]; z != nil {
				return z, n.n - i
			}
		}
	}
	return s.outer, 0
}

// ruleOf is the most specific forward rule that holds a name: where its
// questions go, nil to the host's resolvers, and how many labels its domain has.
func (s *space) ruleOf(n *name) (*route, int) {
	for i := range n.n + 1 {
		if s.ruleDepths.has(n.n - i) {
			if u, ok := s.rules[string(n.from(i))]; ok {
				return u, n.n - i
			}
		}
	}
	return nil, 0
}

// find is the node that answers for a name. exists is true if the name exists,
// with records or with names below it.
func (z *zone) find(n *name) (at node, exists bool) {
	if at, ok := z.table.find(n.b); ok {
		return at, true
	}
	// The wildcard, if any, is at the closest ancestor that exists (RFC 4592).
	for i := 1; i < n.n; i++ {
		closest := n.from(i)
		if _, ok := z.table.find(closest); ok {
			var buf [maxName + 2]byte
			star := append(append(buf[:0], 1, '*'), closest...)
			return z.table.find(star)
		}
	}
	return node{}, false
}

var (
	inAddrARPA = []byte("\x07in-addr\x04arpa\x00")
	ip6ARPA    = []byte("\x03ip6\x04arpa\x00")
)

// privateReverse reports whether a name is the reverse of an address that no
// outsider can know: one in the VPC's blocks, or in a private range.
func (s *space) privateReverse(n *name) bool {
	if n.n < 3 {
		return false
	}
	switch parent := n.from(n.n - 2); {
	case bytes.Equal(parent, inAddrARPA):
		return s.privateReverse4(n)
	case bytes.Equal(parent, ip6ARPA):
		return s.privateReverse6(n)
	}
	return false
}

func (s *space) privateReverse4(n *name) bool {
	var b [4]byte
	count := min(n.n-2, 4)
	for i := range count {
		v, err := strconv.ParseUint(string(n.label(n.n-3-i)), 10, 8)
		if err != nil {
			return false
		}
		b[i] = byte(v)
	}
	return s.isPrivate(netip.PrefixFrom(netip.AddrFrom4(b), 8*count))
}

func (s *space) privateReverse6(n *name) bool {
	var b [16]byte
	count := min(n.n-2, 32)
	for i := range count {
		l := n.label(n.n - 3 - i)
		v, err := strconv.ParseUint(string(l), 16, 4)
		if err != nil || len(l) != 1 {
			return false
		}
		b[i/2] |= byte(v) << (4 * (1 - i%2))
	}
	return s.isPrivate(netip.PrefixFrom(netip.AddrFrom16(b), 4*count))
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
