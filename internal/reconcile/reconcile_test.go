// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/reconcile"
	"postern.dev/postern/internal/vpc"
)

func TestTheLoopRetriesSkipsWhatIsSameAndReportsEachRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex // the loop's goroutine and the test take turns
		runs, failing := 0, true
		var reports []reconcile.Status
		l := reconcile.New(func(s reconcile.Status) {
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, s)
		},
			reconcile.Step{Name: "one", Apply: func(desired.Host) map[string]error {
				mu.Lock()
				defer mu.Unlock()
				runs++
				if failing {
					return map[string]error{"eni-1": errors.New("no such device")}
				}
				return nil
			}})
		settle := func(f func()) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			f()
		}
		go l.Run(ctx)
		h := desired.Empty()
		h.Revision = 5
		l.Set(h)
		settle(func() {
			if runs != 1 || reports[0].Revision != 5 || reports[0].Errors["eni-1"] == "" {
				t.Fatalf("after the first run: %d runs, reports %v", runs, reports)
			}
			failing = false
		})
		time.Sleep(150 * time.Millisecond)
		settle(func() {
			if runs != 2 || len(reports[1].Errors) != 0 {
				t.Fatalf("after the retry: %d runs, reports %v", runs, reports)
			}
		})
		// The same tables at a later revision: no run, but a report.
		h.Revision = 6
		l.Set(h)
		settle(func() {
			if runs != 2 || reports[2].Revision != 6 {
				t.Fatalf("same tables: %d runs, reports %v", runs, reports)
			}
		})
		// Other tables: a run.
		h.Revision = 7
		h = h.Clone()
		h.Workloads[vpc.InterfaceID("eni-2")] = desired.Workload{}
		l.Set(h)
		settle(func() {
			if runs != 3 || reports[3].Revision != 7 {
				t.Fatalf("other tables: %d runs, reports %v", runs, reports)
			}
		})
		// Nothing more happens by itself.
		time.Sleep(time.Minute)
		settle(func() {
			if runs != 3 {
				t.Fatalf("%d runs without a reason", runs-3)
			}
		})
		cancel()
	})
}
