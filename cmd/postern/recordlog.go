// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// record is one line of a log and what it says.
type record[T any] struct {
	Value T
	line  []byte
}

// recordLog reads a log of JSON lines that is being written and may be
// replaced: rotated, moved away or emptied.
type recordLog[T any] struct {
	name    string
	f       *os.File
	r       *bufio.Reader
	partial []byte // of a line that is not complete yet
	tooLong bool   // and will not be used
}

func newRecordLog[T any](name string) *recordLog[T] { return &recordLog[T]{name: name} }

// maxRecord bounds a line; what Postern writes is far below it.
const maxRecord = 256 << 10

// read gives every complete record that is new since the last call. Lines that
// are no records are passed over: a crash may have cut one short.
func (l *recordLog[T]) read(give func(record[T])) error {
	for {
		if l.f == nil {
			f, err := os.Open(l.name)
			if err != nil {
				return fmt.Errorf("open the records: %w", err)
			}
			l.use(f)
		}
		// Asked first: what is written before the file is replaced is then read.
		replaced, err := l.replaced()
		if err != nil {
			return err
		}
		if err := l.drain(give); err != nil || !replaced {
			return err
		}
		l.close()
	}
}

func (l *recordLog[T]) use(f *os.File) {
	l.f, l.r, l.partial, l.tooLong = f, bufio.NewReaderSize(f, 64<<10), nil, false
}

// replaced reports whether another file has the name now, or this one was
// emptied. A file that was moved away and not made again yet is not replaced.
func (l *recordLog[T]) replaced() (bool, error) {
	now, err := os.Stat(l.name)
	if err != nil {
		return false, nil
	}
	had, err := l.f.Stat()
	if err != nil {
		return false, fmt.Errorf("look at the records: %w", err)
	}
	at, err := l.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return false, fmt.Errorf("look at the records: %w", err)
	}
	return !os.SameFile(now, had) || had.Size() < at, nil
}

// drain reads to the end of the file.
func (l *recordLog[T]) drain(give func(record[T])) error {
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.partial)+len(part) > maxRecord {
			l.tooLong = true
		}
		if l.tooLong {
			l.partial = l.partial[:0]
		} else {
			l.partial = append(l.partial, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the records: %w", err)
		}
		var r record[T]
		if !l.tooLong && json.Unmarshal(l.partial, &r.Value) == nil {
			r.line = bytes.Clone(bytes.TrimSpace(l.partial))
			give(r)
		}
		l.partial, l.tooLong = l.partial[:0], false
	}
}

func (l *recordLog[T]) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// readAside gives the records of the files that were put aside, oldest first,
// without those before since. The newest file is opened first and the others
// from young to old, so that one that is put aside meanwhile is met twice
// rather than never; it is then read once. A read of l goes on from there.
func (l *recordLog[T]) readAside(aside func(i int) string, since time.Time, give func(record[T])) error {
	newest, err := os.Open(l.name)
	if err != nil {
		return fmt.Errorf("open the records: %w", err)
	}
	l.use(newest)
	open := []*os.File{newest}
	defer func() {
		for _, f := range open[1:] {
			f.Close()
		}
	}()
	for i := 1; ; i++ {
		f, err := os.Open(aside(i))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("open the records: %w", err)
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return fmt.Errorf("look at the records: %w", err)
		}
		last, err := open[len(open)-1].Stat()
		if err == nil && os.SameFile(st, last) {
			f.Close()
			continue
		}
		if st.ModTime().Before(since) { // and the older ones too
			f.Close()
			break
		}
		open = append(open, f)
	}
	for i := len(open) - 1; i > 0; i-- {
		old := newRecordLog[T](aside(i))
		old.use(open[i])
		if err := old.drain(give); err != nil {
			return err
		}
	}
	return nil
}

// followEvery is how often a followed log is looked at.
const followEvery = 200 * time.Millisecond

// showRecords prints the last records that are wanted, limit of them or all if
// it is 0, and with follow those that come until ctx ends. The files in aside
// are read too. It reports whether any was printed or could still be.
func showRecords[T any](ctx context.Context, log *recordLog[T], limit int, follow bool, wants func(*T) bool,
	show func([]record[T]) error, aside ...func(give func(record[T])) error,
) (bool, error) {
	defer log.close()
	var last []record[T]
	var failed error
	shown := follow
	most := 1000 // records that wait to be printed
	if limit > 0 {
		most = 2 * limit
	}
	give := func(r record[T]) {
		if failed != nil || !wants(&r.Value) {
			return
		}
		shown = true
		last = append(last, r)
		if len(last) < most {
			return
		}
		if limit > 0 {
			last = append(last[:0], last[len(last)-limit:]...)
			return
		}
		failed = show(last)
		last = last[:0]
	}
	for _, read := range append(aside, log.read) {
		if err := read(give); err != nil && !(follow && errors.Is(err, fs.ErrNotExist)) {
			return false, err
		}
	}
	if limit > 0 && len(last) > limit {
		last = last[len(last)-limit:]
	}
	if failed == nil {
		failed = show(last)
	}
	if failed != nil || !follow {
		return shown, failed
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case <-tick.C:
		}
		var fresh []record[T]
		err := log.read(func(r record[T]) {
			if wants(&r.Value) {
				fresh = append(fresh, r)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
		if err := show(fresh); err != nil {
			return true, err
		}
	}
}

// printLines prints records as they are in the log.
func printLines[T any](out io.Writer, list []record[T]) error {
	var b bytes.Buffer
	for _, r := range list {
		b.Write(r.line)
		b.WriteByte('\n')
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
