// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"os"
	"path/filepath"
	"structs"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"postern.dev/postern/bpf"
)

// What the maps of layout 3 hold, where it differs from today's.
type (
	interface3 struct {
		_                                           structs.HostLayout
		Eni, Subnet, SgIn, SgOut, Endpoint, NodeNum uint64
		Ifindex                                     uint32
		Flags                                       uint16
		Kind, Pad                                   uint8
		Mac, Gateway                                [6]uint8
		Pad2                                        [4]uint8
	}
	port3 struct {
		_          structs.HostLayout
		Self       interface3
		Addr       bpf.DatapathAddr
		Vni, Flags uint32
	}
	subnet3 struct {
		_                    structs.HostLayout
		Table, AclIn, AclOut uint64
	}
	route3 struct {
		_         structs.HostLayout
		Endpoint  uint64
		Addr      bpf.DatapathAddr
		Kind, Pad uint32
	}
	endpoint3 struct {
		_               structs.HostLayout
		Node            uint64
		Vni, Link       uint32
		Active, Gateway uint8
		Pad             [6]uint8
	}
	listener3 struct {
		_                structs.HostLayout
		Table            uint64
		Size, Flags, Vni uint32
		Node, Target     bpf.DatapathAddr
		TargetPort, Pad  uint16
	}
)

func toInterface3(i bpf.DatapathInterface) interface3 {
	return interface3{
		Eni: i.Eni, Subnet: i.Subnet, SgIn: i.SgIn, SgOut: i.SgOut, Endpoint: i.Endpoint, NodeNum: i.Node,
		Ifindex: i.Ifindex, Flags: i.Flags & 3, Kind: i.Kind, Mac: i.Mac, Gateway: i.Gateway,
	}
}

// layout3 is an installation of the version before: its programs and maps, which
// hold the world's host.
type layout3 struct {
	*ebpf.Collection
}

// newWorld3 makes a world that layout 3 carries. Its dp is nil: nothing of this
// version has been opened.
func newWorld3(t *testing.T, options ...func(*world)) (*world, *layout3) {
	t.Helper()
	w := newWorld(t, options...)
	if err := errors.Join(w.dp.Close(), Remove(w.cfg.PinDir)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{oldMapDir(w.cfg.PinDir), linkDir(w.cfg.PinDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	spec, err := ebpf.LoadCollectionSpec("testdata/layout3.o")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range spec.Maps {
		if name != "scratches" && name != "collections" && name[0] != '.' {
			m.Pinning = ebpf.PinByName
		}
	}
	spec.Maps["conns"].MaxEntries = w.cfg.MaxConnections
	if w.cfg.ports != [2]uint32{} {
		if err := errors.Join(spec.Variables["port_first"].Set(w.cfg.ports[0]), spec.Variables["port_last"].Set(w.cfg.ports[1])); err != nil {
			t.Fatal(err)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: oldMapDir(w.cfg.PinDir)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	l := &layout3{Collection: c}
	l.fill(t, w)
	return w, l
}

// fill writes what the agent of that version would have written.
func (l *layout3) fill(t *testing.T, w *world) {
	t.Helper()
	var b builder
	e, err := b.build(w.host, w.devices, w.doors())
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, k, v any) {
		if err := l.Maps[name].Put(k, v); err != nil {
			t.Fatalf("write map %s of layout 3: %v", name, err)
		}
	}
	put("meta", uint32(0), uint64(oldLayout))
	for k, v := range e.ports {
		put("ports", k, port3{Self: toInterface3(v.Self), Addr: v.Addr, Vni: v.Vni, Flags: v.Flags})
	}
	for k, v := range e.interfaces {
		put("interfaces", k, toInterface3(v))
	}
	for k, v := range e.subnets {
		put("subnets", k, subnet3{Table: v.Table, AclIn: v.AclIn[0], AclOut: v.AclOut[0]})
	}
	for k, v := range e.routes {
		put("routes", k, route3{Endpoint: v.Id, Addr: v.Addr, Kind: v.Kind})
	}
	for _, list := range e.rulePeers {
		for k, v := range list {
			put("rule_peers", k, v)
		}
	}
	for _, class := range e.rulePorts {
		for k, v := range class {
			put("rule_ports", k, v&1)
		}
	}
	for k, v := range e.endpoints {
		put("endpoints", k, endpoint3{Node: v.Node, Vni: v.Vni, Link: v.Link, Active: v.Active, Gateway: v.Gateway})
	}
	for k, v := range e.listeners {
		put("listeners", k, listener3{Table: v.Table, Size: v.Size, Flags: v.Flags & 7, Vni: v.Vni, Node: v.Node, Target: v.Target, TargetPort: v.TargetPort})
	}
	for _, slots := range e.maglev {
		for k, v := range slots {
			put("maglev", k, v)
		}
	}
	for k, v := range e.probes {
		put("probes", k, v)
	}
	put("generation", uint32(0), uint64(1))
}

// attach puts the old programs on a place's device, as that version did.
func (l *layout3) attach(t *testing.T, w *world, p place, role Role) {
	t.Helper()
	prog := l.Programs["from_workload"]
	if role == Service {
		prog = l.Programs["from_service"]
	}
	w.inLab(func() {
		k, err := link.AttachTCX(link.TCXOptions{Interface: p.ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if err := k.Pin(filepath.Join(linkDir(w.cfg.PinDir), pinName(role, p.host))); err != nil {
			t.Fatal(err)
		}
	})
}

// entries counts the old connection table.
func (l *layout3) entries(t *testing.T) int {
	t.Helper()
	var k bpf.DatapathConnKey
	var v bpf.DatapathConn3
	n := 0
	it := l.Maps["conns"].Iterate()
	for it.Next(&k, &v) {
		n++
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
