// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// dual is a workload of both families; its IPv6 addresses end in the given numbers.
func dual(id vpc.InterfaceID, inst vpc.InstanceID, last byte, six ...byte) desired.Workload {
	w := workload(id, inst, last)
	w.Subnet6 = netip.MustParsePrefix("2001:db8:0:1::/64")
	for _, n := range six {
		a := w.Subnet6.Addr().As16()
		a[15] = n
		w.IPv6 = append(w.IPv6, netip.AddrFrom16(a))
	}
	return w
}

// addrs6 are the IPv6 addresses of a device, in text, sorted.
func addrs6(t *testing.T, path, dev string) (global, local []string) {
	t.Helper()
	out := runIn(t, path, "ip", "-6", "-o", "addr", "show", "dev", dev)
	for _, line := range strings.Split(out, "\n") {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		if strings.HasPrefix(f[3], "fe80:") {
			local = append(local, f[3])
			continue
		}
		if strings.Contains(line, "tentative") {
			t.Errorf("an address waits for others to object: %s", line)
		}
		global = append(global, f[3])
	}
	slices.Sort(global)
	return global, local
}

func sysctlIn(t *testing.T, path, name string) string {
	t.Helper()
	return strings.TrimSpace(runIn(t, path, "cat", "/proc/sys/net/"+name))
}

func wantAddrs(t *testing.T, path, dev string, want ...string) {
	t.Helper()
	if got, local := addrs6(t, path, dev); !slices.Equal(got, want) || (len(want) > 0) != (len(local) == 1) {
		t.Errorf("%s has %v and link-local %v, want %v", dev, got, local, want)
	}
}

func TestIPv6AddressesComeAndGo(t *testing.T) {
	l := install(t)
	first := apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x10, 0x11)})
	path := l.NamespacePath(string(instA))
	wantAddrs(t, path, "eth0", "2001:db8:0:1::10/64", "2001:db8:0:1::11/64")
	if out := runIn(t, path, "ip", "-6", "route", "show", "default"); !strings.Contains(out, "default via fe80::1 dev eth0") {
		t.Errorf("default route: %s", out)
	}
	for name, want := range map[string]string{"accept_ra": "0", "autoconf": "0", "accept_dad": "0", "disable_ipv6": "0"} {
		if got := sysctlIn(t, path, "ipv6/conf/eth0/"+name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	// What the workload adds by itself goes too; what the kernel made stays.
	runIn(t, path, "ip", "addr", "add", "2001:db8:0:1::99/64", "dev", "eth0", "nodad")
	again := apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x11, 0x12)})
	if again[eniA].Ifindex != first[eniA].Ifindex {
		t.Error("the device was made anew for an address")
	}
	wantAddrs(t, path, "eth0", "2001:db8:0:1::11/64", "2001:db8:0:1::12/64")
	// Without addresses there is no IPv6, and it comes back.
	apply(t, l, wish{eniA: workload(eniA, instA, 10)})
	wantAddrs(t, path, "eth0")
	apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x12)})
	wantAddrs(t, path, "eth0", "2001:db8:0:1::12/64")
	if out := runIn(t, path, "ip", "-6", "route", "show", "default"); !strings.Contains(out, "default via fe80::1 dev eth0") {
		t.Errorf("default route after it was away: %s", out)
	}
}

func TestIPv6IsTurnedOnInNamespacesOfOurs(t *testing.T) {
	l := install(t)
	apply(t, l, wish{eniA: workload(eniA, instA, 10)})
	path := l.NamespacePath(string(instA))
	for _, where := range []string{"all", "default"} { // as on a host booted with ipv6.disable_ipv6=1
		runIn(t, path, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/"+where+"/disable_ipv6")
	}
	apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x10)})
	wantAddrs(t, path, "eth0", "2001:db8:0:1::10/64")
}

func TestIPv6AddressesMustBeTheSubnets(t *testing.T) {
	l := install(t)
	good := apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x10)})
	for _, bad := range []string{"2001:db8:0:2::10", "10.0.0.9", "::ffff:10.0.0.9", "2001:db8:0:1::10%eth0"} {
		w := dual(eniA, instA, 10)
		w.IPv6 = []netip.Addr{netip.MustParseAddr(bad)}
		devs, errs := l.Apply(wish{eniA: w})
		if errs[eniA] == nil || !strings.Contains(errs[eniA].Error(), bad) || devs[eniA].Ifindex != good[eniA].Ifindex {
			t.Errorf("%s: %v, %v", bad, errs, devs)
		}
	}
	wantAddrs(t, l.NamespacePath(string(instA)), "eth0", "2001:db8:0:1::10/64")
}

// Each interface sends what has its address, over IPv6 too.
func TestIPv6OfSeveralInterfaces(t *testing.T) {
	l := install(t)
	two := dual(eniB, instA, 20, 0x20)
	two.Index = 1
	two.Addr, two.Subnet, two.Router = netip.MustParseAddr("10.0.7.20"), netip.MustParsePrefix("10.0.7.0/24"), netip.MustParseAddr("10.0.7.1")
	two.Subnet6, two.IPv6 = netip.MustParsePrefix("2001:db8:0:7::/64"), []netip.Addr{netip.MustParseAddr("2001:db8:0:7::20")}
	apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x10), eniB: two})
	path := l.NamespacePath(string(instA))
	leaves := func(from, to, dev string, router bool) {
		t.Helper()
		out := runIn(t, path, "ip", "-6", "route", "get", to, "from", from)
		if !strings.Contains(out, " dev "+dev+" ") || strings.Contains(out, "via fe80::1") != router {
			t.Errorf("from %s to %s: %s, want dev %s", from, to, strings.Join(strings.Fields(out), " "), dev)
		}
	}
	leaves("2001:db8:0:1::10", "2001:db8:f::1", "eth0", true)
	leaves("2001:db8:0:7::20", "2001:db8:f::1", "eth1", true)
	leaves("2001:db8:0:7::20", "2001:db8:0:7::9", "eth1", false)
	leaves("2001:db8:0:1::10", "2001:db8:0:7::9", "eth0", true)
	leaves("2001:db8:0:7::20", "2001:db8:0:1::9", "eth1", true)
	if out := runIn(t, path, "ip", "-6", "route", "get", "2001:db8:f::1"); !strings.Contains(out, "dev eth0") || !strings.Contains(out, "src 2001:db8:0:1::10") {
		t.Errorf("the default is not the first interface: %s", out)
	}
	// Another address, and the rule of the old one goes.
	two.IPv6 = []netip.Addr{netip.MustParseAddr("2001:db8:0:7::21")}
	apply(t, l, wish{eniA: dual(eniA, instA, 10, 0x10), eniB: two})
	leaves("2001:db8:0:7::21", "2001:db8:f::1", "eth1", true)
	if out := runIn(t, path, "ip", "-6", "rule"); strings.Contains(out, "2001:db8:0:7::20 ") || strings.Count(out, "lookup 1001") != 1 {
		t.Errorf("rules:\n%s", out)
	}
}

func TestIPv6InExternalNamespaces(t *testing.T) {
	l := install(t)
	w := dual(eniA, "", 10, 0x10)

	// With nothing else in it the namespace's way out is ours.
	alone := makeNetns(t)
	w.External = &vpc.ExternalWorkload{Netns: alone}
	apply(t, l, wish{eniA: w})
	wantAddrs(t, alone, "eth0", "2001:db8:0:1::10/64")
	if out := runIn(t, alone, "ip", "-6", "route", "show", "default"); !strings.Contains(out, "via fe80::1 dev eth0") {
		t.Errorf("default route: %s", out)
	}
	if sysctlIn(t, alone, "ipv6/conf/default/accept_ra") != "1" || sysctlIn(t, alone, "ipv6/conf/eth0/accept_ra") != "0" {
		t.Error("settings of the namespace were changed, or ours were not")
	}

	// With a way out of its own it keeps that.
	path := makeNetns(t)
	runIn(t, path, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
	runIn(t, path, "ip", "link", "set", "peer0", "up")
	runIn(t, path, "ip", "link", "set", "eth0", "up")
	runIn(t, path, "ip", "addr", "add", "2001:db8:e::2/64", "dev", "eth0", "nodad")
	runIn(t, path, "ip", "-6", "route", "add", "default", "via", "2001:db8:e::1")
	w.External = &vpc.ExternalWorkload{Netns: path}
	apply(t, l, wish{eniA: w})
	wantAddrs(t, path, "eth1", "2001:db8:0:1::10/64")
	out := runIn(t, path, "ip", "-6", "route")
	if !strings.Contains(out, "default via 2001:db8:e::1 dev eth0") || strings.Contains(out, "default via fe80::1") || !strings.Contains(out, "fd00:ec2::253 via fe80::1 dev eth1") {
		t.Errorf("routes:\n%s", out)
	}
	if out := runIn(t, path, "ip", "-6", "addr", "show", "dev", "eth0"); strings.Count(out, "scope global") != 1 || !strings.Contains(out, "2001:db8:e::2/64") {
		t.Errorf("the namespace's own device has\n%s", out)
	}

	// Where its owner turned IPv6 off it stays off, and that is said; IPv4 works.
	off := makeNetns(t)
	for _, where := range []string{"all", "default"} {
		runIn(t, off, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/"+where+"/disable_ipv6")
	}
	w.External = &vpc.ExternalWorkload{Netns: off}
	devs, errs := l.Apply(wish{eniA: w})
	if errs[eniA] == nil || !strings.Contains(errs[eniA].Error(), "IPv6 is off") || devs[eniA].Ifindex == 0 {
		t.Errorf("devices %v, errors %v", devs, errs)
	}
	if out := runIn(t, off, "ip", "-br", "addr", "show", "dev", "eth0"); !strings.Contains(out, "10.0.0.10/24") || strings.Contains(out, "2001:") {
		t.Errorf("addresses: %s", out)
	}
	if sysctlIn(t, off, "ipv6/conf/all/disable_ipv6") != "1" {
		t.Error("IPv6 was turned on in somebody else's namespace")
	}
}
