// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// usage is what was counted of an endpoint, after a round of the collector.
func (w *world) usage(id vpc.EndpointID) EndpointUsage {
	w.t.Helper()
	w.entries()
	list, err := w.dp.Usages()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range list {
		if u.Endpoint == vpc.Num(id) {
			return u
		}
	}
	w.t.Fatalf("nothing is counted of %s: %+v", id, list)
	return EndpointUsage{}
}

func (w *world) hasUsage(want Usage) {
	w.t.Helper()
	if u := w.usage(epCustomer); u.Client != want || u.Service != want {
		w.t.Errorf("counted %+v, want %+v for both sides", u, want)
	}
}

func TestAnEndpointsUsageIsCounted(t *testing.T) {
	w := newWorld(t)
	const headers = 40 // of IPv4 and TCP
	var want Usage
	w.hasUsage(want)
	ask := tcp(eniA1, addrA1, 1, addrEP, 80, "S")
	n := endsOf(t, w.passes(ask, eniB1)).src
	from := func(flags string, payload string) packet {
		p := tcp(eniB1, addrB1, 8080, n.Addr(), int(n.Port()), flags)
		p.payload = []byte(payload)
		return p
	}
	w.passes(from("SA", ""), eniA1)
	want = Usage{Active: 1, New: 1, Bytes: 2 * headers}
	// what is no whole unit is counted with what comes next, or at the end
	if got := w.usage(epCustomer).Client; got.Bytes > want.Bytes || want.Bytes-got.Bytes >= 2*64 {
		t.Errorf("counted %d bytes, of %d", got.Bytes, want.Bytes)
	}
	for range 3 { // the ways of a known flow, checked and then repeated
		ask.flags, ask.payload = "PA", make([]byte, 1000)
		w.passes(ask, eniB1)
		w.passes(from("A", "thanks"), eniA1)
		want.Bytes += headers + 1000 + headers + 6
		w.entries()
	}
	w.drops(tcp(eniA1, addrA1, 2, addrEP, 81, "S"), bpf.DropNoTarget)
	w.drops(udp(eniA1, addrA1, 2, addrEP, 9), bpf.DropNoListener)
	w.drops(ping(eniA1, addrA1, addrEP, 8, 1), bpf.DropProtocol)
	w.drops(udp(eniA1, addrA1, 2, addrNode, 9), bpf.DropNoInterface) // of no endpoint
	want.Dropped += 3
	stray := tcp(eniA1, addrA1, 3, addrEP, 80, "PA")
	w.resets(stray, bpf.DropNoConnection)
	want.Dropped++
	want.Resets++
	w.passes(from("R", ""), eniA1) // by the service itself
	want.Bytes += headers
	want.Resets++
	want.Active--
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1) // in the place of the ended one, which is settled
	want.New++
	want.Active++
	if got := w.usage(epCustomer).Client; got.Bytes != want.Bytes {
		t.Errorf("counted %d bytes, want %d and none of a SYN's yet", got.Bytes, want.Bytes)
	}
	want.Bytes += headers
	w.age(10 * time.Minute)
	w.entries()
	want.Active--
	w.hasUsage(want)

	// the numbers are the programs', and outlive who loaded them; an endpoint that an
	// earlier build has not counted is counted from then on
	if err := w.dp.objs.Usages.Delete(vpc.Num(epS3)); err != nil {
		t.Fatal(err)
	}
	w.dp.Close()
	w.open()
	w.apply()
	w.hasUsage(want)
	if u := w.usage(epS3); u.Client != (Usage{}) {
		t.Errorf("counted of another endpoint: %+v", u)
	}
	// and end with the endpoint
	ep := w.host.Endpoints[epCustomer]
	delete(w.host.Endpoints, epCustomer)
	w.apply()
	w.entries()
	w.host.Endpoints[epCustomer] = ep
	w.apply()
	w.hasUsage(Usage{})
}

// A packet is counted where the endpoint's own checks begin, not what its
// sender's groups or network keep back.
func TestAnEndpointHasNotDroppedWhatNeverReachedIt(t *testing.T) {
	w := newWorld(t)
	w.rules(eniA1, desired.RuleSet{Ingress: open.Ingress})
	w.rules(eniEP, desired.RuleSet{Egress: open.Egress})
	w.apply()
	w.drops(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), bpf.DropGroupEgress)
	w.hasUsage(Usage{})
	w.rules(eniA1, open)
	w.apply()
	w.drops(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), bpf.DropGroupIngress)
	w.hasUsage(Usage{Dropped: 1})
}

// Resets to clients are counted, whoever sends them and wherever the ends are;
// those to targets are not.
func TestResetsToClientsAreCounted(t *testing.T) {
	const fromClient = "10.0.0.5:4000 > 10.0.0.100:80 tcp A"
	for _, far := range [][]vpc.InterfaceID{nil, {eniB1}} {
		for _, clientFirst := range []bool{true, false} {
			h := newHosts(t, far)
			client, target := h.near, h.near
			if far != nil {
				target = h.far
			}
			changes["listeners have groups"](h.near)
			h.apply()
			v := h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4000 > 10.0.0.100:80 tcp S")
			if v.Action != ActionPeer {
				t.Fatal(v)
			}
			fromTarget := fmt.Sprintf("10.0.0.5:8080 > 10.0.0.50:%d tcp A", binary.BigEndian.Uint16(v.Frame[34:]))
			changes["target b1 is cut"](h.near)
			h.apply()
			resets := func(received, sent uint64) {
				t.Helper()
				c, s := client.usage(epCustomer).Client, target.usage(epCustomer).Service
				if c.Resets != received || s.Resets != sent {
					t.Errorf("client first %v, on two hosts %v: %d and %d resets are counted, want %d and %d",
						clientFirst, far != nil, c.Resets, s.Resets, received, sent)
				}
			}
			if clientFirst {
				h.sendSketch(t, eniA1, eniB1, fromClient) // becomes a reset for the target
				resets(0, 0)
				h.sendSketch(t, eniA1, eniB1, fromClient) // is answered with one, by the client's host
				if far == nil {
					resets(1, 1)
				} else {
					resets(1, 0)
				}
			} else {
				h.sendSketch(t, eniB1, eniA1, fromTarget) // becomes a reset for the client
				resets(1, 1)
				h.sendSketch(t, eniB1, eniA1, fromTarget) // is answered with one
				resets(1, 1)
			}
		}
	}
}

// Of a flow between two hosts the client's counts the endpoint's usage, the
// target's the service's.
func TestUsageIsCountedWhereEachEndIs(t *testing.T) {
	h := newHosts(t, []vpc.InterfaceID{eniB1})
	v := h.sendSketch(t, eniA1, eniB1, "10.0.0.5:4000 > 10.0.0.100:80 tcp S")
	if v.Action != ActionPeer {
		t.Fatal(v)
	}
	near, far := h.near.usage(epCustomer), h.far.usage(epCustomer)
	if near.Client.New != 1 || near.Client.Active != 1 || near.Service != (Usage{}) {
		t.Errorf("the client's host counted %+v", near)
	}
	if far.Service.New != 1 || far.Service.Active != 1 || far.Client != (Usage{}) {
		t.Errorf("the target's host counted %+v", far)
	}
	h.age(10 * time.Minute)
	h.near.entries()
	h.far.entries()
	near, far = h.near.usage(epCustomer), h.far.usage(epCustomer)
	if near.Client != (Usage{New: 1, Bytes: 40}) || far.Service != (Usage{New: 1, Bytes: 40}) {
		t.Errorf("after it: %+v, %+v", near.Client, far.Service)
	}
}
