// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Kinds of things an installation has on a host.
const (
	ItemDevice    = "device"    // Name: the device; Owner: the interface id, "service", "uplink" or "overlay"
	ItemNamespace = "namespace" // Name: below /run/netns; Owner: the instance id or "service"
	ItemBPFFS     = "bpffs"     // Name: the mount point
	ItemRunDir    = "rundir"    // Name: the directory
	ItemProcess   = "process"   // only what Reset ended. Name: "<pid> (<name>)"
)

// Item is one thing of an installation on this host.
type Item struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Tag   string `json:"tag,omitempty"`
	Owner string `json:"owner,omitempty"`
}

func (i Item) String() string {
	s := i.Kind + " " + i.Name
	if i.Owner != "" {
		s += " of " + i.Owner
	}
	return s
}

// Inventory lists what this installation has on the host, in a stable order.
func (l *Links) Inventory() ([]Item, error) { return inventory(l.cfg.Tag, l.cfg.RunDir) }

// Reset removes everything of this installation and nothing else: processes
// inside its namespaces, the namespaces, devices, bpffs mounts and the run
// directory. It needs no process or record of the installation and may be
// repeated. It returns what it removed, also when it could not remove all.
func (l *Links) Reset() ([]Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return reset(l.cfg.Tag, l.cfg.RunDir)
}

// InventoryAll is Inventory for every installation that ever ran on the host.
// Run directories are found where DefaultRunDir puts them.
func InventoryAll() ([]Item, error) { return inventory("", "") }

// ResetAll is Reset for every installation on the host.
func ResetAll() ([]Item, error) { return reset("", "") }

func inventory(tag, runDir string) ([]Item, error) {
	h, links, err := hostLinks()
	if err != nil {
		return nil, err
	}
	h.Close()
	var out []Item
	for _, k := range links {
		if a, ok := claimed(k, tag); ok {
			out = append(out, Item{ItemDevice, k.Attrs().Name, a.tag, a.owner})
		}
	}
	named, err := namespaces(tag)
	if err != nil {
		return nil, err
	}
	for name := range named {
		t, owner, _ := parseNamespace(name)
		out = append(out, Item{ItemNamespace, name, t, owner})
	}
	ms, err := mounts()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, m := range ms {
		t, ok := strings.CutPrefix(m.source, aliasWord+"-")
		if m.fstype == "bpf" && ok && checkTag(t) == nil && (tag == "" || t == tag) && !seen[m.point] {
			seen[m.point] = true
			out = append(out, Item{ItemBPFFS, m.point, t, ""})
		}
	}
	out = append(out, runDirs(tag, runDir)...)
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Kind != out[j].Kind {
			return out[i].Kind < out[j].Kind
		}
		return out[i].Name < out[j].Name
	})
	return out, nil
}

// runDirs lists run directories that bear our mark.
func runDirs(tag, runDir string) []Item {
	candidates := []string{}
	if runDir != "" {
		candidates = append(candidates, runDir)
	} else {
		entries, _ := os.ReadDir(runRoot)
		for _, e := range entries {
			candidates = append(candidates, filepath.Join(runRoot, e.Name()))
		}
	}
	var out []Item
	for _, dir := range candidates {
		b, err := os.ReadFile(filepath.Join(dir, markerFile))
		if err == nil && checkTag(string(b)) == nil && (tag == "" || string(b) == tag) {
			out = append(out, Item{ItemRunDir, dir, string(b), ""})
		}
	}
	return out
}

func reset(tag, runDir string) (removed []Item, err error) {
	items, err := inventory(tag, runDir)
	if err != nil {
		return nil, err
	}
	var errs []error
	done := func(i Item, err error) {
		if err != nil {
			errs = append(errs, err)
		} else {
			removed = append(removed, i)
		}
	}

	// The mark goes into the first run directory, if there is one.
	if i := slices.IndexFunc(items, func(i Item) bool { return i.Kind == ItemRunDir }); i >= 0 && len(items) > 8 {
		done, herr := hurry(items[i].Name)
		if herr != nil {
			return nil, herr
		}
		defer func() { err = errors.Join(err, done()) }() // removing the directory has done it already
	}
	// Processes first, so that nothing uses a device that goes.
	var names []string
	byName := map[string]Item{}
	for _, i := range items {
		if i.Kind == ItemNamespace {
			names = append(names, i.Name)
			byName[i.Name] = i
		}
	}
	ended, nsErrs := removeNamespaces(names)
	for _, p := range ended {
		removed = append(removed, Item{Kind: ItemProcess, Name: strconv.Itoa(p.PID) + " (" + p.Name + ")", Tag: tag})
	}
	for _, n := range names {
		done(byName[n], nsErrs[n])
	}

	h, links, err := hostLinks()
	if err != nil {
		return removed, errors.Join(append(errs, err)...)
	}
	defer h.Close()
	// A namespace takes its devices with it, some time after its name is gone:
	// devices of the first list that are missing now are removed all the same.
	left := map[string]bool{}
	for _, k := range links {
		if _, ok := claimed(k, tag); ok {
			left[k.Attrs().Name] = true
			a, _ := claimed(k, tag)
			done(Item{ItemDevice, k.Attrs().Name, a.tag, a.owner}, deleteLink(h, k))
		}
	}
	for _, i := range items {
		if i.Kind == ItemDevice && !left[i.Name] {
			removed = append(removed, i)
		}
	}

	for _, i := range items {
		if i.Kind == ItemBPFFS {
			done(i, unmountBPF(i.Tag, i.Name))
		}
	}
	for _, i := range items {
		if i.Kind == ItemRunDir {
			done(i, removeRunDir(i.Name))
		}
	}
	if tag == "" {
		os.Remove(runRoot) // only if nothing is left in it
	}
	return removed, errors.Join(errs...)
}

// removeRunDir removes a marked directory, unless something is still mounted
// in it: then removing would reach into another filesystem.
func removeRunDir(dir string) error {
	ms, err := mounts()
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("run directory %s: %w", dir, err)
	}
	for _, m := range ms {
		if m.point == real || strings.HasPrefix(m.point, real+"/") {
			return fmt.Errorf("run directory %s: %s is still mounted at %s: unmount it first", dir, m.fstype, m.point)
		}
	}
	if err := calm(real); err != nil {
		return err
	}
	if err := os.RemoveAll(real); err != nil {
		return fmt.Errorf("remove run directory: %w", err)
	}
	return nil
}
