// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"postern.dev/postern/bpf"
)

// Usage is what was counted of an endpoint on this host since the host has had
// it. The words are those of CloudWatch's AWS/PrivateLinkEndpoints and
// AWS/PrivateLinkServices.
type Usage struct {
	Active  uint64 // flows that are open now or being opened
	New     uint64 // flows begun
	Bytes   uint64 // of IP packets, both ways; up to a round of the collector behind
	Resets  uint64 // TCP resets to clients
	Dropped uint64 // packets, from where the endpoint's own checks begin
}

func (u *Usage) add(o Usage) {
	u.Active += o.Active
	u.New += o.New
	u.Bytes += o.Bytes
	u.Resets += o.Resets
	u.Dropped += o.Dropped
}

// EndpointUsage is the usage of one endpoint.
type EndpointUsage struct {
	Endpoint uint64 // number of the endpoint
	// Client counts flows whose client is on this host, Service those whose
	// target is. Most are both; over all hosts, each flow is in each of them once.
	Client, Service Usage
}

// Usages lists what was counted of each endpoint, by number.
func (r *Reader) Usages() ([]EndpointUsage, error) {
	if r.usages == nil { // the programs are of a version before there were any
		return nil, nil
	}
	active, err := r.active()
	if err != nil {
		return nil, err
	}
	var out []EndpointUsage
	var id uint64
	var v bpf.DatapathUsage
	it := r.usages.Iterate()
	for it.Next(&id, &v) {
		e := EndpointUsage{Endpoint: id}
		for place, n := range v.At {
			u := Usage{Active: active[activeKey{id, uint32(place)}], New: n.Connections, Bytes: n.Bytes, Resets: n.Resets, Dropped: n.Dropped}
			switch bpf.DatapathUsagePlace(place) {
			case bpf.DatapathUsagePlaceUSAGE_BOTH:
				e.Client.add(u)
				e.Service.add(u)
			case bpf.DatapathUsagePlaceUSAGE_CLIENT:
				e.Client.add(u)
			case bpf.DatapathUsagePlaceUSAGE_TARGET:
				e.Service.add(u)
			}
		}
		out = append(out, e)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read map usages: %w", err)
	}
	slices.SortFunc(out, func(a, b EndpointUsage) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	return out, nil
}

// Usages is Reader.Usages for the process that owns the datapath.
func (d *Datapath) Usages() ([]EndpointUsage, error) { return d.reader().Usages() }

type activeKey struct {
	endpoint uint64
	place    uint32
}

// active counts the flows through endpoints that have neither ended nor expired.
func (r *Reader) active() (map[activeKey]uint64, error) {
	idle, err := readIdleTimes()
	if err != nil {
		return nil, err
	}
	boot, now := bootTime(), time.Now()
	out := map[activeKey]uint64{}
	for e, err := range r.entries() {
		if err != nil {
			return nil, err
		}
		kind := bpf.DatapathConnKind(e.value.Kind)
		if e.value.Endpoint == 0 || kind == bpf.DatapathConnKindCONN_PROVIDER {
			continue
		}
		c := connection(e.key, e.value, boot)
		if c.Finished || now.After(c.LastSeen.Add(idle.of(c, e.value))) {
			continue
		}
		place := bpf.DatapathUsagePlaceUSAGE_BOTH
		switch {
		case kind == bpf.DatapathConnKindCONN_FAR:
			place = bpf.DatapathUsagePlaceUSAGE_CLIENT
		case e.value.Host != 0:
			place = bpf.DatapathUsagePlaceUSAGE_TARGET
		}
		out[activeKey{e.value.Endpoint, uint32(place)}]++
	}
	return out, nil
}
