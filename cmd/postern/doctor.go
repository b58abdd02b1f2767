// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/doctor"
	"postern.dev/postern/internal/link"
)

func newDoctorCommand(o *options) *cobra.Command {
	in := doctorInput{listen: defaultConfig().Listen}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "check what this host has and lacks for Postern",
		Long: `Check this host: kernel, privileges, whether its kernel takes the datapath's
programs, the API's address, the programs beside Postern, and what earlier
installations left. Each check that is not ok says what to do.

Nothing that lasts is changed: what is tried is tried in namespaces of its own
that end with this command. The exit code is 1 if a check failed.`,
		Example: `  sudo postern doctor
  postern doctor --datapath none
  sudo postern doctor --json | jq '.checks[] | select(.status != "ok")'`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.datapath != "ebpf" && in.datapath != "none" {
				return usageError("--datapath %q: want ebpf or none", in.datapath)
			}
			return runDoctor(c.Context(), o, in, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&in.listen, "listen", in.listen, "address the API is to listen on")
	c.Flags().StringVar(&in.datapath, "datapath", "ebpf", "ebpf, or none to check for the API alone")
	c.Flags().BoolVar(&in.developer, "developer", false, "also check what building Postern needs")
	return c
}

type doctorInput struct {
	listen, datapath string
	developer        bool
}

func runDoctor(ctx context.Context, o *options, in doctorInput, out io.Writer) error {
	opts := doctor.Options{APIAddr: in.listen, NoDatapath: in.datapath == "none", Developer: in.developer, S3Backend: "postern-s3"}
	if path, ok := backendPath(); ok {
		opts.S3Backend = path
	}
	cl := newClient(o)
	defer cl.Close()
	var here admin.Host
	if info, err := cl.Info(ctx); err == nil {
		opts.APIRunning = info.Endpoint == "http://"+in.listen
		if list, err := cl.Hosts(ctx); err == nil {
			if i := slices.IndexFunc(list, func(h admin.Host) bool { return h.ID == info.Host }); i >= 0 {
				here = list[i]
			}
		}
	} else if id, err := loadIdentity(paths{o.dataDir}); err == nil && id != nil {
		here.Underlay = id.Underlay
	}
	if !opts.NoDatapath {
		opts.Probes = datapathProbes(ctx)
		opts.Leftovers = func() ([]string, error) { return leftovers(o.dataDir) }
		opts.Uplink = describe(o.dataDir, here.Errors["uplink"], (*link.Links).DescribeUplink)
		if here.Underlay.IsValid() {
			opts.Overlay = describe(o.dataDir, here.Errors["overlay"], func(l *link.Links) (string, error) { return l.DescribeOverlay(here.Underlay) })
		}
	}
	checks := doctor.Run(ctx, opts)
	write := doctor.WriteTable
	if o.json {
		write = doctor.WriteJSON
	}
	if err := write(out, checks); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if doctor.ExitCode(checks) != 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// leftovers are things in the kernel that are not this data directory's.
func leftovers(dataDir string) ([]string, error) {
	mine, err := link.TagFor(dataDir)
	if err != nil {
		return nil, err
	}
	items, err := link.InventoryAll()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, i := range items {
		if i.Tag != mine {
			out = append(out, i.String())
		}
	}
	return out, nil
}

// describe says what there is of something that the agent of the data directory
// makes, or why it could not, which the host has told the server.
func describe(dataDir, failed string, look func(*link.Links) (string, error)) func() (string, error) {
	return func() (string, error) {
		if failed != "" {
			return "", errors.New(failed)
		}
		tag, err := link.TagFor(dataDir)
		if err != nil {
			return "", err
		}
		l, err := link.New(link.Config{Tag: tag, RunDir: link.DefaultRunDir(tag)})
		if err != nil {
			return "", err
		}
		return look(l)
	}
}

// Steps of the probe, each needing the one before.
const (
	stepNamespace = "namespace"
	stepMount     = "mount"
	stepLoad      = "load"
	stepAttach    = "attach"
)

// datapathProbes try what the agent will do, in a child of ours that has
// network and mount namespaces of its own: they end with it and take
// everything along.
func datapathProbes(ctx context.Context) []doctor.Probe {
	failed := probeDatapath(ctx)
	result := func(steps ...string) func() error {
		return func() error {
			for _, s := range steps {
				if why, ok := failed[s]; ok {
					return errors.New(why)
				}
			}
			return nil
		}
	}
	return []doctor.Probe{
		doctor.NetnsProbe(result(stepNamespace)),
		doctor.BPFFSProbe(result(stepNamespace, stepMount)),
		{Name: "programs", Works: "are accepted by this kernel", Probe: result(stepNamespace, stepMount, stepLoad),
			Do: "use a kernel of 6.6 or later with CONFIG_BPF_SYSCALL, and run as root; the message is the kernel's"},
		doctor.TCXProbe(result(stepNamespace, stepMount, stepLoad, stepAttach)),
	}
}

// probeTime bounds the probe; checking the programs takes the kernel a second or two.
const probeTime = 30 * time.Second

// probeDatapath runs the child and answers why a step failed, by step.
func probeDatapath(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", probeCommand)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		return map[string]string{stepNamespace: fmt.Sprintf("make namespaces: %v", err)}
	}
	failed := map[string]string{}
	if jerr := json.Unmarshal(out.Bytes(), &failed); err != nil || jerr != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(errOut.String()), "\n")
		return map[string]string{stepMount: fmt.Sprintf("the probe ended early: %v %s", errors.Join(err, jerr), said)}
	}
	return failed
}

// probeCommand is the hidden command of the child.
const probeCommand = "probe-datapath"

func newProbeDatapathCommand(*options) *cobra.Command {
	return &cobra.Command{
		Use: probeCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "try this kernel's features in namespaces of its own (started by doctor)",
		RunE: func(c *cobra.Command, _ []string) error {
			failed := map[string]string{}
			if step, err := tryDatapath(); err != nil {
				failed[step] = err.Error()
			}
			return json.NewEncoder(c.OutOrStdout()).Encode(failed)
		},
	}
}

// tryDatapath goes through the agent's steps on this namespace's own loopback
// device. It refuses to where that is the host's.
func tryDatapath() (step string, err error) {
	host, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
	if err != nil {
		return stepNamespace, fmt.Errorf("look at the network namespace: %w", err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil || own == host {
		return stepNamespace, errors.Join(errors.New("not in a network namespace of its own: this command is started by postern doctor"), err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return stepMount, fmt.Errorf("keep our mounts to ourselves: %w", err)
	}
	// A file system of our own over a directory everybody has: nothing is
	// left in it.
	if err := unix.Mount("postern-probe", os.TempDir(), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m"); err != nil {
		return stepMount, fmt.Errorf("mount a tmpfs: %w", err)
	}
	pins := filepath.Join(os.TempDir(), "bpf")
	if err := os.Mkdir(pins, 0o700); err != nil {
		return stepMount, err
	}
	if err := unix.Mount("postern-probe", pins, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return stepMount, fmt.Errorf("mount a bpffs: %w", err)
	}
	// Few connections: the real table would take memory for a million.
	dp, err := datapath.Open(datapath.Config{PinDir: pins, MaxConnections: 1024})
	if err != nil {
		return stepLoad, err
	}
	defer dp.Close()
	const loopback = 1 // its index in every namespace
	if err := dp.Attach("lo", loopback, datapath.Workload); err != nil {
		return stepAttach, err
	}
	return "", nil
}
