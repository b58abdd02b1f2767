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
	OverRate     Reason = "resolver-rate"
	OverForwards Reason = "resolver-forwards"
	OverStreams  Reason = "resolver-streams"
)

// Reasons are all there are, with what they mean.
func Reasons() map[Reason]string {
	return map[Reason]string{
		OverRate:     "more questions to the VPC resolver in a second than an interface may ask",
		OverForwards: "more questions for other resolvers at once than an interface may have waiting",
		OverStreams:  "more TCP connections to the VPC resolver at once than an interface may have",
	}
}

// Drop is what was dropped of an interface for one reason.
type Drop struct {
	Interface uint64 `json:"interface"` // number; 0 for all beyond the first maxDrops
	Reason    Reason `json:"reason"`
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"` // of DNS messages
	// The last of them.
	Last     time.Time      `json:"last"`
	VNI      vpc.VNI        `json:"vni"`
	Protocol int            `json:"protocol"`
	Source   netip.AddrPort `json:"source"`
}

// maxDrops bounds how many interfaces' drops are told apart.
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

func newDrops(now func() time.Time) *drops { return &drops{now: now, known: map[dropKey]*Drop{}} }

func (d *drops) count(who Asker, proto, size int, why Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := dropKey{who.Interface, why}
	if d.known[k] == nil {
		if len(d.known) >= maxDrops {
			k.iface = 0
		}
		if d.known[k] == nil {
			d.known[k] = &Drop{Interface: k.iface, Reason: why}
		}
	}
	at := d.known[k]
	at.Packets++
	at.Bytes += uint64(size)
	at.Last, at.VNI, at.Protocol, at.Source = d.now(), who.VNI, proto, who.Client
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
