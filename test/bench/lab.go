// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// prefix starts the name of everything we make on the host.
	prefix = "pbench-"
	// serverPort is where the server of a path listens, askPort where a
	// client asks when something stands between them.
	serverPort = 8080
	askPort    = 80
	netnsDir   = "/run/netns"
)

// lab holds what was started and made, to end and remove it.
type lab struct {
	ctx      context.Context
	launch   *launcher
	dir      string // for files
	cpus     []int  // where clients, servers and proxies run
	mtu      int
	self     string
	cleanups []func() error
}

// close undoes everything, the last first.
func (l *lab) close() error {
	var errs []error
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, l.cleanups[i]())
	}
	l.cleanups = nil
	return errors.Join(errs...)
}

func (l *lab) undo(f func() error) { l.cleanups = append(l.cleanups, f) }

// bpffs is a bpf file system for the pins of datapaths that no agent runs.
func (l *lab) bpffs() (string, error) {
	dir := filepath.Join(l.dir, "bpf")
	if err := os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		return dir, nil // mounted before
	} else if err != nil {
		return "", err
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		return "", fmt.Errorf("mount a bpf file system: %w", err)
	}
	l.undo(func() error { return unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, nil
}

// missing is a path that cannot be built here for want of a program.
type missing struct{ what string }

func (m missing) Error() string { return m.what }

func need(program, hint string) (string, error) {
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		p := filepath.Join(dir, program)
		if unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	return "", missing{program + " is not installed: " + hint}
}

// run runs a program to its end.
func (l *lab) run(ns string, stdin string, program string, args ...string) error {
	cmd := exec.CommandContext(l.ctx, program, args...)
	cmd.Env = environment()
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.launch.start(cmd, ns, nil); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// ip runs iproute2, one command per line.
func (l *lab) ip(script string) error {
	for line := range strings.Lines(strings.TrimSpace(script)) {
		if err := l.run("", "", "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// namespace makes one of our namespaces and answers its path.
func (l *lab) namespace(name string) (string, error) {
	name = prefix + name
	if err := l.run("", "", "ip", "netns", "add", name); err != nil {
		return "", err
	}
	l.undo(func() error { return removeNamespace(name) })
	ns := filepath.Join(netnsDir, name)
	if err := l.tune(ns); err != nil {
		return "", err
	}
	return ns, l.run("", "", "ip", "-n", name, "link", "set", "lo", "up")
}

// tune gives a namespace with a client, server or proxy in it what all paths
// get alike: enough ports that a sample need not use one twice, and no IPv6
// chatter.
func (l *lab) tune(ns string, more ...string) error {
	settings := append([]string{
		"net/ipv4/ip_local_port_range=1024 65535", "net/ipv4/tcp_tw_reuse=1", "net/core/somaxconn=4096",
		"net/ipv6/conf/default/disable_ipv6=1",
	}, more...)
	return l.launch.in(ns, nil, func() error {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
			if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "net/ipv6/") {
				continue // a kernel without it is as quiet
			}
			if err != nil {
				return fmt.Errorf("set sysctl in %s: %w", ns, err)
			}
		}
		return nil
	})
}

// serve starts a server on the path's CPUs.
func (l *lab) serve(ns string, args ...string) (*exec.Cmd, error) {
	cmd := l.generator(append([]string{"serve"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.launch.start(cmd, ns, l.cpus); err != nil {
		return nil, err
	}
	l.undo(func() error { return end(cmd, unix.SIGKILL, 0) })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "listening\n" {
		return nil, fmt.Errorf("the server in %s said %q instead of listening: %w", ns, line, err)
	}
	return cmd, nil
}

// generator prepares a process of this program as traffic generator. Nothing
// of the runtime shall interrupt it, and every connection's thread keeps its
// place in the runtime while it waits in the kernel: the CPU is shared anyway.
func (l *lab) generator(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.ctx, l.self, append([]string{"traffic"}, args...)...)
	cmd.Env = environment("GOMAXPROCS=16", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// end signals a process, waits for it, and kills it after the grace.
func end(cmd *exec.Cmd, sig syscall.Signal, grace time.Duration) error {
	done := make(chan struct{})
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", filepath.Base(cmd.Path), err)
	}
	go func() { cmd.Wait(); close(done) }()
	if grace > 0 {
		select {
		case <-done:
			return nil
		case <-time.After(grace):
			cmd.Process.Kill()
			<-done
			return fmt.Errorf("%s did not end within %v and was killed", filepath.Base(cmd.Path), grace)
		}
	}
	<-done
	return nil
}

// reachable waits until the path carries a byte.
func (l *lab) reachable(p *path) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := l.launch.in(p.clientNS, nil, func() error { return oneConnection(p.to) })
		if err == nil {
			return nil
		}
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("path %s carries nothing: %w", p.name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// removeNamespace ends what runs in one of our namespaces and removes it with
// its devices and rules.
func removeNamespace(name string) error {
	if !strings.HasPrefix(name, prefix) {
		return fmt.Errorf("namespace %s is not ours", name)
	}
	if out, err := exec.Command("ip", "netns", "pids", name).Output(); err == nil {
		for f := range strings.FieldsSeq(string(out)) {
			if pid, err := strconv.Atoi(f); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
		return fmt.Errorf("remove namespace %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}
