// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privilege

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const asChild = "POSTERN_TEST_CHILD"

// children are what a test runs in a process of its own: privileges do not
// come back.
var children = map[string]func() error{
	"drop": func() error {
		release := manyThreads()
		defer release()
		if err := DropTo(EdgeUID, EdgeUID); err != nil {
			return err
		}
		if err := syscall.Setuid(0); err == nil {
			return fmt.Errorf("became root again")
		}
		if _, err := os.ReadFile("/etc/shadow"); !os.IsPermission(err) {
			return fmt.Errorf("read /etc/shadow: %v", err)
		}
		if err := DropTo(EdgeUID, EdgeUID); err != nil {
			return fmt.Errorf("a second time: %w", err)
		}
		if err := DropTo(ServerUID, ServerUID); err == nil {
			return fmt.Errorf("became another user")
		}
		return report("/proc/self/status")
	},
	"drop-root": func() error {
		if err := DropTo(0, 0); err == nil {
			return fmt.Errorf("root was accepted")
		}
		if os.Geteuid() != 0 {
			return fmt.Errorf("it dropped all the same")
		}
		return nil
	},
	"limit": func() error {
		if err := LimitCapabilities([]uintptr{unix.CAP_NET_ADMIN, unix.CAP_KILL}); err != nil {
			return err
		}
		release := manyThreads()
		defer release()
		if err := verify(func(s status) error {
			if s.effective != 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_KILL {
				return fmt.Errorf("effective %x", s.effective)
			}
			return nil
		}); err != nil {
			return err
		}
		if os.Getenv(limitedMarker) != "" {
			return fmt.Errorf("the marker would be inherited")
		}
		// What it starts, as root by number, has no more.
		out, err := exec.Command("cat", "/proc/self/status").Output()
		if err != nil {
			return err
		}
		os.Stdout.Write(out)
		return nil
	},
	"marker-alone": func() error {
		os.Setenv(limitedMarker, "1")
		if err := LimitCapabilities([]uintptr{unix.CAP_KILL}); err == nil {
			return fmt.Errorf("the marker alone was believed")
		}
		return nil
	},
	"missing": func() error {
		if err := DropTo(EdgeUID, EdgeUID); err != nil {
			return err
		}
		m, err := Missing([]uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN})
		if err != nil || strings.Join(m, " ") != "CAP_NET_ADMIN CAP_BPF" {
			return fmt.Errorf("missing %v, %v", m, err)
		}
		if err := LimitCapabilities([]uintptr{unix.CAP_BPF}); err == nil || !strings.Contains(err.Error(), "CAP_BPF") {
			return fmt.Errorf("limit to what is not there: %v", err)
		}
		return nil
	},
}

func TestMain(m *testing.M) {
	name := os.Getenv(asChild)
	if name == "" {
		os.Exit(m.Run())
	}
	f := children[name]
	if f == nil {
		fmt.Fprintln(os.Stderr, "no child", name)
		os.Exit(3)
	}
	if err := f(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// manyThreads makes threads that exist before privileges change.
func manyThreads() (release func()) {
	var ready sync.WaitGroup
	end := make(chan struct{})
	for range 8 {
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			<-end
		}()
	}
	ready.Wait()
	return func() { close(end) }
}

func report(path string) error {
	b, err := os.ReadFile(path)
	os.Stdout.Write(b)
	return err
}

// run runs a child as root and returns what it printed.
func run(t *testing.T, name string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("takes privileges away from a child: needs root")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asChild + "=" + name, "PATH=" + os.Getenv("PATH")}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	return out.String()
}

func field(t *testing.T, status, key string) string {
	t.Helper()
	for _, line := range strings.Split(status, "\n") {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	t.Fatalf("no %s in %q", key, status)
	return ""
}

func TestDroppedProcessHasNothingAndGetsNothingBack(t *testing.T) {
	out := run(t, "drop")
	id := strconv.Itoa(EdgeUID)
	four := strings.Join([]string{id, id, id, id}, " ")
	for key, want := range map[string]string{
		"Uid": four, "Gid": four, "Groups": "", "NoNewPrivs": "1",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		if got := field(t, out, key); got != want {
			t.Errorf("%s is %q, not %q", key, got, want)
		}
	}
}

func TestDropToRootIsRefused(t *testing.T) { run(t, "drop-root") }

func TestLimitedProcessAndItsChildrenHaveOnlyThese(t *testing.T) {
	out := run(t, "limit")
	want := fmt.Sprintf("%016x", uint64(1<<unix.CAP_NET_ADMIN|1<<unix.CAP_KILL))
	for _, key := range []string{"CapEff", "CapPrm", "CapBnd"} {
		if got := field(t, out, key); got != want {
			t.Errorf("%s of a child is %s, not %s", key, got, want)
		}
	}
}

func TestMarkerIsNoProof(t *testing.T) { run(t, "marker-alone") }

func TestMissingCapabilitiesAreNamed(t *testing.T) { run(t, "missing") }

func TestLookup(t *testing.T) {
	uid, gid, err := Lookup("no-such-user-of-postern", ServerUID)
	if uid != ServerUID || gid != ServerUID || err != nil {
		t.Errorf("%d, %d, %v", uid, gid, err)
	}
	if _, _, err := Lookup("root", ServerUID); err == nil {
		t.Error("root is accepted")
	}
	if _, _, err := Lookup("no-such-user-of-postern", 0); err == nil {
		t.Error("fallback 0 is accepted")
	}
	if u, err := user.Lookup("nobody"); err == nil {
		uid, gid, err := Lookup("nobody", ServerUID)
		if strconv.Itoa(uid) != u.Uid || strconv.Itoa(gid) != u.Gid || err != nil {
			t.Errorf("nobody is %d, %d, %v", uid, gid, err)
		}
	}
}

func TestNames(t *testing.T) {
	if got := Names(1<<unix.CAP_BPF | 1<<unix.CAP_NET_ADMIN | 1<<60); got != "CAP_NET_ADMIN,CAP_BPF,CAP_60" {
		t.Error(got)
	}
	if got := Names(0); got != "none" {
		t.Error(got)
	}
	if len(capabilityNames) != unix.CAP_LAST_CAP+1 {
		t.Errorf("%d names for %d capabilities", len(capabilityNames), unix.CAP_LAST_CAP+1)
	}
}
