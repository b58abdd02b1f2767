// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/vpc"
)

func newRunCommand(o *options) *cobra.Command {
	var in runInput
	c := &cobra.Command{
		Use:   "run --subnet SUBNET [flags] -- COMMAND [ARG]...",
		Short: "start an instance for one command",
		Long: `Start an instance in a subnet, run a command of this host inside it as
'postern exec' does, and terminate the instance when the command ends, also
when it is ended by a signal. With --keep the instance stays.

Without --account the instance belongs to the subnet's owner, and the AWS keys
in the environment are left as they are.

Needs root. The exit code is the command's, or 128 and the number of the signal
that ended it; 126 and 127 say that it could not be run or found, 125 that
Postern failed.`,
		Example: `  sudo -E postern run --subnet "$subnet" -- curl -sS http://10.0.0.10/
  sudo -E postern run --subnet "$subnet" --security-group "$sg" --account consumer -- aws s3 cp file s3://bucket/
  sudo -E postern run --subnet "$subnet" --name client -- bash`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || c.ArgsLenAtDash() > 0 {
				return usageError("give the command to run after '--'\nRun '%s --help' for examples.", c.CommandPath())
			}
			if in.subnet == "" {
				return usageError("say where the instance goes with --subnet")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			code, err := runRun(c.Context(), o, in, args, c.ErrOrStderr())
			if err != nil {
				return ours(err)
			}
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&in.subnet, "subnet", "", "subnet of the instance (subnet-...)")
	f.StringArrayVar(&in.groups, "security-group", nil, "security group (sg-...), may be repeated (default: the VPC's default group)")
	f.StringVar(&in.account, "account", "", "account that owns the instance and whose AWS keys the command gets")
	f.StringVar(&in.name, "name", "", "Name tag of the instance")
	f.BoolVar(&in.keep, "keep", false, "do not terminate the instance")
	return c
}

type runInput struct {
	subnet, account, name string
	groups                []string
	keep                  bool
}

// terminateTime bounds the call that ends the instance.
const terminateTime = 10 * time.Second

// runRun starts the instance and the command. An error is ours; the code is
// the command's.
func runRun(ctx context.Context, o *options, in runInput, argv []string, errOut io.Writer) (code int, err error) {
	if err := needRoot("entering a network namespace"); err != nil {
		return 0, err
	}
	cl := newClient(o)
	defer cl.Close()
	info, err := cl.Info(ctx)
	if err != nil {
		return 0, serverError(o, err)
	}
	var key *admin.AccessKey
	if in.account != "" {
		k, err := accountKey(ctx, cl, in.account)
		if err != nil {
			return 0, serverError(o, err)
		}
		key = &k
	}
	// From here on a signal is for the command, or waits for the instance to
	// be known: it must not be left behind.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)

	ask := admin.NewRun{Account: in.account, Subnet: vpc.SubnetID(in.subnet), Name: in.name}
	for _, g := range in.groups {
		ask.Groups = append(ask.Groups, vpc.GroupID(g))
	}
	w, err := cl.Run(ctx, ask)
	if err != nil && ctx.Err() != nil {
		// A signal: the server sees us go and removes the instance again.
		code := 128 + int(syscall.SIGINT)
		select {
		case s := <-signals:
			code = 128 + int(s.(syscall.Signal))
		default:
		}
		return code, nil
	}
	if err != nil {
		return 0, serverError(o, err)
	}
	if in.keep {
		fmt.Fprintf(errOut, "postern: instance %s (%s) stays; end it with 'aws ec2 terminate-instances --instance-ids %s'\n", w.Instance, w.Addr, w.Instance)
	} else {
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), terminateTime)
			defer cancel()
			if terr := cl.Terminate(end, w.Instance); terr != nil {
				fmt.Fprintf(errOut, "postern: instance %s was not terminated: %v\n", w.Instance, terr)
				if err == nil && code == 0 {
					err = fmt.Errorf("instance %s is left behind: %w", w.Instance, terr)
				}
			}
		}()
	}
	cmd, err := workloadCommand(context.WithoutCancel(ctx), info, w, key, argv)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return runForeground(cmd, signals)
}

// forwarded are the signals a command under our care gets.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

// runForeground runs cmd to its end and answers its exit code, giving it the
// signals this process gets meanwhile. In a terminal's foreground it shares
// our process group, and the terminal itself signals it (Ctrl-C, a resized
// window): those are not given a second time.
func runForeground(cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	shared := foreground()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the command: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if shared && (s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH) {
				continue
			}
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return 0, fmt.Errorf("give the command signal %v: %w", s, err)
			}
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, fmt.Errorf("wait for the command: %w", err)
			}
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				return 128 + int(ws.Signal()), nil
			}
			return cmd.ProcessState.ExitCode(), nil
		}
	}
}

// foreground reports whether this process is in the foreground of a terminal.
func foreground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
