// SPDX-License-Identifier: Apache-2.0

package store

import (
	"iter"
	"maps"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// MaxOperations bounds the compares and writes of one transaction; the
// embedded server is configured for it, a remote one must be
// (--max-txn-ops).
const MaxOperations = 4096

var maxOperations = MaxOperations // less in tests

// Tx is one run of an Update's function: a view that shows its own writes.
// It must not be used after the function returns.
type Tx struct {
	base   *Snapshot
	edit   *editor
	reads  map[string]vpc.Revision // object key in etcd -> revision seen, 0 for absent
	writes map[string]vpc.Object   // object key in etcd -> new object, nil to delete
	old    map[string]vpc.Object   // what base holds for each written key, nil if nothing
	dup    error                   // the first claim that was already held
	undo   []undo                  // what the writes replaced in edit, in their order
	alone  map[ref]bool            // objects that nothing may newly refer to
}

// ref names an object.
type ref struct {
	kind vpc.Kind
	key  string
}

// undo is what an overlay held for an object before it was written.
type undo struct {
	kind vpc.Kind
	key  string
	was  entry // no object: nothing
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

// Count is how many objects of those that Lookup would yield are wanted,
// without collecting them; want must not write. See Objects.
func (t *Tx) Count(kind vpc.Kind, index, value string, want func(vpc.Object) bool) int {
	n := 0
	for o := range scan(t.edit.txn.Root(), indexPrefix(kind, index, value)) {
		if want(o) {
			n++
		}
	}
	return n
}

// LookupAfter implements vpc.View; see Objects.
func (t *Tx) LookupAfter(kind vpc.Kind, index, value, after string) iter.Seq[vpc.Object] {
	return slices.Values(slices.Collect(scanAfter(t.edit.txn.Root(), indexPrefix(kind, index, value), after)))
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

// Changed implements vpc.View. What this transaction wrote, or one that will be
// committed with it, has a revision later than any that a snapshot has shown.
func (t *Tx) Changed(kind vpc.Kind, key string) vpc.Revision {
	e, _ := t.edit.txn.Get(treeKey(kind, key))
	return e.rev
}

// pendingRevision is the revision of what is written but not committed: the
// one it will have if nobody else writes first.
func (t *Tx) pendingRevision() vpc.Revision { return t.base.rev + 1 }

func newTx(base *Snapshot) *Tx {
	e := base.edit()
	e.first = true
	return (&Tx{base: base, edit: e}).nested()
}

// nested is a transaction on the same overlay. Either adopt takes its writes
// over, or drop makes them as if they had never been.
func (t *Tx) nested() *Tx {
	return &Tx{
		base: t.base, edit: t.edit,
		reads:  map[string]vpc.Revision{},
		writes: map[string]vpc.Object{},
		old:    map[string]vpc.Object{},
		alone:  map[ref]bool{},
	}
}

func (t *Tx) drop() {
	for _, u := range slices.Backward(t.undo) {
		if u.was.object == nil {
			t.edit.remove(u.kind, u.key)
		} else {
			t.edit.put(u.was.object, u.was.rev)
		}
	}
}

func (t *Tx) adopt(n *Tx) {
	maps.Copy(t.reads, n.reads)
	maps.Copy(t.writes, n.writes)
	maps.Copy(t.alone, n.alone)
	for k, o := range n.old {
		if _, ok := t.old[k]; !ok {
			t.old[k] = o
		}
	}
}

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
	t.keep(o)
	t.edit.put(o, t.pendingRevision())
}

// Delete removes an object; deleting what is not there does nothing.
func (t *Tx) Delete(o vpc.Object) {
	t.read(o.Kind(), o.Key())
	k := objectKey(o.Kind(), o.Key())
	t.remember(k, o.Kind(), o.Key())
	t.writes[k] = nil
	t.keep(o)
	t.edit.remove(o.Kind(), o.Key())
}

// Touch writes an object unchanged, so that two transactions that both touch
// it cannot both commit on the same snapshot. Use it where a rule looks at a
// set of objects, such as the subnets of a VPC that must not overlap.
func (t *Tx) Touch(o vpc.Object) { t.Put(o) }

// Alone makes the commit depend on no object having come to refer to o since the
// snapshot. Use it where o changes in a way that those which refer to it must
// allow; for a deletion it goes without saying.
func (t *Tx) Alone(o vpc.Object) { t.alone[ref{o.Kind(), o.Key()}] = true }

// keep notes what is about to be replaced in the overlay.
func (t *Tx) keep(o vpc.Object) {
	was, _ := t.edit.txn.Get(treeKey(o.Kind(), o.Key()))
	t.undo = append(t.undo, undo{o.Kind(), o.Key(), was})
}

func (t *Tx) remember(k string, kind vpc.Kind, key string) {
	if _, ok := t.old[k]; !ok {
		o, _ := t.base.Object(kind, key)
		t.old[k] = o
	}
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

func refKey(kind vpc.Kind, key string, by vpc.Kind, byKey string) string {
	return refs + string(kind) + "/" + key + "/" + string(by) + "/" + byKey
}
