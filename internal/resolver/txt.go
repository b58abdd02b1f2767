// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// TXT asks upstreams for TXT records on the installation's own behalf: no VPC
// and no cache stand between. Every question has its own socket and random id,
// is bounded in time and goes over TCP when the answer does not fit.
type TXT struct {
	forwarder forwarder
	upstreams []string
}

// NewTXT asks the upstreams (address or address:port) in order.
func NewTXT(upstreams []string) *TXT {
	var d net.Dialer
	return &TXT{forwarder: forwarder{dial: d.DialContext}, upstreams: upstreams}
}

// LookupTXT answers the texts of a name's TXT records, each record's strings
// joined; none when there is no such name or record. An error means that no
// upstream gave an answer, which says nothing of the records.
func (t *TXT) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if _, ok := dns.IsDomainName(name); !ok {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	m, err := t.forwarder.ask(ctx, t.upstreams, question{name: canonical(name), qtype: dns.TypeTXT})
	if err != nil {
		return nil, fmt.Errorf("look up the TXT records of %s: %w", name, err)
	}
	var out []string
	for _, rr := range m.Answer {
		if r, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(r.Txt, ""))
		}
	}
	return out, nil
}
