// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"postern.dev/postern/internal/authz"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Session is what temporary credentials stand for. Nothing of it is stored: it
// is sealed into the token that the client sends back with every call, under a
// key that all servers of one store have. So assuming a role writes nothing,
// and a session ends by its time, or when its user or role is gone.
type Session struct {
	KeyID   string        `json:"k"`           // ASIA...
	Secret  string        `json:"s"`           // never logged
	Account vpc.AccountID `json:"a"`           //
	User    vpc.UserID    `json:"u,omitempty"` // of GetSessionToken by a user
	Role    vpc.RoleID    `json:"r,omitempty"` // of AssumeRole
	Name    string        `json:"n,omitempty"` // of a role's session
	Policy  string        `json:"p,omitempty"` // narrows what the role may do
	Issued  time.Time     `json:"i"`
	Expires time.Time     `json:"e"`
}

// Bounds of sessions.
const (
	minSession      = 15 * time.Minute
	defaultSession  = time.Hour
	maxChained      = time.Hour // of a role assumed by a session of a role
	maxUserSession  = 36 * time.Hour
	defaultUser     = 12 * time.Hour
	maxRootSession  = time.Hour
	maxSessionDoc   = 2048 // characters of a session policy
	maxSessionToken = 8 << 10
	sealing         = "postern session 1" // what a token is, authenticated with it
)

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// Credentials are what a client signs with for a while.
type Credentials struct {
	KeyID, Secret, Token string
	Expires              time.Time
}

// AssumeRoleInput are the parameters of AssumeRole.
type AssumeRoleInput struct {
	RoleARN    string
	Name       string        // of the session
	Duration   time.Duration // 0 is an hour
	Policy     string        // narrows the session, "" for none
	ExternalID *string
}

// AssumedRole is a new session of a role.
type AssumedRole struct {
	Credentials
	ARN, UserID string // of the session
}

// AssumeRole makes a session of a role for a caller that the role's trust
// policy and the caller's own policies allow it. A role that does not exist
// answers as one that does not trust the caller.
func (c *Control) AssumeRole(ctx context.Context, caller Caller, in AssumeRoleInput) (*AssumedRole, error) {
	if err := checkAssume(in); err != nil {
		return nil, err
	}
	if caller.principal().Root() {
		return nil, vpc.Errorf(vpc.Denied, "", "", "Roles may not be assumed by root accounts.")
	}
	v := c.View()
	role, ok := roleByARN(v, in.RoleARN)
	if err := c.mayAssume(v, caller, role, in); err != nil || !ok {
		if err == nil {
			err = notTrusted(caller, in.RoleARN)
		}
		return nil, err
	}
	limit := role.MaxSession
	if caller.Role != "" {
		limit = min(limit, maxChained)
	}
	d := in.Duration
	if d == 0 {
		d = defaultSession
	}
	if d > limit {
		if caller.Role != "" && d <= role.MaxSession {
			return nil, vpc.Errorf(vpc.Invalid, "DurationSeconds", "", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
		}
		return nil, vpc.Errorf(vpc.Invalid, "DurationSeconds", "", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	creds, err := c.newSession(ctx, Session{Account: role.Owner, Role: role.ID, Name: in.Name, Policy: in.Policy}, d)
	if err != nil {
		return nil, err
	}
	return &AssumedRole{Credentials: *creds, ARN: role.SessionARN(in.Name), UserID: string(role.ID) + ":" + in.Name}, nil
}

func checkAssume(in AssumeRoleInput) error {
	if !sessionName.MatchString(in.Name) {
		return constraint("roleSessionName", in.Name, "must have 2 to 64 letters, digits and characters of +=,.@_-")
	}
	if n := utf8.RuneCountInString(in.RoleARN); n < 20 || n > 2048 {
		return constraint("roleArn", in.RoleARN, "must have 20 to 2048 characters")
	}
	if in.Duration != 0 && (in.Duration < minSession || in.Duration > 12*time.Hour) {
		return constraint("durationSeconds", fmt.Sprint(int64(in.Duration/time.Second)), "must be from 900 to 43200")
	}
	if in.ExternalID != nil && (len(*in.ExternalID) > 1224 || !externalID.MatchString(*in.ExternalID)) {
		return constraint("externalId", *in.ExternalID, "must have 2 to 1224 letters, digits and characters of +=,.@:/-_")
	}
	if in.Policy != "" {
		if utf8.RuneCountInString(in.Policy) > maxSessionDoc {
			return vpc.Errorf(vpc.Limit, "session-policy", "", "The session policy has more than %d characters", maxSessionDoc)
		}
		return checkDocument(in.Policy, policy.Options{Identity: true})
	}
	return nil
}

var externalID = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)

// constraint is the error for a value that does not have the form it must.
func constraint(name, value, must string) error {
	return vpc.Errorf(vpc.Invalid, name, value, "1 validation error detected: Value '%.128s' at '%s' failed to satisfy constraint: %s", value, name, must)
}

func notTrusted(caller Caller, roleARN string) error {
	return vpc.Errorf(vpc.Denied, "sts:AssumeRole", roleARN, "User: %s is not authorized to perform: sts:AssumeRole on resource: %.300s", caller.ARN, roleARN)
}

func roleByARN(v vpc.View, arn string) (*vpc.Role, bool) {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 {
		return nil, false
	}
	r, ok := vpc.RoleNamed(v, vpc.AccountID(part[4]), part[5][strings.LastIndexByte(part[5], '/')+1:])
	return r, ok && r.ARN() == arn
}

// mayAssume asks the caller's policies and the role's trust policy. Within an
// account a trust policy that names the caller itself suffices; one that names
// the account leaves it to the caller's policies. Between accounts both must
// allow it. role is nil for one that does not exist.
func (c *Control) mayAssume(v vpc.View, caller Caller, role *vpc.Role, in AssumeRoleInput) error {
	p := caller.principal()
	r := authz.Request{Service: authz.STS, Action: "AssumeRole", Region: RegionOf(v).Name, Time: c.Now(), Source: caller.Source}
	var tags vpc.Tags
	if role != nil && role.Owner == caller.Account {
		tags = role.Tags
	}
	keys := map[string][]string{"sts:RoleSessionName": {in.Name}}
	if in.ExternalID != nil {
		keys["sts:ExternalId"] = []string{*in.ExternalID}
	}
	verdict, err := authz.AuthorizeOn(v, p, r, in.RoleARN, tags, keys)
	if err != nil {
		return err
	}
	if verdict.Explicit {
		return verdict.Err
	}
	if role == nil {
		return notTrusted(caller, in.RoleARN)
	}
	trust, err := policy.ParseOptions([]byte(role.Trust), policy.Options{Trust: true})
	if err != nil {
		return fmt.Errorf("trust policy of role %s: %w", role.ARN(), err)
	}
	req := policy.Request{
		Principal: caller.ARN, Account: string(caller.Account), Action: "sts:AssumeRole", Resource: role.ARN(),
		Context: authz.Context(v, p, r),
	}
	for k, value := range keys {
		req.Context[k] = value
	}
	if !trust.Evaluate(req).Allowed {
		return notTrusted(caller, in.RoleARN)
	}
	// With this set an account stands for its root user alone, so what is still
	// allowed is allowed by the caller's own name, or to everybody.
	req.GatewayEndpoint = true
	byName := trust.Evaluate(req).Allowed && role.Owner == caller.Account
	if verdict.Allowed || byName && !verdict.Narrowed {
		return nil
	}
	return notTrusted(caller, in.RoleARN)
}

// GetSessionToken makes a session of the caller itself.
func (c *Control) GetSessionToken(ctx context.Context, caller Caller, d time.Duration) (*Credentials, error) {
	if caller.Session != nil {
		return nil, vpc.Errorf(vpc.Denied, "sts:GetSessionToken", "", "Cannot call GetSessionToken with session credentials")
	}
	if d != 0 && (d < minSession || d > maxUserSession) {
		return nil, constraint("durationSeconds", fmt.Sprint(int64(d/time.Second)), "must be from 900 to 129600")
	}
	if d == 0 {
		d = defaultUser
	}
	if caller.principal().Root() {
		d = min(d, maxRootSession)
	}
	return c.newSession(ctx, Session{Account: caller.Account, User: caller.User}, d)
}

func (c *Control) newSession(ctx context.Context, s Session, d time.Duration) (*Credentials, error) {
	k, err := c.newKey(vpc.PrefixTemporary)
	if err != nil {
		return nil, err
	}
	s.KeyID, s.Secret = k.ID, k.Secret
	s.Issued = c.Now().UTC().Truncate(time.Second)
	s.Expires = s.Issued.Add(d)
	aead, err := c.sealer(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode a session: %w", err)
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(c.Random, nonce); err != nil {
		return nil, fmt.Errorf("read random bytes for a session: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, []byte(sealing)))
	if len(token) > maxSessionToken {
		return nil, vpc.Errorf(vpc.Limit, "session-policy", "", "The session policy is too large to be packed into a session token")
	}
	return &Credentials{KeyID: k.ID, Secret: k.Secret, Token: token, Expires: s.Expires}, nil
}

// sealer is the cipher of session tokens. The first use of it makes its key.
func (c *Control) sealer(ctx context.Context) (cipher.AEAD, error) {
	if aead, ok := sealerOf(c.View()); ok {
		return aead, nil
	}
	_, err := c.commit(ctx, installation, func(tx *store.Tx) error {
		if _, ok := vpc.Get[vpc.SealingKey](tx, vpc.SealSessions); ok {
			return nil // another server was first
		}
		k := &vpc.SealingKey{Purpose: vpc.SealSessions, Secret: make([]byte, 32)}
		if _, err := io.ReadFull(c.Random, k.Secret); err != nil {
			return fmt.Errorf("read random bytes for the sessions' key: %w", err)
		}
		tx.Put(k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	aead, ok := sealerOf(c.View())
	if !ok {
		return nil, fmt.Errorf("the sessions' key in the store is unusable")
	}
	return aead, nil
}

func sealerOf(v vpc.View) (cipher.AEAD, bool) {
	k, ok := vpc.Get[vpc.SealingKey](v, vpc.SealSessions)
	if !ok {
		return nil, false
	}
	block, err := aes.NewCipher(k.Secret)
	if err != nil {
		return nil, false
	}
	aead, err := cipher.NewGCM(block)
	return aead, err == nil
}

// sessionCaller opens a token. It must be one of this installation, belong to
// the access key, and its user or role must still be there.
func sessionCaller(v vpc.View, accessKeyID, token string) (Caller, Credential, bool) {
	if token == "" || len(token) > maxSessionToken || !strings.HasPrefix(accessKeyID, vpc.PrefixTemporary) {
		return Caller{}, Credential{}, false
	}
	aead, ok := sealerOf(v)
	if !ok {
		return Caller{}, Credential{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < aead.NonceSize() {
		return Caller{}, Credential{}, false
	}
	plain, err := aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], []byte(sealing))
	if err != nil {
		return Caller{}, Credential{}, false
	}
	s := &Session{}
	if json.Unmarshal(plain, s) != nil || s.KeyID != accessKeyID {
		return Caller{}, Credential{}, false
	}
	a, ok := vpc.Get[vpc.Account](v, s.Account)
	if !ok {
		return Caller{}, Credential{}, false
	}
	caller := root(a)
	switch {
	case s.Role != "":
		r, ok := vpc.Get[vpc.Role](v, s.Role)
		if !ok {
			return Caller{}, Credential{}, false
		}
		caller = Caller{Account: a.ID, Name: a.Name, ARN: r.SessionARN(s.Name), UserID: string(r.ID) + ":" + s.Name, Role: r.ID}
	case s.User != "":
		u, ok := vpc.Get[vpc.User](v, s.User)
		if !ok {
			return Caller{}, Credential{}, false
		}
		caller = userCaller(a, u)
	}
	caller.Session = s
	return caller, Credential{Secret: s.Secret, Token: token, Expires: s.Expires}, true
}
