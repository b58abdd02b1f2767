// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestNamesFitAndDiffer(t *testing.T) {
	a, b := hostName("abcdef", string(eniA)), hostName("abcdef", string(eniB))
	if len(a) != 15 || a == b || hostName("abcd", string(eniA)) == a {
		t.Errorf("names %q, %q", a, b)
	}
	if s := hostName("abcdef", serviceOwner); s != "pabcdefsvc" {
		t.Errorf("service port is %q", s)
	}
}

func TestAliasRoundTrip(t *testing.T) {
	for _, a := range []alias{{"abcd", "eni-1", ""}, {"abcdef", "eni-1", "0123"}} {
		if got, ok := parseAlias(a.String()); !ok || got != a {
			t.Errorf("%q is read as %+v, %v", a, got, ok)
		}
	}
	for _, s := range []string{"", "postern", "postern abcd", "postern ABCD eni-1", "other abcd eni-1", "postern abcd eni-1 d more"} {
		if a, ok := parseAlias(s); ok {
			t.Errorf("%q is read as ours: %+v", s, a)
		}
	}
}

func TestTagFollowsTheDirectoryNotItsSpelling(t *testing.T) {
	dir := t.TempDir()
	a, err := TagFor(dir)
	if err != nil || checkTag(a) != nil {
		t.Fatalf("%q, %v", a, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if b, _ := TagFor(link + "/."); b != a {
		t.Errorf("%q and %q for one directory", a, b)
	}
	if c, _ := TagFor(t.TempDir()); c == a {
		t.Errorf("one tag for two directories")
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	for _, c := range []Config{
		{Tag: "abc", RunDir: "/run/x"}, {Tag: "ABCD", RunDir: "/run/x"}, {Tag: "abcdef0", RunDir: "/run/x"},
		{Tag: "abcd", RunDir: "x"}, {Tag: "abcd", RunDir: "/"}, {Tag: "abcd", RunDir: "/run/x", MTU: 100},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestInterruptedDumpIsRepeatedButNotForEver(t *testing.T) {
	n := 0
	v, err := dump(func() (int, error) {
		if n++; n < 3 {
			return 0, netlink.ErrDumpInterrupted
		}
		return 42, nil
	})
	if v != 42 || err != nil || n != 3 {
		t.Errorf("%d, %v after %d", v, err, n)
	}
	n = 0
	if _, err = dump(func() (int, error) { n++; return 0, netlink.ErrDumpInterrupted }); !isInterrupted(err) || n != dumpTries {
		t.Errorf("%v after %d", err, n)
	}
	boom := errors.New("boom")
	n = 0
	if _, err = dump(func() (int, error) { n++; return 0, boom }); !errors.Is(err, boom) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

func TestOnlyFilesAndDNSAnswerHosts(t *testing.T) {
	for in, want := range map[string]string{
		"passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] resolve dns\n": "passwd: files\nhosts: files dns\n",
		" hosts:\tmyhostname # x": "hosts: files dns",
		"hosts: dns files":        "hosts: files dns",
	} {
		if got, changed := filesAndDNS(in); got != want || !changed {
			t.Errorf("%q became %q, %v", in, got, changed)
		}
	}
	for _, same := range []string{"hosts: files dns # fine\n", "#hosts: nis", "passwd: nis"} {
		if got, changed := filesAndDNS(same); got != same || changed {
			t.Errorf("%q became %q", same, got)
		}
	}
}

func TestDanglingLinkGetsAFileToMountOver(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "etc/resolv.conf")
	if err := os.Symlink("../run/resolve/stub.conf", path); err != nil {
		t.Fatal(err)
	}
	got, err := mountTarget(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "run/resolve/stub.conf"); got != want {
		t.Errorf("leads to %q", got)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
	if again, err := mountTarget(path); err != nil || again != got {
		t.Errorf("%q, %v", again, err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if _, err := mountTarget(loop); err == nil {
		t.Error("a loop was followed to its end")
	}
}

func TestMountinfoEscapes(t *testing.T) {
	if got := unescape(`/a\040b\134c`); got != `/a b\c` {
		t.Errorf("%q", got)
	}
	if got := unescape(`/a\04`); got != `/a\04` {
		t.Errorf("%q", got)
	}
}
