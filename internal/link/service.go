// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"postern.dev/postern/internal/desired"
)

// Sockets are the edge's listening sockets, bound to desired.EdgeAddr inside
// the service namespace; non-blocking and closed on exec, ready to be handed
// to another process in exec.Cmd.ExtraFiles or made into listeners with
// net.FileListener and net.FilePacketConn.
type Sockets struct {
	HTTP      *os.File // TCP, desired.EdgeHTTPPort
	HTTPS     *os.File // TCP, desired.EdgeHTTPSPort
	DNSStream *os.File // TCP, desired.EdgeDNSPort
	// DNSPacket are UDP, desired.EdgeDNSPort, several that share it: each client
	// port's packets come to one of them.
	DNSPacket []*os.File
}

// Close closes those that are open.
func (s *Sockets) Close() error {
	var errs []error
	for _, f := range append([]*os.File{s.HTTP, s.HTTPS, s.DNSStream}, s.DNSPacket...) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// EnsureService makes or repairs the service namespace
// "postern-<tag>-service" with the device svc0 in it, which has
// desired.EdgeAddr on desired.ServicePrefix, the same of IPv6 if the kernel has
// that, and no ARP: a frame sent on it carries its own address as destination,
// and the datapath sees to the rest.
// It returns the host-side device and the namespace's path.
func (l *Links) EnsureService() (Device, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ensureRunDir(); err != nil {
		return Device{}, "", err
	}
	h, links, err := hostLinks()
	if err != nil {
		return Device{}, "", err
	}
	h.Close()
	name := namespaceName(l.cfg.Tag, serviceOwner)
	path := namespacePath(name)
	in := inside{
		owner: serviceOwner, mac: derivedMAC(l.cfg.Tag, "svc0"),
		addr: netip.PrefixFrom(desired.EdgeAddr, desired.ServicePrefix.Bits()),
		ipv6: []netip.Addr{desired.EdgeAddr6}, subnet6: desired.ServicePrefix6,
		own: true, noarp: true, prefix: "svc", mtu: l.cfg.MTU,
	}
	host := hostName(l.cfg.Tag, serviceOwner)
	j := &job{in: in}
	for _, k := range links {
		if k.Attrs().Name == host {
			j.held = k
		}
		a, ok := claimed(k, l.cfg.Tag)
		if ok && (a.owner == serviceOwner || a.owner == "" && k.Attrs().Name == host) {
			j.have = k
		}
	}
	named, err := namespaces(l.cfg.Tag)
	if err != nil {
		return Device{}, "", err
	}
	inode := named[name]
	if inode != "" && isComplete(j.have, l.cfg.Tag, in.digest(inode), l.cfg.MTU) {
		return deviceOf(j.have, in.mac), path, nil
	}
	l.work([]*place{{name: name, path: path, inode: inode, jobs: []*job{j}}})
	if j.err != nil && !errors.Is(j.err, j.unmet) { // without IPv6 the rest is whole
		return Device{}, "", fmt.Errorf("service port: %w", j.err)
	}
	return *j.dev, path, nil
}

// InService calls fn in the service namespace, which EnsureService made, with the
// index of the device in it.
func (l *Links) InService(fn func(ifindex int) error) error {
	ns, err := openNamespace(namespacePath(namespaceName(l.cfg.Tag, serviceOwner)))
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNamespace(ns, func() error {
		dev, err := netlink.LinkByName("svc0")
		if err != nil {
			return fmt.Errorf("find the service namespace's device: %w", err)
		}
		return fn(dev.Attrs().Index)
	})
}

// ListenService opens the edge's sockets in the service namespace, which
// EnsureService made, packets of them for DNS over UDP. While an edge that is
// just ending still holds an address it tries again until ctx is done.
func (l *Links) ListenService(ctx context.Context, packets int) (Sockets, error) {
	ns, err := openNamespace(namespacePath(namespaceName(l.cfg.Tag, serviceOwner)))
	if err != nil {
		return Sockets{}, err
	}
	defer ns.Close()
	s := Sockets{DNSPacket: make([]*os.File, packets)}
	type socket struct {
		name string
		kind int
		port int
		to   **os.File
	}
	// Those that are nobody else's come first: once there are all, the edge before
	// answers no more questions, and none of its sockets shares the packets.
	open := []socket{
		{"http", unix.SOCK_STREAM, desired.EdgeHTTPPort, &s.HTTP},
		{"https", unix.SOCK_STREAM, desired.EdgeHTTPSPort, &s.HTTPS},
		{"dns-stream", unix.SOCK_STREAM, desired.EdgeDNSPort, &s.DNSStream},
	}
	for i := range s.DNSPacket {
		open = append(open, socket{"dns-packet", unix.SOCK_DGRAM, desired.EdgeDNSPort, &s.DNSPacket[i]})
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := inNamespace(ns, func() error {
			for _, o := range open {
				if *o.to != nil {
					continue
				}
				f, err := listen(o.name, o.kind, o.port)
				if err != nil {
					return err
				}
				*o.to = f
			}
			return nil
		})
		if err == nil {
			return s, nil
		}
		if errors.Is(err, unix.EADDRINUSE) {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
		}
		s.Close()
		return Sockets{}, fmt.Errorf("service sockets: %w", err)
	}
}

func listen(name string, kind, port int) (*os.File, error) {
	fail := func(what string, err error) error {
		return fmt.Errorf("%s socket, port %d: %s: %w", name, port, what, err)
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fail("open", err)
	}
	reuse := unix.SO_REUSEADDR
	if kind == unix.SOCK_DGRAM {
		reuse = unix.SO_REUSEPORT
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, reuse, 1); err != nil {
		unix.Close(fd)
		return nil, fail("reuse address", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: desired.EdgeAddr.As4()}); err != nil {
		unix.Close(fd)
		return nil, fail("bind", err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 4096); err != nil {
			unix.Close(fd)
			return nil, fail("listen", err)
		}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// StartIn starts cmd with the network namespace at nsPath. Only the network
// namespace changes; see Command for a process that also resolves names there.
func StartIn(nsPath string, cmd *exec.Cmd) error {
	ns, err := openNamespace(nsPath)
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNamespace(ns, cmd.Start)
}
