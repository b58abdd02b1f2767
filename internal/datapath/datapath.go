// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// layout is the number of the maps' shapes and meanings.
const layout = uint64(bpf.DatapathLayoutLAYOUT)

// ErrLayout says that the pinned maps are of a layout or size that this program
// can neither use nor carry over. Open with Config.Replace discards them, and
// with them every connection.
var ErrLayout = errors.New("pinned maps have another layout")

// Config is what the programs are loaded with.
type Config struct {
	// PinDir is a directory on a mounted bpf file system; it is made if it is
	// missing. Maps are in a directory of their layout, attachments in PinDir/links.
	PinDir string
	// MaxConnections is the size of the connection table in entries, of which
	// a translated flow takes two; 0 means 1,048,576. Maps that are already
	// pinned keep their size.
	MaxConnections uint32
	// QuotaPerInterface is how many flows one interface may have; 0 means 65,536.
	QuotaPerInterface uint64
	// MSS is the largest TCP segment through an endpoint; 0 means 8,460.
	MSS uint32
	// Replace discards pinned maps that cannot be used instead of refusing them.
	// Until the next Apply nothing is carried then.
	Replace bool

	// what tests make smaller, and another object than the embedded one
	object   string
	ports    [2]uint32
	timeouts map[string]time.Duration // by the variable's name

	instrument func(*ebpf.CollectionSpec) error // what tests add to the programs
}

// Datapath is the loaded programs and their maps. Its methods may be called
// from several goroutines.
type Datapath struct {
	dir      string
	objs     bpf.DatapathObjects
	carrying chan struct{}

	mu        sync.Mutex // of what follows and of all writing
	tables    *tables
	build     builder
	migration *migration // until the first Apply after an upgrade; else nil
	attached  map[string]attachment
}

// Open loads the programs. Maps pinned under cfg.PinDir are taken over with
// all they hold, and devices that are attached there switch to the new
// programs without missing a packet. If the maps are those of the layout before
// this one, the old programs go on until the first Apply, which carries all
// connections over. A program the kernel refuses is reported with the
// verifier's whole log.
func Open(cfg Config) (_ *Datapath, err error) {
	m, err := findMigration(cfg.PinDir, cfg.Replace)
	if err != nil {
		return nil, err
	}
	defer func() {
		if m != nil && err != nil {
			m.close()
		}
	}()
	for _, d := range []string{cfg.PinDir, mapDir(cfg.PinDir), linkDir(cfg.PinDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make pin directory: %w", err)
		}
	}
	spec, err := bpf.LoadDatapath()
	if cfg.object != "" {
		spec, err = ebpf.LoadCollectionSpec(cfg.object)
	}
	if err != nil {
		return nil, fmt.Errorf("read the programs: %w", err)
	}
	if err := configure(spec, cfg); err != nil {
		return nil, err
	}
	opts := &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: mapDir(cfg.PinDir)}}
	d := &Datapath{dir: cfg.PinDir, carrying: make(chan struct{}), attached: map[string]attachment{}}
	if m == nil {
		close(d.carrying)
	} else {
		m.done = d.carrying
		opts.MapReplacements = map[string]*ebpf.Map{"conns_3": m.conns}
		if err := m.configure(spec); err != nil {
			return nil, err
		}
	}
	if err := checkLayout(spec, cfg); err != nil {
		return nil, err
	}
	if cfg.instrument != nil {
		if err := cfg.instrument(spec); err != nil {
			return nil, err
		}
	}
	err = spec.LoadAndAssign(&d.objs, opts)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		return nil, fmt.Errorf("load programs: %w\n%+v", err, ve)
	}
	if err != nil {
		return nil, fmt.Errorf("load programs: %w", err)
	}
	if m != nil {
		if err := m.dispatch(cfg.PinDir, &d.objs.DatapathPrograms); err != nil {
			d.objs.Close()
			return nil, err
		}
	}
	d.migration = m
	if err := d.takeOver(); err != nil {
		d.objs.Close()
		return nil, err
	}
	return d, nil
}

func (d *Datapath) takeOver() error {
	if err := d.objs.Meta.Put(uint32(0), layout); err != nil {
		return fmt.Errorf("write map meta: %w", err)
	}
	var err error
	if d.tables, err = openTables(&d.objs.DatapathMaps); err != nil {
		return err
	}
	// Whoever left answers there may have ended since, and names must not outlive
	// what this process will take away.
	if err := d.ForgetSpaces(); err != nil {
		return err
	}
	return d.updateLinks()
}

// configure sets the variables and sizes the programs are loaded with, and
// marks every map that holds state as pinned by its name.
func configure(spec *ebpf.CollectionSpec, cfg Config) error {
	set := func(name string, value any) error {
		v, ok := spec.Variables[name]
		if !ok {
			return fmt.Errorf("the programs have no variable %s", name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("set variable %s: %w", name, err)
		}
		return nil
	}
	var errs []error
	if cfg.QuotaPerInterface != 0 {
		errs = append(errs, set("quota", cfg.QuotaPerInterface))
	}
	if cfg.MSS != 0 {
		if cfg.MSS < 536 || cfg.MSS > 65495 {
			return fmt.Errorf("MSS %d: want 536 to 65495", cfg.MSS)
		}
		errs = append(errs, set("mss", cfg.MSS))
	}
	if cfg.ports != [2]uint32{} {
		errs = append(errs, set("port_first", cfg.ports[0]), set("port_last", cfg.ports[1]))
	}
	for name, t := range cfg.timeouts {
		errs = append(errs, set(name, uint64(t)))
	}
	if cfg.MaxConnections != 0 {
		spec.Maps["conns"].MaxEntries = cfg.MaxConnections
	}
	for name, m := range spec.Maps {
		switch name {
		case "scratches", "collections", "moves", "conns_3": // hold nothing from one packet or round to the next
		default:
			if name[0] != '.' { // those are the variables themselves
				m.Pinning = ebpf.PinByName
			}
		}
	}
	return errors.Join(errs...)
}

// checkLayout compares the pinned maps with spec's. A connection table of
// another size is kept as it is.
func checkLayout(spec *ebpf.CollectionSpec, cfg Config) error {
	for name, ms := range spec.Maps {
		if ms.Pinning != ebpf.PinByName {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(mapDir(cfg.PinDir), name), nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open pinned map %s: %w", name, err)
		}
		if name == "conns" {
			ms.MaxEntries = m.MaxEntries()
		}
		bad := ms.Compatible(m)
		if name == "meta" && bad == nil {
			var have uint64
			if err := m.Lookup(uint32(0), &have); err != nil {
				bad = err
			} else if have != layout && have != 0 {
				bad = fmt.Errorf("layout %d, want %d", have, layout)
			}
		}
		m.Close()
		if bad == nil {
			continue
		}
		if !cfg.Replace {
			return fmt.Errorf("map %s in %s: %v: %w; stop the agent that uses them, or replace them and lose all connections",
				name, mapDir(cfg.PinDir), bad, ErrLayout)
		}
		return removeMaps(cfg.PinDir)
	}
	return nil
}

// Close lets go of the programs and maps. What is pinned stays, and packets go on.
func (d *Datapath) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.migration != nil {
		d.migration.close()
	}
	return d.objs.Close()
}

// Apply makes the maps hold what host says. devices are the devices of the
// interfaces on this host. It may be called again at any time with anything; only differences are written.
func (d *Datapath) Apply(host desired.Host, devices map[vpc.InterfaceID]Device, doors Doors) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	want, err := d.build.build(host, devices, doors)
	if err != nil {
		return err
	}
	if err := d.tables.apply(want, gracePeriod); err != nil {
		return err
	}
	if d.migration != nil {
		return d.migrate()
	}
	return nil
}

// gracePeriod returns when every packet that was being looked at has been
// dealt with: the programs run inside RCU read-side sections, and this is the
// system call that waits for all of those.
func gracePeriod() error {
	const membarrierCmdGlobal = 1
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierCmdGlobal, 0, 0)
	if errno == unix.ENOSYS || errno == unix.EINVAL {
		// sleep: a kernel without the call (or with nohz_full) has no other
		// way to wait for readers; this is longer than any packet takes
		time.Sleep(50 * time.Millisecond)
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("wait for packets in flight: %w", errno)
	}
	return nil
}

func mapDir(pin string) string  { return filepath.Join(pin, fmt.Sprintf("maps-%d", layout)) }
func linkDir(pin string) string { return filepath.Join(pin, "links") }

func removeMaps(pin string) error {
	if err := os.RemoveAll(mapDir(pin)); err != nil {
		return fmt.Errorf("remove pinned maps: %w", err)
	}
	return os.MkdirAll(mapDir(pin), 0o700)
}

// Remove unpins everything under pinDir: the programs leave their devices, and
// maps go when nobody holds them. pinDir itself stays, since it may be where
// the file system is mounted. What does not exist is success.
func Remove(pinDir string) error {
	for _, d := range []string{linkDir(pinDir), mapDir(pinDir), oldMapDir(pinDir), switchDir(pinDir)} {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("remove pins: %w", err)
		}
	}
	return nil
}
