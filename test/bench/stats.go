// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// quantile is the smallest value that at least the share q of all values does
// not exceed (the nearest rank). values are sorted; none gives 0.
func quantile[T cmp.Ordered](values []T, q float64) (zero T) {
	if len(values) == 0 {
		return zero
	}
	rank := int(q*float64(len(values)) + 0.999999)
	return values[min(max(rank, 1), len(values))-1]
}

// spread is the middle and the ends of some values.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf wants at least one value. The median of an even number is the mean
// of the two in the middle.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// step is one sample to take.
type step struct{ Round, Pass, Position, Path int }

// roundOrder is a shuffled order of n paths and then the same backwards, so
// that every path is, on average over the round, at the same time.
func roundOrder(rnd *rand.Rand, round, n int) []step {
	order := rnd.Perm(n)
	steps := make([]step, 0, 2*n)
	for pos, p := range order {
		steps = append(steps, step{round, 0, pos, p})
	}
	slices.Reverse(order)
	for pos, p := range order {
		steps = append(steps, step{round, 1, n + pos, p})
	}
	return steps
}

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
