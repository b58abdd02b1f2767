// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is one start of a child.
type process interface {
	pid() int
	// wait returns when the process has ended; its result says how.
	wait() error
	signal(os.Signal) error
	// heard returns the line that the child said it is ready with; nil at
	// once where it need not say anything.
	heard() ([]byte, error)
}

// command is a real process.
type command struct {
	cmd  *exec.Cmd
	said *os.File // read end of the ready pipe, nil without Notify
	out  *prefixWriter
}

func (c *command) pid() int { return c.cmd.Process.Pid }

func (c *command) wait() error {
	err := c.cmd.Wait()
	c.close()
	c.out.end()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return err
}

func (c *command) signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// maxSaid bounds what a child may say when it is ready.
const maxSaid = 64 << 10

func (c *command) heard() ([]byte, error) {
	if c.said == nil {
		return nil, nil
	}
	line, err := bufio.NewReader(io.LimitReader(c.said, maxSaid)).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("it closed the pipe for saying that it is ready without a whole line: %w", err)
	}
	return line[:len(line)-1], nil
}

func (c *command) close() {
	if c.said != nil {
		c.said.Close()
	}
}

// child is one command over all its starts.
type child struct {
	spec   Spec
	log    *slog.Logger
	launch func() (process, error)

	stop     chan struct{} // closed: end and do not start again
	stopOnce sync.Once
	ready    chan struct{} // closed when it was ready for the first time
	done     chan struct{} // closed when run has returned

	mu     sync.Mutex
	status Status // guarded by mu
	err    error  // why it ended last; guarded by mu
	was    bool   // it was ready once; guarded by mu
}

func newChild(spec Spec, log *slog.Logger, launch func() (process, error)) *child {
	return &child{
		spec: spec, log: log.With("child", spec.Name), launch: launch,
		stop: make(chan struct{}), ready: make(chan struct{}), done: make(chan struct{}),
		status: Status{Name: spec.Name, State: Starting, Since: time.Now()},
	}
}

// end ends the child and waits until it has.
func (c *child) end() {
	c.stopOnce.Do(func() { close(c.stop) })
	<-c.done
}

func (c *child) snapshot() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *child) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *child) set(state State, pid int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.State, c.status.PID, c.status.Since = state, pid, time.Now()
	if err != nil {
		c.err, c.status.Error = err, err.Error()
	}
	if state == Running && !c.was {
		c.was = true
		close(c.ready)
	}
}

// run starts the child until it is stopped. A first start that the system
// refuses (no such program) ends it: waiting would not help.
func (c *child) run() {
	defer close(c.done)
	if c.spec.KillWithParent {
		// The kernel watches the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	backoff := BackoffMin
	for {
		p, err := c.launch()
		healthy := time.Duration(0)
		if err == nil {
			c.set(Starting, p.pid(), nil)
			c.log.Info("started", "pid", p.pid())
			healthy, err = c.once(p)
		} else if !c.everReady() {
			c.set(Stopped, 0, err)
			return
		}
		select {
		case <-c.stop:
			c.set(Stopped, 0, err)
			c.log.Info("stopped")
			return
		default:
		}
		if err == nil {
			err = errors.New("it ended with success, though nobody asked it to")
		}
		if healthy >= HealthyAfter {
			backoff = BackoffMin
		}
		c.set(Waiting, 0, err)
		c.log.Warn("ended; will be started again", "error", err, "after", backoff)
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-c.stop:
			timer.Stop()
			c.set(Stopped, 0, nil)
			return
		}
		backoff = min(2*backoff, BackoffMax)
		c.mu.Lock()
		c.status.Restarts++
		c.mu.Unlock()
	}
}

func (c *child) everReady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.was
}

// once watches one start until the process has ended, and says for how long
// it had been ready.
func (c *child) once(p process) (healthy time.Duration, err error) {
	exited := make(chan error, 1)
	go func() { exited <- p.wait() }()
	ctx, cancel := context.WithCancel(context.Background())
	isReady := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		said, err := p.heard()
		if err == nil && c.spec.Ready != nil {
			err = c.spec.Ready(ctx, said)
		}
		isReady <- err
	}()
	defer wg.Wait()
	defer cancel()

	limit := time.NewTimer(c.spec.ReadyTimeout)
	defer limit.Stop()
	var since time.Time
	readyFor := func() time.Duration {
		if since.IsZero() {
			return 0
		}
		return time.Since(since)
	}
	for {
		select {
		case err := <-exited:
			return readyFor(), err
		case err := <-isReady:
			isReady = nil
			limit.Stop()
			if err != nil {
				exit := c.terminate(p, exited)
				return 0, fmt.Errorf("not ready: %w (%v)", err, exitText(exit))
			}
			since = time.Now()
			c.set(Running, p.pid(), nil)
			c.log.Info("ready", "pid", p.pid())
		case <-limit.C:
			if isReady == nil {
				continue
			}
			exit := c.terminate(p, exited)
			return 0, fmt.Errorf("not ready after %v (%s)", c.spec.ReadyTimeout, exitText(exit))
		case <-c.stop:
			return readyFor(), c.terminate(p, exited)
		}
	}
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// terminate asks the process to end and ends it when its grace is over.
func (c *child) terminate(p process, exited <-chan error) error {
	if err := p.signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.log.Warn("could not be asked to end", "error", err)
	}
	grace := time.NewTimer(c.spec.Grace)
	defer grace.Stop()
	select {
	case err := <-exited:
		return err
	case <-grace.C:
	}
	c.log.Warn("did not end when asked; killed", "grace", c.spec.Grace)
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.log.Warn("could not be killed", "error", err)
	}
	return <-exited
}
