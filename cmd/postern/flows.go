// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"cmp"
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

func newFlowsCommand(o *options) *cobra.Command {
	var in flowsInput
	c := &cobra.Command{
		Use:   "flows",
		Short: "show the flows the datapath remembers",
		Long: `Show the flows this host's datapath remembers, the most recent first: who began
each and who answers, in which VPC, its state and how long it is remembered if
no more packets come, and the packets and bytes of both directions.

A flow through an endpoint or load balancer is one row: as its client sees it,
and under AS and TARGET as the target sees it. An expired flow stays in the
table for some seconds. Reads the kernel's maps, also when no server runs, and
needs root.`,
		Example: `  sudo postern datapath flows
  sudo postern datapath flows --endpoint vpce-0123456789abcdef0
  sudo postern datapath flows --interface i-0123456789abcdef0 --top 10
  sudo postern datapath flows --vpc vpc-0123456789abcdef0 --limit 0 --json`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case in.limit < 0:
				return usageError("--limit %d: want a number of rows, or 0 for all", in.limit)
			case in.top < 0:
				return usageError("--top %d: want a number of rows", in.top)
			case in.top > 0 && c.Flags().Changed("limit"):
				return usageError("give --limit or --top, not both")
			}
			if in.top > 0 {
				in.limit = in.top
			}
			return runFlows(c.Context(), o, in, time.Now(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&in.vpc, "vpc", "", "only flows that begin or end in this VPC")
	f.StringVar(&in.endpoint, "endpoint", "", "only flows through this endpoint")
	f.StringVar(&in.iface, "interface", "", "only flows of this interface (eni-...) or instance (i-...), whichever end it is")
	f.IntVar(&in.limit, "limit", 200, "rows to show, 0 for all")
	f.IntVar(&in.top, "top", 0, "show this many, those with the most bytes first")
	return c
}

type flowsInput struct {
	vpc, endpoint, iface string
	limit, top           int
}

// flowAnswer is one row of `postern datapath flows --json`.
type flowAnswer struct {
	Translated bool      `json:"translated"`
	Protocol   string    `json:"protocol"`
	VPC        string    `json:"vpc"`
	Interface  string    `json:"interface,omitempty"` // the initiator's
	Name       string    `json:"name,omitempty"`
	Initiator  string    `json:"initiator"`
	Responder  string    `json:"responder"`
	Endpoint   string    `json:"endpoint,omitempty"`
	Target     string    `json:"target,omitempty"` // the interface that answers
	Peer       *peer     `json:"peer,omitempty"`   // the other half of a translated flow
	State      string    `json:"state"`            // opening, open, closed or expired
	Created    time.Time `json:"created"`
	LastSeen   time.Time `json:"lastSeen"`
	Expires    time.Time `json:"expires"` // if nothing more is seen of it
	// By the initiator and by the responder.
	Packets [2]uint64 `json:"packets"`
	Bytes   [2]uint64 `json:"bytes"`
}

func (a *flowAnswer) bytes() uint64 { return a.Bytes[0] + a.Bytes[1] }

// peer is a translated flow as its target sees it.
type peer struct {
	VPC       string `json:"vpc"`
	Initiator string `json:"initiator"`
	Responder string `json:"responder"`
}

func runFlows(ctx context.Context, o *options, in flowsInput, now time.Time, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	list, total, err := pickFlows(r.Connections(), readNumbers(ctx, o, errOut), in, now)
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(out, list)
	} else if len(list) > 0 {
		err = flowTable(list, now).write(out)
	} else {
		fmt.Fprintln(errOut, "no flows")
	}
	if total > len(list) && in.top == 0 {
		fmt.Fprintf(errOut, "postern: %d of %d flows are shown; --limit 0 shows all\n", len(list), total)
	}
	return err
}

// pickFlows picks what was asked for, the most recent or the largest first,
// and counts all of it. It holds at most twice in.limit rows: the table has
// room for a million. Of a translated flow it takes the consumer half, which
// names the other.
func pickFlows(all iter.Seq2[datapath.Connection, error], n numbers, in flowsInput, now time.Time) (list []flowAnswer, total int, err error) {
	list = []flowAnswer{}
	cut := func() {
		slices.SortStableFunc(list, func(a, b flowAnswer) int {
			if in.top > 0 {
				return cmp.Or(cmp.Compare(b.bytes(), a.bytes()), b.LastSeen.Compare(a.LastSeen))
			}
			return b.LastSeen.Compare(a.LastSeen)
		})
		if in.limit > 0 && len(list) > in.limit {
			list = list[:in.limit]
		}
	}
	for c, err := range all {
		if err != nil {
			return nil, 0, err
		}
		if c.Kind == "provider" {
			continue
		}
		a := flowRow(c, n, now)
		if in.vpc != "" && in.vpc != a.VPC && (a.Peer == nil || in.vpc != a.Peer.VPC) && in.vpc != string(n.names[c.Target].VPC) ||
			in.endpoint != "" && in.endpoint != a.Endpoint ||
			in.iface != "" && !n.isInterface(c.Interface, in.iface) && !n.isInterface(c.Target, in.iface) {
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

func flowRow(c datapath.Connection, n numbers, now time.Time) flowAnswer {
	a := flowAnswer{
		Translated: c.PeerInitiator.IsValid(), Protocol: datapath.ProtocolName(c.Protocol), VPC: n.vpcOf(c.VNI),
		Interface: n.id(c.Interface), Name: n.name(c.Interface), Initiator: c.Initiator.String(), Responder: c.Responder.String(),
		Endpoint: n.id(c.Endpoint), Target: n.id(c.Target), State: "opening",
		Created: c.Created.UTC(), LastSeen: c.LastSeen.UTC(), Expires: c.Expires.UTC(), Packets: c.Packets, Bytes: c.Bytes,
	}
	switch {
	case now.After(c.Expires):
		a.State = "expired"
	case c.Finished:
		a.State = "closed"
	case c.Replied:
		a.State = "open"
	}
	if of := n.names[c.Interface].VPC; of != "" { // across a peering, both VPCs have the same entry
		a.VPC = string(of)
	}
	ports := c.Protocol == vpc.TCP || c.Protocol == vpc.UDP
	if !ports {
		a.Initiator, a.Responder = c.Initiator.Addr().String(), c.Responder.Addr().String()
	}
	if a.Translated {
		a.Peer = &peer{VPC: n.vpcOf(c.PeerVNI), Initiator: c.PeerInitiator.String(), Responder: c.PeerResponder.String()}
		if !ports {
			a.Peer.Initiator, a.Peer.Responder = c.PeerInitiator.Addr().String(), c.PeerResponder.Addr().String()
		}
	}
	return a
}

func flowTable(list []flowAnswer, now time.Time) *table {
	t := newTable("SEEN", "LEFT", "PROTO", "STATE", "VPC", "FROM", "NAME", "TO", "ENDPOINT", "AS", "TARGET", "PACKETS", "BYTES")
	for _, a := range list {
		as, target := "", a.Target
		if a.Peer != nil {
			as, target = a.Peer.Initiator, a.Peer.Responder
		}
		t.row(ago(now, a.LastSeen), left(now, a.Expires), a.Protocol, a.State, a.VPC, a.Initiator, a.Name, a.Responder, a.Endpoint,
			as, target, both(a.Packets), both(a.Bytes))
	}
	return t
}

// both are a flow's two directions.
func both(n [2]uint64) string {
	return strconv.FormatUint(n[0], 10) + "/" + strconv.FormatUint(n[1], 10)
}

// left says how long it is to t, in one or two units.
func left(now, t time.Time) string {
	d := t.Sub(now).Truncate(time.Second)
	switch {
	case d <= 0:
		return "0s"
	case d < time.Minute:
		return d.String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
