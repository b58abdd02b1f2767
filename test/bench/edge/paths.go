// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/edge"
)

// path is a way from client to backend.
type path struct {
	name    string
	address string    // what a client connects to
	proxy   *exec.Cmd // nil for a direct one
}

// lab is where everything runs.
type lab struct {
	dir  string
	self string
	cpus []int // the proxies', and the other one
	port int   // the last one taken
	all  []*exec.Cmd
}

func newLab() (*lab, error) {
	l := &lab{port: 8000}
	var err error
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if l.cpus, err = twoCPUs(); err != nil {
		return nil, err
	}
	l.dir, err = os.MkdirTemp("", "postern-bench-")
	return l, err
}

// close ends what was started, the last first: a profile is written at the end.
func (l *lab) close() error {
	for i := len(l.all) - 1; i >= 0; i-- {
		end(l.all[i])
	}
	return os.RemoveAll(l.dir)
}

func end(c *exec.Cmd) {
	c.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(3*time.Second, func() { c.Process.Kill() })
	c.Wait()
	late.Stop()
}

// command is a program on a CPU, which ends with us.
func (l *lab) command(ctx context.Context, cpu int, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(cpu), program}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + l.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts a server and waits until it takes connections at address.
func (l *lab) start(cmd *exec.Cmd, name, address string) error {
	log, err := os.Create(filepath.Join(l.dir, name+".out"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	l.all = append(l.all, cmd)
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := dial(address)
		if err == nil {
			return unix.Close(c)
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s does not start: %w\n%.600s", name, err, said)
		}
		time.Sleep(20 * time.Millisecond) // sleep: until the next try; the loop waits for a connection
	}
}

func (l *lab) nextAddress() string {
	l.port++
	return fmt.Sprintf("127.0.0.1:%d", l.port)
}

// paths starts one proxy of each kind in front of a backend. tag keeps their
// files apart.
func (l *lab) paths(ctx context.Context, p parameters, tag, backend string) ([]*path, error) {
	out := []*path{{name: "direct", address: backend}, {name: "again", address: backend}}
	for _, name := range []string{"nginx", "haproxy", "postern"} {
		x := &path{name: name, address: l.nextAddress()}
		dir := filepath.Join(l.dir, name+"-"+tag)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		var err error
		switch name {
		case "nginx":
			file := filepath.Join(dir, "nginx.conf")
			to := backend
			if strings.HasPrefix(to, "unix:") {
				to = "unix:" + strings.TrimPrefix(to, "unix:")
			}
			err = os.WriteFile(file, fmt.Appendf(nil, nginxConfig, to, x.address), 0o600)
			x.proxy = l.command(ctx, l.cpus[0], "nginx", "-p", dir, "-c", file, "-e", "stderr")
		case "haproxy":
			file := filepath.Join(dir, "haproxy.cfg")
			to := backend
			if strings.HasPrefix(to, "unix:") {
				to = "unix@" + strings.TrimPrefix(to, "unix:")
			}
			err = os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, x.address, to), 0o600)
			x.proxy = l.command(ctx, l.cpus[0], "haproxy", "-f", file)
		case "postern":
			profile := ""
			if p.profile != "" {
				profile = p.profile + "." + tag
			}
			x.proxy = l.command(ctx, l.cpus[0], l.self, "edge", x.address, backend, filepath.Join(dir, "records"), profile)
		}
		if err != nil {
			return nil, err
		}
		if err := l.start(x.proxy, name+"-"+tag, x.address); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// nginxConfig is one process with what nginx's documentation offers for speed:
// kept connections to the backend, bodies passed on as they come, a log that is
// written in blocks, and no limit that a sample could reach.
const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
worker_rlimit_nofile 16384;
events {
	worker_connections 8192;
	multi_accept on;
}
http {
	access_log access.log combined buffer=64k flush=1s;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	tcp_nodelay on;
	keepalive_requests 1000000000;
	client_max_body_size 0;
	upstream backend {
		server %s;
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen %s backlog=4096;
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_request_buffering off;
			proxy_buffer_size 16k;
			proxy_buffers 8 64k;
			proxy_busy_buffers_size 128k;
			proxy_max_temp_file_size 0;
		}
	}
}
`

// haproxyConfig is one thread with what HAProxy's documentation offers for speed.
const haproxyConfig = `
global
	nbthread 1
	maxconn 4000
	log stdout format raw daemon
	tune.bufsize 65536
defaults
	mode http
	log global
	option httplog
	option http-keep-alive
	http-reuse always
	option splice-auto
	timeout connect 5s
	timeout client 1m
	timeout server 1m
frontend in
	bind %s backlog 4096
	default_backend out
backend out
	server one %s
`

// serveEdge is the child that runs the edge as postern serve's child does, until
// it is told to end. With a profile it writes its CPU profile there.
func serveEdge(address, backend, records, profile string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(records, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if profile != "" {
		to, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(to); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	configs := make(chan edge.Config, 1)
	configs <- edgeConfig(backend)
	out := edge.NewRecordWriter(f, func(err error) { fmt.Fprintln(os.Stderr, "records were not written:", err) })
	err = edge.Run(ctx, edge.Sockets{HTTP: l}, configs, func() {}, fixed{}, func(r edge.Record) { out.Write(&r) }, func(map[string]map[string]bool) {})
	out.Flush()
	return errors.Join(err, f.Close())
}

// startS3 starts the S3 that Postern brings along, with the objects in it.
func (l *lab) startS3(ctx context.Context, program string, large int64) (string, *exec.Cmd, error) {
	dir := filepath.Join(l.dir, "s3")
	accounts := filepath.Join(l.dir, "accounts.json")
	if err := os.WriteFile(accounts, fmt.Appendf(nil, `{"accounts":[{"access":%q,"secret":%q,"account":%q,"role":"user"}]}`, accessKey, secretKey, account), 0o600); err != nil {
		return "", nil, err
	}
	address := "unix:" + filepath.Join(l.dir, "s3.sock")
	cmd := l.command(ctx, l.cpus[1], program, "--dir", dir, "--accounts", accounts, "--listen", address, "--domain", s3Host)
	if err := l.start(cmd, "s3", address); err != nil {
		return "", nil, err
	}
	for _, o := range []struct {
		path string
		size int64
	}{{"/" + bucket, 0}, {"/" + bucket + "/" + smallKey, smallSize}, {"/" + bucket + "/" + largeKey, large}} {
		if err := put(address, o.path, o.size); err != nil {
			return "", nil, fmt.Errorf("PUT %s: %w", o.path, err)
		}
	}
	return address, cmd, nil
}

// put makes a bucket or an object of zeroes.
func put(address, to string, size int64) error {
	head, err := render("PUT", to, size, unsigned, time.Now())
	if err != nil {
		return err
	}
	c, err := dial(address)
	if err != nil {
		return err
	}
	defer unix.Close(c)
	if err := errors.Join(write(c, head), pour(c, make([]byte, block), size)); err != nil {
		return err
	}
	buf := make([]byte, 16<<10)
	m, err := readMessage(c, buf)
	if err == nil && !strings.HasPrefix(m.first, "HTTP/1.1 200") {
		err = fmt.Errorf("%.600q", buf)
	}
	return err
}

// askOnce runs a client on a CPU.
func (l *lab) askOnce(ctx context.Context, cpu int, w wish) (m measured, err error) {
	arg, err := json.Marshal(w)
	if err != nil {
		return m, err
	}
	cmd := l.command(ctx, cpu, l.self, "ask", string(arg))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return m, ctx.Err()
	}
	if err != nil {
		return m, fmt.Errorf("%w: %s", err, said.String())
	}
	return m, json.Unmarshal(out, &m)
}

// during holds trickling bodies open while it calls f.
func (l *lab) during(ctx context.Context, cpu int, w wish, f func() error) error {
	arg, err := json.Marshal(w)
	if err != nil {
		return err
	}
	cmd := l.command(ctx, cpu, l.self, "trickle", string(arg))
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err = bufio.NewReader(out).ReadString('\n'); err == nil {
		err = f()
	} else if err == io.EOF {
		err = nil // said why
	}
	in.Close()
	if e := cmd.Wait(); e != nil {
		err = errors.Join(err, fmt.Errorf("%w: %s", e, said.String()))
	}
	return err
}
