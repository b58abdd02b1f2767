// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const (
	topicOne = vpc.ARN("arn:aws:sns:us-east-1:222222222222:one")
	topicTwo = vpc.ARN("arn:aws:sns:us-east-1:222222222222:two")
)

// topics is a fake of everything behind topics: it takes what is delivered,
// or does with it what the test says.
type topics struct {
	mu      sync.Mutex
	taken   []control.Delivery // guarded by mu
	checked []vpc.ARN          // guarded by mu
	changed chan struct{}      // closed and replaced at each attempt; guarded by mu
	// answer is asked for each attempt, check for each check; nil is yes.
	answer func(context.Context, control.Delivery) error
	check  func(vpc.AccountID, vpc.ARN) error
}

func newTopics() *topics { return &topics{changed: make(chan struct{})} }

func (f *topics) Check(_ context.Context, a vpc.AccountID, t vpc.ARN) error {
	f.mu.Lock()
	f.checked = append(f.checked, t)
	f.mu.Unlock()
	if f.check != nil {
		return f.check(a, t)
	}
	return nil
}

func (f *topics) Deliver(ctx context.Context, d control.Delivery) error {
	var err error
	if f.answer != nil {
		err = f.answer(ctx, d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.taken = append(f.taken, d)
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return err
}

func (f *topics) got() ([]control.Delivery, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.taken), f.changed
}

// await waits until n deliveries were taken, and answers them.
func (f *topics) await(t testing.TB, n int) []control.Delivery {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		got, ch := f.got()
		if len(got) >= n {
			return got
		}
		select {
		case <-ch:
		case <-deadline:
			t.Fatalf("%d of %d deliveries after 10 s: %v", len(got), n, told(got))
		}
	}
}

// told is deliveries in short: "Connect 1".
func told(ds []control.Delivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%s %d", d.Event, d.Sequence))
	}
	return out
}

// notifying is the endpoints' fixture with topics.
func newNotifying(t testing.TB) (*endpoints, *topics) {
	t.Helper()
	f, to := newEndpoints(t), newTopics()
	f.Topics = to
	return f, to
}

// courier delivers until the test ends, or end is called.
func (f *endpoints) courier() (end func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.RunNotifications(ctx) })
	end = func() { cancel(); wg.Wait() }
	f.t.Cleanup(end)
	return end
}

// advance moves the clock and wakes what looks at it.
func (f *endpoints) advance(d time.Duration) {
	f.t.Helper()
	f.clock.Advance(d)
	f.put(func(tx *store.Tx) {
		r, _ := vpc.Get[vpc.Region](tx, vpc.RegionKey)
		tx.Touch(r)
	})
}

func (f *endpoints) notify(caller control.Caller, in control.CreateNotificationInput) *vpc.ConnectionNotification {
	f.t.Helper()
	if in.Topic == "" {
		in.Topic = topicOne
	}
	if in.Events == nil {
		in.Events = vpc.ConnectionEvents
	}
	n, err := f.CreateNotification(f.ctx, caller, in)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *endpoints) notification(id vpc.NotificationID) *vpc.ConnectionNotification {
	f.t.Helper()
	n, ok := vpc.Get[vpc.ConnectionNotification](f.View(), id)
	if !ok {
		f.t.Fatalf("notification %s is gone", id)
	}
	return n
}

// waiting is what waits for a notification, in the order of streams.
func (f *endpoints) waiting(id vpc.NotificationID) []*vpc.Notice {
	return slices.Collect(vpc.By[vpc.Notice](f.View(), vpc.IndexNotification, id))
}

// toService makes an endpoint to a service.
func (f *endpoints) toService(s *vpc.EndpointService) *vpc.Endpoint {
	f.t.Helper()
	return f.create(control.CreateEndpointInput{Type: vpc.InterfaceEndpoint, ServiceName: s.Name})
}

func (f *endpoints) accept(s *vpc.EndpointService, e *vpc.Endpoint) {
	f.t.Helper()
	failed, err := f.AcceptConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID})
	if err != nil || len(failed) > 0 {
		f.t.Fatal(err, failed)
	}
}

func (f *endpoints) reject(s *vpc.EndpointService, e *vpc.Endpoint) {
	f.t.Helper()
	failed, err := f.RejectConnections(f.ctx, controltest.Provider, s.ID, []vpc.EndpointID{e.ID})
	if err != nil || len(failed) > 0 {
		f.t.Fatal(err, failed)
	}
}

func (f *endpoints) remove(e *vpc.Endpoint) {
	f.t.Helper()
	failed, err := f.DeleteEndpoints(f.ctx, controltest.Consumer, []vpc.EndpointID{e.ID})
	if err != nil || len(failed) > 0 {
		f.t.Fatal(err, failed)
	}
}

// queue writes a notification, whose service is gone already, with notices of
// one endpoint each.
func (f *endpoints) queue(id vpc.NotificationID, owner vpc.AccountID, streams, each int) {
	f.t.Helper()
	controltest.HandMade(f.Control) // notices of endpoints and accounts that never were
	f.put(func(tx *store.Tx) {
		tx.Put(&vpc.ConnectionNotification{ID: id, Owner: owner, Topic: topicOne, State: vpc.NotificationEnabled, Closing: f.clock.Now()})
		for s := range streams {
			for i := range each {
				tx.Put(&vpc.Notice{
					ID: fmt.Sprintf("%s-%d-%d", id, s, i), Notification: id, Owner: owner, Event: vpc.EventReject,
					Endpoint: vpc.EndpointID(fmt.Sprintf("vpce-%017x", s)), Sequence: int64(i + 1), Time: f.clock.Now(),
				})
			}
		}
	})
}
