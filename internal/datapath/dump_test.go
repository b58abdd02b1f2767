// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// dumped is one map's entries, each as its fields by name; one that is no
// struct is under the empty name.
func (w *world) dumped(r *Reader, name string) (keys, values []map[string]any) {
	w.t.Helper()
	flat := func(v any) map[string]any {
		fields, ok := v.(Fields)
		if !ok {
			return map[string]any{"": v}
		}
		out := map[string]any{}
		for _, f := range fields {
			out[f.Name] = f.Value
		}
		return out
	}
	for e, err := range r.Dump(name) {
		if err != nil {
			w.t.Fatalf("dump %s: %v", name, err)
		}
		if e.Map != name {
			w.t.Errorf("an entry of %s says it is of %s", name, e.Map)
		}
		keys, values = append(keys, flat(e.Key)), append(values, flat(e.Value))
	}
	return keys, values
}

func TestEveryPinnedMapIsDecoded(t *testing.T) {
	w := newHosts(t, []vpc.InterfaceID{eniA3}).near
	w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "S"), eniB1)
	w.drops(udp(eniA1, addrA1, 1, netip.MustParseAddr("10.0.0.77"), 9), bpf.DropNoInterface)
	if err := w.dp.LimitResolver(1000); err != nil {
		t.Fatal(err)
	}
	answers := w.openAnswers()
	defer answers.Close()
	if err := answers.SetSpaces(map[vpc.VNI]uint64{vniA: 7}); err != nil {
		t.Fatal(err)
	}
	answers.Keep(Answer{VNI: vniA, Space: 7, Type: 1, Name: []byte("\x01a\x07example\x00"), Rcode: 3, Body: []byte{1, 2, 3}})
	q := udp(eniA1, addrA1, 1, netip.MustParseAddr("10.0.0.2"), 53)
	q.payload = []byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01")
	if v := w.send(q); v.Action != ActionAnswer {
		t.Fatal(v)
	}
	r, err := OpenReader(w.cfg.PinDir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	names, err := r.Maps()
	if err != nil || !slices.Contains(names, "conns") || !slices.Contains(names, "meta") {
		t.Fatalf("maps %v, %v", names, err)
	}
	for _, name := range names {
		keys, _ := w.dumped(r, name)
		if len(keys) == 0 && !slices.Contains([]string{"crowds", "cuts", "fragments", "publics"}, name) { // not in this lab
			t.Errorf("map %s shows nothing", name)
		}
	}
	if _, values := w.dumped(r, "meta"); values[0][""] != Number(layout) {
		t.Errorf("meta: %v", values)
	}

	// find gives the value whose key has all these fields.
	find := func(name string, want map[string]any) map[string]any {
		t.Helper()
		keys, values := w.dumped(r, name)
		for i, k := range keys {
			same := true
			for f, v := range want {
				same = same && fmt.Sprint(k[f]) == fmt.Sprint(v)
			}
			if same {
				return values[i]
			}
		}
		t.Fatalf("map %s has no entry with %v; its keys are %v", name, want, keys)
		return nil
	}
	check := func(name string, got, want map[string]any) {
		t.Helper()
		for f, v := range want {
			if fmt.Sprintf("%T %v", got[f], got[f]) != fmt.Sprintf("%T %v", v, v) {
				t.Errorf("%s: %s is %T %v, want %T %v", name, f, got[f], got[f], v, v)
			}
		}
	}
	mac, _ := net.ParseMAC(w.host.Interfaces[eniA1].MAC)
	check("interfaces", find("interfaces", map[string]any{"vni": vniA, "addr": addrA1}), map[string]any{
		"eni": Number(vpc.Num(eniA1)), "subnet": Number(vpc.Num(subnetA1)), "kind": "workload", "flags": "source-check|0x500", // open to IPv4 outwards and inwards
		"mac": mac, "ifindex": uint64(lab.devices[0]),
	})
	check("routes", find("routes", map[string]any{"table": Number(vpc.Num("rtb-a1")), "addr": netip.MustParsePrefix("203.0.113.0/24")}),
		map[string]any{"kind": "endpoint", "id": Number(vpc.Num(epGateway))})
	check("endpoints", find("endpoints", map[string]any{"": Number(vpc.Num(epCustomer))}), map[string]any{"vni": vniA, "link": vpc.VNI(0x2001), "name": string(epCustomer)})
	check("listeners", find("listeners", map[string]any{"node": Number(vpc.Num(node)), "port": uint64(82), "proto": "tcp"}),
		map[string]any{"flags": "preserve-client", "vni": vniB, "node": addrNode})
	check("drops", find("drops", map[string]any{"eni": Number(vpc.Num(eniA1)), "reason": "no-interface"}),
		map[string]any{"packets": Number(1), "vni": vniA, "src": addrA1, "dport": uint64(9), "proto": "udp"})
	check("dns_answers", find("dns_answers", map[string]any{"space": Number(7), "vni": vniA, "type": uint64(1), "name": "a.example."}),
		map[string]any{"rcode": uint64(3), "len": uint64(3), "body": "010203"})
	check("dns_answered", find("dns_answered", map[string]any{"": uint64(0)}), map[string]any{"": Number(1)})
	check("counters", find("counters", map[string]any{"": "connections"}), map[string]any{"": Number(1)})

	flow := find("conns", map[string]any{"vni": vniA, "proto": "tcp"})
	check("conns", flow, map[string]any{"kind": "consumer", "target": Number(vpc.Num(eniB1)), "endpoint": Number(vpc.Num(epCustomer)), "link": vpc.VNI(0x2001)})
	for _, when := range []string{"last_seen", "refreshed"} {
		if at, ok := flow[when].(time.Time); !ok || time.Since(at) > time.Minute || time.Since(at) < -time.Second {
			t.Errorf("%s of the flow is %v", when, flow[when])
		}
	}
	if peer, ok := flow["peer"].(Fields); !ok || !slices.ContainsFunc(peer, func(f Field) bool { return f.Name == "vni" && f.Value == vniB }) {
		t.Errorf("the flow's other half is %v", flow["peer"])
	}

	for _, err := range r.Dump("../maps/conns") {
		if err == nil {
			t.Error("a path was taken for a map's name")
		}
	}
}

// What `postern datapath flows` says is left must be what the programs do.
func TestAConnectionShowsWhenItExpires(t *testing.T) {
	w := newWorld(t, func(w *world) {
		edit(w.host.Interfaces, eniA3, func(i *desired.Interface) {
			i.Tracking = vpc.ConnectionTracking{TCPEstablished: 600, UDP: 40, UDPStream: 70}
		})
		w.host.RuleSets["within"] = desired.RuleSet{ // one that tracks
			Ingress: []desired.Rule{allow(vpc.AllProtocols, -1, -1, netip.MustParsePrefix("10.0.0.0/16"))},
			Egress:  []desired.Rule{allow(vpc.AllProtocols, -1, -1, netip.MustParsePrefix("10.0.0.0/16"))},
		}
		for _, id := range []vpc.InterfaceID{eniA1, eniA2, eniA3} {
			edit(w.host.Interfaces, id, func(i *desired.Interface) { i.RuleSet = "within" })
		}
	})
	w.passes(tcp(eniA1, addrA1, 40000, addrEP, 80, "S"), eniB1)
	w.passes(udp(eniA1, addrA1, 4, addrA2, 6), eniA2)
	w.passes(udp(eniA1, addrA1, 5, addrA2, 6), eniA2)
	w.passes(udp(eniA2, addrA2, 6, addrA1, 5), eniA1)
	w.passes(tcp(eniA1, addrA1, 6, addrA2, 80, "S"), eniA2)
	w.passes(tcp(eniA2, addrA2, 80, addrA1, 6, "SA"), eniA1)
	w.passes(ping(eniA1, addrA1, addrA2, 8, 1), eniA2)
	w.passes(udp(eniA3, addrA3, 4, addrA2, 6), eniA2)
	w.passes(udp(eniA3, addrA3, 5, addrA2, 6), eniA2)
	w.passes(udp(eniA2, addrA2, 6, addrA3, 5), eniA3)
	w.passes(tcp(eniA3, addrA3, 6, addrA2, 80, "S"), eniA2)
	w.passes(tcp(eniA2, addrA2, 80, addrA3, 6, "SA"), eniA3)
	got := map[string]time.Duration{}
	for c, err := range w.dp.Connections() {
		if err != nil {
			t.Fatal(err)
		}
		from := c.Initiator
		if c.Kind == "provider" { // its port is drawn
			from = netip.AddrPortFrom(from.Addr(), 0)
		}
		got[fmt.Sprintf("%s %s from %v", c.Kind, ProtocolName(c.Protocol), from)] = c.Expires.Sub(c.LastSeen)
	}
	for what, want := range map[string]time.Duration{
		"consumer tcp from 10.0.0.5:40000": 30 * time.Second, "provider tcp from 10.0.0.50:0": 30 * time.Second,
		"plain udp from 10.0.0.5:4": 30 * time.Second, "plain udp from 10.0.0.5:5": 180 * time.Second,
		"plain tcp from 10.0.0.5:6": 432000 * time.Second, "plain icmp from 10.0.0.5:1": 30 * time.Second,
		"plain udp from 10.0.1.7:4": 40 * time.Second, "plain udp from 10.0.1.7:5": 70 * time.Second, "plain tcp from 10.0.1.7:6": 600 * time.Second,
	} {
		if got[what] != want {
			t.Errorf("%s lasts %v, want %v; there are %v", what, got[what], want, got)
		}
	}
}
