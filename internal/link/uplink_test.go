// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// prefixesFor are stand-in public addresses that no other test on this host
// has at the same time: an installation's tag is in them.
func prefixesFor(tag string, last ...byte) []netip.Prefix {
	var out []netip.Prefix
	n := len(tag) // of the tag, some numbers
	var a, b byte
	for i := range n {
		a, b = a*31+tag[i], b*17+tag[i]
	}
	for _, x := range last {
		four := netip.MustParsePrefix("203.0.113.0/24").Addr().As4()
		four[3] = a&^7 | x
		six := netip.MustParsePrefix("2001:db8::/32").Addr().As16()
		six[4], six[5], six[7] = a, b, x
		out = append(out, netip.PrefixFrom(netip.AddrFrom4(four), 32), netip.PrefixFrom(netip.AddrFrom16(six), 64))
	}
	return out
}

// routesOf lists the destinations of a device's routes that the kernel did not make.
func routesOf(t *testing.T, argv func(...string) string, dev string) []string {
	t.Helper()
	var out []string
	for _, family := range []string{"-4", "-6"} {
		for _, line := range strings.Split(argv("ip", family, "route", "show", "dev", dev), "\n") {
			if f := strings.Fields(line); len(f) > 0 && !strings.Contains(line, "proto kernel") {
				out = append(out, f[0])
			}
		}
	}
	slices.Sort(out)
	return out
}

func texts(ps []netip.Prefix) []string {
	var out []string
	for _, p := range ps {
		s := p.String()
		if p.Addr().Is4() {
			s = p.Addr().String()
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func onHost(t *testing.T) func(...string) string {
	return func(argv ...string) string {
		t.Helper()
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
		return string(out)
	}
}

func in(t *testing.T, path string) func(...string) string {
	return func(argv ...string) string { t.Helper(); return runIn(t, path, argv...) }
}

// hostSettings are settings that an uplink could be tempted to change.
func hostSettings(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{"ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter", "ipv4/conf/all/accept_local",
		"ipv6/conf/all/forwarding", "ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6", "ipv6/conf/default/accept_ra", "ipv6/conf/default/addr_gen_mode"} {
		b.WriteString(name + "=" + strings.TrimSpace(readFile(t, "/proc/sys/net/"+name)) + "\n")
	}
	return b.String()
}

func ensureUplink(t *testing.T, l *Links, u Uplink) Device {
	t.Helper()
	d, err := l.EnsureUplink(u)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestUplinkOfTheHostsNetwork(t *testing.T) {
	l := install(t)
	before := hostSettings(t)
	two := prefixesFor(l.cfg.Tag, 1, 2)
	d := ensureUplink(t, l, Uplink{Prefixes: two})
	up, net0 := "p"+l.cfg.Tag+"up", "p"+l.cfg.Tag+"net"
	far := hostLink(t, net0)
	if d.Name != up || d.Ifindex != hostLink(t, up).Attrs().Index || d.MAC.String() != far.Attrs().HardwareAddr.String() || !d.Tap {
		t.Errorf("device %+v", d)
	}
	out := onHost(t)("ip", "addr", "show", "dev", net0)
	for _, want := range []string{"inet 169.254.254.1/32", "inet6 fd70:6f73:7465:726e::1/128", "NOARP", ",UP", "mtu 1500", "alias postern " + l.cfg.Tag + " uplink"} {
		if !strings.Contains(out, want) && !strings.Contains(onHost(t)("ip", "link", "show", "dev", net0), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "fe80:") {
		t.Errorf("it has a link-local address:\n%s", out)
	}
	if got := routesOf(t, onHost(t), net0); !slices.Equal(got, texts(two)) {
		t.Errorf("routes %v, want %v", got, texts(two))
	}
	for _, p := range two {
		want := UplinkAddr.String()
		if p.Addr().Is6() {
			want = UplinkAddr6.String()
		}
		if out := onHost(t)("ip", "route", "get", p.Addr().Next().Prev().String()); !strings.Contains(out, "dev "+net0) || !strings.Contains(out, "src "+want) {
			t.Errorf("to %s: %s", p, out)
		}
	}

	describes := func(want string, bad bool) {
		t.Helper()
		if says, err := l.DescribeUplink(); (err != nil) != bad || !strings.Contains(says+fmt.Sprint(err), want) {
			t.Errorf("described as %q, %v; want %q", says, err, want)
		}
	}
	describes("host's own network, which reaches 4 prefixes through "+net0, false)
	if got := strings.TrimSpace(readFile(t, "/proc/sys/net/ipv4/conf/"+net0+"/rp_filter")); got != "1" {
		t.Errorf("rp_filter of %s is %s", net0, got)
	}

	// Nothing is changed by repeating it, nor by a wish for workloads.
	told := changes(t, l, func() {
		ensureUplink(t, l, Uplink{Prefixes: two})
		apply(t, l, nil)
	})
	if len(told) != 0 {
		t.Errorf("repeating it changed %v", told)
	}

	// Routes are exact, whoever made the others.
	one := prefixesFor(l.cfg.Tag, 2, 3)
	onHost(t)("ip", "route", "add", prefixesFor(l.cfg.Tag, 5)[0].String(), "dev", net0)
	ensureUplink(t, l, Uplink{Prefixes: one})
	if got := routesOf(t, onHost(t), net0); !slices.Equal(got, texts(one)) {
		t.Errorf("routes %v, want %v", got, texts(one))
	}
	// Somebody takes the device down, which takes the routes away, and an address.
	if err := netlink.LinkSetDown(far); err != nil {
		t.Fatal(err)
	}
	onHost(t)("ip", "addr", "flush", "dev", net0)
	describes("down", true)
	again := ensureUplink(t, l, Uplink{Prefixes: one})
	if got := routesOf(t, onHost(t), net0); !slices.Equal(got, texts(one)) || again.Ifindex != d.Ifindex {
		t.Errorf("not repaired: routes %v, device %+v", got, again)
	}
	if out := onHost(t)("ip", "addr", "show", "dev", net0); !strings.Contains(out, "169.254.254.1/32") || !strings.Contains(out, "fd70:") {
		t.Errorf("addresses are not repaired:\n%s", out)
	}

	if after := hostSettings(t); after != before {
		t.Errorf("settings of the host were\n%sand are\n%s", before, after)
	}
	for range 2 {
		if err := l.RemoveUplink(); err != nil {
			t.Fatal(err)
		}
	}
	describes("none", false)
	if left := hostNames(t, l); len(left) != 0 {
		t.Errorf("devices are left: %v", left)
	}
}

// A frame that the outside sends has its own device's address as destination,
// without anybody being asked, and leaves the other end.
func TestUplinkFramesNeedNoNeighbour(t *testing.T) {
	l := install(t)
	to := prefixesFor(l.cfg.Tag, 1)
	d := ensureUplink(t, l, Uplink{Prefixes: to})
	ifi, err := net.InterfaceByIndex(d.Ifindex)
	if err != nil {
		t.Fatal(err)
	}
	sent := capture(t, ifi)
	for _, p := range to {
		c, err := net.Dial("udp", netip.AddrPortFrom(p.Addr(), 9).String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		c.Close()
		frame := sent()
		if got := net.HardwareAddr(frame[:6]).String(); got != d.MAC.String() {
			t.Errorf("to %s: the frame is for %s, want %s", p, got, d.MAC)
		}
	}
}

func TestUplinkOfAnotherNamespace(t *testing.T) {
	l := install(t)
	path, other := makeNetns(t), makeNetns(t)
	prefixes := prefixesFor(l.cfg.Tag, 1)
	d := ensureUplink(t, l, Uplink{Netns: path, Prefixes: prefixes})
	net0 := "p" + l.cfg.Tag + "net"
	if d.Tap {
		t.Error("the far end is in another namespace, so the device is no tap")
	}
	if got := routesOf(t, in(t, path), net0); !slices.Equal(got, texts(prefixes)) {
		t.Errorf("routes %v", got)
	}
	if says, err := l.DescribeUplink(); err != nil || !strings.Contains(says, "another namespace") {
		t.Errorf("described as %q, %v", says, err)
	}
	if _, there := hostNames(t, l)[net0]; there {
		t.Error("the far end is on the host")
	}
	// The setting changes: there is one uplink, and it is where it should be.
	moved := ensureUplink(t, l, Uplink{Netns: other, Prefixes: prefixes})
	if got := routesOf(t, in(t, other), net0); !slices.Equal(got, texts(prefixes)) || moved.Ifindex == d.Ifindex {
		t.Errorf("routes %v, device %+v", got, moved)
	}
	if out := runIn(t, path, "ip", "-br", "link"); strings.Contains(out, net0) {
		t.Errorf("the old one is left:\n%s", out)
	}
	gone := t.TempDir() + "/none"
	if left, err := l.EnsureUplink(Uplink{Netns: gone}); err == nil || !strings.Contains(err.Error(), gone) || left.Ifindex != 0 {
		t.Errorf("a namespace that does not exist: %+v, %v", left, err)
	}
	if removed, err := l.Reset(); err != nil || len(removed) == 0 {
		t.Errorf("reset removed %v, %v", removed, err)
	}
	if out := runIn(t, other, "ip", "-br", "link"); strings.Contains(out, net0) {
		t.Errorf("reset left it:\n%s", out)
	}
}

func TestUplinkLeavesOthersRoutesAlone(t *testing.T) {
	l := install(t)
	path := makeNetns(t)
	prefixes := prefixesFor(l.cfg.Tag, 1, 2)
	runIn(t, path, "ip", "link", "add", "mine", "type", "veth", "peer", "name", "mine0")
	runIn(t, path, "ip", "link", "set", "mine0", "up")
	runIn(t, path, "ip", "link", "set", "mine", "up")
	for _, p := range prefixes[:2] {
		runIn(t, path, "ip", "route", "add", p.String(), "dev", "mine")
	}
	d, err := l.EnsureUplink(Uplink{Netns: path, Prefixes: prefixes})
	if err == nil || !strings.Contains(err.Error(), prefixes[0].String()) || !strings.Contains(err.Error(), prefixes[1].String()) || d.Ifindex == 0 {
		t.Errorf("device %+v, error %v", d, err)
	}
	if got := routesOf(t, in(t, path), "mine"); !slices.Equal(got, texts(prefixes[:2])) {
		t.Errorf("the other's routes are %v", got)
	}
	if got := routesOf(t, in(t, path), "p"+l.cfg.Tag+"net"); !slices.Equal(got, texts(prefixes[2:])) {
		t.Errorf("ours are %v", got)
	}
}

func TestInterruptedUplinkIsFinished(t *testing.T) {
	l := install(t)
	// Killed after the kernel made the pair and before the aliases were written.
	up, net0 := "p"+l.cfg.Tag+"up", "p"+l.cfg.Tag+"net"
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = up, derivedMAC(l.cfg.Tag, up)
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerHardwareAddr = net0, derivedMAC(l.cfg.Tag, net0)
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	if got := inventoryOf(t, l); len(got) != 2 {
		t.Errorf("inventory does not know the leftovers: %v", got)
	}
	apply(t, l, nil)
	index := hostLink(t, up).Attrs().Index // Apply left it for EnsureUplink
	d := ensureUplink(t, l, Uplink{Prefixes: prefixesFor(l.cfg.Tag, 1)})
	if d.Ifindex != index || !strings.HasPrefix(hostLink(t, net0).Attrs().Alias, "postern "+l.cfg.Tag+" uplink") {
		t.Errorf("device %+v", d)
	}
	// And interrupted again, with only the first alias written.
	if err := netlink.LinkSetAlias(hostLink(t, up), "postern "+l.cfg.Tag+" uplink"); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(hostLink(t, up)); err != nil {
		t.Fatal(err)
	}
	if again := ensureUplink(t, l, Uplink{}); again.Ifindex != index || hostLink(t, up).Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("device %+v", again)
	}
	if got := routesOf(t, onHost(t), net0); len(got) != 0 {
		t.Errorf("routes nobody wishes: %v", got)
	}
}

func TestForeignDeviceWithTheUplinksName(t *testing.T) {
	l := install(t)
	up := "p" + l.cfg.Tag + "up"
	d := netlink.NewVeth(netlink.LinkAttrs{Name: up})
	d.PeerName = "t" + l.cfg.Tag + "peer"
	if err := netlink.LinkAdd(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(d) })
	if dev, err := l.EnsureUplink(Uplink{}); err == nil || !strings.Contains(err.Error(), "not ours") || dev.Ifindex != 0 {
		t.Errorf("device %+v, error %v", dev, err)
	}
	if err := l.RemoveUplink(); err != nil {
		t.Fatal(err)
	}
	if hostLink(t, up).Attrs().Alias != "" {
		t.Error("the foreign device was changed")
	}
}
