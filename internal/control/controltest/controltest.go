// SPDX-License-Identifier: Apache-2.0

// Package controltest gives tests a Control on a real embedded store, with a
// region, two accounts and a clock that only the test moves.
package controltest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Accounts of every test.
var (
	Consumer = control.Caller{Account: "111111111111", Name: "consumer", ARN: "arn:aws:iam::111111111111:root"}
	Provider = control.Caller{Account: "222222222222", Name: "provider", ARN: "arn:aws:iam::222222222222:root"}
	Stranger = control.Caller{Account: "333333333333", Name: "stranger", ARN: "arn:aws:iam::333333333333:root"}
)

// Clock is a clock that stands still until Advance.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// New makes a Control in us-east-1 with zones a, b and c.
func New(t testing.TB) (*control.Control, *Clock) {
	t.Helper()
	c, clock, _ := Open(t, t.TempDir())
	return c, clock
}

// Open is New on a store in dir, which may be there from before. stop closes
// the store; it is done at the end of the test in any case.
func Open(t testing.TB, dir string) (c *control.Control, clock *Clock, stop func()) {
	t.Helper()
	s, err := store.OpenEmbedded(context.Background(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(s.Close)
	t.Cleanup(stop)
	clock = &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	_, err = s.Update(context.Background(), func(tx *store.Tx) error {
		if _, ok := vpc.Get[vpc.Region](tx, vpc.RegionKey); ok {
			return nil
		}
		tx.Put(&vpc.Region{Name: "us-east-1", Domain: "vpce.amazonaws.com", DHCPOptions: "dopt-00000000000000001", Zones: []vpc.Zone{
			{Name: "us-east-1a", ID: "use1-az1"}, {Name: "us-east-1b", ID: "use1-az2"}, {Name: "us-east-1c", ID: "use1-az3"},
		}})
		for _, c := range []control.Caller{Consumer, Provider, Stranger} {
			tx.Put(&vpc.Account{ID: c.Account, Name: c.Name, Created: clock.Now()})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return control.New(control.Config{
		Store: s, Hosts: control.NewHosts(), Now: clock.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}), clock, stop
}
