// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

func TestResolverFlowsReachTheEdgeWhateverTheRules(t *testing.T) {
	w := newWorld(t)
	w.rules(eniA3, desired.RuleSet{})
	w.host.ACLs["acl-a2"] = desired.ACL{}
	w.apply()
	for i, to := range []netip.Addr{netip.MustParseAddr("10.0.0.2"), desired.LinkLocalResolver} {
		for _, ask := range []packet{udp(eniA3, addrA3, 5000+i, to, 53), tcp(eniA3, addrA3, 5000+i, to, 53, "S")} {
			there := endsOf(t, w.passes(ask, ""))
			if !desired.ClientPrefix.Contains(there.src.Addr()) || there.dst != ap(desired.EdgeAddr, 53) {
				t.Errorf("the edge sees %v", there)
			}
			reply := ask
			reply.from, reply.src, reply.dst, reply.sport, reply.dport, reply.flags = "", desired.EdgeAddr, there.src.Addr(), 53, int(there.src.Port()), "SA"
			if back := endsOf(t, w.passes(reply, eniA3)); back.src != ap(to, 53) || back.dst != ap(addrA3, 5000+i) {
				t.Errorf("the client sees %v", back)
			}
			id, err := w.dp.Identify(there.src, there.dst, ask.proto)
			want := Identity{VNI: vniA, Client: ap(addrA3, 5000+i), Server: ap(to, 53), Interface: vpc.Num(eniA3)}
			if err != nil || id != want {
				t.Errorf("identity %+v, %v, want %+v", id, err, want)
			}
		}
	}
	w.drops(udp(eniA3, addrA3, 5000, desired.LinkLocalResolver, 54), bpf.DropNoListener)
	w.drops(ping(eniA3, addrA3, desired.LinkLocalResolver, 8, 1), bpf.DropProtocol)
	// enableDnsSupport is off in B
	w.drops(udp(eniB1, addrB1, 5000, desired.LinkLocalResolver, 53), bpf.DropNoRoute)
	w.drops(udp(eniB1, addrB1, 5000, netip.MustParseAddr("10.0.0.2"), 53), bpf.DropNoInterface)
}

func TestServiceEndpointsReachTheEdgeAndAreIdentified(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		ask      packet
		endpoint vpc.EndpointID
		link     vpc.VNI
	}{
		{tcp(eniA1, addrA1, 6000, addrS3, 443, "S"), epS3, 0x2002},
		{tcp(eniA1, addrA1, 6000, addrS3, 80, "S"), epS3, 0x2002},
		{tcp(eniA1, addrA1, 6000, bucket, 443, "S"), epGateway, 0x2003},
	} {
		there := endsOf(t, w.passes(c.ask, ""))
		if !desired.ClientPrefix.Contains(there.src.Addr()) || there.dst != ap(desired.EdgeAddr, c.ask.dport) {
			t.Errorf("the edge sees %v", there)
		}
		id, err := w.dp.Identify(there.src, there.dst, vpc.TCP)
		want := Identity{VNI: vniA, Client: ap(addrA1, 6000), Server: ap(c.ask.dst, c.ask.dport), Interface: vpc.Num(eniA1), Endpoint: vpc.Num(c.endpoint), Link: c.link}
		if err != nil || id != want {
			t.Errorf("identity %+v, %v, want %+v", id, err, want)
		}
		reply := tcp("", desired.EdgeAddr, c.ask.dport, there.src.Addr(), int(there.src.Port()), "SA")
		if back := endsOf(t, w.passes(reply, eniA1)); back.src != ap(c.ask.dst, c.ask.dport) || back.dst != ap(addrA1, 6000) {
			t.Errorf("the client sees %v", back)
		}
	}
	if _, err := w.dp.Identify(ap(netip.MustParseAddr("100.65.9.9"), 9), ap(desired.EdgeAddr, 443), vpc.TCP); !errors.Is(err, ErrUnknownConnection) {
		t.Errorf("identity of nobody: %v", err)
	}
	// removing the route breaks the gateway endpoint's flow
	edit(w.host.RouteTables, "rtb-a1", func(r *desired.RouteTable) { r.Routes = r.Routes[:1] })
	w.apply()
	w.drops(tcp(eniA1, addrA1, 6000, bucket, 443, "A"), bpf.DropNoRoute)
}

// An inbound resolver endpoint is the resolver behind groups and ACLs: nothing
// but DNS, and the edge knows by the endpoint whose names are asked for.
func TestInboundResolverEndpointsAreTheResolverBehindTheirGroups(t *testing.T) {
	const ep, eni = vpc.EndpointID("rslvr-in-1"), vpc.InterfaceID("eni-resolver")
	at := netip.MustParseAddr("10.0.0.53")
	w := newWorld(t)
	w.host.Endpoints[ep] = desired.Endpoint{ID: ep, VNI: vniA, Type: vpc.InterfaceEndpoint, Resolver: true}
	w.host.Interfaces[eni] = desired.Interface{ID: eni, VNI: vniA, Subnet: subnetA1, Addr: at, MAC: "02:00:00:00:00:53", Kind: desired.KindEndpoint, Endpoint: ep, RuleSet: "open"}
	w.apply()
	for _, ask := range []packet{
		udp(eniA1, addrA1, 5000, at, 53), tcp(eniA1, addrA1, 5000, at, 53, "S"), udp(eniA3, addrA3, 5001, at, 53), tcp(eniA3, addrA3, 5001, at, 53, "S"),
	} {
		there := endsOf(t, w.passes(ask, ""))
		if !desired.ClientPrefix.Contains(there.src.Addr()) || there.dst != ap(desired.EdgeAddr, 53) {
			t.Errorf("the edge sees %v", there)
		}
		id, err := w.dp.Identify(there.src, there.dst, ask.proto)
		want := Identity{VNI: vniA, Client: ap(ask.src, ask.sport), Server: ap(at, 53), Interface: vpc.Num(ask.from), Endpoint: vpc.Num(ep)}
		if err != nil || id != want {
			t.Errorf("identity %+v, %v, want %+v", id, err, want)
		}
		reply := ask
		reply.from, reply.src, reply.dst, reply.sport, reply.dport, reply.flags = "", desired.EdgeAddr, there.src.Addr(), 53, int(there.src.Port()), "SA"
		if back := endsOf(t, w.passes(reply, ask.from)); back.src != ap(at, 53) || back.dst != ap(ask.src, ask.sport) {
			t.Errorf("the client sees %v", back)
		}
	}
	w.drops(tcp(eniA1, addrA1, 5002, at, 80, "S"), bpf.DropNoListener)
	w.drops(udp(eniA1, addrA1, 5002, at, 5353), bpf.DropNoListener)
	w.drops(ping(eniA1, addrA1, at, 8, 1), bpf.DropProtocol)
	dns := desired.Rule{Protocol: vpc.UDP, From: 53, To: 53, Peers: []netip.Prefix{netip.PrefixFrom(addrA1, 32)}}
	w.rules(eni, desired.RuleSet{Ingress: []desired.Rule{dns}})
	w.apply()
	w.passes(udp(eniA1, addrA1, 5003, at, 53), "")
	w.drops(tcp(eniA1, addrA1, 5003, at, 53, "S"), bpf.DropGroupIngress)
	w.drops(udp(eniA3, addrA3, 5003, at, 53), bpf.DropGroupIngress)
	w.rules(eni, desired.RuleSet{Ingress: []desired.Rule{{Protocol: vpc.AllProtocols, Peers: []netip.Prefix{anywhere}}}})
	w.host.ACLs["acl-a1"] = desired.ACL{}
	w.apply()
	w.passes(udp(eniA1, addrA1, 5004, at, 53), "") // no ACL within a subnet
	w.drops(udp(eniA3, addrA3, 5004, at, 53), bpf.DropACLIn)
	delete(w.host.Endpoints, ep)
	w.apply()
	w.drops(udp(eniA1, addrA1, 5005, at, 53), bpf.DropEndpointInactive)
}

func TestGatewayEndpointNeedsACLsBothWays(t *testing.T) {
	w := newWorld(t)
	there := endsOf(t, w.passes(tcp(eniA1, addrA1, 6000, bucket, 443, "S"), "")).src
	reply := tcp("", desired.EdgeAddr, 443, there.Addr(), int(there.Port()), "SA")
	edit(w.host.ACLs, "acl-a1", func(a *desired.ACL) {
		a.In = []desired.ACLRule{{Allow: true, Protocol: vpc.TCP, CIDR: anywhere, From: 32768, To: 60999}}
	})
	w.apply()
	w.drops(reply, bpf.DropACLIn)
	edit(w.host.ACLs, "acl-a1", func(a *desired.ACL) { a.In[0].From = 1024; a.Out = nil })
	w.apply()
	w.passes(reply, eniA1)
	w.drops(tcp(eniA1, addrA1, 6000, bucket, 443, "A"), bpf.DropACLOut)
}

func TestProbeReachesItsTargetAsTheNode(t *testing.T) {
	w := newWorld(t)
	via := netip.MustParseAddr("100.80.0.7")
	there := endsOf(t, w.passes(tcp("", desired.EdgeAddr, 7000, via, 8080, "S"), eniB1))
	if there.src.Addr() != addrNode || there.dst != ap(addrB1, 8080) {
		t.Errorf("target sees %v", there)
	}
	back := endsOf(t, w.passes(tcp(eniB1, addrB1, 8080, addrNode, int(there.src.Port()), "SA"), ""))
	if back.src != ap(via, 8080) || back.dst != ap(desired.EdgeAddr, 7000) {
		t.Errorf("prober sees %v", back)
	}
	w.drops(tcp("", desired.EdgeAddr, 7000, netip.MustParseAddr("100.80.0.8"), 8080, "S"), bpf.DropNoProbe)
	w.drops(tcp("", netip.MustParseAddr("100.64.0.9"), 7000, via, 8080, "S"), bpf.DropSourceAddress)
	// the target's group must let the node in
	w.rules(eniB1, desired.RuleSet{})
	w.apply()
	w.drops(tcp("", desired.EdgeAddr, 7001, via, 8080, "S"), bpf.DropGroupIngress)
}

func TestReopenKeepsConnectionsAndMapsAndAttachments(t *testing.T) {
	w := newWorld(t)
	there := endsOf(t, w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1))
	before := mirrorOf(w.dp)
	w.inLab(func() {
		if err := w.dp.Attach("lab0", lab.devices[0], Workload); err != nil {
			t.Fatal(err)
		}
	})
	old := w.attachedProgram("lab0")
	if err := w.dp.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	if after := mirrorOf(w.dp); after != before {
		t.Errorf("maps read back as %s, were %s", after, before)
	}
	if now := w.attachedProgram("lab0"); now == old || now == 0 {
		t.Errorf("program %d is attached after reopening, %d before", now, old)
	}
	if got := endsOf(t, w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "A"), eniB1)); got != there {
		t.Errorf("connection is %v after reopening, was %v", got, there)
	}
	w.apply() // and the same state again writes nothing
	if after := mirrorOf(w.dp); after != before {
		t.Errorf("maps are %s after applying the same, were %s", after, before)
	}
}

func mirrorOf(d *Datapath) string {
	t := d.tables
	return fmt.Sprint(len(t.ports.have), len(t.interfaces.have), len(t.subnets.have), len(t.routes.have), t.rulePeers.size(),
		t.rulePorts.size(), len(t.endpoints.have), len(t.listeners.have), t.maglev.size(), len(t.probes.have))
}

func TestApplyNothingEmptiesTheMaps(t *testing.T) {
	w := newWorld(t)
	w.host, w.devices, w.service = desired.Host{}, nil, Device{}
	w.apply()
	if _, err := w.dp.Collect(); err != nil { // what nothing refers to goes later
		t.Fatal(err)
	}
	if got, want := mirrorOf(w.dp), "0 0 0 0 0 0 0 4 0 0"; got != want { // the edge's own listeners stay
		t.Errorf("maps hold %s, want %s", got, want)
	}
	w.dp.Close()
	w.open()
	if got, want := mirrorOf(w.dp), "0 0 0 0 0 0 0 4 0 0"; got != want {
		t.Errorf("maps really hold %s, want %s", got, want)
	}
}

func TestAnotherLayoutIsRefusedAndReplacedOnRequest(t *testing.T) {
	w := newWorld(t)
	if err := w.dp.objs.Meta.Put(uint32(0), layout+1); err != nil {
		t.Fatal(err)
	}
	w.dp.Close()
	if dp, err := Open(w.cfg); !errors.Is(err, ErrLayout) {
		t.Fatalf("open gave %v, %v, want ErrLayout", dp, err)
	}
	w.cfg.Replace = true
	w.open()
	if n := len(w.dp.tables.interfaces.have); n != 0 {
		t.Errorf("%d interfaces survived a replacement", n)
	}
	w.apply()
	w.passes(tcp(eniA1, addrA1, 1, addrEP, 80, "S"), eniB1)
}

// linkInfo gives the program and the device of a pinned link.
func linkInfo(pin string) (program uint32, ifindex int, err error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0, 0, err
	}
	if t := info.TCX(); t != nil {
		ifindex = int(t.Ifindex)
	}
	return uint32(info.Program), ifindex, nil
}

func (w *world) inLab(f func()) {
	w.t.Helper()
	restore := enter(w.t, lab.ns)
	defer restore()
	f()
}

func (w *world) attachedProgram(ifname string) (id uint32) {
	w.t.Helper()
	id, _, err := linkInfo(filepath.Join(linkDir(w.cfg.PinDir), pinName(Workload, ifname)))
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestAttachIsIdempotentAndReplacesStalePins(t *testing.T) {
	w := newWorld(t)
	attached := func(want ...string) {
		t.Helper()
		got, err := w.dp.Attached()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("attached %v, %v, want %v", got, err, want)
		}
	}
	pin := filepath.Join(linkDir(w.cfg.PinDir), pinName(Workload, "x.1"))
	w.inLab(func() {
		add := func() int {
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "x.1"}, PeerName: "x.2"}); err != nil {
				t.Fatal(err)
			}
			l, err := netlink.LinkByName("x.1")
			if err != nil {
				t.Fatal(err)
			}
			return l.Attrs().Index
		}
		del := func() {
			if l, err := netlink.LinkByName("x.1"); err == nil {
				if err := netlink.LinkDel(l); err != nil {
					t.Error(err)
				}
			}
		}
		defer del()
		first := add()
		for range 2 {
			if err := w.dp.Attach("x.1", first, Workload); err != nil {
				t.Fatal(err)
			}
		}
		attached("x.1")
		del()
		second := add()
		if err := w.dp.Attach("x.1", second, Workload); err != nil {
			t.Fatal(err)
		}
		if _, index, err := linkInfo(pin); err != nil || index != second {
			t.Errorf("pin is of device %d, %v, want %d", index, err, second)
		}
		// the role changes
		if err := w.dp.Attach("x.1", second, Service); err != nil {
			t.Fatal(err)
		}
		attached("x.1")
		if _, err := os.Stat(pin); !os.IsNotExist(err) {
			t.Errorf("pin of the old role: %v", err)
		}
		for range 2 {
			if err := w.dp.Detach("x.1"); err != nil {
				t.Fatal(err)
			}
		}
		attached()
		if err := w.dp.Attach("x.1", second, "other"); err == nil {
			t.Error("unknown role was accepted")
		}
	})
}

// The edge's view: a process without any privilege and an inherited descriptor.
const identifyHelper = "POSTERN_TEST_IDENTIFY"

func identifyMain() int {
	f := strings.Fields(os.Getenv(identifyHelper))
	id, err := OpenIdentifier(3)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	got, err := id.Identify(netip.MustParseAddrPort(f[0]), netip.MustParseAddrPort(f[1]), vpc.TCP)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(got.VNI, got.Client, got.Server, got.Interface, got.Endpoint)
	var k bpf.DatapathConnKey
	var v bpf.DatapathConn
	if err := id.conns.Put(&k, &v); err == nil {
		fmt.Println("the descriptor can be written")
		return 1
	}
	return 0
}

func TestIdentifyWithoutPrivileges(t *testing.T) {
	w := newWorld(t)
	there := endsOf(t, w.passes(tcp(eniA1, addrA1, 6000, addrS3, 443, "S"), ""))
	f, err := w.dp.ConnsFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// the test binary is in a directory of root's: hand it over by descriptor
	bin, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer bin.Close()
	cmd := exec.Command("/proc/self/fd/4")
	cmd.Env = []string{identifyHelper + "=" + there.src.String() + " " + there.dst.String()}
	cmd.ExtraFiles = []*os.File{f, bin}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintln(vniA, ap(addrA1, 6000), ap(addrS3, 443), vpc.Num(eniA1), vpc.Num(epS3))
	if err != nil || string(out) != want {
		t.Errorf("the unprivileged process said %q, %v, want %q", out, err, want)
	}
}
