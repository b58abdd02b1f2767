// SPDX-License-Identifier: Apache-2.0

package repocheck

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLicencesFitOurs(t *testing.T) {
	root, _ := repository(t)
	for _, bin := range Binaries {
		mods, err := LinkedModules(filepath.Join(root, bin.Dir), bin.Package)
		if err != nil {
			t.Errorf("%s: %v", bin.Name, err)
			continue
		}
		if len(mods) < 5 {
			t.Errorf("%s: only %d modules found: the check looks at the wrong place", bin.Name, len(mods))
		}
		for _, m := range mods {
			for _, l := range m.Licences {
				if !slices.Contains(Allowed, l) {
					t.Errorf("%s links %s %s, which is under %s", bin.Name, m.Path, m.Version, l)
				}
			}
		}
	}
}

func TestTheLicenceListIsUpToDate(t *testing.T) {
	root, _ := repository(t)
	want, err := LicenceList(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "docs", "generated", "licences.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/generated/licences.md is not what the modules say: run `go generate ./internal/repocheck`")
	}
}

func TestLicenceTextsAreRecognised(t *testing.T) {
	root, _ := repository(t)
	for file, want := range map[string]string{
		"LICENSE":                   "Apache-2.0",
		"LICENSES/BSD-2-Clause.txt": "BSD-2-Clause",
		"LICENSES/GPL-2.0.txt":      "GPL",
	} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := Classify(string(text)); !slices.Contains(got, want) {
			t.Errorf("%s: recognised as %v, want %s", file, got, want)
		}
	}
	for text, want := range map[string]string{
		"Permission is hereby granted, free of charge, to any\nperson obtaining a copy of": "MIT",
		"GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3":                                     "AGPL-3.0",
		"Redistribution and use in source and binary forms ... Neither the name of":        "BSD-3-Clause",
		"All rights reserved. Ask us.":                                                     "",
	} {
		if got := strings.Join(Classify(text), ","); got != want {
			t.Errorf("%q: recognised as %q, want %q", text, got, want)
		}
	}
}

var (
	replaceLine = regexp.MustCompile(`(?m)^\s*replace\b`)
	requireLine = regexp.MustCompile(`(?m)^(?:require)?\s*([a-z0-9][^\s()]*\.[^\s()]*/?[^\s()]*) (v[^\s]+)( // indirect)?$`)
)

// A replace line is ignored by whoever installs us with `go install`.
func TestNoModuleIsReplaced(t *testing.T) {
	root, files := repository(t)
	for _, f := range files {
		if filepath.Base(f) != "go.mod" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		if replaceLine.Match(b) {
			t.Errorf("%s has a replace line", f)
		}
	}
}

func directModules(t *testing.T, root string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, m := range requireLine.FindAllStringSubmatch(string(b), -1) {
		if m[3] == "" {
			direct = append(direct, m[1])
		}
	}
	if len(direct) < 10 {
		t.Fatalf("found only %d direct dependencies in go.mod: the check reads it wrongly", len(direct))
	}
	return direct
}

func TestEveryDirectDependencyHasAReason(t *testing.T) {
	root, _ := repository(t)
	b, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 2 {
			continue
		}
		rows[strings.Trim(strings.TrimSpace(cells[0]), "`")] = cells
	}
	direct := directModules(t, root)
	for _, m := range direct {
		row, ok := rows[m]
		if !ok {
			t.Errorf("docs/dependencies.md has no row for %s: say what it is for and why it is not written here", m)
			continue
		}
		if len(strings.TrimSpace(row[1])) < 15 {
			t.Errorf("docs/dependencies.md: the row of %s gives no reason", m)
		}
		if _, ok := ModuleRuleFor(m); !ok {
			t.Errorf("internal/repocheck/rules.go has no rule for %s", m)
		}
	}
	for m := range rows {
		if strings.Contains(m, ".") && strings.Contains(m, "/") && !strings.ContainsAny(m, " *") && !slices.Contains(direct, m) {
			t.Errorf("docs/dependencies.md lists %s, which is no direct dependency", m)
		}
	}
}
