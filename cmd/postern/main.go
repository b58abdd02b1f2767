// SPDX-License-Identifier: Apache-2.0

// Command postern is VPC endpoints you can run yourself: the server, the
// host's agent and the tools, in one binary. This package is the only place
// that knows every part; each subcommand has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "devel"

// Exit codes, as documented in docs/operations.md.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitNoServe = 3
)

// exitError carries an exit code through cobra.
type exitError struct {
	code int
	err  error // nil when everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError makes an error that exits with exitUsage.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// options are the flags every subcommand has.
type options struct {
	dataDir string
	json    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// run executes the command line and answers the exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var e *exitError
	if errors.As(err, &e) {
		if e.err != nil {
			fmt.Fprintln(os.Stderr, "postern:", e.err)
		}
		return e.code
	}
	fmt.Fprintln(os.Stderr, "postern:", err)
	if strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "postern",
		Short: "VPC endpoints you can run yourself",
		Long: `Postern gives a Linux machine VPCs, interface and gateway endpoints and
endpoint services that carry real packets, behind the API of AWS.

Start the server in one terminal:

  postern serve

and use it from another with the tools you have:

  eval "$(postern env)"
  aws ec2 create-vpc --cidr-block 10.0.0.0/16`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError("%w\nRun '%s --help' for the flags it takes.", err, c.CommandPath())
	})
	root.PersistentFlags().StringVar(&o.dataDir, "data-dir", defaultDataDir(), "where the server keeps its state; also POSTERN_DATA_DIR")
	root.PersistentFlags().BoolVar(&o.json, "json", false, "print JSON where the command has an answer to print")
	root.AddCommand(commands(o)...)
	return root
}

// defaultDataDir is POSTERN_DATA_DIR, else the system's or the user's place
// for a program's state.
func defaultDataDir() string {
	if d := os.Getenv("POSTERN_DATA_DIR"); d != "" {
		return d
	}
	if os.Geteuid() == 0 {
		return "/var/lib/postern"
	}
	if d := os.Getenv("XDG_STATE_HOME"); d != "" {
		return filepath.Join(d, "postern")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".postern"
	}
	return filepath.Join(home, ".local", "state", "postern")
}
