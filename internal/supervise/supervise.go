// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Times that govern restarts.
const (
	BackoffMin   = 100 * time.Millisecond
	BackoffMax   = 5 * time.Second
	HealthyAfter = 30 * time.Second

	DefaultReadyTimeout = 30 * time.Second
	DefaultGrace        = 5 * time.Second
)

// Spec says what a child is.
type Spec struct {
	// Name is in logs and Status, and before each line the child writes.
	Name string
	// Command makes a new command for each start; descriptors to hand over go
	// in its ExtraFiles (the child has them from 3 on) and remain the
	// caller's. The supervisor adds pipes after them, and takes Stdout and
	// Stderr unless they are set.
	Command func() (*exec.Cmd, error)
	// Start starts the command; nil is its Start method.
	Start func(*exec.Cmd) error
	// Notify has the child say that it is ready: it calls NotifyReady. Without
	// it a child is ready as soon as it runs, or as Ready says.
	Notify bool
	// Ready, if set, is called when the child runs (with Notify: when it has
	// said that it is ready, with the JSON it sent). It returns nil once the
	// child is ready and must return when ctx is done, which it is when the
	// child ends.
	Ready func(ctx context.Context, said []byte) error
	// ReadyTimeout is how long one start may take; then it is ended and
	// counts as failed. 0 is DefaultReadyTimeout.
	ReadyTimeout time.Duration
	// Grace is the time between SIGTERM and SIGKILL; 0 is DefaultGrace.
	Grace time.Duration
	// KillWithParent is for programs that know no lifeline: the kernel kills
	// them when this process ends. Only on Linux, and not with Start.
	KillWithParent bool
}

// State of a child.
type State string

// States.
const (
	Starting State = "starting" // runs, not ready
	Running  State = "running"  // ready
	Waiting  State = "waiting"  // ended, will be started again
	Stopped  State = "stopped"
)

// Status is what is known about a child.
type Status struct {
	Name     string    `json:"name"`
	State    State     `json:"state"`
	PID      int       `json:"pid,omitempty"` // 0 when it does not run
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`           // of State
	Error    string    `json:"error,omitempty"` // why it ended last
}

// Options for a Supervisor.
type Options struct {
	// Log gets starts and ends; nil is slog.Default.
	Log *slog.Logger
	// Output gets what children write, each line with "name: " before it; nil
	// is the standard error stream.
	Output io.Writer
}

// Supervisor runs children. Its methods may be called from several goroutines.
type Supervisor struct {
	log *slog.Logger
	out *lineOutput

	lifeRead, lifeWrite *os.File // the lifeline; children inherit lifeRead

	mu       sync.Mutex
	children []*child // in the order of their first start; guarded by mu
	stopped  bool     // guarded by mu
}

// New makes a supervisor without children.
func New(o Options) (*Supervisor, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Output == nil {
		o.Output = os.Stderr
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a lifeline for children: %w", err)
	}
	return &Supervisor{log: o.Log, out: &lineOutput{w: o.Output}, lifeRead: r, lifeWrite: w}, nil
}

// ErrStopped is returned by Start after Stop.
var ErrStopped = errors.New("the supervisor is stopped")

// Start adds a child and waits until it is ready for the first time, or ctx is
// done. If it is not ready then, or cannot be started at all, it is ended and
// forgotten, and the error says why it failed last.
func (s *Supervisor) Start(ctx context.Context, spec Spec) error {
	if spec.Name == "" || spec.Command == nil {
		return errors.New("a child needs a name and a command")
	}
	if spec.KillWithParent && spec.Start != nil {
		return fmt.Errorf("child %s: the kernel watches the thread that starts it: KillWithParent cannot be had with Start", spec.Name)
	}
	if spec.ReadyTimeout <= 0 {
		spec.ReadyTimeout = DefaultReadyTimeout
	}
	if spec.Grace <= 0 {
		spec.Grace = DefaultGrace
	}
	return s.add(ctx, newChild(spec, s.log, func() (process, error) { return s.launch(spec) }))
}

func (s *Supervisor) add(ctx context.Context, c *child) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrStopped
	}
	for _, other := range s.children {
		if other.spec.Name == c.spec.Name {
			s.mu.Unlock()
			return fmt.Errorf("child %s is already there", c.spec.Name)
		}
	}
	s.children = append(s.children, c)
	s.mu.Unlock()
	go c.run()

	var err error
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		if err = c.lastError(); err == nil {
			err = ErrStopped
		}
	case <-ctx.Done():
		if err = c.lastError(); err == nil {
			err = context.Cause(ctx)
		}
	}
	c.end()
	s.mu.Lock()
	for i, other := range s.children {
		if other == c {
			s.children = append(s.children[:i:i], s.children[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	return fmt.Errorf("child %s did not become ready: %w", c.spec.Name, err)
}

// Stop ends all children, the last started first, each before the next, and
// makes Start refuse. It may be called again.
func (s *Supervisor) Stop() {
	s.mu.Lock()
	s.stopped = true
	children := append([]*child(nil), s.children...)
	s.mu.Unlock()
	for i := len(children) - 1; i >= 0; i-- {
		children[i].end()
	}
	s.lifeWrite.Close()
	s.lifeRead.Close()
}

// Status lists the children in the order they were started.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Status, 0, len(s.children))
	for _, c := range s.children {
		out = append(out, c.snapshot())
	}
	return out
}

// launch starts spec's command once, with the lifeline and, where wished, a
// pipe to say ready on.
func (s *Supervisor) launch(spec Spec) (process, error) {
	cmd, err := spec.Command()
	if err != nil {
		return nil, fmt.Errorf("make the command: %w", err)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	inherit := func(env string, f *os.File) {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", env, 3+len(cmd.ExtraFiles)))
		// A copy, so that the caller's slice is never written to.
		cmd.ExtraFiles = append(cmd.ExtraFiles[:len(cmd.ExtraFiles):len(cmd.ExtraFiles)], f)
	}
	inherit(lifelineEnv, s.lifeRead)
	out := s.out.prefixed(spec.Name)
	p := &command{cmd: cmd, out: out}
	if spec.Notify {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe to say ready on: %w", err)
		}
		defer w.Close() // the child has its own
		p.said = r
		inherit(readyEnv, w)
	}
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = out
	}
	// Grandchildren may keep the output open; the child's end counts.
	cmd.WaitDelay = time.Second
	if spec.KillWithParent {
		if err := killWithParent(cmd); err != nil {
			p.close()
			return nil, err
		}
	}
	start := spec.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		p.close()
		return nil, fmt.Errorf("start: %w", err)
	}
	return p, nil
}
