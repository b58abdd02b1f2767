// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// good is a host that has everything.
func good() Host {
	return Host{
		OS: "linux",
		Files: fstest.MapFS{
			"proc/sys/kernel/osrelease":            {Data: []byte("6.8.0-31-generic\n")},
			"sys/kernel/btf/vmlinux":               {Data: make([]byte, 4096)},
			"proc/self/status":                     {Data: []byte("Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n")},
			"proc/meminfo":                         {Data: []byte("MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n")},
			"proc/sys/net/ipv4/ip_forward":         {Data: []byte("0\n")},
			"proc/sys/net/ipv4/conf/all/rp_filter": {Data: []byte("2\n")},

			"proc/sys/net/ipv6/conf/all/disable_ipv6": {Data: []byte("0\n")},
		},
		LookPath: func(n string) (string, error) { return "/usr/bin/" + n, nil },
		Run: func(_ context.Context, _ []string, p string, _ ...string) ([]byte, error) {
			if strings.HasSuffix(p, "aws") {
				return []byte("aws-cli/2.15.30 Python/3.11.8 Linux/6.8.0\n"), nil
			}
			return []byte("clang version 14.0.6\nTarget: x\n"), nil
		},
		Listen:    func(string) error { return nil },
		OpenFiles: func() (uint64, error) { return 1 << 20, nil },
		Getenv:    func(k string) string { return "the-" + k },
	}
}

func options(h Host) Options {
	works := func() error { return nil }
	return Options{
		Host: h, APIAddr: "127.0.0.1:4599", S3Backend: "postern-s3", Developer: true,
		Probes:    []Probe{TCXProbe(works), BPFFSProbe(works), NetnsProbe(works)},
		Leftovers: func() ([]string, error) { return nil, nil },
		Uplink:    func() (string, error) { return "none", nil },
	}
}

func find(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in %+v", name, checks)
	return Check{}
}

func (h Host) with(path, content string) Host {
	files := fstest.MapFS{}
	for k, v := range h.Files.(fstest.MapFS) {
		files[k] = v
	}
	if content == "" {
		delete(files, path)
	} else {
		files[path] = &fstest.MapFile{Data: []byte(content)}
	}
	h.Files = files
	return h
}

func TestHostThatHasEverything(t *testing.T) {
	checks := Run(context.Background(), options(good()))
	if len(checks) != 16 || ExitCode(checks) != 0 {
		t.Fatalf("%d checks: %+v", len(checks), checks)
	}
	for _, c := range checks {
		if c.Status != OK || c.Do != "" || c.Found == "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestEachLackIsFoundAndSaysWhatToDo(t *testing.T) {
	boom := errors.New("operation not permitted")
	say := func(out string) func(context.Context, []string, string, ...string) ([]byte, error) {
		return func(context.Context, []string, string, ...string) ([]byte, error) { return []byte(out), nil }
	}
	for _, tc := range []struct {
		name   string
		change func(*Options)
		check  string
		status Status
		found  string
	}{
		{"old kernel, tcx probed", func(o *Options) { o.Host = o.Host.with("proc/sys/kernel/osrelease", "5.15.0-x") }, "kernel", Warn, "5.15"},
		{"old kernel, not probed", func(o *Options) { o.Host = o.Host.with("proc/sys/kernel/osrelease", "6.5.13"); o.Probes = nil }, "kernel", Fail, "6.5.13"},
		{"no BTF", func(o *Options) { o.Host = o.Host.with("sys/kernel/btf/vmlinux", "") }, "kernel type information (BTF)", Fail, "no /sys"},
		{"ordinary user", func(o *Options) {
			o.Host = o.Host.with("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n")
		}, "privileges", Fail, "user 1000 lacks CAP_KILL"},
		{"root without BPF", func(o *Options) {
			o.Host = o.Host.with("proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t0000007fffffffff\n")
		}, "privileges", Fail, "lacks CAP_BPF"},
		{"no tcx", func(o *Options) { o.Probes[0].Probe = func() error { return boom } }, "tcx", Fail, "not permitted"},
		{"optional probe", func(o *Options) {
			o.Probes = []Probe{{Name: "extra", Do: "x", Optional: true, Probe: func() error { return boom }}}
		}, "extra", Warn, "not permitted"},
		{"probe not given", func(o *Options) { o.Probes[1].Probe = nil }, "bpffs", Warn, "not tried"},
		{"port taken", func(o *Options) {
			o.Host.Listen = func(string) error { return &net.OpError{Err: os.NewSyscallError("bind", syscall.EADDRINUSE)} }
		}, "API address", Fail, "in use"},
		{"port forbidden", func(o *Options) {
			o.Host.Listen = func(string) error { return &net.OpError{Err: os.NewSyscallError("bind", syscall.EACCES)} }
		}, "API address", Fail, "permission denied"},
		{"few files", func(o *Options) { o.Host.OpenFiles = func() (uint64, error) { return 1024, nil } }, "open files", Warn, "1024"},
		{"little memory", func(o *Options) { o.Host = o.Host.with("proc/meminfo", "MemAvailable: 100000 kB") }, "memory", Warn, "97 MiB"},
		{"no backend", func(o *Options) {
			o.Host.LookPath = func(n string) (string, error) { return "", fmt.Errorf("%s: not found", n) }
		}, "S3 backend", Warn, "not found"},
		{"no aws-cli", func(o *Options) {
			o.Host.LookPath = func(n string) (string, error) { return "", fmt.Errorf("%s: not found", n) }
		}, "aws-cli", Warn, "not in PATH"},
		{"old aws-cli 2", func(o *Options) { o.Host.Run = say("aws-cli/2.12.7 Python") }, "aws-cli", Warn, "does not follow"},
		{"old aws-cli 1", func(o *Options) { o.Host.Run = say("aws-cli/1.28.1 Python") }, "aws-cli", Warn, "does not follow"},
		{"strange aws-cli", func(o *Options) { o.Host.Run = say("hello 9.9") }, "aws-cli", Warn, "does not say"},
		{"leftovers", func(o *Options) {
			o.Leftovers = func() ([]string, error) { return strings.Split("a b c d e f g", " "), nil }
		}, "leftovers", Warn, "a, b, c, d, e and 2 more"},
		{"not linux", func(o *Options) { o.Host.OS = "darwin" }, "operating system", Fail, "darwin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options(good())
			tc.change(&o)
			checks := Run(context.Background(), o)
			c := find(t, checks, tc.check)
			if c.Status != tc.status || !strings.Contains(c.Found, tc.found) || c.Do == "" {
				t.Errorf("%+v", c)
			}
			if want := map[Status]int{Warn: 0, Fail: 1}[tc.status]; ExitCode(checks) != want {
				t.Errorf("exit code %d", ExitCode(checks))
			}
		})
	}
}

func TestNewEnoughClientsAreAccepted(t *testing.T) {
	for _, v := range []string{"2.13.0", "2.31.4", "1.29.0", "1.44.68", "3.0.0"} {
		h := good()
		h.Run = func(context.Context, []string, string, ...string) ([]byte, error) {
			return []byte("aws-cli/" + v + " Python/3"), nil
		}
		if c := h.orReal().awsCLI(context.Background()); c.Status != OK || !strings.Contains(c.Found, v) {
			t.Errorf("%s: %+v", v, c)
		}
	}
}

func TestWithoutDatapathNoKernelIsAskedFor(t *testing.T) {
	o := options(good().with("sys/kernel/btf/vmlinux", ""))
	o.NoDatapath = true
	o.Host.OS = "darwin"
	o.Probes[0].Probe = func() error { t.Error("probed"); return nil }
	checks := Run(context.Background(), o)
	if ExitCode(checks) != 0 {
		t.Errorf("%+v", checks)
	}
}

func TestOwnServerMayHoldItsAddress(t *testing.T) {
	o := options(good())
	o.APIRunning = true
	o.Host.Listen = func(string) error { return syscall.EADDRINUSE }
	if c := find(t, Run(context.Background(), o), "API address"); c.Status != OK {
		t.Errorf("%+v", c)
	}
}

func TestRealListenFindsATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var h Host
	if c := h.orReal().apiAddress(l.Addr().String(), false); c.Status != Fail || !strings.Contains(c.Found, "in use") {
		t.Errorf("%+v", c)
	}
	addr := l.Addr().String()
	l.Close()
	if c := h.orReal().apiAddress(addr, false); c.Status != OK {
		t.Errorf("%+v", c)
	}
}

// A real program that hangs and one that shows its environment.
func TestClientsAreRunWithAGivenEnvironmentAndALimit(t *testing.T) {
	dir := t.TempDir()
	aws := filepath.Join(dir, "aws")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	script := "#!/bin/sh\nenv >" + dir + "/env\necho aws-cli/2.20.0 >&2\n"
	if err := os.WriteFile(aws, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	h := Host{LookPath: func(string) (string, error) { return aws, nil }}.orReal()
	if c := h.awsCLI(context.Background()); c.Status != OK {
		t.Errorf("%+v", c)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || strings.Contains(string(env), "AKIA") {
		t.Errorf("environment %q, %v", env, err)
	}
	if !slices.Contains(strings.Split(string(env), "\n"), "AWS_EC2_METADATA_DISABLED=true") {
		t.Errorf("environment %q", env)
	}
	if err := os.WriteFile(aws, []byte("#!/bin/sh\nexec sleep 300\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if c := h.awsCLI(ctx); c.Status != Warn || !strings.Contains(c.Found, "in time") {
		t.Errorf("%+v", c)
	}
}

func TestOutputs(t *testing.T) {
	checks := []Check{{"a", OK, "fine", ""}, {"b", Fail, "two\nlines\x1b[31m", "mend it"}}
	var b bytes.Buffer
	if err := WriteTable(&b, checks); err != nil {
		t.Fatal(err)
	}
	if want := "ok    a  fine\nfail  b  two lines [31m\n         -> mend it\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	if err := WriteJSON(&b, checks); err != nil {
		t.Fatal(err)
	}
	var got struct {
		OK     *bool
		Checks []Check
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.OK == nil || *got.OK || !slices.Equal(got.Checks, checks) {
		t.Errorf("%s, %v", b.String(), err)
	}
	b.Reset()
	if err := WriteJSON(&b, nil); err != nil || !strings.Contains(b.String(), `"checks": []`) {
		t.Errorf("%s, %v", b.String(), err)
	}
}

func TestIPv6AndUplink(t *testing.T) {
	const all = "proc/sys/net/ipv6/conf/all/disable_ipv6"
	for content, want := range map[string]Check{
		"0\n": {Name: "IPv6", Status: OK, Found: "there"},
		"1\n": {Name: "IPv6", Status: OK, Found: "off on the host itself"},
		"":    {Name: "IPv6", Status: Warn, Found: "not in this kernel"},
	} {
		c := find(t, Run(context.Background(), options(good().with(all, content))), "IPv6")
		if c.Status != want.Status || !strings.Contains(c.Found, want.Found) || (c.Do != "") != (want.Status != OK) {
			t.Errorf("%q: %+v", content, c)
		}
	}
	o := options(good())
	o.Overlay = func() (string, error) { return "", errors.New("there is no p0vx") }
	if c := find(t, Run(context.Background(), o), "overlay"); c.Status != Warn || c.Found != "there is no p0vx" || !strings.Contains(c.Do, "other hosts") {
		t.Errorf("an overlay that is not there: %+v", c)
	}
	o.Uplink = func() (string, error) { return "", errors.New("p0up is down") }
	if c := find(t, Run(context.Background(), o), "uplink"); c.Status != Warn || c.Found != "p0up is down" || c.Do == "" {
		t.Errorf("%+v", c)
	}
}
