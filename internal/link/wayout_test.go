// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"net/netip"
	"strings"
	"testing"

	"postern.dev/postern/internal/vpc"
)

// An instance's interfaces are named by device index, whatever their ids, come
// and go while it runs, and each sends what has its address.
func TestSecondInterfaceOfARunningInstance(t *testing.T) {
	l := install(t)
	const second = vpc.InterfaceID("eni-00000000000000001") // before eniA in order
	one := wish{eniA: workload(eniA, instA, 10)}
	first := apply(t, l, one)
	path := l.NamespacePath(string(instA))
	if out := runIn(t, path, "ip", "rule"); strings.Contains(out, "1000") {
		t.Errorf("a lone interface has a rule:\n%s", out)
	}
	inode, _ := nsIDOf(path)

	two := workload(second, instA, 20)
	two.Index, two.Addr = 1, netip.MustParseAddr("10.0.7.20")
	two.Subnet, two.Router = netip.MustParsePrefix("10.0.7.0/24"), netip.MustParseAddr("10.0.7.1")
	both := wish{eniA: one[eniA], second: two}
	devs := apply(t, l, both)
	if now, _ := nsIDOf(path); now != inode || devs[eniA].Ifindex != first[eniA].Ifindex {
		t.Error("the namespace or its first device was made anew")
	}
	leaves := func(from, to, dev, via string) {
		t.Helper()
		out := runIn(t, path, "ip", "route", "get", to, "from", from)
		if !strings.Contains(out, " dev "+dev+" ") || via != "" && !strings.Contains(out, " via "+via+" ") || via == "" && strings.Contains(out, " via ") {
			t.Errorf("from %s to %s: %s, want dev %s via %q", from, to, strings.Join(strings.Fields(out), " "), dev, via)
		}
	}
	leaves("10.0.0.10", "192.0.2.1", "eth0", "10.0.0.1")
	leaves("10.0.7.20", "192.0.2.1", "eth1", "10.0.7.1")
	leaves("10.0.7.20", "10.0.7.9", "eth1", "")
	leaves("10.0.0.10", "10.0.7.9", "eth0", "10.0.0.1") // a reply from the first address into the second's subnet
	leaves("10.0.7.20", "10.0.0.9", "eth1", "10.0.7.1")
	if out := runIn(t, path, "ip", "route", "get", "192.0.2.1"); !strings.Contains(out, "via 10.0.0.1 dev eth0") || !strings.Contains(out, "src 10.0.0.10") {
		t.Errorf("the default is not the first interface: %s", out)
	}
	if out := runIn(t, path, "ip", "route", "get", "10.0.0.2"); !strings.Contains(out, "dev eth0") {
		t.Errorf("the resolver is not reached by the first interface: %s", out)
	}
	again := apply(t, l, both)
	if again[second].Ifindex != devs[second].Ifindex {
		t.Error("repeating it made the device anew")
	}

	// It goes, and another takes the index.
	apply(t, l, one)
	if out := runIn(t, path, "ip", "-br", "link"); strings.Contains(out, "eth1") {
		t.Errorf("the second device is still there:\n%s", out)
	}
	third := two
	third.Addr, third.MAC = netip.MustParseAddr("10.0.7.21"), "02:00:00:00:00:21"
	third.Interface = eniB
	apply(t, l, wish{eniA: one[eniA], eniB: third})
	leaves("10.0.7.21", "192.0.2.1", "eth1", "10.0.7.1")
	if out := runIn(t, path, "ip", "rule"); strings.Contains(out, "10.0.7.20") || strings.Count(out, "lookup 1001") != 1 {
		t.Errorf("the rule of the one that went is still there:\n%s", out)
	}

	// After a restart of the host both come up in one go and in order.
	if _, errs := l.Apply(wish{}); len(errs) > 0 {
		t.Fatal(errs)
	}
	apply(t, l, both)
	leaves("10.0.7.20", "192.0.2.1", "eth1", "10.0.7.1")
	leaves("10.0.0.10", "192.0.2.1", "eth0", "10.0.0.1")
}

func TestDeviceIndexesAreBounded(t *testing.T) {
	l := install(t)
	w := workload(eniA, instA, 10)
	w.Index = maxIndex + 1
	if _, errs := l.Apply(wish{eniA: w}); errs[eniA] == nil || !strings.Contains(errs[eniA].Error(), "device index 256") {
		t.Errorf("got %v", errs)
	}
}

func TestSecondaryAddressesComeAndGo(t *testing.T) {
	l := install(t)
	w := workload(eniA, instA, 10)
	with := func(addrs ...string) string {
		t.Helper()
		w.Secondary = nil
		for _, a := range addrs {
			w.Secondary = append(w.Secondary, netip.MustParseAddr(a))
		}
		apply(t, l, wish{eniA: w})
		out := runIn(t, l.NamespacePath(string(instA)), "ip", "-4", "-o", "addr", "show", "dev", "eth0")
		var have []string
		for _, f := range strings.Fields(out) {
			if p, err := netip.ParsePrefix(f); err == nil {
				have = append(have, p.String())
			}
		}
		return strings.Join(have, " ")
	}
	for _, c := range []struct {
		secondary []string
		want      string
	}{
		{nil, "10.0.0.10/24"},
		{[]string{"10.0.0.30", "10.0.0.31"}, "10.0.0.10/24 10.0.0.30/24 10.0.0.31/24"},
		{[]string{"10.0.0.31"}, "10.0.0.10/24 10.0.0.31/24"},
		{[]string{"10.0.0.31", "10.0.0.9"}, "10.0.0.10/24 10.0.0.31/24 10.0.0.9/24"},
		{nil, "10.0.0.10/24"},
	} {
		if got := with(c.secondary...); got != c.want {
			t.Errorf("secondary %v: addresses %s, want %s", c.secondary, got, c.want)
		}
	}
	with("10.0.0.30")
	if out := runIn(t, l.NamespacePath(string(instA)), "ip", "route", "get", "192.0.2.1"); !strings.Contains(out, "src 10.0.0.10") {
		t.Errorf("the primary address is not what it sends from: %s", out)
	}
	w.Secondary = []netip.Addr{netip.MustParseAddr("10.0.9.9")}
	if _, errs := l.Apply(wish{eniA: w}); errs[eniA] == nil {
		t.Error("an address outside the subnet was taken")
	}
}
