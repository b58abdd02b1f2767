// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// terminatedTime is how long a terminated instance can still be described.
const terminatedTime = time.Hour

// RunInstanceLifecycle brings instances forward until ctx is done, and then
// returns its error:
//
//	pending        the instance's host and every other live one hold its interface   running
//	shutting-down  they have let it go                                               terminated; its interfaces are removed or detached
//	terminated     for an hour                                                       forgotten
//
// Like RunEndpointLifecycle it is driven by the store and the hosts' status
// alone. A host that cannot apply an interface keeps the instance where it is,
// and the log says why.
func (c *Control) RunInstanceLifecycle(ctx context.Context) error {
	stuck := stuckLog{c: c, kind: "instance"}
	return c.levelTriggered(ctx, func(ctx context.Context, snap *store.Snapshot) time.Duration {
		return c.stepInstances(ctx, snap, &stuck)
	})
}

// levelTriggered runs pass on every newest snapshot: when the store or a
// host's status changed, and when the time pass answers has gone by (0 is never).
func (c *Control) levelTriggered(ctx context.Context, pass func(context.Context, *store.Snapshot) time.Duration) error {
	for {
		snap, stored := c.Store.Changed()
		_, reported := c.Hosts.Status()
		var alarm <-chan time.Time
		if wait := pass(ctx, snap); wait > 0 {
			alarm = time.After(wait)
		}
		select {
		case <-stored:
		case <-reported:
		case <-alarm:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stuckLog says once why an object does not move.
type stuckLog struct {
	c           *Control
	kind        string
	before, now map[string]bool // ids that waited in the last pass and wait in this one
}

// begin starts a pass.
func (s *stuckLog) begin() { s.before, s.now = s.now, map[string]bool{} }

func (s *stuckLog) waits(id, why string) {
	if !s.before[id] {
		s.c.Log.Info(s.kind+" waits for a host", "id", id, "reason", why)
	}
	s.now[id] = true
}

// wait is the shortest of the durations it is given; the zero value is none.
type wait time.Duration

func (w *wait) sooner(d time.Duration) {
	if d = max(d, time.Millisecond); *w == 0 || d < time.Duration(*w) {
		*w = wait(d)
	}
}

func (c *Control) stepInstances(ctx context.Context, snap *store.Snapshot, stuck *stuckLog) time.Duration {
	var next wait
	stuck.begin()
	step := func(i *vpc.Instance, fn func(*store.Tx, *vpc.Instance)) {
		if err := c.advanceInstance(ctx, i, fn); err != nil && ctx.Err() == nil {
			c.Log.Warn("instance not advanced, trying again", "instance", i.ID, "state", i.State, "error", err)
			next.sooner(retryTime)
		}
	}
	for i := range vpc.By[vpc.Instance](snap, "state", vpc.InstancePending) {
		ok, why := c.holds(snap, i.Host, instanceRevision(snap, i), instanceInterfaces(snap, i)...)
		if !ok {
			stuck.waits(string(i.ID), why)
			continue
		}
		step(i, func(tx *store.Tx, i *vpc.Instance) {
			i.State = vpc.InstanceRunning
			tx.Put(i)
		})
	}
	for i := range vpc.By[vpc.Instance](snap, "state", vpc.InstanceShuttingDown) {
		ok, why := c.holds(snap, c.mustRelease(snap, i), snap.Changed(vpc.KindInstance, string(i.ID)), instanceInterfaces(snap, i)...)
		if !ok {
			stuck.waits(string(i.ID), why)
			continue
		}
		step(i, c.endInstance)
	}
	for i := range vpc.By[vpc.Instance](snap, "state", vpc.InstanceTerminated) {
		if left := i.Terminated.Add(terminatedTime).Sub(c.Now()); left > 0 {
			next.sooner(left)
			continue
		}
		step(i, func(tx *store.Tx, i *vpc.Instance) { tx.Delete(i) })
	}
	return time.Duration(next)
}

// instanceRevision is the last write of an instance or of its interfaces.
func instanceRevision(v vpc.View, i *vpc.Instance) vpc.Revision {
	r := v.Changed(vpc.KindInstance, string(i.ID))
	for n := range vpc.By[vpc.NetworkInterface](v, vpc.IndexInstance, i.ID) {
		r = max(r, v.Changed(vpc.KindInterface, string(n.ID)))
	}
	return r
}

// mustRelease is the host that has to let an ending instance go, "" if it has
// left the installation for good: then nobody can say so any more.
func (c *Control) mustRelease(v vpc.View, i *vpc.Instance) vpc.HostID {
	if _, known := vpc.Get[vpc.Host](v, i.Host); known || i.Host == c.LocalHost {
		return i.Host
	}
	return ""
}

// endInstance makes an instance terminated and frees its interfaces.
func (c *Control) endInstance(tx *store.Tx, i *vpc.Instance) {
	for n := range vpc.By[vpc.NetworkInterface](tx, vpc.IndexInstance, i.ID) {
		if n.Attachment.DeleteOnTermination {
			deleteInterface(tx, n)
			continue
		}
		n = vpc.Edit(n)
		n.Attachment = nil
		tx.Put(n)
	}
	i.State, i.Terminated = vpc.InstanceTerminated, c.Now()
	tx.Put(i)
}

// advanceInstance runs fn on a private copy of the instance if its state is
// still what was looked at.
func (c *Control) advanceInstance(ctx context.Context, seen *vpc.Instance, fn func(*store.Tx, *vpc.Instance)) error {
	_, err := c.Store.Update(ctx, func(tx *store.Tx) error {
		i, ok := vpc.Get[vpc.Instance](tx, seen.ID)
		if ok && i.State == seen.State {
			fn(tx, vpc.Edit(i))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write instance %s: %w", seen.ID, err)
	}
	return nil
}
