// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"postern.dev/postern/test/bench/stats"
)

// What somebody else's flood takes from a client is two things: its share of the
// machine, and what it does to the state that both have in common. The attacker
// sends from a CPU of its own, where the kernel also carries and delivers what it
// sends, and client and server have another. What the two CPUs still share is
// what direct shows, where the attacker has a veth pair of its own and nothing in
// common with the client: the other paths are held against that.

// The conditions that a path is measured in. Each is a path of the table.
const (
	floodNone  = "alone"
	floodAgain = "again" // alone once more: the noise
)

var floodConditions = []string{floodNone, floodAgain, floodSYN, floodUDP}

func floodPath(path, condition string) string { return path + " " + condition }

// floodPaths are those of which there is a flooded variant.
var floodPaths = []string{"direct", "nftables", "postern"}

var floodMetrics = []string{"echo", "connect"}

var floodAims = func() (out []aim) {
	for _, under := range []string{floodSYN, floodUDP} {
		for _, figure := range []string{"requests", "connections"} {
			out = append(out, aim{figure: figure, path: "postern", base: "direct", under: under, limit: 0.95})
		}
	}
	return out
}()

// Where SYN floods go, beside what is measured: floodAskPort leads to floodPort.
const (
	floodAskPort = 83
	floodPort    = 8082
)

// floodBounds end a flood that nobody ends.
var floodBounds = bounds{30 * time.Second, 50_000_000}

// attacker is who floods, and where to.
type attacker struct {
	ns       string
	addr     netip.Addr
	syn, udp netip.AddrPort // the port of the latter does not matter
	synNS    string         // where those packets go in the end
	udpNS    string
	before   func() error // every sample, flooded or not; may be nil
}

// floodTable measures how much a client keeps while another floods.
func (l *lab) floodTable(p parameters, paths []*path, inst *installation, res *result, progress func(string, ...any)) error {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	cpus = slices.DeleteFunc(cpus, func(c int) bool { return c == p.CPU })
	if len(cpus) == 0 {
		res.Skipped["flood"] = "there is only one CPU, which the attacker would share"
		return nil
	}
	t := &table{Name: "Flood", CPUs: fmt.Sprintf("client and server on CPU %d, the attacker on CPU %d", p.CPU, cpus[0])}
	var variants []*path
	for _, x := range paths {
		if !slices.Contains(floodPaths, x.name) {
			continue
		}
		a, err := l.attacker(x, inst)
		var lack missing
		if errors.As(err, &lack) {
			progress("skipped flood, %s: %v", x.name, err)
			res.Skipped["flood: "+x.name] = lack.what
			continue
		}
		if err != nil {
			return fmt.Errorf("set up the flood beside %s: %w", x.name, err)
		}
		if err := l.arrives(a, cpus[0]); err != nil {
			return fmt.Errorf("flood beside %s: %w", x.name, err)
		}
		// Another table may have moved it.
		if err := pin(x.server.Process.Pid, []int{p.CPU}); err != nil {
			return err
		}
		for _, condition := range floodConditions {
			variants = append(variants, l.flooded(x, a, condition, cpus[0]))
			if condition != floodNone {
				t.pairs = append(t.pairs, [2]string{floodPath(x.name, condition), floodPath(x.name, floodNone)})
			}
		}
	}
	if len(variants) == 0 {
		return nil
	}
	p.Metrics = floodMetrics
	if err := l.series(p, t, rand.New(rand.NewPCG(p.Seed, 3)), variants, []int{p.CPU}, progress); err != nil {
		return err
	}
	res.Tables = append(res.Tables, t)
	res.Aims = append(res.Aims, judge(t, floodAims, p.Rounds)...)
	res.Aims = append(res.Aims, judgeFailures(t, "postern", p.Rounds))
	return nil
}

// judgeFailures wants none of a path's connections to fail under any flood.
func judgeFailures(t *table, path string, rounds int) judgement {
	failed := make([]float64, rounds)
	measured := false
	for _, s := range t.Samples {
		if s.Flood != nil && (s.Path == floodPath(path, floodSYN) || s.Path == floodPath(path, floodUDP)) {
			failed[s.Round] += float64(s.Failed)
			measured = true
		}
	}
	j := judgement{Aim: fmt.Sprintf("flood, connections of %s that fail: 0", path), Missing: !measured}
	if measured {
		j.Got = stats.SpreadOf(failed)
		j.Reached = j.Got.Max == 0
	}
	return j
}

// flooded is a path in one condition.
func (l *lab) flooded(x *path, a *attacker, condition string, cpu int) *path {
	v := *x
	v.name, v.before = floodPath(x.name, condition), a.before
	flooding := func() (*process, error) { return nil, nil }
	if condition == floodSYN || condition == floodUDP {
		flooding = func() (*process, error) { return l.startFlood(a, condition, floodBounds, cpu) }
	}
	v.sample = func(p parameters, how metric, cpus []int) (measured, error) {
		return l.floodSample(p, &v, how, cpus, flooding)
	}
	return &v
}

// startFlood answers when the flood has begun.
func (l *lab) startFlood(a *attacker, kind string, b bounds, cpu int) (*process, error) {
	to := a.syn
	if kind == floodUDP {
		to = a.udp
	}
	return l.talk(l.generator("flood", "-what", kind, "-from", a.addr.String(), "-to", to.String(), "-for", b.lasts.String(), "-limit", fmt.Sprint(b.limit)),
		a.ns, []int{cpu}, "flooding\n")
}

// arrives makes sure that what the attacker sends gets to whom it floods: a flood
// that goes nowhere takes nothing from anybody.
func (l *lab) arrives(a *attacker, cpu int) error {
	const few = 4096
	for kind, ns := range map[string]string{floodSYN: a.synNS, floodUDP: a.udpNS} {
		before, err := l.received(ns)
		if err != nil {
			return err
		}
		p, err := l.startFlood(a, kind, bounds{floodBounds.lasts, few}, cpu)
		if err != nil {
			return err
		}
		defer p.kill()
		if err := p.cmd.Wait(); err != nil {
			return err
		}
		after, err := l.received(ns)
		if err != nil {
			return err
		}
		if after-before < few/2 {
			return fmt.Errorf("of %d packets of the flood %s, %d arrived", few, kind, after-before)
		}
	}
	return nil
}

// received is how many packets the devices of a namespace have received.
func (l *lab) received(ns string) (n int64, err error) {
	err = l.launch.in(ns, nil, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err == nil {
			n, err = receivedPackets(string(b))
		}
		return err
	})
	return n, err
}

// receivedPackets adds up the kernel's table of devices, which has the bytes and the
// packets received after each name.
func receivedPackets(table string) (n int64, err error) {
	for line := range strings.Lines(table) {
		name, numbers, ok := strings.Cut(line, ":")
		f := strings.Fields(numbers)
		if !ok || len(f) < 2 || strings.TrimSpace(name) == "lo" {
			continue
		}
		v, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the counters of %s: %w", name, err)
		}
		n += v
	}
	return n, nil
}

// floodSample runs one client process. It says when it is ready, which with echoes
// is to be connected, and begins when the flood has; the flood ends after it.
func (l *lab) floodSample(p parameters, x *path, how metric, cpus []int, flooding func() (*process, error)) (m measured, err error) {
	if x.before != nil {
		if err := x.before(); err != nil {
			return m, err
		}
	}
	lasts := time.Duration(p.Seconds / 2 * float64(time.Second))
	client, err := l.talk(l.generator("ask", "-what", how.ask, "-to", x.to.String(), "-for", lasts.String(), "-limit", fmt.Sprint(p.MaxConns), "-wait"),
		x.clientNS, cpus, "ready\n")
	if err != nil {
		return m, err
	}
	defer client.kill()
	other, err := flooding()
	if err != nil {
		return m, err
	}
	if other != nil {
		defer other.kill()
	}
	if _, err := client.in.Write([]byte("\n")); err != nil {
		return m, fmt.Errorf("tell the client to begin: %w", err)
	}
	if err := client.end(&m); err != nil {
		return m, err
	}
	if m.Elapsed <= 0 || m.Count+m.Failed == 0 {
		return m, fmt.Errorf("the client measured nothing: %+v", m)
	}
	if other == nil {
		return m, nil
	}
	m.Flood = &flooded{}
	if err := other.end(m.Flood); err != nil {
		return m, err
	}
	if m.Flood.Early {
		return m, fmt.Errorf("the flood ended before the sample: %+v", *m.Flood)
	}
	return m, nil
}

// process is one that says a line when it is ready, goes on when it is told, and
// says at its end what it found out.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
}

// talk starts a process and waits for its line.
func (l *lab) talk(cmd *exec.Cmd, ns string, cpus []int, opening string) (*process, error) {
	p := &process{cmd: cmd}
	cmd.Stderr = &p.errs
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := l.launch.start(cmd, ns, cpus); err != nil {
		return nil, err
	}
	if line, err := p.out.ReadString('\n'); err != nil || line != opening {
		p.kill()
		if l.ctx.Err() != nil {
			return nil, l.ctx.Err()
		}
		return nil, fmt.Errorf("it said %q and not %q (%w): %s", line, opening, err, bytes.TrimSpace(p.errs.Bytes()))
	}
	return p, nil
}

// end ends the process's input and reads what it says then.
func (p *process) end(result any) error {
	p.in.Close()
	said, err := io.ReadAll(p.out)
	if err == nil {
		err = p.cmd.Wait()
	}
	if err == nil {
		err = json.Unmarshal(said, result)
	}
	if err != nil {
		return fmt.Errorf("it said %q: %w: %s", said, err, bytes.TrimSpace(p.errs.Bytes()))
	}
	return nil
}

// kill ends a process that has not been ended.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// printFloods tells what was sent meanwhile and what failed beside it.
func (t *table) printFloods(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	rates, failed := map[string][]float64{}, map[string]int64{}
	for _, s := range t.Samples {
		if s.Flood != nil {
			rates[s.Path] = append(rates[s.Path], float64(s.Flood.Packets)*1e9/float64(s.Flood.Elapsed))
			failed[s.Path] += s.Failed
		}
	}
	if len(rates) == 0 {
		return
	}
	fmt.Fprint(w, "\nWhat was sent meanwhile, packets/s, and what failed of the client's:\n\n")
	fmt.Fprintln(tw, "path\tflood\tfailed")
	for _, p := range t.paths {
		if len(rates[p]) > 0 {
			r := stats.SpreadOf(rates[p])
			fmt.Fprintf(tw, "%s\t%.0f (%.0f..%.0f)\t%d\n", p, r.Median, r.Min, r.Max, failed[p])
		}
	}
	tw.Flush()
}
