// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"postern.dev/postern/internal/edge"
)

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilesThatWerePutAsideAreReadOnceAndInOrder(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "requests.jsonl")
	line := func(id string) string { return `{"requestId":"` + id + "\"}\n" }
	now := time.Now()
	for suffix, f := range map[string]struct {
		content []byte
		age     time.Duration
	}{
		"":               {[]byte(line("newest")), 0},
		".1":             {[]byte(line("1")), time.Hour},
		".1.gz":          {packed(t, line("1"))[:15], time.Minute}, // is being compressed
		".2.gz":          {packed(t, line("2")), 2 * time.Hour},
		".11":            {[]byte(line("11")), 30 * time.Hour},
		"-20260102.gz":   {packed(t, line("dated, younger")), 40 * time.Hour},
		"-20260101":      {[]byte(line("dated")), 50 * time.Hour},
		".0":             {[]byte(line("no number of a log")), time.Hour},
		".old":           {[]byte(line("old")), time.Hour},
		"-20260101.gz.x": {[]byte(line("x")), time.Hour},
	} {
		if err := os.WriteFile(name+suffix, f.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name+suffix, time.Time{}, now.Add(-f.age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(name+".3", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		since time.Time
		want  []string
	}{
		{time.Time{}, []string{"dated", "dated, younger", "11", "2", "1", "newest"}},
		{now.Add(-3 * time.Hour), []string{"2", "1", "newest"}},
	} {
		l := newRecordLog[edge.Record](name)
		var got []string
		give := func(r record[edge.Record]) { got = append(got, r.Value.RequestID) }
		for _, read := range []func() error{func() error { return l.readAside(x.since, give) }, func() error { return l.read(give) }, func() error { return l.read(give) }} {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		l.close()
		if !slices.Equal(got, x.want) {
			t.Errorf("since %s: %q, want %q", x.since, got, x.want)
		}
	}
}
