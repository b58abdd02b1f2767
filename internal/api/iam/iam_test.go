// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/iam"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
)

const (
	document = `{"Version":"2012-10-17","Statement":[{"Sid":"ä + b","Effect":"Allow","Action":"ec2:*","Resource":"*"}]}`
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sts:AssumeRole"}]}`
	admin    = "arn:aws:iam::aws:policy/AdministratorAccess"
)

// client is the SDK's client of a server on which the caller's root calls.
func client(t *testing.T) (*sdk.Client, *control.Control) {
	t.Helper()
	c, _ := controltest.New(t)
	url := apitest.Serve(t, &iam.Actions, awsquery.Parse, c, controltest.Consumer)
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(), RetryMaxAttempts: 1, Credentials: apitest.Keys(),
	}), c
}

func s(v string) *string { return &v }

func tags(pairs ...string) []types.Tag {
	var out []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return out
}

func shown(list []types.Tag) string {
	var out []string
	for _, t := range list {
		out = append(out, *t.Key+"="+*t.Value)
	}
	return strings.Join(out, " ")
}

func TestUserFromCreationToDeletion(t *testing.T) {
	c, _ := client(t)
	ctx := t.Context()
	u := apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("ann"), Path: s("/team/"), Tags: tags("b", "2", "a", "1")})).User
	if *u.UserName != "ann" || *u.Path != "/team/" || *u.Arn != "arn:aws:iam::111111111111:user/team/ann" || len(*u.UserId) != 21 || !strings.HasPrefix(*u.UserId, "AIDA") || u.CreateDate == nil || shown(u.Tags) != "a=1 b=2" {
		t.Errorf("made %+v", u)
	}
	_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("ANN")})
	apitest.Refused(t, "a name in other letters", err, "EntityAlreadyExists", 409, "ANN")
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: s("Ann")})
	apitest.Refused(t, "asked in other letters", err, "NoSuchEntity", 404, "The user with name Ann cannot be found.")
	apitest.Must[*sdk.TagUserOutput](t)(c.TagUser(ctx, &sdk.TagUserInput{UserName: s("ann"), Tags: tags("a", "3", "c", "")}))
	apitest.Must[*sdk.UntagUserOutput](t)(c.UntagUser(ctx, &sdk.UntagUserInput{UserName: s("ann"), TagKeys: []string{"b", "none"}}))
	if got := shown(apitest.Must[*sdk.ListUserTagsOutput](t)(c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: s("ann")})).Tags); got != "a=3 c=" {
		t.Errorf("tags %s", got)
	}
	apitest.Must[*sdk.UpdateUserOutput](t)(c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: s("ann"), NewUserName: s("anna"), NewPath: s("/")}))
	again := apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: s("anna")})).User
	if *again.UserId != *u.UserId || *again.Arn != "arn:aws:iam::111111111111:user/anna" {
		t.Errorf("renamed %+v", again)
	}

	k := apitest.Must[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: s("anna")})).AccessKey
	if len(*k.AccessKeyId) != 20 || len(*k.SecretAccessKey) != 40 || k.Status != types.StatusTypeActive || *k.UserName != "anna" {
		t.Errorf("key %s %s", *k.AccessKeyId, k.Status)
	}
	apitest.Must[*sdk.UpdateAccessKeyOutput](t)(c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: s("anna"), AccessKeyId: k.AccessKeyId, Status: types.StatusTypeInactive}))
	list := apitest.Must[*sdk.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: s("anna")})).AccessKeyMetadata
	if len(list) != 1 || *list[0].AccessKeyId != *k.AccessKeyId || list[0].Status != types.StatusTypeInactive {
		t.Errorf("keys %+v", list)
	}
	used := apitest.Must[*sdk.GetAccessKeyLastUsedOutput](t)(c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId}))
	if *used.UserName != "anna" || *used.AccessKeyLastUsed.ServiceName != "N/A" || used.AccessKeyLastUsed.LastUsedDate != nil {
		t.Errorf("last used %+v", used)
	}
	apitest.Must[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: s("anna")}))
	_, err = c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: s("anna")})
	apitest.Refused(t, "a third key", err, "LimitExceeded", 409, "AccessKeysPerUser: 2")
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: s("anna")})
	apitest.Refused(t, "with keys", err, "DeleteConflict", 409, "access keys first")
	for _, k := range apitest.Must[*sdk.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: s("anna")})).AccessKeyMetadata {
		apitest.Must[*sdk.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: s("anna"), AccessKeyId: k.AccessKeyId}))
	}
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: s("anna"), AccessKeyId: k.AccessKeyId})
	apitest.Refused(t, "a key that is gone", err, "NoSuchEntity", 404, *k.AccessKeyId)

	apitest.Must[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: s("anna"), PolicyName: s("p"), PolicyDocument: s(document)}))
	got := apitest.Must[*sdk.GetUserPolicyOutput](t)(c.GetUserPolicy(ctx, &sdk.GetUserPolicyInput{UserName: s("anna"), PolicyName: s("p")}))
	if plain, err := url.PathUnescape(*got.PolicyDocument); err != nil || plain != document || strings.ContainsAny(*got.PolicyDocument, `+ "{`) {
		t.Errorf("document %s", *got.PolicyDocument)
	}
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: s("anna")})
	apitest.Refused(t, "with a policy", err, "DeleteConflict", 409, "delete policies first")
	apitest.Must[*sdk.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: s("anna"), PolicyName: s("p")}))
	_, err = c.GetUserPolicy(ctx, &sdk.GetUserPolicyInput{UserName: s("anna"), PolicyName: s("p")})
	apitest.Refused(t, "a policy that is gone", err, "NoSuchEntity", 404, "user policy with name p")
	apitest.Must[*sdk.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: s("anna"), PolicyArn: s(admin)}))
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: s("anna")})
	apitest.Refused(t, "with an attached policy", err, "DeleteConflict", 409, "detach all policies first")
	apitest.Must[*sdk.DetachUserPolicyOutput](t)(c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: s("anna"), PolicyArn: s(admin)}))
	_, err = c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: s("anna"), PolicyArn: s(admin)})
	apitest.Refused(t, "detach twice", err, "NoSuchEntity", 404, admin)

	// What Terraform asks before it deletes a user.
	name := s("anna")
	if n := len(apitest.Must[*sdk.ListGroupsForUserOutput](t)(c.ListGroupsForUser(ctx, &sdk.ListGroupsForUserInput{UserName: name})).Groups) +
		len(apitest.Must[*sdk.ListMFADevicesOutput](t)(c.ListMFADevices(ctx, &sdk.ListMFADevicesInput{UserName: name})).MFADevices) +
		len(apitest.Must[*sdk.ListVirtualMFADevicesOutput](t)(c.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{})).VirtualMFADevices) +
		len(apitest.Must[*sdk.ListSSHPublicKeysOutput](t)(c.ListSSHPublicKeys(ctx, &sdk.ListSSHPublicKeysInput{UserName: name})).SSHPublicKeys) +
		len(apitest.Must[*sdk.ListSigningCertificatesOutput](t)(c.ListSigningCertificates(ctx, &sdk.ListSigningCertificatesInput{UserName: name})).Certificates) +
		len(apitest.Must[*sdk.ListServiceSpecificCredentialsOutput](t)(c.ListServiceSpecificCredentials(ctx, &sdk.ListServiceSpecificCredentialsInput{UserName: name})).ServiceSpecificCredentials) +
		len(apitest.Must[*sdk.ListAccountAliasesOutput](t)(c.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})).AccountAliases); n != 0 {
		t.Errorf("%d of what there is none", n)
	}
	_, err = c.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: name})
	apitest.Refused(t, "login profile", err, "NoSuchEntity", 404, "Login Profile for User anna")
	apitest.Must[*sdk.DeleteUserOutput](t)(c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name}))
	_, err = c.ListGroupsForUser(ctx, &sdk.ListGroupsForUserInput{UserName: name})
	apitest.Refused(t, "a user that is gone", err, "NoSuchEntity", 404, "anna")
}

func TestRoleFromCreationToDeletion(t *testing.T) {
	c, _ := client(t)
	ctx := t.Context()
	r := apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{
		RoleName: s("build"), Path: s("/ci/"), Description: s("builds"), AssumeRolePolicyDocument: s(trust), Tags: tags("a", "1"),
	})).Role
	plain, _ := url.PathUnescape(*r.AssumeRolePolicyDocument)
	if *r.Arn != "arn:aws:iam::111111111111:role/ci/build" || !strings.HasPrefix(*r.RoleId, "AROA") || *r.MaxSessionDuration != 3600 || plain != trust || shown(r.Tags) != "a=1" {
		t.Errorf("made %+v", r)
	}
	_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: s("build"), AssumeRolePolicyDocument: s(trust)})
	apitest.Refused(t, "twice", err, "EntityAlreadyExists", 409, "Role with name build already exists.")
	apitest.Must[*sdk.UpdateRoleOutput](t)(c.UpdateRole(ctx, &sdk.UpdateRoleInput{RoleName: s("build"), MaxSessionDuration: aws.Int32(7200)}))
	if d := apitest.Must[*sdk.UpdateRoleDescriptionOutput](t)(c.UpdateRoleDescription(ctx, &sdk.UpdateRoleDescriptionInput{RoleName: s("build"), Description: s("other")})).Role; *d.Description != "other" || *d.MaxSessionDuration != 7200 {
		t.Errorf("updated %+v", d)
	}
	other := strings.Replace(trust, "111111111111", "222222222222", 1)
	apitest.Must[*sdk.UpdateAssumeRolePolicyOutput](t)(c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: s("build"), PolicyDocument: &other}))
	apitest.Must[*sdk.TagRoleOutput](t)(c.TagRole(ctx, &sdk.TagRoleInput{RoleName: s("build"), Tags: tags("b", "2")}))
	apitest.Must[*sdk.UntagRoleOutput](t)(c.UntagRole(ctx, &sdk.UntagRoleInput{RoleName: s("build"), TagKeys: []string{"a"}}))
	got := apitest.Must[*sdk.GetRoleOutput](t)(c.GetRole(ctx, &sdk.GetRoleInput{RoleName: s("build")})).Role
	if plain, _ := url.PathUnescape(*got.AssumeRolePolicyDocument); plain != other || shown(got.Tags) != "b=2" || *got.RoleId != *r.RoleId {
		t.Errorf("got %+v", got)
	}
	if got := shown(apitest.Must[*sdk.ListRoleTagsOutput](t)(c.ListRoleTags(ctx, &sdk.ListRoleTagsInput{RoleName: s("build")})).Tags); got != "b=2" {
		t.Errorf("tags %s", got)
	}
	apitest.Must[*sdk.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: s("build"), PolicyName: s("p"), PolicyDocument: s(document)}))
	apitest.Must[*sdk.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: s("build"), PolicyArn: s(admin)}))
	apitest.Must[*sdk.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: s("build"), PolicyArn: s(admin)})) // twice is once
	attached := apitest.Must[*sdk.ListAttachedRolePoliciesOutput](t)(c.ListAttachedRolePolicies(ctx, &sdk.ListAttachedRolePoliciesInput{RoleName: s("build")})).AttachedPolicies
	if len(attached) != 1 || *attached[0].PolicyArn != admin || *attached[0].PolicyName != "AdministratorAccess" {
		t.Errorf("attached %+v", attached)
	}
	if names := apitest.Must[*sdk.ListRolePoliciesOutput](t)(c.ListRolePolicies(ctx, &sdk.ListRolePoliciesInput{RoleName: s("build")})).PolicyNames; !slices.Equal(names, []string{"p"}) {
		t.Errorf("inline %q", names)
	}
	if doc := apitest.Must[*sdk.GetRolePolicyOutput](t)(c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: s("build"), PolicyName: s("p")})); *doc.RoleName != "build" || !strings.Contains(*doc.PolicyDocument, "%C3%A4%20%2B%20b") {
		t.Errorf("document %s", *doc.PolicyDocument)
	}
	apitest.Must[*sdk.DeleteRolePolicyOutput](t)(c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: s("build"), PolicyName: s("p")}))
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: s("build")})
	apitest.Refused(t, "with an attached policy", err, "DeleteConflict", 409, "detach")
	apitest.Must[*sdk.DetachRolePolicyOutput](t)(c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: s("build"), PolicyArn: s(admin)}))
	if n := len(apitest.Must[*sdk.ListInstanceProfilesForRoleOutput](t)(c.ListInstanceProfilesForRole(ctx, &sdk.ListInstanceProfilesForRoleInput{RoleName: s("build")})).InstanceProfiles); n != 0 {
		t.Errorf("%d instance profiles", n)
	}
	apitest.Must[*sdk.DeleteRoleOutput](t)(c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: s("build")}))
	_, err = c.GetRole(ctx, &sdk.GetRoleInput{RoleName: s("build")})
	apitest.Refused(t, "gone", err, "NoSuchEntity", 404, "The role with name build cannot be found.")
	again := apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: s("build"), Path: s("/ci/"), AssumeRolePolicyDocument: s(trust)})).Role
	if *again.RoleId == *r.RoleId {
		t.Error("a role made anew has the id of the old one")
	}
}

func TestManagedPolicyFromCreationToDeletion(t *testing.T) {
	c, _ := client(t)
	ctx := t.Context()
	p := apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: s("net"), Path: s("/x/"), Description: s("d"), PolicyDocument: s(document), Tags: tags("a", "1")})).Policy
	if *p.Arn != "arn:aws:iam::111111111111:policy/x/net" || *p.DefaultVersionId != "v1" || !p.IsAttachable || *p.AttachmentCount != 0 || !strings.HasPrefix(*p.PolicyId, "ANPA") {
		t.Errorf("made %+v", p)
	}
	arn := p.Arn
	_, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: s("net"), PolicyDocument: s(document)})
	apitest.Refused(t, "twice", err, "EntityAlreadyExists", 409, "A policy called net already exists")
	for want := 2; want <= 5; want++ {
		v := apitest.Must[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: s(document), SetAsDefault: want == 3})).PolicyVersion
		if *v.VersionId != fmt.Sprintf("v%d", want) || v.IsDefaultVersion != (want == 3) {
			t.Errorf("version %+v", v)
		}
	}
	_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: s(document)})
	apitest.Refused(t, "a sixth version", err, "LimitExceeded", 409, "up to 5 versions")
	_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: s("v3")})
	apitest.Refused(t, "the default version", err, "DeleteConflict", 409, "default version")
	apitest.Must[*sdk.DeletePolicyVersionOutput](t)(c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: s("v5")}))
	if v := apitest.Must[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: s(document)})).PolicyVersion; *v.VersionId != "v6" {
		t.Errorf("a number was used again: %s", *v.VersionId)
	}
	apitest.Must[*sdk.SetDefaultPolicyVersionOutput](t)(c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: s("v4")}))
	var ids []string
	for _, v := range apitest.Must[*sdk.ListPolicyVersionsOutput](t)(c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: arn})).Versions {
		ids = append(ids, fmt.Sprint(*v.VersionId, v.IsDefaultVersion))
	}
	if !slices.Equal(ids, []string{"v6false", "v4true", "v3false", "v2false", "v1false"}) {
		t.Errorf("versions %q", ids)
	}
	if v := apitest.Must[*sdk.GetPolicyVersionOutput](t)(c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: s("v4")})).PolicyVersion; !v.IsDefaultVersion || !strings.HasPrefix(*v.Document, "%7B") {
		t.Errorf("version %+v", v)
	}
	_, err = c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: s("v9")})
	apitest.Refused(t, "no such version", err, "NoSuchEntity", 404, "v9")
	_, err = c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: s("4")})
	apitest.Refused(t, "no version id", err, "ValidationError", 400, "versionId")

	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("ann")}))
	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: s("build"), AssumeRolePolicyDocument: s(trust)}))
	apitest.Must[*sdk.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: s("ann"), PolicyArn: arn}))
	apitest.Must[*sdk.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: s("build"), PolicyArn: arn}))
	who := apitest.Must[*sdk.ListEntitiesForPolicyOutput](t)(c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: arn}))
	if len(who.PolicyUsers) != 1 || *who.PolicyUsers[0].UserName != "ann" || len(who.PolicyRoles) != 1 || *who.PolicyRoles[0].RoleName != "build" || len(who.PolicyGroups) != 0 {
		t.Errorf("entities %+v", who)
	}
	if only := apitest.Must[*sdk.ListEntitiesForPolicyOutput](t)(c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: arn, EntityFilter: types.EntityTypeRole})); len(only.PolicyUsers) != 0 || len(only.PolicyRoles) != 1 {
		t.Errorf("roles only: %+v", only)
	}
	if got := apitest.Must[*sdk.GetPolicyOutput](t)(c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: arn})).Policy; *got.AttachmentCount != 2 || *got.DefaultVersionId != "v4" || *got.Description != "d" || shown(got.Tags) != "a=1" {
		t.Errorf("policy %+v", got)
	}
	names := func(in sdk.ListPoliciesInput) string {
		t.Helper()
		var out []string
		for _, p := range apitest.Must[*sdk.ListPoliciesOutput](t)(c.ListPolicies(ctx, &in)).Policies {
			out = append(out, *p.PolicyName)
		}
		return strings.Join(out, " ")
	}
	if all, local, aws, attached, prefix := names(sdk.ListPoliciesInput{}), names(sdk.ListPoliciesInput{Scope: "Local"}), names(sdk.ListPoliciesInput{Scope: "AWS"}), names(sdk.ListPoliciesInput{OnlyAttached: true}), names(sdk.ListPoliciesInput{PathPrefix: s("/y")}); all != "net AdministratorAccess" || local != "net" || aws != "AdministratorAccess" || attached != "net" || prefix != "" {
		t.Errorf("lists %q %q %q %q %q", all, local, aws, attached, prefix)
	}
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn})
	apitest.Refused(t, "attached", err, "DeleteConflict", 409, "attached to entities")
	apitest.Must[*sdk.DetachUserPolicyOutput](t)(c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: s("ann"), PolicyArn: arn}))
	apitest.Must[*sdk.DetachRolePolicyOutput](t)(c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: s("build"), PolicyArn: arn}))
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn})
	apitest.Refused(t, "with versions", err, "DeleteConflict", 409, "more than one version")
	for _, v := range []string{"v1", "v2", "v3", "v6"} {
		apitest.Must[*sdk.DeletePolicyVersionOutput](t)(c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: &v}))
	}
	apitest.Must[*sdk.TagPolicyOutput](t)(c.TagPolicy(ctx, &sdk.TagPolicyInput{PolicyArn: arn, Tags: tags("b", "2")}))
	apitest.Must[*sdk.UntagPolicyOutput](t)(c.UntagPolicy(ctx, &sdk.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"a"}}))
	if got := shown(apitest.Must[*sdk.ListPolicyTagsOutput](t)(c.ListPolicyTags(ctx, &sdk.ListPolicyTagsInput{PolicyArn: arn})).Tags); got != "b=2" {
		t.Errorf("tags %s", got)
	}
	apitest.Must[*sdk.DeletePolicyOutput](t)(c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn}))
	_, err = c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: arn})
	apitest.Refused(t, "gone", err, "NoSuchEntity", 404, *arn)
	_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: s(admin), PolicyDocument: s(document)})
	apitest.Refused(t, "AWS's own", err, "AccessDenied", 403, "AWS's")
}

func TestBadInputIsRefusedByNameAndWritesNothing(t *testing.T) {
	c, ctl := client(t)
	ctx := t.Context()
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("ann")}))
	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: s("build"), AssumeRolePolicyDocument: s(trust)}))
	for i := range 10 {
		name := fmt.Sprintf("p%d", i)
		arn := apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: &name, PolicyDocument: s(document)})).Policy.Arn
		apitest.Must[*sdk.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: s("ann"), PolicyArn: arn}))
	}
	many := make([]string, 0, 102)
	for i := range 51 {
		many = append(many, fmt.Sprint(i), "x")
	}
	before := ctl.View().Revision()
	user := func(name, path string, tags ...types.Tag) error {
		_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: &name, Path: &path, Tags: tags})
		return err
	}
	role := func(name, trust string, seconds int32) error {
		_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust, MaxSessionDuration: &seconds})
		return err
	}
	put := func(name, doc string) error {
		_, err := c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: s("ann"), PolicyName: &name, PolicyDocument: &doc})
		return err
	}
	boundary := func() error {
		_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: s("eve"), PermissionsBoundary: s(admin)})
		return err
	}
	rename := func() error {
		_, err := c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: s("ann"), NewUserName: s("a b")})
		return err
	}
	attach := func(arn string) error {
		_, err := c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: s("ann"), PolicyArn: &arn})
		return err
	}
	list := func(items int32, marker string) error {
		in := &sdk.ListUsersInput{MaxItems: &items}
		if marker != "" {
			in.Marker = &marker
		}
		_, err := c.ListUsers(ctx, in)
		return err
	}
	key := func() error {
		_, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{})
		return err
	}
	for _, x := range []struct {
		what   string
		err    error
		code   string
		status int
		piece  string
	}{
		{"a name with a space", user("a b", "/"), "ValidationError", 400, "Value 'a b' at 'userName'"},
		{"a long name", user(strings.Repeat("a", 65), "/"), "ValidationError", 400, "userName"},
		{"a path without an end", user("eve", "/x"), "ValidationError", 400, "Value '/x' at 'path'"},
		{"a long path", user("eve", "/"+strings.Repeat("x", 511)+"/"), "ValidationError", 400, "path"},
		{"51 tags", user("eve", "/", tags(many...)...), "LimitExceeded", 409, "50"},
		{"a tag twice", user("eve", "/", tags("a", "1", "a", "2")...), "InvalidInput", 400, "Duplicate tag keys"},
		{"a reserved tag", user("eve", "/", tags("aws:x", "1")...), "InvalidInput", 400, "aws:"},
		{"a tag with a tab", user("eve", "/", tags("a", "\t")...), "ValidationError", 400, "tags"},
		{"a boundary", boundary(), "ValidationError", 400, "PermissionsBoundary"},
		{"a new name with a space", rename(), "ValidationError", 400, "userName"},
		{"a trust policy with a resource", role("eve", document, 3600), "MalformedPolicyDocument", 400, "Principal"},
		{"no trust policy", role("eve", "{", 3600), "MalformedPolicyDocument", 400, "JSON"},
		{"a long trust policy", role("eve", strings.Replace(trust, "111111111111", strings.Repeat("1", 2100), 1), 3600), "LimitExceeded", 409, "ACLSizePerRole: 2048"},
		{"a short session", role("eve", trust, 3599), "ValidationError", 400, "maxSessionDuration"},
		{"a long session", role("eve", trust, 43201), "ValidationError", 400, "maxSessionDuration"},
		{"an identity policy with a principal", put("p", trust), "MalformedPolicyDocument", 400, "Principal"},
		{"a long inline policy", put("p", strings.Replace(document, "ec2:*", "ec2:"+strings.Repeat("x", 2000), 1)), "LimitExceeded", 409, "2048"},
		{"a policy name with a slash", put("a/b", document), "ValidationError", 400, "policyName"},
		{"an unknown policy", attach("arn:aws:iam::aws:policy/ReadOnlyAccess"), "NoSuchEntity", 404, "does not exist or is not attachable"},
		{"an eleventh policy", attach(admin), "LimitExceeded", 409, "PoliciesPerUser: 10"},
		{"no items", list(0, ""), "ValidationError", 400, "maxItems"},
		{"a strange marker", list(1, "xyz"), "ValidationError", 400, "Invalid Marker"},
		{"root's key", key(), "ValidationError", 400, "Must specify userName"},
	} {
		apitest.Refused(t, x.what, x.err, x.code, x.status, x.piece)
	}
	if after := ctl.View().Revision(); after != before {
		t.Errorf("a refused call wrote: revision %d became %d", before, after)
	}
}

func TestListsArePagedInOrderOfNames(t *testing.T) {
	c, _ := client(t)
	ctx := t.Context()
	for _, name := range []string{"dora", "ann", "carl", "bob", "eve"} {
		apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: &name}))
	}
	var got []string
	pages := sdk.NewListUsersPaginator(c, &sdk.ListUsersInput{MaxItems: aws.Int32(2)})
	for n := 0; pages.HasMorePages(); n++ {
		out := apitest.Must[*sdk.ListUsersOutput](t)(pages.NextPage(ctx))
		if out.IsTruncated != (n < 2) {
			t.Errorf("page %d: truncated %v", n, out.IsTruncated)
		}
		for _, u := range out.Users {
			got = append(got, *u.UserName)
		}
		// What goes between two pages moves nothing else.
		if n == 0 {
			apitest.Must[*sdk.DeleteUserOutput](t)(c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: s("bob")}))
		}
	}
	if !slices.Equal(got, []string{"ann", "bob", "carl", "dora", "eve"}) {
		t.Errorf("got %q", got)
	}
}

func TestRootAsksForItself(t *testing.T) {
	c, _ := client(t)
	u := apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(t.Context(), &sdk.GetUserInput{})).User
	if *u.Arn != "arn:aws:iam::111111111111:root" || *u.UserId != "111111111111" || u.UserName != nil {
		t.Errorf("root is %+v", u)
	}
}

func TestOtherActionsAnswerInvalidActionByName(t *testing.T) {
	c, _ := client(t)
	_, err := c.CreateGroup(t.Context(), &sdk.CreateGroupInput{GroupName: s("g")})
	apitest.Refused(t, "CreateGroup", err, "InvalidAction", 400, "CreateGroup")
}
