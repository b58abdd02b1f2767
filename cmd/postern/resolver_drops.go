// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/link"
	"postern.dev/postern/internal/resolver"
)

// dropCounts is the file in which the edge, which may write nothing else, counts
// what the resolver dropped, for `postern drops` to show.
type dropCounts struct{ file *os.File }

// countsEvery is how often the file is brought up to date.
const countsEvery = time.Second

// read is what was counted before.
func (d dropCounts) read() ([]resolver.Drop, error) {
	var out []resolver.Drop
	// The file may be longer than its value: see write.
	err := json.NewDecoder(io.NewSectionReader(d.file, 0, 16<<20)).Decode(&out)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", d.file.Name(), err)
	}
	return out, nil
}

// write replaces the value in place.
func (d dropCounts) write(drops []resolver.Drop) error {
	b, err := json.Marshal(drops)
	if err != nil {
		return err
	}
	if _, err := d.file.WriteAt(append(b, '\n'), 0); err != nil {
		return err
	}
	return d.file.Truncate(int64(len(b)) + 1)
}

// keep writes the counts whenever they have changed, until ctx ends.
func (d dropCounts) keep(ctx context.Context, r *resolver.Resolver, log *slog.Logger) {
	written := r.Drops()
	tick := time.NewTicker(countsEvery)
	defer tick.Stop()
	for going := true; going; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			going = false // once more, for the last second's
		}
		if now := r.Drops(); !slices.Equal(now, written) {
			if err := d.write(now); err != nil {
				log.Error("the resolver's drops were not written", "error", err)
				continue
			}
			written = now
		}
	}
}

// allDrops are the datapath's and the resolver's drops, most recent first.
func allDrops(o *options, r *datapath.Reader) ([]datapath.Drop, error) {
	list, err := r.Drops()
	if err != nil {
		return nil, err
	}
	tag, err := link.TagFor(o.dataDir)
	if err != nil {
		return nil, err
	}
	more, err := readResolverDrops(resolverDrops(tag))
	if err != nil {
		return nil, err
	}
	list = append(list, more...)
	slices.SortStableFunc(list, func(a, b datapath.Drop) int { return b.Last.Compare(a.Last) })
	return list, nil
}

// readResolverDrops are the drops in a file; there are none without it. A
// reader that meets a writer halfway looks again.
func readResolverDrops(file string) ([]datapath.Drop, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []resolver.Drop
	for range 10 {
		if list, err = (dropCounts{f}).read(); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	reasons := map[string]datapath.Reason{}
	for _, r := range allReasons() {
		reasons[r.Name] = r
	}
	out := make([]datapath.Drop, len(list))
	for i, d := range list {
		why, ok := reasons[string(d.Reason)]
		if !ok {
			why = datapath.Reason{Name: string(d.Reason), Text: "The reason is another version's."}
		}
		out[i] = datapath.Drop{
			Interface: d.Interface, Reason: why, Packets: d.Packets, Bytes: d.Bytes,
			Last: d.Last, VNI: d.VNI, Protocol: d.Protocol, Source: d.Source, Dest: d.Dest,
		}
	}
	return out, nil
}

// allReasons are the datapath's and the resolver's reasons.
func allReasons() []datapath.Reason {
	out := datapath.Reasons()
	for _, r := range resolver.Reasons() {
		out = append(out, datapath.Reason{Code: r.Code, Name: string(r.Reason), Text: r.Text})
	}
	return out
}
