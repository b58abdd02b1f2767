// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/policy"
)

func newPolicySuggestCommand(o *options) *cobra.Command {
	var denied bool
	c := &cobra.Command{
		Use:   "suggest ENDPOINT",
		Short: "write the least policy that covers what an endpoint carried",
		Long: fmt.Sprintf(`Write the least endpoint policy that allows every request the endpoint carried,
as 'postern requests' shows them. Actions are named whole, and so are resources.
Only objects of one bucket are put together: when an action was seen on more
than %d of them, their folders are named, then the folders of those, at last the
bucket. A policy that would be too long names fewer folders.

Requests that were denied are left out unless --denied is given; invalid ones
always are. The policy names no conditions and no callers: add what else you
know, such as aws:PrincipalAccount, and try it with 'postern policy test'.

What was not seen yet is not allowed: let the records cover a whole round of
what the workloads do before you use it.`, policy.MaxListed),
		Example: `  sudo postern policy suggest vpce-0123456789abcdef0 >policy.json
  postern policy check policy.json
  aws ec2 modify-vpc-endpoint --vpc-endpoint-id vpce-0123456789abcdef0 --policy-document file://policy.json`,
		Args: wantArgs(1, "the ENDPOINT"),
		RunE: func(c *cobra.Command, args []string) error {
			return runPolicySuggest(c.Context(), o, args[0], denied, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&denied, "denied", false, "cover what was denied too")
	return c
}

// observation is what the records say of one endpoint.
type observation struct {
	calls            map[policy.Observed]bool
	covered, denied  int // requests
	partly           int // requests whose record does not name all they asked for
	unmapped         int // requests of which nobody knows the action
	earliest, latest time.Time
}

// add takes a record in. A request that was denied counts only if wanted.
func (s *observation) add(r *edge.Record, wanted bool) {
	switch {
	case r.Decision == edge.DecisionInvalid:
		return
	case r.Action == "" || r.Resource == "":
		s.unmapped++
		return
	case r.Decision == edge.DecisionDeny && !wanted:
		s.denied++
		return
	}
	s.covered++
	if r.FurtherLeftOut > 0 {
		s.partly++
	}
	if s.earliest.IsZero() || r.Time.Before(s.earliest) {
		s.earliest = r.Time
	}
	if r.Time.After(s.latest) {
		s.latest = r.Time
	}
	s.calls[policy.Observed{Action: r.Action, Resource: r.Resource}] = true
	for _, f := range r.Further {
		s.calls[policy.Observed{Action: f.Action, Resource: f.Resource}] = true
	}
}

func runPolicySuggest(ctx context.Context, o *options, endpoint string, denied bool, out, errOut io.Writer) error {
	if !strings.HasPrefix(endpoint, "vpce-") {
		return usageError("%q is no endpoint: want its id, such as vpce-0123456789abcdef0", endpoint)
	}
	s := observation{calls: map[policy.Observed]bool{}}
	log := newRecordLog[edge.Record](paths{o.dataDir}.requests())
	_, err := showRecords(ctx, log, 0, false,
		func(r *edge.Record) bool { return r.Endpoint == endpoint },
		func(list []record[edge.Record]) error {
			for i := range list {
				s.add(&list[i].Value, denied)
			}
			return nil
		}, func(give func(record[edge.Record])) error { return log.readAside(time.Time{}, give) })
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern policy suggest'", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no requests were ever recorded in %s; is it the data directory of the server that carries them?", o.dataDir)
	case err != nil:
		return err
	case s.covered == 0 && s.denied > 0:
		return fmt.Errorf("every request through %s was denied; --denied covers those", endpoint)
	case s.covered == 0:
		return fmt.Errorf("no requests through %s were recorded", endpoint)
	}
	var calls []policy.Observed
	for c := range s.calls {
		calls = append(calls, c)
	}
	doc, err := policy.Suggest(calls)
	if err != nil {
		return fmt.Errorf("suggest a policy: %w", err)
	}
	if _, err := out.Write(doc); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	fmt.Fprintf(errOut, "covers %d requests from %s to %s\n", s.covered, s.earliest.UTC().Format(time.RFC3339), s.latest.UTC().Format(time.RFC3339))
	for _, note := range []struct {
		n    int
		text string
	}{
		{s.denied, "were denied and are not covered: --denied covers them too"},
		{s.partly, "asked for more at once than their records name: the rest may not be covered"},
		{s.unmapped, "have no action in their record and are not covered"},
	} {
		if note.n > 0 {
			fmt.Fprintf(errOut, "%d more %s\n", note.n, note.text)
		}
	}
	return nil
}
