// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// path is one way from a client to a server, ready to use.
type path struct {
	name     string
	about    string   // for the reader of the JSON
	clientNS string   // path of the client's namespace
	spaces   []string // of every stack on the way: client, server, proxy
	to       netip.AddrPort
	udp      netip.AddrPort // where packets go, if it carries any
	proxied  bool           // the server is told of the client by a PROXY protocol header
	// What must move when the CPUs change: the server, and the proxy if any.
	server, proxy *exec.Cmd
	before        func() error // every sample; may be nil
	// sample takes the samples, if they are not taken as on most paths.
	sample func(p parameters, how metric, cpus []int) (measured, error)
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
	to := netip.AddrPortFrom(netip.MustParseAddr("10.0.1.3"), serverPort)
	p := &path{name: name, about: "one veth pair", clientNS: c, spaces: []string{c, s}, to: to, udp: to}
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
	p = &path{name: name, clientNS: ns["c"], spaces: []string{ns["c"], ns["r"], ns["s"]}, to: netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), askPort)}
	p.server, err = l.serve(ns["s"])
	return p, ns["r"], err
}

// nftRules are the fewest with which nftables does what an endpoint does:
// translate both addresses, and let only what is allowed pass. The rules for
// UDP come last, so TCP does not pay for them.
const nftRules = `
table ip pbench {
	chain to { type nat hook prerouting priority dstnat; iifname "client" ip daddr 10.0.1.1 tcp dport 80 dnat to 10.0.2.2:8080; iifname "client" ip daddr 10.0.1.1 udp dport 80 dnat to 10.0.2.2:8080; }
	chain from { type nat hook postrouting priority srcnat; oifname "server" masquerade; }
	chain pass {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
		iifname "client" ip saddr 10.0.0.0/16 ip daddr 10.0.2.2 tcp dport 8080 accept
		iifname "client" ip saddr 10.0.0.0/16 ip daddr 10.0.2.2 udp dport 8080 accept
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
	p.about, p.udp = "router namespace: one DNAT rule, masquerade, three filter rules, for TCP and UDP", p.to
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
	return p, l.startProxy(p, router, haproxy, "-db", "-f", file)
}

// nginxConfig is the stream module with what its documentation offers for
// speed: one process on the one CPU, a larger buffer than the 16 KB it has,
// a full accept queue taken at once, and no limit that a sample could reach.
const nginxConfig = `
load_module %s;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {
	worker_connections 8192;
	multi_accept on;
}
stream {
	server {
		listen 10.0.1.1:80 backlog=4096;
		proxy_pass 10.0.2.2:8080;
		proxy_connect_timeout 5s;
		proxy_timeout 1m;
		proxy_buffer_size 128k;
		proxy_half_close on;
		tcp_nodelay on;
	}
}
`

// nginxModule is where Debian's package puts the module.
const nginxModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

func (l *lab) nginx() (*path, error) {
	nginx, err := need("nginx", "install the package nginx")
	if err != nil {
		return nil, err
	}
	if unix.Access(nginxModule, unix.R_OK) != nil {
		return nil, missing{nginxModule + " is missing: install the package libnginx-mod-stream"}
	}
	p, router, err := l.routed("nginx")
	if err != nil {
		return nil, err
	}
	p.about = "router namespace: nginx stream, one process, large buffers"
	file := filepath.Join(l.dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, nginxModule), 0o600); err != nil {
		return nil, err
	}
	return p, l.startProxy(p, router, nginx, "-p", l.dir, "-c", file, "-e", "stderr")
}

// startProxy starts a path's proxy on the path's CPUs.
func (l *lab) startProxy(p *path, ns, program string, args ...string) error {
	p.proxy = exec.CommandContext(l.ctx, program, args...)
	p.proxy.Env = environment()
	p.proxy.Stdout, p.proxy.Stderr = io.Discard, os.Stderr
	if err := l.launch.start(p.proxy, ns, l.cpus); err != nil {
		return err
	}
	l.undo(func() error { return end(p.proxy, unix.SIGKILL, 0) })
	return nil
}
