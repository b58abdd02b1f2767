// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// The model answers by going through lists of records as the RFCs say, on names
// as text. It shares nothing with the resolver but the desired state.

type modelZone struct {
	apex    string // "" is what is outside of private zones
	records []desired.Record
}

type model struct {
	zones    []modelZone
	cidrs    []netip.Prefix
	forwards []desired.Forward
}

func newModel(v desired.VPC, hosted map[vpc.HostedZoneID]desired.Zone, inbound bool) model {
	seen := func(all []desired.Record) []desired.Record {
		only := map[string]bool{}
		for _, r := range all {
			if r.InboundOnly {
				only[r.Name] = true
			}
		}
		var out []desired.Record
		for _, r := range all {
			if inbound && (r.InboundOnly || !only[r.Name]) || !inbound && !r.InboundOnly {
				out = append(out, r)
			}
		}
		return out
	}
	m := model{cidrs: v.CIDRs, forwards: v.Forwards}
	apexes := slices.Clone(v.PrivateZones)
	if inbound {
		apexes = append(apexes, v.InboundZones...)
	}
	own := map[string][]desired.Record{}
	for _, r := range seen(v.Records) {
		best := ""
		for _, a := range apexes {
			if under(r.Name, a) && len(a) > len(best) {
				best = a
			}
		}
		own[best] = append(own[best], r)
	}
	m.zones = append(m.zones, modelZone{"", own[""]})
	have := map[string]bool{}
	for _, a := range apexes {
		if !have[a] {
			have[a] = true
			m.zones = append(m.zones, modelZone{a, own[a]})
		}
	}
	for _, id := range slices.Sorted(slices.Values(v.Zones)) {
		if z, ok := hosted[id]; ok && !have[z.Name] {
			have[z.Name] = true
			m.zones = append(m.zones, modelZone{z.Name, seen(z.Records)})
		}
	}
	return m
}

// under reports whether a name is another one or below it.
func under(name, apex string) bool {
	return apex == "" || strings.HasSuffix(name, apex) && (len(name) == len(apex) || name[len(name)-len(apex)-1] == '.')
}

func (m model) zone(name string) modelZone {
	best := m.zones[0]
	for _, z := range m.zones[1:] {
		if under(name, z.apex) && len(z.apex) > len(best.apex) {
			best = z
		}
	}
	return best
}

func (m model) rule(name string) (desired.Forward, bool) {
	var best desired.Forward
	found := false
	for _, f := range m.forwards {
		if under(name, f.Domain) && (!found || len(f.Domain) > len(best.Domain)) {
			best, found = f, true
		}
	}
	return best, found
}

// at are the records of a name in a zone, and whether it exists.
func (z modelZone) at(name string) ([]desired.Record, bool) {
	exact := func(n string) (out []desired.Record, exists bool) {
		for _, r := range z.records {
			if r.Name == n {
				out = append(out, r)
			}
			exists = exists || under(r.Name, n)
		}
		return out, exists || n == z.apex && n != ""
	}
	if out, exists := exact(name); exists {
		return out, true
	}
	for n := name; ; {
		_, rest, ok := strings.Cut(n, ".")
		if !ok {
			return nil, false
		}
		if _, exists := exact(rest); exists {
			return exact("*." + rest)
		}
		n = rest
	}
}

// said is what an answer should be. Records are "TYPE data TTL".
type said struct {
	rcode         int
	authoritative bool
	answer        []string
	soa           string // whose, with the final dot
	forward       bool
	target        string // of the rule, "" is the host's
}

func (m model) ask(name string, rrtype uint16) said {
	var out said
	for hop := 0; ; hop++ {
		if hop > 8 {
			return said{rcode: dns.RcodeServerFailure}
		}
		z := m.zone(name)
		rule, ruled := m.rule(name)
		ruled = ruled && len(rule.Targets) > 0
		if ruled && z.apex != "" && under(rule.Domain, z.apex) {
			out.forward, out.target = true, rule.Targets[0].String()
			return out
		}
		if hop == 0 {
			out.authoritative = z.apex != ""
		}
		records, exists := z.at(name)
		if len(records) > 0 && records[0].CNAME != "" {
			out.answer = append(out.answer, fmt.Sprintf("CNAME %s. %d", records[0].CNAME, records[0].TTL))
			if rrtype == dns.TypeCNAME {
				return out
			}
			name = records[0].CNAME
			continue
		}
		found := m.data(records, rrtype, 0)
		soa := z.apex
		if soa == "" {
			soa = name
		}
		switch {
		case len(found) > 0:
			out.answer = append(out.answer, found...)
		case rrtype == dns.TypeSOA && name == z.apex:
			out.answer = append(out.answer, "SOA")
		case len(records) > 0, z.apex != "" && exists:
			out.soa = soa + "."
		case z.apex != "":
			out.rcode, out.soa = dns.RcodeNameError, soa+"."
		case ruled && rule.Domain != "" && (!m.reverse(name) || m.reverse(rule.Domain)):
			out.forward, out.target = true, rule.Targets[0].String()
		case m.reverse(name):
			out.soa = soa + "."
			if !exists {
				out.rcode = dns.RcodeNameError
			}
		case ruled:
			out.forward, out.target = true, rule.Targets[0].String()
		default:
			out.forward = true
		}
		return out
	}
}

func (m model) data(records []desired.Record, rrtype uint16, hop int) (out []string) {
	typed := dns.TypeToString[rrtype]
	ttl := uint32(1 << 31)
	for _, r := range records {
		for _, a := range r.Addrs {
			if a.Is4() && typed == "A" || a.Is6() && typed == "AAAA" {
				out, ttl = append(out, typed+" "+a.String()), min(ttl, r.TTL)
			}
		}
		if r.PTR != "" && typed == "PTR" {
			out, ttl = append(out, "PTR "+r.PTR+"."), min(ttl, r.TTL)
		}
		if r.Type == typed && typed != "" {
			for _, v := range r.Values {
				out = append(out, typed+" "+v)
			}
			ttl = min(ttl, r.TTL)
		}
		if r.Alias != "" && r.AliasType == typed {
			to := r.Alias
			for ; hop < 8; hop++ {
				there, _ := m.zone(to).at(to)
				if len(there) > 0 && there[0].CNAME != "" {
					to = there[0].CNAME
					continue
				}
				return m.data(there, rrtype, hop+1)
			}
			return nil
		}
	}
	for i := range out {
		out[i] += fmt.Sprintf(" %d", ttl)
	}
	slices.Sort(out)
	return slices.Compact(out) // a set
}

func (m model) reverse(name string) bool {
	rest, ok := strings.CutSuffix(name, ".in-addr.arpa")
	if !ok {
		return false
	}
	octets := strings.Split(rest, ".")
	slices.Reverse(octets)
	octets = octets[:min(len(octets), 4)]
	bits := 8 * len(octets)
	for len(octets) < 4 {
		octets = append(octets, "0")
	}
	a, err := netip.ParseAddr(strings.Join(octets, "."))
	if err != nil {
		return false
	}
	for _, p := range append([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16")}, m.cidrs...) {
		if p.Bits() <= bits && p.Contains(a) {
			return true
		}
	}
	return false
}

// world is a few VPCs with much in common and every address another.
type world struct {
	vpcs  map[vpc.VNI]desired.VPC
	zones map[vpc.HostedZoneID]desired.Zone
	names []string // worth asking for
}

var (
	worldLabels = []string{"a", "b", "c", "www", "_srv", "10"}
	worldApexes = []string{"one.test", "sub.one.test", "deep.x.sub.one.test", "two.test", "s3.us-east-1.amazonaws.com", "test", "0.10.in-addr.arpa"}
	worldRules  = []string{"", "test", "one.test", "sub.one.test", "b.two.test", "10.in-addr.arpa", "outside.example", "in-addr.arpa"}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func (w *world) name(r *rand.Rand) string {
	n := pick(r, append(worldApexes, "outside.example", "amazonaws.com"))
	for range r.IntN(4) {
		n = pick(r, worldLabels) + "." + n
	}
	return n
}

// records for the names below an apex, "" for anywhere; of says whose they are.
func (w *world) records(r *rand.Rand, apex string, of byte) []desired.Record {
	used := map[string]string{} // what kind of records a name has
	var out []desired.Record
	for serial := range r.IntN(30) {
		name := w.name(r)
		if apex != "" {
			name = apex
			for range r.IntN(4) {
				name = pick(r, worldLabels) + "." + name
			}
		}
		if r.IntN(4) == 0 && name != apex {
			name = "*." + name
		}
		rec := desired.Record{Name: name, TTL: uint32(1 + r.IntN(300)), InboundOnly: r.IntN(12) == 0}
		kind := pick(r, []string{"addr", "addr", "addr", "addr", "cname", "ptr", "TXT", "MX", "SRV", "NS", "aliasA", "aliasAAAA", "none"})
		former, there := used[name]
		switch exclusive := kind == "cname" || strings.HasPrefix(kind, "alias") || kind == "none"; {
		case there && (exclusive || former != "shared" || slices.ContainsFunc(out, func(o desired.Record) bool {
			return o.Name == name && (o.Type == kind && o.Type != "" || o.InboundOnly != rec.InboundOnly)
		})):
			continue
		case exclusive:
			used[name] = kind
		default:
			used[name] = "shared"
		}
		v4, v6 := netip.AddrFrom4([4]byte{10, of, byte(len(w.names) >> 8), byte(serial)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, of, 14: byte(len(w.names) >> 8), 15: byte(serial)})
		switch kind {
		case "addr":
			rec.Addrs = [][]netip.Addr{{v4}, {v6}, {v4, v6}, {v4, v4.Next()}}[r.IntN(4)]
		case "cname":
			rec.CNAME = pick(r, append(w.names, w.name(r)))
			if strings.HasPrefix(rec.CNAME, "*") {
				rec.CNAME = w.name(r)
			}
			if r.IntN(6) == 0 && !strings.HasPrefix(name, "*") {
				rec.CNAME = name
			}
		case "ptr":
			rec.PTR = w.name(r)
		case "TXT":
			rec.Type, rec.Values = kind, []string{fmt.Sprintf("\"of %d\" \"%d\"", of, serial), "\"x;y\""}
		case "MX":
			rec.Type, rec.Values = kind, []string{fmt.Sprintf("%d mail.one.test.", serial)}
		case "SRV":
			rec.Type, rec.Values = kind, []string{fmt.Sprintf("1 2 %d a.one.test.", serial)}
		case "NS":
			rec.Type, rec.Values = kind, []string{"ns." + w.name(r) + "."}
		case "aliasA", "aliasAAAA":
			rec.Alias, rec.AliasType = pick(r, append(w.names, w.name(r))), kind[len("alias"):]
			if strings.HasPrefix(rec.Alias, "*") {
				rec.Alias = w.name(r)
			}
		}
		out = append(out, rec)
		w.names = append(w.names, name)
	}
	return out
}

func newWorld(r *rand.Rand) *world {
	w := &world{vpcs: map[vpc.VNI]desired.VPC{}, zones: map[vpc.HostedZoneID]desired.Zone{}, names: slices.Clone(worldApexes)}
	for i := range 4 {
		apex := pick(r, worldApexes)
		w.zones[vpc.HostedZoneID(fmt.Sprint("Z", i))] = desired.Zone{Name: apex, Records: w.records(r, apex, byte(200+i))}
	}
	for i := range 3 {
		v := desired.VPC{ID: vpc.VPCID(fmt.Sprint("vpc-", i)), DNS: true, CIDRs: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
		for _, a := range worldApexes {
			switch r.IntN(12) {
			case 0, 1:
				v.PrivateZones = append(v.PrivateZones, a)
			case 2:
				v.InboundZones = append(v.InboundZones, a)
			}
		}
		for id := range w.zones {
			if r.IntN(2) == 0 {
				v.Zones = append(v.Zones, id)
			}
		}
		for at, d := range worldRules {
			switch r.IntN(8) {
			case 0:
				v.Forwards = append(v.Forwards, desired.Forward{Domain: d, Targets: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + at)}), 53)}})
			case 1:
				v.Forwards = append(v.Forwards, desired.Forward{Domain: d})
			}
		}
		v.Records = w.records(r, "", byte(i))
		w.vpcs[vpc.FirstVNI+vpc.VNI(i)] = v
	}
	return w
}

// question is a name as somebody may ask for it, and its type.
func (w *world) question(r *rand.Rand, v desired.VPC) (string, uint16) {
	n := pick(r, w.names)
	own := v.Records
	if at := r.IntN(len(v.Zones) + 1); at > 0 {
		own = w.zones[v.Zones[at-1]].Records
	}
	if len(own) > 0 && r.IntN(4) > 0 {
		n = pick(r, own).Name
	}
	switch r.IntN(12) {
	case 0:
		n = w.name(r)
	case 1:
		n = pick(r, worldLabels) + "." + n
	case 2:
		if _, rest, ok := strings.Cut(n, "."); ok {
			n = rest
		}
	case 3, 5, 6, 7:
		n = strings.Replace(n, "*", pick(r, worldLabels), 1)
	case 4:
		n = fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", r.IntN(3), r.IntN(3), r.IntN(3), pick(r, []int{10, 198, 203}))
	}
	return n, pick(r, []uint16{dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypePTR, dns.TypeTXT, dns.TypeMX, dns.TypeSRV, dns.TypeNS, dns.TypeSOA, dns.TypeHTTPS})
}

// shown writes an answer's records as the model does.
func shown(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		h := rr.Header()
		s := dns.TypeToString[h.Rrtype]
		if h.Rrtype != dns.TypeSOA {
			s += strings.TrimPrefix(rr.String(), h.String())
			s = strings.Replace(s, dns.TypeToString[h.Rrtype], dns.TypeToString[h.Rrtype]+" ", 1) + fmt.Sprintf(" %d", h.Ttl)
		}
		out = append(out, s)
	}
	return out
}

// TestEveryAnswerIsTheModels asks generated questions of generated VPCs, 20,000
// or by POSTERN_LONG_TESTS 10,000,000: never a wrong answer, never another
// VPC's.
func TestEveryAnswerIsTheModels(t *testing.T) {
	perWorld, worlds := 500, 20_000/500
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		perWorld, worlds = 2500, 10_000_000/2500
	}
	seeds := make(chan uint64)
	var work sync.WaitGroup
	var mu sync.Mutex
	kinds := map[string]int{}
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for seed := range seeds {
				if t.Failed() {
					continue
				}
				for k, n := range askWorld(t, seed, perWorld) {
					mu.Lock()
					kinds[k] += n
					mu.Unlock()
				}
			}
		})
	}
	first := rand.Uint64()
	for i := range worlds {
		seeds <- first + uint64(i)
	}
	close(seeds)
	work.Wait()
	t.Logf("answers: %v", kinds)
	for _, k := range []string{"answer", "chain", "NODATA", "NXDOMAIN", "forward", "rule", "SERVFAIL", "inbound"} {
		if kinds[k] < 10 {
			t.Errorf("only %d answers were of the kind %s: the questions are not good enough", kinds[k], k)
		}
	}
}

func askWorld(t *testing.T, seed uint64, questions int) map[string]int {
	r := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(r)
	view := Compile(nil, w.vpcs, w.zones, loud(t))
	var dialled []string
	res := New(Options{
		View: func() *View { return view },
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, errors.New("nobody")
		},
	})
	defer res.Shutdown(context.Background())
	type side struct {
		vni     vpc.VNI
		inbound bool
	}
	models := map[side]model{}
	kinds := map[string]int{}
	var sc scratch
	for i := range questions {
		// Changes to what is compiled come in between.
		if i == questions/2 {
			vni := vpc.FirstVNI + vpc.VNI(r.IntN(3))
			v := w.vpcs[vni]
			v.Records = w.records(r, "", byte(vni-vpc.FirstVNI))
			w.vpcs[vni] = v
			z := w.zones["Z1"]
			z.Records = w.records(r, z.Name, 201)
			w.zones["Z1"] = z
			view = Compile(view, w.vpcs, w.zones, loud(t))
			clear(models)
		}
		s := side{vpc.FirstVNI + vpc.VNI(r.IntN(3)), r.IntN(4) == 0}
		m, ok := models[s]
		if !ok {
			m = newModel(w.vpcs[s.vni], w.zones, s.inbound)
			models[s] = m
		}
		name, rrtype := w.question(r, w.vpcs[s.vni])
		want := m.ask(name, rrtype)
		cased := []byte(name)
		for i, c := range cased {
			if 'a' <= c && c <= 'z' && r.IntN(2) == 0 {
				cased[i] -= 'a' - 'A'
			}
		}
		q := new(dns.Msg).SetQuestion(dns.Fqdn(string(cased)), rrtype)
		q.Id = uint16(r.Uint32())
		if r.IntN(2) == 0 {
			q.SetEdns0(uint16(r.IntN(4096)), r.IntN(2) == 0)
		}
		if r.IntN(8) == 0 {
			q.Compress = true // which with an OPT is another form of message
			q.AuthenticatedData, q.CheckingDisabled = true, true
		}
		raw, err := q.Pack()
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return kinds
		}
		dialled = nil
		reply, later := res.handle(&sc, raw, Asker{VNI: s.vni, Inbound: s.inbound}, r.IntN(4) == 0)
		if later != nil {
			reply = later(context.Background())
			res.forwarder.cache = newCache(res.forwarder.cache.now) // a failure is remembered
		}
		got := new(dns.Msg)
		if later == nil && reply[2]&bitTC != 0 {
			reply, later = res.handle(&sc, raw, Asker{VNI: s.vni, Inbound: s.inbound}, true)
		}
		bad := func(what string) {
			t.Errorf("seed %d, question %d: %s %s of %v: %s\n got %v\nfrom %q\nwant %+v\nVPC %+v\nzones %+v", seed, i, name, dns.TypeToString[rrtype], s, what, got, dialled, want, w.vpcs[s.vni], w.zones)
		}
		if err := got.Unpack(reply); err != nil {
			bad(err.Error())
			return kinds
		}
		var soa string
		for _, rr := range got.Ns {
			soa = rr.Header().Name
		}
		has := shown(got.Answer)
		slices.Sort(has)
		chained := len(want.answer) > 0 && strings.HasPrefix(want.answer[0], "CNAME") && rrtype != dns.TypeCNAME
		slices.Sort(want.answer)
		switch {
		case got.Id != q.Id || !got.Response || !got.RecursionAvailable || got.Truncated || got.Question[0] != q.Question[0] || (got.IsEdns0() != nil) != (q.IsEdns0() != nil):
			bad("the head of the answer")
			return kinds
		case want.forward:
			kinds["forward"]++
			if want.target != "" {
				kinds["rule"]++
			}
			if got.Rcode != dns.RcodeServerFailure || want.target == "" && later != nil || want.target != "" && (len(dialled) == 0 || dialled[0] != want.target) {
				bad("it is for another resolver to answer")
				return kinds
			}
		case later != nil || got.Rcode != want.rcode || got.Authoritative != want.authoritative || !slices.Equal(has, want.answer) || !strings.EqualFold(soa, want.soa):
			bad(fmt.Sprintf("not the model's: %q, SOA of %q", has, soa))
			return kinds
		case want.rcode == dns.RcodeServerFailure:
			kinds["SERVFAIL"]++
		case want.rcode == dns.RcodeNameError:
			kinds["NXDOMAIN"]++
		case want.soa != "":
			kinds["NODATA"]++
		default:
			kinds["answer"]++
		}
		if chained {
			kinds["chain"]++
		}
		if s.inbound {
			kinds["inbound"]++
		}
		for _, rr := range got.Answer {
			var of byte
			switch rr := rr.(type) {
			case *dns.A:
				of = rr.A.To4()[1]
			case *dns.AAAA:
				of = rr.AAAA[4]
			default:
				continue
			}
			if of < 200 && of != byte(s.vni-vpc.FirstVNI) || of >= 200 && !slices.Contains(w.vpcs[s.vni].Zones, vpc.HostedZoneID(fmt.Sprint("Z", of-200))) {
				bad("another VPC's address")
				return kinds
			}
		}
	}
	return kinds
}
