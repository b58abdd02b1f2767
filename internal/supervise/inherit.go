// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Environment variables that tell a child which descriptors it inherited.
const (
	lifelineEnv = "POSTERN_LIFELINE_FD"
	readyEnv    = "POSTERN_READY_FD"
)

// ErrParentGone is the cause of a Lifeline context that is done because the
// parent has ended.
var ErrParentGone = errors.New("the parent process is gone")

// exitAfter is how long a child may take to end once its parent is gone.
const exitAfter = 10 * time.Second

// Lifeline is for children: a context that is done when ctx is or when the
// parent has ended, however it ended (cause ErrParentGone). A child that still
// runs 10 s after its parent's end exits with status 1: nothing may outlive an
// installation unseen. In a process that no supervisor started it is ctx.
//
// What a child writes goes to its parent. Writing to one that is gone is an error
// for a child with a lifeline, and not its end: it has until its exit to end what it
// was doing.
func Lifeline(ctx context.Context) context.Context {
	f, err := inherited(lifelineEnv)
	if f == nil && err == nil {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if err != nil {
		cancel(err)
		return ctx
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		var b [1]byte
		for {
			// Nobody writes; the read ends when the last writer is gone.
			if _, err := f.Read(b[:]); err != nil {
				break
			}
		}
		time.AfterFunc(exitAfter, func() { os.Exit(1) })
		cancel(ErrParentGone)
	}()
	return ctx
}

// NotifyReady is for children: it tells the supervisor that the child is
// ready, with info as JSON (at most 64 KiB). Only the first call says
// anything; in a process that was not asked to say, none does.
func NotifyReady(info any) error {
	f, err := inherited(readyEnv)
	if f == nil || err != nil {
		return err
	}
	defer f.Close()
	b, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	if len(b) >= maxSaid {
		return fmt.Errorf("say ready: %d bytes are more than %d", len(b), maxSaid-1)
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	return nil
}

// inherited takes the descriptor that env names, nil if there is none. The
// variable is unset, so that what this process starts does not believe it too.
func inherited(env string) (*os.File, error) {
	v, ok := os.LookupEnv(env)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(env)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is not an inherited descriptor", env, v)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("%s=%q: %w", env, v, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("%s=%q is not a pipe", env, v)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), env), nil
}
