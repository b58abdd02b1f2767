// SPDX-License-Identifier: Apache-2.0

// Package reconcile is the loop that brings a host to its desired state:
// apply the newest state with every step in order, report what was reached,
// try again what failed.
//
// It is level-triggered: a step gets the whole state each time, must change
// nothing when nothing differs, and treats the deletion of what is missing as
// success. States that arrive while a step runs replace one another; only the
// newest is applied next. A state that differs from the applied one in its
// revision only is reported without running the steps.
package reconcile

import (
	"context"
	"maps"
	"sync"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Step applies one aspect of the state. It answers the objects that failed,
// by name, and must leave what did not fail in place.
type Step struct {
	Name  string
	Apply func(desired.Host) map[string]error
}

// Status is what one run reached.
type Status struct {
	Revision vpc.Revision
	Errors   map[string]string
}

// Loop runs steps. Make it with New, feed it with Set, run it with Run.
type Loop struct {
	steps  []Step
	report func(Status)

	mu    sync.Mutex
	next  *desired.Host // guarded by mu
	again bool          // run the steps even if nothing differs; guarded by mu
	wake  chan struct{}
}

// New makes a loop. report is called after every run, from Run's goroutine.
func New(report func(Status), steps ...Step) *Loop {
	return &Loop{steps: steps, report: report, wake: make(chan struct{}, 1)}
}

// Set gives the loop a newer state.
func (l *Loop) Set(h desired.Host) {
	l.mu.Lock()
	l.next = &h
	l.mu.Unlock()
	l.poke()
}

// Again makes the loop apply the current state once more, for a step whose
// surroundings changed.
func (l *Loop) Again() {
	l.mu.Lock()
	l.again = true
	l.mu.Unlock()
	l.poke()
}

func (l *Loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Retry delays: doubling from the first to the last.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Run applies states until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	var current *desired.Host
	var last Status
	retry := firstRetry
	var timer <-chan time.Time
	for {
		must := false
		select {
		case <-l.wake:
			retry = firstRetry
		case <-timer:
			must = true
		case <-ctx.Done():
			return
		}
		l.mu.Lock()
		must = must || l.again || current == nil || len(last.Errors) > 0
		l.again = false
		if l.next != nil {
			must = must || !current.SameTables(*l.next)
			current, l.next = l.next, nil
		}
		l.mu.Unlock()
		if current == nil {
			continue
		}
		if !must {
			last.Revision = current.Revision
			l.report(last)
			continue
		}
		st := Status{Revision: current.Revision, Errors: map[string]string{}}
		for _, s := range l.steps {
			for name, err := range s.Apply(*current) {
				if _, told := st.Errors[name]; !told {
					st.Errors[name] = s.Name + ": " + err.Error()
				}
			}
		}
		last = st
		l.report(Status{st.Revision, maps.Clone(st.Errors)})
		timer = nil
		if len(st.Errors) > 0 {
			timer = time.After(retry)
			retry = min(2*retry, lastRetry)
		}
	}
}
