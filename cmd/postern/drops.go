// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern.dev/postern/internal/datapath"
	"postern.dev/postern/internal/vpc"
)

func newDropsCommand(o *options) *cobra.Command {
	var in dropsInput
	c := &cobra.Command{
		Use:   "drops",
		Short: "show which packets were dropped and why",
		Long: `Show the packets this host's datapath and its VPC resolver dropped: for each
interface that sent them and each reason, how many, and when and what the last
one was. Every drop is counted here; a packet that is not here was not dropped.
'postern drops' and 'postern datapath drops' are the same.

The reasons are those of 'postern drops --reasons'. Counts go on from the first
'postern serve' to 'postern reset'; --watch shows what is dropped from now on,
counted from now. Reads the kernel's maps and the resolver's counts, also when
no server runs, and needs root.`,
		Example: `  sudo postern drops
  sudo postern drops --interface eni-0123456789abcdef0 --since 1m
  sudo postern datapath drops --watch --vpc vpc-0123456789abcdef0
  sudo postern drops --json | jq '.[] | select(.reason == "group-ingress")'
  postern drops --reasons`,
		Args: wantArgs(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if in.since < 0 {
				return usageError("--since %s: want a time that has passed, such as 1m", in.since)
			}
			if in.watch && in.since > 0 {
				return usageError("give --watch or --since, not both")
			}
			if in.reasons {
				return runDropReasons(o, c.OutOrStdout())
			}
			if in.watch {
				return watchDrops(c.Context(), o, in, c.OutOrStdout(), c.ErrOrStderr())
			}
			return runDrops(c.Context(), o, in, time.Now(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&in.iface, "interface", "", "only packets sent by this interface (eni-...) or instance (i-...)")
	f.StringVar(&in.vpc, "vpc", "", "only packets last dropped in this VPC")
	f.DurationVar(&in.since, "since", 0, "only what was last dropped within this time, such as 30s")
	f.BoolVarP(&in.watch, "watch", "w", false, "show what is dropped from now on, every second, until interrupted")
	f.BoolVar(&in.reasons, "reasons", false, "list every reason there is instead")
	return c
}

type dropsInput struct {
	iface, vpc     string
	since          time.Duration
	watch, reasons bool
}

// dropAnswer is one row of `postern drops --json`.
type dropAnswer struct {
	Interface string    `json:"interface"` // id, "" if the sender is not known
	Instance  string    `json:"instance,omitempty"`
	Name      string    `json:"name,omitempty"`
	VPC       string    `json:"vpc,omitempty"`
	Reason    string    `json:"reason"`
	Text      string    `json:"text"`
	Packets   uint64    `json:"packets"`
	Bytes     uint64    `json:"bytes"`
	Last      time.Time `json:"last"`
	Protocol  string    `json:"protocol"` // of the last packet, "" if it was not IP; as are:
	Source    string    `json:"source"`
	Dest      string    `json:"destination"`
}

func runDrops(ctx context.Context, o *options, in dropsInput, now time.Time, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	list, err := allDrops(o, r)
	if err != nil {
		return err
	}
	answers := dropAnswers(list, readNumbers(ctx, o, errOut), in, now)
	if o.json {
		return printJSON(out, answers)
	}
	if len(answers) == 0 {
		fmt.Fprintln(errOut, "nothing was dropped")
		return nil
	}
	return dropTable(answers, now).write(out)
}

// watchEvery is how often --watch looks.
const watchEvery = time.Second

// watchDrops prints what is dropped from now on until it is interrupted.
func watchDrops(ctx context.Context, o *options, in dropsInput, out, errOut io.Writer) error {
	r, err := mapsOf(o)
	if err != nil {
		return err
	}
	defer r.Close()
	before, err := allDrops(o, r)
	if err != nil {
		return err
	}
	t := dropTable(nil, time.Time{})
	if !o.json {
		if err := t.write(out); err != nil { // so that one sees it has begun
			return err
		}
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		list, err := allDrops(o, r)
		if err != nil {
			return err
		}
		fresh := dropsSince(before, list)
		before = list
		if len(fresh) == 0 {
			continue
		}
		now := time.Now()
		answers := dropAnswers(fresh, readNumbers(ctx, o, errOut), in, now)
		errOut = io.Discard // that there is no server is said once
		if o.json {
			for _, a := range answers {
				if err := json.NewEncoder(out).Encode(a); err != nil {
					return fmt.Errorf("write the answer: %w", err)
				}
			}
			continue
		}
		t.addDrops(answers, now)
		if err := t.write(out); err != nil {
			return err
		}
	}
}

// dropsSince are the counters that have grown, by how much.
func dropsSince(before, now []datapath.Drop) []datapath.Drop {
	type key struct {
		iface  uint64
		reason uint32
	}
	old := map[key]datapath.Drop{}
	for _, d := range before {
		old[key{d.Interface, d.Reason.Code}] = d
	}
	var out []datapath.Drop
	for _, d := range now {
		o := old[key{d.Interface, d.Reason.Code}]
		if d.Packets < o.Packets { // counted anew
			o = datapath.Drop{}
		}
		if d.Packets -= o.Packets; d.Packets > 0 {
			d.Bytes -= min(o.Bytes, d.Bytes)
			out = append(out, d)
		}
	}
	return out
}

// reasonARP is the reason of dropped ARP packets.
const reasonARP = "arp"

// dropAnswers names what was counted and leaves out what was not asked for.
func dropAnswers(list []datapath.Drop, n numbers, in dropsInput, now time.Time) []dropAnswer {
	out := []dropAnswer{}
	for _, d := range list {
		a := dropAnswer{
			Interface: n.id(d.Interface), Instance: string(n.names[d.Interface].Instance), Name: n.name(d.Interface), VPC: n.vpcOf(d.VNI),
			Reason: d.Reason.Name, Text: d.Reason.Text, Packets: d.Packets, Bytes: d.Bytes, Last: d.Last.UTC(),
			Protocol: datapath.ProtocolName(d.Protocol), Source: d.Source.String(), Dest: d.Dest.String(),
		}
		if d.Protocol != vpc.TCP && d.Protocol != vpc.UDP {
			a.Source, a.Dest = d.Source.Addr().String(), d.Dest.Addr().String()
		}
		if d.Protocol == 0 { // not read as IP: ARP, or a frame that says nothing
			a.Protocol = ""
			if d.Reason.Name == reasonARP {
				a.Protocol = "arp"
			}
		}
		if in.iface != "" && in.iface != a.Interface && in.iface != a.Instance || in.vpc != "" && in.vpc != a.VPC {
			continue
		}
		if in.since > 0 && now.Sub(d.Last) > in.since {
			continue
		}
		out = append(out, a)
	}
	return out
}

func dropTable(list []dropAnswer, now time.Time) *table {
	t := newTable("LAST", "INTERFACE", "NAME", "REASON", "PACKETS", "LAST PACKET")
	t.addDrops(list, now)
	return t
}

func (t *table) addDrops(list []dropAnswer, now time.Time) {
	for _, a := range list {
		t.row(ago(now, a.Last), a.Interface, a.Name, a.Reason, strconv.FormatUint(a.Packets, 10),
			strings.TrimSpace(fmt.Sprintf("%s %s > %s", a.Protocol, a.Source, a.Dest)))
	}
}

func runDropReasons(o *options, out io.Writer) error {
	type reason struct {
		Code uint32 `json:"code"`
		Name string `json:"name"`
		Text string `json:"text"`
	}
	var list []reason
	t := newTable("CODE", "REASON", "MEANING")
	for _, r := range allReasons() {
		if r.Code == 0 {
			continue // not dropped
		}
		list = append(list, reason(r))
		t.row(strconv.FormatUint(uint64(r.Code), 10), r.Name, r.Text)
	}
	if o.json {
		return printJSON(out, list)
	}
	return t.write(out)
}
