// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"postern.dev/postern/internal/vpc"
)

// Updates of one store are committed in batches: while one etcd transaction
// is on its way to the disk, the next updates queue, and then run one after
// the other on one overlay of the snapshot, each seeing what those before it
// wrote, and are committed together. So they never conflict with one another,
// and a disk that flushes 500 times a second is no bound on calls. Conflicts
// are left for other servers' writes, and then the whole batch runs again.
const (
	maxBatch      = 128              // updates
	maxBatchKeys  = 1024             // objects they read or write; see MaxOperations
	commitTimeout = 15 * time.Second // an etcd that is away longer fails the calls
)

// pending is one Update on its way.
type pending struct {
	fn func(*Tx) error
	// taken is set by whoever comes first: the committer that runs fn, or the
	// caller that no longer waits for it.
	taken atomic.Bool
	done  chan struct{} // closed when the rest is set

	rev      vpc.Revision
	err      error
	panicked any // what fn panicked with, for its own goroutine to repeat
}

func (p *pending) finish(rev vpc.Revision, err error) {
	p.rev, p.err = rev, err
	close(p.done)
}

// Update runs fn in a transaction until it commits, and returns the revision
// once the snapshot shows it. An error of fn is returned as it is and writes
// nothing; fn may run more than once, on a goroutine of the store, and never
// after Update has returned. A transaction that writes nothing commits nothing
// and returns the snapshot's revision. When ctx ends, what has not begun is
// not done any more; what has begun is seen through.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) (vpc.Revision, error) {
	p := &pending{fn: fn, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return 0, vpc.Errorf(vpc.Unavailable, "store", "", "%v", err)
	}
	if !s.queue.add(p) {
		return 0, errClosed
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.taken.CompareAndSwap(false, true) {
			return 0, vpc.Errorf(vpc.Unavailable, "store", "", "%v", ctx.Err())
		}
		<-p.done
	}
	if p.panicked != nil {
		panic(p.panicked)
	}
	return p.rev, p.err
}

var errClosed = vpc.Errorf(vpc.Unavailable, "store", "", "the store is closed")

// queue holds the updates that wait for the committer.
type queue struct {
	mu     sync.Mutex
	list   []*pending    // guarded by mu
	closed bool          // guarded by mu
	wake   chan struct{} // holds one element when list may have become non-empty
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// add answers false when the queue is closed.
func (q *queue) add(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.list = append(q.list, p)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take answers what waits, at most n, but for what its caller has given up.
func (q *queue) take(n int) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*pending
	for len(q.list) > 0 && len(out) < n {
		p := q.list[0]
		q.list = q.list[1:]
		if p.taken.CompareAndSwap(false, true) {
			out = append(out, p)
		}
	}
	return out
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

// commit works the queue off until ctx ends.
func (s *Store) commit(ctx context.Context) {
	for {
		batch := s.queue.take(maxBatch)
		if len(batch) > 0 {
			s.commitBatch(ctx, batch)
			continue
		}
		select {
		case <-s.queue.wake:
		case <-ctx.Done():
			s.queue.close()
			settle(s.queue.take(math.MaxInt), 0, errClosed)
			return
		}
	}
}

// commitBatch runs the updates until each is committed or has failed.
func (s *Store) commitBatch(ctx context.Context, batch []*pending) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for tries := 0; len(batch) > 0; {
		base := s.Snapshot()
		tx, n := s.run(base, batch)
		if len(tx.writes) == 0 {
			settle(batch[:n], base.rev, nil)
			batch, tries = batch[n:], 0
			continue
		}
		rev, ok, err := s.try(ctx, tx)
		switch {
		case n > 1 && tooLarge(err):
			for _, p := range batch[:n] {
				s.commitBatch(ctx, []*pending{p})
			}
			batch, tries = batch[n:], 0
		case err != nil:
			settle(batch[:n], 0, err)
			batch, tries = batch[n:], 0
		case ok:
			settle(batch[:n], rev, nil)
			batch, tries = batch[n:], 0
		default:
			if tries++; tries == maxTries {
				settle(batch, 0, vpc.Errorf(vpc.Unavailable, "store", "", "the store is busy: %d attempts met other writers", maxTries))
				return
			}
			s.awaitNewer(ctx, base, tries)
		}
	}
}

// run runs the updates on base until the batch is large enough, and answers
// how many of them it ran. What an update wrote before it failed is dropped.
func (s *Store) run(base *Snapshot, batch []*pending) (*Tx, int) {
	all := newTx(base)
	for n, p := range batch {
		if n > 0 && len(all.reads)+len(all.writes) > maxBatchKeys {
			return all, n
		}
		p.err, p.panicked = nil, nil
		tx := all.nested()
		if p.err = guard(p, tx); p.err == nil && p.panicked == nil && len(tx.writes) > 0 {
			if p.err = tx.check(); p.err == nil {
				all.adopt(tx)
				continue
			}
		}
		tx.drop()
	}
	return all, len(batch)
}

// guard runs an update's function; a panic of it is the caller's.
func guard(p *pending, tx *Tx) error {
	defer func() {
		if r := recover(); r != nil {
			p.panicked = fmt.Sprintf("%v\n\n%s", r, debug.Stack())
		}
	}()
	return p.fn(tx)
}

// settle gives each update its outcome. One that failed by itself has its
// error already: it is only told now because what it met was not there before
// the others of its batch were committed.
func settle(batch []*pending, rev vpc.Revision, err error) {
	for _, p := range batch {
		switch {
		case p.err != nil || p.panicked != nil:
			p.finish(0, p.err)
		default:
			p.finish(rev, err)
		}
	}
}

// try commits a transaction. It answers its revision, once the snapshot shows
// it, and false if somebody else had written first.
func (s *Store) try(ctx context.Context, tx *Tx) (vpc.Revision, bool, error) {
	cmps, ops, err := tx.plan()
	if err != nil {
		return 0, false, err
	}
	if len(ops) == 0 {
		// Nothing is left to write, and etcd's answer would carry the revision
		// of somebody else's write, which the snapshot does not hold.
		return tx.base.rev, true, nil
	}
	rev, ok, err := s.transact(ctx, tx, cmps, ops)
	if ok {
		if _, err := s.WaitFor(ctx, rev); err != nil {
			return 0, false, vpc.Errorf(vpc.Unavailable, "store", "", "%v", err)
		}
	}
	return rev, ok, err
}

// transact keeps the watch from decoding what publishOwn is about to publish.
func (s *Store) transact(ctx context.Context, tx *Tx, cmps []clientv3.Cmp, ops []clientv3.Op) (vpc.Revision, bool, error) {
	s.own.Lock()
	defer s.own.Unlock()
	res, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if tooLarge(err) {
		return 0, false, errTooLarge
	}
	if err != nil {
		return 0, false, vpc.Errorf(vpc.Unavailable, "store", "", "the store did not answer: %v", err)
	}
	if !res.Succeeded {
		return 0, false, nil
	}
	rev := vpc.Revision(res.Header.Revision)
	s.publishOwn(tx, rev)
	return rev, true, nil
}

// publishOwn makes the overlay of a committed transaction the snapshot, so
// that nothing waits for the watch to bring it and nothing decodes what is in
// memory already. It is right only if no other write came in between; if one
// did, the watch brings both.
func (s *Store) publishOwn(tx *Tx, rev vpc.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() == tx.base && rev == tx.pendingRevision() {
		s.replace(tx.edit.commit(rev))
	}
}

// awaitNewer waits until the snapshot shows what was written first. When many
// are at it, a random pause lets one of them through.
func (s *Store) awaitNewer(ctx context.Context, base *Snapshot, try int) {
	newer, ch := s.Changed()
	if newer != base && try < 4 {
		return
	}
	select {
	case <-ch:
	case <-time.After(time.Duration(1+rand.IntN(5+try)) * time.Millisecond):
	case <-ctx.Done():
	}
}

var errTooLarge = vpc.Errorf(vpc.Limit, "transaction", "", "too many objects in one call")

// tooLarge says that etcd has surely not done a transaction and would do each
// half of it.
func tooLarge(err error) bool {
	return errors.Is(err, errTooLarge) || errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrTooManyOps)
}

// plan turns reads and writes into etcd's compares and operations.
func (t *Tx) plan() ([]clientv3.Cmp, []clientv3.Op, error) {
	var cmps []clientv3.Cmp
	var ops []clientv3.Op
	for k, rev := range t.reads {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(k), "=", int64(rev)))
	}
	// Reference and claim keys are computed as sets first: a key that one
	// object gives up and another takes must be written once.
	put := map[string]string{}
	del := map[string]bool{}
	held := map[string]string{} // claim keys this transaction's old objects hold, and which
	for k, o := range t.writes {
		kind, key, _ := splitObjectKey(k)
		if old := t.old[k]; old != nil {
			old.Refs(func(rk vpc.Kind, ref string) { del[refKey(rk, ref, kind, key)] = true })
			old.Claims(func(c string) { del[claims+c] = true; held[claims+c] = string(kind) + "/" + key })
		}
		if o == nil {
			if t.old[k] != nil {
				ops = append(ops, clientv3.OpDelete(k))
			}
			continue
		}
		b, err := json.Marshal(o)
		if err != nil {
			return nil, nil, fmt.Errorf("encode %s %s: %w", kind, key, err)
		}
		ops = append(ops, clientv3.OpPut(k, string(b)))
	}
	for k, o := range t.writes {
		if o == nil {
			continue
		}
		kind, key, _ := splitObjectKey(k)
		o.Refs(func(rk vpc.Kind, ref string) {
			put[refKey(rk, ref, kind, key)] = ""
			// The referred object must exist at commit, unless this very
			// transaction writes it.
			rok := objectKey(rk, ref)
			if _, ours := t.writes[rok]; !ours {
				cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(rok), ">", 0))
			}
		})
		o.Claims(func(c string) {
			put[claims+c] = string(kind) + "/" + key
		})
	}
	for k, v := range put {
		isClaim := len(k) > len(claims) && k[:len(claims)] == claims
		if isClaim && held[k] == "" {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(k), "=", 0))
		}
		if del[k] {
			delete(del, k)
			if !isClaim || held[k] == v {
				continue // the reference or claim stays as it is
			}
		}
		ops = append(ops, clientv3.OpPut(k, v))
	}
	for k := range del {
		ops = append(ops, clientv3.OpDelete(k))
	}
	alone := maps.Clone(t.alone)
	for k, o := range t.writes {
		if o == nil && t.old[k] != nil {
			kind, key, _ := splitObjectKey(k)
			alone[ref{kind, key}] = true
		}
	}
	for r := range alone {
		cmps = append(cmps, t.noNewReferrers(r.kind, r.key))
	}
	if len(cmps) > maxOperations || len(ops) > maxOperations {
		return nil, nil, errTooLarge
	}
	return cmps, ops, nil
}

// noNewReferrers compares that no reference to the object was written after
// the snapshot: those it shows have been checked and are removed with it.
func (t *Tx) noNewReferrers(kind vpc.Kind, key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(refs+string(kind)+"/"+key+"/"), "<", int64(t.base.rev)+1).WithPrefix()
}
