// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Observed is a call that was made: one action on one resource.
type Observed struct {
	Action, Resource string
}

// MaxListed is how many objects or folders of one bucket [Suggest] names for one
// action before it names what is above them.
const MaxListed = 5

// Suggest writes the least endpoint policy that allows the calls, for anybody:
//
//   - Every action is named whole.
//   - Every resource is named whole, but for objects of S3: when an action was
//     seen on more than [MaxListed] objects of a bucket, their folders are named
//     instead (arn:aws:s3:::bucket/folder/*), then the folders of those, at last
//     the bucket.
//   - A resource that is too long or holds what is no text is named by its folder.
//   - A policy that would be too long names fewer folders, as few as one a bucket.
//
// The same calls in any order make the same text. The policy passes [Check] and
// allows every call.
func Suggest(calls []Observed) ([]byte, error) {
	if len(calls) == 0 {
		return nil, errors.New("no calls to cover")
	}
	for limit := MaxListed; limit >= 1; limit-- {
		doc, err := suggest(calls, limit)
		if err != nil {
			return nil, err
		}
		if len(doc) <= MaxBytes {
			return doc, verify(doc, calls)
		}
	}
	return nil, fmt.Errorf("the calls are on too many resources for a policy of %d bytes", MaxBytes)
}

func suggest(calls []Observed, limit int) ([]byte, error) {
	resources := map[string]map[string]bool{} // by action
	objects := map[Observed]map[string]bool{} // keys, by action and bucket
	for _, c := range calls {
		if err := checkAction(c.Action); err != nil {
			return nil, err
		}
		if resources[c.Action] == nil {
			resources[c.Action] = map[string]bool{}
		}
		if bucket, key, ok := s3Object(c.Resource); ok {
			of := Observed{c.Action, bucket}
			if objects[of] == nil {
				objects[of] = map[string]bool{}
			}
			objects[of][objectPattern(key)] = true
			continue
		}
		r := c.Resource
		if r != "*" && !strings.HasPrefix(r, "arn:") {
			return nil, fmt.Errorf("%s is no resource", quote(r))
		}
		if r != "*" {
			r = escaped(r)
		}
		resources[c.Action][r] = true
	}
	for of, keys := range objects {
		for key := range fewer(keys, limit) {
			resources[of.Action][of.Resource+"/"+key] = true
		}
	}
	// Actions on the same resources share a statement.
	actions := map[string][]string{}
	for _, a := range slices.Sorted(maps.Keys(resources)) {
		list := strings.Join(slices.Sorted(maps.Keys(resources[a])), "\n")
		actions[list] = append(actions[list], a)
	}
	type statement struct {
		Effect, Principal string
		Action, Resource  []string
	}
	var out struct {
		Version   string
		Statement []statement
	}
	out.Version = Version2012
	for list, names := range actions {
		out.Statement = append(out.Statement, statement{"Allow", "*", names, strings.Split(list, "\n")})
	}
	slices.SortFunc(out.Statement, func(a, b statement) int {
		return cmp.Or(strings.Compare(a.Resource[0], b.Resource[0]), strings.Compare(a.Action[0], b.Action[0]))
	})
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("write the policy: %w", err)
	}
	return b.Bytes(), nil
}

// s3Object takes the ARN of an object apart. The bucket's ARN is escaped.
func s3Object(resource string) (bucket, key string, ok bool) {
	if f := strings.SplitN(resource, ":", arnParts); len(f) < arnParts || f[0] != "arn" || f[2] != "s3" {
		return "", "", false
	}
	bucket, key, ok = strings.Cut(resource, "/")
	return escaped(bucket), key, ok
}

// maxExact is the longest resource that is named whole, in bytes: a record may
// hold less of a longer one than was asked for.
const maxExact = 1000

// objectPattern is what names an object: its key, or its folder when the key
// cannot be trusted to be whole.
func objectPattern(key string) string {
	if len(key) > maxExact || !utf8.ValidString(key) || strings.ContainsRune(key, utf8.RuneError) {
		cut := strings.IndexFunc(key, func(r rune) bool { return r == utf8.RuneError })
		if cut < 0 || cut > maxExact/2 {
			cut = maxExact / 2
			for !utf8.RuneStart(key[cut]) {
				cut--
			}
		}
		return folder(escaped(key[:cut]))
	}
	return escaped(key)
}

// folder is what is above a key or a folder's pattern.
func folder(key string) string {
	key = strings.TrimSuffix(key, "/*")
	return key[:strings.LastIndexByte(key, '/')+1] + "*"
}

// fewer names folders until limit is enough, the deepest first.
func fewer(keys map[string]bool, limit int) map[string]bool {
	keys = covered(keys)
	for len(keys) > limit {
		deepest := 0
		for k := range keys {
			deepest = max(deepest, depth(k))
		}
		up := map[string]bool{}
		for k := range keys {
			if depth(k) == deepest {
				k = folder(k)
			}
			up[k] = true
		}
		keys = covered(up)
	}
	return keys
}

// depth counts the names of a key or folder. An object is one deeper than a
// folder at the same place.
func depth(k string) int {
	n := 2 * strings.Count(k, "/")
	if !strings.HasSuffix(k, "*") || strings.HasSuffix(k, "${*}") {
		n++
	}
	return n
}

// covered leaves out what a folder of keys holds.
func covered(keys map[string]bool) map[string]bool {
	out := maps.Clone(keys)
	maps.DeleteFunc(out, func(k string, _ bool) bool {
		for up := k; up != "*"; {
			if up = folder(up); keys[up] {
				return true
			}
		}
		return false
	})
	return out
}

// escaped is text in which no character is a wildcard or begins a variable.
func escaped(s string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(s)
}

// verify holds Suggest to its promise.
func verify(doc []byte, calls []Observed) error {
	if problems := Check(doc, Options{}, true); len(problems) > 0 {
		return fmt.Errorf("the policy for these calls is not valid: %w", problems[0])
	}
	p, err := Parse(doc)
	if err != nil {
		return err
	}
	for _, c := range calls {
		if !p.Decide(&Request{Action: c.Action, Resource: c.Resource}).Allowed {
			return fmt.Errorf("no policy was found that allows %s on %s", quote(c.Action), quote(c.Resource))
		}
	}
	return nil
}
