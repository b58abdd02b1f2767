// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/audit"
)

func newAuditCommand(o *options) *cobra.Command {
	var in auditInput
	c := &cobra.Command{
		Use:   "audit",
		Short: "show who asked the API for what",
		Long: `Show the calls of the API, the operator's own and those that were refused, from
the audit log: when, who, from where, which action, with what result. A caller
with a question mark is only claimed: the signature did not hold.

The log is rotated by size; files that were put aside are searched too. With
--json each record is one JSON object on a line, with the call's parameters
(never a secret), its request id, the ids it made and more.

Needs the rights to read the log in the data directory, usually root's.`,
		Example: `  sudo postern audit
  sudo postern audit --since 10m --error
  sudo postern audit --account alice --action 'Create*'
  sudo postern audit --resource vpce-0123456789abcdef0 --limit 0
  sudo postern audit --follow
  sudo postern audit --request 3b1a1c9e-6d0e-4f5e-9a53-1d7f0c1f2e3d --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.limit < 0 {
				return usageError("--limit %d: want a number of calls, or 0 for all", in.limit)
			}
			if in.since < 0 {
				return usageError("--since %s: want how long ago, such as 10m", in.since)
			}
			if _, err := path.Match(in.action, ""); err != nil {
				return usageError("--action %q: want an action's name, in which * stands for any letters", in.action)
			}
			return runAudit(c.Context(), o, in, time.Now(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.DurationVar(&in.since, "since", 0, "only calls of this last time, such as 10m or 24h")
	f.StringVar(&in.account, "account", "", "only calls of this account, by name or id")
	f.StringVar(&in.action, "action", "", "only this action; * stands for any letters, upper and lower case are the same")
	f.BoolVar(&in.failed, "error", false, "only calls that failed")
	f.StringVar(&in.resource, "resource", "", "only calls that named or made this id")
	f.StringVar(&in.request, "request", "", "only the call with this request id")
	f.IntVar(&in.limit, "limit", 50, "how many of the last calls to show, 0 for all")
	f.BoolVarP(&in.follow, "follow", "f", false, "go on and show new calls until interrupted")
	f.StringVar(&in.file, "file", "", "the log, if it is not the running server's or the data directory's")
	return c
}

type auditInput struct {
	account, action, resource, request, file string

	since          time.Duration
	failed, follow bool
	limit          int
}

// wants reports whether a record was asked for.
func (in auditInput) wants(r *audit.Record, from time.Time) bool {
	if r.Time.Before(from) || in.failed && !r.Failed() || in.request != "" && in.request != r.RequestID {
		return false
	}
	if in.account != "" && in.account != r.Account && in.account != r.AccountName {
		return false
	}
	if in.action != "" {
		if ok, _ := path.Match(strings.ToLower(in.action), strings.ToLower(r.Action)); !ok {
			return false
		}
	}
	return in.resource == "" || concerns(r, in.resource)
}

// concerns reports whether a call named an id or made it.
func concerns(r *audit.Record, id string) bool {
	if slices.Contains(r.Resources, id) {
		return true
	}
	for _, v := range r.Parameters {
		if strings.Contains(v, id) {
			return true
		}
	}
	return false
}

func runAudit(ctx context.Context, o *options, in auditInput, now time.Time, out, errOut io.Writer) error {
	name := auditFile(ctx, o, in.file)
	p := newAuditPrinter(o.json, out, now)
	log := newRecordLog[audit.Record](name)
	var from time.Time
	if in.since > 0 {
		from = now.Add(-in.since)
	}
	wants := func(r *audit.Record) bool { return in.wants(r, from) }
	aside := func(give func(record[audit.Record])) error {
		return log.readAside(from, give)
	}
	shown, err := showRecords(ctx, log, in.limit, in.follow, wants, p.print, aside)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern audit'", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no audit log %s; is %s the data directory of the server, and is its audit on?", name, o.dataDir)
	case err == nil && !shown:
		fmt.Fprintln(errOut, "no such calls")
	}
	return err
}

// auditFile is where the log is: as given, as the running server says, or in
// the data directory.
func auditFile(ctx context.Context, o *options, given string) string {
	if given != "" {
		return given
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c := newClient(o)
	defer c.Close()
	if i, err := c.Info(ctx); err == nil && i.AuditLog != "" {
		return i.AuditLog
	}
	return paths{o.dataDir}.audit()
}

// auditPrinter prints records as they come.
type auditPrinter struct {
	json  bool
	out   io.Writer
	now   time.Time
	table *table
}

func newAuditPrinter(json bool, out io.Writer, now time.Time) *auditPrinter {
	return &auditPrinter{json: json, out: out, now: now,
		table: newTable("TIME", "WHO", "FROM", "ACTION", "RESULT", "TOOK", "WHAT")}
}

func (p *auditPrinter) print(list []record[audit.Record]) error {
	if len(list) == 0 {
		return nil
	}
	if p.json {
		return printLines(p.out, list)
	}
	for _, line := range list {
		r := &line.Value
		format := "15:04:05.000"
		if t := r.Time.Local(); t.Format(time.DateOnly) != p.now.Local().Format(time.DateOnly) {
			format = "2006-01-02 15:04:05"
		}
		action := r.Action
		if r.Service != "" && r.Service != "ec2" {
			action = r.Service + ":" + action
		}
		p.table.row(r.Time.Local().Format(format), who(r), r.Source, action, result(r), took(r.DurationMS), what(r))
	}
	return p.table.write(p.out)
}

// who is the caller: the account's name, and the user in it if it is not the root.
func who(r *audit.Record) string {
	if r.ClaimedAccessKey != "" {
		return r.ClaimedAccessKey + "?"
	}
	name := r.AccountName
	if name == "" {
		name = r.Account
	}
	if _, principal, ok := strings.Cut(r.Principal, r.Account+":"); ok && r.Account != "" && principal != "root" {
		name += "/" + principal
	}
	return name
}

func result(r *audit.Record) string {
	switch {
	case r.ErrorCode != "":
		return r.ErrorCode
	case r.Status == 0:
		return "no answer"
	}
	return "ok"
}

// took is a duration for people.
func took(ms float64) string {
	if ms < 10 {
		return fmt.Sprintf("%.1fms", ms)
	}
	return fmt.Sprintf("%.0fms", ms)
}

// what is the call in short: its error, else what it made and its parameters.
func what(r *audit.Record) string {
	const most = 160
	var parts []string
	if r.Failed() {
		parts = append(parts, r.ErrorMessage)
	}
	if r.Write && !r.Failed() && len(r.Resources) > 0 {
		parts = append(parts, r.Resources[0])
	}
	for _, k := range slices.Sorted(maps.Keys(r.Parameters)) {
		if v := r.Parameters[k]; v != "" && !slices.Contains(parts, v) {
			parts = append(parts, k+"="+v)
		}
	}
	s := []rune(strings.Join(parts, " "))
	if len(s) > most {
		s = append(s[:most-3], []rune("...")...)
	}
	return string(s)
}
