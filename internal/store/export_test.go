// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
)

// LimitOperations makes n the most operations of a transaction for one test.
func LimitOperations(t *testing.T, n int) {
	maxOperations = n
	t.Cleanup(func() { maxOperations = MaxOperations })
}

// AwaitQueued returns when n updates wait for the committer.
func AwaitQueued(s *Store, n int) {
	for {
		s.queue.mu.Lock()
		have := len(s.queue.list)
		s.queue.mu.Unlock()
		if have >= n {
			return
		}
		runtime.Gosched()
	}
}

// Dump is everything in a snapshot's tree: objects with their revisions,
// indexes, claims and references.
func Dump(s *Snapshot) map[string]string {
	out := map[string]string{}
	it := s.tree.Root().Iterator()
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		b, _ := json.Marshal(e.object)
		out[string(k)] = fmt.Sprintf("%d %s", e.rev, b)
	}
	return out
}
