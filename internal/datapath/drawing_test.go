// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// The files in bpf/drawings are tests of the C by drawings of packets: each line
// sends one and says what becomes of it.
//
//	setup dual                        name of a world, see setups
//	change no-ingress                 name of a change, see changes
//	wait 60s                          no packet for so long
//	a1: SKETCH -> b1: SKETCH          is delivered to b1, rewritten like this
//	a1: SKETCH -> drop REASON         two with a | between: the second where that is another host's affair
//	a1: SKETCH -> reset REASON        a reset goes back to the sender
//	a1: SKETCH -> tell b1 REASON      becomes a reset for b1
//
// *name in a result stands for any number; in later lines it is that number.
// For sketches see sketch_test.go.
func TestDrawings(t *testing.T) {
	files, err := filepath.Glob("../../bpf/drawings/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no drawings: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { runDrawing(t, f, nil) })
	}
}

// However workloads are spread over two hosts, packets do what they do on one.
func TestDrawingsOnTwoHosts(t *testing.T) {
	files, err := filepath.Glob("../../bpf/drawings/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no drawings: %v", err)
	}
	for _, far := range [][]vpc.InterfaceID{{eniB1, eniB2}, {eniA2, eniB1}, {eniA2, eniA3, eniB2}} {
		for _, f := range files {
			name := fmt.Sprintf("%s/%v", strings.TrimSuffix(filepath.Base(f), ".txt"), far)
			t.Run(name, func(t *testing.T) { runDrawing(t, f, far) })
		}
	}
}

// ends by the names that drawings use; "up" is the uplink, "svc" the service namespace.
var drawn = map[string]vpc.InterfaceID{
	"a1": eniA1, "a2": eniA2, "a3": eniA3, "b1": eniB1, "b2": eniB2, "up": "up", "svc": "",
}

var variable = regexp.MustCompile(`\*[a-z]+`)

// runDrawing makes a file's world and sends its packets. The workloads far are on
// a host of their own.
func runDrawing(t *testing.T, file string, far []vpc.InterfaceID) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	setup := "plain"
	var w *hosts
	bound := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		at := fmt.Sprintf("%s:%d: %s", filepath.Base(file), i+1, line)
		if name, ok := strings.CutPrefix(line, "setup "); ok {
			setup = name
			continue
		}
		if w == nil {
			options, ok := setups[setup]
			if !ok {
				t.Fatalf("%s: no setup %q", at, setup)
			}
			w = newHosts(t, far, options...)
		}
		if text, ok := strings.CutPrefix(line, "wait "); ok {
			d, err := time.ParseDuration(text)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			w.age(d)
			continue
		}
		if name, ok := strings.CutPrefix(line, "change "); ok {
			change := changes[name]
			if change == nil {
				t.Fatalf("%s: no change %q", at, name)
			}
			change(w.near)
			w.apply()
			continue
		}
		if err := w.draw(line, bound); err != nil {
			t.Fatalf("%s\n%v", at, err)
		}
	}
}

func (w *world) drawnMAC(id vpc.InterfaceID) net.HardwareAddr {
	if id == "up" {
		return w.uplink.MAC
	}
	return w.mac(id)
}

func (w *world) drawnDevice(id vpc.InterfaceID) (int, Role) {
	switch id {
	case "up":
		return w.uplink.Ifindex, Uplink
	case "":
		return w.service.Ifindex, Service
	}
	return w.devices[id].Ifindex, Workload
}

func (w *hosts) draw(line string, bound map[string]string) error {
	line = variable.ReplaceAllStringFunc(line, func(v string) string {
		if b, ok := bound[v]; ok {
			return b
		}
		return v
	})
	left, want, ok := strings.Cut(line, "->")
	from, text, ok2 := strings.Cut(left, ": ")
	id, ok3 := drawn[strings.TrimSpace(from)]
	if !ok || !ok2 || !ok3 {
		return fmt.Errorf("want FROM: SKETCH -> RESULT")
	}
	s, err := parseSketch(text)
	if err != nil {
		return err
	}
	words := strings.Fields(want)
	index, role := w.near.drawnDevice(id)
	v := w.send(id, drawn[strings.TrimSuffix(words[0], ":")], role, index, s.frame(w.near.drawnMAC(id), []byte{2, 9, 9, 9, 9, 9}), s.dst)
	switch words[0] {
	case "drop":
		if v.Action != ActionDrop || !slices.Contains(strings.Split(words[1], "|"), v.Reason.Name) {
			return fmt.Errorf("%v, want a drop for %s", v, words[1])
		}
		return nil
	case "reset":
		if v.Action != ActionAnswer || v.Reason.Name != words[1] {
			return fmt.Errorf("%v, want a reset for %s", v, words[1])
		}
		got, err := describe(v.Frame[14:], false)
		if err != nil {
			return err
		}
		back := fmt.Sprintf("%v > %v tcp R", netip.AddrPortFrom(s.dst, s.dport), netip.AddrPortFrom(s.src, s.sport))
		if !strings.HasPrefix(got, back) {
			return fmt.Errorf("got %s, want %s", got, back)
		}
		return nil
	case "tell":
		to, _ := w.near.drawnDevice(drawn[words[1]])
		if v.Action != ActionPeer || v.Ifindex != to || v.Reason.Name != words[2] {
			return fmt.Errorf("%v, want a reset for %s", v, words[1])
		}
		got, err := describe(v.Frame[14:], false)
		if err == nil && !strings.Contains(got, "tcp R") {
			err = fmt.Errorf("got %s, want a reset", got)
		}
		return err
	}
	to, sketch, _ := strings.Cut(strings.TrimSpace(want), ": ")
	toID, ok := drawn[to]
	if !ok {
		return fmt.Errorf("no end %q", to)
	}
	toIndex, _ := w.near.drawnDevice(toID)
	if v.Action != ActionPeer && v.Action != ActionRedirect || v.Ifindex != toIndex {
		return fmt.Errorf("%v, want delivery to %s at %d", v, to, toIndex)
	}
	if !bytes.Equal(v.Frame[:6], w.near.drawnMAC(toID)) {
		return fmt.Errorf("for the MAC address %x, want %v", v.Frame[:6], w.near.drawnMAC(toID))
	}
	got, err := describe(v.Frame[14:], false)
	if err != nil {
		return fmt.Errorf("%w in %x", err, v.Frame)
	}
	pattern := "^"
	rest := strings.Join(strings.Fields(sketch), " ")
	var names []string
	for {
		m := variable.FindStringIndex(rest)
		if m == nil {
			break
		}
		pattern += regexp.QuoteMeta(rest[:m[0]])
		if name := rest[m[0]:m[1]]; len(names) == 1 && names[0] == name { // Go has no back references
			pattern += `\d+`
		} else {
			pattern += `(\d+)`
			names = append(names, name)
		}
		rest = rest[m[1]:]
	}
	pattern += regexp.QuoteMeta(rest) + "$"
	m := regexp.MustCompile(pattern).FindStringSubmatch(got)
	if m == nil {
		return fmt.Errorf("got  %s\nwant %s", got, sketch)
	}
	for i, n := range names {
		bound[n] = m[i+1]
	}
	return nil
}

var (
	anywhere6 = netip.MustParsePrefix("::/0")
	a1v6      = netip.MustParseAddr("2001:db8:a:1::5")
	a2v6      = netip.MustParseAddr("2001:db8:a:1::6")
	a3v6      = netip.MustParseAddr("2001:db8:a:2::7")
	epv6      = netip.MustParseAddr("2001:db8:a:1::100")
	b1v6      = netip.MustParseAddr("2001:db8:b:1::5")
	nodev6    = netip.MustParseAddr("2001:db8:b:1::50")
)

// dual gives the lab's domain IPv6 addresses beside its IPv4 ones.
func dual(w *world) {
	block := map[vpc.SubnetID]string{
		subnetA1: "2001:db8:a:1::/64", subnetA2: "2001:db8:a:2::/64", subnetB1: "2001:db8:b:1::/64", subnetB2: "2001:db8:b:2::/64",
	}
	for id, p := range block {
		edit(w.host.Subnets, id, func(s *desired.Subnet) { s.IPv6 = netip.MustParsePrefix(p) })
	}
	for id, a := range map[vpc.InterfaceID]netip.Addr{eniA1: a1v6, eniA2: a2v6, eniA3: a3v6, eniEP: epv6, eniB1: b1v6, eniNode: nodev6} {
		edit(w.host.Interfaces, id, func(i *desired.Interface) { i.IPv6 = []netip.Addr{a} })
	}
	for vni, p := range map[vpc.VNI]string{vniA: "2001:db8:a::/56", vniB: "2001:db8:b::/56"} {
		edit(w.host.VPCs, vni, func(v *desired.VPC) { v.CIDRs = append(v.CIDRs, netip.MustParsePrefix(p)) })
	}
	for id, p := range map[vpc.RouteTableID]string{"rtb-a1": "2001:db8:a::/56", "rtb-a2": "2001:db8:a::/56", "rtb-b": "2001:db8:b::/56"} {
		edit(w.host.RouteTables, id, func(t *desired.RouteTable) {
			t.Routes = append(t.Routes, desired.Route{Prefix: netip.MustParsePrefix(p), Kind: desired.RouteLocal})
		})
	}
	for id, a := range w.host.ACLs {
		all := desired.ACLRule{Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere6}
		a.In, a.Out = append(a.In, all), append(a.Out, all)
		w.host.ACLs[id] = a
	}
	o := w.host.RuleSets["open"]
	half := []netip.Prefix{netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}
	o.Ingress = append(o.Ingress, allow(vpc.AllProtocols, -1, -1, half...))
	o.Egress = append(o.Egress, allow(vpc.AllProtocols, -1, -1, anywhere6))
	w.host.RuleSets["open"] = o
	w.host.Probes["p6"] = desired.Probe{VNI: vniB, Node: nodev6, Target: b1v6, Port: 8086, Via: netip.MustParseAddr("fd70:6f73:7465:726e:1::7")}
	edit(w.host.Balancers, node, func(b *desired.Balancer) {
		b.Addr6 = nodev6
		b.Listeners = append(b.Listeners, desired.Listener{
			Protocol: vpc.TCP, Port: 86, Targets: []desired.Target{{Addr: b1v6, Port: 8086}}, Group: "tg-6",
		})
	})
}

// waysOut peers VPC A with a third one, and leads A's subnets out: A1 through an
// internet gateway, A2 through a NAT gateway in A1.
func waysOut(w *world) {
	w.uplink = Device{Ifindex: lab.devices[7], MAC: net.HardwareAddr{2, 0, 0, 0, 1, 7}}
	const peer, subnet = vpc.VNI(0x1003), vpc.SubnetID("subnet-c1")
	w.host.VPCs[peer] = desired.VPC{ID: "vpc-c", VNI: peer, Resolver: netip.MustParseAddr("10.9.0.2"), DNS: true}
	w.host.Subnets[subnet] = desired.Subnet{
		ID: subnet, VNI: peer, CIDR: netip.MustParsePrefix("10.9.0.0/24"), Router: netip.MustParseAddr("10.9.0.1"), RouteTable: "rtb-c", ACL: "acl-a2",
	}
	w.host.RouteTables["rtb-c"] = desired.RouteTable{Routes: []desired.Route{
		{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Kind: desired.RouteLocal},
		{Prefix: netip.MustParsePrefix("10.0.0.0/16"), Kind: desired.RoutePeering, Peer: vniA, Peering: "pcx-1"},
	}}
	edit(w.host.Interfaces, eniB2, func(i *desired.Interface) { // b2 moves to the peer
		i.VNI, i.Subnet, i.Addr = peer, subnet, netip.MustParseAddr("10.9.0.9")
	})
	edit(w.host.RouteTables, "rtb-a1", func(t *desired.RouteTable) {
		t.Routes = append(t.Routes,
			desired.Route{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Kind: desired.RoutePeering, Peer: peer, Peering: "pcx-1"},
			desired.Route{Prefix: anywhere, Kind: desired.RouteInternet}, desired.Route{Prefix: anywhere6, Kind: desired.RouteInternet})
	})
	edit(w.host.RouteTables, "rtb-a2", func(t *desired.RouteTable) {
		t.Routes = append(t.Routes, desired.Route{Prefix: anywhere, Kind: desired.RouteNAT, Interface: "eni-nat"},
			desired.Route{Prefix: anywhere6, Kind: desired.RouteEgress})
	})
	w.host.Interfaces["eni-nat"] = desired.Interface{
		ID: "eni-nat", VNI: vniA, Subnet: subnetA1, Addr: netip.MustParseAddr("10.0.0.77"), MAC: "02:00:00:00:00:77", Kind: desired.KindNAT,
		Public: netip.MustParseAddr("192.0.2.77"),
	}
	edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.Public = netip.MustParseAddr("192.0.2.5") })
}

var setups = map[string][]func(*world){
	"plain":    nil,
	"dual":     {dual},
	"ways-out": {dual, waysOut},
}

// untracked is what AWS does not track: SSH from anywhere, and everything out.
var untracked = desired.RuleSet{
	Ingress: []desired.Rule{allow(vpc.TCP, 22, 22, anywhere, anywhere6), allow(vpc.ICMP, -1, -1, anywhere)},
	Egress:  []desired.Rule{allow(vpc.AllProtocols, -1, -1, anywhere, anywhere6)},
}

var changes = map[string]func(*world){
	"a1 lets nothing in": func(w *world) { w.rules(eniA1, desired.RuleSet{Egress: w.host.RuleSets["open"].Egress}) },
	"a1 is open again":   func(w *world) { edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.RuleSet = "open" }) },
	"a2 is open again":   func(w *world) { edit(w.host.Interfaces, eniA2, func(i *desired.Interface) { i.RuleSet = "open" }) },
	"b2 is not checked":  func(w *world) { edit(w.host.Interfaces, eniB2, func(i *desired.Interface) { i.SourceCheck = false }) },
	"a1 is not checked":  func(w *world) { edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.SourceCheck = false }) },
	"a3 is not checked":  func(w *world) { edit(w.host.Interfaces, eniA3, func(i *desired.Interface) { i.SourceCheck = false }) },
	"a1 and a2 meet through a3": func(w *world) {
		edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) {
			for _, a := range []netip.Addr{addrA1, addrA2} {
				r.Routes = append(r.Routes, desired.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Kind: desired.RouteInterface, Interface: eniA3})
			}
		})
	},
	"the endpoint is behind a2": func(w *world) {
		edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) {
			r.Routes = append(r.Routes, desired.Route{Prefix: netip.MustParsePrefix("10.0.0.100/32"), Kind: desired.RouteInterface, Interface: eniA2})
		})
	},
	"a2 lets nothing out": func(w *world) { w.rules(eniA2, desired.RuleSet{Ingress: w.host.RuleSets["open"].Ingress}) },
	"a2 lets nothing in":  func(w *world) { w.rules(eniA2, desired.RuleSet{Egress: w.host.RuleSets["open"].Egress}) },
	"b1 lets nothing in":  func(w *world) { w.rules(eniB1, desired.RuleSet{Egress: w.host.RuleSets["open"].Egress}) },
	"b2 lets nothing in":  func(w *world) { w.rules(eniB2, desired.RuleSet{Egress: w.host.RuleSets["open"].Egress}) },
	"a2 does not track":   func(w *world) { w.rules(eniA2, untracked) },
	"a1 does not track": func(w *world) {
		w.rules(eniA1, desired.RuleSet{
			Ingress: []desired.Rule{allow(vpc.AllProtocols, -1, -1, anywhere, anywhere6)}, Egress: untracked.Egress,
		})
	},
	"acl of a1 denies in":  func(w *world) { edit(w.host.ACLs, "acl-a1", func(a *desired.ACL) { a.In = nil }) },
	"acl of a1 denies out": func(w *world) { edit(w.host.ACLs, "acl-a1", func(a *desired.ACL) { a.Out = nil }) },
	"acl of a2 denies in":  func(w *world) { edit(w.host.ACLs, "acl-a2", func(a *desired.ACL) { a.In = nil }) },
	"target b1 is cut": func(w *world) {
		edit(w.host.Balancers, node, func(b *desired.Balancer) {
			for i := range b.Listeners {
				b.Listeners[i].Group = "tg"
				b.Listeners[i].Cut = b.Listeners[i].Targets
			}
		})
	},
	"listeners have groups": func(w *world) {
		edit(w.host.Balancers, node, func(b *desired.Balancer) {
			for i := range b.Listeners {
				b.Listeners[i].Group = "tg"
			}
		})
	},
	"no uplink":                    func(w *world) { w.uplink = Device{} },
	"a1 has no public":             func(w *world) { edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.Public = netip.Addr{} }) },
	"peering is deleted":           func(w *world) { deletePeering(w) },
	"endpoint is deleted":          func(w *world) { delete(w.host.Endpoints, epCustomer) },
	"internet gateway is detached": func(w *world) { turn(w, "rtb-a1", desired.RouteInternet, desired.RouteBlackhole) },
	"a3 has no NAT gateway":        func(w *world) { turn(w, "rtb-a2", desired.RouteNAT, desired.RouteInternet) },
	"internet gateway is attached": func(w *world) { turn(w, "rtb-a1", desired.RouteBlackhole, desired.RouteInternet) },
}

func deletePeering(w *world) {
	turn(w, "rtb-a1", desired.RoutePeering, desired.RouteBlackhole)
	turn(w, "rtb-c", desired.RoutePeering, desired.RouteBlackhole)
}

// turn makes a table's routes of one kind routes of another.
func turn(w *world, id vpc.RouteTableID, from, to desired.RouteKind) {
	t := w.host.RouteTables[id]
	t.Routes = slices.Clone(t.Routes)
	for i := range t.Routes {
		if t.Routes[i].Kind == from {
			t.Routes[i].Kind = to
		}
	}
	w.host.RouteTables[id] = t
}
