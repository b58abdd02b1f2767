// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"io"
	"sync"
)

// maxLine bounds a line of a child's output; longer ones are cut into several.
const maxLine = 16 << 10

// lineOutput is one stream that several children write whole lines to.
type lineOutput struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *lineOutput) prefixed(name string) *prefixWriter {
	return &prefixWriter{out: o, prefix: []byte(name + ": ")}
}

// prefixWriter puts a name before each line. One process writes to it at a
// time, but the two streams of that process may do so at once.
type prefixWriter struct {
	out    *lineOutput
	prefix []byte
	mu     sync.Mutex
	rest   []byte // of an unfinished line; guarded by mu
}

// Write never fails: a child must not die of a full disk behind its log.
func (p *prefixWriter) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		line, after, whole := bytes.Cut(b, []byte("\n"))
		if room := maxLine - len(p.rest); len(line) > room {
			line, after, whole = line[:room], b[room:], true
		}
		p.rest = append(p.rest, line...)
		b = after
		if whole {
			p.flush()
		}
	}
	return n, nil
}

func (p *prefixWriter) flush() {
	line := append(append(append([]byte(nil), p.prefix...), p.rest...), '\n')
	p.rest = p.rest[:0]
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.w.Write(line)
}

// end writes a last line that had no end.
func (p *prefixWriter) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rest) > 0 {
		p.flush()
	}
}
