// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ProbeNamespace tries whether network namespaces can be made: one without a
// name, gone again before it returns.
func ProbeNamespace() error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return nil
	}, func() error { return nil })
}

// ProbeBPFFS tries whether a bpffs can be mounted: at a temporary directory,
// gone again before it returns.
func ProbeBPFFS() error {
	dir, err := os.MkdirTemp("", "postern-bpffs-")
	if err != nil {
		return fmt.Errorf("make a directory to mount a bpffs at: %w", err)
	}
	defer os.Remove(dir)
	if err := unix.Mount("postern-probe", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a bpffs: %w", err)
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the bpffs at %s again: %w", dir, err)
	}
	return nil
}
