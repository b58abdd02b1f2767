// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"iter"
	"sort"
	"strings"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// pageLimit is the most one page holds; larger requests are cut to it.
const pageLimit = 1000

// maxFilterValues bounds the values of one call's filters, as AWS does.
const maxFilterValues = 200

// filterSet are the filters of a describe action: name to the object's values
// for it. tag:<key> and tag-key are added for every action whose objects have tags.
type filterSet[T any] map[string]func(v vpc.View, o T) []string

// resource tells describe how to handle one type.
type resource[T vpc.Object] struct {
	prefix  string // id prefix, for malformed ids
	filters filterSet[T]
	tags    func(T) vpc.Tags // nil if the type has none
}

// filterIndexes are the filters that an index of the kind answers, so that a
// describe with one exact value does not look at everything the account has.
// Only ids are here: under a name other accounts' objects are indexed too.
var filterIndexes = map[vpc.Kind]map[string]string{
	vpc.KindSubnet:     {"vpc-id": vpc.IndexVPC},
	vpc.KindRouteTable: {"vpc-id": vpc.IndexVPC, "association.route-table-association-id": vpc.IndexAssociation, "association.subnet-id": vpc.IndexSubnet},
	vpc.KindGroup:      {"vpc-id": vpc.IndexVPC},
	vpc.KindACL:        {"vpc-id": vpc.IndexVPC, "association.association-id": vpc.IndexAssociation, "association.subnet-id": vpc.IndexSubnet},
	vpc.KindInterface:  {"vpc-id": vpc.IndexVPC, "subnet-id": vpc.IndexSubnet, "group-id": vpc.IndexGroup, "attachment.instance-id": vpc.IndexInstance},
	vpc.KindInstance:   {"vpc-id": vpc.IndexVPC, "subnet-id": vpc.IndexSubnet},
	vpc.KindEndpoint:   {"vpc-id": vpc.IndexVPC},

	vpc.KindInternetGateway: {"attachment.vpc-id": vpc.IndexVPC},
	vpc.KindNATGateway:      {"vpc-id": vpc.IndexVPC},
	vpc.KindElasticIP:       {"association-id": vpc.IndexAssociation, "network-interface-id": vpc.IndexInterface},
}

// describeOwned is describe for stored objects of the caller's account: they
// are in id order already, so a page costs what it looks at and not what the
// account has. get is nil for an error without a text of its own.
func describeOwned[T any, P interface {
	*T
	vpc.OwnedObject
}](call *Call, v vpc.View, r resource[P], ids []string, filters []Filter, page Page, get func(id string) (P, error)) ([]P, string, error) {
	if len(ids) > 0 {
		if get == nil {
			get = owned[T, P](call, v)
		}
		return describe(call, v, r, ids, filters, page, get, nil)
	}
	if err := r.checkFilters(filters); err != nil {
		return nil, "", err
	}
	after, limit, err := page.bounds()
	if err != nil {
		return nil, "", err
	}
	index, value := vpc.IndexOwner, string(call.Caller.Account)
	for _, f := range filters {
		if i, ok := filterIndexes[P(nil).Kind()][f.Name]; ok && len(f.Values) == 1 && !strings.ContainsAny(f.Values[0], `*?\`) {
			index, value = i, f.Values[0]
			break
		}
	}
	var list []P
	for o := range vpc.ByAfter[T, P](v, index, value, after) {
		if o.OwnerID() != call.Caller.Account || !r.match(v, o, filters) {
			continue
		}
		if len(list) == limit {
			return list, sealToken(list[limit-1].Key()), nil
		}
		list = append(list, o)
	}
	return list, "", nil
}

// describe picks objects by ids, filters and page, in id order. all yields the
// candidates when no ids are given. It answers the objects of this page and
// the token of the next one. It looks at every candidate: describeOwned is for
// what can be many.
func describe[T vpc.Object](call *Call, v vpc.View, r resource[T], ids []string, filters []Filter, page Page,
	get func(id string) (T, error), all iter.Seq[T],
) ([]T, string, error) {
	if err := r.checkFilters(filters); err != nil {
		return nil, "", err
	}
	var list []T
	if len(ids) > 0 {
		seen := map[string]bool{}
		for _, id := range ids {
			if err := checkID(T.Kind(*new(T)), r.prefix, id); err != nil {
				return nil, "", err
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			o, err := get(id)
			if err != nil {
				return nil, "", err
			}
			list = append(list, o)
		}
	} else {
		for o := range all {
			list = append(list, o)
		}
	}
	kept := list[:0:0]
	for _, o := range list {
		if r.match(v, o, filters) {
			kept = append(kept, o)
		}
	}
	sort.SliceStable(kept, func(i, j int) bool { return kept[i].Key() < kept[j].Key() })
	return paginate(kept, page, T.Key)
}

// paginate cuts a sorted list to a page that starts after the token's key.
func paginate[T any](list []T, page Page, key func(T) string) ([]T, string, error) {
	after, limit, err := page.bounds()
	if err != nil {
		return nil, "", err
	}
	if after != "" {
		list = list[sort.Search(len(list), func(i int) bool { return key(list[i]) > after }):]
	}
	if len(list) <= limit {
		return list, "", nil
	}
	return list[:limit], sealToken(key(list[limit-1])), nil
}

// bounds are the key after which the page starts, "" for the first, and the
// most it may hold.
func (p Page) bounds() (after string, limit int, err error) {
	limit = pageLimit
	if p.MaxResults != nil {
		if *p.MaxResults < 1 {
			return "", 0, vpc.Errorf(vpc.Invalid, "MaxResults", "", "Value (%d) for parameter maxResults is invalid. Expecting a value greater than 0.", *p.MaxResults)
		}
		limit = min(limit, int(*p.MaxResults))
	}
	if p.NextToken != "" {
		after, err = openToken(p.NextToken)
	}
	return after, limit, err
}

// within refuses a page size outside what AWS's model allows the action.
// Actions with a limit of 1,000 cut larger sizes to it instead.
func (p Page) within(low, high int32) error {
	if n := p.MaxResults; n != nil && (*n < low || *n > high) {
		return vpc.Errorf(vpc.Invalid, "MaxResults", "", "Value (%d) for parameter maxResults is invalid. Expecting a value between %d and %d.", *n, low, high)
	}
	return nil
}

// atLeast is within for the actions that cut larger sizes.
func (p Page) atLeast(low int32) error {
	if n := p.MaxResults; n != nil && *n < low {
		return vpc.Errorf(vpc.Invalid, "MaxResults", "", "Value (%d) for parameter maxResults is invalid. Expecting a value of at least %d.", *n, low)
	}
	return nil
}

// A token is the last key of the page before it and a checksum, so that what
// is not ours is recognised. It grants nothing: a key is no secret.
func sealToken(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(checksum(key) + key))
}

func openToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 8 || checksum(string(b[8:])) != string(b[:8]) {
		return "", vpc.Errorf(vpc.BadToken, "NextToken", token, "The token '%.64s' is invalid", token)
	}
	return string(b[8:]), nil
}

func checksum(key string) string {
	h := sha256.Sum256([]byte("postern page " + key))
	return hex.EncodeToString(h[:4])
}

func (r resource[T]) checkFilters(filters []Filter) error {
	n := 0
	for _, f := range filters {
		n += len(f.Values)
		if _, ok := r.filters[f.Name]; ok {
			continue
		}
		if r.tags != nil && (f.Name == "tag-key" || strings.HasPrefix(f.Name, "tag:") && len(f.Name) > 4) {
			continue
		}
		return vpc.Errorf(vpc.BadFilter, "Filter", f.Name, "The filter '%.128s' is invalid", f.Name)
	}
	if n > maxFilterValues {
		return vpc.Errorf(vpc.Limit, "filter", "", "The maximum number of filter values is %d", maxFilterValues)
	}
	return nil
}

// match ANDs the filters and ORs the values of each.
func (r resource[T]) match(v vpc.View, o T, filters []Filter) bool {
	for _, f := range filters {
		var have []string
		if fn, ok := r.filters[f.Name]; ok {
			have = fn(v, o)
		} else if f.Name == "tag-key" {
			for k := range r.tags(o) {
				have = append(have, k)
			}
		} else if t, ok := r.tags(o)[strings.TrimPrefix(f.Name, "tag:")]; ok {
			have = []string{t}
		}
		if !anyMatches(f.Values, have) {
			return false
		}
	}
	return true
}

func anyMatches(patterns, values []string) bool {
	for _, p := range patterns {
		for _, s := range values {
			if wildcard(p, s) {
				return true
			}
		}
	}
	return false
}

// wildcard matches s against a filter value: * is any run, ? any character,
// \ escapes. Linear in len(p)*len(s) at worst.
func wildcard(p, s string) bool {
	type mark struct{ p, s int }
	star := mark{-1, 0}
	i, j := 0, 0
	for j < len(s) {
		if i < len(p) {
			switch c := p[i]; {
			case c == '*':
				star = mark{i + 1, j}
				i++
				continue
			case c == '\\' && i+1 < len(p):
				if p[i+1] == s[j] {
					i, j = i+2, j+1
					continue
				}
			case c == '?' || c == s[j]:
				i, j = i+1, j+1
				continue
			}
		}
		if star.p < 0 {
			return false
		}
		star.s++
		i, j = star.p, star.s
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// checkID refuses an id that cannot be one of the kind.
func checkID(kind vpc.Kind, prefix, id string) error {
	if vpc.ValidID(prefix, id) {
		return nil
	}
	return vpc.Errorf(vpc.Malformed, string(kind), id, "Invalid id: \"%.128s\" (expecting \"%s-...\")", id, prefix)
}

// owned is the get function of describe for types whose owner sees them.
func owned[T any, P interface {
	*T
	vpc.Object
}](call *Call, v vpc.View) func(id string) (P, error) {
	return func(id string) (P, error) { return control.Owned[T, P](v, call.Caller, id) }
}

// Tag is a tag on the wire, in and out.
type Tag struct {
	Key   string `query:"Key,required" xml:"key"`
	Value string `query:"Value" xml:"value"`
}

// TagSpecification is one TagSpecification.N of a create action.
type TagSpecification struct {
	ResourceType string `query:"ResourceType,required"`
	Tags         []Tag  `query:"Tag"`
}

// tagList renders tags in key order.
func tagList(t vpc.Tags) []Tag {
	list := make([]Tag, 0, len(t))
	for k, v := range t {
		list = append(list, Tag{k, v})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list
}

// tagsFor reads the specifications of a create action that makes the given
// resource types; it answers the tags for each.
func tagsFor(specs []TagSpecification, types ...string) (map[string]vpc.Tags, error) {
	out := map[string]vpc.Tags{}
	for _, s := range specs {
		ok := false
		for _, t := range types {
			ok = ok || t == s.ResourceType
		}
		if !ok {
			return nil, vpc.Errorf(vpc.Invalid, "ResourceType", s.ResourceType,
				"'%.64s' is not a valid taggable resource type for this operation.", s.ResourceType)
		}
		if out[s.ResourceType] == nil {
			out[s.ResourceType] = vpc.Tags{}
		}
		for _, t := range s.Tags {
			if _, dup := out[s.ResourceType][t.Key]; dup {
				return nil, vpc.Errorf(vpc.Invalid, "Tag", t.Key, "Duplicate tag key '%.128s' specified.", t.Key)
			}
			out[s.ResourceType][t.Key] = t.Value
		}
		if err := control.CheckTags(out[s.ResourceType]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
