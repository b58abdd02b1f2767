// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"os"
	"strings"
	"testing"
)

func TestHurryIsPutBack(t *testing.T) {
	l := install(t)
	was := rcuSwitch
	rcuSwitch = t.TempDir() + "/rcu_expedited"
	defer func() { rcuSwitch = was }()
	set := func(v string) {
		t.Helper()
		if err := os.WriteFile(rcuSwitch, []byte(v+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when, v string) {
		t.Helper()
		if got := strings.TrimSpace(readFile(t, rcuSwitch)); got != v {
			t.Errorf("%s it is %s, want %s", when, got, v)
		}
	}
	set("0")
	done, err := l.Hurry()
	if err != nil {
		t.Fatal(err)
	}
	want("during", "1")
	if err := done(); err != nil {
		t.Fatal(err)
	}
	want("after", "0")

	// Killed meanwhile: the next start puts it back, and so does a reset.
	for name, mend := range map[string]func() error{
		"the next start": l.Calm, "a reset": func() error { _, err := l.Reset(); return err },
	} {
		if _, err := l.Hurry(); err != nil {
			t.Fatal(err)
		}
		if err := mend(); err != nil {
			t.Fatal(err)
		}
		want("after "+name, "0")
	}

	// Somebody else's wish is left alone.
	set("1")
	if done, err = l.Hurry(); err != nil {
		t.Fatal(err)
	}
	if err := done(); err != nil {
		t.Fatal(err)
	}
	want("after another's", "1")
	if err := l.Calm(); err != nil {
		t.Fatal(err)
	}
	want("after another's", "1")
	os.Remove(rcuSwitch) // a kernel without it
	if done, err = l.Hurry(); err != nil || done() != nil {
		t.Errorf("without the switch: %v", err)
	}
}
