// SPDX-License-Identifier: Apache-2.0

// Command testreport reads what `go test -json` prints and says what matters:
// the whole output of every test that failed, one line per package, every
// reason for which tests were skipped with its count, and the totals. With
// --no-skips a skipped test is a failure: where everything a test needs is
// installed, a skip means that something is not tested.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	noSkips := flag.Bool("no-skips", false, "fail if a test was skipped")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *noSkips); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

type testID struct{ pkg, name string }

// run copies what matters from in to out. The error says that the run is not
// to be called good.
func run(in io.Reader, out io.Writer, noSkips bool) error {
	var (
		passed, failed, skipped int
		packages, badPackages   int
		output                  = map[testID][]string{}
		build                   = map[string][]string{}
		reasons                 = map[string][]string{} // reason -> tests
		running                 = map[testID]bool{}
		start                   = time.Now()
	)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(out, lines.Text()) // the go command's own words
			continue
		}
		id := testID{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			build[e.ImportPath] = append(build[e.ImportPath], e.Output)
		case "run":
			running[id] = true
		case "output":
			output[id] = append(output[id], e.Output)
		case "pass", "fail", "skip":
			delete(running, id)
			if e.Test == "" {
				packages++
				if e.Action == "fail" {
					badPackages++
					fmt.Fprint(out, strings.Join(build[e.FailedBuild], ""))
					for id := range running { // died with the package
						if id.pkg == e.Package {
							failed++
							delete(running, id)
							fmt.Fprintf(out, "--- died: %s %s\n%s", id.pkg, id.name, strings.Join(output[id], ""))
						}
					}
					fmt.Fprint(out, strings.Join(output[id], ""))
				} else if e.Action == "pass" {
					fmt.Fprintf(out, "ok   %-60s %6.1f s\n", e.Package, e.Elapsed)
				}
				continue
			}
			switch e.Action {
			case "pass":
				passed++
			case "fail":
				failed++
				fmt.Fprintf(out, "--- failed: %s %s\n%s", e.Package, e.Test, strings.Join(output[id], ""))
			case "skip":
				skipped++
				r := reason(output[id])
				reasons[r] = append(reasons[r], strings.TrimPrefix(e.Package, "postern.dev/postern/")+" "+e.Test)
			}
			delete(output, id)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the test output: %w", err)
	}

	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(out, "skipped %3d: %s\n", len(reasons[r]), r)
		if noSkips {
			for _, t := range reasons[r] {
				fmt.Fprintf(out, "             %s\n", t)
			}
		}
	}
	fmt.Fprintf(out, "%d packages in %.0f s\n", packages, time.Since(start).Seconds())
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	switch {
	case failed > 0 || badPackages > 0:
		return fmt.Errorf("%d tests failed in %d packages", failed, badPackages)
	case passed == 0:
		return errors.New("no test ran")
	case noSkips && skipped > 0:
		return fmt.Errorf("%d tests were skipped, and here none may be", skipped)
	}
	return nil
}

var location = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

// reason is what a test said when it skipped itself: the last line that names
// a place in its source.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		if at := location.FindString(line); at != "" {
			return strings.TrimSpace(line[len(at):])
		}
	}
	return "no reason given"
}
