// SPDX-License-Identifier: Apache-2.0

package repocheck

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence        = regexp.MustCompile("(?ms)^```.*?^```$")
)

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	root, files := repository(t)
	links := 0
	for _, f := range files {
		if path.Ext(f) != ".md" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range markdownLink.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(root, path.Dir(f), to)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", f, m[1])
			}
		}
	}
	if links < 10 {
		t.Errorf("found only %d links: the check looks at the wrong place", links)
	}
}

var goalLine = regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*?## `)

// What the documents tell people to type has to exist.
func TestMakeGoalsInDocumentsExist(t *testing.T) {
	root, files := repository(t)
	mk, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	goals := map[string]bool{}
	for _, m := range goalLine.FindAllStringSubmatch(string(mk), -1) {
		goals[m[1]] = true
	}
	said := regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z -]*)")
	for _, f := range files {
		if path.Ext(f) != ".md" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllStringSubmatch(string(b), -1) {
			for _, g := range strings.Fields(m[1]) {
				if !goals[g] {
					t.Errorf("%s: says `make %s`, but the Makefile has no goal %s", f, m[1], g)
				}
			}
		}
	}
}
