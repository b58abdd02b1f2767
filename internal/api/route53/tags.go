// SPDX-License-Identifier: Apache-2.0

package route53

import (
	"cmp"
	"slices"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("POST", "tags/{ResourceType}/{ResourceId}", "ChangeTagsForResource", changeTags)
	register("GET", "tags/{ResourceType}/{ResourceId}", "ListTagsForResource", listTags)
	register("POST", "tags/{ResourceType}", "ListTagsForResources", listTagsOfMany)
}

// Tag is one tag.
type Tag struct {
	Key   string `query:"Key" xml:"Key"`
	Value string `query:"Value" xml:"Value"`
}

// ResourceInput names a zone: there are no health checks.
type ResourceInput struct {
	Type string `query:"ResourceType,required,enum=hostedzone"`
	ID   string `query:"ResourceId,required"`
}

// ChangeTagsInput is the input of ChangeTagsForResource.
type ChangeTagsInput struct {
	ResourceInput
	Add    []Tag    `query:"AddTags,item=Tag"`
	Remove []string `query:"RemoveTagKeys,item=Key"`
}

func changeTags(c *Call, in *ChangeTagsInput) (*void, error) {
	if len(in.Add)+len(in.Remove) == 0 {
		return nil, vpc.Errorf(vpc.Missing, "AddTags", "", "The request must contain AddTags or RemoveTagKeys")
	}
	add := vpc.Tags{}
	for _, t := range in.Add {
		if _, dup := add[t.Key]; dup {
			return nil, vpc.Errorf(vpc.Invalid, "Tag", t.Key, "The tag key %.140s is there twice", t.Key)
		}
		add[t.Key] = t.Value
	}
	for _, k := range in.Remove {
		if _, both := add[k]; both {
			return nil, vpc.Errorf(vpc.Invalid, "Tag", k, "The tag key %.140s is in both AddTags and RemoveTagKeys", k)
		}
	}
	return &void{}, c.Control.SetZoneTags(c.Context, c.Caller, zoneID(in.ID), add, in.Remove)
}

// ResourceTags are the tags of one zone.
type ResourceTags struct {
	Type string `xml:"ResourceType"`
	ID   string `xml:"ResourceId"`
	Tags []Tag  `xml:"Tags>Tag"`
}

func resourceTags(c *Call, id string) (ResourceTags, error) {
	z, err := control.OwnedZone(c.View(), c.Caller, zoneID(id))
	if err != nil {
		return ResourceTags{}, err
	}
	out := ResourceTags{Type: "hostedzone", ID: string(z.ID)}
	for k, v := range z.Tags {
		out.Tags = append(out.Tags, Tag{k, v})
	}
	slices.SortFunc(out.Tags, func(a, b Tag) int { return cmp.Compare(a.Key, b.Key) })
	return out, nil
}

// ListTagsOutput is the output of ListTagsForResource.
type ListTagsOutput struct {
	Set ResourceTags `xml:"ResourceTagSet"`
}

func listTags(c *Call, in *ResourceInput) (*ListTagsOutput, error) {
	set, err := resourceTags(c, in.ID)
	if err != nil {
		return nil, err
	}
	return &ListTagsOutput{set}, nil
}

// ListTagsOfManyInput is the input of ListTagsForResources.
type ListTagsOfManyInput struct {
	Type string   `query:"ResourceType,required,enum=hostedzone"`
	IDs  []string `query:"ResourceIds,required,item=ResourceId"`
}

// ListTagsOfManyOutput is the output of ListTagsForResources.
type ListTagsOfManyOutput struct {
	Sets []ResourceTags `xml:"ResourceTagSets>ResourceTagSet"`
}

// maxTagged bounds the zones of one call, as AWS does.
const maxTagged = 10

func listTagsOfMany(c *Call, in *ListTagsOfManyInput) (*ListTagsOfManyOutput, error) {
	if len(in.IDs) > maxTagged {
		return nil, vpc.Errorf(vpc.Invalid, "ResourceIds", "", "At most %d resources can be named, not %d", maxTagged, len(in.IDs))
	}
	out := &ListTagsOfManyOutput{}
	for _, id := range in.IDs {
		set, err := resourceTags(c, id)
		if err != nil {
			return nil, err
		}
		out.Sets = append(out.Sets, set)
	}
	return out, nil
}
