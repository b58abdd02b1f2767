// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// reader follows a stream as the edge does; names and zones are the resolver's.
type reader struct {
	lines  *json.Decoder
	spaces Spaces
	names  map[vpc.VNI]desired.VPC
	zones  map[vpc.HostedZoneID]desired.Zone
}

func (r *reader) next(t *testing.T) (Change, Config) {
	t.Helper()
	var c Change
	if err := r.lines.Decode(&c); err != nil {
		t.Fatal(err)
	}
	for _, k := range c.GoneVPCs {
		delete(r.names, k)
	}
	maps.Copy(r.names, c.VPCs)
	for _, k := range c.GoneZones {
		delete(r.zones, k)
	}
	maps.Copy(r.zones, c.Zones)
	return c, r.spaces.Take(c)
}

func TestALineHasOfNamesOnlyWhatChanged(t *testing.T) {
	var wire bytes.Buffer
	f := NewFeed(&wire)
	r := &reader{json.NewDecoder(&wire), Spaces{}, map[vpc.VNI]desired.VPC{}, map[vpc.HostedZoneID]desired.Zone{}}
	space := func(vni vpc.VNI, names ...string) desired.VPC {
		v := desired.VPC{ID: vpc.VPCID(string(rune('a' + vni%26))), Owner: "o", VNI: vni, DNS: true}
		for _, n := range names {
			v.Records = append(v.Records, desired.Record{Name: n, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
		}
		return v
	}
	now := Config{Revision: 1, Region: "us-east-1", VPCs: map[vpc.VNI]desired.VPC{}, Zones: map[vpc.HostedZoneID]desired.Zone{}, Interfaces: map[uint64]Interface{7: {ID: "eni-0b"}}}
	send := func(set, gone, zones, goneZones int) {
		t.Helper()
		if err := f.Send(now); err != nil {
			t.Fatal(err)
		}
		c, got := r.next(t)
		if len(c.VPCs) != set || len(c.GoneVPCs) != gone || len(c.Zones) != zones || len(c.GoneZones) != goneZones {
			t.Errorf("revision %d: %d and %d VPCs, %d and %d zones; want %d, %d, %d, %d", now.Revision, len(c.VPCs), len(c.GoneVPCs), len(c.Zones), len(c.GoneZones), set, gone, zones, goneZones)
		}
		if got.Revision != now.Revision || got.Region != "us-east-1" || got.Interfaces[7].ID != "eni-0b" || len(got.VPCs) != len(now.VPCs) || got.Zones != nil {
			t.Errorf("%+v", got)
		}
		for vni, v := range got.VPCs {
			if want := now.VPCs[vni]; v.ID != want.ID || v.Owner != want.Owner || len(v.Records) > 0 {
				t.Errorf("%d: %+v", vni, v)
			}
		}
		if !reflect.DeepEqual(r.names, now.VPCs) || !reflect.DeepEqual(r.zones, now.Zones) {
			t.Errorf("revision %d: read\n%+v\n%+v\nwant\n%+v\n%+v", now.Revision, r.names, r.zones, now.VPCs, now.Zones)
		}
	}
	edit := func(change func()) {
		now.VPCs, now.Zones = maps.Clone(now.VPCs), maps.Clone(now.Zones)
		now.Revision++
		change()
	}
	edit(func() {
		for vni := range vpc.VNI(10) {
			now.VPCs[vni] = space(vni, "one", "two")
		}
		now.Zones["Z1"] = desired.Zone{Name: "z1"}
	})
	send(10, 0, 1, 0)
	edit(func() {})
	send(0, 0, 0, 0)
	edit(func() { now.VPCs[3] = space(3, "one") })
	send(1, 0, 0, 0)
	edit(func() { now.VPCs[3] = space(3, "one") }) // made anew and the same
	send(0, 0, 0, 0)
	edit(func() { delete(now.VPCs, 3); now.Zones["Z2"] = desired.Zone{Name: "z2"} })
	send(0, 1, 1, 0)
	edit(func() { now.VPCs[3] = space(3); delete(now.Zones, "Z1") })
	send(1, 0, 0, 1)
	// Whatever changes, in the end it is what it is.
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for range 200 {
		edit(func() {
			for range rnd.IntN(4) {
				k := vpc.VNI(rnd.IntN(12))
				if now.VPCs[k] = space(k, slices.Repeat([]string{"n"}, rnd.IntN(3))...); rnd.IntN(3) == 0 {
					delete(now.VPCs, k)
				}
				z := vpc.HostedZoneID(rune('A' + rnd.IntN(5)))
				if now.Zones[z] = (desired.Zone{Name: string(rune('a' + rnd.IntN(3)))}); rnd.IntN(3) == 0 {
					delete(now.Zones, z)
				}
			}
		})
		if err := f.Send(now); err != nil {
			t.Fatal(err)
		}
		if r.next(t); !reflect.DeepEqual(r.names, now.VPCs) || !reflect.DeepEqual(r.zones, now.Zones) {
			t.Fatalf("read %+v %+v, want %+v %+v", r.names, r.zones, now.VPCs, now.Zones)
		}
	}
}

// broken takes so many writes.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("broken")
	}
	return len(p), nil
}

func TestABrokenStreamIsAnError(t *testing.T) {
	f := NewFeed(&broken{1})
	if err := errors.Join(f.Send(Config{})); err != nil {
		t.Error(err)
	}
	if err := f.Send(Config{}); err == nil {
		t.Error("no error")
	}
}
