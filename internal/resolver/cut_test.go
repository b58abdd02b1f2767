// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// A chain of aliases that does not fit and would go on outside is marked as
// truncated, not answered with what fits of it.
func TestAChainThatIsCutSaysSo(t *testing.T) {
	long := strings.Repeat("n", 60)
	name := func(i int) string { return fmt.Sprintf("c%d.%s.%s.%s.example", i, long, long, long) }
	in := testVPCs[vniA]
	in.Records = nil
	for i := range 5 {
		in.Records = append(in.Records, desired.Record{Name: name(i), CNAME: name(i + 1), TTL: 60})
	}
	in.Records[4].CNAME = "end.outside.test"
	view := compiled(t, map[vpc.VNI]desired.VPC{vniA: in})
	up := newUpstream(t, record("end.outside.test. 60 IN A 192.0.2.7"))
	r := New(Options{View: func() *View { return view }, Upstreams: func() []string { return []string{up.addr} }})
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name(0)), dns.TypeA)
	raw, _ := q.Pack()
	reply, later := r.handle(new(scratch), raw, Asker{VNI: vniA}, false)
	if later != nil {
		reply = later(r.ctx)
	}
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatal(err)
	}
	next, whole := dns.Fqdn(name(0)), true
	for _, rr := range m.Answer {
		if rr.Header().Name != next {
			whole = false
		}
		if c, ok := rr.(*dns.CNAME); ok {
			next = c.Target
		}
	}
	if !m.Truncated && !(whole && len(m.Answer) == 6) {
		t.Errorf("%d bytes, %d records, not marked as truncated", len(reply), len(m.Answer))
	}
}
