// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"postern.dev/postern/test/bench/stats"
)

// sample is one client process's result.
type sample struct {
	Round    int    `json:"round"`
	Pass     int    `json:"pass"`     // 0 there, 1 back
	Position int    `json:"position"` // in the round, from 0
	Path     string `json:"path"`
	Metric   string `json:"metric"`
	measured
}

// table is one series: all samples with one placement of the processes.
type table struct {
	Name    string           `json:"name"`
	CPUs    string           `json:"cpus"`
	Ratios  []ratioRow       `json:"ratios"`
	Medians map[string]cells `json:"medians"` // by path
	Samples []sample         `json:"samples"`

	paths []string
	pairs [][2]string // of which there are ratios
}

// cells are spreads by the figure's name.
type cells map[string]stats.Spread

type ratioRow struct {
	Path  string `json:"path"`
	To    string `json:"to"`
	Cells cells  `json:"cells"`
}

// result is the file.
type result struct {
	stats.Place
	CPU        string            `json:"cpu"`
	Programs   map[string]string `json:"programs"` // their versions
	Paths      map[string]string `json:"paths"`    // what was measured
	Skipped    map[string]string `json:"skipped,omitempty"`
	Parameters parameters        `json:"parameters"`
	Units      map[string]string `json:"units"`
	Tables     []*table          `json:"tables,omitempty"`
	Aims       []judgement       `json:"aims,omitempty"`
	Acceptance *delay            `json:"acceptance,omitempty"`
	Resolution *delay            `json:"resolution,omitempty"`
	Started    *started          `json:"started,omitempty"`
}

// mainPairs are what is compared with what.
func mainPairs(paths []*path) (out [][2]string) {
	for _, p := range paths {
		if p.name != "direct" && !p.proxied {
			out = append(out, [2]string{p.name, "direct"})
		}
	}
	for _, base := range []string{"nftables", "haproxy", "nginx"} {
		out = append(out, [2]string{"postern", base})
	}
	return append(out, [2]string{"proxied", "postern"})
}

// summarise fills ratios and medians from the samples.
func (t *table) summarise(rounds int) {
	t.Medians = map[string]cells{}
	for _, p := range t.paths {
		t.Medians[p] = cells{}
		for _, f := range figures {
			if v := perRound(t.Samples, f, p, rounds); len(v) > 0 {
				t.Medians[p][f.name] = stats.SpreadOf(v)
			}
		}
	}
	t.Ratios = nil
	for _, p := range t.pairs {
		row := ratioRow{Path: p[0], To: p[1], Cells: cells{}}
		for _, f := range figures {
			if v := ratios(t.Samples, f, p[0], p[1], rounds); v != nil {
				row.Cells[f.name] = stats.SpreadOf(v)
			}
		}
		if len(row.Cells) > 0 {
			t.Ratios = append(t.Ratios, row)
		}
	}
}

// print writes everything and answers why it is not to be trusted.
func (r *result) print(w io.Writer) (failed []string) {
	for _, t := range r.Tables {
		t.print(w)
		failed = append(failed, t.failures()...)
	}
	if len(r.Aims) > 0 {
		printAims(w, r.Aims, r.Parameters.Rounds)
	}
	if r.Acceptance != nil {
		r.Acceptance.print(w, "Accept to first byte", aimAccept)
	}
	if r.Resolution != nil {
		r.Resolution.print(w, "Create to resolvable", aimResolve)
	}
	if r.Started != nil {
		r.Started.print(w)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Skipped)) {
		fmt.Fprintf(w, "\nNot measured: %s (%s)\n", name, r.Skipped[name])
	}
	return failed
}

// print writes the ratios and below them, as an aid, the absolute medians.
func (t *table) print(w io.Writer) {
	var shown []figure
	for _, f := range figures {
		if slices.ContainsFunc(t.Samples, func(s sample) bool { return s.Metric == f.metric }) {
			shown = append(shown, f)
		}
	}
	fmt.Fprintf(w, "\n%s. Ratios, median of the rounds (least..greatest):\n\n", t.Name)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprint(tw, "path\tagainst")
	for _, f := range shown {
		fmt.Fprintf(tw, "\t%s", f.name)
	}
	fmt.Fprintln(tw)
	for _, r := range t.Ratios {
		fmt.Fprintf(tw, "%s\t%s", r.Path, r.To)
		for _, f := range shown {
			if s, ok := r.Cells[f.name]; ok {
				fmt.Fprintf(tw, "\t%s", s)
			} else {
				fmt.Fprint(tw, "\t-")
			}
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
	t.printFloods(w)
	fmt.Fprintln(w, "\nFor p50, p99 and packet less is better, for the others more. \"again\" is the same path")
	fmt.Fprintln(w, "twice: a difference no larger than its spread means nothing.")
	fmt.Fprint(w, "\nAbsolute medians on this machine, which compare with nothing but each other:\n\n")
	fmt.Fprint(tw, "path")
	for _, f := range shown {
		fmt.Fprintf(tw, "\t%s %s", f.name, f.unit)
	}
	fmt.Fprintln(tw)
	for _, p := range t.paths {
		fmt.Fprint(tw, p)
		for _, f := range shown {
			if s, ok := t.Medians[p][f.name]; ok {
				fmt.Fprintf(tw, "\t%.*f", decimals(s.Median), s.Median)
			} else {
				fmt.Fprint(tw, "\t-")
			}
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

func decimals(v float64) int {
	if v < 100 {
		return 1
	}
	return 0
}

// failures are connections and packets that came to nothing, by path. Beside a flood
// they are what was to be found out.
func (t *table) failures() (out []string) {
	for _, s := range t.Samples {
		if s.Failed > 0 && s.Flood == nil {
			out = append(out, fmt.Sprintf("%s, %s, round %d: %d failed beside %d good ones: %s", s.Path, s.Metric, s.Round+1, s.Failed, s.Count, s.Failure))
		}
	}
	return out
}

func (d *delay) print(w io.Writer, what string, aim time.Duration) {
	fmt.Fprintf(w, "\n%s, %d tries on one host: median %.1f ms, p99 %.1f ms, max %.1f ms\n", what, d.Tries, d.MedianMS, d.P99MS, d.MaxMS)
	fmt.Fprintf(w, "aim: p99 at most %v: %s\n", aim, verdict(d.P99MS <= aim.Seconds()*1e3))
}

// newResult describes where and with what is measured, without naming the host.
func newResult(p parameters, postern string) *result {
	r := &result{
		Place: stats.Here(), CPU: "unknown", Parameters: p,
		Programs: map[string]string{}, Paths: map[string]string{}, Skipped: map[string]string{}, Units: map[string]string{},
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				r.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	for name, cmd := range map[string][]string{"haproxy": {"haproxy", "-v"}, "nginx": {"nginx", "-v"}, "nft": {"nft", "--version"}, "ip": {"ip", "-V"}, "postern": {postern, "version"}} {
		r.Programs[name] = stats.FirstLine(cmd[0], cmd[1:]...)
	}
	for _, f := range figures {
		r.Units[f.name] = f.unit
	}
	return r
}
