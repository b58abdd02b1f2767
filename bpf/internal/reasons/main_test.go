// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

func TestGeneratedTableIsOfThisHeader(t *testing.T) {
	header, err := os.ReadFile("../../drop_reasons.h")
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../reasons_generated.go")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(string(header))
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(want) {
		t.Error("reasons_generated.go is not of drop_reasons.h: run go generate ./bpf")
	}
}

func TestLinesThatSayLessAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ header, want string }{
		"no sentence":   {"DROP_X = 1,", "is not"},
		"no full stop":  {"DROP_X = 1, /* Because */", "is not"},
		"twice":         {"DROP_X = 1, /* One. */\nDROP_Y = 1, /* Two. */", "again"},
		"nothing there": {"enum {}", "no reasons"},
	} {
		if out, err := generate(c.header); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}
