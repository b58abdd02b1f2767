// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

// hostAt is an installation on a host of its own: a namespace with a device
// that has an address and an MTU.
func hostAt(t *testing.T, addr string, mtu int) (l *Links, on func(func()), show func(...string) string) {
	t.Helper()
	l = install(t)
	path := makeNetns(t)
	show = in(t, path)
	show("ip", "link", "add", "under0", "mtu", strconv.Itoa(mtu), "type", "veth", "peer", "name", "other0")
	show("ip", "addr", "add", addr+"/24", "dev", "under0")
	show("ip", "link", "set", "under0", "up")
	on = func(f func()) {
		t.Helper()
		ns, err := openNamespace(path)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := inNamespace(ns, func() error { f(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return l, on, show
}

var under = netip.MustParseAddr("192.0.2.7")

func TestTheOverlayIsMadeOnceAndRemoved(t *testing.T) {
	l, on, show := hostAt(t, "192.0.2.7", 1600)
	name := "p" + l.cfg.Tag + "vx"
	on(func() {
		attached := 0
		ensure := func() Device {
			t.Helper()
			d, err := l.EnsureOverlay(under, func(d Device) error {
				if attached++; attached == 1 && strings.Contains(show("ip", "link", "show", name), ",UP") {
					t.Error("the device is up before it has its program")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		first := ensure()
		if first.Name != name || first.MTU != 1550 || first.Ifindex == 0 || attached != 1 {
			t.Errorf("%+v, attached %d times", first, attached)
		}
		got := show("ip", "-d", "link", "show", name)
		for _, want := range []string{"external", "dstport 4789", "nolearning", "mtu 1550", ",UP", "alias postern " + l.cfg.Tag + " overlay"} {
			if !strings.Contains(got, want) {
				t.Errorf("the device lacks %q:\n%s", want, got)
			}
		}
		if got := show("ip", "-6", "addr", "show", "dev", name); got != "" {
			t.Errorf("the device has addresses: %s", got)
		}
		// What somebody else changed is put right; what is right is kept.
		show("ip", "link", "set", name, "down", "mtu", "1000")
		show("ip", "link", "set", "under0", "mtu", "1500")
		if d := ensure(); d.Ifindex != first.Ifindex || d.MTU != 1450 {
			t.Errorf("%+v, before %+v", d, first)
		}
		if got := show("ip", "link", "show", name); !strings.Contains(got, "mtu 1450") || !strings.Contains(got, ",UP") {
			t.Errorf("after it was changed:\n%s", got)
		}
		items, err := l.Inventory()
		if err != nil || len(items) != 1 || items[0] != (Item{ItemDevice, name, l.cfg.Tag, "overlay"}) {
			t.Errorf("inventory %v, %v", items, err)
		}
		if says, err := l.DescribeOverlay(under); err != nil || !strings.Contains(says, name) || !strings.Contains(says, "up to 1450 bytes") {
			t.Errorf("described as %q, %v", says, err)
		}
		if got := Standing(first); got.Name != name {
			t.Errorf("a device that is there: %+v", got)
		}
		for range 2 {
			if err := l.RemoveOverlay(); err != nil {
				t.Error(err)
			}
		}
		show("ip", "link", "add", name, "type", "veth", "peer", "name", "other1") // another one of the name
		if got := Standing(first); got.Name != "" {
			t.Errorf("a device that is gone: %+v", got)
		}
		show("ip", "link", "del", name)
		if items, err := l.Inventory(); err != nil || len(items) > 0 {
			t.Errorf("left: %v, %v", items, err)
		}
		// Another kind of VXLAN device under our mark is made anew.
		show("ip", "link", "add", name, "type", "vxlan", "id", "7", "dstport", "4790")
		show("ip", "link", "set", name, "alias", "postern "+l.cfg.Tag+" overlay")
		ensure()
		if got := show("ip", "-d", "link", "show", name); !strings.Contains(got, "external") {
			t.Errorf("not made anew:\n%s", got)
		}
		if _, err := l.Reset(); err != nil {
			t.Error(err)
		}
		if items, err := l.Inventory(); err != nil || len(items) > 0 {
			t.Errorf("left after reset: %v, %v", items, err)
		}
	})
}

func TestAnOverlayThatCannotBeIsSaid(t *testing.T) {
	l, on, show := hostAt(t, "192.0.2.7", 1500)
	name := "p" + l.cfg.Tag + "vx"
	none := func(Device) error { return nil }
	on(func() {
		describes := func(underlay netip.Addr, want string) {
			t.Helper()
			if says, err := l.DescribeOverlay(underlay); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("described as %q, %v; want %q", says, err, want)
			}
		}
		nobodys := netip.MustParseAddr("192.0.2.8")
		if _, err := l.EnsureOverlay(nobodys, none); err == nil || !strings.Contains(err.Error(), "192.0.2.8") {
			t.Errorf("an address that no device has: %v", err)
		}
		describes(nobodys, "192.0.2.8")
		describes(under, "there is no "+name)
		show("ip", "link", "add", name, "type", "veth", "peer", "name", "other1")
		if _, err := l.EnsureOverlay(under, none); err == nil || !strings.Contains(err.Error(), "not ours") {
			t.Errorf("a device in the way: %v", err)
		}
		if err := l.RemoveOverlay(); err != nil {
			t.Error(err)
		}
		show("ip", "link", "show", name) // still there
		show("ip", "link", "del", name)
		show("ip", "link", "add", "other", "type", "vxlan", "external", "dstport", "4789")
		if _, err := l.EnsureOverlay(under, none); err == nil || !strings.Contains(err.Error(), "port 4789") {
			t.Errorf("somebody else has the port: %v", err)
		}
		show("ip", "link", "set", "other", "up") // binds it
		describes(under, "port 4789")
		show("ip", "link", "del", "other")
		// Without its program it stays down, and a device that was interrupted
		// before it was marked is found.
		if _, err := l.EnsureOverlay(under, func(Device) error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("a program that is not taken: %v", err)
		}
		if got := show("ip", "link", "show", name); strings.Contains(got, ",UP") {
			t.Errorf("it is up without a program:\n%s", got)
		}
		describes(under, name+" is down")
		show("ip", "link", "set", name, "alias", "")
		if _, err := l.EnsureOverlay(under, none); err != nil {
			t.Error(err)
		}
		show("ip", "link", "set", name, "alias", "")
		if err := l.RemoveOverlay(); err != nil {
			t.Error(err)
		}
		if items, err := l.Inventory(); err != nil || len(items) > 0 {
			t.Errorf("left: %v, %v", items, err)
		}
	})
}
