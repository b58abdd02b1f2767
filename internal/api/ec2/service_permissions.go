// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"iter"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("DescribeVpcEndpointServicePermissions", false, describeVpcEndpointServicePermissions)
	register("ModifyVpcEndpointServicePermissions", true, modifyVpcEndpointServicePermissions)
}

// DescribeVpcEndpointServicePermissionsInput is the input of DescribeVpcEndpointServicePermissions.
type DescribeVpcEndpointServicePermissionsInput struct {
	DryRun
	Page
	ServiceID string   `query:"ServiceId,required"`
	Filters   []Filter `query:"Filter"`
}

// DescribeVpcEndpointServicePermissionsOutput is the output of DescribeVpcEndpointServicePermissions.
type DescribeVpcEndpointServicePermissionsOutput struct {
	AllowedPrincipals []AllowedPrincipal `xml:"allowedPrincipals"`
	NextToken         string             `xml:"nextToken,omitempty"`
}

// AllowedPrincipal is <AllowedPrincipal>.
type AllowedPrincipal struct {
	PrincipalType       string `xml:"principalType"`
	Principal           string `xml:"principal"`
	ServicePermissionID string `xml:"servicePermissionId"`
	Tags                []Tag  `xml:"tagSet"`
	ServiceID           string `xml:"serviceId"`
}

// servicePermission is one permission of a service as describe handles it: its key
// is the permission's id.
type servicePermission struct {
	*vpc.EndpointService
	vpc.Permission
}

func (p servicePermission) Key() string { return p.Permission.ID }

var permissionResource = resource[servicePermission]{
	filters: filterSet[servicePermission]{
		"principal":      func(_ vpc.View, p servicePermission) []string { return []string{p.Principal} },
		"principal-type": func(_ vpc.View, p servicePermission) []string { return []string{p.Type} },
	},
}

func describeVpcEndpointServicePermissions(call *Call, in *DescribeVpcEndpointServicePermissionsInput) (*DescribeVpcEndpointServicePermissionsOutput, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	if err := in.Page.atLeast(minServicePage); err != nil {
		return nil, err
	}
	v := call.View()
	s, err := control.OwnedService(v, call.Caller, vpc.ServiceID(in.ServiceID))
	if err != nil {
		return nil, err
	}
	all := iter.Seq[servicePermission](func(yield func(servicePermission) bool) {
		for _, p := range s.Permissions {
			if !yield(servicePermission{s, p}) {
				return
			}
		}
	})
	list, next, err := describe(call, v, permissionResource, nil, in.Filters, in.Page, nil, all)
	if err != nil {
		return nil, err
	}
	out := &DescribeVpcEndpointServicePermissionsOutput{NextToken: next}
	for _, p := range list {
		out.AllowedPrincipals = append(out.AllowedPrincipals, AllowedPrincipal{
			PrincipalType: p.Type, Principal: p.Principal, ServicePermissionID: p.Permission.ID,
			Tags: tagList(p.Permission.Tags), ServiceID: string(s.ID),
		})
	}
	return out, nil
}

// ModifyVpcEndpointServicePermissionsInput is the input of ModifyVpcEndpointServicePermissions.
type ModifyVpcEndpointServicePermissionsInput struct {
	DryRun
	ServiceID               string   `query:"ServiceId,required"`
	AddAllowedPrincipals    []string `query:"AddAllowedPrincipals"`
	RemoveAllowedPrincipals []string `query:"RemoveAllowedPrincipals"`
}

// ModifyVpcEndpointServicePermissionsOutput is the output of ModifyVpcEndpointServicePermissions.
type ModifyVpcEndpointServicePermissionsOutput struct {
	AddedPrincipals []AddedPrincipal `xml:"addedPrincipalSet"`
	Return          bool             `xml:"return"`
}

// AddedPrincipal is <AddedPrincipal>.
type AddedPrincipal struct {
	PrincipalType       string `xml:"principalType"`
	Principal           string `xml:"principal"`
	ServicePermissionID string `xml:"servicePermissionId"`
	ServiceID           string `xml:"serviceId"`
}

func modifyVpcEndpointServicePermissions(call *Call, in *ModifyVpcEndpointServicePermissionsInput) (*ModifyVpcEndpointServicePermissionsOutput, error) {
	if err := checkFamilyID(vpc.KindService, vpc.PrefixService, in.ServiceID); err != nil {
		return nil, err
	}
	added, err := call.Control.ModifyPermissions(call.Context, call.Caller, control.ModifyPermissionsInput{
		ID: vpc.ServiceID(in.ServiceID), Add: in.AddAllowedPrincipals, Remove: in.RemoveAllowedPrincipals,
	})
	if err != nil {
		return nil, err
	}
	out := &ModifyVpcEndpointServicePermissionsOutput{Return: true}
	for _, p := range added {
		out.AddedPrincipals = append(out.AddedPrincipals, AddedPrincipal{p.Type, p.Principal, p.ID, in.ServiceID})
	}
	return out, nil
}
