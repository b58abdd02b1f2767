// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// RoleInput are the parameters of CreateRole.
type RoleInput struct {
	Name, Path, Description string
	Trust                   string
	MaxSession              time.Duration // 0 is an hour
	Tags                    vpc.Tags
}

// CreateRole makes a role, which may do nothing yet.
func (c *Control) CreateRole(ctx context.Context, caller Caller, in RoleInput) (*vpc.Role, error) {
	if err := checkEntityName(Entity{vpc.KindRole, in.Name}); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	if in.MaxSession == 0 {
		in.MaxSession = time.Hour
	}
	if err := checkRole(in.Description, in.MaxSession); err != nil {
		return nil, err
	}
	if err := checkTrust(in.Trust); err != nil {
		return nil, err
	}
	if err := checkIdentityTags(in.Tags); err != nil {
		return nil, err
	}
	var r *vpc.Role
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		if _, taken := vpc.First[vpc.Role](tx, vpc.IndexIdentity, vpc.IdentityName(caller.Account, in.Name)); taken {
			return vpc.Errorf(vpc.Duplicate, string(vpc.KindRole), in.Name, "Role with name %s already exists.", in.Name)
		}
		if count[vpc.Role](tx, vpc.IndexOwner, caller.Account) >= maxRoles {
			return quota(vpc.KindRole, "RolesPerAccount", maxRoles)
		}
		id, err := vpc.NewIdentityID(vpc.PrefixRole, c.Random)
		if err != nil {
			return err
		}
		r = &vpc.Role{
			ID: vpc.RoleID(id), Owner: caller.Account, Name: in.Name, Path: path, Description: in.Description,
			Trust: in.Trust, MaxSession: in.MaxSession, Tags: in.Tags, Created: c.Now(),
		}
		tx.Put(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func checkRole(description string, maxSession time.Duration) error {
	if utf8.RuneCountInString(description) > 1000 {
		return constraint("description", description, "must have at most 1000 characters")
	}
	if maxSession < time.Hour || maxSession > 12*time.Hour {
		return constraint("maxSessionDuration", fmt.Sprint(int64(maxSession/time.Second)), "must be from 3600 to 43200")
	}
	return nil
}

func checkTrust(doc string) error {
	if documentSize(doc) > maxTrustDocument {
		return quota(vpc.KindRole, "ACLSizePerRole", maxTrustDocument)
	}
	return checkDocument(doc, policy.Options{Trust: true})
}

// UpdateRole changes what is not nil.
func (c *Control) UpdateRole(ctx context.Context, caller Caller, name string, description *string, maxSession *time.Duration) (*vpc.Role, error) {
	var out *vpc.Role
	err := c.changeRole(ctx, caller, name, func(r *vpc.Role) error {
		if description != nil {
			r.Description = *description
		}
		if maxSession != nil {
			r.MaxSession = *maxSession
		}
		out = r
		return checkRole(r.Description, r.MaxSession)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SetTrust changes who may assume a role. Sessions that exist go on.
func (c *Control) SetTrust(ctx context.Context, caller Caller, name, doc string) error {
	if err := checkTrust(doc); err != nil {
		return err
	}
	return c.changeRole(ctx, caller, name, func(r *vpc.Role) error {
		r.Trust = doc
		return nil
	})
}

// DeleteRole removes a role that has no policies. Its sessions end with it.
func (c *Control) DeleteRole(ctx context.Context, caller Caller, name string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		r, err := RoleNamed(tx, caller, name)
		if err != nil {
			return err
		}
		if err := mustBeBare(Entity{vpc.KindRole, name}, r.Policies); err != nil {
			return err
		}
		tx.Delete(r)
		return nil
	})
}

func (c *Control) changeRole(ctx context.Context, caller Caller, name string, change func(*vpc.Role) error) error {
	return c.changeEntity(ctx, caller, Entity{vpc.KindRole, name}, func(_ *store.Tx, ed edit) error {
		return change(ed.object.(*vpc.Role))
	})
}
