// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// AWS's quotas of IAM, those that need no request to AWS.
const (
	maxUsers           = 5000
	maxRoles           = 1000
	maxPolicies        = 1500
	maxKeysPerUser     = 2
	maxAttached        = 10
	maxVersions        = 5
	maxUserInline      = 2048  // characters without white space, of all inline policies together
	maxRoleInline      = 10240 //
	maxManagedDocument = 6144
	maxTrustDocument   = 2048
)

var (
	entityName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	policyName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	entityPath = regexp.MustCompile(`^/([!-~]+/)?$`)
	// IAM's tags have fewer characters than EC2's.
	identityTag = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

// Entity names a user or a role of the caller's account.
type Entity struct {
	Kind vpc.Kind // vpc.KindUser or vpc.KindRole
	Name string
}

func (e Entity) word() string {
	if e.Kind == vpc.KindRole {
		return "role"
	}
	return "user"
}

// parameter is AWS's name of the parameter an entity is named by.
func (e Entity) parameter() string { return e.word() + "Name" }

func checkEntityName(e Entity) error {
	if !entityName.MatchString(e.Name) {
		return constraint(e.parameter(), e.Name, "must have 1 to 64 letters, digits and characters of +=,.@_-")
	}
	return nil
}

func checkPolicyName(name string) error {
	if !policyName.MatchString(name) {
		return constraint("policyName", name, "must have 1 to 128 letters, digits and characters of +=,.@_-")
	}
	return nil
}

// checkPath answers the path, "/" for none.
func checkPath(path string) (string, error) {
	if path == "" {
		path = "/"
	}
	if len(path) > 512 || !entityPath.MatchString(path) {
		return "", constraint("path", path, "must begin and end with a slash and have at most 512 characters of ASCII")
	}
	return path, nil
}

func checkIdentityTags(tags vpc.Tags) error {
	if err := CheckTags(tags); err != nil {
		return err
	}
	for k, v := range tags {
		for _, s := range []string{k, v} {
			if !identityTag.MatchString(s) {
				return constraint("tags", s, "must have only letters, digits, spaces and characters of _.:/=+-@")
			}
		}
	}
	return nil
}

// checkDocument refuses a policy document that does not parse or is too long to.
func checkDocument(doc string, o policy.Options) error {
	if _, err := policy.ParseOptions([]byte(doc), o); err != nil {
		return vpc.Errorf(vpc.BadPolicy, "policyDocument", "", "%v", err)
	}
	return nil
}

// documentSize counts as IAM does: white space is free.
func documentSize(doc string) int {
	n := utf8.RuneCountInString(doc)
	for _, c := range doc {
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			n--
		}
	}
	return n
}

func noEntity(e Entity) error {
	return vpc.Errorf(vpc.NotFound, string(e.Kind), e.Name, "The %s with name %.128s cannot be found.", e.word(), e.Name)
}

// UserNamed finds a user of the caller's account.
func UserNamed(v vpc.View, caller Caller, name string) (*vpc.User, error) {
	if u, ok := vpc.UserNamed(v, caller.Account, name); ok {
		// By its key again: in a transaction only that makes the commit depend on it.
		if u, ok = vpc.Get[vpc.User](v, u.ID); ok && u.Name == name {
			return u, nil
		}
	}
	return nil, noEntity(Entity{vpc.KindUser, name})
}

// RoleNamed finds a role of the caller's account.
func RoleNamed(v vpc.View, caller Caller, name string) (*vpc.Role, error) {
	if r, ok := vpc.RoleNamed(v, caller.Account, name); ok {
		if r, ok = vpc.Get[vpc.Role](v, r.ID); ok && r.Name == name {
			return r, nil
		}
	}
	return nil, noEntity(Entity{vpc.KindRole, name})
}

// PolicyByARN finds a managed policy of the caller's account or one of AWS's.
func PolicyByARN(v vpc.View, caller Caller, arn string) (*vpc.ManagedPolicy, error) {
	if p, ok := vpc.PolicyNamed(v, caller.Account, arn); ok {
		if p, ok = vpc.PolicyByID(v, p.ID); ok && p.ARN() == arn {
			return p, nil
		}
	}
	return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindManagedPolicy), arn, "Policy %.300s was not found.", arn)
}

// edit is a copy of a user or role, to change and put.
type edit struct {
	object   vpc.Object
	policies *vpc.PolicySet
	tags     *vpc.Tags
}

func editEntity(tx *store.Tx, caller Caller, e Entity) (edit, error) {
	if e.Kind == vpc.KindRole {
		r, err := RoleNamed(tx, caller, e.Name)
		if err != nil {
			return edit{}, err
		}
		r = vpc.Edit(r)
		return edit{r, &r.Policies, &r.Tags}, nil
	}
	u, err := UserNamed(tx, caller, e.Name)
	if err != nil {
		return edit{}, err
	}
	u = vpc.Edit(u)
	return edit{u, &u.Policies, &u.Tags}, nil
}

// changeEntity runs change on a user or role.
func (c *Control) changeEntity(ctx context.Context, caller Caller, e Entity, change func(tx *store.Tx, ed edit) error) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		ed, err := editEntity(tx, caller, e)
		if err != nil {
			return err
		}
		if err := change(tx, ed); err != nil {
			return err
		}
		tx.Put(ed.object)
		return nil
	})
}

// PoliciesOf are the policies of a user or role.
func PoliciesOf(v vpc.View, caller Caller, e Entity) (*vpc.PolicySet, error) {
	if e.Kind == vpc.KindRole {
		r, err := RoleNamed(v, caller, e.Name)
		if err != nil {
			return nil, err
		}
		return &r.Policies, nil
	}
	u, err := UserNamed(v, caller, e.Name)
	if err != nil {
		return nil, err
	}
	return &u.Policies, nil
}

// InlinePolicy is a document in a user or role.
func InlinePolicy(v vpc.View, caller Caller, e Entity, name string) (string, error) {
	set, err := PoliciesOf(v, caller, e)
	if err != nil {
		return "", err
	}
	doc, ok := set.Inline[name]
	if !ok {
		return "", noInline(e, name)
	}
	return doc, nil
}

func noInline(e Entity, name string) error {
	return vpc.Errorf(vpc.NotFound, "inline-policy", name, "The %s policy with name %.128s cannot be found.", e.word(), name)
}

// PutInlinePolicy writes a document into a user or role, or overwrites one.
func (c *Control) PutInlinePolicy(ctx context.Context, caller Caller, e Entity, name, doc string) error {
	if err := checkPolicyName(name); err != nil {
		return err
	}
	if err := checkDocument(doc, policy.Options{Identity: true}); err != nil {
		return err
	}
	limit := maxUserInline
	if e.Kind == vpc.KindRole {
		limit = maxRoleInline
	}
	return c.changeEntity(ctx, caller, e, func(_ *store.Tx, ed edit) error {
		if ed.policies.Inline == nil {
			ed.policies.Inline = map[string]string{}
		}
		ed.policies.Inline[name] = doc
		n := 0
		for _, d := range ed.policies.Inline {
			n += documentSize(d)
		}
		if n > limit {
			return vpc.Errorf(vpc.Limit, "inline-policy", name, "Maximum policy size of %d bytes exceeded for %s %s", limit, e.word(), e.Name)
		}
		return nil
	})
}

// DeleteInlinePolicy removes a document from a user or role.
func (c *Control) DeleteInlinePolicy(ctx context.Context, caller Caller, e Entity, name string) error {
	return c.changeEntity(ctx, caller, e, func(_ *store.Tx, ed edit) error {
		if _, ok := ed.policies.Inline[name]; !ok {
			return noInline(e, name)
		}
		delete(ed.policies.Inline, name)
		return nil
	})
}

// AttachPolicy attaches a managed policy; one that is attached stays so.
func (c *Control) AttachPolicy(ctx context.Context, caller Caller, e Entity, arn string) error {
	return c.changeEntity(ctx, caller, e, func(tx *store.Tx, ed edit) error {
		p, err := PolicyByARN(tx, caller, arn)
		if err != nil {
			return vpc.Errorf(vpc.NotFound, string(vpc.KindManagedPolicy), arn, "Policy %.300s does not exist or is not attachable.", arn)
		}
		if slices.Contains(ed.policies.Attached, p.ID) {
			return nil
		}
		if len(ed.policies.Attached) >= maxAttached {
			return vpc.Errorf(vpc.Limit, "attached-policy", arn, "Cannot exceed quota for PoliciesPer%s: %d", strings.ToUpper(e.word()[:1])+e.word()[1:], maxAttached)
		}
		ed.policies.Attached = append(ed.policies.Attached, p.ID)
		return nil
	})
}

// DetachPolicy detaches a managed policy.
func (c *Control) DetachPolicy(ctx context.Context, caller Caller, e Entity, arn string) error {
	return c.changeEntity(ctx, caller, e, func(tx *store.Tx, ed edit) error {
		p, err := PolicyByARN(tx, caller, arn)
		i := -1
		if err == nil {
			i = slices.Index(ed.policies.Attached, p.ID)
		}
		if i < 0 {
			return vpc.Errorf(vpc.NotFound, "attached-policy", arn, "Policy %.300s was not found.", arn)
		}
		ed.policies.Attached = slices.Delete(ed.policies.Attached, i, i+1)
		return nil
	})
}

// TagEntity adds tags to a user or role or overwrites them.
func (c *Control) TagEntity(ctx context.Context, caller Caller, e Entity, tags vpc.Tags) error {
	if err := checkIdentityTags(tags); err != nil {
		return err
	}
	return c.changeEntity(ctx, caller, e, func(_ *store.Tx, ed edit) error {
		*ed.tags = merged(*ed.tags, tags)
		return CheckTags(*ed.tags)
	})
}

// UntagEntity removes tags; one that is not there is no error.
func (c *Control) UntagEntity(ctx context.Context, caller Caller, e Entity, keys []string) error {
	return c.changeEntity(ctx, caller, e, func(_ *store.Tx, ed edit) error {
		for _, k := range keys {
			delete(*ed.tags, k)
		}
		return nil
	})
}

func merged(old, tags vpc.Tags) vpc.Tags {
	out := vpc.Tags{}
	maps.Copy(out, old)
	maps.Copy(out, tags)
	return out
}

// mustBeBare refuses to delete what still has policies, in AWS's words.
func mustBeBare(e Entity, p vpc.PolicySet) error {
	switch {
	case len(p.Inline) > 0:
		return vpc.Errorf(vpc.InUse, string(e.Kind), e.Name, "Cannot delete entity, must delete policies first.")
	case len(p.Attached) > 0:
		return vpc.Errorf(vpc.InUse, string(e.Kind), e.Name, "Cannot delete entity, must detach all policies first.")
	}
	return nil
}

func quota(kind vpc.Kind, name string, limit int) error {
	return vpc.Errorf(vpc.Limit, string(kind), "", "Cannot exceed quota for %s: %d", name, limit)
}
