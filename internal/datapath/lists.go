// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
)

// lists is a map whose entries belong to lists that are known by a hash of their
// content: the peers of a rule set, the ports of a class, the slots of a Maglev
// table. A list is written once, whole, before anything refers to it, and never
// changes; so most of what a host holds need not be looked at when something
// changes. What nothing refers to any more is deleted later: a packet may still be
// reading it, and waiting for those takes longer than most changes.
type lists[K, V comparable] struct {
	name  string
	m     *ebpf.Map
	have  map[uint64]*list[K, V]
	spare map[uint64]uint64 // lists without reference, by the change since which
}

type list[K, V comparable] struct {
	entries map[K]V // what the map holds of it; shared with the builder when it is whole
	whole   bool
}

// open reads back what the map holds; of says which list an entry belongs to.
func (l *lists[K, V]) open(name string, m *ebpf.Map, of func(K) uint64) error {
	l.name, l.m, l.have, l.spare = name, m, map[uint64]*list[K, V]{}, map[uint64]uint64{}
	var all table[K, V]
	if err := all.open(name, m); err != nil {
		return err
	}
	for k, v := range all.have {
		id := of(k)
		if l.have[id] == nil {
			l.have[id] = &list[K, V]{entries: map[K]V{}}
		}
		l.have[id].entries[k] = v
	}
	return nil
}

// add writes the lists that are missing, or not known to be whole.
func (l *lists[K, V]) add(want map[uint64]map[K]V) error {
	for id, entries := range want {
		delete(l.spare, id)
		have := l.have[id]
		if have == nil {
			have = &list[K, V]{}
			l.have[id] = have
		}
		if have.whole {
			continue
		}
		t := table[K, V]{name: l.name, m: l.m, have: maps.Clone(have.entries)}
		if t.have == nil {
			t.have = make(map[K]V, len(entries))
		}
		if err := t.add(entries); err != nil {
			have.entries = t.have
			return err
		}
		have.entries, have.whole = entries, true
	}
	return nil
}

// retire notes that, as of a change, only what is in want is referred to.
func (l *lists[K, V]) retire(want map[uint64]map[K]V, change uint64) {
	for id := range l.have {
		_, wanted := want[id]
		if _, known := l.spare[id]; !wanted && !known {
			l.spare[id] = change
		}
	}
}

// waste counts the entries of lists without reference.
func (l *lists[K, V]) waste() int {
	n := 0
	for id := range l.spare {
		n += len(l.have[id].entries)
	}
	return n
}

// discard deletes the lists without reference since a change or longer.
func (l *lists[K, V]) discard(change uint64) error {
	for id, since := range l.spare {
		if since > change {
			continue
		}
		have := l.have[id]
		t := table[K, V]{name: l.name, m: l.m, have: maps.Clone(have.entries)}
		have.whole = false
		if err := t.prune(nil); err != nil {
			have.entries = t.have
			return fmt.Errorf("list %#x: %w", id, err)
		}
		delete(l.have, id)
		delete(l.spare, id)
	}
	return nil
}

// size counts the entries.
func (l *lists[K, V]) size() int {
	n := 0
	for _, have := range l.have {
		n += len(have.entries)
	}
	return n
}
