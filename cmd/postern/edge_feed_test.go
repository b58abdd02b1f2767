// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"slices"
	"testing"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/hostsync"
	"postern.dev/postern/internal/vpc"
)

func TestNamesAreToldWhenTheEdgeHasTheNewest(t *testing.T) {
	var told []vpc.Revision
	f := &edgeFeed{configs: newLatest[edge.Config](), probes: newLatest[map[string]desired.Probe](), resend: func() {},
		limit: func(int) error { return nil },
		named: func(r vpc.Revision) { told = append(told, r) }}
	state := func(r vpc.Revision, names ...string) desired.Host {
		h := desired.Empty()
		h.Revision = r
		v := desired.VPC{VNI: 100}
		for _, n := range names {
			v.Records = append(v.Records, desired.Record{Name: n})
		}
		h.VPCs[100] = v
		return h
	}
	wants := func(what string, want ...vpc.Revision) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %v, want %v", what, told, want)
		}
		told = nil
	}
	first := state(1, "a")
	f.Desired(first)
	wants("before the edge has said anything")
	f.Settings(hostsync.Settings{Region: "us-east-1"})
	f.holds(1)
	wants("the edge has it", 1)
	first.Revision = 2
	f.Desired(first)
	wants("nothing changed for the edge", 2)
	f.Desired(state(3, "b"))
	f.Desired(state(4, "c"))
	wants("two newer ones")
	f.holds(3)
	wants("the edge has the older of the two")
	f.holds(4)
	wants("the edge has both", 4)
	f.Desired(state(5))
	f.Settings(hostsync.Settings{Region: "us-east-1"})
	f.holds(4) // of an edge that was started anew
	wants("the edge has what was before")
	f.holds(5)
	wants("the edge has the end of it", 5)
}
