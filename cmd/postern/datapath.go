// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/vpc"
)

func newDatapathCommand(o *options) *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "datapath",
		Short: "show what the datapath holds, remembers and dropped",
		Long: `Show this host's datapath as the kernel has it: what is in its maps, which flows
it remembers, and which packets it dropped and why.

Reads the kernel's maps, also when no server runs, and needs root. A running
server tells which ids the numbers in the maps stand for.`,
		Example: `  sudo postern datapath flows
  sudo postern datapath drops --watch
  sudo postern datapath dump --map routes`,
	}, newDumpCommand(o), newFlowsCommand(o), newDropsCommand(o))
}

func newDumpCommand(o *options) *cobra.Command {
	var in dumpInput
	c := &cobra.Command{
		Use:   "dump",
		Short: "show the maps' entries, decoded",
		Long: `Show the entries of this host's pinned maps, one on a line, decoded by the type
information that the maps themselves carry. docs/packet-path.md says what each
map is for and in which order a packet asks them.

A number that an AWS id stands behind shows as the id, an address space as its
VPC; #0123456789abcdef is a number that nothing stands behind, such as the hash
that names a rule set. --vpc and --interface show the entries in which the VPC,
something in it, or the interface occurs.`,
		Example: `  sudo postern datapath dump --map endpoints,listeners
  sudo postern datapath dump --interface eni-0123456789abcdef0
  sudo postern datapath dump --vpc vpc-0123456789abcdef0 --map routes --limit 0
  sudo postern datapath dump --json | jq 'select(.map == "conns").value.seen'`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.limit < 0 {
				return usageError("--limit %d: want a number of entries, or 0 for all", in.limit)
			}
			return runDump(c.Context(), o, in, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&in.maps, "map", nil, "only these maps, with commas between")
	f.StringVar(&in.vpc, "vpc", "", "only entries of this VPC")
	f.StringVar(&in.iface, "interface", "", "only entries with this interface (eni-...) or instance (i-...)")
	f.IntVar(&in.limit, "limit", 100, "entries to show of each map, 0 for all")
	return c
}

type dumpInput struct {
	maps       []string
	vpc, iface string
	limit      int
}

// dumpAnswer is one line of `postern datapath dump --json`.
type dumpAnswer struct {
	Map   string `json:"map"`
	Key   any    `json:"key"`
	Value any    `json:"value"`
}

func runDump(ctx context.Context, o *options, in dumpInput, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	names, err := r.Maps()
	if err != nil {
		return err
	}
	for _, m := range in.maps {
		if !slices.Contains(names, m) {
			return usageError("--map %s: there is no such map; there are %s", m, strings.Join(names, ", "))
		}
	}
	if len(in.maps) > 0 {
		names = in.maps
	}
	n := readNumbers(ctx, o, errOut)
	var cut []string
	for _, name := range names {
		more, err := dumpMap(r.Dump(name), n, in, o.json, out)
		if err != nil {
			return err
		}
		if more {
			cut = append(cut, name)
		}
	}
	if len(cut) > 0 {
		fmt.Fprintf(errOut, "postern: only the first %d entries are shown of %s; --limit 0 shows all\n", in.limit, strings.Join(cut, ", "))
	}
	return nil
}

// dumpMap prints what was asked for of one map and says whether there is more.
func dumpMap(all iter.Seq2[datapath.Entry, error], n numbers, in dumpInput, asJSON bool, out io.Writer) (more bool, err error) {
	shown := 0
	for e, err := range all {
		if err != nil {
			return false, err
		}
		if !n.wanted(e, in) {
			continue
		}
		if in.limit > 0 && shown == in.limit {
			return true, nil
		}
		shown++
		if asJSON {
			// One object on a line: a map may have a million entries.
			err = json.NewEncoder(out).Encode(dumpAnswer{e.Map, n.plain(e.Key), n.plain(e.Value)})
		} else {
			_, err = fmt.Fprintf(out, "%s  %s  =>  %s\n", e.Map, printable(n.text("", e.Key)), printable(n.text("", e.Value)))
		}
		if err != nil {
			return false, fmt.Errorf("write the answer: %w", err)
		}
	}
	return false, nil
}

// wanted reports whether what was asked for occurs in an entry.
func (n numbers) wanted(e datapath.Entry, in dumpInput) bool {
	occurs := func(is func(any) bool) bool { return anyIn(e.Key, is) || anyIn(e.Value, is) }
	if in.vpc != "" && !occurs(func(v any) bool {
		switch v := v.(type) {
		case vpc.VNI:
			return n.vpcOf(v) == in.vpc
		case datapath.Number:
			return string(n.names[uint64(v)].VPC) == in.vpc
		}
		return false
	}) {
		return false
	}
	return in.iface == "" || occurs(func(v any) bool {
		num, ok := v.(datapath.Number)
		return ok && n.isInterface(uint64(num), in.iface)
	})
}

// anyIn reports whether is holds for one of the values in v.
func anyIn(v any, is func(any) bool) bool {
	switch v := v.(type) {
	case datapath.Fields:
		return slices.ContainsFunc(v, func(f datapath.Field) bool { return anyIn(f.Value, is) })
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return anyIn(x, is) })
	}
	return is(v)
}

// plain is a value of an entry for JSON.
func (n numbers) plain(v any) any {
	switch v := v.(type) {
	case datapath.Fields:
		out := make(map[string]any, len(v))
		for _, f := range v {
			out[f.Name] = n.plain(f.Value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = n.plain(x)
		}
		return out
	case uint64:
		return v
	case datapath.Number:
		if n.isCount(v) {
			return uint64(v)
		}
	case time.Time:
		return v
	}
	return n.text("", v)
}

// text is a value of an entry for people: name=value for each field, without
// those that are zero.
func (n numbers) text(name string, v any) string {
	with := func(s string) string {
		switch {
		case name == "":
			return s
		case s == "" || s == "0" || s == "00:00:00:00:00:00":
			return ""
		}
		return name + "=" + s
	}
	switch v := v.(type) {
	case datapath.Fields:
		var out []string
		for _, f := range v {
			inner := f.Name
			if name != "" {
				inner = name + "." + f.Name
			}
			if s := n.text(inner, f.Value); s != "" {
				out = append(out, s)
			}
		}
		return strings.Join(out, " ")
	case []any:
		var out []string
		zero := true
		for _, x := range v {
			out = append(out, n.text("", x))
			zero = zero && n.text("zero", x) == ""
		}
		if zero && name != "" {
			return ""
		}
		return with(strings.Join(out, ","))
	case vpc.VNI:
		return with(n.vpcOf(v))
	case datapath.Number:
		if n.isCount(v) {
			return with(fmt.Sprint(uint64(v)))
		}
		return with(n.id(uint64(v)))
	case netip.Addr:
		if v.IsUnspecified() && name != "" {
			return ""
		}
		return with(v.String())
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return with(v.Format("2006-01-02T15:04:05.000Z"))
	}
	return with(fmt.Sprint(v))
}

// isCount tells a count from the number of something: numbers are hashes, so
// they are nearly always large, and counts never are.
func (n numbers) isCount(v datapath.Number) bool {
	return v < 1<<52 && n.names[uint64(v)].ID == ""
}
