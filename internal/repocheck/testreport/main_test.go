// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

const mixed = `{"Action":"start","Package":"postern.dev/postern/a"}
{"Action":"run","Package":"postern.dev/postern/a","Test":"TestGood"}
{"Action":"pass","Package":"postern.dev/postern/a","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"postern.dev/postern/a","Test":"TestRoot"}
{"Action":"output","Package":"postern.dev/postern/a","Test":"TestRoot","Output":"=== RUN   TestRoot\n"}
{"Action":"output","Package":"postern.dev/postern/a","Test":"TestRoot","Output":"    a_test.go:12: needs root\n"}
{"Action":"output","Package":"postern.dev/postern/a","Test":"TestRoot","Output":"--- SKIP: TestRoot (0.00s)\n"}
{"Action":"skip","Package":"postern.dev/postern/a","Test":"TestRoot","Elapsed":0}
{"Action":"pass","Package":"postern.dev/postern/a","Elapsed":0.2}
{"Action":"skip","Package":"postern.dev/postern/empty","Elapsed":0}
`

func TestSkipsAreCountedByReason(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(mixed), &out, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"skipped   1: needs root\n", "\n1 passed, 0 failed, 1 skipped\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

func TestASkipFailsWhereNoneMayBe(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(mixed), &out, true); err == nil {
		t.Error("a skipped test was accepted")
	}
	if !strings.Contains(out.String(), "a TestRoot") {
		t.Errorf("the skipped test is not named:\n%s", out.String())
	}
}

func TestBadRunsAreNotCalledGood(t *testing.T) {
	for name, c := range map[string]struct{ in, shows string }{
		"a failed test": {`{"Action":"output","Package":"p","Test":"T","Output":"    x_test.go:1: boom\n"}
{"Action":"fail","Package":"p","Test":"T"}
{"Action":"fail","Package":"p"}
`, "boom"},
		"a build that failed": {`{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:1: undefined: y\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
`, "undefined: y"},
		"a panic": {`{"Action":"run","Package":"p","Test":"T"}
{"Action":"output","Package":"p","Test":"T","Output":"panic: oh\n"}
{"Action":"fail","Package":"p"}
`, "panic: oh"},
		"nothing": {"", "0 passed"},
	} {
		var out strings.Builder
		if err := run(strings.NewReader(c.in), &out, false); err == nil {
			t.Errorf("%s: called good", name)
		}
		if !strings.Contains(out.String(), c.shows) {
			t.Errorf("%s: the report lacks %q:\n%s", name, c.shows, out.String())
		}
	}
}
