// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"maps"
	"slices"
	"strings"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("PutUserPolicy", func(c *Call, in *PutUserPolicyInput) (*void, error) {
		return nil, c.Control.PutInlinePolicy(c.Context, c.Caller, user(in.UserName), in.PolicyName, in.PolicyDocument)
	})
	register("PutRolePolicy", func(c *Call, in *PutRolePolicyInput) (*void, error) {
		return nil, c.Control.PutInlinePolicy(c.Context, c.Caller, role(in.RoleName), in.PolicyName, in.PolicyDocument)
	})
	register("GetUserPolicy", func(c *Call, in *UserPolicyInput) (*UserPolicyOutput, error) {
		doc, err := control.InlinePolicy(c.View(), c.Caller, user(in.UserName), in.PolicyName)
		return &UserPolicyOutput{in.UserName, in.PolicyName, escaped(doc)}, err
	})
	register("GetRolePolicy", func(c *Call, in *RolePolicyInput) (*RolePolicyOutput, error) {
		doc, err := control.InlinePolicy(c.View(), c.Caller, role(in.RoleName), in.PolicyName)
		return &RolePolicyOutput{in.RoleName, in.PolicyName, escaped(doc)}, err
	})
	register("DeleteUserPolicy", func(c *Call, in *UserPolicyInput) (*void, error) {
		return nil, c.Control.DeleteInlinePolicy(c.Context, c.Caller, user(in.UserName), in.PolicyName)
	})
	register("DeleteRolePolicy", func(c *Call, in *RolePolicyInput) (*void, error) {
		return nil, c.Control.DeleteInlinePolicy(c.Context, c.Caller, role(in.RoleName), in.PolicyName)
	})
	register("ListUserPolicies", func(c *Call, in *NamedUserListInput) (*ListInlineOutput, error) {
		return inline(c, user(in.UserName), in.Paging)
	})
	register("ListRolePolicies", func(c *Call, in *NamedRoleListInput) (*ListInlineOutput, error) {
		return inline(c, role(in.RoleName), in.Paging)
	})
	register("AttachUserPolicy", func(c *Call, in *AttachUserInput) (*void, error) {
		return nil, c.Control.AttachPolicy(c.Context, c.Caller, user(in.UserName), in.PolicyArn)
	})
	register("AttachRolePolicy", func(c *Call, in *AttachRoleInput) (*void, error) {
		return nil, c.Control.AttachPolicy(c.Context, c.Caller, role(in.RoleName), in.PolicyArn)
	})
	register("DetachUserPolicy", func(c *Call, in *AttachUserInput) (*void, error) {
		return nil, c.Control.DetachPolicy(c.Context, c.Caller, user(in.UserName), in.PolicyArn)
	})
	register("DetachRolePolicy", func(c *Call, in *AttachRoleInput) (*void, error) {
		return nil, c.Control.DetachPolicy(c.Context, c.Caller, role(in.RoleName), in.PolicyArn)
	})
	register("ListAttachedUserPolicies", func(c *Call, in *ListAttachedUserInput) (*ListAttachedOutput, error) {
		return attached(c, user(in.UserName), in.PathPrefix, in.Paging)
	})
	register("ListAttachedRolePolicies", func(c *Call, in *ListAttachedRoleInput) (*ListAttachedOutput, error) {
		return attached(c, role(in.RoleName), in.PathPrefix, in.Paging)
	})
}

func user(name string) control.Entity { return control.Entity{Kind: vpc.KindUser, Name: name} }
func role(name string) control.Entity { return control.Entity{Kind: vpc.KindRole, Name: name} }

// PutUserPolicyInput is the input of PutUserPolicy.
type PutUserPolicyInput struct {
	UserName       string `query:"UserName,required"`
	PolicyName     string `query:"PolicyName,required"`
	PolicyDocument string `query:"PolicyDocument,required"`
}

// PutRolePolicyInput is the input of PutRolePolicy.
type PutRolePolicyInput struct {
	RoleName       string `query:"RoleName,required"`
	PolicyName     string `query:"PolicyName,required"`
	PolicyDocument string `query:"PolicyDocument,required"`
}

// UserPolicyInput is the input of GetUserPolicy and DeleteUserPolicy.
type UserPolicyInput struct {
	UserName   string `query:"UserName,required"`
	PolicyName string `query:"PolicyName,required"`
}

// RolePolicyInput is the input of GetRolePolicy and DeleteRolePolicy.
type RolePolicyInput struct {
	RoleName   string `query:"RoleName,required"`
	PolicyName string `query:"PolicyName,required"`
}

// UserPolicyOutput is the output of GetUserPolicy.
type UserPolicyOutput struct {
	UserName       string `xml:"UserName"`
	PolicyName     string `xml:"PolicyName"`
	PolicyDocument string `xml:"PolicyDocument"`
}

// RolePolicyOutput is the output of GetRolePolicy.
type RolePolicyOutput struct {
	RoleName       string `xml:"RoleName"`
	PolicyName     string `xml:"PolicyName"`
	PolicyDocument string `xml:"PolicyDocument"`
}

// NamedUserListInput is the input of lists of what a user has, which must be named.
type NamedUserListInput struct {
	Paging
	UserName string `query:"UserName,required"`
}

// NamedRoleListInput is the input of lists of what a role has.
type NamedRoleListInput struct {
	Paging
	RoleName string `query:"RoleName,required"`
}

// ListInlineOutput is the output of ListUserPolicies and ListRolePolicies.
type ListInlineOutput struct {
	Page
	PolicyNames []string `xml:"PolicyNames"`
}

func inline(c *Call, e control.Entity, p Paging) (*ListInlineOutput, error) {
	set, err := control.PoliciesOf(c.View(), c.Caller, e)
	if err != nil {
		return nil, err
	}
	names, next, err := page(p, slices.Collect(maps.Keys(set.Inline)), func(s string) string { return s })
	return &ListInlineOutput{next, names}, err
}

// AttachUserInput is the input of AttachUserPolicy and DetachUserPolicy.
type AttachUserInput struct {
	UserName  string `query:"UserName,required"`
	PolicyArn string `query:"PolicyArn,required"`
}

// AttachRoleInput is the input of AttachRolePolicy and DetachRolePolicy.
type AttachRoleInput struct {
	RoleName  string `query:"RoleName,required"`
	PolicyArn string `query:"PolicyArn,required"`
}

// ListAttachedUserInput is the input of ListAttachedUserPolicies.
type ListAttachedUserInput struct {
	Paging
	UserName   string `query:"UserName,required"`
	PathPrefix string `query:"PathPrefix"`
}

// ListAttachedRoleInput is the input of ListAttachedRolePolicies.
type ListAttachedRoleInput struct {
	Paging
	RoleName   string `query:"RoleName,required"`
	PathPrefix string `query:"PathPrefix"`
}

// ListAttachedOutput is the output of ListAttachedUserPolicies and
// ListAttachedRolePolicies.
type ListAttachedOutput struct {
	Page
	Policies []AttachedPolicy `xml:"AttachedPolicies"`
}

// AttachedPolicy is an element of AttachedPolicies.
type AttachedPolicy struct {
	PolicyName string `xml:"PolicyName"`
	PolicyArn  string `xml:"PolicyArn"`
}

func attached(c *Call, e control.Entity, prefix string, p Paging) (*ListAttachedOutput, error) {
	v := c.View()
	set, err := control.PoliciesOf(v, c.Caller, e)
	if err != nil {
		return nil, err
	}
	var list []AttachedPolicy
	for _, id := range set.Attached {
		if m, ok := vpc.PolicyByID(v, id); ok && strings.HasPrefix(m.Path, prefix) {
			list = append(list, AttachedPolicy{m.Name, m.ARN()})
		}
	}
	list, next, err := page(p, list, func(a AttachedPolicy) string { return a.PolicyArn })
	return &ListAttachedOutput{next, list}, err
}
