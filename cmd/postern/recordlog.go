// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
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

// readAside gives the records of the files that were put aside, oldest first, without
// those of files that end before since: NAME.1, NAME.2 and on, as Postern and logrotate
// name them, or NAME-20260102 with logrotate's dateext, each also compressed, with .gz
// behind. A read of l goes on with the newest file from its beginning.
func (l *recordLog[T]) readAside(since time.Time, give func(record[T])) error {
	open, err := l.openAside(since)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	for _, f := range slices.Backward(open) {
		old := newRecordLog[T](f.Name())
		old.use(f)
		if strings.HasSuffix(f.Name(), ".gz") {
			z, err := gzip.NewReader(f)
			if err != nil {
				return fmt.Errorf("read the records in %s: %w", f.Name(), err)
			}
			old.r = bufio.NewReaderSize(z, 64<<10)
		}
		if err := old.drain(give); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return nil
}

// openAside opens the newest file for l and answers those that were put aside, from young
// to old. If one is put aside or compressed meanwhile it begins again, so that each is
// there once.
func (l *recordLog[T]) openAside(since time.Time) (open []*os.File, err error) {
	for range 10 {
		l.close()
		newest, err := os.Open(l.name)
		if err != nil {
			return nil, fmt.Errorf("open the records: %w", err)
		}
		l.use(newest)
		had, err := asideOf(l.name)
		if err != nil {
			return nil, err
		}
		if open, err = openAll(had, since); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		now, errNow := asideOf(l.name)
		replaced, errReplaced := l.replaced()
		if err == nil && errNow == nil && errReplaced == nil && !replaced && slices.EqualFunc(had, now, aside.same) {
			return open, nil
		}
		for _, f := range open {
			f.Close()
		}
		if err := errors.Join(errNow, errReplaced); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the files of %s are being put aside all the time; try again", l.name)
}

// openAll opens the files that do not end before since, all or none.
func openAll(list []aside, since time.Time) (open []*os.File, err error) {
	for _, a := range list {
		if a.info.ModTime().Before(since) {
			continue
		}
		f, err := os.Open(a.name)
		if err != nil {
			for _, f := range open {
				f.Close()
			}
			return nil, fmt.Errorf("open the records: %w", err)
		}
		open = append(open, f)
	}
	return open, nil
}

// aside is a file that was put aside.
type aside struct {
	name   string
	number int // of NAME.1 and on; 0 for a date
	info   fs.FileInfo
}

func (a aside) same(b aside) bool { return a.name == b.name && os.SameFile(a.info, b.info) }

var asideSuffix = regexp.MustCompile(`^(?:\.([1-9][0-9]{0,8})|-[0-9]{8}(?:-[0-9]+)?)(?:\.gz)?$`)

// asideOf are the files of a log that were put aside, from young to old.
func asideOf(name string) ([]aside, error) {
	list, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("look for the records: %w", err)
	}
	var out []aside
	for _, e := range list {
		suffix, ok := strings.CutPrefix(e.Name(), filepath.Base(name))
		m := asideSuffix.FindStringSubmatch(suffix)
		if !ok || m == nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for the records: %w", err)
		}
		a := aside{name: filepath.Join(filepath.Dir(name), e.Name()), info: info}
		a.number, _ = strconv.Atoi(m[1]) // 0 without one
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b aside) int {
		switch {
		case a.number == 0 && b.number == 0:
			return cmp.Compare(b.name, a.name)
		case a.number == 0:
			return 1
		case b.number == 0:
			return -1
		}
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.name, b.name))
	})
	// A file that is being compressed is there twice, and the other is not whole yet.
	plain := map[string]bool{}
	for _, a := range out {
		plain[a.name] = true
	}
	return slices.DeleteFunc(out, func(a aside) bool {
		name, ok := strings.CutSuffix(a.name, ".gz")
		return ok && plain[name]
	}), nil
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
