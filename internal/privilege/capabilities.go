// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privilege

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limitedMarker in the environment says that the program was already run
// again with fewer capabilities. It is a hint to stop, never a proof: what
// the process has is read from the kernel.
const limitedMarker = "POSTERN_CAPABILITIES_LIMITED"

// LimitCapabilities leaves the process, and whatever it starts, with the
// capabilities in keep (unix.CAP_...) and no way to others. It must run first
// in main, before there is anything to lose: it takes the others from the
// bounding, permitted, effective and inheritable sets of this thread and runs
// the program again in its place, with the same arguments, environment and
// open files that survive exec, so that every thread of the new one starts
// with the small sets. In that second life it only checks and returns nil.
//
// A capability in keep that the process does not have is an error that names it.
func LimitCapabilities(keep []uintptr) error {
	want, err := maskOf(keep)
	if err != nil {
		return err
	}
	have, err := readStatus("/proc/thread-self/status")
	if err != nil {
		return fmt.Errorf("limit capabilities: %w", err)
	}
	if missing := want &^ have.permitted; missing != 0 {
		return fmt.Errorf("limit capabilities: the process lacks %s", Names(missing))
	}
	if os.Getenv(limitedMarker) != "" || have.permitted == want && have.bounding == want {
		os.Unsetenv(limitedMarker)
		return verify(func(s status) error {
			if s.permitted != want || s.effective&^want != 0 || s.bounding&^want != 0 {
				return fmt.Errorf("capabilities were not limited to %s: permitted %x, effective %x, bounding %x", Names(want), s.permitted, s.effective, s.bounding)
			}
			return nil
		})
	}

	runtime.LockOSThread() // for good: this thread becomes the new program
	for c := uintptr(0); c <= lastCapability(); c++ {
		if want&(1<<c) != 0 || have.bounding&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("limit capabilities: give up %s: %w", Names(1<<c), err)
		}
	}
	// Inheritable ones are only needed for the ambient set below; what root
	// starts as another user should find none.
	inheritable := want
	if os.Geteuid() == 0 {
		inheritable = 0
	}
	hdr, data := capData(want, want, inheritable)
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("limit capabilities to %s: %w", Names(want), err)
	}
	// User 0 gets permitted = bounding at exec by itself. For others the
	// ambient set carries them over.
	if os.Geteuid() != 0 {
		for _, c := range keep {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
				return fmt.Errorf("limit capabilities: keep %s over exec: %w", Names(1<<c), err)
			}
		}
	}
	env := append(os.Environ(), limitedMarker+"=1")
	return fmt.Errorf("limit capabilities: run the program again: %w", unix.Exec("/proc/self/exe", os.Args, env))
}

// Missing tells which of want (unix.CAP_...) the process does not have in its
// effective set, by name.
func Missing(want []uintptr) ([]string, error) {
	s, err := readStatus("/proc/thread-self/status")
	if err != nil {
		return nil, fmt.Errorf("read own capabilities: %w", err)
	}
	m, err := maskOf(want)
	if err != nil {
		return nil, err
	}
	if m &^= s.effective; m == 0 {
		return nil, nil
	}
	return strings.Split(Names(m), ","), nil
}

func maskOf(caps []uintptr) (uint64, error) {
	var m uint64
	for _, c := range caps {
		if c > lastCapability() {
			return 0, fmt.Errorf("capability %d does not exist on this kernel", c)
		}
		m |= 1 << c
	}
	return m, nil
}

// lastCapability is the highest number this kernel knows.
func lastCapability() uintptr {
	last := uintptr(unix.CAP_LAST_CAP)
	for c := last + 1; c < 64; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			break
		}
		last = c
	}
	return last
}

// dropBounding empties the bounding set of every thread except for keep. The
// right to do that (SETPCAP) may be lacking: then the sets themselves, which
// are emptied too, and no_new_privs are what holds.
func dropBounding(keep []uintptr) error {
	s, err := readStatus("/proc/thread-self/status")
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	if s.effective&(1<<unix.CAP_SETPCAP) == 0 {
		return nil
	}
	mask, err := maskOf(keep)
	if err != nil {
		return err
	}
	for c := uintptr(0); c <= lastCapability(); c++ {
		if mask&(1<<c) != 0 || s.bounding&(1<<c) == 0 {
			continue
		}
		if err := allThreads("give up "+Names(1<<c), unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// setCaps makes mask the permitted, effective and inheritable sets of every thread.
func setCaps(mask uint64) error {
	hdr, data := capData(mask, mask, mask)
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&hdr)
	runtime.KeepAlive(&data)
	return threadsError("set capabilities", errno)
}

func capData(effective, permitted, inheritable uint64) (unix.CapUserHeader, [2]unix.CapUserData) {
	var d [2]unix.CapUserData
	for i := range d {
		d[i] = unix.CapUserData{
			Effective: uint32(effective >> (32 * i)), Permitted: uint32(permitted >> (32 * i)), Inheritable: uint32(inheritable >> (32 * i)),
		}
	}
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, d
}

var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// Names writes a set of capabilities, bit n being capability n, as their
// names with commas between; "none" for the empty set.
func Names(mask uint64) string {
	var out []string
	for c := range 64 {
		switch {
		case mask&(1<<c) == 0:
		case c < len(capabilityNames):
			out = append(out, capabilityNames[c])
		default:
			out = append(out, fmt.Sprintf("CAP_%d", c))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ",")
}
