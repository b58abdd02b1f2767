// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"postern.dev/postern/bpf"
)

// migration is the way from pinned maps of layout 3 to those of this program,
// without losing a packet:
//
//  1. Open makes this layout's maps beside the old ones and puts a dispatcher on
//     every device, a program that jumps to the old or the new programs as one
//     pinned value says. So far that is the old ones.
//  2. The first Apply fills the new maps and then turns that value: all devices
//     change over at one moment, so a flow's two directions never run different
//     programs.
//  3. The new programs begin with an empty connection table and move each flow
//     over from the old one when its next packet comes (bpf/migrate.h).
//  4. Apply puts the new programs on the devices themselves, moves the flows that
//     are silent and removes the old maps and the dispatcher.
//
// It may end at any point and be taken up by the next Open, or, before step 2, by
// the old program.
type migration struct {
	conns       *ebpf.Map // the old connection table
	programs    *ebpf.Map // the roles' old programs, then their new ones
	which       *ebpf.Map // 0: the old programs carry packets, 1: the new ones
	dispatchers map[Role]*ebpf.Program
	done        chan struct{}
}

// oldLayout is the layout that can be migrated from. Its maps are in PinDir/maps.
const oldLayout = 3

func oldMapDir(pin string) string { return filepath.Join(pin, "maps") }
func switchDir(pin string) string { return filepath.Join(pin, "switch") }

// inherited are the maps that have kept shape and meaning: the same map is pinned
// once more, so that nothing is counted twice or missed.
var inherited = []string{"drops", "counters"}

// findMigration looks for maps of the old layout under pin and makes what will
// stand beside them ready to be opened. It gives nil if there are none.
func findMigration(pin string, replace bool) (*migration, error) {
	if err := findOthers(pin, replace); err != nil {
		return nil, err
	}
	meta, err := ebpf.LoadPinnedMap(filepath.Join(oldMapDir(pin), "meta"), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(os.RemoveAll(oldMapDir(pin)), os.RemoveAll(switchDir(pin)))
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned map meta: %w", err)
	}
	defer meta.Close()
	var have uint64
	if err := meta.Lookup(uint32(0), &have); err != nil {
		return nil, fmt.Errorf("read pinned map meta: %w", err)
	}
	if have != oldLayout {
		if replace {
			return nil, os.RemoveAll(oldMapDir(pin))
		}
		return nil, fmt.Errorf("maps in %s: layout %d: %w; only %d can be carried over, replace them and lose all connections",
			oldMapDir(pin), have, ErrLayout, oldLayout)
	}
	m := &migration{}
	if m.conns, err = ebpf.LoadPinnedMap(filepath.Join(oldMapDir(pin), "conns"), nil); err != nil {
		return nil, fmt.Errorf("open the old map conns: %w", err)
	}
	if err := m.prepare(pin); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// findOthers refuses maps of later layouts, or removes them.
func findOthers(pin string, replace bool) error {
	others, err := filepath.Glob(filepath.Join(pin, "maps-*"))
	if err != nil {
		return fmt.Errorf("list pinned maps: %w", err)
	}
	for _, dir := range others {
		if dir == mapDir(pin) {
			continue
		}
		if !replace {
			return fmt.Errorf("there is %s: %w; start the version that made it, or replace it and lose all connections", dir, ErrLayout)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove pinned maps: %w", err)
		}
	}
	return nil
}

func (m *migration) prepare(pin string) error {
	for _, dir := range []string{switchDir(pin), mapDir(pin)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make pin directory: %w", err)
		}
	}
	options := ebpf.MapOptions{PinPath: switchDir(pin)}
	var err error
	m.which, err = ebpf.NewMapWithOptions(&ebpf.MapSpec{
		Name: "which", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: ebpf.PinByName,
	}, options)
	if err != nil {
		return fmt.Errorf("make map which: %w", err)
	}
	m.programs, err = ebpf.NewMapWithOptions(&ebpf.MapSpec{
		Name: "programs", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: uint32(2 * len(roles)), Pinning: ebpf.PinByName,
	}, options)
	if err != nil {
		return fmt.Errorf("make map programs: %w", err)
	}
	var which uint32
	if err := m.which.Lookup(uint32(0), &which); err != nil {
		return fmt.Errorf("read map which: %w", err)
	}
	if which == 0 {
		// Whatever is there has never carried a packet: a migration that was
		// given up, perhaps long ago.
		if err := removeMaps(pin); err != nil {
			return err
		}
	}
	for _, name := range inherited {
		if err := pinAgain(filepath.Join(oldMapDir(pin), name), filepath.Join(mapDir(pin), name)); err != nil {
			return err
		}
	}
	return nil
}

// pinAgain gives the map pinned at from a second pin at to, unless there is one.
func pinAgain(from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	m, err := ebpf.LoadPinnedMap(from, nil)
	if err != nil {
		return fmt.Errorf("open pinned map %s: %w", from, err)
	}
	defer m.Close()
	same, err := m.Clone() // a pin of the clone does not take away the first
	if err != nil {
		return fmt.Errorf("pin %s again: %w", from, err)
	}
	defer same.Close()
	if err := same.Pin(to); err != nil {
		return fmt.Errorf("pin %s again: %w", from, err)
	}
	return nil
}

// configure makes the programs look for flows in the old table.
func (m *migration) configure(spec *ebpf.CollectionSpec) error {
	spec.Maps["conns"].MaxEntries = m.conns.MaxEntries()
	spec.Maps["conns_3"].MaxEntries = m.conns.MaxEntries()
	if err := spec.Variables["migrating"].Set(uint32(1)); err != nil {
		return fmt.Errorf("set variable migrating: %w", err)
	}
	return nil
}

// dispatcherName is how a dispatcher is told from a program that it jumps to.
const dispatcherName = "postern_switch"

// dispatch makes the dispatchers, which jump to what the devices have now or to
// the programs of objs.
func (m *migration) dispatch(pin string, objs *bpf.DatapathPrograms) error {
	pins, err := os.ReadDir(linkDir(pin))
	if err != nil {
		return fmt.Errorf("list attachments: %w", err)
	}
	old := map[Role]*ebpf.Program{}
	defer func() {
		for _, p := range old {
			p.Close()
		}
	}()
	for _, p := range pins {
		role, _, ok := pinRole(p.Name())
		if !ok || old[role] != nil {
			continue
		}
		prog, err := programAt(filepath.Join(linkDir(pin), p.Name()))
		if err != nil {
			return err
		}
		if prog != nil {
			old[role] = prog
		}
	}
	m.dispatchers = map[Role]*ebpf.Program{}
	for i, r := range roles {
		prog, err := rolesProgram(objs, r)
		if err != nil {
			return err
		}
		slots := map[uint32]*ebpf.Program{uint32(len(roles) + i): prog}
		if old[r] != nil {
			slots[uint32(i)] = old[r]
		}
		for slot, prog := range slots {
			if err := m.programs.Put(slot, prog); err != nil {
				return fmt.Errorf("write map programs: %w", err)
			}
		}
		const shot = 2 // TC_ACT_SHOT: there is no such program
		m.dispatchers[r], err = ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: dispatcherName, Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXIngress, License: "Dual BSD/GPL",
			Instructions: asm.Instructions{
				asm.Mov.Reg(asm.R6, asm.R1),
				asm.LoadMapValue(asm.R1, m.which.FD(), 0),
				asm.LoadMem(asm.R3, asm.R1, 0, asm.Word),
				asm.Mul.Imm(asm.R3, int32(len(roles))),
				asm.Add.Imm(asm.R3, int32(i)),
				asm.Mov.Reg(asm.R1, asm.R6),
				asm.LoadMapPtr(asm.R2, m.programs.FD()),
				asm.FnTailCall.Call(),
				asm.Mov.Imm(asm.R0, shot),
				asm.Return(),
			},
		})
		if err != nil {
			return fmt.Errorf("load dispatcher of role %s: %w", r, err)
		}
	}
	return nil
}

// programAt is the program of a pinned link; nil if it is a dispatcher or gone.
func programAt(pin string) (*ebpf.Program, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return nil, fmt.Errorf("open pin %s: %w", pin, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, fmt.Errorf("read pin %s: %w", pin, err)
	}
	if t := info.TCX(); t == nil || t.Ifindex == 0 { // the device is gone
		return nil, nil
	}
	prog, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, fmt.Errorf("open program %d: %w", info.Program, err)
	}
	what, err := prog.Info()
	if err != nil {
		prog.Close()
		return nil, fmt.Errorf("read program %d: %w", info.Program, err)
	}
	if what.Name == dispatcherName {
		prog.Close()
		return nil, nil
	}
	return prog, nil
}

// migrate turns over to the new programs, whose maps have been filled, and
// finishes the migration. It may be called again after an error.
func (d *Datapath) migrate() (err error) {
	m := d.migration
	if err := m.which.Put(uint32(0), uint32(1)); err != nil {
		return fmt.Errorf("write map which: %w", err)
	}
	d.migration = nil
	defer func() {
		if err != nil {
			d.migration = m
		}
	}()
	err = inOrder(
		d.updateLinks,
		gracePeriod, // an old program may still be entering a flow
		d.moveConns,
		func() error { return d.objs.Migrating.Set(uint32(0)) },
		func() error { return os.RemoveAll(oldMapDir(d.dir)) },
		func() error { return os.RemoveAll(switchDir(d.dir)) },
	)
	if err != nil {
		return fmt.Errorf("migrate from layout %d: %w", oldLayout, err)
	}
	m.close()
	close(m.done)
	return nil
}

// moveConns empties the old connection table into the new one.
func (d *Datapath) moveConns() error {
	var c bpf.DatapathCollected
	// Every round moves all it finds, unless memory for entries is short for a
	// moment; a full table ends it.
	for range 100 {
		if _, err := d.objs.DatapathPrograms.Migrate.Run(&ebpf.RunOptions{}); err != nil {
			return fmt.Errorf("run migrate: %w", err)
		}
		if err := d.objs.Collections.Lookup(uint32(0), &c); err != nil {
			return fmt.Errorf("read map collections: %w", err)
		}
		if c.Expired == 0 {
			return nil
		}
	}
	return fmt.Errorf("%d entries of the old connection table find no room", c.Expired)
}

func (m *migration) close() {
	m.conns.Close()
	m.which.Close()
	m.programs.Close()
	for _, p := range m.dispatchers {
		p.Close()
	}
}

// Carrying is closed when this program's connection table is the one that packets
// use: at once, or after an upgrade with the first Apply that succeeds. Until then
// Identify knows nobody.
func (d *Datapath) Carrying() <-chan struct{} { return d.carrying }
