// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"sort"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateTags", true, createTags)
	register("DeleteTags", true, deleteTags)
	register("DescribeTags", false, describeTags)
}

// CreateTagsInput is the input of CreateTags.
type CreateTagsInput struct {
	DryRun
	Resources []string `query:"ResourceId,required"`
	Tags      []Tag    `query:"Tag,required"`
}

func createTags(call *Call, in *CreateTagsInput) (*void, error) {
	tags := vpc.Tags{}
	for _, t := range in.Tags {
		if _, dup := tags[t.Key]; dup {
			return nil, vpc.Errorf(vpc.Invalid, "Tag", t.Key, "Duplicate tag key '%.128s' specified.", t.Key)
		}
		tags[t.Key] = t.Value
	}
	return done, call.Control.CreateTags(call.Context, call.Caller, in.Resources, tags)
}

// DeleteTagsInput is the input of DeleteTags.
type DeleteTagsInput struct {
	DryRun
	Resources []string    `query:"ResourceId,required"`
	Tags      []TagToDrop `query:"Tag"`
}

// TagToDrop is a tag to delete; a value that is given, also the empty one,
// must be the tag's.
type TagToDrop struct {
	Key   string  `query:"Key,required"`
	Value *string `query:"Value"`
}

func deleteTags(call *Call, in *DeleteTagsInput) (*void, error) {
	var refs []control.TagRef
	for _, t := range in.Tags {
		refs = append(refs, control.TagRef{Key: t.Key, Value: t.Value})
	}
	return done, call.Control.DeleteTags(call.Context, call.Caller, in.Resources, refs)
}

// DescribeTagsInput is the input of DescribeTags.
type DescribeTagsInput struct {
	DryRun
	Page
	Filters []Filter `query:"Filter"`
}

// DescribeTagsOutput is the output of DescribeTags.
type DescribeTagsOutput struct {
	Tags      []TagDescription `xml:"tagSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

// TagDescription is <TagDescription>.
type TagDescription struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	Key          string `xml:"key"`
	Value        string `xml:"value"`
}

// taggedKey is one tag as an object of its own, for filters.
type taggedKey struct {
	res control.Tagged
	key string
}

func (*taggedKey) Kind() vpc.Kind              { return "tag" }
func (t *taggedKey) Key() string               { return t.res.ID + "\x00" + t.key }
func (*taggedKey) Index(func(string, string))  {}
func (*taggedKey) Refs(func(vpc.Kind, string)) {}
func (*taggedKey) Claims(func(string))         {}

var tagResource = resource[*taggedKey]{
	filters: filterSet[*taggedKey]{
		"resource-id":   one(func(t *taggedKey) string { return t.res.ID }),
		"resource-type": one(func(t *taggedKey) string { return t.res.Type }),
		"key":           one(func(t *taggedKey) string { return t.key }),
		"value":         one(func(t *taggedKey) string { return t.res.Tags[t.key] }),
	},
	// tag:<key> finds the tag with that key and value.
	tags: func(t *taggedKey) vpc.Tags { return vpc.Tags{t.key: t.res.Tags[t.key]} },
}

func describeTags(call *Call, in *DescribeTagsInput) (*DescribeTagsOutput, error) {
	if err := tagResource.checkFilters(in.Filters); err != nil {
		return nil, err
	}
	v := call.View()
	var list []*taggedKey
	for _, r := range control.AllTags(v, call.Caller.Account) {
		for k := range r.Tags {
			if t := (&taggedKey{r, k}); tagResource.match(v, t, in.Filters) {
				list = append(list, t)
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key() < list[j].Key() })
	list, next, err := paginate(list, in.Page, (*taggedKey).Key)
	if err != nil {
		return nil, err
	}
	out := &DescribeTagsOutput{NextToken: next}
	for _, t := range list {
		out.Tags = append(out.Tags, TagDescription{t.res.ID, t.res.Type, t.key, t.res.Tags[t.key]})
	}
	return out, nil
}
