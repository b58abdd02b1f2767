// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A planted bug is one place of the sources as they are now.
func TestEveryPatchFitsTheSources(t *testing.T) {
	for _, p := range patches {
		if p.name == "none" {
			continue
		}
		b, err := os.ReadFile(filepath.Join("../../bpf", p.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), p.old); n != 1 {
			t.Errorf("%s: %d places in %s have %q", p.name, n, p.file, p.old)
		}
	}
}
