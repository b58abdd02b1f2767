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
	register("CreateUser", createUser)
	register("GetUser", getUser)
	register("UpdateUser", updateUser)
	register("DeleteUser", deleteUser)
	register("ListUsers", listUsers)
	register("CreateAccessKey", createAccessKey)
	register("UpdateAccessKey", updateAccessKey)
	register("DeleteAccessKey", deleteAccessKey)
	register("ListAccessKeys", listAccessKeys)
	register("GetAccessKeyLastUsed", getAccessKeyLastUsed)
}

// User is <User>. The root user of an account has no name and no path.
type User struct {
	Path       string    `xml:"Path,omitempty"`
	UserName   string    `xml:"UserName,omitempty"`
	UserID     string    `xml:"UserId"`
	Arn        string    `xml:"Arn"`
	CreateDate time.Time `xml:"CreateDate"`
	Tags       []Tag     `xml:"Tags,omitempty"`
}

func userOf(u *vpc.User, tags bool) User {
	out := User{Path: u.Path, UserName: u.Name, UserID: string(u.ID), Arn: u.ARN(), CreateDate: u.Created}
	if tags {
		out.Tags = tagList(u.Tags)
	}
	return out
}

// self is the name of the user who calls, for actions that may leave it out.
func self(c *Call, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if u, ok := vpc.Get[vpc.User](c.View(), c.Caller.User); ok {
		return u.Name, nil
	}
	return "", vpc.Errorf(vpc.Missing, "UserName", "", "Must specify userName when calling with non-User credentials")
}

// CreateUserInput is the input of CreateUser.
type CreateUserInput struct {
	UserName string           `query:"UserName,required"`
	Path     string           `query:"Path"`
	Tags     []Tag            `query:"Tags"`
	_        awsquery.Refused `query:"PermissionsBoundary,refuse"`
}

// UserOutput is the output of CreateUser and GetUser.
type UserOutput struct {
	User User `xml:"User"`
}

func createUser(call *Call, in *CreateUserInput) (*UserOutput, error) {
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	u, err := call.Control.CreateUser(call.Context, call.Caller, in.UserName, in.Path, tags)
	if err != nil {
		return nil, err
	}
	return &UserOutput{userOf(u, true)}, nil
}

// GetUserInput is the input of GetUser.
type GetUserInput struct {
	UserName string `query:"UserName"`
}

func getUser(call *Call, in *GetUserInput) (*UserOutput, error) {
	if in.UserName == "" && call.Caller.User == "" && call.Caller.Role == "" {
		id := call.Caller.Account
		out := User{UserID: string(id), Arn: id.RootARN()}
		if a, ok := vpc.Get[vpc.Account](call.View(), id); ok {
			out.CreateDate = a.Created
		}
		return &UserOutput{out}, nil
	}
	name, err := self(call, in.UserName)
	if err != nil {
		return nil, err
	}
	u, err := control.UserNamed(call.View(), call.Caller, name)
	if err != nil {
		return nil, err
	}
	return &UserOutput{userOf(u, true)}, nil
}

// UpdateUserInput is the input of UpdateUser.
type UpdateUserInput struct {
	UserName    string `query:"UserName,required"`
	NewUserName string `query:"NewUserName"`
	NewPath     string `query:"NewPath"`
}

func updateUser(call *Call, in *UpdateUserInput) (*void, error) {
	return nil, call.Control.RenameUser(call.Context, call.Caller, in.UserName, in.NewUserName, in.NewPath)
}

// UserInput is the input of actions on one user.
type UserInput struct {
	UserName string `query:"UserName,required"`
}

func deleteUser(call *Call, in *UserInput) (*void, error) {
	return nil, call.Control.DeleteUser(call.Context, call.Caller, in.UserName)
}

// ListUsersInput is the input of ListUsers.
type ListUsersInput struct {
	Paging
	PathPrefix string `query:"PathPrefix"`
}

// ListUsersOutput is the output of ListUsers.
type ListUsersOutput struct {
	Page
	Users []User `xml:"Users"`
}

func listUsers(call *Call, in *ListUsersInput) (*ListUsersOutput, error) {
	var list []*vpc.User
	for u := range vpc.By[vpc.User](call.View(), vpc.IndexOwner, call.Caller.Account) {
		if strings.HasPrefix(u.Path, in.PathPrefix) {
			list = append(list, u)
		}
	}
	list, p, err := page(in.Paging, list, func(u *vpc.User) string { return u.Name })
	if err != nil {
		return nil, err
	}
	out := &ListUsersOutput{Page: p}
	for _, u := range list {
		out.Users = append(out.Users, userOf(u, false))
	}
	return out, nil
}

// CreateAccessKeyInput is the input of CreateAccessKey.
type CreateAccessKeyInput struct {
	UserName string `query:"UserName"`
}

// CreateAccessKeyOutput is the output of CreateAccessKey, the only one with a
// secret in it.
type CreateAccessKeyOutput struct {
	AccessKey struct {
		UserName        string    `xml:"UserName"`
		AccessKeyID     string    `xml:"AccessKeyId"`
		Status          string    `xml:"Status"`
		SecretAccessKey string    `xml:"SecretAccessKey"`
		CreateDate      time.Time `xml:"CreateDate"`
	} `xml:"AccessKey"`
}

func createAccessKey(call *Call, in *CreateAccessKeyInput) (*CreateAccessKeyOutput, error) {
	name, err := self(call, in.UserName)
	if err != nil {
		return nil, err
	}
	k, err := call.Control.CreateUserKey(call.Context, call.Caller, name)
	if err != nil {
		return nil, err
	}
	out := &CreateAccessKeyOutput{}
	out.AccessKey.UserName, out.AccessKey.AccessKeyID, out.AccessKey.SecretAccessKey = name, k.ID, k.Secret
	out.AccessKey.Status, out.AccessKey.CreateDate = "Active", k.Created
	return out, nil
}

// UpdateAccessKeyInput is the input of UpdateAccessKey.
type UpdateAccessKeyInput struct {
	UserName    string `query:"UserName"`
	AccessKeyID string `query:"AccessKeyId,required"`
	Status      string `query:"Status,required,enum=Active|Inactive"`
}

func updateAccessKey(call *Call, in *UpdateAccessKeyInput) (*void, error) {
	name, err := self(call, in.UserName)
	if err != nil {
		return nil, err
	}
	return nil, call.Control.SetUserKey(call.Context, call.Caller, name, in.AccessKeyID, in.Status == "Active")
}

// DeleteAccessKeyInput is the input of DeleteAccessKey.
type DeleteAccessKeyInput struct {
	UserName    string `query:"UserName"`
	AccessKeyID string `query:"AccessKeyId,required"`
}

func deleteAccessKey(call *Call, in *DeleteAccessKeyInput) (*void, error) {
	name, err := self(call, in.UserName)
	if err != nil {
		return nil, err
	}
	return nil, call.Control.DeleteUserKey(call.Context, call.Caller, name, in.AccessKeyID)
}

// UserListInput is the input of lists of what one user has.
type UserListInput struct {
	Paging
	UserName string `query:"UserName"`
}

// ListAccessKeysOutput is the output of ListAccessKeys.
type ListAccessKeysOutput struct {
	Page
	Keys []AccessKeyMetadata `xml:"AccessKeyMetadata"`
}

// AccessKeyMetadata is <member> of <AccessKeyMetadata>.
type AccessKeyMetadata struct {
	UserName    string    `xml:"UserName,omitempty"`
	AccessKeyID string    `xml:"AccessKeyId"`
	Status      string    `xml:"Status"`
	CreateDate  time.Time `xml:"CreateDate"`
}

func listAccessKeys(call *Call, in *UserListInput) (*ListAccessKeysOutput, error) {
	var list []AccessKeyMetadata
	if in.UserName == "" && call.Caller.User == "" && call.Caller.Role == "" {
		a, ok := vpc.Get[vpc.Account](call.View(), call.Caller.Account)
		for i := 0; ok && i < len(a.Keys); i++ {
			list = append(list, AccessKeyMetadata{"", a.Keys[i].ID, "Active", a.Created})
		}
	} else {
		name, err := self(call, in.UserName)
		if err != nil {
			return nil, err
		}
		u, err := control.UserNamed(call.View(), call.Caller, name)
		if err != nil {
			return nil, err
		}
		for _, k := range u.Keys {
			status := "Active"
			if k.Inactive {
				status = "Inactive"
			}
			list = append(list, AccessKeyMetadata{u.Name, k.ID, status, k.Created})
		}
	}
	list, p, err := page(in.Paging, list, func(k AccessKeyMetadata) string { return k.AccessKeyID })
	if err != nil {
		return nil, err
	}
	return &ListAccessKeysOutput{p, list}, nil
}

// GetAccessKeyLastUsedInput is the input of GetAccessKeyLastUsed.
type GetAccessKeyLastUsedInput struct {
	AccessKeyID string `query:"AccessKeyId,required"`
}

// GetAccessKeyLastUsedOutput is the output of GetAccessKeyLastUsed. Uses are
// not recorded: it answers as for a key that was never used.
type GetAccessKeyLastUsedOutput struct {
	UserName string `xml:"UserName"`
	LastUsed struct {
		ServiceName string `xml:"ServiceName"`
		Region      string `xml:"Region"`
	} `xml:"AccessKeyLastUsed"`
}

func getAccessKeyLastUsed(call *Call, in *GetAccessKeyLastUsedInput) (*GetAccessKeyLastUsedOutput, error) {
	u, err := control.UserOfKey(call.View(), call.Caller, in.AccessKeyID)
	if err != nil {
		return nil, err
	}
	out := &GetAccessKeyLastUsedOutput{UserName: u.Name}
	out.LastUsed.ServiceName, out.LastUsed.Region = "N/A", "N/A"
	return out, nil
}
