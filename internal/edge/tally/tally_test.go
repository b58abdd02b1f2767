// SPDX-License-Identifier: Apache-2.0

package tally

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// after is a time of a request.
func after(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// denied is a request through an endpoint that a statement denied.
func denied(endpoint string, statement int, at time.Time) Request {
	return Request{Time: at, Endpoint: endpoint, VPC: "vpc-1", Service: "s3", Denied: Statement{Policy: ByEndpoint, Statement: statement}}
}

func TestRequestsAreCountedByWhatBecameOfThem(t *testing.T) {
	c := New(start)
	set := after(-100)
	noDeletes := Statement{Policy: ByEndpoint, Statement: 1, Sid: "NoDeletes", Explicit: true}
	for i, r := range []Request{
		{Allowed: true, Uploaded: 10, Downloaded: 1 << 40},
		{Allowed: true, Error: true, Uploaded: 5},
		{Allowed: true, Denied: Statement{Policy: ByService, Statement: -1}},
		{Allowed: true, Candidate: noDeletes, CandidateSet: set},
		{Allowed: true, Candidate: noDeletes, CandidateSet: set.Add(time.Second)},
		{Denied: noDeletes},
		{Denied: noDeletes, Candidate: Statement{}},
		{Denied: Statement{Policy: ByEndpoint, Statement: 1, Sid: "NoDeletes"}}, // nearest, not the same as applied
		{Denied: Statement{Policy: ByIdentity, Statement: -1}},
		{Invalid: true},
	} {
		r.Time, r.Endpoint, r.VPC, r.Service = after(i), "vpce-1", "vpc-1", "s3"
		c.Count(r)
	}
	c.Count(Request{Time: after(20), Endpoint: "vpce-0", VPC: "vpc-2", Service: "dynamodb", Allowed: true})
	want := Totals{Since: start, Endpoints: []Endpoint{
		{Endpoint: "vpce-0", VPC: "vpc-2", Service: "dynamodb", Counts: Counts{Requests: 1, Allowed: 1}, Last: after(20), Denials: []Denial{}},
		{
			Endpoint: "vpce-1", VPC: "vpc-1", Service: "s3", Last: after(9),
			Counts: Counts{
				Requests: 10, Allowed: 5, Invalid: 1, DeniedByEndpoint: 3, DeniedByIdentity: 1, DeniedByService: 1, CandidateDenied: 2, Errors: 1,
				BytesUploaded: 15, BytesDownloaded: 1 << 40,
			},
			Denials: []Denial{
				{Statement: noDeletes, Count: 2, Last: after(6)},
				{Statement: Statement{Policy: ByIdentity, Statement: -1}, Count: 1, Last: after(8)},
				{Statement: Statement{Policy: ByEndpoint, Statement: 1, Sid: "NoDeletes"}, Count: 1, Last: after(7)},
				{Statement: noDeletes, Candidate: true, CandidateSet: set.Add(time.Second), Count: 1, Last: after(4)},
				{Statement: noDeletes, Candidate: true, CandidateSet: set, Count: 1, Last: after(3)},
				{Statement: Statement{Policy: ByService, Statement: -1}, Count: 1, Last: after(2)},
			},
		},
	}}
	if d := cmp.Diff(want, c.Totals()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// sums are all counts of all endpoints, and the denials of their groups.
func sums(totals Totals) (all Counts, groups, candidates uint64) {
	for _, e := range totals.Endpoints {
		all.add(e.Counts)
		for _, d := range e.Denials {
			if d.Candidate {
				candidates += d.Count
			} else {
				groups += d.Count
			}
		}
	}
	return all, groups, candidates
}

// An endpoint with many statements loses those of long ago to its others, and leaves
// room for other endpoints.
func TestStatementsOfAnEndpointAreBounded(t *testing.T) {
	c := New(start)
	c.Count(denied("vpce-quiet", 0, after(0)))
	const n = 10 * maxOwnGroups
	for i := range n {
		c.Count(denied("vpce-loud", i, after(i)))
		c.Count(denied("vpce-loud", -1, after(i))) // is used all the time, and stays
		r := denied("vpce-loud", -1, after(i))
		r.Denied, r.Candidate, r.Allowed = Statement{}, Statement{Policy: ByEndpoint, Statement: i}, true
		c.Count(r)
	}
	totals := c.Totals()
	if all, groups, candidates := sums(totals); all.DeniedByEndpoint != 2*n+1 || groups != 2*n+1 || all.CandidateDenied != n || candidates != n {
		t.Errorf("sums %+v, %d in groups, %d of candidates", all, groups, candidates)
	}
	loud, quiet := totals.Endpoints[0], totals.Endpoints[1]
	if len(loud.Denials) > maxOwnGroups+2 || len(loud.Denials) < maxOwnGroups {
		t.Errorf("%d groups", len(loud.Denials))
	}
	others := 0
	for _, d := range loud.Denials {
		switch {
		case d.Others:
			others++
			if d.Policy != "" || d.Statement.Statement != -1 || d.Sid != "" {
				t.Errorf("the others are named %+v", d)
			}
		case d.Statement.Statement == -1:
			if d.Count != n {
				t.Errorf("the statement that denied most was counted %d times", d.Count)
			}
		case d.Statement.Statement < n-maxOwnGroups:
			t.Errorf("statement %d is kept, and is long ago", d.Statement.Statement)
		}
	}
	if others != 2 || len(quiet.Denials) != 1 || quiet.Denials[0].Others {
		t.Errorf("%d others; the quiet endpoint %+v", others, quiet)
	}
}

func TestStatementsOfAllEndpointsAreBounded(t *testing.T) {
	c := New(start)
	const endpoints, each = maxGroups/maxOwnGroups + 10, maxOwnGroups
	for e := range endpoints {
		for s := range each {
			c.Count(denied(fmt.Sprintf("vpce-%04d", e), s, after(e*each+s)))
		}
	}
	totals := c.Totals()
	named := 0
	for _, e := range totals.Endpoints {
		for _, d := range e.Denials {
			if !d.Others {
				named++
			}
		}
	}
	all, groups, _ := sums(totals)
	if named > maxGroups || named != c.groups || all.DeniedByEndpoint != endpoints*each || groups != endpoints*each {
		t.Errorf("%d statements are named, %d by the count; %d denials, %d in groups", named, c.groups, all.DeniedByEndpoint, groups)
	}
	// One that came when there was no room has its sum.
	last := totals.Endpoints[endpoints-1]
	if len(last.Denials) != 1 || !last.Denials[0].Others || last.Denials[0].Count != each {
		t.Errorf("the last endpoint: %+v", last)
	}
}

func TestEndpointsAreBounded(t *testing.T) {
	c := New(start)
	const n = 2*maxEndpoints + 1
	for i := range n {
		r := denied(fmt.Sprintf("vpce-%05d", i), 0, after(i))
		r.Uploaded = 3
		c.Count(r)
		c.Count(denied("vpce-often", 0, after(i)))
		if len(c.endpoints) > maxEndpoints+1 {
			t.Fatalf("%d endpoints", len(c.endpoints))
		}
	}
	totals := c.Totals()
	all, groups, _ := sums(totals)
	if all.Requests != 2*n || all.BytesUploaded != 3*n || groups != 2*n {
		t.Errorf("sums %+v, %d in groups", all, groups)
	}
	last := totals.Endpoints[len(totals.Endpoints)-1]
	if !last.Others || last.Endpoint != "" || len(last.Denials) != 1 || !last.Denials[0].Others || last.Denials[0].Count != last.DeniedByEndpoint {
		t.Errorf("the others: %+v", last)
	}
	for _, e := range totals.Endpoints {
		if e.Endpoint == "vpce-often" && e.Requests != n {
			t.Errorf("the endpoint that is used all the time: %+v", e)
		}
		if e.Others && e.Last.After(after(n-maxEndpoints+foldAtOnce)) {
			t.Errorf("one that was used at %s is among the others", e.Last)
		}
	}
	named := 0
	for _, e := range c.endpoints {
		for g := range e.denials {
			if !g.others {
				named++
			}
		}
	}
	if named != c.groups {
		t.Errorf("%d groups are counted as %d", named, c.groups)
	}
}

// Whatever tenants write, all of it fits into a slot of the file.
func TestAFullCounterFits(t *testing.T) {
	c := New(start)
	for i := range maxEndpoints + maxGroups {
		set := start.Add(time.Duration(i)) // a time is longest with nanoseconds
		c.Count(Request{
			Time: set, Endpoint: fmt.Sprintf("vpce-%017x", i), VPC: "vpc-0123456789abcdef0", Service: strings.Repeat("s", 255), Allowed: true,
			Uploaded: 1 << 62, Downloaded: 1 << 62, Invalid: true, Error: true,
			Denied:       Statement{Policy: ByIdentity, Statement: i, Sid: strings.Repeat("\x01", 1100), Explicit: true},
			Candidate:    Statement{Policy: ByIdentity, Statement: i, Sid: strings.Repeat("\x01", 1100), Explicit: true},
			CandidateSet: set,
		})
	}
	text, err := json.Marshal(c.Totals())
	if err != nil || len(text) > slotSize*3/4 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	for _, e := range c.Totals().Endpoints {
		for _, d := range e.Denials {
			if len(d.Sid) > maxSid {
				t.Fatalf("a Sid of %d bytes", len(d.Sid))
			}
		}
	}
}

func TestWhatWasCountedBeforeIsAdded(t *testing.T) {
	whole, first, second := New(start), New(start), New(after(1000))
	n := 3 * maxOwnGroups / 2 // some become others
	for i := range n {
		for _, r := range []Request{
			denied("vpce-1", i, after(i)),
			denied(fmt.Sprintf("vpce-%d", i%7), -1, after(i)),
			{Time: after(i), Endpoint: "vpce-1", Allowed: true, Candidate: Statement{Policy: ByEndpoint, Sid: "a"}, CandidateSet: start, Uploaded: 1, Downloaded: 2, Error: true},
		} {
			whole.Count(r)
			if i < n/2 {
				first.Count(r)
			} else {
				second.Count(r)
			}
		}
	}
	second.Add(first.Totals())
	if d := cmp.Diff(whole.Totals(), second.Totals()); d != "" {
		// Which statements became others is not the same; all else is.
		a, groups, candidates := sums(whole.Totals())
		b, groups2, candidates2 := sums(second.Totals())
		if a != b || groups != groups2 || candidates != candidates2 || len(whole.endpoints) != len(second.endpoints) {
			t.Errorf("(-counted at once +added):\n%s", d)
		}
	}
	if !second.Totals().Since.Equal(start) {
		t.Errorf("since %s", second.Totals().Since)
	}
}

// Counting is on every request's way.
func TestCountingAllocatesNothing(t *testing.T) {
	c := New(start)
	r := denied("vpce-1", 3, start)
	r.Denied.Sid, r.Candidate, r.CandidateSet = "NoDeletes", Statement{Policy: ByIdentity}, start
	if n := testing.AllocsPerRun(1000, func() { c.Count(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
