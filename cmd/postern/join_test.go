// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
)

// A machine uses the certificate it has, and a token only when it has none that
// is good.
func TestAMachineJoinsOnlyWhenItMust(t *testing.T) {
	ca, err := pki.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity := func(host vpc.HostID, made time.Time) *hostsync.Identity {
		t.Helper()
		key, err := pki.NewHostKey()
		if err != nil {
			t.Fatal(err)
		}
		request, err := pki.Request(key)
		if err != nil {
			t.Fatal(err)
		}
		chain, _, err := ca.Host(request, string(host), made, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return &hostsync.Identity{Host: host, CA: string(ca.PEM), Chain: string(chain), Key: string(key)}
	}
	const nobody = "https://127.0.0.1:1" // listens there
	token := func(host vpc.HostID) string {
		return hostsync.Token{Host: host, Secret: "S", CA: ca.Fingerprint()}.String()
	}
	good, old := identity("h2", time.Now()), identity("h2", time.Now().Add(-2*time.Hour))
	for what, x := range map[string]struct {
		kept  *hostsync.Identity
		token string
		fails string
	}{
		"not joined, no token":     {nil, "", "--token"},
		"not joined, not a token":  {nil, "x", "no token"},
		"not joined":               {nil, token("h2"), "join " + nobody},
		"joined":                   {good, "", ""},
		"joined, with a token":     {good, token("h2"), ""},
		"joined as another":        {good, token("h3"), "this machine is host h2"},
		"too old":                  {old, "", "postern host token h2"},
		"too old, with a token":    {old, token("h2"), "join " + nobody},
		"too old, another's token": {old, token("h3"), "this machine is host h2"},
	} {
		p := paths{t.TempDir()}
		if err := p.makeHostDirs(); err != nil {
			t.Fatal(err)
		}
		if x.kept != nil {
			if err := saveIdentity(p, x.kept); err != nil {
				t.Fatal(err)
			}
			if st, err := os.Stat(p.identity()); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: the identity's mode is %v, %v", what, st.Mode(), err)
			}
		}
		id, err := identityOf(t.Context(), p, joinInput{nobody, x.token})
		if x.fails != "" && (err == nil || !strings.Contains(err.Error(), x.fails)) || x.fails == "" && (err != nil || id.Key != x.kept.Key) {
			t.Errorf("%s: %v, want %q", what, err, x.fails)
		}
	}
}
