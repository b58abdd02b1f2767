// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
)

// Role says what is behind a device.
type Role string

// Roles of devices.
const (
	Workload Role = "workload"
	Service  Role = "service" // the service namespace of the host
	Uplink   Role = "uplink"  // the host's own network
	Overlay  Role = "overlay" // the other hosts
)

var roles = []Role{Workload, Service, Uplink, Overlay}

// program is what the devices of a role are to have now.
func (d *Datapath) program(r Role) (*ebpf.Program, error) {
	if d.migration != nil && d.migration.dispatchers[r] != nil {
		return d.migration.dispatchers[r], nil
	}
	return rolesProgram(&d.objs.DatapathPrograms, r)
}

func rolesProgram(objs *bpf.DatapathPrograms, r Role) (*ebpf.Program, error) {
	switch r {
	case Workload:
		return objs.FromWorkload, nil
	case Service:
		return objs.FromService, nil
	case Uplink:
		return objs.FromUplink, nil
	case Overlay:
		return objs.FromOverlay, nil
	}
	return nil, fmt.Errorf("unknown role %q", r)
}

// A pin is named role and device. The bpf file system refuses dots, and a
// device's name cannot have a colon, so the one stands for the other.
func pinName(r Role, ifname string) string {
	return string(r) + "-" + strings.ReplaceAll(ifname, ".", ":")
}

func pinRole(name string) (Role, string, bool) {
	r, ifname, ok := strings.Cut(name, "-")
	return Role(r), strings.ReplaceAll(ifname, ":", "."), ok
}

// attachment is what Attach has brought about at a device, so that to ask for it
// again, as every change does of every device, costs one look at the pin.
type attachment struct {
	role    Role
	ifindex int
	prog    *ebpf.Program
}

// Attach puts the role's program on the ingress of a device. It is idempotent:
// a device that has it already gets the present program, and a pin that a
// vanished device of the same name left behind is replaced.
func (d *Datapath) Attach(ifname string, ifindex int, role Role) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	prog, err := d.program(role)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ifname, err)
	}
	pin := filepath.Join(linkDir(d.dir), pinName(role, ifname))
	want := attachment{role, ifindex, prog}
	if d.attached[ifname] == want && unix.Access(pin, unix.F_OK) == nil {
		return nil
	}
	delete(d.attached, ifname)
	for _, other := range roles {
		if other == role {
			continue
		}
		if err := unpin(filepath.Join(linkDir(d.dir), pinName(other, ifname))); err != nil {
			return fmt.Errorf("attach to %s: %w", ifname, err)
		}
	}
	have, err := updateLink(pin, prog)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", ifname, err)
	}
	if have == ifindex {
		d.attached[ifname] = want
		return nil
	}
	if have != 0 {
		if err := unpin(pin); err != nil {
			return fmt.Errorf("attach to %s: %w", ifname, err)
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return fmt.Errorf("attach to %s (index %d): %w", ifname, ifindex, err)
	}
	defer l.Close()
	if err := l.Pin(pin); err != nil {
		return fmt.Errorf("attach to %s: %w", ifname, err)
	}
	d.attached[ifname] = want
	return nil
}

// updateLink switches the link pinned at pin to prog and gives its device's
// index: 0 if there was no link, or one of a device that is gone, which is
// then removed.
func updateLink(pin string, prog *ebpf.Program) (ifindex int, err error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open pin %s: %w", pin, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0, fmt.Errorf("read pin %s: %w", pin, err)
	}
	if t := info.TCX(); t != nil && t.Ifindex != 0 {
		err := l.Update(prog)
		if err == nil {
			return int(t.Ifindex), nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOLINK) { // the device may go at any moment
			return 0, fmt.Errorf("switch program at %s: %w", pin, err)
		}
	}
	return 0, unpin(pin)
}

func unpin(pin string) error {
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove pin: %w", err)
	}
	return nil
}

// updateLinks switches every pinned link to the programs just loaded.
func (d *Datapath) updateLinks() error {
	pins, err := os.ReadDir(linkDir(d.dir))
	if err != nil {
		return fmt.Errorf("list attachments: %w", err)
	}
	var errs []error
	for _, p := range pins {
		role, _, ok := pinRole(p.Name())
		if !ok {
			continue
		}
		prog, err := d.program(role)
		if err != nil {
			continue // not ours
		}
		if _, err := updateLink(filepath.Join(linkDir(d.dir), p.Name()), prog); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Detach takes the programs off a device. A device that has none is success.
func (d *Datapath) Detach(ifname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.attached, ifname)
	for _, r := range roles {
		if err := unpin(filepath.Join(linkDir(d.dir), pinName(r, ifname))); err != nil {
			return fmt.Errorf("detach from %s: %w", ifname, err)
		}
	}
	return nil
}

// Attached lists the devices that have a program, by name, including those of
// devices that are gone.
func (d *Datapath) Attached() ([]string, error) {
	pins, err := os.ReadDir(linkDir(d.dir))
	if err != nil {
		return nil, fmt.Errorf("list attachments: %w", err)
	}
	var out []string
	for _, p := range pins {
		if _, ifname, ok := pinRole(p.Name()); ok {
			out = append(out, ifname)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
