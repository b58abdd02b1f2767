// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/privilege"
	"postern.dev/postern/internal/supervise"
)

// serverUser is who the unprivileged server runs as.
func serverUser(cfg Config) (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, errors.New("the datapath needs root: run as root, or with --datapath=none for the API alone")
	}
	return privilege.Lookup(userOr(cfg.ServerUser, "postern"), serverUID)
}

// confine is the first thing the unprivileged processes do: give up the way
// back to privileges, and refuse to run if they have any.
func confine() error { return privilege.DropTo(os.Getuid(), os.Getgid()) }

// Descriptors the supervisor hands to the server.
const (
	fdAPI = iota + 3
	fdAdmin
	fdSync
	fdHosts // if there is one
)

// firstStart is how long the server may take to answer for the first time. A
// store with much in it is read in seconds.
const firstStart = 20 * time.Second

// runSupervisor is the root process: it starts the others, starts them again,
// and reads no byte of a tenant's.
func runSupervisor(ctx context.Context, cfg Config, p paths, l listeners, uid, gid int, ready func()) error {
	if err := checkUplink(cfg.Uplink); err != nil {
		return usageError("%w", err)
	}
	log := newLogger()
	sup, err := supervise.New(supervise.Options{Log: log})
	if err != nil {
		return err
	}
	defer sup.Stop()
	var files []*os.File
	doors := []net.Listener{l.api, l.admin, l.sync}
	if l.hosts != nil {
		doors = append(doors, l.hosts)
	}
	for _, x := range doors {
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
	// It is started first, and with it what workloads can do without the server;
	// and it ends first, while there still is a backend that can answer what is on
	// its way.
	host, err := supervise.New(supervise.Options{Log: log})
	if err != nil {
		return err
	}
	defer host.Stop()
	if err := host.Start(ctx, supervise.Spec{
		Name: "agent",
		Command: func() (*exec.Cmd, error) {
			return selfCommand("agent", "--data-dir", cfg.DataDir, "--mtu", strconv.Itoa(cfg.MTU), "--uplink", cfg.Uplink, "--underlay", cfg.Underlay, "--edge-user", edgeUser, "--local"), nil
		},
		Grace: agentGrace,
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
			// Everybody may read a command line, and there are secrets in it.
			cmd := selfCommand("server")
			cmd.Stdin = bytes.NewReader(conf)
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
	return &cobra.Command{
		Use: "server", Hidden: true, Args: cobra.NoArgs,
		Short: "answer the API (started by serve, which writes the configuration to standard input)",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := confine(); err != nil {
				return err
			}
			var cfg Config
			if err := json.NewDecoder(os.Stdin).Decode(&cfg); err != nil {
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
			if cfg.HostsListen != "" {
				if l.hosts, err = fileListener(fdHosts, "hosts"); err != nil {
					return err
				}
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
			// By descriptor, for the same reason as selfCommand.
			file, err := os.Open(program)
			if err != nil {
				return nil, fmt.Errorf("open the S3 backend: %w", err)
			}
			cmd := &exec.Cmd{Path: "/proc/self/fd/3", ExtraFiles: []*os.File{file}, Args: []string{
				"postern-s3", "--dir", filepath.Join(p.s3(), "data"), "--accounts", p.s3Accounts(),
				"--listen", "unix:" + p.s3Socket(), "--questions", "unix:" + p.s3Asked(), "--group-socket", "--region", cfg.Region,
				"--domain", "s3." + cfg.Region + ".amazonaws.com", "--domain", "s3.amazonaws.com", "--lifeline",
			}}
			cmd.Env = []string{"PATH=/usr/bin:/bin"}
			cmd.SysProcAttr = childOf(&syscall.Credential{Uid: cred.Uid, Gid: uint32(edgeGID)})
			return cmd, nil
		},
		Start: func(cmd *exec.Cmd) error {
			defer cmd.ExtraFiles[0].Close()
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
