// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of tags, as AWS has them.
const (
	MaxTags     = 50
	MaxTagKey   = 128
	MaxTagValue = 256
)

// Invariants says what is wrong with a view: one error for every rule of the
// domain that an object breaks. A view that use cases and life cycles alone
// have written has none, whatever they were asked for. Objects of kinds and
// types that this package does not know the rules of are only held against
// those of every object.
//
// It reads everything: it is for tests, and for looking at an installation
// that misbehaves.
func Invariants(v View) []error {
	c := &checker{v: v, claims: map[string]string{}, ids: map[string]string{}}
	for _, k := range slices.Sorted(maps.Keys(factories)) {
		for o := range v.Objects(k) {
			c.object(o)
		}
	}
	each(v, c.host)
	each(v, c.vpc)
	each(v, c.subnet)
	each(v, c.routeTable)
	each(v, c.acl)
	each(v, c.group)
	each(v, c.networkInterface)
	each(v, c.instance)
	each(v, c.endpoint)
	each(v, c.service)
	each(v, c.balancer)
	each(v, c.targetGroup)
	each(v, c.listener)
	each(v, c.health)
	each(v, c.internetGateway)
	each(v, c.egressOnly)
	each(v, c.elasticIP)
	each(v, c.natGateway)
	each(v, c.dhcpOptions)
	each(v, c.prefixList)
	each(v, c.notification)
	each(v, c.notice)
	each(v, c.peering)
	each(v, c.hostedZone)
	each(v, c.recordSet)
	each(v, c.resolverEndpoint)
	each(v, c.resolverRule)
	each(v, c.resolverAssociation)
	return c.errs
}

// each calls check for every object of a type.
func each[T any, P ptr[T]](v View, check func(P)) {
	for o := range All[T, P](v) {
		check(o)
	}
}

type checker struct {
	v      View
	errs   []error
	claims map[string]string // claim -> its first holder
	ids    map[string]string // id of a part of an object -> the object
}

// bad notes that an object breaks a rule.
func (c *checker) bad(o Object, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s %s: %s", o.Kind(), o.Key(), fmt.Sprintf(format, args...)))
}

// must notes that an object breaks a rule unless ok.
func (c *checker) must(ok bool, o Object, format string, args ...any) {
	if !ok {
		c.bad(o, format, args...)
	}
}

// object holds an object against what every object must keep.
func (c *checker) object(o Object) {
	name := string(o.Kind()) + " " + o.Key()
	c.must(o.Key() != "", o, "it has no key")
	if found, ok := c.v.Object(o.Kind(), o.Key()); !ok || found != o {
		c.bad(o, "it is not found by its key")
	}
	o.Refs(func(k Kind, key string) {
		if _, ok := c.v.Object(k, key); !ok {
			c.bad(o, "refers to %s %s, which does not exist", k, key)
		}
	})
	o.Claims(func(claim string) {
		if by, dup := c.claims[claim]; dup && by != name {
			c.bad(o, "claims %s, which %s holds", claim, by)
		}
		c.claims[claim] = name
	})
	o.Index(func(index, value string) {
		for found := range c.v.Lookup(o.Kind(), index, value) {
			if found == o {
				return
			}
		}
		c.bad(o, "is not found by %s %q", index, value)
	})
	if owned, ok := o.(OwnedObject); ok {
		_, exists := Get[Account](c.v, owned.OwnerID())
		c.must(exists, o, "its owner, account %q, does not exist", owned.OwnerID())
	}
	for _, t := range tagsOf(o) {
		c.tags(o, t)
	}
}

// tagsOf are all the tags within an object, of whatever kind.
func tagsOf(o Object) []Tags {
	var out []Tags
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[Tags]():
			out = append(out, v.Interface().(Tags))
		case v.Kind() == reflect.Pointer && !v.IsNil():
			walk(v.Elem())
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(reflect.ValueOf(o))
	return out
}

func (c *checker) tags(o Object, t Tags) {
	c.must(len(t) <= MaxTags, o, "has %d tags, at most %d are allowed", len(t), MaxTags)
	for k, v := range t {
		c.must(k != "" && utf8.RuneCountInString(k) <= MaxTagKey, o, "tag key %.200q must have 1 to %d characters", k, MaxTagKey)
		c.must(utf8.RuneCountInString(v) <= MaxTagValue, o, "the value of tag %q has %d characters, at most %d are allowed", k, utf8.RuneCountInString(v), MaxTagValue)
		c.must(!strings.HasPrefix(strings.ToLower(k), "aws:"), o, "tag key %q is reserved", k)
	}
}

// part notes the id of a part of an object, which no other part may have.
func (c *checker) part(o Object, prefix, id string) {
	c.must(ValidID(prefix, id), o, "%q is no id of the form %s-...", id, prefix)
	name := string(o.Kind()) + " " + o.Key()
	if by, dup := c.ids[id]; dup {
		c.bad(o, "id %s is used a second time, first in %s", id, by)
	}
	c.ids[id] = name
}

// unique notes values that are there twice.
func unique[T comparable](c *checker, o Object, what string, list []T) {
	seen := map[T]bool{}
	for _, x := range list {
		c.must(!seen[x], o, "%s %v is there twice", what, x)
		seen[x] = true
	}
}

// inVPC notes that an object is not in a VPC of its owner's.
func (c *checker) inVPC(o OwnedObject, id VPCID) {
	if v, ok := Get[VPC](c.v, id); ok { // that it exists is a reference's to say
		c.must(v.Owner == o.OwnerID(), o, "belongs to account %s and is in %s of account %s", o.OwnerID(), id, v.Owner)
	}
}

// groups notes security groups that are not of the VPC, or there twice.
func (c *checker) groups(o Object, in VPCID, list []GroupID) {
	unique(c, o, "security group", list)
	for _, id := range list {
		if g, ok := Get[SecurityGroup](c.v, id); ok {
			c.must(g.VPC == in, o, "in %s has security group %s of %s", in, id, g.VPC)
		}
	}
}
