// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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
	return nil, errors.New("needs two CPUs: one for the proxy, one for client and backend")
}

// tasks calls f for each thread of a process.
func tasks(pid int, f func(dir string, tid int) error) error {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, t := range list {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		// A thread may end meanwhile.
		if err := f(dir+"/"+t.Name(), tid); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// pin moves a process with all its threads to a CPU.
func pin(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return tasks(pid, func(_ string, tid int) error { return unix.SchedSetaffinity(tid, &set) })
}

// cpuTime is how long a process's threads have run, to the nanosecond; the times
// in /proc/PID/stat are in ticks of 10 ms. What threads that ended have used is
// not in it: a proxy's do not end.
func cpuTime(pid int) (total time.Duration, err error) {
	err = tasks(pid, func(dir string, _ int) error {
		b, err := os.ReadFile(dir + "/schedstat")
		if err != nil {
			return err
		}
		var ns int64
		if _, err := fmt.Sscan(string(b), &ns); err != nil {
			return fmt.Errorf("%s/schedstat is %q: %w", dir, b, err)
		}
		total += time.Duration(ns)
		return nil
	})
	return total, err
}

// resident is a process's memory in bytes: now, and at most since forget.
func resident(pid int) (now, most int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			most = n << 10
		}
	}
	if now == 0 || most == 0 {
		return 0, 0, fmt.Errorf("/proc/%d/status does not say how much memory it has", pid)
	}
	return now, most, nil
}

// forget lets the most that a process had begin anew.
func forget(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
