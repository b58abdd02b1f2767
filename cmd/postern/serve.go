// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"postern.dev/postern/internal/privilege"
	"postern.dev/postern/internal/supervise"
)

func newServeCommand(o *options) *cobra.Command {
	cfg := defaultConfig()
	var file string
	c := &cobra.Command{
		Use:   "serve",
		Short: "run the server, and on Linux the datapath of this host",
		Long: `Run Postern: the API, its store and, as root on Linux, the datapath of this host.

The first start makes an operator account with random keys, kept in
DATA-DIR/keys/operator.json with mode 0600. When the server answers, it prints
one line that starts with "ready:". It stops on SIGTERM or Ctrl-C; flows
through endpoints go on without it, and a restart finds everything as it was.

Started as root it is a small supervisor of processes with just the privileges
each needs; see docs/architecture.md. With --datapath=none it is one process,
needs no root, and moves no packet.

Examples:
  postern serve
  postern serve --data-dir ./state --listen 127.0.0.1:9000 --dns-upstream none
  postern serve --datapath=none --data-dir ./state
  postern serve --config postern.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			full := defaultConfig()
			full.DataDir = o.dataDir
			if file != "" {
				if err := loadConfig(file, &full); err != nil {
					return usageError("%w", err)
				}
			}
			// Flags override the file.
			changed := c.Flags().Changed
			set := func(flag string, f func()) {
				if changed(flag) {
					f()
				}
			}
			if c.Flags().Changed("data-dir") || full.DataDir == "" {
				full.DataDir = o.dataDir
			}
			set("listen", func() { full.Listen = cfg.Listen })
			set("region", func() { full.Region = cfg.Region })
			set("zones", func() { full.Zones = cfg.Zones })
			set("datapath", func() { full.Datapath = cfg.Datapath })
			set("store", func() { full.Store = cfg.Store })
			set("dns-upstream", func() { full.DNSUpstreams = cfg.DNSUpstreams })
			set("mtu", func() { full.MTU = cfg.MTU })
			if err := full.check(); err != nil {
				return usageError("%w", err)
			}
			return serve(c.Context(), full, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "address of the API")
	f.StringVar(&cfg.Region, "region", cfg.Region, "the installation's region; cannot change later")
	f.StringSliceVar(&cfg.Zones, "zones", nil, "availability zones (default: the region with a, b and c)")
	f.StringVar(&cfg.Datapath, "datapath", cfg.Datapath, "ebpf, or none for the API alone")
	f.StringVar(&cfg.Store, "store", cfg.Store, "embedded, or etcd URLs separated by commas")
	f.StringSliceVar(&cfg.DNSUpstreams, "dns-upstream", nil, "resolver for names Postern does not know, or none (default: the host's)")
	f.IntVar(&cfg.MTU, "mtu", cfg.MTU, "MTU of workloads' interfaces, bytes")
	f.StringVar(&file, "config", "", "YAML file with the same settings and the service catalogue; see docs/operations.md")
	return c
}

// serve runs the installation until ctx ends.
func serve(ctx context.Context, cfg Config, out io.Writer) error {
	uid, gid := -1, -1
	if cfg.Datapath == "ebpf" {
		if runtime.GOOS != "linux" {
			return errors.New("the datapath needs Linux; --datapath=none serves the API alone")
		}
		if os.Geteuid() != 0 {
			return errors.New("the datapath needs root: run as root, or with --datapath=none for the API alone")
		}
		var err error
		if uid, gid, err = privilege.Lookup(userOr(cfg.ServerUser, "postern"), serverUID); err != nil {
			return err
		}
	}
	p := paths{cfg.DataDir}
	if uid > 0 {
		if err := p.checkParents(uid); err != nil {
			return err
		}
	}
	if err := p.makeDirs(uid, gid); err != nil {
		return err
	}
	lock, err := p.takeLock()
	if err != nil {
		return err
	}
	defer lock.Close()
	l, err := openListeners(cfg, p)
	if err != nil {
		return err
	}
	ready := func() {
		fmt.Fprintf(out, "ready: http://%s region %s data %s\n", l.api.Addr(), cfg.Region, cfg.DataDir)
		daemon.SdNotify(false, daemon.SdNotifyReady)
	}
	defer daemon.SdNotify(false, daemon.SdNotifyStopping)
	if cfg.Datapath == "none" {
		return runServer(ctx, cfg, l, newLogger(), ready)
	}
	return runSupervisor(ctx, cfg, p, l, uid, gid, ready)
}

// openListeners opens every door before privileges are given up.
func openListeners(cfg Config, p paths) (listeners, error) {
	var l listeners
	var err error
	if l.api, err = net.Listen("tcp", cfg.Listen); err != nil {
		return l, fmt.Errorf("listen for the API: %w; choose another address with --listen", err)
	}
	if l.admin, err = listenUnix(p.adminSocket()); err != nil {
		return l, err
	}
	if cfg.Datapath != "none" {
		l.sync, err = listenUnix(p.syncSocket())
	}
	return l, err
}

// listenUnix makes a socket only its owner can use. A socket file left by a
// process that was killed is replaced: the lock says that nobody serves it.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return l, nil
}

// Descriptors the supervisor hands to the server.
const (
	fdAPI = iota + 3
	fdAdmin
	fdSync
)

// firstStart is how long the server may take to answer for the first time. A
// store with much in it is read in seconds.
const firstStart = 20 * time.Second

// runSupervisor is the root process: it starts the others, starts them again,
// and reads no byte of a tenant's.
func runSupervisor(ctx context.Context, cfg Config, p paths, l listeners, uid, gid int, ready func()) error {
	log := newLogger()
	sup, err := supervise.New(supervise.Options{Log: log})
	if err != nil {
		return err
	}
	defer sup.Stop()
	var files []*os.File
	for _, x := range []net.Listener{l.api, l.admin, l.sync} {
		f, err := x.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return fmt.Errorf("hand a socket over: %w", err)
		}
		defer f.Close()
		files = append(files, f)
	}
	conf, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	server := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	edgeUser := userOr(cfg.EdgeUser, "postern-edge")
	_, edgeGID, err := privilege.Lookup(edgeUser, edgeUID)
	if err != nil {
		return err
	}
	if err := sup.Start(ctx, supervise.Spec{
		Name: "agent",
		Command: func() (*exec.Cmd, error) {
			return selfCommand("agent", "--data-dir", cfg.DataDir, "--mtu", strconv.Itoa(cfg.MTU), "--edge-user", edgeUser)
		},
		Grace: 10 * time.Second,
	}); err != nil {
		return err
	}
	// Once it has run it is started again for ever; a first start that keeps
	// failing is somebody's to mend.
	first, giveUp := context.WithTimeout(ctx, firstStart)
	defer giveUp()
	err = sup.Start(first, supervise.Spec{
		Name:   "server",
		Notify: true,
		Command: func() (*exec.Cmd, error) {
			cmd, err := selfCommand("server", "--resolved", string(conf))
			if err != nil {
				return nil, err
			}
			cmd.ExtraFiles = files
			cmd.SysProcAttr = childOf(server)
			return cmd, nil
		},
		ReadyTimeout: firstStart,
		Grace:        10 * time.Second,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	// After the server, which writes the accounts the backend needs.
	if s3, ok := backendPath(); ok {
		if err := sup.Start(ctx, s3Child(cfg, p, s3, server, edgeGID)); err != nil {
			return err
		}
	} else {
		log.Warn("no S3 backend: the program postern-s3 is not beside postern; requests to S3 will answer 503 until it is, or services names a backend")
	}
	ready()
	<-ctx.Done()
	return nil
}

// newServerCommand is the unprivileged child of serve: API and store.
func newServerCommand(*options) *cobra.Command {
	var resolved string
	c := &cobra.Command{
		Use: "server", Hidden: true, Args: cobra.NoArgs,
		Short: "answer the API (started by serve)",
		RunE: func(c *cobra.Command, _ []string) error {
			var cfg Config
			if err := json.Unmarshal([]byte(resolved), &cfg); err != nil {
				return usageError("this command is started by postern serve: %w", err)
			}
			var l listeners
			var err error
			if l.api, err = fileListener(fdAPI, "api"); err != nil {
				return err
			}
			if l.admin, err = fileListener(fdAdmin, "admin"); err != nil {
				return err
			}
			if l.sync, err = fileListener(fdSync, "agent"); err != nil {
				return err
			}
			for _, x := range []net.Listener{l.admin, l.sync} {
				// The files are the supervisor's and outlive this process.
				x.(*net.UnixListener).SetUnlinkOnClose(false)
			}
			return runServer(supervise.Lifeline(c.Context()), cfg, l, newLogger(), func() {
				if err := supervise.NotifyReady(nil); err != nil {
					slog.Error("the supervisor was not told", "error", err)
				}
			})
		},
	}
	c.Flags().StringVar(&resolved, "resolved", "", "the whole configuration as JSON")
	return c
}

// backendPath finds the S3 backend beside this program or on PATH.
func backendPath() (string, bool) {
	if self, err := os.Executable(); err == nil {
		p := filepath.Join(filepath.Dir(self), "postern-s3")
		if st, err := os.Stat(p); err == nil && !st.IsDir() {
			return p, true
		}
	}
	p, err := exec.LookPath("postern-s3")
	return p, err == nil
}

// s3Child is the default S3 backend: the server's user, who owns the data,
// and the edge's group, which may use its socket.
func s3Child(cfg Config, p paths, program string, cred *syscall.Credential, edgeGID int) supervise.Spec {
	return supervise.Spec{
		Name: "s3",
		Command: func() (*exec.Cmd, error) {
			cmd := exec.Command(program, "--dir", filepath.Join(p.s3(), "data"), "--accounts", p.s3Accounts(),
				"--listen", "unix:"+p.s3Socket(), "--group-socket", "--region", cfg.Region,
				"--domain", "s3."+cfg.Region+".amazonaws.com", "--domain", "s3.amazonaws.com", "--lifeline")
			cmd.Env = []string{"PATH=/usr/bin:/bin"}
			cmd.SysProcAttr = childOf(&syscall.Credential{Uid: cred.Uid, Gid: uint32(edgeGID)})
			return cmd, nil
		},
		Start: func(cmd *exec.Cmd) error {
			// Held open by this process: its end is the backend's.
			if _, err := cmd.StdinPipe(); err != nil {
				return err
			}
			return cmd.Start()
		},
		Ready: func(ctx context.Context, _ []byte) error {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				if c, err := net.Dial("unix", p.s3Socket()); err == nil {
					return c.Close()
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		},
	}
}

// newLogger logs as text for people, or as JSON under a service manager that
// asks for it with POSTERN_LOG=json.
func newLogger() *slog.Logger {
	if os.Getenv("POSTERN_LOG") == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
