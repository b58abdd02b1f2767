// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// What users and roles can have on AWS and do not have here. Clients ask for
// it before they delete one (Terraform does), so the lists exist and are empty.
func init() {
	register("ListAccountAliases", func(*Call, *Paging) (*AliasesOutput, error) { return &AliasesOutput{}, nil })
	register("ListVirtualMFADevices", func(*Call, *ListVirtualMFADevicesInput) (*VirtualMFADevicesOutput, error) {
		return &VirtualMFADevicesOutput{}, nil
	})
	register("ListInstanceProfilesForRole", func(c *Call, in *NamedRoleListInput) (*InstanceProfilesOutput, error) {
		_, err := control.RoleNamed(c.View(), c.Caller, in.RoleName)
		return &InstanceProfilesOutput{}, err
	})
	register("ListGroupsForUser", func(c *Call, in *NamedUserListInput) (*GroupsOutput, error) {
		_, err := control.UserNamed(c.View(), c.Caller, in.UserName)
		return &GroupsOutput{}, err
	})
	register("ListMFADevices", func(c *Call, in *UserListInput) (*MFADevicesOutput, error) {
		return &MFADevicesOutput{}, hasUser(c, in.UserName)
	})
	register("ListSSHPublicKeys", func(c *Call, in *UserListInput) (*SSHPublicKeysOutput, error) {
		return &SSHPublicKeysOutput{}, hasUser(c, in.UserName)
	})
	register("ListSigningCertificates", func(c *Call, in *UserListInput) (*CertificatesOutput, error) {
		return &CertificatesOutput{}, hasUser(c, in.UserName)
	})
	register("ListServiceSpecificCredentials", func(c *Call, in *ListServiceSpecificCredentialsInput) (*ServiceCredentialsOutput, error) {
		if in.AllUsers {
			return &ServiceCredentialsOutput{}, nil
		}
		return &ServiceCredentialsOutput{}, hasUser(c, in.UserName)
	})
	register("GetLoginProfile", noLoginProfile)
	register("DeleteLoginProfile", noLoginProfile)
}

// hasUser checks the user a list is of; root has what a list of its own needs.
func hasUser(c *Call, name string) error {
	if name == "" && c.Caller.User == "" && c.Caller.Role == "" {
		return nil
	}
	name, err := self(c, name)
	if err != nil {
		return err
	}
	_, err = control.UserNamed(c.View(), c.Caller, name)
	return err
}

// LoginProfileInput is the input of actions on a user's password.
type LoginProfileInput struct {
	UserName string `query:"UserName"`
}

func noLoginProfile(c *Call, in *LoginProfileInput) (*void, error) {
	name, err := self(c, in.UserName)
	if err != nil {
		return nil, err
	}
	if _, err := control.UserNamed(c.View(), c.Caller, name); err != nil {
		return nil, err
	}
	return nil, vpc.Errorf(vpc.NotFound, "login-profile", name, "Login Profile for User %s cannot be found.", name)
}

// ListVirtualMFADevicesInput is the input of ListVirtualMFADevices.
type ListVirtualMFADevicesInput struct {
	Paging
	AssignmentStatus string `query:"AssignmentStatus,enum=Assigned|Unassigned|Any"`
}

// ListServiceSpecificCredentialsInput is the input of ListServiceSpecificCredentials.
type ListServiceSpecificCredentialsInput struct {
	Paging
	UserName    string `query:"UserName"`
	ServiceName string `query:"ServiceName"`
	AllUsers    bool   `query:"AllUsers"`
}

// nothing is an element of a list that has none.
type nothing struct{}

// The outputs of lists that are empty.
type (
	// AliasesOutput is the output of ListAccountAliases.
	AliasesOutput struct {
		Page
		List []string `xml:"AccountAliases"`
	}
	// VirtualMFADevicesOutput is the output of ListVirtualMFADevices.
	VirtualMFADevicesOutput struct {
		Page
		List []nothing `xml:"VirtualMFADevices"`
	}
	// InstanceProfilesOutput is the output of ListInstanceProfilesForRole.
	InstanceProfilesOutput struct {
		Page
		List []nothing `xml:"InstanceProfiles"`
	}
	// GroupsOutput is the output of ListGroupsForUser.
	GroupsOutput struct {
		Page
		List []nothing `xml:"Groups"`
	}
	// MFADevicesOutput is the output of ListMFADevices.
	MFADevicesOutput struct {
		Page
		List []nothing `xml:"MFADevices"`
	}
	// SSHPublicKeysOutput is the output of ListSSHPublicKeys.
	SSHPublicKeysOutput struct {
		Page
		List []nothing `xml:"SSHPublicKeys"`
	}
	// CertificatesOutput is the output of ListSigningCertificates.
	CertificatesOutput struct {
		Page
		List []nothing `xml:"Certificates"`
	}
	// ServiceCredentialsOutput is the output of ListServiceSpecificCredentials.
	ServiceCredentialsOutput struct {
		Page
		List []nothing `xml:"ServiceSpecificCredentials"`
	}
)
