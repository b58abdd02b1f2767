// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// ModifyPermissionsInput are the parameters of
// ModifyVpcEndpointServicePermissions.
type ModifyPermissionsInput struct {
	ID     vpc.ServiceID
	Add    []string
	Remove []string
}

// ModifyPermissions allows principals to find a service and connect to it, or
// no longer to. What is connected stays connected. Adding what is there and
// removing what is not are no errors. It answers the permissions of the
// principals in Add.
func (c *Control) ModifyPermissions(ctx context.Context, caller Caller, in ModifyPermissionsInput) ([]vpc.Permission, error) {
	add, remove := unique(in.Add), unique(in.Remove)
	types := map[string]string{}
	for _, p := range slices.Concat(add, remove) {
		t, err := principalType(p)
		if err != nil {
			return nil, err
		}
		types[p] = t
	}
	for _, p := range add {
		if slices.Contains(remove, p) {
			return nil, vpc.Errorf(vpc.Combination, "AddAllowedPrincipals", p, "The principal %s cannot be added and removed at once", p)
		}
	}
	var added []vpc.Permission
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		added = nil
		s, err := OwnedService(tx, caller, in.ID)
		if err != nil {
			return err
		}
		s = vpc.Edit(s)
		before := len(s.Permissions)
		s.Permissions = slices.DeleteFunc(s.Permissions, func(p vpc.Permission) bool { return slices.Contains(remove, p.Principal) })
		changed := len(s.Permissions) != before
		for _, name := range add {
			i := slices.IndexFunc(s.Permissions, func(p vpc.Permission) bool { return p.Principal == name })
			if i < 0 {
				id, err := c.newID(vpc.PrefixPermission)
				if err != nil {
					return err
				}
				i, changed = len(s.Permissions), true
				s.Permissions = append(s.Permissions, vpc.Permission{ID: id, Principal: name, Type: types[name]})
			}
			added = append(added, s.Permissions[i])
		}
		if len(s.Permissions) > c.Quotas.PrincipalsPerService {
			return vpc.Errorf(vpc.Limit, "principal", "", "The maximum number of principals for a VPC endpoint service is %d", c.Quotas.PrincipalsPerService)
		}
		if changed {
			tx.Put(s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// principalType checks a principal and answers its type on the wire: * for
// everybody, the root of an account for the account, or a user or role without
// a path.
func principalType(p string) (string, error) {
	if p == "*" {
		return "All", nil
	}
	bad := vpc.Errorf(vpc.Invalid, "principal", p,
		"'%.256s' is not a principal: use *, or the ARN of an account (arn:aws:iam::111111111111:root), of a user or of a role, without a path", p)
	part := strings.Split(p, ":")
	switch {
	case strings.HasSuffix(p, ".amazonaws.com") && !strings.Contains(p, ":"), len(part) == 6 && part[2] == "organizations":
		return "", vpc.Errorf(vpc.Unsupported, "principal", p, "Principals such as '%.256s' are not supported: use accounts, users and roles", p)
	case len(part) != 6 || part[0] != "arn" || part[1] != "aws" || part[2] != "iam" || part[3] != "" || !accountID(part[4]):
		return "", bad
	case part[5] == "root":
		return "Account", nil
	}
	kind, name, _ := strings.Cut(part[5], "/")
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-", r)
	}) {
		return "", bad
	}
	switch kind {
	case "user":
		return "User", nil
	case "role":
		return "Role", nil
	}
	return "", bad
}

func accountID(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
