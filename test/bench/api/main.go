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
	"os/signal"
	"syscall"
	"text/tabwriter"

	"postern.dev/postern/test/bench/stats"
)

type parameters struct {
	Seconds float64 `json:"seconds"` // per path, metric and pass
	Rounds  int     `json:"rounds"`
	Clients int     `json:"clients"`
	Stored  int     `json:"stored"` // endpoints of the larger server of the second part; 0 leaves it out

	postern, out string
}

// sample is what one path did in one pass.
type sample struct {
	Round   int     `json:"round"`
	Pass    int     `json:"pass"`
	Path    string  `json:"path"`
	Metric  string  `json:"metric"`
	Count   int     `json:"count"`
	Failed  int     `json:"failed"`
	Failure string  `json:"failure,omitempty"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

func (s sample) rate() float64 { return float64(s.Count) / s.Seconds }

// row is one line of the table.
type row struct {
	Metric string       `json:"metric"`
	Path   string       `json:"path"`
	To     string       `json:"to"`
	Rate   stats.Spread `json:"rate"` // ratio of calls a second
	P99    stats.Spread `json:"p99"`  // ratio of the 99th percentiles
}

type result struct {
	stats.Place
	Parameters parameters        `json:"parameters"`
	Programs   map[string]string `json:"programs"`
	Skipped    map[string]string `json:"skipped,omitempty"`
	Ratios     []row             `json:"ratios"`
	Growth     *growth           `json:"growth,omitempty"`
	Samples    []sample          `json:"samples"`
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "etcd" {
		if err := serveEtcd(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench etcd:", err)
			os.Exit(1)
		}
		return
	}
	var p parameters
	fs := flag.NewFlagSet("api", flag.ContinueOnError)
	fs.Float64Var(&p.Seconds, "seconds", 3, "of measuring per path, metric and pass")
	fs.IntVar(&p.Rounds, "rounds", 5, "how often all is measured")
	fs.IntVar(&p.Clients, "clients", 64, "that call at the same time")
	fs.IntVar(&p.Stored, "stored", 100_000, "endpoints of the larger server of the second part; 0 leaves it out")
	fs.StringVar(&p.postern, "postern", "bin/postern", "the program")
	fs.StringVar(&p.out, "out", "bench/results", "directory of the JSON; empty writes none")
	if err := fs.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	if p.Seconds < 0.1 || p.Rounds < 1 || p.Clients < 1 || p.Clients > 512 || p.Stored < 0 || fs.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: want -seconds of at least 0.1, -rounds and -clients of at least 1 (512 clients at most)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, p, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, p parameters, out io.Writer) error {
	r := &result{
		Place: stats.Here(), Parameters: p,
		Programs: map[string]string{}, Skipped: map[string]string{},
	}
	paths := []string{"postern", "etcd"}
	if python, version, err := findMoto(); err != nil {
		r.Skipped["moto"] = err.Error()
		fmt.Fprintln(out, "without moto:", err)
	} else {
		r.Programs["moto"] = version
		motoPython = python
		paths = append(paths, "moto")
	}
	rnd := rand.New(rand.NewPCG(uint64(r.Date.Unix()), 1))
	for round := range p.Rounds {
		for _, s := range stats.RoundOrder(rnd, round, len(paths)) {
			path := paths[s.Path]
			fmt.Fprintf(out, "\rround %d of %d, pass %d: %-8s", round+1, p.Rounds, s.Pass+1, path)
			got, err := measure(ctx, p, path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			for _, m := range got {
				m.Round, m.Pass, m.Path = round, s.Pass, path
				r.Samples = append(r.Samples, m)
			}
		}
	}
	fmt.Fprintln(out)
	r.summarise(p.Rounds)
	r.print(out)
	if p.Stored > 0 {
		var err error
		if r.Growth, err = measureGrowth(ctx, p, out); err != nil {
			return fmt.Errorf("growth: %w", err)
		}
		r.Growth.print(out)
	}
	if p.out == "" {
		return nil
	}
	name, err := stats.Keep(p.out, "api-", r.Date, r)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nwritten:", name)
	return nil
}

// measure runs every metric that the path has on a server of its own.
func measure(ctx context.Context, p parameters, path string) (out []sample, err error) {
	dir, err := os.MkdirTemp("", "postern-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if path == "etcd" {
		return measureEtcd(ctx, p, dir)
	}
	s, err := startServer(ctx, p, path, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.prepare(ctx, p.Clients); err != nil {
		return nil, err
	}
	ids := make([][]string, p.Clients)
	m := load(ctx, p, func(ctx context.Context, client, _ int) error {
		id, err := s.createEndpoint(ctx, s.vpcs[client])
		if err == nil {
			ids[client] = append(ids[client], id)
		}
		return err
	})
	m.Metric = "create"
	out = append(out, m)
	m = load(ctx, p, func(ctx context.Context, client, n int) error {
		if len(ids[client]) == 0 {
			return errors.New("this client could create nothing before")
		}
		return s.describeEndpoint(ctx, ids[client][n%len(ids[client])])
	})
	m.Metric = "describe"
	return append(out, m), ctx.Err()
}

func (r *result) summarise(rounds int) {
	per := func(path, metric string, of func(sample) float64) []float64 {
		sum, n := make([]float64, rounds), make([]float64, rounds)
		for _, s := range r.Samples {
			if s.Path == path && s.Metric == metric {
				sum[s.Round] += of(s)
				n[s.Round]++
			}
		}
		for i := range sum {
			if n[i] == 0 {
				return nil
			}
			sum[i] /= n[i]
		}
		return sum
	}
	ratio := func(path, metric, to, toMetric string, of func(sample) float64) (stats.Spread, bool) {
		a, b := per(path, metric, of), per(to, toMetric, of)
		if a == nil || b == nil {
			return stats.Spread{}, false
		}
		for i := range a {
			a[i] /= b[i]
		}
		return stats.SpreadOf(a), true
	}
	for _, c := range []struct{ metric, to, toMetric string }{
		{"create", "etcd", "put"}, {"create", "moto", "create"}, {"describe", "moto", "describe"},
	} {
		rate, ok := ratio("postern", c.metric, c.to, c.toMetric, sample.rate)
		if !ok {
			continue
		}
		p99, _ := ratio("postern", c.metric, c.to, c.toMetric, func(s sample) float64 { return s.P99 })
		r.Ratios = append(r.Ratios, row{Metric: c.metric, Path: "postern", To: c.to + " " + c.toMetric, Rate: rate, P99: p99})
	}
}

// aims are what the rates are meant to reach.
var aims = map[string]float64{"etcd put": 0.5, "moto describe": 20}

func (r *result) print(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(tw, "\npostern against\tmetric\trate\tp99 (less is better)\taim\n")
	for _, l := range r.Ratios {
		aim := "-"
		if a, ok := aims[l.To]; ok && r.Parameters.Rounds < 5 {
			aim = "not judged on fewer than five rounds"
		} else if ok {
			aim = fmt.Sprintf("rate of at least %v: %s", a, map[bool]string{true: "reached", false: "MISSED"}[l.Rate.Median >= a])
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.To, l.Metric, l.Rate, l.P99, aim)
	}
	fmt.Fprint(tw, "\nabsolute, which compares with nothing but itself\tmetric\tcalls/s\tp50 ms\tp99 ms\tfailed\n")
	type key struct{ path, metric string }
	seen := map[key]bool{}
	for _, s := range r.Samples {
		k := key{s.Path, s.Metric}
		if seen[k] {
			continue
		}
		seen[k] = true
		var rates, p50, p99 []float64
		failed, why := 0, ""
		for _, o := range r.Samples {
			if o.Path == k.path && o.Metric == k.metric {
				rates, p50, p99 = append(rates, o.rate()), append(p50, o.P50), append(p99, o.P99)
				if failed += o.Failed; o.Failure != "" {
					why = " (" + o.Failure + ")"
				}
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%.0f\t%.1f\t%.1f\t%d%s\n", k.path, k.metric, stats.SpreadOf(rates).Median, stats.SpreadOf(p50).Median, stats.SpreadOf(p99).Median, failed, why)
	}
	tw.Flush()
}
