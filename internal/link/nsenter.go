// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NsenterCommand is the hidden subcommand that Command runs; the binary's main
// gives the arguments after it to NsenterMain.
const NsenterCommand = "nsenter"

// HostEntry is one line for /etc/hosts.
type HostEntry struct {
	Addr  netip.Addr
	Names []string
}

// Options say what a command run in a workload's namespace sees of names.
type Options struct {
	// Names are how it resolves names; nil leaves /etc/resolv.conf alone.
	Names *Names
	// Hosts are added to what /etc/hosts says.
	Hosts []HostEntry
}

// Names are the whole of a resolv.conf.
type Names struct {
	Servers []netip.Addr // without one, nothing is resolved
	Search  []string     // domains that names without a dot are tried in
}

// Command is argv to be run in the namespace at nsPath with env (nil for this
// process's own), with its own view of the files that say how names are
// resolved. It runs this program again (NsenterCommand), which changes its
// own namespaces and then becomes argv, so no thread of the caller ever
// changes. The caller sets the streams and starts it. Exit codes are argv's.
func Command(ctx context.Context, nsPath string, opts Options, argv, env []string) (*exec.Cmd, error) {
	if len(argv) == 0 {
		return nil, errors.New("no command given to run in the namespace")
	}
	args := []string{NsenterCommand, "--netns=" + nsPath}
	if n := opts.Names; n != nil {
		args = append(args, "--names")
		for _, a := range n.Servers {
			args = append(args, "--server="+a.String())
		}
		for _, s := range n.Search {
			args = append(args, "--search="+s)
		}
	}
	for _, h := range opts.Hosts {
		args = append(args, "--host="+h.Addr.String()+" "+strings.Join(h.Names, " "))
	}
	args = append(append(args, "--"), argv...)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = env
	return cmd, nil
}

// NsenterMain runs `postern nsenter` with the arguments Command made. It
// returns only on failure; a command that is not found wraps exec.ErrNotFound.
func NsenterMain(args []string) error {
	var path string
	var opts Options
	var names Names
	var own bool
	fs := flag.NewFlagSet(NsenterCommand, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&path, "netns", "", "network namespace to enter")
	fs.BoolVar(&own, "names", false, "a resolv.conf of its own, of servers and search domains")
	fs.Func("server", "address of a name server", func(s string) error {
		a, err := netip.ParseAddr(s)
		names.Servers = append(names.Servers, a)
		return err
	})
	fs.Func("search", "search domain", func(s string) error {
		names.Search = append(names.Search, s)
		return nil
	})
	fs.Func("host", "address and names for /etc/hosts", func(s string) error {
		f := strings.Fields(s)
		if len(f) < 2 {
			return fmt.Errorf("%q: give an address and a name", s)
		}
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			return err
		}
		opts.Hosts = append(opts.Hosts, HostEntry{a, f[1:]})
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", NsenterCommand, err)
	}
	if own {
		opts.Names = &names
	}
	argv := fs.Args()
	if len(argv) == 0 {
		return fmt.Errorf("%s: no command given", NsenterCommand)
	}
	bin, err := exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	runtime.LockOSThread() // for good: execve takes over from this thread
	if err := Enter(path, opts); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", argv[0], unix.Exec(bin, argv, os.Environ()))
}

// Enter moves the calling thread, which must be locked and is never to be
// unlocked, into the network namespace at nsPath and into a mount namespace of
// its own whose name resolution files are replaced as opts says. Mounts made
// in it stay in it; the host's later unmounts still arrive, so that a process
// in here does not hold on to namespaces that are removed.
func Enter(nsPath string, opts Options) error {
	ns, err := openNamespace(nsPath)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace (CAP_SYS_ADMIN is needed): %w", err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep our mounts to ourselves: %w", err)
	}
	if err := bindNames("/", opts); err != nil {
		return err
	}
	if err := netns.Set(netns.NsHandle(ns.Fd())); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", nsPath, err)
	}
	return nil
}

// bindNames mounts generated files over the ones below root.
func bindNames(root string, opts Options) error {
	if opts.Names != nil {
		if err := bindFile(filepath.Join(root, "etc/resolv.conf"), resolvConf(*opts.Names)); err != nil {
			return err
		}
		nss := filepath.Join(root, "etc/nsswitch.conf")
		if have, err := os.ReadFile(nss); err == nil {
			if want, changed := filesAndDNS(string(have)); changed {
				if err := bindFile(nss, want); err != nil {
					return err
				}
			}
		}
		// The C library asks a name service cache on the host before it looks
		// at any file; the socket's directory is covered.
		nscd := filepath.Join(root, "run/nscd")
		if st, err := os.Stat(nscd); err == nil && st.IsDir() {
			if err := unix.Mount("postern-empty", nscd, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=0755"); err != nil {
				return fmt.Errorf("cover %s: %w", nscd, err)
			}
		}
	}
	if len(opts.Hosts) > 0 {
		path := filepath.Join(root, "etc/hosts")
		have, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("read %s: %w", path, err)
		}
		return bindFile(path, hostsFile(string(have), opts.Hosts))
	}
	return nil
}

func resolvConf(n Names) string {
	var b strings.Builder
	search := n.Search
	if len(search) == 0 {
		search = []string{"."} // without the line, the host's own name says a domain
	}
	fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	for _, a := range n.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	b.WriteString("options timeout:2 attempts:3\n")
	return b.String()
}

func hostsFile(have string, add []HostEntry) string {
	var b strings.Builder
	b.WriteString(have)
	if have != "" && !strings.HasSuffix(have, "\n") {
		b.WriteByte('\n')
	}
	for _, h := range add {
		fmt.Fprintf(&b, "%s %s\n", h.Addr, strings.Join(h.Names, " "))
	}
	return b.String()
}

// filesAndDNS is nsswitch.conf with no other sources of host names than files
// and dns: systemd's resolver, mDNS and the like would ask the host's network.
func filesAndDNS(conf string) (string, bool) {
	lines := strings.Split(conf, "\n")
	changed := false
	for i, line := range lines {
		code, _, _ := strings.Cut(line, "#")
		db, sources, ok := strings.Cut(strings.TrimSpace(code), ":")
		if !ok || strings.TrimSpace(db) != "hosts" {
			continue
		}
		if f := strings.Fields(sources); len(f) != 2 || f[0] != "files" || f[1] != "dns" {
			lines[i] = "hosts: files dns"
			changed = true
		}
	}
	return strings.Join(lines, "\n"), changed
}

// bindFile mounts a file with content over path. The file has no name of its
// own afterwards: it lives as long as the mount.
func bindFile(path, content string) error {
	target, err := mountTarget(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "postern-names-")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := unix.Mount(f.Name(), target, "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}

// mountTarget follows path's symbolic links to the file to mount over, and
// makes an empty one where they lead to nothing: an empty resolv.conf means
// the same to the host as a missing one.
func mountTarget(path string) (string, error) {
	at := path
	for range 40 {
		to, err := os.Readlink(at)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("follow %s: %w", path, err)
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(at))
			if err != nil {
				dir = filepath.Dir(at)
			}
			to = filepath.Join(dir, to)
		}
		at = to
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return "", fmt.Errorf("make a file for %s to lead to: %w", path, err)
	}
	f, err := os.OpenFile(at, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return "", fmt.Errorf("make a file for %s to lead to: %w", path, err)
	}
	return at, f.Close()
}
