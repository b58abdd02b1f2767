// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 looks for named namespaces.
const netnsDir = "/run/netns"

// serviceOwner stands in aliases and names for the service port, which has no
// interface id.
const serviceOwner = "service"

func namespaceName(tag, owner string) string { return aliasWord + "-" + tag + "-" + owner }

func namespacePath(name string) string { return filepath.Join(netnsDir, name) }

// NamespacePath is the path of an instance's namespace, whether or not it
// exists now; `ip netns exec` takes its last element.
func (l *Links) NamespacePath(instance string) string {
	return namespacePath(namespaceName(l.cfg.Tag, instance))
}

// parseNamespace splits a namespace's name into tag and owner.
func parseNamespace(name string) (tag, owner string, ok bool) {
	rest, ok := strings.CutPrefix(name, aliasWord+"-")
	if !ok {
		return "", "", false
	}
	tag, owner, ok = strings.Cut(rest, "-")
	if !ok || owner == "" || checkTag(tag) != nil {
		return "", "", false
	}
	return tag, owner, true
}

// nsID tells two namespaces apart.
type nsID struct{ dev, ino uint64 }

func nsIDOf(path string) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return nsID{dev: uint64(st.Dev), ino: st.Ino}, nil
}

// openNamespace opens path and makes sure that it is a namespace.
func openNamespace(path string) (*os.File, error) {
	h, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	f := os.NewFile(uintptr(h), path)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(h), &st); err != nil || st.Type != unix.NSFS_MAGIC {
		f.Close()
		return nil, fmt.Errorf("%s is not a namespace (its creation was interrupted, or nothing is mounted there)", path)
	}
	return f, nil
}

// onThread runs fn on an operating system thread of its own. enter moves the
// thread into another namespace; afterwards it is moved back, and if that
// fails the thread is thrown away (a goroutine that ends while locked takes
// its thread with it), so no other goroutine ever runs in a foreign namespace.
func onThread(enter, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		defer close(done) // a test's fn may end the goroutine
		runtime.LockOSThread()
		home, err := netns.GetFromPath("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := enter(); err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = fn()
		if back := netns.Set(home); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// inNamespace runs fn on a thread inside ns. Everything fn opens by name
// below /proc/sys/net and every socket it makes is that namespace's.
func inNamespace(ns *os.File, fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(netns.NsHandle(ns.Fd())); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", ns.Name(), err)
		}
		return nil
	}, fn)
}

// mount is one line of /proc/self/mountinfo.
type mountLine struct {
	root, point, fstype, source string
}

func mounts() ([]mountLine, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	var out []mountLine
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		pre, post := strings.Fields(before), strings.Fields(after)
		if !ok || len(pre) < 6 || len(post) < 2 {
			continue
		}
		out = append(out, mountLine{root: pre[3], point: unescape(pre[4]), fstype: post[0], source: unescape(post[1])})
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return out, nil
}

// unescape undoes mountinfo's octal escapes of blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// namespaces lists named namespaces of tag ("" for every installation) by
// name, with the inode number that mountinfo gives ("" when a file is there
// but nothing is mounted: its creation was interrupted).
func namespaces(tag string) (map[string]string, error) {
	ms, err := mounts()
	if err != nil {
		return nil, err
	}
	dir := netnsDir
	if real, err := filepath.EvalSymlinks(netnsDir); err == nil {
		dir = real
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	out := map[string]string{}
	for _, e := range entries {
		if t, _, ok := parseNamespace(e.Name()); ok && (tag == "" || t == tag) && e.Type().IsRegular() {
			out[e.Name()] = ""
		}
	}
	for _, m := range ms {
		if m.fstype != "nsfs" || filepath.Dir(m.point) != dir || !strings.HasPrefix(m.root, "net:[") {
			continue
		}
		if t, _, ok := parseNamespace(filepath.Base(m.point)); ok && (tag == "" || t == tag) {
			out[filepath.Base(m.point)] = strings.Trim(m.root, "net:[]")
		}
	}
	return out, nil
}

// prepareNetnsDir does what `ip netns add` does: /run/netns becomes a shared
// mount, so that a namespace removed here is also let go by processes that
// have a mount namespace of their own.
func prepareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", netnsDir, err)
	}
	d, err := os.Open(netnsDir)
	if err != nil {
		return fmt.Errorf("open %s: %w", netnsDir, err)
	}
	defer d.Close()
	// iproute2 takes the same lock, against two of us binding it twice.
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("make %s a shared mount (CAP_SYS_ADMIN is needed): %w", netnsDir, err)
	}
	return nil
}

// makeNamespace creates the named namespace and runs fn on a thread inside it,
// given the namespace
// and its inode number. prepareNetnsDir comes first.
func makeNamespace(name string, fn func(ns *os.File, inode string) error) error {
	path := namespacePath(name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("make network namespace %s: %w", name, err)
	}
	f.Close()
	named := false
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace %s (CAP_SYS_ADMIN is needed): %w", name, err)
		}
		return nil
	}, func() error {
		ns, err := openNamespace("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Mount(ns.Name(), path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("name network namespace %s: %w", name, err)
		}
		named = true
		var st unix.Stat_t
		if err := unix.Fstat(int(ns.Fd()), &st); err != nil {
			return fmt.Errorf("look at network namespace %s: %w", name, err)
		}
		return fn(ns, strconv.FormatUint(st.Ino, 10))
	})
	if !named {
		os.Remove(path)
	}
	return err
}

// endGrace is how long processes inside a namespace that is removed have
// between SIGTERM and SIGKILL.
const endGrace = 3 * time.Second

// removeNamespaces ends the processes inside the named namespaces and removes
// the names; the kernel frees a namespace when nothing is left in it. A name
// that does not exist counts as removed. The result has the processes ended
// and the errors by name.
func removeNamespaces(names []string) (ended []Process, errs map[string]error) {
	errs = map[string]error{}
	inside := map[nsID]bool{}
	var mounted []string
	for _, n := range names {
		if _, _, ok := parseNamespace(n); !ok {
			errs[n] = fmt.Errorf("namespace %s was not made by us", n)
			continue
		}
		f, err := openNamespace(namespacePath(n))
		if err != nil {
			mounted = append(mounted, n) // only a leftover file, or nothing
			continue
		}
		f.Close()
		id, err := nsIDOf(namespacePath(n))
		if err != nil {
			errs[n] = err
			continue
		}
		if isHostNamespace(id) {
			errs[n] = fmt.Errorf("namespace %s is the host's own: not touched", n)
			continue
		}
		inside[id] = true
		mounted = append(mounted, n)
	}
	ended, err := endProcesses(inside, endGrace)
	for _, n := range mounted {
		if rmErr := unnameNamespace(n); rmErr != nil {
			errs[n] = rmErr
		} else if err != nil && errs[n] == nil && len(inside) > 0 {
			// The name is gone but something may still hold the namespace.
			errs[n] = err
		}
	}
	return ended, errs
}

// unnameNamespace unmounts and removes the name.
func unnameNamespace(name string) error {
	path := namespacePath(name)
	for range 16 { // mounts can be stacked by an interrupted run
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount network namespace %s: %w", name, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// isHostNamespace reports whether id is the namespace of this process or of
// the first process, which nothing here may ever empty.
func isHostNamespace(id nsID) bool {
	for _, p := range []string{"/proc/self/ns/net", "/proc/1/ns/net"} {
		if own, err := nsIDOf(p); err == nil && own == id {
			return true
		}
	}
	return false
}
