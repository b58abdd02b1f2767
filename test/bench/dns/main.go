// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"postern.dev/postern/test/bench/stats"
)

type parameters struct {
	Seconds float64 `json:"seconds"` // of each run of dnsperf
	Rounds  int     `json:"rounds"`
	Rate    int     `json:"rate"`  // queries a second when the latency is measured
	Sizes   []int   `json:"sizes"` // numbers of names
	Version string  `json:"coredns_version"`

	coredns, out string
}

func main() {
	if len(os.Args) > 1 {
		var err error
		switch a := os.Args[1:]; {
		case a[0] == "serve" && len(a) == 3:
			err = serve(a[1], a[2])
		case a[0] == "program" && len(a) == 4:
			err = serveProgram(a[1], a[2], a[3])
		case a[0] == "ask" && len(a) == 4:
			err = ask(a[1], a[2], a[3])
		default:
			bench()
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench dns:", err)
			os.Exit(1)
		}
		return
	}
	bench()
}

func bench() {
	var p parameters
	sizes := "1,1000,100000"
	fs := flag.NewFlagSet("dns", flag.ContinueOnError)
	fs.Float64Var(&p.Seconds, "seconds", 1, "of each run of dnsperf")
	fs.IntVar(&p.Rounds, "rounds", 5, "how often all is measured")
	fs.IntVar(&p.Rate, "rate", 5000, "queries a second when the latency is measured")
	fs.StringVar(&sizes, "sizes", sizes, "numbers of names")
	fs.StringVar(&p.Version, "coredns-version", "v1.14.7", "of the module that CoreDNS is built from")
	fs.StringVar(&p.coredns, "coredns", "", "the program instead")
	fs.StringVar(&p.out, "out", "bench/results", "directory of the JSON; empty writes none")
	if err := fs.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	for f := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > 1_000_000 {
			fmt.Fprintln(os.Stderr, "bench dns: -sizes are numbers from 1 to 1000000")
			os.Exit(2)
		}
		p.Sizes = append(p.Sizes, n)
	}
	if p.Seconds < 0.2 || p.Rounds < 1 || p.Rate < 100 || fs.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench dns: want -seconds of at least 0.2, -rounds of at least 1 and -rate of at least 100")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measure(ctx, p, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench dns:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, p parameters, out io.Writer) (err error) {
	for _, program := range []string{"dnsperf", "unbound", "taskset", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: scripts/deps.sh bench installs it", program)
		}
	}
	paths, skipped := []string{"postern", "again", "program", "unbound"}, map[string]string{}
	if p.coredns, err = findCoreDNS(ctx, p.coredns, p.Version); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		skipped["coredns"] = err.Error()
		fmt.Fprintln(out, "without CoreDNS:", err)
	} else {
		paths = append(paths, "coredns")
	}
	r := newResult(p)
	r.Skipped, r.paths = skipped, paths
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	servers := map[string]*server{}
	port := firstPort
	for _, n := range p.Sizes {
		if err := queryFile(l.queries(n), n); err != nil {
			return err
		}
		for _, path := range paths {
			fmt.Fprintf(out, "\rstarting %s with %d names%20s", path, n, "")
			s, err := l.start(ctx, p, path, n, port)
			if err != nil {
				return err
			}
			servers[key(path, n)] = s
			port++
		}
	}
	rnd := rand.New(rand.NewPCG(uint64(r.Date.Unix()), 1))
	for round := range p.Rounds {
		for _, n := range p.Sizes {
			for _, step := range stats.RoundOrder(rnd, round, len(paths)) {
				path := paths[step.Path]
				fmt.Fprintf(out, "\rround %d of %d, %d names, pass %d: %-20s", round+1, p.Rounds, n, step.Pass+1, path)
				s := servers[key(path, n)]
				m := sample{Round: round, Pass: step.Pass, Path: path, Names: n}
				for _, one := range []struct {
					to        *run
					cpu, rate int
				}{{&m.Apart, l.cpus[1], 0}, {&m.Together, l.cpus[0], 0}, {&m.Moderate, l.cpus[1], p.Rate}} {
					if *one.to, err = l.dnsperf(ctx, p, s, one.cpu, one.rate); err != nil {
						return fmt.Errorf("%s with %d names: %w", path, n, err)
					}
				}
				r.Samples = append(r.Samples, m)
			}
		}
	}
	fmt.Fprintln(out)
	r.summarise()
	r.print(out)
	if p.out == "" {
		return nil
	}
	name, err := stats.Keep(p.out, "dns-", r.Date, r)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nwritten:", name)
	return nil
}

func key(path string, names int) string { return fmt.Sprint(path, " ", names) }

func (l *lab) queries(names int) string {
	return filepath.Join(l.dir, fmt.Sprintf("queries-%d", names))
}

// newResult describes where and with what is measured, without naming the host.
func newResult(p parameters) *result {
	r := &result{
		Place: stats.Here(), Parameters: p,
		Programs: map[string]string{"unbound": stats.FirstLine("unbound", "-V")},
	}
	if p.coredns != "" {
		r.Programs["coredns"] = stats.FirstLine(p.coredns, "-version")
	}
	for line := range strings.Lines(output("dnsperf", "-H")) {
		if v, ok := strings.CutPrefix(line, "Version "); ok {
			r.Programs["dnsperf"] = strings.TrimSpace(v)
		}
	}
	return r
}

func output(program string, args ...string) string {
	out, _ := exec.Command(program, args...).CombinedOutput() // dnsperf -H exits with 1
	return string(out)
}
