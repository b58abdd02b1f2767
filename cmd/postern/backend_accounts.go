// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// backendAccount is one entry of the default backend's accounts file.
type backendAccount struct {
	Access  string `json:"access"`
	Secret  string `json:"secret"`
	Account string `json:"account"`
	Role    string `json:"role"`
}

// accountsFile is what the default backend reads: a caller's Postern keys are
// the keys the backend knows.
//
// To the backend a user's key is its account's. What a user may do is asked by
// the edge, through which every request comes, so a user's key is not in the
// file before the edges know whose it is. Temporary keys are never in it: they
// are stored nowhere.
type accountsFile struct {
	path string
	last string
	// users are the users' keys in the file; waiting says that others are to come.
	users   map[string]bool
	waiting bool
}

func (f *accountsFile) write(v vpc.View, hosts *control.Hosts) error {
	list := []backendAccount{}
	for a := range vpc.All[vpc.Account](v) {
		for _, k := range a.Keys {
			list = append(list, backendAccount{k.ID, k.Secret, string(a.ID), "user"})
		}
	}
	users := map[string]bool{}
	f.waiting = false
	for u := range vpc.All[vpc.User](v) {
		known, _ := hosts.AppliedByAll(v.Changed(vpc.KindUser, u.Key()))
		for _, k := range u.Keys {
			switch {
			case k.Inactive:
			case known || f.users[k.ID]:
				users[k.ID] = true
				list = append(list, backendAccount{k.ID, k.Secret, string(u.Owner), "user"})
			default:
				f.waiting = true
			}
		}
	}
	f.users = users
	b, err := json.Marshal(map[string]any{"accounts": list})
	if err != nil || string(b) == f.last {
		return err
	}
	f.last = string(b)
	return writeFile(f.path, b, 0o600)
}

// follow rewrites the file whenever an account or user changes, or a host has
// learnt of one.
func (f *accountsFile) follow(ctx context.Context, st *store.Store, hosts *control.Hosts) error {
	for {
		v, changed := st.Changed()
		_, reported := hosts.Status()
		if err := f.write(v, hosts); err != nil {
			return err
		}
		if !f.waiting {
			reported = nil
		}
		select {
		case <-changed:
		case <-reported:
		case <-ctx.Done():
			return nil
		}
	}
}
