// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern.dev/postern/test/bench/stats"
)

type parameters struct {
	Seconds float64 `json:"seconds"` // of each sample
	Rounds  int     `json:"rounds"`
	Conns   int     `json:"connections"` // of 4 KiB requests
	Large   int64   `json:"large_bytes"`
	// Operations are those that are measured.
	Operations []string `json:"operations"`
	Bodies     []int    `json:"bodies"`       // how many are on their way at a time
	Upload     int64    `json:"upload_bytes"` // during which memory is looked at

	s3, out, profile string
}

// most is how many files any process of a run may open.
const most = 16384

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench edge:", err)
		os.Exit(1)
	}
}

// run is a child, or the bench.
func run(args []string) error {
	if len(args) == 0 {
		return bench(args)
	}
	switch args[0] {
	case "edge":
		return serveEdge(args[1], args[2], args[3], args[4])
	case "backend":
		large, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return backend(args[1], large)
	case "ask", "trickle":
		var w wish
		if err := json.Unmarshal([]byte(args[1]), &w); err != nil {
			return err
		}
		if args[0] == "trickle" {
			return trickle(w, os.Stdin, os.Stdout)
		}
		m, err := ask(w)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(m)
	}
	return bench(args)
}

// inside is in the environment of the bench once it is in a namespace.
const inside = "POSTERN_BENCH_EDGE_INSIDE"

func bench(args []string) error {
	p := parameters{}
	var largeMiB, uploadMiB int64
	bodies, ops := "1,10,100,1000", "get,put,download,upload"
	fs := flag.NewFlagSet("edge", flag.ExitOnError)
	fs.Float64Var(&p.Seconds, "seconds", 0.5, "of each sample")
	fs.IntVar(&p.Rounds, "rounds", 5, "how often all is measured")
	fs.IntVar(&p.Conns, "conns", 8, "connections that ask for 4 KiB at a time")
	fs.Int64Var(&largeMiB, "large", 64, "MiB of a large body")
	fs.Int64Var(&uploadMiB, "upload", 5<<10, "MiB of the upload during which memory is looked at; 0 leaves all of memory out")
	fs.StringVar(&ops, "operations", ops, "what is measured")
	fs.StringVar(&bodies, "bodies", bodies, "how many large bodies are on their way when memory is looked at")
	fs.StringVar(&p.s3, "s3", "bin/postern-s3", "the S3 that Postern brings along")
	fs.StringVar(&p.out, "out", "bench/results", "directory of the JSON; empty writes none")
	fs.StringVar(&p.profile, "profile", "", "file that the edge writes its CPU profile to, with .plain and .s3 after it")
	fs.Parse(args)
	for f := range strings.SplitSeq(bodies, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > 2000 {
			return errors.New("-bodies are numbers from 1 to 2000")
		}
		p.Bodies = append(p.Bodies, n)
	}
	for name := range strings.SplitSeq(ops, ",") {
		if _, err := operationOf(name); err != nil {
			return err
		}
		p.Operations = append(p.Operations, name)
	}
	p.Large, p.Upload = largeMiB<<20, uploadMiB<<20
	if p.Seconds < 0.1 || p.Rounds < 1 || p.Conns < 1 || p.Conns > 256 || p.Large < 1<<20 || p.Upload < 0 || fs.NArg() > 0 {
		return errors.New("want -seconds of at least 0.1, -rounds of at least 1, -conns from 1 to 256 and -large of at least 1")
	}
	if os.Getenv(inside) == "" {
		return enter()
	}
	for _, program := range []string{"nginx", "haproxy", "taskset", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: scripts/deps.sh bench installs it", program)
		}
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return measure(ctx, p, os.Stdout)
}

// enter is the bench once more, in a network namespace of its own.
func enter() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for a network namespace")
	}
	// Children have the limit that is set by hand, not the one before Go raised it.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("open %d files: %w", most, err)
	}
	// A thread that ends would take the child with it.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	// Ctrl-C reaches the child too, which cleans up.
	signal.Ignore(os.Interrupt)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(1) // the child said why
	}
	return err
}

// table is one backend with the paths to it.
type table struct {
	name    string
	backend *exec.Cmd
	paths   []*path
}

func measure(ctx context.Context, p parameters, out io.Writer) (err error) {
	runtime.LockOSThread() // whose end would be the children's
	r := newResult(p)
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var tables []table
	plain := l.nextAddress()
	cmd := l.command(ctx, l.cpus[1], l.self, "backend", plain, fmt.Sprint(p.Large))
	if err := l.start(cmd, "backend", plain); err != nil {
		return err
	}
	tables = append(tables, table{name: "plain", backend: cmd})
	if tables[0].paths, err = l.paths(ctx, p, "plain", plain); err != nil {
		return err
	}
	if _, err := os.Stat(p.s3); err != nil {
		r.Skipped["s3"] = err.Error()
		fmt.Fprintln(out, "without the S3 that Postern brings along, which make build builds:", err)
	} else {
		address, cmd, err := l.startS3(ctx, p.s3, p.Large)
		if err != nil {
			return err
		}
		t := table{name: "s3", backend: cmd}
		if t.paths, err = l.paths(ctx, p, "s3", address); err != nil {
			return err
		}
		tables = append(tables, t)
	}
	rnd := rand.New(rand.NewPCG(uint64(r.Date.Unix()), 1))
	for round := range p.Rounds {
		for _, t := range tables {
			for _, name := range p.Operations {
				o, err := operationOf(name)
				if err != nil {
					return err
				}
				for cpus := 1; cpus <= 2; cpus++ {
					for _, step := range stats.RoundOrder(rnd, round, len(t.paths)) {
						x := t.paths[step.Path]
						fmt.Fprintf(out, "\rround %d of %d, %s, %s, %d CPU: %-20s", round+1, p.Rounds, t.name, o.name, cpus, x.name)
						s, err := l.sample(ctx, p, t, x, o, cpus)
						if err != nil {
							return fmt.Errorf("%s, %s, %s: %w", t.name, x.name, o.name, err)
						}
						s.Round, s.Pass = round, step.Pass
						r.Samples = append(r.Samples, s)
					}
				}
			}
		}
		ns, err := decision()
		if err != nil {
			return err
		}
		r.Decisions = append(r.Decisions, ns)
	}
	if p.Upload > 0 {
		fmt.Fprintf(out, "\rmemory%60s", "")
		if err := l.memory(ctx, p, plain, r); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	r.summarise()
	r.print(out)
	if p.out == "" {
		return nil
	}
	name, err := stats.Keep(p.out, "edge-", r.Date, r)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nwritten:", name)
	return nil
}

// sample is one client process. The proxy is on the first CPU, client and
// backend are there too or on the second.
func (l *lab) sample(ctx context.Context, p parameters, t table, x *path, o operation, cpus int) (s sample, err error) {
	cpu := l.cpus[cpus-1]
	if err := pin(t.backend.Process.Pid, cpu); err != nil {
		return s, err
	}
	w := wish{To: x.address, Operation: o.name, Lasts: time.Duration(p.Seconds * float64(time.Second)), Conns: p.Conns, Large: p.Large}
	if o.large {
		w.Conns = 1
	}
	var before time.Duration
	if x.proxy != nil {
		if before, err = cpuTime(x.proxy.Process.Pid); err != nil {
			return s, err
		}
	}
	m, err := l.askOnce(ctx, cpu, w)
	if err != nil {
		return s, err
	}
	s = sample{Backend: t.name, Path: x.name, Operation: o.name, CPUs: cpus, measured: m}
	if x.proxy != nil {
		after, err := cpuTime(x.proxy.Process.Pid)
		if err != nil {
			return s, err
		}
		s.CPU = int64(after - before)
	}
	return s, nil
}

// memory fills the figures of memory, with proxies of its own.
func (l *lab) memory(ctx context.Context, p parameters, backend string, r *result) error {
	paths, err := l.paths(ctx, p, "memory", backend)
	if err != nil {
		return err
	}
	for _, x := range paths {
		if x.proxy == nil {
			continue
		}
		m := memory{Path: x.name, Resident: map[int]int64{}}
		pid := x.proxy.Process.Pid
		// Once before: what is made once is there.
		for _, size := range []int64{p.Large, p.Upload} {
			before, _, err := resident(pid)
			if err != nil {
				return err
			}
			if err := forget(pid); err != nil {
				return err
			}
			if _, err := l.askOnce(ctx, l.cpus[1], wish{To: x.address, Operation: "upload", Conns: 1, Large: size}); err != nil {
				return fmt.Errorf("upload through %s: %w", x.name, err)
			}
			_, most, err := resident(pid)
			if err != nil {
				return err
			}
			m.Upload = max(0, most-before)
		}
		for _, n := range p.Bodies {
			err := l.during(ctx, l.cpus[1], wish{To: x.address, Conns: n, Large: p.Large}, func() error {
				now, _, err := resident(pid)
				m.Resident[n] = now
				return err
			})
			if err != nil {
				return fmt.Errorf("%d bodies through %s: %w", n, x.name, err)
			}
		}
		least, greatest := slices.Min(p.Bodies), slices.Max(p.Bodies)
		if greatest > least {
			m.PerBody = (m.Resident[greatest] - m.Resident[least]) / int64(greatest-least)
		}
		r.Memory = append(r.Memory, m)
	}
	return nil
}

// newResult describes where and with what is measured, without naming the host.
func newResult(p parameters) *result {
	r := &result{
		Place: stats.Here(), Parameters: p, Skipped: map[string]string{},
		Programs: map[string]string{"nginx": stats.FirstLine("nginx", "-v"), "haproxy": stats.FirstLine("haproxy", "-v")},
	}
	if _, err := os.Stat(p.s3); err == nil {
		r.Programs["s3"] = stats.FirstLine(p.s3, "--version")
	}
	return r
}
