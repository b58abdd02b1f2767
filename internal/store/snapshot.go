// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"iter"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"postern.dev/postern/internal/vpc"
)

// entry is an object and the revision of its last write.
type entry struct {
	object vpc.Object
	rev    vpc.Revision
}

// Snapshot is every object at one revision: an immutable radix tree whose
// keys are "o/<kind>/<key>" for the objects and
// "i/<kind>/<index>\x00<value>\x00<key>" for their indexes and
// "r/<kind>/<key>\x00<by kind>/<by key>" for references to them, and
// "c/<claim>" for claims. Reading costs what
// is read; a change copies only the path to it. It implements vpc.View.
type Snapshot struct {
	tree *iradix.Tree[entry]
	rev  vpc.Revision
}

var _ vpc.View = (*Snapshot)(nil)

func emptySnapshot() *Snapshot { return &Snapshot{tree: iradix.New[entry]()} }

func treeKey(kind vpc.Kind, key string) []byte { return []byte("o/" + string(kind) + "/" + key) }

func indexPrefix(kind vpc.Kind, index, value string) []byte {
	return []byte("i/" + string(kind) + "/" + index + "\x00" + value + "\x00")
}

func refPrefix(kind vpc.Kind, key string) []byte {
	return []byte("r/" + string(kind) + "/" + key + "\x00")
}

// Revision implements vpc.View.
func (s *Snapshot) Revision() vpc.Revision { return s.rev }

// Object implements vpc.View.
func (s *Snapshot) Object(kind vpc.Kind, key string) (vpc.Object, bool) {
	e, ok := s.tree.Get(treeKey(kind, key))
	return e.object, ok
}

// Changed implements vpc.View.
func (s *Snapshot) Changed(kind vpc.Kind, key string) vpc.Revision {
	e, _ := s.tree.Get(treeKey(kind, key))
	return e.rev
}

// Objects implements vpc.View.
func (s *Snapshot) Objects(kind vpc.Kind) iter.Seq[vpc.Object] {
	return scan(s.tree.Root(), treeKey(kind, ""))
}

// Lookup implements vpc.View.
func (s *Snapshot) Lookup(kind vpc.Kind, index, value string) iter.Seq[vpc.Object] {
	return scan(s.tree.Root(), indexPrefix(kind, index, value))
}

// LookupAfter implements vpc.View.
func (s *Snapshot) LookupAfter(kind vpc.Kind, index, value, after string) iter.Seq[vpc.Object] {
	return scanAfter(s.tree.Root(), indexPrefix(kind, index, value), after)
}

// scanAfter is scan from the first key greater than prefix and after.
func scanAfter(n *iradix.Node[entry], prefix []byte, after string) iter.Seq[vpc.Object] {
	return func(yield func(vpc.Object) bool) {
		it := n.Iterator()
		// The least key that is greater is after with one zero byte more.
		it.SeekLowerBound(append(append(slices.Clip(prefix), after...), 0))
		for k, e, ok := it.Next(); ok && bytes.HasPrefix(k, prefix); k, e, ok = it.Next() {
			if !yield(e.object) {
				return
			}
		}
	}
}

func scan(n *iradix.Node[entry], prefix []byte) iter.Seq[vpc.Object] {
	return func(yield func(vpc.Object) bool) {
		it := n.Iterator()
		it.SeekPrefix(prefix)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			if !yield(e.object) {
				return
			}
		}
	}
}

// editor changes a private copy of a snapshot.
type editor struct {
	txn *iradix.Txn[entry]
}

func (s *Snapshot) edit() *editor { return &editor{txn: s.tree.Txn()} }

func (e *editor) put(o vpc.Object, rev vpc.Revision) {
	e.remove(o.Kind(), o.Key())
	en := entry{o, rev}
	e.txn.Insert(treeKey(o.Kind(), o.Key()), en)
	o.Index(func(index, value string) {
		e.txn.Insert(append(indexPrefix(o.Kind(), index, value), o.Key()...), en)
	})
	by := string(o.Kind()) + "/" + o.Key()
	o.Refs(func(kind vpc.Kind, key string) {
		e.txn.Insert(append(refPrefix(kind, key), by...), en)
	})
	o.Claims(func(c string) { e.txn.Insert([]byte("c/"+c), en) })
}

// holder is the object that holds a claim.
func (e *editor) holder(claim string) (vpc.Object, bool) {
	en, ok := e.txn.Get([]byte("c/" + claim))
	return en.object, ok
}

func (e *editor) remove(kind vpc.Kind, key string) {
	old, ok := e.txn.Delete(treeKey(kind, key))
	if !ok {
		return
	}
	old.object.Index(func(index, value string) {
		e.txn.Delete(append(indexPrefix(kind, index, value), key...))
	})
	by := string(kind) + "/" + key
	old.object.Refs(func(rk vpc.Kind, ref string) {
		e.txn.Delete(append(refPrefix(rk, ref), by...))
	})
	old.object.Claims(func(c string) {
		// A claim may have passed to another object within one transaction.
		if h, ok := e.holder(c); ok && h.Kind() == kind && h.Key() == key {
			e.txn.Delete([]byte("c/" + c))
		}
	})
}

func (e *editor) commit(rev vpc.Revision) *Snapshot {
	return &Snapshot{tree: e.txn.Commit(), rev: rev}
}
