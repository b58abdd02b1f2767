// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"postern.dev/postern/internal/vpc"
)

// underlay joins the lab and a namespace that is another host by a cable with
// this MTU, and makes the overlay's devices on both. It gives the other host
// and both devices.
func underlay(t *testing.T, mtu int) (far netns.NsHandle, nearDevice, farDevice Device) {
	t.Helper()
	restore := enter(t, lab.ns)
	far, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := netns.Set(lab.ns); err != nil {
		t.Fatal(err)
	}
	err = netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "cable", MTU: mtu}, PeerName: "cable", PeerNamespace: netlink.NsFd(far), PeerMTU: uint32(mtu),
	})
	restore()
	if err != nil {
		t.Fatal(err)
	}
	side := func(ns netns.NsHandle, addr netip.Addr) Device {
		h, err := netlink.NewHandleAt(ns)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		cable, err := h.LinkByName("cable")
		if err != nil {
			t.Fatal(err)
		}
		vx := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vx", MTU: mtu - 50}, FlowBased: true, Port: 4789}
		err = errors.Join(
			h.AddrAdd(cable, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}),
			h.LinkSetUp(cable), h.LinkAdd(vx))
		if err != nil {
			t.Fatal(err)
		}
		l, err := h.LinkByName("vx")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(h.LinkDel(l)); err != nil {
				t.Error(err)
			}
			if ns == lab.ns { // takes the other end with it
				if err := h.LinkDel(cable); err != nil {
					t.Error(err)
				}
			}
		})
		if err := h.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		return Device{Ifindex: l.Attrs().Index, MTU: mtu - 50}
	}
	farDevice = side(far, farAddr)
	return far, side(lab.ns, nearAddr), farDevice
}

// Streams both ways between two hosts: from workload to workload, and through an
// endpoint, over cables of both sizes.
func TestRealTCPAcrossHosts(t *testing.T) {
	for _, c := range []struct {
		mtu     int
		offload bool
	}{{9000, true}, {1500, true}, {1500, false}} {
		t.Run(fmt.Sprintf("mtu=%d,offload=%v", c.mtu, c.offload), func(t *testing.T) {
			needRoot(t)
			ns, nearDevice, farDevice := underlay(t, c.mtu)
			h := newHosts(t, []vpc.InterfaceID{eniB1, eniA3})
			router := netip.MustParseAddr("10.0.0.1")
			client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), router)
			server := newPlaceOn(t, ns, "server", netip.PrefixFrom(addrB1, 24), router)
			other := newPlaceOn(t, ns, "other", netip.PrefixFrom(addrA3, 24), netip.MustParseAddr("10.0.1.1"))
			h.near.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
			h.near.devices[eniB1] = Device{Ifindex: server.ifindex, MAC: server.mac}
			h.near.devices[eniA3] = Device{Ifindex: other.ifindex, MAC: other.mac}
			h.overlays = [2]Device{nearDevice, farDevice}
			h.apply()
			attach := func(w *world, at netns.NsHandle, overlay Device, places ...place) {
				defer enter(t, at)()
				err := w.dp.Attach("vx", overlay.Ifindex, Overlay)
				for _, p := range places {
					err = errors.Join(err, w.dp.Attach(p.host, p.ifindex, Workload))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			attach(h.near, lab.ns, nearDevice, client)
			attach(h.far, ns, farDevice, server, other)
			if !c.offload {
				for _, p := range []place{client, server, other} {
					p.noChecksumOffload(t)
				}
			}
			for _, way := range []struct {
				server       place
				listen, dial string
				seen         netip.Addr
			}{
				{other, "10.0.1.7:7000", "10.0.1.7:7000", addrA1},
				{server, "10.0.0.5:8080", "10.0.0.100:80", addrNode},
			} {
				const up, down = 8 << 20, 5<<20 + 7
				peer, got := make(chan netip.AddrPort, 1), make(chan string, 1)
				way.server.serve(t, way.listen, 1, down, peer, got)
				conn, err := client.dial(t, "tcp4", way.dial)
				if err != nil {
					near, _ := h.near.dp.Drops()
					far, _ := h.far.dp.Drops()
					t.Fatalf("%v; drops here %+v, there %+v", err, near, far)
				}
				if sum := exchange(conn, 2, up); sum != hashOf(1, down) {
					t.Errorf("%s: the client received %s", way.dial, sum)
				}
				if sum := <-got; sum != hashOf(2, up) {
					t.Errorf("%s: the server received %s", way.dial, sum)
				}
				if p := <-peer; p.Addr() != way.seen {
					t.Errorf("%s: the server saw %v, want %v", way.dial, p, way.seen)
				}
			}
			for _, p := range []place{client, server, other} {
				if n := p.checksumErrors(t); n != "0" {
					t.Errorf("%s segments had wrong checksums", n)
				}
			}
			for _, at := range []netns.NsHandle{lab.ns, ns} {
				if n := snmp(t, at, "Ip:", "FragCreates"); n != "0" {
					t.Errorf("%s fragments on the cable: segments were too long for it", n)
				}
			}
		})
	}
}
