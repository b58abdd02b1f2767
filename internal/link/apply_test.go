// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"postern.dev/postern/internal/vpc"
)

func TestInstanceGetsWhatItWasPromised(t *testing.T) {
	l := install(t)
	devs := apply(t, l, twoInstances())
	if len(devs) != 2 || devs[eniA].MAC.String() != "02:00:00:00:00:0a" || devs[eniA].Tap {
		t.Fatalf("devices: %+v", devs)
	}
	path := l.NamespacePath(string(instA))
	if out := runIn(t, path, "ip", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(out, "inet 10.0.0.10/24") || !strings.Contains(out, "mtu 1500") || !strings.Contains(out, "UP") {
		t.Errorf("address, mtu or state missing:\n%s", out)
	}
	if out := runIn(t, path, "ip", "link", "show", "dev", "eth0"); !strings.Contains(out, "link/ether 02:00:00:00:00:0a") || !strings.Contains(out, "alias postern "+l.cfg.Tag+" "+string(eniA)) {
		t.Errorf("mac or alias missing:\n%s", out)
	}
	if out := runIn(t, path, "ip", "-4", "route"); !strings.Contains(out, "default via 10.0.0.1 dev eth0 onlink") {
		t.Errorf("default route missing:\n%s", out)
	}
	if out := runIn(t, path, "ip", "-6", "addr", "show", "dev", "eth0"); strings.Contains(out, "inet6") {
		t.Errorf("IPv6 address inside:\n%s", out)
	}
	if out := runIn(t, path, "ip", "link", "show", "dev", "lo"); !strings.Contains(out, "UP") {
		t.Errorf("lo is down:\n%s", out)
	}
	if out := runIn(t, path, "cat", "/proc/sys/net/ipv4/ping_group_range"); strings.Join(strings.Fields(out), " ") != "0 2147483647" {
		t.Errorf("ping_group_range: %s", out)
	}
	// iproute2 finds the namespace by its name.
	if out, err := exec.Command("ip", "netns", "exec", namespaceName(l.cfg.Tag, string(instB)), "ip", "-4", "-br", "addr").CombinedOutput(); err != nil || !strings.Contains(string(out), "10.0.0.11/24") {
		t.Errorf("ip netns exec: %v\n%s", err, out)
	}
	name := devs[eniA].Name
	if len(name) > 15 || !strings.HasPrefix(name, "p"+l.cfg.Tag) {
		t.Errorf("host side is called %q", name)
	}
	host := hostLink(t, name)
	if host.Attrs().Flags&net.FlagUp == 0 || host.Attrs().Index != devs[eniA].Ifindex {
		t.Errorf("host side: %+v", host.Attrs())
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"); err == nil && strings.TrimSpace(string(b)) != "1" {
		t.Errorf("host side has IPv6")
	}
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	l := install(t)
	first := apply(t, l, twoInstances())
	before := hostNames(t, l)
	inode, err := nsIDOf(l.NamespacePath(string(instA)))
	if err != nil {
		t.Fatal(err)
	}
	// Another process of the same installation, knowing nothing, agrees.
	again, err := New(l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	second := apply(t, again, twoInstances())
	for id, d := range first {
		if second[id].Ifindex != d.Ifindex || second[id].Name != d.Name {
			t.Errorf("%s: %+v became %+v", id, d, second[id])
		}
	}
	if after := hostNames(t, l); !maps.Equal(before, after) {
		t.Errorf("links %v became %v", before, after)
	}
	if now, _ := nsIDOf(l.NamespacePath(string(instA))); now != inode {
		t.Errorf("namespace was made anew")
	}
}

// The kernel tells of every change of a device, also of one to what it is
// already: of a workload that is as it should be it tells nothing.
func TestUnchangedWorkloadsAreOnlyRead(t *testing.T) {
	l := install(t)
	devs := apply(t, l, twoInstances())
	if told := changes(t, l, func() { apply(t, l, twoInstances()) }); len(told) != 0 {
		t.Errorf("repeating changed %v", told)
	}
	changed := twoInstances()
	changed[eniA] = workload(eniA, instA, 20)
	told := changes(t, l, func() { apply(t, l, changed) })
	if !told[devs[eniA].Name] || told[devs[eniB].Name] {
		t.Errorf("changing one changed %v", told)
	}
}

// changes are our devices that the kernel says were changed during f.
func changes(t *testing.T, l *Links, f func()) map[string]bool {
	t.Helper()
	// A device that came up is told of again when its queue is running.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		up := true
		for name := range hostNames(t, l) {
			up = up && hostLink(t, name).Attrs().OperState == netlink.OperUp
		}
		if up {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the devices do not come up")
		}
	}
	events, done := make(chan netlink.LinkUpdate, 1024), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribe(events, done); err != nil {
		t.Fatal(err)
	}
	f()
	// A device of our own is the last to change, so all before is known.
	last := netlink.NewVeth(netlink.LinkAttrs{Name: "t" + l.cfg.Tag + "end"})
	last.PeerName = "t" + l.cfg.Tag + "peer"
	if err := netlink.LinkAdd(last); err != nil {
		t.Fatal(err)
	}
	defer netlink.LinkDel(last)
	out := map[string]bool{}
	for {
		select {
		case e := <-events:
			name := e.Attrs().Name
			if name == last.Name {
				return out
			}
			if strings.HasPrefix(name, "p"+l.cfg.Tag) {
				out[name] = true
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the kernel does not tell of changes")
		}
	}
}

func TestRemovalLeavesNothing(t *testing.T) {
	l := install(t)
	before := hostNames(t, l)
	apply(t, l, twoInstances())
	if len(inventoryOf(t, l)) != 4 {
		t.Fatalf("inventory: %v", inventoryOf(t, l))
	}
	one := twoInstances()
	delete(one, eniB)
	apply(t, l, one)
	if got := inventoryOf(t, l); len(got) != 2 {
		t.Errorf("after removing one: %v", got)
	}
	apply(t, l, nil)
	if got := inventoryOf(t, l); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if after := hostNames(t, l); !maps.Equal(before, after) {
		t.Errorf("links %v became %v", before, after)
	}
	if _, err := os.Lstat(l.NamespacePath(string(instA))); !os.IsNotExist(err) {
		t.Errorf("namespace file is left: %v", err)
	}
	apply(t, l, nil) // removing what is missing is success
}

func TestChangeIsRepairedInPlace(t *testing.T) {
	l := install(t)
	w := twoInstances()
	first := apply(t, l, w)
	changed := workload(eniA, instA, 20)
	changed.Router = netip.MustParseAddr("10.0.0.3")
	w[eniA] = changed
	second := apply(t, l, w)
	if first[eniA].Ifindex != second[eniA].Ifindex {
		t.Errorf("device was made anew for an address")
	}
	path := l.NamespacePath(string(instA))
	out := runIn(t, path, "ip", "addr", "show", "dev", "eth0")
	if !strings.Contains(out, "10.0.0.20/24") || strings.Contains(out, "10.0.0.10/24") || !strings.Contains(out, "02:00:00:00:00:14") {
		t.Errorf("after the change:\n%s", out)
	}
	if out := runIn(t, path, "ip", "route"); !strings.Contains(out, "default via 10.0.0.3 dev eth0") || strings.Contains(out, "10.0.0.1 ") {
		t.Errorf("routes after the change:\n%s", out)
	}

	// Somebody takes the device down, somebody else removes the namespace's name.
	if err := netlink.LinkSetDown(hostLink(t, first[eniB].Name)); err != nil {
		t.Fatal(err)
	}
	if err := unnameNamespace(namespaceName(l.cfg.Tag, string(instA))); err != nil {
		t.Fatal(err)
	}
	apply(t, l, w)
	if hostLink(t, first[eniB].Name).Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("host side is still down")
	}
	if out := runIn(t, path, "ip", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(out, "10.0.0.20/24") {
		t.Errorf("namespace was not made again:\n%s", out)
	}
}

func TestInterruptedCreationIsFinished(t *testing.T) {
	l := install(t)
	// Killed after the kernel made the device and before the alias was written,
	// and after the namespace's file was made and before it was mounted.
	name := hostName(l.cfg.Tag, string(eniA))
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = name, derivedMAC(l.cfg.Tag, name)
	v := netlink.NewVeth(attrs)
	v.PeerName = "x" + name[1:]
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	if err := prepareNetnsDir(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.NamespacePath(string(instA)), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if got := inventoryOf(t, l); len(got) != 2 {
		t.Errorf("inventory does not know the leftovers: %v", got)
	}
	devs := apply(t, l, twoInstances())
	if out := runIn(t, l.NamespacePath(string(instA)), "ip", "-4", "addr"); !strings.Contains(out, "10.0.0.10/24") {
		t.Errorf("not finished:\n%s", out)
	}
	if devs[eniA].Name != name {
		t.Errorf("device is %q", devs[eniA].Name)
	}
}

// Killed at any moment, the next Apply finishes what was begun.
func TestKilledApplyIsFinished(t *testing.T) {
	for _, after := range []int{1, 4, 9, 17, 30, 44} { // changes of our devices
		l := install(t)
		events, done := make(chan netlink.LinkUpdate, 4096), make(chan struct{})
		if err := netlink.LinkSubscribe(events, done); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe", applyMany, l.cfg.Tag, l.cfg.RunDir)
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for n := 0; n < after; {
			select {
			case e := <-events:
				if strings.HasPrefix(e.Attrs().Name, "p"+l.cfg.Tag) {
					n++
				}
			case <-ended:
				t.Fatalf("it ended after %d changes, before it was killed: %s", n, said.String())
			}
		}
		cmd.Process.Kill()
		<-ended
		close(done)

		want := manyInstances()
		devs := apply(t, l, want)
		if got := len(inventoryOf(t, l)); len(devs) != len(want) || got != len(want)+8 {
			t.Fatalf("killed after %d: %d devices, %d items", after, len(devs), got)
		}
		for id, w := range want {
			path, dev := l.NamespacePath(string(w.Instance)), "eth"+itoa(w.Index)
			wantAddrs(t, path, dev, netip.PrefixFrom(w.IPv6[0], 64).String())
			if out := runIn(t, path, "ip", "-br", "addr", "show", "dev", dev); !strings.Contains(out, w.Addr.String()+"/24") || !strings.Contains(out, "UP") {
				t.Errorf("killed after %d: %s of %s: %s", after, dev, id, out)
			}
		}
		if told := changes(t, l, func() { apply(t, l, want) }); len(told) != 0 {
			t.Errorf("killed after %d: not finished at once: %v", after, told)
		}
		apply(t, l, nil)
	}
}

func TestForeignDeviceWithOurNameIsLeftAlone(t *testing.T) {
	l := install(t)
	name := hostName(l.cfg.Tag, string(eniA))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	v := netlink.NewVeth(attrs)
	v.PeerName = "x" + name[1:]
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(v) })
	before := hostLink(t, name).Attrs()
	devs, errs := l.Apply(twoInstances())
	if errs[eniA] == nil || !strings.Contains(errs[eniA].Error(), "not ours") {
		t.Errorf("error is %v", errs[eniA])
	}
	if _, ok := devs[eniA]; ok || errs[eniB] != nil {
		t.Errorf("devices %v, errors %v", devs, errs)
	}
	if _, err := l.Reset(); err != nil {
		t.Fatal(err)
	}
	after := hostLink(t, name).Attrs()
	if after.Index != before.Index || after.Alias != "" || after.Flags != before.Flags || after.HardwareAddr.String() != before.HardwareAddr.String() {
		t.Errorf("foreign device changed: %+v to %+v", before, after)
	}
}

func TestProcessesInsideAreEnded(t *testing.T) {
	l := install(t)
	apply(t, l, twoInstances())
	start := func(inst vpc.InstanceID, argv ...string) (*exec.Cmd, chan error) {
		cmd := exec.Command(argv[0], argv[1:]...)
		if err := StartIn(l.NamespacePath(string(inst)), cmd); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		t.Cleanup(func() { cmd.Process.Kill() })
		return cmd, done
	}
	_, polite := start(instA, "sleep", "300")
	// Ignores SIGTERM and so does its child.
	_, stubborn := start(instA, "sh", "-c", "trap '' TERM; sleep 301; sleep 302")
	other, otherDone := start(instB, "sleep", "303")

	w := twoInstances()
	delete(w, eniA)
	apply(t, l, w)
	for name, c := range map[string]chan error{"sleep": polite, "sh": stubborn} {
		select {
		case <-c:
		case <-time.After(5 * time.Second):
			t.Errorf("%s is still running", name)
		}
	}
	select {
	case <-otherDone:
		t.Error("the other instance's process was ended")
	default:
		if id, err := nsIDOf("/proc/" + itoa(other.Process.Pid) + "/ns/net"); err != nil || isHostNamespace(id) {
			t.Errorf("the other process is in %v, %v", id, err)
		}
	}
}

func TestExternalNamespaceKeepsWhatItHas(t *testing.T) {
	l := install(t)
	path := makeNetns(t)
	runIn(t, path, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
	runIn(t, path, "ip", "link", "set", "peer0", "up")
	runIn(t, path, "ip", "addr", "add", "192.0.2.10/24", "dev", "eth0")
	runIn(t, path, "ip", "link", "set", "eth0", "up")
	runIn(t, path, "ip", "route", "add", "default", "via", "192.0.2.1")
	w := workload(eniA, "", 10)
	w.External = &vpc.ExternalWorkload{Netns: path}
	first := apply(t, l, wish{eniA: w})
	out := runIn(t, path, "ip", "-4", "addr")
	if !strings.Contains(out, "10.0.0.10/24") || !strings.Contains(out, "eth1") || !strings.Contains(out, "192.0.2.10/24") {
		t.Errorf("addresses:\n%s", out)
	}
	if out := runIn(t, path, "ip", "route"); !strings.Contains(out, "default via 192.0.2.1") || strings.Contains(out, "default via 10.") || !strings.Contains(out, "10.0.0.2 via 10.0.0.1 dev eth1") {
		t.Errorf("routes:\n%s", out)
	}
	if again := apply(t, l, wish{eniA: w}); again[eniA].Ifindex != first[eniA].Ifindex {
		t.Errorf("made anew")
	}
	apply(t, l, nil)
	out = runIn(t, path, "ip", "-4", "addr")
	if strings.Contains(out, "eth1") || !strings.Contains(out, "192.0.2.10/24") {
		t.Errorf("after detaching:\n%s", out)
	}
}

func TestExternalByPIDGetsDefaultRouteWhenItHasNone(t *testing.T) {
	l := install(t)
	cmd := exec.Command("sleep", "300")
	if err := StartIn(makeNetns(t), cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	w := workload(eniA, "", 10)
	w.External = &vpc.ExternalWorkload{PID: cmd.Process.Pid}
	apply(t, l, wish{eniA: w})
	if out := runIn(t, "/proc/"+itoa(cmd.Process.Pid)+"/ns/net", "ip", "route"); !strings.Contains(out, "default via 10.0.0.1 dev eth0") {
		t.Errorf("routes:\n%s", out)
	}
	apply(t, l, nil)
	if cmd.ProcessState != nil || cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("a process of a namespace that is not ours was ended")
	}

	w.External = &vpc.ExternalWorkload{PID: os.Getpid()}
	if _, errs := l.Apply(wish{eniA: w}); errs[eniA] == nil || !strings.Contains(errs[eniA].Error(), "host's own") {
		t.Errorf("the host's own namespace was accepted: %v", errs)
	}
}

func TestExternalDeviceIsOnlyReported(t *testing.T) {
	l := install(t)
	name := "t" + l.cfg.Tag + "tap"
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Queues: 0, Flags: netlink.TUNTAP_DEFAULTS}
	if err := netlink.LinkAdd(tap); err != nil {
		t.Skipf("cannot make a tap here: %v", err)
	}
	t.Cleanup(func() { netlink.LinkDel(tap) })
	before := hostLink(t, name).Attrs()
	a, b := workload(eniA, "", 10), workload(eniB, "", 11)
	a.External = &vpc.ExternalWorkload{Ifname: name}
	b.External = &vpc.ExternalWorkload{Ifname: name}
	devs, errs := l.Apply(wish{eniA: a, eniB: b})
	if d := devs[eniA]; !d.Tap || d.Ifindex != before.Index || d.MAC.String() != a.MAC || errs[eniA] != nil {
		t.Errorf("device %+v, error %v", d, errs[eniA])
	}
	if errs[eniB] == nil || len(devs) != 1 {
		t.Errorf("two workloads share one device: %v", devs)
	}
	apply(t, l, nil)
	if after := hostLink(t, name).Attrs(); after.Alias != "" || after.Flags != before.Flags {
		t.Errorf("the device was changed: %+v", after)
	}
	b.External = &vpc.ExternalWorkload{Ifname: "lo"}
	if _, errs := l.Apply(wish{eniB: b}); errs[eniB] == nil {
		t.Error("lo was accepted as a workload's device")
	}
}

func TestPartialFailureReturnsWhatIsTrue(t *testing.T) {
	l := install(t)
	w := twoInstances()
	bad := w[eniB]
	bad.MAC = "ff:ff:ff:ff:ff:ff"
	w[eniB] = bad
	devs, errs := l.Apply(w)
	if len(devs) != 1 || devs[eniA].Ifindex == 0 || len(errs) != 1 || errs[eniB] == nil {
		t.Errorf("devices %v, errors %v", devs, errs)
	}
	apply(t, l, twoInstances())
	devs, errs = l.Apply(w) // what was good stays when the wish becomes bad
	if devs[eniB].Ifindex == 0 || errs[eniB] == nil {
		t.Errorf("devices %v, errors %v", devs, errs)
	}
}

func TestInstanceWithTwoInterfaces(t *testing.T) {
	l := install(t)
	apply(t, l, wish{eniA: workload(eniA, instA, 10), eniB: workload(eniB, instA, 11)})
	path := l.NamespacePath(string(instA))
	out := runIn(t, path, "ip", "-4", "-br", "addr")
	if !strings.Contains(out, "eth0") || !strings.Contains(out, "eth1") {
		t.Fatalf("devices:\n%s", out)
	}
	if out := runIn(t, path, "ip", "route", "show", "default"); !strings.Contains(out, "dev eth0") || strings.Contains(out, "eth1") {
		t.Errorf("default routes:\n%s", out)
	}
	apply(t, l, wish{eniA: workload(eniA, instA, 10)})
	if out := runIn(t, path, "ip", "-4", "-br", "addr"); !strings.Contains(out, "10.0.0.10/24") || strings.Contains(out, "eth1") {
		t.Errorf("after removing the second:\n%s", out)
	}
}
