// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"postern.dev/postern/internal/resolver"
	"postern.dev/postern/internal/vpc"
)

func TestDropsOfTheResolverAreReadAsTheyWereCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "drops.json")
	if list, err := readResolverDrops(file); err != nil || len(list) != 0 {
		t.Errorf("before there is a file: %v %v", list, err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if list, err := readResolverDrops(file); err != nil || len(list) != 0 {
		t.Errorf("before anything was dropped: %v %v", list, err)
	}
	d := resolver.Drop{
		Interface: 7, Reason: resolver.OverRate, Packets: 1 << 40, Bytes: 1 << 50, Last: time.Now().UTC().Round(0), VNI: vpc.FirstVNI,
		Protocol: vpc.UDP, Source: netip.MustParseAddrPort("10.0.0.5:1000"), Dest: netip.MustParseAddrPort("10.0.0.2:53"),
	}
	e := d
	e.Interface, e.Packets, e.Bytes, e.Reason = 8, 1, 1, resolver.OverStreams
	counts := dropCounts{f}
	for _, want := range [][]resolver.Drop{{d, e}, {e}} { // the second is shorter
		if err := counts.write(want); err != nil {
			t.Fatal(err)
		}
		if got, err := counts.read(); err != nil || !slices.Equal(got, want) {
			t.Errorf("the next edge goes on from %+v %v, want %+v", got, err, want)
		}
		list, err := readResolverDrops(file)
		if err != nil || len(list) != len(want) {
			t.Fatalf("%v %v", list, err)
		}
		for i, l := range list {
			w := want[i]
			if l.Interface != w.Interface || l.Reason.Name != string(w.Reason) || l.Reason.Code < 1000 || l.Packets != w.Packets || l.Bytes != w.Bytes ||
				!l.Last.Equal(w.Last) || l.VNI != w.VNI || l.Protocol != w.Protocol || l.Source != w.Source || l.Dest != w.Dest {
				t.Errorf("%+v is read as %+v", w, l)
			}
		}
	}
}

func TestEveryReasonOfADropHasANumberOfItsOwn(t *testing.T) {
	names, codes := map[string]bool{}, map[uint32]bool{}
	for _, r := range allReasons() {
		if names[r.Name] || codes[r.Code] || r.Text == "" {
			t.Errorf("%+v is there twice or says nothing", r)
		}
		names[r.Name], codes[r.Code] = true, true
	}
	if !names[string(resolver.OverRate)] || !names["group-ingress"] {
		t.Errorf("reasons: %v", names)
	}
}
