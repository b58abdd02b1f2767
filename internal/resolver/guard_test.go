// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// A tenant's rule leads to nothing of the host, also to none of its addresses
// that came after the rule; the operator's own upstream may well be there.
func TestARuleDoesNotLeadToTheHost(t *testing.T) {
	servers := map[string]*upstream{}
	for _, address := range []string{"192.0.2.1:53", "192.0.2.2:5353", "[2001:db8::1]:53"} {
		servers[address] = newUpstream(t, record("@ 60 IN A 203.0.113.1"))
	}
	var mu sync.Mutex
	own := map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true, netip.MustParseAddr("2001:db8::1"): true}
	dialled := map[string]int{}
	to := dialTo(servers)
	var log strings.Builder
	rules := []desired.Forward{
		{Domain: "own.test", Targets: targets("192.0.2.1:53")},
		{Domain: "mapped.test", Targets: targets("[::ffff:192.0.2.1]:53")},
		{Domain: "six.test", Targets: targets("[2001:db8::1]:53")},
		{Domain: "both.test", Targets: targets("192.0.2.1:53", "192.0.2.2:5353")},
		{Domain: "out.test", Targets: targets("192.0.2.2:5353")},
	}
	a := newAsking(t, compiled(t, map[vpc.VNI]desired.VPC{vniA: {ID: "vpc-a", DNS: true, Forwards: rules}, vniB: {DNS: true}}), Options{
		Log: loggerTo(&log),
		MayLeadTo: func(a netip.Addr) error {
			mu.Lock()
			defer mu.Unlock()
			if own[a] {
				return errors.New("it is an address of this host")
			}
			return nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			dialled[address]++
			mu.Unlock()
			return to(ctx, network, address)
		},
		Upstreams: func() []string { return []string{"192.0.2.1"} },
	})
	count := func(address string) int {
		mu.Lock()
		defer mu.Unlock()
		return dialled[address]
	}
	asks := func(vni vpc.VNI, name, want string) {
		t.Helper()
		if got := a.ask(Asker{VNI: vni}, name, dns.TypeA); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	const fine = "NOERROR A 203.0.113.1"
	for _, domain := range []string{"own.test", "mapped.test", "six.test"} {
		asks(vniA, "www."+domain, "SERVFAIL")
	}
	if len(dialled) != 0 {
		t.Errorf("dialled %v", dialled)
	}
	asks(vniA, "www.both.test", fine)
	asks(vniA, "www.out.test", fine)
	if count("192.0.2.1:53") != 0 || count("192.0.2.2:5353") != 2 {
		t.Errorf("dialled %v", dialled)
	}
	asks(vniB, "www.elsewhere.test", fine)
	if count("192.0.2.1:53") != 1 {
		t.Errorf("the operator's upstream was not asked: %v", dialled)
	}
	mu.Lock()
	own[netip.MustParseAddr("192.0.2.2")] = true
	mu.Unlock()
	asks(vniA, "later.out.test", "SERVFAIL")
	if count("192.0.2.2:5353") != 2 {
		t.Errorf("an address that became the host's was asked: %v", dialled)
	}
	if n := strings.Count(log.String(), "is not asked"); n != 4 || !strings.Contains(log.String(), "vpc=vpc-a target=192.0.2.1:53") {
		t.Errorf("%d lines, want one for each target:\n%s", n, log.String())
	}
}

// What tenants do fills no log.
func TestRefusedTargetsAreLoggedNowAndThen(t *testing.T) {
	now := time.Unix(1000, 0)
	var log strings.Builder
	g := &guard{may: func(netip.Addr) error { return errors.New("no") }, now: func() time.Time { return now }, log: loggerTo(&log), said: map[refusal]time.Time{}}
	for i := range 4 * maxSaid {
		if g.check(tenant{vpc: "vpc-a"}, fmt.Sprintf("192.0.2.1:%d", 1+i%(2*maxSaid))) == nil {
			t.Fatal("it may be asked")
		}
	}
	if n := strings.Count(log.String(), "\n"); n != maxSaid || len(g.said) != maxSaid {
		t.Errorf("%d lines, %d remembered, want %d", n, len(g.said), maxSaid)
	}
	now = now.Add(sayAgain)
	log.Reset()
	g.check(tenant{vpc: "vpc-a"}, "192.0.2.1:1000")
	g.check(tenant{vpc: "vpc-b"}, "192.0.2.1:1")
	g.check(tenant{vpc: "vpc-b"}, "192.0.2.1:1")
	if n := strings.Count(log.String(), "\n"); n != 2 || len(g.said) != 2 {
		t.Errorf("a minute later: %d lines, %d remembered", n, len(g.said))
	}
	if g.check(tenant{}, "no address") == nil {
		t.Error("what is no address may be asked")
	}
}
