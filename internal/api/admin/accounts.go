// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"net/http"
	"slices"

	"postern.dev/postern/internal/vpc"
)

// accountOf is an account as it is answered.
func accountOf(a *vpc.Account, secrets bool) Account {
	out := Account{ID: a.ID, Name: a.Name, Operator: a.Operator, Created: a.Created, Keys: []AccessKey{}}
	for _, k := range a.Keys {
		key := AccessKey{ID: k.ID}
		if secrets {
			key.Secret = k.Secret
		}
		out.Keys = append(out.Keys, key)
	}
	return out
}

func (h *handler) listAccounts(*http.Request) (any, error) {
	out := []Account{}
	for a := range vpc.All[vpc.Account](h.c.View()) {
		out = append(out, accountOf(a, false))
	}
	slices.SortFunc(out, func(a, b Account) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (h *handler) getAccount(r *http.Request) (any, error) {
	a, err := account(h.c.View(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return accountOf(a, true), nil
}

func (h *handler) getUser(r *http.Request) (any, error) {
	v, name := h.c.View(), r.PathValue("user")
	a, err := account(v, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	u, ok := vpc.UserNamed(v, a.ID, name)
	if !ok {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindUser), name, "account %s has no user %.64q; `aws iam create-user` makes one", a.Name, name)
	}
	out := User{Name: u.Name, ARN: u.ARN(), Keys: []AccessKey{}}
	for _, k := range u.Keys {
		if !k.Inactive {
			out.Keys = append(out.Keys, AccessKey{ID: k.ID, Secret: k.Secret})
		}
	}
	return out, nil
}

func (h *handler) createAccount(r *http.Request) (any, error) {
	in, err := read[NewAccount](r)
	if err != nil {
		return nil, err
	}
	var key *vpc.AccessKey
	switch {
	case (in.AccessKey == "") != (in.SecretKey == ""):
		return nil, vpc.Errorf(vpc.Combination, "accessKey", "", "give an access key and a secret key, or neither")
	case in.AccessKey != "":
		key = &vpc.AccessKey{ID: in.AccessKey, Secret: in.SecretKey}
	}
	a, err := h.c.CreateAccount(r.Context(), in.Name, key)
	if err != nil {
		return nil, err
	}
	return accountOf(a, true), nil
}

func (h *handler) listDomains(*http.Request) (any, error) {
	v := h.c.View()
	out := []Domain{}
	for d := range vpc.All[vpc.VerifiedDomain](v) {
		name := string(d.Account)
		if a, ok := vpc.Get[vpc.Account](v, d.Account); ok {
			name = a.Name
		}
		out = append(out, Domain{Account: name, Domain: d.Domain})
	}
	slices.SortFunc(out, func(a, b Domain) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Account, b.Account))
	})
	return out, nil
}

func (h *handler) verifyDomain(r *http.Request) (any, error) {
	in, err := read[Domain](r)
	if err != nil {
		return nil, err
	}
	a, err := account(h.c.View(), in.Account)
	if err != nil {
		return nil, err
	}
	return nil, h.c.VerifyDomain(r.Context(), a.ID, in.Domain)
}

func (h *handler) unverifyDomain(r *http.Request) (any, error) {
	a, err := account(h.c.View(), r.URL.Query().Get("account"))
	if err != nil {
		return nil, err
	}
	return nil, h.c.UnverifyDomain(r.Context(), a.ID, r.URL.Query().Get("domain"))
}
