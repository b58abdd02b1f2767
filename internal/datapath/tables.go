// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"postern.dev/postern/bpf"
)

// entries is everything the agent writes, as the maps hold it.
type entries struct {
	ports      map[uint32]bpf.DatapathPort
	interfaces map[bpf.DatapathInterfaceKey]bpf.DatapathInterface
	subnets    map[uint64]bpf.DatapathSubnet
	routes     map[bpf.DatapathRouteKey]bpf.DatapathRoute
	rulePeers  map[uint64]map[bpf.DatapathRulePeerKey]uint64 // by list
	rulePorts  map[uint64]map[bpf.DatapathRulePortKey]uint8  // by class
	endpoints  map[uint64]bpf.DatapathEndpoint
	listeners  map[bpf.DatapathListenerKey]bpf.DatapathListener
	maglev     map[uint64]map[bpf.DatapathSlotKey]bpf.DatapathBackend // by table
	probes     map[bpf.DatapathAddr]bpf.DatapathProbe
	publics    map[bpf.DatapathAddr]bpf.DatapathPublic
	cuts       map[bpf.DatapathCutKey]uint8
	places     map[uint64]bpf.DatapathPublic
	links      map[uint32]uint64
	overlay    bpf.DatapathOverlay
}

// newEntries has room for what this many interfaces need.
func newEntries(interfaces int) *entries {
	return &entries{
		ports:      make(map[uint32]bpf.DatapathPort, interfaces),
		interfaces: make(map[bpf.DatapathInterfaceKey]bpf.DatapathInterface, 2*interfaces),
		subnets:    map[uint64]bpf.DatapathSubnet{},
		routes:     map[bpf.DatapathRouteKey]bpf.DatapathRoute{},
		rulePeers:  map[uint64]map[bpf.DatapathRulePeerKey]uint64{},
		rulePorts:  map[uint64]map[bpf.DatapathRulePortKey]uint8{},
		endpoints:  map[uint64]bpf.DatapathEndpoint{},
		listeners:  map[bpf.DatapathListenerKey]bpf.DatapathListener{},
		maglev:     map[uint64]map[bpf.DatapathSlotKey]bpf.DatapathBackend{},
		probes:     map[bpf.DatapathAddr]bpf.DatapathProbe{},
		publics:    map[bpf.DatapathAddr]bpf.DatapathPublic{},
		cuts:       map[bpf.DatapathCutKey]uint8{},
		places:     map[uint64]bpf.DatapathPublic{},
		links:      map[uint32]uint64{},
	}
}

// tables are the maps of entries with what each holds.
type tables struct {
	ports      table[uint32, bpf.DatapathPort]
	interfaces table[bpf.DatapathInterfaceKey, bpf.DatapathInterface]
	subnets    table[uint64, bpf.DatapathSubnet]
	routes     table[bpf.DatapathRouteKey, bpf.DatapathRoute]
	rulePeers  lists[bpf.DatapathRulePeerKey, uint64]
	rulePorts  lists[bpf.DatapathRulePortKey, uint8]
	endpoints  table[uint64, bpf.DatapathEndpoint]
	listeners  table[bpf.DatapathListenerKey, bpf.DatapathListener]
	maglev     lists[bpf.DatapathSlotKey, bpf.DatapathBackend]
	probes     table[bpf.DatapathAddr, bpf.DatapathProbe]
	publics    table[bpf.DatapathAddr, bpf.DatapathPublic]
	cuts       table[bpf.DatapathCutKey, uint8]
	places     table[uint64, bpf.DatapathPublic]
	links      table[uint32, uint64]
	overlay    *ebpf.Map
	counted    counted
	generation *ebpf.Map
	changes    uint64 // calls of apply
}

// openTables reads back what the maps hold.
func openTables(m *bpf.DatapathMaps) (*tables, error) {
	t := &tables{generation: m.Generation, overlay: m.Overlay}
	err := errors.Join(
		t.ports.open("ports", m.Ports),
		t.interfaces.open("interfaces", m.Interfaces),
		t.subnets.open("subnets", m.Subnets),
		t.routes.open("routes", m.Routes),
		t.rulePeers.open("rule_peers", m.RulePeers, func(k bpf.DatapathRulePeerKey) uint64 { return join(k.Set) }),
		t.rulePorts.open("rule_ports", m.RulePorts, func(k bpf.DatapathRulePortKey) uint64 { return join(k.Class) }),
		t.endpoints.open("endpoints", m.Endpoints),
		t.listeners.open("listeners", m.Listeners),
		t.maglev.open("maglev", m.Maglev, func(k bpf.DatapathSlotKey) uint64 { return k.Table }),
		t.probes.open("probes", m.Probes),
		t.publics.open("publics", m.Publics),
		t.cuts.open("cuts", m.Cuts),
		t.places.open("places", m.Places),
		t.links.open("links", m.Links),
	)
	if err == nil {
		err = t.counted.open(m.Usages)
	}
	return t, err
}

// counted are the endpoints that have an entry in the map usages. Packets write the
// entries, the agent makes and removes them.
type counted struct {
	m    *ebpf.Map
	have map[uint64]bool
}

func (c *counted) open(m *ebpf.Map) error {
	c.m, c.have = m, map[uint64]bool{}
	for kv, err := range raw(m) {
		if err != nil {
			return fmt.Errorf("read map usages: %w", err)
		}
		c.have[binary.NativeEndian.Uint64(kv[0])] = true
	}
	return nil
}

// add makes the entries that endpoints lack.
func (c *counted) add(want map[uint64]bpf.DatapathEndpoint) error {
	for id := range want {
		if c.have[id] {
			continue
		}
		if err := c.m.Put(id, bpf.DatapathUsage{}); err != nil {
			return fmt.Errorf("write map usages at %d: %w", id, err)
		}
		c.have[id] = true
	}
	return nil
}

// prune removes the entries of endpoints that are no more.
func (c *counted) prune(want map[uint64]bpf.DatapathEndpoint) error {
	for id := range c.have {
		if _, ok := want[id]; ok {
			continue
		}
		if err := c.m.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from map usages at %d: %w", id, err)
		}
		delete(c.have, id)
	}
	return nil
}

// apply makes the maps hold what want says. What must no longer carry packets
// goes first, so that no later failure keeps it alive. Then comes what is
// added, data before what refers to it, and then the rest of the deletions,
// references before data. A step that fails ends it; what is written so far is
// consistent, and the next apply goes on there. Lists to which nothing refers any
// more stay until discard, unless they have become many.
//
// After each part, and however it ends, the generation is raised: from then on
// no packet passes by what was concluded before.
func (t *tables) apply(want *entries, wait func() error) (err error) {
	defer func() { err = errors.Join(err, t.raise()) }()
	t.changes++
	settle := t.rerouted(want)
	err = inOrder(
		func() error { return t.endpoints.prune(want.endpoints) },
		func() error { return t.links.prune(want.links) },
		func() error { return t.places.prune(want.places) },
		func() error { return t.ports.prune(want.ports) },
		func() error { return t.publics.prune(want.publics) },
		func() error { return t.probes.prune(want.probes) },
		func() error { return t.interfaces.prune(want.interfaces) },
		t.raise,

		func() error { return t.cuts.add(want.cuts) },
		func() error { return t.rulePorts.add(want.rulePorts) },
		func() error { return t.rulePeers.add(want.rulePeers) },
		func() error { return t.maglev.add(want.maglev) },
		func() error { return t.routes.add(want.routes) },
		func() error { return t.subnets.add(want.subnets) },
		func() error { return t.listeners.add(want.listeners) },
		func() error { return t.counted.add(want.endpoints) },
		func() error { return t.endpoints.add(want.endpoints) },
		func() error { return t.links.add(want.links) },
		func() error { return t.setOverlay(want.overlay) },
		func() error { return t.interfaces.add(want.interfaces) },
		func() error { return t.places.add(want.places) },
		func() error { return t.probes.add(want.probes) },
		func() error { return t.publics.add(want.publics) },
		func() error { return t.ports.add(want.ports) },

		func() error { return t.counted.prune(want.endpoints) },
		func() error { return t.cuts.prune(want.cuts) },
		func() error { return t.listeners.prune(want.listeners) },
		func() error { return t.subnets.prune(want.subnets) },
		t.raise,
	)
	if err != nil {
		return err
	}
	t.rulePeers.retire(want.rulePeers, t.changes)
	t.rulePorts.retire(want.rulePorts, t.changes)
	t.maglev.retire(want.maglev, t.changes)
	much := t.waste() > mostWaste
	// A packet that read the old reference must be through before what is
	// behind it goes.
	if settle || much {
		if err := wait(); err != nil {
			return err
		}
	}
	if err := t.routes.prune(want.routes); err != nil {
		return err
	}
	if much {
		return t.discard(t.changes)
	}
	return nil
}

// mostWaste is how many entries without reference an apply leaves: a small part
// of what the maps have room for.
const mostWaste = 100000

func (t *tables) waste() int { return t.rulePeers.waste() + t.rulePorts.waste() + t.maglev.waste() }

// discard deletes the lists without reference since a change or longer. Every
// packet that was under way then must be through.
func (t *tables) discard(change uint64) error {
	return inOrder(
		func() error { return t.maglev.discard(change) },
		func() error { return t.rulePeers.discard(change) },
		func() error { return t.rulePorts.discard(change) },
	)
}

// rerouted says whether a subnet gets another route table, or none any more: then
// a packet may be reading the routes of a table that is no longer its subnet's.
func (t *tables) rerouted(want *entries) bool {
	for id, have := range t.subnets.have {
		if n, ok := want.subnets[id]; !ok || n.Table != have.Table {
			return true
		}
	}
	return false
}

func (t *tables) setOverlay(o bpf.DatapathOverlay) error {
	if err := t.overlay.Put(uint32(0), o); err != nil {
		return fmt.Errorf("write map overlay: %w", err)
	}
	return nil
}

// raise makes every conclusion about a flow that packets have drawn so far one
// of an earlier generation.
func (t *tables) raise() error {
	var now uint64
	if err := t.generation.Lookup(uint32(0), &now); err != nil {
		return fmt.Errorf("read map generation: %w", err)
	}
	if err := t.generation.Put(uint32(0), now+1); err != nil {
		return fmt.Errorf("write map generation: %w", err)
	}
	return nil
}

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// table is one map and a mirror of its content.
type table[K, V comparable] struct {
	name string
	m    *ebpf.Map
	have map[K]V
}

func (t *table[K, V]) open(name string, m *ebpf.Map) error {
	t.name, t.m, t.have = name, m, map[K]V{}
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		t.have[k] = v
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read map %s: %w", name, err)
	}
	return nil
}

// batch is how many entries one system call writes.
const batch = 1024

// add writes the entries that are missing or different.
func (t *table[K, V]) add(want map[K]V) error {
	var keys []K
	var values []V
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		n, err := t.m.BatchUpdate(keys, values, nil)
		if err != nil && n == 0 {
			// batches are refused as a whole for some reasons; one by one
			// the error names the entry
			for i := range keys {
				if err := t.m.Put(&keys[i], &values[i]); err != nil {
					return fmt.Errorf("write map %s at %+v: %w", t.name, keys[i], err)
				}
				t.have[keys[i]] = values[i]
			}
			keys, values = keys[:0], values[:0]
			return nil
		}
		for i := range n {
			t.have[keys[i]] = values[i]
		}
		if err != nil {
			return fmt.Errorf("write map %s at %+v: %w", t.name, keys[min(n, len(keys)-1)], err)
		}
		keys, values = keys[:0], values[:0]
		return nil
	}
	for k, v := range want {
		if old, ok := t.have[k]; ok && old == v {
			continue
		}
		keys, values = append(keys, k), append(values, v)
		if len(keys) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// prune deletes the entries that are not wanted.
func (t *table[K, V]) prune(want map[K]V) error {
	for k := range t.have {
		if _, ok := want[k]; ok {
			continue
		}
		if err := t.m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from map %s at %+v: %w", t.name, k, err)
		}
		delete(t.have, k)
	}
	return nil
}
