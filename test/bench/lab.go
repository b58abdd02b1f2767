// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
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

// path is one way from a client to a server, ready to use.
type path struct {
	name     string
	about    string // for the reader of the JSON
	clientNS string // path of the client's namespace
	to       netip.AddrPort
	// What must move when the CPUs change: the server, and the proxy if any.
	server, proxy *exec.Cmd
}

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
func (l *lab) serve(ns string) (*exec.Cmd, error) {
	cmd := l.generator("serve")
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
// of the runtime shall interrupt it.
func (l *lab) generator(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.ctx, l.self, append([]string{"traffic"}, args...)...)
	cmd.Env = environment("GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
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

// direct is a veth pair and nothing else.
func (l *lab) direct(name string) (*path, error) {
	if _, err := need("ip", "install the package iproute2"); err != nil {
		return nil, err
	}
	c, err := l.namespace(name + "-c")
	if err != nil {
		return nil, err
	}
	s, err := l.namespace(name + "-s")
	if err != nil {
		return nil, err
	}
	C, S, mtu := prefix+name+"-c", prefix+name+"-s", strconv.Itoa(l.mtu)
	if err := l.ip(`
link add eth0 netns ` + C + ` mtu ` + mtu + ` type veth peer name eth0 netns ` + S + ` mtu ` + mtu + `
-n ` + C + ` addr add 10.0.1.2/24 dev eth0
-n ` + S + ` addr add 10.0.1.3/24 dev eth0
-n ` + C + ` link set eth0 up
-n ` + S + ` link set eth0 up`); err != nil {
		return nil, err
	}
	p := &path{name: name, about: "one veth pair", clientNS: c, to: netip.AddrPortFrom(netip.MustParseAddr("10.0.1.3"), serverPort)}
	p.server, err = l.serve(s)
	return p, err
}

// routed is client - router - server; the client asks the router's address.
func (l *lab) routed(name string) (p *path, router string, err error) {
	if _, err := need("ip", "install the package iproute2"); err != nil {
		return nil, "", err
	}
	ns := map[string]string{}
	for _, end := range []string{"c", "r", "s"} {
		if ns[end], err = l.namespace(name + "-" + end); err != nil {
			return nil, "", err
		}
	}
	C, R, S, mtu := prefix+name+"-c", prefix+name+"-r", prefix+name+"-s", strconv.Itoa(l.mtu)
	if err := l.ip(`
link add eth0 netns ` + C + ` mtu ` + mtu + ` type veth peer name client netns ` + R + ` mtu ` + mtu + `
link add eth0 netns ` + S + ` mtu ` + mtu + ` type veth peer name server netns ` + R + ` mtu ` + mtu + `
-n ` + C + ` addr add 10.0.1.2/24 dev eth0
-n ` + R + ` addr add 10.0.1.1/24 dev client
-n ` + R + ` addr add 10.0.2.1/24 dev server
-n ` + S + ` addr add 10.0.2.2/24 dev eth0
-n ` + C + ` link set eth0 up
-n ` + R + ` link set client up
-n ` + R + ` link set server up
-n ` + S + ` link set eth0 up`); err != nil {
		return nil, "", err
	}
	p = &path{name: name, clientNS: ns["c"], to: netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), askPort)}
	p.server, err = l.serve(ns["s"])
	return p, ns["r"], err
}

// nftRules are the fewest with which nftables does what an endpoint does:
// translate both addresses, and let only what is allowed pass.
const nftRules = `
table ip pbench {
	chain to { type nat hook prerouting priority dstnat; iifname "client" ip daddr 10.0.1.1 tcp dport 80 dnat to 10.0.2.2:8080; }
	chain from { type nat hook postrouting priority srcnat; oifname "server" masquerade; }
	chain pass {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
		iifname "client" ip saddr 10.0.0.0/16 ip daddr 10.0.2.2 tcp dport 8080 accept
	}
}
`

func (l *lab) nftables() (*path, error) {
	nft, err := need("nft", "install the package nftables")
	if err != nil {
		return nil, err
	}
	p, router, err := l.routed("nftables")
	if err != nil {
		return nil, err
	}
	p.about = "router namespace: one DNAT rule, masquerade, three filter rules"
	if err := l.tune(router, "net/ipv4/ip_forward=1"); err != nil {
		return nil, err
	}
	return p, l.run(router, nftRules, nft, "-f", "-")
}

// haproxyConfig is TCP mode with what HAProxy's own manual recommends for
// speed: one thread on the one CPU, splicing in the kernel with larger pipes,
// larger buffers for what it does not splice (which alone is worth a third of
// its throughput here), and no packet that can be saved.
const haproxyConfig = `
global
	nbthread 1
	maxconn 4000
	tune.pipesize 524288
	tune.bufsize 131072
defaults
	mode tcp
	timeout connect 5s
	timeout client 1m
	timeout server 1m
	option splice-auto
	option tcp-smart-accept
	option tcp-smart-connect
frontend ask
	bind 10.0.1.1:80
	default_backend serve
backend serve
	server one 10.0.2.2:8080
`

func (l *lab) haproxy() (*path, error) {
	haproxy, err := need("haproxy", "install the package haproxy")
	if err != nil {
		return nil, err
	}
	p, router, err := l.routed("haproxy")
	if err != nil {
		return nil, err
	}
	p.about = "router namespace: HAProxy, TCP mode, one thread, splice, large buffers"
	file := filepath.Join(l.dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(haproxyConfig), 0o600); err != nil {
		return nil, err
	}
	p.proxy = exec.CommandContext(l.ctx, haproxy, "-db", "-f", file)
	p.proxy.Env = environment()
	p.proxy.Stdout, p.proxy.Stderr = io.Discard, os.Stderr
	if err := l.launch.start(p.proxy, router, l.cpus); err != nil {
		return nil, err
	}
	l.undo(func() error { return end(p.proxy, unix.SIGKILL, 0) })
	return p, nil
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
