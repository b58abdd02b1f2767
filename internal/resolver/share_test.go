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

// However many interfaces a tenant has, another's questions find a place in the
// queue for upstreams, and its connections too.
func TestOneVPCDoesNotFillTheQueues(t *testing.T) {
	l := newLimiter(time.Now, func() int { return 10 })
	asker := func(vni vpc.VNI, i int) askerKey { return askerKey{vni: vni, iface: uint64(i + 1)} }
	for _, q := range []struct {
		what     string
		take     func(askerKey) bool
		giveBack func(askerKey)
		limit    int
	}{{"forwards", l.forward, l.forwarded, maxForwards}, {"streams", l.stream, l.closed, maxStreams}} {
		taken := map[vpc.VNI][]askerKey{}
		fill := func(vni vpc.VNI) {
			for i := range 2 * q.limit {
				if k := asker(vni, i); q.take(k) {
					taken[vni] = append(taken[vni], k)
				}
			}
		}
		fill(vniA)
		fill(vniB)
		fill(vniC)
		if a, b, c := len(taken[vniA]), len(taken[vniB]), len(taken[vniC]); a != q.limit/2 || b != q.limit/4 || c != q.limit/8 {
			t.Errorf("%s: one VPC has %d of %d, the next ones %d and %d", q.what, a, q.limit, b, c)
		}
		for _, ks := range taken {
			for _, k := range ks {
				q.giveBack(k)
			}
		}
		if !q.take(asker(vniA, 1)) {
			t.Errorf("%s: what was given back is not free", q.what)
		}
		q.giveBack(asker(vniA, 1))
	}
	if l.forwards.all+l.streams.all+len(l.forwards.byVPC)+len(l.streams.byVPC) != 0 {
		t.Errorf("left over: %+v %+v", l.forwards, l.streams)
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
