// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
)

// Config is what a Log needs.
type Config struct {
	File string
	// MaxSize is the size in bytes at which the file is put aside.
	MaxSize int64
	// Keep is how many files that were put aside are kept: File.1 is the newest.
	Keep int
	// Log is told when records cannot be written, and when they can again.
	Log *slog.Logger
}

// Times and sizes of a Log.
const (
	// maxQueue bounds the bytes that wait for the disk.
	maxQueue = 8 << 20
	// patience is how long a call waits when the queue is full. Once one has
	// waited in vain the others do not, until the disk moves again.
	patience = 250 * time.Millisecond
	// retryEvery is how often a failed write is tried again.
	retryEvery = 500 * time.Millisecond
	// syncEvery bounds how long a line may be only in the system's memory.
	syncEvery = time.Second
	// closeAfter bounds how long Close waits for the disk.
	closeAfter = 3 * time.Second
)

// file is what a Log writes to; tests have one that is slow or full.
type file interface {
	io.WriteCloser
	Sync() error
}

// Log writes records. It is safe for concurrent use.
type Log struct {
	cfg       Config
	open      func(name string) (f file, size int64, err error)
	closeTime time.Duration

	mu     sync.Mutex
	queue  []byte        // whole lines that nobody has written yet
	room   chan struct{} // closed and replaced when the queue is taken
	stuck  bool          // somebody waited for room in vain
	lost   int           // lines that are not in the queue, since it was taken last
	all    int           // lines lost since the start
	closed bool

	wake    chan struct{} // has an element when there is something to write
	closing chan struct{}
	done    chan struct{}

	// Of the writing goroutine alone.
	f       file
	size    int64
	dirty   bool // written since the last sync
	midLine bool // the last write ended within a line
	failing bool
}

// Open opens or makes the file, with mode 0600, and starts to write.
func Open(cfg Config) (*Log, error) { return start(cfg, openFile) }

func start(cfg Config, open func(string) (file, int64, error)) (*Log, error) {
	l := &Log{
		cfg: cfg, open: open, closeTime: closeAfter, room: make(chan struct{}), wake: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	// What cannot be opened now is the configuration's fault and not the disk's.
	if err := l.reopen(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

// openFile opens a file to append to. A line that a crash cut short is ended,
// so that the next one stands alone.
func openFile(name string) (file, int64, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open the audit log: %w", err)
	}
	size, err := endLine(f)
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open the audit log: %w", err)
	}
	return f, size, nil
}

func endLine(f *os.File) (int64, error) {
	if err := f.Chmod(0o600); err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return st.Size(), nil
	}
	_, err = f.Write([]byte("\n"))
	return st.Size() + 1, err
}

// Write records a call. It returns when the line is on its way to the disk; if
// too much waits there already it waits a moment, and then counts the line as
// lost. The record must not be used afterwards.
func (l *Log) Write(r *Record) {
	line, err := r.line()
	if err != nil {
		l.cfg.Log.Error("audit record not written", "request", r.RequestID, "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.signal()
	full := func() bool { return len(l.queue)+len(line) > maxQueue }
	if full() && !l.stuck && !l.closed {
		l.awaitRoom(full)
	}
	if err != nil || l.closed || full() {
		l.lost++
		l.all++
		return
	}
	l.queue = append(l.queue, line...)
}

// awaitRoom waits until the queue is not full, for a moment.
func (l *Log) awaitRoom(full func() bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for full() && !l.stuck && !l.closed {
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
			l.mu.Lock()
		case <-timer.C:
			l.mu.Lock()
			l.stuck = true
		}
	}
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Lost is how many lines were lost since the start.
func (l *Log) Lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// Close writes what waits and closes the file. It gives up after a few seconds
// when the disk does not take it, and says how many lines were lost in all.
func (l *Log) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	if !already {
		close(l.closing)
	}
	timer := time.NewTimer(l.closeTime)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
		return errors.New("the audit log's disk did not take the last lines in time")
	}
	if n := l.Lost(); n > 0 {
		return fmt.Errorf("%d lines of the audit log were lost, because its disk was full or too slow", n)
	}
	return nil
}

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			l.write(l.take())
		case <-tick.C:
			l.sync()
		case <-l.closing:
			l.write(l.take())
			l.sync()
			if l.f != nil {
				l.f.Close()
			}
			return
		}
	}
}

// take empties the queue. If lines were lost behind it, a line says so in their place.
func (l *Log) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.queue
	l.queue, l.stuck = nil, false
	close(l.room)
	l.room = make(chan struct{})
	if l.lost > 0 {
		r := Record{
			Time: time.Now(), Service: ServiceOperator, Action: ActionLinesLost, Write: true, ErrorCode: ActionLinesLost,
			Parameters:   map[string]string{"Lines": strconv.Itoa(l.lost)},
			ErrorMessage: "the audit log's disk was full or too slow; so many calls before this line have none",
		}
		if line, err := r.line(); err == nil {
			batch = append(batch, line...)
			l.lost = 0
		}
	}
	return batch
}

// write writes a batch of lines, for as long as it takes: until it is written
// or the log is closed.
func (l *Log) write(batch []byte) {
	for len(batch) > 0 {
		n, err := l.some(batch)
		batch = batch[n:]
		if err == nil {
			if l.failing {
				l.failing = false
				l.cfg.Log.Info("the audit log is written again", "file", l.cfg.File, "lost", l.Lost())
			}
			continue
		}
		if !l.failing {
			l.failing = true
			l.cfg.Log.Error("the audit log cannot be written; calls are answered, and lines are kept in memory as long as they fit", "file", l.cfg.File, "error", err)
		}
		select {
		case <-time.After(retryEvery):
		case <-l.closing:
			// One more try; what is then left is lost.
			if n, err := l.some(batch); err != nil || n < len(batch) {
				l.giveUp(batch[n:])
				return
			}
			return
		}
	}
	// Losses that nothing followed must not wait for a call to be said.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost > 0 {
		l.signal()
	}
}

// giveUp counts the lines of a batch as lost.
func (l *Log) giveUp(batch []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batch {
		if b == '\n' {
			l.all++
		}
	}
}

// some writes the beginning of a batch, as many whole lines as the file may
// still hold, and answers how many bytes are written. After an error that may
// be a part of a line: the next call goes on behind it.
func (l *Log) some(batch []byte) (int, error) {
	if l.f == nil {
		if err := l.reopen(); err != nil {
			return 0, err
		}
	}
	n := wholeLines(batch, l.cfg.MaxSize-l.size)
	if n == 0 && l.size > 0 && !l.midLine {
		if err := l.rotate(); err != nil {
			return 0, err
		}
		n = wholeLines(batch, l.cfg.MaxSize-l.size)
	}
	if n == 0 { // the end of a line, or one that fits nowhere
		n = bytes.IndexByte(batch, '\n') + 1
	}
	w, err := l.f.Write(batch[:n])
	l.size += int64(w)
	if w > 0 {
		l.dirty, l.midLine = true, batch[w-1] != '\n'
	}
	if err == nil && w < n {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w, fmt.Errorf("write the audit log: %w", err)
	}
	return w, nil
}

// wholeLines is the length of the lines at the beginning of b that fit into limit.
func wholeLines(b []byte, limit int64) int {
	if int64(len(b)) <= limit {
		return len(b)
	}
	for n := max(limit, 0); n > 0; n-- {
		if b[n-1] == '\n' {
			return int(n)
		}
	}
	return 0
}

// rotate puts the file aside and begins a new one. A file that a reader has
// open keeps its content under its new name. A file that cannot be put aside
// grows on: its lines are worth more than its size.
func (l *Log) rotate() error {
	l.sync()
	if l.f != nil { // sync lets go of a file that is not ours any more
		l.f.Close()
		l.f = nil
	}
	for i := l.cfg.Keep; i > 0; i-- {
		from := l.cfg.File
		if i > 1 {
			from = rotated(l.cfg.File, i-1)
		}
		if err := os.Rename(from, rotated(l.cfg.File, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.cfg.Log.Error("the audit log cannot be put aside", "error", err)
			break
		}
	}
	// What a larger Keep has left.
	for i := l.cfg.Keep + 1; os.Remove(rotated(l.cfg.File, i)) == nil; i++ {
	}
	return l.reopen()
}

// rotated is the name of a file that was put aside; 1 is the newest.
func rotated(name string, i int) string { return name + "." + strconv.Itoa(i) }

func (l *Log) reopen() error {
	f, size, err := l.open(l.cfg.File)
	if err != nil {
		return err
	}
	l.f, l.size, l.dirty = f, size, false
	return nil
}

// sync brings what was written to the disk, and lets go of a file that somebody
// has moved away.
func (l *Log) sync() {
	if l.f == nil {
		return
	}
	if l.dirty {
		l.dirty = false
		if err := l.f.Sync(); err != nil {
			l.cfg.Log.Error("the audit log cannot be written to the disk", "file", l.cfg.File, "error", err)
		}
	}
	ours, ok := l.f.(*os.File)
	if !ok {
		return
	}
	had, err := ours.Stat()
	now, err2 := os.Stat(l.cfg.File)
	if err == nil && (err2 != nil || !os.SameFile(had, now)) {
		l.f.Close()
		l.f = nil
	}
}
