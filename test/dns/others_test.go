// SPDX-License-Identifier: Apache-2.0

//go:build linux

package dns

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/vpc"
)

// written is a zone with a case of everything, as a zone file has it.
const written = `
@           900 IN SOA   ns hostmaster 7 7200 900 1209600 60
@           300 IN NS    ns
@           300 IN MX    10 mail
@           300 IN TXT   "v=spf1 -all" "second string"
ns          300 IN A     10.0.0.53
www          60 IN A     10.0.0.1
www          60 IN A     10.0.0.9
www          60 IN AAAA  2001:db8::1
mail        300 IN A     10.0.0.2
_ldap._tcp  300 IN SRV   0 5 389 www
txt         300 IN TXT   "a;b \"quoted\" \\ \000\255" "two"
caa         300 IN CAA   0 issue "ca.example"
naptr       300 IN NAPTR 10 20 "u" "E2U+sip" "!^.*$!sip:a@written.example!" .
sshfp       300 IN SSHFP 4 2 1111111111111111111111111111111111111111111111111111111111111111
tlsa        300 IN TLSA  3 1 1 2222222222222222222222222222222222222222222222222222222222222222
ptr         300 IN PTR   www
alias       300 IN CNAME www
alias2      300 IN CNAME alias
dangling    300 IN CNAME nothing
toentry     300 IN CNAME b.c
a.b.c       300 IN A     10.0.0.3
*.wild      300 IN A     10.0.0.4
*.wild      300 IN TXT   "any"
x.wild      300 IN MX    5 mail
sub.*.wild  300 IN A     10.0.0.5
a.b.ent.wild 300 IN A    10.0.0.6
*.chain     300 IN CNAME www
towild      300 IN CNAME q.wild
*.gone      300 IN CNAME nothing
`

// randomZone is a zone of a few labels that meet often: names at several
// depths, wildcards, CNAMEs within it.
func randomZone(rnd *rand.Rand, apex string) string {
	var b strings.Builder
	b.WriteString("@ 900 IN SOA ns hostmaster 7 7200 900 1209600 60\n@ 300 IN NS ns\nns 300 IN A 10.0.0.53\n")
	name := func() string {
		labels := make([]string, 1+rnd.IntN(3))
		for i := range labels {
			labels[i] = string("abcd"[rnd.IntN(4)])
		}
		if rnd.IntN(4) == 0 {
			labels[0] = "*"
		}
		return strings.Join(labels, ".")
	}
	taken := map[string]bool{}
	for range 5 + rnd.IntN(20) {
		n := name()
		if taken[n] {
			continue
		}
		taken[n] = true
		if rnd.IntN(4) == 0 {
			// To a name, to nothing or to a wildcard, and never in a circle.
			fmt.Fprintf(&b, "%s 60 IN CNAME end.%s\n", n, []string{"x", "y", "z"}[rnd.IntN(3)])
			continue
		}
		for i := range 1 + rnd.IntN(3) {
			fmt.Fprintf(&b, "%s 60 IN A 10.1.%d.%d\n", n, len(taken), i)
		}
		if rnd.IntN(2) == 0 {
			fmt.Fprintf(&b, "%s 120 IN TXT \"%s of %s\"\n", n, n, apex)
		}
	}
	b.WriteString("end.x 60 IN A 10.2.0.1\n*.y 60 IN A 10.2.0.2\n")
	return b.String()
}

// parsed are the records of a zone file.
func parsed(t *testing.T, text, apex string) (out []dns.RR) {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(apex), "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		out = append(out, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// hosted is the zone as the desired state has it.
func hosted(apex string, records []dns.RR) desired.Zone {
	z := desired.Zone{Name: apex}
	for _, rr := range records {
		h := rr.Header()
		r := desired.Record{Name: strings.TrimSuffix(h.Name, "."), TTL: h.Ttl}
		switch rr := rr.(type) {
		case *dns.A:
			a, _ := netip.AddrFromSlice(rr.A)
			r.Addrs = []netip.Addr{a.Unmap()}
		case *dns.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA)
			r.Addrs = []netip.Addr{a}
		case *dns.CNAME:
			r.CNAME = strings.TrimSuffix(rr.Target, ".")
		default:
			r.Type, r.Values = dns.Type(h.Rrtype).String(), []string{strings.TrimPrefix(rr.String(), h.String())}
		}
		z.Records = append(z.Records, r)
	}
	return z
}

// questions are the names of a zone, those between and beside them, each with
// types that are there and some that are not.
func questions(apex string, records []dns.RR) (out []dns.Question) {
	names := map[string]bool{}
	for _, rr := range records {
		for n := rr.Header().Name; dns.IsSubDomain(dns.Fqdn(apex), n); {
			names[n] = true
			names["no."+n] = true
			names["a."+n] = true
			names["b.no."+n] = true
			names["*."+n] = true
			if literal := strings.ReplaceAll(n, "*", "q"); literal != n {
				names[literal] = true
			}
			i, end := dns.NextLabel(n, 0)
			if end {
				break
			}
			n = n[i:]
		}
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeSRV, dns.TypePTR,
		dns.TypeCAA, dns.TypeNAPTR, dns.TypeSSHFP, dns.TypeTLSA}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		for _, rrtype := range types {
			out = append(out, dns.Question{Name: n, Qtype: rrtype, Qclass: dns.ClassINET})
		}
		// Letters are of no matter.
		out = append(out, dns.Question{Name: strings.ToUpper(n), Qtype: dns.TypeA, Qclass: dns.ClassINET})
	}
	return out
}

// said is what of an answer is compared: everything but the order of records.
func said(m *dns.Msg) string {
	section := func(rrs []dns.RR) string {
		var out []string
		for _, rr := range rrs {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			out = append(out, strings.Join(strings.Fields(rr.String()), " "))
		}
		slices.Sort(out)
		return strings.Join(out, "\n  ")
	}
	aa := ""
	if m.Authoritative {
		aa = " aa"
	}
	return fmt.Sprintf("%s%s\n  %s\n authority\n  %s", dns.RcodeToString[m.Rcode], aa, section(m.Answer), section(m.Ns))
}

// TestAnswersAreThoseOfOthers serves zones with Postern, unbound and NSD and
// compares rcode, the AA bit, the records and the SOA of every negative answer.
//
// Two differences are unbound's. Below a name without records of its own (an
// empty non-terminal) it still answers with the wildcard above that name, which
// RFC 4592, 3.3.1, forbids. And of a chain of CNAMEs through a wildcard it gives
// the beginning, which is allowed and makes clients ask again. Those answers are
// compared with NSD alone.
//
// Loops and CNAMEs that lead out of the zone are not in it: others answer with
// what they have for the first (Postern: SERVFAIL), and the second are not
// authoritative. Nor are delegations: Route 53 has none in private zones, so
// neither has Postern. The golden answers of internal/resolver have all three.
func TestAnswersAreThoseOfOthers(t *testing.T) {
	for _, program := range []string{unbound, nsd} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: scripts/deps.sh base compat installs it", program)
		}
	}
	zones := map[string]string{"written.example": written}
	rnd := rand.New(rand.NewPCG(5, 9))
	for i := range 12 {
		apex := fmt.Sprintf("random-%d.example", i)
		zones[apex] = randomZone(rnd, apex)
	}
	ours := serveOurs(t, zones)
	theirs := map[string]*dns.Conn{"unbound": serveTheirs(t, unbound, unboundConfig, zones), "nsd": serveTheirs(t, nsd, nsdConfig, zones)}
	compared, differ, left := 0, 0, 0
	for apex, text := range zones {
		records := parsed(t, text, apex)
		for _, q := range questions(apex, records) {
			m := new(dns.Msg)
			m.SetQuestion(q.Name, q.Qtype)
			m.SetEdns0(1232, false)
			got := said(exchange(t, ours, m))
			for name, c := range theirs {
				answer := exchange(t, c, m)
				if name == "unbound" && (belowEmpty(records, strings.ToLower(q.Name)) || unfinished(answer)) {
					left++
					continue
				}
				got, want := got, said(answer)
				if q.Name != strings.ToLower(q.Name) {
					// A name of the answer may point into the question, and has its case then.
					got, want = strings.ToLower(got), strings.ToLower(want)
				}
				if compared++; got != want {
					if differ++; differ <= 20 {
						t.Errorf("%s %s:\n%s\n%s:\n%s", q.Name, dns.Type(q.Qtype), got, name, want)
					}
				}
			}
		}
	}
	t.Logf("%d answers about %d zones compared, %d differ, %d left out of the comparison with unbound", compared, len(zones), differ, left)
	if compared < 20_000 {
		t.Errorf("only %d answers were compared", compared)
	}
}

// unfinished reports whether an answer ends with a CNAME and does not say what
// becomes of its target.
func unfinished(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeSuccess && m.Question[0].Qtype != dns.TypeCNAME && len(m.Ns) == 0 && len(m.Answer) > 0 &&
		!slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeCNAME })
}

// belowEmpty reports whether a name does not exist and the closest name above it
// that does has no records of its own.
func belowEmpty(records []dns.RR, name string) bool {
	for n := name; ; {
		below := false
		for _, rr := range records {
			if rr.Header().Name == n {
				return false
			}
			below = below || dns.IsSubDomain(n, rr.Header().Name)
		}
		if below {
			return n != name
		}
		i, end := dns.NextLabel(n, 0)
		if end {
			return false
		}
		n = n[i:]
	}
}

func exchange(t *testing.T, c *dns.Conn, m *dns.Msg) *dns.Msg {
	t.Helper()
	answer, _, err := new(dns.Client).ExchangeWithConn(m, c)
	if err != nil {
		t.Fatalf("%s: %v", m.Question[0].String(), err)
	}
	return answer
}

func connect(t *testing.T, address string) *dns.Conn {
	t.Helper()
	c, err := dns.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serveOurs answers from a VPC that has all zones.
func serveOurs(t *testing.T, zones map[string]string) *dns.Conn {
	t.Helper()
	const vni = vpc.VNI(0x1001)
	v := desired.VPC{ID: "vpc-a", VNI: vni, DNS: true}
	all := map[vpc.HostedZoneID]desired.Zone{}
	for apex, text := range zones {
		id := vpc.HostedZoneID("Z" + apex)
		v.Zones = append(v.Zones, id)
		all[id] = hosted(apex, parsed(t, text, apex))
	}
	var warned bytes.Buffer
	view := resolver.Compile(nil, map[vpc.VNI]desired.VPC{vni: v}, all, slog.New(slog.NewTextHandler(&warned, nil)))
	if warned.Len() > 0 {
		t.Fatalf("the zones do not compile whole: %s", &warned)
	}
	r := resolver.New(resolver.Options{
		Identify: func(remote, local netip.AddrPort, _ int) (resolver.Asker, error) {
			return resolver.Asker{VNI: vni, Client: remote, Server: local}, nil
		},
		View: func() *resolver.View { return view },
		Rate: func() int { return 1 << 30 },
	})
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.ServePacket(c) }()
	t.Cleanup(func() {
		r.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return connect(t, c.LocalAddr().String())
}

// The others' programs, by path: Debian has them where not every PATH leads.
const (
	unbound = "/usr/sbin/unbound"
	nsd     = "/usr/sbin/nsd"
)

func unboundConfig(port int, dir string, zones []string) string {
	conf := fmt.Sprintf("server:\n interface: 127.0.0.1@%d\n num-threads: 1\n username: \"\"\n chroot: \"\"\n directory: \"%s\"\n"+
		" use-syslog: no\n module-config: \"iterator\"\n do-tcp: no\nremote-control:\n control-enable: no\n", port, dir)
	for _, apex := range zones {
		conf += fmt.Sprintf("auth-zone:\n name: \"%s\"\n zonefile: \"%s\"\n for-downstream: yes\n for-upstream: no\n fallback-enabled: no\n",
			apex, filepath.Join(dir, apex))
	}
	return conf
}

func nsdConfig(port int, dir string, zones []string) string {
	conf := fmt.Sprintf("server:\n ip-address: 127.0.0.1@%d\n server-count: 1\n username: \"\"\n chroot: \"\"\n zonesdir: \"%[2]s\"\n database: \"\"\n"+
		" pidfile: \"\"\n xfrdfile: \"%[2]s/xfrd\"\n zonelistfile: \"%[2]s/list\"\n xfrdir: \"%[2]s\"\n minimal-responses: yes\n"+
		" rrl-ratelimit: 0\nremote-control:\n control-enable: no\n", port, dir)
	for _, apex := range zones {
		conf += fmt.Sprintf("zone:\n name: \"%s\"\n zonefile: \"%[1]s\"\n", apex)
	}
	return conf
}

// serveTheirs starts a server that is authoritative for all zones.
func serveTheirs(t *testing.T, program string, config func(port int, dir string, zones []string) string, zones map[string]string) *dns.Conn {
	t.Helper()
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	dir := t.TempDir()
	for apex, text := range zones {
		if err := os.WriteFile(filepath.Join(dir, apex), []byte("$ORIGIN "+apex+".\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(config(address.Port, dir, slices.Sorted(maps.Keys(zones)))), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, "-d", "-c", file)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = &out, &out
	// NSD's processes are several: the first ends the others when it is told to.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		})
	}
	t.Cleanup(stop)
	for deadline := time.Now().Add(20 * time.Second); ; {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("ns.written.example.", dns.TypeA), address.String())
		if err == nil && len(m.Answer) == 1 {
			return connect(t, address.String())
		}
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("%s does not answer: %v\n%s", program, err, &out)
		}
		time.Sleep(20 * time.Millisecond) // sleep: until the next try; the loop waits for an answer
	}
}
