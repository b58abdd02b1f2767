// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func entry(i int, description string) vpc.ListEntry {
	return vpc.ListEntry{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), Description: description}
}

func keptVersions(v vpc.View, id vpc.PrefixListID) (out []int64) {
	for n := range vpc.By[vpc.PrefixListVersion](v, vpc.IndexPrefixList, id) {
		out = append(out, n.Number)
	}
	return out
}

func TestOldVersionsOfAPrefixListAreBoundedInNumberAndSize(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, _ := controltest.New(t)
	small, err := c.CreatePrefixList(ctx, controltest.Consumer, control.CreatePrefixListInput{Name: "small", MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	// 999 versions past the API, then two through it.
	if _, err := c.Store.Update(ctx, func(tx *store.Tx) error {
		l, _ := vpc.Get[vpc.PrefixList](tx, small.ID)
		l = vpc.Edit(l)
		for l.Version < 1000 {
			l.Version++
			tx.Put(&vpc.PrefixListVersion{List: l.ID, Number: l.Version})
		}
		tx.Put(l)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		in := control.ModifyPrefixListInput{ID: small.ID, Add: []vpc.ListEntry{entry(i, "")}}
		if i == 1 {
			in.Remove = []netip.Prefix{entry(0, "").CIDR}
		}
		if _, err := c.ModifyPrefixList(ctx, controltest.Consumer, in); err != nil {
			t.Fatal(err)
		}
	}
	if kept := keptVersions(c.View(), small.ID); len(kept) != 1000 || kept[0] != 3 || kept[999] != 1002 {
		t.Errorf("%d versions from %d to %d are kept, want 1000 from 3 to 1002", len(kept), kept[0], kept[len(kept)-1])
	}
	if _, err := c.RestorePrefixList(ctx, controltest.Consumer, small.ID, 2, 1002); control.KindOf(err) != vpc.Invalid {
		t.Errorf("restoring a version that is gone: %v", err)
	}

	big, err := c.CreatePrefixList(ctx, controltest.Consumer, control.CreatePrefixListInput{Name: "big", MaxEntries: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // 1,000 entries with 255 characters each are some 300 kB
		var add []vpc.ListEntry
		for j := range 100 {
			add = append(add, entry(100*i+j, strings.Repeat("d", 255)))
		}
		if _, err := c.ModifyPrefixList(ctx, controltest.Consumer, control.ModifyPrefixListInput{ID: big.ID, Add: add}); err != nil {
			t.Fatal(err)
		}
	}
	if kept := keptVersions(c.View(), big.ID); fmt.Sprint(kept) != "[10 11]" {
		t.Errorf("versions %v of a big list are kept, want the last two", kept)
	}
	if _, err := c.DeletePrefixList(ctx, controltest.Consumer, small.ID); err != nil {
		t.Errorf("delete a list with 1000 versions: %v", err)
	}
}

func TestPrefixListQuotaHoldsForRacingCalls(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	base, _ := controltest.New(t)
	cfg := base.Config
	cfg.Quotas.PrefixLists = 3
	c := control.New(cfg)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, refused := 0, 0
	for i := range 8 {
		wg.Go(func() {
			_, err := c.CreatePrefixList(ctx, controltest.Consumer, control.CreatePrefixListInput{Name: fmt.Sprint("l", i), MaxEntries: 1})
			mu.Lock()
			defer mu.Unlock()
			switch control.KindOf(err) {
			case "":
				made++
			case vpc.Limit:
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 3 || refused != 5 {
		t.Errorf("%d made and %d refused, want 3 and 5", made, refused)
	}
}

// A reference and a new size, or the deletion, at the same moment: together
// they must not pass what each alone is refused.
func TestPrefixListReferencesRaceWithSizeAndDeletion(t *testing.T) {
	t.Parallel()
	f := newEndpoints(t)
	for i := range 10 {
		l, err := f.CreatePrefixList(f.ctx, controltest.Consumer, control.CreatePrefixListInput{Name: fmt.Sprint("l", i), MaxEntries: 30})
		if err != nil {
			t.Fatal(err)
		}
		g, err := f.CreateGroup(f.ctx, controltest.Consumer, control.CreateGroupInput{VPC: f.vpc, Name: fmt.Sprint("g", i)})
		if err != nil {
			t.Fatal(err)
		}
		rule := control.RuleSpec{Protocol: vpc.TCP, From: 1, To: 1, PrefixList: l.ID}
		var wg sync.WaitGroup
		var refer, change error
		wg.Go(func() {
			_, refer = f.AuthorizeRules(f.ctx, controltest.Consumer, g, false, []control.RuleSpec{rule}, nil)
		})
		wg.Go(func() {
			if i%2 == 0 {
				size := 61
				_, change = f.ModifyPrefixList(f.ctx, controltest.Consumer, control.ModifyPrefixListInput{ID: l.ID, MaxEntries: &size})
			} else {
				_, change = f.DeletePrefixList(f.ctx, controltest.Consumer, l.ID)
			}
		})
		wg.Wait()
		if (refer == nil) == (change == nil) {
			t.Fatalf("round %d: refer %v, change %v; exactly one must win", i, refer, change)
		}
	}
}
