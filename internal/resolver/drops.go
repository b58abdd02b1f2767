// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Reason is why a query got no answer.
type Reason string

// Reasons.
const (
	OverRate     Reason = "resolver-messages"
	OverForwards Reason = "resolver-forwards"
	OverStreams  Reason = "resolver-streams"
)

// ReasonText is what a reason means. Code is its number, far above those of
// the datapath's reasons.
type ReasonText struct {
	Code   uint32
	Reason Reason
	Text   string
}

// Reasons are all there are, in an order that stays.
func Reasons() []ReasonText {
	return []ReasonText{
		{1001, OverRate, "The interface sent the VPC resolver more messages over TCP, or somebody an inbound endpoint more questions, in a second than it may."},
		{1002, OverForwards, "The interface has as many questions waiting for other resolvers as it may, or all together have."},
		{1003, OverStreams, "The interface has as many TCP connections to the VPC resolver as it may, or all together have."},
	}
}

// Drop is what was dropped of an interface for one reason.
type Drop struct {
	Interface uint64 `json:"interface"` // number
	Reason    Reason `json:"reason"`
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"` // of DNS messages
	// The last of them.
	Last     time.Time      `json:"last"`
	VNI      vpc.VNI        `json:"vni"`
	Protocol int            `json:"protocol"`
	Source   netip.AddrPort `json:"source"`
	Dest     netip.AddrPort `json:"dest"`
}

// maxDrops bounds how many interfaces' drops are remembered; the oldest go.
const maxDrops = 4096

type dropKey struct {
	iface  uint64
	reason Reason
}

// drops counts.
type drops struct {
	now func() time.Time

	mu    sync.Mutex
	known map[dropKey]*Drop
}

// newDrops goes on from what was counted before.
func newDrops(now func() time.Time, before []Drop) *drops {
	d := &drops{now: now, known: map[dropKey]*Drop{}}
	for _, b := range before[:min(len(before), maxDrops)] {
		d.known[dropKey{b.Interface, b.Reason}] = &b
	}
	return d
}

func (d *drops) count(who Asker, proto, size int, why Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := dropKey{who.Interface, why}
	if d.known[k] == nil {
		if len(d.known) >= maxDrops {
			var oldest *Drop
			for _, at := range d.known {
				if oldest == nil || at.Last.Before(oldest.Last) {
					oldest = at
				}
			}
			delete(d.known, dropKey{oldest.Interface, oldest.Reason})
		}
		d.known[k] = &Drop{Interface: k.iface, Reason: why}
	}
	at := d.known[k]
	at.Packets++
	at.Bytes += uint64(size)
	at.Last, at.VNI, at.Protocol, at.Source, at.Dest = d.now().UTC().Round(0), who.VNI, proto, who.Client, who.Server
}

func (d *drops) list() []Drop {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Drop, 0, len(d.known))
	for _, k := range d.known {
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
