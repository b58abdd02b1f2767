// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("TagUser", func(c *Call, in *TagUserInput) (*void, error) { return tag(c, user(in.UserName), in.Tags) })
	register("TagRole", func(c *Call, in *TagRoleInput) (*void, error) { return tag(c, role(in.RoleName), in.Tags) })
	register("TagPolicy", func(c *Call, in *TagPolicyInput) (*void, error) {
		tags, err := tagsOf(in.Tags)
		if err != nil {
			return nil, err
		}
		return nil, c.Control.TagPolicy(c.Context, c.Caller, in.PolicyArn, tags)
	})
	register("UntagUser", func(c *Call, in *UntagUserInput) (*void, error) {
		return nil, c.Control.UntagEntity(c.Context, c.Caller, user(in.UserName), in.TagKeys)
	})
	register("UntagRole", func(c *Call, in *UntagRoleInput) (*void, error) {
		return nil, c.Control.UntagEntity(c.Context, c.Caller, role(in.RoleName), in.TagKeys)
	})
	register("UntagPolicy", func(c *Call, in *UntagPolicyInput) (*void, error) {
		return nil, c.Control.UntagPolicy(c.Context, c.Caller, in.PolicyArn, in.TagKeys)
	})
	register("ListUserTags", func(c *Call, in *NamedUserListInput) (*ListTagsOutput, error) {
		u, err := control.UserNamed(c.View(), c.Caller, in.UserName)
		if err != nil {
			return nil, err
		}
		return listTags(in.Paging, u.Tags)
	})
	register("ListRoleTags", func(c *Call, in *NamedRoleListInput) (*ListTagsOutput, error) {
		r, err := control.RoleNamed(c.View(), c.Caller, in.RoleName)
		if err != nil {
			return nil, err
		}
		return listTags(in.Paging, r.Tags)
	})
	register("ListPolicyTags", func(c *Call, in *PolicyListInput) (*ListTagsOutput, error) {
		p, err := control.PolicyByARN(c.View(), c.Caller, in.PolicyArn)
		if err != nil {
			return nil, err
		}
		return listTags(in.Paging, p.Tags)
	})
}

func tag(c *Call, e control.Entity, list []Tag) (*void, error) {
	tags, err := tagsOf(list)
	if err != nil {
		return nil, err
	}
	return nil, c.Control.TagEntity(c.Context, c.Caller, e, tags)
}

func listTags(p Paging, tags vpc.Tags) (*ListTagsOutput, error) {
	list, next, err := page(p, tagList(tags), func(t Tag) string { return t.Key })
	return &ListTagsOutput{next, list}, err
}

// ListTagsOutput is the output of the lists of tags.
type ListTagsOutput struct {
	Page
	Tags []Tag `xml:"Tags"`
}

// TagUserInput is the input of TagUser.
type TagUserInput struct {
	UserName string `query:"UserName,required"`
	Tags     []Tag  `query:"Tags,required"`
}

// TagRoleInput is the input of TagRole.
type TagRoleInput struct {
	RoleName string `query:"RoleName,required"`
	Tags     []Tag  `query:"Tags,required"`
}

// TagPolicyInput is the input of TagPolicy.
type TagPolicyInput struct {
	PolicyArn string `query:"PolicyArn,required"`
	Tags      []Tag  `query:"Tags,required"`
}

// UntagUserInput is the input of UntagUser.
type UntagUserInput struct {
	UserName string   `query:"UserName,required"`
	TagKeys  []string `query:"TagKeys,required"`
}

// UntagRoleInput is the input of UntagRole.
type UntagRoleInput struct {
	RoleName string   `query:"RoleName,required"`
	TagKeys  []string `query:"TagKeys,required"`
}

// UntagPolicyInput is the input of UntagPolicy.
type UntagPolicyInput struct {
	PolicyArn string   `query:"PolicyArn,required"`
	TagKeys   []string `query:"TagKeys,required"`
}
