// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const asChild = "POSTERN_TEST_CHILD"

// markEnv names a file that a child removes when its parent is gone.
const markEnv = "POSTERN_TEST_MARK"

// TestMain lets tests run this binary as a child or as a parent to be killed.
func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "":
		os.Exit(m.Run())
	case "child": // ends when its parent does
		ctx := Lifeline(context.Background())
		if err := NotifyReady(map[string]int{"pid": os.Getpid()}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrParentGone) {
			os.Exit(1)
		}
		// It can still do something, though nobody reads what it says.
		fmt.Println("ending")
		os.Remove(os.Getenv(markEnv))
		os.Exit(0)
	case "parent": // says its child's pid and waits to be killed
		s, err := New(Options{Log: quiet(), Output: io.Discard})
		if err == nil {
			err = s.Start(context.Background(), self("child", true, func(_ context.Context, said []byte) error {
				fmt.Println(string(said))
				return nil
			}))
		}
		if err == nil {
			err = s.Start(context.Background(), Spec{Name: "other", KillWithParent: true, Command: func() (*exec.Cmd, error) {
				return exec.Command("sleep", "300"), nil
			}})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.Status()[1].PID)
		select {}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// self runs this binary in a role.
func self(role string, notify bool, ready func(context.Context, []byte) error) Spec {
	return Spec{Name: role, Notify: notify, Ready: ready, Command: func() (*exec.Cmd, error) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{asChild + "=" + role, "PATH=" + os.Getenv("PATH"), markEnv + "=" + os.Getenv(markEnv)}
		return cmd, nil
	}}
}

func sh(name, script string) Spec {
	return Spec{Name: name, Command: func() (*exec.Cmd, error) { return exec.Command("/bin/sh", "-c", script), nil }}
}

// syncBuffer is written by children while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newSupervisor(t *testing.T) (*Supervisor, *syncBuffer) {
	t.Helper()
	out := &syncBuffer{}
	s, err := New(Options{Log: quiet(), Output: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, out
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, s *Supervisor, spec Spec) {
	t.Helper()
	if err := s.Start(soon(t), spec); err != nil {
		t.Fatal(err)
	}
}

// eventually polls for a condition that only another process can bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestChildIsStartedAgainAfterItEnds(t *testing.T) {
	s, _ := newSupervisor(t)
	start(t, s, sh("c", "exec sleep 300"))
	first := s.Status()[0]
	if first.State != Running || first.PID == 0 {
		t.Fatalf("%+v", first)
	}
	syscall.Kill(first.PID, syscall.SIGKILL)
	eventually(t, "a new process", func() bool {
		now := s.Status()[0]
		return now.State == Running && now.PID != first.PID
	})
	if now := s.Status()[0]; now.Restarts != 1 || !strings.Contains(now.Error, "killed") {
		t.Errorf("%+v", now)
	}
}

func TestStopEndsInReverseOrder(t *testing.T) {
	s, _ := newSupervisor(t)
	log := filepath.Join(t.TempDir(), "order")
	script := func(n string) string {
		return fmt.Sprintf(`trap 'echo %s >>%s; exit 0' TERM; echo x >&$POSTERN_READY_FD; while :; do sleep 0.05; done`, n, log)
	}
	for _, n := range []string{"1", "2", "3"} {
		spec := sh(n, script(n))
		spec.Notify = true
		start(t, s, spec)
	}
	s.Stop()
	b, _ := os.ReadFile(log)
	if string(b) != "3\n2\n1\n" {
		t.Errorf("ended in the order %q", b)
	}
	if err := s.Start(soon(t), sh("late", "true")); !errors.Is(err, ErrStopped) {
		t.Errorf("started after Stop: %v", err)
	}
	for _, st := range s.Status() {
		if st.State != Stopped || st.PID != 0 {
			t.Errorf("%+v", st)
		}
	}
	s.Stop()
}

func TestWhoDoesNotEndIsKilled(t *testing.T) {
	s, _ := newSupervisor(t)
	spec := sh("stubborn", `trap '' TERM; echo x >&$POSTERN_READY_FD; while :; do sleep 0.05; done`)
	spec.Notify, spec.Grace = true, 100*time.Millisecond
	start(t, s, spec)
	pid := s.Status()[0].PID
	s.Stop()
	if alive(pid) {
		t.Error("still there")
	}
}

func TestReadyIsWhatTheChildSays(t *testing.T) {
	s, _ := newSupervisor(t)
	var said string
	spec := sh("c", `echo '{"port":8080}' >&$POSTERN_READY_FD; exec sleep 300`)
	spec.Notify = true
	spec.Ready = func(_ context.Context, line []byte) error { said = string(line); return nil }
	start(t, s, spec)
	if said != `{"port":8080}` {
		t.Errorf("heard %q", said)
	}
}

func TestChildThatNeverGetsReadyIsForgotten(t *testing.T) {
	s, out := newSupervisor(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	spec := sh("c", "echo trying; exit 3")
	spec.Notify = true
	err := s.Start(ctx, spec)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error is %v", err)
	}
	if n := strings.Count(out.String(), "c: trying\n"); n < 2 {
		t.Errorf("tried %d times", n)
	}
	spec = sh("d", "exec sleep 300")
	spec.Notify, spec.ReadyTimeout = true, 50*time.Millisecond
	ctx, cancel = context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx, spec); err == nil || !strings.Contains(err.Error(), "not ready after 50ms") {
		t.Errorf("error is %v", err)
	}
	if got := s.Status(); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
	missing := Spec{Name: "e", Command: func() (*exec.Cmd, error) { return exec.Command("/nonexistent/program"), nil }}
	if err := s.Start(soon(t), missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestDescriptorsReachTheChildBesideOurs(t *testing.T) {
	s, out := newSupervisor(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	io.WriteString(w, "handed over\n")
	w.Close()
	spec := sh("c", `read line <&3; echo "$line"; echo x >&$POSTERN_READY_FD; exec sleep 300`)
	inner := spec.Command
	spec.Command = func() (*exec.Cmd, error) {
		cmd, err := inner()
		cmd.ExtraFiles = []*os.File{r}
		return cmd, err
	}
	spec.Notify = true
	start(t, s, spec)
	eventually(t, "the child's line", func() bool { return out.String() == "c: handed over\n" })
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asChild + "=parent", "PATH=" + os.Getenv("PATH"), markEnv + "=" + mark}
	out := &syncBuffer{}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child, other int
	eventually(t, "both children", func() bool {
		lines := strings.Split(out.String(), "\n")
		if len(lines) < 3 {
			return false
		}
		fmt.Sscanf(lines[0], `{"pid":%d}`, &child)
		other, _ = strconv.Atoi(lines[1])
		return child != 0 && other != 0
	})
	if !alive(child) || !alive(other) {
		t.Fatalf("children %d and %d are not running", child, other)
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the end of the child with a lifeline", func() bool { return !alive(child) })
	eventually(t, "the end of the child without", func() bool { return !alive(other) })
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the child ended before it had done what it had to: %v", err)
	}
}

func TestOutputIsWholeLinesWithTheName(t *testing.T) {
	var b bytes.Buffer
	w := (&lineOutput{w: &b}).prefixed("n")
	for _, part := range []string{"a", "b\nc\n\n", strings.Repeat("x", maxLine+1) + "\n", "end"} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	w.end()
	want := "n: ab\nn: c\nn: \nn: " + strings.Repeat("x", maxLine) + "\nn: x\nn: end\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
}

// fake is a process that ends when told to, in a bubble's time.
type fake struct{ ended chan error }

func (f *fake) pid() int               { return 1 }
func (f *fake) wait() error            { return <-f.ended }
func (f *fake) heard() ([]byte, error) { return nil, nil }
func (f *fake) signal(os.Signal) error {
	select {
	case f.ended <- nil:
	default:
	}
	return nil
}

func TestBackoffDoublesAndStartsAnewAfterHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Time
		var last *fake
		spec := Spec{Name: "c", ReadyTimeout: time.Minute, Grace: time.Second}
		c := newChild(spec, quiet(), func() (process, error) {
			starts = append(starts, time.Now())
			last = &fake{make(chan error, 1)}
			// The first nine end at once, the tenth lives.
			if len(starts) != 10 {
				go func(f *fake) { time.Sleep(time.Millisecond); f.ended <- errors.New("boom") }(last)
			}
			return last, nil
		})
		go c.run()
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000}
		if len(starts) != 10 {
			t.Fatalf("%d starts", len(starts))
		}
		for i, w := range want {
			if got := starts[i+1].Sub(starts[i]) - time.Millisecond; got != w*time.Millisecond {
				t.Errorf("wait %d was %v, not %v", i, got, w*time.Millisecond)
			}
		}
		ended := time.Now() // healthy for longer than HealthyAfter
		last.ended <- errors.New("boom")
		time.Sleep(time.Second)
		synctest.Wait()
		if len(starts) < 11 || starts[10].Sub(ended) != BackoffMin {
			t.Errorf("after health: %v", starts[10:])
		}
		c.end()
	})
}
