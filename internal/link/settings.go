// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// settings are the values below /proc/sys/net, always of the calling thread's
// network namespace. They are reached through a procfs of their own, mounted
// nowhere: in one procfs the kernel keeps what all namespaces have under one
// name in one chain and walks it for every access, so that with a thousand
// namespaces on the host those walks would be most of the work of starting
// another.
type settings struct{ root int }

func openSettings() (settings, error) {
	if fd, err := ownProc(); err == nil {
		return settings{fd}, nil
	}
	// Slower, but there: before Linux 5.2, or in a container that may not mount.
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return settings{}, fmt.Errorf("open /proc: %w", err)
	}
	return settings{fd}, nil
}

func ownProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

func (s settings) close() { unix.Close(s.root) }

// haveIPv6 reports whether this kernel has IPv6 at all.
func (s settings) haveIPv6() bool {
	return unix.Faccessat(s.root, "sys/net/ipv6/conf", unix.F_OK, 0) == nil
}

// get reads a value by its name below /proc/sys/net.
func (s settings) get(name string) (string, error) {
	f, err := s.open(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(f)
	return readSetting(f, name)
}

// set writes only what differs, so that a read-only /proc/sys with the right
// values will do. Settings of IPv6 are skipped on a kernel without it.
func (s settings) set(pairs ...[2]string) error {
	for _, p := range pairs {
		err := s.setOne(p[0], p[1])
		if errors.Is(err, unix.ENOENT) && strings.HasPrefix(p[0], "ipv6/") && !s.haveIPv6() {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s settings) setOne(name, value string) error {
	f, err := s.open(name, unix.O_RDWR)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		have, rerr := s.get(name)
		if rerr == nil && have == value {
			return nil
		}
		return fmt.Errorf("set to %q: %w", value, err)
	}
	if err != nil {
		return err
	}
	defer unix.Close(f)
	have, err := readSetting(f, name)
	if err != nil || have == value {
		return err
	}
	if _, err := unix.Pwrite(f, []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl net/%s to %q: %w", name, value, err)
	}
	return nil
}

func (s settings) open(name string, mode int) (int, error) {
	f, err := unix.Openat(s.root, "sys/net/"+name, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open sysctl net/%s: %w", name, err)
	}
	return f, nil
}

func readSetting(f int, name string) (string, error) {
	var b [128]byte
	n, err := unix.Pread(f, b[:], 0)
	if err != nil {
		return "", fmt.Errorf("read sysctl net/%s: %w", name, err)
	}
	return strings.Join(strings.Fields(string(b[:n])), " "), nil
}
