// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"postern.dev/postern/test/bench/stats"
)

// enoughRounds is how many it takes to judge.
const enoughRounds = 5

// aim is a ratio that an interface endpoint is meant to reach.
type aim struct {
	figure, path, base string
	floor              string // if set, what path and base add to it is compared
	under              string // if set, what path and base keep under this flood is compared
	atMost             bool   // else at least
	limit              float64
}

// mainAims are of the table on one CPU, growthAims of the one of sizes.
var (
	mainAims = []aim{
		{figure: "requests", path: "postern", base: "direct", limit: 0.96},
		{figure: "requests", path: "postern", base: "nftables", limit: 1.15},
		{figure: "requests", path: "postern", base: "haproxy", limit: 2},
		{figure: "p99", path: "postern", base: "direct", limit: 1.10, atMost: true},
		{figure: "connections", path: "postern", base: "direct", limit: 0.94},
		{figure: "connections", path: "postern", base: "nftables", limit: 1.2},
		{figure: "connections", path: "postern", base: "haproxy", limit: 1.8},
		{figure: "1 stream", path: "postern", base: "direct", limit: 0.95},
		{figure: "1 stream", path: "postern", base: "haproxy", limit: 2.5},
		{figure: "8 streams", path: "postern", base: "direct", limit: 0.95},
		{figure: "8 streams", path: "postern", base: "haproxy", limit: 2.5},
		{figure: "no TSO", path: "postern", base: "direct", limit: 0.80},
		{figure: "no TSO", path: "postern", base: "nftables", limit: 1.5},
		{figure: "packet", path: "postern", base: "nftables", floor: "direct", limit: 0.27, atMost: true},
		{figure: "requests", path: "proxied", base: "postern", limit: 0.9},
		{figure: "connections", path: "proxied", base: "postern", limit: 0.9},
		{figure: "1 stream", path: "proxied", base: "postern", limit: 0.9},
	}
	growthAims = func() (out []aim) {
		for _, s := range sizes {
			if s.n == 0 { // the same size again
				continue
			}
			out = append(out,
				aim{figure: "packet", path: s.name, base: smallest, limit: 1.05, atMost: true},
				aim{figure: "connections", path: s.name, base: smallest, limit: 0.95})
		}
		return out
	}()
)

// judgement is how it went.
type judgement struct {
	Aim     string       `json:"aim"`
	Got     stats.Spread `json:"got"`
	Reached bool         `json:"reached"`
	Missing bool         `json:"not_measured,omitempty"`
}

func (a aim) String() string {
	than := "at least"
	if a.atMost {
		than = "at most"
	}
	if a.under != "" {
		return fmt.Sprintf("flood of %s, %s: %s keeps %s %.2f of what %s keeps", a.under, a.figure, a.path, than, a.limit, a.base)
	}
	if a.floor != "" {
		return fmt.Sprintf("%s: what %s adds to %s, %s %.2f of what %s adds", a.figure, a.path, a.floor, than, a.limit, a.base)
	}
	return fmt.Sprintf("%s: %s, %s %.2f of %s", a.figure, a.path, than, a.limit, a.base)
}

// judge holds the medians of a table against the aims.
func judge(t *table, aims []aim, rounds int) (out []judgement) {
	for _, a := range aims {
		f := figureNamed(a.figure)
		v := ratios(t.Samples, f, a.path, a.base, rounds)
		switch {
		case a.under != "":
			v = kept(t.Samples, f, a.path, a.base, a.under, rounds)
		case a.floor != "":
			v = added(t.Samples, f, a.path, a.base, a.floor, rounds)
		}
		j := judgement{Aim: a.String(), Missing: len(v) == 0}
		if !j.Missing {
			j.Got = stats.SpreadOf(v)
			j.Reached = a.atMost && j.Got.Median <= a.limit || !a.atMost && j.Got.Median >= a.limit
		}
		out = append(out, j)
	}
	return out
}

func printAims(w io.Writer, list []judgement, rounds int) {
	fmt.Fprint(w, "\nAims, judged by the median:\n\n")
	if rounds < enoughRounds {
		fmt.Fprintf(w, "On fewer than %d rounds this proves nothing.\n\n", enoughRounds)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, j := range list {
		if j.Missing {
			fmt.Fprintf(tw, "not measured\t%s\t-\n", j.Aim)
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", verdict(j.Reached), j.Aim, j.Got)
	}
	tw.Flush()
}

func verdict(ok bool) string {
	if ok {
		return "reached"
	}
	return "MISSED"
}
