// SPDX-License-Identifier: Apache-2.0

package tally

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// disk is a File in memory that can break off in the middle of a write.
type disk struct {
	mu    sync.Mutex
	slots [2][]byte
	size  int64
	cut   int // the next writes end after so many bytes, if not negative
	err   error
	syncs int
}

func newDisk() *disk { return &disk{cut: -1} }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil && d.cut < 0 {
		return 0, d.err
	}
	if off >= d.size {
		return 0, io.EOF
	}
	n := min(len(p), int(d.size-off))
	clear(p[:n]) // a hole
	if s := d.slots[off/slotSize]; off%slotSize < int64(len(s)) {
		copy(p[:n], s[off%slotSize:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(p)
	if d.cut >= 0 && d.cut < n {
		n = d.cut
	}
	s := &d.slots[off/slotSize]
	at := int(off % slotSize)
	if len(*s) < at+n {
		*s = append(*s, make([]byte, at+n-len(*s))...)
	}
	copy((*s)[at:], p[:n])
	d.size = max(d.size, off+int64(n))
	return n, d.err
}

func (d *disk) Sync() error { d.syncs++; return d.err }

// counted are counts of n requests.
func counted(n int) Totals {
	c := New(start)
	for i := range n {
		c.Count(denied("vpce-1", i%3, after(i)))
	}
	return c.Totals()
}

// requests is how many a file counts.
func requests(t *testing.T, f io.ReaderAt) uint64 {
	t.Helper()
	totals, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	all, _, _ := sums(totals)
	return all.Requests
}

// Wherever a write breaks off, what was there before is still there.
func TestATornWriteLosesNothing(t *testing.T) {
	d := newDisk()
	if totals, err := Read(d); err != nil || len(totals.Endpoints) != 0 || !totals.Since.IsZero() {
		t.Errorf("an empty file: %+v %v", totals, err)
	}
	var now slot
	var err error
	for n := 1; n <= 3; n++ { // both slots have been written
		if now, err = write(d, now, counted(n)); err != nil {
			t.Fatal(err)
		}
		if got := requests(t, d); got != uint64(n) {
			t.Fatalf("%d requests, want %d", got, n)
		}
	}
	if d.syncs != 3 {
		t.Errorf("3 writes were brought to the disk %d times", d.syncs)
	}
	was := [2][]byte{slices.Clone(d.slots[0]), slices.Clone(d.slots[1])}
	whole := newDisk()
	if _, err := write(whole, slot{index: now.index, number: now.number}, counted(50)); err != nil {
		t.Fatal(err)
	}
	length := len(whole.slots[1-now.index])
	for cut := range length + 1 {
		d.slots = [2][]byte{slices.Clone(was[0]), slices.Clone(was[1])}
		d.cut, d.err = cut, errors.New("broken off")
		next, err := write(d, now, counted(50))
		if err == nil || next.number != now.number {
			t.Fatalf("a write that broke off counts: %+v %v", next, err)
		}
		want := uint64(3)
		if cut >= length-1 { // all but the line's end is enough
			want = 50
		}
		d.err = nil
		if got := requests(t, d); got != want {
			t.Fatalf("after %d of %d bytes: %d requests, want %d", cut, length, got, want)
		}
		d.cut = -1
		// It goes on from there.
		if at, err := newest(d); err != nil {
			t.Fatal(err)
		} else if _, err := write(d, at, counted(60)); err != nil || requests(t, d) != 60 {
			t.Fatalf("after %d bytes: the next write: %v", cut, err)
		}
	}
}

func TestAFlippedBitIsSeen(t *testing.T) {
	d := newDisk()
	now, err := write(d, slot{}, counted(1))
	if err != nil {
		t.Fatal(err)
	}
	if now, err = write(d, now, counted(2)); err != nil {
		t.Fatal(err)
	}
	s := d.slots[now.index]
	for i := range len(s) - 1 {
		s[i] ^= 4
		if got := requests(t, d); got != 1 {
			t.Fatalf("byte %d: %d requests", i, got)
		}
		s[i] ^= 4
	}
	d.slots[0][len(heading)+3], d.slots[1][len(heading)+3] = 'x', 'x'
	if _, err := Read(d); !errors.Is(err, ErrDamaged) {
		t.Errorf("two damaged slots: %v", err)
	}
}

// keeping keeps counts in a file until end is called, or kill, which writes nothing more.
type keeping struct {
	c      *Counter
	tick   chan time.Time
	cancel func()
	done   chan struct{}
	mu     sync.Mutex
	failed []error
}

func newKeeping(f File) *keeping {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeping{c: New(after(500)), tick: make(chan time.Time), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		keep(ctx, f, k.c, k.tick, func(err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.failed = append(k.failed, err)
		})
	}()
	return k
}

// wrote returns when what a tick writes is written: the second is taken after that.
func (k *keeping) wrote() {
	k.tick <- time.Time{}
	k.tick <- time.Time{}
}

func (k *keeping) end() []error {
	k.cancel()
	<-k.done
	return k.failed
}

func TestCountsGoOnAfterARestart(t *testing.T) {
	d := newDisk()
	for i := range uint64(5) {
		k := newKeeping(d)
		k.c.Count(denied("vpce-1", 2, after(int(i))))
		if i%2 == 0 {
			k.wrote() // then the end has nothing to write
		}
		if errs := k.end(); errs != nil {
			t.Fatal(errs)
		}
		if got := requests(t, d); got != i+1 {
			t.Fatalf("start %d: %d requests", i, got)
		}
	}
	want := Totals{Since: after(500), Endpoints: []Endpoint{{
		Endpoint: "vpce-1", VPC: "vpc-1", Service: "s3", Counts: Counts{Requests: 5, DeniedByEndpoint: 5}, Last: after(4),
		Denials: []Denial{{Statement: Statement{Policy: ByEndpoint, Statement: 2}, Count: 5, Last: after(4)}},
	}}}
	if got, err := Read(d); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(want, got))
	}
}

func TestNothingIsWrittenThatHasNotChanged(t *testing.T) {
	d := newDisk()
	k := newKeeping(d)
	for range 5 {
		k.wrote()
	}
	if k.end(); d.syncs != 1 { // since when is counted
		t.Errorf("%d writes", d.syncs)
	}
}

// A full disk loses nothing once there is room, and is said once.
func TestAFailedWriteIsTriedAgain(t *testing.T) {
	d := newDisk()
	k := newKeeping(d)
	k.c.Count(denied("vpce-1", 0, after(0)))
	k.wrote()
	k.c.Count(denied("vpce-1", 0, after(1)))
	d.mu.Lock()
	d.cut, d.err = 20, errors.New("the disk is full")
	d.mu.Unlock()
	k.wrote()
	if got := requests(t, &disk{slots: d.slots, size: d.size, cut: -1}); got != 1 {
		t.Errorf("while the disk is full: %d requests", got)
	}
	d.mu.Lock()
	d.cut, d.err = -1, nil
	d.mu.Unlock()
	k.wrote() // although nothing was counted meanwhile
	if got := requests(t, d); got != 2 {
		t.Errorf("afterwards: %d requests", got)
	}
	if errs := k.end(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "the disk is full") {
		t.Errorf("said %v", errs)
	}
}

func TestADamagedFileIsBegunAnew(t *testing.T) {
	d := newDisk()
	d.slots[0], d.size = []byte("something else\n"), 15
	k := newKeeping(d)
	k.c.Count(denied("vpce-1", 0, after(0)))
	if errs := k.end(); len(errs) != 1 || !errors.Is(errs[0], ErrDamaged) {
		t.Errorf("said %v", errs)
	}
	if got := requests(t, d); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestAFileThatCannotBeReadIsNotWrittenOver(t *testing.T) {
	d := newDisk()
	if _, err := write(d, slot{}, counted(7)); err != nil {
		t.Fatal(err)
	}
	d.err = errors.New("input/output error")
	k := newKeeping(d)
	k.c.Count(denied("vpce-1", 0, after(0)))
	if errs := k.end(); len(errs) != 1 || !errors.Is(errs[0], d.err) {
		t.Errorf("said %v", errs)
	}
	d.err = nil
	if got := requests(t, d); got != 7 {
		t.Errorf("%d requests", got)
	}
}

// Readers and writers meet in a real file; what is read is always whole.
func TestCountsAreReadWhileTheyAreWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "totals")
	if _, err := ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := newKeeping(f)
	const counters, each = 8, 500
	var counting sync.WaitGroup
	for i := range counters {
		counting.Go(func() {
			for j := range each {
				k.c.Count(denied("vpce-1", i, after(j)))
			}
		})
	}
	counted := make(chan struct{})
	go func() { counting.Wait(); close(counted) }()
	var last uint64
	for going := true; going; {
		select {
		case <-counted:
			going = false
		case k.tick <- time.Time{}:
		}
		totals, err := ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all, groups, _ := sums(totals)
		if all.Requests < last || all.Requests != groups {
			t.Fatalf("%d requests, %d in groups, %d before", all.Requests, groups, last)
		}
		last = all.Requests
	}
	if errs := k.end(); errs != nil {
		t.Fatal(errs)
	}
	totals, err := ReadFile(name)
	if all, _, _ := sums(totals); err != nil || all.Requests != counters*each || len(totals.Endpoints[0].Denials) != counters {
		t.Errorf("in the end %+v %v", totals, err)
	}
}
