// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// PolicyInput are the parameters of CreatePolicy.
type PolicyInput struct {
	Name, Path, Description string
	Document                string
	Tags                    vpc.Tags
}

// CreatePolicy makes a managed policy with one version.
func (c *Control) CreatePolicy(ctx context.Context, caller Caller, in PolicyInput) (*vpc.ManagedPolicy, error) {
	if err := checkPolicyName(in.Name); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(in.Description) > 1000 {
		return nil, constraint("description", in.Description, "must have at most 1000 characters")
	}
	if err := checkManaged(in.Document); err != nil {
		return nil, err
	}
	if err := checkIdentityTags(in.Tags); err != nil {
		return nil, err
	}
	var p *vpc.ManagedPolicy
	err = c.update(ctx, caller, func(tx *store.Tx) error {
		if _, taken := vpc.First[vpc.ManagedPolicy](tx, vpc.IndexIdentity, vpc.IdentityName(caller.Account, in.Name)); taken {
			return vpc.Errorf(vpc.Duplicate, string(vpc.KindManagedPolicy), in.Name, "A policy called %s already exists. Duplicate names are not allowed.", in.Name)
		}
		if count[vpc.ManagedPolicy](tx, vpc.IndexOwner, caller.Account) >= maxPolicies {
			return quota(vpc.KindManagedPolicy, "PoliciesPerAccount", maxPolicies)
		}
		id, err := vpc.NewIdentityID(vpc.PrefixPolicy, c.Random)
		if err != nil {
			return err
		}
		now := c.Now()
		p = &vpc.ManagedPolicy{
			ID: vpc.PolicyID(id), Owner: caller.Account, Name: in.Name, Path: path, Description: in.Description,
			Versions: []vpc.PolicyVersion{{Number: 1, Document: in.Document, Created: now}},
			Default:  1, Last: 1, Tags: in.Tags, Created: now, Updated: now,
		}
		tx.Put(p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func checkManaged(doc string) error {
	if documentSize(doc) > maxManagedDocument {
		return quota(vpc.KindManagedPolicy, "PolicySize", maxManagedDocument)
	}
	return checkDocument(doc, policy.Options{Identity: true})
}

// changePolicy runs change on a managed policy of the caller's account.
func (c *Control) changePolicy(ctx context.Context, caller Caller, arn string, change func(*vpc.ManagedPolicy) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		p, err := ownPolicy(tx, caller, arn)
		if err != nil {
			return err
		}
		p = vpc.Edit(p)
		if err := change(p); err != nil {
			return err
		}
		tx.Put(p)
		return nil
	})
}

// ownPolicy finds a policy to change, which AWS's are not for.
func ownPolicy(v vpc.View, caller Caller, arn string) (*vpc.ManagedPolicy, error) {
	p, err := PolicyByARN(v, caller, arn)
	if err == nil && p.Owner == vpc.AWSAccount {
		return nil, vpc.Errorf(vpc.NotPermitted, string(vpc.KindManagedPolicy), arn, "Policy %s is AWS's and cannot be changed.", arn)
	}
	return p, err
}

// CreatePolicyVersion adds a version, and makes it the one that counts if asked.
func (c *Control) CreatePolicyVersion(ctx context.Context, caller Caller, arn, doc string, setDefault bool) (vpc.PolicyVersion, bool, error) {
	var v vpc.PolicyVersion
	if err := checkManaged(doc); err != nil {
		return v, false, err
	}
	err := c.changePolicy(ctx, caller, arn, func(p *vpc.ManagedPolicy) error {
		if len(p.Versions) >= maxVersions {
			return vpc.Errorf(vpc.Limit, "policy-version", arn, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.Last++
		v = vpc.PolicyVersion{Number: p.Last, Document: doc, Created: c.Now()}
		p.Versions = append(p.Versions, v)
		p.Updated = v.Created
		if setDefault {
			p.Default = v.Number
		}
		return nil
	})
	return v, setDefault, err
}

// PolicyVersionOf finds a version by its name, v1.
func PolicyVersionOf(p *vpc.ManagedPolicy, id string) (vpc.PolicyVersion, error) {
	digits, ok := strings.CutPrefix(id, "v")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || "v"+strconv.Itoa(n) != id {
		return vpc.PolicyVersion{}, constraint("versionId", id, "must be v and a number")
	}
	v, ok := p.Version(n)
	if !ok {
		return v, vpc.Errorf(vpc.NotFound, "policy-version", id, "Policy %s version %s does not exist or is not attachable.", p.ARN(), id)
	}
	return v, nil
}

// SetDefaultPolicyVersion makes a version the one that counts.
func (c *Control) SetDefaultPolicyVersion(ctx context.Context, caller Caller, arn, version string) error {
	return c.changePolicy(ctx, caller, arn, func(p *vpc.ManagedPolicy) error {
		v, err := PolicyVersionOf(p, version)
		p.Default, p.Updated = v.Number, c.Now()
		return err
	})
}

// DeletePolicyVersion removes a version that is not the default.
func (c *Control) DeletePolicyVersion(ctx context.Context, caller Caller, arn, version string) error {
	return c.changePolicy(ctx, caller, arn, func(p *vpc.ManagedPolicy) error {
		v, err := PolicyVersionOf(p, version)
		if err != nil {
			return err
		}
		if v.Number == p.Default {
			return vpc.Errorf(vpc.InUse, "policy-version", version, "Cannot delete the default version of a policy.")
		}
		p.Versions = slices.DeleteFunc(p.Versions, func(x vpc.PolicyVersion) bool { return x.Number == v.Number })
		return nil
	})
}

// DeletePolicy removes a managed policy that is attached to nothing and has
// only its default version.
func (c *Control) DeletePolicy(ctx context.Context, caller Caller, arn string) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		p, err := ownPolicy(tx, caller, arn)
		if err != nil {
			return err
		}
		if users, roles := AttachedTo(tx, caller, p.ID); len(users)+len(roles) > 0 {
			return vpc.Errorf(vpc.InUse, string(vpc.KindManagedPolicy), arn, "Cannot delete a policy attached to entities.")
		}
		if len(p.Versions) > 1 {
			return vpc.Errorf(vpc.InUse, string(vpc.KindManagedPolicy), arn, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		tx.Delete(p)
		return nil
	})
}

// AttachedTo lists the users and roles of the caller's account that a managed
// policy is attached to.
func AttachedTo(v vpc.View, caller Caller, id vpc.PolicyID) (users []*vpc.User, roles []*vpc.Role) {
	for u := range vpc.By[vpc.User](v, vpc.IndexPolicy, id) {
		if u.Owner == caller.Account {
			users = append(users, u)
		}
	}
	for r := range vpc.By[vpc.Role](v, vpc.IndexPolicy, id) {
		if r.Owner == caller.Account {
			roles = append(roles, r)
		}
	}
	return users, roles
}

// TagPolicy adds tags to a managed policy or overwrites them.
func (c *Control) TagPolicy(ctx context.Context, caller Caller, arn string, tags vpc.Tags) error {
	if err := checkIdentityTags(tags); err != nil {
		return err
	}
	return c.changePolicy(ctx, caller, arn, func(p *vpc.ManagedPolicy) error {
		p.Tags = merged(p.Tags, tags)
		return CheckTags(p.Tags)
	})
}

// UntagPolicy removes tags; one that is not there is no error.
func (c *Control) UntagPolicy(ctx context.Context, caller Caller, arn string, keys []string) error {
	return c.changePolicy(ctx, caller, arn, func(p *vpc.ManagedPolicy) error {
		for _, k := range keys {
			delete(p.Tags, k)
		}
		return nil
	})
}
