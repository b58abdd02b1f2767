// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/api/admin"
	"postern.dev/postern/internal/vpc"
)

func newStatusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show the server, its hosts and what they could not do",
		Long: `Show how the installation is doing: where its API is, how far each host has
applied what was asked for, every object a host could not bring about and why,
and how many objects there are.

A host at the store's revision without errors does all the API says.`,
		Example: `  postern status
  postern status --json | jq '.hosts[] | select(.errors)'`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return runStatus(c.Context(), o, time.Now(), c.OutOrStdout())
		},
	}
}

// statusAnswer is what --json prints.
type statusAnswer struct {
	Server admin.Info `json:"server"`
	admin.Status
}

func runStatus(ctx context.Context, o *options, now time.Time, out io.Writer) error {
	cl := newClient(o)
	defer cl.Close()
	info, err := cl.Info(ctx)
	if err != nil {
		return serverError(o, err)
	}
	s, err := cl.Status(ctx)
	if err != nil {
		return serverError(o, err)
	}
	if o.json {
		return printJSON(out, statusAnswer{info, s})
	}
	fmt.Fprintf(out, "API       %s (region %s, zones %s)\n", info.Endpoint, info.Region, strings.Join(info.Zones, ", "))
	fmt.Fprintf(out, "version   %s\n", info.Version)
	fmt.Fprintf(out, "datapath  %s\n", info.Datapath)
	fmt.Fprintf(out, "data      %s\n", info.DataDir)
	fmt.Fprintf(out, "revision  %d\n\n", s.Revision)
	if len(s.Hosts) > 0 {
		if err := hostTable(s, now).write(out); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(out, "no hosts: the API is served alone and no packet is carried")
	}
	fmt.Fprintln(out)
	t := newTable("OBJECTS", "COUNT")
	for _, k := range slices.Sorted(maps.Keys(s.Objects)) {
		if n := s.Objects[k]; n > 0 {
			t.row(plural(k), strconv.Itoa(n))
		}
	}
	if err := t.write(out); err != nil {
		return err
	}
	return hostErrors(s, out)
}

func hostTable(s admin.Status, now time.Time) *table {
	t := newTable("HOST", "STATE", "APPLIED", "BEHIND", "ERRORS", "SEEN")
	for _, h := range s.Hosts {
		state, behind := "not connected", ""
		if h.Live {
			state, behind = "live", strconv.FormatInt(int64(max(s.Revision-h.Applied, 0)), 10)
		}
		t.row(string(h.ID), state, strconv.FormatInt(int64(h.Applied), 10), behind, strconv.Itoa(len(h.Errors)), ago(now, h.Seen))
	}
	return t
}

func hostErrors(s admin.Status, out io.Writer) error {
	t := newTable("HOST", "OBJECT", "ERROR")
	for _, h := range s.Hosts {
		for _, o := range slices.Sorted(maps.Keys(h.Errors)) {
			t.row(string(h.ID), o, h.Errors[o])
		}
	}
	if len(t.rows) == 1 {
		return nil
	}
	fmt.Fprintln(out)
	return t.write(out)
}

// plural is a kind as a heading of a count.
func plural(k vpc.Kind) string {
	s := strings.ReplaceAll(string(k), "-", " ")
	return s + "s"
}
