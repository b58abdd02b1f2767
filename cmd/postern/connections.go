// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/vpc"
)

func newConnectionsCommand(o *options) *cobra.Command {
	var in connectionsInput
	c := &cobra.Command{
		Use:   "connections",
		Short: "show the flows the datapath remembers",
		Long: `Show the flows this host's datapath remembers, the most recent first: who began
each and who answers, in which VPC, through which endpoint, and where it leads
on the other side of the endpoint or load balancer.

A flow through an endpoint is one row as its client sees it; with --provider
it is shown as its provider sees it. An expired flow stays for some seconds.
Reads the kernel's maps, also when no server runs, and needs root.`,
		Example: `  sudo postern connections
  sudo postern connections --endpoint vpce-0123456789abcdef0
  sudo postern connections --vpc vpc-0123456789abcdef0 --limit 0 --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.limit < 0 {
				return usageError("--limit %d: want a number of rows, or 0 for all", in.limit)
			}
			return runConnections(c.Context(), o, in, time.Now(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&in.vpc, "vpc", "", "only flows of this VPC")
	f.StringVar(&in.endpoint, "endpoint", "", "only flows through this endpoint")
	f.StringVar(&in.iface, "interface", "", "only flows begun by this interface (eni-...) or instance (i-...)")
	f.BoolVar(&in.provider, "provider", false, "show the provider's half of translated flows, not the client's")
	f.IntVar(&in.limit, "limit", 200, "rows to show, 0 for all")
	return c
}

type connectionsInput struct {
	vpc, endpoint, iface string
	provider             bool
	limit                int
}

// connectionAnswer is one row of `postern connections --json`.
type connectionAnswer struct {
	Kind      string    `json:"kind"` // plain, consumer or provider
	Protocol  string    `json:"protocol"`
	VPC       string    `json:"vpc"`
	Interface string    `json:"interface,omitempty"` // the initiator's
	Name      string    `json:"name,omitempty"`
	Initiator string    `json:"initiator"`
	Responder string    `json:"responder"`
	Endpoint  string    `json:"endpoint,omitempty"`
	Peer      *peer     `json:"peer,omitempty"` // the other half of a translated flow
	State     string    `json:"state"`          // opening, open or closed
	Created   time.Time `json:"created"`
	LastSeen  time.Time `json:"lastSeen"`
	// By the initiator and by the responder.
	Packets [2]uint64 `json:"packets"`
	Bytes   [2]uint64 `json:"bytes"`
}

type peer struct {
	VPC       string `json:"vpc"`
	Initiator string `json:"initiator"`
	Responder string `json:"responder"`
}

func runConnections(ctx context.Context, o *options, in connectionsInput, now time.Time, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	list, total, err := recentConnections(r.Connections(), readNumbers(ctx, o, errOut), in)
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(out, list)
	} else if len(list) > 0 {
		err = connectionTable(list, now).write(out)
	} else {
		fmt.Fprintln(errOut, "no flows")
	}
	if total > len(list) {
		fmt.Fprintf(errOut, "postern: %d of %d flows are shown; --limit 0 shows all\n", len(list), total)
	}
	return err
}

// recentConnections picks what was asked for, the most recent first, and
// counts all of it. It holds at most twice in.limit rows: the table has room
// for a million.
func recentConnections(all iter.Seq2[datapath.Connection, error], n numbers, in connectionsInput) (list []connectionAnswer, total int, err error) {
	list = []connectionAnswer{}
	cut := func() {
		slices.SortStableFunc(list, func(a, b connectionAnswer) int { return b.LastSeen.Compare(a.LastSeen) })
		if in.limit > 0 && len(list) > in.limit {
			list = list[:in.limit]
		}
	}
	for c, err := range all {
		if err != nil {
			return nil, 0, err
		}
		if c.Kind == "provider" && !in.provider || c.Kind == "consumer" && in.provider {
			continue
		}
		a := connectionRow(c, n)
		if in.vpc != "" && in.vpc != a.VPC && (a.Peer == nil || in.vpc != a.Peer.VPC) ||
			in.endpoint != "" && in.endpoint != a.Endpoint ||
			in.iface != "" && in.iface != a.Interface && in.iface != string(n.names[c.Interface].Instance) {
			continue
		}
		total++
		list = append(list, a)
		if in.limit > 0 && len(list) >= 2*in.limit {
			cut()
		}
	}
	cut()
	return list, total, nil
}

func connectionRow(c datapath.Connection, n numbers) connectionAnswer {
	a := connectionAnswer{
		Kind: c.Kind, Protocol: protocolName(c.Protocol), VPC: n.vpcOf(c.VNI), Interface: n.id(c.Interface), Name: n.name(c.Interface),
		Initiator: c.Initiator.String(), Responder: c.Responder.String(), Endpoint: n.id(c.Endpoint),
		State: "opening", Created: c.Created.UTC(), LastSeen: c.LastSeen.UTC(), Packets: c.Packets, Bytes: c.Bytes,
	}
	switch {
	case c.Finished:
		a.State = "closed"
	case c.Replied:
		a.State = "open"
	}
	if c.Protocol != vpc.TCP && c.Protocol != vpc.UDP {
		a.Initiator, a.Responder = c.Initiator.Addr().String(), c.Responder.Addr().String()
	}
	if c.PeerInitiator.IsValid() {
		a.Peer = &peer{VPC: n.vpcOf(c.PeerVNI), Initiator: c.PeerInitiator.String(), Responder: c.PeerResponder.String()}
	}
	return a
}

func connectionTable(list []connectionAnswer, now time.Time) *table {
	t := newTable("SEEN", "PROTO", "STATE", "VPC", "FROM", "NAME", "TO", "ENDPOINT", "LEADS TO", "PACKETS")
	for _, a := range list {
		leads := ""
		if a.Peer != nil {
			leads = a.Peer.Responder
		}
		t.row(ago(now, a.LastSeen), a.Protocol, a.State, a.VPC, a.Initiator, a.Name, a.Responder, a.Endpoint, leads,
			strconv.FormatUint(a.Packets[0], 10)+"/"+strconv.FormatUint(a.Packets[1], 10))
	}
	return t
}
