// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"iter"
	"net/netip"
	"slices"
	"sort"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// pageLimit is the largest PageSize, and the page size when none is given.
const pageLimit = 400

// Page is embedded by the inputs of paginated describe actions.
type Page struct {
	Marker   string `query:"Marker"`
	PageSize *int32 `query:"PageSize"`
}

// paginate cuts a list sorted by key to a page that starts after the marker's
// key, and answers the marker of the next one.
func paginate[T any](list []T, page Page, key func(T) string) ([]T, string, error) {
	limit := pageLimit
	if page.PageSize != nil {
		if *page.PageSize < 1 || *page.PageSize > pageLimit {
			return nil, "", vpc.Errorf(vpc.Invalid, "PageSize", "", "Page size '%d' must be from 1 to %d", *page.PageSize, pageLimit)
		}
		limit = int(*page.PageSize)
	}
	if page.Marker != "" {
		after, err := openMarker(page.Marker)
		if err != nil {
			return nil, "", err
		}
		list = list[sort.Search(len(list), func(i int) bool { return key(list[i]) > after }):]
	}
	if len(list) <= limit {
		return list, "", nil
	}
	return list[:limit], sealMarker(key(list[limit-1])), nil
}

// A marker is the last key of the page before it and a checksum, so that what
// is not ours is recognised. It grants nothing: a key is no secret.
func sealMarker(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(checksum(key) + key))
}

func openMarker(marker string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || len(b) < 8 || checksum(string(b[8:])) != string(b[:8]) {
		return "", vpc.Errorf(vpc.BadToken, "Marker", "", "The marker '%.64s' is invalid", marker)
	}
	return string(b[8:]), nil
}

func checksum(key string) string {
	h := sha256.Sum256([]byte("postern marker " + key))
	return hex.EncodeToString(h[:4])
}

var nouns = map[vpc.Kind]string{
	vpc.KindBalancer: "load balancer", vpc.KindTargetGroup: "target group", vpc.KindListener: "listener",
}

// checkARN refuses an ARN that cannot be one of the kind.
func checkARN(kind vpc.Kind, arn string) (vpc.ARN, error) {
	if k, ok := control.ELBKind(vpc.ARN(arn)); !ok || k != kind {
		return "", vpc.Errorf(vpc.Malformed, string(kind), arn, "'%.256s' is not a valid %s ARN", arn, nouns[kind])
	}
	return vpc.ARN(arn), nil
}

// object is a stored type.
type object[T any] interface {
	*T
	vpc.Object
}

// find finds one of the caller's objects by ARN; the error names AWS's noun.
func find[T any, P object[T]](call *Call, v vpc.View, arn string) (P, error) {
	kind := P(nil).Kind()
	a, err := checkARN(kind, arn)
	if err != nil {
		return nil, err
	}
	o, err := control.Owned[T, P](v, call.Caller, a)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(kind), arn, "One or more %ss not found: '%.256s'", nouns[kind], arn)
	}
	return o, nil
}

// pick answers the caller's objects with the given ARNs and names, or all when
// neither is given, in key order and without repeats. One that is missing
// fails the call.
func pick[T any, P object[T]](call *Call, v vpc.View, arns, names []string) ([]P, error) {
	var list []P
	for _, arn := range arns {
		o, err := find[T, P](call, v, arn)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	for _, name := range names {
		o, ok := vpc.First[T, P](v, vpc.IndexName, string(call.Caller.Account)+"/"+name)
		if !ok {
			kind := P(nil).Kind()
			return nil, vpc.Errorf(vpc.NotFound, string(kind), name, "One or more %ss not found: '%.256s'", nouns[kind], name)
		}
		list = append(list, o)
	}
	if len(arns) == 0 && len(names) == 0 {
		list = slices.Collect(iter.Seq[P](vpc.By[T, P](v, vpc.IndexOwner, call.Caller.Account)))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key() < list[j].Key() })
	return slices.CompactFunc(list, func(a, b P) bool { return a.Key() == b.Key() }), nil
}

// Tag is a tag on the wire, in and out.
type Tag struct {
	Key   string `query:"Key,required" xml:"Key"`
	Value string `query:"Value" xml:"Value"`
}

// tagsOf reads the tags of a call.
func tagsOf(list []Tag) (vpc.Tags, error) {
	if len(list) == 0 {
		return nil, nil
	}
	tags := vpc.Tags{}
	for _, t := range list {
		if _, dup := tags[t.Key]; dup {
			return nil, vpc.Errorf(vpc.Duplicate, "tag", t.Key, "The tag key '%.128s' was specified more than once", t.Key)
		}
		tags[t.Key] = t.Value
	}
	return tags, control.CheckTags(tags)
}

// tagList renders tags in key order.
func tagList(tags vpc.Tags) []Tag {
	list := make([]Tag, 0, len(tags))
	for k, v := range tags {
		list = append(list, Tag{k, v})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list
}

// Attribute is one attribute of a load balancing object, in and out.
type Attribute struct {
	Key   string `query:"Key,required" xml:"Key"`
	Value string `query:"Value" xml:"Value"`
}

// AttributesOutput is the output of the actions that describe and modify
// attributes: all attributes of the object.
type AttributesOutput struct {
	Attributes []Attribute `xml:"Attributes"`
}

func attributesOf(list []Attribute) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range list {
		if _, dup := out[a.Key]; dup {
			return nil, vpc.Errorf(vpc.Invalid, "Attributes", a.Key, "The attribute key '%.128s' was specified more than once", a.Key)
		}
		out[a.Key] = a.Value
	}
	return out, nil
}

func renderAttributes(list []control.Attribute) *AttributesOutput {
	out := &AttributesOutput{}
	for _, a := range list {
		out.Attributes = append(out.Attributes, Attribute(a))
	}
	return out
}

// groupIDs reads security group ids.
func groupIDs(list []string) ([]vpc.GroupID, error) {
	var out []vpc.GroupID
	for _, id := range list {
		if !vpc.ValidID(vpc.PrefixGroup, id) {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindGroup), id, "The security group '%.64s' does not exist", id)
		}
		out = append(out, vpc.GroupID(id))
	}
	return out, nil
}

// SubnetMapping is one subnet of a load balancer with its addresses.
type SubnetMapping struct {
	SubnetID           string  `query:"SubnetId,required"`
	PrivateIPv4Address string  `query:"PrivateIPv4Address"`
	IPv6Address        string  `query:"IPv6Address"`
	_                  refused `query:"AllocationId,refuse"`
	_                  refused `query:"SourceNatIpv6Prefix,refuse"`
}

// subnetsOf reads Subnets or SubnetMappings, of which one is given.
func subnetsOf(subnets []string, mappings []SubnetMapping) ([]control.BalancerSubnet, error) {
	if len(subnets) > 0 && len(mappings) > 0 {
		return nil, vpc.Errorf(vpc.Invalid, "Subnets", "", "Subnets and SubnetMappings cannot be specified together")
	}
	for _, id := range subnets {
		mappings = append(mappings, SubnetMapping{SubnetID: id})
	}
	var out []control.BalancerSubnet
	for _, m := range mappings {
		if !vpc.ValidID(vpc.PrefixSubnet, m.SubnetID) {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindSubnet), m.SubnetID, "The subnet ID '%.64s' does not exist", m.SubnetID)
		}
		b := control.BalancerSubnet{Subnet: vpc.SubnetID(m.SubnetID)}
		if m.PrivateIPv4Address != "" {
			a, err := netip.ParseAddr(m.PrivateIPv4Address)
			if err != nil || !a.Is4() {
				return nil, vpc.Errorf(vpc.Invalid, "PrivateIPv4Address", "", "'%.64s' is not a valid IPv4 address", m.PrivateIPv4Address)
			}
			b.Addr = a
		}
		if m.IPv6Address != "" {
			a, err := netip.ParseAddr(m.IPv6Address)
			if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
				return nil, vpc.Errorf(vpc.Invalid, "IPv6Address", "", "'%.64s' is not a valid IPv6 address", m.IPv6Address)
			}
			b.Addr6 = a
		}
		out = append(out, b)
	}
	return out, nil
}
