// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, cfg Config) *Log {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 1 << 20
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// records reads a file in which every line must be whole.
func records(t *testing.T, name string) []Record {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, b)
}

func parse(t *testing.T, b []byte) []Record {
	t.Helper()
	if len(b) > 0 && b[len(b)-1] != '\n' {
		t.Errorf("the last line is not whole: %q", b[bytes.LastIndexByte(b, '\n')+1:])
	}
	var out []Record
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var r Record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("line %q: %v", s.Text(), err)
		}
		out = append(out, r)
	}
	return out
}

// await polls for a condition that another goroutine brings about.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for %s", what)
		}
		time.Sleep(time.Millisecond) // sleep: between two looks
	}
}

func TestEveryLineIsOnDiskWithinABoundedTimeAndWithoutAClose(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, Config{File: name})
	defer l.Close()
	l.Write(&Record{RequestID: "one"})
	await(t, "the line", func() bool { b, _ := os.ReadFile(name); return bytes.HasSuffix(b, []byte("\n")) })
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", st.Mode(), err)
	}
	if r := records(t, name); len(r) != 1 || r[0].RequestID != "one" {
		t.Errorf("read %+v", r)
	}
}

func TestRotationKeepsEveryLineOfTheKeptFilesAndNoMoreFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "audit.jsonl")
	// A file that an earlier, larger setting has left.
	for i := 1; i <= 4; i++ {
		if err := os.WriteFile(rotated(name, i), []byte("{\"requestId\":\"old\"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, Config{File: name, MaxSize: 1000, Keep: 3})
	const lines = 200
	for i := range lines {
		l.Write(&Record{RequestID: strconv.Itoa(i), Action: "DescribeVpcs", Source: "192.0.2.1:1"})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var all []Record
	for i := 3; i >= 0; i-- {
		file := name
		if i > 0 {
			file = rotated(name, i)
		}
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() > 1000 || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes and mode %v", file, st.Size(), st.Mode())
		}
		all = append(all, records(t, file)...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d lines are left", len(all))
	}
	for i, r := range all {
		if want := strconv.Itoa(lines - len(all) + i); r.RequestID != want {
			t.Fatalf("line %d is of request %s, want %s: a line is missing or out of order", i, r.RequestID, want)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 4 {
		t.Errorf("files %v, want the log and 3 more", files)
	}
}

func TestALineCutShortByACrashDoesNotSpoilTheNext(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(name, []byte(`{"requestId":"ha`), 0o644); err != nil {
		t.Fatal(err)
	}
	l := open(t, Config{File: name})
	l.Write(&Record{RequestID: "next"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(name)
	_, rest, _ := strings.Cut(string(b), "\n")
	if r := parse(t, []byte(rest)); len(r) != 1 || r[0].RequestID != "next" {
		t.Errorf("file %q", b)
	}
	if st, _ := os.Stat(name); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600 also for a file that was there", st.Mode())
	}
}

func TestAFileThatWasMovedAwayIsMadeAnew(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, Config{File: name})
	defer l.Close()
	if err := os.Rename(name, name+".moved"); err != nil {
		t.Fatal(err)
	}
	await(t, "a new file", func() bool {
		l.Write(&Record{RequestID: "x"})
		_, err := os.Stat(name)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// disk is a file on a disk that tests fill up or stop.
type disk struct {
	mu    sync.Mutex
	b     []byte
	free  int           // bytes that still fit
	stall chan struct{} // a write waits until it is closed; nil for no wait
	enter chan struct{} // gets an element at each write
}

func (d *disk) Write(b []byte) (int, error) {
	select {
	case d.enter <- struct{}{}:
	default:
	}
	d.mu.Lock()
	stall := d.stall
	d.mu.Unlock()
	if stall != nil {
		<-stall
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(b), d.free)
	d.b = append(d.b, b[:n]...)
	d.free -= n
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}
func (d *disk) Sync() error  { return nil }
func (d *disk) Close() error { return nil }

func (d *disk) bytes() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.b)
}

func onDisk(t *testing.T, d *disk) *Log {
	t.Helper()
	l, err := start(Config{File: "none", MaxSize: 1 << 40, Log: quiet()}, func(string) (file, int64, error) { return d, 0, nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAFullDiskDelaysLinesAndLosesNone(t *testing.T) {
	d := &disk{free: 700, enter: make(chan struct{}, 1)} // ends within a line
	l := onDisk(t, d)
	const lines = 50
	for i := range lines {
		l.Write(&Record{RequestID: strconv.Itoa(i)})
	}
	await(t, "the disk to be full", func() bool { return len(d.bytes()) == 700 })
	d.mu.Lock()
	d.free = 1 << 30
	d.mu.Unlock()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	got := parse(t, d.bytes())
	if len(got) != lines {
		t.Fatalf("%d lines, want %d", len(got), lines)
	}
	for i, r := range got {
		if r.RequestID != strconv.Itoa(i) {
			t.Fatalf("line %d is of request %s", i, r.RequestID)
		}
	}
}

func TestADiskThatHangsStallsNoCallForLongAndLossesAreSaid(t *testing.T) {
	d := &disk{free: 1 << 40, stall: make(chan struct{}), enter: make(chan struct{}, 1)}
	l := onDisk(t, d)
	big := strings.Repeat("x", maxValue)
	line := func() { l.Write(&Record{RequestID: "r", Parameters: map[string]string{"a": big, "b": big}}) }
	line()
	<-d.enter // the writer hangs
	n := 1
	for ; l.Lost() == 0; n++ {
		line()
	}
	begun := time.Now()
	for range 1000 {
		line()
		n++
	}
	// If each waited it would be 1,000 times patience.
	if took := time.Since(begun); took > 100*patience {
		t.Errorf("1,000 calls took %v on a disk that hangs; only the first may wait", took)
	}
	lost := l.Lost()
	if lost < 1000 {
		t.Errorf("%d lost, want at least 1000", lost)
	}
	close(d.stall)
	await(t, "the lines", func() bool { return bytes.Contains(d.bytes(), []byte(ActionLinesLost)) })
	err := l.Close()
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(lost)+" lines") {
		t.Errorf("close says %v, want %d lines lost", err, lost)
	}
	got := parse(t, d.bytes())
	said := 0
	for _, r := range got {
		if r.Action == ActionLinesLost {
			k, _ := strconv.Atoi(r.Parameters["Lines"])
			said += k
			n++
		}
	}
	if said != lost || len(got)+lost != n {
		t.Errorf("%d lines written, %d lost, %d said to be, of %d", len(got), lost, said, n)
	}
}

func TestCloseOnADiskThatHangsEnds(t *testing.T) {
	d := &disk{free: 1, stall: make(chan struct{}), enter: make(chan struct{}, 1)}
	l := onDisk(t, d)
	l.Write(&Record{})
	<-d.enter
	l.closeTime = 50 * time.Millisecond
	if err := l.Close(); err == nil {
		t.Error("close did not say that the last line is not on the disk")
	}
	close(d.stall)
	<-l.done
	if l.Lost() != 1 {
		t.Errorf("lost %d lines, want the one", l.Lost())
	}
	l.Write(&Record{}) // must not panic, and is not silent
	if l.Lost() != 2 {
		t.Errorf("lost %d lines after the end, want 2", l.Lost())
	}
}

func TestOpenNamesAFileThatCannotBe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "no", "audit.jsonl")
	if _, err := Open(Config{File: name, MaxSize: 1, Log: quiet()}); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("error %v, want the name", err)
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, Config{File: name, MaxSize: 1 << 30})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 500 {
				l.Write(&Record{RequestID: fmt.Sprint(i, " ", k)})
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range records(t, name) {
		seen[r.RequestID] = true
	}
	if len(seen) != 4000 {
		t.Errorf("%d different lines, want 4000", len(seen))
	}
}
