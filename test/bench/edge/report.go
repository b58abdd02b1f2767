// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"postern.dev/postern/test/bench/stats"
)

// sample is what one client got over one path.
type sample struct {
	Round     int    `json:"round"`
	Pass      int    `json:"pass"` // 0 there, 1 back
	Backend   string `json:"backend"`
	Path      string `json:"path"`
	Operation string `json:"operation"`
	CPUs      int    `json:"cpus"`
	measured
	CPU int64 `json:"proxy_cpu_ns"` // the warm-up's too, a tenth
}

// figure is a number that a sample gives.
type figure struct {
	name, unit string
	large      bool // of large bodies, or of small ones
	of         func(sample) float64
}

// warmUp is how much more a proxy does than is counted.
const warmUp = 1.1

var figures = []figure{
	{"rate", "requests/s", false, func(s sample) float64 { return float64(s.Requests) / float64(s.Elapsed) * 1e9 }},
	{"p99", "µs", false, func(s sample) float64 { return float64(s.P99) / 1e3 }},
	{"CPU", "µs/request", false, func(s sample) float64 { return float64(s.CPU) / warmUp / float64(s.Requests) / 1e3 }},
	{"throughput", "MB/s", true, func(s sample) float64 { return float64(s.Bytes) / float64(s.Elapsed) * 1e3 }},
	{"CPU", "ms/GB", true, func(s sample) float64 { return float64(s.CPU) / warmUp / float64(s.Bytes) * 1e3 }},
}

// row is one line of a table: a path, or what it is against another.
type row struct {
	Backend   string                  `json:"backend"`
	Operation string                  `json:"operation"`
	CPUs      int                     `json:"cpus"`
	Path      string                  `json:"path"`
	To        string                  `json:"to,omitempty"`
	Cells     map[string]stats.Spread `json:"cells"` // by the figure's name
}

// memory is what one proxy needs.
type memory struct {
	Path     string        `json:"path"`
	Upload   int64         `json:"upload_growth"` // bytes, at most, during the upload
	Resident map[int]int64 `json:"resident"`      // by the number of bodies on their way
	PerBody  int64         `json:"per_body"`      // from the fewest to the most
}

// judgement is how an aim went.
type judgement struct {
	Aim     string       `json:"aim"`
	Got     stats.Spread `json:"got"`
	Reached bool         `json:"reached"`
}

type result struct {
	stats.Place
	Parameters parameters        `json:"parameters"`
	Programs   map[string]string `json:"programs"`
	Skipped    map[string]string `json:"skipped,omitempty"`
	Ratios     []row             `json:"ratios"`
	Medians    []row             `json:"medians"`
	Decisions  []float64         `json:"decisions_ns"` // one a round
	Memory     []memory          `json:"memory,omitempty"`
	Aims       []judgement       `json:"aims"`
	Samples    []sample          `json:"samples"`
}

// comparisons are what is held against what.
var comparisons = []struct{ path, to string }{
	{"again", "direct"}, {"nginx", "direct"}, {"haproxy", "direct"}, {"postern", "direct"}, {"postern", "nginx"}, {"postern", "haproxy"},
}

// Aims.
const (
	enoughRounds  = 5
	aimRate       = 1.0      // of nginx's, in requests/s
	aimThroughput = 0.9      // of direct's
	aimDecision   = 0.01     // of what a request costs
	aimUpload     = 2 << 20  // bytes
	aimBody       = 64 << 10 // bytes for each body on its way, which is 64 MiB
)

// perRound is a figure's mean over the passes of each round; nil if there is
// nothing.
func (r *result) perRound(k row, path string, f figure) []float64 {
	sum, n := make([]float64, r.Parameters.Rounds), make([]float64, r.Parameters.Rounds)
	for _, s := range r.Samples {
		if s.Path == path && s.Backend == k.Backend && s.Operation == k.Operation && s.CPUs == k.CPUs {
			sum[s.Round] += f.of(s)
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

// summarise fills ratios, medians and aims from the samples.
func (r *result) summarise() {
	for _, backend := range []string{"plain", "s3"} {
		for _, o := range operations {
			for cpus := 1; cpus <= 2; cpus++ {
				r.summariseOne(row{Backend: backend, Operation: o.name, CPUs: cpus}, o)
			}
		}
	}
	if of := r.perRound(row{Backend: "plain", Operation: "get", CPUs: 1}, "postern", figures[2]); of != nil {
		for i := range of {
			of[i] = r.Decisions[i] / 1e3 / of[i]
		}
		r.judge("decision: at most 0.01 of the CPU time of a get", stats.SpreadOf(of), aimDecision, false)
	}
	for _, m := range r.Memory {
		if m.Path != "postern" {
			continue
		}
		one := func(n int64) stats.Spread {
			v := float64(n) / (1 << 10)
			return stats.Spread{Median: v, Min: v, Max: v}
		}
		r.judge(fmt.Sprintf("memory: an upload of %d MiB adds at most %d KiB", r.Parameters.Upload>>20, aimUpload>>10), one(m.Upload), aimUpload>>10, false)
		r.judge(fmt.Sprintf("memory: a body of %d MiB on its way adds at most %d KiB", r.Parameters.Large>>20, aimBody>>10), one(m.PerBody), aimBody>>10, false)
	}
}

func (r *result) summariseOne(k row, o operation) {
	for _, path := range []string{"direct", "again", "nginx", "haproxy", "postern"} {
		line := row{k.Backend, k.Operation, k.CPUs, path, "", map[string]stats.Spread{}}
		for _, f := range figures {
			if v := r.perRound(k, path, f); v != nil && f.large == o.large {
				line.Cells[f.name] = stats.SpreadOf(v)
			}
		}
		if len(line.Cells) > 0 {
			r.Medians = append(r.Medians, line)
		}
	}
	for _, c := range comparisons {
		line := row{k.Backend, k.Operation, k.CPUs, c.path, c.to, map[string]stats.Spread{}}
		for _, f := range figures {
			a, b := r.perRound(k, c.path, f), r.perRound(k, c.to, f)
			if a == nil || b == nil || f.large != o.large || b[0] == 0 || a[0] == 0 {
				continue // a direct path has no proxy
			}
			for i := range a {
				a[i] /= b[i]
			}
			line.Cells[f.name] = stats.SpreadOf(a)
		}
		if len(line.Cells) == 0 {
			continue
		}
		r.Ratios = append(r.Ratios, line)
		what := fmt.Sprintf("%s backend, %s, %d CPU", k.Backend, o.name, k.CPUs)
		switch {
		case c.path == "postern" && c.to == "nginx" && !o.large:
			r.judge(fmt.Sprintf("%s: rate at least %.1f of nginx", what, aimRate), line.Cells["rate"], aimRate, true)
		case c.path == "postern" && c.to == "direct" && o.large && k.CPUs == 2:
			r.judge(fmt.Sprintf("%s: throughput at least %.1f of direct", what, aimThroughput), line.Cells["throughput"], aimThroughput, true)
		}
	}
}

func (r *result) judge(aim string, got stats.Spread, want float64, atLeast bool) {
	r.Aims = append(r.Aims, judgement{aim, got, atLeast && got.Median >= want || !atLeast && got.Median <= want})
}

func (r *result) print(out io.Writer) {
	for _, large := range []bool{false, true} {
		size := "4 KiB"
		if large {
			size = fmt.Sprintf("%d MiB", r.Parameters.Large>>20)
		}
		fmt.Fprintf(out, "\n%s, ratios, median of the rounds (least..greatest):\n\n", size)
		r.table(out, r.Ratios, large, func(_ figure, s stats.Spread) string { return s.String() })
	}
	fmt.Fprintln(out, "\nFor CPU and p99 less is better, for the others more. \"again\" is the direct path")
	fmt.Fprintln(out, "twice: a difference no larger than its spread means nothing. On one CPU client,")
	fmt.Fprintln(out, "proxy and backend share it.")
	if r.Load >= 1 {
		fmt.Fprintf(out, "\nThe machine had other work (load %.1f): rates and p99 are not to be trusted, CPU is.\n", r.Load)
	}
	fmt.Fprint(out, "\nAbsolute medians on this machine, which compare with nothing but each other:\n\n")
	for _, large := range []bool{false, true} {
		r.table(out, r.Medians, large, func(f figure, s stats.Spread) string { return fmt.Sprintf("%.0f %s", s.Median, f.unit) })
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "A decision takes %.0f ns.\n", stats.SpreadOf(r.Decisions).Median)
	r.printMemory(out)
	fmt.Fprint(out, "\nAims, judged by the median:\n\n")
	if r.Parameters.Rounds < enoughRounds {
		fmt.Fprintf(out, "On fewer than %d rounds this proves nothing.\n\n", enoughRounds)
	}
	tw := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, j := range r.Aims {
		verdict := "MISSED"
		if j.Reached {
			verdict = "reached"
		}
		fmt.Fprintf(tw, "%s\t%s\t%.3g (%.3g..%.3g)\n", verdict, j.Aim, j.Got.Median, j.Got.Min, j.Got.Max)
	}
	tw.Flush()
}

// table prints the rows of small or of large bodies.
func (r *result) table(out io.Writer, rows []row, large bool, cell func(figure, stats.Spread) string) {
	tw := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(tw, "backend\toperation\tCPUs\tpath\tagainst")
	for _, f := range figures {
		if f.large == large {
			fmt.Fprintf(tw, "\t%s", f.name)
		}
	}
	fmt.Fprintln(tw)
	for _, l := range rows {
		if o, err := operationOf(l.Operation); err != nil || o.large != large {
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s", l.Backend, l.Operation, l.CPUs, l.Path, l.To)
		for _, f := range figures {
			if f.large != large {
				continue
			}
			text := "-"
			if s, ok := l.Cells[f.name]; ok && s.Median > 0 {
				text = cell(f, s)
			}
			fmt.Fprintf(tw, "\t%s", text)
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

func (r *result) printMemory(out io.Writer) {
	if len(r.Memory) == 0 {
		return
	}
	fmt.Fprintf(out, "\nMemory, KiB: what an upload of %d MiB adds, the resident set by bodies on their way, each body's:\n\n", r.Parameters.Upload>>20)
	tw := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(tw, "path\tupload")
	bodies := slices.Sorted(slices.Values(r.Parameters.Bodies))
	for _, n := range bodies {
		fmt.Fprintf(tw, "\t%d", n)
	}
	fmt.Fprintln(tw, "\teach")
	for _, m := range r.Memory {
		fmt.Fprintf(tw, "%s\t%d", m.Path, m.Upload>>10)
		for _, n := range bodies {
			fmt.Fprintf(tw, "\t%d", m.Resident[n]>>10)
		}
		fmt.Fprintf(tw, "\t%d\n", m.PerBody>>10)
	}
	tw.Flush()
}
