// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Two hosts are two namespaces and a cable, a client on the one and a server on
// the other. Plain VXLAN of the kernel, a bridge and a device with one fixed
// other end on each, is the limit; Postern's are made as growth's are.

// The paths between two hosts.
const (
	plainVXLAN      = "vxlan"
	plainVXLANAgain = "vxlan again"
	acrossWorkloads = "workloads"
	acrossEndpoint  = "endpoint"
)

var hostMetrics = []string{"echo", "connect", "stream"}

var hostAims = func() (out []aim) {
	for _, path := range []string{acrossWorkloads, acrossEndpoint} {
		for _, figure := range []string{"requests", "1 stream"} {
			out = append(out, aim{figure: figure, path: path, base: plainVXLAN, limit: 0.95})
		}
	}
	return out
}()

// crossing is a client, its host, the server's host and the server.
type crossing struct {
	lab                    *lab
	name                   string
	client, here, there, s string // namespaces
}

// newCrossing makes the four and the cables between them. Workloads have the MTU
// of all other paths, and the cable room for what VXLAN adds.
func (l *lab) newCrossing(name string) (*crossing, error) {
	c := &crossing{lab: l, name: strings.ReplaceAll(name, " ", "-")}
	for end, ns := range map[string]*string{"c": &c.client, "h": &c.here, "i": &c.there, "s": &c.s} {
		var err error
		if *ns, err = l.namespace(c.name + "-" + end); err != nil {
			return nil, err
		}
	}
	C, H, I, S := c.names()
	return c, l.ip(fmt.Sprintf(`
link add eth0 netns %[1]s address 02:00:00:00:00:01 mtu %[5]d type veth peer name client netns %[2]s mtu %[5]d
link add eth0 netns %[4]s address 02:00:00:00:00:02 mtu %[5]d type veth peer name server netns %[3]s mtu %[5]d
link add cable netns %[2]s mtu %[6]d type veth peer name cable netns %[3]s mtu %[6]d
-n %[1]s addr add 10.0.1.2/24 dev eth0
-n %[4]s addr add 10.0.1.3/24 dev eth0
-n %[2]s addr add 192.0.2.1/24 dev cable
-n %[3]s addr add 192.0.2.2/24 dev cable
-n %[1]s link set eth0 up
-n %[4]s link set eth0 up
-n %[2]s link set client up
-n %[3]s link set server up
-n %[2]s link set cable up
-n %[3]s link set cable up`, C, H, I, S, l.mtu, l.mtu+50))
}

func (c *crossing) names() (client, here, there, server string) {
	return prefix + c.name + "-c", prefix + c.name + "-h", prefix + c.name + "-i", prefix + c.name + "-s"
}

// path ends the making of one: it starts the server.
func (c *crossing) path(name, about string, to netip.AddrPort) (*path, error) {
	p := &path{name: name, about: about, clientNS: c.client, spaces: []string{c.client, c.s}, to: to}
	var err error
	if p.server, err = c.lab.serve(c.s); err != nil {
		return nil, err
	}
	return p, c.lab.reachable(p)
}

func (l *lab) vxlan(name string) (*path, error) {
	c, err := l.newCrossing(name)
	if err != nil {
		return nil, err
	}
	_, H, I, _ := c.names()
	for _, side := range [][3]string{{H, "client", "192.0.2.2"}, {I, "server", "192.0.2.1"}} {
		if err := l.ip(fmt.Sprintf(`
-n %[1]s link add name vx mtu %[4]d type vxlan id 42 remote %[3]s dstport 4789 dev cable noudpcsum
-n %[1]s link add name bridge mtu %[4]d type bridge mcast_snooping 0
-n %[1]s link set %[2]s master bridge
-n %[1]s link set vx master bridge
-n %[1]s link set vx up
-n %[1]s link set bridge up`, side[0], side[1], side[2], l.mtu)); err != nil {
			return nil, err
		}
	}
	return c.path(name, "plain VXLAN of the kernel: a bridge and a device with one other end on each host", netip.AddrPortFrom(growServerAddr, serverPort))
}

// acrossHosts is Postern on both hosts: to a workload of the same VPC or, with
// an endpoint, to a target in another.
func (l *lab) acrossHosts(name, bpffs string) (*path, error) {
	c, err := l.newCrossing(name)
	if err != nil {
		return nil, err
	}
	host := growHost()
	to, about := netip.AddrPortFrom(growEndpointAddr, askPort), "an interface endpoint; its target on the other host"
	if name == acrossWorkloads {
		to, about = netip.AddrPortFrom(growServerAddr, serverPort), "two workloads of one VPC"
		server := host.Interfaces[growServer]
		client := host.Interfaces[growClient]
		server.VNI, server.Subnet = client.VNI, client.Subnet
		host.Interfaces[growServer] = server
	}
	var dps []*datapath.Datapath
	for _, side := range []struct {
		ns, device string
		workload   vpc.InterfaceID
		other      netip.Addr
	}{
		{c.here, "client", growClient, netip.MustParseAddr("192.0.2.2")},
		{c.there, "server", growServer, netip.MustParseAddr("192.0.2.1")},
	} {
		view := host
		view.Hosts = map[vpc.HostID]netip.Addr{"other": side.other}
		view.Interfaces = map[vpc.InterfaceID]desired.Interface{}
		for id, i := range host.Interfaces {
			if i.Kind == desired.KindWorkload && id != side.workload {
				i.Host = "other"
			}
			view.Interfaces[id] = i
		}
		if err := l.ip(fmt.Sprintf(`
-n %[1]s link add name vx mtu %[2]d type vxlan external dstport 4789
-n %[1]s link set vx up`, filepath.Base(side.ns), l.mtu)); err != nil {
			return nil, err
		}
		dp, err := datapath.Open(datapath.Config{PinDir: filepath.Join(bpffs, name+"-"+side.device)})
		if err != nil {
			return nil, err
		}
		l.undo(dp.Close)
		dps = append(dps, dp)
		var device, overlay datapath.Device
		if err := l.launch.in(side.ns, nil, func() error {
			for name, d := range map[string]*datapath.Device{side.device: &device, "vx": &overlay} {
				found, err := net.InterfaceByName(name)
				if err != nil {
					return fmt.Errorf("find device %s: %w", name, err)
				}
				*d = datapath.Device{Ifindex: found.Index, MTU: found.MTU}
			}
			return errors.Join(dp.Attach(side.device, device.Ifindex, datapath.Workload), dp.Attach("vx", overlay.Ifindex, datapath.Overlay))
		}); err != nil {
			return nil, err
		}
		if err := dp.Apply(view, map[vpc.InterfaceID]datapath.Device{side.workload: device}, datapath.Doors{Overlay: overlay}); err != nil {
			return nil, err
		}
	}
	p, err := c.path(name, about, to)
	if err != nil {
		return nil, err
	}
	p.before = func() error {
		for _, dp := range dps {
			if _, err := dp.Collect(); err != nil {
				return err
			}
		}
		return nil
	}
	return p, nil
}

// hostsTable measures paths between two hosts.
func (l *lab) hostsTable(p parameters, res *result, progress func(string, ...any)) error {
	bpffs, err := l.bpffs()
	if err != nil {
		return err
	}
	var paths []*path
	for _, name := range []string{plainVXLAN, plainVXLANAgain, acrossWorkloads, acrossEndpoint} {
		make := l.vxlan
		if name == acrossWorkloads || name == acrossEndpoint {
			make = func(name string) (*path, error) { return l.acrossHosts(name, bpffs) }
		}
		x, err := make(name)
		if err != nil {
			return fmt.Errorf("set up two hosts, %s: %w", name, err)
		}
		progress("ready: two hosts, %s, %s", name, x.about)
		res.Paths["two hosts: "+name] = x.about
		paths = append(paths, x)
	}
	t := &table{Name: "Two hosts", CPUs: fmt.Sprintf("client, server and what is between them on CPU %d", p.CPU)}
	for _, x := range paths[1:] {
		t.pairs = append(t.pairs, [2]string{x.name, plainVXLAN})
	}
	p.Metrics = hostMetrics
	if err := l.series(p, t, rand.New(rand.NewPCG(p.Seed, 2)), paths, []int{p.CPU}, progress); err != nil {
		return err
	}
	res.Tables = append(res.Tables, t)
	res.Aims = append(res.Aims, judge(t, hostAims, p.Rounds)...)
	return nil
}
