// SPDX-License-Identifier: Apache-2.0

package repocheck

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPackageHasOneComment(t *testing.T) {
	comments, files := map[string][]string{}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.Test {
			continue
		}
		files[f.Package] = true
		if f.Comment == "" {
			continue
		}
		comments[f.Package] = append(comments[f.Package], f.Path)
		want := "Package " + f.AST.Name.Name + " "
		if f.Main {
			want = "Command " + path.Base(f.Package) + " "
		}
		if !strings.HasPrefix(f.Comment, want) {
			t.Errorf("%s: the package comment begins %q, want %q", f.Path, firstWords(f.Comment), want)
		}
	}
	for p := range files {
		switch c := comments[p]; len(c) {
		case 1:
		case 0:
			t.Errorf("%s has no package comment: say what it is for, its words and its promises", p)
		default:
			t.Errorf("%s has %d package comments: %s", p, len(c), strings.Join(c, ", "))
		}
	}
}

func firstWords(s string) string {
	w := strings.Fields(s)
	return strings.Join(w[:min(3, len(w))], " ")
}

// licenceOf is the SPDX line a source file must begin with, "" if it needs
// none.
func licenceOf(file string, generated bool) string {
	switch ext := path.Ext(file); {
	case generated:
		return ""
	case ext == ".go":
		return "// SPDX-License-Identifier: Apache-2.0"
	case (ext == ".c" || ext == ".h") && strings.HasPrefix(file, "bpf/"):
		return "// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause"
	case ext == ".mjs":
		return "// SPDX-License-Identifier: Apache-2.0"
	case ext == ".sh" || ext == ".py" || ext == ".yml" || ext == ".tf" || file == "Makefile" || file == ".ci/run":
		return "# SPDX-License-Identifier: Apache-2.0"
	}
	return ""
}

var generatedLine = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestEverySourceFileNamesItsLicence(t *testing.T) {
	root, files := repository(t)
	for _, f := range files {
		if licenceOf(f, false) == "" {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		head := src[:min(len(src), 600)]
		want := licenceOf(f, generatedLine.Match(head))
		if want == "" {
			continue
		}
		lines := strings.SplitN(string(head), "\n", 4)
		if strings.HasPrefix(lines[0], "#!") {
			lines = lines[1:]
		}
		if len(lines) == 0 || lines[0] != want {
			t.Errorf("%s: the first line must be %q", f, want)
		}
	}
}

func repository(t *testing.T) (root string, files []string) {
	t.Helper()
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	files, err = Files(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, files
}

// A sleep is a guess about somebody else's speed. Wait for the condition; where
// there is none to wait for, say so in a comment that begins "sleep:".
func TestNoSleepWithoutAReason(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.Test || IsTestPackage(f.Package) {
			continue
		}
		reasons := map[int]bool{}
		for _, g := range f.AST.Comments {
			if strings.Contains(g.Text(), "sleep:") {
				line := f.Set.Position(g.End()).Line
				reasons[line], reasons[line+1] = true, true
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && sel.Sel.Name == "Sleep" {
				if at := f.Set.Position(call.Pos()); !reasons[at.Line] {
					t.Errorf("%s:%d: time.Sleep: wait for the condition, or give the reason in a comment `// sleep: ...`", f.Path, at.Line)
				}
			}
			return true
		})
	}
}

// The domain gets ids, times and randomness as arguments: only then can the
// same inputs be tried again.
func TestTheDomainHasNoClockAndNoDice(t *testing.T) {
	pure := []string{"internal/vpc", "internal/policy", "internal/desired", "internal/explain"}
	for _, f := range goFiles(t) {
		in := false
		for _, p := range pure {
			in = in || f.Package == p
		}
		if !in || f.Test {
			continue
		}
		for _, i := range f.Imports {
			switch i {
			case "crypto/rand", "math/rand", "math/rand/v2", "os", "net", "net/http", "os/exec", "syscall":
				t.Errorf("%s: imports %s: what it gives must come in as an argument", f.Path, i)
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Since" || sel.Sel.Name == "After") {
				t.Errorf("%s: time.%s: the time must come in as an argument", f.Set.Position(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// tooLong is the most lines a file we write by hand may have.
const tooLong = 700

func TestNoFileIsTooLong(t *testing.T) {
	for _, f := range goFiles(t) {
		if generatedLine.Match(f.Source[:min(len(f.Source), 600)]) {
			continue
		}
		if n := bytes.Count(f.Source, []byte("\n")); n > tooLong {
			t.Errorf("%s has %d lines, at most %d: it is more than one thing", f.Path, n, tooLong)
		}
	}
}

// forbidden are strings that would tie the repository to one machine or one
// place. They are put together here so that this file does not contain them.
var forbidden = map[string]string{
	"/wo" + "rk/":              "a path of one machine",
	"/tmp/" + "plan":           "a path of one machine",
	".." + "/shared":           "a path outside the repository",
	"/root/" + ".":             "a path of one user",
	"/home/" + "u":             "a path of one user",
	"proxy." + "golang.org":    "a registry's host: the user's own setting decides",
	"sum." + "golang.org":      "a registry's host: the user's own setting decides",
	"deb." + "debian.org":      "a registry's host: the user's own setting decides",
	"archive." + "ubuntu.com":  "a registry's host: the user's own setting decides",
	"registry." + "npmjs.org":  "a registry's host: the user's own setting decides",
	"files." + "pythonhosted":  "a registry's host: the user's own setting decides",
	"BEGIN RSA " + "PRIVATE":   "a secret",
	"BEGIN EC " + "PRIVATE":    "a secret",
	"BEGIN OPENSSH " + "PRIVA": "a secret",
}

func TestNothingTiesUsToOnePlace(t *testing.T) {
	root, files := repository(t)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		for s, why := range forbidden {
			if i := bytes.Index(b, []byte(s)); i >= 0 {
				t.Errorf("%s:%d: contains %q: %s", f, 1+bytes.Count(b[:i], []byte("\n")), s, why)
			}
		}
	}
}
