// SPDX-License-Identifier: Apache-2.0

package repocheck

import (
	"strings"
	"testing"
)

func goFiles(t *testing.T) []GoFile {
	t.Helper()
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	files, err := GoFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d Go files: the checks look at the wrong place", len(files))
	}
	return files
}

// checkImport gives the sentence to print when a file may not import a path,
// or "".
func checkImport(f GoFile, imp string) string {
	free := f.Test || IsTestPackage(f.Package)
	own, ours := strings.CutPrefix(imp, Module+"/")
	if ours {
		if IsTestPackage(own) && !free && own != f.Package {
			return own + " is for tests"
		}
		if free || own == f.Package {
			return ""
		}
		rule, ok := RuleFor(f.Package)
		if !ok {
			return "no import rule for " + f.Package + ": add one with its reason to internal/repocheck/rules.go"
		}
		for _, m := range rule.May {
			if Matches(m, own) {
				return ""
			}
		}
		return f.Package + " may not import " + own + ": " + rule.Why
	}
	if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		return "" // the standard library
	}
	rule, ok := ModuleRuleFor(imp)
	if !ok {
		return "no rule for the module of " + imp + ": is it needed? if so, add it to internal/repocheck/rules.go and docs/dependencies.md"
	}
	if free {
		return ""
	}
	for _, p := range rule.Only {
		if Matches(p, f.Package) {
			return ""
		}
	}
	if len(rule.Only) == 0 {
		return imp + " is for test files: " + rule.Why
	}
	return imp + " only in " + strings.Join(rule.Only, ", ") + ": " + rule.Why
}

func TestImportsFollowTheRules(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.Imports {
			if imp == "C" {
				t.Errorf("%s: imports C: the binary is built without cgo", f.Path)
				continue
			}
			if msg := checkImport(f, imp); msg != "" {
				t.Errorf("%s: %s", f.Path, msg)
			}
		}
	}
}

func TestEveryPackageHasARule(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		if seen[f.Package] || IsTestPackage(f.Package) {
			continue
		}
		seen[f.Package] = true
		if _, ok := RuleFor(f.Package); !ok {
			t.Errorf("%s: no import rule: add one with its reason to internal/repocheck/rules.go", f.Package)
		}
	}
}

func TestEveryRuleHasAReason(t *testing.T) {
	for _, r := range ImportRules {
		if len(r.Why) < 20 {
			t.Errorf("import rule of %s: say why", r.Package)
		}
	}
	for _, r := range ModuleRules {
		if len(r.Why) < 10 {
			t.Errorf("module rule of %s: say why", r.Path)
		}
	}
}

// The checker itself: what must be refused is refused.
func TestForbiddenImportsAreFound(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		test, ok bool
	}{
		{"internal/vpc", "time", false, true},
		{"internal/vpc", Module + "/internal/store", false, false},
		{"internal/vpc", Module + "/internal/store", true, true},
		{"internal/agent", Module + "/internal/store", false, false},
		{"internal/link", Module + "/internal/datapath", false, false},
		{"internal/explain", Module + "/internal/desired", false, false},
		{"internal/edge", Module + "/internal/api/sigv4", false, false},
		{"internal/api/ec2", Module + "/internal/control", false, true},
		{"internal/api/ec2", Module + "/internal/store", false, false},
		{"internal/control", Module + "/internal/control/controltest", false, false},
		{"internal/control/controltest", Module + "/internal/store", false, true},
		{"internal/doctor", "github.com/vishvananda/netlink", false, false},
		{"internal/link", "github.com/vishvananda/netlink/nl", false, true},
		{"internal/datapath", "github.com/cilium/ebpf/link", false, true},
		{"internal/agent", "github.com/cilium/ebpf", false, false},
		{"internal/api/ec2", "github.com/aws/aws-sdk-go-v2/service/ec2", false, false},
		{"internal/api/ec2", "github.com/aws/aws-sdk-go-v2/service/ec2", true, true},
		{"internal/vpc", "example.com/unknown", true, false},
		{"internal/nowhere", Module + "/internal/vpc", false, false},
		{"cmd/postern", Module + "/internal/datapath", false, true},
		{"cmd/postern", Module + "/test/bench", false, false},
		{"test/bench", "github.com/aws/aws-sdk-go-v2/service/ec2", false, true},
	} {
		msg := checkImport(GoFile{Package: c.pkg, Test: c.test}, c.imp)
		if (msg == "") != c.ok {
			t.Errorf("%s importing %s (test file %v): allowed %v, want %v: %s", c.pkg, c.imp, c.test, msg == "", c.ok, msg)
		}
	}
}
