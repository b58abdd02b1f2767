// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

var errTopicDown = errors.New("the topic is down")

// The pause doubles from one second to five minutes, less at most a quarter.
func TestFailedDeliveriesWaitLongerAndLonger(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	to.answer = func(context.Context, control.Delivery) error { return errTopicDown }
	f.queue("vpce-nfn-1", controltest.Provider.Account, 1, 1)
	f.courier()
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
		want *= time.Second
		f.await(fmt.Sprintf("failed attempt %d", i+1), func(vpc.View) bool { return f.waiting("vpce-nfn-1")[0].Attempts == i+1 })
		w := f.waiting("vpce-nfn-1")[0]
		if d := w.Next.Sub(f.clock.Now()); d > want || d < max(time.Second, want*3/4) {
			t.Errorf("a pause of %s after attempt %d, want about %s", d, i+1, want)
		}
		if w.LastError != errTopicDown.Error() || w.Claimant != "" {
			t.Errorf("after a failed attempt: %+v", w)
		}
		f.advance(w.Next.Sub(f.clock.Now()))
	}
}

func TestOneStreamWaitsInOrderAndHoldsNoOtherUp(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	slow := vpc.EndpointID(fmt.Sprintf("vpce-%017x", 0))
	failures := 3
	to.answer = func(_ context.Context, d control.Delivery) error {
		if d.Endpoint == slow && failures > 0 {
			failures--
			return errTopicDown
		}
		return nil
	}
	f.queue("vpce-nfn-1", controltest.Provider.Account, 3, 4)
	f.courier()
	if got := to.await(t, 8); slices.ContainsFunc(got, func(d control.Delivery) bool { return d.Endpoint == slow }) {
		t.Fatal("an event was delivered although its stream's first one fails")
	}
	for i := range 3 {
		f.await("the failed attempt", func(vpc.View) bool { return f.waiting("vpce-nfn-1")[0].Attempts == i+1 })
		f.advance(5 * time.Minute)
	}
	order := map[vpc.EndpointID][]int64{}
	for _, d := range to.await(t, 12) {
		order[d.Endpoint] = append(order[d.Endpoint], d.Sequence)
	}
	for e, got := range order {
		if !slices.Equal(got, []int64{1, 2, 3, 4}) {
			t.Errorf("%s was told in the order %v", e, got)
		}
	}
}

func TestTwoServersDeliverEachNoticeOnce(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	controltest.HandMade(f.Control) // notices of nobody's
	second := control.New(f.Config)
	const streams, each = 12, 5
	for i := range 4 {
		f.queue(vpc.NotificationID(fmt.Sprintf("vpce-nfn-%d", i)), vpc.AccountID(fmt.Sprint(i)), streams/4, each)
	}
	f.courier()
	ctx, cancel := context.WithCancel(f.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { second.RunNotifications(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	f.await("the end of all notices", func(v vpc.View) bool { _, ok := first[vpc.Notice](v); return !ok })
	got, _ := to.got()
	seen := map[string]int{}
	for _, d := range got {
		seen[d.MessageID]++
	}
	if len(got) != streams*each || len(seen) != streams*each {
		t.Errorf("%d deliveries of %d notices, want %d of each", len(got), len(seen), streams*each)
	}
}

func first[T any, P interface {
	*T
	vpc.Object
}](v vpc.View) (P, bool) {
	for o := range v.Objects(P(nil).Kind()) {
		return o.(P), true
	}
	return nil, false
}

// What waits when the server ends goes out after it starts again.
func TestNoticesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _, stop := controltest.Open(t, dir)
	to := newTopics()
	to.answer = func(context.Context, control.Delivery) error { return errTopicDown }
	c.Topics = to
	e := ownEndpoint(t, c)
	n, err := c.CreateNotification(context.Background(), controltest.Consumer, control.CreateNotificationInput{Endpoint: e, Topic: topicOne, Events: vpc.ConnectionEvents})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteEndpoints(context.Background(), controltest.Consumer, []vpc.EndpointID{e}); err != nil {
		t.Fatal(err)
	}
	waiting, ok := first[vpc.Notice](c.View())
	if !ok || waiting.Notification != n.ID {
		t.Fatalf("waiting: %+v", waiting)
	}
	f := &endpoints{Control: c, t: t, ctx: context.Background()}
	end := f.courier()
	f.await("a failed attempt", func(v vpc.View) bool { n, _ := first[vpc.Notice](v); return n.Attempts == 1 })
	end()
	stop()

	c, clock, _ := controltest.Open(t, dir)
	controltest.HandMade(c)
	clock.Advance(time.Minute)
	to = newTopics()
	c.Topics = to
	f = &endpoints{Control: c, t: t, ctx: context.Background()}
	f.courier()
	to.await(t, 1)
	f.await("the end of the notice", func(v vpc.View) bool { _, ok := first[vpc.Notice](v); return !ok })
	if got, _ := to.got(); len(got) != 1 || got[0].MessageID != waiting.ID || got[0].Event != vpc.EventDelete {
		t.Errorf("delivered %+v, want once %s", got, waiting.ID)
	}
}

// ownEndpoint makes the consumer's endpoint with nothing behind it.
func ownEndpoint(t testing.TB, c *control.Control) vpc.EndpointID {
	t.Helper()
	controltest.HandMade(c) // an endpoint and a VPC without their parts
	const id = "vpce-00000000000000001"
	_, err := c.Store.Update(context.Background(), func(tx *store.Tx) error {
		tx.Put(&vpc.VPC{ID: "vpc-00000000000000001", Owner: controltest.Consumer.Account})
		tx.Put(&vpc.Endpoint{ID: id, Owner: controltest.Consumer.Account, VPC: "vpc-00000000000000001", Type: vpc.InterfaceEndpoint, State: vpc.EndpointAvailable})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A server that is killed after the topic took the message and before it wrote
// that down sends it again, with the same id.
func TestAMessageIsRepeatedRatherThanLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, clock, kill := controltest.Open(t, dir)
	to := newTopics()
	to.answer = func(context.Context, control.Delivery) error { kill(); return nil }
	c.Topics = to
	f := &endpoints{Control: c, t: t, ctx: context.Background(), clock: clock}
	f.queue("vpce-nfn-1", controltest.Consumer.Account, 1, 2)
	end := f.courier()
	took := to.await(t, 1)
	end()

	c, clock, _ = controltest.Open(t, dir)
	controltest.HandMade(c)
	to = newTopics()
	c.Topics = to
	f = &endpoints{Control: c, t: t, ctx: context.Background(), clock: clock}
	w, ok := first[vpc.Notice](c.View())
	if !ok || w.ID != took[0].MessageID || w.Claimant == "" {
		t.Fatalf("after the kill the store has %+v", w)
	}
	f.courier()
	// The claim of the dead server holds for a while: nothing overtakes it.
	f.advance(w.Claimed.Sub(clock.Now()) - time.Second)
	f.queue("vpce-nfn-2", controltest.Consumer.Account, 1, 1) // proof that it looked
	if got := to.await(t, 1); got[0].Notification != "vpce-nfn-2" {
		t.Errorf("delivered within the claim: %+v", got)
	}
	f.advance(time.Second)
	if got := to.await(t, 3); got[1].MessageID != took[0].MessageID || got[2].Sequence != 2 {
		t.Errorf("delivered %+v, want %s again and then the next", got, took[0].MessageID)
	}
}

// A server that is told to end lets go of what it has not delivered.
func TestAnEndingServerGivesItsClaimsBack(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	begun := make(chan struct{})
	to.answer = func(ctx context.Context, _ control.Delivery) error { close(begun); <-ctx.Done(); return ctx.Err() }
	f.queue("vpce-nfn-1", controltest.Provider.Account, 1, 1)
	end := f.courier()
	<-begun
	if w := f.waiting("vpce-nfn-1")[0]; w.Claimant == "" || !w.Claimed.After(f.clock.Now()) {
		t.Errorf("while it is delivered: %+v", w)
	}
	end()
	if w := f.waiting("vpce-nfn-1")[0]; w.Claimant != "" || w.Attempts != 0 || !w.Next.IsZero() {
		t.Errorf("after the end: %+v", w)
	}
	to.answer = nil
	f.courier()
	to.await(t, 1)
}

func TestATopicThatRefusesDisablesItsNotification(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	f.live()
	var log bytes.Buffer
	var mu sync.Mutex
	f.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return log.Write(b) }), nil))
	var refuses sync.Mutex
	yes := true
	set := func(b bool) { refuses.Lock(); yes = b; refuses.Unlock() }
	to.answer = func(_ context.Context, d control.Delivery) error {
		refuses.Lock()
		defer refuses.Unlock()
		if d.Topic == topicOne && yes {
			return fmt.Errorf("publish: %w", &control.Refused{Reason: "AuthorizationError: no\nway"})
		}
		return nil
	}
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	other := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID, Topic: topicTwo})
	e := f.toService(s)
	f.accept(s, e)
	f.courier()
	f.await("the notification disabled", func(vpc.View) bool { return f.notification(n.ID).State == vpc.NotificationDisabled })
	if got := f.notification(n.ID); got.Reason != "publish: AuthorizationError: no way" || got.Lost != 2 || len(f.waiting(n.ID)) != 0 {
		t.Errorf("disabled as %+v with %d waiting", got, len(f.waiting(n.ID)))
	}
	f.reject(s, e)
	to.await(t, 3) // all of the other topic's
	if len(f.waiting(n.ID)) != 0 || f.notification(other.ID).State != vpc.NotificationEnabled {
		t.Error("a disabled notification collects, or the other one is disabled too")
	}
	set(false)
	if err := f.ModifyNotification(f.ctx, controltest.Provider, control.ModifyNotificationInput{ID: n.ID}); err != nil {
		t.Fatal(err)
	}
	f.accept(s, e)
	got := to.await(t, 5)
	if i := slices.IndexFunc(got, func(d control.Delivery) bool { return d.Topic == topicOne }); i < 0 || got[i].Sequence != 4 {
		t.Errorf("after it was enabled: %q", told(got))
	}
	if got := f.notification(n.ID); got.State != vpc.NotificationEnabled || got.Reason != "" {
		t.Errorf("after it was enabled: %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "disabled") || !strings.Contains(log.String(), "lost=2") {
		t.Errorf("the log does not say what was lost: %s", log.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A refusal of the old topic says nothing of the new one.
func TestARefusalAfterTheTopicChangedDisablesNothing(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	f.toService(s)
	to.answer = func(_ context.Context, d control.Delivery) error {
		if d.Topic != topicOne {
			return nil
		}
		if err := f.ModifyNotification(f.ctx, controltest.Provider, control.ModifyNotificationInput{ID: n.ID, Topic: topicTwo}); err != nil {
			t.Error(err)
		}
		return &control.Refused{Reason: "gone"}
	}
	f.courier()
	f.await("the failed attempt", func(vpc.View) bool { w := f.waiting(n.ID); return len(w) == 1 && w[0].Attempts == 1 })
	f.advance(time.Second)
	if got := to.await(t, 1); got[0].Topic != topicTwo || f.notification(n.ID).State != vpc.NotificationEnabled {
		t.Errorf("delivered %+v, notification %+v", got, f.notification(n.ID))
	}
}

func TestTheOldestOfTooManyNoticesIsLostAndCounted(t *testing.T) {
	t.Parallel()
	f, _ := newNotifying(t)
	controltest.HandMade(f.Control) // notices of endpoints that never were
	s := f.service(true, "")
	n := f.notify(controltest.Provider, control.CreateNotificationInput{Service: s.ID})
	f.put(func(tx *store.Tx) {
		for i := range 499 {
			w := &vpc.Notice{ID: fmt.Sprint(i), Notification: n.ID, Owner: n.Owner, Endpoint: vpc.EndpointID(fmt.Sprintf("vpce-%017x", 500-i)), Sequence: 1, Time: f.clock.Now()}
			if i == 0 {
				w.Claimant = "somebody" // under way: it must stay
			}
			tx.Put(w)
			f.clock.Advance(time.Millisecond)
		}
	})
	e := f.toService(s)
	if w := f.waiting(n.ID); len(w) != 500 || f.notification(n.ID).Lost != 0 {
		t.Fatalf("%d waiting, lost %d", len(w), f.notification(n.ID).Lost)
	}
	f.reject(s, e)
	w := f.waiting(n.ID)
	has := func(id string) bool {
		return slices.ContainsFunc(w, func(n *vpc.Notice) bool { return n.ID == id })
	}
	if len(w) != 500 || f.notification(n.ID).Lost != 1 || !has("0") || has("1") || !has("2") {
		t.Errorf("%d waiting, lost %d, has 0 %v, 1 %v, 2 %v", len(w), f.notification(n.ID).Lost, has("0"), has("1"), has("2"))
	}
}

// Topics that hang take only their owner's share of the attempts.
func TestATopicThatHangsHoldsUpItsOwnerOnly(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	controltest.HandMade(f.Control) // notices of nobody's
	var mu sync.Mutex
	hanging := 0
	to.answer = func(ctx context.Context, d control.Delivery) error {
		if d.Account != "hangs" {
			return nil
		}
		mu.Lock()
		hanging++
		mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	f.queue("vpce-nfn-1", "hangs", 100, 1)
	f.queue("vpce-nfn-2", controltest.Provider.Account, 1, 30)
	f.courier()
	to.await(t, 30)
	mu.Lock()
	defer mu.Unlock()
	if hanging == 0 || hanging > 8 {
		t.Errorf("%d attempts for one account at a time", hanging)
	}
}

func TestWhatNobodyTakesEndsADayAfterItsService(t *testing.T) {
	t.Parallel()
	f, to := newNotifying(t)
	to.answer = func(context.Context, control.Delivery) error { return errTopicDown }
	f.queue("vpce-nfn-1", controltest.Provider.Account, 2, 2)
	f.courier()
	f.await("failed attempts", func(vpc.View) bool {
		return !slices.ContainsFunc(f.waiting("vpce-nfn-1"), func(n *vpc.Notice) bool { return n.Sequence == 1 && n.Attempts == 0 })
	})
	f.advance(24*time.Hour - time.Second)
	f.notification("vpce-nfn-1")
	f.advance(time.Second)
	f.await("the end of it all", func(v vpc.View) bool {
		_, ok := vpc.Get[vpc.ConnectionNotification](v, "vpce-nfn-1")
		return !ok && len(f.waiting("vpce-nfn-1")) == 0
	})
}
