// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func bpfSource(tag string) string { return aliasWord + "-" + tag }

// MountBPF mounts a bpffs of our own at dir (absolute), if it is not there
// yet. Not below /sys/fs/bpf: tools such as `ip netns exec` mount over /sys
// and would hide it.
func (l *Links) MountBPF(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir = filepath.Clean(dir)
	if !filepath.IsAbs(dir) || dir == "/" {
		return fmt.Errorf("bpffs at %q: give an absolute path of a directory of our own", dir)
	}
	if err := l.ensureRunDir(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory for bpffs: %w", err)
	}
	here, err := mountAt(dir)
	if err != nil {
		return err
	}
	if here != nil {
		if here.fstype == "bpf" && here.source == bpfSource(l.cfg.Tag) {
			return nil
		}
		return fmt.Errorf("%s has a %s of %q mounted: unmount it or choose another directory", dir, here.fstype, here.source)
	}
	if err := unix.Mount(bpfSource(l.cfg.Tag), dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s (CAP_SYS_ADMIN and a kernel with BPF are needed): %w", dir, err)
	}
	return nil
}

// UnmountBPF undoes MountBPF; what was pinned there is let go. Nothing mounted
// is success, somebody else's mount is an error.
func (l *Links) UnmountBPF(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return unmountBPF(l.cfg.Tag, filepath.Clean(dir))
}

func unmountBPF(tag, dir string) error {
	for range 16 {
		here, err := mountAt(dir)
		if err != nil || here == nil {
			return err
		}
		if here.fstype != "bpf" || here.source != bpfSource(tag) {
			return fmt.Errorf("%s has a %s of %q mounted, which is not ours: not touched", dir, here.fstype, here.source)
		}
		err = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount bpffs %s: %w", dir, err)
		}
	}
	return nil
}

// mountAt is the topmost mount at dir, nil if dir is no mount point.
func mountAt(dir string) (*mountLine, error) {
	ms, err := mounts()
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for i := len(ms) - 1; i >= 0; i-- {
		if ms[i].point == dir {
			return &ms[i], nil
		}
	}
	return nil, nil
}
