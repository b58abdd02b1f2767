// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"strings"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("CreatePolicy", createPolicy)
	register("GetPolicy", getPolicy)
	register("DeletePolicy", deletePolicy)
	register("ListPolicies", listPolicies)
	register("CreatePolicyVersion", createPolicyVersion)
	register("GetPolicyVersion", getPolicyVersion)
	register("DeletePolicyVersion", deletePolicyVersion)
	register("SetDefaultPolicyVersion", setDefaultPolicyVersion)
	register("ListPolicyVersions", listPolicyVersions)
	register("ListEntitiesForPolicy", listEntitiesForPolicy)
}

// Policy is <Policy>.
type Policy struct {
	PolicyName                    string    `xml:"PolicyName"`
	PolicyID                      string    `xml:"PolicyId"`
	Arn                           string    `xml:"Arn"`
	Path                          string    `xml:"Path"`
	DefaultVersionID              string    `xml:"DefaultVersionId"`
	AttachmentCount               int       `xml:"AttachmentCount"`
	PermissionsBoundaryUsageCount int       `xml:"PermissionsBoundaryUsageCount"`
	IsAttachable                  bool      `xml:"IsAttachable"`
	Description                   string    `xml:"Description,omitempty"`
	CreateDate                    time.Time `xml:"CreateDate"`
	UpdateDate                    time.Time `xml:"UpdateDate"`
	Tags                          []Tag     `xml:"Tags,omitempty"`
}

func policyOf(c *Call, v vpc.View, p *vpc.ManagedPolicy, whole bool) Policy {
	users, roles := control.AttachedTo(v, c.Caller, p.ID)
	out := Policy{
		PolicyName: p.Name, PolicyID: string(p.ID), Arn: p.ARN(), Path: p.Path, DefaultVersionID: fmt.Sprintf("v%d", p.Default),
		AttachmentCount: len(users) + len(roles), IsAttachable: true, CreateDate: p.Created, UpdateDate: p.Updated,
	}
	if whole {
		out.Description, out.Tags = p.Description, tagList(p.Tags)
	}
	return out
}

// CreatePolicyInput is the input of CreatePolicy.
type CreatePolicyInput struct {
	PolicyName     string `query:"PolicyName,required"`
	PolicyDocument string `query:"PolicyDocument,required"`
	Path           string `query:"Path"`
	Description    string `query:"Description"`
	Tags           []Tag  `query:"Tags"`
}

// PolicyOutput is the output of CreatePolicy and GetPolicy.
type PolicyOutput struct {
	Policy Policy `xml:"Policy"`
}

func createPolicy(call *Call, in *CreatePolicyInput) (*PolicyOutput, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	p, err := call.Control.CreatePolicy(call.Context, call.Caller, control.PolicyInput{
		Name: in.PolicyName, Path: in.Path, Description: in.Description, Document: in.PolicyDocument, Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	return &PolicyOutput{policyOf(call, call.View(), p, true)}, nil
}

// PolicyInput is the input of actions on one policy.
type PolicyInput struct {
	PolicyArn string `query:"PolicyArn,required"`
}

func getPolicy(call *Call, in *PolicyInput) (*PolicyOutput, error) {
	v := call.View()
	p, err := control.PolicyByARN(v, call.Caller, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &PolicyOutput{policyOf(call, v, p, true)}, nil
}

func deletePolicy(call *Call, in *PolicyInput) (*void, error) {
	return nil, call.Control.DeletePolicy(call.Context, call.Caller, in.PolicyArn)
}

// ListPoliciesInput is the input of ListPolicies.
type ListPoliciesInput struct {
	Paging
	Scope             string `query:"Scope,enum=All|AWS|Local"`
	OnlyAttached      bool   `query:"OnlyAttached"`
	PathPrefix        string `query:"PathPrefix"`
	PolicyUsageFilter string `query:"PolicyUsageFilter,enum=PermissionsPolicy|PermissionsBoundary"`
}

// ListPoliciesOutput is the output of ListPolicies.
type ListPoliciesOutput struct {
	Page
	Policies []Policy `xml:"Policies"`
}

func listPolicies(call *Call, in *ListPoliciesInput) (*ListPoliciesOutput, error) {
	v := call.View()
	var list []Policy
	add := func(p *vpc.ManagedPolicy) {
		shown := policyOf(call, v, p, false)
		if strings.HasPrefix(p.Path, in.PathPrefix) && (!in.OnlyAttached || shown.AttachmentCount > 0) && in.PolicyUsageFilter != "PermissionsBoundary" {
			list = append(list, shown)
		}
	}
	if in.Scope != "AWS" {
		for p := range vpc.By[vpc.ManagedPolicy](v, vpc.IndexOwner, call.Caller.Account) {
			add(p)
		}
	}
	if in.Scope != "Local" {
		for _, p := range vpc.AWSPolicies {
			add(p)
		}
	}
	list, p, err := page(in.Paging, list, func(p Policy) string { return p.Arn })
	if err != nil {
		return nil, err
	}
	return &ListPoliciesOutput{p, list}, nil
}

// PolicyVersion is <PolicyVersion>.
type PolicyVersion struct {
	Document         string    `xml:"Document,omitempty"`
	VersionID        string    `xml:"VersionId"`
	IsDefaultVersion bool      `xml:"IsDefaultVersion"`
	CreateDate       time.Time `xml:"CreateDate"`
}

// CreatePolicyVersionInput is the input of CreatePolicyVersion.
type CreatePolicyVersionInput struct {
	PolicyArn      string `query:"PolicyArn,required"`
	PolicyDocument string `query:"PolicyDocument,required"`
	SetAsDefault   bool   `query:"SetAsDefault"`
}

// PolicyVersionOutput is the output of CreatePolicyVersion and GetPolicyVersion.
type PolicyVersionOutput struct {
	PolicyVersion PolicyVersion `xml:"PolicyVersion"`
}

func createPolicyVersion(call *Call, in *CreatePolicyVersionInput) (*PolicyVersionOutput, error) {
	v, isDefault, err := call.Control.CreatePolicyVersion(call.Context, call.Caller, in.PolicyArn, in.PolicyDocument, in.SetAsDefault)
	if err != nil {
		return nil, err
	}
	return &PolicyVersionOutput{PolicyVersion{"", v.ID(), isDefault, v.Created}}, nil
}

// PolicyVersionInput is the input of actions on one version.
type PolicyVersionInput struct {
	PolicyArn string `query:"PolicyArn,required"`
	VersionID string `query:"VersionId,required"`
}

func getPolicyVersion(call *Call, in *PolicyVersionInput) (*PolicyVersionOutput, error) {
	p, err := control.PolicyByARN(call.View(), call.Caller, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	v, err := control.PolicyVersionOf(p, in.VersionID)
	if err != nil {
		return nil, err
	}
	return &PolicyVersionOutput{PolicyVersion{escaped(v.Document), v.ID(), v.Number == p.Default, v.Created}}, nil
}

func deletePolicyVersion(call *Call, in *PolicyVersionInput) (*void, error) {
	return nil, call.Control.DeletePolicyVersion(call.Context, call.Caller, in.PolicyArn, in.VersionID)
}

func setDefaultPolicyVersion(call *Call, in *PolicyVersionInput) (*void, error) {
	return nil, call.Control.SetDefaultPolicyVersion(call.Context, call.Caller, in.PolicyArn, in.VersionID)
}

// PolicyListInput is the input of lists of what one policy has.
type PolicyListInput struct {
	Paging
	PolicyArn string `query:"PolicyArn,required"`
}

// ListPolicyVersionsOutput is the output of ListPolicyVersions.
type ListPolicyVersionsOutput struct {
	Page
	Versions []PolicyVersion `xml:"Versions"`
}

func listPolicyVersions(call *Call, in *PolicyListInput) (*ListPolicyVersionsOutput, error) {
	p, err := control.PolicyByARN(call.View(), call.Caller, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	var list []vpc.PolicyVersion
	list = append(list, p.Versions...)
	// Newest first, as AWS lists them.
	list, next, err := page(in.Paging, list, func(v vpc.PolicyVersion) string { return fmt.Sprintf("%012d", 1_000_000_000-v.Number) })
	if err != nil {
		return nil, err
	}
	out := &ListPolicyVersionsOutput{Page: next}
	for _, v := range list {
		out.Versions = append(out.Versions, PolicyVersion{"", v.ID(), v.Number == p.Default, v.Created})
	}
	return out, nil
}

// ListEntitiesForPolicyInput is the input of ListEntitiesForPolicy.
type ListEntitiesForPolicyInput struct {
	Paging
	PolicyArn         string `query:"PolicyArn,required"`
	EntityFilter      string `query:"EntityFilter,enum=User|Role|Group|LocalManagedPolicy|AWSManagedPolicy"`
	PathPrefix        string `query:"PathPrefix"`
	PolicyUsageFilter string `query:"PolicyUsageFilter,enum=PermissionsPolicy|PermissionsBoundary"`
}

// ListEntitiesForPolicyOutput is the output of ListEntitiesForPolicy.
type ListEntitiesForPolicyOutput struct {
	Page
	Groups []PolicyGroup `xml:"PolicyGroups"`
	Users  []PolicyUser  `xml:"PolicyUsers"`
	Roles  []PolicyRole  `xml:"PolicyRoles"`
}

// PolicyGroup is an element of PolicyGroups, of which there are none.
type PolicyGroup struct {
	GroupName string `xml:"GroupName"`
	GroupID   string `xml:"GroupId"`
}

// PolicyUser is an element of PolicyUsers.
type PolicyUser struct {
	UserName string `xml:"UserName"`
	UserID   string `xml:"UserId"`
}

// PolicyRole is an element of PolicyRoles.
type PolicyRole struct {
	RoleName string `xml:"RoleName"`
	RoleID   string `xml:"RoleId"`
}

func listEntitiesForPolicy(call *Call, in *ListEntitiesForPolicyInput) (*ListEntitiesForPolicyOutput, error) {
	v := call.View()
	p, err := control.PolicyByARN(v, call.Caller, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	type entity struct{ kind, name, id string }
	var list []entity
	users, roles := control.AttachedTo(v, call.Caller, p.ID)
	wanted := func(kind, path string) bool {
		return (in.EntityFilter == "" || in.EntityFilter == kind) && strings.HasPrefix(path, in.PathPrefix) && in.PolicyUsageFilter != "PermissionsBoundary"
	}
	for _, u := range users {
		if wanted("User", u.Path) {
			list = append(list, entity{"User", u.Name, string(u.ID)})
		}
	}
	for _, r := range roles {
		if wanted("Role", r.Path) {
			list = append(list, entity{"Role", r.Name, string(r.ID)})
		}
	}
	list, next, err := page(in.Paging, list, func(e entity) string { return e.kind + "/" + e.name })
	if err != nil {
		return nil, err
	}
	out := &ListEntitiesForPolicyOutput{Page: next}
	for _, e := range list {
		if e.kind == "User" {
			out.Users = append(out.Users, PolicyUser{e.name, e.id})
		} else {
			out.Roles = append(out.Roles, PolicyRole{e.name, e.id})
		}
	}
	return out, nil
}
