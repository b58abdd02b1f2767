// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func TestWhateverATenantSendsItsSourceIsItsOwn(t *testing.T) {
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	seeds := [][]byte{
		w.frame(tcp(eniA1, addrA1, 1, addrA2, 80, "S")),
		w.frame(tcp(eniA1, addrA1, 1, addrEP, 80, "S")),
		w.frame(udp(eniA1, addrA1, 2, addrEP, 514)),
		w.frame(udp(eniA1, addrA1, 2, desired.LinkLocalResolver, 53)),
		w.frame(ping(eniA1, addrA1, addrA3, 8, 7)),
		w.frame(tcp(eniA1, addrA1, 3, bucket, 443, "S")),
	}
	delivered := 0
	for range 4000 {
		f := append([]byte{}, seeds[rnd.IntN(len(seeds))]...)
		for range rnd.IntN(4) {
			f[rnd.IntN(len(f))] = byte(rnd.Uint32())
		}
		r := w.send(packet{from: eniA1, raw: f})
		if r.Action == ActionDrop {
			if r.Reason.Code == 0 || ReasonOf(r.Reason.Code).Text == "" {
				t.Fatalf("%x was dropped without a reason: %v", f, r)
			}
			continue
		}
		if r.Action != ActionPeer {
			continue // a reset, to the sender itself
		}
		delivered++
		if src, _ := netip.AddrFromSlice(f[26:30]); src != addrA1 || string(f[6:12]) != string(w.mac(eniA1)) {
			t.Fatalf("%x has another source and was delivered: %v", f, r)
		}
	}
	if delivered == 0 {
		t.Error("nothing was delivered")
	}
}

// repeat runs a frame many times.
func (w *world) repeat(from vpc.InterfaceID, frame []byte, times int) {
	defer enter(w.t, lab.ns)()
	for range times {
		if _, err := w.dp.Try(Workload, w.devices[from].Ifindex, frame, 0); err != nil {
			w.t.Error(err)
			return
		}
	}
}

func TestNoPacketSeesHalfAList(t *testing.T) {
	w := newWorld(t)
	const rounds = 40
	set := func(round int) {
		rules := []desired.Rule{allow(vpc.TCP, 80, 80, netip.MustParsePrefix("10.0.0.0/24"))}
		for i := range 20 { // other rules come and go around the one that stays
			rules = append(rules, allow(vpc.TCP, 81+round+i*7, 90+round+i*9, netip.PrefixFrom(addrA1, 32), netip.MustParsePrefix("10.0.0.4/30")))
		}
		w.rules(eniA2, desired.RuleSet{Ingress: rules, Egress: open.Egress})
		w.host.ACLs["acl-a1"] = desired.ACL{
			In:  []desired.ACLRule{{Protocol: vpc.TCP, CIDR: anywhere, From: 1000 + round, To: 2000}, {Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}},
			Out: []desired.ACLRule{{Protocol: vpc.TCP, CIDR: anywhere, From: 1000 + round, To: 2000}, {Allow: true, Protocol: vpc.AllProtocols, CIDR: anywhere}},
		}
		w.apply()
	}
	set(0)
	// a reset makes no entry, so the rules decide about each of these
	same := w.frame(tcp(eniA1, addrA1, 1, addrA2, 80, "R"))
	other := w.frame(tcp(eniA1, addrA1, 1, addrA3, 80, "R"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, f := range [][]byte{same, other} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.repeat(eniA1, f, 100)
				}
			}
		})
	}
	for round := range rounds {
		set(round + 1)
	}
	close(stop)
	wg.Wait()
	ds, err := w.dp.Drops()
	if err != nil || len(ds) != 0 {
		t.Errorf("while rules changed around it, an allowed packet was dropped: %+v, %v", ds, err)
	}
	c, err := w.dp.Counters()
	if err != nil || c.Delivered == 0 {
		t.Errorf("counters %+v, %v", c, err)
	}
}

func TestFlowsBegunAtOnceGetDifferentPorts(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.ports = [2]uint32{3000, 3399} })
	const each = 100
	var wg sync.WaitGroup
	for i, from := range []struct {
		id   vpc.InterfaceID
		addr netip.Addr
	}{{eniA1, addrA1}, {eniA2, addrA2}, {eniA3, addrA3}} {
		frames := make([][]byte, each)
		for n := range frames {
			frames[n] = w.frame(tcp(from.id, from.addr, 1000*i+n+1, addrEP, 80, "S"))
		}
		wg.Go(func() {
			for _, f := range frames {
				w.repeat(from.id, f, 2)
			}
		})
	}
	wg.Wait()
	sources := map[netip.AddrPort]int{}
	halves := map[string]int{}
	for c, err := range w.dp.Connections() {
		if err != nil {
			t.Fatal(err)
		}
		halves[c.Kind]++
		if c.Kind == "provider" {
			sources[c.Initiator]++
		}
		if c.Kind != "provider" && c.Packets[0] != 2 {
			t.Fatalf("connection %+v, want 2 packets", c)
		}
	}
	if len(sources) != 3*each || halves["consumer"] != 3*each || halves["provider"] != 3*each {
		t.Errorf("%d sources, entries %v, want %d of each", len(sources), halves, 3*each)
	}
	ds, err := w.dp.Drops()
	if err != nil || len(ds) != 0 {
		t.Errorf("drops %+v, %v", ds, err)
	}
}

func TestFullTableHasItsOwnReason(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.MaxConnections = 64 })
	var full bool
	for i := range 1000 {
		r := w.send(tcp(eniA1, addrA1, 1+i, addrEP, 80, "S"))
		if r.Action == ActionPeer {
			continue
		}
		if r.Reason.Code != bpf.DropTableFull {
			t.Fatalf("flow %d: %v", i, r)
		}
		full = true
		break
	}
	if !full {
		t.Fatal("a table of 64 entries took 1000 flows")
	}
	if c := w.entries(); c.Consumer != c.Provider {
		t.Errorf("half a flow was left: %+v", c)
	}
}

func TestErrorsNameTheMapAndTheEntry(t *testing.T) {
	w := newWorld(t)
	edit(w.host.Interfaces, eniA1, func(i *desired.Interface) { i.MAC = "none" })
	if err := w.dp.Apply(w.host, w.devices, w.doors()); err == nil || !strings.Contains(err.Error(), string(eniA1)) {
		t.Errorf("a bad MAC gives %v", err)
	}
	w.host = labHost()
	edit(w.host.RouteTables, "rtb-b", func(r *desired.RouteTable) { r.Routes = []desired.Route{{Prefix: anywhere, Kind: "x"}} })
	if err := w.dp.Apply(w.host, w.devices, w.doors()); err == nil || !strings.Contains(err.Error(), "rtb-b") {
		t.Errorf("a bad route gives %v", err)
	}
	if err := w.dp.Attach("lo", 1<<30, Workload); err == nil || !strings.Contains(err.Error(), "lo") {
		t.Errorf("a device that does not exist gives %v", err)
	}
	w.cfg.MSS = 3
	if _, err := Open(w.cfg); err == nil || errors.Is(err, ErrLayout) {
		t.Errorf("an MSS of 3 gives %v", err)
	}
}
