// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// What was filled in stays when the agent changes its own, and its own stays
// when something is filled in.
func TestWhatIsFilledInConcernsNothingElse(t *testing.T) {
	w := newWorld(t)
	const other = vpc.VNI(0x7001)
	sink := netip.MustParseAddr("203.0.113.9")
	err := Fill(w.cfg.PinDir, desired.Host{
		RouteTables: map[vpc.RouteTableID]desired.RouteTable{"rtb-a1": {Routes: []desired.Route{{Prefix: netip.PrefixFrom(sink, 32), Kind: desired.RouteBlackhole}}}},
		RuleSets:    map[string]desired.RuleSet{"filler": {Ingress: []desired.Rule{allow(vpc.TCP, 7, 7, anywhere)}}},
		Interfaces: map[vpc.InterfaceID]desired.Interface{"eni-filler": {ID: "eni-filler", VNI: other, Addr: addrA1, MAC: "02:00:00:00:77:01",
			Kind: desired.KindEndpoint, Endpoint: "vpce-filler", RuleSet: "filler"}},
		Endpoints: map[vpc.EndpointID]desired.Endpoint{"vpce-filler": {ID: "vpce-filler", VNI: other, Type: vpc.InterfaceEndpoint, Link: 0x7002}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.drops(tcp(eniA1, addrA1, 1, sink, 443, "S"), bpf.DropBlackhole)
	w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "S"), eniB1)

	w.rules(eniA1, open)
	edit(w.host.Endpoints, epCustomer, func(e *desired.Endpoint) { e.Link++ })
	w.apply()
	w.drops(tcp(eniA1, addrA1, 2, sink, 443, "S"), bpf.DropBlackhole)
	w.passes(tcp(eniA1, addrA1, 40001, addrEP, 80, "S"), eniB1)
	for name, is := range map[string]func(any) bool{
		"endpoints":  func(key any) bool { return key == Number(vpc.Num("vpce-filler")) },
		"interfaces": func(key any) bool { return key.(Fields)[0].Value == other },
	} {
		filled := false
		for e, err := range w.dp.reader().Dump(name) {
			if err != nil {
				t.Fatal(err)
			}
			filled = filled || is(e.Key)
		}
		if !filled {
			t.Errorf("map %s does not have the filler", name)
		}
	}
}
