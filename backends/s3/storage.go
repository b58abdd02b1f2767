// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"golang.org/x/sys/unix"
)

// maxCopy is the largest object that one request copies, S3's 5 GiB. The gateway's
// own default is none at all.
const maxCopy = 5 << 30

// openStorage prepares dir and returns the backend on it and how it keeps metadata, "xattr" or "sidecar".
//
//	dir/lock      held by the running process, so that two never share a directory
//	dir/buckets   one directory per bucket, one file per object
//	dir/versions  older versions of objects in buckets with versioning
//	dir/sidecar   metadata, in directories that have it; else metadata is in extended attributes of the files
//
// want is "auto", "xattr" or "sidecar". A directory keeps the kind it began with: metadata left behind in the other
// kind would make buckets without an owner. openStorage changes the working directory of the process.
func openStorage(dir, want string) (be *posix.Posix, kind string, err error) {
	buckets, versions, sidecar := filepath.Join(dir, "buckets"), filepath.Join(dir, "versions"), filepath.Join(dir, "sidecar")
	for _, d := range []string{dir, buckets, versions} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, "", fmt.Errorf("create object directory: %w", err)
		}
	}
	if err := lock(filepath.Join(dir, "lock")); err != nil {
		return nil, "", err
	}
	if kind, err = metadataKind(buckets, sidecar, want); err != nil {
		return nil, "", err
	}
	opts := posix.PosixOpts{VersioningDir: versions, ValidateBucketNames: true, CopyObjectThreshold: maxCopy}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	var storer meta.MetadataStorer = meta.XattrMeta{}
	if kind == "sidecar" {
		if err := os.MkdirAll(sidecar, 0o700); err != nil {
			return nil, "", fmt.Errorf("create sidecar directory: %w", err)
		}
		if storer, err = meta.NewSideCar(sidecar); err != nil {
			return nil, "", fmt.Errorf("sidecar directory %s: %w", sidecar, err)
		}
		opts.SideCarDir = sidecar
	}
	be, err = posix.New(buckets, storer, opts)
	return be, kind, err
}

// metadataKind decides between extended attributes and the sidecar directory.
func metadataKind(buckets, sidecar, want string) (string, error) {
	_, err := os.Stat(sidecar)
	hasSidecar := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	entries, err := os.ReadDir(buckets)
	if err != nil {
		return "", err
	}
	var current string // the kind in use; "" in a new directory
	switch {
	case hasSidecar:
		current = "sidecar"
	case len(entries) > 0:
		current = "xattr"
	}
	if want == "auto" {
		want = current
	}
	if want == "" {
		want = "sidecar"
		if supportsXattr(buckets) == nil {
			want = "xattr"
		}
	}
	if current != "" && want != current {
		return "", fmt.Errorf("%s holds buckets with %s metadata: use --metadata %s, or another directory", buckets, current, current)
	}
	if want == "xattr" {
		if err := supportsXattr(buckets); err != nil {
			return "", fmt.Errorf("%s must support user extended attributes: %w", buckets, err)
		}
	}
	return want, nil
}

// supportsXattr sets and removes an attribute on dir; some filesystems answer reads and refuse writes.
func supportsXattr(dir string) error {
	const name = "user.postern.probe"
	if err := unix.Setxattr(dir, name, []byte("1"), 0); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return unix.Removexattr(dir, name)
}

// lock takes path for the life of the process.
func lock(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("lock file %s: %w", path, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return fmt.Errorf("%s is held by another postern-s3: stop it or use another --dir (%w)", path, err)
	}
	return nil
}
