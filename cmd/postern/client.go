// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
)

// newClient makes a client of the server that keeps its state in o's data
// directory. It connects at the first call.
func newClient(o *options) *admin.Client {
	return admin.NewClient(paths{o.dataDir}.adminSocket())
}

// serverError gives an error of a client's call its exit code, and says what
// to do when no server could be asked.
func serverError(o *options, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, admin.ErrNotRunning) && isHostElsewhere(o.dataDir):
		return &exitError{exitNoServe, fmt.Errorf("this machine is a host, its server is on another machine: run this command there (in %s there is no server)", o.dataDir)}
	case errors.Is(err, admin.ErrNotRunning):
		return &exitError{exitNoServe, fmt.Errorf("%w\nStart one with 'sudo postern serve', or say where it keeps its state with --data-dir or POSTERN_DATA_DIR (now %s)", err, o.dataDir)}
	case errors.Is(err, admin.ErrNotAllowed):
		return &exitError{exitNoServe, fmt.Errorf("%w\nRun this command as the user who started the server, usually with 'sudo -E postern ...'", err)}
	}
	return err
}

// isHostElsewhere reports whether a data directory is that of a host that joined
// a server on another machine.
func isHostElsewhere(dataDir string) bool {
	_, err := os.Lstat(paths{dataDir}.identity())
	return err == nil
}

// wantArgs checks the number of arguments; usage names them as the user is to
// give them.
func wantArgs(n int, usage string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < n:
			return usageError("give %s\nRun '%s --help' for examples.", usage, c.CommandPath())
		case len(args) > n && n == 0:
			return usageError("%s takes no arguments, but got %q", c.CommandPath(), args[0])
		case len(args) > n:
			return usageError("%s takes only %s, but got %q too", c.CommandPath(), usage, args[n])
		}
		return nil
	}
}

// groupCommand makes a command that only has others below it.
func groupCommand(c *cobra.Command, sub ...*cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError("there is no '%s %s'\nRun '%s --help' for what there is.", c.CommandPath(), args[0], c.CommandPath())
		}
		return usageError("say what to do\nRun '%s --help' for what there is.", c.CommandPath())
	}
	c.AddCommand(sub...)
	return c
}

// printJSON writes an answer for a program.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// needRoot refuses to go on as another user.
func needRoot(what string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root: try 'sudo -E postern ...'", what)
	}
	return nil
}
