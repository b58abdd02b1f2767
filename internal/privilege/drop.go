// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privilege

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DropTo makes every thread of the process uid and gid, without further
// groups, capabilities or a way to get any: no_new_privs keeps set-user-id
// programs from helping. It fails for uid or gid 0 and where it cannot be
// done (SETUID, SETGID and the SETPCAP for emptying the bounding set need
// root). A process that already is that user without capabilities passes.
func DropTo(uid, gid int) error {
	if uid <= 0 || gid <= 0 {
		return fmt.Errorf("drop privileges to user %d, group %d: both must be above 0", uid, gid)
	}
	if err := setNoNewPrivs(); err != nil {
		return err
	}
	already := os.Getuid() == uid && os.Geteuid() == uid && os.Getgid() == gid && os.Getegid() == gid
	if !already {
		if err := dropBounding(nil); err != nil && !errors.Is(err, errCgo) {
			return err
		}
		// These act on all threads. The order matters: the right to change
		// groups goes with the user.
		if err := syscall.Setgroups([]int{}); err != nil {
			return fmt.Errorf("drop supplementary groups: %w", err)
		}
		if err := syscall.Setresgid(gid, gid, gid); err != nil {
			return fmt.Errorf("become group %d: %w", gid, err)
		}
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return fmt.Errorf("become user %d: %w", uid, err)
		}
	}
	// Leaving user 0 empties the sets unless a securebit says otherwise; this
	// does it in any case where it can, and verify looks either way.
	if err := allThreads("drop ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); err != nil && !errors.Is(err, errCgo) {
		return err
	}
	if err := setCaps(0); err != nil && !errors.Is(err, errCgo) {
		return err
	}
	return verify(func(s status) error {
		for _, id := range s.uids {
			if id != uid {
				return fmt.Errorf("user is still %v", s.uids)
			}
		}
		for _, id := range s.gids {
			if id != gid {
				return fmt.Errorf("group is still %v", s.gids)
			}
		}
		if s.effective|s.permitted|s.inheritable|s.ambient != 0 {
			return fmt.Errorf("capabilities are left: effective %x, permitted %x, inheritable %x, ambient %x", s.effective, s.permitted, s.inheritable, s.ambient)
		}
		if !s.noNewPrivs {
			return errors.New("no_new_privs is not set")
		}
		if !already && len(s.groups) != 0 {
			return fmt.Errorf("supplementary groups are left: %v", s.groups)
		}
		return nil
	})
}

// errCgo says that the binary was linked with C code, whose threads the Go
// runtime cannot make a system call on. The set*id calls still reach all
// threads, through the C library.
var errCgo = errors.New("not possible in a binary built with cgo")

// allThreads makes a system call on every thread of the process.
func allThreads(what string, trap, a1, a2, a3, a4, a5, a6 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, a4, a5, a6)
	return threadsError(what, errno)
}

func threadsError(what string, errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return fmt.Errorf("%s on all threads: %w", what, errCgo)
	}
	return fmt.Errorf("%s: %w", what, errno)
}

// setNoNewPrivs sets no_new_privs on every thread. With cgo it goes by way of
// a seccomp filter that allows everything: installing one with TSYNC gives
// all threads this thread's no_new_privs.
func setNoNewPrivs() error {
	err := allThreads("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if !errors.Is(err, errCgo) {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	prog := unix.SockFprog{Len: 1, Filter: &filter[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("set no_new_privs on all threads: %w", errno)
	}
	if tid != 0 {
		return fmt.Errorf("set no_new_privs: thread %d has a seccomp filter of its own", tid)
	}
	return nil
}

// status is what the kernel says about one thread.
type status struct {
	uids, gids                                           []int
	groups                                               []int
	inheritable, permitted, effective, bounding, ambient uint64
	noNewPrivs                                           bool
}

// verify applies check to every thread of the process.
func verify(check func(status) error) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("check privileges: %w", err)
	}
	seen := 0
	for _, t := range tasks {
		s, err := readStatus(filepath.Join("/proc/self/task", t.Name(), "status"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return fmt.Errorf("check privileges: %w", err)
		}
		seen++
		if err := check(s); err != nil {
			return fmt.Errorf("thread %s: %w", t.Name(), err)
		}
	}
	if seen == 0 {
		return errors.New("check privileges: no thread could be read")
	}
	return nil
}

func readStatus(path string) (status, error) {
	var s status
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	found := 0
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		key, rest, _ := strings.Cut(sc.Text(), ":")
		fields := strings.Fields(rest)
		switch key {
		case "Uid", "Gid", "Groups":
			ids, err := numbers(fields)
			if err != nil {
				return s, fmt.Errorf("%s in %s: %w", key, path, err)
			}
			*map[string]*[]int{"Uid": &s.uids, "Gid": &s.gids, "Groups": &s.groups}[key] = ids
			found++
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
			v, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
			if err != nil {
				return s, fmt.Errorf("%s in %s: %w", key, path, err)
			}
			*map[string]*uint64{"CapInh": &s.inheritable, "CapPrm": &s.permitted, "CapEff": &s.effective,
				"CapBnd": &s.bounding, "CapAmb": &s.ambient}[key] = v
			found++
		case "NoNewPrivs":
			s.noNewPrivs = strings.TrimSpace(rest) == "1"
			found++
		}
	}
	if err := sc.Err(); err != nil {
		return s, err
	}
	if found != 9 {
		return s, fmt.Errorf("%s does not say all about users and capabilities", path)
	}
	return s, nil
}

func numbers(fields []string) ([]int, error) {
	var out []int
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}
