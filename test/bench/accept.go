// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/test/bench/stats"
)

// delay is the time from sending a request to the API to what it brings about
// in the consumer's namespace, and to the API's own answer.
type delay struct {
	Tries     int     `json:"tries"`
	MedianMS  float64 `json:"median_ms"`
	P99MS     float64 `json:"p99_ms"`
	MaxMS     float64 `json:"max_ms"`
	SamplesNS []int64 `json:"samples_ns"`
	AnswerNS  []int64 `json:"api_answer_ns"` // when the API had answered, by the same clock
}

// aimAccept is what p99 of accept to first byte is meant to stay below.
const aimAccept = 50 * time.Millisecond

// add takes one try.
func (d *delay) add(took, answered int64) {
	d.Tries++
	d.SamplesNS, d.AnswerNS = append(d.SamplesNS, took), append(d.AnswerNS, answered)
	sorted := slices.Sorted(slices.Values(d.SamplesNS))
	d.MedianMS, d.P99MS = float64(stats.Quantile(sorted, 0.5))/1e6, float64(stats.Quantile(sorted, 0.99))/1e6
	d.MaxMS = float64(sorted[len(sorted)-1]) / 1e6
}

// measureAcceptance is from AcceptVpcEndpointConnections to the first byte. It starts
// with an endpoint that is accepted and leaves one that is.
func (i *installation) measureAcceptance(tries int, progress func(string, ...any)) (*delay, error) {
	a := &delay{}
	for n := range tries {
		if err := i.reject(); err != nil {
			return nil, err
		}
		took, answered, err := i.acceptOnce()
		if err != nil {
			return nil, fmt.Errorf("accept to first byte, try %d: %w\n%s", n+1, err, i.log())
		}
		a.add(took, answered)
		progress("accept %d/%d: first byte after %.1f ms, API answered after %.1f ms", n+1, tries, float64(took)/1e6, float64(answered)/1e6)
	}
	return a, nil
}

// acceptOnce is one try; the connection is rejected when it starts.
func (i *installation) acceptOnce() (took, answered int64, err error) {
	took, answered, _, err = i.witnessed("closed", i.accept, "first", "-to", i.path.to.String(), "-for", "20s")
	return took, answered, err
}

// witnessed is the time from the start of do to what a generator in the client's
// namespace sees of it, and to do's end. The generator says a word while there is
// nothing to see, and then when there was, and what. It reads the same CLOCK_REALTIME as
// we do, so its time can be compared with ours.
func (i *installation) witnessed(nothing string, do func() error, generator ...string) (took, answered int64, seen []string, err error) {
	cmd := i.lab.generator(generator...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, nil, err
	}
	if err := i.lab.launch.start(cmd, i.path.clientNS, nil); err != nil {
		return 0, 0, nil, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || line != nothing+"\n" {
		return 0, 0, nil, fmt.Errorf("the client said %q, want %s first (%w)", line, nothing, err)
	}
	start := time.Now()
	if err := do(); err != nil {
		return 0, 0, nil, err
	}
	answered = int64(time.Since(start))
	line, err := r.ReadString('\n')
	if err != nil && err != io.EOF {
		return 0, 0, nil, err
	}
	at, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	when, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("the client said %q, want a time first", line)
	}
	if took = when - start.UnixNano(); took <= 0 {
		return 0, 0, nil, fmt.Errorf("the client saw it %v before it was asked for", time.Duration(-took))
	}
	return took, answered, strings.Fields(rest), nil
}
