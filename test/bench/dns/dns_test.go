// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// told is what dnsperf 2.10 prints with -v, shortened.
const told = `DNS Performance Testing Tool
Version 2.10.0

[Status] Command line: dnsperf -v
[Status] Sending queries (to 10.53.0.1:5301)
> NOERROR host-1.bench.example A 0.000100
> NOERROR host-0.bench.example A 0.000300
> NOERROR host-2.bench.example A 0.000200
[Status] Testing complete (end of file)

Statistics:

  Queries sent:         4
  Queries completed:    3 (75.00%)
  Queries lost:         1 (25.00%)

  Response codes:       NOERROR 3 (100.00%)
  Average packet size:  request 38, response 54
  Run time (s):         1.500000
  Queries per second:   2.000000
`

func TestParse(t *testing.T) {
	r, err := parse(told)
	if err != nil || r.Sent != 4 || r.Answered != 3 || r.Seconds != 1.5 || r.P50 != 200 || r.P99 != 300 || r.rate() != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, bad := range []string{
		strings.Replace(told, "NOERROR 3 (100.00%)", "NOERROR 2 (66.67%), NXDOMAIN 1 (33.33%)", 1),
		strings.Replace(told, "NOERROR 3 (100.00%)", "REFUSED 3 (100.00%)", 1),
		strings.Replace(told, "NOERROR 3 (100.00%)", "NOERROR 2 (100.00%)", 1), // one without a code
		strings.Replace(told, "Run time (s)", "Time", 1),
		"",
	} {
		if r, err := parse(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

// TestSummarise has a drift in it that is larger than the difference, which
// ratios inside rounds do not see.
func TestSummarise(t *testing.T) {
	r := &result{Parameters: parameters{Rounds: 2, Sizes: []int{10}}, paths: []string{"postern", "again", "unbound"}}
	for _, round := range []int{0, 1} {
		for path, answered := range map[string]int{"postern": 1100, "again": 1100, "unbound": 1000} {
			answered *= 1 + 4*round
			one := run{Sent: answered, Answered: answered, Seconds: 1, CPU: 1, P99: 5}
			r.Samples = append(r.Samples, sample{Round: round, Path: path, Names: 10, Apart: one, Together: one, Moderate: one})
		}
	}
	r.summarise()
	if len(r.Ratios) != 2 || len(r.Medians) != 3 || len(r.Aims) != 2 {
		t.Fatalf("%d ratios, %d medians, %d aims", len(r.Ratios), len(r.Medians), len(r.Aims))
	}
	if c, u := r.Aims[0], r.Aims[1]; !c.Missing || c.Reached || !u.Reached || u.Got.Min != 1.1 || u.Got.Max != 1.1 {
		t.Errorf("the aims are %+v", r.Aims)
	}
	var b strings.Builder
	r.print(&b)
	for _, want := range []string{"not measured   rate, two CPUs of postern, 10 names: at least 3 of coredns's", "reached        rate, two CPUs of postern, 10 names: at least 1 of unbound's", "1.10 (1.10..1.10)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

// TestFiles: the servers are told of all names and dnsperf asks for each once.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	const names = 300
	if _, err := corednsFiles(dir, names, 5301); err != nil {
		t.Fatal(err)
	}
	if _, err := unboundFiles(dir, names, 5302); err != nil {
		t.Fatal(err)
	}
	queries := filepath.Join(dir, "queries")
	if err := queryFile(queries, names); err != nil {
		t.Fatal(err)
	}
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	zone, conf, asked := read(filepath.Join(dir, "zone")), read(filepath.Join(dir, "unbound.conf")), read(queries)
	for i, want := range map[int]string{0: "10.0.0.0", 299: "10.0.1.43"} {
		host, _, _ := strings.Cut(hostName(i), ".")
		if !strings.Contains(zone, "\n"+host+" 60 IN A "+want+"\n") || !strings.Contains(conf, `"`+hostName(i)+`. 60 IN A `+want+`"`) {
			t.Errorf("%s with %s is not in the zones", host, want)
		}
		if strings.Count("\n"+asked, "\n"+hostName(i)+" A\n") != 1 {
			t.Errorf("%s is not asked for once", hostName(i))
		}
	}
	if n := strings.Count(asked, "\n"); n != names {
		t.Errorf("%d questions for %d names", n, names)
	}
}
