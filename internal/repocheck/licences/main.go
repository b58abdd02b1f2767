// SPDX-License-Identifier: Apache-2.0

// Command licences writes docs/generated/licences.md, the list of the modules
// that the binaries contain and their licences.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"postern.dev/postern/internal/repocheck"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := repocheck.Root(".")
	if err != nil {
		return err
	}
	text, err := repocheck.LicenceList(root)
	if err != nil {
		return err
	}
	file := filepath.Join(root, "docs", "generated", "licences.md")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("make the folder of generated documents: %w", err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("write the licence list: %w", err)
	}
	return nil
}
