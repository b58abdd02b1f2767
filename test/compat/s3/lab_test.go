// SPDX-License-Identifier: Apache-2.0

// Package s3 runs suites and clients of S3 that we did not write twice: against a
// backend, and against the edge in front of it, with the policy that a new endpoint
// has. What succeeds must be the same.
//
// Two backends are there: the S3 that Postern brings along, for clients, and the
// Versity S3 Gateway as others run it, which has the root account and the admin
// calls that its suite wants; both answer S3 with the same code.
package s3

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/test/compat/through"
)

// domain is where both the backend and the edge say they are. Its names are
// the loopback's everywhere, without a name server (RFC 6761).
const domain = "localhost"

// build makes a program of a module in this repository.
func build(t *testing.T, module, pkg, name string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, text)
	}
	return out
}

// posternS3 runs Postern's S3 with one key and says where: host:port.
func posternS3(t *testing.T) string {
	t.Helper()
	return runPosternS3(t, t.TempDir(), map[string]string{through.KeyID: through.Account})
}

// runPosternS3 runs Postern's S3 in a directory with keys of accounts, all with the
// same secret, and says where it listens.
func runPosternS3(t *testing.T, dir string, of map[string]string, args ...string) string {
	t.Helper()
	accounts := []map[string]string{}
	for key, account := range of {
		accounts = append(accounts, map[string]string{"access": key, "secret": through.Secret, "account": account})
	}
	keys, err := json.Marshal(map[string]any{"accounts": accounts})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "accounts.json"), keys, 0o600); err != nil {
		t.Fatal(err)
	}
	program := build(t, "../../../backends/s3", ".", "postern-s3")
	line, err := bufio.NewReader(through.Start(t, dir, append([]string{program, "--dir", filepath.Join(dir, "data"), "--accounts", filepath.Join(dir, "accounts.json"),
		"--region", through.Region, "--domain", "s3." + domain}, args...)...)).ReadBytes('\n')
	var ready struct{ Listen string }
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		t.Fatalf("postern-s3 is not ready: %v: %s", err, line)
	}
	return ready.Listen
}

// newEdge starts an edge in front of a backend, whose service answers to names.
func newEdge(t *testing.T, backend string, names ...string) *through.Edge {
	t.Helper()
	return through.NewEdge(t, desired.Service{
		Name: "s3", ServiceName: "com.amazonaws." + through.Region + ".s3", Protocol: "s3", Backends: []string{"http://" + backend}, PublicNames: names,
	}, "", through.KeyID)
}
