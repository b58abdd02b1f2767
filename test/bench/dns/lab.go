// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	clientSpace = "pbench-dns-c"
	serverSpace = "pbench-dns-s"
	hostSpace   = "pbench-dns-h"
)

var (
	network    = netip.MustParsePrefix("10.53.0.0/24")
	serverAddr = netip.MustParseAddr("10.53.0.1")
	clientAddr = netip.MustParseAddr("10.53.0.2")
)

// lab holds what was made and started, to end and remove it.
type lab struct {
	dir      string
	self     string
	cpus     []int // the server's and dnsperf's
	cleanups []func() error
}

func (l *lab) undo(f func() error) { l.cleanups = append(l.cleanups, f) }

// close undoes everything, the last first.
func (l *lab) close() error {
	var errs []error
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, l.cleanups[i]())
	}
	l.cleanups = nil
	return errors.Join(errs...)
}

func newLab(ctx context.Context) (l *lab, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root, for network namespaces")
	}
	l = &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if l.cpus, err = twoCPUs(); err != nil {
		return nil, err
	}
	if l.dir, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return nil, err
	}
	l.undo(func() error { return os.RemoveAll(l.dir) })
	for _, ns := range []string{clientSpace, serverSpace, hostSpace} {
		if err := removeSpace(ns); err != nil {
			return nil, err
		}
		if err := ip(ctx, "netns add "+ns); err != nil {
			return nil, err
		}
		l.undo(func() error { return removeSpace(ns) })
	}
	return l, ip(ctx,
		"link add eth0 netns "+clientSpace+" type veth peer name eth0 netns "+serverSpace,
		fmt.Sprintf("-n %s addr add %s/%d dev eth0", clientSpace, clientAddr, network.Bits()),
		fmt.Sprintf("-n %s addr add %s/%d dev eth0", serverSpace, serverAddr, network.Bits()),
		"-n "+clientSpace+" link set eth0 up", "-n "+serverSpace+" link set eth0 up", "-n "+serverSpace+" link set lo up", "-n "+hostSpace+" link set lo up")
}

func ip(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// removeSpace ends what runs in one of our namespaces and removes it, if it is there.
func removeSpace(name string) error {
	if _, err := os.Stat("/run/netns/" + name); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if out, err := exec.Command("ip", "netns", "pids", name).Output(); err == nil {
		for f := range strings.FieldsSeq(string(out)) {
			if pid, err := strconv.Atoi(f); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	return ip(context.Background(), "netns delete "+name)
}

// command is a program in a namespace and on a CPU; ip and taskset become it,
// so its process is the command's. It ends with ctx
// and with us.
func (l *lab) command(ctx context.Context, ns string, cpu int, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns, "taskset", "-c", strconv.Itoa(cpu), program}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + l.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// twoCPUs are the first two that we may run on.
func twoCPUs() (out []int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read own CPUs: %w", err)
	}
	for c := range len(set) * 64 {
		if set.IsSet(c) {
			if out = append(out, c); len(out) == 2 {
				return out, nil
			}
		}
	}
	return nil, errors.New("needs two CPUs: one for the server, one for dnsperf")
}

// cpuSeconds is the user and system time that a process has used.
func cpuSeconds(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// After the name, which is in parentheses, the 12th and 13th fields are
	// the times in hundredths of a second.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is %q", pid, b)
	}
	user, err1 := strconv.ParseUint(f[11], 10, 64)
	system, err2 := strconv.ParseUint(f[12], 10, 64)
	return float64(user+system) / 100, errors.Join(err1, err2)
}
