// SPDX-License-Identifier: Apache-2.0

package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Root finds the top of the repository: the nearest directory above dir whose
// go.mod is this module's.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(strings.TrimSpace(string(b)), "module "+Module+"\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("find the repository: no go.mod of %s above", Module)
		}
		dir = up
	}
}

// Files lists the repository's files, slash-separated and relative to root:
// what git has or would add. Outside of a git tree it is everything but what
// the build makes.
func Files(root string) ([]string, error) {
	if files, err := gitFiles(root); err == nil {
		return files, nil
	}
	var files []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == ".git" || rel == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			files = append(files, rel)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the repository: %w", err)
	}
	return files, nil
}

// gitFiles asks git. Files that are deleted but not yet committed as such are
// left out.
func gitFiles(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return nil, fmt.Errorf("look for a git tree: %w", err)
	}
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("ask git for the files: %w", err)
	}
	var files []string
	for f := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if st, err := os.Lstat(filepath.Join(root, f)); err == nil && st.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	return files, nil
}

// GoFile is one Go source file, parsed as far as the checks need it.
type GoFile struct {
	Path    string // relative to the root
	Package string // directory relative to the root, "." for the root
	Test    bool   // a _test.go file
	Main    bool   // package main
	Comment string // the package comment, "" if none
	Imports []string
	Source  []byte
	AST     *ast.File
	Set     *token.FileSet
}

// GoFiles parses the Go files below root that belong to the main module. All
// build tags are read, so a rule cannot be broken on another system.
func GoFiles(root string) ([]GoFile, error) {
	files, err := Files(root)
	if err != nil {
		return nil, err
	}
	nested := map[string]bool{}
	for _, f := range files {
		if path.Base(f) == "go.mod" && f != "go.mod" {
			nested[path.Dir(f)] = true
		}
	}
	var out []GoFile
	for _, f := range files {
		if !strings.HasSuffix(f, ".go") || insideAny(nested, f) || strings.Contains(f, "/testdata/") {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			return nil, fmt.Errorf("read a source file: %w", err)
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, f, src, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parse a source file: %w", err)
		}
		g := GoFile{
			Path: f, Package: path.Dir(f), Test: strings.HasSuffix(f, "_test.go"),
			Main: tree.Name.Name == "main", Source: src, AST: tree, Set: set,
		}
		if tree.Doc != nil {
			g.Comment = strings.TrimSpace(tree.Doc.Text())
		}
		for _, i := range tree.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return nil, fmt.Errorf("import %s in %s: %w", i.Path.Value, f, err)
			}
			g.Imports = append(g.Imports, p)
		}
		out = append(out, g)
	}
	return out, nil
}

func insideAny(dirs map[string]bool, file string) bool {
	for d := path.Dir(file); d != "."; d = path.Dir(d) {
		if dirs[d] {
			return true
		}
	}
	return false
}
