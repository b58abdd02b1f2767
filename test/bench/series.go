// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"postern.dev/postern/test/bench/stats"
)

// tables measures with everything on one CPU and, if wanted, on two.
func (l *lab) tables(p parameters, paths []*path, res *result, progress func(string, ...any)) error {
	rnd := rand.New(rand.NewPCG(p.Seed, 0))
	one := &table{Name: "One CPU", pairs: mainPairs(paths), CPUs: fmt.Sprintf("client, server and proxy on CPU %d", p.CPU)}
	if err := l.series(p, one, rnd, paths, []int{p.CPU}, progress); err != nil {
		return err
	}
	res.Tables = append(res.Tables, one)
	res.Aims = append(res.Aims, judge(one, mainAims, p.Rounds)...)
	if !p.TwoCPUs {
		return nil
	}
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	other := cpus[0]
	if other == p.CPU {
		other = cpus[1]
	}
	for _, x := range paths {
		if err := pin(x.server.Process.Pid, []int{other}); err != nil {
			return err
		}
		if x.proxy != nil {
			if err := pin(x.proxy.Process.Pid, []int{p.CPU, other}); err != nil {
				return err
			}
		}
	}
	two := &table{Name: "Two CPUs", pairs: mainPairs(paths), CPUs: fmt.Sprintf("client on CPU %d, server on CPU %d, proxy on either", p.CPU, other)}
	if err := l.series(p, two, rnd, paths, []int{p.CPU}, progress); err != nil {
		return err
	}
	res.Tables = append(res.Tables, two)
	return nil
}

// growthTable measures datapaths of different sizes.
func (l *lab) growthTable(p parameters, res *result, progress func(string, ...any)) error {
	paths, err := l.growth(p.Growth, res, progress)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(paths, func(x *path) bool { return x.name == smallest }) {
		return nil // there is nothing to compare with; why is among what was skipped
	}
	t := &table{Name: "Growth", CPUs: fmt.Sprintf("client and server on CPU %d", p.CPU)}
	for _, x := range paths {
		if x.name != smallest {
			t.pairs = append(t.pairs, [2]string{x.name, smallest})
		}
	}
	p.Metrics = growthMetrics
	if err := l.series(p, t, rand.New(rand.NewPCG(p.Seed, 1)), paths, []int{p.CPU}, progress); err != nil {
		return err
	}
	res.Tables = append(res.Tables, t)
	res.Aims = append(res.Aims, judge(t, growthAims, p.Rounds)...)
	return nil
}

// growthMetrics are a packet of a known flow, and one connection after the
// other, each of which asks all the maps.
var growthMetrics = []string{"packets", "connect"}

// series takes all samples of one table.
func (l *lab) series(p parameters, t *table, rnd *rand.Rand, paths []*path, cpus []int, progress func(string, ...any)) error {
	type column struct {
		metric metric
		paths  []*path
	}
	var columns []column
	total := 0
	for _, m := range metrics {
		if !slices.Contains(p.Metrics, m.name) {
			continue
		}
		c := column{metric: m}
		for _, x := range paths {
			if m.on(x) {
				c.paths = append(c.paths, x)
			}
		}
		columns = append(columns, c)
		total += 2 * p.Rounds * len(c.paths)
	}
	for round := range p.Rounds {
		for _, k := range rnd.Perm(len(columns)) {
			m := columns[k].metric
			for _, s := range stats.RoundOrder(rnd, round, len(columns[k].paths)) {
				x := columns[k].paths[s.Path]
				got, err := l.sample(p, x, m, cpus)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", x.name, m.name, round+1, err)
				}
				t.Samples = append(t.Samples, sample{round, s.Pass, s.Position, x.name, m.name, got})
				progress("%s %d/%d  round %d  %-8s %-11s %s", strings.ToLower(t.Name), len(t.Samples), total, round+1, m.name, x.name, describe(m.name, got))
			}
		}
	}
	for _, x := range paths {
		t.paths = append(t.paths, x.name)
	}
	t.summarise(p.Rounds)
	return nil
}

// describe is a sample in words.
func describe(metric string, m measured) string {
	var out []string
	for _, f := range figures {
		if f.metric == metric {
			v := f.of(m)
			out = append(out, fmt.Sprintf("%s %.*f %s", f.name, decimals(v), v, f.unit))
		}
	}
	if m.Failed > 0 {
		out = append(out, fmt.Sprintf("%d FAILED", m.Failed))
	}
	return strings.Join(out, ", ")
}

// sample runs one client process.
func (l *lab) sample(p parameters, x *path, how metric, cpus []int) (m measured, err error) {
	if x.sample != nil {
		return x.sample(p, how, cpus)
	}
	lasts := time.Duration(p.Seconds / 2 * float64(time.Second))
	to := x.to
	if how.udp {
		to = x.udp
	}
	if how.segmented {
		if err := l.offload(x, false); err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, l.offload(x, true)) }()
	}
	if x.before != nil {
		if err := x.before(); err != nil {
			return m, err
		}
	}
	before, err := swallowed(x.server.Process.Pid)
	if err != nil {
		return m, err
	}
	cmd := l.generator("ask", "-what", how.ask, "-to", to.String(), "-for", lasts.String(), "-limit", fmt.Sprint(p.MaxConns),
		"-streams", fmt.Sprint(max(1, how.streams)))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := l.launch.start(cmd, x.clientNS, cpus); err != nil {
		return m, err
	}
	if err := cmd.Wait(); err != nil {
		if l.ctx.Err() != nil {
			return m, l.ctx.Err()
		}
		return m, fmt.Errorf("%w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return m, fmt.Errorf("the client printed %q: %w", out.Bytes(), err)
	}
	if m.Elapsed <= 0 || m.Bytes+m.Count == 0 {
		return m, fmt.Errorf("the client measured nothing: %q", out.Bytes())
	}
	if how.udp {
		after, err := swallowed(x.server.Process.Pid)
		if err != nil {
			return m, err
		}
		if m.Failed = lost(m, after-before); m.Failed > 0 {
			m.Failure = "packets did not arrive"
		}
	}
	return m, nil
}
