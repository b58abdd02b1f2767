// SPDX-License-Identifier: Apache-2.0

package control

import (
	"time"

	"postern.dev/postern/internal/authz"
	"postern.dev/postern/internal/vpc"
)

// Credential is what a request signed with an access key is held against.
type Credential struct {
	Secret string
	// Token is what the request must carry, "" for keys that last.
	Token   string
	Expires time.Time // zero for keys that last
}

// CallerFor finds who signs with an access key, and what the signature must be
// made with. token is the session token that came with the request, "" for
// none. A session that is over is found, for its expiry to be told; one whose
// user or role is gone is not.
func CallerFor(v vpc.View, accessKeyID, token string) (Caller, Credential, bool) {
	if a, ok := vpc.First[vpc.Account](v, vpc.IndexKey, accessKeyID); ok {
		for _, k := range a.Keys {
			if k.ID == accessKeyID {
				return root(a), Credential{Secret: k.Secret}, true
			}
		}
	}
	if u, ok := vpc.First[vpc.User](v, vpc.IndexKey, accessKeyID); ok {
		for _, k := range u.Keys {
			if a, ok := vpc.Get[vpc.Account](v, u.Owner); ok && k.ID == accessKeyID && !k.Inactive {
				return userCaller(a, u), Credential{Secret: k.Secret}, true
			}
		}
	}
	return sessionCaller(v, accessKeyID, token)
}

func root(a *vpc.Account) Caller {
	return Caller{Account: a.ID, Name: a.Name, ARN: a.ID.RootARN(), UserID: string(a.ID), Operator: a.Operator}
}

// userCaller is a user. Only the root of the operator's account is the operator.
func userCaller(a *vpc.Account, u *vpc.User) Caller {
	return Caller{Account: a.ID, Name: a.Name, ARN: u.ARN(), UserID: string(u.ID), User: u.ID}
}

// principal is the caller as policies see it.
func (c Caller) principal() authz.Principal {
	p := authz.Principal{Account: c.Account, ARN: c.ARN, UserID: c.UserID, User: c.User, Role: c.Role}
	if p.UserID == "" {
		p.UserID = string(c.Account)
	}
	if s := c.Session; s != nil {
		p.Temporary, p.Issued, p.Policy = true, s.Issued, s.Policy
	}
	return p
}

// Authorize holds a call against the caller's identity policies: nil, or an
// error of kind vpc.Denied. The root user of an account may do everything in it.
func (c *Control) Authorize(caller Caller, service, action string, params authz.Params) error {
	if caller.principal().Root() {
		return nil
	}
	v := c.View()
	return authz.Authorize(v, caller.principal(), authz.Request{
		Service: service, Action: action, Params: params, Region: RegionOf(v).Name, Time: c.Now(), Source: caller.Source,
		ServiceOwner: func(name string) string {
			o, err := OfferNamed(v, caller, name)
			switch {
			case err != nil:
				return "" // also one the caller is not allowed to find
			case o.Service != nil:
				return string(o.Service.Owner)
			}
			return "amazon"
		},
	})
}
