// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command mutants judges the judge: it breaks the datapath's C in one place at
// a time, compiles each as bpf/gen.go does, and requires that the comparison
// with the reference model finds every one of them. It needs root, clang 19 and
// the headers that `make generate` needs, and prints a table.
//
//	go run ./test/mutants            all
//	go run ./test/mutants -only acl  those whose names contain "acl"
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patch is one planted bug.
type patch struct {
	name     string
	file     string // below bpf/
	old, new string // the old text occurs once
}

func main() {
	only := flag.String("only", "", "only the patches whose names contain this")
	packets := flag.Int("packets", 240000, "packets to compare at most")
	flag.Parse()
	if err := run(*only, *packets); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only string, packets int) error {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	test := filepath.Join(dir, "datapath.test")
	if out, err := command("go", "test", "-c", "-o", test, "./internal/datapath"); err != nil {
		return fmt.Errorf("build the test: %w\n%s", err, out)
	}
	// the sources as they are must pass, or finding a bug says nothing
	all := append([]patch{{name: "none"}}, patches...)
	var missed []string
	fmt.Printf("%-34s %-12s %8s  %s\n", "planted bug", "file", "seconds", "found by")
	for _, p := range all {
		if p.name != "none" && !strings.Contains(p.name, only) {
			continue
		}
		began := time.Now()
		found, err := try(dir, test, p, packets)
		if err != nil { // the others are still worth knowing
			missed = append(missed, p.name)
			fmt.Printf("%-34s %-12s %8s  %v\n", p.name, p.file, "", err)
			continue
		}
		if (found == "") != (p.name == "none") {
			missed = append(missed, p.name)
		}
		if found == "" {
			found = "nothing"
		}
		fmt.Printf("%-34s %-12s %8.1f  %s\n", p.name, p.file, time.Since(began).Seconds(), found)
	}
	if len(missed) > 0 {
		return fmt.Errorf("not as it should be: %s", strings.Join(missed, ", "))
	}
	return nil
}

// try compiles the sources with a patch and compares them with the model. It
// says what the first disagreement was, "" for none.
func try(dir, test string, p patch, packets int) (string, error) {
	src := filepath.Join(dir, "bpf")
	if err := os.RemoveAll(src); err != nil {
		return "", err
	}
	if err := os.CopyFS(src, os.DirFS("bpf")); err != nil {
		return "", err
	}
	if p.file != "" {
		name := filepath.Join(src, p.file)
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if n := bytes.Count(b, []byte(p.old)); n != 1 {
			return "", fmt.Errorf("the text to replace occurs %d times in %s", n, p.file)
		}
		if err := os.WriteFile(name, bytes.Replace(b, []byte(p.old), []byte(p.new), 1), 0o600); err != nil {
			return "", err
		}
	}
	object := filepath.Join(dir, "datapath.o")
	out, err := command("clang-19", "-target", "bpfel", "-O2", "-g", "-mcpu=v3", "-Wall", "-Wextra", "-Wno-unused",
		"-Wno-unused-parameter", "-idirafter", "/usr/include/x86_64-linux-gnu", "-idirafter", "/usr/include/aarch64-linux-gnu",
		"-c", filepath.Join(src, "datapath.c"), "-o", object)
	if err != nil {
		return "", fmt.Errorf("compile: %w\n%s", err, out)
	}
	cmd := exec.Command(test, "-test.run", "^TestTheProgramsAgreeWithTheModel$", "-test.count", "1")
	cmd.Dir = "internal/datapath"
	cmd.Env = append(os.Environ(), "POSTERN_MODEL_OBJECT="+object, fmt.Sprint("POSTERN_MODEL_PACKETS=", packets), "POSTERN_MODEL_SHRINK=no")
	b, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil && bytes.Contains(b, []byte("PASS")):
		return "", nil
	case errors.As(err, &failed):
		return firstLine(string(b))
	}
	return "", fmt.Errorf("run the comparison: %w\n%s", err, b)
}

// firstLine is what the test said of the first disagreement.
func firstLine(out string) (string, error) {
	for line := range strings.Lines(out) {
		if _, what, ok := strings.Cut(line, ": seed "); ok {
			what = strings.TrimSpace(what)
			return "seed " + what[:min(len(what), 90)], nil
		}
	}
	return "", fmt.Errorf("no disagreement, but a failure: %s", out[:min(len(out), 300)])
}

func command(name string, args ...string) ([]byte, error) {
	return exec.Command(name, args...).CombinedOutput()
}
