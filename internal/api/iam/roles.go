// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"strings"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreateRole", createRole)
	register("GetRole", getRole)
	register("UpdateRole", updateRole)
	register("UpdateRoleDescription", updateRoleDescription)
	register("UpdateAssumeRolePolicy", updateAssumeRolePolicy)
	register("DeleteRole", deleteRole)
	register("ListRoles", listRoles)
}

// Role is <Role>.
type Role struct {
	Path                     string    `xml:"Path"`
	RoleName                 string    `xml:"RoleName"`
	RoleID                   string    `xml:"RoleId"`
	Arn                      string    `xml:"Arn"`
	CreateDate               time.Time `xml:"CreateDate"`
	AssumeRolePolicyDocument string    `xml:"AssumeRolePolicyDocument"`
	Description              string    `xml:"Description,omitempty"`
	MaxSessionDuration       int32     `xml:"MaxSessionDuration"`
	Tags                     []Tag     `xml:"Tags,omitempty"`
}

func roleOf(r *vpc.Role, tags bool) Role {
	out := Role{
		Path: r.Path, RoleName: r.Name, RoleID: string(r.ID), Arn: r.ARN(), CreateDate: r.Created,
		AssumeRolePolicyDocument: escaped(r.Trust), Description: r.Description, MaxSessionDuration: int32(r.MaxSession / time.Second),
	}
	if tags {
		out.Tags = tagList(r.Tags)
	}
	return out
}

// CreateRoleInput is the input of CreateRole.
type CreateRoleInput struct {
	RoleName                 string           `query:"RoleName,required"`
	AssumeRolePolicyDocument string           `query:"AssumeRolePolicyDocument,required"`
	Path                     string           `query:"Path"`
	Description              string           `query:"Description"`
	MaxSessionDuration       *int32           `query:"MaxSessionDuration"`
	Tags                     []Tag            `query:"Tags"`
	_                        awsquery.Refused `query:"PermissionsBoundary,refuse"`
}

// RoleOutput is the output of actions that answer a role.
type RoleOutput struct {
	Role Role `xml:"Role"`
}

func createRole(call *Call, in *CreateRoleInput) (*RoleOutput, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	req := control.RoleInput{Name: in.RoleName, Path: in.Path, Description: in.Description, Trust: in.AssumeRolePolicyDocument, Tags: tags}
	if in.MaxSessionDuration != nil {
		// 0 was given, and is refused as too short.
		req.MaxSession = max(time.Duration(*in.MaxSessionDuration)*time.Second, 1)
	}
	r, err := call.Control.CreateRole(call.Context, call.Caller, req)
	if err != nil {
		return nil, err
	}
	return &RoleOutput{roleOf(r, true)}, nil
}

// RoleInput is the input of actions on one role.
type RoleInput struct {
	RoleName string `query:"RoleName,required"`
}

func getRole(call *Call, in *RoleInput) (*RoleOutput, error) {
	r, err := control.RoleNamed(call.View(), call.Caller, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &RoleOutput{roleOf(r, true)}, nil
}

// UpdateRoleInput is the input of UpdateRole.
type UpdateRoleInput struct {
	RoleName           string  `query:"RoleName,required"`
	Description        *string `query:"Description"`
	MaxSessionDuration *int32  `query:"MaxSessionDuration"`
}

func updateRole(call *Call, in *UpdateRoleInput) (*void, error) {
	var d *time.Duration
	if in.MaxSessionDuration != nil {
		seconds := time.Duration(*in.MaxSessionDuration) * time.Second
		d = &seconds
	}
	_, err := call.Control.UpdateRole(call.Context, call.Caller, in.RoleName, in.Description, d)
	return nil, err
}

// UpdateRoleDescriptionInput is the input of UpdateRoleDescription.
type UpdateRoleDescriptionInput struct {
	RoleName    string  `query:"RoleName,required"`
	Description *string `query:"Description"`
}

func updateRoleDescription(call *Call, in *UpdateRoleDescriptionInput) (*RoleOutput, error) {
	r, err := call.Control.UpdateRole(call.Context, call.Caller, in.RoleName, in.Description, nil)
	if err != nil {
		return nil, err
	}
	return &RoleOutput{roleOf(r, true)}, nil
}

// UpdateAssumeRolePolicyInput is the input of UpdateAssumeRolePolicy.
type UpdateAssumeRolePolicyInput struct {
	RoleName       string `query:"RoleName,required"`
	PolicyDocument string `query:"PolicyDocument,required"`
}

func updateAssumeRolePolicy(call *Call, in *UpdateAssumeRolePolicyInput) (*void, error) {
	return nil, call.Control.SetTrust(call.Context, call.Caller, in.RoleName, in.PolicyDocument)
}

func deleteRole(call *Call, in *RoleInput) (*void, error) {
	return nil, call.Control.DeleteRole(call.Context, call.Caller, in.RoleName)
}

// ListRolesInput is the input of ListRoles.
type ListRolesInput struct {
	Paging
	PathPrefix string `query:"PathPrefix"`
}

// ListRolesOutput is the output of ListRoles.
type ListRolesOutput struct {
	Page
	Roles []Role `xml:"Roles"`
}

func listRoles(call *Call, in *ListRolesInput) (*ListRolesOutput, error) {
	var list []*vpc.Role
	for r := range vpc.By[vpc.Role](call.View(), vpc.IndexOwner, call.Caller.Account) {
		if strings.HasPrefix(r.Path, in.PathPrefix) {
			list = append(list, r)
		}
	}
	list, p, err := page(in.Paging, list, func(r *vpc.Role) string { return r.Name })
	if err != nil {
		return nil, err
	}
	out := &ListRolesOutput{Page: p}
	for _, r := range list {
		out.Roles = append(out.Roles, roleOf(r, false))
	}
	return out, nil
}
