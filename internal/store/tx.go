// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"postern.dev/postern/internal/vpc"
)

// MaxOperations bounds the compares and writes of one transaction; the
// embedded server is configured for it, a remote one must be
// (--max-txn-ops).
const MaxOperations = 4096

// Tx is one run of an Update's function: a view that shows its own writes.
// It must not be used after the function returns.
type Tx struct {
	base   *Snapshot
	edit   *editor
	reads  map[string]vpc.Revision // object key in etcd -> revision seen, 0 for absent
	writes map[string]vpc.Object   // object key in etcd -> new object, nil to delete
	old    map[string]vpc.Object   // what base holds for each written key, nil if nothing
	dup    error                   // the first claim that was already held
}

var _ vpc.View = (*Tx)(nil)

// Revision is that of the snapshot the transaction runs on.
func (t *Tx) Revision() vpc.Revision { return t.base.rev }

// Object implements vpc.View. Reading an object makes the commit depend on it
// not having changed.
func (t *Tx) Object(kind vpc.Kind, key string) (vpc.Object, bool) {
	t.read(kind, key)
	e, ok := t.edit.txn.Get(treeKey(kind, key))
	return e.object, ok
}

func (t *Tx) read(kind vpc.Kind, key string) {
	k := objectKey(kind, key)
	if _, seen := t.reads[k]; !seen {
		t.reads[k] = t.base.Changed(kind, key)
	}
}

// Objects implements vpc.View. What it yields is not guarded: use it to look,
// and Object, Refs or Claims for what must hold at commit.
func (t *Tx) Objects(kind vpc.Kind) iter.Seq[vpc.Object] {
	return t.collect(treeKey(kind, ""))
}

// Lookup implements vpc.View; see Objects.
func (t *Tx) Lookup(kind vpc.Kind, index, value string) iter.Seq[vpc.Object] {
	return t.collect(indexPrefix(kind, index, value))
}

// collect reads first and yields afterwards, since a Put or Delete during the
// loop changes the tree in place.
func (t *Tx) collect(prefix []byte) iter.Seq[vpc.Object] {
	return slices.Values(slices.Collect(scan(t.edit.txn.Root(), prefix)))
}

// Claimed reports whether a claim is held, this transaction's writes included.
func (t *Tx) Claimed(claim string) bool {
	_, ok := t.edit.holder(claim)
	return ok
}

// Changed implements vpc.View.
func (t *Tx) Changed(kind vpc.Kind, key string) vpc.Revision { return t.base.Changed(kind, key) }

// Put writes an object, new or changed. The object must not be changed afterwards.
func (t *Tx) Put(o vpc.Object) {
	t.read(o.Kind(), o.Key())
	k := objectKey(o.Kind(), o.Key())
	t.remember(k, o.Kind(), o.Key())
	t.writes[k] = o
	o.Claims(func(c string) {
		h, ok := t.edit.holder(c)
		if ok && (h.Kind() != o.Kind() || h.Key() != o.Key()) && t.dup == nil {
			t.dup = vpc.Errorf(vpc.Duplicate, string(o.Kind()), o.Key(), "%s already belongs to %s %s", c, h.Kind(), h.Key())
		}
	})
	t.edit.put(o, t.base.rev)
}

// Delete removes an object; deleting what is not there does nothing.
func (t *Tx) Delete(o vpc.Object) {
	t.read(o.Kind(), o.Key())
	k := objectKey(o.Kind(), o.Key())
	t.remember(k, o.Kind(), o.Key())
	t.writes[k] = nil
	t.edit.remove(o.Kind(), o.Key())
}

// Touch writes an object unchanged, so that two transactions that both touch
// it cannot both commit on the same snapshot. Use it where a rule looks at a
// set of objects, such as the subnets of a VPC that must not overlap.
func (t *Tx) Touch(o vpc.Object) { t.Put(o) }

func (t *Tx) remember(k string, kind vpc.Kind, key string) {
	if _, ok := t.old[k]; !ok {
		o, _ := t.base.Object(kind, key)
		t.old[k] = o
	}
}

// Update runs fn in a transaction until it commits, and returns the revision
// once the snapshot shows it. An error of fn is returned as it is and writes
// nothing; fn may run more than once. A transaction that writes nothing
// commits nothing and returns the snapshot's revision.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) (vpc.Revision, error) {
	for try := range maxTries {
		base := s.Snapshot()
		tx := &Tx{
			base: base, edit: base.edit(),
			reads:  map[string]vpc.Revision{},
			writes: map[string]vpc.Object{},
			old:    map[string]vpc.Object{},
		}
		if err := fn(tx); err != nil {
			return 0, err
		}
		if len(tx.writes) == 0 {
			return base.rev, nil
		}
		if err := tx.check(); err != nil {
			return 0, err
		}
		cmps, ops, err := tx.plan()
		if err != nil {
			return 0, err
		}
		res, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
		if err != nil {
			return 0, vpc.Errorf(vpc.Unavailable, "store", "", "the store did not answer: %v", err)
		}
		if res.Succeeded {
			rev := vpc.Revision(res.Header.Revision)
			if _, err := s.WaitFor(ctx, rev); err != nil {
				return 0, vpc.Errorf(vpc.Unavailable, "store", "", "%v", err)
			}
			return rev, nil
		}
		// Somebody else wrote first: run again once the snapshot shows it.
		// When many are at it, a random pause lets one of them through.
		newer, ch := s.Changed()
		if newer != base && try < 4 {
			continue
		}
		select {
		case <-ch:
		case <-time.After(time.Duration(1+rand.IntN(5+try)) * time.Millisecond):
		case <-ctx.Done():
			return 0, vpc.Errorf(vpc.Unavailable, "store", "", "%v", ctx.Err())
		}
	}
	return 0, vpc.Errorf(vpc.Unavailable, "store", "", "the store is busy: %d attempts met other writers", maxTries)
}

// Check tells what Update would refuse if the function returned now; a dry run
// asks it instead of committing.
func (t *Tx) Check() error { return t.check() }

// check refuses what the snapshot already shows to be impossible, with the
// error a caller can use; the same rules are compares in the commit.
func (t *Tx) check() error {
	if t.dup != nil {
		return t.dup
	}
	for k, o := range t.writes {
		kind, key, _ := splitObjectKey(k)
		if o == nil {
			if by, ok := t.referrer(kind, key); ok {
				return vpc.Errorf(vpc.InUse, string(kind), key, "%s '%s' is in use by %s", kind, key, by)
			}
			continue
		}
		var bad error
		o.Refs(func(rk vpc.Kind, ref string) {
			if _, ok := t.edit.txn.Get(treeKey(rk, ref)); !ok && bad == nil {
				bad = vpc.Errorf(vpc.NotFound, string(rk), ref, "%s '%s' does not exist", rk, ref)
			}
		})
		if bad != nil {
			return bad
		}
	}
	return nil
}

// referrer finds an object that refers to kind/key.
func (t *Tx) referrer(kind vpc.Kind, key string) (string, bool) {
	it := t.edit.txn.Root().Iterator()
	it.SeekPrefix(refPrefix(kind, key))
	if _, e, ok := it.Next(); ok {
		return string(e.object.Kind()) + " '" + e.object.Key() + "'", true
	}
	return "", false
}

var errTooLarge = errors.New("too many objects in one call")

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
	held := map[string]bool{} // claim keys this transaction's old objects hold
	for k, o := range t.writes {
		kind, key, _ := splitObjectKey(k)
		if old := t.old[k]; old != nil {
			old.Refs(func(rk vpc.Kind, ref string) { del[refKey(rk, ref, kind, key)] = true })
			old.Claims(func(c string) { del[claims+c] = true; held[claims+c] = true })
		}
		if o == nil {
			ops = append(ops, clientv3.OpDelete(k))
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
		if isClaim && !held[k] {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(k), "=", 0))
		}
		if del[k] {
			delete(del, k)
			if !isClaim {
				continue // the reference stays as it is
			}
		}
		ops = append(ops, clientv3.OpPut(k, v))
	}
	for k := range del {
		ops = append(ops, clientv3.OpDelete(k))
	}
	for k, o := range t.writes {
		if o != nil {
			continue
		}
		kind, key, _ := splitObjectKey(k)
		cmps = append(cmps, t.noNewReferrers(kind, key))
	}
	if len(cmps) > MaxOperations || len(ops) > MaxOperations {
		return nil, nil, vpc.Errorf(vpc.Limit, "transaction", "", "%v: %d of at most %d", errTooLarge, max(len(cmps), len(ops)), MaxOperations)
	}
	return cmps, ops, nil
}

// noNewReferrers compares that no reference to the object was written after
// the snapshot: those it shows have been checked and are removed with it.
func (t *Tx) noNewReferrers(kind vpc.Kind, key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(refs+string(kind)+"/"+key+"/"), "<", int64(t.base.rev)+1).WithPrefix()
}

func refKey(kind vpc.Kind, key string, by vpc.Kind, byKey string) string {
	return refs + string(kind) + "/" + key + "/" + string(by) + "/" + byKey
}
