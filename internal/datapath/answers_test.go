// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/vpc"
)

// dnsLab is a world whose resolver leaves its answers for the programs.
type dnsLab struct {
	*world
	answers *Answers
	view    atomic.Pointer[resolver.View]
	asker   atomic.Uint32 // whose questions come to the resolver
	conn    net.Conn      // to it
}

func newDNSLab(t *testing.T, options ...func(*world)) *dnsLab {
	l := &dnsLab{}
	l.world = newWorld(t, append([]func(*world){dual, func(w *world) {
		edit(w.host.VPCs, vniB, func(v *desired.VPC) { v.DNS = true })
	}}, options...)...)
	if err := l.dp.LimitResolver(1e9); err != nil {
		t.Fatal(err)
	}
	l.answers = l.openAnswers()
	res := resolver.New(resolver.Options{
		Identify: func(remote, local netip.AddrPort, _ int) (resolver.Asker, error) {
			return resolver.Asker{VNI: vpc.VNI(l.asker.Load()), Client: remote, Server: local, Interface: 1}, nil
		},
		View: l.view.Load,
		Keep: func(a resolver.Answer) { l.answers.Keep(Answer(a)) },
		Log:  slog.New(slog.DiscardHandler),
	})
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := res.ServePacket(pc); err != nil {
			t.Error(err)
		}
	})
	if l.conn, err = net.Dial("udp4", pc.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.conn.Close()
		res.Shutdown(t.Context())
		serving.Wait()
		l.answers.Close()
	})
	return l
}

// openAnswers opens the maps as a process does that inherits them.
func (w *world) openAnswers() *Answers {
	w.t.Helper()
	if err := w.dp.ForgetAnswers(); err != nil {
		w.t.Fatal(err)
	}
	spaces, answers, err := w.dp.AnswersFiles()
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := OpenAnswers(uintptr(dup(w.t, spaces)), uintptr(dup(w.t, answers)), func(err error) { w.t.Error(err) })
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// show makes a view the one that is answered from, as the edge does.
func (l *dnsLab) show(vpcs map[vpc.VNI]desired.VPC, zones map[vpc.HostedZoneID]desired.Zone) {
	l.t.Helper()
	v := resolver.Compile(l.view.Load(), vpcs, zones, slog.New(slog.DiscardHandler))
	l.view.Store(v)
	if err := l.answers.SetSpaces(v.Spaces()); err != nil {
		l.t.Fatal(err)
	}
}

// slow is what the resolver says.
func (l *dnsLab) slow(vni vpc.VNI, q []byte) []byte {
	l.t.Helper()
	l.asker.Store(uint32(vni))
	l.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := l.conn.Write(q); err != nil {
		l.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := l.conn.Read(b)
	if err != nil {
		l.t.Fatalf("the resolver does not answer %x: %v", q, err)
	}
	return b[:n]
}

func (l *dnsLab) question(id vpc.InterfaceID, q []byte, six bool) []byte {
	l.t.Helper()
	eth := &layers.Ethernet{SrcMAC: l.mac(id), DstMAC: net.HardwareAddr{2, 9, 9, 9, 9, 9}, EthernetType: layers.EthernetTypeIPv4}
	u := &layers.UDP{SrcPort: layers.UDPPort(1024 + rand.IntN(100)), DstPort: 53}
	if six {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: l.host.Interfaces[id].IPv6[0].AsSlice(), DstIP: desired.Resolver6.AsSlice()}
		u.SetNetworkLayerForChecksum(ip)
		return serialize(l.t, eth, ip, u, gopacket.Payload(q))
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: l.host.Interfaces[id].Addr.AsSlice(), DstIP: net.IP{10, 0, 0, 2}}
	u.SetNetworkLayerForChecksum(ip)
	return serialize(l.t, eth, ip, u, gopacket.Payload(q))
}

// fast is what the program says; false if it leaves the question to the resolver.
func (l *dnsLab) fast(id vpc.InterfaceID, q []byte, six bool) ([]byte, bool) {
	l.t.Helper()
	frame := l.question(id, q, six)
	v := l.try(Workload, l.devices[id].Ifindex, frame, 0)
	if v.Action == ActionPeer && v.Ifindex == l.service.Ifindex {
		return nil, false
	}
	if v.Action != ActionAnswer || v.Ifindex != l.devices[id].Ifindex {
		l.t.Fatalf("%x: %v", q, v)
	}
	l4 := 34
	if six {
		l4 = 54
	}
	in, out := frame, v.Frame
	swapped := bytes.Equal(in[:6], out[6:12]) && bytes.Equal(in[6:12], out[:6]) && bytes.Equal(in[l4:l4+2], out[l4+2:l4+4]) && bytes.Equal(in[l4+2:l4+4], out[l4:l4+2])
	var pseudo []byte
	if six {
		swapped = swapped && bytes.Equal(in[22:38], out[38:54]) && bytes.Equal(in[38:54], out[22:38]) && out[21] == 64 && int(binary.BigEndian.Uint16(out[18:])) == len(out)-54
		pseudo = out[22:54]
	} else {
		swapped = swapped && bytes.Equal(in[26:30], out[30:34]) && bytes.Equal(in[30:34], out[26:30]) && out[22] == 64 && int(binary.BigEndian.Uint16(out[16:])) == len(out)-14 &&
			onesSum(0, out[14:34]) == 0xffff
		pseudo = out[26:34]
	}
	udp := out[l4:]
	sum := onesSum(onesSum(uint32(vpc.UDP)+uint32(len(udp)), pseudo), udp)
	if !swapped || int(binary.BigEndian.Uint16(udp[4:])) != len(udp) || binary.BigEndian.Uint16(udp[6:]) == 0 || sum != 0xffff {
		l.t.Fatalf("%x\nis answered with\n%x, sum %#x", in, out, sum)
	}
	return udp[8:], true
}

// sameAnswer compares two replies byte for byte, but for the order of addresses.
func sameAnswer(a, b []byte) error {
	if bytes.Equal(a, b) {
		return nil
	}
	var m, n dns.Msg
	if err := errors.Join(m.Unpack(a), n.Unpack(b)); err != nil {
		return err
	}
	records := func(m dns.Msg) (out []string) {
		for _, rr := range m.Answer {
			out = append(out, rr.String())
		}
		slices.Sort(out)
		return out
	}
	end := headerAndQuestion(a)
	if len(a) != len(b) || len(m.Answer) < 2 || !bytes.Equal(a[:end], b[:end]) || !slices.Equal(records(m), records(n)) {
		return fmt.Errorf("%x and %x:\n%v\n%v", a, b, &m, &n)
	}
	return nil
}

func headerAndQuestion(b []byte) int {
	at := 12
	for b[at] != 0 {
		at += 1 + int(b[at])
	}
	return at + 5
}

// form is how a question is put.
type form struct {
	edns, do, cd, ad, noRD, options, mixed bool
	size                                   uint16
}

func ask(t testing.TB, name string, qtype uint16, f form) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.CheckingDisabled, m.AuthenticatedData, m.RecursionDesired = f.cd, f.ad, !f.noRD
	if f.edns {
		m.SetEdns0(f.size, f.do)
		if f.options {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		}
	}
	if f.mixed {
		b := []byte(m.Question[0].Name)
		for i, c := range b {
			if 'a' <= c && c <= 'z' && rand.IntN(2) == 0 {
				b[i] = c - 'a' + 'A'
			}
		}
		m.Question[0].Name = string(b)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func addrs(first string, n int) (out []netip.Addr) {
	for a := netip.MustParseAddr(first); len(out) < n; a = a.Next() {
		out = append(out, a)
	}
	return out
}

// Each form of a question and each kind of answer, in words.
func TestTheProgramAnswersWhatTheResolverHasAnswered(t *testing.T) {
	l := newDNSLab(t)
	long := strings.Repeat("l", 60)
	l.show(map[vpc.VNI]desired.VPC{
		vniA: {ID: "vpc-a", VNI: vniA, DNS: true, PrivateZones: []string{"corp.example", long + "." + long + ".example"}, Records: []desired.Record{
			{Name: "one.corp.example", TTL: 60, Addrs: addrs("10.0.0.1", 1)},
			{Name: "many.corp.example", TTL: 60, Addrs: append(addrs("10.0.0.1", 5), addrs("2001:db8::1", 3)...)},
			{Name: "alias.corp.example", TTL: 5, CNAME: "many.corp.example"},
			{Name: "crowd.corp.example", TTL: 60, Addrs: append(addrs("10.0.0.1", 16), addrs("2001:db8::1", 17)...)},
			{Name: "text.corp.example", TTL: 60, Type: "TXT", Values: []string{`"hello"`}},
			{Name: "out.corp.example", TTL: 60, CNAME: "elsewhere.test"},
			{Name: "a." + long + "." + long + ".example", TTL: 60, Addrs: addrs("10.0.0.9", 1)},
			{Name: strings.Repeat("a.", 30) + "corp.example", TTL: 60, Addrs: addrs("10.0.0.8", 1)},
			{Name: strings.Repeat("a.", 29) + "corp.example", TTL: 60, Addrs: addrs("10.0.0.8", 1)},
		}},
	}, nil)
	edns := form{edns: true, size: 1232}
	asked := map[string]bool{}
	for _, c := range []struct {
		what, name string
		qtype      uint16
		first      form // what fills
		then       form // what is answered
		fast       bool
	}{
		{"A", "one.corp.example", dns.TypeA, form{}, form{}, true},
		{"in other letters", "one.corp.example", dns.TypeA, form{mixed: true}, form{mixed: true}, true},
		{"AAAA that is not there", "one.corp.example", dns.TypeAAAA, form{}, form{}, true},
		{"no such name", "none.corp.example", dns.TypeA, form{}, form{}, true},
		{"the apex", "corp.example", dns.TypeSOA, form{}, form{}, true},
		{"several addresses", "many.corp.example", dns.TypeA, form{}, form{}, true},
		{"of both families", "many.corp.example", dns.TypeAAAA, form{}, form{}, true},
		{"a chain", "alias.corp.example", dns.TypeA, form{}, form{}, true},
		{"text", "text.corp.example", dns.TypeTXT, form{}, form{}, true},
		{"any type", "text.corp.example", dns.TypeANY, form{}, form{}, true},
		{"with EDNS after without", "alias.corp.example", dns.TypeAAAA, form{}, edns, true},
		{"without EDNS after with", "text.corp.example", dns.TypeHINFO, edns, form{}, true},
		{"DNSSEC wanted", "one.corp.example", dns.TypeTXT, form{}, form{edns: true, size: 4096, do: true, cd: true, ad: true}, true},
		{"not recursive", "one.corp.example", dns.TypeMX, form{}, form{noRD: true}, true},
		{"16 addresses", "crowd.corp.example", dns.TypeA, form{}, form{}, true},
		{"too long an answer", "crowd.corp.example", dns.TypeAAAA, edns, edns, false},
		{"options", "one.corp.example", dns.TypeA, form{}, form{edns: true, size: 1232, options: true}, false},
		{"filled with options", "one.corp.example", dns.TypeSRV, form{edns: true, size: 1232, options: true}, form{}, false},
		{"what others are asked for", "out.corp.example", dns.TypeA, form{}, form{}, false},
		{"too long a name", "a." + long + "." + long + ".example", dns.TypeA, form{}, form{}, false},
		{"too many labels", strings.Repeat("a.", 30) + "corp.example", dns.TypeA, form{}, form{}, false},
		{"as many as there may be", strings.Repeat("a.", 29) + "corp.example", dns.TypeA, form{}, form{}, true},
	} {
		for _, six := range []bool{false, true} {
			q := ask(t, c.name, c.qtype, c.then)
			key := fmt.Sprint(c.name, c.qtype)
			if _, ok := l.fast(eniA1, q, six); ok && !asked[key] {
				t.Errorf("%s: is answered before the resolver has", c.what)
			}
			asked[key] = true
			l.slow(vniA, ask(t, c.name, c.qtype, c.first))
			got, ok := l.fast(eniA1, q, six)
			if ok != c.fast {
				t.Errorf("%s: answered by the program: %v, want %v", c.what, ok, c.fast)
			}
			if ok {
				if err := sameAnswer(got, l.slow(vniA, q)); err != nil {
					t.Errorf("%s: %v", c.what, err)
				}
			}
			// The other VPC has no such names.
			if _, ok := l.fast(eniB1, q, six); ok {
				t.Errorf("%s: another VPC's question is answered", c.what)
			}
		}
	}
	n, err := l.dp.Counters()
	if err != nil || n.DNS == 0 {
		t.Errorf("%d answers are counted: %v", n.DNS, err)
	}
}

// Clients spread over addresses as the resolver has them do.
func TestAnyAddressComesFirst(t *testing.T) {
	l := newDNSLab(t)
	const addresses = 5
	l.show(map[vpc.VNI]desired.VPC{vniA: {ID: "vpc-a", VNI: vniA, DNS: true, PrivateZones: []string{"corp.example"}, Records: []desired.Record{
		{Name: "many.corp.example", TTL: 60, Addrs: addrs("10.0.0.1", addresses)}, {Name: "alias.corp.example", TTL: 60, CNAME: "many.corp.example"}}}}, nil)
	q := ask(t, "alias.corp.example", dns.TypeA, form{})
	l.slow(vniA, q)
	first := map[string]int{}
	for range 1000 {
		b, ok := l.fast(eniA1, q, false)
		var m dns.Msg
		if !ok || m.Unpack(b) != nil || len(m.Answer) != 1+addresses {
			t.Fatalf("%v %x", ok, b)
		}
		first[m.Answer[1].(*dns.A).A.String()]++
		for i := range addresses - 1 { // the others follow in the same circle
			a, b := m.Answer[1+i].(*dns.A).A[3], m.Answer[2+i].(*dns.A).A[3]
			if b != a%addresses+1 {
				t.Fatalf("%v", &m)
			}
		}
	}
	for a, n := range first {
		if len(first) != addresses || n < 120 || n > 280 {
			t.Fatalf("%s comes first %d times: %v", a, n, first)
		}
	}
}

// randomNames are what VPCs have, and what is asked for.
func randomNames(r *rand.Rand) (map[vpc.VNI]desired.VPC, map[vpc.HostedZoneID]desired.Zone) {
	record := func(zone string) desired.Record {
		d := desired.Record{Name: fmt.Sprintf("n%d.%s", r.IntN(4), zone), TTL: uint32(r.IntN(100))}
		switch r.IntN(6) {
		case 0:
			d.CNAME = fmt.Sprintf("n%d.%s", r.IntN(5), zone)
		case 1:
			d.Alias, d.AliasType = fmt.Sprintf("n%d.%s", r.IntN(4), zone), "A"
		case 2:
			d.Type, d.Values = "TXT", []string{fmt.Sprintf(`"%d"`, r.IntN(1000))}
		case 3:
			d.Name = "*." + zone
			fallthrough
		default:
			d.Addrs = append(addrs(fmt.Sprintf("10.0.%d.%d", r.IntN(256), r.IntN(200)), r.IntN(5)), addrs(fmt.Sprintf("2001:db8::%x", r.IntN(1<<16)), r.IntN(3))...)
			if len(d.Addrs) == 0 {
				d.Addrs = addrs("10.9.9.9", 1)
			}
		}
		return d
	}
	records := func(zone string) (out []desired.Record) {
		for range r.IntN(8) {
			out = append(out, record(zone))
		}
		return out
	}
	zones := map[vpc.HostedZoneID]desired.Zone{}
	for i := range 2 {
		name := fmt.Sprintf("hosted%d.example", i)
		zones[vpc.HostedZoneID(name)] = desired.Zone{Name: name, Records: records(name)}
	}
	vpcs := map[vpc.VNI]desired.VPC{}
	for _, vni := range []vpc.VNI{vniA, vniB} {
		v := desired.VPC{ID: vpc.VPCID(fmt.Sprint("vpc-", vni)), VNI: vni, DNS: true, PrivateZones: []string{"own.example"}}
		v.Records = append(records("own.example"), records("public.example")...)
		for id := range zones {
			if r.IntN(2) == 0 {
				v.Zones = append(v.Zones, id)
			}
		}
		slices.Sort(v.Zones)
		vpcs[vni] = v
	}
	return vpcs, zones
}

// Whatever the names are and however they change, the program says what the
// resolver says, and nothing that is no longer so.
func TestTheProgramSaysWhatTheResolverSays(t *testing.T) {
	l := newDNSLab(t)
	r := rand.New(rand.NewPCG(1, 2))
	fast, all := 0, 0
	for range 60 {
		vpcs, zones := randomNames(r)
		l.show(vpcs, zones)
		for range 60 {
			name := fmt.Sprintf("n%d.%s", r.IntN(6), []string{"own.example", "public.example", "hosted0.example", "hosted1.example"}[r.IntN(4)])
			f := form{edns: r.IntN(2) == 0, do: r.IntN(2) == 0, cd: r.IntN(4) == 0, ad: r.IntN(4) == 0, noRD: r.IntN(4) == 0, options: r.IntN(8) == 0, mixed: r.IntN(2) == 0, size: uint16(r.IntN(2000))}
			q := ask(t, name, []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeCNAME, dns.TypeANY, dns.TypeSOA}[r.IntN(6)], f)
			id, vni := eniA1, vniA
			if r.IntN(2) == 0 {
				id, vni = eniB1, vniB
			}
			six := r.IntN(2) == 0
			for range 2 { // before the resolver is asked, perhaps, and after
				got, ok := l.fast(id, q, six)
				want := l.slow(vni, q)
				all++
				if ok {
					fast++
					if err := sameAnswer(got, want); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	if fast < all/4 {
		t.Errorf("of %d questions the program has answered %d", all, fast)
	}
}

// Once a change is known to have been made, nothing that was before is said,
// however busy the resolver is saying it.
func TestNoAnswerOutlivesItsName(t *testing.T) {
	l := newDNSLab(t)
	const name = "vpce.corp.example"
	state := func(i int) map[vpc.VNI]desired.VPC {
		v := desired.VPC{ID: "vpc-a", VNI: vniA, DNS: true, PrivateZones: []string{"corp.example"}}
		if i%3 != 0 { // every third time there is no such name
			v.Records = []desired.Record{{Name: name, TTL: 60, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}}}
		}
		return map[vpc.VNI]desired.VPC{vniA: v}
	}
	q := ask(t, name, dns.TypeA, form{})
	l.show(state(0), nil)
	l.slow(vniA, q)
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() { // fills without a pause
		for {
			select {
			case <-done:
				return
			default:
				l.slow(vniA, q)
			}
		}
	})
	fast := 0
	for i := 1; i <= 1000; i++ {
		l.show(state(i), nil)
		want := dns.RcodeNameError
		if i%3 != 0 {
			want = dns.RcodeSuccess
		}
		// At once, when there may be no answer yet, and sometimes until there is one.
		for until := time.Now().Add(10 * time.Second); ; {
			b, ok := l.fast(eniA1, q, false)
			if !ok && i%10 == 0 && time.Now().Before(until) {
				continue
			}
			if !ok {
				break
			}
			fast++
			var m dns.Msg
			if err := m.Unpack(b); err != nil || m.Rcode != want || (want == dns.RcodeSuccess) != (len(m.Answer) == 1) ||
				want == dns.RcodeSuccess && !m.Answer[0].(*dns.A).A.Equal(net.IP{10, 1, byte(i >> 8), byte(i)}) {
				t.Errorf("after change %d: %v %v", i, &m, err)
			}
			break
		}
	}
	close(done)
	asking.Wait()
	if fast < 100 {
		t.Errorf("the program answered %d times only", fast)
	}
	// With the end of the resolver's process its answers end.
	if _, ok := l.fast(eniA1, q, false); !ok {
		t.Error("the last answer is not given")
	}
	if err := l.dp.ForgetSpaces(); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.fast(eniA1, q, false); ok {
		t.Error("an answer is left")
	}
}

func dup(t testing.TB, f *os.File) int {
	t.Helper()
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
