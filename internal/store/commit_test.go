// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// together runs updates so that they are committed as one batch, in order:
// they queue behind one that is held until all of them wait.
func together(t *testing.T, s *store.Store, fns ...func(*store.Tx) error) []error {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Update(context.Background(), func(*store.Tx) error { close(held); <-release; return nil })
	})
	<-held
	errs := make([]error, len(fns))
	for i, fn := range fns {
		wg.Go(func() { _, errs[i] = s.Update(context.Background(), fn) })
		store.AwaitQueued(s, i+1)
	}
	close(release)
	wg.Wait()
	return errs
}

func writes(os ...vpc.Object) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		for _, o := range os {
			tx.Put(o)
		}
		return nil
	}
}

func deletes(o vpc.Object) func(*store.Tx) error {
	return func(tx *store.Tx) error { tx.Delete(o); return nil }
}

func TestUpdatesOfABatchSeeEachOther(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	before := s.Snapshot().Revision()
	boom := errors.New("boom")
	errs := together(t, s,
		writes(newVPC("vpc-1", 0x1000)),
		writes(newSubnet("subnet-1", "vpc-1")),                   // its VPC is in the same batch
		writes(newENI("eni-1", "subnet-1", "vpc-1", "10.0.1.4")), //
		writes(newENI("eni-2", "subnet-1", "vpc-1", "10.0.1.4")), // its address was taken just now
		deletes(newSubnet("subnet-1", "vpc-1")),                  // in use since just now
		func(tx *store.Tx) error { tx.Put(newVPC("vpc-9", 9)); return boom },
		deletes(newENI("eni-1", "subnet-1", "vpc-1", "10.0.1.4")), //
		writes(newENI("eni-3", "subnet-1", "vpc-1", "10.0.1.4")),  // free again
		writes(newVPC("vpc-2", 0x2000)),                           //
		deletes(newVPC("vpc-2", 0x2000)),                          // made and gone within the batch
		func(tx *store.Tx) error {
			if tx.Changed(vpc.KindVPC, "vpc-1") <= before {
				return errors.New("an object of the batch looks as old as the snapshot")
			}
			return nil
		},
	)
	want := []vpc.ErrorKind{"", "", "", vpc.Duplicate, vpc.InUse, "", "", "", "", "", ""}
	for i, err := range errs {
		if i == 5 {
			if err != boom {
				t.Errorf("update 5: %v, want its own error", err)
			}
			continue
		}
		if kind(err) != want[i] || err != nil && want[i] == "" {
			t.Errorf("update %d: %v, want %q", i, err, want[i])
		}
	}
	if got := s.Snapshot().Revision() - before; got != 1 {
		t.Errorf("the batch took %d revisions, want 1: it was not one", got)
	}
	for _, id := range []string{"vpc-2", "vpc-9"} {
		if _, ok := vpc.Get[vpc.VPC](s.Snapshot(), id); ok {
			t.Errorf("%s exists", id)
		}
	}
	if _, ok := vpc.Get[vpc.NetworkInterface](s.Snapshot(), "eni-3"); !ok {
		t.Error("eni-3 does not exist")
	}
}

func TestAPanicIsItsCallersAlone(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	func() {
		defer func() {
			if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "no way") {
				t.Errorf("recovered %v", r)
			}
		}()
		s.Update(context.Background(), func(tx *store.Tx) error { tx.Put(newVPC("vpc-1", 1)); panic("no way") })
	}()
	if err := put(t, s, newVPC("vpc-2", 2)); err != nil {
		t.Error(err)
	}
	if _, ok := vpc.Get[vpc.VPC](s.Snapshot(), "vpc-1"); ok {
		t.Error("what the panicking update wrote is there")
	}
}

func TestAnUpdateNobodyWaitsForIsNotDone(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Update(context.Background(), func(*store.Tx) error { close(held); <-release; return nil })
	})
	<-held
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := s.Update(ctx, func(*store.Tx) error { t.Error("it ran"); return nil })
		done <- err
	}()
	store.AwaitQueued(s, 1)
	cancel()
	if err := <-done; kind(err) != vpc.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	close(release)
	wg.Wait()
	if err := put(t, s, newVPC("vpc-1", 1)); err != nil { // whoever is taken after it
		t.Fatal(err)
	}
}

func TestUpdatesTooLargeForOneTransactionAreCommittedInSeveral(t *testing.T) {
	store.LimitOperations(t, 100)
	s := open(t, t.TempDir())
	defer s.Close()
	many := func(from, n int) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			for i := range n {
				tx.Put(newVPC(fmt.Sprintf("vpc-%d", from+i), vpc.VNI(from+i))) // two operations each
			}
			return nil
		}
	}
	errs := together(t, s, many(0x1000, 30), many(0x2000, 30), many(0x3000, 60), many(0x4000, 5))
	for i, want := range []vpc.ErrorKind{"", "", vpc.Limit, ""} {
		if kind(errs[i]) != want || errs[i] != nil && want == "" {
			t.Errorf("update %d: %v, want %q", i, errs[i], want)
		}
	}
	n := 0
	for range vpc.All[vpc.VPC](s.Snapshot()) {
		n++
	}
	if n != 65 {
		t.Errorf("%d VPCs, want 65", n)
	}
}

func TestUpdatesAfterCloseAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	s.Close()
	if err := put(t, s, newVPC("vpc-1", 1)); kind(err) != vpc.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

// A transaction that has nothing to write must not pass another server's
// revision off as its own.
func TestAnUpdateThatWritesNothingHidesNobodysWrite(t *testing.T) {
	dir := t.TempDir()
	one := open(t, dir)
	defer one.Close()
	two, err := store.OpenCluster(context.Background(), []string{"unix://" + dir + "/client.sock"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	for i := range 100 {
		id := fmt.Sprintf("vpc-%d", i)
		var rev vpc.Revision
		_, err := two.Update(context.Background(), func(tx *store.Tx) error {
			var err error
			rev, err = one.Update(context.Background(), writes(newVPC(id, vpc.VNI(0x1000+i))))
			tx.Delete(newVPC("vpc-none", 1))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		snap, err := two.WaitFor(context.Background(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := vpc.Get[vpc.VPC](snap, id); !ok {
			t.Fatalf("the second server never sees %s, written at revision %d", id, rev)
		}
	}
}

// Whatever many callers of two servers do at once, both snapshots and one read
// afresh from etcd show the same, down to every index, claim and reference.
func TestSnapshotsAgreeAfterConcurrentUpdatesOfTwoServers(t *testing.T) {
	dir := t.TempDir()
	one := open(t, dir)
	two, err := store.OpenCluster(context.Background(), []string{"unix://" + dir + "/client.sock"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for w := range 12 {
		s := []*store.Store{one, two}[w%2]
		rnd := rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() {
			for range 60 {
				n := rnd.IntN(6)
				v, sub := newVPC(fmt.Sprintf("vpc-%d", n), vpc.VNI(0x1000+n)), newSubnet(fmt.Sprintf("subnet-%d", n), fmt.Sprintf("vpc-%d", n))
				e := newENI(fmt.Sprintf("eni-%d", rnd.IntN(20)), string(sub.ID), string(v.ID), fmt.Sprintf("10.0.1.%d", 4+rnd.IntN(10)))
				_, err := s.Update(context.Background(), func(tx *store.Tx) error {
					switch n := rnd.IntN(10); {
					case n < 2:
						v.Tags = vpc.Tags{"k": fmt.Sprint(n)}
						tx.Put(v)
					case n < 4:
						tx.Put(sub)
					case n < 7:
						tx.Put(e)
					case n < 8:
						tx.Delete(e)
					case n < 9:
						tx.Delete(sub)
					default:
						tx.Delete(v)
					}
					return nil
				})
				if k := kind(err); err != nil && k != vpc.Duplicate && k != vpc.NotFound && k != vpc.InUse {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last := max(one.Snapshot().Revision(), two.Snapshot().Revision())
	var dumps []map[string]string
	for _, s := range []*store.Store{one, two} {
		snap, err := s.WaitFor(context.Background(), last)
		if err != nil {
			t.Fatal(err)
		}
		dumps = append(dumps, store.Dump(snap))
	}
	two.Close()
	one.Close()
	again := open(t, dir)
	defer again.Close()
	dumps = append(dumps, store.Dump(again.Snapshot()))
	if len(dumps[2]) == 0 {
		t.Fatal("nothing is left to compare")
	}
	for i, name := range []string{"the first server's snapshot", "the second server's snapshot"} {
		if diff := cmp.Diff(dumps[2], dumps[i]); diff != "" {
			t.Errorf("%s is not what the store holds (-store +snapshot):\n%s", name, diff)
		}
	}
}
