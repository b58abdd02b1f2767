// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"postern.dev/postern/internal/desired"
)

// Sizes of Maglev tables: primes, so that every step visits every slot. The
// larger one keeps shares even among many targets.
const (
	smallTable  = 251
	largeTable  = 4093
	smallTables = 50 // targets that a small table serves
)

// maglevTable assigns slots to targets (as indexes) so that each gets nearly
// the same share and a target that comes or goes moves few of the others'
// slots (Eisenbud et al., NSDI 2016, 3.4). The order of targets does not
// matter if they are sorted, as desired gives them. No targets, no table.
func maglevTable(targets []desired.Target) []int {
	n := len(targets)
	if n == 0 {
		return nil
	}
	size := smallTable
	if n > smallTables {
		size = largeTable
	}
	next := make([]uint64, n) // position in the target's own order of slots
	skip := make([]uint64, n)
	for i, t := range targets {
		a := t.Addr.As16()
		name := binary.BigEndian.AppendUint16(a[:], uint16(t.Port))
		next[i] = xxhash.Sum64(append(name, "offset"...)) % uint64(size)
		skip[i] = xxhash.Sum64(append(name, "skip"...))%uint64(size-1) + 1
	}
	table := make([]int, size)
	for i := range table {
		table[i] = -1
	}
	for filled := 0; ; {
		for i := range targets {
			for table[next[i]] >= 0 {
				next[i] = (next[i] + skip[i]) % uint64(size)
			}
			table[next[i]] = i
			if filled++; filled == size {
				return table
			}
		}
	}
}

// maglevID is the number of the table that these targets have.
func maglevID(targets []desired.Target) uint64 {
	content := []byte("maglev")
	for _, t := range targets {
		a := t.Addr.As16()
		content = append(content, a[:]...)
		content = binary.BigEndian.AppendUint16(content, uint16(t.Port))
	}
	return contentID(content)
}
