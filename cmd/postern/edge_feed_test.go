// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
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

// A service that comes has its certificate in the edge before the resolver has its
// names, and one that cannot be served gets none.
func TestNamesComeAfterWhatServesThem(t *testing.T) {
	var stream bytes.Buffer
	feed := edge.NewFeed(&stream)
	state := edge.Config{Revision: 1, VPCs: map[vpc.VNI]desired.VPC{100: {VNI: 100}}}
	if err := feed.Send(state); err != nil {
		t.Fatal(err)
	}
	state.Revision = 2
	state.VPCs = map[vpc.VNI]desired.VPC{100: {VNI: 100, Records: []desired.Record{{Name: "sqs.us-east-1.amazonaws.com"}}}}
	state.Certificates = map[string]edge.Certificate{"sqs": {CertPEM: "c", KeyPEM: "k"}}
	if err := feed.Send(state); err != nil {
		t.Fatal(err)
	}
	var steps []string
	step := func(what string, r vpc.Revision, certificates, names int) {
		steps = append(steps, fmt.Sprintf("%s %d: %d certificates, %d names", what, r, certificates, names))
	}
	refused := errors.New("the edge ends")
	follow := func(last vpc.Revision) error {
		return followConfigs(bytes.NewReader(stream.Bytes()), func(c edge.Config) error {
			step("serve", c.Revision, len(c.Certificates), len(c.VPCs[100].Records))
			if c.Revision == last {
				return refused
			}
			return nil
		}, func(c edge.Change) error {
			step("name", c.Revision, len(c.Certificates), len(c.VPCs[100].Records))
			return nil
		})
	}
	want := []string{"serve 1: 0 certificates, 0 names", "name 1: 0 certificates, 0 names", "serve 2: 1 certificates, 0 names", "name 2: 1 certificates, 1 names"}
	if err := follow(0); err != nil || !slices.Equal(steps, want) {
		t.Errorf("%v, %q", err, steps)
	}
	steps = nil
	if err := follow(2); err != refused || !slices.Equal(steps, want[:3]) {
		t.Errorf("%v, %q", err, steps)
	}
}

// The backend that comes along is asked; one of the operator's is not.
func TestOnlyTheIncludedBackendIsAsked(t *testing.T) {
	f := &edgeFeed{configs: newLatest[edge.Config](), probes: newLatest[map[string]desired.Probe](), resend: func() {},
		limit: func(int) error { return nil }, named: func(vpc.Revision) {}}
	h := desired.Empty()
	h.Revision = 1
	h.Services = map[string]desired.Service{"s3": {Name: "s3"}, "sqs": {Name: "sqs", Backends: []string{"unix:/sqs"}}}
	for name, tc := range map[string]struct {
		backends []string
		want     string
	}{"the included one": {nil, "unix:/questions"}, "another": {[]string{"http://192.0.2.1"}, ""}} {
		h.Revision++
		h.Services["s3"] = desired.Service{Name: "s3", Backends: tc.backends}
		f.Desired(h)
		f.Settings(hostsync.Settings{Region: "us-east-1", Backends: map[string]string{"s3": "unix:/s3"}, Questions: map[string]string{"s3": "unix:/questions", "sqs": "unix:/none"}})
		c, _, _ := f.configs.Get()
		if c.Questions["s3"] != tc.want || c.Questions["sqs"] != "" {
			t.Errorf("%s: %v", name, c.Questions)
		}
	}
}
