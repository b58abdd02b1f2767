// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/link"
)

func newResetCommand(o *options) *cobra.Command {
	var in resetInput
	c := &cobra.Command{
		Use:   "reset",
		Short: "remove what Postern made on this host",
		Long: `Remove everything an installation made in this host's kernel: its network
namespaces and the processes in them, devices, programs and maps. The API's
objects stay, and the next 'postern serve' makes it all again.

The installation is the one of the data directory, or with --all every one on
this host. Everything that goes is listed first, and asked about unless --yes
is given. Nothing that Postern did not make is touched. It works also after a
crash, but not while the server runs: stop that first.

With --data the data directory goes too: accounts, VPCs, endpoints, and the
buckets of the S3 backend that comes with Postern.

Needs root, but for --data where there never was a datapath.`,
		Example: `  sudo postern reset
  sudo postern reset --all --yes
  sudo postern reset --data --data-dir ./state`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.all && in.data {
				return usageError("--data is for one data directory; --all does not know where others are")
			}
			return runReset(c.Context(), o, in, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&in.all, "all", false, "every installation on this host")
	c.Flags().BoolVar(&in.data, "data", false, "also delete the data directory")
	c.Flags().BoolVarP(&in.yes, "yes", "y", false, "do not ask")
	return c
}

type resetInput struct{ all, data, yes bool }

// resetAnswer is what --json prints.
type resetAnswer struct {
	Removed []link.Item `json:"removed"`
	// Data is the data directory if it was deleted.
	Data string `json:"data,omitempty"`
}

func runReset(ctx context.Context, o *options, in resetInput, stdin io.Reader, out, errOut io.Writer) error {
	if err := refuseWhileRunning(o, in.all); err != nil {
		return err
	}
	if !in.all {
		// Held until the end: no server starts on what is being removed.
		unlock, err := holdLock(ctx, paths{o.dataDir})
		if err != nil {
			return err
		}
		defer unlock()
	}
	inventory, reset := link.InventoryAll, link.ResetAll
	if !in.all {
		tag, err := link.TagFor(o.dataDir)
		if err != nil {
			return err
		}
		l, err := link.New(link.Config{Tag: tag, RunDir: link.DefaultRunDir(tag)})
		if err != nil {
			return err
		}
		inventory, reset = l.Inventory, l.Reset
	}
	items, err := inventory()
	if err != nil {
		return err
	}
	var data []string
	if in.data {
		if data, err = ownData(o.dataDir); err != nil {
			return err
		}
	}
	if len(items) == 0 && len(data) == 0 {
		fmt.Fprintln(errOut, "there is nothing to remove")
		if o.json {
			return printJSON(out, resetAnswer{Removed: []link.Item{}})
		}
		return nil
	}
	if len(items) > 0 {
		if err := needRoot("removing devices and namespaces"); err != nil {
			return err
		}
	}
	if !in.yes {
		if err := listItems(items, data, errOut); err != nil {
			return err
		}
		if ok, err := confirm(ctx, stdin, errOut, "Remove all of this?"); err != nil || !ok {
			if err == nil {
				err = errors.New("nothing was removed")
			}
			return err
		}
	}
	answer := resetAnswer{Removed: []link.Item{}}
	if len(items) > 0 {
		removed, rerr := reset()
		answer.Removed = append(answer.Removed, removed...)
		err = rerr
	}
	if err == nil && in.data {
		if err = removeData(o.dataDir, data); err == nil && len(data) > 0 {
			answer.Data = o.dataDir
		}
	}
	if o.json {
		return errors.Join(err, printJSON(out, answer))
	}
	for _, i := range answer.Removed {
		fmt.Fprintln(out, "removed", printable(i.String()))
	}
	if answer.Data != "" {
		fmt.Fprintln(out, "removed data in", answer.Data)
	}
	return err
}

func listItems(items []link.Item, data []string, w io.Writer) error {
	t := newTable("KIND", "NAME", "OF", "INSTALLATION")
	for _, i := range items {
		t.row(i.Kind, i.Name, i.Owner, i.Tag)
	}
	for _, d := range data {
		t.row("data", d, "", "")
	}
	return t.write(w)
}

// confirm asks a question that only yes answers. The end of the input is no.
func confirm(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprint(out, question, " [y/N] ")
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
		line <- s
	}()
	select {
	case s := <-line:
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "y", "yes":
			return true, nil
		}
		return false, nil
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false, ctx.Err()
	}
}

// agentEnds is how long the agent of a server that was killed may take to end.
const agentEnds = 15 * time.Second

// holdLock takes the locks a server and its agent hold, if there is a data
// directory to lock.
func holdLock(ctx context.Context, p paths) (unlock func(), err error) {
	f, err := os.OpenFile(p.lock(), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the server's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("a server runs on %s: stop it first", p.dir)
		}
		return nil, fmt.Errorf("lock %s: %w", p.lock(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, agentEnds)
	defer cancel()
	agent, err := p.waitAgentLock(ctx)
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { agent.Close(); f.Close() }, nil
}

// refuseWhileRunning looks for servers whose data directories are not known.
func refuseWhileRunning(o *options, all bool) error {
	if !all {
		return nil
	}
	pids, err := servers()
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("a server runs on this host (process %d): stop it first, or reset another installation with --data-dir", pids[0])
	}
	return nil
}

// servers finds the processes that are `postern serve` or `postern agent`, by the program they
// run, whose name begins with ours also when the file was replaced since.
func servers() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || !strings.HasPrefix(filepath.Base(exe), "postern") {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has ended meanwhile
		}
		for _, arg := range strings.Split(string(cmdline), "\x00")[1:] {
			if arg == "serve" || arg == "--join" || strings.HasPrefix(arg, "--join=") {
				out = append(out, pid)
				break
			}
		}
	}
	return out, nil
}

// ownData lists what Postern keeps in a data directory. A directory without
// the server's lock was never one.
func ownData(dir string) ([]string, error) {
	p := paths{dir}
	if _, err := os.Lstat(p.lock()); err != nil {
		if _, derr := os.Lstat(dir); errors.Is(derr, fs.ErrNotExist) {
			return nil, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not a data directory of Postern: nothing in it is touched", dir)
		}
		return nil, fmt.Errorf("look at the data directory: %w", err)
	}
	var out []string
	for _, d := range []string{p.store(), p.keys(), p.public(), p.s3(), p.agent(), p.log(), filepath.Dir(p.audit()), p.run()} {
		if _, err := os.Lstat(d); err == nil {
			out = append(out, d)
		}
	}
	return out, nil
}

// removeData removes them, the lock last, and the directory if that is all
// there was in it.
func removeData(dir string, data []string) error {
	for _, d := range data {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("delete data: %w", err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("delete data: %w", err)
	}
	return nil
}
