// SPDX-License-Identifier: Apache-2.0

package tally

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

const (
	slotSize = 16 << 20 // a full Counter takes half of it
	heading  = "postern-totals 1 "
	// every is how often changed counts are written: what a killed process loses.
	every = 2 * time.Second
)

// ErrDamaged is of a file in which no slot is whole.
var ErrDamaged = errors.New("there are no whole counts in the file")

// slot is what one of a file's slots holds.
type slot struct {
	index  int
	number uint64 // of the write, counted from 1
	totals Totals
}

// newest is the slot in force; its number is 0 if nothing was ever written.
func newest(f io.ReaderAt) (slot, error) {
	var best slot
	some := false // was anything written?
	for i := range 2 {
		s, empty, err := readSlot(f, i)
		if err != nil {
			return slot{}, fmt.Errorf("read the counts: %w", err)
		}
		some = some || !empty
		if s.number > best.number {
			best = s
		}
	}
	if some && best.number == 0 {
		return slot{}, ErrDamaged
	}
	return best, nil
}

// readSlot reads one slot; one that is not whole has the number 0.
func readSlot(f io.ReaderAt, i int) (s slot, empty bool, err error) {
	in := io.NewSectionReader(f, int64(i)*slotSize, slotSize)
	head := make([]byte, 128)
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return slot{}, false, err
	}
	head = head[:n]
	if len(bytes.Trim(head, "\x00")) == 0 { // the file ends before, or there is a hole
		return slot{}, true, nil
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	var number, length uint64
	var sum uint32
	if _, err := fmt.Sscanf(string(line), heading+"%d %d %08x", &number, &length, &sum); err != nil || number == 0 || length > slotSize {
		return slot{}, false, nil
	}
	text := make([]byte, length)
	if n, err := in.ReadAt(text, int64(len(line))+1); uint64(n) < length {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return slot{}, false, err
	}
	if checksum(number, text) != sum {
		return slot{}, false, nil
	}
	s = slot{index: i, number: number}
	if json.Unmarshal(text, &s.totals) != nil {
		return slot{}, false, nil
	}
	return s, false, nil
}

func checksum(number uint64, text []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(fmt.Appendf(nil, "%d %d", number, len(text)), table), table, text)
}

// File is where counts are kept; an *os.File is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// write puts counts into the slot that is not in force, and answers the one that is now.
func write(f File, now slot, t Totals) (slot, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return now, fmt.Errorf("write the counts: %w", err)
	}
	next := slot{index: 1 - now.index, number: now.number + 1}
	b := fmt.Appendf(nil, heading+"%d %d %08x\n", next.number, len(text), checksum(next.number, text))
	b = append(b, text...)
	b = append(b, '\n')
	if len(b) > slotSize {
		return now, fmt.Errorf("write the counts: %d bytes do not fit", len(b))
	}
	if _, err := f.WriteAt(b, int64(next.index)*slotSize); err != nil {
		return now, fmt.Errorf("write the counts: %w", err)
	}
	// On the disk before the other slot is written over.
	if err := f.Sync(); err != nil {
		return now, fmt.Errorf("write the counts: %w", err)
	}
	return next, nil
}

// Keep adds what a file holds to the counts and keeps it up to date until ctx ends,
// and then once more. Nobody else may write to it meanwhile. failed is told what goes
// wrong, of a row of failures the first; the counts are kept in memory then and tried
// again.
func Keep(ctx context.Context, f File, c *Counter, failed func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	keep(ctx, f, c, tick.C, failed)
}

func keep(ctx context.Context, f File, c *Counter, tick <-chan time.Time, failed func(error)) {
	now, err := newest(f)
	switch {
	case errors.Is(err, ErrDamaged):
		failed(fmt.Errorf("%w: they begin anew", err))
	case err != nil:
		failed(err)
		return // what is there is not to be written over
	}
	c.Add(now.totals)
	now.totals = Totals{}
	failing := false // there is something to write even if nothing has changed
	for going := true; going; {
		select {
		case <-tick:
		case <-ctx.Done():
			going = false
		}
		t, changed := c.take()
		if !changed {
			if !failing {
				continue
			}
			t = c.Totals()
		}
		if now, err = write(f, now, t); err != nil && !failing {
			failed(err)
		}
		failing = err != nil
	}
}

// Read reads the counts of a file; they are empty if none were written yet.
func Read(f io.ReaderAt) (Totals, error) {
	var s slot
	var err error
	// A reader that two writes overtake looks again.
	for range 3 {
		if s, err = newest(f); err == nil {
			break
		}
	}
	return s.totals, err
}

// ReadFile reads the counts of the file with a name.
func ReadFile(name string) (Totals, error) {
	f, err := os.Open(name)
	if err != nil {
		return Totals{}, fmt.Errorf("open the counts: %w", err)
	}
	defer f.Close()
	return Read(f)
}
