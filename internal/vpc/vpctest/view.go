// SPDX-License-Identifier: Apache-2.0

// Package vpctest gives tests of pure code a View made of the objects they
// name, without a store.
package vpctest

import (
	"iter"
	"sort"

	"postern.dev/postern/internal/vpc"
)

// View is a list of objects at a revision; it implements vpc.View slowly.
type View struct {
	Rev  vpc.Revision
	List []vpc.Object
}

// Of makes a view at revision 1.
func Of(objects ...vpc.Object) *View { return &View{Rev: 1, List: objects} }

var _ vpc.View = (*View)(nil)

// Put replaces or adds an object and moves the revision.
func (v *View) Put(o vpc.Object) {
	v.Delete(o)
	v.List = append(v.List, o)
}

// Delete removes an object and moves the revision.
func (v *View) Delete(o vpc.Object) {
	v.Rev++
	for i, x := range v.List {
		if x.Kind() == o.Kind() && x.Key() == o.Key() {
			v.List = append(v.List[:i:i], v.List[i+1:]...)
			return
		}
	}
}

// Revision implements vpc.View.
func (v *View) Revision() vpc.Revision { return v.Rev }

// Changed implements vpc.View; every object was written at the view's revision.
func (v *View) Changed(kind vpc.Kind, key string) vpc.Revision {
	if _, ok := v.Object(kind, key); ok {
		return v.Rev
	}
	return 0
}

// Object implements vpc.View.
func (v *View) Object(kind vpc.Kind, key string) (vpc.Object, bool) {
	for _, o := range v.List {
		if o.Kind() == kind && o.Key() == key {
			return o, true
		}
	}
	return nil, false
}

// Objects implements vpc.View.
func (v *View) Objects(kind vpc.Kind) iter.Seq[vpc.Object] {
	return v.pick(func(o vpc.Object) bool { return o.Kind() == kind })
}

// Lookup implements vpc.View.
func (v *View) Lookup(kind vpc.Kind, index, value string) iter.Seq[vpc.Object] {
	return v.pick(func(o vpc.Object) bool {
		found := false
		if o.Kind() == kind {
			o.Index(func(i, val string) { found = found || i == index && val == value })
		}
		return found
	})
}

// LookupAfter implements vpc.View.
func (v *View) LookupAfter(kind vpc.Kind, index, value, after string) iter.Seq[vpc.Object] {
	return func(yield func(vpc.Object) bool) {
		for o := range v.Lookup(kind, index, value) {
			if o.Key() > after && !yield(o) {
				return
			}
		}
	}
}

func (v *View) pick(keep func(vpc.Object) bool) iter.Seq[vpc.Object] {
	return func(yield func(vpc.Object) bool) {
		var out []vpc.Object
		for _, o := range v.List {
			if keep(o) {
				out = append(out, o)
			}
		}
		sort.Slice(out, func(i, j int) bool { return out[i].Key() < out[j].Key() })
		for _, o := range out {
			if !yield(o) {
				return
			}
		}
	}
}
