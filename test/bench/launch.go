// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcher is one operating system thread that goes into namespaces and onto
// CPUs for others. A process started there inherits both, so a generator needs
// neither code nor rights to do it itself; and because the thread lives as
// long as we do, "kill the child when its parent thread ends" means when we end.
type launcher struct{ work chan func() }

func newLauncher() (*launcher, error) {
	l := &launcher{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is this goroutine's alone
		ready <- nil
		for f := range l.work {
			f()
		}
	}()
	return l, <-ready
}

// in runs f on the thread, inside the network namespace at path ns ("" is
// ours) and on the given CPUs (none is as before).
func (l *launcher) in(ns string, cpus []int, f func() error) error {
	done := make(chan error)
	l.work <- func() { done <- visit(ns, cpus, f) }
	return <-done
}

func visit(ns string, cpus []int, f func() error) (err error) {
	if ns != "" {
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return fmt.Errorf("open own network namespace: %w", err)
		}
		defer home.Close()
		there, err := os.Open(ns)
		if err != nil {
			return fmt.Errorf("open network namespace: %w", err)
		}
		defer there.Close()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", ns, err)
		}
		defer func() {
			if e := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); e != nil {
				err = errors.Join(err, fmt.Errorf("come back from network namespace %s: %w", ns, e))
			}
		}()
	}
	if len(cpus) > 0 {
		var before unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return fmt.Errorf("read own CPUs: %w", err)
		}
		set := cpuSet(cpus)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("go to CPU %v: %w", cpus, err)
		}
		defer func() {
			if e := unix.SchedSetaffinity(0, &before); e != nil {
				err = errors.Join(err, fmt.Errorf("come back from CPU %v: %w", cpus, e))
			}
		}()
	}
	return f()
}

// start starts cmd in a namespace and on CPUs. The process dies with us.
func (l *launcher) start(cmd *exec.Cmd, ns string, cpus []int) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := l.in(ns, cpus, cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

func cpuSet(cpus []int) (s unix.CPUSet) {
	for _, c := range cpus {
		s.Set(c)
	}
	return s
}

// allowedCPUs are those we may run on, in order.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read own CPUs: %w", err)
	}
	var out []int
	for c := range len(set) * 64 {
		if set.IsSet(c) {
			out = append(out, c)
		}
	}
	return out, nil
}

// pin moves a running process with all its threads.
func pin(pid int, cpus []int) error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return fmt.Errorf("list threads of %d: %w", pid, err)
	}
	set := cpuSet(cpus)
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("move thread %d of %d to CPU %v: %w", tid, pid, cpus, err)
		}
	}
	return nil
}

// environment is all that a program we start sees.
func environment(more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"}, more...)
}
