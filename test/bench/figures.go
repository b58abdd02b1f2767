// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

// figure is one column: a number that a sample gives.
type figure struct {
	name, unit string
	metric     string
	of         func(measured) float64
}

// figures are the columns of every table. For p50 and p99 less is better.
var figures = []figure{
	{"1 stream", "Gbit/s", "stream", func(m measured) float64 { return float64(m.Bytes) * 8 / float64(m.Elapsed) }},
	{"requests", "1/s", "echo", func(m measured) float64 { return float64(m.Count) * 1e9 / float64(m.Elapsed) }},
	{"p50", "us", "echo", func(m measured) float64 { return float64(m.P50) / 1e3 }},
	{"p99", "us", "echo", func(m measured) float64 { return float64(m.P99) / 1e3 }},
	{"connections", "1/s", "connect", func(m measured) float64 { return float64(m.Count) * 1e9 / float64(m.Elapsed) }},
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
	a, b := perRound(samples, f, path, rounds), perRound(samples, f, base, rounds)
	if len(a) != rounds || len(b) != rounds {
		return nil
	}
	out := make([]float64, rounds)
	for r := range rounds {
		if b[r] == 0 {
			return nil
		}
		out[r] = a[r] / b[r]
	}
	return out
}
