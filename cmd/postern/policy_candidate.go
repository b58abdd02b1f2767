// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

func newCandidateCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "candidate",
		Short: "watch what another policy of an endpoint would change",
		Long: `Give an endpoint a second policy that decides nothing: every request is judged by
the endpoint's own policy, and its record says what the candidate would have
decided in that policy's place. When the report shows no surprise any more, give
the endpoint the policy with 'aws ec2 modify-vpc-endpoint' and remove the
candidate.

The candidate is the operator's: AWS's API neither sets nor shows it. It goes
with its endpoint.`,
		Example: `  sudo postern policy candidate set vpce-0123456789abcdef0 policy.json
  sudo postern policy candidate report vpce-0123456789abcdef0
  sudo postern denials --candidate --follow
  aws ec2 modify-vpc-endpoint --vpc-endpoint-id vpce-0123456789abcdef0 --policy-document file://policy.json
  sudo postern policy candidate remove vpce-0123456789abcdef0`,
	}, newCandidateSetCommand(o), newCandidateShowCommand(o), newCandidateRemoveCommand(o), newCandidateReportCommand(o))
}

// endpointArg checks that an argument is an endpoint's id.
func endpointArg(arg string) (vpc.EndpointID, error) {
	if !strings.HasPrefix(arg, "vpce-") {
		return "", usageError("%q is no endpoint: want its id, such as vpce-0123456789abcdef0", arg)
	}
	return vpc.EndpointID(arg), nil
}

func newCandidateSetCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "set ENDPOINT FILE",
		Short: "judge an endpoint's requests by a second policy too",
		Long: `Judge the requests of an endpoint by the policy in FILE too, from now on. "-" is
standard input. It takes the place of the candidate before it, whose report ends.
No answer changes.

The policy is held to the rules of an endpoint's policy: everything that is
wrong with it is said with file, line and column, as 'postern policy check' does.

Exits 1 if the policy is refused, 2 if the file cannot be read, 3 if there is no
server to ask.`,
		Example: `  sudo postern policy candidate set vpce-0123456789abcdef0 policy.json
  sudo postern policy suggest vpce-0123456789abcdef0 | sudo postern policy candidate set vpce-0123456789abcdef0 -`,
		Args: wantArgs(2, "the ENDPOINT and the FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := endpointArg(args[0])
			if err != nil {
				return err
			}
			doc, err := readDocument(args[1], c.InOrStdin())
			if err != nil {
				return err
			}
			var problems []policyProblem
			for _, p := range policy.Check(doc, policy.Options{}, true) {
				problems = append(problems, problemOf(args[1], doc, p))
			}
			if len(problems) > 0 {
				if err := printProblems(c.ErrOrStderr(), false, problems); err != nil {
					return err
				}
				return &exitError{code: exitFailed}
			}
			cl := newClient(o)
			defer cl.Close()
			set, err := cl.SetCandidate(c.Context(), id, string(doc))
			if err != nil {
				return serverError(o, err)
			}
			if o.json {
				return printJSON(c.OutOrStdout(), set)
			}
			fmt.Fprintf(c.ErrOrStderr(), "requests through %s are judged by it too; see 'postern policy candidate report %s'\n", id, id)
			return nil
		},
	}
}

func newCandidateShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "show ENDPOINT",
		Short: "print an endpoint's candidate policy",
		Long: `Print the candidate policy of an endpoint as it was given, and on standard error
since when it is there. With --json both are members of one object.`,
		Example: `  sudo postern policy candidate show vpce-0123456789abcdef0 >policy.json`,
		Args:    wantArgs(1, "the ENDPOINT"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := endpointArg(args[0])
			if err != nil {
				return err
			}
			cl := newClient(o)
			defer cl.Close()
			have, err := cl.Candidate(c.Context(), id)
			if err != nil {
				return serverError(o, err)
			}
			if o.json {
				return printJSON(c.OutOrStdout(), have)
			}
			if _, err := fmt.Fprintln(c.OutOrStdout(), strings.TrimRight(have.Policy, "\n")); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
			fmt.Fprintf(c.ErrOrStderr(), "since %s\n", have.Set.UTC().Format(time.RFC3339))
			return nil
		},
	}
}

func newCandidateRemoveCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ENDPOINT",
		Short: "end judging by an endpoint's candidate policy",
		Long: `Take the candidate policy of an endpoint away. What was recorded stays in the
records, and so does its report.`,
		Example: `  sudo postern policy candidate remove vpce-0123456789abcdef0`,
		Args:    wantArgs(1, "the ENDPOINT"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := endpointArg(args[0])
			if err != nil {
				return err
			}
			cl := newClient(o)
			defer cl.Close()
			return serverError(o, cl.RemoveCandidate(c.Context(), id))
		},
	}
}

func newCandidateReportCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "report ENDPOINT",
		Short: "say what an endpoint's candidate policy would have changed",
		Long: `Say how many requests the endpoint's newest candidate policy was asked about, and
which of them it would have decided otherwise in the place of the endpoint's
policy: "deny" is what works now and would not, "allow" what is denied now and
would not be. They are put together by action, resource and caller.

It reads this host's records and needs no server; each host has those of its own
workloads. Exits 1 if no request was judged by a candidate.`,
		Example: `  sudo postern policy candidate report vpce-0123456789abcdef0
  sudo postern policy candidate report vpce-0123456789abcdef0 --json | jq .newlyDenied`,
		Args: wantArgs(1, "the ENDPOINT"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := endpointArg(args[0])
			if err != nil {
				return err
			}
			return runCandidateReport(c.Context(), o, string(id), c.OutOrStdout())
		},
	}
}

// candidateReport is what a candidate policy would have changed.
type candidateReport struct {
	Endpoint     string             `json:"endpoint"`
	Set          time.Time          `json:"set"` // since when it is the candidate
	Requests     int                `json:"requests"`
	NewlyDenied  int                `json:"newlyDenied"`
	NewlyAllowed int                `json:"newlyAllowed"`
	Earliest     time.Time          `json:"earliest"`
	Latest       time.Time          `json:"latest"`
	Changes      []*candidateChange `json:"changes"`
	// LeftOut counts the requests that are in no change: there are too many.
	LeftOut int `json:"leftOut,omitempty"`

	groups map[candidateGroup]*candidateChange
}

// candidateGroup is what changes are put together by.
type candidateGroup struct {
	decision, action, resource, principal string
}

// candidateChange is what a candidate would decide otherwise.
type candidateChange struct {
	Decision  string    `json:"decision"` // the candidate's: allow or deny
	Action    string    `json:"action"`
	Resource  string    `json:"resource"`
	Principal string    `json:"principal,omitempty"` // none for unsigned requests
	Count     int       `json:"count"`
	Last      time.Time `json:"last"`
	// The candidate's own words, of the last request.
	Policy    string `json:"policy"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
	Explicit  bool   `json:"explicit,omitempty"`
	Reason    string `json:"reason"`
	Remedy    string `json:"remedy,omitempty"`
}

// maxChanges bounds what a report names.
const maxChanges = 10_000

// add takes a record in. Records of a candidate before the newest do not count.
func (s *candidateReport) add(r *edge.Record) {
	c := r.Candidate
	if c == nil || c.Set.Before(s.Set) {
		return
	}
	if c.Set.After(s.Set) {
		*s = candidateReport{Endpoint: s.Endpoint, Set: c.Set, Earliest: r.Time, Changes: []*candidateChange{}, groups: map[candidateGroup]*candidateChange{}}
	}
	s.Requests++
	if r.Time.Before(s.Earliest) {
		s.Earliest = r.Time
	}
	if r.Time.After(s.Latest) {
		s.Latest = r.Time
	}
	if c.Decision == r.Decision {
		return
	}
	if c.Decision == edge.DecisionDeny {
		s.NewlyDenied++
	} else {
		s.NewlyAllowed++
	}
	g := candidateGroup{c.Decision, cmp.Or(c.Action, r.Action), cmp.Or(c.Resource, r.Resource), r.Principal}
	change := s.groups[g]
	if change == nil {
		if len(s.groups) == maxChanges {
			s.LeftOut++
			return
		}
		change = &candidateChange{Decision: g.decision, Action: g.action, Resource: g.resource, Principal: g.principal}
		s.groups[g] = change
		s.Changes = append(s.Changes, change)
	}
	change.Count++
	change.Last = r.Time
	change.Policy, change.Statement, change.Sid, change.Explicit, change.Reason, change.Remedy = c.Policy, c.Statement, c.Sid, c.Explicit, c.Reason, c.Remedy
}

func runCandidateReport(ctx context.Context, o *options, endpoint string, out io.Writer) error {
	s := candidateReport{Endpoint: endpoint}
	log := newRecordLog[edge.Record](paths{o.dataDir}.requests())
	_, err := showRecords(ctx, log, 0, false,
		func(r *edge.Record) bool { return r.Endpoint == endpoint && r.Candidate != nil },
		func(list []record[edge.Record]) error {
			for i := range list {
				s.add(&list[i].Value)
			}
			return nil
		}, func(give func(record[edge.Record])) error { return log.readAside(time.Time{}, give) })
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern policy candidate report'", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no requests were ever recorded in %s; is it the data directory of the server that carries them?", o.dataDir)
	case err != nil:
		return err
	case s.Requests == 0:
		return fmt.Errorf("no request through %s was judged by a candidate policy here; 'postern policy candidate show %s' says whether it has one", endpoint, endpoint)
	}
	slices.SortStableFunc(s.Changes, func(a, b *candidateChange) int {
		return cmp.Or(-cmp.Compare(a.Decision, b.Decision), cmp.Compare(b.Count, a.Count))
	})
	if o.json {
		return printJSON(out, s)
	}
	return s.print(out)
}

// print writes the report for people, what would be denied first.
func (s *candidateReport) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests from %s to %s: the candidate policy would newly deny %d and newly allow %d\n",
		s.Requests, s.Earliest.UTC().Format(time.RFC3339), s.Latest.UTC().Format(time.RFC3339), s.NewlyDenied, s.NewlyAllowed)
	if len(s.Changes) > 0 {
		t := newTable("COUNT", "WOULD", "STATEMENT", "ACTION", "RESOURCE", "PRINCIPAL", "WHY")
		for _, c := range s.Changes {
			t.row(strconv.Itoa(c.Count), c.Decision, statementText(&edge.Judgement{Statement: c.Statement, Sid: c.Sid, Explicit: c.Explicit}),
				c.Action, c.Resource, cmp.Or(c.Principal, "anonymous"), c.Reason)
		}
		if err := t.write(&b); err != nil {
			return err
		}
	}
	if s.LeftOut > 0 {
		fmt.Fprintf(&b, "and %d requests more, of other kinds\n", s.LeftOut)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
