// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCommittedDocumentsAreWhatTheCodeSays(t *testing.T) {
	docs, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range docs {
		got, err := os.ReadFile(filepath.Join("..", "..", "docs", "generated", name))
		if err != nil || string(got) != want {
			t.Errorf("docs/generated/%s is out of date (%v): run make generate", name, err)
		}
	}
}
