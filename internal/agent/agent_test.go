// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern.dev/postern/internal/agent"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/vpc"
)

// server is the other end: states are what it sends, sent the targets of the
// health results it got.
type server struct {
	states chan desired.Host

	mu   sync.Mutex
	sent []string // guarded by mu
}

func (s *server) Follow(ctx context.Context, _ desired.Host, changed func(desired.Host), _ func(hostsync.Settings)) {
	for {
		select {
		case h := <-s.states:
			changed(h)
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) Send(_ context.Context, r hostsync.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range r.Health {
		s.sent = append(s.sent, h.TargetID)
	}
	return nil
}

// got is what came since the last call, after everything has come to rest.
func (s *server) got() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.sent
	s.sent = nil
	slices.Sort(out)
	return out
}

type nowhere struct{}

func (nowhere) Desired(desired.Host)       {}
func (nowhere) Settings(hostsync.Settings) {}

func probing(revision vpc.Revision, names ...string) desired.Host {
	h := desired.Empty()
	h.Revision = revision
	for _, n := range names {
		h.Probes[n] = desired.Probe{TargetID: n}
	}
	return h
}

func TestHealthIsSaidAgainUntilItsProbeIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		s := &server{states: make(chan desired.Host)}
		a := agent.New(agent.Config{Host: "h1", Sync: s, Edge: nowhere{}, StateFile: file, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		want := func(what string, targets ...string) {
			t.Helper()
			if got := s.got(); !slices.Equal(got, targets) {
				t.Errorf("%s: sent the health of %v, want %v", what, got, targets)
			}
		}
		s.states <- probing(1, "x", "y")
		a.Health("x", hostsync.Health{TargetID: "x", Healthy: true})
		a.Health("y", hostsync.Health{TargetID: "y"})
		want("both new", "x", "y")
		a.Health("x", hostsync.Health{TargetID: "x", Healthy: true})
		want("the same of a probe that began anew", "x")
		time.Sleep(9 * time.Second)
		want("nothing new")
		time.Sleep(2 * time.Second)
		want("all, now and then", "x", "y")
		s.states <- probing(2, "y")
		time.Sleep(10 * time.Second)
		want("all that is still probed", "y")
		a.Resend()
		want("all to a new server", "y")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
