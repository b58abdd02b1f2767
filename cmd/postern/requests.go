// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

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
policy was asked about. WHY names the policy statement that decided, and what
the endpoint's candidate policy would have decided if that is not the same.
'postern denials' explains what was denied.

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

func runRequests(ctx context.Context, o *options, in requestsInput, out, errOut io.Writer) error {
	p := newRequestPrinter(o.json, out)
	shown, err := showRecords(ctx, newRecordLog[edge.Record](paths{o.dataDir}.requests()), in.limit, in.follow, in.wants, p.print)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern requests'", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no requests were ever recorded in %s; is it the data directory of the server that carries them?", o.dataDir)
	case err == nil && !shown:
		fmt.Fprintln(errOut, "no such requests")
	}
	return err
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

func (p *requestPrinter) print(list []record[edge.Record]) error {
	if len(list) == 0 {
		return nil
	}
	if p.json {
		return printLines(p.out, list)
	}
	for _, line := range list {
		r := &line.Value
		resource := r.Resource
		if resource == "" {
			resource = r.Host
		}
		p.table.row(r.Time.Local().Format("15:04:05.000"), r.Decision, statusText(r.Status), r.Method, r.Action, resource, r.Endpoint,
			r.Client, strconv.FormatInt(r.DurationMS, 10)+"ms", why(r))
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
	for _, s := range []string{r.Reason, r.Condition, r.ServiceError, r.Error} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if c := r.Candidate; c != nil && c.Decision != r.Decision {
		parts = append(parts, "the candidate policy: "+c.Decision+", "+c.Reason)
	}
	return strings.Join(parts, "; ")
}
