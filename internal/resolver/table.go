// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/miekg/dns"
)

// table holds the names of a zone with their records, packed: a million of them
// have to fit on a host. It is immutable and knows no pointers, so that the
// garbage collector has nothing to look at either.
//
// data is a node after the other:
//
//	length of the name (1 byte), name, sets (2), sets
//
// and a set of records of one type
//
//	type (2), alias (1), TTL (4), records (2), bytes of the records (4), records
//
// of which each is its length (2) and its data in wire form, uncompressed. The
// one record of an alias is the name it leads to.
type table struct {
	// index is an open hash table of where nodes begin in data; 0 is nowhere.
	index []uint32
	data  []byte
}

// node is what is at one name. It has no sets if there is only something below.
type node struct {
	sets  []byte
	count int
}

// set is the records of one type at a name.
type set struct {
	alias   bool
	ttl     uint32
	count   int
	records []byte
}

const setHeader = 13

// find is the node of a name in wire form and lower case.
func (t *table) find(name []byte) (node, bool) {
	if len(t.index) == 0 {
		return node{}, false
	}
	mask := uint64(len(t.index) - 1)
	for at := maphash.Bytes(seed, name) & mask; ; at = (at + 1) & mask {
		begin := t.index[at]
		if begin == 0 {
			return node{}, false
		}
		d := t.data[begin:]
		if int(d[0]) == len(name) && bytes.Equal(d[1:1+len(name)], name) {
			d = d[1+len(name):]
			return node{d[2:], int(binary.BigEndian.Uint16(d))}, true
		}
	}
}

// set is the node's records of a type.
func (n node) set(rrtype uint16) (set, bool) {
	d := n.sets
	for range n.count {
		size := int(binary.BigEndian.Uint32(d[9:]))
		if binary.BigEndian.Uint16(d) == rrtype {
			return set{
				alias: d[2] != 0, ttl: binary.BigEndian.Uint32(d[3:]), count: int(binary.BigEndian.Uint16(d[7:])),
				records: d[setHeader : setHeader+size],
			}, true
		}
		d = d[setHeader+size:]
	}
	return set{}, false
}

// first is the data of the first record.
func (s set) first() []byte {
	return s.records[2 : 2+binary.BigEndian.Uint16(s.records)]
}

// tableBuilder collects what a table is made of.
type tableBuilder struct {
	apex  string // wire form, "" if there is none
	nodes map[string][]buildSet
}

// buildSet is a set in the making.
type buildSet struct {
	rrtype  uint16
	alias   bool
	ttl     uint32
	records []string
}

func newTableBuilder(apex string) *tableBuilder {
	b := &tableBuilder{apex: apex, nodes: map[string][]buildSet{}}
	if apex != "" {
		b.nodes[apex] = nil
	}
	return b
}

// add merges records into a name: it may have its addresses in two. The names
// between it and the apex exist from then on. It reports whether the records
// are right next to those that are there: an alias is alone, and a set has an end.
func (b *tableBuilder) add(name string, rrtype uint16, alias bool, ttl uint32, records ...string) bool {
	sets := b.nodes[name]
	at := slices.IndexFunc(sets, func(s buildSet) bool { return s.rrtype == rrtype })
	if at < 0 {
		at = len(sets)
		sets = append(sets, buildSet{rrtype: rrtype, alias: alias, ttl: ttl})
	}
	s := &sets[at]
	switch {
	case s.alias != alias, alias && len(s.records) > 0, len(s.records)+len(records) > 0xffff:
		return false
	}
	s.ttl = min(s.ttl, ttl)
	for _, r := range records {
		// There can only be one CNAME; the last one given is it.
		if rrtype == dns.TypeCNAME {
			s.records = nil
		}
		if !slices.Contains(s.records, r) {
			s.records = append(s.records, r)
		}
	}
	b.exist(name)
	b.nodes[name] = sets
	return true
}

// exist makes a name and those between it and the apex exist.
func (b *tableBuilder) exist(name string) {
	for at := name; at != "\x00"; at = at[1+at[0]:] {
		if _, ok := b.nodes[at]; ok {
			return
		}
		b.nodes[at] = nil
	}
}

// table packs what was added.
func (b *tableBuilder) table() table {
	if len(b.nodes) == 0 {
		return table{}
	}
	size := 1 // nothing begins at 0
	for name, sets := range b.nodes {
		size += 3 + len(name)
		for _, s := range sets {
			size += setHeader
			for _, r := range s.records {
				size += 2 + len(r)
			}
		}
	}
	slots := 4
	for slots*3 < len(b.nodes)*4 { // at most three quarters full
		slots *= 2
	}
	t := table{index: make([]uint32, slots), data: make([]byte, 1, size)}
	for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
		at := maphash.String(seed, name) & uint64(slots-1)
		for t.index[at] != 0 {
			at = (at + 1) & uint64(slots-1)
		}
		t.index[at] = uint32(len(t.data))
		t.data = append(append(t.data, byte(len(name))), name...)
		t.data = binary.BigEndian.AppendUint16(t.data, uint16(len(b.nodes[name])))
		for _, s := range b.nodes[name] {
			t.data = s.append(t.data)
		}
	}
	return t
}

func (s *buildSet) append(d []byte) []byte {
	d = binary.BigEndian.AppendUint16(d, s.rrtype)
	if s.alias {
		d = append(d, 1)
	} else {
		d = append(d, 0)
	}
	d = binary.BigEndian.AppendUint32(d, s.ttl)
	d = binary.BigEndian.AppendUint16(d, uint16(len(s.records)))
	size := 0
	for _, r := range s.records {
		size += 2 + len(r)
	}
	d = binary.BigEndian.AppendUint32(d, uint32(size))
	for _, r := range s.records {
		d = append(binary.BigEndian.AppendUint16(d, uint16(len(r))), r...)
	}
	return d
}
