// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/vpc"
)

// A VPC whose askers are many takes its own part of the limiter's table.
func TestOneVPCDoesNotFillTheLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimiter(func() time.Time { return now }, func() int { return 10 })
	asker := func(vni vpc.VNI, i int) askerKey {
		return askerKey{vni: vni, addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
	}
	taken := 0
	for i := range 2 * askersPerVPC {
		if l.packet(asker(vniA, i)) {
			taken++
		}
	}
	if taken != askersPerVPC {
		t.Errorf("%d askers of one VPC, want %d", taken, askersPerVPC)
	}
	if !l.packet(asker(vniB, 1)) {
		t.Error("another VPC's asker is refused")
	}
	now = now.Add(3 * time.Second)
	if !l.packet(asker(vniA, 3*askersPerVPC)) || len(l.askers) != 1 || l.perVPC[vniB] != 0 {
		t.Errorf("idle askers are still there: %d, %v", len(l.askers), l.perVPC)
	}
}

// RFC 2308, 5: an answer that only leads to where nothing is lives no longer than
// the SOA there says, and not at all without one.
func TestAliasesToNothingLiveAsLongAsNothing(t *testing.T) {
	m := &dns.Msg{Answer: []dns.RR{mustRR("www.test. 86400 IN CNAME host.test.")}}
	if got := lifetime(m, dns.TypeA); got != 0 {
		t.Errorf("without an SOA: %d s", got)
	}
	m.Ns = []dns.RR{mustRR("test. 60 IN SOA ns.test. host.test. 1 2 3 4 30")}
	if got := lifetime(m, dns.TypeA); got != 30 {
		t.Errorf("with one: %d s, want 30", got)
	}
	if got := lifetime(m, dns.TypeCNAME); got != 86400 {
		t.Errorf("the alias itself: %d s", got)
	}
}
