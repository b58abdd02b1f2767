// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// How long a provider may leave a request unanswered, and how long the life
// cycle waits after the store failed before it tries again.
const (
	acceptanceTime = 7 * 24 * time.Hour
	retryTime      = 200 * time.Millisecond
)

// endingTime is how long packets go on passing for names that a host's resolver
// does not let go of: a provider's no does not wait for a host that is stuck.
const endingTime = 2 * time.Second

// lifecycleSteps is how many endpoints are written at a time.
const lifecycleSteps = 64

// RunEndpointLifecycle brings endpoints forward until ctx is done, and then
// returns its error:
//
//	pending, not Named  every live host carries the packets   Named is set
//	pending, Named      every live host has the names too     available
//	pending, Coming     every live host carries the packets,  the names have the new addresses;
//	  or Going            and no resolver answers with Going    the interfaces in Going are removed
//	Ending              no live host's resolver has the       packets stop
//	                      names, or endingTime is over
//	deleting            no live host carries anything of it   the endpoint and its interfaces are removed
//	pendingAcceptance   no answer for 7 days                  expired
//
// So no name ever leads to where packets do not pass: names come after packets
// and go before them.
//
// It looks at all of them whenever the store or a host's status changes: it
// remembers nothing that matters, so it may stop and start at any time and run
// in more than one place. Each write is guarded on what was looked at: an
// endpoint that changed in between is looked at again. A host that cannot
// apply an endpoint keeps it where it is, and the log says why.
func (c *Control) RunEndpointLifecycle(ctx context.Context) error {
	l := &lifecycle{c: c, stuck: map[vpc.EndpointID]string{}}
	for {
		snap, stored := c.Store.Changed()
		_, reported := c.Hosts.Status()
		wait := l.pass(ctx, snap)
		var alarm <-chan time.Time
		if wait > 0 {
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

type lifecycle struct {
	c *Control
	// stuck is why an endpoint does not move, as last logged.
	stuck map[vpc.EndpointID]string
}

// pass brings every endpoint as far as it can go. It answers when to look
// again without being woken; 0 is never.
func (l *lifecycle) pass(ctx context.Context, snap *store.Snapshot) time.Duration {
	var wait time.Duration
	sooner := func(d time.Duration) {
		if d = max(d, time.Millisecond); wait == 0 || d < wait {
			wait = d
		}
	}
	// The writes are made side by side, so that the store commits many at once.
	var steps sync.WaitGroup
	slots := make(chan struct{}, lifecycleSteps)
	var failed atomic.Bool
	step := func(e *vpc.Endpoint, fn func(tx *store.Tx, e *vpc.Endpoint)) {
		slots <- struct{}{}
		steps.Go(func() {
			defer func() { <-slots }()
			if err := l.advance(ctx, snap, e.ID, fn); err != nil && ctx.Err() == nil {
				l.c.Log.Warn("endpoint not advanced, trying again", "endpoint", e.ID, "state", e.State, "error", err)
				failed.Store(true)
			}
		})
	}
	waiting := map[vpc.EndpointID]bool{}
	hosts, _ := l.c.Hosts.Status()
	alone := len(hosts) == 0
	for e := range vpc.By[vpc.Endpoint](snap, "state", vpc.EndpointPending) {
		waiting[e.ID] = true
		if !l.applied(snap, e) || (e.Named || len(e.Going) > 0) && !l.named(snap, e) {
			continue
		}
		step(e, func(tx *store.Tx, e *vpc.Endpoint) {
			// A gateway endpoint has no names to wait for, and where there
			// is no host nobody has to hold them.
			settled := e.Named && len(e.Coming) == 0 && len(e.Going) == 0
			if settled || e.Type == vpc.GatewayEndpoint || alone {
				e.State = vpc.EndpointAvailable
			}
			removeGoing(tx, e)
			e.Named, e.Coming, e.Going = true, nil, nil
			tx.Put(e)
		})
	}
	for _, state := range []vpc.EndpointState{vpc.EndpointRejected, vpc.EndpointDeleting} {
		for e := range vpc.By[vpc.Endpoint](snap, "state", state) {
			switch {
			case !e.Ending.IsZero():
				waiting[e.ID] = true
				if left := e.Ending.Add(endingTime).Sub(l.c.Now()); left > 0 && !l.named(snap, e) {
					sooner(left)
					continue
				}
				step(e, func(tx *store.Tx, e *vpc.Endpoint) {
					e.Ending = time.Time{}
					removeGoing(tx, e)
					e.Going = nil
					tx.Put(e)
				})
			case state == vpc.EndpointDeleting:
				waiting[e.ID] = true
				if l.applied(snap, e) {
					step(e, l.c.forget)
				}
			}
		}
	}
	for e := range vpc.By[vpc.Endpoint](snap, "state", vpc.EndpointPendingAcceptance) {
		if left := e.Created.Add(acceptanceTime).Sub(l.c.Now()); left > 0 {
			sooner(left)
			continue
		}
		step(e, func(tx *store.Tx, e *vpc.Endpoint) {
			e.State = vpc.EndpointExpired
			e.FailureReason = "The endpoint service did not accept the request in time"
			tx.Put(e)
		})
	}
	steps.Wait()
	if failed.Load() {
		sooner(retryTime)
	}
	for id := range l.stuck {
		if !waiting[id] {
			delete(l.stuck, id)
		}
	}
	return wait
}

// applied reports whether every live host holds the endpoint as it is now.
func (l *lifecycle) applied(v vpc.View, e *vpc.Endpoint) bool {
	objects := []string{string(e.ID)}
	for _, n := range e.Nodes {
		objects = append(objects, string(n.Interface))
	}
	ok, why := l.c.Hosts.AppliedByAll(v.Changed(vpc.KindEndpoint, string(e.ID)), objects...)
	return l.holds(e, ok, why)
}

// named reports whether every live host's resolver answers as the endpoint is now.
func (l *lifecycle) named(v vpc.View, e *vpc.Endpoint) bool {
	ok, why := l.c.Hosts.NamedByAll(v.Changed(vpc.KindEndpoint, string(e.ID)))
	return l.holds(e, ok, why)
}

// holds notes why an endpoint waits.
func (l *lifecycle) holds(e *vpc.Endpoint, ok bool, why string) bool {
	if ok {
		delete(l.stuck, e.ID)
		return true
	}
	if l.stuck[e.ID] != why {
		l.c.Log.Info("endpoint waits for a host", "endpoint", e.ID, "state", e.State, "reason", why)
	}
	l.stuck[e.ID] = why
	return false
}

// advance runs fn on a shallow copy of the endpoint if it is still as the
// snapshot shows it. If not, the change that made it so has another pass coming.
func (l *lifecycle) advance(ctx context.Context, snap *store.Snapshot, id vpc.EndpointID, fn func(*store.Tx, *vpc.Endpoint)) error {
	seen := snap.Changed(vpc.KindEndpoint, string(id))
	_, err := l.c.Store.Update(ctx, func(tx *store.Tx) error {
		e, ok := vpc.Get[vpc.Endpoint](tx, id)
		if ok && tx.Changed(vpc.KindEndpoint, string(id)) == seen {
			// What fn changes are values; the lists are shared with the snapshot.
			changed := *e
			fn(tx, &changed)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write endpoint %s: %w", id, err)
	}
	return nil
}

// settled is true of an endpoint that is not on its way to available.
func settled(e *vpc.Endpoint, exists bool) bool { return !exists || e.State != vpc.EndpointPending }

// ended is true of an endpoint whose packets no longer pass because its names
// still go.
func ended(e *vpc.Endpoint, exists bool) bool { return !exists || e.Ending.IsZero() }

// awaitEndpoints waits until a condition holds for each endpoint, but not
// longer than settleTime: a caller that does not get to see it here polls. The
// life cycle brings the condition about.
func (c *Control) awaitEndpoints(ctx context.Context, ids []vpc.EndpointID, until func(e *vpc.Endpoint, exists bool) bool) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		snap, changed := c.Store.Changed()
		all := true
		for _, id := range ids {
			e, ok := vpc.Get[vpc.Endpoint](snap, id)
			all = all && until(e, ok)
		}
		if all {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
