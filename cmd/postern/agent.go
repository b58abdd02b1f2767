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
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/agent"
	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/nlb"
	"postern.dev/postern/internal/privilege"
	"postern.dev/postern/internal/reconcile"
	"postern.dev/postern/internal/supervise"
	"postern.dev/postern/internal/vpc"
)

// agentCapabilities are all the agent keeps of root's: BPF and NET_ADMIN for
// programs and devices, SYS_ADMIN for namespaces and mounts, SYS_PTRACE and
// KILL to find and end what is left in a namespace of ours, SETUID, SETGID
// and SETPCAP to start the edge without any of these, DAC_OVERRIDE and CHOWN
// for the sockets and files it hands over, NET_BIND_SERVICE for the edge's ports.
var agentCapabilities = []uintptr{
	unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_KILL,
	unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_PERFMON,
}

// newAgentCommand is a host: the privileged child of serve, or on another
// machine what a user starts.
func newAgentCommand(o *options) *cobra.Command {
	var in agentInput
	var join joinInput
	var local bool
	var underlay string
	c := &cobra.Command{
		Use:   "agent --join URL [--token TOKEN]",
		Short: "run this machine as a host of a server on another one",
		Long: `Run this machine as a host of a Postern server on another one. 'postern host add'
on that one prints the command for the first start, with a token: this machine
proves with it which host it is, checks by it that the server is the right one,
and gets a certificate, which it keeps in the data directory and renews by
itself. Further starts need no token.

It runs until SIGTERM or Ctrl-C; flows go on without it, and a restart finds
everything as it was. Needs root.`,
		Example: `  sudo postern agent --join https://192.0.2.1:8421 --token "$token"
  sudo postern agent --join https://192.0.2.1:8421 --mtu 1450`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if in.underlay, err = parseUnderlay(underlay); err != nil {
				return usageError("%w", err)
			}
			if (join.server != "") == local {
				return usageError("name the server with --join URL; the host of this machine's own server comes with 'postern serve'")
			}
			if local {
				if err := privilege.LimitCapabilities(agentCapabilities); err != nil {
					return err
				}
				return runAgent(supervise.Lifeline(c.Context()), o.dataDir, in)
			}
			if err := needRoot("running a host"); err != nil {
				return err
			}
			if err := privilege.LimitCapabilities(agentCapabilities); err != nil {
				return err
			}
			return runJoined(c.Context(), o.dataDir, in, join, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&join.server, "join", "", "URL of the server's door for hosts, such as https://192.0.2.1:8421")
	f.StringVar(&join.token, "token", "", "what 'postern host add' printed; for the first start")
	f.IntVar(&in.mtu, "mtu", 1500, "MTU of workloads' interfaces, bytes; the same on every host")
	f.StringVar(&in.uplink, "uplink", "none", "what internet and NAT gateways lead to: none, host, or the path of a network namespace")
	f.StringVar(&in.edgeUser, "edge-user", "", "who the process that speaks to workloads runs as (default: postern-edge)")
	f.StringVar(&underlay, "underlay", "", "")
	f.BoolVar(&local, "local", false, "started by serve")
	for _, name := range []string{"underlay", "local"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // a name that is not a flag's
		}
	}
	return c
}

type agentInput struct {
	mtu              int
	uplink, edgeUser string
	underlay         netip.Addr // invalid: no packets to and from other hosts
	// elsewhere is set for a host whose server is on another machine.
	elsewhere *elsewhere
}

// collectEvery is how often expired connections are removed.
const collectEvery = 5 * time.Second

// edgeWait is how long the edge waits for the first state after an upgrade.
const edgeWait = 10 * time.Second

func runAgent(ctx context.Context, dataDir string, in agentInput) error {
	log := newLogger()
	p := paths{dataDir}
	var host vpc.HostID
	var stream agent.Sync
	var err error
	if e := in.elsewhere; e != nil {
		host, stream = e.identity.Host, e.client
	} else if host, err = thisHost(); err == nil {
		stream = hostsync.NewUnixClient(p.syncSocket(), host, log)
	}
	if err != nil {
		return err
	}
	tag, err := link.TagFor(dataDir)
	if err != nil {
		return err
	}
	links, err := link.New(link.Config{Tag: tag, RunDir: link.DefaultRunDir(tag), MTU: in.mtu})
	if err != nil {
		return err
	}
	uplink, uplinkNetns, err := uplinkPlace(in.uplink)
	if err != nil {
		return usageError("%w", err)
	}
	lock, err := p.waitAgentLock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := links.Calm(); err != nil {
		log.Error("what a killed agent had set is not put back", "error", err)
	}
	if !uplink {
		if err := links.RemoveUplink(); err != nil {
			return err
		}
	}
	if !in.underlay.IsValid() {
		if err := links.RemoveOverlay(); err != nil {
			return err
		}
	}
	pins := pinDir(tag)
	if err := links.MountBPF(pins); err != nil {
		return err
	}
	dp, err := datapath.Open(datapath.Config{PinDir: pins})
	if errors.Is(err, datapath.ErrLayout) {
		// These programs can neither use nor carry over what is there. What
		// was connected is lost; the rest comes back with the first state.
		log.Warn("the pinned maps are another version's: starting with empty ones", "error", err)
		dp, err = datapath.Open(datapath.Config{PinDir: pins, Replace: true})
	}
	if err != nil {
		return fmt.Errorf("%+v", err)
	}
	defer dp.Close()
	service, serviceNS, err := links.EnsureService()
	if err != nil {
		return err
	}
	if err := dp.Attach(service.Name, service.Ifindex, datapath.Service); err != nil {
		return err
	}
	if err := links.InService(dp.Silence); err != nil {
		return err
	}
	e := &edgeFeed{host: host, configs: newLatest[edge.Config](), probes: newLatest[map[string]desired.Probe](), limit: dp.LimitResolver, log: log}
	h := &hostSteps{links: links, dp: dp, service: service, uplink: uplink, uplinkNetns: uplinkNetns, underlay: in.underlay, mtu: in.mtu, log: log}
	a := agent.New(agent.Config{
		Host: host, Sync: stream, Edge: e,
		Steps:     []reconcile.Step{{Name: "datapath", Apply: h.apply}},
		StateFile: p.desired(), Log: log,
	})
	e.resend, e.named, e.backends = a.Resend, a.Named, a.Backends

	uid, gid, err := privilege.Lookup(userOr(in.edgeUser, "postern-edge"), edgeUID)
	if err != nil {
		return err
	}
	cred := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	// The children's inputs end after the children: their end would end them.
	feed, endFeed := context.WithCancel(context.Background())
	defer endFeed()
	sup, err := supervise.New(supervise.Options{Log: log})
	if err != nil {
		return err
	}
	defer sup.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { collect(ctx, dp, log) })
	ended := make(chan error, 2)
	wg.Go(func() { ended <- a.Run(ctx) })
	if e := in.elsewhere; e != nil {
		wg.Go(func() {
			if err := e.keepCertificate(ctx); ctx.Err() == nil {
				ended <- err
			}
		})
	}
	// After an upgrade the edge can tell nobody's identity until the first state
	// has been applied. If that fails, it is better than none.
	select {
	case <-dp.Carrying():
	case <-time.After(edgeWait):
		log.Warn("the edge starts while the version before still carries packets")
	case <-ctx.Done():
	}
	if err := sup.Start(ctx, edgeChild(feed, links, tag, dp, e, p, cred)); err != nil {
		return err
	}
	if err := sup.Start(ctx, proberChild(feed, serviceNS, e, a, cred, log)); err != nil {
		return err
	}
	if in.elsewhere != nil {
		in.elsewhere.ready()
	}
	return <-ended
}

// Fixed numbers of the unprivileged users where the system has no such users.
const (
	serverUID = 64220
	edgeUID   = 64221
)

func userOr(name, fallback string) string {
	if name != "" {
		return name
	}
	return fallback
}

// pinDir is the bpffs of an installation.
func pinDir(tag string) string { return filepath.Join(link.DefaultRunDir(tag), "bpf") }

// resolverDrops is where the edge counts the questions that the resolver
// dropped; it is there as long as the maps with the other drops.
func resolverDrops(tag string) string {
	return filepath.Join(link.DefaultRunDir(tag), "resolver-drops.json")
}

// hostSteps joins link and datapath: devices first, then programs on them,
// then the maps that point at them.
type hostSteps struct {
	links   *link.Links
	dp      *datapath.Datapath
	service link.Device
	// uplink says that there is to be one, in the namespace uplinkNetns.
	uplink      bool
	uplinkNetns string
	// underlay is this host's address among hosts, if it has one.
	underlay netip.Addr
	up, over link.Device // the uplink's and the overlay's, when they last worked
	mtu      int         // of workloads
	small    bool        // it was said that the overlay's is smaller
	log      *slog.Logger
	had      map[vpc.InterfaceID]desired.Workload // with the last apply
}

// bulk is how many workloads come or go at once before the kernel is told to
// hurry: fewer take no time to speak of.
const bulk = 8

func (h *hostSteps) apply(d desired.Host) map[string]error {
	errs := map[string]error{}
	if different(h.had, d.Workloads) >= bulk {
		done, err := h.links.Hurry()
		if err != nil {
			h.log.Warn("many workloads at once take longer", "error", err)
		} else {
			defer func() {
				if err := done(); err != nil {
					h.log.Error("the kernel goes on hurrying", "error", err)
				}
			}()
		}
	}
	h.had = d.Workloads
	devices, failed := h.links.Apply(d.Workloads)
	for id, err := range failed {
		errs[string(id)] = err
	}
	ports := map[vpc.InterfaceID]datapath.Device{}
	names := map[string]bool{h.service.Name: true}
	for id, dev := range devices {
		names[dev.Name] = true
		if err := h.dp.Attach(dev.Name, dev.Ifindex, datapath.Workload); err != nil {
			errs[string(id)] = err
			continue
		}
		ports[id] = portOf(dev)
	}
	up, err := h.ensureUplink(d)
	if err != nil {
		errs["uplink"] = err
	}
	if up.Name != "" {
		names[up.Name] = true
	}
	over, err := h.ensureOverlay()
	if err != nil {
		errs["overlay"] = err
	}
	if over.Name != "" {
		names[over.Name] = true
	}
	if err := h.dp.Apply(d, ports, datapath.Doors{Service: portOf(h.service), Uplink: portOf(up), Overlay: portOf(over)}); err != nil {
		errs["datapath"] = err
	}
	attached, err := h.dp.Attached()
	if err != nil {
		errs["datapath"] = err
	}
	for _, name := range attached {
		if !names[name] {
			if err := h.dp.Detach(name); err != nil {
				errs[name] = err
			}
		}
	}
	return errs
}

// ensureUplink is the uplink's device with its program; zero if there is to be
// none, or none that works.
func (h *hostSteps) ensureUplink(d desired.Host) (link.Device, error) {
	if !h.uplink {
		return link.Device{}, nil
	}
	up, err := h.links.EnsureUplink(link.Uplink{Netns: h.uplinkNetns, Prefixes: slices.Collect(maps.Values(d.Uplink))})
	if up.Ifindex == 0 {
		return link.Standing(h.up), err
	}
	if aerr := h.dp.Attach(up.Name, up.Ifindex, datapath.Uplink); aerr != nil {
		return link.Standing(h.up), errors.Join(err, aerr)
	}
	h.up = up
	return up, err
}

// ensureOverlay is the device to other hosts with its program; zero if there is
// to be none, or none that works.
func (h *hostSteps) ensureOverlay() (link.Device, error) {
	if !h.underlay.IsValid() {
		return link.Device{}, nil
	}
	d, err := h.links.EnsureOverlay(h.underlay, func(d link.Device) error {
		return h.dp.Attach(d.Name, d.Ifindex, datapath.Overlay)
	})
	if err != nil {
		return link.Standing(h.over), err
	}
	h.over = d
	if d.MTU < h.mtu && !h.small {
		h.small = true
		h.log.Warn("packets of workloads are cut in pieces on their way to other hosts: give workloads a smaller MTU, or the underlay's device a larger one",
			"workloads", h.mtu, "underlay", d.MTU+link.OverlayOverhead, "overhead", link.OverlayOverhead)
	}
	return d, nil
}

func portOf(d link.Device) datapath.Device {
	return datapath.Device{Ifindex: d.Ifindex, MAC: d.MAC, Tap: d.Tap, MTU: d.MTU}
}

// different counts the workloads that one of the two has and the other has not.
func different(a, b map[vpc.InterfaceID]desired.Workload) int {
	both := 0
	for id := range a {
		if _, ok := b[id]; ok {
			both++
		}
	}
	return len(a) + len(b) - 2*both
}

// collect removes expired connections until ctx ends.
func collect(ctx context.Context, dp *datapath.Datapath, log *slog.Logger) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := dp.Collect(); err != nil {
				log.Error("expired connections were not removed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// startFed starts a command whose standard input is a stream of newer values,
// which sender begins.
func startFed[T any](ctx context.Context, cmd *exec.Cmd, values *latest[T], sender func(io.Writer) func(T) error, start func() error) error {
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := start(); err != nil {
		return err
	}
	// It ends with the first write after the process has, or with ctx.
	go func() {
		defer in.Close()
		values.stream(ctx, sender(in))
	}()
	return nil
}

// proberChild checks targets from inside the service namespace.
func proberChild(ctx context.Context, ns string, f *edgeFeed, a *agent.Agent, cred *syscall.Credential, log *slog.Logger) supervise.Spec {
	return supervise.Spec{
		Name:   "prober",
		Notify: true,
		Command: func() (*exec.Cmd, error) {
			cmd := selfCommand("prober")
			cmd.SysProcAttr = childOf(cred)
			return cmd, nil
		},
		Start: func(cmd *exec.Cmd) error {
			cmd.Stdout = nil
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			lines := func(w io.Writer) func(map[string]desired.Probe) error {
				enc := json.NewEncoder(w)
				return func(p map[string]desired.Probe) error { return enc.Encode(p) }
			}
			if err := startFed(ctx, cmd, f.probes, lines, func() error { return link.StartIn(ns, cmd) }); err != nil {
				return err
			}
			go func() {
				sc := bufio.NewScanner(out)
				for sc.Scan() {
					var r nlb.Result
					if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
						log.Error("a result of the prober does not decode", "error", err)
						continue
					}
					a.Health(r.Name, hostsync.Health{
						Group: r.Group, TargetID: r.TargetID, TargetPort: r.TargetPort, Zone: r.Zone,
						Healthy: r.Healthy, Reason: r.Reason, Description: r.Description,
					})
				}
			}()
			return nil
		},
	}
}

// selfCommand starts this binary with a subcommand and nothing of our
// environment but what a program needs to run.
func selfCommand(args ...string) *exec.Cmd {
	// By what this process runs, not by its path: an unprivileged user may not
	// be allowed into the directory, and the file may have been replaced.
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{"postern"}, args...)}
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = childOf(nil)
	return cmd
}

// childOf puts a child in a process group of its own, so that Ctrl-C reaches
// only the process that ends the others in order.
func childOf(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred, Setpgid: true}
}

// maxRecords is the size at which the record file is put aside at a start of the
// edge. One older file is kept; where there are others somebody else puts them aside.
const maxRecords = 64 << 20

func openRecords(file string) (*os.File, error) {
	if st, err := os.Stat(file); err == nil && st.Size() > maxRecords {
		list, err := asideOf(file)
		if err != nil {
			return nil, err
		}
		if ours := file + ".1"; len(list) == 0 || len(list) == 1 && list[0].name == ours {
			if err := os.Rename(file, ours); err != nil {
				return nil, fmt.Errorf("put the record file aside: %w", err)
			}
		}
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the record file: %w", err)
	}
	return f, nil
}

// openTotals opens the file in which the edge keeps its counts.
func openTotals(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the file of the totals: %w", err)
	}
	return f, nil
}

// fileListener makes a listener of an inherited descriptor.
func fileListener(fd int, name string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, fmt.Errorf("descriptor %d (%s) was not handed over; this command is started by postern serve", fd, name)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("use the %s socket that was handed over: %w", name, err)
	}
	return l, nil
}
