// SPDX-License-Identifier: Apache-2.0

// Package stats is what the benchmarks share: quantiles, spreads, the order
// in which to measure, and the files of results.
package stats

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Quantile is the smallest value that at least the share q of all values does
// not exceed (the nearest rank). values are sorted; none gives 0.
func Quantile[T cmp.Ordered](values []T, q float64) (zero T) {
	if len(values) == 0 {
		return zero
	}
	rank := int(q*float64(len(values)) + 0.999999)
	return values[min(max(rank, 1), len(values))-1]
}

// Spread is the middle and the ends of some values.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// String is the median with least and greatest, as ratios are printed.
func (s Spread) String() string { return fmt.Sprintf("%.2f (%.2f..%.2f)", s.Median, s.Min, s.Max) }

// SpreadOf wants at least one value. The median of an even number is the mean
// of the two in the middle.
func SpreadOf(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// Step is one sample to take.
type Step struct{ Round, Pass, Position, Path int }

// RoundOrder is a shuffled order of n paths and then the same backwards, so
// that every path is, on average over the round, at the same time.
func RoundOrder(rnd *rand.Rand, round, n int) []Step {
	order := rnd.Perm(n)
	steps := make([]Step, 0, 2*n)
	for pos, p := range order {
		steps = append(steps, Step{round, 0, pos, p})
	}
	slices.Reverse(order)
	for pos, p := range order {
		steps = append(steps, Step{round, 1, n + pos, p})
	}
	return steps
}

// Keep writes a result as JSON to DIR/PREFIX2006-01-02-1504.json, which it answers.
func Keep(dir, prefix string, date time.Time, result any) (name string, err error) {
	b, err := json.MarshalIndent(result, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name = filepath.Join(dir, prefix+date.Format("2006-01-02-1504")+".json")
	return name, os.WriteFile(name, append(b, '\n'), 0o644)
}
