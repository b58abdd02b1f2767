// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// A list that was without reference and has one again stays; one that lost it again
// only after the packets under way were looked at stays too, until the next time.
func TestOnlyWhatNobodyCanBeReadingIsDeleted(t *testing.T) {
	w := newWorld(t)
	set := func(port int) uint64 {
		w.rules(eniA2, desired.RuleSet{Ingress: []desired.Rule{allow(vpc.TCP, port, port, anywhere)}})
		w.apply()
		l := groupList(w.host.RuleSets["of-"+string(eniA2)].Ingress)
		return l.id
	}
	entries := func(id uint64) int {
		n := 0
		var k bpf.DatapathRulePeerKey
		var class uint64
		for it := w.dp.objs.RulePeers.Iterate(); it.Next(&k, &class); {
			if join(k.Set) == id {
				n++
			}
		}
		return n
	}
	discard := func(change uint64) {
		t.Helper()
		if err := w.dp.tables.discard(change); err != nil {
			t.Fatal(err)
		}
	}
	eighty := set(80)
	set(81)
	before := w.dp.tables.changes
	if entries(eighty) == 0 {
		t.Fatal("a list was deleted with its last reference")
	}
	set(80)
	discard(w.dp.tables.changes)
	w.passes(tcp(eniA1, addrA1, 1, addrA2, 80, "S"), eniA2)
	w.drops(tcp(eniA1, addrA1, 2, addrA2, 81, "S"), bpf.DropGroupIngress)
	set(81)
	discard(before)
	if entries(eighty) == 0 {
		t.Error("a list was deleted that packets may be reading")
	}
	if _, err := w.dp.Collect(); err != nil {
		t.Fatal(err)
	}
	if n := entries(eighty); n != 0 {
		t.Errorf("%d entries of a list without reference stay", n)
	}
	w.passes(tcp(eniA1, addrA1, 3, addrA2, 81, "S"), eniA2)
	// a new agent finds what an earlier one left behind
	set(80)
	w.dp.Close()
	w.open()
	ninety := set(90)
	if _, err := w.dp.Collect(); err != nil {
		t.Fatal(err)
	}
	if entries(eighty) != 0 || entries(ninety) == 0 {
		t.Errorf("after a restart: %d entries of the list that went, %d of the one that came", entries(eighty), entries(ninety))
	}
}
