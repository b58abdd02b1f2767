// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"postern.dev/postern/test/bench/stats"
)

// run is what one run of dnsperf says.
type run struct {
	Sent     int     `json:"sent"`
	Answered int     `json:"answered"` // with NOERROR
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us,omitempty"`
	P99      float64 `json:"p99_us,omitempty"`
	CPU      float64 `json:"server_cpu_seconds"`
}

func (r run) rate() float64      { return float64(r.Answered) / r.Seconds }
func (r run) perAnswer() float64 { return r.CPU / float64(r.Answered) * 1e6 }

// dnsperf asks a server from a CPU: so many queries a second, or with 0 as many
// as are answered. Latencies are only told for the first.
func (l *lab) dnsperf(ctx context.Context, p parameters, s *server, cpu, rate int) (r run, err error) {
	args := []string{"-f", "inet", "-s", s.addr.Addr().String(), "-p", strconv.Itoa(int(s.addr.Port())), "-d", l.queries(s.names),
		"-l", strconv.FormatFloat(p.Seconds, 'f', -1, 64), "-c", "16", "-T", "1", "-t", "1", "-q", "100"}
	if rate > 0 {
		args = append(args, "-v", "-Q", strconv.Itoa(rate))
	}
	before, err := s.seconds()
	if err != nil {
		return r, err
	}
	cmd := l.command(ctx, clientSpace, cpu, "dnsperf", args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); ctx.Err() != nil {
		return r, ctx.Err()
	} else if err != nil {
		return r, fmt.Errorf("dnsperf: %w: %.300s", err, errOut.Bytes())
	}
	after, err := s.seconds()
	if err != nil {
		return r, err
	}
	if r, err = parse(out.String()); err != nil {
		return r, err
	}
	r.CPU = after - before
	return r, nil
}

var (
	sentLine   = regexp.MustCompile(`(?m)^\s*Queries sent:\s+(\d+)`)
	doneLine   = regexp.MustCompile(`(?m)^\s*Queries completed:\s+(\d+)`)
	codeLine   = regexp.MustCompile(`(?m)^\s*Response codes:\s+(.*)$`)
	secondLine = regexp.MustCompile(`(?m)^\s*Run time \(s\):\s+([\d.]+)`)
	onlyGood   = regexp.MustCompile(`^NOERROR (\d+) \(100\.00%\)$`)
)

// parse reads what dnsperf prints. An answer that is not NOERROR is an error:
// all names exist.
func parse(out string) (r run, err error) {
	field := func(re *regexp.Regexp) string {
		m := re.FindStringSubmatch(out)
		if m == nil {
			return ""
		}
		return strings.TrimSpace(m[1])
	}
	codes := onlyGood.FindStringSubmatch(field(codeLine))
	if codes == nil || codes[1] != field(doneLine) {
		return r, fmt.Errorf("not all answers were NOERROR: %q", field(codeLine))
	}
	if r.Answered, err = strconv.Atoi(codes[1]); err != nil {
		return r, err
	}
	if r.Sent, err = strconv.Atoi(field(sentLine)); err != nil {
		return r, err
	}
	if r.Seconds, err = strconv.ParseFloat(field(secondLine), 64); err != nil {
		return r, err
	}
	// With -v there is a line for each answer: "> NOERROR name type seconds".
	var took []float64
	sc := bufio.NewScanner(strings.NewReader(out))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) != 5 || f[0] != ">" || f[1] != "NOERROR" {
			continue
		}
		t, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return r, err
		}
		took = append(took, t*1e6)
	}
	slices.Sort(took)
	r.P50, r.P99 = stats.Quantile(took, 0.5), stats.Quantile(took, 0.99)
	return r, sc.Err()
}
