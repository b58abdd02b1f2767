// SPDX-License-Identifier: Apache-2.0

package route53resolver

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("TagResource", tagResource)
	register("UntagResource", untagResource)
	register("ListTagsForResource", listTagsForResource)
}

// Tag is one tag, in a request.
type Tag struct {
	Key   string `query:"Key,required"`
	Value string `query:"Value"`
}

// ATag is one tag, in an answer.
type ATag struct{ Key, Value string }

// tagsOf are the tags of a request, each once.
func tagsOf(list []Tag) (vpc.Tags, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := vpc.Tags{}
	for _, t := range list {
		if _, twice := out[t.Key]; twice {
			return nil, vpc.Errorf(vpc.Invalid, "Tag", t.Key, "The tag key '%s' is there twice", t.Key)
		}
		out[t.Key] = t.Value
	}
	return out, nil
}

// TagResourceInput is the input of TagResource.
type TagResourceInput struct {
	ResourceArn string `query:"ResourceArn,required"`
	Tags        []Tag  `query:"Tags,required"`
}

// Void is the output of actions that answer nothing.
type Void struct{}

func tagResource(call *Call, in *TagResourceInput) (*Void, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	return &Void{}, call.Control.TagResolver(call.Context, call.Caller, in.ResourceArn, tags)
}

// UntagResourceInput is the input of UntagResource.
type UntagResourceInput struct {
	ResourceArn string   `query:"ResourceArn,required"`
	TagKeys     []string `query:"TagKeys,required"`
}

func untagResource(call *Call, in *UntagResourceInput) (*Void, error) {
	return &Void{}, call.Control.UntagResolver(call.Context, call.Caller, in.ResourceArn, in.TagKeys)
}

// ListTagsForResourceInput is the input of ListTagsForResource.
type ListTagsForResourceInput struct {
	ResourceArn string `query:"ResourceArn,required"`
	Page
}

// ListTagsForResourceOutput is the output of ListTagsForResource.
type ListTagsForResourceOutput struct {
	Tags      []ATag
	NextToken *string `json:",omitempty"`
}

func listTagsForResource(call *Call, in *ListTagsForResourceInput) (*ListTagsForResourceOutput, error) {
	tags, err := control.ResolverTags(call.View(), call.Caller, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	list := []ATag{}
	for k, v := range tags {
		list = append(list, ATag{k, v})
	}
	page, next, err := paginate(list, in.Page, func(t ATag) string { return t.Key })
	return &ListTagsForResourceOutput{page, next}, err
}
