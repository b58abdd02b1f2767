// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// place is a namespace with one veth into the lab.
type place struct {
	ns      netns.NsHandle
	host    string // device in the lab
	ifindex int
	mac     net.HardwareAddr
}

// newPlace makes a namespace whose device has addr, with everything else
// behind router.
func newPlace(t *testing.T, name string, addr netip.Prefix, router netip.Addr) place {
	t.Helper()
	return newPlaceOn(t, lab.ns, name, addr, router)
}

// newPlaceOn is newPlace on another host than the lab.
func newPlaceOn(t *testing.T, host netns.NsHandle, name string, addr netip.Prefix, router netip.Addr) place {
	t.Helper()
	restore := enter(t, host)
	p := place{host: "t" + name}
	var err error
	if p.ns, err = netns.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.ns.Close() })
	if err := netns.Set(host); err != nil {
		t.Fatal(err)
	}
	defer restore()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: p.host, MTU: 8500}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns), PeerMTU: 8500}
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName(p.host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		restore := enter(t, host)
		defer restore()
		if err := netlink.LinkDel(l); err != nil {
			t.Error(err)
		}
	})
	p.ifindex = l.Attrs().Index
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	in, eth := p.inside(t)
	p.mac = eth.Attrs().HardwareAddr
	if err := in.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := in.LinkSetUp(eth); err != nil {
		t.Fatal(err)
	}
	if err := in.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: router.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	return p
}

// noChecksumOffload makes eth0 of a place send whole checksums and, with them,
// packets of real size: ethtool -K eth0 tx off.
func (p place) noChecksumOffload(t *testing.T) {
	t.Helper()
	defer enter(t, p.ns)()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	set := func(cmd, value uint32) error {
		v := struct{ cmd, data uint32 }{cmd, value}
		var req struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(req.name[:], "eth0")
		req.data = unsafe.Pointer(&v)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
			return errno
		}
		runtime.KeepAlive(&v)
		return nil
	}
	if err := set(unix.ETHTOOL_STXCSUM, 0); err != nil {
		t.Fatalf("switch transmit checksums off: %v", err)
	}
}

// listen listens for TCP in a place until the test ends.
func (p place) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	restore := enter(t, p.ns)
	l, err := net.Listen("tcp", addr)
	restore()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// inside gives a handle into a place, and its device there.
func (p place) inside(t *testing.T) (*netlink.Handle, netlink.Link) {
	t.Helper()
	in, err := netlink.NewHandleAt(p.ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	eth, err := in.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return in, eth
}

// serve accepts one connection at addr, sends size bytes of seed and reports
// the hash of what it received.
func (p place) serve(t *testing.T, addr string, seed, size int, peer chan<- netip.AddrPort, got chan<- string) {
	t.Helper()
	l := p.listen(t, addr)
	go func() {
		c, err := l.Accept()
		l.Close()
		if err != nil {
			peer <- netip.AddrPort{}
			got <- err.Error()
			return
		}
		peer <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
		got <- exchange(c, seed, size)
	}()
}

// exchange sends size bytes of seed while it receives until the end, and
// returns the hash of those. With a size below 0 it sends not even the end.
func exchange(c net.Conn, seed, size int) string {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan error, 1)
	go func() {
		if size < 0 {
			sent <- nil
			return
		}
		_, err := io.Copy(c, stream(seed, size))
		if err == nil {
			err = c.(interface{ CloseWrite() error }).CloseWrite()
		}
		sent <- err
	}()
	h := sha256.New()
	if n, err := io.Copy(h, c); err != nil {
		return fmt.Sprintf("after %d bytes: %v", n, err)
	}
	if err := <-sent; err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func stream(seed, size int) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), int64(size))
}

func hashOf(seed, size int) string {
	h := sha256.New()
	if _, err := io.Copy(h, stream(seed, size)); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// checksumErrors is how many TCP segments a namespace refused for their checksum.
func (p place) checksumErrors(t *testing.T) string {
	t.Helper()
	return snmp(t, p.ns, "Tcp:", "InCsumErrors")
}

// snmp is a counter of a namespace.
func snmp(t *testing.T, ns netns.NsHandle, protocol, counter string) string {
	t.Helper()
	defer enter(t, ns)()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, protocol) {
			lines = append(lines, strings.Fields(l))
		}
	}
	i := -1
	if len(lines) == 2 {
		i = slices.Index(lines[0], counter)
	}
	if i < 0 {
		t.Fatalf("no %s in %s", counter, b)
	}
	return lines[1][i]
}

func TestRealTCPThroughAnEndpoint(t *testing.T) {
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%v", offload), func(t *testing.T) {
			w := newWorld(t)
			client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), netip.MustParseAddr("10.0.0.1"))
			server := newPlace(t, "server", netip.PrefixFrom(addrB1, 24), netip.MustParseAddr("10.0.0.1"))
			if !offload {
				client.noChecksumOffload(t)
				server.noChecksumOffload(t)
			}
			w.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
			w.devices[eniB1] = Device{Ifindex: server.ifindex, MAC: server.mac}
			w.apply()
			w.inLab(func() {
				for _, p := range []place{client, server} {
					if err := w.dp.Attach(p.host, p.ifindex, Workload); err != nil {
						t.Fatal(err)
					}
				}
			})
			const up, down = 16 << 20, 9<<20 + 7
			peer, got := make(chan netip.AddrPort, 1), make(chan string, 1)
			server.serve(t, "10.0.0.5:8080", 1, down, peer, got)
			restore := enter(t, client.ns)
			c, err := net.DialTimeout("tcp4", "10.0.0.100:80", 10*time.Second)
			restore()
			if err != nil {
				ds, _ := w.dp.Drops()
				t.Fatalf("%v; drops %+v", err, ds)
			}
			local := c.LocalAddr().(*net.TCPAddr).AddrPort()
			if h := exchange(c, 2, up); h != hashOf(1, down) {
				t.Errorf("the client received %s", h)
			}
			if h := <-got; h != hashOf(2, up) {
				t.Errorf("the server received %s", h)
			}
			if p := <-peer; p.Addr() != addrNode {
				t.Errorf("the server saw %v", p)
			}
			for _, p := range []place{client, server} {
				if n := p.checksumErrors(t); n != "0" {
					t.Errorf("%s segments had wrong checksums", n)
				}
			}
			found := false
			for c, err := range w.dp.Connections() {
				if err != nil {
					t.Fatal(err)
				}
				if c.Kind == "consumer" && c.Initiator == local && c.Responder == ap(addrEP, 80) {
					found = c.Finished && c.Bytes[0] >= up && c.Bytes[1] >= down && c.Endpoint == vpc.Num(epCustomer)
				}
			}
			if !found {
				t.Error("the connection is not in the table with its bytes")
			}
			// a port nobody listens on at the target is refused by the target
			restore = enter(t, client.ns)
			_, err = net.DialTimeout("tcp4", "10.0.0.100:80", 5*time.Second)
			restore()
			if err == nil {
				t.Error("connected though the listener is closed")
			}
			// an endpoint that goes resets what is open
			edit(w.host.Balancers, node, func(b *desired.Balancer) { b.Listeners[0].Targets[0].Port = 8081 })
			w.apply()
			server.serve(t, "10.0.0.5:8081", 1, -1, peer, got)
			restore = enter(t, client.ns)
			c, err = net.DialTimeout("tcp4", "10.0.0.100:80", 10*time.Second)
			restore()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			<-peer
			delete(w.host.Endpoints, epCustomer)
			w.apply()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Write([]byte("after")); err != nil {
				t.Fatal(err)
			}
			if _, err = c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("after the endpoint went: %v", err)
			}
		})
	}
}

func TestRealDNSPacketsReachTheServiceNamespace(t *testing.T) {
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%v", offload), func(t *testing.T) {
			w := newWorld(t)
			client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), netip.MustParseAddr("10.0.0.1"))
			service := newPlace(t, "service", netip.PrefixFrom(desired.EdgeAddr, 10), netip.MustParseAddr("100.64.0.2"))
			if !offload {
				client.noChecksumOffload(t)
				service.noChecksumOffload(t)
			}
			w.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
			w.service = Device{Ifindex: service.ifindex, MAC: service.mac}
			w.apply()
			w.inLab(func() {
				if err := errors.Join(w.dp.Attach(client.host, client.ifindex, Workload), w.dp.Attach(service.host, service.ifindex, Service)); err != nil {
					t.Fatal(err)
				}
			})
			restore := enter(t, service.ns)
			edge, err := net.ListenPacket("udp4", "100.64.0.1:53")
			restore()
			if err != nil {
				t.Fatal(err)
			}
			defer edge.Close()
			restore = enter(t, client.ns)
			c, err := net.Dial("udp4", "169.254.169.253:53")
			restore()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			deadline := time.Now().Add(10 * time.Second)
			c.SetDeadline(deadline)
			edge.SetDeadline(deadline)
			for _, question := range []string{"one", "another"} {
				if _, err := c.Write([]byte(question)); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 100)
				n, from, err := edge.ReadFrom(buf)
				if err != nil || string(buf[:n]) != question {
					t.Fatalf("the edge read %q, %v", buf[:n], err)
				}
				id, err := w.dp.Identify(from.(*net.UDPAddr).AddrPort(), edge.LocalAddr().(*net.UDPAddr).AddrPort(), vpc.UDP)
				if err != nil || id.Client != c.LocalAddr().(*net.UDPAddr).AddrPort() || id.VNI != vniA || id.Interface != vpc.Num(eniA1) {
					t.Errorf("identity %+v, %v", id, err)
				}
				if _, err := edge.WriteTo([]byte("answer to "+question), from); err != nil {
					t.Fatal(err)
				}
				if n, err = c.Read(buf); err != nil || string(buf[:n]) != "answer to "+question {
					t.Fatalf("the client read %q, %v", buf[:n], err)
				}
			}
		})
	}
}

func TestRestartsUnderTrafficLoseNothing(t *testing.T) {
	w := newWorld(t)
	client := newPlace(t, "client", netip.PrefixFrom(addrA1, 24), netip.MustParseAddr("10.0.0.1"))
	server := newPlace(t, "server", netip.PrefixFrom(addrB1, 24), netip.MustParseAddr("10.0.0.1"))
	w.devices[eniA1] = Device{Ifindex: client.ifindex, MAC: client.mac}
	w.devices[eniB1] = Device{Ifindex: server.ifindex, MAC: server.mac}
	w.apply()
	attach := func() {
		w.inLab(func() {
			if err := errors.Join(w.dp.Attach(client.host, client.ifindex, Workload), w.dp.Attach(server.host, server.ifindex, Workload)); err != nil {
				t.Error(err)
			}
		})
	}
	attach()
	peer, got := make(chan netip.AddrPort, 1), make(chan string, 1)
	server.serve(t, "10.0.0.5:8080", 1, 0, peer, got)
	restore := enter(t, client.ns)
	c, err := net.DialTimeout("tcp4", "10.0.0.100:80", 10*time.Second)
	restore()
	if err != nil {
		t.Fatal(err)
	}
	// one client writes until the restarts are over
	const block = 1 << 16
	stop, sent := make(chan struct{}), make(chan error, 1)
	h := sha256.New()
	go func() {
		defer c.Close()
		src := stream(3, 1<<40)
		for {
			select {
			case <-stop:
				sent <- nil
				return
			default:
			}
			if _, err := io.CopyN(io.MultiWriter(c, h), src, block); err != nil {
				sent <- err
				return
			}
		}
	}()
	for range 4 {
		if err := w.dp.Close(); err != nil {
			t.Error(err)
		}
		w.open()
		w.apply()
		attach()
	}
	close(stop)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if sum := <-got; sum != fmt.Sprintf("%x", h.Sum(nil)) {
		t.Errorf("the server received %s", sum)
	}
	ds, err := w.dp.Drops()
	for _, d := range ds {
		if d.Reason.Code != bpf.DropND && d.Reason.Code != bpf.DropMulticast { // the namespaces' own chatter
			t.Errorf("while the programs were replaced: %+v", d)
		}
	}
	if err != nil {
		t.Error(err)
	}
}
