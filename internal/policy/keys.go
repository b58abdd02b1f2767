// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
)

// keyID is the number of a condition key in its policy.
type keyID int32

const noKey keyID = -1

// keyTable numbers the condition keys that a policy names, in conditions and in
// variables. The letter case of a key means nothing, of a tag's key in it neither.
type keyTable struct {
	ids    map[string]keyID // by lower case
	byLen  [][]namedKey     // by length in bytes
	beyond bool             // some key is not ASCII
}

type namedKey struct {
	written, lower string
	id             keyID
}

// id numbers a key.
func (k *keyTable) id(name string) keyID {
	lower := strings.ToLower(name)
	if id, ok := k.ids[lower]; ok {
		return id
	}
	if k.ids == nil {
		k.ids = map[string]keyID{}
	}
	id := keyID(len(k.ids))
	k.ids[lower] = id
	if n := len(lower) + 1 - len(k.byLen); n > 0 {
		k.byLen = append(k.byLen, make([][]namedKey, n)...)
	}
	written := name
	if len(written) != len(lower) {
		written = lower
	}
	k.byLen[len(lower)] = append(k.byLen[len(lower)], namedKey{written, lower, id})
	k.beyond = k.beyond || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 })
	return id
}

// Asks reports whether a condition or a variable of the policy is about a key that
// starts so, in any letter case. Whoever builds a [Request] can leave out what is
// costly to find out and nobody asks.
func (p *Policy) Asks(prefix string) bool {
	prefix = strings.ToLower(prefix)
	for key := range p.keys.ids {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// find is the number of a request's key, or noKey for one that the policy does
// not ask about.
func (k *keyTable) find(name string) keyID {
	if k.beyond {
		if id, ok := k.ids[strings.ToLower(name)]; ok {
			return id
		}
		return noKey
	}
	if len(name) >= len(k.byLen) {
		return noKey
	}
	for i := range k.byLen[len(name)] {
		if c := &k.byLen[len(name)][i]; name == c.written || equalFold(name, c.lower) {
			return c.id
		}
	}
	return noKey
}

// read puts the values of a context into e, by number. Spellings of one key
// give their values together, in the order of the spellings.
func (k *keyTable) read(e *evaluation, context map[string][]string) {
	e.values = slices.Grow(e.values[:0], len(k.ids))[:len(k.ids)]
	if len(k.ids) == 0 {
		return
	}
	clear(e.values)
	twice := false
	for name, values := range context {
		if len(values) == 0 {
			continue
		}
		if id := k.find(name); id != noKey {
			twice = twice || e.values[id] != nil
			e.values[id] = values
		}
	}
	if !twice {
		return
	}
	clear(e.values)
	var names []string
	for name := range context {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if id := k.find(name); id != noKey {
			e.values[id] = append(slices.Clip(e.values[id]), context[name]...)
		}
	}
}
