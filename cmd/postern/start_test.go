// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/vpc"
)

// manyWorkloads is a host with n instances of one VPC.
func manyWorkloads(n int) desired.Host {
	h := desired.Empty()
	h.VPCs[100] = desired.VPC{ID: "vpc-1", VNI: 100, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, Resolver: netip.MustParseAddr("10.0.0.2")}
	six := netip.MustParsePrefix("2001:db8:0:1::/64")
	subnet := desired.Subnet{ID: "subnet-1", VNI: 100, CIDR: netip.MustParsePrefix("10.0.0.0/16"), Router: netip.MustParseAddr("10.0.0.1"), RouteTable: "rtb-1", ACL: "acl-1"}
	subnet.IPv6 = six
	h.Subnets["subnet-1"] = subnet
	h.RouteTables["rtb-1"] = desired.RouteTable{Routes: []desired.Route{{Prefix: subnet.CIDR, Kind: desired.RouteLocal}}}
	h.ACLs["acl-1"] = desired.ACL{}
	for i := range n {
		id := vpc.InterfaceID(fmt.Sprintf("eni-0%016x", i))
		addr := netip.AddrFrom4([4]byte{10, 0, byte(1 + i>>8), byte(i)})
		mac := fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)
		w := desired.Workload{
			Interface: id, Instance: vpc.InstanceID(fmt.Sprintf("i-0%016x", i)), Addr: addr, MAC: mac,
			Subnet: subnet.CIDR, Router: subnet.Router, Resolver: h.VPCs[100].Resolver,
		}
		a := six.Addr().As16()
		a[14], a[15] = byte(1+i>>8), byte(i)
		w.IPv6, w.Subnet6 = []netip.Addr{netip.AddrFrom16(a)}, six
		h.Workloads[id] = w
		h.Interfaces[id] = desired.Interface{ID: id, VNI: 100, Subnet: "subnet-1", Addr: addr, IPv6: w.IPv6, MAC: mac, Kind: desired.KindWorkload, SourceCheck: true}
	}
	return h
}

// testHost is what the agent changes, as an installation of its own.
func testHost(t testing.TB) *hostSteps {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces and devices: needs root")
	}
	var r [3]byte
	rand.Read(r[:])
	links, err := link.New(link.Config{Tag: hex.EncodeToString(r[:]), RunDir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := links.Reset(); err != nil {
			t.Error(err)
		}
	})
	pins := filepath.Join(t.TempDir(), "bpf")
	if err := links.MountBPF(pins); err != nil {
		t.Fatal(err)
	}
	dp, err := datapath.Open(datapath.Config{PinDir: pins, MaxConnections: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dp.Close() })
	service, _, err := links.EnsureService()
	if err != nil {
		t.Fatal(err)
	}
	if err := dp.Attach(service.Name, service.Ifindex, datapath.Service); err != nil {
		t.Fatal(err)
	}
	return &hostSteps{links: links, dp: dp, service: service, log: newLogger()}
}

func applyAll(t testing.TB, h *hostSteps, d desired.Host) {
	t.Helper()
	for what, err := range h.apply(d) {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestUplinkComesWithItsProgramAndGoes(t *testing.T) {
	h := testHost(t)
	d := manyWorkloads(2)
	applyAll(t, h, d)
	attached := func() []string {
		t.Helper()
		names, err := h.dp.Attached()
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if got := attached(); len(got) != 3 {
		t.Fatalf("without an uplink there are programs on %v", got)
	}
	up := strings.TrimSuffix(h.service.Name, "svc") + "up"
	h.uplink = true
	applyAll(t, h, d)
	if got := attached(); len(got) != 4 || !slices.Contains(got, up) {
		t.Errorf("with an uplink there are programs on %v", got)
	}
	// One that cannot be had is said, and does not keep workloads from coming. It
	// carries packets on while it is there.
	h.uplinkNetns = filepath.Join(t.TempDir(), "none")
	for _, there := range []bool{true, false} {
		if !there {
			if err := h.links.RemoveUplink(); err != nil {
				t.Fatal(err)
			}
		}
		errs := h.apply(manyWorkloads(3))
		if len(errs) != 1 || errs["uplink"] == nil {
			t.Errorf("errors %v", errs)
		}
		if got := attached(); slices.Contains(got, up) != there {
			t.Errorf("with an uplink that fails (there %v) there are programs on %v", there, got)
		}
	}
	h.uplink = false
	if err := h.links.RemoveUplink(); err != nil {
		t.Fatal(err)
	}
	applyAll(t, h, d)
	if got := attached(); len(got) != 3 {
		t.Errorf("after it was switched off there are programs on %v", got)
	}
}

// Packets pass both ways between a workload and the host's network, through
// devices, programs and maps as the agent makes them.
func TestHostAndWorkloadReachEachOtherThroughTheUplink(t *testing.T) {
	h := testHost(t)
	h.uplink = true
	d := manyWorkloads(1)
	var id vpc.InterfaceID
	for id = range d.Workloads {
	}
	n := d.Interfaces[id]
	n.Public = netip.MustParseAddr("203.0.113.77")
	d.Interfaces[id] = n
	every, every6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	six := d.Workloads[id].Subnet6
	d.RouteTables["rtb-1"] = desired.RouteTable{Routes: append(d.RouteTables["rtb-1"].Routes,
		desired.Route{Prefix: six, Kind: desired.RouteLocal},
		desired.Route{Prefix: every, Kind: desired.RouteInternet}, desired.Route{Prefix: every6, Kind: desired.RouteInternet})}
	var all []desired.ACLRule
	for _, p := range []netip.Prefix{every, every6} {
		all = append(all, desired.ACLRule{Allow: true, Protocol: vpc.AllProtocols, CIDR: p})
	}
	d.ACLs["acl-1"] = desired.ACL{In: all, Out: all}
	for _, p := range []netip.Prefix{netip.PrefixFrom(n.Public, 32), six} {
		d.Uplink[p.String()] = p
	}
	applyAll(t, h, d)
	path := h.links.NamespacePath(string(d.Workloads[id].Instance))
	for _, to := range []netip.Addr{n.Public, n.IPv6[0]} {
		if err := echo(to); err != nil {
			t.Errorf("from the host to %s: %v", to, err)
		}
	}
	for _, to := range []netip.Addr{link.UplinkAddr, link.UplinkAddr6} {
		l, err := net.Listen("tcp", netip.AddrPortFrom(to, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		from := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				from <- err.Error()
				return
			}
			io.WriteString(c, "hello\n")
			c.Close()
			from <- netip.MustParseAddrPort(c.RemoteAddr().String()).Addr().String()
		}()
		port := netip.MustParseAddrPort(l.Addr().String()).Port()
		cmd := exec.Command("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d && read -t 5 x <&3 && echo $x", to, port))
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := link.StartIn(path, cmd); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		err = cmd.Wait()
		timer.Stop()
		l.Close()
		want := n.Public.String()
		if to.Is6() {
			want = n.IPv6[0].String()
		}
		if got := <-from; err != nil || out.String() != "hello\n" || got != want {
			t.Errorf("from the workload to %s: %v, %q; the host saw %s, want %s", to, err, out.String(), got, want)
		}
	}
	if t.Failed() {
		drops, err := h.dp.Drops()
		t.Logf("drops: %+v, %v", drops, err)
	}
}

// echo sends an ICMP echo request from this namespace and waits for the reply.
func echo(to netip.Addr) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.Dial(network, to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	m := []byte{request, 0, 0, 0, 0x50, 0x53, 0, 1}
	sum := ^(uint16(request)<<8 + 0x5053 + 1) // the kernel writes IPv6's
	m[2], m[3] = byte(sum>>8), byte(sum)
	if _, err := c.Write(m); err != nil {
		return err
	}
	const tries = 5 // on a machine with much to do an echo may be lost
	c.SetReadDeadline(time.Now().Add(time.Second))
	for b, n := make([]byte, 256), 1; ; {
		k, _, err := c.(*net.IPConn).ReadFrom(b) // without IPv4's header
		if n < tries && errors.Is(err, os.ErrDeadlineExceeded) {
			n++
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Write(m)
			k = 0
		}
		if err != nil {
			return err
		}
		if k >= 8 && b[0] == reply && b[4] == 0x50 && b[5] == 0x53 {
			return nil
		}
	}
}

func TestHowManyWorkloadsAreDifferent(t *testing.T) {
	two, five := manyWorkloads(2).Workloads, manyWorkloads(5).Workloads
	if n := different(nil, five); n != 5 {
		t.Errorf("the first state has %d", n)
	}
	if a, b := different(two, five), different(five, two); a != 3 || b != 3 {
		t.Errorf("%d come and %d go", a, b)
	}
	if n := different(five, manyWorkloads(5).Workloads); n != 0 {
		t.Errorf("the same state has %d", n)
	}
}

// BenchmarkStartWorkloads starts 1,000 instances on a host that has none, finds
// them as they should be, and ends them: all that the agent does for it. The
// CPU's time counts this process only, in the kernel too.
func BenchmarkStartWorkloads(b *testing.B) {
	h := testHost(b)
	took, cpu := map[string]time.Duration{}, map[string]time.Duration{}
	apply := func(name string, d desired.Host) {
		b.Helper()
		start, used := time.Now(), cpuTime(b)
		applyAll(b, h, d)
		took[name] += time.Since(start)
		cpu[name] += cpuTime(b) - used
	}
	many, none := manyWorkloads(1000), desired.Empty()
	for b.Loop() {
		apply("start", many)
		apply("again", many)
		start := time.Now()
		apply("end", none)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			items, err := h.links.Inventory()
			if err != nil {
				b.Fatal(err)
			}
			if len(items) == 4 { // the service's, the bpffs and the run directory
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d items are left", len(items))
			}
		}
		took["gone"] += time.Since(start)
	}
	for name, t := range took {
		b.ReportMetric(float64(t.Milliseconds())/float64(b.N), name+"-ms")
	}
	for name, t := range cpu {
		b.ReportMetric(float64(t.Milliseconds())/float64(b.N), name+"-cpu-ms")
	}
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// What cannot be the uplink is refused when Postern starts, with what to do.
func TestAnUplinkThatIsNotThereIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, part := range map[string]string{
		"": "", "none": "", "host": "", "/proc/self/ns/net": "",
		file + "-not": "ip netns add", file: "no network namespace", filepath.Dir(file): "no network namespace", "outside": "absolute path",
	} {
		if err := checkUplink(setting); (err == nil) != (part == "") || err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("uplink %q: %v", setting, err)
		}
	}
	if err := runSupervisor(t.Context(), Config{Uplink: file + "-not"}, paths{}, listeners{}, 0, 0, nil); err == nil || !strings.Contains(err.Error(), "ip netns add") {
		t.Errorf("a server: %v", err)
	}
	join := joinInput{server: "https://192.0.2.1:8421"}
	if err := runJoined(t.Context(), t.TempDir(), agentInput{uplink: file + "-not"}, join, io.Discard); err == nil || !strings.Contains(err.Error(), "ip netns add") {
		t.Errorf("a host that joins: %v", err)
	}
}
