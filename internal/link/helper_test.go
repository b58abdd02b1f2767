// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// TestMain lets Command find NsenterMain: the test binary is "this program".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == NsenterCommand {
		fmt.Fprintln(os.Stderr, NsenterMain(os.Args[2:]))
		os.Exit(126)
	}
	if len(os.Args) == 4 && os.Args[1] == applyMany {
		l, err := New(Config{Tag: os.Args[2], RunDir: os.Args[3]})
		if err == nil {
			_, errs := l.Apply(manyInstances())
			err = errors.Join(slices.Collect(maps.Values(errs))...)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == leadOut {
		for _, a := range os.Args[2:] {
			fmt.Println(a, LeadsOut(netip.MustParseAddr(a)) == nil)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// leadOut makes the test binary say which addresses LeadsOut, where it runs.
const leadOut = "lead-out"

// applyMany makes the test binary apply manyInstances and end.
const applyMany = "apply-many"

func manyInstances() wish {
	w := wish{}
	for i := range byte(8) {
		for n := range 2 { // interfaces
			id := vpc.InterfaceID(fmt.Sprintf("eni-0aaaaaaaaaaaaa%x%02x", n, i))
			one := dual(id, vpc.InstanceID(fmt.Sprintf("i-0aaaaaaaaaaaaaa%02x", i)), 10+i+100*byte(n), 10+i+100*byte(n))
			one.Index = n
			w[id] = one
		}
	}
	return w
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces and devices: needs root")
	}
	if err := unix.Access("/proc/sys/net/ipv4/conf/lo/arp_ignore", unix.W_OK); err != nil {
		t.Skip("needs a writable /proc/sys")
	}
}

// install is an installation of its own with a random tag; at the end nothing
// of it may be left.
func install(t *testing.T) *Links {
	t.Helper()
	needRoot(t)
	var b [3]byte
	rand.Read(b[:])
	tag := hex.EncodeToString(b[:])
	l, err := New(Config{Tag: tag, RunDir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := l.Reset(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
	})
	return l
}

const (
	eniA  = vpc.InterfaceID("eni-0aaaaaaaaaaaaaaaa")
	eniB  = vpc.InterfaceID("eni-0bbbbbbbbbbbbbbbb")
	instA = vpc.InstanceID("i-0aaaaaaaaaaaaaaaa")
	instB = vpc.InstanceID("i-0bbbbbbbbbbbbbbbb")
)

func workload(id vpc.InterfaceID, inst vpc.InstanceID, last byte) desired.Workload {
	return desired.Workload{
		Interface: id, Instance: inst,
		Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), MAC: fmt.Sprintf("02:00:00:00:00:%02x", last),
		Subnet: netip.MustParsePrefix("10.0.0.0/24"), Router: netip.MustParseAddr("10.0.0.1"),
		Resolver: netip.MustParseAddr("10.0.0.2"),
	}
}

type wish = map[vpc.InterfaceID]desired.Workload

func twoInstances() wish {
	return wish{eniA: workload(eniA, instA, 10), eniB: workload(eniB, instB, 11)}
}

// apply expects no error.
func apply(t *testing.T, l *Links, w wish) map[vpc.InterfaceID]Device {
	t.Helper()
	devs, errs := l.Apply(w)
	for id, err := range errs {
		t.Fatalf("apply: %q: %v", id, err)
	}
	return devs
}

func inventoryOf(t *testing.T, l *Links) []Item {
	t.Helper()
	items, err := l.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// hostNames lists the host's devices of an installation. Others may come and go.
func hostNames(t *testing.T, l *Links) map[string]int {
	t.Helper()
	h, links, err := hostLinks()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	out := map[string]int{}
	for _, k := range links {
		if strings.HasPrefix(k.Attrs().Name, "p"+l.cfg.Tag) {
			out[k.Attrs().Name] = k.Attrs().Index
		}
	}
	return out
}

func hostLink(t *testing.T, name string) netlink.Link {
	t.Helper()
	k, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// inside runs a program with only the network namespace changed.
func runIn(t *testing.T, path string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := StartIn(path, cmd); err != nil {
		t.Fatalf("%v: %v", argv, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out.String())
	}
	return out.String()
}

// makeNetns is somebody else's namespace, removed at the end.
func makeNetns(t *testing.T) string {
	t.Helper()
	var b [4]byte
	rand.Read(b[:])
	name := "foreign-" + hex.EncodeToString(b[:])
	if err := prepareNetnsDir(); err != nil {
		t.Fatal(err)
	}
	if err := makeNamespace(name, func(*os.File, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unnameNamespace(name) })
	return namespacePath(name)
}

func itoa(n int) string { return fmt.Sprint(n) }

// capture gives, one by one, the UDP packets that arrive on a device, as frames.
func capture(t *testing.T, ifi *net.Interface) func() []byte {
	t.Helper()
	all := int(uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: ifi.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	return func() []byte {
		t.Helper()
		b := make([]byte, 2048)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				t.Fatalf("nothing arrives: %v", err)
			}
			udp := n > 42 && b[12] == 0x08 && b[13] == 0 && b[23] == unix.IPPROTO_UDP || n > 62 && b[12] == 0x86 && b[13] == 0xdd && b[20] == unix.IPPROTO_UDP
			if udp {
				return b[:n]
			}
		}
	}
}
