// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Bounds of records that are not written yet.
const (
	recordDelay  = 10 * time.Millisecond
	recordBuffer = 64 << 10
)

// RecordWriter writes records, one JSON object on a line. Those of a few
// milliseconds are one write: it costs as much as encoding them.
type RecordWriter struct {
	out    io.Writer
	failed func(error) // is told of records that were lost

	mu    sync.Mutex
	buf   bytes.Buffer
	enc   *json.Encoder // into buf
	timer *time.Timer
	armed bool // the timer will flush
}

// NewRecordWriter makes a writer to out.
func NewRecordWriter(out io.Writer, failed func(error)) *RecordWriter {
	w := &RecordWriter{out: out, failed: failed}
	w.enc = json.NewEncoder(&w.buf)
	return w
}

// Write takes a record; it is written soon.
func (w *RecordWriter) Write(r *Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.enc.Encode(r); err != nil {
		w.failed(err)
	}
	switch {
	case w.buf.Len() >= recordBuffer:
		w.flush()
	case w.armed:
	case w.timer == nil:
		w.armed, w.timer = true, time.AfterFunc(recordDelay, w.Flush)
	default:
		w.armed = true
		w.timer.Reset(recordDelay)
	}
}

// Flush writes what there is.
func (w *RecordWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
}

func (w *RecordWriter) flush() {
	w.armed = false
	if w.buf.Len() == 0 {
		return
	}
	if _, err := w.out.Write(w.buf.Bytes()); err != nil {
		w.failed(err)
	}
	w.buf.Reset()
}
