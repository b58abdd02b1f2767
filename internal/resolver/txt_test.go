// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

func TestTXTLookupTellsNothingFromNoAnswer(t *testing.T) {
	ctx := context.Background()
	var mu sync.Mutex
	ids := map[uint16]bool{}
	u := newUpstream(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		mu.Lock()
		ids[q.Id] = true
		mu.Unlock()
		switch strings.ToLower(q.Question[0].Name) {
		case "_x.example.com.":
			m := record(`@ 60 IN TXT "vpce:" "AbC"`)(q, tcp)
			m.Answer = append(m.Answer, mustRR(`_x.example.com. 60 IN TXT "other"`))
			return m
		case "big.example.com.":
			if !tcp {
				m := new(dns.Msg).SetReply(q)
				m.Truncated = true
				return m
			}
			return record(`@ 60 IN TXT "`+strings.Repeat("b", 200)+`"`)(q, tcp)
		case "alias.example.com.":
			m := record("@ 60 IN CNAME _y.example.net.")(q, tcp)
			m.Answer = append(m.Answer, mustRR(`_y.example.net. 60 IN TXT "aliased"`))
			return m
		case "broken.example.com.":
			m := new(dns.Msg).SetReply(q)
			m.Rcode = dns.RcodeServerFailure
			return m
		case "empty.example.com.":
			return new(dns.Msg).SetReply(q)
		case "forged.example.com.":
			m := record(`@ 60 IN TXT "forged"`)(q, tcp)
			m.Question[0].Name = "elsewhere.example.com."
			return m
		}
		return record("")(q, tcp)
	})
	l := NewTXT([]string{u.addr})
	for name, want := range map[string][]string{
		"_x.example.com": {"vpce:AbC", "other"}, "big.example.com": {strings.Repeat("b", 200)}, "alias.example.com": {"aliased"},
		"none.example.com": nil, "empty.example.com": nil,
	} {
		if got, err := l.LookupTXT(ctx, name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
	}
	if u.overTCP.Load() != 1 {
		t.Errorf("%d questions over TCP, want the truncated one", u.overTCP.Load())
	}
	if got, err := l.LookupTXT(ctx, "broken.example.com"); err == nil {
		t.Errorf("a failure of the upstream is the answer %q", got)
	}
	if got, err := l.LookupTXT(ctx, strings.Repeat("a", 64)+".com"); err == nil {
		t.Errorf("a name that is none has the records %q", got)
	}
	if got, err := l.LookupTXT(ctx, "forged.example.com"); err == nil {
		t.Errorf("the answer to another question was taken: %q", got)
	}
	if got, err := NewTXT(nil).LookupTXT(ctx, "a.example.com"); err == nil {
		t.Errorf("without an upstream there are the records %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 8 {
		t.Errorf("%d different ids", len(ids))
	}
}

// The second upstream answers when the first does not.
func TestTXTLookupTriesTheNextUpstream(t *testing.T) {
	bad := newUpstream(t, func(q *dns.Msg, _ bool) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.Rcode = dns.RcodeRefused
		return m
	})
	good := newUpstream(t, record(`@ 60 IN TXT "yes"`))
	if got, err := NewTXT([]string{bad.addr, good.addr}).LookupTXT(context.Background(), "example.com"); err != nil || !slices.Equal(got, []string{"yes"}) {
		t.Errorf("%q %v", got, err)
	}
}
