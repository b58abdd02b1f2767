// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"

	"postern.dev/postern/internal/desired"
)

func someTargets(n int) []desired.Target {
	var out []desired.Target
	for i := range n {
		out = append(out, desired.Target{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(i%200 + 4)}), Port: 80})
	}
	return out
}

func TestMaglevSharesAreWithin15Percent(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 20, 50, 51, 200, 500} {
		table := maglevTable(someTargets(n))
		share := make([]int, n)
		for _, i := range table {
			share[i]++
		}
		want := float64(len(table)) / float64(n)
		for i, got := range share {
			// a slot cannot be divided
			if d := float64(got) - want; d > max(0.15*want, 1) || d < -max(0.15*want, 1) {
				t.Errorf("target %d of %d has %d of %d slots", i, n, got, len(table))
			}
		}
	}
	if maglevTable(nil) != nil {
		t.Error("no targets have a table")
	}
}

func TestMaglevMovesFewFlowsWhenATargetLeaves(t *testing.T) {
	for _, n := range []int{3, 10, 40, 100} {
		all := someTargets(n)
		gone := n / 2
		left := append(append([]desired.Target{}, all[:gone]...), all[gone+1:]...)
		before, after := maglevTable(all), maglevTable(left)
		if len(before) != len(after) {
			t.Fatalf("table size changed between %d and %d targets", n, n-1)
		}
		moved, kept := 0, 0
		for slot, i := range before {
			if i == gone {
				continue
			}
			if all[i] == left[after[slot]] {
				kept++
			} else {
				moved++
			}
		}
		if moved > kept/3 {
			t.Errorf("%d of %d slots of other targets moved when one of %d left", moved, moved+kept, n)
		}
	}
}

func TestMaglevTablesAreKnownByTheirTargets(t *testing.T) {
	a := someTargets(3)
	if maglevID(a) != maglevID(someTargets(3)) {
		t.Error("the same targets have two numbers")
	}
	if maglevID(a) == maglevID(someTargets(4)) {
		t.Error("other targets have the same number")
	}
}
