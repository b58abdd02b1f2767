// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// hosts is the lab's domain on one host or on two: near, whose domain it is, and
// far with workloads of its own, or nil.
type hosts struct {
	near, far *world
	away      []vpc.InterfaceID // far's workloads
	overlays  [2]Device         // near's, far's
}

var (
	nearAddr = netip.MustParseAddr("192.0.2.1")
	farAddr  = netip.MustParseAddr("192.0.2.2")
)

func newHosts(t testing.TB, away []vpc.InterfaceID, options ...func(*world)) *hosts {
	t.Helper()
	h := &hosts{near: newWorld(t, options...), away: away}
	for i := range h.overlays {
		h.overlays[i] = Device{Ifindex: lab.devices[8], MTU: 9100}
	}
	if away != nil {
		h.far = newWorld(t, options...)
		h.apply()
	}
	return h
}

// apply gives each host its view of near's domain.
func (h *hosts) apply() {
	h.near.t.Helper()
	if h.far == nil {
		h.near.apply()
		return
	}
	whole, devices := h.near.host, h.near.devices
	h.far.uplink = h.near.uplink
	for i, w := range []*world{h.near, h.far} {
		other := []netip.Addr{farAddr, nearAddr}[i]
		view := whole
		view.Interfaces = maps.Clone(whole.Interfaces)
		view.Hosts = map[vpc.HostID]netip.Addr{"other": other}
		w.devices = map[vpc.InterfaceID]Device{}
		for id, i := range view.Interfaces {
			if i.Kind != desired.KindWorkload {
				continue
			}
			if slices.Contains(h.away, id) == (w == h.far) {
				w.devices[id] = devices[id]
			} else {
				i.Host = "other"
				view.Interfaces[id] = i
			}
		}
		w.host = view
		w.overlay = h.overlays[i]
		w.apply()
	}
	h.near.host, h.near.devices = whole, devices
}

// age lets time pass for every flow.
func (h *hosts) age(d time.Duration) {
	h.near.t.Helper()
	h.near.age(d)
	if h.far != nil {
		h.far.age(d)
	}
}

// at is the host that a workload is on; what every host has (the uplink, the
// service namespace) is where the other end is, by its address if that is all
// that is known.
func (h *hosts) at(id, other vpc.InterfaceID, dst netip.Addr) *world {
	if id == "" || id == "up" {
		id = other
		for n, i := range h.near.host.Interfaces {
			if other == "" && (i.Public == dst || slices.Contains(i.Addrs(), dst)) {
				id = n
			}
			if id == "eni-nat" { // on every host; in this domain a3 alone uses it
				id = eniA3
			}
		}
		for _, p := range h.near.host.Probes {
			if p.Via == dst {
				id = eniB1
			}
		}
	}
	if h.far != nil && slices.Contains(h.away, id) {
		return h.far
	}
	return h.near
}

// send is what becomes of a frame, wherever that is decided: a reset that comes
// back to the sender from another host is an answer like any other.
func (h *hosts) send(from, to vpc.InterfaceID, role Role, ifindex int, frame []byte, dst netip.Addr) Verdict {
	h.near.t.Helper()
	w := h.at(from, to, dst)
	v := w.try(role, ifindex, frame, 0)
	reason := v.Reason
	for crossed := 0; v.Action == ActionOverlay; crossed++ {
		if crossed == 3 {
			h.near.t.Fatalf("a packet goes to and fro between hosts")
		}
		next, here, there := h.far, nearAddr, farAddr
		if w == h.far {
			next, here, there = h.near, farAddr, nearAddr
		}
		if v.Way.Host != there || v.Ifindex != lab.devices[8] {
			h.near.t.Fatalf("sent to host %v by device %d, want %v by %d", v.Way.Host, v.Ifindex, there, lab.devices[8])
		}
		var err error
		v, err = next.dp.TryOverlay(Way{VNI: v.Way.VNI, Host: here}, v.Frame, 0)
		if err != nil {
			h.near.t.Fatal(err)
		}
		w = next
		if reason == ReasonOf(0) {
			reason = v.Reason
		}
		if v.Action == ActionPeer && v.Ifindex == ifindex {
			v.Action = ActionAnswer
		}
	}
	v.Reason = reason
	return v
}
