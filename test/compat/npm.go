// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NPM puts a program for Node.js with its packages below bin/ and answers the
// directory. files are the program's, package.json and package-lock.json among
// them, in the directory of the test; what is there already is used while they
// have not changed.
func NPM(t testing.TB, name string, files ...string) string {
	t.Helper()
	h := sha256.New()
	contents := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		contents[f] = b
		h.Write(b)
	}
	bin, err := filepath.Abs("../../../bin/npm")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(bin, fmt.Sprintf("%s-%x", name, h.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	// Elsewhere first: what is there is whole, also after an interruption.
	making, err := os.MkdirTemp(bin, name+"-making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(making)
	for f, b := range contents {
		if err := os.WriteFile(filepath.Join(making, f), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = making // the registry is the user's setting, from the environment too
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(making, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			t.Fatal(err)
		}
	}
	return dir
}
