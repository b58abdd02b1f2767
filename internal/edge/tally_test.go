// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/tally"
)

// What is counted is what was asked, and what the records say.
func TestCountsAreThoseOfTheRequests(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/data/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/data/refused":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
		case "/data/missing":
			w.WriteHeader(http.StatusNotFound)
		default:
			io.WriteString(w, "0123456789")
		}
	}))
	defer srv.Close()
	b := newBench(t, srv.URL)
	b.config.Users = map[string]desired.User{testCreds.AccessKeyID: {Account: testAccount, ARN: "arn:aws:iam::" + testAccount + ":user/ann", ID: "AIDAANN", Name: "ann",
		Policies: []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:PutObjectTagging","Resource":"*"}]}`}}}
	b.candidate(`{"Statement":[
		{"Sid":"Here","Effect":"Allow","Principal":"*","Action":["s3:*Object","s3:*ObjectTagging"],"Resource":"arn:aws:s3:::data/*"},
		{"Sid":"There","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-0b"}}},
		{"Sid":"NoDeletes","Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"*"}]}`, noReads)
	type kind struct{ method, host, uri, body string }
	kinds := []kind{
		{"PUT", testHost, "/data/a", "hello"},
		{"GET", testHost, "/data/broken", ""},
		{"PUT", testHost, "/data/refused", ""},
		{"PUT", testHost, "/data/missing", ""},
		{"DELETE", testHost, "/data/a", ""},
		{"DELETE", testHost, "/other/a", ""},
		{"PUT", testHost, "/other/a", "never read"},
		{"PUT", testHost, "/data/a?tagging", "<Tagging><TagSet></TagSet></Tagging>"},
		{"GET", "elsewhere.example.com", "/data/a", ""},
	}
	const clients, rounds = 6, 10 // of each kind
	var asking sync.WaitGroup
	var downloaded atomic.Int64
	for i := range clients {
		asking.Go(func() {
			for range rounds {
				for k := range kinds {
					k := kinds[(k+i)%len(kinds)]
					resp, err := b.client.Do(b.request(k.method, k.host, k.uri, k.body))
					if err != nil {
						t.Error(err)
						continue
					}
					n, err := io.Copy(io.Discard, resp.Body)
					if resp.Body.Close(); err != nil {
						t.Error(err)
					}
					downloaded.Add(n)
				}
			}
		})
	}
	asking.Wait()
	const n = clients * rounds
	for range n * len(kinds) {
		b.last()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	decided := map[string]uint64{}
	var uploaded int64
	last := b.records[0].Time
	for i := range b.records {
		r := &b.records[i]
		decided[r.Decision]++
		decided["by "+r.DeniedBy()]++
		uploaded += r.BytesIn
		if r.Time.After(last) {
			last = r.Time
		}
	}
	if want := map[string]uint64{DecisionAllow: 4 * n, DecisionDeny: 4 * n, DecisionInvalid: n, "by ": 4 * n, "by endpoint": 3 * n, "by identity": n, "by service": n}; !cmp.Equal(want, decided) {
		t.Errorf("records: %v, want %v", decided, want)
	}
	noDeletes := tally.Statement{Policy: tally.ByEndpoint, Statement: 2, Sid: "NoDeletes", Explicit: true}
	want := []tally.Endpoint{{
		Endpoint: string(testEndpoint), VPC: "vpc-0a", Service: "s3", Last: last,
		Counts: tally.Counts{
			Requests: 9 * n, Allowed: 4 * n, Invalid: n, DeniedByEndpoint: 3 * n, DeniedByIdentity: n, DeniedByService: n, CandidateDenied: n, Errors: n,
			BytesUploaded: uint64(uploaded), BytesDownloaded: uint64(downloaded.Load()),
		},
		Denials: []tally.Denial{
			{Statement: noDeletes, Count: 2 * n},
			{Statement: tally.Statement{Policy: tally.ByEndpoint, Statement: 1, Sid: "There"}, Count: n},
			{Statement: tally.Statement{Policy: tally.ByIdentity, Statement: -1, Explicit: true}, Count: n},
			{Statement: tally.Statement{Policy: tally.ByService, Statement: -1}, Count: n},
			{Statement: tally.Statement{Policy: tally.ByEndpoint, Statement: 1, Sid: "NoReads", Explicit: true}, Candidate: true, CandidateSet: candidateSet, Count: n},
		},
	}}
	got := b.totals.Totals().Endpoints
	byStatement := cmpopts.SortSlices(func(a, b tally.Denial) bool {
		text := func(d tally.Denial) string { return fmt.Sprint(d.Candidate, d.Statement) }
		return strings.Compare(text(a), text(b)) < 0
	})
	if d := cmp.Diff(want, got, byStatement, cmpopts.IgnoreFields(tally.Denial{}, "Last")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if uploaded < n*int64(len("hello")) {
		t.Errorf("%d bytes in", uploaded)
	}
	if at := slices.IndexFunc(b.records, func(r Record) bool { return r.DeniedBy() == tally.ByService }); testing.AllocsPerRun(100, func() { b.records[at].Tally() }) != 0 {
		t.Error("what is counted of a record allocates")
	}
}
