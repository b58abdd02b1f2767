// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
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
			set("uplink", func() { full.Uplink = cfg.Uplink })
			set("hosts-listen", func() { full.HostsListen = cfg.HostsListen })
			set("underlay", func() { full.Underlay = cfg.Underlay })
			set("host-zone", func() { full.HostZone = cfg.HostZone })
			set("services", func() { full.ServicesFile = cfg.ServicesFile })
			if err := full.addServicesFile(); err != nil {
				return usageError("%w", err)
			}
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
	f.StringVar(&cfg.Uplink, "uplink", "none", "what internet and NAT gateways lead to: none, host, or the path of a network namespace")
	f.StringVar(&cfg.HostsListen, "hosts-listen", "", "address where hosts on other machines connect (default: there are none)")
	f.StringVar(&cfg.Underlay, "underlay", "", "this machine's IPv4 address among hosts")
	f.StringVar(&cfg.HostZone, "host-zone", "", "zone of this machine (default: every zone without a host of its own)")
	f.StringVar(&cfg.ServicesFile, "services", "", "YAML file with entries of the service catalogue (default: S3 alone)")
	f.IntVar(&cfg.MTU, "mtu", cfg.MTU, "MTU of workloads' interfaces, bytes")
	f.StringVar(&file, "config", "", "YAML file with the same settings and the service catalogue; see docs/operations.md")
	return c
}

// serve runs the installation until ctx ends.
func serve(ctx context.Context, cfg Config, out io.Writer) error {
	uid, gid := -1, -1
	if cfg.Datapath == "ebpf" {
		var err error
		if uid, gid, err = serverUser(cfg); err != nil {
			return err
		}
	}
	p := paths{cfg.DataDir}
	if _, err := os.Lstat(p.identity()); err == nil {
		return fmt.Errorf("%s is the data directory of a host that joined another server: choose another --data-dir, or clear it with 'postern reset --data'", p.dir)
	}
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
	if cfg.HostsListen != "" {
		if l.hosts, err = net.Listen("tcp", cfg.HostsListen); err != nil {
			return l, fmt.Errorf("listen for hosts: %w; choose another address with --hosts-listen", err)
		}
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

// newLogger logs as text for people, or as JSON under a service manager that
// asks for it with POSTERN_LOG=json.
func newLogger() *slog.Logger {
	if os.Getenv("POSTERN_LOG") == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
