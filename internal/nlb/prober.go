// SPDX-License-Identifier: Apache-2.0

package nlb

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// AWS's reason codes for an unhealthy target.
const (
	ReasonFailed   = "Target.FailedHealthChecks"
	ReasonTimeout  = "Target.Timeout"
	ReasonMismatch = "Target.ResponseCodeMismatch"
)

// Result is a change of one target's health as one node sees it.
type Result struct {
	Name       string  // the probe's, as in the input
	Group      vpc.ARN // target group
	TargetID   string  // as registered
	TargetPort int
	Zone       string // the node's
	Healthy    bool
	// Reason is AWS's code and Description AWS's words for it; both are empty
	// for a healthy target.
	Reason      string
	Description string
}

// Options are what the prober works with.
type Options struct {
	// Dial connects to a target; nil is a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log gets what an operator should know; nil is slog's default.
	Log *slog.Logger
}

const (
	// maxChecks bounds the checks that run at one time, maxChecksPerVNI those
	// of one VPC.
	maxChecks       = 512
	maxChecksPerVNI = 64
	// initialInterval is the pace until the first decision, startSpread what
	// first checks are spread over.
	initialInterval = time.Second
	startSpread     = 500 * time.Millisecond
)

// AWS's defaults, for values that are not set.
const (
	defaultInterval  = 30 * time.Second
	defaultTimeout   = 10 * time.Second
	defaultHealthy   = 5
	defaultUnhealthy = 2
)

// Run checks the probes of the map that came last over in, by name, and calls
// out, from one goroutine, whenever a target's state becomes known or changes.
// It returns when ctx ends or in is closed, after all checks have ended.
func Run(ctx context.Context, in <-chan map[string]desired.Probe, out func(Result), o Options) error {
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{
		o:       o,
		results: make(chan change),
		all:     make(chan struct{}, maxChecks),
		perVNI:  map[vpc.VNI]*share{},
		running: map[string]*runner{},
	}
	defer p.work.Wait()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case probes, ok := <-in:
			if !ok {
				return nil
			}
			p.set(ctx, probes)
		case c := <-p.results:
			if p.running[c.Name] == c.from {
				out(c.Result)
			}
		}
	}
}

// prober is owned by Run's goroutine, except where noted.
type prober struct {
	o       Options
	results chan change
	work    sync.WaitGroup
	all     chan struct{} // one element per running check; used by runners
	perVNI  map[vpc.VNI]*share
	running map[string]*runner
}

// share is one VPC's part of the running checks.
type share struct {
	slots   chan struct{} // used by runners
	runners int
}

// runner is a probe that is being checked.
type runner struct {
	probe desired.Probe
	stop  context.CancelFunc
}

// change is a result and whose it is, to tell those of a stopped runner.
type change struct {
	Result
	from *runner
}

// set starts, restarts and stops runners until exactly these probes run.
func (p *prober) set(ctx context.Context, probes map[string]desired.Probe) {
	for name, r := range p.running {
		if want, ok := probes[name]; ok && want == r.probe {
			continue
		}
		r.stop()
		delete(p.running, name)
		s := p.perVNI[r.probe.VNI]
		if s.runners--; s.runners == 0 {
			delete(p.perVNI, r.probe.VNI)
		}
	}
	for name, probe := range probes {
		if p.running[name] != nil {
			continue
		}
		s := p.perVNI[probe.VNI]
		if s == nil {
			s = &share{slots: make(chan struct{}, maxChecksPerVNI)}
			p.perVNI[probe.VNI] = s
		}
		s.runners++
		rctx, stop := context.WithCancel(ctx)
		r := &runner{probe: probe, stop: stop}
		p.running[name] = r
		p.work.Go(func() { p.run(rctx, name, r, s.slots) })
	}
}

// run checks one probe until ctx ends.
func (p *prober) run(ctx context.Context, name string, r *runner, slots chan struct{}) {
	defer r.stop()
	check, err := newChecker(r.probe, p.o.Dial)
	if err != nil {
		p.o.Log.Error("health check that cannot be done", "probe", name, "error", err)
	}
	interval := seconds(r.probe.Check.Interval, defaultInterval)
	timeout := seconds(r.probe.Check.Timeout, defaultTimeout)
	st := state{
		healthyAfter:   orDefault(r.probe.Check.Healthy, defaultHealthy),
		unhealthyAfter: orDefault(r.probe.Check.Unhealthy, defaultUnhealthy),
	}
	timer := time.NewTimer(rand.N(min(startSpread, interval)))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		o := outcome{reason: ReasonFailed, description: "Health checks failed"}
		if check != nil {
			if !acquire(ctx, slots) {
				return
			}
			if !acquire(ctx, p.all) {
				<-slots
				return
			}
			began = time.Now()
			cctx, cancel := context.WithTimeout(ctx, timeout)
			o = check.do(cctx)
			cancel()
			<-p.all
			<-slots
			if ctx.Err() != nil {
				return
			}
		}
		if st.observe(o) {
			c := change{from: r, Result: Result{
				Name: name, Group: r.probe.Group, TargetID: r.probe.TargetID, TargetPort: r.probe.TargetPort, Zone: r.probe.Zone,
				Healthy: st.healthy, Reason: st.last.reason, Description: st.last.description,
			}}
			select {
			case p.results <- c:
			case <-ctx.Done():
				return
			}
		}
		pace := interval
		if !st.known {
			pace = min(interval, initialInterval)
		}
		timer.Reset(max(0, pace-time.Since(began)))
	}
}

func acquire(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func seconds(n int, otherwise time.Duration) time.Duration {
	if n <= 0 {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// outcome is what one check found. A success has no reason.
type outcome struct {
	reason      string
	description string
}

// state is what is known of a target.
type state struct {
	healthyAfter, unhealthyAfter int

	known   bool
	healthy bool
	last    outcome // the outcome that was last reported
	row     int     // outcomes in a row that speak against the state
}

// observe takes an outcome and reports whether there is something to say: the
// state became known or changed, or a target is unhealthy for another reason.
func (s *state) observe(o outcome) bool {
	success := o.reason == ""
	if s.known && success == s.healthy {
		s.row = 0
		if o == s.last {
			return false
		}
		s.last = o
		return true
	}
	s.row++
	need := s.unhealthyAfter
	if success {
		need = s.healthyAfter
		if !s.known {
			need = 1
		}
	}
	if s.row < need {
		return false
	}
	s.known, s.healthy, s.last, s.row = true, success, o, 0
	return true
}
