// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one that was found inside a namespace.
type Process struct {
	PID  int
	Name string // as the kernel knows it, at most 15 bytes
}

// handle holds a process by its pidfd: unlike a number it cannot come to mean
// another process.
type handle struct {
	Process
	fd int
}

// processesIn opens every process whose network namespace is in ids, except
// this one. The caller closes the handles.
func processesIn(ids map[nsID]bool) ([]handle, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []handle
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == 1 {
			continue
		}
		path := "/proc/" + e.Name() + "/ns/net"
		id, err := nsIDOf(path)
		if err != nil || !ids[id] {
			continue // not inside, or gone, or a zombie
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// The number may have been given to another process before the open.
		if again, err := nsIDOf(path); err != nil || again != id {
			unix.Close(fd)
			continue
		}
		name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		out = append(out, handle{Process{pid, strings.TrimSpace(string(name))}, fd})
	}
	return out, nil
}

func closeHandles(hs []handle) {
	for _, h := range hs {
		unix.Close(h.fd)
	}
}

// waitAll waits until every process has ended or the time is over.
func waitAll(hs []handle, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for _, h := range hs {
		for {
			left := time.Until(deadline).Milliseconds()
			if left < 0 {
				left = 0
			}
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int(left))
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}

// endProcesses asks every process in the namespaces to end (SIGTERM), gives
// them grace, and then ends what is left (SIGKILL), including what was started
// meanwhile. It returns those it signalled.
func endProcesses(ids map[nsID]bool, grace time.Duration) ([]Process, error) {
	var ended []Process
	seen := map[int]bool{}
	sig, limit := unix.SIGTERM, grace
	for range 6 {
		hs, err := processesIn(ids)
		if err != nil || len(hs) == 0 {
			return ended, err
		}
		for _, h := range hs {
			if !seen[h.PID] {
				seen[h.PID] = true
				ended = append(ended, h.Process)
			}
			if err := unix.PidfdSendSignal(h.fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				closeHandles(hs)
				return ended, fmt.Errorf("end process %d (%s): %w", h.PID, h.Name, err)
			}
		}
		waitAll(hs, limit)
		closeHandles(hs)
		sig, limit = unix.SIGKILL, 2*time.Second
	}
	hs, err := processesIn(ids)
	closeHandles(hs)
	if err == nil && len(hs) > 0 {
		err = fmt.Errorf("process %d (%s) and %d more do not end", hs[0].PID, hs[0].Name, len(hs)-1)
	}
	return ended, err
}
