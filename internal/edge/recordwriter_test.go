// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines counts writes and lines, and fails as long as err is set.
type lines struct {
	mu            sync.Mutex
	writes, lines int
	err           error
	came          chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	l.lines += bytes.Count(p, []byte("\n"))
	if l.came != nil {
		l.came <- struct{}{}
	}
	return len(p), l.err
}

func TestRecordsAreWrittenTogetherAndSoon(t *testing.T) {
	out := &lines{came: make(chan struct{}, 100)}
	w := NewRecordWriter(out, func(err error) { t.Error(err) })
	for round := 1; round <= 2; round++ {
		for range 10 {
			w.Write(&Record{Endpoint: "a"})
		}
		deadline := time.After(10 * time.Second)
		for {
			out.mu.Lock()
			n := out.lines
			out.mu.Unlock()
			if n == 10*round {
				break
			}
			select {
			case <-out.came:
			case <-deadline:
				t.Fatalf("round %d: %d records were written", round, n)
			}
		}
	}
	if out.writes > 10 {
		t.Errorf("20 records took %d writes", out.writes)
	}
	w.Flush()
	if out.lines != 20 {
		t.Errorf("%d lines", out.lines)
	}
}

func TestRecordsDoNotPileUp(t *testing.T) {
	var lost int
	out := &lines{err: errors.New("the disk is full")}
	w := NewRecordWriter(out, func(error) { lost++ })
	for range 1000 {
		w.Write(&Record{Error: strings.Repeat("x", 1000)})
		if w.buf.Len() > recordBuffer {
			t.Fatalf("%d bytes are held", w.buf.Len())
		}
	}
	w.Flush()
	if lost == 0 {
		t.Error("nobody was told")
	}
}
