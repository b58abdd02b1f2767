// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/edge/tally"
)

func newDenialsCommand(o *options) *cobra.Command {
	var in denialsInput
	c := &cobra.Command{
		Use:   "denials",
		Short: "show what was denied, by which policy, and what would allow it",
		Long: `Show the requests that were denied, newest last: who asked for what, which
policy and which of its statements decided, the conditions that were not met
with the values the request had, and what would allow it. POLICY is one of

  endpoint   the policy of the endpoint the request came through
  identity   the policies of the user who signed it
  service    the service itself, which answered 403: the policy of a bucket or
             queue, an ACL, or a signature it does not accept
  api        Postern's own API, asked directly: what its caller may not do

STATEMENT is the one that denied, "Deny" in front of it, or the one that came
nearest to allowing. Statements are counted from 0. A request of which nobody
knows what it does is denied unless the policy allows the whole service.

--count adds them up, by endpoint, policy and statement: where to look first.
What the records still hold is shown and added up, files that were put aside
included: those that Postern or logrotate names .1, .2 and on, or by date, also
compressed with gzip.
--totals shows what was counted since counting began, records that are gone
included, by endpoint, policy and statement. It knows neither callers nor
actions, nor what the API denied.
--candidate shows what the candidate policies of endpoints would have denied
although it was allowed; see 'postern policy candidate'.

* in --principal and --action stands for any letters. Each host keeps the
records of its own endpoints, and the server's machine those of the API. With
--json each denial is one JSON object on a line; its requestId is that of
'postern requests --json', or for policy "api" of 'postern audit'.

Exits 0 whether anything was denied or not, 1 if there are no records or they
cannot be read, 2 if the flags are wrong. Needs the rights to read the logs in
the data directory, usually root's.`,
		Example: `  sudo postern denials --follow
  sudo postern denials --since 1h --count
  sudo postern denials --totals --service s3
  sudo postern denials --endpoint vpce-0123456789abcdef0 --action 's3:Put*'
  sudo postern denials --principal '*:user/ann' --limit 1
  sudo postern denials --candidate --json | jq -r .remedy`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case in.limit < 0:
				return usageError("--limit %d: want a number of denials, or 0 for all", in.limit)
			case in.since < 0:
				return usageError("--since %s: want how long ago, such as 10m", in.since)
			case in.count && in.follow:
				return usageError("give --count or --follow, not both")
			case in.totals && (in.count || in.follow):
				return usageError("give --totals by itself, not with --count or --follow")
			case in.totals && (in.principal != "" || in.action != "" || in.since != 0 || c.Flags().Changed("limit")):
				return usageError("--totals knows --endpoint, --vpc, --service and --candidate only: nothing else is counted apart")
			case in.count && c.Flags().Changed("limit"):
				return usageError("give --count or --limit, not both: --count counts all")
			}
			if in.totals {
				return runDenialTotals(o, in, c.OutOrStdout(), c.ErrOrStderr())
			}
			return runDenials(c.Context(), o, in, time.Now(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&in.endpoint, "endpoint", "", "only through this endpoint")
	f.StringVar(&in.vpc, "vpc", "", "only from this VPC")
	f.StringVar(&in.service, "service", "", "only of this service, such as s3")
	f.StringVar(&in.principal, "principal", "", "only of this caller, an ARN; * stands for any letters")
	f.StringVar(&in.action, "action", "", "only this action, such as s3:PutObject; * stands for any letters")
	f.DurationVar(&in.since, "since", 0, "only of this last time, such as 10m or 24h")
	f.IntVar(&in.limit, "limit", 50, "how many of the last denials to show, 0 for all")
	f.BoolVarP(&in.follow, "follow", "f", false, "go on and show new denials until interrupted")
	f.BoolVar(&in.candidate, "candidate", false, "what candidate policies would have denied instead")
	f.BoolVar(&in.count, "count", false, "how many, by endpoint, policy and statement")
	f.BoolVar(&in.totals, "totals", false, "how many since counting began, by endpoint, policy and statement")
	return c
}

type denialsInput struct {
	endpoint, vpc, service, principal, action string

	since                            time.Duration
	follow, candidate, count, totals bool
	limit                            int
}

// deniedByAPI is the policy that denies beside those of a record.
const deniedByAPI = "api"

// denial is one denied request, as JSON says it.
type denial struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId"`
	Endpoint  string    `json:"endpoint,omitempty"`
	VPC       string    `json:"vpc,omitempty"`
	Service   string    `json:"service"`
	Client    string    `json:"client,omitempty"`
	Principal string    `json:"principal,omitempty"` // none for an unsigned request
	AccessKey string    `json:"accessKey,omitempty"`
	Action    string    `json:"action,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	Status    int       `json:"status,omitempty"`
	// Candidate says that it was not denied: a candidate policy would have.
	Candidate bool `json:"candidate,omitempty"`
	edge.Judgement
}

// denialOf is the denial that a request's record tells of.
func denialOf(r *edge.Record, candidate bool) (denial, bool) {
	d := denial{
		Time: r.Time, RequestID: r.RequestID, Endpoint: r.Endpoint, VPC: r.VPC, Service: r.Service, Client: r.Client,
		Principal: r.Principal, AccessKey: r.AccessKey, Action: r.Action, Resource: r.Resource, Status: r.Status, Judgement: r.Judgement,
	}
	if candidate {
		if !r.NewlyDenied() {
			return denial{}, false
		}
		c := r.Candidate
		d.Candidate, d.Judgement = true, c.Judgement
		d.Action, d.Resource = cmp.Or(c.Action, r.Action), cmp.Or(c.Resource, r.Resource)
		return d, true
	}
	switch by := r.DeniedBy(); by {
	case "":
		return denial{}, false
	case tally.ByService:
		d.Judgement = edge.Judgement{
			Decision: edge.DecisionDeny, Policy: by, Statement: -1,
			Reason: "the service refused what the policies allow: " + cmp.Or(r.ServiceError, "it answered "+strconv.Itoa(r.Status)),
		}
	default:
		d.Policy = by
	}
	return d, true
}

// apiDenialOf is the denial that a record of an API call tells of.
func apiDenialOf(r *audit.Record) (denial, bool) {
	if !edge.DeniedCode(r.ErrorCode) {
		return denial{}, false
	}
	return denial{
		Time: r.Time, RequestID: r.RequestID, Service: r.Service, Client: r.Source, Principal: r.Principal, AccessKey: r.AccessKey,
		Action: r.Service + ":" + r.Action, Status: r.Status,
		Judgement: edge.Judgement{Decision: edge.DecisionDeny, Policy: deniedByAPI, Statement: -1, Reason: r.ErrorMessage},
	}, true
}

// filter makes what a denial has to be.
func (in denialsInput) filter(now time.Time) func(*denial) bool {
	principal, action := glob(in.principal), glob(in.action)
	var from time.Time
	if in.since > 0 {
		from = now.Add(-in.since)
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return func(d *denial) bool {
		return !d.Time.Before(from) && is(in.endpoint, d.Endpoint) && is(in.vpc, d.VPC) && is(in.service, d.Service) &&
			principal.MatchString(d.Principal) && action.MatchString(d.Action)
	}
}

// glob matches text in any letter case; * stands for any letters. Without a
// pattern everything matches.
func glob(pattern string) *regexp.Regexp {
	if pattern == "" {
		pattern = "*"
	}
	return regexp.MustCompile(`(?is)^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
}

// denialLogs are the logs that tell of denials.
type denialLogs []func(give func(denial)) error

func (in denialsInput) logs(ctx context.Context, o *options, now time.Time) (logs denialLogs, end func()) {
	wants := in.filter(now)
	var from time.Time
	if in.since > 0 {
		from = now.Add(-in.since)
	}
	requests := newRecordLog[edge.Record](paths{o.dataDir}.requests())
	logs = denialLogs{wholeLog(requests, from, func(r record[edge.Record]) (denial, bool) {
		d, ok := denialOf(&r.Value, in.candidate)
		return d, ok && wants(&d)
	})}
	if in.candidate || in.endpoint != "" || in.vpc != "" {
		return logs, requests.close // what the API denies came through no endpoint
	}
	calls := newRecordLog[audit.Record](auditFile(ctx, o, ""))
	logs = append(logs, wholeLog(calls, from, func(r record[audit.Record]) (denial, bool) {
		d, ok := apiDenialOf(&r.Value)
		return d, ok && wants(&d)
	}))
	return logs, func() { requests.close(); calls.close() }
}

// wholeLog reads what a log tells of denials, at the first time with the files that were
// put aside, without those that end before from.
func wholeLog[T any](log *recordLog[T], from time.Time, denialOf func(record[T]) (denial, bool)) func(give func(denial)) error {
	aside := false // were those that were put aside read?
	return func(give func(denial)) error {
		each := func(r record[T]) {
			if d, ok := denialOf(r); ok {
				give(d)
			}
		}
		if !aside {
			if err := log.readAside(from, each); err != nil {
				return err
			}
			aside = true
		}
		return log.read(each)
	}
}

// read gives the denials that are new since the last call, in the order of
// their times, at most limit of each log if that is not 0. found is false if
// no log is there.
func (logs denialLogs) read(limit int) (list []denial, found bool, err error) {
	for _, read := range logs {
		var own []denial
		err := read(func(d denial) {
			if own = append(own, d); limit > 0 && len(own) >= 2*limit {
				own = append(own[:0], own[len(own)-limit:]...)
			}
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, true, err
		}
		found = true
		list = append(list, own...)
	}
	slices.SortStableFunc(list, func(a, b denial) int { return a.Time.Compare(b.Time) })
	return list, found, nil
}

func runDenials(ctx context.Context, o *options, in denialsInput, now time.Time, out, errOut io.Writer) error {
	logs, end := in.logs(ctx, o, now)
	defer end()
	limit := in.limit
	if in.count {
		limit = 0
	}
	list, found, err := logs.read(limit)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern denials'", err)
	case err != nil:
		return err
	case !found && !in.follow:
		return fmt.Errorf("nothing was ever recorded in %s; is it the data directory of the server or of the host?", o.dataDir)
	}
	if limit > 0 && len(list) > limit {
		list = list[len(list)-limit:]
	}
	if len(list) == 0 && !in.follow {
		fmt.Fprintln(errOut, "no such denials")
		if !in.count || !o.json {
			return nil
		}
	}
	if in.count {
		return printDenialCounts(out, o.json, list)
	}
	p := newDenialPrinter(o.json, out)
	if err := p.print(list); err != nil || !in.follow {
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
		if list, _, err = logs.read(0); err != nil {
			return err
		}
		if err := p.print(list); err != nil {
			return err
		}
	}
}

// denialPrinter prints denials as they come.
type denialPrinter struct {
	json  bool
	out   io.Writer
	table *table
}

func newDenialPrinter(json bool, out io.Writer) *denialPrinter {
	return &denialPrinter{json: json, out: out,
		table: newTable("TIME", "POLICY", "STATEMENT", "ACTION", "RESOURCE", "PRINCIPAL", "ENDPOINT", "CLIENT")}
}

func (p *denialPrinter) print(list []denial) error {
	if len(list) == 0 {
		return nil
	}
	var b strings.Builder
	if p.json {
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		for _, d := range list {
			if err := enc.Encode(d); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
	} else if err := p.rowsAndReasons(&b, list); err != nil {
		return err
	}
	if _, err := io.WriteString(p.out, b.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// rowsAndReasons writes a row for each denial, and why under it.
func (p *denialPrinter) rowsAndReasons(b *strings.Builder, list []denial) error {
	for i := range list {
		d := &list[i]
		who := d.Principal
		if who == "" {
			who = "anonymous"
		}
		p.table.row(d.Time.Local().Format("2006-01-02 15:04:05"), d.Policy, statementText(&d.Judgement), d.Action, d.Resource, who, d.Endpoint, d.Client)
	}
	var rows strings.Builder
	if err := p.table.write(&rows); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(rows.String(), "\n"), "\n")
	for _, header := range lines[:len(lines)-len(list)] {
		b.WriteString(header + "\n")
	}
	for i, row := range lines[len(lines)-len(list):] {
		b.WriteString(row + "\n")
		for _, line := range whyDenied(&list[i].Judgement) {
			b.WriteString("  " + printable(line) + "\n")
		}
	}
	return nil
}

// statementText names the statement that decided or came nearest.
func statementText(j *edge.Judgement) string {
	if j.Statement < 0 {
		return ""
	}
	s := strconv.Itoa(j.Statement)
	if j.Sid != "" {
		s += " (" + j.Sid + ")"
	}
	if j.Explicit {
		s = "Deny " + s
	}
	return s
}

// whyDenied is what there is to say of a denial: the reason, every condition
// that was not met, and what would allow it.
func whyDenied(j *edge.Judgement) []string {
	var out []string
	if j.Reason != "" {
		out = append(out, j.Reason)
	}
	for _, f := range j.Failed {
		out = append(out, unmet(f))
	}
	if j.FailedLeftOut > 0 {
		out = append(out, fmt.Sprintf("and %d conditions more", j.FailedLeftOut))
	}
	if j.Remedy != "" {
		out = append(out, "to allow it: "+j.Remedy)
	}
	return out
}

// denialCount is how often one statement of one policy denied.
type denialCount struct {
	Endpoint  string    `json:"endpoint,omitempty"`
	Service   string    `json:"service"`
	Policy    string    `json:"policy"`
	Statement int       `json:"statement"`
	Sid       string    `json:"sid,omitempty"`
	Explicit  bool      `json:"explicit,omitempty"`
	Count     int       `json:"count"`
	Actions   []string  `json:"actions"`
	Last      time.Time `json:"last"`
	Remedy    string    `json:"remedy,omitempty"` // of the last
}

// countDenials adds denials up, the most frequent first.
func countDenials(list []denial) []*denialCount {
	type group struct {
		endpoint, service, policy, sid string
		statement                      int
		explicit                       bool
	}
	counts := map[group]*denialCount{}
	out := []*denialCount{}
	for i := range list {
		d := &list[i]
		g := group{d.Endpoint, d.Service, d.Policy, d.Sid, d.Statement, d.Explicit}
		c := counts[g]
		if c == nil {
			c = &denialCount{Endpoint: d.Endpoint, Service: d.Service, Policy: d.Policy, Statement: d.Statement, Sid: d.Sid, Explicit: d.Explicit}
			counts[g] = c
			out = append(out, c)
		}
		c.Count++
		c.Last, c.Remedy = d.Time, d.Remedy
		if at, have := slices.BinarySearch(c.Actions, d.Action); !have {
			c.Actions = slices.Insert(c.Actions, at, d.Action)
		}
	}
	slices.SortStableFunc(out, func(a, b *denialCount) int { return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last)) })
	return out
}

func printDenialCounts(out io.Writer, asJSON bool, list []denial) error {
	counts := countDenials(list)
	if asJSON {
		return printJSON(out, counts)
	}
	t := newTable("COUNT", "ENDPOINT", "SERVICE", "POLICY", "STATEMENT", "LAST", "ACTIONS")
	for _, c := range counts {
		const shown = 5
		actions := c.Actions
		if len(actions) > shown {
			actions = append(slices.Clone(actions[:shown]), fmt.Sprintf("and %d more", len(actions)-shown))
		}
		t.row(strconv.Itoa(c.Count), c.Endpoint, c.Service, c.Policy,
			statementText(&edge.Judgement{Statement: c.Statement, Sid: c.Sid, Explicit: c.Explicit}),
			c.Last.Local().Format("2006-01-02 15:04:05"), strings.Join(actions, ", "))
	}
	return t.write(out)
}
