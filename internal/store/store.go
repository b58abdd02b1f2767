// SPDX-License-Identifier: Apache-2.0

// Package store keeps the domain's objects in etcd, embedded or remote, and
// gives everybody else an immutable indexed snapshot of them.
//
// Layout, below /postern/v1/:
//
//	o/<kind>/<key>                    the object, as JSON
//	r/<kind>/<key>/<by kind>/<by key> "object by refers to object kind/key"
//	c/<claim>                         the object that holds the claim, "kind/key"
//
// A transaction runs a function against a private overlay of the snapshot and
// commits with compare-and-swap: every object it read must be as it was, every
// object it refers to must exist, every object it deletes must have no
// referrers, and every claim must be free. etcd checks all of it in one
// transaction, so two servers racing for one address cannot both win. A
// conflict runs the function again on a newer snapshot.
//
// Update returns when this store's own snapshot shows the write: a read that
// follows a write sees it. Updates of one store are committed in batches; see
// commit.go.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"postern.dev/postern/internal/vpc"
)

const (
	root     = "/postern/v1/"
	objects  = root + "o/"
	refs     = root + "r/"
	claims   = root + "c/"
	maxTries = 64
)

// Store is a connection to etcd and the snapshot its watch feeds.
type Store struct {
	client *clientv3.Client
	log    *slog.Logger
	close  func()

	current atomic.Pointer[Snapshot]
	queue   *queue // of updates, to the committer

	own     sync.Mutex    // held while a transaction of ours is on its way, and to apply others'
	mu      sync.Mutex    // held to replace current
	changed chan struct{} // closed and replaced when current changes; guarded by mu

	cancel context.CancelFunc
	ended  sync.WaitGroup
	done   chan struct{} // closed when the watch and the committer have ended
}

// newStore loads everything and starts the watch. closeAll runs once on Close.
func newStore(ctx context.Context, client *clientv3.Client, log *slog.Logger, closeAll func()) (*Store, error) {
	s := &Store{client: client, log: log, close: closeAll, queue: newQueue(), changed: make(chan struct{}), done: make(chan struct{})}
	snap, err := s.load(ctx)
	if err != nil {
		closeAll()
		return nil, err
	}
	s.current.Store(snap)
	wctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.ended.Go(func() { s.watch(wctx) })
	s.ended.Go(func() { s.commit(wctx) })
	go func() { s.ended.Wait(); close(s.done) }()
	return s, nil
}

// Close stops the watch, the committer and the client, and the embedded server if there is one.
func (s *Store) Close() {
	s.cancel()
	<-s.done
	s.close()
}

// Snapshot is the newest state this store has seen.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }

// Changed returns the newest snapshot and a channel that is closed when a newer one exists.
func (s *Store) Changed() (*Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.Load(), s.changed
}

// WaitFor returns the snapshot once it shows revision r.
func (s *Store) WaitFor(ctx context.Context, r vpc.Revision) (*Snapshot, error) {
	for {
		snap, ch := s.Changed()
		if snap.Revision() >= r {
			return snap, nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the snapshot to reach revision %d (at %d): %w", r, snap.Revision(), ctx.Err())
		case <-s.done:
			return nil, errors.New("the store is closed")
		}
	}
}

// replace makes snap the current one; the caller holds mu.
func (s *Store) replace(snap *Snapshot) {
	s.current.Store(snap)
	close(s.changed)
	s.changed = make(chan struct{})
}

// load reads every object at one revision, in pages.
func (s *Store) load(ctx context.Context) (*Snapshot, error) {
	const page = 2000
	key, end := objects, clientv3.GetPrefixRangeEnd(objects)
	var rev int64
	b := emptySnapshot().edit()
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(page)}
		if rev != 0 {
			opts = append(opts, clientv3.WithRev(rev))
		}
		res, err := s.client.Get(ctx, key, opts...)
		if err != nil {
			return nil, fmt.Errorf("read the store: %w", err)
		}
		if rev == 0 {
			rev = res.Header.Revision
		}
		for _, kv := range res.Kvs {
			o, err := decode(kv)
			if err != nil {
				return nil, err
			}
			b.put(o, vpc.Revision(kv.ModRevision))
		}
		if !res.More {
			return b.commit(vpc.Revision(rev)), nil
		}
		key = string(res.Kvs[len(res.Kvs)-1].Key) + "\x00"
	}
}

// watch applies changes to the snapshot, one store revision at a time. When
// the watch is lost (compaction, restart of a remote etcd) it loads afresh.
func (s *Store) watch(ctx context.Context) {
	for ctx.Err() == nil {
		from := int64(s.Snapshot().Revision()) + 1
		wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		ch := s.client.Watch(wctx, root, clientv3.WithPrefix(), clientv3.WithRev(from))
		err := s.follow(ch)
		cancel()
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("store watch ended, loading again", "error", err)
		for ctx.Err() == nil {
			snap, err := s.load(ctx)
			if err == nil {
				s.mu.Lock()
				if snap.rev > s.current.Load().rev {
					s.replace(snap)
				}
				s.mu.Unlock()
				break
			}
			s.log.Warn("store not readable, trying again", "error", err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

func (s *Store) follow(ch clientv3.WatchChan) error {
	for res := range ch {
		if err := res.Err(); err != nil {
			return err
		}
		s.apply(res.Events)
	}
	return errors.New("the watch channel was closed")
}

// apply brings the events of whole revisions, in their order, into the
// snapshot. What the committer has put there already is passed over.
func (s *Store) apply(events []*clientv3.Event) {
	s.own.Lock()
	defer s.own.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.current.Load().rev
	b := s.current.Load().edit()
	for _, ev := range events {
		rev := vpc.Revision(ev.Kv.ModRevision)
		if rev <= s.current.Load().rev {
			continue
		}
		last = rev
		kind, key, ok := splitObjectKey(string(ev.Kv.Key))
		if !ok {
			continue
		}
		if ev.Type == mvccpb.DELETE {
			b.remove(kind, key)
			continue
		}
		o, err := decode(ev.Kv)
		if err != nil {
			// A newer server wrote a kind this one does not know.
			s.log.Error("object not readable", "error", err)
			continue
		}
		b.put(o, rev)
	}
	if last > s.current.Load().rev {
		s.replace(b.commit(last))
	}
}

func objectKey(kind vpc.Kind, key string) string { return objects + string(kind) + "/" + key }

func splitObjectKey(k string) (kind vpc.Kind, key string, ok bool) {
	rest, ok := strings.CutPrefix(k, objects)
	if !ok {
		return "", "", false
	}
	a, b, ok := strings.Cut(rest, "/")
	return vpc.Kind(a), b, ok
}

func decode(kv *mvccpb.KeyValue) (vpc.Object, error) {
	kind, key, ok := splitObjectKey(string(kv.Key))
	if !ok {
		return nil, fmt.Errorf("store key %q is not an object's", kv.Key)
	}
	o := vpc.New(kind)
	if o == nil {
		return nil, fmt.Errorf("store key %q is of a kind this version does not know", kv.Key)
	}
	if err := json.Unmarshal(kv.Value, o); err != nil {
		return nil, fmt.Errorf("decode %s %s: %w", kind, key, err)
	}
	return o, nil
}
