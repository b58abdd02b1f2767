// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/edge"
)

func newRequestsCommand(o *options) *cobra.Command {
	var in requestsInput
	c := &cobra.Command{
		Use:   "requests",
		Short: "show the requests that endpoints carried to services",
		Long: `Show what workloads asked of services such as S3 through endpoints, and what the
endpoint's policy made of it: allow, deny, or invalid for a request that no
policy was asked about. WHY names the policy statement that decided.

The access key is what the signature claims; the service verifies it, so that
an allowed request can still have been refused there: see STATUS.

With --json each record is one JSON object on a line. Needs the rights to read
the log in the data directory, usually root's.`,
		Example: `  sudo postern requests
  sudo postern requests --denied --limit 5
  sudo postern requests --follow --endpoint vpce-0123456789abcdef0
  sudo postern requests --limit 0 --json | jq -r 'select(.status >= 400) | .reason'`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.limit < 0 {
				return usageError("--limit %d: want a number of requests, or 0 for all", in.limit)
			}
			return runRequests(c.Context(), o, in, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&in.vpc, "vpc", "", "only requests from this VPC")
	f.StringVar(&in.endpoint, "endpoint", "", "only requests through this endpoint")
	f.BoolVar(&in.denied, "denied", false, "only requests that were not allowed")
	f.IntVar(&in.limit, "limit", 50, "how many of the last requests to show, 0 for all")
	f.BoolVarP(&in.follow, "follow", "f", false, "go on and show new requests until interrupted")
	return c
}

type requestsInput struct {
	vpc, endpoint  string
	denied, follow bool
	limit          int
}

// wants reports whether a record was asked for.
func (in requestsInput) wants(r *edge.Record) bool {
	return (in.vpc == "" || in.vpc == r.VPC) && (in.endpoint == "" || in.endpoint == r.Endpoint) &&
		(!in.denied || r.Decision != edge.DecisionAllow)
}

// followEvery is how often a followed log is looked at.
const followEvery = 200 * time.Millisecond

func runRequests(ctx context.Context, o *options, in requestsInput, out, errOut io.Writer) error {
	name := paths{o.dataDir}.requests()
	p := newRequestPrinter(o.json, out)
	log := &recordLog{name: name}
	defer log.close()
	var last []record
	err := log.read(func(r record) {
		if !in.wants(&r.Record) {
			return
		}
		last = append(last, r)
		if in.limit > 0 && len(last) >= 2*in.limit {
			last = append(last[:0], last[len(last)-in.limit:]...)
		}
	})
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern requests'", err)
	case errors.Is(err, fs.ErrNotExist) && !in.follow:
		return fmt.Errorf("no requests were ever recorded in %s; is it the data directory of the server that carries them?", o.dataDir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if in.limit > 0 && len(last) > in.limit {
		last = last[len(last)-in.limit:]
	}
	if len(last) == 0 && !in.follow {
		fmt.Fprintln(errOut, "no such requests")
		return nil
	}
	if err := p.print(last); err != nil || !in.follow {
		return err
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var fresh []record
		err := log.read(func(r record) {
			if in.wants(&r.Record) {
				fresh = append(fresh, r)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := p.print(fresh); err != nil {
			return err
		}
	}
}

// record is one line of the log and what it says.
type record struct {
	edge.Record
	line []byte
}

// recordLog reads a log that is being written and may be replaced.
type recordLog struct {
	name    string
	f       *os.File
	r       *bufio.Reader
	partial []byte // of a line that is not complete yet
	tooLong bool   // and will not be used
}

// maxRecord bounds a line; the edge's are far below it.
const maxRecord = 256 << 10

// read gives every complete record that is new since the last call. Lines that
// are no records are passed over: a crash may have cut one short.
func (l *recordLog) read(give func(record)) error {
	if err := l.reopen(); err != nil {
		return err
	}
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.partial)+len(part) > maxRecord {
			l.tooLong = true
		}
		if l.tooLong {
			l.partial = l.partial[:0]
		} else {
			l.partial = append(l.partial, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the requests: %w", err)
		}
		var r record
		if !l.tooLong && json.Unmarshal(l.partial, &r.Record) == nil {
			r.line = bytes.Clone(bytes.TrimSpace(l.partial))
			give(r)
		}
		l.partial, l.tooLong = l.partial[:0], false
	}
}

// reopen opens the file, or the one that has taken its name, or starts again
// when it was emptied.
func (l *recordLog) reopen() error {
	if l.f != nil {
		now, err := os.Stat(l.name)
		if err != nil {
			return nil // renamed, and not written again yet
		}
		had, err := l.f.Stat()
		if err != nil {
			return fmt.Errorf("look at the requests: %w", err)
		}
		at, err := l.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return fmt.Errorf("look at the requests: %w", err)
		}
		if os.SameFile(now, had) && had.Size() >= at {
			return nil
		}
		l.close()
	}
	f, err := os.Open(l.name)
	if err != nil {
		return fmt.Errorf("open the requests: %w", err)
	}
	l.f, l.r, l.partial, l.tooLong = f, bufio.NewReader(f), nil, false
	return nil
}

func (l *recordLog) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// requestPrinter prints records as they come.
type requestPrinter struct {
	json  bool
	out   io.Writer
	table *table
}

func newRequestPrinter(json bool, out io.Writer) *requestPrinter {
	return &requestPrinter{json: json, out: out,
		table: newTable("TIME", "DECISION", "STATUS", "METHOD", "ACTION", "RESOURCE", "ENDPOINT", "CLIENT", "TOOK", "WHY")}
}

func (p *requestPrinter) print(list []record) error {
	if len(list) == 0 {
		return nil
	}
	if p.json {
		var b bytes.Buffer
		for _, r := range list {
			b.Write(r.line)
			b.WriteByte('\n')
		}
		_, err := p.out.Write(b.Bytes())
		return err
	}
	for _, r := range list {
		resource := r.Resource
		if resource == "" {
			resource = r.Host
		}
		p.table.row(r.Time.Local().Format("15:04:05.000"), r.Decision, statusText(r.Status), r.Method, r.Action, resource, r.Endpoint,
			r.Client, strconv.FormatInt(r.DurationMS, 10)+"ms", why(&r.Record))
	}
	return p.table.write(p.out)
}

// statusText is the status of the answer, if there was one.
func statusText(s int) string {
	if s == 0 {
		return ""
	}
	return strconv.Itoa(s)
}

// why is what decided, and what went wrong after that.
func why(r *edge.Record) string {
	var parts []string
	if r.Statement >= 0 && r.Decision != edge.DecisionInvalid {
		s := fmt.Sprintf("statement %d", r.Statement)
		if r.Sid != "" {
			s += " (" + r.Sid + ")"
		}
		parts = append(parts, s)
	}
	for _, s := range []string{r.Reason, r.Condition, r.Error} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "; ")
}
