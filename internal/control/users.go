// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateUser makes a user, who may do nothing yet and has no key.
func (c *Control) CreateUser(ctx context.Context, caller Caller, name, path string, tags vpc.Tags) (*vpc.User, error) {
	if err := checkEntityName(Entity{vpc.KindUser, name}); err != nil {
		return nil, err
	}
	path, err := checkPath(path)
	if err != nil {
		return nil, err
	}
	if err := checkIdentityTags(tags); err != nil {
		return nil, err
	}
	var u *vpc.User
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		if _, taken := vpc.First[vpc.User](tx, vpc.IndexIdentity, vpc.IdentityName(caller.Account, name)); taken {
			return userExists(name)
		}
		if count[vpc.User](tx, vpc.IndexOwner, caller.Account) >= maxUsers {
			return quota(vpc.KindUser, "UsersPerAccount", maxUsers)
		}
		id, err := vpc.NewIdentityID(vpc.PrefixUser, c.Random)
		if err != nil {
			return err
		}
		u = &vpc.User{ID: vpc.UserID(id), Owner: caller.Account, Name: name, Path: path, Tags: tags, Created: c.Now()}
		tx.Put(u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

func userExists(name string) error {
	return vpc.Errorf(vpc.Duplicate, string(vpc.KindUser), name, "User with name %s already exists.", name)
}

// RenameUser gives a user another name or path; "" leaves what it is. Its id,
// keys and sessions stay.
func (c *Control) RenameUser(ctx context.Context, caller Caller, name, newName, newPath string) error {
	if newName != "" {
		if err := checkEntityName(Entity{vpc.KindUser, newName}); err != nil {
			return err
		}
	}
	if newPath != "" {
		if _, err := checkPath(newPath); err != nil {
			return err
		}
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		u, err := UserNamed(tx, caller, name)
		if err != nil {
			return err
		}
		u = vpc.Edit(u)
		if newName != "" {
			if other, taken := vpc.First[vpc.User](tx, vpc.IndexIdentity, vpc.IdentityName(caller.Account, newName)); taken && other.ID != u.ID {
				return userExists(newName)
			}
			u.Name = newName
		}
		if newPath != "" {
			u.Path = newPath
		}
		tx.Put(u)
		return nil
	})
}

// DeleteUser removes a user that has no keys and no policies.
func (c *Control) DeleteUser(ctx context.Context, caller Caller, name string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		u, err := UserNamed(tx, caller, name)
		if err != nil {
			return err
		}
		if len(u.Keys) > 0 {
			return vpc.Errorf(vpc.InUse, string(vpc.KindUser), name, "Cannot delete entity, must delete access keys first.")
		}
		if err := mustBeBare(Entity{vpc.KindUser, name}, u.Policies); err != nil {
			return err
		}
		tx.Delete(u)
		return nil
	})
}

// CreateUserKey makes an access key. Its secret is in the result and nowhere
// else shown.
func (c *Control) CreateUserKey(ctx context.Context, caller Caller, user string) (*vpc.UserKey, error) {
	var k vpc.UserKey
	err := c.changeUser(ctx, caller, user, func(u *vpc.User) error {
		if len(u.Keys) >= maxKeysPerUser {
			return quota(vpc.KindUser, "AccessKeysPerUser", maxKeysPerUser)
		}
		key, err := c.NewAccessKey()
		if err != nil {
			return err
		}
		k = vpc.UserKey{AccessKey: key, Created: c.Now()}
		u.Keys = append(u.Keys, k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// SetUserKey turns an access key on or off. One that is off signs nothing.
func (c *Control) SetUserKey(ctx context.Context, caller Caller, user, id string, active bool) error {
	return c.changeUser(ctx, caller, user, func(u *vpc.User) error {
		i, err := keyIndex(u, id)
		if err != nil {
			return err
		}
		u.Keys[i].Inactive = !active
		return nil
	})
}

// DeleteUserKey removes an access key.
func (c *Control) DeleteUserKey(ctx context.Context, caller Caller, user, id string) error {
	return c.changeUser(ctx, caller, user, func(u *vpc.User) error {
		i, err := keyIndex(u, id)
		if err != nil {
			return err
		}
		u.Keys = slices.Delete(u.Keys, i, i+1)
		return nil
	})
}

func (c *Control) changeUser(ctx context.Context, caller Caller, name string, change func(*vpc.User) error) error {
	return c.changeEntity(ctx, caller, Entity{vpc.KindUser, name}, func(_ *store.Tx, ed edit) error {
		return change(ed.object.(*vpc.User))
	})
}

func keyIndex(u *vpc.User, id string) (int, error) {
	i := slices.IndexFunc(u.Keys, func(k vpc.UserKey) bool { return k.ID == id })
	if i < 0 {
		return 0, noKey(id)
	}
	return i, nil
}

func noKey(id string) error {
	return vpc.Errorf(vpc.NotFound, "access-key", id, "The Access Key with id %.128s cannot be found.", id)
}

// UserOfKey finds the user of the caller's account that an access key belongs to.
func UserOfKey(v vpc.View, caller Caller, id string) (*vpc.User, error) {
	if u, ok := vpc.First[vpc.User](v, vpc.IndexKey, id); ok && u.Owner == caller.Account {
		return u, nil
	}
	return nil, noKey(id)
}
