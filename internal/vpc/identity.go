// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Kinds of who may call, and of what says what they may do.
const (
	KindUser          Kind = "iam-user"
	KindRole          Kind = "iam-role"
	KindManagedPolicy Kind = "iam-policy"
	KindSealingKey    Kind = "sealing-key"
)

// Ids of principals and policies: a prefix and 17 of base 32. One is never
// used again, so a role made anew under an old name is another role.
type (
	UserID   string // AIDA...
	RoleID   string // AROA...
	PolicyID string // ANPA..., or that of one of AWS's own policies
)

// Prefixes of ids that IAM gives.
const (
	PrefixUser      = "AIDA"
	PrefixRole      = "AROA"
	PrefixPolicy    = "ANPA"
	PrefixKey       = "AKIA" // an access key that lasts
	PrefixTemporary = "ASIA" // an access key of a session
)

const idDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// NewIdentityID makes an id such as AIDA and 17 of base 32.
func NewIdentityID(prefix string, rnd io.Reader) (string, error) {
	b := make([]byte, 17)
	if _, err := io.ReadFull(rnd, b); err != nil {
		return "", fmt.Errorf("read random bytes for a new %s id: %w", prefix, err)
	}
	for i := range b {
		b[i] = idDigits[b[i]%32] // 32 divides 256
	}
	return prefix + string(b), nil
}

// Indexes of users, roles and policies.
const (
	// IndexIdentity finds a user, role or policy by IdentityName.
	IndexIdentity = "identity"
	// IndexPolicy finds the users and roles a managed policy is attached to.
	IndexPolicy = "policy"
)

// IdentityName is the value of IndexIdentity. Two names of an account must
// differ in more than letter case; who asks for one must still write it as it is.
func IdentityName(account AccountID, name string) string {
	return string(account) + "/" + strings.ToLower(name)
}

// PolicySet is what a user or role is given: inline documents by name, and
// managed policies.
type PolicySet struct {
	Inline   map[string]string `json:"inline,omitempty"`
	Attached []PolicyID        `json:"attached,omitempty"` // in the order they were attached
}

func (p *PolicySet) index(add func(index, value string)) {
	for _, id := range p.Attached {
		add(IndexPolicy, string(id))
	}
}

func (p *PolicySet) refs(add func(Kind, string)) {
	for _, id := range p.Attached {
		if awsPolicy(id) == nil {
			add(KindManagedPolicy, string(id))
		}
	}
}

// UserKey is an access key of a user.
type UserKey struct {
	AccessKey
	Inactive bool      `json:"inactive,omitempty"`
	Created  time.Time `json:"created"`
}

// User is a person or program with keys of its own within an account. It may
// do what its policies allow, and nothing without one.
type User struct {
	ID       UserID    `json:"id"`
	Owner    AccountID `json:"owner"`
	Name     string    `json:"name"`
	Path     string    `json:"path"` // begins and ends with a slash
	Keys     []UserKey `json:"keys,omitempty"`
	Policies PolicySet `json:"policies"`
	Tags     Tags      `json:"tags,omitempty"`
	Created  time.Time `json:"created"`
}

// ARN is arn:aws:iam::ACCOUNT:user/PATH/NAME.
func (u *User) ARN() string { return "arn:aws:iam::" + string(u.Owner) + ":user" + u.Path + u.Name }

func (u *User) OwnerID() AccountID { return u.Owner }
func (*User) Kind() Kind           { return KindUser }
func (u *User) Key() string        { return string(u.ID) }
func (u *User) Index(add func(index, value string)) {
	add(IndexOwner, string(u.Owner))
	add(IndexIdentity, IdentityName(u.Owner, u.Name))
	for _, k := range u.Keys {
		add(IndexKey, k.ID)
	}
	u.Policies.index(add)
}
func (u *User) Refs(add func(Kind, string)) {
	add(KindAccount, string(u.Owner))
	u.Policies.refs(add)
}
func (u *User) Claims(add func(string)) {
	add("iam-user/" + IdentityName(u.Owner, u.Name))
	for _, k := range u.Keys {
		add("access-key/" + k.ID)
	}
}

// Role is what principals named by its trust policy may become for a while.
type Role struct {
	ID          RoleID        `json:"id"`
	Owner       AccountID     `json:"owner"`
	Name        string        `json:"name"`
	Path        string        `json:"path"`
	Description string        `json:"description,omitempty"`
	Trust       string        `json:"trust"`      // the policy that says who may assume it
	MaxSession  time.Duration `json:"maxSession"` // one to twelve hours
	Policies    PolicySet     `json:"policies"`
	Tags        Tags          `json:"tags,omitempty"`
	Created     time.Time     `json:"created"`
}

// ARN is arn:aws:iam::ACCOUNT:role/PATH/NAME.
func (r *Role) ARN() string { return "arn:aws:iam::" + string(r.Owner) + ":role" + r.Path + r.Name }

// SessionARN is the principal of a session of the role; it has no path.
func (r *Role) SessionARN(session string) string {
	return "arn:aws:sts::" + string(r.Owner) + ":assumed-role/" + r.Name + "/" + session
}

func (r *Role) OwnerID() AccountID { return r.Owner }
func (*Role) Kind() Kind           { return KindRole }
func (r *Role) Key() string        { return string(r.ID) }
func (r *Role) Index(add func(index, value string)) {
	add(IndexOwner, string(r.Owner))
	add(IndexIdentity, IdentityName(r.Owner, r.Name))
	r.Policies.index(add)
}
func (r *Role) Refs(add func(Kind, string)) {
	add(KindAccount, string(r.Owner))
	r.Policies.refs(add)
}
func (r *Role) Claims(add func(string)) { add("iam-role/" + IdentityName(r.Owner, r.Name)) }

// PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	Number   int       `json:"number"` // v1, v2, ...
	Document string    `json:"document"`
	Created  time.Time `json:"created"`
}

// ID is the version's name, v1.
func (v PolicyVersion) ID() string { return fmt.Sprintf("v%d", v.Number) }

// ManagedPolicy is a policy that can be attached to several users and roles.
// Its default version is the one that counts.
type ManagedPolicy struct {
	ID          PolicyID        `json:"id"`
	Owner       AccountID       `json:"owner"`
	Name        string          `json:"name"`
	Path        string          `json:"path"`
	Description string          `json:"description,omitempty"`
	Versions    []PolicyVersion `json:"versions"` // oldest first
	Default     int             `json:"default"`  // a number in Versions
	Last        int             `json:"last"`     // the highest number ever used
	Tags        Tags            `json:"tags,omitempty"`
	Created     time.Time       `json:"created"`
	Updated     time.Time       `json:"updated"`
}

// ARN is arn:aws:iam::ACCOUNT:policy/PATH/NAME.
func (p *ManagedPolicy) ARN() string {
	return "arn:aws:iam::" + string(p.Owner) + ":policy" + p.Path + p.Name
}

// Version finds a version by number.
func (p *ManagedPolicy) Version(number int) (PolicyVersion, bool) {
	for _, v := range p.Versions {
		if v.Number == number {
			return v, true
		}
	}
	return PolicyVersion{}, false
}

// Document is the default version's.
func (p *ManagedPolicy) Document() string {
	v, _ := p.Version(p.Default)
	return v.Document
}

func (p *ManagedPolicy) OwnerID() AccountID { return p.Owner }
func (*ManagedPolicy) Kind() Kind           { return KindManagedPolicy }
func (p *ManagedPolicy) Key() string        { return string(p.ID) }
func (p *ManagedPolicy) Index(add func(index, value string)) {
	add(IndexOwner, string(p.Owner))
	add(IndexIdentity, IdentityName(p.Owner, p.Name))
}
func (p *ManagedPolicy) Refs(add func(Kind, string)) { add(KindAccount, string(p.Owner)) }
func (p *ManagedPolicy) Claims(add func(string)) {
	add("iam-policy/" + IdentityName(p.Owner, p.Name))
}

// AWSAccount owns AWS's own policies. No caller belongs to it.
const AWSAccount AccountID = "aws"

// AWSPolicies are the policies that every account finds, with the ids they
// have on AWS. They are not stored and cannot be changed.
var AWSPolicies = []*ManagedPolicy{{
	ID: "ANPAIWMBCKSKIEE64ZLYK", Owner: AWSAccount, Name: "AdministratorAccess", Path: "/",
	Description: "Provides full access to AWS services and resources.", Default: 1, Last: 1,
	Versions: []PolicyVersion{{
		Number: 1, Created: time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC),
		Document: `{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "*",
            "Resource": "*"
        }
    ]
}`,
	}},
	Created: time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC), Updated: time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC),
}}

func awsPolicy(id PolicyID) *ManagedPolicy {
	if i := slices.IndexFunc(AWSPolicies, func(p *ManagedPolicy) bool { return p.ID == id }); i >= 0 {
		return AWSPolicies[i]
	}
	return nil
}

// PolicyByID finds a managed policy, AWS's own ones too.
func PolicyByID(v View, id PolicyID) (*ManagedPolicy, bool) {
	if p := awsPolicy(id); p != nil {
		return p, true
	}
	return Get[ManagedPolicy](v, id)
}

// UserNamed finds a user of an account by its name.
func UserNamed(v View, account AccountID, name string) (*User, bool) {
	u, ok := First[User](v, IndexIdentity, IdentityName(account, name))
	return u, ok && u.Name == name
}

// RoleNamed finds a role of an account by its name.
func RoleNamed(v View, account AccountID, name string) (*Role, bool) {
	r, ok := First[Role](v, IndexIdentity, IdentityName(account, name))
	return r, ok && r.Name == name
}

// PolicyNamed finds a managed policy of an account, or one of AWS's, by its ARN.
func PolicyNamed(v View, account AccountID, arn string) (*ManagedPolicy, bool) {
	for _, p := range AWSPolicies {
		if p.ARN() == arn {
			return p, true
		}
	}
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	p, ok := First[ManagedPolicy](v, IndexIdentity, IdentityName(account, name))
	return p, ok && p.ARN() == arn
}

// Documents are the policies of a set: the inline ones in the order of their
// names, then the managed ones.
func (p *PolicySet) Documents(v View) []string {
	var names, out []string
	for n := range p.Inline {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		out = append(out, p.Inline[n])
	}
	for _, id := range p.Attached {
		if m, ok := PolicyByID(v, id); ok {
			out = append(out, m.Document())
		}
	}
	return out
}

// SealingKey is a secret of the installation that its servers share: what one
// seals for a client to carry, such as a session, any of them can open.
type SealingKey struct {
	Purpose string `json:"purpose"`
	Secret  []byte `json:"secret"` // 32 random bytes; never logged or shown
}

// SealSessions is the purpose of the key that session tokens are sealed with.
const SealSessions = "sessions"

func (*SealingKey) Kind() Kind                            { return KindSealingKey }
func (k *SealingKey) Key() string                         { return k.Purpose }
func (k *SealingKey) Index(add func(index, value string)) {}
func (k *SealingKey) Refs(add func(Kind, string))         {}
func (k *SealingKey) Claims(add func(string))             {}

func init() {
	register[User]()
	register[Role]()
	register[ManagedPolicy]()
	register[SealingKey]()
}
