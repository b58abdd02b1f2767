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
	// first leaves a claim with the object that holds it; without, the last
	// one put has it, as it must be for changes that arrive in any order.
	first bool
}

func (s *Snapshot) edit() *editor { return &editor{txn: s.tree.Txn()} }

// put writes an object and its other keys: indexes, references, claims. Only
// the object's own entry has a revision.
func (e *editor) put(o vpc.Object, rev vpc.Revision) {
	old, had := e.txn.Insert(treeKey(o.Kind(), o.Key()), entry{o, rev})
	if had && old.object == o {
		return // only touched
	}
	keys := otherKeys(o)
	for _, k := range keys {
		if e.first && k[0] == 'c' && e.heldByOther(k, o) {
			continue
		}
		e.txn.Insert(k, entry{object: o})
	}
	if !had {
		return
	}
	for i, k := range otherKeys(old.object) {
		// Most keys stay, and then mostly in their place.
		if i < len(keys) && bytes.Equal(k, keys[i]) {
			continue
		}
		if !slices.ContainsFunc(keys, func(n []byte) bool { return bytes.Equal(k, n) }) {
			e.dropKey(k, old.object)
		}
	}
}

// otherKeys are the tree's keys of an object besides its own.
func otherKeys(o vpc.Object) [][]byte {
	kind, key := o.Kind(), o.Key()
	var keys [][]byte
	o.Index(func(index, value string) { keys = append(keys, append(indexPrefix(kind, index, value), key...)) })
	by := string(kind) + "/" + key
	o.Refs(func(rk vpc.Kind, ref string) { keys = append(keys, append(refPrefix(rk, ref), by...)) })
	o.Claims(func(c string) { keys = append(keys, []byte("c/"+c)) })
	return keys
}

// dropKey removes a key that an object no longer has. A claim may have passed
// to another object within one transaction.
func (e *editor) dropKey(k []byte, o vpc.Object) {
	if k[0] != 'c' || !e.heldByOther(k, o) {
		e.txn.Delete(k)
	}
}

func (e *editor) heldByOther(claimKey []byte, o vpc.Object) bool {
	h, ok := e.txn.Get(claimKey)
	return ok && (h.object.Kind() != o.Kind() || h.object.Key() != o.Key())
}

func (e *editor) holder(claim string) (vpc.Object, bool) {
	en, ok := e.txn.Get([]byte("c/" + claim))
	return en.object, ok
}

func (e *editor) remove(kind vpc.Kind, key string) {
	old, ok := e.txn.Delete(treeKey(kind, key))
	if !ok {
		return
	}
	for _, k := range otherKeys(old.object) {
		e.dropKey(k, old.object)
	}
}

func (e *editor) commit(rev vpc.Revision) *Snapshot {
	return &Snapshot{tree: e.txn.Commit(), rev: rev}
}
