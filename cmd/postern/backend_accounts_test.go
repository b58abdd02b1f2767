// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

func TestBackendLearnsAUsersKeyAfterTheEdge(t *testing.T) {
	f := &accountsFile{path: filepath.Join(t.TempDir(), "accounts.json")}
	hosts := control.NewHosts()
	v := vpctest.Of(&vpc.Account{ID: "111111111111", Keys: []vpc.AccessKey{{ID: "AKIAROOT", Secret: "root-secret"}}})
	has := func(want ...string) {
		t.Helper()
		if err := f.write(v, hosts); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(want, " ")
		for _, k := range []string{"AKIAROOT", "AKIAONE", "AKIATWO"} {
			if strings.Contains(string(b), k) != strings.Contains(got, k) {
				t.Errorf("file has %s, want %s", b, got)
			}
		}
	}
	user := func(keys ...vpc.UserKey) {
		v.Put(&vpc.User{ID: "AIDAANN", Owner: "111111111111", Name: "ann", Path: "/", Keys: keys})
	}
	one, two := vpc.UserKey{AccessKey: vpc.AccessKey{ID: "AKIAONE", Secret: "secret-one"}}, vpc.UserKey{AccessKey: vpc.AccessKey{ID: "AKIATWO", Secret: "secret-two"}}
	has("AKIAROOT")
	hosts.Report(control.HostStatus{Host: "h1", Applied: v.Revision()})
	user(one)
	has("AKIAROOT")
	if !f.waiting {
		t.Error("nobody waits for the host")
	}
	hosts.Report(control.HostStatus{Host: "h1", Applied: v.Revision()})
	has("AKIAROOT", "AKIAONE")
	user(one, two)
	has("AKIAROOT", "AKIAONE")
	hosts.Report(control.HostStatus{Host: "h1", Applied: v.Revision()})
	has("AKIAROOT", "AKIAONE", "AKIATWO")
	if f.waiting {
		t.Error("still waiting")
	}
	// One that is off is out at once, and waits for the host when it is on again.
	one.Inactive = true
	user(one, two)
	has("AKIAROOT", "AKIATWO")
	one.Inactive = false
	user(one, two)
	has("AKIAROOT", "AKIATWO")
}
