// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/edge/tally"
)

// denialTotals are the denials that were counted, as JSON says them.
type denialTotals struct {
	Since   time.Time     `json:"since"`
	Denials []denialTotal `json:"denials"`
}

// denialTotal is how often one statement of one policy denied since counting began.
type denialTotal struct {
	Endpoint string `json:"endpoint,omitempty"`
	VPC      string `json:"vpc,omitempty"`
	Service  string `json:"service,omitempty"`
	// OtherEndpoints says that these are several endpoints', which have no counts of
	// their own any more.
	OtherEndpoints bool `json:"otherEndpoints,omitempty"`
	tally.Denial
}

// totalsOf picks what was asked for, the most frequent first.
func (in denialsInput) totalsOf(t tally.Totals) denialTotals {
	out := denialTotals{t.Since, []denialTotal{}}
	is := func(want, have string) bool { return want == "" || want == have }
	for _, e := range t.Endpoints {
		if !is(in.endpoint, e.Endpoint) || !is(in.vpc, e.VPC) || !is(in.service, e.Service) {
			continue
		}
		for _, d := range e.Denials {
			if d.Candidate == in.candidate {
				out.Denials = append(out.Denials, denialTotal{e.Endpoint, e.VPC, e.Service, e.Others, d})
			}
		}
	}
	slices.SortStableFunc(out.Denials, func(a, b denialTotal) int { return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last)) })
	return out
}

func runDenialTotals(o *options, in denialsInput, out, errOut io.Writer) error {
	counted, err := tally.ReadFile(paths{o.dataDir}.totals())
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nOnly the user who started the server may read it: try 'sudo -E postern denials --totals'", err)
	case errors.Is(err, fs.ErrNotExist) || err == nil && counted.Since.IsZero():
		return fmt.Errorf("nothing was ever counted in %s; is it the data directory of the server or of the host?", o.dataDir)
	case err != nil:
		return err
	}
	t := in.totalsOf(counted)
	if o.json {
		return printJSON(out, t)
	}
	const format = "2006-01-02 15:04:05"
	since := t.Since.Local().Format(format)
	if len(t.Denials) == 0 {
		fmt.Fprintf(errOut, "no such denials since %s\n", since)
		return nil
	}
	if _, err := fmt.Fprintf(out, "counted since %s\n", since); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	header := []string{"COUNT", "ENDPOINT", "SERVICE", "POLICY", "STATEMENT", "LAST"}
	if in.candidate {
		header = append(header, "CANDIDATE SET")
	}
	table := newTable(header...)
	for _, d := range t.Denials {
		endpoint, statement := d.Endpoint, statementText(&edge.Judgement{Statement: d.Statement.Statement, Sid: d.Sid, Explicit: d.Explicit})
		if d.OtherEndpoints {
			endpoint = "others"
		}
		if d.Others {
			statement = "others"
		}
		row := []string{strconv.FormatUint(d.Count, 10), endpoint, d.Service, d.Policy, statement, d.Last.Local().Format(format)}
		if in.candidate {
			set := ""
			if !d.CandidateSet.IsZero() {
				set = d.CandidateSet.Local().Format(format)
			}
			row = append(row, set)
		}
		table.row(row...)
	}
	return table.write(out)
}
