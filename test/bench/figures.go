// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "slices"

// metric is one way to use a path.
type metric struct {
	name      string
	ask       string // what the generator does
	streams   int    // of askForStreams
	segmented bool   // the devices do not segment: no packet is larger than the MTU
	proxied   bool   // also measured with the PROXY protocol on
	udp       bool   // only on paths that carry UDP
}

var metrics = []metric{
	{name: "echo", ask: "echo", proxied: true},
	{name: "connect", ask: "connect", proxied: true},
	{name: "stream", ask: "stream", streams: 1, proxied: true},
	{name: "streams", ask: "stream", streams: 8},
	{name: "segments", ask: "stream", streams: 1, segmented: true},
	{name: "packets", ask: "packets", udp: true},
}

// on says whether the metric is measured on a path.
func (m metric) on(p *path) bool {
	return (!p.proxied || m.proxied) && (!m.udp || p.udp.IsValid())
}

// metricNames are all there are.
func metricNames() (out []string) {
	for _, m := range metrics {
		out = append(out, m.name)
	}
	return out
}

// figure is one column: a number that a sample gives.
type figure struct {
	name, unit string
	metric     string
	of         func(measured) float64
}

func rate(m measured) float64  { return float64(m.Count) * 1e9 / float64(m.Elapsed) }
func speed(m measured) float64 { return float64(m.Bytes) * 8 / float64(m.Elapsed) }

// figures are the columns of every table. For p50, p99 and packet less is better.
var figures = []figure{
	{"requests", "1/s", "echo", rate},
	{"p50", "us", "echo", func(m measured) float64 { return float64(m.P50) / 1e3 }},
	{"p99", "us", "echo", func(m measured) float64 { return float64(m.P99) / 1e3 }},
	{"connections", "1/s", "connect", rate},
	{"1 stream", "Gbit/s", "stream", speed},
	{"8 streams", "Gbit/s", "streams", speed},
	{"no TSO", "Gbit/s", "segments", speed},
	{"packet", "ns", "packets", func(m measured) float64 { return float64(m.Elapsed) / float64(m.Count) }},
}

// figureNamed wants a name that is in figures.
func figureNamed(name string) figure {
	return figures[slices.IndexFunc(figures, func(f figure) bool { return f.name == name })]
}

// perRound is what a path showed of a figure in each round: the mean of the
// round's two passes.
func perRound(samples []sample, f figure, path string, rounds int) []float64 {
	sums, counts := make([]float64, rounds), make([]float64, rounds)
	for _, s := range samples {
		if s.Path == path && s.Metric == f.metric && s.Round < rounds {
			sums[s.Round] += f.of(s.measured)
			counts[s.Round]++
		}
	}
	out := make([]float64, 0, rounds)
	for r := range rounds {
		if counts[r] > 0 {
			out = append(out, sums[r]/counts[r])
		}
	}
	return out
}

// ratios are a path's values through another's, round by round; nil when one
// of them has not been measured in every round.
func ratios(samples []sample, f figure, path, base string, rounds int) []float64 {
	return combine(func(v []float64) float64 { return v[0] / v[1] }, samples, f, rounds, path, base)
}

// added are what a path adds to the floor, through what another adds to it.
func added(samples []sample, f figure, path, other, floor string, rounds int) []float64 {
	return combine(func(v []float64) float64 { return (v[0] - v[2]) / (v[1] - v[2]) }, samples, f, rounds, path, other, floor)
}

// kept is the share that a path keeps under a flood of what it has alone, through
// the share that another keeps.
func kept(samples []sample, f figure, path, other, under string, rounds int) []float64 {
	return combine(func(v []float64) float64 { return v[0] / v[1] / (v[2] / v[3]) }, samples, f, rounds,
		floodPath(path, under), floodPath(path, floodNone), floodPath(other, under), floodPath(other, floodNone))
}

// combine makes one number of some paths' values, round by round; nil when a
// path has not been measured in every round, or shows nothing.
func combine(how func([]float64) float64, samples []sample, f figure, rounds int, paths ...string) []float64 {
	values := make([][]float64, rounds)
	for _, p := range paths {
		per := perRound(samples, f, p, rounds)
		if len(per) != rounds || slices.Contains(per, 0) {
			return nil
		}
		for r, v := range per {
			values[r] = append(values[r], v)
		}
	}
	out := make([]float64, rounds)
	for r := range rounds {
		out[r] = how(values[r])
	}
	return out
}
