// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern.dev/postern/internal/edge/tally"
)

// waitUntil waits for a condition.
func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}

// An edge that is still ending its requests while the next one runs loses nothing,
// and neither does the next one.
func TestTotalsOfTwoEdgesAreAddedUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "totals")
	start := func() (*tally.Counter, func()) {
		f, err := openTotals(name)
		if err != nil {
			t.Fatal(err)
		}
		c := tally.New(time.Now())
		return c, keepTotals(f, c, slog.New(slog.DiscardHandler))
	}
	requests := func() uint64 {
		totals, err := tally.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var n uint64
		for _, e := range totals.Endpoints {
			n += e.Requests
		}
		return n
	}
	count := func(c *tally.Counter) {
		c.Count(tally.Request{Time: time.Now(), Endpoint: "vpce-1", Service: "s3", Allowed: true})
	}
	old, endOld := start()
	waitUntil(t, func() bool { // it has the file
		f, err := openTotals(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return waitLock(ctx, f) != nil
	})
	next, endNext := start()
	count(next)
	count(old)
	count(next)
	endOld()
	if n := requests(); n != 1 {
		t.Errorf("the first edge's requests: %d", n)
	}
	waitUntil(t, func() bool {
		list := next.Totals().Endpoints
		return len(list) == 1 && list[0].Requests == 3
	})
	count(next)
	endNext()
	if n := requests(); n != 4 {
		t.Errorf("%d requests", n)
	}
}

func TestARecordFileIsPutAsideUnlessSomebodyElseDoes(t *testing.T) {
	for _, x := range []struct {
		there []string
		aside bool
	}{{nil, true}, {[]string{".1"}, true}, {[]string{".1.gz"}, false}, {[]string{".1", ".2.gz"}, false}, {[]string{"-20260102"}, false}} {
		name := filepath.Join(t.TempDir(), "requests.jsonl")
		for _, suffix := range append(x.there, "") {
			if err := os.WriteFile(name+suffix, []byte("{}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Truncate(name, maxRecords+1); err != nil {
			t.Fatal(err)
		}
		f, err := openRecords(name)
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat()
		if f.Close(); err != nil || (st.Size() == 0) != x.aside {
			t.Errorf("beside %q: %d bytes, %v", x.there, st.Size(), err)
		}
	}
}
