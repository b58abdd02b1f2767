// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is a machine as the checks see it. A field that is not set is this
// machine's own.
type Host struct {
	OS string // as runtime.GOOS
	// Files is the root of its file system.
	Files fs.FS
	// LookPath finds a program, as exec.LookPath.
	LookPath func(name string) (string, error)
	// Run runs a program with exactly env and returns both its streams.
	Run func(ctx context.Context, env []string, program string, args ...string) ([]byte, error)
	// Listen tries to listen on a TCP address and stops again.
	Listen func(addr string) error
	// OpenFiles is the limit of open files.
	OpenFiles func() (uint64, error)
	// Getenv reads the few variables that other programs are given.
	Getenv func(string) string
}

func (h Host) orReal() Host {
	if h.OS == "" {
		h.OS = realOS
	}
	if h.Files == nil {
		h.Files = os.DirFS("/")
	}
	if h.LookPath == nil {
		h.LookPath = exec.LookPath
	}
	if h.Run == nil {
		h.Run = run
	}
	if h.Listen == nil {
		h.Listen = listen
	}
	if h.OpenFiles == nil {
		h.OpenFiles = openFiles
	}
	if h.Getenv == nil {
		h.Getenv = os.Getenv
	}
	return h
}

func run(ctx context.Context, env []string, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	cmd.WaitDelay = time.Second // a grandchild may keep the output open
	return cmd.CombinedOutput()
}

func listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func openFiles() (uint64, error) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, err
	}
	return r.Cur, nil
}

func (h Host) read(path string) (string, error) {
	b, err := fs.ReadFile(h.Files, path)
	return strings.TrimSpace(string(b)), err
}

// kernel judges the version. When tcx itself is probed, an older number is
// only a warning: distributions carry features back.
func (h Host) kernel(probed bool) Check {
	const name = "kernel"
	release, err := h.read("proc/sys/kernel/osrelease")
	if err != nil {
		return Check{name, Warn, err.Error(), "mount /proc; Postern needs Linux 6.6 or later"}
	}
	major, minor, ok := version(release)
	switch {
	case !ok:
		return Check{name, Warn, release, "its version cannot be read; Postern needs Linux 6.6 or later"}
	case major > 6 || major == 6 && minor >= 6:
		return Check{name, OK, release, ""}
	case probed:
		return Check{name, Warn, release, "Postern is made for Linux 6.6 or later; the tcx check below decides"}
	}
	return Check{name, Fail, release, "use Linux 6.6 or later"}
}

var versionPattern = regexp.MustCompile(`(\d{1,5})\.(\d{1,5})`)

// version reads the first "major.minor" in s.
func version(s string) (major, minor int, ok bool) {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	major, _ = strconv.Atoi(m[1])
	minor, _ = strconv.Atoi(m[2])
	return major, minor, true
}

func (h Host) btf() Check {
	const name = "kernel type information (BTF)"
	st, err := fs.Stat(h.Files, "sys/kernel/btf/vmlinux")
	if err != nil || st.Size() == 0 {
		return Check{name, Fail, "no /sys/kernel/btf/vmlinux", "use a kernel with CONFIG_DEBUG_INFO_BTF, and mount /sys"}
	}
	return Check{name, OK, fmt.Sprintf("/sys/kernel/btf/vmlinux, %d KiB", st.Size()>>10), ""}
}

// needed are the capabilities the agent works with, and those that the server
// needs to give its privileges up.
var needed = []struct {
	bit  uint
	name string
}{{5, "CAP_KILL"}, {6, "CAP_SETGID"}, {7, "CAP_SETUID"}, {8, "CAP_SETPCAP"}, {12, "CAP_NET_ADMIN"}, {21, "CAP_SYS_ADMIN"}, {38, "CAP_PERFMON"}, {39, "CAP_BPF"}}

func (h Host) privileges() Check {
	const name = "privileges"
	const do = "run as root; in a container, with --privileged or these capabilities added"
	status, err := h.read("proc/self/status")
	if err != nil {
		return Check{name, Fail, err.Error(), do}
	}
	caps, uid := "", ""
	for _, line := range strings.Split(status, "\n") {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(line, "Uid:"); ok && len(strings.Fields(v)) > 1 {
			uid = strings.Fields(v)[1]
		}
	}
	set, err := strconv.ParseUint(caps, 16, 64)
	if err != nil {
		return Check{name, Fail, "the effective capabilities cannot be read", do}
	}
	var missing []string
	for _, c := range needed {
		if set&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	switch {
	case len(missing) > 0:
		return Check{name, Fail, fmt.Sprintf("user %s lacks %s", uid, strings.Join(missing, ", ")), do}
	case uid != "0":
		return Check{name, OK, "user " + uid + " with all that is needed", ""}
	}
	return Check{name, OK, "root", ""}
}

// ipv6 asks for what workloads' IPv6 addresses need. Whether the host itself
// uses IPv6 is another matter: every namespace has its own setting.
func (h Host) ipv6() Check {
	const name = "IPv6"
	off, err := h.read("proc/sys/net/ipv6/conf/all/disable_ipv6")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Check{name, Warn, "not in this kernel, so no workload can have an IPv6 address", "use a kernel with CONFIG_IPV6, booted without ipv6.disable=1, or leave IPv6 blocks away from VPCs"}
	case err != nil:
		return Check{name, Warn, err.Error(), "mount /proc"}
	case off != "0":
		return Check{name, OK, "there; off on the host itself, which workloads do not need", ""}
	}
	return Check{name, OK, "there", ""}
}

// settings answers what people look for first.
func (h Host) settings() Check {
	found := []string{}
	for _, s := range []string{"ip_forward", "conf/all/rp_filter"} {
		v, err := h.read("proc/sys/net/ipv4/" + s)
		if err != nil {
			v = "unknown"
		}
		found = append(found, s[strings.LastIndex(s, "/")+1:]+"="+v)
	}
	return Check{"forwarding and rp_filter", OK, strings.Join(found, ", ") + "; either will do: packets do not pass the host's own routing, but for those of an uplink", ""}
}

func (h Host) apiAddress(addr string, running bool) Check {
	const name = "API address"
	if running {
		return Check{name, OK, addr + ", in use by this installation", ""}
	}
	err := h.Listen(addr)
	switch {
	case err == nil:
		return Check{name, OK, addr + " is free", ""}
	case errors.Is(err, syscall.EADDRINUSE):
		return Check{name, Fail, addr + " is in use", "see who with ss -ltnp, or choose another address for the API"}
	case errors.Is(err, os.ErrPermission):
		return Check{name, Fail, err.Error(), "run as root or choose a port above 1023"}
	}
	return Check{name, Fail, err.Error(), "choose an address of this host and a port for the API"}
}

// wantFiles is for a few thousand connections through the edge, each two
// descriptors, and the store.
const wantFiles = 8192

func (h Host) files() Check {
	const name = "open files"
	n, err := h.OpenFiles()
	if err != nil {
		return Check{name, Warn, err.Error(), fmt.Sprintf("raise the limit to %d or more (ulimit -n, LimitNOFILE=)", wantFiles)}
	}
	if n < wantFiles {
		return Check{name, Warn, fmt.Sprintf("at most %d", n), fmt.Sprintf("raise the limit to %d or more (ulimit -n, LimitNOFILE=)", wantFiles)}
	}
	return Check{name, OK, fmt.Sprintf("at most %d", n), ""}
}

// wantMemory is for the server with its store, the agent and the edge.
const wantMemory = 512 << 10 // KiB

func (h Host) memory() Check {
	const name = "memory"
	const do = "leave 512 MiB for Postern: with less it may be ended by the kernel"
	info, err := h.read("proc/meminfo")
	if err != nil {
		return Check{name, Warn, err.Error(), do}
	}
	for _, line := range strings.Split(info, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "MemAvailable:" {
			continue
		}
		kib, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			break
		}
		if kib < wantMemory {
			return Check{name, Warn, fmt.Sprintf("%d MiB available", kib>>10), do}
		}
		return Check{name, OK, fmt.Sprintf("%d MiB available", kib>>10), ""}
	}
	return Check{name, Warn, "what is available cannot be read", do}
}
