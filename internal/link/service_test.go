// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"postern.dev/postern/internal/desired"
)

func TestServiceSocketsAreOnlyInTheServiceNamespace(t *testing.T) {
	l := install(t)
	dev, path, err := l.EnsureService()
	if err != nil {
		t.Fatal(err)
	}
	if dev.Name != "p"+l.cfg.Tag+"svc" || len(dev.MAC) != 6 {
		t.Errorf("device: %+v", dev)
	}
	if again, _, err := l.EnsureService(); err != nil || again.Ifindex != dev.Ifindex {
		t.Errorf("ensured twice: %+v, %v", again, err)
	}
	apply(t, l, nil) // no workloads: the service port stays
	if hostLink(t, dev.Name).Attrs().Index != dev.Ifindex {
		t.Error("Apply removed the service port")
	}
	if out := runIn(t, path, "ip", "addr", "show", "dev", "svc0"); !strings.Contains(out, "100.64.0.1/10") || !strings.Contains(out, "fd70:6f73:7465:726e::1/64") || !strings.Contains(out, "NOARP") || !strings.Contains(out, dev.MAC.String()) {
		t.Errorf("svc0:\n%s", out)
	}

	s, err := l.ListenService(context.Background(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	here := readFile(t, "/proc/net/tcp")
	there := runIn(t, path, "cat", "/proc/thread-self/net/tcp", "/proc/thread-self/net/udp")
	// 100.64.0.1 in /proc/net's byte order, with each port.
	for _, want := range []string{"01004064:0050", "01004064:01BB", "01004064:0035"} {
		if strings.Contains(here, want) {
			t.Errorf("%s is visible on the host", want)
		}
		if !strings.Contains(there, want) {
			t.Errorf("%s is not in the service namespace:\n%s", want, there)
		}
	}
	if strings.Count(there, "01004064:0035") != 1+2 {
		t.Errorf("dns is not once on tcp and twice on udp:\n%s", there)
	}
	// The descriptor works in a process that is not in the namespace.
	ln, err := net.FileListener(s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ns, err := openNamespace(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = inNamespace(ns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrInet4{Port: desired.EdgeHTTPPort, Addr: desired.EdgeAddr.As4()})
	})
	if err != nil {
		t.Fatalf("connect inside: %v", err)
	}
	c, err := ln.Accept()
	if err != nil || c.LocalAddr().String() != "100.64.0.1:80" {
		t.Errorf("accept: %v, %v", c, err)
	}
	if c != nil {
		c.Close()
	}

	// Held by another: waits, and says so when it may wait no longer.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.ListenService(ctx, 2); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("second set of sockets: %v", err)
	}
}

func TestResetAfterEverythingWasKilled(t *testing.T) {
	l := install(t)
	if _, _, err := l.EnsureService(); err != nil {
		t.Fatal(err)
	}
	apply(t, l, twoInstances())
	bpf := filepath.Join(l.cfg.RunDir, "bpf")
	if err := l.MountBPF(bpf); err != nil {
		t.Fatal(err)
	}
	if err := l.MountBPF(bpf); err != nil {
		t.Fatalf("mounted twice: %v", err)
	}
	sleeper := exec.Command("sleep", "300")
	if err := StartIn(l.NamespacePath(string(instA)), sleeper); err != nil {
		t.Fatal(err)
	}
	go sleeper.Wait()
	other := install(t) // another installation on the same host
	apply(t, other, twoInstances())

	// A new process knows only the configuration.
	fresh, err := New(l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	found := inventoryOf(t, fresh)
	if len(found) != 3+3+1+1 {
		t.Fatalf("inventory: %v", found)
	}
	all, err := InventoryAll()
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]int{}
	for _, i := range all {
		tags[i.Tag]++
	}
	// The run directories are not where InventoryAll looks for them.
	if tags[l.cfg.Tag] != len(found)-1 || tags[other.cfg.Tag] != 4 {
		t.Errorf("of both installations: %v", all)
	}
	removed, err := fresh.Reset()
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) != len(found)+1 {
		t.Errorf("removed %v of %v", removed, found)
	}
	if left := inventoryOf(t, fresh); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(l.cfg.RunDir); !os.IsNotExist(err) {
		t.Errorf("run directory is left: %v", err)
	}
	if got := inventoryOf(t, other); len(got) != 4 {
		t.Errorf("the other installation has only %v", got)
	}
	if left := hostNames(t, l); len(left) != 0 {
		t.Errorf("devices are left: %v", left)
	}
	if again, err := fresh.Reset(); err != nil || len(again) != 0 {
		t.Errorf("second reset removed %v, %v", again, err)
	}
}

func TestResetRefusesADirectoryItDidNotMark(t *testing.T) {
	l := install(t)
	if err := os.MkdirAll(l.cfg.RunDir, 0o755); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(l.cfg.RunDir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reset(); err != nil {
		t.Fatal(err)
	}
	readFile(t, precious)
}

func TestBPFMountIsNotTakenFromOthers(t *testing.T) {
	l := install(t)
	dir := t.TempDir()
	if err := unix.Mount("somebody", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := l.MountBPF(dir); err == nil {
		t.Error("mounted over somebody else's mount")
	}
	if err := l.UnmountBPF(dir); err == nil {
		t.Error("unmounted somebody else's mount")
	}
	if err := l.UnmountBPF(t.TempDir()); err != nil {
		t.Errorf("nothing mounted: %v", err)
	}
}

func TestCommandSeesItsOwnNames(t *testing.T) {
	l := install(t)
	apply(t, l, twoInstances())
	before := readFile(t, "/etc/resolv.conf")
	cmd, err := Command(context.Background(), l.NamespacePath(string(instA)), Options{
		Names: &Names{Servers: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::53")}, Search: []string{"internal", "b.example"}},
		Hosts: []HostEntry{{netip.MustParseAddr("192.0.2.7"), []string{"thing.example"}}},
	}, []string{"sh", "-c", `cat /etc/resolv.conf /etc/hosts; ip -4 addr show dev eth0; echo "$GREETING" "$1"; exit 7`, "sh", "--flag"},
		[]string{"PATH=" + os.Getenv("PATH"), "GREETING=hello"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("exit: %v\n%s", err, out.String())
	}
	for _, want := range []string{"nameserver 10.0.0.2\nnameserver 2001:db8::53\n", "search internal b.example\n", "192.0.2.7 thing.example\n", "10.0.0.10/24", "hello --flag\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if after := readFile(t, "/etc/resolv.conf"); after != before {
		t.Errorf("the host's resolv.conf changed to %q", after)
	}
	if id, err := nsIDOf("/proc/thread-self/ns/net"); err != nil || !isHostNamespace(id) {
		t.Errorf("this process moved: %v, %v", id, err)
	}
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "postern-names-*"))
	if len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
	cmd, err = Command(context.Background(), namespacePath("postern-none"), Options{}, []string{"true"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err == nil {
		t.Error("a namespace that does not exist was entered")
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
