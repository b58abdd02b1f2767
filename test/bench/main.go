// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/test/bench/stats"
)

// parameters are what can be chosen, as the JSON keeps them.
type parameters struct {
	Seconds  float64  `json:"seconds"` // per path, metric and round; each of the two passes takes half
	Rounds   int      `json:"rounds"`
	Paths    []string `json:"paths"`
	CPU      int      `json:"cpu"` // everything on this one in the first table
	TwoCPUs  bool     `json:"two_cpus"`
	MTU      int      `json:"mtu"`
	MaxConns int64    `json:"max_connections"` // of one sample
	Tries    int      `json:"accept_tries"`    // and of create to resolvable
	Metrics  []string `json:"metrics"`
	Filler   int      `json:"filler"`    // rules, routes and endpoints beside those that are measured
	Flood    bool     `json:"flood"`     // beside some paths
	Hosts    bool     `json:"hosts"`     // two of them, and VXLAN between
	Growth   float64  `json:"growth"`    // share of the full sizes
	Starts   int      `json:"workloads"` // to start
	Seed     uint64   `json:"seed"`      // of the order

	accept, resolve bool // whether the two times are measured
	out, postern    string
}

// allPaths in the order of the table.
var allPaths = []string{"direct", "again", "nftables", "haproxy", "nginx", "postern", "proxied"}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "traffic" {
		if err := traffic(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	p, err := parse(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = bench(ctx, p, os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted, nothing written:", err) // cleaning up may have failed as well
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (p parameters, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Float64Var(&p.Seconds, "seconds", 1.5, "of measuring per path, metric and round")
	fs.IntVar(&p.Rounds, "rounds", 5, "how often all is measured")
	paths := fs.String("paths", strings.Join(allPaths, ","), "which to measure")
	chosen := fs.String("metrics", strings.Join(metricNames(), ","), "what to measure on them")
	fs.IntVar(&p.Filler, "filler", 20000, "rules, routes and endpoints in Postern's maps that concern no packet")
	fs.BoolVar(&p.Flood, "flood", true, "a table of what paths keep while somebody else floods; needs two CPUs")
	fs.BoolVar(&p.Hosts, "hosts", true, "a table of paths between two hosts")
	fs.Float64Var(&p.Growth, "growth", 1, "share of the sizes of the table of growth; 0 leaves it out")
	fs.IntVar(&p.Starts, "workloads", 1000, "to start at the end; 0 leaves it out")
	fs.IntVar(&p.CPU, "cpu", -1, "the one that client, server and proxy share (default: the last we may use)")
	fs.BoolVar(&p.TwoCPUs, "two-cpus", false, "a second table with client and server on two CPUs; doubles the time")
	fs.IntVar(&p.MTU, "mtu", 1500, "of the paths that are not Postern's, which has 1500")
	fs.Int64Var(&p.MaxConns, "max-connections", 20000, "after which a sample of connections ends early")
	fs.IntVar(&p.Tries, "tries", 50, "of accept to first byte and of create to resolvable; 0 leaves them out")
	fs.BoolVar(&p.accept, "accept", false, "measure only accept to first byte")
	fs.BoolVar(&p.resolve, "resolve", false, "measure only create to resolvable; with -accept both")
	fs.Uint64Var(&p.Seed, "seed", uint64(time.Now().UnixNano()), "of the shuffled order")
	fs.StringVar(&p.out, "out", "bench/results", "directory of the JSON; empty writes none")
	fs.StringVar(&p.postern, "postern", "bin/postern", "the program")
	if err := fs.Parse(args); err != nil {
		return p, err
	}
	if fs.NArg() > 0 {
		return p, fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	if p.Paths, err = choose("-paths", *paths, allPaths); err != nil {
		return p, err
	}
	if p.Metrics, err = choose("-metrics", *chosen, metricNames()); err != nil {
		return p, err
	}
	only := p.accept || p.resolve
	if only {
		p.Paths, p.Metrics, p.Growth, p.Starts, p.Hosts, p.Flood = []string{"postern"}, nil, 0, 0, false, false
	} else {
		p.accept, p.resolve = true, true
	}
	cpus, err := allowedCPUs()
	if err != nil {
		return p, err
	}
	switch {
	case p.CPU == -1:
		p.CPU = cpus[len(cpus)-1]
	case !slices.Contains(cpus, p.CPU):
		return p, fmt.Errorf("-cpu %d: we may use %v", p.CPU, cpus)
	}
	switch {
	case p.Seconds < 0.1 || p.Seconds > 60:
		return p, fmt.Errorf("-seconds %v: want 0.1 to 60", p.Seconds)
	case p.Rounds < 1 || p.Rounds > 100:
		return p, fmt.Errorf("-rounds %d: want 1 to 100", p.Rounds)
	case p.MaxConns < 100 || p.MaxConns > 30000:
		return p, fmt.Errorf("-max-connections %d: want 100 to 30000, a sample must not use a port twice", p.MaxConns)
	case slices.Contains(p.Paths, "proxied") && !slices.Contains(p.Paths, "postern"):
		return p, errors.New("-paths: proxied is another port of postern's endpoint, so it needs postern")
	case p.Filler < 0 || p.Filler > 50000:
		return p, fmt.Errorf("-filler %d: want 0 to 50000", p.Filler)
	case p.Growth < 0 || p.Growth > 1:
		return p, fmt.Errorf("-growth %v: want 0 to 1", p.Growth)
	case p.Starts < 0 || p.Starts > 10000:
		return p, fmt.Errorf("-workloads %d: want 0 to 10000", p.Starts)
	case p.Tries < 0 || only && p.Tries == 0:
		return p, fmt.Errorf("-tries %d: want at least one", p.Tries)
	case p.TwoCPUs && len(cpus) < 2:
		return p, errors.New("-two-cpus: there is only one")
	case os.Geteuid() != 0:
		return p, errors.New("needs root: namespaces and eBPF")
	}
	return p, nil
}

// choose reads a list of names, each of which must be one of all and once.
func choose(flag, list string, all []string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for i, name := range names {
		if !slices.Contains(all, name) || slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%s: %q twice or unknown: want some of %s", flag, name, strings.Join(all, ","))
		}
	}
	return names, nil
}

// bench measures, prints and writes; it leaves nothing else behind.
func bench(ctx context.Context, p parameters, out io.Writer) (err error) {
	lock, err := os.OpenFile("/run/pbench.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.New("another benchmark runs on this machine: wait for its end")
	}
	if err := removeLeftovers(p.postern); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	l, err := newLab(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()

	began := time.Now()
	progress := func(format string, args ...any) {
		fmt.Fprintf(out, "%5.0fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	res := newResult(p, p.postern)
	paths, inst, err := l.paths(p, res, progress)
	if err != nil {
		return err
	}
	if len(paths) == 0 && p.Growth == 0 && !p.Hosts {
		return errors.New("no path could be set up")
	}
	if len(p.Metrics) > 0 && len(paths) > 0 {
		if err := l.tables(p, paths, res, progress); err != nil {
			return err
		}
	}
	if p.Flood {
		if err := l.floodTable(p, paths, inst, res, progress); err != nil {
			return err
		}
	}
	if p.Hosts {
		if err := l.hostsTable(p, res, progress); err != nil {
			return err
		}
	}
	if p.Growth > 0 {
		if err := l.growthTable(p, res, progress); err != nil {
			return err
		}
	}
	if inst != nil && p.Tries > 0 && p.accept {
		if res.Acceptance, err = inst.measureAcceptance(p.Tries, progress); err != nil {
			return err
		}
	}
	if inst != nil && p.Tries > 0 && p.resolve {
		if res.Resolution, err = inst.measureResolution(p.Tries, progress); err != nil {
			return err
		}
	}
	if inst != nil && p.Starts > 0 {
		if res.Started, err = inst.measureStart(p.Starts, progress); err != nil {
			return err
		}
	}
	failed := res.print(out)
	if p.out != "" {
		file, err := stats.Keep(p.out, "", res.Date, res)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\nAll samples: %s\n", file)
	}
	if len(failed) > 0 {
		return errors.New("the numbers are not to be trusted: " + strings.Join(failed, "; "))
	}
	return nil
}

// filesDir is where files go: on a disk and not in memory, because the time
// from accept to first byte holds what the store writes.
const filesDir = "/var/tmp"

func newLab(ctx context.Context, p parameters) (*lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	launch, err := newLauncher()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filesDir, prefix)
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, launch: launch, dir: dir, cpus: []int{p.CPU}, mtu: p.MTU, self: self}
	l.undo(func() error { return os.RemoveAll(dir) })
	// Postern's parts run as users of their own, below here.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// paths sets up all that can be set up here.
func (l *lab) paths(p parameters, res *result, progress func(string, ...any)) (paths []*path, inst *installation, err error) {
	for _, name := range p.Paths {
		var x *path
		switch name {
		case "direct", "again":
			x, err = l.direct(name)
		case "nftables":
			x, err = l.nftables()
		case "haproxy":
			x, err = l.haproxy()
		case "nginx":
			x, err = l.nginx()
		case "postern":
			if inst, err = l.postern(p.postern, p.Filler); err == nil {
				x = inst.path
			}
		case "proxied":
			if x, err = nil, error(missing{"postern is not there"}); inst != nil {
				x, err = inst.proxied()
			}
		}
		var lack missing
		switch {
		case errors.As(err, &lack):
			progress("skipped %s: %v", name, err)
			res.Skipped[name] = lack.what
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("set up %s: %w", name, err)
		}
		if err := l.reachable(x); err != nil {
			return nil, nil, err
		}
		progress("ready: %s, %s", name, x.about)
		res.Paths[name] = x.about
		paths = append(paths, x)
	}
	return paths, inst, nil
}

// removeLeftovers removes what a run that was killed left: its namespaces and
// with them devices, rules and processes, its installation, its files. Only
// one run at a time gets here, so whatever has our names is left over.
func removeLeftovers(postern string) error {
	var errs []error
	dirs, _ := filepath.Glob(filepath.Join(filesDir, prefix+"*"))
	for _, d := range dirs {
		// Everybody may write there: only what root made is ours.
		var st unix.Stat_t
		if err := unix.Lstat(d, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 {
			continue
		}
		unix.Unmount(filepath.Join(d, "bpf"), unix.MNT_DETACH) // where it is mounted: it is ours
		data := filepath.Join(d, "data")
		if _, err := exec.LookPath(postern); err == nil {
			if err := resetInstallation(postern, data); err != nil {
				errs = append(errs, err)
				continue
			}
		} else if _, err := os.Stat(data); err == nil {
			errs = append(errs, fmt.Errorf("%s is an installation of an earlier run, and %s is not there to reset it: run `make build`", data, postern))
			continue
		}
		errs = append(errs, os.RemoveAll(d))
	}
	spaces, _ := filepath.Glob(filepath.Join(netnsDir, prefix+"*"))
	for _, ns := range spaces {
		errs = append(errs, removeNamespace(filepath.Base(ns)))
	}
	return errors.Join(errs...)
}
