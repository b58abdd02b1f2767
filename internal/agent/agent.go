// SPDX-License-Identifier: Apache-2.0

// Package agent runs on every host: it follows the server's stream, keeps the
// last desired state on disk, brings the host to it, hands the edge and the
// prober their part, and reports back. It knows no kernel call and no
// concrete adapter: what touches the host comes in through interfaces.
//
// With the server gone the agent goes on with what it has; with the agent
// gone the datapath goes on with what it was given.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/reconcile"
	"postern.dev/postern/internal/vpc"
)

// Edge takes what the unprivileged processes need; both calls replace the
// earlier value and must not block.
type Edge interface {
	Desired(desired.Host)
	Settings(hostsync.Settings)
}

// Sync is the stream to the server.
type Sync interface {
	Follow(ctx context.Context, held desired.Host, desiredChanged func(desired.Host), settingsChanged func(hostsync.Settings))
	Send(ctx context.Context, r hostsync.Report) error
}

// Config is what an Agent needs.
type Config struct {
	Host vpc.HostID
	Sync Sync
	// Steps bring the host to the desired state, in order.
	Steps []reconcile.Step
	Edge  Edge
	// StateFile keeps the last desired state over restarts.
	StateFile string
	Log       *slog.Logger
}

// Agent is a running host.
type Agent struct {
	Config
	loop *reconcile.Loop

	mu     sync.Mutex
	status reconcile.Status           // guarded by mu
	named  vpc.Revision               // guarded by mu
	health map[string]hostsync.Health // last result of each probe; guarded by mu
	// backends are what the edge says of the services' backends; guarded by mu.
	backends map[string]map[string]bool
	unsent   map[string]hostsync.Health // not yet answered by the server; guarded by mu
	wake     chan struct{}
}

// New makes an agent.
func New(cfg Config) *Agent {
	a := &Agent{Config: cfg, health: map[string]hostsync.Health{}, unsent: map[string]hostsync.Health{}, wake: make(chan struct{}, 1)}
	steps := append(slices.Clone(cfg.Steps), reconcile.Step{Name: "keep", Apply: a.saveStep})
	a.loop = reconcile.New(a.reached, steps...)
	return a
}

// Run works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	held, err := a.load()
	if err != nil {
		return err
	}
	if held.Revision != 0 {
		// Until the server answers, the host is what it was: same state, same
		// names, same probes.
		a.desired(held)
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.loop.Run(ctx) })
	wg.Go(func() { a.reports(ctx) })
	a.Sync.Follow(ctx, held, a.desired, a.Edge.Settings)
	wg.Wait()
	return nil
}

// desired passes a new state on and forgets the results of probes that are
// not in it.
func (a *Agent) desired(h desired.Host) {
	a.mu.Lock()
	maps.DeleteFunc(a.health, func(name string, _ hostsync.Health) bool {
		_, probed := h.Probes[name]
		return !probed
	})
	a.mu.Unlock()
	a.Edge.Desired(h)
	a.loop.Set(h)
}

// reached notes what the loop did; reports sends it.
func (a *Agent) reached(st reconcile.Status) {
	for name, e := range st.Errors {
		a.Log.Error("not as desired, trying again", "object", name, "error", e)
	}
	a.mu.Lock()
	a.status = st
	a.mu.Unlock()
	a.poke()
}

// Named takes word that the host's resolver answers with the names of a revision.
func (a *Agent) Named(r vpc.Revision) {
	a.mu.Lock()
	a.named = r
	a.mu.Unlock()
	a.poke()
}

// Backends takes the edge's word on the health of the services' backends. The map
// is the agent's from now on.
func (a *Agent) Backends(health map[string]map[string]bool) {
	a.mu.Lock()
	a.backends = health
	a.mu.Unlock()
	a.poke()
}

// Health takes a prober's result. One that says what the last one said is sent
// too: the server may have forgotten that on purpose, as when a target leaves
// its group and comes back.
func (a *Agent) Health(name string, h hostsync.Health) {
	a.mu.Lock()
	a.health[name] = h
	a.unsent[name] = h
	a.mu.Unlock()
	a.poke()
}

func (a *Agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// keepAlive is how often a host reports when nothing happens.
const keepAlive = 10 * time.Second

// reports sends the newest status whenever it changes, and with every known
// health result each keepAlive: one that came while the server could not use
// it, as between two changes of a listener, is not lost for good.
func (a *Agent) reports(ctx context.Context) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-a.wake:
		case <-tick.C:
			a.recall()
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		r := hostsync.Report{Host: a.Host, Applied: a.status.Revision, Named: a.named, Errors: a.status.Errors, Backends: a.backends}
		sent := a.unsent
		a.unsent = map[string]hostsync.Health{}
		a.mu.Unlock()
		for _, h := range sent {
			r.Health = append(r.Health, h)
		}
		if err := a.Sync.Send(ctx, r); err != nil {
			if ctx.Err() != nil {
				return
			}
			a.Log.Warn("the server did not take the report, sending again", "error", err)
			a.mu.Lock()
			for n, h := range sent {
				if _, newer := a.unsent[n]; !newer {
					a.unsent[n] = h
				}
			}
			a.mu.Unlock()
			time.AfterFunc(200*time.Millisecond, a.poke)
		}
	}
}

// Resend makes the next report carry every known health result, for a server
// that has just started.
func (a *Agent) Resend() {
	a.recall()
	a.poke()
}

// recall makes every known health result one to send.
func (a *Agent) recall() {
	a.mu.Lock()
	maps.Copy(a.unsent, a.health)
	a.mu.Unlock()
}

// saveStep is the last reconcile step: what is saved is what was applied.
func (a *Agent) saveStep(h desired.Host) map[string]error {
	if err := save(a.StateFile, h); err != nil {
		return map[string]error{"state file": err}
	}
	return nil
}

func save(file string, h desired.Host) error {
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode the desired state: %w", err)
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("keep the desired state: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("keep the desired state: %w", err)
	}
	return nil
}

func (a *Agent) load() (desired.Host, error) {
	if err := os.MkdirAll(filepath.Dir(a.StateFile), 0o700); err != nil {
		return desired.Empty(), fmt.Errorf("make the agent's directory: %w", err)
	}
	h, err := Load(a.StateFile)
	if e := (*fs.PathError)(nil); err != nil && !errors.As(err, &e) {
		a.Log.Warn("the kept desired state does not decode, asking for the whole", "error", err)
		return desired.Empty(), nil
	}
	return h, err
}

// Load reads the desired state that an agent keeps; none is Empty.
func Load(file string) (desired.Host, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return desired.Empty(), nil
	}
	if err != nil {
		return desired.Empty(), fmt.Errorf("read the kept desired state: %w", err)
	}
	h := desired.Empty()
	if err := json.Unmarshal(b, &h); err != nil {
		return desired.Empty(), fmt.Errorf("read the kept desired state in %s: %w", file, err)
	}
	return h.Fit(), nil
}
