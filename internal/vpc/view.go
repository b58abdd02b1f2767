// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"encoding/json"
	"fmt"
	"iter"
)

// Kind is the type of an object; it is also the object's folder in the store.
type Kind string

// Object is one stored resource. Its methods work on a nil pointer where they
// need no data, so that Kind can be asked of a type.
type Object interface {
	Kind() Kind
	// Key is the object's id, unique within its kind.
	Key() string
	// Index names the lookups the object is found by, as (index, value)
	// pairs; By finds it by any of them.
	Index(add func(index, value string))
	// Refs names the objects this one cannot live without.
	Refs(add func(kind Kind, key string))
	// Claims names what only one object may hold at a time.
	Claims(add func(claim string))
}

// OwnedObject is an object that belongs to an account: others do not see it.
type OwnedObject interface {
	Object
	OwnerID() AccountID
}

// View is a consistent picture of all objects at one revision.
type View interface {
	// Revision is the store revision this view shows.
	Revision() Revision
	// Object finds one object. The result is shared: do not change it.
	Object(kind Kind, key string) (Object, bool)
	// Objects yields all objects of a kind in key order.
	Objects(kind Kind) iter.Seq[Object]
	// Lookup yields the objects of a kind that are indexed under (index, value), in key order.
	Lookup(kind Kind, index, value string) iter.Seq[Object]
	// LookupAfter is Lookup for the keys greater than after.
	LookupAfter(kind Kind, index, value, after string) iter.Seq[Object]
	// Changed is the revision of the object's last write, 0 if there is none.
	Changed(kind Kind, key string) Revision
}

// ptr ties an object's struct type to its pointer type.
type ptr[T any] interface {
	*T
	Object
}

// Get finds an object by its id: Get[Subnet](v, "subnet-...").
func Get[T any, P ptr[T], K ~string](v View, key K) (P, bool) {
	o, ok := v.Object(P(nil).Kind(), string(key))
	if !ok {
		return nil, false
	}
	return o.(P), true
}

// All yields every object of a type in key order.
func All[T any, P ptr[T]](v View) iter.Seq[P] {
	return typed[T, P](v.Objects(P(nil).Kind()))
}

// By yields the objects of a type that are indexed under (index, value).
func By[T any, P ptr[T], K ~string](v View, index string, value K) iter.Seq[P] {
	return typed[T, P](v.Lookup(P(nil).Kind(), index, string(value)))
}

// ByAfter is By for the objects whose keys are greater than after; it costs
// what it yields, wherever in the order that is.
func ByAfter[T any, P ptr[T], K ~string](v View, index string, value K, after string) iter.Seq[P] {
	return typed[T, P](v.LookupAfter(P(nil).Kind(), index, string(value), after))
}

// First is the first object By yields.
func First[T any, P ptr[T], K ~string](v View, index string, value K) (P, bool) {
	for o := range By[T, P](v, index, value) {
		return o, true
	}
	return nil, false
}

func typed[T any, P ptr[T]](seq iter.Seq[Object]) iter.Seq[P] {
	return func(yield func(P) bool) {
		for o := range seq {
			if !yield(o.(P)) {
				return
			}
		}
	}
}

// Edit gives a deep copy of an object to change and write back.
func Edit[T any, P ptr[T]](o P) P {
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("vpc: %s %s cannot be encoded: %v", o.Kind(), o.Key(), err))
	}
	c := P(new(T))
	if err := json.Unmarshal(b, c); err != nil {
		panic(fmt.Sprintf("vpc: %s %s cannot be decoded: %v", o.Kind(), o.Key(), err))
	}
	return c
}

var factories = map[Kind]func() Object{}

// register makes a kind known to New; every object type does so once.
func register[T any, P ptr[T]]() {
	k := P(nil).Kind()
	if _, dup := factories[k]; dup {
		panic("vpc: kind " + string(k) + " registered twice")
	}
	factories[k] = func() Object { return P(new(T)) }
}

// New makes an empty object of a kind, for decoding; nil if the kind is unknown.
func New(k Kind) Object {
	if f := factories[k]; f != nil {
		return f()
	}
	return nil
}

// Tags are a resource's tags, key to value.
type Tags map[string]string
