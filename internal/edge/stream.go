// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"io"
	"maps"
	"reflect"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Change is one line of the agent's stream to the edge: a Config in whose tables
// with names, VPCs and Zones, there is only what differs from the line before.
// The first line of a stream has all of it. On a host with a million names, one
// that comes or goes would otherwise take seconds.
type Change struct {
	Config
	// GoneVPCs and GoneZones were there and are no more.
	GoneVPCs  []vpc.VNI          `json:"goneVpcs,omitempty"`
	GoneZones []vpc.HostedZoneID `json:"goneZones,omitempty"`
}

// Feed writes the stream, one JSON object on a line.
type Feed struct {
	lines *json.Encoder
	sent  Config
}

// NewFeed begins a stream.
func NewFeed(w io.Writer) *Feed { return &Feed{lines: json.NewEncoder(w)} }

// Send writes what a newer Config changes. Neither is changed afterwards.
func (f *Feed) Send(c Config) error {
	out := Change{Config: c}
	out.VPCs, out.GoneVPCs = changed(f.sent.VPCs, c.VPCs)
	out.Zones, out.GoneZones = changed(f.sent.Zones, c.Zones)
	if err := f.lines.Encode(out); err != nil {
		return err
	}
	f.sent = c
	return nil
}

// changed is what one table has that another has not, and what it has no more.
// Entries that were taken over share their lists, which makes this quick.
func changed[K comparable, V any](old, now map[K]V) (set map[K]V, gone []K) {
	set = map[K]V{}
	for k, v := range now {
		if was, ok := old[k]; !ok || !reflect.DeepEqual(was, v) {
			set[k] = v
		}
	}
	for k := range old {
		if _, ok := now[k]; !ok {
			gone = append(gone, k)
		}
	}
	return set, gone
}

// Spaces are the VPCs of a stream without their names, which are the resolver's.
type Spaces map[vpc.VNI]desired.VPC

// Take takes the next line of the stream, and answers the Config there is now;
// of VPCs and zones it has no names.
func (s Spaces) Take(c Change) Config {
	for _, vni := range c.GoneVPCs {
		delete(s, vni)
	}
	for vni, v := range c.VPCs {
		s[vni] = desired.VPC{ID: v.ID, Owner: v.Owner, VNI: v.VNI}
	}
	out := c.Config
	out.VPCs, out.Zones = maps.Clone(s), nil
	return out
}
