// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

const (
	// deliveryTime bounds one attempt. A claim lasts much longer, so that
	// servers whose clocks differ a little do not deliver beside each other.
	deliveryTime = 20 * time.Second
	claimTime    = time.Minute
	// The pause after the first failed attempt, which doubles up to the last.
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	// closingTime is how long a notification whose service or endpoint is gone
	// may still try.
	closingTime = 24 * time.Hour
	// How many attempts are under way at a time, in all and for one account:
	// topics that do not answer hold up their owners only.
	maxUnderWay        = 32
	maxAccountUnderWay = 8

	maxErrorText = 512
)

// RunNotifications delivers notices to their topics until ctx is done, and
// then returns its error.
//
// Each notice is delivered at least once: it is removed after its topic took
// it, and a server that ends in between leaves it to be delivered again, with
// the same message id. Within a stream (see vpc.Notice) order is kept, also
// over failed attempts; streams do not wait for one another. Before an attempt
// the notice is claimed in the store, so of several servers one delivers it.
// A topic that refuses disables the notification.
//
// Like the other life cycles it remembers nothing that matters.
func (c *Control) RunNotifications(ctx context.Context) error {
	self, err := c.newID("courier")
	if err != nil {
		return err
	}
	r := &courier{
		c: c, self: self, done: make(chan *vpc.Notice, maxUnderWay),
		busy: map[string]bool{}, accounts: map[vpc.AccountID]int{},
	}
	defer r.wg.Wait()
	for {
		snap, stored := c.Store.Changed()
		var alarm <-chan time.Time
		if wait := r.pass(ctx, snap); wait > 0 {
			alarm = time.After(wait)
		}
		select {
		case <-stored:
		case n := <-r.done:
			delete(r.busy, n.Stream())
			r.accounts[n.Owner]--
		case <-alarm:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// courier is one server's part in delivering. Its fields but done and wg
// belong to the goroutine of RunNotifications.
type courier struct {
	c    *Control
	self string
	// busy are the streams with an attempt under way here, accounts how many
	// each account has.
	busy     map[string]bool
	accounts map[vpc.AccountID]int
	// last is the stream an attempt began for last: the next turn is that of
	// the one after it, so that a long stream lets the others through.
	last string
	// lost is what has been logged of each notification's losses; nil before
	// the first look.
	lost map[vpc.NotificationID]int64

	done chan *vpc.Notice // one for each entry of busy, when its attempt is over
	wg   sync.WaitGroup
}

// pass starts an attempt for every notice that is due, and clears away what
// nobody waits for. It answers when to look again without being woken; 0 is
// never.
func (r *courier) pass(ctx context.Context, snap *store.Snapshot) time.Duration {
	now := r.c.Now()
	var wait time.Duration
	sooner := func(at time.Time) {
		if d := max(at.Sub(now), time.Millisecond); wait == 0 || d < wait {
			wait = d
		}
	}
	tidy := func(what string, fn func(tx *store.Tx) error) {
		if _, err := r.c.Store.Update(ctx, fn); err != nil && ctx.Err() == nil {
			r.c.Log.Warn("connection notification not cleared away, trying again", "object", what, "error", err)
			sooner(now.Add(retryTime))
		}
	}
	r.logLosses(snap)
	for n := range vpc.All[vpc.ConnectionNotification](snap) {
		if n.Closing.IsZero() {
			continue
		}
		_, waits := vpc.First[vpc.Notice](snap, vpc.IndexNotification, n.ID)
		over := !now.Before(n.Closing.Add(closingTime))
		if waits && !over {
			sooner(n.Closing.Add(closingTime))
			continue
		}
		if waits {
			r.c.Log.Warn("connection notices given up: their service or endpoint is long gone", "notification", n.ID, "topic", n.Topic)
		}
		tidy(string(n.ID), func(tx *store.Tx) error { tx.Delete(n); return nil })
	}
	var due []*vpc.Notice
	for n := range heads(snap) {
		if r.busy[n.Stream()] {
			continue
		}
		if _, ok := vpc.Get[vpc.ConnectionNotification](snap, n.Notification); !ok {
			tidy(n.Key(), func(tx *store.Tx) error { return discard(tx, n.Notification) })
			continue
		}
		if at := dueAt(n); now.Before(at) {
			sooner(at)
			continue
		}
		due = append(due, n)
	}
	turn := max(slices.IndexFunc(due, func(n *vpc.Notice) bool { return n.Stream() > r.last }), 0)
	for _, n := range slices.Concat(due[turn:], due[:turn]) {
		if len(r.busy) >= maxUnderWay || r.accounts[n.Owner] >= maxAccountUnderWay {
			continue // the end of one of them wakes us
		}
		r.last = n.Stream()
		r.busy[r.last] = true
		r.accounts[n.Owner]++
		seen := snap.Changed(vpc.KindNotice, n.Key())
		r.wg.Go(func() {
			r.attempt(ctx, n, seen)
			r.done <- n // never blocks: it has room for all of busy
		})
	}
	return wait
}

// heads yields the first notice of every stream.
func heads(v vpc.View) func(yield func(*vpc.Notice) bool) {
	return func(yield func(*vpc.Notice) bool) {
		last := ""
		for n := range vpc.All[vpc.Notice](v) { // in the order of their keys
			if s := n.Stream(); s != last {
				last = s
				if !yield(n) {
					return
				}
			}
		}
	}
}

// dueAt is when the next attempt to deliver a notice may begin.
func dueAt(n *vpc.Notice) time.Time {
	if n.Claimant != "" && n.Claimed.After(n.Next) {
		return n.Claimed
	}
	return n.Next
}

// pause is how long to wait after a number of failed attempts: it doubles from
// a second to five minutes, less up to a quarter by chance (0 to 1), so that
// what failed together does not come again together.
func pause(attempts int, chance float64) time.Duration {
	d := lastPause
	if n := attempts - 1; n < 9 {
		d = firstPause << n
	}
	return max(d-time.Duration(chance*float64(d/4)), firstPause)
}

// discard removes the notices of a notification that does not exist.
func discard(tx *store.Tx, id vpc.NotificationID) error {
	if _, ok := vpc.Get[vpc.ConnectionNotification](tx, id); ok {
		return nil
	}
	for n := range vpc.By[vpc.Notice](tx, vpc.IndexNotification, id) {
		tx.Delete(n)
	}
	return nil
}

// attempt claims a notice that is as it was seen, delivers it and writes down
// what came of it.
func (r *courier) attempt(ctx context.Context, n *vpc.Notice, seen vpc.Revision) {
	log := r.c.Log.With("notification", n.Notification, "endpoint", n.Endpoint, "event", n.Event, "message", n.ID)
	claimed, to, err := r.claim(ctx, n, seen)
	if err != nil {
		if ctx.Err() == nil {
			log.Warn("connection notice not claimed, trying again", "error", err)
		}
		select {
		case <-time.After(retryTime):
		case <-ctx.Done():
		}
		return
	}
	if claimed == nil {
		return // another server has it, or it is gone
	}
	dctx, cancel := context.WithTimeout(ctx, deliveryTime)
	err = r.c.Topics.Deliver(dctx, r.delivery(claimed, to))
	cancel()
	if err != nil && ctx.Err() != nil {
		err = errEnding // that is no fault of the topic
	}
	// Also when we end: what is done need not be done again.
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	_, werr := r.c.Store.Update(wctx, func(tx *store.Tx) error { return r.outcome(tx, claimed, to, err) })
	if werr != nil {
		log.Warn("the outcome of a connection notice was not written: it will be delivered again", "error", werr)
	}
	var refused *Refused
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, &refused):
		log.Warn("connection notification disabled: its topic refuses", "topic", to.Topic, "account", n.Owner, "reason", shortened(err))
	default:
		log.Info("connection notice not delivered, trying again", "topic", to.Topic, "attempts", claimed.Attempts+1, "error", shortened(err))
	}
}

// errEnding is the outcome of an attempt that the end of the server broke off.
var errEnding = errors.New("the server ends")

// claim makes the notice this server's for a while, unless it has changed
// since it was seen.
func (r *courier) claim(ctx context.Context, n *vpc.Notice, seen vpc.Revision) (claimed *vpc.Notice, to *vpc.ConnectionNotification, err error) {
	key := n.Key()
	_, err = r.c.Store.Update(ctx, func(tx *store.Tx) error {
		claimed, to = nil, nil
		n, ok := vpc.Get[vpc.Notice](tx, key)
		if !ok || tx.Changed(vpc.KindNotice, key) != seen {
			return nil
		}
		t, ok := vpc.Get[vpc.ConnectionNotification](tx, n.Notification)
		if !ok {
			return nil
		}
		n = vpc.Edit(n)
		n.Claimant, n.Claimed = r.self, r.c.Now().Add(claimTime)
		tx.Put(n)
		claimed, to = n, t
		return nil
	})
	return claimed, to, err
}

func (r *courier) delivery(n *vpc.Notice, to *vpc.ConnectionNotification) Delivery {
	return Delivery{
		Topic: to.Topic, Account: to.Owner, MessageID: n.ID, Event: n.Event, Time: n.Time.UTC(),
		Region: r.c.Region().Name, Notification: n.Notification, Endpoint: n.Endpoint, EndpointOwner: n.EndpointOwner,
		Service: n.Service, ServiceName: n.ServiceName, Sequence: n.Sequence,
	}
}

// outcome writes what came of the attempt to deliver n to a notification's
// topic.
func (r *courier) outcome(tx *store.Tx, n *vpc.Notice, to *vpc.ConnectionNotification, failure error) error {
	now, ok := vpc.Get[vpc.Notice](tx, n.Key())
	if !ok {
		return nil
	}
	if failure == nil {
		tx.Delete(now)
		return nil
	}
	if now.Claimant != r.self {
		return nil // it took too long, and is another's now
	}
	var refused *Refused
	if errors.As(failure, &refused) {
		t, ok := vpc.Get[vpc.ConnectionNotification](tx, to.ID)
		// Not when its owner has given it another topic meanwhile.
		if ok && t.Topic == to.Topic {
			disable(tx, t, shortened(failure))
			return nil
		}
	}
	now = vpc.Edit(now)
	now.Claimant, now.Claimed = "", time.Time{}
	if failure != errEnding {
		now.Attempts++
		now.LastError = shortened(failure)
		now.Next = r.c.Now().Add(pause(now.Attempts, rand.Float64()))
	}
	tx.Put(now)
	return nil
}

// disable ends what a notification sends. What waits is lost: the topic would
// refuse it too.
func disable(tx *store.Tx, n *vpc.ConnectionNotification, reason string) {
	n = vpc.Edit(n)
	n.State, n.Reason = vpc.NotificationDisabled, reason
	for o := range vpc.By[vpc.Notice](tx, vpc.IndexNotification, n.ID) {
		tx.Delete(o)
		n.Lost++
	}
	tx.Put(n)
}

// logLosses logs by how much each notification's losses have grown.
func (r *courier) logLosses(v vpc.View) {
	first := r.lost == nil
	if first {
		r.lost = map[vpc.NotificationID]int64{}
	}
	for n := range vpc.All[vpc.ConnectionNotification](v) {
		if known := r.lost[n.ID]; n.Lost > known && !first {
			r.c.Log.Warn("connection notices lost: too many waited, or the topic refused", "notification", n.ID, "topic", n.Topic, "account", n.Owner, "lost", n.Lost-known, "ever", n.Lost)
		}
		if n.Lost > 0 {
			r.lost[n.ID] = n.Lost
		}
	}
	for id := range r.lost {
		if _, ok := vpc.Get[vpc.ConnectionNotification](v, id); !ok {
			delete(r.lost, id)
		}
	}
}

// shortened is an error's text, bounded, in one line.
func shortened(err error) string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(fmt.Sprint(err), "?"))
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "..."
	}
	return s
}
