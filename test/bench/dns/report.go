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

// sample is what one server did in one pass.
type sample struct {
	Round    int    `json:"round"`
	Pass     int    `json:"pass"` // 0 there, 1 back
	Path     string `json:"path"`
	Names    int    `json:"names"`
	Apart    run    `json:"two_cpus"`
	Together run    `json:"one_cpu"`
	Moderate run    `json:"fixed_rate"`
}

// figure is a number that a sample gives.
type figure struct {
	name, unit string
	of         func(sample) float64
}

var figures = []figure{
	{"rate, two CPUs", "answers/s", func(s sample) float64 { return s.Apart.rate() }},
	{"rate, one CPU", "answers/s", func(s sample) float64 { return s.Together.rate() }},
	{cpuFigure, "µs/answer", func(s sample) float64 { return s.Apart.perAnswer() }},
	{"p99", "µs", func(s sample) float64 { return s.Moderate.P99 }},
	{"busy", "of its CPU", func(s sample) float64 { return s.Apart.CPU / s.Apart.Seconds }},
	{"lost", "of all", func(s sample) float64 {
		sent := s.Apart.Sent + s.Together.Sent + s.Moderate.Sent
		return float64(sent-s.Apart.Answered-s.Together.Answered-s.Moderate.Answered) / float64(sent)
	}},
}

// compared are the figures of which there are ratios.
const compared = 4

// cells are spreads by the figure's name.
type cells map[string]stats.Spread

type row struct {
	Names int    `json:"names"`
	Path  string `json:"path"`
	To    string `json:"to,omitempty"`
	Cells cells  `json:"cells"`
}

// judgement is how an aim went.
type judgement struct {
	Aim     string       `json:"aim"`
	Got     stats.Spread `json:"got"`
	Reached bool         `json:"reached"`
	Missing bool         `json:"not_measured,omitempty"`
}

type result struct {
	stats.Place
	Parameters parameters        `json:"parameters"`
	Programs   map[string]string `json:"programs"` // their versions
	Skipped    map[string]string `json:"skipped,omitempty"`
	Ratios     []row             `json:"ratios"`
	Medians    []row             `json:"medians"`
	Aims       []judgement       `json:"aims"`
	Samples    []sample          `json:"samples"`

	paths []string // that were measured
}

// comparisons are what is held against what, with the aim for the ratio of a
// figure; without one there is none.
var comparisons = []struct {
	path, to string
	of       string  // figure
	aim      float64 // at least, or of the CPU time, of which less is better, at most
}{
	{"again", "postern", "", 0}, {"postern", "coredns", figures[0].name, 3}, {"postern", "unbound", figures[0].name, 1},
	{"program", "postern", "", 0}, {"program", "coredns", cpuFigure, 0.1},
}

const cpuFigure = "CPU"

// enoughRounds is how many it takes to judge.
const enoughRounds = 5

// perRound is a figure's mean over the passes of each round.
func (r *result) perRound(path string, names int, f figure) []float64 {
	sum, n := make([]float64, r.Parameters.Rounds), make([]float64, r.Parameters.Rounds)
	for _, s := range r.Samples {
		if s.Path == path && s.Names == names {
			sum[s.Round] += f.of(s)
			n[s.Round]++
		}
	}
	for i := range sum {
		sum[i] /= n[i]
	}
	return sum
}

// summarise fills ratios, medians and aims from the samples.
func (r *result) summarise() {
	for _, n := range r.Parameters.Sizes {
		for _, path := range r.paths {
			line := row{Names: n, Path: path, Cells: cells{}}
			for _, f := range figures {
				line.Cells[f.name] = stats.SpreadOf(r.perRound(path, n, f))
			}
			r.Medians = append(r.Medians, line)
		}
		for _, c := range comparisons {
			if !slices.Contains(r.paths, c.path) {
				continue
			}
			least := "at least"
			if c.of == cpuFigure {
				least = "at most"
			}
			aim := fmt.Sprintf("%s of %s, %d names: %s %v of %s's", c.of, c.path, n, least, c.aim, c.to)
			if !slices.Contains(r.paths, c.to) {
				r.Aims = append(r.Aims, judgement{Aim: aim, Missing: true})
				continue
			}
			line := row{Names: n, Path: c.path, To: c.to, Cells: cells{}}
			for _, f := range figures[:compared] {
				a, b := r.perRound(c.path, n, f), r.perRound(c.to, n, f)
				for i := range a {
					a[i] /= b[i]
				}
				line.Cells[f.name] = stats.SpreadOf(a)
			}
			r.Ratios = append(r.Ratios, line)
			if c.of != "" {
				got := line.Cells[c.of]
				r.Aims = append(r.Aims, judgement{Aim: aim, Got: got, Reached: (got.Median >= c.aim) == (c.of != cpuFigure)})
			}
		}
	}
}

func (r *result) print(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(out, "\nRatios, median of the rounds (least..greatest):\n\n")
	fmt.Fprint(tw, "names\tpath\tagainst")
	for _, f := range figures[:compared] {
		fmt.Fprintf(tw, "\t%s", f.name)
	}
	fmt.Fprintln(tw)
	for _, l := range r.Ratios {
		fmt.Fprintf(tw, "%d\t%s\t%s", l.Names, l.Path, l.To)
		for _, f := range figures[:compared] {
			fmt.Fprintf(tw, "\t%s", l.Cells[f.name])
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
	fmt.Fprintln(out, "\nFor CPU and p99 less is better, for rates more. \"again\" is Postern twice: a")
	fmt.Fprintln(out, "difference no larger than its spread means nothing. Where a server is not busy, dnsperf")
	fmt.Fprintf(out, "was the limit, or other work on the machine. p99 is at %d queries/s.\n", r.Parameters.Rate)
	if r.Load >= 1 {
		fmt.Fprintf(out, "\nThe machine had other work (load %.1f): rates and p99 are not to be trusted, CPU is.\n", r.Load)
	}
	fmt.Fprint(out, "\nAbsolute medians on this machine, which compare with nothing but each other:\n\n")
	fmt.Fprint(tw, "names\tpath")
	for _, f := range figures {
		fmt.Fprintf(tw, "\t%s, %s", f.name, f.unit)
	}
	fmt.Fprintln(tw)
	for _, l := range r.Medians {
		fmt.Fprintf(tw, "%d\t%s", l.Names, l.Path)
		for _, f := range figures {
			switch v := l.Cells[f.name].Median; {
			case f.unit == "of its CPU", f.unit == "of all":
				fmt.Fprintf(tw, "\t%.3f", v)
			case v < 100:
				fmt.Fprintf(tw, "\t%.1f", v)
			default:
				fmt.Fprintf(tw, "\t%.0f", v)
			}
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
	fmt.Fprint(out, "\nAims, judged by the median:\n\n")
	if r.Parameters.Rounds < enoughRounds {
		fmt.Fprintf(out, "On fewer than %d rounds this proves nothing.\n\n", enoughRounds)
	}
	for _, j := range r.Aims {
		if j.Missing {
			fmt.Fprintf(tw, "not measured\t%s\t-\n", j.Aim)
			continue
		}
		verdict := "MISSED"
		if j.Reached {
			verdict = "reached"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", verdict, j.Aim, j.Got)
	}
	tw.Flush()
}
